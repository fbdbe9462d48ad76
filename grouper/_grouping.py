"""group: cases → groups. Validate, encode, kernel, wrap.

A batch is split only where its cases differ in what groups them: in the edition that a policy adopts
on their day, in the edition of their codes. Each share is grouped as a batch of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from grouper import _chunks, _progress
from grouper._arrow import check_memory, text_array
from grouper._cases import READ, CaseBatch, check_schema, encode, repeated
from grouper._grouped import GroupedBatch, Part
from grouper.errors import CaseSchemaError
from grouper.kernels.dip import group_dip
from grouper.kernels.drg import group_drg
from grouper.tables import DipScheme, DrgScheme, Editions, Reason, Scheme, load_scheme
from grouper.tables._drg_scheme import CODINGS
from grouper.tables._types import (
    I32,
    I64,
    Comparator,
    DipCases,
    DipGroupArrays,
    GroupArrays,
    empty_dip_groups,
    empty_groups,
)

MOST_FEN = 10**13
"""Costs at or above this are taken as not known: they decide between no groups."""

CODE_EDITIONS = {"insurer": 0, "医保版": 0, "clinical": 1, "国临版": 1}
"""What the column code_edition may say, and the coding of `CODINGS` that it means."""


def group(
    cases: Any,
    scheme: Scheme | Editions | str | Path,
    *,
    codes: str = "insurer",
    threads: int | None = None,
) -> GroupedBatch:
    """Group cases by a DRG scheme or a DIP catalogue (分组).

    Re-entrant: many threads may call it at once, with the same scheme or others.

    Parameters
    ----------
    cases : a `pa.Table`, RecordBatch, RecordBatchReader or dataset in the schema of `read_cases`, a
        pandas data frame, one case as a dict, or a list of such dicts. The answer is the same.
    scheme : a `Scheme`, the id of a shipped one, or a folder; or the `Editions` of a policy: then each
        case is grouped by the one in force on its day.
    codes : "insurer" (医保版), "clinical" (国临版, mapped once), or "case": as each case's column
        code_edition says.
    threads : default the cores this process may use; the answer does not depend on it.

    Raises
    ------
    CaseSchemaError : columns missing or of another kind. SchemeNotFound, TableError : no such scheme.
    """
    scheme = load_scheme(scheme) if isinstance(scheme, str | Path) else scheme
    table = as_table(cases)
    if isinstance(scheme, Scheme) and codes in CODINGS:
        with _progress.share(0, 0.7):
            batch = encode(table, scheme, codes=codes, threads=threads)
        with _progress.share(0.7, 1):
            return group_encoded(batch, threads=threads)
    check_schema(table.schema)
    check_memory((name, table[name]) for name in READ if name in table.schema.names)
    counts: Counter[str] = Counter()
    twice = repeated(text_array(table["case_id"]))
    parts = []
    for share in _shares(table, scheme, codes, counts):
        mine = table.take(pa.array(share.rows))
        batch = encode(
            mine,
            share.scheme,
            codes=share.codes,
            threads=threads,
            twice=twice[share.rows],
            refused=share.refused,
        )
        counts.update(batch.counts)
        (part,) = group_encoded(batch, threads=threads).parts
        used = None if share.refused else part.scheme
        parts.append(Part(used, part.arrays, share.rows))
    return GroupedBatch(table, tuple(parts), dict(counts))


def group_encoded(batch: CaseBatch, *, threads: int | None = None) -> GroupedBatch:
    """Group cases that are encoded already."""
    scheme, arrays, n = batch.scheme, batch.arrays, len(batch)
    if isinstance(scheme, DrgScheme):
        drg, rules = empty_groups(n), scheme.arrays
        drg.warn[:] = batch.warn
        _chunks.run(lambda a, b: group_drg(arrays, rules, drg, a, b), n, threads)
        return _whole(batch, drg)
    dip, encoded = empty_dip_groups(n), dip_cases(batch)
    dip.warn[:] = batch.warn
    _chunks.run(lambda a, b: group_dip_range(encoded, scheme, dip, a, b), n, threads)
    return _whole(batch, dip)


def _whole(batch: CaseBatch, arrays: GroupArrays | DipGroupArrays) -> GroupedBatch:
    return GroupedBatch(batch.table, (Part(batch.scheme, arrays),), batch.counts)


# ------------------------------------------------------------------------------- what groups a case


@dataclass(frozen=True)
class _Share:
    """Rows that one scheme groups, read in one coding; `refused` if nothing can group them."""

    scheme: Scheme
    codes: str
    rows: I64
    refused: Reason = Reason.NONE


def _shares(
    table: pa.Table, scheme: Scheme | Editions, codes: str, counts: Counter[str]
) -> Iterator[_Share]:
    """Split a table by edition and coding; at least one share, in a fixed order."""
    n = len(table)
    schemes = [scheme] if isinstance(scheme, Scheme) else [e.scheme for e in scheme.editions]
    of = _edition_of(table, scheme) if isinstance(scheme, Editions) else np.zeros(n, np.int32)
    coding = _coding_of(table, codes, counts)
    for refused, which in ((Reason.UNKNOWN_CODING, coding < 0), (Reason.NO_EDITION, of < 0)):
        which &= (coding >= 0) | (refused == Reason.UNKNOWN_CODING)
        if which.any():
            yield _Share(schemes[0], CODINGS[0], np.flatnonzero(which), refused)
    for k, edition in enumerate(schemes):
        for c, name in enumerate(CODINGS):
            rows = np.flatnonzero((of == k) & (coding == c))
            if len(rows):
                yield _Share(edition, name, rows)
    if not n:
        yield _Share(schemes[0], CODINGS[0], np.zeros(0, np.int64))


def _edition_of(table: pa.Table, editions: Editions) -> I32:
    """Return the edition of each case by its day, -1 = none is in force or the day is not known.

    Raises
    ------
    CaseSchemaError : the column of the day is missing.
    """
    name = editions.column
    if name not in table.schema.names:
        message = f"column {name!r} is missing: policy {editions.policy} adopts editions by it"
        raise CaseSchemaError([message])
    days = table[name].cast(pa.date32(), safe=False).combine_chunks().dictionary_encode()
    places = [-1 if d is None else editions.place(d) for d in days.dictionary.to_pylist()]
    index = pc.fill_null(days.indices, len(places)).to_numpy()
    return np.asarray(np.array([*places, -1], np.int32)[index])


def _coding_of(table: pa.Table, codes: str, counts: Counter[str]) -> I32:
    """Return the coding of each case as an index of `CODINGS`, -1 = not one of them.

    Raises
    ------
    CaseSchemaError : `codes` is unknown, or "case" and the column code_edition is missing.
    """
    if codes in CODINGS:
        return np.full(len(table), CODINGS.index(codes), np.int32)
    if codes != "case":
        raise CaseSchemaError([f"codes = {codes!r} is none of {', '.join(CODINGS)}, case"])
    if "code_edition" not in table.schema.names:
        raise CaseSchemaError(["codes = 'case' needs the column 'code_edition'"])
    column = pc.fill_null(text_array(table["code_edition"]), "")
    texts = column.dictionary_encode()
    blank, places = [], []
    for text in texts.dictionary.to_pylist():
        blank.append(not text.strip())
        places.append(0 if blank[-1] else CODE_EDITIONS.get(text.strip().casefold(), -1))
    index = texts.indices.to_numpy()
    counts["code_edition: blank, read as insurer"] += int(np.array([*blank, False])[index].sum())
    return np.asarray(np.array([*places, -1], np.int32)[index])


# -------------------------------------------------------------------------------------- DIP, tables


def dip_cases(batch: CaseBatch) -> DipCases:
    """Return a batch encoded for a DIP catalogue as its kernel reads it."""
    assert batch.classes is not None, "encoded for a DRG scheme"
    return DipCases(*batch.arrays, *batch.classes, _cost(batch.table))


def group_dip_range(
    cases: DipCases, scheme: DipScheme, out: DipGroupArrays, start: int, stop: int
) -> None:
    """Group cases start … stop-1 with scratch of their own."""
    group_dip(cases, scheme.arrays, out, np.empty(len(Comparator), np.int64), start, stop)


def _cost(cases: pa.Table) -> I64:
    """Return each case's total cost in fen, -1 where it is not known."""
    if "total_cost_fen" not in cases.schema.names:
        return np.full(len(cases), -1, np.int64)
    cost = cases["total_cost_fen"]
    if not pa.types.is_integer(cost.type) and not pa.types.is_null(cost.type):
        message = f"column 'total_cost_fen' is {cost.type}, not whole fen (int64)"
        raise CaseSchemaError([message])
    values = pc.fill_null(cost.cast(pa.int64()), -1).to_numpy()
    return np.where((values < 0) | (values >= MOST_FEN), np.int64(-1), values)


def as_table(cases: Any) -> pa.Table:
    """Turn whatever holds cases into one Arrow table."""
    if isinstance(cases, pa.Table):
        return cases
    if isinstance(cases, Mapping):
        return _from_dicts([cases])
    is_list = isinstance(cases, Sequence) and not isinstance(cases, str | bytes)
    if is_list and all(isinstance(c, Mapping) for c in cases):
        return _from_dicts(cases)
    if isinstance(cases, pa.RecordBatch):
        return pa.Table.from_batches([cases])
    if isinstance(cases, pa.RecordBatchReader):
        return cases.read_all()
    if hasattr(cases, "to_table"):  # pyarrow.dataset
        return cases.to_table()
    if hasattr(cases, "__arrow_c_stream__"):  # Polars, pandas, DuckDB
        return pa.table(cases)
    raise TypeError(f"cases as {type(cases).__name__}: give a table, a data frame or dicts")


CODES = pa.list_(pa.string())
CASE_TYPES = {
    **dict.fromkeys(("case_id", "discharge_mode", "department"), pa.string()),
    **dict.fromkeys(("sex", "age", "age_days", "birth_weight", "admission_weight"), pa.int64()),
    **dict.fromkeys(("los", "icu_hours", "total_cost_fen"), pa.int64()),
    **dict.fromkeys(("diagnoses", "procedures"), CODES),
}


def _from_dicts(cases: Sequence[Mapping[str, Any]]) -> pa.Table:
    names = list(dict.fromkeys(name for case in cases for name in case))
    columns, faults = {}, []
    for name in names if cases else CASE_TYPES:
        values = [c.get(name) for c in cases]
        try:
            str.encode(name)  # a name that is no text of Unicode is none for Arrow
            if CASE_TYPES.get(name) == CODES and any(isinstance(v, str) for v in values):
                raise TypeError("one text where a list of codes belongs")
            columns[name] = pa.array(values, CASE_TYPES.get(name))
        except (pa.ArrowException, TypeError, ValueError, OverflowError) as e:
            faults.append(f"column {name!r}: {e}")
    if faults:
        raise CaseSchemaError(faults)
    return pa.table(columns)
