"""What the fund of a pool and period owes: where its money comes from, and how it is shared.

Standards add up to an amount that the fund form names; the point value is that amount by the sum
of claims. Off the top go prices and what is paid as booked, beside the fund its outside families.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from math import floor
from typing import Any

from naive.policy import Case, NaivePolicy
from naive.pricing import Claim
from naive.values import Refused, apportion, apportion_twice, half_up, last_day

Period = tuple[date, date]


# ---------------------------------------------------------------------------- the fund


@dataclass(frozen=True)
class Budget:
    """Where the fund of a pool and period comes from."""

    budget: int
    reserve: int
    outside: int  # what leaves it besides the reserve
    fund: int
    planned: dict[str, int]  # what leaves it besides the reserve, by item


def budget_of(policy: NaivePolicy, pool: str, period: Period, closing: Closing) -> Budget:
    first, section = period[0], policy.text.get("budget")
    if section is None:
        fund = half_up(policy.at("fund", first, pool=pool))
        return Budget(fund, 0, 0, fund, {})
    if section.get("method", "amount") == "growth":
        growth = policy.at("budget_growth", first, pool=pool)
        budget = half_up(policy.at("budget_base", first, pool=pool) * (1 + growth))
    else:
        budget = half_up(policy.at("budget", first, pool=pool))
    planned: dict[str, int] = {}
    for less in section.get("less", []):
        if less["kind"] == "share":
            planned[less["id"]] = half_up(Fraction(less["share"]) * budget)
        elif less["kind"] == "actual":
            planned[less["id"]] = closing.paid_outside(less["id"])
        else:
            amount = policy.at("less", first, item=less["id"], pool=pool)
            planned[less["id"]] = half_up(amount)
    kept = {less["id"] for less in section.get("less", []) if less.get("reserve")}
    reserve = sum(planned.pop(item) for item in kept)
    outside = sum(planned.values())
    if reserve + outside > budget:
        raise Refused(f"more is taken from the budget of {pool} than it has")
    return Budget(budget, reserve, outside, budget - reserve - outside, planned)


# ---------------------------------------------------------------------------- one fund


@dataclass(frozen=True)
class Line:
    """Cases that are paid from one line of a pool, and what each of them is paid there."""

    name: str
    cases: Sequence[Case]
    pay: Mapping[str, int]

    @property
    def is_main(self) -> bool:
        return self.name in ("fund", "taker")

    def has(self, case: Case) -> bool:
        return any(c.id == case.id for c in self.cases)

    @property
    def is_money(self) -> bool:
        """Money beside cases that are counted in another line."""
        return self.name == "carve_out"


class Closing:
    """The cases of one pool in one period (or month), and what pays them."""

    def __init__(
        self,
        policy: NaivePolicy,
        pool: str,
        cases: Sequence[Case],
        claims: Mapping[str, Claim],
        month: str = "",
        like: Sequence[Case] | None = None,
    ) -> None:
        self.policy, self.pool, self.month = policy, pool, month
        self.cases, self.claims = cases, claims
        self.like = cases if like is None else like  # whose booked ÷ cost is the ratio
        self.form: str = policy.method["fund_form"]
        self.scope: str = policy.method["ratio_scope"]
        self.zero: bool = policy.method["negative"] == "zero_case"
        self.standard: dict[str, int] = {}
        self.pay: dict[str, int] = {}
        self.main = "taker" if pool in policy.price_takers else "fund"
        self.ours = [c for c in cases if c.line == self.main]
        inside = policy.text.get("carve_out", {}).get("fund") == "inside"
        self.carved = {c.id: c.carved for c in cases}
        self.inside = sum(c.carved for c in self.ours) if inside else 0
        self.carve_out_is_inside = inside
        beside = [c for c in cases if c.line != self.main]
        self.pay_by_price(beside)
        self.add_carve_outs(beside)
        self.fund = self.off_top = self.shared = self.remainder = 0
        self.balance = self.undistributed = self.to_reserve = self.drawn = 0
        self.num: int | None = None  # of the point value, fen per claim unit
        self.den: int | None = None

    @property
    def point_value(self) -> Fraction | None:
        """Fen per claim unit; None: no claim is there to divide by."""
        if self.num is not None and self.den:
            return Fraction(self.num, self.den)
        return None if self.policy.shares else Fraction(1)  # a rate that is not recomputed

    def paid(self, line: str) -> int:
        return sum(self.pay[c.id] for c in self.cases if c.line == line)

    @property
    def lines(self) -> list[Line]:
        """The fund (or the price taker's), then what is paid beside it."""
        found = [Line(self.main, self.ours, self.pay)]
        for family in self.policy.text.get("family", []):
            if family.get("fund") == "outside":
                name = f"family:{family['id']}"
                found.append(Line(name, [c for c in self.cases if c.line == name], self.pay))
        if "carve_out" in self.policy.text and not self.carve_out_is_inside:
            found.append(Line("carve_out", [c for c in self.cases if c.carved], self.carved))
        return found

    def paid_outside(self, item: str) -> int:
        """What was actually paid on a planned line."""
        if item == "carve_out":
            return sum(c.carved for c in self.cases)
        return self.paid(f"family:{item}")

    # ------------------------------------------------------------------------ three ways

    def close(self, fund: int) -> None:
        """Pay from a fund."""
        self.fund = fund
        if self.policy.shares:
            off = [c for c in self.ours if self.claims[c.id].off_top]
            self.pay_by_price(off)
            self.off_top = sum(self.pay[c.id] for c in off) + self.inside
            left = fund - self.off_top
            if left < 0:
                raise Refused(f"{self.off_top} fen go off the top of {fund}")
            score = [c for c in self.ours if not self.claims[c.id].off_top]
            if score:
                self.share_out(left, score)
        else:
            self.pay_by_rate()
        self.add_carve_outs(self.ours)
        left = fund - self.paid(self.main) + self.drawn
        if not self.policy.shares:
            self.balance = left
        elif self.policy.method["left_over"] == "reserve" and left > 0:
            self.to_reserve = left
        else:
            self.undistributed = left

    def take(self, value: Fraction | None) -> None:
        """Pay a price taker's cases at the point value of another pool."""
        if self.cases and value is None:
            raise Refused(f"no point value for the cases of {self.pool}")
        self.at(value)

    def at(self, value: Fraction | None, fund: int | None = None) -> None:
        """Pay at a given point value; without a fund it is what is paid."""
        score = [c for c in self.ours if not self.at_price(self.claims[c.id])]
        priced = [c for c in self.ours if self.at_price(self.claims[c.id])]
        self.pay_by_price(priced)
        if self.policy.shares and self.main == "fund":
            self.off_top = sum(self.pay[c.id] for c in priced) + self.inside
        if score and value is None:
            raise Refused(f"no point value for the cases of {self.pool}")
        for c in score:
            assert value is not None
            self.standard[c.id] = half_up(self.claims[c.id].amount * value)
            self.pay[c.id] = self.owed(c, self.standard[c.id])
        self.at_least_zero(score)
        if value is not None and self.policy.shares:
            self.num, self.den = value.numerator, value.denominator
        self.add_carve_outs(self.ours)
        paid = self.paid(self.main)
        self.fund = paid if fund is None else fund
        self.balance = self.fund - paid

    def add_carve_outs(self, cases: Iterable[Case]) -> None:
        """Inside the fund, what is carved out is part of the payment."""
        if self.carve_out_is_inside:
            for c in cases:
                self.pay[c.id] += c.carved

    def at_price(self, claim: Claim) -> bool:
        """Whether the claim is a price in fen that no point value scales."""
        if self.policy.shares or self.policy.fixed:
            return claim.off_top or self.policy.fixed
        return claim.off_top or claim.priced

    def pay_by_rate(self) -> None:
        """A rate that is not recomputed, or only above the base volume."""
        scaled = [c for c in self.ours if not self.at_price(self.claims[c.id])]
        self.pay_by_price(c for c in self.ours if self.at_price(self.claims[c.id]))
        if scaled:
            amounts = {c.id: self.claims[c.id].amount for c in scaled}
            total, volume = sum(amounts.values()), Fraction(0)
            for c in scaled:
                volume += self.claims[c.id].worth * (self.claims[c.id].factor or 0)
            base = self.policy.at("base_volume", self.day, **self.place(scaled[0]))
            if volume > base:
                self.num, self.den = half_up(total * base / volume), total
                self.standard |= self.divided(self.num, scaled, amounts)
                self.shared = self.num
            else:
                self.standard |= amounts
            self.pay |= {c.id: self.owed(c, self.standard[c.id]) for c in scaled}
            self.at_least_zero(scaled)

    @property
    def day(self) -> date:
        """The last of the month or period, on which its parameters are read."""
        return last_day(self.month) if self.month else self.cases[0].period[1]

    def place(self, case: Case) -> dict[str, str]:
        return {"pool": case.pool, **({"month": self.month} if self.month else {})}

    def pay_by_price(self, cases: Iterable[Case]) -> None:
        """The claim is the standard; a case paid as booked gets what was booked."""
        for c in cases:
            claim = self.claims[c.id]
            self.standard[c.id] = c.booked if claim.booked else claim.amount
            self.pay[c.id] = c.booked if claim.booked else self.owed(c, claim.amount)
            if claim.nothing:
                self.pay[c.id] = 0
            elif self.zero:
                self.pay[c.id] = max(self.pay[c.id], 0)

    def at_least_zero(self, cases: Iterable[Case]) -> None:
        if self.zero:
            self.pay |= {c.id: max(self.pay[c.id], 0) for c in cases}

    # ------------------------------------------------------------------------ shared funds

    def share_out(self, fund: int, shared: list[Case]) -> None:
        """Find what the shared cases' points are worth together, and divide that."""
        amounts = {c.id: self.claims[c.id].amount for c in shared}
        left_over = self.policy.method["left_over"]
        if left_over == "solve":
            self.solve(fund, shared, amounts)
            return
        common = self.form == "ratio" and self.scope in ("region", "published")
        ratio = Fraction(1)
        if self.form == "difference":
            worth = fund + sum(c.patient + c.others for c in shared)
        elif self.form == "ratio" and any(amounts.values()):
            ratio = self.common_ratio(shared)
            worth = half_up(fund / ratio)
        else:
            worth = fund
        if worth < 0:
            raise Refused(f"the points of {shared[0].pool} would be worth {worth} fen")
        held, floored = self.held(worth, shared, sum(amounts.values()))
        given = half_up(held * ratio) if common and held != worth else fund
        self.num, self.den = held, sum(amounts.values())
        self.shared = held
        self.standard |= self.divided(held, shared, amounts)
        if common:
            self.pay |= self.divided(given, shared, amounts)
        else:
            self.pay |= {c.id: self.owed(c, self.standard[c.id]) for c in shared}
        self.at_least_zero(shared)
        if left_over == "rescale":
            positive = {c.id: max(self.pay[c.id], 0) for c in shared}
            self.pay |= self.divided(given, shared, positive)
        if floored:
            self.drawn = max(sum(self.pay[c.id] for c in shared) - fund, 0)

    def held(self, worth: int, shared: list[Case], claims: int) -> tuple[int, bool]:
        """The worth between the least and the greatest point value, and whether it was lifted."""
        score, where = Fraction(claims, self.policy.unit_of_score), self.place(shared[0])
        cap = self.policy.find("point_value_cap", self.day, **where) if self.policy.points else None
        if cap is not None:
            worth = min(worth, half_up(cap.amount * score))
        least = (
            self.policy.find("point_value_floor", self.day, **where) if self.policy.points else None
        )
        if least is not None and worth < half_up(least.amount * score):
            return half_up(least.amount * score), True
        return worth, False

    def solve(self, fund: int, shared: list[Case], amounts: Mapping[str, int]) -> None:
        """The largest point value at which what is owed above 0 stays within the fund."""
        owed = {c.id: c.patient + c.others for c in shared}

        def spent(value: Fraction) -> Fraction:
            return sum(
                (max(value * amounts[k] - u, Fraction(0)) for k, u in owed.items()), Fraction(0)
            )

        knots = sorted({Fraction(u, amounts[k]) for k, u in owed.items() if amounts[k]})
        within = [k for k in knots if spent(k) <= fund]
        if not within:
            if knots or spent(Fraction(0)) > fund:
                raise Refused("no point value keeps within the fund")
            value = Fraction(0)
        else:
            paid = [
                k for k, u in owed.items() if amounts[k] and Fraction(u, amounts[k]) <= within[-1]
            ]
            always = sum(max(-u, 0) for k, u in owed.items() if not amounts[k])
            self.num = fund - always + sum(owed[k] for k in paid)
            self.den = sum(amounts[k] for k in paid)
            value = Fraction(self.num, self.den)
        if value < 0:
            raise Refused("the points would be worth less than nothing")
        self.shared = self.num or 0
        exact = {k: max(value * amounts[k] - u, Fraction(0)) for k, u in owed.items()}
        whole = {k: floor(g) for k, g in exact.items()}
        if within:
            self.remainder = fund - sum(whole.values())
        more = self.one_each(shared, {k: exact[k] - whole[k] for k in exact})
        self.standard |= {c.id: half_up(value * amounts[c.id]) for c in shared}
        self.pay |= {k: whole[k] + more[k] for k in whole}

    def one_each(self, cases: list[Case], rests: Mapping[str, Fraction]) -> dict[str, int]:
        """A remainder goes to hospitals by their fractions, then a fen to each largest fraction."""
        own: dict[str, list[str]] = defaultdict(list)
        for c in cases:
            own[c.hospital].append(c.id)
        parts = apportion(self.remainder, {h: sum(rests[k] for k in ids) for h, ids in own.items()})
        more = dict.fromkeys(rests, 0)
        for hospital, ids in own.items():
            ids.sort(key=lambda k: (-rests[k], k.encode()))
            more |= dict.fromkeys(ids[: parts[hospital]], 1)
        return more

    def divided(self, amount: int, cases: list[Case], by: Mapping[str, Any]) -> dict[str, int]:
        claims: dict[str, dict[str, Any]] = defaultdict(dict)
        for c in cases:
            claims[c.hospital][c.id] = by[c.id]
        return apportion_twice(amount, claims)

    # ------------------------------------------------------------------------ fund forms

    def owed(self, case: Case, standard: int) -> int:
        """G, what the fund owes for a case of this standard."""
        if self.form == "difference":
            return standard - case.patient - case.others
        if self.form == "ratio":
            return half_up(standard * self.ratio(case))
        if self.form == "in_scope":
            return half_up(max(standard - case.self_paid, 0) * self.published(case))
        return standard  # fund_points

    def ratio(self, case: Case) -> Fraction:
        """ρ, the part of the cost that the fund bears."""
        if self.scope == "published":
            return self.published(case)
        if self.scope == "case":
            return booked_to_cost([case])
        line = [c for c in self.like if c.line == case.line]
        hospital = [c for c in line if c.hospital == case.hospital]
        own = hospital if self.scope == "hospital" else []
        return booked_to_cost(own or line or [c for c in self.cases if c.line == case.line])

    def common_ratio(self, shared: Sequence[Case]) -> Fraction:
        """The one ρ that turns the fund into what the points are worth."""
        if self.scope != "published":
            found = {booked_to_cost(self.ours)}
        else:
            found = {self.published(c) for c in shared}
        if len(found) > 1 or found == {Fraction(0)}:
            raise Refused(f"the ratio of fund to cost is not one: {found}")
        return found.pop()

    def published(self, case: Case) -> Fraction:
        where = {"insurance": case.insurance, "pool": case.pool, "level": case.level}
        where |= {"class": case.class_, "hospital": case.hospital, "area": case.area}
        return self.policy.at("fund_ratio", case.day, month=case.month, **where)


def booked_to_cost(cases: Iterable[Case]) -> Fraction:
    """ρ = ΣB ÷ ΣC; 0 if nothing cost anything."""
    booked = cost = 0
    for c in cases:
        booked, cost = booked + c.booked, cost + c.total
    return Fraction(booked, cost) if cost else Fraction(0)


# ---------------------------------------------------------------------------- units


@dataclass
class Unit:
    """A pool in a period of its fund."""

    pool: str
    period: Period
    budget: Budget
    closing: Closing
    maker: str = ""  # of a price taker: the pool whose point value it takes

    @property
    def name(self) -> str:
        return f"{self.period[0]}/{self.period[1]}"

    @property
    def cases(self) -> Sequence[Case]:
        return self.closing.cases


def units_of(policy: NaivePolicy, cases: Sequence[Case], claims: Mapping[str, Claim]) -> list[Unit]:
    """Every pool that has a fund in a period with cases, not yet closed; price takers last."""
    takers = policy.price_takers
    of: dict[tuple[str, Period], list[Case]] = defaultdict(list)
    for c in cases:
        of[c.pool, c.period].append(c)
    units = []
    for pool in sorted((p["id"] for p in policy.text["pool"]), key=lambda p: p in takers):
        for period in sorted({c.period for c in cases}):
            own = of[pool, period]
            closing = Closing(policy, pool, own, claims)
            if pool in takers and own:
                units.append(Unit(pool, period, Budget(0, 0, 0, 0, {}), closing, takers[pool]))
            elif pool not in takers and (own or has_fund(policy, pool, period)):
                budget = budget_of(policy, pool, period, closing)
                units.append(Unit(pool, period, budget, closing))
    return units


def has_fund(policy: NaivePolicy, pool: str, period: Period) -> bool:
    try:
        found = policy.fund(pool, period[0])
    except Refused:
        return False
    return (found.start, found.end) == period


def close_units(units: Sequence[Unit]) -> None:
    """Pay every unit's cases: a price taker's at the point value of its maker."""
    makers = {(u.pool, u.period): u.closing for u in units}
    for unit in units:
        if unit.maker:
            unit.closing.take(makers[unit.maker, unit.period].point_value)
            unit.budget = Budget(unit.closing.fund, 0, 0, unit.closing.fund, {})
        else:
            unit.closing.close(unit.budget.fund)
