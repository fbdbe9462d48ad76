"""What systems do differently (操作系统差异): locks, names that swap, flushing, owners, places.

The only module that names what POSIX has and Windows lacks; every function here has a way for both.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import sys
import time
from contextlib import suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: nothing is swept there
    fcntl = None  # type: ignore[assignment]

WINDOWS = sys.platform == "win32"
PATIENCE = 2.0
"""Seconds for which Windows is asked again: a scanner holds what was just written."""

_AT_FDCWD, _EXCHANGE = -100, 2


def can_lock() -> bool:
    """Tell if a folder can be opened and locked here."""
    return fcntl is not None


def try_lock(handle: int) -> bool:
    """Lock an open file or folder for this process; False = another holds it, or there are no locks."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def replace(made: Path, target: Path) -> None:
    """Move a file over another, or a folder to where none is, at once.

    Raises
    ------
    OSError : as `os.replace`; on Windows only after `PATIENCE`.
    """
    until = time.monotonic() + (PATIENCE if WINDOWS else 0)
    while True:
        try:
            os.replace(made, target)
        except PermissionError:
            if time.monotonic() >= until:
                raise
            time.sleep(0.05)
        else:
            return


def exchange(a: Path, b: Path) -> bool:
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


def show_folder(folder: Path) -> None:
    """Let others read a folder that was made as a private one; on Windows it inherits who may."""
    if not WINDOWS:
        folder.chmod(0o755)


def is_ours(found: os.stat_result) -> bool:
    """Tell if a file or folder is this user's own, or the administrator's; else another may have bent it."""
    return WINDOWS or found.st_uid in (os.geteuid(), 0)


def is_safe(place: str, beside: str) -> bool:
    """Tell if only this user, the administrator, or the owner of the file `beside` can write to a folder."""
    if WINDOWS:
        return True
    owners = {0, os.geteuid(), os.stat(beside).st_uid}
    found, above = os.stat(place), os.stat(os.path.dirname(place))
    is_open = above.st_mode & stat.S_IWOTH and not above.st_mode & stat.S_ISVTX
    return found.st_uid in owners and not found.st_mode & stat.S_IWOTH and not is_open


def user_cache() -> Path | None:
    """Return the user's folder for caches, None if it is not known."""
    if WINDOWS:
        base = os.environ.get("LOCALAPPDATA", "")
    else:
        base = os.environ.get("XDG_CACHE_HOME", "") or os.path.expanduser("~/.cache")
    return Path(base) if os.path.isabs(base) else None


def cores() -> int:
    """Return the cores that this process may run on."""
    if WINDOWS or not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    return len(os.sched_getaffinity(0))


def drop_output() -> None:
    """Let what is still to be written to stdout go nowhere: nobody reads it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def is_reader_gone(error: OSError) -> bool:
    """Tell if a write failed because nobody reads any more; Windows calls it an invalid argument."""
    return isinstance(error, BrokenPipeError) or (WINDOWS and error.errno == errno.EINVAL)
