"""Result rows as dicts: those of `GroupedBatch.to_arrow().to_pylist()`, sooner.

That costs milliseconds whatever their number, since it lays out the names of all groups, and then a scalar
object a cell. Here the values of a few rows are looked up, those of many taken column by column.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from grouper._arrow import text_array
from grouper._grouped import RESULT, GroupedBatch, Part
from grouper.tables import DipScheme, DrgScheme, Reason, Severity, Status, Warn
from grouper.tables._dip import CLASSES
from grouper.tables._types import Comparator, DipGroupArrays, GroupArrays

FEW = 64
"""Up to so many rows this is the quicker way."""


def result_rows(grouped: GroupedBatch) -> list[dict[str, Any]]:
    """Return the result rows (分组结果) as dicts, in the order of the input."""
    if len(grouped) > FEW:
        return _rows(grouped.to_arrow())
    ids = text_array(grouped.table["case_id"]).to_pylist()
    found: dict[int, dict[str, Any]] = {}
    for part in grouped.parts:
        places = range(len(ids)) if part.rows is None else np.asarray(part.rows).tolist()
        for k, place in enumerate(places):
            found[place] = _row(part, k, ids[place])
    return [found[k] for k in range(len(ids))]


def _rows(table: pa.Table) -> list[dict[str, Any]]:
    names = table.column_names
    return [
        dict(zip(names, row, strict=True)) for row in zip(*map(_values, table.columns), strict=True)
    ]


def _values(column: pa.ChunkedArray) -> list[Any]:
    """Return the values of a column; those of a dictionary are made once."""
    if not pa.types.is_dictionary(column.type):
        values: list[Any] = column.to_pylist()
        return values
    found: list[Any] = []
    for chunk in column.chunks:
        known = [*chunk.dictionary.to_pylist(), None]
        places = pc.fill_null(chunk.indices, len(known) - 1).to_numpy().tolist()
        found += map(known.__getitem__, places)
    return found


def _row(part: Part, k: int, case_id: str) -> dict[str, Any]:
    a, s = part.arrays, part.scheme
    row: dict[str, Any] = dict.fromkeys(RESULT.names)
    warn = Warn(int(a.warn[k]))
    row |= {
        "case_id": case_id,
        "status": Status(int(a.status[k])).name.lower(),
        "reason": Reason(int(a.reason[k])).name.lower() if a.reason[k] else None,
        "warnings": [w.name.lower() for w in Warn if w & warn and w.name],
    }
    if s is None:
        return row
    row |= {"scheme": s.id, "scheme_fingerprint": s.fingerprint}
    if isinstance(s, DrgScheme) and isinstance(a, GroupArrays):
        row |= dict(_drg(s, a, k))
    elif isinstance(s, DipScheme) and isinstance(a, DipGroupArrays):
        row |= dict(_dip(s, a, k))
    return row


def _drg(s: DrgScheme, a: GroupArrays, k: int) -> Iterator[tuple[str, Any]]:
    if a.mdc[k] >= 0:
        yield "mdc", s.mdcs[a.mdc[k]].code
    if a.adrg[k] >= 0:
        yield "adrg", s.adrgs[a.adrg[k]].code.split("#")[0]
    if a.severity[k]:
        yield "severity", Severity(int(a.severity[k])).name.lower()
    if a.drg[k] >= 0:
        drg = s.drgs[a.drg[k]]
        above = s.adrgs[drg.parent]
        yield "group", drg.code
        yield "group_name", drg.name or above.name
        yield "rule", f"adrg.csv:{above.line} {above.code} > drg.csv:{drg.line}"


def _dip(s: DipScheme, a: DipGroupArrays, k: int) -> Iterator[tuple[str, Any]]:
    if a.status[k] != Status.REJECTED and a.treatment[k] >= 0:
        yield "treatment", s.settings.treatment[a.treatment[k]].id
    if a.decided[k] >= 0:
        yield "decided_by", Comparator(int(a.decided[k])).name.lower()
    if a.group[k] >= 0:
        g = s.groups[a.group[k]]
        yield "group", g.code
        yield "group_name", g.name
        yield "rule", f"groups.csv:{g.line}"
        yield "group_class", CLASSES[CLASSES.index(g.kind)]
        yield "matched_terms", int(a.terms[k])
    if a.aux[k] >= 0:
        yield "aux_type", s.settings.auxiliary[s.arrays.aux_type[a.aux[k]]].id
        yield "aux_factor", Decimal(int(s.arrays.aux_factor[a.aux[k]])).scaleb(-6)
        yield "aux_mean_fen", s.lowered.aux_rows[a.aux[k]][2]
