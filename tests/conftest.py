"""Hypothesis without deadlines: the first call of a kernel compiles it, and machines are shared.

The same examples in every run, so that a change is judged by itself; GROUPER_RANDOM=1 draws others.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile

from hypothesis import settings

seen = "GROUPER_RANDOM" not in os.environ
settings.register_profile("shared machine", deadline=None, derandomize=seen)
settings.load_profile("shared machine")

if "GROUPER_CACHE_DIR" not in os.environ:  # compiled schemes of tests stay out of the user's cache
    os.environ["GROUPER_CACHE_DIR"] = tempfile.mkdtemp(prefix="grouper-cache-")
    atexit.register(shutil.rmtree, os.environ["GROUPER_CACHE_DIR"], ignore_errors=True)
