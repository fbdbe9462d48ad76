"""The auditor's workbook: every figure once more, in formulas that another reader evaluates here.

The run is written by hand: final scores are worked out in the comments, standards by a largest remainder
of its own. The formulas are read from the file's XML and evaluated in doubles, as a spreadsheet does.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from spreadsheet import evaluated, read_rows, read_sheet, records

from grouper import _audit_book
from grouper._audit import pick, write_audit
from grouper._audit_tables import changes
from grouper.errors import CaseFileError, PolicyError, TableError
from grouper.io import RunFolder, read_run, write_run
from grouper.tables._policy import Policy, load_policy

pytestmark = pytest.mark.promise("An auditor's own formulas find every figure again")

pytest.importorskip("xlsxwriter")

POLICY = """
id = "by-hand"
title = "A policy for one hand-made run"
standing = "invented"
source = "invented"

[method]
kind = "point"
fund_form = "difference"
points_per_weight = 100
score_decimals = 4
source = "invented"

[funds]
source = "invented"

[[pool]]
id = "all"

[[weights]]
file = "weights.csv"
from = 2025-01-01
source = "invented"

[benchmark]
kind = "mean"
source = "invented"

[high_quota]
share = 0.2
source = "invented"

[[low]]
edge = 0.4
pay = "ratio"
from = 2025-01-01
source = "notice 7, article 1"

[[high]]
edge = 2
pay = "excess"
share = 0.8
from = 2025-01-01
source = "invented"

[[extreme]]
edge = 5
pay = "formula"
formula = "min(full + share * bare * (ratio - above), 3 * full)"
share = 0.5
above = 2
from = 2025-01-01
source = "invented"

[status_pay]
ambiguous = { rule = "booked", source = "invented" }
ungrouped = { rule = "cost_over_mean", value = 0.7, source = "invented" }
not_covered = { rule = "zero", source = "invented" }
rejected = { rule = "zero", source = "invented" }

[[family]]
id = "beds"
pay = "per_day"
source = "invented"
when = { los_from = 60 }

[[family]]
id = "visits"
pay = "per_case"
fund = "outside"
source = "invented"
when = { med_type = ["visit"] }

[[readmission]]
days = 7
factor = 0.85
source = "invented"

[param.coefficient]
name_zh = "等级系数"
unit = "ratio"
values = [{ from = 2025-01-01, value = 1.1, source = "invented" }]

[param.overall_mean]
name_zh = "次均费用"
unit = "yuan"
values = [{ from = 2025-01-01, value = 10_000, source = "invented" }]

[param.point_value_budget]
name_zh = "预算点值"
unit = "yuan per point"
values = [{ from = 2025-01-01, value = 50, source = "invented" }]

[param.per_day]
name_zh = "床日"
unit = "yuan"
values = [{ from = 2025-01-01, value = 300, source = "invented" }]

[param.per_case]
name_zh = "每次"
unit = "yuan"
values = [{ from = 2025-01-01, value = 80, source = "invented" }]

[param.fund]
name_zh = "基金"
unit = "yuan"
values = [{ from = 2025-01-01, to = 2025-12-31, value = 90_000, source = "notice 9" }]
"""

PERIOD = "2025-01-01/2025-12-31"

# case, hospital, status, pay_as, family, weight, aux, cost, carve-out + unreasonable, benchmark, band, score
CASES: list[tuple[Any, ...]] = [
    # 1.0087 × 1.05 × 1.1 × 100 = 116.50485: a half, and the product of doubles lies below it
    ("half", "H1", "grouped", "G1", "", "1.0087", "1.05", 12000, 0, 15000, "normal", "116.5049"),
    # 3000 ÷ 10000 of 110
    ("low", "H1", "grouped", "G1", "", "1", "1", 3000, 0, 10000, "low", "33"),
    # 110 + 0.8 × 110 × (23000 ÷ 10000 - 2)
    ("high", "H1", "grouped", "G1", "", "1", "1", 25000, 2000, 10000, "high", "136.4"),
    # min(110 + 0.5 × 100 × (8 - 2), 330)
    ("extreme", "H2", "grouped", "G1", "", "1", "1", 80000, 0, 10000, "extreme", "330"),
    # above the quota of high cases
    ("quota", "H2", "grouped", "G1", "", "1", "1", 25000, 0, 10000, "normal", "110"),
    # at the edge of high, which is not in it
    ("edge", "H2", "grouped", "G1", "", "1", "1", 20000, 0, 10000, "normal", "110"),
    # 8000 ÷ 10000 × 0.7 × 100
    ("ungrouped", "H2", "ungrouped", "status:ungrouped", "", "0", "1", 8000, 0, 0, None, "56"),
    ("booked", "H2", "ambiguous", "status:ambiguous", "", "0", "1", 7000, 0, 0, None, None),
    ("rejected", "H1", "rejected", "status:rejected", "", "0", "1", 500, 0, 0, None, None),
    # 300 × 65 ÷ 50
    ("beds", "H1", "grouped", "family:beds", "beds", "0", "1", 9000, 0, 0, None, "390"),
    # a claim in fen beside scores
    ("visit", "H1", "grouped", "family:visits", "visits", "0", "1", 200, 0, 0, None, "0.8000"),
    # 220 × 0.85
    ("again", "H2", "grouped", "G2", "", "2", "1", 30000, 0, 20000, "normal", "187"),
    ("scored", "H1", "grouped", "G2", "", "2", "1", 20000, 0, 20000, "normal", "250.5"),
    # 30000 ÷ 10000 × 1.2 × 100
    ("by cost", "H1", "grouped", "G2", "", "2", "1", 30000, 0, 20000, "normal", "360"),
    ("as booked", "H2", "grouped", "G2", "", "2", "1", 21000, 0, 20000, "normal", None),
]
DECISIONS = {
    "scored": ("score", "250.5"),
    "by cost": ("cost_over_mean", "1.2"),
    "as booked": ("booked", None),
    "low": ("refused", None),
}
COEFFICIENT = {"status:ungrouped": "1", "status:ambiguous": "1", "status:rejected": "0"}


def apportion(amount: int, claims: list[int]) -> list[int]:
    """Share by largest remainder, ties to the earlier."""
    exact = [Fraction(amount * c, sum(claims)) for c in claims]
    found = [int(x) for x in exact]
    order = sorted(range(len(claims)), key=lambda k: (found[k] - exact[k], k))
    for k in order[: amount - sum(found)]:
        found[k] += 1
    return found


def make_cases() -> list[dict[str, Any]]:
    rows = []
    for case_id, hospital, status, pay_as, family, w, aux, cost, off, mean, band, score in CASES:
        special, _ = DECISIONS.get(case_id, (None, None))
        used, booked = cost - off, cost * 55 + 7
        ratio = Decimal(used) / mean if mean else None
        rows.append(
            {
                "case_id": case_id,
                "status": status,
                "reason": "duplicate_case_id" if status == "rejected" else None,
                "group": None if pay_as.startswith("status") else "G1",
                "hospital_id": hospital,
                "hospital_level": "三级",
                "insurance": "310" if len(case_id) % 2 else "390",
                "pool_id": "all",
                "settlement_date": date(2025, 3 if hospital == "H1" else 4, 7),
                "settlement_month": "2025-03" if hospital == "H1" else "2025-04",
                "los": 65 if family == "beds" else 5,
                "family": family or "ordinary",
                "pay_as": pay_as,
                "weight_or_score": Decimal(w),
                "total_cost_fen": cost * 100,
                "carve_out_fen": off * 60,
                "unreasonable_fen": off * 40,
                "benchmark_fen": mean * 100 or None,
                "ratio": ratio and ratio.quantize(Decimal("0.0001"), ROUND_HALF_UP),
                "band": band,
                "hospital_factor": Decimal(COEFFICIENT.get(pay_as, "1" if family else "1.1")),
                "aux_factor": Decimal(aux),
                "special": special,
                "special_factor": Decimal("0.85" if case_id == "again" else "1"),
                "final_score": None if score is None else Decimal(score),
                "booked_fund_fen": booked,
                "other_payers_fen": 11,
                "patient_fen": cost * 30,
                "carve_out_pay_fen": 0,
                "month_pay_fen": None,
            }
        )
    return rows


def close(rows: list[dict[str, Any]], fund: int) -> tuple[int, int]:
    """Write standard and pay; return the amount shared and the claims."""
    for r in rows:
        r["standard_fen"] = r["pay_fen"] = 0
        if r["status"] == "ambiguous" or r["special"] == "booked":
            r["standard_fen"] = r["pay_fen"] = r["booked_fund_fen"]
        if r["family"] == "visits":
            r["standard_fen"] = 8000
            r["pay_fen"] = 8000 - r["patient_fen"] - r["other_payers_fen"]
    shared = [r for r in rows if r["final_score"] is not None and r["family"] != "visits"]
    top = sum(r["pay_fen"] for r in rows if r["final_score"] is None)
    amount = fund - top + sum(r["patient_fen"] + r["other_payers_fen"] for r in shared)
    claims = [int(r["final_score"] * 10_000) for r in shared]
    names = sorted({r["hospital_id"] for r in shared})
    of = {h: [k for k, r in enumerate(shared) if r["hospital_id"] == h] for h in names}
    sums = apportion(amount, [sum(claims[k] for k in of[h]) for h in names])
    for h, part in zip(names, sums, strict=True):
        for k, fen in zip(of[h], apportion(part, [claims[k] for k in of[h]]), strict=True):
            shared[k]["standard_fen"] = fen
            shared[k]["pay_fen"] = fen - shared[k]["patient_fen"] - shared[k]["other_payers_fen"]
    return amount, sum(claims)


def make_run(
    folder: Path,
    policy: Policy,
    change: Callable[[list[dict[str, Any]]], None] = lambda rows: None,
    extra: Mapping[str, pa.Table] | None = None,
    *,
    tied: bool = True,
) -> Path:
    """Write the run by hand; `change` comes after it is closed, `tied` = the sums follow it."""
    rows, fund = make_cases(), 9_000_000
    amount, claims = close(rows, fund)
    if tied:
        change(rows)
    lines = {}
    for line in ("fund", "family:visits"):
        mine = [r for r in rows if (r["family"] == "visits") == (line != "fund")]
        pay = sum(r["pay_fen"] for r in mine)
        lines[line] = (mine, pay)
    pools, hospitals = [], []
    for line, (mine, pay) in lines.items():
        is_fund = line == "fund"
        of_line = fund if is_fund else pay
        deducted = 3_000 if is_fund else 0
        pools.append(
            {
                "pool_id": "all",
                "period": PERIOD,
                "line": line,
                "fund_form": "difference",
                "cases": len(mine),
                "claims": claims if is_fund else 8000,
                "cost_fen": sum(r["total_cost_fen"] for r in mine),
                "booked_fund_fen": sum(r["booked_fund_fen"] for r in mine),
                "budget_fen": of_line + (500_000 if is_fund else 0),
                "reserve_fen": 500_000 if is_fund else 0,
                "outside_fen": 0,
                "fund_fen": of_line,
                "off_top_fen": 0,
                "shared_fen": amount if is_fund else 0,
                "point_value": "50.0" if is_fund else None,
                "point_value_num": amount if is_fund else None,
                "point_value_den": claims if is_fund else None,
                "pay_fen": pay,
                "balance_fen": 0,
                "undistributed_fen": of_line - pay,
                "payable_fen": pay - deducted,
                "withheld_cap_fen": 0,
                "withheld_assessment_fen": 0,
                "withheld_deduction_fen": deducted,
                "next_year_fen": 0,
                "to_reserve_fen": 0,
                "drawn_fen": 0,
                "reserve_kept_fen": 500_000 if is_fund else 0,
            }
        )
        for h in sorted({r["hospital_id"] for r in mine}):
            own = sum(r["pay_fen"] for r in mine if r["hospital_id"] == h)
            less = deducted if h == "H1" else 0
            hospitals.append(
                {
                    "hospital_id": h,
                    "pool_id": "all",
                    "period": PERIOD,
                    "line": line,
                    "pay_fen": own,
                    "payable_fen": own - less,
                    "paid_monthly_fen": 0,
                    "prepayment_fen": 0,
                    "to_pay_fen": own - less,
                }
            )
    if not tied:
        change(rows)
    tables = {
        "cases": pa.Table.from_pylist(rows),
        "pools": pa.Table.from_pylist(pools),
        "hospitals": pa.Table.from_pylist(hospitals),
        "ledger": ledger(),
    }
    manifest = {
        "scheme": {"id": "s"},
        "policy": {
            "id": policy.id,
            "title": policy.settings.title,
            "standing": "invented",
            "fingerprint": policy.fingerprint,
            "method": policy.settings.method.model_dump(mode="json"),
            "parameters": {
                name: {
                    "unit": p.unit,
                    "values": [
                        v.model_dump(mode="json", by_alias=True, exclude_none=True)
                        for v in p.values
                    ],
                }
                for name, p in policy.settings.param.items()
            },
        },
        "run": {"kind": "single", "period": PERIOD, "status": "published", "sign_off": {}},
        "outputs": {"cases": "abc"},
    }
    return write_run(folder, {**tables, **(extra or {})}, manifest)


def ledger() -> pa.Table:
    names = ("entry_id", "kind", "hospital_id", "case_id", "value", "outcome", "reason")
    rows: list[dict[str, Any]] = [
        dict(zip(names, (f"d{k}", "special_case", None, c, v, o, "=1+1"), strict=True))
        for k, (c, (o, v)) in enumerate(DECISIONS.items())
    ]
    earlier = dict(zip(names, ("a", "appeal", None, "scored", "1", "score", ""), strict=True))
    rows.append({**earlier, "entered_on": date(2025, 1, 1)})
    rows.append({"entry_id": "x", "kind": "deduction", "hospital_id": "H1", "amount_fen": -3000})
    rows.append({"entry_id": "y", "kind": "late", "case_id": "half", "amount_fen": 1234})
    rows.append({"entry_id": "z", "kind": "final", "hospital_id": "H1", "amount_fen": 5})
    given = {"reference": "letter 4", "entered_by": "审核员", "entered_on": date(2026, 1, 5)}
    fields = [*((n, pa.string()) for n in names), ("amount_fen", pa.int64())]
    fields += [("reference", pa.string()), ("entered_by", pa.string()), ("entered_on", pa.date32())]
    return pa.Table.from_pylist([{**given, **r} for r in rows], schema=pa.schema(fields))


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    folder = tmp_path_factory.mktemp("policy")
    (folder / "policy.toml").write_text(POLICY, "utf-8")
    (folder / "weights.csv").write_text("group,weight,mean_cost\nG1,1,10000\nG2,2,20000\n")
    return load_policy(folder)


@pytest.fixture
def run(policy: Policy, tmp_path: Path) -> Path:
    return make_run(tmp_path / "run", policy)


# ------------------------------------------------------------------------------------------- sample


def test_every_formula_gives_our_figure(run: Path, policy: Policy, tmp_path: Path) -> None:
    path = tmp_path / "audit.xlsx"
    told = write_audit(run, path, policy=policy)
    assert told["sample"] == {"rows": len(CASES), "agree": len(CASES), "differ": 0, "given": 1}
    assert told["ties"] is True
    count, _ = evaluated(path, "样本")
    rows = {r["case_id"]: r for r in records(path, "样本")}
    assert count > 10 * len(CASES)
    assert all(r["agrees"] is True for r in rows.values())
    assert {r["given"] for r in rows.values()} == {"", "quota 高倍率限额"}
    claims = {k: r["final"] for k, r in rows.items()}
    for case, score in ((c[0], c[-1]) for c in CASES):
        if score is not None and case != "visit":
            assert claims[case] == float(score)
    assert (claims["visit"], rows["visit"]["standard"]) == (80.0, 80.0)
    assert rows["extreme"]["band"] == "extreme"
    assert rows["half"]["start"] == "weight"
    assert rows["by cost"]["start"] == "decided cost_over_mean"
    assert rows["low"]["start"] == "weight"  # refused: nothing changes
    assert rows["rejected"]["pay"] == 0


def test_a_half_is_rounded_up_although_doubles_fall_below(
    run: Path, policy: Policy, tmp_path: Path
) -> None:
    assert 1.0087 * 1.05 * 1.1 * 100 < 116.50485
    path = tmp_path / "audit.xlsx"
    write_audit(run, path, policy=policy)
    formulas = [f for f, _ in read_sheet(path, "样本").values() if f and ",7),4)" in f]
    assert len(formulas) == 1
    assert formulas[0].startswith("ROUND(ROUND(")


def altered(name: str, case: str, value: Any) -> Callable[[list[dict[str, Any]]], None]:
    def change(rows: list[dict[str, Any]]) -> None:
        row = next(r for r in rows if r["case_id"] == case)
        row[name] = value(row[name]) if callable(value) else value

    return change


@pytest.mark.parametrize(
    ("name", "case", "value", "check"),
    [
        ("final_score", "high", Decimal("136.5"), "score_agrees"),
        ("final_score", "extreme", Decimal("330.0001"), "score_agrees"),
        ("final_score", "again", Decimal("220"), "score_agrees"),
        ("final_score", "beds", Decimal("389.9999"), "score_agrees"),
        ("final_score", "scored", Decimal("250"), "score_agrees"),
        ("ratio", "low", Decimal("0.3001"), "ratio_agrees"),
        ("band", "edge", "high", "band_agrees"),
        ("band", "low", "normal", "band_agrees"),
        ("standard_fen", "half", lambda fen: fen + 3, "standard_agrees"),
        ("standard_fen", "booked", lambda fen: fen + 1, "standard_agrees"),
        ("pay_fen", "low", lambda fen: fen + 1, "pay_agrees"),
        ("pay_fen", "rejected", 1, "pay_agrees"),
        ("patient_fen", "visit", lambda fen: fen - 1, "pay_agrees"),
    ],
)
def test_a_wrong_figure_shows_false(
    name: str, case: str, value: Any, check: str, policy: Policy, tmp_path: Path
) -> None:
    run = make_run(tmp_path / "run", policy, altered(name, case, value))
    told = write_audit(run, tmp_path / "audit.xlsx", policy=policy)
    assert (told["sample"]["differ"], told["ties"]) == (1, False)
    evaluated(tmp_path / "audit.xlsx", "样本")
    [row] = [r for r in records(tmp_path / "audit.xlsx", "样本") if r["agrees"] is not True]
    assert (row["case_id"], row[check]) == (case, False)


def test_without_its_policy_a_run_is_checked_as_far_as_it_goes(
    policy: Policy, tmp_path: Path
) -> None:
    run = make_run(tmp_path / "run", policy)
    told = write_audit(run, tmp_path / "audit.xlsx")
    assert (told["sample"]["differ"], told["ties"]) == (0, True)
    assert told["sample"]["given"] > 5
    evaluated(tmp_path / "audit.xlsx", "样本")
    rows = {r["case_id"]: r for r in records(tmp_path / "audit.xlsx", "样本")}
    assert "band" in rows["high"]["given"]
    assert rows["high"]["pay_agrees"] is True
    wrong = make_run(
        tmp_path / "wrong", policy, altered("final_score", "half", Decimal("116.5048"))
    )
    assert write_audit(wrong, tmp_path / "audit.xlsx")["sample"]["differ"] == 1


def test_another_policy_is_refused(run: Path, policy: Policy, tmp_path: Path) -> None:
    folder = tmp_path / "later"
    folder.mkdir()
    (folder / "policy.toml").write_text(POLICY.replace("90_000", "91_000"), "utf-8")
    (folder / "weights.csv").write_text("group,weight,mean_cost\nG1,1,10000\nG2,2,20000\n")
    with pytest.raises(PolicyError, match=r"was paid by by-hand of fingerprint .* as it was then"):
        write_audit(run, tmp_path / "audit.xlsx", policy=folder)
    assert not (tmp_path / "audit.xlsx").exists()


def test_the_sample_has_each_kind_and_does_not_depend_on_the_order() -> None:
    n = 500
    table = pa.table(
        {
            "case_id": [f"c{k}" for k in range(n)],
            "status": ["rejected" if k == 7 else "grouped" for k in range(n)],
            "band": ["extreme" if k == 499 else None if k == 7 else "normal" for k in range(n)],
        }
    )
    chosen = [table["case_id"][k].as_py() for k in pick(table, 20)]
    assert len(chosen) == 20
    assert {"c7", "c499"} <= set(chosen)
    assert len([c for c in chosen if int(c[1:]) < n // 2]) not in (0, 20)
    turned = table.take(pa.array(range(n - 1, -1, -1)))
    assert {turned["case_id"][k].as_py() for k in pick(turned, 20)} == set(chosen)
    assert len(pick(table, 1)) == 3  # one of each kind, whatever the size


# -------------------------------------------------------------------------------------- other sheets


def test_all_rows_are_there_with_the_reason_why_some_share_nothing(
    run: Path, policy: Policy, tmp_path: Path
) -> None:
    path = tmp_path / "audit.xlsx"
    told = write_audit(run, path, policy=policy, sample=1)
    rows = records(path, "全部结算行")
    left_out = {r["case_id"]: (r["left_out"], r["reason"]) for r in rows if r["left_out"]}
    assert [r["case_id"] for r in rows] == [c[0] for c in CASES]
    assert left_out == {
        "booked": ("booked", ""),
        "rejected": ("rejected", "duplicate_case_id"),
        "visit": ("outside", ""),
        "as booked": ("booked", ""),
    }
    assert (told["rows"], told["left_out"]) == (15, {"booked": 2, "outside": 1, "rejected": 1})
    assert write_audit(run, path, sample=1)["left_out"] == told["left_out"]


def test_a_full_sheet_goes_on_in_the_next(
    run: Path, policy: Policy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_audit_book, "SHEET_ROWS", 11)
    path = tmp_path / "audit.xlsx"
    write_audit(run, path, policy=policy)
    first, second = records(path, "全部结算行"), records(path, "全部结算行 2")
    assert (len(first), len(second)) == (10, 5)
    assert [r["case_id"] for r in (*first, *second)] == [c[0] for c in CASES]
    evaluated(path, "样本 2")
    assert all(r["agrees"] is True for r in records(path, "样本 2"))


def test_parameters_name_their_document_and_dates(
    run: Path, policy: Policy, tmp_path: Path
) -> None:
    path = tmp_path / "audit.xlsx"
    write_audit(run, path, policy=policy)
    rows = {r["name"] + r["value"]: r for r in records(path, "参数")}
    fund = rows["fund90000"]
    assert (fund["source"], fund["from"], fund["to"]) == ("notice 9", "2025-01-01", "2025-12-31")
    assert fund["unit"] == "yuan"
    assert rows["method.fund_formdifference"]["source"] == "invented"
    [low] = [r for r in rows.values() if r["name"] == "low 偏差档"]
    assert (low["source"], low["from"]) == ("notice 7, article 1", "2025-01-01")
    assert "edge 0.4" in low["value"]
    assert policy.fingerprint in {r["value"] for r in rows.values()}


def test_entries_by_hand_and_changes_after_settlement(policy: Policy, tmp_path: Path) -> None:
    def change(rows: list[dict[str, Any]]) -> None:
        for r in rows:
            r["list_upload_date"] = r["settlement_date"]
        rows[0]["list_upload_date"] = date(2025, 3, 8)
        rows[1]["list_upload_date"] = None

    run = make_run(tmp_path / "run", policy, change)
    path = tmp_path / "audit.xlsx"
    told = write_audit(run, path, policy=policy)
    assert (told["entries"], told["after_settlement"]) == (6, 2)
    entries = {r["entry_id"]: r for r in records(path, "手工分录")}
    assert set(entries) == {"d0", "d1", "d2", "d3", "a", "x"}
    assert (entries["x"]["amount"], entries["x"]["entered_by"]) == (-30.0, "审核员")
    assert entries["x"]["entered_on"] == date(2026, 1, 5)
    assert entries["d0"]["reason"] == "=1+1"
    assert read_sheet(path, "手工分录")["J2"] == (None, "=1+1")
    late = records(path, "结算后变动")
    assert [(r["case_id"], r["kind"], r["amount"]) for r in late] == [
        ("half", "list_upload_date", ""),
        ("half", "late", 12.34),
    ]
    assert late[0]["list_upload_date"] == date(2025, 3, 8)


def test_proofs_are_live_and_fail_when_a_fen_is_missing(
    run: Path, policy: Policy, tmp_path: Path
) -> None:
    path = tmp_path / "audit.xlsx"
    told = write_audit(run, path, policy=policy)
    assert told["proofs"] == {"hold": 11, "fail": 0}
    count, _ = evaluated(path, "守恒证明")
    assert count == 11 * 4
    rows = records(path, "守恒证明")
    assert sum(r["holds"] is True for r in rows) == 11
    accrual = [r for r in rows if r["identity"].startswith("权责") and r["line"] == "fund"]
    amounts = {r["term"]: r["amount"] for r in accrual if r["term"] != "sum"}
    assert (amounts["budget_fen"], amounts["withheld_deduction_fen"]) == (95_000.0, 30.0)
    lost = make_run(
        tmp_path / "lost", policy, altered("pay_fen", "low", lambda x: x - 1), tied=False
    )
    told = write_audit(lost, path, policy=policy)
    assert (told["proofs"], told["ties"]) == ({"hold": 10, "fail": 1}, False)
    evaluated(path, "守恒证明")
    [row] = [r for r in records(path, "守恒证明") if r["holds"] is False]
    assert row["identity"].startswith("病例 = 医院")
    assert row["amount"] == -0.01


def test_coefficients_are_listed(policy: Policy, tmp_path: Path) -> None:
    names = ("hospital_id", "hospital_level", "hospital_class", "group", "part", "coefficient")
    table = pa.table({n: [n.upper()] for n in names} | {"steps": pa.array([3], pa.int64())})
    run = make_run(tmp_path / "run", policy, extra={"coefficients": table})
    assert write_audit(run, tmp_path / "audit.xlsx", policy=policy)["coefficients"] == 1
    [row] = records(tmp_path / "audit.xlsx", "系数")
    assert (row["part"], row["steps"], row["coefficient"]) == ("PART", 3, "COEFFICIENT")


# ------------------------------------------------------------------------------------------- changes


def test_changes_between_runs(run: Path, policy: Policy, tmp_path: Path) -> None:
    def before(rows: list[dict[str, Any]]) -> None:
        rows[0]["pay_fen"] -= 250
        rows[1]["group"] = "OTHER"
        rows[2]["case_id"] = "gone"

    earlier = make_run(tmp_path / "earlier", policy, before)
    path = tmp_path / "audit.xlsx"
    told = write_audit(run, path, policy=policy, prior=[earlier])
    *rows, total = records(path, "发布间变动")
    assert told["changes"] == 4
    found = {r["case_id"]: r for r in rows}
    assert found["half"]["change"] == "pay_fen 支付额"
    assert found["half"]["difference"] == 2.5
    assert found["low"]["change"] == "group 病组"
    assert (found["low"]["group_before"], found["low"]["group_after"]) == ("OTHER", "G1")
    assert found["gone"]["change"] == "gone 消失"
    assert found["high"]["change"] == "new 新增"
    assert found["half"]["from_run"] == f"earlier {PERIOD} published"
    assert (total["from_run"], total["difference"]) == ("合计 total", 2.5)
    assert write_audit(run, path, policy=policy, prior=[read_run(run)])["changes"] == 0


def test_a_month_that_one_run_does_not_cover_is_no_change() -> None:
    names = ("case_id", "hospital_id", "settlement_month", "pay_fen", "final_score", "group")
    rows = [("a", "H", "2025-01", 1, None, "G"), ("b", "H", "2025-02", 2, None, "G")]
    table = pa.Table.from_pylist([dict(zip(names, r, strict=True)) for r in rows])
    whole = RunFolder(Path("whole"), {"cases": table}, {})
    month = RunFolder(Path("m"), {"cases": table.slice(0, 1)}, {"run": {"months": ["2025-01"]}})
    assert list(changes(month, whole)) == []
    assert list(changes(whole, month)) == []
    empty = RunFolder(Path("e"), {"cases": table.slice(0, 0)}, {"run": {"months": ["2025-02"]}})
    assert [(k[0], what) for k, what, _, _ in changes(empty, whole)] == [("b", "new 新增")]


def test_a_case_id_that_stands_twice_is_compared_in_its_order() -> None:
    def folder(*pays: int) -> RunFolder:
        rows = [
            {"case_id": "a", "hospital_id": "H", "settlement_month": "2025-01", "pay_fen": p}
            for p in pays
        ]
        return RunFolder(Path("r"), {"cases": pa.Table.from_pylist(rows)}, {})

    [(key, what, old, new)] = changes(folder(1, 2), folder(1, 5))
    assert (key[2], what) == (1, "pay_fen 支付额")
    assert old
    assert new
    assert (old.pay_fen, new.pay_fen) == (2, 5)


# ------------------------------------------------------------------------------------------- finance


def totals(run: Path, key: str) -> dict[tuple[str, str], int]:
    found: dict[tuple[str, str], int] = {}
    for r in read_run(run).tables["cases"].to_pylist():
        where = (r["settlement_month"], r[key])
        found[where] = found.get(where, 0) + r["pay_fen"]
    return found


def yuan(fen: int) -> str:
    return f"{Decimal(fen) / 100:.2f}"


def test_control_totals_and_a_finance_ledger_that_ties(
    run: Path, policy: Policy, tmp_path: Path
) -> None:
    book, path = tmp_path / "财务.csv", tmp_path / "audit.xlsx"
    cells = totals(run, "insurance")
    with book.open("w", encoding="gb18030", newline="") as f:
        writer = csv.writer(f)
        writer.writerow(["备注", "月份", "险种", "金额（元）"])
        for (month, insurance), fen in cells.items():
            first = fen // 3  # a ledger may have several lines of one cell
            writer.writerow(["x", month.replace("-", "年") + "月", insurance, yuan(first)])
            writer.writerow(["", month.replace("-", ""), insurance, f"{yuan(fen - first)}"])
    told = write_audit(run, path, policy=policy, finance=book)
    assert told["finance"] == {"cells": 4, "tie": 4, "differ": 0}
    assert told["ties"] is True
    evaluated(path, "控制总数")
    rows = read_rows(path, "控制总数")
    assert rows[0][0].startswith("控制总数")
    total = next(r for r in rows if r[0] == "合计 total")
    cases = read_run(run).tables["cases"].to_pylist()
    assert total[3] == len(cases)
    assert total[4] == sum(r["total_cost_fen"] for r in cases) / 100
    assert total[7] == float(yuan(sum(r["pay_fen"] for r in cases)))
    assert sum(r[7] == "ties" for r in rows) == 4


def test_a_finance_ledger_that_differs(run: Path, policy: Policy, tmp_path: Path) -> None:
    import xlsxwriter

    book, path = tmp_path / "ledger.xlsx", tmp_path / "audit.xlsx"
    with xlsxwriter.Workbook(str(book)) as b:
        sheet = b.add_worksheet()
        sheet.write_row(0, 0, ["某市财务账"])
        sheet.write_row(1, 0, ["month", "pool", "amount", "figure"])
        day = b.add_format({"num_format": "yyyy-mm"})
        sheet.write_datetime(2, 0, date(2025, 3, 1), day)
        sheet.write_row(2, 1, ["all", totals(run, "pool_id")["2025-03", "all"] / 100 + 0.01, "pay"])
        sheet.write_row(3, 0, ["2025-05", "all", 7, "支付额"])
        sheet.write_row(4, 0, ["2025-03", "all", 99200, "cost"])
    told = write_audit(run, path, policy=policy, finance=book)
    assert told["ties"] is False
    evaluated(path, "控制总数")
    rows = read_rows(path, "控制总数")
    start = next(k for k, r in enumerate(rows) if r[0].startswith("与财务账"))
    found = {(r[0], r[1]): r[4:8] for r in rows[start + 2 :]}
    of_march = float(yuan(totals(run, "pool_id")["2025-03", "all"]))
    of_april = float(yuan(totals(run, "pool_id")["2025-04", "all"]))
    assert found == {
        ("pay", "2025-03"): [of_march, pytest.approx(of_march + 0.01), -0.01, "differs"],
        ("pay", "2025-04"): [of_april, "", of_april, "differs"],
        ("pay", "2025-05"): ["", 7.0, -7.0, "differs"],
        ("total_cost", "2025-03"): [99700.0, 99200.0, 500.0, "differs"],
        ("total_cost", "2025-04"): [191000.0, "", 191000.0, "differs"],
    }
    assert told["finance"] == {"cells": 5, "tie": 0, "differ": 5}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("month,amount\n2025-03,1\n", r"no header within 12 rows: month, amount, and pool or"),
        ("month,pool,amount\n2025-13,all,1\n", r"l\.csv:2: month '2025-13': write 2025-03"),
        ("month,pool,amount\n\n2025-03,all,1.005\n", r"l\.csv:3: amount '1\.005' has parts of a"),
        ("month,pool,amount\n2025-03,all,=1\n", r"amount '=1' is no number of yuan"),
        ("month,pool,amount,figure\n2025-03,all,1,x\n", r"figure 'x' is none of cost, booked"),
    ],
)
def test_a_wrong_finance_ledger_is_refused(
    text: str, message: str, run: Path, tmp_path: Path
) -> None:
    (tmp_path / "l.csv").write_text(text)
    with pytest.raises(TableError, match=message):
        write_audit(run, tmp_path / "audit.xlsx", finance=tmp_path / "l.csv")
    assert not (tmp_path / "audit.xlsx").exists()


def test_a_double_of_excel_is_taken_as_its_fen(run: Path, policy: Policy, tmp_path: Path) -> None:
    text = 'month,pool,amount\n2025-03,all,0.30000000000000004\n2025-03,all,"1,234.50"\n'
    (tmp_path / "l.csv").write_text(text)
    write_audit(run, tmp_path / "audit.xlsx", finance=tmp_path / "l.csv")
    assert any(r[5] == 1234.8 for r in read_rows(tmp_path / "audit.xlsx", "控制总数"))


# ------------------------------------------------------------------------------------------- refusals


def test_refusals(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CaseFileError, match=r"ends in \.xlsx"):
        write_audit(run, tmp_path / "audit.xls")
    with pytest.raises(CaseFileError, match="no run is there"):
        write_audit(tmp_path / "nowhere", tmp_path / "audit.xlsx")
    bare = write_run(tmp_path / "bare", {"cases": pa.table({"case_id": ["a"]})}, {})
    with pytest.raises(CaseFileError, match="no settled cases"):
        write_audit(bare, tmp_path / "audit.xlsx")
    with pytest.raises(CaseFileError, match=r"ends in \.csv or \.xlsx"):
        write_audit(run, tmp_path / "audit.xlsx", finance=tmp_path / "l.pdf")
    monkeypatch.setitem(__import__("sys").modules, "xlsxwriter", None)
    with pytest.raises(CaseFileError, match="XlsxWriter"):
        write_audit(run, tmp_path / "audit.xlsx")
    assert not (tmp_path / "audit.xlsx").exists()


def test_a_broken_write_leaves_the_old_file(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "audit.xlsx"
    path.write_text("old")
    monkeypatch.setattr("grouper._audit.write_proofs", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_audit(run, path)
    assert path.read_text() == "old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["audit.xlsx", "run"]
