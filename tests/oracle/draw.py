"""Random cases drawn to hurt: boundary ages and weights, repeats, unknown codes, codes of one group."""

from __future__ import annotations

import random
from functools import cache
from typing import Any, NamedTuple

from grouper.tables import DrgScheme
from grouper.tables._types import DIAGNOSES, PROCEDURES


class Pools(NamedTuple):
    """Codes to draw from."""

    dx: list[str]
    px: list[str]
    dx_sets: list[list[str]]
    px_sets: list[list[str]]
    levels: list[str]


@cache
def pools(scheme: DrgScheme) -> Pools:
    """Sort a scheme's codes by what they are good for."""
    dx = [c for i, c in enumerate(scheme.codes) if scheme.sides[i] & DIAGNOSES]
    px = [c for i, c in enumerate(scheme.codes) if scheme.sides[i] & PROCEDURES]
    sets = [sorted(s) for s in scheme.set_codes.values() if s]
    known_dx, known_px = set(dx), set(px)
    return Pools(
        dx,
        px,
        [s for s in sets if s[0] in known_dx],
        [s for s in sets if s[0] in known_px],
        sorted(scheme.mcc.keys() | scheme.cc.keys()),
    )


def draw_cases(scheme: DrgScheme, seed: int, n: int) -> list[dict[str, Any]]:
    """Draw `n` cases; the same seed gives the same cases."""
    rng = random.Random(seed)
    return [_case(rng, k, pools(scheme)) for k in range(n)]


def _case(rng: random.Random, k: int, p: Pools) -> dict[str, Any]:
    def diagnosis() -> str:
        kind = rng.random()
        if kind < 0.45:
            return rng.choice(rng.choice(p.dx_sets))
        if kind < 0.75:
            return rng.choice(p.levels)
        return rng.choice(["Z99.999x999", ""]) if kind < 0.79 else rng.choice(p.dx)

    def procedure() -> str:
        kind = rng.random()
        if kind < 0.7:
            return rng.choice(rng.choice(p.px_sets))
        return rng.choice(["99.9999x99", ""]) if kind < 0.74 else rng.choice(p.px)

    diagnoses = [
        diagnosis() for _ in range(rng.choice([1, 1, 2, 3, 5, 8, 40 if k % 97 == 0 else 6]))
    ]
    procedures = [procedure() for _ in range(rng.choice([0, 0, 1, 1, 2, 4]))]
    if rng.random() < 0.15 and diagnoses:
        diagnoses.append(rng.choice(diagnoses))
    if rng.random() < 0.15 and procedures:
        procedures.append(rng.choice(procedures))
    if rng.random() < 0.01:
        diagnoses = []
    age = rng.choice(
        [0, 0, 0, 1, 6, 7, 14, 17, 18, 30, 60, 69, 70, 90, None if k % 50 == 0 else 45]
    )
    days = rng.choice([0, 5, 27, 28, 29, 60, 364]) if age == 0 and rng.random() < 0.97 else None
    grams = [None, 0, 100, 999, 1000, 1499, 1500, 1999, 2000, 2499, 2500, 3200, 30000]
    return {
        "case_id": f"R{k}",
        "sex": rng.choice([1, 1, 1, 2, 2, 2, 0, 9, 5 if k % 41 == 0 else 1]),
        "age": age if k % 67 else -1,
        "age_days": days,
        "birth_weight": rng.choice(grams),
        "admission_weight": rng.choice(grams),
        "los": rng.choice([None, 0, 1, 2, 3, 4, 5, 6, 7, 13, 14, 15, 29, 30, 31, 59, 60, 61, 100]),
        "icu_hours": rng.choice([None, 0, 1, 50, 119, 120, 121, 300]),
        "discharge_mode": rng.choice([None, "1", "2", "4", "5", "9"]),
        "department": rng.choice([None, "ICU", "0302", "13040503"]),
        "diagnoses": diagnoses,
        "procedures": procedures,
    }
