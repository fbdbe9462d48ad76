"""Reports of a run (结算报告): its figures once as plain tables, laid out as one page or as a workbook.

Order of work: read the run and refuse one whose tables were changed; work out every table; hand them to a
writer, which only lays out. So the page, the workbook and the printed JSON show the same figures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from grouper import _report_cases, _report_money
from grouper._audit_facts import Facts
from grouper._report_book import write_book
from grouper._report_cases import Cases
from grouper._report_page import write_page
from grouper._report_tables import Report, Section
from grouper._small_cells import LEAST
from grouper._writing import RunFolder, check_run, read_run
from grouper.errors import CaseFileError

_WRITERS: Mapping[str, Callable[[Report, Path, Literal["zh", "en"]], None]] = {
    ".html": write_page,
    ".xlsx": write_book,
}


def write_report(
    run: RunFolder | Path | str,
    output: Path | str,
    *,
    lang: Literal["zh", "en"] = "zh",
    least: int = LEAST,
) -> dict[str, Any]:
    """Write the report of a run (结算报告): one self-contained page, or a workbook of a sheet a table.

    Parameters
    ----------
    run : a run folder with settled cases. output : .html, which needs matplotlib, or .xlsx; replaced if
        it exists. lang : of all texts. least : groups of fewer cases are merged; 0 = show every group.

    Returns
    -------
    The figures: facts about the run, and every table as rows; money in whole fen.

    Raises
    ------
    CaseFileError : no settled run is there or it was changed after the run, the ending is unknown, a
        library is not installed, or the disk refuses.
    """
    target = Path(output)
    write = _WRITERS.get(target.suffix.casefold())
    if write is None:
        raise CaseFileError(
            f"of no known kind; a report ends in {', '.join(_WRITERS)}", file=target.name
        )
    report = figures(run if isinstance(run, RunFolder) else read_run(run), least)
    write(report, target, lang)
    return report.to_dict()


def figures(run: RunFolder, least: int = LEAST) -> Report:
    """Work out the figures of a run's report.

    Raises
    ------
    CaseFileError : the run has no settled cases, or its tables are not what it wrote.
    """
    if "cases" not in run.tables or "pay_fen" not in run.tables["cases"].schema.names:
        message = "the run has no settled cases (cases.parquet with pay_fen); settle first"
        raise CaseFileError(message, file=str(run.path))
    check_run(run)
    facts, cases = Facts(run), Cases(run.tables["cases"])
    levels = {r["hospital_id"]: r.get("hospital_level") or "" for r in facts.hospitals}
    of_cases, money = _report_cases, _report_money
    indices, bands = of_cases.indices(cases, levels), of_cases.bands(cases)
    groups = of_cases.groups(cases, least)
    spread = [f(cases, least) for f in (of_cases.costs, of_cases.ratios, of_cases.stays)]
    grouping = [f(cases) for f in (of_cases.statuses, of_cases.reasons, of_cases.warnings)]
    proofs = [money.proof(facts), money.accrual(facts), money.ties(facts, cases)]
    sections = [
        Section("glance", ("概要", "At a glance"), [money.summary(facts, cases)]),
        Section(
            "funds",
            ("基金与点值", "Fund and point value"),
            [money.pools(facts), money.months(facts, cases)],
            ("months", "values"),
        ),
        Section(
            "hospitals",
            ("医疗机构", "Hospitals"),
            money.hospitals(facts, cases),
            ("balances",),
        ),
        Section("casemix", ("病例组合", "Casemix"), [indices], ("casemix",)),
        Section("outliers", ("费用偏差", "Outliers"), [bands]),
        Section("groups", ("病组", "Groups"), [groups], ("groups",)),
        Section("spread", ("分布", "Distributions"), spread, ("costs", "ratios", "stays")),
        Section("grouping", ("入组与提示", "Grouping and warnings"), grouping),
        Section("proof", ("收支相符证明", "Proof of conservation"), proofs),
        Section("manifest", ("运行清单", "Manifest"), [money.manifest(facts)]),
    ]
    return Report(_about(run), sections)


def _about(run: RunFolder) -> dict[str, str]:
    """Name the run: what, for when, by which policy and scheme, and its hash."""
    told = run.manifest
    about, policy, scheme = (told.get(k) or {} for k in ("run", "policy", "scheme"))
    found = {
        "title": policy.get("title") or policy.get("id"),
        "kind": about.get("kind"),
        "period": about.get("period"),
        "status": about.get("status"),
        "policy": policy.get("id"),
        "standing": policy.get("standing"),
        "scheme": scheme.get("id"),
        "content_hash": told.get("content_hash"),
        "made": (told.get("about") or {}).get("made"),
        "version": (told.get("about") or {}).get("version"),
    }
    return {k: str(v) for k, v in found.items() if v}
