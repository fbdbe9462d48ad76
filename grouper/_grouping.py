"""group: cases → groups. Validate, encode, kernel, wrap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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
from grouper.kernels.drg import group_drg
from grouper.tables import Reason, Scheme, Severity, Status, Warn, load_scheme
from grouper.tables._types import GroupArrays, empty_groups

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
    ]
)
"""Columns of a grouping result, in their order; blank is null."""

NOT_CARRIED = ("case_id", "diagnoses", "procedures", "tcm_diagnoses")
"""Case columns that a result does not carry on to settlement."""


@dataclass(frozen=True, eq=False)
class GroupedBatch:
    """Cases with their groups; rows stand in the order of the input.

    `arrays` holds indices into `scheme.mdcs`, `.adrgs`, `.drgs` and the codes of `Status`,
    `Reason`, `Severity`, `Warn`; `counts` the normalisations of reading and encoding.
    """

    table: pa.Table
    scheme: Scheme
    arrays: GroupArrays
    normalised: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.arrays.status)

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
        a, s = self.arrays, self.scheme
        adrg = [r.code.split("#")[0] for r in s.adrgs]
        rules = [f"{self._branch(d.parent)}drg.csv:{d.line}" for d in s.drgs]
        columns = [
            text_array(self.table["case_id"]),
            labels(a.status, [x.name.lower() for x in Status], pa.int8()),
            labels(a.mdc, [r.code for r in s.mdcs]),
            labels(a.adrg, adrg),
            labels(a.drg, [r.code for r in s.drgs]),
            labels(a.drg, [r.name or s.adrgs[r.parent].name for r in s.drgs]),
            labels(a.severity - 1, [x.name.lower() for x in Severity if x], pa.int8()),
            labels(a.drg, rules),
            pa.nulls(len(self), RESULT.field("decided_by").type),
            labels(a.reason.astype(np.int8) - 1, [x.name.lower() for x in Reason if x], pa.int8()),
            _warning_lists(a.warn),
            labels(np.zeros(len(self), np.int8), [s.id], pa.int8()),
            labels(np.zeros(len(self), np.int8), [s.fingerprint], pa.int8()),
        ]
        return pa.table(columns, schema=RESULT)

    def _branch(self, k: int) -> str:
        """Name the ADRG row that fired; its own code tells the branch of a split ADRG."""
        row = self.scheme.adrgs[k]
        return f"adrg.csv:{row.line} {row.code} > "

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


def group(
    cases: Any,
    scheme: Scheme | str | Path,
    *,
    codes: str = "insurer",
    threads: int | None = None,
) -> GroupedBatch:
    """Group cases by a DRG scheme (分组).

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
    out = empty_groups(len(batch))
    out.warn[:] = batch.warn
    arrays, rules = batch.arrays, batch.scheme.arrays
    _chunks.run(lambda a, b: group_drg(arrays, rules, out, a, b), len(batch), threads)
    return GroupedBatch(batch.table, batch.scheme, out, batch.counts)


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
    **dict.fromkeys(("los", "icu_hours"), pa.int64()),
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
