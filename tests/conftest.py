"""Hypothesis without deadlines: the first call of a kernel compiles it, and machines are shared."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("shared machine", deadline=None)
settings.load_profile("shared machine")
