"""Sheets of a workbook as cleaned texts, columns by header; nothing here knows a catalogue."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from grouper._reading import EXCEL
from grouper.errors import CaseFileError, TableError
from grouper.tables._rules import clean_text

HEADER_WITHIN = 12
"""Rows in which a header is looked for."""


@dataclass
class Workbook:
    """A workbook read as text; `cleaned` counts the cells whose text was not clean."""

    name: str
    size: int
    sha256: str
    sheets: Mapping[str, Sequence[Sequence[str]]]
    cleaned: Counter[str] = field(default_factory=Counter)

    def place(self, sheet: str) -> str:
        """Name a sheet for a message."""
        return f"{self.name} · {sheet}"


def read_workbook(path: Path | str) -> Workbook:
    """Read every sheet of an Excel file as texts.

    Raises
    ------
    CaseFileError : no such file, no workbook, or the extra ``excel`` is not installed.
    """
    path = Path(path)
    try:
        import python_calamine as calamine
    except ImportError:
        raise CaseFileError(f"reading Excel needs: {EXCEL}", file=path.name) from None
    try:
        data = path.read_bytes()
    except OSError as e:
        raise CaseFileError(f"cannot be read: {e.strerror}", file=str(path)) from None
    try:
        book = calamine.CalamineWorkbook.from_path(str(path))
        raw = {
            name: book.get_sheet_by_name(name).to_python(skip_empty_area=False)
            for name in book.sheet_names
        }
    except (calamine.CalamineError, OSError, ValueError) as e:
        raise CaseFileError(f"no whole Excel file: {str(e)[:120]}", file=path.name) from None
    found = Workbook(path.name, len(data), hashlib.sha256(data).hexdigest(), {})
    found.sheets = {
        clean_text(name): [[_text(c, found, name) for c in row] for row in rows]
        for name, rows in raw.items()
    }
    return found


def _text(cell: object, book: Workbook, sheet: str) -> str:
    """Return a cell as clean text; a whole number without its `.0`."""
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    given = "" if cell is None else str(cell)
    text = clean_text(given)
    if text != given:
        book.cleaned[sheet] += 1
    return text


@dataclass(frozen=True)
class Column:
    """A column that a sheet must have: its field and a pattern for its header."""

    field: str
    header: str


def rows_of(
    book: Workbook, sheet: str, columns: Sequence[Column], also: Sequence[str] = ()
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield (row number, cells by field) below the header, found by its text; blank rows left out.

    Parameters
    ----------
    also : patterns of headers that may stand there and are not read.

    Raises
    ------
    TableError : no header row, a column that is missing or not known; says what was expected.
    """
    rows = book.sheets[sheet]
    wanted = [re.compile(c.header) for c in columns]
    at = _header_row(rows, wanted)
    if at < 0:
        expected = ", ".join(c.header for c in columns)
        message = f"no header row within {HEADER_WITHIN} rows; expected columns like {expected}"
        raise TableError(message, file=book.place(sheet))
    header = [re.sub(r"\s", "", h) for h in rows[at]]
    places: dict[str, int] = {}
    for column, pattern in zip(columns, wanted, strict=True):
        free = [
            k for k, h in enumerate(header) if pattern.fullmatch(h) and k not in places.values()
        ]
        if not free:
            message = f"no column {column.header}; the header reads {[h for h in header if h]}"
            raise TableError(message, file=book.place(sheet), row=at + 1)
        places[column.field] = free[0]
    for k, text in enumerate(header):
        if text and k not in places.values() and not any(re.fullmatch(p, text) for p in also):
            message = f"unknown column {text!r}; expected {', '.join(c.header for c in columns)}"
            raise TableError(message, file=book.place(sheet), row=at + 1)
    for number, row in enumerate(rows[at + 1 :], start=at + 2):
        if any(row):
            yield number, {f: row[k] if k < len(row) else "" for f, k in places.items()}


def _header_row(rows: Sequence[Sequence[str]], wanted: Sequence[re.Pattern[str]]) -> int:
    """Return the first row that at least half of the wanted headers are in, -1 = none."""
    for k, row in enumerate(rows[:HEADER_WITHIN]):
        texts = [re.sub(r"\s", "", c) for c in row]
        found = sum(any(p.fullmatch(t) for t in texts) for p in wanted)
        if 2 * found >= len(wanted) and found >= min(2, len(wanted)):
            return k
    return -1
