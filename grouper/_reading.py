"""Files of cases → headers and columns as they were given.

Find the files, decode them, name their headers, load only the columns that are wanted: a column that
looks personal never enters memory as a column. What the cells mean is the next step, `_cells`.
"""

from __future__ import annotations

import codecs
import csv
import difflib
import glob
import gzip
import hashlib
import io
import os
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from grouper import _chunks, _database
from grouper._arrow import check_memory
from grouper._cells import is_utf8
from grouper._workbook_guard import CASES, check_workbook, is_panic
from grouper.errors import CaseFileError

Chunks: TypeAlias = Any  # a pa.ChunkedArray: pyarrow ships no types
Bools: TypeAlias = NDArray[np.bool_]

FAULT = "input_fault"
"""Column naming what could not be read in a row; `grouper.group` rejects such a row."""

MOST_UNPACKED, MOST_RATIO, MOST_ROWS = 256 << 20, 250, 1_000_000
"""What .csv.gz and Parquet may unpack to: so many bytes, or so many times the size; rows beside 8 a byte."""

EXCEL = 'pip install "drgdip-grouper[excel]"'


class Rows(NamedTuple):
    """Loaded columns; `faults` holds (row, text) of rows of a wrong width, `where` their lines."""

    columns: list[Chunks]
    n: int
    faults: Sequence[tuple[int, str]] = ()
    where: Sequence[str] = ()


@dataclass(frozen=True)
class Source:
    """A file or table whose headers are known; `load` reads the columns at the given places."""

    name: str
    headers: list[str]
    load: Callable[[Sequence[int]], Rows]
    counts: Mapping[str, int] = field(default_factory=dict)
    size: int = 0
    sha256: Callable[[], str] | None = None  # None: not a file
    beside: tuple[Source, ...] = ()  # further files that are read with it
    tables: Mapping[str, ListTable] = field(default_factory=dict)  # the long tables it is made of


class ListTable(NamedTuple):
    """One long table of a settlement list; `key` is the header that names the case."""

    source: Source
    key: str


class FileRead(NamedTuple):
    """One file as it was read."""

    name: str
    bytes: int
    sha256: str
    rows: int


# ------------------------------------------------------------------------------------ finding files


def find_files(source: str | Path) -> list[Path]:
    """List the files that a path, a folder or a pattern stands for, sorted.

    Parameters
    ----------
    source : a file, a folder (its files of known kinds, not those below) or a glob pattern.

    Raises
    ------
    CaseFileError : nothing matches; the nearest existing names are told.
    """
    if _database.is_database(source):
        message = "a database is no file here; write its cases to one first"
        raise CaseFileError(message, file=_database.Address.of(str(source)).shown)
    path = Path(source)
    if path.is_dir():
        return _files_of_folder(path)
    if path.exists():
        return [path]
    if glob.has_magic(str(source)):
        found = [Path(p) for p in sorted(glob.glob(str(source), recursive=True))]
        files = [f for p in found for f in (_files_of_folder(p) if p.is_dir() else [p])]
        if files:
            return list(dict.fromkeys(files))
    raise CaseFileError(f"no such file; {_nearby(path)}", file=str(source))


def _files_of_folder(folder: Path) -> list[Path]:
    files = sorted(
        p for p in folder.iterdir() if p.is_file() and p.name[0] not in "._~" and _ending(p)
    )
    if not files:
        known = ", ".join(_OPENERS)
        message = f"no case files in this folder; a case file ends in {known}"
        raise CaseFileError(message, file=str(folder))
    return files


def _ending(path: Path) -> str:
    name = path.name.casefold()
    return next((e for e in _OPENERS if name.endswith(e)), "")


def _nearby(path: Path) -> str:
    """Tell the names beside `path` that are most like its own."""
    folder = next(p for p in (path.parent, *path.parent.parents) if p.is_dir())
    wanted = path.relative_to(folder).parts[0] if folder != path.parent else path.name
    names = sorted(p.name for p in folder.iterdir() if not p.name.startswith("."))
    plain = re.sub(r"[*?\[\]]", "", wanted)
    near = difflib.get_close_matches(plain, names, n=3, cutoff=0.4) or names[:3]
    return f"the nearest names there are: {', '.join(near)}" if near else "its folder is empty"


# ------------------------------------------------------------------------------------ opening files


@dataclass(frozen=True)
class Options:
    """How files are to be read: what the column map says, and threads."""

    encoding: str | None = None
    sheet: str | None = None
    threads: int | None = None


def open_file(path: Path, options: Options, pool: Executor) -> Source:
    """Read a file's headers.

    Parameters
    ----------
    path : the file. options : encoding, sheet, threads. pool : where the file is hashed meanwhile.

    Raises
    ------
    CaseFileError : missing, empty, truncated, or of an unknown kind.
    """
    ending = _ending(path)
    if not ending:
        known = ", ".join(_OPENERS)
        raise CaseFileError(f"of no known kind; a case file ends in {known}", file=path.name)
    if ending == ".xlsx" and path.is_file() and path.stat().st_size > CASES.size:
        raise CaseFileError("too large for Excel; write it as .csv or .parquet", file=path.name)
    try:
        data = _read_whole(path)
    except CaseFileError:
        raise
    except OSError as e:
        raise CaseFileError(f"cannot be read: {e.strerror}", file=str(path)) from None
    if not data:
        raise CaseFileError("the file is empty (0 bytes); export it again", file=path.name)
    digest = pool.submit(lambda: hashlib.sha256(data).hexdigest())
    headers, load, counts = _OPENERS[ending](data, path.name, options)
    return Source(path.name, headers, load, counts, len(data), digest.result)


def _read_whole(path: Path) -> bytes:
    """Read a file that nobody changes meanwhile; once more if somebody did.

    Raises
    ------
    CaseFileError : it was changed again.
    """
    for _ in range(2):
        with path.open("rb") as file:
            before = os.fstat(file.fileno())
            data = file.read()
            after = os.fstat(file.fileno())
        if len(data) == after.st_size and before.st_mtime_ns == after.st_mtime_ns:
            return data
    message = "it was changed while it was read; wait until whoever writes it is done"
    raise CaseFileError(message, file=path.name)


Opened: TypeAlias = tuple[list[str], Callable[[Sequence[int]], Rows], dict[str, int]]


def _damaged(kind: str, name: str, error: BaseException) -> CaseFileError:
    said = str(error).strip().splitlines() or [type(error).__name__]
    cure = "copy or export it again"
    message = f"no whole {kind} file, truncated or damaged ({said[0][:120]}); {cure}"
    return CaseFileError(message, file=name)


def _open_parquet(data: bytes, name: str, options: Options) -> Opened:
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
        headers = list(file.schema_arrow.names)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as e:
        raise _damaged("Parquet", name, e) from None
    _refuse_bomb(file.metadata, len(data), name)

    def load(places: Sequence[int]) -> Rows:
        try:
            wanted = [headers[k] for k in places]
            # by row group: Arrow cannot join dictionaries inside lists while it reads
            groups = range(file.num_row_groups)
            parts = [
                file.read_row_group(g, wanted, use_threads=options.threads != 1) for g in groups
            ]
            table = pa.concat_tables(parts) if parts else file.read(columns=wanted)
        except (pa.ArrowException, OSError, UnicodeDecodeError) as e:
            raise _damaged("Parquet", name, e) from None
        return Rows([table.column(headers[k]) for k in places], table.num_rows)

    return headers, load, {}


def _refuse_bomb(metadata: Any, size: int, name: str) -> None:
    """Refuse a file that claims far more than its bytes can be cases: every row has an id of its own."""
    unpacked = sum(metadata.row_group(k).total_byte_size for k in range(metadata.num_row_groups))
    most = max(MOST_UNPACKED, MOST_RATIO * size)
    if metadata.num_rows > MOST_ROWS + 8 * size or unpacked > most or unpacked < 0:
        message = f"{size:,} bytes that unpack to {metadata.num_rows:,} rows, {unpacked:,} bytes"
        raise CaseFileError(f"{message}, as no cases do; export it again", file=name)


def _open_arrow(data: bytes, name: str, options: Options) -> Opened:
    try:
        try:
            table = pa.ipc.open_file(pa.BufferReader(data)).read_all()
        except pa.ArrowInvalid:
            table = pa.ipc.open_stream(pa.BufferReader(data)).read_all()
        table.validate(full=True)  # offsets and indices too: they may lead out of the file
    except (pa.ArrowException, OSError, UnicodeDecodeError) as e:
        raise _damaged("Arrow", name, e) from None
    return table.column_names, _columns_of(table), {}


def _columns_of(table: pa.Table) -> Callable[[Sequence[int]], Rows]:
    return lambda places: Rows([table.column(k) for k in places], table.num_rows)


def open_table(source: Any) -> Source:
    """Take a table at hand: Arrow, pandas, a dataset, or whatever exports an Arrow stream.

    Raises
    ------
    TypeError : the object is no table.
    """
    if isinstance(source, pa.RecordBatch):
        source = pa.Table.from_batches([source])
    elif isinstance(source, pa.RecordBatchReader):
        source = source.read_all()
    elif type(source).__module__.partition(".")[0] == "pandas":
        source = _from_pandas(source)
    elif hasattr(source, "to_table"):  # pyarrow.dataset
        source = source.to_table()
    elif hasattr(source, "__arrow_c_stream__") and not isinstance(source, pa.Table):
        source = pa.table(source)  # Polars, DuckDB, CaseTable
    if not isinstance(source, pa.Table):
        raise TypeError(f"cases as {type(source).__name__}: give a path, a table or a data frame")
    check_memory(zip(source.column_names, source.columns, strict=True))
    return Source("table", source.column_names, _columns_of(source))


def open_database(address: str) -> Source:
    """Read what the address of a database names; its hash is that of the values."""
    shown, table, digest = _database.read_table(address)
    check_memory(zip(table.column_names, table.columns, strict=True))
    return Source(shown, table.column_names, _columns_of(table), sha256=lambda: digest)


def _from_pandas(frame: Any) -> pa.Table:
    """Turn a data frame into Arrow; a column of mixed objects becomes text."""
    named = [n for n in frame.index.names if n is not None]
    frame = frame.reset_index() if named else frame
    columns = {}
    for k, header in enumerate(frame.columns):
        column = frame.iloc[:, k]
        try:
            columns[k, str(header)] = pa.array(column, from_pandas=True)
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
            kept = column.notna()
            texts = [_cell_text(v) if ok else None for v, ok in zip(column, kept, strict=True)]
            columns[k, str(header)] = pa.array(texts, pa.string())
    return pa.table(list(columns.values()), names=[header for _, header in columns])


# --------------------------------------------------------------------------------------------- CSV


def _open_csv(data: bytes, name: str, options: Options) -> Opened:
    data = _unzipped(data, name)
    text, counts = _utf8(data, name, options.encoding)
    body = text.lstrip(b"\r\n")
    if not body or body.isspace():
        raise CaseFileError("the file holds no text; export it again", file=name)
    blank_lines = text[: len(text) - len(body)].count(b"\n")
    if b"\n" not in body and b"\r" not in body:
        body += b"\n"  # a header alone
    delimiter, headers = _header(body, name)
    file = _Csv(body, name, delimiter, len(headers), blank_lines, options.threads)
    return headers, file.load, counts


def _unzipped(data: bytes, name: str) -> bytes:
    if data[:2] == b"\x1f\x8b":
        try:
            return _decompressed(data, name)
        except CaseFileError:
            raise
        except (EOFError, OSError, zlib.error) as e:
            raise _damaged("gzip", name, e) from None
    if name.casefold().endswith(".gz"):
        raise CaseFileError("named .gz and no gzip file; rename it to .csv", file=name)
    if data[:4] == b"PK\x03\x04":
        raise CaseFileError("named .csv and no text; an Excel file must end in .xlsx", file=name)
    return data


def _decompressed(data: bytes, name: str) -> bytes:
    """Unpack piece by piece, so that a bomb is refused before it fills the memory."""
    most = max(MOST_UNPACKED, MOST_RATIO * len(data))
    pieces, size = [], 0
    with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
        while piece := file.read(1 << 24):
            pieces.append(piece)
            if (size := size + len(piece)) > most:
                message = f"unpacks to more than {MOST_RATIO} times its size, as no cases do"
                raise CaseFileError(f"{message}; give the .csv itself", file=name)
    return b"".join(pieces)


def _utf8(data: bytes, name: str, encoding: str | None) -> tuple[bytes, dict[str, int]]:
    """Return the text in UTF-8 without BOM; what is not UTF-8 is tried as GB18030."""
    given = encoding
    if encoding is None and data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        encoding = "utf-16"
    if encoding is None and is_utf8(data):
        return data.removeprefix(codecs.BOM_UTF8), {}
    encoding = encoding or "gb18030"
    try:
        text = data.decode(encoding).removeprefix("\ufeff").encode()
    except LookupError:
        raise CaseFileError(f"the map's encoding {encoding!r} is unknown", file=name) from None
    except UnicodeError as e:
        at = data[: getattr(e, "start", 0)].count(b"\n") + 1
        tried = encoding if given else "UTF-8 nor GB18030"
        cure = 'save it as UTF-8 or name its encoding in a column map: encoding = "…"'
        raise CaseFileError(f"line {at} is not {tried}; {cure}", file=name) from None
    return text, {f"files read as {encoding.upper()}": 1}


def _header(body: bytes, name: str) -> tuple[str, list[str]]:
    """Return the delimiter and the headers: a comma, or a tab if there are tabs and no commas."""
    first = re.match(rb"[^\r\n]*", body)
    line = first[0] if first else b""
    delimiter = "\t" if b"\t" in line and b"," not in line else ","
    return delimiter, [h.strip() for h in next(_records(body, delimiter, name))[1]]


def _records(
    body: bytes, delimiter: str, name: str, *, first_line: int = 1, strict: bool = False
) -> Iterator[tuple[int, list[str]]]:
    """Yield (line where it begins, cells) of each record; for what must be exact and may be slow.

    Raises
    ------
    CaseFileError : `strict`, and a quotation mark does not close its cell.
    """
    lines = io.TextIOWrapper(io.BytesIO(body), "utf-8", "replace", newline="")
    reader, start = csv.reader(lines, delimiter=delimiter, strict=strict), first_line
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error:
            message = (
                f"in the row that begins in line {start} a quotation mark opens a cell and does "
                'not close it; write a " inside a cell twice'
            )
            raise CaseFileError(message, file=name) from None
        if cells:
            yield start, cells
        start = reader.line_num + first_line


@dataclass(frozen=True)
class _Csv:
    """The text of one CSV file."""

    body: bytes
    name: str
    delimiter: str
    width: int
    blank_lines: int
    threads: int | None

    def load(self, places: Sequence[int]) -> Rows:
        """Read columns as text; a row with too few or too many cells is kept as a fault."""
        quoted = b'"' in self.body
        if quoted:
            self._check_quotes()
        table, odd = self._parse(places, quoted, self.threads != 1)
        if odd and self.threads != 1:  # only one thread knows the numbers of the rows
            table, odd = self._parse(places, quoted, False)
        rows = Rows([table.column(str(k)) for k in places], table.num_rows)
        return self._with_odd_rows(rows, places, odd) if odd else rows

    def _parse(
        self, places: Sequence[int], quoted: bool, threads: bool
    ) -> tuple[pa.Table, list[Any]]:
        import pyarrow.csv

        odd: list[Any] = []

        def keep(row: Any) -> str:
            odd.append(row)
            return "skip"

        names = [str(k) for k in range(self.width)]
        try:
            table = pyarrow.csv.read_csv(
                pa.BufferReader(self.body),
                pyarrow.csv.ReadOptions(
                    use_threads=threads, column_names=names, skip_rows_after_names=1
                ),
                pyarrow.csv.ParseOptions(
                    delimiter=self.delimiter, newlines_in_values=quoted, invalid_row_handler=keep
                ),
                pyarrow.csv.ConvertOptions(
                    column_types=dict.fromkeys(names, pa.string()),
                    include_columns=[str(k) for k in places],
                    strings_can_be_null=True,
                    null_values=[""],
                    check_utf8=False,
                ),
            )
        except pa.ArrowException as e:
            raise _damaged("CSV", self.name, e) from None
        return table, odd

    def _check_quotes(self) -> None:
        """Refuse a quotation mark that never closes: rows behind it would vanish in one cell."""
        if not _quotes_pair(self.body, self.delimiter, self.threads):
            for _ in self._records(strict=True):
                pass

    def _records(self, *, strict: bool = False) -> Iterator[tuple[int, list[str]]]:
        first = self.blank_lines + 1
        return _records(self.body, self.delimiter, self.name, first_line=first, strict=strict)

    def _with_odd_rows(self, rows: Rows, places: Sequence[int], odd: list[Any]) -> Rows:
        """Put rows of a wrong width back in their places, empty but for the file's first cell."""
        odd = sorted(odd, key=lambda row: row.number)
        at = np.array([row.number - 2 for row in odd])  # the header is row 1
        n = rows.n + len(odd)
        order = np.empty(n, np.int64)
        is_odd = np.zeros(n, np.bool_)
        is_odd[at] = True
        order[~is_odd], order[is_odd] = np.arange(rows.n), np.arange(rows.n, n)
        columns = []
        for k, column in zip(places, rows.columns, strict=True):
            cells = [self._first_cell(row.text) if k == 0 else None for row in odd]
            whole = pa.chunked_array([*column.chunks, pa.array(cells, pa.string())], pa.string())
            columns.append(whole.take(pa.array(order)))
        numbers, lines = {row.number for row in odd}, {}
        for k, (line, _) in enumerate(self._records(), 1):
            if k in numbers:
                lines[k] = line
        faults, where = [], []
        for row in odd:
            text = f"{row.actual_columns} cells where the header has {row.expected_columns}"
            faults.append((row.number - 2, text))
            where.append(f"{self.name}:{lines[row.number]}: {text}")
        return Rows(columns, n, faults, where)

    def _first_cell(self, text: str) -> str | None:
        return next(csv.reader([text], delimiter=self.delimiter))[0] or None


def _quotes_pair(body: bytes, delimiter: str, threads: int | None) -> bool:
    """Tell if quotation marks by turns plainly begin and end a cell, or stand doubled in one."""
    view, n = np.frombuffer(body, np.uint8), len(body)
    edge = np.zeros(256, np.bool_)
    edge[[ord(delimiter), ord("\n"), ord("\r"), ord('"')]] = True
    found = _chunks.run(lambda a, b: body.count(b'"', a, b), n, threads, _BLOCK)
    before = np.concatenate(([0], np.cumsum(found)))

    def pairs(start: int, stop: int) -> bool:
        at = np.flatnonzero(view[start:stop] == ord('"')) + start
        first = int(before[start // _BLOCK]) % 2  # 1 = the first of these ends a cell
        begins, ends = at[first::2], at[1 - first :: 2]
        inner = begins[1:] if len(begins) and begins[0] == 0 else begins
        last = ends[:-1] if len(ends) and ends[-1] == n - 1 else ends
        return bool(edge[view[inner - 1]].all() and edge[view[last + 1]].all())

    return before[-1] % 2 == 0 and all(_chunks.run(pairs, n, threads, _BLOCK))


_BLOCK = 1 << 20


# ------------------------------------------------------------------------------------------- Excel


def _open_excel(data: bytes, name: str, options: Options) -> Opened:
    try:
        import python_calamine
    except ImportError:
        raise CaseFileError(f"reading Excel needs python-calamine: {EXCEL}", file=name) from None
    check_workbook(data, name, CASES)
    try:
        book = python_calamine.CalamineWorkbook.from_filelike(io.BytesIO(data))
        sheets = book.sheet_names
        if options.sheet is not None and options.sheet not in sheets:
            known = ", ".join(sheets)
            raise CaseFileError(f"no sheet {options.sheet!r}; it has: {known}", file=name)
        rows = book.get_sheet_by_name(options.sheet or sheets[0]).to_python()
    except CaseFileError:
        raise
    except BaseException as e:  # the library's own tree of errors differs by version
        if not isinstance(e, Exception) and not is_panic(e):
            raise
        raise _damaged("Excel", name, e) from None
    if not rows:
        cure = 'name another in a column map: sheet = "…"'
        raise CaseFileError(f"the sheet is empty; {cure}", file=name)
    headers = [(_cell_text(cell) or "").strip() for cell in rows[0]]
    filled = [row for row in rows[1:] if any(cell not in ("", None) for cell in row)]

    def load(places: Sequence[int]) -> Rows:
        texts = ([_cell_text(row[k]) for row in filled] for k in places)
        return Rows([pa.chunked_array([pa.array(t, pa.string())]) for t in texts], len(filled))

    return headers, load, {"blank rows left out": len(rows) - 1 - len(filled)}


def _cell_text(cell: Any) -> str | None:
    """Write a cell of Excel or pandas as text; a whole number loses its decimal point."""
    if cell is None or cell == "":
        return None
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, float):
        return str(int(cell)) if cell.is_integer() else repr(cell)
    if isinstance(cell, datetime):
        return cell.isoformat(" ")
    return cell.isoformat() if isinstance(cell, date) else str(cell)


_OPENERS: dict[str, Callable[[bytes, str, Options], Opened]] = {
    ".parquet": _open_parquet,
    ".arrow": _open_arrow,
    ".feather": _open_arrow,
    ".csv": _open_csv,
    ".csv.gz": _open_csv,
    ".xlsx": _open_excel,
}
