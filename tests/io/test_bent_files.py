"""Files that lie about themselves, found by fuzzing: each by hand."""

from __future__ import annotations

import io
from pathlib import Path

import pyarrow as pa
import pytest

import grouper
from grouper.errors import CaseFileError, CaseSchemaError, GrouperError

pytestmark = pytest.mark.promise("What fuzzing found stays cured")


def arrow_bytes() -> bytearray:
    out = io.BytesIO()
    table = pa.table({"case_id": ["a", "b"], "sex": ["1", "2"], "age": ["3", "4"]})
    table = table.append_column("diagnoses", pa.array(["x", "y"]))
    table = table.append_column("procedures", pa.array(["", "z"]))
    with pa.ipc.new_file(out, table.schema) as writer:
        writer.write_table(table)
    return bytearray(out.getvalue())


def test_offsets_of_an_arrow_file_that_point_anywhere(tmp_path: Path) -> None:
    """Read on, they led out of memory: a segmentation fault."""
    path, data = tmp_path / "c.arrow", arrow_bytes()
    offsets = b"\x00\x00\x00\x00\x01\x00\x00\x00\x02\x00\x00\x00"
    at, bent = data.find(offsets), 0
    while at >= 0:
        worse = bytearray(data)
        worse[at + 8 : at + 12] = (1 << 30).to_bytes(4, "little")
        path.write_bytes(worse)
        with pytest.raises(CaseFileError, match=r"c\.arrow: no whole Arrow file"):
            grouper.read_cases(path)
        bent += 1
        at = data.find(offsets, at + 1)
    assert bent >= 4


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


def test_a_name_in_a_parquet_footer_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "c.parquet"
    grouper.write_table(pa.table({"case_id": ["a"]}), path)
    data, seen = path.read_bytes(), 0
    at = data.find(b"case_id")
    while at >= 0:
        path.write_bytes(data[:at] + b"\xe5" + data[at + 1 :])
        with pytest.raises(GrouperError):
            grouper.read_cases(path)
        seen += 1
        at = data.find(b"case_id", at + 1)
    assert seen


def test_a_ledger_whose_headers_stand_twice_or_are_blank(tmp_path: Path) -> None:
    path = tmp_path / "ledger.csv"
    path.write_text("entry_id,kind,kind\n1,deduction,x\n")
    with pytest.raises(CaseSchemaError, match="the header 'kind' stands twice"):
        grouper.read_ledger(path)
    path.write_text("entry_id,kind,,\n1,deduction,x,y\n")
    assert grouper.read_ledger(path).column_names == ["entry_id", "kind"]
