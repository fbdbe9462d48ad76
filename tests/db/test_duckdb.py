"""DuckDB reads a run as it is: the queries of docs/databases.md, held against the run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from shared import ROOT

import grouper
from grouper._demo import make

duckdb = pytest.importorskip("duckdb")
pytestmark = pytest.mark.big


def test_the_queries_of_the_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / "demo", 2_000, None, 1, "point", 1, "en")
    monkeypatch.chdir(tmp_path / "demo")
    text = (ROOT / "docs" / "databases.md").read_text("utf-8")
    hospitals, groups, closing = re.findall(r"```sql\n(.*?)```", text, re.DOTALL)
    cases = grouper.read_run("run").tables["cases"].to_pylist()

    def ask(query: str) -> list[tuple[Any, ...]]:
        return list(duckdb.sql(query).fetchall())

    found = {row[0]: row[1:] for row in ask(hospitals)}
    for hospital in {c["hospital_id"] for c in cases}:
        mine = [c for c in cases if c["hospital_id"] == hospital]
        n, cost, paid = found[hospital]
        assert n == len(mine)
        assert round(cost * 100) == sum(c["total_cost_fen"] for c in mine)
        assert round(paid * 100) == sum(c["pay_fen"] for c in mine)
    short: dict[str, int] = {}
    for c in cases:
        if c["status"] == "grouped":
            less = c["booked_fund_fen"] - c["pay_fen"]
            short[c["group"]] = short.get(c["group"], 0) + less
    wanted = sorted(short.values(), reverse=True)[:20]
    assert [round(row[3] * 100) for row in ask(groups)] == wanted
    assert ask(closing) == []
