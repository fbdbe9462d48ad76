"""Rules of quality control as data: the shipped ones, added ones, and every kind of fault by place."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from shared import shared

import grouper
from grouper._quality_lists import SCHEMA
from grouper.errors import TableError
from grouper.tables import load_quality, switched

HEADER = "id,table,field,severity,when,check,message_zh,message_en,source\n"
CASES = pa.table(
    {
        "case_id": ["a", "b"],
        "sex": [1, 2],
        "age": [3, 40],
        "diagnoses": [["I10.x00"], ["I10.x00", "E11.900"]],
        "procedures": pa.array([[], ["47.0901"]], pa.list_(pa.string())),
        "los": [1, 9],
        "ward": ["A", None],
    }
)


def rules_file(folder: Path, *rows: str) -> Path:
    path = folder / "more.csv"
    path.write_text(HEADER + "".join(f"{r}\n" for r in rows), "utf-8")
    return path


def checked(check: str, tmp_path: Path, table: str = "setlinfo", when: str = "") -> list[Any]:
    """Return the positions or ids that fail one rule."""
    path = rules_file(tmp_path, f'one,{table},x,error,"{when}","{check}",错,wrong,here')
    found = grouper.check_quality(CASES, rules=path, only=["one"], lang="en")
    return [(f["case_id"], f["position"]) for f in found.findings.to_pylist()]


def test_the_52_rules_are_those_of_the_platform() -> None:
    path = shared("facts/quality/settlement_list_rules.csv")
    with path.open(encoding="utf-8") as f:
        wanted = [(r["gzid"], r["zd"].split(",")[0].lower(), r["cwxx"]) for r in csv.DictReader(f)]
    ours = [r for r in load_quality(None, SCHEMA).rules if r.id[:4].isdigit()]
    assert [(r.id[:4], r.field, r.message_zh) for r in ours] == wanted


@pytest.mark.parametrize(
    ("check", "table", "when", "fails"),
    [
        ("los > 2", "setlinfo", "", [("a", None)]),
        ("not los > 2", "setlinfo", "", [("b", None)]),
        ("los * 2 - 1 = 1 or los + 1 = 10", "setlinfo", "", []),
        ("-los < 0 and abs(0 - los) = los", "setlinfo", "", []),
        ("los > 2", "setlinfo", "sex = 2", []),
        ("`ward` = 'A'", "setlinfo", "", []),
        ("filled(`ward`)", "setlinfo", "", [("b", None)]),
        ("count(oprninfo) = 0", "setlinfo", "", [("b", None)]),
        ("count(diseinfo, diag_code = 'E11.900') = 0", "setlinfo", "", [("b", None)]),
        ("all(diseinfo, starts(diag_code, 'I', 'E1'))", "setlinfo", "", []),
        ("any(diseinfo, diag_code in {'E11.900', 'X'})", "setlinfo", "", [("a", None)]),
        ("sum(diseinfo, position) < 3", "setlinfo", "", [("b", None)]),
        ("position = 1", "diseinfo", "", [("b", 2)]),
        ("sex = 1", "diseinfo", "position > 1", [("b", 2)]),
        ("length(diag_code) = 7 and not digits(diag_code)", "diseinfo", "", []),
    ],
)
def test_the_language(check: str, table: str, when: str, fails: list[Any], tmp_path: Path) -> None:
    assert checked(check, tmp_path, table, when) == fails


@pytest.mark.promise("A table that is wrong is refused by file, row and cure")
@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("x,setlinfo,f,error,,loss > 2,m,m,s", r"more.csv:2: column 1 .* no field 'loss' .* 'los'"),
        ("x,setlinfo,f,error,,los >,m,m,s", "column 6 .* a field or a value is wanted"),
        ("x,setlinfo,f,error,,los > 'a',m,m,s", "a number is compared with a text"),
        ("x,setlinfo,f,error,,los,m,m,s", "a number stands where yes or no is wanted"),
        ("x,setlinfo,f,error,,los > 1.5,m,m,s", "numbers are whole"),
        ("x,setlinfo,f,error,,los = 1 los,m,m,s", "'los' is too much"),
        ("x,setlinfo,f,error,,los * los > 1,m,m,s", "one side of \\* is a number up to 1000"),
        ("x,setlinfo,f,error,,position = 1,m,m,s", "no field 'position'"),
        ("x,setlinfo,f,error,,trt_type in @nope,m,m,s", "no domain 'nope'"),
        ("x,setlinfo,f,error,,filled(emp_addr) = emp_addr,m,m,s", "personal|compared"),
        ("x,setlinfo,f,error,,length(emp_addr) = 3,m,m,s", "emp_addr is personal"),
        ("x,setlinfo,f,error,,any(nothing),m,m,s", "begins with a table"),
        ("x,diseinfo,f,error,,any(oprninfo),m,m,s", "only rules of setlinfo"),
        ("x,diseinfo,f,error,,mean(los) > 1,m,m,s", "only rules of setlinfo"),
        ("x,setlinfo,f,error,,exec('x') = 1,m,m,s", "no function 'exec'"),
        ("x,setlinfo,f,error,,__import__('os') = 1,m,m,s", "no function '__import__'"),
        ("x,setlinfo,f,error,,days(los) = 1,m,m,s", "takes a time here, not a number"),
        ("x,setlinfo,f,error,,,m,m,s", "needs a check"),
        ("x,nowhere,f,error,,los = 1,m,m,s", r"more.csv:2: table 'nowhere' is none of"),
        ("x,setlinfo,f,fatal,,los = 1,m,m,s", "severity 'fatal' is none of"),
        (",setlinfo,f,error,,los = 1,m,m,s", "needs an id"),
        ("x,setlinfo,f,error,,los = 1,,,s", "needs a message"),
    ],
)
def test_every_fault_is_named_by_place(row: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(TableError, match=says):
        load_quality(rules_file(tmp_path, row), SCHEMA)


@pytest.mark.promise("Expressions cannot loop and cannot reach Python")
@pytest.mark.parametrize(
    "check",
    ["(" * 10_000 + "los = 1", " and ".join(["los = 1"] * 100_000), "not " * 5000 + "los = 1"],
)
def test_a_monster_is_refused_at_once(check: str, tmp_path: Path) -> None:
    with pytest.raises(TableError):
        load_quality(rules_file(tmp_path, f"x,setlinfo,f,error,,{check},m,m,s"), SCHEMA)


@pytest.mark.promise("Quality rules are data: added, replaced and switched off by a file")
def test_rules_are_added_replaced_and_switched_off(tmp_path: Path) -> None:
    shipped = load_quality(None, SCHEMA)
    path = rules_file(
        tmp_path,
        "low_standard_admission,setlinfo,los,off,,,,,here",
        "sex_missing,setlinfo,sex,error,,sex = 1,甲,one,here",
        "ours,setlinfo,los,info,,los < 9,乙,two,here",
    )
    rules = load_quality(path, SCHEMA)
    ids = [r.id for r in rules.rules]
    assert "low_standard_admission" not in ids
    assert ids[-1] == "ours"
    assert len(ids) == len(shipped.rules)
    (own,) = [r for r in rules.rules if r.id == "sex_missing"]
    assert (own.severity, own.message("zh"), own.place) == ("error", "甲", "more.csv:3")
    assert [r.id for r in switched(rules, ["ours", "2132.*"], []).rules] == [
        "2132.nwb_bir_wt",
        "ours",
    ]
    assert len(switched(rules, [], ["2*"]).rules) == len(ids) - 52
    with pytest.raises(TableError, match=r"no rule 'nope'"):
        switched(rules, ["nope"], [])
    with pytest.raises(TableError, match="the id 'x' stands twice"):
        load_quality(rules_file(tmp_path, *["x,setlinfo,f,info,,los = 1,m,m,s"] * 2), SCHEMA)


def test_a_folder_adds_fields_and_domains(tmp_path: Path) -> None:
    (tmp_path / "fields.csv").write_text(
        "table,field,kind,ours,also,personal,name_zh\nsetlinfo,ward,text,,病区,,病区\n", "utf-8"
    )
    (tmp_path / "domains.csv").write_text("domain,value,name,source\nward,B,乙,here\n", "utf-8")
    (tmp_path / "rules.csv").write_text(
        HEADER + "ward,setlinfo,ward,warning,,ward in @ward,错,wrong,here\n", "utf-8"
    )
    found = grouper.check_quality(CASES, rules=tmp_path, only=["ward"])
    (rule,) = found.rules
    assert (rule["failed"], rule["not_evaluable"]) == (1, 1)
    (tmp_path / "empty").mkdir()
    with pytest.raises(TableError, match="holds none of"):
        load_quality(tmp_path / "empty", SCHEMA)
    (tmp_path / "fields.csv").write_text(
        "table,field,kind,ours,also,personal,name_zh\nsetlinfo,ward,float,,,,病区\n", "utf-8"
    )
    with pytest.raises(TableError, match=r"fields.csv:2: kind 'float' is none of"):
        load_quality(tmp_path, SCHEMA)


def test_lists_beside_the_codes_are_read_row_by_row() -> None:
    cases = CASES.append_column("procedure_date", pa.array(["", "2025-01-09"]))
    cases = cases.append_column("admission_date", pa.array(["2025-01-01", "2025-01-01"]))
    cases = cases.append_column("discharge_date", pa.array(["2025-01-02", "2025-01-08"]))
    found = grouper.check_quality(cases, only=["procedure_in_stay"])
    assert [(f["case_id"], f["position"]) for f in found.findings.to_pylist()] == [("b", 1)]
    longer = cases.set_column(
        cases.column_names.index("procedure_date"), "procedure_date", pa.array(["", "2025-01-09|x"])
    )
    found = grouper.check_quality(longer, only=["procedure_in_stay"])
    assert found.rules[0]["not_evaluable"] == 1
    assert found.normalised["procedure_date: lists not as long as the codes"] == 1


def test_files_with_other_columns_and_no_rows(tmp_path: Path) -> None:
    head = "case_id,sex,age,diagnoses,procedures"
    (tmp_path / "a.csv").write_text(f"{head},ntly\n1,1,40,I10.x00,,CHN\n", "utf-8")
    (tmp_path / "b.csv").write_text(f"{head}\n2,1,40,I10.x00,\n", "utf-8")
    found = grouper.check_quality(str(tmp_path), only=["2006.ntly", "2005.ntly"])
    assert [(r["passed"], r["not_evaluable"]) for r in found.rules] == [(1, 1), (1, 1)]
    none = grouper.check_quality(CASES.slice(0, 0))
    assert (none.cases, none.findings.num_rows) == (0, 0)
    assert all(r["passed"] == r["failed"] == r["not_evaluable"] == 0 for r in none.rules)
