"""Annual clearing: the final account of every hospital of one pool and period.

In order: pay, special cases, floor, cap, assessment, deductions, then surplus and overspend against
what was booked. Every fen is laid to a column, and the accrual identity is checked at the end.
"""

from __future__ import annotations

from collections import defaultdict
from fractions import Fraction
from typing import TYPE_CHECKING

from naive.closing import Unit
from naive.payment import (
    Row,
    add_up,
    blank_hospital,
    check_accrual,
    entry,
    hospital_rows,
    left_entries,
    lift_and_cap,
    pool_rows,
    special_entries,
)
from naive.values import apportion, half_up, months_of

if TYPE_CHECKING:
    from naive.year import Run


class Clearing:
    """The final account of one unit's hospitals."""

    def __init__(self, run: Run, unit: Unit) -> None:
        self.run, self.unit, self.policy, self.year = run, unit, run.policy, run.year
        self.months = months_of(unit.period)
        self.last = unit.period[1]
        self.rows = hospital_rows(unit)
        self.kept: dict[str, int] = defaultdict(int)  # by column of the pool
        self.entries = [] if unit.maker else special_entries(unit)
        self.paid = [
            r
            for r in run.result.payments
            if r["pool_id"] == unit.pool and r["month"] in self.months
        ]
        self.add_hospitals_without_cases()
        self.main = [row for row in self.rows if row["line"] == "fund"]

    def add_hospitals_without_cases(self) -> None:
        """A hospital that was paid, or has an entry, and has no case any more."""
        kinds = ("deduction", "adjustment", "prepayment")
        main = self.unit.closing.lines[0].name
        others = {(r["line"], r["hospital_id"]) for r in self.paid if r["paid_fen"]}
        others |= {(main, h) for h in self.run.given(self.unit, self.months, *kinds)}
        there = {(r["line"], r["hospital_id"]) for r in self.rows}
        for line, hospital in sorted(others - there):
            level = self.run.of[hospital].level if hospital in self.run.of else ""
            self.rows.append(blank_hospital(self.unit, line, hospital, level))

    def clear(self) -> None:
        deductions = self.run.given(self.unit, self.months, "deduction", "adjustment")
        prepaid = self.run.given(self.unit, self.months, "prepayment")
        for row in self.rows:
            at = row["line"], row["hospital_id"]
            paid = (r["paid_fen"] for r in self.paid if (r["line"], r["hospital_id"]) == at)
            row["paid_monthly_fen"] = sum(paid)
        for row in self.main:
            hospital = row["hospital_id"]
            where = self.run.place(hospital, self.unit.pool)
            lift_and_cap(self.policy, row, self.entries, self.last, where)
            row["assessment_fen"] = self.assessment(row)
            row["deduction_fen"] = deductions.get(hospital, 0)
            row["prepayment_fen"] = prepaid.get(hospital, 0)
        self.withhold()
        self.share_surplus()
        for row in self.rows:
            add_up(row)
        self.write()

    # ------------------------------------------------------------------------ one hospital

    def assessment(self, row: Row) -> int:
        kind, hospital = self.year.get("assessment", "none"), row["hospital_id"]
        coefficient = self.coefficient(hospital)
        if kind == "pay":
            so_far = row["pay_fen"] + row["special_fen"] + row["floor_fen"] + row["cap_fen"]
            return half_up(so_far * (coefficient - 1))
        if kind == "deposit":
            own = [r for r in self.paid if (r["line"], r["hospital_id"]) == (row["line"], hospital)]
            deposits = sum(r["deposit_fen"] for r in own)
            return -half_up(deposits * (1 - coefficient))
        return 0

    def coefficient(self, hospital: str) -> Fraction:
        """The ledger's last word on the hospital, else the policy's."""
        found = [
            e
            for e in self.run.ledger
            if e["kind"] == "assessment"
            and e["hospital_id"] == hospital
            and e.get("pool_id") in (None, "", self.unit.pool)
            and (not e.get("settlement_month") or e["settlement_month"] in self.months)
        ]
        if found:
            last = max(found, key=lambda e: (e["entered_on"], e["entry_id"].encode()))
            return Fraction(last["value"])
        where = self.run.place(hospital, self.unit.pool)
        return self.policy.at_or(1, "assessment", self.last, **where)

    # ------------------------------------------------------------------------ all of them

    def withhold(self) -> None:
        """What caps, assessment and deductions keep back; below 0 it is a reward."""
        drawn = self.unit.closing.drawn  # for the least point value
        for name in ("special", "floor"):
            self.kept["drawn"] += sum(row[f"{name}_fen"] for row in self.main)
        for name in ("cap", "assessment", "deduction"):
            self.kept[f"withheld_{name}"] = -sum(row[f"{name}_fen"] for row in self.main)
        balance = self.policy.at_or(0, "reserve_balance", self.last, pool=self.unit.pool)
        left = self.unit.budget.reserve + half_up(balance) - self.kept["drawn"] - drawn
        self.reserve_left = max(left, 0)

    def share_surplus(self) -> None:
        names = ("pay", "special", "floor", "cap", "assessment", "deduction")
        unretained, wanted, base = 0, {}, {}
        for row in self.main:
            hospital, booked = row["hospital_id"], row["booked_fund_fen"]
            base[hospital] = due = sum(row[f"{name}_fen"] for name in names)
            if due <= 0:
                continue
            ratio = Fraction(booked, due)
            if booked < due:
                band = self.band("surplus", ratio)
                kept = due - booked if band is None else half_up((due - booked) * band)
                row["surplus_fen"] = kept - (due - booked)
                unretained -= row["surplus_fen"]
            elif booked > due and not self.year.get("no_top_up", False):
                band = self.band("overspend", ratio)
                if band is not None:
                    wanted[hospital] = half_up((booked - due) * band)
        rest = self.bear(wanted, unretained)
        to = self.year.get("unretained_to", "next_year")
        if to == "second":
            again = apportion(rest, {h: max(due, 0) for h, due in base.items()})
            for row in self.main:
                row["second_fen"] = again[row["hospital_id"]]
            rest -= sum(again.values())
        self.kept["to_reserve" if to == "reserve" else "next_year"] += rest

    def band(self, name: str, ratio: Fraction) -> Fraction | None:
        for band in self.year.get(name, []):
            least, below = band.get("ratio_from"), band.get("ratio_below")
            if (least is None or ratio >= Fraction(least)) and (
                below is None or ratio < Fraction(below)
            ):
                return Fraction(band["share"])
        return None

    def bear(self, wanted: dict[str, int], unretained: int) -> int:
        """Pay the wanted part of overspends from the sources in order; return what is unretained still."""
        left = {"reserve": self.reserve_left, "unretained": unretained}
        sources = self.year.get("overspend_from", [])
        need = sum(wanted.values())
        given = min(need, sum(left[s] for s in sources))
        borne = wanted if given == need else apportion(given, wanted)
        for row in self.main:
            row["overspend_fen"] = borne.get(row["hospital_id"], 0)
        for source in sources:
            part = min(given, left[source])
            left[source], given = left[source] - part, given - part
            if source == "reserve":
                self.kept["drawn"] += part
        return left["unretained"]

    # ------------------------------------------------------------------------ entries

    def write(self) -> None:
        result = self.run.result
        names = ("floor", "cap", "assessment", "surplus", "overspend", "second")
        for row in self.main:
            for name in names:
                kind = "assessed" if name == "assessment" else name
                self.note(kind, row[f"{name}_fen"], row["hospital_id"])
            self.note("final", row["payable_fen"], row["hospital_id"])
            self.note("recovery", min(row["to_pay_fen"], 0), row["hospital_id"])
        pools = pool_rows(self.unit, self.rows, self.kept)
        check_accrual(pools[0])
        self.entries += left_entries(pools)
        result.hospitals += self.rows
        result.pools += pools
        result.entries += self.entries

    def note(self, kind: str, amount: int, hospital: str) -> None:
        if amount:
            self.entries.append(entry(kind, self.unit.pool, amount, hospital_id=hospital))
