"""Proofs (守恒证明): each identity term by term, both sides added up by Excel, and whether they are equal.

Of every pool, period and line: the accrual identity, cases = hospitals = pools, and the hospitals' cash.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from grouper._audit_book import Book, Column, Live
from grouper._audit_facts import CARVE_OUT, FUND, Facts, Row
from grouper._audit_tables import iterate
from grouper._yuan import yuan

ACCRUAL_LEFT = (("budget_fen", "预算"), ("drawn_fen", "动用风险金"))
ACCRUAL_RIGHT = (
    ("payable_fen", "应付合计"),
    ("undistributed_fen", "未分配"),
    ("withheld_cap_fen", "医院封顶扣留"),
    ("withheld_assessment_fen", "考核扣留"),
    ("withheld_deduction_fen", "扣款"),
    ("next_year_fen", "结转下年"),
    ("balance_fen", "差额（固定费率）"),
    ("outside_fen", "基金外各项（计划）"),
    ("reserve_kept_fen", "风险金结余"),
)

CASH = (
    ("paid_monthly_fen", "已月预付"),
    ("prepayment_fen", "预付金冲抵"),
    ("to_pay_fen", "清算应付"),
)


class Term(NamedTuple):
    """One amount of an identity, in fen."""

    name: str
    zh: str
    fen: int


class Proof(NamedTuple):
    """An identity: what the left terms add up to is what the right ones do."""

    pool: str
    period: str
    line: str
    title: str
    left: list[Term]
    right: list[Term]

    @property
    def holds(self) -> bool:
        """Whether both sides are equal to the fen."""
        return sum(t.fen for t in self.left) == sum(t.fen for t in self.right)


def proofs(facts: Facts) -> Iterator[Proof]:
    """Yield every identity of a run."""
    for row in facts.pools:
        yield from _of_line(row)
    yield from _sums(facts)


def _of_line(row: Row) -> Iterator[Proof]:
    """Yield the accrual identity of a line, and what its reserve is made of."""
    full = {"budget_fen": row["fund_fen"], **row}  # without [budget] the fund is the budget
    title = "权责恒等式 budget + drawn = payable + …"
    yield Proof(*_key(row), title, _terms(full, ACCRUAL_LEFT), _terms(full, ACCRUAL_RIGHT))
    if row["line"] == FUND and "reserve_kept_fen" in row:
        kept = _terms(row, (("reserve_kept_fen", "风险金结余"),))
        parts = (("reserve_fen", "提取风险金"), ("to_reserve_fen", "转入风险金"))
        yield Proof(*_key(row), "风险金 reserve", kept, _terms(row, parts))


def _key(row: Row) -> tuple[str, str, str]:
    return row["pool_id"], str(row.get("period") or ""), row["line"]


def _terms(row: Row, names: Sequence[tuple[str, str]]) -> list[Term]:
    return [Term(n, zh, int(row.get(n) or 0)) for n, zh in names if n in row]


def _sums(facts: Facts) -> Iterator[Proof]:
    """Yield that cases add up to hospitals, these to pools, and what is to be paid to what is owed."""
    cases, hospitals = _case_sums(facts), _by_unit(facts.hospitals)
    pools = _by_unit(facts.pools)
    for unit in sorted(hospitals.keys() | pools.keys()):
        of_hospitals, of_pools = hospitals[unit], pools[unit]
        told = Term("hospitals.pay_fen", "医院表支付额", of_hospitals["pay_fen"])
        given = [Term("cases.pay_fen", "病例支付额", cases[unit])]
        yield Proof(*unit, "病例 = 医院 cases = hospitals", given, [told])
        paid = Term("pools.pay_fen", "资金池表支付额", of_pools["pay_fen"])
        yield Proof(*unit, "医院 = 资金池 hospitals = pools", [told], [paid])
        owed = Term("hospitals.payable_fen", "医院表应付", of_hospitals["payable_fen"])
        total = [Term("pools.payable_fen", "资金池表应付", of_pools["payable_fen"])]
        yield Proof(*unit, "应付合计 payable", [owed], total)
        if facts.hospitals and "to_pay_fen" in facts.hospitals[0]:
            cash = _terms(of_hospitals, CASH)
            yield Proof(*unit, "现金 payable = paid + prepayment + to pay", [owed], cash)


def _case_sums(facts: Facts) -> defaultdict[tuple[str, str, str], int]:
    """Add up the pay of cases by pool, period and line; carve-outs outside are a line of their own."""
    sums: defaultdict[tuple[str, str, str], int] = defaultdict(int)
    table = facts.run.tables["cases"]
    names = ["pool_id", "settlement_date", "family", "pay_fen", "carve_out_pay_fen"]
    seen: dict[tuple[Any, ...], tuple[str, str, str] | None] = {}
    outside = {r["pool_id"] for r in facts.pools if r["line"] == CARVE_OUT}
    for case in iterate(table.select([n for n in names if n in table.schema.names])):
        key = (case["pool_id"], case["settlement_date"], case.get("family"))
        if key not in seen:
            row = facts.unit(case)
            seen[key] = None if row is None else _key(row)
        if (unit := seen[key]) is None:
            continue  # the pool's sums show that it is missing
        sums[unit] += case["pay_fen"]
        if unit[0] in outside:
            sums[(*unit[:2], CARVE_OUT)] += case.get("carve_out_pay_fen") or 0
    return sums


def _by_unit(found: Sequence[Row]) -> defaultdict[tuple[str, str, str], dict[str, int]]:
    names = ("pay_fen", "payable_fen", *(n for n, _ in CASH))
    sums: defaultdict[tuple[str, str, str], dict[str, int]] = defaultdict(
        lambda: dict.fromkeys(names, 0)
    )
    for row in found:
        unit = sums[_key(row)]
        for name in names:
            unit[name] += int(row.get(name) or 0)
    return sums


def write_proofs(book: Book, facts: Facts) -> Mapping[str, int]:
    """Write every identity with live sums; count those that hold and that fail."""
    columns = [
        *(Column("pool_id", "资金池"), Column("period", "期间")),
        Column("line", "项目线"),
        *(Column("identity", "恒等式"), Column("side", "方")),
        *(Column("term", "项"), Column("term_zh", "项目")),
        *(Column("amount_fen", "金额", "money"), Column("holds", "成立", "flag")),
    ]
    sheet, counts = book.sheet("守恒证明", columns), {"hold": 0, "fail": 0}
    for proof in proofs(facts):
        counts["hold" if proof.holds else "fail"] += 1
        where = [proof.pool, proof.period, proof.line, proof.title]
        totals = []
        for side, terms in (("left 左", proof.left), ("right 右", proof.right)):
            numbers = [sheet.row([*where, side, t.name, t.zh, t.fen, None]) for t in terms]
            total = float(yuan(sum(t.fen for t in terms)))
            live = Live(f"SUM(H{numbers[0]}:H{numbers[-1]})", total)
            totals.append(sheet.row([*where, side, "sum", "合计", live, None], bold=True))
        check = Live(f"ROUND(H{totals[0]}-H{totals[1]},2)=0", proof.holds)
        difference = sum(t.fen for t in proof.left) - sum(t.fen for t in proof.right)
        live = Live(f"ROUND(H{totals[0]}-H{totals[1]},2)", float(yuan(difference)))
        sheet.row([*where, "", "difference", "差额", live, check], bold=True)
    return counts
