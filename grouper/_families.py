"""Families of cases paid in their own way (床日, 日间手术, 中医优势病种, 按项目) and readmissions.

Both only say which cases; what they are paid is worked out with every other price.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from grouper._ledger_rows import Rows
from grouper.errors import CaseSchemaError, SettlementError
from grouper.tables._policy import Policy
from grouper.tables._policy_model import Readmission, When
from grouper.tables._types import I8, I32, I64

TEXTS = ("med_type", "ipt_med_type", "trt_type", "department")
MOST_SHARE_PARTS = 10_000


def find_families(rows: Rows, policy: Policy) -> I8:
    """Return each case's family, its place in the policy, -1 = ordinary; the first that holds.

    Raises
    ------
    CaseSchemaError : a condition asks for a column that the cases lack.
    SettlementError : a case of a per diem family has no length of stay.
    """
    families = policy.settings.family
    found = np.full(len(rows), -1, np.int8)
    if not families:
        return found
    rejected = np.array([s in ("rejected", "no_list") for s in rows.status.distinct], np.bool_)
    open_ = ~rejected[rows.status.index]
    for k, family in enumerate(families):
        mine = open_ & _holds(rows, family.when, f"family {family.id}")
        found[mine] = k
        open_ &= ~mine
        if family.pay == "per_day" and (lost := int((rows.los[mine] < 0).sum())):
            raise SettlementError(
                f"{lost} cases of the per diem family {family.id} have no los: fill it"
            )
    return found


def _holds(rows: Rows, when: When, what: str) -> NDArray[np.bool_]:
    """Tell which cases meet all conditions."""
    holds = np.ones(len(rows), np.bool_)
    for name in TEXTS:
        if wanted := getattr(when, name):
            column = _column(rows.table, name, what).cast(pa.string())
            within = pc.is_in(column, value_set=pa.array(wanted, pa.string()))
            holds &= within.to_numpy(zero_copy_only=False)
    if when.group:
        holds &= np.array([g in when.group for g in rows.group.distinct], np.bool_)[
            rows.group.index
        ]
    if when.los_from is not None:
        holds &= rows.los >= when.los_from
    if when.fee_share_from is not None:
        share = Fraction(when.fee_share_from)
        if share.denominator > MOST_SHARE_PARTS:
            raise SettlementError(f"{what}: fee_share_from has more than four decimals")
        fee = pc.fill_null(_column(rows.table, when.fee, what), 0).to_numpy().astype(np.int64)
        holds &= (rows.cost > 0) & (fee * share.denominator >= share.numerator * rows.cost)
    return holds


def _column(table: pa.Table, name: str, what: str) -> Any:
    if name not in table.schema.names:
        raise CaseSchemaError([f"column {name!r} is missing: {what} of the policy asks for it"])
    return table[name]


def find_readmissions(rows: Rows, policy: Policy) -> I8:
    """Return the rule by which each case is a readmission (再入院), -1 = none.

    A case is one if another case of its patient, admitted on an earlier day, was discharged 0 … days
    before it was admitted, and the rule's other conditions hold.

    Raises
    ------
    CaseSchemaError : patient_id or a date is no column.
    """
    found = np.full(len(rows), -1, np.int8)
    rules = policy.settings.readmission
    if not rules:
        return found
    patient = _column(rows.table, "patient_id", "[[readmission]]")
    days = [
        _as_days(_column(rows.table, f"{name}_date", "[[readmission]]"))
        for name in ("admission", "discharge")
    ]
    ids = pc.fill_null(patient.cast(pa.string()), "").combine_chunks().dictionary_encode()
    blank = pc.equal(ids.dictionary, "").to_numpy(zero_copy_only=False)
    of = np.asarray(ids.indices.to_numpy(), np.int64)
    known = ~blank[of] & (days[0] >= 0) & (days[1] >= 0) & ~rows.reversed
    place = np.empty(len(rows), np.int64)
    place[rows.by_id] = np.arange(len(rows))
    order = np.lexsort((place, days[0], of))
    order = order[known[order]]
    at = np.arange(len(order))
    stays = at - np.maximum.accumulate(np.where(_starts(of[order]), at, 0))  # before this one
    back = 1
    while len(at := at[stays[at] >= back]):
        later, earlier = order[at], order[at - back]
        back += 1
        gap = np.where(days[0][earlier] < days[0][later], days[0][later] - days[1][earlier], -1)
        for k, rule in enumerate(rules):
            hit = (gap >= 0) & (gap <= rule.days) & _fits(rows, rule, later, earlier)
            again = later[hit]
            found[again] = np.where((found[again] < 0) | (found[again] > k), k, found[again])
    return found


def _fits(rows: Rows, rule: Readmission, later: I64, earlier: I64) -> NDArray[np.bool_]:
    fits = np.ones(len(later), np.bool_)
    if rule.same_group:
        grouped = np.array([bool(g) for g in rows.group.distinct], np.bool_)
        fits &= rows.group.index[later] == rows.group.index[earlier]
        fits &= grouped[rows.group.index[later]]
    if rule.other_hospital is not None:
        other = rows.hospital.index[later] != rows.hospital.index[earlier]
        fits &= other == rule.other_hospital
    return fits


def _as_days(column: Any) -> I32:
    days = column.cast(pa.date32(), safe=False).cast(pa.int32())
    return np.asarray(pc.fill_null(days, -1).to_numpy(), np.int32)


def _starts(sorted_ids: I64) -> NDArray[np.bool_]:
    """Mark where a run of equal ids begins."""
    starts = np.ones(len(sorted_ids), np.bool_)
    starts[1:] = sorted_ids[1:] != sorted_ids[:-1]
    return starts
