"""Test data: a synthetic region of DRG cases, and a table of everything that real files get wrong.

Order of work: read from the scheme's rules what each ADRG row asks of a case, propose templates
(principal diagnosis, main procedure, sex, age), keep those that the grouper puts into their row,
draw cases from them, group the cases, price each by its group's weight. Nothing here names a group
or a set. The surprise: a row that no template reaches gets no case, whatever the reason.

Calibration, as measured on published discharge records: log cost has a standard deviation of 1.03
overall, 0.75 within a group, 0.69 within group and severity; log length of stay 0.71 within a group
(mean 5.3 days, median 3, 95th percentile 16); 5.8 diagnoses a case (median 5, 95th percentile 12);
2.5 % die; log hospital size 1.4, log group size 1.95; the ten largest groups hold 20–33 % of cases.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from itertools import islice
from pathlib import Path
from statistics import NormalDist
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.random import PCG64, Generator, SeedSequence
from numpy.typing import NDArray

from grouper._columns import BY_NAME
from grouper._grouping import group
from grouper._templates import (
    KEPT,
    MOTHERS,
    NEWBORNS,
    WIDTH,
    Book,
    Columns,
    Flags,
    Templates,
    case_ids,
    case_table,
    code_lists,
    fact_columns,
    find_templates,
    popular,
)
from grouper.tables import DrgScheme, load_drg
from grouper.tables._rules import Member, atoms
from grouper.tables._types import DIAGNOSES, I32, I64, MISSING, PROCEDURES, U8, Fact, Side

__all__ = ["Region", "hostile_cases", "make_region"]

F64: TypeAlias = NDArray[np.float64]

STREAMS = ("templates", "region", "cases", "diagnoses", "procedures", "weights", "money")

MEAN_COST_FEN = 900_000
SIGMA_GROUPS, SIGMA_HOSPITALS, SIGMA_COST = 0.72, 0.28, 0.635  # of log cost
SIGMA_LOS_GROUPS, SIGMA_LOS, MEDIAN_LOS, LONGEST = 0.56, 0.74, 3.2, 180  # of log days; days
SIGMA_SIZES, SHARE_CAP = 2.15, 0.035  # of log row size; a share of the cases that none comes near
LEVELS = (0.54, 0.28, 0.18)  # share of none, CC, MCC; the next four go by it
STEP = np.array([0.0, 0.40, 0.95])  # log cost
MEDIAN_DIAGNOSES, SIGMA_DIAGNOSES, MOST_DIAGNOSES = np.array([4.6, 5.2, 6.2]), 0.52, 60
DEATHS = np.array([0.006, 0.02, 0.09])
INTENSIVE = np.array([0.004, 0.02, 0.14])
MEDICAL_PROCEDURES = (0.45, 0.30, 0.17, 0.08)  # shares of 0, 1, 2, 3 procedures
DISCHARGE_MODES, DIED = (*"11111111111111111", *"2345"), 20
SIGMA_HOSPITAL_SIZE, UPPER_RANKS = 1.4, (0.15, 0.60)  # the largest 15 % are 三级, to 60 % 二级
HOSPITAL_LEVELS = ("三级", "二级", "一级")  # the next three go by it
HOSPITAL_NAMES = ("示例市第{}人民医院", "示例县第{}人民医院", "示例镇第{}卫生院")
LEVEL_FACTOR = np.log([1.25, 0.95, 0.70])
DEDUCTIBLE_FEN = np.array([80_000, 50_000, 20_000])
INSURANCES, FUND_RATES = ("310", "390"), np.array([0.861, 0.712])  # 职工, 居民; of covered cost
BUDGET = 98  # % of the booked fund
AREAS, AT_HOME = ("990100", "990200", "990300", "980100"), 0.97  # the pool 统筹区 comes first
DEPARTMENTS = ("内科", "外科", "儿科", "新生儿科")
ODD = 0.0025  # share of cases with an unknown secondary, and of those with sex 9
ODD_CODES = tuple(f"ZZZ.{k:03}" for k in range(20))
GOLDEN = np.uint16(40503)  # 2^16 / golden ratio: steps that keep the draws of one case apart


@dataclass(frozen=True)
class Region:
    """A region's year (统筹区年度数据): its cases, hospitals, group weights and funds.

    Parameters
    ----------
    cases : one row a case; money int64 fen, dates date32. hospitals : hospital_id, hospital_name,
        hospital_level, valid_from. weights : every group once, in the order of trial, with the
        weight that costs were drawn with (decimal128(12, 4), mean of the cases 1) and
        mean_cost_fen. funds : insurance -> fen a year.
    """

    cases: pa.Table
    hospitals: pa.Table
    weights: pa.Table
    funds: dict[str, int]


def make_region(
    n: int = 100_000,
    *,
    scheme: DrgScheme | str | Path = "chs-drg-1.1",
    seed: int = 1,
    year: int = 2025,
    hospitals: int = 60,
    threads: int | None = None,
) -> Region:
    """Draw one year of a synthetic region (模拟统筹区) from a scheme's own code lists.

    Parameters
    ----------
    n : number of cases, 1 … 100,000,000. scheme : a DRG scheme, as for `group`. seed : the same
        arguments give the same bytes. year : of every discharge and settlement. hospitals : their
        number, 1 or more. threads : for grouping; the answer does not depend on it.

    Returns
    -------
    A `Region`. Nearly all its cases group. Its funds are 2 % below what was booked for those
    insured in the pool, rounded down to hundreds of yuan.

    Raises
    ------
    ValueError : `n` or `hospitals` out of range. SchemeNotFound, TableError : no such scheme.
    """
    if not 0 < n <= 10**8 or hospitals < 1:
        raise ValueError(f"n={n}, hospitals={hospitals}: n is 1 … 100000000, hospitals 1 or more")
    book = Book(scheme if isinstance(scheme, DrgScheme) else load_drg(scheme))
    seeds = SeedSequence(seed).spawn(len(STREAMS))
    rng = {name: Generator(PCG64(s)) for name, s in zip(STREAMS, seeds, strict=True)}
    stream = (seed, seeds[STREAMS.index("templates")].spawn_key)
    rows = _make_rows(find_templates(book, stream), rng["region"])
    places = _make_places(hospitals, rng["region"])
    drawn = _draw(n, rows, places, rng["cases"])
    columns = _stay_columns(drawn, rows, places, year, rng["cases"])
    columns["diagnoses"] = _diagnoses(book, drawn, rows, rng["diagnoses"])
    columns["procedures"] = _procedures(book, drawn, rows, rng["procedures"])
    found = group(case_table(columns), book.scheme, threads=threads).drg
    log_weight = _log_weights(book, rows, found.drg, rng["weights"])
    log_cost = np.append(log_weight[book.group_of_drg], 0.0)[found.drg]
    log_cost += _severity_effect(found.drg, found.severity) + SIGMA_COST * drawn.z
    money = _money(drawn, rows, places, log_cost, rng["money"])
    columns |= {f"{name}_fen": pa.array(fen) for name, fen in money.items()}
    weights = _weight_table(book, log_weight, int(money["total_cost"].mean()))
    funds = _funds(drawn, money["fund_paid"])
    return Region(case_table(columns), _hospital_table(places, year), weights, funds)


# ---------------------------------------------------------------------------- what cases come from


@dataclass(frozen=True)
class _Rows:
    """The ADRG rows that get cases; row r has the templates r · KEPT … of `templates`."""

    templates: Templates
    adrg: I32  # [r] index into scheme.adrgs
    share: F64  # [r] of the cases
    operated: Flags  # [r]
    level: F64  # [r] of log cost; mean 0, standard deviation 1 over the cases


@dataclass(frozen=True)
class _Places:
    """Hospitals, the largest first."""

    ids: list[str]
    share: F64  # of the cases
    level: I64  # index into HOSPITAL_LEVELS
    log_cost: F64  # what level and efficiency add to log cost; the mean factor over cases is 1


@dataclass(frozen=True)
class _Drawn:
    """What is drawn of each case before its codes."""

    row: I64  # index into _Rows
    template: I64
    facts: I32  # [n, 8]
    level: U8  # wanted: 0, 1 CC, 2 MCC
    hospital: I64
    insurance: U8
    area: U8
    z: F64  # deviation of log cost within group and severity, in standard deviations


def _make_rows(hits: Templates, rng: Generator) -> _Rows:
    """Give each row that was reached its templates, a share of the cases and a level of cost."""
    adrg, start, found = np.unique(hits.row, return_index=True, return_counts=True)
    at = (start[:, None] + np.arange(KEPT) % found[:, None]).ravel()
    templates = Templates(*(x[at] for x in hits))
    operated = templates.px[::KEPT, 0] >= 0
    score = rng.normal(size=len(adrg)) + 0.5 * _standard(np.log(found)) - 1.0 * operated
    size = np.exp(SIGMA_SIZES * _quantiles_of_normal(len(adrg)))[score.argsort().argsort()]
    share = 1 / (size.sum() / size + 1 / SHARE_CAP)
    level = rng.normal(size=len(adrg)) + 1.2 * operated
    return _Rows(templates, adrg, share / share.sum(), operated, _standard(level, share))


def _make_places(n: int, rng: Generator) -> _Places:
    size = np.exp(SIGMA_HOSPITAL_SIZE * _quantiles_of_normal(n))[::-1]
    share, rank = size / size.sum(), (np.arange(n) + 0.5) / n
    level = np.searchsorted(UPPER_RANKS, rank)
    log_cost = SIGMA_HOSPITALS * _standard(LEVEL_FACTOR[level] + 0.2 * rng.normal(size=n), share)
    log_cost -= np.log(np.average(np.exp(log_cost), weights=share))
    return _Places([f"H{k + 1:04}" for k in range(n)], share, level, log_cost)


def _quantiles_of_normal(n: int) -> F64:
    """Return `n` values spread like a standard normal variable, the smallest first."""
    return np.array([NormalDist().inv_cdf((k + 0.5) / n) for k in range(n)])


def _standard(x: F64, share: NDArray[Any] | None = None) -> F64:
    """Shift and scale to mean 0 and standard deviation 1, weighted by `share`."""
    centred = x - np.average(x, weights=share)
    return np.asarray(centred / (np.sqrt(np.average(centred**2, weights=share)) or 1.0))


def _choose(share: Any, n: int, rng: Generator) -> I64:
    return np.searchsorted(np.cumsum(share)[:-1] / np.sum(share), rng.random(n), side="right")


# ---------------------------------------------------------------------------------------- the cases


def _draw(n: int, rows: _Rows, places: _Places, rng: Generator) -> _Drawn:
    """Draw row, template, level and hospital; a stay that the rules bound is the template's."""
    row = _choose(rows.share, n, rng)
    template = row * KEPT + rng.integers(0, KEPT, n)
    level = _choose(LEVELS, n, rng).astype(np.uint8)
    z, z_los = rng.normal(size=n), rng.normal(size=n)
    facts = rows.templates.facts[template]
    of_row = _standard(rows.level + rng.normal(size=len(rows.level)), rows.share)
    log_los = SIGMA_LOS_GROUPS * of_row[row] + 0.1 * level + SIGMA_LOS * (0.6 * z + 0.8 * z_los)
    days = np.rint(MEDIAN_LOS * np.exp(log_los)).clip(1, LONGEST).astype(np.int32)
    facts[:, Fact.LOS] = np.where(facts[:, Fact.LOS] == MISSING, days, facts[:, Fact.LOS])
    intensive = (rng.random(n) < INTENSIVE[level]) & (facts[:, Fact.ICU_HOURS] == MISSING)
    hours = np.minimum(24 * facts[:, Fact.LOS], rng.integers(12, 240, n))
    facts[intensive, Fact.ICU_HOURS] = hours[intensive]
    facts[rng.random(n) < ODD, Fact.SEX] = 9
    resident = (facts[:, Fact.AGE] < 18) | (rng.random(n) < 0.5)
    area = np.where(rng.random(n) < AT_HOME, 0, rng.integers(1, len(AREAS), n)).astype(np.uint8)
    hospital = _choose(places.share, n, rng)
    return _Drawn(row, template, facts, level, hospital, resident.view(np.uint8), area, z)


def _stay_columns(
    drawn: _Drawn, rows: _Rows, places: _Places, year: int, rng: Generator
) -> Columns:
    """Return every column but codes and money."""
    n, facts = len(drawn.row), drawn.facts
    icu, age = facts[:, Fact.ICU_HOURS], facts[:, Fact.AGE]
    ventilated = (icu != MISSING) & (rng.random(n) < 0.4)
    hours = (icu * rng.random(n)).astype(np.int32)
    mode = np.where(rng.random(n) < DEATHS[drawn.level], DIED, rng.integers(0, DIED, n))
    first, last = np.datetime64(f"{year:04}-01-01", "D"), date(year, 12, 31).timetuple().tm_yday - 1
    left = rng.integers(0, last + 1, n)
    settled = np.minimum(left + rng.integers(0, 6, n), last)
    child = np.where(facts[:, Fact.WEIGHT] != MISSING, 3, 2)
    return fact_columns(facts) | {
        "case_id": case_ids(n),
        "hospital_id": _named(places.ids, drawn.hospital),
        "hospital_level": _named(HOSPITAL_LEVELS, places.level[drawn.hospital]),
        "insurance": _named(INSURANCES, drawn.insurance),
        "insured_area": _named(AREAS, drawn.area),
        "hospital_area": _named(AREAS, np.zeros(n, np.uint8)),
        "admission_date": pa.array(first + (left - facts[:, Fact.LOS])),
        "discharge_date": pa.array(first + left),
        "settlement_date": pa.array(first + settled),
        "discharge_mode": _named(DISCHARGE_MODES, mode),
        "department": _named(DEPARTMENTS, np.where(age < 15, child, rows.operated[drawn.row])),
        "ventilator_hours": pa.array(hours, mask=~ventilated),
    }


def _diagnoses(book: Book, drawn: _Drawn, rows: _Rows, rng: Generator) -> Any:
    """Return a template's diagnoses, the CC or MCC that a case wants, and popular others."""
    plain, cc, mcc = (_quantiles(ids, rng) for ids in _secondaries(book))
    wanted, level, n = rows.templates.dx[drawn.template], drawn.level, len(drawn.row)
    asked = (wanted >= 0).sum(axis=1)
    many = MEDIAN_DIAGNOSES[level] * np.exp(SIGMA_DIAGNOSES * rng.normal(size=n))
    lengths = np.clip(np.rint(many).astype(np.int64), asked + (level > 0), MOST_DIAGNOSES)
    off, ids = _fill(wanted, lengths, plain, rng)
    at, u = off[:-1] + asked, rng.integers(0, 1 << 16, (2, n), np.uint16)
    put = level == 2
    ids[at[put]] = mcc[u[0, put]]
    at += put
    put = (level > 0) & (at < off[1:]) & ((level == 1) | (u[0] & 1 == 1))
    ids[at[put]] = cc[u[1, put]]
    odd = off[1:][(lengths > asked + 2) & (rng.random(n) < ODD)] - 1
    ids[odd] = len(book.scheme.codes) + rng.integers(0, len(ODD_CODES), len(odd))
    return code_lists((*book.scheme.codes, *ODD_CODES), ids, off)


def _secondaries(book: Book) -> tuple[I32, I32, I32]:
    """Return the codes that change nothing but severity: neither CC nor MCC, CC, MCC.

    Left out are lists that rules look up among other diagnoses, those that go with a sex or an age,
    and the chapters of mothers and newborns.
    """
    special = book.tested(Side.QTZD) | book.tested(Side.ZYZD, facts=True)
    free = book.usable & (book.scheme.sides & DIAGNOSES != 0) & ~book.flags(special)
    free &= ~np.isin(book.chapter, [MOTHERS, NEWBORNS])
    is_cc, is_mcc = book.flags(["CC"]), book.flags(["MCC"])
    kinds = (free & ~is_cc & ~is_mcc, free & is_cc & ~is_mcc, free & is_mcc)
    plain, cc, mcc = (np.flatnonzero(x).astype(np.int32) for x in kinds)
    return plain, cc if len(cc) else plain, mcc if len(mcc) else plain


def _procedures(book: Book, drawn: _Drawn, rows: _Rows, rng: Generator) -> Any:
    """Return a template's procedures, one more of its row, and others that no rule looks for."""
    free = book.usable & (book.scheme.sides & PROCEDURES != 0)
    free &= ~book.flags(book.tested(PROCEDURES))
    others = _quantiles(np.flatnonzero(free).astype(np.int32), rng)
    px, n = rows.templates.px, len(drawn.row)
    wanted, operated = px[drawn.template], rows.operated[drawn.row]
    asked = (wanted >= 0).sum(axis=1)
    few, many = _choose(MEDICAL_PROCEDURES, n, rng), 2 + rng.binomial(6, 0.25, n)
    off, ids = _fill(wanted, np.maximum(np.where(operated, many, few), asked), others, rng)
    second = px[drawn.row * KEPT + rng.integers(0, KEPT, n), 0]
    at = off[:-1] + asked
    put = (at < off[1:]) & operated & (second != wanted[:, 0]) & (rng.random(n) < 0.5)
    ids[at[put]] = second[put]
    return code_lists(book.scheme.codes, ids, off)


def _quantiles(ids: I32, rng: Generator) -> I32:
    """Spread 2^16 places over codes by popularity; an even draw of places draws codes."""
    return popular(ids, 10, 1 << 16, rng) if len(ids) else np.zeros(1 << 16, np.int32)


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


# ------------------------------------------------------------------------------------------- money


def _log_weights(book: Book, rows: _Rows, drg: I32, rng: Generator) -> F64:
    """Return the log weight of every group: its ADRG row's, higher with CC, highest with MCC."""
    drgs = book.scheme.drgs
    level = rng.normal(size=len(book.scheme.adrgs))
    level[rows.adrg] = rows.level
    asked = [{s for a in atoms(d.rule) if isinstance(a, Member) for s in a.sets} for d in drgs]
    step = STEP[[1 if "CC" in sets else 2 if "MCC" in sets else 0 for sets in asked]]
    raw = level[[d.parent for d in drgs]] + step
    raw += rng.uniform(0, 0.1, len(drgs))
    first = np.unique(book.group_of_drg, return_index=True)[1]
    found = np.bincount(book.group_of_drg[drg[drg >= 0]], minlength=len(first)) + 0.1
    log_weight = SIGMA_GROUPS * _standard(raw[first], found)
    return np.asarray(log_weight - np.log(np.average(np.exp(log_weight), weights=found)))


def _severity_effect(drg: I32, severity: NDArray[np.int8]) -> F64:
    """Return what severity adds to log cost inside a group; the mean factor of a group is 1."""
    step = STEP[np.maximum(severity, 1) - 1]
    count = np.bincount(drg + 1)
    mean = np.bincount(drg + 1, np.exp(step)) / np.maximum(count, 1)
    return np.asarray(step - np.log(np.maximum(mean, 1.0))[drg + 1])


def _money(
    drawn: _Drawn, rows: _Rows, places: _Places, log_cost: F64, rng: Generator
) -> dict[str, I64]:
    """Split each cost into its parts and among those who pay; every amount in whole fen."""
    n, at, insurance = len(log_cost), drawn.hospital, drawn.insurance
    cost = MEAN_COST_FEN * np.exp(log_cost + places.log_cost[at] - SIGMA_COST**2 / 2)
    total = np.maximum(np.rint(cost), 1).astype(np.int64)

    def some(of: I64, low: float, high: float) -> I64:
        return (of * rng.uniform(low, high, n)).astype(np.int64)

    drug = some(total, 0.15, 0.42)
    consumable = some(total - drug, 0.02, 0.2)
    consumable += some(total - drug, 0.0, 0.4) * rows.operated[drawn.row]
    examination = some(total - drug - consumable, 0.25, 0.65)
    tcm = some(total - drug - consumable - examination, 0.0, 0.15)
    borne = np.maximum(some(total, -0.98, 0.02), 0)
    full, first = some(total, 0.0, 0.06), some(total, 0.0, 0.05)
    covered = total - borne - full - first
    deductible = np.minimum(DEDUCTIBLE_FEN[places.level[at]], covered)
    rate = np.clip(FUND_RATES[insurance] + 0.05 * rng.normal(size=n), 0.3, 0.98)
    fund = ((covered - deductible) * rate).astype(np.int64)
    own = total - borne - fund
    account = some(own, 0.0, 0.7) * (insurance == 0)
    return {
        **{"total_cost": total, "drug": drug, "consumable": consumable},
        **{"examination": examination, "tcm": tcm, "fund_paid": fund, "self_paid": own},
        **{"account": account, "cash": own - account, "first_self_pay": first},
        **{"full_self_pay": full, "deductible": deductible, "hospital_borne": borne},
    }


def _funds(drawn: _Drawn, paid: I64) -> dict[str, int]:
    booked = [paid[(drawn.insurance == k) & (drawn.area == 0)].sum() for k in range(2)]
    least = [int(fen) * BUDGET // 100 // 10_000 * 10_000 for fen in booked]
    return dict(zip(INSURANCES, least, strict=True))


# ----------------------------------------------------------------------------------------- columns


def _named(names: Sequence[str], index: NDArray[Any]) -> Any:
    return pa.array(names, pa.string()).take(pa.array(index))


def _hospital_table(places: _Places, year: int) -> pa.Table:
    names = [HOSPITAL_NAMES[x].format(k + 1) for k, x in enumerate(places.level.tolist())]
    columns: Columns = {
        "hospital_id": pa.array(places.ids),
        "hospital_name": pa.array(names),
        "hospital_level": _named(HOSPITAL_LEVELS, places.level),
        "valid_from": pa.array([date(year, 1, 1)] * len(names), pa.date32()),
    }
    return pa.table(columns)


def _weight_table(book: Book, log_weight: F64, mean_fen: int) -> pa.Table:
    e4 = np.rint(1e4 * np.exp(log_weight)).clip(1).astype(np.int64).tolist()
    columns: Columns = {
        "group": pa.array(book.groups, pa.string()),
        "weight": pa.array([Decimal(w).scaleb(-4) for w in e4], pa.decimal128(12, 4)),
        "mean_cost_fen": pa.array([w * mean_fen // 10_000 for w in e4], pa.int64()),
    }
    return pa.table(columns)


# ----------------------------------------------------------------------------------- hostile cases

REPEATS = 3
FULL_WIDTH = {x: x + 0xFEE0 for x in range(0x21, 0x7F)}


def hostile_cases(seed: int = 1) -> pa.Table:
    """Make a table of everything that is wrong in real files (异常病例), between ordinary rows.

    Parameters
    ----------
    seed : of the ordinary rows, every second of which gets a fault.

    Returns
    -------
    A few hundred cases with list<string> codes. `group` accepts the table; no row raises.
    """
    scheme = load_drg("chs-drg-1.1")
    faults, spare = _faults(scheme) * REPEATS, max(scheme.vocabulary(PROCEDURES).ids)
    cases = make_region(2 * len(faults), scheme=scheme, seed=seed).cases
    rows = cases.to_pylist()
    for row, fault in zip(rows[1::2], faults, strict=True):
        row |= {c: x(row[c] or [spare]) if callable(x) else x for c, x in fault.items()}
    return pa.table(
        {c: pa.array([r[c] for r in rows], BY_NAME[c].arrow) for c in cases.schema.names}
    )


def _faults(scheme: DrgScheme) -> list[dict[str, Any]]:
    """List what is done to a row: column -> new value, or a function of the old one."""
    listed = scheme.code_list
    assert listed is not None, "the scheme names a code list"
    grey, grey_px = min(listed.grey_diagnoses), min(listed.grey_procedures)
    known = zip(scheme.codes, scheme.sides.tolist(), strict=True)
    many = list(islice((c for c, side in known if side & DIAGNOSES), 199))
    long = "K22.301" + "x" * 40
    odd = ("", " ", "K22.301 ", long, "K22\0.301", "\0", "😀", "ZZZ.001", grey, grey_px, None)
    newborn: dict[str, Any] = {"age": 0, "age_days": 3}
    both = ("diagnoses", "procedures")
    return [
        *({c: x} for c in both for x in ([], None, [None], ["", ""])),
        *({c: lambda codes, x=x: [x, *codes[1:]]} for c in both for x in odd),
        *({c: lambda codes, x=x: [*codes, x]} for c in both for x in odd),
        *({c: lambda codes: [x.swapcase() for x in codes]} for c in both),
        *({c: lambda codes: [x.translate(FULL_WIDTH) for x in codes]} for c in both),
        *({c: lambda codes: codes + codes} for c in both),
        *({"diagnoses": lambda codes, x=x: [codes[0], *x]} for x in (ODD_CODES, many)),
        *({"case_id": x} for x in (None, "", "C000000001", "😀")),
        *({"sex": x} for x in (0, 9, 5, -1, None)),
        *({"age": x} for x in (-1, 151, 999, 2**31 - 1, None)),
        *({"age": 0, "age_days": x} for x in (None, -1, 0, 400)),
        *(newborn | {"birth_weight": x, "admission_weight": x} for x in (-1, 0, 5, 30_000, None)),
        {"admission_date": date(2025, 12, 31), "discharge_date": date(2025, 1, 1)},
        {"admission_date": None, "settlement_date": None},
        *({"los": x} for x in (-3, 0, 9999, None)),
        *({"total_cost_fen": x} for x in (0, -100, 10**15, None)),
        {"hospital_id": None, "insurance": None, "discharge_mode": ""},
    ]
