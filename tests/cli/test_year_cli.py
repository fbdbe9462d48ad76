"""The year from the command line: months, publishing, clearing, statements, audit, reconcile."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from python_calamine import CalamineWorkbook

import grouper

from .test_cli import grouper_cli

Run = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def region(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A synthetic region of the first two months, grouped, beside its policy and hospitals."""
    from grouper import _demo
    from grouper.testing import make_region

    folder = tmp_path_factory.mktemp("region")
    made = make_region(1500, hospitals=5, seed=4)
    _demo.write_inputs(made, folder, "chs-drg-1.1", "point")
    table = grouper.group(made.cases, "chs-drg-1.1").to_arrow(carry=True)
    early = pc.less(pc.month(table["settlement_date"]), 3)
    grouper.write_table(table.filter(early), folder / "grouped.parquet")
    return folder


@pytest.fixture
def run(region: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*words: str, code: int = 0) -> dict[str, Any]:
        found, out, err = grouper_cli(capsys, *words)
        assert found == code, err
        return dict(json.loads(out)) if code == 0 else {"err": err}

    return call


def settle_words(region: Path, *more: str) -> tuple[str, ...]:
    policy, hospitals = str(region / "policy"), str(region / "hospitals.csv")
    grouped = str(region / "grouped.parquet")
    return ("settle", grouped, "--policy", policy, "--hospitals", hospitals, "--json", *more)


def test_a_year_in_steps(region: Path, run: Run, tmp_path: Path) -> None:
    one, two, year = (str(tmp_path / n) for n in ("one", "two", "year"))
    cases = pq.read_table(region / "grouped.parquet")
    case = cases["case_id"][0].as_py()
    hospital = cases["hospital_id"][0].as_py()
    ledger = tmp_path / "ledger.csv"
    ledger.write_text(
        "entry_id,kind,pool_id,hospital_id,case_id,settlement_month,amount,value,outcome,reason,"
        "reference,entered_by,entered_on\n"
        f"1,special_case,,,{case},,,1250.5,score,评审,纪要3号,张,2025-03-20\n"
        f"2,deduction,employee,{hospital},,2025-02,-120.50,,,违规,通知7号,李,2025-02-25\n",
        encoding="utf-8",
    )
    made = run(*settle_words(region, "--period", "2025-01", "-o", one))
    assert made["run"] == {"kind": "month", "period": "2025-01", "status": "draft"}
    err = run(*settle_words(region, "--period", "2025-02", "--prior", one, "-o", two), code=2)[
        "err"
    ]
    assert "draft" in err
    signs = ("--checked", "张", "--approved", "李", "--published", "王", "--on", "2025-02-20")
    assert run("publish", one, *signs, "--json")["checked"] == {"name": "张", "on": "2025-02-20"}
    again = run(*settle_words(region, "--period", "2025-01", "-o", one, "--overwrite"), code=2)
    assert "published run" in again["err"]
    more = ("--ledger", str(ledger), "--prior", one)
    run(*settle_words(region, *more, "--period", "2025-02", "-o", two))
    run("publish", two, *signs, "--json")
    papers = ("--statements", "--audit", str(tmp_path / "first.xlsx"))
    made = run(*settle_words(region, *more, "--prior", two, "-o", year, *papers))
    assert made["statements"] == 10
    assert made["audit"]["ties"]
    manifest = json.loads((Path(year) / "manifest.json").read_text("utf-8"))
    assert manifest["run"]["frozen"] == ["2025-01", "2025-02"]
    assert [f["name"] for f in manifest["also_read"]] == [
        "hospitals.csv",
        "ledger.csv",
        "one",
        "two",
    ]
    tables = grouper.read_run(year).tables
    mine = tables["hospitals"].filter(pc.equal(tables["hospitals"]["hospital_id"], hospital))
    assert pc.sum(mine["deduction_fen"]).as_py() == -12_050
    decided = tables["cases"].filter(pc.equal(tables["cases"]["case_id"], case))
    assert [str(x) for x in decided["final_score"].to_pylist()] == ["1250.5000"]

    facts = run("statements", year, "--json")
    assert facts["statements"] == len(list((Path(year) / "statements").glob("H*.*")))
    written = tmp_path / "audit.xlsx"
    run("audit", year, "--policy", str(region / "policy"), "-o", str(written), "--json")
    assert len(CalamineWorkbook.from_path(written).sheet_names) >= 8
    bureau = tables["cases"].select(["case_id", "group", "final_score", "pay_fen"])
    theirs = pa.table(
        {
            "结算流水号": bureau["case_id"],
            "病种编码": bureau["group"].cast(pa.string()),
            "支付额": [f"{fen // 100}.{fen % 100:02}" for fen in bureau["pay_fen"].to_pylist()],
        }
    )
    grouper.write_table(theirs, tmp_path / "bureau.csv")
    report = run("reconcile", year, str(tmp_path / "bureau.csv"), "--json")
    assert report["counts"]["equal"] == report["counts"]["both"] == cases.num_rows


def test_the_schema_of_policies_is_printed_or_written(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    schema = run("tables", "schema")
    assert schema["properties"]["year"]
    out = tmp_path / "schema.json"
    assert grouper_cli(capsys, "tables", "schema", "-o", str(out)) == (0, "", "")
    assert json.loads(out.read_text("utf-8")) == schema


SIGNS = ("--checked", "a", "--approved", "b", "--published", "c")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("settle", "{grouped}", "--policy", "example-point", "--period", "2025-01"), "has no [year]"),
        (("settle", "{grouped}", "--policy", "{policy}", "--ledger", "{nothing}"), "no such file"),
        (("settle", "{grouped}", "--policy", "{policy}", "--prior", "{nothing}"), "no run is there"),
        (("statements", "{nothing}"), "no run is there"),
        (("audit", "{nothing}"), "no run is there"),
        (("reconcile", "{nothing}", "{grouped}"), "no run is there"),
        (("publish", "{nothing}", *SIGNS), "no run is there"),
        (("publish", "{nothing}", *SIGNS, "--on", "soon"), "is no day"),
    ],
)  # fmt: skip
def test_what_is_not_there_is_refused(
    words: tuple[str, ...],
    message: str,
    region: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    names = {
        "grouped": str(region / "grouped.parquet"),
        "policy": str(region / "policy"),
        "nothing": str(tmp_path / "nothing"),
    }
    output = () if words[0] == "publish" else ("-o", str(tmp_path / "out.xlsx"))
    code, _, err = grouper_cli(capsys, *(w.format(**names) for w in words), *output)
    assert code == 2
    assert message in err
    assert not any(tmp_path.iterdir())
