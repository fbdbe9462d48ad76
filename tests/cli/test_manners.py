"""The manners of the command line: examples, nearest names, early refusals, languages, progress, Ctrl-C."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from contracts.test_commands import COMMANDS
from serving import MAIN

import grouper
from grouper import _messages
from grouper.cli import cli
from grouper.errors import SchemeNotFound
from grouper.io import read_run
from grouper.testing import make_region

POSIX = pytest.mark.skipif(os.name == "nt", reason="pseudo-terminals and signals of POSIX")


def called(*words: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
    given = {k: v for k, v in os.environ.items() if not k.startswith(("LC_", "LANG"))}
    return subprocess.run(
        [sys.executable, "-c", MAIN, *map(str, words)],
        env={**given, "PYTHONUTF8": "1", **env},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("manners") / "cases.parquet"
    grouper.write_table(make_region(400, seed=5).cases, path)
    return path


# ---------------------------------------------------------------------------------------- contracts


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_help_has_examples_that_parse(name: str) -> None:
    text = CliRunner().invoke(cli, [*name.split(), "--help"]).output.replace("\\\n", " ")
    examples = [x.strip() for x in text.splitlines() if x.strip().startswith("grouper ")]
    assert any(x.startswith(f"grouper {name}") for x in examples), text
    for example in examples:
        words = shlex.split(re.split(r"\s[<>|]\s", example)[0], comments=True)[1:]
        group: click.Command = cli
        context = click.Context(cli)
        while isinstance(group, click.Group):
            _, found, words = group.resolve_command(context, words)
            assert found is not None, example
            group = found
        assert group is COMMANDS[name] or example not in text.split("Options:")[0]
        group.make_context(name, list(words), parent=context)


# ------------------------------------------------------------------------------------- nearest names


def test_wrong_names_are_answered_with_the_nearest(cases: Path, tmp_path: Path) -> None:
    assert "Did you mean 'group'?" in called("grup").stderr
    assert "Did you mean '--scheme'?" in called("group", cases, "--shceme", "x").stderr
    assert "nearest is 'chs-drg-1.1'" in called("group", cases, "--scheme", "chs-drg-11").stderr
    with pytest.raises(SchemeNotFound, match="no policy 'example-rat'; the nearest is"):
        grouper.load_policy("example-rat")
    listed = tmp_path / "hospitals.csv"
    listed.write_text("hospital,hospital_level\nH1,三级\n", "utf-8")
    words = ("run", cases, "--scheme", "chs-drg-1.1", "--policy", "example-rate")
    done = called(*words, "--hospitals", listed, "-o", tmp_path / "run")
    assert (
        "'hospital_id' of the hospitals is missing; the nearest header is 'hospital'" in done.stderr
    )
    ledger = tmp_path / "ledger.csv"
    ledger.write_text("entry,kind\n1,x\n", "utf-8")
    done = called(*words, "--ledger", ledger, "-o", tmp_path / "run")
    assert (
        "'entry_id' of the ledger entries is missing; the nearest header is 'entry'" in done.stderr
    )
    assert done.returncode == 2


# ------------------------------------------------------------------------------------------ refusals


def test_where_it_may_not_write_is_known_before_the_work(cases: Path, tmp_path: Path) -> None:
    """The cases are not even read: they are no file at all."""
    run = tmp_path / "run"
    words = ("--scheme", "chs-drg-1.1", "--policy", "example-rate", "-o", run)
    assert called("run", cases, *words).returncode == 0
    for command in (
        ("run", "nowhere.csv", *words),
        ("settle", "nowhere.parquet", "--policy", "example-rate", "-o", run),
    ):
        done = called(*command)
        assert done.returncode == 2
        assert "it holds an earlier run" in done.stderr
    done = called("group", "nowhere.csv", "--scheme", "chs-drg-1.1", "-o", "x.doc")
    assert "a result ends in" in done.stderr or "no such file" in done.stderr
    done = called("calibrate", "nowhere.csv", "--method", "dip", "-o", run)
    assert done.returncode == 2
    assert "nowhere" not in done.stderr


# ------------------------------------------------------------------------------------------ language

ZH = {"LC_ALL": "zh_CN.UTF-8"}


def test_a_chinese_locale_is_spoken_to_in_chinese(cases: Path) -> None:
    words = ("group", cases, "--scheme", "chs-drg-1.1")
    english, chinese = called(*words), called(*words, **ZH)
    assert "status: grouped 4" in english.stdout
    assert "状态: 入组 4" in chinese.stdout
    assert "家，逐家相符" in chinese.stdout
    assert called("--lang", "zh", *words).stdout == chinese.stdout
    assert called("--lang", "en", *words, **ZH).stdout == english.stdout
    assert called(*words, LANG="zh_CN.GB18030", LC_ALL="C").stdout == english.stdout


def test_json_is_the_same_in_every_language(cases: Path, tmp_path: Path) -> None:
    for words in (
        ("group", cases, "--scheme", "chs-drg-1.1", "--json"),
        ("tables", "list", "--json"),
        ("tables", "show", "example-rate", "--json"),
        ("tables", "check", "chs-drg-1.1", "--json"),
    ):
        english, chinese = called(*words), called(*words, **ZH)
        assert english.stdout == chinese.stdout
        json.loads(english.stdout)


def test_refusals_keep_file_row_and_field(cases: Path, tmp_path: Path) -> None:
    done = called("group", cases, "--scheme", "chs-drg-11", **ZH)
    assert done.returncode == 2
    assert "[E200] 没有方案“chs-drg-11”；最接近的是“chs-drg-1.1”" in done.stderr
    path = tmp_path / "mine.csv"
    path.write_text("case_id,sx,age,diagnoses,procedures\n1,1,5,J18.900,\n", "utf-8")
    done = called("group", path, "--scheme", "chs-drg-1.1", **ZH)
    assert "缺少必需的列“sex”；最接近的表头是“sx”" in done.stderr
    done = called("group", tmp_path / "min.csv", "--scheme", "chs-drg-1.1", **ZH)
    assert "min.csv" in done.stderr
    assert "没有这个文件；那里最接近的名称有：mine.csv" in done.stderr
    done = called("--lang", "zh", "explain", path, "--case", "9", "--scheme", "chs-drg-1.1")
    assert done.returncode == 2
    done = called("group", **ZH)
    assert "缺少参数“CASES”" in done.stderr


def test_the_tables_of_messages_are_whole() -> None:
    for key, (zh, en) in _messages.SENTENCES.items():
        fields = [sorted(re.findall(r"{(\w+)", text)) for text in (zh, en)]
        assert fields[0] == fields[1], key
        assert not zh.isascii(), key
    for text, zh in _messages.WORDS.items():
        assert text.isascii()
        assert not zh.isascii()
    for pattern, said in _messages.REFUSALS:
        assert re.compile(pattern).groups == len(set(re.findall(r"\\(\d)", said))), pattern
    assert _messages.refusal("something else", "zh") == "something else"
    assert _messages.refusal("no such file", "en") == "no such file"


# ------------------------------------------------------------------------------ terminals and signals


@contextlib.contextmanager
def on_a_terminal(*words: str | Path, **env: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run a command with stderr and stdout on a pseudo-terminal."""
    import pty

    ours, theirs = pty.openpty()
    given = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "LC_ALL", "LANG")}
    process = subprocess.Popen(
        [sys.executable, "-c", MAIN, *map(str, words)],
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        env={**given, "TERM": "xterm", "PYTHONUTF8": "1", **env},
    )
    os.close(theirs)
    try:
        yield process, ours
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def seen(*words: str | Path, **env: str) -> str:
    """Return what a person at a terminal sees."""
    text = b""
    with on_a_terminal(*words, **env) as (process, ours):
        with contextlib.suppress(OSError):  # the other end is closed
            while data := os.read(ours, 65536):
                text += data
        process.wait()
    return text.decode()


@POSIX
@pytest.mark.parametrize("command", ["group", "run", "check", "calibrate", "settle", "verify"])
def test_a_terminal_sees_progress_and_a_pipe_does_not(
    command: str, cases: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    pay = ("--policy", "example-rate", "-o", out)
    words: dict[str, tuple[str | Path, ...]] = {
        "group": ("group", cases, "--scheme", "chs-drg-1.1", "-o", tmp_path / "g.parquet"),
        "run": ("run", cases, "--scheme", "chs-drg-1.1", *pay),
        "check": ("check", cases),
        "calibrate": ("calibrate", cases, "--method", "dip", "--base", "dip-demo", "-o", out),
        "settle": ("settle", tmp_path / "g.parquet", *pay),
        "verify": ("verify", out),
    }
    if command == "settle":
        assert called(*words["group"]).returncode == 0
    if command == "verify":
        assert called(*words["run"]).returncode == 0
    text = seen(*words[command])
    assert re.search(r"\d+%", text), text
    assert "100%" in text
    assert re.search(r"\d+ cases/s", text), text
    assert "\x1b[?25h" in text  # the cursor is back
    if command in ("group", "check", "verify"):
        assert called(*words[command]).stderr == ""


@POSIX
@pytest.mark.big
@pytest.mark.promise("Interrupted at any moment, nothing is half-written")
def test_interrupted_at_some_moments(tmp_path: Path) -> None:
    """Ctrl-C from where the command has begun to its end: 130 and nothing, or 0 and all of it."""
    cases, place = tmp_path / "cases.csv", tmp_path / "place"
    grouper.write_table(make_region(20_000, seed=2).cases, cases)
    words: list[Any] = ["run", cases, "--scheme", "chs-drg-1.1", "--threads", "1"]
    words += ["--policy", "example-rate", "-o", place / "out"]
    start = time.monotonic()
    assert called(*words).returncode == 0
    whole = time.monotonic() - start
    ends = []
    for k in range(8):
        for path in sorted(place.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        with on_a_terminal(*words) as (process, ours):
            text = os.read(ours, 4096)  # it has begun: the bar is there
            time.sleep(whole * 0.09 * k)
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(OSError):
                while data := os.read(ours, 65536):
                    text += data
            process.wait()
        ends.append(process.returncode)
        left = [p.name for p in place.iterdir()] if place.exists() else []
        if process.returncode == 130:
            assert b"interrupted; nothing is half-written" in text
            assert left in ([], ["out"])
        else:  # or Python was at its own end, when the facts had been printed
            assert process.returncode == 0 or b"output: " in text, text
            assert left != []
        if left == ["out"]:
            read_run(place / "out")
    assert 130 in ends
