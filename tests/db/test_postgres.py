"""Cases out of a PostgreSQL and results into it: the same as with files, once, or not at all."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pytest
from db.conftest import Postgres
from serving import MAIN

import grouper
from grouper._database import RUN, Address, is_database, quoted, write_tables
from grouper.errors import CaseFileError, CaseSchemaError
from grouper.testing import make_region

pytestmark = pytest.mark.big
SCHEME = "chs-drg-1.1"


@pytest.fixture(scope="module")
def cases(postgres: Postgres) -> pa.Table:
    found = make_region(3_000).cases
    assert write_tables({"": found}, postgres.address("table=cases"), "given") == {"cases": 3_000}
    return found


def run(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", MAIN, *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **env},
    )


def test_cases_of_a_table_and_of_a_query_group_as_those_of_a_file(
    postgres: Postgres, cases: pa.Table
) -> None:
    wanted = grouper.content_hash(grouper.group(cases, SCHEME).to_arrow())
    query = "query=SELECT *, total_cost_fen / 100.0 AS total_cost_yuan FROM cases ORDER BY random()"
    for asked in ("table=cases", "table=public.cases", query):
        read = grouper.read_cases(postgres.address(asked))
        assert grouper.content_hash(grouper.group(read, SCHEME).to_arrow()) == wanted
        assert RUN in read.ignored


def test_money_of_numeric_and_lists_of_texts_arrive_exactly(postgres: Postgres) -> None:
    query = (
        "query=SELECT 'a' AS case_id, 1 AS sex, 50::smallint AS age, 'I21.001|I10.x00' AS diagnoses, "
        "ARRAY[]::text[] AS procedures, 123456789.01::numeric(12,2) AS total_cost, "
        "DATE '2025-03-31' AS discharge_date, NULL::int AS age_days"
    )
    (row,) = grouper.read_cases(postgres.address(query)).table.to_pylist()
    assert row["total_cost_fen"] == 12_345_678_901
    assert row["diagnoses"] == ["I21.001", "I10.x00"]
    assert row["procedures"] == []
    assert str(row["discharge_date"]) == "2025-03-31"
    assert row["age_days"] is None


def test_the_same_run_is_there_once_and_others_stay(postgres: Postgres, cases: pa.Table) -> None:
    out = postgres.address("table=grouped")
    words = ("group", postgres.address("table=cases"), "--scheme", SCHEME, "-o", out, "--json")
    first, again = run(*words), run(*words)
    assert first.returncode == again.returncode == 0, first.stderr
    told = json.loads(first.stdout)
    assert json.loads(again.stdout)["run_id"] == told["run_id"]
    assert told["output"]["rows"] == {"grouped": 3_000}
    other = run(*words, "--run-id", "o'ther\"; DROP TABLE cases; --")
    assert other.returncode == 0, other.stderr
    counts = postgres.sql("SELECT run_id, count(*) FROM grouped GROUP BY run_id ORDER BY 2, 1")
    assert [n for _, n in counts] == [3_000, 3_000]
    assert postgres.sql("SELECT count(*) FROM cases") == [(3_000,)]
    wanted = grouper.group(cases, SCHEME).to_arrow(carry=True)
    held = postgres.sql(
        f"SELECT case_id, \"group\" FROM grouped WHERE run_id = '{told['run_id']}' ORDER BY 1"
    )
    pairs = zip(wanted["case_id"].to_pylist(), wanted["group"].to_pylist(), strict=True)
    assert held == sorted(pairs)
    sums = postgres.sql("SELECT sum(total_cost_fen) FROM grouped WHERE run_id <> 'x'")
    assert int(sums[0][0]) == 2 * sum(wanted["total_cost_fen"].to_pylist())  # type: ignore[call-overload]


def test_a_run_is_stored_and_verified(postgres: Postgres, cases: pa.Table, tmp_path: Path) -> None:
    demo = tmp_path / "demo"
    assert run("demo", "--cases", "500", "-o", str(demo)).returncode == 0
    made = grouper.read_cases(demo / "cases.parquet").table
    write_tables({"": made}, postgres.address("table=year"), "y")
    given = ("--policy", str(demo / "policy"), "--hospitals", str(demo / "hospitals.csv"))
    paid = run(
        *("run", postgres.address("table=year"), "--scheme", SCHEME, *given),
        *("-o", str(tmp_path / "run")),
    )
    assert paid.returncode == 0, paid.stderr
    manifest = (tmp_path / "run" / "manifest.json").read_text("utf-8")
    assert "s3cret-word" not in manifest + paid.stdout + paid.stderr
    assert json.loads(manifest)["made_from"]["cases"].startswith("postgresql://owner@")
    done = run("verify", str(tmp_path / "run"), PGPASSWORD="s3cret-word")
    assert done.returncode == 0, done.stdout + done.stderr
    stored = run("store", str(tmp_path / "run"), postgres.address("table=paid"), "--json")
    assert stored.returncode == 0, stored.stderr
    tables = grouper.read_run(tmp_path / "run").tables
    for name in ("cases", "hospitals", "pools"):
        (row,) = postgres.sql(f"SELECT count(*), sum(pay_fen)::bigint FROM paid_{name}")
        assert row == (tables[name].num_rows, sum(tables[name]["pay_fen"].to_pylist()))
    postgres.sql("UPDATE year SET total_cost_fen = total_cost_fen + 1 WHERE case_id LIKE '%7'")
    done = run("verify", str(tmp_path / "run"), PGPASSWORD="s3cret-word")
    assert done.returncode != 0
    assert "not the files that the run read" in done.stdout


@pytest.mark.promise("A killed run leaves the old result or the new one, never half of one")
def test_a_writer_that_is_killed_leaves_nothing(postgres: Postgres, tmp_path: Path) -> None:
    path = tmp_path / "many.parquet"
    grouper.write_table(make_region(60_000).cases, path)
    out = postgres.address("table=killed")
    words = [sys.executable, "-c", MAIN, "group", str(path), "--scheme", SCHEME, "-o", out]
    postgres.sql("CREATE TABLE IF NOT EXISTS marker (x int)")
    cut = 0
    for k in range(12):
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        writing = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'COPY%killed%'"
        end = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < end:
            if postgres.sql(writing)[0][0]:
                time.sleep(0.01 * k)
                break
            time.sleep(0.005)
        cut += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait(30)
        if cut >= 3:
            break
    assert cut >= 1
    there = postgres.sql("SELECT count(*) FROM pg_tables WHERE tablename = 'killed'")[0][0]
    held = postgres.sql("SELECT count(*) FROM killed")[0][0] if there else 0
    assert held in (0, 60_000)
    assert subprocess.run(words, stdout=subprocess.DEVNULL, check=False).returncode == 0
    assert postgres.sql("SELECT count(*), count(DISTINCT case_id) FROM killed") == [
        (60_000, 60_000)
    ]


def test_two_writers_of_one_run_leave_it_once(postgres: Postgres, cases: pa.Table) -> None:
    postgres.sql("DROP TABLE IF EXISTS twice")
    write_tables({"": cases.slice(0, 1)}, postgres.address("table=twice"), "first")
    code = (
        "import sys; from grouper._database import write_tables; from grouper.testing import make_region;"
        f"write_tables({{'': make_region(3000).cases}}, {postgres.address('table=twice')!r}, 'same')"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    assert [w.wait(120) for w in writers] == [0, 0]
    counts = postgres.sql("SELECT run_id, count(*) FROM twice GROUP BY 1 ORDER BY 1")
    assert counts == [("first", 1), ("same", 3_000)]


def test_refusals_say_where_and_what_and_never_the_password(
    postgres: Postgres, cases: pa.Table
) -> None:
    good = postgres.address("table=cases")
    for address, words in (
        (good.replace("s3cret-word", "wr0ng-word"), "password authentication failed"),
        (postgres.address("table=nothing"), "nothing"),
        (postgres.address("query=SELEC 1"), "syntax error"),
        (postgres.address("query=DELETE FROM cases RETURNING *"), "read-only transaction"),
        (postgres.address(""), "name a table"),
        (postgres.address("table=a&query=b"), "name a table"),
        (good.replace(str(postgres.port), "1"), "refused"),
    ):
        with pytest.raises(CaseFileError, match=words) as e:
            grouper.read_cases(address)
        assert "s3cret-word" not in str(e.value)
        assert "wr0ng-word" not in str(e.value)
        assert "postgresql://owner@127.0.0.1" in str(e.value)
    with pytest.raises(CaseSchemaError, match="required column 'diagnoses' is missing"):
        grouper.read_cases(postgres.address("query=SELECT case_id, sex, age FROM cases"))
    postgres.sql("CREATE TABLE IF NOT EXISTS narrow (run_id text, case_id text)")
    postgres.sql("INSERT INTO narrow VALUES ('r', 'kept')")
    with pytest.raises(CaseFileError, match="table narrow has no column hospital_id"):
        write_tables({"": cases}, postgres.address("table=narrow"), "r")
    assert postgres.sql("SELECT case_id FROM narrow") == [("kept",)]
    refused = run("group", good, "--scheme", SCHEME, "-o", good)
    assert refused.returncode == 2
    assert "name another table" in refused.stderr
    calibrated = run("calibrate", good, "--method", "dip", "-o", "nowhere")
    assert calibrated.returncode == 2
    assert "write its cases to one first" in calibrated.stderr
    assert "s3cret" not in calibrated.stderr + refused.stderr


def test_names_are_quoted(postgres: Postgres) -> None:
    table = pa.table({"case_id": ["1"], 'o"dd; --': [1], "a.b": [2]})
    name = 'we"ird; DROP TABLE cases; --'
    address = postgres.address("table=x")
    address = address.replace("table=x", "table=" + name.replace('"', "%22").replace(";", "%3B"))
    assert write_tables({"": table}, address, "r") == {name: 1}
    assert postgres.sql(f"SELECT case_id FROM {quoted(name)}") == [("1",)]


def test_an_address_is_told_without_its_password() -> None:
    for text, shown in (
        ("postgresql://u:pw@h:1/d?table=t", "postgresql://u@h:1/d?table=t"),
        (
            "postgres://h/d?password=pw&table=t&sslmode=require",
            "postgresql://h/d?sslmode=require&table=t",
        ),
        ("postgresql://u%40x:p%40w@h/d?table=s.t", "postgresql://u%40x@h/d?table=s.t"),
    ):
        found = Address.of(text)
        assert found.shown == shown
        assert Address.of(found.shown).shown == shown
        assert is_database(text)
    assert not is_database("postgresql.csv")
    with pytest.raises(CaseFileError, match=r"nothing\.db: is no address of a database"):
        Address.of("nothing.db")
    assert not is_database(Path("postgresql://x"))
