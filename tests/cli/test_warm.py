"""Warm: afterwards no run compiles anything; a cache that cannot be kept is told, with the cure."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numba
import pytest
from serving import MAIN

import grouper
from grouper import _warm
from grouper.errors import CacheError
from grouper.kernels import _jit
from grouper.testing import make_region


def called(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", MAIN, *words],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
    )


def kept(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.big
@pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="nothing compiles without the JIT")
@pytest.mark.promise("After `grouper warm` nothing compiles")
def test_what_is_warm_compiles_no_more(tmp_path: Path) -> None:
    """From empty caches; then grouping, paying, checking, calibrating, each a process of its own."""
    places = {"NUMBA_CACHE_DIR": tmp_path / "kernels", "GROUPER_CACHE_DIR": tmp_path / "tables"}
    for place in places.values():
        place.mkdir(mode=0o700)
    env = {name: str(place) for name, place in places.items()}

    def run(*words: str) -> str:
        done = called(*words, **env)
        assert done.returncode == 0, done.stderr
        return done.stdout

    said = json.loads(run("warm", "--json"))
    assert said["missing"] == []
    assert said["kernels"] > 15
    assert said["places"][-1] == str(places["GROUPER_CACHE_DIR"])
    before = [kept(place) for place in places.values()]
    assert all(before)
    grouper.write_table(make_region(200, seed=3).cases, tmp_path / "cases.csv")
    cases = str(tmp_path / "cases.csv")
    run("demo", "--cases", "500", "-o", str(tmp_path / "a"))
    run("demo", "--method", "dip", "--cases", "500", "-o", str(tmp_path / "b"))
    run("group", cases, "--scheme", "chs-drg-1.1", "--codes", "clinical")
    run("check", cases, "--scheme", "chs-drg-1.1", "--json")
    run("calibrate", cases, "--method", "dip", "--base", "dip-demo", "-o", str(tmp_path / "c"))
    assert [kept(place) for place in places.values()] == before
    assert json.loads(run("warm", "--json"))["seconds"] < said["seconds"]


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
