"""What a policy folder says, read as plainly as can be: whole numbers, files, dated values.

A policy inherits: its tables are laid over those of its parent key by key, its lists replace the
parent's; of a parameter that both give, the parent's values are asked only where none of its own
fits. Every file is looked for beside the policy that names it.
"""

from __future__ import annotations

import csv
import tomllib
from calendar import monthrange
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from fractions import Fraction
from math import floor
from pathlib import Path
from typing import Any

Table = Mapping[str, Any]  # a table of the TOML file, or a row of cases, hospitals or a ledger
Number = int | Decimal | str | Fraction

SHIPPED = Path(__file__).resolve().parents[2] / "tables"
SELECTORS = (
    *("insurance", "level", "class", "pool", "hospital", "group", "area", "family"),
    *("item", "month"),
)


class Refused(Exception):
    """These cases cannot be paid by this policy."""


# ---------------------------------------------------------------------------- whole numbers


def half_up(exact: Fraction | int) -> int:
    """Nearest whole number, halves away from zero."""
    size = floor(abs(Fraction(exact)) + Fraction(1, 2))
    return size if exact >= 0 else -size


def rounded(exact: Fraction, decimals: int) -> Decimal:
    """A number at so many decimals, half up."""
    return Decimal(half_up(exact * 10**decimals)).scaleb(-decimals)


def apportion(amount: int, claims: Mapping[str, Any]) -> dict[str, int]:
    """Divide an amount by claims, largest remainder, ties to the smaller id by UTF-8 bytes."""
    total = sum(claims.values())
    if total == 0:
        return dict.fromkeys(claims, 0)
    exact = {k: Fraction(amount * claim) / total for k, claim in claims.items()}
    given = {k: floor(share) for k, share in exact.items()}
    by_remainder = sorted(claims, key=lambda k: (given[k] - exact[k], k.encode()))
    for k in by_remainder[: amount - sum(given.values())]:
        given[k] += 1
    return given


def apportion_twice(amount: int, claims: Mapping[str, Mapping[str, Any]]) -> dict[str, int]:
    """Divide an amount among hospitals, then each part among the hospital's cases."""
    parts = apportion(amount, {hospital: sum(own.values()) for hospital, own in claims.items()})
    given: dict[str, int] = {}
    for hospital, own in claims.items():
        given |= apportion(parts[hospital], own)
    return given


# ---------------------------------------------------------------------------- files


@dataclass(frozen=True)
class WeightRow:
    group: str
    weight: Fraction | None  # None: the table names the group without a weight
    mean_fen: int | None
    basic: bool
    unstable: bool


@dataclass(frozen=True)
class Note:
    """A row of pay_as.csv."""

    id: str
    group: str
    target: str
    share: Fraction
    always: bool


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def mean_fen(yuan: str | None) -> int | None:
    return half_up(Fraction(yuan) * 100) if yuan else None


def read_weights(path: Path) -> dict[str, WeightRow]:
    """A weight table, or the scores of a DIP catalogue (groups.csv)."""
    catalogue = path.name == "groups.csv"
    group, weight, basic = (
        ("code", "score", "primary_care") if catalogue else ("group", "weight", "basic")
    )
    return {
        row[group]: WeightRow(
            group=row[group],
            weight=Fraction(row[weight]) if row.get(weight) else None,
            mean_fen=mean_fen(row.get("mean_cost")),
            basic=row.get(basic) in ("1", "true", "是"),
            unstable=not catalogue and row.get("kind") == "unstable",
        )
        for row in read_rows(path)
    }


def read_notes(path: Path) -> list[Note]:
    return [
        Note(
            id=row["id"],
            group=row["group"],
            target=row["pay_as"] or row["group"],
            share=Fraction(row["share"] or "1"),
            always=row["when"] == "always",
        )
        for row in read_rows(path)
    ]


# ---------------------------------------------------------------------------- inheritance


def read_policy(file: Path, children: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The policy laid over its parents."""
    file = (file / "policy.toml" if file.is_dir() else file).resolve()
    if file in children:
        raise Refused(f"{file.name} inherits itself")
    own: dict[str, Any] = tomllib.loads(file.read_text(encoding="utf-8"), parse_float=Decimal)
    name_files(own, file.parent)
    if not own.get("inherits"):
        return own
    place = file.parent / own["inherits"]
    parent = place if place.exists() else SHIPPED / own["inherits"]
    return laid_over(own, read_policy(parent, (*children, file)))


def name_files(own: dict[str, Any], folder: Path) -> None:
    """Give every file its whole path."""
    for weights in own.get("weights", ()):
        if weights.get("catalogue"):
            beside = folder / weights["catalogue"]
            home = beside if beside.exists() else SHIPPED / weights["catalogue"]
            weights["path"] = home / "groups.csv"
        else:
            weights["path"] = folder / weights["file"]
    for section, name in (("benchmark", "benchmarks.csv"), ("coefficient", "coefficients.csv")):
        if own.get(section, {}).get("kind") == "table":
            own[section]["path"] = folder / (own[section].get("file") or name)
    if (folder / "pay_as.csv").exists():
        own["notes_path"] = folder / "pay_as.csv"


def laid_over(child: Mapping[str, Any], parent: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(parent)
    for key, mine in child.items():
        theirs = parent.get(key)
        if key == "param":
            merged[key] = dict(theirs or {})
            for name, p in mine.items():
                above = merged[key].get(name)
                merged[key][name] = {**above, **p, "inherited": above} if above else p
        elif isinstance(mine, dict) and isinstance(theirs, dict):
            merged[key] = laid_over(mine, theirs)
        else:
            merged[key] = mine
    return merged


# ---------------------------------------------------------------------------- dated values


def in_force(entry: Table, day: date) -> bool:
    return bool(entry["from"] <= day) and (entry.get("to") is None or bool(day <= entry["to"]))


def latest(entries: Iterable[Table]) -> Table:
    return max(entries, key=lambda entry: entry["from"])


@dataclass(frozen=True)
class Value:
    """A dated value: fen for money, else the number itself."""

    amount: Fraction
    start: date
    end: date | None


class PolicyText:
    """A policy's sections, and its parameters by day and selectors."""

    def __init__(self, file: Path) -> None:
        self.text = read_policy(Path(file))

    def has(self, name: str) -> bool:
        return name in self.text["param"]

    def find(self, name: str, day: date, **selected: str) -> Value | None:
        """The dated value that fits: narrowed most, then latest; None: none fits."""
        layer = self.text["param"].get(name)
        while layer is not None:
            fit = [
                v
                for v in layer.get("values", ())
                if in_force(v, day) and all(v[s] == selected.get(s) for s in SELECTORS if s in v)
            ]
            if fit:
                return one_of(name, fit, layer["unit"], day)
            layer = layer.get("inherited")
        return None

    def value(self, name: str, day: date, **selected: str) -> Value:
        found = self.find(name, day, **selected)
        if found is None:
            raise Refused(f"{name}: no value on {day} for {selected}")
        return found

    def at(self, name: str, day: date, **selected: str) -> Fraction:
        return self.value(name, day, **selected).amount

    def at_or(self, default: Number, name: str, day: date, **selected: str) -> Fraction:
        """The value, or this one where the policy has none that fits."""
        found = self.find(name, day, **selected)
        return Fraction(default) if found is None else found.amount


def one_of(name: str, fit: list[Table], unit: str, day: date) -> Value:
    def rank(v: Table) -> tuple[int, date]:
        return sum(s in v for s in SELECTORS), v["from"]

    best = max(fit, key=rank)
    if sum(rank(v) == rank(best) for v in fit) > 1:
        raise Refused(f"{name}: two values fit equally on {day}")
    scale = 100 if unit.startswith("yuan") else 1_000_000 if unit == "万元" else 1
    return Value(Fraction(best["value"]) * scale, best["from"], best.get("to"))


# ---------------------------------------------------------------------------- months


def months_of(period: tuple[date, date]) -> list[str]:
    """The months of a period, in order."""
    (y, m), found = (period[0].year, period[0].month), []
    while date(y, m, 1) <= period[1]:
        found.append(f"{y}-{m:02}")
        y, m = (y, m + 1) if m < 12 else (y + 1, 1)
    return found


def first_day(month: str) -> date:
    return date(int(month[:4]), int(month[5:]), 1)


def last_day(month: str) -> date:
    year, number = int(month[:4]), int(month[5:])
    return date(year, number, monthrange(year, number)[1])


def month_of(e: Table) -> str:
    """The month in which a ledger entry counts."""
    return e.get("settlement_month") or f"{e['entered_on']:%Y-%m}"
