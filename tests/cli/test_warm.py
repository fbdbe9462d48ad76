"""grouper warm: afterwards nothing compiles; a cache that cannot be kept is told, with the cure."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import grouper
from grouper import _warm
from grouper.errors import CacheError
from grouper.kernels import _jit
from grouper.testing import make_region

COMMAND = [sys.executable, "-m", "grouper.cli"]
WITH_JIT = os.environ.get("NUMBA_DISABLE_JIT", "0") != "1"


def called(*args: str, **env: str) -> subprocess.CompletedProcess[str]:
    given = {**os.environ, **env}
    return subprocess.run([*COMMAND, *args], capture_output=True, text=True, check=False, env=given)


def kept(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.big
@pytest.mark.promise("After `grouper warm` nothing compiles")
def test_after_it_nothing_compiles(tmp_path: Path) -> None:
    """From empty caches; then every way of grouping, paying, checking and calibrating, in new processes."""
    places = {"NUMBA_CACHE_DIR": tmp_path / "kernels", "GROUPER_CACHE_DIR": tmp_path / "tables"}
    env = {name: str(place) for name, place in places.items()}
    done = called("warm", "--json", **env)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["compiled"] == facts["kernels"] == len(_warm.kernels()) > 15
    assert facts["schemes"] == len(grouper.scheme_ids())
    before = [kept(place) for place in places.values()]
    assert all(before)
    region = make_region(200, seed=3)
    grouper.write_table(region.cases, tmp_path / "cases.parquet")
    grouper.write_table(region.cases, tmp_path / "cases.csv")
    for name in ("cases.parquet", "cases.csv"):
        cases = str(tmp_path / name)
        for args in (
            ("group", cases, "--scheme", "chs-drg-1.1", "--codes", "clinical"),
            ("group", cases, "--scheme", "dip-demo"),
            *(
                ("run", cases, "--scheme", "chs-drg-1.1", "--policy", p, "-o", f"{cases}-{p}")
                for p in ("example-point", "example-rate")
            ),
            ("check", cases, "--scheme", "chs-drg-1.1"),
            ("calibrate", cases, "--method", "dip", "--base", "dip-demo", "-o", f"{cases}-scored"),
        ):
            done = called(*args, **env)
            assert done.returncode == 0, done.stderr
    assert [kept(place) for place in places.values()] == before
    again = json.loads(called("warm", "--json", **env).stdout)
    assert again["compiled"] == 0


@pytest.mark.skipif(not WITH_JIT, reason="the JIT is off: nothing is compiled")
def test_every_kernel_is_known_and_none_is_a_helper() -> None:
    from grouper.kernels import calibrate, codes, dip, drg, payment, quality

    found = _warm.kernels()
    for module in (calibrate, codes, dip, drg, payment, quality):
        assert any(vars(module).get(name) is kernel for name, kernel in found.items())
    assert {"group_drg", "group_dip", "price", "first_in_case", "encode_strings"} <= found.keys()


def test_a_place_that_cannot_be_written_is_told_with_the_cure(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file", "utf-8")
    done = called("warm", GROUPER_CACHE_DIR=str(tmp_path / "file" / "cache"))
    assert done.returncode == 2
    assert "[E320]" in done.stderr
    assert "cannot be written" in done.stderr
    assert "GROUPER_CACHE_DIR" in done.stderr


def test_no_cache_is_told_with_the_cure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    nowhere = SimpleNamespace(_cache=SimpleNamespace(cache_path=None))
    with pytest.raises(CacheError, match="NUMBA_CACHE_DIR"):
        _warm._places([nowhere])
    somewhere = SimpleNamespace(_cache=SimpleNamespace(cache_path=str(tmp_path)))
    monkeypatch.setenv("GROUPER_CACHE", "0")
    with pytest.raises(CacheError, match="GROUPER_CACHE_DIR"):
        _warm._places([somewhere])
    monkeypatch.setattr(_jit, "CACHE", False)
    with pytest.raises(CacheError, match="GROUPER_NUMBA_CACHE=0"):
        _warm._places([somewhere])
