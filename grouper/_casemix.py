"""Casemix of a run (病例组合): who treats what, at what cost and with what outcome (`docs/casemix.md`).

Order of work: bring run and cases together, add up by hospital, level, department, doctor, month, insurance
and group, work out expected cost and stay, lay out. Every figure is made from exact sums.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from grouper import _funnel
from grouper._casemix_cases import DIMENSIONS, MONEY, Base, gather, summed
from grouper._casemix_options import CasemixOptions, load_casemix_options
from grouper._casemix_plots import funnels
from grouper._report_book import write_book
from grouper._report_page import page
from grouper._report_plots import draw
from grouper._report_tables import (
    Figure,
    Report,
    ReportTable,
    Row,
    Section,
    count,
    key,
    mean,
    quotient,
    share,
    table,
)
from grouper._small_cells import OTHER
from grouper._statistics import half_up
from grouper._writing import RunFolder, check_run, read_run, replace_file
from grouper.errors import CaseFileError
from grouper.io import ColumnMap

TITLES = {
    "hospital": ("医疗机构", "hospital"),
    "level": ("机构等级", "level"),
    "department": ("科室", "department"),
    "doctor": ("医师", "doctor"),
    "month": ("月份", "month"),
    "insurance": ("险种", "insurance"),
}
FUNNELS = {
    "deaths": ("死亡", "deaths", "told"),
    "low_risk_deaths": ("低风险组死亡", "low-risk deaths", "low_risk"),
}


def casemix(
    run: RunFolder | Path | str,
    *,
    cases: Any | None = None,
    columns: ColumnMap | Path | str | None = None,
    options: CasemixOptions | Path | str | None = None,
    output: Path | str | None = None,
    lang: Literal["zh", "en"] = "zh",
) -> dict[str, Any]:
    """Work out the casemix of a settled run (病例组合指标).

    Parameters
    ----------
    run : a run folder. cases : those the run was made from, in its order; default: what its manifest
        names. columns : their column map. output : .html, which needs matplotlib, or .xlsx to write as
        well. lang : of its texts.

    Returns
    -------
    Facts about the run, and every table as rows; money in whole fen, decimals as texts.

    Raises
    ------
    CaseFileError : no settled run is there or it was changed, the cases are not its own, or the ending
        of `output` is unknown. TableError : options or the table of procedures are refused.
    """
    ending = Path(output).suffix.casefold() if output is not None else ".xlsx"
    if output is not None and ending not in (".html", ".xlsx"):
        raise CaseFileError(
            "of no known kind; casemix ends in .html, .xlsx", file=Path(output).name
        )
    if options is None:
        options = CasemixOptions()
    elif not isinstance(options, CasemixOptions):
        options = load_casemix_options(options)
    folder = run if isinstance(run, RunFolder) else read_run(run)
    check_run(folder)
    report = figures(gather(folder, cases, options, columns), options, folder.manifest)
    if output is not None and ending == ".html":
        replace_file(Path(output), page(report, draw(report, lang, funnels(FUNNELS)), lang))
    elif output is not None:
        write_book(report, Path(output), lang)
    return report.to_dict()


def figures(base: Base, options: CasemixOptions, manifest: Any) -> Report:
    """Lay the tables out."""
    whole = summed(base, ["group"])
    total = {s: sum(r[s] for r in whole) for s in base.sums}
    of_group = {r["group"]: r for r in whole}
    made, levels = [], []
    for name in DIMENSIONS:
        if f"by {name}" in base.lacking:
            continue
        rows = _rows(base, name, of_group)
        if name == "level":
            levels = rows
            continue
        if name == "hospital":
            _funnel_places(rows, total)
        made.append(_laid_out(base, name, rows, total, options))
    sections = [
        Section("by", ("病例组合", "Casemix"), made, [f"funnel_{n}" for n in FUNNELS]),
        Section(
            "benchmarks", ("同级参照", "Benchmarks"), [_benchmarks(base, levels, total, options)]
        ),
        Section("lacking", ("未能计算", "Not evaluable"), [_lacking(base)]),
    ]
    about = manifest.get("policy") or {}
    facts = {"title": about.get("title") or "", "content_hash": manifest.get("content_hash") or ""}
    facts |= {"made": (manifest.get("about") or {}).get("made") or ""}
    facts |= {"low_risk_groups": str(len(base.low_risk))}
    told = {k: str(v) for k, v in facts.items() if v}
    return Report(told, sections, ("病例组合", "casemix"))


def _rows(base: Base, name: str, of_group: dict[str, Row]) -> list[Row]:
    """Add up by a dimension; expected = what its grouped cases cost and stay at their groups' means.

    Each group's share of an expected cost is rounded to the fen, of an expected stay to 10^-4 days.
    """
    rows: dict[str, Row] = {}
    for r in summed(base, [name, "group"]):
        row = rows.setdefault(
            r[name],
            {name: r[name], **dict.fromkeys(base.sums, 0), "groups": 0}
            | dict.fromkeys(("actual_fen", "expected_fen", "days_e4", "expected_e4"), 0),
        )
        for s in base.sums:
            row[s] += r[s]
        if not r["group"]:
            continue
        row["groups"] += 1
        g = of_group[r["group"]]
        if r["costed"]:
            row["actual_fen"] += r["cost_fen"]
            row["expected_fen"] += half_up(Fraction(r["costed"] * g["cost_fen"], g["costed"]))
        if r["stayed"]:
            row["days_e4"] += r["los"] * 10_000
            row["expected_e4"] += half_up(Fraction(r["stayed"] * g["los"] * 10_000, g["stayed"]))
    return [rows[k] for k in sorted(rows, key=str.encode)]


def _funnel_places(rows: Sequence[Row], total: Row) -> None:
    """Say of each hospital whether its rates lie outside the exact limits of the whole's rate."""
    for name, (_, _, of) in FUNNELS.items():
        if name in total and total[of]:
            rate = total[name] / total[of]
            for row in rows:
                row[f"{name}_place"] = _funnel.place(row[name], row[of], rate)


def _columns(base: Base, total: Row, options: CasemixOptions) -> list[Figure]:
    """Return the figures of every table after its key."""
    of_all = Fraction(total["weighed"], total["weight"]) if total["weight"] else Fraction(0)
    there = set(base.sums)
    made = [
        count("cases", "出院人次", "discharges"),
        share("grouped_share", "入组率", "grouped share", "grouped", "cases"),
        count("groups", "病组数", "groups"),
        quotient(
            "mean_weight", "次均权重", "mean weight", "weight", "weighed", times=base.weight_unit
        ),
        quotient("cmi", "CMI", "CMI", "weight", "weighed", times=of_all),
        quotient("cost_index", "费用消耗指数", "cost index", "actual_fen", "expected_fen"),
        quotient("time_index", "时间消耗指数", "time index", "days_e4", "expected_e4"),
        mean("mean_cost_fen", "次均费用", "mean cost", "cost_fen", "costed"),
        quotient("mean_los", "平均住院日", "mean stay, days", "los", "stayed", digits=2),
    ]
    words = {"drug": ("药占比", "drug share"), "consumable": ("耗材占比", "consumable share")}
    words["self_paid"] = ("自付占比", "self-pay share")
    made += [
        share(f"{m}_share", *words[m], f"{m}_fen", f"{m}_of_fen")
        for m in MONEY
        if f"{m}_fen" in there
    ]
    edges = [f"{e:f}" for e in sorted(options.weight_bands)]
    bounds = [f"< {edges[0]}", *(f"{a} – {b}" for a, b in pairwise(edges)), f"≥ {edges[-1]}"]
    made += [
        share(f"weight_band_{k}_share", f"RW {b}", f"RW {b}", f"weight_band_{k}", "weighed")
        for k, b in enumerate(bounds)
    ]
    if "deaths" in there:
        made += [
            share("death_rate", "死亡率", "death rate", "deaths", "told"),
            count("low_risk", "低风险组例数", "low-risk cases"),
            count("low_risk_deaths", "低风险组死亡", "low-risk deaths"),
            share(
                "low_risk_rate",
                "低风险组死亡率",
                "low-risk death rate",
                "low_risk_deaths",
                "low_risk",
            ),
        ]
    for d in options.readmitted_within if "indexed" in there else ():
        words_of = f"{d} 日内再住院率", f"readmitted within {d} days"
        made.append(share(f"readmitted_{d}_share", *words_of, f"readmitted_{d}", "indexed"))
    if "level_four" in there:
        made.append(
            share("level_four_share", "四级手术占比", "level 4 surgery", "level_four", "operated")
        )
    return made


def _laid_out(
    base: Base, name: str, rows: list[Row], total: Row, options: CasemixOptions
) -> ReportTable:
    columns = [key(name, *TITLES[name]), *_columns(base, total, options)]
    if name == "hospital":
        columns += [
            key(f"{f}_place", f"{zh}漏斗", f"{en} funnel", kept=False)
            for f, (zh, en, _) in FUNNELS.items()
        ]
    zh, en = TITLES[name]
    note = (
        "费用（时间）消耗指数：已入组病例实际费用（住院日）÷ 按各病组全区均值的期望；大于 1 高于全区。",
        "Cost (time) index: actual cost (days) of grouped cases ÷ expected at their groups' means.",
    )
    return table(f"by_{name}", f"按{zh}", f"By {en}", columns, rows, note, _hidden(base, columns))


def _benchmarks(base: Base, rows: list[Row], total: Row, options: CasemixOptions) -> ReportTable:
    """Lay out figures by hospital level, without a name; levels of few cases are put together."""
    small = [r for r in rows if r["cases"] < options.least]
    rest = [r for r in rows if r["cases"] >= options.least]
    rest.sort(key=lambda r: (-r["cases"], r["level"].encode()))
    while small and rest and sum(r["cases"] for r in small) < options.least:
        small.append(rest.pop())
    if len(small) > 1:
        names = [n for n in small[0] if n != "level"]
        rest.append({"level": OTHER, **{n: sum(r[n] for r in small) for n in names}})
    elif small:
        rest += [r | {"level": OTHER} for r in small]
    columns = [key("level", *TITLES["level"])]
    columns += [c for c in _columns(base, total, options) if c.name != "groups"]
    note = (
        f"不列机构名称；少于 {options.least} 例的等级合并。",
        f"No hospital is named; levels of fewer than {options.least} cases are put together.",
    )
    words = "同级参照", "By hospital level"
    return table("benchmarks", *words, columns, rest, note, _hidden(base, columns))


def _hidden(base: Base, columns: Sequence[Figure]) -> list[str]:
    shown = {c.name for c in columns if c.added}
    sums = (*base.sums, "actual_fen", "expected_fen", "days_e4", "expected_e4")
    return [n for n in sums if n not in shown]


def _lacking(base: Base) -> ReportTable:
    rows = [{"indicator": k, "needs": v} for k, v in base.lacking.items()]
    columns = [key("indicator", "指标", "indicator"), key("needs", "所缺列", "needs")]
    return table("lacking", "未能计算的指标", "Not evaluable", columns, rows)
