"""Laws of the money year: fairness, conservation, and corrections that can be taken back."""

from __future__ import annotations

import random
import tempfile
from collections import Counter
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle.draw_policy import parameter
from properties.year import (
    HOSPITALS,
    YEAR,
    Row,
    draw_cases,
    ledger_of,
    paid,
    table_of,
    year_policy,
)

from grouper import (
    Settlement,
    SettlementError,
    budget_point_value,
    content_hash,
    publish_run,
    settle,
    write_run,
)
from grouper._writing import RUN_KEYS as KEYS

SEEDS = st.integers(0, 10**6)
KNOWN = {
    "point_value_budget": parameter("yuan per point", {"value": 85}),
}


def hashes(found: Settlement) -> dict[str, str]:
    return {name: content_hash(found.tables()[name], key=key) for name, key in KEYS.items()}


def by_case(found: Settlement, column: str = "pay_fen") -> dict[str, Any]:
    return {r["case_id"]: r[column] for r in found.cases().to_pylist()}


# --------------------------------------------------------------------------------- conservation


@pytest.mark.promise("Every fund closes to the fen: fund = pay + balance + undistributed")
@settings(max_examples=15, deadline=None)
@given(seed=SEEDS, form=st.sampled_from(["difference", "ratio", "fund_points"]))
def test_every_pool_month_and_hospital_adds_up(seed: int, form: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = year_policy(
            Path(folder),
            method={"fund_form": form},
            year={
                "assessment": "pay",
                "surplus": [{"share": Decimal("0.6"), "source": "invented"}],
                "overspend": [{"share": Decimal("0.5"), "source": "invented"}],
                "overspend_from": ["unretained"],
                "unretained_to": "second",
            },
            param={"assessment": parameter("ratio", {"value": Decimal("0.97")})},
        )
        found = paid(path, draw_cases(seed))
    pools = found.pools().to_pylist()
    for p in pools:
        right = sum(
            p[f"{t}_fen"]
            for t in (
                *("payable", "undistributed", "withheld_cap", "withheld_assessment"),
                *("withheld_deduction", "next_year", "balance", "outside", "reserve_kept"),
            )
        )
        assert p["budget_fen"] + p["drawn_fen"] == right
    hospitals = found.hospitals().to_pylist()
    for name in ("pay_fen", "payable_fen"):
        by_pool: Counter[str] = Counter()
        for h in hospitals:
            by_pool[h["pool_id"]] += h[name]
        assert by_pool == Counter({p["pool_id"]: p[name] for p in pools})
    for h in hospitals:
        terms = ("special", "floor", "cap", "assessment", "deduction", "surplus", "overspend")
        assert h["payable_fen"] == h["pay_fen"] + h["second_fen"] + sum(
            h[f"{t}_fen"] for t in terms
        )
        assert h["to_pay_fen"] == h["payable_fen"] - h["paid_monthly_fen"] - h["prepayment_fen"]
    months: Counter[str] = Counter()
    for m in found.months().to_pylist():
        months[m["pool_id"]] += m["fund_fen"]
    assert months == Counter({p["pool_id"]: p["fund_fen"] for p in pools})
    cash: Counter[tuple[str, str]] = Counter()
    for p in found.payments().to_pylist():
        cash[p["hospital_id"], p["pool_id"]] += p["paid_fen"]
    assert cash == Counter(
        {(h["hospital_id"], h["pool_id"]): h["paid_monthly_fen"] for h in hospitals}
    )


# ------------------------------------------------------------------------------------- fairness


@pytest.mark.promise("Batch, single case, threads, chunks, row order: the same bytes")
@settings(max_examples=15, deadline=None)
@given(seed=SEEDS, order=st.randoms(), cuts=st.integers(1, 9))
def test_order_and_chunks_and_threads_change_nothing(
    seed: int, order: random.Random, cuts: int
) -> None:
    cases = draw_cases(seed)
    with tempfile.TemporaryDirectory() as folder:
        path = year_policy(Path(folder))
        mixed = table_of(order.sample(cases, len(cases)))
        step = -(-len(cases) // cuts)
        parts = [mixed.slice(k, step) for k in range(0, len(cases), step)]
        once = settle(table_of(cases), path, threads=1)
        again = settle(pa.concat_tables(parts), path, threads=2)
    assert hashes(once) == hashes(again)


@pytest.mark.promise("Every fund closes to the fen: fund = pay + balance + undistributed")
@settings(max_examples=15, deadline=None)
@given(seed=SEEDS, names=st.permutations(["x", "Y", "甲", "乙9"]))
def test_the_names_of_hospitals_move_at_most_a_fen(seed: int, names: list[str]) -> None:
    cases = draw_cases(seed)
    renamed = dict(zip(HOSPITALS, names, strict=True))
    with tempfile.TemporaryDirectory() as folder:
        path = year_policy(Path(folder))
        once = by_case(paid(path, cases))
        again = by_case(
            paid(path, [{**c, "hospital_id": renamed[c["hospital_id"]]} for c in cases])
        )
    assert all(abs(once[k] - again[k]) <= 2 for k in once)  # a fen of the hospital, one of the case
    sums = [Counter[str](), Counter[str]()]
    for c in cases:
        sums[0][c["hospital_id"] + c["insurance"]] += once[c["case_id"]]
        sums[1][c["hospital_id"] + c["insurance"]] += again[c["case_id"]]
    assert all(abs(sums[0][k] - sums[1][k]) <= 1 for k in sums[0])


@settings(max_examples=15, deadline=None)
@given(seed=SEEDS)
def test_more_score_is_never_less_pay_at_a_fixed_point_value(seed: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = year_policy(
            Path(folder),
            method={"fund_form": "fund_points"},
            year={"month_point_value": "budget"},
            param=KNOWN,
        )
        rows = paid(path, draw_cases(seed)).cases().to_pylist()
    ranked = sorted((r["final_score"], r["month_pay_fen"]) for r in rows)
    pays = [pay for _, pay in ranked]
    assert pays == sorted(pays)


@settings(max_examples=15, deadline=None)
@given(seed=SEEDS, more=st.integers(1, 10**6))
def test_more_cost_is_never_a_lower_score_within_a_band(seed: int, more: int) -> None:
    cases = draw_cases(seed)
    dearer = [{**c, "total_cost_fen": c["total_cost_fen"] + more} for c in cases]
    with tempfile.TemporaryDirectory() as folder:
        path = year_policy(Path(folder), method={"fund_form": "fund_points"})
        once, again = (paid(path, x).cases().to_pylist() for x in (cases, dearer))
    for a, b in zip(once, again, strict=True):
        if a["band"] == b["band"]:
            assert a["final_score"] <= b["final_score"]


# ----------------------------------------------------------------------------------- corrections


def publish(found: Settlement, folder: Path) -> Path:
    """Write a run and publish it."""
    tables = found.tables()
    outputs = {n: content_hash(tables[n], key=KEYS[n]) for n in KEYS}
    run = write_run(folder, {n: tables[n] for n in KEYS}, {**found.manifest(), "outputs": outputs})
    publish_run(run, checked="甲", approved="乙", published="丙")
    return run


def of_months(cases: list[Row], last: int) -> list[Row]:
    return [c for c in cases if c["settlement_date"].month <= last]


METHODS: list[Row] = [
    {"fund_form": "difference"},
    {"fund_form": "ratio"},
    {"fund_form": "ratio", "ratio_scope": "hospital"},
    {"fund_form": "fund_points"},
    {"kind": "rate", "fund_form": "difference"},
]


@pytest.mark.parametrize("method", METHODS, ids=lambda m: "-".join(m.values()))
def test_a_correction_and_its_reversal_restore_every_amount(method: Row, tmp_path: Path) -> None:
    base = {"base_rate": parameter("yuan per 1.0000 RW", {"value": 8500})}
    path = year_policy(tmp_path / "policy", method=method, param=base)
    cases = draw_cases("corrections", 80, 4)
    first = of_months(cases, 1)
    changed = {**first[3], "group": "C" if first[3]["group"] != "C" else "A"}
    moved = {**first[4], "hospital_id": "H2" if first[4]["hospital_id"] != "H2" else "H1"}
    reversed_ = {**first[5], "refd_setl_flag": True}
    wrong = {c["case_id"]: c for c in (changed, moved, reversed_)}
    late = {**first[6], "case_id": "late"}

    one = publish(paid(path, first, period="2025-01"), tmp_path / "1")
    february = [wrong.get(c["case_id"], c) for c in of_months(cases, 2)] + [late]
    found = paid(path, february, period="2025-02", prior=[one])
    entries = [e for e in found.entries().to_pylist() if e["reference"] == "2025-01"]
    kinds = Counter(e["kind"] for e in entries)
    assert kinds == {"correction": 1, "reversal": 2, "late": 2}  # the moved case is both
    touched = {e["case_id"] for e in entries}
    assert touched == {*wrong, "late"}
    two = publish(found, tmp_path / "2")

    march = [*of_months(cases, 3), {**late, "refd_setl_flag": True}]
    third = paid(path, march, period="2025-03", prior=[one, two])
    back = [e for e in third.entries().to_pylist() if e["reference"] == "2025-01"]
    sums: Counter[tuple[str, str]] = Counter()
    for e in [*entries, *back]:
        sums[e["case_id"], e["hospital_id"]] += e["amount_fen"]
    assert set(sums.values()) == {0}
    assert len(back) == len(entries)  # both stay in the ledger

    three = publish(third, tmp_path / "3")
    year = [*cases, {**late, "refd_setl_flag": True}]
    cleared = paid(path, year, period="2025", prior=[one, two, three])
    plain = paid(path, [*cases, {**late, "refd_setl_flag": True}], period="2025")
    assert by_case(cleared) == by_case(plain)
    assert cleared.pools().to_pylist() == plain.pools().to_pylist()
    frozen = [m["state"] for m in cleared.months().to_pylist() if m["month"] <= "2025-03"]
    assert frozen == ["frozen"] * 6


def test_months_one_by_one_are_the_months_of_the_year(tmp_path: Path) -> None:
    path = year_policy(tmp_path / "policy")
    cases = draw_cases("months", 90, 3)
    runs: list[Path] = []
    for month in (1, 2, 3):
        found = paid(path, of_months(cases, month), period=f"2025-{month:02}", prior=runs)
        runs.append(publish(found, tmp_path / str(month)))
    stepwise = paid(path, cases, prior=runs)
    at_once = paid(path, cases)
    for name in ("cases", "hospitals", "pools"):
        assert stepwise.tables()[name].to_pylist() == at_once.tables()[name].to_pylist()
    for a, b in zip(stepwise.payments().to_pylist(), at_once.payments().to_pylist(), strict=True):
        assert {**a, "state": ""} == {**b, "state": ""}


def test_a_month_waits_with_caps_and_floors_for_the_clearing(tmp_path: Path) -> None:
    cap = {"hospital_cap": parameter("yuan", {"value": 100})}
    path = year_policy(tmp_path, method={"negative": "zero_hospital"}, param=cap)
    cases = draw_cases("caps", 60, 1)
    month = paid(path, cases, period="2025-01").hospitals().to_pylist()
    year = paid(path, cases, period="2025").hospitals().to_pylist()
    assert {h["entries_fen"] for h in month} == {0}
    assert all(h["payable_fen"] <= 10_000 for h in year)
    assert any(h["cap_fen"] < 0 for h in year)


@pytest.mark.promise("A published run is frozen")
def test_a_published_month_stays_as_it_is(tmp_path: Path) -> None:
    path = year_policy(tmp_path / "policy")
    cases = draw_cases("frozen", 60, 2)
    run = publish(paid(path, of_months(cases, 1), period="2025-01"), tmp_path / "1")
    with pytest.raises(OSError, match="published run"):
        write_run(run, {}, {}, overwrite=True)
    with pytest.raises(SettlementError, match="published already"):
        publish_run(run, checked="甲", approved="乙", published="丙")
    with pytest.raises(SettlementError, match="published run covers"):
        paid(path, cases, period="2025-02")
    with pytest.raises(SettlementError, match="not in the file"):
        paid(path, [c for c in cases if c["settlement_date"].month > 1], prior=[run])


@pytest.mark.promise("A published run is frozen")
def test_two_people_check_and_approve_and_nothing_is_changed_in_between(tmp_path: Path) -> None:
    path = year_policy(tmp_path / "policy")
    found = paid(path, draw_cases("sign", 30, 1), period="2025-01")
    tables = {n: found.tables()[n] for n in KEYS}
    outputs = {n: content_hash(t, key=KEYS[n]) for n, t in tables.items()}
    run = write_run(tmp_path / "run", tables, {**found.manifest(), "outputs": outputs})
    with pytest.raises(SettlementError, match="two people"):
        publish_run(run, checked="甲", approved="甲", published="丙")
    with pytest.raises(SettlementError, match="draft"):
        paid(path, draw_cases("sign", 30, 2), period="2025-02", prior=[run])
    changed = {**tables, "pools": tables["pools"].slice(0, 1)}
    other = write_run(tmp_path / "other", changed, {**found.manifest(), "outputs": outputs})
    with pytest.raises(OSError, match=r"pools.parquet is not what the run wrote"):
        publish_run(other, checked="甲", approved="乙", published="丙")


@pytest.mark.promise("A run that was changed is not believed")
def test_a_changed_run_is_not_believed(tmp_path: Path) -> None:
    path = year_policy(tmp_path / "policy")
    cases = draw_cases("changed", 60, 2)
    run = publish(paid(path, of_months(cases, 1), period="2025-01"), tmp_path / "1")
    payments = pq.read_table(run / "payments.parquet")
    more = pa.array([x + 1_000_000 for x in payments["paid_fen"].to_pylist()])
    changed = payments.set_column(payments.schema.get_field_index("paid_fen"), "paid_fen", more)
    pq.write_table(changed, run / "payments.parquet")
    with pytest.raises(OSError, match=r"payments.parquet is not what the run wrote"):
        paid(path, cases, prior=[run])
    pq.write_table(payments, run / "payments.parquet")
    paid(path, cases, prior=[run])
    manifest = run / "manifest.json"
    manifest.write_text(manifest.read_text("utf-8").replace('"2025-01"', '"2025-03"'), "utf-8")
    with pytest.raises(OSError, match="seal"):
        paid(path, cases, prior=[run])


def test_a_prior_month_fits_the_policy_and_the_order(tmp_path: Path) -> None:
    path = year_policy(tmp_path / "policy")
    cases = draw_cases("order", 60, 3)
    one = publish(paid(path, of_months(cases, 1), period="2025-01"), tmp_path / "1")
    two = publish(paid(path, of_months(cases, 2), period="2025-02", prior=[one]), tmp_path / "2")
    with pytest.raises(SettlementError, match="2025-02 is published"):
        paid(path, of_months(cases, 1), period="2025-01", prior=[two])
    renamed = year_policy(
        tmp_path / "other",
        pool=[{"id": "staff", "insurance": ["310"]}, {"id": "b", "insurance": ["390"]}],
        param={"fund": parameter("yuan", {**YEAR, "value": 400_000})},
    )
    with pytest.raises(SettlementError, match="paid pool 'a'"):
        paid(renamed, cases, prior=[one, two])
    found = paid(path, of_months(cases, 2), period="2025-02", prior=[one])
    for h in found.hospitals().to_pylist():
        assert h["cases"] > 0  # a month shows the payments of its own month only
    paid_now = sum(r["paid_fen"] for r in found.payments().to_pylist())
    assert sum(h["paid_monthly_fen"] for h in found.hospitals().to_pylist()) == paid_now


# ------------------------------------------------------------------------------- largest point value


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, share=st.integers(5, 120))
def test_the_largest_point_value_within_the_fund_is_found(seed: int, share: int) -> None:
    """Floors at zero make the sum of payments bend; the ratio found is the last one within the fund."""
    cases = [c for c in draw_cases(seed, 40, 1) if c["insurance"] == "310"]
    if not cases:
        return
    fund = sum(c["fund_paid_fen"] for c in cases) * share // 100
    with tempfile.TemporaryDirectory() as folder:
        path = year_policy(
            Path(folder),
            method={"negative": "zero_case", "left_over": "solve"},
            months=False,
            pool=[{"id": "a"}],
            param={"fund": parameter("fen", {**YEAR, "value": fund})},
        )
        found = paid(path, cases)
    rows = found.cases().to_pylist()
    (pool,) = found.pools().to_pylist()
    value = Fraction(pool["point_value_num"], pool["point_value_den"])
    claims = [int(r["final_score"].scaleb(4)) for r in rows]
    own = [r["patient_fen"] for r in rows]

    def total(p: Fraction) -> Fraction:
        return sum(
            (max(p * c - u, Fraction(0)) for c, u in zip(claims, own, strict=True)), Fraction(0)
        )

    assert total(value) == fund == pool["pay_fen"] == sum(r["pay_fen"] for r in rows)
    assert total(value + Fraction(1, 10**12)) > fund
    whole = sum(max(int(value * c - u), 0) for c, u in zip(claims, own, strict=True))
    assert pool["remainder_fen"] == fund - whole
    for r, c, u in zip(rows, claims, own, strict=True):
        assert 0 <= r["pay_fen"] - max(int(value * c - u), 0) <= 1


def test_the_budget_point_value_is_cost_by_score(tmp_path: Path) -> None:
    path = year_policy(tmp_path / "policy")
    found = [paid(path, draw_cases(seed, 40, 2)) for seed in ("one", "two")]
    runs = [
        write_run(tmp_path / str(k), {"cases": x.cases()}, x.manifest())
        for k, x in enumerate(found)
    ]
    cost, score = Fraction(0), Fraction(0)
    for weight, x in zip((2, 7), found, strict=True):
        for r in x.cases().to_pylist():
            cost += weight * Fraction(r["total_cost_fen"], 100)
            score += weight * Fraction(r["final_score"])
    assert budget_point_value(runs) == cost / score
    with pytest.raises(SettlementError, match="give a run a weight"):
        budget_point_value(runs, (1,))


def test_a_red_month_proposes_to_hold_the_next(tmp_path: Path) -> None:
    edges = ("yellow", "orange", "red")
    steps = (Decimal(x) for x in ("0.3", "0.4", "0.5"))
    red = {**dict(zip(edges, steps, strict=True)), "hold_on_red": True}
    path = year_policy(tmp_path, warnings={**red, "source": "invented"})
    found = paid(path, draw_cases("red", 60, 2))
    by_month = {(m["pool_id"], m["month"]): m for m in found.months().to_pylist()}
    assert by_month["a", "2025-01"]["colour"] == "red"
    proposed = found.manifest()["proposals"]
    reds = [m for m in by_month.values() if m["colour"] == "red"]
    assert len(proposed) == len(reds) > 0
    assert all(m["pace_ratio"] >= Decimal("0.5") for m in reds)
    assert all(m["pace_ratio"] < Decimal("0.5") for m in by_month.values() if m not in reds)


# ----------------------------------------------------------------------------------- the ledger


def test_entries_move_what_they_say_and_stay_in_the_ledger(tmp_path: Path) -> None:
    path = year_policy(
        tmp_path,
        year={"assessment": "pay"},
        param={"point_value_budget": KNOWN["point_value_budget"]},
    )
    cases = draw_cases("entries", 80, 3)
    mine = [c for c in cases if c["insurance"] == "310" and c["hospital_id"] == "H2"]
    common = {"pool_id": "a", "hospital_id": "H2", "reason": "…", "reference": "doc"}
    entries = ledger_of(
        {
            "entry_id": "1",
            "kind": "deduction",
            "amount_fen": -5000,
            "settlement_month": "2025-02",
            **common,
        },
        {"entry_id": "2", "kind": "prepayment", "amount_fen": 70_000, **common},
        {"entry_id": "3", "kind": "assessment", "value": "0.9", **common},
        {
            "entry_id": "4",
            "kind": "special_case",
            "case_id": mine[0]["case_id"],
            "outcome": "score",
            "value": "999.5",
        },
        {
            "entry_id": "5",
            "kind": "hold",
            "amount_fen": -900,
            "settlement_month": "2025-01",
            **common,
        },
    )
    before, after = paid(path, cases), paid(path, cases, ledger=entries)
    assert by_case(after, "final_score")[mine[0]["case_id"]] == Decimal("999.5000")
    assert by_case(after, "special")[mine[0]["case_id"]] == "score"
    assert after.pools().to_pylist()[0]["pay_fen"] == before.pools().to_pylist()[0]["pay_fen"]

    def row(found: Settlement) -> Row:
        rows = found.hospitals().to_pylist()
        return next(r for r in rows if (r["hospital_id"], r["pool_id"]) == ("H2", "a"))

    h = row(after)
    assert h["deduction_fen"] == -5000
    assert h["prepayment_fen"] == 70_000
    assert h["assessment_fen"] == -((h["pay_fen"] + 5) // 10)
    payments = {
        (r["month"], r["hospital_id"]): r
        for r in after.payments().to_pylist()
        if r["pool_id"] == "a"
    }
    assert payments["2025-02", "H2"]["entries_fen"] == -5000
    assert payments["2025-01", "H2"]["entries_fen"] == -900
    given = after.entries().to_pylist()[:5]
    assert [e["entry_id"] for e in given] == ["1", "2", "3", "4", "5"]
    assert given[0]["reference"] == "doc"


FEBRUARY = {"settlement_month": "2025-02"}
GIFT = {"kind": "gift", "pool_id": "a", "hospital_id": "H1", "amount_fen": 1}


@pytest.mark.parametrize(
    ("message", "entry"),
    [
        ("no case", {"kind": "special_case", "case_id": "nobody", "outcome": "booked"}),
        ("has no case of", {"kind": "deduction", "pool_id": "a", "hospital_id": "H?", "amount_fen": -1}),
        ("no fund", {"kind": "deduction", "pool_id": "z", "hospital_id": "H1", "amount_fen": -1}),
        ("is negative", {"kind": "deduction", "pool_id": "a", "hospital_id": "H1", "amount_fen": 1}),
        ("is positive", {"kind": "prepayment", "pool_id": "a", "hospital_id": "H1", "amount_fen": -1}),
        ("kind", GIFT),
        ("no month", {**GIFT, "kind": "adjustment", "settlement_month": "2025-2"}),
        ("has no case of", {**GIFT, "kind": "adjustment", "hospital_id": "H9", **FEBRUARY}),
        ("0 to 2", {"kind": "assessment", "pool_id": "a", "hospital_id": "H1", "value": "98"}),
        ("is no score", {"kind": "appeal", "case_id": "C1", "outcome": "score", "value": "1" * 12}),
        ("is of hospital", {"kind": "appeal", "case_id": "C1", "outcome": "booked", "hospital_id": "H?"}),
        ("outcome", {"kind": "appeal", "case_id": "C1", "outcome": "maybe"}),
        ("needs a value", {"kind": "appeal", "case_id": "C1", "outcome": "score"}),
        ("no period", {**GIFT, "kind": "adjustment", "settlement_month": "2031-01"}),
        ("amount is blank", {"kind": "adjustment", "pool_id": "a", "hospital_id": "H1"}),
        ("assessment", {"kind": "assessment", "pool_id": "a", "hospital_id": "H1", "value": "1"}),
    ],
)  # fmt: skip
def test_an_entry_that_would_stand_for_nothing_is_refused(
    message: str, entry: Row, tmp_path: Path
) -> None:
    path = year_policy(tmp_path)
    with pytest.raises(SettlementError, match=message):
        paid(path, draw_cases("refused", 40, 2), ledger=ledger_of({"entry_id": "e", **entry}))


@pytest.mark.parametrize("period", ["2025-13", "2024", "2025-1", "spring"])
def test_a_period_that_is_none_is_refused(period: str, tmp_path: Path) -> None:
    with pytest.raises(SettlementError, match="2025-01-01/2025-12-31"):
        paid(year_policy(tmp_path), draw_cases("period", 10, 1), period=period)
