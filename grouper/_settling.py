"""One settlement under way: a month, or the clearing of all there is.

A month closes one month of every unit and says what the frozen months before it would owe now. A clearing
settles the months that no published run covers, closes every unit at its own price, and clears it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from grouper._accounts import accounts
from grouper._arrow import text_array
from grouper._candidates import candidates
from grouper._claims import Claimed, Decision, day_of, decided, decided_claim
from grouper._clearing import Cleared, Inputs, clear
from grouper._closing import Closed, Closing, PointValue
from grouper._differences import find_differences, month_number
from grouper._distinct import distinct
from grouper._funds import FUND, TAKER, Unit, months_of
from grouper._ledger import DECISIONS, Entry, to_table
from grouper._ledger_rows import Rows
from grouper._manifest import manifest
from grouper._months import Months, settle_months, value_for
from grouper._prior import Prior
from grouper._progress import share, told
from grouper._results import (
    Settlement,
    case_table,
    hospital_table,
    month_table,
    payment_table,
    pool_table,
    sums_agree,
)
from grouper._statistics import half_up
from grouper.errors import ConservationError, SettlementError
from grouper.tables._policy import Policy
from grouper.tables._types import I64


@dataclass(frozen=True)
class Span:
    """The days a run looks at; all of them if `first` is None."""

    name: str | None
    is_month: bool
    first: date | None = None
    last: date | None = None


@dataclass(frozen=True)
class Known:
    """Hospitals of the whole file: the level of each, and those of each pool."""

    levels: Mapping[str, str]
    members: Mapping[str, frozenset[str]]


@dataclass(frozen=True)
class Run:
    """One settlement with everything it needs."""

    policy: Policy
    claimed: Claimed
    units: Sequence[Unit]
    entries: Sequence[Entry]
    decisions: Sequence[Decision]
    prior: Prior
    span: Span
    known: Known
    counts: Counter[str]

    # ------------------------------------------------------------------------------ a month

    def month(self) -> Settlement:
        """Settle one month; published months before it only owe differences."""
        month = self.span.name
        assert month is not None
        assert self.span.last is not None
        numbers = _month_numbers(self.claimed.rows)
        self._refuse_open_months(month, numbers)
        known = decided(self.claimed, self._scored(), self.span.last)
        differences = find_differences(known, self.prior, numbers, month)
        amounts = [e for e in self.entries if e.kind not in DECISIONS]
        self._refuse_strangers([e for e in amounts if e.month == month])
        self._count_differences(differences)
        months = settle_months(
            self.claimed,
            self._scored(),
            self.units,
            [*amounts, *differences],
            self.prior,
            only=month,
        )
        closing = months.closing or Closing(known)
        mine = [r for r in months.payments if r["month"] == month]
        paid = {(r["hospital_id"], r["pool_id"], r["line"]): r["paid_fen"] for r in mine}
        cleared = []
        for closed in months.closed:
            unit = closed.unit
            of_unit = {
                h: fen for (h, pool, x), fen in paid.items() if (pool, x) == (unit.pool, unit.line)
            }
            inputs = Inputs(self.policy, (), {}, of_unit, {}, is_year=False, is_month=True)
            cleared.append(clear(closed, accounts(closing, closed), inputs))
        here = np.flatnonzero(numbers == month_number(month))
        tables = {
            **self._shared_tables(closing, cleared, here),
            "months": month_table([r for r in months.months if r["month"] == month]),
            "payments": payment_table(mine),
            "ledger": to_table([*self.entries, *differences, *months.entries]),
        }
        return self._wrap(tables, cleared, "month", [month])

    def _count_differences(self, differences: Sequence[Entry]) -> None:
        """Say how much of earlier months changed, and which of their cases the file lacks."""
        for e in differences:
            self.counts[f"{e.kind}: cases of published months"] += 1
            self.counts[f"{e.kind}: fen"] += e.amount or 0
        ids = text_array(self.claimed.rows.table["case_id"])
        for month, frozen in self.prior.months.items():
            published = text_array(frozen.cases["case_id"])
            absent = len(published) - (pc.sum(pc.is_in(published, value_set=ids)).as_py() or 0)
            if absent:
                self.counts[f"published {month}: cases that are not in the file"] += absent

    def _refuse_strangers(self, amounts: Sequence[Entry]) -> None:
        """Refuse entries for hospitals that the pool does not know."""
        members = self.known.members
        paid = {key[:2] for f in self.prior.months.values() for key in f.payments}
        for e in amounts:
            if e.hospital not in members.get(e.pool, ()) and (e.hospital, e.pool) not in paid:
                raise SettlementError(
                    f"ledger entry {e.entry_id!r}: pool {e.pool} has no case of hospital "
                    f"{e.hospital!r}; correct it"
                )

    def _refuse_open_months(self, month: str, numbers: I64) -> None:
        """Refuse cases of an earlier month that no published run covers."""
        frozen = [month_number(m) for m in self.prior.months]
        open_ = np.flatnonzero((numbers < month_number(month)) & ~np.isin(numbers, frozen))
        if len(open_):
            day = day_of(self.claimed.rows.fund_day[open_[0]])
            raise SettlementError(
                f"{len(open_)} cases are of {day:%Y-%m} or other months before {month} that no "
                "published run covers: settle and publish them first, or name their runs as prior"
            )

    # --------------------------------------------------------------------------- a clearing

    def clearing(self) -> Settlement:
        """Close and clear every unit; with [year], settle the months that no published run covers."""
        is_year = self.policy.settings.year is not None
        amounts = [e for e in self.entries if e.kind not in DECISIONS]
        self._check_entries(amounts, is_year=is_year)
        self._refuse_strangers(amounts)
        months = Months(np.zeros(0, np.int64))
        if is_year:
            self._refuse_absent()
            with share(0, 0.6):
                months = settle_months(
                    self.claimed, self._scored(), self.units, amounts, self.prior
                )
        claims = decided(self.claimed, self._scored(), None)
        closing = Closing(claims)
        cleared: list[Cleared] = []
        values: dict[tuple[str, date], PointValue | None] = {}
        special = self._special_amounts if self._from_reserve() else _no_amounts
        in_order = sorted(self.units, key=lambda u: u.line != FUND)
        for unit in told(in_order, len(in_order)):
            price = None
            if unit.line == FUND:
                closed = closing.close(unit)
                values[unit.pool, unit.first] = closed.point_value
            else:
                near = {p: v for (p, first), v in values.items() if first == unit.first}
                price = value_for(claims, unit, near)
                closed = closing.close(unit, price)
            inputs = Inputs(
                self.policy,
                self._entries_of(unit, amounts),
                special(closing, closed),
                months.paid(unit),
                months.deposits(unit),
                is_year,
                self.known.levels,
                self.known.members.get(unit.pool, frozenset()),
            )
            cleared.append(clear(closed, accounts(closing, closed), inputs))
        cleared = [c for c in cleared if c.closed.unit.fund is not None or c.lines or c.has_cases]
        place = {u.key: k for k, u in enumerate(self.units)}
        cleared.sort(key=lambda c: place[c.closed.unit.key])
        written = [*months.entries, *_left_over(cleared), *_out_of_area(claims, closing, cleared)]
        written += [e for c in cleared for e in c.entries]
        tables = {
            **self._shared_tables(closing, cleared, None, months.pay if is_year else None),
            "months": month_table(months.months),
            "payments": payment_table(months.payments),
            "ledger": to_table([*self.entries, *written]),
        }
        names = sorted({r["month"] for r in months.months})
        return self._wrap(tables, cleared, "year" if is_year else "single", names)

    def _scored(self) -> Sequence[Decision]:
        """Return the decisions that change a claim: none where the reserve pays for them."""
        return () if self._from_reserve() else self.decisions

    def _from_reserve(self) -> bool:
        special = self.policy.settings.special_cases
        return special is not None and special.paid_from == "reserve"

    def _special_amounts(self, closing: Closing, closed: Closed) -> dict[str, tuple[int, str]]:
        """Return what decided cases get from the reserve: claim and decision differ, at the point value."""
        c, found = self.claimed, {}
        inside = set(closed.unit.rows.tolist()) if closed.unit.line == FUND else set()
        for d in {d.row: d for d in self.decisions if d.row in inside}.values():
            if d.outcome == "refused" or c.rows.reversed[d.row]:
                continue
            if d.outcome == "booked":
                amount = int(c.rows.booked[d.row] - closing.pay[d.row])
            else:
                value, so_far = closed.point_value, int(closing.pay[d.row])
                before = 0 if c.off_top[d.row] else int(c.claim[d.row])
                more = decided_claim(c, d) - before
                amount = half_up(more * value.exact) if value else more
                amount -= so_far if c.off_top[d.row] else 0
            found[c.rows.case_id(d.row)] = (amount, c.rows.hospital[d.row])
        return found

    def _refuse_absent(self) -> None:
        """Refuse to clear without cases that a published month has paid."""
        ids = text_array(self.claimed.rows.table["case_id"])
        spans = {m for u in self.units for m in months_of(u)}
        for month, frozen in self.prior.months.items():
            if month not in spans:
                continue
            published = text_array(frozen.cases["case_id"])
            absent = published.filter(pc.invert(pc.is_in(published, value_set=ids)))
            if len(absent):
                raise SettlementError(
                    f"{len(absent)} cases of the published {month} are not in the file, as "
                    f"{absent[0].as_py()!r}, or are of another year now: give them with the date they "
                    "were published with, reversed ones with refd_setl_flag"
                )

    def _check_entries(self, amounts: Sequence[Entry], *, is_year: bool) -> None:
        """Refuse entries that would stand for nothing."""
        year = self.policy.settings.year
        for e in amounts:
            if e.kind in ("hold", "release") and not is_year:
                raise SettlementError(
                    f"ledger entry {e.entry_id!r}: a {e.kind} needs months, a policy with [year]"
                )
            if e.kind == "assessment" and (year is None or year.assessment == "none"):
                raise SettlementError(
                    f"ledger entry {e.entry_id!r}: the policy has no [year] assessment"
                )
            if not any(self._meets(u, e) for u in self.units):
                raise SettlementError(
                    f"ledger entry {e.entry_id!r}: settlement_month {e.month!r} is in no period of "
                    f"pool {e.pool}"
                )

    def _meets(self, unit: Unit, entry: Entry) -> bool:
        return (unit.pool, unit.line) == (entry.pool, FUND) and (
            not entry.month or entry.month in months_of(unit)
        )

    def _entries_of(self, unit: Unit, amounts: Sequence[Entry]) -> list[Entry]:
        """Return the entries of a unit; one without a month is for a pool's only period."""
        if unit.line != FUND:
            return []
        mine = [e for e in amounts if self._meets(unit, e)]
        others = [u for u in self.units if (u.pool, u.line) == (unit.pool, FUND)]
        for e in mine:
            if not e.month and len(others) > 1:
                raise SettlementError(
                    f"ledger entry {e.entry_id!r}: pool {unit.pool} has {len(others)} periods: name "
                    "the settlement_month"
                )
        return mine

    # ------------------------------------------------------------------------------- results

    def _shared_tables(
        self,
        closing: Closing,
        cleared: Sequence[Cleared],
        only: I64 | None,
        month_pay: I64 | None = None,
    ) -> dict[str, pa.Table]:
        c = closing.claimed
        known = [
            d
            for d in self.decisions
            if self.span.last is None
            or not self.span.is_month
            or d.entered is None
            or d.entered <= self.span.last
        ]
        outcomes = {d.row: d.outcome for d in known if not c.rows.reversed[d.row]}
        if self.span.is_month:
            month_pay = closing.pay
        hospitals = hospital_table(cleared)
        if not sums_agree(hospitals, cleared):
            raise ConservationError("the hospitals' payments do not add up to the pools'")
        r = c.rows
        of = (r.hospital, r.level, r.class_)
        _, first = distinct(*((t.index, len(t.distinct)) for t in of))
        used = [(r.hospital[k], r.level[k], r.class_[k]) for k in first]
        return {
            "cases": case_table(closing, month_pay, outcomes, only),
            "hospitals": hospitals,
            "pools": pool_table(c, cleared),
            "coefficients": c.coefficients.table(used),
            "candidates": candidates(c, closing.standard, [x.closed for x in cleared], outcomes),
        }

    def _wrap(
        self,
        tables: Mapping[str, pa.Table],
        cleared: Sequence[Cleared],
        kind: str,
        months: Sequence[str],
    ) -> Settlement:
        order = (*("cases", "hospitals", "pools", "ledger", "months", "payments"), "coefficients")
        ordered = {name: tables[name] for name in (*order, "candidates")}
        run: Mapping[str, Any] = {
            "kind": kind,
            "period": self.span.name or "",
            "months": list(months),
            "frozen": [m for m in self.prior.months if m in months],
        }
        said = manifest(self.claimed, cleared, run, self.counts, ordered["months"])
        return Settlement(ordered, said)


def _no_amounts(_: Closing, __: Closed) -> dict[str, tuple[int, str]]:
    return {}


def _month_numbers(rows: Rows) -> I64:
    """Return each case's month as yyyy·12 + mm - 1."""
    months = np.asarray(rows.fund_day, "datetime64[D]").astype("datetime64[M]")
    return months.astype(np.int64) + 1970 * 12


def _left_over(cleared: Sequence[Cleared]) -> list[Entry]:
    """Write what a closing leaves as entries: never a case scaled, never a silent rest."""
    found = []
    for c in cleared:
        unit = c.closed.unit
        for kind, fen, reason in (
            ("balance", c.closed.balance, "fund less what the given prices pay"),
            ("undistributed", c.undistributed, "fund less what the fund form pays"),
        ):
            if fen:
                line = "" if unit.line == FUND else f"{unit.line}:"
                found.append(
                    Entry(
                        entry_id=f"{kind}:{unit.pool}:{line}{unit.period}",
                        kind=kind,
                        pool=unit.pool,
                        month=f"{unit.last:%Y-%m}",
                        amount=fen,
                        reason=reason,
                        reference=unit.source,
                    )
                )
    return found


def _out_of_area(claims: Claimed, closing: Closing, cleared: Sequence[Cleared]) -> list[Entry]:
    """Write what each insured area owes beyond what was booked for its people treated here."""
    found, area = [], claims.rows.insured_area
    for c in cleared:
        unit = c.closed.unit
        if unit.line != TAKER:
            continue
        index = area.index[unit.rows]
        for k in sorted(np.unique(index).tolist(), key=lambda k: area.distinct[k].encode()):
            mine = unit.rows[index == k]
            pay, booked = int(closing.pay[mine].sum()), int(claims.rows.booked[mine].sum())
            found.append(
                Entry(
                    entry_id=f"out_of_area:{unit.pool}:{unit.period}:{area.distinct[k]}",
                    kind="out_of_area",
                    pool=unit.pool,
                    month=f"{unit.last:%Y-%m}",
                    amount=pay - booked,
                    reason=f"insured area {area.distinct[k]}: paid {pay} fen, booked {booked} fen",
                    reference=area.distinct[k],
                )
            )
    return found
