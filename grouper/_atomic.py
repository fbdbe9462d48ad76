"""Put files and folders in place at once (原子替换): whole or not at all, also when killed in the middle.

What is being made lies beside its place under a hidden name, and its maker holds a lock on it. A later
run removes what nobody holds: the maker was killed. What a system may lack is in `_platform`.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
from contextlib import suppress
from pathlib import Path

from grouper import _platform

MAKING, ASIDE = "tmp", "old"


def hidden_name(target: Path, kind: str) -> Path:
    """Return a new hidden name beside `target`; `kind` is MAKING or ASIDE."""
    return target.parent / f".{target.name}.{secrets.token_hex(4)}.{kind}"


def _beside(target: Path, kind: str) -> list[Path]:
    named = re.compile(rf"\.{re.escape(target.name)}\.[0-9a-f]{{8}}\.{kind}")
    try:
        return sorted(p for p in target.parent.iterdir() if named.fullmatch(p.name))
    except OSError:
        return []


def claim(handle: int, path: Path) -> bool:
    """Lock what is being made; False = a sweep took it for another's first, make it again."""
    if not _platform.can_lock():
        return True
    _platform.try_lock(handle)  # a file system without locks: nothing there is swept either
    try:
        return os.stat(path).st_ino == os.fstat(handle).st_ino
    except OSError:
        return False


def make_folder(target: Path) -> tuple[Path, int | None]:
    """Make a hidden folder for `target`; return it and the handle that holds its lock."""
    target.parent.mkdir(parents=True, exist_ok=True)
    while True:
        folder = hidden_name(target, MAKING)
        folder.mkdir()
        if not _platform.can_lock():
            return folder, None
        handle = os.open(folder, os.O_RDONLY)
        if claim(handle, folder):
            return folder, handle
        os.close(handle)


def sweep(target: Path) -> None:
    """Remove what killed runs left half made beside `target`."""
    if not _platform.can_lock():
        return
    for path in _beside(target, MAKING):
        with suppress(OSError):
            handle = os.open(path, os.O_RDONLY)
            try:
                if not _platform.try_lock(handle):
                    continue
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink()
            finally:
                os.close(handle)


def recover(target: Path, proof: str) -> None:
    """Put back a folder that stepped aside for one that never came; drop those that were replaced.

    `proof` is a file that a whole folder holds.
    """
    aside = _beside(target, ASIDE)
    whole = [p for p in aside if (p / proof).is_file()]
    if whole and not target.exists():
        with suppress(OSError):
            _platform.replace(max(whole, key=lambda p: p.stat().st_mtime_ns), target)
    if (target / proof).is_file():
        for path in _beside(target, ASIDE):
            shutil.rmtree(path, ignore_errors=True)


def replace_folder(made: Path, target: Path) -> None:
    """Put a folder in the place of another; the other is removed."""
    if _platform.exchange(made, target):
        _platform.sync_folder(target.parent)
        shutil.rmtree(made, ignore_errors=True)
        return
    aside = hidden_name(target, ASIDE)
    _platform.replace(target, aside)
    try:
        _platform.replace(made, target)
    except BaseException:
        _platform.replace(aside, target)
        raise
    _platform.sync_folder(target.parent)
    shutil.rmtree(aside, ignore_errors=True)
