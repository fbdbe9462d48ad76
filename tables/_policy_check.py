"""Contradictions inside a policy, each refused with its line; all of them are named at once.

Each part of the check takes one theme and yields faults: where in the file, and what would cure it.
What is only odd, not contradictory, is a finding of the linter (`_check_policy`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import TypeAlias

from grouper.errors import PolicyError
from grouper.tables._formula import FormulaError, parse_formula
from grouper.tables._policy_files import WeightRow
from grouper.tables._policy_model import (
    PARAMETERS,
    STATUSES,
    UNITS,
    Dated,
    Edge,
    Number,
    Parameter,
    PolicySettings,
    Value,
)
from grouper.tables._toml_lines import Location, Places, place_of, tell

Fault: TypeAlias = tuple[Location, str]

MOST_FUND_FEN = 10**15

BANDS = {
    "low": ("cost", "ratio", "base", "formula"),
    "high": ("excess", "base", "cost", "ratio", "formula"),
    "extreme": ("excess", "base", "cost", "ratio", "formula"),
}
"""The bands of deviation and how each may be paid."""

PERIODS = ("fund", "budget", "budget_base")
"""Parameters whose values are money of a period, from … to."""

LINES = ("ordinary", "fund", "taker", "carve_out", "out_of_area")
"""Names that mean something else than a family."""

_SUMS = ("fund", "budget", "less", "hospital_cap", "reserve_balance")
_ABOVE_ZERO = ("overall_mean", "base_volume", "point_value_budget", "point_value_last")
_LEAST = {"budget_growth": -1}
_MOST: dict[str, Number] = {
    "deposit_rate": Decimal("0.05"),
    "monthly_rate": 1,
    "special_share": 1,
    "fund_ratio": 1,
}

_FAMILY_PRICES = {"per_day": "per_day", "per_case": "per_case", "factor": "family_factor"}
_POINT_VALUES = {"published": "point_value_budget", "last": "point_value_last"}
_MONTH_VALUES = {"budget": "point_value_budget", "last": "point_value_last"}


def refuse_contradictions(
    s: PolicySettings, tables: Mapping[str, Mapping[str, WeightRow]], places: Places
) -> None:
    """Refuse a policy whose parts contradict each other.

    Raises
    ------
    PolicyError : names every contradiction with its line.
    """
    faults = [fault for part in _PARTS for fault in part(s)]
    faults += _status_pay(s, tables.values())
    placed = sorted((place_of(places, at), f"{_dotted(at)}: {text}") for at, text in faults)
    if placed:
        file = placed[0][0].file
        raise PolicyError(tell(placed, file), file=file)


def layers(s: PolicySettings) -> Iterator[tuple[Location, str, Parameter]]:
    """Give every parameter, and what each inherits: where it stands, its name, itself."""
    for name, parameter in s.param.items():
        at: Location = ("param", name)
        layer: Parameter | None = parameter
        while layer is not None:
            yield at, name, layer
            at, layer = (*at, "inherited"), layer.inherited


def values(s: PolicySettings, *names: str) -> Iterator[tuple[Location, str, Parameter, Value]]:
    """Give every value of some parameters, or of all: where it stands, name, layer, itself."""
    for at, name, layer in layers(s):
        if not names or name in names:
            for k, value in enumerate(layer.values):
                yield (*at, "values", k), name, layer, value


def tiers(s: PolicySettings) -> Iterator[tuple[Location, str, Edge]]:
    """Give every tier of every band: where it stands, its band, itself."""
    for band, edges in (("low", s.low), ("high", s.high), ("extreme", s.extreme)):
        for k, edge in enumerate(edges):
            yield (band, k), band, edge


def lines_outside(s: PolicySettings) -> set[str]:
    """Name the lines that are paid outside the fund: families, price takers, carve-outs."""
    found = {f.id for f in s.family if f.fund == "outside"}
    if any(p.price_of is not None for p in s.pool):
        found.add("out_of_area")
    if s.carve_out and s.carve_out.fund == "outside":
        found.add("carve_out")
    return found


def _dotted(at: Location) -> str:
    return ".".join(map(str, at))


def _dates(s: PolicySettings) -> Iterator[Fault]:
    dated: list[tuple[Location, Dated]] = [(("weights", k), w) for k, w in enumerate(s.weights)]
    dated += [(("scheme", k), a) for k, a in enumerate(s.scheme)]
    dated += [(at, edge) for at, _, edge in tiers(s)]
    dated += [(at, value) for at, _, _, value in values(s)]
    for at, d in dated:
        if d.to and d.to < d.from_:
            yield (*at, "to"), f"{d.to} is before from = {d.from_}"
    weights = [(w.from_, w.name) for w in s.weights]
    for part, rows in (("weights", weights), ("scheme", [(a.from_, a.id) for a in s.scheme])):
        begins: dict[date, str] = {}
        for k, (day, name) in enumerate(rows):
            if day in begins:
                yield (
                    (part, k, "from"),
                    f"begins on {day}, as {begins[day]} does; which of them is meant?",
                )
            begins[day] = name


def _editions(s: PolicySettings) -> Iterator[Fault]:
    """Find editions that change on another day than the weights of their groups."""
    for k, a in enumerate(s.scheme):
        if a.by != s.scheme[0].by:
            yield ("scheme", k, "by"), f"{a.by} here and {s.scheme[0].by} above; one day decides"
        elif a.by != s.method.dated_by and len(s.scheme) > 1:
            yield (
                ("scheme", k, "by"),
                f"editions change by {a.by} and values by {s.method.dated_by}: a case between the two "
                "days has the groups of one edition and the weights of the other; set "
                f'method.dated_by = "{a.by}"',
            )


def _method(s: PolicySettings) -> Iterator[Fault]:
    """Find a fund form, a scope or a remainder that the method does not have."""
    m = s.method
    if m.kind == "point" and m.rate != "fixed":
        yield ("method", "rate"), f"{m.rate} is of the rate method; leave it out"
    if m.fund_form == "in_scope":
        form: Location = ("method", "fund_form")
        if m.kind != "rate":
            yield form, "in_scope is a form of the rate method; it has no point value"
        elif m.rate != "fixed":
            yield form, "in_scope is not proportional to the standard, so it cannot float"
        if m.ratio_scope != "published":
            yield form, 'in_scope needs ratio_scope = "published" and param.fund_ratio'
    if m.ratio_scope != "region" and m.fund_form not in ("ratio", "in_scope"):
        yield ("method", "ratio_scope"), "belongs to fund_form = ratio"
    if m.left_over == "solve":
        left: Location = ("method", "left_over")
        if m.fund_form != "difference" or m.negative != "zero_case":
            yield left, "solve needs fund_form = difference and negative = zero_case"
        if not m.shares:
            yield left, "solve needs the point method or rate = floating; nothing else is solved"


def _needs(s: PolicySettings) -> Iterator[Fault]:
    """Find parameters that a section needs and the policy does not give."""
    for at, what, name in _needed(s):
        parameter = s.param.get(name)
        if parameter is None or not parameter.all_values:
            yield at, f"{what} needs param.{name}"
    for at, name, selector, chosen in _needed_for(s):
        given = s.param[name].all_values if name in s.param else []
        if not any(v.selector(selector) in (None, chosen) for v in given):
            yield at, f'needs a value of param.{name} for {selector} = "{chosen}"'


def _needed(s: PolicySettings) -> Iterator[tuple[Location, str, str]]:
    """Give where, what and which parameter."""
    m, b = s.method, s.benchmark
    if m.kind == "rate":
        yield ("method", "kind"), "rate", "base_rate"
        if m.rate == "elastic":
            yield ("method", "rate"), "elastic", "base_volume"
    if m.ratio_scope == "published":
        yield ("method", "ratio_scope"), "published", "fund_ratio"
    if b and b.kind == "standard":
        circle = "standard, whose price may not be the point value being solved (a circle),"
        yield ("benchmark", "kind"), circle, "base_rate"
    if b and b.kind == "score" and b.point_value in _POINT_VALUES:
        named = _POINT_VALUES[b.point_value]
        yield ("benchmark", "point_value"), f"kind = score, {b.point_value}", named
    if s.coefficient and s.coefficient.kind == "steps":
        yield ("coefficient", "kind"), "steps", "coefficient"
    for name, rule in s.status_pay.items():
        if rule.rule == "cost_over_mean":
            yield ("status_pay", name, "rule"), "cost_over_mean", "overall_mean"
    for k, f in enumerate(s.family):
        if m.kind == "point" and f.fund == "points" and f.pay in ("per_day", "per_case"):
            yield (
                ("family", k, "fund"),
                "points, a price turned into a score,",
                "point_value_budget",
            )
    if s.special_cases:
        yield ("special_cases",), "the quota", "special_share"
    if s.budget:
        names = ("budget",) if s.budget.method == "amount" else ("budget_base", "budget_growth")
        for name in names:
            yield ("budget", "method"), s.budget.method, name
    if s.year and s.year.pace == "seasonal":
        yield ("year", "pace"), "seasonal", "pace"
    if s.year and s.year.month_point_value in _MONTH_VALUES:
        value = s.year.month_point_value
        yield ("year", "month_point_value"), value, _MONTH_VALUES[value]
    if s.year and not s.budget:
        yield ("year",), "the year, unless there is [budget],", "fund"


def _needed_for(s: PolicySettings) -> Iterator[tuple[Location, str, str, str]]:
    """Give where, which parameter, and the selector that one of its values must fit."""
    for k, f in enumerate(s.family):
        if f.pay in _FAMILY_PRICES:
            yield ("family", k, "pay"), _FAMILY_PRICES[f.pay], "family", f.id
    for k, less in enumerate(s.budget.less if s.budget else ()):
        if less.kind == "amount":
            yield ("budget", "less", k, "kind"), "less", "item", less.id


def _pools(s: PolicySettings) -> Iterator[Fault]:
    makers = [p.id for p in s.pool if p.price_of is None]
    yield from _twice(("pool",), [p.id for p in s.pool])
    lists: dict[tuple[frozenset[str], ...], str] = {}
    for k, p in enumerate(s.pool):
        own = tuple(map(frozenset, (p.insurance, p.insured_area, p.hospital_area, p.hospital)))
        if own in lists:
            yield ("pool", k), f"two pools of the same lists: {lists[own]!r} takes all the cases"
        lists.setdefault(own, p.id)
        if p.price_of is not None and p.price_of not in makers:
            message = f"{p.price_of!r} is no pool with a price of its own"
            yield ("pool", k, "price_of"), f"{message}; there are: {', '.join(makers) or 'none'}"


def _twice(at: Location, ids: Iterable[str]) -> Iterator[Fault]:
    seen: set[str] = set()
    for k, name in enumerate(ids):
        if name in seen:
            yield (*at, k, "id"), f"{name!r} stands twice"
        seen.add(name)


def _bands(s: PolicySettings) -> Iterator[Fault]:
    """Find payments that a band does not have, and bands without a benchmark."""
    kind = s.benchmark.kind if s.benchmark else "none"
    first: Location | None = None
    for at, band, e in tiers(s):
        first = first or at
        if e.pay not in BANDS[band]:
            known = ", ".join(BANDS[band])
            yield (*at, "pay"), f"{e.pay!r} does not belong there; a {band} band has {known}"
        for field, number in (("edge", e.edge), ("above", e.above), ("cap", e.cap)):
            if number is not None and number < 0:
                yield (*at, field), f"{number} is below 0"
        if _crossed(e.weight_from, e.weight_below):
            yield (*at, "weight_from"), f"{e.weight_from} is not below {e.weight_below}"
    if first and kind == "none":
        yield ("benchmark", "kind") if s.benchmark else first, "the bands need a benchmark"
    if s.high_quota and not s.high:
        yield ("high_quota",), "there is no [[high]] whose cases it could limit"


def _crossed(least: Number | None, below: Number | None) -> bool:
    return least is not None and below is not None and least >= below


def _formulas(s: PolicySettings) -> Iterator[Fault]:
    for at, _, e in tiers(s):
        if (e.formula is not None) != (e.pay == "formula"):
            yield (*at, "pay"), "a formula is given if, and only if, pay = formula"
        if e.formula is not None:
            try:
                parse_formula(e.formula)
            except FormulaError as error:
                yield (*at, "formula"), str(error)


def _benchmark(s: PolicySettings) -> Iterator[Fault]:
    b = s.benchmark
    if b and b.kind == "score" and b.point_value == "own":
        yield (
            ("benchmark", "point_value"),
            "own is a circle: point value → standard of a case → claims → band → benchmark → "
            "point value; name one that is known beforehand: published or last",
        )
    if b and b.kind == "table" and not b.file:
        yield ("benchmark", "kind"), "table needs a file"


def _coefficient(s: PolicySettings) -> Iterator[Fault]:
    c = s.coefficient
    if c is None:
        return
    if c.kind == "table" and not c.file:
        yield ("coefficient", "kind"), "table needs a file"
    if c.kind == "steps" and not c.step:
        yield ("coefficient", "kind"), "steps needs [[coefficient.step]]"
    if c.least is not None and c.most is not None and c.least > c.most:
        yield ("coefficient", "least"), f"{c.least} is above most = {c.most}"
    for k, step in enumerate(c.step):
        at: Location = ("coefficient", "step", k)
        if (step.indicator == "fee_share") != bool(step.fee):
            yield (*at, "indicator"), "fee_share, and no other, needs `fee`, a column of money"
        if step.age_from > step.age_to:
            yield (*at, "age_from"), f"{step.age_from} is above age_to = {step.age_to}"
        if step.step <= 0:
            yield (*at, "step"), f"{step.step} is not above 0"
        amounts = {"each": step.each, "first": step.first, **step.caps}
        for name, number in amounts.items():
            if number < 0:
                here = (*at, "caps", name) if name in step.caps else (*at, name)
                yield here, f"{number} is below 0"


def _status_pay(s: PolicySettings, tables: Iterable[Mapping[str, WeightRow]]) -> Iterator[Fault]:
    """Find statuses without a rule, and rules without what they need."""
    tables = list(tables)
    for name in ("ambiguous", "ungrouped", "rejected", "not_covered"):
        if name not in s.status_pay:
            yield ("status_pay", name), "no rule"
    for name, rule in s.status_pay.items():
        at: Location = ("status_pay", name)
        number = isinstance(rule.value, int | Decimal)
        if name not in STATUSES:
            yield at, f"not one of {', '.join(STATUSES)}"
        if rule.rule in ("weight", "cost", "cost_over_mean") and not number:
            yield at, f"rule {rule.rule} needs a number as value"
        if isinstance(rule.value, int | Decimal) and rule.value < 0:
            yield (*at, "value"), "a value below 0"
        if rule.rule == "own_group" and name == "not_covered":
            yield at, "own_group has no weight of its own"
        if rule.rule == "group" and not any(rule.value in t for t in tables):
            yield at, f"group {rule.value!r} is in no weight table"


def _families(s: PolicySettings) -> Iterator[Fault]:
    yield from _twice(("family",), [f.id for f in s.family])
    for k, f in enumerate(s.family):
        at: Location = ("family", k)
        if f.id in LINES:
            yield (*at, "id"), f"{f.id!r} means something else; choose another name"
        if f.pay == "booked" and f.fund == "points":
            yield (*at, "pay"), 'booked is no price; give fund = "off_top" or "outside"'
        if f.pay == "factor" and f.fund != "points":
            yield (
                (*at, "fund"),
                "a factor is for a case that goes on as an ordinary one; leave it out",
            )
        if bool(f.when.fee) != (f.when.fee_share_from is not None):
            yield (*at, "when"), "fee and fee_share_from go together"


def _shares(s: PolicySettings) -> Iterator[Fault]:
    """Find parts of a whole that are not 0 to 1."""
    found: list[tuple[Location, Number]] = [((*at, "share"), e.share) for at, _, e in tiers(s)]
    if s.high_quota:
        found.append((("high_quota", "share"), s.high_quota.share))
    if s.carve_out:
        found.append((("carve_out", "share"), s.carve_out.share))
    found += [(("readmission", k, "factor"), r.factor) for k, r in enumerate(s.readmission)]
    for k, f in enumerate(s.family):
        if f.when.fee_share_from is not None:
            found.append((("family", k, "when", "fee_share_from"), f.when.fee_share_from))
    if s.budget:
        found += [(("budget", "less", k, "share"), x.share) for k, x in enumerate(s.budget.less)]
    if s.year:
        for side, bands in (("surplus", s.year.surplus), ("overspend", s.year.overspend)):
            found += [(("year", side, k, "share"), b.share) for k, b in enumerate(bands)]
    for at, share in found:
        if not 0 <= share <= 1:
            yield at, f"{share} is not 0 to 1"


def _budget(s: PolicySettings) -> Iterator[Fault]:
    """Find money that comes from two sides, and lines that do not exist."""
    if s.budget is None:
        for name in ("budget", "budget_base", "budget_growth", "less"):
            if name in s.param:
                yield ("param", name), "is read with a section [budget] only; give one"
        return
    if "fund" in s.param:
        yield ("param", "fund"), "stands beside [budget], which makes the fund; take one out"
    less = s.budget.less
    yield from _twice(("budget", "less"), [x.id for x in less])
    if sum(Fraction(x.share) for x in less if x.kind == "share") > 1:
        yield ("budget", "less"), "the shares are more than the whole budget"
    lines = lines_outside(s)
    for k, x in enumerate(less):
        if x.kind == "actual" and x.id not in lines:
            known = ", ".join(sorted(lines)) or "none"
            message = f"actual needs the id of a line outside the fund; there are: {known}"
            yield ("budget", "less", k, "kind"), message
        if x.kind == "actual" and x.reserve:
            yield ("budget", "less", k, "reserve"), "a reserve is an amount or a share, not actual"


def _year(s: PolicySettings) -> Iterator[Fault]:
    """Find months and bands that the year cannot settle."""
    y = s.year
    if y is None:
        return
    if y.month_point_value != "own" and s.method.kind != "point":
        message = f"{y.month_point_value} is a point value; the rate method has none"
        yield ("year", "month_point_value"), message
    if y.point_value_form not in (None, s.method.fund_form):
        message = (
            f"a point value formed by {y.point_value_form} is no price for fund_form = "
            f"{s.method.fund_form}: a mismatched pair"
        )
        yield ("year", "point_value_form"), message
    for side, bands in (("surplus", y.surplus), ("overspend", y.overspend)):
        for k, b in enumerate(bands):
            if _crossed(b.ratio_from, b.ratio_below):
                yield ("year", side, k), f"{b.ratio_from} is not below {b.ratio_below}"
    if any(b.share > 0 for b in y.overspend) and not (y.overspend_from or y.no_top_up):
        yield ("year", "overspend"), "a share is borne, and overspend_from names no source of it"
    if len(set(y.overspend_from)) < len(y.overspend_from):
        yield ("year", "overspend_from"), "a source stands twice"
    for at, name, _, v in values(s, *PERIODS):
        after = v.to + timedelta(days=1) if v.to and v.to < date.max else None
        if v.from_.day != 1 or (after and after.day != 1):
            period = f"{v.from_} to {v.to}"
            yield at, f"[year] settles months, and the {name} of {period} is not of whole months"


def _warnings(s: PolicySettings) -> Iterator[Fault]:
    w = s.warnings
    if w and not 0 < w.yellow <= w.orange <= w.red:
        yield ("warnings",), "yellow, orange, red have to rise from above 0"


def _calendar(s: PolicySettings) -> Iterator[Fault]:
    c = s.calendar
    if c is None:
        return
    try:
        date.fromisoformat(f"2001-{c.clear_by}")
    except ValueError:
        yield ("calendar", "clear_by"), f"{c.clear_by!r} is no month and day, such as 06-30"
    if c.pay_by_day is not None and not 1 <= c.pay_by_day <= 31:
        yield ("calendar", "pay_by_day"), f"{c.pay_by_day} is no day of a month"
    if c.settle_working_days < 0:
        yield ("calendar", "settle_working_days"), f"{c.settle_working_days} is below 0"
    for day in sorted(set(c.holidays) & set(c.workdays)):
        yield ("calendar", "workdays"), f"{day} is a holiday too"


def _parameters(s: PolicySettings) -> Iterator[Fault]:
    """Find unknown names, wrong units, values out of range, months that are none."""
    for at, name, layer in layers(s):
        if name not in PARAMETERS:
            yield at, f"not one of {', '.join(PARAMETERS)}"
            continue
        money = PARAMETERS[name][0] == "money"
        if (layer.unit.split(" ")[0] in UNITS) != money or (not money and layer.unit != "ratio"):
            wanted = "fen, yuan or 万元, such as 'yuan per 1.0000 RW'" if money else "ratio"
            yield (*at, "unit"), f"unit {layer.unit!r} is not {wanted}"
        if not layer.all_values:
            yield at, "no values"
    for at, name, _, v in values(s):
        least, most = _LEAST.get(name, 0), _MOST.get(name)
        if v.value < least or (most is not None and v.value > most):
            range_ = f"below {least}" if most is None else f"not {least} to {most}"
            yield (*at, "value"), f"{v.value} is {range_}"
        elif name in _ABOVE_ZERO and v.value == 0:
            yield (*at, "value"), "has to be above 0"
        if v.month is not None and not re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", v.month):
            yield (*at, "month"), f"{v.month!r} is no month, such as 2025-01"


def _sums(s: PolicySettings) -> Iterator[Fault]:
    """Find sums that are not whole fen, and periods without an end."""
    for at, name, layer, v in values(s, *PERIODS, *_SUMS):
        fen = Fraction(v.value) * layer.factor
        if fen >= MOST_FUND_FEN or (name in _SUMS and fen.denominator != 1):
            yield (*at, "value"), f"{v.value} is not a whole number of fen below 10^15"
        if name in PERIODS and v.to is None:
            yield at, "each value needs `to`: it is the money of a period"


_PARTS: tuple[Callable[[PolicySettings], Iterator[Fault]], ...] = (
    _dates,
    _editions,
    _method,
    _needs,
    _pools,
    _bands,
    _formulas,
    _benchmark,
    _coefficient,
    _families,
    _shares,
    _budget,
    _year,
    _warnings,
    _calendar,
    _parameters,
    _sums,
)
