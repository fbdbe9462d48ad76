"""It runs on Windows too: what only POSIX has is in one module, every text file names its encoding."""

from __future__ import annotations

import ast
import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from shared import ROOT

import grouper
from grouper import _atomic, _platform
from grouper.io import read_run, write_run

PLACE = "_platform.py"
"""The one module that may name what a system lacks."""

FILES = [
    p for folder in ("grouper", "tables", "kernels") for p in sorted((ROOT / folder).glob("*.py"))
]
MODULES = {
    *("fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "posix", "syslog", "signal"),
    *("readline", "curses", "crypt", "spwd", "nis", "msvcrt", "winreg", "_winapi", "ctypes"),
}
OF_OS = {
    *("fork", "forkpty", "kill", "killpg", "getuid", "geteuid", "getgid", "getegid", "setuid"),
    *("setsid", "getpgid", "setpgid", "getppid", "chown", "fchown", "lchown", "fchmod", "chmod"),
    *("lchmod", "sync", "mkfifo", "mknod", "wait", "waitpid", "wait3", "wait4", "waitid", "nice"),
    *("sched_getaffinity", "sched_setaffinity", "statvfs", "fstatvfs", "uname", "getloadavg"),
    *("pipe2", "sendfile", "lockf", "symlink", "link", "rename", "umask", "ttyname", "fdatasync"),
    *("O_DIRECTORY", "O_NOFOLLOW", "O_CLOEXEC", "O_SYNC", "O_NONBLOCK", "getxattr", "setxattr"),
}
"""Of `os`; `rename` refuses to replace a file on Windows: `_platform.replace` does not."""

METHODS = {"chmod", "lchmod", "symlink_to", "hardlink_to", "owner", "group", "is_mount"}
"""Of paths."""

TEXT_MODE = {"r", "w", "x", "a", "rt", "wt", "xt", "at", "r+", "w+"}


def faults(path: Path) -> Iterator[str]:
    """Name what only POSIX has, and text files without an encoding."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        where = f"{path.name}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Import):
            yield from (f"{where} {a.name}" for a in node.names if a.name in MODULES)
        elif isinstance(node, ast.ImportFrom):
            if node.module in MODULES:
                yield f"{where} {node.module}"
            if node.module == "os":
                yield from (f"{where} os.{a.name}" for a in node.names if a.name in OF_OS)
        elif isinstance(node, ast.Attribute):
            of = node.value.id if isinstance(node.value, ast.Name) else ""
            if of == "os" and node.attr in OF_OS:
                yield f"{where} os.{node.attr}"
            elif of == "sys" and node.attr == "platform":
                yield f"{where} sys.platform"
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            if node.value in OF_OS - {"kill", "link", "sync", "wait", "nice", "rename"}:
                yield f"{where} {node.value!r}"
            if node.value.startswith(("/dev/", "/proc/", "/etc/", "/tmp")):
                yield f"{where} {node.value!r}"
        elif isinstance(node, ast.Call):
            yield from (f"{where} {said}" for said in faults_of_call(node))


def faults_of_call(node: ast.Call) -> Iterator[str]:
    """Look at one call: a method that POSIX alone has, a text file without its encoding."""
    named = {k.arg for k in node.keywords}
    values = [a.value for a in node.args if isinstance(a, ast.Constant)]
    if isinstance(node.func, ast.Attribute):
        name, of = node.func.attr, node.func.value
        if name in METHODS and isinstance(of, ast.Name) and of.id in ("path", "work", "folder"):
            yield f".{name}()"
        if name in ("read_text", "write_text"):
            if "encoding" not in named and "utf-8" not in values and "utf-8-sig" not in values:
                yield f".{name}() without an encoding"
        elif name in (
            "open",
            "fdopen",
        ):  # the mode of a path is first; a zip's is second, and binary
            at = 0 if name == "open" else 1
            mode = node.args[at] if len(node.args) > at else None
            is_text = isinstance(mode, ast.Constant) and mode.value in TEXT_MODE
            if is_text and "encoding" not in named:
                yield f".{name}() without an encoding"
    elif isinstance(node.func, ast.Name) and node.func.id == "open":
        binary = any(isinstance(v, str) and "b" in v for v in values[:1])
        if not binary and "encoding" not in named:
            yield "open() without an encoding"


@pytest.mark.promise("It runs on Windows: what POSIX alone has is in one module")
@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_only_one_module_names_what_systems_lack(path: Path) -> None:
    found = list(faults(path))
    if path.name == PLACE:
        assert found
    else:
        assert found == []


@pytest.mark.parametrize(
    "line",
    [
        *("import fcntl", "import os; os.fork()", "from os import geteuid", "import signal"),
        *("hasattr(os, 'geteuid')", "open('x')", "path.read_text()", "path.write_text('x')"),
        *("path.chmod(0)", "open('/dev/null', 'rb')", "import sys; sys.platform", "path.open('w')"),
    ],
)
def test_each_kind_of_fault_is_seen(line: str, tmp_path: Path) -> None:
    path = tmp_path / "x.py"
    path.write_text(line, "utf-8")
    assert list(faults(path))


# -------------------------------------------------------------------------- Windows, as far as here


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Take away what Windows lacks; return its folder of application data."""
    monkeypatch.setattr(_platform, "WINDOWS", True)
    monkeypatch.setattr(_platform, "PATIENCE", 0.3)
    monkeypatch.setattr(_platform, "fcntl", None)
    monkeypatch.setattr(_platform, "exchange", lambda a, b: False)
    for name in ("geteuid", "sched_getaffinity"):
        monkeypatch.delattr(os, name, raising=False)
    monkeypatch.delenv("GROUPER_CACHE_DIR", raising=False)
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "data"))
    return tmp_path / "data"


def test_runs_are_written_and_replaced_as_on_windows(windows: Path, tmp_path: Path) -> None:
    table = pa.table({"case_id": ["1"]})
    run = tmp_path / "run"
    write_run(run, {"cases": table}, {})
    write_run(run, {"cases": pa.table({"case_id": ["2"]})}, {}, overwrite=True)
    assert read_run(run).tables["cases"]["case_id"].to_pylist() == ["2"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run"]
    folder, lock = _atomic.make_folder(run)
    _atomic.sweep(run)
    assert folder.exists()
    assert lock is None


def test_the_cache_is_where_windows_keeps_it(
    windows: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from grouper.tables import _cache

    assert _cache.folder() == windows / "grouper"
    monkeypatch.setenv("LOCALAPPDATA", "")
    assert _cache.folder() is None
    assert _platform.cores() >= 1
    assert _platform.is_safe("nowhere", "nothing")
    assert _platform.is_ours(os.stat("."))


def test_a_file_that_a_scanner_holds_is_waited_for(
    windows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, target = tmp_path / "made", tmp_path / "target"
    made.write_text("new", "utf-8")
    target.write_text("old", "utf-8")
    replace, tries = os.replace, []

    def held(a: Path, b: Path) -> None:
        tries.append(a)
        if len(tries) < 3:
            raise PermissionError(errno.EACCES, "held")
        replace(a, b)

    monkeypatch.setattr(os, "replace", held)
    _platform.replace(made, target)
    assert (target.read_text("utf-8"), len(tries)) == ("new", 3)

    def always(a: Path, b: Path) -> None:
        raise PermissionError(errno.EACCES, "held")

    monkeypatch.setattr(os, "replace", always)
    with pytest.raises(PermissionError):
        _platform.replace(target, made)


def test_a_reader_that_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = OSError(errno.EINVAL, "Invalid argument")
    assert _platform.is_reader_gone(BrokenPipeError())
    assert not _platform.is_reader_gone(gone)
    monkeypatch.setattr(_platform, "WINDOWS", True)
    assert _platform.is_reader_gone(gone)


# ----------------------------------------------------------------------------------- Chinese in CSV

NAMES = "急性心梗𠮷䶮𬭊€é"
"""Two-byte GBK, four-byte GB18030 (outside the basic plane, rare names, Latin), in one text."""


@pytest.mark.parametrize(
    ("encoding", "text"), [("gb18030", NAMES), ("gbk", "急性心梗"), ("utf-8-sig", NAMES)]
)
@pytest.mark.parametrize("many", [1, 3000])
def test_chinese_csv(tmp_path: Path, encoding: str, text: str, many: int) -> None:
    """A first four-byte character may come late, behind many of two bytes."""
    head = "结算流水号,性别,年龄,诊断,手术操作,出院科别\r\n"
    rows = [f"住院{k},1,60,I21.001,,内科\r\n" for k in range(many)]
    rows.append(f"last,1,60,I21.001,,{text}\r\n")
    path = tmp_path / "cases.csv"
    path.write_bytes((head + "".join(rows)).encode(encoding))
    given = grouper.ColumnMap(
        columns={
            "case_id": "结算流水号",
            "sex": "性别",
            "age": "年龄",
            "diagnoses": "诊断",
            "procedures": "手术操作",
            "department": "出院科别",
        }
    )
    table = grouper.read_cases(path, columns=given).table
    assert table["department"].to_pylist()[-1] == text
    assert table["case_id"].to_pylist()[:1] == ["住院0"]
    assert len(table) == many + 1
