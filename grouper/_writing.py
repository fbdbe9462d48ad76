"""Tables → files and run folders, whole or not at all; and the content hash of a table.

Everything is written beside its place under a hidden name, flushed to the disk, then renamed: a
reader sees the old or the new, never a half. The content hash depends on values only: not on
chunks, dictionaries, 32- or 64-bit offsets, padding, the order of rows, or bytes under nulls.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from grouper._reading import EXCEL
from grouper.errors import CaseFileError, CaseSchemaError

MANIFEST = "manifest.json"
STATEMENTS = "statements/"
"""Where a run's statements stand in its folder."""


# ------------------------------------------------------------------------------------------ tables


def write_table(table: pa.Table, path: Path | str) -> None:
    """Write a table by the ending of `path`: .parquet, .arrow, .csv or .xlsx.

    Parameters
    ----------
    table : any table; in CSV and Excel lists are joined by ``|``; in Excel a column ``x_fen`` is
        written as yuan under the name ``x``, and no text becomes a formula.
    path : replaced if it exists; folders above it are made.

    Raises
    ------
    CaseFileError : the ending is unknown, the table does not fit Excel, or the disk refuses.
    """
    path = Path(path)
    write = _WRITERS.get(path.suffix.casefold())
    if write is None:
        known = ", ".join(_WRITERS)
        raise CaseFileError(f"of no known kind; a result ends in {known}", file=path.name)
    with _replacing(path) as file:
        write(table, file, path.name)


@contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a hidden file beside `path`; rename it at the end or, on an exception, remove it."""
    hidden = path.parent / f".{path.name}.{secrets.token_hex(4)}.tmp"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(hidden, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(hidden, path)
        _sync_folder(path.parent)
    except CaseFileError:
        raise
    except OSError as e:
        raise CaseFileError(f"cannot be written: {e.strerror or e}", file=str(path)) from None
    finally:
        with suppress(OSError):  # renamed already, or never made
            hidden.unlink()


def _sync_folder(folder: Path) -> None:
    """Flush the names in a folder, where the system has a way to."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _write_parquet(table: pa.Table, file: BinaryIO, name: str) -> None:
    import pyarrow.parquet as pq

    pq.write_table(table, file, compression="zstd")


def _write_arrow(table: pa.Table, file: BinaryIO, name: str) -> None:
    with pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)


def _write_csv(table: pa.Table, file: BinaryIO, name: str) -> None:
    import pyarrow.csv

    header = io.StringIO()
    csv.writer(header, lineterminator="\n").writerow(table.column_names)
    file.write(header.getvalue().encode())
    start = file.tell()
    plain = pa.table([_flat(c) for c in table.columns], names=table.column_names)
    try:
        options = pyarrow.csv.WriteOptions(include_header=False, quoting_style="none")
        pyarrow.csv.write_csv(plain, file, options)
    except pa.ArrowInvalid:  # some text needs quotation marks: then all text gets them
        file.seek(start)
        file.truncate()
        pyarrow.csv.write_csv(plain, file, pyarrow.csv.WriteOptions(include_header=False))


def _flat(column: Any) -> Any:
    """Decode dictionaries and join lists by ``|``; a null code in a list is blank."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return column.cast(kind.value_type)
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)):
        return column
    texts = column.cast(pa.list_(pa.string()))
    if any(c.flatten().null_count for c in texts.chunks):
        cells = [None if c is None else "|".join(x or "" for x in c) for c in texts.to_pylist()]
        return pa.chunked_array([pa.array(cells, pa.string())])
    return pc.binary_join(texts, "|")


EXCEL_ROWS = 1_048_575


def _write_excel(table: pa.Table, file: BinaryIO, name: str) -> None:
    """Write one sheet, row by row, in bounded memory."""
    try:
        import xlsxwriter
    except ImportError:
        raise CaseFileError(f"writing Excel needs XlsxWriter: {EXCEL}", file=name) from None
    if table.num_rows > EXCEL_ROWS:
        message = f"{table.num_rows} rows; Excel holds {EXCEL_ROWS}: write .parquet or .csv"
        raise CaseFileError(message, file=name)
    with tempfile.TemporaryDirectory() as scratch:
        options = {
            "constant_memory": True,
            "tmpdir": scratch,
            "strings_to_formulas": False,
            "strings_to_numbers": False,
            "strings_to_urls": False,
        }
        book = xlsxwriter.Workbook(file, options)
        try:
            _fill_sheet(book, table, name)
        finally:
            book.close()


def _fill_sheet(book: Any, table: pa.Table, name: str) -> None:
    sheet = book.add_worksheet()
    formats = {
        "money": book.add_format({"num_format": "0.00"}),
        "day": book.add_format({"num_format": "yyyy-mm-dd"}),
        "time": book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"}),
    }
    names = table.column_names
    is_money = [n.endswith("_fen") for n in names]
    for k, header in enumerate(names):
        short = header.removesuffix("_fen")
        sheet.write_string(0, k, f"{short}_yuan" if is_money[k] and short in names else short)
    at = 0
    for batch in table.to_batches(max_chunksize=1 << 14):
        columns = [_flat(pa.chunked_array([c])).to_pylist() for c in batch.columns]
        for row in zip(*columns, strict=True):
            at += 1
            for k, value in enumerate(row):
                if value is None:
                    continue
                if _write_cell(sheet, at, k, value, is_money[k], formats) < 0:
                    message = f"row {at + 1}, {names[k]}: too long for Excel"
                    raise CaseFileError(f"{message}; write .parquet or .csv", file=name)


def _write_cell(sheet: Any, row: int, k: int, value: Any, money: bool, formats: Any) -> int:
    """Write one value; below 0 = it does not fit."""
    if isinstance(value, bool):
        return int(sheet.write_boolean(row, k, value))
    if money and isinstance(value, int):
        return int(sheet.write_number(row, k, value / 100, formats["money"]))
    if isinstance(value, int | float | Decimal) and -(2**53) < value < 2**53:
        return int(sheet.write_number(row, k, float(value)))
    if isinstance(value, datetime):
        return int(sheet.write_datetime(row, k, value.replace(tzinfo=None), formats["time"]))
    if isinstance(value, date):
        return int(sheet.write_datetime(row, k, value, formats["day"]))
    text = str(value)
    if text.startswith("<r>"):  # what XlsxWriter would take for its own markup
        text = f" {text}"
    return int(sheet.write_string(row, k, text))


_WRITERS: dict[str, Callable[[pa.Table, BinaryIO, str], None]] = {
    ".parquet": _write_parquet,
    ".arrow": _write_arrow,
    ".csv": _write_csv,
    ".xlsx": _write_excel,
}


# -------------------------------------------------------------------------------------- run folders


@dataclass(frozen=True, eq=False)
class RunFolder:
    """A run as it was read back: its tables by name and its manifest."""

    path: Path
    tables: Mapping[str, pa.Table]
    manifest: Mapping[str, Any]


def write_run(
    folder: Path | str,
    tables: Mapping[str, pa.Table],
    manifest: Mapping[str, Any],
    files: Mapping[str, str | bytes] | None = None,
    *,
    overwrite: bool = False,
) -> Path:
    """Make a run folder: NAME.parquet of each table, files, manifest.json; whole or not at all.

    Parameters
    ----------
    folder : absent or empty, or with `overwrite` an earlier run (it has a manifest.json).
    tables : by name. manifest : what JSON can hold. files : relative path → text or bytes.

    Raises
    ------
    CaseFileError : the folder holds something else, a name leads out of it, or the disk refuses.
    """
    target = Path(folder).resolve()
    text = json.dumps(manifest, ensure_ascii=False, sort_keys=True, indent=2, allow_nan=False)
    contents = {_inside(f"{name}.parquet", target): table for name, table in tables.items()}
    plain = {_inside(name, target): content for name, content in (files or {}).items()}
    if clash := (contents.keys() & plain.keys()) | ({MANIFEST} & (contents.keys() | plain.keys())):
        raise CaseFileError(f"{min(clash)} would be written twice", file=str(target))
    _check_target(target, overwrite, {MANIFEST, *contents, *plain})
    hidden = target.parent / f".{target.name}.{secrets.token_hex(4)}.tmp"
    try:
        hidden.mkdir(parents=True)
        for name, table in contents.items():
            write_table(table, hidden / name)
        for name, content in {**plain, MANIFEST: text + "\n"}.items():
            with _replacing(hidden / name) as file:
                file.write(content.encode() if isinstance(content, str) else content)
        _put_in_place(hidden, target)
    except CaseFileError:
        raise
    except OSError as e:
        raise CaseFileError(f"cannot be written: {e.strerror or e}", file=str(target)) from None
    finally:
        shutil.rmtree(hidden, ignore_errors=True)
    return target


def _check_target(target: Path, overwrite: bool, names: set[str]) -> None:
    """Refuse a folder that holds anything but an earlier run of the same files."""
    if not target.exists():
        return
    if not target.is_dir():
        raise CaseFileError("it is a file; a run needs a folder of its own", file=str(target))
    if not any(target.iterdir()):
        return
    if not (target / MANIFEST).is_file():
        message = f"the folder is not empty and no earlier run (no {MANIFEST}); name another"
        raise CaseFileError(message, file=str(target))
    if not overwrite:
        message = "it holds an earlier run; allow overwriting or name another folder"
        raise CaseFileError(message, file=str(target))
    earlier = read_manifest(target)
    if earlier.get("run", {}).get("status") == "published":
        message = "it holds a published run, which is never overwritten; name another folder"
        raise CaseFileError(message, file=str(target))
    names = names | {f"{name}.parquet" for name in earlier.get("outputs", {})}
    held = (p.relative_to(target).as_posix() for p in target.rglob("*") if not p.is_dir())
    if foreign := sorted(x for x in set(held) - names if not x.startswith(STATEMENTS)):
        message = f"it also holds {foreign[0]}, which no run wrote; name another folder"
        raise CaseFileError(message, file=str(target))


def _inside(name: str, target: Path) -> str:
    """Return the name if it stays in the folder."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in name or not path.name:
        raise CaseFileError(f"the name {name!r} leads out of the folder", file=str(target))
    return str(path)


def _put_in_place(hidden: Path, target: Path) -> None:
    """Rename the finished folder; an earlier run steps aside and comes back if that fails."""
    earlier = None
    if target.exists():
        if any(target.iterdir()):
            earlier = target.parent / f".{target.name}.{secrets.token_hex(4)}.old"
            os.rename(target, earlier)
        else:
            target.rmdir()
    try:
        os.rename(hidden, target)
    except BaseException:
        if earlier is not None:
            os.rename(earlier, target)
        raise
    _sync_folder(target.parent)
    if earlier is not None:
        shutil.rmtree(earlier, ignore_errors=True)


def read_run(folder: Path | str) -> RunFolder:
    """Read a run folder back: every table in it and the manifest.

    Raises
    ------
    CaseFileError : no run is there, or a file of it is damaged.
    """
    import pyarrow.parquet as pq

    path = Path(folder)
    manifest = read_manifest(path)
    tables = {}
    for file in sorted(path.glob("*.parquet")):
        try:
            tables[file.stem] = pq.ParquetFile(file).read()
        except (pa.ArrowException, OSError):
            message = "no whole Parquet file, truncated or damaged; run again"
            raise CaseFileError(message, file=str(file)) from None
    return RunFolder(path, tables, manifest)


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read the manifest of a run folder.

    Raises
    ------
    CaseFileError : no run is there, or its manifest is damaged.
    """
    try:
        found = json.loads((folder / MANIFEST).read_text("utf-8"))
    except OSError:
        raise CaseFileError(f"no run is there: it has no {MANIFEST}", file=str(folder)) from None
    except ValueError as e:
        raise CaseFileError(f"{MANIFEST} is damaged: {e}", file=str(folder)) from None
    if not isinstance(found, dict):
        raise CaseFileError(f"{MANIFEST} is damaged: no object", file=str(folder))
    return found


def replace_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Put another manifest into a run folder, whole or not at all."""
    text = json.dumps(manifest, ensure_ascii=False, sort_keys=True, indent=2, allow_nan=False)
    with _replacing(folder / MANIFEST) as file:
        file.write(f"{text}\n".encode())


# ------------------------------------------------------------------------------------ content hash


def content_hash(table: pa.Table, key: str = "case_id") -> str:
    """Hash the values of a table (内容哈希), the same however Arrow happens to hold them.

    Parameters
    ----------
    table : columns of text, numbers, decimals, flags, dates, times, and lists of them.
    key : rows are sorted by its UTF-8 bytes, nulls last; ties by the other columns.

    Returns
    -------
    SHA-256 in hexadecimal, over the names, kinds and values of the columns in their order.

    Raises
    ------
    CaseSchemaError : there is no column `key`, or a column is of another type.

    Notes
    -----
    Whole numbers of any width are one kind, so are floats, strings and dates. For each column: its
    name and kind; a byte for each row, 1 = not null; then the values that are not null, integers as
    little-endian 64 bits, decimals as 256, strings as their lengths and then their bytes, lists as
    their lengths and then their items in the same way.
    """
    if table.column_names.count(key) != 1:
        raise CaseSchemaError([f"column {key!r} is the key of the hash and is not there once"])
    columns = [_canonical(table.column(k), name) for k, name in enumerate(table.column_names)]
    order = _order(columns, table.column_names.index(key))
    digest = hashlib.sha256()
    for name, column in zip(table.column_names, columns, strict=True):
        digest.update(f"{name}\0{_kind(column.type)}\0{len(column)}\0".encode())
        _feed(digest, column if order is None else column.take(pa.array(order)))
    return digest.hexdigest()


def _canonical(column: Any, name: str) -> Any:
    """Return one array of the type that stands for the column's kind."""
    wanted = _canonical_type(column.type)
    if wanted is None:
        raise CaseSchemaError([f"column {name!r} is {column.type}, which has no content hash"])
    chunks = [c if c.type == wanted else _cast(c, wanted) for c in column.chunks]
    return pa.concat_arrays(chunks) if chunks else pa.array([], wanted)


def _canonical_type(kind: pa.DataType) -> pa.DataType | None:
    """Return the one type of a kind: null = the kind has none."""
    t = pa.types
    if t.is_dictionary(kind):
        return _canonical_type(kind.value_type)
    if t.is_list(kind) or t.is_large_list(kind):
        inner = _canonical_type(kind.value_type)
        return None if inner is None else pa.large_list(inner)
    if t.is_integer(kind):
        return pa.uint64() if kind == pa.uint64() else pa.int64()
    if t.is_decimal(kind):
        return pa.decimal256(76, kind.scale)
    choices = (
        (t.is_string(kind) or t.is_large_string(kind) or t.is_string_view(kind), pa.large_string()),
        (t.is_binary(kind) or t.is_large_binary(kind), pa.large_binary()),
        (t.is_floating(kind), pa.float64()),
        (t.is_date(kind), pa.date32()),
        (t.is_timestamp(kind) or t.is_boolean(kind) or t.is_null(kind), kind),
    )
    return next((wanted for fits, wanted in choices if fits), None)


def _cast(chunk: Any, wanted: pa.DataType) -> Any:
    if pa.types.is_dictionary(chunk.type):
        chunk = chunk.dictionary_decode()
    if pa.types.is_large_list(wanted):
        inner = chunk.flatten()
        inner = inner if inner.type == wanted.value_type else _cast(inner, wanted.value_type)
        lengths = pc.fill_null(pc.list_value_length(chunk), 0).to_numpy()
        ends = np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))
        mask = chunk.is_null() if chunk.null_count else None
        return pa.LargeListArray.from_arrays(pa.array(ends), inner, mask=mask)
    return chunk if chunk.type == wanted else chunk.cast(wanted)


def _kind(kind: pa.DataType) -> str:
    return f"list of {_kind(kind.value_type)}" if pa.types.is_large_list(kind) else str(kind)


def _feed(digest: Any, array: Any) -> None:
    """Hash which entries are there, then the entries that are."""
    digest.update(array.is_valid().to_numpy(zero_copy_only=False).astype(np.uint8))
    array = array.drop_null()
    kind = array.type
    if pa.types.is_large_list(kind):
        digest.update(_words(pc.list_value_length(array)))
        _feed(digest, array.flatten())
    elif kind in (pa.large_string(), pa.large_binary()):
        digest.update(_words(pc.binary_length(array)))
        _, offsets, data = array.buffers()
        if len(array) and data is not None:
            ends = np.frombuffer(offsets, np.int64)[[array.offset, array.offset + len(array)]]
            digest.update(data.slice(ends[0], ends[1] - ends[0]))
    elif pa.types.is_decimal(kind):
        if len(array):
            digest.update(array.buffers()[1].slice(array.offset * 32, len(array) * 32))
    elif not pa.types.is_null(kind):
        digest.update(_words(array))


def _words(array: Any) -> NDArray[np.int64]:
    """Return an array without nulls as 64-bit integers; floats by their bits, one NaN, one zero."""
    if pa.types.is_floating(array.type):
        values = array.to_numpy() + 0.0  # -0.0 becomes 0.0
        words = np.where(np.isnan(values), np.nan, values).view(np.int64)
    elif array.type == pa.uint64():
        words = array.to_numpy().view(np.int64)
    else:
        days = array.cast(pa.int32()) if pa.types.is_date(array.type) else array
        words = days.cast(pa.int64()).to_numpy()
    return np.ascontiguousarray(words, np.dtype("<i8"))


def _order(columns: list[Any], key: int) -> NDArray[np.int64] | None:
    """Return the order of the rows; None = they stand in it."""
    texts = columns[key]
    if pa.types.is_large_list(texts.type):
        raise CaseSchemaError(["the key of the hash is a column of lists"])
    rank = _rank(texts if texts.type == pa.large_string() else texts.cast(pa.large_string()))
    if (rank[1:] > rank[:-1]).all():
        return None
    order = np.argsort(rank, kind="stable")
    tied = np.bincount(rank)[rank] > 1
    rows = np.flatnonzero(tied)
    if len(rows):
        others = [_rank(c.take(pa.array(rows))) for k, c in enumerate(columns) if k != key]
        placed = rows[np.lexsort([*others[::-1], rank[rows]])]
        order[tied[order]] = placed
    return order


def _rank(array: Any) -> NDArray[np.int64]:
    """Return the place of each entry among the distinct ones, in an order of values; nulls last."""
    kind = array.type
    if pa.types.is_null(kind):
        return np.zeros(len(array), np.int64)
    if pa.types.is_large_list(kind):
        array = pa.array([None if x is None else repr(x) for x in array.to_pylist()], pa.string())
    elif pa.types.is_floating(kind):
        there = array.is_valid().to_numpy(zero_copy_only=False)
        bits = _words(pc.fill_null(array, 0.0))
        array = pa.array(bits, mask=~there)
    elif pa.types.is_boolean(kind):
        array = array.cast(pa.int8())
    return np.asarray(pc.rank(array, tiebreaker="dense").to_numpy(), np.int64)
