"""The auditor's chain against the engine: every fund form, rate and option, each case in live formulas.

The two know nothing of each other: the engine shares in integers, the chain goes back from the figures of
the run and the policy.
"""

from __future__ import annotations

import random
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from spreadsheet import evaluated, read_rows, records

from grouper._audit import write_audit
from grouper._settlement import settle
from grouper._statements import write_statements
from grouper.io import write_run
from grouper.tables._policy import load_policy

pytestmark = pytest.mark.promise("An auditor's own formulas find every figure again")

pytest.importorskip("xlsxwriter")

POLICY = """
id = "forms"
title = "Every form"
standing = "invented"
source = "invented"

[method]
{method}
score_decimals = 4
source = "invented"

[funds]
source = "invented"

[[pool]]
id = "employee"
insurance = ["310"]

[[pool]]
id = "resident"
insurance = ["390"]

[[weights]]
file = "weights.csv"
from = 2025-01-01
source = "invented"

[benchmark]
kind = "mean"
source = "invented"

[[low]]
edge = 0.5
inclusive = true
pay = "ratio"
coefficient = false
from = 2025-01-01
source = "invented"

[[high]]
edge = 1.5
pay = "excess"
share = 0.7
from = 2025-01-01
source = "invented"

[[high]]
edge = 1.4
level = "三级"
pay = "excess"
share = 0.6
cap = 1.3
from = 2025-01-01
source = "invented"

[status_pay]
ambiguous = {{ rule = "weight", value = 0.5, coefficient = true, source = "invented" }}
ungrouped = {{ rule = "cost_over_mean", value = 0.7, source = "invented" }}
not_covered = {{ rule = "cost", value = 0.9, source = "invented" }}
rejected = {{ rule = "zero", source = "invented" }}

[param.base_rate]
name_zh = "费率"
unit = "yuan per 1.0000 RW"
values = [
    {{ from = 2025-01-01, value = 9876.5432, source = "invented" }},
    {{ from = 2025-02-01, value = 9000.0001, level = "二级", source = "invented" }},
]

[param.coefficient]
name_zh = "等级系数"
unit = "ratio"
values = [
    {{ from = 2025-01-01, value = 1.05, level = "三级", source = "invented" }},
    {{ from = 2025-01-01, value = 0.95, level = "二级", source = "invented" }},
]

[param.overall_mean]
name_zh = "次均费用"
unit = "yuan"
values = [{{ from = 2025-01-01, value = 9_999.99, source = "invented" }}]

[param.fund]
name_zh = "基金"
unit = "yuan"
values = [
    {{ from = 2025-01-01, to = 2025-12-31, value = 330_000, pool = "employee", source = "invented" }},
    {{ from = 2025-01-01, to = 2025-12-31, value = 250_000, pool = "resident", source = "invented" }},
]
{extra}
"""

FAMILIES = """
[carve_out]
share = 0.7
fund = "inside"
source = "invented"

[[family]]
id = "beds"
pay = "per_day"
fund = "off_top"
source = "invented"
when = { los_from = 20 }

[[family]]
id = "chosen"
pay = "factor"
source = "invented"
when = { department = ["TCM"] }

[[family]]
id = "visits"
pay = "per_case"
fund = "outside"
source = "invented"
when = { department = ["day"] }

[param.per_day]
name_zh = "床日"
unit = "yuan"
values = [{ from = 2025-01-01, value = 333.33, source = "invented" }]

[param.per_case]
name_zh = "每次"
unit = "yuan"
values = [{ from = 2025-01-01, value = 2_345.67, source = "invented" }]

[param.family_factor]
name_zh = "倾斜系数"
unit = "ratio"
values = [{ from = 2025-01-01, value = 1.1, source = "invented" }]
"""


def parameter(name: str, value: str, unit: str = "ratio") -> str:
    return f"""
[param.{name}]
name_zh = "x"
unit = "{unit}"
values = [{{ from = 2025-01-01, value = {value}, source = "invented" }}]
"""


def make_grouped(n: int = 50) -> pa.Table:
    draw = random.Random(5)
    rows: list[dict[str, Any]] = []
    for k in range(n):
        status = "grouped"
        if k % 10 == 3:
            status = draw.choice(["ambiguous", "ungrouped", "rejected"])
        group = draw.choice(["A1", "B1", "C1"]) if status == "grouped" else None
        cost = draw.randrange(200_000, 3_000_000)
        booked = cost * draw.randrange(50, 75) // 100
        rows.append(
            {
                "case_id": f"c{k:03d}",
                "status": status,
                "group": "XX" if k % 23 == 5 and group else group,  # XX has no weight
                "hospital_id": f"H{k % 4}",
                "hospital_level": "三级" if k % 4 < 2 else "二级",
                "insurance": "310" if k % 3 else "390",
                "settlement_date": date(2025, 1, 5) + timedelta(days=k),
                "los": 25 if k % 17 == 1 else 6,
                "department": {2: "TCM", 4: "day"}.get(k % 13, "03"),
                "total_cost_fen": cost,
                "fund_paid_fen": booked,
                "hospital_borne_fen": 0,
                "carve_out_fen": 12_345 if k % 6 == 0 else 0,
                "unreasonable_fen": 777 if k % 8 == 0 else 0,
            }
        )
    table = pa.Table.from_pylist(rows)
    factors = [Decimal("1.0375") if k % 5 == 0 else None for k in range(n)]
    return table.append_column("aux_factor", pa.array(factors, pa.decimal128(12, 6)))


POINT = 'kind = "point"\nfund_form = "{}"'
RATE = 'kind = "rate"\nrate = "{}"\nfund_form = "{}"'
FORMS = {
    "difference": (POINT.format("difference"), ""),
    "fund points": (POINT.format("fund_points"), ""),
    "ratio of the region": (POINT.format("ratio"), ""),
    "ratio of the hospital": (POINT.format("ratio") + '\nratio_scope = "hospital"', ""),
    "ratio of the case": (POINT.format("ratio") + '\nratio_scope = "case"', ""),
    "ratio published": (
        POINT.format("ratio") + '\nratio_scope = "published"',
        parameter("fund_ratio", "0.61"),
    ),
    "no case below zero": (POINT.format("difference") + '\nnegative = "zero_case"', ""),
    "rescaled": (
        POINT.format("difference") + '\nnegative = "zero_case"\nleft_over = "rescale"',
        "",
    ),
    "solved": (POINT.format("difference") + '\nnegative = "zero_case"\nleft_over = "solve"', ""),
    "capped": (
        POINT.format("difference"),
        parameter("point_value_cap", "60", "yuan per point"),
    ),
    "fixed": (RATE.format("fixed", "difference"), ""),
    "fixed, ratio": (RATE.format("fixed", "ratio"), ""),
    "floating": (RATE.format("floating", "difference"), ""),
    "elastic": (RATE.format("elastic", "difference"), parameter("base_volume", "20")),
    "families under points": (POINT.format("difference"), FAMILIES),
    "families under a rate": (RATE.format("fixed", "difference"), FAMILIES),
    "families under a floating rate": (RATE.format("floating", "ratio"), FAMILIES),
}


def make_run(folder: Path, form: str) -> tuple[Path, Path]:
    """Settle the cases and write the run; return it and its policy."""
    method, extra = FORMS[form]
    policy = folder / "policy"
    policy.mkdir()
    text = POLICY.format(method=method, extra=extra)
    if "rate" in method:
        text = text.replace('pay = "ratio"', 'pay = "cost"')
    (policy / "policy.toml").write_text(text, "utf-8")
    weights = "group,weight,mean_cost\nA1,0.8123,9000\nB1,1.4567,14000.55\nC1,2.0005,21000\n"
    (policy / "weights.csv").write_text(weights)
    settled = settle(make_grouped(), load_policy(policy))
    return write_run(folder / "run", settled.tables(), settled.manifest()), policy


@pytest.mark.parametrize("form", FORMS)
def test_every_case_of_a_settled_run_agrees(form: str, tmp_path: Path) -> None:
    run, policy = make_run(tmp_path, form)
    path = tmp_path / "audit.xlsx"
    told = write_audit(run, path, policy=policy, sample=1000)
    assert told["sample"] == {"rows": 50, "agree": 50, "differ": 0, "given": 0}
    assert told["proofs"]["fail"] == 0
    assert told["ties"] is True
    for sheet in ("样本", "守恒证明"):
        assert evaluated(path, sheet)[0] > 40
    rows = records(path, "样本")
    assert {r["band"] for r in rows} >= {"low", "high", "normal"}
    assert all(r["agrees"] is True for r in rows)
    without = write_audit(run, path, sample=1000)
    assert (without["sample"]["differ"], without["ties"]) == (0, True)


@pytest.mark.parametrize("form", ["difference", "families under points", "fixed"])
def test_every_statement_of_a_settled_run_ties(form: str, tmp_path: Path) -> None:
    run, _ = make_run(tmp_path, form)
    files = write_statements(run, lang="en", formats=["xlsx"])
    assert [f.name for f in files] == ["H0.xlsx", "H1.xlsx", "H2.xlsx", "H3.xlsx"]
    for file in files:
        cells = [c for row in read_rows(file, "reconciliation") for c in row]
        assert cells.count("ties") > 10
        assert "differs" not in cells
