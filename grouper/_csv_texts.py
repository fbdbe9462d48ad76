"""Texts of a CSV that a spreadsheet would run: marked by an apostrophe, and the way back.

A spreadsheet takes a cell of a CSV that begins with ``= + - @``, a tab or a line break for a formula,
whatever its column holds. Such a text, full-width signs included, gets one apostrophe before it. The
surprise: apostrophes that stand before such a sign already get one more, so taking one away gives every
text back. A plain number such as ``-0.5`` runs nothing and stays as it is.
"""

from __future__ import annotations

import re
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

_RUNS = "^'*[=+\\-@\t\r\n＝＋－＠]"
_MARKED = "^''*[=+\\-@\t\r\n＝＋－＠]"
_NUMBER = r"^[+-]?[0-9]+(\.[0-9]+)?$"


def marked(column: Any) -> Any:
    """Put the apostrophe before texts that a spreadsheet would run; other columns are as they were."""
    column = _plain(column)
    if not _is_text(column.type):
        return column
    runs = pc.match_substring_regex(column, _RUNS)
    if not pc.any(runs).as_py():
        return column
    runs = pc.and_not(runs, pc.match_substring_regex(column, _NUMBER))
    mark = pa.scalar("'", column.type)
    nothing = pa.scalar("", column.type)
    return pc.if_else(runs, pc.binary_join_element_wise(mark, column, nothing), column)


def unmarked(column: Any) -> Any:
    """Take the apostrophe away again: ``unmarked(marked(c))`` holds the texts of `c`."""
    column = _plain(column)
    if not _is_text(column.type):
        return column
    is_marked = pc.match_substring_regex(column, _MARKED)
    if not pc.any(is_marked).as_py():
        return column
    return pc.if_else(is_marked, pc.replace_substring(column, "'", "", max_replacements=1), column)


def marked_text(text: str) -> str:
    """Mark one text; see `marked`."""
    runs = re.match(_RUNS, text) and not re.fullmatch(_NUMBER, text)
    return f"'{text}" if runs else text


def _plain(column: Any) -> Any:
    """Return views of texts as texts, which all functions take."""
    view = pa.types.is_string_view(column.type)
    return column.cast(pa.large_string()) if view else column


def _is_text(kind: Any) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
