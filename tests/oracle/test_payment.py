"""The settlement against the naive payer, whole rows; its laws, worked numbers and refusals."""

from __future__ import annotations

import random
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive.payment import NaivePolicy, NaiveSettlement, Refused
from oracle.draw_policy import (
    METHODS,
    Drawn,
    Rows,
    case_table,
    draw,
    hospital_table,
    method_name,
    parameter,
    write_policy,
)
from shared import SHIPPED

from grouper import GrouperError, settle

pytestmark = pytest.mark.promise("Payments are those of the plain payer, whole rows")

Row = dict[str, Any]
SEEDS = range(3)
LIMIT = 10**13  # fen: what a case's amounts stay below

CASE = (
    "case_id",
    "pool_id",
    "hospital_id",
    "pay_as",
    "band",
    "benchmark_fen",
    "final_score",
    "standard_fen",
    "booked_fund_fen",
    "other_payers_fen",
    "patient_fen",
    "pay_fen",
)
POOL = (
    "pool_id",
    "period",
    "cases",
    "claims",
    "fund_fen",
    "off_top_fen",
    "pay_fen",
    "balance_fen",
    "undistributed_fen",
)


# ---------------------------------------------------------------------------- both answers


def by_oracle(path: Path, cases: Rows, hospitals: Rows | None = None) -> NaiveSettlement:
    return NaivePolicy(path).settle(cases, hospitals or ())


def by_engine(path: Path, cases: Rows, hospitals: Rows | None = None) -> Any:
    table = None if hospitals is None else hospital_table(hospitals)
    return settle(case_table(cases), path, hospitals=table)


def check_same(path: Path, cases: Rows, hospitals: Rows | None = None) -> NaiveSettlement | None:
    """Both pay the same, row for row, or both refuse (None)."""
    try:
        right = by_oracle(path, cases, hospitals)
    except Refused:
        with pytest.raises(GrouperError):
            by_engine(path, cases, hospitals)
        return None
    found = by_engine(path, cases, hospitals)
    rows = {r["case_id"]: r for r in found.cases().to_pylist()}
    assert rows.keys() == right.cases.keys()
    for key, case in right.cases.items():
        assert {c: rows[key][c] for c in CASE} == {c: getattr(case, c) for c in CASE}
        if case.weight is not None:
            assert Fraction(rows[key]["weight_or_score"]) == case.weight
            assert Fraction(rows[key]["hospital_factor"]) == case.factor
    pools = found.pools().to_pylist()
    assert {(r["pool_id"], r["period"]): {c: r[c] for c in POOL} for r in pools if r["cases"]} == {
        key: asdict(pool) for key, pool in right.pools.items()
    }
    # A pool without cases in a period in which others have some keeps its whole fund.
    assert all(r["pay_fen"] == 0 for r in pools if not r["cases"])
    check_sums(found)
    return right


def check_sums(found: Any) -> None:
    """Hospitals and pools are the sums of their cases; each fund is accounted for."""
    columns = ("standard_fen", "pay_fen", "booked_fund_fen", "patient_fen")
    cases, hospitals, pools = (t().to_pylist() for t in (found.cases, found.hospitals, found.pools))
    for c in columns:
        by_hospital: Counter[tuple[str, str]] = Counter()
        for r in hospitals:
            by_hospital[r["hospital_id"], r["pool_id"]] += r[c]
        by_case: Counter[tuple[str, str]] = Counter()
        for r in cases:
            by_case[r["hospital_id"], r["pool_id"]] += r[c]
        assert by_hospital == by_case, c
    for c in ("pay_fen", "booked_fund_fen", "patient_fen", "cases", "cost_fen"):
        by_pool: Counter[tuple[str, str]] = Counter()
        for r in hospitals:
            by_pool[r["pool_id"], r["period"]] += r[c]
        assert +by_pool == +Counter({(r["pool_id"], r["period"]): r[c] for r in pools}), c
    for r in pools:
        assert r["pay_fen"] + r["balance_fen"] + r["undistributed_fen"] == r["fund_fen"]


# ---------------------------------------------------------------------------- (a) random draws


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("method", METHODS, ids=method_name)
def test_random_cases_are_paid_as_the_oracle_pays_them(
    method: Mapping[str, Any], seed: int, tmp_path: Path
) -> None:
    d = draw(method, seed, tmp_path)
    check_same(d.path, d.cases, d.hospitals)


@pytest.mark.parametrize("name", sorted(p.parent.name for p in SHIPPED.glob("*/policy.toml")))
def test_shipped_policies_are_paid_as_the_oracle_pays_them(name: str) -> None:
    path = SHIPPED / name / "policy.toml"
    naive, rng = NaivePolicy(path), random.Random(name)
    assert check_same(path, [shipped_case(rng, naive, k) for k in range(300)]) is not None


def shipped_case(rng: random.Random, naive: NaivePolicy, k: int) -> Row:
    """Draw a case of a group, level, insurance and day that the policy knows."""
    known = [
        v
        for p in ("base_rate", "coefficient")
        for v in naive.text["param"].get(p, {"values": []})["values"]
    ]
    levels = sorted({v["level"] for v in known if "level" in v}) or ["三级", "二级", "一级"]
    insurances = sorted({v["insurance"] for v in known if "insurance" in v}) or ["310", "390"]
    hospital = rng.randrange(9)
    start = max(w["from"] for w in naive.text["weights"])
    group = rng.choice(sorted(next(iter(naive.tables.values()))))
    notes = [n.id for n in naive.notes if n.group == group]
    if naive.notes and rng.random() < 0.3:
        note = rng.choice(naive.notes)
        group, notes = note.group, [note.id]
    return case(
        f"C{k}",
        group=group,
        status=rng.choice(["grouped"] * 9 + ["ambiguous", "ungrouped", "rejected"]),
        hospital_id=f"H{hospital}",
        hospital_level=levels[hospital % len(levels)],
        hospital_class=["", "产科专科", "A"][hospital % 4 % 3],
        insurance=rng.choice(insurances),
        patient_id=f"P{rng.randrange(60)}",
        age=rng.randrange(95),
        admission_date=start + timedelta(days=rng.randrange(300)),
        settlement_date=start + timedelta(days=rng.randrange(365)),
        pay_note=rng.choice([None, *notes]),
        total_cost_fen=rng.choice([300_000, 900_000, 2_500_000, 20_000_000]),
        fund_paid_fen=rng.randrange(300_000),
        tcm_fen=rng.randrange(100_000),
    )


def test_the_draws_reach_every_part(tmp_path: Path) -> None:
    reached: Counter[str] = Counter()
    for method in METHODS:
        d = draw(method, 0, tmp_path / method_name(method))
        reached["draws"] += 1
        policy = NaivePolicy(d.path)
        reached["hospital tables"] += d.hospitals is not None
        reached["basic"] += "basic" in policy.text
        try:
            paid = policy.settle(d.cases, d.hospitals or ())
        except Refused:
            reached["refused"] += 1
            continue
        reached["several funds"] += len(paid.pools) > 1
        for c in paid.cases.values():
            reached[f"band {c.band}"] += 1
            reached["by rule"] += c.pay_as.startswith("status:")
            reached[c.pay_as if c.pay_as.startswith("status:") else "by weight"] += 1
            reached["negative"] += c.pay_fen < 0
        for p in paid.pools.values():
            reached["off the top"] += p.off_top_fen > 0
            reached["left over"] += p.undistributed_fen != 0
    assert reached["draws"] == len(METHODS) >= 60
    assert reached["refused"] <= reached["draws"] // 10
    for part in (
        "hospital tables",
        "basic",
        "several funds",
        "band low",
        "band normal",
        "band high",
        "band None",
        "status:ambiguous",
        "status:ungrouped",
        "status:rejected",
        "status:not_covered",
        "status:unstable",
        "by weight",
        "negative",
        "off the top",
        "left over",
    ):
        assert reached[part] >= 10, part


# ---------------------------------------------------------------------------- small policies


FROM = date(2020, 1, 1)
STATUSES = ("ambiguous", "ungrouped", "rejected", "not_covered")
WEIGHTS = {"A": {"weight": "1"}, "B": {"weight": "2"}, "N": {"weight": ""}}


def fund(*yuan: Any) -> Row:
    """Give the pool the fund of 2025; two values: those of the pools a and b."""
    pools = ["a", "b"] if len(yuan) > 1 else [None]
    year = {"from": date(2025, 1, 1), "to": date(2025, 12, 31)}
    return parameter(
        "yuan", *({**year, "value": v, "pool": p} for v, p in zip(yuan, pools, strict=True))
    )


def policy(
    folder: Path,
    method: Mapping[str, Any],
    *,
    param: Mapping[str, Any] | None = None,
    rules: Mapping[str, Any] | None = None,
    weights: Mapping[str, Mapping[str, str]] | None = None,
    notes: Rows | None = None,
    **more: Any,
) -> Path:
    """Write a small policy: base rate 1000 yuan, fund 1000 yuan, all rules zero, one pool."""
    given = {**{s: {"rule": "zero"} for s in STATUSES}, **(rules or {})}
    settings = {
        "id": "small",
        "title": "small",
        "standing": "invented",
        "source": "invented",
        "method": {"source": "invented", **method},
        "funds": {"source": "invented"},
        "pool": [{"id": "a"}],
        "weights": [{"file": "w.csv", "from": FROM, "source": "invented"}],
        "status_pay": {s: {"source": "invented", **r} for s, r in given.items()},
        "param": {
            "base_rate": parameter("yuan per 1.0000 RW", {"value": 1000}),
            "fund": fund(1000),
            **(param or {}),
        },
        **more,
    }
    settings["param"] = {k: v for k, v in settings["param"].items() if v is not None}
    settings["status_pay"] = {
        k: v for k, v in settings["status_pay"].items() if v.get("rule") is not None
    }
    return write_policy(folder, settings, {"w.csv": weights or WEIGHTS}, notes)


def case(key: object, **fields: Any) -> Row:
    return {
        "case_id": str(key),
        "status": "grouped",
        "group": "A",
        "hospital_id": "H",
        "hospital_level": "三级",
        "insurance": "310",
        "settlement_date": date(2025, 3, 1),
        "total_cost_fen": 100_000,
        "fund_paid_fen": 70_000,
        "hospital_borne_fen": 0,
        **fields,
    }


def edge(value: str, pay: str, **more: Any) -> Row:
    return {"edge": Decimal(value), "pay": pay, "from": FROM, "source": "invented", **more}


def engine_cases(path: Path, cases: Rows) -> dict[str, Row]:
    return {r["case_id"]: r for r in by_engine(path, cases).cases().to_pylist()}


FIXED = {"kind": "rate", "fund_form": "fund_points"}
POINT = {"kind": "point", "fund_form": "fund_points"}
MEAN = {"kind": "mean", "source": "invented"}
STANDARD = {"kind": "standard", "source": "invented"}


# ---------------------------------------------------------------------------- (b) laws


def drawn_and_paid(method: Mapping[str, Any], seed: int, folder: Path) -> Drawn | None:
    """Draw a policy with cases that it can pay."""
    d = draw(method, seed, folder, n=25)
    try:
        by_oracle(d.path, d.cases, d.hospitals)
        by_engine(d.path, d.cases, d.hospitals)
    except (Refused, GrouperError):
        return None
    return d


@settings(max_examples=40, deadline=None)
@given(method=st.sampled_from(METHODS), seed=st.integers(100, 10**6), order=st.randoms())
def test_the_order_of_rows_changes_nothing(
    method: Mapping[str, Any], seed: int, order: random.Random
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        d = drawn_and_paid(method, seed, Path(folder))
        if d is None:
            return
        mixed = replace(d, cases=order.sample(d.cases, len(d.cases)))
        once, again = (by_engine(x.path, x.cases, x.hospitals) for x in (d, mixed))
        for table, keys in (("cases", ["case_id"]), ("hospitals", None), ("pools", None)):
            a, b = getattr(once, table)().to_pylist(), getattr(again, table)().to_pylist()
            keys = keys or [k for k in ("hospital_id", "pool_id", "period") if k in a[0]]
            assert in_order(a, keys) == in_order(b, keys)


def in_order(rows: Rows, keys: Sequence[str]) -> Rows:
    return sorted(rows, key=lambda r: [r[k] for k in keys])


CLOSING = [
    m
    for m in METHODS
    if m["kind"] == "point"
    and m["negative"] == "keep"
    and (m["fund_form"] != "ratio" or m["ratio_scope"] == "region")
]


@settings(max_examples=40, deadline=None)
@given(method=st.sampled_from(CLOSING), seed=st.integers(100, 10**6))
def test_the_point_method_gives_out_its_fund_to_the_fen(
    method: Mapping[str, Any], seed: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        d = drawn_and_paid(method, seed, Path(folder))
        for r in by_engine(d.path, d.cases, d.hospitals).pools().to_pylist() if d else ():
            if r["claims"]:
                assert r["pay_fen"] == r["fund_fen"]
                assert r["undistributed_fen"] == 0


FIXED_RATE = [m for m in METHODS if (m["kind"], m["rate"]) == ("rate", "fixed")]


@settings(max_examples=30, deadline=None)
@given(method=st.sampled_from(FIXED_RATE), seed=st.integers(100, 10**6))
def test_a_fixed_rate_leaves_a_balance_and_scales_no_case(
    method: Mapping[str, Any], seed: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        d = drawn_and_paid(method, seed, Path(folder))
        if d is None:
            return
        paid = by_engine(d.path, d.cases, d.hospitals)
        for r in paid.pools().to_pylist():
            assert r["pay_fen"] + r["balance_fen"] == r["fund_fen"]
            assert r["undistributed_fen"] == 0
        for r in paid.cases().to_pylist():
            if r["weight_or_score"]:
                assert r["standard_fen"] == r["final_score"] * 100


@settings(max_examples=30, deadline=None)
@given(
    weights=st.tuples(*[st.decimals("0", "99", places=4)] * 2).map(sorted),
    form=st.sampled_from(["fund_points", "difference", "ratio"]),
    rate=st.decimals("0.01", "20000", places=4),
    cost=st.integers(0, 10**8),
    share=st.decimals("0", "1", places=2),
)
def test_more_weight_is_never_less_pay_at_a_fixed_rate(
    weights: list[Decimal], form: str, rate: Decimal, cost: int, share: Decimal
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = policy(
            Path(folder),
            {"kind": "rate", "fund_form": form},
            weights={
                g: {"weight": f"{w:f}", "mean_cost": "100000"}
                for g, w in zip("AB", weights, strict=True)
            },
            param={"base_rate": parameter("yuan", {"value": rate})},
            benchmark=MEAN,
            low=[edge("0.5", "ratio")],
            high=[edge("2", "excess", share=share)],
        )
        amounts = {"total_cost_fen": cost, "fund_paid_fen": cost // 2}
        paid = engine_cases(path, [case(1, **amounts), case(2, group="B", **amounts)])
        assert paid["1"]["pay_fen"] <= paid["2"]["pay_fen"]


# ---------------------------------------------------------------------------- (c) worked numbers


@pytest.mark.parametrize(("coefficient", "points"), [("1.4", 3600), ("1", 2800)])
def test_weihai_pays_the_excess_without_the_coefficient(
    coefficient: str, points: int, tmp_path: Path
) -> None:
    """2000 points, mean 10,000, cost 25,000 of which 1,000 unreasonable."""
    path = policy(
        tmp_path,
        {**POINT, "points_per_weight": 1000},
        weights={"A": {"weight": "2", "mean_cost": "10000"}},
        param={"coefficient": parameter("ratio", {"value": Decimal(coefficient)})},
        benchmark=MEAN,
        low=[edge("0.5", "ratio", coefficient=False)],
        high=[
            edge("3", "excess", coefficient=False, weight_below=1),
            edge("2", "excess", coefficient=False, weight_from=1, weight_below=Decimal("2.5")),
            edge("1.5", "excess", coefficient=False, weight_from=Decimal("2.5")),
        ],
    )
    cases = [case(1, total_cost_fen=2_500_000, unreasonable_fen=100_000)]
    paid = engine_cases(path, cases)["1"]
    assert (paid["band"], paid["final_score"]) == ("high", points)
    check_same(path, cases)


DEVIATION = {
    # low and high edge, coefficient: score at cost ÷ mean, in hundredths of a group of score 100.
    "1.0 text": ("0.5", "2", False, True, "1"),
    "Hubei": ("0.5", "2", True, True, "1.2"),
    "Jining": ("0.5", "2", False, False, "1.2"),
    "Anhui": ("0.4", "2.5", False, True, "1"),
}


@pytest.mark.parametrize("name", DEVIATION)
def test_the_factor_of_deviation_at_its_edges_from_both_sides(name: str, tmp_path: Path) -> None:
    low, high, inclusive, all_bands, coefficient = DEVIATION[name]
    h = Fraction(coefficient)
    path = policy(
        tmp_path,
        POINT,
        weights={"A": {"weight": "1", "mean_cost": "1000"}},
        param={"coefficient": parameter("ratio", {"value": Decimal(coefficient)})},
        benchmark=MEAN,
        low=[edge(low, "ratio", inclusive=inclusive, coefficient=all_bands)],
        high=[edge(high, "excess", inclusive=inclusive, coefficient=all_bands)],
    )
    mean = 100_000
    sides = [int(Fraction(e) * mean) + d for e in (low, high) for d in (-1, 0, 1)]
    cases = [case(c, total_cost_fen=c, fund_paid_fen=0) for c in (*sides, mean, 4 * mean)]
    paid = engine_cases(path, cases)
    for c in (*sides, mean, 4 * mean):
        r, into = Fraction(c, mean), h if all_bands else 1
        below, above = r < Fraction(low), r > Fraction(high)
        if below or (inclusive and r == Fraction(low)):
            expected = "low", r * into
        elif above or (inclusive and r == Fraction(high)):
            expected = "high", h + (r - Fraction(high)) * into
        else:
            expected = "normal", h
        assert (paid[str(c)]["band"], Fraction(paid[str(c)]["final_score"]) / 100) == expected
    check_same(path, cases)


def test_half_a_fen_is_rounded_up_and_away_from_zero(tmp_path: Path) -> None:
    path = policy(
        tmp_path,
        {"kind": "rate", "fund_form": "ratio", "ratio_scope": "published"},
        weights={"A": {"weight": "0.00025"}, "B": {"weight": "0.00015"}},
        param={"fund_ratio": parameter("ratio", {"value": Decimal("0.5")})},
    )
    paid = engine_cases(path, [case(1), case(2, group="B")])
    assert [(r["standard_fen"], r["pay_fen"]) for r in paid.values()] == [(25, 13), (15, 8)]


def test_ties_of_the_largest_remainder_go_by_the_bytes_of_the_ids(tmp_path: Path) -> None:
    path = policy(tmp_path, POINT, param={"fund": fund(Decimal("0.04"))})
    ids = ["例", "b", "B", "é", "10", "9"]
    cases = [case(f"{h}{k}", hospital_id=h) for h in ids for k in (1, 2)]
    paid = engine_cases(path, cases)
    assert {k for k, r in paid.items() if r["pay_fen"]} == {"101", "91", "B1", "b1"}
    check_same(path, cases)


# ---------------------------------------------------------------------------- (d) refusals


@pytest.mark.parametrize(
    ("message", "method", "more"),
    [
        ("base_rate", POINT, {"benchmark": STANDARD, "param": {"base_rate": None}}),
        ("in_scope", {"kind": "point", "fund_form": "in_scope"}, {}),
        ("cannot float", {**FIXED, "rate": "floating", "fund_form": "in_scope"}, {}),
        ("fund_ratio", {**FIXED, "fund_form": "ratio", "ratio_scope": "published"}, {}),
        ("ratio_scope", {**POINT, "ratio_scope": "hospital"}, {}),
        ("rejected", POINT, {"rules": {"rejected": {"rule": None}}}),
        ("benchmark", FIXED, {"low": [edge("0.5", "cost")]}),
        ("the same lists", FIXED, {"pool": [{"id": "a"}, {"id": "b"}]}),
    ],
)
def test_a_contradictory_policy_is_refused(
    message: str, method: Mapping[str, Any], more: Mapping[str, Any], tmp_path: Path
) -> None:
    path = policy(tmp_path, method, **more)
    with pytest.raises(GrouperError, match=message):
        by_engine(path, [case(1)])


REFUSED: dict[str, tuple[str, Mapping[str, Any], Row, Rows]] = {
    "fund missing for a day": (
        "fund: no value on 2026-01-01",
        FIXED,
        {},
        [case(1, settlement_date=date(2026, 1, 1))],
    ),
    "off the top above the fund": (
        "off the top",
        POINT,
        {"rules": {"rejected": {"rule": "booked"}}},
        [case(1), case(2, status="rejected", fund_paid_fen=100_001)],
    ),
    "costs off the top above the fund": (
        "off the top",
        {**FIXED, "rate": "floating"},
        {"rules": {"rejected": {"rule": "cost", "value": Decimal("1.00001")}}},
        [case(1), case(2, status="rejected")],
    ),
    "worth below zero": (
        "patient|below 0|negative",
        {**POINT, "fund_form": "difference"},
        {"funds": {"hospital_borne": ["hospital_borne_fen"], "source": "invented"}},
        [case(1, total_cost_fen=0, hospital_borne_fen=30_001)],
    ),
    "nothing booked, so no ratio": (
        "booked",
        {**POINT, "fund_form": "ratio"},
        {},
        [case(1, fund_paid_fen=0)],
    ),
    "a cost rule without a cost": (
        "without total_cost",
        FIXED,
        {"rules": {"rejected": {"rule": "cost", "value": 1}}},
        [case(1, status="rejected", total_cost_fen=None), case(2)],
    ),
    "no weight table in force": (
        "weight table",
        FIXED,
        {"param": {"fund": parameter("yuan", {"from": date(2019, 1, 1), "to": FROM, "value": 1})}},
        [case(1, settlement_date=date(2019, 12, 31))],
    ),
    "two values fit equally": (
        "two values fit equally",
        FIXED,
        {"param": {"base_rate": parameter("yuan", {"value": 1}, {"value": 2})}},
        [case(1)],
    ),
    "insurance in no pool": (
        "390",
        FIXED,
        {"pool": [{"id": "a", "insurance": ["310"]}]},
        [case(1, insurance="390")],
    ),
    "unknown note": ("zz", FIXED, {}, [case(1, pay_note="zz")]),
    "no day": ("settlement_date", FIXED, {}, [case(1, settlement_date=None)]),
    "no hospital": ("hospital_id", FIXED, {}, [case(1, hospital_id=None)]),
    "no insurance": ("insurance", FIXED, {}, [case(1, insurance=None)]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_cases_that_cannot_be_paid_are_refused(name: str, tmp_path: Path) -> None:
    message, method, more, cases = REFUSED[name]
    path = policy(tmp_path, method, **more)
    with pytest.raises(Refused):
        by_oracle(path, cases)
    with pytest.raises(GrouperError, match=message):
        by_engine(path, cases)


def test_claims_of_hospitals_are_those_of_the_pool(tmp_path: Path) -> None:
    """What goes off the top is money, not score: it is no claim of either."""
    path = policy(tmp_path, POINT, rules={"rejected": {"rule": "cost", "value": Decimal("0.1")}})
    found = by_engine(path, [case(1), case(2, status="rejected")])
    (hospital,), (pool,) = found.hospitals().to_pylist(), found.pools().to_pylist()
    assert hospital["claims"] == pool["claims"] == 1_000_000


def test_two_levels_of_a_hospital_on_one_day_are_refused(tmp_path: Path) -> None:
    row = {"hospital_id": "H", "hospital_level": "三级", "valid_from": None, "valid_to": None}
    with pytest.raises(GrouperError, match="two rows"):
        by_engine(policy(tmp_path, FIXED), [case(1)], [row, {**row, "hospital_level": "二级"}])


# ---------------------------------------------------------------------------- (e) large amounts


def large_cases(rng: random.Random, n: int) -> Rows:
    cases = []
    for k in range(n):
        cost = LIMIT - 1 - rng.randrange(3)
        cases.append(
            case(
                f"C{k}",
                group=rng.choice("AB"),
                hospital_id=rng.choice(["H1", "H2", "H3"]),
                total_cost_fen=cost,
                fund_paid_fen=cost - rng.randrange(10**6),
                hospital_borne_fen=rng.randrange(10),
            )
        )
    return cases


@pytest.mark.parametrize("form", ["fund_points", "difference", "ratio"])
@pytest.mark.parametrize(
    "method", [{"kind": "point"}, {"kind": "rate"}, {"kind": "rate", "rate": "floating"}], ids=str
)
def test_large_amounts_are_exact(method: Mapping[str, Any], form: str, tmp_path: Path) -> None:
    """Products of a fund of 10^13 fen and claims near 10^13 go far beyond 64 bits."""
    path = policy(
        tmp_path,
        {**method, "fund_form": form, "points_per_weight": 1000, "score_decimals": 6},
        weights={"A": {"weight": "999.999999999"}, "B": {"weight": "998.765432101"}},
        param={
            "base_rate": parameter("yuan", {"value": Decimal("99999.9999")}),
            "coefficient": parameter("ratio", {"value": Decimal("1.23457")}),
            "fund": fund(Decimal(LIMIT).scaleb(-2)),
        },
        benchmark=STANDARD,
        high=[edge("2.1235", "excess", share=Decimal("0.9877"))],
    )
    paid = check_same(path, large_cases(random.Random(form), 50))
    assert paid is not None
    assert {c.band for c in paid.cases.values()} == {"high"}


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_large_fund_is_divided_exactly(data: st.DataObject) -> None:
    value = data.draw(st.integers(0, LIMIT))
    weights = data.draw(st.lists(st.decimals("0", "9999", places=9), min_size=2, max_size=6))
    groups = [f"G{k}" for k in range(len(weights))]
    cases = [case(g, group=g, hospital_id=data.draw(st.sampled_from("HIJ"))) for g in groups]
    with tempfile.TemporaryDirectory() as folder:
        path = policy(
            Path(folder),
            {**POINT, "points_per_weight": 1000, "score_decimals": 6},
            weights={g: {"weight": f"{w:f}"} for g, w in zip(groups, weights, strict=True)},
            param={"fund": fund(Decimal(value).scaleb(-2))},
        )
        check_same(path, cases)


@pytest.mark.parametrize("weight", ["9" * 9, "9" * 15, "9" * 24 + "." + "9" * 9])
@pytest.mark.parametrize("method", [FIXED, POINT], ids=lambda m: str(m["kind"]))
def test_a_claim_too_large_is_exact_or_refused(
    method: Mapping[str, Any], weight: str, tmp_path: Path
) -> None:
    path = policy(tmp_path, {**method, "score_decimals": 6}, weights={"A": {"weight": weight}})
    try:
        by_engine(path, [case(1), case(2)])
    except GrouperError:
        return
    check_same(path, [case(1), case(2)])


# ---------------------------------------------------------------------------- small rules


@pytest.mark.parametrize("status", ["not_covered", "unstable"])
@pytest.mark.parametrize(
    "rule",
    [{"rule": "group", "value": "0000"}, {"rule": "group", "value": "A"}, {"rule": "own_group"}],
)
def test_every_status_may_be_paid_as_a_row(
    status: str, rule: Mapping[str, Any], tmp_path: Path
) -> None:
    """A row of the table as a rule's answer is paid, or the policy is refused; never misread."""
    path = policy(
        tmp_path,
        FIXED,
        rules={status: rule},
        weights={**WEIGHTS, "0000": {"weight": "0.2"}, "U": {"weight": "1", "kind": "unstable"}},
    )
    cases = [case(1, group="N"), case(2, group="U"), case(3)]
    try:
        by_engine(path, cases)
    except GrouperError:
        return
    check_same(path, cases)


@pytest.mark.parametrize("form", ["difference", "ratio", "fund_points"])
@pytest.mark.parametrize("kind", ["point", "rate"])
def test_a_pool_without_cases_does_not_stop_the_others(
    kind: str, form: str, tmp_path: Path
) -> None:
    path = policy(
        tmp_path,
        {"kind": kind, "fund_form": form},
        pool=[{"id": "a", "insurance": ["310"]}, {"id": "b", "insurance": ["390"]}],
        param={"fund": fund(1000, 2000)},
    )
    assert check_same(path, [case(1), case(2)]) is not None


def test_a_fund_of_which_all_goes_off_the_top_needs_no_ratio(tmp_path: Path) -> None:
    path = policy(tmp_path, {**POINT, "fund_form": "ratio"}, rules={"rejected": {"rule": "booked"}})
    assert check_same(path, [case(1, status="rejected", fund_paid_fen=0)]) is not None


@pytest.mark.parametrize("method", [FIXED, POINT], ids=lambda m: str(m["kind"]))
def test_paying_what_was_booked_needs_no_cost(method: Mapping[str, Any], tmp_path: Path) -> None:
    path = policy(tmp_path, method, rules={"rejected": {"rule": "booked"}})
    cases = [case(1, status="rejected", total_cost_fen=None), case(2)]
    assert check_same(path, cases) is not None


@pytest.mark.parametrize("share", ["", "1", "0.5", "0", "0.000"])
def test_a_note_pays_its_share_of_the_weight(share: str, tmp_path: Path) -> None:
    notes = [{"id": "n", "group": "A", "pay_as": "B", "share": share, "when": "named"}]
    path = policy(tmp_path, FIXED, notes=notes)
    paid = check_same(path, [case(1, pay_note="n"), case(2)])
    assert paid is not None
    assert paid.cases["1"].pay_fen == Fraction(share or "1") * 200_000


@pytest.mark.parametrize("column", ["hospital_id", "hospital_level", "insurance"])
@pytest.mark.parametrize("blank", [None, ""])
def test_stand_ins_fill_blanks(column: str, blank: str | None, tmp_path: Path) -> None:
    path = policy(
        tmp_path,
        FIXED,
        stand_in={"hospital_id": "S", "hospital_level": "二级", "insurance": "390"},
        pool=[{"id": "a", "insurance": ["310"]}, {"id": "b", "insurance": ["390"]}],
        param={
            "coefficient": parameter(
                "ratio", {"value": 2, "level": "二级"}, {"value": 1, "level": "三级"}
            )
        },
    )
    assert check_same(path, [case(1, **{column: blank}), case(2)]) is not None


def test_an_unknown_status_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GrouperError, match="status"):
        by_engine(policy(tmp_path, FIXED), [case(1, status="grouped?")])


def test_a_case_is_not_paid_twice(tmp_path: Path) -> None:
    with pytest.raises(GrouperError, match="case_id"):
        by_engine(policy(tmp_path, FIXED), [case(1), case(1)])


@pytest.mark.parametrize("unit", ["yuan/RW", "元", "", "ratio"])
def test_an_unknown_unit_of_money_is_refused(unit: str, tmp_path: Path) -> None:
    path = policy(tmp_path, FIXED, param={"base_rate": parameter(unit, {"value": 10})})
    with pytest.raises(GrouperError, match="unit"):
        engine_cases(path, [case(1)])


def test_a_hospital_below_zero_is_lifted_by_an_entry(tmp_path: Path) -> None:
    dear = {"total_cost_fen": 9_000_000, "fund_paid_fen": 0}
    poor = [case(1, hospital_id="H1", **dear), case(2, hospital_id="H2")]
    for negative, floor in (("keep", 0), ("zero_hospital", 1)):
        method = {"kind": "rate", "fund_form": "difference", "negative": negative}
        path = policy(tmp_path, method)
        found = by_engine(path, poor)
        first = found.hospitals().to_pylist()[0]
        assert first["pay_fen"] < 0
        assert first["entries_fen"] == -first["pay_fen"] * floor
        assert first["payable_fen"] == first["pay_fen"] + first["entries_fen"]
        (pool,) = found.pools().to_pylist()
        assert pool["entries_fen"] == first["entries_fen"]
        kinds = found.entries()["kind"].to_pylist()
        assert kinds == ["balance"] + ["floor"] * floor


@pytest.mark.parametrize("unit", ["yuan", "yuan per 1.0000 RW"])
def test_yuan_are_a_hundred_fen(unit: str, tmp_path: Path) -> None:
    path = policy(tmp_path, FIXED, param={"base_rate": parameter(unit, {"value": 10})})
    assert engine_cases(path, [case(1)])["1"]["pay_fen"] == 1000


@pytest.mark.parametrize("name", ["base_rate", "coefficient", "fund"])
def test_a_negative_parameter_is_refused(name: str, tmp_path: Path) -> None:
    unit = "ratio" if name == "coefficient" else "yuan"
    value = {"value": -1, **({"to": date(2025, 12, 31)} if name == "fund" else {})}
    path = policy(tmp_path, POINT, param={name: parameter(unit, value)})
    with pytest.raises(GrouperError, match="below 0"):
        engine_cases(path, [case(1)])
