"""What a settlement shows: its tables laid out, column by column. Nothing is decided here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from grouper._accounts import SUMS
from grouper._arrow import decimals, labels
from grouper._claims import Claimed
from grouper._clearing import TERMS, Cleared
from grouper._closing import Closing
from grouper._funds import CARVE_OUT
from grouper._grouped import RESULT
from grouper._months import UNSETTLED, value_text
from grouper.tables._types import I32, I64, Band

_TEXTS = ("hospital_id", "hospital_level", "pool_id", "period", "line")
HOSPITALS = pa.schema(
    [
        *((c, pa.string()) for c in _TEXTS),
        *((c, pa.int64()) for c in SUMS),
        *((f"{t}_fen", pa.int64()) for t in TERMS),
        *((c, pa.int64()) for c in ("entries_fen", "payable_fen")),
        *((c, pa.int64()) for c in ("paid_monthly_fen", "prepayment_fen", "to_pay_fen")),
    ]
)
"""Columns of hospitals.parquet: payable = pay + entries, to_pay = payable - paid - prepayment."""

POOLS = pa.schema(
    [
        *((c, pa.string()) for c in ("pool_id", "period", "line", "fund_form")),
        *((c, pa.int64()) for c in ("cases", "claims", "cost_fen", "booked_fund_fen")),
        *((c, pa.int64()) for c in ("patient_fen", "budget_fen", "reserve_fen", "outside_fen")),
        *((c, pa.int64()) for c in ("fund_fen", "off_top_fen", "shared_fen")),
        ("point_value", pa.string()),
        *((c, pa.int64()) for c in ("point_value_num", "point_value_den", "remainder_fen")),
        *((c, pa.int64()) for c in ("floor_draw_fen", "pay_fen", "balance_fen")),
        *((c, pa.int64()) for c in ("undistributed_fen", "entries_fen", "payable_fen")),
        ("withheld_cap_fen", pa.int64()),
        *((c, pa.int64()) for c in ("withheld_assessment_fen", "withheld_deduction_fen")),
        *((c, pa.int64()) for c in ("next_year_fen", "to_reserve_fen", "drawn_fen")),
        ("reserve_kept_fen", pa.int64()),
    ]
)
"""Columns of pools.parquet, with every term of the accrual identity."""

MONTHS = pa.schema(
    [
        *((c, pa.string()) for c in ("pool_id", "month")),
        *((c, pa.int64()) for c in ("fund_fen", "cases", "claims")),
        ("point_value", pa.string()),
        *((c, pa.int64()) for c in ("point_value_num", "point_value_den", "pay_fen")),
        ("balance_fen", pa.int64()),
        ("state", pa.string()),
        ("pace_ratio", pa.decimal128(19, 4)),
        ("colour", pa.string()),
    ]
)
"""Columns of months.parquet: one row a pool and month."""

PAYMENTS = pa.schema(
    [
        *((c, pa.string()) for c in ("hospital_id", "pool_id", "line", "month")),
        *((c, pa.int64()) for c in ("cases", "cost_fen", "booked_fund_fen", "pay_fen")),
        *((c, pa.int64()) for c in ("difference_fen", "owed_fen", "at_rate_fen")),
        *((c, pa.int64()) for c in ("deposit_fen", "entries_fen", "carried_fen")),
        *((c, pa.int64()) for c in ("due_fen", "paid_fen")),
        ("state", pa.string()),
    ]
)
"""Columns of payments.parquet: one row a hospital, pool, line and month."""


@dataclass(frozen=True, eq=False)
class Settlement:
    """What the fund owes (结算): per case, hospital and pool, with its proof of conservation."""

    _tables: Mapping[str, pa.Table]
    _manifest: Mapping[str, Any] = field(repr=False)

    def cases(self) -> pa.Table:
        """Return one row a case, in the order of the input."""
        return self._tables["cases"]

    def hospitals(self) -> pa.Table:
        """Return one row a hospital, pool, period and line."""
        return self._tables["hospitals"]

    def pools(self) -> pa.Table:
        """Return one row a pool, period and line; each closes to the fen."""
        return self._tables["pools"]

    def entries(self) -> pa.Table:
        """Return the ledger: the entries that were given, then those that this run writes."""
        return self._tables["ledger"]

    def months(self) -> pa.Table:
        """Return one row a pool and month, with its point value; empty without [year]."""
        return self._tables["months"]

    def payments(self) -> pa.Table:
        """Return one row a hospital, pool, line and month; empty without [year]."""
        return self._tables["payments"]

    def coefficients(self) -> pa.Table:
        """Return how each hospital coefficient came about."""
        return self._tables["coefficients"]

    def candidates(self) -> pa.Table:
        """Return the ranked candidates for special cases; empty without [special_cases]."""
        return self._tables["candidates"]

    def tables(self) -> dict[str, pa.Table]:
        """Return every table by the name that it has in a run folder."""
        return dict(self._tables)

    def manifest(self) -> dict[str, Any]:
        """Return policy, parameters with source, counts and the proof."""
        return dict(self._manifest)


def case_table(
    closing: Closing, month_pay: I64 | None, outcomes: Mapping[int, str], only: I64 | None = None
) -> pa.Table:
    """Lay out one row a case, in the order of the input: the group columns, then each step."""
    c = closing.claimed
    r, s, n = c.rows, c.policy.settings, len(c.rows)
    kept = [x for x in RESULT.names if x in r.table.schema.names and x != "aux_factor"]
    table = r.table.select(kept)
    families = [f.id for f in s.family]
    family = np.where(c.family < 0, len(families), c.family)
    factors = [Fraction(x.factor) for x in s.readmission]
    columns: dict[str, Any] = {
        "hospital_id": labels(r.hospital.index, r.hospital.distinct),
        "hospital_level": labels(r.level.index, r.level.distinct),
        "hospital_class": labels(r.class_.index, r.class_.distinct),
        "insurance": labels(r.insurance.index, r.insurance.distinct),
        "insured_area": labels(r.insured_area.index, r.insured_area.distinct),
        "pool_id": labels(c.pool, [p.id for p in s.pool]),
        "settlement_date": pa.array(r.fund_day, pa.int32()).cast(pa.date32()),
        "settlement_month": month_labels(r.fund_day),
        "los": pa.array(r.los, mask=r.los < 0),
        "family": labels(family, [*families, "ordinary"]),
        "pay_as": labels(c.key, [g.name for g in c.groups]),
        "weight_or_score": _fractions([p.weight for p in c.prices], c.key),
        "total_cost_fen": pa.array(r.cost, mask=r.cost < 0),
        "carve_out_fen": pa.array(r.carve_out),
        "unreasonable_fen": pa.array(r.unreasonable),
        "benchmark_fen": _benchmarks(c),
        "ratio": decimals(c.ratio, 4, c.ratio < 0),
        "band": labels(c.band.astype(np.int32) - 1, [b.name.lower() for b in Band if b]),
        "review": pa.array(
            (c.band == Band.EXTREME) & c.by_key([p.review for p in c.prices], np.bool_)
        ),
        "hospital_factor": _fractions([p.coefficient for p in c.prices], c.key),
        "aux_factor": _fractions([p.subtype for p in c.prices], c.key),
        "special": _outcomes(n, outcomes),
        "special_factor": _fractions(
            [*factors, Fraction(1)],
            np.where(c.readmission < 0, len(factors), c.readmission).astype(np.int32),
        ),
        "final_score": _scores(c),
        "standard_fen": pa.array(closing.standard),
        "booked_fund_fen": pa.array(r.booked),
        "other_payers_fen": pa.array(r.others),
        "patient_fen": pa.array(r.patient),
        "fund_form": labels(np.zeros(n, np.int32), [s.method.fund_form]),
        "month_pay_fen": _month_pay(n, month_pay),
        "carve_out_pay_fen": pa.array(c.carve_out_pay),
        "pay_fen": pa.array(closing.pay),
    }
    if "list_upload_date" in r.table.schema.names:
        columns["list_upload_date"] = r.table["list_upload_date"]
    for name, column in columns.items():
        table = table.append_column(name, column)
    return table if only is None else table.take(pa.array(only))


def _benchmarks(c: Claimed) -> pa.Array:
    each = c.by_key([p.benchmark for p in c.prices], np.int64)
    return pa.array(each, mask=each == 0)


def _outcomes(n: int, outcomes: Mapping[int, str]) -> pa.Array:
    names = sorted(set(outcomes.values()))
    index = np.full(n, -1, np.int32)
    for row, outcome in outcomes.items():
        index[row] = names.index(outcome)
    return labels(index, names)


def _scores(c: Claimed) -> pa.Array:
    """Return the claim: a score under points (none where it is fen), yuan under a rate."""
    m = c.policy.settings.method
    if m.kind == "rate":
        return decimals(c.claim, 2)
    return decimals(c.claim, m.score_decimals, c.in_fen)


def _month_pay(n: int, month_pay: I64 | None) -> pa.Array:
    if month_pay is None:
        return pa.nulls(n, pa.int64())
    return pa.array(month_pay, mask=month_pay == UNSETTLED)


def month_labels(day: I32) -> pa.Array:
    """Return the month of each day, such as 2025-03."""
    months = np.asarray(day, "datetime64[D]").astype("datetime64[M]")
    distinct, inverse = np.unique(months, return_inverse=True)
    return labels(inverse, [str(m) for m in distinct])


def _fractions(values: Sequence[Fraction], index: Any) -> pa.Array:
    """Return exact decimals by index; the scale is the largest any of them needs (at most 12)."""
    distinct = set(values)
    scale = next((s for s in range(13) if all((v * 10**s).denominator == 1 for v in distinct)), 12)
    units = np.array([round(v * 10**scale) for v in values] or [0], np.int64)
    return decimals(units[index], scale, None)


def hospital_table(cleared: Iterable[Cleared]) -> pa.Table:
    """Lay out one row a hospital, pool, period and line."""
    found = []
    for c in cleared:
        unit = c.closed.unit
        for line in c.lines:
            a = line.account
            found.append(
                {
                    "hospital_id": a.hospital,
                    "hospital_level": a.level,
                    "pool_id": unit.pool,
                    "period": unit.period,
                    "line": unit.line,
                    **a.sums,
                    **{f"{t}_fen": fen for t, fen in line.terms.items()},
                    "entries_fen": sum(line.terms.values()),
                    "payable_fen": line.payable,
                    "paid_monthly_fen": line.paid_monthly,
                    "prepayment_fen": line.prepayment,
                    "to_pay_fen": line.to_pay,
                }
            )
    return pa.Table.from_pylist(found, schema=HOSPITALS)


def pool_table(claimed: Claimed, cleared: Iterable[Cleared]) -> pa.Table:
    """Lay out one row a pool, period and line, with every term of its identity."""
    policy, r = claimed.policy, claimed.rows
    found = []
    for c in cleared:
        closed, unit = c.closed, c.closed.unit
        rows = unit.rows if unit.line != CARVE_OUT else unit.rows[:0]
        value = closed.point_value
        entries = sum(sum(line.terms.values()) for line in c.lines)
        found.append(
            {
                "pool_id": unit.pool,
                "period": unit.period,
                "line": unit.line,
                "fund_form": policy.settings.method.fund_form,
                "cases": len(rows),
                "claims": closed.claims,
                "cost_fen": int(np.maximum(r.cost[rows], 0).sum()),
                "booked_fund_fen": int(r.booked[rows].sum()),
                "patient_fen": int(r.patient[rows].sum()),
                "reserve_fen": unit.reserve,
                "fund_fen": closed.fund,
                "off_top_fen": closed.off_top,
                "shared_fen": closed.shared,
                "point_value": value_text(policy, value),
                "point_value_num": value.num if value else None,
                "point_value_den": value.den if value else None,
                "remainder_fen": closed.remainder,
                "floor_draw_fen": closed.drawn,
                "pay_fen": closed.pay,
                "entries_fen": entries,
                "to_reserve_fen": c.to_reserve,
                **c.terms(),
            }
        )
    return pa.Table.from_pylist(found, schema=POOLS)


def month_table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Lay out one row a pool and month."""
    ratios = [r["pace_ratio"] for r in rows]
    blank = np.array([x is None for x in ratios], np.bool_)
    column = decimals(np.array([x or 0 for x in ratios], np.int64), 4, blank)
    plain = pa.Table.from_pylist([{**r, "pace_ratio": None} for r in rows], schema=MONTHS)
    table = plain.set_column(MONTHS.get_field_index("pace_ratio"), "pace_ratio", column)
    return table.sort_by([("pool_id", "ascending"), ("month", "ascending")])


def payment_table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Lay out one row a hospital, pool, line and month."""
    order = ("pool_id", "line", "month", "hospital_id")
    table = pa.Table.from_pylist(
        sorted(rows, key=lambda r: tuple(str(r[c]).encode() for c in order)), schema=PAYMENTS
    )
    return table


def counts_of_bands(claimed: Claimed) -> dict[str, int]:
    """Count cases by band."""
    found = np.bincount(claimed.band, minlength=len(Band))
    return {b.name.lower(): int(found[b]) for b in Band}


def counts_of_rules(claimed: Claimed) -> dict[str, int]:
    """Count the cases that are paid by a rule of [status_pay] or a family, not by a weight."""
    found: dict[str, int] = {}
    numbers = np.bincount(claimed.key, minlength=len(claimed.groups)).tolist()
    for group, price, n in zip(claimed.groups, claimed.prices, numbers, strict=False):
        if not price.by_weight:
            name = group.name.removeprefix("status:")
            found[name] = found.get(name, 0) + n
    return dict(sorted(found.items()))


def sums_agree(hospitals: pa.Table, cleared: Sequence[Cleared]) -> bool:
    """Tell whether the hospitals' rows add up to the pools'."""
    for c in cleared:
        unit = c.closed.unit
        mine = pc.and_(
            pc.and_(
                pc.equal(hospitals["pool_id"], unit.pool), pc.equal(hospitals["line"], unit.line)
            ),
            pc.equal(hospitals["period"], unit.period),
        )
        if (pc.sum(hospitals.filter(mine)["pay_fen"]).as_py() or 0) != c.closed.pay:
            return False
    return True
