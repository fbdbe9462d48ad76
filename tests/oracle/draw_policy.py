"""Random policies and grouped cases drawn to hurt: ties, exact edges, dated changes, blanks."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from itertools import product
from pathlib import Path
from typing import Any

import pyarrow as pa

Rows = list[dict[str, Any]]

GROUPS = ["0000", *(f"G{k}" for k in range(1, 9)), "组9"]
LEVELS = ["三级", "二级", "一级"]
INSURANCES = ["310", "390", "340"]
HOSPITALS = ["H1", "H10", "H2", "医院", "h1", "é", "H0"]  # their byte order is not their order here
YEAR = (date(2025, 1, 1), date(2025, 12, 31))

MONEY = (
    "total_cost_fen",
    "fund_paid_fen",
    "pooled_fund_fen",
    "major_illness_fund_fen",
    "aid_fund_fen",
    "hospital_borne_fen",
    "account_fen",
    "cash_fen",
    "full_self_pay_fen",
    "first_self_pay_fen",
    "deductible_fen",
    "carve_out_fen",
    "unreasonable_fen",
    "tcm_fen",
)
TEXT = (
    *("case_id", "status", "group", "hospital_id", "hospital_level", "hospital_class"),
    *("insurance", "pay_note", "patient_id"),
)
FIELDS: dict[str, Any] = {
    **dict.fromkeys(TEXT, pa.string()),
    **dict.fromkeys(("settlement_date", "discharge_date", "admission_date"), pa.date32()),
    "age": pa.int32(),
    **dict.fromkeys(MONEY, pa.int64()),
}
HOSPITAL_FIELDS: dict[str, Any] = {
    **dict.fromkeys(("hospital_id", "hospital_level"), pa.string()),
    **dict.fromkeys(("valid_from", "valid_to"), pa.date32()),
}


def case_table(rows: Rows) -> Any:
    """Lay out cases as the table that `settle` takes."""
    return pa.Table.from_pylist(rows, pa.schema(FIELDS))


def hospital_table(rows: Rows) -> Any:
    """Lay out hospitals as the table that `settle` takes."""
    return pa.Table.from_pylist(rows, pa.schema(HOSPITAL_FIELDS))


# ---------------------------------------------------------------------------- methods


def _methods() -> Iterator[dict[str, Any]]:
    forms = [("difference", "region"), ("fund_points", "region")]
    forms += [("ratio", s) for s in ("region", "hospital", "case", "published")]
    for kind, rate in (("point", "fixed"), ("rate", "floating"), ("rate", "fixed")):
        fixed = (kind, rate) == ("rate", "fixed")
        for (form, scope), negative, left_over in product(
            [*forms, ("in_scope", "published")] if fixed else forms,
            ("keep", "zero_case"),
            ("report",) if fixed else ("report", "rescale"),
        ):
            yield {
                "kind": kind,
                "rate": rate,
                "fund_form": form,
                "ratio_scope": scope,
                "negative": negative,
                "left_over": left_over,
            }


METHODS = list(_methods())
"""Every pair of method and fund form that fits together."""


def method_name(method: Mapping[str, Any]) -> str:
    return "-".join(method.values())


# ---------------------------------------------------------------------------- policies


@dataclass
class Drawn:
    """A policy on disk, and cases to pay by it."""

    path: Path
    cases: Rows
    hospitals: Rows | None

    @property
    def table(self) -> Any:
        return case_table(self.cases)

    @property
    def hospital_table(self) -> Any:
        return None if self.hospitals is None else hospital_table(self.hospitals)


def draw(method: Mapping[str, Any], seed: int, folder: Path, n: int = 60) -> Drawn:
    """Draw a policy of this method and `n` cases; the same seed gives the same."""
    rng = random.Random(f"{method_name(method)} {seed}")
    policy = _policy(rng, dict(method))
    weights = {w["file"]: _weights(rng) for w in policy["weights"]}
    notes = _notes(rng, sorted({g for t in weights.values() for g in t}))
    hospitals = _hospitals(rng) if rng.random() < 0.6 else None
    rate = policy["param"].get("base_rate", {"values": [{"value": 9000}]})["values"][0]["value"]
    table = next(iter(weights.values()))
    edges = [e["edge"] for e in (*policy["high"], *policy["low"])] or [Decimal("0.5"), 2]
    # What a form of the fund reckons with may not be blank.
    unknown: list[int | None] = [0]
    if method["fund_form"] in ("fund_points", "in_scope"):
        unknown.append(None)
    cases = [_case(rng, k, table, Decimal(rate), edges, notes, unknown) for k in range(n)]
    policy["param"]["fund"] = _fund(rng, policy, cases)
    write_policy(folder, policy, weights, notes)
    return Drawn(folder / "policy.toml", cases, hospitals)


def write_policy(
    folder: Path,
    policy: Mapping[str, Any],
    weights: Mapping[str, Mapping[str, Mapping[str, str]]],
    notes: Rows | None = None,
) -> Path:
    """Write policy.toml, its weight tables and pay_as.csv."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in weights.items():
        lines = ["group,weight,mean_cost,basic,kind"]
        lines += [
            ",".join([g, *(r.get(c, "") for c in ("weight", "mean_cost", "basic", "kind"))])
            for g, r in rows.items()
        ]
        (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    if notes:
        lines = ["id,group,note,pay_as,share,when"]
        lines += [
            f"{r['id']},{r['group']},note,{r['pay_as']},{r['share']},{r['when']}" for r in notes
        ]
        (folder / "pay_as.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    path = folder / "policy.toml"
    path.write_text(
        "\n".join(f"{k} = {toml(v)}" for k, v in policy.items() if v is not None), encoding="utf-8"
    )
    return path


def toml(value: Any) -> str:
    """Write a value as TOML, all of it on one line."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{k} = {toml(v)}" for k, v in value.items() if v is not None) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, date):
        return value.isoformat()
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def parameter(unit: str, *values: Mapping[str, Any]) -> dict[str, Any]:
    """Build a parameter; values that say no day hold from 2020."""
    return {
        "name_zh": "参数",
        "unit": unit,
        "values": [{"from": date(2020, 1, 1), "source": "drawn", **v} for v in values],
    }


def _policy(rng: random.Random, method: dict[str, Any]) -> dict[str, Any]:
    method["dated_by"] = rng.choice(["settlement", "settlement", "discharge"])
    method["points_per_weight"] = rng.choice([100, 1000, 1])
    method["score_decimals"] = rng.choice([4, 2, 6, 0])
    method["source"] = "drawn"
    param = {"coefficient": _coefficient(rng)} if rng.random() < 0.8 else {}
    benchmark = rng.choice(["standard", "standard", "mean", "none"])
    if method["kind"] == "rate" or benchmark == "standard":
        param["base_rate"] = _base_rate(rng)
    if method["ratio_scope"] == "published":
        param["fund_ratio"] = _fund_ratio(rng, method)
    param["overall_mean"] = parameter(
        "yuan",
        {"value": Decimal("7955.52")},
        {"value": Decimal("8123.4"), "from": date(2025, 6, 1)},
        {"value": Decimal("8900.07"), "level": "三级"},
    )
    return {
        "id": "drawn",
        "title": "drawn",
        "standing": "invented",
        "source": "drawn",
        "method": method,
        "funds": _funds(rng),
        "pool": rng.choice(
            [
                [{"id": "all"}],
                [{"id": "employee", "insurance": ["310"]}, {"id": "rest"}],
                [{"id": "rest"}, {"id": "two", "insurance": ["390", "340"]}],
                [{"id": f"池{i}", "insurance": [i]} for i in INSURANCES],
            ]
        ),
        "weights": rng.choice(
            [
                [_from("w1.csv", 2020, 1)],
                [_from("w1.csv", 2020, 1), _from("w2.csv", 2025, 5)],
                [_from("w2.csv", 2025, 9), _from("w1.csv", 2020, 1, to=date(2025, 10, 31))],
            ]
        ),
        "basic": {"level": "二级", "source": "drawn"} if rng.random() < 0.5 else None,
        "benchmark": {"kind": benchmark, "source": "drawn"},
        "low": _edges(rng, "low") if benchmark != "none" else [],
        "high": _edges(rng, "high") if benchmark != "none" else [],
        "status_pay": _status_pay(rng),
        "stand_in": {
            "hospital_id": "H0",
            "hospital_level": "二级",
            "insurance": "310",
            "settlement_date": date(2025, 6, 30),
        },
        "param": param,
    }


def _from(file: str, year: int, month: int, to: date | None = None) -> dict[str, Any]:
    return {"file": file, "from": date(year, month, 1), "to": to, "source": "drawn"}


def _coefficient(rng: random.Random) -> dict[str, Any]:
    """Values narrowed in several ways; no two share both their day and how many selectors."""
    values: Rows = [{"value": Decimal("1.00")}]
    values += [
        {"level": level, "value": v, "from": date(2020, 1, 2)}
        for level, v in zip(LEVELS, (Decimal("1.08"), 1, Decimal("0.85")), strict=True)
    ]
    more: Rows = [
        {"level": "三级", "value": Decimal("1.12345"), "from": date(2025, 4, 1)},
        {"hospital": "H2", "value": Decimal("1.4"), "from": date(2020, 1, 3)},
        {"group": "G3", "value": Decimal("0.9"), "from": date(2020, 1, 4), "to": date(2025, 8, 8)},
        {"pool": "rest", "value": Decimal("0.77"), "from": date(2020, 1, 5)},
        {"level": "三级", "insurance": "390", "value": Decimal("1.3"), "from": date(2020, 1, 6)},
        {"level": "一级", "group": "G5", "value": Decimal("0.4"), "from": date(2020, 1, 7)},
        {"hospital": "医院", "level": "二级", "value": 1, "from": date(2020, 1, 8)},
    ]
    return parameter("ratio", *values, *rng.sample(more, rng.randrange(len(more))))


def _base_rate(rng: random.Random) -> dict[str, Any]:
    first = rng.choice(["9000", "10000", "9986.9352", "12000", "1"])
    values: Rows = [{"value": Decimal(first)}]
    more: Rows = [
        {"value": Decimal("9080.56"), "from": date(2025, 7, 1)},
        {"value": Decimal("9865"), "level": "三级", "insurance": "310"},
        {"value": Decimal("8501"), "level": "二级", "from": date(2020, 1, 2)},
        {"value": Decimal("7000.5"), "group": "组9", "from": date(2020, 1, 3)},
    ]
    return parameter("yuan per 1.0000 RW", *values, *rng.sample(more, rng.randrange(len(more))))


def _fund_ratio(rng: random.Random, method: Mapping[str, Any]) -> dict[str, Any]:
    values: Rows = [{"value": Decimal("0.7345")}]
    if (method["kind"], method["rate"]) == ("rate", "fixed"):  # else one ratio for the whole fund
        values += [
            {"value": Decimal("0.62"), "insurance": "390"},
            {"value": Decimal("0.75"), "from": date(2025, 3, 3)},
        ]
    return parameter("ratio", *values[: rng.randrange(1, len(values) + 1)])


def _funds(rng: random.Random) -> dict[str, Any]:
    return {
        "booked": rng.choice([["fund_paid_fen"], ["pooled_fund_fen", "major_illness_fund_fen"]]),
        "other_payers": rng.choice([[], ["aid_fund_fen"]]),
        "hospital_borne": rng.choice([["hospital_borne_fen"], []]),
        "patient": rng.choice([[], ["account_fen", "cash_fen"]]),
        "source": "drawn",
    }


def _edges(rng: random.Random, kind: str) -> Rows:
    def edge(value: str, **more: Any) -> dict[str, Any]:
        pay = "excess" if kind == "high" else rng.choice(["cost", "ratio"])
        share = rng.choice([1, Decimal("0.8"), Decimal("0.333")]) if kind == "high" else None
        return {
            "edge": Decimal(value),
            "inclusive": rng.choice([True, False]),
            "pay": pay,
            "share": share,
            "coefficient": rng.choice([True, False]),
            "from": date(2020, 1, 1),
            "source": "drawn",
            **more,
        }

    if kind == "low":
        tiers = [edge("0.4")]
        more = [
            edge("0.5", **{"from": date(2025, 6, 1)}),
            edge("0.35", level="三级"),
            edge("0.45", weight_below=1, **{"from": date(2025, 2, 2)}),
        ]
    else:
        tiers = [
            edge("3", weight_below=1),
            edge("2.5", weight_from=1, weight_below=3),
            edge("2", weight_from=3),
        ]
        more = [
            edge("1.5", **{"from": date(2025, 6, 1), "to": date(2025, 8, 31)}),
            edge("2.2", level="一级", weight_from=Decimal("0.5")),
            edge("0.4", level="二级"),  # below the low edge: low is tested first
        ]
    found = rng.sample(tiers, rng.randint(1, len(tiers))) + rng.sample(more, rng.randint(0, 3))
    return rng.choice([[], found, found, found])


def _status_pay(rng: random.Random) -> dict[str, Any]:
    def rule(**fields: Any) -> dict[str, Any]:
        return {**fields, "source": "drawn"}

    weight = rule(rule="weight", value=Decimal("0.5"), coefficient=rng.choice([True, False]))
    anything = [
        weight,
        rule(rule="zero"),
        rule(rule="cost", value=Decimal("0.6")),
        rule(rule="cost_over_mean", value=Decimal("0.7")),
        rule(rule="booked"),
    ]
    row = rule(rule="group", value="0000")
    own = rule(rule="own_group")
    found = {
        "ambiguous": rng.choice([*anything, row, own]),
        "ungrouped": rng.choice([*anything, row]),
        "rejected": rng.choice([*anything, row]),
        "not_covered": rng.choice(anything),
    }
    if rng.random() < 0.6:
        found["unstable"] = rng.choice(anything)
    return found


def _weights(rng: random.Random) -> dict[str, dict[str, str]]:
    rows = {}
    for g in GROUPS:
        weight = rng.choice(["1", "0.5", "2", "3", "0.928", "8.7026", "0.999", "1.234567891", ""])
        rows[g] = {
            "weight": "0.2" if g == "0000" else weight,
            "mean_cost": rng.choice(["", "10000", "20000", "7955.525", "0", "123.455"]),
            "basic": rng.choice(["", "", "1", "是", "true"]),
            "kind": "unstable" if rng.random() < 0.2 else "",
        }
    for g in rng.sample(GROUPS[1:], 2):
        del rows[g]
    return rows


def _notes(rng: random.Random, groups: list[str]) -> Rows:
    """Each group has one kind of note only: which of two kinds would win is not laid down."""
    notes: Rows = []
    for g in rng.sample(groups, rng.randrange(len(groups) // 2 + 1)):
        when = rng.choice(["always", "named", "named"])
        for k in range(1 if when == "always" else rng.randint(1, 2)):
            target = rng.choice(["", *groups])
            share = rng.choice(["", "1", "0.5", "0.25"])
            notes.append(
                {"id": f"{g}-{k}", "group": g, "pay_as": target, "share": share, "when": when}
            )
    return notes


def _hospitals(rng: random.Random) -> Rows:
    rows: Rows = []
    for h in rng.sample(HOSPITALS, rng.randint(1, len(HOSPITALS))):
        start: date | None = rng.choice([None, date(2024, 1, 1), date(2025, 2, 1)])
        for _ in range(rng.randint(1, 3)):
            end = (start or YEAR[0]) + timedelta(days=rng.randint(0, 200))
            last = rng.random() < 0.3
            rows.append(
                {
                    "hospital_id": h,
                    "hospital_level": rng.choice(LEVELS),
                    "valid_from": start,
                    "valid_to": None if last else end,
                }
            )
            if last:
                break
            start = end + timedelta(days=rng.choice([1, 1, 40]))
    rng.shuffle(rows)
    return rows


def _fund(rng: random.Random, policy: Mapping[str, Any], cases: Rows) -> dict[str, Any]:
    """Draw a fund of about what was booked, in one to three periods for each pool."""
    cuts = [YEAR[0], *rng.choice([[], [date(2025, 7, 1)], [date(2025, 4, 1), date(2025, 4, 2)]])]
    ends = [c - timedelta(days=1) for c in cuts[1:]] + [YEAR[1]]
    booked: int = sum(c["fund_paid_fen"] for c in cases)
    unit = rng.choice(["yuan", "fen", "万元"])
    digits = {"fen": 0, "yuan": 2, "万元": 6}[unit]
    values = []
    for p in policy["pool"]:
        named = p["id"] if len(policy["pool"]) > 1 or rng.random() < 0.5 else None
        for start, end in zip(cuts, ends, strict=True):
            fen = booked * rng.choice([20, 10, 10, 7]) // 10 + rng.randrange(100)
            value = Decimal(fen).scaleb(-digits)
            values.append({"from": start, "to": end, "value": value, "pool": named})
    return parameter(unit, *values)


# ---------------------------------------------------------------------------- cases


def _case(
    rng: random.Random,
    k: int,
    weights: Mapping[str, Mapping[str, str]],
    rate: Decimal,
    edges: list[Decimal],
    notes: Rows,
    unknown: list[int | None],
) -> dict[str, Any]:
    group = rng.choice(GROUPS)
    row = weights.get(group, {})
    own = [n["id"] for n in notes if n["group"] == group]
    any_note = [n["id"] for n in notes]
    note = None
    if own and rng.random() < 0.5:
        note = rng.choice(own)
    elif any_note and rng.random() < 0.1:
        note = rng.choice(any_note)

    cost = _cost(rng, row, rate, edges) if rng.random() < 0.99 else rng.choice(unknown)
    known = cost or 0
    booked = known * rng.randrange(101) // 100
    day = rng.choice([*YEAR, date(2025, 3, 31), date(2025, 4, 1), date(2025, 7, 1), None])
    if day is None and rng.random() < 0.8:
        day = YEAR[0] + timedelta(days=rng.randrange(365))
    left = known - booked

    def some(amount: int) -> int:
        return rng.choice([0, 0, 0, rng.randrange(amount + 1)])

    case: dict[str, Any] = {
        "case_id": rng.choice([f"C{k}", f"c{k:03}", f"例{k}", f"é{k}"]),
        "status": rng.choices(
            ["grouped", "ambiguous", "ungrouped", "rejected"], weights=[85, 5, 5, 5]
        )[0],
        "group": group,
        "hospital_id": rng.choice([*HOSPITALS, None if rng.random() < 0.5 else "H1"]),
        "hospital_level": rng.choice([*LEVELS, None]),
        "insurance": rng.choice([*INSURANCES, "310", "310", None]),
        "pay_note": note,
        "settlement_date": day,
        "discharge_date": rng.choice([None, day, YEAR[0] + timedelta(days=rng.randrange(365))]),
        "total_cost_fen": cost,
        "fund_paid_fen": booked,
        "pooled_fund_fen": booked * 9 // 10,
        "major_illness_fund_fen": some(booked // 10),
        "aid_fund_fen": some(left // 3),
        "hospital_borne_fen": some(left // 3),
        "account_fen": some(left // 2),
        "cash_fen": left // 2,
        "full_self_pay_fen": some(left),
        "first_self_pay_fen": some(left // 4),
        "deductible_fen": rng.choice([0, 20000, 80000]),
        "carve_out_fen": rng.choice([None, some(known // 3)]),
        "unreasonable_fen": rng.choice([None, some(known // 5)]),
    }
    if case["status"] in ("ungrouped", "rejected"):
        case["group"] = None
    return case


def _cost(rng: random.Random, row: Mapping[str, str], rate: Decimal, edges: list[Decimal]) -> int:
    """Draw a cost that often lies at an edge exactly, or a fen beside it."""
    benchmark = Decimal(row.get("weight") or "0.5") * rate * 100
    if row.get("mean_cost") and rng.random() < 0.5:
        benchmark = Decimal(row["mean_cost"]) * 100
    if rng.random() < 0.5:
        return max(int(benchmark * rng.choice(edges)) + rng.choice([0, 0, 0, 1, -1, 7]), 0)
    return int(benchmark * Decimal(rng.choice(["0.1", "0.39", "0.8", "1", "1.3", "1.9", "4"])))
