"""Hospital coefficients and the means of groups, counted over cases one at a time.

`table` looks up group and level, `steps` adds bonuses to param.coefficient, `mean_ratio` divides
the mean cost of a hospital (or level) by that of all. Last year's cases come as plain rows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import floor
from typing import TYPE_CHECKING, Any

from naive.values import Table, half_up, mean_fen, read_rows

if TYPE_CHECKING:
    from naive.policy import Case, NaivePolicy

Sums = dict[tuple[str, ...], tuple[int, int]]  # key: sum of costs, number of cases


@dataclass(frozen=True)
class CostRow:
    """A grouped case with a cost, of this year or the last."""

    group: str
    hospital: str
    level: str
    class_: str
    cost: int


def cost_rows(rows: Iterable[Table]) -> list[CostRow]:
    """Last year's cases; those that were not grouped or have no cost are of no mean."""
    return [
        CostRow(
            row["group"],
            row.get("hospital_id") or "",
            row.get("hospital_level") or "",
            row.get("hospital_class") or "",
            row["total_cost_fen"],
        )
        for row in rows
        if row.get("status", "grouped") == "grouped"
        and row.get("group")
        and row.get("total_cost_fen") is not None
    ]


def sums(rows: Iterable[CostRow], *keys: str) -> Sums:
    found: Sums = defaultdict(lambda: (0, 0))
    for row in rows:
        key = tuple(getattr(row, k) for k in keys)
        cost, n = found[key]
        found[key] = cost + row.cost, n + 1
    return dict(found)


def mean(found: Sums, *key: str) -> Fraction | None:
    cost, n = found.get(key, (0, 0))
    return Fraction(cost, n) if n else None


# ---------------------------------------------------------------------------- benchmarks


class Means:
    """Mean costs in fen by group and level (or class), for benchmarks of kind table and prior."""

    def __init__(self, section: Table, last_year: Sequence[Table]) -> None:
        self.by: str = section.get("by", "")
        self.found: dict[tuple[str, str], int] = {}
        if section["kind"] == "table":
            for row in read_rows(section["path"]):
                fen = mean_fen(row["mean_cost"])
                if fen is not None:
                    self.found[row["group"], place(row, self.by)] = fen
        elif section["kind"] == "prior":
            rows = cost_rows(last_year)
            by = {"level": "level", "class": "class_"}.get(self.by)
            for (group,), (cost, n) in sums(rows, "group").items():
                self.found[group, ""] = half_up(Fraction(cost, n))
            for (group, at), (cost, n) in sums(rows, "group", by).items() if by else ():
                if at:
                    self.found[group, at] = half_up(Fraction(cost, n))

    def of(self, group: str, level: str, class_: str) -> int | None:
        at = {"level": level, "class": class_}.get(self.by, "")
        return self.found.get((group, at), self.found.get((group, "")))


def place(row: Mapping[str, str], by: str) -> str:
    """The level or class of a row of a file; `level` is the column of either."""
    return row.get(by or "level") or row.get("level") or ""


# ---------------------------------------------------------------------------- coefficients


class Coefficients:
    """What the hospitals' coefficients are, by the policy's section [coefficient]."""

    def __init__(
        self, policy: NaivePolicy, cases: Sequence[Case], last_year: Sequence[Table]
    ) -> None:
        self.policy = policy
        self.section: dict[str, Any] = policy.text.get("coefficient", {"kind": "param"})
        self.kind: str = self.section["kind"]
        if self.kind == "table":
            by = self.section.get("by", "level")
            self.table = {
                (row["group"], place(row, by)): Fraction(row["coefficient"])
                for row in read_rows(self.section["path"])
            }
        elif self.kind == "mean_ratio":
            self.count_costs(cases, last_year)
        elif self.kind == "steps":
            self.steps = [Step(policy, step, cases) for step in self.section["step"]]

    def of(self, case: Case, where: Mapping[str, str]) -> Fraction:
        """The coefficient of a case; `where` says its group, and its level (or a basic group's)."""
        group, level = where.get("group", ""), where["level"]
        if self.kind == "table":
            at = where.get("class", "") if self.section.get("by") == "class" else level
            one = self.table.get((group, at), self.table.get(("", at), Fraction(1)))
            return one
        if self.kind == "mean_ratio":
            return self.mean_ratio(case.hospital, group, level)
        h = self.policy.at("coefficient", case.day, **where) if self.base else Fraction(1)
        if self.kind == "steps" and level == case.level:  # one level's coefficient has no bonus
            h += sum(step.bonus(case.hospital, level) for step in self.steps)
        return h

    @property
    def base(self) -> bool:
        return self.policy.has("coefficient")

    # ------------------------------------------------------------------------ mean_ratio

    def count_costs(self, cases: Sequence[Case], last_year: Sequence[Table]) -> None:
        if self.section.get("means") == "prior":
            rows = cost_rows(last_year)
        else:
            rows = [
                CostRow(c.group, c.hospital, c.level, c.class_, c.row["total_cost_fen"])
                for c in cases
                if c.status == "grouped" and c.row.get("total_cost_fen") is not None
            ]
        group = ["group"] if self.section.get("per_group", True) else []
        self.own = sums(rows, *group, self.section.get("of", "hospital"))
        self.all = sums(rows, *group)

    def mean_ratio(self, hospital: str, group: str, level: str) -> Fraction:
        at = level if self.section.get("of") == "level" else hospital
        per_group = (group,) if self.section.get("per_group", True) else ()
        own, every = mean(self.own, *per_group, at), mean(self.all, *per_group)
        n = self.own.get((*per_group, at), (0, 0))[1]
        if own is None or not every or n < self.section.get("least_cases", 1):
            return Fraction(1)
        decimals = self.section.get("decimals", 4)
        ratio = Fraction(half_up(own / every * 10**decimals), 10**decimals)
        if "least" in self.section:
            ratio = max(ratio, Fraction(self.section["least"]))
        return min(ratio, Fraction(self.section["most"])) if "most" in self.section else ratio


class Step:
    """One bonus: steps of a hospital's figure above the mean of its level."""

    def __init__(self, policy: NaivePolicy, step: Table, cases: Sequence[Case]) -> None:
        self.step = step
        self.hospital: dict[str, tuple[Fraction, Fraction]] = {}
        self.level: dict[str, tuple[Fraction, Fraction]] = {}
        for case in cases:
            above, below = self.part(policy, case)
            for found, key in ((self.hospital, case.hospital), (self.level, case.level)):
                a, b = found.get(key, (Fraction(0), Fraction(0)))
                found[key] = a + above, b + below

    def part(self, policy: NaivePolicy, case: Case) -> tuple[Fraction, Fraction]:
        """What a case adds above and below the line of the figure."""
        kind, row = self.step["indicator"], case.row
        if kind == "cmi":
            weight = policy.row_weight(case)
            return (weight, Fraction(1)) if weight is not None else (Fraction(0), Fraction(0))
        if kind == "age_share":
            age = row.get("age")
            least, most = self.step.get("age_from", 0), self.step.get("age_to", 200)
            return Fraction(age is not None and least <= age <= most), Fraction(1)
        return Fraction(row.get(self.step["fee"]) or 0), Fraction(case.total)

    def bonus(self, hospital: str, level: str) -> Fraction:
        cap = self.step["caps"].get(level)
        x, mean = quotient(self.hospital.get(hospital)), quotient(self.level.get(level))
        if cap is None or x is None or not mean or x <= mean:
            return Fraction(0)
        steps = floor((x / mean - 1) * 100 / Fraction(self.step["step"]))
        bonus = Fraction(self.step.get("first", 0)) + Fraction(self.step["each"]) * steps
        return min(Fraction(cap), bonus)


def quotient(pair: tuple[Fraction, Fraction] | None) -> Fraction | None:
    return pair[0] / pair[1] if pair and pair[1] else None
