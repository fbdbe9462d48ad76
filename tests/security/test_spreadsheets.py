"""No text becomes a formula in what people open in a spreadsheet; no text is lost by that."""

from __future__ import annotations

import ast
import csv
import io
import re
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pv
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shared import ROOT

import grouper
from grouper import DipOptions, calibrate, load_scheme
from grouper._audit_book import Column, Live, open_book
from grouper._csv_texts import marked, marked_text, unmarked
from grouper._reconcile_output import _write_workbook
from grouper._scheme_files import csv_of, report_of
from grouper.io import read_cases, write_table
from grouper.testing import make_region

pytestmark = pytest.mark.promise("No text runs as a formula in a spreadsheet")

HOSTILE = [
    *("=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "\n=1"),
    *("＝1+1", "＋1", "－1+1", "＠SUM(A1)", "=cmd|' /C calc'!A0", '=HYPERLINK("x","y")'),
    *("'=1+1", "''@x", "-", "+", "-5%", "-1e5"),
]
HARMLESS = ["", "A01.100", "-5", "+0.25", "'", "'quoted'", "a=b", " =1", "0012", "x\n=1", "三级"]
SIGNS = tuple("=+-@\t\r\n＝＋－＠")


def csv_rows(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as f:
        return list(csv.reader(f))


# --------------------------------------------------------------------------------------------- CSV


def test_a_text_that_would_run_gets_an_apostrophe(tmp_path: Path) -> None:
    table = pa.table({"=note": HOSTILE, "n": range(-3, len(HOSTILE) - 3)})
    write_table(table, tmp_path / "t.csv")
    header, *rows = csv_rows(tmp_path / "t.csv")
    assert header == ["'=note", "n"]
    assert [r[0] for r in rows] == [f"'{t}" for t in HOSTILE]
    assert [int(r[1]) for r in rows] == table["n"].to_pylist()


def test_other_texts_and_all_numbers_stay_as_they_are(tmp_path: Path) -> None:
    count = len(HARMLESS)
    table = pa.table(
        {
            "note": HARMLESS,
            "fen": pa.array([-5] * count, pa.int64()),
            "ratio": pa.array([-0.5] * count, pa.float64()),
        }
    )
    write_table(table, tmp_path / "t.csv")
    assert [r for r in csv_rows(tmp_path / "t.csv")[1:]] == [
        [text, "-5", "-0.5"] for text in HARMLESS
    ]


@pytest.mark.parametrize(
    "kind",
    [
        pa.string(),
        pa.large_string(),
        pa.string_view(),
        pa.dictionary(pa.int32(), pa.string()),
        pa.list_(pa.string()),
        pa.large_list(pa.string()),
        pa.list_(pa.dictionary(pa.int8(), pa.string())),
    ],
    ids=str,
)
def test_every_kind_of_text_column_is_held(kind: pa.DataType, tmp_path: Path) -> None:
    texts = ["=1", "x", "@y"]
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    held = [[t, "z"] for t in texts] if is_list else texts
    plain = pa.array(held, pa.list_(pa.string()) if is_list else pa.string())
    write_table(pa.table({"t": plain.cast(kind)}), tmp_path / "t.csv")
    assert [r[0][:2] for r in csv_rows(tmp_path / "t.csv")[1:]] == [
        "'=",
        "x|" if is_list else "x",
        "'@",
    ]


@given(st.lists(st.text(st.sampled_from("=+-@\t\r\n＝＋－＠'0.5a"), max_size=5), min_size=1))
def test_the_mark_is_taken_away_exactly(texts: list[str]) -> None:
    column = pa.chunked_array([pa.array(texts, pa.string())])
    held = marked(column)
    assert unmarked(held).to_pylist() == texts
    assert held.to_pylist() == [marked_text(t) for t in texts]
    for text in held.to_pylist():
        assert not text.startswith(SIGNS) or re.fullmatch(r"[+-]?[0-9]+(\.[0-9]+)?", text)


def test_parquet_and_arrow_keep_every_text(tmp_path: Path) -> None:
    texts = HOSTILE + HARMLESS
    table = pa.table({"t": texts})
    write_table(table, tmp_path / "t.parquet")
    write_table(table, tmp_path / "t.arrow")
    write_table(table, tmp_path / "t.csv")
    assert pq.read_table(tmp_path / "t.parquet").equals(table)
    assert pa.ipc.open_file(tmp_path / "t.arrow").read_all().equals(table)
    options = pv.ParseOptions(newlines_in_values=True)
    convert = pv.ConvertOptions(strings_can_be_null=False)
    back = pv.read_csv(tmp_path / "t.csv", parse_options=options, convert_options=convert)
    assert unmarked(back["t"]).to_pylist() == texts


def test_reading_does_not_take_the_mark_away(tmp_path: Path) -> None:
    cases = pa.table(
        {
            "case_id": ["=1", "2"],
            "hospital_id": ["@H", "H"],
            "sex": [1, 2],
            "age": [40, 50],
            "diagnoses": [["A"], ["B"]],
            "procedures": [["-1"], ["=x"]],
        }
    )
    write_table(cases, tmp_path / "cases.csv")
    back = read_cases(tmp_path / "cases.csv").table
    assert back["case_id"].to_pylist() == ["'=1", "2"]
    assert unmarked(back["case_id"]).to_pylist() == ["=1", "2"]


def test_tables_of_schemes_are_as_they_are_and_reports_are_marked() -> None:
    rows = [{"code": "A", "principal": "=A01.100"}]
    assert csv_of(rows, ("code", "principal")) == "code,principal\nA,=A01.100\n"
    assert report_of(rows, ("code", "principal")) == "code,principal\nA,'=A01.100\n"


def test_codes_of_cases_that_would_run_enter_no_catalogue(tmp_path: Path) -> None:
    cases = make_region(2000).cases
    diagnoses, procedures = cases["diagnoses"].to_pylist(), cases["procedures"].to_pylist()
    for k in range(400):
        diagnoses[k] = ["=cmd|' /C calc'!A0", *diagnoses[k][1:]]
        procedures[k + 400] = ["@SUM(A1)", "+1"]
    for name, codes in (("diagnoses", diagnoses), ("procedures", procedures)):
        column = pa.array(codes, pa.list_(pa.string()))
        cases = cases.set_column(cases.schema.get_field_index(name), name, column)
    found = calibrate(cases, "dip", options=DipOptions(threshold=1))
    found.write(tmp_path / "catalogue")
    assert load_scheme(tmp_path / "catalogue").id == "catalogue"
    for path in (tmp_path / "catalogue").glob("*.csv"):
        cells = [cell for row in csv_rows(path) for cell in row]
        assert not [c for c in cells if marked_text(c) != c], path.name


# ------------------------------------------------------------------------------------------- Excel


def has_no_formula(path: Path) -> bool:
    with zipfile.ZipFile(path) as book:
        pages = [book.read(n) for n in book.namelist() if n.startswith("xl/worksheets/sheet")]
    assert pages
    return not any(re.search(rb"<f[ >/]", page) for page in pages)


def test_results_in_excel_hold_texts_as_texts(tmp_path: Path) -> None:
    calamine = pytest.importorskip("python_calamine")
    write_table(pa.table({"=t": HOSTILE}), tmp_path / "t.xlsx")
    assert has_no_formula(tmp_path / "t.xlsx")
    sheet = calamine.CalamineWorkbook.from_path(str(tmp_path / "t.xlsx")).get_sheet_by_index(0)
    rows = [r[0] for r in sheet.to_python()]
    assert rows[0] == "=t"
    assert [str(r).strip() for r in rows[1:]] == [t.strip() for t in HOSTILE]


def test_differences_in_excel_hold_texts_as_texts(tmp_path: Path) -> None:
    pytest.importorskip("xlsxwriter")
    _write_workbook(
        {"a": pa.table({"=t": HOSTILE}), "b": pa.table({"u": HOSTILE})}, tmp_path / "d.xlsx"
    )
    assert has_no_formula(tmp_path / "d.xlsx")


def test_workbooks_for_people_run_our_own_formulas_alone(tmp_path: Path) -> None:
    pytest.importorskip("xlsxwriter")
    with open_book(tmp_path / "a.xlsx") as book:
        sheet = book.sheet("s", [Column("=t", "=题"), Column("n", "数", "whole")], "both")
        sheet.heading("=1+1", "@note")
        sheet.note("=2+2")
        for text in HOSTILE:
            sheet.row([text, 1])
    assert has_no_formula(tmp_path / "a.xlsx")
    with open_book(tmp_path / "b.xlsx") as book:
        book.sheet("s", [Column("n", "数", "whole")]).row([Live("1+1", 2)])
    assert not has_no_formula(tmp_path / "b.xlsx")


def test_no_other_place_writes_tables() -> None:
    """A new writer of CSV or Excel has to come here, be held by a test, and be named."""
    found = set()
    for path in sorted((ROOT / "grouper").glob("*.py")):
        text = path.read_text("utf-8")
        if re.search(
            r"xlsxwriter\.Workbook\b|csv\.(Dict)?[Ww]riter\(|\.to_csv\(|\.to_excel\(|write_csv\(",
            text,
        ):
            found.add(path.name)
    places = {"_audit_book.py", "_case_form.py", "_excel.py", "_reconcile_output.py"}
    assert found == {*places, "_scheme_files.py", "_writing.py"}
    formulas = set()
    for path in sorted((ROOT / "grouper").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr in (
                "write",
                "write_formula",
                "write_url",
            ):
                owner = ast.unparse(node.value)
                if node.attr != "write" or "sheet" in owner or owner.endswith("to"):
                    formulas.add(path.name)
    assert formulas == {"_audit_book.py"}


def test_a_grouped_file_is_held_whatever_the_cases_say(tmp_path: Path) -> None:
    cases = [
        {"case_id": "=1", "sex": 1, "age": 40, "diagnoses": ["K22.301"], "procedures": []},
        {"case_id": "@2", "sex": 1, "age": 40, "diagnoses": ["=x"], "procedures": ["+y"]},
    ]
    grouped = grouper.group(cases, "chs-drg-1.1").to_arrow(carry=True)
    write_table(grouped, tmp_path / "g.csv")
    write_table(grouped, tmp_path / "g.xlsx")
    for row in csv_rows(tmp_path / "g.csv"):
        assert not [c for c in row if c.startswith(SIGNS)]
    assert has_no_formula(tmp_path / "g.xlsx")
    assert io.BytesIO((tmp_path / "g.xlsx").read_bytes()).read(2) == b"PK"
