"""Sheets of a workbook as cleaned texts, columns by header; nothing here knows a catalogue."""

from __future__ import annotations

import hashlib
import io
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from grouper._reading import EXCEL
from grouper._workbook_guard import guarded_bytes, is_panic
from grouper.errors import CaseFileError, TableError
from grouper.tables._rules import clean_name, clean_text

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
    given: Mapping[str, Sequence[Sequence[object]]] = field(default_factory=dict, repr=False)

    def place(self, sheet: str) -> str:
        """Name a sheet for a message."""
        return f"{self.name} · {sheet}"


def read_workbook(path: Path | str) -> Workbook:
    """Read every sheet of an Excel file as texts.

    Raises
    ------
    CaseFileError : no such file, no workbook, one that `check_workbook` refuses, or the extra
        ``excel`` is not installed.
    """
    path = Path(path)
    try:
        import python_calamine as calamine
    except ImportError:
        raise CaseFileError(f"reading Excel needs: {EXCEL}", file=path.name) from None
    data = guarded_bytes(path)
    try:
        book = calamine.CalamineWorkbook.from_filelike(io.BytesIO(data))
        raw = {
            name: book.get_sheet_by_name(name).to_python(skip_empty_area=False)
            for name in book.sheet_names
        }
    except BaseException as e:
        if not isinstance(e, calamine.CalamineError | OSError | ValueError) and not is_panic(e):
            raise
        raise CaseFileError(f"no whole Excel file: {str(e)[:120]}", file=path.name) from None
    found = Workbook(path.name, len(data), hashlib.sha256(data).hexdigest(), {})
    texts, sheets = _Texts(), {}
    for name, rows in raw.items():
        sheets[clean_text(name)], found.cleaned[clean_text(name)] = texts.clean(rows)
    found.sheets, found.given = sheets, {clean_text(n): rows for n, rows in raw.items()}
    return found


class _Texts(dict[object, str]):
    """Cell → clean text, each distinct cell cleaned once; `odd` are those that were not clean."""

    def __init__(self) -> None:
        self.odd: set[object] = set()

    def __missing__(self, cell: object) -> str:
        if isinstance(cell, float) and cell.is_integer():
            text = given = str(int(cell))  # a whole number without its `.0`
        else:
            given = cell if isinstance(cell, str) else "" if cell is None else str(cell)
            text = clean_text(given)
        if text != given:
            self.odd.add(cell)
        self[cell] = text
        return text

    def clean(self, rows: Sequence[Sequence[object]]) -> tuple[list[list[str]], int]:
        """Return cells as clean text, and how many were not clean."""
        texts = [[self[c] for c in row] for row in rows]
        return texts, sum(c in self.odd for row in rows for c in row) if self.odd else 0


@dataclass(frozen=True)
class Column:
    """A column that a sheet must have: its field, a pattern for its header, whether it is a name.

    A name keeps its full-width signs.
    """

    field: str
    header: str
    is_name: bool = False


def rows_of(
    book: Workbook,
    sheet: str,
    columns: Sequence[Column],
    also: Sequence[str] = (),
    ignored: list[str] | None = None,
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield (row number, cells by field) below the header, found by its text; blank rows left out.

    Parameters
    ----------
    also : patterns of headers that may stand there and are not read. ignored : takes the headers that
        are not known; without it they are refused.

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
        if not text or k in places.values() or any(re.fullmatch(p, text) for p in also):
            continue
        if ignored is not None:
            ignored.append(text)
        else:
            message = f"unknown column {text!r}; expected {', '.join(c.header for c in columns)}"
            raise TableError(message, file=book.place(sheet), row=at + 1)
    names = [(c.field, places[c.field]) for c in columns if c.is_name]
    given = book.given.get(sheet, rows)
    for number, row in enumerate(rows[at + 1 :], start=at + 2):
        if any(row):
            cells = {f: row[k] if k < len(row) else "" for f, k in places.items()}
            for field_, k in names:
                raw = given[number - 1][k] if k < len(row) else ""
                if isinstance(raw, str) and raw != row[k]:
                    cells[field_] = clean_name(raw)
                    book.cleaned[sheet] -= cells[field_] == raw
            yield number, cells


def _header_row(rows: Sequence[Sequence[str]], wanted: Sequence[re.Pattern[str]]) -> int:
    """Return the first row that at least half of the wanted headers are in, -1 = none."""
    for k, row in enumerate(rows[:HEADER_WITHIN]):
        texts = [re.sub(r"\s", "", c) for c in row]
        found = sum(any(p.fullmatch(t) for t in texts) for p in wanted)
        if 2 * found >= len(wanted) and found >= min(2, len(wanted)):
            return k
    return -1
