"""Test data: a synthetic region of DRG cases, and a table of everything that real files get wrong.

Order of work: read from the scheme's rules what each ADRG row asks of a case, propose templates
(principal diagnosis, main procedure, sex, age), keep those that the grouper puts into their row, draw
cases from them, group the cases, price each by its group's weight. Nothing here names a group or a
set. The surprise: a row that no template reaches gets no case, whatever the reason.

Calibration, as measured on published discharge records: log cost has a standard deviation of 1.03
overall and 0.75 within a group, log length of stay 0.71 within a group (mean 5.3 days, 95th
percentile 16); 5.8 diagnoses a case; 2.5 % die; the ten largest groups hold 20–33 % of the cases.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields
from datetime import date
from decimal import Decimal
from functools import cached_property
from itertools import chain, islice, product
from pathlib import Path
from statistics import NormalDist
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.random import PCG64, Generator, SeedSequence
from numpy.typing import NDArray

from grouper._columns import BY_NAME, COLUMNS
from grouper._grouping import group
from grouper.tables import Scheme, Status, load_scheme
from grouper.tables._rules import NUMBER_VARIABLES, SEVERITY_SETS, And, Atom, Compare, Const, Count
from grouper.tables._rules import Member, Or, Rule, atoms, sets_of, sides_of
from grouper.tables._types import DIAGNOSES, I32, I64, MISSING, PROCEDURES, U8, Fact, Side

__all__ = ["Region", "hostile_cases", "make_region"]

F64: TypeAlias = NDArray[np.float64]
Flags: TypeAlias = NDArray[np.bool_]
Columns: TypeAlias = dict[str, Any]  # name -> pyarrow array

STREAMS = ("templates", "region", "cases", "diagnoses", "procedures", "weights", "money")
TEMPLATES, PROPOSED = 256, 768  # kept and proposed for an ADRG row
WIDTH, WAYS = 4, 64  # codes a template may ask for on one side; ways through a rule that are tried
LARGEST = 2**31 - 1

SIGMA_GROUPS, SIGMA_HOSPITALS, SIGMA_COST = 0.70, 0.294, 0.69  # of log cost; 1.03 together
MEAN_COST_FEN = 900_000
SIGMA_LOS_GROUPS, SIGMA_LOS, MEDIAN_LOS, LONGEST = 0.58, 0.69, 3.5, 180  # of log days; days
SIGMA_SIZES, SHARE_CAP = 2.05, 0.035  # of log group size; a share that no row comes near
LEVELS = (0.53, 0.28, 0.19)  # no CC, CC, MCC among the secondaries; the next three go by it
MEDIAN_DIAGNOSES, SIGMA_DIAGNOSES, MOST_DIAGNOSES = np.array([4.7, 5.3, 6.3]), 0.52, 60
DEATHS = np.array([0.006, 0.02, 0.088])
INTENSIVE = np.array([0.004, 0.02, 0.14])
MEDICAL_PROCEDURES = (0.45, 0.30, 0.17, 0.08)  # shares of 0, 1, 2, 3 procedures
DISCHARGE_MODES, DIED = ("1", "1", "1", "1", "1", "1", "1", "2", "3", "4", "5"), 10
SIGMA_HOSPITAL_SIZE, LARGE, MIDDLE = 1.4, 0.15, 0.60  # 三级 down to 15 % of them, 二级 to 60 %
HOSPITAL_LEVELS = ("三级", "二级", "一级")  # the next three go by it
HOSPITAL_NAMES = ("示例市第{}人民医院", "示例县第{}人民医院", "示例镇第{}卫生院")
LEVEL_FACTOR = np.log([1.25, 0.95, 0.70])
DEDUCTIBLE_FEN = np.array([80_000, 50_000, 20_000])
INSURANCES, FUND_RATES = ("310", "390"), np.array([0.868, 0.721])  # 职工, 居民; of covered cost
BUDGET = 98  # % of the booked fund
AREAS, AT_HOME = ("990100", "990200", "990300", "980100"), 0.97  # the pool comes first
DEPARTMENTS = ("内科", "外科", "儿科", "新生儿科")
MOTHERS, NEWBORNS = "O", "P"  # chapters of ICD-10 that belong to one kind of patient
ODD = 0.0025  # share of cases with an unknown secondary, and of cases with sex 9
ODD_CODES = tuple(f"ZZZ.{k:03}" for k in range(20))
GOLDEN = np.uint16(40503)  # 2^16 / golden ratio: steps that keep the draws of one case apart


@dataclass(frozen=True)
class Region:
    """A region's year (统筹区): its cases, hospitals, group weights and funds.

    Parameters
    ----------
    cases : one row a case; money int64 fen, dates date32. hospitals : hospital_id, hospital_name,
        hospital_level, valid_from. weights : every group once, in the order of trial, with the weight
        that costs were drawn with (decimal128(12, 4), mean of the cases 1) and mean_cost_fen.
        funds : insurance -> fen a year.
    """

    cases: pa.Table
    hospitals: pa.Table
    weights: pa.Table
    funds: dict[str, int]


def make_region(
    n: int = 100_000,
    *,
    scheme: Scheme | str | Path = "chs-drg-1.1",
    seed: int = 1,
    year: int = 2025,
    hospitals: int = 60,
    threads: int | None = None,
) -> Region:
    """Draw one year of a synthetic region (模拟统筹区) from a scheme's own code lists.

    Parameters
    ----------
    n : number of cases, 1 … 100,000,000. scheme : a DRG scheme, as for `group`. seed : the same
        arguments give the same bytes. year : of every discharge and settlement. hospitals : at least
        1. threads : for grouping; the answer does not depend on it.

    Returns
    -------
    A `Region`. Nearly all its cases group; its funds are 2 % below what was booked for the insured
    of the pool.

    Raises
    ------
    ValueError : `n` or `hospitals` out of range. SchemeNotFound, TableError : no such scheme.
    """
    if not 0 < n <= 10**8 or hospitals < 1:
        raise ValueError(f"n={n}, hospitals={hospitals}: n is 1 … 100000000, hospitals 1 or more")
    book = _Book(scheme if isinstance(scheme, Scheme) else load_scheme(scheme))
    seeds = SeedSequence(seed).spawn(len(STREAMS))
    rng = {name: Generator(PCG64(s)) for name, s in zip(STREAMS, seeds, strict=True)}
    rows = _make_rows(book, _find_templates(book, rng["templates"], threads), rng["region"])
    places = _make_places(hospitals, rng["region"])
    drawn = _draw(n, rows, places, rng["cases"])
    columns = _stay_columns(drawn, rows, places, year, rng["cases"])
    columns["diagnoses"] = _diagnoses(book, drawn, rows, rng["diagnoses"])
    columns["procedures"] = _procedures(book, drawn, rows, rng["procedures"])
    drg = group(_table(columns), book.scheme, threads=threads).arrays.drg
    log_weight = _log_weights(book, rows, drg, rng["weights"])
    log_cost = np.append(log_weight[book.group_of_drg], 0.0)[drg] + SIGMA_COST * drawn.z
    money = _money(drawn, rows, places, log_cost, rng["money"])
    columns |= {f"{name}_fen": pa.array(fen) for name, fen in money.items()}
    weights = _weight_table(book, log_weight, int(money["total_cost"].mean()))
    funds = _funds(drawn, money["fund_paid"])
    return Region(_table(columns), _hospital_table(places, year), weights, funds)


# ------------------------------------------------------------------------------ rules → templates


@dataclass(frozen=True)
class _Book:
    """A scheme's codes, as the draws ask for them; arrays over code ids."""

    scheme: Scheme

    @cached_property
    def chapter(self) -> NDArray[np.str_]:
        return np.array([c[:1] for c in self.scheme.codes])

    @cached_property
    def usable(self) -> Flags:
        """Tell which codes an ordinary file holds: in the code list, not grey 灰码."""
        found = self.scheme.arrays.is_grey[1:] == 0
        if listed := self.scheme.code_list:
            known = listed.diagnoses.keys() | listed.procedures.keys()
            found &= np.array([c in known for c in self.scheme.codes])
        return found

    @cached_property
    def groups(self) -> list[str]:
        """Every DRG code once, in the order of trial."""
        return list(dict.fromkeys(d.code for d in self.scheme.drgs))

    @cached_property
    def group_of_drg(self) -> I32:
        index = {code: k for k, code in enumerate(self.groups)}
        return np.array([index[d.code] for d in self.scheme.drgs], np.int32)

    def members(self, names: Iterable[str]) -> I32:
        """Return the ids in any of these sets; usable ones only, unless there are none."""
        listed = {"MCC": self.scheme.mcc, "CC": self.scheme.cc}
        within = np.zeros(len(self.scheme.codes), np.bool_)
        for name in names:
            within[self.ids(listed[name]) if name in listed else self.scheme.sets[name]] = True
        if (within & self.usable).any():
            within &= self.usable
        return np.flatnonzero(within).astype(np.int32)

    def ids(self, codes: Iterable[str]) -> I32:
        return np.array([self.scheme.code_id[c] for c in codes], np.int32)

    def tested(self, side: Side, where: Callable[[Rule], bool] = bool) -> set[str]:
        """Name the sets that rules look for on this side."""
        rows = (*self.scheme.mdcs, *self.scheme.adrgs, *self.scheme.drgs)
        return {s for r in rows if where(r.rule) for s, x in sets_of(r.rule).items() if x & side}


@dataclass
class _Wish:
    """What one way through the rules of a row asks of a case.

    `first` and `rest` hold, by side, the ids of which the first place and other places take one.
    """

    first: dict[Side, I32] = field(default_factory=dict)
    rest: dict[Side, list[I32]] = field(default_factory=lambda: {DIAGNOSES: [], PROCEDURES: []})
    low: I32 = field(default_factory=lambda: np.full(len(Fact), -LARGEST, np.int32))
    high: I32 = field(default_factory=lambda: np.full(len(Fact), LARGEST, np.int32))

    def add(self, ids: I32, sides: Side) -> None:
        """Ask for one of these codes: in the first place if it can be there, else elsewhere."""
        for both, first in ((DIAGNOSES, Side.ZYZD), (PROCEDURES, Side.ZYSS)):
            if not sides & both:
                continue
            given = self.first.get(both)
            shared = ids if given is None else ids[np.isin(ids, given)]
            if sides & first and (len(shared) or sides & both == first):
                self.first[both] = shared
            else:
                self.rest[both].append(ids)
            return

    def bound(self, fact: Fact, op: str, value: int) -> None:
        """Narrow a fact."""
        if op in ("=", ">", ">="):
            self.low[fact] = max(self.low[fact], value + (op == ">"))
        if op in ("=", "<", "<="):
            self.high[fact] = min(self.high[fact], value - (op == "<"))


@dataclass(frozen=True)
class _Templates:
    """Cases in short, `t` of them: code ids (−1 = none), facts, and the bounds of the facts."""

    row: I32  # [t]
    dx: I32  # [t, WIDTH]
    px: I32  # [t, WIDTH]
    facts: I32  # [t, 8]
    low: I32  # [t, 8]
    high: I32  # [t, 8]


def _find_templates(book: _Book, rng: Generator, threads: int | None) -> _Templates:
    """Propose templates for every row that groups; keep those that the grouper puts there."""
    anything = book.members(book.tested(Side.ZYZD))
    found = []
    for k, row in enumerate(book.scheme.adrgs):
        if book.scheme.row_status[k] == Status.GROUPED:
            ways = _ways(And((book.scheme.mdcs[row.parent].rule, row.rule)))
            for way in ways:
                wish = _wish(book, way)
                wish.first.setdefault(DIAGNOSES, anything)
                found += _propose(book, wish, k, -(-PROPOSED // len(ways)), rng)
    names = [f.name for f in fields(_Templates)]
    every = {a: np.concatenate([getattr(f, a) for f in found]) for a in names}
    table = _table(
        _fact_columns(every["facts"])
        | {
            "case_id": pa.array(np.arange(len(every["row"]))).cast(pa.string()),
            "diagnoses": _trial_lists(book, every["dx"]),
            "procedures": _trial_lists(book, every["px"]),
        }
    )
    hit = group(table, book.scheme, threads=threads).arrays.adrg == every["row"]
    return _Templates(**{a: values[hit] for a, values in every.items()})


def _ways(rule: Rule) -> list[tuple[Atom, ...]]:
    """List the conjunctions of atoms that make a rule true, up to a number of them."""
    if isinstance(rule, Or):
        return list(islice(chain.from_iterable(map(_ways, rule.parts)), WAYS))
    if isinstance(rule, And):
        combined = product(*map(_ways, rule.parts))
        return [tuple(chain(*way)) for way in islice(combined, WAYS)]
    return [(rule,)]


def _wish(book: _Book, way: Sequence[Atom]) -> _Wish:
    """Gather what the atoms of one way ask for; the trial sees to what cannot be asked for."""
    wish = _Wish()
    codes = [a for a in way if isinstance(a, Member | Count)]
    for atom in sorted(codes, key=lambda a: len(a.vars)):
        if isinstance(atom, Member) and not atom.negated:
            wish.add(book.members(atom.sets), sides_of(atom.vars))
        elif isinstance(atom, Count) and atom.op in ("=", ">", ">="):
            ids, sides = book.members([atom.set]), sides_of(atom.vars)
            for k in range(atom.value + (atom.op == ">")):
                wish.add(ids, sides & ~(Side.ZYZD | Side.ZYSS) or sides if k else sides)
    for atom in way:
        if isinstance(atom, Compare) and isinstance(atom.value, int):
            wish.bound(NUMBER_VARIABLES[atom.var], atom.op, atom.value)
    return wish


def _propose(book: _Book, wish: _Wish, row: int, n: int, rng: Generator) -> list[_Templates]:
    """Draw templates that fit a wish; none if a list it asks for is empty or too many are asked."""
    low, high = wish.low.copy(), wish.high.copy()
    newborn = high[Fact.AGE] == 0 or high[Fact.AGE_DAYS] < LARGEST
    principal = wish.first[DIAGNOSES]
    if not newborn and (book.chapter[principal] != NEWBORNS).any():
        principal = principal[book.chapter[principal] != NEWBORNS]
    main = [wish.first[PROCEDURES]] if PROCEDURES in wish.first else []
    wanted = [principal, *wish.rest[DIAGNOSES]], [*main, *wish.rest[PROCEDURES]]
    if any(len(lists) > WIDTH or not all(map(len, lists)) for lists in wanted):
        return []
    dx, px = np.full((2, n, WIDTH), -1, np.int32)
    for places, lists in zip((dx, px), wanted, strict=True):
        for k, ids in enumerate(lists):
            places[:, k] = _popular(ids, 2, n, rng)[rng.permutation(n)]
    lows, highs = (np.repeat(x[None, :], n, axis=0) for x in (low, high))
    mother = book.chapter[dx[:, 0]] == MOTHERS
    lows[:, Fact.AGE] = np.maximum(lows[:, Fact.AGE], np.where(mother, 16, 0 if newborn else 1))
    highs[:, Fact.AGE] = np.minimum(highs[:, Fact.AGE], np.where(mother, 48, 100))
    facts = np.where(lows > 0, lows, MISSING).astype(np.int32)
    facts[:, Fact.SEX] = np.where(mother, 2, rng.integers(1, 3, n))
    facts[:, Fact.LOS] = 5
    facts[:, Fact.AGE] = _ages(n, rng)
    facts[:, Fact.AGE_DAYS] = rng.integers(0, 29, n)
    facts[:, Fact.WEIGHT] = _grams(n, low[Fact.WEIGHT], high[Fact.WEIGHT], rng)
    given = facts != MISSING
    facts[given] = np.clip(facts, lows, highs)[given]
    infant = (lows[:, Fact.AGE] <= 1) & (rng.random(n) < 0.01) & (not newborn)
    facts[infant, Fact.AGE] = 0
    facts[infant, Fact.AGE_DAYS] = rng.integers(29, 365, infant.sum())
    facts[facts[:, Fact.AGE] > 0, Fact.AGE_DAYS] = MISSING
    if not newborn:
        facts[:, Fact.WEIGHT] = MISSING
    return [_Templates(np.full(n, row, np.int32), dx, px, facts, lows, highs)]


def _ages(n: int, rng: Generator) -> I32:
    """Draw ages in whole years: one in ten a child."""
    grown = np.clip(rng.normal(57, 17, n), 15, 99)
    return np.where(rng.random(n) < 0.1, rng.integers(1, 15, n), grown).astype(np.int32)


def _grams(n: int, low: int, high: int, rng: Generator) -> I32:
    """Draw newborn weights between two bounds."""
    usual = rng.normal(3200, 550, n)
    other = rng.uniform(max(low, 700), max(min(high, 4500), 701), n)
    return np.where((usual < max(low, 700)) | (usual > high), other, usual).astype(np.int32)


def _popular(ids: I32, head: int, n: int, rng: Generator) -> I32:
    """Spread `n` places over codes by popularity 1 / (rank + head), in an order of its own."""
    share = np.cumsum(1.0 / (np.arange(len(ids)) + head))
    at = np.searchsorted(share / share[-1], (np.arange(n) + 0.5) / n)
    return rng.permutation(ids)[at]


# -------------------------------------------------------------------------------- the region's rows


@dataclass(frozen=True)
class _Rows:
    """The ADRG rows that get cases; row r has the templates r · TEMPLATES … of `templates`."""

    templates: _Templates
    adrg: I32  # [r] index into scheme.adrgs
    share: F64  # [r] of the cases
    operated: Flags  # [r]
    level: F64  # [r] of cost, standardised over cases


@dataclass(frozen=True)
class _Places:
    """Hospitals, the largest first."""

    share: F64
    level: I64  # index into HOSPITAL_LEVELS
    log_cost: F64  # what level and efficiency add to log cost; the mean factor over cases is 1


@dataclass(frozen=True)
class _Drawn:
    """What is drawn of each case before its codes."""

    row: I64  # index into _Rows
    template: I64
    facts: I32  # [n, 8]
    level: U8  # 0, 1 CC, 2 MCC is wanted
    hospital: I64
    insurance: U8
    area: U8
    z: F64  # deviation of log cost within the group


def _make_rows(book: _Book, hits: _Templates, rng: Generator) -> _Rows:
    """Give every row that was reached TEMPLATES templates, a share of the cases and a cost level."""
    adrg, start, found = np.unique(hits.row, return_index=True, return_counts=True)
    at = (start[:, None] + np.arange(TEMPLATES) % found[:, None]).ravel()
    t = _Templates(*(getattr(hits, f.name)[at] for f in fields(hits)))
    operated = t.px[::TEMPLATES, 0] >= 0
    score = rng.normal(size=len(adrg)) + 0.5 * _standard(np.log(found)) - 0.4 * operated
    quantile = NormalDist().inv_cdf
    z = np.array([quantile((k + 0.5) / len(adrg)) for k in np.argsort(np.argsort(score))])
    size = np.exp(SIGMA_SIZES * z)
    share = 1 / (1 / (size / size.sum()) + 1 / SHARE_CAP)
    share /= share.sum()
    level = rng.normal(size=len(adrg)) + 1.2 * operated
    return _Rows(t, adrg, share, operated, _standard(level, share))


def _make_places(n: int, rng: Generator) -> _Places:
    size = np.sort(np.exp(SIGMA_HOSPITAL_SIZE * rng.normal(size=n)))[::-1]
    share, rank = size / size.sum(), (np.arange(n) + 0.5) / n
    level = np.searchsorted([LARGE, MIDDLE], rank)
    log_cost = SIGMA_HOSPITALS * _standard(LEVEL_FACTOR[level] + 0.2 * rng.normal(size=n), share)
    return _Places(share, level, log_cost - np.log((share * np.exp(log_cost)).sum()))


def _standard(x: F64, share: F64 | None = None) -> F64:
    """Shift and scale to mean 0 and standard deviation 1, weighted by `share`."""
    x = x - np.average(x, weights=share)
    return x / (np.sqrt(np.average(x**2, weights=share)) or 1.0)


def _choose(share: Any, n: int, rng: Generator) -> I64:
    return np.searchsorted(np.cumsum(share)[:-1] / np.sum(share), rng.random(n), side="right")


# ---------------------------------------------------------------------------------------- the cases


def _draw(n: int, rows: _Rows, places: _Places, rng: Generator) -> _Drawn:
    """Draw row, template, level, hospital and facts; age and stay keep to the bounds of the rules."""
    row = _choose(rows.share, n, rng)
    t = row * TEMPLATES + rng.integers(0, TEMPLATES, n)
    level = _choose(LEVELS, n, rng).astype(np.uint8)
    z, z_los = rng.normal(size=n), rng.normal(size=n)
    given = rows.templates
    facts = given.facts[t]
    age = facts[:, Fact.AGE]
    older = np.clip(age + rng.integers(-7, 8, n), given.low[t, Fact.AGE], given.high[t, Fact.AGE])
    facts[:, Fact.AGE] = np.where(age > 0, np.maximum(older, 1), 0)
    los_level = _standard(0.7 * rows.level + 0.7 * rng.normal(size=len(rows.level)), rows.share)
    los_level = SIGMA_LOS_GROUPS * los_level[row] + 0.12 * level
    days = MEDIAN_LOS * np.exp(los_level + SIGMA_LOS * (0.6 * z + 0.8 * z_los))
    days = np.clip(np.rint(days), 1, LONGEST)
    facts[:, Fact.LOS] = np.clip(days, given.low[t, Fact.LOS], given.high[t, Fact.LOS])
    facts[rng.random(n) < ODD, Fact.SEX] = 9
    employed = (facts[:, Fact.AGE] >= 18) & (rng.random(n) < 0.5)
    insurance = np.where(employed, 0, 1).astype(np.uint8)
    area = np.where(rng.random(n) < AT_HOME, 0, rng.integers(1, len(AREAS), n)).astype(np.uint8)
    return _Drawn(row, t, facts, level, _choose(places.share, n, rng), insurance, area, z)


def _stay_columns(
    drawn: _Drawn, rows: _Rows, places: _Places, year: int, rng: Generator
) -> Columns:
    """Return every column but codes and money."""
    n, facts = len(drawn.row), drawn.facts
    age, los = facts[:, Fact.AGE], facts[:, Fact.LOS]
    intensive = rng.random(n) < INTENSIVE[drawn.level]
    hours = np.minimum(24 * los, 12 + rng.integers(0, 240, n))
    facts[intensive, Fact.ICU_HOURS] = np.maximum(hours, facts[:, Fact.ICU_HOURS])[intensive]
    ventilated = intensive & (rng.random(n) < 0.4)
    hours = (facts[:, Fact.ICU_HOURS] * rng.random(n)).astype(np.int32)
    mode = np.where(rng.random(n) < DEATHS[drawn.level], DIED, rng.integers(0, DIED, n))
    first = np.datetime64(f"{year:04}-01-01", "D")
    days = int((np.datetime64(f"{year + 1:04}-01-01", "D") - first).astype(int))
    left = rng.integers(0, days, n)
    settled = np.minimum(left + rng.integers(0, 6, n), days - 1)
    newborn = facts[:, Fact.WEIGHT] != MISSING
    kind = np.where(newborn, 3, np.where(age < 15, 2, rows.operated[drawn.row]))
    return _fact_columns(facts) | {
        "case_id": _case_ids(n),
        "hospital_id": _named(_hospital_ids(places), drawn.hospital),
        "hospital_level": _named(HOSPITAL_LEVELS, places.level[drawn.hospital]),
        "insurance": _named(INSURANCES, drawn.insurance),
        "insured_area": _named(AREAS, drawn.area),
        "hospital_area": _named(AREAS, np.zeros(n, np.uint8)),
        "admission_date": pa.array(first + (left - los)),
        "discharge_date": pa.array(first + left),
        "settlement_date": pa.array(first + settled),
        "discharge_mode": _named(DISCHARGE_MODES, mode),
        "department": _named(DEPARTMENTS, kind),
        "ventilator_hours": pa.array(hours, mask=~ventilated),
    }


def _diagnoses(book: _Book, drawn: _Drawn, rows: _Rows, rng: Generator) -> Any:
    """Return lists of a template's diagnoses, the CC or MCC that a case wants, and popular others."""
    plain, cc, mcc = (_quantiles(ids, rng) for ids in _secondaries(book))
    wanted, level, n = rows.templates.dx[drawn.template], drawn.level, len(drawn.row)
    asked = (wanted >= 0).sum(axis=1)
    many = MEDIAN_DIAGNOSES[level] * np.exp(SIGMA_DIAGNOSES * rng.normal(size=n))
    lengths = np.clip(np.rint(many).astype(np.int64), asked + (level > 0), MOST_DIAGNOSES)
    off, ids = _fill(wanted, lengths, plain, rng)
    at, u = off[:-1] + asked, rng.integers(0, 1 << 16, (2, n), np.uint16)
    put = level == 2
    ids[at[put]] = mcc[u[0, put]]
    at = at + put
    put = (level > 0) & (at < off[1:]) & ((level == 1) | (u[0] & 1 == 1))
    ids[at[put]] = cc[u[1, put]]
    odd = (lengths > asked + 2) & (rng.random(n) < ODD)
    ids[off[1:][odd] - 1] = len(book.scheme.codes) + rng.integers(0, len(ODD_CODES), odd.sum())
    return _lists((*book.scheme.codes, *ODD_CODES), ids, off)


def _secondaries(book: _Book) -> tuple[I32, I32, I32]:
    """Return the codes that change nothing but severity: neither CC nor MCC, CC, MCC.

    Left out are lists that rules look up among other diagnoses, those of an MDC for one sex or age,
    and the chapters of mothers and newborns.
    """
    s = book.scheme
    special = book.tested(Side.QTZD) - set(SEVERITY_SETS)
    special |= book.tested(Side.ZYZD, lambda r: any(isinstance(a, Compare) for a in atoms(r)))
    free = book.usable & (s.sides & DIAGNOSES != 0) & ~np.isin(book.chapter, [MOTHERS, NEWBORNS])
    free[book.members(special)] = False
    cc, mcc = (np.isin(np.arange(len(free)), book.ids(x)) for x in (s.cc, s.mcc))
    plain, cc, mcc = (np.flatnonzero(free & x) for x in (~cc & ~mcc, cc & ~mcc, mcc))
    return plain, cc if len(cc) else plain, mcc if len(mcc) else plain


def _procedures(book: _Book, drawn: _Drawn, rows: _Rows, rng: Generator) -> Any:
    """Return lists of a template's procedures, others of its row, and some that no rule looks for."""
    free = book.usable & (book.scheme.sides & PROCEDURES != 0)
    free[book.members(book.tested(PROCEDURES))] = False
    others = _quantiles(np.flatnonzero(free).astype(np.int32), rng)
    px, n = rows.templates.px, len(drawn.row)
    wanted, operated = px[drawn.template], rows.operated[drawn.row]
    asked = (wanted >= 0).sum(axis=1)
    lengths = np.where(operated, 2 + rng.binomial(6, 0.25, n), _choose(MEDICAL_PROCEDURES, n, rng))
    off, ids = _fill(wanted, np.maximum(lengths, asked), others, rng)
    second = px[drawn.row * TEMPLATES + rng.integers(0, TEMPLATES, n), 0]
    at = off[:-1] + asked
    put = (at < off[1:]) & operated & (second != wanted[:, 0]) & (rng.random(n) < 0.5)
    ids[at[put]] = second[put]
    return _lists(book.scheme.codes, ids, off)


def _quantiles(ids: I32, rng: Generator) -> I32:
    """Spread 2^16 places over codes by popularity; an even draw of places draws codes."""
    return _popular(ids, 10, 1 << 16, rng) if len(ids) else np.zeros(1 << 16, np.int32)


def _fill(wanted: I32, lengths: I64, others: I32, rng: Generator) -> tuple[I32, I32]:
    """Return list offsets and ids: the wanted codes of each case, then others, hardly one twice."""
    off = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    start = rng.integers(0, 1 << 16, len(lengths), np.uint16)
    start -= off[:-1].astype(np.uint16) * GOLDEN
    ids = others[np.repeat(start, lengths) + np.arange(off[-1]).astype(np.uint16) * GOLDEN]
    for k in range(WIDTH):
        there = wanted[:, k] >= 0
        ids[off[:-1][there] + k] = wanted[there, k]
    return off, ids


# ------------------------------------------------------------------------------------------ money


def _log_weights(book: _Book, rows: _Rows, drg: I32, rng: Generator) -> F64:
    """Return the log weight of every group: of its ADRG row, higher with CC, highest with MCC."""
    level = rng.normal(size=len(book.scheme.adrgs))
    level[rows.adrg] = rows.level
    drgs = book.scheme.drgs
    step = np.array([(0.0, 0.35, 0.8)[_severity(d.rule)] for d in drgs])
    raw = level[[d.parent for d in drgs]] + step + rng.uniform(0, 0.1, len(drgs))
    first = np.unique(book.group_of_drg, return_index=True)[1]
    found = np.bincount(book.group_of_drg[drg[drg >= 0]], minlength=len(first)) + 1e-9
    log_weight = SIGMA_GROUPS * _standard(raw[first], found)
    return log_weight - np.log(np.average(np.exp(log_weight), weights=found))


def _severity(rule: Rule) -> int:
    """Tell which complications a DRG rule asks for: 0 none, 1 CC or MCC, 2 MCC."""
    sets = {s for a in atoms(rule) if isinstance(a, Member) for s in a.sets}
    return 1 if "CC" in sets else 2 if "MCC" in sets else 0


def _money(
    drawn: _Drawn, rows: _Rows, places: _Places, log_cost: F64, rng: Generator
) -> dict[str, I64]:
    """Split each cost into its parts and among those who pay; every amount in whole fen."""
    n, insurance = len(log_cost), drawn.insurance
    total = np.rint(
        MEAN_COST_FEN * np.exp(log_cost + places.log_cost[drawn.hospital] - SIGMA_COST**2 / 2)
    ).astype(np.int64)

    def some(of: I64, low: float, high: float) -> I64:
        return (of * rng.uniform(low, high, n)).astype(np.int64)

    drug = some(total, 0.15, 0.42)
    operated = rows.operated[drawn.row]
    consumable = some(total - drug, 0.02, 0.2) + some(total - drug, 0.0, 0.4) * operated
    examination = some(total - drug - consumable, 0.25, 0.65)
    tcm = some(total - drug - consumable - examination, 0.0, 0.15)
    borne = some(total, -0.98, 0.02).clip(0)
    full, first = some(total, 0.0, 0.06), some(total, 0.0, 0.05)
    open_ = total - borne - full - first
    deductible = np.minimum(DEDUCTIBLE_FEN[places.level[drawn.hospital]], open_)
    rate = np.clip(FUND_RATES[insurance] + 0.05 * rng.normal(size=n), 0.3, 0.98)
    fund = ((open_ - deductible) * rate).astype(np.int64)
    own = total - borne - fund
    account = np.where(insurance == 0, some(own, 0.0, 0.7), 0)
    return {
        "total_cost": total,
        "drug": drug,
        "consumable": consumable,
        "examination": examination,
        "tcm": tcm,
        "fund_paid": fund,
        "self_paid": own,
        "account": account,
        "cash": own - account,
        "first_self_pay": first,
        "full_self_pay": full,
        "deductible": deductible,
        "hospital_borne": borne,
    }


def _funds(drawn: _Drawn, paid: I64) -> dict[str, int]:
    """Return the yearly fund of each insurance, less than was booked, in hundreds of yuan."""
    booked = {x: paid[(drawn.insurance == k) & (drawn.area == 0)] for k, x in enumerate(INSURANCES)}
    return {x: int(fen.sum()) * BUDGET // 100 // 10_000 * 10_000 for x, fen in booked.items()}


# ----------------------------------------------------------------------------------------- columns

FACT_COLUMNS = {
    "sex": Fact.SEX,
    "age": Fact.AGE,
    "age_days": Fact.AGE_DAYS,
    "birth_weight": Fact.WEIGHT,
    "admission_weight": Fact.WEIGHT,
    "los": Fact.LOS,
    "icu_hours": Fact.ICU_HOURS,
}


def _table(columns: Columns) -> pa.Table:
    """Put columns in the order of the case table."""
    return pa.table({c.name: columns[c.name] for c in COLUMNS if c.name in columns})


def _fact_columns(facts: I32) -> Columns:
    values = {name: np.ascontiguousarray(facts[:, f]) for name, f in FACT_COLUMNS.items()}
    return {name: pa.array(x, mask=x == MISSING) for name, x in values.items()}


def _named(names: Sequence[str], index: NDArray[Any]) -> Any:
    return pa.array(names, pa.string()).take(pa.array(index))


def _lists(texts: Sequence[str], ids: I32, off: I32) -> Any:
    """Return list<dictionary<string>> of code ids."""
    used = np.flatnonzero(np.bincount(ids, minlength=len(texts)))
    place = np.zeros(len(texts), np.int32)
    place[used] = np.arange(len(used))
    known = pa.array([texts[k] for k in used], pa.string())
    return pa.ListArray.from_arrays(off, pa.DictionaryArray.from_arrays(place[ids], known))


def _trial_lists(book: _Book, ids: I32) -> Any:
    off = np.concatenate([[0], np.cumsum((ids >= 0).sum(axis=1))]).astype(np.int32)
    return _lists(book.scheme.codes, ids[ids >= 0], off)


def _case_ids(n: int) -> Any:
    text = np.full((n, 10), ord("C"), np.uint8)
    number = np.arange(1, n + 1, dtype=np.uint32)
    for k in range(9, 0, -1):
        number, digit = np.divmod(number, np.uint32(10))
        text[:, k] = digit + ord("0")
    offsets = np.arange(0, 10 * n + 1, 10, np.int32)
    return pa.StringArray.from_buffers(n, pa.py_buffer(offsets), pa.py_buffer(text))


def _hospital_ids(places: _Places) -> list[str]:
    return [f"H{k + 1:04}" for k in range(len(places.share))]


def _hospital_table(places: _Places, year: int) -> pa.Table:
    n = len(places.level)
    return pa.table(
        {
            "hospital_id": _hospital_ids(places),
            "hospital_name": [HOSPITAL_NAMES[x].format(k + 1) for k, x in enumerate(places.level)],
            "hospital_level": _named(HOSPITAL_LEVELS, places.level),
            "valid_from": pa.array([date(year, 1, 1)] * n, pa.date32()),
        }
    )


def _weight_table(book: _Book, log_weight: F64, mean_fen: int) -> pa.Table:
    e4 = np.rint(1e4 * np.exp(log_weight)).clip(1).astype(np.int64)
    return pa.table(
        {
            "group": pa.array(book.groups, pa.string()),
            "weight": pa.array([Decimal(int(w)).scaleb(-4) for w in e4], pa.decimal128(12, 4)),
            "mean_cost_fen": pa.array([int(w) * mean_fen // 10_000 for w in e4], pa.int64()),
        }
    )


# ----------------------------------------------------------------------------------- hostile cases


def hostile_cases(seed: int = 1) -> pa.Table:
    """Make a table that holds everything wrong in real files (异常病例), between ordinary rows.

    Parameters
    ----------
    seed : of the ordinary rows that the faults are put into.

    Returns
    -------
    A few hundred cases with list<string> codes; `group` accepts the table, and no row raises.
    """
    scheme = load_scheme("chs-drg-1.1")
    faults = _faults(scheme)
    cases = make_region(2 * REPEATS * len(faults), scheme=scheme, seed=seed).cases
    rows = cases.to_pylist()
    for k, fault in enumerate(faults * REPEATS):
        row = rows[2 * k + 1]
        row |= {name: x(row[name]) if callable(x) else x for name, x in fault.items()}
    columns = {c: pa.array([r[c] for r in rows], BY_NAME[c].arrow) for c in cases.schema.names}
    return pa.table(columns)


REPEATS = 4
_FULL_WIDTH = {x: x + 0xFEE0 for x in range(0x21, 0x7F)}


def _faults(scheme: Scheme) -> list[dict[str, Any]]:
    """List what to do to a row: column -> new value, or a function of the old one."""
    listed = scheme.code_list
    grey, grey_px = (sorted(x)[:3] for x in (listed.grey_diagnoses, listed.grey_procedures))
    many = [c for c, side in zip(scheme.codes, scheme.sides, strict=True) if side & DIAGNOSES][:199]
    odd = ("", " ", "K22.301 ", "K22.301" + "x" * 40, "K22\0.301", "😀", "ZZZ.001", grey[0])
    newborn = {"age": 0, "age_days": 3}
    return [
        *({"diagnoses": x} for x in ([], None, [None], ["", ""])),
        *({"diagnoses": lambda codes, x=x: [x, *codes[1:]]} for x in odd),
        *({"diagnoses": lambda codes, x=x: [*codes, x]} for x in (*odd, None)),
        *({"procedures": lambda codes, x=x: [x, *codes]} for x in (*odd, None, grey_px[0])),
        *({c: lambda codes: [x.lower() for x in codes]} for c in ("diagnoses", "procedures")),
        *(
            {c: lambda codes: [x.translate(_FULL_WIDTH) for x in codes]}
            for c in ("diagnoses", "procedures")
        ),
        {"diagnoses": lambda codes: [codes[0], *ODD_CODES]},
        {"diagnoses": lambda codes: [codes[0], *many]},
        {"diagnoses": lambda codes: [*codes, *codes]},
        {"procedures": None},
        {"procedures": ["99.9999"] * 50},
        *({"case_id": x} for x in (None, "", "C000000001")),
        *({"sex": x} for x in (0, 9, 5, -1, None)),
        *({"age": x} for x in (-1, 151, 999, None, 2**31 - 1)),
        {"age": 0, "age_days": None},
        {"age": 0, "age_days": -1},
        *(newborn | {"birth_weight": x, "admission_weight": x} for x in (-1, 0, 5, 30_000, None)),
        {"admission_date": date(2025, 12, 31), "discharge_date": date(2025, 1, 1)},
        {"admission_date": None},
        *({"los": x} for x in (-3, 0, 9999, None)),
        *({"total_cost_fen": x} for x in (0, -100, 10**15, None)),
        {"hospital_id": None, "insurance": None},
    ]
