"""Calibrated weights as tables: each with how it came about and what changed, the scheme's own figures."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa

from grouper import _platform
from grouper._scheme_files import csv_of, report_of
from grouper._statistics import CONFIDENCE, Statistics, half_up, merged, root_half_up, text_of
from grouper._weights_cases import LeftOut
from grouper._weights_groups import Found, GroupWeight, Old, chains, of_adrg, year_weights
from grouper._weights_trim import standard_error_squared
from grouper.errors import CaseFileError
from grouper.tables._policy_files import read_weights

Row: TypeAlias = dict[str, str]

WEIGHTS = (
    *("group", "name", "weight", "mean_cost", "n", "kept", "cv", "ci_low", "ci_high", "years"),
    *("method", "rule", "ordered", "measured_mean", "old_weight", "change", "why"),
)
ADRGS = ("adrg", "name", "groups", "n", "mean_cost", "cv_before", "cv_after", "advice", "why")
LEVELS = ("level", "n", "cost", "expected_cost", "coefficient")
FILES = {"weights.csv", "adrgs.csv", "levels.csv", "report.json"}


@dataclass(frozen=True, eq=False)
class CalibratedWeights:
    """Measured weights (测算权重), tables of texts; money in yuan.

    `weights` has a row a group, in the scheme's order; its first columns are a weight table that a
    policy takes. `adrgs` says of each ADRG how well its groups divide it; `levels` are coefficients
    by hospital level (等级系数). `report` holds counts, totals, R².
    """

    weights: pa.Table
    adrgs: pa.Table
    levels: pa.Table
    report: Mapping[str, Any]

    def write(
        self,
        folder: Path | str,
        *,
        source: str = "measured from cases; see report.json",
        overwrite: bool = False,
    ) -> None:
        """Write the folder, whole or not at all: weights.csv, adrgs.csv, levels.csv, report.json.

        Raises
        ------
        CaseFileError : the folder holds something else, or `overwrite` is not given.
        """
        target = Path(folder).resolve()
        refuse_weights(target, overwrite)
        target.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent))
        try:
            (work / "weights.csv").write_text(csv_of(self.weights.to_pylist(), WEIGHTS), "utf-8")
            for name, table, columns in (
                ("adrgs", self.adrgs, ADRGS),
                ("levels", self.levels, LEVELS),
            ):
                (work / f"{name}.csv").write_text(report_of(table.to_pylist(), columns), "utf-8")
            report = json.dumps({**self.report, "source": source}, ensure_ascii=False, indent=2)
            (work / "report.json").write_text(report + "\n", "utf-8")
            _platform.show_folder(work)
            if target.exists():
                shutil.rmtree(target)
            work.rename(target)
        finally:
            shutil.rmtree(work, ignore_errors=True)


def refuse_weights(target: Path, overwrite: bool) -> None:
    """Refuse a folder that is not an earlier calibration of weights to be replaced."""
    if target.is_file():
        raise CaseFileError("is a file; name a new folder", file=target.name)
    held = {p.name for p in target.iterdir()} if target.exists() else set()
    if held and not (overwrite and held >= FILES):
        message = "holds files: --overwrite replaces an earlier calibration; or name a new folder"
        raise CaseFileError(message, file=target.name)


def read_old(place: Path | str) -> Old:
    """Read earlier weights: a weights.csv, or the folder that holds one.

    Raises
    ------
    TableError : there is none, or a row is refused.
    """
    path = Path(place)
    return read_weights(path / "weights.csv" if path.is_dir() else path)


def laid_out(found: Found) -> CalibratedWeights:
    """Lay the tables out."""
    rows = [*_rows(found), *_dropped(found)]
    adrgs = list(_adrgs(found))
    left = np.bincount(found.cases.left_out, minlength=len(LeftOut))
    total, target = found.total, found.target
    decimals = found.options.weight_decimals
    report: dict[str, Any] = {
        "scheme": found.scheme.id,
        "fingerprint": found.scheme.fingerprint,
        "options": found.options.model_dump(mode="json"),
        "cases": len(found.cases.cost),
        "left_out": {w.name.lower(): int(left[w]) for w in LeftOut if w and left[w]},
        "counted_cases": int(left[0]),
        "trimmed_cases": sum(g.statistics.n - g.statistics.kept for g in found.groups),
        "years": [y for y in found.cases.years if y > 0] or [0],
        "overall_mean": text_of(found.overall / 100, 2),
        "groups": _counted(found.groups),
        "weight_total": text_of(total, decimals),
        "weight_target": text_of(target, decimals),
        "residual": text_of(total - target, decimals) if target is not None else "",
        "residual_bound": text_of(_bound(found), decimals + 1),
        "r2_cost": text_of(r_squared(found.all_costs), 4),
        "r2_cost_trimmed": text_of(r_squared([g.statistics for g in found.groups]), 4),
        "r2_los": text_of(r_squared(found.all_days), 4),
        "cases_with_los": sum(s.n for s in found.all_days),
        "to_split": sum(r["advice"] == "split" for r in adrgs),
        "to_merge": sum(r["advice"] == "merge" for r in adrgs),
        "changes": {
            c: sum(r.get("change") == c for r in rows) for c in ("new", "dropped", "weight")
        },
        "normalised": found.cases.counts,
    }
    return CalibratedWeights(
        _table(rows, WEIGHTS), _table(adrgs, ADRGS), _table(found.coefficients, LEVELS), report
    )


def _table(rows: Sequence[Mapping[str, str]], columns: Sequence[str]) -> pa.Table:
    return pa.table({c: pa.array([r.get(c, "") for r in rows], pa.string()) for c in columns})


def _bound(found: Found) -> Fraction:
    """Half a unit for each case of a group with a weight."""
    n = sum(g.statistics.n for g in found.groups if g.units is not None)
    return Fraction(n, 2 * 10**found.options.weight_decimals)


def _counted(groups: Sequence[GroupWeight]) -> dict[str, int]:
    names = [g.rule or g.method for g in groups]
    made = {n: names.count(n) for n in sorted({*names} - {""})}
    return {"all": len(groups), **made, "ordered": sum(g.ordered for g in groups)}


def r_squared(groups: Sequence[Statistics]) -> Fraction | None:
    """Return the share of the variance that groups explain (组间变异解释度): 1 - SSW/SST."""
    n, total = sum(s.kept for s in groups), sum(s.total for s in groups)
    squares = sum(s.squares for s in groups)
    if not n or n * squares == total**2:
        return None
    between = sum((Fraction(s.total**2, s.kept) for s in groups if s.kept), Fraction(0))
    whole = squares - Fraction(total**2, n)
    return 1 - (squares - between) / whole


def _rows(found: Found) -> Iterator[Row]:
    """Yield a row a group."""
    weights, decimals = year_weights(found.options), found.options.weight_decimals
    for row, g in zip(found.scheme.drgs, found.groups, strict=True):
        s = g.statistics
        mean, error = s.mean(weights), standard_error_squared(s, weights)
        half = None if error is None else root_half_up(CONFIDENCE**2 * error)
        by_year = zip(found.cases.years, s.by_year, strict=False)
        units = None if g.units is None else Fraction(g.units, 10**decimals)
        made = {
            "group": row.code,
            "name": row.name,
            "weight": text_of(units, decimals),
            "mean_cost": _yuan(g.mean),
            "n": str(s.n),
            "kept": str(s.kept),
            "cv": text_of(s.cv, 4),
            "ci_low": _yuan(None if half is None or mean is None else half_up(mean) - half),
            "ci_high": _yuan(None if half is None or mean is None else half_up(mean) + half),
            "years": "|".join(f"{y}:{k}" for y, (k, _) in by_year if k),
            "method": g.method,
            "rule": g.rule,
            "ordered": "1" if g.ordered else "",
            "measured_mean": _yuan(mean),
        }
        yield {**made, **_change(found, row.code, g, units)}


def _yuan(fen: Fraction | int | None) -> str:
    return "" if fen is None else text_of(Fraction(half_up(Fraction(fen)), 100), 2)


def _change(found: Found, code: str, g: GroupWeight, units: Fraction | None) -> Row:
    """Say what changed from the earlier weight, and why."""
    if not found.old:
        return {}
    was = found.old.get(code)
    if was is None:
        return {"change": "new", "why": "not in the earlier table"}
    decimals = found.options.weight_decimals
    given = {"old_weight": text_of(was.weight, decimals)}
    if was.weight == units:
        return given
    why = []
    if was.weight is None or units is None:
        why.append("no weight before" if was.weight is None else "no weight now")
    if was.mean_fen and g.mean is not None:
        why.append(f"mean cost {percent(g.mean / was.mean_fen)}")
    if was.weight and units:
        why.append(f"weight {percent(units / was.weight)}")
    if g.rule == "none":
        why.append(f"{g.statistics.kept} cases kept and nothing to borrow")
    elif g.rule:
        why.append(f"{g.statistics.kept} cases kept: from {g.rule}")
    elif g.method != found.options.stable:
        why.append(f"not stable: {g.method}")
    if g.ordered:
        why.append("order of severity kept")
    return {**given, "change": "weight", "why": "; ".join(why)}


def percent(x: Fraction) -> str:
    """Write a quotient as a change."""
    text = text_of((x - 1) * 100, 1)
    return f"{text} %" if text.startswith("-") else f"+{text} %"


def _dropped(found: Found) -> Iterator[Row]:
    """Yield the groups of the earlier table that the scheme lacks."""
    known = {row.code for row in found.scheme.drgs}
    for was in sorted(found.old.values(), key=lambda w: w.line):
        if was.group not in known:
            old = text_of(was.weight, found.options.weight_decimals)
            why = "not a group of the scheme"
            yield {"group": was.group, "old_weight": old, "change": "dropped", "why": why}


def _adrgs(found: Found) -> Iterator[Row]:
    """Yield of each ADRG with cases its CV before and after its groups divide it, and what to do.

    split: one group of many cases that differ much. merge: groups of a chain that differ little, or
    of too few cases.
    """
    o, linked = found.options, {chain[0]: chain for chain in chains(found.scheme)}
    of_chain = {g: chain for chain in linked.values() for g in chain}
    for k, members in enumerate(of_adrg(found.scheme)):
        held = [found.groups[g].statistics for g in members]
        whole = merged(held) if held else None
        if whole is None or not whole.kept:
            continue
        squared, within = whole.cv_squared, _within(held)
        advice, why = "", ""
        if len(members) == 1 and squared is not None and whole.kept >= o.split_least:
            if squared > Fraction(o.split_cv) ** 2:
                advice, why = "split", f"one group, CV {text_of(whole.cv, 4)}"
        chain = next((of_chain[g] for g in members if g in of_chain), [])
        for above, below in pairwise(chain):
            a, b = (found.groups[g].statistics for g in (above, below))
            pair = f"{found.scheme.drgs[above].code} and {found.scheme.drgs[below].code}"
            if not a.kept or not b.kept or min(a.kept, b.kept) < o.least:
                advice, why = "merge", f"{pair}: fewer than {o.least} cases"
                break
            rise = Fraction(a.total, a.kept) / Fraction(b.total, b.kept)
            if rise < 1 + Fraction(o.merge_rise) / 100:
                advice, why = "merge", f"{pair}: means differ by {percent(rise)}"
                break
        row = found.scheme.adrgs[k]
        yield {
            "adrg": row.code,
            "name": row.name,
            "groups": str(len(members)),
            "n": str(whole.n),
            "mean_cost": _yuan(Fraction(whole.total, whole.kept)),
            "cv_before": text_of(whole.cv, 4),
            "cv_after": text_of(within, 4),
            "advice": advice,
            "why": why,
        }


def _within(groups: Sequence[Statistics]) -> Fraction | None:
    """Return the CV that is left inside groups, in units of 10^-4: √(SSW / (N - groups)) / mean."""
    filled = [s for s in groups if s.kept]
    n, total = sum(s.kept for s in filled), sum(s.total for s in filled)
    if n <= len(filled) or not total:
        return None
    inside = sum((s.squares - Fraction(s.total**2, s.kept) for s in filled), Fraction(0))
    squared = inside / (n - len(filled)) * Fraction(n, total) ** 2
    return Fraction(root_half_up(squared * 10**8), 10**4)
