"""Corrections of published months (差额): what a frozen month would owe now, less what it owed so far.

A published month is never paid anew. A case that is late, reversed, moved or priced otherwise becomes
entries of difference, one for each account (hospital, pool, line) that it touches, at the point value
and the ratio of the published month. A case that is again as published counts with its published amount, so a
correction and its reversal restore every fen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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
from grouper.errors import SettlementError
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
    place = pc.index_in(ids, text_array(frozen.cases["case_id"])).fill_null(-1).to_numpy()
    known = pa.array(prior.corrected(frozen.month), pa.string())
    again = pc.is_in(ids, value_set=known).to_numpy(zero_copy_only=False)
    same = np.zeros(len(rows), np.bool_)
    at = np.flatnonzero(here & (place >= 0))
    same[at] = _unchanged(claimed, frozen.cases.take(pa.array(place[at])), at)
    touched = (here & ~same) | (~here & (place >= 0)) | ((here | (place >= 0)) & again)
    affected = rows.order[touched[rows.order]]
    owed = _owed_now(claimed, frozen, affected[here[affected] & ~same[affected]], here)
    published = _published(frozen, affected, place)
    for row in affected.tolist():
        was = published.get(row, {})
        target = owed.get(row, was if same[row] else {})
        so_far = dict(was)
        for account, fen in prior.accounts(rows.case_id(row), frozen.month).items():
            so_far[account] = so_far.get(account, 0) + fen
        yield from _of_case(claimed, frozen.month, run_month, row, target, so_far, bool(here[row]))


def _of_case(
    claimed: Claimed,
    month: str,
    run_month: str,
    row: int,
    target: Mapping[Account, int],
    so_far: Mapping[Account, int],
    is_here: bool,
) -> Iterator[Entry]:
    """Give the entries of one case; a late one has an entry even where nothing is owed for it."""
    rows = claimed.rows
    stays = is_here and not rows.reversed[row]
    now = rows.hospital[row], claimed.policy.settings.pool[claimed.pool[row]].id
    is_known = any(account[:2] == now for account in so_far)
    for account in sorted(target.keys() | so_far.keys()):
        amount = target.get(account, 0) - so_far.get(account, 0)
        kind = "reversal"
        if stays and account[:2] == now:
            kind = "correction" if is_known else "late"
        if amount or kind == "late":
            yield _entry(kind, month, run_month, rows.case_id(row), account, amount)


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
    # what no point value prices is worked out anew: the same amount leaves no entry
    return np.asarray(same & ~in_fen & ~claimed.outright[at], np.bool_)


def _is_text(column: Any, texts: Sequence[str], index: Any) -> NDArray[np.bool_]:
    """Tell where a column of texts holds the text of an index."""
    place = pc.index_in(text_array(column), pa.array(texts, pa.string()))
    return np.asarray(place.fill_null(-1).to_numpy() == index, np.bool_)


def _published(frozen: FrozenMonth, rows: I64, place: I64) -> dict[int, dict[Account, int]]:
    """Return what published cases were owed, by account."""
    rows = rows[place[rows] >= 0]
    cases = frozen.cases.take(pa.array(place[rows]))
    names = ("hospital_id", "pool_id", "family", "pay_fen", "carve_out_pay_fen")
    found: dict[int, dict[Account, int]] = {}
    columns = (cases[name].to_pylist() for name in names)
    for row, hospital, pool, family, pay, carved in zip(rows.tolist(), *columns, strict=True):
        lines = (f"family:{family}", TAKER)
        line = next((x for x in lines if (pool, x) in frozen.pools), FUND)
        found[row] = {(hospital, pool, line): pay}
        if (pool, CARVE_OUT) in frozen.pools:
            found[row][hospital, pool, CARVE_OUT] = carved
    return found


def _owed_now(
    claimed: Claimed, frozen: FrozenMonth, rows: I64, here: NDArray[np.bool_]
) -> dict[int, dict[Account, int]]:
    """Price cases at the point value and ratio of the published month.

    Raises
    ------
    SettlementError : the month had no point value to price a score by.
    """
    s, m = claimed.policy.settings, claimed.policy.settings.method
    carved = s.carve_out is not None and s.carve_out.fund == "outside"
    closing = Closing(claimed)
    found: dict[int, dict[Account, int]] = {}
    for (pool, line, hospital), mine in _by_account(claimed, rows).items():
        maker = next(p.price_of or p.id for p in s.pool if p.id == pool)
        price = frozen_value(frozen, maker)
        if m.shares and price is None and not (claimed.in_fen | claimed.outright)[mine].all():
            raise SettlementError(
                f"pool {pool}: {frozen.month} was published without a point value, and "
                f"{len(mine)} cases are to be priced by it now, as {claimed.rows.case_id(mine[0])!r}"
            )
        closing.ratio = _frozen_ratio(claimed, frozen, (hospital, pool, line), here)
        closing.owed_at_price(mine, mine, price)
        for row in mine.tolist():
            found[row] = {(hospital, pool, line): int(closing.pay[row])}
            if carved:
                found[row][hospital, pool, CARVE_OUT] = int(claimed.carve_out_pay[row])
    return found


def _by_account(claimed: Claimed, rows: I64) -> dict[tuple[str, str, str], I64]:
    """Put cases together by pool, line and hospital."""
    s, r = claimed.policy.settings, claimed.rows
    found: dict[tuple[str, str, str], list[int]] = {}
    for row in rows.tolist():
        pool, line = s.pool[claimed.pool[row]], FUND
        if pool.price_of is not None:
            line = TAKER
        elif claimed.outside[row]:
            line = f"family:{s.family[claimed.family[row]].id}"
        found.setdefault((pool.id, line, r.hospital[row]), []).append(row)
    return {key: np.array(mine, np.int64) for key, mine in found.items()}


def frozen_value(frozen: FrozenMonth, pool: str) -> PointValue | None:
    """Return a published month's point value."""
    row = frozen.months.get(pool)
    if row is None or row["point_value_den"] in (None, 0):
        return None
    return PointValue(row["point_value_num"], row["point_value_den"])


def _frozen_ratio(
    claimed: Claimed, frozen: FrozenMonth, account: Account, here: NDArray[np.bool_]
) -> tuple[int, int] | None:
    """Return a published month's ρ = booked ÷ cost, of the policy's scope; None = not needed.

    A line of which nothing was published has the ρ of its cases as they are now.
    """
    m, r = claimed.policy.settings.method, claimed.rows
    if m.fund_form != "ratio" or m.ratio_scope in ("published", "case"):
        return None
    _, pool, line = account
    row: Any = frozen.hospitals.get(account) if m.ratio_scope == "hospital" else None
    row = row or frozen.pools.get((pool, line))
    if row is not None and row["cases"]:
        booked, cost = row["booked_fund_fen"], row["cost_fen"]
    else:
        now = [
            mine
            for key, mine in _by_account(claimed, np.flatnonzero(here)).items()
            if key[:2] == (pool, line)
        ]
        mine = np.concatenate([np.zeros(0, np.int64), *now])
        booked, cost = int(r.booked[mine].sum()), int(np.maximum(r.cost[mine], 0).sum())
    ratio = Fraction(booked, cost) if cost else Fraction(0)
    return ratio.numerator, ratio.denominator
