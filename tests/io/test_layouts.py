"""Other layouts of the same cases read the same: long tables, the wide front page, eleven-field lines."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from grouper import CaseSchemaError, group, read_cases

SETL = """setl_id,xm,gend,age,nwb_age,act_ipt_days,dscg_way,setl_end_date,medfee_sumamt,scs_cutd_sum_dura,x1
S1,张三,1,66,,7,1,2026-03-02,52340.10,1/2/30,x
S2,李四,2,0,12,3,1,2026-03-05,4120,,
S3,王五,2,34,,4,5,2026-03-06,100.00,48,
"""
DISE = """setl_id,diag_type,diag_code,diag_name,maindiag_flag
S1,1,E11.900,b,0
S1,1,I21.001,a,1
S2,1,P22.000,c,1
S1,1,I50.900x002,d,0
S1,2,BNX010,胸痹,1
S3,1,K22.301,e,1
S9,1,K22.301,e,1
"""
OPRN = """setl_id,oprn_oprt_code,oprn_oprt_name,oprn_oprt_type
S1,88.5500,a,2
S1,36.0700x004,b,1
"""


def long_tables(folder: Path, setl: str = SETL, dise: str = DISE, oprn: str | None = OPRN) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "setlinfo.csv").write_text(setl, "utf-8")
    (folder / "diseinfo.csv").write_text(dise, "utf-8")
    if oprn is not None:
        (folder / "oprninfo.csv").write_text(oprn, "utf-8")
    return folder


def test_long_tables_are_joined_with_the_flagged_codes_first(tmp_path: Path) -> None:
    read = read_cases(long_tables(tmp_path))
    rows = read.table.to_pylist()
    assert [r["diagnoses"] for r in rows] == [
        ["I21.001", "E11.900", "I50.900x002"],
        ["P22.000"],
        ["K22.301"],
    ]
    assert [r["procedures"] for r in rows] == [["36.0700x004", "88.5500"], [], []]
    first = {k: v for k, v in rows[0].items() if k not in ("diagnoses", "procedures")}
    assert first == {
        "case_id": "S1",
        "sex": 1,
        "age": 66,
        "age_days": None,
        "los": 7,
        "discharge_mode": "1",
        "icu_hours": 26,
        "principals": 1,
        "settlement_date": date(2026, 3, 2),
        "total_cost_fen": 5_234_010,
    }
    assert rows[2]["icu_hours"] == 48
    assert read.dropped == ["xm"]
    assert read.ignored == ["x1", "diag_name", "oprn_oprt_name"]
    assert read.counts == {
        "age_days: blank": 2,
        "icu_hours: blank": 1,
        "diseinfo: diagnoses of Chinese medicine left out": 1,
        "diseinfo: rows of no case": 1,
        "icu_hours: days/hours/minutes read as hours": 1,
    }
    assert [(f.name, f.rows) for f in read.files] == [
        ("setlinfo.csv", 3),
        ("diseinfo.csv", 0),
        ("oprninfo.csv", 0),
    ]
    assert all(len(f.sha256) == 64 for f in read.files)


def test_long_tables_group_as_the_same_cases_do(tmp_path: Path) -> None:
    read = read_cases(long_tables(tmp_path))
    again = read_cases(read.table)
    answers = group(read, "chs-drg-1.1").to_arrow()
    assert answers == group(again, "chs-drg-1.1").to_arrow()
    assert answers["group"].to_pylist()[0] == "FM19"


def test_the_order_of_the_rows_below_a_case_is_of_no_account_but_for_others(tmp_path: Path) -> None:
    header, *lines = DISE.splitlines()
    other = "\n".join([header, *reversed(lines)]) + "\n"
    a = read_cases(long_tables(tmp_path / "a")).table["diagnoses"].to_pylist()
    b = read_cases(long_tables(tmp_path / "b", dise=other)).table["diagnoses"].to_pylist()
    assert [x[0] for x in a] == [x[0] for x in b]
    assert [sorted(x) for x in a] == [sorted(x) for x in b]


def test_long_tables_as_parquet(tmp_path: Path) -> None:
    import pyarrow.csv

    (tmp_path / "p").mkdir()
    for path in sorted(long_tables(tmp_path / "csv").iterdir()):
        pq.write_table(pyarrow.csv.read_csv(path), tmp_path / "p" / f"{path.stem}.parquet")
    a, b = (read_cases(tmp_path / name).table for name in ("csv", "p"))
    assert a.drop_columns(["icu_hours"]) == b.drop_columns(["icu_hours"])


def changed(old: str, new: str) -> str:
    assert DISE.count(old) == 1
    return DISE.replace(old, new)


@pytest.mark.parametrize(
    ("dise", "reason"),
    [
        (changed("S3,1,K22.301,e,1", "S3,1,K22.301,e,0"), "no_principal_diagnosis"),
        (
            changed("S3,1,K22.301,e,1", "S3,1,K22.301,e,1\nS3,1,E11.900,f,1"),
            "two_principal_diagnoses",
        ),
        (changed("S3,1,K22.301,e,1\n", ""), "no_principal_diagnosis"),
        (changed("S3,1,K22.301,e,1", "S3,2,K22.301,e,1"), "no_principal_diagnosis"),
    ],
)
def test_a_principal_is_never_guessed(tmp_path: Path, dise: str, reason: str) -> None:
    read = read_cases(long_tables(tmp_path, dise=dise))
    rows = group(read, "chs-drg-1.1").to_arrow().to_pylist()
    assert (rows[2]["status"], rows[2]["reason"]) == ("rejected", reason)
    assert [r["status"] for r in rows[:2]] == ["grouped", "grouped"]


def test_a_case_of_chinese_medicine_flags_two_principals_and_is_one_case(tmp_path: Path) -> None:
    read = read_cases(long_tables(tmp_path))
    assert read.table["principals"].to_pylist() == [1, 1, 1]


def test_without_flags_the_first_row_is_principal_and_that_is_said(tmp_path: Path) -> None:
    lines = [",".join(line.split(",")[:4]) for line in DISE.splitlines()]
    read = read_cases(long_tables(tmp_path, dise="\n".join(lines) + "\n", oprn=None))
    assert read.table["diagnoses"].to_pylist()[0] == ["E11.900", "I21.001", "I50.900x002"]
    assert read.counts["diseinfo: no maindiag_flag, the first is principal"] == 1
    assert read.counts["oprninfo: no such table, no procedures read"] == 1
    assert read.table["procedures"].to_pylist() == [[], [], []]


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("diseinfo.csv", "setl_id,code\nS1,x\n", "diseinfo.csv: no column diag_code"),
        ("oprninfo.csv", "id,oprn_oprt_code\nS1,x\n", "oprninfo.csv: no column setl_id"),
        ("setlinfo.csv", "gend,age\n1,2\n", "setlinfo.csv: no column setl_id"),
    ],
)
def test_a_long_table_that_lacks_a_column_is_refused(
    tmp_path: Path, file: str, text: str, said: str
) -> None:
    folder = long_tables(tmp_path)
    (folder / file).write_text(text, "utf-8")
    with pytest.raises(CaseSchemaError, match=said):
        read_cases(folder)


def test_long_tables_without_diagnoses_are_refused(tmp_path: Path) -> None:
    folder = long_tables(tmp_path)
    (folder / "diseinfo.csv").unlink()
    with pytest.raises(CaseSchemaError, match="setlinfo without diseinfo"):
        read_cases(folder)


# --------------------------------------------------------------------------- the wide front page


WIDE = {
    "USERNAME": ["H1", "H1", "H2"],
    "BAH": ["007", "007", "8"],
    "ZYCS": ["1", "2", "1"],
    "XM": ["张三", "张三", "李四"],
    "XB": ["1", "1", "2"],
    "NL": ["66", "66", "0"],
    "BZYZSNL": [None, None, "12"],
    "XSERYTZ": [None, None, "2500"],
    "RYSJ": ["2026-02-23", "2026-03-01", "2026-03-01"],
    "CYSJ": ["2026-03-02", "2026-03-05", "2026-03-03"],
    "SJZYTS": ["7", "4", "2"],
    "JBDM": ["I21.001", "K22.301", None],
    "JBDM2": ["E11.900", None, "P22.000"],
    "JBDM1": ["I50.900x002", None, None],
    "JBDM10": ["I10.x00", None, None],
    "SSJCZBM1": ["36.0700x004", None, None],
    "SSJCZBM2": [None, None, None],
    "SSJCZBM3": ["88.5500", None, None],
    "ZFY": ["52340.10", "1", "2"],
    "QT": ["x", "y", "z"],
}


def wide_csv(folder: Path, encoding: str) -> Path:
    path = folder / "hqms.csv"
    rows = [
        ",".join(WIDE),
        *(",".join(v or "" for v in r) for r in zip(*WIDE.values(), strict=True)),
    ]
    path.write_bytes("\n".join(rows).encode(encoding))
    return path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
def test_the_wide_front_page_is_gathered(tmp_path: Path, encoding: str) -> None:
    read = read_cases(wide_csv(tmp_path, encoding))
    rows = read.table.to_pylist()
    assert [r["case_id"] for r in rows] == ["007-1", "007-2", "8-1"]
    assert rows[0]["diagnoses"] == ["I21.001", "I50.900x002", "E11.900", "I10.x00"]
    assert rows[0]["procedures"] == ["36.0700x004", "88.5500"]
    assert rows[1]["diagnoses"] == ["K22.301"]
    assert rows[2]["diagnoses"] == ["", "P22.000"]
    assert [r["admission_weight"] for r in rows] == [None, None, 2500]
    assert [r["age_days"] for r in rows] == [None, None, 12]
    assert rows[0]["total_cost_fen"] == 5_234_010
    assert (read.dropped, read.ignored) == (["XM"], ["QT"])
    answers = group(read, "chs-drg-1.1").to_arrow().to_pylist()
    assert answers[0]["adrg"] == "FM1"
    assert answers[2]["reason"] == "no_principal_diagnosis"


def test_a_front_page_without_an_id_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "hqms.csv"
    path.write_text("XB,NL,JBDM,SSJCZBM1\n1,2,K22.301,\n", "utf-8")
    with pytest.raises(CaseSchemaError, match="needs one of SETL_ID, JZLSH, BAH"):
        read_cases(path)


# ------------------------------------------------------------------------- the line of eleven fields


LINES = """1,男,66,24090,,0302,7,1,I21.001|E11.900,36.0700x004|88.5500,note
2,女,0,12,2500,1101,3,1,P22.000,,
"""
NAMES = "index,gender,age,ageDay,weight,dept,inHospitalTime,leavingType,zdList,ssList,remark\n"


def test_eleven_fields_with_and_without_a_header_read_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(NAMES + LINES, "utf-8")
    (tmp_path / "b.csv").write_text(LINES, "utf-8")
    a, b = (read_cases(tmp_path / f"{x}.csv") for x in "ab")
    assert a.table == b.table
    rows: list[dict[str, Any]] = b.table.to_pylist()
    assert [(r["case_id"], r["sex"], r["age"], r["los"]) for r in rows] == [
        ("1", 1, 66, 7),
        ("2", 2, 0, 3),
    ]
    assert rows[1]["birth_weight"] == 2500
    assert rows[0]["procedures"] == ["36.0700x004", "88.5500"]
    assert b.ignored == ["remark"]
    assert [r["status"] for r in group(b, "chs-drg-1.1").to_arrow().to_pylist()] == ["grouped"] * 2


def test_a_line_of_another_width_in_a_file_without_a_header_is_a_fault_of_its_row(
    tmp_path: Path,
) -> None:
    path = tmp_path / "b.csv"
    path.write_text(LINES + "3,男,5\n", "utf-8")
    read = read_cases(path)
    assert len(read) == 3
    assert [r["status"] for r in group(read, "chs-drg-1.1").to_arrow().to_pylist()] == [
        "grouped",
        "grouped",
        "rejected",
    ]


def test_a_column_map_reads_a_file_as_it_is(tmp_path: Path) -> None:
    path = wide_csv(tmp_path, "utf-8")
    names = {
        "case_id": "BAH",
        "sex": "XB",
        "age": "NL",
        "diagnoses": "JBDM",
        "procedures": "SSJCZBM1",
    }
    table = tmp_path / "map.toml"
    table.write_text("[columns]\n" + "".join(f'{k} = "{v}"\n' for k, v in names.items()), "utf-8")
    read = read_cases(path, columns=table)
    assert read.table["diagnoses"].to_pylist()[0] == ["I21.001"]
    assert pa.types.is_list(read.table["diagnoses"].type)
