"""What fuzzing has found: each input, as small as it got, is refused as such a file should be."""

from __future__ import annotations

import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fuzzing import case_table, home, money_cases, rezipped, scheme, workbook

import grouper
from grouper import (
    CaseFileError,
    CaseSchemaError,
    SettlementError,
    TableError,
    group,
    load_map,
    load_policy,
    read_cases,
    read_run,
    settle,
)
from grouper._workbook import read_workbook

pytestmark = pytest.mark.promise("What fuzzing found stays cured")

CASE: dict[str, Any] = {"case_id": "1", "sex": 1, "age": 40, "diagnoses": ["dx"], "procedures": []}


# -------------------------------------------------------------------------------------------- Excel


def book_with(folder: Path, member: str, old: str, new: str) -> Path:
    """Write the workbook of the fuzzer with one text of one part changed."""
    pytest.importorskip("python_calamine")
    pytest.importorskip("xlsxwriter")
    with zipfile.ZipFile(io.BytesIO(workbook())) as book:
        data, n = re.subn(old.encode(), new.encode(), book.read(member), count=1)
    assert n == 1
    path = folder / "cases.xlsx"
    path.write_bytes(rezipped(workbook(), member, data))
    return path


@pytest.mark.parametrize(
    "place",
    ["XFD1048576", "A4294967290", "AAAAAAAA3", "E" + "1" * 40, "xfd1048576", "BM2000000"],
)
def test_a_cell_far_outside_is_refused_before_its_blanks_fill_the_memory(
    place: str, tmp_path: Path
) -> None:
    path = book_with(tmp_path, "xl/worksheets/sheet1.xml", 'r="F3"', f'r="{place}"')
    for read in (read_cases, read_workbook):
        with pytest.raises(CaseFileError, match=r"sheet1 reaches to row .* outside the table"):
            read(path)


def test_a_wide_and_a_long_sheet_are_read(tmp_path: Path) -> None:
    path = book_with(tmp_path, "xl/worksheets/sheet1.xml", 'r="J1"', 'r="XFD1"')
    assert len(read_cases(path)) == 5


@pytest.mark.parametrize("count", [10**9, 2**40, 2**63])
def test_a_count_of_texts_that_is_too_large_is_refused(count: int, tmp_path: Path) -> None:
    path = book_with(
        tmp_path, "xl/sharedStrings.xml", r'uniqueCount="\d+"', f'uniqueCount="{count}"'
    )
    for read in (read_cases, read_workbook):
        with pytest.raises(CaseFileError, match=r"damaged: xl/sharedStrings\.xml says it holds"):
            read(path)


@pytest.mark.parametrize("packed", [12, 14])
def test_a_part_packed_in_another_way_than_it_says_is_damaged(packed: int, tmp_path: Path) -> None:
    data = book_with(tmp_path, "xl/sharedStrings.xml", "count=", "count=").read_bytes()
    at = data.rindex(b"xl/worksheets/sheet1.xml") - 46 + 10  # its entry of the directory
    with zipfile.ZipFile(io.BytesIO(data)) as book:
        local = book.getinfo("xl/worksheets/sheet1.xml").header_offset + 8
    bent = bytearray(data)
    bent[at] = bent[local] = packed
    (tmp_path / "cases.xlsx").write_bytes(bent)
    with pytest.raises(CaseFileError, match="truncated or damaged"):
        read_cases(tmp_path / "cases.xlsx")


def test_a_part_whose_name_is_no_utf8_is_damaged(tmp_path: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as book:
        book.writestr("xl/例.xml", "")
    path = tmp_path / "cases.xlsx"
    path.write_bytes(out.getvalue().replace("例".encode(), b"\xff\xff\xff"))
    with pytest.raises(CaseFileError, match="truncated or damaged"):
        read_cases(path)


def test_every_count_of_texts_is_looked_at(tmp_path: Path) -> None:
    """A part that is a splice of two: the library takes the later count."""
    path = book_with(tmp_path, "xl/sharedStrings.xml", "<si>", '<sst uniqueCount="2147483647"><si>')
    with pytest.raises(CaseFileError, match="says it holds 2,147,483,647 texts"):
        read_cases(path)


def test_a_panic_of_the_library_is_a_damaged_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calamine = pytest.importorskip("python_calamine")

    class PanicException(BaseException):
        """As the library's own: no `Exception`."""

    class Book:
        @staticmethod
        def from_filelike(file: object) -> object:
            raise PanicException("capacity overflow")

    monkeypatch.setattr(calamine, "CalamineWorkbook", Book)
    path = tmp_path / "cases.xlsx"
    path.write_bytes(workbook())
    for read in (read_cases, read_workbook):
        with pytest.raises(CaseFileError, match=r"no whole Excel file.*capacity overflow"):
            read(path)


# --------------------------------------------------------------------------------- Parquet and Arrow


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_a_header_that_is_not_utf8_is_a_damaged_file(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"cases.{kind}"
    if kind == "parquet":
        pq.write_table(case_table(), path, store_schema=False)
    else:
        with pa.ipc.new_file(path, case_table().schema) as writer:
            writer.write_table(case_table())
    path.write_bytes(path.read_bytes().replace(b"department", b"departm\xffnt"))
    with pytest.raises(CaseFileError, match="truncated or damaged"):
        read_cases(path)


def test_offsets_that_fall_inside_an_arrow_file_are_refused(tmp_path: Path) -> None:
    table = case_table()
    path = tmp_path / "cases.arrow"
    with pa.ipc.new_file(path, table.schema) as writer:
        writer.write_table(table)
    good = np.array([0, 2, 3, 3, 3], np.int32).tobytes()  # the diagnoses
    data = path.read_bytes()
    assert data.count(good) == 1
    path.write_bytes(data.replace(good, np.array([0, 2**30, 3, 3, 3], np.int32).tobytes()))
    with pytest.raises(CaseFileError, match="no whole Arrow file, truncated or damaged"):
        read_cases(path)


def test_texts_under_nulls_are_not_resolved() -> None:
    """Only null codes, and an unknown text lies under one."""
    values = pa.Array.from_buffers(
        pa.string(),
        1,
        [pa.py_buffer(b"\x00"), pa.py_buffer(np.array([0, 2], np.int32)), pa.py_buffer(b"??")],
    )
    lists = pa.ListArray.from_arrays(pa.array([0, 1], pa.int32()), values)
    table = pa.Table.from_pylist([CASE]).drop_columns(["procedures"])
    found = group(table.append_column("procedures", lists), scheme())
    assert found.counts()["rejected"] == 0
    assert found.warnings() == {}


# ------------------------------------------------------------------------------------------- dicts


@pytest.mark.parametrize("text", ["", b"", "case"])
def test_a_text_is_no_list_of_cases(text: Any) -> None:
    with pytest.raises(TypeError, match="give a table"):
        group(text, scheme())


@pytest.mark.parametrize(
    "case",
    [
        {**CASE, "case_id": "\ud800"},
        {**CASE, "diagnoses": ["\udfff"]},
        {**CASE, "\ud800": 1},
        {**dict[Any, Any](CASE), 3: 1},
        {**CASE, "other": "\ud800"},
    ],
)
def test_texts_that_are_no_unicode_are_refused(case: Any) -> None:
    with pytest.raises(CaseSchemaError):
        group(case, scheme())


# ------------------------------------------------------------------------------- maps and manifests


@pytest.mark.parametrize("text", ["los = " + "9" * 5000, "a = " + "[" * 5000])
def test_a_map_that_toml_cannot_hold_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "map.toml"
    path.write_text(f"[stand_in]\n{text}\n", "utf-8")
    with pytest.raises(CaseFileError, match="no TOML in UTF-8"):
        load_map(path)


@pytest.mark.parametrize(
    "text",
    ['{"n": Infinity}', '{"n": NaN}', '{"n": 1e999}', "[" * 100_000, '{"n": ' + "9" * 5000 + "}"],
)
def test_a_manifest_that_json_cannot_hold_is_damaged(text: str, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(text, "utf-8")
    with pytest.raises(CaseFileError, match=r"manifest\.json is damaged"):
        read_run(tmp_path)


@pytest.mark.parametrize("text", ['{"run": "x"}', '{"outputs": [1]}', '{"policy": 3}', "[]"])
def test_a_manifest_of_another_shape_is_damaged(text: str, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(text, "utf-8")
    with pytest.raises(CaseFileError, match=r"manifest\.json is damaged: no object"):
        read_run(tmp_path)


@pytest.mark.parametrize("about", [{"kind": "month"}, {"kind": "month", "period": [1]}, {}])
def test_an_earlier_run_without_what_a_run_has_is_refused(about: Any, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({"run": about}), "utf-8")
    with pytest.raises(CaseFileError, match="the run has no cases"):
        settle(money_cases(), home() / "year", prior=[tmp_path])
    pq.write_table(money_cases(), tmp_path / "cases.parquet")
    if about:
        with pytest.raises(SettlementError, match="is a draft"):
            settle(money_cases(), home() / "year", prior=[tmp_path])


# ------------------------------------------------------------------------------------ lists and TOML


def test_a_cell_that_never_ends_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ledger.csv"
    path.write_text("entry_id,kind\nE1," + "x" * 200_000 + "\n", "utf-8")
    with pytest.raises(CaseFileError, match="cannot be read as ledger entries: field larger"):
        grouper.read_ledger(path)


def test_toml_of_too_many_brackets_is_refused(tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_text("a = " + "[" * 5000, "utf-8")
    with pytest.raises(TableError, match="nested too deep"):
        load_policy(tmp_path)


@pytest.mark.parametrize("value", [[1], "two", {"a": 1}, None, 1.5])
def test_principals_that_are_no_number(value: object) -> None:
    case = {"case_id": "1", "sex": 1, "age": 40, "diagnoses": ["I10.x00"], "procedures": []}
    try:
        grouped = grouper.group(
            [{**case, "principals": value}, {**case, "case_id": "2"}], "chs-drg-1.1"
        )
    except CaseSchemaError as e:
        assert "'principals'" in str(e)  # noqa: PT017
    else:
        assert sum(grouped.counts().values()) == 2


def test_a_buffer_of_offsets_with_bytes_to_spare() -> None:
    """Its size need not be a multiple of four."""
    text = pa.array(["a", "bc"])
    _, offsets, data = text.buffers()
    spare = pa.py_buffer(offsets.to_pybytes()[:12] + b"\0\0\0")
    bent = pa.StringArray.from_buffers(2, spare, data)
    cases = pa.table({"case_id": bent, "sex": [1, 2], "age": [3, 4]})
    cases = cases.append_column("diagnoses", pa.array([["I10.x00"]] * 2))
    cases = cases.append_column("procedures", pa.array([[]] * 2, pa.list_(pa.string())))
    assert grouper.read_cases(cases).table["case_id"].to_pylist() == ["a", "bc"]
    assert len(grouper.group(cases, "chs-drg-1.1")) == 2


def test_a_ledger_whose_headers_stand_twice_or_are_blank(tmp_path: Path) -> None:
    path = tmp_path / "ledger.csv"
    path.write_text("entry_id,kind,kind\n1,deduction,x\n")
    with pytest.raises(CaseSchemaError, match="the header 'kind' stands twice"):
        grouper.read_ledger(path)
    path.write_text("entry_id,kind,,\n1,deduction,x,y\n")
    assert grouper.read_ledger(path).column_names == ["entry_id", "kind"]
