"""Rows below a case, looked at once: which code stands there for the first time."""

from __future__ import annotations

from grouper.kernels._jit import kernel
from grouper.tables._types import I64, U8


@kernel()
def first_in_case(case: I64, word: I64, last: I64, first: U8) -> None:
    """Mark the rows whose word no earlier row of their case has.

    `case` is ascending; `word` counts from 0; `last`, one entry a word, begins as -1.
    """
    for row in range(len(case)):
        word_here = word[row]
        first[row] = last[word_here] != case[row]
        last[word_here] = case[row]
