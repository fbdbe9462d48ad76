"""Distinct combinations of small indices, and exact sums: what NumPy does not do fast or safely."""

from __future__ import annotations

from typing import Any

import numpy as np

from grouper.tables._types import I32, I64

HALF = 32


def distinct(*parts: tuple[Any, int]) -> tuple[I32, I64]:
    """Give numbers to the distinct combinations of indices: each row's, and the first row of each.

    Parameters
    ----------
    parts : (index [n] of whole numbers 0 … size-1, size). The numbers follow the order of the indices.
    """
    n = len(parts[0][0])
    mixed, bound = np.zeros(n, np.int64), 1
    for index, size in parts:
        if bound * size >= 2**62:  # fold what there is, so that the number stays in 64 bits
            folded, _ = _numbered(mixed, bound)
            mixed, bound = folded.astype(np.int64), n + 1
        mixed = mixed * size + index
        bound *= size
    return _numbered(mixed, bound)


def _numbered(mixed: I64, bound: int) -> tuple[I32, I64]:
    n = len(mixed)
    if bound > 4 * n + 2**20:
        _, first, inverse = np.unique(mixed, return_index=True, return_inverse=True)
        return inverse.astype(np.int32), first.astype(np.int64)
    row = np.full(bound, n, np.int64)
    row[mixed[::-1]] = np.arange(n - 1, -1, -1)  # the last to write is the first row
    there = row < n
    number = (np.cumsum(there) - 1).astype(np.int32)
    return number[mixed], row[there]


def exact_sum(values: I64) -> int:
    """Add int64 numbers beyond 64 bits."""
    high, low = values >> HALF, values & (2**HALF - 1)
    return (int(high.sum()) << HALF) + int(low.sum())
