"""Published DIP catalogues → scheme folders: the national 3.0 workbook, a city's own table.

The workbook is taken as the plan lays it out: sheets by the words of their names, columns by their
headers. What is not known is refused, with the place; every count is reported beside the published one.
The surprise: sheet 1 has a second header in its middle, before the newborns.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from grouper._scheme_files import ImportReport, csv_of, toml_of, write_files
from grouper._workbook import Column, Workbook, read_workbook, rows_of
from grouper.errors import CaseFileError, TableError
from grouper.tables._dip import CLASSES, OPTIONAL, REQUIRED
from grouper.tables._files import Settings, read_settings
from grouper.tables._keys import check_diagnosis_key, check_procedure_key, normal, split
from grouper.tables._rules import clean_text

GROUP = (*REQUIRED, *OPTIONAL)
PUBLISHED = {
    "先期分组": 19,
    "并项": 1725,
    "烧伤": 25,
    "肿瘤": 42,
    "结核": 46,
    "结核耐药诊断": 48,
    "基础规则": 3268,
    "主要诊断": 4742,
    "主要手术操作": 4111,
    "基层病种": 127,
}
"""Rows of each sheet as published, by the words that its name must hold."""

HANDLING = {"按保守治疗": "conservative", "不可作为主要手术": "not_main"}
NEWBORN = re.compile(r"(\d+)-(\d+)克")
DAYS = re.compile(r"<\s*(\d+)\s*天")
CODE = Column("principal", r"主要诊断(编码|代码).*")
NAME = Column("principal_name", r"主要诊断名称.*")
MAIN = Column("main", r"主要手术操作(编码|代码).*")
MAIN_NAME = Column("main_name", r"主要手术操作名称.*")
SEQ = Column("seq", r"序号")
RELATED = [
    Column("related", r"相关手术操作(编码|代码).*"),
    Column("related_name", r"相关手术操作名称.*"),
]
OTHER = Column("other", r"其他诊断(编码|代码|范围).*")
CATEGORY = r"分类|类别|病种类型"

Cells = Mapping[str, str]


def import_dip3(path: Path | str, output: Path | str, *, overwrite: bool = False) -> ImportReport:
    """Import the national 3.0 workbook (按病种分值付费3.0版分组方案) as a scheme folder.

    Raises
    ------
    CaseFileError : no workbook, or the output holds files. TableError : a sheet, column or cell is
        not as published; names sheet and row.
    """
    book = read_workbook(path)
    report = ImportReport(book.name, book.size, book.sha256)
    sheets = _sheets(book)
    groups: list[dict[str, str]] = []
    readers: dict[str, Callable[[Workbook, str], Iterator[dict[str, str]]]] = {
        "先期分组": _pre,
        "并项": _merged,
        "烧伤": _burns,
        "肿瘤": _tumours,
        "结核": _tuberculosis,
        "基础规则": _basic,
    }
    seen: dict[str, str] = {}
    for words, read in readers.items():
        rows = list(read(book, sheets[words]))
        report.counts[words] = len(rows)
        for row in rows:
            same = "\x1f".join(v for k, v in row.items() if k not in ("code", "name"))
            if row["code"] in seen and seen[row["code"]] != same:
                message = f"sequence {row['code']} stands twice; number the rows anew"
                raise TableError(message, file=book.place(sheets[words]))
            if row["code"] in seen:
                report.repeats += 1
                continue
            seen[row["code"]] = same
            groups.append(row)
    resistant = [normal(c) for c in _codes(book, sheets["结核耐药诊断"])]
    conditions = [{"condition": "tb_resistant", "side": "other", "key": "U84.300"}]
    conditions += [
        {"condition": "tb_resistant", "side": "principal", "key": c}
        for c in dict.fromkeys(resistant)
    ]
    exclusions = list(_exclusions(book, sheets, report))
    primary = list(_primary(book, sheets["基层病种"]))
    report.counts |= {"结核耐药诊断": len(resistant), "基层病种": len(primary)}
    report.published = dict(PUBLISHED)
    report.counts = {words: report.counts[words] for words in PUBLISHED}
    report.cleaned_cells = sum(book.cleaned.values())
    _mark(groups, primary, report)
    settings = {
        "id": Path(output).name,
        "title": "DIP 3.0 national plan (国家按病种分值付费3.0版分组方案)",
        "kind": "dip",
        "edition": "3.0",
        "profile": "national-3.0",
        "code_list": "codes-nhsa-2.0",
        "sources": {"groups.csv and the others": f"{book.name}, sha256 {book.sha256}"},
    }
    files = {
        "scheme.toml": toml_of(settings),
        "groups.csv": csv_of(groups, GROUP),
        "exclusions.csv": csv_of(exclusions, ("side", "code", "handling", "diagnoses")),
        "conditions.csv": csv_of(conditions, ("condition", "side", "key")),
        "primary_care.csv": csv_of(primary, ("seq", "principal", "main")),
        "SOURCES.md": f"# {Path(output).name}\n\n{book.name}, sha256 {book.sha256}\n",
    }
    write_files(Path(output), files, overwrite=overwrite)
    return report


def _sheets(book: Workbook) -> dict[str, str]:
    """Find each sheet by the words of its name; refuse those that are missing or not known."""
    found: dict[str, str] = {}
    order = sorted(PUBLISHED, key=len, reverse=True)  # 结核耐药诊断 before 结核
    for name in book.sheets:
        plain = re.sub(r"\s", "", name)
        words = next((w for w in order if w in plain or w.replace("诊断", "") in plain), "")
        if "不纳入" in plain:
            words = "主要手术操作" if "手术" in plain else "主要诊断"
        if not words or words in found:
            message = (
                f"sheet {name!r} is unknown; expected sheets named after {', '.join(PUBLISHED)}"
            )
            raise TableError(message, file=book.name)
        found[words] = name
    if lacking := [w for w in PUBLISHED if w not in found]:
        raise TableError(
            f"no sheet for {', '.join(lacking)}; it has {list(book.sheets)}", file=book.name
        )
    return found


# ------------------------------------------------------------------------------------------- sheets


def _group(
    book: Workbook, sheet: str, number: int, prefix: str, kind: str, row: Cells, **cells: str
) -> dict[str, str]:
    """Lay out one group, with its keys checked where they stand."""
    place = book.place(sheet)
    if not row["seq"].isdigit():
        raise TableError(f"sequence {row['seq']!r} is no number", file=place, row=number)
    for column in ("principal", "other_diagnoses", "any_diagnoses"):
        for key in split(cells.get(column, "")):
            check_diagnosis_key(key, place, number)
    for column in ("main", "related", "any_procedures"):
        for part in cells.get(column, "").replace("*", "").split("|"):
            for key in split(part, "+"):
                check_procedure_key(key, place, number)
    if not cells.get("principal"):
        raise TableError("the principal diagnosis is blank", file=place, row=number)
    return {"code": f"{prefix}-{row['seq']}", "class": kind, **cells}


def _named(*parts: str) -> str:
    return " + ".join(p for p in parts if p)


def _pre(book: Workbook, sheet: str) -> Iterator[dict[str, str]]:
    """Read 先期分组: transplants and the like, then newborns below a second header."""
    columns = [SEQ, Column("name", r"(分组|病种)名称"), CODE, NAME, MAIN, MAIN_NAME]
    columns.append(Column("note", r"备注|说明"))
    newborns = False
    for number, row in rows_of(book, sheet, columns, (CATEGORY,)):
        if "天龄" in row.values():
            newborns = True
            continue
        if newborns:
            yield _newborn(book, sheet, number, row)
            continue
        anywhere = "不限定为主要手术操作" in row["note"]
        cells = {"principal": "*" if "所有诊断" in row["principal"] else row["principal"]}
        cells["main"] = "*" if anywhere else row["main"]
        cells["any_procedures"] = row["main"] if anywhere else ""
        cells |= {"name": row["name"], "note": row["note"]}
        yield _group(book, sheet, number, "XQ", "pre", row, **cells)


def _newborn(book: Workbook, sheet: str, number: int, row: Cells) -> dict[str, str]:
    """Read a newborn row: the main procedure's columns hold age and weight."""
    days, weight = DAYS.search(row["main"]), NEWBORN.search(row["main_name"])
    anywhere = "不限定为主要诊断" in row["note"]
    if not days or not weight:
        message = f"age {row['main']!r} and weight {row['main_name']!r}: expected <29天, 0-999克"
        raise TableError(message, file=book.place(sheet), row=number)
    cells = {"principal": "*" if anywhere else row["principal"], "main": "*"}
    cells |= {"any_diagnoses": row["principal"] if anywhere else ""}
    cells |= {"age_days": f"<{days[1]}", "weight": f"{weight[1]}-{weight[2]}"}
    cells |= {"name": row["name"], "note": row["note"]}
    return _group(book, sheet, number, "XQ", "pre", row, **cells)


def _merged(book: Workbook, sheet: str) -> Iterator[dict[str, str]]:
    for number, row in rows_of(
        book, sheet, [SEQ, CODE, NAME, MAIN, MAIN_NAME, *RELATED], (CATEGORY,)
    ):
        cells = {k: row[k] for k in ("principal", "main", "related")}
        cells["name"] = _named(row["principal_name"], row["main_name"], row["related_name"])
        yield _group(book, sheet, number, "BX", "merged", row, **cells)


def _burns(book: Workbook, sheet: str) -> Iterator[dict[str, str]]:
    columns = [SEQ, CODE, Column("degree", r".*(程度|深度|度)"), OTHER, Column("area", r".*面积.*")]
    columns += [MAIN, MAIN_NAME, *RELATED]
    also = (CATEGORY, r"(主要|其他)诊断名称.*")
    for number, row in rows_of(book, sheet, columns, also):
        cells = {k: row[k] for k in ("principal", "main", "related", "degree", "area")}
        cells["other_diagnoses"] = row["other"]
        cells["name"] = _named(row["degree"], row["area"], row["main_name"], row["related_name"])
        yield _group(book, sheet, number, "FZ", "subdivided", row, **cells)


def _tumours(book: Workbook, sheet: str) -> Iterator[dict[str, str]]:
    columns = [SEQ, CODE, NAME, OTHER, Column("other_name", r"其他诊断名称.*")]
    columns += [
        Column("px", r"手术操作(编码|代码|表达式|组合).*"),
        Column("px_name", r"手术操作名称.*"),
    ]
    for number, row in rows_of(book, sheet, columns, (CATEGORY,)):
        cells = {"principal": row["principal"], "main": "*", "any_procedures": row["px"]}
        cells |= {"other_diagnoses": row["other"], "first_other": "1"}
        cells["name"] = _named(row["principal_name"], row["other_name"], row["px_name"])
        yield _group(book, sheet, number, "FZ", "subdivided", row, **cells)


def _tuberculosis(book: Workbook, sheet: str) -> Iterator[dict[str, str]]:
    columns = [SEQ, CODE, NAME, MAIN, MAIN_NAME, Column("resistant", r"是否耐药|耐药")]
    columns.append(Column("rule", r".*(规则|说明|备注)"))
    for number, row in rows_of(book, sheet, columns, (CATEGORY,)):
        if row["resistant"] not in ("是", "否"):
            message = f"drug resistant is {row['resistant']!r}, not 是 or 否"
            raise TableError(message, file=book.place(sheet), row=number)
        column = "requires" if row["resistant"] == "是" else "forbids"
        cells = {"principal": row["principal"], "main": row["main"], column: "tb_resistant"}
        cells |= {"name": _named(row["principal_name"], row["main_name"]), "note": row["rule"]}
        yield _group(book, sheet, number, "FZ", "subdivided", row, **cells)


def _basic(book: Workbook, sheet: str) -> Iterator[dict[str, str]]:
    for number, row in rows_of(book, sheet, [SEQ, CODE, NAME, MAIN, MAIN_NAME], (CATEGORY,)):
        cells = {"principal": row["principal"], "main": row["main"]}
        cells["name"] = _named(row["principal_name"], row["main_name"])
        yield _group(book, sheet, number, "JC", "basic", row, **cells)


def _codes(book: Workbook, sheet: str) -> Iterator[str]:
    columns = [Column("code", r".*(编码|代码)"), Column("name", r".*名称")]
    for number, row in rows_of(book, sheet, columns, (r"序号", CATEGORY)):
        check_diagnosis_key(normal(row["code"]), book.place(sheet), number)
        yield row["code"]


def _exclusions(
    book: Workbook, sheets: Mapping[str, str], report: ImportReport
) -> Iterator[dict[str, str]]:
    """Read both lists of codes that are not grouped."""
    seen: set[tuple[str, str]] = set()
    columns = [Column("code", r".*(编码|代码)"), Column("name", r".*名称")]
    for side, words in (("diagnosis", "主要诊断"), ("procedure", "主要手术操作")):
        sheet, n = sheets[words], 0
        more = (
            [Column("handling", r".*(处理|入组|方式|规则|说明).*")] if side == "procedure" else []
        )
        for number, row in rows_of(book, sheet, [*columns, *more], (r"序号", CATEGORY)):
            n += 1
            if (side, row["code"]) in seen:
                report.repeats += 1
                continue
            seen.add((side, row["code"]))
            handling, diagnoses = "excluded", ""
            if side == "procedure":
                handling, diagnoses = _handling(book.place(sheet), number, row["handling"])
            yield {
                "side": side,
                "code": row["code"],
                "handling": handling,
                "diagnoses": diagnoses,
            }
        report.counts[words] = n


def _handling(place: str, number: int, text: str) -> tuple[str, str]:
    """Read how an excluded procedure is handled: by name, or a list of diagnoses it may go with."""
    for words, handling in HANDLING.items():
        if words in text:
            return handling, ""
    keys = re.findall(r"[A-Z]\d{2}(?:\.[0-9A-Za-z]+)?(?:-[A-Z]\d{2}(?:\.\d)?)?", text)
    if not keys:
        expected = ", ".join(HANDLING)
        message = f"handling {text!r}: expected {expected}, or diagnoses that allow it"
        raise TableError(message, file=place, row=number)
    return "main_only_with", "|".join(keys)


def _primary(book: Workbook, sheet: str) -> Iterator[dict[str, str]]:
    for _, row in rows_of(book, sheet, [SEQ, CODE, NAME, MAIN, MAIN_NAME]):
        yield {"seq": row["seq"], "principal": row["principal"], "main": row["main"]}


def _mark(groups: Sequence[dict[str, str]], primary: Sequence[Cells], report: ImportReport) -> None:
    """Mark primary-care groups; report rows of the list that have no group of the same keys."""
    rows = {(frozenset(split(p["principal"])), frozenset(split(p["main"]))) for p in primary}
    marked = set()
    for g in groups:
        keys = frozenset(split(g["principal"])), frozenset(split(g["main"]))
        if keys in rows and not g.get("related") and not g.get("other_diagnoses"):
            g["primary_care"] = "1"
            marked.add(keys)
    if lost := len(rows) - len(marked):
        report.findings.append(f"{lost} rows of 基层病种 have no group with the same keys")


# ------------------------------------------------------------------------------------- a city's table


class TableMap(Settings):
    """Column map of a city's own catalogue table."""

    id: str = ""
    title: str = ""
    source: str = Field(min_length=1)
    profile: str
    code_list: str = ""
    any_of: Literal["|", "/"] = "|"
    all_of: Literal["+", ","] = "+"
    score_scale: Literal[0, 100, 1000] = 1000
    score_decimals: int = Field(default=4, ge=0, le=6)
    conservative: list[str] = ["", "-", "保守治疗", "内科诊疗", "内科治疗"]
    dots: bool = True
    sheet: str = ""
    columns: dict[str, str]
    classes: dict[str, str] = {}
    default_class: str = "core"


def import_dip_table(
    path: Path | str, output: Path | str, columns: Path | str, *, overwrite: bool = False
) -> ImportReport:
    """Import a city's own catalogue (CSV or Excel) through a column map.

    Raises
    ------
    CaseFileError : a file cannot be read, or the output holds files. TableError : the map, a column
        or a cell is refused; names file and row.
    """
    path, given = Path(path), read_settings(Path(columns), TableMap)
    if unknown := [c for c in given.columns if c not in GROUP]:
        message = f"[columns] {unknown[0]!r} is no column of groups.csv: {', '.join(GROUP)}"
        raise TableError(message, file=Path(columns).name)
    header, rows, report = _table(path, given)
    lacking = [h for h in given.columns.values() if clean_text(h) not in header]
    if lacking:
        raise TableError(f"no column {', '.join(lacking)}; it has {header}", file=path.name, row=1)
    if "principal" not in given.columns or "main" not in given.columns:
        raise TableError("[columns] needs principal and main", file=Path(columns).name)
    place = {ours: header.index(clean_text(h)) for ours, h in given.columns.items()}
    report.ignored_columns = [h for k, h in enumerate(header) if h and k not in place.values()]
    groups = [
        _city_group(
            {c: row[k] if k < len(row) else "" for c, k in place.items()}, given, path, n, report
        )
        for n, row in rows
        if any(row)
    ]
    kept: dict[str, dict[str, str]] = {}
    for k, g in enumerate(groups):
        code = g["code"] or f"G{k + 1:05}"
        if code in kept:
            raise TableError(f"code {code!r} stands twice", file=path.name, row=rows[k][0])
        kept[code] = {**g, "code": code, "name": g.get("name") or code}
    report.counts = dict(Counter(g["class"] for g in kept.values()))
    settings: dict[str, Any] = {
        "id": given.id or Path(output).name,
        "title": given.title or Path(output).name,
        "kind": "dip",
        "profile": given.profile,
        "score_scale": given.score_scale,
        "score_decimals": given.score_decimals,
        "sources": {"groups.csv": f"{given.source}; {path.name}, sha256 {report.sha256}"},
    }
    if given.code_list:
        settings["code_list"] = given.code_list
    files = {
        "scheme.toml": toml_of(settings),
        "groups.csv": csv_of(list(kept.values()), GROUP),
        "SOURCES.md": f"# {settings['id']}\n\n{given.source}: {path.name}, sha256 {report.sha256}\n",
    }
    write_files(Path(output), files, overwrite=overwrite)
    return report


Numbered = Sequence[tuple[int, Sequence[str]]]


def _table(path: Path, given: TableMap) -> tuple[list[str], Numbered, ImportReport]:
    """Read header and rows of a CSV or Excel table."""
    if path.suffix.casefold() in (".xlsx", ".xlsm", ".xls"):
        book = read_workbook(path)
        name = given.sheet or next(iter(book.sheets))
        if name not in book.sheets:
            raise TableError(f"no sheet {name!r}; it has {list(book.sheets)}", file=path.name)
        table = list(enumerate(book.sheets[name], start=1))
        report = ImportReport(book.name, book.size, book.sha256)
        report.cleaned_cells = sum(book.cleaned.values())
    else:
        try:
            data = path.read_bytes()
        except OSError as e:
            raise CaseFileError(f"cannot be read: {e.strerror}", file=str(path)) from None
        report = ImportReport(path.name, len(data), hashlib.sha256(data).hexdigest())
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            try:
                text = data.decode("gb18030")
            except UnicodeDecodeError as e:
                message = f"neither UTF-8 nor GB18030 at byte {e.start}"
                raise CaseFileError(message, file=path.name) from None
        lines = csv.reader(io.StringIO(text, newline=""))
        table = [(k, [clean_text(c) for c in row]) for k, row in enumerate(lines, start=1)]
    full = [(k, row) for k, row in table if any(row)]
    if not full:
        raise TableError("the table is empty", file=path.name)
    return list(full[0][1]), full[1:], report


def _city_group(
    row: Cells, given: TableMap, path: Path, number: int, report: ImportReport
) -> dict[str, str]:
    """Turn one row of a city's table into a group in our notation."""
    cells = {c: row.get(c, "") for c in GROUP}
    kind = given.classes.get(cells["class"], cells["class"]) or given.default_class
    if kind not in CLASSES:
        message = f"class {kind!r} is none of {', '.join(CLASSES)}; name it under [classes]"
        raise TableError(message, file=path.name, row=number)
    cells["class"] = kind
    if cells["main"].strip() in given.conservative:
        cells["main"] = ""
    other = "/" if given.any_of == "|" else "|"
    for column in ("principal", "other_diagnoses", "any_diagnoses"):
        parts = [_dotted(p.strip(), given, True) for p in cells[column].split(given.any_of)]
        cells[column] = "|".join(p for p in parts if p)
    for column in ("main", "related", "any_procedures"):
        if other in cells[column]:
            report.findings.append(
                f"{path.name}:{number}: {column} holds {other!r}: notation mixed"
            )
        alternatives = []
        for part in cells[column].split(given.any_of):
            codes = [_dotted(c.strip(), given, False) for c in part.split(given.all_of)]
            alternatives.append("+".join(c for c in codes if c))
        if column == "main" and any("+" in a for a in alternatives):
            alternatives, rest = _leading(alternatives)
            cells["related"] = "|".join(x for x in (rest, cells["related"]) if x)
        cells[column] = "|".join(a for a in alternatives if a)
    for column in ("principal", "other_diagnoses", "any_diagnoses"):
        for key in split(cells[column]):
            check_diagnosis_key(key, path.name, number)
    for column in ("main", "related", "any_procedures"):
        for part in cells[column].replace("*", "").split("|"):
            for key in split(part, "+"):
                check_procedure_key(key, path.name, number)
    return cells


def _leading(alternatives: Sequence[str]) -> tuple[list[str], str]:
    """Split `a+b` in a main column: the first code is the main one, the rest are related."""
    first = {a.partition("+")[0] for a in alternatives}
    rest = "|".join(a.partition("+")[2] for a in alternatives if "+" in a)
    return sorted(first), rest


def _dotted(code: str, given: TableMap, diagnosis: bool) -> str:
    """Put the dot into a code that is written without it."""
    if given.dots or "." in code or not code:
        return code
    at = 3 if diagnosis else 2
    return f"{code[:at]}.{code[at:]}" if len(code) > at and code[:at].isalnum() else code
