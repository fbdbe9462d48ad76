"""The form that a hospital fills: as it comes, and filled by another program than ours."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest

import grouper
from grouper._case_form import DIAGNOSES, PROCEDURES, fields, write_form
from grouper.errors import CaseFileError
from grouper.testing import make_region

openpyxl = pytest.importorskip("openpyxl")
LANGS = ("zh", "en")


def filled(path: Path, lang: str, cases: list[dict[str, Any]]) -> None:
    """Fill the form by openpyxl, as a person would: a cell for what is known."""
    write_form(path, lang)
    book = openpyxl.load_workbook(path)
    sheet = book.worksheets[0]
    heads = {c.value: c.column for c in sheet[1]}
    for row, case in enumerate(cases, 2):
        for f in fields(lang):
            value = case.get(f.column.name)
            if f.number:
                value = value[f.number - 1] if value and len(value) >= f.number else None
            elif f.column.kind == "money" and value is not None:
                value = value / 100
            if value is not None:
                sheet.cell(row, heads[f.header], value)
    book.save(path)


@pytest.mark.parametrize("lang", LANGS)
def test_what_is_filled_groups_as_it_is(lang: str, tmp_path: Path) -> None:
    cases = make_region(200).cases.to_pylist()
    for c in cases:
        c["diagnoses"] = c["diagnoses"][:DIAGNOSES]
        c["procedures"] = c["procedures"][:PROCEDURES]
    filled(tmp_path / "form.xlsx", lang, cases)
    read = grouper.read_cases(tmp_path / "form.xlsx")
    scheme = grouper.load_scheme("chs-drg-1.1")
    wanted = grouper.group(cases, scheme).to_arrow()
    assert grouper.group(read, scheme).to_arrow().to_pylist() == wanted.to_pylist()
    for name in ("total_cost_fen", "admission_date", "hospital_id", "department", "los"):
        assert read.table[name].to_pylist() == [c[name] for c in cases]
    assert read.ignored == []


@pytest.mark.parametrize("lang", LANGS)
def test_the_form_checks_and_explains(lang: str, tmp_path: Path) -> None:
    write_form(tmp_path / "form.xlsx", lang, rows=50)
    book = openpyxl.load_workbook(tmp_path / "form.xlsx")
    sheet, about, lists = book.worksheets
    heads = [c.value for c in sheet[1]]
    assert heads == [f.header for f in fields(lang)]
    assert sheet.freeze_panes == "B2"
    checks = {str(v.sqref): v for v in sheet.data_validations.dataValidation}
    for k, f in enumerate(fields(lang)):
        letter = sheet.cell(1, k + 1).column_letter
        check = checks.pop(f"{letter}2:{letter}51", None)
        if f.values:
            assert check.type == "list"
            title, _, area = check.formula1.partition("!")
            assert title.strip("'") == lists.title
            first, last = area.replace("$", "").split(":")
            assert [c[0].value for c in lists[first:last]] == list(f.values)
        elif f.column.kind in ("whole", "money", "day"):
            assert check is not None
        if f.column.kind in ("codes", "text"):
            (dimension,) = (d for d in sheet.column_dimensions.values() if d.min <= k + 1 <= d.max)
            assert dimension.number_format == "@", f.header
    assert not checks
    assert {r[0].value for r in about.iter_rows(min_row=4)} == {
        f.header for f in fields(lang) if f.number < 2
    }
    required = {f.column.name for f in fields(lang) if f.is_required}
    assert required == {"case_id", "sex", "age", "diagnoses"}


def test_an_empty_form_has_no_case(tmp_path: Path) -> None:
    write_form(tmp_path / "form.xlsx")
    assert len(grouper.read_cases(tmp_path / "form.xlsx")) == 0


def test_bad_cells_are_rows_and_not_refusals(tmp_path: Path) -> None:
    good = {"case_id": "1", "sex": 1, "age": 50, "diagnoses": ["I21.001"], "procedures": []}
    bad = [{**good, "case_id": "2", "age": "fifty"}, {**good, "case_id": "3", "diagnoses": []}]
    day = {**good, "case_id": "007", "discharge_date": date(2025, 1, 2)}
    filled(tmp_path / "form.xlsx", "zh", [good, *bad, day])
    read = grouper.read_cases(tmp_path / "form.xlsx")
    rows = grouper.group(read, "chs-drg-1.1").to_arrow().to_pylist()
    assert [r["status"] for r in rows] == ["grouped", "rejected", "rejected", "grouped"]
    assert rows[3]["case_id"] == "007"


def test_a_form_is_a_workbook(tmp_path: Path) -> None:
    with pytest.raises(CaseFileError, match=r"name it \.xlsx"):
        write_form(tmp_path / "form.csv")
