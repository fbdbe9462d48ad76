"""The naive payer: one policy, one case at a time, exact fractions, nothing clever.

It reads a policy folder and pays grouped cases as docs/policy.md says: what each case claims
(naive/pricing.py), then what the fund of its pool and period owes. All money is whole fen. It
trusts the policy to be well formed: refusing a contradictory file is the business of the loader,
not of this reading. The year is in naive/year.py.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import date
from decimal import Decimal
from fractions import Fraction
from math import floor
from typing import Any

from naive.closing import Closing, Line, Unit, close_units, units_of
from naive.policy import Case
from naive.policy import NaivePolicy as Policy
from naive.pricing import Claim, Pricing
from naive.values import Refused, Table, half_up, rounded

__all__ = ["NaivePolicy", "NaiveSettlement", "PaidCase", "PaidPool", "Refused"]

Row = dict[str, Any]

HOSPITAL = ("hospital", "pool", "level", "class", "area")
"""What a value may be narrowed to that is for a hospital."""

ENTRIES = ("special", "floor", "cap", "assessment", "deduction", "surplus", "overspend", "second")
"""The columns of a hospital between what its cases are paid and what is payable."""


@dataclass(frozen=True)
class PaidCase:
    case_id: str
    pool_id: str
    hospital_id: str
    pay_as: str
    weight: Fraction | None  # None: no weight, so neither weight nor factor is laid down
    factor: Fraction | None
    band: str | None
    benchmark_fen: int | None
    final_score: Decimal | None
    standard_fen: int
    booked_fund_fen: int
    other_payers_fen: int
    patient_fen: int
    pay_fen: int


@dataclass(frozen=True)
class PaidPool:
    """One pool in one period of its fund."""

    pool_id: str
    period: str
    cases: int
    claims: int
    fund_fen: int
    off_top_fen: int
    pay_fen: int
    balance_fen: int
    undistributed_fen: int


@dataclass(frozen=True)
class NaiveSettlement:
    """What is paid; `tables` has every column of the result tables, as rows."""

    cases: dict[str, PaidCase]
    pools: dict[tuple[str, str], PaidPool]
    tables: dict[str, list[Row]] = field(default_factory=dict)


# ---------------------------------------------------------------------------- rows


def case_row(policy: Policy, case: Case, claim: Claim, closing: Closing) -> Row:
    decimals: int = policy.method["score_decimals"] if policy.points else 2
    no_score = policy.points and claim.off_top  # off the top of a shared fund there is no score
    compared = claim.benchmark is not None and case.cost is not None
    return {
        "case_id": case.id,
        "hospital_id": case.hospital,
        "hospital_level": case.level,
        "insurance": case.insurance,
        "insured_area": case.insured_area,
        "pool_id": case.pool,
        "settlement_date": case.fund_day,
        "settlement_month": case.month,
        "los": case.row.get("los"),
        "family": case.family["id"] if case.family else "ordinary",
        "pay_as": claim.pay_as,
        "weight_or_score": claim.weight or Fraction(0),
        "total_cost_fen": case.row.get("total_cost_fen"),
        "carve_out_fen": case.row.get("carve_out_fen") or 0,
        "unreasonable_fen": case.row.get("unreasonable_fen") or 0,
        "benchmark_fen": claim.benchmark,
        "ratio": rounded(Fraction(case.cost or 0, claim.benchmark or 1), 4) if compared else None,
        "band": claim.band,
        "review": claim.review,
        "hospital_factor": Fraction(1) if claim.factor is None else claim.factor,
        "aux_factor": Fraction(1) if claim.aux is None else claim.aux,
        "special": claim.special,
        "special_factor": claim.special_factor,
        "final_score": None if no_score else Decimal(claim.amount).scaleb(-decimals),
        "standard_fen": closing.standard[case.id],
        "booked_fund_fen": case.booked,
        "other_payers_fen": case.others,
        "patient_fen": case.patient,
        "fund_form": closing.form,
        "month_pay_fen": None,
        "carve_out_pay_fen": case.carved,
        "pay_fen": closing.pay[case.id],
    }


def sums(closing: Closing, line: Line, hospital: str = "") -> Row:
    """The columns that hospitals, pools and payments have, of all cases or of a hospital's."""
    cases = [c for c in line.cases if hospital in ("", c.hospital)]
    paid = sum(line.pay[c.id] for c in cases)
    if line.is_money:
        return {**dict.fromkeys(SUMS, 0), "pay_fen": paid}
    claims = (closing.claims[c.id] for c in cases)
    score = line.is_main or not closing.policy.shares
    return {
        "cases": len(cases),
        "claims": sum(
            c.amount for c in claims if score and not (closing.policy.shares and c.off_top)
        ),
        "cost_fen": sum(c.total for c in cases),
        "booked_fund_fen": sum(c.booked for c in cases),
        "patient_fen": sum(c.patient for c in cases),
        "pay_fen": paid,
    }


SUMS = ("cases", "claims", "cost_fen", "booked_fund_fen", "patient_fen", "pay_fen")


def hospital_rows(unit: Unit) -> list[Row]:
    """A row for each hospital and line of the unit, with no entries yet."""
    rows = []
    for line in unit.closing.lines:
        cases = sorted(line.cases, key=lambda c: c.id.encode())
        for hospital in dict.fromkeys(c.hospital for c in cases):
            own = [c for c in cases if c.hospital == hospital]
            standard = 0 if line.is_money else sum(unit.closing.standard[c.id] for c in own)
            row = blank_hospital(unit, line.name, hospital, own[0].level)
            row |= {**sums(unit.closing, line, hospital), "standard_fen": standard}
            row["carve_out_pay_fen"] = sum(c.carved for c in own)
            rows.append(row)
    return rows


def blank_hospital(unit: Unit, line: str, hospital: str, level: str) -> Row:
    names = (*SUMS, "standard_fen", "carve_out_pay_fen", *(f"{name}_fen" for name in ENTRIES))
    return {
        "hospital_id": hospital,
        "hospital_level": level,
        "pool_id": unit.pool,
        "period": unit.name,
        "line": line,
        **dict.fromkeys((*names, "paid_monthly_fen", "prepayment_fen"), 0),
    }


def add_up(row: Row) -> None:
    """What a hospital is due in the end."""
    row["entries_fen"] = sum(row[f"{name}_fen"] for name in ENTRIES)
    row["payable_fen"] = row["pay_fen"] + row["entries_fen"]
    row["to_pay_fen"] = row["payable_fen"] - row["paid_monthly_fen"] - row["prepayment_fen"]


def pool_rows(unit: Unit, hospitals: Sequence[Row], kept: Mapping[str, int]) -> list[Row]:
    """The unit's line of the fund, then a line for each outside family, carve-outs and other items.

    `kept` is what clearing leaves: withheld, next year's, the reserve's.
    """
    c, b = unit.closing, unit.budget
    main, *beside = c.lines
    found, entries = sums(c, main), sum(h["entries_fen"] for h in hospitals)
    row = pool_line(unit, main.name)
    row |= {
        **found,
        "budget_fen": b.budget,
        "reserve_fen": b.reserve,
        "outside_fen": b.outside,
        "fund_fen": c.fund,
        "off_top_fen": c.off_top,
        "shared_fen": c.shared,
        "point_value": point_value(c),
        "point_value_num": c.num,
        "point_value_den": c.den,
        "remainder_fen": c.remainder,
        "balance_fen": c.balance,
        "undistributed_fen": c.undistributed,
        "entries_fen": entries,
        "payable_fen": found["pay_fen"] + entries,
        "to_reserve_fen": c.to_reserve,
        "drawn_fen": c.drawn,
    }
    for name, amount in kept.items():
        row[f"{name}_fen"] += amount
    row["reserve_kept_fen"] = row["reserve_fen"] + row["to_reserve_fen"]
    rows, planned = [row], dict(b.planned)
    for line in beside:
        money = planned.pop(line.name.removeprefix("family:"), None)
        paid = any(h["line"] == line.name for h in hospitals)
        if line.cases or paid or money is not None or (line.is_money and c.cases):
            rows.append(outside_row(unit, line.name, money, sums(c, line)))
    rows += [
        outside_row(unit, f"less:{item}", fen, {"pay_fen": 0}) for item, fen in planned.items()
    ]
    return rows


def outside_row(unit: Unit, line: str, planned: int | None, found: Row) -> Row:
    """A line outside the fund: planned = paid + balance."""
    money = found["pay_fen"] if planned is None else planned
    paid = {"payable_fen": found["pay_fen"], "balance_fen": money - found["pay_fen"]}
    return pool_line(unit, line) | found | {"budget_fen": money, "fund_fen": money} | paid


def pool_line(unit: Unit, line: str) -> Row:
    row: Row = {"pool_id": unit.pool, "period": unit.name, "line": line}
    row["fund_form"] = unit.closing.form
    for name in POOL_NUMBERS:
        row[name] = 0
    return row | {"point_value": None, "point_value_num": None, "point_value_den": None}


POOL_NUMBERS = [
    *("cases", "claims", "cost_fen", "booked_fund_fen", "patient_fen", "budget_fen", "reserve_fen"),
    *("outside_fen", "fund_fen", "off_top_fen", "shared_fen", "remainder_fen", "pay_fen"),
    *("balance_fen", "undistributed_fen", "entries_fen", "payable_fen", "withheld_cap_fen"),
    *("withheld_assessment_fen", "withheld_deduction_fen", "next_year_fen", "to_reserve_fen"),
    *("drawn_fen", "reserve_kept_fen"),
]


def point_value(closing: Closing) -> str | None:
    """Yuan per point, at the policy's decimals."""
    policy, value = closing.policy, closing.point_value
    if closing.num is None or value is None:
        return None
    per_point = value * policy.unit_of_score / 100 if policy.points else value
    return f"{rounded(per_point, policy.method['point_value_decimals']):f}"


def check_accrual(row: Row) -> None:
    """Every fen of the budget and the reserve is somewhere."""
    names = ["payable", "undistributed", "withheld_cap", "withheld_assessment"]
    names += ["withheld_deduction", "next_year", "balance", "outside", "reserve_kept"]
    right = sum(row[f"{name}_fen"] for name in names)
    left = row["budget_fen"] + row["drawn_fen"]
    assert left == right, f"{row['pool_id']} {row['period']}: {left} is not {right}"


def entry(kind: str, pool: str, amount: int, **more: str) -> Row:
    blank = {"hospital_id": "", "case_id": "", "settlement_month": ""}
    return {"kind": kind, "pool_id": pool, **blank, "amount_fen": amount, **more}


# ---------------------------------------------------------------------------- after the fund


def special_entries(unit: Unit) -> list[Row]:
    """Decisions paid from the reserve: the difference of the claims at the point value."""
    entries = []
    for c in unit.cases:
        claim = unit.closing.claims[c.id]
        decided, pay = claim.decided, unit.closing.pay[c.id]
        if decided is None:
            continue
        if decided.booked:
            amount = c.booked - pay
        else:
            value = unit.closing.point_value
            if value is None:
                raise Refused(f"no point value for the decision on {c.id}")
            before = 0 if claim.off_top else claim.amount
            amount = half_up((decided.amount - before) * value) - (pay if claim.off_top else 0)
        entries.append(entry("special", unit.pool, amount, hospital_id=c.hospital, case_id=c.id))
    return entries


def area_entries(unit: Unit) -> list[Row]:
    """A price taker: what each insured area owes more (or less) than was booked."""
    areas: dict[str, int] = defaultdict(int)
    for c in unit.cases if unit.maker else ():
        areas[c.insured_area] += unit.closing.pay[c.id] - c.booked
    return [entry("out_of_area", unit.pool, fen, area=area) for area, fen in areas.items()]


def left_entries(pools: Sequence[Row]) -> list[Row]:
    """What a line leaves."""
    return [
        entry(kind, row["pool_id"], row[f"{kind}_fen"])
        for row in pools
        for kind in ("balance", "undistributed")
        if row[f"{kind}_fen"]
    ]


def lift_and_cap(
    policy: Policy, row: Row, special: Sequence[Row], day: date, where: Mapping[str, str]
) -> None:
    """Special cases, then a hospital below 0 is lifted to 0, and one above its cap held to that."""
    own = (e for e in special if e["hospital_id"] == row["hospital_id"])
    row["special_fen"] = sum(e["amount_fen"] for e in own)
    so_far: int = row["pay_fen"] + row["special_fen"]
    if policy.method["negative"] == "zero_hospital":
        row["floor_fen"] = max(-so_far, 0)
    most = policy.find("hospital_cap", day, **where)
    if most is not None:
        row["cap_fen"] = min(0, half_up(most.amount) - so_far - row["floor_fen"])


def candidates(policy: Policy, unit: Unit) -> list[Row]:
    """Cases that cost more than their standard, ranked within each scope of the quota."""
    section = policy.text.get("special_cases")
    if section is None or unit.maker:
        return []
    per = section.get("per", "pool")
    scopes: dict[str, list[Case]] = defaultdict(list)
    for c in unit.cases:
        if not c.reversed and (c.family is None or c.family.get("fund") != "outside"):
            scopes["" if per == "pool" else getattr(c, per)].append(c)
    rows = []
    for scope, cases in scopes.items():
        first = min(cases, key=lambda c: c.id.encode())
        where = {"pool": unit.pool}
        if per == "level":
            where["level"] = first.level
        elif per == "hospital":
            where |= {"hospital": scope, "level": first.level, "class": first.class_}
        share = policy.at("special_share", unit.period[1], **where)
        excess = {c.id: (c.cost or 0) - unit.closing.standard[c.id] for c in cases}
        dear = [c for c in cases if c.cost is not None and excess[c.id] > 0]
        dear.sort(key=lambda c: (-excess[c.id], c.id.encode()))
        for rank, c in enumerate(dear, 1):
            quota, standard = floor(share * len(cases)), unit.closing.standard[c.id]
            rows.append(
                {
                    "pool_id": unit.pool,
                    "period": unit.name,
                    "scope": scope,
                    "cases": len(cases),
                    "quota": quota,
                    "rank": rank,
                    "within_quota": rank <= quota,
                    "hospital_id": c.hospital,
                    "case_id": c.id,
                    "group": c.group,
                    "cost_used_fen": c.cost,
                    "standard_fen": standard,
                    "excess_fen": excess[c.id],
                    "decided": unit.closing.claims[c.id].special,
                }
            )
    return rows


# ---------------------------------------------------------------------------- settle


class NaivePolicy(Policy):
    """A policy that pays."""

    def settle(
        self,
        rows: Iterable[Table],
        hospitals: Sequence[Table] = (),
        ledger: Sequence[Table] = (),
        prior: Sequence[Table] | None = None,
    ) -> NaiveSettlement:
        """Pay cases once, by the periods of their funds; `prior` are last year's cases."""
        cases = [self.case(row, hospitals) for row in rows]
        check_ledger(self, ledger, cases)
        claims = Pricing(self, cases, prior or ()).claims(ledger)
        units = units_of(self, cases, claims)
        close_units(units)
        tables: dict[str, list[Row]] = defaultdict(list)
        for unit in units:
            special = [] if unit.maker else special_entries(unit)
            entries = [*special, *area_entries(unit)]
            own = hospital_rows(unit)
            kept = dict.fromkeys(("drawn", "withheld_cap"), 0)
            for row in own:
                if row["line"] == "fund":
                    case = next(c for c in unit.cases if c.hospital == row["hospital_id"])
                    where = {k: v for k, v in case.where.items() if k in HOSPITAL}
                    lift_and_cap(self, row, special, unit.period[1], where)
                    kept["drawn"] += row["special_fen"] + row["floor_fen"]
                    kept["withheld_cap"] -= row["cap_fen"]
                    at = {"hospital_id": row["hospital_id"]}
                    for kind in ("floor", "cap"):
                        entries.append(entry(kind, unit.pool, row[f"{kind}_fen"], **at))
                add_up(row)
            pools = pool_rows(unit, own, kept)
            check_accrual(pools[0])
            tables["hospitals"] += own
            tables["pools"] += pools
            tables["entries"] += [*(e for e in entries if e["amount_fen"]), *left_entries(pools)]
            tables["candidates"] += candidates(self, unit)
            tables["cases"] += [case_row(self, c, claims[c.id], unit.closing) for c in unit.cases]
        return settlement(dict(tables), claims)


def check_ledger(
    policy: Policy, ledger: Sequence[Table], cases: Sequence[Case], month: str = ""
) -> None:
    """An entry for a hospital, pool or case that is not there is refused; a month looks at its own."""
    known = {
        "hospital_id": {c.hospital for c in cases},
        "pool_id": {p["id"] for p in policy.text["pool"]},
        "case_id": {c.id for c in cases},
    }
    for e in ledger:
        for name, there in known.items():
            if e.get(name) and e[name] not in there:
                raise Refused(f"entry {e['entry_id']}: no {name} {e[name]}")
        if e.get("hospital_id") and e.get("pool_id") and month in ("", e.get("settlement_month")):
            if all((c.hospital, c.pool) != (e["hospital_id"], e["pool_id"]) for c in cases):
                raise Refused(f"entry {e['entry_id']}: {e['hospital_id']} is not in the pool")


def settlement(tables: dict[str, list[Row]], claims: Mapping[str, Claim]) -> NaiveSettlement:
    """The rows, and the few columns that are asked for by name."""
    cases = {}
    for row in tables.get("cases", ()):
        claim = claims[row["case_id"]]
        named = {**row, "weight": claim.weight, "factor": claim.factor}
        cases[row["case_id"]] = PaidCase(**{f.name: named[f.name] for f in fields(PaidCase)})
    pools = {
        (row["pool_id"], row["period"]): PaidPool(**{f.name: row[f.name] for f in fields(PaidPool)})
        for row in tables.get("pools", ())
        if row["line"] in ("fund", "taker") and row["cases"]
    }
    return NaiveSettlement(cases, pools, tables)
