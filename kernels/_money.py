"""Exact money: products beyond 64 bits, named rounding, largest remainder. Integers only."""

from __future__ import annotations

import numpy as np

from grouper.kernels._jit import kernel
from grouper.tables._types import I64

SAFE = 2**62


@kernel(inline=True)
def mul_div(a: int, b: int, d: int) -> tuple[int, int]:
    """Return (a·b // d, a·b mod d) exactly; 0 ≤ a, b < 2^63, 0 < d < 2^61, quotient < 2^63.

    Long multiplication in base 2 where the product passes 64 bits: doubling keeps the remainder
    below 3d < 2^63.
    """
    q = (a // d) * b
    a = a % d
    q += (b // d) * a
    b = b % d
    if a > b:
        a, b = b, a
    if a == 0 or b <= SAFE // a:
        return q + (a * b) // d, (a * b) % d
    part, r, bit = 0, 0, 1
    while bit <= a >> 1:
        bit <<= 1
    while bit > 0:
        r += r
        part += part
        if a & bit:
            r += b
        while r >= d:
            r -= d
            part += 1
        bit >>= 1
    return q + part, r


@kernel(inline=True)
def half_up(a: int, b: int, d: int) -> int:
    """Return a·b / d rounded half up (四舍五入); a, b ≥ 0, d > 0, see `mul_div`."""
    q, r = mul_div(a, b, d)
    return q + (1 if r >= d - r else 0)


@kernel()
def scale(x: I64, num: I64, den: I64, out: I64) -> None:
    """Write x·num/den rounded half up, away from zero for negative x; den = 0 gives 0."""
    for i in range(len(x)):
        if den[i] == 0:
            out[i] = 0
        elif x[i] >= 0:
            out[i] = half_up(x[i], num[i], den[i])
        else:
            out[i] = -half_up(-x[i], num[i], den[i])


@kernel(allocates=True)
def apportion(share: int, claims: I64, out: I64) -> None:
    """Split `share` ≥ 0 in proportion to `claims` ≥ 0, to the unit, by largest remainder (最大余额法).

    Ties go to the earlier row. All claims zero: nothing is given out.
    """
    total = 0
    for c in claims:
        total += c
    if total == 0:
        out[:] = 0
        return
    rest = np.empty(len(claims), np.int64)
    left = share
    for i in range(len(claims)):
        out[i], r = mul_div(claims[i], share, total)
        rest[i] = -r
        left -= out[i]
    order = np.argsort(rest, kind="mergesort")  # stable: the earlier row first
    for k in range(left):
        out[order[k]] += 1


@kernel(allocates=True)
def apportion_within(shares: I64, starts: I64, order: I64, claims: I64, out: I64) -> None:
    """Apportion shares[h] over the rows order[starts[h]:starts[h + 1]] for every part h."""
    for h in range(len(shares)):
        rows = order[starts[h] : starts[h + 1]]
        given = np.empty(len(rows), np.int64)
        apportion(shares[h], claims[rows], given)
        for k in range(len(rows)):
            out[rows[k]] = given[k]


@kernel()
def split(x: I64, num: int, den: int, whole: I64, rest: I64) -> None:
    """Write x·num/den, x ≥ 0, as its whole part and the rest in parts of `den`, exactly."""
    for i in range(len(x)):
        whole[i], rest[i] = mul_div(x[i], num, den)
