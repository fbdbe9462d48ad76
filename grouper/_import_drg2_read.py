"""The list layout of the 2.0 plan (分组方案): sheets → a plan, nothing read into it yet.

Sheets are found by the words of their names, columns by their headers; docs/import-drg.md lays them out.
Blank MDC and ADRG cells take what stands above them (merged cells). The surprise: in the sheet of
conditions (入组条件) a row is a code, or a statement such as 包含以下主要诊断 or 和 that says what the codes
below it are for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from grouper._import_drg2_plan import FIRST, Drg, Mdc, Plan, is_mdc
from grouper._import_drg2_source import Faults, sheet_rows
from grouper._import_drg2_statements import Reader
from grouper._import_drg2_tables import drg_rule
from grouper._import_lists import ADRG, DIAGNOSIS, PROCEDURE, Entry, split_of
from grouper._scheme_files import ImportReport
from grouper._workbook import Column, Workbook
from grouper.errors import TableError
from grouper.tables._files import is_whole

SHEETS: dict[str, str] = {
    "exclusions": r"排除",
    "grey_diagnoses": r"(不作为|不可作为|不能作为)主(要)?诊|(灰码|无效).*诊断|诊断.*(灰码|无效)",
    "grey_procedures": r"(不作为|不可作为|不能作为)主(要)?手术|(灰码|无效).*手术|手术.*(灰码|无效)",
    "procedures": r"(有效|全部|所有)手术",
    "main": r"主诊表|MDC诊断",
    "conditions": r"入组条件|入组规则|ADRG(内容|条件)",
    "adrgs": r"ADRG",
    "mcc": r"MCC",
    "cc": r"CC",
    "drgs": r"DRG",
    "mdcs": r"MDC",
}
"""Our table → what its sheet's name must hold; the first that fits counts."""

NEEDED = {"main": "主诊表", "conditions": "入组条件", "drgs": "DRG", "exclusions": "排除表"}

CODE = Column("code", r"(?!MDC|ADRG|DRG).*(编码|代码).*")
NAME = Column("name", r"(?!MDC|ADRG).*名称.*", is_name=True)
MDC = Column("mdc", r"(所属)?MDC(编码|代码|类别|类)?")
ADRG_CODE = Column("adrg", r"(所属)?ADRG(编码|代码|组)?")
RULE = Column("rule", r"(ADRG|DRG|入组)?(规则|说明|条件|细分规则|细分条件|入组条件|分组规则).*")
SITE = Column("site", r".*部位.*")
LIST = Column("list", r"列表.*|所属列表|类别|类型|条件类型|.*(主诊表|归属表)")
SERIAL = (r"序号|序列|顺序号",)

Named = dict[str, str]


def read_plan(book: Workbook, report: ImportReport, never_excluded: list[str]) -> Plan:
    """Read the sheets of a plan.

    Raises
    ------
    TableError : a sheet or column is missing, or rows are refused; names sheet and rows.
    """
    sheets = _sheets(book, report)
    plan = Plan()
    if "mdcs" in sheets:
        _mdc_names(book, sheets["mdcs"], plan, report)
    _main(book, sheets["main"], plan, report)
    if "adrgs" in sheets:
        _adrg_names(book, sheets["adrgs"], plan, report)
    _conditions(book, sheets["conditions"], plan, report)
    _drgs(book, sheets["drgs"], plan, report)
    _exclusions(book, sheets["exclusions"], plan, report)
    for level in ("mcc", "cc"):
        if level in sheets:
            _severity(book, sheets[level], level.upper(), plan, report, never_excluded)
    if not plan.levels:
        message = f"no sheet for MCC or CC; it has {', '.join(book.sheets)}"
        raise TableError(message, file=book.name)
    for words, into, shape in (
        ("grey_diagnoses", plan.grey_diagnoses, DIAGNOSIS),
        ("grey_procedures", plan.grey_procedures, PROCEDURE),
        ("procedures", plan.procedures, PROCEDURE),
    ):
        if words in sheets:
            _codes(book, sheets[words], into, shape, report)
    for sheet in sheets.values():
        if n := book.cleaned[sheet]:
            report.cleaned_cells += n
            report.findings.append(f"{sheet}: {n} cells held blanks, full-width signs or the like")
    _order(plan, report)
    return plan


def _sheets(book: Workbook, report: ImportReport) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in book.sheets:
        text = re.sub(r"\s", "", name).upper()
        table = next((t for t, words in SHEETS.items() if re.search(words, text)), "")
        if table in found:
            message = f"sheets {found[table]!r} and {name!r} are taken for the same; rename one"
            raise TableError(message, file=book.name)
        if table:
            found[table] = name
        else:
            report.findings.append(f"sheet {name!r} is not read")
    if lacking := [words for t, words in NEEDED.items() if t not in found]:
        message = f"no sheet for {', '.join(lacking)}; it has {', '.join(book.sheets)}"
        raise TableError(message, file=book.name)
    return found


def _rows(
    book: Workbook,
    sheet: str,
    required: list[Column],
    optional: list[Column],
    report: ImportReport,
) -> Iterator[tuple[int, dict[str, str]]]:
    n = 0
    for number, row in sheet_rows(book, sheet, required, optional, report, SERIAL):
        n += 1
        yield number, row
    report.findings.append(f"{sheet}: {n} rows read")


def _repeats(n: int, sheet: str, report: ImportReport) -> None:
    if n:
        report.repeats += n
        report.findings.append(f"{sheet}: {n} repeated rows left out")


# ------------------------------------------------------------------------------------------- MDCs


def mdc_in(text: str) -> str:
    """Read the code of an MDC from a cell (MDCB, B, or with its name); "" if there is none."""
    found = re.match(r"(?:MDC)?([A-Z])(?![A-Z0-9])", re.sub(r"\s", "", text).upper())
    return f"MDC{found[1]}" if found else ""


def _mdc_names(book: Workbook, sheet: str, plan: Plan, report: ImportReport) -> None:
    """Read the MDCs in the order of their rows, or of the column 排序."""
    faults, place = Faults(book.place(sheet)), book.place(sheet)
    order = Column("order", r".*(顺序|排序).*")
    found: list[tuple[int, Mdc]] = []
    name = Column("name", r"(MDC)?名称", is_name=True)
    for number, row in _rows(book, sheet, [MDC, name], [order], report):
        code = mdc_in(row["mdc"])
        if not code or code in {m.code for _, m in found}:
            faults.add(number, f"MDC {row['mdc']!r} is no MDC, or stands twice")
            continue
        if row["order"] and not is_whole(row["order"]):
            faults.add(number, f"order {row['order']!r} is no whole number")
            continue
        found.append((int(row["order"] or len(found) + 1), Mdc(code, place, number, row["name"])))
    faults.tell()
    for _, mdc in sorted(found, key=lambda f: f[0]):
        plan.mdcs[mdc.code] = mdc


def _main(book: Workbook, sheet: str, plan: Plan, report: ImportReport) -> None:
    """Read the principal diagnoses of every MDC; those of MDCZ by site (部位)."""
    faults, repeats, mdc = Faults(book.place(sheet)), 0, ""
    for number, row in _rows(book, sheet, [MDC, CODE], [NAME, SITE], report):
        mdc = mdc_in(row["mdc"]) if row["mdc"] else mdc
        if not mdc:
            faults.add(number, f"MDC {row['mdc']!r} is no MDC such as MDCB")
        elif not DIAGNOSIS.fullmatch(row["code"]):
            faults.add(number, f"{row['code']!r} is no diagnosis code")
        else:
            into = _mdc(plan, mdc, book.place(sheet), number)
            repeats += _put(into, row["site"], row["code"], row["name"])
    faults.tell()
    _repeats(repeats, sheet, report)


def _mdc(plan: Plan, code: str, place: str, row: int) -> Mdc:
    return plan.mdcs.setdefault(code, Mdc(code, place, row))


def _put(mdc: Mdc, site: str, code: str, name: str) -> bool:
    """Add a diagnosis to an MDC or a site of it; tell whether it was there."""
    codes = mdc.sites.setdefault(site, {}) if site and mdc.code == "MDCZ" else mdc.codes
    there = code in codes
    codes.setdefault(code, name)
    return there


def _order(plan: Plan, report: ImportReport) -> None:
    """Put MDCA, P, Y, Z before the others, in which a diagnosis may stand twice."""
    for entry in plan.entries.values():
        _mdc(plan, entry.mdc, entry.file, entry.row)
    first = [m for m in FIRST if m in plan.mdcs]
    order = [*first, *(m for m in plan.mdcs if m not in first)]
    if order != list(plan.mdcs):
        report.findings.append(f"MDCs are tried in the order {', '.join(m[-1] for m in order)}")
    plan.mdcs = {m: plan.mdcs[m] for m in order}


# ------------------------------------------------------------------------------------------ ADRGs


def _adrg_names(book: Workbook, sheet: str, plan: Plan, report: ImportReport) -> None:
    faults, place = Faults(book.place(sheet)), book.place(sheet)
    name = Column("name", r"(ADRG)?名称", is_name=True)
    for number, row in _rows(book, sheet, [ADRG_CODE, name], [MDC, RULE], report):
        code = row["adrg"]
        if not ADRG.fullmatch(code) or code in plan.entries:
            faults.add(number, f"ADRG {code!r} is no code such as BB1, or stands twice")
            continue
        mdc = mdc_in(row["mdc"]) or f"MDC{code[0]}"
        entry = Entry(code, mdc, place, number, row["name"], expression=row["rule"])
        plan.entries[code] = entry
    faults.tell()


def _conditions(book: Workbook, sheet: str, plan: Plan, report: ImportReport) -> None:
    """Read lists and statements of every ADRG, and the sites of MDCZ where they stand here."""
    place = book.place(sheet)
    faults, known = Faults(place), bool(plan.entries)
    readers: dict[str, Reader] = {}
    mdc = adrg = ""
    repeats = 0
    columns = [ADRG_CODE, CODE]
    for number, row in _rows(book, sheet, columns, [MDC, NAME, LIST, RULE], report):
        adrg, mdc = row["adrg"] or adrg, mdc_in(row["mdc"]) or mdc
        if not ADRG.fullmatch(adrg):
            if mdc != "MDCZ" or not adrg:
                faults.add(number, f"ADRG {adrg!r} is no code such as BB1")
            elif DIAGNOSIS.fullmatch(row["code"]):  # the name of a site stands for the ADRG
                repeats += _put(_mdc(plan, mdc, place, number), adrg, row["code"], row["name"])
            continue
        if adrg not in plan.entries:
            if known:
                faults.add(number, f"{adrg} is not in the sheet of ADRGs; add it there")
                continue
            of = mdc_in(row["mdc"]) or f"MDC{adrg[0]}"
            plan.entries[adrg] = Entry(adrg, of, place, number)
        reader = readers.setdefault(adrg, Reader(plan.entries[adrg], faults))
        reader.read(number, row)
    for reader in readers.values():
        reader.close()
    faults.tell()
    _repeats(repeats + sum(r.repeats for r in readers.values()), sheet, report)
    for entry in plan.entries.values():
        if {joint for joint, _ in entry.terms[1:]} == {"and", "or"} and not entry.expression:
            report.findings.append(f"{place}: {entry.code} mixes 和 and 或: 和 is taken first")


# ------------------------------------------------------------------------------------------- DRGs


def _drgs(book: Workbook, sheet: str, plan: Plan, report: ImportReport) -> None:
    """Read the DRGs; the column 规则 says what splits them, else their names do."""
    place = plan.drg_file = book.place(sheet)
    faults, adrg, seen = Faults(place), "", dict[str, int]()
    columns = [Column("code", r"DRG(编码|代码|组)?"), Column("name", r"(DRG)?名称", is_name=True)]
    for number, row in _rows(book, sheet, columns, [ADRG_CODE, MDC, RULE], report):
        adrg = row["adrg"] or row["code"][:3]
        if adrg not in plan.entries:
            faults.add(number, f"DRG {row['code']!r}: {adrg!r} is no ADRG of the plan")
            continue
        if seen.setdefault(row["code"], number) != number:
            faults.add(number, f"DRG {row['code']} stands in row {seen[row['code']]} too")
            continue
        entry = plan.entries[adrg]
        rule = split_of(row["rule"], "") if row["rule"] else split_of(row["name"], entry.name)
        if rule is None and row["rule"]:
            try:
                rule = drg_rule(row["rule"], place, number)
            except TableError as e:
                faults.add(number, re.sub(r"^\[E\d+\] .*?:\d+: ", "", str(e)))
        plan.drgs.append(Drg(row["code"], row["name"], adrg, rule or "", number))
    faults.tell()
    first: dict[str, str] = {}
    for d in plan.drgs:
        first.setdefault(d.adrg, d.name)
    for code, entry in plan.entries.items():
        entry.name = entry.name or re.sub(r"[，,].*$", "", first.get(code, ""))


# --------------------------------------------------------------------------------------- severity


def table_name(text: str) -> str:
    """Return the name of an exclusion table: 表 1, 排除表1, 1 → EX_1; 无 → "" (never excluded)."""
    text = re.sub(r"\s", "", text)
    if re.fullmatch(r"无|无排除表|无排除|-|/", text):
        return ""
    number = re.fullmatch(r"(?:第)?(?:排除)?表?(\d+)(?:号)?", text)
    return f"EX_{int(number[1])}" if number else text


def _exclusions(book: Workbook, sheet: str, plan: Plan, report: ImportReport) -> None:
    faults, repeats, table = Faults(book.place(sheet)), 0, ""
    columns = [Column("table", r"(排除)?表(号|编号|序号|名)?|排除表.*"), CODE]
    seen: set[tuple[str, str]] = set()
    for number, row in _rows(book, sheet, columns, [NAME], report):
        table = table_name(row["table"]) or table
        if not table or not DIAGNOSIS.fullmatch(row["code"]):
            faults.add(
                number, f"table {row['table']!r}, code {row['code']!r}: one is missing or odd"
            )
            continue
        plan.severity_names.setdefault(row["code"], row["name"])
        if (table, row["code"]) in seen:
            repeats += 1
            continue
        seen.add((table, row["code"]))
        plan.exclusions.append((number, {"exclusion": table, "principal": row["code"]}))
    faults.tell()
    _repeats(repeats, sheet, report)


def _severity(
    book: Workbook,
    sheet: str,
    level: str,
    plan: Plan,
    report: ImportReport,
    never_excluded: list[str],
) -> None:
    """Read MCC or CC; a column 类型 says which where both are in one sheet."""
    faults, repeats = Faults(book.place(sheet)), 0
    tables = {r["exclusion"] for _, r in plan.exclusions} | {"", *never_excluded}
    seen = {(r["code"], r["type"]): r["exclusion"] for _, r in plan.levels}
    table = Column("table", r".*(排除表|表号|表序号).*")
    kind = Column("type", r"类型|级别|MCC/CC")
    for number, row in _rows(book, sheet, [CODE, table], [NAME, kind], report):
        of, excluded = row["type"].upper() or level, table_name(row["table"])
        if of not in ("MCC", "CC"):
            faults.add(number, f"type {row['type']!r} is neither MCC nor CC")
        elif not DIAGNOSIS.fullmatch(row["code"]):
            faults.add(number, f"{row['code']!r} is no diagnosis code")
        elif excluded not in tables:
            message = (
                f"{row['table']!r} is no exclusion table of the plan; never_excluded allows it"
            )
            faults.add(number, message)
        elif seen.get((row["code"], of), excluded) != excluded:
            faults.add(number, f"{of} {row['code']} has two exclusion tables")
        elif (row["code"], of) in seen:
            repeats += 1
        else:
            seen[row["code"], of] = excluded
            plan.severity_names.setdefault(row["code"], row["name"])
            cells = {"code": row["code"], "type": of, "exclusion": excluded}
            plan.levels.append((number, cells))
    faults.tell()
    _repeats(repeats, sheet, report)


def _codes(
    book: Workbook, sheet: str, into: Named, shape: re.Pattern[str], report: ImportReport
) -> None:
    faults, repeats = Faults(book.place(sheet)), 0
    for number, row in _rows(book, sheet, [CODE], [NAME], report):
        if not shape.fullmatch(row["code"]):
            faults.add(number, f"{row['code']!r} is no code of this list")
        repeats += row["code"] in into
        into.setdefault(row["code"], row["name"])
    faults.tell()
    _repeats(repeats, sheet, report)


def counts(plan: Plan) -> Mapping[str, int]:
    """Count MDCs, ADRGs, DRGs as the sheets have them."""
    return {"MDC": len(plan.mdcs), "ADRG": len(plan.entries), "DRG": len(plan.drgs)}


__all__ = ["counts", "is_mdc", "mdc_in", "read_plan", "table_name"]
