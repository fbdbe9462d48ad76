"""Code strings → ids, and repeated case ids, straight on string buffers.

A string array is offsets and bytes. Bytes are read as aligned 64-bit words (`words` is the same
memory as `data`), so a code of up to 16 bytes costs two or three loads and one probe. All arithmetic
is on unsigned words and never overflows, so the functions give the same answers uncompiled.
"""

from __future__ import annotations

import numpy as np

from grouper.kernels._jit import kernel
from grouper.tables import _vocabulary
from grouper.tables._types import BLANK_CODE, I32, REPEATED_CODE, U8, U64, UNKNOWN_CODE, Int
from grouper.tables._vocabulary import ID_BIAS, ID_SHIFT, MAPPED_SHIFT, MAX_BYTES, META

ZERO, ONE, BYTE = np.uint64(0), np.uint64(1), np.uint64(255)
WORD_BITS = np.uint64(64)
LOW = np.uint64(0xFFFFFFFF)
HALF = np.uint64(32)
K0, K1 = np.uint64(0x9E3779B1), np.uint64(0x85EBCA77)

FEW = 32  # up to here repeats are looked for pair by pair, beyond by sorting

hash_words = kernel(inline=True)(_vocabulary.hash_words)


@kernel(inline=True)
def load_word(data: U8, words: U64, at: int, n: int) -> Int:
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


@kernel(inline=True)
def find_code(data: U8, words: U64, at: int, n: int, table: U64, mask: int) -> Int:
    """Return the slot of the code at `at` of `n` bytes, or -1 if it is not in the table."""
    if n > MAX_BYTES:
        return -1
    lo = load_word(data, words, at, n)
    hi = load_word(data, words, at + 8, n - 8) if n > 8 else ZERO
    tail = load_word(data, words, at + 16, n - 16) if n > 16 else ZERO
    slot = np.int64(hash_words(lo, hi) & np.uint64(mask))
    while table[slot, META] != ZERO:
        if (
            table[slot, 0] == lo
            and table[slot, 1] == hi
            and table[slot, 2] == tail
            and table[slot, META] & BYTE == np.uint64(n)
        ):
            return slot
        slot += 1
    return -1


@kernel()
def encode_strings(
    offsets: I32, data: U8, words: U64, table: U64, mask: int, out: I32, start: int, stop: int
) -> tuple[Int, Int]:
    """Write ids of strings start … stop-1; return (how many were not found, how many mapped).

    `table` is that of `Vocabulary.table`.
    """
    missed: Int = 0
    mapped: Int = 0
    for k in range(start, stop):
        at = offsets[k]
        n = offsets[k + 1] - at
        if n == 0:
            out[k] = BLANK_CODE
            continue
        slot = find_code(data, words, at, n, table, mask)
        if slot < 0:
            out[k] = UNKNOWN_CODE
            missed += 1
        else:
            meta = table[slot, META]
            out[k] = np.int64(meta >> ID_SHIFT) - ID_BIAS
            mapped += np.int64((meta >> MAPPED_SHIFT) & ONE)
    return missed, mapped


@kernel()
def gather(indices: I32, ids: I32, out: I32, start: int, stop: int) -> None:
    """Map dictionary indices to ids; a negative index is a blank entry."""
    for k in range(start, stop):
        out[k] = ids[indices[k]] if indices[k] >= 0 else BLANK_CODE


@kernel(inline=True)
def same_bytes(data: U8, words: U64, a: int, b: int, n: int) -> bool:
    """Compare two stretches of `n` bytes."""
    for j in range(0, n, 8):
        if load_word(data, words, a + j, n - j) != load_word(data, words, b + j, n - j):
            return False
    return True


@kernel()
def mark_repeats(offsets: I32, data: U8, words: U64, slots: U64, repeated: U8) -> None:
    """Mark every string that occurs more than once.

    `slots` is 2^k ≥ 2n zeros; a used one holds 32 bits of the hash and the row + 1.
    """
    last = len(slots) - 1
    for i in range(len(repeated)):
        at = offsets[i]
        n = offsets[i + 1] - at
        h = np.uint64(n)
        for j in range(0, n, 8):
            h ^= load_word(data, words, at + j, n - j)
            h = (h & LOW) * K0 ^ (h >> HALF) * K1
            h ^= h >> HALF
        slot = np.int64(h) & last
        while slots[slot] != ZERO:
            if slots[slot] >> HALF == h >> HALF:
                other = np.int64(slots[slot] & LOW) - 1
                begin = offsets[other]
                if offsets[other + 1] - begin == n and same_bytes(data, words, at, begin, n):
                    repeated[i] = 1
                    repeated[other] = 1
                    break
            slot = (slot + 1) & last
        if slots[slot] == ZERO:
            slots[slot] = (h >> HALF) << HALF | np.uint64(i + 1)


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


@kernel(allocates=True)
def blank_repeats(off: I32, ids: I32, first: int, start: int, stop: int) -> None:
    """Turn repeats of a code in the lists of rows start … stop-1 into REPEATED_CODE.

    `first` = 1 leaves the first entry of each list out of the comparison (the principal diagnosis).
    """
    for i in range(start, stop):
        begin, end = off[i] + first, off[i + 1]
        if end - begin <= FEW:
            for k in range(begin + 1, end):
                for j in range(begin, k):
                    if ids[k] >= 0 and ids[j] == ids[k]:
                        ids[k] = REPEATED_CODE
                        break
        else:
            order = np.argsort(ids[begin:end], kind="mergesort")  # stable: the first one stays
            previous = BLANK_CODE
            for k in order:
                code = ids[begin + k]
                if code >= 0 and code == previous:
                    ids[begin + k] = REPEATED_CODE
                previous = code
