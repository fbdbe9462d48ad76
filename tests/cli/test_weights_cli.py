"""`calibrate --method drg`: what it writes and says, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import grouper
from grouper.cli import cli
from grouper.testing import make_region


def called(*args: str | Path) -> Result:
    return CliRunner().invoke(cli, [str(a) for a in args])


@pytest.fixture
def cases(tmp_path: Path) -> Path:
    place = tmp_path / "cases.parquet"
    grouper.write_table(make_region(2000, seed=2).cases, place)
    return place


def test_weights_are_written_and_said(cases: Path, tmp_path: Path) -> None:
    how = ("calibrate", cases, "--method", "drg", "--base", "chs-drg-1.1")
    first = called(*how, "-o", tmp_path / "w", "--json")
    assert first.exit_code == 0, first.output
    told = json.loads(first.stdout)
    found = grouper.calibrate(cases, "drg", base="chs-drg-1.1")
    assert told["weight_total"] == found.report["weight_total"]
    held = {p.name for p in (tmp_path / "w").iterdir()}
    assert held == {"weights.csv", "adrgs.csv", "levels.csv", "report.json"}
    lines = (tmp_path / "w" / "weights.csv").read_text("utf-8").splitlines()
    assert len(lines) == 1 + found.weights.num_rows
    again = called(*how, "-o", tmp_path / "v", "--previous", tmp_path / "w" / "weights.csv")
    assert again.exit_code == 0, again.output
    assert "changes" in again.output


def test_refusals_come_first_and_leave_nothing(cases: Path, tmp_path: Path) -> None:
    no_scheme = called("calibrate", cases, "--method", "drg", "-o", tmp_path / "w")
    assert no_scheme.exit_code == 2
    assert "--base" in no_scheme.output
    (tmp_path / "held").mkdir()
    (tmp_path / "held" / "letter.txt").write_text("dear")
    how = ("calibrate", cases, "--method", "drg", "--base", "chs-drg-1.1")
    held = called(*how, "-o", tmp_path / "held", "--overwrite")
    assert isinstance(held.exception, grouper.CaseFileError)
    assert (tmp_path / "held" / "letter.txt").exists()
    assert not (tmp_path / "w").exists()
