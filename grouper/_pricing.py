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

from grouper.errors import PolicyError, SettlementError
from grouper.tables._policy import Edge, Policy, StatusPay, WeightRow
from grouper.tables._types import EDGE_SCALE, PriceField, PriceKind

MOST_BENCHMARK_FEN = 2 * 10**10
MOST_CLAIM = 10**14


@dataclass(frozen=True, slots=True)
class Where:
    """What a price depends on besides the group."""

    day: date
    level: str
    insurance: str
    hospital: str
    pool: str

    @property
    def selectors(self) -> dict[str, str]:
        """Return the selectors of a dated value."""
        return {
            "insurance": self.insurance,
            "level": self.level,
            "hospital": self.hospital,
            "pool": self.pool,
        }


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
    """One price key: `fields` for the kernel, the rest for the result columns.

    `off_top` = paid out of the fund before it is shared; `booked` = the fund owes what was booked;
    `nothing` = it owes nothing, whatever the patient paid.
    """

    fields: tuple[int, ...]
    weight: Fraction
    coefficient: Fraction
    subtype: Fraction = Fraction(1)
    off_top: bool = False
    booked: bool = False
    nothing: bool = False


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


def price(policy: Policy, paid: PayGroup, where: Where, subtype: Subtype = PLAIN) -> Price:
    """Work out a price key; an auxiliary type multiplies the claim and has a benchmark of its own.

    Raises
    ------
    PolicyError : a parameter is not in force, or an amount passes what the kernel can hold.
    """
    rule, s = paid.rule, policy.settings
    if rule is not None:
        return _status_price(policy, rule, where)
    row = paid.row
    assert row is not None
    assert row.weight is not None
    weight = row.weight * paid.share
    factor, at = _coefficient(policy, row, where.day, {**where.selectors, "group": row.group})
    worth = weight * subtype.coefficient
    full, bare = (_claim(policy, worth * f, where.day, at) for f in (factor, Fraction(1)))
    fields = dict.fromkeys(PriceField, 0)
    fields |= {PriceField.BASE: full, PriceField.LOW_EDGE: -1, PriceField.HIGH_EDGE: -1}
    fields[PriceField.BENCHMARK] = _benchmark(policy, row, worth, factor, where.day, at, subtype)
    if low := _edge(s.low, where, weight):
        fields[PriceField.LOW_EDGE] = _scaled(low.edge)
        fields[PriceField.LOW_INCLUSIVE] = int(low.inclusive)
        fields[PriceField.LOW_COST] = int(low.pay == "cost" and s.method.kind == "rate")
        fields[PriceField.LOW_BASE] = full if low.coefficient else bare
    if high := _edge(s.high, where, weight):
        fields[PriceField.HIGH_EDGE] = _scaled(high.edge)
        fields[PriceField.HIGH_INCLUSIVE] = int(high.inclusive)
        fields[PriceField.HIGH_BASE] = full if high.coefficient else bare
        fields[PriceField.HIGH_SHARE] = _scaled(high.share)
    return Price(_fields(fields), weight, factor, subtype.coefficient)


def _coefficient(
    policy: Policy, row: WeightRow, day: date, at: dict[str, str]
) -> tuple[Fraction, dict[str, str]]:
    """Return the hospital coefficient and the selectors; basic groups have one level's, or none."""
    basic = policy.settings.basic if row.basic else None
    if basic and basic.level is not None:
        at = {**at, "level": basic.level}
    if not policy.has("coefficient") or (basic and basic.level is None):
        return Fraction(1), at
    return policy.at("coefficient", day, **at), at


def _status_price(policy: Policy, rule: StatusPay, where: Where) -> Price:
    fields = dict.fromkeys(PriceField, 0)
    point = policy.settings.method.kind == "point"
    shared = point or policy.settings.method.rate == "floating"
    at = where.selectors
    zero = Fraction(0)
    if rule.rule == "weight":
        given = policy.has("coefficient") and rule.coefficient
        factor = policy.at("coefficient", where.day, **at) if given else Fraction(1)
        weight = _number(rule)
        fields[PriceField.KIND] = PriceKind.FIXED
        fields[PriceField.BASE] = _claim(policy, weight * factor, where.day, at)
        return Price(_fields(fields), weight, factor)
    if rule.rule == "zero":
        fields[PriceField.KIND] = PriceKind.FIXED
        return Price(_fields(fields), zero, zero, off_top=True, nothing=True)
    fields[PriceField.KIND] = PriceKind.COST
    ratio = zero if rule.rule == "booked" else _number(rule)
    if rule.rule == "cost_over_mean":
        mean = policy.at("overall_mean", where.day, **at)
        m = policy.settings.method
        unit = _unit(policy, where.day, at)
        if m.kind == "point" and m.score_of_mean:
            unit = unit * m.score_of_mean / m.points_per_weight
        ratio = ratio * unit / mean
    fields[PriceField.NUM], fields[PriceField.DEN] = ratio.numerator, ratio.denominator
    off_top = rule.rule == "booked" or (rule.rule == "cost" and shared)
    booked = rule.rule == "booked"
    return Price(_fields(fields), zero, Fraction(1), off_top=off_top, booked=booked)


def _number(rule: StatusPay) -> Fraction:
    """Return a rule's number; `load_policy` refuses a rule that needs one and has none."""
    assert isinstance(rule.value, int | Decimal)
    return Fraction(rule.value)


def _unit(policy: Policy, day: date, at: Mapping[str, str]) -> Fraction:
    """Return the claim of weight 1: fen of the base rate, or units of score."""
    m = policy.settings.method
    if m.kind == "rate":
        return policy.at("base_rate", day, **at)
    return Fraction(m.points_per_weight * 10**m.score_decimals)


def _claim(policy: Policy, weight: Fraction, day: date, at: Mapping[str, str]) -> int:
    return round_half_up(weight * _unit(policy, day, at))


def _benchmark(
    policy: Policy,
    row: WeightRow,
    weight: Fraction,
    factor: Fraction,
    day: date,
    at: Mapping[str, str],
    subtype: Subtype,
) -> int:
    b = policy.settings.benchmark
    if b is None or b.kind == "none":
        return 0
    if b.kind == "mean":
        if subtype.mean_fen is not None:
            return subtype.mean_fen
        mean = row.mean_fen
        return round_half_up(mean * subtype.coefficient) if mean is not None else 0
    return round_half_up(weight * factor * policy.at("base_rate", day, **at))


def _edge(edges: list[Edge], where: Where, weight: Fraction) -> Edge | None:
    found = [e for e in edges if e.fits(where.day, where.level, weight)]
    if len({(e.level is not None, e.from_) for e in found}) < len(found):
        message = f"two tiers fit weight {float(weight)} in {where.level} on {where.day}"
        raise PolicyError(message, parameter="high, low")
    return max(found, key=lambda e: (e.level is not None, e.from_)) if found else None


def _scaled(number: object) -> int:
    scaled = Fraction(str(number)) * EDGE_SCALE
    if scaled.denominator != 1 or not 0 <= scaled <= 100 * EDGE_SCALE:
        message = f"{number} is not between 0 and 100 with at most four decimals"
        raise PolicyError(message, parameter="high, low")
    return int(scaled)


def _fields(fields: Mapping[PriceField, int]) -> tuple[int, ...]:
    claim = max(fields[f] for f in (PriceField.BASE, PriceField.LOW_BASE, PriceField.HIGH_BASE))
    if claim > MOST_CLAIM or fields[PriceField.BENCHMARK] > MOST_BENCHMARK_FEN:
        raise PolicyError("a standard or benchmark above 200,000,000 yuan: check units and weights")
    if fields[PriceField.DEN] == 0:
        return (*(int(fields[f]) for f in PriceField if f != PriceField.DEN), 1)
    if fields[PriceField.DEN] >= 2**61 or fields[PriceField.NUM] >= 2**62:
        raise PolicyError("a cost rule has too many decimals", parameter="status_pay")
    return tuple(int(fields[f]) for f in PriceField)


def round_half_up(x: Fraction) -> int:
    """Round to a whole number, half away from zero (四舍五入)."""
    whole = (2 * abs(x.numerator) + x.denominator) // (2 * x.denominator)
    return whole if x >= 0 else -whole


@dataclass(frozen=True, slots=True)
class Standard:
    """The payment standard (支付标准) of a group: `exact` in yuan, nothing rounded."""

    group: str
    pay_as: str
    weight: Fraction
    rate: Fraction
    coefficient: Fraction

    @property
    def exact(self) -> Fraction:
        """Weight × rate × coefficient, yuan."""
        return self.weight * self.rate * self.coefficient / 100

    def rounded(self, decimals: int) -> str:
        """Write the standard in yuan with so many decimals, rounded half up."""
        units = round_half_up(self.exact * 10**decimals)
        text = str(units).rjust(decimals + 1, "0")
        return f"{text[:-decimals]}.{text[-decimals:]}" if decimals else text

    def edge(self, multiple: Fraction) -> Fraction:
        """Return the cost in yuan at a multiple of the standard."""
        return self.exact * multiple


def standard(
    policy: Policy,
    group: str,
    *,
    level: str = "",
    insurance: str = "",
    hospital: str = "",
    pool: str = "",
    on: date,
    note: str = "",
) -> Standard | None:
    """Return what a group is worth under a rate policy; None if it has no weight.

    Parameters
    ----------
    group : a group of the weight table, also ``0000``. note : the id of a `pay_as` note.

    Raises
    ------
    PolicyError : a parameter is not in force on the day, or the policy has no rate.
    """
    paid = pay_group(policy, on, "grouped", group, note)
    if paid.row is None or paid.row.weight is None:
        return None
    at = {"level": level, "insurance": insurance, "hospital": hospital, "pool": pool}
    at = {k: v for k, v in {**at, "group": paid.row.group}.items() if v}
    factor, at = _coefficient(policy, paid.row, on, at)
    rate = policy.at("base_rate", on, **at)
    return Standard(group, paid.name, paid.row.weight * paid.share, rate, factor)
