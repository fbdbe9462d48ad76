"""Near misses (临近病组): the groups that a case would land in if few facts were otherwise.

For every DRG the rules above it and its own are read for the way that lacks least; what is lacking is said,
and an example of changes that bring it. The nearest are then tried: the case with those changes is searched
anew, so "lands there" is never a guess. Of groups that lack as few facts, those of the case's own ADRG come
first, then those of its MDC. The surprise: a change of the principal diagnosis or procedure counts as one
fact, however many lists it must be in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from grouper.tables import DrgScheme, text_of
from grouper.tables._rules import SEVERITY_SETS, And, Atom, Compare, Const, Count, Member, Or, Rule

SINGLE = {"ZYZD": "principal", "ZYSS": "main_procedure"}
COLUMN_OF = {
    "NL": "age",
    "XSRTL": "age_days",
    "XB": "sex",
    "ZYTS": "los",
    "ICUSC": "icu_hours",
    "LYFS": "discharge_mode",
    "CYKS": "department",
}
TRIED = 3
"""How many times the groups that are shown are tried."""


@dataclass(frozen=True)
class NearMiss:
    """A group that the case is not in, what it lacks, and an example of changes that bring it.

    `lands` is the group that the case with `changes` lands in: its own, or an earlier one that still wins;
    "" if no changes were found.
    """

    adrg: str
    group: str
    name: str
    rule: str
    missing: tuple[str, ...]
    changes: tuple[str, ...]
    lands: str

    @property
    def is_reached(self) -> bool:
        """Whether the changes bring the case into this group."""
        return self.lands == self.group


@dataclass(frozen=True)
class Seen:
    """A case as rules see it: its codes by variable, its facts, and a test of one condition."""

    codes: Mapping[str, Sequence[str]]
    values: Mapping[str, Any]
    holds: Callable[[Atom], bool]


def near_misses(
    s: DrgScheme,
    seen: Seen,
    land: Callable[[Sequence[str]], tuple[str, int]],
    own: int,
    most: int,
) -> list[NearMiss]:
    """List the nearest groups, those that lack least first.

    Parameters
    ----------
    seen : the case. land : the group and row of the case with changes made. own : the row that it is in,
        -1 = none. most : how many.
    """
    known: dict[int, list[tuple[Atom, bool]] | None] = {}

    def way(rule: Rule) -> list[tuple[Atom, bool]] | None:
        if id(rule) not in known:
            known[id(rule)] = _least(rule, seen.holds)
        return known[id(rule)]

    home = s.drgs[own].parent if own >= 0 else -1
    mdc = s.adrgs[home].parent if own >= 0 else -1
    found = []
    for d, drg in enumerate(s.drgs):
        adrg = s.adrgs[drg.parent]
        parts = [way(s.mdcs[adrg.parent].rule), way(adrg.rule), way(drg.rule)]
        if d == own or any(p is None for p in parts):
            continue
        atoms = list(dict.fromkeys(a for p in parts if p is not None for a in p))
        missing = [a for a, holds in atoms if not holds]
        if missing:
            far = 0 if drg.parent == home else 1 if adrg.parent == mdc else 2
            found.append(((_facts(missing), far, d), [a for a, _ in atoms], missing))
    found.sort(key=lambda x: x[0])
    tried = []
    for (facts, far, d), atoms_, missing in found[: TRIED * most]:
        near = _near(s, seen, land, d, atoms_, missing)
        tried.append(((facts, not near.is_reached, far, d), near))
    return [near for _, near in sorted(tried, key=lambda x: x[0])[:most]]


def _least(rule: Rule, holds: Callable[[Atom], bool]) -> list[tuple[Atom, bool]] | None:
    """Return the conditions of the way through a rule that lacks least, None if there is no way."""
    match rule:
        case Const(value=value):
            return [] if value else None
        case And(parts=parts):
            ways = [_least(p, holds) for p in parts]
            return None if None in ways else [a for w in ways if w is not None for a in w]
        case Or(parts=parts):
            open_ = [w for p in parts if (w := _least(p, holds)) is not None]
            return min(open_, key=lambda w: _facts([a for a, ok in w if not ok]), default=None)
        case _:
            return [(rule, holds(rule))]


def _facts(missing: Sequence[Atom]) -> int:
    """Count the facts that would have to be otherwise."""
    single, others = set(), 0
    for a in missing:
        if isinstance(a, Compare):
            single.add(a.var)
        elif isinstance(a, Member) and len(a.vars) == 1 and a.vars[0] in SINGLE:
            single.add(a.vars[0])
        else:
            others += a.value if isinstance(a, Count) else 1
    return len(single) + others


def _near(
    s: DrgScheme,
    seen: Seen,
    land: Callable[[Sequence[str]], tuple[str, int]],
    d: int,
    atoms: Sequence[Atom],
    missing: Sequence[Atom],
) -> NearMiss:
    drg, adrg = s.drgs[d], s.adrgs[s.drgs[d].parent]
    try:
        changes = tuple(_Example(s, seen, atoms).changes(missing))
        group, row = land(changes)
        lands = group if row == d or group != drg.code else ""
    except _NoWay:
        changes, lands = (), ""
    return NearMiss(
        adrg.code.split("#")[0],
        drg.code,
        drg.name or adrg.name,
        f"drg.csv:{drg.line}",
        tuple(text_of(a) for a in missing),
        changes,
        lands,
    )


class _NoWay(Exception):
    """No example meets the conditions."""


class _Example:
    """Changes that meet conditions: one code or number for each fact that lacks."""

    def __init__(self, s: DrgScheme, seen: Seen, atoms: Sequence[Atom]) -> None:
        self.s, self.seen, self.atoms = s, seen, atoms
        self.principal = next(iter(seen.codes["ZYZD"]), "")

    def changes(self, missing: Sequence[Atom]) -> Iterator[str]:
        """Yield the changes in the words of `apply_changes`: what goes, then what comes."""
        for a in missing:
            if isinstance(a, Member) and a.negated:
                yield from self._without(a)
        single = {
            v
            for a in missing
            if isinstance(a, Member) and not a.negated
            for v in a.vars[:1]
            if len(a.vars) == 1
        }
        for var, word in SINGLE.items():
            if var in single:
                code = self._first(var)
                self.principal = code if var == "ZYZD" else self.principal
                yield f"{word}={code}"
        for var in dict.fromkeys(a.var for a in missing if isinstance(a, Compare)):
            yield f"{self._column(var)}={self._value(var)}"
        for a in missing:
            if isinstance(a, Count):
                yield from self._counted(a)
            elif isinstance(a, Member) and not a.negated and a.vars not in (("ZYZD",), ("ZYSS",)):
                column = "diagnoses" if set(a.vars) & {"ZYZD", "QTZD"} else "procedures"
                yield f"{column}+={self._any(a)}"

    def _without(self, a: Member) -> Iterator[str]:
        held = {c for n in a.sets if n not in SEVERITY_SETS for c in self.s.set_codes[n]}
        codes = [
            c for v in ("ZYSS", "QTSS", "ZYZD", "QTZD") if v in a.vars for c in self.seen.codes[v]
        ]
        if "ZYSS" in a.vars:  # the next would come to stand first
            codes += self.seen.codes["QTSS"]
        for code in dict.fromkeys(codes):
            if code in held:
                column = (
                    "procedures"
                    if code in (*self.seen.codes["ZYSS"], *self.seen.codes["QTSS"])
                    else "diagnoses"
                )
                yield f"{column}-={code}"

    def _first(self, var: str) -> str:
        """Choose a code that is in all lists asked of a single variable, and in none that is forbidden."""
        wanted: set[str] | None = None
        for a in self.atoms:
            if isinstance(a, Member) and not a.negated and a.vars == (var,):
                codes = {c for n in a.sets for c in self.s.set_codes.get(n, ())}
                wanted = codes if wanted is None else wanted & codes
        for a in self.atoms:
            if isinstance(a, Member) and a.negated and var in a.vars and wanted is not None:
                wanted -= {c for n in a.sets for c in self.s.set_codes.get(n, ())}
        if not wanted:
            raise _NoWay
        return min(wanted)

    def _any(self, a: Member) -> str:
        """Choose a code for a list of others; a complication that the principal does not exclude."""
        present = {c for codes in self.seen.codes.values() for c in codes} | {self.principal}
        for level, table in (("MCC", self.s.mcc), ("CC", self.s.cc)):
            if level in a.sets:
                for code in sorted(table):
                    excluded = self.s.exclusions.get(table[code], frozenset())
                    if code not in present and self.principal not in excluded:
                        return code
        codes = {c for n in a.sets for c in self.s.set_codes.get(n, ())} - present
        if not codes:
            raise _NoWay
        return min(codes)

    def _counted(self, a: Count) -> Iterator[str]:
        if a.op not in (">=", ">", "="):
            raise _NoWay
        held = [c for v in a.vars for c in self.seen.codes[v] if c in self.s.set_codes[a.set]]
        wanted = a.value + (a.op == ">") - len(set(held))
        spare = sorted(self.s.set_codes[a.set] - set(held))
        if wanted < 1 or len(spare) < wanted:
            raise _NoWay
        column = "diagnoses" if set(a.vars) & {"ZYZD", "QTZD"} else "procedures"
        yield from (f"{column}+={c}" for c in spare[:wanted])

    def _column(self, var: str) -> str:
        return COLUMN_OF.get(var) or f"{self.s.settings.newborn_weight}_weight"

    def _value(self, var: str) -> str:
        """Choose the value nearest to the case's own that meets every comparison with the variable."""
        low, high = 0, 10**6
        for a in self.atoms:
            if not isinstance(a, Compare) or a.var != var:
                continue
            if isinstance(a.value, str):
                return a.value
            n = a.value
            bounds = {
                "=": (n, n),
                "<": (low, n - 1),
                "<=": (low, n),
                ">": (n + 1, high),
                ">=": (n, high),
            }
            low, high = max(low, bounds[a.op][0]), min(high, bounds[a.op][1])
        if low > high:
            raise _NoWay
        own = self.seen.values.get(var)
        return str(min(max(own if isinstance(own, int) else low, low), high))
