"""Conditions of quality rules over whole columns: a tree in, for every row true, false or missing out.

Each node gives a `Values`. Texts are indices into their distinct words, so that a question about a text
is asked once for each word. The surprise: two times are compared by the day unless both carry a time of
day; lists often give the day alone, and midnight is not when the patient left.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from grouper._quality_lists import CASE, DAY, I64, Bools, Lists, Values
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

    def holds(self, condition: q.Condition, table: str) -> Values:
        """Return for each row of the table whether `when` does not hold or `check` does."""
        check = self.value(condition.check, table)
        if condition.when is None:
            return check
        when = self.value(condition.when, table)
        return _either([Values(~when.data, when.ok), check])

    def value(self, node: q.Node, table: str) -> Values:
        """Return the value of a node for each row of a table."""
        n = self.lists.rows(table)
        match node:
            case q.Literal(value):
                if isinstance(value, int):
                    return Values(np.full(n, value, np.int64))
                return Values(np.zeros(n, np.int32), None, pa.array([value]))
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
        return values.take(self.lists.below[table].case) if node.broadcast else values

    def _compare(self, op: str, left: q.Node, right: q.Node, table: str) -> Values:
        a, b = self.value(left, table), self.value(right, table)
        ok = _ok(a, b)
        if a.words is not None or b.words is not None:
            if a.words is None or b.words is None:  # one of them is missing altogether
                return Values(np.zeros(len(a), np.bool_), np.zeros(len(a), np.bool_))
            x, y = _same_words(a, b)
            return Values(_OPS[op](x, y), ok)
        if _is_time(left) and _is_time(right):
            by_day = (a.data % DAY == 0) | (b.data % DAY == 0)
            x = np.where(by_day, a.data // DAY * DAY, a.data)
            y = np.where(by_day, b.data // DAY * DAY, b.data)
            return Values(_OPS[op](x, y), ok)
        return Values(_OPS[op](a.data, b.data), ok)

    def _arith(self, op: str, left: q.Node, right: q.Node, table: str) -> Values:
        a, b = self.value(left, table), self.value(right, table)
        act = {"+": np.add, "-": np.subtract, "*": np.multiply}[op]
        return Values(act(a.data, b.data), _ok(a, b))

    def _member(self, part: q.Node, values: frozenset[str], table: str) -> Values:
        of = self.value(part, table)
        if of.words is None:
            numbers = np.array([int(v) for v in values if v.lstrip("-").isdigit()], np.int64)
            return Values(np.isin(of.data, numbers), of.ok)
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
            return Values(np.ones(n, np.bool_) if value.ok is None else value.ok)
        args = [self.value(a, table) for a in node.args]
        return getattr(self, f"_{node.name}")(node, table, args)  # type: ignore[no-any-return]

    # ------------------------------------------------------------------ functions of the same row

    def _digits(self, node: q.Call, table: str, args: list[Values]) -> Values:
        return _by_word(args[0], lambda w: pc.match_substring_regex(w, "^[0-9]+$"))

    def _length(self, node: q.Call, table: str, args: list[Values]) -> Values:
        (text,) = args
        if text.words is None:
            return _missing(len(text))
        return Values(pc.utf8_length(text.words).to_numpy().astype(np.int64)[text.data], text.ok)

    def _number(self, node: q.Call, table: str, args: list[Values]) -> Values:
        (text,) = args
        if text.words is None:
            return _missing(len(text))
        plain = pc.match_substring_regex(text.words, "^[0-9]{1,15}$")
        numbers = pc.if_else(plain, text.words, "0").cast(pa.int64()).to_numpy()
        fits = plain.to_numpy(zero_copy_only=False)[text.data]
        return Values(numbers[text.data], fits if text.ok is None else fits & text.ok)

    def _starts(self, node: q.Call, table: str, args: list[Values]) -> Values:
        heads = node.values or {a.value for a in node.args[1:] if isinstance(a, q.Literal)}

        def ask(words: Any) -> Any:
            found = pa.array(np.zeros(len(words), np.bool_))
            for width in sorted({len(h) for h in heads}):
                own = pa.array(sorted(str(h) for h in heads if len(str(h)) == width))
                found = pc.or_(found, pc.is_in(pc.utf8_slice_codeunits(words, 0, width), own))
            return found

        return _by_word(args[0], ask)

    def _each_between(self, node: q.Call, table: str, args: list[Values]) -> Values:
        text, low, high = args
        if text.words is None:
            return _missing(len(text))
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
        if ask is None or code.words is None:
            return _missing(len(code))
        bits = ask(code.words)[code.data]
        fits = (bits >> np.clip(given.data - 1, 0, 2)) & 1 == 1
        known = (bits > 0) & (given.data >= 1) & (given.data <= 2)
        ok = _ok(code, given)
        return Values(fits, known if ok is None else known & ok)

    # ---------------------------------------------------------------------- functions of many rows

    def _unique(self, node: q.Call, table: str, args: list[Values]) -> Values:
        key = _combined(args)
        _, inverse, times = np.unique(key, return_inverse=True, return_counts=True)
        return Values(times[inverse] == 1, _ok(*args))

    def _unique_in_case(self, node: q.Call, table: str, args: list[Values]) -> Values:
        rows = self.lists.below.get(table)
        case = rows.case if rows is not None else np.arange(len(args[0]), dtype=np.int64)
        key = _combined([Values(case), *args])
        first = np.zeros(len(key), np.bool_)
        first[np.unique(key, return_index=True)[1]] = True
        return Values(first, _ok(*args))

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
        if admission is None or discharge is None or any(_is_absent(a) for a in args):
            return _missing(n)
        ok = _ok(*args, admission, discharge)
        kept = np.arange(n) if ok is None else np.flatnonzero(ok)
        key = np.unique(_combined(args)[kept], return_inverse=True)[1].astype(np.int64)
        begin, end = admission.data[kept] // DAY, discharge.data[kept] // DAY
        ids = _rank(self.lists.cases.table["case_id"], kept)
        order = np.lexsort((ids, end, begin, key))
        k, b, e = key[order], begin[order], end[order]
        width = int(e.max() - e.min()) + 1 if len(e) else 1
        last = np.maximum.accumulate(k * width + (e - (e.min() if len(e) else 0)))
        before = np.concatenate([[-1], last[:-1]]) if len(last) else last
        same = np.concatenate([[False], k[1:] == k[:-1]]) if len(k) else np.zeros(0, np.bool_)
        since = np.where(same, b - (before - k * width + (e.min() if len(e) else 0)), NEVER)
        data = np.zeros(n, np.int64)
        data[kept[order]] = since
        return Values(data, ok)

    def _mean(self, node: q.Call, table: str, args: list[Values]) -> Values:
        """Return the mean over the cases with the same text, rounded down."""
        amount, by = args
        n = len(amount)
        if _is_absent(amount) or _is_absent(by):
            return _missing(n)
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
    return Values(np.zeros(n, np.bool_), np.zeros(n, np.bool_))


def _is_absent(values: Values) -> bool:
    return values.ok is not None and not values.ok.any()


def _ok(*values: Values) -> Bools | None:
    given = [v.ok for v in values if v.ok is not None]
    return None if not given else np.logical_and.reduce(given)


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
    if text.words is None:
        return _missing(len(text))
    answer = ask(text.words)
    truth = answer if isinstance(answer, np.ndarray) else answer.to_numpy(zero_copy_only=False)
    return Values(np.asarray(truth, np.bool_)[text.data], text.ok)


def _same_words(a: Values, b: Values) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return both as indices into the words of `a`; -1 = none of them."""
    index = pc.fill_null(pc.index_in(b.words, value_set=a.words), -1).to_numpy()
    return a.data, index[b.data]


def _is_time(node: q.Node) -> bool:
    return isinstance(node, q.Read) and q.TYPES[node.field.kind] == q.TIME


def _numbers(text: str) -> tuple[int, ...]:
    """Read whole numbers split by commas; empty = one of them is none."""
    parts = [p.strip() for p in text.split(",")]
    fits = all(p.isascii() and p.isdigit() and len(p) <= 15 for p in parts)
    return tuple(map(int, parts)) if fits else ()


def _combined(values: list[Values]) -> I64:
    """Return one number for each combination of values."""
    key = np.zeros(len(values[0]), np.int64)
    for v in values:
        _, inverse = np.unique(v.data, return_inverse=True)
        width = int(inverse.max()) + 1 if len(inverse) else 1
        key = np.unique(key, return_inverse=True)[1].astype(np.int64) * width + inverse
    return key


def _count(truth: Bools, case: I64, n: int) -> I64:
    return np.bincount(case[truth], minlength=n)


def _sum(data: I64, starts: I64) -> I64:
    """Sum ranges that follow one another; an empty one is 0."""
    total = np.concatenate([[0], np.cumsum(data)])
    return np.asarray(total[starts[1:]] - total[starts[:-1]])


def _rank(ids: Any, kept: I64) -> I64:
    """Return the places of ids in the order of their bytes."""
    texts = ids.combine_chunks() if isinstance(ids, pa.ChunkedArray) else ids
    texts = texts.chunk(0) if isinstance(texts, pa.ChunkedArray) and texts.num_chunks else texts
    order = pc.sort_indices(texts.take(pa.array(kept)).cast(pa.binary())).to_numpy()
    rank = np.empty(len(kept), np.int64)
    rank[order] = np.arange(len(kept))
    return rank
