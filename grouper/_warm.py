"""Warm (预热): compile every kernel into the cache once, so that no later run has to."""

from __future__ import annotations

import tempfile
import time
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from grouper import _demo
from grouper._calibration import calibrate
from grouper._quality import check_quality
from grouper.kernels import _money, codes
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
    """Run every way through the package on a small synthetic region, in a folder that goes again."""
    start = time.monotonic()
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
    found = compiled()
    missing = tuple(sorted(k for k, d in found.items() if not d.signatures))
    places = {p for d in found.values() if (p := getattr(d._cache, "cache_path", None))}
    seconds = round(time.monotonic() - start, 1)
    return Warmed(len(found) - len(missing), missing, seconds, tuple(sorted(places)))


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
