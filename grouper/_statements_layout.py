"""Columns of a statement: those of a real regional year table for DIP, their counterparts for DRG.

The columns are laid out once for the whole run, from its cases, parameters and point values, sorted by
hospital and case; a statement is a slice of them.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from grouper._audit_book import Kind, Lang
from grouper._audit_facts import Facts, column, fraction, rows
from grouper._hashing import content_hash
from grouper.tables._dip import FILE as SCHEME_FILE
from grouper.tables._files import SHIPPED

VALUE = pa.decimal128(28, 10)
"""Yuan per point."""

DEVIATING = ("low", "high", "extreme")
SUBTYPES = {
    "severity": ("severity", "疾病严重程度"),
    "tumour": ("tumour", "tumor", "肿瘤", "肿瘤严重程度"),
    "age": ("age", "年龄"),
}
"""Families of auxiliary types (辅助目录) that have columns of their own."""

_STATUS = {"grouped": "入组", "ambiguous": "歧义", "ungrouped": "未入组", "rejected": "拒绝"}
_SEVERITY = {"mcc": "严重并发症或合并症", "cc": "并发症或合并症", "none": "无"}
_BANDS = {"normal": "正常", "low": "低倍率", "high": "高倍率", "extreme": "极高倍率"}
_DEVIATIONS = {"normal": "正常", "low": "费用偏低", "high": "费用偏高", "extreme": "费用极高"}
_OUTCOMES = {
    "refused": "不予单议",
    "score": "核定分值",
    "cost_over_mean": "按费用折算",
    "booked": "按项目付费",
}
_CLASSES = {
    "pre": "先期分组",
    "merged": "并项病种",
    "subdivided": "细分病种",
    "basic": "基础规则病种",
    "core": "核心病种",
    "primary_care": "基层病种",
    "mixed": "综合病种",
    "rest": "其他",
}


@dataclass(frozen=True, slots=True)
class Shown:
    """A column of a statement; `words` are its values in Chinese, `added` = it has a total."""

    name: str
    zh: str
    kind: Kind = "text"
    words: Mapping[str, str] = field(default_factory=dict)
    added: bool = True

    def shown(self, values: list[Any], lang: Lang) -> list[Any]:
        """Return values as a person reads them."""
        if self.kind == "flag":
            yes, no = ("yes", "no") if lang == "en" else ("是", "否")
            return [None if v is None else yes if v else no for v in values]
        if self.words and lang != "en":
            return [self.words.get(v, v) for v in values]
        return values


@dataclass(frozen=True)
class Layout:
    """The statement table of a run, by hospital and case; `hospitals` in the order of their ids."""

    facts: Facts
    columns: Sequence[Shown]
    table: pa.Table
    places: Mapping[str, tuple[int, int]]
    hospitals: Sequence[str]

    @cached_property
    def hashes(self) -> dict[str, str]:
        """The content hashes of the run's tables; that of the cases is there in any case."""
        told = dict(self.facts.run.manifest.get("outputs") or {})
        return told if "cases" in told else {"cases": content_hash(self.facts.run.tables["cases"])}

    def of(self, hospital: str) -> pa.Table:
        """Return the cases of a hospital."""
        start, count = self.places.get(hospital, (0, 0))
        return self.table.slice(start, count)


def lay_out(facts: Facts, catalogue: Path | str | None = None) -> Layout:
    """Lay out the cases of a run for statements; `catalogue` as in `write_statements`."""
    cases = facts.run.tables["cases"]
    keys = {"hospital": column(cases, "hospital_id", pa.string()).fill_null("")}
    keys["case"] = column(cases, "case_id", pa.string())
    order = pc.sort_indices(pa.table(keys), sort_keys=[(k, "ascending") for k in keys])
    cases = cases.take(order)
    is_dip = column(cases, "group_class", pa.string()).null_count < len(cases)
    columns = _columns(facts, is_dip)
    source = _Source(facts, cases, _families(facts, catalogue))
    table = pa.table({c.name: source.column(c) for c in columns})
    counts = {c["values"]: c["counts"] for c in pc.value_counts(keys["hospital"]).to_pylist()}
    places, start = {}, 0
    for hospital in sorted(counts, key=str.encode):
        places[hospital] = (start, counts[hospital])
        start += counts[hospital]
    named = {r["hospital_id"] for t in ("hospitals", "payments") for r in rows(facts.run, t)}
    hospitals = sorted(places.keys() | {n for n in named if n}, key=str.encode)
    return Layout(facts, columns, table, places, hospitals)


def _families(facts: Facts, catalogue: Path | str | None) -> dict[str, str]:
    """Return the column family of each auxiliary type, by the catalogue given or the shipped one."""
    folder = catalogue or SHIPPED / str((facts.run.manifest.get("scheme") or {}).get("id", ""))
    path = Path(folder) / SCHEME_FILE
    if not path.is_file():
        return {}
    told = tomllib.loads(path.read_text("utf-8")).get("auxiliary", [])
    return {
        t["id"]: name
        for t in told
        for name, words in SUBTYPES.items()
        if t.get("family", "").casefold() in words
    }


# ------------------------------------------------------------------------------------------ columns


def _columns(facts: Facts, is_dip: bool) -> list[Shown]:
    """Return the columns of a statement in their order."""
    return [*_HEAD, *(_dip() if is_dip else _drg(facts)), *_TAIL]


_HEAD = (
    Shown("case_id", "结算流水号"),
    Shown("record_id", "病案号"),
    Shown("hospital_level", "机构等级"),
    Shown("hospital_factor", "机构等级系数", "number"),
    Shown("settlement_date", "结算日期", "day"),
    Shown("insurance", "医保类型"),
    Shown("total_cost_fen", "实际发生总费用", "money"),
    Shown("booked_fund_fen", "医保记账费用", "money"),
    Shown("los", "住院天数", "whole"),
)
_DECIDED = (
    Shown("is_special", "是否特病单议", "flag"),
    Shown("special", "特病单议结论", words=_OUTCOMES),
    Shown("special_factor", "特病单议系数", "number"),
)
_VALUES = (
    Shown("budget_point_value", "预算单价", "number"),
    Shown("point_value", "结算点值", "number"),
    Shown("pay_fen", "支付额", "money"),
)
_TAIL = (
    Shown("status", "入组状态", words=_STATUS),
    Shown("reason", "原因"),
    Shown("pay_as", "付费病组"),
    Shown("family", "付费类别"),
    Shown("ratio", "费用比", "number"),
    Shown("benchmark_fen", "基准费用", "money", added=False),
    Shown("readmission_factor", "再入院系数", "number"),
    Shown("carve_out_fen", "除外费用", "money"),
    Shown("unreasonable_fen", "不合理费用", "money"),
    Shown("standard_fen", "支付标准", "money"),
    Shown("patient_fen", "个人负担", "money"),
    Shown("other_payers_fen", "其他支付方", "money"),
    Shown("carve_out_pay_fen", "除外支付额", "money"),
    Shown("month_pay_fen", "月预结支付额", "money"),
    Shown("settlement_month", "结算月份"),
    Shown("pool_id", "资金池"),
)


def _dip() -> list[Shown]:
    subtypes = (("severity", "疾病严重程度"), ("tumour", "肿瘤严重程度"), ("age", "年龄"))
    levels = [
        column
        for name, zh in subtypes
        for column in (
            Shown(f"{name}_level", f"{zh}级别"),
            Shown(f"{name}_factor", f"{zh}系数", "number"),
        )
    ]
    return [
        Shown("group_class", "病种类型", words=_CLASSES),
        Shown("group", "病种编码"),
        Shown("group_name", "病种名称"),
        Shown("score", "病种分值", "number"),
        *levels,
        Shown("aux_type", "辅助目录"),
        Shown("aux_factor", "辅助目录最终系数", "number"),
        Shown("is_deviating", "是否偏差病例", "flag"),
        Shown("band", "偏差类型", words=_DEVIATIONS),
        Shown("deviation_score", "偏差病例分值", "number"),
        *_DECIDED,
        Shown("special_score", "特病单议分值", "number"),
        Shown("final_score", "最终分值", "number"),
        *_VALUES,
    ]


def _drg(facts: Facts) -> list[Shown]:
    final = "最终点数" if facts.by_points else "病例支付标准（元）"
    return [
        Shown("mdc", "主要诊断大类（MDC）"),
        Shown("adrg", "核心疾病诊断相关组（ADRG）"),
        Shown("group", "疾病诊断相关组（DRG）"),
        Shown("group_name", "DRG 名称"),
        Shown("severity", "严重程度", words=_SEVERITY),
        Shown("weight", "权重", "number"),
        Shown("is_deviating", "是否高低倍率", "flag"),
        Shown("band", "倍率类型", words=_BANDS),
        Shown("deviation_score", "倍率病例点数" if facts.by_points else "倍率病例标准", "number"),
        *_DECIDED,
        Shown("special_score", "特病单议点数" if facts.by_points else "特病单议标准", "number"),
        Shown("final_score", final, "number"),
        *_VALUES,
    ]


# ------------------------------------------------------------------------------------------- values


@dataclass(frozen=True)
class _Source:
    """Where the columns of a statement come from: a column of the run, or what it tells of one."""

    facts: Facts
    cases: pa.Table
    families: Mapping[str, str]

    def column(self, shown: Shown) -> Any:
        """Return one column; blank where the run has nothing of the name."""
        own = getattr(self, f"_{shown.name}", None)
        if own is not None:
            return own()
        for name in SUBTYPES:
            if shown.name in (f"{name}_level", f"{name}_factor"):
                return self._subtype(name, shown.name.endswith("_level"))
        kinds = {"text": pa.string(), "whole": pa.int32(), "money": pa.int64(), "day": pa.date32()}
        return self._of(shown.name, kinds.get(shown.kind))

    def _of(self, name: str, kind: Any) -> Any:
        if kind is None:  # a decimal keeps its scale
            there = name in self.cases.schema.names
            return self.cases[name] if there else column(self.cases, name, VALUE)
        return column(self.cases, name, kind)

    def _score(self) -> Any:
        """Return the score of the group: the weight in points."""
        weight = self._of("weight_or_score", None)
        per = self.facts.method.get("points_per_weight", 100) if self.facts.by_points else 1
        return weight if per == 1 else pc.multiply(weight, pa.scalar(Decimal(per)))

    def _weight(self) -> Any:
        return self._of("weight_or_score", None)

    def _subtype(self, name: str, is_level: bool) -> Any:
        types = self._of("aux_type", pa.string())
        mine = pa.array([t for t, family in self.families.items() if family == name], pa.string())
        values = types if is_level else self._of("aux_factor", None)
        return _where(pc.is_in(types, value_set=mine), values)

    def _is_deviating(self) -> Any:
        return pc.is_in(self._of("band", pa.string()), value_set=pa.array(DEVIATING))

    def _deviation_score(self) -> Any:
        plain = pc.and_(self._is_deviating(), pc.invert(self._is_special()))
        return _where(plain, self._of("final_score", None))

    def _is_special(self) -> Any:
        return pc.is_valid(self._of("special", pa.string()))

    def _special_factor(self) -> Any:
        return _where(self._is_special(), self._of("special_factor", None))

    def _special_score(self) -> Any:
        scored = pa.array(["score", "cost_over_mean"])
        decided = pc.is_in(self._of("special", pa.string()), value_set=scored)
        return _where(decided, self._of("final_score", None))

    def _readmission_factor(self) -> Any:
        factor = self._of("special_factor", None)
        other = pc.fill_null(pc.not_equal(factor, pa.scalar(Decimal(1))), False)
        return _where(pc.and_(other, pc.invert(self._is_special())), factor)

    def _budget_point_value(self) -> Any:
        """Return the budget point value in force for each case, yuan per point."""
        told = self.facts.told.get("parameters", {}).get("point_value_budget")
        if told is None:
            return column(self.cases, "point_value_budget", VALUE)

        def value(case: Mapping[str, Any]) -> Fraction | None:
            known = self.facts.known(case)
            fen = self.facts.parameter("point_value_budget", case["settlement_date"], known)
            return None if fen is None else fen / 100

        names = ("settlement_date", "insurance", "hospital_level", "pool_id", "hospital_id")
        return self._by_key((*names, "family"), value)

    def _point_value(self) -> Any:
        """Return the point value by which each case was settled, yuan per point."""

        def value(case: Mapping[str, Any]) -> Fraction | None:
            unit = self.facts.unit(case)
            return fraction(unit.get("point_value")) if unit else None

        return self._by_key(("settlement_date", "family", "pool_id"), value)

    def _by_key(self, names: Sequence[str], value: Any) -> Any:
        """Work out one value for each distinct combination of columns."""
        texts = {
            n: self._of(n, pa.date32() if n == "settlement_date" else pa.string()) for n in names
        }
        found: dict[tuple[Any, ...], Decimal | None] = {}
        values = []
        for key in zip(*(c.to_pylist() for c in texts.values()), strict=True):
            if key not in found:
                exact = value(dict(zip(names, key, strict=True)))
                found[key] = None if exact is None else _decimal(exact)
            values.append(found[key])
        return pa.array(values, VALUE)


def _where(mask: Any, values: Any) -> Any:
    return pc.if_else(pc.fill_null(mask, False), values, pa.scalar(None, values.type))


def _decimal(x: Fraction) -> Decimal:
    """Write yuan per point with ten decimals."""
    return Decimal(round(x * 10**VALUE.scale)).scaleb(-VALUE.scale)
