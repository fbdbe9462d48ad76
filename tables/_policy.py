"""Payment policies as data: a TOML file of dated values, each with its unit and source.

Every number is read exactly: a whole number or a decimal, never a binary fraction. A value may be
narrowed, to an insurance or a hospital level say; of those that fit, the one narrowed most counts,
then the latest. Two that are equal in both are a fault of the file. A policy may inherit from another:
the parent's values of a parameter are asked only where no value of its own fits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

from grouper.errors import PolicyError, SchemeNotFound
from grouper.tables._files import check_settings
from grouper.tables._policy_check import refuse_contradictions
from grouper.tables._policy_files import (
    PayAs,
    WeightRow,
    find_catalogue,
    read_by_group,
    read_catalogue,
    read_pay_as,
    read_weights,
)
from grouper.tables._policy_layers import FILE, Layers, find_policy, policy_ids, read_layers
from grouper.tables._policy_model import (
    PARAMETERS,
    SELECTORS,
    STATUSES,
    UNITS,
    Benchmark,
    Coefficient,
    Dated,
    Edge,
    Number,
    Parameter,
    PolicySettings,
    StatusPay,
    Value,
    Weights,
)
from grouper.tables._toml_lines import Place, Places, place_of

__all__ = [
    "FILE",
    "PARAMETERS",
    "STATUSES",
    "UNITS",
    "Dated",
    "Edge",
    "Number",
    "Parameter",
    "PayAs",
    "Policy",
    "PolicySettings",
    "StatusPay",
    "Value",
    "WeightRow",
    "load_policy",
    "policy_ids",
]

ByGroup: TypeAlias = Mapping[tuple[str, str], Fraction]
"""A number for each group and hospital level; a blank one stands for all others."""

NOTES = "pay_as.csv"


@dataclass(frozen=True, eq=False)
class Policy:
    """A payment policy (支付政策): immutable, shared by threads; `at` reads its dated parameters."""

    settings: PolicySettings
    folder: Path
    fingerprint: str
    tables: Mapping[str, Mapping[str, WeightRow]] = field(repr=False)
    pay_as: Mapping[str, PayAs] = field(repr=False)
    benchmarks: ByGroup = field(repr=False, default_factory=dict)
    """Mean costs in fen, of `benchmark.file`."""
    coefficient_table: ByGroup = field(repr=False, default_factory=dict)
    """Hospital coefficients, of `coefficient.file`."""
    places: Places = field(repr=False, default_factory=dict)
    """Where each key stands in the files."""
    _narrowing: dict[str, tuple[str, ...]] = field(init=False, repr=False, default_factory=dict)
    _known: dict[Any, tuple[Parameter, Value, Fraction] | None] = field(
        init=False, repr=False, default_factory=dict
    )

    def __post_init__(self) -> None:
        for name in ("tables", "pay_as", "benchmarks", "coefficient_table", "places"):
            object.__setattr__(self, name, MappingProxyType(getattr(self, name)))

    @property
    def id(self) -> str:
        """The policy's id, as in its `policy.toml`."""
        return self.settings.id

    def at(self, name: str, on: date, **selected: str) -> Fraction:
        """Return a parameter's value on a day: fen for money, else as written.

        Raises
        ------
        PolicyError : no such parameter, no value in force that fits, or two that fit equally.
        """
        found = self.at_or_none(name, on, **selected)
        if found is None:
            raise self._missing(name, on, selected)
        return found

    def value(self, name: str, on: date, **selected: str) -> Value:
        """Return the dated value itself, with source and period; see `at`."""
        found = self._found(name, on, selected)
        if found is None:
            raise self._missing(name, on, selected)
        return found[1]

    def at_or_none(self, name: str, on: date, **selected: str) -> Fraction | None:
        """Return a parameter as `at` does, or None where the policy has no value that fits."""
        found = self._found(name, on, selected)
        return None if found is None else found[2]

    def _found(
        self, name: str, on: date, selected: Mapping[str, str]
    ) -> tuple[Parameter, Value, Fraction] | None:
        """Find a value once for each day and selectors that any value of the parameter names."""
        if name not in self.settings.param:
            return None
        used = self._narrowing.get(name)
        if used is None:
            values = self.settings.param[name].all_values
            used = tuple(s for s in SELECTORS if any(v.selector(s) is not None for v in values))
            self._narrowing[name] = used
        key = (name, on, *(selected.get(s) for s in used))
        if key not in self._known:
            found = self._find(name, on, selected)
            self._known[key] = found and (*found, Fraction(found[1].value) * found[0].factor)
        return self._known[key]

    def _find(
        self, name: str, on: date, selected: Mapping[str, str]
    ) -> tuple[Parameter, Value] | None:
        """Find a value and the layer that gives it, the policy's own before what it inherits."""
        layer: Parameter | None = self.settings.param[name]
        while layer is not None:
            found = [v for v in layer.values if v.covers(on) and v.fits(selected)]
            found.sort(key=lambda v: (v.narrowed, v.from_), reverse=True)
            rank = [(v.narrowed, v.from_) for v in found[:2]]
            if len(rank) == 2 and rank[0] == rank[1]:
                raise PolicyError(f"two values fit equally on {on}", parameter=name)
            if found:
                return layer, found[0]
            layer = layer.inherited
        return None

    def _missing(self, name: str, on: date, selected: Mapping[str, str]) -> PolicyError:
        if name not in self.settings.param:
            return PolicyError(f"the policy {self.id} has no such parameter", parameter=name)
        first = min(v.from_ for v in self.settings.param[name].all_values)
        wanted = ", ".join(f"{k} {v}" for k, v in selected.items() if v)
        message = f"no value on {on} for {wanted or 'all'}; the first is of {first}"
        return PolicyError(message, parameter=name)

    def has(self, name: str) -> bool:
        """Tell whether the policy gives a parameter."""
        return name in self.settings.param

    def weights_on(self, day: date) -> Mapping[str, WeightRow]:
        """Return the weight table in force on a day: group -> row.

        Raises
        ------
        PolicyError : no table is in force.
        """
        found = [w for w in self.settings.weights if w.covers(day)]
        if not found:
            raise PolicyError(f"no weight table is in force on {day}", parameter="weights")
        return self.tables[max(found, key=lambda w: w.from_).name]

    @cached_property
    def breaks(self) -> tuple[date, ...]:
        """Days on which some value begins or has just ended, in order."""
        s = self.settings
        dated: list[Dated] = [*s.weights, *s.low, *s.high, *s.extreme]
        dated += [v for p in s.param.values() for v in p.all_values]
        ends = {date.fromordinal(d.to.toordinal() + 1) for d in dated if d.to and d.to.year < 9999}
        return tuple(sorted({d.from_ for d in dated} | ends))


def load_policy(name: str | Path) -> Policy:
    """Load a policy: the id of a shipped one, a folder with ``policy.toml``, or such a file.

    Raises
    ------
    SchemeNotFound : nothing of that name. TableError : a file is refused. PolicyError : parts of the
    policy contradict each other; every contradiction is named.
    """
    path = find_policy(str(name), Path())
    if path is None:
        raise SchemeNotFound(str(name), policy_ids(), kind="policy")
    layers = read_layers(path)
    settings = check_settings(layers.data, PolicySettings, lambda: layers.places)
    source = _Source(layers)
    tables = {w.name: source.weights(k, w) for k, w in enumerate(settings.weights)}
    benchmarks = source.by_group(settings.benchmark, "benchmark", "mean_cost", 100)
    coefficients = source.by_group(settings.coefficient, "coefficient", "coefficient")
    pay_as = source.pay_as(tables)
    refuse_contradictions(settings, tables, layers.places)
    return Policy(
        settings,
        path.parent,
        source.digest.hexdigest(),
        tables,
        pay_as,
        benchmarks,
        coefficients,
        layers.places,
    )


class _Source:
    """Reads the tables that a policy names, each beside the file that names it; sums up all files."""

    def __init__(self, layers: Layers) -> None:
        self.layers, self.digest = layers, hashlib.sha256()
        for path in layers.files:
            self.add(path)

    def add(self, path: Path) -> Path:
        """Let a file into the fingerprint, if it is there."""
        if path.is_file():
            self.digest.update(hashlib.sha256(path.read_bytes()).digest())
        return path

    def weights(self, k: int, w: Weights) -> Mapping[str, WeightRow]:
        """Read a weight table or the scores of a catalogue."""
        place = place_of(self.layers.places, ("weights", k, "file" if w.file else "catalogue"))
        if w.file and not w.catalogue:
            return read_weights(self.add(_table(place, w.file)))
        message = "give a file or a catalogue"
        if w.catalogue and not w.file:
            folder = find_catalogue(w.catalogue, place.folder)
            if folder is not None:
                rows, fingerprint = read_catalogue(folder)
                self.digest.update(fingerprint.encode())
                return rows
            message = f"catalogue {w.catalogue!r} is neither shipped nor a folder beside the policy"
        raise PolicyError(f"line {place.line}: weights: {message}", file=place.file)

    def by_group(
        self, section: Benchmark | Coefficient | None, name: str, column: str, factor: int = 1
    ) -> ByGroup:
        """Read the table of a section whose kind is `table`."""
        if section is None or section.kind != "table" or not section.file:
            return {}
        path = _table(place_of(self.layers.places, (name, "file")), section.file)
        rows = read_by_group(self.add(path), column)
        return {key: value * factor for key, value in rows.items()}

    def pay_as(self, tables: Mapping[str, Mapping[str, WeightRow]]) -> dict[str, PayAs]:
        """Read the notes of the policy, else of the nearest that it inherits from."""
        paths = (path.parent / NOTES for path in self.layers.files)
        found = next((p for p in paths if p.is_file()), None)
        return read_pay_as(self.add(found), tables.values()) if found else {}


def _table(place: Place, name: str) -> Path:
    """Return the path of a table; a policy opens tables, and no other file that it may name."""
    if not name.endswith(".csv"):
        message = f"line {place.line}: file {name!r} is no table; name a .csv"
        raise PolicyError(message, file=place.file)
    return place.folder / name
