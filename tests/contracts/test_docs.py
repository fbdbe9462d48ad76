"""The documents say what the code does: glossary, errors, snippets, links."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from shared import ROOT

from grouper import errors
from grouper.tables import Reason, Warn


def test_the_glossary_is_that_of_the_columns() -> None:
    made = runpy.run_path(str(ROOT / "scripts" / "glossary"))["glossary"]()
    assert (ROOT / "docs" / "glossary.md").read_text("utf-8") == made


@pytest.mark.promise("The documents say what the code does")
def test_every_error_reason_and_warning_is_documented() -> None:
    text = (ROOT / "docs" / "errors.md").read_text("utf-8")
    for name in errors.__all__:
        error = getattr(errors, name)
        assert error.code == "E000" or (name in text and error.code in text), name
    for x in (*Reason, *Warn):
        assert x.name is not None
        assert not x or x.name.lower() in text, x


def test_documents_name_files_that_exist() -> None:
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        for name in re.findall(
            r"`((?:docs|bench|tests|scripts|tables|kernels|grouper)/[\w./-]*)`",
            page.read_text("utf-8"),
        ):
            assert (ROOT / name).exists(), f"{page.name} names {name}"


@pytest.mark.promise("The project names no machine and no registry")
def test_nothing_names_a_machine_or_a_registry() -> None:
    """The project speaks of itself alone: no absolute paths, no package hosts."""
    bad = re.compile(r"""["'\s=(]/(?:home|root|mnt|srv|tmp)/|index-url|files\.pythonhosted""")
    for folder in ("grouper", "tables", "kernels", "tests", "bench", "docs", "scripts", ".ci"):
        for path in (ROOT / folder).rglob("*"):
            if (
                path.is_file()
                and path.suffix in ("", ".py", ".md", ".toml")
                and path != Path(__file__)
            ):
                found = bad.search(path.read_text("utf-8", errors="ignore"))
                assert not found or "__pycache__" in path.parts, f"{path}: {found}"


@pytest.mark.promise("Every promise names the tests that hold it")
def test_the_page_of_promises_is_what_the_tests_say() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "trust"), "--check"],
        check=False,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr.decode()
