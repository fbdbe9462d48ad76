"""The price of one case in claim units: fen under a rate, points under a point value.

All that depends on group, hospital, insurance and day is worked out before, once per price key
(`PriceField`); what is left is the case's own cost: which band it falls in and what that makes.
"""

from __future__ import annotations

from grouper.kernels._jit import kernel
from grouper.kernels._money import half_up
from grouper.tables._types import EDGE_SCALE, I8, I32, I64, Band, PriceField, PriceKind

KIND, BASE = int(PriceField.KIND), int(PriceField.BASE)
BENCHMARK, NUM, DEN = int(PriceField.BENCHMARK), int(PriceField.NUM), int(PriceField.DEN)
LOW_EDGE, LOW_IN = int(PriceField.LOW_EDGE), int(PriceField.LOW_INCLUSIVE)
LOW_COST, LOW_BASE = int(PriceField.LOW_COST), int(PriceField.LOW_BASE)
HIGH_EDGE, HIGH_IN = int(PriceField.HIGH_EDGE), int(PriceField.HIGH_INCLUSIVE)
HIGH_BASE, SHARE = int(PriceField.HIGH_BASE), int(PriceField.HIGH_SHARE)
BY_WEIGHT, BY_COST = int(PriceKind.WEIGHT), int(PriceKind.COST)
B_NONE, B_NORMAL = int(Band.NONE), int(Band.NORMAL)
B_LOW, B_HIGH = int(Band.LOW), int(Band.HIGH)


@kernel()
def price(
    key: I32, cost: I64, keys: I64, claim: I64, band: I8, ratio: I64, start: int, stop: int
) -> None:
    """Write claim, band and cost ratio of cases start … stop-1.

    Parameters
    ----------
    key : [n] row of `keys`. cost : [n] cost used, fen, -1 = not known (no band).
    keys : [K, fields] see `PriceField`. ratio : [n] out, cost ÷ benchmark at `EDGE_SCALE`, -1 none.
    """
    for i in range(start, stop):
        k, c = key[i], cost[i]
        base = keys[k, BASE]
        claim[i], band[i], ratio[i] = base, B_NONE, -1
        if keys[k, KIND] == BY_COST:
            claim[i] = half_up(max(c, 0), keys[k, NUM], keys[k, DEN])
            continue
        mean = keys[k, BENCHMARK]
        if keys[k, KIND] != BY_WEIGHT or c < 0 or mean <= 0:
            continue
        band[i] = B_NORMAL
        ratio[i] = half_up(c, EDGE_SCALE, mean)
        scaled = c * EDGE_SCALE
        low, high = keys[k, LOW_EDGE] * mean, keys[k, HIGH_EDGE] * mean
        if keys[k, LOW_EDGE] >= 0 and (scaled < low or (scaled == low and keys[k, LOW_IN])):
            band[i] = B_LOW
            claim[i] = c if keys[k, LOW_COST] else half_up(keys[k, LOW_BASE], c, mean)
        elif keys[k, HIGH_EDGE] >= 0 and (scaled > high or (scaled == high and keys[k, HIGH_IN])):
            band[i] = B_HIGH
            per = EDGE_SCALE * EDGE_SCALE * mean
            claim[i] = base + half_up(keys[k, HIGH_BASE] * keys[k, SHARE], scaled - high, per)


@kernel()
def add_up(part: I32, values: I64, sums: I64) -> None:
    """Add values[i] to sums[part[i]]."""
    for i in range(len(part)):
        sums[part[i]] += values[i]
