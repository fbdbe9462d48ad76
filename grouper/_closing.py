"""Closing one fund: standards S, what the fund owes G in its named form, what is left, the proof.

Under a fixed rate S is the price and G follows; the difference to the fund is one balance. Under a
point value (or a floating rate) an amount A is shared in proportion to the claims:

    difference   A = F + Σ(patient + other payers)   G = S - patient - other payers
    ratio        A = F / ρ of the pool               G = S × ρ of pool, hospital or case
    fund points  A = F                               G = S

Cases that are paid off the top leave F before it is shared. Sharing goes first to the hospitals,
then to their cases, each by largest remainder, ties by id.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from grouper._ledger_rows import Rows
from grouper._pricing import Price, round_half_up
from grouper.errors import ConservationError, PolicyError, SettlementError
from grouper.kernels import _money
from grouper.tables._policy import Policy, Value
from grouper.tables._types import I32, I64

MOST_CLAIMS = 2**61


@dataclass(frozen=True)
class Unit:
    """A pool and fund period: the smallest thing that closes. `rows` by hospital, then case."""

    pool: str
    fund: Value
    fund_fen: int
    rows: I64

    @property
    def period(self) -> str:
        """Name the period of the fund."""
        return f"{self.fund.from_}/{self.fund.to}"


@dataclass(frozen=True)
class Closed:
    """The result of one unit, with amounts in fen."""

    unit: Unit
    claims: int
    off_top: int
    shared: int  # amount A shared in proportion to claims, 0 under a fixed rate
    pay: int
    balance: int  # fixed rate: fund - pay, one entry, never spread
    undistributed: int  # point value: what the form left over
    floors: Mapping[str, int] = field(default_factory=dict)  # hospital -> fen that lift it to zero

    @property
    def point_value(self) -> Fraction | None:
        """Fen per claim unit, exact."""
        return Fraction(self.shared, self.claims) if self.shared and self.claims else None


@dataclass
class Closing:
    """Closes units one after the other; writes `standard` and `pay` per case (int64 fen)."""

    policy: Policy
    rows: Rows
    claim: I64
    key: I32
    prices: Sequence[Price]

    def __post_init__(self) -> None:
        self.standard = np.zeros(len(self.rows), np.int64)
        self.pay = np.zeros(len(self.rows), np.int64)
        flags = np.array([(p.off_top, p.booked, p.nothing) for p in self.prices], np.bool_).reshape(
            -1, 3
        )
        self.off_top, self.outright = flags[self.key, 0], flags[self.key, 1] | flags[self.key, 2]
        self.given = np.where(flags[self.key, 1], self.rows.booked, 0)

    def close(self, unit: Unit) -> Closed:
        """Pay one unit.

        Raises
        ------
        SettlementError : the fund cannot bear what is paid off the top. ConservationError : never.
        """
        m = self.policy.settings.method
        if m.kind == "rate" and m.rate == "fixed":
            return self._fixed(unit)
        return self._shared(unit)

    def _fixed(self, unit: Unit) -> Closed:
        rows = unit.rows
        self.standard[rows] = np.where(self.outright[rows], self.given[rows], self.claim[rows])
        owed = self._form(rows, self.standard[rows], rows)
        self.pay[rows] = np.where(self.outright[rows], self.given[rows], owed)
        self._no_negative(rows)
        pay = int(self.pay[rows].sum())
        return self._proved(
            Closed(unit, _total(self.claim[rows]), 0, 0, pay, unit.fund_fen - pay, 0)
        )

    def _shared(self, unit: Unit) -> Closed:
        r, m, rows = self.rows, self.policy.settings.method, unit.rows
        top, shared = rows[self.off_top[rows]], rows[~self.off_top[rows]]
        self.standard[top] = np.where(self.outright[top], self.given[top], self.claim[top])
        owed = self._form(top, self.standard[top], rows)
        self.pay[top] = np.where(self.outright[top], self.given[top], owed)
        fund = unit.fund_fen - int(self.pay[top].sum())
        outside = r.patient[shared] + r.others[shared]
        amount = fund
        if m.fund_form == "difference":
            amount += int(outside.sum())
        elif m.fund_form == "ratio" and self.claim[shared].any():
            amount = round_half_up(fund / self._pool_ratio(rows, shared))
        if fund < 0:
            raise SettlementError(
                f"pool {unit.pool}, {unit.period}: the fund of {unit.fund_fen} fen does not cover "
                f"{unit.fund_fen - fund} fen paid off the top; raise the fund or change [status_pay]"
            )
        if amount < 0:
            raise SettlementError(
                f"pool {unit.pool}, {unit.period}: fund and patients' share come to {amount} fen: "
                "booked funds above the cost of the cases? check the money columns"
            )
        self.standard[shared] = self._share(shared, amount, self.claim[shared])
        if m.fund_form == "ratio" and m.ratio_scope in ("region", "published"):
            self.pay[shared] = self._share(shared, fund, self.claim[shared])
        else:
            self.pay[shared] = self._form(shared, self.standard[shared], rows)
        self._no_negative(shared)
        if m.left_over == "rescale":
            self.pay[shared] = self._share(shared, fund, np.maximum(self.pay[shared], 0))
        pay, claims = int(self.pay[rows].sum()), _total(self.claim[shared])
        left = unit.fund_fen - pay
        given = amount if claims else 0
        return self._proved(Closed(unit, claims, unit.fund_fen - fund, given, pay, 0, left))

    def _form(self, rows: I64, standard: I64, unit_rows: I64) -> I64:
        """Return what the fund owes for a standard: the four fund forms."""
        r, m = self.rows, self.policy.settings.method
        if m.fund_form == "difference":
            return standard - r.patient[rows] - r.others[rows]
        if m.fund_form == "fund_points":
            return standard
        if m.fund_form == "in_scope":
            standard = np.maximum(standard - r.outside[rows], 0)
        num, den = self._ratio(rows, unit_rows)
        out = np.empty(len(rows), np.int64)
        _money.scale(np.ascontiguousarray(standard), num, den, out)
        return out

    def _ratio(self, rows: I64, unit_rows: I64) -> tuple[I64, I64]:
        """Return ρ = booked ÷ cost of each row's scope, as numerators and denominators."""
        r, scope = self.rows, self.policy.settings.method.ratio_scope
        if scope == "published":
            return self._published(rows)
        if scope == "case":
            return r.booked[rows], np.maximum(r.cost[rows], 0)
        booked, cost = r.booked[unit_rows], np.maximum(r.cost[unit_rows], 0)
        if scope == "region":
            return np.full(len(rows), booked.sum()), np.full(len(rows), cost.sum())
        sums = np.zeros((2, len(r.hospital.distinct)), np.int64)
        np.add.at(sums[0], r.hospital.index[unit_rows], booked)
        np.add.at(sums[1], r.hospital.index[unit_rows], cost)
        at = r.hospital.index[rows]
        return sums[0, at], sums[1, at]

    def _published(self, rows: I64) -> tuple[I64, I64]:
        r = self.rows
        mixed = r.day[rows].astype(np.int64) * len(r.insurance.distinct) + r.insurance.index[rows]
        _, first, inverse = np.unique(mixed, return_index=True, return_inverse=True)
        ratios = []
        for k in first:
            day = date.fromordinal(int(r.day[rows[k]]) + 719_163)
            ratios.append(self.policy.at("fund_ratio", day, insurance=r.insurance[rows[k]]))
        pairs = np.array([(x.numerator, x.denominator) for x in ratios], np.int64).reshape(-1, 2)
        return pairs[inverse, 0].copy(), pairs[inverse, 1].copy()

    def _pool_ratio(self, unit_rows: I64, shared: I64) -> Fraction:
        """Return the pool's ρ, which turns its fund into standards."""
        scope = self.policy.settings.method.ratio_scope
        if scope == "published":
            num, den = self._published(shared)
            ratios = {Fraction(int(a), int(b)) for a, b in zip(num, den, strict=True)} or {
                Fraction(1)
            }
            if len(ratios) > 1:
                raise PolicyError(
                    "a point value needs one ratio in a pool; split the pool",
                    parameter="fund_ratio",
                )
            ratio = ratios.pop()
        else:
            cost = int(np.maximum(self.rows.cost[unit_rows], 0).sum())
            ratio = Fraction(int(self.rows.booked[unit_rows].sum()), cost) if cost else Fraction(0)
        if ratio <= 0:
            raise SettlementError("the pool's booked fund is 0, so its ratio to cost is no price")
        return ratio

    def _share(self, rows: I64, amount: int, claims: I64) -> I64:
        """Share an amount: hospitals first, then their cases. `rows` stand by hospital and case."""
        if not len(rows):
            return np.zeros(0, np.int64)
        if amount < 0 or claims.min() < 0:
            raise ConservationError("a negative amount or claim is no share of a fund")
        _total(claims)
        hospital = self.rows.hospital.index[rows]
        starts = np.flatnonzero(np.r_[True, hospital[1:] != hospital[:-1]]).astype(np.int64)
        sums = np.add.reduceat(claims, starts)
        shares = np.zeros(len(starts), np.int64)
        _money.apportion(amount, np.ascontiguousarray(sums), shares)
        out = np.zeros(len(rows), np.int64)
        ends = np.r_[starts, len(rows)].astype(np.int64)
        order = np.arange(len(rows), dtype=np.int64)
        _money.apportion_within(shares, ends, order, np.ascontiguousarray(claims), out)
        return out

    def _no_negative(self, rows: I64) -> None:
        if self.policy.settings.method.negative == "zero_case":
            self.pay[rows] = np.maximum(self.pay[rows], 0)

    def _floors(self, unit: Unit) -> dict[str, int]:
        """Return what lifts hospitals below zero to zero, where the policy says so: entries."""
        if self.policy.settings.method.negative != "zero_hospital":
            return {}
        r, sums = self.rows, Counter[str]()
        for row in unit.rows:
            sums[r.hospital[row]] += int(self.pay[row])
        return {h: -fen for h, fen in sums.items() if fen < 0}

    def _proved(self, closed: Closed) -> Closed:
        """Prove that the fund is accounted for to the fen."""
        pay = sum(int(x) for x in self.pay[closed.unit.rows])
        if pay + closed.balance + closed.undistributed != closed.unit.fund_fen or pay != closed.pay:
            raise ConservationError(
                f"pool {closed.unit.pool}: fund {closed.unit.fund_fen} ≠ pay {pay} + balance "
                f"{closed.balance} + undistributed {closed.undistributed}"
            )
        return replace(closed, floors=self._floors(closed.unit))


def _total(claims: NDArray[np.int64]) -> int:
    total = int(claims.sum())
    if total >= MOST_CLAIMS:
        raise SettlementError("the claims of one pool add up to 2^61 units or more: split the pool")
    return total
