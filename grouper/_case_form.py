"""A workbook for a hospital to fill (填报模板): drop-downs, checked cells, codes as text.

What is filled is read as it is: the headers are known (`_layouts.FORMS`). Values of the drop-downs are those
of the quality rules' domains.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from grouper._cases import OLDEST
from grouper._columns import COLUMNS, Column
from grouper._excel import letters
from grouper._layouts import CODES
from grouper._reading import EXCEL
from grouper._writing import replacing
from grouper.errors import CaseFileError
from grouper.tables import domain_names

ASKED = (
    *("case_id", "hospital_id", "hospital_level", "insurance", "sex", "age", "age_days"),
    *("birth_weight", "admission_weight", "admission_date", "discharge_date", "los"),
    *("discharge_mode", "department", "icu_hours", "ventilator_hours", "settlement_date"),
    *("doctor_id", "coder_id", "total_cost_fen", "fund_paid_fen", "self_paid_fen"),
)
"""Columns of the form before those of the codes."""

DIAGNOSES, PROCEDURES = 16, 10
ROWS = 2_000
DOMAINS = {"discharge_mode": "dscg_way", "department": "department"}
WORDS = {
    "zh": {
        "cases": "病例",
        "columns": "说明",
        "lists": "值域",
        "column": "列",
        "required": "必填",
        "meaning": "含义",
        "yes": "是",
        "principal": "第一个为主要",
        "example": "示例",
        "head": "黄色列必填。每行一例；编码列为文本，保留前导零。填好后直接用于 grouper group。",
        "wrong": "请从列表选择，或按说明填写",
    },
    "en": {
        "cases": "cases",
        "columns": "columns",
        "lists": "values",
        "column": "column",
        "required": "required",
        "meaning": "meaning",
        "yes": "yes",
        "principal": "the first is the principal one",
        "example": "example",
        "head": "Yellow columns are required. A case a row; codes are text and keep their zeros. "
        "Give the filled file to grouper group as it is.",
        "wrong": "choose from the list, or see the sheet of columns",
    },
}
EXAMPLE = {
    "case_id": "2025-000001",
    "hospital_level": "三级",
    "insurance": "310",
    "sex": "1",
    "age": "66",
    "admission_date": "2025-03-01",
    "discharge_date": "2025-03-08",
    "los": "7",
    "discharge_mode": "1",
    "total_cost_fen": "32100.50",
    "diagnoses": "I21.001",
    "procedures": "36.0700x004",
}
SUGGESTED = {
    "hospital_level": {"三级": "", "二级": "", "一级": ""},
    "insurance": {"310": "职工", "390": "居民"},
    "sex": {"1": "男", "2": "女", "9": "未说明"},
}
"""Values that are suggested: sex is one of them, level and insurance may be finer."""


@dataclass(frozen=True)
class Field:
    """One column of the form."""

    column: Column
    header: str
    values: dict[str, str]
    number: int = 0  # of a column of codes, from 1

    @property
    def is_required(self) -> bool:
        """Whether it must be filled: of the codes only the first diagnosis."""
        is_first = self.column.name == "diagnoses" and self.number == 1
        return self.column.required and (is_first or not self.number)

    @property
    def is_strict(self) -> bool:
        """Whether no other value than those of the list may be filled in."""
        return bool(self.values) and self.column.name not in (
            "hospital_level",
            "insurance",
            "department",
        )


def fields(lang: str) -> Iterator[Field]:
    """Yield the columns of the form in their order."""
    known = {c.name: c for c in COLUMNS}
    for name in ASKED:
        values = SUGGESTED.get(name) or (domain_names(DOMAINS[name]) if name in DOMAINS else {})
        yield Field(known[name], known[name].header(lang), dict(values))
    for name, stem, n in zip(
        ("diagnoses", "procedures"), CODES[lang], (DIAGNOSES, PROCEDURES), strict=True
    ):
        for k in range(1, n + 1):
            yield Field(known[name], f"{stem}{k}", {}, k)


def write_form(path: Path | str, lang: str = "zh", rows: int = ROWS) -> None:
    """Write the workbook, in "zh" or "en", with so many rows that are checked as they are filled.

    Raises
    ------
    CaseFileError : the name does not end in .xlsx, XlsxWriter is not installed, or the disk refuses.
    """
    path = Path(path)
    if path.suffix.casefold() != ".xlsx":
        raise CaseFileError("a form is a workbook: name it .xlsx", file=path.name)
    try:
        import xlsxwriter
    except ImportError:
        raise CaseFileError(f"writing Excel needs XlsxWriter: {EXCEL}", file=path.name) from None
    with replacing(path) as file, xlsxwriter.Workbook(file, {"in_memory": True}) as book:
        _write(book, list(fields(lang)), WORDS[lang], rows)


def _write(book: Any, asked: list[Field], w: dict[str, str], rows: int) -> None:
    sheet, about, lists = (book.add_worksheet(w[n]) for n in ("cases", "columns", "lists"))
    looks = {
        "text": book.add_format({"num_format": "@"}),
        "whole": book.add_format({"num_format": "0"}),
        "money": book.add_format({"num_format": "0.00"}),
        "day": book.add_format({"num_format": "yyyy-mm-dd"}),
    }
    looks["codes"] = looks["text"]
    bold = book.add_format({"bold": True, "bg_color": "#E3EAF2", "border": 1})
    needed = book.add_format({"bold": True, "bg_color": "#FFE699", "border": 1})
    ranges = _lists(lists, asked, w, bold)
    for k, f in enumerate(asked):
        sheet.write_string(0, k, f.header, needed if f.is_required else bold)
        sheet.set_column(k, k, max(len(f.header) * 1.6, 11), looks[f.column.kind])
        if check := _check(f, ranges, w):
            sheet.data_validation(1, k, rows, k, check)
    sheet.freeze_panes(1, 1)
    sheet.autofilter(0, 0, rows, len(asked) - 1)
    _about(about, asked, w, bold)


def _lists(sheet: Any, asked: list[Field], w: dict[str, str], bold: Any) -> dict[str, str]:
    """Write the values of the drop-downs, two columns each; return where those of a column stand."""
    found = {}
    for k, f in enumerate(f for f in asked if f.values):
        sheet.write_string(0, 2 * k, f.header, bold)
        sheet.write_string(0, 2 * k + 1, w["meaning"], bold)
        for row, (value, name) in enumerate(f.values.items(), 1):
            sheet.write_string(row, 2 * k, value)
            sheet.write_string(row, 2 * k + 1, name)
        column = letters(2 * k)
        found[f.header] = f"='{w['lists']}'!${column}$2:${column}${len(f.values) + 1}"
    return found


def _check(f: Field, ranges: dict[str, str], w: dict[str, str]) -> dict[str, Any]:
    """Return what Excel checks of a cell as it is filled; {} = nothing."""
    stop = {"error_message": w["wrong"], "input_title": f.header[:32]}
    stop["input_message"] = _meaning(f, w)[:255]
    if f.header in ranges:
        kind = "stop" if f.is_strict else "information"
        return {"validate": "list", "source": ranges[f.header], "error_type": kind, **stop}
    if f.column.kind == "whole":
        most = OLDEST if f.column.name == "age" else 99_999
        return {"validate": "integer", "criteria": "between", "minimum": 0, "maximum": most, **stop}
    if f.column.kind == "money":
        most = 10**9
        return {"validate": "decimal", "criteria": "between", "minimum": 0, "maximum": most, **stop}
    if f.column.kind == "day":
        days = {"minimum": date(1990, 1, 1), "maximum": date(2100, 12, 31)}
        return {"validate": "date", "criteria": "between", **days, **stop}
    return {}


def _meaning(f: Field, w: dict[str, str]) -> str:
    said = [
        f.column.chinese,
        w["principal"] if f.number else f.column.unit.replace("fen", "元, yuan"),
    ]
    said += [f"{v} {n}".strip() for v, n in list(f.values.items())[:6]]
    return "; ".join(x for x in said if x)


def _about(sheet: Any, asked: list[Field], w: dict[str, str], bold: Any) -> None:
    """Explain every column, with an example that is no case of the sheet."""
    sheet.write_string(0, 0, w["head"])
    for k, name in enumerate(("column", "required", "meaning", "example")):
        sheet.write_string(2, k, w[name], bold)
        sheet.set_column(k, k, (22, 8, 60, 20)[k])
    for row, f in enumerate((f for f in asked if f.number < 2), 3):
        sheet.write_string(row, 0, f.header)
        sheet.write_string(row, 1, w["yes"] if f.is_required else "")
        sheet.write_string(row, 2, _meaning(f, w))
        sheet.write_string(row, 3, EXAMPLE.get(f.column.name, ""))
