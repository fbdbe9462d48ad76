"""Clearing one unit (清算): from what the fund owes for cases to what each hospital is to be paid.

Order of work: special cases paid from the reserve, floors, caps, assessment, deductions make the base;
then surplus kept and overspend shared, the second distribution, and the cash still to pay. Every term is
a column, and the accrual identity is proved here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from grouper._accounts import Account
from grouper._closing import Closed
from grouper._funds import FUND
from grouper._ledger import Entry, in_order
from grouper._statistics import half_up
from grouper.errors import ConservationError, SettlementError
from grouper.kernels import _money
from grouper.tables._policy import Policy
from grouper.tables._policy_model import Share

TERMS = ("special", "floor", "cap", "assessment", "deduction", "surplus", "overspend", "second")
"""What is added to a hospital's pay, in order; each is a column in fen."""

KINDS = {
    "special": "special",
    "floor": "floor",
    "cap": "cap",
    "assessment": "assessed",
    "surplus": "surplus",
    "overspend": "overspend",
    "second": "second",
}
REASONS = {
    "special": "special cases paid from the reserve",
    "floor": "method.negative = zero_hospital: lifts the hospital to zero",
    "cap": "payment above the hospital's cap",
    "assessment": "assessment coefficient",
    "surplus": "surplus that is not kept",
    "overspend": "overspend borne by the fund",
    "second": "second distribution of surpluses not kept",
}


@dataclass
class Line:
    """One hospital of a unit with its terms, fen."""

    account: Account
    terms: dict[str, int] = field(default_factory=lambda: dict.fromkeys(TERMS, 0))
    paid_monthly: int = 0
    prepayment: int = 0

    @property
    def base(self) -> int:
        """What it is owed before surplus and overspend."""
        return self.account.pay + sum(self.terms[t] for t in TERMS[:5])

    @property
    def payable(self) -> int:
        """What it is owed in the end."""
        return self.account.pay + sum(self.terms.values())

    @property
    def to_pay(self) -> int:
        """The cash still to pay; below zero it is to be recovered."""
        return self.payable - self.paid_monthly - self.prepayment


@dataclass
class Cleared:
    """A unit after clearing: its hospitals, the rest of the pool's terms, and the entries."""

    closed: Closed
    lines: list[Line]
    withheld: Mapping[str, int]  # cap, assessment, deduction as positive amounts
    next_year: int = 0
    to_reserve: int = 0
    drawn: int = 0
    overdrawn: int = 0  # what floors draw beyond the reserve: no money stands behind it
    entries: list[Entry] = field(default_factory=list)

    @property
    def has_cases(self) -> bool:
        """Tell whether any case stands in the unit."""
        return len(self.closed.unit.rows) > 0

    @property
    def payable(self) -> int:
        """What its hospitals are owed in the end."""
        return sum(line.payable for line in self.lines)

    @property
    def undistributed(self) -> int:
        """What no hospital gets and the reserve does not either."""
        return self.closed.undistributed - self.from_left_over

    from_left_over: int = 0

    def terms(self) -> dict[str, int]:
        """Return the terms of the accrual identity: left side and right side are equal."""
        unit = self.closed.unit
        return {
            "budget_fen": unit.budget if unit.line == FUND else self.closed.fund,
            "drawn_fen": self.drawn,
            "payable_fen": self.payable,
            "undistributed_fen": self.undistributed,
            "withheld_cap_fen": self.withheld["cap"],
            "withheld_assessment_fen": self.withheld["assessment"],
            "withheld_deduction_fen": self.withheld["deduction"],
            "next_year_fen": self.next_year,
            "balance_fen": self.closed.balance,
            "outside_fen": unit.planned if unit.line == FUND else 0,
            "reserve_kept_fen": unit.reserve + self.to_reserve,
        }


@dataclass(frozen=True)
class Inputs:
    """What clearing a unit needs besides its cases."""

    policy: Policy
    entries: Sequence[Entry]  # of people, for this pool and period
    special: Mapping[str, tuple[int, str]]  # case -> amount from the reserve, hospital
    paid_monthly: Mapping[str, int]
    deposits: Mapping[str, int]
    is_year: bool
    levels: Mapping[str, str] = field(default_factory=dict)  # of every hospital in the file
    members: frozenset[str] = frozenset()  # hospitals with cases in the pool
    is_month: bool = False  # floors, caps and the rest wait for the clearing


def clear(closed: Closed, found: Sequence[Account], given: Inputs) -> Cleared:
    """Clear one unit and prove its accrual identity.

    Raises
    ------
    SettlementError : an entry is for a hospital without cases there, or the reserve is too small.
    ConservationError : never.
    """
    unit, policy = closed.unit, given.policy
    there = {a.hospital for a in found}
    idle = {h for h, fen in given.paid_monthly.items() if fen} - there
    if unit.line == FUND:
        idle |= {e.hospital for e in given.entries} - there
    for hospital in sorted(idle, key=str.encode):
        if hospital not in given.members and hospital not in given.paid_monthly:
            entry = next(e for e in given.entries if e.hospital == hospital)
            raise SettlementError(
                f"ledger entry {entry.entry_id!r}: pool {unit.pool} has no case of hospital "
                f"{hospital!r}; correct it"
            )
    found = [*found, *(Account.idle(h, given.levels.get(h, "")) for h in idle)]
    lines = [Line(a) for a in sorted(found, key=lambda a: a.hospital.encode())]
    for line in lines:
        line.paid_monthly = given.paid_monthly.get(line.account.hospital, 0)
    if unit.line != FUND or given.is_month:
        none = dict.fromkeys(("cap", "assessment", "deduction"), 0)
        return _proved(Cleared(closed, lines, none, drawn=closed.drawn))
    _put_entries(lines, given)
    for line in lines:
        _base_terms(line, closed, given)
    lines = [x for x in lines if x.account.sums["cases"] or x.payable or x.to_pay]
    withheld = {t: -sum(x.terms[t] for x in lines) for t in ("cap", "assessment", "deduction")}
    cleared = Cleared(closed, lines, withheld)
    lifted = sum(x.terms["special"] + x.terms["floor"] for x in lines)
    cleared.drawn = closed.drawn + lifted
    held = _limit_reserve(cleared, policy)
    if given.is_year:
        _surplus_and_overspend(cleared, policy)
    cleared.overdrawn = max(0, cleared.drawn - held)
    if policy.settings.method.left_over == "reserve" and closed.undistributed > 0:
        cleared.from_left_over = closed.undistributed
        cleared.to_reserve += closed.undistributed
    cleared.entries = [*_case_entries(cleared, given), *_hospital_entries(cleared, given)]
    return _proved(cleared)


def _put_entries(lines: Sequence[Line], given: Inputs) -> None:
    """Add up deductions, adjustments and prepayments by hospital."""
    of = {line.account.hospital: line for line in lines}
    for e in given.entries:
        if e.kind in ("deduction", "adjustment"):
            of[e.hospital].terms["deduction"] += e.amount or 0
        elif e.kind == "prepayment":
            of[e.hospital].prepayment += e.amount or 0
    for amount, hospital in given.special.values():
        of[hospital].terms["special"] += amount


def _base_terms(line: Line, closed: Closed, given: Inputs) -> None:
    """Work out floor, cap and assessment of one hospital."""
    policy, a, unit = given.policy, line.account, closed.unit
    if policy.settings.method.negative == "zero_hospital":
        line.terms["floor"] = max(0, -a.pay - line.terms["special"])
    at = {"hospital": a.hospital, "level": a.level, "pool": unit.pool}
    before = a.pay + line.terms["special"] + line.terms["floor"]
    most = policy.at_or_none("hospital_cap", unit.last, **at)
    if most is not None:
        line.terms["cap"] = min(0, half_up(most) - before)
    year = policy.settings.year
    if not given.is_year or year is None or year.assessment == "none":
        return
    own = in_order(e for e in given.entries if e.kind == "assessment" and e.hospital == a.hospital)
    coefficient = own[-1].value if own else policy.at_or_none("assessment", unit.last, **at)
    if coefficient is None:
        return
    if year.assessment == "pay":
        amount = half_up((before + line.terms["cap"]) * (coefficient - 1))
    else:
        amount = -half_up(given.deposits.get(a.hospital, 0) * (1 - coefficient))
    line.terms["assessment"] = amount


def _limit_reserve(cleared: Cleared, policy: Policy) -> int:
    """Refuse special cases that the reserve cannot pay; return what the reserve holds."""
    unit = cleared.closed.unit
    special = sum(x.terms["special"] for x in cleared.lines)
    held = unit.reserve + half_up(
        policy.at_or_none("reserve_balance", unit.last, pool=unit.pool) or Fraction(0)
    )
    if special > held:
        raise SettlementError(
            f"pool {unit.pool}, {unit.period}: special cases take {special} fen from a reserve of "
            f"{held} fen; pay them from the fund, or raise the reserve"
        )
    return held


def _surplus_and_overspend(cleared: Cleared, policy: Policy) -> None:
    """Keep surpluses, share overspends, and place what is not kept."""
    year, unit = policy.settings.year, cleared.closed.unit
    assert year is not None
    wanted = np.zeros(len(cleared.lines), np.int64)
    for k, line in enumerate(cleared.lines):
        base, booked = line.base, line.account.booked
        if base <= 0:
            continue
        ratio = Fraction(booked, base)
        if booked < base:
            share = _share(year.surplus, ratio)
            surplus = base - booked
            kept = surplus if share is None else half_up(surplus * share)
            line.terms["surplus"] = kept - surplus
        elif booked > base and not year.no_top_up:
            share = _share(year.overspend, ratio)
            wanted[k] = half_up((booked - base) * share) if share else 0
    unretained = -sum(x.terms["surplus"] for x in cleared.lines)
    balance = policy.at_or_none("reserve_balance", unit.last, pool=unit.pool) or Fraction(0)
    sources = {
        "reserve": max(0, unit.reserve + half_up(balance) - cleared.drawn),
        "unretained": unretained,
    }
    available = sum(sources[s] for s in year.overspend_from)
    borne = wanted
    if wanted.sum() > available:
        borne = np.zeros(len(wanted), np.int64)
        _money.apportion(available, wanted, borne)
    for line, fen in zip(cleared.lines, borne.tolist(), strict=True):
        line.terms["overspend"] = fen
    left = int(borne.sum())
    for source in year.overspend_from:
        taken = min(left, sources[source])
        left -= taken
        if source == "reserve":
            cleared.drawn += taken
        else:
            unretained -= taken
    _place(cleared, unretained, year.unretained_to)


def _place(cleared: Cleared, unretained: int, to: str) -> None:
    """Give what hospitals do not keep to the reserve, the next year or a second distribution."""
    if to == "reserve":
        cleared.to_reserve += unretained
        return
    claims = np.array([max(x.base, 0) for x in cleared.lines], np.int64)
    if to == "next_year" or not claims.any():
        cleared.next_year = unretained
        return
    given = np.zeros(len(claims), np.int64)
    _money.apportion(unretained, claims, given)
    for line, fen in zip(cleared.lines, given.tolist(), strict=True):
        line.terms["second"] = fen


def _share(bands: Sequence[Share], ratio: Fraction) -> Fraction | None:
    """Return the share of the first band that holds a ratio."""
    return next((Fraction(b.share) for b in bands if b.holds(ratio)), None)


def _case_entries(cleared: Cleared, given: Inputs) -> list[Entry]:
    unit = cleared.closed.unit
    return [
        Entry(
            entry_id=f"special:{unit.pool}:{unit.period}:{case}",
            kind="special",
            pool=unit.pool,
            hospital=hospital,
            case=case,
            month=f"{unit.last:%Y-%m}",
            amount=fen,
            reason=REASONS["special"],
        )
        for case, (fen, hospital) in sorted(given.special.items(), key=lambda x: x[0].encode())
        if fen
    ]


def _hospital_entries(cleared: Cleared, given: Inputs) -> list[Entry]:
    unit, month = cleared.closed.unit, f"{cleared.closed.unit.last:%Y-%m}"
    found = []

    def add(kind: str, hospital: str, fen: int, reason: str) -> None:
        found.append(
            Entry(
                entry_id=f"{kind}:{unit.pool}:{unit.period}:{hospital}",
                kind=kind,
                pool=unit.pool,
                hospital=hospital,
                month=month,
                amount=fen,
                reason=reason,
            )
        )

    for line in cleared.lines:
        hospital = line.account.hospital
        for term, kind in KINDS.items():
            if line.terms[term] and term != "special":
                add(kind, hospital, line.terms[term], REASONS[term])
        if given.is_year:
            add("final", hospital, line.payable, "final payable of the year's clearing")
            if line.to_pay < 0:
                add("recovery", hospital, line.to_pay, "paid above the final payable")
    return found


def _proved(cleared: Cleared) -> Cleared:
    """Prove the accrual identity of the unit to the fen."""
    t: Mapping[str, Any] = cleared.terms()
    left = t["budget_fen"] + t["drawn_fen"]
    right = sum(fen for name, fen in t.items() if name not in ("budget_fen", "drawn_fen"))
    if left != right:
        unit = cleared.closed.unit
        raise ConservationError(f"pool {unit.pool}, {unit.period}: {left} ≠ {right} of {dict(t)}")
    return cleared
