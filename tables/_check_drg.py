"""What is odd or wrong about a DRG scheme, all of it at once: findings for a person, never a change.

Each part takes one theme over the raw tables (`_raw`) and yields findings, some with what they concern, so
that cases that they touch can be counted. A row is called unreachable only where that is certain: an ADRG
that holds takes a case only if one of its DRGs does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

from grouper.tables._drg_scheme import status_of
from grouper.tables._files import is_whole
from grouper.tables._findings import Finding
from grouper.tables._raw import COLUMNS, RawScheme, RuledRow
from grouper.tables._rules import (
    NUMBER_VARIABLES,
    SEVERITY_SETS,
    TEXT_VARIABLES,
    TOKEN,
    And,
    Compare,
    Const,
    Count,
    Member,
    Or,
    Rule,
    atoms,
    clean_text,
    sets_of,
    sides_of,
)
from grouper.tables._types import PROCEDURES, Side, Status

BASE_VARIABLES = frozenset(("NL", "XSRTL", "XSRTZ", "XB"))


@dataclass(frozen=True)
class Concern:
    """What a finding is about, for counting cases: codes on some sides, or a row behind another.

    `codes` on `sides`; or, of a row that is never reached, what it stands `behind` and its `lost` rule.
    """

    codes: frozenset[str] = frozenset()
    sides: int = 0  # of `Side`
    behind: tuple[str, int] | None = None  # table, line of the row that takes the cases
    lost: Rule | None = None


Noted: TypeAlias = tuple[Finding, Concern | None]


def check_drg(raw: RawScheme) -> list[Noted]:
    """List every finding, by file in the order of the tables, then by line."""
    found: list[Noted] = [(f, None) for f in raw.faults]
    for part in _PARTS:
        found += part(raw)
    order = {f"{t}{end}": k for k, t in enumerate(COLUMNS) for end in (".csv", ".add.csv")}

    def place(noted: Noted) -> tuple[str, int, int, str]:
        finding = noted[0]
        file, _, line = finding.place.partition(":")
        return finding.code, order.get(file, 9), int(line or 0), finding.message

    return sorted(found, key=place)


def _plain(found: Iterable[Finding]) -> Iterator[Noted]:
    return ((f, None) for f in found)


# --------------------------------------------------------------------------- rows that are never reached


def _shadowed(s: RawScheme) -> Iterator[Noted]:
    """Find DRG and ADRG rows behind one that always holds, or that asks for no more than they do."""
    takes_all = {d.parent for d in s.drgs if d.rule == Const(True)}
    for table, rows in (("adrg.csv", s.adrgs), ("drg.csv", s.drgs)):
        siblings: dict[int, list[RuledRow]] = {}
        for k, row in enumerate(rows):
            if row.parent < 0 or row.rule is None:
                continue
            before = siblings.setdefault(row.parent, [])
            closed = next((b for b in before if b.rule == Const(True)), None)
            wider = closed or next(
                (b for b in before if b.rule and _implies(row.rule, b.rule, s)), None
            )
            if wider is None:
                if table == "drg.csv" or k in takes_all:
                    before.append(row)
                continue
            where = f"{wider.code} (line {wider.row.line})"
            code, why = ("L101", "always holds") if closed else ("L119", "asks for no more")
            finding = Finding(code, row.row.place, f"{row.code} is never reached: {where} {why}")
            yield finding, Concern(behind=(table, wider.row.line), lost=row.rule)


def _implies(a: Rule, b: Rule, s: RawScheme) -> bool:
    """Tell whether rule `b` is certain to hold wherever `a` holds; False where that is not plain."""
    if a == b:
        return True
    if isinstance(a, Or):
        return all(_implies(p, b, s) for p in a.parts)
    if isinstance(b, And):
        return all(_implies(a, p, s) for p in b.parts)
    if isinstance(b, Or) and any(_implies(a, p, s) for p in b.parts):
        return True
    if isinstance(a, And):
        return any(_implies(p, b, s) for p in a.parts)
    if isinstance(a, Member) and isinstance(b, Member):
        return _member_implies(a, b, s)
    if isinstance(a, Compare) and isinstance(b, Compare) and a.var == b.var:
        return _range_implies(a, b)
    if isinstance(a, Count) and isinstance(b, Count):
        same = (a.set, set(a.vars)) == (b.set, set(b.vars))
        return same and a.op == b.op == ">=" and a.value >= b.value
    return False


def _member_implies(a: Member, b: Member, s: RawScheme) -> bool:
    if a.negated != b.negated:
        return False
    if a.negated:
        a, b = b, a
    if not set(a.vars) <= set(b.vars):
        return False
    levels = set(a.sets) & set(SEVERITY_SETS)
    if not levels <= set(b.sets) or not all(n in s.sets for n in set(a.sets) - levels):
        return False
    held: set[str] = set().union(*(s.sets[n] for n in set(a.sets) - levels))
    wider: set[str] = set().union(*(s.sets.get(n, set()) for n in b.sets))
    return held <= wider


def _range_implies(a: Compare, b: Compare) -> bool:
    x, y = _interval(a), _interval(b)
    return x is not None and y is not None and y[0] <= x[0] and x[1] <= y[1]


def _interval(c: Compare) -> tuple[int, int] | None:
    if isinstance(c.value, str):
        return None
    n, far = c.value, 2**40
    ends = {"=": (n, n), "<": (-far, n - 1), "<=": (-far, n), ">": (n + 1, far), ">=": (n, far)}
    return ends[c.op]


# ------------------------------------------------------------------------------- diagnoses and their MDC


def _list_of(s: RawScheme, mdc: RuledRow) -> set[str] | None:
    """Return the principal diagnoses that an MDC takes, if its rule is just such a list."""
    rule = mdc.rule
    plain = isinstance(rule, Member) and rule.vars == ("ZYZD",) and not rule.negated
    if not plain or not isinstance(rule, Member):
        return None
    return set().union(*(s.sets.get(n, set()) for n in rule.sets))


def _principal_lists(rule: Rule) -> list[Member]:
    found = [a for a in atoms(rule) if isinstance(a, Member)]
    return [a for a in found if a.vars == ("ZYZD",) and not a.negated]


def _outside_mdc(s: RawScheme) -> Iterator[Noted]:
    """Find principal diagnoses of an ADRG that its MDC does not take."""
    for row in s.adrgs:
        taken = _list_of(s, s.mdcs[row.parent]) if row.parent >= 0 else None
        if taken is None or row.rule is None:
            continue
        for a in _principal_lists(row.rule):
            lost = set().union(*(s.sets.get(n, set()) for n in a.sets)) - taken
            if lost:
                message = (
                    f"{row.code}: {len(lost)} diagnoses are not in its MDC's list, as {min(lost)}"
                )
                yield Finding("L102", row.row.place, message), Concern(frozenset(lost), Side.ZYZD)


def _untaken(s: RawScheme) -> Iterator[Noted]:
    """Find diagnoses of an MDC's list that none of its ADRGs takes without an operation."""
    for k, mdc in enumerate(s.mdcs):
        listed = _list_of(s, mdc)
        medical = [
            r.rule
            for r in s.adrgs
            if r.parent == k
            and r.rule is not None
            and status_of(r.code, s.settings) != Status.UNGROUPED
            and not _asks_procedure(r.rule)
        ]
        if listed is None or any(not _principal_lists(r) for r in medical):
            continue
        sets = {n for r in medical for a in _principal_lists(r) for n in a.sets}
        left = listed - set().union(*(s.sets.get(n, set()) for n in sets))
        if left:
            message = (
                f"{mdc.code}: {len(left)} of its diagnoses are in no medical ADRG, as {min(left)}"
            )
            yield Finding("L118", mdc.row.place, message), Concern(frozenset(left), Side.ZYZD)


def _asks_procedure(rule: Rule) -> bool:
    return any(
        isinstance(a, Count) or (isinstance(a, Member) and sides_of(a.vars) & PROCEDURES)
        for a in atoms(rule)
    )


# ------------------------------------------------------------------------------------------ sets, codes


def _sets(s: RawScheme) -> Iterator[Noted]:
    used: dict[str, str] = {}
    for _, rows in s.ruled():
        for row in rows:
            for name in sets_of(row.rule) if row.rule is not None else ():
                used.setdefault(name, row.row.place)
    for name in sorted(s.sets.keys() - used.keys() - {""}):
        yield Finding("L103", "sets.csv", f"set {name} is used by no rule"), None
    for name, place in used.items():
        if name in s.sets:
            continue
        if name in s.settings.known_empty_sets:
            message = f"set {name} ({place}) is empty in the source"
            yield Finding("L104", "scheme.toml", message), None
        else:
            cure = "add its rows, or list it under known_empty_sets"
            yield Finding("L108", place, f"set {name} has no rows in sets.csv; {cure}"), None


def _variables(s: RawScheme) -> Iterator[Noted]:
    used = {
        a.var
        for _, rows in s.ruled()
        for row in rows
        for a in (atoms(row.rule) if row.rule is not None else ())
        if isinstance(a, Compare)
    }
    extra = (used & (NUMBER_VARIABLES.keys() | TEXT_VARIABLES.keys())) - BASE_VARIABLES
    if extra != set(s.settings.extra_variables):
        message = (
            f"extra_variables says {s.settings.extra_variables}, the rules use {sorted(extra)}"
        )
        yield Finding("L105", "scheme.toml", message), None


def _complications(s: RawScheme) -> Iterator[Noted]:
    tables = {r["exclusion"] for r in s.rows["exclusions"]}
    levels: dict[str, dict[str, str]] = {"MCC": {}, "CC": {}}
    named: set[str] = set()
    for row in s.rows["cc"]:
        code, level, table = row["code"], row["type"], row["exclusion"]
        named.add(table)
        touches = Concern(frozenset((code,)), Side.QTZD)
        if level not in levels:
            message = f"{code}: type {level!r} is neither MCC nor CC"
            yield Finding("L114", row.place, message), touches
            continue
        if table and table not in tables and table not in s.settings.never_excluded:
            message = f"{code}: exclusion {table} has no rows; never_excluded allows it"
            yield Finding("L115", row.place, message), touches
        if levels[level].setdefault(code, table) != table:
            message = f"{level} {code} has the exclusions {levels[level][code]!r} and {table!r}"
            yield Finding("L120", row.place, message), touches
    for code in sorted(levels["MCC"].keys() & levels["CC"].keys()):
        message = f"{code} is MCC and CC; each has its own exclusion"
        yield Finding("L106", "cc.csv", message), Concern(frozenset((code,)), Side.QTZD)
    for table in sorted(tables - named - {""}):
        yield Finding("L116", "exclusions.csv", f"{table} is named by no complication"), None


def _unknown_codes(s: RawScheme) -> Iterator[Noted]:
    """Find codes that the scheme's code list does not know, one finding a table."""
    if s.code_list is None:
        return
    known = s.code_list.diagnoses.keys() | s.code_list.procedures.keys()
    for table, column in (("sets", "code"), ("cc", "code"), ("exclusions", "principal")):
        rows = [r for r in s.rows[table] if r[column] not in known]
        if rows:
            codes = frozenset(r[column] for r in rows)
            message = f"{len(codes)} codes are not in {s.code_list.id}, as {rows[0][column]}"
            yield Finding("L117", rows[0].place, message), Concern(codes, Side(15))


# ------------------------------------------------------------------------------------- rows and tables


def _codes(s: RawScheme) -> Iterator[Noted]:
    for table in ("mdc", "adrg"):
        first: dict[str, int] = {}
        for row in s.rows[table]:
            if not row["code"]:
                yield Finding("L111", row.place, "the code is blank"), None
            elif first.setdefault(row["code"], row.line) != row.line:
                message = f"{row['code']} stands in line {first[row['code']]} already"
                yield Finding("L111", row.place, message), None
    for row in s.rows["drg"]:
        if not row["code"]:
            yield Finding("L111", row.place, "the code is blank"), None
    for row in s.rows["sets"]:
        if not row["set"] or not row["code"] or row["set"] in SEVERITY_SETS:
            message = "an empty set name or code, or a set named MCC or CC"
            yield Finding("L111", row.place, message), None
    for d in s.drgs:
        if d.parent < 0:
            continue
        adrg = s.adrgs[d.parent].code
        if d.code == adrg.split("#")[0] and status_of(adrg, s.settings) == Status.GROUPED:
            yield Finding("L107", d.row.place, f"{d.code} is a bare ADRG as group"), None


def _parents(s: RawScheme) -> Iterator[Noted]:
    for table, parent, rows, parents in (
        ("adrg", "mdc", s.adrgs, s.mdcs),
        ("drg", "adrg", s.drgs, s.adrgs),
    ):
        for row in rows:
            if row.parent < 0:
                message = f"{parent.upper()} {row.row[parent]!r} is not in {parent}.csv"
                yield Finding("L110", row.row.place, message), None
            elif table == "drg" and row.row["mdc"] != parents[row.parent].row["mdc"]:
                above = parents[row.parent]
                message = f"MDC {row.row['mdc']!r}, but adrg.csv puts {above.code} into {above.row['mdc']}"
                yield Finding("L126", row.row.place, message), None
        owners = {r.parent for r in rows}
        for k, p in enumerate(parents):
            if k not in owners:
                message = f"{p.code} has no row in {table}.csv"
                yield Finding("L110", p.row.place, message), None


def _sorts(s: RawScheme) -> Iterator[Noted]:
    first: dict[str, str] = {}
    for row in s.rows["mdc"]:
        sort = row["sort"]
        if not is_whole(sort):
            yield Finding("L112", row.place, f"sort {sort!r} is no whole number"), None
        elif first.setdefault(sort, row["code"]) != row["code"]:
            message = f"{row['code']} and {first[sort]} have the sort {sort}; the row decides"
            yield Finding("L113", row.place, message), None
    for rows, parents in ((s.adrgs, s.mdcs), (s.drgs, s.adrgs)):
        for k, p in enumerate(parents):
            numbers = [(r, r.row["sort"]) for r in rows if r.parent == k]
            if not all(is_whole(n) for _, n in numbers):
                continue
            for (above, n), (below, m) in pairwise(numbers):
                if int(m) < int(n):
                    message = (
                        f"{below.code} has the sort {m} and stands behind {above.code} with {n} in "
                        f"{p.code}: rows are tried as they stand"
                    )
                    yield Finding("L127", below.row.place, message), None
                    break


def _repeats(s: RawScheme) -> Iterator[Noted]:
    for table, columns in COLUMNS.items():
        first: dict[tuple[str, ...], int] = {}
        again = []
        for row in s.rows[table]:
            key = tuple(row[c] for c in columns)
            if first.setdefault(key, row.line) != row.line:
                again.append((row, first[key]))
        if again:
            row, line = again[0]
            message = (
                f"{len(again)} rows say what an earlier one says, the first what line {line} says"
            )
            yield Finding("L122", row.place, message), None


def _mixed(s: RawScheme) -> Iterator[Noted]:
    for _, rows in s.ruled():
        for row in rows:
            if row.rule is not None and _mixes(row.text):
                message = f"{row.code}: `and` binds before `or`; brackets would say what is meant"
                yield Finding("L123", row.row.place, message), None


def _mixes(text: str) -> bool:
    """Tell whether `and` and `or` stand side by side in one bracket."""
    seen: list[set[str]] = [set()]
    for m in TOKEN.finditer(clean_text(text)):
        word = m.group(0).strip().lower()
        if word == "(":
            seen.append(set())
        elif word == ")" and len(seen) > 1:
            seen.pop()
        elif word in ("and", "or"):
            seen[-1].add(word)
            if len(seen[-1]) == 2:
                return True
    return False


_PARTS: Sequence[Callable[[RawScheme], Iterator[Noted]]] = (
    _shadowed,
    _outside_mdc,
    _untaken,
    _sets,
    _variables,
    _complications,
    _unknown_codes,
    _codes,
    _parents,
    _sorts,
    _repeats,
    _mixed,
)
