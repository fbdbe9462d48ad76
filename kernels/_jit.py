"""The one place where Numba options are chosen.

Numba's file cache checks only the file that holds a function. A kernel that calls a helper in
another file keeps its old machine code when the helper changes, even across an upgrade of the
package. So the stamp of every cached kernel here is a digest of the whole folder, of the array
types that kernels read, and of Numba's version.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from importlib.resources import files
from typing import Any, ParamSpec, TypeVar, cast

import numba

from grouper import _platform

P = ParamSpec("P")
R = TypeVar("R")

CACHE = os.environ.get("GROUPER_NUMBA_CACHE", "1") == "1"

OUTSIDE = ("_types.py", "_vocabulary.py")
"""Files of `grouper.tables` that kernels compile from."""


def _stamp() -> bytes:
    digest = hashlib.sha256(numba.__version__.encode())
    kernels = (f for f in files("grouper.kernels").iterdir() if f.name.endswith(".py"))
    tables = files("grouper.tables")
    for f in [*sorted(kernels, key=lambda f: f.name), *(tables / name for name in OUTSIDE)]:
        digest.update(f.read_bytes())
    return digest.digest()


STAMP = _stamp()


def kernel(
    *, inline: bool = False, allocates: bool = False
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Compile lazily, release the GIL, keep Python's division errors, cache where it can.

    Parameters
    ----------
    inline : a helper, built into its callers: passing two dozen arrays costs more than most tests.
    allocates : the kernel makes arrays. Others compile without reference counts, which halves
        their time; Numba refuses an allocation there when it compiles.

    Never ``parallel=True``: a prange kernel kills a forked child (GNU OpenMP) and may not be
    entered from two threads (workqueue). Threads are the caller's: see ``grouper._chunks``.
    """

    def wrap(f: Callable[P, R]) -> Callable[P, R]:
        compile_ = numba.njit(nogil=True, error_model="python", forceinline=inline, _nrt=allocates)
        compiled: Any = compile_(f)
        if CACHE and hasattr(compiled, "enable_caching"):  # a plain function without the JIT
            try:
                compiled.enable_caching()
                index = compiled._cache._cache_file
                if not hasattr(index, "_source_stamp"):
                    raise AttributeError("this Numba keeps the stamp elsewhere")
                index._source_stamp = STAMP
                if not _platform.is_safe(compiled._cache.cache_path, __file__):
                    raise RuntimeError("others may write there, and Numba runs what it finds")
            except (RuntimeError, AttributeError, OSError):  # no safe place, or another Numba
                compiled = compile_(f)
        return cast("Callable[P, R]", compiled)

    return wrap
