"""What each case claims: its price, its band, and what changes it afterwards.

The order is that of docs/policy.md: pay group, family, cost used, claim, benchmark, band, quota,
readmission, decision. A claim is fen under the rate method and units of score under points.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from fractions import Fraction
from functools import cached_property
from math import floor
from typing import Any

from naive.coefficients import Coefficients, Means
from naive.formula import evaluate
from naive.policy import Case, NaivePolicy, beyond
from naive.values import Number, Refused, Table, WeightRow, half_up


@dataclass(frozen=True)
class Claim:
    """What a case asks for: fen under the rate method, units of score under the point method."""

    pay_as: str
    amount: int
    full: int = 0  # without a band
    band: str | None = None
    benchmark: int | None = None
    review: bool = False
    weight: Fraction | None = None
    aux: Fraction | None = None
    factor: Fraction | None = None
    worth: Fraction = Fraction(0)  # the weight with all its factors but the hospital's
    off_top: bool = False  # paid before the fund is shared out; the amount is fen
    booked: bool = False  # paid as booked
    nothing: bool = False  # the fund owes nothing, whatever the patient paid
    priced: bool = False  # the price of a family: never scaled
    special: str | None = None  # the outcome of a decision
    special_factor: Fraction = Fraction(1)
    decided: Claim | None = None  # what a decision paid from the reserve would have claimed

    @property
    def is_score(self) -> bool:
        """Whether it enters the sum that a point value divides."""
        return not self.off_top


# ---------------------------------------------------------------------------- all claims


class Pricing:
    """The claims of the cases of one settled table."""

    def __init__(
        self, policy: NaivePolicy, cases: Sequence[Case], last_year: Sequence[Table] = ()
    ) -> None:
        self.policy = policy
        self.cases = [c for c in cases if not c.reversed]
        self.reversed = [c for c in cases if c.reversed]
        self.coefficients = Coefficients(policy, self.cases, last_year)
        section = policy.text.get("benchmark", {"kind": "none"})
        self.benchmark_kind: str = section["kind"]
        self.known = "point_value_last" if section.get("point_value") == "last" else ""
        self.known = self.known or "point_value_budget"
        self.means = Means(section, last_year)

    def claims(self, ledger: Sequence[Table] = (), until: date | None = None) -> dict[str, Claim]:
        """What every case claims; of the decisions those that were entered until a day."""
        claims = dict(self.undecided)
        self.decide(claims, ledger, until)
        gone = Claim("status:reversed", 0, off_top=True, nothing=True)
        return claims | {c.id: gone for c in self.reversed}

    @cached_property
    def undecided(self) -> dict[str, Claim]:
        claims = {c.id: self.claim(c) for c in self.cases}
        self.keep_to_quota(claims)
        self.cut_readmissions(claims)
        return claims

    def claim(self, case: Case) -> Claim:
        if case.family is not None and case.family["pay"] != "factor":
            return self.by_family(case, case.family)
        payer = self.policy.payer(case)
        if payer.row is not None:
            return self.by_weight(case, payer.row, payer.share)
        assert payer.rule is not None
        return self.by_rule(case, payer.status, payer.rule)

    # ------------------------------------------------------------------------ prices

    def by_family(self, case: Case, family: Table) -> Claim:
        name = f"family:{family['id']}"
        if family["pay"] == "booked":
            return Claim(name, 0, off_top=True, booked=True)
        price = self.policy.at(family["pay"], case.day, **case.where)
        if family["pay"] == "per_day":
            if case.row.get("los") is None:
                raise Refused(f"case {case.id}: {name} needs the length of stay")
            price *= max(case.row["los"], 1)
        inside = family.get("fund", "points") == "points"
        if inside and self.policy.points:
            p0 = self.policy.at("point_value_budget", case.day, **case.where)
            score = half_up(half_up(price) / p0 * self.policy.unit_of_score)
            return Claim(name, score, score)
        fen = half_up(price)
        return Claim(name, fen, fen, off_top=not inside, priced=True)

    def by_rule(self, case: Case, status: str, rule: Table) -> Claim:
        """Pay a case that has no weight of its own group by the rule of its status."""
        kind, name, where = rule["rule"], f"status:{status}", case.where
        if kind == "zero":
            return Claim(name, 0, off_top=True, nothing=True)
        if kind == "booked":
            return Claim(name, 0, off_top=True, booked=True)
        v = Fraction(rule["value"])
        if kind == "weight":
            h = self.coefficients.of(case, where) if rule.get("coefficient") else Fraction(1)
            amount = half_up(v * h * self.policy.price(case, where))
            return Claim(name, amount, amount, weight=v, aux=Fraction(1), factor=h, worth=v)
        if case.cost is None:
            raise Refused(f"case {case.id}: {name} needs a cost")
        if kind == "cost":
            amount = half_up(case.cost * v)
            return Claim(name, amount, amount, off_top=self.policy.shares)
        amount = self.cost_over_mean(case, v)
        return Claim(name, amount, amount)

    def cost_over_mean(self, case: Case, v: Fraction) -> int:
        where = case.where
        if case.cost is None:
            raise Refused(f"case {case.id}: cost_over_mean needs a cost")
        mean = self.policy.at("overall_mean", case.day, **where)
        return half_up(case.cost / mean * v * self.policy.price_of_mean(case, where))

    def by_weight(self, case: Case, row: WeightRow, share: Fraction) -> Claim:
        """Pay a case by the weight of a row, with its band."""
        policy = self.policy
        assert row.weight is not None
        basic = policy.text.get("basic") if row.basic else None
        where = {**case.where, "group": row.group}
        if basic is not None:
            where["level"] = basic.get("level", case.level)
        no_coefficient = basic is not None and "level" not in basic
        h = Fraction(1) if no_coefficient else self.coefficients.of(case, where)
        aux = Fraction(case.row.get("aux_factor") or 1)
        weight = row.weight * share * policy.family_factor(case)
        worth = weight * aux
        price = policy.price(case, where)
        full, bare = half_up(worth * h * price), half_up(worth * price)
        claim = Claim(
            pay_as=row.group,
            amount=full,
            full=full,
            weight=weight,
            aux=aux,
            factor=h,
            worth=worth,
            benchmark=self.benchmark(case, row, worth, h, where) or None,  # 0 compares nothing
        )
        return self.banded(case, claim, bare)

    def benchmark(
        self, case: Case, row: WeightRow, worth: Fraction, h: Fraction, where: Mapping[str, str]
    ) -> int | None:
        """What the case's cost is compared with, in fen; None: with nothing."""
        kind = self.benchmark_kind
        if kind == "standard":
            return half_up(worth * h * self.policy.at("base_rate", case.day, **where))
        if kind == "score":
            known = self.policy.at(self.known, case.day, **where)
            return half_up(worth * self.policy.method["points_per_weight"] * known)
        if kind in ("table", "prior"):
            return self.means.of(row.group, case.level, case.class_)
        if kind == "mean":
            if case.row.get("aux_mean_fen") is not None:
                return int(case.row["aux_mean_fen"])
            if row.mean_fen is not None and case.row.get("aux_factor") is not None:
                return half_up(row.mean_fen * Fraction(case.row["aux_factor"]))
            return row.mean_fen
        return None

    # ------------------------------------------------------------------------ bands

    def banded(self, case: Case, claim: Claim, bare: int) -> Claim:
        if claim.benchmark is None or case.cost is None:
            return claim
        ratio = Fraction(case.cost, claim.benchmark)
        for band in ("low", "extreme", "high"):
            edge = self.policy.edge(band, case, claim.weight or Fraction(0))
            if edge is not None and beyond(ratio, edge, below=band == "low"):
                amount = self.in_band(case, claim, bare, edge, ratio)
                review = bool(edge.get("review", False))
                return replace(claim, amount=amount, band=band, review=review)
        return replace(claim, band="normal")

    def in_band(self, case: Case, claim: Claim, bare: int, edge: Table, ratio: Fraction) -> int:
        """The claim of a band: worked out exactly, capped, rounded once."""
        full = claim.full
        x = full if edge.get("coefficient", True) else bare
        share = Fraction(edge.get("share", 1))
        above = Fraction(edge.get("above", edge["edge"]))
        pay = edge["pay"]
        exact: Number
        if pay == "excess":
            exact = full + share * x * (ratio - above)
        elif pay == "ratio" or (pay == "cost" and self.policy.points):
            exact = x * ratio
        elif pay == "cost":
            exact = case.cost or 0
        elif pay == "base":
            exact = full
        else:
            names = {
                "full": Fraction(full),
                "bare": Fraction(bare),
                "ratio": ratio,
                "edge": Fraction(edge["edge"]),
                "above": above,
                "share": share,
                "weight": claim.weight or Fraction(0),
                "coefficient": claim.factor or Fraction(1),
            }
            exact = evaluate(edge["formula"], names)
        if "cap" in edge:
            exact = min(Fraction(exact), Fraction(edge["cap"]) * full)
        return half_up(Fraction(exact))

    # ------------------------------------------------------------------------ afterwards

    def keep_to_quota(self, claims: dict[str, Claim]) -> None:
        """In each pool and period only so many stay high, those that cost most above the benchmark."""
        quota = self.policy.text.get("high_quota")
        if quota is None:
            return
        per = quota.get("per", "hospital")
        scopes: dict[Any, list[Case]] = defaultdict(list)
        for c in self.cases:
            scopes[getattr(c, per), c.pool, c.period].append(c)
        for cases in scopes.values():
            left = floor(Fraction(quota["share"]) * len(cases))
            high = [c for c in cases if claims[c.id].band == "high"]

            def rank(c: Case) -> tuple[int, bytes]:
                return (claims[c.id].benchmark or 0) - (c.cost or 0), c.id.encode()

            for c in sorted(high, key=rank)[left:]:
                normal = claims[c.id]
                claims[c.id] = replace(normal, band="normal", amount=normal.full, review=False)

    def cut_readmissions(self, claims: dict[str, Claim]) -> None:
        by_patient: dict[str, list[Case]] = defaultdict(list)
        for c in self.cases:
            if c.row.get("patient_id"):
                by_patient[c.row["patient_id"]].append(c)
        for cases in by_patient.values():
            for c in cases:
                for rule in self.policy.text.get("readmission", []):
                    if any(comes_back(c, other, rule) for other in cases):
                        factor, claim = Fraction(rule["factor"]), claims[c.id]
                        amount = half_up(claim.amount * factor)
                        claims[c.id] = replace(claim, amount=amount, special_factor=factor)
                        break

    def decide(self, claims: dict[str, Claim], ledger: Sequence[Table], until: date | None) -> None:
        """Special cases and appeals: the last decision of each case counts."""
        decisions = [e for e in ledger if e["kind"] in ("special_case", "appeal")]
        decisions.sort(key=lambda e: (e["entered_on"], e["entry_id"].encode()))
        last = {e["case_id"]: e for e in decisions if until is None or e["entered_on"] <= until}
        from_reserve = self.policy.text.get("special_cases", {}).get("paid_from") == "reserve"
        for c in self.cases:
            if c.id in last:
                claim = claims[c.id]
                decided = self.decided(c, claim, last[c.id])
                if from_reserve and last[c.id]["outcome"] != "refused":
                    decided = replace(claim, special=decided.special, decided=decided)
                claims[c.id] = decided

    def decided(self, case: Case, claim: Claim, entry: Table) -> Claim:
        outcome, value = entry["outcome"], entry.get("value")
        claim = replace(claim, special=outcome)
        if outcome == "refused":
            return claim
        if outcome == "booked":
            return replace(claim, amount=0, off_top=True, booked=True, nothing=False)
        if outcome == "score":
            unit = self.policy.unit_of_score if self.policy.points else 100
            amount = half_up(Fraction(value or 0) * unit)
        else:
            amount = self.cost_over_mean(case, Fraction(value or 1))
        return replace(
            claim, amount=amount, off_top=False, booked=False, nothing=False, priced=False
        )


def comes_back(case: Case, other: Case, rule: Table) -> bool:
    """Whether the case is a readmission of the same patient after the other case."""
    came, left = case.row.get("admission_date"), other.row.get("discharge_date")
    before = other.row.get("admission_date")
    if came is None or left is None or before is None or before >= came:
        return False
    if not 0 <= (came - left).days <= rule["days"]:
        return False
    if rule.get("same_group", True) and (not case.group or case.group != other.group):
        return False
    elsewhere = rule.get("other_hospital")
    return elsewhere is None or elsewhere == (case.hospital != other.hospital)
