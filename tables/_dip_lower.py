"""A DIP catalogue's tables → `DipArrays`: classes of codes, terms as bits, candidates by diagnosis.

Order of work: number the groups by stage, collect the terms (sets of keys) that rows and conditions
ask for, compile all keys of a side at once, give every listed code and every stem of a key a class,
write each class's terms and candidates.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import chain, takewhile
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from grouper.tables._dip import (
    COMPARATORS,
    FILE,
    Alternatives,
    DipGroup,
    DipTables,
    Range,
    fact_range,
)
from grouper.tables._keys import KeySet, diagnosis_keys, normal, procedure_keys
from grouper.tables._types import (
    ANY_MAIN,
    DIP_SIDES,
    I32,
    I64,
    NO_MAIN,
    NO_TREATMENT,
    U8,
    U64,
    CodeFlag,
    Comparator,
    DipArrays,
    DipOption,
    Fact,
    frozen,
)

AUX_SCALE = 10**6

K = TypeVar("K")


@dataclass
class _Terms:
    """Sets of keys of one side, numbered; keys numbered as they come."""

    terms: dict[frozenset[str], int] = field(default_factory=dict)
    keys: dict[str, int] = field(default_factory=dict)

    def add(self, keys: frozenset[str]) -> int:
        """Return the number of a term, -1 for the empty one."""
        if not keys:
            return -1
        for k in sorted(keys - self.keys.keys()):
            self.keys[k] = len(self.keys)
        return self.terms.setdefault(keys, len(self.terms))

    def by_key(self) -> list[list[int]]:
        """List the terms that hold each key."""
        found: list[list[int]] = [[] for _ in self.keys]
        for keys, term in self.terms.items():
            for k in keys:
                found[self.keys[k]].append(term)
        return found


DxKey = tuple[frozenset[int], frozenset[int], int]
PxKey = tuple[frozenset[int], frozenset[int], int, int, int]


@dataclass(frozen=True)
class Classes:
    """Which class a text belongs to, listed or not; texts in normal form."""

    dx_keys: KeySet
    px_keys: KeySet
    dx_index: Mapping[DxKey, int]
    px_index: Mapping[PxKey, int]
    excluded: frozenset[str]
    grey: frozenset[str]
    rules: Mapping[str, tuple[int, int]]  # procedure -> flag, diagnosis term
    treatments: Mapping[str, int]
    treatment_stems: Mapping[str, int]

    def dx_key(self, code: str) -> DxKey:
        """Return what tells a diagnosis's class."""
        found, full = self.dx_keys.of(code)
        flags = (code in self.excluded) * CodeFlag.EXCLUDED | (code in self.grey) * CodeFlag.GREY
        return found, full, int(flags)

    def px_key(self, code: str) -> PxKey:
        """Return what tells a procedure's class."""
        found, full = self.px_keys.of(code)
        flags, term = self.rules.get(code, (0, -1))
        flags |= (code in self.grey) * int(CodeFlag.GREY)
        return found, full, flags, term, self.treatment(code)

    def treatment(self, code: str) -> int:
        """Return the treatment of a procedure, -1 = no class."""
        if code in self.treatments:
            return self.treatments[code]
        for n in range(len(code), 0, -1) if self.treatment_stems else ():
            if code[:n] in self.treatment_stems:
                return self.treatment_stems[code[:n]]
        return -1

    def covers_dx(self, code: str) -> bool:
        """Tell whether a key other than `*`, or the exclusion list, knows a diagnosis."""
        found, _ = self.dx_keys.of(code)
        return bool(found - self.dx_keys.always) or code in self.excluded

    def covers_px(self, code: str) -> bool:
        """Tell whether a key, the exclusion list or the class table knows a procedure."""
        known = code in self.rules or self.treatment(code) >= 0
        return known or bool(self.px_keys.of(code)[0])


@dataclass(frozen=True)
class Lowered:
    """A catalogue as arrays, with what encodes codes for it."""

    arrays: DipArrays
    classes: Classes
    order: tuple[DipGroup, ...]  # groups as numbered in the arrays
    aux_rows: tuple[tuple[str, Fraction, int | None], ...]  # by entry of aux_type
    literals: Mapping[str, int]  # discharge modes


def lower_dip(t: DipTables, diagnoses: Iterable[str], procedures: Iterable[str]) -> Lowered:
    """Lower a catalogue; the two lists are all codes that get an id, in normal form."""
    stage_of = {c: k for k, stage in enumerate(t.profile.stage) for c in stage.classes}
    order = tuple(sorted(t.groups, key=lambda g: stage_of[g.kind]))  # stable: row order inside
    dx, px = _Terms(), _Terms()
    conditions = {name: k for k, name in enumerate(t.conditions)}
    groups = _groups(t, order, stage_of, conditions, dx, px)
    tests = [
        (
            conditions[name],
            DIP_SIDES.index(side),
            (px if side in ("main", "procedure") else dx).add(k),
        )
        for name, sides in t.conditions.items()
        for side, k in sides
    ]
    aux, aux_rows, literals = _auxiliary(t, order, conditions, dx)
    rules = {c: (_FLAG[e.handling], dx.add(e.diagnoses)) for c, e in t.not_main.items()}
    principals: dict[str, list[int]] = {}
    for g, group in enumerate(order):
        dx.add(group.principal)
        for k in group.principal:
            principals.setdefault(k, []).append(g)
    classes = _classes(t, dx, px, rules)
    nothing = frozenset[int]()
    kinds = (-1, *sorted(set(classes.treatment_stems.values())))
    of_dx, of_px = ([k.by_stem(s) for s in k.stems] for k in (classes.dx_keys, classes.px_keys))
    dx_index = _numbered([(s, nothing, 0) for s in of_dx], map(classes.dx_key, diagnoses))
    unlisted = [(s, nothing, 0, -1, k) for s in of_px for k in kinds]
    px_index = _numbered(unlisted, map(classes.px_key, procedures))
    arrays = DipArrays(
        **_dx_arrays(dx_index, dx, principals, order, groups["main"]),
        **_px_arrays(px_index, px, order),
        **groups,
        condition_tests=_matrix(tests, 3),
        comparators=_comparators(t),
        options=_options(t),
        **aux,
    )
    arrays = DipArrays(*(frozen(a) for a in arrays))
    return Lowered(
        arrays,
        Classes(**{**classes.__dict__, "dx_index": dx_index, "px_index": px_index}),
        order,
        aux_rows,
        literals,
    )


def _numbered(*keys: Iterable[K]) -> dict[K, int]:
    """Give each distinct key a number, as they come."""
    return {key: n for n, key in enumerate(dict.fromkeys(chain(*keys)))}


_FLAG = {
    "conservative": int(CodeFlag.CONSERVATIVE),
    "not_main": int(CodeFlag.NOT_MAIN),
    "main_only_with": int(CodeFlag.MAIN_ONLY_WITH),
}


def _classes(t: DipTables, dx: _Terms, px: _Terms, rules: Mapping[str, tuple[int, int]]) -> Classes:
    of_class = {c: k for k, kind in enumerate(t.settings.treatment) for c in kind.classes}
    known = {c: of_class[k] for c, k in t.classes.items() if k in of_class}
    grey = t.code_list.grey_diagnoses | t.code_list.grey_procedures if t.code_list else ()
    return Classes(
        dx_keys=diagnosis_keys(dx.keys),
        px_keys=procedure_keys(px.keys, t.profile.procedure_prefix_length),
        dx_index={},
        px_index={},
        excluded=t.excluded,
        grey=frozenset(map(normal, grey)),
        rules=rules,
        treatments={c: k for c, k in known.items() if not c.endswith("*")},
        treatment_stems={c[:-1]: k for c, k in known.items() if c.endswith("*")},
    )


# ------------------------------------------------------------------------------------ classes of codes


def _dx_arrays(
    index: Mapping[DxKey, int],
    terms: _Terms,
    principals: Mapping[str, list[int]],
    order: tuple[DipGroup, ...],
    main: I32,
) -> dict[str, NDArray[Any]]:
    member = np.zeros((len(index), len(terms.terms) // 64 + 1), np.uint64)
    by_key, groups_of = terms.by_key(), [principals.get(k, []) for k in terms.keys]
    off, cand, opens = [0], list[int](), list[int]()
    fulls: list[bool] = []
    is_open = [_is_open(g) for g in order]
    keys = {k for g in order if _is_open(g) for k in (*g.other, *g.any_diagnosis)}
    open_keys = {terms.keys[k] for k in keys}
    for (found, full, _), n in index.items():
        _set_bits(member[n], (term for k in found for term in by_key[k]))
        groups: dict[int, bool] = {}
        for k in found:
            for g in groups_of[k]:
                groups[g] = groups.get(g, False) or k in full
        cand.extend(sorted(groups))
        fulls.extend(groups[g] for g in sorted(groups))
        off.append(len(cand))
        leading = takewhile(is_open.__getitem__, sorted(groups))
        opens.append(sum(1 for _ in leading))
    return {
        "dx_flags": np.array([f | _open(x, open_keys) for x, _, f in index], np.uint8),
        "dx_member": member,
        "cand_off": np.array(off, np.int32),
        "cand": np.array(cand, np.int32),
        "cand_full": np.array(fulls, np.uint8),
        "cand_open": np.array(opens, np.int32),
        "cand_main": main[np.array(cand, np.int32)],
    }


def _is_open(g: DipGroup) -> bool:
    """Tell whether a group takes any principal and asks for some code besides."""
    return "*" in g.principal and bool(
        g.main or g.related or g.anywhere or g.other or g.any_diagnosis
    )


def _open(found: frozenset[int], open_keys: set[int]) -> int:
    return 0 if found.isdisjoint(open_keys) else int(CodeFlag.OPEN)


def _px_arrays(
    index: Mapping[PxKey, int], terms: _Terms, order: tuple[DipGroup, ...]
) -> dict[str, NDArray[Any]]:
    shape = (len(index), len(terms.terms) // 64 + 1)
    member, part = np.zeros(shape, np.uint64), np.zeros(shape, np.uint64)
    by_key = terms.by_key()
    open_keys = {terms.keys[k] for g in order if _is_open(g) for k in g.listed}
    for (found, full, *_), n in index.items():
        _set_bits(member[n], (term for k in found for term in by_key[k]))
        _set_bits(part[n], (term for k in found - full for term in by_key[k]))
    return {
        "px_flags": np.array([key[2] | _open(key[0], open_keys) for key in index], np.uint8),
        "px_member": member,
        "px_part": part,
        "px_with": np.array([key[3] for key in index], np.int32),
        "px_treatment": np.array([key[4] for key in index], np.int8),
    }


def _set_bits(words: U64, bits: Iterable[int]) -> None:
    for bit in bits:
        words[bit >> 6] |= np.uint64(1) << np.uint64(bit & 63)


# -------------------------------------------------------------------------------------------- groups


def _groups(
    t: DipTables,
    order: tuple[DipGroup, ...],
    stage_of: Mapping[str, int],
    conditions: Mapping[str, int],
    dx: _Terms,
    px: _Terms,
) -> dict[str, NDArray[Any]]:
    treatments = {x.id: k for k, x in enumerate(t.settings.treatment)}
    rank = {name: k for k, name in enumerate(t.profile.class_rank)}
    unit = 10**t.settings.score_decimals
    alt_off, alt_term = [0], list[int]()
    alt: list[list[int]] = []
    for g in order:
        places = []
        for dnf in (g.related, g.anywhere):
            places.append(len(alt_off) - 1)
            for terms in _largest_first(dnf):
                alt_term.extend(px.add(keys) for keys in terms)
                alt_off.append(len(alt_term))
            places.append(len(alt_off) - 1)
        alt.append(places)
    test_off, tests = _tests([g.ranges for g in order])

    def bits(names: Iterable[str], index: Mapping[str, int]) -> int:
        return sum(1 << index[n] for n in set(names))

    def whole(values: Iterable[int]) -> I32:
        return np.array(list(values), np.int32)

    def long(values: Iterable[int]) -> I64:
        return np.array(list(values), np.int64)

    def flags(values: Iterable[bool]) -> U8:
        return np.array(list(values), np.uint8)

    main = (ANY_MAIN if g.main is None else px.add(g.main) if g.main else NO_MAIN for g in order)
    return {
        "stage": whole(stage_of[g.kind] for g in order),
        "main": whole(main),
        "listed": whole(px.add(g.listed) if _asks_listed(t) else -1 for g in order),
        "alt": _matrix(alt, 4),
        "alt_off": np.array(alt_off, np.int32),
        "alt_term": np.array(alt_term, np.int32),
        "other": whole(dx.add(g.other) for g in order),
        "first_other": flags(g.first_other for g in order),
        "any_dx": whole(dx.add(g.any_diagnosis) for g in order),
        "test_off": test_off,
        "tests": tests,
        "requires": long(bits(g.requires, conditions) for g in order),
        "forbids": long(bits(g.forbids, conditions) for g in order),
        "treatments": long(bits(g.for_treatment, treatments) for g in order),
        "mixed": np.array(
            [treatments.get(g.treatment, NO_TREATMENT) if g.kind == "mixed" else -1 for g in order],
            np.int8,
        ),
        "rank": whole(rank.get(f"{g.kind} {g.treatment}", len(rank)) for g in order),
        "score": long(-1 if g.score is None else int(g.score * unit) for g in order),
        "mean_fen": long(-1 if g.mean_fen is None else g.mean_fen for g in order),
    }


LISTED = {
    "more_matched_procedures",
    "exact_set",
    "main_procedure_in_group",
    "full_code_before_prefix",
}
"""Comparators that look at all procedure keys of a group."""


def _asks_listed(t: DipTables) -> bool:
    """Tell whether the profile ever looks at all procedure keys of a group together."""
    named = {c for stage in t.profile.stage for c in stage.comparators}
    return bool(named & LISTED) or bool(t.profile.unmatched_surgery)


def _largest_first(dnf: Alternatives) -> Alternatives:
    """Order alternatives by size, so that the first one met counts most terms."""
    return tuple(sorted(dnf, key=len, reverse=True))


def _tests(rows: Iterable[Iterable[Range]]) -> tuple[I32, I32]:
    off, tests = [0], list[tuple[int, int, int]]()
    for ranges in rows:
        tests.extend((int(fact), low, high) for fact, low, high in ranges)
        off.append(len(tests))
    return np.array(off, np.int32), _matrix(tests, 3)


def _matrix(rows: Iterable[Iterable[int]], width: int) -> I32:
    return np.array(list(rows), np.int32).reshape(-1, width)


def _comparators(t: DipTables) -> I32:
    table = np.full((len(t.profile.stage), len(Comparator)), Comparator.CODE_ORDER, np.int32)
    for k, stage in enumerate(t.profile.stage):
        named = list(dict.fromkeys(COMPARATORS[c] for c in stage.comparators))
        table[k, : len(named)] = named
    return table


def _options(t: DipTables) -> I32:
    p = t.profile
    names = [x.id for x in t.settings.treatment]
    options = np.zeros(len(DipOption), np.int32)
    options[DipOption.MAIN_ANY] = p.main_position == "any"
    options[DipOption.EMPTY_MAIN_ANY] = p.empty_main == "any_case"
    options[DipOption.PROMOTE_NEXT] = p.not_main == "promote_next"
    options[DipOption.HIGHEST_OF_ALL] = p.mixed_class_by == "highest_of_all"
    options[DipOption.UNCLASSED] = names.index(t.settings.unclassed)
    unmatched = p.unmatched_surgery
    options[DipOption.UNMATCHED] = names.index(unmatched) if unmatched else -1
    options[DipOption.ANY_CODE] = t.code_list is None
    options[DipOption.HAS_CONDITIONS] = bool(t.conditions)
    return options


# -------------------------------------------------------------------------------------- auxiliary types


def _auxiliary(
    t: DipTables, order: tuple[DipGroup, ...], conditions: Mapping[str, int], dx: _Terms
) -> tuple[
    dict[str, NDArray[Any]], tuple[tuple[str, Fraction, int | None], ...], Mapping[str, int]
]:
    types = t.settings.auxiliary
    number = {x.id: k for k, x in enumerate(types)}
    modes = {m: k for k, m in enumerate(dict.fromkeys(m for x in types for m in x.discharge_mode))}
    off, kinds, factors, rows = [0], [], [], []
    for g in order:
        own = {s.type: s for s in t.subtypes.get("*", ())} | {
            s.type: s for s in t.subtypes.get(g.code, ())
        }
        for s in sorted(own.values(), key=lambda s: number[s.type]):
            kinds.append(number[s.type])
            factors.append(int(s.coefficient * AUX_SCALE))
            rows.append((s.type, s.coefficient, _aux_mean(s.coefficient, s.mean_fen, g)))
        off.append(len(kinds))
    named = {"age": Fact.AGE, "age_days": Fact.AGE_DAYS, "weight": Fact.WEIGHT, "los": Fact.LOS}
    named |= {"icu_hours": Fact.ICU_HOURS}
    test_off, tests = _tests(
        [fact_range(f, getattr(x, c), FILE, 0) for c, f in named.items() if getattr(x, c)]
        for x in types
    )
    terms = [
        (
            dx.add(frozenset(map(normal, x.principal))),
            dx.add(frozenset(map(normal, x.other_diagnoses))),
        )
        for x in types
    ]
    arrays: dict[str, NDArray[Any]] = {
        "aux_off": np.array(off, np.int32),
        "aux_type": np.array(kinds, np.int32),
        "aux_factor": np.array(factors, np.int64),
        "aux_test_off": test_off,
        "aux_tests": tests,
        "aux_dx": _matrix(terms, 2),
        "aux_requires": np.array(
            [sum(1 << conditions[c] for c in set(x.requires)) for x in types], np.int64
        ),
        "aux_modes": np.array(
            [sum(1 << modes[m] for m in set(x.discharge_mode)) for x in types], np.int64
        ),
    }
    return arrays, tuple(rows), modes


def _aux_mean(coefficient: Fraction, mean_fen: int | None, g: DipGroup) -> int | None:
    """Return the subtype's mean: as listed, else the group's times the coefficient, half up."""
    if mean_fen is not None or g.mean_fen is None:
        return mean_fen
    product = coefficient * g.mean_fen
    return (2 * product.numerator + product.denominator) // (2 * product.denominator)
