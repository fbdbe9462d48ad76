"""What the package may reach: nothing here runs text, loads objects, starts programs or calls the network."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from shared import ROOT

pytestmark = pytest.mark.promise("No network, no program, no code from data")

FILES = [
    p for folder in ("grouper", "tables", "kernels") for p in sorted((ROOT / folder).glob("*.py"))
]

CALLS = {"eval", "exec", "compile", "__import__", "input", "breakpoint", "locals"}
"""Builtins that run text, wait for it, or show what a frame holds."""

METHODS = {
    "system",
    "popen",
    "unsafe_load",
    "extractall",
    "allow_pickle",
    "read_pickle",
    "to_pickle",
}

MODULES = {
    *("pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "code", "codeop"),
    *("yaml", "ruamel", "subprocess", "pty", "socket", "ssl", "ctypes", "cffi", "multiprocessing"),
    *(
        "http",
        "urllib",
        "urllib3",
        "requests",
        "httpx",
        "aiohttp",
        "ftplib",
        "smtplib",
        "telnetlib",
    ),
    *("xmlrpc", "asyncio", "socketserver", "webbrowser", "runpy", "importlib.util", "imp"),
    *("xml", "lxml", "jinja2", "mako", "logging", "cgitb"),
}


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def called(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield node.func.id


def named(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.keyword) and node.arg:
            yield node.arg


ALLOWED = {
    (
        "_platform.py",
        "ctypes",
    ),  # two names of folders are swapped by a call that Python does not offer
    ("_service_guard.py", "asyncio"),  # limits of time
    ("_service_guard.py", "logging"),  # one line a request
    ("_database.py", "urllib"),  # takes addresses apart; the connection is libpq's
    ("_database.py", "urllib.parse"),
    ("_page.py", "jinja2"),  # templates of the package, escaped; never a text of a request
}
"""What one module may reach and why."""


def test_the_files_are_found() -> None:
    assert len(FILES) > 130


@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}/{p.name}")
def test_nothing_runs_text_or_reaches_out(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))
    assert not CALLS & set(called(tree))
    assert not METHODS & set(named(tree))
    for module in imported(tree):
        parts = module.split(".")
        heads = {".".join(parts[: k + 1]) for k in range(len(parts))}
        assert not MODULES & (heads - {m for name, m in ALLOWED if name == path.name}), module


def test_the_expression_languages_know_no_python() -> None:
    """They look at texts by expressions and lists of words alone: no attribute of a text is a call."""
    for name in ("_rules.py", "_formula.py"):
        tree = ast.parse((ROOT / "tables" / name).read_text("utf-8"))
        assert not {"getattr", "setattr", "type", "open"} & set(called(tree))
