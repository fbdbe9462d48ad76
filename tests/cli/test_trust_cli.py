"""check, verify and run --resume as a user gives them."""

from __future__ import annotations

import io
import json
import shutil
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq
import pytest

import grouper
from grouper import _runs
from grouper._demo import make
from grouper.cli import main


@pytest.fixture(scope="module")
def year(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A demo region-year of 800 cases."""
    folder = tmp_path_factory.mktemp("trust") / "year"
    make(folder, 800, None, 5, "point", None, "en")
    return folder


class Said(NamedTuple):
    """What a command printed."""

    output: str
    err: str


def call(*args: str, code: int = 0) -> Said:
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as m, redirect_stdout(out), redirect_stderr(err):
        m.setattr(sys, "argv", ["grouper", *args])
        with pytest.raises(SystemExit) as left:
            main()
    said = Said(out.getvalue(), err.getvalue())
    assert int(left.value.code or 0) == code, said
    return said


def test_check_prints_a_report_and_writes_findings(year: Path, tmp_path: Path) -> None:
    cases = str(year / "cases.parquet")
    out, report = str(tmp_path / "f.parquet"), str(tmp_path / "r.xlsx")
    said = call("check", cases, "-o", out, "--report", report, "--lang", "en").output
    assert "cases: 800" in said
    assert "less than 3 days without a procedure" in said
    assert "not evaluable in any case" in said
    facts = json.loads(call("check", cases, "--json", "--scheme", "chs-drg-1.1").output)
    rule = next(r for r in facts["rules"] if r["rule"] == "low_standard_admission")
    assert rule["passed"] + rule["failed"] == 800
    findings = pq.read_table(out)
    of = [r for r in findings.to_pylist() if r["rule"] == "low_standard_admission"]
    assert len(of) == rule["failed"]
    assert Path(report).stat().st_size > 0


def test_check_adds_switches_and_is_strict(year: Path, tmp_path: Path) -> None:
    cases, more = str(year / "cases.parquet"), tmp_path / "more.csv"
    more.write_text(
        "id,table,field,severity,when,check,message_zh,message_en,source\n"
        "short,setlinfo,los,error,,los > 100,短,short,ours\n",
        "utf-8",
    )
    call("check", cases, "--strict")
    args = ("check", cases, "--rules", str(more), "--only", "short", "--json")
    facts = json.loads(call(*args, "--strict", code=1).output)
    assert [r["rule"] for r in facts["rules"]] == ["short"]
    more.write_text(more.read_text("utf-8").replace("los > 100", "loss > 1"), "utf-8")
    refused = call(*args, code=2)
    assert "more.csv:2" in refused.err
    assert "no rule 'nope'" in call("check", cases, "--without", "nope", code=2).err


def test_verify_says_what_failed(year: Path) -> None:
    said = call("verify", str(year / "run"), "--sample", "20").output
    assert "passed  sample: 20 cases" in said
    assert said.endswith("verified\n")
    facts = json.loads(call("verify", str(year / "run"), "--quick", "--json").output)
    assert facts["passed"]
    path = year / "run" / "manifest.json"
    kept = path.read_text("utf-8")
    try:
        path.write_text(kept.replace('"cases": 800', '"cases": 801'), "utf-8")
        said = call("verify", str(year / "run"), "--quick", code=2).output
    finally:
        path.write_text(kept, "utf-8")
    assert "FAILED  content hash" in said
    assert said.endswith("not verified\n")


def run(year: Path, output: Path, *more: str, code: int = 0) -> Said:
    args = ("run", str(year / "cases.parquet"), "--scheme", "chs-drg-1.1", "--policy")
    return call(*args, str(year / "policy"), "-o", str(output), *more, code=code)


@pytest.mark.promise("A run that was cut off goes on, and is the same")
def test_a_resumed_run_groups_once_and_is_the_same(
    year: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hospitals = ("--hospitals", str(year / "hospitals.csv"))
    nowhere = ("--hospitals", str(tmp_path / "nowhere.csv"))
    run(year, tmp_path / "a", "--resume", *nowhere, code=2)
    place = tmp_path / ".a.resume"
    assert {p.name for p in place.iterdir()} == {"grouped.arrow", "facts.json"}

    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("grouped again")

    with monkeypatch.context() as m:
        m.setattr(_runs, "group_files", refuse)
        said = run(year, tmp_path / "a", "--resume", *hospitals).output
    assert not place.exists()
    plain = json.loads((year / "run" / "manifest.json").read_text("utf-8"))
    made = json.loads((tmp_path / "a" / "manifest.json").read_text("utf-8"))
    assert made["content_hash"] == plain["content_hash"]
    assert made["rows"] == plain["rows"]
    assert plain["content_hash"] in said
    assert grouper.verify_run(tmp_path / "a").passed


@pytest.mark.promise("A run that was cut off goes on, and is the same")
def test_a_checkpoint_is_of_what_was_read(
    year: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cases change after the first look at them and before they are read: the new ones are kept."""
    cases = tmp_path / "cases.parquet"
    shutil.copy(year / "cases.parquet", cases)
    args = ("run", str(cases), "--scheme", "chs-drg-1.1", "--policy", str(year / "policy"), "-o")
    to = (*args, str(tmp_path / "a"), "--resume", "--hospitals")
    real = _runs.group_files

    def changing(*given: Any, **more: Any) -> Any:
        pq.write_table(pq.read_table(year / "cases.parquet").slice(0, 500), cases)
        return real(*given, **more)

    with monkeypatch.context() as m:
        m.setattr(_runs, "group_files", changing)
        call(*to, str(tmp_path / "nowhere.csv"), code=2)
    shutil.copy(year / "cases.parquet", cases)
    call(*to, str(year / "hospitals.csv"))
    assert pq.read_table(tmp_path / "a" / "cases.parquet").num_rows == 800
    assert grouper.verify_run(tmp_path / "a").passed


@pytest.mark.parametrize("damage", ["cut", "key", "json"])
def test_a_checkpoint_that_is_not_whole_or_not_ours_is_none(
    damage: str, year: Path, tmp_path: Path
) -> None:
    nowhere = ("--hospitals", str(tmp_path / "nowhere.csv"))
    run(year, tmp_path / "a", "--resume", *nowhere, code=2)
    place = tmp_path / ".a.resume"
    facts = place / "facts.json"
    if damage == "cut":
        held = (place / "grouped.arrow").read_bytes()
        (place / "grouped.arrow").write_bytes(held[: len(held) // 2])
    elif damage == "key":
        facts.write_text(facts.read_text("utf-8").replace('"key": "', '"key": "0'), "utf-8")
    else:
        facts.write_text("{", "utf-8")
    run(year, tmp_path / "a", "--resume", "--hospitals", str(year / "hospitals.csv"))
    assert grouper.verify_run(tmp_path / "a").passed
    assert not place.exists()
