"""Warm: afterwards no run compiles anything."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numba
import pytest
from serving import MAIN

pytestmark = [
    pytest.mark.big,
    pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="nothing compiles without the JIT"),
]


def run(cache: Path, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", MAIN, *words],
        env={**os.environ, "NUMBA_CACHE_DIR": str(cache)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_is_warm_compiles_no_more(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir(mode=0o700)
    said = json.loads(run(cache, "warm", "--json"))
    assert said["missing"] == []
    assert said["kernels"] > 15
    assert said["kept"]
    files = {p: p.stat().st_mtime_ns for p in cache.rglob("*") if p.is_file()}
    assert files
    again = json.loads(run(cache, "warm", "--json"))
    assert again["seconds"] < said["seconds"]
    run(cache, "demo", "--cases", "500", "-o", str(tmp_path / "a"))
    run(cache, "demo", "--method", "dip", "--cases", "500", "-o", str(tmp_path / "b"))
    run(cache, "check", str(tmp_path / "a" / "cases.parquet"), "--json")
    assert {p: p.stat().st_mtime_ns for p in cache.rglob("*") if p.is_file()} == files
