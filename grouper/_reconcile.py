"""reconcile: a hospital's own run against the insurer's result (对账).

Put the rows of both sides together by case id; compare field by field in the order of cause; give
each case that differs the one class of the first field that does; add up the money of each class,
ours minus theirs, and prove that the classes add up to the difference of the two totals.

The surprise: the first cause takes the whole difference of a case. A case in another group has
another score, coefficient and amount as well; they are listed, and only the group is counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from decimal import Decimal
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from grouper._reconcile_fields import (
    BY_NAME,
    FIELDS,
    MOST_PLACES,
    Field,
    canonical_word,
    decimal_text,
    half_up,
    same_edition,
    short,
)
from grouper._reconcile_files import Bureau, read_bureau
from grouper._reconcile_output import (
    Difference,
    appeal_table,
    deadline,
    differences_table,
    summary_lines,
    summary_table,
    write_reconciliation,
)
from grouper._writing import RunFolder, read_run
from grouper._yuan import yuan
from grouper.errors import CaseFileError, CaseSchemaError, ConservationError
from grouper.io import ColumnMap, load_map


@dataclass(frozen=True, eq=False)
class Reconciliation:
    """Every difference between a run and the insurer's result (对账结果), classed, with its money.

    `counts` has the rows of ours and theirs, and the cases on both sides and equal; `report` says
    also which columns were read, what was not compared and why, the totals and the deadline.
    """

    counts: Mapping[str, int]
    report: Mapping[str, Any] = field(repr=False)
    _differences: pa.Table = field(repr=False)
    _summary: pa.Table = field(repr=False)
    _appeal: pa.Table = field(repr=False)

    def differences(self) -> pa.Table:
        """Return one row a case that differs, by case id; money is ours minus theirs."""
        return self._differences

    def summary(self) -> pa.Table:
        """Return one row a class: cases, money, what the insurer pays more and less than we do."""
        return self._summary

    def appeal(self) -> pa.Table:
        """Return the appeal sheet (申诉表): what the insurer pays less for, greatest first."""
        return self._appeal

    def summary_text(self, lang: str = "zh") -> str:
        """Return the result in a few lines.

        Parameters
        ----------
        lang : zh or en.
        """
        return "\n".join(summary_lines(self.report, self._summary, lang))

    def write(self, output: Path | str, *, overwrite: bool = False) -> None:
        """Write a workbook or a folder (写出对账结果), whole or not at all.

        Parameters
        ----------
        output : .xlsx, with a sheet for each table; else a folder: each as Parquet and CSV, and
            the report as manifest.json.
        overwrite : replace an earlier folder of the kind; a workbook is always replaced.

        Raises
        ------
        CaseFileError : the folder holds something else, or the disk refuses.
        """
        tables = {
            "summary": self._summary,
            "differences": self._differences,
            "appeal": self._appeal,
        }
        lines = self.summary_text().splitlines()
        write_reconciliation(Path(output), tables, self.report, lines, overwrite)


def reconcile(
    run: Path | str | RunFolder,
    bureau: Path | str | pa.Table,
    *,
    columns: Path | str | None = None,
    received_on: date | None = None,
    appeal_working_days: int = 10,
    today: date | None = None,
) -> Reconciliation:
    """Compare a run with the insurer's result, case by case (对账).

    Parameters
    ----------
    run : the folder of our own run, or as `read_run` gave it.
    bureau : a file of interface 3605 or 3606, a statement with Chinese headers, or a table.
    columns : a column map (TOML) for other headers: [columns] our field = "their header".
    received_on : the day the result came; without it there is no deadline.
    appeal_working_days : working days to appeal, counted from the day after. today : default today.

    Raises
    ------
    CaseFileError : a file is missing or damaged. CaseSchemaError : no ids or nothing to compare.
    ConservationError : classes and totals differ; a defect of this program.
    """
    if appeal_working_days < 0:
        raise CaseSchemaError([f"appeal_working_days is {appeal_working_days}; give 0 or more"])
    folder = run if isinstance(run, RunFolder) else read_run(run)
    cases = _cases(folder)
    ids = [x or "" for x in cases["case_id"].to_pylist()]
    theirs = read_bureau(bureau, load_map(columns) if columns else ColumnMap(), set(ids))
    compared, silent = _comparable(folder, cases, theirs)
    money = _Money.of(cases, theirs, compared)
    matched = _match(ids, theirs.ids)
    found, equal = _differences(matched, compared, theirs, money, cases)
    both = sum(bool(i and j) for _, i, j in matched)
    counts = {"ours": len(ids), "theirs": len(theirs), "both": both, "equal": equal}
    summary = summary_table(found, bool(money.basis))
    totals = _prove(found, counts, money, summary)
    due = deadline(folder.manifest, received_on, appeal_working_days, today)
    report = {
        "run": {"folder": folder.path.name, "scheme": _scheme_id(folder.manifest)},
        "bureau": theirs.facts,
        "counts": counts,
        "compared": [c.field.name for c in compared],
        "not_compared": silent,
        "money": totals,
        "deadline": due and {k: _plain(v) for k, v in asdict(due).items()},
    }
    appeal = appeal_table(found, cases, due)
    return Reconciliation(counts, report, differences_table(found), summary, appeal)


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date) else value


def _scheme_id(manifest: Mapping[str, Any]) -> str | None:
    scheme = manifest.get("scheme")
    return scheme.get("id") if isinstance(scheme, Mapping) else None


def _cases(folder: RunFolder) -> pa.Table:
    cases = folder.tables.get("cases")
    if cases is None:
        message = "no cases.parquet: not the folder of a run that `grouper run` or `settle` wrote"
        raise CaseFileError(message, file=str(folder.path))
    if "case_id" not in cases.schema.names:
        raise CaseSchemaError([f"{folder.path.name}: cases.parquet has no column 'case_id'"])
    return cases


# ------------------------------------------------------------------------------------- two columns


@dataclass(frozen=True, eq=False)
class _Compared:
    """Both sides of one field as they are compared, None = not stated; and as they are shown."""

    field: Field
    ours: Sequence[Any]
    theirs: Sequence[Any]
    shown: Sequence[Any]
    texts: Sequence[str | None]
    places: int = 0

    def differs(self, i: int, j: int) -> bool:
        """Tell whether our row i and their row j differ."""
        mine, other = self.ours[i], self.theirs[j]
        if mine is None or other is None or mine == other:
            return False
        return self.field.kind != "edition" or not same_edition(mine, other)

    def show(self, i: int, j: int) -> tuple[str, str]:
        """Return both values as text."""
        if self.field.kind == "money":
            return yuan(self.ours[i]), yuan(self.theirs[j])
        mine = self.shown[i]
        if isinstance(mine, Decimal | Fraction):
            mine = decimal_text(mine, self.places)
        return str(mine or ""), short(self.texts[j])


def _comparable(
    folder: RunFolder, cases: pa.Table, theirs: Bureau
) -> tuple[list[_Compared], dict[str, str]]:
    """Return the fields that both sides have, in the order of cause, and why others are silent."""
    found, silent = [], {}
    for f in FIELDS:
        if f.name not in theirs.columns:
            is_blank = f.name in theirs.facts["blank_columns"]
            silent[f.name] = f"the insurer's result {'leaves it blank' if is_blank else 'lacks it'}"
        elif f.ours and f.ours not in cases.schema.names:
            silent[f.name] = f"the run has no column {f.ours}"
        else:
            ours = _column(f, folder, cases)
            if ours is None:
                silent[f.name] = "the run has no point value for these cases"
            else:
                found.append(_compared(f, *ours, theirs))
    return found, silent


_MEANING = {"group": "", "presence": "none", "band": "normal"}
"""What a blank means, of these kinds; of all others it is not stated."""


def _compared(f: Field, shown: list[Any], own: int | None, theirs: Bureau) -> _Compared:
    """Bring both sides of a field to what can be compared."""
    ours, other = shown, theirs.columns[f.name]
    places = theirs.places.get(f.name, 0)
    fine = max(places, MOST_PLACES if own is None else own)
    if f.kind == "number":
        places = places if own is None else min(places, own)
        units = cache(lambda x: half_up(x, places))
        ours = [None if x is None else units(x) for x in ours]
        other = [None if x is None else units(x) for x in other]
    elif f.kind != "money":
        word = cache(lambda x: canonical_word(f.kind, x))
        ours = [word(x) for x in ours]
    if f.kind == "presence":
        ours, other = ([x and "some" for x in side] for side in (ours, other))
    if f.kind == "band" and "extreme" not in other:  # they name no third band
        ours = ["high" if x == "extreme" else x for x in ours]
    if f.kind in _MEANING:
        blank = _MEANING[f.kind]
        ours, other = ([x or blank for x in side] for side in (ours, other))
    return _Compared(f, ours, other, shown, theirs.texts[f.name], fine)


_ROUNDED = ("ratio", "final_score")
"""Columns of ours that are rounded at the scale they are kept at."""


def _column(f: Field, folder: RunFolder, cases: pa.Table) -> tuple[list[Any], int | None] | None:
    """Return our side of a field, and the decimals at which it is rounded; None = exact."""
    if f.name == "point_value":
        return _point_values(folder, cases)
    column = cases[f.ours]
    values = column.to_pylist()
    if f.kind == "number":
        times = _points_per_weight(folder.manifest) if f.name == "score" else 1
        exact = cache(lambda x: Decimal(x) * times)
        is_rounded = f.ours in _ROUNDED and pa.types.is_decimal(column.type)
        own = column.type.scale if is_rounded else None
        return [None if x is None else exact(x) for x in values], own
    return [0 if x is None and f.name == "pay" else x for x in values], None


def _method(manifest: Mapping[str, Any]) -> Mapping[str, Any]:
    policy = manifest.get("policy")
    method = policy.get("method") if isinstance(policy, Mapping) else None
    return method if isinstance(method, Mapping) else {}


def _points_per_weight(manifest: Mapping[str, Any]) -> int:
    method = _method(manifest)
    return int(method.get("points_per_weight", 1)) if method.get("kind") == "point" else 1


def _point_values(
    folder: RunFolder, cases: pa.Table
) -> tuple[list[Fraction | None], int | None] | None:
    """Return each case's point value in yuan: exact where the run keeps it so, else as printed."""
    pools, names = folder.tables.get("pools"), cases.schema.names
    if pools is None or "pool_id" not in names or "point_value" not in pools.schema.names:
        return None
    method = _method(folder.manifest)
    is_exact = bool(method) and {"point_value_num", "point_value_den"} <= {*pools.schema.names}
    per = Fraction(10 ** int(method.get("score_decimals", 4)), 100)
    per = per if method.get("kind") == "point" else Fraction(1)
    own = 0
    values: dict[str, list[tuple[str, Fraction]]] = {}
    for row in pools.to_pylist():
        if row["point_value"] is None or row.get("line") not in (None, "fund", "taker"):
            continue
        value = Fraction(row["point_value"])
        own = max(own, len(row["point_value"].partition(".")[2]))
        if is_exact and row["point_value_den"]:
            value = Fraction(row["point_value_num"], row["point_value_den"]) * per
        else:
            is_exact = False
        values.setdefault(row["pool_id"], []).append((str(row.get("period") or ""), value))
    if not values:
        return None
    day = next((n for n in ("settlement_date", "settlement_month") if n in names), None)
    days = cases[day].to_pylist() if day else [None] * len(cases)
    no_score = pc.is_null(cases["final_score"]).to_pylist() if "final_score" in names else None

    @cache
    def find(pool: str, key: str) -> Fraction | None:
        held = values.get(pool, [])
        fits = [v for period, v in held if len(held) == 1 or _covers(period, key)]
        return fits[0] if len(fits) == 1 else None

    found = [find(p, str(d or "")) for p, d in zip(cases["pool_id"].to_pylist(), days, strict=True)]
    if no_score:
        found = [None if lost else v for v, lost in zip(found, no_score, strict=True)]
    return found, None if is_exact else own


def _covers(period: str, key: str) -> bool:
    """Tell whether 2025, 2025-03 or 2025-01-01/2025-12-31 covers a day or month."""
    first, _, last = period.partition("/")
    if not key or not last:
        return bool(key) and bool(period) and (key.startswith(period) or period.startswith(key))
    return first[: len(key)] <= key and (last == "None" or key <= last[: len(key)])


# ------------------------------------------------------------------------------------------- money


@dataclass(frozen=True)
class _Money:
    """Amounts of both sides in fen by row, of the field `basis`; blank = no amounts to compare."""

    basis: str
    ours: Sequence[int]
    theirs: Sequence[int]
    stated: Sequence[bool]
    parts: Sequence[str]

    @classmethod
    def of(cls, cases: pa.Table, theirs: Bureau, compared: Sequence[_Compared]) -> _Money:
        """Take what is paid, with what is paid apart where both sides have it, else standards."""
        has = {c.field.name: c for c in compared}
        basis = next((name for name in ("pay", "standard") if name in has), "")
        if not basis:
            return cls("", (), (), (), ())
        parts = [basis, *(n for n in ("carve_out_pay",) if basis == "pay" and n in has)]
        ours = [sum(x or 0 for x in row) for row in zip(*(has[n].ours for n in parts), strict=True)]
        other = [sum(x or 0 for x in r) for r in zip(*(has[n].theirs for n in parts), strict=True)]
        stated = [x is not None for x in has[basis].theirs]
        return cls(basis, ours, other, stated, parts)

    def amounts(self, i: Sequence[int], j: Sequence[int]) -> tuple[int | None, int | None]:
        """Return what our rows i and their rows j come to; None where there are none."""
        if not self.basis:
            return None, None
        mine = sum(self.ours[k] for k in i) if i else None
        return mine, sum(self.theirs[k] for k in j) if j else None


# --------------------------------------------------------------------------------------- the cases

Matched = list[tuple[str, list[int], list[int]]]


def _match(ours: Sequence[str], theirs: Sequence[str]) -> Matched:
    """Put rows together by case id, in bytewise order; a row without an id stays alone."""
    rows: dict[str, tuple[list[int], list[int]]] = {}
    alone: Matched = []
    for side, ids in enumerate((ours, theirs)):
        for k, case_id in enumerate(ids):
            if case_id:
                rows.setdefault(case_id, ([], []))[side].append(k)
            else:
                alone.append(("", [k], []) if side == 0 else ("", [], [k]))
    return alone + [(c, *rows[c]) for c in sorted(rows, key=str.encode)]


def _differences(
    matched: Matched,
    compared: Sequence[_Compared],
    theirs: Bureau,
    money: _Money,
    cases: pa.Table,
) -> tuple[list[Difference], int]:
    """Class every case that differs; count those that do not."""
    found, equal = [], 0
    ours_in = cases["group"].to_pylist() if "group" in cases.schema.names else [None] * len(cases)
    theirs_in = theirs.texts.get("group") or [None] * len(theirs)
    for case_id, i, j in matched:
        notes = [text for k in j for text in _notes(theirs, money, k)]
        is_pair = len(i) == 1 and len(j) == 1
        is_whole = is_pair and j[0] not in theirs.broken
        differing = [c for c in compared if c.differs(i[0], j[0])] if is_whole else []
        if is_pair and not differing and not notes:
            equal += 1
            continue
        shown = [c.show(i[0], j[0]) for c in differing]
        found.append(
            Difference(
                case_id,
                _cause(i, j, notes, differing, case_id),
                i,
                j,
                (ours_in[i[0]] if i else None, short(theirs_in[j[0]]) or None if j else None),
                money.amounts(i, j),
                [c.field.name for c in differing],
                [mine for mine, _ in shown],
                [other for _, other in shown],
                notes,
            )
        )
    return found, equal


def _notes(theirs: Bureau, money: _Money, row: int) -> list[str]:
    """Say in Chinese what cannot be read in a row of theirs."""
    notes = list(theirs.unreadable.get(row, ()))
    if not theirs.ids[row]:
        notes.append(f"第 {row + 1} 条记录没有病例号")
    if money.basis and not money.stated[row] and row not in theirs.unreadable:
        notes.append(f"{BY_NAME[money.basis].zh}为空")
    return notes


def _cause(
    i: Sequence[int],
    j: Sequence[int],
    notes: Sequence[str],
    differing: Sequence[_Compared],
    case_id: str,
) -> str:
    """Return the class of the first cause."""
    if not i:
        return "only_theirs" if case_id else "unreadable"
    if not j:
        return "only_ours"
    if len(i) > 1 or len(j) > 1:
        return "repeated"
    if notes:
        return "unreadable"
    cause = differing[0].field.cause
    if cause != "amount":
        return cause
    apart = (abs(c.ours[i[0]] - c.theirs[j[0]]) for c in differing)
    return "rounding" if max(apart) <= 1 else "amount"


def _prove(
    found: Sequence[Difference], counts: Mapping[str, int], money: _Money, summary: pa.Table
) -> dict[str, Any]:
    """Prove that classes add up to totals, in rows and in fen; return the totals."""
    for side, rows in (
        ("ours", [len(d.rows_ours) for d in found]),
        ("theirs", [len(d.rows_theirs) for d in found]),
    ):
        if sum(rows) + counts["equal"] != counts[side]:
            raise ConservationError(
                f"{counts[side]} rows of {side}; {sum(rows)} differ, {counts['equal']} are equal"
            )
    if not money.basis:
        return {"basis": "", "parts": [], "ours_fen": None, "theirs_fen": None} | {
            "difference_fen": None,
            "by_class": {},
        }
    ours, theirs = sum(money.ours), sum(money.theirs)
    by_class = dict(
        zip(summary["class"].to_pylist(), summary["money_fen"].to_pylist(), strict=True)
    )
    if sum(by_class.values()) != ours - theirs:
        raise ConservationError(
            f"the classes add up to {sum(by_class.values())} fen, the totals differ by {ours - theirs}"
        )
    return {
        "basis": money.basis,
        "parts": list(money.parts),
        "ours_fen": ours,
        "theirs_fen": theirs,
        "difference_fen": ours - theirs,
        "by_class": by_class,
    }
