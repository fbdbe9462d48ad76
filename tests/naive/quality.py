"""Quality rules read one case at a time: plain Python over rows of texts, None = missing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from grouper.tables import QualityRule
from grouper.tables import _quality_text as q

Row = Mapping[str, Any]
NEVER = 1_000_000


@dataclass
class Case:
    """A case as it was read, its raw fields, and the rows below it by table."""

    own: Row
    below: Mapping[str, Sequence[Row]]
    group: str | None = None


@dataclass
class World:
    """All cases, what is known of codes, and the fields that are there."""

    cases: Sequence[Case]
    present: set[tuple[str, str]]
    known: Mapping[str, frozenset[str]]
    fits: Mapping[str, Callable[[str, int], bool | None]] = field(default_factory=dict)


def judge(rule: QualityRule, world: World) -> tuple[list[str], list[tuple[int, int]]]:
    """Return each case's verdict and the (case, position) of every row that fails."""
    verdicts, rows = [], []
    for k, case in enumerate(world.cases):
        answers = []
        at = [(None, 0)] if rule.table == q.CASE else list(places(case, rule.table))
        for row, position in at:
            answer = holds(rule.condition, case, row, position, world)
            answers.append(answer)
            if answer is False:
                rows.append((k, position))
        verdict = "failed" if False in answers else "unknown" if None in answers else "passed"
        verdicts.append(verdict)
    return verdicts, rows


def places(case: Case, table: str) -> list[tuple[Row, int]]:
    """Number the rows below a case from 1; a lost principal diagnosis counts as the first."""
    rows = case.below[table]
    lost = table == "diseinfo" and bool(rows) and rows[0].get("#lost", False)
    return [(row, k + 1 + lost) for k, row in enumerate(rows)]


def holds(c: q.Condition, case: Case, row: Row | None, position: int, w: World) -> bool | None:
    check: bool | None = value(c.check, case, row, position, w)
    if c.when is None:
        return check
    when = value(c.when, case, row, position, w)
    return any_of([None if when is None else not when, check])


def all_of(values: Sequence[bool | None]) -> bool | None:
    return False if False in values else None if None in values else True


def any_of(values: Sequence[bool | None]) -> bool | None:
    return True if True in values else None if None in values else False


def value(node: q.Node, case: Case, row: Row | None, position: int, w: World) -> Any:
    def of(part: q.Node) -> Any:
        return value(part, case, row, position, w)

    match node:
        case q.Literal(given):
            return given
        case q.Read(f, broadcast):
            return read(f, case, row if f.table != q.CASE and not broadcast else None)
        case q.Position():
            return position
        case q.Compare(op, left, right):
            return compare(op, of(left), of(right))
        case q.Arith(op, left, right):
            a, b = of(left), of(right)
            if a is None or b is None:
                return None
            return a + b if op == "+" else a - b if op == "-" else a * b
        case q.Logic(op, parts):
            return (all_of if op == "and" else any_of)([of(p) for p in parts])
        case q.Negation(part):
            held = of(part)
            return None if held is None else not held
        case q.Member(part, among):
            held = of(part)
            return None if held is None else str(held) in among
        case q.Below(name, table, part):
            rows = places(case, table)
            if part is None:
                return len(rows)
            found = [value(part, case, r, at, w) for r, at in rows]
            if name == "sum":
                return None if None in found else sum(found)
            if name == "count":
                return None if None in found else sum(found)
            return (any_of if name == "any" else all_of)(found)
        case q.Call(name, args, among):
            if name == "filled":
                f = args[0].field  # type: ignore[union-attr]
                if f.key not in w.present:
                    return None
                return of(args[0]) is not None
            return call(name, [of(a) for a in args], among, args, case, row, position, w)
    raise AssertionError(node)


def read(f: q.Field, case: Case, row: Row | None) -> Any:
    if f.name == "group":
        return case.group
    return (case.own if row is None else row).get(f.name)


def compare(op: str, a: Any, b: Any) -> bool | None:
    if a is None or b is None:
        return None
    if isinstance(a, date) and isinstance(b, date):
        if not (has_clock(a) and has_clock(b)):
            a, b = day(a), day(b)
    order = (a > b) - (a < b) if not isinstance(a, bool) else int(a != b)
    return {
        "=": order == 0,
        "!=": order != 0,
        "<": order < 0,
        "<=": order <= 0,
        ">": order > 0,
        ">=": order >= 0,
    }[op]


def has_clock(t: date) -> bool:
    return isinstance(t, datetime) and (t.hour, t.minute, t.second) != (0, 0, 0)


def day(t: date) -> date:
    return t.date() if isinstance(t, datetime) else t


def call(
    name: str,
    args: list[Any],
    among: frozenset[str],
    nodes: Sequence[q.Node],
    case: Case,
    row: Row | None,
    position: int,
    w: World,
) -> Any:
    if name == "days_since_stay":
        return days_since_stay(args, nodes, case, w)
    if name == "mean":
        return mean(args, nodes, w)
    if name in ("known_diagnosis", "known_procedure", "grey_diagnosis", "grey_procedure"):
        return None if args[0] is None or name not in w.known else args[0] in w.known[name]
    if name in w.fits or name in ("fits_sex", "fits_age"):
        ask = w.fits.get(name)
        return None if ask is None or None in args else ask(args[0], args[1])
    if args[0] is None or None in args:
        return None
    text = args[0]
    if name == "digits":
        return text.isascii() and text.isdigit()
    if name == "length":
        return len(text)
    if name == "number":
        return int(text) if text.isascii() and text.isdigit() and len(text) <= 15 else None
    if name == "starts":
        return any(text.startswith(head) for head in (among or args[1:]))
    if name == "each_between":
        parts = [p.strip() for p in text.split(",")]
        fits = all(p.isascii() and p.isdigit() and len(p) <= 15 for p in parts)
        return fits and all(args[1] <= int(p) <= args[2] for p in parts)
    if name == "abs":
        return abs(text)
    if name == "days":
        return (day(args[1]) - day(args[0])) // timedelta(days=1)
    if name == "unique":
        read_all = [value(nodes[0], c, None, 0, w) for c in w.cases]
        return read_all.count(text) == 1
    rows = places(case, nodes[0].field.table)  # type: ignore[union-attr]
    texts = [value(nodes[0], case, r, at, w) for r, at in rows]
    at = [p for _, p in rows]
    if name == "unique_in_case":
        return text not in texts[: at.index(position)]
    assert name == "is_principal"
    return bool(at) and at[0] == 1 and texts[0] == text


def days_since_stay(args: list[Any], nodes: Sequence[q.Node], case: Case, w: World) -> Any:
    begin, end = case.own.get("admission_date"), case.own.get("discharge_date")
    if None in (*args, begin, end):
        return None
    here = (begin, end, case.own["case_id"].encode())
    latest = None
    for other in w.cases:
        keys = [value(n, other, None, 0, w) for n in nodes]
        a, b = other.own.get("admission_date"), other.own.get("discharge_date")
        if keys == args and a is not None and b is not None and other is not case:
            before = (a, b, other.own["case_id"].encode()) < here
            latest = b if before and (latest is None or b > latest) else latest
    return NEVER if latest is None else (begin - latest).days


def mean(args: list[Any], nodes: Sequence[q.Node], w: World) -> Any:
    if None in args:
        return None
    amounts = []
    for other in w.cases:
        amount, by = (value(n, other, None, 0, w) for n in nodes)
        if amount is not None and by == args[1]:
            amounts.append(amount)
    return sum(amounts) // len(amounts)
