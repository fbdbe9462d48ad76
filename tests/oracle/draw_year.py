"""Random policies with a year, and cases drawn to hurt: ties, exact edges, blanks, zero costs.

Every draw has all the sections that its method allows, each with a chance; the same seed gives the
same draw. What the parts of a policy are called follows docs/policy.md.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from itertools import product
from pathlib import Path
from typing import Any

from oracle.draw_policy import Rows, parameter, write_policy
from oracle.draw_year_cases import BUSY, GROUPS, HOSPITALS, MONTHS, draw_case, draw_ledger

YEAR = {"from": date(2025, 1, 1), "to": date(2025, 12, 31)}
HALVES = (
    {"from": date(2025, 1, 1), "to": date(2025, 3, 31)},
    {"from": date(2025, 4, 1), "to": date(2025, 12, 31)},
)
SOURCE = {"source": "drawn"}


@dataclass
class DrawnYear:
    """A policy on disk, and what it is to settle."""

    path: Path
    policy: dict[str, Any]
    cases: Rows
    hospitals: Rows
    ledger: Rows


# ---------------------------------------------------------------------------- methods


def _methods() -> Iterator[dict[str, str]]:
    forms = [("difference", "region"), ("fund_points", "region"), ("ratio", "region")]
    forms += [("ratio", "hospital"), ("ratio", "case"), ("ratio", "published")]
    for kind, rate in (
        ("point", "fixed"),
        ("rate", "floating"),
        ("rate", "fixed"),
        ("rate", "elastic"),
    ):
        shares = kind == "point" or rate == "floating"
        more = [("in_scope", "published")] if (kind, rate) == ("rate", "fixed") else []
        for form, scope in [*forms, *more]:
            yield {"kind": kind, "rate": rate, "fund_form": form, "ratio_scope": scope}
            if form == "difference" and shares:
                solved = {"negative": "zero_case", "left_over": "solve"}
                yield {"kind": kind, "rate": rate, "fund_form": form, **solved}


METHODS = list(_methods())
"""Every method with every fund form that goes with it."""


def draw_year(seed: int, folder: Path, *, yearly: bool = True, n: int = 50) -> DrawnYear:
    """Draw a policy of the seed's method, `n` cases and a ledger.

    Without a year the policy settles once, and the ledger holds decisions only.
    """
    rng = random.Random(f"year {seed}")
    policy = _policy(rng, dict(METHODS[seed % len(METHODS)]))
    weights = {"w.csv": _weights(rng)}
    cases = [draw_case(rng, k, weights["w.csv"]) for k in range(n)]
    policy["param"] |= _money(rng, policy, cases)
    folder.mkdir(parents=True, exist_ok=True)
    _csv(folder / "benchmarks.csv", _benchmarks(rng))
    _csv(folder / "coefficients.csv", _coefficients(rng))
    ledger = draw_ledger(rng, policy, cases)
    if not yearly:
        policy |= {"year": None, "warnings": None}
        ledger = [e for e in ledger if e["kind"] in ("special_case", "appeal")]
    path = write_policy(folder, policy, weights)
    return DrawnYear(path, policy, cases, HOSPITALS, ledger)


# ---------------------------------------------------------------------------- policies


def _maybe(rng: random.Random, chance: float, value: Any) -> Any:
    return value if rng.random() < chance else None


def _policy(rng: random.Random, method: dict[str, Any]) -> dict[str, Any]:
    shares = method["kind"] == "point" or method["rate"] == "floating"
    method["dated_by"] = rng.choice(["settlement", "settlement", "discharge"])
    method["fund_by"] = "settlement"
    method["points_per_weight"] = rng.choice([100, 1000])
    method["score_of_mean"] = rng.choice([0, 0, 1000])
    method["score_decimals"] = rng.choice([4, 2])
    negative = ["keep", "zero_case", "zero_hospital", "zero_hospital"]
    method.setdefault("negative", rng.choice(negative))
    left_over = ["report", "rescale", "reserve"] if shares else ["report"]
    method.setdefault("left_over", rng.choice(left_over))
    method |= SOURCE
    families = _families(rng, shares)
    bands = _bands(rng, method)
    return {
        "id": "drawn",
        "title": "drawn",
        "standing": "invented",
        "source": "drawn",
        "method": method,
        "funds": {"other_payers": rng.choice([[], ["aid_fund_fen"]]), **SOURCE},
        "pool": _pools(rng, method),
        "weights": [{"file": "w.csv", "from": date(2020, 1, 1), **SOURCE}],
        "basic": _maybe(rng, 0.4, dict(SOURCE)),
        "coefficient": _coefficient(rng),
        **bands,
        "high_quota": _maybe(
            rng,
            0.5 if bands.get("high") else 0,
            {
                "share": Decimal("0.05"),
                "per": rng.choice(["hospital", "level", "pool"]),
                **SOURCE,
            },
        ),
        "status_pay": _status_pay(rng),
        "family": families,
        "carve_out": _maybe(
            rng,
            0.6,
            {
                "share": rng.choice([1, Decimal("0.7")]),
                "fund": rng.choice(["inside", "outside"]),
                **SOURCE,
            },
        ),
        "readmission": _readmissions(rng),
        "special_cases": _maybe(
            rng,
            0.7,
            {
                "per": rng.choice(["pool", "level", "hospital"]),
                "paid_from": rng.choice(["fund", "reserve"]),
                **SOURCE,
            },
        ),
        "budget": _maybe(rng, 0.6, _budget(rng, families)),
        "year": _year(rng, method),
        "warnings": _maybe(
            rng,
            0.5,
            {"yellow": Decimal("0.9"), "orange": 1, "red": Decimal("1.1"), **SOURCE},
        ),
        "param": _parameters(rng, method, families),
    }


def _pools(rng: random.Random, method: Mapping[str, str]) -> Rows:
    away = {"id": "away", "insured_area": ["外地"], "price_of": "employee"}
    employee = {"id": "employee", "insurance": ["310"]}
    found: Rows = [employee, {"id": "居民"}]
    if rng.random() < 0.3:
        found.insert(0, {"id": "consortium", "hospital": ["H2", "é"], "insurance": ["390"]})
    if rng.random() < 0.5:
        found.insert(0, away)
    return found


def _families(rng: random.Random, shares: bool) -> Rows:
    fund = ["points", "off_top", "outside"]
    every: Rows = [
        {"id": "bed", "when": {"med_type": ["52"]}, "pay": "per_day", "fund": rng.choice(fund)},
        {"id": "long", "when": {"los_from": 60}, "pay": "per_day", "fund": rng.choice(fund)},
        {
            "id": "day",
            "when": {"department": ["日间"]},
            "pay": "per_case",
            "fund": rng.choice(fund),
        },
        {
            "id": "tcm",
            "when": {"fee": "tcm_fen", "fee_share_from": Decimal("0.6")},
            "pay": "factor",
        },
        {
            "id": "item",
            "when": {"ipt_med_type": ["9"], "group": ["G1", "G2"]},
            "pay": "booked",
            "fund": rng.choice(fund[1:]),
        },
    ]
    return [{**f, **SOURCE} for f in every if rng.random() < 0.6]


def _coefficient(rng: random.Random) -> dict[str, Any] | None:
    steps: Rows = [
        {
            "indicator": "cmi",
            "step": 5,
            "each": Decimal("0.01"),
            "caps": {'"三级"': Decimal("0.13")},
        },
        {
            "indicator": "age_share",
            "age_from": 70,
            "step": 20,
            "first": Decimal("0.01"),
            "each": Decimal("0.01"),
            "caps": {'"三级"': Decimal("0.03"), '"二级"': Decimal("0.01")},
        },
        {
            "indicator": "fee_share",
            "fee": "tcm_fen",
            "step": 3,
            "each": Decimal("0.01"),
            "caps": {'"三级"': Decimal("0.05"), '"二级"': Decimal("0.03")},
        },
    ]
    kinds: list[dict[str, Any] | None] = [
        None,
        {"kind": "table", "file": "coefficients.csv", "by": "level"},
        {"kind": "steps", "step": steps},
        {
            "kind": "mean_ratio",
            "of": rng.choice(["hospital", "level"]),
            "per_group": rng.choice([True, False]),
            "least": Decimal("0.4"),
            "most": Decimal("1.5"),
            "least_cases": rng.choice([1, 3]),
            "decimals": rng.choice([4, 2]),
        },
    ]
    chosen = rng.choice(kinds)
    return None if chosen is None else {**chosen, **SOURCE}


def _bands(rng: random.Random, method: Mapping[str, Any]) -> dict[str, Any]:
    kinds = ["mean", "mean", "table", "standard", "score", "none"]
    kind = rng.choice(kinds)
    benchmark: dict[str, Any] = {"kind": kind, **SOURCE}
    if kind == "table":
        benchmark |= {"file": "benchmarks.csv", "by": "level"}
    if kind == "score":
        benchmark["point_value"] = rng.choice(["published", "last"])
    if kind == "none":
        return {"benchmark": benchmark}

    def edge(value: str, pay: str, **more: Any) -> dict[str, Any]:
        return {
            "edge": Decimal(value),
            "inclusive": rng.choice([True, False]),
            "pay": pay,
            "coefficient": rng.choice([True, False]),
            "from": date(2020, 1, 1),
            **SOURCE,
            **more,
        }

    share = rng.choice([1, Decimal("0.8"), Decimal("0.333")])
    low = [
        edge("0.4", rng.choice(["cost", "ratio", "base"])),
        edge("0.5", "ratio", level="三级"),
        edge("0.45", "ratio", level="三级", **{"class": "甲"}),
    ]
    formula = "full + share * bare * (ratio - above)"
    formula = rng.choice([formula, "max(full, min(bare * ratio, 2 * full))", "full * (1 + share)"])
    high = [
        edge("2", "excess", share=share, above=_maybe(rng, 0.5, Decimal("1.5"))),
        edge("1.8", "excess", share=share, cap=Decimal("1.25"), level="二级"),
        edge("2.5", "formula", formula=formula, share=Decimal("0.5"), level="一级"),
        edge(
            "1.5", "excess", key="points", weight_from=method["points_per_weight"] * 2, level="三级"
        ),
    ]
    extreme = [edge("5", rng.choice(["base", "excess"]), above=2, review=True)]
    return {
        "benchmark": benchmark,
        "low": rng.sample(low, rng.randint(0, 3)),
        "high": rng.sample(high, rng.randint(1, 4)),
        "extreme": extreme if rng.random() < 0.5 else [],
    }


def _status_pay(rng: random.Random) -> dict[str, Any]:
    def rule(**fields: Any) -> dict[str, Any]:
        return {**fields, **SOURCE}

    anything = [
        rule(rule="weight", value=Decimal("0.5"), coefficient=rng.choice([True, False])),
        rule(rule="zero"),
        rule(rule="cost", value=Decimal("0.6")),
        rule(rule="cost_over_mean", value=Decimal("0.7")),
        rule(rule="booked"),
        rule(rule="group", value="0000"),
    ]
    return {
        "ambiguous": rng.choice(anything),
        "ungrouped": rng.choice(anything),
        "rejected": rng.choice(anything),
        "not_covered": rng.choice(anything[:5]),
        "no_list": rule(rule="cost", value=Decimal("0.25")),
    }


def _readmissions(rng: random.Random) -> Rows:
    near = {"days": 9, "same_group": True, "other_hospital": True, "factor": Decimal("0.5")}
    any_ = {"days": 20, "same_group": False, "factor": Decimal("0.875")}
    return [{**r, **SOURCE} for r in (near, any_) if rng.random() < 0.6]


def _budget(rng: random.Random, families: Rows) -> dict[str, Any]:
    less: Rows = [{"id": "risk", "kind": "share", "share": Decimal("0.05"), "reserve": True}]
    less += [
        {"id": f["id"], "kind": rng.choice(["amount", "actual"])}
        for f in families
        if f.get("fund") == "outside"
    ]
    if rng.random() < 0.5:
        less.append({"id": "training", "kind": "share", "share": Decimal("0.003")})
    method = rng.choice(["amount", "growth"])
    return {"method": method, "less": less, **SOURCE}


def _year(rng: random.Random, method: Mapping[str, Any]) -> dict[str, Any]:
    month = rng.choice(["own", "budget", "last", "last"]) if method["kind"] == "point" else "own"
    if method["left_over"] in ("rescale", "solve"):
        month = "own"

    def band(start: str | None, below: str | None, share: str) -> dict[str, Any]:
        ends = {"ratio_from": start, "ratio_below": below, "share": share}
        return {k: Decimal(v) for k, v in ends.items() if v is not None} | SOURCE

    return {
        "pace": rng.choice(["even", "seasonal", "seasonal"]),
        "month_point_value": month,
        "assessment": rng.choice(["none", "pay", "deposit"]),
        "surplus": rng.choice(
            [[], [band(None, "0.8", "0.3"), band("0.8", "1", "0.75")], [band("0.5", "0.9", "0.5")]]
        ),
        "overspend": rng.choice([[], [band("1", "1.2", "0.5"), band("1.2", None, "0.25")]]),
        "overspend_from": rng.choice(
            [["reserve"], ["unretained"], ["reserve", "unretained"], ["unretained", "reserve"]]
        ),
        "no_top_up": rng.random() < 0.15,
        "unretained_to": rng.choice(["reserve", "next_year", "second"]),
        **SOURCE,
    }


def _parameters(rng: random.Random, method: Mapping[str, Any], families: Rows) -> dict[str, Any]:
    p0 = Decimal("9000") / method["points_per_weight"]
    found = {
        "base_rate": parameter(
            "yuan per 1.0000 RW",
            {"value": Decimal("9000.5")},
            {"value": Decimal("8501"), "level": "二级", "from": date(2020, 1, 2)},
        ),
        "coefficient": parameter(
            "ratio",
            {"value": 1},
            {"value": Decimal("1.12345"), "level": "三级", "from": date(2020, 1, 2)},
            {"value": Decimal("0.85"), "class": "丙", "from": date(2020, 1, 3)},
            {"value": Decimal("0.9"), "area": "县", "from": date(2020, 1, 4)},
        ),
        "overall_mean": parameter("yuan", {"value": Decimal("8955.52")}),
        "point_value_budget": parameter("yuan", {"value": p0}),
        "point_value_last": parameter("yuan", {"value": p0 * Decimal("0.97")}),
        "special_share": parameter(
            "ratio",
            {"value": Decimal("0.05")},
            {"value": Decimal("0.3"), "level": "三级", "from": date(2020, 1, 2)},
        ),
        "monthly_rate": parameter("ratio", {"value": rng.choice([1, Decimal("0.95")])}),
        "deposit_rate": parameter(
            "ratio",
            {"value": Decimal("0.05")},
            {"value": Decimal("0.03"), "hospital": "H2", "from": date(2020, 1, 2)},
        ),
        "assessment": parameter(
            "ratio",
            {"value": Decimal("0.98")},
            {"value": Decimal("1.02"), "hospital": "H1", "from": date(2020, 1, 2)},
        ),
        "pace": parameter("ratio", *({"value": 9 if m in BUSY else 1, "month": m} for m in MONTHS)),
    }
    if method["ratio_scope" if "ratio_scope" in method else "rate"] == "published":
        found["fund_ratio"] = parameter("ratio", {"value": Decimal("0.7345")})
    ids = {f["id"]: f["pay"] for f in families}
    prices = {"bed": "280.5", "long": "199.99", "day": "5200", "tcm": "1.08"}
    for name in ("per_day", "per_case", "factor"):
        values: Rows = [
            {"value": Decimal(prices[i]), "family": i} for i, pay in ids.items() if pay == name
        ]
        if values:
            money = name != "factor"
            found[name if money else "family_factor"] = parameter(
                "yuan" if money else "ratio", *values
            )
    return found


def _money(rng: random.Random, policy: Mapping[str, Any], cases: Rows) -> dict[str, Any]:
    """Funds and budgets of about what was booked, caps and reserves."""
    method = policy["method"]
    periods: Sequence[Mapping[str, date]] = rng.choice([(YEAR,), (YEAR,), HALVES])
    booked = sum(c["fund_paid_fen"] for c in cases)
    makers = [p["id"] for p in policy["pool"] if not p.get("price_of")]
    factor = Decimal(rng.choice(["1.3", "1", "0.85"]))
    values: Rows = []
    for pool, period in product(makers, periods):
        share = Decimal("0.62") if pool == "employee" else Decimal("0.55")
        yuan = (Decimal(booked) * share * factor / len(periods)).quantize(Decimal(1)).scaleb(-2)
        values.append({**period, "value": yuan, "pool": pool})
    found: dict[str, Any] = {}
    budget = policy["budget"]
    if budget is None:
        found["fund"] = parameter("yuan", *values)
    elif budget["method"] == "growth":
        found["budget_base"] = parameter("yuan", *values)
        found["budget_growth"] = parameter("ratio", {"value": Decimal("0.0313")})
    else:
        found["budget"] = parameter("yuan", *values)
    items = [less["id"] for less in (budget or {"less": []})["less"] if less["kind"] == "amount"]
    if items:
        least = min(v["value"] for v in values)
        each = (least / 50).quantize(Decimal(1))
        found["less"] = parameter("yuan", *({"value": each, "item": item} for item in items))
    if rng.random() < 0.6:
        found["hospital_cap"] = parameter(
            "yuan", {"value": (Decimal(booked) / 800).quantize(Decimal("0.01")), "hospital": "H1"}
        )
    special = policy["special_cases"] or {}
    if special.get("paid_from") == "reserve":
        found["reserve_balance"] = parameter("yuan", {"value": booked})
    elif rng.random() < 0.6:
        found["reserve_balance"] = parameter("yuan", {"value": Decimal(booked // 5000)})
    if method["rate"] == "elastic" and method["kind"] == "rate":
        found["base_volume"] = parameter("ratio", {"value": rng.choice([5, 20, 1000])})
    if method["kind"] == "point" and method["left_over"] in ("report", "reserve"):
        each = Decimal(booked) / 100 / len(cases) / method["points_per_weight"]
        if rng.random() < 0.5:
            found["point_value_cap"] = parameter(
                "yuan", {"value": (each * 3).quantize(Decimal("0.0001"))}
            )
        if rng.random() < 0.5:
            value = (each * Decimal("0.6")).quantize(Decimal("0.0001"))
            found["point_value_floor"] = parameter("yuan", {"value": value})
    return found


# ---------------------------------------------------------------------------- tables beside


def _weights(rng: random.Random) -> dict[str, dict[str, str]]:
    rows = {}
    for g in GROUPS:
        weight = rng.choice(["1", "0.5", "2", "0.928", "1.7026", "0.999", ""])
        rows[g] = {
            "weight": "0.2" if g == "0000" else weight,
            "mean_cost": rng.choice(["", "10000", "9000", "7955.525", "123.455"]),
            "basic": rng.choice(["", "", "1"]),
        }
    del rows[rng.choice(GROUPS[1:])]
    return rows


def _csv(path: Path, rows: list[list[str]]) -> None:
    path.write_text("".join(",".join(row) + "\n" for row in rows), encoding="utf-8")


def _benchmarks(rng: random.Random) -> list[list[str]]:
    rows = [["group", "level", "mean_cost"]]
    for g in GROUPS[1:]:
        rows += [[g, at, f"{rng.choice([9000, 10000, 7955.5])}"] for at in ("", "三级")]
    return rows


def _coefficients(rng: random.Random) -> list[list[str]]:
    rows = [["group", "level", "coefficient"], ["", "三级", "1.1"], ["", "二级", "0.9"]]
    return [*rows, *([g, "三级", f"{rng.choice([0.8, 1.25, 1.0])}"] for g in GROUPS[1:3])]
