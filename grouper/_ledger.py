"""The ledger (台账): entries that people make and those that a run writes; they are only ever added.

What people enter is checked whole before anything is paid: an entry for a hospital, pool or case that is
not there, or of a kind that a run writes, is refused by its id.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from fractions import Fraction
from typing import Any

import pyarrow as pa

from grouper.errors import CaseSchemaError, SettlementError
from grouper.tables._files import plain_decimal

ENTRIES = pa.schema(
    [
        ("entry_id", pa.string()),
        ("kind", pa.string()),
        ("pool_id", pa.string()),
        ("hospital_id", pa.string()),
        ("case_id", pa.string()),
        ("settlement_month", pa.string()),
        ("amount_fen", pa.int64()),
        ("value", pa.string()),
        ("outcome", pa.string()),
        ("reason", pa.string()),
        ("reference", pa.string()),
        ("entered_by", pa.string()),
        ("entered_on", pa.date32()),
    ]
)
"""Columns of the ledger; entries are only ever added."""

OUTCOMES = ("refused", "score", "cost_over_mean", "booked")
DECISIONS = ("special_case", "appeal")
SIGNS = {"deduction": -1, "adjustment": 0, "prepayment": 1, "hold": -1, "release": 1}
"""Kinds of an amount that people enter, and its sign: 0 = either."""

GIVEN = (*DECISIONS, *SIGNS, "assessment")
WRITTEN = (
    *("monthly", "deposit", "late", "reversal", "correction", "special", "floor", "cap"),
    *("assessed", "surplus", "overspend", "second", "final", "recovery", "out_of_area"),
    *("balance", "undistributed"),
)
DIFFERENCES = ("late", "reversal", "correction")
MOST_FEN = 10**13
MOST_COEFFICIENT = 2
MOST_SCORE = 10**9
MONTH = re.compile(r"(19|20)[0-9]{2}-(0[1-9]|1[0-2])")


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry; `amount` in fen, `value` a coefficient or a score, `month` such as 2025-03."""

    entry_id: str
    kind: str
    pool: str = ""
    hospital: str = ""
    case: str = ""
    month: str = ""
    amount: int | None = None
    value: Fraction | None = None
    outcome: str = ""
    reason: str = ""
    reference: str = ""
    entered_by: str = ""
    entered_on: date | None = None
    value_text: str = ""

    def row(self) -> dict[str, Any]:
        """Return it as a row of `ENTRIES`; blank texts are null."""
        texts = {
            "entry_id": self.entry_id,
            "kind": self.kind,
            "pool_id": self.pool,
            "hospital_id": self.hospital,
            "case_id": self.case,
            "settlement_month": self.month,
            "value": self.value_text,
            "outcome": self.outcome,
            "reason": self.reason,
            "reference": self.reference,
            "entered_by": self.entered_by,
        }
        return {
            **{name: text or None for name, text in texts.items()},
            "amount_fen": self.amount,
            "entered_on": self.entered_on,
        }


def to_table(entries: Iterable[Entry]) -> pa.Table:
    """Lay out entries as a table."""
    return pa.Table.from_pylist([e.row() for e in entries], schema=ENTRIES)


def read_entries(table: pa.Table | None, counts: Counter[str]) -> list[Entry]:
    """Read what people entered, in the order of the table; what a run wrote is counted, not read.

    Raises
    ------
    CaseSchemaError : a column is missing. SettlementError : an entry is refused; the first is named.
    """
    if table is None:
        return []
    names = table.schema.names
    if lacking := [c for c in ("entry_id", "kind") if c not in names]:
        raise CaseSchemaError([f"ledger: column {c!r} is missing" for c in lacking])
    found, seen = [], set()
    for line, row in enumerate(table.to_pylist(), 2):
        entry = _entry(row, line)
        if entry.kind in WRITTEN:
            counts[f"ledger: {entry.kind} entries of earlier runs, left out"] += 1
            continue
        if entry.entry_id in seen:
            raise SettlementError(f"ledger row {line}: entry_id {entry.entry_id!r} stands twice")
        seen.add(entry.entry_id)
        _check(entry, line)
        found.append(entry)
    return found


def _entry(row: Mapping[str, Any], line: int) -> Entry:
    def text(name: str) -> str:
        value = row.get(name)
        return "" if value is None else str(value).strip()

    amount = _amount(text("amount"), text("amount_fen"), line)
    value = text("value")
    return Entry(
        entry_id=text("entry_id"),
        kind=text("kind"),
        pool=text("pool_id"),
        hospital=text("hospital_id"),
        case=text("case_id"),
        month=text("settlement_month"),
        amount=amount,
        value=_number(value, "value", line) if value else None,
        outcome=text("outcome"),
        reason=text("reason"),
        reference=text("reference"),
        entered_by=text("entered_by"),
        entered_on=_entered(row.get("entered_on"), line),
        value_text=value,
    )


def _amount(yuan: str, fen: str, line: int) -> int | None:
    """Read an amount of yuan or fen; of both they must agree."""
    found = set()
    if yuan:
        found.add(_number(yuan, "amount", line) * 100)
    if fen:
        found.add(_number(fen, "amount_fen", line))
    if len(found) > 1:
        raise SettlementError(f"ledger row {line}: amount {yuan} is not amount_fen {fen}")
    for amount in found:
        if amount.denominator != 1 or abs(amount) >= MOST_FEN:
            raise SettlementError(
                f"ledger row {line}: amount {yuan or fen} is no whole number of fen below 10^13"
            )
        return int(amount)
    return None


def _entered(day: Any, line: int) -> date | None:
    """Read the day of an entry: a date, a time, or a text such as 2025-02-20."""
    if day is None or day == "":
        return None
    if isinstance(day, datetime):
        return day.date()
    if isinstance(day, date):
        return day
    try:
        return date.fromisoformat(str(day))
    except ValueError:
        message = f"ledger row {line}: entered_on {day!r} is no day such as 2025-02-20"
        raise SettlementError(message) from None


def _number(text: str, name: str, line: int) -> Fraction:
    found = plain_decimal(text)
    if found is None:
        raise SettlementError(
            f"ledger row {line}: {name} {text!r} is no plain decimal such as -12000.00"
        )
    return found


def _check(e: Entry, line: int) -> None:
    """Refuse an entry that does not say what its kind needs."""

    def refuse(what: str) -> None:
        raise SettlementError(f"ledger row {line}, entry {e.entry_id!r}: {what}")

    if not e.entry_id:
        refuse("entry_id is blank")
    if e.kind not in GIVEN:
        refuse(f"kind {e.kind!r} is none of {', '.join(GIVEN)}")
    if e.month and not MONTH.fullmatch(e.month):
        refuse(f"settlement_month {e.month!r} is no month such as 2025-02")
    if e.kind in DECISIONS:
        if not e.case:
            refuse("a decision names its case_id")
        if e.outcome not in OUTCOMES:
            refuse(f"outcome {e.outcome!r} is none of {', '.join(OUTCOMES)}")
        if e.outcome in ("score", "cost_over_mean") and (e.value is None or e.value < 0):
            refuse(f"outcome {e.outcome} needs a value of 0 or more")
        if e.value is not None and e.value > MOST_SCORE:
            refuse(f"a value above {MOST_SCORE} is no score")
        if e.amount is not None:
            refuse("a decision has a value, no amount")
        return
    if not e.hospital:
        refuse("hospital_id is blank")
    if e.kind == "assessment":
        if e.value is None or not 0 <= e.value <= MOST_COEFFICIENT:
            refuse(f"an assessment needs a coefficient of 0 to {MOST_COEFFICIENT} as value")
        return
    if e.amount is None:
        refuse("the amount is blank")
    assert e.amount is not None
    if e.amount * SIGNS[e.kind] < 0:
        refuse(f"a {e.kind} is {'negative' if SIGNS[e.kind] < 0 else 'positive'}")
    if e.kind in ("hold", "release") and not e.month:
        refuse(f"a {e.kind} names its settlement_month")


def in_order(entries: Iterable[Entry]) -> list[Entry]:
    """Sort decisions by the day they were entered, then by id: the last one counts."""
    return sorted(entries, key=lambda e: (e.entered_on or date.min, e.entry_id.encode()))


def place_pools(entries: Sequence[Entry], pools: Sequence[str]) -> list[Entry]:
    """Fill the pool of entries of hospitals where there is only one fund; refuse unknown ones."""
    found = []
    for e in entries:
        if e.kind in DECISIONS:
            found.append(e)
            continue
        if not e.pool and len(pools) == 1:
            e = replace(e, pool=pools[0])
        if e.pool not in pools:
            known = ", ".join(pools)
            raise SettlementError(
                f"ledger entry {e.entry_id!r}: pool {e.pool!r} is no fund of the policy; known: {known}"
            )
        found.append(e)
    return found
