"""The naive year: a month's payments, frozen months with their differences, the clearing.

Months are settled in order, each from its part of the period's fund; then all cases of a period
are paid at the year's point value, and what hospitals were paid before is set against it. A month
of a published run is never settled again: what changed since becomes an entry of difference.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from fractions import Fraction
from typing import Any

from naive.clearing import Clearing
from naive.closing import Closing, Line, Unit, close_units, units_of
from naive.payment import (
    Row,
    area_entries,
    candidates,
    case_row,
    check_ledger,
    entry,
    point_value,
    sums,
)
from naive.policy import Case, NaivePolicy
from naive.pricing import Claim, Pricing
from naive.values import (
    Refused,
    Table,
    apportion,
    first_day,
    half_up,
    last_day,
    month_of,
    months_of,
    rounded,
)

Key = tuple[Any, ...]  # what a case was priced by


@dataclass(frozen=True)
class Owed:
    """What was owed for a case of a settled month, and what it was priced by."""

    pool: str
    hospital: str
    key: Key | None  # None: gone
    amounts: dict[str, int]  # by line


@dataclass
class NaiveYear:
    """A run: a month, or a year with its clearing. Published, its months are frozen."""

    period: str
    published: bool = False
    settled: list[str] = field(default_factory=list)  # months that this run settled
    owed: dict[tuple[str, str], Owed] = field(default_factory=dict)  # by month and case
    closed: dict[tuple[str, str], Sequence[Case]] = field(default_factory=dict)  # by pool and month
    cases: list[Row] = field(default_factory=list)
    hospitals: list[Row] = field(default_factory=list)
    pools: list[Row] = field(default_factory=list)
    months: list[Row] = field(default_factory=list)
    payments: list[Row] = field(default_factory=list)
    entries: list[Row] = field(default_factory=list)
    candidates: list[Row] = field(default_factory=list)

    def publish(self) -> NaiveYear:
        return replace(self, published=True)


def settle_year(
    policy: NaivePolicy,
    cases: Sequence[Table],
    hospitals: Sequence[Table] = (),
    ledger: Sequence[Table] = (),
    prior: Sequence[NaiveYear] = (),
    period: str | None = None,
    last_year: Sequence[Table] = (),
) -> NaiveYear:
    """Settle a month ("2025-03") or clear a year; `prior` are the runs before, in their order."""
    run = Run(policy, cases, hospitals, ledger, prior, period, last_year)
    for month in run.open_months:
        run.settle_month(month)
    if run.is_month:
        run.lay_out_month()
    else:
        run.clear()
    return run.result


def priced_by(case: Case, claim: Claim) -> Key:
    """The claim and the money that say whether a case is priced otherwise later."""
    claimed = claim.amount, claim.off_top, claim.booked, claim.nothing
    return *claimed, case.patient, case.others, case.booked, case.carved


def owed_for(case: Case, claim: Claim, closing: Closing) -> Owed:
    """What the case's month owes."""
    amounts = {line.name: line.pay[case.id] for line in closing.lines if line.has(case)}
    return Owed(case.pool, case.hospital, priced_by(case, claim), amounts)


class Run:
    def __init__(
        self,
        policy: NaivePolicy,
        rows: Sequence[Table],
        hospitals: Sequence[Table],
        ledger: Sequence[Table],
        prior: Sequence[NaiveYear],
        period: str | None,
        last_year: Sequence[Table],
    ) -> None:
        self.policy, self.ledger, self.period = policy, ledger, period
        self.year: dict[str, Any] = policy.text["year"]
        self.is_month = period is not None and len(period) == 7
        self.gone = {row["case_id"] for row in rows if row.get("refd_setl_flag")}
        every = [policy.case(row, hospitals) for row in rows]
        check_ledger(policy, ledger, every, str(period) if self.is_month else "")
        if period is not None and self.is_month:  # what is settled later is not known yet
            every = [c for c in every if c.month <= period]
        self.pricing = Pricing(policy, every, last_year)
        self.cases = [c for c in every if self.asked_for(c.period)]
        self.claims = self.pricing.claims(ledger)
        self.units = units_of(policy, self.cases, self.claims)
        self.by_id = {c.id: c for c in every if not c.reversed}
        self.of = {c.hospital: c for c in sorted(every, key=lambda c: c.id.encode(), reverse=True)}
        self.prior = [run for run in prior if run.published]
        self.result = NaiveYear(period or "")
        self.closings: dict[tuple[str, str], Closing] = {}  # by pool and month
        self.recall()

    def asked_for(self, period: tuple[date, date]) -> bool:
        first, last = period
        if self.period is None or self.period == f"{first}/{last}":
            return True
        if self.is_month:
            return self.period in months_of(period)
        return self.period == str(first.year) == str(last.year)

    # ------------------------------------------------------------------------ frozen months

    def recall(self) -> None:
        """Take over the months of published runs as they are."""
        self.frozen = {month for run in self.prior for month in run.settled}
        self.before: list[Row] = []  # payments of published months, of any period
        self.published: dict[tuple[str, str], Owed] = {}
        self.owed: dict[tuple[str, str], Owed] = {}  # with the differences since
        self.closed: dict[tuple[str, str], Sequence[Case]] = {}
        for run in self.prior:
            self.closed |= run.closed
            own = {k: owed for k, owed in run.owed.items() if k[0] in run.settled}
            self.published |= own
            self.owed |= run.owed
            self.before += [r for r in run.payments if r["month"] in run.settled]
            mine = self.result.months, self.result.payments
            for theirs, rows in zip((run.months, run.payments), mine, strict=True):
                for row in theirs:
                    if row["state"] == "settled" and self.unit_of(row["pool_id"], row["month"]):
                        rows.append({**row, "state": "frozen"})

    def unit_of(self, pool: str, month: str) -> Unit | None:
        return next(
            (u for u in self.units if u.pool == pool and month in months_of(u.period)), None
        )

    @property
    def open_months(self) -> list[str]:
        """The months that this run settles."""
        if self.is_month:
            assert self.period is not None
            if self.period in self.frozen:
                raise Refused(f"{self.period} is published")
            return [self.period]
        found = {m for u in self.units for m in months_of(u.period)}
        return sorted(found - self.frozen)

    # ------------------------------------------------------------------------ a month

    def fund(self, unit: Unit, month: str) -> int:
        """The month's part of the period's fund."""
        pace = {m: Fraction(1) for m in months_of(unit.period)}
        if self.year.get("pace", "even") == "seasonal":
            for m in pace:
                pace[m] = self.policy.at("pace", first_day(m), month=m, pool=unit.pool)
        return apportion(unit.budget.fund, pace)[month]

    def settle_month(self, month: str) -> None:
        claims = self.pricing.claims(self.ledger, until=last_day(month))
        self.result.settled.append(month)
        for unit in self.units:
            if month not in months_of(unit.period):
                continue
            closing = self.close_month(unit, month, claims)
            self.closings[unit.pool, month] = closing
            self.result.closed[unit.pool, month] = closing.cases
            differences = self.differences(unit, month, claims) if self.is_month else []
            self.result.entries += [e for e, _ in differences]
            for c in closing.cases:
                self.result.owed[month, c.id] = owed_for(c, claims[c.id], closing)
            if not unit.maker:
                self.result.months.append(self.month_row(unit, month, closing))
            for line in closing.lines:
                changed: dict[str, int] = defaultdict(int)
                for e, name in differences:
                    if name == line.name:
                        changed[e["hospital_id"]] += e["amount_fen"]
                self.pay_line(unit, month, line, changed)

    def close_month(self, unit: Unit, month: str, claims: dict[str, Claim]) -> Closing:
        policy = self.policy
        cases = [c for c in unit.cases if c.month == month]
        closing = Closing(policy, unit.pool, cases, claims, month)
        if unit.maker:
            maker = self.closings.get((unit.maker, month))
            closing.take(maker.point_value if maker else self.frozen_value(unit.maker, month))
            return closing
        fund, kind = self.fund(unit, month), self.year.get("month_point_value", "own")
        if kind == "own" or not policy.shares:
            closing.close(fund)
        else:
            where = {"pool": unit.pool, "month": month}
            per_point = policy.at(f"point_value_{kind}", first_day(month), **where)
            closing.at(per_point / policy.unit_of_score, fund)
        return closing

    def month_row(self, unit: Unit, month: str, closing: Closing) -> Row:
        found = sums(closing, closing.lines[0])
        row: Row = {
            "pool_id": unit.pool,
            "month": month,
            "fund_fen": closing.fund,
            "cases": found["cases"],
            "claims": found["claims"],
            "point_value": point_value(closing),
            "point_value_num": closing.num,
            "point_value_den": closing.den,
            "pay_fen": found["pay_fen"],
            "balance_fen": closing.fund - found["pay_fen"],
            "state": "settled",
        }
        so_far = [
            r
            for r in [*self.result.months, row]
            if r["pool_id"] == unit.pool and r["month"] <= month
        ]
        fund, paid = (sum(r[name] for r in so_far) for name in ("fund_fen", "pay_fen"))
        ratio = Fraction(paid, fund) if fund else None
        row["pace_ratio"] = None if ratio is None else rounded(ratio, 4)
        row["colour"] = self.colour(ratio)
        return row

    def colour(self, ratio: Fraction | None) -> str:
        begins = self.policy.text.get("warnings")
        if begins is None or ratio is None:
            return ""
        return next((c for c in ("red", "orange", "yellow") if ratio >= Fraction(begins[c])), "")

    def pay_line(self, unit: Unit, month: str, line: Line, changed: dict[str, int]) -> None:
        """What each hospital is paid for the month from a line."""
        kinds = ("deduction", "adjustment", "hold", "release")
        entries = self.given(unit, [month], *kinds) if line.is_main else {}
        carried = self.carried(unit, line.name, month)
        hospitals = {c.hospital for c in line.cases}
        for hospital in sorted({*hospitals, *changed, *entries, *carried}):
            where, day = self.place(hospital, unit.pool, month), last_day(month)
            found = sums(self.closings[unit.pool, month], line, hospital)
            owed = found["pay_fen"] + changed.get(hospital, 0)
            row: Row = {
                "hospital_id": hospital,
                "pool_id": unit.pool,
                "line": line.name,
                "month": month,
                "cases": found["cases"],
                "cost_fen": found["cost_fen"],
                "booked_fund_fen": found["booked_fund_fen"],
                "pay_fen": found["pay_fen"],
                "difference_fen": changed.get(hospital, 0),
                "owed_fen": owed,
                "at_rate_fen": half_up(owed * self.policy.at_or(1, "monthly_rate", day, **where)),
                "deposit_fen": half_up(owed * self.policy.at_or(0, "deposit_rate", day, **where)),
                "entries_fen": entries.get(hospital, 0),
                "carried_fen": carried.get(hospital, 0),
                "state": "settled",
            }
            row["due_fen"] = row["at_rate_fen"] - row["deposit_fen"]
            row["due_fen"] += row["entries_fen"] + row["carried_fen"]
            row["paid_fen"] = max(row["due_fen"], 0)
            self.result.payments.append(row)
            for kind, name in (("monthly", "paid_fen"), ("deposit", "deposit_fen")):
                if row[name]:
                    at = {"hospital_id": hospital, "settlement_month": month}
                    self.result.entries.append(entry(kind, unit.pool, row[name], **at))

    def place(self, hospital: str, pool: str, month: str = "") -> dict[str, str]:
        where = {"hospital": hospital, "pool": pool, **({"month": month} if month else {})}
        if hospital in self.of:
            case = self.of[hospital]
            where |= {"level": case.level, "class": case.class_, "area": case.area}
        return where

    def given(self, unit: Unit, months: Sequence[str], *kinds: str) -> dict[str, int]:
        """Money of the ledger's entries by hospital."""
        found: dict[str, int] = defaultdict(int)
        for e in self.ledger:
            if e["kind"] in kinds and self.pool_of(e) == unit.pool and month_of(e) in months:
                found[e["hospital_id"]] += e["amount_fen"]
        return dict(found)

    def pool_of(self, e: Table) -> str:
        pools = [p["id"] for p in self.policy.text["pool"]]
        if e.get("pool_id"):
            return str(e["pool_id"])
        if len(pools) > 1:
            raise Refused(f"entry {e['entry_id']}: which pool?")
        return str(pools[0])

    def carried(self, unit: Unit, line: str, month: str) -> dict[str, int]:
        """What the month before left below 0."""
        before = f"{first_day(month) - timedelta(days=1):%Y-%m}"
        return {
            row["hospital_id"]: row["due_fen"]
            for row in [*self.before, *self.result.payments]
            if (row["pool_id"], row["line"], row["month"]) == (unit.pool, line, before)
            and row["due_fen"] < 0
        }

    # ------------------------------------------------------------------------ differences

    def frozen_value(self, pool: str, month: str) -> Fraction | None:
        for row in self.result.months:
            if (row["pool_id"], row["month"]) == (pool, month) and row["point_value_den"]:
                return Fraction(row["point_value_num"], row["point_value_den"])
        return None if self.policy.shares else Fraction(1)

    def differences(
        self, unit: Unit, run_month: str, claims: dict[str, Claim]
    ) -> list[tuple[Row, str]]:
        """Entries, with their lines, for what changed in frozen months; in the month of the run."""
        found: list[tuple[Row, str]] = []

        def note(kind: str, id: str, before: Owed | None, now: Owed | None) -> None:
            was, is_ = before.amounts if before else {}, now.amounts if now else {}
            hospital = now.hospital if now else before.hospital if before else ""
            at = {"hospital_id": hospital, "case_id": id, "settlement_month": run_month}
            for line in sorted({*was, *is_}):
                amount = is_.get(line, 0) - was.get(line, 0)
                if amount:
                    found.append((entry(kind, unit.pool, amount, **at), line))

        for month in sorted(self.frozen & set(months_of(unit.period))):
            for (m, id), before in self.owed.items():
                if m == month and before.pool == unit.pool and self.has_left(month, id, before):
                    note("reversal", id, before, None)
                    gone = replace(before, key=None, amounts={})
                    self.result.owed.setdefault((month, id), gone)
            closing = self.at_frozen(unit, month, claims)
            for c in closing.cases:
                so_far = self.here(self.owed.get((month, c.id)), c)
                published = self.here(self.published.get((month, c.id)), c)
                now = owed_for(c, claims[c.id], closing)
                if published is not None and published.key == now.key:
                    now = published
                note("late" if so_far is None else "correction", c.id, so_far, now)
                self.result.owed[month, c.id] = now
        return found

    def at_frozen(self, unit: Unit, month: str, claims: dict[str, Claim]) -> Closing:
        """The month's cases that are new or priced otherwise, at its point value as it was."""
        cases = [
            c
            for c in unit.cases
            if c.month == month
            and not c.reversed
            and (
                (so_far := self.here(self.owed.get((month, c.id)), c)) is None
                or so_far.key != priced_by(c, claims[c.id])
            )
        ]
        like = self.closed.get((unit.pool, month), ())
        closing = Closing(self.policy, unit.pool, cases, claims, month, like)
        closing.at(self.frozen_value(unit.maker or unit.pool, month), 0)
        return closing

    def has_left(self, month: str, id: str, owed: Owed) -> bool:
        """Reversed, or now of another hospital, pool or month."""
        case = self.by_id.get(id)
        if owed.key is None or (case is None and id not in self.gone):
            return False
        at = None if case is None else (case.month, case.pool, case.hospital)
        return at != (month, owed.pool, owed.hospital)

    def here(self, owed: Owed | None, case: Case) -> Owed | None:
        """What was owed for the case in this hospital and pool."""
        if owed is None or owed.key is None:
            return None
        return owed if (owed.pool, owed.hospital) == (case.pool, case.hospital) else None

    # ------------------------------------------------------------------------ the run's tables

    def lay_out_month(self) -> None:
        """A month's tables: its own rows."""
        assert self.period is not None
        self.result.months = [r for r in self.result.months if r["state"] == "settled"]
        self.result.payments = [r for r in self.result.payments if r["state"] == "settled"]
        for unit in self.units:
            closing = self.closings[unit.pool, self.period]
            for c in closing.cases:
                row = case_row(self.policy, c, closing.claims[c.id], closing)
                self.result.cases.append({**row, "month_pay_fen": row["pay_fen"]})

    def clear(self) -> None:
        self.refuse_what_is_missing()
        close_units(self.units)
        for unit in self.units:
            Clearing(self, unit).clear()
            for c in unit.cases:
                row = case_row(self.policy, c, self.claims[c.id], unit.closing)
                row["month_pay_fen"] = self.month_pay(c)
                self.result.cases.append(row)
            self.result.entries += area_entries(unit)
            self.result.candidates += candidates(self.policy, unit)

    def month_pay(self, case: Case) -> int | None:
        """What its month owed for a case, without the differences since; None: it came late."""
        at = case.month, case.id
        owed = self.published.get(at) or self.result.owed.get(at)
        if owed is None:
            return None
        return sum(fen for line, fen in owed.amounts.items() if line != "carve_out")

    def refuse_what_is_missing(self) -> None:
        """A year is not cleared without cases that its published months paid."""
        months = {m for u in self.units for m in months_of(u.period)}
        for (month, id), owed in self.owed.items():
            if month in months and owed.key is not None and id not in {*self.by_id, *self.gone}:
                raise Refused(f"case {id} of the published month {month} is not there")
