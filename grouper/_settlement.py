"""settle: groups → money, exact to the fen.

Order of work: bring the rows together with hospitals and days (`_ledger_rows`); claims per case
(`_claims`); funds (`_funds`); months, frozen or settled (`_months`); close each fund (`_closing`) and
clear it (`_clearing`); wrap with the proof. One way through for a plain settlement, a month and a year: they
differ in which cases and units are looked at.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from grouper._accounts import accounts
from grouper._arrow import text_array
from grouper._calendar import deadlines
from grouper._candidates import candidates
from grouper._claims import (
    EPOCH,
    Claimed,
    Decision,
    day_of,
    decided,
    decided_claim,
    find_claims,
    find_pools,
)
from grouper._clearing import Cleared, Inputs, clear
from grouper._closing import Closed, Closing, PointValue
from grouper._differences import find_differences
from grouper._distinct import distinct
from grouper._funds import FUND, Unit, find_units, fund_parameter, last_day, months_of, pools_of
from grouper._grouping import GroupedBatch
from grouper._ledger import DECISIONS, ENTRIES, Entry, in_order, place_pools, read_entries, to_table
from grouper._ledger_rows import Rows, read_rows
from grouper._months import Months, lines_paid_before, settle_months, value_for
from grouper._pricing import round_half_up
from grouper._prior import Prior, read_prior
from grouper._results import (
    case_table,
    counts_of_bands,
    counts_of_rules,
    hospital_table,
    month_table,
    payment_table,
    pool_table,
    sums_agree,
)
from grouper.errors import ConservationError, SettlementError
from grouper.tables._policy import Policy, load_policy
from grouper.tables._types import I64

__all__ = ["ENTRIES", "Settlement", "settle"]


@dataclass(frozen=True, eq=False)
class Settlement:
    """What the fund owes (结算): per case, hospital and pool, with its proof of conservation."""

    _tables: Mapping[str, pa.Table]
    _manifest: Mapping[str, Any] = field(repr=False)

    def cases(self) -> pa.Table:
        """Return one row a case, in the order of the input."""
        return self._tables["cases"]

    def hospitals(self) -> pa.Table:
        """Return one row a hospital, pool, period and line."""
        return self._tables["hospitals"]

    def pools(self) -> pa.Table:
        """Return one row a pool, period and line; each closes to the fen."""
        return self._tables["pools"]

    def entries(self) -> pa.Table:
        """Return the ledger: the entries that were given, then those that this run writes."""
        return self._tables["ledger"]

    def months(self) -> pa.Table:
        """Return one row a pool and month, with its point value; empty without [year]."""
        return self._tables["months"]

    def payments(self) -> pa.Table:
        """Return one row a hospital, pool, line and month; empty without [year]."""
        return self._tables["payments"]

    def coefficients(self) -> pa.Table:
        """Return how each hospital coefficient came about."""
        return self._tables["coefficients"]

    def candidates(self) -> pa.Table:
        """Return the ranked candidates for special cases; empty without [special_cases]."""
        return self._tables["candidates"]

    def tables(self) -> dict[str, pa.Table]:
        """Return every table by the name that it has in a run folder."""
        return dict(self._tables)

    def manifest(self) -> dict[str, Any]:
        """Return policy, parameters with source, counts and the proof."""
        return dict(self._manifest)


def settle(
    grouped: GroupedBatch | pa.Table,
    policy: Policy | str | Path,
    *,
    hospitals: pa.Table | None = None,
    ledger: pa.Table | None = None,
    prior: Any = None,
    period: str | None = None,
    threads: int | None = None,
) -> Settlement:
    """Pay grouped cases under a policy (结算).

    Parameters
    ----------
    grouped : a `GroupedBatch`, or its table with the carried case columns.
    policy : a `Policy`, the id of a shipped one, or a path.
    hospitals : hospital_id, hospital_level, hospital_class, hospital_area, valid_from, valid_to; dated.
        Where it says nothing, the case's own columns hold.
    ledger : decisions, deductions, prepayments, assessments …, see `ENTRIES` and docs/policy.md.
    prior : run folders: published months of the year, and last year's runs for their means.
    period : a month such as "2025-03", or a year or fund period to clear. Left out, all there is;
        a policy with [year] then settles every month on the way.

    Raises
    ------
    PolicyError : a parameter is missing or not in force. CaseSchemaError : columns are missing.
    SettlementError : cases or entries that the policy cannot pay; says which and what to add.
    """
    policy = policy if isinstance(policy, Policy) else load_policy(policy)
    span = _span(policy, period)
    earlier, given = read_prior(prior), read_entries(ledger)
    counts: Counter[str] = Counter()
    rows, known = _rows_of(grouped, policy, hospitals, span, counts)
    _refuse_edition(rows, policy)
    claimed = find_claims(rows, policy, earlier.last_year, threads)
    units = find_units(claimed, lambda r: Closing(claimed).owed_at_price(r, r))
    entries = place_pools(given, pools_of(units))
    decisions = _decisions(rows, entries, counts, strict=not span.is_month)
    units = [*units, *lines_paid_before(units, earlier)]
    run = _Run(policy, claimed, units, entries, decisions, earlier, span, known, counts)
    return run.month() if span.is_month else run.clearing()


@dataclass(frozen=True)
class _Span:
    """The days a run looks at; all of them if `first` is None."""

    name: str | None
    is_month: bool
    first: date | None = None
    last: date | None = None


def _span(policy: Policy, period: str | None) -> _Span:
    """Read the period of a run.

    Raises
    ------
    SettlementError : it is neither a month nor a period of a fund, or a month without [year].
    """
    if period is None:
        return _Span(None, is_month=False)
    values = policy.settings.param[fund_parameter(policy)].all_values
    ends = sorted({(v.from_, v.to) for v in values if v.to is not None})
    if re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", period):
        first, last = date.fromisoformat(f"{period}-01"), last_day(period)
        if policy.settings.year is None:
            raise SettlementError(f"policy {policy.id} has no [year], so it settles no months")
        if any(a <= first and last <= b for a, b in ends):
            return _Span(period, is_month=True, first=first, last=last)
    inside = [(a, b) for a, b in ends if period in (f"{a}/{b}", f"{a:%Y}")]
    if inside and (len(inside) == 1 or all(f"{b:%Y}" == period for _, b in inside)):
        return _Span(period, False, min(a for a, _ in inside), max(b for _, b in inside))
    known = ", ".join(dict.fromkeys(f"{a}/{b}" for a, b in ends))
    raise SettlementError(f"period {period!r} is no month or year of a fund; funds: {known}")


def _rows_of(
    grouped: GroupedBatch | pa.Table,
    policy: Policy,
    hospitals: pa.Table | None,
    span: _Span,
    counts: Counter[str],
) -> tuple[Rows, _Known]:
    """Read the rows that a run looks at: those of its period, a month's earlier ones too."""
    rows = read_rows(grouped, policy, hospitals, counts)
    known = _known_hospitals(rows, policy)
    if span.first is None or span.last is None:
        return rows, known
    inside = rows.fund_day <= span.last.toordinal() - EPOCH
    if not span.is_month:
        inside &= rows.fund_day >= span.first.toordinal() - EPOCH
    if inside.all():
        return rows, known
    left_out = int((~inside).sum())
    counts.clear()
    table = rows.table.filter(pa.array(inside))
    rows = read_rows(table, policy, hospitals, counts)
    counts[f"settlement_date: outside {span.name}, left out"] += left_out
    return rows, known


@dataclass(frozen=True)
class _Known:
    """Hospitals of the whole file: the level of each, and those of each pool."""

    levels: Mapping[str, str]
    members: Mapping[str, frozenset[str]]


def _known_hospitals(rows: Rows, policy: Policy) -> _Known:
    pool, pools = find_pools(rows, policy), policy.settings.pool
    levels: dict[str, str] = {}
    members: dict[str, frozenset[str]] = {}
    _, first = distinct((pool, len(pools)), (rows.hospital.index, len(rows.hospital.distinct)))
    for k in first:
        hospital, name = rows.hospital[k], pools[pool[k]].id
        levels[hospital] = rows.level[k]
        members[name] = members.get(name, frozenset()) | {hospital}
    return _Known(levels, members)


def _decisions(
    rows: Rows, entries: Sequence[Entry], counts: Counter[str], *, strict: bool
) -> list[Decision]:
    """Bring decisions together with their cases."""
    wanted = in_order(e for e in entries if e.kind in DECISIONS)
    if not wanted:
        return []
    ids = text_array(rows.table["case_id"])
    place = pc.index_in(pa.array([e.case for e in wanted], pa.string()), value_set=ids)
    found = []
    for e, row in zip(wanted, place.to_pylist(), strict=True):
        if row is None and strict:
            raise SettlementError(f"ledger entry {e.entry_id!r}: no case {e.case!r} in the file")
        if row is None:
            counts["ledger: decisions on cases that are not in the file"] += 1
            continue
        value = e.value if e.value is not None else 0
        found.append(Decision(row, e.entry_id, e.outcome, Fraction(value), e.entered_on))
    return found


def _refuse_edition(rows: Rows, policy: Policy) -> None:
    """Refuse groups of a scheme that the policy does not adopt, where it names any."""
    adopted = [a.id for a in policy.settings.scheme]
    if not adopted or "scheme" not in rows.table.schema.names:
        return
    used = {str(s) for s in rows.table["scheme"].unique().to_pylist() if s is not None}
    if foreign := sorted(used - set(adopted)):
        raise SettlementError(
            f"the cases are grouped by {', '.join(foreign)}; policy {policy.id} adopts "
            f"{', '.join(adopted)}: group by that, or name the scheme under [[scheme]]"
        )


# --------------------------------------------------------------------------------------- the run


@dataclass(frozen=True)
class _Run:
    """One settlement with everything it needs."""

    policy: Policy
    claimed: Claimed
    units: Sequence[Unit]
    entries: Sequence[Entry]
    decisions: Sequence[Decision]
    prior: Prior
    span: _Span
    known: _Known
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
        months = settle_months(
            self.claimed,
            self._scored(),
            self.units,
            [*amounts, *differences],
            self.prior,
            only=month,
        )
        assert months.closing is not None
        paid = {(r["hospital_id"], r["pool_id"], r["line"]): r["paid_fen"] for r in months.payments}
        cleared = []
        for closed in months.closed:
            unit = closed.unit
            of_unit = {
                h: fen for (h, pool, x), fen in paid.items() if (pool, x) == (unit.pool, unit.line)
            }
            inputs = Inputs(self.policy, (), {}, of_unit, {}, is_year=False)
            cleared.append(clear(closed, accounts(months.closing, closed), inputs))
        mine = [r for r in months.payments if r["month"] == month]
        here = np.flatnonzero(numbers == numbers.dtype.type(_number(month)))
        tables = {
            **self._tables(months.closing, cleared, here),
            "months": month_table([r for r in months.months if r["month"] == month]),
            "payments": payment_table(mine),
            "ledger": to_table([*self.entries, *differences, *months.entries]),
        }
        return self._wrap(tables, cleared, "month", [month])

    def _refuse_strangers(self, amounts: Sequence[Entry]) -> None:
        """Refuse entries of the month for hospitals that the pool does not know."""
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
        frozen = [_number(m) for m in self.prior.months]
        open_ = np.flatnonzero((numbers < _number(month)) & ~np.isin(numbers, frozen))
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
        months = Months(np.zeros(0, np.int64))
        if is_year:
            self._refuse_absent()
            months = settle_months(self.claimed, self._scored(), self.units, amounts, self.prior)
        claims = decided(self.claimed, self._scored(), None)
        closing = Closing(claims)
        cleared: list[Cleared] = []
        values: dict[tuple[str, date], PointValue | None] = {}
        special = self._special_amounts if self._from_reserve() else _no_amounts
        for unit in sorted(self.units, key=lambda u: u.line != FUND):
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
            **self._tables(closing, cleared, None, months.pay if is_year else None),
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
                amount = round_half_up(more * value.exact) if value else more
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
                    f"{absent[0].as_py()!r}: give them, reversed ones with refd_setl_flag"
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

    def _tables(
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
        manifest = self._manifest(cleared, kind, months)
        if held := self._proposals(ordered["months"]):
            manifest["proposals"] = held
        return Settlement(ordered, manifest)

    def _proposals(self, rows: pa.Table) -> list[str]:
        """Propose to hold the next month's payment of a pool that is red (暂缓拨付)."""
        warnings = self.policy.settings.warnings
        if warnings is None or not warnings.hold_on_red:
            return []
        return [
            f"pool {r['pool_id']}: {r['month']} is red at {r['pace_ratio']} of the budget so far: "
            "hold the next month's payment (ledger kind hold)"
            for r in rows.to_pylist()
            if r["colour"] == "red"
        ]

    def _manifest(
        self, cleared: Sequence[Cleared], kind: str, months: Sequence[str]
    ) -> dict[str, Any]:
        policy, rows = self.policy, self.claimed.rows
        s = policy.settings
        days = [day_of(d) for d in (rows.fund_day.min(), rows.fund_day.max())] if len(rows) else []
        found = {
            "policy": {
                "id": policy.id,
                "title": s.title,
                "standing": s.standing,
                "fingerprint": policy.fingerprint,
                "method": s.method.model_dump(mode="json"),
                "parameters": {
                    name: {
                        "unit": p.unit,
                        "values": [
                            v.model_dump(mode="json", by_alias=True, exclude_none=True)
                            for v in p.all_values
                        ],
                    }
                    for name, p in s.param.items()
                },
            },
            "settled": {
                "cases": len(rows),
                "days": [d.isoformat() for d in days],
                "bands": counts_of_bands(self.claimed),
                "paid_by_rule": counts_of_rules(self.claimed),
                "stand_ins": dict(self.counts),
            },
            "run": {
                "kind": kind,
                "period": self.span.name or (f"{days[0]}/{days[-1]}" if days else ""),
                "months": list(months),
                "frozen": [m for m in self.prior.months if m in months],
                "status": "draft",
                "sign_off": {},
            },
            "proof": [_proof(c) for c in cleared],
        }
        if s.calendar is not None:
            found["deadlines"] = deadlines(s.calendar, months)
        return found


def _proof(c: Cleared) -> dict[str, Any]:
    """Write the identities of one unit, each term a number."""
    unit, closed = c.closed.unit, c.closed
    return {
        "pool_id": unit.pool,
        "period": unit.period,
        "line": unit.line,
        "fund_fen": closed.fund,
        "pay_fen": closed.pay,
        "balance_fen": closed.balance,
        "undistributed_fen": closed.undistributed,
        "identity": "fund + drawn = pay + balance + undistributed",
        "hospitals_fen": sum(x.account.pay for x in c.lines),
        "accrual": c.terms(),
        "accrual_identity": "budget + drawn = payable + undistributed + withheld + next_year + "
        "balance + outside + reserve_kept",
        "cash": {
            "payable_fen": c.payable,
            "paid_monthly_fen": sum(x.paid_monthly for x in c.lines),
            "prepayment_fen": sum(x.prepayment for x in c.lines),
            "to_pay_fen": sum(x.to_pay for x in c.lines),
        },
    }


def _no_amounts(_: Closing, __: Closed) -> dict[str, tuple[int, str]]:
    return {}


def _month_numbers(rows: Rows) -> I64:
    """Return each case's month as yyyy·12 + mm - 1."""
    months = np.asarray(rows.fund_day, "datetime64[D]").astype("datetime64[M]")
    return months.astype(np.int64) + 1970 * 12


def _number(month: str) -> int:
    return int(month[:4]) * 12 + int(month[5:]) - 1


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
        if unit.line != "taker":
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
