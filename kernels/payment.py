"""The price of one case in claim units: fen under a rate, points under a point value.

All that depends on group, hospital, insurance and day is worked out before, once per price key, as
line segments over the cost: what is left is the case's own cost, which segment it falls in and what
that makes. Every boundary is a whole number of fen, so no comparison rounds.
"""

from __future__ import annotations

from grouper.kernels._jit import kernel
from grouper.kernels._money import half_up
from grouper.tables._types import I8, I32, I64, RATIO_SCALE, Band, Segment

LAST, BAND = int(Segment.LAST), int(Segment.BAND)
WHOLE, NUM, DEN = int(Segment.WHOLE), int(Segment.NUM), int(Segment.DEN)
SCALE, OFFSET = int(Segment.SCALE), int(Segment.OFFSET)
B_NONE = int(Band.NONE)


@kernel()
def price(
    key: I32,
    cost: I64,
    base: I64,
    mean: I64,
    off: I64,
    segments: I64,
    claim: I64,
    band: I8,
    ratio: I64,
    start: int,
    stop: int,
) -> None:
    """Write claim, band and cost ratio of cases start … stop-1.

    Parameters
    ----------
    key : [n] price key. cost : [n] cost used, fen, -1 = not known (no band).
    base : [K] claim without a band. mean : [K] benchmark, fen, 0 = none.
    off : [K + 1] rows of `segments` [S, 7], see `Segment`.
    claim : [n] out, -1 = beyond what 64 bits hold.
    ratio : [n] out, cost ÷ benchmark at `RATIO_SCALE`, -1 none.
    """
    for i in range(start, stop):
        k, c = key[i], cost[i]
        claim[i], band[i], ratio[i] = base[k], B_NONE, -1
        if c < 0:
            continue
        if mean[k] > 0:
            ratio[i] = half_up(c, RATIO_SCALE, mean[k])
        claim[i] = -1
        for s in range(off[k], off[k + 1]):
            if c <= segments[s, LAST]:
                band[i] = segments[s, BAND]
                above = c * segments[s, SCALE] - segments[s, OFFSET]
                more = half_up(above, segments[s, NUM], segments[s, DEN])
                claim[i] = segments[s, WHOLE] + more
                break
