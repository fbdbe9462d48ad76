"""A small policy with a year, and cases for it: what the laws of the year are tested on."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
from oracle.draw_policy import case_table, parameter, write_policy

from grouper import Settlement, settle

Row = dict[str, Any]

HOSPITALS = {"H1": "三级", "H2": "二级", "H10": "二级", "医院": "一级"}
WEIGHTS = {
    "A": {"weight": "0.5", "mean_cost": "4000"},
    "B": {"weight": "1.25", "mean_cost": "11000.50"},
    "C": {"weight": "3", "mean_cost": "26000"},
}
YEAR = {"from": date(2025, 1, 1), "to": date(2025, 12, 31)}
FROM = date(2025, 1, 1)
STATUSES = ("ambiguous", "ungrouped", "rejected", "not_covered")


def edge(value: str, pay: str, **more: Any) -> Row:
    return {"edge": Decimal(value), "pay": pay, "from": FROM, "source": "invented", **more}


def year_policy(
    folder: Path,
    *,
    method: Mapping[str, Any] | None = None,
    year: Mapping[str, Any] | None = None,
    months: bool = True,
    param: Mapping[str, Any] | None = None,
    **more: Any,
) -> Path:
    """Write a policy: points, two pools, bands on the mean, monthly rate and deposit."""
    settings: Row = {
        "id": "year",
        "title": "year",
        "standing": "invented",
        "source": "invented",
        "method": {
            "kind": "point",
            "fund_form": "difference",
            "source": "invented",
            **(method or {}),
        },
        "funds": {"source": "invented"},
        "pool": [{"id": "a", "insurance": ["310"]}, {"id": "b", "insurance": ["390"]}],
        "weights": [{"file": "w.csv", "from": FROM, "source": "invented"}],
        "benchmark": {"kind": "mean", "source": "invented"},
        "low": [edge("0.5", "ratio")],
        "high": [edge("2", "excess", share=Decimal("0.8"), coefficient=False)],
        "extreme": [edge("5", "base", review=True)],
        "status_pay": {s: {"rule": "zero", "source": "invented"} for s in STATUSES},
        "param": {
            "fund": parameter(
                "yuan",
                {**YEAR, "value": 400_000, "pool": "a"},
                {**YEAR, "value": 300_000, "pool": "b"},
            ),
            "coefficient": parameter(
                "ratio",
                {"value": Decimal("1.1"), "level": "三级"},
                {"value": 1, "level": "二级"},
                {"value": Decimal("0.85"), "level": "一级"},
            ),
            "monthly_rate": parameter("ratio", {"value": Decimal("0.95")}),
            "deposit_rate": parameter("ratio", {"value": Decimal("0.05")}),
            **(param or {}),
        },
        **more,
    }
    if months:
        settings["year"] = {"source": "invented", **(year or {})}
    return write_policy(folder, settings, {"w.csv": WEIGHTS})


def draw_cases(seed: Any, n: int = 60, months: int = 4) -> list[Row]:
    """Draw cases of the first months of 2025; their booked funds are 60 to 80 % of the cost."""
    rng = random.Random(seed)
    found = []
    for k in range(n):
        group = rng.choice("ABC")
        mean = int(Decimal(WEIGHTS[group]["mean_cost"]) * 100)
        cost = rng.choice([mean // 2, mean, 2 * mean, 2 * mean + 1, 5 * mean, rng.randrange(10**7)])
        hospital = rng.choice(list(HOSPITALS))
        found.append(
            {
                "case_id": f"C{k}",
                "status": "grouped",
                "group": group,
                "hospital_id": hospital,
                "hospital_level": HOSPITALS[hospital],
                "insurance": rng.choice(["310", "390"]),
                "settlement_date": FROM + timedelta(days=rng.randrange(30 * months)),
                "total_cost_fen": cost,
                "fund_paid_fen": cost * rng.randrange(60, 80) // 100,
                "hospital_borne_fen": 0,
            }
        )
    return found


def table_of(cases: list[Row]) -> Any:
    """Lay out cases, with the flag of reversed settlements."""
    plain = case_table([{k: v for k, v in c.items() if k != "refd_setl_flag"} for c in cases])
    flags = pa.array([bool(c.get("refd_setl_flag")) for c in cases])
    return plain.append_column("refd_setl_flag", flags)


def ledger_of(*entries: Row) -> Any:
    """Lay out entries that people write."""
    names = ("entry_id", "kind", "pool_id", "hospital_id", "case_id", "settlement_month")
    texts = (*names, "value", "outcome", "reason", "reference", "entered_by")
    kinds = {
        **dict.fromkeys(texts, pa.string()),
        "amount_fen": pa.int64(),
        "entered_on": pa.date32(),
    }
    return pa.Table.from_pylist(list(entries), pa.schema(kinds))


def paid(path: Path, cases: list[Row], **more: Any) -> Settlement:
    """Settle cases under a policy."""
    return settle(table_of(cases), path, **more)
