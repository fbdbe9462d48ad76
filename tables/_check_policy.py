"""What is odd about a policy that loads: findings for a person, never a change of the data.

Each part of the check takes one theme and yields findings with the line of the file that says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from fractions import Fraction
from itertools import combinations, product
from typing import TypeAlias

from grouper.tables._findings import Finding
from grouper.tables._formula import FormulaError, parse_formula, pieces
from grouper.tables._policy import Policy
from grouper.tables._policy_check import PERIODS, layers, tiers, values
from grouper.tables._policy_model import SELECTORS, Dated, Edge, Number, PolicySettings, Share, When
from grouper.tables._toml_lines import Location, place_of

Interval: TypeAlias = tuple[Fraction, Fraction | None]
"""From included, below excluded; None = without end."""

ZERO, ONE = Fraction(0), Fraction(1)
MOST_ONES = 5
A_CLAIM = 100_000
"""Fen of the case on which a formula is tried."""


def check_policy(p: Policy) -> Iterator[Finding]:
    """List the oddities of a policy."""
    yield from _weights(p)
    parts = (_gaps, _edges, _tiers, _formulas, _shares, _clamps, _pools, _families, _less, _unread)
    for part in parts:
        for code, at, message in part(p):
            name = ".".join(map(str, at))
            place = str(place_of(p.places, at)) if p.places else name
            yield Finding(code, place, f"{name}: {message}")


Odd: TypeAlias = Iterator[tuple[str, Location, str]]


def _weights(p: Policy) -> Iterator[Finding]:
    """Find weights that are placeholders or missing."""
    for file, table in p.tables.items():
        blank = [g for g, r in table.items() if r.weight is None]
        if blank:
            message = f"{len(blank)} groups without a weight are paid by status_pay.not_covered"
            yield Finding("L201", file, f"{message}, as {blank[0]}")
        ones = [g for g, r in table.items() if r.weight == 1]
        if len(ones) > MOST_ONES:
            message = f"{len(ones)} groups have weight 1: placeholders? as {ones[0]}"
            yield Finding("L202", file, message)


# ------------------------------------------------------------------------------------------- dates


def _gaps(p: Policy) -> Odd:
    """Find days between two values of one kind on which none of them is in force."""
    s = p.settings
    dated: dict[tuple[str, ...], list[tuple[Location, Dated]]] = {}
    for at, name, _, v in values(s):
        narrowed = tuple(f'{x} = "{v.selector(x)}"' for x in SELECTORS if v.selector(x) is not None)
        dated.setdefault((f"param.{name}", *narrowed), []).append((at, v))
    dated["weights",] = [(("weights", k), w) for k, w in enumerate(s.weights)]
    for kind, found in dated.items():
        for at, first, last in _days_between(found):
            wider = (
                v
                for other, others in dated.items()
                if other[0] == kind[0] and set(other) < set(kind)
                for _, v in others
            )
            if not any(v.covers(first) and v.covers(last) for v in wider):
                what = f" for {', '.join(kind[1:])}" if kind[1:] else ""
                yield "L203", at, f"no value from {first} to {last}{what}"


def _days_between(
    found: Iterable[tuple[Location, Dated]],
) -> Iterator[tuple[Location, date, date]]:
    """Give the gaps between periods, each with the place of the value before it."""
    ordered = sorted(found, key=lambda x: x[1].from_)
    last, end = ordered[0][0], ordered[0][1].to or date.max
    for at, d in ordered[1:]:
        if end < d.from_ - timedelta(days=1):
            yield last, end + timedelta(days=1), d.from_ - timedelta(days=1)
        if (d.to or date.max) > end:
            last, end = at, d.to or date.max


# ------------------------------------------------------------------------------------------- bands


def _edges(p: Policy) -> Odd:
    """Find bands that can meet the same case and are not in order: low < high < extreme."""
    found = list(tiers(p.settings))
    for code, lower, upper in (("L204", "low", "high"), ("L205", "high", "extreme")):
        pairs = product(*([x for x in found if x[1] == band] for band in (lower, upper)))
        for (at, _, a), (_, _, b) in pairs:
            if a.edge >= b.edge and _meet(p.settings, a, b):
                yield code, at, f"the {lower} edge {a.edge} is not below the {upper} edge {b.edge}"


def _meet(s: PolicySettings, a: Edge, b: Edge) -> bool:
    """Tell whether two tiers can fit one case."""
    same_place = (x is None or y is None or x == y for x, y in _places(a, b))
    return _both_in_force(a, b) and all(same_place) and _overlap(_weight(s, a), _weight(s, b))


def _places(a: Edge, b: Edge) -> tuple[tuple[str | None, str | None], ...]:
    return (a.level, b.level), (a.class_, b.class_)


def _both_in_force(a: Dated, b: Dated) -> bool:
    return max(a.from_, b.from_) <= min(a.to or date.max, b.to or date.max)


def _weight(s: PolicySettings, e: Edge) -> Interval:
    """Return the weights that a tier is for."""
    unit = ONE if e.key == "weight" else Fraction(s.method.points_per_weight)
    below = None if e.weight_below is None else Fraction(e.weight_below) / unit
    return Fraction(e.weight_from or 0) / unit, below


def _overlap(a: Interval, b: Interval) -> bool:
    return (b[1] is None or a[0] < b[1]) and (a[1] is None or b[0] < a[1])


def _holes(found: Iterable[Interval], whole: Interval) -> Iterator[Interval]:
    """Give what the intervals leave open of the whole one."""
    reached, end = whole
    for first, below in sorted(found, key=lambda x: x[0]):
        if first > reached:
            yield reached, first
        if below is None:
            return
        reached = max(reached, below)
    if end is None or reached < end:
        yield reached, end


def _range(interval: Interval) -> str:
    first, below = (None if x is None else f"{float(x):g}" for x in interval)
    return f"from {first} on" if below is None else f"{first} to {below}"


def _tiers(p: Policy) -> Odd:
    """Find tiers of a band of which two fit alike, or none fits a weight."""
    s = p.settings
    for band in ("low", "high", "extreme"):
        found = [(at, e) for at, b, e in tiers(s) if b == band]
        for (_, a), (at, b) in combinations(found, 2):
            if a.from_ == b.from_ and _named(a) == _named(b) and _meet(s, a, b):
                both = _range(_weight(s, b))
                yield "L206", at, f"two tiers of {b.from_} fit alike for some weight {both}"
        told: set[Interval] = set()
        for (level, class_), day in product(_kinds(e for _, e in found), _starts(found)):
            here = [
                (at, e)
                for at, e in found
                if e.covers(day) and e.level in (None, level) and e.class_ in (None, class_)
            ]
            holes = _holes((_weight(s, e) for _, e in here), (ZERO, None)) if here else ()
            for hole in set(holes) - told:
                told.add(hole)
                where = "".join(f" in {x}" for x in (level, class_) if x)
                yield "L207", here[0][0], f"no tier for weight {_range(hole)}{where} on {day}"


def _named(e: Edge) -> int:
    """Count what a tier is narrowed to; the one that names more comes first."""
    return (e.level is not None) + (e.class_ is not None)


def _kinds(edges: Iterable[Edge]) -> Iterator[tuple[str, str]]:
    """Give each level with each class that tiers name; "" is any other."""
    found = list(edges)
    levels = sorted({e.level or "" for e in found} | {""})
    return product(levels, sorted({e.class_ or "" for e in found} | {""}))


def _starts(found: Iterable[tuple[Location, Dated]]) -> list[date]:
    """Return the days on which the tiers in force may change."""
    days = {d.from_ for _, d in found}
    days |= {d.to + timedelta(days=1) for _, d in found if d.to and d.to < date.max}
    return sorted(days)


def _formulas(p: Policy) -> Odd:
    """Try each formula on a case that claims a round sum, over the costs of its band."""
    for at, band, e in tiers(p.settings):
        if e.formula is None:
            continue
        whole, edge = Fraction(A_CLAIM), Fraction(e.edge)
        known = {
            "full": whole,
            "bare": whole,
            "edge": edge,
            "above": Fraction(e.edge if e.above is None else e.above),
            "share": Fraction(e.share),
            "weight": _weight(p.settings, e)[0] or ONE,
            "coefficient": ONE,
        }
        at_edge = int(edge * A_CLAIM)
        first, last = (0, at_edge - 1) if band == "low" else (at_edge + 1, 100 * A_CLAIM)
        try:
            pieces(parse_formula(e.formula), known, ONE / A_CLAIM, first, last)
        except FormulaError as error:
            yield "L218", (*at, "formula"), f"for a claim and benchmark of 1,000 yuan: {error}"


# ---------------------------------------------------------------------- shares, coefficients, pools


def _shares(p: Policy) -> Odd:
    """Find bands of surplus or overspend that overlap or leave holes."""
    y = p.settings.year
    if y is None:
        return
    ends = [Fraction(b.ratio_below) for b in y.overspend if b.ratio_below is not None]
    sides: tuple[tuple[str, list[Share], Interval], ...] = (
        ("surplus", y.surplus, (ZERO, ONE)),
        ("overspend", y.overspend, (ONE, max(ends, default=ONE))),  # beyond, nothing is borne
    )
    for side, bands, whole in sides:
        found = [(Fraction(b.ratio_from or 0), _exact(b.ratio_below)) for b in bands]
        for (i, a), (k, b) in combinations(enumerate(found), 2):
            if _overlap(a, b):
                yield "L208", ("year", side, k), f"overlaps band {i}: the first that fits counts"
        for hole in _holes(found, whole) if found else ():
            yield "L209", ("year", side), f"no band for a ratio of {_range(hole)}"


def _exact(x: Number | None) -> Fraction | None:
    return None if x is None else Fraction(x)


def _clamps(p: Policy) -> Odd:
    """Find coefficients outside the stated least … most, given or within reach of the bonuses."""
    c = p.settings.coefficient
    if c is None or (c.least is None and c.most is None):
        return
    least = c.least if c.least is not None else 0
    said = f"{least} to {c.most}" if c.most is not None else f"{least} on"
    for (group, level), x in p.coefficient_table.items():
        if x < least or (c.most is not None and x > c.most):
            where = f"of {group or 'other groups'}, {level or 'all levels'}"
            yield "L210", ("coefficient", "file"), f"{float(x):g} {where} is not within {said}"
    for at, _, _, v in values(p.settings, "coefficient"):
        bonus = sum(step.caps.get(v.level or "", 0) for step in c.step) if c.kind == "steps" else 0
        if v.value < least or (c.most is not None and v.value + bonus > c.most):
            reached = f"{v.value} with bonuses up to {bonus}" if bonus else f"{v.value}"
            yield "L210", at, f"{reached} is not within {said}"


def _pools(p: Policy) -> Odd:
    """Find money of pools that are not there, and pools without money or without cases."""
    s = p.settings
    takers = {x.id for x in s.pool if x.price_of is not None}
    known = {x.id for x in s.pool}
    for at, name, _, v in values(s):
        if v.pool is not None and v.pool not in known:
            yield "L211", (*at, "pool"), f"no [[pool]] has the id {v.pool!r}"
        elif name in PERIODS and v.pool in takers:
            yield (
                "L211",
                (*at, "pool"),
                f"{v.pool!r} takes the price of another; its fund is unread",
            )
    growth = "budget_base" if s.budget and s.budget.method == "growth" else "budget"
    name = growth if s.budget else "fund"
    given = [v for *_, v in values(s, name)]
    for k, pool in enumerate(s.pool):
        wanted = bool(given) or s.method.shares
        if wanted and pool.id not in takers and all(v.pool not in (None, pool.id) for v in given):
            yield "L212", ("pool", k), f"pool {pool.id!r} has no value of param.{name}"
    lists = [(x.insurance, x.insured_area, x.hospital_area, x.hospital) for x in s.pool]
    for i, k in _shadowed(lists):
        message = f"is never reached: pool {s.pool[i].id!r}, before it, takes all its cases"
        yield "L213", ("pool", k), message


def _shadowed(lists: Sequence[Sequence[Sequence[str]]]) -> Iterator[tuple[int, int]]:
    """Give (first, later) where the first takes whatever the later could; an empty list takes all."""
    for k, later in enumerate(lists):
        for i, first in enumerate(lists[:k]):
            if all(not x or (y and set(y) <= set(x)) for x, y in zip(first, later, strict=True)):
                yield i, k
                break


# ------------------------------------------------------------------------------- what nothing reads


def _families(p: Policy) -> Odd:
    """Find families that no case reaches, and values for what is not there."""
    s = p.settings
    lists = [
        (w.med_type, w.ipt_med_type, w.trt_type, w.department, w.group)
        for w in (f.when for f in s.family)
    ]
    for k, later in enumerate(s.family):
        for i, first in enumerate(s.family[:k]):
            lists_hold = next(_shadowed([lists[i], lists[k]]), None) is not None
            if lists_hold and _no_narrower(first.when, later.when):
                message = f"is never reached: {first.id!r}, before it, takes all its cases"
                yield "L214", ("family", k), message
                break
    ids = {f.id for f in s.family}
    items = {x.id for x in s.budget.less} if s.budget else set()
    groups = {g for t in p.tables.values() for g in t}
    for at, _, _, v in values(s):
        for field, value, known in (
            ("family", v.family, ids),
            ("item", v.item, items),
            ("group", v.group, groups),
        ):
            if value is not None and value not in known:
                yield "L216", (*at, field), f"no case meets it: there is no {field} {value!r}"


def _no_narrower(first: When, later: When) -> bool:
    """Tell whether the numbers that `first` asks for follow from those of `later`."""
    if first.los_from is not None and (later.los_from is None or later.los_from < first.los_from):
        return False
    if first.fee_share_from is None:
        return True
    share = later.fee_share_from
    return first.fee == later.fee and share is not None and share >= first.fee_share_from


def _less(p: Policy) -> Odd:
    """Find items that take nothing from the budget."""
    for k, x in enumerate(p.settings.budget.less if p.settings.budget else ()):
        amounts = [v.value for *_, v in values(p.settings, "less") if v.item in (None, x.id)]
        if not any(amounts if x.kind == "amount" else [x.share, x.kind == "actual"]):
            yield "L215", ("budget", "less", k), f"{x.id!r} takes nothing from the budget"


def _unread(p: Policy) -> Odd:
    """Find parameters that no section asks for."""
    read = _read(p.settings)
    for at, name, _ in layers(p.settings):
        if not read[name] and len(at) == 2:
            yield "L217", at, "nothing in the policy reads it"


def _read(s: PolicySettings) -> Mapping[str, bool]:
    """Tell which parameters are asked for."""
    m, b, c, y = s.method, s.benchmark, s.coefficient, s.year
    pays = {f.pay for f in s.family}
    priced = any(f.pay in ("per_day", "per_case") and f.fund == "points" for f in s.family)
    score = b.point_value if b and b.kind == "score" else ""
    month = y.month_point_value if y else ""
    growth = s.budget is not None and s.budget.method == "growth"
    return {
        "base_rate": m.kind == "rate" or (b is not None and b.kind == "standard"),
        "base_volume": m.rate == "elastic",
        "coefficient": c is None or c.kind == "steps",
        "fund": s.budget is None,
        "budget": s.budget is not None and not growth,
        "budget_base": growth,
        "budget_growth": growth,
        "less": s.budget is not None and any(x.kind == "amount" for x in s.budget.less),
        "fund_ratio": m.ratio_scope == "published",
        "overall_mean": True,  # an appeal may be decided by it
        "point_value_budget": score == "published" or month == "budget" or priced,
        "point_value_last": score == "last" or month == "last",
        "point_value_floor": m.kind == "point",
        "point_value_cap": m.kind == "point",
        "hospital_cap": y is not None,
        "per_day": "per_day" in pays,
        "per_case": "per_case" in pays,
        "family_factor": "factor" in pays,
        "pace": y is not None and y.pace == "seasonal",
        "monthly_rate": y is not None,
        "deposit_rate": y is not None,
        "assessment": y is not None and y.assessment != "none",
        "special_share": s.special_cases is not None,
        "reserve_balance": y is not None,
    }
