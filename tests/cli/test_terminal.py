"""Colours are for a terminal (progress: test_manners); what Ctrl-C leaves of a file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from serving import MAIN

import grouper
from grouper.testing import make_region

pty = pytest.importorskip("pty", reason="a terminal of this kind is a POSIX one")
pytestmark = pytest.mark.big
SCHEME = "chs-drg-1.1"


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("many") / "cases.parquet"
    grouper.write_table(make_region(400_000).cases, path)
    return path


def at_terminal(*words: str, **env: str) -> str:
    """Run a command whose stderr is a terminal; return what it showed there."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", MAIN, *words],
        stdout=subprocess.DEVNULL,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100", **env},
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            piece = os.read(ours, 4096)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        shown += piece
    os.close(ours)
    process.wait(60)
    return shown.decode()


def test_colours_are_for_terminals_without_no_color(tmp_path: Path) -> None:
    words = ("group", str(tmp_path / "nothing.csv"), "--scheme", SCHEME)
    assert "\x1b[31mgrouper: " in at_terminal(*words)
    assert "\x1b[31m" not in at_terminal(*words, NO_COLOR="1")
    done = subprocess.run(
        [sys.executable, "-c", MAIN, *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("grouper: ")


@pytest.mark.promise("A killed run leaves the old result or the new one, never half of one")
@pytest.mark.parametrize("wait", [0.8, 1.5, 2.2, 3.0])
def test_ctrl_c_leaves_nothing_half_written(many: Path, tmp_path: Path, wait: float) -> None:
    out = tmp_path / "out.csv"
    out.write_text("the old result")
    process = subprocess.Popen(
        [sys.executable, "-c", MAIN, "group", str(many), "--scheme", SCHEME, "-o", str(out)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    time.sleep(wait)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[1]
    assert [p.name for p in tmp_path.iterdir()] == ["out.csv"]
    if process.returncode == 0:  # it was done before
        assert out.stat().st_size > 1_000_000
        return
    assert out.read_text() == "the old result"
    assert "Traceback" not in said or process.returncode == -signal.SIGINT
    assert process.returncode in (130, -signal.SIGINT)
