"""A run is verified: whole it passes wherever it lies; every kind of change is found and named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import grouper
from grouper import _runs
from grouper._demo import make
from grouper._row_proof import prove_rows
from grouper._verify import Sources
from grouper.errors import CaseFileError, ConservationError


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A demo region-year of 1,500 cases."""
    folder = tmp_path_factory.mktemp("made") / "year"
    make(folder, 1500, None, 3, "point", None, "en")
    return folder


@pytest.fixture
def year(made: Path, tmp_path: Path) -> Path:
    """A copy of it elsewhere."""
    shutil.copytree(made, tmp_path / "moved")
    return tmp_path / "moved"


def failed(found: grouper.Verification) -> dict[str, str]:
    return {c["check"]: c["found"] for c in found.checks if c["passed"] is False}


def manifest(run: Path) -> dict[str, Any]:
    text = (run / "manifest.json").read_text("utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


@pytest.mark.promise(
    "A run can be verified: hashes, sums, made again, a sample by the plain reader"
)
def test_a_whole_run_passes_wherever_it_lies(year: Path) -> None:
    found = grouper.verify_run(year / "run", sample=150, threads=1)
    assert failed(found) == {}
    assert found.passed
    done = {c["check"] for c in found.checks if c["passed"]}
    assert {"content hash", "rows", "money", "inputs", "scheme", "policy", "made again"} <= done
    assert next(c for c in found.checks if c["check"] == "sample")["found"].startswith("150 cases")


def change_table(name: str) -> Callable[[Path], None]:
    def change(year: Path) -> None:
        path = year / "run" / f"{name}.parquet"
        table = pq.read_table(path)
        at = table.column_names.index("pay_fen")
        one_more = pa.chunked_array([pa.array([v + 1 for v in table["pay_fen"].to_pylist()])])
        pq.write_table(table.set_column(at, "pay_fen", one_more), path)

    return change


def change_manifest(*keys: Any, value: Any) -> Callable[[Path], None]:
    def change(year: Path) -> None:
        found = at = manifest(year / "run")
        for key in keys[:-1]:
            at = at[key]
        at[keys[-1]] = value
        (year / "run" / "manifest.json").write_text(json.dumps(found), "utf-8")

    return change


def add_case(year: Path) -> None:
    path = year / "cases.parquet"
    table = pq.read_table(path)
    pq.write_table(table.slice(0, 1499), path)


def change_policy(year: Path) -> None:
    path = year / "policy" / "policy.toml"
    path.write_text(path.read_text("utf-8").replace("share = 0.02", "share = 0.03"), "utf-8")


def change_hospitals(year: Path) -> None:
    path = year / "hospitals.csv"
    path.write_text(path.read_text("utf-8") + "\n", "utf-8")


@pytest.mark.promise("A run that was changed is not believed")
@pytest.mark.parametrize(
    ("change", "where"),
    [
        (change_table("cases"), "cases.parquet"),
        (change_table("pools"), "money of pools"),
        (change_table("hospitals"), "money of hospitals"),
        (lambda y: (y / "run" / "months.parquet").unlink(), "months.parquet"),
        (change_manifest("cases", value=1501), "content hash"),
        (change_manifest("proof", 0, "fund_fen", value=1), "money"),
        (change_manifest("rows", "by_month", 0, "grouped", value=1), "rows"),
        (change_manifest("policy", "fingerprint", value="0"), "policy"),
        (change_manifest("outputs", "cases", value="0"), "cases made again"),
        (add_case, "inputs"),
        (change_hospitals, "inputs"),
        (change_policy, "made again"),
    ],
)
def test_every_change_is_found(change: Callable[[Path], None], where: str, year: Path) -> None:
    change(year)
    assert where in failed(grouper.verify_run(year / "run"))


@pytest.mark.parametrize("name", ["", "rum"])
def test_where_no_run_is_the_runs_near_are_told(name: str, year: Path) -> None:
    with pytest.raises(CaseFileError, match=r"no run is there.*there are the runs run"):
        grouper.verify_run(year / name)


def test_a_file_that_is_no_longer_parquet_is_refused(year: Path) -> None:
    (year / "run" / "cases.parquet").write_bytes(b"PAR1")
    with pytest.raises(CaseFileError, match=r"cases\.parquet"):
        grouper.verify_run(year / "run")


@pytest.mark.promise("A published run is frozen")
def test_a_published_run_has_its_seal_and_sign_offs(year: Path) -> None:
    grouper.publish_run(year / "run", checked="张", approved="李", published="王")
    found = grouper.verify_run(year / "run", again=False)
    assert found.passed
    seal = next(c for c in found.checks if c["check"] == "seal and sign-offs")
    assert seal["found"] == "approved 李, checked 张, published 王"
    change_manifest("run", "sign_off", "checked", "name", value="赵")(year)
    assert set(failed(grouper.verify_run(year / "run", again=False))) == {"seal and sign-offs"}


def test_sources_that_moved_are_named(year: Path, tmp_path: Path) -> None:
    (year / "cases.parquet").rename(tmp_path / "elsewhere.parquet")
    lost = grouper.verify_run(year / "run")
    check = next(c for c in lost.checks if c["check"] == "inputs")
    assert check["passed"] is None
    assert "say where they are" in check["found"]
    found = grouper.verify_run(year / "run", Sources(cases=str(tmp_path / "elsewhere.parquet")))
    assert found.passed
    assert found.checks[-1]["check"] == "made again"


def pay(cases: Path, year: Path, output: Path, **settings: Any) -> dict[str, Any]:
    grouped, facts = _runs.group_files(str(cases), "chs-drg-1.1", threads=settings.get("threads"))
    hospitals = str(year / "hospitals.csv")
    order = _runs.Order(str(year / "policy"), hospitals, period=settings.get("period"))
    origin = _runs.Origin(str(cases), ("chs-drg-1.1",))
    return _runs.pay(grouped, order, output, facts, origin=origin)


@pytest.mark.promise("Batch, single case, threads, chunks, row order: the same bytes")
def test_form_order_row_groups_and_threads_give_the_same_content_hash(
    year: Path, tmp_path: Path
) -> None:
    then = manifest(year / "run")["content_hash"]
    cases = pq.read_table(year / "cases.parquet")
    back = cases.take(pa.array(range(len(cases) - 1, -1, -1)))
    pq.write_table(back, tmp_path / "small.parquet", row_group_size=100)
    grouper.write_table(cases, tmp_path / "cases.csv")
    split = tmp_path / "split"
    split.mkdir()
    pq.write_table(cases.slice(0, 700), split / "a.parquet")
    pq.write_table(cases.slice(700), split / "b.parquet")
    for k, source in enumerate((tmp_path / "small.parquet", tmp_path / "cases.csv", split)):
        run = tmp_path / f"run-{k}"
        assert pay(source, year, run, threads=1 + k)["content_hash"] == then
        assert grouper.verify_run(run).passed
    rows = manifest(tmp_path / "run-2")["rows"]
    assert [(r["file"], r["input"]) for r in rows["by_file"]] == [
        ("a.parquet", 700),
        ("b.parquet", 800),
    ]


def test_a_run_from_grouped_cases_is_verified(year: Path, tmp_path: Path) -> None:
    grouped, _ = _runs.group_files(str(year / "cases.parquet"), "chs-drg-1.1")
    path = tmp_path / "grouped.parquet"
    grouper.write_table(grouped.to_arrow(carry=True), path)
    order = _runs.Order(str(year / "policy"), str(year / "hospitals.csv"))
    known = {"inputs": [_runs.about_file(path)]}
    origin = _runs.Origin(str(path), is_grouped=True)
    _runs.pay(grouper.read_grouped(path), order, tmp_path / "run", known, origin=origin)
    found = grouper.verify_run(tmp_path / "run", sample=5)
    assert found.passed
    assert {c["check"]: c["passed"] for c in found.checks}["sample"] is None


def test_a_month_on_earlier_runs_is_verified(year: Path, tmp_path: Path) -> None:
    pay(year / "cases.parquet", year, tmp_path / "m1", period="2025-01")
    assert grouper.verify_run(tmp_path / "m1").passed


@pytest.mark.promise(
    "Input rows = grouped + ambiguous + ungrouped + rejected, by file, hospital and month"
)
def long_tables(cases: pa.Table, folder: Path) -> Path:
    """Write cases as the official long tables, and a file beside them that is none."""
    folder.mkdir()
    rows = cases.to_pylist()
    heads = [
        {
            **{
                "setl_id": r["case_id"],
                "gend": r["sex"],
                "age": r["age"],
                "nwb_age": r["age_days"],
            },
            **{"fixmedins_code": r["hospital_id"], "insutype": r["insurance"]},
            **{"setl_time": r["settlement_date"], "medfee_sumamt": r["total_cost_fen"] / 100},
            **{"fund_pay_sumamt": r["fund_paid_fen"] / 100, "hi_setl_lv": r["hospital_level"]},
        }
        for r in rows
    ]
    dx = [
        {"setl_id": r["case_id"], "diag_code": c, "maindiag_flag": int(k == 0)}
        for r in rows
        for k, c in enumerate(r["diagnoses"])
    ]
    px = [{"setl_id": r["case_id"], "oprn_oprt_code": c} for r in rows for c in r["procedures"]]
    for name, table in (("setlinfo", heads), ("diseinfo", dx), ("oprninfo", px)):
        grouper.write_table(pa.Table.from_pylist(table), folder / f"{name}.csv")
    grouper.write_table(pa.table({"setl_id": ["x"], "fund_payamt": [1]}), folder / "payinfo.csv")
    (folder / "notes.csv").write_text("of no matter\n")
    return folder


def test_a_run_of_long_tables_is_verified(year: Path, tmp_path: Path) -> None:
    folder = long_tables(pq.read_table(year / "cases.parquet").slice(0, 300), tmp_path / "lists")
    pay(folder, year, tmp_path / "run")
    found = grouper.verify_run(tmp_path / "run")
    assert failed(found) == {}
    assert next(c["found"] for c in found.checks if c["check"] == "inputs").startswith("5 files")
    (folder / "notes.csv").write_text("still of no matter\n")
    assert grouper.verify_run(tmp_path / "run").passed
    (folder / "payinfo.csv").write_text("setl_id,fund_payamt\nx,2\n")
    assert failed(grouper.verify_run(tmp_path / "run"))["inputs"].endswith("payinfo.csv")


def test_rows_are_proved_by_file_hospital_and_month() -> None:
    cases = pa.table(
        {
            "case_id": ["a", "b", "b", "d"],
            "hospital_id": ["H", None, "H", "G"],
            "sex": [1, 1, 1, 1],
            "age": [40, 40, 40, 40],
            "settlement_date": pa.array([None, "2025-01-31", "2025-02-01", "2025-02-02"]).cast(
                pa.date32()
            ),
            "diagnoses": [["I10.x00"], ["I10.x00"], ["I10.x00"], ["nothing"]],
            "procedures": pa.array([[], [], [], []], pa.list_(pa.string())),
        }
    )
    grouped = grouper.group(cases, "chs-drg-1.1")
    files = [grouper.io.FileRead("x", 1, "", 3), grouper.io.FileRead("y", 1, "", 1)]
    proof = prove_rows(cases, grouped, files)
    assert (proof["input"], proof["rejected"]) == (4, 3)
    assert [(r["file"], r["input"], r["rejected"]) for r in proof["by_file"]] == [
        ("x", 3, 2),
        ("y", 1, 1),
    ]
    assert [(r["hospital"], r["input"]) for r in proof["by_hospital"]] == [
        ("", 1),
        ("G", 1),
        ("H", 2),
    ]
    assert [(r["month"], r["input"]) for r in proof["by_month"]] == [
        ("", 1),
        ("2025-01", 1),
        ("2025-02", 2),
    ]
    with pytest.raises(ConservationError, match="the files hold 3 rows, 4 have a status"):
        prove_rows(cases, grouped, files[:1])
    with pytest.raises(ConservationError, match="3 rows read, 4 have a status"):
        prove_rows(cases.slice(0, 3), grouped, files)
