"""Tables other than cases: a grouped file for settlement, the dated list of hospitals."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pv
import pyarrow.feather as pf
import pyarrow.parquet as pq

from grouper._columns import BY_NAME
from grouper._grouped import RESULT
from grouper.errors import CaseFileError, CaseSchemaError, nearest

HOSPITALS = {
    "hospital_id": pa.string(),
    "hospital_level": pa.string(),
    "hospital_class": pa.string(),
    "hospital_area": pa.string(),
    "valid_from": pa.date32(),
    "valid_to": pa.date32(),
}
"""Columns of the table of hospitals that settlement reads; others may stand beside them."""


LEDGER = {
    **dict.fromkeys(("entry_id", "kind", "pool_id", "hospital_id", "case_id"), pa.string()),
    **dict.fromkeys(("settlement_month", "amount", "value", "outcome", "reason"), pa.string()),
    **dict.fromkeys(("reference", "entered_by"), pa.string()),
    "amount_fen": pa.int64(),
    "entered_on": pa.date32(),
}
"""Columns of the ledger that people write."""


_CELLS = re.compile(r"(?<=got )([0-9]+): .*|'.*'", re.DOTALL)
"""Where Arrow's message goes on with cells of the file, which stay out of ours."""


def read_grouped(path: Path | str) -> pa.Table:
    """Read a grouped file (入组结果) as `grouper group` wrote it: Parquet, Arrow or CSV.

    Raises
    ------
    CaseFileError : it cannot be read. CaseSchemaError : it is no grouped file.
    """
    kinds = {name: c.arrow for name, c in BY_NAME.items() if c.kind != "codes"}
    kinds |= {f.name: pa.string() for f in RESULT}
    return _read(path, kinds, ["case_id", "status", "group"], "grouped cases")


def read_hospitals(path: Path | str) -> pa.Table:
    """Read the dated table of hospitals (定点医药机构表): hospital_id, hospital_level, valid_from, valid_to.

    Raises
    ------
    CaseFileError : it cannot be read. CaseSchemaError : a column is missing.
    """
    return _read_list(path, HOSPITALS, ["hospital_id", "hospital_level"], "hospitals")


def read_ledger(path: Path | str) -> pa.Table:
    """Read entries of the ledger (台账分录), see docs/policy.md: Parquet, Arrow or CSV.

    An amount is `amount` in yuan or `amount_fen`; both are kept as they are written, for settlement.

    Raises
    ------
    CaseFileError : it cannot be read. CaseSchemaError : a column is missing.
    """
    return _read_list(path, LEDGER, ["entry_id", "kind"], "ledger entries")


def _read_list(
    path: Path | str, kinds: dict[str, Any], needed: Sequence[str], what: str
) -> pa.Table:
    """Read a table that people write by hand: CSV in UTF-8 or GB18030, each fault with its row."""
    path = Path(path)
    if path.suffix != ".csv" or not path.is_file():
        return _read(path, kinds, needed, what)
    data = path.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        try:
            text = data.decode("gb18030")
        except UnicodeDecodeError:
            message = "neither UTF-8 nor GB18030; save it as UTF-8"
            raise CaseFileError(message, file=path.name) from None
    try:
        rows = [r for r in csv.reader(io.StringIO(text, newline="")) if any(c.strip() for c in r)]
    except csv.Error as e:
        raise CaseFileError(f"cannot be read as {what}: {e}", file=path.name) from None
    header = [h.strip() for h in rows[0]] if rows else []
    if twice := sorted({h for h in header if header.count(h) > 1 and h}):
        raise CaseSchemaError([f"{path.name}: the header {h!r} stands twice" for h in twice])
    _check_needed(path, header, needed, kinds, what)
    columns: dict[str, list[Any]] = {name: [] for name in header if name}
    faults = []
    for line, cells in enumerate(rows[1:], 2):
        if len(cells) != len(header):
            faults.append(
                f"{path.name}:{line}: {len(cells)} cells where the header has {len(header)}"
            )
            continue
        for name, cell in zip(header, cells, strict=True):
            if not name:
                continue  # a column without a header is left out
            try:
                columns[name].append(_cell(cell.strip(), kinds.get(name, pa.string())))
            except ValueError as e:
                faults.append(f"{path.name}:{line}: {name} {cell!r} {e}")
    if faults:
        raise CaseSchemaError(faults[:20])
    return pa.table(
        {n: pa.array(values, kinds.get(n, pa.string())) for n, values in columns.items()}
    )


def _check_needed(
    path: Path, header: Sequence[str], needed: Sequence[str], known: Iterable[str], what: str
) -> None:
    """Refuse a table that lacks columns; name the header that may be meant."""
    lacking = [c for c in needed if c not in header]
    if not lacking:
        return
    known, faults = set(known), []
    for c in lacking:
        near = nearest(c, [h for h in header if h not in known])
        hint = f"; the nearest header is {near!r}" if near else ""
        faults.append(f"{path.name}: column {c!r} of the {what} is missing{hint}")
    raise CaseSchemaError([*faults, f"it has {', '.join(header) or 'nothing'}"])


def _cell(text: str, kind: pa.DataType) -> Any:
    """Read a cell of a hand-written table; blank is null."""
    if not text:
        return None
    if pa.types.is_date(kind):
        found = re.fullmatch(r"([0-9]{4})[-/.]([0-9]{1,2})[-/.]([0-9]{1,2})", text)
        try:
            return date(*(int(part) for part in found.groups())) if found else _no_day()
        except ValueError:
            return _no_day()
    if pa.types.is_integer(kind):
        if not re.fullmatch(r"-?[0-9]{1,18}", text):
            raise ValueError("is no whole number")
        return int(text)
    return text


def _no_day() -> Any:
    raise ValueError("is no day such as 2025-02-20")


def _read(path: Path | str, kinds: dict[str, Any], needed: Sequence[str], what: str) -> pa.Table:
    path = Path(path)
    if not path.is_file():
        raise CaseFileError(f"no such file of {what}", file=str(path))
    try:
        if path.suffix == ".parquet":
            table = pq.read_table(path, page_checksum_verification=True)
        elif path.suffix in (".arrow", ".feather"):
            table = pf.read_table(path)
        elif path.suffix == ".csv":
            convert = pv.ConvertOptions(column_types=kinds, strings_can_be_null=True)
            table = pv.read_csv(path, convert_options=convert)
        else:
            raise CaseFileError("give .parquet, .arrow or .csv", file=path.name)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as e:
        said = _CELLS.sub(lambda found: found[1] or "…", str(e))
        raise CaseFileError(f"cannot be read as {what}: {said}", file=path.name) from None
    _check_needed(path, table.schema.names, needed, kinds, what)
    if "warnings" in table.schema.names and pa.types.is_string(table["warnings"].type):
        k = table.schema.get_field_index("warnings")
        lists = pc.split_pattern(pc.fill_null(table["warnings"], ""), "|")
        none = pc.equal(pc.fill_null(table["warnings"], ""), "")
        empty = pa.scalar([], pa.list_(pa.string()))
        table = table.set_column(k, "warnings", pc.if_else(none, empty, lists))
    return table
