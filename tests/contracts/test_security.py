"""docs/security.md names tests that exist; the locks hold what pyproject.toml asks for."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from shared import ROOT

pytestmark = pytest.mark.promise(
    "Dependencies are locked by version and hash; the threat model names its tests"
)

PAGE = ROOT / "docs" / "security.md"
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE.read_text("utf-8"))


def functions(path: Path) -> set[str]:
    tree = ast.parse(path.read_text("utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_test_that_the_document_names_exists() -> None:
    assert len(NAMED) > 40
    for file, test in NAMED:
        assert test.startswith("test_"), test
        assert (ROOT / file).is_file(), file
        assert test in functions(ROOT / file), f"{file}::{test}"
    assert PAGE.read_text("utf-8").count("::") == len(NAMED)  # no name of another form


def test_every_row_of_what_holds_names_a_test() -> None:
    section = PAGE.read_text("utf-8").split("## What holds what")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 20
    assert not [row for row in rows if "::test_" not in row]


def test_the_document_names_every_file_of_security_tests() -> None:
    files = {f"tests/security/{p.name}" for p in (ROOT / "tests" / "security").glob("test_*.py")}
    assert files <= {file for file, _ in NAMED}


# ------------------------------------------------------------------------------------------- the locks

LOCKS = ("requirements.lock", "requirements-test.lock")


def locked(file: str) -> dict[str, tuple[str, list[str]]]:
    """Read a lock strictly: name → version and hashes."""
    text = (ROOT / file).read_text("utf-8")
    found = {}
    for entry in re.sub(r" \\\n\s+", " ", re.sub(r"(?m)^#.*\n", "", text)).splitlines():
        pin, *hashes = entry.split(" ")
        pinned = re.fullmatch(r"([a-z0-9-]+)==([\w.+!]+)", pin)
        assert pinned, entry
        name, version = pinned.groups()
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", h) for h in hashes), entry
        assert name not in found
        found[name] = (version, hashes)
    return found


def wanted() -> dict[str, list[Requirement]]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    extras = project["project"]["optional-dependencies"]
    core = [*project["project"]["dependencies"], *project["build-system"]["requires"]]
    core += extras["excel"]
    every = [*core, *(r for texts in extras.values() for r in texts)]
    own = project["project"]["name"]
    return {
        "requirements.lock": [Requirement(r) for r in core],
        "requirements-test.lock": [Requirement(r) for r in every if not r.startswith(own)],
    }


@pytest.mark.parametrize("file", LOCKS)
def test_the_locks_hold_every_dependency(file: str) -> None:
    found = locked(file)
    for requirement in wanted()[file]:
        version, hashes = found[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), requirement
        assert hashes, requirement


def test_the_locks_agree() -> None:
    small, large = (locked(file) for file in LOCKS)
    assert {name: large[name] for name in small} == small


@pytest.mark.parametrize("file", LOCKS)
def test_the_locks_name_no_place(file: str) -> None:
    text = (ROOT / file).read_text("utf-8")
    assert not re.search(r"://|--(extra-)?index|--find-links|--trusted|file:|@ ", text)


# -------------------------------------------------------------------------------------------- the audit

CLEAN = {"name": "a", "version": "1", "vulns": []}
HIT = {"name": "b", "version": "2", "vulns": [{"id": "X-1", "fix_versions": ["3"]}]}
SKIPPED = {"name": "c", "skip_reason": "not found"}
ANSWERS: dict[str, tuple[Any, int, str]] = {
    "clean": ({"dependencies": [CLEAN]}, 0, "1 packages, 0 advisories"),
    "found": ({"dependencies": [CLEAN, HIT]}, 1, "b 2: X-1, fixed in 3"),
    "skipped": ({"dependencies": [CLEAN, SKIPPED]}, 3, "not run: no advisory service reachable"),
    "no answer": (None, 3, "not run: no advisory service reachable"),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_the_audit_never_passes_what_it_did_not_look_up(name: str, tmp_path: Path) -> None:
    """With a stand-in for pip-audit: what is skipped, or not answered, is not run."""
    answer, code, said = ANSWERS[name]
    body = "" if answer is None else f"print({json.dumps(answer)!r})"
    (tmp_path / "pip_audit.py").write_text(f"{body}\n", "utf-8")
    script = ROOT / "scripts" / "audit"
    command = (
        f"import os, runpy, sys; sys.path.insert(0, {str(tmp_path)!r});"
        f"os.environ['PYTHONPATH'] = {str(tmp_path)!r};"
        f"sys.argv = ['audit', {str(ROOT / LOCKS[0])!r}];"
        f"runpy.run_path({str(script)!r}, run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", command], capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stderr
    assert said in done.stdout + done.stderr
