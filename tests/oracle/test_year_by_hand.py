"""A settlement and a year worked by hand: the oracle finds the numbers, the engine all the rest."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from naive.formula import BadFormula, evaluate
from naive.payment import NaivePolicy, Refused
from naive.year import settle_year
from oracle.compare_year import by_engine, differences, publish, tables_of
from oracle.draw_policy import Rows, parameter, write_policy

from grouper import GrouperError

pytestmark = pytest.mark.promise("A year worked by hand comes out to the fen")

Row = dict[str, Any]

# ---------------------------------------------------------------------------- small policies

FROM = date(2020, 1, 1)
MADE_UP = {"source": "invented"}
YEAR = {"from": date(2025, 1, 1), "to": date(2025, 12, 31)}
POINT = {"kind": "point", "fund_form": "fund_points"}
MEAN = {"kind": "mean", **MADE_UP}


def small(folder: Path, method: Mapping[str, Any], **more: Any) -> Path:
    """Write a small policy: weights A 1 and B 2 with means of 10,000 yuan, one fund of 1200 yuan."""
    param = {"fund": parameter("yuan", {**YEAR, "value": 1200}), **more.pop("param", {})}
    statuses = ("ambiguous", "ungrouped", "rejected", "not_covered")
    settings = {
        "id": "small",
        "title": "small",
        "standing": "invented",
        "source": "invented",
        "method": {**MADE_UP, **method},
        "funds": MADE_UP,
        "pool": [{"id": "a"}],
        "weights": [{"file": "w.csv", "from": FROM, **MADE_UP}],
        "status_pay": {s: {"rule": "zero", **MADE_UP} for s in statuses},
        **more,
        "param": {k: v for k, v in param.items() if v is not None},
    }
    rows = {g: {"weight": w, "mean_cost": "10000"} for g, w in (("A", "1"), ("B", "2"))}
    return write_policy(folder, settings, {"w.csv": rows})


def case(key: object, **fields: Any) -> Row:
    return {
        "case_id": str(key),
        "status": "grouped",
        "group": "A",
        "hospital_id": "H1",
        "hospital_level": "三级",
        "insurance": "310",
        "settlement_date": date(2025, 1, 10),
        "total_cost_fen": 100_000,
        "fund_paid_fen": 70_000,
        "hospital_borne_fen": 0,
        **fields,
    }


def edge(value: str, pay: str, **more: Any) -> Row:
    return {"edge": Decimal(value), "pay": pay, "from": FROM, **MADE_UP, **more}


def both(path: Path, cases: Rows, **more: Any) -> dict[str, Rows]:
    """Settle once, or a year; the engine must find the same."""
    policy = NaivePolicy(path)
    ledger = more.get("ledger")
    if "year" in policy.text:
        tables = tables_of(settle_year(policy, cases, (), ledger or ()))
    else:
        tables = policy.settle(cases, (), ledger or ()).tables
    assert differences(by_engine(path, cases, **more), tables) == []
    return tables


def values(rows: Rows, *columns: str) -> list[Any]:
    """One column, or several, in the order of the first."""
    found = [tuple(row[c] for c in columns) for row in rows]
    return [row[0] if len(columns) == 1 else row for row in found]


# ---------------------------------------------------------------------------- worked numbers


@pytest.mark.parametrize(("coefficient", "points"), [("1.4", 3600), ("1", 2800)])
def test_weihai_pays_the_excess_without_the_coefficient(
    coefficient: str, points: int, tmp_path: Path
) -> None:
    """2000 points, mean 10,000, cost 25,000 of which 1,000 unreasonable."""
    path = small(
        tmp_path,
        {**POINT, "points_per_weight": 1000},
        param={"coefficient": parameter("ratio", {"value": Decimal(coefficient)})},
        benchmark=MEAN,
        high=[
            edge("3", "excess", coefficient=False, key="points", weight_below=1000),
            edge(
                "2",
                "excess",
                coefficient=False,
                key="points",
                weight_from=1000,
                weight_below=2500,
            ),
            edge("1.5", "excess", coefficient=False, key="points", weight_from=2500),
        ],
    )
    (row,) = both(path, [case(1, group="B", total_cost_fen=2_500_000, unreasonable_fen=100_000)])[
        "cases"
    ]
    assert (row["band"], row["final_score"], row["ratio"]) == ("high", points, Decimal("2.4"))


@pytest.mark.parametrize(
    ("text", "worth"),
    [
        ("full + share * bare * (ratio - above)", 100 + 80 * 2),
        ("-full + 2 * full - -1", 101),
        ("max(min(full, bare, 60), 10, 5)", 60),
        ("if(ratio >= 4, full, if(weight != 2, bare, 7))", 100),
        ("if(ratio < 4, full, if(weight != 2, bare, 7))", 7),
        ("full / 8 / 2 + 0.25", Fraction(13, 2)),
        ("coefficient * (edge + above)", Fraction(24, 5)),
    ],
)
def test_a_formula_is_worth(text: str, worth: Fraction) -> None:
    names = {"full": 100, "bare": 80, "ratio": 4, "edge": 2, "above": 2, "share": 1, "weight": 2}
    given = {k: Fraction(v) for k, v in names.items()} | {"coefficient": Fraction(6, 5)}
    assert evaluate(text, given) == worth


@pytest.mark.parametrize("text", ["full +", "full full", "cost", "min(full", "full ** 2", "f(1)"])
def test_what_is_no_formula(text: str) -> None:
    with pytest.raises(BadFormula):
        evaluate(text, {"full": Fraction(1)})


def test_solve_finds_the_largest_point_value_within_the_fund(tmp_path: Path) -> None:
    """The second patient paid 900 yuan: at 6 yuan a point the fund owes for the first alone."""
    path = small(
        tmp_path,
        {**POINT, "fund_form": "difference", "negative": "zero_case", "left_over": "solve"},
        param={"fund": parameter("yuan", {**YEAR, "value": 300})},
    )
    tables = both(path, [case(1), case(2, fund_paid_fen=10_000)])
    assert values(tables["cases"], "standard_fen", "pay_fen") == [(60_000, 30_000), (60_000, 0)]
    assert tables["pools"][0]["point_value"] == "6.000000"


@pytest.mark.parametrize(
    ("name", "value", "pay", "undistributed", "drawn"),
    [("cap", 8, 80_000, 40_000, 0), ("floor", 15, 150_000, 0, 30_000)],
)
def test_the_point_value_is_kept_within_bounds(
    name: str, value: int, pay: int, undistributed: int, drawn: int, tmp_path: Path
) -> None:
    """100 points from 1200 yuan are 12 yuan a point."""
    path = small(
        tmp_path, POINT, param={f"point_value_{name}": parameter("yuan", {"value": value})}
    )
    (pool,) = both(path, [case(1)])["pools"]
    assert (pool["pay_fen"], pool["undistributed_fen"]) == (pay, undistributed)
    assert pool["drawn_fen"] == drawn


@pytest.mark.parametrize(("volume", "pay"), [(2, 100_000), (1, 50_000)])
def test_an_elastic_rate_is_fixed_to_its_volume(volume: int, pay: int, tmp_path: Path) -> None:
    path = small(
        tmp_path,
        {"kind": "rate", "rate": "elastic", "fund_form": "fund_points"},
        param={
            "base_rate": parameter("yuan per 1.0000 RW", {"value": 1000}),
            "base_volume": parameter("ratio", {"value": volume}),
        },
    )
    tables = both(path, [case(1), case(2)])
    assert values(tables["cases"], "pay_fen") == [pay, pay]
    assert tables["pools"][0]["balance_fen"] == 120_000 - 2 * pay


BED = {"id": "bed", "when": {"med_type": ["52"]}, "pay": "per_day", **MADE_UP}


@pytest.mark.parametrize(
    ("fund", "score", "pay", "other"),
    # 3 days at 20 yuan: 6 points at 10 yuan, which share 1200 yuan with 100; or 60 yuan as they are.
    [
        ("points", 6, 6_792, 113_208),
        ("off_top", None, 6_000, 114_000),
        ("outside", None, 6_000, 120_000),
    ],
)
def test_a_bed_day_is_a_claim_or_a_price(
    fund: str, score: int | None, pay: int, other: int, tmp_path: Path
) -> None:
    path = small(
        tmp_path,
        POINT,
        family=[{**BED, "fund": fund}],
        param={
            "per_day": parameter("yuan", {"value": 20, "family": "bed"}),
            "point_value_budget": parameter("yuan", {"value": 10}),
        },
    )
    tables = both(path, [case(1, med_type="52", los=3), case(2)])
    assert values(tables["cases"], "final_score", "pay_fen") == [(score, pay), (100, other)]


def test_a_price_taker_is_paid_at_the_price_of_its_maker(tmp_path: Path) -> None:
    away = {"id": "away", "insured_area": ["外地"], "price_of": "a"}
    path = small(tmp_path, POINT, pool=[away, {"id": "a"}])
    tables = both(path, [case(1), case(2, group="B", insured_area="外地")])
    pay = {row["case_id"]: row["pay_fen"] for row in tables["cases"]}
    assert pay == {"1": 120_000, "2": 240_000}
    assert ("out_of_area", "away", 170_000) in values(
        tables["entries"], "kind", "pool_id", "amount_fen"
    )


def test_the_same_patient_again_is_paid_a_part(tmp_path: Path) -> None:
    """The last of three comes back to another hospital nine days after the first left."""
    rule = {"days": 9, "same_group": True, "other_hospital": True, "factor": Decimal("0.5")}
    path = small(tmp_path, POINT, readmission=[{**rule, **MADE_UP}])

    def stay(key: int, start: int, end: int, **more: Any) -> Row:
        days = {"admission_date": date(2025, 1, start), "discharge_date": date(2025, 1, end)}
        return case(key, patient_id="P", **days, **more)

    cases = [stay(1, 1, 5), stay(2, 6, 8), stay(3, 14, 15, hospital_id="H2"), stay(4, 30, 31)]
    found = both(path, cases)["cases"]
    scores = {row["case_id"]: (row["final_score"], row["special_factor"]) for row in found}
    assert scores == {"1": (100, 1), "2": (100, 1), "3": (50, Fraction(1, 2)), "4": (100, 1)}


def test_only_so_many_cases_stay_high(tmp_path: Path) -> None:
    """Half of four cases; two of the three high ones cost the same, and go by their ids."""
    path = small(
        tmp_path,
        POINT,
        benchmark=MEAN,
        high=[edge("2", "excess")],
        high_quota={"share": Decimal("0.5"), **MADE_UP},
    )
    cost = {"1": 1_000_000, "2": 2_500_000, "3": 3_000_000, "10": 2_500_000}
    found = both(path, [case(k, total_cost_fen=c) for k, c in cost.items()])["cases"]
    bands = {row["case_id"]: (row["band"], row["final_score"]) for row in found}
    assert bands == {
        "1": ("normal", 100),
        "2": ("normal", 100),
        "3": ("high", 200),
        "10": ("high", 150),
    }


def test_the_budget_is_the_fund_and_what_leaves_it(tmp_path: Path) -> None:
    less = [
        {"id": "risk", "kind": "share", "share": Decimal("0.05"), "reserve": True},
        {"id": "bed", "kind": "amount"},
        {"id": "carve_out", "kind": "actual"},
    ]
    path = small(
        tmp_path,
        POINT,
        family=[{**BED, "fund": "outside"}],
        carve_out={"share": Decimal("0.5"), **MADE_UP},
        budget={"method": "growth", "less": less, **MADE_UP},
        param={
            "fund": None,
            "budget_base": parameter("yuan", {**YEAR, "value": 1000}),
            "budget_growth": parameter("ratio", {"value": Decimal("0.1")}),
            "less": parameter("yuan", {**YEAR, "value": 100, "item": "bed"}),
            "per_day": parameter("yuan", {"value": 20}),
        },
    )
    pools = both(path, [case(1, med_type="52", los=3), case(2, carve_out_fen=333)])["pools"]
    lines = {p["line"]: (p["fund_fen"], p["pay_fen"], p["balance_fen"]) for p in pools}
    # 1100 less 55, 100 and half of 3.33, which is rounded up
    assert lines == {
        "fund": (94_333, 94_333, 0),
        "family:bed": (10_000, 6_000, 4_000),
        "carve_out": (167, 167, 0),
    }
    assert (pools[0]["budget_fen"], pools[0]["reserve_kept_fen"]) == (110_000, 5_500)


def test_a_policy_inherits(tmp_path: Path) -> None:
    """The child's value counts where it fits, the parent's elsewhere, each in its own unit."""
    parent = {"value": 10, "insurance": "310"}, {"value": 20}
    small(
        tmp_path / "parent",
        {"kind": "rate", "fund_form": "fund_points"},
        param={"base_rate": parameter("yuan", *parent)},
        benchmark=MEAN,
        high=[edge("2", "base")],
    )
    text = """
        id = "child"
        title = "child"
        standing = "invented"
        source = "invented"
        inherits = "../parent"
        high = []
        [method]
        negative = "zero_case"
        [param.base_rate]
        name_zh = "费率"
        unit = "fen"
        values = [{ from = 2020-01-01, value = 1234, level = "三级", source = "invented" }]
    """
    (tmp_path / "child").mkdir()
    path = tmp_path / "child" / "policy.toml"
    path.write_text(text, encoding="utf-8")
    levels = {"三级": "310", "二级": "310", "一级": "390"}
    cases = [
        case(level, hospital_id=level, hospital_level=level, insurance=i, total_cost_fen=3_000_000)
        for level, i in levels.items()
    ]
    found = both(path, cases)["cases"]
    pay = {row["case_id"]: (row["band"], row["pay_fen"]) for row in found}
    assert pay == {"三级": ("normal", 1234), "二级": ("normal", 1000), "一级": ("normal", 2000)}


# ---------------------------------------------------------------------------- a year by hand


def entry(key: str, kind: str, **fields: Any) -> Row:
    blank = dict.fromkeys(("reason", "reference", "entered_by"), "invented")
    day = {"entered_on": date(2025, 1, 20)}
    return {"entry_id": key, "kind": kind, "pool_id": "a", **blank, **day, **fields}


def year_by_hand(folder: Path, carve_out: Row | None = None, **more: Any) -> Path:
    """12,000 yuan a year; half of a surplus is kept, two fifths of an overspend are borne."""
    band = {"ratio_from": Decimal("0.9"), "ratio_below": 1, "share": Decimal("0.5"), **MADE_UP}
    over = {"ratio_from": 1, "share": Decimal("0.4"), **MADE_UP}
    year = {"surplus": [band], "overspend": [over], "overspend_from": ["unretained"]}
    return small(
        folder,
        POINT,
        year={**year, **MADE_UP, **more},
        carve_out=carve_out,
        param={
            "fund": parameter("yuan", {**YEAR, "value": 12_000}),
            "deposit_rate": parameter("ratio", {"value": Decimal("0.05")}),
            "monthly_rate": parameter("ratio", {"value": Decimal("0.9")}),
        },
    )


YEAR_CASES = [
    case(1, fund_paid_fen=400_000, total_cost_fen=500_000),
    case(2, hospital_id="H2", fund_paid_fen=350_000, total_cost_fen=500_000),
    case(
        3,
        group="B",
        fund_paid_fen=400_000,
        total_cost_fen=900_000,
        settlement_date=date(2025, 2, 28),
    ),
]
DEDUCTION = entry(
    "E1", "deduction", hospital_id="H1", settlement_month="2025-01", amount_fen=-50_000
)


def test_a_year_by_hand(tmp_path: Path) -> None:
    tables = both(year_by_hand(tmp_path), YEAR_CASES, ledger=[DEDUCTION])
    columns = ("pay_fen", "deposit_fen", "carried_fen", "due_fen", "paid_fen")
    paid = {
        (r["hospital_id"], r["month"]): tuple(r[c] for c in columns) for r in tables["payments"]
    }
    assert paid == {
        ("H1", "2025-01"): (50_000, 2_500, 0, 45_000 - 2_500 - 50_000, 0),
        ("H1", "2025-02"): (100_000, 5_000, -7_500, 90_000 - 5_000 - 7_500, 77_500),
        ("H2", "2025-01"): (50_000, 2_500, 0, 42_500, 42_500),
    }
    names = (
        "pay_fen",
        "deduction_fen",
        "surplus_fen",
        "overspend_fen",
        "payable_fen",
        "to_pay_fen",
    )
    final = {r["hospital_id"]: tuple(r[c] for c in names) for r in tables["hospitals"]}
    # H1: 8,500 due, 8,000 booked, half of 500 kept. H2: 3,000 due, 3,500 booked, 200 borne.
    assert final == {
        "H1": (900_000, -50_000, -25_000, 0, 825_000, 747_500),
        "H2": (300_000, 0, 0, 20_000, 320_000, 277_500),
    }
    (pool,) = tables["pools"]
    assert (pool["withheld_deduction_fen"], pool["next_year_fen"]) == (50_000, 5_000)
    assert 1_200_000 == 825_000 + 320_000 + 50_000 + 5_000


def test_a_second_distribution_goes_by_what_is_due(tmp_path: Path) -> None:
    """Of the 50 yuan left, 850 : 300 by largest remainder."""
    tables = both(year_by_hand(tmp_path, unretained_to="second"), YEAR_CASES, ledger=[DEDUCTION])
    second = {r["hospital_id"]: r["second_fen"] for r in tables["hospitals"]}
    assert second == {"H1": 3_696, "H2": 1_304}


def test_an_assessment_is_the_last_word_on_a_hospital(tmp_path: Path) -> None:
    """By the day it was entered, whatever the order of the rows."""
    ledger = [
        entry("E2", "assessment", hospital_id="H2", value="1.1", entered_on=date(2025, 12, 2)),
        entry("E9", "assessment", hospital_id="H2", value="0.5", entered_on=date(2025, 12, 1)),
    ]
    tables = both(year_by_hand(tmp_path, assessment="pay"), YEAR_CASES, ledger=ledger)
    found = {r["hospital_id"]: r["assessment_fen"] for r in tables["hospitals"]}
    assert found == {"H1": 0, "H2": 30_000}
    assert tables["pools"][0]["withheld_assessment_fen"] == -30_000


def test_a_prepayment_is_an_advance_and_no_payment_of_a_month(tmp_path: Path) -> None:
    advance = entry(
        "E1", "prepayment", hospital_id="H2", settlement_month="2025-01", amount_fen=100_000
    )
    tables = both(year_by_hand(tmp_path), YEAR_CASES, ledger=[advance])
    (row,) = (r for r in tables["hospitals"] if r["hospital_id"] == "H2")
    assert (row["paid_monthly_fen"], row["prepayment_fen"]) == (42_500, 100_000)
    assert row["to_pay_fen"] == row["payable_fen"] - 142_500


@pytest.mark.parametrize("paid_from", ["fund", "reserve"])
def test_a_decision_enters_the_points_or_is_paid_from_the_reserve(
    paid_from: str, tmp_path: Path
) -> None:
    path = small(
        tmp_path,
        POINT,
        special_cases={"paid_from": paid_from, **MADE_UP},
        year=MADE_UP,
        param={
            "special_share": parameter("ratio", {"value": Decimal("0.5")}),
            "reserve_balance": parameter("yuan", {"value": 5000}),
        },
    )
    ledger = [
        entry("E1", "special_case", case_id="1", outcome="score", value="900", pool_id=None),
        entry(
            "E2",
            "appeal",
            case_id="1",
            outcome="score",
            value="300",
            pool_id=None,
            entered_on=date(2025, 1, 21),
        ),
    ]
    tables = both(path, [case(1), case(2, hospital_id="H2")], ledger=ledger)
    pay = [(r["pay_fen"], r["special_fen"]) for r in tables["hospitals"]]
    month = [r["pay_fen"] for r in tables["payments"]]
    if paid_from == "fund":  # 300 points of 400
        assert (pay, month) == ([(90_000, 0), (30_000, 0)], [7_500, 2_500])
    else:  # 100 of 200, and 200 more at 6 yuan
        assert (pay, month) == ([(60_000, 120_000), (60_000, 0)], [5_000, 5_000])
        assert tables["pools"][0]["drawn_fen"] == 120_000


CHANGES: dict[str, tuple[Rows, Rows, list[tuple[str, str, str, int]]]] = {
    # What changes in January's cases, what is decided, and the entries: 5 yuan a point.
    "late": ([case(4, hospital_id="H2", group="B")], [], [("late", "4", "H2", 100_000)]),
    "gone": (
        [{**YEAR_CASES[1], "refd_setl_flag": True}],
        [],
        [("reversal", "2", "H2", -50_000)],
    ),
    "another group": ([{**YEAR_CASES[0], "group": "B"}], [], [("correction", "1", "H1", 50_000)]),
    "another hospital": (
        [{**YEAR_CASES[0], "hospital_id": "H2"}],
        [],
        [("late", "1", "H2", 50_000), ("reversal", "1", "H1", -50_000)],
    ),
    "another month": (
        [{**YEAR_CASES[0], "settlement_date": date(2025, 2, 2)}],
        [],
        [("reversal", "1", "H1", -50_000)],
    ),
    "a score": (
        [],
        [entry("E1", "appeal", case_id="1", outcome="score", value="60", pool_id=None)],
        [("correction", "1", "H1", -20_000)],
    ),
    "as booked": (
        [],
        [entry("E1", "appeal", case_id="1", outcome="booked", pool_id=None)],
        [("correction", "1", "H1", 350_000)],
    ),
    "nothing": ([], [], []),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_changes_after_a_published_month(change: str, tmp_path: Path) -> None:
    """January is 1,000 yuan for 200 points: 5 yuan a point."""
    new, ledger, expected = CHANGES[change]
    ledger = [{**e, "entered_on": date(2025, 2, 3)} for e in ledger]
    path = year_by_hand(tmp_path)
    policy = NaivePolicy(path)
    january = settle_year(policy, YEAR_CASES, (), (), (), "2025-01").publish()
    run = publish(by_engine(path, YEAR_CASES, period="2025-01"), tmp_path / "run")
    later = list({c["case_id"]: c for c in [*YEAR_CASES, *new]}.values())
    right = settle_year(policy, later, (), ledger, [january], "2025-02")
    written = [e for e in right.entries if e["kind"] in ("late", "reversal", "correction")]
    assert sorted(values(written, "kind", "case_id", "hospital_id", "amount_fen")) == expected
    found = by_engine(path, later, ledger=ledger, prior=[run], period="2025-02")
    assert differences(found, tables_of(right), ("cases", "months", "payments")) == []


def test_a_year_is_not_cleared_without_its_published_cases(tmp_path: Path) -> None:
    path = year_by_hand(tmp_path)
    january = settle_year(NaivePolicy(path), YEAR_CASES, (), (), (), "2025-01").publish()
    run = publish(by_engine(path, YEAR_CASES, period="2025-01"), tmp_path / "run")
    with pytest.raises(Refused, match="case 1"):
        settle_year(NaivePolicy(path), YEAR_CASES[1:], (), (), [january])
    with pytest.raises(GrouperError, match="1"):
        by_engine(path, YEAR_CASES[1:], prior=[run])


def test_a_case_goes_whatever_was_decided_on_it(tmp_path: Path) -> None:
    """60 of 160 points of January's 1,000 yuan."""
    path = year_by_hand(tmp_path)
    score = entry("E1", "appeal", case_id="2", outcome="score", value="60", pool_id=None)
    policy = NaivePolicy(path)
    january = settle_year(policy, YEAR_CASES, (), [score], (), "2025-01").publish()
    found = by_engine(path, YEAR_CASES, ledger=[score], period="2025-01")
    run = publish(found, tmp_path / "run")
    later = [YEAR_CASES[0], {**YEAR_CASES[1], "refd_setl_flag": True}, YEAR_CASES[2]]
    right = settle_year(policy, later, (), [score], [january], "2025-02")
    assert ("reversal", -37_500) in values(right.entries, "kind", "amount_fen")
    found = by_engine(path, later, ledger=[score], prior=[run], period="2025-02")
    assert differences(found, tables_of(right), ("cases", "months", "payments")) == []


def test_an_appeal_against_a_rejection_is_a_correction(tmp_path: Path) -> None:
    """Rejected, the case was owed nothing in its month; then it is paid as booked."""
    path = year_by_hand(tmp_path)
    cases = [*YEAR_CASES, case(9, hospital_id="H2", status="rejected", group=None)]
    policy = NaivePolicy(path)
    january = settle_year(policy, cases, (), (), (), "2025-01").publish()
    run = publish(by_engine(path, cases, period="2025-01"), tmp_path / "run")
    day = date(2025, 2, 3)
    appeal = entry("E1", "appeal", case_id="9", outcome="booked", pool_id=None, entered_on=day)
    right = settle_year(policy, cases, (), [appeal], [january], "2025-02")
    assert ("correction", 70_000) in values(right.entries, "kind", "amount_fen")
    found = by_engine(path, cases, ledger=[appeal], prior=[run], period="2025-02")
    assert differences(found, tables_of(right), ("cases", "months", "payments")) == []


def test_what_was_paid_for_a_reversed_carve_out_comes_back(tmp_path: Path) -> None:
    """Its line is left with nothing but what was paid in January, less a deposit."""
    path = year_by_hand(tmp_path, carve_out={"share": 1, **MADE_UP})
    cases = [YEAR_CASES[0], {**YEAR_CASES[1], "carve_out_fen": 1_000}, YEAR_CASES[2]]
    policy = NaivePolicy(path)
    january = settle_year(policy, cases, (), (), (), "2025-01").publish()
    run = publish(by_engine(path, cases, period="2025-01"), tmp_path / "run")
    later = [cases[0], {**cases[1], "refd_setl_flag": True}, cases[2]]
    right = settle_year(policy, later, (), (), [january])
    lines = {(r["hospital_id"], r["line"]): r["to_pay_fen"] for r in right.hospitals}
    assert lines["H2", "carve_out"] == -850
    assert differences(by_engine(path, later, prior=[run]), tables_of(right)) == []


# ---------------------------------------------------------------------------- one rule each


RATE = {"kind": "rate", "fund_form": "fund_points"}
BASE_RATE = parameter("yuan per 1.0000 RW", {"value": 1000})


def test_a_value_may_be_narrowed_to_a_month(tmp_path: Path) -> None:
    rate = parameter("yuan", {"value": 1000}, {"value": 1100, "month": "2025-02"})
    path = small(tmp_path, RATE, param={"base_rate": rate})
    found = both(path, [case(1), case(2, settlement_date=date(2025, 2, 1))])["cases"]
    assert values(found, "pay_fen") == [100_000, 110_000]


@pytest.mark.parametrize("fund", ["points", "off_top"])
def test_an_elastic_rate_scales_no_price(fund: str, tmp_path: Path) -> None:
    """A bed-day is its price; what is paid as booked has no weight in the volume."""
    path = small(
        tmp_path,
        {**RATE, "rate": "elastic"},
        family=[{**BED, "fund": fund}],
        param={
            "base_rate": BASE_RATE,
            "base_volume": parameter("ratio", {"value": 1}),
            "per_day": parameter("yuan", {"value": 20}),
        },
    )
    cases = [case(1, med_type="52", los=3), case(2), case(3), case(4)]
    booked = {"entered_on": date(2025, 1, 20), "pool_id": None}
    ledger = [entry("E1", "appeal", case_id="4", outcome="booked", **booked)]
    found = both(path, cases, ledger=ledger)["cases"]
    assert values(found, "pay_fen") == [6_000, 50_000, 50_000, 70_000]


def test_cmi_counts_cases_that_a_weight_row_pays(tmp_path: Path) -> None:
    """H1 has 2 to a mean of 4 / 3: ten steps of 5 %; its bed-day is not paid by a weight."""
    step = {"indicator": "cmi", "step": 5, "each": Decimal("0.01"), "caps": {'"三级"': 1}}
    path = small(
        tmp_path,
        {**RATE},
        coefficient={"kind": "steps", "step": [step], **MADE_UP},
        family=[{**BED, "fund": "off_top"}],
        param={
            "base_rate": BASE_RATE,
            "coefficient": parameter("ratio", {"value": 1}),
            "per_day": parameter("yuan", {"value": 20}),
        },
    )
    others = [case(k, hospital_id="H2") for k in (3, 4)]
    cases = [case(1, group="B"), case(2, med_type="52", los=1), *others]
    found = both(path, cases)["cases"]
    assert values(found, "pay_fen") == [220_000, 2_000, 100_000, 100_000]


def test_no_group_is_not_the_same_group(tmp_path: Path) -> None:
    path = small(
        tmp_path,
        RATE,
        readmission=[{"days": 9, "factor": Decimal("0.5"), **MADE_UP}],
        status_pay={
            s: {"rule": "cost", "value": 1, **MADE_UP}
            for s in ("ambiguous", "ungrouped", "rejected", "not_covered")
        },
        param={"base_rate": BASE_RATE},
    )
    blank = {"status": "ungrouped", "group": None, "patient_id": "P"}
    days = [
        {"admission_date": date(2025, 1, d), "discharge_date": date(2025, 1, d)} for d in (1, 5)
    ]
    found = both(path, [case(k, **blank, **day) for k, day in enumerate(days)])["cases"]
    assert values(found, "pay_fen") == [100_000, 100_000]


def test_a_reversed_case_is_gone(tmp_path: Path) -> None:
    """It keeps its row, and enters no mean; nobody comes back after it."""
    path = small(
        tmp_path,
        RATE,
        coefficient={"kind": "mean_ratio", "per_group": False, **MADE_UP},
        readmission=[{"days": 9, "factor": Decimal("0.5"), **MADE_UP}],
        param={"base_rate": BASE_RATE},
    )

    def stay(key: int, day: int, **more: Any) -> Row:
        dates = {"admission_date": date(2025, 1, day), "discharge_date": date(2025, 1, day)}
        return case(key, patient_id="P", **dates, **more)

    cases = [stay(1, 1, refd_setl_flag=True), stay(2, 5), case(3, hospital_id="H2")]
    found = both(path, cases)["cases"]
    assert sorted(values(found, "case_id", "pay_fen")) == [("1", 0), ("2", 100_000), ("3", 100_000)]


def test_the_quota_of_a_hospital_is_that_of_its_level(tmp_path: Path) -> None:
    share = {"value": Decimal("0.1")}, {"value": Decimal("0.5"), "level": "三级"}
    path = small(
        tmp_path,
        RATE,
        special_cases={"per": "hospital", **MADE_UP},
        param={"base_rate": BASE_RATE, "special_share": parameter("ratio", *share)},
    )
    dear = [case(k, total_cost_fen=100_001 + k) for k in range(4)]
    found = both(path, dear)["candidates"]
    assert values(found, "case_id", "quota", "within_quota") == [
        ("3", 2, True),
        ("2", 2, True),
        ("1", 2, False),
        ("0", 2, False),
    ]


@pytest.mark.parametrize("method", [RATE, POINT], ids=lambda m: str(m["kind"]))
def test_only_the_last_decision_counts(method: Mapping[str, Any], tmp_path: Path) -> None:
    """Paid as booked at last, the case claims nothing."""
    path = small(tmp_path, method, param={"base_rate": BASE_RATE})
    ledger = [
        entry("E1", "appeal", case_id="1", outcome="score", value="77", pool_id=None),
        entry("E2", "appeal", case_id="1", outcome="booked", pool_id=None),
    ]
    tables = both(path, [case(1), case(2)], ledger=ledger)
    first = tables["cases"][0]
    assert (first["special"], first["pay_fen"]) == ("booked", 70_000)
    assert first["final_score"] == (None if method is POINT else 0)


def test_a_decision_from_the_reserve_pays_no_more_than_it_says(tmp_path: Path) -> None:
    """A case that was paid as booked gets the rest of its score, not all of it again."""
    statuses = ("ambiguous", "ungrouped", "rejected", "not_covered")
    path = small(
        tmp_path,
        RATE,
        special_cases={"paid_from": "reserve", **MADE_UP},
        status_pay={s: {"rule": "booked", **MADE_UP} for s in statuses},
        param={
            "base_rate": BASE_RATE,
            "special_share": parameter("ratio", {"value": 1}),
            "reserve_balance": parameter("yuan", {"value": 5000}),
        },
    )
    ledger = [entry("E1", "appeal", case_id="1", outcome="score", value="900", pool_id=None)]
    (row,) = both(path, [case(1, status="ungrouped", group=None)], ledger=ledger)["hospitals"]
    assert (row["pay_fen"], row["special_fen"]) == (70_000, 20_000)


def test_carve_outs_of_a_price_taker_are_paid(tmp_path: Path) -> None:
    away = {"id": "away", "insured_area": ["外地"], "price_of": "a"}
    path = small(tmp_path, POINT, pool=[away, {"id": "a"}], carve_out=MADE_UP)
    cases = [case(1), case(2, insured_area="外地", carve_out_fen=333)]
    tables = both(path, cases)
    assert ("away", "carve_out", 333) in values(tables["hospitals"], "pool_id", "line", "pay_fen")


def test_zero_hospital_lifts_a_hospital_after_its_special_cases(tmp_path: Path) -> None:
    path = small(
        tmp_path,
        {**RATE, "fund_form": "difference", "negative": "zero_hospital"},
        special_cases={"paid_from": "reserve", **MADE_UP},
        param={
            "base_rate": BASE_RATE,
            "special_share": parameter("ratio", {"value": 1}),
            "reserve_balance": parameter("yuan", {"value": 5000}),
        },
    )
    ledger = [entry("E1", "appeal", case_id="1", outcome="score", value="1200", pool_id=None)]
    dear = {"total_cost_fen": 500_000, "fund_paid_fen": 350_000}
    (row,) = both(path, [case(1, **dear)], ledger=ledger)["hospitals"]
    assert (row["pay_fen"], row["special_fen"], row["floor_fen"]) == (-50_000, 20_000, 30_000)


# ---------------------------------------------------------------------------- last year's means


@pytest.mark.parametrize("by", ["", "level"])
def test_means_of_last_year(by: str, tmp_path: Path) -> None:
    """A level without cases last year falls back to the group's mean."""
    two = [{"from": date(y, 1, 1), "to": date(y, 12, 31), "value": 1200} for y in (2024, 2025)]
    path = small(
        tmp_path,
        POINT,
        benchmark={"kind": "prior", "by": by, **MADE_UP},
        coefficient={"kind": "mean_ratio", "means": "prior", "most": Decimal("1.2"), **MADE_UP},
        high=[edge("2", "excess", coefficient=False)],
        param={"fund": parameter("yuan", *two)},
    )

    def cases(year: int) -> Rows:
        levels = ("三级", "三级", "二级") if year == 2024 else ("三级", "二级", "一级")
        costs = (100_000, 200_001, 60_000) if year == 2024 else (300_000, 300_000, 300_000)
        return [
            case(
                f"{year}{k}",
                hospital_id=level,
                hospital_level=level,
                total_cost_fen=cost,
                settlement_date=date(year, 5, 1),
            )
            for k, (level, cost) in enumerate(zip(levels, costs, strict=True))
        ]

    last = cases(2024)
    plain_path = small(tmp_path / "last", POINT, param={"fund": parameter("yuan", *two)})
    run = publish(by_engine(plain_path, last), tmp_path / "run")
    right = NaivePolicy(path).settle(cases(2025), prior=last)
    found = by_engine(path, cases(2025), prior=[run])
    assert differences(found, right.tables) == []
    rows = right.tables["cases"]
    means = [150_001, 60_000, 120_000] if by else [120_000] * 3
    assert values(rows, "benchmark_fen") == means
    # 1500.005 and 600 yuan by 1200.003: 1.25 is at most 1.2; a hospital without cases has 1
    assert values(rows, "hospital_factor") == [Fraction(6, 5), Fraction(1, 2), 1]
