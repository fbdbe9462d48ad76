"""Notices that give weights and coefficients, but no prices: Lanzhou, Nanping, Yinchuan; and traps.

Every row is compared with the golden copy of the notice, and the copy with the notice itself where
the reference data is there. Placeholders and groups without a weight are never taken for a price.
"""

from __future__ import annotations

import csv
from collections import Counter
from datetime import date
from decimal import Decimal
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from shared import ROOT, SHIPPED, shared

from grouper import load_policy, settle, standard
from grouper.tables import check

GOLDEN = ROOT / "tests" / "golden" / "weights"
DAY = date(2023, 6, 30)
policy = cache(load_policy)

LANZHOU = {"省三甲": "1.1476", "三甲": "1.003", "三级": "0.8308", "二级": "0.7487"}
YINCHUAN = ("三甲", "三乙", "二级", "一级及基层")

Row = dict[str, Any]


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as f:
        return list(csv.DictReader(f))


def golden(name: str) -> list[dict[str, str]]:
    return rows(GOLDEN / f"{name}.csv")


def weights(name: str) -> list[dict[str, str]]:
    return rows(SHIPPED / name / "weights.csv")


def paid(name: str, cases: list[Row], day: date = DAY) -> dict[str, Row]:
    """Settle cases of 9,000 yuan, of which 5,000 are booked."""
    filled = {
        "status": "grouped",
        "hospital_id": "H",
        "insurance": "310",
        "settlement_date": day,
        "total_cost_fen": 900_000,
        "fund_paid_fen": 500_000,
        "pay_note": None,
    }
    table = pa.Table.from_pylist([{**filled, **c} for c in cases])
    return {r["case_id"]: r for r in settle(table, name).cases().to_pylist()}


# ----------------------------------------------------------------------------- every row as printed

NOTICES = {
    "lanzhou-2023": {"group": "DRG编码", "weight": "RW", "type": "病组类型"},
    "nanping-2023": {"group": "DRG组编码", "weight": "权重", "type": "病组类型"},
    "yinchuan-2023": {
        "group": "DRG编码",
        "score": "标准分值",
        **{level: f"等级系数（{level}）" for level in YINCHUAN},
    },
}


@pytest.mark.parametrize(("name", "n"), list(zip(NOTICES, (794, 795, 639), strict=True)))
def test_the_golden_rows_are_those_of_the_notice(name: str, n: int) -> None:
    notice = rows(shared(f"facts/payment/{name.replace('-', '_')}.csv"))
    columns = NOTICES[name].items()
    assert golden(name) == [{c: r[printed] for c, printed in columns} for r in notice]
    assert len(notice) == n


@pytest.mark.parametrize("name", ["lanzhou-2023", "nanping-2023"])
def test_weights_and_types_are_those_of_the_notice(name: str) -> None:
    shipped = weights(name)
    assert [{c: r[c] for c in ("group", "weight", "type")} for r in shipped] == golden(name)
    loaded = policy(name).weights_on(DAY)
    for r in shipped:
        printed = Fraction(r["weight"]) if r["weight"] else None
        assert loaded[r["group"]].weight == printed
    assert len(loaded) == len(shipped)


# ----------------------------------------------------------------------------------------- Lanzhou


def test_the_rate_and_coefficients_of_lanzhou_are_those_of_every_row_of_the_notice() -> None:
    for r in rows(shared("facts/payment/lanzhou_2023.csv")):
        assert r["基础费率（职工）"] == "9986.9352"
        printed = {level: r[f"等级系数（{level}）"].strip() for level in LANZHOU}
        assert printed == LANZHOU


@pytest.mark.parametrize("level", LANZHOU)
def test_a_standard_of_lanzhou_is_weight_by_rate_by_coefficient(level: str) -> None:
    found = 0
    for r in golden("lanzhou-2023"):
        price = standard(policy("lanzhou-2023"), r["group"], level=level, insurance="310", on=DAY)
        if r["type"] in ("不稳定病组", "未覆盖组"):
            assert price is None
            continue
        assert price is not None
        yuan = Decimal(r["weight"]) * Decimal("9986.9352") * Decimal(LANZHOU[level])
        assert price.exact == Fraction(yuan)
        found += 1
    assert found == 555 + 35


def test_a_standard_of_lanzhou_by_hand() -> None:
    """BR25: 0.7739 x 9986.9352 x 1.1476 = 8869.6731… yuan; a basic group like any other."""
    price = standard(policy("lanzhou-2023"), "BR25", level="省三甲", insurance="310", on=DAY)
    assert price is not None
    assert price.rounded(2) == "8869.67"


def test_the_placeholders_and_blanks_of_lanzhou_are_paid_by_rule_never_by_one() -> None:
    shipped = weights("lanzhou-2023")
    kinds = Counter((r["type"], r["weight"] or "blank") for r in shipped)
    assert kinds["不稳定病组", "1"] == 182
    assert kinds["未覆盖组", "blank"] == 22
    assert [r["group"] for r in shipped if r["weight"] == "1" and not r["kind"]] == ["IJ15"]
    assert [r["kind"] == "unstable" for r in shipped] == [
        r["type"] == "不稳定病组" for r in shipped
    ]
    assert sum(r["basic"] == "1" for r in shipped) == 35
    found = paid(
        "lanzhou-2023",
        [{"case_id": r["group"], "group": r["group"], "hospital_level": "三甲"} for r in shipped],
    )
    for r in shipped:
        row = found[r["group"]]
        rule = {"不稳定病组": "status:unstable", "未覆盖组": "status:not_covered"}.get(r["type"])
        assert row["pay_as"] == (rule or r["group"])
        if rule:
            assert (row["standard_fen"], row["pay_fen"]) == (500_000, 500_000)
    # 1 x 9986.9352 x 1.003 = 10016.90 yuan, less the 4,000 that the patient paid
    assert (found["IJ15"]["standard_fen"], found["IJ15"]["pay_fen"]) == (1_001_690, 601_690)


# ----------------------------------------------------------------------------------------- Nanping


def test_the_placeholders_of_nanping_are_18_of_107_unstable_groups() -> None:
    shipped = weights("nanping-2023")
    unstable = [r for r in shipped if r["type"] == "不稳定病组"]
    placeholders = [r["group"] for r in unstable if r["weight"] == "1"]
    assert (len(unstable), len(placeholders)) == (107, 18)
    assert [r["group"] for r in shipped if r["kind"]] == placeholders
    assert all(r["weight"] != "1" for r in shipped if r["group"] not in placeholders)
    found = paid(
        "nanping-2023",
        [{"case_id": r["group"], "group": r["group"], "hospital_level": "三级"} for r in unstable],
    )
    for r in unstable:
        row = found[r["group"]]
        if r["group"] in placeholders:
            assert (row["pay_as"], row["final_score"]) == ("status:unstable", None)
            assert row["pay_fen"] == 500_000
        else:
            score = Decimal(r["weight"]) * 100
            assert (row["pay_as"], row["final_score"]) == (r["group"], score)


def test_ambiguous_cases_of_nanping_are_paid_by_the_row_of_their_xqy_group() -> None:
    groups = [r["group"] for r in weights("nanping-2023") if r["group"][1:] == "QY"]
    assert len(groups) == 25
    cases = [{"case_id": g, "group": g, "hospital_level": "三级"} for g in ("BQY", "ZQY", "AQY")]
    found = paid("nanping-2023", [{**c, "status": "ambiguous"} for c in cases])
    assert found["BQY"]["final_score"] == Decimal("149.1305")
    assert found["ZQY"]["final_score"] == Decimal("738.6866")
    assert found["AQY"]["pay_as"] == "status:not_covered"  # the notice has no such row


# ---------------------------------------------------------------------------------------- Yinchuan


def test_every_coefficient_of_yinchuan_is_kept_to_its_fifth_decimal() -> None:
    """Each of 639 groups at each of four levels: score = standard score x coefficient."""
    expected = {
        f"{r['group']} {level}": (Decimal(r["score"]), Decimal(r[level]))
        for r in golden("yinchuan-2023")
        for level in YINCHUAN
    }
    assert len(expected) == 639 * 4
    assert {len(str(h).partition(".")[2]) for _, h in expected.values()} == {5}
    found = paid(
        "yinchuan-2023",
        [
            {"case_id": key, "group": key.split()[0], "hospital_level": key.split()[1]}
            for key in expected
        ],
    )
    for key, (score, h) in expected.items():
        row = found[key]
        assert (row["weight_or_score"], row["hospital_factor"]) == (score, h), key
        assert row["final_score"] == (score * h).quantize(Decimal("0.0001"), "ROUND_HALF_UP"), key


def test_the_scores_of_yinchuan_are_those_of_the_notice() -> None:
    scores = [{"group": r["group"], "weight": r["score"]} for r in golden("yinchuan-2023")]
    assert weights("yinchuan-2023") == scores


def test_a_coefficient_of_yinchuan_that_is_printed_most_often_stands_once() -> None:
    table = rows(SHIPPED / "yinchuan-2023" / "coefficients.csv")
    usual = {r["level"]: r["coefficient"] for r in table if not r["group"]}
    assert list(usual) == list(YINCHUAN)
    assert usual == dict(zip(YINCHUAN, ("1.00000", "0.90752", "0.77006", "0.58277"), strict=True))
    own = [(r["group"], r["level"]) for r in table if r["group"]]
    differ = [
        (r["group"], level)
        for r in golden("yinchuan-2023")
        for level in YINCHUAN
        if r[level] != usual[level]
    ]
    assert own == differ


# ---------------------------------------------------------------------- traps of the other notices


def test_the_placeholders_of_wuxi_are_reported() -> None:
    ones = [r["group"] for r in weights("wuxi-2022") if r["weight"] == "1"]
    assert len(ones) == 11
    assert [(f.code, f.message.split()[0]) for f in check("wuxi-2022")] == [("L202", "11")]
    assert any(
        "11 groups with weight 1 are placeholders" in n for n in policy("wuxi-2022").settings.notes
    )


def test_rows_of_ungrouped_cases_are_kept_and_restored() -> None:
    """Linyi prints 0000; Wuxi's is printed 0 in the notice. Both weigh 0.2."""
    for name in ("linyi-2022", "wuxi-2022"):
        assert policy(name).weights_on(DAY)["0000"].weight == Fraction(1, 5)
        assert "0" not in policy(name).weights_on(DAY)
    level = {"hospital_level": "三级", "status": "ungrouped", "group": None}
    found = paid("wuxi-2022", [{"case_id": "1", **level}], date(2022, 6, 30))
    assert (found["1"]["pay_as"], found["1"]["standard_fen"]) == ("0000", 261_200)  # 0.2 x 13060


@pytest.mark.parametrize(
    ("insurance", "plain", "noted"), [("310", 583_990, 291_995), ("390", 539_000, 269_500)]
)
def test_a_note_of_wuhan_halves_what_settlement_pays(
    insurance: str, plain: int, noted: int
) -> None:
    """The first note with 50 %: OB19, 0.55 x 10618 and x 9800 yuan, whole and half."""
    note = next(r for r in rows(SHIPPED / "wuhan-2022" / "pay_as.csv") if r["share"] == "0.5")
    case = {"group": note["group"], "hospital_level": "二级", "insurance": insurance}
    cases = [{"case_id": "plain", **case}, {"case_id": "noted", "pay_note": note["id"], **case}]
    found = paid("wuhan-2022", cases, date(2022, 6, 30))
    assert (found["plain"]["standard_fen"], found["noted"]["standard_fen"]) == (plain, noted)
