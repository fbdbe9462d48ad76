"""Budget → funds: the units that close, each a pool, a period and a line.

A line is the fund itself, a family outside it, its carve-outs, a price taker, or money set aside for
something that no case here shows. The surprise: cases of an outside family stand in a unit of their own,
so no fund ever sums what it does not pay.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from fractions import Fraction

import numpy as np

from grouper._claims import EPOCH, Claimed, day_of
from grouper._statistics import half_up
from grouper.errors import PolicyError, SettlementError
from grouper.kernels import _money
from grouper.tables._policy import Policy
from grouper.tables._types import I32, I64

FUND, TAKER, CARVE_OUT = "fund", "taker", "carve_out"


@dataclass(frozen=True)
class Unit:
    """A pool, fund period and line: the smallest thing that closes. `rows` by hospital, then case.

    `fund` is what this line may pay (fen), None = whatever it pays; `budget` and `reserve` are those
    of the pool, `planned` what its other lines take from the budget.
    """

    pool: str
    line: str
    first: date
    last: date
    rows: I64
    fund: int | None = None
    budget: int = 0
    reserve: int = 0
    planned: int = 0
    source: str = ""
    name: str = ""  # of the period; "" = first/last

    @property
    def period(self) -> str:
        """Name the period."""
        return self.name or f"{self.first}/{self.last}"

    @property
    def selectors(self) -> dict[str, str]:
        """Return the selectors of a dated value: the pool, and the month of a month."""
        return {"pool": self.pool, **({"month": self.name} if self.name else {})}

    @property
    def key(self) -> tuple[str, str, str]:
        """Pool, period and line: no two units share them."""
        return self.pool, self.period, self.line


@dataclass(frozen=True)
class Period:
    """One value of the fund of a pool."""

    pool: str
    first: date
    last: date
    source: str


def find_units(claimed: Claimed, owed: Callable[[I64], int]) -> list[Unit]:
    """Put every case into its unit; a fund of the days at hand that no case draws on is one too.

    `owed` says what cases of a line without a point value are paid: some budgets leave just that.

    Raises
    ------
    PolicyError : a pool has no fund on a day of its cases. SettlementError : more is set aside than there is.
    """
    policy, rows = claimed.policy, claimed.rows
    units: list[Unit] = []
    for k, pool in enumerate(policy.settings.pool):
        mine = rows.order[claimed.pool[rows.order] == k]
        if pool.price_of is not None:
            units += _taker_units(claimed, pool.id, pool.price_of, mine)
        else:
            units += _fund_units(claimed, pool.id, mine, owed)
    return [u for u in units if len(u.rows) or _is_near(u, rows.fund_day)]


def _is_near(unit: Unit, days: I32) -> bool:
    """Tell whether an idle fund lies in the days of the cases: its money is not lost from sight."""
    if not len(days):
        return False
    return unit.first <= day_of(days.max()) and day_of(days.min()) <= unit.last


def fund_parameter(policy: Policy) -> str:
    """Return the parameter whose periods the funds have."""
    budget = policy.settings.budget
    if budget is None:
        return "fund"
    return "budget_base" if budget.method == "growth" else "budget"


def periods(policy: Policy, pool: str) -> list[Period]:
    """List the periods of a pool's fund: each value that counts on its first or last day."""
    name = fund_parameter(policy)
    found = {}
    for v in policy.settings.param[name].all_values:
        if v.pool not in (None, pool) or v.to is None:
            continue
        if any(policy.value(name, day, pool=pool) is v for day in (v.from_, v.to)):
            found[v.from_, v.to] = Period(pool, v.from_, v.to, v.source)
    return [found[k] for k in sorted(found)]


def _fund_units(claimed: Claimed, pool: str, mine: I64, owed: Callable[[I64], int]) -> list[Unit]:
    """Return the units of one pool that forms its price."""
    policy, rows = claimed.policy, claimed.rows
    name = fund_parameter(policy)
    outside = claimed.outside[mine]
    of = np.full(len(mine), -1, np.int64)
    spans: dict[tuple[date, date], tuple[int, str]] = {}
    days, inverse = np.unique(rows.fund_day[mine], return_inverse=True)
    number = np.zeros(len(days), np.int64)
    for k, day in enumerate(days):
        v = policy.value(name, day_of(day), pool=pool)
        assert v.to is not None
        number[k] = spans.setdefault((v.from_, v.to), (len(spans), v.source))[0]
    if len(mine):
        of = number[inverse]
    for p in periods(policy, pool):
        spans.setdefault((p.first, p.last), (len(spans), p.source))
    units = []
    for (first, last), (k, source) in sorted(spans.items()):
        unit = Unit(pool, FUND, first, last, mine[(of == k) & ~outside], source=source)
        units += _lines(claimed, unit, mine[(of == k) & outside], mine[of == k], owed)
    return units


def _lines(
    claimed: Claimed, unit: Unit, outside: I64, everyone: I64, owed: Callable[[I64], int]
) -> list[Unit]:
    """Split a budget into the fund and its other lines."""
    policy, s = claimed.policy, claimed.policy.settings
    budget, items = _budget(claimed, unit, outside, everyone, owed)
    reserve = sum(fen for i, fen in items.items() if _is_reserve(policy, i))
    planned = sum(items.values()) - reserve
    if reserve + planned > budget:
        raise SettlementError(
            f"pool {unit.pool}, {unit.period}: {reserve + planned} fen leave a budget of {budget} fen; "
            "see [[budget.less]]"
        )
    fund = budget - reserve - planned
    found = [replace(unit, fund=fund, budget=budget, reserve=reserve, planned=planned)]
    used = set()
    for k, family in enumerate(s.family):
        mine = outside[claimed.family[outside] == k]
        if family.fund == "outside" and (len(mine) or family.id in items):
            used.add(family.id)
            line = f"family:{family.id}"
            found.append(replace(unit, line=line, rows=mine, fund=items.get(family.id)))
    if s.carve_out is not None and s.carve_out.fund == "outside":
        used.add(CARVE_OUT)
        found.append(replace(unit, line=CARVE_OUT, rows=everyone, fund=items.get(CARVE_OUT)))
    for i, fen in items.items():
        if i not in used and not _is_reserve(policy, i):
            found.append(replace(unit, line=f"less:{i}", rows=np.zeros(0, np.int64), fund=fen))
    return found


def _is_reserve(policy: Policy, item: str) -> bool:
    budget = policy.settings.budget
    return budget is not None and any(x.reserve for x in budget.less if x.id == item)


def _budget(
    claimed: Claimed, unit: Unit, outside: I64, everyone: I64, owed: Callable[[I64], int]
) -> tuple[int, Mapping[str, int]]:
    """Return a pool's budget and what leaves it before it is a fund, fen by item."""
    policy = claimed.policy
    b, name = policy.settings.budget, fund_parameter(policy)
    day = max(unit.first, _value_start(policy, name, unit))
    amount = policy.at(name, day, pool=unit.pool)
    if b is None:
        if amount.denominator != 1:
            raise PolicyError(f"{amount} is no whole number of fen", parameter=name)
        return int(amount), {}
    if b.method == "growth":
        amount *= 1 + policy.at("budget_growth", day, pool=unit.pool)
    budget = half_up(amount)
    items = {}
    for x in b.less:
        if x.kind == "amount":
            items[x.id] = half_up(policy.at("less", day, pool=unit.pool, item=x.id))
        elif x.kind == "share":
            items[x.id] = half_up(budget * Fraction(x.share))
        else:
            items[x.id] = _actual(claimed, x.id, outside, everyone, owed)
    return budget, items


def _value_start(policy: Policy, name: str, unit: Unit) -> date:
    """Return the first day on which the unit's own value is the one that counts."""
    v = next(
        v
        for v in policy.settings.param[name].all_values
        if (v.from_, v.to) == (unit.first, unit.last) and v.pool in (None, unit.pool)
    )
    days = (v.from_, *(d for d in policy.breaks if v.from_ < d <= unit.last), unit.last)
    return next((d for d in days if policy.value(name, d, pool=unit.pool) is v), v.from_)


def _actual(
    claimed: Claimed, item: str, outside: I64, everyone: I64, owed: Callable[[I64], int]
) -> int:
    """Return what a line pays; `load_policy` lets only lines without a point value be actual."""
    if item == CARVE_OUT:
        return int(claimed.carve_out_pay[everyone].sum())
    ids = [f.id for f in claimed.policy.settings.family]
    return owed(outside[claimed.family[outside] == ids.index(item)])


def _taker_units(claimed: Claimed, pool: str, price_of: str, mine: I64) -> list[Unit]:
    """Return the units of a price taker: the periods of the pool whose point value it takes."""
    days = claimed.rows.fund_day[mine]
    found, placed = [], np.zeros(len(mine), np.bool_)
    for p in periods(claimed.policy, price_of):
        inside = (days >= p.first.toordinal() - EPOCH) & (days <= p.last.toordinal() - EPOCH)
        placed |= inside
        if inside.any():
            unit = Unit(pool, TAKER, p.first, p.last, mine[inside], source=p.source)
            found.append(unit)
            carve_out = claimed.policy.settings.carve_out
            if carve_out is not None and carve_out.fund == "outside":
                found.append(replace(unit, line=CARVE_OUT))
    if not placed.all():
        day = day_of(days[~placed][0])
        raise SettlementError(
            f"pool {pool}: on {day} pool {price_of} has no fund to take a price of"
        )
    return found


# ------------------------------------------------------------------------------------------ months


def months_of(unit: Unit) -> list[str]:
    """List the months of a unit's period, such as 2025-03."""
    found, day = [], unit.first.replace(day=1)
    while day <= unit.last:
        found.append(f"{day:%Y-%m}")
        day = (day + timedelta(days=32)).replace(day=1)
    return found


def last_day(month: str) -> date:
    """Return the last day of a month."""
    first = date.fromisoformat(f"{month}-01")
    return (first + timedelta(days=32)).replace(day=1) - timedelta(days=1)


def month_budgets(policy: Policy, unit: Unit) -> dict[str, int]:
    """Split a fund over its months by the policy's pace, largest remainder, ties by month.

    Raises
    ------
    PolicyError : a month has no pace. SettlementError : the period is not of whole months.
    """
    names, year = months_of(unit), policy.settings.year
    assert year is not None
    assert unit.fund is not None
    if unit.first.day != 1 or unit.last != last_day(names[-1]):
        raise SettlementError(f"pool {unit.pool}: the fund of {unit.period} is not of whole months")
    weights = [Fraction(1)] * len(names)
    if year.pace == "seasonal":
        weights = [policy.at("pace", last_day(m), pool=unit.pool, month=m) for m in names]
    scale = 1
    while any((w * scale).denominator != 1 for w in weights):
        scale *= 10
    claims = np.array([int(w * scale) for w in weights], np.int64)
    if not claims.any():
        raise PolicyError(f"no month of {unit.period} has a pace above 0", parameter="pace")
    shares = np.zeros(len(names), np.int64)
    _money.apportion(unit.fund, claims, shares)
    return dict(zip(names, shares.tolist(), strict=True))


def month_unit(claimed: Claimed, unit: Unit, month: str, fund: int | None) -> Unit:
    """Cut a month out of a unit."""
    first = date.fromisoformat(f"{month}-01")
    days = claimed.rows.fund_day[unit.rows]
    inside = (days >= first.toordinal() - EPOCH) & (days <= last_day(month).toordinal() - EPOCH)
    return replace(
        unit,
        first=first,
        last=last_day(month),
        rows=unit.rows[inside],
        fund=fund,
        budget=fund or 0,
        reserve=0,
        planned=0,
        name=month,
    )


def pools_of(units: Sequence[Unit]) -> list[str]:
    """List the pools that have a fund."""
    return list(dict.fromkeys(u.pool for u in units if u.line == FUND))
