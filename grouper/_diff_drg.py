"""What changed between two DRG schemes, by meaning: rows, codes, severity lists, options.

A rule means what its conditions hold for: sets are compared by their codes, not by their names, parts of
`and` and `or` in any order. A change is said once, at the row where it stands, not again at the rows below.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from grouper.tables import DrgScheme, Row
from grouper.tables._rules import (
    SEVERITY_SETS,
    And,
    Compare,
    Const,
    Count,
    Member,
    Or,
    Rule,
    atoms,
    sets_of,
)
from grouper.tables._types import PROCEDURES

Change: TypeAlias = dict[str, Any]

SHOWN = 5
OPTIONS = (
    *("newborn_weight", "grey_principal", "grey_procedure", "retry_other_procedures"),
    *("ambiguous_adrg", "remainder_adrg", "code_list"),
)


def meaning(rule: Rule, s: DrgScheme) -> Hashable:
    """Return what a rule holds for, equal for rules that differ in names and order only."""
    match rule:
        case Const(value=value):
            return value
        case Compare(var=var, op=op, value=value):
            return var, op, value
        case Count(set=name, vars=names, op=op, value=value):
            return "count", s.set_codes[name], frozenset(names), op, value
        case Member(vars=names, sets=sets, negated=negated):
            levels = frozenset(n for n in sets if n in SEVERITY_SETS)
            codes = [s.set_codes[n] for n in sets if n not in SEVERITY_SETS]
            held = codes[0] if len(codes) == 1 else frozenset[str]().union(*codes)
            return "in", frozenset(names), levels, held, negated
        case And(parts=parts) | Or(parts=parts):
            kind = type(rule).__name__
            found: set[Hashable] = set()
            for part in parts:
                of = meaning(part, s)
                found |= of[1] if isinstance(part, type(rule)) and isinstance(of, tuple) else {of}
            return kind, frozenset(found)


def row_changes(a: DrgScheme, b: DrgScheme) -> Iterator[Change]:
    """Yield what became of each MDC, ADRG and DRG."""
    for level, before, after in (
        ("mdc", (a.mdcs, None), (b.mdcs, None)),
        ("adrg", (a.adrgs, a.mdcs), (b.adrgs, b.mdcs)),
        ("drg", (a.drgs, a.adrgs), (b.drgs, b.adrgs)),
    ):
        yield from _level(level, _Level(a, *before), _Level(b, *after))


class _Level:
    """One table of one scheme, its rows by code; a code that stands again is numbered."""

    def __init__(self, s: DrgScheme, rows: Sequence[Row], parents: Sequence[Row] | None) -> None:
        self.scheme, self.parents = s, parents
        self.rows: dict[str, Row] = {}
        for row in rows:
            key, n = row.code, 1
            while key in self.rows:
                n += 1
                key = f"{row.code} ({n})"
            self.rows[key] = row

    def parent(self, row: Row) -> str:
        return self.parents[row.parent].code if self.parents is not None else ""

    def name(self, row: Row) -> str:
        return row.name or (self.parents[row.parent].name if self.parents is not None else "")


def _level(level: str, a: _Level, b: _Level) -> Iterator[Change]:
    gone = [k for k in a.rows if k not in b.rows]
    new = [k for k in b.rows if k not in a.rows]
    same_as = _recoded(a, gone, b, new)
    for key in gone:
        row = a.rows[key]
        if key in same_as:
            other = b.rows[same_as[key]]
            yield change_of(
                level, key, "recoded", a.name(row), b.name(other), f"now {same_as[key]}"
            )
        else:
            yield change_of(level, key, "gone", a.name(row), "", row.text)
    for key in new:
        if key not in same_as.values():
            yield change_of(level, key, "new", "", b.name(b.rows[key]), b.rows[key].text)
    moved = _moved(a, b)
    for key, before in a.rows.items():
        if key not in b.rows:
            continue
        after = b.rows[key]
        names = a.name(before), b.name(after)
        if names[0] != names[1]:
            yield change_of(level, key, "renamed", *names, "")
        if a.parent(before) != b.parent(after):
            yield change_of(
                level, key, "other parent", *names, f"{a.parent(before)} → {b.parent(after)}"
            )
        if meaning(before.rule, a.scheme) != meaning(after.rule, b.scheme):
            detail = "; ".join(_differences(before, a.scheme, after, b.scheme))
            yield change_of(level, key, "other meaning", *names, detail)
        if key in moved:
            yield change_of(level, key, "moved", *names, "tried earlier or later than before")


def change_of(level: str, code: str, change: str, before: str, after: str, detail: str) -> Change:
    """Lay out one change of a row."""
    return {
        "level": level,
        "code": code,
        "change": change,
        "name_before": before,
        "name_after": after,
        "detail": detail,
    }


def _recoded(a: _Level, gone: Sequence[str], b: _Level, new: Sequence[str]) -> dict[str, str]:
    """Pair rows that went with rows that came and have the same name and meaning."""
    waiting: dict[Hashable, list[str]] = {}
    for key in new:
        row = b.rows[key]
        waiting.setdefault((b.name(row), meaning(row.rule, b.scheme)), []).append(key)
    found = {}
    for key in gone:
        row = a.rows[key]
        same = waiting.get((a.name(row), meaning(row.rule, a.scheme)))
        if a.name(row) and same:
            found[key] = same.pop(0)
    return found


def _moved(a: _Level, b: _Level) -> set[str]:
    """Name the rows that changed their place among those with one parent in both schemes."""
    place = {key: k for k, key in enumerate(b.rows)}
    families: dict[tuple[str, str], list[str]] = {}
    for key, row in a.rows.items():
        if key in b.rows:
            families.setdefault((a.parent(row), b.parent(b.rows[key])), []).append(key)
    moved: set[str] = set()
    for keys in families.values():
        moved |= set(keys) - _longest_rising(keys, place)
    return moved


def _longest_rising(keys: Sequence[str], place: Mapping[str, int]) -> set[str]:
    """Return the most keys that stand in the order of `place`."""
    ends: list[int] = []
    last: list[str] = []
    before: dict[str, str | None] = {}
    for key in keys:
        at = bisect_left(ends, place[key])
        before[key] = last[at - 1] if at else None
        ends[at : at + 1], last[at : at + 1] = [place[key]], [key]
    kept: set[str] = set()
    step = last[-1] if last else None
    while step is not None:
        kept.add(step)
        step = before[step]
    return kept


def _differences(before: Row, a: DrgScheme, after: Row, b: DrgScheme) -> Iterator[str]:
    """Say in words how the rule of a row differs: its text, then its sets."""
    if before.text != after.text:
        yield f"{before.text or 'empty'} → {after.text or 'empty'}"
    for name in sets_of(after.rule):
        old, new = a.set_codes.get(name), b.set_codes[name]
        if old is None or old == new:
            continue
        gained, lost = sorted(new - old), sorted(old - new)
        shown = ", ".join([f"+{c}" for c in gained[:SHOWN]] + [f"−{c}" for c in lost[:SHOWN]])
        yield f"set {name}: +{len(gained)} −{len(lost)} codes, as {shown}"


# ---------------------------------------------------------------------------------------------- codes


def code_changes(a: DrgScheme, b: DrgScheme) -> Iterator[Change]:
    """Yield the codes that other MDCs or ADRGs take; those that only one scheme's sets know, too."""
    for side, of in (("diagnosis", _diagnoses_of), ("procedure", _procedures_of)):
        before, after = of(a), of(b)
        for code in sorted(before.keys() | after.keys()):
            old, new = before.get(code), after.get(code)
            if old != new:
                listed = b.code_list or a.code_list
                names = listed and (listed.diagnoses if side == "diagnosis" else listed.procedures)
                yield {
                    "side": side,
                    "code": code,
                    "name": (names or {}).get(code, ""),
                    "change": "new" if old is None else "gone" if new is None else "moved",
                    "before": " ".join(old or ()),
                    "after": " ".join(new or ()),
                }


def _diagnoses_of(s: DrgScheme) -> dict[str, tuple[str, ...]]:
    """Principal diagnosis → the MDCs whose list holds it, then the ADRGs that ask for it."""
    found: dict[str, dict[str, None]] = {}
    for row in (*s.mdcs, *s.adrgs):
        for a in atoms(row.rule):
            if isinstance(a, Member) and "ZYZD" in a.vars and not a.negated:
                for name in a.sets:
                    for code in s.set_codes.get(name, ()):
                        found.setdefault(code, {})[row.code.split("#")[0]] = None
    return {c: tuple(rows) for c, rows in found.items()}


def _procedures_of(s: DrgScheme) -> dict[str, tuple[str, ...]]:
    """Procedure → the ADRGs one of whose sets holds it."""
    found: dict[str, dict[str, None]] = {}
    for row in s.adrgs:
        for name, side in sets_of(row.rule).items():
            if side & PROCEDURES and name != "OP_ALL":
                for code in s.set_codes[name]:
                    found.setdefault(code, {})[row.code.split("#")[0]] = None
    return {c: tuple(rows) for c, rows in found.items()}


# ------------------------------------------------------------------------------------------- severity


def severity_changes(a: DrgScheme, b: DrgScheme) -> Iterator[Change]:
    """Yield the codes whose level or exclusions changed."""
    before, after = _levels(a), _levels(b)
    for code in sorted(before.keys() | after.keys()):
        old, new = before.get(code, {}), after.get(code, {})
        gained = lost = 0
        for level in old.keys() & new.keys():
            gained += len(new[level] - old[level])
            lost += len(old[level] - new[level])
        if old.keys() != new.keys() or gained or lost:
            yield {
                "code": code,
                "before": "+".join(sorted(old, reverse=True)) or "none",
                "after": "+".join(sorted(new, reverse=True)) or "none",
                "exclusions_gained": gained,
                "exclusions_lost": lost,
            }


def _levels(s: DrgScheme) -> dict[str, dict[str, frozenset[str]]]:
    """Code → level → the principal diagnoses that take it away."""
    found: dict[str, dict[str, frozenset[str]]] = {}
    for level, table in (("MCC", s.mcc), ("CC", s.cc)):
        for code, exclusion in table.items():
            found.setdefault(code, {})[level] = s.exclusions.get(exclusion, frozenset())
    return found


def option_changes(a: Any, b: Any, names: Sequence[str] = OPTIONS) -> Iterator[Change]:
    """Yield the options of scheme.toml that differ."""
    for name in names:
        before, after = getattr(a.settings, name), getattr(b.settings, name)
        if before != after:
            yield {"option": name, "before": str(before), "after": str(after)}
