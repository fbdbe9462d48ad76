"""Many random cases: whole rows of the kernel against whole rows of the naive oracle."""

from __future__ import annotations

import random
import tempfile
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from naive import NaiveScheme
from naive.dip import load_naive_dip
from oracle.draw import draw_cases
from oracle.draw_dip import draw_cases as draw_dip_cases
from oracle.draw_dip import draw_catalogue
from oracle.test_dip import PROFILES
from oracle.test_dip import row_of as row_of_dip
from oracle.test_drg import both, row_of, rows_of

from grouper import group, load_scheme

DIP = "dip"
"""Not a scheme: catalogues that are drawn, each with `EACH` cases."""

EACH = 500


class Compared(NamedTuple):
    """Statuses and groups of cases that agree, or the first that does not with both answers."""

    statuses: Counter[str]
    groups: frozenset[str]
    differs: tuple[Any, Any, Any] | None = None


def compare(name: str, seed: int, n: int) -> Compared:
    """Compare `n` cases of a DRG scheme, or of drawn catalogues; a seed gives the same cases."""
    return _dip(seed, n) if name == DIP else _drg(name, seed, n)


@cache
def _schemes(name: str) -> tuple[Any, NaiveScheme]:
    return both(name)


def _drg(name: str, seed: int, n: int) -> Compared:
    scheme, naive = _schemes(name)
    cases = draw_cases(scheme, seed, n)
    found = rows_of(cases, scheme)
    for case, kernel in zip(cases, found, strict=True):
        if kernel != (oracle := row_of(naive.group(case))):
            return Compared(Counter(), frozenset(), (case, kernel, oracle))
    return Compared(Counter(r[0] for r in found), frozenset(r[4] for r in found) - {""})


def _dip(seed: int, n: int) -> Compared:
    statuses, groups = Counter[str](), set[str]()
    for k in range(0, n, EACH):
        rng = random.Random(f"{seed} {k}")
        with tempfile.TemporaryDirectory() as folder:
            catalogue = draw_catalogue(rng, Path(folder) / "drawn")
            cases = draw_dip_cases(rng, catalogue, min(EACH, n - k))
            ids = Counter(c["case_id"] for c in cases)
            repeated = frozenset(i for i, times in ids.items() if times > 1)
            naive = load_naive_dip(catalogue, PROFILES)
            found = group(cases, load_scheme(catalogue)).to_arrow().to_pylist()
        for case, row in zip(cases, found, strict=True):
            oracle = row_of_dip(case, naive.group(case, repeated))
            kernel = {column: row[column] for column in oracle}
            if kernel != oracle:
                return Compared(Counter(), frozenset(), (case, kernel, oracle))
            statuses[row["status"]] += 1
            if row["group"]:
                groups.add(f"{seed} {k} {row['group']}")
    return Compared(statuses, frozenset(groups))
