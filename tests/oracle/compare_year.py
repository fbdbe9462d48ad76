"""The engine's tables of a settlement beside the naive ones, cell by cell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

from naive.year import NaiveYear
from oracle.draw_policy import Rows
from oracle.draw_year_cases import case_table, hospital_table, ledger_table

from grouper import publish_run, settle, write_run

Row = dict[str, Any]

KEYS = {
    "cases": ("case_id",),
    "hospitals": ("hospital_id", "pool_id", "period", "line"),
    "pools": ("pool_id", "period", "line"),
    "months": ("pool_id", "month"),
    "payments": ("hospital_id", "pool_id", "line", "month"),
    "candidates": ("pool_id", "period", "case_id"),
}
GIVEN = {
    *("special_case", "appeal", "deduction", "adjustment", "prepayment", "assessment"),
    *("hold", "release"),
}
MONTHLY = ("monthly", "deposit", "late", "reversal", "correction")


# ---------------------------------------------------------------------------- both answers


def by_engine(
    path: Path,
    cases: Rows,
    hospitals: Rows | None = None,
    ledger: Rows | None = None,
    prior: Sequence[Path] = (),
    period: str | None = None,
) -> Any:
    return settle(
        case_table(cases),
        path,
        hospitals=None if hospitals is None else hospital_table(hospitals),
        ledger=None if ledger is None else ledger_table(ledger),
        prior=list(prior) or None,
        period=period,
    )


def differences(found: Any, right: Mapping[str, Rows], tables: Iterable[str] = KEYS) -> list[str]:
    """Every cell of the tables that the two do not share."""
    out = []
    for name in tables:
        mine = keyed(name, right.get(name, []))
        theirs = keyed(name, getattr(found, name)().to_pylist())
        for key in sorted({*mine, *theirs}, key=str):
            if key not in mine or key not in theirs:
                out.append(f"{name} {key}: only {'expected' if key in mine else 'found'}")
                continue
            out += [
                f"{name} {key} {column}: {theirs[key].get(column)!r}, not {value!r}"
                for column, value in mine[key].items()
                if theirs[key].get(column) != value
            ]
    written, expected = entries(found.entries().to_pylist()), entries(right["entries"])
    out += [f"entry {e}: only found" for e in (written - expected)]
    return out + [f"entry {e}: only expected" for e in (expected - written)]


def keyed(name: str, rows: Rows) -> dict[tuple[Any, ...], Row]:
    return {
        tuple(row[k] for k in KEYS[name]): plain(row)
        for row in rows
        # A payment of nothing at all need not have a row.
        if name != "payments" or any(v for k, v in row.items() if k.endswith("_fen"))
    }


def plain(row: Row) -> Row:
    """Numbers as fractions; the point value as the ratio that it is."""
    row = {k: Fraction(v) if isinstance(v, Decimal) else v for k, v in row.items()}
    if "point_value_num" in row:
        num, den = row.pop("point_value_num"), row.pop("point_value_den")
        row["ratio of the point value"] = Fraction(num, den) if den else None
    if str(row.get("pay_as", "")).startswith(("status:", "family:")):
        del row["hospital_factor"]  # what has no weight has no coefficient
    return row


def entries(rows: Rows) -> Counter[tuple[Any, ...]]:
    """The entries that a run writes: kind, place and amount."""
    names = ("kind", "pool_id", "hospital_id", "case_id")
    return Counter(
        (
            *(row[name] or "" for name in names),
            row["settlement_month"] if row["kind"] in MONTHLY else "",
            row["amount_fen"],
        )
        for row in rows
        if row["kind"] not in GIVEN and row["amount_fen"]
    )


def tables_of(year: NaiveYear) -> dict[str, Rows]:
    return {name: getattr(year, name) for name in (*KEYS, "entries")}


def publish(found: Any, folder: Path) -> Path:
    run = write_run(folder, found.tables(), found.manifest())
    publish_run(run, checked="甲", approved="乙", published="丙", on=date(2026, 1, 1))
    return run
