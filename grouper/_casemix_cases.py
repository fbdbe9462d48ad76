"""A run and its cases as one table of keys and whole numbers, one row a case, for casemix.

The run says group, weight and cost; the cases it was made from say department, doctor, drugs, deaths.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from fractions import Fraction
from math import ceil, prod
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from grouper._arrow import text_array, units_of
from grouper._audit_facts import column
from grouper._casemix_options import CasemixOptions
from grouper._cases import REQUIRED
from grouper._streaming import iter_cases
from grouper.errors import CaseFileError
from grouper.io import ColumnMap, RunFolder
from grouper.kernels import calibrate as kernels
from grouper.tables._files import read_table
from grouper.tables._types import I32, I64

DIMENSIONS = {
    "hospital": "hospital_id",
    "level": "hospital_level",
    "department": "department",
    "doctor": "doctor_id",
    "month": "settlement_month",
    "insurance": "insurance",
}
MONEY = ("drug", "consumable", "self_paid")
FACTS = (
    *("case_id", "discharge_mode", "patient_id", "admission_date", "discharge_date"),
    *(f"{name}_fen" for name in MONEY),
)
"""What the cases say beside the run."""
RUN = (
    *("case_id", "group", "hospital_id", "hospital_level", "settlement_month", "insurance"),
    *("total_cost_fen", "los", "weight_or_score"),
)
"""What the run says of each case."""
FAR = 2**31 - 1  # days; a gap between dates that are far out is this at most
DROPPED = frozenset({"diagnoses", "procedures", "sex", "age"})
"""Read because every case has them, and not kept."""
EXACT = Context(prec=40)


@dataclass(frozen=True)
class Key:
    """A text of each case as a number: `index` [n] into `names`, which stand in bytewise order."""

    index: I32
    names: list[str]


@dataclass(frozen=True)
class Base:
    """What casemix adds up: keys, and arrays of whole numbers or truths, one entry a case.

    A pair of arrays counts the first where the second holds.
    `lacking` names indicator → missing column; `low_risk` the groups of low risk.
    """

    keys: dict[str, Key]
    sums: dict[str, Any]
    lacking: dict[str, str]
    weight_unit: Fraction
    low_risk: tuple[str, ...]


def gather(
    run: RunFolder,
    cases: Any | None,
    options: CasemixOptions,
    columns: ColumnMap | Path | str | None = None,
) -> Base:
    """Bring a run and its cases together.

    Raises
    ------
    CaseFileError : the run has no settled cases, or the cases are not those of the run in its order.
    """
    done = run.tables.get("cases")
    if done is None or "weight_or_score" not in done.schema.names:
        message = "the run has no settled cases (cases.parquet); run with a policy first"
        raise CaseFileError(message, file=str(run.path))
    if cases is None:
        made = run.manifest.get("made_from") or {}
        if not made.get("cases"):
            message = "the run does not say which cases it was made from; give them"
            raise CaseFileError(message, file=str(run.path))
        cases = run.path / made["cases"]
        columns = columns or (run.path / made["columns"] if made.get("columns") else None)
    wanted = {*FACTS, *REQUIRED, *DIMENSIONS.values()}
    kept = wanted - DROPPED | ({"procedures"} if options.level_four else set())
    parts = []
    for part in iter_cases(cases, wanted, columns=columns):
        names = [n for n in part.table.schema.names if n in kept]
        parts.append(part.table.select(names))
    facts = pa.concat_tables(parts, promote_options="default")
    parts.clear()
    mine, theirs = (pc.fill_null(text_array(t["case_id"]), "") for t in (done, facts))
    if len(mine) != len(theirs) or not pc.all(pc.equal(mine, theirs)).as_py():
        message = (
            f"are {len(theirs):,} cases, not the {len(mine):,} of the run in its order; give the "
            "cases the run was made from"
        )
        raise CaseFileError(message, file=str(cases))
    del mine, theirs
    return _base(done, facts, options)


def _base(done: pa.Table, facts: pa.Table, options: CasemixOptions) -> Base:
    n = len(done)
    lacking: dict[str, str] = {}

    def has(table: pa.Table, name: str, *needed_by: str) -> bool:
        there = name in table.schema.names and table[name].null_count < len(table)
        if not there:
            lacking.update(dict.fromkeys(needed_by, name))
        return there

    gap, stays = None, np.zeros(0, np.bool_)
    dates = [has(facts, f"{x}_date", "readmissions") for x in ("admission", "discharge")]
    if has(facts, "patient_id", "readmissions") and all(dates):
        gap, stays = _gaps(facts)
        facts = facts.drop_columns(["patient_id"])
    keys: dict[str, Key] = {}
    for dimension, name in DIMENSIONS.items():
        found = done if name in done.schema.names else facts
        if has(found, name, f"by {dimension}"):
            keys[dimension] = _key(found[name])
    keys["group"] = group = _key(done["group"])
    is_grouped = np.array([bool(x) for x in group.names], np.bool_)[group.index]
    cost, has_cost = _numbers(done, "total_cost_fen")
    los, has_los = _numbers(done, "los")
    weight = np.asarray(units_of(done["weight_or_score"]), np.int64)
    scale = done.schema.field("weight_or_score").type.scale
    weighed = weight > 0
    sums: dict[str, Any] = {
        "cases": np.ones(n, np.bool_),
        "grouped": is_grouped,
        "weight": weight * weighed,
        "weighed": weighed,
        "cost_fen": cost,
        "costed": has_cost,
        "los": los,
        "stayed": has_los,
    }
    edges = sorted(ceil(Fraction(e) * 10**scale) for e in options.weight_bands)
    band = np.searchsorted(np.array(edges, np.int64), weight, side="right")
    for k in range(len(edges) + 1):
        sums[f"weight_band_{k}"] = weighed & (band == k)
    for name in MONEY:
        if has(facts, f"{name}_fen", f"{name} share"):
            part, there = _numbers(facts, f"{name}_fen")
            there &= has_cost
            sums[f"{name}_fen"], sums[f"{name}_of_fen"] = part * there, (cost, there)
    low_risk: list[str] = []
    if has(facts, "discharge_mode", "deaths", "low-risk deaths"):
        mode = pc.fill_null(column(facts, "discharge_mode", pa.string()), "")
        died = _mask(pc.equal(mode, options.died))
        told = _mask(pc.not_equal(mode, ""))
        low_risk, is_low = _low_risk(group, told & is_grouped, died, options)
        sums |= {"told": told, "deaths": died}
        sums |= {"low_risk": is_low & told, "low_risk_deaths": is_low & died}
    if gap is not None:
        sums["indexed"] = ~sums["deaths"] & stays if "deaths" in sums else stays
        for days in options.readmitted_within:
            sums[f"readmitted_{days}"] = sums["indexed"] & (gap >= 0) & (gap <= days)
    if options.level_four:
        sums["operated"], sums["level_four"] = _level_four(facts, Path(options.level_four))
    else:
        lacking["level 4 surgery"] = "option level_four: a table of the procedures of level 4"
    return Base(keys, sums, lacking, Fraction(1, 10**scale), tuple(low_risk))


def _key(texts: Any) -> Key:
    """Give the texts of a column numbers; no text is the empty one."""
    if not pa.types.is_dictionary(texts.type):
        texts = texts.dictionary_encode()
    whole = texts.unify_dictionaries().combine_chunks()
    held = whole.dictionary.cast(pa.string()).to_pylist()
    names = sorted({*held, ""}, key=str.encode)
    place = {name: k for k, name in enumerate(names)}
    given = np.array([*(place[x] for x in held), place[""]], np.int32)
    index = pc.fill_null(whole.indices.cast(pa.int32()), len(held)).to_numpy()
    return Key(given[index], names)


def _mask(found: Any) -> NDArray[np.bool_]:
    """Return a column of truths as an array."""
    whole = found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found
    return np.asarray(whole.to_numpy(zero_copy_only=False), np.bool_)


def _numbers(table: pa.Table, name: str) -> tuple[I64, NDArray[np.bool_]]:
    """Return a column of whole numbers, 0 where there is none, and where there is one."""
    found = column(table, name, pa.int64())
    there = _mask(pc.is_valid(found))
    return np.asarray(pc.fill_null(found, 0).to_numpy(), np.int64), there


def _low_risk(
    group: Key, told: NDArray[np.bool_], died: NDArray[np.bool_], options: CasemixOptions
) -> tuple[list[str], NDArray[np.bool_]]:
    """Find the groups of low risk (低风险组): ln of their death rate is below mean - k·sd over groups.

    Groups of enough cases count; one without a death is of low risk. Logarithms have 40 digits.
    """
    index, names = group.index, group.names
    n = np.bincount(index[told], minlength=len(names)).tolist()
    deaths = np.bincount(index[told & died], minlength=len(names)).tolist()
    logs = {
        k: EXACT.ln(EXACT.divide(Decimal(deaths[k]), Decimal(n[k])))
        for k in range(len(names))
        if names[k] and n[k] >= options.low_risk_least and deaths[k]
    }
    low = {
        k
        for k in range(len(names))
        if names[k] and n[k] >= options.low_risk_least and not deaths[k]
    }
    if len(logs) > 1:
        mean = EXACT.divide(sum(logs.values(), Decimal(0)), Decimal(len(logs)))
        squares = sum(((x - mean) ** 2 for x in logs.values()), Decimal(0))
        sd = EXACT.sqrt(EXACT.divide(squares, Decimal(len(logs))))
        low |= {k for k, x in logs.items() if x < mean - options.low_risk_deviations * sd}
    is_low = np.zeros(len(names), np.bool_)
    is_low[list(low)] = True
    return sorted(names[k] for k in low), is_low[index]


def _gaps(facts: pa.Table) -> tuple[I32, NDArray[np.bool_]]:
    """Return the days from each discharge to the patient's next admission, -1 = none, and what is known.

    The next admission is that of the patient's next stay in order of admission, discharge and place.
    """
    whole = facts["patient_id"].combine_chunks()
    if not pa.types.is_dictionary(whole.type):
        whole = whole.dictionary_encode()
    named = np.append(~_mask(pc.equal(whole.dictionary.cast(pa.string()), "")), False)
    who = np.asarray(pc.fill_null(whole.indices.cast(pa.int32()), len(named) - 1).to_numpy())
    known = named[who]
    admitted, left = (
        facts[f"{x}_date"].cast(pa.date32(), safe=False) for x in ("admission", "discharge")
    )
    known &= _mask(pc.is_valid(admitted)) & _mask(pc.is_valid(left))
    rows = np.flatnonzero(known)
    begin, end = (
        np.asarray(pc.fill_null(x.cast(pa.int32()), 0).to_numpy())[rows].astype(np.int64)
        for x in (admitted, left)
    )
    least = min(int(begin.min()), int(end.min())) if len(rows) else 0
    bits = int(max(begin.max(), end.max()) - least).bit_length() if len(rows) else 0
    if len(named).bit_length() + 2 * bits < 63:  # one number orders as the three do
        packed = who[rows].astype(np.int64) << 2 * bits
        packed |= (begin - least) << bits
        packed |= end - least
        order = np.argsort(packed, kind="stable")
        del packed
    else:
        order = np.lexsort((end, begin, who[rows]))
    gap = np.full(len(facts), -1, np.int32)
    who = who[rows][order]
    after = begin[order][1:] - end[order][:-1]
    gap[rows[order[:-1]]] = np.where(who[1:] == who[:-1], after.clip(0, FAR), -1)
    return gap, known


def _level_four(facts: pa.Table, path: Path) -> tuple[I64, I64]:
    """Return which cases had any procedure, and which had one of level 4 (四级手术)."""
    codes = [code for _, (code,) in read_table(path, ("code",))]
    lists = facts["procedures"].combine_chunks()
    flat, off = text_array(lists.values), lists.offsets.to_numpy()
    hit = np.asarray(pc.is_in(flat, pa.array(codes, pa.string())).to_numpy(zero_copy_only=False))
    before = np.concatenate([np.zeros(1, np.int64), np.cumsum(hit)])
    found = before[off[1:]] > before[off[:-1]]
    return (off[1:] > off[:-1]).astype(np.int64), found.astype(np.int64)


def summed(base: Base, keys: Sequence[str]) -> list[dict[str, Any]]:
    """Add up by keys; rows come in the bytewise order of their keys."""
    held = [base.keys[k] for k in keys]
    cell = np.zeros(len(held[0].index), np.int64)
    for one in held:
        cell = cell * len(one.names) + one.index
    cells = prod(len(one.names) for one in held)
    used = np.flatnonzero(np.bincount(cell, minlength=cells))
    place = np.full(cells, -1, np.int32)
    place[used] = np.arange(len(used), dtype=np.int32)
    index = place[cell]
    columns: dict[str, list[Any]] = {}
    for key, values in zip(keys[::-1], held[::-1], strict=True):
        used, at = np.divmod(used, len(values.names))
        columns[key] = [values.names[k] for k in at.tolist()]
    for name, values_of in base.sums.items():
        n, hi, lo = (np.zeros(len(columns[keys[0]]), np.int64) for _ in range(3))
        whole = values_of[0] * values_of[1] if isinstance(values_of, tuple) else values_of
        kernels.add_costs(index, whole.astype(np.int64, copy=False), n, hi, lo)
        pairs = zip(hi.tolist(), lo.tolist(), strict=True)
        columns[name] = [(h << kernels.LIMB) + low for h, low in pairs]
    names = [*keys, *base.sums]
    lists = [columns[n] for n in names]
    return [dict(zip(names, row, strict=True)) for row in zip(*lists, strict=True)]
