"""Bands of deviation (偏差病例) → segments over whole fen of cost: what the price kernel reads.

A band begins at a ratio of cost to benchmark; since costs are whole fen, each boundary becomes the
last whole cost on its near side, and no comparison ever rounds. Within a band the claim is a line in
the cost, or several where it is capped or a formula breaks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from math import floor

from grouper.errors import PolicyError
from grouper.tables._formula import FormulaError, Piece, parse_formula, pieces
from grouper.tables._policy_model import Edge
from grouper.tables._types import Band

MOST_FEN = 10**13
"""Costs of one case are below this."""

MOST_CLAIM = 2**60
"""A segment ends before its claim passes this; a cost beyond is refused, never wrapped."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What a normal case of a price key claims, with and without the hospital coefficient."""

    full: int
    bare: int
    benchmark: int
    weight: Fraction
    coefficient: Fraction
    by_rate: bool


@dataclass(frozen=True, slots=True)
class Tier:
    """An edge of a band with its numbers as pairs of whole numbers."""

    edge: Edge
    at: tuple[int, int]
    above: tuple[int, int]
    share: tuple[int, int]
    least: Fraction | None
    below: Fraction | None

    @classmethod
    def of(cls, edge: Edge) -> Tier:
        """Read an edge once, for all the prices that it is part of."""
        above = edge.edge if edge.above is None else edge.above
        least, below = (
            None if x is None else Fraction(x) for x in (edge.weight_from, edge.weight_below)
        )
        return cls(edge, _pair(edge.edge), _pair(above), _pair(edge.share), least, below)

    def fits(self, day: date, level: str, class_: str, weight: Fraction, points: Fraction) -> bool:
        """Tell whether this tier is meant for the day, hospital and weight (or points)."""
        e = self.edge
        if e.level not in (None, level) or e.class_ not in (None, class_) or not e.covers(day):
            return False
        x = weight if e.key == "weight" else points
        return (self.least is None or x >= self.least) and (self.below is None or x < self.below)


def _pair(number: object) -> tuple[int, int]:
    return Fraction(str(number)).as_integer_ratio()


Rows = list[tuple[int, ...]]


def segments(
    claims: Claims, low: Tier | None, high: Tier | None, extreme: Tier | None
) -> tuple[tuple[int, ...], ...]:
    """Return the segments of a price key, see `grouper.tables._types.Segment`.

    Raises
    ------
    PolicyError : a claim below zero, or a formula that is refused for these numbers.
    """
    mean = claims.benchmark
    if mean == 0:
        return fixed(claims.full)
    below = _last(low, mean, below=True) if low else -1
    from_extreme = _last(extreme, mean, below=False) if extreme else MOST_FEN
    normal = min(_last(high, mean, below=False) if high else MOST_FEN, from_extreme)
    ends = (
        (Band.LOW, low, below),
        (Band.NORMAL, None, normal),
        (Band.HIGH, high, from_extreme),
        (Band.EXTREME, extreme, MOST_FEN),
    )
    found: Rows = []
    first = 0
    for band, tier, last in ends:
        if last < first:
            continue
        short = _named(claims, tier, int(band), last)
        if short is not None:
            found.append(short)
        else:
            assert tier is not None
            found += _lowered(
                _pieces(claims, tier.edge, first, last), int(band), first, claims.full
            )
        if found[-1][0] < last:  # what 64 bits hold ends here
            break
        first = last + 1
    return tuple(found)


def _last(tier: Tier, mean: int, *, below: bool) -> int:
    """Return the last whole cost below the band's edge (`below`: the last one inside the band)."""
    num, den = tier.at
    inside = tier.edge.inclusive if below else not tier.edge.inclusive
    return min(num * mean // den if inside else -(-num * mean // den) - 1, MOST_FEN)


def _named(claims: Claims, tier: Tier | None, band: int, last: int) -> tuple[int, ...] | None:
    """Return a named form as one segment, where its numbers are short; else None."""
    full, mean = claims.full, claims.benchmark
    if tier is None or (tier.edge.pay == "base" and tier.edge.cap is None):
        return (last, band, full, 0, 1, 0, 1)
    e = tier.edge
    if e.cap is not None or e.pay == "formula":
        return None
    part = full if e.coefficient else claims.bare
    whole, num, scale, offset, den = 0, part, 1, 0, mean
    if e.pay == "cost" and claims.by_rate:
        num, den = 1, 1
    elif e.pay == "excess":
        (above, scale), (share, parts) = tier.above, tier.share
        if above * tier.at[1] > tier.at[0] * scale:
            return None
        whole, num, offset, den = full, part * share, above * mean, parts * scale * mean
    more = last * scale - offset
    short = num < 2**62 and den < 2**61 and more < 2**62
    if not short or num * more > (MOST_CLAIM - whole) * den:
        return None
    return (last, band, whole, num, scale, offset, den)


def _pieces(claims: Claims, edge: Edge, first: int, last: int) -> list[Piece]:
    """Return the lines of one band over first … last."""
    full, mean = Fraction(claims.full), claims.benchmark
    if edge.pay == "base":
        return _capped([Piece(last, full, Fraction(0))], edge, full, first)
    if edge.pay == "formula":
        return _capped(_by_formula(claims, edge, first, last), edge, full, first)
    part = full if edge.coefficient else Fraction(claims.bare)
    if edge.pay == "cost" and claims.by_rate:
        line = Piece(last, Fraction(0), Fraction(1))
    elif edge.pay in ("cost", "ratio"):
        line = Piece(last, Fraction(0), part / mean)
    else:
        share = part * Fraction(edge.share)
        above = Fraction(edge.edge if edge.above is None else edge.above)
        line = Piece(last, full - share * above, share / mean)
        if line.at_zero + line.slope * first < 0:
            raise PolicyError(
                f"the band from {edge.edge} claims less than 0 at a cost of {first} fen",
                parameter="low, high, extreme",
            )
    return _capped([line], edge, full, first)


def _by_formula(claims: Claims, edge: Edge, first: int, last: int) -> list[Piece]:
    known: Mapping[str, Fraction] = {
        "full": Fraction(claims.full),
        "bare": Fraction(claims.bare),
        "edge": Fraction(edge.edge),
        "above": Fraction(edge.edge if edge.above is None else edge.above),
        "share": Fraction(edge.share),
        "weight": claims.weight,
        "coefficient": claims.coefficient,
    }
    try:
        formula = parse_formula(edge.formula or "")
        return pieces(formula, known, Fraction(1, claims.benchmark), first, last)
    except FormulaError as e:
        raise PolicyError(
            f"formula {edge.formula!r}: {e}", parameter="low, high, extreme"
        ) from None


def _capped(lines: list[Piece], edge: Edge, full: Fraction, first: int) -> list[Piece]:
    """Keep claims at or below cap × full."""
    if edge.cap is None:
        return lines
    most = full * Fraction(edge.cap)
    found = []
    for line in lines:
        reach = line.last
        if line.at_zero + line.slope * line.last > most:
            reach = floor((most - line.at_zero) / line.slope) if line.slope else first - 1
        if reach >= first:
            found.append(Piece(reach, line.at_zero, line.slope))
        if reach < line.last:
            found.append(Piece(line.last, most, Fraction(0)))
        first = line.last + 1
    return found


def by_cost(per_fen: Fraction) -> tuple[tuple[int, ...], ...]:
    """Return the segments of a claim that is the cost times a number, without bands."""
    line = Piece(MOST_FEN, Fraction(0), per_fen)
    return tuple(_lowered([line], int(Band.NONE), 0, 0))


def fixed(claim: int) -> tuple[tuple[int, ...], ...]:
    """Return the segment of a claim that does not depend on the cost."""
    return ((MOST_FEN, int(Band.NONE), claim, 0, 1, 0, 1),)


def _lowered(lines: list[Piece], band: int, first: int, full: int) -> Iterator[tuple[int, ...]]:
    """Write lines as whole numbers; end where a claim passes what 64 bits hold."""
    for last, at_zero, slope in lines:
        if slope == 0:
            if at_zero > MOST_CLAIM:
                raise PolicyError(
                    f"a claim of {floor(at_zero)} is beyond what an amount can be",
                    parameter="low, high, extreme",
                )
            yield (last, band, floor(at_zero + Fraction(1, 2)), 0, 1, 0, 1)
        else:
            reach = last
            if at_zero + slope * last > MOST_CLAIM:
                reach = floor((MOST_CLAIM - at_zero) / slope)
            yield (reach, band, *_whole(at_zero, slope, first, reach, full))
            if reach < last:
                return
        first = last + 1


def _whole(at_zero: Fraction, slope: Fraction, first: int, last: int, full: int) -> tuple[int, ...]:
    """Write a rising line as WHOLE + NUM × (cost × SCALE - OFFSET) / DEN.

    WHOLE may be any whole number that the line does not go below; one where the line has a short
    root keeps the numbers small: the normal claim, from which an excess is counted, or zero.
    """
    least = at_zero + slope * first
    for whole in (full, 0, floor(least)):
        root = (whole - at_zero) / slope
        rise = slope / root.denominator
        fits = rise.numerator < 2**62 and rise.denominator < 2**61
        if whole <= least and fits and max(last * root.denominator, root.numerator) < 2**62:
            return (whole, rise.numerator, root.denominator, root.numerator, rise.denominator)
    raise PolicyError(
        "weights, coefficients, edges and means have too many decimals together",
        parameter="low, high, extreme, status_pay",
    )
