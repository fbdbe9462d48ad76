"""The budget point value P0 (预算点值): what a point was worth in earlier years, for the year to come."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from grouper._arrow import units_of
from grouper._distinct import exact_sum
from grouper._writing import RunFolder, read_run
from grouper.errors import SettlementError

YEAR_WEIGHTS = (1, 2, 7)


def budget_point_value(
    runs: Sequence[RunFolder | Path | str], weights: Sequence[int] = YEAR_WEIGHTS
) -> Fraction:
    """Return P0 = Σ w·cost ÷ Σ w·score of earlier years' clearings (预算点值), yuan per point.

    Parameters
    ----------
    runs : run folders of earlier years under a point method, the oldest first, at most as many as weights;
        the last run has the last weight. weights : whole numbers, the weight of each year.

    Raises
    ------
    SettlementError : no run, more runs than weights, a run without scores, or scores that are all zero.

    Notes
    -----
    Cost and score of every case that has both; exact, not rounded. Source: the national DIP rules.
    """
    if not 0 < len(runs) <= len(weights):
        raise SettlementError(f"{len(runs)} runs and {len(weights)} weights: give a run a weight")
    cost, score = 0, Fraction(0)
    for given, weight in zip(runs, weights[len(weights) - len(runs) :], strict=True):
        run = given if isinstance(given, RunFolder) else read_run(given)
        method = run.manifest.get("policy", {}).get("method", {})
        if method.get("kind") != "point":
            raise SettlementError(f"the run in {run.path.name} is of no point method: no scores")
        cases = run.tables["cases"]
        both = pc.and_(pc.is_valid(cases["final_score"]), pc.is_valid(cases["total_cost_fen"]))
        cases = cases.filter(both)
        column = cases["final_score"]
        cost += weight * exact_sum(np.asarray(cases["total_cost_fen"].to_numpy(), np.int64))
        score += weight * Fraction(exact_sum(units_of(column)), 10**column.type.scale)
    if score == 0:
        raise SettlementError("the scores of these runs add up to 0: no point value comes of them")
    return Fraction(cost, 100) / score
