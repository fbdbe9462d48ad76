"""Code text → code id, as a hash table that a kernel can probe on raw string buffers.

A code of up to 24 bytes is three 64-bit words; nearly all fit in two. Longer codes, and texts that
need normalising (full-width letters, blanks, lower case), miss the table and are resolved here, once
per distinct text.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from grouper.tables._types import UNKNOWN_CODE, VocabularyArrays

MAX_BYTES = 24

_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_K0, _K1, _K2, _K3 = (np.uint64(k) for k in (0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D, 0x27D4EB2F))


def hash_words(lo: Any, hi: Any) -> Any:
    """Mix two 64-bit words; four 32 × 32 bit products, so nothing ever overflows."""
    x = (lo & _LOW) * _K0 ^ (lo >> _HALF) * _K1 ^ (hi & _LOW) * _K2 ^ (hi >> _HALF) * _K3
    return x ^ (x >> _HALF)


def normal_code(text: str) -> str:
    """Return the form under which spellings of one code agree.

    Compatibility forms (full width) folded, blanks and zero-width characters removed, upper case.
    """
    folded = unicodedata.normalize("NFKC", text)
    return "".join(c for c in folded if not c.isspace() and unicodedata.category(c) != "Cf").upper()


@dataclass(frozen=True)
class Vocabulary:
    """The codes of one side (diagnoses or procedures) that a scheme knows.

    Parameters
    ----------
    ids : code text -> id. mapped : clinical code -> id of the insurer's code it stands for; these
        win over `ids`, each replaced once, without chains.
    """

    ids: Mapping[str, int]
    mapped: Mapping[str, int]

    def resolve(self, text: str) -> tuple[int, bool, bool]:
        """Return (id, was mapped, was normalised) of one text; UNKNOWN_CODE if there is none."""
        normalised = False
        if text not in self.mapped and text not in self.ids:
            text = self._by_normal.get(normal_code(text), "")
            if not text:
                return UNKNOWN_CODE, False, False
            normalised = True
        if text in self.mapped:
            return self.mapped[text], True, normalised
        return self.ids[text], False, normalised

    @cached_property
    def _by_normal(self) -> dict[str, str]:
        return {normal_code(t): t for t in (*self.ids, *self.mapped)}

    @cached_property
    def arrays(self) -> VocabularyArrays:
        """Build the hash table: linear probing, at most a quarter full, no wrap-around."""
        value = {**self.ids, **self.mapped}
        texts = [t for t in value if 0 < len(t.encode()) <= MAX_BYTES]
        raw = np.zeros((len(texts), MAX_BYTES), np.uint8)
        length = np.zeros(len(texts), np.uint8)
        for k, text in enumerate(texts):
            b = text.encode()
            raw[k, : len(b)] = np.frombuffer(b, np.uint8)
            length[k] = len(b)
        words = raw.view("<u8").astype(np.uint64)
        size = 1 << max(4, (4 * len(texts)).bit_length())
        home = (hash_words(words[:, 0], words[:, 1]) & np.uint64(size - 1)).astype(np.int64)
        order = np.argsort(home, kind="stable")
        k = np.arange(len(texts))
        slot = np.maximum.accumulate(home[order] - k) + k if len(texts) else k
        total = max(size, int(slot[-1]) + 1 if len(texts) else 0) + 1  # the last slot stays empty
        lo, hi, tail = (np.zeros(total, np.uint64) for _ in range(3))
        for target, column in ((lo, 0), (hi, 1), (tail, 2)):
            target[slot] = words[order, column]
        lengths, mapped = np.zeros(total, np.uint8), np.zeros(total, np.uint8)
        lengths[slot] = length[order]
        mapped[slot] = np.array([t in self.mapped for t in texts], np.uint8)[order]
        values = np.full(total, UNKNOWN_CODE, np.int32)
        values[slot] = np.array([value[t] for t in texts], np.int32)[order]
        return VocabularyArrays(lo, hi, tail, lengths, values, mapped)

    @property
    def mask(self) -> int:
        """Bits of a hash that choose the home slot."""
        n = sum(1 for t in {**self.ids, **self.mapped} if 0 < len(t.encode()) <= MAX_BYTES)
        return (1 << max(4, (4 * n).bit_length())) - 1
