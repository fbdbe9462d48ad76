"""What a run says of itself: policy, counts, the proof of every identity, proposals, deadlines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from grouper._calendar import deadlines
from grouper._claims import Claimed, day_of
from grouper._clearing import Cleared
from grouper._results import counts_of_bands, counts_of_rules
from grouper.tables._policy import Policy


def manifest(
    claimed: Claimed,
    cleared: Sequence[Cleared],
    run: Mapping[str, Any],
    counts: Mapping[str, int],
    months: pa.Table,
) -> dict[str, Any]:
    """Return policy, parameters with source, counts and the proof.

    `run` says its kind, period ("" = the days at hand), months and frozen months.
    """
    policy, rows = claimed.policy, claimed.rows
    s = policy.settings
    days = [day_of(d) for d in (rows.fund_day.min(), rows.fund_day.max())] if len(rows) else []
    period = run["period"] or (f"{days[0]}/{days[-1]}" if days else "")
    found = {
        "policy": {
            "id": policy.id,
            "title": s.title,
            "standing": s.standing,
            "fingerprint": policy.fingerprint,
            "method": s.method.model_dump(mode="json"),
            "parameters": {
                name: {
                    "unit": p.unit,
                    "values": [
                        v.model_dump(mode="json", by_alias=True, exclude_none=True)
                        for v in p.all_values
                    ],
                }
                for name, p in s.param.items()
            },
        },
        "settled": {
            "cases": len(rows),
            "days": [d.isoformat() for d in days],
            "bands": counts_of_bands(claimed),
            "paid_by_rule": counts_of_rules(claimed),
            "stand_ins": dict(counts),
        },
        "run": {**run, "period": period, "status": "draft", "sign_off": {}},
        "proof": [_proof(c) for c in cleared],
    }
    if held := _proposals(policy, months):
        found["proposals"] = held
    if s.calendar is not None:
        found["deadlines"] = deadlines(s.calendar, run["months"])
    return found


def _proposals(policy: Policy, months: pa.Table) -> list[str]:
    """Propose to hold the next month's payment of a pool that is red (暂缓拨付)."""
    warnings = policy.settings.warnings
    if warnings is None or not warnings.hold_on_red:
        return []
    return [
        f"pool {r['pool_id']}: {r['month']} is red at {r['pace_ratio']} of the budget so far: "
        "hold the next month's payment (ledger kind hold)"
        for r in months.to_pylist()
        if r["colour"] == "red"
    ]


def _proof(c: Cleared) -> dict[str, Any]:
    """Write the identities of one unit, each term a number."""
    unit, closed = c.closed.unit, c.closed
    return {
        "pool_id": unit.pool,
        "period": unit.period,
        "line": unit.line,
        "fund_fen": closed.fund,
        "floor_draw_fen": closed.drawn,
        "pay_fen": closed.pay,
        "balance_fen": closed.balance,
        "undistributed_fen": closed.undistributed,
        "identity": "fund + floor_draw = pay + balance + undistributed",
        "overdrawn_fen": c.overdrawn,
        "hospitals_fen": sum(x.account.pay for x in c.lines),
        "accrual": c.terms(),
        "accrual_identity": "budget + drawn = payable + undistributed + withheld + next_year + "
        "balance + outside + reserve_kept",
        "cash": {
            "payable_fen": c.payable,
            "paid_monthly_fen": sum(x.paid_monthly for x in c.lines),
            "prepayment_fen": sum(x.prepayment for x in c.lines),
            "to_pay_fen": sum(x.to_pay for x in c.lines),
        },
    }
