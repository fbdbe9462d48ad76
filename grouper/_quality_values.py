"""Conditions of quality rules over whole columns: a tree in, for every row true, false or missing out.

Each node gives a `Values`. Texts are indices into their distinct words, so that a question about a text
is asked once for each word. The surprise: two times are compared by the day unless both carry a time of
day; lists often give the day alone, and midnight is not when the patient left.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, reduce
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from grouper._arrow import text_array
from grouper._quality_lists import CASE, DAY, I64, Bools, Lists, Values
from grouper.kernels.quality import first_in_case
from grouper.tables import _quality_text as q

Word = Callable[[Any], Bools]
"""Asks something of distinct words: an Arrow array of strings → one truth each."""

Bits = Callable[[Any], NDArray[np.int8]]
"""Gives for distinct words the bits of what each fits; 0 = nothing is known of it."""

NEVER = 1_000_000
"""Days since a stay when there was none before."""

_OPS: Mapping[str, Callable[[Any, Any], Any]] = {
    "=": np.equal,
    "!=": np.not_equal,
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
}


@dataclass(frozen=True)
class Sources:
    """What the functions ask besides the lists; None = not at hand, what asks it is missing.

    `words` by function: known and grey codes. `fits` by function: words → the bits of what each fits.
    """

    words: Mapping[str, Word]
    fits: Mapping[str, Bits]


class Evaluator:
    """Evaluates the rules of one input."""

    def __init__(self, lists: Lists, sources: Sources) -> None:
        self.lists, self.sources = lists, sources
        self.kept: dict[tuple[q.Node, str], Values] = {}
        """What many rules ask and is costly: fields of the case in the rows below, means."""

    def holds(self, condition: q.Condition, table: str) -> Values:
        """Return for each row of the table whether `when` does not hold or `check` does."""
        check = self.value(condition.check, table)
        if condition.when is None:
            return check
        when = self.value(condition.when, table)
        return _either([Values(~when.data, when.ok), check])

    def value(self, node: q.Node, table: str) -> Values:
        """Return the value of a node for each row of a table."""
        if table != CASE and not isinstance(node, q.Read | q.Literal) and _is_of_case(node):
            if (node, table) not in self.kept:
                self.kept[node, table] = self.value(node, CASE).take(self.lists.below[table].case)
            return self.kept[node, table]
        n = self.lists.rows(table)
        match node:
            case q.Literal(literal):
                if isinstance(literal, int):
                    return Values(np.broadcast_to(np.int64(literal), n))
                return Values(np.broadcast_to(np.int32(0), n), None, pa.array([literal]))
            case q.Read():
                return self._field(node, table, n)
            case q.Position():
                return Values(self.lists.below[table].position)
            case q.Compare(op, left, right):
                return self._compare(op, left, right, table)
            case q.Arith(op, left, right):
                return self._arith(op, left, right, table)
            case q.Logic(op, parts):
                held_by = [self.value(p, table) for p in parts]
                return _either(held_by) if op == "or" else _both(held_by)
            case q.Negation(part):
                held = self.value(part, table)
                return Values(~held.data, held.ok)
            case q.Member(part, among):
                return self._member(part, among, table)
            case q.Below():
                return self._below(node)
            case q.Call():
                return self._call(node, table, n)
        raise AssertionError(node)

    def _field(self, node: q.Read, table: str, n: int) -> Values:
        values = self.lists.fields.get(node.field.key)
        if values is None:
            return _missing(n)
        if not node.broadcast or table == CASE or _is_absent(values):
            return values if len(values) == n else _missing(n)
        if (node, table) not in self.kept:
            self.kept[node, table] = values.take(self.lists.below[table].case)
        return self.kept[node, table]

    def _compare(self, op: str, left: q.Node, right: q.Node, table: str) -> Values:
        a, b = self.value(left, table), self.value(right, table)
        if _is_absent(a) or _is_absent(b):
            return _missing(len(a))
        ok = _ok(a, b)
        if a.words is not None or b.words is not None:
            x, y = _same_words(a, b)
            return Values(_OPS[op](x, y), ok)
        if _may_hold_clock(left) and _may_hold_clock(right):
            by_day = (a.data % DAY == 0) | (b.data % DAY == 0)
            x = np.where(by_day, a.data // DAY * DAY, a.data)
            y = np.where(by_day, b.data // DAY * DAY, b.data)
            return Values(_OPS[op](x, y), ok)
        return Values(_OPS[op](a.data, b.data), ok)

    def _arith(self, op: str, left: q.Node, right: q.Node, table: str) -> Values:
        a, b = self.value(left, table), self.value(right, table)
        if _is_absent(a) or _is_absent(b):
            return _missing(len(a))
        act = {"+": np.add, "-": np.subtract, "*": np.multiply}[op]
        return Values(act(a.data, b.data), _ok(a, b))

    def _member(self, part: q.Node, values: frozenset[str], table: str) -> Values:
        of = self.value(part, table)
        if _is_absent(of):
            return _missing(len(of))
        if of.words is None:
            among = [of.data == int(v) for v in values if v.isdigit()]
            return Values(reduce(np.logical_or, among), of.ok)
        return _by_word(of, lambda words: pc.is_in(words, value_set=pa.array(sorted(values))))

    def _below(self, node: q.Below) -> Values:
        rows, n = self.lists.below[node.table], len(self.lists)
        if node.part is None:
            return Values(np.diff(rows.starts))
        of = self.value(node.part, node.table)
        ok = np.ones(len(rows), np.bool_) if of.ok is None else of.ok
        if node.name == "sum":
            lost = _count(~ok, rows.case, n) > 0
            return Values(_sum(np.where(ok, of.data, 0), rows.starts), ~lost)
        true = _count(of.data & ok, rows.case, n)
        if node.name == "count":
            return Values(true, _count(~ok, rows.case, n) == 0)
        unknown = _count(~ok, rows.case, n) > 0
        if node.name == "any":
            return Values(true > 0, (true > 0) | ~unknown)
        false = _count(~of.data & ok, rows.case, n) > 0
        return Values(~false, false | ~unknown)

    def _call(self, node: q.Call, table: str, n: int) -> Values:
        if node.name == "filled":
            read = node.args[0]
            assert isinstance(read, q.Read)
            if self.lists.fields.get(read.field.key) is None:
                return _missing(n)
            value = self.value(read, table)
            there = None if value.absent is None else ~value.absent
            return Values(np.ones(n, np.bool_) if value.ok is None else value.ok, there)
        if (node, table) in self.kept:
            return self.kept[node, table]
        args = [self.value(a, table) for a in node.args]
        if any(map(_is_absent, args)):
            return _missing(n)
        found: Values = getattr(self, f"_{node.name}")(node, table, args)
        if node.name in q.OF_CASES:
            self.kept[node, table] = found
        return found

    # ------------------------------------------------------------------ functions of the same row

    def _digits(self, node: q.Call, table: str, args: list[Values]) -> Values:
        return _by_word(args[0], lambda w: pc.match_substring_regex(w, "^[0-9]+$"))

    def _length(self, node: q.Call, table: str, args: list[Values]) -> Values:
        (text,) = args
        return Values(pc.utf8_length(text.words).to_numpy().astype(np.int64)[text.data], text.ok)

    def _number(self, node: q.Call, table: str, args: list[Values]) -> Values:
        (text,) = args
        plain = pc.match_substring_regex(text.words, "^[0-9]{1,15}$")
        numbers = pc.if_else(plain, text.words, "0").cast(pa.int64()).to_numpy()
        fits = plain.to_numpy(zero_copy_only=False)[text.data]
        return Values(numbers[text.data], fits if text.ok is None else fits & text.ok)

    def _starts(self, node: q.Call, table: str, args: list[Values]) -> Values:
        given = {str(a.value) for a in node.args[1:] if isinstance(a, q.Literal)}
        heads = node.values or frozenset(given)

        def ask(words: Any) -> Any:
            found = pa.array(np.zeros(len(words), np.bool_))
            for width in sorted({len(h) for h in heads}):
                own = pa.array(sorted(h for h in heads if len(h) == width))
                found = pc.or_(found, pc.is_in(pc.utf8_slice_codeunits(words, 0, width), own))
            return found

        return _by_word(args[0], ask)

    def _each_between(self, node: q.Call, table: str, args: list[Values]) -> Values:
        text, low, high = args
        ends = [_numbers(w) for w in text.words.to_pylist()]
        least = np.array([min(e) if e else -1 for e in ends], np.int64)[text.data]
        most = np.array([max(e) if e else -1 for e in ends], np.int64)[text.data]
        return Values((least >= low.data) & (most <= high.data) & (least >= 0), _ok(*args))

    def _abs(self, node: q.Call, table: str, args: list[Values]) -> Values:
        return Values(np.abs(args[0].data), args[0].ok)

    def _days(self, node: q.Call, table: str, args: list[Values]) -> Values:
        first, last = args
        return Values(last.data // DAY - first.data // DAY, _ok(first, last))

    def _known_diagnosis(self, node: q.Call, table: str, args: list[Values]) -> Values:
        return self._asked(node.name, args[0])

    _known_procedure = _grey_diagnosis = _grey_procedure = _known_diagnosis

    def _asked(self, name: str, text: Values) -> Values:
        ask = self.sources.words.get(name)
        return _missing(len(text)) if ask is None else _by_word(text, ask)

    def _fits_sex(self, node: q.Call, table: str, args: list[Values]) -> Values:
        return self._fits(node.name, args[0], args[1])

    def _fits_age(self, node: q.Call, table: str, args: list[Values]) -> Values:
        age = args[1]
        return self._fits(node.name, args[0], Values(np.where(age.data == 0, 1, 2), age.ok))

    def _fits(self, name: str, code: Values, given: Values) -> Values:
        """Ask whether bit `given` - 1 is among those that a code fits; 0 = the code is not known."""
        ask = self.sources.fits.get(name)
        if ask is None:
            return _missing(len(code))
        bits = ask(code.words)[code.data]
        fits = (bits >> np.clip(given.data - 1, 0, 2)) & 1 == 1
        known = (bits > 0) & (given.data >= 1) & (given.data <= 2)
        ok = _ok(code, given)
        return Values(fits, known if ok is None else known & ok)

    # ---------------------------------------------------------------------- functions of many rows

    def _unique(self, node: q.Call, table: str, args: list[Values]) -> Values:
        key, _ = _combined(args)
        ok = _ok(*args)
        times = np.bincount(key if ok is None else key[ok], minlength=int(key.max(initial=0)) + 1)
        return Values(times[key] == 1, ok)

    def _unique_in_case(self, node: q.Call, table: str, args: list[Values]) -> Values:
        rows = self.lists.below.get(table)
        n = len(args[0])
        if rows is None:
            return Values(np.ones(n, np.bool_), _ok(*args))
        word, _ = _combined(args)
        ok = _ok(*args)
        if ok is not None:
            word = np.where(ok, word, word.max(initial=0) + 1)
        first = np.zeros(n, np.uint8)
        last = np.full(int(word.max(initial=0)) + 1, -1, np.int64)
        first_in_case(rows.case, word, last, first)
        return Values(first.view(np.bool_), ok)

    def _is_principal(self, node: q.Call, table: str, args: list[Values]) -> Values:
        """Ask whether the code is that of the case's first row."""
        rows, (code,) = self.lists.below[table], args
        principal = np.full(len(self.lists), -1, np.int64)
        first = rows.position == 1
        if code.ok is not None:
            first &= code.ok
        principal[rows.case[first]] = code.data[first]
        return Values(code.data == principal[rows.case], code.ok)

    def _days_since_stay(self, node: q.Call, table: str, args: list[Values]) -> Values:
        """Count days from the last discharge of the cases with the same keys to the admission."""
        admission = self.lists.fields.get((CASE, "admission_date"))
        discharge = self.lists.fields.get((CASE, "discharge_date"))
        n = len(self.lists)
        if admission is None or discharge is None:
            return _missing(n)
        ok = _ok(*args, admission, discharge)
        kept = np.arange(n) if ok is None else np.flatnonzero(ok)
        data = np.full(n, NEVER, np.int64)
        if len(kept):
            key = _combined(args)[0][kept]
            begin, end = admission.data[kept] // DAY, discharge.data[kept] // DAY
            order = np.lexsort((end, begin, key))
            order = _by_id_where_equal(order, (key, begin, end), self.lists.cases.table, kept)
            data[kept[order]] = _since(key[order], begin[order], end[order])
        return Values(data, ok)

    def _mean(self, node: q.Call, table: str, args: list[Values]) -> Values:
        """Return the mean over the cases with the same text, rounded down."""
        amount, by = args
        n = len(amount)
        ok = _ok(amount, by)
        kept = np.arange(n) if ok is None else np.flatnonzero(ok)
        order = kept[np.argsort(by.data[kept], kind="stable")]
        groups, starts = np.unique(by.data[order], return_index=True)
        ends = np.append(starts, len(order))
        high, low = amount.data[order] >> 20, amount.data[order] & 0xFFFFF
        totals = [
            (int(h) << 20) + int(x) for h, x in zip(_sum(high, ends), _sum(low, ends), strict=True)
        ]
        means = np.zeros(int(groups.max()) + 1 if len(groups) else 1, np.int64)
        means[groups] = [t // int(c) for t, c in zip(totals, np.diff(ends), strict=True)]
        index = np.where(np.ones(n, np.bool_) if ok is None else ok, by.data, 0)
        return Values(means[np.minimum(index, len(means) - 1)], ok)


def _missing(n: int) -> Values:
    no = np.broadcast_to(np.False_, n)
    return Values(no, no)


def _is_absent(values: Values) -> bool:
    """Tell if it is what `_missing` gives, without a look at the rows."""
    return values.ok is not None and values.ok.strides == (0,) and not values.ok[:1].any()


def _ok(*values: Values) -> Bools | None:
    given = [v.ok for v in values if v.ok is not None]
    return reduce(np.logical_and, given) if given else None


def _both(values: list[Values]) -> Values:
    """And, as Kleene has it: false if one is false, else missing if one is."""
    data, ok = values[0].data, values[0].ok
    for v in values[1:]:
        if ok is None and v.ok is None:
            data = data & v.data
            continue
        a = np.ones(len(data), np.bool_) if ok is None else ok
        b = np.ones(len(data), np.bool_) if v.ok is None else v.ok
        false = (a & ~data) | (b & ~v.data)
        data, ok = ~false & data & v.data, (a & b) | false
    return Values(data, ok)


def _either(values: list[Values]) -> Values:
    both = _both([Values(~v.data, v.ok) for v in values])
    return Values(~both.data, both.ok)


def _by_word(text: Values, ask: Callable[[Any], Any]) -> Values:
    """Ask of each distinct word."""
    answer = ask(text.words)
    truth = answer if isinstance(answer, np.ndarray) else answer.to_numpy(zero_copy_only=False)
    return Values(np.asarray(truth, np.bool_)[text.data], text.ok)


def _same_words(a: Values, b: Values) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return both as indices into the words of `a`; -1 = none of them."""
    index = pc.fill_null(pc.index_in(b.words, value_set=a.words), -1).to_numpy()
    return a.data, index[b.data]


@cache
def _is_of_case(node: q.Node) -> bool:
    """Tell if all that a node of rows below reads is of the case: then it is asked once a case."""
    match node:
        case q.Read():
            return node.broadcast
        case q.Literal():
            return True
        case q.Compare() | q.Arith():
            return _is_of_case(node.left) and _is_of_case(node.right)
        case q.Logic():
            return all(map(_is_of_case, node.parts))
        case q.Negation() | q.Member():
            return _is_of_case(node.part)
    return False


def _may_hold_clock(node: q.Node) -> bool:
    return isinstance(node, q.Read) and node.field.kind == "time"


def _numbers(text: str) -> tuple[int, ...]:
    """Read whole numbers split by commas; empty = one of them is none."""
    parts = [p.strip() for p in text.split(",")]
    fits = all(p.isascii() and p.isdigit() and len(p) <= 15 for p in parts)
    return tuple(map(int, parts)) if fits else ()


def _combined(values: list[Values]) -> tuple[I64, int]:
    """Return one whole number from 0 for each combination of texts, and how many there may be."""
    key, width = values[0].data.astype(np.int64), len(values[0].words)
    for v in values[1:]:
        key = np.unique(key * len(v.words) + v.data, return_inverse=True)[1].astype(np.int64)
        width = int(key.max(initial=0)) + 1
    return key, width


def _count(truth: Bools, case: I64, n: int) -> I64:
    return np.bincount(case[truth], minlength=n)


def _sum(data: I64, starts: I64) -> I64:
    """Sum ranges that follow one another; an empty one is 0."""
    total = np.concatenate([[0], np.cumsum(data)])
    return np.asarray(total[starts[1:]] - total[starts[:-1]])


def _since(key: I64, begin: I64, end: I64) -> I64:
    """Return days from the latest end of the same key so far; sorted by key, begin, end."""
    least = end.min()
    width = int(end.max() - least) + 1
    rank = np.cumsum(np.concatenate([[0], key[1:] != key[:-1]]))
    latest = np.maximum.accumulate(rank * width + (end - least)) - rank * width + least
    first = np.concatenate([[True], key[1:] != key[:-1]])
    return np.where(first, NEVER, begin - np.concatenate([[0], latest[:-1]]))


def _by_id_where_equal(order: I64, keys: tuple[I64, ...], cases: Any, kept: I64) -> I64:
    """Sort rows that are equal in every key by case_id, so that the order of the file is none."""
    same = np.ones(max(len(order) - 1, 0), np.bool_)
    for k in keys:
        same &= k[order][1:] == k[order][:-1]
    tied = np.zeros(len(order), np.bool_)
    tied[1:] |= same
    tied[:-1] |= same
    at = np.flatnonzero(tied)
    if not len(at):
        return order
    rows = order[at]
    ids = text_array(cases["case_id"]).take(pa.array(kept[rows])).cast(pa.binary())
    rank = np.argsort(pc.sort_indices(ids).to_numpy(), kind="stable")
    again = np.lexsort((rank, *(k[rows] for k in reversed(keys))))
    order = order.copy()
    order[at] = rows[again]
    return order
