"""The reconciliation page of a statement (对账页): from the cases to what is still to be paid.

Counts, the cases against the hospital's rows of the run, the accrual line (pay and each entry), the cash
line, the payments of each month and the ledger; every sum says whether it ties.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from grouper._audit_book import Book, Column, Kind, Lang, Sheet, word
from grouper._audit_facts import CARVE_OUT, Facts, Row, of_period
from grouper._statements_layout import Layout

Fen: TypeAlias = int | Decimal

TERMS = (
    ("special_fen", "特例单议（风险金）"),
    ("floor_fen", "负额补零"),
    ("cap_fen", "封顶扣减"),
    ("assessment_fen", "考核"),
    ("deduction_fen", "扣款与调整"),
    ("surplus_fen", "结余未留用"),
    ("overspend_fen", "超支分担"),
    ("second_fen", "二次分配"),
)
FIGURES = (
    ("cases", "cases", "人次"),
    ("total_cost_fen", "cost_fen", "总费用"),
    ("booked_fund_fen", "booked_fund_fen", "医保记账费用"),
    ("patient_fen", "patient_fen", "个人负担"),
    ("standard_fen", "standard_fen", "支付标准"),
    ("carve_out_pay_fen", "carve_out_pay_fen", "除外支付额"),
    ("pay_fen", "pay_fen", "支付额"),
)
"""Column of the cases, column of hospitals.parquet, name."""

OF_CARVE_OUTS = (("cases", "cases", "人次"), ("carve_out_pay_fen", "pay_fen", "除外支付额"))


def _columns(*told: tuple[str, str], kind: Kind = "money") -> list[Column]:
    return [Column(name, zh, kind) for name, zh in told]


_UNIT = _columns(("pool_id", "资金池"), ("period", "期间"), ("line", "项目线"), kind="text")
_CHECK = [*_columns(("difference_fen", "差额")), Column("state", "核对")]


def write_page(book: Book, layout: Layout, hospital: str, lang: Lang) -> None:
    """Write the reconciliation of one hospital."""
    sheet = book.sheet(word(lang, "对账", "reconciliation"), (), lang)
    cases, facts = layout.of(hospital), layout.facts
    units = [r for r in facts.hospitals if r["hospital_id"] == hospital]
    _about(sheet, layout, hospital, lang)
    _counts(sheet, layout, cases, lang)
    _against_rows(sheet, facts, cases, units, lang)
    _accrual(sheet, units, lang)
    _cash(sheet, units, lang)
    _payments(sheet, facts, hospital, lang)
    _ledger(sheet, facts, hospital, cases, lang)


def _about(sheet: Sheet, layout: Layout, hospital: str, lang: Lang) -> None:
    told = layout.facts.told
    run = layout.facts.run.manifest.get("run") or {}
    sheet.heading(word(lang, "对账单", "Statement"))
    sheet.header(_columns(("what", "项目"), ("value", "内容"), kind="text"))
    for zh, en, value in (
        ("机构", "hospital", hospital),
        ("结算期", "period", run.get("period")),
        ("状态", "state", run.get("status")),
        ("政策", "policy", told.get("title") or told.get("id")),
        ("政策指纹", "policy fingerprint", told.get("fingerprint")),
        ("结果内容哈希", "content hash of the run", layout.hashes["cases"]),
    ):
        sheet.row([word(lang, zh, en), value])


def _counts(sheet: Sheet, layout: Layout, cases: pa.Table, lang: Lang) -> None:
    """Write counts and sums by status, band and month."""
    shown = {c.name: c for c in layout.columns}
    sums = ("total_cost_fen", "booked_fund_fen", "patient_fen", "pay_fen")
    names = [zh for name, _, zh in FIGURES if name in sums]
    for name, zh in (
        ("status", "入组状态"),
        ("band", "偏差类型"),
        ("settlement_month", "结算月份"),
    ):
        sheet.heading(word(lang, f"按{zh}", f"By {name}"))
        money = _columns(*zip(sums, names, strict=True))
        sheet.header([Column(name, zh), Column("cases", "人次", "whole"), *money])
        aggregates = [([], "count_all"), *((s, "sum") for s in sums)]
        found = cases.group_by(name).aggregate(aggregates).to_pylist()
        for row in sorted(found, key=lambda r: r[name] or ""):
            [given] = shown[name].shown([row[name] or word(lang, "无", "none")], lang)
            sheet.row([given, row["count_all"], *(row[f"{s}_sum"] or 0 for s in sums)])
        totals = [pc.sum(cases[s]).as_py() or 0 for s in sums]
        sheet.row([word(lang, "合计", "total"), len(cases), *totals], bold=True)


# ------------------------------------------------------------------------- cases and the run's rows


def _against_rows(
    sheet: Sheet, facts: Facts, cases: pa.Table, units: Sequence[Row], lang: Lang
) -> None:
    """Write the sums of the cases beside the hospital's rows of the run."""
    sheet.heading(word(lang, "病例合计与机构结果", "Cases against the hospital's rows"))
    both = _columns(("cases_fen", "病例合计"), ("row_fen", "机构结果"))
    sheet.header([*_UNIT, Column("figure", "项目"), *both, *_CHECK])
    placed = _place(facts, cases, units)
    for k, unit in enumerate(units):
        mine = cases.take(pa.array(placed[k], pa.int64()))
        for name, told, zh in OF_CARVE_OUTS if unit["line"] == CARVE_OUT else FIGURES:
            if told in unit:
                head = [*_where(unit), word(lang, zh, told.removesuffix("_fen"))]
                ours = len(mine) if name == "cases" else pc.sum(mine[name]).as_py() or 0
                _tied(sheet, head, ours, int(unit[told] or 0), lang, money=name != "cases")
    if placed[-1]:
        what = word(lang, "无机构结果的病例", "cases without a row")
        _tied(sheet, [None, None, None, what], len(placed[-1]), 0, lang, money=False)


def _place(facts: Facts, cases: pa.Table, units: Sequence[Row]) -> defaultdict[int, list[int]]:
    """Put each case into the row that it counts in, -1 = none; carve-outs count the pool's cases."""
    found: defaultdict[int, list[int]] = defaultdict(list)
    known: dict[tuple[Any, ...], list[int]] = {}
    keys = zip(
        *(cases[n].to_pylist() for n in ("pool_id", "settlement_date", "family")), strict=True
    )
    for row, key in enumerate(keys):
        if key not in known:
            pool, day, family = key
            known[key] = []
            for line in (facts.line(pool, family), CARVE_OUT):
                mine = [u for u in units if (u["pool_id"], u["line"]) == (pool, line)]
                if (unit := of_period(mine, day)) is not None:
                    known[key].append(next(k for k, u in enumerate(units) if u is unit))
                elif line != CARVE_OUT:
                    known[key].append(-1)
        for k in known[key]:
            found[k].append(row)
    return found


def _where(unit: Row) -> list[Any]:
    return [unit["pool_id"], unit.get("period"), unit["line"]]


def _tied(
    sheet: Sheet, head: list[Any], ours: int, told: int, lang: Lang, *, money: bool = True
) -> None:
    """Write ours, told, difference and whether they are equal; a Decimal is no money to a sheet."""
    amounts: list[Fen] = [ours, told, ours - told]
    state = word(lang, "相符", "ties") if ours == told else word(lang, "不符", "differs")
    sheet.row([*head, *(amounts if money else map(Decimal, amounts)), state])


# -------------------------------------------------------------------------------- accrual and cash


def _accrual(sheet: Sheet, units: Sequence[Row], lang: Lang) -> None:
    """Write pay + each entry = payable."""
    terms = [t for t in TERMS if any(t[0] in u for u in units)] or [("entries_fen", "分录")]
    sheet.heading(word(lang, "应付：支付额加各项分录", "Payable: pay and each entry"))
    names = [("pay_fen", "支付额"), *terms]
    _lines(sheet, units, names, ("payable_fen", "应付合计"), lang)


def _cash(sheet: Sheet, units: Sequence[Row], lang: Lang) -> None:
    """Write payable - paid monthly - prepayment = to pay."""
    if not any("to_pay_fen" in u for u in units):
        return
    sheet.heading(word(lang, "现金：应付减已月付减预付金", "Cash: payable less paid less prepaid"))
    less = [("paid_monthly_fen", "已月预付"), ("prepayment_fen", "预付金冲抵")]
    names = [("payable_fen", "应付合计"), *less]
    _lines(sheet, units, names, ("to_pay_fen", "清算应付"), lang, minus=less)


def _lines(
    sheet: Sheet,
    units: Sequence[Row],
    names: Sequence[tuple[str, str]],
    result: tuple[str, str],
    lang: Lang,
    minus: Sequence[tuple[str, str]] = (),
) -> None:
    """Write one line of terms a unit, the result that the run tells, and the totals."""
    sheet.header([*_UNIT, *_columns(*names, result), *_CHECK])
    less = {name for name, _ in minus}
    totals = [0] * (len(names) + 1)
    for unit in units:
        amounts = [int(unit.get(n) or 0) for n, _ in names]
        ours = sum(-a if n in less else a for a, (n, _) in zip(amounts, names, strict=True))
        told = int(unit.get(result[0]) or 0)
        state = word(lang, "相符", "ties") if ours == told else word(lang, "不符", "differs")
        sheet.row([*_where(unit), *amounts, told, ours - told, state])
        totals = [t + a for t, a in zip(totals, [*amounts, told], strict=True)]
    sheet.row([word(lang, "合计", "total"), None, None, *totals, None, None], bold=True)


# ------------------------------------------------------------------------------ months and entries

_PAYMENT = (
    *_columns(("pool_id", "资金池"), ("line", "项目线"), ("month", "月份"), kind="text"),
    Column("cases", "人次", "whole"),
    *_columns(
        ("cost_fen", "总费用"),
        ("booked_fund_fen", "医保记账费用"),
        ("pay_fen", "支付额"),
        ("difference_fen", "差额分录"),
        ("owed_fen", "月应付"),
        ("at_rate_fen", "按比例"),
        ("deposit_fen", "质量保证金"),
        ("entries_fen", "其他分录"),
        ("carried_fen", "上月结转"),
        ("due_fen", "本月应拨"),
        ("paid_fen", "实际拨付"),
    ),
    Column("state", "状态"),
)


def _payments(sheet: Sheet, facts: Facts, hospital: str, lang: Lang) -> None:
    """Write what each month paid."""
    mine = [r for r in facts.rows("payments") if r["hospital_id"] == hospital]
    if not mine:
        return
    sheet.heading(word(lang, "月预结拨付", "Payments by month"))
    sheet.header(_PAYMENT)
    for row in sorted(mine, key=lambda r: (r["pool_id"], str(r.get("line")), r["month"])):
        sheet.row([row.get(c.name) for c in _PAYMENT])
    running = ("carried_fen", "due_fen")  # these go on from month to month: no sums
    sums: list[Any] = [
        sum(int(r.get(c.name) or 0) for r in mine)
        if c.kind in ("money", "whole") and c.name not in running
        else None
        for c in _PAYMENT
    ]
    sums[0] = word(lang, "合计", "total")
    sheet.row(sums, bold=True)


_LEDGER = (
    *_columns(("entry_id", "分录号"), ("kind", "种类"), ("pool_id", "资金池"), kind="text"),
    *_columns(("case_id", "结算流水号"), ("settlement_month", "月份"), kind="text"),
    *_columns(("amount_fen", "金额")),
    *_columns(("value", "数值"), ("outcome", "结论"), ("reason", "理由"), kind="text"),
    *_columns(("reference", "依据"), ("entered_by", "录入人"), kind="text"),
    Column("entered_on", "录入日期", "day"),
)


def _ledger(sheet: Sheet, facts: Facts, hospital: str, cases: pa.Table, lang: Lang) -> None:
    """Write the entries of the hospital and those that name a case of it."""
    ledger = facts.rows("ledger")
    named = {r["case_id"] for r in ledger if r.get("case_id") and not r.get("hospital_id")}
    own = named & set(cases["case_id"].to_pylist()) if named else set()
    sheet.heading(word(lang, "台账分录", "Ledger entries"))
    sheet.header(_LEDGER)
    for row in ledger:
        of_case = not row.get("hospital_id") and row.get("case_id") in own
        if row.get("hospital_id") == hospital or of_case:
            sheet.row([row.get(c.name) for c in _LEDGER])
