"""Scores of a given catalogue from a region's own cases: what cities do every year.

Groups with too few cases take a rule; groups for what the catalogue leaves are added on request;
auxiliary types are measured, and the score total is kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np

from grouper._calibration_cases import Gathered, LeftOut
from grouper._calibration_files import Calibration, Folder
from grouper._calibration_keys import CATEGORY, Key, core_keys, match, mixed_keys
from grouper._calibration_options import DipOptions
from grouper._calibration_scores import (
    Scores,
    cells_of,
    edit,
    laid_out,
    score,
    score_file,
    statistics,
    weights_of,
)
from grouper._statistics import Statistics, half_up, merged, pack, summed, text_of
from grouper.tables import DipScheme
from grouper.tables._keys import spelled
from grouper.tables._types import I32

CV_FALL = Fraction(8, 10)


def score_base(
    found: Gathered, scheme: DipScheme, options: DipOptions, previous: DipScheme | None
) -> Calibration:
    """Score the groups of a catalogue; its order is that of its file."""
    groups = sorted(scheme.groups, key=lambda g: g.line)
    place_of = {g.code: k for k, g in enumerate(groups)}
    place = np.array([*(place_of[g.code] for g in scheme.groups), -1], np.int32)
    matched = place[found.group]
    folder = Folder.of(scheme, options.score_scale, options.score_decimals)
    rows = [dict(g.cells) for g in groups]
    facts: dict[str, Any] = {"base": scheme.id, "base_fingerprint": scheme.fingerprint}
    if options.supplement:
        untaken = np.where(matched >= 0, np.uint8(LeftOut.TAKEN), found.left_out)
        keys = core_keys(replace(found, left_out=untaken), folder, options)[0]
        own = match(replace(found, left_out=untaken), folder, keys, None)
        matched = np.where((matched < 0) & (own >= 0), len(rows) + own, matched).astype(np.int32)
        rows += [folder.named(key.row()) for key in keys]
        facts["supplementary_groups"] = len(keys)
    if options.mixed:
        taken = {(r["principal"], r["for_treatment"]) for r in rows if r["class"] == "mixed"}
        threshold = (options.mixed_threshold or options.threshold) * found.years_with_cases
        added = [
            key
            for key in mixed_keys(found, folder, matched, threshold)
            if (key.principal, key.treatment) not in taken
        ]
        matched = _add_mixed(found, matched, added, folder, len(rows))
        rows += [folder.named(key.row()) for key in added]
        facts["mixed_groups"] = len(added)
    stats, rest = statistics(found, matched, len(rows), options)
    means = [s.mean(weights_of(options)) for s in stats]
    overall = merged([*stats, rest]).mean(weights_of(options))
    scores = score(means, overall, options)
    rules = _small(scores, rows, stats, overall, options)
    folder = folder.with_subtypes(_subtypes(found, scheme, matched, rows, stats, options))
    codes_of = [r["code"] for r in rows]
    _keep_total(scores, found, scheme, matched, stats, folder, codes_of)
    edit(scores, [r["code"] for r in rows], [s.n for s in stats], options)
    cells = [
        {
            **row,
            "score": scores.text(k),
            **cells_of(stats[k], means[k], found.years),
            "rule": rules[k],
        }
        for k, row in enumerate(rows)
    ]
    facts["small_groups"] = {r: rules.count(r) for r in sorted(set(rules)) if r}
    return laid_out(found, folder, options, cells, stats, rest, overall, facts, previous, scores)


def _add_mixed(
    found: Gathered, matched: I32, added: Sequence[Key], folder: Folder, after: int
) -> I32:
    """Put the cases that no group takes into the added mixed groups."""
    place = {(k.principal, k.treatment): after + j for j, k in enumerate(added)}
    names = [spelled(t[:CATEGORY]) for t in found.dx_texts] + [""]
    table = np.array(
        [[place.get((c, t), -1) for t in folder.treatments] for c in names], np.int32
    ).reshape(len(names), -1)
    mixed = table[found.principal, found.treatment]
    return np.where((matched < 0) & found.clean, mixed, matched)


def _small(
    scores: Scores,
    rows: Sequence[Mapping[str, str]],
    stats: Sequence[Statistics],
    overall: Fraction | None,
    options: DipOptions,
) -> list[str]:
    """Give groups with too few cases a score by rule; return the rule of each, "" = its own cases."""
    codes = [r["code"] for r in rows]
    expert = score_file(options.expert, codes, scores.decimals) if options.expert else {}
    keys = [r["principal"].split("|")[0].strip() for r in rows]
    parents: dict[tuple[str, str], list[Statistics]] = {}
    for key, row, s in zip(keys, rows, stats, strict=True):
        parents.setdefault((key[:CATEGORY], row["treatment"]), []).append(s)
    enough = [s.kept >= options.least for s in stats]
    by_key: dict[str, list[int]] = {}
    for k, key in enumerate(keys):
        if enough[k]:
            by_key.setdefault(key, []).append(k)
    measured = list(scores.units)

    def by_rule(rule: str, k: int) -> int | None:
        if rule == "expert":
            return expert.get(codes[k])
        if rule == "parent":
            family = merged(parents[keys[k][:CATEGORY], rows[k]["treatment"]])
            mean = family.mean(weights_of(options))
            return score([mean], overall, options).units[0]
        near = by_key.get(keys[k], [])
        return measured[min(near, key=lambda j: (abs(j - k), j))] if near else None

    rules = [""] * len(rows)
    for k in range(len(rows)):
        if enough[k]:
            continue
        scores.units[k], rules[k] = None, "none"
        for rule in options.small:
            if (units := by_rule(rule, k)) is not None:
                scores.units[k], rules[k] = units, rule
                break
    return rules


def _subtypes(
    found: Gathered,
    scheme: DipScheme,
    matched: I32,
    rows: Sequence[Mapping[str, str]],
    stats: Sequence[Statistics],
    options: DipOptions,
) -> list[dict[str, str]]:
    """Measure the auxiliary types of each group; return the rows of auxiliary.csv that open."""
    opened = []
    clean = np.where(found.clean, matched, np.int32(-1))
    off, packed = pack(clean, found.cost, found.year, len(rows))
    bounds = options.trimming.bounds(off, packed)
    for t, kind in enumerate(scheme.settings.auxiliary):
        holds = np.where((found.subtypes >> np.int64(t)) & 1 != 0, clean, np.int32(-1))
        of_type = summed(*pack(holds, found.cost, found.year, len(rows)), bounds)
        for k, (part, whole) in enumerate(zip(of_type, stats, strict=True)):
            mean, of_all = part.mean(weights_of(options)), whole.mean(weights_of(options))
            if part.kept < options.least or mean is None or not of_all:
                continue
            cv, before = part.cv_squared, whole.cv_squared
            if cv is None or before is None or cv > CV_FALL**2 * before:
                continue
            opened.append(
                {
                    "type": kind.id,
                    "group": rows[k]["code"],
                    "coefficient": text_of(mean / of_all, 4),
                    "mean_cost": text_of(Fraction(half_up(mean), 100), 2),
                    "n": str(part.n),
                    "cv": text_of(part.cv, 4),
                }
            )
    return opened


def _keep_total(
    scores: Scores,
    found: Gathered,
    scheme: DipScheme,
    matched: I32,
    stats: Sequence[Statistics],
    folder: Folder,
    codes_of: Sequence[str],
) -> None:
    """Multiply all scores so that Σ score·factor·n is what Σ score·n was without subtypes."""
    types = [t.id for t in scheme.settings.auxiliary]
    if not folder.subtypes:
        return
    codes = {code: k for k, code in enumerate(codes_of)}
    factor: dict[int, dict[int, Fraction]] = {}
    for row in folder.subtypes:
        of_group = factor.setdefault(codes[row["group"]], {})
        of_group[types.index(row["type"])] = Fraction(row["coefficient"])
    clean = found.clean & (matched >= 0)
    values, counts = np.unique(
        np.column_stack([matched[clean], found.subtypes[clean]]), axis=0, return_counts=True
    )
    total, with_factors = scores.total([s.n for s in stats]), Fraction(0)
    for (k, bits), n in zip(values.tolist(), counts.tolist(), strict=True):
        units = scores.units[k]
        held = [f for t, f in factor.get(k, {}).items() if bits >> t & 1]
        if units is not None:
            with_factors += units * n * (max(held) if held else 1)
    if not with_factors:
        return
    scale = Fraction(total) / with_factors
    scores.units = [None if u is None else half_up(u * scale) for u in scores.units]
    scores.notes["subtype_factor"] = text_of(scale, 8)
