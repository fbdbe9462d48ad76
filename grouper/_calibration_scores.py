"""Statistics of a catalogue's groups → scores, edits with the total kept, the result laid out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from grouper._calibration_cases import Gathered, LeftOut
from grouper._calibration_files import Calibration, Folder
from grouper._calibration_options import DipOptions
from grouper._statistics import Statistics, Trim, half_up, merged, pack, summed, text_of
from grouper.errors import TableError
from grouper.kernels import calibrate as kernels
from grouper.tables import DipScheme
from grouper.tables._files import decimal, read_table
from grouper.tables._types import I32

HIGH_CV = Fraction(7, 10)


def statistics(
    found: Gathered, group: I32, groups: int, options: DipOptions
) -> tuple[list[Statistics], Statistics]:
    """Return the statistics of each group, and those of the clean cases in none, not trimmed."""
    clean = found.clean
    of_group = np.where(clean, group, np.int32(-1))
    off, packed = pack(of_group, found.cost, found.year, groups)
    stats = summed(off, packed, options.trimming.bounds(off, packed))
    loose = np.where(clean & (group < 0), np.int32(0), np.int32(-1))
    off, packed = pack(loose, found.cost, found.year, 1)
    (rest,) = summed(off, packed, Trim("none", Decimal(0)).bounds(off, packed))
    return stats, rest


@dataclass
class Scores:
    """Scores in units of the last decimal, by place of the group; None = no score."""

    units: list[int | None]
    decimals: int
    notes: dict[str, Any] = field(default_factory=dict)

    def text(self, k: int) -> str:
        units = self.units[k]
        return "" if units is None else text_of(Fraction(units, 10**self.decimals), self.decimals)

    def total(self, n: Sequence[int]) -> int:
        """Return Σ score·n in units."""
        return sum(u * k for u, k in zip(self.units, n, strict=True) if u is not None)


def finish(
    found: Gathered,
    folder: Folder,
    options: DipOptions,
    rows: Sequence[Mapping[str, str]],
    stats: Sequence[Statistics],
    rest: Statistics,
    facts: Mapping[str, Any],
    previous: DipScheme | None,
) -> Calibration:
    """Score the groups and lay the catalogue out."""
    means = [s.mean(weights_of(options)) for s in stats]
    overall = merged([*stats, rest]).mean(weights_of(options))
    scores = score(means, overall, options)
    edit(scores, [r["code"] for r in rows], [s.n for s in stats], options)
    cells = [
        {**row, "score": scores.text(k), **cells_of(stats[k], means[k], found.years)}
        for k, row in enumerate(rows)
    ]
    return laid_out(found, folder, options, cells, stats, rest, overall, facts, previous, scores)


def weights_of(options: DipOptions) -> list[int]:
    return [*options.year_weights, *[0] * (kernels.YEARS - len(options.year_weights))]


def score(
    means: Sequence[Fraction | None], overall: Fraction | None, options: DipOptions
) -> Scores:
    unit = 10**options.score_decimals

    def score(mean: Fraction | None) -> int | None:
        if mean is None or not overall:
            return None
        if options.score_scale == 0:
            return half_up(mean / 100 * unit)
        return half_up(mean / overall * options.score_scale * unit)

    return Scores([score(m) for m in means], options.score_decimals)


def edit(scores: Scores, codes: Sequence[str], n: Sequence[int], options: DipOptions) -> None:
    """Set the scores of `edits` and scale the others so that Σ score·n is kept."""
    if not options.edits:
        return
    edits = score_file(options.edits, codes, options.score_decimals)
    total = scores.total(n)
    place = {c: k for k, c in enumerate(codes)}
    edited = {place[c]: units for c, units in edits.items()}
    held = sum(units * n[k] for k, units in edited.items())
    others = sum(u * n[k] for k, u in enumerate(scores.units) if u is not None and k not in edited)
    factor = Fraction(total - held, others) if others else Fraction(0)
    if factor < 0:
        raise TableError("the edited scores exceed the total of all", file=Path(options.edits).name)
    for k, units in enumerate(scores.units):
        if k in edited:
            scores.units[k] = edited[k]
        elif units is not None:
            scores.units[k] = half_up(units * factor)
    residual = Fraction(scores.total(n) - total, 10**scores.decimals)
    scores.notes["edit_factor"] = str(factor)
    scores.notes["residual"] = text_of(residual, scores.decimals)


def score_file(path: str, codes: Iterable[str], decimals: int) -> dict[str, int]:
    """Read code, score: score in units of the last decimal."""
    known, file = set(codes), Path(path).name
    found: dict[str, int] = {}
    for line, (code, text) in read_table(Path(path), ("code", "score")):
        score = decimal(text, file, line)
        if code not in known or code in found or score is None or score < 0:
            message = f"code {code!r} is in no group or stands twice, or score {text!r} is none"
            raise TableError(message, file=file, row=line)
        found[code] = half_up(score * 10**decimals)
    return found


def cells_of(s: Statistics, mean: Fraction | None, years: Sequence[int]) -> dict[str, str]:
    """Return the statistical cells of a group."""
    ends = s.interval
    by_year = zip(years, s.by_year, strict=False)
    return {
        "mean_cost": text_of(Fraction(half_up(mean), 100), 2) if mean is not None else "",
        "n": str(s.n),
        "kept": str(s.kept),
        "cv": text_of(s.cv, 4),
        "ci_low": text_of(Fraction(ends[0], 100), 2) if ends else "",
        "ci_high": text_of(Fraction(ends[1], 100), 2) if ends else "",
        "years": "|".join(f"{y}:{k}" for y, (k, _) in by_year if k),
    }


def laid_out(
    found: Gathered,
    folder: Folder,
    options: DipOptions,
    cells: Sequence[Mapping[str, str]],
    stats: Sequence[Statistics],
    rest: Statistics,
    overall: Fraction | None,
    facts: Mapping[str, Any],
    previous: DipScheme | None,
    scores: Scores,
) -> Calibration:
    """Put groups, report and changes together."""
    left = np.bincount(found.left_out, minlength=len(LeftOut))
    squared = [s.cv_squared for s in stats]
    high = [c["code"] for c, x in zip(cells, squared, strict=True) if x and x > HIGH_CV**2]
    report = {
        "cases": len(found.cost),
        "left_out": {w.name.lower(): int(left[w]) for w in LeftOut if w and left[w]},
        "clean_cases": int(left[0]),
        "years": [y for y in found.years if y > 0] or [0],
        "year_weights": options.year_weights,
        **facts,
        "grouped_cases": sum(s.n for s in stats),
        "ungrouped_cases": rest.n,
        "trimmed_cases": sum(s.n - s.kept for s in stats),
        "overall_mean": text_of(overall / 100, 2) if overall is not None else "",
        "score_total": text_of(
            Fraction(scores.total([s.n for s in stats]), 10**scores.decimals), scores.decimals
        ),
        **scores.notes,
        "high_cv_groups": high,
        "normalised": found.counts,
    }
    return Calibration.of(cells, report, folder, previous)
