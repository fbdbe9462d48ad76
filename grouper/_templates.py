"""Templates of cases: what a scheme's rules ask for, tried on the grouper itself.

For every ADRG row: list the ways through its rule, draw codes and facts that each way asks for, keep
those that the grouper puts into the row. Nothing here names a group or a set.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import chain, islice, product
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.random import PCG64, Generator, SeedSequence
from numpy.typing import NDArray

from grouper._columns import COLUMNS
from grouper._grouping import group
from grouper.tables import DrgScheme, Status, _rules
from grouper.tables._rules import And, Atom, Compare, Count, Member, Or, Rule, atoms, sets_of
from grouper.tables._types import DIAGNOSES, I32, MISSING, PROCEDURES, Fact, Side

SeedKey: TypeAlias = tuple[int, tuple[int, ...]]  # entropy and spawn key of a SeedSequence
Flags: TypeAlias = NDArray[np.bool_]
Columns: TypeAlias = dict[str, Any]  # name -> pyarrow array

PROPOSED, KEPT = 768, 256  # templates of an ADRG row
WIDTH, WAYS = 4, 64  # most codes of a template on one side, ways through a rule that are tried
FAR = 2**31 - 1
MOTHERS, NEWBORNS = "O", "P"  # chapters of ICD-10 that belong to one kind of patient
FACT_COLUMNS = {
    **{"sex": Fact.SEX, "age": Fact.AGE, "age_days": Fact.AGE_DAYS},
    **{"birth_weight": Fact.WEIGHT, "admission_weight": Fact.WEIGHT},
    **{"los": Fact.LOS, "icu_hours": Fact.ICU_HOURS},
}


@dataclass(frozen=True)
class Book:
    """A scheme's codes, as the draws ask for them; arrays over code ids."""

    scheme: DrgScheme

    @cached_property
    def chapter(self) -> NDArray[np.str_]:
        return np.array([c[:1] for c in self.scheme.codes])

    @cached_property
    def usable(self) -> Flags:
        """Tell which codes an ordinary file holds: in the code list, not grey 灰码."""
        found = np.asarray(self.scheme.arrays.is_grey[1:] == 0)
        if listed := self.scheme.code_list:
            known = listed.diagnoses.keys() | listed.procedures.keys()
            found &= np.array([c in known for c in self.scheme.codes])
        return found

    @cached_property
    def principals(self) -> I32:
        return self.members(self.tested(Side.ZYZD))

    @cached_property
    def groups(self) -> list[str]:
        """Every DRG code once, in the order of trial."""
        return list(dict.fromkeys(d.code for d in self.scheme.drgs))

    @cached_property
    def group_of_drg(self) -> I32:
        index = {code: k for k, code in enumerate(self.groups)}
        return np.array([index[d.code] for d in self.scheme.drgs], np.int32)

    def flags(self, names: Iterable[str]) -> Flags:
        """Tell which codes are in any of these sets."""
        within = np.zeros(len(self.scheme.codes), np.bool_)
        levels = {"MCC": self.scheme.mcc, "CC": self.scheme.cc}
        for name in names:
            known = self.scheme.code_id
            within[[known[c] for c in levels.get(name, ())] or self.scheme.sets.get(name, [])] = (
                True
            )
        return within

    def members(self, names: Iterable[str]) -> I32:
        """Return the ids in any of these sets; usable ones only, unless there are none."""
        within = self.flags(names)
        within &= self.usable | (not (within & self.usable).any())
        return np.flatnonzero(within).astype(np.int32)

    def tested(self, side: Side, *, facts: bool = False) -> set[str]:
        """Name the sets that rules (those that also compare `facts`) look for on this side."""
        rules = [r.rule for r in (*self.scheme.mdcs, *self.scheme.adrgs, *self.scheme.drgs)]
        if facts:
            rules = [r for r in rules if any(isinstance(a, Compare) for a in atoms(r))]
        return {name for r in rules for name, sides in sets_of(r).items() if sides & side}


class Templates(NamedTuple):
    """Cases in short: their ADRG row, code ids (−1 = none, at the end) and facts."""

    row: I32  # [t]
    dx: I32  # [t, WIDTH]
    px: I32  # [t, WIDTH]
    facts: I32  # [t, 8]


@lru_cache(maxsize=4)
def find_templates(book: Book, seed: SeedKey) -> Templates:
    """Propose templates for every row that groups; keep those that the grouper puts there."""
    rng = Generator(PCG64(SeedSequence(seed[0], spawn_key=seed[1])))
    found: list[Templates] = []
    for k, adrg in enumerate(book.scheme.adrgs):
        if book.scheme.row_status[k] == Status.GROUPED:
            ways = _ways(And((book.scheme.mdcs[adrg.parent].rule, adrg.rule)))
            for way in ways:
                found += _propose(book, way, k, -(-PROPOSED // len(ways)), rng)
    row, dx, px, facts = (np.concatenate(x) for x in zip(*found, strict=True))
    columns = fact_columns(facts) | {"case_id": case_ids(len(row))}
    for name, ids in (("diagnoses", dx), ("procedures", px)):
        off = np.concatenate([[0], np.cumsum((ids >= 0).sum(axis=1))]).astype(np.int32)
        columns[name] = code_lists(book.scheme.codes, ids[ids >= 0], off)
    hit = group(case_table(columns), book.scheme).drg.adrg == row
    return Templates(row[hit], dx[hit], px[hit], facts[hit])


def _ways(rule: Rule) -> list[tuple[Atom, ...]]:
    """List the conjunctions of atoms that make a rule true, up to a number of them."""
    if isinstance(rule, Or):
        return list(islice(chain.from_iterable(map(_ways, rule.parts)), WAYS))
    if isinstance(rule, And):
        return [tuple(chain(*w)) for w in islice(product(*map(_ways, rule.parts)), WAYS)]
    return [(rule,)]


def _wish(book: Book, way: Sequence[Atom]) -> tuple[list[I32], list[I32], I32, I32]:
    """Return what atoms ask for: per place a list of diagnoses, of procedures; bounds of the facts.

    What cannot be asked for is left to the trial.
    """
    wanted: dict[Side, list[I32]] = {DIAGNOSES: [book.principals], PROCEDURES: []}
    bounds = np.array([[-FAR], [FAR]], np.int32).repeat(len(Fact), axis=1)
    for atom in sorted(way, key=lambda a: len(getattr(a, "vars", ()))):
        if isinstance(atom, Compare) and isinstance(atom.value, int):
            fact, op = _rules.NUMBER_VARIABLES[atom.var], atom.op
            if op in ("=", ">", ">="):
                bounds[0, fact] = max(bounds[0, fact], atom.value + (op == ">"))
            if op in ("=", "<", "<="):
                bounds[1, fact] = min(bounds[1, fact], atom.value - (op == "<"))
        elif isinstance(atom, Member) and not atom.negated:
            _place(wanted, book.members(atom.sets), _rules.sides_of(atom.vars))
        elif isinstance(atom, Count) and atom.op in ("=", ">", ">=") and atom.value < WIDTH:
            ids, sides = book.members([atom.set]), _rules.sides_of(atom.vars)
            _place(wanted, ids, sides)
            wanted[DIAGNOSES if sides & DIAGNOSES else PROCEDURES] += [ids] * (atom.value - 1)
    return wanted[DIAGNOSES], wanted[PROCEDURES], bounds[0], bounds[1]


def _place(wanted: Mapping[Side, list[I32]], ids: I32, sides: Side) -> None:
    """Ask for one of these codes: in the first place if it can be there, else in one of its own."""
    side, first = (DIAGNOSES, Side.ZYZD) if sides & DIAGNOSES else (PROCEDURES, Side.ZYSS)
    shared = ids[np.isin(ids, wanted[side][0])] if wanted[side] else ids
    if sides & first and (len(shared) or sides & side == first):
        wanted[side][:1] = [shared]
    else:
        wanted[side].append(ids)


def _propose(book: Book, way: Sequence[Atom], row: int, n: int, rng: Generator) -> list[Templates]:
    """Draw templates for one way; none if a list it asks for is empty or it asks for too many."""
    dx, px, low, high = _wish(book, way)
    newborn = high[Fact.AGE] == 0 or high[Fact.AGE_DAYS] < FAR
    if not newborn and (book.chapter[dx[0]] != NEWBORNS).any():
        dx[0] = dx[0][book.chapter[dx[0]] != NEWBORNS]
    if max(len(dx), len(px)) > WIDTH or not all(map(len, (*dx, *px))):
        return []
    codes = np.full((2, n, WIDTH), -1, np.int32)
    for side, lists in enumerate((dx, px)):
        for k, ids in enumerate(lists):
            codes[side, :, k] = rng.permutation(popular(ids, 2, n, rng))
    facts = np.where((low > -FAR) | (high < FAR), np.clip(5, low, high), MISSING)
    facts = facts.astype(np.int32)[None, :].repeat(n, axis=0)
    mother = book.chapter[codes[0, :, 0]] == MOTHERS
    age = np.where(rng.random(n) < 0.1, rng.integers(1, 15, n), rng.normal(57, 17, n).clip(15, 99))
    age = np.zeros(n) if newborn else np.where(mother, rng.integers(17, 46, n), age)
    days = rng.integers(0, 29, n)
    infant = (rng.random(n) < 0.01) & (not newborn)
    age[infant], days[infant] = 0, rng.integers(29, 365, infant.sum())
    least = max(700, low[Fact.WEIGHT])
    grams = least + rng.beta(4, 3, n) * max(min(4500, high[Fact.WEIGHT]) - least, 0)
    sex = np.where(mother, 2, rng.integers(1, 3, n))
    for fact, value in zip(FACT_COLUMNS.values(), (sex, age, days, grams), strict=False):
        facts[:, fact] = np.clip(value, low[fact], high[fact])
    facts[facts[:, Fact.AGE] > 0, Fact.AGE_DAYS] = MISSING
    facts[:, Fact.WEIGHT] = facts[:, Fact.WEIGHT] if newborn else MISSING
    return [Templates(np.full(n, row, np.int32), codes[0], codes[1], facts)]


def popular(ids: I32, head: int, n: int, rng: Generator) -> I32:
    """Spread `n` places over codes by popularity 1 / (rank + head), in an order of its own."""
    share = np.cumsum(1.0 / (np.arange(len(ids)) + head))
    return rng.permutation(ids)[np.searchsorted(share / share[-1], (np.arange(n) + 0.5) / n)]


def case_table(columns: Columns) -> pa.Table:
    """Put columns in the order of the case table."""
    return pa.table({c.name: columns[c.name] for c in COLUMNS if c.name in columns})


def fact_columns(facts: I32) -> Columns:
    values = {name: np.ascontiguousarray(facts[:, f]) for name, f in FACT_COLUMNS.items()}
    return {name: pa.array(x, mask=x == MISSING) for name, x in values.items()}


def code_lists(texts: Sequence[str], ids: I32, off: Any) -> Any:
    """Return list<dictionary<string>> of code ids."""
    used = np.flatnonzero(np.bincount(ids, minlength=len(texts)))
    place = np.zeros(len(texts), np.int32)
    place[used] = np.arange(len(used))
    known = pa.array([texts[k] for k in used.tolist()], pa.string())
    return pa.ListArray.from_arrays(off, pa.DictionaryArray.from_arrays(place[ids], known))


def case_ids(n: int) -> Any:
    text: Any = np.full((n, 10), ord("C"), np.uint8)
    number = np.arange(1, n + 1, dtype=np.uint32)
    for k in range(9, 0, -1):
        number, digit = np.divmod(number, np.uint32(10))
        text[:, k] = digit + ord("0")
    offsets: Any = np.arange(n + 1, dtype=np.int32) * 10
    return pa.StringArray.from_buffers(n, pa.py_buffer(offsets), pa.py_buffer(text))
