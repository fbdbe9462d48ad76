"""Every snippet of the documents runs: blocks in their order, in a folder of their own.

A block ``sh`` or ``python`` is run, ``csv NAME`` or ``toml NAME`` is the file NAME that the next blocks read.
Commands elsewhere (indented, or in a line of text) are held against the command line: they must parse.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
from serving import MAIN
from shared import ROOT

from grouper.cli import cli

PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```", re.MULTILINE | re.DOTALL)
RUN = {"sh", "python"}
FILES = {"csv", "toml"}
ELSEWHERE = {
    ("databases.md", "sql"): "tests/db/test_duckdb.py",
    ("embedding.md", "java"): "tests/contracts/test_embedding.py",
}
"""Blocks that another test runs."""

NOT_RUN = {
    "csharp": "no .NET where the tests run: it is read by people alone",
    "bash": "a service must run: tests/service asks the same",
    "text": "what a program prints",
}
DEMO = "demo --cases 2000 -o region-year"
NEEDS_DEMO = {"README.md", "quickstart.md"}


def blocks(page: Path) -> list[tuple[str, str, str]]:
    return BLOCK.findall(page.read_text("utf-8"))


def commands(page: Path) -> list[str]:
    """Return the commands of a page: in blocks, indented, or in a line of text."""
    text = page.read_text("utf-8").replace("\\\n", " ")
    found = re.findall(r"^(?: {4})?(grouper .*)$", text, re.MULTILINE)
    found += re.findall(r"`(grouper [a-z][^`\n]*)`", text)
    return found


def parsed(command: str) -> None:
    """Parse a command as the command line does, without doing it."""
    words = shlex.split(re.sub(r"\$YEAR\b", "--policy p --hospitals h", command), comments=True)
    stop = [k for k, w in enumerate(words) if w in ("<", ">", "|", "&&", "…")]
    words = words[1 : stop[0]] if stop else words[1:]
    here: click.Command = cli
    while isinstance(here, click.Group) and words and not words[0].startswith("-"):
        name, *words = words
        assert name in here.commands, f"{command}: no command {name}"
        here = here.commands[name]
    if isinstance(here, click.Group):
        return
    known = {o for p in here.params for o in (*p.opts, *p.secondary_opts)} | {"--help"}
    options = [w.partition("=")[0] for w in words if re.match(r"--?[a-z]", w)]
    assert set(options) <= known, f"{command}: {set(options) - known}"


@pytest.mark.promise("The documents say what the code does")
def test_every_command_of_the_documents_exists() -> None:
    found = [(page, c) for page in PAGES for c in commands(page)]
    assert len(found) > 60
    for page, command in found:
        try:
            parsed(command)
        except ValueError as e:  # a quotation mark that does not close
            raise AssertionError(f"{page.name}: {command}: {e}") from None


def test_every_kind_of_block_is_run_or_said_not_to_be() -> None:
    for page in PAGES:
        for kind, name, _ in blocks(page):
            assert (
                kind in RUN | set(NOT_RUN)
                or (kind in FILES and name)
                or (page.name, kind) in ELSEWHERE
            ), f"{page.name}: {kind} {name}"
    for path in ELSEWHERE.values():
        assert (ROOT / path).is_file()


@pytest.mark.big
@pytest.mark.promise("The documents say what the code does")
@pytest.mark.parametrize(
    "page", [p for p in PAGES if any(k in RUN for k, _, _ in blocks(p))], ids=lambda p: p.name
)
def test_snippets_run(page: Path, tmp_path: Path) -> None:
    shim = tmp_path / "bin" / "grouper"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{MAIN}" "$@"\n')
    shim.chmod(0o755)
    here = tmp_path / "here"
    here.mkdir()
    env = {**os.environ, "PATH": f"{shim.parent}{os.pathsep}{os.environ['PATH']}"}

    def run(*words: str) -> str:
        done = subprocess.run(words, cwd=here, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{page.name}: {words[-1]}\n{done.stderr}"
        return done.stdout

    if page.name in NEEDS_DEMO:
        run(str(shim), *DEMO.split())
    for kind, name, text in blocks(page):
        if name:
            (here / name).parent.mkdir(parents=True, exist_ok=True)
            (here / name).write_text(text, "utf-8")
        elif kind == "sh":
            run("bash", "-e", "-u", "-c", text)
        elif kind == "python":
            assert run(sys.executable, "-c", text)
