"""Fen (分) as yuan (元) text and back, in integers."""

from __future__ import annotations


def yuan(fen: int) -> str:
    """Write fen as yuan with two decimals, no separators."""
    return f"{'-' if fen < 0 else ''}{abs(fen) // 100}.{abs(fen) % 100:02}"


def fen_of(text: str) -> int:
    """Read yuan as `yuan` writes it, not negative."""
    whole, _, cents = text.partition(".")
    return int(whole) * 100 + int(cents.ljust(2, "0"))
