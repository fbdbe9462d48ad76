"""The proof of rows (病例数核对): every row read ended in one status, by file, hospital and month."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from grouper._arrow import text_array
from grouper._grouped import GroupedBatch
from grouper._reading import FileRead
from grouper.errors import ConservationError
from grouper.tables import Status

STATUSES = tuple(s.name.lower() for s in Status)
DAYS = ("settlement_date", "discharge_date")
"""What tells the month of a case: the first of these that it has."""


def prove_rows(cases: pa.Table, grouped: GroupedBatch, files: Sequence[FileRead]) -> dict[str, Any]:
    """Count rows in and rows by status out; in all, by file, by hospital and by month.

    Parameters
    ----------
    cases : as they were read. files : what was read, in the order of the rows.

    Returns
    -------
    `input` and a count for each status; the same under `by_file`, `by_hospital`, `by_month`.

    Raises
    ------
    ConservationError : somewhere rows in and rows out differ; such a result is never written.
    """
    status = np.concatenate([p.arrays.status for p in grouped.parts] or [np.zeros(0, np.uint8)])
    if len(grouped.parts) > 1 or (grouped.parts and grouped.parts[0].rows is not None):
        place = np.concatenate([np.asarray(p.rows) for p in grouped.parts])
        if len(np.unique(place)) != len(place):
            raise ConservationError("a case was grouped by two editions")
        ordered = np.empty(len(place), status.dtype)
        ordered[place] = status
        status = ordered
    if not len(cases) == len(status) == len(grouped):
        raise ConservationError(f"{len(cases)} rows read, {len(status)} have a status")
    proof: dict[str, Any] = _line(len(cases), np.bincount(status, minlength=len(STATUSES)), "all")
    if any(f.rows for f in files):
        sizes = [f.rows for f in files]
        of = np.repeat(np.arange(len(files)), sizes)
        if len(of) != len(status):
            raise ConservationError(f"the files hold {len(of)} rows, {len(status)} have a status")
        proof["by_file"] = _by("file", [f.name for f in files], of, status, sizes)
    for name, texts in (("hospital", _hospitals(cases)), ("month", _months(cases))):
        if texts is not None:
            encoded = pc.fill_null(texts, "").dictionary_encode()
            of = encoded.indices.to_numpy()
            names = encoded.dictionary.to_pylist()
            sizes = np.bincount(of, minlength=len(names)).tolist()
            rows = _by(name, names, of, status, sizes)
            proof[f"by_{name}"] = sorted(rows, key=lambda r: r[name].encode())
    return proof


def _line(rows: int, counts: NDArray[Any], where: str) -> dict[str, Any]:
    line = {"input": int(rows), **{s: int(n) for s, n in zip(STATUSES, counts, strict=True)}}
    if line["input"] != sum(line[s] for s in STATUSES):
        raise ConservationError(f"rows of {where}: {line}")
    return line


def _by(
    name: str, names: Sequence[str], of: NDArray[Any], status: NDArray[Any], sizes: Sequence[int]
) -> list[dict[str, Any]]:
    width = len(STATUSES)
    counts = np.bincount(of.astype(np.int64) * width + status, minlength=len(names) * width)
    table = counts.reshape(len(names), width)
    return [
        {name: key, **_line(n, row, f"{name} {key!r}")}
        for key, n, row in zip(names, sizes, table, strict=True)
        if n or name == "file"
    ]


def _hospitals(cases: pa.Table) -> Any:
    return text_array(cases["hospital_id"]) if "hospital_id" in cases.column_names else None


def _months(cases: pa.Table) -> Any:
    held = [cases[d].cast(pa.date32()) for d in DAYS if d in cases.column_names]
    held = [d for d in held if d.null_count < len(d)]
    if not held:
        return None
    months = pc.strftime(pc.coalesce(*held), "%Y-%m")
    return text_array(months)
