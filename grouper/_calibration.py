"""calibrate: years of cases → a DIP catalogue with scores (`docs/dip-calibration.md`).

Order of work: gather and clean the cases; without a base, count keys, open groups, match every case
against them and count mixed groups for the rest; then statistics, scores, edits. With a base the
groups are given. All sums are integers; nothing depends on the order of the rows.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field

from grouper import _chunks
from grouper._calibration_cases import Gathered, LeftOut, gather
from grouper._calibration_files import Calibration, Folder, draft_folder, write_folder
from grouper._grouping import group_dip_range
from grouper._statistics import Statistics, Trim, half_up, merged, pack, summed, text_of
from grouper.errors import CaseSchemaError, TableError
from grouper.io import ColumnMap
from grouper.kernels import calibrate as kernels
from grouper.tables import DipScheme, load_catalogue
from grouper.tables._dip import CONSERVATIVE
from grouper.tables._dip_scheme import load_dip
from grouper.tables._files import Settings, decimal, read_settings, read_table
from grouper.tables._keys import check_diagnosis_key, check_procedure_key, spelled
from grouper.tables._types import (
    DIAGNOSES,
    I32,
    I64,
    MISSING,
    PROCEDURES,
    DipCases,
    Fact,
    empty_dip_groups,
)

KEY_CHARACTERS, CATEGORY = 4, 3
HIGH_CV = Fraction(7, 10)
CV_FALL = Fraction(8, 10)
PIECE = 1 << 20


def _exact(value: object) -> object:
    return Decimal(str(value)) if isinstance(value, int | float | str) else value


Exact = Annotated[Decimal, BeforeValidator(_exact)]
Rule = Literal["expert", "parent", "neighbour"]


class DipOptions(Settings):
    """Options of a calibration; see `docs/dip-calibration.md`."""

    threshold: int = Field(default=15, gt=0)
    coverage: Annotated[Exact, Field(gt=0, le=1)] | None = None
    related_rise: Annotated[Exact, Field(ge=0, le=1000)] = Decimal(10)
    mixed: bool | None = None
    supplement: bool = False
    mixed_threshold: int | None = Field(default=None, gt=0)
    trim: Literal["percentile", "iqr", "mean_sd", "none"] = "percentile"
    trim_value: Annotated[Exact, Field(ge=0, le=50)] | None = None
    year_by: Literal["discharge_date", "settlement_date"] = "discharge_date"
    year_weights: list[Annotated[int, Field(gt=0, le=1000)]] = Field(
        default=[1, 2, 7], min_length=1, max_length=kernels.YEARS
    )
    score_scale: Literal[0, 100, 1000] = 1000
    score_decimals: int = Field(default=4, ge=0, le=6)
    profile: str = "national-3.0"
    code_list: str = ""
    exclusions: str = ""
    procedure_class: str = ""
    least: int = Field(default=6, gt=0)
    small: list[Rule] = ["expert", "parent", "neighbour"]
    expert: str = ""
    edits: str = ""

    @property
    def trimming(self) -> Trim:
        """Return how costs are trimmed."""
        default = {"percentile": "2.5", "iqr": "1.5", "mean_sd": "3", "none": "0"}[self.trim]
        return Trim(self.trim, Decimal(default) if self.trim_value is None else self.trim_value)


def load_options(path: Path | str) -> DipOptions:
    """Read options from TOML; files they name are taken relative to it.

    Raises
    ------
    TableError : an option is unknown or of another kind; names them all.
    """
    path = Path(path)
    options = read_settings(path, DipOptions)
    files = {
        name: str(path.parent / given)
        for name in ("exclusions", "procedure_class", "expert", "edits")
        if (given := getattr(options, name))
    }
    return options.model_copy(update=files)


def calibrate(
    cases: Any,
    method: str = "dip",
    *,
    base: DipScheme | Path | str | None = None,
    options: DipOptions | Path | str | None = None,
    previous: DipScheme | Path | str | None = None,
    columns: ColumnMap | Path | str | None = None,
    codes: str = "insurer",
    threads: int | None = None,
) -> Calibration:
    """Build a DIP catalogue from cases, or score a given one (目录测算).

    Parameters
    ----------
    cases : as for `read_cases`, or a list of files; a list of dicts. Parquet is read by row group.
    base : keep the groups of this catalogue and measure their scores. previous : the catalogue that
        the report of changes compares with. columns, codes, threads : as for `group`.

    Returns
    -------
    A `Calibration`: `groups` (a table of texts, the columns of groups.csv), `report`, `write(folder)`.

    Raises
    ------
    TableError : options or a table are refused. CaseSchemaError, CaseFileError : the cases are.
    """
    if method != "dip":
        raise CaseSchemaError([f"method {method!r}: calibration knows dip"])
    given = options if isinstance(options, DipOptions) else DipOptions()
    if options is not None and not isinstance(options, DipOptions):
        given = load_options(options)
    last = (
        previous
        if previous is None or isinstance(previous, DipScheme)
        else load_catalogue(previous)
    )
    how: dict[str, Any] = {"columns": columns, "codes": codes, "threads": threads}
    weights = len(given.year_weights)
    if base is not None:
        scheme = base if isinstance(base, DipScheme) else load_catalogue(base)
        found = gather(cases, scheme, given.year_by, weights, match=True, **how)
        return _score_base(found, scheme, given, last)
    with tempfile.TemporaryDirectory() as name:
        draft_folder(Path(name), given.model_dump())
        scheme = load_dip(Path(name), drafting=True)
        folder = Folder.of(scheme, given.score_scale, given.score_decimals)
        found = gather(cases, scheme, given.year_by, weights, match=False, **how)
    return _build(found, folder, given, last, threads)


# ------------------------------------------------------------------------------- building from zero


@dataclass(frozen=True, order=True)
class _Key:
    """What a group is made of, as texts of groups.csv."""

    kind: str
    principal: str
    main: str = ""
    related: str = ""
    treatment: str = ""

    @property
    def code(self) -> str:
        """The group's code."""
        principal = self.principal.removeprefix("=")
        if self.kind == "mixed":
            return f"{principal}:{self.treatment}"
        return f"{principal}:{'+'.join(x for x in (self.main, self.related) if x) or '-'}"

    def row(self) -> dict[str, str]:
        """Return the cells that matching reads."""
        cells = {"code": self.code, "class": self.kind, "principal": self.principal}
        cells |= {"main": self.main, "related": self.related, "treatment": self.treatment}
        if self.kind == "mixed":
            cells |= {"main": "*", "for_treatment": self.treatment}
        return cells


def _build(
    found: Gathered,
    draft: Folder,
    options: DipOptions,
    previous: DipScheme | None,
    threads: int | None,
) -> Calibration:
    core, threshold, share = _core_keys(found, draft, options)
    matched = _match(found, draft, core, threads)
    mixed_threshold = (options.mixed_threshold or options.threshold) * found.years_with_cases
    if options.coverage is not None and options.mixed_threshold is None:
        mixed_threshold = threshold
    keys = core
    if options.mixed is not False:
        keys = [*core, *_mixed_keys(found, draft, matched, mixed_threshold)]
        matched = _match(found, draft, keys, threads)
    stats, rest = _statistics(found, matched, len(keys), options)
    rows = [draft.named(key.row()) for key in keys]
    facts = {
        "threshold_cases": threshold,
        "mixed_threshold_cases": mixed_threshold,
        "coverage": share,
        "core_groups": len(core),
        "mixed_groups": len(keys) - len(core),
    }
    return _finish(found, draft, options, rows, stats, rest, facts, previous)


def _core_keys(found: Gathered, draft: Folder, options: DipOptions) -> tuple[list[_Key], int, str]:
    """Choose the core groups; return them sorted, the threshold and the share of cases they hold."""
    pairs, pair_of, main_of = _pairs(found)
    related, count = _related(found)
    number, first = _combinations(found, pair_of, related, count)
    n, hi, lo = (np.zeros(len(first), np.int64) for _ in range(3))
    kernels.add_costs(number, found.cost, n, hi, lo)
    pair = pair_of[first]
    has_related = count[first] > 0
    least = 1
    if options.coverage is None:
        least = threshold = options.threshold * found.years_with_cases
    rises = _rising(
        pair, has_related & (n >= least), ~has_related, n, (hi, lo), options.related_rise
    )
    clean = int(found.clean.sum())

    def rest(opens: NDArray[np.bool_]) -> I64:
        kept = np.bincount(pair[~opens], n[~opens], minlength=len(pairs))
        return np.asarray(kept, np.int64)

    if options.coverage is not None:
        units = np.sort(np.concatenate([n[rises], rest(rises)]))[::-1]
        wanted = Fraction(options.coverage) * clean
        reached = np.flatnonzero(np.cumsum(units) >= -(-wanted.numerator // wanted.denominator))
        threshold = max(int(units[reached[0]]), 1) if len(reached) else 1
    opens = rises & (n >= threshold)
    sizes = rest(opens)
    keys = []
    for p in np.flatnonzero(sizes >= max(threshold, 1)).tolist():
        keys.append(_core_key(draft, found, pairs[p], main_of[p], ()))
    for k in np.flatnonzero(opens).tolist():
        i = int(first[k])
        begin = int(found.px_off[i])
        others = [found.px_texts[x] for x in related[begin : begin + count[i]].tolist()]
        keys.append(_core_key(draft, found, pairs[int(pair[k])], main_of[int(pair[k])], others))
    held = int(sizes[sizes >= max(threshold, 1)].sum() + n[opens].sum())
    return sorted(keys), threshold, text_of(Fraction(held, clean) if clean else Fraction(0), 4)


def _pairs(found: Gathered) -> tuple[list[str], I32, list[int]]:
    """Give each pair of diagnosis key and main procedure a number.

    Returns
    -------
    The diagnosis key of each pair, the pair of each case (-1 = none), the main procedure id of each.
    """
    stems = [_stem(text) for text in found.dx_texts]
    distinct = sorted({s for s in stems if s})
    place = {s: k for k, s in enumerate(distinct)}
    of_text = np.array([*(place.get(s, -1) for s in stems), -1], np.int64)
    usable = np.array([*map(_is_procedure, found.px_texts), False], np.bool_)
    at = found.px_off[:-1] + np.maximum(found.main, 0)
    main = np.full(len(found.main), -1, np.int64)
    has = found.main >= 0
    main[has] = found.px[at[has]]
    stem = of_text[found.principal]
    fits = found.clean & (stem >= 0) & ((found.main < 0) | ((main >= 0) & usable[main]))
    joined = (stem + 1) << 32 | (main + 1)
    values, inverse = np.unique(joined[fits], return_inverse=True)
    pair_of = np.full(len(main), -1, np.int32)
    pair_of[fits] = inverse
    keys = [distinct[int(v >> 32) - 1] for v in values]
    return keys, pair_of, [int(v & 0xFFFFFFFF) - 1 for v in values]


def _stem(text: str) -> str:
    """Return the diagnosis key of a code: its first four characters, or `=` and the whole; "" = none."""
    n = 0
    for k, letter in enumerate(text):
        n += letter != "."
        if letter == "+":
            break
        if n == KEY_CHARACTERS:
            return _checked(text[: k + 1])
    return _checked(f"={text}")


def _checked(key: str) -> str:
    try:
        check_diagnosis_key(key, "", 0)
    except TableError:
        return ""
    return key if "|" not in key and "-" not in key else ""


def _is_procedure(text: str) -> bool:
    try:
        check_procedure_key(text, "", 0)
    except TableError:
        return False
    return True


def _related(found: Gathered) -> tuple[I32, I32]:
    """Return the related procedures of each case, sorted by id, and how many."""
    related, count = np.empty_like(found.px), np.empty(len(found.main), np.int32)
    kernels.related_lists(found.px_off, found.px, found.main, related, count)
    return related, count


def _combinations(found: Gathered, pair_of: I32, related: I32, count: I32) -> tuple[I32, I64]:
    """Give each pair with its related procedures a number.

    Returns
    -------
    The number of each case (-1 = none), a case of each number.
    """
    n = len(pair_of)
    slots = np.full(1 << max(4, (2 * n - 1).bit_length()), -1, np.int32)
    number, first = np.empty(n, np.int32), np.empty(n, np.int32)
    many = kernels.intern_lists(pair_of, found.px_off, related, count, slots, number, first)
    return number, first[:many].astype(np.int64)


def _rising(
    pair: I32,
    asked: NDArray[np.bool_],
    is_base: NDArray[np.bool_],
    n: I64,
    sums: tuple[I64, I64],
    rise: Decimal,
) -> NDArray[np.bool_]:
    """Tell which combinations cost so much more than their pair without related procedures."""
    base = {int(pair[k]): k for k in np.flatnonzero(is_base).tolist()}
    rises = np.zeros(len(pair), np.bool_)
    factor = 1 + Fraction(rise) / 100
    over, under = factor.numerator, factor.denominator
    hi, lo = sums

    def total(k: int) -> int:
        return (int(hi[k]) << kernels.LIMB) + int(lo[k])

    for k in np.flatnonzero(asked).tolist():
        b = base.get(int(pair[k]))
        if b is not None:
            rises[k] = total(k) * int(n[b]) * under >= over * total(b) * int(n[k])
    return rises


def _core_key(draft: Folder, found: Gathered, stem: str, main: int, others: Iterable[str]) -> _Key:
    text = found.px_texts[main] if main >= 0 else ""
    related = "+".join(sorted(spelled(x) for x in others))
    treatment = draft.treatment_of(text) if text else CONSERVATIVE
    return _Key("core", spelled(stem), spelled(text), related, treatment)


def _mixed_keys(found: Gathered, draft: Folder, matched: I32, threshold: int) -> list[_Key]:
    """Count what no core group takes by category × treatment; return the groups that are large enough."""
    categories = [_checked(t[:CATEGORY]) if len(t) >= CATEGORY else "" for t in found.dx_texts]
    distinct = sorted({c for c in categories if c})
    place = {c: k for k, c in enumerate(distinct)}
    of_text = np.array([*(place.get(c, -1) for c in categories), -1], np.int64)
    category = of_text[found.principal]
    left = found.clean & (matched < 0) & (category >= 0)
    many = len(draft.treatments)
    cells = np.bincount(category[left] * many + found.treatment[left])
    return sorted(
        _Key("mixed", spelled(distinct[k // many]), treatment=draft.treatments[k % many])
        for k in np.flatnonzero(cells >= max(threshold, 1)).tolist()
    )


def _match(found: Gathered, draft: Folder, keys: Sequence[_Key], threads: int | None) -> I32:
    """Group all clean cases by a drafted catalogue; return the place of each one's key, -1 = none."""
    with tempfile.TemporaryDirectory() as name:
        write_folder(draft, Path(name), [key.row() for key in keys])
        scheme = load_dip(Path(name), drafting=True)
    of_dx, of_px = (scheme.vocabulary(side) for side in (DIAGNOSES, PROCEDURES))
    special = np.arange(-8, 0, dtype=np.int32)
    ids = [
        np.concatenate([special, [v.resolve(spelled(t))[0] for t in texts]]).astype(np.int32)
        for v, texts in ((of_dx, found.dx_texts), (of_px, found.px_texts))
    ]
    classes = of_dx.classes, of_px.classes
    place = np.array([*(g.line - 2 for g in scheme.groups), -1], np.int32)
    n = len(found.cost)
    matched = np.empty(n, np.int32)
    for a in range(0, n, PIECE):
        b = min(a + PIECE, n)
        off = found.px_off[a : b + 1]
        cases = DipCases(
            np.arange(b - a + 1, dtype=np.int32),
            ids[0][found.principal[a:b] + 8],
            (off - off[0]).astype(np.int32),
            ids[1][found.px[off[0] : off[-1]] + 8],
            np.full((b - a, len(Fact)), MISSING, np.int32),
            (~found.clean[a:b]).astype(np.uint8),
            *classes,
            found.cost[a:b],
        )
        out = empty_dip_groups(b - a)
        _chunks.run(_grouping_task(cases, scheme, out), b - a, threads)
        matched[a:b] = place[out.group]
    return matched


def _grouping_task(cases: DipCases, scheme: DipScheme, out: Any) -> Any:
    return lambda a, b: group_dip_range(cases, scheme, out, a, b)


# ------------------------------------------------------------------------------ statistics and scores


def _statistics(
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
class _Scores:
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


def _finish(
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
    means = [s.mean(_weights(options)) for s in stats]
    overall = merged([*stats, rest]).mean(_weights(options))
    scores = _score(means, overall, options)
    _edit(scores, [r["code"] for r in rows], [s.n for s in stats], options)
    cells = [
        {**row, "score": scores.text(k), **_cells(stats[k], means[k], found.years)}
        for k, row in enumerate(rows)
    ]
    return _calibration(
        found, folder, options, cells, stats, rest, overall, facts, previous, scores
    )


def _weights(options: DipOptions) -> list[int]:
    return [*options.year_weights, *[0] * (kernels.YEARS - len(options.year_weights))]


def _score(
    means: Sequence[Fraction | None], overall: Fraction | None, options: DipOptions
) -> _Scores:
    unit = 10**options.score_decimals

    def score(mean: Fraction | None) -> int | None:
        if mean is None or not overall:
            return None
        if options.score_scale == 0:
            return half_up(mean / 100 * unit)
        return half_up(mean / overall * options.score_scale * unit)

    return _Scores([score(m) for m in means], options.score_decimals)


def _edit(scores: _Scores, codes: Sequence[str], n: Sequence[int], options: DipOptions) -> None:
    """Set the scores of `edits` and scale the others so that Σ score·n is kept."""
    if not options.edits:
        return
    edits = _score_file(options.edits, codes, options.score_decimals)
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


def _score_file(path: str, codes: Iterable[str], decimals: int) -> dict[str, int]:
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


def _cells(s: Statistics, mean: Fraction | None, years: Sequence[int]) -> dict[str, str]:
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


def _calibration(
    found: Gathered,
    folder: Folder,
    options: DipOptions,
    cells: Sequence[Mapping[str, str]],
    stats: Sequence[Statistics],
    rest: Statistics,
    overall: Fraction | None,
    facts: Mapping[str, Any],
    previous: DipScheme | None,
    scores: _Scores,
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


# ---------------------------------------------------------------------------------- a given catalogue


def _score_base(
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
        keys = _core_keys(replace(found, left_out=untaken), folder, options)[0]
        own = _match(replace(found, left_out=untaken), folder, keys, None)
        matched = np.where((matched < 0) & (own >= 0), len(rows) + own, matched).astype(np.int32)
        rows += [folder.named(key.row()) for key in keys]
        facts["supplementary_groups"] = len(keys)
    if options.mixed:
        taken = {(r["principal"], r["for_treatment"]) for r in rows if r["class"] == "mixed"}
        threshold = (options.mixed_threshold or options.threshold) * found.years_with_cases
        added = [
            key
            for key in _mixed_keys(found, folder, matched, threshold)
            if (key.principal, key.treatment) not in taken
        ]
        matched = _add_mixed(found, matched, added, folder, len(rows))
        rows += [folder.named(key.row()) for key in added]
        facts["mixed_groups"] = len(added)
    stats, rest = _statistics(found, matched, len(rows), options)
    means = [s.mean(_weights(options)) for s in stats]
    overall = merged([*stats, rest]).mean(_weights(options))
    scores = _score(means, overall, options)
    rules = _small(scores, rows, stats, overall, options)
    folder = folder.with_subtypes(_subtypes(found, scheme, matched, rows, stats, options))
    codes_of = [r["code"] for r in rows]
    _keep_total(scores, found, scheme, matched, stats, folder, codes_of)
    _edit(scores, [r["code"] for r in rows], [s.n for s in stats], options)
    cells = [
        {
            **row,
            "score": scores.text(k),
            **_cells(stats[k], means[k], found.years),
            "rule": rules[k],
        }
        for k, row in enumerate(rows)
    ]
    facts["small_groups"] = {r: rules.count(r) for r in sorted(set(rules)) if r}
    return _calibration(
        found, folder, options, cells, stats, rest, overall, facts, previous, scores
    )


def _add_mixed(
    found: Gathered, matched: I32, added: Sequence[_Key], folder: Folder, after: int
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
    scores: _Scores,
    rows: Sequence[Mapping[str, str]],
    stats: Sequence[Statistics],
    overall: Fraction | None,
    options: DipOptions,
) -> list[str]:
    """Give groups with too few cases a score by rule; return the rule of each, "" = its own cases."""
    codes = [r["code"] for r in rows]
    expert = _score_file(options.expert, codes, scores.decimals) if options.expert else {}
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
            mean = family.mean(_weights(options))
            return _score([mean], overall, options).units[0]
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
            mean, of_all = part.mean(_weights(options)), whole.mean(_weights(options))
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
    scores: _Scores,
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
