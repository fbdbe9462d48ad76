"""Code strings → ids, and repeated case ids, straight on string buffers.

A string array is offsets and bytes. Bytes are read as aligned 64-bit words (`words` is the same
memory as `data`), so a code of up to 16 bytes costs two or three loads and one probe. All arithmetic
is on unsigned words and never overflows, so the functions give the same answers uncompiled.
"""

from __future__ import annotations

import numpy as np

from grouper.kernels._jit import kernel
from grouper.tables import _vocabulary
from grouper.tables._types import BLANK_CODE, I32, U8, U64, UNKNOWN_CODE, VocabularyArrays

ZERO, ONE, EIGHT = np.uint64(0), np.uint64(1), np.uint64(8)
WORD_BITS = np.uint64(64)
LOW = np.uint64(0xFFFFFFFF)
HALF = np.uint64(32)
K0, K1 = np.uint64(0x9E3779B1), np.uint64(0x85EBCA77)

hash_words = kernel()(_vocabulary.hash_words)


@kernel()
def load_word(data: U8, words: U64, at: int, n: int) -> np.uint64:
    """Return bytes at … at+n-1 (n > 0, at most 8 are taken) as a little-endian word."""
    k = at >> 3
    if k + 1 < len(words):
        shift = np.uint64((at & 7) * 8)
        word = words[k] >> shift
        if shift != ZERO:
            word |= words[k + 1] << (WORD_BITS - shift)
        if n < 8:
            word &= (ONE << np.uint64(n * 8)) - ONE
        return word
    word = ZERO  # the end of the buffer: byte by byte, never past it
    for j in range(min(n, 8)):
        word |= np.uint64(data[at + j]) << np.uint64(j * 8)
    return word


@kernel()
def find_code(data: U8, words: U64, at: int, n: int, v: VocabularyArrays, mask: int) -> int:
    """Return the slot of the code at `at` of `n` bytes, or -1 if it is not in the table."""
    if n > 24:
        return -1
    lo = load_word(data, words, at, n)
    hi = load_word(data, words, at + 8, n - 8) if n > 8 else ZERO
    tail = load_word(data, words, at + 16, n - 16) if n > 16 else ZERO
    slot = np.int64(hash_words(lo, hi) & np.uint64(mask))
    while v.length[slot] != 0:
        if v.lo[slot] == lo and v.hi[slot] == hi and v.tail[slot] == tail and v.length[slot] == n:
            return slot
        slot += 1
    return -1


@kernel()
def encode_strings(
    offsets: I32,
    data: U8,
    words: U64,
    v: VocabularyArrays,
    mask: int,
    out: I32,
    start: int,
    stop: int,
) -> tuple[int, int]:
    """Write ids of strings start … stop-1; return (how many were not found, how many mapped)."""
    missed, mapped = 0, 0
    for k in range(start, stop):
        at = offsets[k]
        n = offsets[k + 1] - at
        if n == 0:
            out[k] = BLANK_CODE
            continue
        slot = find_code(data, words, at, n, v, mask)
        if slot < 0:
            out[k] = UNKNOWN_CODE
            missed += 1
        else:
            out[k] = v.value[slot]
            mapped += v.mapped[slot]
    return missed, mapped


@kernel()
def gather(indices: I32, ids: I32, out: I32, start: int, stop: int) -> None:
    """Map dictionary indices to ids; a negative index is a blank entry."""
    for k in range(start, stop):
        out[k] = ids[indices[k]] if indices[k] >= 0 else BLANK_CODE


@kernel()
def same_bytes(data: U8, words: U64, a: int, b: int, n: int) -> bool:
    """Compare two stretches of `n` bytes."""
    for j in range(0, n, 8):
        if load_word(data, words, a + j, n - j) != load_word(data, words, b + j, n - j):
            return False
    return True


@kernel()
def mark_repeats(offsets: I32, data: U8, words: U64, slots: I32, repeated: U8) -> None:
    """Mark every string that occurs more than once; `slots` is 2^k ≥ 2n entries of -1."""
    mask = np.uint64(len(slots) - 1)
    for i in range(len(repeated)):
        at = offsets[i]
        n = offsets[i + 1] - at
        h = np.uint64(n)
        for j in range(0, n, 8):
            h ^= load_word(data, words, at + j, n - j)
            h = (h & LOW) * K0 ^ (h >> HALF) * K1
            h ^= h >> HALF
        slot = np.int64(h & mask)
        while slots[slot] >= 0:
            other = slots[slot]
            begin = offsets[other]
            if offsets[other + 1] - begin == n and same_bytes(data, words, at, begin, n):
                repeated[i] = 1
                repeated[other] = 1
                break
            slot = (slot + 1) & (len(slots) - 1)
        if slots[slot] < 0:
            slots[slot] = i


@kernel()
def drop_blanks(off: I32, ids: I32, new_off: I32, new_ids: I32, drop: U8) -> int:
    """Copy lists without blank entries and without ids whose `drop[id + 1]` is 1; return the count."""
    n = 0
    for i in range(len(off) - 1):
        new_off[i] = n
        for k in range(off[i], off[i + 1]):
            if ids[k] != BLANK_CODE and not (ids[k] >= 0 and drop[ids[k] + 1]):
                new_ids[n] = ids[k]
                n += 1
    new_off[len(off) - 1] = n
    return n
