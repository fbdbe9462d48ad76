"""Corrections of published months (差额): what a frozen month would owe now, less what it owed so far.

A published month is never paid anew. A case that is late, reversed, moved or priced otherwise becomes
entries of difference, one for each account (hospital, pool, line) that it touches, at the point value
and the ratio of the published month. A case that is again as published counts with its published amount, so a
correction and its reversal restore every fen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from grouper._arrow import text_array, units_of
from grouper._claims import Claimed
from grouper._closing import Closing, PointValue
from grouper._funds import CARVE_OUT, FUND, TAKER
from grouper._ledger import Entry
from grouper._prior import FrozenMonth, Prior
from grouper.tables._types import I64

Account = tuple[str, str, str]
"""Hospital, pool and line."""

MONEY = ("patient_fen", "other_payers_fen", "booked_fund_fen", "carve_out_pay_fen")


def find_differences(claimed: Claimed, prior: Prior, months: I64, run_month: str) -> list[Entry]:
    """Return the entries of difference that a month's run owes for the frozen months before it.

    `months` gives each case's month as yyyy·12 + mm - 1.
    """
    found: list[Entry] = []
    for frozen in prior.months.values():
        if frozen.month < run_month:
            found += _of_month(
                claimed, prior, frozen, months == month_number(frozen.month), run_month
            )
    return found


def month_number(month: str) -> int:
    """Return a month as yyyy·12 + mm - 1."""
    return int(month[:4]) * 12 + int(month[5:]) - 1


def _of_month(
    claimed: Claimed,
    prior: Prior,
    frozen: FrozenMonth,
    here: NDArray[np.bool_],
    run_month: str,
) -> Iterator[Entry]:
    rows = claimed.rows
    ids = text_array(rows.table["case_id"])
    published = text_array(frozen.cases["case_id"])
    place = pc.index_in(ids, published).fill_null(-1).to_numpy()
    known = pa.array(prior.corrected(frozen.month), pa.string())
    again = pc.is_in(ids, value_set=known).to_numpy(zero_copy_only=False)
    same = np.zeros(len(rows), np.bool_)
    at = np.flatnonzero(here & (place >= 0))
    same[at] = _unchanged(claimed, frozen.cases.take(pa.array(place[at])), at)
    touched = (here & ~same) | (~here & (place >= 0)) | ((here | (place >= 0)) & again)
    affected = rows.order[touched[rows.order]]
    owed = _owed_now(claimed, frozen, affected[here[affected] & ~same[affected]])
    for row in affected.tolist():
        case = rows.case_id(row)
        target: dict[Account, int] = {}
        if here[row]:
            amounts = _published(frozen, int(place[row])) if same[row] else owed[row]
            target = {a: fen for a, fen in amounts.items() if fen}
        so_far = dict(_published(frozen, int(place[row]))) if place[row] >= 0 else {}
        for account, fen in prior.accounts(case, frozen.month).items():
            so_far[account] = so_far.get(account, 0) + fen
        stays = here[row] and not rows.reversed[row]
        place_now = rows.hospital[row], claimed.policy.settings.pool[claimed.pool[row]].id
        before = {account[:2] for account, fen in so_far.items() if fen or place[row] >= 0}
        for account in sorted(target.keys() | so_far.keys()):
            amount = target.get(account, 0) - so_far.get(account, 0)
            if not stays or account[:2] != place_now:
                kind = "reversal"
            else:
                kind = "correction" if place_now in before else "late"
            if amount:
                yield _entry(kind, frozen.month, run_month, case, account, amount)


def _entry(
    kind: str, month: str, run_month: str, case: str, account: Account, amount: int
) -> Entry:
    hospital, pool, line = account
    reference = month if line == FUND else f"{month} {line}"
    reasons = {
        "late": "settled after its month was published",
        "reversal": "reversed or moved after its month was published",
        "correction": "changed after its month was published",
    }
    return Entry(
        entry_id=f"{kind}:{run_month}:{reference}:{hospital}:{case}",
        kind=kind,
        pool=pool,
        hospital=hospital,
        case=case,
        month=run_month,
        amount=amount,
        reason=reasons[kind],
        reference=reference,
    )


def _unchanged(claimed: Claimed, published: pa.Table, at: I64) -> NDArray[np.bool_]:
    """Tell which cases ask for what they asked for when the month was published."""
    rows, s = claimed.rows, claimed.policy.settings
    same = ~rows.reversed[at]
    now = (rows.patient, rows.others, rows.booked, claimed.carve_out_pay)
    for name, values in zip(MONEY, now, strict=True):
        same &= published[name].to_numpy() == values[at]
    pools = [p.id for p in s.pool]
    same &= _is_text(published["hospital_id"], rows.hospital.distinct, rows.hospital.index[at])
    same &= _is_text(published["pool_id"], pools, claimed.pool[at])
    families = [*(f.id for f in s.family), "ordinary"]
    family = np.where(claimed.family[at] < 0, len(families) - 1, claimed.family[at])
    same &= _is_text(published["family"], families, family)
    score = published["final_score"]
    scored = pc.is_valid(score).to_numpy()
    point = s.method.kind == "point"
    in_fen = claimed.in_fen[at]
    same &= scored != (in_fen & point)
    same &= ~scored | (units_of(score) == claimed.claim[at])
    priced = in_fen & ~claimed.outright[at]
    same &= ~priced | (published["standard_fen"].to_numpy() == claimed.claim[at])
    return np.asarray(same, np.bool_)


def _is_text(column: Any, texts: Sequence[str], index: Any) -> NDArray[np.bool_]:
    """Tell where a column of texts holds the text of an index."""
    place = pc.index_in(text_array(column), pa.array(texts, pa.string()))
    return np.asarray(place.fill_null(-1).to_numpy() == index, np.bool_)


def _published(frozen: FrozenMonth, place: int) -> dict[Account, int]:
    """Return what a published case was owed, by account."""
    row = frozen.cases.slice(place, 1)
    hospital, pool = (str(row[c][0].as_py()) for c in ("hospital_id", "pool_id"))
    family = str(row["family"][0].as_py())
    line = next(
        (x for x in (f"family:{family}", TAKER) if (pool, x) in frozen.pools),
        FUND,
    )
    found = {(hospital, pool, line): int(row["pay_fen"][0].as_py())}
    if (pool, CARVE_OUT) in frozen.pools:
        found[hospital, pool, CARVE_OUT] = int(row["carve_out_pay_fen"][0].as_py())
    return found


def _owed_now(claimed: Claimed, frozen: FrozenMonth, rows: I64) -> dict[int, dict[Account, int]]:
    """Price cases at the point value and ratio of the published month."""
    s = claimed.policy.settings
    found: dict[int, dict[Account, int]] = {}
    carved = s.carve_out is not None and s.carve_out.fund == "outside"
    for row in rows.tolist():
        pool = s.pool[claimed.pool[row]]
        hospital = claimed.rows.hospital[row]
        line = FUND
        if pool.price_of is not None:
            line = TAKER
        elif claimed.outside[row]:
            line = f"family:{s.family[claimed.family[row]].id}"
        closing = Closing(claimed, frozen_ratio(claimed, frozen, pool.id, hospital, line))
        price = frozen_value(frozen, pool.price_of or pool.id) if s.method.shares else None
        one = np.array([row], np.int64)
        found[row] = {(hospital, pool.id, line): closing.owed_at_price(one, one, price)}
        if carved:
            account = (hospital, pool.id, CARVE_OUT)
            found[row][account] = int(claimed.carve_out_pay[row])
    return found


def frozen_value(frozen: FrozenMonth, pool: str) -> PointValue | None:
    """Return a published month's point value."""
    row = frozen.months.get(pool)
    if row is None or row["point_value_den"] in (None, 0):
        return None
    return PointValue(row["point_value_num"], row["point_value_den"])


def frozen_ratio(
    claimed: Claimed, frozen: FrozenMonth, pool: str, hospital: str, line: str
) -> tuple[int, int] | None:
    """Return a published month's ρ = booked ÷ cost, of the policy's scope; None = not needed."""
    m = claimed.policy.settings.method
    if m.fund_form != "ratio" or m.ratio_scope in ("published", "case"):
        return None
    row: Any = frozen.pools.get((pool, line), {})
    if m.ratio_scope == "hospital":
        row = frozen.hospitals.get((hospital, pool, line), row)
    booked, cost = row.get("booked_fund_fen", 0), row.get("cost_fen", 0)
    ratio = Fraction(booked, cost) if cost else Fraction(0)
    return ratio.numerator, ratio.denominator
