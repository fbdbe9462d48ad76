"""Workbooks for people: typed cells row by row in bounded memory, a full sheet goes on in the next.

Text is never a formula: only a `Live` cell is one, and it carries its value for readers that do not
calculate. Money comes as whole fen and is written as yuan with two decimals; the digits of an amount
below 10^15 fen survive a double, so what Excel shows and adds is exact to the fen.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, TypeAlias

from grouper._reading import EXCEL
from grouper._writing import replacing
from grouper._yuan import yuan
from grouper.errors import CaseFileError

Lang: TypeAlias = Literal["zh", "en", "both"]
Kind: TypeAlias = Literal["text", "whole", "number", "money", "share", "day", "flag"]

SHEET_ROWS = 1_048_576
"""Rows of an Excel sheet, the header included."""

MOST_FEN = 10**15
"""Amounts at or above this are written as text: a double no longer holds their fen."""

_OPTIONS = {
    "constant_memory": True,
    "strings_to_formulas": False,
    "strings_to_numbers": False,
    "strings_to_urls": False,
}
_WIDTHS = {"text": 14, "whole": 10, "number": 12, "money": 16, "share": 9, "day": 11, "flag": 8}
_FORMATS: dict[str, dict[str, Any]] = {
    "money": {"num_format": "#,##0.00"},
    "money_bold": {"num_format": "#,##0.00", "bold": True, "top": 1},
    "share": {"num_format": "0.00%"},
    "share_bold": {"num_format": "0.00%", "bold": True, "top": 1},
    "whole_bold": {"bold": True, "top": 1},
    "text_bold": {"bold": True, "top": 1},
    "day": {"num_format": "yyyy-mm-dd"},
    "heading": {"bold": True, "font_size": 13},
    "header": {"bold": True, "text_wrap": True, "valign": "top", "bottom": 1},
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a sheet; money is named ``x_fen`` and headed ``x``."""

    name: str
    zh: str
    kind: Kind = "text"

    def label(self, lang: Lang) -> str:
        """Write its header."""
        name = self.name.removesuffix("_fen")
        return {"zh": self.zh, "en": name, "both": f"{self.zh} {name}"}[lang]


@dataclass(frozen=True, slots=True)
class Live:
    """A formula of ours with its value: what a reader without a calculation engine sees."""

    formula: str
    value: Any


def word(lang: Lang, zh: str, en: str) -> str:
    """Choose a word by language."""
    return {"zh": zh, "en": en, "both": f"{zh} {en}"}[lang]


@contextmanager
def open_book(path: Path) -> Iterator[Book]:
    """Open a workbook beside its place; it takes the place when the block ends well.

    Raises
    ------
    CaseFileError : XlsxWriter is not installed, or the disk refuses.
    """
    try:
        import xlsxwriter
    except ImportError:
        raise CaseFileError(f"writing Excel needs XlsxWriter: {EXCEL}", file=path.name) from None
    with replacing(path) as file, tempfile.TemporaryDirectory() as scratch:
        book = xlsxwriter.Workbook(file, {**_OPTIONS, "tmpdir": scratch})
        try:
            yield Book(book, path.name)
        finally:
            book.close()


class Book:
    """A workbook that is being written."""

    def __init__(self, book: Any, name: str) -> None:
        self.book, self.name = book, name
        self.formats = {key: book.add_format(f) for key, f in _FORMATS.items()}

    def sheet(self, name: str, columns: Sequence[Column] = (), lang: Lang = "both") -> Sheet:
        """Begin a sheet; with columns it is headed by them on every sheet that it takes."""
        return Sheet(self, name, columns, lang)


class Sheet:
    """A sheet filled downwards; `at` is the next row, counted from 0."""

    def __init__(self, book: Book, name: str, columns: Sequence[Column], lang: Lang) -> None:
        self.book, self.name, self.lang = book, name, lang
        self.columns, self.kept = list(columns), list(columns)
        self.number = 0
        self._begin()

    def _begin(self) -> None:
        """Take the next sheet: NAME, then NAME 2 and so on."""
        self.number += 1
        name = self.name if self.number == 1 else f"{self.name} {self.number}"
        self.to, self.at = self.book.book.add_worksheet(name), 0
        for k, column in enumerate(self.kept):
            self.to.set_column(k, k, _WIDTHS[column.kind])
        if not self.kept:
            self.to.set_column(0, 30, 15)
        if self.columns:
            self.header(self.columns)
            self.to.freeze_panes(self.at, 1)

    def heading(self, text: str, note: str = "") -> None:
        """Write a heading, one row below what stands there, and a note under it."""
        if self.at:
            self.at += 1
        self._text(0, text, "heading")
        if note:
            self._text(0, note)

    def header(self, columns: Sequence[Column]) -> None:
        """Head the rows that follow."""
        self.columns = list(columns)
        for k, column in enumerate(columns):
            self.to.write_string(self.at, k, column.label(self.lang), self.book.formats["header"])
        self.at += 1

    def filters(self) -> None:
        """Let the rows that stand under the columns be filtered."""
        if self.kept:
            self.to.autofilter(0, 0, max(self.at - 1, 0), len(self.kept) - 1)

    def note(self, text: str) -> None:
        """Write a line of text."""
        self._text(0, text)

    def _text(self, k: int, text: str, style: str | None = None) -> None:
        self.to.write_string(self.at, k, text, self.book.formats.get(style or ""))
        self.at += 1

    def next_row(self) -> int:
        """Return the number that the next row will have in Excel, from 1; a full sheet goes on."""
        if self.at >= SHEET_ROWS:
            self.columns = self.kept or self.columns
            self._begin()
        return self.at + 1

    def row(self, values: Sequence[Any], *, bold: bool = False) -> int:
        """Write one row under the columns; return its number as Excel counts, from 1.

        Raises
        ------
        CaseFileError : a text is longer than Excel takes.
        """
        self.next_row()
        for k, (column, value) in enumerate(zip(self.columns, values, strict=True)):
            if value is not None and self._cell(k, column.kind, value, bold) < 0:
                place = f"sheet {self.to.get_name()}, row {self.at + 1}, {column.name}"
                raise CaseFileError(f"{place}: too long for Excel", file=self.book.name)
        self.at += 1
        return self.at

    def _cell(self, k: int, kind: Kind, value: Any, bold: bool) -> int:
        style = self.book.formats.get(f"{kind}_bold" if bold else kind)
        if isinstance(value, Live):
            shown = value.value
            if isinstance(shown, Fraction | Decimal):
                shown = float(shown)
            formula = f"={value.formula}"
            return int(self.to.write_formula(self.at, k, formula, style, shown))
        if isinstance(value, bool):
            return int(self.to.write_boolean(self.at, k, value))
        if kind == "money" and isinstance(value, int):
            if abs(value) >= MOST_FEN:
                return int(self.to.write_string(self.at, k, yuan(value)))
            value = Decimal(yuan(value))  # its digits go into the file as they are
        if isinstance(value, int | Decimal | Fraction) and -(2**53) < value < 2**53:
            number = float(value) if isinstance(value, Fraction) else value
            return int(self.to.write_number(self.at, k, number, style))
        if isinstance(value, date) and not isinstance(value, datetime):
            return int(self.to.write_datetime(self.at, k, value, style))
        text = str(value)
        if text.startswith("<r>"):  # what XlsxWriter would take for its own markup
            text = f" {text}"
        return int(self.to.write_string(self.at, k, text, style))
