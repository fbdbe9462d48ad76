"""The content hash of a table (内容哈希): its values, however Arrow happens to hold them."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from grouper.errors import CaseSchemaError


def content_hash(table: pa.Table, key: str = "case_id") -> str:
    """Hash the values of a table (内容哈希), the same however Arrow happens to hold them.

    Parameters
    ----------
    table : columns of text, numbers, decimals, flags, dates, times, and lists of them.
    key : rows are sorted by its UTF-8 bytes, nulls last; ties by the other columns.

    Returns
    -------
    SHA-256 in hexadecimal, over the names, kinds and values of the columns in their order.

    Raises
    ------
    CaseSchemaError : there is no column `key`, or a column is of another type.

    Notes
    -----
    Whole numbers of any width are one kind, so are floats, strings and dates. For each column: its
    name and kind; a byte for each row, 1 = not null; then the values that are not null, integers as
    little-endian 64 bits, decimals as 256, strings as their lengths and then their bytes, lists as
    their lengths and then their items in the same way.
    """
    if table.column_names.count(key) != 1:
        raise CaseSchemaError([f"column {key!r} is the key of the hash and is not there once"])
    columns = [_canonical(table.column(k), name) for k, name in enumerate(table.column_names)]
    order = _order(columns, table.column_names.index(key))
    digest = hashlib.sha256()
    for name, column in zip(table.column_names, columns, strict=True):
        digest.update(f"{name}\0{_kind(column.type)}\0{len(column)}\0".encode())
        _feed(digest, column if order is None else column.take(pa.array(order)))
    return digest.hexdigest()


def _canonical(column: Any, name: str) -> Any:
    """Return one array of the type that stands for the column's kind."""
    wanted = _canonical_type(column.type)
    if wanted is None:
        raise CaseSchemaError([f"column {name!r} is {column.type}, which has no content hash"])
    chunks = [c if c.type == wanted else _cast(c, wanted) for c in column.chunks]
    return pa.concat_arrays(chunks) if chunks else pa.array([], wanted)


def _canonical_type(kind: pa.DataType) -> pa.DataType | None:
    """Return the one type of a kind: null = the kind has none."""
    t = pa.types
    if t.is_dictionary(kind):
        return _canonical_type(kind.value_type)
    if t.is_list(kind) or t.is_large_list(kind):
        inner = _canonical_type(kind.value_type)
        return None if inner is None else pa.large_list(inner)
    if t.is_integer(kind):
        return pa.uint64() if kind == pa.uint64() else pa.int64()
    if t.is_decimal(kind):
        return pa.decimal256(76, kind.scale)
    choices = (
        (t.is_string(kind) or t.is_large_string(kind) or t.is_string_view(kind), pa.large_string()),
        (t.is_binary(kind) or t.is_large_binary(kind), pa.large_binary()),
        (t.is_floating(kind), pa.float64()),
        (t.is_date(kind), pa.date32()),
        (t.is_timestamp(kind) or t.is_boolean(kind) or t.is_null(kind), kind),
    )
    return next((wanted for fits, wanted in choices if fits), None)


def _cast(chunk: Any, wanted: pa.DataType) -> Any:
    if pa.types.is_dictionary(chunk.type):
        chunk = chunk.dictionary_decode()
    if pa.types.is_large_list(wanted):
        inner = chunk.flatten()
        inner = inner if inner.type == wanted.value_type else _cast(inner, wanted.value_type)
        lengths = pc.fill_null(pc.list_value_length(chunk), 0).to_numpy()
        ends = np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))
        mask = chunk.is_null() if chunk.null_count else None
        return pa.LargeListArray.from_arrays(pa.array(ends), inner, mask=mask)
    return chunk if chunk.type == wanted else chunk.cast(wanted)


def _kind(kind: pa.DataType) -> str:
    return f"list of {_kind(kind.value_type)}" if pa.types.is_large_list(kind) else str(kind)


def _feed(digest: Any, array: Any) -> None:
    """Hash which entries are there, then the entries that are."""
    digest.update(array.is_valid().to_numpy(zero_copy_only=False).astype(np.uint8))
    array = array.drop_null()
    kind = array.type
    if pa.types.is_large_list(kind):
        digest.update(_words(pc.list_value_length(array)))
        _feed(digest, array.flatten())
    elif kind in (pa.large_string(), pa.large_binary()):
        digest.update(_words(pc.binary_length(array)))
        _, offsets, data = array.buffers()
        if len(array) and data is not None:
            ends = np.frombuffer(offsets, np.int64)[[array.offset, array.offset + len(array)]]
            digest.update(data.slice(ends[0], ends[1] - ends[0]))
    elif pa.types.is_decimal(kind):
        if len(array):
            digest.update(array.buffers()[1].slice(array.offset * 32, len(array) * 32))
    elif not pa.types.is_null(kind):
        digest.update(_words(array))


def _words(array: Any) -> NDArray[np.int64]:
    """Return an array without nulls as 64-bit integers; floats by their bits, one NaN, one zero."""
    if pa.types.is_floating(array.type):
        values = array.to_numpy() + 0.0  # -0.0 becomes 0.0
        words = np.where(np.isnan(values), np.nan, values).view(np.int64)
    elif array.type == pa.uint64():
        words = array.to_numpy().view(np.int64)
    else:
        days = array.cast(pa.int32()) if pa.types.is_date(array.type) else array
        words = days.cast(pa.int64()).to_numpy()
    return np.ascontiguousarray(words, np.dtype("<i8"))


def _order(columns: list[Any], key: int) -> NDArray[np.int64] | None:
    """Return the order of the rows; None = they stand in it."""
    texts = columns[key]
    if pa.types.is_large_list(texts.type):
        raise CaseSchemaError(["the key of the hash is a column of lists"])
    rank = _rank(texts if texts.type == pa.large_string() else texts.cast(pa.large_string()))
    if (rank[1:] > rank[:-1]).all():
        return None
    order = np.argsort(rank, kind="stable")
    tied = np.bincount(rank)[rank] > 1
    rows = np.flatnonzero(tied)
    if len(rows):
        others = [_rank(c.take(pa.array(rows))) for k, c in enumerate(columns) if k != key]
        placed = rows[np.lexsort([*others[::-1], rank[rows]])]
        order[tied[order]] = placed
    return order


def _rank(array: Any) -> NDArray[np.int64]:
    """Return the place of each entry among the distinct ones, in an order of values; nulls last."""
    kind = array.type
    if pa.types.is_null(kind):
        return np.zeros(len(array), np.int64)
    if pa.types.is_large_list(kind):
        array = pa.array([None if x is None else repr(x) for x in array.to_pylist()], pa.string())
    elif pa.types.is_floating(kind):
        there = array.is_valid().to_numpy(zero_copy_only=False)
        bits = _words(pc.fill_null(array, 0.0))
        array = pa.array(bits, mask=~there)
    elif pa.types.is_boolean(kind):
        array = array.cast(pa.int8())
    return np.asarray(pc.rank(array, tiebreaker="dense").to_numpy(), np.int64)
