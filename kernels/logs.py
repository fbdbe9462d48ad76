"""Logarithms of costs in whole numbers (对数): log2 with 20 binary places, the same on every machine.

Squaring the mantissa gives one binary place after the other. It never falls as the cost grows, so sorted
costs have sorted logarithms.
"""

from __future__ import annotations

import numpy as np

from grouper.kernels._jit import kernel
from grouper.kernels.calibrate import LOW_HALF
from grouper.tables._types import I64

PLACES = 20
ONE = 1 << PLACES
_TOP = 31


@kernel(inline=True)
def log2_of(x: int) -> int:
    """Return log2(x)·2^20, cut off; x is 1 … 2^62."""
    whole = 0
    while x >> (whole + 1) > 0:
        whole += 1
    m = np.int64(x) << (_TOP - whole) if whole <= _TOP else np.int64(x) >> (whole - _TOP)
    part = 0
    for _ in range(PLACES):
        m = np.int64((np.uint64(m) * np.uint64(m)) >> np.uint64(_TOP))
        part <<= 1
        if m >> (_TOP + 1) > 0:
            m >>= 1
            part |= 1
    return (whole << PLACES) | part


@kernel()
def add_logs(off: I64, packed: I64, bounds: I64, years: I64, squares: I64) -> None:
    """Add up the logarithms of the costs within bounds of each group.

    Parameters
    ----------
    packed : costs of a group, sorted, as cost·4 + year. years : [groups, YEARS, 2] out: n, sum.
    squares : [groups, 2] out: the sum of squares as hi·2^22 + lo.
    """
    for g in range(len(bounds)):
        for k in range(off[g], off[g + 1]):
            x = packed[k] >> 2
            if bounds[g, 0] <= x <= bounds[g, 1]:
                y = log2_of(x)
                year = packed[k] & 3
                years[g, year, 0] += 1
                years[g, year, 1] += y
                squares[g, 1] += (y * y) & LOW_HALF
                squares[g, 0] += (y * y) >> 22


@kernel()
def costs_within(off: I64, packed: I64, logs: I64, out: I64) -> None:
    """Write the least and greatest cost of each group whose logarithm lies in logs[g], both included.

    A group where none does keeps nothing: its ends are 1 and 0.
    """
    for g in range(len(out)):
        out[g, 0], out[g, 1] = 1, 0
        for side in range(2):
            low, high = off[g], off[g + 1]  # the first place beyond lies in low … high
            while low < high:
                mid = (low + high) // 2
                y = log2_of(packed[mid] >> 2)
                if (y < logs[g, 0]) if side == 0 else (y <= logs[g, 1]):
                    low = mid + 1
                else:
                    high = mid
            if side == 0 and low < off[g + 1]:
                out[g, 0] = packed[low] >> 2
            if side == 1 and low > off[g]:
                out[g, 1] = packed[low - 1] >> 2


@kernel()
def medians(off: I64, packed: I64, bounds: I64, out: I64) -> None:
    """Write twice the median of the costs within bounds of each group, -1 where there is none."""
    for g in range(len(out)):
        first, n = off[g], 0
        for k in range(off[g], off[g + 1]):
            x = packed[k] >> 2
            if x < bounds[g, 0]:
                first = k + 1
            elif x <= bounds[g, 1]:
                n += 1
        out[g] = -1
        if n > 0:
            out[g] = (packed[first + (n - 1) // 2] >> 2) + (packed[first + n // 2] >> 2)
