"""What grouping returns: cases with their groups, as arrays and as a result table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from grouper._arrow import labels, text_array
from grouper.tables import DipScheme, DrgScheme, Reason, Scheme, Severity, Status, Warn
from grouper.tables._dip import CLASSES
from grouper.tables._types import I32, I64, Comparator, DipGroupArrays, GroupArrays

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

NOT_CARRIED = ("case_id", "diagnoses", "procedures", "tcm_diagnoses")
"""Case columns that a result does not carry on to settlement."""


@dataclass(frozen=True, eq=False)
class Part:
    """The cases of a batch that one scheme groups.

    `arrays` holds indices into the scheme's `mdcs`, `adrgs`, `drgs` (DRG) or `groups` (DIP) and the codes
    of `Status`, `Reason`, `Severity`, `Comparator`, `Warn`. `rows` are those of the batch, None = all
    of them. `scheme` is None where no edition is in force: every case is rejected.
    """

    scheme: Scheme | None
    arrays: GroupArrays | DipGroupArrays
    rows: I64 | None = None


@dataclass(frozen=True, eq=False)
class GroupedBatch:
    """Cases with their groups; rows stand in the order of the input.

    Nearly always one scheme groups all; where a policy's editions change inside the batch there is a
    `Part` for each. `normalised` counts the normalisations of reading and encoding.
    """

    table: pa.Table
    parts: tuple[Part, ...]
    normalised: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.table)

    @property
    def schemes(self) -> tuple[Scheme, ...]:
        """The schemes that grouped the cases, each once."""
        return tuple(dict.fromkeys(p.scheme for p in self.parts if p.scheme is not None))

    @property
    def drg(self) -> GroupArrays:
        """The arrays of a result by one DRG scheme."""
        assert len(self.parts) == 1, "grouped by several editions: see `parts`"
        arrays = self.parts[0].arrays
        assert isinstance(arrays, GroupArrays), "grouped by a DIP catalogue"
        return arrays

    @property
    def dip(self) -> DipGroupArrays:
        """The arrays of a result by one DIP catalogue."""
        assert len(self.parts) == 1, "grouped by several editions: see `parts`"
        arrays = self.parts[0].arrays
        assert isinstance(arrays, DipGroupArrays), "grouped by a DRG scheme"
        return arrays

    def counts(self) -> dict[str, int]:
        """Count rows by status; the four add up to `len(self)`."""
        found = sum(np.bincount(p.arrays.status, minlength=len(Status)) for p in self.parts)
        return {s.name.lower(): int(np.asarray(found)[s]) for s in Status}

    def reasons(self) -> dict[str, int]:
        """Count rows by reason, those that have one."""
        found = sum(np.bincount(p.arrays.reason, minlength=len(Reason)) for p in self.parts)
        return {r.name.lower(): int(n) for r in Reason if r and (n := np.asarray(found)[r])}

    def warnings(self) -> dict[str, int]:
        """Count rows by warning."""
        found = {w.name.lower(): self._warned(w) for w in Warn if w.name}
        return {name: n for name, n in found.items() if n}

    def _warned(self, bit: Warn) -> int:
        return sum(int(((p.arrays.warn & np.uint32(bit)) != 0).sum()) for p in self.parts)

    @cached_property
    def _result(self) -> pa.Table:
        ids = text_array(self.table["case_id"])
        if len(self.parts) == 1 and self.parts[0].rows is None:
            return _part_table(self.parts[0], ids)
        rows = [np.asarray(p.rows) for p in self.parts]
        tables = [
            _part_table(p, ids.take(pa.array(of))) for p, of in zip(self.parts, rows, strict=True)
        ]
        place = np.argsort(np.concatenate(rows), kind="stable")
        return pa.concat_tables(tables).unify_dictionaries().take(pa.array(place))

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


def _part_table(part: Part, ids: Any) -> pa.Table:
    """Lay out the cases of one part; `ids` are theirs."""
    a, s, n = part.arrays, part.scheme, len(part.arrays.status)
    reasons = [x.name.lower() for x in Reason if x]
    columns = {
        "case_id": ids,
        "status": labels(a.status, [x.name.lower() for x in Status], pa.int8()),
        "reason": labels(a.reason.astype(np.int8) - 1, reasons, pa.int8()),
        "warnings": _warning_lists(a.warn),
    }
    if s is not None:
        columns["scheme"] = labels(np.zeros(n, np.int8), [s.id], pa.int8())
        columns["scheme_fingerprint"] = labels(np.zeros(n, np.int8), [s.fingerprint], pa.int8())
    if isinstance(s, DrgScheme) and isinstance(a, GroupArrays):
        columns |= _drg_columns(s, a)
    elif isinstance(s, DipScheme) and isinstance(a, DipGroupArrays):
        columns |= _dip_columns(s, a)
    arrays = [columns[f.name] if f.name in columns else pa.nulls(n, f.type) for f in RESULT]
    return pa.table(arrays, schema=RESULT)


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


def _warning_lists(warn: Any) -> pa.Array:
    """Return each row's warnings as a list of names, in the order of their bits."""
    distinct, inverse = np.unique(warn, return_inverse=True)
    lists = [[w.name.lower() for w in Warn if w & int(bits) and w.name] for bits in distinct]
    return pc.take(pa.array(lists, pa.list_(pa.string())), pa.array(inverse))
