"""Schemes of either kind by id or folder: DRG tables or a DIP catalogue, as `scheme.toml` says."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from threading import RLock
from typing import TypeAlias

from grouper.errors import SchemeNotFound, TableError
from grouper.tables._dip_scheme import DipScheme, load_dip
from grouper.tables._drg_scheme import FILE, DrgScheme
from grouper.tables._files import SHIPPED, read_toml
from grouper.tables._load import load_drg_folder
from grouper.tables._zipped import unzipped

Scheme: TypeAlias = DrgScheme | DipScheme
"""A scheme of either kind; both have id, title, fingerprint, settings and arrays."""

KINDS = ("drg", "dip")
_LOADING = RLock()
"""Threads that ask at once for a shipped scheme get one object, loaded once."""


def scheme_ids() -> list[str]:
    """List the schemes that ship with the package."""
    return sorted(p.parent.name for p in SHIPPED.glob(f"*/{FILE}"))


def load_scheme(name: str | Path) -> Scheme:
    """Load a scheme (分组方案): the id of a shipped one, a folder in the same layout, or a .zip of one.

    It is immutable: threads may share it. A shipped one is loaded once.

    Raises
    ------
    SchemeNotFound : neither an id nor a folder. TableError : a table is refused; says file and row.
    """
    if str(name) in scheme_ids():
        with _LOADING:
            return _load_shipped(str(name))
    return _load(scheme_folder(name))


def scheme_folder(name: str | Path) -> Path:
    """Find a scheme's folder; see `load_scheme`."""
    if str(name) in scheme_ids():
        return SHIPPED / str(name)
    if (Path(name) / FILE).is_file():
        return Path(name)
    if Path(name).is_file() and Path(name).suffix.casefold() == ".zip":
        return unzipped(Path(name))
    if Path(name).is_file() and Path(name).suffix.casefold() in (".xlsx", ".xls"):
        cure = "make a folder of it: grouper tables import drg3 (or tables, dip3) FILE -o DIR"
        raise TableError(f"a workbook is no scheme; {cure}", file=Path(name).name)
    if Path(name).is_dir():
        raise TableError(f"the folder {name} has no such file", file=FILE)
    raise SchemeNotFound(str(name), scheme_ids())


def load_drg(name: str | Path) -> DrgScheme:
    """Load a scheme that must be a DRG scheme; see `load_scheme`."""
    scheme = load_scheme(name)
    if not isinstance(scheme, DrgScheme):
        raise TableError(f"{scheme.id} is a DIP catalogue; a DRG scheme is needed", file=FILE)
    return scheme


def load_catalogue(name: str | Path) -> DipScheme:
    """Load a scheme that must be a DIP catalogue; see `load_scheme`."""
    scheme = load_scheme(name)
    if not isinstance(scheme, DipScheme):
        raise TableError(f"{scheme.id} is a DRG scheme; a DIP catalogue is needed", file=FILE)
    return scheme


@lru_cache(maxsize=8)
def _load_shipped(name: str) -> Scheme:
    """Load a shipped scheme once: it is immutable, so one object serves all."""
    return _load(SHIPPED / name)


def _load(folder: Path) -> Scheme:
    kind = read_toml(folder / FILE).get("kind", "drg")
    if kind not in KINDS:
        raise TableError(f"kind {kind!r} is none of {', '.join(KINDS)}", file=FILE)
    return load_dip(folder) if kind == "dip" else load_drg_folder(folder)
