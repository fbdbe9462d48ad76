"""Hospital coefficients and last year's means: worked by hand, and against plain fractions."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle.draw_policy import parameter, write_policy

from grouper._benchmarks import exact_sums, find_means
from grouper._coefficients import COLUMNS, CoefficientRows, Coefficients, find_coefficients
from grouper._ledger_rows import Texts
from grouper._pricing import Where
from grouper.errors import CaseSchemaError, PolicyError, SettlementError
from grouper.tables._policy import Policy, WeightRow, load_policy

Case = dict[str, Any]

DAY, YEAR = date(2025, 3, 1), date(2020, 1, 1)
GROUPS = ("G1", "G2", "G3", "B1")
BASIC = "B1"
MATERNITY = "妇幼"

XIAMEN: dict[str, Any] = {
    "kind": "steps",
    "source": "worked",
    "step": [
        {
            "indicator": "cmi",
            "step": 5,
            "each": Decimal("0.01"),
            "caps": {"三级": Decimal("0.13"), "二级": Decimal("0.06")},
        },
        {
            "indicator": "age_share",
            "name_zh": "儿童",
            "age_to": 6,
            "step": 10,
            "each": Decimal("0.01"),
            "caps": {"三级": Decimal("0.06"), "二级": Decimal("0.03")},
        },
        {
            "indicator": "age_share",
            "name_zh": "老年",
            "age_from": 70,
            "step": 20,
            "each": Decimal("0.01"),
            "first": Decimal("0.01"),
            "caps": {"三级": Decimal("0.03"), "二级": Decimal("0.01")},
        },
        {
            "indicator": "fee_share",
            "name_zh": "中医",
            "fee": "tcm_fen",
            "step": 3,
            "each": Decimal("0.01"),
            "caps": {"三级": Decimal("0.05"), "二级": Decimal("0.03")},
        },
    ],
}
BASES = parameter(
    "ratio",
    {"level": "三级", "value": Decimal("0.93")},
    {"level": "二级", "value": Decimal("0.72")},
    {"level": "二级", "class": MATERNITY, "value": Decimal("0.70")},
    {"level": "一级", "value": Decimal("0.55")},
)
WEIHAI = {
    "kind": "mean_ratio",
    "least": Decimal("0.4"),
    "most": Decimal("1.5"),
    "source": "worked",
}


# ---------------------------------------------------------------------------- building


def make_policy(
    folder: Path,
    coefficient: Mapping[str, Any] | None = None,
    param: Mapping[str, Any] | None = None,
    files: Mapping[str, str] | None = None,
    **sections: Any,
) -> Policy:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (files or {}).items():
        (folder / name).write_text(text, encoding="utf-8")
    rule = {"rule": "zero", "source": "worked"}
    method = {"kind": "point", "fund_form": "fund_points", "source": "worked"}
    fund = {"value": 1, "from": YEAR, "to": date(2029, 12, 31)}
    policy = {
        "id": "worked",
        "title": "worked",
        "standing": "invented",
        "source": "worked",
        "method": method,
        "funds": {"source": "worked"},
        "pool": [{"id": "all"}],
        "weights": [{"file": "w.csv", "from": YEAR, "source": "worked"}],
        "coefficient": coefficient,
        "status_pay": dict.fromkeys(("ambiguous", "ungrouped", "rejected", "not_covered"), rule),
        "param": {"fund": parameter("yuan", fund), **(param or {})},
        **sections,
    }
    weights = {g: {"weight": "1", "basic": "1" if g == BASIC else ""} for g in GROUPS}
    return load_policy(write_policy(folder, quoted(policy), {"w.csv": weights}))


def quoted(value: Any) -> Any:
    """Quote keys that TOML does not take bare."""
    if isinstance(value, list):
        return [quoted(x) for x in value]
    if isinstance(value, Mapping):
        return {k if k.isascii() else f'"{k}"': quoted(x) for k, x in value.items()}
    return value


@pytest.fixture(scope="module")
def xiamen(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    return make_policy(tmp_path_factory.mktemp("xiamen"), XIAMEN, {"coefficient": BASES})


def a_case(hospital: str, level: str = "三级", **more: Any) -> Case:
    plain = {"class_": "", "group": "G1", "day": DAY, "cost": 100_000, "grouped": True}
    return plain | {"hospital": hospital, "level": level, "weight": 1, "age": 40, "tcm": 0} | more


def rows_of(cases: Sequence[Case], scale: int = 4) -> CoefficientRows:
    def text(name: str) -> Texts:
        found: dict[str, int] = {}
        index = [found.setdefault(c[name], len(found)) for c in cases]
        return Texts(np.array(index, np.int32), list(found))

    def whole(name: str, kind: Any) -> Any:
        return np.array([-1 if c[name] is None else int(c[name]) for c in cases], kind)

    weights = [None if c["weight"] is None else Fraction(c["weight"]) * 10**scale for c in cases]
    assert all(w is None or w.denominator == 1 for w in weights)
    return CoefficientRows(
        day=np.array([(c["day"] - date(1970, 1, 1)).days for c in cases], np.int32),
        hospital=text("hospital"),
        level=text("level"),
        class_=text("class_"),
        group=text("group"),
        cost=whole("cost", np.int64),
        grouped=np.array([c["grouped"] for c in cases], np.bool_),
        weight_num=np.array([-1 if w is None else int(w) for w in weights], np.int64),
        weight_scale=scale,
        age=whole("age", np.int32),
        fees={"tcm_fen": whole("tcm", np.int64)},
    )


def where(hospital: str, level: str = "三级", class_: str = "", **more: Any) -> Where:
    at: dict[str, Any] = {"day": DAY, "insurance": "310", "pool": "all"} | more
    return Where(hospital=hospital, level=level, class_=class_, **at)


def row(group: str = "G1") -> WeightRow:
    return WeightRow(group, Fraction(1), None, group == BASIC, False, 2)


def of(cases: Sequence[Case], policy: Policy, prior: Any = None) -> Coefficients:
    return find_coefficients(policy, rows_of(cases), prior)


def prior_table(cases: Sequence[Case]) -> Any:
    """Lay out cases as last year's result table, its texts as dictionaries."""
    columns = {
        "group": [c["group"] for c in cases],
        "status": ["grouped" if c["grouped"] else "rejected" for c in cases],
        "hospital_id": [c["hospital"] for c in cases],
        "hospital_level": [c["level"] for c in cases],
        "hospital_class": [c["class_"] or None for c in cases],
    }
    texts = {n: pa.array(x, pa.string()).dictionary_encode() for n, x in columns.items()}
    return pa.table(texts | {"total_cost_fen": pa.array([c["cost"] for c in cases], pa.int64())})


# ---------------------------------------------------------------------------- steps, by hand


def with_cmi(cmi: str, level: str) -> list[Case]:
    """Make hospital A of this CMI and B of the other half: the mean of their level is 1."""
    rest = str(2 - Decimal(cmi))
    return [a_case("A", level, weight=cmi), a_case("B", level, weight=rest)]


def with_ages(age: int, a: int, level: str) -> list[Case]:
    """Make A with `a` of 1000 cases of an age and B with the rest of 400: the mean is 0.2."""
    return [
        a_case(h, level, age=age if k < n else 40)
        for h, n in (("A", a), ("B", 400 - a))
        for k in range(1000)
    ]


def with_tcm(a: int, level: str) -> list[Case]:
    """Make A with a TCM share of a/100,000 and B such that the share of both is 0.2."""
    return [a_case("A", level, tcm=a), a_case("B", level, tcm=40_000 - a)]


STEPS: dict[str, list[tuple[Any, int, int]]] = {
    "cmi": [  # figure of A, hundredths of bonus at 三级 and at 二级
        ("0.5", 0, 0),
        ("1.0000", 0, 0),
        ("1.0001", 0, 0),
        ("1.0499", 0, 0),
        ("1.05", 1, 1),
        ("1.0501", 1, 1),
        ("1.0999", 1, 1),
        ("1.10", 2, 2),
        ("1.15", 3, 3),  # 1.15 / 1 - 1 is below 0.15 in binary fractions
        ("1.2999", 5, 5),
        ("1.30", 6, 6),
        ("1.35", 7, 6),
        ("1.6499", 12, 6),
        ("1.65", 13, 6),
        ("1.7", 13, 6),
        ("2", 13, 6),
    ],
    "children": [
        *((200, 0, 0), (219, 0, 0), (220, 1, 1), (221, 1, 1), (259, 2, 2), (260, 3, 3)),
        *((319, 5, 3), (320, 6, 3), (340, 6, 3)),
    ],
    "old": [
        *((199, 0, 0), (200, 0, 0), (201, 1, 1), (239, 1, 1), (240, 2, 1), (241, 2, 1)),
        *((279, 2, 1), (280, 3, 1), (320, 3, 1)),
    ],
    "tcm": [
        *((20_000, 0, 0), (20_599, 0, 0), (20_600, 1, 1), (20_601, 1, 1), (22_399, 3, 3)),
        *((22_400, 4, 3), (23_000, 5, 3), (40_000, 5, 3)),
    ],
}
MAKERS: dict[str, Callable[[Any, str], list[Case]]] = {
    "cmi": with_cmi,
    "children": lambda a, level: with_ages(6, a, level),
    "old": lambda a, level: with_ages(70, a, level),
    "tcm": with_tcm,
}


@pytest.mark.parametrize(
    ("indicator", "figure", "third", "second"), [(i, *x) for i, xs in STEPS.items() for x in xs]
)
def test_each_indicator_gives_whole_steps_up_to_its_cap(
    xiamen: Policy, indicator: str, figure: Any, third: int, second: int
) -> None:
    for level, base, hundredths in (("三级", "0.93", third), ("二级", "0.72", second)):
        found = of(MAKERS[indicator](figure, level), xiamen).at(where("A", level), row())
        assert found == Fraction(base) + Fraction(hundredths, 100)


def test_a_level_without_a_cap_has_no_bonus(xiamen: Policy) -> None:
    cases = [a_case("A", "一级", weight=2, age=3, tcm=50_000), a_case("B", "一级")]
    assert of(cases, xiamen).at(where("A", "一级"), row()) == Fraction("0.55")


def test_a_maternity_hospital_has_its_own_base_and_the_caps_of_its_level(xiamen: Policy) -> None:
    cases = [
        a_case("M", "二级", class_=MATERNITY, weight="1.9", age=1),
        a_case("B", "二级", weight="0.1"),
    ]
    found = of(cases, xiamen)
    assert found.at(where("M", "二级", MATERNITY), row()) == Fraction("0.70") + Fraction("0.09")
    assert found.at(where("B", "二级"), row()) == Fraction("0.72")


def test_bonuses_of_all_indicators_add_up(xiamen: Policy) -> None:
    cases = [a_case("A", weight="1.05", tcm=20_600, age=1), a_case("A", weight="1.05", age=80)]
    cases += [a_case("B", weight="0.95", tcm=19_400), a_case("B", weight="0.95")]
    assert of(cases, xiamen).at(where("A"), row()) == Fraction("0.93") + Fraction("0.11")
    # CMI 1 step; children and old 0.5 against 0.25: ten and five steps, capped; TCM 1 step


def test_hospitals_are_compared_with_their_own_level(xiamen: Policy) -> None:
    cases = [
        *with_cmi("1.06", "二级"),
        a_case("C", "三级", weight=9),
        a_case("D", "一级", weight=0),
    ]
    found = of(cases, xiamen)
    assert found.at(where("A", "二级"), row()) == Fraction("0.73")
    assert found.at(where("C"), row()) == Fraction("0.93")  # alone at its level: never above it


def test_ages_hold_at_both_ends_and_unknown_ones_are_of_no_age(xiamen: Policy) -> None:
    def bonus(age: int | None) -> Fraction:
        cases = [a_case("A", age=age), *(a_case("B") for _ in range(9))]
        return of(cases, xiamen).at(where("A"), row()) - Fraction("0.93")

    children, old, none = Fraction("0.06"), Fraction("0.03"), Fraction(0)
    assert [bonus(x) for x in (0, 6, 7, 69, 70, 200, 201, None)] == [
        *(children, children, none, none, old, old, none, none)
    ]


def test_cmi_counts_cases_paid_by_a_weight_and_fee_shares_those_with_a_cost(
    xiamen: Policy,
) -> None:
    cases = [*with_cmi("1.05", "三级"), *(a_case("A", weight=None) for _ in range(5))]
    assert of(cases, xiamen).at(where("A"), row()) == Fraction("0.94")
    cases = [*with_tcm(20_600, "三级"), a_case("A", cost=None, tcm=90_000)]
    assert of(cases, xiamen).at(where("A"), row()) == Fraction("0.94")


def test_a_hospital_without_cases_to_measure_has_no_bonus(xiamen: Policy) -> None:
    cases = [a_case("A", weight=None, cost=None), a_case("A", weight=None, cost=0), a_case("B")]
    found = of(cases, xiamen)
    assert found.at(where("A"), row()) == found.at(where("unseen"), row()) == Fraction("0.93")
    assert find_coefficients(xiamen).at(where("A"), row()) == Fraction("0.93")


def test_the_level_for_steps_is_that_of_the_latest_case(xiamen: Policy) -> None:
    early, late = date(2025, 2, 1), date(2025, 9, 1)
    cases = [
        a_case("A", "三级", weight="1.35", day=late),
        a_case("A", "二级", weight="1.35", day=early),
        a_case("B", "三级", weight="0.65", day=early),
        a_case("B", "三级", weight="0.65", day=late),
        a_case("C", "二级", weight=9, day=late),
    ]
    for order in (cases, cases[::-1]):
        found = of(order, xiamen)
        assert found.at(where("A"), row()) == Fraction("0.93") + Fraction("0.07")
        assert found.at(where("A", "二级", day=early), row()) == Fraction("0.72") + Fraction("0.07")
    cases[0]["day"] = early  # two levels on one day: 三级 comes first in UTF-8
    for order in (cases, cases[::-1]):
        assert of(order, xiamen).at(where("A"), row()) == Fraction("1.00")


def test_a_base_is_looked_up_by_day_and_everything_that_narrows_it(tmp_path: Path) -> None:
    coefficient = parameter(
        "ratio",
        {"value": Decimal("0.9")},
        {"value": Decimal("0.8"), "from": date(2025, 6, 1)},
        {"value": Decimal("0.7"), "hospital": "A", "insurance": "390"},
        {"value": Decimal("0.6"), "group": "G2", "area": "X"},
    )
    policy = make_policy(tmp_path, XIAMEN, {"coefficient": coefficient})
    found = of(with_cmi("1.05", "三级"), policy)
    more = Fraction("0.01")
    assert found.at(where("A"), row()) == Fraction("0.9") + more
    assert found.at(where("A", day=date(2025, 6, 1)), row()) == Fraction("0.8") + more
    assert found.at(where("A", insurance="390"), row()) == Fraction("0.7") + more
    assert found.at(where("A", area="X"), row("G2")) == Fraction("0.6") + more
    assert found.plain(where("A", area="X")) == Fraction("0.9") + more
    with pytest.raises(PolicyError, match="no value on 2019-12-31"):
        found.at(where("A", day=date(2019, 12, 31)), row())


def test_a_fee_that_the_cases_lack_is_refused(tmp_path: Path) -> None:
    step = {**XIAMEN["step"][3], "fee": "drug_fen"}
    policy = make_policy(tmp_path, {**XIAMEN, "step": [step]}, {"coefficient": BASES})
    with pytest.raises(CaseSchemaError, match="needs column 'drug_fen'"):
        of(with_tcm(5, "三级"), policy)


# ---------------------------------------------------------------------------- ratios of means


def ratio_cases(a: int, b: int, of_b: int = 1) -> list[Case]:
    """Make one case of A that costs `a` and `of_b` of B that cost `b`, all of G1."""
    return [a_case("A", cost=a), *(a_case("B", "二级", cost=b) for _ in range(of_b))]


@pytest.mark.parametrize(
    ("a", "b", "ratio"),
    [
        (39_994, 160_006, "0.4"),  # 0.39994 rounds to 0.3999
        (40_000, 160_000, "0.4"),
        (40_005, 159_995, "0.4001"),  # exactly half a unit
        (40_004, 159_996, "0.4"),
        (99_995, 100_005, "1"),
        (99_994, 100_006, "0.9999"),
        (100_005, 99_995, "1.0001"),
        (149_994, 50_006, "1.4999"),
        (149_995, 50_005, "1.5"),
        (150_000, 50_000, "1.5"),
        (150_010, 49_990, "1.5"),
        (200_000, 0, "1.5"),
        (0, 200_000, "0.4"),
    ],
)
def test_a_ratio_is_rounded_half_up_and_clamped(tmp_path: Path, a: int, b: int, ratio: str) -> None:
    found = of(ratio_cases(a, b), make_policy(tmp_path, WEIHAI))
    assert found.at(where("A"), row()) == Fraction(ratio)


def test_a_ratio_is_clamped_after_it_is_rounded(tmp_path: Path) -> None:
    policy = make_policy(tmp_path, {**WEIHAI, "least": Decimal("0.40002"), "decimals": 3})
    assert of(ratio_cases(40_001, 159_999), policy).at(where("A"), row()) == Fraction("0.40002")


def test_each_group_has_its_ratio_over_grouped_cases_with_a_cost(tmp_path: Path) -> None:
    cases = ratio_cases(130_000, 70_000)
    cases += [a_case("A", group="G2", cost=90_000), a_case("B", group="G2", cost=110_000)]
    cases += [a_case("A", cost=999_999, grouped=False), a_case("A", cost=None)]
    found = of(cases, make_policy(tmp_path, WEIHAI))
    assert found.at(where("A"), row("G1")) == Fraction("1.3")
    assert found.at(where("A"), row("G2")) == Fraction("0.9")
    assert found.at(where("A"), row("G3")) == 1  # no case of it anywhere
    assert found.at(where("C"), row("G1")) == found.plain(where("A")) == 1
    all_groups = of(cases, make_policy(tmp_path / "all", {**WEIHAI, "per_group": False}))
    for group in GROUPS[:3]:
        assert all_groups.at(where("A"), row(group)) == Fraction("1.1")
    assert all_groups.plain(where("A")) == Fraction("1.1")


def test_below_the_least_number_of_cases_a_ratio_is_one(tmp_path: Path) -> None:
    policy = make_policy(tmp_path, {**WEIHAI, "least_cases": 3, "least": Decimal("1.2")})
    cases = ratio_cases(130_000, 70_000, of_b=2)
    assert of(cases, policy).at(where("B", "二级"), row()) == 1  # not clamped either
    cases = ratio_cases(130_000, 70_000, of_b=3)
    assert of(cases, policy).at(where("B", "二级"), row()) == Fraction("1.2")


def test_costs_of_nothing_at_all_make_a_ratio_of_one(tmp_path: Path) -> None:
    assert of(ratio_cases(0, 0), make_policy(tmp_path, WEIHAI)).at(where("A"), row()) == 1


def test_a_level_ratio_is_the_same_for_all_hospitals_of_the_level(tmp_path: Path) -> None:
    cases = [a_case("A", cost=100), a_case("B", cost=200), a_case("C", "二级", cost=60)]
    policy = make_policy(tmp_path, {**WEIHAI, "of": "level"})
    found = of(cases, policy)
    for hospital in ("A", "B", "unseen"):
        assert found.at(where(hospital), row()) == Fraction("1.25")
    assert found.at(where("C", "二级"), row()) == Fraction("0.5")
    assert found.at(where("C", "一级"), row()) == 1
    assert (found.by_hospital, found.by_group) == (False, True)


def test_a_ratio_by_class_leaves_hospitals_without_a_class_at_one(tmp_path: Path) -> None:
    cases = [a_case("A", class_=MATERNITY, cost=100), a_case("B", cost=300)]
    found = of(cases, make_policy(tmp_path, {**WEIHAI, "of": "level", "by": "class"}))
    assert found.at(where("A", "三级", MATERNITY), row()) == Fraction("0.5")
    assert found.at(where("B"), row()) == 1


def test_last_years_cases_can_give_the_means(tmp_path: Path) -> None:
    policy = make_policy(tmp_path, {**WEIHAI, "means": "prior"})
    last, now = ratio_cases(130_000, 70_000), ratio_cases(50_000, 150_000)
    found = of(now, policy, prior_table([*last, a_case("A", cost=5, grouped=False)]))
    assert found.at(where("A"), row()) == Fraction("1.3")
    with pytest.raises(SettlementError, match=r'\[coefficient\] means = "prior" .* give them'):
        of(now, policy)
    with pytest.raises(CaseSchemaError, match="prior: column 'hospital_id' is missing"):
        of(now, policy, prior_table(last).drop_columns(["hospital_id"]))


# ---------------------------------------------------------------------------- tables, basic groups

TABLE = {"kind": "table", "file": "coefficients.csv", "source": "worked"}


def test_a_table_falls_back_on_its_blank_group_and_then_on_one(tmp_path: Path) -> None:
    text = "group,level,coefficient\nG1,三级,1.21051\n,三级,1.1\nG1,二级,0.9\n"
    policy = make_policy(tmp_path, TABLE, files={"coefficients.csv": text})
    found = find_coefficients(policy, rows_of([a_case("A")]))
    assert found.at(where("A"), row("G1")) == Fraction("1.21051")
    assert found.at(where("A"), row("G2")) == Fraction("1.1")
    assert found.at(where("A", "二级"), row("G1")) == Fraction("0.9")
    assert found.at(where("A", "二级"), row("G2")) == 1
    assert found.plain(where("A")) == Fraction("1.1")
    assert found.plain(where("A", "二级")) == 1
    text += "G2,,1.3\n,,0.95\n"
    policy = make_policy(tmp_path / "more", TABLE, files={"coefficients.csv": text})
    more = find_coefficients(policy)  # a blank level is for all others as well
    for level, wanted in (("三级", (1.21051, 1.3, 1.1)), ("二级", (0.9, 1.3, 0.95))):
        coefficients = [more.at(where("A", level), row(g)) for g in ("G1", "G2", "G3")]
        assert coefficients == [Fraction(str(x)) for x in wanted]
    assert (found.by_hospital, found.by_group) == (False, True)


def test_a_table_can_go_by_class(tmp_path: Path) -> None:
    text = f"group,level,coefficient\n,{MATERNITY},0.7\n,二级,0.8\n"
    policy = make_policy(tmp_path, {**TABLE, "by": "class"}, files={"coefficients.csv": text})
    found = find_coefficients(policy, rows_of([a_case("A")]))
    assert found.at(where("A", "二级", MATERNITY), row()) == Fraction("0.7")
    assert found.at(where("A", "二级"), row()) == 1
    assert (found.by_hospital, found.by_group) == (False, False)
    files = {"coefficients.csv": text}
    basic = {"level": "二级", "source": "worked"}
    policy = make_policy(tmp_path / "basic", {**TABLE, "by": "class"}, files=files, basic=basic)
    found = find_coefficients(policy)
    assert found.at(where("A", "二级", MATERNITY), row(BASIC)) == Fraction("0.8")


@pytest.mark.parametrize("level", [None, "二级"])
def test_basic_groups_take_none_or_that_of_one_level(tmp_path: Path, level: str | None) -> None:
    basic = {"level": level, "source": "worked"}
    text = f"group,level,coefficient\n{BASIC},三级,1.3\n{BASIC},二级,0.8\n"
    cases = [*with_cmi("1.05", "三级"), *with_cmi("1.1", "二级")]
    cases += [a_case("A", group=BASIC, cost=300), a_case("C", "二级", group=BASIC, cost=100)]
    for name, coefficient, param, files, wanted in (
        ("plain", None, {"coefficient": BASES}, {}, "0.72"),
        ("steps", XIAMEN, {"coefficient": BASES}, {}, "0.72"),
        ("table", TABLE, {}, {"coefficients.csv": text}, "0.8"),
        ("ratio", WEIHAI, {}, {}, "0.5"),
    ):
        policy = make_policy(tmp_path / name, coefficient, param, files, basic=basic)
        found = of(cases, policy)
        for at in (where("A"), where("C", "二级"), where("unseen", "一级")):
            assert found.at(at, row(BASIC)) == (Fraction(wanted) if level else 1), name
        assert found.at(where("A"), row("G1")) != Fraction(wanted)
        assert found.by_group


def test_marks_of_basic_groups_mean_nothing_without_the_section(xiamen: Policy) -> None:
    assert of(with_cmi("1.05", "三级"), xiamen).at(where("A"), row(BASIC)) == Fraction("0.94")


@pytest.mark.parametrize(
    ("values", "by_hospital", "by_group"),
    [
        ([], False, False),
        ([{"level": "三级"}], False, False),
        ([{"hospital": "A"}], True, False),
        ([{"group": "G1"}], False, True),
    ],
)
def test_without_a_section_coefficients_are_the_parameter_or_one(
    tmp_path: Path, values: list[Case], by_hospital: bool, by_group: bool
) -> None:
    values = [{"value": Decimal("1.08"), **v} for v in values]
    param = {"coefficient": parameter("ratio", *values)} if values else {}
    found = of([a_case("A")], make_policy(tmp_path, None, param))
    assert found.at(where("A"), row("G1")) == (Fraction("1.08") if values else 1)
    assert (found.by_hospital, found.by_group) == (by_hospital, by_group)


def test_steps_and_hospital_ratios_differ_by_hospital(tmp_path: Path, xiamen: Policy) -> None:
    assert (find_coefficients(xiamen).by_hospital, find_coefficients(xiamen).by_group) == (
        *(True, False),
    )
    found = find_coefficients(make_policy(tmp_path, {**WEIHAI, "per_group": False}))
    assert (found.by_hospital, found.by_group) == (True, False)


# ---------------------------------------------------------------------------- against fractions


def plain_bonus(cases: Sequence[Case], hospital: str) -> Fraction:
    """Work out Xiamen's bonus of a hospital from its cases, one fraction after the other."""
    latest = {h: max(c["day"] for c in cases if c["hospital"] == h) for h in names(cases)}
    level_of = {
        h: min(c["level"] for c in cases if (c["hospital"], c["day"]) == (h, latest[h]))
        for h in latest
    }
    peers = [c for c in cases if level_of[c["hospital"]] == level_of[hospital]]
    mine = [c for c in cases if c["hospital"] == hospital]

    def figure(step: Case, of: Sequence[Case]) -> Fraction | None:
        if step["indicator"] == "cmi":
            weights = [Fraction(c["weight"]) for c in of if c["weight"] is not None]
            return sum(weights) / len(weights) if weights else None  # type: ignore[return-value]
        if step["indicator"] == "age_share":
            least, most = step.get("age_from", 0), step.get("age_to", 200)
            hits = [c for c in of if c["age"] is not None and least <= c["age"] <= most]
            return Fraction(len(hits), len(of))
        total = sum(c["cost"] for c in of if c["cost"] is not None)
        fees = sum(c["tcm"] for c in of if c["cost"] is not None)
        return Fraction(fees, total) if total else None

    bonus = Fraction(0)
    for step in XIAMEN["step"]:
        x, mean = figure(step, mine), figure(step, peers)
        if x is None or mean is None or x <= mean or level_of[hospital] not in step["caps"]:
            continue
        whole = 0
        while x >= mean * (1 + Fraction((whole + 1) * step["step"], 100)) and whole < 100:
            whole += 1
        each = Fraction(step["each"]) * whole + Fraction(step.get("first", 0))
        bonus += min(each, Fraction(step["caps"][level_of[hospital]]))
    return bonus


def plain_ratio(cases: Sequence[Case], place: str, at: str, group: str | None) -> Fraction:
    """Work out Weihai's ratio of a hospital or level."""
    counted = [c for c in cases if c["grouped"] and c["cost"] is not None]
    counted = [c for c in counted if group in (None, c["group"])]
    mine = [c["cost"] for c in counted if c[place] == at]
    if not mine or not sum(c["cost"] for c in counted):
        return Fraction(1)
    mean = Fraction(sum(c["cost"] for c in counted), len(counted))
    exact = Fraction(sum(mine), len(mine)) / mean
    rounded = Fraction((exact * 10_000 + Fraction(1, 2)).__floor__(), 10_000)
    return min(max(rounded, Fraction("0.4")), Fraction("1.5"))


def names(cases: Sequence[Case]) -> list[str]:
    return sorted({c["hospital"] for c in cases})


drawn_cases = st.lists(
    st.builds(
        a_case,
        hospital=st.sampled_from(["A", "B", "C", "医院"]),
        level=st.sampled_from(["三级", "二级", "一级"]),
        group=st.sampled_from(["G1", "G2"]),
        day=st.sampled_from([DAY, date(2025, 4, 1), date(2024, 12, 31)]),
        cost=st.one_of(st.none(), st.integers(0, 400), st.integers(0, 10**13 - 1)),
        grouped=st.booleans(),
        weight=st.one_of(st.none(), st.decimals(0, 30, places=4)),
        age=st.one_of(st.none(), st.sampled_from([0, 6, 7, 69, 70, 99])),
        tcm=st.integers(0, 100),
    ),
    min_size=1,
    max_size=25,
)


@pytest.fixture(scope="module")
def ratios(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, bool], Policy]:
    folder = tmp_path_factory.mktemp("ratios")
    return {
        (of, each): make_policy(folder / f"{of}{each}", {**WEIHAI, "of": of, "per_group": each})
        for of in ("hospital", "level")
        for each in (True, False)
    }


@settings(max_examples=60, deadline=None)
@given(drawn_cases, st.randoms(use_true_random=False))
def test_coefficients_are_those_of_plain_fractions(
    xiamen: Policy, ratios: dict[tuple[str, bool], Policy], cases: list[Case], rng: random.Random
) -> None:
    shuffled = rng.sample(cases, len(cases))
    by_steps = of(shuffled, xiamen)
    for hospital in names(cases):
        right = Fraction("0.93") + plain_bonus(cases, hospital)
        assert by_steps.at(where(hospital), row()) == right
    for (place, each), policy in ratios.items():
        found = of(shuffled, policy)
        for case in cases:
            right = plain_ratio(cases, place, case[place], case["group"] if each else None)
            assert found.at(where(case["hospital"], case["level"]), row(case["group"])) == right


@settings(max_examples=40, deadline=None)
@given(drawn_cases, st.permutations(["A", "B", "C", "医院"]))
def test_names_of_hospitals_decide_nothing(
    xiamen: Policy,
    ratios: dict[tuple[str, bool], Policy],
    cases: list[Case],
    permuted: list[str],
) -> None:
    new = dict(zip(["A", "B", "C", "医院"], permuted, strict=True))
    renamed = [c | {"hospital": new[c["hospital"]]} for c in cases]
    for policy in (xiamen, *ratios.values()):
        before, after = of(cases, policy), of(renamed, policy)
        for c in cases:
            at, then = where(c["hospital"], c["level"]), where(new[c["hospital"]], c["level"])
            assert before.at(at, row(c["group"])) == after.at(then, row(c["group"]))


def test_sums_beyond_64_bits_are_exact() -> None:
    part = np.arange(2_000_000, dtype=np.int64) % 2
    values = np.full(2_000_000, 10**13 - 1, np.int64)
    values[0] = -5
    most = 10**6 * (10**13 - 1)
    assert most > 2**63
    assert exact_sums(part, values, 3) == [most - 10**13 + 1 - 5, most, 0]


# ---------------------------------------------------------------------------- how it came about


def table_of(found: Coefficients, *used: tuple[str, str, str]) -> list[tuple[Any, ...]]:
    table = found.table(used)
    assert table.schema == COLUMNS
    return [tuple(r.values()) for r in table.to_pylist()]


def test_the_table_shows_every_part_of_a_coefficient(xiamen: Policy) -> None:
    cases = [*with_cmi("1.05", "三级"), a_case("é", "一级", weight=None, cost=None, age=3)]
    cases += [a_case("A", weight="1.05", age=70, tcm=5), a_case("B", weight="0.95")]
    lines = table_of(of(cases, xiamen), ("é", "一级", ""), ("A", "三级", ""), ("A", "三级", ""))
    base = "0.93", "worked", "drawn"
    assert lines == [
        ("A", "三级", "", "", "base", None, None, None, None, None, base[0], base[2]),
        *(
            ("A", "三级", "", "", *part, None, "worked")
            for part in (
                ("cmi", "1.050000", "1.000000", 1, "0.13", "0.01"),
                ("儿童", "0.000000", "0.000000", 0, "0.06", "0"),
                ("老年", "0.500000", "0.250000", 5, "0.03", "0.03"),
                ("中医", "0.000025", "0.000013", 33, "0.05", "0.05"),
            )
        ),
        ("A", "三级", "", "", "total", None, None, None, None, None, "1.02", "worked"),
        ("é", "一级", "", "", "base", None, None, None, None, None, "0.55", "drawn"),
        *(
            ("é", "一级", "", "", *part, None, "worked")
            for part in (
                ("cmi", None, None, None, None, "0"),
                ("儿童", "1.000000", "1.000000", 0, None, "0"),
                ("老年", "0.000000", "0.000000", 0, None, "0"),
                ("中医", None, None, None, None, "0"),
            )
        ),
        ("é", "一级", "", "", "total", None, None, None, None, None, "0.55", "worked"),
    ]


def test_the_table_shows_the_base_of_the_latest_day_for_all_that_narrows_it(tmp_path: Path) -> None:
    coefficient = parameter(
        "ratio",
        {"value": Decimal("0.9"), "source": "old"},
        {"value": 1, "from": date(2025, 6, 1), "source": "new"},
        {"value": Decimal("1.25"), "insurance": "390", "source": "390"},
        {"value": Decimal("0.5"), "hospital": "B", "source": "B"},
        {"value": Decimal("0.6"), "group": "G2", "level": "三级", "source": "G2"},
        {"value": Decimal("0.1"), "level": "一级", "source": "elsewhere"},
    )
    policy = make_policy(tmp_path, None, {"coefficient": coefficient})
    late = a_case("A", day=date(2025, 7, 1))
    found = of([a_case("A"), late, a_case("B", "二级")], policy)
    lines = table_of(found, ("A", "三级", ""), ("B", "二级", ""))
    assert [(x[0], *x[3:5], *x[-2:]) for x in lines] == [
        ("A", "", "base", "1", "new"),
        ("A", "", "total", "1", "new"),
        ("A", "", "base", "1.25", "390 (insurance 390)"),
        ("A", "", "total", "1.25", "390 (insurance 390)"),
        ("A", "G2", "base", "0.6", "G2"),
        ("A", "G2", "total", "0.6", "G2"),
        ("B", "", "base", "0.5", "B"),
        ("B", "", "total", "0.5", "B"),
    ]
    nothing = of([a_case("A")], make_policy(tmp_path / "none"))
    lines = table_of(nothing, ("A", "三级", ""))
    assert [x[3:5] + x[-2:] for x in lines] == [
        ("", part, "1", "the policy gives none") for part in ("base", "total")
    ]


def test_the_table_shows_ratios_of_the_groups_that_a_hospital_has(tmp_path: Path) -> None:
    cases = [*ratio_cases(130_000, 70_000), a_case("A", group="G2", cost=None)]
    cases += [a_case("A", group=BASIC, cost=5), a_case("A", group="G3", grouped=False)]
    basic = {"source": "worked"}
    found = of(cases, make_policy(tmp_path, WEIHAI, basic=basic))
    lines = table_of(found, ("A", "三级", ""))
    assert [x[3:7] + x[-2:] for x in lines] == [
        ("G1", "mean_ratio", "1300.000000", "1000.000000", "1.3", "worked"),
        ("G1", "total", None, None, "1.3", "worked"),
        ("G2", "mean_ratio", None, None, "1", "worked"),
        ("G2", "total", None, None, "1", "worked"),
    ]
    found = of(cases[:2], make_policy(tmp_path / "all", {**WEIHAI, "per_group": False}))
    lines = table_of(found, ("B", "二级", ""))
    assert [x[3:7] + x[-2:] for x in lines] == [
        ("", "mean_ratio", "700.000000", "1000.000000", "0.7", "worked"),
        ("", "total", None, None, "0.7", "worked"),
    ]


def test_the_table_shows_rows_of_a_published_table(tmp_path: Path) -> None:
    text = "group,level,coefficient\nG1,三级,1.21051\nG2,三级,1.2\n,三级,1.10\nG3,,2\n"
    policy = make_policy(tmp_path, TABLE, files={"coefficients.csv": text})
    cases = [a_case("A"), a_case("A", group="G3"), a_case("A", group=BASIC)]
    lines = table_of(of(cases, policy), ("A", "三级", ""))
    assert [x[3:5] + x[-2:] for x in lines] == [
        ("G1", "table", "1.21051", "worked"),
        ("G1", "total", "1.21051", "worked"),
        ("G3", "table", "2", "worked"),
        ("G3", "total", "2", "worked"),
        ("", "table", "1.1", "worked"),
        ("", "total", "1.1", "worked"),
    ]


@settings(max_examples=30, deadline=None)
@given(drawn_cases)
def test_totals_of_the_table_are_the_coefficients(
    xiamen: Policy, ratios: dict[tuple[str, bool], Policy], cases: list[Case]
) -> None:
    used = {(c["hospital"], c["level"], "") for c in cases}
    for policy in (xiamen, *ratios.values()):
        found = of(cases, policy)
        totals = {(*x[:2], x[3]): x[-2] for x in table_of(found, *used) if x[4] == "total"}
        for c in cases:
            key = c["hospital"], c["level"], c["group"] if found.by_group else ""
            if c["grouped"] or not found.by_group:
                coefficient = found.at(where(c["hospital"], c["level"]), row(c["group"]))
                assert Fraction(totals[key]) == coefficient


def test_no_rows_make_an_empty_table(
    xiamen: Policy, ratios: dict[tuple[str, bool], Policy]
) -> None:
    for policy in (xiamen, *ratios.values()):
        found = find_coefficients(policy, rows_of([]))
        assert found.table([]).num_rows == 0
        assert found.at(where("A"), row()) == (Fraction("0.93") if policy is xiamen else 1)
    assert find_coefficients(xiamen).table([]).num_rows == 0
    assert table_of(of([a_case("A")], xiamen)) == []


# ---------------------------------------------------------------------------- means of benchmarks


def with_benchmark(folder: Path, kind: str, by: str = "", **files: str) -> Policy:
    files = {name.replace("_csv", ".csv"): text for name, text in files.items()}
    file = next(iter(files), None)
    benchmark = {"kind": kind, "by": by or None, "file": file, "source": "worked"}
    return make_policy(folder, None, None, files, benchmark=benchmark)


LAST_YEAR = [
    a_case("A", "三级", class_="甲", cost=100),
    a_case("B", "三级", cost=201),
    a_case("C", "二级", class_="甲", cost=50),
    a_case("C", "二级", cost=999, grouped=False),
    a_case("C", "二级", cost=None),
    a_case("C", "二级", group="G2", cost=7),
    a_case("C", "二级", group="G3", cost=None),
]


def test_last_years_means_go_by_group_and_level_or_class(tmp_path: Path) -> None:
    prior = prior_table(LAST_YEAR)
    wanted: dict[str, Mapping[tuple[str, str, str], Fraction | None]] = {
        "": {("G1", "三级", "甲"): Fraction(351, 3), ("G2", "三级", ""): Fraction(7)},
        "level": {
            ("G1", "三级", "甲"): Fraction(301, 2),
            ("G1", "二级", ""): Fraction(50),
            ("G1", "一级", ""): Fraction(351, 3),
            ("G2", "三级", ""): Fraction(7),
            ("G3", "二级", ""): None,
            ("G9", "二级", ""): None,
        },
        "class": {
            ("G1", "二级", "甲"): Fraction(75),
            ("G1", "三级", "乙"): Fraction(351, 3),
            ("G1", "三级", ""): Fraction(351, 3),  # a blank class has no mean of its own
        },
    }
    for by, means in wanted.items():
        found = find_means(with_benchmark(tmp_path / f"by-{by}", "prior", by), prior)
        assert {at: found.at(*at) for at in means} == means


def test_last_years_cases_are_needed_with_their_columns(tmp_path: Path) -> None:
    policy, prior = with_benchmark(tmp_path, "prior", "class"), prior_table(LAST_YEAR)
    with pytest.raises(SettlementError, match=r'\[benchmark\] kind = "prior".* give them as'):
        find_means(policy, None)
    with pytest.raises(CaseSchemaError, match=r"'status' is missing.*'hospital_class' is missing"):
        find_means(policy, prior.drop_columns(["hospital_class", "status"]))
    place = prior.schema.get_field_index("total_cost_fen")
    floats = prior.set_column(place, "total_cost_fen", prior["total_cost_fen"].cast(pa.float64()))
    with pytest.raises(CaseSchemaError, match="'total_cost_fen' is double, not whole fen"):
        find_means(policy, floats)


def test_a_year_without_cases_has_no_means(tmp_path: Path) -> None:
    policy = with_benchmark(tmp_path, "prior", "level")
    assert find_means(policy, prior_table(LAST_YEAR).slice(0, 0)).at("G1", "三级", "") is None


def test_means_of_a_table_fall_back_on_the_groups(tmp_path: Path) -> None:
    text = "group,level,mean_cost\nG1,三级,12000.55\nG1,,9000\nG2,二级,1\n"
    found = find_means(with_benchmark(tmp_path, "table", "level", benchmarks_csv=text), None)
    assert found.at("G1", "三级", "") == 1_200_055
    assert found.at("G1", "二级", "") == 900_000
    assert found.at("G2", "二级", "甲") == 100
    assert found.at("G2", "三级", "二级") is None


def test_other_benchmarks_have_no_means_here(tmp_path: Path, xiamen: Policy) -> None:
    for policy in (xiamen, with_benchmark(tmp_path, "mean")):
        assert find_means(policy, prior_table(LAST_YEAR)).at("G1", "三级", "") is None


@settings(max_examples=40, deadline=None)
@given(drawn_cases)
def test_last_years_means_are_those_of_plain_fractions(by_level: Policy, cases: list[Case]) -> None:
    found = find_means(by_level, prior_table(cases))
    for group in ("G1", "G2"):
        counted = [c for c in cases if c["grouped"] and c["cost"] is not None]
        counted = [c for c in counted if c["group"] == group]
        for level in ("三级", "二级", "一级"):
            costs = [c["cost"] for c in counted if c["level"] == level]
            costs = costs or [c["cost"] for c in counted]
            right = Fraction(sum(costs), len(costs)) if costs else None
            assert found.at(group, level, "") == right


@pytest.fixture(scope="module")
def by_level(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    return with_benchmark(tmp_path_factory.mktemp("prior"), "prior", "level")
