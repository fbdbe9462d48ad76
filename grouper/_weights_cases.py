"""Years of cases → compact arrays for weights: group, cost, year, days, level, why a case is left out.

Cases are read a piece at a time; what is kept of each is about 20 bytes and its id.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from grouper._arrow import text_array
from grouper._calibration_cases import DATES, NO_DATE, NO_YEAR, WEIGHTS, cost_of, years_of
from grouper._cases import FAULT, NUMBERS, REQUIRED, TEXTS, encode_with, repeated
from grouper._grouping import as_table, group_encoded
from grouper._progress import heard
from grouper._statistics import MOST_FEN
from grouper._streaming import iter_cases
from grouper.io import ColumnMap
from grouper.tables import DrgScheme
from grouper.tables._types import DIAGNOSES, I32, I64, MISSING, PROCEDURES, U8, Fact

WANTED = ("hospital_level", "total_cost_fen", FAULT)


class LeftOut(IntEnum):
    """Why a case does not count, the first reason that fits."""

    NOT = 0
    REJECTED = 1
    UNGROUPED = 2
    NO_COST = 3
    COST_OUT_OF_RANGE = 4
    NO_DATE = 5
    OUTSIDE_YEARS = 6


@dataclass(frozen=True)
class Measured:
    """All cases of a calibration of weights."""

    group: I32  # [n] index into scheme.drgs, -1 = left out
    cost: I64  # [n] fen
    year: I32  # [n] index of the weight
    los: I32  # [n] days, -1 = not known
    level: I32  # [n] index into levels
    left_out: U8  # [n] LeftOut
    levels: list[str]  # "" = not known
    years: tuple[int, ...]
    counts: dict[str, int]


def measure(
    source: Any,
    scheme: DrgScheme,
    year_by: str,
    weights: int,
    *,
    columns: ColumnMap | Path | str | None = None,
    codes: str = "insurer",
    threads: int | None = None,
) -> Measured:
    """Read, encode, group and clean cases; `weights` is the number of year weights."""
    of_dx, of_px = (scheme.vocabulary(side, codes) for side in (DIAGNOSES, PROCEDURES))
    parts: dict[str, list[NDArray[Any]]] = {}
    ids: list[Any] = []
    levels: dict[str, int] = {}
    counts: Counter[str] = Counter()
    if isinstance(source, Sequence) and not isinstance(source, str):
        source = as_table(source) if all(isinstance(c, dict) for c in source) else source
    wanted = {*REQUIRED, *NUMBERS, *TEXTS, *WEIGHTS, *DATES, *WANTED, year_by}
    for part in iter_cases(source, wanted, columns=columns, threads=threads):
        with heard(None):  # what tells is the reading of pieces
            batch = encode_with(part.table, scheme, of_dx, of_px, threads=threads)
            found = group_encoded(batch, threads=threads).drg
        counts.update({k: n for k, n in {**part.counts, **batch.counts}.items() if n})
        ids.append(text_array(part.table["case_id"]))
        cost, no_cost = cost_of(batch.table)
        years = years_of(batch.table, year_by)
        los = batch.arrays.facts[:, Fact.LOS]
        why = np.zeros(len(batch), np.uint8)
        for where, reason in (
            (batch.arrays.reject != 0, LeftOut.REJECTED),
            (found.drg < 0, LeftOut.UNGROUPED),
            (no_cost, LeftOut.NO_COST),
            (cost >= MOST_FEN, LeftOut.COST_OUT_OF_RANGE),
            (years == NO_DATE, LeftOut.NO_DATE),
        ):
            why[where & (why == 0)] = reason
        columns_of: dict[str, NDArray[Any]] = {
            "group": found.drg,
            "cost": cost,
            "year": years,
            "los": np.where((los == MISSING) | (los < 0), -1, los).astype(np.int32),
            "level": _levels(batch.table, levels),
            "why": why,
        }
        for name, values in columns_of.items():
            parts.setdefault(name, []).append(values)
    return _join(parts, ids, list(levels), dict(counts), weights)


def _levels(cases: pa.Table, levels: dict[str, int]) -> I32:
    """Return each case's hospital level as a number that lasts over pieces."""
    if "hospital_level" not in cases.schema.names:
        return np.full(len(cases), levels.setdefault("", len(levels)), np.int32)
    found = pc.fill_null(text_array(cases["hospital_level"]), "").dictionary_encode()
    place = [levels.setdefault(x, len(levels)) for x in found.dictionary.to_pylist()]
    return np.asarray(np.array([*place, 0], np.int32)[found.indices.to_numpy()])


def _join(
    parts: dict[str, list[NDArray[Any]]],
    ids: list[Any],
    levels: list[str],
    counts: dict[str, int],
    weights: int,
) -> Measured:
    kinds = {"group": np.int32, "cost": np.int64, "year": np.int32, "los": np.int32}
    kinds |= {"level": np.int32, "why": np.uint8}
    whole = {n: np.concatenate([np.zeros(0, k), *parts.pop(n, [])]) for n, k in kinds.items()}
    why, calendar = whole["why"], whole["year"]
    if len(why):
        twice = repeated(pa.concat_arrays(ids))
        why[twice] = LeftOut.REJECTED
    counted = calendar[why == 0]
    latest = int(counted.max()) if len(counted) else NO_YEAR
    years = tuple(latest - k for k in reversed(range(weights)))
    why[(calendar < years[0]) & (why == 0)] = LeftOut.OUTSIDE_YEARS
    return Measured(
        group=np.where(why == 0, whole["group"], np.int32(-1)),
        cost=whole["cost"],
        year=np.clip(calendar - years[0], 0, weights - 1).astype(np.int32),
        los=whole["los"],
        level=whole["level"],
        left_out=why,
        levels=levels,
        years=years,
        counts=counts,
    )
