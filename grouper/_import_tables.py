"""A region's own tables → a scheme folder: the six tables, or lists per ADRG through a map.

The six tables are CSV files or sheets of one workbook, with our headers, those of the national 3.0 workbook,
or headers that a map names. Order of work: find the tables, read and clean them, leave out repeats, fill in
what can be told from elsewhere (sort, MDC of a DRG), refuse what the loader would refuse with the row of
the source, write, load. The surprise: rows are never put into another order, whatever 排序 says.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from grouper._import_drg2 import scheme_places, write_plan
from grouper._import_drg2_source import read_source, sheet_rows
from grouper._import_drg3 import COLUMNS, KEYS, SHEETS, refuse_rows, write_scheme
from grouper._import_tables_rules import TablesMap, read_rules, sheet_named
from grouper._scheme_files import ImportReport
from grouper._workbook import Column, Workbook
from grouper.errors import TableError
from grouper.tables._drg_scheme import FILE, SchemeSettings
from grouper.tables._files import check_settings, read_settings, read_toml

Numbered = list[tuple[int, dict[str, str]]]

OPTIONAL = {
    "mdc": ("name", "sort"),
    "adrg": ("name", "sort"),
    "drg": ("name", "mdc", "sort"),
    "sets": (),
    "cc": ("exclusion",),
    "exclusions": (),
}
"""Columns that a table may lack."""

ALSO = (r"ICD名称", r"疾病名称", r"类型编号", r"名称")
"""Headers that lists are known to have and that are not read."""


def import_tables(
    source: Path | str,
    output: Path | str,
    *,
    columns: Path | str | None = None,
    id: str | None = None,
    title: str | None = None,
    overwrite: bool = False,
) -> ImportReport:
    """Import a region's own DRG tables: six tables, or a rule sheet of lists per ADRG.

    Parameters
    ----------
    source : a workbook, a folder of CSV files, or one CSV file. output : the scheme folder to make.
    columns : a TOML map of its sheets and columns (`TablesMap`); a rule sheet needs one. id, title : of the
        scheme; default those of the map, of a scheme.toml beside the tables, or the folder's name.

    Raises
    ------
    CaseFileError : the source cannot be read, or the output holds files. TableError : the map, a table,
        a column or a row is refused; names sheet, row and cure.
    """
    path, target = Path(source), Path(output)
    given = read_settings(Path(columns), TablesMap) if columns is not None else TablesMap()
    map_name = Path(columns).name if columns is not None else ""
    book = read_source(path)
    report = ImportReport(book.name, book.size, book.sha256)
    about: dict[str, Any] = {**_beside(path, report), **given.scheme}
    about["id"] = id or given.id or about.get("id") or target.name
    about["title"] = title or given.title or about.get("title") or about["id"]
    places = partial(scheme_places, columns)
    checked = check_settings(about, SchemeSettings, places)
    if given.source:
        about["sources"] = {**about.get("sources", {}), "as published": given.source}
    if given.rules is not None:
        plan = read_rules(book, given, map_name, checked.never_excluded, report)
        options = given.readings.model_copy(update={"scheme": {**given.readings.scheme, **about}})
        write_plan(target, plan, options, about, report, places, overwrite=overwrite)
        return report
    settings = {**about, "sources": {**about.get("sources", {}), "all tables": _origin(report)}}
    if checked.inherits:
        message = (
            f"inherits {checked.inherits!r}: a variant is loaded where it stands, not imported"
        )
        raise TableError(message, file=FILE)
    sheets = _sheets(book, given, map_name, report)
    tables = {t: _read(book, sheets[t], t, given, map_name, report) for t in COLUMNS}
    report.counts = {t: len(rows) for t, rows in tables.items()}
    for table, rows in tables.items():
        tables[table] = _distinct(rows, table, sheets[table], report)
    _fill(tables, sheets, report)
    refuse_rows(book, sheets, tables, checked)
    write_scheme(target, settings, tables, report, overwrite=overwrite)
    return report


def _origin(report: ImportReport) -> str:
    return f"{report.name}, {report.size} bytes, sha256 {report.sha256}"


def _beside(path: Path, report: ImportReport) -> dict[str, Any]:
    """Take over the scheme.toml that stands in a folder of tables."""
    if not (path.is_dir() and (path / FILE).is_file()):
        return {}
    found = read_toml(path / FILE)
    report.findings.append(f"{FILE} of the folder taken over: {', '.join(found)}")
    return found


def _sheets(
    book: Workbook, given: TablesMap, map_name: str, report: ImportReport
) -> dict[str, str]:
    """Find the sheet of each table: the one the map names, ours, or by the words of the 3.0 workbook."""
    if unknown := [t for t in (*given.sheets, *given.columns) if t not in COLUMNS]:
        message = f"{unknown[0]!r} is no table; known: {', '.join(COLUMNS)}"
        raise TableError(message, file=map_name)
    found = {t: sheet_named(book, name, map_name) for t, name in given.sheets.items()}
    for name in (n for n in book.sheets if n not in found.values()):
        plain = re.sub(r"\s", "", name)
        table = plain.casefold() if plain.casefold() in COLUMNS else ""
        table = table or next((t for t, word in SHEETS.items() if word in plain.upper()), "")
        if not table or table in given.sheets:
            report.findings.append(f"sheet {name!r} is not read")
        elif table in found:
            message = f"sheets {found[table]!r} and {name!r} are both taken for {table}; map one"
            raise TableError(message, file=book.name)
        else:
            found[table] = name
    if lacking := [f"{t} ({SHEETS[t]})" for t in COLUMNS if t not in found]:
        message = f"no table {', '.join(lacking)}; it has {', '.join(book.sheets)}"
        raise TableError(message, file=book.name)
    return found


def _columns(table: str, given: TablesMap, map_name: str) -> Iterator[Column]:
    """Yield the columns of a table with the headers they may have."""
    mapped = given.columns.get(table, {})
    fields = [c.field for c in COLUMNS[table]]
    if unknown := [c for c in mapped if c not in fields]:
        message = f"[columns.{table}] {unknown[0]!r} is no column; known: {', '.join(fields)}"
        raise TableError(message, file=map_name)
    for c in COLUMNS[table]:
        header = re.escape(re.sub(r"\s", "", mapped[c.field])) if c.field in mapped else ""
        yield Column(c.field, header or f"{c.field}|{c.header}", c.is_name)


def _read(
    book: Workbook, sheet: str, table: str, given: TablesMap, map_name: str, report: ImportReport
) -> Numbered:
    columns = list(_columns(table, given, map_name))
    may_lack = OPTIONAL[table]
    required = [c for c in columns if c.field not in may_lack]
    optional = [c for c in columns if c.field in may_lack]
    also = ALSO if table in KEYS else ()
    rows = list(sheet_rows(book, sheet, required, optional, report, also))
    if n := book.cleaned[sheet]:
        report.cleaned_cells += n
        report.findings.append(f"{sheet}: {n} cells held blanks, full-width signs or line breaks")
    return rows


def _distinct(rows: Numbered, table: str, sheet: str, report: ImportReport) -> Numbered:
    """Leave out rows that say what an earlier one says, and count them."""
    kept: dict[tuple[str, ...], tuple[int, dict[str, str]]] = {}
    for number, row in rows:
        key = tuple(row[c] for c in KEYS[table]) if table in KEYS else tuple(row.values())
        kept.setdefault(key, (number, row))
    if repeats := len(rows) - len(kept):
        report.repeats += repeats
        report.findings.append(f"{sheet}: {repeats} repeated rows left out")
    return list(kept.values())


def _fill(tables: Mapping[str, Numbered], sheets: Mapping[str, str], report: ImportReport) -> None:
    """Fill in what a table leaves out and another tells; say how often."""
    mdc_of = {r["code"]: r["mdc"] for _, r in tables["adrg"]}
    filled = {"mdc": 0, "adrg": 0, "drg": 0}
    for table in filled:
        for k, (_, row) in enumerate(tables[table], 1):
            before = dict(row)
            row["sort"] = row["sort"] or str(k)
            if table == "drg":
                row["mdc"] = row["mdc"] or mdc_of.get(row["adrg"], "")
            filled[table] += row != before
    for table, n in filled.items():
        if n:
            report.findings.append(
                f"{sheets[table]}: in {n} rows a blank sort or MDC was filled in"
            )
    for _, row in tables["cc"]:
        row["type"] = row["type"].upper()
