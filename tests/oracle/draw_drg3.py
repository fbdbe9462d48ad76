"""Cases drawn to hurt the 3.0 rules: those that reach a group, changed a little, and mixtures of sets."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

from drg3 import Tables

AGES = (0, 0, 0, 1, 5, 6, 7, 17, 18, 40, 69, 70, 71, 150, -1, None)
DAYS = (0, 5, 28, 28, 29, 29, 100, 364, 365, 366, 400, None)
GRAMS = (None, 0, 500, 999, 1000, 1499, 1500, 1999, 2000, 2499, 2500, 2501, 9000)
SEXES = (1, 2, 1, 2, 1, 2, 0, 9, 5)


def draw(
    tables: Tables, reached: Sequence[dict[str, Any]], seed: int, n: int
) -> Iterator[dict[str, Any]]:
    """Yield `n` cases; the same seed gives the same cases."""
    rng = random.Random(seed)
    sets = [sorted(c) for _, c in sorted(tables.codes().items())]
    levels = [c for c, _, _ in tables.cc]
    for k in range(n):
        c = dict(rng.choice(reached))
        dx, px = list(c["diagnoses"]), list(c["procedures"])
        for _ in range(rng.choice((0, 1, 1, 2, 3, 6))):
            change = rng.randrange(12)
            some = rng.choice(rng.choice(sets))
            if change == 0:
                dx.append(rng.choice(levels))
            elif change == 1:
                dx.insert(rng.randrange(len(dx) + 1), some)
            elif change == 2:
                px.insert(rng.randrange(len(px) + 1), some)
            elif change == 3 and dx:
                del dx[rng.randrange(len(dx))]
            elif change == 4 and px:
                del px[rng.randrange(len(px))]
            elif change == 5:
                rng.shuffle(px)
            elif change == 6:
                rng.shuffle(dx)
            elif change == 7:
                dx += dx[:1]
            elif change == 8:
                px += px[:1]
            elif change == 9:
                other = rng.choice(reached)
                dx += other["diagnoses"]
                px += other["procedures"]
            elif change == 10:
                dx.append(rng.choice(("", "NONE.1")))
            else:
                px.append(rng.choice(("", "NONE.2")))
        if rng.random() < 0.4:
            c["age"] = rng.choice(AGES)
            c["age_days"] = rng.choice(DAYS)
        if rng.random() < 0.3:
            c["age_days"] = rng.choice(DAYS)
        if rng.random() < 0.4:
            c["admission_weight"] = rng.choice(GRAMS)
        if rng.random() < 0.3:
            c["sex"] = rng.choice(SEXES)
        yield {**c, "case_id": f"R{k}", "diagnoses": dx, "procedures": px}
