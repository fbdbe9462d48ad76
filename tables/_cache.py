"""Compiled schemes on disk: named arrays in one file, found by what they were made from.

The key is a digest of every file that takes part and of the code that compiles it, so nothing stale is ever
read. A file holds a checksum over everything behind it: what is cut, bent or foreign counts as not there. It
is written beside its place and moved there at once; two processes may do so together. No place to write, no
cache.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
import tempfile
import zlib
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grouper import _platform

MAGIC = b"grouper arrays 1"
ENDING = ".arrays"
ALIGN = 64
MOST = 32
"""Files that are kept: the newest."""

LEAST = 1 << 18
"""Bytes below which nothing is kept: it is compiled as fast as it is read."""

Arrays = Mapping[str, NDArray[Any]]


def folder() -> Path | None:
    """Return where compiled schemes are kept, None if nowhere.

    GROUPER_CACHE=0 turns it off, GROUPER_CACHE_DIR names the place; else it is the user's cache.
    """
    if os.environ.get("GROUPER_CACHE", "1") == "0":
        return None
    if given := os.environ.get("GROUPER_CACHE_DIR"):
        return Path(given)
    base = _platform.user_cache()
    return base / "grouper" if base else None


@cache
def _stamp() -> bytes:
    """Digest the code that reads and compiles schemes, and the size of a word."""
    digest = hashlib.sha256(f"{sys.byteorder} {np.dtype(np.intp).itemsize}".encode())
    for path in sorted(Path(__file__).parent.glob("_*.py")):
        digest.update(path.read_bytes())
    return digest.digest()


def key_of(files: Iterable[Path]) -> str:
    """Return the key of what is compiled from these files; those that are missing count as such."""
    digest = hashlib.sha256(_stamp())
    for path in files:
        try:
            data = path.read_bytes()
        except OSError:
            data = b""
        digest.update(f"{path.name}\0{len(data)}\0".encode())
        digest.update(data)
    return digest.hexdigest()


def read(key: str) -> dict[str, NDArray[Any]] | None:
    """Return the arrays kept under a key, None if there are none that are whole."""
    place = folder()
    if place is None:
        return None
    try:
        path = place / f"{key}{ENDING}"
        with path.open("rb") as f:
            if not _platform.is_ours(os.fstat(f.fileno())):
                return None
            data = f.read()  # bytes: what is viewed in them cannot be written
        with contextlib.suppress(OSError):
            os.utime(path)
        return _unpack(data)
    except (OSError, ValueError, KeyError, TypeError, MemoryError):
        return None


def _unpack(data: bytes) -> dict[str, NDArray[Any]] | None:
    head = len(MAGIC) + 16
    if len(data) < head or data[: len(MAGIC)] != MAGIC:
        return None
    checksum, length = np.frombuffer(data, "<u8", 2, len(MAGIC)).tolist()
    if zlib.crc32(memoryview(data)[len(MAGIC) + 8 :]) != checksum:
        return None
    entries = json.loads(data[head : head + length])
    found = {}
    for name, (kind, shape, offset) in entries.items():
        count = int(np.prod(shape, dtype=np.int64))
        found[name] = np.frombuffer(data, np.dtype(kind), count, offset).reshape(shape)
    return found


def write(key: str, arrays: Arrays) -> None:
    """Keep arrays under a key; where that cannot be done, nothing happens."""
    place = folder()
    if place is None or sum(a.nbytes for a in arrays.values()) < LEAST:
        return
    with contextlib.suppress(OSError):
        place.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(suffix=".tmp", dir=place)
        try:
            with os.fdopen(handle, "wb") as f:
                f.write(_pack(arrays))
            _platform.replace(Path(name), place / f"{key}{ENDING}")
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise
        _prune(place)


def _pack(arrays: Arrays) -> bytes:
    held = {name: np.ascontiguousarray(a) for name, a in arrays.items()}
    entries: dict[str, Any] = dict.fromkeys(held)
    head = len(MAGIC) + 16
    length = 0
    for _ in range(3):  # the offsets depend on the length of their own list
        at = head + length
        for name, a in held.items():
            at += -at % ALIGN
            entries[name] = [a.dtype.str, list(a.shape), at]
            at += a.nbytes
        text = json.dumps(entries).encode()
        length = max(length, len(text))
    text = text.ljust(length)
    data = bytearray(at)
    data[: len(MAGIC)] = MAGIC
    data[len(MAGIC) + 8 : head] = length.to_bytes(8, "little")
    data[head : head + length] = text
    for name, a in held.items():
        start = entries[name][2]
        data[start : start + a.nbytes] = a.tobytes()
    checksum = zlib.crc32(memoryview(data)[len(MAGIC) + 8 :])
    data[len(MAGIC) : len(MAGIC) + 8] = checksum.to_bytes(8, "little")
    return bytes(data)


def _prune(place: Path) -> None:
    """Remove all but the files used last."""
    kept = sorted(place.glob(f"*{ENDING}"), key=lambda p: p.stat().st_mtime, reverse=True)
    for path in kept[MOST:]:
        with contextlib.suppress(OSError):
            path.unlink()
