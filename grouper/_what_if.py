"""what_if: the group, weight and pay of a case as it is and as it would be with changes (改动试算).

Pay is the standard that a policy's price list gives: weight × rate × coefficient, or under a point method
the score and, if a point value is given, its worth. No fund is shared here: what a fund leaves over is a
matter of all cases. The surprise: `clarify_only` (仅用于澄清) leaves everything about money out, for those
who may ask what a record says and not what it is worth.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from fractions import Fraction
from pathlib import Path
from typing import Any

from grouper._changes import apply_changes
from grouper._coefficients import find_coefficients
from grouper._explain import Trace
from grouper._explain_dip import explain
from grouper._explain_page import what_if_page
from grouper._explain_text import WORDS, trace_lines
from grouper._pricing import Where, pay_group, selectors
from grouper._statistics import half_up, plain, text_of
from grouper._yuan import yuan
from grouper.errors import PolicyError
from grouper.tables import Policy, Scheme, load_policy, load_scheme

COMPARED = ("status", "reason", "mdc", "adrg", "group", "group_name", "severity", "rule")


@dataclass(frozen=True)
class Price:
    """What a group is worth under a policy: decimals as text, "" = not known; yuan with two decimals."""

    paid_as: str = ""
    weight: str = ""
    coefficient: str = ""
    score: str = ""
    standard: str = ""
    low_edge: str = ""
    high_edge: str = ""
    note: str = ""


@dataclass(frozen=True)
class WhatIf:
    """A case before and after changes; `before_price` and `after_price` are None without a policy."""

    changes: tuple[str, ...]
    before: Trace
    after: Trace
    before_price: Price | None = None
    after_price: Price | None = None

    @property
    def changed(self) -> dict[str, tuple[str, str]]:
        """What of the answer differs: field → (before, after)."""
        pairs = {f: (str(getattr(self.before, f)), str(getattr(self.after, f))) for f in COMPARED}
        return {f: p for f, p in pairs.items() if p[0] != p[1]}

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        found: dict[str, Any] = {
            "changes": list(self.changes),
            "changed": {f: list(p) for f, p in self.changed.items()},
            "before": self.before.to_dict(),
            "after": self.after.to_dict(),
        }
        if self.before_price is not None and self.after_price is not None:
            found["price"] = {
                "before": asdict(self.before_price),
                "after": asdict(self.after_price),
            }
        return found

    def to_text(self, lang: str = "zh") -> str:
        """Write it for a person, in "zh" or "en"."""
        w = WORDS[lang]
        lines = [f"{w['changes']}: {', '.join(self.changes) or '—'}"]
        for field_, (before, after) in self.changed.items():
            lines.append(f"  {w.get(field_, field_)}: {before or '—'} → {after or '—'}")
        if not self.changed:
            lines.append(f"  {w['same']}")
        if self.before_price is not None and self.after_price is not None:
            one, two = asdict(self.before_price), asdict(self.after_price)
            for name in one:
                if one[name] or two[name]:
                    lines.append(f"  {w[name]}: {one[name] or '—'} → {two[name] or '—'}")
        for title, trace in ((w["before"], self.before), (w["after"], self.after)):
            lines += ["", f"== {title} ==", *trace_lines(trace, lang)]
        return "\n".join(lines)

    def to_html(self, lang: str = "zh") -> str:
        """Write it as one self-contained page."""
        prices = (self.before_price, self.after_price)
        told = [None if p is None else asdict(p) for p in prices]
        return what_if_page(self.changes, self.changed, (self.before, self.after), told, lang)

    def __str__(self) -> str:
        return self.to_text()


def what_if(
    case: Mapping[str, Any],
    scheme: Scheme | str | Path,
    changes: Sequence[str],
    *,
    policy: Policy | str | Path | None = None,
    point_value: Fraction | str | None = None,
    on: date | None = None,
    codes: str = "insurer",
    clarify_only: bool = False,
    near: int = 0,
) -> WhatIf:
    """Compare a case with itself after changes (改动试算).

    Parameters
    ----------
    case : as for `explain`; hospital_level, hospital_class, hospital_id, insurance and the settlement or
        discharge date choose the values of the policy. changes : see `grouper._changes`, such as
        ``procedures+=39.5000`` or ``principal=I21.001``.
    policy : adds weight, score, standard and edges. point_value : yuan a point, for a point method.
    on : the day whose values count; default the case's own. clarify_only : leave out everything about money.
    near : how many near misses to look for.

    Raises
    ------
    CaseSchemaError : a change is none; names all. PolicyError : a parameter is not in force on the day.
    """
    scheme = load_scheme(scheme) if isinstance(scheme, str | Path) else scheme
    changed = apply_changes(case, changes)
    before, after = (explain(c, scheme, codes=codes, near=near) for c in (case, changed))
    if policy is None or clarify_only:
        return WhatIf(tuple(changes), before, after)
    policy = policy if isinstance(policy, Policy) else load_policy(policy)
    value = None if point_value is None else Fraction(point_value)
    prices = [
        price_of(policy, c, t.status, t.group, value, on)
        for c, t in ((case, before), (changed, after))
    ]
    return WhatIf(tuple(changes), before, after, *prices)


def price_of(
    policy: Policy,
    case: Mapping[str, Any],
    status: str,
    group: str,
    point_value: Fraction | None = None,
    on: date | None = None,
) -> Price:
    """Price the group of a case by the policy's list; parameters and errors as for `what_if`."""
    day = on or case.get(f"{policy.settings.method.dated_by}_date") or case.get("discharge_date")
    if day is None:
        message = f"the case has no {policy.settings.method.dated_by}_date: name a day"
        raise PolicyError(message, parameter="on")
    paid = pay_group(policy, day, status, group, str(case.get("pay_note") or ""))
    if paid.row is None or paid.row.weight is None:
        return Price(paid_as=paid.name, note="no weight")
    texts = [
        str(case.get(n) or "")
        for n in ("hospital_level", "hospital_class", "insurance", "hospital_id")
    ]
    level, class_, insurance, hospital = texts
    where = Where(day, level, class_, insurance, hospital, "")
    weight = paid.row.weight * paid.share
    factor = find_coefficients(policy).at(where, paid.row)
    method = policy.settings.method
    score, standard, note = "", None, ""
    if method.kind == "rate":
        standard = (
            weight
            * policy.at("base_rate", day, **selectors(policy, where, paid.row))
            * factor
            / 100
        )
    else:
        points = weight * method.points_per_weight * factor
        score = text_of(points, method.score_decimals)
        standard = None if point_value is None else points * point_value
        note = "" if point_value is not None else "no point value"
    edges = {}
    by_standard = (
        policy.settings.benchmark is not None and policy.settings.benchmark.kind == "standard"
    )
    for name, tiers in (("low_edge", policy.settings.low), ("high_edge", policy.settings.high)):
        fits = [
            e
            for e in tiers
            if e.key == "weight" and e.covers(day) and _fits(e, weight, level, class_)
        ]
        if fits and standard is not None and by_standard:
            edges[name] = _yuan(standard * Fraction(fits[-1].edge))
    return Price(
        paid.name,
        plain(weight),
        plain(factor),
        score,
        "" if standard is None else _yuan(standard),
        note=note,
        **edges,
    )


def _fits(e: Any, weight: Fraction, level: str, class_: str) -> bool:
    return (
        (e.weight_from is None or weight >= Fraction(e.weight_from))
        and (e.weight_below is None or weight < Fraction(e.weight_below))
        and e.level in (None, level)
        and e.class_ in (None, class_)
    )


def _yuan(amount: Fraction) -> str:
    """Write yuan with two decimals, rounded half up."""
    return yuan(half_up(amount * 100))
