"""Grouped rows → what each case claims: fen under a rate, units of score under points.

Order of work: pool and family of each case; price each distinct key once (`_pricing`, `_bands`); the
kernel puts each case's cost into its band; the quota of high cases; readmissions. Decisions of special
cases come last and in two versions, since a month knows only those entered by its end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from fractions import Fraction
from math import floor
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from grouper import _chunks
from grouper._benchmarks import find_means
from grouper._coefficients import CoefficientRows, Coefficients, find_coefficients
from grouper._distinct import distinct
from grouper._families import find_families, find_readmissions
from grouper._ledger_rows import Rows, Texts
from grouper._pricing import (
    MOST_CLAIM,
    PLAIN,
    PayGroup,
    Price,
    Pricer,
    Subtype,
    Where,
    outright,
    pay_group,
)
from grouper._statistics import half_up
from grouper.errors import PolicyError, SettlementError
from grouper.kernels import _money, payment
from grouper.tables._policy import Policy
from grouper.tables._types import I8, I32, I64, Band

EPOCH = 719_163


@dataclass(frozen=True)
class Claimed:
    """Cases with their claims, before any fund is looked at.

    `pool` is a place in the policy's pools, `family` in its families (-1 = ordinary), `key` in `prices`.
    `off_top`, `booked` and `nothing` are those of the price, or of a decision.
    """

    policy: Policy
    rows: Rows
    pool: I32
    family: I8
    key: I32
    groups: Sequence[PayGroup]
    prices: Sequence[Price]
    wheres: Sequence[Where]
    pricer: Pricer
    coefficients: Coefficients
    claim: I64
    band: I8
    ratio: I64
    readmission: I8
    carve_out_pay: I64
    off_top: NDArray[np.bool_]
    booked: NDArray[np.bool_]
    nothing: NDArray[np.bool_]

    @property
    def outright(self) -> NDArray[np.bool_]:
        """Cases that are paid what was booked, or nothing, whatever their claim."""
        return self.booked | self.nothing

    @property
    def outside(self) -> NDArray[np.bool_]:
        """Cases of families that are paid outside the fund."""
        families = self.policy.settings.family
        flags = np.array([*(f.fund == "outside" for f in families), False], np.bool_)
        return flags[self.family]

    @property
    def in_fen(self) -> NDArray[np.bool_]:
        """Cases whose claim is fen though others claim scores: off the top, or at a family's price."""
        families, m = self.policy.settings.family, self.policy.settings.method
        if not m.shares:
            return np.zeros(len(self.rows), np.bool_)
        flags = np.array([*(f.fund == "outside" and f.pay != "factor" for f in families), False])
        return self.off_top | np.asarray(flags[self.family], np.bool_)

    @property
    def unscaled(self) -> NDArray[np.bool_]:
        """Cases that no point value scales: prices in fen, and everything under a fixed rate."""
        m = self.policy.settings.method
        if m.shares:
            return self.in_fen
        if m.rate == "fixed":
            return np.ones(len(self.rows), np.bool_)
        flags = np.array([*(f.pay != "factor" for f in self.policy.settings.family), False])
        return self.outright | np.asarray(flags[self.family], np.bool_)

    def by_key(self, values: Sequence[Any], kind: Any) -> NDArray[Any]:
        """Spread one value per price key over the cases."""
        return np.array([*values] or [0], kind)[self.key] if len(self.rows) else np.zeros(0, kind)


def find_claims(
    rows: Rows, policy: Policy, prior_cases: pa.Table | None, threads: int | None
) -> Claimed:
    """Price every case.

    Raises
    ------
    PolicyError, SettlementError : a parameter, rule or amount that is needed is missing or out of range.
    """
    pool, family = find_pools(rows, policy), find_families(rows, policy)
    groups_of, group_index = _pay_groups(rows, policy)
    weights = _coefficient_rows(rows, policy, family, group_index, groups_of)
    coefficients = find_coefficients(policy, weights, prior_cases)
    pricer = Pricer(policy, coefficients, find_means(policy, prior_cases))
    index, first = _keys(rows, policy, pool, family, coefficients)
    groups, prices, wheres = [], [], []
    for row in first:
        where = _where(rows, policy, pool, family, int(row))
        paid, price = _price(rows, pricer, where, int(row), int(family[row]))
        groups.append(paid)
        prices.append(price)
        wheres.append(where)
    claim, band, ratio = _run_kernel(rows, policy, family, index, prices, threads)
    flags = np.array([(p.off_top, p.booked, p.nothing) for p in prices], np.bool_).reshape(-1, 3)
    claimed = Claimed(
        policy=policy,
        rows=rows,
        pool=pool,
        family=family,
        key=index,
        groups=groups,
        prices=prices,
        wheres=wheres,
        pricer=pricer,
        coefficients=coefficients,
        claim=claim,
        band=band,
        ratio=ratio,
        readmission=find_readmissions(rows, policy),
        carve_out_pay=_carve_outs(rows, policy),
        off_top=flags[index, 0],
        booked=flags[index, 1],
        nothing=flags[index, 2],
    )
    _refuse_costless(claimed)
    _apply_quota(claimed)
    _apply_readmissions(claimed)
    return claimed


# ------------------------------------------------------------------------------------------- pools


def find_pools(rows: Rows, policy: Policy) -> I32:
    """Return each case's pool: the first all of whose lists name it.

    Raises
    ------
    SettlementError : a case fits no pool.
    """
    columns = ("insurance", "insured_area", "hospital_area", "hospital")
    texts: dict[str, Texts] = {
        "insurance": rows.insurance,
        "insured_area": rows.insured_area,
        "hospital_area": rows.area,
        "hospital": rows.hospital,
    }
    pool = np.full(len(rows), -1, np.int32)
    for k, p in enumerate(policy.settings.pool):
        fits = pool < 0
        for name in columns:
            if wanted := getattr(p, name):
                column = texts[name]
                fits &= np.array([t in wanted for t in column.distinct], np.bool_)[column.index]
        pool[fits] = k
    lost = np.flatnonzero(pool < 0)
    if len(lost):
        row = int(lost[0])
        where = ", ".join(f"{c} {texts[c][row]}" for c in columns if texts[c][row])
        raise SettlementError(
            f"insurance {rows.insurance[row]} is in no pool of policy {policy.id}: {len(lost)} "
            f"cases, the first with {where}; name it under [[pool]]"
        )
    return pool


# ------------------------------------------------------------------------------------------ prices


def _pay_groups(rows: Rows, policy: Policy) -> tuple[list[PayGroup], I32]:
    """Return as what each case is paid, apart from families: distinct ones, and each case's."""
    breaks = np.array([d.toordinal() - EPOCH for d in policy.breaks], np.int64)
    period = np.searchsorted(breaks, rows.day, side="right")
    inverse, first = distinct(
        (rows.status.index, len(rows.status.distinct)),
        (rows.group.index, len(rows.group.distinct)),
        (rows.note.index, len(rows.note.distinct)),
        (period, len(breaks) + 1),
    )
    found = []
    for row in first:
        day = day_of(rows.day[row])
        found.append(pay_group(policy, day, rows.status[row], rows.group[row], rows.note[row]))
    return found, inverse


def _coefficient_rows(
    rows: Rows, policy: Policy, family: I8, index: I32, groups: Sequence[PayGroup]
) -> CoefficientRows:
    """Bring together what computed coefficients are measured on: all but reversed settlements."""
    kind = policy.settings.coefficient
    weights = [
        g.row.weight * g.share if g.row is not None and g.row.weight is not None else None
        for g in groups
    ]
    scale = next(
        s for s in range(19) if s == 18 or all((w * 10**s).denominator == 1 for w in weights if w)
    )
    units = [-1 if w is None else int(w * 10**scale) for w in weights]
    if max(units, default=0) >= 2**62:
        raise PolicyError("a weight beyond what 64 bits hold: check the table", parameter="weights")
    factors = np.array([*(f.pay == "factor" for f in policy.settings.family), True], np.bool_)
    by_weight = factors[family]
    kept = np.flatnonzero(~rows.reversed)
    names = {step.fee for step in kind.step if step.fee} if kind else set()
    return CoefficientRows(
        hospital=rows.hospital.at(kept),
        level=rows.level.at(kept),
        class_=rows.class_.at(kept),
        group=rows.group.at(kept),
        day=rows.day[kept],
        cost=rows.cost[kept],
        grouped=np.array([s == "grouped" for s in rows.status.distinct])[rows.status.index[kept]],
        weight_num=np.where(by_weight, np.array(units or [0], np.int64)[index], -1)[kept],
        weight_scale=scale,
        age=rows.whole("age")[kept],
        fees={name: rows.money(name)[kept] for name in sorted(names)},
    )


def _keys(
    rows: Rows, policy: Policy, pool: I32, family: I8, coefficients: Coefficients
) -> tuple[I32, I64]:
    """Find the distinct prices: each case's key, and the first row of each key."""
    values = [v for p in policy.settings.param.values() for v in p.all_values]
    hospital = coefficients.by_hospital or any(v.hospital for v in values)
    area = any(v.area for v in values)
    month = np.asarray(rows.fund_day, "datetime64[D]").astype("datetime64[M]").astype(np.int64)
    month -= month.min(initial=0)
    breaks = np.array([d.toordinal() - EPOCH for d in policy.breaks], np.int64)
    zero = np.zeros(len(rows), np.int32)
    return distinct(
        (rows.status.index, len(rows.status.distinct)),
        (rows.group.index, len(rows.group.distinct)),
        (rows.note.index, len(rows.note.distinct)),
        (rows.subtype.index, len(rows.subtype.distinct)),
        (rows.level.index, len(rows.level.distinct)),
        (rows.class_.index, len(rows.class_.distinct)),
        (rows.insurance.index, len(rows.insurance.distinct)),
        (pool, len(policy.settings.pool)),
        (family + 1, len(policy.settings.family) + 1),
        (np.searchsorted(breaks, rows.day, side="right"), len(breaks) + 1),
        (rows.hospital.index if hospital else zero, len(rows.hospital.distinct)),
        (rows.area.index if area else zero, len(rows.area.distinct)),
        (rows.reversed, 2),
        (month if by_month(policy) else zero, int(month.max(initial=0)) + 1),
    )


PRICING = ("coefficient", "base_rate", "overall_mean", "per_day", "per_case", "family_factor")
"""Parameters that a case's price reads by its own selectors."""


def by_month(policy: Policy) -> bool:
    """Tell whether a price depends on the month of the case."""
    known = [policy.settings.param[n] for n in PRICING if policy.has(n)]
    return any(v.month for p in known for v in p.all_values)


def _where(rows: Rows, policy: Policy, pool: I32, family: I8, row: int) -> Where:
    name = policy.settings.family[family[row]].id if family[row] >= 0 else ""
    return Where(
        day=day_of(rows.day[row]),
        level=rows.level[row],
        class_=rows.class_[row],
        insurance=rows.insurance[row],
        hospital=rows.hospital[row],
        pool=policy.settings.pool[pool[row]].id,
        area=rows.area[row],
        family=name,
        month=f"{day_of(rows.fund_day[row]):%Y-%m}" if by_month(policy) else "",
    )


def _price(
    rows: Rows, pricer: Pricer, where: Where, row: int, family: int
) -> tuple[PayGroup, Price]:
    policy = pricer.policy
    if rows.reversed[row]:
        return PayGroup("status:reversed", None, Fraction(1), None), outright(booked=False)
    if family >= 0:
        own = policy.settings.family[family]
        if own.pay != "factor":
            return PayGroup(f"family:{own.id}", None, Fraction(1), None), pricer.family(own, where)
    paid = pay_group(policy, where.day, rows.status[row], rows.group[row], rows.note[row])
    return paid, pricer.price(paid, where, _subtype(rows.subtype[row]))


def _subtype(text: str) -> Subtype:
    coefficient, _, mean = text.partition(" ")
    return Subtype(Fraction(coefficient), int(mean) if mean else None) if coefficient else PLAIN


def _run_kernel(
    rows: Rows,
    policy: Policy,
    family: I8,
    index: I32,
    prices: Sequence[Price],
    threads: int | None,
) -> tuple[I64, I8, I64]:
    n = len(rows)
    claim, ratio, band = np.zeros(n, np.int64), np.zeros(n, np.int64), np.zeros(n, np.int8)
    base = np.array([p.base for p in prices] or [0], np.int64)
    mean = np.array([p.benchmark for p in prices] or [0], np.int64)
    off = np.cumsum([0, *(len(p.segments) for p in prices)]).astype(np.int64)
    lines = [s for p in prices for s in p.segments] or [(0, 0, 0, 0, 1, 0, 1)]
    segments = np.array(lines, np.int64)
    used = rows.used
    if daily := [k for k, f in enumerate(policy.settings.family) if f.pay == "per_day"]:
        by_day = np.isin(family, np.array(daily, np.int8))
        used = np.where(by_day, np.maximum(rows.los, 1), used)  # a day's price drives by days
    _chunks.run(
        lambda a, b: payment.price(
            index, used, base, mean, off, segments, claim, band, ratio, a, b
        ),
        n,
        threads,
    )
    if len(over := np.flatnonzero(claim < 0)):
        row = int(over[0])
        raise SettlementError(
            f"the claim of case {rows.case_id(row)!r} and {len(over) - 1} others is beyond what "
            "an amount can be: its benchmark is far too small; check weights and means"
        )
    return claim, band, ratio


def _refuse_costless(claimed: Claimed) -> None:
    """Refuse cases that are to be paid by their cost and have none."""
    by_cost = claimed.by_key([p.by_cost for p in claimed.prices], np.bool_)
    lost = np.flatnonzero(by_cost & (claimed.rows.cost < 0))
    if len(lost):
        name = claimed.groups[claimed.key[lost[0]]].name
        raise SettlementError(
            f"{len(lost)} cases without total_cost are to be paid by cost ({name}); give the cost, "
            "or another rule under [status_pay]"
        )


def _carve_outs(rows: Rows, policy: Policy) -> I64:
    """Return what is paid for carve-outs (除外支付), half up."""
    paid = np.zeros(len(rows), np.int64)
    if policy.settings.carve_out is not None:
        share = Fraction(policy.settings.carve_out.share)
        num, den = (np.full(len(rows), x, np.int64) for x in (share.numerator, share.denominator))
        _money.scale(rows.carve_out.copy(), num, den, paid)  # a read-only array would compile anew
    return paid


# ------------------------------------------------------------------------- quota and readmissions


def _apply_quota(claimed: Claimed) -> None:
    """Let only the quota of each hospital, level or pool stay high; the rest becomes normal."""
    quota, rows = claimed.policy.settings.high_quota, claimed.rows
    if quota is None:
        return
    scope = {
        "hospital": (rows.hospital.index, len(rows.hospital.distinct)),
        "level": (rows.level.index, len(rows.level.distinct)),
        "pool": (np.zeros(len(rows), np.int32), 1),
    }[quota.per]
    period, count = fund_periods(claimed)
    of, _ = distinct(scope, (claimed.pool, len(claimed.policy.settings.pool)), (period, count))
    sizes = np.bincount(of[~rows.reversed], minlength=int(of.max(initial=0)) + 1)
    share = Fraction(quota.share)
    most = np.array([floor(share * int(n)) for n in sizes], np.int64)
    high = rows.by_id[claimed.band[rows.by_id] == Band.HIGH]
    mean = claimed.by_key([p.benchmark for p in claimed.prices], np.int64)
    excess = rows.used[high] - mean[high]
    order = np.lexsort((np.arange(len(high)), -excess, of[high]))
    ranked = high[order]
    place = np.arange(len(ranked))
    starts = np.r_[True, of[ranked][1:] != of[ranked][:-1]] if len(ranked) else place.astype(bool)
    rank = place - np.maximum.accumulate(np.where(starts, place, 0))
    over = ranked[rank >= most[of[ranked]]]
    base = claimed.by_key([p.base for p in claimed.prices], np.int64)
    claimed.claim[over] = base[over]
    claimed.band[over] = Band.NORMAL


def fund_periods(claimed: Claimed) -> tuple[I64, int]:
    """Give numbers to the fund periods of the cases: how many have begun on the day."""
    policy = claimed.policy
    starts = sorted(
        {
            v.from_.toordinal() - EPOCH
            for name in ("fund", "budget", "budget_base")
            if policy.has(name)
            for v in policy.settings.param[name].all_values
        }
    )
    return np.searchsorted(np.array(starts), claimed.rows.fund_day, side="right"), len(starts) + 1


def _apply_readmissions(claimed: Claimed) -> None:
    """Pay readmissions their part of the claim."""
    for k, rule in enumerate(claimed.policy.settings.readmission):
        mine = np.flatnonzero(claimed.readmission == k)
        factor = Fraction(rule.factor)
        num, den = (np.full(len(mine), x, np.int64) for x in (factor.numerator, factor.denominator))
        out = np.empty(len(mine), np.int64)
        _money.scale(claimed.claim[mine], num, den, out)
        claimed.claim[mine] = out


# --------------------------------------------------------------------------------------- decisions


@dataclass(frozen=True, slots=True)
class Decision:
    """The outcome for one case: a special case (特例单议) or an appeal (申诉)."""

    row: int
    entry_id: str
    outcome: str
    value: Fraction
    entered: date | None


def decided(claimed: Claimed, decisions: Sequence[Decision], by: date | None) -> Claimed:
    """Return the claims with the decisions entered by a day (None: all); later ones come last."""
    known = [
        d
        for d in decisions
        if (by is None or d.entered is None or d.entered <= by) and not claimed.rows.reversed[d.row]
    ]
    if not known:
        return claimed
    claim, booked = claimed.claim.copy(), claimed.booked.copy()
    off_top, nothing = claimed.off_top.copy(), claimed.nothing.copy()
    for d in known:
        row = d.row
        if d.outcome == "refused":
            claim[row], key = claimed.claim[row], claimed.key[row]
            price = claimed.prices[key]
            booked[row], off_top[row], nothing[row] = price.booked, price.off_top, price.nothing
            continue
        booked[row] = off_top[row] = d.outcome == "booked"
        nothing[row] = False
        claim[row] = 0 if d.outcome == "booked" else decided_claim(claimed, d)
    return replace(claimed, claim=claim, booked=booked, off_top=off_top, nothing=nothing)


def decided_claim(claimed: Claimed, d: Decision) -> int:
    """Return the claim that a decision gives a case."""
    m = claimed.policy.settings.method
    priced = bool(claimed.in_fen[d.row]) and bool(claimed.outside[d.row])
    if d.outcome == "score":
        return half_up(
            d.value * (10**m.score_decimals if m.kind == "point" and not priced else 100)
        )
    if priced:
        raise SettlementError(
            f"ledger entry {d.entry_id!r}: the case is paid at a price outside the fund: decide score "
            "(in yuan), booked or refused"
        )
    used = int(claimed.rows.used[d.row])
    if used < 0:
        raise SettlementError(f"ledger entry {d.entry_id!r}: the case has no total_cost")
    where = claimed.wheres[claimed.key[d.row]]
    claim = half_up(used * d.value * claimed.pricer.cost_over_mean(where))
    if claim > MOST_CLAIM:
        raise SettlementError(
            f"ledger entry {d.entry_id!r}: the value makes a claim beyond all others"
        )
    return claim


def day_of(day: Any) -> date:
    """Return the date of a number of days since 1970-01-01."""
    return date.fromordinal(int(day) + EPOCH)
