"""Hospital coefficients (医疗机构系数): what a hospital's cases are multiplied by, and why.

Order of work: add up what the policy's kind of coefficient compares (whole numbers, over the whole
table), then answer for each price key with exact fractions, and lay out how each came about. Only a
`mean_ratio` is rounded. The surprise: `steps` compare hospitals of one level, so a hospital has one
level for all its cases, that of its latest case; its base is still looked up for each day and level.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from fractions import Fraction
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from grouper._benchmarks import ALL, NOTHING, CostSums, Sum, exact_sums, prior_sums, sum_costs
from grouper._pricing import Where, selectors
from grouper._statistics import half_up
from grouper.errors import CaseSchemaError, PolicyError
from grouper.tables._policy import Policy, Value, WeightRow
from grouper.tables._policy_model import Coefficient, Step
from grouper.tables._types import I32, I64

if TYPE_CHECKING:
    from grouper._ledger_rows import Texts

EPOCH = 719_163
ONE = Fraction(1)

COLUMNS = pa.schema(
    [
        *((c, pa.string()) for c in ("hospital_id", "hospital_level", "hospital_class")),
        *((c, pa.string()) for c in ("group", "part", "figure", "mean")),
        ("steps", pa.int64()),
        *((c, pa.string()) for c in ("cap", "bonus", "coefficient", "source")),
    ]
)
"""Columns of `Coefficients.table`."""


@dataclass(frozen=True, eq=False)
class CoefficientRows:
    """The cases of a settlement as coefficients read them.

    Parameters
    ----------
    day : days since 1970-01-01. cost : fen, -1 = not known. age : years, -1 = not known.
    weight_num : weight of a case paid by a weight row, at `weight_scale` decimals; -1 = none.
    fees : money columns that `fee_share` names, fen.
    """

    day: I32
    hospital: Texts
    level: Texts
    class_: Texts
    group: Texts
    cost: I64
    grouped: NDArray[np.bool_]
    weight_num: I64
    weight_scale: int
    age: I32
    fees: Mapping[str, I64]


@dataclass(frozen=True, slots=True)
class Bonus:
    """One step of one hospital; `figure` None = it has no cases to measure, `cap` None = no bonus."""

    part: str
    figure: Fraction | None
    mean: Fraction | None
    steps: int | None
    cap: Fraction | None
    bonus: Fraction


class Line(NamedTuple):
    """A row of `Coefficients.table` after hospital, level and class."""

    group: str
    part: str
    figure: str | None = None
    mean: str | None = None
    steps: int | None = None
    cap: str | None = None
    bonus: str | None = None
    coefficient: str | None = None
    source: str = ""


@dataclass(frozen=True, eq=False)
class Coefficients:
    """Hospital coefficients of one settlement: looked up by hospital, level, class, group, day.

    Parameters
    ----------
    bonuses : by hospital. costs : by kind of place, "hospital", "level" or "class".
    """

    policy: Policy
    rows: CoefficientRows | None = None
    bonuses: Mapping[str, tuple[Bonus, ...]] = field(default_factory=dict)
    costs: Mapping[str, CostSums] = field(default_factory=dict)

    def at(self, where: Where, row: WeightRow) -> Fraction:
        """Return the coefficient of a hospital for a group; basic groups take none, or a level's.

        Raises
        ------
        PolicyError : param.coefficient has no value in force that fits, or two.
        """
        basic = self.policy.settings.basic if row.basic else None
        if basic is not None and basic.level is None:
            return ONE
        chosen = selectors(self.policy, where, row)
        return self._find(where.day, chosen, one_level=basic is not None)

    def plain(self, where: Where) -> Fraction:
        """Return the coefficient of a hospital without a group, for rules of `status_pay`."""
        return self._find(where.day, where.selectors, one_level=False)

    @property
    def by_hospital(self) -> bool:
        """Whether hospitals of one level and class can differ."""
        c = self._settings
        if c is not None and c.kind != "steps":
            return c.kind == "mean_ratio" and c.of == "hospital"
        return c is not None or any(v.hospital is not None for v in self._values)

    @property
    def by_group(self) -> bool:
        """Whether groups can differ."""
        c = self._settings
        if self.policy.settings.basic is not None:
            return True
        if c is None or c.kind == "steps":
            return any(v.group is not None for v in self._values)
        if c.kind == "table":
            return any(group for group, _ in self.policy.coefficient_table)
        return c.per_group

    def table(self, used: Iterable[tuple[str, str, str]]) -> pa.Table:
        """Lay out how each coefficient came about (see `COLUMNS`), its `total` last; means in yuan.

        Parameters
        ----------
        used : hospital, level and class. Values of the day of its latest case there are shown;
            where they differ by insurance, pool, area or family, each has its lines, and `source`
            names which. Groups are those that the hospital has; "" is for all others. Basic
            groups, which take none or one level's, are left out.
        """
        wanted = sorted(set(used), key=lambda u: tuple(x.encode() for x in u))
        c, days = self._settings, self._days()
        groups = self._groups() if c is not None and c.kind != "steps" else {}
        found = [
            (*u, *line)
            for u in wanted
            for line in self._lines(u, days.get(u), groups.get(u[0], ()))
        ]
        columns = zip(*found, strict=True) if found else ((),) * len(COLUMNS)
        arrays = [pa.array(c, f.type) for c, f in zip(columns, COLUMNS, strict=True)]
        return pa.Table.from_arrays(arrays, schema=COLUMNS)

    # ------------------------------------------------------------------------------- looking up

    @property
    def _settings(self) -> Coefficient | None:
        return self.policy.settings.coefficient

    @property
    def _values(self) -> list[Value]:
        p = self.policy.settings.param.get("coefficient")
        return p.all_values if p is not None else []

    def _find(self, day: date, chosen: Mapping[str, str], *, one_level: bool) -> Fraction:
        """Return a coefficient; `one_level`: that of the level chosen, whatever the hospital."""
        c, group = self._settings, chosen.get("group", "")
        if c is None or c.kind == "steps":
            given = self.policy.has("coefficient")
            base = self.policy.at("coefficient", day, **chosen) if given else ONE
            return base if one_level else base + self._bonus.get(chosen["hospital"], 0)
        if c.kind == "table":
            return self._row(group, chosen["level" if one_level else c.by])
        kind = "level" if one_level else _place(c)
        return self._ratio(c, *self._sums(c, kind, chosen[kind], group))

    @cached_property
    def _bonus(self) -> dict[str, Fraction]:
        """The whole bonus of each hospital."""
        return {h: sum((x.bonus for x in b), Fraction(0)) for h, b in self.bonuses.items()}

    def _row(self, group: str, place: str) -> Fraction:
        """Return what the policy's table says; blank cells stand for all others."""
        table = self.policy.coefficient_table
        keys = ((group, place), (group, ""), ("", place), ("", ""))
        return next((table[k] for k in keys if k in table), ONE)

    def _sums(self, c: Coefficient, kind: str, place: str, group: str) -> tuple[Sum, Sum]:
        """Return the sums of a place and of all, of the group or over all groups."""
        costs, name = self.costs.get(kind), group if c.per_group else ""
        if costs is None:
            return NOTHING, NOTHING
        return costs.of(place, name), costs.every(name)

    def _ratio(self, c: Coefficient, own: Sum, every: Sum) -> Fraction:
        """Return mean cost of a place ÷ mean cost of all, rounded, then clamped; 1 if too few."""
        if own.cases < max(c.least_cases, 1) or every.fen == 0:
            return ONE
        unit = 10**c.decimals
        numerator, denominator = own.fen * every.cases * unit, own.cases * every.fen
        ratio = Fraction((2 * numerator + denominator) // (2 * denominator), unit)
        least, most = self._clamp
        ratio = ratio if least is None else max(ratio, least)
        return ratio if most is None else min(ratio, most)

    @cached_property
    def _clamp(self) -> tuple[Fraction | None, ...]:
        """Least and most of a `mean_ratio`."""
        c = self._settings
        ends = (c.least, c.most) if c is not None else (None, None)
        return tuple(None if x is None else Fraction(x) for x in ends)

    # ------------------------------------------------------------------------------- laying out

    def _lines(
        self, used: tuple[str, str, str], day: date | None, groups: Iterable[str]
    ) -> Iterator[Line]:
        hospital, level, class_ = used
        known = {"hospital": hospital, "level": level, "class": class_}
        c = self._settings
        if c is None or c.kind == "steps":
            yield from self._base_lines(known, day)
        elif c.kind == "table":
            rows, place = self.policy.coefficient_table, known[c.by]
            named = (g for g in groups if (g, place) in rows or (g, "") in rows)
            for g in (*named, ""):
                value = _exact(self._row(g, place))
                yield Line(g, "table", coefficient=value, source=c.source)
                yield Line(g, "total", coefficient=value, source=c.source)
        else:
            for g in groups if c.per_group else ("",):
                own, every = self._sums(c, _place(c), known[_place(c)], g)
                value = _exact(self._ratio(c, own, every))
                means = _six(own.mean_yuan), _six(every.mean_yuan)
                yield Line(g, "mean_ratio", *means, coefficient=value, source=c.source)
                yield Line(g, "total", coefficient=value, source=c.source)

    def _base_lines(self, known: Mapping[str, str], day: date | None) -> Iterator[Line]:
        """Lay out base and bonuses, once for each value that cases of the hospital can take."""
        c, bonuses = self._settings, self.bonuses.get(known["hospital"], ())
        for group, base, source in self._bases(known, day):
            yield Line(group, "base", coefficient=_exact(base), source=source)
            for b in bonuses:
                figures = (_six(b.figure), _six(b.mean), b.steps, _exact(b.cap), _exact(b.bonus))
                yield Line(group, b.part, *figures, source=c.source if c else "")
            total = base + self._bonus.get(known["hospital"], 0)
            yield Line(group, "total", coefficient=_exact(total), source=c.source if c else source)

    def _bases(self, known: Mapping[str, str], day: date | None) -> list[tuple[str, Fraction, str]]:
        """Return group, value and source of the values of param.coefficient on a day."""
        if not self.policy.has("coefficient"):
            return [("", ONE, "the policy gives none")]
        found = []
        for v in self._values:
            agrees = all(v.selector(s) in (None, x) for s, x in known.items())
            if day is None or not v.covers(day) or not agrees:
                continue
            rest = {
                s: v.selector(s) or "" for s in ("insurance", "pool", "area", "family", "group")
            }
            try:
                chosen = self.policy.value("coefficient", day, **known, **rest)
            except PolicyError:  # two fit such a case, and there is none: its price was refused
                continue
            if chosen is v:
                only = ", ".join(f"{s} {x}" for s, x in rest.items() if x and s != "group")
                source = f"{v.source} ({only})" if only else v.source
                found.append((rest["group"], Fraction(v.value), source))
        return sorted(found)

    def _days(self) -> dict[tuple[str, str, str], date]:
        """Return the day of the latest case by hospital, level and class."""
        r = self.rows
        if r is None:
            return {}
        return {
            (names[0], names[1], names[2]): date.fromordinal(day + EPOCH)
            for names, day in _latest(r.day, r.hospital, r.level, r.class_)
        }

    def _groups(self) -> dict[str, list[str]]:
        """Return the groups of each hospital's grouped cases, in bytewise order; no basic ones."""
        found: dict[str, set[str]] = {}
        r, s = self.rows, self.policy.settings
        rows = (row for t in self.policy.tables.values() for row in t.values())
        basic = {row.group for row in rows if row.basic and s.basic is not None}
        if r is not None:
            for (hospital, group), _ in _latest(r.day, r.hospital, r.group, only=r.grouped):
                if group not in basic:
                    found.setdefault(hospital, set()).add(group)
        return {h: sorted(g, key=str.encode) for h, g in found.items()}


def _place(c: Coefficient) -> str:
    """Return whose means a `mean_ratio` compares: "hospital", "level" or "class"."""
    return "hospital" if c.of == "hospital" else c.by


def _six(x: Fraction | None) -> str | None:
    """Write a figure of 0 or more with six decimals, rounded half up."""
    if x is None:
        return None
    units = (2 * 10**6 * x.numerator + x.denominator) // (2 * x.denominator)
    return f"{units // 10**6}.{units % 10**6:06d}"


@lru_cache(maxsize=4096)
def _exact(x: Fraction | None) -> str | None:
    """Write a number of 0 or more with all its decimals."""
    if x is None:
        return None
    places = next((p for p in range(40) if 10**p % x.denominator == 0), 40)
    text = str(half_up(x * 10**places)).rjust(places + 1, "0")
    return f"{text[:-places]}.{text[-places:]}" if places else text


# ------------------------------------------------------------------------------------ adding up


def find_coefficients(
    policy: Policy, rows: CoefficientRows | None = None, prior: pa.Table | None = None
) -> Coefficients:
    """Add up what a policy's coefficients compare.

    Parameters
    ----------
    rows : the cases to be settled; left out, no hospital has a bonus and every ratio is 1.
    prior : last year's cases, for ``means = "prior"``.

    Raises
    ------
    SettlementError : last year's cases are needed. CaseSchemaError : columns are missing.
    """
    c = policy.settings.coefficient
    if rows is None or c is None or c.kind == "table":
        return Coefficients(policy, rows)
    if c.kind == "steps":
        return Coefficients(policy, rows, bonuses=_bonuses(c, rows))
    kinds = {_place(c)}
    if policy.settings.basic is not None and policy.settings.basic.level is not None:
        kinds.add("level")
    if c.means == "prior":
        wanted = f'[coefficient] means = "prior" of policy {policy.id}'
        column = {"hospital": "hospital_id", "level": "hospital_level", "class": "hospital_class"}
        sums = {k: prior_sums(prior, wanted, column[k], groups=c.per_group) for k in kinds}
    else:
        sums = {k: _cost_sums(rows, k, groups=c.per_group) for k in kinds}
    return Coefficients(policy, rows, costs=sums)


def _cost_sums(rows: CoefficientRows, kind: str, *, groups: bool) -> CostSums:
    """Add up the costs of grouped cases that have one."""
    kept = rows.grouped & (rows.cost >= 0)
    place = {"hospital": rows.hospital, "level": rows.level, "class": rows.class_}[kind]
    group = (rows.group.index[kept], rows.group.distinct) if groups else ALL
    return sum_costs((place.index[kept], place.distinct), group, rows.cost[kept])


def _bonuses(c: Coefficient, rows: CoefficientRows) -> dict[str, tuple[Bonus, ...]]:
    """Measure each hospital against the hospitals of its level."""
    level = _levels(rows)
    found: dict[str, list[Bonus]] = {h: [] for h in level}
    for step in c.step:
        own = _figures(step, rows)
        every: dict[str, tuple[int, int]] = {}
        for h, (x, n) in own.items():
            if h not in level:
                continue  # nothing of it is left but reversed settlements
            a, b = every.get(level[h], (0, 0))
            every[level[h]] = a + x, b + n
        for h in level:
            found[h].append(_bonus(step, level[h], own[h], every[level[h]], _unit(step, rows)))
    return {h: tuple(b) for h, b in found.items()}


def _unit(step: Step, rows: CoefficientRows) -> int:
    """Return the unit in which a step's numerator is counted."""
    return 10**rows.weight_scale if step.indicator == "cmi" else 1


def _bonus(
    step: Step, level: str, own: tuple[int, int], every: tuple[int, int], unit: int
) -> Bonus:
    """Return the bonus of a hospital: min(cap, first + each × whole steps above the mean)."""
    part, given = step.name_zh or step.indicator, step.caps.get(level)
    cap = None if given is None else Fraction(given)
    if own[1] == 0:
        return Bonus(part, None, None, None, cap, Fraction(0))
    x, mean = (Fraction(total, n * unit) for total, n in (own, every))
    if x <= mean:
        return Bonus(part, x, mean, 0, cap, Fraction(0))
    # a mean of 0 has no figure above it: it is made of the same hospitals
    steps = (x / mean - 1) * 100 // Fraction(step.step)
    bonus = Fraction(step.first) + Fraction(step.each) * steps
    return Bonus(part, x, mean, steps, cap, min(cap, bonus) if cap is not None else Fraction(0))


def _figures(step: Step, rows: CoefficientRows) -> dict[str, tuple[int, int]]:
    """Return numerator and denominator of a step's figure by hospital."""
    if step.indicator == "cmi":
        counted = rows.weight_num >= 0
        parts = rows.weight_num, np.ones(len(counted), np.int64)
    elif step.indicator == "age_share":
        counted = np.ones(len(rows.age), np.bool_)
        of_age = (rows.age >= max(step.age_from, 0)) & (rows.age <= step.age_to)
        parts = of_age.astype(np.int64), counted.astype(np.int64)
    else:
        if step.fee not in rows.fees:
            what = f"fee_share under [[coefficient.step]] needs column {step.fee!r} of the cases"
            raise CaseSchemaError([what])
        counted = rows.cost >= 0
        parts = np.maximum(rows.fees[step.fee], 0), rows.cost
    h = rows.hospital
    sums = [exact_sums(h.index[counted], p[counted], len(h.distinct)) for p in parts]
    found: dict[str, tuple[int, int]] = {}
    for name, x, n in zip(h.distinct, *sums, strict=True):
        a, b = found.get(name, (0, 0))
        found[name] = a + x, b + n
    return found


def _levels(rows: CoefficientRows) -> dict[str, str]:
    """Return each hospital's level: that of its latest case, the first bytewise of two that day."""
    found: dict[str, tuple[int, bytes]] = {}
    for (hospital, level), day in _latest(rows.day, rows.hospital, rows.level):
        rank = -day, level.encode()
        found[hospital] = min(found.get(hospital, rank), rank)
    return {h: level.decode() for h, (_, level) in found.items()}


def _latest(
    day: I32, *columns: Texts, only: NDArray[np.bool_] | None = None
) -> Iterator[tuple[tuple[str, ...], int]]:
    """Yield each distinct combination of texts with its latest day."""
    key: Any = np.zeros(len(day), np.int64)
    for c in columns:
        key = key * len(c.distinct) + c.index
    if only is not None:
        key, day = key[only], day[only]
    distinct, part = np.unique(key, return_inverse=True)
    last = np.full(len(distinct), np.iinfo(np.int32).min, np.int32)
    np.maximum.at(last, part, day)
    for k, d in zip(distinct.tolist(), last.tolist(), strict=True):
        names = []
        for c in reversed(columns):
            k, place = divmod(k, len(c.distinct))
            names.append(c.distinct[place])
        yield tuple(reversed(names)), d
