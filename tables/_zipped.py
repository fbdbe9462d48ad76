"""A scheme that comes as one .zip: its tables are unpacked once, into the user's cache, by their content.

Only tables and settings are taken (.csv, .toml, .md), beside scheme.toml or one folder below it, under
names that are made here: nothing in the archive says where a file is written.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import io
import os
import shutil
import tempfile
import zipfile
import zlib
from functools import cache
from pathlib import Path, PurePosixPath

from grouper import _platform
from grouper.errors import TableError
from grouper.tables import _cache
from grouper.tables._files import SHIPPED, read_toml

FILE = "scheme.toml"
TAKEN = (".csv", ".toml", ".md")
LARGEST, MOST = 64 << 20, 512 << 20
"""Bytes of the archive, and of what it unpacks to."""


def unzipped(path: Path) -> Path:
    """Return the folder of a zipped scheme.

    Raises
    ------
    TableError : no zip file, too large, damaged, or without one scheme.toml.
    """
    if path.stat().st_size > LARGEST:
        raise TableError(f"more than {LARGEST >> 20} MiB; unpack it into a folder", file=path.name)
    data = path.read_bytes()
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as book:
            folder = _placed(book, hashlib.sha256(data).hexdigest(), path.name)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as e:
        raise TableError(
            f"no whole zip file ({str(e)[:80]}); pack it again", file=path.name
        ) from None
    _refuse_outside(folder, path.name)
    return folder


def _refuse_outside(folder: Path, name: str) -> None:
    """Refuse settings that name what is neither in the archive nor shipped."""
    settings = read_toml(folder / FILE)
    for key in ("inherits", "code_list", "profile"):
        named = str(settings.get(key, "")).replace("\\", "/")
        path = PurePosixPath(named)
        if path.is_absolute() or ".." in path.parts or ":" in named:
            message = f"{name}: {key} {named!r} leads out of the archive; pack it too or name an id"
            raise TableError(message, file=FILE)
    if (parent := str(settings.get("inherits", ""))) and not (SHIPPED / parent / FILE).is_file():
        raise TableError(f"{name}: inherits {parent!r}, which does not ship", file=FILE)


def _placed(book: zipfile.ZipFile, key: str, name: str) -> Path:
    """Unpack into a folder named after the content, whole or not at all."""
    roots = [PurePosixPath(n).parent for n in book.namelist() if PurePosixPath(n).name == FILE]
    if len(roots) != 1:
        raise TableError(f"holds {len(roots)} files {FILE}; pack one scheme", file=name)
    members = {}
    for part in book.infolist():
        path = PurePosixPath(part.filename)
        if path.suffix in TAKEN and roots[0] in (path.parent, path.parent.parent):
            members[path.relative_to(roots[0]).parts] = part
    if sum(part.file_size for part in members.values()) > MOST:
        raise TableError(f"unpacks to more than {MOST >> 20} MiB; use a folder", file=name)
    target = _place() / key
    if target.is_dir():
        return target
    work = Path(tempfile.mkdtemp(prefix=".", dir=target.parent))
    try:
        for parts, part in members.items():
            file = work.joinpath(*(p.replace("\\", "_").replace(":", "_") for p in parts))
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(book.read(part))
        with contextlib.suppress(OSError):  # another process was first
            _platform.replace(work, target)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return target


def _place() -> Path:
    """Return where schemes are unpacked: the user's cache, or a folder that goes with the process."""
    place = _cache.folder()
    if place is not None:
        with contextlib.suppress(OSError):
            (place / "unzipped").mkdir(parents=True, exist_ok=True)
            writable = os.access(place / "unzipped", os.W_OK)
            if writable and _platform.is_ours((place / "unzipped").stat()):
                return place / "unzipped"
    return _own()


@cache
def _own() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="grouper-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
