"""The naive payer: one policy, one case at a time, exact fractions, nothing clever.

It reads a policy folder (policy.toml, its weight tables, pay_as.csv) and pays grouped cases as
spec/payment.md says: what each case claims, then what the fund of its pool and period owes. All
money is whole fen. It trusts the policy to be well formed: refusing a contradictory file is the
business of the loader, not of this reading.
"""

from __future__ import annotations

import csv
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from fractions import Fraction
from math import floor
from pathlib import Path
from typing import Any

Table = Mapping[str, Any]  # a table of the TOML file, or one case or hospital row

SELECTORS = ("insurance", "level", "pool", "hospital", "group")


class Refused(Exception):
    """These cases cannot be paid by this policy."""


# ---------------------------------------------------------------------------- whole numbers


def half_up(exact: Fraction) -> int:
    """Nearest whole number, halves away from zero."""
    size = floor(abs(exact) + Fraction(1, 2))
    return size if exact >= 0 else -size


def apportion(amount: int, claims: Mapping[str, int]) -> dict[str, int]:
    """Divide an amount by claims, largest remainder, ties to the smaller id by UTF-8 bytes."""
    total = sum(claims.values())
    if total == 0:
        return dict.fromkeys(claims, 0)
    exact = {k: Fraction(amount * claim, total) for k, claim in claims.items()}
    given = {k: floor(share) for k, share in exact.items()}
    by_remainder = sorted(claims, key=lambda k: (given[k] - exact[k], k.encode()))
    for k in by_remainder[: amount - sum(given.values())]:
        given[k] += 1
    return given


def apportion_twice(amount: int, claims: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    """Divide an amount among hospitals, then each part among the hospital's cases."""
    parts = apportion(amount, {hospital: sum(own.values()) for hospital, own in claims.items()})
    given: dict[str, int] = {}
    for hospital, own in claims.items():
        given |= apportion(parts[hospital], own)
    return given


# ---------------------------------------------------------------------------- dated values


def in_force(entry: Table, day: date) -> bool:
    return bool(entry["from"] <= day) and (entry.get("to") is None or bool(day <= entry["to"]))


def latest(entries: Iterable[Table]) -> Table:
    return max(entries, key=lambda entry: entry["from"])


def exactly(number: int | Decimal | str) -> Fraction:
    return Fraction(number)


# ---------------------------------------------------------------------------- files


@dataclass(frozen=True)
class WeightRow:
    group: str
    weight: Fraction | None  # None: the table names the group without a weight
    mean_fen: int | None
    basic: bool
    unstable: bool


@dataclass(frozen=True)
class Note:
    """A row of pay_as.csv."""

    id: str
    group: str
    target: str
    share: Fraction
    always: bool


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def read_weights(path: Path) -> dict[str, WeightRow]:
    return {
        row["group"]: WeightRow(
            group=row["group"],
            weight=exactly(row["weight"]) if row["weight"] else None,
            mean_fen=half_up(exactly(row["mean_cost"]) * 100) if row.get("mean_cost") else None,
            basic=row.get("basic") in ("1", "true", "是"),
            unstable=row.get("kind") == "unstable",
        )
        for row in read_rows(path)
    }


def read_notes(path: Path) -> list[Note]:
    return [
        Note(
            id=row["id"],
            group=row["group"],
            target=row["pay_as"] or row["group"],
            share=exactly(row["share"] or "1"),
            always=row["when"] == "always",
        )
        for row in (read_rows(path) if path.exists() else [])
    ]


# ---------------------------------------------------------------------------- one case


@dataclass(frozen=True)
class Case:
    """A case with its blanks filled: who, when, and the money as it was settled."""

    id: str
    status: str
    group: str
    note: str
    day: date
    hospital: str
    level: str
    insurance: str
    pool: str
    period: tuple[date, date]  # of the fund value that pays it
    fund: int
    cost: int | None  # cost used; None: unknown
    total: int
    booked: int
    others: int
    patient: int
    self_paid: int  # full self-pay, first self-pay and deductible: outside the scope

    @property
    def unit(self) -> tuple[str, date, date]:
        return (self.pool, *self.period)


@dataclass(frozen=True)
class Claim:
    """What a case asks for: fen under the rate method, units of score under the point method."""

    pay_as: str
    amount: int
    band: str | None = None
    benchmark: int | None = None
    weight: Fraction | None = None
    factor: Fraction | None = None
    off_top: bool = False  # paid before the fund is shared out; the amount is fen
    booked: bool = False  # paid as booked
    nothing: bool = False  # the fund owes nothing, whatever the patient paid


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
    cases: dict[str, PaidCase]
    pools: dict[tuple[str, str], PaidPool]


# ---------------------------------------------------------------------------- the policy


class NaivePolicy:
    def __init__(self, file: Path) -> None:
        self.text: dict[str, Any] = tomllib.loads(
            file.read_text(encoding="utf-8"), parse_float=Decimal
        )
        self.method: dict[str, Any] = {
            "rate": "fixed",
            "ratio_scope": "region",
            "negative": "keep",
            "left_over": "report",
            "dated_by": "settlement",
            "points_per_weight": 100,
            "score_decimals": 4,
            **self.text["method"],
        }
        self.funds: dict[str, list[str]] = {
            "booked": ["fund_paid_fen"],
            "other_payers": [],
            "hospital_borne": ["hospital_borne_fen"],
            "patient": [],
            **self.text["funds"],
        }
        self.tables = {
            w["file"]: read_weights(file.parent / w["file"]) for w in self.text["weights"]
        }
        self.notes = read_notes(file.parent / "pay_as.csv")
        self.fixed = self.method["kind"] == "rate" and self.method["rate"] == "fixed"
        self.points = self.method["kind"] == "point"

    # ------------------------------------------------------------------------ parameters

    def has(self, name: str) -> bool:
        return name in self.text["param"]

    def value(self, name: str, day: date, **selected: str) -> Table:
        """The dated value that fits: narrowed most, then latest."""
        if not self.has(name):
            raise Refused(f"no parameter {name}")
        fit = [
            v
            for v in self.text["param"][name]["values"]
            if in_force(v, day) and all(v[s] == selected.get(s) for s in SELECTORS if s in v)
        ]
        if not fit:
            raise Refused(f"{name}: no value on {day} for {selected}")

        def rank(v: Table) -> tuple[int, date]:
            return sum(s in v for s in SELECTORS), v["from"]

        best: Table = max(fit, key=rank)
        if sum(rank(v) == rank(best) for v in fit) > 1:
            raise Refused(f"{name}: two values fit equally on {day}")
        return best

    def scaled(self, name: str, value: Table) -> Fraction:
        """Fen for money, else the number itself."""
        unit: str = self.text["param"][name]["unit"]
        if unit.startswith("yuan"):
            return exactly(value["value"]) * 100
        return exactly(value["value"]) * (1_000_000 if unit == "万元" else 1)

    def at(self, name: str, day: date, **selected: str) -> Fraction:
        return self.scaled(name, self.value(name, day, **selected))

    # ------------------------------------------------------------------------ who and when

    def case(self, row: Table, hospitals: Sequence[Table]) -> Case:
        stand_in = self.text.get("stand_in", {})

        def filled(name: str) -> str:
            found = row.get(name) or stand_in.get(name)
            if not found:
                raise Refused(f"case {row['case_id']}: no {name}")
            return str(found)

        def total(columns: str) -> int:
            return sum(row.get(column) or 0 for column in self.funds[columns])

        order = ["settlement_date", "discharge_date"]
        if self.method["dated_by"] == "discharge":
            order.reverse()
        days = [row.get(name) for name in order] + [stand_in.get("settlement_date")]
        day = next((d for d in days if d is not None), None)
        if day is None:
            raise Refused(f"case {row['case_id']}: no day")

        hospital, insurance = filled("hospital_id"), filled("insurance")
        levels = [
            h["hospital_level"]
            for h in hospitals
            if h["hospital_id"] == hospital
            and (h["valid_from"] is None or h["valid_from"] <= day)
            and (h["valid_to"] is None or day <= h["valid_to"])
        ]
        pool = self.pool(insurance)
        fund = self.value("fund", day, pool=pool)
        cost = row.get("total_cost_fen")
        cases_total = max(cost or 0, 0)
        booked, others, borne = total("booked"), total("other_payers"), total("hospital_borne")
        outside = (row.get("carve_out_fen") or 0) + (row.get("unreasonable_fen") or 0)
        self_paid = ("full_self_pay_fen", "first_self_pay_fen", "deductible_fen")
        return Case(
            id=row["case_id"],
            status=row["status"],
            group=row.get("group") or "",
            note=row.get("pay_note") or "",
            day=day,
            hospital=hospital,
            level=levels[0] if levels else filled("hospital_level"),
            insurance=insurance,
            pool=pool,
            period=(fund["from"], fund["to"]),
            fund=half_up(self.scaled("fund", fund)),
            cost=max(cost - outside, 0) if cost is not None else None,
            total=cases_total,
            booked=booked,
            others=others,
            patient=total("patient")
            if self.funds["patient"]
            else cases_total - booked - others - borne,
            self_paid=sum(row.get(name) or 0 for name in self_paid),
        )

    def pool(self, insurance: str) -> str:
        """The pool that names the insurance, else the one that takes the rest."""
        pools = self.text["pool"]
        for pool in pools:
            if insurance in pool.get("insurance", []):
                return str(pool["id"])
        for pool in pools:
            if not pool.get("insurance"):
                return str(pool["id"])
        raise Refused(f"no pool for insurance {insurance}")

    # ------------------------------------------------------------------------ what it claims

    def weights_on(self, day: date) -> dict[str, WeightRow]:
        found = [w for w in self.text["weights"] if in_force(w, day)]
        if not found:
            raise Refused(f"no weight table on {day}")
        return self.tables[latest(found)["file"]]

    def note(self, case: Case) -> Note:
        """What the case's group is paid as: the note it names, one that always holds, or itself."""
        own = [n for n in self.notes if n.group == case.group]
        if case.note and all(n.id != case.note for n in self.notes):
            raise Refused(f"case {case.id}: no note {case.note}")
        for n in own:
            if n.id == case.note:
                return n
        for n in own:
            if n.always:
                return n
        return Note("", case.group, case.group, Fraction(1), True)

    def claim(self, case: Case) -> Claim:
        note = self.note(case)
        if case.status != "grouped":
            return self.by_rule(case, case.status)
        return self.by_row(case, note.target, note.share)

    def by_row(self, case: Case, group: str, share: Fraction, status: str = "") -> Claim:
        """Pay by a row of the weight table, or by the rule for rows that have no weight of use.

        `status` is the rule that leads here: it does not lead to itself again.
        """
        row = self.weights_on(case.day).get(group)
        if row is None or row.weight is None:
            if status == "not_covered":
                raise Refused(f"case {case.id}: no weight for {group!r} either")
            return self.by_rule(case, "not_covered")
        if row.unstable and "unstable" in self.text["status_pay"] and status != "unstable":
            return self.by_rule(case, "unstable")
        return self.by_weight(case, row, row.weight * share)

    def by_rule(self, case: Case, status: str) -> Claim:
        """Pay a case that has no weight of its own group by the rule of its status."""
        if status not in self.text["status_pay"]:
            raise Refused(f"case {case.id}: no rule for the status {status}")
        rule = self.text["status_pay"][status]
        kind, name = rule["rule"], f"status:{status}"
        if kind in ("group", "own_group"):
            wanted = rule["value"] if kind == "group" else case.group
            return self.by_row(case, wanted, Fraction(1), status)
        if kind == "zero":
            return Claim(name, 0, off_top=True, nothing=True)
        if kind == "booked":
            return Claim(name, 0, off_top=True, booked=True)

        v = exactly(rule["value"])
        where = {
            "insurance": case.insurance,
            "level": case.level,
            "hospital": case.hospital,
            "pool": case.pool,
        }
        if kind == "weight":
            h = self.coefficient(case, where) if rule.get("coefficient", False) else Fraction(1)
            amount = half_up(v * h * self.price(case, where))
            return Claim(name, amount, weight=v, factor=h)
        if case.cost is None:
            raise Refused(f"case {case.id}: {name} needs a cost")
        if kind == "cost":
            return Claim(name, half_up(case.cost * v), off_top=not self.fixed)
        mean = self.at("overall_mean", case.day, **where)  # cost_over_mean
        return Claim(name, half_up(case.cost * v * self.price(case, where) / mean))

    def coefficient(self, case: Case, where: Mapping[str, str]) -> Fraction:
        return self.at("coefficient", case.day, **where) if self.has("coefficient") else Fraction(1)

    def price(self, case: Case, where: Mapping[str, str]) -> Fraction:
        """What a weight of 1 claims: fen, or units of score."""
        if self.points:
            points: int = self.method["points_per_weight"]
            decimals: int = self.method["score_decimals"]
            return Fraction(points * 10**decimals)
        return self.at("base_rate", case.day, **where)

    def by_weight(self, case: Case, row: WeightRow, weight: Fraction) -> Claim:
        """Pay a case by the weight of a row, with its band."""
        basic = row.basic and "basic" in self.text
        where = {
            "insurance": case.insurance,
            "level": self.text["basic"]["level"] if basic else case.level,
            "hospital": case.hospital,
            "pool": case.pool,
            "group": row.group,
        }
        h, price = self.coefficient(case, where), self.price(case, where)
        amount, bare = half_up(weight * h * price), half_up(weight * price)

        def paid(band: str | None, amount: int) -> Claim:
            return Claim(row.group, amount, band, benchmark, weight, h)

        benchmark = self.benchmark(case, row, weight * h, where) or None  # 0 compares nothing
        if benchmark is None or case.cost is None:
            return paid(None, amount)
        ratio = Fraction(case.cost, benchmark)

        low = self.edge("low", case, weight)
        if low is not None and beyond(ratio, low, below=True):
            if low["pay"] == "cost" and not self.points:
                return paid("low", case.cost)
            b = amount if low.get("coefficient", True) else bare
            return paid("low", half_up(b * ratio))

        high = self.edge("high", case, weight)
        if high is not None and beyond(ratio, high, below=False):
            b = amount if high.get("coefficient", True) else bare
            excess = ratio - exactly(high["edge"])
            return paid("high", amount + half_up(b * exactly(high.get("share", 1)) * excess))

        return paid("normal", amount)

    def benchmark(
        self, case: Case, row: WeightRow, weight: Fraction, where: Mapping[str, str]
    ) -> int | None:
        """What the case's cost is compared with, in fen; None: with nothing."""
        kind = self.text.get("benchmark", {"kind": "none"})["kind"]
        if kind == "standard":
            return half_up(weight * self.at("base_rate", case.day, **where))
        return row.mean_fen if kind == "mean" else None

    def edge(self, name: str, case: Case, weight: Fraction) -> Table | None:
        """The tier that fits: one for the level before one for all, then the latest."""
        fit = [
            e
            for e in self.text.get(name, [])
            if in_force(e, case.day)
            and e.get("level", case.level) == case.level
            and weight >= exactly(e.get("weight_from", 0))
            and ("weight_below" not in e or weight < exactly(e["weight_below"]))
        ]
        return max(fit, key=lambda e: ("level" in e, e["from"]), default=None)

    # ------------------------------------------------------------------------ what is paid

    def settle(self, rows: Iterable[Table], hospitals: Sequence[Table] = ()) -> NaiveSettlement:
        units: dict[tuple[str, date, date], list[Case]] = defaultdict(list)
        for row in rows:
            case = self.case(row, hospitals)
            units[case.unit].append(case)
        paid = NaiveSettlement({}, {})
        for (pool, first, last), cases in units.items():
            unit = Unit(self, cases)
            paid.cases.update(unit.paid_cases())
            paid.pools[pool, f"{first}/{last}"] = unit.paid_pool(f"{first}/{last}")
        return paid


def beyond(ratio: Fraction, edge: Table, *, below: bool) -> bool:
    at = exactly(edge["edge"])
    if ratio == at:
        return bool(edge.get("inclusive", False))
    return ratio < at if below else ratio > at


# ---------------------------------------------------------------------------- one fund


class Unit:
    """The cases of one pool in one period, and the fund that pays them."""

    def __init__(self, policy: NaivePolicy, cases: list[Case]) -> None:
        self.policy, self.cases = policy, cases
        self.fund = cases[0].fund
        self.form: str = policy.method["fund_form"]
        self.scope: str = policy.method["ratio_scope"]
        self.zero: bool = policy.method["negative"] == "zero_case"
        self.claims = {c.id: policy.claim(c) for c in cases}
        self.standard: dict[str, int] = {}
        self.pay: dict[str, int] = {}
        if policy.fixed:
            self.pay_by_price(cases)
            if self.zero:
                self.pay = {k: max(g, 0) for k, g in self.pay.items()}
            self.off_top = 0
        else:
            off = [c for c in cases if self.claims[c.id].off_top]
            self.pay_by_price(off)
            self.off_top = sum(self.pay.values())
            if self.off_top > self.fund:
                raise Refused(f"{self.off_top} fen go off the top of a fund of {self.fund}")
            shared = [c for c in cases if not self.claims[c.id].off_top]
            if shared:
                self.share_out(self.fund - self.off_top, shared)

    def pay_by_price(self, cases: Iterable[Case]) -> None:
        """The claim is the standard; a case paid as booked gets what was booked."""
        for c in cases:
            claim = self.claims[c.id]
            self.standard[c.id] = c.booked if claim.booked else claim.amount
            self.pay[c.id] = c.booked if claim.booked else self.owed(c, claim.amount)
            if claim.nothing:
                self.pay[c.id] = 0

    def share_out(self, fund: int, shared: list[Case]) -> None:
        """Find what the shared cases' points are worth together, and divide that."""
        amounts = {c.id: self.claims[c.id].amount for c in shared}
        common_ratio = self.form == "ratio" and self.scope in ("region", "published")
        if self.form == "difference":
            worth = fund + sum(c.patient + c.others for c in shared)
        elif self.form == "ratio" and any(amounts.values()):
            worth = half_up(fund / self.common_ratio(shared))
        else:
            worth = fund
        if worth < 0:
            raise Refused(f"the points of {shared[0].unit} would be worth {worth} fen")
        standard = self.divided(worth, shared, amounts)
        pay = (
            self.divided(fund, shared, amounts)
            if common_ratio
            else {c.id: self.owed(c, standard[c.id]) for c in shared}
        )
        if self.zero:
            pay = {k: max(g, 0) for k, g in pay.items()}
        if self.policy.method["left_over"] == "rescale":
            pay = self.divided(fund, shared, {k: max(g, 0) for k, g in pay.items()})
        self.standard |= standard
        self.pay |= pay

    def divided(self, amount: int, cases: list[Case], by: Mapping[str, int]) -> dict[str, int]:
        claims: dict[str, dict[str, int]] = defaultdict(dict)
        for c in cases:
            claims[c.hospital][c.id] = by[c.id]
        return apportion_twice(amount, claims)

    # ------------------------------------------------------------------------ fund forms

    def owed(self, case: Case, standard: int) -> int:
        """G, what the fund owes for a case of this standard."""
        if self.form == "difference":
            return standard - case.patient - case.others
        if self.form == "ratio":
            return half_up(standard * self.ratio(case))
        if self.form == "in_scope":
            return half_up(max(standard - case.self_paid, 0) * self.published(case))
        return standard  # fund_points

    def ratio(self, case: Case) -> Fraction:
        """ρ, the part of the cost that the fund bears."""
        if self.scope == "published":
            return self.published(case)
        if self.scope == "hospital":
            return booked_to_cost(c for c in self.cases if c.hospital == case.hospital)
        return booked_to_cost([case] if self.scope == "case" else self.cases)

    def common_ratio(self, shared: Sequence[Case]) -> Fraction:
        """The one ρ that turns the fund into what the points are worth."""
        if self.scope != "published":
            found = {booked_to_cost(self.cases)}
        else:
            found = {self.published(c) for c in shared}
        if len(found) > 1 or found == {Fraction(0)}:
            raise Refused(f"the ratio of fund to cost is not one: {found}")
        return found.pop()

    def published(self, case: Case) -> Fraction:
        return self.policy.at("fund_ratio", case.day, insurance=case.insurance)

    # ------------------------------------------------------------------------ results

    def paid_cases(self) -> dict[str, PaidCase]:
        return {c.id: self.paid_case(c) for c in self.cases}

    def paid_case(self, c: Case) -> PaidCase:
        claim = self.claims[c.id]
        decimals: int = self.policy.method["score_decimals"] if self.policy.points else 2
        return PaidCase(
            case_id=c.id,
            pool_id=c.pool,
            hospital_id=c.hospital,
            pay_as=claim.pay_as,
            weight=claim.weight,
            factor=claim.factor,
            band=claim.band,
            benchmark_fen=claim.benchmark,
            final_score=(
                None  # off the top of a shared fund there is no score
                if self.policy.points and claim.off_top
                else Decimal(claim.amount).scaleb(-decimals)
            ),
            standard_fen=self.standard[c.id],
            booked_fund_fen=c.booked,
            other_payers_fen=c.others,
            patient_fen=c.patient,
            pay_fen=self.pay[c.id],
        )

    def paid_pool(self, period: str) -> PaidPool:
        paid = sum(self.pay.values())
        return PaidPool(
            pool_id=self.cases[0].pool,
            period=period,
            cases=len(self.cases),
            claims=sum(
                c.amount for c in self.claims.values() if self.policy.fixed or not c.off_top
            ),
            fund_fen=self.fund,
            off_top_fen=self.off_top,
            pay_fen=paid,
            balance_fen=self.fund - paid if self.policy.fixed else 0,
            undistributed_fen=0 if self.policy.fixed else self.fund - paid,
        )


def booked_to_cost(cases: Iterable[Case]) -> Fraction:
    """ρ = ΣB ÷ ΣC; 0 if nothing cost anything."""
    booked = cost = 0
    for c in cases:
        booked, cost = booked + c.booked, cost + c.total
    return Fraction(booked, cost) if cost else Fraction(0)
