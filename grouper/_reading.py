"""Files of cases → columns, and columns as they were given → columns of the schema.

Two parts. First the files: find them, decode them, name their headers, load only the columns that
are wanted (a column that looks personal never enters memory as a column). Then the cells: each
kind of column has a fast path, one Arrow cast over the whole column, and a careful path that runs
only when the cast fails and looks at each distinct text once.

The surprise: text money is never a float. It is cast to a decimal, and the decimal's 128-bit words
are divided into fen as integers.
"""

from __future__ import annotations

import codecs
import csv
import difflib
import glob
import gzip
import hashlib
import io
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from datetime import date, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from grouper import _chunks
from grouper.errors import CaseFileError

Chunks: TypeAlias = Any  # a pa.ChunkedArray: pyarrow ships no types
Bools: TypeAlias = NDArray[np.bool_]

FAULT = "input_fault"
"""Column naming what could not be read in a row; `grouper.group` rejects such a row."""

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


class FileRead(NamedTuple):
    """One file as it was read."""

    name: str
    bytes: int
    sha256: str
    rows: int


class Unfit(Exception):
    """A column is of a type that its kind cannot be read from."""


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
    try:
        data = path.read_bytes()
    except OSError as e:
        raise CaseFileError(f"cannot be read: {e.strerror}", file=str(path)) from None
    if not data:
        raise CaseFileError("the file is empty (0 bytes); export it again", file=path.name)
    digest = pool.submit(lambda: hashlib.sha256(data).hexdigest())
    headers, load, counts = _OPENERS[ending](data, path.name, options)
    return Source(path.name, headers, load, counts, len(data), digest.result)


Opened: TypeAlias = tuple[list[str], Callable[[Sequence[int]], Rows], dict[str, int]]


def _damaged(kind: str, name: str, error: BaseException) -> CaseFileError:
    said = str(error).strip().splitlines() or [type(error).__name__]
    cure = "copy or export it again"
    message = f"no whole {kind} file, truncated or damaged ({said[0][:120]}); {cure}"
    return CaseFileError(message, file=name)


def _open_parquet(data: bytes, name: str, options: Options) -> Opened:
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(pa.BufferReader(data))
    except (pa.ArrowException, OSError) as e:
        raise _damaged("Parquet", name, e) from None
    headers = list(file.schema_arrow.names)

    def load(places: Sequence[int]) -> Rows:
        try:
            wanted = [headers[k] for k in places]
            table = file.read(columns=wanted, use_threads=options.threads != 1)
        except (pa.ArrowException, OSError) as e:
            raise _damaged("Parquet", name, e) from None
        return Rows([table.column(headers[k]) for k in places], table.num_rows)

    return headers, load, {}


def _open_arrow(data: bytes, name: str, options: Options) -> Opened:
    try:
        try:
            table = pa.ipc.open_file(pa.BufferReader(data)).read_all()
        except pa.ArrowInvalid:
            table = pa.ipc.open_stream(pa.BufferReader(data)).read_all()
        table.validate()
    except (pa.ArrowException, OSError) as e:
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
    elif hasattr(source, "__arrow_c_stream__"):  # Polars, DuckDB, CaseTable
        source = pa.table(source)
    if not isinstance(source, pa.Table):
        raise TypeError(f"cases as {type(source).__name__}: give a path, a table or a data frame")
    return Source("table", source.column_names, _columns_of(source))


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
            return gzip.decompress(data)
        except (EOFError, OSError, zlib.error) as e:
            raise _damaged("gzip", name, e) from None
    if name.casefold().endswith(".gz"):
        raise CaseFileError("named .gz and no gzip file; rename it to .csv", file=name)
    if data[:4] == b"PK\x03\x04":
        raise CaseFileError("named .csv and no text; an Excel file must end in .xlsx", file=name)
    return data


def _utf8(data: bytes, name: str, encoding: str | None) -> tuple[bytes, dict[str, int]]:
    """Return the text in UTF-8 without BOM; what is not UTF-8 is tried as GB18030."""
    given = encoding
    if encoding is None and data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        encoding = "utf-16"
    if encoding is None and _is_utf8(data):
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


def _is_utf8(data: bytes) -> bool:
    if data.isascii():
        return True
    decoder, step = codecs.getincrementaldecoder("utf-8")(), 1 << 24
    try:
        for at in range(0, len(data), step):
            decoder.decode(data[at : at + step], at + step >= len(data))
    except UnicodeDecodeError:
        return False
    return True


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
    try:
        book = python_calamine.CalamineWorkbook.from_filelike(io.BytesIO(data))
        sheets = book.sheet_names
        if options.sheet is not None and options.sheet not in sheets:
            known = ", ".join(sheets)
            raise CaseFileError(f"no sheet {options.sheet!r}; it has: {known}", file=name)
        rows = book.get_sheet_by_name(options.sheet or sheets[0]).to_python()
    except CaseFileError:
        raise
    except Exception as e:  # the library's own tree of errors differs by version
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


# ------------------------------------------------------------------------------------------- cells


class Cells(NamedTuple):
    """A column of the schema; `counts` what was normalised; `faults` the (rows, texts) refused."""

    column: Chunks
    counts: Counter[str]
    faults: tuple[NDArray[np.int64], list[str]] | None = None


LOST = {"not a whole number", "out of range", "not a date", "not a flag"}
"""Notes of cells that became null without being blank; those of money are in `SAYS`."""


def read_column(
    kind: str,
    column: Chunks,
    header: str,
    *,
    separator: str = "|",
    words: Mapping[str, int] | None = None,
    in_fen: bool = False,
) -> Cells:
    """Read a column as its kind (see `Column.kind`), and count what was normalised.

    Parameters
    ----------
    kind : text, whole, day, flag, codes or money. column : as given. header : its name there.
    separator : between codes in text. words : texts that stand for numbers. in_fen : money is fen.

    Raises
    ------
    Unfit : the type of the column holds no such thing.
    """
    if kind == "money":
        cells = read_money(column, header, in_fen=in_fen)
    elif kind == "whole":
        cells = read_whole(column, words or {})
    elif kind == "codes":
        cells = read_codes(column, separator)
    else:
        cells = {"text": read_text, "day": read_day, "flag": read_flag}[kind](column)
    lost = sum(cells.counts[note] for note in (*LOST, *SAYS.values()))
    cells.counts["blank"] += cells.column.null_count - lost
    return cells


Reader: TypeAlias = Callable[[str], tuple[Any, Iterable[str]]]
FULL_WIDTH = {**{k: k - 0xFEE0 for k in range(0xFF01, 0xFF5F)}, 0x3000: 0x20}


def as_text(column: Chunks) -> Chunks:
    """Return a column as strings.

    Raises
    ------
    Unfit : the type has no plain text, such as a list.
    """
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    kind = column.type
    if kind == pa.string():
        return column
    if pa.types.is_floating(kind):
        return _float_text(column)
    if pa.types.is_nested(kind) or pa.types.is_duration(kind):
        raise Unfit
    try:
        return column.cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise Unfit from None


def _float_text(column: Chunks) -> Chunks:
    wide = column.cast(pa.float64())
    whole = pc.and_(pc.equal(wide, pc.floor(wide)), pc.less(pc.abs(wide), 2.0**53))
    whole = pc.fill_null(whole, False)
    numbers = pc.if_else(whole, wide, pa.scalar(None, pa.float64())).cast(pa.int64())
    return pc.if_else(whole, numbers.cast(pa.string()), column.cast(pa.string()))


def tidy(column: Chunks) -> tuple[Chunks, int]:
    """Trim blanks around strings and make empty ones null; return also how many were trimmed."""
    trimmed = 0
    if any(_may_hold_blanks(chunk) for chunk in column.chunks):
        plain = pc.utf8_trim_whitespace(column)
        trimmed = pc.sum(pc.not_equal(plain, column)).as_py() or 0
        column = plain if trimmed else column
    shortest = pc.min(pc.binary_length(column)).as_py()
    if shortest == 0:
        blank = pc.equal(pc.binary_length(column), 0)
        column = pc.if_else(blank, pa.scalar(None, column.type), column)
    return column, trimmed


def _may_hold_blanks(chunk: Any) -> bool:
    """Tell if the bytes hold a blank: ASCII, or one of the first bytes of the others."""
    data = _bytes(chunk)
    return bool((data <= 0x20).any() or _holds_any(data, b"\xc2\xe1\xe2\xe3"))


def _holds(column: Chunks, letters: bytes) -> bool:
    return any(_holds_any(_bytes(c), letters) for c in column.chunks)


def _holds_any(data: NDArray[np.uint8], letters: bytes) -> bool:
    return any((data == letter).any() for letter in letters)


def _bytes(chunk: Any) -> NDArray[np.uint8]:
    _, offsets, data = chunk.buffers()
    if offsets is None or data is None or len(chunk) == 0:
        return np.zeros(0, np.uint8)
    ends = np.frombuffer(offsets, np.int32)[[chunk.offset, chunk.offset + len(chunk)]]
    return np.frombuffer(data, np.uint8)[ends[0] : ends[1]]


def _by_distinct(column: Chunks, read: Reader, kind: pa.DataType) -> tuple[Chunks, Counter[str]]:
    """Read each distinct text once; `read` returns its value and what was done to it."""
    encoded = column.dictionary_encode().unify_dictionaries()
    distinct = encoded.chunk(0).dictionary.to_pylist() if encoded.num_chunks else []
    read_out = [read(text) for text in distinct]
    times = np.zeros(len(distinct), np.int64)
    for chunk in encoded.chunks:
        times += np.bincount(chunk.indices.drop_null().to_numpy(), minlength=len(distinct))
    counts: Counter[str] = Counter()
    for (_, notes), n in zip(read_out, times, strict=True):
        for note in notes:
            counts[note] += int(n)
    values = pa.array([value for value, _ in read_out], kind)
    return pa.chunked_array([values.take(c.indices) for c in encoded.chunks], kind), counts


def _plain(text: str) -> tuple[str, list[str]]:
    """Return the text with ASCII digits and without thousands separators, and what was done."""
    notes, plain = [], text.translate(FULL_WIDTH).strip()
    if plain != text:
        notes.append("full-width characters")
    if re.fullmatch(r"[+-]?[0-9]{1,3}(,[0-9]{3})+(\.[0-9]*)?", plain):
        plain = plain.replace(",", "")
        notes.append("thousands separators")
    return plain, notes


# --------------------------------------------------------- text, numbers, days, flags, code lists


def read_text(column: Chunks) -> Cells:
    """Read strings: trimmed, blank = null."""
    counts: Counter[str] = Counter()
    if not _is_string(column.type):
        counts["read as text"] = len(column) - column.null_count
    column, counts["blanks trimmed"] = tidy(as_text(column))
    return Cells(column, counts)


def read_whole(column: Chunks, words: Mapping[str, int]) -> Cells:
    """Read whole numbers as int32; what is none is null and counted."""
    kind = column.type
    if kind == pa.int32():
        return Cells(column, Counter())
    if pa.types.is_boolean(kind) or pa.types.is_temporal(kind):
        raise Unfit
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        try:
            return Cells(column.cast(pa.int32()), Counter())
        except pa.ArrowInvalid:
            return _careful_whole(column)
    column, trimmed = tidy(as_text(column))
    counts = Counter({"blanks trimmed": trimmed})
    try:
        if not _holds(column, b"xX"):  # Arrow reads 0x10 as 16
            return Cells(column.cast(pa.int32()), counts)
    except pa.ArrowInvalid:
        pass
    column, notes = _by_distinct(column, lambda text: _whole(text, words), pa.int32())
    return Cells(column, counts + notes)


def _careful_whole(column: Chunks) -> Cells:
    counts: Counter[str] = Counter()
    valid = pc.is_valid(column).to_numpy()
    given = pc.fill_null(column, pa.scalar(0, column.type)).to_numpy()
    if pa.types.is_floating(column.type):
        given = given.astype(np.float64)
        nan = np.isnan(given)
        valid &= ~nan
        given = np.where(nan, 0, given)
        fraction = valid & (given != np.floor(given))
        counts["not a whole number"] = int(fraction.sum())
        valid &= ~fraction
    fits = (given >= -(2.0**31)) & (given < 2.0**31)
    counts["out of range"] = int((valid & ~fits).sum())
    values = np.where(fits & valid, given, 0).astype(np.int32)
    return Cells(pa.chunked_array([pa.array(values, mask=~(fits & valid))]), counts)


def _whole(text: str, words: Mapping[str, int]) -> tuple[int | None, list[str]]:
    if text in words:
        return words[text], ["words read as numbers"]
    plain, notes = _plain(text)
    found = re.fullmatch(r"([+-]?[0-9]{1,18})(\.0*)?", plain)
    if not found:
        return None, ["not a whole number"]
    value = int(found[1])
    if not -(2**31) <= value < 2**31:
        return None, ["out of range"]
    return value, [*notes, "decimal points"] if found[2] else notes


def read_day(column: Chunks) -> Cells:
    """Read dates as date32; what is none is null and counted."""
    kind = column.type
    if kind == pa.date32():
        return Cells(column, Counter())
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        column = pc.local_timestamp(column)  # the date on the wall
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return Cells(column.cast(pa.date32(), safe=False), Counter())
    if pa.types.is_boolean(kind) or pa.types.is_temporal(kind):
        raise Unfit
    column, trimmed = tidy(as_text(column))
    counts = Counter({"blanks trimmed": trimmed})
    for step in (pa.date32(), pa.timestamp("us")):
        try:
            return Cells(column.cast(step).cast(pa.date32(), safe=False), counts)
        except pa.ArrowInvalid:
            continue
    column, notes = _by_distinct(column, _day, pa.date32())
    return Cells(column, counts + notes)


_TIME = r"[0-9]{1,2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?(Z|[+-][0-9]{2}:?[0-9]{2})?"
_DAYS = [
    re.compile(rf"(?P<y>[0-9]{{4}})-(?P<m>[0-9]{{2}})-(?P<d>[0-9]{{2}})([ T]+{_TIME})?"),
    re.compile(rf"(?P<y>[0-9]{{4}})([-/.])(?P<m>[0-9]{{1,2}})\2(?P<d>[0-9]{{1,2}})([ T]+{_TIME})?"),
    re.compile(r"(?P<y>[0-9]{4})(?P<m>[0-9]{2})(?P<d>[0-9]{2})([ T]?([0-9]{4}){1,2}|[0-9]{6})?"),
    re.compile(rf"(?P<y>[0-9]{{4}})年(?P<m>[0-9]{{1,2}})月(?P<d>[0-9]{{1,2}})日( *{_TIME})?"),
]


def _day(text: str) -> tuple[date | None, list[str]]:
    plain = text.translate(FULL_WIDTH)
    for k, layout in enumerate(_DAYS):
        if found := layout.fullmatch(plain):
            try:
                value = date(int(found["y"]), int(found["m"]), int(found["d"]))
            except ValueError:
                break
            return value, ["other layouts of a date"] if k or plain != text else []
    return None, ["not a date"]


FLAGS = {"0": False, "1": True, "false": False, "true": True, "否": False, "是": True}


def read_flag(column: Chunks) -> Cells:
    """Read flags as bool from 0, 1, true, false, 是, 否; what is none is null and counted."""
    if pa.types.is_boolean(column.type):
        return Cells(column, Counter())
    column, trimmed = tidy(as_text(column))

    def flag(text: str) -> tuple[bool | None, list[str]]:
        value = FLAGS.get(text.translate(FULL_WIDTH).casefold())
        return value, ["not a flag"] if value is None else []

    column, notes = _by_distinct(column, flag, pa.bool_())
    return Cells(column, Counter({"blanks trimmed": trimmed}) + notes)


def read_codes(column: Chunks, separator: str) -> Cells:
    """Read lists of codes: lists stay as they are, text is split, blank text is an empty list."""
    kind = column.type
    if pa.types.is_nested(kind) and not pa.types.is_dictionary(kind):
        lists = pa.types.is_list(kind) or pa.types.is_large_list(kind)
        inner = kind.value_type if lists else kind
        inner = inner.value_type if pa.types.is_dictionary(inner) else inner
        if not lists or not (_is_string(inner) or pa.types.is_null(inner)):
            raise Unfit
        plain = inner in (pa.string(), pa.large_string())
        return Cells(column if plain else column.cast(pa.list_(pa.string())), Counter())
    if not _is_string(kind.value_type if pa.types.is_dictionary(kind) else kind):
        if not pa.types.is_null(kind):
            raise Unfit
    column, trimmed = tidy(as_text(column))
    counts = Counter({"blanks trimmed": trimmed, "blank": column.null_count})
    split = pc.split_pattern(column, separator)
    lists = [pa.ListArray.from_arrays(c.offsets, c.values) for c in split.chunks]  # null = empty
    return Cells(pa.chunked_array(lists, pa.list_(pa.string())), counts)


def _is_string(kind: pa.DataType) -> bool:
    strings = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    return any(fits(kind) for fits in strings)


# -------------------------------------------------------------------------------------------- money

LIMIT = 10**13  # fen, in absolute value: a larger amount is a slip
UNITS = 10**5  # decimal units a fen; the scale of the decimal is chosen so
SLACK = 10  # units: 1e-6 yuan
ROUNDED, NO_AMOUNT, TOO_LARGE, NO_FEN, TOO_COARSE = 1, 2, 3, 4, 5
SAYS = {
    NO_AMOUNT: "no amount",
    TOO_LARGE: "10^13 fen or more",
    NO_FEN: "not a whole number of fen",
    TOO_COARSE: "too large for a float32 to tell its fen",
}
Amounts: TypeAlias = tuple[NDArray[np.int64], NDArray[np.uint8]]


def read_money(column: Chunks, header: str, *, in_fen: bool) -> Cells:
    """Read amounts as int64 fen (分); what is no amount is null and a fault of its row.

    Parameters
    ----------
    column : whole numbers, decimals, floats or text. header : its name, for the fault.
    in_fen : the numbers are fen; else yuan (元), within 1e-6 yuan of a whole fen.
    """
    kind, counts = column.type, Counter[str]()
    if pa.types.is_boolean(kind) or pa.types.is_temporal(kind) or pa.types.is_float16(kind):
        raise Unfit
    if kind == pa.int64() and in_fen and _within_limit(column):
        return Cells(column, counts)
    scale = 5 if in_fen else 7
    given = column
    if pa.types.is_integer(kind) and kind != pa.uint64():
        fen, state = _of_whole(column, 1 if in_fen else 100)
    elif pa.types.is_floating(kind):
        given = pc.if_else(pc.is_nan(column), pa.scalar(None, kind), column)
        fen, state = _of_float(given, in_fen)
    else:
        given, counts["blanks trimmed"] = tidy(as_text(column))
        fen, state, notes = _of_text(given, scale)
        counts += notes
    valid = pc.is_valid(given).to_numpy()
    counts["rounded to the fen"] = int((valid & (state == ROUNDED)).sum())
    bad = np.flatnonzero(valid & (state >= NO_AMOUNT))
    out = pa.array(fen, mask=~valid | (state >= NO_AMOUNT))
    if not len(bad):
        return Cells(pa.chunked_array([out]), counts)
    for k in SAYS:
        counts[SAYS[k]] = int((state[bad] == k).sum())
    texts = as_text(given.take(pa.array(bad))).to_pylist()
    pairs = zip(texts, state[bad].tolist(), strict=True)
    says = [f"{header}: {_short(text)!r} is {SAYS[k]}" for text, k in pairs]
    return Cells(pa.chunked_array([out]), counts, (bad, says))


def _short(text: str) -> str:
    return text if len(text) <= 40 else text[:39] + "…"


def _within_limit(column: Chunks) -> bool:
    ends = pc.min_max(column)
    low, high = ends["min"].as_py() or 0, ends["max"].as_py() or 0
    return bool(-LIMIT < low and high < LIMIT)


def _of_whole(column: Chunks, fen_each: int) -> Amounts:
    given = pc.fill_null(column.cast(pa.int64()), 0).to_numpy()
    most = LIMIT // fen_each
    large = (given <= -most) | (given >= most)
    return np.where(large, 0, given) * fen_each, np.where(large, np.uint8(TOO_LARGE), np.uint8(0))


def _of_float(column: Chunks, in_fen: bool) -> Amounts:
    given = pc.fill_null(column.cast(pa.float64()), 0.0).to_numpy()
    units = 1 if in_fen else 100
    large = ~(np.abs(given) < LIMIT / units)
    given = np.where(large, 0.0, given)
    fen = np.rint(given * units)
    nearest, slack = fen / units, 1e-6 if not in_fen else 1e-4
    if pa.types.is_float32(column.type):
        exact = nearest.astype(np.float32) == given
        coarse = ~large & (np.abs(given) >= 2.0**17 * 100 / units)
    else:
        exact, coarse = nearest == given, np.zeros(len(given), np.bool_)
    near = np.abs(nearest - given) <= slack
    state = np.select(
        [large, coarse, exact, near], [TOO_LARGE, TOO_COARSE, 0, ROUNDED], NO_FEN
    ).astype(np.uint8)
    return fen.astype(np.int64), state


def _of_text(
    column: Chunks, scale: int
) -> tuple[NDArray[np.int64], NDArray[np.uint8], Counter[str]]:
    """Read text: one cast if all of it is plain; else the plain ones so, the others one by one."""
    wide = pa.decimal128(38, scale)
    notes: Counter[str] = Counter()
    try:
        if not _holds(column, b"eE"):  # 1.2E+05 has lost its digits
            return *_of_decimal(column.cast(wide)), notes
    except pa.ArrowInvalid:
        pass
    commas = pc.fill_null(pc.match_substring_regex(column, _COMMAS), False)
    notes["thousands separators"] = pc.sum(commas).as_py() or 0
    bare = pc.if_else(commas, pc.replace_substring(column, ",", ""), column)
    digits = rf"^[+-]?[0-9]{{1,20}}(\.[0-9]{{0,{scale}}})?$"
    plain = pc.fill_null(pc.match_substring_regex(bare, digits), False)
    fen, state = _of_decimal(pc.if_else(plain, bare, pa.scalar(None, pa.string())).cast(wide))
    odd = np.flatnonzero(pc.and_(pc.is_valid(bare), pc.invert(plain)).to_numpy())
    fen, state = fen.copy(), state.copy()
    fen_each = 1 if scale == 5 else 100
    for row, text in zip(odd, bare.take(pa.array(odd)).to_pylist(), strict=True):
        fen[row], state[row], done = _amount(text, fen_each)
        notes.update(done)
    return fen, state, notes


_AMOUNT = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE]-[0-9]{1,3})?")
_COMMAS = r"^[+-]?[0-9]{1,3}(,[0-9]{3}){1,6}(\.[0-9]*)?$"


def _of_decimal(column: Chunks) -> Amounts:
    """Divide decimals of 10^5 units a fen, word by word; null is 0."""
    array = pc.fill_null(column, pa.scalar(0).cast(column.type)).combine_chunks()
    if isinstance(array, pa.ChunkedArray):  # of no chunk
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], column.type)
    n = len(array)
    words = np.frombuffer(array.buffers()[1], np.int64)[2 * array.offset : 2 * (array.offset + n)]
    low, high = words[0::2], words[1::2]
    large = (high != low >> 63) | (low <= -LIMIT * UNITS) | (low >= LIMIT * UNITS)
    units = np.where(large, 0, low)
    fen = (units + UNITS // 2) // UNITS
    rest = np.abs(units - fen * UNITS)
    state = np.select([large, rest == 0, rest <= SLACK], [TOO_LARGE, 0, ROUNDED], NO_FEN)
    return fen, state.astype(np.uint8)


def _amount(text: str, fen_each: int) -> tuple[int, int, list[str]]:
    """Read one amount exactly: (fen, state, what was done)."""
    plain, notes = _plain(text)
    if len(plain) > 80 or not _AMOUNT.fullmatch(plain):
        return 0, NO_AMOUNT, []
    exact = Fraction(plain) * fen_each
    fen = round(exact)
    if abs(exact) >= LIMIT:
        return 0, TOO_LARGE, notes
    if abs(exact - fen) * 10**4 > 1:  # 1e-6 yuan
        return 0, NO_FEN, notes
    return fen, ROUNDED if exact != fen else 0, notes
