"""Who a case is, and what the policy says about it: pool, family, price row or rule, tier of a band."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

from naive.values import (
    Note,
    PolicyText,
    Refused,
    Table,
    Value,
    WeightRow,
    half_up,
    in_force,
    latest,
    read_notes,
    read_weights,
)

DAYS = ("settlement", "discharge", "admission")
SELF_PAID = ("full_self_pay_fen", "first_self_pay_fen", "deductible_fen")


@dataclass(frozen=True)
class Case:
    """A case with its blanks filled: who, when, and the money as it was settled."""

    row: Table
    id: str
    status: str
    group: str
    day: date  # by which values are chosen
    fund_day: date  # by which month and fund are
    hospital: str
    level: str
    class_: str
    area: str
    insurance: str
    insured_area: str
    pool: str
    taker: bool  # the pool takes the point value of another
    period: tuple[date, date]  # of the fund that pays it; of its maker's for a price taker
    family: Table | None
    cost: int | None  # cost used; None: unknown
    total: int
    booked: int
    others: int
    patient: int
    self_paid: int  # full self-pay, first self-pay and deductible: outside the scope
    carved: int  # what is paid for carve-outs

    @property
    def reversed(self) -> bool:
        return self.status == "reversed"

    @property
    def month(self) -> str:
        return f"{self.fund_day:%Y-%m}"

    @property
    def where(self) -> dict[str, str]:
        """What a dated value may be narrowed to; the group is of the price, not the case."""
        return {
            "insurance": self.insurance,
            "level": self.level,
            "class": self.class_,
            "hospital": self.hospital,
            "pool": self.pool,
            "area": self.area,
            "month": self.month,
            **({"family": self.family["id"]} if self.family else {}),
        }

    @property
    def line(self) -> str:
        """The row of the pools table that pays it."""
        if self.taker:
            return "taker"
        if self.family is not None and self.family.get("fund") == "outside":
            return f"family:{self.family['id']}"
        return "fund"


@dataclass(frozen=True)
class Payer:
    """What pays a case: a row of the weight table, or the rule of a status."""

    row: WeightRow | None = None
    share: Fraction = Fraction(1)
    status: str = ""
    rule: Table | None = None


class NaivePolicy(PolicyText):
    def __init__(self, file: Path) -> None:
        super().__init__(file)
        self.method: dict[str, Any] = {
            "rate": "fixed",
            "ratio_scope": "region",
            "negative": "keep",
            "left_over": "report",
            "dated_by": "settlement",
            "points_per_weight": 100,
            "score_of_mean": 0,
            "score_decimals": 4,
            "point_value_decimals": 6,
            **self.text["method"],
        }
        self.funds: dict[str, list[str]] = {
            "booked": ["fund_paid_fen"],
            "other_payers": [],
            "hospital_borne": ["hospital_borne_fen"],
            "patient": [],
            **self.text["funds"],
        }
        self.tables = {w["path"]: read_weights(w["path"]) for w in self.text["weights"]}
        self.notes = read_notes(self.text["notes_path"]) if "notes_path" in self.text else []
        self.points = self.method["kind"] == "point"
        rate = self.method["rate"]
        self.fixed = not self.points and rate == "fixed"
        self.elastic = not self.points and rate == "elastic"
        self.shares = self.points or rate == "floating"

    @property
    def price_takers(self) -> dict[str, str]:
        return {p["id"]: p["price_of"] for p in self.text["pool"] if p.get("price_of")}

    # ------------------------------------------------------------------------ who and when

    def case(self, row: Table, hospitals: Sequence[Table] = ()) -> Case:
        if row.get("refd_setl_flag"):  # gone: it keeps its row, and no money
            row = {k: 0 if k.endswith("_fen") else v for k, v in row.items()}
            row |= {"status": "reversed"}
        stand_in = self.text.get("stand_in", {})

        def filled(name: str) -> str:
            found = row.get(name) or stand_in.get(name)
            if not found:
                raise Refused(f"case {row['case_id']}: no {name}")
            return str(found)

        def total(columns: str) -> int:
            return sum(row.get(column) or 0 for column in self.funds[columns])

        day = self.day_of(row, self.method["dated_by"])
        fund_day = self.day_of(row, self.method.get("fund_by") or self.method["dated_by"])
        hospital, insurance = filled("hospital_id"), filled("insurance")
        known: Table = next((h for h in hospitals if is_of(h, hospital, day)), {})
        who = {
            "insurance": insurance,
            "hospital": hospital,
            "hospital_area": known.get("hospital_area") or row.get("hospital_area") or "",
            "insured_area": row.get("insured_area") or "",
        }
        pool = self.pool(who)
        fund = self.fund(pool, fund_day)
        if fund.end is None:
            raise Refused(f"the fund of {pool} from {fund.start} on has no end")
        cost = row.get("total_cost_fen")
        booked, others, borne = total("booked"), total("other_payers"), total("hospital_borne")
        carved = row.get("carve_out_fen") or 0
        outside = carved + (row.get("unreasonable_fen") or 0)
        whole = max(cost or 0, 0)
        carve_out = self.text.get("carve_out", {"share": 0})
        return Case(
            row=row,
            id=row["case_id"],
            status=row["status"],
            group=row.get("group") or "",
            day=day,
            fund_day=fund_day,
            hospital=hospital,
            level=known.get("hospital_level") or filled("hospital_level"),
            class_=known.get("hospital_class") or row.get("hospital_class") or "",
            area=who["hospital_area"],
            insurance=insurance,
            insured_area=who["insured_area"],
            pool=pool,
            taker=pool in self.price_takers,
            period=(fund.start, fund.end),
            family=self.family(row),
            cost=max(cost - outside, 0) if cost is not None else None,
            total=whole,
            booked=booked,
            others=others,
            patient=total("patient") if self.funds["patient"] else whole - booked - others - borne,
            self_paid=sum(row.get(name) or 0 for name in SELF_PAID),
            carved=half_up(carved * Fraction(carve_out.get("share", 1))),
        )

    def day_of(self, row: Table, wanted: str) -> date:
        """The date asked for, else the first there is, else the stand-in."""
        days = [row.get(f"{name}_date") for name in (wanted, *DAYS)]
        days.append(self.text.get("stand_in", {}).get("settlement_date"))
        found: date | None = next((d for d in days if d is not None), None)
        if found is None:
            raise Refused(f"case {row['case_id']}: no day")
        return found

    def pool(self, who: Mapping[str, str]) -> str:
        """The first pool all of whose lists name the case; an empty list takes all."""
        lists = ("insurance", "insured_area", "hospital_area", "hospital")
        for pool in self.text["pool"]:
            if all(not pool.get(name) or who[name] in pool[name] for name in lists):
                return str(pool["id"])
        raise Refused(f"no pool for {who}")

    def fund(self, pool: str, day: date) -> Value:
        """The value whose days are the period: of the budget if there is one, else of the fund."""
        budget = self.text.get("budget")
        name = "fund"
        if budget:
            name = "budget" if budget.get("method", "amount") == "amount" else "budget_base"
        return self.value(name, day, pool=self.price_takers.get(pool, pool))

    def family(self, row: Table) -> Table | None:
        """The first family whose conditions all hold; rejected cases are in none."""
        if row["status"] == "rejected":
            return None
        families: list[Table] = self.text.get("family", [])
        return next((f for f in families if holds(f["when"], row)), None)

    # ------------------------------------------------------------------------ what pays it

    def weights_on(self, day: date) -> dict[str, WeightRow]:
        found = [w for w in self.text["weights"] if in_force(w, day)]
        if not found:
            raise Refused(f"no weight table on {day}")
        return self.tables[latest(found)["path"]]

    def note(self, case: Case) -> Note:
        """What the case's group is paid as: the note it names, one that always holds, or itself."""
        named = case.row.get("pay_note") or ""
        own = [n for n in self.notes if n.group == case.group]
        if named and all(n.id != named for n in self.notes):
            raise Refused(f"case {case.id}: no note {named}")
        for n in own:
            if n.id == named:
                return n
        for n in own:
            if n.always:
                return n
        return Note("", case.group, case.group, Fraction(1), True)

    def payer(self, case: Case) -> Payer:
        note = self.note(case)
        if case.status == "grouped":
            return self.by_row(case, note.target, note.share)
        no_list = case.status == "rejected" and case.row.get("reason") == "no_list"
        if no_list and "no_list" in self.text["status_pay"]:
            return self.by_rule(case, "no_list")
        return self.by_rule(case, case.status)

    def by_row(self, case: Case, group: str, share: Fraction, status: str = "") -> Payer:
        """A row of the weight table, or the rule for rows that have no weight of use.

        `status` is the rule that leads here: it does not lead to itself again.
        """
        row = self.weights_on(case.day).get(group)
        if row is None or row.weight is None:
            if status == "not_covered":
                raise Refused(f"case {case.id}: no weight for {group!r} either")
            return self.by_rule(case, "not_covered")
        if row.unstable and "unstable" in self.text["status_pay"] and status != "unstable":
            return self.by_rule(case, "unstable")
        return Payer(row, share)

    def by_rule(self, case: Case, status: str) -> Payer:
        if status not in self.text["status_pay"]:
            raise Refused(f"case {case.id}: no rule for the status {status}")
        rule = self.text["status_pay"][status]
        if rule["rule"] in ("group", "own_group"):
            wanted = rule["value"] if rule["rule"] == "group" else case.group
            return self.by_row(case, wanted, Fraction(1), status)
        return Payer(status=status, rule=rule)

    def row_weight(self, case: Case) -> Fraction | None:
        """The weight that counts for CMI; None: the case is not paid by a weight row."""
        if case.reversed or (case.family is not None and case.family["pay"] != "factor"):
            return None
        payer = self.payer(case)
        if payer.row is None or payer.row.weight is None:
            return None
        return payer.row.weight * payer.share

    def family_factor(self, case: Case) -> Fraction:
        if case.family is None:
            return Fraction(1)
        return self.at("family_factor", case.day, **case.where)

    # ------------------------------------------------------------------------ edges, units

    @cached_property
    def unit_of_score(self) -> int:
        return int(10 ** self.method["score_decimals"])

    def price(self, case: Case, where: Mapping[str, str]) -> Fraction:
        """What a weight of 1 claims: fen, or units of score."""
        if self.points:
            return Fraction(self.method["points_per_weight"] * self.unit_of_score)
        return self.at("base_rate", case.day, **where)

    def price_of_mean(self, case: Case, where: Mapping[str, str]) -> Fraction:
        """What a case of mean cost claims under cost_over_mean."""
        if self.points and self.method["score_of_mean"]:
            return Fraction(self.method["score_of_mean"] * self.unit_of_score)
        return self.price(case, where)

    def edge(self, name: str, case: Case, weight: Fraction) -> Table | None:
        """The tier that fits: the one that names more of level and class, then the latest."""

        def fits(e: Table) -> bool:
            x = weight * self.method["points_per_weight"] if e.get("key") == "points" else weight
            return (
                in_force(e, case.day)
                and e.get("level", case.level) == case.level
                and e.get("class", case.class_) == case.class_
                and ("weight_from" not in e or x >= Fraction(e["weight_from"]))
                and ("weight_below" not in e or x < Fraction(e["weight_below"]))
            )

        fit = [e for e in self.text.get(name, []) if fits(e)]
        return max(fit, key=lambda e: (("level" in e) + ("class" in e), e["from"]), default=None)


def is_of(hospital: Table, id: str, day: date) -> bool:
    """Whether the row is the hospital's on this day."""
    start, end = hospital.get("valid_from"), hospital.get("valid_to")
    in_time = (start is None or start <= day) and (end is None or day <= end)
    return bool(hospital["hospital_id"] == id and in_time)


def holds(when: Table, row: Table) -> bool:
    """Whether all conditions of a family hold; what a case lacks fails."""
    lists = ("med_type", "ipt_med_type", "trt_type", "department", "group")
    if any(when.get(name) and row.get(name) not in when[name] for name in lists):
        return False
    if "los_from" in when and (row.get("los") is None or row["los"] < when["los_from"]):
        return False
    if "fee_share_from" in when:
        cost = row.get("total_cost_fen") or 0
        if cost <= 0:
            return False
        return Fraction(row.get(when["fee"]) or 0, cost) >= Fraction(when["fee_share_from"])
    return True


def beyond(ratio: Fraction, edge: Table, *, below: bool) -> bool:
    at = Fraction(edge["edge"])
    if ratio == at:
        return bool(edge.get("inclusive", False))
    return ratio < at if below else ratio > at
