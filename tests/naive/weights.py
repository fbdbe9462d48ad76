"""Naive weights: rows of dicts in, rows of texts out, one group at a time (docs/drg-calibration.md).

Fractions and integers only; square roots and logarithms are found place by place.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from decimal import Decimal, localcontext
from fractions import Fraction
from math import isqrt
from typing import Any

from .calibrate import half_up, root_text

Row = dict[str, str]
ONE = 2**20


def text(x: Fraction | None, places: int) -> str:
    if x is None:
        return ""
    units = half_up(abs(x) * 10**places)
    whole, rest = divmod(units, 10**places)
    return ("-" if x < 0 and units else "") + (
        f"{whole}.{rest:0{places}}" if places else str(whole)
    )


def yuan(fen: Fraction | None) -> str:
    return "" if fen is None else text(Fraction(half_up(fen), 100), 2)


def log2(x: int) -> int:
    """log2(x) in units of 2^-20, a mantissa of 31 places cut off at each squaring."""
    whole = x.bit_length() - 1
    m = x * 2**31 // 2**whole
    bits = ""
    for _ in range(20):
        m = m * m // 2**31
        if m >= 2**32:
            m //= 2
            bits += "1"
        else:
            bits += "0"
    return whole * ONE + int(bits, 2)


def percentile(costs: Sequence[int], share: Fraction) -> Fraction:
    ordered = sorted(costs)
    at = (len(ordered) - 1) * share
    low = int(at)
    above = ordered[min(low + 1, len(ordered) - 1)]
    return ordered[low] + (at - low) * (above - ordered[low])


def keeps(
    costs: Sequence[int], trim: str, value: Fraction, edges: tuple[Fraction, Fraction]
) -> Any:
    """Return what says of a cost whether it is kept."""
    n = len(costs)
    if trim == "percentile":
        low, high = percentile(costs, value / 100), percentile(costs, 1 - value / 100)
        return lambda c: low <= c <= high
    if trim == "iqr":
        q1, q3 = percentile(costs, Fraction(1, 4)), percentile(costs, Fraction(3, 4))
        return lambda c: q1 - value * (q3 - q1) <= c <= q3 + value * (q3 - q1)
    if trim == "edges":
        mean = Fraction(sum(costs), n)
        return lambda c: mean * edges[0] <= c <= mean * edges[1]
    if trim == "none" or n < 2:
        return lambda c: True
    of = (lambda c: c) if trim == "mean_sd" else log2
    values = [of(c) for c in costs]
    mean = Fraction(sum(values), n)
    variance = sum((v - mean) ** 2 for v in values) / (n - 1)
    return lambda c: (of(c) - mean) ** 2 <= value**2 * variance


def yearly(pairs: Sequence[tuple[int, int]], weights: Sequence[int], of: Any) -> Fraction | None:
    """Mean of the yearly means of `of`(cost) by the weights of the years that have cases."""
    by_year: dict[int, list[int]] = defaultdict(list)
    for cost, year in pairs:
        by_year[year].append(of(cost))
    if not by_year:
        return None
    top = sum((weights[y] * Fraction(sum(v), len(v)) for y, v in by_year.items()), Fraction(0))
    return top / sum(weights[y] for y in by_year)


def geometric(pairs: Sequence[tuple[int, int]], weights: Sequence[int]) -> Fraction | None:
    mean = yearly(pairs, weights, log2)
    if mean is None:
        return None
    with localcontext(prec=40):
        return Fraction(Decimal(2) ** (Decimal(mean.numerator) / Decimal(mean.denominator * ONE)))


def median(costs: Sequence[int]) -> Fraction | None:
    ordered = sorted(costs)
    n = len(ordered)
    return Fraction(ordered[(n - 1) // 2] + ordered[n // 2], 2) if n else None


def naive_weights(
    cases: Sequence[tuple[str, int, int]],
    groups: Sequence[tuple[str, str, int | None]],
    options: Mapping[str, Any],
    old: Mapping[str, Fraction],
) -> tuple[list[Row], Fraction, Fraction]:
    """Weigh groups.

    cases: (group, cost in fen, index of the year's weight). groups: (code, ADRG, rank of severity: 2
    MCC, 1 CC, 0 none, None for another rule) in the order of trial. Returns rows, Σ RW·n and target.
    """
    weights = options["year_weights"]
    held = {c: [(cost, y) for g, cost, y in cases if g == c] for c, _, _ in groups}
    kept: dict[str, list[tuple[int, int]]] = {}
    for code, pairs in held.items():
        costs = [c for c, _ in pairs]
        how = options["trim"], options["trim_value"], options["trim_edges"]
        ok = keeps(costs, *how) if costs else bool
        kept[code] = [p for p in pairs if ok(p[0])]
    overall = yearly([p for pairs in kept.values() for p in pairs], weights, int)
    assert overall is not None

    cv2: dict[str, Fraction | None] = {}
    mean: dict[str, Fraction | None] = {}
    method: dict[str, str] = {}
    for code, pairs in kept.items():
        costs = [c for c, _ in pairs]
        n = len(costs)
        m = Fraction(sum(costs), n) if n else Fraction(0)
        squares = sum(((c - m) ** 2 for c in costs), Fraction(0))
        cv2[code] = squares / (n - 1) / m**2 if n > 1 else None
        square = cv2[code]
        stable = (
            n > options["stable_above"]
            and square is not None
            and square <= options["stable_cv"] ** 2
        )
        method[code] = options["stable" if stable else "unstable"] if n else ""
        if method[code] == "median":
            mean[code] = median(costs)
        elif method[code] == "geometric":
            mean[code] = geometric(pairs, weights)
        else:
            mean[code] = yearly(pairs, weights, int)

    rule = dict.fromkeys(held, "")
    given = dict(mean)
    order = [c for c, _, _ in groups]
    parent = {c: a for c, a, _ in groups}
    for code in order:
        if len(kept[code]) >= options["least"]:
            continue
        mean[code], method[code], rule[code] = None, "", "none"
        kin = [c for c in order if parent[c] == parent[code]]
        for name in options["small"]:
            found: Fraction | None = None
            if name == "neighbour":
                near = [c for c in kin if len(kept[c]) >= options["least"]]
                near.sort(key=lambda c: (abs(order.index(c) - order.index(code)), order.index(c)))
                found = given[near[0]] if near else None
            elif name == "parent":
                found = yearly([p for c in kin for p in kept[c]], weights, int)
            elif code in old:
                found = old[code] * overall
            if found is not None:
                mean[code], rule[code] = found, name
                break

    ordered: set[str] = set()
    for adrg in dict.fromkeys(parent.values()):
        ranked = [(r, c) for c, a, r in groups if a == adrg and r is not None]
        if not options["keep_order"] or not any(r for r, _ in ranked):
            continue
        chain = [c for _, c in sorted(ranked, key=lambda x: (-x[0], order.index(x[1])))]
        ordered |= pool(
            [c for c in chain if mean[c] is not None], mean, {c: len(kept[c]) for c in chain}
        )

    factor, target = 1 / overall, Fraction(0)
    if options["neutral"] != "none":
        base = dict.fromkeys(order, Fraction(1)) if options["neutral"] == "one" else old
        there = [(c, x) for c in order if (x := mean[c]) is not None and c in base]
        target = sum((base[c] * len(held[c]) for c, _ in there), Fraction(0))
        cost = sum((x * len(held[c]) for c, x in there), Fraction(0))
        factor = target / cost
    places = options["weight_decimals"]
    rows, total = [], Fraction(0)
    for code in order:
        value = mean[code]
        weight = (
            None if value is None else Fraction(half_up(value * factor * 10**places), 10**places)
        )
        total += 0 if weight is None else weight * len(held[code])
        pairs, square = kept[code], cv2[code]
        measured = yearly(pairs, weights, int)
        low = high = None
        if len(pairs) > 1:
            costs = [c for c, _ in pairs]
            m = Fraction(sum(costs), len(costs))
            variance = sum(((c - m) ** 2 for c in costs), Fraction(0)) / (len(costs) - 1)
            years = {y: [p for p in pairs if p[1] == y] for _, y in pairs}
            parts = (Fraction(weights[y] ** 2, len(p)) for y, p in years.items())
            error = variance * sum(parts, Fraction(0))
            error /= Fraction(sum(weights[y] for y in years)) ** 2
            x = Fraction(196, 100) ** 2 * error
            half = (isqrt(4 * x.numerator // x.denominator) + 1) // 2
            assert measured is not None
            low, high = Fraction(half_up(measured) - half), Fraction(half_up(measured) + half)
        rows.append(
            {
                "group": code,
                "weight": text(weight, places),
                "mean_cost": yuan(value),
                "n": str(len(held[code])),
                "kept": str(len(pairs)),
                "cv": "" if square is None else root_text(square, 4),
                "ci_low": yuan(low),
                "ci_high": yuan(high),
                "method": method[code],
                "rule": rule[code],
                "ordered": "1" if code in ordered else "",
                "measured_mean": yuan(measured),
            }
        )
    return rows, total, target


def pool(chain: list[str], mean: dict[str, Fraction | None], n: Mapping[str, int]) -> set[str]:
    """Make means fall along a chain: each becomes the least over starts of the greatest mean over ends.

    The min-max form of isotonic regression; returns whose mean is shared with another.
    """
    values = {c: (mean[c] or Fraction(0), max(n[c], 1)) for c in chain}

    def average(a: int, b: int) -> Fraction:
        part = [values[c] for c in chain[a : b + 1]]
        return sum((m * k for m, k in part), Fraction(0)) / sum(k for _, k in part)

    last = len(chain) - 1
    fitted = [
        min(max(average(a, b) for b in range(k, last + 1)) for a in range(k + 1))
        for k in range(len(chain))
    ]
    changed: set[str] = set()
    for k, c in enumerate(chain):
        if fitted[k] != values[c][0]:
            changed |= {d for j, d in enumerate(chain) if fitted[j] == fitted[k]}
        mean[c] = fitted[k]
    return changed
