"""Counting and adding for calibration, in integers: keys of cases, sums of costs, trimming bounds.

A sum of costs is kept as two limbs (value = hi·2^20 + lo), a sum of squares as three (2^44, 2^22, 1),
so that ten million costs below 10^12 fen add up exactly.
"""

from __future__ import annotations

import numpy as np

from grouper.kernels._jit import kernel
from grouper.kernels.dip import (
    case_treatment,
    conditions_of,
    dx_meets,
    facts_hold,
    main_procedure,
    other_meets,
)
from grouper.tables._types import (
    I8,
    I32,
    I64,
    MISSING,
    REPEATED_CODE,
    U8,
    CodeFlag,
    DipArrays,
    DipCases,
    DipOption,
    Fact,
)
from grouper.tables._vocabulary import hash_words

mix = kernel(inline=True)(hash_words)

LIMB, HALF = 20, 22
LOW, LOW_HALF = (1 << LIMB) - 1, (1 << HALF) - 1
EXCLUDED, MODE = int(CodeFlag.EXCLUDED), int(Fact.DISCHARGE_MODE)
HAS_CONDITIONS = int(DipOption.HAS_CONDITIONS)
YEARS = 4
"""Costs are sorted with the number of their year in the two lowest bits."""


@kernel()
def describe_cases(
    c: DipCases, s: DipArrays, main: I32, treatment: I8, excluded: U8, start: int, stop: int
) -> None:
    """Write main procedure (place in its list, -1 = none), treatment and exclusion of valid cases."""
    for i in range(start, stop):
        main[i], treatment[i], excluded[i] = -1, 0, 0
        begin = c.dx_off[i]
        if begin == c.dx_off[i + 1] or c.dx[begin] < 0:
            continue
        place = main_procedure(i, c, s)
        treatment[i] = case_treatment(i, place, c, s)
        main[i] = place - c.px_off[i] if place >= 0 else -1
        if s.dx_flags[c.dx_class[c.dx[begin] + 1]] & EXCLUDED:
            excluded[i] = 1


@kernel()
def subtypes_of(c: DipCases, s: DipArrays, bits: I64, start: int, stop: int) -> None:
    """Write which auxiliary types hold for each case, as bits."""
    for i in range(start, stop):
        bits[i] = 0
        begin = c.dx_off[i]
        if begin == c.dx_off[i + 1] or c.dx[begin] < 0:
            continue
        conditions = 0
        if s.options[HAS_CONDITIONS]:
            conditions = conditions_of(i, main_procedure(i, c, s), c, s)
        for t in range(len(s.aux_requires)):
            held = facts_hold(i, s.aux_test_off[t], s.aux_test_off[t + 1], s.aux_tests, c)
            if held and s.aux_modes[t] != 0:
                mode = c.facts[i, MODE]
                held = mode != MISSING and (s.aux_modes[t] >> np.int64(mode)) & 1 != 0
            if held and s.aux_dx[t, 0] >= 0:
                held = dx_meets(c.dx[begin], s.aux_dx[t, 0], c, s)
            if held and s.aux_dx[t, 1] >= 0:
                held = other_meets(i, s.aux_dx[t, 1], c, s)
            if held and s.aux_requires[t] & conditions == s.aux_requires[t]:
                bits[i] |= 1 << np.int64(t)


@kernel()
def related_lists(px_off: I64, px: I32, main: I32, related: I32, count: I32) -> None:
    """Write the other procedures of each case, sorted by id, where its list begins.

    A case without a main procedure has none; `count` says how many.
    """
    for i in range(len(count)):
        n = 0
        begin = px_off[i]
        if main[i] >= 0:
            for k in range(begin, px_off[i + 1]):
                code = px[k]
                if code == REPEATED_CODE or k == begin + main[i]:
                    continue
                at = begin + n
                while at > begin and related[at - 1] > code:
                    related[at] = related[at - 1]
                    at -= 1
                related[at] = code
                n += 1
        count[i] = n


@kernel()
def intern_lists(
    pair: I32, off: I64, items: I32, count: I32, slots: I32, found: I32, first: I32
) -> int:
    """Give each distinct (pair, list of items) a number; return how many there are.

    Parameters
    ----------
    pair : [n] -1 = leave the case out. slots : 2^k ≥ 2n of -1. found : [n] out, number or -1.
    first : [n] out, a case of each number.
    """
    last, n = len(slots) - 1, 0
    for i in range(len(pair)):
        found[i] = -1
        if pair[i] < 0:
            continue
        h = mix(np.uint64(pair[i]), np.uint64(count[i]))
        for k in range(off[i], off[i] + count[i]):
            h = mix(h, np.uint64(items[k] + 8))
        slot = np.int64(h & np.uint64(0x7FFFFFFF)) & last
        while slots[slot] >= 0 and not _same(i, first[slots[slot]], pair, off, items, count):
            slot = (slot + 1) & last
        if slots[slot] < 0:
            slots[slot] = n
            first[n] = i
            n += 1
        found[i] = slots[slot]
    return n


@kernel(inline=True)
def _same(i: int, j: int, pair: I32, off: I64, items: I32, count: I32) -> bool:
    if pair[i] != pair[j] or count[i] != count[j]:
        return False
    for k in range(count[i]):
        if items[off[i] + k] != items[off[j] + k]:
            return False
    return True


@kernel()
def add_costs(index: I32, cost: I64, n: I64, hi: I64, lo: I64) -> None:
    """Count the cases of each index and add their costs in two limbs; index -1 is left out."""
    for i in range(len(index)):
        k = index[i]
        if k >= 0:
            n[k] += 1
            hi[k] += cost[i] >> LIMB
            lo[k] += cost[i] & LOW


@kernel()
def percentile_bounds(
    off: I64, packed: I64, low: int, high: int, spread: int, scale: int, per: int, out: I64
) -> None:
    """Write the least and greatest cost that each group keeps, both included.

    Costs of a group stand sorted in packed[off[g]:off[g + 1]] (cost·4 + year). P(low) and P(high)
    are percentiles in parts of `per`, by linear interpolation; both ends move outwards by
    spread / scale times their distance.
    """
    for g in range(len(out)):
        n = off[g + 1] - off[g]
        if n == 0:
            continue
        ends = (low, high)
        p_low, p_high = 0, 0
        for e in range(2):
            h = (n - 1) * ends[e]
            at = off[g] + h // per
            x = packed[at] >> 2
            value = x * per
            if h % per > 0:
                value += (h % per) * ((packed[at + 1] >> 2) - x)
            if e == 0:
                p_low = value
            else:
                p_high = value
        move = spread * (p_high - p_low)
        whole = per * scale
        out[g, 0] = -((move - p_low * scale) // whole)
        out[g, 1] = (p_high * scale + move) // whole


@kernel()
def add_groups(off: I64, packed: I64, bounds: I64, years: I64, squares: I64) -> None:
    """Add up the costs within bounds of each group.

    Parameters
    ----------
    years : [groups, YEARS, 3] out: n, hi, lo. squares : [groups, 3] out.
    """
    for g in range(len(bounds)):
        for k in range(off[g], off[g + 1]):
            x = packed[k] >> 2
            if bounds[g, 0] <= x <= bounds[g, 1]:
                year = packed[k] & 3
                years[g, year, 0] += 1
                years[g, year, 1] += x >> LIMB
                years[g, year, 2] += x & LOW
                a, b = x >> HALF, x & LOW_HALF
                squares[g, 2] += b * b
                squares[g, 1] += 2 * a * b + (squares[g, 2] >> HALF)
                squares[g, 2] &= LOW_HALF
                squares[g, 0] += a * a + (squares[g, 1] >> HALF)
                squares[g, 1] &= LOW_HALF
