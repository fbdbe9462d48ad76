"""A whole CHS-DRG 3.0 for tests: the published rules, and set tables that are made up from them.

The workbook's code lists are not beside the project, so every set that a rule names gets codes of its own
that are plainly invented (D… diagnoses, P… procedures), some shared with a neighbour. `DI_x00` of an MDC
holds the principal diagnoses of its ADRGs and some that no ADRG takes; OP_ALL holds every procedure.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice, product
from pathlib import Path
from typing import Any

from tiny import case, write_csv

from grouper.tables._rules import And, Atom, Compare, Const, Count, Member, Or, Rule, parse, sets_of
from grouper.tables._types import DIAGNOSES, PROCEDURES, Side

OWN = 3
"""Codes of each set that no other set of its kind holds."""

NEVER, SOMETIMES = "EX_2", "EX_1"
COLUMNS = {
    "mdc": ("code", "name", "rule", "sort"),
    "adrg": ("code", "name", "rule", "mdc", "sort"),
    "drg": ("code", "name", "rule", "adrg", "mdc", "sort"),
    "sets": ("set", "code"),
    "cc": ("code", "type", "exclusion"),
    "exclusions": ("exclusion", "principal"),
}
TOML = """id = "chs-drg-3.0-made-up"
title = "CHS-DRG 3.0: published rules, invented codes"
newborn_weight = "admission"
"""

Rows = Sequence[tuple[str, ...]]


@dataclass(frozen=True, eq=False)
class Tables:
    """The six tables, rows as tuples in the order of `COLUMNS`."""

    mdc: Rows
    adrg: Rows
    drg: Rows
    sets: Rows
    cc: Rows
    exclusions: Rows

    def rows(self, name: str) -> Rows:
        found: Rows = getattr(self, name)
        return found

    def codes(self) -> dict[str, list[str]]:
        """Set -> its codes."""
        found: dict[str, list[str]] = {}
        for name, code in self.sets:
            found.setdefault(name, []).append(code)
        return found


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as f:
        return list(csv.DictReader(f))


@cache
def make_tables(rules: Path) -> Tables:
    """Return the published rules with made-up code tables; the same every time."""
    read = {t: read_rows(rules / f"{t}.csv") for t in ("mdc", "adrg", "drg")}
    sides: dict[str, Side] = {}
    first: dict[str, set[str]] = {}  # MDC -> sets that its rows ask of the principal diagnosis
    for rows in read.values():
        for row in rows:
            for name, side in sets_of(parse(row["rule"])).items():
                sides[name] = sides.get(name, Side(0)) | side
                if side & Side.ZYZD and "mdc" in row:
                    first.setdefault(row["mdc"], set()).add(name)
    dx = sorted(n for n, s in sides.items() if s & DIAGNOSES)
    px = sorted(n for n, s in sides.items() if s & PROCEDURES)
    held: dict[str, list[str]] = {}
    for kind, names in (("D", dx), ("P", px)):
        for k, name in enumerate(names):
            held.setdefault(name, []).extend(f"{kind}{k:03}.{i}" for i in range(OWN))
            if k % 3 == 0 and k + 1 < len(names):
                held[name].append(f"{kind}{k + 1:03}.0")  # shared with the next set
    for row in read["mdc"]:
        for name in sets_of(parse(row["rule"])):
            if name.endswith("00"):
                held[name] += [c for n in sorted(first.get(row["code"], ())) for c in held[n]]
    held["OP_ALL"] += [c for n in px for c in held[n]]
    cc: list[tuple[str, str, str]] = [(f"M{k}", "MCC", NEVER) for k in range(3)] + [
        (f"C{k}", "CC", NEVER) for k in range(3)
    ]
    cc += [("M9", "MCC", SOMETIMES), ("C9", "CC", SOMETIMES)]
    excluding = sorted({c for n in dx for c in held[n] if c.endswith(".1")})
    exclusions: Rows = [(SOMETIMES, c) for c in excluding] + [(NEVER, "D0")]
    mdc, adrg, drg = ([tuple(r[c] for c in COLUMNS[t]) for r in rows] for t, rows in read.items())
    return Tables(
        mdc,
        adrg,
        drg,
        [(name, code) for name in sorted(held) for code in dict.fromkeys(held[name])],
        cc,
        exclusions,
    )


def write_scheme(folder: Path, rules: Path) -> Path:
    """Write the scheme folder and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    tables = make_tables(rules)
    for name, columns in COLUMNS.items():
        write_csv(folder / f"{name}.csv", columns, tables.rows(name))
    (folder / "scheme.toml").write_text(TOML, "utf-8")
    return folder


# ------------------------------------------------------------------- a case for every group, from rules

MOST, TRIED = 400, 60
"""Ways of meeting MDC, ADRG and DRG for one group, and cases that are tried."""


def ways(rule: Rule) -> Iterator[list[Atom]]:
    """Yield the conjunctions that make a rule true."""
    match rule:
        case Or(parts=parts):
            for part in parts:
                yield from ways(part)
        case And(parts=parts):
            for found in product(*(list(ways(p)) for p in parts)):
                yield [a for atoms in found for a in atoms]
        case Const(value=value):
            if value:
                yield []
        case _:
            yield [rule]


class Wish:
    """A case in the making: what it must hold, and what it must not."""

    def __init__(self, tables: Tables) -> None:
        self.sets = tables.codes()
        self.levels = {
            level: [c for c, t, x in tables.cc if t == level and x == NEVER]
            for level in ("MCC", "CC")
        }
        self.holders: dict[str, int] = {}
        for codes in self.sets.values():
            for c in codes:
                self.holders[c] = self.holders.get(c, 0) + 1

    def cases(self, atoms: Sequence[Atom]) -> Iterator[dict[str, Any]]:
        """Yield cases that should meet the atoms, those whose codes stand in few sets first."""
        members = [a for a in atoms if isinstance(a, Member) and not a.negated]
        principal = self._in_all([a.sets for a in members if a.vars == ("ZYZD",)])
        main = self._in_all([a.sets for a in members if a.vars == ("ZYSS",)])
        counts = [a for a in atoms if isinstance(a, Count)]
        others, further = [], []
        for a in members:
            if a.vars in (("ZYZD",), ("ZYSS",)):
                continue
            code = self._one(a.sets)
            if "QTZD" in a.vars:
                others.append(code)
            else:
                further.append(code)
        for c in counts:
            further += self.sets[c.set][: c.value + 1]
        facts = self._facts([a for a in atoms if isinstance(a, Compare)])
        for p in principal[:6]:
            for m in main[:4]:
                px = [x for x in dict.fromkeys([m, *further]) if x]
                yield case(p, *others, px=px, **facts)

    def _in_all(self, wanted: Sequence[Sequence[str]]) -> list[str]:
        """Return the codes that are in one set of each group of sets; [""] if nothing is asked."""
        if not wanted:
            return [""]
        found: set[str] | None = None
        for names in wanted:
            codes = {c for n in names for c in self.sets[n]}
            found = codes if found is None else found & codes
        return sorted(found or (), key=lambda c: (self.holders[c], c))

    def _one(self, names: Sequence[str]) -> str:
        for name in names:
            if name in self.levels:
                return self.levels[name][0]
        return self._in_all([names])[0]

    @staticmethod
    def _facts(atoms: Sequence[Compare]) -> dict[str, Any]:
        """Choose a number within the bounds of each variable."""
        bounds = {"NL": [7, 69], "XSRTL": [0, 364], "XSRTZ": [200, 9000], "XB": [1, 2]}
        usual = {"NL": 40, "XSRTL": 5, "XSRTZ": 3000, "XB": 1}
        asked: dict[str, list[int]] = {}
        for a in atoms:
            assert isinstance(a.value, int)
            low, high = asked.get(a.var, [0, 10_000])
            step = {"<": (low, a.value - 1), "<=": (low, a.value), "=": (a.value, a.value)}
            step |= {">": (a.value + 1, high), ">=": (a.value, high)}
            lo, hi = step[a.op]
            asked[a.var] = [max(low, lo), min(high, hi)]
        value = {}
        for var, (low, high) in asked.items():
            value[var] = min(max(usual[var], low), high)
            if var == "NL" and low == 0 and high > 0:
                value[var] = high  # not a newborn
        assert bounds.keys() >= value.keys()
        age = value.get("NL", 40)
        days = value.get("XSRTL")
        if days is not None:
            age = 0
        return {
            "sex": value.get("XB", 1),
            "age": age,
            "age_days": days if age == 0 else None,
            "admission_weight": value.get("XSRTZ"),
        }


def candidates(tables: Tables, row: int) -> Iterator[dict[str, Any]]:
    """Yield cases that meet the rules of DRG row `row` and of what is above it."""
    _, _, rule, adrg, *_ = tables.drg[row]
    above = next(r for r in tables.adrg if r[0] == adrg)
    top = next(r for r in tables.mdc if r[0] == above[3])
    wish = Wish(tables)
    listed = f"DI_{top[0][-1]}00"
    for atoms in islice(ways(And((parse(top[2]), parse(above[2]), parse(rule)))), MOST):
        for found in wish.cases(atoms):
            if not found["diagnoses"][0]:  # MDCA asks nothing of the diagnosis
                found["diagnoses"][0] = (
                    "D000.1" if listed not in wish.sets else wish.sets[listed][0]
                )
            yield found


def reach(tables: Tables, group: Any) -> Mapping[int, dict[str, Any]]:
    """Find a case for every DRG row; `group` is given cases and returns the row of each, or None."""
    found: dict[int, dict[str, Any]] = {}
    for row in range(len(tables.drg)):
        left = islice(candidates(tables, row), TRIED)
        while row not in found and (tried := list(islice(left, 4))):
            for given, landed in zip(tried, group(tried), strict=True):
                if landed == row and row not in found:
                    found[row] = given
    return found
