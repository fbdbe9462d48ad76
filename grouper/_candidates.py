"""Special cases (特例单议): the quota of a period and the cases that may be proposed, ranked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from math import floor
from typing import Any

import numpy as np
import pyarrow as pa

from grouper._arrow import decimals, labels
from grouper._claims import Claimed
from grouper._closing import Closed
from grouper._funds import FUND
from grouper.tables._types import I64

SCHEMA = pa.schema(
    [
        *((c, pa.string()) for c in ("pool_id", "period", "scope")),
        *((c, pa.int64()) for c in ("cases", "quota", "rank")),
        ("within_quota", pa.bool_()),
        *((c, pa.string()) for c in ("hospital_id", "case_id", "group")),
        *((c, pa.int64()) for c in ("cost_used_fen", "standard_fen", "excess_fen")),
        ("ratio", pa.decimal128(19, 4)),
        ("decided", pa.string()),
    ]
)
"""Columns of candidates.parquet."""


def candidates(
    claimed: Claimed, standard: I64, closed: Sequence[Closed], outcomes: Mapping[int, str]
) -> pa.Table:
    """Rank the cases whose cost is above their standard, by the excess, ties by case id."""
    if claimed.policy.settings.special_cases is None:
        return SCHEMA.empty_table()
    parts = [
        _of_scope(claimed, standard, c, scope, rows, outcomes)
        for c in closed
        if c.unit.line == FUND
        for scope, rows in _scopes(claimed, c.unit.rows)
    ]
    return pa.concat_tables([SCHEMA.empty_table(), *parts])


def _scopes(claimed: Claimed, rows: I64) -> list[tuple[str, I64]]:
    """Split a unit's cases by what a quota is of; reversed settlements are none."""
    special, r = claimed.policy.settings.special_cases, claimed.rows
    assert special is not None
    rows = rows[~r.reversed[rows]]
    if special.per == "pool":
        return [("", rows)]
    texts = r.level if special.per == "level" else r.hospital
    index = texts.index[rows]
    named = sorted(np.unique(index).tolist(), key=lambda k: texts.distinct[k].encode())
    return [(texts.distinct[k], rows[index == k]) for k in named]


def _of_scope(
    claimed: Claimed,
    standard: I64,
    closed: Closed,
    scope: str,
    rows: I64,
    outcomes: Mapping[int, str],
) -> pa.Table:
    r, unit = claimed.rows, closed.unit
    place = np.empty(len(r), np.int64)
    place[r.by_id] = np.arange(len(r))
    per = claimed.policy.settings.special_cases
    assert per is not None
    at = {"pool": unit.pool}
    if per.per != "pool":
        first = rows[np.argmin(place[rows])]
        at |= {per.per: scope, "level": r.level[first]}
        at |= {"class": r.class_[first]} if per.per == "hospital" else {}
    share: Fraction = claimed.policy.at("special_share", unit.last, **at)
    quota = floor(share * len(rows))
    excess = r.used[rows] - standard[rows]
    above = rows[(r.used[rows] >= 0) & (excess > 0)]
    over = r.used[above] - standard[above]
    ranked = above[np.lexsort((place[above], -over))]
    n = len(ranked)
    rank = np.arange(1, n + 1)
    columns: dict[str, Any] = {
        "pool_id": [unit.pool] * n,
        "period": [unit.period] * n,
        "scope": [scope] * n,
        "cases": np.full(n, len(rows)),
        "quota": np.full(n, quota),
        "rank": rank,
        "within_quota": rank <= quota,
        "hospital_id": labels(r.hospital.index[ranked], r.hospital.distinct),
        "case_id": r.table["case_id"].take(pa.array(ranked)),
        "group": labels(r.group.index[ranked], r.group.distinct),
        "cost_used_fen": r.used[ranked],
        "standard_fen": standard[ranked],
        "excess_fen": r.used[ranked] - standard[ranked],
        "ratio": decimals(claimed.ratio[ranked], 4, claimed.ratio[ranked] < 0),
        "decided": [outcomes.get(int(k)) for k in ranked],
    }
    return pa.table(columns).cast(SCHEMA)
