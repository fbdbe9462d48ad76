"""What the linter says of a scheme or policy."""

from __future__ import annotations

from typing import NamedTuple


class Finding(NamedTuple):
    """One finding: a stable code, where it is, what it is."""

    code: str
    place: str
    message: str
