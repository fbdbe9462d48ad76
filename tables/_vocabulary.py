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

from grouper.tables._types import U64, UNKNOWN_CODE, lock

MAX_BYTES = 24
META = 3
MAPPED_SHIFT, ID_SHIFT = np.uint64(8), np.uint64(16)
ID_BIAS = 8  # ids from -8 on stay positive in the table

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
    def table(self) -> U64:
        """Build the hash table [S, 4]: linear probing, at most half full, no wrap-around.

        A slot is the three words of the text and its meta: length in bytes (0 = empty), whether it
        is a key of the clinical map, id. The last slot stays empty, so a probe always ends.
        """
        value, texts = {**self.ids, **self.mapped}, self._texts
        raw = np.zeros((len(texts), MAX_BYTES), np.uint8)
        meta = np.zeros(len(texts), np.uint64)
        for k, text in enumerate(texts):
            b = text.encode()
            raw[k, : len(b)] = np.frombuffer(b, np.uint8)
            mapped = (text in self.mapped) << int(MAPPED_SHIFT)
            meta[k] = len(b) | mapped | (value[text] + ID_BIAS) << int(ID_SHIFT)
        words = raw.view("<u8").astype(np.uint64)
        home = (hash_words(words[:, 0], words[:, 1]) & np.uint64(self.mask)).astype(np.int64)
        order = np.argsort(home, kind="stable")
        rank = np.arange(len(texts))
        slot = np.maximum.accumulate(home[order] - rank) + rank if len(texts) else rank
        table = np.zeros((max([self.mask, *slot[-1:]]) + 2, 4), np.uint64)
        table[slot, :3] = words[order]
        table[slot, META] = meta[order]
        lock([table])
        return table

    def keep(self, table: U64) -> None:
        """Take a table that was built from these codes before."""
        vars(self)["table"] = table

    @cached_property
    def mask(self) -> int:
        """Bits of a hash that choose the home slot."""
        return _size(len(self._texts)) - 1

    @cached_property
    def _texts(self) -> list[str]:
        return [t for t in {**self.ids, **self.mapped} if 0 < len(t.encode()) <= MAX_BYTES]


def _size(n: int) -> int:
    return 1 << max(4, (2 * n - 1).bit_length())
