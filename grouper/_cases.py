"""Arrow table of cases → `CaseBatch`: ids and facts as the kernels read them.

Order of work: check the schema (every fault at once), read the facts, hash the code strings to ids
on the Arrow buffers, resolve what was not found once per distinct text, find repeated case ids.
Nothing is guessed in silence: each normalisation is counted in `CaseBatch.counts`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from grouper import _chunks
from grouper._arrow import Array, check_memory, text_array
from grouper._progress import share
from grouper.errors import CaseSchemaError
from grouper.kernels import codes as kernels
from grouper.tables import CodeList, DrgScheme, Reason, Scheme
from grouper.tables._dip_scheme import OpenVocabulary
from grouper.tables._drg_scheme import CODINGS
from grouper.tables._types import (
    BLANK_CODE,
    DIAGNOSES,
    GREY_CODE,
    I32,
    MISSING,
    PROCEDURES,
    U8,
    U64,
    UNKNOWN_CODE,
    CaseArrays,
    Fact,
    Warn,
)
from grouper.tables._vocabulary import Vocabulary

OLDEST = 150
NUMBERS = {
    "age": Fact.AGE,
    "age_days": Fact.AGE_DAYS,
    "sex": Fact.SEX,
    "los": Fact.LOS,
    "icu_hours": Fact.ICU_HOURS,
}
TEXTS = {"discharge_mode": Fact.DISCHARGE_MODE, "department": Fact.DEPARTMENT}
REQUIRED = ("case_id", "sex", "age", "diagnoses", "procedures")
FAULT = "input_fault"
"""Column of a reader's own refusals: a row with a text here is rejected, never the file."""
READ = (
    *("case_id", "diagnoses", "procedures", *TEXTS, *NUMBERS, "birth_weight", "admission_weight"),
    *("admission_date", "discharge_date", "total_cost_fen", "principals", FAULT),
)
"""What grouping reads of a table."""


@dataclass(frozen=True, eq=False)
class CaseBatch:
    """Encoded cases (病例).

    `table` holds the rows as given, `arrays` what the kernels read, `warn` the warnings found here
    (uint32 bits, see `Warn`), `counts` how many codes were normalised, mapped or unknown.
    `classes` of diagnosis and procedure ids + 1, for a DIP catalogue: this batch's codes too.
    """

    table: pa.Table
    scheme: Scheme
    arrays: CaseArrays
    warn: NDArray[np.uint32]
    counts: Mapping[str, int] = field(default_factory=dict)
    classes: tuple[I32, I32] | None = None

    def __len__(self) -> int:
        return len(self.arrays.reject)


def encode(
    cases: pa.Table,
    scheme: Scheme,
    *,
    codes: str = "insurer",
    threads: int | None = None,
    twice: NDArray[np.bool_] | None = None,
    refused: Reason = Reason.NONE,
) -> CaseBatch:
    """Encode a table of cases for a scheme (编码).

    Parameters
    ----------
    cases : the columns of `REQUIRED`, others as they are at hand; code lists are list<string> or
        list<dictionary>, principal first.
    codes : "insurer" (医保版, as is) or "clinical" (国临版, each mapped once).
    twice : for a share of a batch, which case_ids the whole batch repeats.
    refused : why every row that nothing else refuses is rejected.

    Raises
    ------
    CaseSchemaError : a required column is missing or a column is of another kind; names them all.
    """
    if codes not in CODINGS:
        raise CaseSchemaError([f"codes = {codes!r} is none of {', '.join(CODINGS)}"])
    of_dx, of_px = (scheme.vocabulary(side, codes) for side in (DIAGNOSES, PROCEDURES))
    return encode_with(cases, scheme, of_dx, of_px, threads=threads, twice=twice, refused=refused)


def encode_with(
    cases: pa.Table,
    scheme: Scheme,
    of_dx: Vocabulary | OpenVocabulary,
    of_px: Vocabulary | OpenVocabulary,
    *,
    threads: int | None = None,
    twice: NDArray[np.bool_] | None = None,
    refused: Reason = Reason.NONE,
) -> CaseBatch:
    """Encode with vocabularies at hand: the ids of an open one last over batches; see `encode`."""
    check_schema(cases.schema)
    check_memory((name, cases[name]) for name in READ if name in cases.schema.names)
    counts: Counter[str] = Counter()
    n = len(cases)
    listed = scheme.code_list
    with share(0, 0.6):
        dx_off, dx = _encode_lists(
            cases["diagnoses"], _Reader(of_dx, "diagnoses", listed, counts, threads)
        )
    with share(0.6, 1):
        px_off, px = _encode_lists(
            cases["procedures"], _Reader(of_px, "procedures", listed, counts, threads)
        )
    warn = np.zeros(n, np.uint32)
    if isinstance(scheme, DrgScheme):
        px_off, px = _grey_procedures(scheme, px_off, px, warn)
    if (px == BLANK_CODE).any():
        px_off, px = _drop(px_off, px, np.zeros(int(px.max()) + 2, np.uint8))
    with share(1, 1):
        for off, ids, first in ((dx_off, dx, 1), (px_off, px, 0)):
            _chunks.run(partial(kernels.blank_repeats, off, ids, first), n, threads)
    facts = _facts(cases, scheme)
    reject = _reject(cases, facts, twice)
    if refused:
        reject[reject == 0] = refused
    arrays = CaseArrays(dx_off, dx, px_off, px, facts, reject)
    classes = None
    if isinstance(of_dx, OpenVocabulary) and isinstance(of_px, OpenVocabulary):
        classes = of_dx.classes, of_px.classes
    return CaseBatch(cases, scheme, arrays, warn, dict(counts), classes)


@lru_cache(maxsize=64)
def check_schema(schema: pa.Schema) -> None:
    """Refuse a table that lacks columns or has them of another kind; see `encode`."""
    faults = [f"required column {c!r} is missing" for c in REQUIRED if c not in schema.names]
    for name in sorted({x for x in schema.names if schema.names.count(x) > 1}):
        faults.append(f"column {name!r} stands twice")
    kinds: list[tuple[tuple[str, ...], Callable[[pa.DataType], bool], str]] = [
        (("diagnoses", "procedures"), _is_code_list, "a list of strings"),
        (("case_id", *TEXTS), _is_text, "strings"),
        ((*NUMBERS, "birth_weight", "admission_weight", "principals"), _is_number, "whole numbers"),
        (("admission_date", "discharge_date"), _is_date, "dates"),
    ]
    for names, fits, wanted in kinds:
        for name in names:
            if name in schema.names and not fits(kind := schema.field(name).type):
                faults.append(f"column {name!r} is {kind}, not {wanted}")
    if faults:
        given = ", ".join(schema.names)
        raise CaseSchemaError([*faults, f"the table has the columns: {given}"])


def _is_text(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind)
    )


def _is_code_list(kind: pa.DataType) -> bool:
    lists = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    return bool(pa.types.is_null(kind)) or (lists and _is_text(kind.value_type))


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind))


def _is_date(kind: pa.DataType) -> bool:
    return bool(pa.types.is_date(kind) or pa.types.is_timestamp(kind) or pa.types.is_null(kind))


# ------------------------------------------------------------------------------------------ facts


def _facts(cases: pa.Table, scheme: Scheme) -> I32:
    facts = np.full((len(cases), len(Fact)), MISSING, np.int32)
    weight = f"{scheme.settings.newborn_weight}_weight"
    for name, fact in {**NUMBERS, weight: Fact.WEIGHT}.items():
        if name in cases.schema.names:
            facts[:, fact] = numbers(cases[name])
    for name, fact in TEXTS.items():
        if name in cases.schema.names and scheme.literals:
            literals = pa.array(list(scheme.literals), pa.string())
            index = pc.index_in(cases[name].cast(pa.string()), literals)
            facts[:, fact] = pc.fill_null(index, MISSING).to_numpy()
    facts[facts[:, Fact.AGE] != 0, Fact.AGE_DAYS] = MISSING
    return facts


def numbers(column: pa.ChunkedArray) -> I32:
    """Return whole numbers as int32; null, NaN, fractions and numbers beyond int32 are MISSING."""
    if pa.types.is_null(column.type):
        return np.full(len(column), MISSING, np.int32)
    raw = (pc.fill_null(column, 0) if column.null_count else column).to_numpy()
    fits = (raw > MISSING) & (raw < 2**31)
    if pa.types.is_floating(column.type):
        fits &= raw == np.floor(raw)
    if column.null_count:
        fits &= pc.is_valid(column).to_numpy()
    if fits.all():
        return np.asarray(raw.astype(np.int32))
    found = np.full(len(column), MISSING, np.int32)
    found[fits] = raw[fits]
    return found


def _reject(cases: pa.Table, facts: I32, twice: NDArray[np.bool_] | None) -> U8:
    """Return the first reason that refuses each row, but for those that the codes decide."""
    reject = np.zeros(len(cases), np.uint8)

    def mark(where: NDArray[np.bool_], reason: Reason) -> None:
        reject[where & (reject == 0)] = reason

    sex, age = facts[:, Fact.SEX], facts[:, Fact.AGE]
    ids = text_array(cases["case_id"])
    blank = pc.equal(pc.fill_null(ids, ""), "").to_numpy(zero_copy_only=False)
    mark((repeated(ids) if twice is None else twice) & ~blank, Reason.DUPLICATE_CASE_ID)
    mark(blank, Reason.INPUT_UNREADABLE)
    if FAULT in cases.schema.names:
        mark(pc.is_valid(cases[FAULT]).to_numpy(), Reason.INPUT_UNREADABLE)
    if "principals" in cases.schema.names:
        mark(numbers(cases["principals"]) > 1, Reason.TWO_PRINCIPAL_DIAGNOSES)
    mark((sex != 0) & (sex != 1) & (sex != 2) & (sex != 9), Reason.SEX_UNREADABLE)
    mark((age < 0) | (age > OLDEST), Reason.AGE_UNREADABLE)
    mark((age == 0) & (facts[:, Fact.AGE_DAYS] < 0), Reason.AGE_DAYS_MISSING)
    if {"admission_date", "discharge_date"} <= set(cases.schema.names):
        admitted, left = (_days(cases[c]) for c in ("admission_date", "discharge_date"))
        known = (admitted != MISSING) & (left != MISSING)
        mark(known & (left < admitted), Reason.DISCHARGE_BEFORE_ADMISSION)
    facts[(sex == 0) | (sex == 9), Fact.SEX] = MISSING
    return reject


def _days(column: pa.ChunkedArray) -> I32:
    if pa.types.is_null(column.type):
        return np.full(len(column), MISSING, np.int32)
    days = column.cast(pa.date32(), safe=False).cast(pa.int32())
    return np.asarray(pc.fill_null(days, MISSING).to_numpy(), np.int32)


# ------------------------------------------------------------------------------------------ codes


@dataclass(frozen=True)
class _Reader:
    """What reads the codes of one column: its vocabulary, and where it counts what it met."""

    vocabulary: Vocabulary | OpenVocabulary
    name: str
    listed: CodeList | None
    counts: Counter[str]
    threads: int | None

    def count(self, what: str, n: int) -> None:
        self.counts[f"{self.name}: {what}"] += n


@dataclass(frozen=True)
class _Piece:
    """The strings of one chunk of a list column and where their ids go."""

    values: Array
    at: int  # first id of this piece
    n: int


def _encode_lists(column: pa.ChunkedArray, reader: _Reader) -> tuple[I32, I32]:
    """Return CSR offsets [n + 1] and ids of a column of code lists."""
    lengths, pieces, total = [np.zeros(1, np.int64)], [], 0
    for chunk in column.chunks:
        ends, values = _list_parts(chunk)
        lengths.append(ends + total)
        pieces.append(_Piece(values, total, len(values)))
        total += len(values)
    if total >= 2**31:
        message = f"column {reader.name!r} holds 2^31 codes or more; group it in batches"
        raise CaseSchemaError([message])
    offsets = np.concatenate(lengths).astype(np.int32)
    ids = np.empty(total, np.int32)
    for piece in pieces:
        _encode_values(piece.values, reader, ids[piece.at : piece.at + piece.n])
    reader.count("unknown", int((ids == UNKNOWN_CODE).sum()))
    return offsets, ids


def _list_parts(chunk: Array) -> tuple[NDArray[np.int64], Array]:
    """Return (end of each list, flat values) of one chunk; a null list is empty."""
    if pa.types.is_null(chunk.type):
        return np.zeros(len(chunk), np.int64), pa.array([], pa.string())
    if chunk.null_count == 0:
        offsets = chunk.offsets.to_numpy()
        values = chunk.values.slice(offsets[0], offsets[-1] - offsets[0])
        return (offsets[1:] - offsets[0]).astype(np.int64), values
    lengths = pc.fill_null(pc.list_value_length(chunk), 0).to_numpy()
    return np.cumsum(lengths, dtype=np.int64), chunk.flatten()


def _encode_values(values: Array, reader: _Reader, out: I32) -> None:
    if pa.types.is_dictionary(values.type):
        distinct = text_array(values.dictionary)
        ids = np.empty(len(distinct), np.int32)
        used = np.bincount(pc.drop_null(values.indices).to_numpy(), minlength=len(distinct))
        _encode_strings(distinct, reader, ids, used)
        indices = np.ascontiguousarray(pc.fill_null(values.indices.cast(pa.int32()), -1))
        _chunks.run(
            lambda a, b: kernels.gather(_writable(indices), ids, out, a, b),
            len(out),
            reader.threads,
        )
        return
    _encode_strings(text_array(values), reader, out, None)


def _encode_strings(
    values: Array, reader: _Reader, out: I32, used: NDArray[np.int64] | None
) -> None:
    """Hash strings to ids; `used` = how often each occurs, None = once."""
    offsets, data, words, _, blank = _strings(values)
    vocabulary = reader.vocabulary
    table, mask = vocabulary.table, vocabulary.mask
    found = _chunks.run(
        lambda a, b: kernels.encode_strings(offsets, data, words, table, mask, out, a, b),
        len(out),
        reader.threads,
    )
    missed, mapped = (sum(of) for of in zip(*found, strict=True)) if found else (0, 0)
    out[blank] = BLANK_CODE
    if mapped:
        _count_mapped(values, reader, mapped, used)
    if missed:
        where = np.flatnonzero(out == UNKNOWN_CODE)
        times = used[where] if used is not None else np.ones(len(where), np.int64)
        out[where] = _resolve(values.take(pa.array(where)), reader, times)


def _count_mapped(
    values: Array, reader: _Reader, mapped: int, used: NDArray[np.int64] | None
) -> None:
    """Count the codes replaced by the clinical map, and those that have a meaning of their own."""
    keys = reader.vocabulary.mapped
    if used is not None:
        mapped = sum(int(used[k]) for k, text in enumerate(values.to_pylist()) if text in keys)
    reader.count("mapped", mapped)
    twofold = ambiguous_codes(reader.listed, reader.name) if reader.listed else []
    is_twofold = pc.is_in(values, value_set=pa.array(twofold, values.type))
    times = is_twofold.to_numpy(zero_copy_only=False)
    reader.count("mapped, ambiguous", int((times if used is None else used[times]).sum()))


@lru_cache(maxsize=8)
def ambiguous_codes(listed: CodeList, name: str) -> list[str]:
    """Name the clinical codes that are mapped and are also insurer's codes of another meaning."""
    if name == "diagnoses":
        return sorted(listed.diagnosis_map.keys() & listed.diagnoses.keys())
    return sorted(listed.procedure_map.keys() & listed.procedures.keys())


def _resolve(values: Array, reader: _Reader, times: NDArray[np.int64]) -> I32:
    """Return the ids of strings that the table does not hold, each distinct text resolved once."""
    texts = values.dictionary_encode()
    distinct, index = texts.dictionary.to_pylist(), texts.indices.to_numpy()
    resolved = [reader.vocabulary.resolve(text) for text in distinct]
    ids, by_map, normalised = (np.array(c) for c in zip(*resolved, strict=True))
    ids = np.where([not t.strip() for t in distinct], BLANK_CODE, ids).astype(np.int32)
    reader.count("mapped", int(times[by_map[index]].sum()))
    reader.count("normalised", int(times[normalised[index]].sum()))
    if reader.listed is not None and not reader.vocabulary.mapped and UNKNOWN_CODE in ids:
        of = reader.listed
        keys = of.diagnosis_map if reader.name == "diagnoses" else of.procedure_map
        foreign = np.array(
            [i == UNKNOWN_CODE and t in keys for i, t in zip(ids, distinct, strict=True)]
        )
        reader.count("unknown, but of the clinical edition", int(times[foreign[index]].sum()))
    return np.asarray(ids[index], np.int32)


def _strings(values: Array) -> tuple[I32, U8, U64, Array, NDArray[np.bool_]]:
    """View a string array as (offsets, bytes, the same bytes as words, owner, which are null)."""
    blank = np.zeros(len(values), np.bool_)
    if values.null_count:
        blank = values.is_null().to_numpy(zero_copy_only=False)
        values = pc.fill_null(values, "")  # what lies under a null is no text
    _, offset_buffer, data_buffer = values.buffers()
    n = len(values)
    if n == 0 or offset_buffer is None:
        offsets = np.zeros(n + 1, np.int32)
    else:
        offsets = _view(offset_buffer, np.int32, n + 1, values.offset)
    size = data_buffer.size if data_buffer is not None else 0
    if size == 0 or data_buffer.address % 8:
        held = np.zeros(-(-size // 8), np.uint64)
        data = held.view(np.uint8)[:size] if size else np.zeros(0, np.uint8)
        if size:
            data[:] = np.frombuffer(data_buffer, np.uint8)
        words = held[: size // 8]
    else:
        data = _view(data_buffer, np.uint8, size, 0)
        words = _view(data_buffer, np.uint64, size // 8, 0)
    return offsets, data, words, values, blank


@dataclass(frozen=True)
class _Memory:
    """A stretch of an Arrow buffer for NumPy; marked writable so that kernels have one signature."""

    owner: Any
    __array_interface__: Mapping[str, Any]


def _view(buffer: Any, kind: type[np.generic], n: int, offset: int) -> NDArray[Any]:
    """View `n` entries of a buffer without a copy. Kernels never write to it."""
    item = np.dtype(kind)
    interface = {
        "data": (buffer.address + offset * item.itemsize, False),
        "shape": (n,),
        "typestr": item.str,
        "version": 3,
    }
    return np.asarray(_Memory(buffer, interface)) if n else np.zeros(0, kind)


def _writable(array: NDArray[Any]) -> NDArray[Any]:
    """Return the array, or a copy if it is read-only: a read-only one compiles another kernel."""
    return array if array.flags.writeable and array.flags.c_contiguous else array.copy()


def repeated(ids: Array) -> NDArray[np.bool_]:
    """Tell which strings of an array occur more than once."""
    offsets, data, words, _, _ = _strings(ids)
    n = len(offsets) - 1
    slots = np.zeros(1 << max(1, (2 * n - 1).bit_length()), np.uint64)
    found = np.zeros(n, np.uint8)
    kernels.mark_repeats(offsets, data, words, slots, found)
    return found.astype(np.bool_)


def _grey_procedures(
    scheme: DrgScheme, off: I32, ids: I32, warn: NDArray[np.uint32]
) -> tuple[I32, I32]:
    """Apply the scheme's option for grey procedures: keep, blank, or drop and promote the next."""
    option = scheme.settings.grey_procedure
    if option == "keep":
        return off, ids
    grey = scheme.arrays.is_grey[np.maximum(ids, -1) + 1] != 0
    warn[np.repeat(np.arange(len(off) - 1), np.diff(off))[grey]] |= np.uint32(Warn.GREY_PROCEDURE)
    if option == "blank":
        return off, np.where(grey, np.int32(GREY_CODE), ids)
    return _drop(off, ids, scheme.arrays.is_grey)


def _drop(off: I32, ids: I32, drop: U8) -> tuple[I32, I32]:
    new_off, new_ids = np.empty_like(off), np.empty_like(ids)
    n = kernels.drop_blanks(off, ids, new_off, new_ids, drop)
    return new_off, new_ids[:n].copy()
