"""Policy × group × hospital × day → price keys: everything of a price that is not the case's own cost.

Exact fractions here, once per key; integers leave. The named rounding points are two: `standard`
(fen, rate method) and `score` (the policy's `score_decimals`, point method), both half up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from typing import Protocol

from grouper._bands import Claims, Tier, by_cost, fixed, segments
from grouper._statistics import half_up
from grouper.errors import PolicyError, SettlementError
from grouper.tables._policy import Policy, WeightRow
from grouper.tables._policy_model import Family, StatusPay

MOST_BENCHMARK_FEN = 2 * 10**10
MOST_CLAIM = 10**14


@dataclass(frozen=True, slots=True)
class Where:
    """What a price depends on besides the group; `family` is "" for an ordinary case.

    `month` is the case's month, such as 2025-03, where a value is narrowed by it, else "".
    """

    day: date
    level: str
    class_: str
    insurance: str
    hospital: str
    pool: str
    area: str = ""
    family: str = ""
    month: str = ""

    @property
    def selectors(self) -> dict[str, str]:
        """Return the selectors of a dated value."""
        return {
            "insurance": self.insurance,
            "level": self.level,
            "class": self.class_,
            "hospital": self.hospital,
            "pool": self.pool,
            "area": self.area,
            "family": self.family,
            "month": self.month,
        }


class Factors(Protocol):
    """Where hospital coefficients come from: see `grouper._coefficients`."""

    def at(self, where: Where, row: WeightRow) -> Fraction:
        """Return the coefficient of a hospital for a group."""

    def plain(self, where: Where) -> Fraction:
        """Return the coefficient of a hospital without a group."""


class Means(Protocol):
    """Where benchmarks by group and kind of hospital come from: see `grouper._benchmarks`."""

    def at(self, group: str, level: str, class_: str) -> Fraction | None:
        """Return a mean cost in fen."""


@dataclass(frozen=True, slots=True)
class Subtype:
    """The auxiliary type (辅助目录) of a case: its coefficient and mean cost, None = by coefficient."""

    coefficient: Fraction = Fraction(1)
    mean_fen: int | None = None


PLAIN = Subtype()
"""A case of no auxiliary type."""


@dataclass(frozen=True, slots=True)
class PayGroup:
    """As what a case is paid: a weight row times a share, or a status rule."""

    name: str
    row: WeightRow | None
    share: Fraction
    rule: StatusPay | None


@dataclass(frozen=True, slots=True)
class Price:
    """One price key: `base`, `benchmark` and `segments` for the kernel, the rest for the columns.

    `off_top` = paid out of the fund before it is shared; `booked` = the fund owes what was booked;
    `nothing` = it owes nothing, whatever the patient paid; `by_cost` = no claim without a cost;
    `review` = cases of band extreme go to review.
    """

    base: int
    benchmark: int
    segments: tuple[tuple[int, ...], ...]
    weight: Fraction
    coefficient: Fraction
    subtype: Fraction = Fraction(1)
    off_top: bool = False
    booked: bool = False
    nothing: bool = False
    by_cost: bool = False
    review: bool = False
    by_weight: bool = False


def pay_group(policy: Policy, day: date, status: str, group: str, note: str) -> PayGroup:
    """Decide as what a case is paid: its group, a `pay_as` note, or the rule of its status.

    Raises
    ------
    PolicyError : a note that the policy does not have.
    """
    table = policy.weights_on(day)
    rules = policy.settings.status_pay
    if status != "grouped":
        if status not in rules:
            raise SettlementError(
                f"status {status!r} has no rule under [status_pay] of {policy.id}"
            )
        return _by_rule(table, status, group, rules)
    if note and note not in policy.pay_as:
        known = ", ".join(policy.pay_as) or "none"
        raise PolicyError(f"no note {note!r}; known: {known}", parameter="pay_as")
    found = [p for p in policy.pay_as.values() if p.group == group and (p.always or p.id == note)]
    found.sort(key=lambda p: p.id != note)  # the note that the case names comes first
    if found:
        return _by_row(table, found[0].pay_as, rules, found[0].share)
    return _by_row(table, group, rules)


def _by_row(
    table: Mapping[str, WeightRow],
    group: str,
    rules: Mapping[str, StatusPay],
    share: Fraction = Fraction(1),
) -> PayGroup:
    row = table.get(group)
    if row is None or row.weight is None:
        return _by_rule(table, "not_covered", group, rules)
    if row.unstable and "unstable" in rules:
        return _by_rule(table, "unstable", group, rules)
    return PayGroup(group, row, share, None)


def _by_rule(
    table: Mapping[str, WeightRow], status: str, group: str, rules: Mapping[str, StatusPay]
) -> PayGroup:
    """Pay by the rule of a status; "group" and "own_group" lead to a row of the weight table."""
    rule = rules[status]
    if rule.rule not in ("group", "own_group"):
        return PayGroup(f"status:{status}", None, Fraction(1), rule)
    name = str(rule.value) if rule.rule == "group" else group
    if status in ("ambiguous", "ungrouped", "rejected"):
        return _by_row(table, name, rules)
    row = table.get(name)
    if row is None or row.weight is None:
        raise PolicyError(
            f"group {name!r} has no weight in force", parameter=f"status_pay.{status}"
        )
    return PayGroup(name, row, Fraction(1), None)


@dataclass(frozen=True)
class Pricer:
    """Prices one key after the other under a policy, with its coefficients and means."""

    policy: Policy
    factors: Factors
    means: Means | None = None

    @cached_property
    def tiers(self) -> tuple[list[Tier], list[Tier], list[Tier]]:
        """The tiers of the bands low, high and extreme."""
        s = self.policy.settings
        low, high, extreme = ([Tier.of(e) for e in found] for found in (s.low, s.high, s.extreme))
        return low, high, extreme

    def price(self, paid: PayGroup, where: Where, subtype: Subtype = PLAIN) -> Price:
        """Work out a price key; an auxiliary type multiplies the claim and has its own benchmark.

        Raises
        ------
        PolicyError : a parameter is not in force, or an amount passes what the kernel can hold.
        """
        if paid.rule is not None:
            return self._by_rule(paid.rule, where)
        row, method = paid.row, self.policy.settings.method
        assert row is not None
        assert row.weight is not None
        factor = self.factors.at(where, row)
        weight = row.weight * paid.share * self._family_factor(where)
        worth = weight * subtype.coefficient
        unit = self._unit(where, row)
        full, bare = half_up(worth * factor * unit), half_up(worth * unit)
        mean = self._benchmark(row, worth, factor, where, subtype)
        points = weight * method.points_per_weight
        low, high, extreme = (_tier(found, where, weight, points) for found in self.tiers)
        _refuse_too_large(full, bare, mean)
        claims = Claims(full, bare, mean, weight, factor, method.kind == "rate")
        return Price(
            base=full,
            benchmark=mean,
            segments=segments(claims, low, high, extreme),
            weight=weight,
            coefficient=factor,
            subtype=subtype.coefficient,
            review=extreme is not None and extreme.edge.review,
            by_weight=True,
        )

    def family(self, family: Family, where: Where) -> Price:
        """Price a family of its own: fen of a case or of a day; the case's days come later."""
        if family.pay == "booked":
            return outright(booked=True)
        name = "per_day" if family.pay == "per_day" else "per_case"
        fen = Fraction(half_up(self.policy.at(name, where.day, **where.selectors)))
        m = self.policy.settings.method
        off_top = family.fund == "off_top" and m.shares
        if family.fund == "points" and m.kind == "point":
            unit = self.policy.at("point_value_budget", where.day, **where.selectors)
            fen = fen * 10**m.score_decimals / unit
        if family.pay == "per_case":
            claim = half_up(fen)
            return Price(claim, 0, fixed(claim), Fraction(0), Fraction(1), off_top=off_top)
        # rounded once, for all days of the case
        return Price(0, 0, by_cost(fen), Fraction(0), Fraction(1), off_top=off_top)

    def _family_factor(self, where: Where) -> Fraction:
        if not where.family:
            return Fraction(1)
        return self.policy.at("family_factor", where.day, **where.selectors)

    def _by_rule(self, rule: StatusPay, where: Where) -> Price:
        """Price a case by the rule of its status."""
        m = self.policy.settings.method
        if rule.rule in ("zero", "booked"):
            return outright(booked=rule.rule == "booked")
        number = _number(rule)
        if rule.rule == "weight":
            factor = self.factors.plain(where) if rule.coefficient else Fraction(1)
            claim = half_up(number * factor * self._unit(where))
            _refuse_too_large(claim)
            return Price(claim, 0, fixed(claim), number, factor)
        ratio = number
        if rule.rule == "cost_over_mean":
            ratio = number * self.cost_over_mean(where)
        off_top = rule.rule == "cost" and m.shares
        segment = by_cost(ratio)
        return Price(0, 0, segment, Fraction(0), Fraction(1), off_top=off_top, by_cost=True)

    def cost_over_mean(self, where: Where) -> Fraction:
        """Return the claim per fen of cost of a case that is paid by cost ÷ overall mean."""
        m = self.policy.settings.method
        unit = self._unit(where)
        if m.kind == "point" and m.score_of_mean:
            unit = unit * m.score_of_mean / m.points_per_weight
        return unit / self.policy.at("overall_mean", where.day, **where.selectors)

    def _unit(self, where: Where, row: WeightRow | None = None) -> Fraction:
        """Return the claim of weight 1: fen of the base rate, or units of score."""
        m = self.policy.settings.method
        if m.kind == "rate":
            return self.policy.at("base_rate", where.day, **selectors(self.policy, where, row))
        return Fraction(m.points_per_weight * 10**m.score_decimals)

    def _benchmark(
        self, row: WeightRow, worth: Fraction, factor: Fraction, where: Where, subtype: Subtype
    ) -> int:
        b = self.policy.settings.benchmark
        if b is None or b.kind == "none":
            return 0
        if b.kind == "standard":
            at = selectors(self.policy, where, row)
            return half_up(worth * factor * self.policy.at("base_rate", where.day, **at))
        if b.kind == "score":
            name = f"point_value_{'last' if b.point_value == 'last' else 'budget'}"
            value = self.policy.at(name, where.day, **selectors(self.policy, where, row))
            return half_up(worth * self.policy.settings.method.points_per_weight * value)
        if subtype.mean_fen is not None:
            return subtype.mean_fen
        mean = row.mean_fen
        if b.kind != "mean":
            assert self.means is not None
            mean = self.means.at(row.group, where.level, where.class_)
        return half_up(mean * subtype.coefficient) if mean is not None else 0


def selectors(policy: Policy, where: Where, row: WeightRow | None) -> dict[str, str]:
    """Return selectors for a group; those of a basic group are of one level everywhere."""
    if row is None:
        return where.selectors
    at = {**where.selectors, "group": row.group}
    basic = policy.settings.basic if row.basic else None
    return {**at, "level": basic.level} if basic and basic.level is not None else at


def outright(*, booked: bool) -> Price:
    """Return the price of a case that owes what was booked, or nothing."""
    nothing = Fraction(0)
    return Price(
        0,
        0,
        fixed(0),
        nothing,
        Fraction(1) if booked else nothing,
        off_top=True,
        booked=booked,
        nothing=not booked,
    )


def _number(rule: StatusPay) -> Fraction:
    """Return a rule's number; `load_policy` refuses a rule that needs one and has none."""
    assert isinstance(rule.value, int | Decimal)
    return Fraction(rule.value)


def _tier(tiers: list[Tier], where: Where, weight: Fraction, points: Fraction) -> Tier | None:
    """Choose the tier of a band: one that names level or class before one for all, then the latest."""
    found = [t for t in tiers if t.fits(where.day, where.level, where.class_, weight, points)]
    if len(found) <= 1:
        return found[0] if found else None
    rank = [((t.edge.level is not None) + (t.edge.class_ is not None), t.edge.from_) for t in found]
    if len(set(rank)) < len(found):
        message = f"two tiers fit weight {float(weight)} in {where.level} on {where.day}"
        raise PolicyError(message, parameter="low, high, extreme")
    return found[rank.index(max(rank))]


def _refuse_too_large(full: int, bare: int = 0, mean: int = 0) -> None:
    if max(full, bare) > MOST_CLAIM or mean > MOST_BENCHMARK_FEN:
        raise PolicyError("a standard or benchmark above 200,000,000 yuan: check units and weights")
