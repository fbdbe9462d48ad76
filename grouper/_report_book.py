"""A report as a workbook: a sheet of notes, then one sheet a table with filters and a total."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from grouper._audit_book import Book, Column, open_book, word
from grouper._report_tables import Figure, Report, ReportTable, Row
from grouper._report_words import ABOUT


def write_book(report: Report, path: Path, lang: Literal["zh", "en"]) -> None:
    """Write a report to an .xlsx file, whole or not at all; the same bytes for the same run.

    Raises
    ------
    CaseFileError : XlsxWriter is not installed, a text is too long for Excel, or the disk refuses.
    """
    with open_book(path) as book:
        book.book.set_properties({"created": _made(report)})
        _write_notes(book, report, lang)
        for t in report.tables.values():
            _write_table(book, t, lang)


def _made(report: Report) -> datetime:
    """Return when the run was made: the file says no other time."""
    try:
        made = datetime.fromisoformat(report.about.get("made", ""))
    except ValueError:
        return datetime(2000, 1, 1)
    return made.astimezone(UTC).replace(tzinfo=None, microsecond=0)


def _write_notes(book: Book, report: Report, lang: Literal["zh", "en"]) -> None:
    """Write what the report is of, and what each sheet says."""
    columns = [Column("item", "项目"), Column("value", "内容")]
    sheet = book.sheet(word(lang, "说明", "notes"), columns, lang)
    for name, value in report.about.items():
        sheet.row([word(lang, *ABOUT.get(name, (name, name))), value])
    for t in report.tables.values():
        sheet.row([word(lang, *t.title), word(lang, *t.note)])


def _write_table(book: Book, t: ReportTable, lang: Literal["zh", "en"]) -> None:
    sheet = book.sheet(word(lang, t.title[0], t.name), t.columns, lang)
    for row in t.rows:
        sheet.row(_cells(t.columns, row, lang))
    sheet.filters()
    if t.has_total:
        total = _cells(t.columns, t.total, lang)
        sheet.row([word(lang, "合计", "total"), *total[1:]], bold=True)


def _cells(columns: Sequence[Figure], row: Row, lang: Literal["zh", "en"]) -> list[Any]:
    return [c.shown(row.get(c.name), lang) for c in columns]
