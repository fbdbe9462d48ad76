"""Cases, hospitals and ledger entries for drawn years: edges hit exactly, blanks, zero costs."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
from oracle.draw_policy import FIELDS, Rows

MONTHS = [f"2025-{m:02}" for m in range(1, 13)]
BUSY = MONTHS[:5]  # in which cases are settled
LEVELS = {"H1": "三级", "H10": "三级", "H2": "二级", "医院": "二级", "é": "一级", "h1": "三级"}
CLASSES = {"H1": "甲", "H10": "乙", "H2": "甲", "医院": "", "é": "丙", "h1": "乙"}
AREAS = {h: "县" if h in ("H2", "é") else "市" for h in LEVELS}
GROUPS = ["0000", "G1", "G2", "G3", "G4", "G5"]

YEAR_FIELDS: dict[str, Any] = {
    **FIELDS,
    **dict.fromkeys(
        ("reason", "insured_area", "hospital_area", "hospital_class", "patient_id", "department"),
        pa.string(),
    ),
    **dict.fromkeys(("med_type", "ipt_med_type", "trt_type"), pa.string()),
    "admission_date": pa.date32(),
    "los": pa.int32(),
    "age": pa.int16(),
    "tcm_fen": pa.int64(),
    "refd_setl_flag": pa.bool_(),
}
HOSPITAL_FIELDS: dict[str, Any] = {
    **dict.fromkeys(
        ("hospital_id", "hospital_level", "hospital_class", "hospital_area"), pa.string()
    ),
    **dict.fromkeys(("valid_from", "valid_to"), pa.date32()),
}
LEDGER_TEXT = ("entry_id", "kind", "pool_id", "hospital_id", "case_id", "settlement_month")
LEDGER_FIELDS: dict[str, Any] = {
    **dict.fromkeys(LEDGER_TEXT, pa.string()),
    "amount_fen": pa.int64(),
    **dict.fromkeys(("value", "outcome", "reason", "reference", "entered_by"), pa.string()),
    "entered_on": pa.date32(),
}


def case_table(rows: Rows) -> Any:
    """Lay out cases as the table that `settle` takes."""
    return pa.Table.from_pylist(rows, pa.schema(YEAR_FIELDS))


def hospital_table(rows: Rows) -> Any:
    """Lay out hospitals as the table that `settle` takes."""
    return pa.Table.from_pylist(rows, pa.schema(HOSPITAL_FIELDS))


def ledger_table(rows: Rows) -> Any:
    """Lay out ledger entries as the table that `settle` takes."""
    return pa.Table.from_pylist(rows, pa.schema(LEDGER_FIELDS))


HOSPITALS: Rows = [
    {
        "hospital_id": h,
        "hospital_level": LEVELS[h],
        "hospital_class": CLASSES[h],
        "hospital_area": AREAS[h],
        "valid_from": None,
        "valid_to": None,
    }
    for h in LEVELS
    if h != "h1"  # what it is stands in its cases only
]


# ---------------------------------------------------------------------------- cases


def draw_case(
    rng: random.Random, k: int, weights: Mapping[str, Mapping[str, str]]
) -> dict[str, Any]:
    group = rng.choice(GROUPS[1:])
    month = rng.choice(BUSY)
    day = date.fromisoformat(f"{month}-01") + timedelta(days=rng.choice([0, 27, rng.randrange(28)]))
    los = rng.choice([0, 1, 3, 7, 12, 60, 75] if rng.random() < 0.4 else [3, 5, 8])
    left = day - timedelta(days=rng.choice([0, 0, 1, 30]))
    cost = _cost(rng, weights.get(group, {}))
    booked = cost * rng.choice([50, 60, 70, 75, 80]) // 100
    rest = cost - booked
    status = rng.choices(["grouped", "ambiguous", "ungrouped", "rejected"], [88, 4, 4, 4])[0]
    return {
        "case_id": rng.choice([f"C{k}", f"c{k:03}", f"例{k}", f"é{k}"]),
        "status": status,
        "group": None if status in ("ungrouped", "rejected") else group,
        "reason": rng.choice(["no_list", "sex_unreadable"]) if status == "rejected" else None,
        "hospital_id": (hospital := rng.choice(list(LEVELS))),
        "hospital_level": LEVELS[hospital],
        "hospital_class": CLASSES[hospital] or None,
        "hospital_area": AREAS[hospital],
        "insurance": rng.choice(["310", "310", "390"]),
        "insured_area": rng.choice(["本地", "本地", "本地", "外地", None]),
        "settlement_date": day,
        "discharge_date": left,
        "admission_date": left - timedelta(days=los),
        "los": los,
        "age": rng.choice([None, 3, 40, 70, 71, 88]),
        "patient_id": rng.choice([None, f"P{rng.randrange(12)}"]),
        "med_type": rng.choice(["21", "21", "21", "21", "52"]),
        "department": rng.choice(["内科", "内科", "内科", "内科", "日间"]),
        "ipt_med_type": rng.choice(["1", "1", "1", "9"]),
        "total_cost_fen": cost,
        "fund_paid_fen": booked,
        "hospital_borne_fen": rng.choice([0, 0, rest // 5]),
        "aid_fund_fen": rng.choice([0, 0, rest // 4]),
        "account_fen": 0,
        "cash_fen": rest // 3,
        "tcm_fen": rng.choice([None, 0, cost // 10, cost * 3 // 5 + 1]),
        "full_self_pay_fen": rng.choice([0, rest // 2]),
        "first_self_pay_fen": rng.choice([0, rest // 5]),
        "deductible_fen": rng.choice([0, 20000]),
        "carve_out_fen": rng.choice([None, 0, 0, cost // 7]),
        "unreasonable_fen": rng.choice([None, 0, 0, cost // 9]),
        "refd_setl_flag": False,
    }


def _cost(rng: random.Random, row: Mapping[str, str]) -> int:
    """Draw a cost that often lies at an edge exactly, or a fen beside it."""
    mean = Decimal(row.get("mean_cost") or "9000") * 100
    if rng.random() < 0.03:
        return 0
    if rng.random() < 0.4:
        edge = Decimal(rng.choice(["0.4", "0.5", "1.8", "2", "2.5", "5"]))
        return max(int(mean * edge) + rng.choice([0, 0, 1, -1]), 0)
    return int(mean * Decimal(rng.choice(["0.3", "0.8", "1", "1.3", "3", "7"])))


# ---------------------------------------------------------------------------- the ledger


def draw_ledger(rng: random.Random, policy: Mapping[str, Any], cases: Rows) -> Rows:
    """Entries of every kind, for hospitals that have cases in the pool and period."""
    entries: Rows = []

    def add(kind: str, **fields: Any) -> None:
        month = fields.get("settlement_month") or rng.choice(BUSY)
        day = date.fromisoformat(f"{month}-15") + timedelta(days=rng.choice([0, 13, 20]))
        entry = {"entry_id": f"E{rng.randrange(10**6):06}{len(entries)}", "kind": kind}
        entry |= dict.fromkeys(("reason", "reference", "entered_by"), "drawn")
        entries.append({**entry, "entered_on": day, **fields})

    def someone() -> dict[str, Any]:
        case = rng.choice([c for c in cases if pool_of(policy, c) != "away"])
        return {
            "pool_id": pool_of(policy, case),
            "hospital_id": case["hospital_id"],
            "settlement_month": f"{case['settlement_date']:%Y-%m}",
        }

    plain = {
        "med_type": "21",
        "department": "内科",
        "ipt_med_type": "1",
    }  # in no family with a price
    single = [
        c
        for c in cases
        if c["total_cost_fen"]
        and c["los"] < 60
        and all(c[k] == v for k, v in plain.items())
        and pool_of(policy, c) != "away"
    ]
    for case in rng.sample(single, min(8, len(single))):
        for kind in rng.choice([["special_case"], ["appeal"], ["special_case", "appeal"]]):
            outcome = rng.choice(["refused", "score", "cost_over_mean", "booked"])
            value = {"score": "123.45", "cost_over_mean": "1.1"}.get(outcome)
            if outcome == "score" and policy["method"]["kind"] == "rate":
                value = "12345.67"
            add(kind, case_id=case["case_id"], outcome=outcome, value=value)
    for kind, sign in (("deduction", -1), ("adjustment", 1), ("adjustment", -1), ("hold", -1)):
        for _ in range(2):
            add(kind, **someone(), amount_fen=sign * rng.choice([1, 9_999, 400_000]))
    for kind in ("release", "prepayment"):
        add(kind, **someone(), amount_fen=rng.randrange(1, 200_000))
    if policy["year"]["assessment"] != "none":
        add("assessment", **someone(), value=rng.choice(["0.95", "1", "1.013"]))
    return entries


def pool_of(policy: Mapping[str, Any], case: Mapping[str, Any]) -> str:
    """The first pool all of whose lists name the case."""
    lists = ("insurance", "insured_area", "hospital")
    key = {"hospital": "hospital_id"}
    for pool in policy["pool"]:
        if all(case[key.get(name, name)] in pool[name] for name in lists if name in pool):
            return str(pool["id"])
    raise AssertionError(case)
