"""Small bridges between NumPy and Arrow that results are built with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from grouper.errors import CaseSchemaError

Array: TypeAlias = Any  # a pyarrow array: pyarrow ships no types


def text_array(column: Array) -> Array:
    """Return strings as one plain `string` array."""
    if isinstance(column, pa.ChunkedArray):
        if column.num_chunks == 1:
            column = column.chunk(0)
        else:
            column = column.combine_chunks() if column.num_chunks else pa.array([], column.type)
    return column if column.type == pa.string() else column.cast(pa.string())


def labels(index: Any, names: Sequence[str], kind: pa.DataType | None = None) -> Array:
    """Return a dictionary column; equal names are one entry, a negative index is null."""
    distinct = list(dict.fromkeys(names))
    place = {name: k for k, name in enumerate(distinct)}
    fold = np.array([place[name] for name in names] or [0], np.int32)
    blank = index < 0
    indices = pa.array(
        fold[np.maximum(index, 0)], pa.int32(), mask=blank if blank.any() else None
    ).cast(kind or pa.int32())
    return pa.DictionaryArray.from_arrays(indices, pa.array(distinct, pa.string()))


def decimals(units: NDArray[np.int64], scale: int, blank: Any = None) -> Array:
    """Return whole units of 10^-scale as a decimal column, exactly; `blank` marks nulls."""
    wide = np.empty((len(units), 2), np.int64)
    wide[:, 0], wide[:, 1] = units, units >> 63
    filled = pa.Array.from_buffers(
        pa.decimal128(19, scale), len(units), [None, pa.py_buffer(np.ascontiguousarray(wide))]
    )
    if blank is None or not blank.any():
        return filled
    return pc.if_else(pa.array(~blank), filled, pa.scalar(None, filled.type))


def units_of(column: Array) -> NDArray[np.int64]:
    """Return a decimal column as whole units of its scale, null as 0: the inverse of `decimals`."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    if column.type.bit_width != 128:
        column = column.cast(pa.decimal128(38, column.type.scale))
    blank = ~column.is_valid().to_numpy(zero_copy_only=False)
    words = np.frombuffer(column.buffers()[1], np.int64)
    units = words[2 * column.offset : 2 * (column.offset + len(column)) : 2].copy()
    units[blank] = 0
    return units


def check_memory(columns: Iterable[tuple[str, Array]]) -> None:
    """Refuse columns whose offsets or indices lead out of their memory: kernels read it unchecked.

    Parameters
    ----------
    columns : names and chunked arrays.

    Raises
    ------
    CaseSchemaError : names the columns.
    """
    faults = []
    for name, column in columns:
        try:
            for chunk in column.chunks:
                _check_array(chunk)
        except (pa.ArrowException, ValueError) as e:
            faults.append(f"column {name!r} is no whole Arrow column: {str(e).splitlines()[0]}")
    if faults:
        raise CaseSchemaError(faults)


def _check_array(array: Array) -> None:
    """Check an array and what it holds; only offsets and indices are looked through."""
    kind, types = array.type, pa.types
    lists = types.is_list(kind) or types.is_large_list(kind)
    wide = types.is_large_list(kind) or types.is_large_string(kind) or types.is_large_binary(kind)
    array.validate()
    if types.is_dictionary(kind):
        ends = pc.min_max(array.indices)
        low, high = ends["min"].as_py(), ends["max"].as_py()
        if low is not None and not 0 <= low <= high < len(array.dictionary):
            raise ValueError(f"index {low if low < 0 else high} of {len(array.dictionary)} values")
        _check_array(array.dictionary)
    elif lists or wide or types.is_string(kind) or types.is_binary(kind):
        start, stop = _check_offsets(array, np.dtype(np.int64 if wide else np.int32))
        if lists:  # chunks may share values: each looks at its own
            _check_array(array.values.slice(start, stop - start))
    elif types.is_nested(kind):
        array.validate(full=True)


def _check_offsets(array: Array, kind: np.dtype[Any]) -> tuple[int, int]:
    """Refuse offsets that fall; return the first and the last, which are known to lie inside."""
    buffer = array.buffers()[1]
    if not len(array) or buffer is None:
        return 0, 0
    offsets = np.frombuffer(buffer, kind, len(array) + 1, array.offset * kind.itemsize)
    if (offsets[1:] < offsets[:-1]).any():
        raise ValueError("its offsets fall")
    return int(offsets[0]), int(offsets[-1])
