"""What a run says beside its cases: dated parameters, funds and point values, tiers of its policy.

A figure that the run does not settle beyond doubt is None, never a guess: a parameter narrowed to
something that the run does not record, or dated by a day that it does not keep.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date
from fractions import Fraction
from functools import cached_property
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from grouper._bands import Tier
from grouper._writing import RunFolder
from grouper.errors import PolicyError
from grouper.tables._policy import Policy
from grouper.tables._policy_model import SELECTORS, UNITS, Edge, Family, PolicySettings, StatusPay

Row: TypeAlias = Mapping[str, Any]

FUND, TAKER, CARVE_OUT = "fund", "taker", "carve_out"
"""Lines of pools.parquet; others are family:ID (outside the fund) and less:ID (no cases)."""

BANDS = ("low", "high", "extreme")

_DATED = re.compile(r"\d{4}(-\d\d){0,2}(/(\d{4}(-\d\d){0,2}|None))?")


def rows(run: RunFolder, name: str) -> list[dict[str, Any]]:
    """Return a table of a run as rows; none if the run has no such table."""
    return run.tables[name].to_pylist() if name in run.tables else []


def fraction(value: Any) -> Fraction | None:
    """Read a decimal exactly; blank is None."""
    return None if value is None or value == "" else Fraction(str(value))


def covers(period: str, day: date) -> bool:
    """Tell whether a period, such as 2025, 2025-03 or 2025-01-01/2025-12-31, holds a day."""
    first, _, last = period.partition("/")
    iso = day.isoformat()
    if not last:
        return iso.startswith(first)
    return first <= iso and (not last[:1].isdigit() or iso[: len(last)] <= last)


class Facts:
    """A run with the policy that it was paid by, where that is at hand."""

    def __init__(self, run: RunFolder, policy: Policy | None = None) -> None:
        self.run, self.policy = run, policy
        self._rows: dict[str, list[dict[str, Any]]] = {}
        self._owed: dict[tuple[str, str], int] = {}
        self.monthly = (run.manifest.get("run") or {}).get("kind") == "month"
        self.told: Row = run.manifest.get("policy", {})
        self.method: Row = self.told.get("method", {})

    def rows(self, name: str) -> list[dict[str, Any]]:
        """Return a table as rows, read once."""
        if name not in self._rows:
            self._rows[name] = rows(self.run, name)
        return self._rows[name]

    @property
    def settings(self) -> PolicySettings | None:
        """The policy's settings; None = not at hand."""
        return self.policy.settings if self.policy else None

    @property
    def by_points(self) -> bool:
        """Whether claims are scores; otherwise they are yuan."""
        return bool(self.method.get("kind") == "point")

    @property
    def digits(self) -> int:
        """Decimals of a claim: those of a score, or fen."""
        return int(self.method.get("score_decimals", 4)) if self.by_points else 2

    @property
    def shares(self) -> bool:
        """Whether a fund is shared in proportion to claims."""
        return self.by_points or self.method.get("rate") == "floating"

    @property
    def dated(self) -> bool:
        """Whether the day that a run keeps of a case, that of its fund, also chooses its values."""
        return self.method.get("fund_by") in (None, self.method.get("dated_by"))

    # ----------------------------------------------------------------------------- dated parameters

    def parameter(self, name: str, day: date, known: Mapping[str, str]) -> Fraction | None:
        """Return a parameter in force on a day, in fen if it is money; None = not settled by the run.

        Parameters
        ----------
        known : selector → value; a value narrowed to any other selector leaves it open.
        """
        if not self.dated:
            return None
        told = self.told.get("parameters", {}).get(name, {})
        values = [v for v in told.get("values", ()) if _in_force(v, day)]
        if any(_selector(v, s) is not None for v in values for s in SELECTORS if s not in known):
            return None
        if self.policy is not None:
            try:
                return self.policy.at(name, day, **known)
            except PolicyError:
                return None
        fits = [v for v in values if all(_selector(v, s) in (None, known[s]) for s in known)]
        if not fits:
            return None
        best = max(fits, key=lambda v: (sum(_selector(v, s) is not None for s in known), _from(v)))
        unit = UNITS.get(str(told.get("unit", "")).split(" ")[0], Fraction(1))
        return Fraction(str(best["value"])) * unit

    def known(self, case: Row) -> dict[str, str]:
        """Return the selectors that a run records for a case."""
        family = case.get("family") or "ordinary"
        found = {
            "insurance": case.get("insurance"),
            "level": case.get("hospital_level"),
            "pool": case.get("pool_id"),
            "hospital": case.get("hospital_id"),
            "family": "" if family == "ordinary" else family,
            "class": self._class(case),
        }
        return {k: str(v) for k, v in found.items() if v is not None}

    def _class(self, case: Row) -> str | None:
        """Return a hospital's class, where the table of coefficients tells of one only."""
        level = case.get("hospital_level")
        own = self._classes.get((str(case.get("hospital_id")), level))
        classes = own or self._classes.get(("", level)) or set()
        return next(iter(classes)) if len(classes) == 1 else None

    @cached_property
    def _classes(self) -> dict[tuple[str, Any], set[str]]:
        found: dict[tuple[str, Any], set[str]] = {}
        for row in self.rows("coefficients"):
            key = (row["hospital_id"] or "", row.get("hospital_level"))
            found.setdefault(key, set()).add(row.get("hospital_class") or "")
        return found

    def claim_unit(self, case: Row) -> Fraction | None:
        """Return the claim of weight 1: points, or yuan of the base rate."""
        if self.by_points:
            return Fraction(self.method.get("points_per_weight", 100))
        day, known, group = case["settlement_date"], self.known(case), str(case["pay_as"])
        if not group.startswith("status:"):
            known["group"] = group
        if self.policy is None:
            known.pop("level", None)  # a basic group is of one level: only the policy knows
        elif self.policy.settings.basic and self.policy.settings.basic.level:
            row = self.policy.weights_on(day).get(group)
            if row is not None and row.basic:
                known["level"] = self.policy.settings.basic.level
        rate = self.parameter("base_rate", day, known)
        return None if rate is None else rate / 100

    # -------------------------------------------------------------------------------- of the policy

    def status_rule(self, case: Row) -> StatusPay | None:
        """Return the rule by which a case without a weight of its own is paid."""
        name = str(case["pay_as"]).removeprefix("status:")
        return self.settings.status_pay.get(name) if self.settings else None

    def decided(self, case: Row) -> bool:
        """Tell whether a decision made the claim: from the reserve it is an entry, but in a month."""
        special = self.settings.special_cases if self.settings else None
        from_reserve = special is not None and special.paid_from == "reserve"
        is_made = case.get("special") in ("score", "cost_over_mean", "booked")
        return is_made and (self.monthly or not from_reserve)

    def in_fen(self, case: Row) -> bool:
        """Tell whether a case's claim is money though others are scores: no point value prices it."""
        family = self.family(case)
        if family is not None:
            return family.fund != "points" and family.pay != "factor"
        return self.line(case["pool_id"], case.get("family")).startswith("family:")

    def family(self, case: Row) -> Family | None:
        """Return the family of a case."""
        families = self.settings.family if self.settings else ()
        return next((f for f in families if f.id == case.get("family")), None)

    def tiers(self, case: Row, weight: Fraction) -> dict[str, Edge] | None:
        """Return the tier of each band that a case may fall in; None = not known."""
        if self.settings is None or not self.dated:
            return None
        known = self.known(case)
        points = weight * Fraction(self.method.get("points_per_weight", 100))
        found: dict[str, Edge] = {}
        for band in BANDS:
            edges: Sequence[Edge] = getattr(self.settings, band)
            if "class" not in known and any(e.class_ is not None for e in edges):
                return None
            at = (case["settlement_date"], known.get("level", ""), known.get("class", ""))
            fits = [e for e in edges if Tier.of(e).fits(*at, weight, points)]
            if fits:
                found[band] = max(
                    fits, key=lambda e: ((e.level is not None) + (e.class_ is not None), e.from_)
                )
        return found

    # ----------------------------------------------------------------------------- funds and values

    @cached_property
    def pools(self) -> list[dict[str, Any]]:
        """Rows of pools.parquet; where no line is named, it is the fund."""
        return [{"line": FUND, **r} for r in self.rows("pools")]

    @cached_property
    def hospitals(self) -> list[dict[str, Any]]:
        """Rows of hospitals.parquet, likewise."""
        return [{"line": FUND, **r} for r in self.rows("hospitals")]

    @cached_property
    def _lines(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for row in self.pools:
            found.setdefault(row["pool_id"], set()).add(row["line"])
        return found

    def line(self, pool: str, family: str | None) -> str:
        """Return the line of a pool that a case of a family counts in."""
        lines = self._lines.get(pool, set())
        if f"family:{family}" in lines:
            return f"family:{family}"
        return TAKER if TAKER in lines else FUND

    def unit(self, case: Row) -> Row | None:
        """Return the row of pools.parquet that a case counts in."""
        pool, line = case["pool_id"], self.line(case["pool_id"], case.get("family"))
        mine = [r for r in self.pools if (r["pool_id"], r["line"]) == (pool, line)]
        return of_period(mine, case["settlement_date"])

    def hospital(self, case: Row) -> Row | None:
        """Return the row of hospitals.parquet that a case counts in."""
        pool, line = case["pool_id"], self.line(case["pool_id"], case.get("family"))
        at = (case["hospital_id"], pool, line)
        mine = [r for r in self.hospitals if (r["hospital_id"], r["pool_id"], r["line"]) == at]
        return of_period(mine, case["settlement_date"])

    def carved_inside(self, pool: str) -> bool:
        """Tell whether carve-outs are paid by the fund itself and so stand in the pay of a case."""
        if self.settings is not None and self.settings.carve_out is not None:
            return self.settings.carve_out.fund == "inside"
        return CARVE_OUT not in self._lines.get(pool, set())

    def owed(self, unit: Row) -> int:
        """Return what the cases that share a fund by points are owed above zero, before rescaling."""
        key = (unit["pool_id"], str(unit.get("period") or ""))
        if key not in self._owed:
            money = ("standard_fen", "patient_fen", "other_payers_fen")
            names = (*money, "pool_id", "family", "settlement_date")
            mine = self.run.tables["cases"].select([*names, "final_score"])
            mine = mine.filter(pc.is_valid(mine["final_score"]))
            self._owed[key] = sum(
                max(s - u - o, 0)
                for s, u, o, pool, family, day in zip(
                    *(mine[n].to_pylist() for n in names), strict=True
                )
                if pool == key[0] and covers(key[1], day) and self.line(pool, family) == FUND
            )
        return self._owed[key]


def of_period(found: Sequence[Row], day: date) -> Row | None:
    """Return the row whose period holds a day; a single one with a name for its period is of every day."""
    exact = [r for r in found if covers(str(r.get("period") or ""), day)]
    if not exact and len(found) == 1 and not _DATED.fullmatch(str(found[0].get("period") or "")):
        return found[0]
    return exact[0] if len(exact) == 1 else None


def _from(value: Row) -> str:
    return str(value.get("from") or value.get("from_") or "")


def _selector(value: Row, name: str) -> Any:
    return value.get(name) if name != "class" else value.get("class", value.get("class_"))


def _in_force(value: Row, day: date) -> bool:
    return _from(value) <= day.isoformat() <= str(value.get("to") or "9999")


def column(table: pa.Table, name: str, kind: Any) -> Any:
    """Return a column of a table as a kind; all null where the table has no such column."""
    if name not in table.schema.names:
        return pa.chunked_array([pa.nulls(len(table), kind)])
    found = table[name]
    if pa.types.is_dictionary(found.type):
        found = found.cast(found.type.value_type)
    return found if found.type == kind else found.cast(kind)
