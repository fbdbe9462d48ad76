"""The command line as a person uses it: the main jobs, the exit codes, the refusals."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from shared import SHIPPED, shared

import grouper
from grouper import cli


def grouper_cli(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Run a command in this process; return exit code, stdout, stderr."""
    before = sys.argv
    sys.argv = ["grouper", *words]
    try:
        cli.main()
    except SystemExit as e:
        code = int(e.code or 0)
    finally:
        sys.argv = before
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture
def cases(tmp_path: Path) -> Path:
    path = tmp_path / "cases.csv"
    path.write_text(
        "case_id,sex,age,diagnoses,procedures,total_cost,fund_paid,hospital_level\n"
        "1,1,50,K22.301|E11.900,,8000.00,6000.00,三级\n"
        "2,2,34,J18.900,,4000.5,2500.25,二级\n"
        "3,1,61,NOT.A.CODE,,1,1,二级\n",
        encoding="utf-8",
    )
    return path


def test_group_writes_and_reconciles(
    cases: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "grouped.parquet"
    words = ("group", str(cases), "--scheme", "chs-drg-1.1", "-o", str(out), "--json")
    code, text, err = grouper_cli(capsys, *words)
    assert (code, err) == (0, "")
    facts = json.loads(text)
    assert facts["cases"] == sum(facts["status"].values()) == pq.read_table(out).num_rows == 3
    assert facts["status"]["rejected"] == 1
    assert facts["reasons"]["unknown_principal"] == 1
    assert facts["inputs"][0]["rows"] == 3
    assert pq.read_table(out)["total_cost_fen"].to_pylist() == [800000, 400050, 100]


def test_strict_exits_one_when_something_is_not_grouped(
    cases: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert grouper_cli(capsys, "group", str(cases), "--scheme", "chs-drg-1.1", "--strict")[0] == 1
    assert grouper_cli(capsys, "group", str(cases), "--scheme", "chs-drg-1.1")[0] == 0


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".arrow"])
def test_group_then_settle_is_run(
    cases: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], ending: str
) -> None:
    grouped, apart, whole = tmp_path / f"g{ending}", tmp_path / "apart", tmp_path / "whole"
    for policy in ("example-point", "example-rate"):
        base = ("--policy", policy, "--json", "--overwrite")
        words = ("group", str(cases), "--scheme", "chs-drg-1.1", "-o", str(grouped))
        assert grouper_cli(capsys, *words)[0] == 0
        assert grouper_cli(capsys, "settle", str(grouped), *base, "-o", str(apart))[0] == 0
        again = ("run", str(cases), "--scheme", "chs-drg-1.1", *base, "-o", str(whole))
        code, text, _ = grouper_cli(capsys, *again)
        assert code == 0
        (proof,) = json.loads(text)["proof"]
        parts = proof["pay_fen"] + proof["balance_fen"] + proof["undistributed_fen"]
        assert parts == proof["fund_fen"] == 3_000_000_001
        one, two = (grouper.read_run(f) for f in (apart, whole))
        for name in ("hospitals", "pools", "ledger"):
            assert one.tables[name].equals(two.tables[name]), name
        pay = [r.tables["cases"].sort_by("case_id")["pay_fen"] for r in (one, two)]
        assert pay[0].equals(pay[1])
        assert sum(pay[1].to_pylist()) == proof["pay_fen"]
        assert two.manifest["outputs"]["cases"] == grouper.content_hash(two.tables["cases"])


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_explain_says_why(cases: Path, capsys: pytest.CaptureFixture[str], lang: str) -> None:
    words = ("explain", str(cases), "--case", "1", "--scheme", "chs-drg-1.1", "--lang", lang)
    code, text, _ = grouper_cli(capsys, *words)
    assert code == 0
    grouped = grouper.group(grouper.read_cases(cases).table, "chs-drg-1.1").to_arrow().to_pylist()
    assert grouped[0]["group"] in text
    assert grouped[0]["rule"] in text
    data = json.loads(grouper_cli(capsys, *words, "--json")[1])
    assert data[0]["group"] == grouped[0]["group"]


def test_tables_list_show_check(capsys: pytest.CaptureFixture[str]) -> None:
    code, text, _ = grouper_cli(capsys, "tables", "list", "--json")
    listed = json.loads(text)
    assert code == 0
    assert list(listed["schemes"]) == grouper.scheme_ids()
    assert list(listed["policies"]) == grouper.policy_ids()
    for name, said in (("chs-drg-1.1", "19 warnings, 9 notes"), ("linyi-2022", "1 warnings")):
        code, text, _ = grouper_cli(capsys, "tables", "show", name, "--json")
        assert (code, json.loads(text)["id"]) == (0, name)
        code, text, _ = grouper_cli(capsys, "tables", "check", name)
        assert code == 0
        assert f"{name}: {said}" in text


def test_tables_check_refuses_with_every_fault_and_counts_cases(
    cases: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "s"
    shutil.copytree(SHIPPED / "chs-drg-1.1", folder)
    words = ("tables", "check", str(folder), "--json")
    code, text, _ = grouper_cli(capsys, *words, "--cases", str(cases))
    assert code == 0
    assert {f["cases"] for f in json.loads(text)} <= {0, 1}
    path = folder / "cc.csv"
    path.write_text(path.read_text("utf-8").replace(",MCC,", ",XXX,", 2), "utf-8")
    code, text, _ = grouper_cli(capsys, *words)
    assert code == 2
    errors = [f for f in json.loads(text) if f["severity"] == "error"]
    assert [(f["code"], f["place"]) for f in errors] == [("L114", "cc.csv:2"), ("L114", "cc.csv:3")]


def test_tables_diff_says_what_changed(
    cases: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("tables", "diff", "chs-drg-1.1", "chs-drg-1.1-qy", "--lang", "en")
    code, text, _ = grouper_cli(capsys, *words)
    assert code == 0
    assert "- adrg new: 20" in text
    more = ("--cases", str(cases), "--weights-a", "linyi-2022", "-o", str(tmp_path / "diff"))
    code, text, _ = grouper_cli(capsys, *words, *more, "--json")
    assert code == 0
    assert json.loads(text)["totals"]["cases"] == 3
    assert (tmp_path / "diff" / "flows.csv").is_file()


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (("group", "nothing.csv", "--scheme", "chs-drg-1.1"), ["E310", "nothing.csv"]),
        (("group", "{cases}", "--scheme", "chs-drg-9.9"), ["E200", "chs-drg-1.1"]),
        (("run", "{cases}", "--scheme", "chs-drg-1.1", "--policy", "x", "-o", "{out}"), ["E200"]),
        (("group", "{cases}"), ["--scheme"]),
        (("grup", "{cases}"), ["grup"]),
        (("explain", "{cases}", "--case", "77", "--scheme", "chs-drg-1.1"), ["77"]),
        (("group", "{empty}", "--scheme", "chs-drg-1.1"), ["E310", "empty"]),
        (("group", "{lacking}", "--scheme", "chs-drg-1.1"), ["E300", "'sex'", "'procedures'"]),
        (
            ("group", "{cases}", "--scheme", "chs-drg-1.1", "--columns", "{map}"),
            ["nonsense", "other"],
        ),
    ],
)
def test_refusals_exit_two_with_one_message_and_write_nothing(
    cases: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    parts: list[str],
) -> None:
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "lacking.csv").write_text("case_id,age,diagnoses\n1,2,A\n")
    (tmp_path / "map.toml").write_text('[columns]\nnonsense = "sex"\nage = "other"\n')
    places = {
        "cases": cases,
        "out": tmp_path / "out",
        "empty": tmp_path / "empty.csv",
        "lacking": tmp_path / "lacking.csv",
        "map": tmp_path / "map.toml",
    }
    before = sorted(p.name for p in tmp_path.iterdir())
    code, out, err = grouper_cli(capsys, *(w.format(**places) for w in words))
    assert (code, out) == (2, "")
    assert [p for p in parts if p not in err] == []
    assert "Traceback" not in err
    assert sorted(p.name for p in tmp_path.iterdir()) == before


def test_demo_makes_a_folder_that_can_be_run_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for method in ("point", "rate"):
        folder = tmp_path / method
        base = ("--cases", "3000", "--method", method, "--json")
        code, text, _ = grouper_cli(capsys, "demo", *base, "-o", str(folder))
        assert code == 0
        facts = json.loads(text)
        for proof in facts["proof"]:
            total = proof["pay_fen"] + proof["balance_fen"] + proof["undistributed_fen"]
            assert total == proof["fund_fen"]
            assert (proof["pay_fen"] == proof["fund_fen"]) == (method == "point")
        inputs = ("run", str(folder / "cases.parquet"), "--scheme", "chs-drg-1.1")
        more = ("--policy", str(folder / "policy"), "--hospitals", str(folder / "hospitals.csv"))
        again = tmp_path / f"{method}-again"
        assert grouper_cli(capsys, *inputs, *more, "-o", str(again))[0] == 0
        first, second = grouper.read_run(folder / "run"), grouper.read_run(again)
        assert first.manifest["outputs"] == second.manifest["outputs"]
        assert "H0001" in (folder / "report.md").read_text("utf-8")
    code, _, err = grouper_cli(capsys, "demo", "--cases", "10", "-o", str(tmp_path))
    assert code == 2
    assert "new folder" in err


def run_on_chile(policy: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    chile = shared("cases/chile_2023_recoded.csv.gz")
    words = ("run", str(chile), "--scheme", "chs-drg-1.1", "--policy", policy, "-o", str(folder))
    code, text, _ = grouper_cli(capsys, *words, "--json")
    assert code == 0
    found: dict[str, Any] = json.loads(text)
    return found


@pytest.mark.parametrize("policy", ["example-point", "example-rate"])
def test_real_discharges_are_grouped_and_paid_to_the_fen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], policy: str
) -> None:
    facts = run_on_chile(policy, tmp_path / "run", capsys)
    assert facts["cases"] == sum(facts["status"].values()) == 3505
    (proof,) = facts["proof"]
    cases: pa.Table = grouper.read_run(tmp_path / "run").tables["cases"]
    paid = pc.sum(cases["pay_fen"]).as_py()
    if policy == "example-point":
        assert paid == proof["fund_fen"]
    else:
        assert paid + proof["balance_fen"] == proof["fund_fen"]
        standards = pc.sum(cases["standard_fen"]).as_py()
        assert 0 < paid < standards  # no case is scaled: each is 0.75 of its standard
        each = [(s * 3 + 2) // 4 for s in cases["standard_fen"].to_pylist()]
        assert cases["pay_fen"].to_pylist() == each


def test_the_installed_command_answers() -> None:
    command = [sys.executable, "-m", "grouper.cli", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
    assert done.returncode == 0
    assert grouper.__version__ in done.stdout


def test_an_input_is_never_written_over(cases: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = cases.read_bytes()
    words = ("group", str(cases), "--scheme", "chs-drg-1.1", "-o", str(cases))
    code, _, err = grouper_cli(capsys, *words)
    assert code == 2
    assert "is an input" in err
    assert cases.read_bytes() == before


def test_an_earlier_result_is_replaced_only_on_request(
    cases: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = ("run", str(cases), "--scheme", "chs-drg-1.1", "--policy", "example-point")
    words = (*run, "-o", str(tmp_path / "run"))
    assert grouper_cli(capsys, *words)[0] == 0
    assert grouper_cli(capsys, *words)[0] == 2
    assert grouper_cli(capsys, *words, "--overwrite")[0] == 0
    demo = ("demo", "--cases", "500", "-o", str(tmp_path / "demo"))
    assert [grouper_cli(capsys, *demo, *more)[0] for more in ((), (), ("--overwrite",))] == [
        0,
        2,
        0,
    ]


def test_a_policy_that_adopts_another_edition_refuses_the_groups(
    cases: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    demo = ("demo", "--cases", "500", "-o", str(tmp_path / "demo"))
    assert grouper_cli(capsys, *demo)[0] == 0
    words = ("run", str(tmp_path / "demo" / "cases.parquet"), "--scheme", "chs-drg-1.1-qy")
    more = ("--policy", str(tmp_path / "demo" / "policy"), "-o", str(tmp_path / "run"))
    code, _, err = grouper_cli(capsys, *words, *more)
    assert code == 2
    assert "adopts chs-drg-1.1" in err


def test_explain_what_if(cases: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("explain", str(cases), "--case", "1", "--scheme", "chs-drg-1.1", "--lang", "en")
    code, text, _ = grouper_cli(capsys, *words)
    assert code == 0
    assert "Near misses" in text
    change = ("--what-if", "main_procedure=43.9901", "--what-if", "age=71")
    code, text, _ = grouper_cli(capsys, *words, *change, "--json")
    (told,) = json.loads(text)
    assert code == 0
    assert told["changes"] == ["main_procedure=43.9901", "age=71"]
    assert told["changed"]["group"] == [told["before"]["group"], told["after"]["group"]]
    page = tmp_path / "page.html"
    assert grouper_cli(capsys, *words, *change, "--html", str(page))[0] == 0
    assert page.read_text("utf-8").startswith("<!doctype html>")
    code, _, err = grouper_cli(capsys, *words, "--what-if", "colour=red")
    assert code == 2
    assert "no fact 'colour'" in err


def test_a_policy_chooses_the_edition_of_each_case(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    demo = tmp_path / "demo"
    assert grouper_cli(capsys, "demo", "--cases", "500", "-o", str(demo))[0] == 0
    policy = demo / "policy" / "policy.toml"
    text = policy.read_text("utf-8")
    assert text.count('by = "discharge"') == 1
    text = text.replace('by = "discharge"', 'by = "settlement"')
    later = (
        '\n[[scheme]]\nid = "chs-drg-1.1-qy"\nby = "settlement"\nfrom = 2025-07-01\nsource = "x"\n'
    )
    policy.write_text(text + later, "utf-8")
    cases, out = str(demo / "cases.parquet"), tmp_path / "grouped.parquet"
    for words in (
        ("group", cases, "--policy", str(policy.parent), "-o", str(out)),
        ("run", cases, "--policy", str(policy.parent), "-o", str(tmp_path / "run")),
    ):
        code, text, err = grouper_cli(capsys, *words, "--json")
        assert (code, err) == (0, "")
        editions = json.loads(text)["scheme"]["editions"]
        assert [e["id"] for e in editions] == ["chs-drg-1.1", "chs-drg-1.1-qy"]
        assert sum(e["cases"] for e in editions) == 500
        assert all(e["cases"] > 100 for e in editions)
    rows = pq.read_table(out).select(["settlement_date", "scheme"]).to_pylist()
    for row in rows:
        second = row["settlement_date"].month >= 7
        assert row["scheme"] == ("chs-drg-1.1-qy" if second else "chs-drg-1.1")
    code, _, err = grouper_cli(capsys, "group", cases)
    assert code == 2
    assert "name one, or a policy" in err


def test_row_groups_are_read_with_their_own_dictionaries(tmp_path: Path) -> None:
    table = pa.table(
        {
            "case_id": [str(k) for k in range(6)],
            "sex": [1] * 6,
            "age": [50] * 6,
            "diagnoses": pa.array([["K22.301"], ["E11.900"]] * 3).cast(
                pa.list_(pa.dictionary(pa.int32(), pa.string()))
            ),
            "procedures": pa.array([[]] * 6, pa.list_(pa.string())),
        }
    )
    pq.write_table(table, tmp_path / "cases.parquet", row_group_size=2)
    read = grouper.read_cases(tmp_path / "cases.parquet")
    assert len(read) == 6
    assert grouper.group(read, "chs-drg-1.1").counts()["rejected"] == 0


def test_a_folder_that_may_not_be_replaced_is_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("grouper._runs.group_files", lambda *a, **k: pytest.fail("it worked first"))
    monkeypatch.setattr("grouper.read_grouped", lambda *a, **k: pytest.fail("it worked first"))
    held = tmp_path / "held"
    held.mkdir()
    (held / "letter.txt").write_text("mine")
    words = ["--policy", "example-point", "-o", str(held)]
    for command in (["run", "cases.csv", "--scheme", "chs-drg-1.1"], ["settle", "g.parquet"]):
        said = CliRunner().invoke(cli.cli, [*command, *words])
        assert "not empty and no earlier run" in str(said.exception)
    assert [p.name for p in held.iterdir()] == ["letter.txt"]
