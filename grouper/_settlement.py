"""settle: groups → money, exact to the fen.

Order of work: bring the rows together with hospitals, pools and days; price each distinct key
(`_pricing`); claims per case (kernel); close pool by pool (`_closing`); wrap with the proof.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from grouper import _chunks
from grouper._arrow import decimals, labels
from grouper._closing import Closed, Closing, Unit
from grouper._grouping import RESULT, GroupedBatch
from grouper._ledger_rows import Rows, read_rows
from grouper._pricing import PLAIN, PayGroup, Price, Subtype, Where, pay_group, price
from grouper.errors import ConservationError, SettlementError
from grouper.kernels import payment
from grouper.tables._policy import Policy, Value, load_policy
from grouper.tables._types import I32, I64, Band, PriceField, PriceKind

EPOCH = 719_163

ENTRIES = pa.schema(
    [
        ("entry_id", pa.string()),
        ("kind", pa.string()),
        ("pool_id", pa.string()),
        ("hospital_id", pa.string()),
        ("case_id", pa.string()),
        ("settlement_month", pa.string()),
        ("amount_fen", pa.int64()),
        ("reason", pa.string()),
        ("reference", pa.string()),
    ]
)
"""Columns of the ledger; entries are only ever added."""


@dataclass(frozen=True, eq=False)
class Settlement:
    """What the fund owes (结算): per case, hospital and pool, with its proof of conservation."""

    _cases: pa.Table
    _hospitals: pa.Table
    _pools: pa.Table
    _entries: pa.Table
    _manifest: Mapping[str, Any] = field(repr=False)

    def cases(self) -> pa.Table:
        """Return one row a case, in the order of the input."""
        return self._cases

    def hospitals(self) -> pa.Table:
        """Return one row a hospital, pool and fund period."""
        return self._hospitals

    def pools(self) -> pa.Table:
        """Return one row a pool and fund period; each closes to the fen."""
        return self._pools

    def entries(self) -> pa.Table:
        """Return the ledger of entries (see `ENTRIES`)."""
        return self._entries

    def manifest(self) -> dict[str, Any]:
        """Return policy, parameters with source, counts and the proof."""
        return dict(self._manifest)


def settle(
    grouped: GroupedBatch | pa.Table,
    policy: Policy | str | Path,
    *,
    hospitals: pa.Table | None = None,
    ledger: pa.Table | None = None,
    prior: Any = None,
    threads: int | None = None,
) -> Settlement:
    """Pay grouped cases under a policy (结算).

    Parameters
    ----------
    grouped : a `GroupedBatch`, or its table with the carried case columns.
    policy : a `Policy`, the id of a shipped one, or a path.
    hospitals : hospital_id, hospital_level, valid_from, valid_to; dated. Where it says nothing the
        level is that of the case.
    ledger, prior : entries and earlier runs of the year; this form takes none.

    Raises
    ------
    PolicyError : a parameter is missing or not in force. CaseSchemaError : columns are missing.
    SettlementError : cases that the policy cannot pay; says which and what to add.
    """
    if ledger is not None or prior is not None:
        raise SettlementError("ledger and prior belong to the settlement of a year: not taken yet")
    policy = policy if isinstance(policy, Policy) else load_policy(policy)
    counts: Counter[str] = Counter()
    rows = read_rows(grouped, policy, hospitals, counts)
    pool, units = _units(rows, policy)
    keys = _price_keys(rows, policy, pool)
    n = len(rows)
    claim, ratio, band = np.zeros(n, np.int64), np.zeros(n, np.int64), np.zeros(n, np.int8)
    fields = np.array([p.fields for p in keys.prices] or [(0,) * len(PriceField)], np.int64)
    _chunks.run(
        lambda a, b: payment.price(keys.index, rows.used, fields, claim, band, ratio, a, b),
        n,
        threads,
    )
    _refuse_costless(rows, keys)
    _refuse_edition(rows, policy)
    closing = Closing(policy, rows, claim, keys.index, keys.prices)
    closed = [closing.close(u) for u in units]
    priced = _Priced(policy, rows, units, pool, keys, claim, ratio, band, closing)
    hospital_rows = priced.hospitals(closed)
    _prove(closed, hospital_rows)
    return Settlement(
        _cases=priced.cases(),
        _hospitals=hospital_rows,
        _pools=priced.pools(closed),
        _entries=_entries(closed),
        _manifest=_manifest(policy, rows, closed, counts, priced),
    )


# ------------------------------------------------------------------------------- pools and prices


def _units(rows: Rows, policy: Policy) -> tuple[I32, list[Unit]]:
    """Put each case into a pool by its insurance, and each pool's cases into fund periods."""
    pools = policy.settings.pool
    rest = next((k for k, p in enumerate(pools) if not p.insurance), -1)
    of = {i: k for k, p in enumerate(pools) for i in p.insurance}
    place = np.array([of.get(i, rest) for i in rows.insurance.distinct], np.int32)
    used = np.unique(rows.insurance.index)
    if lost := [rows.insurance.distinct[i] for i in used if place[i] < 0]:
        raise SettlementError(f"insurance {', '.join(lost)} is in no pool of policy {policy.id}")
    pool = place[rows.insurance.index].astype(np.int32)
    width = int(rows.day.max(initial=0)) + 1
    mixed = pool[rows.order].astype(np.int64) * width + rows.day[rows.order]
    distinct, first, inverse = np.unique(mixed, return_index=True, return_inverse=True)
    number: dict[tuple[str, date, date | None], int] = {}
    units: list[tuple[str, Value, int]] = []
    unit_of = np.zeros(len(distinct), np.int32)
    for k, f in enumerate(first):
        row = rows.order[f]
        name, day = pools[pool[row]].id, _date(rows.day[row])
        fund = policy.value("fund", day, pool=name)
        at = number.setdefault((name, fund.from_, fund.to), len(number))
        unit_of[k] = at
        if at == len(units):
            units.append((name, fund, int(policy.at("fund", day, pool=name))))
    each = unit_of[inverse]
    with_cases = [
        Unit(name, fund, fen, np.ascontiguousarray(rows.order[each == k]))
        for k, (name, fund, fen) in enumerate(units)
    ]
    return pool, [*with_cases, *_idle(rows, policy, {*number})]


def _idle(rows: Rows, policy: Policy, seen: set[tuple[str, date, date | None]]) -> list[Unit]:
    """Name the funds of the period that no case draws on: their money is not lost from sight."""
    if not len(rows):
        return []
    first, last = _date(rows.day.min()), _date(rows.day.max())
    found = []
    for pool in policy.settings.pool:
        for v in policy.settings.param["fund"].values:
            overlaps = v.from_ <= last and (v.to is None or first <= v.to)
            if v.pool in (None, pool.id) and overlaps and (pool.id, v.from_, v.to) not in seen:
                day = max(v.from_, first)
                if policy.value("fund", day, pool=pool.id) is v:
                    fen = int(policy.at("fund", day, pool=pool.id))
                    found.append(Unit(pool.id, v, fen, np.zeros(0, np.int64)))
    return found


@dataclass(frozen=True)
class _Keys:
    """Distinct prices; `index` gives each case its own."""

    index: I32
    groups: list[PayGroup]
    prices: list[Price]
    first: I64


def _price_keys(rows: Rows, policy: Policy, pool: I32) -> _Keys:
    """Find the distinct (status, group, note, subtype, level, insurance, pool, period, hospital)."""
    narrowed = any(v.hospital for p in policy.settings.param.values() for v in p.values)
    breaks = np.array([d.toordinal() - EPOCH for d in policy.breaks], np.int64)
    parts: list[tuple[Any, int]] = [
        (rows.status.index, len(rows.status.distinct)),
        (rows.group.index, len(rows.group.distinct)),
        (rows.note.index, len(rows.note.distinct)),
        (rows.subtype.index, len(rows.subtype.distinct)),
        (rows.level.index, len(rows.level.distinct)),
        (rows.insurance.index, len(rows.insurance.distinct)),
        (pool, len(policy.settings.pool)),
        (np.searchsorted(breaks, rows.day, side="right"), len(breaks) + 1),
        (rows.hospital.index if narrowed else 0 * pool, len(rows.hospital.distinct)),
    ]
    mixed = np.zeros(len(rows), np.int64)
    for index, size in parts:
        mixed = mixed * size + index
    _, first, inverse = np.unique(mixed, return_index=True, return_inverse=True)
    groups, prices = [], []
    for row in first:
        day = _date(rows.day[row])
        group = pay_group(policy, day, rows.status[row], rows.group[row], rows.note[row])
        where = Where(
            day,
            rows.level[row],
            rows.insurance[row],
            rows.hospital[row],
            policy.settings.pool[pool[row]].id,
        )
        groups.append(group)
        prices.append(price(policy, group, where, _subtype(rows.subtype[row])))
    return _Keys(inverse.astype(np.int32), groups, prices, first)


def _subtype(text: str) -> Subtype:
    coefficient, _, mean = text.partition(" ")
    return Subtype(Fraction(coefficient), int(mean) if mean else None) if coefficient else PLAIN


def _refuse_edition(rows: Rows, policy: Policy) -> None:
    """Refuse groups of a scheme that the policy does not adopt, where it names any."""
    adopted = [a.id for a in policy.settings.scheme]
    if not adopted or "scheme" not in rows.table.schema.names:
        return
    used = {str(s) for s in rows.table["scheme"].unique().to_pylist() if s is not None}
    if foreign := sorted(used - set(adopted)):
        raise SettlementError(
            f"the cases are grouped by {', '.join(foreign)}; policy {policy.id} adopts "
            f"{', '.join(adopted)}: group by that, or name the scheme under [[scheme]]"
        )


def _refuse_costless(rows: Rows, keys: _Keys) -> None:
    """Refuse cases that are to be paid by their cost and have none."""
    by_cost = [p.fields[PriceField.KIND] == PriceKind.COST and not p.booked for p in keys.prices]
    lost = np.flatnonzero(np.array(by_cost, np.bool_)[keys.index] & (rows.cost < 0))
    if len(lost):
        name = keys.groups[keys.index[lost[0]]].name
        raise SettlementError(
            f"{len(lost)} cases without total_cost are to be paid by cost ({name}); give the cost, "
            "or another rule under [status_pay]"
        )


# ------------------------------------------------------------------------------------------ results


@dataclass(frozen=True)
class _Priced:
    """Everything known per case, ready to be laid out as tables."""

    policy: Policy
    rows: Rows
    units: Sequence[Unit]
    pool: I32
    keys: _Keys
    claim: I64
    ratio: I64
    band: Any
    closing: Closing

    def cases(self) -> pa.Table:
        """Lay out one row a case: the group columns, then every step of the price."""
        r, k = self.rows, self.keys
        names = [p.id for p in self.policy.settings.pool]
        weights = [p.weight for p in k.prices]
        factors = [p.coefficient for p in k.prices]
        kept = [c for c in RESULT.names if c in r.table.schema.names and c != "aux_factor"]
        table = r.table.select(kept)
        columns: dict[str, Any] = {
            "hospital_id": labels(r.hospital.index, r.hospital.distinct),
            "insurance": labels(r.insurance.index, r.insurance.distinct),
            "pool_id": labels(self.pool, names),
            "settlement_month": _months(r.day),
            "family": labels(np.zeros(len(r), np.int32), ["ordinary"]),
            "pay_as": labels(k.index, [g.name for g in k.groups]),
            "weight_or_score": _decimals(weights, k.index),
            "total_cost_fen": pa.array(r.cost, mask=r.cost < 0),
            "carve_out_fen": pa.array(r.carve_out),
            "unreasonable_fen": pa.array(r.unreasonable),
            "benchmark_fen": self._benchmark(),
            "ratio": decimals(self.ratio, 4, self.ratio < 0),
            "band": self._bands(),
            "hospital_factor": _decimals(factors, k.index),
            "aux_factor": _decimals([p.subtype for p in k.prices], k.index),
            "special_factor": decimals(np.full(len(r), 1, np.int64), 0, None),
            "final_score": self._score(),
            "standard_fen": pa.array(self.closing.standard),
            "booked_fund_fen": pa.array(r.booked),
            "other_payers_fen": pa.array(r.others),
            "patient_fen": pa.array(r.patient),
            "fund_form": labels(
                np.zeros(len(r), np.int32), [self.policy.settings.method.fund_form]
            ),
            "pay_fen": pa.array(self.closing.pay),
        }
        for name, column in columns.items():
            table = table.append_column(name, column)
        return table

    def _benchmark(self) -> pa.Array:
        mean = np.array([p.fields[PriceField.BENCHMARK] for p in self.keys.prices] or [0], np.int64)
        each = mean[self.keys.index]
        return pa.array(each, mask=each == 0)

    def _bands(self) -> pa.Array:
        return labels(self.band.astype(np.int32) - 1, [b.name.lower() for b in Band if b])

    def _score(self) -> pa.Array:
        """Return the claim: a score under points (none off the top), yuan under a rate."""
        m = self.policy.settings.method
        if m.kind == "rate":
            return decimals(self.claim, 2)
        return decimals(self.claim, m.score_decimals, self.closing.off_top)

    def band_counts(self) -> dict[str, int]:
        """Count cases by band."""
        found = np.bincount(self.band, minlength=len(Band))
        return {b.name.lower(): int(found[b]) for b in Band}

    def rule_counts(self) -> dict[str, int]:
        """Count the cases that are paid by a rule of [status_pay], not by a weight."""
        found = Counter[str]()
        for group, n in zip(self.keys.groups, np.bincount(self.keys.index).tolist(), strict=False):
            if group.rule is not None:
                found[group.name.removeprefix("status:")] += n
        return dict(sorted(found.items()))

    def hospitals(self, closed: Sequence[Closed]) -> pa.Table:
        """Lay out one row a hospital and fund period."""
        r, size = self.rows, len(self.rows.hospital.distinct)
        part = np.full(len(r), -1, np.int32)
        for k, unit in enumerate(self.units):
            part[unit.rows] = k * size + r.hospital.index[unit.rows]
        amounts = {
            "cases": np.ones(len(r), np.int64),
            "claims": np.where(self.closing.off_top, 0, self.claim),
            "cost_fen": np.maximum(r.cost, 0),
            "booked_fund_fen": r.booked,
            "patient_fen": r.patient,
            "standard_fen": self.closing.standard,
            "pay_fen": self.closing.pay,
        }
        sums = {}
        for name, values in amounts.items():
            sums[name] = np.zeros(size * len(self.units), np.int64)
            payment.add_up(part, np.ascontiguousarray(values), sums[name])
        ids = r.hospital.distinct
        used = [int(p) for p in np.flatnonzero(sums["cases"])]
        used.sort(key=lambda p: (p // size, ids[p % size].encode()))
        columns: dict[str, Any] = {
            "hospital_id": pa.array([ids[p % size] for p in used], pa.string()),
            "pool_id": pa.array([self.units[p // size].pool for p in used], pa.string()),
            "period": pa.array([self.units[p // size].period for p in used], pa.string()),
        }
        for name in amounts:
            columns[name] = pa.array(sums[name][used])
        entries = [closed[p // size].floors.get(ids[p % size], 0) for p in used]
        columns["entries_fen"] = pa.array(entries, pa.int64())
        columns["payable_fen"] = pc.add(columns["pay_fen"], columns["entries_fen"])
        return pa.table(columns)

    def pools(self, closed: Sequence[Closed]) -> pa.Table:
        """Lay out one row a pool and fund period, with every term of its identity."""
        r = self.rows
        columns: dict[str, list[Any]] = {}
        for c in closed:
            value = c.point_value
            row = {
                "pool_id": c.unit.pool,
                "period": c.unit.period,
                "fund_form": self.policy.settings.method.fund_form,
                "cases": len(c.unit.rows),
                "claims": c.claims,
                "cost_fen": int(np.maximum(r.cost[c.unit.rows], 0).sum()),
                "booked_fund_fen": int(r.booked[c.unit.rows].sum()),
                "patient_fen": int(r.patient[c.unit.rows].sum()),
                "fund_fen": c.unit.fund_fen,
                "off_top_fen": c.off_top,
                "shared_fen": c.shared,
                "point_value": self._value_text(value),
                "pay_fen": c.pay,
                "balance_fen": c.balance,
                "undistributed_fen": c.undistributed,
                "entries_fen": sum(c.floors.values()),
                "payable_fen": c.pay + sum(c.floors.values()),
            }
            for name, x in row.items():
                columns.setdefault(name, []).append(x)
        return pa.table(columns, schema=_POOLS) if columns else _POOLS.empty_table()

    def _value_text(self, value: Fraction | None) -> str | None:
        """Write the point value in yuan per point (or per published yuan) with six decimals."""
        if value is None:
            return None
        m = self.policy.settings.method
        per = Fraction(10**m.score_decimals, 100) if m.kind == "point" else Fraction(1)
        units = (value * per * 10**6 + Fraction(1, 2)).__floor__()
        return f"{units // 10**6}.{units % 10**6:06d}"


_POOLS = pa.schema(
    [
        *((c, pa.string()) for c in ("pool_id", "period", "fund_form")),
        *((c, pa.int64()) for c in ("cases", "claims", "cost_fen", "booked_fund_fen")),
        *((c, pa.int64()) for c in ("patient_fen", "fund_fen", "off_top_fen", "shared_fen")),
        ("point_value", pa.string()),
        *((c, pa.int64()) for c in ("pay_fen", "balance_fen", "undistributed_fen")),
        *((c, pa.int64()) for c in ("entries_fen", "payable_fen")),
    ]
)


def _months(day: I32) -> pa.Array:
    months = np.asarray(day, "datetime64[D]").astype("datetime64[M]")
    distinct, inverse = np.unique(months, return_inverse=True)
    return labels(inverse, [str(m) for m in distinct])


def _decimals(values: Sequence[Fraction], index: I32) -> pa.Array:
    """Return exact decimals by index; the scale is the largest any of them needs (at most 12)."""
    scale = next((s for s in range(13) if all((v * 10**s).denominator == 1 for v in values)), 12)
    units = np.array([round(v * 10**scale) for v in values] or [0], np.int64)
    return decimals(units[index], scale, None)


def _date(day: Any) -> date:
    return date.fromordinal(int(day) + EPOCH)


def _entries(closed: Sequence[Closed]) -> pa.Table:
    """Write what a closing leaves as entries: never a case scaled, never a silent rest."""
    found = []
    for c in closed:
        for kind, fen, reason in (
            ("balance", c.balance, "fund less what the fixed rate pays"),
            ("undistributed", c.undistributed, "fund less what the fund form pays"),
        ):
            if fen:
                found.append(
                    {
                        "entry_id": f"{kind}:{c.unit.pool}:{c.unit.period}",
                        "kind": kind,
                        "pool_id": c.unit.pool,
                        "settlement_month": str(c.unit.fund.to)[:7],
                        "amount_fen": fen,
                        "reason": reason,
                        "reference": c.unit.fund.source,
                    }
                )
        for hospital, fen in sorted(c.floors.items(), key=lambda x: x[0].encode()):
            found.append(
                {
                    "entry_id": f"floor:{c.unit.pool}:{c.unit.period}:{hospital}",
                    "kind": "floor",
                    "pool_id": c.unit.pool,
                    "hospital_id": hospital,
                    "settlement_month": str(c.unit.fund.to)[:7],
                    "amount_fen": fen,
                    "reason": "method.negative = zero_hospital: lifts the hospital to zero",
                    "reference": "",
                }
            )
    return pa.Table.from_pylist(found, schema=ENTRIES)


def _prove(closed: Sequence[Closed], hospitals: pa.Table) -> None:
    """Prove that the hospitals' sums are the pools' sums."""
    for c in closed:
        mine = pc.and_(
            pc.equal(hospitals["pool_id"], c.unit.pool),
            pc.equal(hospitals["period"], c.unit.period),
        )
        total = pc.sum(hospitals.filter(mine)["pay_fen"]).as_py() or 0
        if total != c.pay:
            raise ConservationError(f"pool {c.unit.pool}: hospitals {total} ≠ cases {c.pay}")


def _manifest(
    policy: Policy,
    rows: Rows,
    closed: Sequence[Closed],
    counts: Mapping[str, int],
    priced: _Priced,
) -> dict[str, Any]:
    s = policy.settings
    days = [_date(d) for d in (rows.day.min(), rows.day.max())] if len(rows) else []
    return {
        "policy": {
            "id": policy.id,
            "title": s.title,
            "standing": s.standing,
            "fingerprint": policy.fingerprint,
            "method": s.method.model_dump(mode="json"),
            "parameters": {
                name: {"unit": p.unit, "values": [v.model_dump(mode="json") for v in p.values]}
                for name, p in s.param.items()
            },
        },
        "settled": {
            "cases": len(rows),
            "days": [d.isoformat() for d in days],
            "bands": priced.band_counts(),
            "paid_by_rule": priced.rule_counts(),
            "stand_ins": dict(counts),
        },
        "proof": [
            {
                "pool_id": c.unit.pool,
                "period": c.unit.period,
                "fund_fen": c.unit.fund_fen,
                "pay_fen": c.pay,
                "balance_fen": c.balance,
                "undistributed_fen": c.undistributed,
                "identity": "fund = pay + balance + undistributed",
            }
            for c in closed
        ],
    }
