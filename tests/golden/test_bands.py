"""What each example policy claims at every edge of its bands, against numbers worked out by hand.

`bands/bands.csv` has a fen below, at and a fen above each edge; `bands/xiamen.csv` hospitals and the
coefficients that they come to. A tiny policy inherits the shipped one and gives it groups of round
scores and means, and a hospital coefficient.
"""

from __future__ import annotations

import csv
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from grouper import load_policy, policy_ids, settle

pytestmark = pytest.mark.promise(
    "Published forms of outlier pay give the amounts worked out by hand"
)

HERE = Path(__file__).parent / "bands"
DAY = date(2025, 3, 1)
BASES = {"example-dip", "example-drg-point", "example-point", "example-rate"}
EXAMPLES = [p for p in policy_ids() if p.startswith("example-") and p not in BASES]

Row = dict[str, Any]
Groups = dict[str, tuple[str, str]]
"""Group -> weight and mean cost in yuan."""


def rows(name: str) -> list[dict[str, str]]:
    with (HERE / name).open(encoding="utf-8", newline="") as f:
        return list(csv.DictReader(f))


BANDS = rows("bands.csv")


def of_policy(name: str) -> list[dict[str, str]]:
    return [r for r in BANDS if name in r["policies"].split("|")]


def fen(yuan: str) -> int:
    amount = Fraction(yuan or "0") * 100
    assert amount.denominator == 1
    return int(amount)


def tiny(folder: Path, parent: str, groups: Groups, h: str = "") -> Path:
    """Write a policy that inherits `parent`, with its own groups and coefficient."""
    table = "".join(f"{g},{weight},{mean}\n" for g, (weight, mean) in groups.items())
    (folder / "weights.csv").write_text(f"group,weight,mean_cost\n{table}", "utf-8")
    text = f"""
id = "tiny"
title = "a tiny policy of round numbers"
standing = "invented"
source = "invented"
inherits = "{parent}"
[[weights]]
file = "weights.csv"
from = 2020-01-01
source = "invented"
"""
    if h:
        text += f"""
[param.coefficient]
name_zh = "系数"
unit = "ratio"
values = [{{ from = 2020-01-01, value = {h}, source = "invented" }}]
"""
    (folder / "policy.toml").write_text(text, "utf-8")
    return folder / "policy.toml"


COLUMNS = {
    **dict.fromkeys(("case_id", "status", "group", "hospital_id", "patient_id"), pa.string()),
    **dict.fromkeys(("hospital_level", "hospital_class", "insurance"), pa.string()),
    **dict.fromkeys(("settlement_date", "admission_date", "discharge_date"), pa.date32()),
    **dict.fromkeys(("total_cost_fen", "fund_paid_fen", "unreasonable_fen", "tcm_fen"), pa.int64()),
    "age": pa.int32(),
}


def case(key: object, group: str, yuan: str, **fields: Any) -> Row:
    return {
        "case_id": str(key),
        "status": "grouped",
        "group": group,
        "hospital_id": "H",
        "hospital_level": "三级",
        "hospital_class": "",
        "insurance": "310",
        "settlement_date": DAY,
        "total_cost_fen": fen(yuan),
        "fund_paid_fen": fen(yuan) * 7 // 10,
        "unreasonable_fen": 0,
        "tcm_fen": 0,
        "age": 40,
        **fields,
    }


def claims(path: Path, cases: list[Row]) -> dict[str, Row]:
    table = pa.Table.from_pylist(cases, pa.schema(COLUMNS))
    return {r["case_id"]: r for r in settle(table, path).cases().to_pylist()}


# ------------------------------------------------------------------------------------------- bands


def banded(golden: dict[str, str], key: int) -> Row:
    status = "grouped" if golden["status"] == "not_covered" else golden["status"]
    group = f"G{golden['score']}" if golden["score"] else "none"
    given = {"status": status, "unreasonable_fen": fen(golden["unreasonable"])}
    if golden["day"]:
        given["settlement_date"] = date.fromisoformat(golden["day"])
    return case(key, group, golden["cost"], **given)


@pytest.mark.parametrize("name", ["example-dip", *EXAMPLES])
def test_claims_at_the_edges_of_the_bands(name: str, tmp_path: Path) -> None:
    golden = of_policy(name)
    (h,) = {r["h"] for r in golden}
    points = load_policy(name).settings.method.points_per_weight
    groups = {
        f"G{r['score']}": (f"{Decimal(r['score']) / points:f}", r["mean"])
        for r in golden
        if r["score"]
    }
    path = tiny(tmp_path, name, groups, h)
    found = claims(path, [banded(r, k) for k, r in enumerate(golden)])
    for k, r in enumerate(golden):
        paid = found[str(k)]
        answer = (paid["band"] or "", paid["review"], paid["final_score"])
        assert answer == (r["band"], r["review"] == "1", Decimal(r["claim"])), r


def test_every_example_has_numbers_on_both_sides_of_each_edge() -> None:
    assert len(EXAMPLES) == 13
    for name in EXAMPLES:
        golden = of_policy(name)
        assert golden, name
        s = load_policy(name).settings
        for e in (*s.low, *s.high, *s.extreme):
            at = Decimal(e.edge) * 10_000
            costs = {Decimal(r["cost"]) - Decimal(r["unreasonable"] or "0") for r in golden}
            assert {at - Decimal("0.01"), at, at + Decimal("0.01")} <= costs, (name, e.edge)


def test_the_hubei_examples_have_one_set_of_bands() -> None:
    cities = ("yichang", "jingzhou", "xiaogan", "xiangyang", "jingmen", "xianning")
    found = [load_policy(f"example-{c}").settings for c in cities]
    assert all((s.low, s.high, s.extreme) == (found[0].low, found[0].high, []) for s in found)


def test_the_mean_of_jingzhou_is_its_cost_by_its_cases() -> None:
    exact = Decimal("5364931772.57") / Decimal(674_366)
    mean = load_policy("example-jingzhou").value("overall_mean", DAY)
    assert str(mean.value) == "7955.52" == str(exact.quantize(Decimal("0.01"), ROUND_HALF_UP))


@pytest.mark.parametrize("name", EXAMPLES)
def test_no_example_passes_for_the_rule_of_its_region(name: str) -> None:
    s = load_policy(name).settings
    assert s.standing == "example"
    assert s.title.startswith("Example: ")
    own_text = name in ("example-xiamen", "example-dip-1.0-text", "example-dip-3.0-draft")
    assert ("not the city's own text" in s.source) == (not own_text)


# ------------------------------------------------------------------------------------------ Weihai


WEIHAI = {"G2000": ("2", "10000"), "G1000": ("1", "10000")}


def test_weihai_puts_the_coefficient_into_the_base_part_only(tmp_path: Path) -> None:
    """Hospital A: 35000 ÷ 2 over (35000 + 2500) ÷ 3 = 1.4; B: 2500 over 12500 = 0.2, at least 0.4."""
    cases = [
        case("worked", "G2000", "25000", hospital_id="A", unreasonable_fen=100_000),
        case("normal", "G2000", "10000", hospital_id="A"),
        case("low", "G2000", "2500", hospital_id="B"),
    ]
    found = claims(tiny(tmp_path, "example-weihai", WEIHAI), cases)
    assert [found[k]["hospital_factor"] for k in found] == [
        Decimal(x) for x in ("1.4", "1.4", "0.4")
    ]
    assert found["worked"]["final_score"] == 2000 * Decimal("1.4") + 800 == 3600
    assert found["normal"]["final_score"] == 2800
    assert found["low"]["final_score"] == 500  # 2000 x 0.25, no coefficient


def test_weihai_keeps_the_coefficient_between_0_4_and_1_5(tmp_path: Path) -> None:
    """One case of 30000 at A and three of 10000 at B: 15000 the mean, A 2 and B 0.6667."""
    cases = [case("a", "G2000", "30000", hospital_id="A")]
    cases += [case(f"b{k}", "G2000", "10000", hospital_id="B") for k in range(3)]
    cases += [case("other", "G1000", "10000", hospital_id="A")]  # another group counts for itself
    found = claims(tiny(tmp_path, "example-weihai", WEIHAI), cases)
    factors = {k: found[k]["hospital_factor"] for k in ("a", "b0", "other")}
    assert factors == {"a": Decimal("1.5"), "b0": Decimal("0.6667"), "other": 1}
    assert found["a"]["final_score"] == 5000  # 2000 x 1.5 + (3 - 2) x 2000
    assert found["b0"]["final_score"] == Decimal("1333.4")


def test_weihai_pays_half_for_the_same_group_elsewhere_within_nine_days(tmp_path: Path) -> None:
    def stay(
        key: str, patient: str, admitted: int, hospital: str = "A", group: str = "G2000"
    ) -> Row:
        day = DAY + timedelta(days=admitted)
        dates = {"admission_date": day, "discharge_date": day}
        return case(key, group, "10000", patient_id=patient, hospital_id=hospital, **dates)

    cases = [stay(f"first-{p}", p, 0) for p in ("nine", "ten", "same", "other")]
    cases += [
        stay("nine", "nine", 9, "B"),
        stay("ten", "ten", 10, "B"),
        stay("same", "same", 9, "A"),
        stay("other", "other", 9, "B", "G1000"),
    ]
    found = claims(tiny(tmp_path, "example-weihai", WEIHAI), cases)
    scores = {k: found[k]["final_score"] for k in ("first-nine", "nine", "ten", "same", "other")}
    assert scores == {"first-nine": 2000, "nine": 1000, "ten": 2000, "same": 2000, "other": 1000}
    assert found["nine"]["special_factor"] == Decimal("0.5")
    assert found["other"]["special_factor"] == 1


def test_weihai_has_five_shares_of_special_cases() -> None:
    policy = load_policy("example-weihai")
    shares = [
        policy.at("special_share", DAY, **{"class": c}) for c in ("A", "B", "C", "D", "E", "")
    ]
    assert shares == [Fraction(x, 1000) for x in (20, 17, 10, 5, 3, 3)]


# ------------------------------------------------------------------------------------------ Xiamen


@pytest.mark.parametrize("scenario", ["steps", "caps", "obstetric"])
def test_xiamen_adds_whole_steps_above_the_mean_of_the_level(scenario: str, tmp_path: Path) -> None:
    """Ten cases of 10,000 yuan a hospital; children are 6, the elderly 70, all others 7 or 69."""
    golden = [r for r in rows("xiamen.csv") if r["scenario"] == scenario]
    cases = []
    for r in golden:
        others = 10 - int(r["children"]) - int(r["elderly"])
        ages = [6] * int(r["children"]) + [70] * int(r["elderly"]) + [7, 69] * others
        for k, age in enumerate(ages[:10]):
            where = {"hospital_level": r["level"], "hospital_class": r["class"]}
            cases.append(
                case(
                    f"{r['hospital']}{k}",
                    f"G{r['score']}",
                    "10000",
                    hospital_id=r["hospital"],
                    age=age,
                    tcm_fen=int(Fraction(r["tcm"]) * 1_000_000),
                    **where,
                )
            )
    groups = {f"G{r['score']}": (r["score"], "10000") for r in golden}
    found = claims(tiny(tmp_path, "example-xiamen", groups), cases)
    for r in golden:
        h = Decimal(r["coefficient"])
        for k in range(10):
            paid = found[f"{r['hospital']}{k}"]
            assert (paid["hospital_factor"], paid["final_score"]) == (h, h * Decimal(r["score"])), r
