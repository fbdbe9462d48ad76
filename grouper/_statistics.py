"""Statistics of groups in exact integers: trimming, means by year, CV, intervals, rounding half up.

Costs are fen below 10^12. Square roots are rounded from integer square roots, so no float decides a
digit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from math import isqrt

import numpy as np

from grouper.kernels import calibrate as kernels
from grouper.tables._types import I32, I64

MOST_FEN = 10**12
CONFIDENCE = Fraction(196, 100)
"""Standard errors on either side of a mean: 95 %."""


@dataclass(frozen=True, slots=True)
class Statistics:
    """One group: `n` its cases, the rest of those kept after trimming; `by_year` n and sum in fen."""

    n: int
    kept: int
    total: int
    squares: int
    by_year: tuple[tuple[int, int], ...]

    def mean(self, weights: Sequence[int]) -> Fraction | None:
        """Return the mean of the yearly means by the weights of the years that have cases, fen."""
        found = [(w, Fraction(s, k)) for w, (k, s) in zip(weights, self.by_year, strict=True) if k]
        weight = sum(w for w, _ in found)
        return sum((w * m for w, m in found), Fraction(0)) / weight if weight else None

    @property
    def _spread(self) -> int:
        """n²·variance of the population."""
        return self.kept * self.squares - self.total**2

    @property
    def cv(self) -> Fraction | None:
        """Return the sample CV in units of 10^-4, rounded half up; None below two cases."""
        if self.kept < 2 or self.total == 0:
            return None
        squared = Fraction(self.kept * self._spread, (self.kept - 1) * self.total**2)
        return Fraction(root_half_up(squared * 10**8), 10**4)

    @property
    def cv_squared(self) -> Fraction | None:
        """Return the exact square of the sample CV."""
        if self.kept < 2 or self.total == 0:
            return None
        return Fraction(self.kept * self._spread, (self.kept - 1) * self.total**2)

    @property
    def interval(self) -> tuple[int, int] | None:
        """Return the ends of the 95 % interval of the mean, fen."""
        if self.kept < 2:
            return None
        n = self.kept
        half = root_half_up(CONFIDENCE**2 * Fraction(self._spread, n * n * (n - 1)))
        mean = half_up(Fraction(self.total, n))
        return mean - half, mean + half


def half_up(x: Fraction) -> int:
    """Round to a whole number, half away from zero (四舍五入)."""
    whole = (2 * abs(x.numerator) + x.denominator) // (2 * x.denominator)
    return whole if x >= 0 else -whole


def root_half_up(x: Fraction) -> int:
    """Round the square root of x ≥ 0 to a whole number, half up."""
    return (isqrt(4 * x.numerator // x.denominator) + 1) // 2


def text_of(x: Fraction | None, decimals: int) -> str:
    """Write a number with so many decimals, rounded half up; None is blank."""
    if x is None:
        return ""
    units = half_up(x * 10**decimals)
    text = str(abs(units)).rjust(decimals + 1, "0")
    sign = "-" if units < 0 else ""
    return f"{sign}{text[:-decimals]}.{text[-decimals:]}" if decimals else sign + text


def plain(x: Fraction) -> str:
    """Write a number with at most six decimals, none where there are none."""
    return text_of(x, 6).rstrip("0").rstrip(".")


@dataclass(frozen=True)
class Trim:
    """How outlying costs are cut off: see `docs/dip-calibration.md`."""

    kind: str  # percentile, iqr, mean_sd, none
    value: Decimal

    def bounds(self, off: I64, packed: I64) -> I64:
        """Return the least and greatest cost each group keeps, both included."""
        out = np.zeros((len(off) - 1, 2), np.int64)
        out[:, 1] = MOST_FEN
        if self.kind == "percentile":
            cut = int(self.value * 100)  # parts of 10,000
            kernels.percentile_bounds(off, packed, cut, 10_000 - cut, 0, 1, 10_000, out)
        elif self.kind == "iqr":
            spread = int(self.value * 1000)
            kernels.percentile_bounds(off, packed, 1, 3, spread, 1000, 4, out)
        elif self.kind == "mean_sd":
            whole = summed(off, packed, out)
            for g, s in enumerate(whole):
                if s.kept > 1:
                    out[g] = self._around(s)
        return out

    def _around(self, s: Statistics) -> tuple[int, int]:
        """Return the bounds of mean ± k·sd: |n·x - S| ≤ √(k²·n²·variance)."""
        n = s.kept
        k = Fraction(self.value)
        spread = k * k * Fraction(n * (n * s.squares - s.total**2), n - 1)
        reach = isqrt(spread.numerator // spread.denominator)
        return -((reach - s.total) // n), (s.total + reach) // n


def pack(group: I32, cost: I64, year: I32, groups: int) -> tuple[I64, I64]:
    """Sort costs by group: (offsets [groups + 1], cost·4 + year); group -1 is left out."""
    kept = group >= 0
    key = group[kept].astype(np.int64) << 42 | cost[kept] << 2 | year[kept]
    key.sort()
    counts = np.bincount(group[kept], minlength=groups)
    off = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)]).astype(np.int64)
    key &= (1 << 42) - 1
    return off, key


def summed(off: I64, packed: I64, bounds: I64) -> list[Statistics]:
    """Add up what each group keeps."""
    groups = len(bounds)
    years = np.zeros((groups, kernels.YEARS, 3), np.int64)
    squares = np.zeros((groups, 3), np.int64)
    kernels.add_groups(off, packed, bounds, years, squares)
    found = []
    sizes = np.diff(off).tolist()
    for n, of_year, (top, mid, low) in zip(sizes, years.tolist(), squares.tolist(), strict=True):
        by_year = tuple((k, (hi << kernels.LIMB) + lo) for k, hi, lo in of_year)
        square = (top << 2 * kernels.HALF) + (mid << kernels.HALF) + low
        total = sum(s for _, s in by_year)
        found.append(Statistics(n, sum(k for k, _ in by_year), total, square, by_year))
    return found


def merged(parts: Sequence[Statistics]) -> Statistics:
    """Put disjoint groups together."""
    years = zip(*(p.by_year for p in parts), strict=True)
    return Statistics(
        sum(p.n for p in parts),
        sum(p.kept for p in parts),
        sum(p.total for p in parts),
        sum(p.squares for p in parts),
        tuple((sum(k for k, _ in y), sum(s for _, s in y)) for y in years),
    )
