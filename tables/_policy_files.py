"""The tables beside a policy: weights, catalogues, notes, benchmarks, coefficients.

Every table is found in the folder of the `policy.toml` that names it. Numbers are exact; what is not
a number, stands twice or is below 0 is refused with file and line.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from grouper.errors import TableError
from grouper.tables._dip import FILE as SCHEME_FILE
from grouper.tables._dip import read_dip
from grouper.tables._files import SHIPPED, decimal, read_table


@dataclass(frozen=True, slots=True)
class WeightRow:
    """One group of a weight table; `weight` None = the table names the group without a weight."""

    group: str
    weight: Fraction | None
    mean_fen: Fraction | None
    basic: bool
    unstable: bool
    line: int


@dataclass(frozen=True, slots=True)
class PayAs:
    """A note of the weight table: pay these cases as another group, or a share of a weight."""

    id: str
    group: str
    note: str
    pay_as: str
    share: Fraction
    always: bool


def read_weights(path: Path) -> dict[str, WeightRow]:
    """Read ``group, weight`` and what else the table has of mean_cost, basic, kind."""
    rows: dict[str, WeightRow] = {}
    extra = ("mean_cost", "basic", "kind")
    for line, cells in read_table(path, ("group", "weight"), extra):
        group, weight, mean_cost, basic, kind = cells
        if not group or group in rows:
            raise TableError(f"group {group!r} is empty or stands twice", file=path.name, row=line)
        mean, value = (decimal(x, path.name, line) for x in (mean_cost, weight))
        if (mean or 0) < 0 or (value or 0) < 0:
            raise TableError("a negative weight or mean cost", file=path.name, row=line)
        rows[group] = WeightRow(
            group,
            value,
            mean * 100 if mean is not None else None,
            basic in ("1", "true", "是"),
            kind == "unstable",
            line,
        )
    if not rows:
        raise TableError("the table is empty", file=path.name)
    return rows


def find_catalogue(name: str, beside: Path) -> Path | None:
    """Find a DIP catalogue: a shipped one, or a folder beside the policy."""
    folders = (SHIPPED / name, beside / name)
    return next((f for f in folders if (f / SCHEME_FILE).is_file()), None)


def read_catalogue(folder: Path) -> tuple[dict[str, WeightRow], str]:
    """Read the scores of a DIP catalogue as weights, and its fingerprint."""
    tables = read_dip(folder)
    rows = {
        g.code: WeightRow(
            g.code,
            g.score,
            None if g.mean_fen is None else Fraction(g.mean_fen),
            g.primary_care,
            False,
            g.line,
        )
        for g in tables.groups
    }
    return rows, tables.fingerprint


def read_pay_as(path: Path, tables: Iterable[Mapping[str, WeightRow]]) -> dict[str, PayAs]:
    """Read ``id, group, note, pay_as, share, when``: pay these cases as that group."""
    found: dict[str, PayAs] = {}
    groups = {g for t in tables for g in t}
    columns = ("id", "group", "note", "pay_as", "share", "when")
    for line, (key, group, note, target, share, when) in read_table(path, columns):
        part = decimal(share or "1", path.name, line)
        assert part is not None
        if key in found or group not in groups or (target or group) not in groups:
            message = f"{key!r} stands twice, or {group!r} or {target!r} has no weight row"
            raise TableError(message, file=path.name, row=line)
        if when not in ("always", "named"):
            raise TableError(f"when {when!r} is neither always nor named", file=path.name, row=line)
        found[key] = PayAs(key, group, note, target or group, part, when == "always")
    return found


def read_by_group(path: Path, column: str) -> dict[tuple[str, str], Fraction]:
    """Read ``group, level`` and a number; a blank group is for all others, a blank level for all."""
    found: dict[tuple[str, str], Fraction] = {}
    for line, (group, level, text) in read_table(path, ("group", "level", column)):
        value = decimal(text, path.name, line)
        if value is None or value < 0:
            message = f"{column} {text!r} is empty or below 0; give a number"
            raise TableError(message, file=path.name, row=line)
        if (group, level) in found:
            message = f"group {group!r}, level {level!r} stands twice; take one row out"
            raise TableError(message, file=path.name, row=line)
        found[group, level] = value
    if not found:
        raise TableError("the table is empty", file=path.name)
    return found
