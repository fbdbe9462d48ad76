"""The page's answer to one case (单病例页面): group, marks, price, near misses, two editions.

Nothing is worked out here but places on a bar: the trace is that of `explain`, the price that of `price_of`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from fractions import Fraction
from typing import Any

from markupsafe import Markup

import grouper
from grouper._explain import CodeTrace, Trace
from grouper._explain_page import rule_rows
from grouper._statistics import plain
from grouper._what_if import Price, price_of
from grouper._yuan import fen_of, yuan
from grouper.errors import GrouperError
from grouper.tables import DipScheme, DrgScheme, Policy, Scheme

NEAR = 5
COMPARED = (
    "status",
    "reason",
    "mdc",
    "adrg",
    "group",
    "group_name",
    "severity",
    "weight",
    "standard",
)
PRICED = ("paid_as", "weight", "coefficient", "score", "standard", "low_edge", "high_edge", "note")
WIDTH = 1000


@dataclass(frozen=True)
class Wanted:
    """What the page asks of a case."""

    case: Mapping[str, Any]
    scheme: Scheme
    other: Scheme | None = None
    policy: Policy | None = None
    point_value: Fraction | None = None
    cost_fen: int | None = None
    on: date | None = None
    codes: str = "insurer"


def answer(wanted: Wanted, w: Mapping[str, str]) -> dict[str, Any]:
    """Return what the template of a result shows."""
    trace = grouper.explain(wanted.case, wanted.scheme, codes=wanted.codes, near=NEAR)
    price, problem = _price(wanted, trace)
    found: dict[str, Any] = {
        "a": _side(trace, wanted.scheme, w),
        "b": None,
        "compared": [],
        "policy": wanted.policy and wanted.policy.id,
        "price": _priced(price, w) if price else None,
        "problem": problem,
        "bar": _bar(price, wanted.cost_fen, w) if price and price.standard else None,
        "codes": _marked(trace.codes, wanted.scheme, w),
        "near": [asdict(n) | {"is_reached": n.is_reached} for n in trace.near_misses],
    }
    if wanted.other is not None:
        second = grouper.explain(wanted.case, wanted.other, codes=wanted.codes)
        found["b"] = _side(second, wanted.other, w)
        one, two = (_told(t, _price(wanted, t)[0], w) for t in (trace, second))
        found["compared"] = [(n, one[n], two[n]) for n in COMPARED if one[n] or two[n]]
    return found


def _side(t: Trace, scheme: Scheme, w: Mapping[str, str]) -> dict[str, Any]:
    facts = [
        t.reason,
        t.severity.upper() if t.severity != "none" else "",
        t.group_class,
        t.treatment,
    ]
    facts += [w["decided"].format(t.decided_by) if t.decided_by else ""]
    facts += [f"{t.aux_type} × {t.aux_factor}" if t.aux_type else "", _score(t, scheme, w), t.rule]
    return {
        "status": t.status,
        "path": _path(t, scheme),
        "facts": [f for f in facts if f],
        "meaning": w.get(f"means_{t.reason or t.status}"),
        "scheme": t.scheme,
        "fingerprint": t.scheme_fingerprint,
        "tree": Markup(
            "\n".join(line for row in t.tried for line in rule_rows(row, w))
        ),  # escaped there
    }


def _path(t: Trace, scheme: Scheme) -> list[dict[str, str]]:
    """Return MDC, ADRG and group with their names."""
    names: dict[str, str] = {}
    if isinstance(scheme, DrgScheme):
        names = {r.code.split("#")[0]: r.name for r in (*scheme.adrgs, *scheme.mdcs)}
    steps = [(c, names.get(c, "")) for c in (t.mdc, t.adrg) if c]
    steps += [(t.group, t.group_name)] if t.group else []
    return [{"code": c, "name": n} for c, n in steps]


def _score(t: Trace, scheme: Scheme, w: Mapping[str, str]) -> str:
    """Return the score that a catalogue itself gives a group; a policy's stands with the price."""
    if not isinstance(scheme, DipScheme):
        return ""
    scores = (g.score for g in scheme.groups if g.code == t.group and g.score is not None)
    return next((f"{w['score']} {plain(score)}" for score in scores), "")


def _told(t: Trace, price: Price | None, w: Mapping[str, str]) -> dict[str, str]:
    said = {n: str(getattr(t, n, "")) for n in COMPARED}
    said["status"] = w[t.status]
    return said | {n: getattr(price, n) if price else "" for n in ("weight", "standard")}


def _price(wanted: Wanted, t: Trace) -> tuple[Price | None, str]:
    """Price a group; what the policy refuses is told and hides nothing else."""
    if wanted.policy is None:
        return None, ""
    days = (wanted.on, wanted.case.get("settlement_date"), wanted.case.get("discharge_date"))
    day = next(filter(None, days), date.today())
    try:
        price = price_of(wanted.policy, wanted.case, t.status, t.group, wanted.point_value, on=day)
        return price, ""
    except GrouperError as e:
        return None, str(e)


def _priced(price: Price, w: Mapping[str, str]) -> dict[str, str]:
    told = asdict(price)
    return {n: w.get(told[n], told[n]) if n == "note" else told[n] for n in PRICED if told[n]}


def _marked(
    codes: tuple[CodeTrace, ...], scheme: Scheme, w: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Say of each code what it counts for, and the table that says so."""
    places: Counter[str] = Counter()
    listed = scheme.code_list
    found = []
    for c in codes:
        marks = []
        if not c.known:
            marks.append(
                {"kind": "unknown", "text": w["unknown"], "by": listed.id if listed else ""}
            )
        if c.excluded_by:
            text = w["excluded_mark"].format(c.level)
            marks.append(
                {"kind": "excluded", "text": text, "by": f"exclusions.csv {c.excluded_by}"}
            )
        elif c.level:
            marks.append({"kind": c.level.lower(), "text": c.level, "by": "cc.csv"})
        if c.grey:
            marks.append({"kind": "grey", "text": w["grey"], "by": listed.id if listed else ""})
        found.append({**asdict(c), "at": places[c.column], "marks": marks})
        places[c.column] += 1
    return found


def _bar(price: Price, cost: int | None, w: Mapping[str, str]) -> dict[str, Any]:
    """Place standard, edges and cost on a bar of `WIDTH`."""
    standard = fen_of(price.standard)
    low, high = (fen_of(e) if e else None for e in (price.low_edge, price.high_edge))
    most = max(standard * 8 // 5, (high or 0) * 5 // 4, (cost or 0) * 11 // 10, 1)

    def at(fen: int) -> int:
        return fen * WIDTH // most

    edges = [("low", 0, low or 0), ("normal", low or 0, high or most), ("high", high or most, most)]
    if low is None and high is None:
        edges = [("all", 0, most)]
    parts = [{"band": b, "x": at(x), "width": at(y) - at(x)} for b, x, y in edges if y > x]
    said = w["bar_standard" if low is high is None else "bar_edges"].format(
        price.standard, price.low_edge or "—", price.high_edge or "—"
    )
    if cost is not None:
        band = (
            "low" if cost < (low or 0) else "high" if high is not None and cost > high else "normal"
        )
        said += f" · {w['bar_cost'].format(yuan(cost))}"
        said += f" = {w[f'band_{band}']}" if low is not None or high is not None else ""
    place = None if cost is None else at(cost)
    return {"parts": parts, "standard": at(standard), "cost": place, "said": said}
