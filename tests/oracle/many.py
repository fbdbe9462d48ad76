"""Compare many random cases with the plain readers: by a script at night, fewer in the suite."""

from __future__ import annotations

import random
import tempfile
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from naive import NaiveScheme
from oracle.draw import draw_cases
from oracle.test_dip import draw as draw_dip
from oracle.test_dip import row_of as dip_row
from oracle.test_drg import row_of as drg_row
from oracle.test_drg import rows_of
from shared import SHIPPED

from grouper import DrgScheme, group, load_drg, load_scheme

DRG = ("chs-drg-1.1", "chs-drg-1.1-qy")
DIP = "random DIP catalogues"
KINDS = (*DRG, DIP)


class Difference(NamedTuple):
    """A case that the two read otherwise."""

    case: Any
    kernel: Any
    naive: Any


@cache
def _both(name: str) -> tuple[DrgScheme, NaiveScheme]:
    return load_drg(name), NaiveScheme.load(SHIPPED / name, SHIPPED / "codes-nhsa-2.0")


def compare(kind: str, seed: int, n: int) -> tuple[int, Difference | None]:
    """Compare `n` cases on whole rows; return how many were, and the first difference."""
    if kind == DIP:
        return _compare_dip(seed, n)
    scheme, naive = _both(kind)
    cases = draw_cases(scheme, seed, n)
    for case, found in zip(cases, rows_of(cases, scheme), strict=True):
        wanted = drg_row(naive.group(case))
        if found != wanted:
            return len(cases), Difference(case, found, wanted)
    return len(cases), None


def _compare_dip(seed: int, n: int) -> tuple[int, Difference | None]:
    """Draw catalogues, each with some cases."""
    rng, done = random.Random(seed), 0
    with tempfile.TemporaryDirectory() as name:
        while done < n:
            catalogue, cases, answers = draw_dip(rng.randrange(1 << 40), Path(name), 400)
            rows = group(cases, load_scheme(catalogue)).to_arrow().to_pylist()
            for case, answer, row in zip(cases, answers, rows, strict=True):
                wanted = dip_row(case, answer)
                found = {column: row[column] for column in wanted}
                if found != wanted:
                    return done, Difference(case, found, wanted)
            done += len(cases)
    return done, None
