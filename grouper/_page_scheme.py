"""A scheme to browse (方案浏览): MDC, ADRG, DRG with rule texts, sets and weights; or a DIP catalogue.

A large scheme comes in parts, each when it is opened: its MDCs, or the first letters of a catalogue's codes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from grouper._pricing import pay_group
from grouper._statistics import plain
from grouper.errors import GrouperError, SchemeNotFound
from grouper.tables import DipScheme, DrgScheme, Policy, Row, Scheme
from grouper.tables._dip import DipGroup
from grouper.tables._rules import sets_of

MOST_FOUND, MOST_CODES = 200, 2_000
IN_HEAD = ("code", "name")


@dataclass(frozen=True)
class Weights:
    """The weights or scores of a policy on a day; without one, a catalogue's own scores."""

    policy: Policy | None
    day: date

    def of(self, group: str) -> str:
        """Return a group's weight as text, "" = none."""
        if self.policy is None:
            return ""
        row = pay_group(self.policy, self.day, "grouped", group, "").row
        return "" if row is None or row.weight is None else plain(row.weight)

    @property
    def problem(self) -> str:
        """Why there are none."""
        try:
            self.of("")
        except GrouperError as e:
            return str(e)
        return ""


def overview(scheme: Scheme, weights: Weights, q: str, query: Mapping[str, str]) -> dict[str, Any]:
    """Return the parts of a scheme, or the groups that `q` finds by code or name."""
    problem = weights.problem
    weights = Weights(None, weights.day) if problem else weights
    found: dict[str, Any] = {"title": scheme.title, "problem": problem}
    found |= {"scheme": scheme.id, "fingerprint": scheme.fingerprint}
    found["notes"] = getattr(scheme.settings, "known_faults", [])
    if q:
        rows = [r for r in _leaves(scheme) if r.code.startswith(q.upper()) or q in r.name]
        found["leaves"] = [_leaf(scheme, r, weights) for r in rows[:MOST_FOUND]]
        found["more"] = max(len(rows) - MOST_FOUND, 0)
        found["none"] = not rows
        return found
    if problem:
        query = {k: v for k, v in query.items() if k not in ("policy", "on")}
    if isinstance(scheme, DrgScheme):
        below = Counter(a.parent for a in scheme.adrgs)
        parts = [(str(k), m.code, m.name, below[k]) for k, m in enumerate(scheme.mdcs)]
        rules: list[Any] = [_row(scheme, m, "mdc.csv") for m in scheme.mdcs]
    else:
        letters = Counter(g.code[:1] for g in scheme.groups)
        parts = [(c, c, "", n) for c, n in sorted(letters.items())]
        rules = [None] * len(parts)
    found["parts"] = [
        {"code": code, "name": name, "count": n, "rule": rule} | {"query": {**query, "part": key}}
        for (key, code, name, n), rule in zip(parts, rules, strict=True)
    ]
    return found


def part(scheme: Scheme, key: str, weights: Weights) -> dict[str, Any]:
    """Return what stands in one part: ADRGs with their DRGs, or groups of a catalogue.

    Raises
    ------
    SchemeNotFound : there is no such part.
    """
    found: dict[str, Any] = {"scheme": scheme.id}
    if isinstance(scheme, DrgScheme):
        mine = [k for k, a in enumerate(scheme.adrgs) if str(a.parent) == key]
        drgs: dict[int, list[Row]] = {}
        for d in scheme.drgs:
            drgs.setdefault(d.parent, []).append(d)
        found["branches"] = [
            _row(scheme, scheme.adrgs[k], "adrg.csv")
            | {"leaves": [_leaf(scheme, d, weights) for d in drgs.get(k, ())]}
            for k in mine
        ]
    else:
        mine = [k for k, g in enumerate(scheme.groups) if g.code[:1] == key]
        found["leaves"] = [_leaf(scheme, scheme.groups[k], weights) for k in mine]
    if not mine:
        raise SchemeNotFound(key, [], kind=f"part of {scheme.id}")
    return found


def codes_of_set(scheme: Scheme, name: str) -> dict[str, Any]:
    """Return the codes of a set (集合) with their names.

    Raises
    ------
    SchemeNotFound : the scheme has no such set.
    """
    held = scheme.set_codes.get(name) if isinstance(scheme, DrgScheme) else None
    if held is None:
        raise SchemeNotFound(name, [], kind=f"set of {scheme.id}")
    listed = scheme.code_list
    names = {**listed.procedures, **listed.diagnoses} if listed else {}
    codes = sorted(held)
    return {"total": len(codes), "codes": [(c, names.get(c, "")) for c in codes[:MOST_CODES]]}


def _leaves(scheme: Scheme) -> Sequence[Any]:
    return scheme.drgs if isinstance(scheme, DrgScheme) else scheme.groups


def _leaf(scheme: Scheme, r: Any, weights: Weights) -> dict[str, Any]:
    if isinstance(scheme, DipScheme):
        return _catalogued(r, weights)
    above = scheme.adrgs[r.parent]
    found = _row(scheme, r, "drg.csv")
    return found | {"name": r.name or above.name, "weight": weights.of(r.code), "tags": ()}


def _row(scheme: DrgScheme, r: Row, table: str) -> dict[str, Any]:
    return {
        "code": r.code,
        "name": r.name,
        "cells": [("", r.text or "1")],
        "sets": [s for s in sets_of(r.rule) if s in scheme.set_codes],
        "where": f"{table}:{r.line}",
    }


def _catalogued(g: DipGroup, weights: Weights) -> dict[str, Any]:
    own = "" if g.score is None else plain(g.score)
    return {
        "code": g.code,
        "name": g.name,
        "cells": [(k, v) for k, v in g.cells.items() if v and k not in IN_HEAD],
        "sets": (),
        "where": f"groups.csv:{g.line}",
        "weight": weights.of(g.code) or own,
        "tags": (g.kind,),
    }
