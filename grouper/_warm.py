"""Warm (预热): compile every kernel into the cache once, so that no later run has to."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from grouper import _demo
from grouper._calibration import calibrate
from grouper._quality import check_quality
from grouper.errors import CacheError
from grouper.kernels import _jit, _money, codes
from grouper.tables import _cache, load_scheme, scheme_ids
from grouper.testing import make_region

MODULES = ("_money", "calibrate", "codes", "dip", "drg", "payment", "quality")
CASES = 300


class Warmed(NamedTuple):
    """What warming did: kernels at hand, those that are not, seconds, folders of the cache."""

    kernels: int
    missing: tuple[str, ...]
    seconds: float
    places: tuple[str, ...]


def warm() -> Warmed:
    """Run every way through the package on a small synthetic region, in a folder that goes again.

    Raises
    ------
    CacheError : a folder of the caches cannot be written; nothing is compiled then.
    """
    held = compiled()
    places = _places(held.values())
    start = time.monotonic()
    for name in scheme_ids():
        load_scheme(name)
    with tempfile.TemporaryDirectory() as folder:
        for method in _demo.METHODS:
            _demo.make(Path(folder) / method, CASES, None, 1, method, 1, "en")
    cases = make_region(CASES).cases
    check_quality(cases, threads=1)
    alike = pa.array([0] * CASES)  # so many of one kind that a catalogue has a group
    for name in ("diagnoses", "procedures"):
        cases = cases.set_column(cases.column_names.index(name), name, cases[name].take(alike))
    for base in (None, _demo.SCHEMES["dip"]):
        calibrate(cases, "dip", base=base, threads=1)
    _by_hand()
    missing = tuple(sorted(k for k, d in held.items() if not d.signatures))
    seconds = round(time.monotonic() - start, 1)
    return Warmed(len(held) - len(missing), missing, seconds, places)


def _places(held: Iterable[Any]) -> tuple[str, ...]:
    """Return the folders of both caches, of kernels and of schemes.

    Raises
    ------
    CacheError : one is turned off, not there, or cannot be written.
    """
    if not _jit.CACHE:
        raise CacheError("GROUPER_NUMBA_CACHE=0 turns the cache of kernels off; unset it")
    found = {getattr(kernel._cache, "cache_path", None) for kernel in held}
    if None in found:
        cure = "name one in NUMBA_CACHE_DIR that this user may write, and nobody else"
        raise CacheError(f"compiled kernels cannot be kept: there is no folder to write to; {cure}")
    tables = _cache.folder()
    if tables is None:
        cure = "unset GROUPER_CACHE=0, or name one in GROUPER_CACHE_DIR"
        raise CacheError(f"compiled schemes cannot be kept: there is no folder for them; {cure}")
    places = (*sorted(p for p in found if p), str(tables))
    for place in places:
        _try(place)
    return places


def _try(place: str) -> None:
    try:
        Path(place).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as e:
        cure = "let this user write there, or name others in NUMBA_CACHE_DIR and GROUPER_CACHE_DIR"
        raise CacheError(f"{place} cannot be written ({e.strerror or e}); {cure}") from None


def _by_hand() -> None:
    """Call what only some policies and schemes need: shares of an amount, codes that are dropped."""
    fen, ids = np.ones(1, np.int64), np.zeros(1, np.int32)
    _money.scale(fen, fen, fen, fen.copy())
    _money.split(fen, 1, 1, fen.copy(), fen.copy())
    off = np.array([0, 1], np.int32)
    codes.drop_blanks(off, ids, off.copy(), ids.copy(), np.zeros(2, np.uint8))


def compiled() -> dict[str, Any]:
    """Return the kernels that Python calls, by name; helpers are built into them. None without the JIT."""
    found = {}
    for module in MODULES:
        for name, held in vars(import_module(f"grouper.kernels.{module}")).items():
            options = getattr(held, "targetoptions", None)
            if options is not None and not options.get("forceinline"):
                found[f"{held.py_func.__module__.rpartition('.')[2]}.{name}"] = held
    return found
