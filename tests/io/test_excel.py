"""Workbooks as others read them: values, codes as text, money to the fen, the frozen header, filters."""

from __future__ import annotations

import io
import re
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import grouper
from grouper import _excel
from grouper._excel import headers_of, letters, write_sheets
from grouper._writing import _flat
from grouper.errors import CaseFileError
from grouper.testing import make_region

calamine = pytest.importorskip("python_calamine")
openpyxl = pytest.importorskip("openpyxl")


def written(**tables: pa.Table) -> io.BytesIO:
    file = io.BytesIO()
    write_sheets(tables, file, "t.xlsx", _flat)
    file.seek(0)
    return file


def cells(table: pa.Table) -> list[list[Any]]:
    """Read a sheet by openpyxl, which spells signs back."""
    sheet = openpyxl.load_workbook(written(s=table))["s"]
    return [[c.value for c in row] for row in sheet.iter_rows(min_row=2)]


TABLE = pa.table(
    {
        "code": pa.array(["001", "1e5", None, "=1+1", " a&b<c>\"'", "A\tB\nC"]),
        "pay_fen": pa.array([1, -1, None, 0, 123_456_789_012, -100], pa.int64()),
        "n": pa.array([1, None, -5, 2**40, 0, 7], pa.int64()),
        "big": pa.array([2**60, None, 1, 1, 1, 1], pa.int64()),
        "ratio": pa.array(
            [Decimal("1.2345"), None, *[Decimal("-0.0001")] * 4], pa.decimal128(19, 4)
        ),
        "share": pa.array([0.1, None, 1e-9, 2.5, -3.25, 1e15]),
        "odd": pa.array([float("nan"), None, float("inf"), 1.5, 0.0, 0.0]),
        "day": pa.array([date(2025, 3, 31), None, date(1900, 3, 1), *[date(2025, 1, 1)] * 3]),
        "old": pa.array([date(1899, 1, 1), None, date(1900, 3, 1), *[date(2025, 1, 1)] * 3]),
        "at": pa.array([datetime(2025, 3, 31, 12, 30), *[None] * 5], pa.timestamp("us")),
        "is": pa.array([True, False, None, True, True, True]),
        "codes": pa.array([["a", "b"], [], None, ["x"], [None, "y"], ["z"]]),
        "kind": pa.array(["p", "q", None, "p", "p", "q"]).dictionary_encode(),
        "nothing": pa.nulls(6, pa.string()),
    }
)


def test_every_kind_of_value_arrives() -> None:
    rows = cells(TABLE)
    columns = dict(zip(headers_of(TABLE.column_names), zip(*rows, strict=True), strict=True))
    assert columns["code"] == ("001", "1e5", None, "=1+1", " a&b<c>\"'", "A\tB\nC")
    assert columns["pay"] == (0.01, -0.01, None, 0, 1_234_567_890.12, -1)
    assert columns["n"] == (1, None, -5, 2**40, 0, 7)
    assert columns["big"] == (str(2**60), None, 1, 1, 1, 1)
    assert columns["ratio"] == (1.2345, None, *[-0.0001] * 4)
    assert columns["share"] == (0.1, None, 1e-9, 2.5, -3.25, 1e15)
    assert columns["odd"] == ("nan", None, "inf", 1.5, 0, 0)
    assert columns["day"][0] == datetime(2025, 3, 31)
    assert columns["day"][2] == datetime(1900, 3, 1)
    assert columns["old"][0] == "1899-01-01"
    assert columns["at"][0] == datetime(2025, 3, 31, 12, 30)
    assert columns["is"] == (True, False, None, True, True, True)
    assert columns["codes"] == ("a|b", "", None, "x", "|y", "z") or columns["codes"][1] is None
    assert columns["kind"] == ("p", "q", None, "p", "p", "q")
    assert set(columns["nothing"]) == {None}


def test_formats_header_and_filters() -> None:
    sheet = openpyxl.load_workbook(written(s=TABLE))["s"]
    assert sheet.freeze_panes == "A2"
    assert sheet.auto_filter.ref == f"A1:{letters(TABLE.num_columns - 1)}7"
    assert sheet["B2"].number_format == "0.00"
    assert sheet["H2"].number_format == "yyyy-mm-dd"
    assert sheet["A2"].data_type == "s"
    assert sheet["A1"].font.bold
    assert sheet.dimensions == f"A1:{letters(TABLE.num_columns - 1)}7"


def test_money_has_a_name_of_its_own() -> None:
    assert headers_of(["pay_fen", "pay", "n_fen"]) == ["pay_yuan", "pay", "n"]
    many = pa.table({f"c{k}": ["x"] for k in range(800)})
    assert cells(many) == [["x"] * 800]
    assert [letters(k) for k in (0, 25, 26, 701, 702)] == ["A", "Z", "AA", "ZZ", "AAA"]


def test_sheets_blank_tables_and_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    book = openpyxl.load_workbook(written(a=TABLE, b=TABLE.slice(0, 0), c=pa.table({})))
    assert book.sheetnames == ["a", "b", "c"]
    assert [r[0].value for r in book["b"].iter_rows()] == ["code"]
    monkeypatch.setattr(_excel, "BATCH", 2)
    chunked = pa.concat_tables([TABLE.slice(0, 1), TABLE.slice(1, 4), TABLE.slice(5)])
    assert cells(chunked) == cells(TABLE)


@given(st.lists(st.one_of(st.none(), st.text(max_size=12)), min_size=1, max_size=6))
def test_any_text_comes_back(texts: list[str | None]) -> None:
    table = pa.table({"t": pa.array(texts, pa.string()), "n": range(len(texts))})
    found = [r[0] for r in cells(table)]
    assert [spelled_back(x or "") for x in found] == [x or "" for x in texts]


def spelled_back(text: str) -> str:
    """Read signs as Excel spells those that XML cannot hold."""
    return re.sub("_x([0-9A-F]{4})_", lambda m: chr(int(m.group(1), 16)), text)


@given(st.lists(st.integers(-(10**14), 10**14), min_size=1, max_size=20))
def test_any_amount_comes_back_to_the_fen(fen: list[int]) -> None:
    file = written(s=pa.table({"pay_fen": pa.array(fen, pa.int64())}))
    rows = calamine.CalamineWorkbook.from_filelike(file).get_sheet_by_index(0).to_python()
    assert [round(r[0] * 100) for r in rows[1:]] == fen


def test_what_does_not_fit_is_refused_with_its_row(monkeypatch: pytest.MonkeyPatch) -> None:
    long = pa.table({"note": ["x", "y" * 32_768]})
    with pytest.raises(CaseFileError, match="row 3, note: too long for Excel"):
        written(s=long)
    monkeypatch.setattr(_excel, "ROWS", 1)
    with pytest.raises(CaseFileError, match=r"2 rows; Excel holds 1: write \.parquet"):
        written(s=long)


@pytest.mark.big
def test_cases_come_back_as_they_were(tmp_path: Path) -> None:
    cases = make_region(5_000).cases
    grouper.write_table(cases, tmp_path / "cases.xlsx")
    back = grouper.read_cases(tmp_path / "cases.xlsx")
    scheme = grouper.load_scheme("chs-drg-1.1")
    ours, theirs = (grouper.group(c, scheme).to_arrow(carry=True) for c in (cases, back))
    names = [n for n in ours.column_names if n in theirs.column_names]
    assert "total_cost_fen" in names
    assert theirs.select(names).to_pylist() == ours.select(names).to_pylist()
