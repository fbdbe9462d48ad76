"""A policy and those it inherits from, merged: national → province → city → year.

The order of work: read `policy.toml`, follow `inherits` to its end, merge from the oldest down. Tables
are merged key by key, lists are replaced whole; of a parameter that both give, the parent's stays
under the key `inherited`. The surprise: places are merged along, so that a fault, and a file that is
named, are found in the file that really says it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from grouper.errors import TableError
from grouper.tables._files import SHIPPED, parse_toml, read_toml_text
from grouper.tables._toml_lines import Location, Places, place_of, places_of

FILE = "policy.toml"

OWN = ("id", "title", "standing", "source", "inherits")
"""What a policy says of itself, which no other inherits."""

_OWN_PLACES = {(key,) for key in OWN}

Table: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Layers:
    """A merged policy: its data, where each key stands, and the files read, the child's first."""

    data: Table
    places: Places
    files: tuple[Path, ...]


def policy_ids() -> list[str]:
    """List the policies that ship with the package."""
    return sorted(p.parent.name for p in SHIPPED.glob(f"*/{FILE}"))


def find_policy(name: str, beside: Path) -> Path | None:
    """Find a `policy.toml` by a shipped id, or as a folder or file beside `beside`."""
    if name in policy_ids():
        return SHIPPED / name / FILE
    path = beside / name
    if path.is_dir():
        return path / FILE
    return path if path.is_file() else None


def read_layers(path: Path) -> Layers:
    """Read a `policy.toml` and every policy that it inherits from.

    Raises
    ------
    TableError : a file is missing or not TOML, a parent that is not there, a circle of parents.
    """
    found = [_read(path, path.name)]
    seen = [path.resolve()]
    while isinstance(name := found[-1].data.get("inherits"), str):
        place = place_of(found[-1].places, ("inherits",))
        parent = find_policy(name, place.folder)
        if parent is None:
            message = (
                f"inherits {name!r}, which is neither a shipped policy nor a folder or file "
                f"beside it; shipped: {', '.join(policy_ids())}"
            )
            raise TableError(message, file=place.file, row=place.line)
        found.append(_read(parent, f"{parent.parent.name}/{parent.name}"))
        if parent.resolve() in seen:
            chain = " → ".join(_name(layer) for layer in found)
            message = f"inherits in a circle: {chain}; take one `inherits` out"
            raise TableError(message, file=place.file, row=place.line)
        seen.append(parent.resolve())
    merged = found.pop()
    while found:
        merged = _merge(found.pop(), merged)
    return merged


def _read(path: Path, file: str) -> Layers:
    text = read_toml_text(path, file)
    data = parse_toml(text, file)
    places = places_of(text, file, path.parent)
    for at, place in places.items():
        if at[:1] == ("param",) and at[2:] == ("inherited",):
            message = f"{'.'.join(map(str, at))}: not a key; name the parent policy in `inherits`"
            raise TableError(message, file=file, row=place.line)
    return Layers(data, places, (path,))


def _name(layer: Layers) -> str:
    return str(layer.data.get("id") or layer.files[0].resolve().parent.name)


def _merge(child: Layers, parent: Layers) -> Layers:
    given = {k: v for k, v in parent.data.items() if k not in OWN}
    places = {at: place for at, place in parent.places.items() if at[:1] not in _OWN_PLACES}
    data = _over(child.data, given, (), child.places, places)
    return Layers(data, places, (*child.files, *parent.files))


def _over(
    child: Mapping[str, Any], parent: Mapping[str, Any], at: Location, own: Places, places: Places
) -> Table:
    """Lay a child's table over its parent's, and its places (`own`) over theirs (`places`)."""
    merged = dict(parent)
    places[at] = own[at]
    for key, value in child.items():
        here = (*at, key)
        both = isinstance(value, dict) and isinstance(parent.get(key), dict)
        if both and at == ("param",):
            merged[key] = _parameter(value, parent[key], here, own, places)
        elif both:
            merged[key] = _over(value, parent[key], here, own, places)
        else:
            merged[key] = value
            _move(places, here, None)
            places.update(_under(own, here))
    return merged


def _parameter(child: Table, parent: Table, at: Location, own: Places, places: Places) -> Table:
    """Lay a parameter over its parent's, which stays whole under `inherited`."""
    kept: Table = {k: parent[k] for k in ("name_zh", "unit") if k in parent and k not in child}
    _move(places, at, (*at, "inherited"))
    for key in kept:
        places[*at, key] = places[*at, "inherited", key]
    places.update(_under(own, at))
    return {**kept, **child, "inherited": parent}


def _under(places: Places, at: Location) -> Places:
    return {a: p for a, p in places.items() if a[: len(at)] == at}


def _move(places: Places, at: Location, to: Location | None) -> None:
    """Move the places of a section to another, or drop them."""
    for a, place in _under(places, at).items():
        del places[a]
        if to is not None:
            places[*to, *a[len(at) :]] = place
