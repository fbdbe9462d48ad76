"""Mean costs by group and kind of hospital: of a published table, or of last year's cases.

Order of work: keep last year's grouped cases that have a cost, add up cost and number by place and
group, divide when asked. Sums are whole fen and means exact fractions. The surprise: a hospital
whose level or class is blank counts in the mean of all and has none of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from grouper._arrow import text_array
from grouper.errors import CaseSchemaError, SettlementError
from grouper.tables._policy import Policy
from grouper.tables._types import I32, I64

Names: TypeAlias = tuple[I32, Sequence[str]]
"""A text column: an index for each row, and the texts."""

ALL: Names = (np.zeros(1, np.int32), ("",))
"""A column that is blank in every row."""


class Sum(NamedTuple):
    """Number of cases and their summed cost."""

    cases: int
    fen: int

    @property
    def mean_yuan(self) -> Fraction | None:
        """Mean cost in yuan; None without a case."""
        return Fraction(self.fen, self.cases * 100) if self.cases else None


NOTHING = Sum(0, 0)


@dataclass(frozen=True, eq=False)
class CostSums:
    """Number and cost of cases by place and group: read with `of` and `every`.

    Parameters
    ----------
    places, groups : the number of each name. parts : by place × number of groups + group.
    """

    places: Mapping[str, int]
    groups: Mapping[str, int]
    parts: Mapping[int, tuple[int, int]]
    totals: Sequence[tuple[int, int]]

    def of(self, place: str, group: str) -> Sum:
        """Return the sum of a group at a place; a blank place has none."""
        p, g = self.places.get(place), self.groups.get(group)
        if not place or p is None or g is None:
            return NOTHING
        return Sum(*self.parts.get(p * len(self.groups) + g, NOTHING))

    def every(self, group: str) -> Sum:
        """Return the sum of a group over all places."""
        g = self.groups.get(group)
        return NOTHING if g is None else Sum(*self.totals[g])


def exact_sums(part: NDArray[Any], values: I64, size: int) -> list[int]:
    """Add values[i] to sums[part[i]]; halves of 32 bits, so that no sum passes 64."""
    sums = []
    for half in (values >> 32, values & 0xFFFFFFFF):
        total = np.zeros(size, np.int64)
        np.add.at(total, part, half)
        sums.append(total.tolist())
    return [(high << 32) + low for high, low in zip(*sums, strict=True)]


def sum_costs(place: Names, group: Names, cost: I64) -> CostSums:
    """Add up the cost of cases by place and group, and by group."""

    def add(part: NDArray[Any], size: int) -> Iterator[tuple[int, int]]:
        cases = np.bincount(part, minlength=size).tolist()
        return zip(cases, exact_sums(part, cost, size), strict=True)

    (at, places), (of, groups) = place, group
    of = np.broadcast_to(of, len(cost))
    distinct, part = np.unique(at.astype(np.int64) * len(groups) + of, return_inverse=True)
    return CostSums(
        places={name: k for k, name in enumerate(places)},
        groups={name: k for k, name in enumerate(groups)},
        parts=dict(zip(distinct.tolist(), add(part, len(distinct)), strict=True)),
        totals=list(add(of, len(groups))),
    )


def prior_sums(prior: pa.Table | None, wanted: str, place: str = "", *, groups: bool) -> CostSums:
    """Add up last year's costs of grouped cases by the column `place`, and by group if `groups`.

    Raises
    ------
    SettlementError : there are no cases of last year; `wanted` says what needs them.
    CaseSchemaError : they lack columns.
    """
    if prior is None:
        raise SettlementError(
            f"{wanted} takes means of last year's cases: give them as `prior`, such as "
            "cases.parquet of last year's run"
        )
    needed = ["status", "group", "total_cost_fen", *([place] if place else [])]
    if lacking := [c for c in needed if c not in prior.schema.names]:
        faults = [f"prior: column {c!r} is missing: {wanted} needs it" for c in lacking]
        raise CaseSchemaError(faults)
    kind = prior.schema.field("total_cost_fen").type
    if not pa.types.is_integer(kind):
        raise CaseSchemaError([f"prior: column 'total_cost_fen' is {kind}, not whole fen (int64)"])
    grouped = pc.equal(text_array(prior["status"]), "grouped")
    counted = pc.and_(grouped, pc.greater_equal(prior["total_cost_fen"], 0))
    kept = prior.select(needed).filter(counted)
    return sum_costs(
        _names(kept[place]) if place else ALL,
        _names(kept["group"]) if groups else ALL,
        np.asarray(kept["total_cost_fen"].cast(pa.int64()).to_numpy(), np.int64),
    )


def _names(column: Any) -> Names:
    encoded = text_array(column).fill_null("").dictionary_encode()
    index = encoded.indices.to_numpy(zero_copy_only=False)
    return np.asarray(index, np.int32), encoded.dictionary.to_pylist()


@dataclass(frozen=True)
class Means:
    """Mean cost (例均费用) by group and place; place "" = the group's, for all others."""

    by: str = ""
    means: Mapping[tuple[str, str], Fraction] | None = None

    def at(self, group: str, level: str, class_: str) -> Fraction | None:
        """Return the mean of the group at the hospital's level or class, else the group's; fen."""
        place = {"level": level, "class": class_}.get(self.by, "")
        means = self.means or {}
        return means.get((group, place), means.get((group, "")))


def find_means(policy: Policy, prior: pa.Table | None) -> Means:
    """Find the means of a policy's benchmark; other kinds than `table` and `prior` have none.

    Parameters
    ----------
    prior : last year's cases: status, group, total_cost_fen, and hospital_level or hospital_class.

    Raises
    ------
    SettlementError, CaseSchemaError : see `prior_sums`.
    """
    b = policy.settings.benchmark
    if b is None or b.kind not in ("table", "prior"):
        return Means()
    if b.kind == "table":
        return Means(b.by, policy.benchmarks)
    wanted = f'[benchmark] kind = "prior"{f", by = {b.by!r}" if b.by else ""} of policy {policy.id}'
    sums = prior_sums(prior, wanted, f"hospital_{b.by}" if b.by else "", groups=True)
    found = {(g, p): sums.of(p, g) for g in sums.groups for p in sums.places if p}
    found |= {(g, ""): sums.every(g) for g in sums.groups}
    return Means(b.by, {at: Fraction(s.fen, s.cases) for at, s in found.items() if s.cases})
