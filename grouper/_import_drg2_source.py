"""A workbook, a folder of CSV files or one CSV file, all as sheets of cleaned texts.

A CSV file is a sheet named as the file; UTF-8 with or without a byte-order mark, or GB18030. Columns are
found by their headers; those that may be absent are asked for apart from those that must be there.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from grouper._scheme_files import ImportReport
from grouper._workbook import HEADER_WITHIN, Column, Workbook, read_workbook, rows_of
from grouper.errors import CaseFileError, TableError
from grouper.tables._rules import clean_text

MOST_BYTES = 256 << 20
"""The most that the CSV files of a folder may hold."""


def read_source(path: Path) -> Workbook:
    """Read every sheet of a workbook, or every CSV file of a folder.

    Raises
    ------
    CaseFileError : nothing there, no CSV in the folder, too large, or neither UTF-8 nor GB18030.
    """
    if path.is_dir():
        files = sorted(p for p in path.iterdir() if p.suffix.casefold() == ".csv" and p.is_file())
        if not files:
            message = "the folder holds no CSV files; name a workbook or a folder of them"
            raise CaseFileError(message, file=path.name)
        return _of_files(path.resolve().name, files)
    if path.suffix.casefold() == ".csv":
        return _of_files(path.name, [path])
    return read_workbook(path)


def _of_files(name: str, files: Sequence[Path]) -> Workbook:
    book = Workbook(name, 0, "", {})
    sheets, given = {}, {}
    digest = hashlib.sha256()
    for file in files:
        try:
            size = file.stat().st_size
            if book.size + size > MOST_BYTES:
                message = f"more than {MOST_BYTES >> 20} MiB of CSV; leave out what is no table"
                raise CaseFileError(message, file=file.name)
            data = file.read_bytes()
        except OSError as e:
            if isinstance(e, CaseFileError):
                raise
            raise CaseFileError(f"cannot be read: {e.strerror}", file=file.name) from None
        book.size += size
        whole = len(files) == 1
        digest.update(data if whole else f"{file.name}\x1f".encode() + data + b"\x1e")
        title = clean_text(file.stem)
        given[title] = _records(data, file.name)
        sheets[title] = [[clean_text(c) for c in row] for row in given[title]]
        book.cleaned[title] = sum(
            a != b
            for row, raw in zip(sheets[title], given[title], strict=True)
            for a, b in zip(row, raw, strict=True)
        )
    book.sheets, book.given, book.sha256 = sheets, given, digest.hexdigest()
    return book


def _records(data: bytes, file: str) -> list[list[str]]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        try:
            text = data.decode("gb18030")
        except UnicodeDecodeError as e:
            message = f"neither UTF-8 nor GB18030 at byte {e.start}; save it as UTF-8"
            raise CaseFileError(message, file=file) from None
    try:
        return list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except csv.Error as e:
        raise CaseFileError(f"no CSV table: {e}", file=file) from None


def sheet_rows(
    book: Workbook,
    sheet: str,
    required: Sequence[Column],
    optional: Sequence[Column],
    report: ImportReport,
    also: Sequence[str] = (),
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield (row number, cells by field) of a sheet; a column that is absent has "".

    Headers that are neither asked for nor in `also` are reported as ignored.

    Raises
    ------
    TableError : no header row, or a column that must be there is not.
    """
    header = _header(book.sheets[sheet], required)
    there = _present(header, required, optional) if header else []
    ignored: list[str] = []
    lacking = {c.field: "" for c in optional if c not in there}
    for number, cells in rows_of(book, sheet, [*required, *there], also, ignored):
        yield number, {**lacking, **cells}
    report.ignored_columns += [f"{sheet}: {h}" for h in ignored]


def _header(rows: Sequence[Sequence[str]], required: Sequence[Column]) -> list[str]:
    """Return the first row that holds every required header; [] if there is none."""
    for row in rows[:HEADER_WITHIN]:
        texts = [re.sub(r"\s", "", c) for c in row]
        if all(any(re.fullmatch(c.header, t) for t in texts) for c in required):
            return texts
    return []


def _present(
    header: Sequence[str], required: Sequence[Column], optional: Sequence[Column]
) -> list[Column]:
    """Return the optional columns that the header has, each header taken by one column."""
    free = list(header)
    for c in required:
        free.remove(next(t for t in free if re.fullmatch(c.header, t)))
    found = []
    for c in optional:
        match = next((t for t in free if t and re.fullmatch(c.header, t)), None)
        if match is not None:
            free.remove(match)
            found.append(c)
    return found


class Faults:
    """Faults of one sheet, gathered so that they are told at once."""

    SHOWN = 10

    def __init__(self, file: str) -> None:
        self.file = file
        self.found: list[tuple[int, str]] = []

    def add(self, row: int, message: str) -> None:
        """Note what is wrong with a row."""
        self.found.append((row, message))

    def tell(self) -> None:
        """Refuse the sheet if anything is wrong with it.

        Raises
        ------
        TableError : names the first rows and how many more there are.
        """
        if self.found:
            shown = [f"row {n}: {text}" for n, text in self.found[: self.SHOWN]]
            if more := len(self.found) - self.SHOWN:
                shown += [f"and {more} more"] if more > 0 else []
            raise TableError("; ".join(shown), file=self.file, row=self.found[0][0])
