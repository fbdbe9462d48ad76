"""What a calibration of weights finds of each group, and how groups of an ADRG stand to each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

from grouper._statistics import Statistics
from grouper._weights_cases import Measured
from grouper._weights_options import DrgOptions
from grouper.kernels import calibrate as kernels
from grouper.tables import DrgScheme
from grouper.tables._policy_files import WeightRow
from grouper.tables._rules import Const, Member, Rule

Old: TypeAlias = Mapping[str, WeightRow]
"""Earlier weights by group."""


@dataclass(frozen=True)
class GroupWeight:
    """One group's weight and how it came about; `mean` in fen, `units` of the last decimal."""

    statistics: Statistics
    mean: Fraction | None = None
    method: str = ""
    rule: str = ""
    ordered: bool = False
    units: int | None = None


@dataclass(frozen=True)
class Found:
    """What a calibration found: weights by group, and what the report needs."""

    scheme: DrgScheme
    options: DrgOptions
    cases: Measured
    groups: Sequence[GroupWeight]
    all_costs: Sequence[Statistics]
    all_days: Sequence[Statistics]
    overall: Fraction
    target: Fraction | None
    coefficients: Sequence[Mapping[str, str]]
    old: Old

    @property
    def total(self) -> Fraction:
        """Σ RW·n over the groups that have a weight."""
        unit = 10**self.options.weight_decimals
        return sum(
            (Fraction(g.units * g.statistics.n, unit) for g in self.groups if g.units is not None),
            Fraction(0),
        )


def year_weights(options: DrgOptions) -> list[int]:
    """Return a weight for every year that sums hold."""
    return [*options.year_weights, *[0] * (kernels.YEARS - len(options.year_weights))]


def of_adrg(scheme: DrgScheme) -> list[list[int]]:
    """Return the groups of each ADRG in the order of trial."""
    members: list[list[int]] = [[] for _ in scheme.adrgs]
    for g, row in enumerate(scheme.drgs):
        members[row.parent].append(g)
    return members


def chains(scheme: DrgScheme) -> list[list[int]]:
    """Return the groups of each ADRG that differ by severity only: with MCC, with CC, without.

    A group whose rule asks for anything else is in no chain; a rule that takes all is the end of one.
    """
    made = []
    for members in of_adrg(scheme):
        ranks = [(severity_rank(scheme.drgs[g].rule), g) for g in members]
        chain = sorted((-rank, g) for rank, g in ranks if rank is not None)
        if any(rank for rank, _ in chain):
            made.append([g for _, g in chain])
    return made


def severity_rank(rule: Rule) -> int | None:
    """Return 2 for a rule that asks for MCC, 1 for CC (or MCC), 0 for none; None for another rule."""
    if isinstance(rule, Const):
        return 0 if rule.value else None
    if not isinstance(rule, Member) or rule.negated or rule.vars != ("QTZD",):
        return None
    if not set(rule.sets) <= {"MCC", "CC"}:
        return None
    return 1 if "CC" in rule.sets else 2
