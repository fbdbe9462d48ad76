"""Settlement lists (结算清单) for quality control: the cases, and the raw fields that the rules ask about.

A rule names fields as the list's interface does; here each finds its column: in the long table of that
name, in the case's own row, or beside the codes of a case as a list of the same length. A personal field
enters as filled or not, its text never does. What no file holds is absent: its rules cannot be judged.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from grouper import _cells, _chunks, _layouts
from grouper._columns import COLUMNS
from grouper._reading import ListTable, Rows, Source
from grouper.io import CaseTable, ColumnMap, is_personal, read_with_sources
from grouper.tables import QualityField, QualityRules

CASE = _layouts.CASE
CODES = {"diseinfo": ("diagnoses", "diag_code"), "oprninfo": ("procedures", "oprn_oprt_code")}
"""Tables that a case's own lists of codes stand for: our column, their field."""

GROUP = QualityField(CASE, "group", "text")
"""The group of a case; only a scheme gives it."""

SCHEMA = (*(QualityField(CASE, c.name, c.kind) for c in COLUMNS if c.kind != "codes"), GROUP)
"""The columns of a case as fields that a rule may name."""

Bools = NDArray[np.bool_]
I64 = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Values:
    """A column: whole numbers, seconds, truth, or indices into `words`; `ok` False = missing.

    `words` is an Arrow array of strings; `absent` marks rows of a file that has no such column.
    """

    data: NDArray[Any]
    ok: Bools | None = None
    words: Any = None
    absent: Bools | None = None

    def __len__(self) -> int:
        return len(self.data)

    def take(self, rows: I64) -> Values:
        """Return the values at the rows."""
        ok = None if self.ok is None else self.ok[rows]
        absent = None if self.absent is None else self.absent[rows]
        return Values(self.data[rows], ok, self.words, absent)


@dataclass(frozen=True, eq=False)
class Below:
    """Rows below the cases, by case: `case` of each row, and where each case's rows begin."""

    case: I64
    starts: I64
    position: I64

    def __len__(self) -> int:
        return len(self.case)


@dataclass(eq=False)
class Lists:
    """All that the rules read: `fields` by (table, name), None = absent; rows below by table."""

    cases: CaseTable
    fields: dict[tuple[str, str], Values | None] = field(default_factory=dict)
    below: dict[str, Below] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    asked: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.cases)

    def rows(self, table: str) -> int:
        """Count the rows of a table."""
        return len(self.below[table]) if table in self.below else len(self)


def read_lists(
    source: Any,
    rules: QualityRules,
    columns: ColumnMap | str | None = None,
    threads: int | None = None,
) -> Lists:
    """Read cases and, beside them, the fields that the rules name.

    Raises
    ------
    As `read_cases`.
    """
    parts: list[_Part] = []
    wanted = _wanted(rules)

    def also(found: Source, given: ColumnMap, n: int) -> None:
        parts.append(_Part(found, given, n, wanted))

    cases = read_with_sources(source, columns=columns, threads=threads, also=also)
    lists = Lists(cases)
    for part in parts:
        lists.counts += part.counts
        lists.asked += [h for h in part.asked if h not in lists.asked]
    _own_columns(lists, rules, threads)
    tables = {t for r in rules.rules for t in r.condition.tables} - {CASE}
    for table in sorted(tables):
        _join_below(lists, table, parts)
    for asked in wanted:
        if asked.key not in lists.fields:
            values = _joined(parts, asked)
            if values is not None and _is_of_case(asked.table, parts):
                values = values.take(lists.below[asked.table].case)
            lists.fields[asked.key] = values
    return lists


def _is_of_case(table: str, parts: Sequence[_Part]) -> bool:
    """Tell if a field of rows below was read from the case's own row, for rows that are codes."""
    return table in CODES and not any(table in p.below for p in parts)


def _wanted(rules: QualityRules) -> list[QualityField]:
    """List the raw fields that the rules ask about: all but the columns of the case table."""
    asked = {f for r in rules.rules for f in r.condition.fields} - set(SCHEMA)
    return sorted(asked, key=lambda f: f.key)


def _own_columns(lists: Lists, rules: QualityRules, threads: int | None) -> None:
    """Take the columns of the case table that the rules name."""
    asked = {f for r in rules.rules for f in r.condition.fields} & set(SCHEMA)
    table = lists.cases.table

    def own(f: QualityField) -> Values | None:
        return _values(table[f.name], f.kind) if f.name in table.column_names else None

    with ThreadPoolExecutor(threads or _chunks.cores()) as pool:
        lists.fields |= {f.key: v for f, v in zip(asked, pool.map(own, asked), strict=True)}


# ---------------------------------------------------------------------------------- one file's fields


class _Rows(NamedTuple):
    """Rows of a long table by case: the case, the row of the file, the number in the case."""

    case: I64
    row: I64
    position: I64


@dataclass(eq=False)
class _Part:
    """The raw fields of one source of cases."""

    source: Source
    given: ColumnMap
    n: int
    wanted: Sequence[QualityField]
    found: dict[tuple[str, str], Values] = field(default_factory=dict)
    below: dict[str, _Rows] = field(default_factory=dict)
    beside: dict[QualityField, Any] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        tables = dict(self.source.tables)
        own = tables.pop(CASE, None)
        raw = own.source if own else self.source
        for name, table in tables.items():
            assert own is not None
            self._long(name, table, _texts(raw, own.key))
        self._of_case(raw)

    def _of_case(self, raw: Source) -> None:
        """Load fields from the case's own row, also those of rows below that have no table."""
        places: dict[QualityField, int] = {}
        for asked in self.wanted:
            if asked.table in self.below:
                continue
            place = self._place(asked, raw.headers)
            if place is None:
                continue
            if asked.table in CODES and asked.ours:
                self.beside[asked] = raw.load([place]).columns[0]
            else:
                places[asked] = place
        self._load(raw, places, None)

    def _long(self, name: str, table: ListTable, ids: Any) -> None:
        """Load fields of a long table, its rows by case."""
        source = table.source
        keys = _texts(source, table.key)
        case, row = _layouts.places(keys, ids, name, Counter())
        folded = {h.strip().casefold(): h for h in source.headers}
        first = None
        if name == _layouts.DISEASE:
            if "diag_type" in folded:
                western = ~_layouts.is_in(_texts(source, folded["diag_type"]), _layouts.TCM)[row]
                case, row = case[western], row[western]
            if "maindiag_flag" in folded:
                first = _layouts.is_in(_texts(source, folded["maindiag_flag"]), _layouts.YES)[row]
                order = np.lexsort((row, ~first, case))
                case, row, first = case[order], row[order], first[order]
        position = below_of(np.bincount(case, minlength=self.n)).position
        if first is not None:  # without a principal the rows begin with the second
            lost = np.bincount(case[first], minlength=self.n) == 0
            position = position + lost[case]
        self.below[name] = _Rows(case, row, position)
        places = {}
        for asked in (f for f in self.wanted if f.table == name):
            place = self._place(asked, source.headers)
            if place is not None:
                places[asked] = place
        self._load(source, places, row)

    def _place(self, asked: QualityField, headers: Sequence[str]) -> int | None:
        """Find the column of a field: by its name, another name of it, or what the map says."""
        folded = [h.strip().casefold() for h in headers]
        names = [asked.name.casefold(), *(a.casefold() for a in asked.also)]
        if asked.ours:
            mapped = self.given.columns.get(asked.ours)
            names += [mapped.strip().casefold()] if mapped else []
            names += [asked.ours]
        return next((folded.index(n) for n in names if n in folded), None)

    def _load(self, source: Source, places: Mapping[QualityField, int], order: I64 | None) -> None:
        at = sorted(set(places.values()))
        rows: Rows = source.load(at) if at else Rows([], 0)
        loaded = dict(zip(at, rows.columns, strict=True))
        for asked, place in places.items():
            header = source.headers[place]
            only_filled = asked.personal or is_personal(header)
            if only_filled and header not in self.asked:
                self.asked.append(header)
            try:
                values = _read(loaded[place], asked, header, self.counts, only_filled=only_filled)
            except _cells.Unfit:
                self.counts[f"{header}: of a type that holds no {asked.kind}"] += 1
                continue
            self.found[asked.key] = values if order is None else values.take(order)


def _texts(source: Source, header: str) -> Any:
    """Load one column as texts, "" where a cell is empty."""
    return _layouts.text(source.load([source.headers.index(header)]).columns[0])


def _read(
    column: Any, asked: QualityField, header: str, counts: Counter[str], *, only_filled: bool
) -> Values:
    """Read a column as its kind; a cell that cannot be read is missing, and counted."""
    column = _layouts.chunked(column)
    if only_filled:
        texts, _ = _cells.tidy(_cells.as_text(column))
        filled = pc.is_valid(texts).to_numpy()
        return Values(np.zeros(len(filled), np.int32), filled, pa.array(["filled"]))
    if asked.kind == "time":
        cells = _cells.read_time(column)
    else:
        in_fen = header.casefold().endswith("_fen")
        cells = _cells.read_column(asked.kind, column, header, in_fen=in_fen)
    for note, n in cells.counts.items():
        if n and note != "blank":
            counts[f"{header}: {note}"] += n
    return _values(cells.column, asked.kind)


def _values(column: Any, kind: str) -> Values:
    """Turn an Arrow column into values."""
    column = _layouts.chunked(column)
    ok = pc.is_valid(column).to_numpy() if column.null_count else None
    if kind == "text":
        if not len(column):
            return Values(np.zeros(0, np.int32), None, pa.array([""]))
        encoded = column.dictionary_encode().unify_dictionaries()
        words = encoded.chunk(0).dictionary
        index = [pc.fill_null(c.indices, 0).to_numpy() for c in encoded.chunks]
        return Values(np.concatenate(index), ok, words if len(words) else pa.array([""]))
    if kind == "day":
        days = pc.fill_null(column.cast(pa.int32()), 0).to_numpy()
        return Values(days.astype(np.int64) * DAY, ok)
    if kind == "flag":
        return Values(pc.fill_null(column, False).to_numpy(), ok)
    return Values(pc.fill_null(column.cast(pa.int64()), 0).to_numpy(), ok)


DAY = 86_400
"""Seconds; a time without a time of day is a multiple of it."""


# ------------------------------------------------------------------------------------ files together


def _join_below(lists: Lists, table: str, parts: Sequence[_Part]) -> None:
    """Gather the rows below the cases: of long tables, of lists of codes, else one row a case."""
    n = len(lists)
    if any(table in p.below for p in parts):
        (part,) = parts  # the long tables of a folder are one source
        case, _, position = part.below[table]
        starts = below_of(np.bincount(case, minlength=n)).starts
        lists.below[table] = Below(case, starts, position)
        return
    if table not in CODES:
        lists.below[table] = below_of(np.ones(n, np.int64))
        return
    ours, theirs = CODES[table]
    column = lists.cases.table[ours]
    lengths = _lengths(column)
    lists.below[table] = rows = below_of(lengths)
    codes, _ = _cells.tidy(_cells.as_text(_flat(column)))
    lists.fields[table, theirs] = _values(codes, "text")
    if table == "diseinfo":
        first = (rows.position == 1).astype(np.int32)
        lists.fields[table, "maindiag_flag"] = Values(first, None, pa.array(["0", "1"]))
    for asked in sorted({f for p in parts for f in p.beside}, key=lambda f: f.key):
        if asked.table == table:
            lists.fields[asked.key] = _parallel(asked, parts, lengths, lists.counts)


def _lengths(column: Any) -> I64:
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy()
    return np.asarray(lengths, np.int64)


def _flat(column: Any) -> Any:
    return pa.chunked_array([c.flatten() for c in column.chunks] or [pa.array([], pa.string())])


def _parallel(
    asked: QualityField, parts: Sequence[_Part], lengths: I64, counts: Counter[str]
) -> Values:
    """Lay lists beside the codes out as rows; where one is not as long as the codes it is missing."""
    found, at = [], 0
    for part in parts:
        own = lengths[at : at + part.n]
        at += part.n
        if asked not in part.beside:
            found.append(pa.nulls(int(own.sum()), pa.string()))
            continue
        cells = _cells.read_codes(_layouts.chunked(part.beside[asked]), part.given.separator)
        given = _lengths(cells.column)
        fits = given == own
        counts[f"{asked.ours}: lists not as long as the codes"] += int((~fits & (given > 0)).sum())
        starts, ends = np.cumsum(given) - given, np.cumsum(own)
        index = np.arange(int(own.sum())) + np.repeat(starts - (ends - own), own)
        ok = np.repeat(fits, own)
        rows = pa.array(np.where(ok, index, 0), mask=~ok)
        found.append(_flat(cells.column).combine_chunks().take(rows).cast(pa.string()))
    return _read(pa.chunked_array(found), asked, asked.ours, counts, only_filled=asked.personal)


def below_of(lengths: NDArray[Any]) -> Below:
    """Return the rows of cases that have so many each."""
    ends = np.cumsum(lengths, dtype=np.int64)
    case = np.repeat(np.arange(len(lengths)), lengths)
    position = np.arange(len(case)) - np.repeat(ends - lengths, lengths) + 1
    return Below(case, np.concatenate([[0], ends]), position)


def _joined(parts: Sequence[_Part], asked: QualityField) -> Values | None:
    """Put the files' columns of a field one after the other; a file without it is missing there."""
    found = [p.found.get(asked.key) for p in parts]
    if len(found) == 1 or all(v is None for v in found):
        return found[0]
    texts = any(v is not None and v.words is not None for v in found)
    data, ok, chunks, absent = [], [], [], []
    for values, part in zip(found, parts, strict=True):
        n = part.n if values is None else len(values)
        held = values or Values(np.zeros(n, np.int64), np.zeros(n, np.bool_), pa.array([""]))
        data.append(held.data)
        ok.append(np.ones(n, np.bool_) if held.ok is None else held.ok)
        absent.append(np.full(n, values is None))
        if texts:
            index = pa.array(held.data.astype(np.int32))
            chunks.append(pa.DictionaryArray.from_arrays(index, held.words))
    words = None
    if texts:
        joined = pa.chunked_array(chunks).unify_dictionaries()
        words = joined.chunk(0).dictionary
        data = [c.indices.to_numpy() for c in joined.chunks]
    return Values(np.concatenate(data), np.concatenate(ok), words, np.concatenate(absent))
