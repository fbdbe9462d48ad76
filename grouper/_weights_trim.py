"""What is cut off before weights are measured (裁剪), and means by logarithms, in whole numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from fractions import Fraction
from math import floor, isqrt

import numpy as np

from grouper._statistics import MOST_FEN, Statistics, Trim, summed
from grouper.kernels import calibrate as kernels
from grouper.kernels import logs
from grouper.tables._types import I64

EXACT = Context(prec=40)
"""Powers of two beyond binary places are rounded correctly at 40 digits, on every machine alike."""


@dataclass(frozen=True)
class WeightTrim(Trim):
    """As `Trim`, and by the logarithms of costs or by named edges (multiples of the group's mean)."""

    edges: tuple[Decimal, Decimal] = (Decimal(0), Decimal(1000))

    def bounds(self, off: I64, packed: I64) -> I64:
        """Return the least and greatest cost each group keeps, both included."""
        if self.kind not in ("mean_log_sd", "edges"):
            return super().bounds(off, packed)
        out = everything(len(off) - 1)
        if self.kind == "edges":
            low, high = (Fraction(e) for e in self.edges)
            for g, s in enumerate(summed(off, packed, out)):
                if s.kept:
                    mean = Fraction(s.total, s.kept)
                    out[g] = -floor(-mean * low), min(floor(mean * high), MOST_FEN)
            return out
        reach = np.zeros_like(out)
        for g, of_log in enumerate(log_sums(off, packed, out)):
            reach[g] = self._log_ends(of_log)
        logs.costs_within(off, packed, reach, out)
        return out

    def _log_ends(self, s: LogSums) -> tuple[int, int]:
        """Return mean ∓ k·sd of the logarithms, sd of the sample; one case is kept."""
        n, total = s.n, s.total
        if n < 2:
            return 0, 1 << 40
        k = Fraction(self.value)
        spread = k * k * Fraction(n * (n * s.squares - total * total), n - 1)
        reach = isqrt(spread.numerator // spread.denominator)
        return -((reach - total) // n), (total + reach) // n


def everything(groups: int) -> I64:
    """Return bounds that keep all costs."""
    out = np.zeros((groups, 2), np.int64)
    out[:, 1] = MOST_FEN
    return out


@dataclass(frozen=True, slots=True)
class LogSums:
    """Of one group: n and sum of log2(cost)·2^20 by year, and the sum of squares."""

    by_year: tuple[tuple[int, int], ...]
    squares: int

    @property
    def n(self) -> int:
        return sum(n for n, _ in self.by_year)

    @property
    def total(self) -> int:
        return sum(s for _, s in self.by_year)

    def geometric(self, weights: Sequence[int]) -> Fraction | None:
        """Return the geometric mean by the weights of the years that have cases, fen."""
        found = [(w, Fraction(s, n)) for w, (n, s) in zip(weights, self.by_year, strict=True) if n]
        if not found:
            return None
        mean = sum((w * m for w, m in found), Fraction(0)) / sum(w for w, _ in found) / logs.ONE
        power = EXACT.divide(Decimal(mean.numerator), Decimal(mean.denominator))
        return Fraction(EXACT.power(Decimal(2), power))


def log_sums(off: I64, packed: I64, bounds: I64) -> list[LogSums]:
    """Add up the logarithms of what each group keeps."""
    groups = len(bounds)
    years, squares = np.zeros((groups, kernels.YEARS, 2), np.int64), np.zeros((groups, 2), np.int64)
    logs.add_logs(off, packed, bounds, years, squares)
    return [
        LogSums(tuple((n, s) for n, s in of_year), (hi << kernels.HALF) + lo)
        for of_year, (hi, lo) in zip(years.tolist(), squares.tolist(), strict=True)
    ]


def medians(off: I64, packed: I64, bounds: I64) -> list[Fraction | None]:
    """Return the median of what each group keeps, all years together, fen."""
    twice = np.zeros(len(bounds), np.int64)
    logs.medians(off, packed, bounds, twice)
    return [None if x < 0 else Fraction(x, 2) for x in twice.tolist()]


def standard_error_squared(s: Statistics, weights: Sequence[int]) -> Fraction | None:
    """Return the squared standard error of the weighted mean of yearly means, fen²."""
    if s.kept < 2:
        return None
    variance = Fraction(s.kept * s.squares - s.total**2, s.kept * (s.kept - 1))
    found = [(w, n) for w, (n, _) in zip(weights, s.by_year, strict=True) if n]
    whole = sum(w for w, _ in found)
    return variance * sum((Fraction(w * w, n) for w, n in found), Fraction(0)) / whole**2
