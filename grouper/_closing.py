"""Closing one unit: standards S, what the fund owes G in its named form, what is left, the proof.

Under a fixed rate S is the price and G follows; the difference to the fund is one balance. Under a
point value (or a floating rate) an amount A is shared in proportion to the claims:

    difference   A = F + Σ(patient + other payers)   G = S - patient - other payers
    ratio        A = F / ρ of the pool               G = S × ρ of pool, hospital or case
    fund points  A = F                               G = S

Cases that are paid off the top leave F before it is shared. Sharing goes first to the hospitals,
then to their cases, each by largest remainder, ties by id. A point value that is given (a budget's, the
last clearing's, another pool's) prices each case by itself, half up.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from grouper._claims import Claimed, day_of
from grouper._distinct import distinct, exact_sum
from grouper._funds import CARVE_OUT, FUND, Unit
from grouper._statistics import half_up
from grouper.errors import ConservationError, PolicyError, SettlementError
from grouper.kernels import _money
from grouper.tables._types import I64

MOST_CLAIMS = 2**61


@dataclass(frozen=True)
class PointValue:
    """Fen per claim unit as two whole numbers: an amount and the claims that share it."""

    num: int
    den: int

    @property
    def exact(self) -> Fraction:
        """The ratio."""
        return Fraction(self.num, self.den)


@dataclass(frozen=True)
class Closed:
    """The result of one unit, with amounts in fen."""

    unit: Unit
    fund: int
    claims: int
    off_top: int = 0
    shared: int = 0  # amount A shared in proportion to claims, 0 under a fixed rate
    point_value: PointValue | None = None
    pay: int = 0
    balance: int = 0  # fixed rate: fund - pay, one entry, never spread
    undistributed: int = 0  # point value: what the form left over
    drawn: int = 0  # from the reserve, for a floor of the point value
    remainder: int = 0  # solve: what largest remainder gave out


@dataclass
class Closing:
    """Closes units one after the other; writes `standard` and `pay` per case (int64 fen)."""

    claimed: Claimed
    ratio: tuple[int, int] | None = None  # ρ of a month that is frozen: booked, cost
    standard: I64 = field(init=False)
    pay: I64 = field(init=False)

    def __post_init__(self) -> None:
        n = len(self.claimed.rows)
        self.standard, self.pay = np.zeros(n, np.int64), np.zeros(n, np.int64)
        c, s = self.claimed, self.claimed.policy.settings
        self.given = np.where(c.booked, c.rows.booked, 0)
        inside = s.carve_out is not None and s.carve_out.fund == "inside"
        self.carved = c.carve_out_pay if inside else np.zeros(n, np.int64)

    def close(self, unit: Unit, price: PointValue | None = None) -> Closed:
        """Pay one unit; `price` = a point value that is given, not formed here.

        Raises
        ------
        SettlementError : the fund cannot bear what is paid off the top. ConservationError : never.
        """
        m = self.claimed.policy.settings.method
        if unit.line == CARVE_OUT:
            pay = int(self.claimed.carve_out_pay[unit.rows].sum())
            return self._proved(_priced(unit, 0, pay, None), carved=True)
        if unit.line != FUND or price is not None or not (m.shares or m.rate == "elastic"):
            return self._by_price(unit, price)
        return (
            self._elastic(unit) if m.rate == "elastic" and m.kind == "rate" else self._shared(unit)
        )

    # -------------------------------------------------------------------------- given prices

    def _by_price(self, unit: Unit, price: PointValue | None) -> Closed:
        """Pay every case by its own price; the difference to the fund is a balance."""
        rows, c = unit.rows, self.claimed
        pay = self.owed_at_price(rows, rows, price)
        claims = _total(c.claim[rows[~c.in_fen[rows]]])
        shown = price if c.policy.settings.method.shares else None
        return self._proved(_priced(unit, claims, pay, shown))

    def owed_at_price(self, rows: I64, unit_rows: I64, price: PointValue | None = None) -> int:
        """Write standard and payment of cases by their own price; return what they add up to."""
        c = self.claimed
        standard = c.claim[rows]
        if price is not None:
            scored = ~c.unscaled[rows]
            standard = standard.copy()
            standard[scored] = self._scaled(standard[scored], price)
        self.standard[rows] = np.where(c.outright[rows], self.given[rows], standard)
        owed = self._form(rows, self.standard[rows], unit_rows)
        self.pay[rows] = np.where(c.outright[rows], self.given[rows], owed)
        self._no_negative(rows)
        self.pay[rows] += self.carved[rows]
        return int(self.pay[rows].sum())

    @staticmethod
    def _scaled(claims: I64, price: PointValue) -> I64:
        out = np.empty(len(claims), np.int64)
        num, den = (np.full(len(claims), x, np.int64) for x in (price.num, price.den))
        _money.scale(np.ascontiguousarray(claims), num, den, out)
        return out

    def _elastic(self, unit: Unit) -> Closed:
        """Pay a rate that is fixed up to a volume of weight and floats above it."""
        c, rows = self.claimed, unit.rows
        mine = rows[~c.unscaled[rows]]
        keys, counts = np.unique(c.key[mine], return_counts=True)
        worths = [(p.weight * p.subtype * p.coefficient) for p in c.prices]
        volume = sum((worths[k] * int(n) for k, n in zip(keys, counts, strict=True)), Fraction(0))
        most = c.policy.at("base_volume", unit.last, **unit.selectors)
        if volume <= most:
            return self._by_price(unit, None)
        claims = _total(c.claim[mine])
        amount = half_up(claims * most / volume)
        self.standard[rows] = np.where(c.outright[rows], self.given[rows], c.claim[rows])
        self.standard[mine] = self._share(mine, amount, c.claim[mine])
        owed = self._form(rows, self.standard[rows], rows)
        self.pay[rows] = np.where(c.outright[rows], self.given[rows], owed)
        self._no_negative(rows)
        self.pay[rows] += self.carved[rows]
        pay, fund = int(self.pay[rows].sum()), unit.fund or 0
        value = PointValue(amount, claims) if claims else None
        claims = _total(c.claim[rows])
        return self._proved(
            Closed(unit, fund, claims, 0, amount, value, pay=pay, balance=fund - pay)
        )

    # ------------------------------------------------------------------------- shared funds

    def _shared(self, unit: Unit) -> Closed:
        c, m, rows = self.claimed, self.claimed.policy.settings.method, unit.rows
        top, shared = rows[c.off_top[rows]], rows[~c.off_top[rows]]
        fund, whole = unit.fund or 0, unit.fund or 0
        fund -= self.owed_at_price(top, rows) + int(self.carved[shared].sum())
        if fund < 0:
            raise SettlementError(
                f"pool {unit.pool}, {unit.period}: the fund of {whole} fen does not cover "
                f"{whole - fund} fen paid off the top; raise the fund or change [status_pay]"
            )
        if m.left_over == "solve":
            return self._solved(unit, shared, fund)
        claims = _total(c.claim[shared])
        amount = self._amount(unit, shared, fund, claims)
        limited, raised = self._limited(unit, amount, claims)
        self.standard[shared] = self._share(shared, limited, c.claim[shared])
        kept = fund if limited == amount else self._fund_of(unit, shared, limited)
        if m.fund_form == "ratio" and m.ratio_scope in ("region", "published"):
            self.pay[shared] = self._share(shared, kept, c.claim[shared])
        else:
            self.pay[shared] = self._form(shared, self.standard[shared], rows)
        self._no_negative(shared)
        if m.left_over == "rescale":
            self.pay[shared] = self._share(shared, kept, np.maximum(self.pay[shared], 0))
        drawn = max(0, int(self.pay[shared].sum()) - fund) if raised else 0
        self.pay[shared] += self.carved[shared]
        pay = int(self.pay[rows].sum())
        given = limited if claims else 0
        value = PointValue(given, claims) if given and claims else None
        return self._proved(
            Closed(
                unit,
                whole,
                claims,
                whole - fund,
                given,
                value,
                pay,
                undistributed=whole + drawn - pay,
                drawn=drawn,
            )
        )

    def _amount(self, unit: Unit, shared: I64, fund: int, claims: int) -> int:
        """Return the amount A that standards add up to."""
        r, m = self.claimed.rows, self.claimed.policy.settings.method
        amount = fund
        if m.fund_form == "difference":
            amount += int((r.patient[shared] + r.others[shared]).sum())
        elif m.fund_form == "ratio" and claims:
            amount = half_up(fund / self._pool_ratio(unit.rows, shared))
        if amount < 0:
            raise SettlementError(
                f"pool {unit.pool}, {unit.period}: fund and patients' share come to {amount} fen: "
                "booked funds above the cost of the cases? check the money columns"
            )
        return amount

    def _limited(self, unit: Unit, amount: int, claims: int) -> tuple[int, bool]:
        """Keep A between floor and cap of the point value; tell whether the floor raised it."""
        policy = self.claimed.policy
        m = policy.settings.method
        if m.kind != "point" or not claims:
            return amount, False
        points = Fraction(claims, 10**m.score_decimals)
        cap = policy.at_or_none("point_value_cap", unit.last, **unit.selectors)
        floor = policy.at_or_none("point_value_floor", unit.last, **unit.selectors)
        if cap is not None and amount > half_up(cap * points):
            return half_up(cap * points), False
        if floor is not None and amount < half_up(floor * points):
            return half_up(floor * points), True
        return amount, False

    def _fund_of(self, unit: Unit, shared: I64, amount: int) -> int:
        """Return what of an amount A that a cap or floor has set the fund bears."""
        r, m = self.claimed.rows, self.claimed.policy.settings.method
        if m.fund_form == "difference":
            return max(0, amount - int((r.patient[shared] + r.others[shared]).sum()))
        if m.fund_form == "ratio":
            return half_up(amount * self._pool_ratio(unit.rows, shared))
        return amount

    def _solved(self, unit: Unit, shared: I64, fund: int) -> Closed:
        """Pay by the largest point value for which floors at zero stay within the fund, exactly.

        Σ max(P × claim − own share, 0) rises with P in ever steeper lines, so steps of Newton from above
        end on the right one after finitely many.
        """
        c, r = self.claimed, self.claimed.rows
        claim, own = c.claim[shared], r.patient[shared] + r.others[shared]
        least = int(np.maximum(-own, 0).sum())
        if least > fund:
            raise SettlementError(
                f"pool {unit.pool}, {unit.period}: booked funds above the cost of the cases take "
                f"{least} fen, more than the fund of {fund} fen"
            )
        active = (claim > 0) | (own < 0)
        value = None
        while _total(claim[active]):
            value = PointValue(fund + int(own[active].sum()), int(claim[active].sum()))
            whole, rest = self._at(claim, value)
            above = (whole > own) | ((whole == own) & (rest > 0))
            if (above == active).all():
                break
            active = above
        whole, rest = self._at(claim, value) if value else (claim * 0, claim * 0)
        den = value.den if value else 1
        self.standard[shared] = whole + (rest >= den - rest)
        paid = np.where(active, whole - own, 0)
        left = fund - int(paid.sum()) if value else 0
        if value:
            paid += self._remainder(shared, left, np.where(active, rest, 0), den)
        self.pay[shared] = paid + self.carved[shared]
        pay, all_of_it = int(self.pay[unit.rows].sum()), unit.fund or 0
        return self._proved(
            Closed(
                unit,
                all_of_it,
                _total(claim),
                all_of_it - fund,
                value.num if value else 0,
                value,
                pay,
                undistributed=all_of_it - pay,
                remainder=left,
            )
        )

    def _remainder(self, rows: I64, left: int, rest: I64, den: int) -> I64:
        """Give out the fen that whole parts leave: to hospitals, then to their largest fractions."""
        starts = self.hospital_starts(rows)
        sums = [exact_sum(part) for part in np.split(rest, starts[1:])] if len(rows) else []
        each = [s // den for s in sums]
        by_rest = sorted(range(len(sums)), key=lambda h: (-(sums[h] % den), h))
        for h in by_rest[: left - sum(each)]:
            each[h] += 1
        given = np.zeros(len(rows), np.int64)
        for h, part in enumerate(np.split(np.arange(len(rows)), starts[1:]) if len(rows) else []):
            given[part[np.argsort(-rest[part], kind="stable")[: each[h]]]] = 1
        return given

    @staticmethod
    def _at(claim: I64, value: PointValue) -> tuple[I64, I64]:
        """Return P × claim as whole fen and the rest in parts of the denominator."""
        whole, rest = np.empty(len(claim), np.int64), np.empty(len(claim), np.int64)
        _money.split(np.ascontiguousarray(claim), value.num, value.den, whole, rest)
        return whole, rest

    # ------------------------------------------------------------------------------- fund forms

    def _form(self, rows: I64, standard: I64, unit_rows: I64) -> I64:
        """Return what the fund owes for a standard: the four fund forms."""
        r, m = self.claimed.rows, self.claimed.policy.settings.method
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
        r, scope = self.claimed.rows, self.claimed.policy.settings.method.ratio_scope
        if scope == "published":
            return self._published(rows)
        if scope == "case":
            return r.booked[rows], np.maximum(r.cost[rows], 0)
        if self.ratio is not None:
            num, den = (np.full(len(rows), x, np.int64) for x in self.ratio)
            return num, den
        booked, cost = r.booked[unit_rows], np.maximum(r.cost[unit_rows], 0)
        if scope == "region":
            return np.full(len(rows), booked.sum()), np.full(len(rows), cost.sum())
        sums = np.zeros((2, len(r.hospital.distinct)), np.int64)
        np.add.at(sums[0], r.hospital.index[unit_rows], booked)
        np.add.at(sums[1], r.hospital.index[unit_rows], cost)
        at = r.hospital.index[rows]
        return sums[0, at], sums[1, at]

    def _published(self, rows: I64) -> tuple[I64, I64]:
        r = self.claimed.rows
        day = r.day[rows] - r.day.min(initial=0)
        inverse, first = distinct(
            (day, int(day.max(initial=0)) + 1),
            (r.insurance.index[rows], len(r.insurance.distinct)),
        )
        ratios = []
        for k in first:
            row = rows[k]
            ratios.append(
                self.claimed.policy.at("fund_ratio", day_of(r.day[row]), insurance=r.insurance[row])
            )
        pairs = np.array([(x.numerator, x.denominator) for x in ratios], np.int64).reshape(-1, 2)
        return pairs[inverse, 0].copy(), pairs[inverse, 1].copy()

    def _pool_ratio(self, unit_rows: I64, shared: I64) -> Fraction:
        """Return the pool's ρ, which turns its fund into standards."""
        r, scope = self.claimed.rows, self.claimed.policy.settings.method.ratio_scope
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
            cost = int(np.maximum(r.cost[unit_rows], 0).sum())
            ratio = Fraction(int(r.booked[unit_rows].sum()), cost) if cost else Fraction(0)
        if ratio <= 0:
            raise SettlementError("the pool's booked fund is 0, so its ratio to cost is no price")
        return ratio

    # ---------------------------------------------------------------------------------- sharing

    def _share(self, rows: I64, amount: int, claims: I64) -> I64:
        """Share an amount: hospitals first, then their cases. `rows` stand by hospital and case."""
        if not len(rows):
            return np.zeros(0, np.int64)
        if amount < 0 or claims.min() < 0:
            raise ConservationError("a negative amount or claim is no share of a fund")
        _total(claims)
        starts = self.hospital_starts(rows)
        sums = np.add.reduceat(claims, starts)
        shares = np.zeros(len(starts), np.int64)
        _money.apportion(amount, np.ascontiguousarray(sums), shares)
        out = np.zeros(len(rows), np.int64)
        ends = np.r_[starts, len(rows)].astype(np.int64)
        order = np.arange(len(rows), dtype=np.int64)
        _money.apportion_within(shares, ends, order, np.ascontiguousarray(claims), out)
        return out

    def hospital_starts(self, rows: I64) -> I64:
        """Return where each hospital's cases begin among rows that stand by hospital."""
        hospital = self.claimed.rows.hospital.index[rows]
        return np.flatnonzero(np.r_[True, hospital[1:] != hospital[:-1]]).astype(np.int64)

    def _no_negative(self, rows: I64) -> None:
        if self.claimed.policy.settings.method.negative == "zero_case":
            self.pay[rows] = np.maximum(self.pay[rows], 0)

    def _proved(self, closed: Closed, *, carved: bool = False) -> Closed:
        """Prove that the fund is accounted for to the fen."""
        paid = self.claimed.carve_out_pay if carved else self.pay
        pay = exact_sum(paid[closed.unit.rows])
        total = pay + closed.balance + closed.undistributed
        if total != closed.fund + closed.drawn or pay != closed.pay:
            raise ConservationError(
                f"pool {closed.unit.pool}: fund {closed.fund} + drawn {closed.drawn} ≠ pay {pay} "
                f"+ balance {closed.balance} + undistributed {closed.undistributed}"
            )
        return closed


def _priced(unit: Unit, claims: int, pay: int, price: PointValue | None) -> Closed:
    """Return a unit paid by given prices: a fund that is not set is what it pays."""
    fund = pay if unit.fund is None else unit.fund
    return Closed(unit, fund, claims, point_value=price, pay=pay, balance=fund - pay)


def _total(claims: NDArray[np.int64]) -> int:
    total = int(claims.sum())
    if total >= MOST_CLAIMS:
        raise SettlementError("the claims of one pool add up to 2^61 units or more: split the pool")
    return total
