"""How many cases a finding of the linter touches (影响病例数).

Codes are counted on all cases at once, by id. A row that is never reached concerns the cases that land in
the row before it and meet its own rule: only those are walked, one by one, by the plain reader of rules.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from grouper._cases import encode
from grouper._explain import Tracer
from grouper._grouping import group_encoded
from grouper.io import ColumnMap, read_cases
from grouper.tables import DrgScheme, Finding, load_scheme
from grouper.tables._check import Concern, check_noted
from grouper.tables._types import DIAGNOSES, PROCEDURES, Side


class Touched(NamedTuple):
    """A finding and how many cases it touches; None = it concerns no cases, or the scheme does not load."""

    finding: Finding
    cases: int | None


def check_cases(
    name: str | Path,
    cases: Any,
    *,
    columns: ColumnMap | Path | str | None = None,
    codes: str = "insurer",
    threads: int | None = None,
) -> list[Touched]:
    """List the findings about a scheme or policy, each with the number of cases that it touches.

    Parameters
    ----------
    name : a scheme or policy. cases : a file or table, as for `read_cases`. columns : a column map.
    codes : "insurer" or "clinical".

    Raises
    ------
    SchemeNotFound, TableError, PolicyError : as `grouper.tables.check`. CaseFileError, CaseSchemaError : as
        reading cases.
    """
    noted = check_noted(name)
    table = read_cases(cases, columns=columns, threads=threads).table
    fatal = any(f.severity == "error" for f, _ in noted)
    if fatal or all(c is None for _, c in noted):
        return [Touched(f, None) for f, _ in noted]
    scheme = load_scheme(name)
    assert isinstance(scheme, DrgScheme)
    reader = _Reader(scheme, table, codes, threads)
    return [Touched(f, None if c is None else reader.count(c)) for f, c in noted]


class _Reader:
    """Cases beside the scheme: what each finding asks, on the ids that the scheme's codes have."""

    def __init__(self, scheme: DrgScheme, table: pa.Table, codes: str, threads: int | None) -> None:
        self.scheme, self.table, self.codes = scheme, table, codes
        batch = encode(table, scheme, codes=codes, threads=threads)
        grouped = group_encoded(batch, threads=threads)
        self.drg, self.adrg = grouped.drg.drg, grouped.drg.adrg
        a = batch.arrays
        self.lists = (
            (a.dx_off, a.dx, DIAGNOSES, Side.ZYZD),
            (a.px_off, a.px, PROCEDURES, Side.ZYSS),
        )

    def count(self, concern: Concern) -> int:
        """Count the cases that a finding is about."""
        if concern.behind is not None:
            return self._behind(*concern.behind, concern.lost)
        found = np.zeros(len(self.table), np.bool_)
        of = self.scheme.code_id
        wanted = np.zeros(len(self.scheme.codes) + 1, np.bool_)  # the last: no, unknown, repeated
        wanted[[of[c] for c in concern.codes if c in of]] = True
        for off, ids, sides, first in self.lists:
            asked = Side(concern.sides) & sides
            if not asked:
                continue
            held = np.flatnonzero(wanted[np.maximum(ids, -1)])
            case = np.searchsorted(off, held, side="right") - 1
            if asked != sides:
                is_first = off[case] == held
                case = case[is_first if asked & first else ~is_first]
            found[case] = True
        return int(found.sum())

    def _behind(self, table: str, line: int, lost: Any) -> int:
        """Count the cases that land in a row and meet the rule of one that it keeps from them."""
        rows = self.scheme.adrgs if table == "adrg.csv" else self.scheme.drgs
        landed = self.adrg if table == "adrg.csv" else self.drg
        index = next(k for k, r in enumerate(rows) if r.line == line)
        where = np.flatnonzero(landed == index)
        cases: Sequence[dict[str, Any]] = self.table.take(pa.array(where)).to_pylist()
        return sum(Tracer(self.scheme, case, self.codes).meets(lost) for case in cases)
