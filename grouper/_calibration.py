"""calibrate: years of cases → a DIP catalogue with scores (`docs/dip-calibration.md`), or DRG weights.

Order of work: gather and clean the cases; without a base, count keys, open groups, match every case
against them and count mixed groups for the rest; then statistics, scores, edits. With a base the
groups are given. All sums are integers; nothing depends on the order of the rows.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Literal, overload

from grouper import _progress
from grouper._calibration_base import score_base
from grouper._calibration_cases import Gathered, gather
from grouper._calibration_files import Calibration, Folder, draft_folder
from grouper._calibration_keys import core_keys, match, mixed_keys
from grouper._calibration_options import DipOptions, load_options
from grouper._calibration_scores import finish, statistics
from grouper._weights import calibrate_weights
from grouper._weights_options import DrgOptions
from grouper._weights_report import CalibratedWeights
from grouper.errors import CaseSchemaError, TableError
from grouper.io import ColumnMap
from grouper.tables import DipScheme, DrgScheme, load_catalogue
from grouper.tables._dip_scheme import load_dip


@overload
def calibrate(
    cases: Any,
    method: Literal["dip"] = "dip",
    *,
    base: DipScheme | Path | str | None = None,
    options: DipOptions | Path | str | None = None,
    previous: DipScheme | Path | str | None = None,
    columns: ColumnMap | Path | str | None = None,
    codes: str = "insurer",
    threads: int | None = None,
) -> Calibration: ...


@overload
def calibrate(
    cases: Any,
    method: Literal["drg"],
    *,
    base: DrgScheme | Path | str,
    options: DrgOptions | Path | str | None = None,
    previous: Path | str | None = None,
    columns: ColumnMap | Path | str | None = None,
    codes: str = "insurer",
    threads: int | None = None,
) -> CalibratedWeights: ...


def calibrate(
    cases: Any,
    method: str = "dip",
    *,
    base: DipScheme | DrgScheme | Path | str | None = None,
    options: DipOptions | DrgOptions | Path | str | None = None,
    previous: DipScheme | Path | str | None = None,
    columns: ColumnMap | Path | str | None = None,
    codes: str = "insurer",
    threads: int | None = None,
) -> Calibration | CalibratedWeights:
    """Build a DIP catalogue from cases or score a given one (目录测算), or measure DRG weights (权重测算).

    Parameters
    ----------
    cases : as for `read_cases`, or a list of files; a list of dicts. Parquet is read by row group.
    base : DIP: keep the groups of this catalogue and measure their scores. DRG: the scheme, always.
    previous : the catalogue, or for DRG the weights.csv, that the report of changes compares with.
        columns, codes, threads : as for `group`.

    Returns
    -------
    DIP: a `Calibration`: `groups` (a table of texts, the columns of groups.csv), `report`,
    `write(folder)`. DRG: a `CalibratedWeights`: `weights`, `adrgs`, `levels`, `report`, `write(folder)`.

    Raises
    ------
    TableError : options or a table are refused, or no group has enough cases. CaseSchemaError,
        CaseFileError : the cases are refused.
    """
    how: dict[str, Any] = {"columns": columns, "codes": codes, "threads": threads}
    if method == "drg":
        if base is None or isinstance(base, DipScheme):
            raise CaseSchemaError(["weights are measured for a DRG scheme: name it as base"])
        if isinstance(options, DipOptions) or isinstance(previous, DipScheme):
            raise CaseSchemaError(["options or previous of DIP with method 'drg'"])
        return calibrate_weights(cases, base, options=options, previous=previous, **how)
    if method != "dip":
        raise CaseSchemaError([f"method {method!r}: calibration knows dip, drg"])
    if isinstance(base, DrgScheme) or isinstance(options, DrgOptions):
        raise CaseSchemaError(["base or options of DRG with method 'dip'"])
    given = options if isinstance(options, DipOptions) else DipOptions()
    if options is not None and not isinstance(options, DipOptions):
        given = load_options(options)
    last = (
        previous
        if previous is None or isinstance(previous, DipScheme)
        else load_catalogue(previous)
    )
    weights = len(given.year_weights)
    if base is not None:
        scheme = base if isinstance(base, DipScheme) else load_catalogue(base)
        with _progress.share(0, 0.8):
            found = gather(cases, scheme, given.year_by, weights, match=True, **how)
        return score_base(found, scheme, given, last)
    with tempfile.TemporaryDirectory() as name:
        draft_folder(Path(name), given.model_dump())
        scheme = load_dip(Path(name), drafting=True)
        folder = Folder.of(scheme, given.score_scale, given.score_decimals)
        with _progress.share(0, 0.5):
            found = gather(cases, scheme, given.year_by, weights, match=False, **how)
    return _build(found, folder, given, last, threads)


def _build(
    found: Gathered,
    draft: Folder,
    options: DipOptions,
    previous: DipScheme | None,
    threads: int | None,
) -> Calibration:
    core, threshold, share = core_keys(found, draft, options)
    with _progress.share(0.6, 0.75):
        matched = match(found, draft, core, threads)
    mixed_threshold = (options.mixed_threshold or options.threshold) * found.years_with_cases
    if options.coverage is not None and options.mixed_threshold is None:
        mixed_threshold = threshold
    keys = core
    if options.mixed is not False:
        keys = [*core, *mixed_keys(found, draft, matched, mixed_threshold)]
        with _progress.share(0.75, 0.9):
            matched = match(found, draft, keys, threads)
    if not keys:
        left = int((~found.clean).sum())
        message = (
            f"no group: of {len(found.cost)} cases {left} are left out, and no diagnosis and "
            f"procedure of the rest has {threshold} cases; lower the threshold or add years"
        )
        raise TableError(message, file="groups.csv")
    stats, rest = statistics(found, matched, len(keys), options)
    rows = [draft.named(key.row()) for key in keys]
    facts = {
        "threshold_cases": threshold,
        "mixed_threshold_cases": mixed_threshold,
        "coverage": share,
        "core_groups": len(core),
        "mixed_groups": len(keys) - len(core),
    }
    return finish(found, draft, options, rows, stats, rest, facts, previous)
