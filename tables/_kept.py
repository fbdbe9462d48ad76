"""A DRG scheme as named arrays, and back: what `_cache` keeps. Large mappings are made when looked into."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from grouper.tables._codes import CodeList
from grouper.tables._drg_scheme import DrgScheme, Row, SchemeSettings
from grouper.tables._types import DIAGNOSES, PROCEDURES, DrgArrays

V = TypeVar("V")


class Kept(Mapping[str, V]):
    """A mapping that is made when it is first looked into."""

    def __init__(self, make: Callable[[], Mapping[str, V]]) -> None:
        self._make = make

    @cached_property
    def _made(self) -> Mapping[str, V]:
        return self._make()

    def __getitem__(self, name: str) -> V:
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._made)

    def __len__(self) -> int:
        return len(self._made)

    def __eq__(self, other: object) -> bool:
        return dict(self._made) == dict(other) if isinstance(other, Mapping) else NotImplemented

    __hash__ = None  # type: ignore[assignment]


def packed(s: DrgScheme) -> dict[str, NDArray[Any]]:
    """Lay out a scheme as named arrays; texts are JSON in UTF-8."""
    sets, tables = list(s.sets), sorted(s.exclusions)
    ids = s.code_id
    told = {
        "rows": [
            [[r.code, r.name, r.text, r.parent, r.line] for r in rows]
            for rows in (s.mdcs, s.adrgs, s.drgs)
        ],
        "sets": sets,
        "exclusions": tables,
        "mcc": dict(s.mcc),
        "cc": dict(s.cc),
        "literals": dict(s.literals),
        "notes": list(s.notes),
        "fingerprint": s.fingerprint,
    }
    members = [s.sets[n] for n in sets]
    principals = [np.array(sorted(ids[c] for c in s.exclusions[x]), np.int32) for x in tables]
    arrays: dict[str, NDArray[Any]] = {
        "told": _bytes(json.dumps(told, ensure_ascii=False)),
        "codes": _bytes(json.dumps(s.codes, ensure_ascii=False)),
        "sides": s.sides,
        "set_ids": np.concatenate([*members, np.zeros(0, np.int32)]),
        "set_ends": np.cumsum([len(m) for m in members], dtype=np.int64),
        "principal_ids": np.concatenate([*principals, np.zeros(0, np.int32)]),
        "principal_ends": np.cumsum([len(m) for m in principals], dtype=np.int64),
    }
    for name, side in (("dx", DIAGNOSES), ("px", PROCEDURES)):
        arrays[f"vocabulary.{name}"] = s.vocabulary(side).table
    return arrays | {f"arrays.{n}": a for n, a in s.arrays._asdict().items()}


def unpacked(
    kept: Mapping[str, NDArray[Any]],
    settings: SchemeSettings,
    folder: Path,
    code_list: CodeList | None,
) -> DrgScheme:
    """Build a scheme from what `packed` laid out.

    Raises
    ------
    KeyError, ValueError : it is not that.
    """
    told = json.loads(kept["told"].tobytes())
    codes = tuple(json.loads(kept["codes"].tobytes()))
    mdcs, adrgs, drgs = (tuple(Row(*r) for r in rows) for rows in told["rows"])

    def sets() -> dict[str, NDArray[np.int32]]:
        parts = np.split(kept["set_ids"], kept["set_ends"][:-1])
        return dict(zip(told["sets"], parts, strict=True))

    def exclusions() -> dict[str, frozenset[str]]:
        parts = np.split(kept["principal_ids"], kept["principal_ends"][:-1])
        named = zip(told["exclusions"], parts, strict=True)
        return {x: frozenset([codes[i] for i in part.tolist()]) for x, part in named}

    scheme = DrgScheme(
        settings=settings,
        folder=folder,
        mdcs=mdcs,
        adrgs=adrgs,
        drgs=drgs,
        codes=codes,
        sides=kept["sides"],
        sets=Kept(sets),
        mcc=told["mcc"],
        cc=told["cc"],
        exclusions=Kept(exclusions),
        code_list=code_list,
        literals=told["literals"],
        fingerprint=told["fingerprint"],
        arrays=DrgArrays(*(kept[f"arrays.{n}"] for n in DrgArrays._fields)),
        notes=tuple(told["notes"]),
    )
    for name, side in (("dx", DIAGNOSES), ("px", PROCEDURES)):
        scheme.vocabulary(side).keep(kept[f"vocabulary.{name}"])
    return scheme


def _bytes(text: str) -> NDArray[Any]:
    return np.frombuffer(text.encode(), np.uint8)
