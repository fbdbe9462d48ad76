"""The national CHS-DRG 3.0 workbook (分组方案配置信息) → a scheme folder.

Six sheets, found by the words of their names, their columns by header. Order of work: read and clean,
take out repeats, amend on request, check every row and say all that is wrong at once, move remainders
behind what they would swallow, write, load. The surprise: rows are tried in the order of the sheet, not by
the column 排序, which has faults; only remainder rows ever change places, and each move is reported.
"""

from __future__ import annotations

import fnmatch
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from grouper._scheme_files import ImportReport, csv_of, toml_of, write_files
from grouper._workbook import Column, Workbook, read_workbook, rows_of
from grouper.errors import RuleError, TableError
from grouper.tables import check, load_drg
from grouper.tables._drg_scheme import SchemeSettings
from grouper.tables._files import (
    SHIPPED,
    check_settings,
    is_whole,
    parse_toml,
    read_table,
    read_toml_text,
)
from grouper.tables._rules import parse, sets_of
from grouper.tables._toml_lines import places_of

SHEETS = {
    "exclusions": "排除",
    "sets": "集合",
    "adrg": "ADRG",
    "mdc": "MDC",
    "drg": "DRG",
    "cc": "CC",
}
"""Our table → what its sheet's name must hold; looked for in this order."""

COLUMNS = {
    "mdc": [
        Column("code", r"MDC(编码|代码)?"),
        Column("name", r"MDC名称", is_name=True),
        Column("rule", r"MDC规则"),
        Column("sort", r".*排序"),
    ],
    "adrg": [
        Column("code", r"ADRG(编码|代码)?"),
        Column("name", r"ADRG名称", is_name=True),
        Column("rule", r"ADRG规则"),
        Column("mdc", r"(所属)?MDC(编码|代码)"),
        Column("sort", r".*排序"),
    ],
    "drg": [
        Column("code", r"DRG(编码|代码)?"),
        Column("name", r"DRG名称", is_name=True),
        Column("rule", r"DRG规则"),
        Column("adrg", r"(所属)?ADRG(编码|代码)"),
        Column("mdc", r"(所属)?MDC(编码|代码)"),
        Column("sort", r".*排序"),
    ],
    "sets": [Column("set", r"集合(编号|编码|代码)"), Column("code", r"ICD(编码|代码)")],
    "cc": [
        Column("code", r"疾病(编码|代码)"),
        Column("exclusion", r"排除表.*"),
        Column("type", r"类型.*"),
    ],
    "exclusions": [
        Column("exclusion", r"集合(编号|编码|代码)"),
        Column("principal", r"ICD(编码|代码)"),
    ],
}
ALSO = {"sets": ("ICD名称", "类型编号"), "cc": ("疾病名称",), "exclusions": ("ICD名称", "类型编号")}
"""Headers that a sheet is known to have and that are not read."""

KEYS = {
    "sets": ("set", "code"),
    "cc": ("code", "type", "exclusion"),
    "exclusions": ("exclusion", "principal"),
}
"""What tells two rows of a list apart; the others are told apart by all their cells."""

PUBLISHED = {
    "MDC": 26,
    "ADRG": 537,
    "ADRG named": 492,
    "ADRG xQY": 21,
    "ADRG x00": 24,
    "DRG": 870,
    "DRG named": 825,
    "集合": 106_950,
    "集合 repeats": 113,
    "OP_ALL": 9_514,
    "CC": 7_918,
    "CC of type MCC": 1_581,
    "CC of type CC": 6_337,
    "排除表": 21_036,
}
"""Rows of the workbook as published on 2026-09-09."""

SETTINGS: dict[str, Any] = {
    "edition": "3.0",
    "published": date(2026, 9, 9),
    "in_force_announced": date(2027, 1, 1),
    "newborn_weight": "admission",
}
FAULTS_SHOWN = 10

Numbered = list[tuple[int, dict[str, str]]]


def import_drg3(
    path: Path | str,
    output: Path | str,
    *,
    amend: Path | str | None = None,
    options: Path | str | None = None,
    id: str | None = None,
    title: str | None = None,
    overwrite: bool = False,
) -> ImportReport:
    """Import the national CHS-DRG 3.0 workbook as a scheme folder.

    Parameters
    ----------
    path : the workbook. output : the folder to make. amend : exclusion rows to add: the name of a
        shipped amendment, or a CSV file (exclusion, principal). options : a TOML file of keys of
        scheme.toml, such as code_list. id, title : of the scheme; default the folder's name.

    Raises
    ------
    CaseFileError : no workbook, or the output holds files. TableError : a sheet, column or row is refused;
        names sheet and row, all rows of a sheet at once.
    """
    book = read_workbook(path)
    report = ImportReport(book.name, book.size, book.sha256)
    sheets = _sheets(book)
    tables = {t: _read(book, sheets[t], t, report) for t in sheets}
    report.counts = _counts(tables)
    report.published = dict(PUBLISHED)
    for table, rows in tables.items():
        tables[table] = _distinct(rows, table, sheets[table], report)
    if amend is not None:
        _amend(tables["exclusions"], amend, report)
    name = id or Path(output).name
    about = {"id": name, "title": title or f"CHS-DRG 3.0 ({book.name})", **SETTINGS}
    settings, given = scheme_settings(book, about, options)
    refuse_rows(book, sheets, tables, given)
    _move_remainders(tables, sheets, given, report)
    write_scheme(Path(output), settings, tables, report, overwrite=overwrite)
    return report


# ---------------------------------------------------------------------------------------- reading


def _sheets(book: Workbook) -> dict[str, str]:
    """Find the six sheets by the words of their names.

    Raises
    ------
    TableError : one is missing or stands twice; lists those there are.
    """
    found: dict[str, str] = {}
    for name in book.sheets:
        plain = re.sub(r"\s", "", name).upper()
        table = next((t for t, word in SHEETS.items() if word in plain), "")
        if table in found:
            message = f"sheets {found[table]!r} and {name!r} are both taken for {SHEETS[table]}; rename one"
            raise TableError(message, file=book.name)
        if table:
            found[table] = name
    if lacking := [SHEETS[t] for t in SHEETS if t not in found]:
        message = f"no sheet for {', '.join(lacking)}; it has {', '.join(book.sheets)}"
        raise TableError(message, file=book.name)
    return {t: found[t] for t in COLUMNS}


def _read(book: Workbook, sheet: str, table: str, report: ImportReport) -> Numbered:
    ignored: list[str] = []
    rows = list(rows_of(book, sheet, COLUMNS[table], ALSO.get(table, ()), ignored))
    report.ignored_columns += [f"{sheet}: {h}" for h in ignored]
    if n := book.cleaned[sheet]:
        report.cleaned_cells += n
        report.findings.append(f"{sheet}: {n} cells held blanks, full-width signs or line breaks")
    return rows


def _counts(tables: Mapping[str, Numbered]) -> dict[str, int]:
    """Count the rows as they stand, beside `PUBLISHED`."""
    adrgs = [r["code"] for _, r in tables["adrg"]]
    owners = [r["adrg"] for _, r in tables["drg"]]
    kinds = Counter(r["type"] for _, r in tables["cc"])
    pairs = Counter((r["set"], r["code"]) for _, r in tables["sets"])
    return {
        "MDC": len(tables["mdc"]),
        "ADRG": len(adrgs),
        "ADRG named": sum(not is_rest(a) for a in adrgs),
        "ADRG xQY": len(fnmatch.filter(adrgs, "?QY")),
        "ADRG x00": len(fnmatch.filter(adrgs, "?00")),
        "DRG": len(owners),
        "DRG named": sum(not is_rest(a) for a in owners),
        "集合": len(tables["sets"]),
        "集合 repeats": len(tables["sets"]) - len(pairs),
        "OP_ALL": sum(s == "OP_ALL" for s, _ in pairs),
        "CC": len(tables["cc"]),
        "CC of type MCC": kinds["MCC"],
        "CC of type CC": kinds["CC"],
        "排除表": len(tables["exclusions"]),
    }


def is_rest(adrg: str) -> bool:
    """Tell whether an ADRG is that of ambiguous cases or the remainder of its MDC."""
    return fnmatch.fnmatchcase(adrg, "?QY") or fnmatch.fnmatchcase(adrg, "?00")


def _distinct(rows: Numbered, table: str, sheet: str, report: ImportReport) -> Numbered:
    """Leave out rows that say what an earlier one says, and count them."""
    seen: set[tuple[str, ...]] = set()
    kept = []
    for number, row in rows:
        key = tuple(row[c] for c in KEYS[table]) if table in KEYS else tuple(row.values())
        if key not in seen:
            seen.add(key)
            kept.append((number, row))
    if repeats := len(rows) - len(kept):
        report.repeats += repeats
        report.findings.append(f"{sheet}: {repeats} repeated rows left out")
    return kept


# ------------------------------------------------------------------------------------- amendments


def _amend(rows: Numbered, amend: Path | str, report: ImportReport) -> None:
    """Add exclusion rows; say of each whether it was there.

    Raises
    ------
    TableError : no such amendment, or it names an exclusion table that the workbook lacks.
    """
    shipped = SHIPPED / "amendments" / f"{amend}.csv"
    path = shipped if shipped.is_file() else Path(amend)
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in shipped.parent.glob("*.csv")))
        raise TableError(f"no such amendment; known: {known}; or name a CSV file", file=str(amend))
    held = {(r["exclusion"], r["principal"]) for _, r in rows}
    names = {x for x, _ in held}
    for line, (exclusion, principal) in list(read_table(path, ("exclusion", "principal"))):
        if exclusion not in names:
            message = f"{exclusion} is no exclusion table of the workbook; it has {len(names)}"
            raise TableError(message, file=path.name, row=line)
        if (exclusion, principal) in held:
            report.findings.append(
                f"amendment {path.stem}: {exclusion} {principal} is there already"
            )
            continue
        rows.append((0, {"exclusion": exclusion, "principal": principal}))
        report.findings.append(f"amendment {path.stem}: {exclusion} {principal} added")


# -------------------------------------------------------------------------------------- refusing


def refuse_rows(
    book: Workbook, sheets: Mapping[str, str], tables: Mapping[str, Numbered], s: SchemeSettings
) -> None:
    """Refuse rows that the loader would refuse, all of a sheet at once.

    Raises
    ------
    TableError : names the sheet, and the first rows with what is wrong with each.
    """
    for table in COLUMNS:
        faults = sorted(_faults(table, tables, s))
        if faults:
            shown = [f"row {n}: {text}" for n, text in faults[:FAULTS_SHOWN]]
            if len(faults) > FAULTS_SHOWN:
                shown.append(f"and {len(faults) - FAULTS_SHOWN} more")
            raise TableError("; ".join(shown), file=book.place(sheets[table]), row=faults[0][0])


def _faults(
    table: str, tables: Mapping[str, Numbered], s: SchemeSettings
) -> Iterator[tuple[int, str]]:
    rows = tables[table]
    if not rows:
        yield 0, "the table is empty"
    needed = [
        c.field for c in COLUMNS[table] if c.field not in ("name", "rule", "sort", "exclusion")
    ]
    for number, row in rows:
        if blank := [c for c in needed if not row[c]]:
            yield number, f"{', '.join(blank)} is blank"
    if table in ("mdc", "adrg"):
        yield from _twice(rows)
    if table in ("mdc", "adrg", "drg"):
        yield from _rule_faults(rows, {r["set"] for _, r in tables["sets"]}, s)
    if table == "mdc":
        yield from (
            (n, f"sort {r['sort']!r} is no whole number")
            for n, r in rows
            if not is_whole(r["sort"])
        )
    parent = {"adrg": "mdc", "drg": "adrg"}.get(table)
    if parent:
        known = {r["code"] for _, r in tables[parent]}
        yield from (
            (n, f"{r[parent]} is no {parent.upper()} of the workbook")
            for n, r in rows
            if r[parent] not in known
        )
    if table == "cc":
        names = {r["exclusion"] for _, r in tables["exclusions"]} | {"", *s.never_excluded}
        for number, row in rows:
            if row["type"] not in ("MCC", "CC"):
                yield number, f"type {row['type']!r} is neither MCC nor CC"
            if row["exclusion"] not in names:
                yield number, f"{row['exclusion']} is no exclusion table; never_excluded allows it"
        yield from _two_tables(rows)


def _twice(rows: Numbered) -> Iterator[tuple[int, str]]:
    first: dict[str, int] = {}
    for number, row in rows:
        if first.setdefault(row["code"], number) != number:
            yield number, f"{row['code']} stands in row {first[row['code']]} with other cells"


def _two_tables(rows: Numbered) -> Iterator[tuple[int, str]]:
    first: dict[tuple[str, str], int] = {}
    for number, row in rows:
        key = row["code"], row["type"]
        if first.setdefault(key, number) != number:
            yield (
                number,
                f"{row['code']} is {row['type']} in row {first[key]} with another exclusion table",
            )


def _rule_faults(
    rows: Numbered, sets: Iterable[str], s: SchemeSettings
) -> Iterator[tuple[int, str]]:
    known = {*sets, *s.known_empty_sets}
    for number, row in rows:
        try:
            used = sets_of(parse(row["rule"], row=number))
        except RuleError as e:
            yield number, re.sub(r"^\[E110\] rule(:\d+)?: ", "", str(e))
            continue
        if lacking := sorted(used.keys() - known):
            yield number, f"no rows for set {', '.join(lacking)}; known_empty_sets allows it"


# ------------------------------------------------------------------------------------- remainders


def _move_remainders(
    tables: dict[str, Numbered], sheets: Mapping[str, str], s: SchemeSettings, report: ImportReport
) -> None:
    """Move what remains behind the rows of its parent that it would swallow."""

    def is_remainder_adrg(row: Mapping[str, str]) -> bool:
        return fnmatch.fnmatchcase(row["code"], s.remainder_adrg) and not row["rule"]

    def is_remainder_drg(row: Mapping[str, str]) -> bool:
        return not row["rule"]

    for table, parent, is_remainder in (
        ("adrg", "mdc", is_remainder_adrg),
        ("drg", "adrg", is_remainder_drg),
    ):
        by_parent: dict[str, Numbered] = {}
        for number, row in tables[table]:
            by_parent.setdefault(row[parent], []).append((number, row))
        moved: Numbered = []
        for rows in by_parent.values():
            last = [x for x in rows if is_remainder(x[1])]
            others = [x for x in rows if not is_remainder(x[1])]
            for number, row in last:
                if swallowed := [r["code"] for n, r in others if n > number]:
                    report.findings.append(
                        f"{sheets[table]}:{number}: remainder {row['code']} moved behind "
                        f"{', '.join(swallowed)}, which it would swallow"
                    )
            moved += [*others, *last]
        tables[table] = moved


# ---------------------------------------------------------------------------------------- writing


def scheme_settings(
    book: Workbook, about: Mapping[str, Any], options: Path | str | None
) -> tuple[dict[str, Any], SchemeSettings]:
    """Return the keys of scheme.toml, and the same checked: `about`, then what a file of options says.

    Raises
    ------
    TableError : the options are no TOML, or hold a key that scheme.toml has not.
    """
    text, name, folder = "", "scheme.toml", Path()
    if options is not None:
        path = Path(options)
        text, name, folder = read_toml_text(path), path.name, path.parent
    given = parse_toml(text, name)
    sources = {"all tables": f"{book.name}, {book.size} bytes, sha256 {book.sha256}"}
    settings = {**about, **given, "sources": {**given.get("sources", {}), **sources}}
    checked = check_settings(settings, SchemeSettings, lambda: places_of(text, name, folder))
    return settings, checked


def write_scheme(
    output: Path,
    settings: Mapping[str, Any],
    tables: Mapping[str, Sequence[tuple[int, Mapping[str, str]]]],
    report: ImportReport,
    *,
    overwrite: bool,
    more: Mapping[str, str] | None = None,
) -> None:
    """Write a DRG scheme folder, if it loads, and add the linter's findings to the report.

    Raises
    ------
    TableError : the loader refuses it; nothing is written.
    """
    columns = {
        "mdc": ("code", "name", "rule", "sort"),
        "adrg": ("code", "name", "rule", "mdc", "sort"),
        "drg": ("code", "name", "rule", "adrg", "mdc", "sort"),
        "sets": ("set", "code"),
        "cc": ("code", "type", "exclusion"),
        "exclusions": ("exclusion", "principal"),
    }
    files = {"scheme.toml": toml_of(settings)}
    files |= {f"{t}.csv": csv_of([r for _, r in tables[t]], c) for t, c in columns.items()}
    said = "\n".join(f"- {f}" for f in report.findings)
    origin = f"{report.name}, {report.size} bytes, sha256 {report.sha256}"
    files["SOURCES.md"] = f"# {settings['id']}\n\n{origin}\n\n{said}\n".rstrip() + "\n"
    write_files(output, {**files, **(more or {})}, overwrite=overwrite, load=load_drg)
    found = check(output)
    kinds = Counter(f.code for f in found)
    for code, n in sorted(kinds.items()):
        first = next(f for f in found if f.code == code)
        report.findings.append(f"{code} ×{n}, as {first.place}: {first.message}")
