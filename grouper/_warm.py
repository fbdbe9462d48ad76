"""Compile everything ahead (预编译): kernels and shipped schemes, so that no first call waits."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from grouper import _quality
from grouper._calibration import calibrate
from grouper._calibration_options import DipOptions
from grouper._grouping import group
from grouper._settlement import settle
from grouper._writing import write_table
from grouper.errors import CacheError
from grouper.io import read_cases
from grouper.kernels import _jit, _money
from grouper.tables import _cache, load_scheme, scheme_ids
from grouper.testing import make_region

MODULES = ("_money", "calibrate", "codes", "dip", "drg", "payment", "quality")
"""Of `grouper.kernels`: those that hold kernels."""

CASES = 300
SCHEMES = ("chs-drg-1.1", "dip-demo")
"""One of each kind: kernels are the same for all of a kind."""

POLICIES = ("example-point", "example-rate")
"""One of each way to close a fund."""

BLANK = {"case_id": "1", "sex": 1, "age": 66, "diagnoses": ["I21.001"], "procedures": ["", "88.55"]}
"""A case with a procedure that is blank."""

Step = Callable[[str, Callable[[], Any]], Any]


def kernels() -> dict[str, Any]:
    """Return what Numba compiles, by name; empty without the JIT."""
    found = {}
    for name in MODULES:
        for attribute, value in vars(import_module(f"grouper.kernels.{name}")).items():
            if hasattr(value, "signatures") and not value.targetoptions.get("forceinline"):
                found[attribute] = value
    return found


def warm(step: Step) -> dict[str, Any]:
    """Compile what is not compiled yet and keep it (预编译).

    Returns
    -------
    kernels, of which compiled now and the seconds; schemes; the folders that keep them.

    Raises
    ------
    CacheError : a folder of the caches cannot be written; nothing is compiled.
    """
    held = kernels()
    places = _places(held.values())
    start = time.perf_counter()
    schemes = step("schemes", lambda: [load_scheme(name) for name in scheme_ids()])
    step("kernels", _use_all)
    return {
        "kernels": len(held),
        "compiled": sum(sum(k.stats.cache_misses.values()) for k in held.values()),
        "schemes": len(schemes),
        "seconds": round(time.perf_counter() - start, 1),
        "kept_in": places,
    }


def _use_all() -> None:
    """Call every kernel as a run does."""
    region = make_region(CASES)
    with tempfile.TemporaryDirectory() as folder:
        for ending in (".csv", ".parquet"):
            path = Path(folder) / f"cases{ending}"
            write_table(region.cases, path)
            read_cases(path)
    grouped = group(region.cases, SCHEMES[0])
    for policy in POLICIES:
        settle(grouped, policy, hospitals=region.hospitals)
    some = np.ones(2, np.int64)
    _money.split(some, 1, 3, some.copy(), some.copy())  # of `zero_case`, which no example has
    for scheme in SCHEMES:
        group(BLANK, scheme)
    group(region.cases, SCHEMES[1])
    _quality.check_quality(region.cases, scheme=SCHEMES[0])
    for trim in ("percentile", "mean_sd"):
        calibrate(region.cases, "dip", options=DipOptions(threshold=1, trim=trim))
    calibrate(region.cases, "dip", base=SCHEMES[1])


def _places(held: Iterable[Any]) -> list[str]:
    """Return the folders of the caches.

    Raises
    ------
    CacheError : one is not there, is turned off, or cannot be written.
    """
    if not _jit.CACHE:
        raise CacheError("GROUPER_NUMBA_CACHE=0 turns the cache of kernels off; unset it")
    found = dict.fromkeys(k._cache.cache_path for k in held)
    if None in found:
        cure = "set NUMBA_CACHE_DIR to a folder that the user who runs grouper may write, and nobody else"
        raise CacheError(f"compiled kernels cannot be kept: no folder can be written; {cure}")
    tables = _cache.folder()
    if tables is None:
        cure = "unset GROUPER_CACHE=0, or set GROUPER_CACHE_DIR to a folder that may be written"
        raise CacheError(f"compiled schemes cannot be kept: there is no folder for them; {cure}")
    found[str(tables)] = None
    for place in found:
        _try(place)
    return list(found)


def _try(place: str) -> None:
    try:
        Path(place).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as e:
        cure = "let the user who runs grouper write there, or set NUMBA_CACHE_DIR and GROUPER_CACHE_DIR"
        raise CacheError(f"{place} cannot be written ({e.strerror or e}); {cure}") from None
