"""DIP from the command line: the same verbs as for DRG, on the demo and on real discharges."""

from __future__ import annotations

import json
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from shared import shared

from grouper import group, load_catalogue, settle

GOLDEN = Path(__file__).parent.parent / "golden" / "dip"


def grouper(*args: str | Path) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "grouper", *map(str, args), "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.big
def test_the_demo_pays_by_scores(tmp_path: Path) -> None:
    facts = grouper("demo", "--method", "dip", "--cases", "1500", "-o", tmp_path / "year")
    assert facts["scheme"]["id"] == "dip-demo"
    assert facts["status"]["grouped"] > 0.9 * 1500
    for pool in facts["proof"]:
        assert pool["pay_fen"] + pool["balance_fen"] + pool["undistributed_fen"] == pool["fund_fen"]
    cases = pq.read_table(tmp_path / "year" / "run" / "cases.parquet")
    assert pc.sum(cases["pay_fen"]).as_py() == sum(p["pay_fen"] for p in facts["proof"])
    assert set(cases["group_class"].unique().to_pylist()) >= {"core", "mixed"}
    assert cases["aux_type"].null_count < len(cases)
    grouped = tmp_path / "grouped.csv"
    grouper("group", tmp_path / "year" / "cases.parquet", "--scheme", "dip-demo", "-o", grouped)
    policy = (
        "--policy",
        tmp_path / "year" / "policy",
        "--hospitals",
        tmp_path / "year" / "hospitals.csv",
    )
    settled = grouper("settle", grouped, *policy, "-o", tmp_path / "settled")
    assert settled["proof"] == facts["proof"]
    hospitals = [pq.read_table(tmp_path / d / "hospitals.parquet") for d in ("settled", "year/run")]
    assert hospitals[0].equals(hospitals[1])


POLICY = """
id = "brazil"
title = "a fund over real discharges"
standing = "invented"
source = "invented"
[method]
kind = "point"
fund_form = "fund_points"
points_per_weight = 1
score_of_mean = 1000
source = "invented"
[funds]
source = "invented"
[[pool]]
id = "all"
[[weights]]
catalogue = "catalogue"
from = 2019-01-01
source = "measured"
[basic]
source = "no coefficient"
[benchmark]
kind = "mean"
source = "mean of the group"
[[low]]
edge = 0.5
pay = "ratio"
from = 2019-01-01
source = "invented"
[[high]]
edge = 2
inclusive = true
pay = "excess"
from = 2019-01-01
source = "invented"
[status_pay]
ambiguous = { rule = "zero", source = "invented" }
ungrouped = { rule = "cost_over_mean", value = 0.7, source = "invented" }
not_covered = { rule = "cost_over_mean", value = 0.7, source = "invented" }
rejected = { rule = "zero", source = "invented" }
[stand_in]
hospital_level = "all"
insurance = "all"
settlement_date = 2019-12-31
[param.coefficient]
name_zh = "等级系数"
unit = "ratio"
values = [{ from = 2019-01-01, value = 1.5, source = "invented" }]
[param.overall_mean]
name_zh = "次均费用"
unit = "yuan"
values = [{ from = 2019-01-01, value = 1400, source = "invented" }]
[param.fund]
name_zh = "基金"
unit = "fen"
values = [{ from = 2019-01-01, to = 2019-12-31, value = 1000000001, source = "invented" }]
"""
MAP = """
[columns]
case_id = "case_id"
[stand_in]
age_days = 300
"""


@pytest.mark.big
def test_real_discharges_from_catalogue_to_payment(tmp_path: Path) -> None:
    cases = shared("cases/brazil_rs_2019.csv.gz")
    (tmp_path / "map.toml").write_text(MAP, "utf-8")
    how = ("--columns", tmp_path / "map.toml")
    built = grouper(
        "calibrate", cases, "--method", "dip", "-o", tmp_path / "policy" / "catalogue", *how
    )
    assert built["core_groups"] == 102
    assert built["left_out"] == {"no_cost": 88}
    (tmp_path / "policy" / "policy.toml").write_text(POLICY, "utf-8")
    scheme = ("--scheme", tmp_path / "policy" / "catalogue")
    run = grouper(
        "run", cases, *scheme, "--policy", tmp_path / "policy", "-o", tmp_path / "run", *how
    )
    assert run["cases"] == sum(run["status"].values()) == 10_000
    (pool,) = run["proof"]
    assert pool["fund_fen"] == pool["pay_fen"] == 1_000_000_001
    paid = pq.read_table(tmp_path / "run" / "cases.parquet")
    assert pc.sum(paid["pay_fen"]).as_py() == 1_000_000_001
    (trace,) = json.loads(json.dumps(grouper_list("explain", cases, "--case", "1", *scheme, *how)))
    assert trace["status"] in ("grouped", "ungrouped")
    listed = grouper("tables", "show", tmp_path / "policy" / "catalogue")
    assert listed["rows"]["groups, core"] == 102


def grouper_list(*args: str | Path) -> Any:
    command = [sys.executable, "-m", "grouper", *map(str, args), "--json"]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.parametrize(
    ("age", "px", "cost", "score", "mean_fen"),
    [
        (40, [], 800_000, Fraction(800) * Fraction(3, 2), 800_000),
        (17, [], 960_000, Fraction(800) * Fraction(6, 5) * Fraction(3, 2), 960_000),
        (17, [], 479_999, Fraction(1440) * Fraction(479_999, 960_000), 960_000),
        (17, [], 1_920_000, Fraction(1440), 960_000),
        (17, [], 2_400_000, Fraction(1440) * Fraction(3, 2), 960_000),
    ],
)
def test_auxiliary_types_enter_score_and_benchmark(
    age: int, px: list[str], cost: int, score: Fraction, mean_fen: int, tmp_path: Path
) -> None:
    """Score × coefficient of the type × hospital coefficient; the type's mean is the benchmark."""
    policy = POLICY.replace('catalogue = "catalogue"', f'catalogue = "{GOLDEN / "auxiliary"}"')
    (tmp_path / "policy.toml").write_text(policy, "utf-8")
    case = {"case_id": "1", "sex": 1, "age": age, "diagnoses": ["J18.900"], "procedures": px}
    case |= {"total_cost_fen": cost, "hospital_id": "H1"}
    grouped = group(case, load_catalogue(GOLDEN / "auxiliary"))
    (row,) = settle(grouped, tmp_path / "policy.toml").cases().to_pylist()
    assert Fraction(row["final_score"]) == round(score * 10**4) / Fraction(10**4)
    assert row["benchmark_fen"] == mean_fen
    assert row["aux_factor"] == (1 if age == 40 else Fraction(6, 5))
