"""Months (月预结): each month's point value and payments, and the months that are frozen.

A month is closed like a year, at its own budget or a point value known beforehand; what a hospital is
owed for it is paid at a rate, less a deposit, with its entries; what falls below zero is carried on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from grouper._accounts import accounts
from grouper._arrow import text_array
from grouper._claims import Claimed, Decision, decided
from grouper._closing import Closed, Closing, PointValue
from grouper._funds import (
    FUND,
    TAKER,
    Unit,
    last_day,
    month_budgets,
    month_unit,
    months_of,
)
from grouper._ledger import DIFFERENCES, Entry
from grouper._prior import FrozenMonth, Prior
from grouper._progress import told
from grouper._statistics import half_up
from grouper.errors import SettlementError
from grouper.tables._policy import Policy
from grouper.tables._types import I64

MONTHLY = ("deduction", "adjustment", "hold", "release")
"""Kinds of entries that count in a month's payment."""


@dataclass
class Months:
    """What months gave: rows of months.parquet and payments.parquet, and each case's `pay`.

    `pay` is -1 · 2^62 where no month has settled a case.
    """

    pay: I64
    months: list[dict[str, Any]] = field(default_factory=list)
    payments: list[dict[str, Any]] = field(default_factory=list)
    closed: list[Closed] = field(default_factory=list)
    closing: Closing | None = None  # of the one month that is settled
    entries: list[Entry] = field(default_factory=list)

    def paid(self, unit: Unit) -> dict[str, int]:
        """Return what each hospital was paid in the months of a unit's period."""
        return self._sum(unit, "paid_fen")

    def deposits(self, unit: Unit) -> dict[str, int]:
        """Return each hospital's deposits."""
        return self._sum(unit, "deposit_fen")

    def _sum(self, unit: Unit, name: str) -> dict[str, int]:
        names, found = set(months_of(unit)), dict[str, int]()
        for row in self.payments:
            if row["pool_id"] == unit.pool and row["line"] == unit.line and row["month"] in names:
                found[row["hospital_id"]] = found.get(row["hospital_id"], 0) + row[name]
        return found


UNSETTLED = -(2**62)


def lines_paid_before(units: Sequence[Unit], prior: Prior) -> list[Unit]:
    """Return units of lines that published months have paid and that have no case left."""
    there = {(u.pool, u.line, m) for u in units for m in months_of(u)}
    found: dict[tuple[str, str, str], Unit] = {}
    for month, frozen in prior.months.items():
        for (_, pool, line), row in frozen.payments.items():
            if (
                line == FUND
                or (pool, line, month) in there
                or not (row["due_fen"] or row["paid_fen"])
            ):
                continue
            near = [u for u in units if month in months_of(u)]
            like = next((u for u in near if u.pool == pool), near[0] if near else None)
            if like is not None:
                none = np.zeros(0, np.int64)
                unit = Unit(pool, line, like.first, like.last, none, source=like.source)
                found[unit.key] = unit
    return list(found.values())


def settle_months(
    claimed: Claimed,
    decisions: Sequence[Decision],
    units: Sequence[Unit],
    entries: Sequence[Entry],
    prior: Prior,
    only: str | None = None,
) -> Months:
    """Settle the months of all units, or `only` one; published ones are taken as they are.

    Raises
    ------
    SettlementError : a month cannot be settled by this policy.
    """
    found = Months(np.full(len(claimed.rows), UNSETTLED, np.int64))
    carried: dict[tuple[str, str, str], int] = {}
    budgets = {u.key: month_budgets(claimed.policy, u) for u in units if u.line == FUND}
    in_order = sorted({m for u in units for m in months_of(u)})
    for month in told(in_order, len(in_order)):
        mine = [u for u in units if month in months_of(u)]
        mine += _carrying(units, mine, month, carried)
        frozen = prior.months.get(month)
        if frozen is not None and month != only:
            _take(found, claimed, frozen, mine, carried)
        elif only in (None, month):
            known = decided(claimed, decisions, last_day(month))
            closing = Closing(known)
            _settle(found, closing, month, mine, entries, budgets, carried)
            found.closing = closing if only else None
    return found


def _carrying(
    units: Sequence[Unit],
    mine: Sequence[Unit],
    month: str,
    carried: Mapping[tuple[str, str, str], int],
) -> list[Unit]:
    """Return lines without cases in this period that a hospital still owes something on."""
    there = {(u.pool, u.line) for u in mine}
    found = {}
    for (pool, line, _), fen in carried.items():
        if fen and (pool, line) not in there:
            span = next((u for u in units if month in months_of(u)), None)
            if span is not None:
                none = np.zeros(0, np.int64)
                found[pool, line] = Unit(pool, line, span.first, span.last, none)
    return list(found.values())


def _settle(
    found: Months,
    closing: Closing,
    month: str,
    units: Sequence[Unit],
    entries: Sequence[Entry],
    budgets: Mapping[tuple[str, str, str], Mapping[str, int]],
    carried: dict[tuple[str, str, str], int],
) -> None:
    """Settle one month of all units: funds first, since others take their point values."""
    claimed = closing.claimed
    policy = claimed.policy
    values: dict[str, PointValue | None] = {}
    for unit in sorted(units, key=lambda u: u.line != FUND):
        fund = budgets[unit.key][month] if unit.line == FUND else None
        part = month_unit(claimed, unit, month, fund)
        if unit.line == FUND:
            closed = closing.close(part, _given_value(policy, part))
            values[unit.pool] = closed.point_value
            found.months.append(_month_row(policy, closed, found.months))
        else:
            closed = closing.close(part, value_for(claimed, part, values))
        found.closed.append(closed)
        if not unit.line.startswith("carve"):
            found.pay[part.rows] = closing.pay[part.rows]
        _pay(found, closing, closed, month, entries, carried)


def value_for(
    claimed: Claimed, unit: Unit, values: Mapping[str, PointValue | None]
) -> PointValue | None:
    """Return the point value that a line takes: its pool's, or that of the pool it follows.

    Raises
    ------
    SettlementError : that pool has no cases that form one.
    """
    policy = claimed.policy
    pool = next(p for p in policy.settings.pool if p.id == unit.pool)
    source = pool.price_of or pool.id
    value = values.get(source)
    factors = {f"family:{f.id}" for f in policy.settings.family if f.pay == "factor"}
    scored = unit.line == TAKER or unit.line in factors
    if value is None and scored and len(unit.rows) and policy.settings.method.shares:
        raise SettlementError(
            f"pool {unit.pool}, {unit.period}: pool {source} has no point value to take"
        )
    return value if scored else None


def _given_value(policy: Policy, unit: Unit) -> PointValue | None:
    """Return a point value known beforehand, per unit of score; None = the month forms its own."""
    year, m = policy.settings.year, policy.settings.method
    assert year is not None
    if year.month_point_value == "own" or m.kind != "point":
        return None
    value = policy.at(f"point_value_{year.month_point_value}", unit.last, **unit.selectors)
    value /= 10**m.score_decimals
    return PointValue(value.numerator, value.denominator)


def _month_row(
    policy: Policy, closed: Closed, before: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    unit, value = closed.unit, closed.point_value
    row = {
        "pool_id": unit.pool,
        "month": unit.name,
        "fund_fen": closed.fund,
        "cases": len(unit.rows),
        "claims": closed.claims,
        "point_value": value_text(policy, value),
        "point_value_num": value.num if value else None,
        "point_value_den": value.den if value else None,
        "pay_fen": closed.pay,
        "balance_fen": closed.fund - closed.pay,
        "state": "settled",
    }
    return {**row, **_pace(policy, row, before)}


def _pace(
    policy: Policy, row: Mapping[str, Any], before: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Compare payments so far with the budget so far (预警): ratio at four decimals, and colour."""
    year = row["month"][:4]
    so_far = [r for r in before if r["pool_id"] == row["pool_id"] and r["month"][:4] == year]
    fund = row["fund_fen"] + sum(r["fund_fen"] for r in so_far)
    pay = row["pay_fen"] + sum(r["pay_fen"] for r in so_far)
    w = policy.settings.warnings
    if fund <= 0:
        return {"pace_ratio": None, "colour": ""}
    ratio = Fraction(pay, fund)
    colours = (("red", w.red), ("orange", w.orange), ("yellow", w.yellow)) if w else ()
    colour = next((name for name, edge in colours if ratio >= Fraction(edge)), "")
    return {"pace_ratio": half_up(ratio * 10_000), "colour": colour}


def value_text(policy: Policy, value: PointValue | None) -> str | None:
    """Write a point value in yuan per point, or per published yuan, at the policy's decimals."""
    if value is None:
        return None
    m = policy.settings.method
    per = Fraction(10**m.score_decimals, 100) if m.kind == "point" else Fraction(1)
    decimals = m.point_value_decimals
    units = half_up(value.exact * per * 10**decimals)
    text = str(units).rjust(decimals + 1, "0")
    return f"{text[:-decimals]}.{text[-decimals:]}" if decimals else text


# ---------------------------------------------------------------------------------------- payments


def _pay(
    found: Months,
    closing: Closing,
    closed: Closed,
    month: str,
    entries: Sequence[Entry],
    carried: dict[tuple[str, str, str], int],
) -> None:
    """Work out what each hospital is paid for a month of one line."""
    unit, policy = closed.unit, closing.claimed.policy
    known = {a.hospital: a for a in accounts(closing, closed)}
    counted = (*MONTHLY, *DIFFERENCES)
    mine = [e for e in entries if e.pool == unit.pool and e.month == month and e.kind in counted]
    of_line = [e for e in mine if _line_of(e) == unit.line]
    hospitals = known.keys() | {e.hospital for e in of_line}
    hospitals |= {
        h for (p, x, h), fen in carried.items() if fen and (p, x) == (unit.pool, unit.line)
    }
    for hospital in sorted(hospitals, key=str.encode):
        account = known.get(hospital)
        sums = account.sums if account else dict.fromkeys(("cases", "cost_fen"), 0)
        own = [e for e in of_line if e.hospital == hospital]
        at = {**unit.selectors, "hospital": hospital}
        if account:
            at["level"] = account.level
        rate = policy.at_or_none("monthly_rate", unit.last, **at)
        deposit_rate = policy.at_or_none("deposit_rate", unit.last, **at) or Fraction(0)
        pay = account.pay if account else 0
        difference = sum(e.amount or 0 for e in own if e.kind in DIFFERENCES)
        owed = pay + difference
        at_rate = owed if rate is None else half_up(owed * rate)
        deposit = half_up(owed * deposit_rate)
        entered = sum(e.amount or 0 for e in own if e.kind in MONTHLY)
        key = (unit.pool, unit.line, hospital)
        before = carried.get(key, 0)
        due = at_rate - deposit + entered + before
        carried[key] = min(due, 0)
        row = {
            "hospital_id": hospital,
            "pool_id": unit.pool,
            "line": unit.line,
            "month": month,
            "cases": sums["cases"],
            "cost_fen": sums["cost_fen"],
            "booked_fund_fen": account.booked if account else 0,
            "pay_fen": pay,
            "difference_fen": difference,
            "owed_fen": owed,
            "at_rate_fen": at_rate,
            "deposit_fen": deposit,
            "entries_fen": entered,
            "carried_fen": before,
            "due_fen": due,
            "paid_fen": max(due, 0),
            "state": "settled",
        }
        found.payments.append(row)
        found.entries += _payment_entries(row)


def _line_of(entry: Entry) -> str:
    """Return the line that an entry counts in: differences name theirs after the month."""
    if entry.kind in MONTHLY:
        return FUND
    return entry.reference.partition(" ")[2] or FUND


def _payment_entries(row: Mapping[str, Any]) -> list[Entry]:
    place = f"{row['pool_id']}:{row['month']}:{row['hospital_id']}"
    if row["line"] != FUND:
        place = f"{row['pool_id']}:{row['line']}:{row['month']}:{row['hospital_id']}"
    found = []
    for kind, fen, reason in (
        ("monthly", row["paid_fen"], "monthly pre-settlement"),
        ("deposit", row["deposit_fen"], "quality deposit held back"),
    ):
        if fen:
            found.append(
                Entry(
                    entry_id=f"{kind}:{place}",
                    kind=kind,
                    pool=row["pool_id"],
                    hospital=row["hospital_id"],
                    month=row["month"],
                    amount=fen,
                    reason=reason,
                )
            )
    return found


# ------------------------------------------------------------------------------------------ frozen


def _take(
    found: Months,
    claimed: Claimed,
    frozen: FrozenMonth,
    units: Sequence[Unit],
    carried: dict[tuple[str, str, str], int],
) -> None:
    """Take a published month as it is."""
    lines = {(u.pool, u.line) for u in units}
    found.months += [
        {**r, "pace_ratio": _ratio_units(r["pace_ratio"]), "state": "frozen"}
        for r in frozen.months.values()
    ]
    for (hospital, pool, line), row in frozen.payments.items():
        if (pool, line) in lines:
            found.payments.append({**row, "state": "frozen"})
            carried[pool, line, hospital] = min(row["due_fen"], 0)
    ids = text_array(claimed.rows.table["case_id"])
    place = pc.index_in(ids, text_array(frozen.cases["case_id"])).fill_null(-1).to_numpy()
    at = np.flatnonzero(place >= 0)
    paid = frozen.cases["pay_fen"].take(pa.array(place[at]))
    found.pay[at] = paid.to_numpy()


def _ratio_units(ratio: Any) -> int | None:
    return None if ratio is None else int(ratio.scaleb(4))
