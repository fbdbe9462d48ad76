"""Grouped rows + hospitals → the arrays that a settlement works on; nothing is paid here."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from grouper._arrow import text_array
from grouper._cases import repeated
from grouper._grouping import GroupedBatch
from grouper.errors import CaseSchemaError, SettlementError
from grouper.tables._policy import Policy
from grouper.tables._types import I32, I64

MOST_FEN = 10**13
"""Amounts of one case at or above this are refused, so that sums stay exact in 64 bits."""


@dataclass(frozen=True)
class Texts:
    """A text column as indices into its distinct texts; "" = blank."""

    index: I32
    distinct: list[str]

    def __getitem__(self, row: int) -> str:
        return self.distinct[int(self.index[row])]


@dataclass(frozen=True)
class Rows:
    """Cases as settlement reads them; money in int64 fen, `used` = -1 where no cost is known."""

    table: pa.Table
    status: Texts
    group: Texts
    note: Texts
    subtype: Texts  # coefficient and mean cost of the auxiliary type, "" = none
    hospital: Texts
    level: Texts
    insurance: Texts
    day: I32  # days since 1970-01-01, of the date that decides
    cost: I64
    booked: I64
    others: I64
    borne: I64
    patient: I64
    outside: I64  # full self-pay + first self-pay + deductible
    carve_out: I64
    unreasonable: I64
    used: I64  # cost - carve-outs - unreasonable
    order: I64  # rows by hospital id, then case id, bytewise

    def __len__(self) -> int:
        return len(self.day)


def read_rows(
    grouped: GroupedBatch | pa.Table,
    policy: Policy,
    hospitals: pa.Table | None,
    counts: Counter[str],
) -> Rows:
    """Bring grouped cases together with what the policy names for missing columns.

    Raises
    ------
    CaseSchemaError : columns that the policy needs are missing; names them all.
    SettlementError : cases without a date, level or amount that the policy needs.
    """
    table = grouped.to_arrow(carry=True) if isinstance(grouped, GroupedBatch) else grouped
    _require(table, policy)
    s = policy.settings
    instead = s.stand_in
    _refuse_repeats(table)
    day = _days(table, policy, counts)
    hospital = _texts(table, "hospital_id", instead.hospital_id, counts)
    given = _texts(
        table, "hospital_level", instead.hospital_level, counts, needed=hospitals is None
    )
    level = given
    if hospitals is not None:
        level = _levels(hospital, given, day, hospitals, counts)
    money = _Money(table, counts)
    cost = money.read("total_cost_fen", blank=-1)
    booked, others, borne = (
        money.add(names) for names in (s.funds.booked, s.funds.other_payers, s.funds.hospital_borne)
    )
    left = np.maximum(cost, 0) - booked - others - borne
    patient = money.add(s.funds.patient) if s.funds.patient else left
    carve_out, unreasonable = money.read("carve_out_fen"), money.read("unreasonable_fen")
    used = np.where(cost < 0, -1, np.maximum(cost - carve_out - unreasonable, 0))
    return Rows(
        table=table,
        status=_texts(table, "status", None, counts),
        group=_texts(table, "group", "", counts, quiet=True),
        note=_texts(table, "pay_note", "", counts, quiet=True),
        subtype=_subtypes(table),
        hospital=hospital,
        level=level,
        insurance=_texts(table, "insurance", instead.insurance, counts),
        day=day,
        cost=cost,
        booked=booked,
        others=others,
        borne=borne,
        patient=patient,
        outside=money.add(["full_self_pay_fen", "first_self_pay_fen", "deductible_fen"]),
        carve_out=carve_out,
        unreasonable=unreasonable,
        used=used,
        order=_order(table, hospital),
    )


def _subtypes(table: pa.Table) -> Texts:
    """Read each case's auxiliary type as "coefficient mean"."""
    given = [c for c in ("aux_factor", "aux_mean_fen") if c in table.schema.names]
    index = np.zeros(len(table), np.int32)
    if "aux_factor" not in given or table["aux_factor"].null_count == len(table):
        return Texts(index, [""])
    where = np.flatnonzero(pc.is_valid(table["aux_factor"]).to_numpy())
    columns = [table[c].take(where).cast(pa.string()) for c in given]
    joined = pc.binary_join_element_wise(*(pc.fill_null(c, "") for c in columns), " ")
    folded = joined.combine_chunks().dictionary_encode()
    index[where] = folded.indices.to_numpy() + 1
    return Texts(index, ["", *folded.dictionary.to_pylist()])


def _require(table: pa.Table, policy: Policy) -> None:
    m, f = policy.settings.method, policy.settings.funds
    needed = ["case_id", "status", "group"]
    if m.fund_form == "difference":
        needed += [*(f.patient or ("total_cost_fen", *f.booked)), *f.other_payers]
    if m.fund_form == "ratio" and m.ratio_scope != "published":
        needed += ["total_cost_fen", *f.booked]
    if m.fund_form == "in_scope":
        needed += ["full_self_pay_fen", "first_self_pay_fen", "deductible_fen"]
    faults = [
        f"column {c!r} is missing: fund_form = {m.fund_form!r} of policy {policy.id} needs it"
        for c in needed
        if c not in table.schema.names
    ]
    for name in needed[3:]:
        if name in table.schema.names and (blank := table[name].null_count):
            faults.append(f"column {name!r} is blank in {blank} rows: fill or remove them")
    if faults:
        raise CaseSchemaError(faults)


def _refuse_repeats(table: pa.Table) -> None:
    """Refuse a case id that is to be paid twice; rows rejected for it are paid by their rule."""
    ids = text_array(table["case_id"])
    rejected = pc.equal(table["status"].cast(pa.string()), "rejected").to_numpy()
    twice = np.flatnonzero(repeated(ids) & ~rejected)
    if len(twice):
        raise SettlementError(
            f"{len(twice)} rows share a case_id, as {ids[int(twice[0])].as_py()!r}: "
            "group them first, which rejects repeats, or take them out"
        )


@dataclass(frozen=True)
class _Money:
    table: pa.Table
    counts: Counter[str]

    def read(self, name: str, blank: int = 0) -> I64:
        """Return one column of fen; an absent column is all `blank`, a blank cell is counted."""
        if name not in self.table.schema.names:
            return np.full(len(self.table), blank, np.int64)
        column = self.table[name]
        if not pa.types.is_integer(column.type):
            raise CaseSchemaError([f"column {name!r} is {column.type}, not whole fen (int64)"])
        if column.null_count:
            self.counts[f"{name}: blank"] += column.null_count
        values = np.asarray(pc.fill_null(column.cast(pa.int64()), blank).to_numpy(), np.int64)
        bad = np.flatnonzero((np.abs(values) >= MOST_FEN) | ((values < 0) & (values != blank)))
        if len(bad):
            where = text_array(self.table["case_id"])[int(bad[0])].as_py()
            raise SettlementError(
                f"column {name!r} is {values[bad[0]]} fen in case {where!r} and out of range in "
                f"{len(bad)} rows: amounts are 0 or more and below 10^13 fen; take reversed rows out"
            )
        return values

    def add(self, names: list[str]) -> I64:
        """Return the sum of columns."""
        total = np.zeros(len(self.table), np.int64)
        for name in names:
            total += self.read(name)
        return total


def _texts(
    table: pa.Table,
    name: str,
    instead: str | None,
    counts: Counter[str],
    *,
    quiet: bool = False,
    needed: bool = True,
) -> Texts:
    """Read a text column; `instead` stands in for blanks and is counted unless `quiet`."""
    n = len(table)
    column = table[name] if name in table.schema.names else pa.chunked_array([pa.nulls(n)])
    if not pa.types.is_null(column.type):
        column = column.cast(pa.string())
        column = pc.if_else(pc.equal(column, ""), pa.scalar(None, pa.string()), column)
    blank = column.null_count
    if blank and instead is None and needed:
        raise SettlementError(
            f"{name} is blank in {blank} of {n} cases: fill it, or name a value under [stand_in] "
            "of the policy"
        )
    if blank and not quiet and needed:
        counts[f"{name}: stand-in {instead}"] += blank
    if blank == n:
        return Texts(np.zeros(n, np.int32), [instead or ""])
    encoded = pc.fill_null(column, instead or "").combine_chunks()
    encoded = encoded.dictionary_encode()
    return Texts(
        np.ascontiguousarray(encoded.indices.to_numpy(zero_copy_only=False), np.int32),
        encoded.dictionary.to_pylist(),
    )


def _days(table: pa.Table, policy: Policy, counts: Counter[str]) -> I32:
    """Return the date that decides: settlement (or discharge), else the other, else the stand-in."""
    first, second = "settlement_date", "discharge_date"
    if policy.settings.method.dated_by == "discharge":
        first, second = second, first
    column: Any = pa.nulls(len(table), pa.int32())
    for name in (first, second):
        if name in table.schema.names and not pa.types.is_null(table[name].type):
            days = table[name].cast(pa.date32(), safe=False).cast(pa.int32())
            if name == second and (used := pc.sum(pc.is_null(column)).as_py()):
                counts[f"{first}: {second} instead"] += used - days.null_count
            column = pc.coalesce(column, days)
    instead = policy.settings.stand_in.settlement_date
    if column.null_count:
        if instead is None:
            raise SettlementError(
                f"{column.null_count} of {len(table)} cases have neither {first} nor {second}: "
                "fill them, or name a settlement_date under [stand_in] of the policy"
            )
        counts[f"{first}: stand-in {instead}"] += column.null_count
        column = pc.fill_null(column, (instead - date(1970, 1, 1)).days)
    return np.array(
        column.to_numpy(zero_copy_only=False)
        if isinstance(column, pa.Array)
        else column.to_numpy(),
        np.int32,
    )


def _levels(
    hospital: Texts, given: Texts, day: I32, hospitals: pa.Table, counts: Counter[str]
) -> Texts:
    """Look up each case's hospital level in the dated table; the case's own is the second choice."""
    dated: dict[str, list[tuple[int, int, str]]] = {}
    names = hospitals.schema.names
    if lacking := [c for c in ("hospital_id", "hospital_level") if c not in names]:
        raise CaseSchemaError([f"hospitals: column {c!r} is missing" for c in lacking])
    for row in hospitals.to_pylist():
        start, end = row.get("valid_from"), row.get("valid_to")
        dated.setdefault(str(row["hospital_id"]), []).append(
            (_number(start, -(2**31)), _number(end, 2**31 - 1), str(row["hospital_level"]))
        )
    # one answer for each distinct (hospital, day, own level)
    width = int(day.max(initial=0)) - int(day.min(initial=0)) + 1
    mixed = hospital.index.astype(np.int64) * width + (day - day.min(initial=0))
    mixed = mixed * len(given.distinct) + given.index
    _, first, inverse = np.unique(mixed, return_index=True, return_inverse=True)
    found: dict[str, int] = {}
    index = np.zeros(len(first), np.int32)
    own = np.zeros(len(first), np.bool_)
    unknown: Counter[str] = Counter()
    for k, row_no in enumerate(first):
        h, d = hospital[row_no], int(day[row_no])
        levels = [level for start, end, level in dated.get(h, ()) if start <= d <= end]
        if len(levels) > 1:
            raise SettlementError(
                f"hospitals: {h!r} has two rows for {_iso(d)}; end one by valid_to"
            )
        level = levels[0] if levels else given[row_no]
        if not level:
            unknown[f"{h} on {_iso(d)}"] += 1
        index[k] = found.setdefault(level, len(found))
        if not levels:
            own[k] = True
    if unknown:
        some = ", ".join(list(unknown)[:5])
        raise SettlementError(
            f"hospitals: no level for {some} ({len(unknown)} in all): add rows to the table"
        )
    if own.any():
        counts["hospital_level: of the case, not in the table of hospitals"] += int(
            own[inverse].sum()
        )
    return Texts(index[inverse].astype(np.int32), list(found))


def _number(day: Any, without: int) -> int:
    return (day - date(1970, 1, 1)).days if isinstance(day, date) else without


def _iso(day: int) -> str:
    return date.fromordinal(day + 719_163).isoformat()


def _order(table: pa.Table, hospital: Texts) -> NDArray[np.int64]:
    """Sort rows by hospital id and case id, both by their UTF-8 bytes."""
    ids = text_array(table["case_id"]).fill_null("")
    by_id = pc.sort_indices(ids).to_numpy().astype(np.int64)
    named = sorted(range(len(hospital.distinct)), key=lambda k: hospital.distinct[k].encode())
    place = np.empty(len(named), np.int64)
    place[named] = np.arange(len(named))
    order: I64 = by_id[np.argsort(place[hospital.index[by_id]], kind="stable")]
    return order
