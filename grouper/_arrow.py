"""Small bridges between NumPy and Arrow that results are built with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

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


def is_sound(array: Array) -> bool:
    """Tell if offsets ascend within their data and indices within their dictionary.

    Arrow takes them as they are given; what points elsewhere would be read from foreign memory. That
    bytes are UTF-8 is not asked: a kernel compares bytes.
    """
    kind, n = array.type, len(array)
    if n == 0:
        return True
    if pa.types.is_dictionary(kind):
        ends = pc.min_max(array.indices)
        low, high = ends["min"].as_py(), ends["max"].as_py()
        fits = low is None or (low >= 0 and high < len(array.dictionary))
        return fits and is_sound(array.dictionary)
    wide = pa.types.is_large_list(kind) or pa.types.is_large_string(kind)
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    if not is_list and not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        return True
    buffer = array.buffers()[1]
    width = np.int64 if wide else np.int32
    last = array.offset + n + 1
    if buffer is None or buffer.size < last * np.dtype(width).itemsize:
        return False
    offsets: Any = np.frombuffer(buffer, width, last)[array.offset :]
    data = array.buffers()[2] if not is_list else None
    size = len(array.values) if is_list else data.size if data is not None else 0
    ascends = bool(offsets[0] >= 0 and offsets[-1] <= size and (offsets[1:] >= offsets[:-1]).all())
    return ascends and (not is_list or is_sound(array.values))
