"""Which groups a region's cases make: keys of diagnosis and procedures, related ones, mixed groups.

Order of work: number the pairs of diagnosis and main procedure, number their combinations of related
procedures, open those that raise the cost, keep what is large enough; match every case against that;
count the rest by category and treatment.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grouper import _chunks
from grouper._calibration_cases import Gathered
from grouper._calibration_files import Folder, write_folder
from grouper._calibration_options import DipOptions
from grouper._grouping import group_dip_range
from grouper._statistics import text_of
from grouper.errors import TableError
from grouper.kernels import calibrate as kernels
from grouper.tables import DipScheme
from grouper.tables._dip import CONSERVATIVE
from grouper.tables._dip_scheme import load_dip
from grouper.tables._keys import check_diagnosis_key, check_procedure_key, spelled
from grouper.tables._types import (
    DIAGNOSES,
    I32,
    I64,
    MISSING,
    PROCEDURES,
    DipCases,
    Fact,
    empty_dip_groups,
)

KEY_CHARACTERS, CATEGORY = 4, 3
PIECE = 1 << 20


@dataclass(frozen=True, order=True)
class Key:
    """What a group is made of, as texts of groups.csv."""

    kind: str
    principal: str
    main: str = ""
    related: str = ""
    treatment: str = ""

    @property
    def code(self) -> str:
        """The group's code."""
        principal = self.principal.removeprefix("=")
        if self.kind == "mixed":
            return f"{principal}:{self.treatment}"
        return f"{principal}:{'+'.join(x for x in (self.main, self.related) if x) or '-'}"

    def row(self) -> dict[str, str]:
        """Return the cells that matching reads."""
        cells = {"code": self.code, "class": self.kind, "principal": self.principal}
        cells |= {"main": self.main, "related": self.related, "treatment": self.treatment}
        if self.kind == "mixed":
            cells |= {"main": "*", "for_treatment": self.treatment}
        return cells


def core_keys(found: Gathered, draft: Folder, options: DipOptions) -> tuple[list[Key], int, str]:
    """Choose the core groups; return them sorted, the threshold and the share of cases they hold."""
    pairs, pair_of, main_of = _pairs(found)
    related, count = _related(found)
    number, first = _combinations(found, pair_of, related, count)
    n, hi, lo = (np.zeros(len(first), np.int64) for _ in range(3))
    kernels.add_costs(number, found.cost, n, hi, lo)
    pair = pair_of[first]
    has_related = count[first] > 0
    least = 1
    if options.coverage is None:
        least = threshold = options.threshold * found.years_with_cases
    rises = _rising(
        pair, has_related & (n >= least), ~has_related, n, (hi, lo), options.related_rise
    )
    clean = int(found.clean.sum())

    def rest(opens: NDArray[np.bool_]) -> I64:
        kept = np.bincount(pair[~opens], n[~opens], minlength=len(pairs))
        return np.asarray(kept, np.int64)

    if options.coverage is not None:
        units = np.sort(np.concatenate([n[rises], rest(rises)]))[::-1]
        wanted = Fraction(options.coverage) * clean
        reached = np.flatnonzero(np.cumsum(units) >= -(-wanted.numerator // wanted.denominator))
        threshold = max(int(units[reached[0]]), 1) if len(reached) else 1
    opens = rises & (n >= threshold)
    sizes = rest(opens)
    keys = []
    for p in np.flatnonzero(sizes >= max(threshold, 1)).tolist():
        keys.append(_core_key(draft, found, pairs[p], main_of[p], ()))
    for k in np.flatnonzero(opens).tolist():
        i = int(first[k])
        begin = int(found.px_off[i])
        others = [found.px_texts[x] for x in related[begin : begin + count[i]].tolist()]
        keys.append(_core_key(draft, found, pairs[int(pair[k])], main_of[int(pair[k])], others))
    held = int(sizes[sizes >= max(threshold, 1)].sum() + n[opens].sum())
    return sorted(keys), threshold, text_of(Fraction(held, clean) if clean else Fraction(0), 4)


def _pairs(found: Gathered) -> tuple[list[str], I32, list[int]]:
    """Give each pair of diagnosis key and main procedure a number.

    Returns
    -------
    The diagnosis key of each pair, the pair of each case (-1 = none), the main procedure id of each.
    """
    stems = [_stem(text) for text in found.dx_texts]
    distinct = sorted({s for s in stems if s})
    place = {s: k for k, s in enumerate(distinct)}
    of_text = np.array([*(place.get(s, -1) for s in stems), -1], np.int64)
    usable = np.array([*map(_is_procedure, found.px_texts), False], np.bool_)
    at = found.px_off[:-1] + np.maximum(found.main, 0)
    main = np.full(len(found.main), -1, np.int64)
    has = found.main >= 0
    main[has] = found.px[at[has]]
    stem = of_text[found.principal]
    fits = found.clean & (stem >= 0) & ((found.main < 0) | ((main >= 0) & usable[main]))
    joined = (stem + 1) << 32 | (main + 1)
    values, inverse = np.unique(joined[fits], return_inverse=True)
    pair_of = np.full(len(main), -1, np.int32)
    pair_of[fits] = inverse
    keys = [distinct[int(v >> 32) - 1] for v in values]
    return keys, pair_of, [int(v & 0xFFFFFFFF) - 1 for v in values]


def _stem(text: str) -> str:
    """Return the diagnosis key of a code: its first four characters, or `=` and the whole; "" = none."""
    if text.startswith("="):  # no code: as a key it would mean another
        return ""
    n = 0
    for k, letter in enumerate(text):
        n += letter != "."
        if letter == "+":
            break
        if n == KEY_CHARACTERS:
            return _checked(text[: k + 1])
    return _checked(f"={text}")


def _checked(key: str) -> str:
    try:
        check_diagnosis_key(key, "", 0)
    except TableError:
        return ""
    return key if "|" not in key and "-" not in key else ""


def _is_procedure(text: str) -> bool:
    try:
        check_procedure_key(text, "", 0)
    except TableError:
        return False
    return True


def _related(found: Gathered) -> tuple[I32, I32]:
    """Return the related procedures of each case, sorted by id, and how many."""
    related, count = np.empty_like(found.px), np.empty(len(found.main), np.int32)
    kernels.related_lists(found.px_off, found.px, found.main, related, count)
    return related, count


def _combinations(found: Gathered, pair_of: I32, related: I32, count: I32) -> tuple[I32, I64]:
    """Give each pair with its related procedures a number.

    Returns
    -------
    The number of each case (-1 = none), a case of each number.
    """
    n = len(pair_of)
    slots = np.full(1 << max(4, (2 * n - 1).bit_length()), -1, np.int32)
    number, first = np.empty(n, np.int32), np.empty(n, np.int32)
    many = kernels.intern_lists(pair_of, found.px_off, related, count, slots, number, first)
    return number, first[:many].astype(np.int64)


def _rising(
    pair: I32,
    asked: NDArray[np.bool_],
    is_base: NDArray[np.bool_],
    n: I64,
    sums: tuple[I64, I64],
    rise: Decimal,
) -> NDArray[np.bool_]:
    """Tell which combinations cost so much more than their pair without related procedures."""
    base = {int(pair[k]): k for k in np.flatnonzero(is_base).tolist()}
    rises = np.zeros(len(pair), np.bool_)
    factor = 1 + Fraction(rise) / 100
    over, under = factor.numerator, factor.denominator
    hi, lo = sums

    def total(k: int) -> int:
        return (int(hi[k]) << kernels.LIMB) + int(lo[k])

    for k in np.flatnonzero(asked).tolist():
        b = base.get(int(pair[k]))
        if b is not None:
            rises[k] = total(k) * int(n[b]) * under >= over * total(b) * int(n[k])
    return rises


def _core_key(draft: Folder, found: Gathered, stem: str, main: int, others: Iterable[str]) -> Key:
    text = found.px_texts[main] if main >= 0 else ""
    related = "+".join(sorted(spelled(x) for x in others))
    treatment = draft.treatment_of(text) if text else CONSERVATIVE
    return Key("core", spelled(stem), spelled(text), related, treatment)


def mixed_keys(found: Gathered, draft: Folder, matched: I32, threshold: int) -> list[Key]:
    """Count what no core group takes by category × treatment; return the groups that are large enough."""
    heads = [t[:CATEGORY] for t in found.dx_texts]
    categories = ["" if len(h) < CATEGORY or h[0] == "=" else _checked(h) for h in heads]
    distinct = sorted({c for c in categories if c})
    place = {c: k for k, c in enumerate(distinct)}
    of_text = np.array([*(place.get(c, -1) for c in categories), -1], np.int64)
    category = of_text[found.principal]
    left = found.clean & (matched < 0) & (category >= 0)
    many = len(draft.treatments)
    cells = np.bincount(category[left] * many + found.treatment[left])
    return sorted(
        Key("mixed", spelled(distinct[k // many]), treatment=draft.treatments[k % many])
        for k in np.flatnonzero(cells >= max(threshold, 1)).tolist()
    )


def match(found: Gathered, draft: Folder, keys: Sequence[Key], threads: int | None) -> I32:
    """Group all clean cases by a drafted catalogue; return the place of each one's key, -1 = none."""
    with tempfile.TemporaryDirectory() as name:
        write_folder(draft, Path(name), [key.row() for key in keys])
        scheme = load_dip(Path(name), drafting=True)
    of_dx, of_px = (scheme.vocabulary(side) for side in (DIAGNOSES, PROCEDURES))
    special = np.arange(-8, 0, dtype=np.int32)
    ids = [
        np.concatenate([special, [v.resolve(spelled(t))[0] for t in texts]]).astype(np.int32)
        for v, texts in ((of_dx, found.dx_texts), (of_px, found.px_texts))
    ]
    classes = of_dx.classes, of_px.classes
    place = np.array([*(g.line - 2 for g in scheme.groups), -1], np.int32)
    n = len(found.cost)
    matched = np.empty(n, np.int32)
    for a in range(0, n, PIECE):
        b = min(a + PIECE, n)
        off = found.px_off[a : b + 1]
        cases = DipCases(
            np.arange(b - a + 1, dtype=np.int32),
            ids[0][found.principal[a:b] + 8],
            (off - off[0]).astype(np.int32),
            ids[1][found.px[off[0] : off[-1]] + 8],
            np.full((b - a, len(Fact)), MISSING, np.int32),
            (~found.clean[a:b]).astype(np.uint8),
            *classes,
            found.cost[a:b],
        )
        out = empty_dip_groups(b - a)
        _chunks.run(_grouping_task(cases, scheme, out), b - a, threads)
        matched[a:b] = place[out.group]
    return matched


def _grouping_task(cases: DipCases, scheme: DipScheme, out: Any) -> Any:
    return lambda a, b: group_dip_range(cases, scheme, out, a, b)
