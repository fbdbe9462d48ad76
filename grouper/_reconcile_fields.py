"""What a reconciliation compares: the fields in the order of cause, and when two values are one.

The headers of interfaces 3605 and 3606 and of statements are official names where there are any;
what else a file calls its columns is for a column map.
"""

from __future__ import annotations

import re
from decimal import ROUND_HALF_UP, Context, Decimal
from fractions import Fraction
from functools import cache
from typing import NamedTuple

from grouper import _cells


class Field(NamedTuple):
    """One thing to compare: its class of difference, kind, our column, name and their headers."""

    name: str
    cause: str
    kind: str
    ours: str
    zh: str
    headers: str


FIELDS = (
    Field(
        *("edition", "edition", "edition", "scheme", "分组版本"),
        "grp_ver 分组版本 分组器版本 分组方案版本",
    ),
    Field(
        *("mdc", "group", "code", "mdc", "MDC"),
        "mdc_codg mdc_code MDC编码 主要诊断大类",
    ),
    Field(
        *("adrg", "group", "code", "adrg", "ADRG"),
        "adrg_code adrg_codg ADRG编码",
    ),
    Field(
        *("group", "group", "group", "group", "病组"),
        "drg_code drg_codg drg DRG编码 DRG组编码 病组编码 dip_dise_grp_code DIP编码 病种编码 分组编码",
    ),
    Field(
        *("severity", "severity", "severity", "severity", "严重程度"),
        "ccmcc 并发症合并症程度",
    ),
    Field(
        *("weight", "score", "number", "weight_or_score", "权重"),
        "drg_wt rw 权重 相对权重",
    ),
    Field(
        *("score", "score", "number", "weight_or_score", "病种分值"),
        "grp_dise_sco 病种分值 病组分值 标准分值 基准分值 基准点数 病组点数",
    ),
    Field(
        *("aux_type", "aux_factor", "presence", "aux_type", "辅助目录"),
        "asst_list_detl 辅助目录明细",
    ),
    Field(
        *("aux_factor", "aux_factor", "number", "aux_factor", "辅助目录系数"),
        "asst_list_coef 辅助目录系数 辅助目录最终系数",
    ),
    Field(
        *("coefficient", "coefficient", "number", "hospital_factor", "等级系数"),
        "hosp_coef 等级系数 机构等级系数 医院等级系数 机构系数 医院系数",
    ),
    Field(
        *("band", "band", "band", "band", "偏差类型"),
        "dev_type 偏差类型 倍率类型",
    ),
    Field(
        *("ratio", "band", "number", "ratio", "倍率"),
        "dev_mult 倍率 病例倍率 费用倍率",
    ),
    Field(
        *("benchmark", "band", "money", "benchmark_fen", "基准费用"),
        "bnch_fee 基准费用",
    ),
    Field(
        *("special_factor", "final_score", "number", "special_factor", "特病单议系数"),
        "特病单议系数 特病单议评审系数 特例单议系数",
    ),
    Field(
        *("final_score", "final_score", "number", "final_score", "最终分值"),
        "dise_sco 最终分值 结算分值",
    ),
    Field(
        *("point_value", "point_value", "number", "", "结算点值"),
        "setl_pt_val 结算点值 分值结算点值 点值",
    ),
    Field(
        *("total_cost", "patient_share", "money", "total_cost_fen", "总费用"),
        "medfee_sumamt 实际发生总费用 医疗费总额 医疗总费用 总费用",
    ),
    Field(
        *("booked", "patient_share", "money", "booked_fund_fen", "医保记账费用"),
        "fund_pay_sumamt 医保记账费用 记账费用 基金支付总额",
    ),
    Field(
        *("patient", "patient_share", "money", "patient_fen", "个人支付"),
        "psn_part_amt 个人支付 个人支付金额 个人负担 个人负担总金额",
    ),
    Field(
        *("other_payers", "patient_share", "money", "other_payers_fen", "其他支付"),
        "oth_pay 其他支付",
    ),
    Field(
        *("carve_out", "carve_out", "money", "carve_out_fen", "除外费用"),
        "excp_fee 除外费用",
    ),
    Field(
        *("carve_out_pay", "carve_out", "money", "carve_out_pay_fen", "除外支付"),
        "excp_pay 除外支付 除外支付额",
    ),
    Field(
        *("standard", "amount", "money", "standard_fen", "支付标准"),
        "pay_std 支付标准",
    ),
    Field(
        *("pay", "amount", "money", "pay_fen", "支付额"),
        "fund_pay 支付额 结算支付额 基金支付额",
    ),
)
"""What is compared, in the order of cause. Headers are known with or without `(元)`, in any case."""

BY_NAME = {f.name: f for f in FIELDS}
IDS = {"case_id": "setl_id 结算流水号 结算ID", "mdtrt_id": "就诊ID 就诊流水号"}
"""Headers of a case's id; of two the one is taken that more of our cases are found by."""

NO_GROUP = {"", "0000", "未入组", "无法入组"}


def header_key(header: str) -> str:
    """Fold a header: no blanks, no full-width letters, no case, no unit (元)."""
    plain = re.sub(r"\s+", "", header.translate(_cells.FULL_WIDTH))
    return plain.removesuffix("(元)").casefold()


def _known_headers() -> dict[str, str]:
    names = {n: n for n in (*BY_NAME, *IDS)}
    names |= {f"{f.name}_fen": f"{f.name}_fen" for f in FIELDS if f.kind == "money"}
    for f in FIELDS:
        names |= dict.fromkeys(map(header_key, f.headers.split()), f.name)
    for name, headers in IDS.items():
        names |= dict.fromkeys(map(header_key, headers.split()), name)
    return names


BY_HEADER = _known_headers()
"""A header, folded → the field; `pay_fen` for amounts in fen."""


def canonical_word(kind: str, text: str | None) -> str | None:
    """Return a text as it is compared; None = blank, or not understood.

    Parameters
    ----------
    kind : code, group, edition, presence, severity or band.
    """
    plain = (text or "").translate(_cells.FULL_WIDTH).strip()
    if kind == "code":
        return plain.upper().removeprefix("MDC") or None
    if kind == "group":
        return "" if plain in NO_GROUP else plain.upper()
    if kind in ("edition", "presence"):
        return plain or None
    known = _SEVERITIES if kind == "severity" else _BANDS
    folded = plain.casefold()
    return next((word for word, pattern in known if re.fullmatch(pattern, folded)), None)


_SEVERITIES = (
    ("none", r"none|无|否|(不伴|无|不伴有).*|non.?cc"),
    ("mcc", r"mcc|伴?有?严重.*"),
    ("cc", r"cc|伴?有?(一般)?并发症.*|伴?有?(一般)?合并症.*"),
)
_BANDS = (
    ("normal", r"normal|正常.*|无|否|非.*|-|—|/"),
    ("low", r"low|.*低.*"),
    ("extreme", r"extreme|.*(特高|极端|专家).*"),
    ("high", r"high|.*高.*"),
)


def version(text: str) -> tuple[int, ...] | None:
    """Return the number of an edition, such as (1, 1) of `CHS-DRG 1.1版`; one with a dot counts first."""
    plain = text.translate(_cells.FULL_WIDTH)
    found = re.findall(r"[0-9]+(?:\.[0-9]+)+", plain) or re.findall(r"[0-9]+", plain)
    if not found:
        return None
    numbers = [int(x) for x in found[0].split(".")]
    while len(numbers) > 1 and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


@cache
def same_edition(one: str, other: str) -> bool:
    """Tell whether two editions are one, or cannot be told apart for want of a number."""
    a, b = version(one), version(other)
    return a is None or b is None or a == b or one.casefold() == other.casefold()


MOST_PLACES = 10
"""Decimals beyond these are what floats leave behind."""
_EXACT = Context(prec=90, rounding=ROUND_HALF_UP)


def places_of(number: Decimal) -> int:
    """Count the decimals that a number needs."""
    exponent = number.normalize(_EXACT).as_tuple().exponent
    assert isinstance(exponent, int), "a number of digits"
    return min(max(-exponent, 0), MOST_PLACES)


def half_up(number: Decimal | Fraction, places: int = 0) -> int:
    """Return whole units of 10^-places, halves up (四舍五入: away from zero)."""
    if isinstance(number, Decimal):
        return int(number.scaleb(places, _EXACT).to_integral_value(ROUND_HALF_UP, _EXACT))
    whole = int(abs(number) * 10**places + Fraction(1, 2))
    return whole if number >= 0 else -whole


def decimal_text(number: Decimal | Fraction, places: int) -> str:
    """Write a number with at most so many decimals, without zeros at the end."""
    text = f"{Decimal(half_up(number, places)).scaleb(-places, _EXACT):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def short(text: str | None) -> str:
    """Return a text that fits into a message."""
    text = text or ""
    return text if len(text) <= 60 else text[:59] + "…"
