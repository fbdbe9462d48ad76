"""Drawn years against the naive one, whole rows of every table; runs after published runs."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from naive.payment import NaivePolicy, NaiveSettlement, Refused
from naive.year import NaiveYear, settle_year
from oracle.compare_year import KEYS, by_engine, differences, publish, tables_of
from oracle.draw_policy import Rows
from oracle.draw_year import METHODS, DrawnYear, draw_year
from oracle.draw_year_cases import AREAS, CLASSES, LEVELS

from grouper import GrouperError

pytestmark = pytest.mark.promise(
    "A year's months and clearing are those of the plain payer, whole rows"
)

SEEDS = range(40)

# ---------------------------------------------------------------------------- random draws


def oracle_year(d: DrawnYear) -> NaiveYear | None:
    try:
        return settle_year(NaivePolicy(d.path), d.cases, d.hospitals, d.ledger)
    except Refused:
        return None


@pytest.mark.parametrize("seed", SEEDS)
def test_a_drawn_year_is_settled_as_the_oracle_settles_it(seed: int, tmp_path: Path) -> None:
    d = draw_year(seed, tmp_path)
    right = oracle_year(d)
    if right is None:
        with pytest.raises(GrouperError):
            by_engine(d.path, d.cases, d.hospitals, d.ledger)
        return
    found = by_engine(d.path, d.cases, d.hospitals, d.ledger)
    assert differences(found, tables_of(right)) == []


@pytest.mark.parametrize("seed", range(100, 127, 2))
def test_a_policy_without_a_year_is_settled_once(seed: int, tmp_path: Path) -> None:
    d = draw_year(seed, tmp_path, yearly=False)
    try:
        right: NaiveSettlement = NaivePolicy(d.path).settle(d.cases, d.hospitals, d.ledger)
    except Refused:
        with pytest.raises(GrouperError):
            by_engine(d.path, d.cases, d.hospitals, d.ledger)
        return
    found = by_engine(d.path, d.cases, d.hospitals, d.ledger)
    assert differences(found, right.tables) == []


def test_the_draws_reach_every_part(tmp_path: Path) -> None:
    reached: Counter[str] = Counter()
    for seed in SEEDS:
        d = draw_year(seed, tmp_path / str(seed))
        year = oracle_year(d)
        if year is None:
            reached["refused"] += 1
            continue
        m, y = d.policy["method"], d.policy["year"]
        reached[f"{m['kind']} {m['rate']}"] += 1
        for part in (m["left_over"], m["negative"], y["month_point_value"], y["unretained_to"]):
            reached[part] += 1
        for name in ("budget", "high_quota", "readmission", "carve_out", "coefficient", "warnings"):
            reached[name] += bool(d.policy[name])
        for c in year.cases:
            reached[f"band {c['band']}"] += 1
            reached[f"decided: {c['special']}"] += 1
            reached["readmitted"] += c["special_factor"] != 1
            reached["review"] += c["review"]
            reached["carved out"] += c["carve_out_pay_fen"] > 0
            reached[c["pay_as"].split(":")[0] if ":" in c["pay_as"] else "by weight"] += 1
        for p in year.pools:
            reached[p["line"].split(":")[0]] += 1
            for name in ("off_top", "undistributed", "to_reserve", "drawn", "next_year", "balance"):
                reached[f"{name} in a pool"] += p[f"{name}_fen"] != 0
        for h in year.hospitals:
            for name in ("special", "floor", "cap", "assessment", "deduction", "surplus"):
                reached[f"{name} of a hospital"] += h[f"{name}_fen"] != 0
            for name in ("overspend", "second", "prepayment"):
                reached[f"{name} of a hospital"] += h[f"{name}_fen"] != 0
        reached["carried"] += sum(r["carried_fen"] < 0 for r in year.payments)
        reached |= Counter(r["colour"] for r in year.months)
        reached["within quota"] += sum(r["within_quota"] for r in year.candidates)
        reached |= Counter(e["kind"] for e in year.entries)
    reached.pop("", None)
    assert reached.pop("refused") <= len(SEEDS) // 4
    parts = {
        *("point fixed", "rate fixed", "rate floating", "rate elastic", "status", "family"),
        *("report", "rescale", "solve", "reserve", "keep", "zero_case", "zero_hospital"),
        *("own", "budget", "last", "next_year", "second", "readmitted", "review", "carved out"),
        *("high_quota", "readmission", "carve_out", "coefficient", "warnings", "by weight"),
        *(f"band {b}" for b in ("low", "normal", "high", "extreme", None)),
        *(f"decided: {o}" for o in ("refused", "score", "cost_over_mean", "booked")),
        *("fund", "less", "taker", "yellow", "red", "carried", "within quota"),
        *(f"{n} in a pool" for n in ("off_top", "undistributed", "to_reserve", "drawn")),
        *(f"{n} in a pool" for n in ("next_year", "balance")),
        *(f"{n} of a hospital" for n in ("special", "floor", "cap", "assessment", "deduction")),
        *(f"{n} of a hospital" for n in ("surplus", "overspend", "second", "prepayment")),
        *("monthly", "deposit", "assessed", "final", "recovery", "out_of_area"),
    }
    assert {part for part in parts if reached[part] < 2} == set()
    assert len(METHODS) <= len(SEEDS)


# ---------------------------------------------------------------------------- runs after runs


def changed(cases: Rows, step: int) -> Rows:
    """January as it looks in a later step: a case comes late, one goes, one changes and one moves.

    What changed in the second step is as before in the third.
    """
    january = [c["case_id"] for c in cases if c["settlement_date"].month == 1]
    late, gone, dearer, moved = january[:2], january[2], january[3], january[4]
    rows = []
    for c in cases:
        row = dict(c)
        if row["case_id"] in late and step == 0:
            continue
        if row["case_id"] == gone and step > 0:
            row["refd_setl_flag"] = True
        if row["case_id"] == dearer and step == 1:
            row["total_cost_fen"] += row["total_cost_fen"] // 2 + 100
            row["fund_paid_fen"] += 50
        if row["case_id"] == moved and step > 0:
            to = "H2" if row["hospital_id"] != "H2" else "H10"
            row |= {"hospital_id": to, "hospital_level": LEVELS[to]}
            row |= {"hospital_class": CLASSES[to] or None, "hospital_area": AREAS[to]}
        rows.append(row)
    return rows


def known(ledger: Rows, cases: Rows) -> Rows:
    """The entries whose case and hospital are there."""
    ids = {c["case_id"] for c in cases}
    there = {c["hospital_id"] for c in cases if not c["refd_setl_flag"]}
    months = {f"{c['settlement_date']:%Y-%m}" for c in cases}
    return [
        e
        for e in ledger
        if (e.get("case_id") or next(iter(ids))) in ids
        and (e.get("hospital_id") or next(iter(there))) in there
        and (e.get("settlement_month") or min(months)) in months
    ]


@pytest.mark.parametrize("seed", range(200, 218, 2))
def test_a_published_month_is_never_settled_again(seed: int, tmp_path: Path) -> None:
    d = draw_year(seed, tmp_path / "policy")
    policy = NaivePolicy(d.path)
    prior: list[NaiveYear] = []
    published: list[Path] = []
    kinds: Counter[str] = Counter()
    for step, period in enumerate(("2025-01", "2025-02", "2025-03", None)):
        cases = changed(d.cases, step)
        ledger = known(d.ledger, cases)
        try:
            right = settle_year(policy, cases, d.hospitals, ledger, prior, period)
        except Refused:
            with pytest.raises(GrouperError):
                by_engine(d.path, cases, d.hospitals, ledger, published, period)
            return
        found = by_engine(d.path, cases, d.hospitals, ledger, published, period)
        tables = KEYS if period is None else ("cases", "months", "payments")
        assert differences(found, tables_of(right), tables) == [], period
        prior.append(right.publish())
        published.append(publish(found, tmp_path / f"run{step}"))
        kinds |= Counter(e["kind"] for e in right.entries)
    assert kinds["late"]
    assert kinds["reversal"]
