"""Naive casemix: rows of dicts in, figures as texts out, one case at a time (docs/casemix.md)."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal, localcontext
from fractions import Fraction
from itertools import pairwise
from typing import Any

Case = Mapping[str, Any]


def quotient(over: Any, under: Any, places: int = 4) -> str | None:
    if not under:
        return None
    x = Fraction(over) / Fraction(under)
    with localcontext(prec=60):
        exact = Decimal(x.numerator) / Decimal(x.denominator)
        return str(exact.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP))


def low_risk_groups(cases: Sequence[Case], least: int, deviations: Decimal) -> set[str]:
    """Groups whose death rate is low: none dies, or its logarithm is below mean - k·sd of all."""
    dead: dict[str, list[bool]] = defaultdict(list)
    for c in cases:
        if c["group"] and c["discharge_mode"]:
            dead[c["group"]].append(c["discharge_mode"] == "5")
    many = {g: x for g, x in dead.items() if len(x) >= least}
    with localcontext(prec=40):
        logs = {g: (Decimal(sum(x)) / len(x)).ln() for g, x in many.items() if any(x)}
        low = {g for g, x in many.items() if not any(x)}
        if len(logs) > 1:
            mean = sum(logs.values(), Decimal(0)) / len(logs)
            sd = (sum(((x - mean) ** 2 for x in logs.values()), Decimal(0)) / len(logs)).sqrt()
            low |= {g for g, x in logs.items() if x < mean - deviations * sd}
    return low


def readmitted(cases: Sequence[Case], within: int) -> dict[str, bool]:
    """case_id → whether the patient came again in time; those who died or are not known are left out."""
    stays: dict[str, list[tuple[Any, Any, int, Case]]] = defaultdict(list)
    for k, c in enumerate(cases):
        if c["patient_id"] and c["admission_date"] and c["discharge_date"]:
            stays[c["patient_id"]].append((c["admission_date"], c["discharge_date"], k, c))
    found = {}
    for held in stays.values():
        held.sort(key=lambda s: s[:3])
        for k, (_, left, _, c) in enumerate(held):
            if c["discharge_mode"] != "5":
                later = held[k + 1][0] if k + 1 < len(held) else None
                found[c["case_id"]] = later is not None and (later - left).days <= within
    return found


def naive_casemix(
    cases: Sequence[Case], key: str, options: Mapping[str, Any], fours: set[str]
) -> list[dict[str, Any]]:
    """Figures by a key, in bytewise order; a figure with nothing below it is None."""
    of_group: dict[str, list[Case]] = defaultdict(list)
    for c in cases:
        of_group[c["group"] or ""].append(c)
    low = low_risk_groups(cases, options["low_risk_least"], options["low_risk_deviations"])
    again = {d: readmitted(cases, d) for d in options["readmitted_within"]}
    weights = [c["weight_or_score"] for c in cases if c["weight_or_score"]]
    rows = []
    for value in sorted({c[key] or "" for c in cases}, key=str.encode):
        mine = [c for c in cases if (c[key] or "") == value]
        weighed = [c["weight_or_score"] for c in mine if c["weight_or_score"]]
        costed = [c for c in mine if c["total_cost_fen"] is not None]
        stayed = [c for c in mine if c["los"] is not None]
        actual = expected = days = due = 0
        for g in {c["group"] for c in mine if c["group"]}:
            for name, places in (("total_cost_fen", 1), ("los", 10_000)):
                own = [c[name] * places for c in mine if c["group"] == g and c[name] is not None]
                all_ = [c[name] * places for c in of_group[g] if c[name] is not None]
                if own:
                    part = Fraction(len(own) * sum(all_), len(all_))
                    part_up = (2 * part.numerator + part.denominator) // (2 * part.denominator)
                    if places == 1:
                        actual, expected = actual + sum(own), expected + part_up
                    else:
                        days, due = days + sum(own), due + part_up
        row: dict[str, Any] = {
            key: value,
            "cases": len(mine),
            "grouped_share": quotient(sum(bool(c["group"]) for c in mine), len(mine)),
            "groups": len({c["group"] for c in mine if c["group"]}),
            "mean_weight": quotient(sum(map(Fraction, weighed)), len(weighed)),
            "cmi": quotient(
                sum(map(Fraction, weighed)) * len(weights),
                len(weighed) * sum(map(Fraction, weights)),
            )
            if weighed
            else None,
            "cost_index": quotient(actual, expected),
            "time_index": quotient(days, due),
            "mean_los": quotient(sum(c["los"] for c in stayed), len(stayed), 2),
        }
        for kind in ("drug", "consumable", "self_paid"):
            both = [c for c in costed if c[f"{kind}_fen"] is not None]
            over, under = (sum(c[n] for c in both) for n in (f"{kind}_fen", "total_cost_fen"))
            row[f"{kind}_share"] = quotient(over, under)
        edges = [None, *options["weight_bands"], None]
        for k, (a, b) in enumerate(pairwise(edges)):
            within = [w for w in weighed if (a is None or w >= a) and (b is None or w < b)]
            row[f"weight_band_{k}_share"] = quotient(len(within), len(weighed))
        told = [c for c in mine if c["discharge_mode"]]
        row["death_rate"] = quotient(sum(c["discharge_mode"] == "5" for c in told), len(told))
        safe = [c for c in told if c["group"] in low]
        row["low_risk"] = len(safe)
        row["low_risk_deaths"] = sum(c["discharge_mode"] == "5" for c in safe)
        for d, found in again.items():
            seen = [found[c["case_id"]] for c in mine if c["case_id"] in found]
            row[f"readmitted_{d}_share"] = quotient(sum(seen), len(seen))
        operated = [c for c in mine if c["procedures"]]
        four = [c for c in operated if fours & set(c["procedures"])]
        row["level_four_share"] = quotient(len(four), len(operated))
        rows.append(row)
    return rows
