"""Sums by hospital of a unit: the rows that clearing, payments and the tables of hospitals share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from grouper._closing import Closed, Closing
from grouper._funds import CARVE_OUT
from grouper.tables._types import I64

SUMS = (
    *("cases", "claims", "cost_fen", "booked_fund_fen", "patient_fen", "standard_fen"),
    *("carve_out_pay_fen", "pay_fen"),
)


@dataclass(frozen=True)
class Account:
    """One hospital in one unit: its sums, see `SUMS`."""

    hospital: str
    level: str
    sums: Mapping[str, int]

    @classmethod
    def idle(cls, hospital: str, level: str) -> Account:
        """Return the account of a hospital without cases, which an entry may be for."""
        return cls(hospital, level, dict.fromkeys(SUMS, 0))

    @property
    def pay(self) -> int:
        """What the fund owes for its cases, fen."""
        return self.sums["pay_fen"]

    @property
    def booked(self) -> int:
        """What was booked for its cases, fen."""
        return self.sums["booked_fund_fen"]


def accounts(closing: Closing, closed: Closed) -> list[Account]:
    """Add up a unit by hospital, in the order of their ids."""
    c, rows = closing.claimed, closed.unit.rows
    if not len(rows):
        return []
    r = c.rows
    is_carved = closed.unit.line == CARVE_OUT
    values: dict[str, I64] = {
        "cases": np.ones(len(rows), np.int64),
        "claims": np.where(c.in_fen[rows], 0, c.claim[rows]),
        "cost_fen": np.maximum(r.cost[rows], 0),
        "booked_fund_fen": r.booked[rows],
        "patient_fen": r.patient[rows],
        "standard_fen": closing.standard[rows],
        "carve_out_pay_fen": c.carve_out_pay[rows],
        "pay_fen": (c.carve_out_pay if is_carved else closing.pay)[rows],
    }
    starts = closing.hospital_starts(rows)
    sums = {name: np.add.reduceat(v, starts).tolist() for name, v in values.items()}
    found = []
    for k, row in enumerate(rows[starts].tolist()):
        if is_carved and not sums["pay_fen"][k]:
            continue
        mine = {name: column[k] for name, column in sums.items()}
        if is_carved:
            mine |= dict.fromkeys(("cases", "claims", "cost_fen", "booked_fund_fen"), 0)
            mine |= dict.fromkeys(("patient_fen", "standard_fen"), 0)
        found.append(Account(r.hospital[row], r.level[row], mine))
    return found
