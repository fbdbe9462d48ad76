"""Reading cases: every rule of the layout, every kind of column, every refusal."""

from __future__ import annotations

import gzip
import io
import subprocess
import sys
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shared import shared

from grouper import _cases, _cells, _reading
from grouper._columns import COLUMNS
from grouper.errors import CaseFileError, CaseSchemaError
from grouper.io import CaseTable, ColumnMap, content_hash, load_map, read_cases

HEADER = "case_id,sex,age,diagnoses,procedures"
ROW = "1,1,50,A01.100|B02.200,39.5000"


def text_file(folder: Path, text: str | bytes, name: str = "cases.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def read_text(folder: Path, *rows: str, header: str = HEADER, **options: Any) -> CaseTable:
    return read_cases(text_file(folder, "\n".join([header, *rows]) + "\n"), **options)


def small(**columns: Any) -> pa.Table:
    n = len(next(iter(columns.values()))) if columns else 1
    base: dict[str, Any] = {
        "case_id": [str(k) for k in range(n)],
        "sex": [1] * n,
        "age": [50] * n,
        "diagnoses": [["A01.100"]] * n,
        "procedures": [["39.5000"]] * n,
    }
    return pa.table({**base, **columns})


def column(cases: CaseTable, name: str) -> list[Any]:
    return list(cases.table[name].to_pylist())


def one(
    name: str, values: list[Any], kind: pa.DataType | None = None
) -> tuple[list[Any], CaseTable]:
    given_as = name if name != "total_cost" else "total_cost_fen"
    cases = read_cases(small(**{name: pa.array(values, kind)}))
    return column(cases, given_as), cases


# ----------------------------------------------------------------------------------------- layouts


def test_canonical_csv_keeps_codes_as_text(tmp_path: Path) -> None:
    cases = read_text(
        tmp_path,
        "007,1,50,A01.100|B02.200,00.5000,0021,1366.2",
        header=f"{HEADER},hospital_id,total_cost",
    )
    assert cases.table.to_pylist() == [
        {
            "case_id": "007",
            "hospital_id": "0021",
            "sex": 1,
            "age": 50,
            "diagnoses": ["A01.100", "B02.200"],
            "procedures": ["00.5000"],
            "total_cost_fen": 136620,
        }
    ]
    order = {c.name: c.arrow for c in COLUMNS}
    assert [order[f.name] for f in cases.table.schema] == list(cases.table.schema.types)
    assert cases.counts == {}
    assert [(f.name, f.rows) for f in cases.files] == [("cases.csv", 1)]


def test_columns_stand_in_the_order_of_the_schema(tmp_path: Path) -> None:
    cases = read_text(tmp_path, "x,50,,2,9", header="procedures,age,diagnoses,sex,case_id")
    assert cases.table.column_names == HEADER.split(",")


def written(table: pa.Table, ending: str, folder: Path) -> Path:
    path = folder / f"cases{ending}"
    if ending == ".parquet":
        pq.write_table(table, path)
    elif ending in (".arrow", ".feather"):
        make = pa.ipc.new_file if ending == ".arrow" else pa.ipc.new_stream
        with make(str(path), table.schema) as writer:
            writer.write_table(table)
    else:
        rows = [
            f"{r['case_id']},{r['sex']},{r['age']},{'|'.join(r['diagnoses'])},"
            f"{'|'.join(r['procedures'])},{r['total_cost_fen']}"
            for r in table.to_pylist()
        ]
        text = "\n".join([f"{HEADER},total_cost_fen", *rows]).encode()
        path.write_bytes(gzip.compress(text) if ending.endswith(".gz") else text)
    return path


@pytest.mark.parametrize("ending", [".parquet", ".arrow", ".feather", ".csv", ".csv.gz", ".CSV"])
def test_every_kind_of_file_reads_the_same(ending: str, tmp_path: Path) -> None:
    table = small(total_cost_fen=[100, 250], procedures=[[], ["39.5000", "88.7200"]])
    cases = read_cases(written(table, ending, tmp_path))
    assert content_hash(cases.table) == content_hash(read_cases(table).table)
    assert len(cases.files[0].sha256) == 64


@pytest.mark.parametrize("threads", [1, 3, None])
def test_threads_do_not_change_the_answer(threads: int | None, tmp_path: Path) -> None:
    rows = [f"{k},1,{k % 90},A01.100,,{k}.{k % 100:02d}" for k in range(50_000)]
    rows[30_000] = "30000,1,2"
    cases = read_text(tmp_path, *rows, header=f"{HEADER},total_cost", threads=threads)
    assert len(cases) == 50_000
    assert column(cases, "case_id")[29_999:30_002] == ["29999", "30000", "30001"]
    assert cases.faults == ["cases.csv:30002: 3 cells where the header has 6"]


def test_tables_at_hand(tmp_path: Path) -> None:
    table = small(age=[1, 2, 3])
    hashes = {
        content_hash(read_cases(source).table)
        for source in (
            table,
            table.to_batches()[0],
            table.to_reader(max_chunksize=2),
            table.to_pandas(),
            table.to_pandas().set_index("case_id"),
            read_cases(table),
            pyarrow.dataset.dataset(table),
        )
    }
    assert len(hashes) == 1


def test_pandas_of_mixed_objects_becomes_text() -> None:
    frame = small(age=[1, 2, 3]).to_pandas()
    frame["case_id"] = [1, "b", 2.0]
    frame["age"] = pd.Series([50, "12", None], dtype=object)
    cases = read_cases(frame)
    assert column(cases, "case_id") == ["1", "b", "2"]
    assert column(cases, "age") == [50, 12, None]


def test_what_is_no_table() -> None:
    with pytest.raises(TypeError, match="give a path, a table or a data frame"):
        read_cases(42)


def test_right_columns_are_passed_without_a_copy() -> None:
    table = small(sex=pa.array([1, 2], pa.int32()), total_cost_fen=pa.array([1, 2], pa.int64()))
    cases = read_cases(table)
    for name in ("case_id", "sex", "diagnoses", "total_cost_fen"):
        before, after = table[name].chunk(0), cases.table[name].chunk(0)
        last = before.buffers()[-1]
        assert last is not None
        assert last.address == after.buffers()[-1].address


def test_the_case_table_is_an_arrow_stream() -> None:
    cases = read_cases(small(age=[1, 2]))
    assert pa.table(cases).equals(cases.table)
    assert len(cases) == 2


def test_one_name_for_the_fault_column() -> None:
    assert _reading.FAULT == _cases.FAULT
    assert [c.name for c in COLUMNS if c.required] == list(_cases.REQUIRED)


def test_importing_does_not_import_pandas() -> None:
    code = "import sys, grouper.io; sys.exit('pandas' in sys.modules or 'numba' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == 0


# ------------------------------------------------------------------------------------------- files


def test_a_folder_and_a_pattern_are_read_in_sorted_order(tmp_path: Path) -> None:
    for name, case in (("b.csv", "2"), ("a.csv", "1"), ("c.csv", "3")):
        text_file(tmp_path, f"{HEADER},los\n{case},1,50,A01,,4\n", name)
    text_file(tmp_path, "not cases", "README.md")
    text_file(tmp_path, "hidden", ".d.csv")
    assert column(read_cases(tmp_path), "case_id") == ["1", "2", "3"]
    assert column(read_cases(str(tmp_path / "[bc].csv")), "case_id") == ["2", "3"]
    assert [f.name for f in read_cases(tmp_path).files] == ["a.csv", "b.csv", "c.csv"]


def test_files_of_different_columns(tmp_path: Path) -> None:
    text_file(tmp_path, f"{HEADER},los\n{ROW},4\n", "a.csv")
    pq.write_table(
        small(diagnoses=pa.array([["Z"]]).cast(pa.list_(pa.dictionary(pa.int32(), pa.string())))),
        tmp_path / "b.parquet",
    )
    cases = read_cases(tmp_path)
    assert column(cases, "los") == [4, None]
    assert column(cases, "diagnoses") == [["A01.100", "B02.200"], ["Z"]]
    assert cases.counts == {"los: absent from a file": 1}


def test_faults_of_several_files_come_at_once(tmp_path: Path) -> None:
    text_file(tmp_path, "case_id,sex,diagnoses,procedures\n", "a.csv")
    text_file(tmp_path, "case_id,age,diagnoses,procedures\n", "b.csv")
    with pytest.raises(CaseSchemaError) as e:
        read_cases(tmp_path)
    assert any("a.csv: required column 'age'" in f for f in e.value.faults)
    assert any("b.csv: required column 'sex'" in f for f in e.value.faults)


@pytest.mark.parametrize("name", ["casse.csv", "case*.parquet", "sub/cases.csv"])
def test_a_name_that_matches_nothing_tells_the_nearest(name: str, tmp_path: Path) -> None:
    text_file(tmp_path, HEADER)
    with pytest.raises(CaseFileError, match=r"the nearest names there are: cases\.csv"):
        read_cases(tmp_path / name)


def test_a_file_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(_reading, "_read_whole", refuse)
    with pytest.raises(CaseFileError, match=r"cases\.csv: cannot be read: Permission denied"):
        read_text(tmp_path)


def test_refusals_of_files(tmp_path: Path) -> None:
    def refused(data: bytes, name: str, says: str) -> None:
        with pytest.raises(CaseFileError, match=says) as e:
            read_cases(text_file(tmp_path, data, name))
        assert e.value.__cause__ is None
        assert e.value.__suppress_context__ or e.value.__context__ is None

    buffer = io.BytesIO()
    pq.write_table(small(age=list(range(1000))), buffer)
    parquet, zipped = buffer.getvalue(), gzip.compress(f"{HEADER}\n{ROW}\n".encode() * 99)
    arrow = io.BytesIO()
    with pa.ipc.new_file(arrow, small().schema) as writer:
        writer.write_table(small())
    refused(b"", "empty.csv", "empty")
    refused(b"", "empty.parquet", "empty")
    refused(b"\n\r\n \n", "blank.csv", "no text")
    refused(gzip.compress(b""), "empty.csv.gz", "no text")
    refused(zipped[:-9], "cut.csv.gz", "truncated")
    refused(b"case_id", "plain.csv.gz", "no gzip")
    refused(parquet[:-9], "cut.parquet", "truncated")
    refused(parquet[:400] + parquet[500:], "hole.parquet", "truncated")
    refused(arrow.getvalue()[:-40], "cut.arrow", "truncated")
    refused(b"PK\x03\x04....", "book.csv", r"must end in \.xlsx")
    refused(b"case_id", "book.xlsx", "damaged")
    refused(b"x", "cases.txt", "no known kind; a case file ends in .parquet")
    refused(HEADER.encode() + b"\n1,\xff", "bytes.csv", "line 2 is not UTF-8 nor GB18030")
    refused(f"{HEADER}\n{'x' * 3_000_000},1,1,A,\n".encode(), "long.csv", "no whole CSV file")
    (tmp_path / "none").mkdir()
    with pytest.raises(CaseFileError, match="no case files"):
        read_cases(tmp_path / "none")


@pytest.mark.parametrize("text", [HEADER, f"{HEADER}\n", f"{HEADER}\r\n"])
def test_a_header_alone_is_no_case(text: str, tmp_path: Path) -> None:
    cases = read_cases(text_file(tmp_path, text))
    assert len(cases) == 0
    assert cases.table.schema.field("age").type == pa.int32()


def test_zero_rows_of_every_kind() -> None:
    empty = small(**{c.name: pa.array([], pa.string()) for c in COLUMNS}, input_fault=[])
    table = read_cases(empty).table
    assert table.schema.types == [*(c.arrow for c in COLUMNS), pa.string()]


# --------------------------------------------------------------------------------------------- CSV


@pytest.mark.parametrize(
    ("encoding", "counted"),
    [
        ("utf-8", {}),
        ("utf-8-sig", {}),
        ("gb18030", {"files read as GB18030": 1}),
        ("utf-16", {"files read as UTF-16": 1}),
    ],
)
def test_encodings(encoding: str, counted: dict[str, int], tmp_path: Path) -> None:
    text = f"{HEADER},hospital_level,备注\n{ROW},三级,好\n"
    cases = read_cases(text_file(tmp_path, text.encode(encoding)))
    assert column(cases, "hospital_level") == ["三级"]
    assert (cases.counts, cases.ignored) == (counted, ["备注"])


def test_the_map_names_the_encoding(tmp_path: Path) -> None:
    path = text_file(tmp_path, f"{HEADER},department\n{ROW},é\n".encode("cp1252"))
    cases = read_cases(path, columns=ColumnMap(encoding="cp1252"))
    assert column(cases, "department") == ["é"]
    with pytest.raises(CaseFileError, match="unknown"):
        read_cases(path, columns=ColumnMap(encoding="klingon"))
    with pytest.raises(CaseFileError, match="line 2 is not ascii"):
        read_cases(path, columns=ColumnMap(encoding="ascii"))


def test_tabs_delimit_when_there_are_no_commas(tmp_path: Path) -> None:
    text = f"{HEADER}\n{ROW}\n".replace(",", "\t")
    assert column(read_cases(text_file(tmp_path, text)), "procedures") == [["39.5000"]]


@pytest.mark.parametrize("quoted", [False, True])
def test_rows_of_a_wrong_width_are_kept_as_faults(quoted: bool, tmp_path: Path) -> None:
    note = '"two\nlines"' if quoted else "x"
    lines = ["", f"{HEADER},note", f"{ROW},{note}", "", "2,1,50", f"3,2,60,Z,,{note}", "4,,,,,,"]
    cases = read_cases(text_file(tmp_path, "\n".join(lines)))
    assert column(cases, "case_id") == ["1", "2", "3", "4"]
    assert column(cases, "age") == [50, None, 60, None]
    assert column(cases, "input_fault") == [
        None,
        "3 cells where the header has 6",
        None,
        "7 cells where the header has 6",
    ]
    at = (6, 9) if quoted else (5, 7)
    assert [f.split(":")[1] for f in cases.faults] == [str(k) for k in at]
    assert cases.counts["rows of a wrong width"] == 2


def test_a_cell_of_a_row_of_a_wrong_width_is_not_guessed(tmp_path: Path) -> None:
    cases = read_text(tmp_path, "50,7", header="age,case_id,sex,diagnoses,procedures")
    assert (column(cases, "case_id"), column(cases, "age")) == ([None], [50])


def test_a_quotation_mark_that_does_not_close(tmp_path: Path) -> None:
    for bad in ('2,"1,50,A,B', '2,1,50,A,"B', '2,1,50,"A,B\n3,"1",50,A,B'):
        with pytest.raises(CaseFileError, match=r"the row that begins in line 3 .* does not close"):
            read_text(tmp_path, ROW, bad, ROW)


def test_quotation_marks_in_a_cell_are_fine(tmp_path: Path) -> None:
    rows = ['1,1,50,A,"39.5",a 5" cut', '"2",1,50,"A|B",,"he said ""no"""', '3,1,50,A,,"""a"""']
    cases = read_text(tmp_path, *rows, header=f"{HEADER},department")
    assert column(cases, "department") == ['a 5" cut', 'he said "no"', '"a"']


@settings(deadline=None)
@given(st.lists(st.text(st.sampled_from('ab",\n |'), max_size=5), min_size=1, max_size=6))
def test_quoting_is_read_back(texts: list[str]) -> None:
    import csv

    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([[t, "x"] for t in texts])
    body = f"a,b\n{out.getvalue()}".encode()
    assert _reading._quotes_pair(body, ",", 1)
    _, load, _ = _reading._open_csv(body, "x.csv", _reading.Options())
    assert load([0]).columns[0].to_pylist() == [t or None for t in texts]


def test_quotation_marks_across_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    body = b'"a","b"\n"c""c","d"\n' * 20
    for block in range(1, 12):
        monkeypatch.setattr(_reading, "_BLOCK", block)
        assert _reading._quotes_pair(body, ",", 1)
        assert not _reading._quotes_pair(body + b'"a","b\nc",d"\n', ",", 1)


# ------------------------------------------------------------------------------------------- Excel


def excel(folder: Path, rows: list[list[Any]], sheet: str = "Sheet1") -> Path:
    xlsxwriter = pytest.importorskip("xlsxwriter")
    path = folder / "cases.xlsx"
    with xlsxwriter.Workbook(str(path)) as book:
        day = book.add_format({"num_format": "yyyy-mm-dd"})
        book.add_worksheet("first").write_row(0, 0, ["nothing"])
        at = book.add_worksheet(sheet)
        for r, row in enumerate(rows):
            for k, value in enumerate(row):
                at.write(r, k, value, day if isinstance(value, date) else None)
    return path


def test_excel(tmp_path: Path) -> None:
    pytest.importorskip("python_calamine")
    rows: list[list[Any]] = [
        [*HEADER.split(","), "discharge_date", "total_cost", "med_type"],
        [12.0, "男", 50, "A01.100|B02", "0012", date(2025, 1, 31), 1366.27, True],
        [],
        ["x", 2, "５０", "A01", None, "2025/2/1", "1,000.5"],
    ]
    path = excel(tmp_path, rows)
    cases = read_cases(path, columns=ColumnMap(sheet="Sheet1"))
    assert column(cases, "case_id") == ["12", "x"]
    assert column(cases, "procedures") == [["0012"], []]
    assert column(cases, "med_type") == ["true", None]
    assert column(cases, "sex") == [1, 2]
    assert column(cases, "age") == [50, 50]
    assert column(cases, "discharge_date") == [date(2025, 1, 31), date(2025, 2, 1)]
    assert column(cases, "total_cost_fen") == [136627, 100050]
    assert cases.counts["blank rows left out"] == 1
    with pytest.raises(CaseFileError, match="no sheet 'x'; it has: first, Sheet1"):
        read_cases(path, columns=ColumnMap(sheet="x"))
    with pytest.raises(CaseSchemaError, match="the headers are: nothing"):
        read_cases(path)


def test_an_empty_sheet_of_excel(tmp_path: Path) -> None:
    pytest.importorskip("python_calamine")
    with pytest.raises(CaseFileError, match="the sheet is empty; name another"):
        read_cases(excel(tmp_path, []), columns=ColumnMap(sheet="Sheet1"))


def test_excel_without_its_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "python_calamine", None)
    with pytest.raises(CaseFileError, match=r'pip install "drgdip-grouper\[excel\]"'):
        read_cases(text_file(tmp_path, "x", "cases.xlsx"))


# ------------------------------------------------------------------------------------------- money


@pytest.mark.parametrize(
    ("text", "fen"),
    [
        ("1366.27", 136627),
        ("0", 0),
        ("-0.5", -50),
        ("+12", 1200),
        (".5", 50),
        ("5.", 500),
        ("1,234,567.8", 123456780),
        ("１２.３４", 1234),
        ("１，２３４", 123400),
        (" 7 ", 700),
        ("0.1000009", 10),
        ("12.340000000000001", 1234),
        ("12.3400010", 1234),
        ("1e-9", 0),
        ("99999999999.99", 10**13 - 1),
        ("", None),
        ("  ", None),
        ("00012.30", 1230),
    ],
)
def test_amounts_in_text(text: str, fen: int | None) -> None:
    got, cases = one("total_cost", [text, "1"])
    assert got == [fen, 100]
    assert "input_fault" not in cases.table.column_names


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("12.345.6", "no amount"),
        ("abc", "no amount"),
        ("1.2E+05", "no amount"),
        ("12,34", "no amount"),
        ("1e3", "no amount"),
        ("nan", "no amount"),
        ("0x10", "no amount"),
        ("--1", "no amount"),
        ("12.345", "not a whole number of fen"),
        ("12.3400011", "not a whole number of fen"),
        ("12.34000100001", "not a whole number of fen"),
        ("1" * 40, "10^13 fen or more"),
        ("100000000000", "10^13 fen or more"),
        ("-100000000000.00", "10^13 fen or more"),
        ("9" * 100, "no amount"),
    ],
)
def test_amounts_that_reject_their_row(text: str, says: str) -> None:
    got, cases = one("total_cost", ["1", text, None])
    shown = text if len(text) <= 40 else text[:39] + "…"
    assert got == [100, None, None]
    assert column(cases, "input_fault") == [None, f"total_cost: {shown!r} is {says}", None]
    assert cases.counts == {f"total_cost_fen: {says}": 1, "total_cost_fen: blank": 1}


def test_normalised_amounts_are_counted() -> None:
    _, cases = one("total_cost", ["1,000", "１", " 2", "", "0.1000009", "3", "2,000.5", "bad"])
    assert cases.counts == {
        "total_cost_fen: thousands separators": 2,
        "total_cost_fen: full-width characters": 1,
        "total_cost_fen: blanks trimmed": 1,
        "total_cost_fen: blank": 1,
        "total_cost_fen: rounded to the fen": 1,
        "total_cost_fen: no amount": 1,
    }


near_a_fen = st.builds(
    lambda fen, slip: Decimal(fen) / 100 + Decimal(slip) / 10**9,
    st.integers(-(10**13) - 1, 10**13 + 1),
    st.integers(-1100, 1100),
)
anywhere = st.decimals(-(10**12), 10**12, allow_nan=False, allow_infinity=False, places=9)
decimals = near_a_fen | anywhere


@settings(deadline=None)
@given(st.lists(decimals, min_size=1, max_size=8), st.booleans())
def test_text_money_agrees_with_decimal(amounts: list[Decimal], short: bool) -> None:
    texts = [f"{a:f}".rstrip("0").rstrip(".") if short and a else f"{a:.9f}" for a in amounts]
    got, cases = one("total_cost", texts)
    faults = cases.table.to_pydict().get("input_fault", [None] * len(amounts))
    for text, fen, fault in zip(texts, got, faults, strict=True):
        exact = Decimal(text) * 100
        nearest = exact.to_integral_value()
        fine = abs(exact) < 10**13 and abs(exact - nearest) <= Decimal("0.0001")
        assert (fen, fault is None) == ((int(nearest), True) if fine else (None, False))


@settings(deadline=None)
@given(st.lists(st.integers(-(10**13) + 1, 10**13 - 1), min_size=1, max_size=8))
def test_every_type_of_money_gives_the_same_fen(fen: list[int]) -> None:
    exact = [Decimal(f) / 100 for f in fen]
    for values, kind in (
        ([f"{x:.2f}" for x in exact], pa.string()),
        ([f"{x:.2f}" for x in exact], pa.large_string()),
        (exact, pa.decimal128(20, 2)),
        (exact, pa.decimal256(40, 12)),
        ([float(x) for x in exact], pa.float64()),
    ):
        got, cases = one("total_cost", values, kind)
        assert got == fen
        assert "total_cost_fen: rounded to the fen" not in cases.counts
    for values_fen, kind in ((fen, pa.int64()), ([str(f) for f in fen], pa.string())):
        assert one("total_cost_fen", values_fen, kind)[0] == fen


def test_money_in_numbers() -> None:
    assert one("total_cost", [12, -3, None], pa.int32())[0] == [1200, -300, None]
    assert one("total_cost", [12.34, 12.3400005, float("nan"), None])[0] == [1234, 1234, None, None]
    assert one("total_cost_fen", [12.0, 12.00005])[0] == [12, 12]
    assert one("total_cost_fen", ["12", "12.0", "7.5"])[0] == [12, 12, None]
    assert one("total_cost", [0.25, 1366.27], pa.float32())[0] == [25, 136627]
    for name, bad, kind, says in (
        ("total_cost", 12.345, pa.float64(), "'12.345' is not a whole number of fen"),
        ("total_cost", float("inf"), pa.float64(), "'inf' is 10^13 fen or more"),
        ("total_cost", 10**11, pa.int64(), "'100000000000' is 10^13 fen or more"),
        ("total_cost_fen", 10**13, pa.int64(), "'10000000000000' is 10^13 fen or more"),
        ("total_cost_fen", -(2**63), pa.int64(), "'-9223372036854775808' is 10^13 fen or more"),
        ("total_cost_fen", 2**64 - 1, pa.uint64(), "'18446744073709551615' is 10^13 fen or more"),
        ("total_cost", 300000.25, pa.float32(), "'300000.25' is too large for a float32"),
        ("total_cost", Decimal("0.001"), pa.decimal128(9, 3), "'0.001' is not a whole number"),
    ):
        got, cases = one(name, [bad], kind)
        assert got == [None]
        assert column(cases, "input_fault")[0].startswith(f"{name}: {says}")


def test_faults_of_several_columns_stand_together() -> None:
    table = small(drug=["x", "1"], total_cost=["y", "1"], input_fault=["before", None])
    got = column(read_cases(table), "input_fault")
    assert got == ["before; total_cost: 'y' is no amount; drug: 'x' is no amount", None]


# --------------------------------------------------------------------- numbers, days, flags, codes


@pytest.mark.parametrize(
    ("text", "value", "note"),
    [
        ("12", 12, ""),
        ("012", 12, ""),
        ("12.0", 12, "decimal points"),
        ("１２", 12, "full-width characters"),
        (" 12", 12, "blanks trimmed"),
        ("-3", -3, ""),
        ("+3", 3, ""),
        ("", None, "blank"),
        ("3.5", None, "not a whole number"),
        ("abc", None, "not a whole number"),
        ("0x10", None, "not a whole number"),
        ("1e2", None, "not a whole number"),
        ("99999999999", None, "out of range"),
        ("1,500", 1500, "thousands separators"),
    ],
)
def test_whole_numbers_in_text(text: str, value: int | None, note: str) -> None:
    got, cases = one("age", [text, "7"])
    assert got == [value, 7]
    assert cases.counts == ({f"age: {note}": 1} if note else {})


@settings(deadline=None)
@given(st.lists(st.integers(-(2**33), 2**33) | st.none(), min_size=1))
def test_whole_numbers_of_every_type(values: list[int | None]) -> None:
    wanted = [v if v is not None and -(2**31) <= v < 2**31 else None for v in values]
    texts = [None if v is None else str(v) for v in values]
    floats = [None if v is None else float(v) for v in values]
    for given_as in (pa.array(values, pa.int64()), pa.array(texts), pa.array(floats)):
        assert column(read_cases(small(age=given_as)), "age") == wanted


def test_whole_numbers_in_numbers() -> None:
    assert one("age", [1.0, 2.5, float("nan"), 1e300])[0] == [1, None, None, None]
    assert one("age", [1, 200], pa.uint8())[0] == [1, 200]
    assert one("age", [2**64 - 1, 3], pa.uint64())[0] == [None, 3]
    assert one("age", [Decimal("1.0")], pa.decimal128(5, 1))[0] == [1]
    assert one("age", ["5", "6", "5"], pa.dictionary(pa.int8(), pa.string()))[0] == [5, 6, 5]


def test_sex_in_words() -> None:
    got, cases = one("sex", ["1", "2", "0", "9", "男", "女", "x", ""])
    assert got == [1, 2, 0, 9, 1, 2, None, None]
    assert cases.counts == {
        "sex: words read as numbers": 2,
        "sex: not a whole number": 1,
        "sex: blank": 1,
    }


@pytest.mark.parametrize(
    "text",
    [
        "2025-01-31",
        "20250131",
        "2025/1/31",
        "2025-01-31 10:00:00",
        "2025-1-31",
        "2025.01.31",
        "2025-01-31T10:00:00",
        "2025-01-31T10:00:00.123Z",
        "2025/01/31 9:05",
        "20250131101500",
        "2025年1月31日",
        "２０２５-01-31",
        " 2025-01-31 ",
        "2025-01-31 10:00:00.123456789",
    ],
)
def test_dates_in_text(text: str) -> None:
    got, cases = one("discharge_date", [text, "2025-02-01", None])
    assert got == [date(2025, 1, 31), date(2025, 2, 1), None]
    assert "discharge_date: not a date" not in cases.counts


@pytest.mark.parametrize(
    "text", ["2025-02-30", "31/01/2025", "2025013", "soon", "2025-13-01", "45688"]
)
def test_what_is_no_date_is_null_and_counted(text: str) -> None:
    got, cases = one("discharge_date", [text, "2025/2/1"])
    assert got == [None, date(2025, 2, 1)]
    assert cases.counts == {
        "discharge_date: not a date": 1,
        "discharge_date: other layouts of a date": 1,
    }


@settings(deadline=None)
@given(
    st.lists(st.dates(date(1000, 1, 1)), min_size=1),
    st.sampled_from(["%Y-%m-%d", "%Y%m%d", "%Y/%m/%d"]),
)
def test_every_date_is_read_back(days: list[date], layout: str) -> None:
    assert one("discharge_date", [d.strftime(layout) for d in days])[0] == days


def test_dates_of_every_type() -> None:
    late = datetime(2025, 1, 31, 23, 30)
    for values, kind in (
        ([date(2025, 1, 31)], pa.date32()),
        ([date(2025, 1, 31)], pa.date64()),
        ([late], pa.timestamp("ns")),
        ([20250131], pa.int64()),
        ([20250131.0], pa.float64()),
    ):
        assert one("discharge_date", values, kind)[0] == [date(2025, 1, 31)]
    shanghai = pa.array([late]).cast(pa.timestamp("us")).cast(pa.timestamp("us", "UTC"))
    there = shanghai.cast(pa.timestamp("us", "Asia/Shanghai"))
    assert column(read_cases(small(discharge_date=there)), "discharge_date") == [date(2025, 2, 1)]


def test_flags() -> None:
    texts = ["0", "1", "true", "False", "是", "否", "", "maybe", " 1", None]
    cells = _cells.read_column("flag", pa.chunked_array([texts]), "x")
    assert cells.column.to_pylist() == [
        *(False, True, True, False, True, False),
        *(None, None, True, None),
    ]
    assert +cells.counts == {"blank": 2, "not a flag": 1, "blanks trimmed": 1}
    assert _cells.read_column("flag", pa.chunked_array([[1, 0]]), "x").column.to_pylist() == [
        True,
        False,
    ]
    given_as = pa.chunked_array([[True, None]])
    assert _cells.read_column("flag", given_as, "x").column is given_as


def test_code_lists_of_every_type() -> None:
    wanted = [["A01", "B02"], [], ["A01"]]
    coded = pa.list_(pa.dictionary(pa.int32(), pa.string()))
    for values in (
        pa.array(wanted),
        pa.array(wanted, pa.large_list(pa.large_string())),
        pa.array(wanted).cast(coded),
        pa.array(wanted).cast(pa.list_(pa.string_view())),
        pa.array(["A01|B02", "", "A01"]),
        pa.array(["A01|B02", None, "A01"], pa.large_string()),
        pa.array(["A01|B02", " ", "A01"]).dictionary_encode(),
    ):
        assert column(read_cases(small(procedures=values)), "procedures") == wanted
    taken = read_cases(small(diagnoses=pa.array(wanted).cast(coded))).table
    assert taken.schema.field("diagnoses").type == coded
    assert column(read_cases(small(procedures=pa.nulls(2))), "procedures") == [[], []]


def test_codes_are_not_normalised() -> None:
    assert one("diagnoses", ["a01.1| B02|"])[0] == [["a01.1", " B02", ""]]


def test_text_of_every_type() -> None:
    for values, wanted in (
        ([1, None], ["1", None]),
        ([1.0, 2.5], ["1", "2.5"]),
        ([" x　", ""], ["x", None]),
        (["　", "三级"], [None, "三级"]),
        ([True, False], ["true", "false"]),
        ([date(2025, 1, 2), None], ["2025-01-02", None]),
    ):
        assert one("hospital_id", values)[0] == wanted
    assert one("hospital_id", ["x", "y", "x"], pa.dictionary(pa.int8(), pa.string()))[0] == [
        "x",
        "y",
        "x",
    ]
    sliced = pa.array(["", " a", "b", "c "]).slice(2)
    assert column(read_cases(small(hospital_id=sliced)), "hospital_id") == ["b", "c"]


@pytest.mark.parametrize(
    ("name", "values", "says"),
    [
        ("age", [["x"]], "column 'age' is list<.*>, not whole numbers"),
        ("sex", [True], "column 'sex' is bool, not whole numbers"),
        ("discharge_date", [True], "column 'discharge_date' is bool, not dates"),
        ("diagnoses", [1], "column 'diagnoses' is int64, not lists of codes or text"),
        ("diagnoses", [[1]], "column 'diagnoses' is list<.*>, not lists of codes or text"),
        ("total_cost", [date(2025, 1, 1)], "column 'total_cost' is date32.*, not amounts"),
        ("hospital_id", [{"a": 1}], "column 'hospital_id' is struct<.*>, not text"),
        ("hospital_id", [b"\xff"], "column 'hospital_id' is binary, not text"),
    ],
)
def test_a_column_of_another_kind(name: str, values: list[Any], says: str) -> None:
    with pytest.raises(CaseSchemaError, match=says):
        read_cases(small(**{name: values}))


@pytest.mark.parametrize("large", [False, True])
def test_bytes_that_are_no_text(large: bool) -> None:
    offsets = pa.array([0, 2], pa.int64() if large else pa.int32()).buffers()[1]
    kind = pa.large_string() if large else pa.string()
    bad = pa.Array.from_buffers(kind, 1, [None, offsets, pa.py_buffer(b"\xff ")])
    make = pa.LargeListArray if large else pa.ListArray
    table = small(hospital_id=bad, diagnoses=make.from_arrays([0, 1], bad), los=bad, drug=bad)
    with pytest.raises(CaseSchemaError) as e:
        read_cases(table)
    assert e.value.faults == [
        f"column {name!r} holds bytes that are not UTF-8"
        for name in ("hospital_id", "los", "diagnoses", "drug")
    ]


# ------------------------------------------------------------------------ headers, maps, privacy


def test_every_missing_column_is_named_with_the_nearest_header(tmp_path: Path) -> None:
    with pytest.raises(CaseSchemaError) as e:
        read_text(tmp_path, header="Case_ID,gend,年龄,diagnosis,x,姓名")
    faults = e.value.faults
    assert faults[0].startswith(
        "required column 'case_id' is missing; the nearest header is 'Case_ID'"
    )
    assert 'map sex = "gend"' in faults[1]
    assert 'map age = "年龄"' in faults[2]
    assert 'map diagnoses = "diagnosis"' in faults[3]
    assert faults[4] == "required column 'procedures' is missing; no header is near it"
    assert faults[5] == "the headers are: Case_ID, gend, 年龄, diagnosis, x"


def test_extra_columns_are_ignored_and_listed(tmp_path: Path) -> None:
    cases = read_text(tmp_path, f"{ROW},1,2,3", header=f"{HEADER},colour,, weight ")
    assert cases.ignored == ["colour", "column 7, without a header", "weight"]


def test_a_column_given_twice() -> None:
    with pytest.raises(CaseSchemaError, match="two columns give total_cost_fen"):
        read_cases(small(total_cost_fen=[1], total_cost=[1]))
    arrays = [*small().columns, pa.array([1])]
    with pytest.raises(CaseSchemaError, match="the header 'age' stands twice"):
        read_cases(pa.table(arrays, names=[*small().column_names, "age"]))


PERSONAL = ["姓名", "患者姓名", "psn_name", "name", "Patient Name", "certno", "psn_cert_no"]
PERSONAL += ["身份证号", "ID_card", "SFZH", "地址", "curr_addr", "tel", "coner_tel", "联系电话"]
PERSONAL += ["phone1", "手机号"]
NOT_PERSONAL = ["hospital_name", "group_name", "dept_name", "telemetry", "psn_no"]


@pytest.mark.parametrize("header", PERSONAL)
def test_what_looks_personal_is_dropped_and_named(header: str, tmp_path: Path) -> None:
    cases = read_text(tmp_path, f"{ROW},secret", header=f"{HEADER},{header}")
    assert (cases.dropped, cases.ignored) == ([header], [])
    assert "secret" not in str(cases.table.to_pydict())
    with pytest.raises(CaseSchemaError, match="looks personal"):
        read_text(
            tmp_path,
            f"{ROW},secret",
            header=f"{HEADER},{header}",
            columns=ColumnMap({"patient_id": header}),
        )


@pytest.mark.parametrize("header", NOT_PERSONAL)
def test_what_does_not_look_personal(header: str) -> None:
    assert read_cases(small(**{header: ["x"]})).ignored == [header]


def test_names_of_the_schema_are_never_personal() -> None:
    assert read_cases(small(**{c.name: pa.nulls(1) for c in COLUMNS})).dropped == []


MAP = """
separator = ";"
encoding = "gb18030"
[columns]
case_id = "编号"
sex = "性别"
age = "年龄"
diagnoses = "诊断"
total_cost = "费用"
[stand_in]
hospital_id = "H1"
procedures = []
discharge_date = 2025-01-31
los = 3
[values.sex]
"M" = 1
"F" = 2
[values.total_cost_fen]
"-" = ""
"""


def test_a_map_names_columns_constants_and_values(tmp_path: Path) -> None:
    where = text_file(tmp_path, MAP, "map.toml")
    text = "编号,性别,年龄,诊断,费用,los\n1,M,50,A01;B02,12.5,\n2,F,60,A01,-,7\n"
    cases = read_cases(text_file(tmp_path, text.encode("gb18030")), columns=where)
    assert cases.table.to_pylist()[0] == {
        "case_id": "1",
        "hospital_id": "H1",
        "sex": 1,
        "age": 50,
        "discharge_date": date(2025, 1, 31),
        "los": None,
        "diagnoses": ["A01", "B02"],
        "procedures": [],
        "total_cost_fen": 1250,
    }
    assert column(cases, "total_cost_fen") == [1250, None]
    assert cases.counts == {
        "files read as GB18030": 1,
        "hospital_id: stand-in": 2,
        "procedures: stand-in": 2,
        "discharge_date: stand-in": 2,
        "los: blank": 1,
        "sex: values mapped": 2,
        "total_cost_fen: blank": 1,
        "total_cost_fen: values mapped": 1,
    }


def test_a_mapped_header_loses_its_own_name() -> None:
    table = small(nl=[3], age=[11]).append_column("los", pa.array([5]))
    cases = read_cases(table, columns=ColumnMap({"age": "nl", "age_days": "age"}))
    assert (column(cases, "age"), column(cases, "age_days")) == ([3], [11])
    cases = read_cases(table, columns=ColumnMap({"los": "nl"}))
    assert (column(cases, "los"), cases.ignored) == ([3], ["los"])


def test_two_columns_from_one_header() -> None:
    table = small(day=["2025-01-31"])
    wanted = ColumnMap({"discharge_date": "day", "settlement_date": "day"})
    assert column(read_cases(table, columns=wanted), "settlement_date") == [date(2025, 1, 31)]


def test_faults_of_a_map_come_at_once(tmp_path: Path) -> None:
    wrong = ColumnMap(
        columns={"sexx": "sex", "age": "agee", "fen": "x"},
        stand_in={"hospital": "H1", "case_id": "1", "los": "many"},
        values={"procedure": {}, "diagnoses": {"a": "b"}},
    )
    with pytest.raises(CaseSchemaError) as e:
        read_text(tmp_path, header="case_id,sex,diagnoses,age_", columns=wrong)
    said = "\n".join(e.value.faults)
    for part in (
        "[columns] sexx: no column of that name; the nearest is 'sex'",
        "[columns] age = \"agee\": no such header; the nearest is 'age_'",
        "[columns] fen: no column of that name",
        "[stand_in] hospital: no column of that name; the nearest is 'hospital_id'",
        "[values] procedure: no column of that name; the nearest is 'procedures'",
        "[values] diagnoses: the values of code lists are not mapped",
        "required column 'age' is missing",
        "required column 'procedures' is missing",
    ):
        assert part in said


def test_constants_that_cannot_stand_in() -> None:
    with pytest.raises(CaseSchemaError, match="it must differ in every row"):
        read_cases(small().drop_columns(["case_id"]), columns=ColumnMap(stand_in={"case_id": "1"}))
    with pytest.raises(CaseSchemaError, match="los = 'many' is not whole numbers"):
        read_cases(small(), columns=ColumnMap(stand_in={"los": "many"}))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('colums = "x"', "unknown key 'colums'"),
        ("separator = 1", "separator must be a text"),
        ('separator = ""', "separator must be a text"),
        ('columns = "x"', "columns must be a section"),
        ("[columns]\nage = 1", r"\[columns\] age must be a header"),
        ("[stand_in.age]\nx = 1", r"\[stand_in\] age must be one value"),
        ("[values]\nsex = 1", "values.sex must be a section"),
    ],
)
def test_maps_of_another_shape(text: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(CaseSchemaError, match=says):
        load_map(text_file(tmp_path, text, "map.toml"))


def test_maps_that_are_no_files(tmp_path: Path) -> None:
    with pytest.raises(CaseFileError, match="cannot be read"):
        load_map(tmp_path / "none.toml")
    with pytest.raises(CaseFileError, match="no TOML"):
        load_map(text_file(tmp_path, "[columns", "map.toml"))


# --------------------------------------------------------------------------------------- real data


def test_real_cases_of_one_hospital() -> None:
    cases = read_cases(shared("cases/chile_2023_recoded.csv.gz"))
    assert len(cases) == 3505
    assert cases.counts == {"procedures: blank": 5}
    assert cases.ignored == ["irgrd", "severity", "weight"]
    codes = sum(len(c) for c in column(cases, "diagnoses"))
    assert 5 < codes / len(cases) < 6


def test_real_cases_with_cost() -> None:
    cases = read_cases(shared("cases/brazil_rs_2019.csv.gz"))
    frame = pd.read_csv(shared("cases/brazil_rs_2019.csv.gz"), dtype=str)
    exact = [int(Decimal(x) * 100) for x in frame["total_cost"]]
    assert np.array_equal(column(cases, "total_cost_fen"), exact)
    assert column(cases, "procedures")[0] == ["0303170131"]


def test_the_fault_rejects_the_row_and_not_the_file(tmp_path: Path) -> None:
    from grouper._grouping import group

    rows = ["1,1,50,A15.000,,12", "2,1,50,A15.000,,x", "3,1,50"]
    cases = read_text(tmp_path, *rows, header=f"{HEADER},total_cost")
    grouped = group(cases, "chs-drg-1.1")
    assert grouped.to_arrow()["reason"].to_pylist()[1:] == ["input_unreadable"] * 2
    assert grouped.counts()["rejected"] == 2
