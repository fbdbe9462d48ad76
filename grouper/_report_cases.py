"""Tables of a report about cases: hospitals' indices, groups, outliers, reasons, warnings, distributions.

Sums are added by Arrow over whole columns, in integers; Python sees one row a hospital, month or group.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from grouper._arrow import units_of
from grouper._audit_facts import column
from grouper._report_tables import (
    Figure,
    ReportTable,
    Row,
    count,
    key,
    mean,
    money,
    quotient,
    share,
    table,
)
from grouper._report_words import BANDS, CLASSES, OTHER, REASONS, STATUS, WARNINGS
from grouper._small_cells import OTHER as MERGED
from grouper._small_cells import merge_small
from grouper._statistics import half_up

TEXTS = {
    "hospital_id": "hospital_id",
    "hospital_level": "hospital_level",
    "pool_id": "pool_id",
    "month": "settlement_month",
    "mdc": "mdc",
    "class": "group_class",
    "group": "group",
    "group_name": "group_name",
    "status": "status",
    "reason": "reason",
    "band": "band",
}
SUMS = (
    *("cases", "cost_fen", "costed", "booked_fund_fen", "pay_fen", "weight", "weighed"),
    *("los", "stayed", "low", "high"),
)
"""What is added up for every key; costed, weighed, stayed = cases with a cost, a weight, a stay."""

R10 = (100, 125, 160, 200, 250, 315, 400, 500, 630, 800)
"""Preferred numbers of ISO 3: ten steps a decade, near enough equal on a logarithmic axis."""


@dataclass(frozen=True)
class Cases:
    """The cases of a run as a table of keys and whole numbers."""

    table: pa.Table

    @cached_property
    def base(self) -> pa.Table:
        """Return one row a case: the keys as texts, blank where there is none, and what is added up."""
        texts = {
            n: column(self.table, told, pa.string()).fill_null("") for n, told in TEXTS.items()
        }
        texts["band"] = pc.if_else(pc.equal(texts["band"], ""), "none", texts["band"])
        weight, cost = self._weights, column(self.table, "total_cost_fen", pa.int64())
        los = column(self.table, "los", pa.int64())
        ones = pa.array(np.ones(len(self.table), np.int64))
        return pa.table(
            {
                **texts,
                "cases": ones,
                "cost_fen": cost,
                "costed": _flag(pc.is_valid(cost)),
                "booked_fund_fen": column(self.table, "booked_fund_fen", pa.int64()),
                "pay_fen": column(self.table, "pay_fen", pa.int64()),
                "weight": weight,
                "weighed": _flag(pc.greater(weight, 0)),
                "los": los,
                "stayed": _flag(pc.is_valid(los)),
                "low": _flag(pc.equal(texts["band"], "low")),
                "high": _flag(pc.is_in(texts["band"], pa.array(["high", "extreme"]))),
            }
        )

    @cached_property
    def _weights(self) -> Any:
        if "weight_or_score" not in self.table.schema.names:
            return pa.array(np.zeros(len(self.table), np.int64))
        return pa.array(units_of(self.table["weight_or_score"]))

    @property
    def weight_unit(self) -> Fraction:
        """What one unit of the column of weights is worth."""
        names = self.table.schema.names
        scale = (
            self.table.schema.field("weight_or_score").type.scale
            if "weight_or_score" in names
            else 0
        )
        return Fraction(1, 10**scale)

    def by(self, *keys: str) -> list[Row]:
        """Add up by keys; rows come in the bytewise order of their keys."""
        found = self.base.group_by(list(keys)).aggregate([(s, "sum") for s in SUMS]).to_pylist()
        rows = [{n.removesuffix("_sum"): v for n, v in r.items()} for r in found]
        return sorted(rows, key=lambda r: [r[k].encode() for k in keys])

    @cached_property
    def whole(self) -> Row:
        """The sums of all cases."""
        return {s: pc.sum(self.base[s]).as_py() or 0 for s in SUMS}

    @cached_property
    def is_dip(self) -> bool:
        """Whether the groups have a class, as those of a DIP catalogue, and no MDC."""
        return bool(pc.any(pc.not_equal(self.base["class"], "")).as_py())

    @cached_property
    def expected(self) -> Mapping[str, tuple[int, int]]:
        """Hospital → cost of its grouped cases, and what they cost at the means of their groups."""
        held = self.base.filter(
            pc.and_(pc.not_equal(self.base["group"], ""), pc.equal(self.base["costed"], 1))
        )
        sums = [("cost_fen", "sum"), ("cases", "sum")]
        of_group = {
            r["group"]: (r["cost_fen_sum"], r["cases_sum"])
            for r in held.group_by("group").aggregate(sums).to_pylist()
        }
        found: dict[str, tuple[int, int]] = {}
        for r in held.group_by(["hospital_id", "group"]).aggregate(sums).to_pylist():
            cost, cases = of_group[r["group"]]
            actual, expected = found.get(r["hospital_id"], (0, 0))
            more = half_up(Fraction(r["cases_sum"] * cost, cases))
            found[r["hospital_id"]] = actual + r["cost_fen_sum"], expected + more
        return found


def _flag(mask: Any) -> Any:
    return mask.cast(pa.int64())


# ---------------------------------------------------------------------------------------- hospitals


def indices(cases: Cases, levels: Mapping[str, str]) -> ReportTable:
    """Lay out the casemix and cost index of each hospital."""
    whole, unit = cases.whole, cases.weight_unit
    of_all = Fraction(whole["weighed"], whole["weight"]) if whole["weight"] else Fraction(0)
    name = ("次均分值", "mean score") if cases.is_dip else ("平均权重", "mean weight")
    rows = []
    for r in cases.by("hospital_id"):
        actual, expected = cases.expected.get(r["hospital_id"], (None, None))
        told = {"level": levels.get(r["hospital_id"], ""), "actual": actual, "expected": expected}
        rows.append(r | told)
    rows.sort(key=lambda r: (-r["cases"], r["hospital_id"].encode()))
    columns = [
        key("hospital_id", "医疗机构", "hospital"),
        key("level", "等级", "level", kept=False),
        count("cases", "病例数", "cases"),
        quotient("mean_weight", *name, "weight", "weighed", times=unit),
        quotient("casemix_index", "CMI 指数", "CMI", "weight", "weighed", times=of_all),
        mean("mean_cost_fen", "次均费用", "mean cost", "cost_fen", "costed"),
        quotient("cost_index", "费用指数", "cost index", "actual", "expected"),
        quotient("mean_los", "平均住院日", "mean stay, days", "los", "stayed", digits=1),
        share("low_share", "低倍率占比", "low share", "low", "cases"),
        share("high_share", "高倍率占比", "high share", "high", "cases"),
    ]
    zh = "分值" if cases.is_dip else "权重"
    en = "score" if cases.is_dip else "weight"
    note = (
        f"CMI 指数 = 本机构病例平均{zh} ÷ 全部病例平均{zh}（无{zh}的病例不计）。"
        "费用指数 = 本机构已入组病例实际总费用 ÷ "
        "按各病组全区次均费用计算的期望总费用（间接标化）；大于 1"
        " 表示同样病例费用高于全区。高倍率含极高倍率。",
        f"CMI = mean {en} of the hospital's cases ÷ mean {en} of all cases"
        " (cases without one are left out). Cost index"
        " = actual cost of its grouped cases ÷ their expected cost at the"
        " mean of each group over all hospitals"
        " (indirect standardisation); above 1 the same cases cost more"
        " than elsewhere. High includes extreme.",
    )
    hidden = [s for s in SUMS if s != "cases"]
    return table(
        "indices",
        "医疗机构 CMI 与费用指数",
        "Casemix index and cost index by hospital",
        columns,
        rows,
        note,
        [*hidden, "actual", "expected"],
    )


# ------------------------------------------------------------------------------------------- groups


def groups(cases: Cases, least: int) -> ReportTable:
    """Lay out the groups, those of most cases first; what is smaller than `least` is merged."""
    parent = "class" if cases.is_dip else "mdc"
    sums = [s for s in SUMS if s not in ("cases", "low", "high")]
    names: dict[tuple[str, str], Row] = {}
    for r in cases.by(parent, "group", "group_name"):
        held = names.setdefault((r[parent], r["group"]), {**r, **dict.fromkeys(SUMS, 0)})
        for s in SUMS:
            held[s] += r[s] or 0
    kinds = {
        n: pa.int64() if n in SUMS else pa.string() for n in (parent, "group", "group_name", *SUMS)
    }
    plain = pa.Table.from_pylist(list(names.values()), pa.schema(list(kinds.items())))
    merged = merge_small(
        plain, keys=[parent, "group"], count="cases", sums=sums, least=least, under=[parent]
    )
    rows = merged.table.to_pylist()
    rows.sort(
        key=lambda r: (r["group"] == MERGED, -r["cases"], r[parent].encode(), r["group"].encode())
    )
    unit, whole = cases.weight_unit, cases.whole
    words = {"": ("未入组", "not grouped"), **OTHER}
    above = ("病种类型", "class") if cases.is_dip else ("大类", "MDC")
    weight = ("次均分值", "mean score") if cases.is_dip else ("平均权重", "mean weight")
    columns = [
        key("group", "病组", "group", words),
        key("group_name", "名称", "name", kept=False),
        key(parent, *above, {**CLASSES, **OTHER}, kept=False),
        count("cases", "病例数", "cases"),
        share("share", "占比", "share", "cases", whole["cases"]),
        quotient("mean_weight", *weight, "weight", "weighed", times=unit),
        mean("mean_cost_fen", "次均费用", "mean cost", "cost_fen", "costed"),
        money("cost_fen", "总费用", "cost"),
        money("booked_fund_fen", "记账费用", "booked fund"),
        money("pay_fen", "支付额", "pay"),
        mean("mean_pay_fen", "次均支付", "mean pay", "pay_fen", "cases"),
    ]
    if not whole["costed"]:
        columns = [c for c in columns if "cost" not in c.name]
    note = (
        f"少于 {least} 例的病组已合并为“其他”：{merged.groups} 个病组并为 {merged.rows} 行，合计不变。",
        f"Groups of fewer than {least} cases are merged: {merged.groups}"
        f" groups in {merged.rows} rows; totals stay.",
    )
    if not merged.groups:
        small = ("病组未作小样本合并。", "All groups are shown; small cells are not merged.")
        note = (
            small
            if least < 2
            else (f"没有少于 {least} 例的病组。", f"No group has fewer than {least} cases.")
        )
    return table(
        "groups",
        "病组",
        "Groups by number of cases",
        columns,
        rows,
        note,
        ["costed", "weight", "weighed"],
        30,
    )


# ---------------------------------------------------------------------------- outliers and grouping


def bands(cases: Cases) -> ReportTable:
    """Lay out cases and money by cost band."""
    order = list(BANDS)
    rows = sorted(
        cases.by("band"), key=lambda r: order.index(r["band"]) if r["band"] in order else 99
    )
    whole = cases.whole
    columns = [
        key("band", "费用偏差", "cost band", BANDS),
        count("cases", "病例数", "cases"),
        share("share", "病例占比", "share of cases", "cases", whole["cases"]),
        money("cost_fen", "总费用", "cost", kept=False),
        share("cost_share", "费用占比", "share of cost", "cost_fen", whole["cost_fen"]),
        money("booked_fund_fen", "记账费用", "booked fund"),
        money("pay_fen", "支付额", "pay"),
        share("pay_share", "支付占比", "share of pay", "pay_fen", whole["pay_fen"]),
    ]
    note = (
        "费用 ÷ 病组基准费用低于或高于政策界限为低倍率、高倍率。",
        "Low and high: cost ÷ benchmark of the group is beyond the edges of the policy.",
    )
    return table("bands", "费用偏差病例", "Outliers: cases by cost band", columns, rows, note)


def statuses(cases: Cases) -> ReportTable:
    """Count every case once by how its grouping ended."""
    found = {r["status"]: r for r in cases.by("status")}
    rows = [{"status": s, "cases": found.get(s, {}).get("cases", 0)} for s in STATUS]
    columns = [
        key("status", "入组状态", "status", STATUS),
        count("cases", "病例数", "cases"),
        share("share", "占比", "share", "cases", cases.whole["cases"]),
    ]
    return table("statuses", "入组情况", "How grouping ended", columns, rows)


def reasons(cases: Cases) -> ReportTable:
    """Count the cases that are not grouped, by reason."""
    rows = [
        r | {"meaning": r["reason"]}
        for r in cases.by("status", "reason")
        if r["status"] != "grouped"
    ]
    rows.sort(key=lambda r: (-r["cases"], r["status"], r["reason"]))
    columns = [
        key("status", "入组状态", "status", STATUS),
        key("reason", "原因代码", "reason"),
        key("meaning", "原因", "meaning", REASONS),
        count("cases", "病例数", "cases"),
        share("share", "占全部病例", "share of all", "cases", cases.whole["cases"]),
    ]
    return table("reasons", "未入组原因", "Why cases are not grouped", columns, rows)


def warnings(cases: Cases) -> ReportTable:
    """Count the warnings that cases carry."""
    found: list[Row] = []
    if "warnings" in cases.table.schema.names:
        each = pc.value_counts(pc.list_flatten(cases.table["warnings"]))
        found = [{"warning": str(c["values"]), "cases": c["counts"]} for c in each.to_pylist()]
    found.sort(key=lambda r: (-r["cases"], r["warning"]))
    columns = [
        key("warning", "提示代码", "warning"),
        key("meaning", "提示", "meaning", WARNINGS),
        Figure("cases", "病例数", "whole"),
        share("share", "占全部病例", "share of all", "cases", cases.whole["cases"]),
    ]
    note = ("一例可有多项提示。", "A case may carry several.")
    rows = [r | {"meaning": r["warning"]} for r in found]
    return table("warnings", "病例提示", "Warnings", columns, rows, note)


# ------------------------------------------------------------------------------------ distributions


def costs(cases: Cases, least: int) -> ReportTable:
    """Count cases by cost, ten steps a decade."""
    values = _there(cases.table, "total_cost_fen", pa.int64())
    edges = [step * 10**power for power in range(9) for step in R10]
    titles = ("病例费用分布", "Cost per case")
    return _counted("costs", titles, "money", ("费用", "cost"), values, edges, least)


def ratios(cases: Cases, least: int) -> ReportTable:
    """Count cases by cost ÷ benchmark, in steps of a tenth."""
    held = column(cases.table, "ratio", pa.decimal128(19, 4)).drop_null()
    edges = [k * 1000 for k in range(1, 31)]
    titles = ("费用与病组基准之比", "Cost ÷ benchmark of the group")
    values = units_of(held) if len(held) else np.zeros(0, np.int64)
    return _counted("ratios", titles, "number", ("比值", "ratio"), values, edges, least, 10_000)


def stays(cases: Cases, least: int) -> ReportTable:
    """Count cases by length of stay."""
    values = _there(cases.table, "los", pa.int64())
    titles = ("住院天数分布", "Length of stay")
    return _counted("stays", titles, "whole", ("天数", "days"), values, list(range(1, 32)), least)


def _there(cases: pa.Table, name: str, kind: Any) -> Any:
    return column(cases, name, kind).drop_null().to_numpy()


def _counted(
    name: str,
    titles: tuple[str, str],
    kind: Any,
    what: tuple[str, str],
    values: Any,
    edges: Sequence[int],
    least: int,
    unit: int = 1,
) -> ReportTable:
    """Count values between edges; the tails are one row each, of no fewer than `least` cases."""
    counts = np.bincount(np.searchsorted(edges, values, "right"), minlength=len(edges) + 1).tolist()
    bins = [
        [low, high, n] for low, high, n in zip([None, *edges], [*edges, None], counts, strict=True)
    ]
    _fold(bins, max(least, 1))
    bins.reverse()
    _fold(bins, max(least, 1))
    bins.reverse()

    def edge(value: int | None) -> Any:
        return value if value is None or unit == 1 else Decimal(value) / unit

    rows = [{"from": edge(a), "below": edge(b), "cases": n} for a, b, n in bins if len(values)]
    columns = [
        Figure("from", f"{what[0]}自", kind, f"{what[1]} from"),
        Figure("below", "至（不含）", kind, "below"),
        count("cases", "病例数", "cases"),
        share("share", "占比", "share", "cases", len(values)),
    ]
    return table(name, *titles, columns, rows, most=100)


def _fold(bins: list[list[Any]], least: int) -> None:
    """Fold the first bin into the next until it holds enough; it then has no edge on its outer side."""
    while len(bins) > 1 and bins[0][2] < least:
        low, _, n = bins.pop(0)
        bins[0][2] += n
        bins[0][0 if low is None else 1] = None
