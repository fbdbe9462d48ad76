"""Years of cases → compact arrays for calibration: codes as ids, cost, year, why a case is left out.

Cases are read a piece at a time; what is kept of each is about 40 bytes, so ten million fit in half a
gigabyte.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from grouper import _chunks
from grouper._arrow import text_array
from grouper._cases import FAULT, NUMBERS, REQUIRED, TEXTS, CaseBatch, encode_with, repeated
from grouper._grouping import as_table, dip_cases, group_dip_range
from grouper._progress import heard
from grouper._statistics import MOST_FEN
from grouper._streaming import iter_cases
from grouper.io import ColumnMap
from grouper.kernels import calibrate as kernels
from grouper.tables import DipScheme
from grouper.tables._types import (
    DIAGNOSES,
    I8,
    I32,
    I64,
    PROCEDURES,
    U8,
    empty_dip_groups,
)

WEIGHTS = ("birth_weight", "admission_weight", "principals")
DATES = ("admission_date", "discharge_date")
NO_DATE = -1
NO_YEAR = 0


class LeftOut(IntEnum):
    """Why a case does not count, the first reason that fits."""

    NOT = 0
    REJECTED = 1
    NO_COST = 2
    COST_OUT_OF_RANGE = 3
    NO_DATE = 4
    EXCLUDED_PRINCIPAL = 5
    OUTSIDE_YEARS = 6
    TAKEN = 7  # by a group of the base, while supplements are sought


@dataclass(frozen=True)
class Gathered:
    """All cases of a calibration; ids index `dx_texts` and `px_texts` (normal forms)."""

    principal: I32  # [n] -1 = none or unknown
    px_off: I64  # [n + 1]
    px: I32
    main: I32  # [n] place of the main procedure in its list, -1 = none
    treatment: I8  # [n]
    cost: I64  # [n] fen
    year: I32  # [n] index of the weight
    left_out: U8  # [n] LeftOut
    group: I32  # [n] of the base catalogue, -1 = none
    subtypes: I64  # [n] bits of the base catalogue's auxiliary types
    dx_texts: list[str]
    px_texts: list[str]
    years: tuple[int, ...]  # calendar years by index of the weight
    counts: dict[str, int]

    @property
    def clean(self) -> NDArray[np.bool_]:
        """Which cases count."""
        return np.equal(self.left_out, LeftOut.NOT)

    @property
    def years_with_cases(self) -> int:
        """How many of the years have cases that count."""
        return len(np.unique(self.year[self.clean]))


@dataclass
class _Pieces:
    """What is kept of each piece, until all are read."""

    ids: list[Any] = field(default_factory=list)
    columns: dict[str, list[NDArray[Any]]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, **columns: NDArray[Any]) -> None:
        for name, values in columns.items():
            self.columns.setdefault(name, []).append(values)

    def joined(self, name: str, kind: type[np.generic]) -> NDArray[Any]:
        parts = self.columns.pop(name, [])
        return np.concatenate([np.zeros(0, kind), *parts]).astype(kind, copy=False)


def gather(
    source: Any,
    scheme: DipScheme,
    year_by: str,
    weights: int,
    *,
    match: bool,
    columns: ColumnMap | Path | str | None = None,
    codes: str = "insurer",
    threads: int | None = None,
) -> Gathered:
    """Read, encode and clean cases.

    Parameters
    ----------
    scheme : whose exclusions, classes and code list apply. weights : number of year weights.
    match : group the cases by the scheme, too.
    """
    of_dx, of_px = (scheme.vocabulary(side, codes) for side in (DIAGNOSES, PROCEDURES))
    pieces = _Pieces()
    if isinstance(source, Sequence) and not isinstance(source, str):
        source = as_table(source) if all(isinstance(c, dict) for c in source) else source
    wanted = {*REQUIRED, *NUMBERS, *TEXTS, *WEIGHTS, *DATES, year_by, "total_cost_fen", FAULT}
    for part in iter_cases(source, wanted, columns=columns, threads=threads):
        with heard(None):  # what tells is the reading of pieces
            batch = encode_with(part.table, scheme, of_dx, of_px, threads=threads)
        pieces.counts.update({k: n for k, n in {**part.counts, **batch.counts}.items() if n})
        pieces.ids.append(text_array(part.table["case_id"]))
        with heard(None):
            _keep(pieces, batch, scheme, year_by, match, threads)
    return _join(pieces, weights, of_dx.texts, of_px.texts)


def _keep(
    pieces: _Pieces,
    batch: CaseBatch,
    scheme: DipScheme,
    year_by: str,
    match: bool,
    threads: int | None,
) -> None:
    n, c, s = len(batch), dip_cases(batch), scheme.arrays
    main, treatment, excluded = np.empty(n, np.int32), np.empty(n, np.int8), np.empty(n, np.uint8)
    _chunks.run(
        lambda a, b: kernels.describe_cases(c, s, main, treatment, excluded, a, b), n, threads
    )
    principal = np.full(n, -1, np.int32)
    has = c.dx_off[1:] > c.dx_off[:-1]
    principal[has] = np.maximum(c.dx[c.dx_off[:-1][has]], -1)
    cost, no_cost = cost_of(batch.table)
    left_out = np.zeros(n, np.uint8)
    years = years_of(batch.table, year_by)

    def mark(where: NDArray[np.bool_], why: LeftOut) -> None:
        left_out[where & (left_out == 0)] = why

    mark((c.reject != 0) | (principal < 0), LeftOut.REJECTED)
    mark(no_cost, LeftOut.NO_COST)
    mark(cost >= MOST_FEN, LeftOut.COST_OUT_OF_RANGE)
    mark(years == NO_DATE, LeftOut.NO_DATE)
    mark(excluded != 0, LeftOut.EXCLUDED_PRINCIPAL)
    pieces.add(principal=principal, px=c.px, px_count=np.diff(c.px_off), main=main)
    pieces.add(treatment=treatment, cost=cost, year=years, left_out=left_out)
    if match:
        out, bits = empty_dip_groups(n), np.zeros(n, np.int64)
        _chunks.run(lambda a, b: group_dip_range(c, scheme, out, a, b), n, threads)
        _chunks.run(lambda a, b: kernels.subtypes_of(c, s, bits, a, b), n, threads)
        pieces.add(group=out.group, subtypes=bits)


def cost_of(cases: pa.Table) -> tuple[I64, NDArray[np.bool_]]:
    """Return each cost and where there is none."""
    if "total_cost_fen" not in cases.schema.names:
        return np.zeros(len(cases), np.int64), np.ones(len(cases), np.bool_)
    cost = pc.fill_null(cases["total_cost_fen"].cast(pa.int64()), 0).to_numpy()
    return np.asarray(cost, np.int64), np.asarray(cost <= 0)


def years_of(cases: pa.Table, name: str) -> I32:
    if name not in cases.schema.names or pa.types.is_null(cases[name].type):
        absent = name not in cases.schema.names
        return np.full(len(cases), NO_YEAR if absent else NO_DATE, np.int32)
    years = pc.fill_null(pc.year(cases[name]), NO_DATE)
    return np.asarray(years.to_numpy(), np.int32)


def _join(pieces: _Pieces, weights: int, dx_texts: list[str], px_texts: list[str]) -> Gathered:
    left_out = pieces.joined("left_out", np.uint8)
    if len(left_out):
        twice = repeated(pa.concat_arrays(pieces.ids))
        left_out[twice] = LeftOut.REJECTED
    calendar = pieces.joined("year", np.int32)
    counted = calendar[left_out == 0]
    latest = int(counted.max()) if len(counted) else NO_YEAR
    years = tuple(latest - k for k in reversed(range(weights)))
    outside = (calendar < years[0]) & (left_out == 0)
    left_out[outside] = LeftOut.OUTSIDE_YEARS
    n = len(left_out)
    counts = np.concatenate([np.zeros(1, np.int64), pieces.joined("px_count", np.int64)])
    return Gathered(
        principal=pieces.joined("principal", np.int32),
        px_off=np.cumsum(counts),
        px=pieces.joined("px", np.int32),
        main=pieces.joined("main", np.int32),
        treatment=pieces.joined("treatment", np.int8),
        cost=pieces.joined("cost", np.int64),
        year=np.clip(calendar - years[0], 0, weights - 1).astype(np.int32),
        left_out=left_out,
        group=pieces.joined("group", np.int32)
        if "group" in pieces.columns
        else np.full(n, -1, np.int32),
        subtypes=pieces.joined("subtypes", np.int64),
        dx_texts=dx_texts,
        px_texts=px_texts,
        years=years,
        counts=dict(pieces.counts),
    )
