"""The demo: a synthetic region-year, its inputs as files, one run on them, and a report to read."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from grouper import _platform, _runs
from grouper._arrow import decimals
from grouper.errors import CaseFileError, TableError
from grouper.io import read_run, write_table
from grouper.tables import DipScheme, DrgScheme, load_scheme
from grouper.tables._files import SHIPPED
from grouper.testing import Region, make_region

POLICY = """\
id = "demo-{method}"
title = "Demo region: {title}"
standing = "invented"
source = "synthetic region"

[[scheme]]
id = "{scheme}"
from = {year}-01-01
by = "discharge"
source = "synthetic region"

[method]
{form}
source = "synthetic region"

[funds]
booked = ["fund_paid_fen"]
hospital_borne = ["hospital_borne_fen"]
source = "synthetic region"

[[pool]]
id = "employee"
insurance = ["310"]

[[pool]]
id = "resident"
insurance = ["390"]

[[weights]]
{weights}
from = {year}-01-01

[benchmark]
kind = "mean"
source = "mean cost of the group"

[[low]]
edge = {edge}
pay = "{low}"
from = {year}-01-01
source = "invented"

{high}

[status_pay]
ambiguous = {{ rule = "weight", value = {half}, source = "invented" }}
ungrouped = {{ rule = "cost_over_mean", value = 0.7, source = "invented" }}
not_covered = {{ rule = "cost_over_mean", value = 0.7, source = "invented" }}
rejected = {{ rule = "zero", source = "invented" }}

[budget]
source = "synthetic region"

[[budget.less]]
id = "reserve"
kind = "share"
share = 0.02
reserve = true

[year]
month_point_value = "own"
assessment = "deposit"
overspend_from = ["reserve"]
source = "synthetic region"

[[year.surplus]]
ratio_below = 0.85
share = 0.6
source = "invented"

[[year.surplus]]
ratio_from = 0.85
share = 1
source = "invented"

[[year.overspend]]
ratio_below = 1.1
share = 0.5
source = "invented"

[[year.overspend]]
ratio_from = 1.1
share = 0
source = "invented"

[warnings]
yellow = 1.0
orange = 1.05
red = 1.1
source = "invented"

[calendar]
source = "synthetic region"

[special_cases]
source = "the national rule: 5 in 1,000 for DIP, 5 % for DRG"

{rate}[param.overall_mean]
name_zh = "全部病例次均费用"
unit = "fen"
values = [{{ from = {year}-01-01, value = {mean}, source = "mean cost of the region" }}]

[param.coefficient]
name_zh = "等级系数"
unit = "ratio"
values = [
    {{ from = {year}-01-01, value = 1.10, level = "三级", source = "invented" }},
    {{ from = {year}-01-01, value = 0.95, level = "二级", source = "invented" }},
    {{ from = {year}-01-01, value = 0.80, level = "一级", source = "invented" }},
]

[param.monthly_rate]
name_zh = "月预付比例"
unit = "ratio"
values = [{{ from = {year}-01-01, value = 0.95, source = "invented" }}]

[param.deposit_rate]
name_zh = "质量保证金"
unit = "ratio"
values = [{{ from = {year}-01-01, value = 0.05, source = "invented" }}]

[param.assessment]
name_zh = "考核系数"
unit = "ratio"
values = [{{ from = {year}-01-01, value = 0.98, source = "invented" }}]

[param.special_share]
name_zh = "特例单议比例"
unit = "ratio"
values = [{{ from = {year}-01-01, value = {special}, source = "the national rule" }}]

[param.budget]
name_zh = "统筹基金年度预算"
unit = "fen"
values = [
    {{ from = {year}-01-01, to = {year}-12-31, value = {employee}, pool = "employee", source = "invented" }},
    {{ from = {year}-01-01, to = {year}-12-31, value = {resident}, pool = "resident", source = "invented" }},
]
"""

BASE_RATE = """\
[param.base_rate]
name_zh = "费率"
unit = "fen per 1.0000 RW"
values = [{{ from = {year}-01-01, value = {mean}, source = "mean cost of the region" }}]

"""

OWN_WEIGHTS = """\
file = "weights.csv"
source = "the weights that the costs were drawn with\""""

TIERS = """\
[[high]]
edge = 3
weight_below = 2
pay = "excess"
share = 0.8
from = {year}-01-01
source = "invented"

[[high]]
edge = 2
weight_from = 2
pay = "excess"
share = 0.8
from = {year}-01-01
source = "invented"
"""

DIP_HIGH = """\
[[high]]
edge = 2
inclusive = true
pay = "excess"
from = {year}-01-01
source = "the form of the 1.0 text: ratio - 2 + 1"

[basic]
source = "primary-care groups take no coefficient"
"""

METHODS: dict[str, dict[str, str]] = {
    "point": {
        "title": "point method, difference form",
        "form": 'kind = "point"\nfund_form = "difference"',
        "low": "ratio",
    },
    "rate": {
        "title": "fixed rate, difference form",
        "form": 'kind = "rate"\nrate = "fixed"\nfund_form = "difference"',
        "low": "cost",
    },
    "dip": {
        "title": "DIP scores, difference form",
        "form": 'kind = "point"\nfund_form = "difference"\npoints_per_weight = 1\nscore_of_mean = 1000',
        "low": "ratio",
        "edge": "0.5",
        "half": "500",
        "special": "0.005",
        "high": DIP_HIGH,
    },
}
SCHEMES = {"dip": "dip-demo"}
DEFAULT_SCHEME = "chs-drg-1.1"
"""The scheme that cases are drawn by, and grouped by unless the method has its own."""

YEAR = 2025


def make(
    output: Path,
    n: int,
    scheme: str | None,
    seed: int,
    method: str,
    threads: int | None,
    lang: str,
    step: _runs.Step = _runs.quiet,
    *,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Make the demo folder, whole or not at all; return the facts of its run.

    Raises
    ------
    CaseFileError : the folder holds something that is not an earlier demo.
    """
    output = output.resolve()
    _check_target(output, overwrite)
    scheme = scheme or SCHEMES.get(method, DEFAULT_SCHEME)
    drawn_by = load_scheme(scheme)
    if isinstance(drawn_by, DipScheme) != (method == "dip"):
        raise TableError(f"{drawn_by.id} does not go with --method {method}", file="scheme.toml")
    by = drawn_by if isinstance(drawn_by, DrgScheme) else DEFAULT_SCHEME
    region: Region = step(
        "drawing", lambda: make_region(n, scheme=by, seed=seed, year=YEAR, threads=threads)
    )
    output.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{output.name}.", suffix=".tmp", dir=output.parent))
    try:
        write_inputs(region, work, scheme, method)
        grouped, facts = _runs.group_files(
            str(work / "cases.parquet"), scheme, threads=threads, step=step
        )
        hospitals = str(work / "hospitals.csv")
        policy, run = str(work / "policy"), work / "run"
        order = _runs.Order(policy, hospitals, threads=threads)
        origin = _runs.Origin(str(work / "cases.parquet"), (scheme,))
        paid = _runs.pay(grouped, order, run, facts, step, origin=origin)
        report = _report(read_run(run).tables, facts, paid, lang, f"{output.name}/run")
        (work / "report.md").write_text(report, "utf-8")
        if output.exists():
            shutil.rmtree(output)
        _platform.show_folder(work)
        work.rename(output)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return {**facts, **paid, "output": str(output), "report": str(output / "report.md")}


def _check_target(output: Path, overwrite: bool) -> None:
    """Refuse a folder with anything in it, but for an earlier demo that may be replaced."""
    if output.is_file():
        raise CaseFileError("is a file; name a new folder", file=output.name)
    held = {p.name for p in output.iterdir()} if output.exists() else set()
    ours = {"cases.parquet", "hospitals.csv", "policy", "run", "report.md"}
    if held and not (overwrite and held == ours):
        message = "holds an earlier demo: --overwrite replaces it, edits of its policy too; or "
        message = message if held == ours else "holds other files; "
        raise CaseFileError(message + "name a new folder", file=output.name)


def write_inputs(region: Region, folder: Path, scheme: str, method: str) -> None:
    """Write cases, hospitals and the policy as a user would bring them."""
    write_table(region.cases, folder / "cases.parquet")
    write_table(region.hospitals, folder / "hospitals.csv")
    policy = folder / "policy"
    policy.mkdir()
    how = {"edge": "0.4", "half": "0.5", "special": "0.05", "high": TIERS, **METHODS[method]}
    if method == "dip":
        how["weights"] = f'catalogue = "{scheme}"\nsource = "scores of the catalogue"'
        if not (SHIPPED / scheme).is_dir():
            shutil.copytree(scheme, policy / "catalogue")
            how["weights"] = 'catalogue = "catalogue"\nsource = "scores of the catalogue"'
    else:
        how["weights"] = OWN_WEIGHTS
        means = decimals(region.weights["mean_cost_fen"].to_numpy(), 2)
        weights = region.weights.drop_columns(["mean_cost_fen"])
        write_table(weights.append_column("mean_cost", means), policy / "weights.csv")
    how["high"] = how["high"].format(year=YEAR)
    mean = round(pc.mean(region.cases["total_cost_fen"]).as_py())
    how["rate"] = BASE_RATE.format(year=YEAR, mean=mean) if method == "rate" else ""
    text = POLICY.format(
        method=method,
        **how,
        scheme=load_scheme(scheme).id,
        year=YEAR,
        mean=mean,
        employee=region.funds["310"],
        resident=region.funds["390"],
    )
    (policy / "policy.toml").write_text(text, "utf-8")


_WORDS = {
    "zh": {
        "title": "模拟统筹区年度报告",
        "cases": "病例与入组",
        "pools": "基金与结算（元）",
        "hospitals": "医疗机构（按支付额）",
        "groups": "病例最多的病组",
        "bands": "费用偏差",
        "proof": "每个基金池收支相符：基金 = 支付 + 差额 + 未分配。",
        "more": "完整报告（含图表）：`grouper report {run} -o report.html`",
    },
    "en": {
        "title": "A synthetic region's year",
        "cases": "Cases and grouping",
        "pools": "Funds and payments (yuan)",
        "hospitals": "Hospitals by payment",
        "groups": "Groups with most cases",
        "bands": "Cost bands",
        "proof": "Every pool closes: fund = pay + balance + undistributed.",
        "more": "The whole report, with plots: `grouper report {run} -o report.html`",
    },
}


def _report(
    tables: Mapping[str, pa.Table],
    facts: Mapping[str, Any],
    paid: Mapping[str, Any],
    lang: str,
    run: str,
) -> str:
    """Write the report as Markdown."""
    w = _WORDS[lang]
    cases = tables["cases"]
    status = [{"status": k, "cases": f"{v:,}"} for k, v in facts["status"].items()]
    bands = [{"band": k, "cases": f"{v:,}"} for k, v in paid["bands"].items()]
    pools = [_yuan(r) for r in tables["pools"].to_pylist()]
    hospitals = tables["hospitals"].sort_by([("pay_fen", "descending")]).slice(0, 15)
    counted = cases.group_by(["group", "group_name"]).aggregate(
        [("case_id", "count"), ("total_cost_fen", "sum"), ("pay_fen", "sum")]
    )
    top = counted.sort_by([("case_id_count", "descending")]).slice(0, 10)
    return (
        "\n\n".join(
            [
                f"# {w['title']}",
                f"## {w['cases']}\n\n{_markdown(status)}",
                f"## {w['bands']}\n\n{_markdown(bands)}",
                f"## {w['pools']}\n\n{_markdown(pools)}\n\n{w['proof']}",
                f"## {w['hospitals']}\n\n{_markdown([_yuan(r) for r in hospitals.to_pylist()])}",
                f"## {w['groups']}\n\n{_markdown([_yuan(r) for r in top.to_pylist()])}",
                w["more"].format(run=run),
            ]
        )
        + "\n"
    )


def _yuan(row: Mapping[str, Any]) -> dict[str, Any]:
    """Turn fen into yuan for reading, by the digits."""
    found: dict[str, Any] = {}
    for name, value in row.items():
        if "_fen" in name and value is not None:
            sign, units = "-" if value < 0 else "", abs(value)
            found[name.replace("_fen", "")] = f"{sign}{units // 100:,}.{units % 100:02d}"
        elif name not in ("entries_fen", "fund_form", "claims"):
            found[name] = f"{value:,}" if isinstance(value, int) else value
    return found


def _markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return "—"
    lines = ["| " + " | ".join(rows[0]) + " |", "|" + "---|" * len(rows[0])]
    lines += [
        "| " + " | ".join(str("" if v is None else v) for v in r.values()) + " |" for r in rows
    ]
    return "\n".join(lines)
