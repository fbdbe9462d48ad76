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
from grouper._bands import MOST_FEN
from grouper._cases import numbers, repeated
from grouper._distinct import distinct
from grouper._grouped import GroupedBatch
from grouper.errors import CaseSchemaError, SettlementError
from grouper.tables._policy import Policy
from grouper.tables._types import I32, I64


@dataclass(frozen=True)
class Texts:
    """A text column as indices into its distinct texts; "" = blank."""

    index: I32
    distinct: list[str]

    def __getitem__(self, row: int) -> str:
        return self.distinct[int(self.index[row])]

    def at(self, rows: I64) -> Texts:
        """Return the texts of some rows."""
        return Texts(self.index[rows], self.distinct)


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
    class_: Texts  # a finer kind of hospital, "" = none
    area: Texts  # of the hospital
    insured_area: Texts
    insurance: Texts
    day: I32  # days since 1970-01-01, of the date that chooses values
    fund_day: I32  # of the date that decides month and fund
    cost: I64
    booked: I64
    others: I64
    borne: I64
    patient: I64
    outside: I64  # full self-pay + first self-pay + deductible
    carve_out: I64
    unreasonable: I64
    used: I64  # cost - carve-outs - unreasonable
    reversed: NDArray[np.bool_]  # the settlement was taken back (退费): owes nothing, sums nothing
    los: I32  # days, -1 = not known
    by_id: I64  # rows by case id, bytewise
    order: I64  # rows by hospital id, then case id, bytewise

    def __len__(self) -> int:
        return len(self.day)

    def case_id(self, row: int) -> str:
        """Return the id of a case."""
        return str(self.table["case_id"][row].as_py())

    def whole(self, name: str) -> I32:
        """Return a column of whole numbers, -1 = not known."""
        return _whole(self.table, name)

    def money(self, name: str) -> I64:
        """Return a column of fen; blank is 0.

        Raises
        ------
        CaseSchemaError : there is no such column.
        """
        if name not in self.table.schema.names:
            raise CaseSchemaError([f"column {name!r} is missing: the policy names it"])
        return _Money(self.table, Counter()).read(name)


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
    day = _days(table, policy, s.method.dated_by, counts)
    fund_by = s.method.fund_by or s.method.dated_by
    fund_day = day if fund_by == s.method.dated_by else _days(table, policy, fund_by, counts)
    hospital = _texts(table, "hospital_id", instead.hospital_id, counts)
    given = _texts(
        table, "hospital_level", instead.hospital_level, counts, needed=hospitals is None
    )
    level, class_ = given, _texts(table, "hospital_class", "", counts, quiet=True)
    area = _texts(table, "hospital_area", "", counts, quiet=True)
    if hospitals is not None:
        level, class_, area = _places(hospital, (given, class_, area), day, hospitals, counts)
    reversed_ = _reversed(table, counts)
    money = _Money(table, counts, reversed_)
    cost = money.read("total_cost_fen", blank=-1)
    booked, others, borne = (
        money.add(names) for names in (s.funds.booked, s.funds.other_payers, s.funds.hospital_borne)
    )
    left = np.maximum(cost, 0) - booked - others - borne
    if not s.funds.patient and (over := int(((left < 0) & (cost >= 0)).sum())):
        counts["booked funds above total_cost"] += over
    patient = money.add(s.funds.patient) if s.funds.patient else left
    carve_out, unreasonable = money.read("carve_out_fen"), money.read("unreasonable_fen")
    used = np.where(cost < 0, -1, np.maximum(cost - carve_out - unreasonable, 0))
    return Rows(
        table=table,
        status=_statuses(table, policy, counts),
        group=_texts(table, "group", "", counts, quiet=True),
        note=_texts(table, "pay_note", "", counts, quiet=True),
        subtype=_subtypes(table),
        hospital=hospital,
        level=level,
        class_=class_,
        area=area,
        insured_area=_texts(table, "insured_area", "", counts, quiet=True),
        insurance=_texts(table, "insurance", instead.insurance, counts),
        day=day,
        fund_day=fund_day,
        cost=cost,
        booked=booked,
        others=others,
        borne=borne,
        patient=patient,
        outside=money.add(["full_self_pay_fen", "first_self_pay_fen", "deductible_fen"]),
        carve_out=carve_out,
        unreasonable=unreasonable,
        used=used,
        reversed=reversed_,
        los=_whole(table, "los"),
        by_id=(by_id := _by_id(table)),
        order=_order(by_id, hospital),
    )


def _statuses(table: pa.Table, policy: Policy, counts: Counter[str]) -> Texts:
    """Return statuses; settled without a list (无清单结算) is one where the policy has a rule for it."""
    status = _texts(table, "status", None, counts)
    if "no_list" not in policy.settings.status_pay or "reason" not in table.schema.names:
        return status
    reason = _texts(table, "reason", "", counts, quiet=True)
    lost = np.array([r == "no_list" for r in reason.distinct], np.bool_)[reason.index]
    lost &= np.array([s == "rejected" for s in status.distinct], np.bool_)[status.index]
    index = np.where(lost, len(status.distinct), status.index).astype(np.int32)
    return Texts(index, [*status.distinct, "no_list"])


def _reversed(table: pa.Table, counts: Counter[str]) -> NDArray[np.bool_]:
    """Tell which settlements were reversed; they are counted, and their money is 0."""
    if "refd_setl_flag" not in table.schema.names:
        return np.zeros(len(table), np.bool_)
    column = table["refd_setl_flag"]
    if not pa.types.is_boolean(column.type) and not pa.types.is_null(column.type):
        raise CaseSchemaError([f"column 'refd_setl_flag' is {column.type}, not true or false"])
    flags = pc.fill_null(column.cast(pa.bool_()), False)
    found = np.asarray(flags.to_numpy(), np.bool_)
    if found.any():
        counts["refd_setl_flag: reversed, paid nothing"] += int(found.sum())
    return found


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
    nothing: NDArray[np.bool_] | None = None  # rows whose amounts count as 0

    def read(self, name: str, blank: int = 0) -> I64:
        """Return one column of fen; an absent column is all `blank`, a blank cell is counted."""
        if name not in self.table.schema.names:
            return np.full(len(self.table), blank, np.int64)
        column = self.table[name]
        if not pa.types.is_integer(column.type):
            raise CaseSchemaError([f"column {name!r} is {column.type}, not whole fen (int64)"])
        if column.null_count:
            self.counts[f"{name}: blank"] += column.null_count
        given = np.asarray(pc.fill_null(column.cast(pa.int64()), 0).to_numpy(), np.int64)
        values = np.where(column.is_null().to_numpy(), blank, given) if blank else given
        if self.nothing is not None and self.nothing.any():
            values = np.where(self.nothing, 0, values)
        bad = np.flatnonzero((np.abs(given) >= MOST_FEN) | (given < 0))
        if len(bad):
            where = text_array(self.table["case_id"])[int(bad[0])].as_py()
            what = "below 0" if given[bad[0]] < 0 else "10^13 fen or more"
            raise SettlementError(
                f"column {name!r} is {what} in case {where!r} and out of range in {len(bad)} rows: "
                "amounts are 0 or more and below 10^13 fen; take reversed rows out"
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


DAYS = ("settlement_date", "discharge_date", "admission_date")


def _days(table: pa.Table, policy: Policy, by: str, counts: Counter[str]) -> I32:
    """Return the date that decides, else the next of `DAYS` that is there, else the stand-in."""
    first = f"{by}_date"
    column: Any = pa.nulls(len(table), pa.int32())
    for name in sorted(DAYS, key=lambda d: (d != first, DAYS.index(d))):
        if name not in table.schema.names or pa.types.is_null(table[name].type):
            continue
        days = table[name].cast(pa.date32(), safe=False).cast(pa.int32())
        blank = column.null_count
        column = pc.coalesce(column, days)
        if name != first and (used := blank - column.null_count):
            counts[f"{first}: {name} instead"] += used
    instead = policy.settings.stand_in.settlement_date
    if column.null_count:
        if instead is None:
            raise SettlementError(
                f"{column.null_count} of {len(table)} cases have none of {', '.join(DAYS)}: "
                "fill one, or name a settlement_date under [stand_in] of the policy"
            )
        counts[f"{first}: stand-in {instead}"] += column.null_count
        column = pc.fill_null(column, (instead - date(1970, 1, 1)).days)
    return np.array(
        column.to_numpy(zero_copy_only=False)
        if isinstance(column, pa.Array)
        else column.to_numpy(),
        np.int32,
    )


PLACE = ("hospital_level", "hospital_class", "hospital_area")


def _places(
    hospital: Texts,
    given: tuple[Texts, Texts, Texts],
    day: I32,
    hospitals: pa.Table,
    counts: Counter[str],
) -> tuple[Texts, Texts, Texts]:
    """Look up level, class and area in the dated table; the case's own are the second choice."""
    dated = _dated_places(hospitals)
    width = int(day.max(initial=0)) - int(day.min(initial=0)) + 1
    inverse, first = distinct(
        (hospital.index, len(hospital.distinct)),
        (day - day.min(initial=0), width),
        *((own.index, len(own.distinct)) for own in given),
    )
    found: tuple[dict[str, int], ...] = ({}, {}, {})
    index = np.zeros((3, len(first)), np.int32)
    unlisted = np.zeros(len(first), np.bool_)
    unknown: Counter[str] = Counter()
    for k, row in enumerate(first):
        h, d = hospital[row], int(day[row])
        listed = [place for start, end, place in dated.get(h, ()) if start <= d <= end]
        if len(listed) > 1:
            raise SettlementError(
                f"hospitals: {h!r} has two rows for {_iso(d)}; end one by valid_to"
            )
        place = listed[0] if listed else ("", "", "")
        texts = [there or own[row] for there, own in zip(place, given, strict=True)]
        if not texts[0]:
            unknown[f"{h} on {_iso(d)}"] += 1
        for part, text in enumerate(texts):
            index[part, k] = found[part].setdefault(text, len(found[part]))
        unlisted[k] = not listed
    if unknown:
        some = ", ".join(list(unknown)[:5])
        raise SettlementError(
            f"hospitals: no level for {some} ({len(unknown)} in all): add rows to the table"
        )
    if unlisted.any():
        name = "hospital_level: of the case, not in the table of hospitals"
        counts[name] += int(unlisted[inverse].sum())
    level, class_, area = (
        Texts(part[inverse], list(names) or [""]) for part, names in zip(index, found, strict=True)
    )
    return level, class_, area


def _dated_places(hospitals: pa.Table) -> dict[str, list[tuple[int, int, tuple[str, str, str]]]]:
    """Return hospital -> (first day, last day, level, class and area)."""
    names = hospitals.schema.names
    if lacking := [c for c in ("hospital_id", "hospital_level") if c not in names]:
        raise CaseSchemaError([f"hospitals: column {c!r} is missing" for c in lacking])
    dated: dict[str, list[tuple[int, int, tuple[str, str, str]]]] = {}
    for row in hospitals.to_pylist():
        start, end = row.get("valid_from"), row.get("valid_to")
        level, class_, area = (str(row.get(c) or "") for c in PLACE)
        span = (_number(start, -(2**31)), _number(end, 2**31 - 1), (level, class_, area))
        dated.setdefault(str(row["hospital_id"]), []).append(span)
    return dated


def _number(day: Any, without: int) -> int:
    return (day - date(1970, 1, 1)).days if isinstance(day, date) else without


def _iso(day: int) -> str:
    return date.fromordinal(day + 719_163).isoformat()


def _whole(table: pa.Table, name: str) -> I32:
    """Read whole numbers; absent, blank or negative is -1."""
    if name not in table.schema.names:
        return np.full(len(table), -1, np.int32)
    return np.maximum(numbers(table[name]), -1).astype(np.int32)


def _by_id(table: pa.Table) -> I64:
    """Sort rows by case id, by its UTF-8 bytes."""
    ids = text_array(table["case_id"]).fill_null("")
    return np.asarray(pc.sort_indices(ids).to_numpy(), np.int64)


def _order(by_id: I64, hospital: Texts) -> I64:
    """Sort rows by hospital id and case id, both by their UTF-8 bytes."""
    named = sorted(range(len(hospital.distinct)), key=lambda k: hospital.distinct[k].encode())
    place = np.empty(len(named), np.int64)
    place[named] = np.arange(len(named))
    return by_id[np.argsort(place[hospital.index[by_id]], kind="stable")]
