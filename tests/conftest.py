"""Hypothesis without deadlines: the first call of a kernel compiles it, and machines are shared."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile

from hypothesis import settings

settings.register_profile("shared machine", deadline=None)
settings.load_profile("shared machine")

if "GROUPER_CACHE_DIR" not in os.environ:  # compiled schemes of tests stay out of the user's cache
    os.environ["GROUPER_CACHE_DIR"] = tempfile.mkdtemp(prefix="grouper-cache-")
    atexit.register(shutil.rmtree, os.environ["GROUPER_CACHE_DIR"], ignore_errors=True)
