"""Relative weights of DRG groups from years of cases (权重测算): see `docs/drg-calibration.md`.

Order of work: group and clean the cases, trim, measure each group, borrow for small groups, keep the order
inside an ADRG, scale to the budget and round. All sums are integers, all quotients exact fractions;
nothing depends on the order of the rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from grouper._statistics import Statistics, half_up, merged, pack, summed, text_of
from grouper._weights_cases import LeftOut, Measured, measure
from grouper._weights_groups import Found, GroupWeight, Old, chains, of_adrg, year_weights
from grouper._weights_options import DrgOptions, load_drg_options
from grouper._weights_report import CalibratedWeights, laid_out, read_old
from grouper._weights_trim import everything, log_sums, medians
from grouper.errors import CaseFileError, TableError
from grouper.io import ColumnMap
from grouper.kernels import calibrate as kernels
from grouper.tables import DrgScheme, load_drg


def calibrate_weights(
    cases: Any,
    scheme: DrgScheme | Path | str,
    *,
    options: DrgOptions | Path | str | None = None,
    previous: Path | str | None = None,
    columns: ColumnMap | Path | str | None = None,
    codes: str = "insurer",
    threads: int | None = None,
) -> CalibratedWeights:
    """Measure the relative weights of a scheme's groups (权重测算).

    Parameters
    ----------
    cases : as for `read_cases`, or a list of files; a list of dicts. Parquet is read by row group.
    previous : an earlier weights.csv, or the folder that holds it. columns, codes, threads : as for
        `group`.

    Returns
    -------
    A `CalibratedWeights`: `weights`, `adrgs`, `levels` (tables of texts), `report`, `write(folder)`.

    Raises
    ------
    TableError : options or a table are refused, or no case counts. CaseSchemaError, CaseFileError :
        the cases are refused.
    """
    if options is None:
        options = DrgOptions()
    elif not isinstance(options, DrgOptions):
        options = load_drg_options(options)
    found = scheme if isinstance(scheme, DrgScheme) else load_drg(scheme)
    old = read_old(previous) if previous is not None else {}
    if options.neutral == "previous" and not old:
        message = "neutral = 'previous' scales to earlier weights; give them, or neutral = 'one'"
        raise CaseFileError(message, file="options")
    weights = len(options.year_weights)
    how: dict[str, Any] = {"columns": columns, "codes": codes, "threads": threads}
    measured = measure(cases, found, options.year_by, weights, **how)
    return laid_out(weigh(measured, found, options, old))


def weigh(cases: Measured, scheme: DrgScheme, options: DrgOptions, old: Old) -> Found:
    """Measure, borrow, order and scale."""
    groups = len(scheme.drgs)
    off, packed = pack(cases.group, cases.cost, cases.year, groups)
    bounds = options.trimming.bounds(off, packed)
    stats = summed(off, packed, bounds)
    overall = merged(stats).mean(year_weights(options))
    if overall is None:
        left = np.bincount(cases.left_out, minlength=len(LeftOut)).tolist()
        why = ", ".join(f"{w.name.lower()} {left[w]:,}" for w in LeftOut if left[w])
        message = (
            f"no case counts ({why or 'there are none'}); give grouped cases with a total cost"
        )
        raise TableError(message, file="weights.csv")
    given = _measured(stats, off, packed, bounds, options)
    given = _borrowed(given, scheme, options, old, overall)
    if options.keep_order:
        given = _ordered(given, scheme)
    given, target = _scaled(given, scheme, options, old, overall)
    loose = everything(groups)
    days = np.where(cases.los >= 0, cases.group, np.int32(-1))
    off_days, packed_days = pack(days, cases.los.astype(np.int64), cases.year, groups)
    return Found(
        scheme=scheme,
        options=options,
        cases=cases,
        groups=given,
        all_costs=summed(off, packed, loose),
        all_days=summed(off_days, packed_days, loose),
        overall=overall,
        target=target,
        coefficients=_level_coefficients(cases, given, bounds, options),
        old=old,
    )


def _measured(
    stats: Sequence[Statistics], off: Any, packed: Any, bounds: Any, options: DrgOptions
) -> list[GroupWeight]:
    """Give each group the mean that its stability asks for: n above, CV not above the limits."""
    weights, limit = year_weights(options), Fraction(options.stable_cv) ** 2
    wanted = {options.stable, options.unstable}
    of_log = log_sums(off, packed, bounds) if "geometric" in wanted else []
    middle = medians(off, packed, bounds) if "median" in wanted else []
    made = []
    for g, s in enumerate(stats):
        squared = s.cv_squared
        stable = s.kept > options.stable_above and squared is not None and squared <= limit
        method = options.stable if stable else options.unstable
        if method == "arithmetic":
            mean = s.mean(weights)
        else:
            mean = of_log[g].geometric(weights) if method == "geometric" else middle[g]
        made.append(GroupWeight(s, mean, method if mean is not None else ""))
    return made


def _borrowed(
    groups: Sequence[GroupWeight],
    scheme: DrgScheme,
    options: DrgOptions,
    old: Old,
    overall: Fraction,
) -> list[GroupWeight]:
    """Give groups of few kept cases the mean that the first rule of `small` finds."""
    members = of_adrg(scheme)
    made = list(groups)
    for g, given in enumerate(groups):
        if given.statistics.kept >= options.least:
            continue
        kin = members[scheme.drgs[g].parent]
        made[g] = replace(given, mean=None, method="", rule="none")
        for rule in options.small:
            mean: Fraction | None = None
            if rule == "neighbour":
                near = [k for k in kin if groups[k].statistics.kept >= options.least]
                near.sort(key=lambda k: (abs(k - g), k))
                mean = groups[near[0]].mean if near else None
            elif rule == "parent":
                mean = merged([groups[k].statistics for k in kin]).mean(year_weights(options))
            elif (was := old.get(scheme.drgs[g].code)) is not None and was.weight is not None:
                mean = was.weight * overall
            if mean is not None:
                made[g] = replace(made[g], mean=mean, rule=rule)
                break
    return made


def _ordered(groups: Sequence[GroupWeight], scheme: DrgScheme) -> list[GroupWeight]:
    """Pool neighbours of a chain whose means rise as severity falls: their mean by cases."""
    made = list(groups)
    for chain in chains(scheme):
        blocks: list[tuple[Fraction, int, list[int]]] = []
        for g in chain:
            mean = groups[g].mean
            if mean is None:
                continue
            block = (mean, max(groups[g].statistics.kept, 1), [g])
            while blocks and blocks[-1][0] < block[0]:
                above = blocks.pop()
                n = above[1] + block[1]
                pooled = (above[0] * above[1] + block[0] * block[1]) / n
                block = (pooled, n, [*above[2], *block[2]])
            blocks.append(block)
        for mean, _, held in blocks:
            for g in held if len(held) > 1 else ():
                made[g] = replace(made[g], mean=mean, ordered=True)
    return made


def _scaled(
    groups: Sequence[GroupWeight],
    scheme: DrgScheme,
    options: DrgOptions,
    old: Old,
    overall: Fraction,
) -> tuple[list[GroupWeight], Fraction | None]:
    """Scale so that Σ RW·n is the number of cases, or Σ of the earlier weights; round half up.

    Rounding is monotone, so the order stays; the residual is at most half a unit a case.
    """
    factor, target = 1 / overall, None
    if options.neutral != "none":
        held, target = Fraction(0), Fraction(0)
        for row, g in zip(scheme.drgs, groups, strict=True):
            was = old[row.code].weight if row.code in old else None
            wanted = Fraction(1) if options.neutral == "one" else was
            if g.mean is not None and wanted is not None:
                held += g.mean * g.statistics.n
                target += wanted * g.statistics.n
        if not held or not target:
            message = "no group with cases has an earlier weight to be neutral to; neutral = 'one'"
            raise TableError(message, file="weights.csv")
        factor = target / held
    unit = 10**options.weight_decimals
    made = [
        replace(g, units=None if g.mean is None else half_up(g.mean * factor * unit))
        for g in groups
    ]
    return made, target


def _level_coefficients(
    cases: Measured, groups: Sequence[GroupWeight], bounds: Any, options: DrgOptions
) -> list[dict[str, str]]:
    """Return by hospital level (等级系数) the cost of its kept cases over what its groups cost."""
    number, levels = len(groups), len(cases.levels)
    within = cases.group >= 0
    at = np.maximum(cases.group, 0)
    within &= (cases.cost >= bounds[at, 0]) & (cases.cost <= bounds[at, 1])
    index = np.where(within, cases.level * number + at, -1).astype(np.int32)
    n, hi, lo = (np.zeros(levels * number, np.int64) for _ in range(3))
    kernels.add_costs(index, cases.cost, n, hi, lo)
    totals = [(h << kernels.LIMB) + w for h, w in zip(hi.tolist(), lo.tolist(), strict=True)]
    counts, rows = n.tolist(), []
    for k, level in sorted(enumerate(cases.levels), key=lambda x: x[1].encode()):
        mine = range(k * number, (k + 1) * number)
        means = [g.mean for g in groups]
        pairs = [(counts[i], totals[i], means[i - k * number]) for i in mine if counts[i]]
        cost = sum(t for _, t, m in pairs if m is not None)
        expected = sum((m * c for c, _, m in pairs if m is not None), Fraction(0))
        rows.append(
            {
                "level": level,
                "n": str(sum(c for c, _, _ in pairs)),
                "cost": text_of(Fraction(cost, 100), 2),
                "expected_cost": text_of(expected / 100, 2),
                "coefficient": text_of(cost / expected, options.coefficient_decimals)
                if expected
                else "",
            }
        )
    return rows
