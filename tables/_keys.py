"""Keys of DIP catalogues (目录编码): which codes a category, subcategory, range or dagger key matches.

`KeySet.of(code)` answers for any text, listed or not: a code meets the keys of its longest known stem
and those that equal it. What would surprise: a key of six characters or more (the dot not
counted) is a full code and matches that code alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache

from grouper.errors import TableError
from grouper.tables._vocabulary import normal_code

ANY = "*"
FULL = 6
"""Characters, without the dot, from which a key is a full code."""

_PLAIN = re.compile(r"[!-`{-~]*")
_RANGE = re.compile(r"([A-Z]\d{2}(?:\.\d)?)-([A-Z]\d{2}(?:\.\d)?)")
_DIAGNOSIS = re.compile(r"[A-Z][0-9A-Z.+*/\-]*")
_PROCEDURE = re.compile(r"[0-9A-Z][0-9A-Z.\-]*")


def normal(text: str) -> str:
    """Return the form in which codes and keys are compared."""
    return text if _is_plain(text) else normal_code(text)


def _is_plain(text: str) -> bool:
    return bool(_PLAIN.fullmatch(text))


def spelled(code: str) -> str:
    """Return a normal form as the code lists spell it: a lower-case x from the fourth character on."""
    return code[:3] + code[3:].replace("X", "x")


def split(cell: str, by: str = "|") -> tuple[str, ...]:
    """Split a cell into its distinct parts in normal form, in their order."""
    parts = (normal(p) for p in cell.split(by))
    return tuple(dict.fromkeys(p for p in parts if p))


def is_prefix(key: str) -> bool:
    """Tell whether a plain diagnosis key stands for all codes that start with it."""
    return "+" not in key and len(key.replace(".", "")) < FULL


@dataclass(frozen=True)
class KeySet:
    """Compiled keys of one side: which of them match a text, and which of those in full.

    Keys are numbered in the order given. `nodes` maps (stem, dagger wanted) to the keys met by every
    code with that stem; `exact` a whole code to the keys that equal it.
    """

    keys: tuple[str, ...]
    exact: dict[str, frozenset[int]] = field(repr=False)
    nodes: dict[str, frozenset[int]] = field(repr=False)
    dagger: dict[str, frozenset[int]] = field(repr=False)
    longest: int
    always: frozenset[int]

    def of(self, code: str) -> tuple[frozenset[int], frozenset[int]]:
        """Return (keys that match, those of them that equal the code); `code` in normal form."""
        full = self.exact.get(code, frozenset())
        return self.by_stem(code) | full, full

    def by_stem(self, code: str) -> frozenset[int]:
        """Return the keys that match a code by how it begins."""
        found = self.always
        for n in range(min(self.longest, len(code)), 0, -1):
            if (stem := self.nodes.get(code[:n])) is not None:
                found |= stem
                break
        head, plus, _ = code.partition("+")
        if plus and self.dagger:
            found |= self.dagger.get(f"={head}", frozenset())
            for n in range(len(head), 0, -1):
                found |= self.dagger.get(head[:n], frozenset())
        return found

    @property
    def stems(self) -> tuple[str, ...]:
        """One text for each set of keys that a code may meet without equalling a key."""
        heads = [s.removeprefix("=") for s in self.dagger]
        daggers = [f"{s}+" for s in (*self.nodes, *heads)] if self.dagger else []
        return ("", *self.nodes, *daggers)


def diagnosis_keys(keys: Iterable[str]) -> KeySet:
    """Compile diagnosis keys; `check_diagnosis_key` says which are allowed."""
    keys = tuple(dict.fromkeys(keys))
    exact: dict[str, set[int]] = {}
    stems: dict[str, set[int]] = {}
    dagger: dict[str, set[int]] = {}
    always = set()
    for k, key in enumerate(keys):
        if key == ANY:
            always.add(k)
        elif key.startswith("="):
            exact.setdefault(key[1:], set()).add(k)
        elif key.endswith("+"):
            head = key[:-1]
            exact.setdefault(key, set()).add(k)
            dagger.setdefault(head if is_prefix(head) else f"={head}", set()).add(k)
        elif ends := _RANGE.fullmatch(key):
            for stem in _between(*ends.groups()):
                stems.setdefault(stem, set()).add(k)
        else:
            exact.setdefault(key, set()).add(k)
            if is_prefix(key):
                stems.setdefault(key, set()).add(k)
    return _compiled(keys, exact, stems, dagger, always)


def procedure_keys(keys: Iterable[str], prefix_length: int) -> KeySet:
    """Compile procedure keys: whole codes, and prefixes where a key has exactly that length."""
    keys = tuple(dict.fromkeys(keys))
    exact: dict[str, set[int]] = {}
    stems: dict[str, set[int]] = {}
    for k, key in enumerate(keys):
        exact.setdefault(key, set()).add(k)
        if prefix_length and len(key) == prefix_length:
            stems.setdefault(key, set()).add(k)
    return _compiled(keys, exact, stems, {}, set())


def _compiled(
    keys: tuple[str, ...],
    exact: dict[str, set[int]],
    stems: dict[str, set[int]],
    dagger: dict[str, set[int]],
    always: set[int],
) -> KeySet:
    nodes: dict[str, frozenset[int]] = {}
    for stem in sorted(stems, key=len):
        above = next(
            (nodes[stem[:n]] for n in range(len(stem) - 1, 0, -1) if stem[:n] in nodes), ()
        )
        nodes[stem] = frozenset(stems[stem]).union(above)
    return KeySet(
        keys,
        {c: frozenset(x) for c, x in exact.items()},
        nodes,
        {c: frozenset(x) for c, x in dagger.items()},
        max(map(len, nodes), default=0),
        frozenset(always),
    )


@lru_cache(maxsize=4096)
def _between(first: str, last: str) -> tuple[str, ...]:
    """List the stems of a range, both ends included."""
    stems = []
    for letter in range(ord(first[0]), ord(last[0]) + 1):
        for number in range(100):
            category = f"{chr(letter)}{number:02}"
            if len(first) == 3:
                stems.append(category)
            else:
                stems.extend(f"{category}.{d}" for d in range(10))
    return tuple(s for s in stems if first <= s <= last)


def check_diagnosis_key(key: str, file: str, row: int) -> None:
    """Refuse a key that can match nothing or that is not in the notation.

    Raises
    ------
    TableError : names the key and the notation.
    """
    body = key[1:] if key.startswith("=") else key
    if key == ANY:
        return
    if "-" in body:
        ends = _RANGE.fullmatch(body)
        if not ends or len(ends[1]) != len(ends[2]) or ends[1] > ends[2]:
            message = f"range {key!r}: write two keys of equal length in order, such as C00-C75"
            raise TableError(message, file=file, row=row)
    elif not _DIAGNOSIS.fullmatch(body) or body.strip("+") == "":
        message = f"{key!r} is no diagnosis key: A41, K35.3, U84.300, C00-C75, M51.1+ or *"
        raise TableError(message, file=file, row=row)


def check_procedure_key(key: str, file: str, row: int) -> None:
    """Refuse what is no procedure code.

    Raises
    ------
    TableError : names the key.
    """
    if not _PROCEDURE.fullmatch(key):
        message = f"{key!r} is no procedure code; split any-of by | and all-of by +"
        raise TableError(message, file=file, row=row)
