"""group: cases → groups. Validate, encode, kernel, wrap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from grouper import _chunks
from grouper._arrow import labels, text_array
from grouper._cases import CaseBatch, encode
from grouper.errors import CaseSchemaError
from grouper.kernels.dip import group_dip
from grouper.kernels.drg import group_drg
from grouper.tables import (
    DipScheme,
    DrgScheme,
    Reason,
    Scheme,
    Severity,
    Status,
    Warn,
    load_scheme,
)
from grouper.tables._dip import CLASSES
from grouper.tables._types import (
    I32,
    I64,
    Comparator,
    DipCases,
    DipGroupArrays,
    GroupArrays,
    empty_dip_groups,
    empty_groups,
)

if TYPE_CHECKING:
    import pandas as pd

RESULT = pa.schema(
    [
        ("case_id", pa.string()),
        ("status", pa.dictionary(pa.int8(), pa.string())),
        ("mdc", pa.dictionary(pa.int32(), pa.string())),
        ("adrg", pa.dictionary(pa.int32(), pa.string())),
        ("group", pa.dictionary(pa.int32(), pa.string())),
        ("group_name", pa.dictionary(pa.int32(), pa.string())),
        ("severity", pa.dictionary(pa.int8(), pa.string())),
        ("rule", pa.dictionary(pa.int32(), pa.string())),
        ("decided_by", pa.dictionary(pa.int8(), pa.string())),
        ("reason", pa.dictionary(pa.int8(), pa.string())),
        ("warnings", pa.list_(pa.string())),
        ("scheme", pa.dictionary(pa.int8(), pa.string())),
        ("scheme_fingerprint", pa.dictionary(pa.int8(), pa.string())),
        ("group_class", pa.dictionary(pa.int8(), pa.string())),
        ("treatment", pa.dictionary(pa.int8(), pa.string())),
        ("matched_terms", pa.int32()),
        ("aux_type", pa.dictionary(pa.int32(), pa.string())),
        ("aux_factor", pa.decimal128(12, 6)),
        ("aux_mean_fen", pa.int64()),
    ]
)
"""Columns of a grouping result, in their order; blank is null.

mdc, adrg and severity are those of a DRG scheme; decided_by and what follows scheme_fingerprint those
of a DIP catalogue.
"""

MOST_FEN = 10**13
"""Costs at or above this are taken as not known: they decide between no groups."""

NOT_CARRIED = ("case_id", "diagnoses", "procedures", "tcm_diagnoses")
"""Case columns that a result does not carry on to settlement."""


@dataclass(frozen=True, eq=False)
class GroupedBatch:
    """Cases with their groups; rows stand in the order of the input.

    `arrays` holds indices into `scheme.mdcs`, `.adrgs`, `.drgs` (DRG) or `scheme.groups` (DIP) and the
    codes of `Status`, `Reason`, `Severity`, `Comparator`, `Warn`; `normalised` the normalisations of
    reading and encoding.
    """

    table: pa.Table
    scheme: Scheme
    arrays: GroupArrays | DipGroupArrays
    normalised: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.arrays.status)

    @property
    def drg(self) -> GroupArrays:
        """The arrays of a DRG result."""
        assert isinstance(self.arrays, GroupArrays), "grouped by a DIP catalogue"
        return self.arrays

    @property
    def dip(self) -> DipGroupArrays:
        """The arrays of a DIP result."""
        assert isinstance(self.arrays, DipGroupArrays), "grouped by a DRG scheme"
        return self.arrays

    def counts(self) -> dict[str, int]:
        """Count rows by status; the four add up to `len(self)`."""
        found = np.bincount(self.arrays.status, minlength=len(Status))
        return {s.name.lower(): int(found[s]) for s in Status}

    def reasons(self) -> dict[str, int]:
        """Count rows by reason, those that have one."""
        found = np.bincount(self.arrays.reason, minlength=len(Reason))
        return {r.name.lower(): int(found[r]) for r in Reason if r and found[r]}

    def warnings(self) -> dict[str, int]:
        """Count rows by warning."""
        bits = self.arrays.warn
        found = {w.name.lower(): int(((bits & np.uint32(w)) != 0).sum()) for w in Warn if w.name}
        return {name: n for name, n in found.items() if n}

    @cached_property
    def _result(self) -> pa.Table:
        a, s, n = self.arrays, self.scheme, len(self)
        reasons = [x.name.lower() for x in Reason if x]
        columns = {
            "case_id": text_array(self.table["case_id"]),
            "status": labels(a.status, [x.name.lower() for x in Status], pa.int8()),
            "reason": labels(a.reason.astype(np.int8) - 1, reasons, pa.int8()),
            "warnings": _warning_lists(a.warn),
            "scheme": labels(np.zeros(n, np.int8), [s.id], pa.int8()),
            "scheme_fingerprint": labels(np.zeros(n, np.int8), [s.fingerprint], pa.int8()),
        }
        if isinstance(s, DrgScheme):
            columns |= _drg_columns(s, self.drg)
        else:
            columns |= _dip_columns(s, self.dip)
        arrays = [columns[f.name] if f.name in columns else pa.nulls(n, f.type) for f in RESULT]
        return pa.table(arrays, schema=RESULT)

    def to_arrow(self, *, carry: bool = False) -> pa.Table:
        """Return the result columns of `RESULT`.

        Parameters
        ----------
        carry : append the other columns of the cases but the code lists, as `settle` needs them.
        """
        if not carry:
            return self._result
        taken = (*NOT_CARRIED, *RESULT.names)
        table = self._result
        for name in self.table.schema.names:
            if name not in taken:
                table = table.append_column(self.table.schema.field(name), self.table[name])
        return table

    def to_pandas(self, *, carry: bool = False) -> pd.DataFrame:
        """Return `to_arrow` as a pandas data frame."""
        frame: pd.DataFrame = self.to_arrow(carry=carry).to_pandas()
        return frame


def _drg_columns(s: DrgScheme, a: GroupArrays) -> dict[str, Any]:
    adrg = [r.code.split("#")[0] for r in s.adrgs]
    above = [s.adrgs[d.parent] for d in s.drgs]  # its own code tells the branch of a split ADRG
    rows = zip(s.drgs, above, strict=True)
    rules = [f"adrg.csv:{up.line} {up.code} > drg.csv:{d.line}" for d, up in rows]
    return {
        "mdc": labels(a.mdc, [r.code for r in s.mdcs]),
        "adrg": labels(a.adrg, adrg),
        "group": labels(a.drg, [r.code for r in s.drgs]),
        "group_name": labels(
            a.drg, [r.name or up.name for r, up in zip(s.drgs, above, strict=True)]
        ),
        "severity": labels(a.severity - 1, [x.name.lower() for x in Severity if x], pa.int8()),
        "rule": labels(a.drg, rules),
    }


def _dip_columns(s: DipScheme, a: DipGroupArrays) -> dict[str, Any]:
    rows, none = s.lowered.aux_rows, a.group < 0
    of_type = [x.id for x in s.settings.auxiliary]
    classes = [CLASSES.index(g.kind) for g in s.groups]
    kinds = np.append(np.array(classes, np.int8), np.int8(-1))[a.group]
    rejected = a.status == Status.REJECTED
    treatments = np.where(rejected, np.int8(-1), a.treatment)
    types = np.append(s.arrays.aux_type, np.int32(-1))[a.aux]
    factors = [Decimal(int(f)).scaleb(-6) for f in s.arrays.aux_factor]
    return {
        "group": labels(a.group, [g.code for g in s.groups]),
        "group_name": labels(a.group, [g.name for g in s.groups]),
        "rule": labels(a.group, [f"groups.csv:{g.line}" for g in s.groups]),
        "decided_by": labels(a.decided, [x.name.lower() for x in Comparator], pa.int8()),
        "group_class": labels(kinds, CLASSES, pa.int8()),
        "treatment": labels(treatments, [t.id for t in s.settings.treatment], pa.int8()),
        "matched_terms": pa.array(a.terms, mask=none),
        "aux_type": labels(types, of_type),
        "aux_factor": _taken(factors, a.aux, RESULT.field("aux_factor").type),
        "aux_mean_fen": _taken([mean for _, _, mean in rows], a.aux, pa.int64()),
    }


def _taken(values: Sequence[Any], index: I32, kind: Any) -> Any:
    """Return values[index], null where the index is -1."""
    return pa.array([*values, None], kind).take(pa.array(np.where(index < 0, len(values), index)))


def group(
    cases: Any,
    scheme: Scheme | str | Path,
    *,
    codes: str = "insurer",
    threads: int | None = None,
) -> GroupedBatch:
    """Group cases by a DRG scheme or a DIP catalogue (分组).

    Parameters
    ----------
    cases : a `pa.Table`, RecordBatch, RecordBatchReader or dataset in the schema of `read_cases`, a
        pandas data frame, one case as a dict, or a list of such dicts. The answer is the same.
    scheme : a `Scheme`, the id of a shipped one, or a folder.
    codes : "insurer" (医保版) or "clinical" (国临版, mapped once).
    threads : default the cores this process may use; the answer does not depend on it.

    Raises
    ------
    CaseSchemaError : columns missing or of another kind. SchemeNotFound, TableError : no such scheme.
    """
    scheme = scheme if isinstance(scheme, Scheme) else load_scheme(scheme)
    batch = encode(as_table(cases), scheme, codes=codes, threads=threads)
    return group_encoded(batch, threads=threads)


def group_encoded(batch: CaseBatch, *, threads: int | None = None) -> GroupedBatch:
    """Group cases that are encoded already."""
    scheme, arrays, n = batch.scheme, batch.arrays, len(batch)
    if isinstance(scheme, DrgScheme):
        drg, rules = empty_groups(n), scheme.arrays
        drg.warn[:] = batch.warn
        _chunks.run(lambda a, b: group_drg(arrays, rules, drg, a, b), n, threads)
        return GroupedBatch(batch.table, scheme, drg, batch.counts)
    dip, encoded = empty_dip_groups(n), dip_cases(batch)
    dip.warn[:] = batch.warn
    _chunks.run(lambda a, b: group_dip_range(encoded, scheme, dip, a, b), n, threads)
    return GroupedBatch(batch.table, scheme, dip, batch.counts)


def dip_cases(batch: CaseBatch) -> DipCases:
    """Return a batch encoded for a DIP catalogue as its kernel reads it."""
    assert batch.classes is not None, "encoded for a DRG scheme"
    return DipCases(*batch.arrays, *batch.classes, _cost(batch.table))


def group_dip_range(
    cases: DipCases, scheme: DipScheme, out: DipGroupArrays, start: int, stop: int
) -> None:
    """Group cases start … stop-1 with scratch of their own."""
    group_dip(cases, scheme.arrays, out, np.empty(len(Comparator), np.int64), start, stop)


def _cost(cases: pa.Table) -> I64:
    """Return each case's total cost in fen, -1 where it is not known."""
    if "total_cost_fen" not in cases.schema.names:
        return np.full(len(cases), -1, np.int64)
    cost = cases["total_cost_fen"]
    if not pa.types.is_integer(cost.type) and not pa.types.is_null(cost.type):
        message = f"column 'total_cost_fen' is {cost.type}, not whole fen (int64)"
        raise CaseSchemaError([message])
    values = pc.fill_null(cost.cast(pa.int64()), -1).to_numpy()
    return np.where((values < 0) | (values >= MOST_FEN), np.int64(-1), values)


def as_table(cases: Any) -> pa.Table:
    """Turn whatever holds cases into one Arrow table."""
    if isinstance(cases, pa.Table):
        return cases
    if isinstance(cases, Mapping):
        return _from_dicts([cases])
    if isinstance(cases, Sequence) and all(isinstance(c, Mapping) for c in cases):
        return _from_dicts(cases)
    if isinstance(cases, pa.RecordBatch):
        return pa.Table.from_batches([cases])
    if isinstance(cases, pa.RecordBatchReader):
        return cases.read_all()
    if hasattr(cases, "to_table"):  # pyarrow.dataset
        return cases.to_table()
    if hasattr(cases, "__arrow_c_stream__"):  # Polars, pandas, DuckDB
        return pa.table(cases)
    raise TypeError(f"cases as {type(cases).__name__}: give a table, a data frame or dicts")


CODES = pa.list_(pa.string())
CASE_TYPES = {
    **dict.fromkeys(("case_id", "discharge_mode", "department"), pa.string()),
    **dict.fromkeys(("sex", "age", "age_days", "birth_weight", "admission_weight"), pa.int64()),
    **dict.fromkeys(("los", "icu_hours", "total_cost_fen"), pa.int64()),
    **dict.fromkeys(("diagnoses", "procedures"), CODES),
}


def _from_dicts(cases: Sequence[Mapping[str, Any]]) -> pa.Table:
    names = list(dict.fromkeys(name for case in cases for name in case))
    columns, faults = {}, []
    for name in names if cases else CASE_TYPES:
        values = [c.get(name) for c in cases]
        try:
            if CASE_TYPES.get(name) == CODES and any(isinstance(v, str) for v in values):
                raise TypeError("one text where a list of codes belongs")
            columns[name] = pa.array(values, CASE_TYPES.get(name))
        except (pa.ArrowException, TypeError, OverflowError) as e:
            faults.append(f"column {name!r}: {e}")
    if faults:
        raise CaseSchemaError(faults)
    return pa.table(columns)


def _warning_lists(warn: Any) -> pa.Array:
    """Return each row's warnings as a list of names, in the order of their bits."""
    distinct, inverse = np.unique(warn, return_inverse=True)
    lists = [[w.name.lower() for w in Warn if w & int(bits) and w.name] for bits in distinct]
    return pc.take(pa.array(lists, pa.list_(pa.string())), pa.array(inverse))
