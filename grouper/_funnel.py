"""Exact limits of a funnel plot (漏斗图): how far a rate of n cases may lie from the whole's by chance.

The binomial distribution itself is added up, not its normal form. Its terms are floats: a limit is a
count, and no money depends on it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

WARNING, ALARM = 0.05, 0.002
"""Outside by chance, both sides together: 95 % and 99.8 % limits."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Counts from low to high, both included, are within the limits."""

    low: int
    high: int


def limits(n: int, rate: float, outside: float) -> Limits:
    """Return the counts of n cases that are not in a tail of at most `outside` / 2 on either side.

    Parameters
    ----------
    n : cases, 0 or more. rate : of the whole, 0 … 1. outside : the chance of both tails together.
    """
    if n == 0 or rate <= 0:
        return Limits(0, 0)
    if rate >= 1:
        return Limits(n, n)
    reach = 12 * math.sqrt(n * rate * (1 - rate)) + 40  # what lies beyond is below 10^-20
    start, stop = max(0, math.floor(n * rate - reach)), min(n, math.ceil(n * rate + reach))
    logs = [
        math.lgamma(n + 1)
        - math.lgamma(k + 1)
        - math.lgamma(n - k + 1)
        + k * math.log(rate)
        + (n - k) * math.log1p(-rate)
        for k in range(start, stop + 1)
    ]
    chance = np.exp(np.array(logs))
    below, above = np.cumsum(chance), np.cumsum(chance[::-1])
    low = start + int(np.searchsorted(below, outside / 2, side="right"))
    high = stop - int(np.searchsorted(above, outside / 2, side="right"))
    return Limits(low, high)


def place(count: int, n: int, rate: float) -> str:
    """Say where a count lies: "" within the 95 % limits, else low, high, very low, very high."""
    for outside, word in ((ALARM, "very "), (WARNING, "")):
        held = limits(n, rate, outside)
        if count < held.low:
            return f"{word}low"
        if count > held.high:
            return f"{word}high"
    return ""
