"""Put files and folders in place at once (原子替换): whole or not at all, also when killed in the middle.

What is being made lies beside its place under a hidden name, and its maker holds a lock on it. A later
run removes what nobody holds: the maker was killed. All that a system may lack is here: locks, the swap
of two names, flushing a folder.
"""

from __future__ import annotations

import ctypes
import os
import re
import secrets
import shutil
import sys
from contextlib import suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: nothing is swept there
    fcntl = None  # type: ignore[assignment]

MAKING, ASIDE = "tmp", "old"
_AT_FDCWD, _EXCHANGE = -100, 2


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
    if fcntl is None:
        return True
    with suppress(OSError):  # a file system without locks: nothing there is swept either
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
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
        if fcntl is None:
            return folder, None
        handle = os.open(folder, os.O_RDONLY)
        if claim(handle, folder):
            return folder, handle
        os.close(handle)


def sweep(target: Path) -> None:
    """Remove what killed runs left half made beside `target`."""
    if fcntl is None:
        return
    for path in _beside(target, MAKING):
        with suppress(OSError):
            handle = os.open(path, os.O_RDONLY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
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
            os.rename(max(whole, key=lambda p: p.stat().st_mtime_ns), target)
    if (target / proof).is_file():
        for path in _beside(target, ASIDE):
            shutil.rmtree(path, ignore_errors=True)


def replace_folder(made: Path, target: Path) -> None:
    """Put a folder in the place of another; the other is removed."""
    if _exchange(made, target):
        sync_folder(target.parent)
        shutil.rmtree(made, ignore_errors=True)
        return
    aside = hidden_name(target, ASIDE)
    os.rename(target, aside)
    try:
        os.rename(made, target)
    except BaseException:
        os.rename(aside, target)
        raise
    sync_folder(target.parent)
    shutil.rmtree(aside, ignore_errors=True)


def _exchange(a: Path, b: Path) -> bool:
    """Swap two names at once; False = this system cannot."""
    if sys.platform != "linux":
        return False
    try:
        swap = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    return bool(swap(_AT_FDCWD, os.fsencode(a), _AT_FDCWD, os.fsencode(b), _EXCHANGE) == 0)


def sync_folder(folder: Path) -> None:
    """Flush the names in a folder, where the system has a way to."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
