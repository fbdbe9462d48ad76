"""A rule sheet: one row per ADRG, or per ADRG and list, its columns named by a map → a plan.

The map (TOML) names sheets and columns; a column of codes is named by what its list is for: principal, other,
any_diagnosis, main, other_procedure, any_procedure, with a number if there are several. Lists are
joined by and, unless the column `logic` says otherwise. The surprise: `+` joins procedures only, since
it is a sign of diagnosis codes (G01*+A01.002).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import Field

from grouper._import_drg2_plan import FIRST, Drg, Drg2Options, Mdc, Plan
from grouper._import_drg2_read import mdc_in, table_name
from grouper._import_drg2_source import Faults, sheet_rows
from grouper._import_drg2_tables import drg_rule
from grouper._import_lists import ADRG, CodedList, Entry, Label, is_code, label_of, split_of
from grouper._import_lists_logic import ENGLISH
from grouper._scheme_files import ImportReport
from grouper._workbook import Column, Workbook
from grouper.errors import TableError
from grouper.tables._files import Settings, is_whole


class SheetMap(Settings):
    """A sheet (or CSV file) and our column → its header."""

    sheet: str = ""
    columns: dict[str, str]


class RulesMap(SheetMap):
    """The rule sheet; every sign of `any_of` parts alternatives, `all_of` joins procedures."""

    any_of: str = Field(default="|;、, ", min_length=1)
    all_of: str = "+"


class TablesMap(Settings):
    """Map of a region's tables: of the six tables, or of a rule sheet and what belongs to it."""

    id: str = ""
    title: str = ""
    source: str = ""
    scheme: dict[str, Any] = {}
    sheets: dict[str, str] = {}
    columns: dict[str, dict[str, str]] = {}
    rules: RulesMap | None = None
    mdcs: SheetMap | None = None
    drgs: SheetMap | None = None
    mcc: SheetMap | None = None
    cc: SheetMap | None = None
    exclusions: SheetMap | None = None
    grey_diagnoses: SheetMap | None = None
    grey_procedures: SheetMap | None = None
    readings: Drg2Options = Drg2Options()


NEEDED = {
    "rules": ("code",),
    "mdcs": ("code", "principal"),
    "drgs": ("code", "name"),
    "mcc": ("code",),
    "cc": ("code",),
    "exclusions": ("exclusion", "principal"),
    "grey_diagnoses": ("code",),
    "grey_procedures": ("code",),
}
MAY = {
    "rules": ("name", "mdc", "logic", "list", "codes"),
    "mdcs": ("name", "order", "site"),
    "drgs": ("adrg", "rule"),
    "mcc": ("name", "type", "exclusion"),
    "cc": ("name", "type", "exclusion"),
    "exclusions": (),
    "grey_diagnoses": ("name",),
    "grey_procedures": ("name",),
}
"""Columns that a map must name, and those that it may."""

Rows = Iterator[tuple[int, dict[str, str]]]


class Sheets:
    """The sheets that a map names, and where messages say they stand."""

    def __init__(
        self, book: Workbook, given: TablesMap, map_name: str, report: ImportReport
    ) -> None:
        self.book, self.given, self.map_name, self.report = book, given, map_name, report
        self.read: set[str] = set()

    def sheet(self, section: str, about: SheetMap) -> str:
        """Return the sheet of a section; one alone need not be named."""
        if about.sheet:
            return sheet_named(self.book, about.sheet, self.map_name)
        if len(self.book.sheets) == 1:
            return next(iter(self.book.sheets))
        message = f"[{section}] names no sheet; there are {', '.join(self.book.sheets)}"
        raise TableError(message, file=self.map_name)

    def rows(self, section: str, about: SheetMap, also: tuple[str, ...] = ()) -> Rows:
        """Yield the rows of a section's sheet, cells by our names of columns."""
        sheet = self.sheet(section, about)
        known = (*NEEDED[section], *MAY[section], *also)
        if lacking := [c for c in NEEDED[section] if c not in about.columns]:
            message = f"[{section}.columns] needs {', '.join(lacking)}"
            raise TableError(message, file=self.map_name)
        if unknown := [c for c in about.columns if c not in known]:
            message = f"[{section}.columns] {unknown[0]!r} is not known; known: {', '.join(known)}"
            raise TableError(message, file=self.map_name)
        columns = [
            Column(c, re.escape(re.sub(r"\s", "", header)), is_name=c == "name")
            for c, header in about.columns.items()
        ]
        n = 0
        absent = dict.fromkeys(known, "")
        for number, row in sheet_rows(self.book, sheet, columns, [], self.report):
            n += 1
            yield number, {**absent, **row}
        self.report.findings.append(f"{sheet}: {n} rows read")
        if sheet not in self.read and (cleaned := self.book.cleaned[sheet]):
            self.report.cleaned_cells += cleaned
            self.report.findings.append(f"{sheet}: {cleaned} cells were not clean")
        self.read.add(sheet)

    def repeats(self, section: str, n: int) -> None:
        """Count what stands twice in a section."""
        if n:
            self.report.repeats += n
            self.report.findings.append(f"[{section}]: {n} repeats left out")


def sheet_named(book: Workbook, name: str, map_name: str) -> str:
    """Return the sheet of this name, given with or without .csv."""
    for found in (name, re.sub(r"(?i)\.csv$", "", name)):
        if found in book.sheets:
            return found
    message = f"no sheet {name!r}; there are {', '.join(book.sheets)}"
    raise TableError(message, file=map_name or book.name)


def read_rules(
    book: Workbook,
    given: TablesMap,
    map_name: str,
    never_excluded: Sequence[str],
    report: ImportReport,
) -> Plan:
    """Read a rule sheet and the sheets that belong to it.

    Raises
    ------
    TableError : the map lacks a section, names a sheet or column that is not there, or rows are refused.
    """
    sections = {s: getattr(given, s) for s in NEEDED}
    needed = ("rules", "mdcs", "drgs")
    if lacking := [s for s in needed if sections[s] is None]:
        message = f"a rule sheet needs [{lacking[0]}] with its columns too"
        raise TableError(message, file=map_name)
    sheets, plan = Sheets(book, given, map_name, report), Plan()
    _mdcs(sheets, sections["mdcs"], plan)
    _rules(sheets, sections["rules"], plan)
    _drgs(sheets, sections["drgs"], plan)
    if sections["exclusions"]:
        _exclusions(sheets, sections["exclusions"], plan)
    for level in ("mcc", "cc"):
        if sections[level]:
            _severity(sheets, level, sections[level], plan, never_excluded)
    for side, into in (("diagnoses", plan.grey_diagnoses), ("procedures", plan.grey_procedures)):
        if about := sections[f"grey_{side}"]:
            label = label_of("诊断" if side == "diagnoses" else "手术")
            assert label is not None
            faults = Faults(book.place(sheets.sheet(f"grey_{side}", about)))
            for number, row in sheets.rows(f"grey_{side}", about):
                if not is_code(row["code"], label):
                    faults.add(number, f"code: {row['code']!r} is no code")
                into.setdefault(row["code"], row["name"])
            faults.tell()
    if not plan.levels or not plan.exclusions:
        message = "a scheme needs rows of [mcc] or [cc], and of [exclusions]"
        raise TableError(message, file=map_name)
    report.counts = {"MDC": len(plan.mdcs), "ADRG": len(plan.entries), "DRG": len(plan.drgs)}
    if unread := [s for s in book.sheets if s not in sheets.read]:
        report.findings.append(f"sheets {', '.join(unread)} are not read")
    return plan


# ------------------------------------------------------------------------------------------ lists


def label_named(column: str) -> Label | None:
    """Return the label that a column of the map is named by (principal, any_procedure2)."""
    found = re.fullmatch(r"([a-z_]+?)(\d*)", column)
    return label_of(ENGLISH[found[1]] + found[2]) if found and found[1] in ENGLISH else None


def _rules(sheets: Sheets, about: RulesMap, plan: Plan) -> None:
    """Read the ADRGs; a row that repeats an ADRG adds to its lists."""
    labels = {c: label for c in about.columns if (label := label_named(c))}
    if not labels and not {"list", "codes"} <= about.columns.keys():
        message = f"[rules.columns] names no list; known: {', '.join(ENGLISH)}, or list and codes"
        raise TableError(message, file=sheets.map_name)
    place = sheets.book.place(sheets.sheet("rules", about))
    faults, code = Faults(place), ""
    repeats = 0
    for number, row in sheets.rows("rules", about, tuple(labels)):
        code = row["code"] or code
        if not ADRG.fullmatch(code):
            faults.add(number, f"code: {code!r} is no ADRG such as BB1")
            continue
        mdc = mdc_in(row["mdc"]) or f"MDC{code[0]}"
        entry = plan.entries.setdefault(code, Entry(code, mdc, place, number))
        if row["mdc"] and entry.mdc != mdc:
            faults.add(number, f"mdc: {code} is in {mdc} here and in {entry.mdc} above")
        entry.name = entry.name or row["name"]
        if row["logic"] and row["logic"] not in entry.expression:
            entry.expression += ("" if not entry.expression else " 或 ") + row["logic"]
        for column, label in labels.items():
            repeats += _add(entry, label, row[column], about, number, column, faults)
        if row["codes"]:
            label = label_named(row["list"]) or label_of(row["list"])
            if label is None:
                faults.add(number, f"list: {row['list']!r} is no label such as 主要诊断, principal")
            else:
                repeats += _add(entry, label, row["codes"], about, number, "codes", faults)
    faults.tell()
    sheets.repeats("rules", repeats)


def _add(
    entry: Entry,
    label: Label,
    cell: str,
    about: RulesMap,
    number: int,
    column: str,
    faults: Faults,
) -> int:
    """Add the codes of a cell to a list; return how many were there."""
    parts = [p for p in re.split(f"[{re.escape(about.any_of)}]", cell) if p]
    if not parts:
        return 0
    into: CodedList = entry.list_of(label, number)
    repeats = 0
    for part in parts:
        codes = [part] if label.is_diagnosis or not about.all_of else part.split(about.all_of)
        for code in codes:
            if not is_code(code, label):
                faults.add(number, f"{column}: {code!r} is no code of a list {label}")
        if len(codes) > 1:
            repeats += tuple(codes) in into.together
            if tuple(codes) not in into.together:
                into.together.append(tuple(codes))
        else:
            repeats += part in into.codes
            into.codes.setdefault(part, "")
    return repeats


# ------------------------------------------------------------------------------- what belongs to it


def _mdcs(sheets: Sheets, about: SheetMap, plan: Plan) -> None:
    """Read the MDCs with their principal diagnoses, one or several in a cell."""
    place = sheets.book.place(sheets.sheet("mdcs", about))
    faults, code, found = Faults(place), "", dict[str, tuple[int, Mdc]]()
    for number, row in sheets.rows("mdcs", about):
        code = mdc_in(row["code"]) if row["code"] else code
        if not code:
            faults.add(number, f"code: {row['code']!r} is no MDC such as MDCB")
            continue
        if row["order"] and not is_whole(row["order"]):
            faults.add(number, f"order: {row['order']!r} is no whole number")
            continue
        order = int(row["order"] or len(found) + 1)
        mdc = found.setdefault(code, (order, Mdc(code, place, number)))[1]
        mdc.name = mdc.name or row["name"]
        into = mdc.sites.setdefault(row["site"], {}) if row["site"] else mdc.codes
        for diagnosis in re.split(r"[|;、, ]", row["principal"]):
            if diagnosis and not is_code(diagnosis, Label(("ZYZD",))):
                faults.add(number, f"principal: {diagnosis!r} is no diagnosis code")
            elif diagnosis:
                into.setdefault(diagnosis, "")
    faults.tell()
    ordered = [m for _, m in sorted(found.values(), key=lambda f: f[0])]
    if "order" not in about.columns:
        ordered.sort(key=lambda m: FIRST.index(m.code) if m.code in FIRST else len(FIRST))
    plan.mdcs = {m.code: m for m in ordered}


def _drgs(sheets: Sheets, about: SheetMap, plan: Plan) -> None:
    place = plan.drg_file = sheets.book.place(sheets.sheet("drgs", about))
    faults, seen = Faults(place), dict[str, int]()
    for entry in plan.entries.values():
        if entry.mdc not in plan.mdcs:
            message = f"mdc: {entry.code} is in {entry.mdc}, which [mdcs] lacks; add it there"
            raise TableError(message, file=entry.file, row=entry.row)
    for number, row in sheets.rows("drgs", about):
        adrg = row["adrg"] or row["code"][:3]
        if adrg not in plan.entries:
            faults.add(number, f"adrg: {adrg!r} of {row['code']!r} is no ADRG of the rule sheet")
            continue
        if seen.setdefault(row["code"], number) != number:
            faults.add(number, f"code: {row['code']} stands in row {seen[row['code']]} too")
            continue
        name = plan.entries[adrg].name
        rule = split_of(row["rule"]) if row["rule"] else split_of(row["name"], name)
        if rule is None and row["rule"]:
            rule = drg_rule(row["rule"], place, number)
        plan.drgs.append(Drg(row["code"], row["name"], adrg, rule or "", number))
    faults.tell()


def _exclusions(sheets: Sheets, about: SheetMap, plan: Plan) -> None:
    faults, repeats = Faults(sheets.book.place(sheets.sheet("exclusions", about))), 0
    seen: set[tuple[str, str]] = set()
    for number, row in sheets.rows("exclusions", about):
        table = table_name(row["exclusion"])
        for code in re.split(r"[|;、, ]", row["principal"]):
            if not table or not is_code(code, Label(("ZYZD",))):
                faults.add(
                    number, f"exclusion {row['exclusion']!r}, principal {code!r}: odd or blank"
                )
            elif (table, code) in seen:
                repeats += 1
            else:
                seen.add((table, code))
                plan.exclusions.append((number, {"exclusion": table, "principal": code}))
    faults.tell()
    sheets.repeats("exclusions", repeats)


def _severity(
    sheets: Sheets, level: str, about: SheetMap, plan: Plan, never_excluded: Sequence[str]
) -> None:
    faults, repeats = Faults(sheets.book.place(sheets.sheet(level, about))), 0
    allowed = {"", *(r["exclusion"] for _, r in plan.exclusions), *never_excluded}
    seen = {(r["code"], r["type"]): r["exclusion"] for _, r in plan.levels}
    for number, row in sheets.rows(level, about):
        of, table = row["type"].upper() or level.upper(), table_name(row["exclusion"])
        if of not in ("MCC", "CC") or not is_code(row["code"], Label(("ZYZD",))):
            faults.add(number, f"code {row['code']!r}, type {of!r}: odd or blank")
        elif table not in allowed:
            message = f"exclusion: {row['exclusion']!r} has no rows; never_excluded allows it"
            faults.add(number, message)
        elif seen.get((row["code"], of), table) != table:
            faults.add(number, f"exclusion: {of} {row['code']} has two exclusion tables")
        elif (row["code"], of) in seen:
            repeats += 1
        else:
            seen[row["code"], of] = table
            plan.severity_names.setdefault(row["code"], row["name"])
            cells: Mapping[str, str] = {"code": row["code"], "type": of, "exclusion": table}
            plan.levels.append((number, dict(cells)))
    faults.tell()
    sheets.repeats(level, repeats)
