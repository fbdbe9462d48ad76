"""A DRG scheme, ready to group: its settings, its rows, its code tables, its arrays."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property, lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from grouper.errors import TableError
from grouper.tables._codes import CodeList
from grouper.tables._files import Settings
from grouper.tables._rules import Rule, parse
from grouper.tables._types import DIAGNOSES, PROCEDURES, DrgArrays, Side, Status, lock
from grouper.tables._vocabulary import Vocabulary

FILE = "scheme.toml"
TABLES = ("mdc", "adrg", "drg", "sets", "cc", "exclusions")
CODINGS = ("insurer", "clinical")


class SchemeSettings(Settings):
    """`scheme.toml`: what a scheme is and which of the published options it takes."""

    id: str
    title: str
    kind: Literal["drg"] = "drg"
    edition: str = ""
    published: date | None = None
    valid_from: date | None = None
    valid_to: date | None = None
    in_force_announced: date | None = None
    reading: str = ""
    inherits: str = ""
    code_list: str = ""
    code_editions: dict[str, str] = {}
    newborn_weight: Literal["birth", "admission"] = "birth"
    grey_principal: Literal["allow", "ungrouped"] = "allow"
    grey_procedure: Literal["keep", "blank", "drop_promote_next"] = "keep"
    retry_other_procedures: bool = False
    ambiguous_adrg: str = "?QY"
    remainder_adrg: str = "?00"
    known_empty_sets: list[str] = []
    never_excluded: list[str] = []
    extra_variables: list[str] = []
    known_faults: list[str] = []
    sources: dict[str, str] = {}


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the MDC, ADRG or DRG table; `parent` is the index of its MDC or ADRG row."""

    code: str
    name: str
    text: str
    parent: int
    line: int

    @property
    def rule(self) -> Rule:
        """Its rule as a tree; parsed when first asked for."""
        return _rule(self.text)


@lru_cache(maxsize=16384)
def _rule(text: str) -> Rule:
    return parse(text)


@dataclass(frozen=True, eq=False)
class DrgScheme:
    """A DRG scheme, ready to group: immutable, safe to share between threads.

    `mdcs`, `adrgs`, `drgs` stand in the order of trial; results refer to them by index. `codes[i]`
    is the text of code id i. `fingerprint` (sha256) covers every table, option and code list:
    equal fingerprints group alike.
    """

    settings: SchemeSettings
    folder: Path
    mdcs: tuple[Row, ...]
    adrgs: tuple[Row, ...]
    drgs: tuple[Row, ...]
    codes: tuple[str, ...]
    sides: NDArray[np.int8] = field(repr=False)
    sets: Mapping[str, NDArray[np.int32]] = field(repr=False)
    mcc: Mapping[str, str] = field(repr=False)
    cc: Mapping[str, str] = field(repr=False)
    exclusions: Mapping[str, frozenset[str]] = field(repr=False)
    code_list: CodeList | None
    literals: Mapping[str, int]
    fingerprint: str
    arrays: DrgArrays = field(repr=False)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        lock([self.sides, *self.arrays])
        if isinstance(self.sets, dict):
            lock(self.sets.values())
        for name in ("sets", "mcc", "cc", "exclusions", "literals"):
            object.__setattr__(self, name, MappingProxyType(getattr(self, name)))

    @property
    def id(self) -> str:
        """The scheme's id, as in its `scheme.toml`."""
        return self.settings.id

    @property
    def title(self) -> str:
        """The scheme's title."""
        return self.settings.title

    @cached_property
    def code_id(self) -> Mapping[str, int]:
        """Code text -> id."""
        return {c: i for i, c in enumerate(self.codes)}

    @cached_property
    def set_codes(self) -> Mapping[str, frozenset[str]]:
        """Set name -> its codes (集合)."""
        return {s: frozenset(self.codes[i] for i in ids) for s, ids in self.sets.items()}

    @cached_property
    def row_status(self) -> tuple[Status, ...]:
        """Status of a case that lands in each ADRG row."""
        return tuple(status_of(a.code, self.settings) for a in self.adrgs)

    def vocabulary(self, side: Side, codes: str = "insurer") -> Vocabulary:
        """Return the codes known on one side; `codes` = "insurer" (医保版) or "clinical" (国临版).

        Raises
        ------
        ValueError : another coding. TableError : "clinical" and the scheme names no code list.
        """
        return (
            self._vocabularies[side, codes] if codes == "insurer" else self._clinical[side, codes]
        )

    @cached_property
    def _vocabularies(self) -> dict[tuple[Side, str], Vocabulary]:
        return {
            (side, "insurer"): Vocabulary(
                {self.codes[i]: int(i) for i in np.flatnonzero(self.sides & int(side))}, {}
            )
            for side in (DIAGNOSES, PROCEDURES)
        }

    @cached_property
    def _clinical(self) -> dict[tuple[Side, str], Vocabulary]:
        if self.code_list is None:
            message = "codes='clinical' needs a code list with maps; add code_list = \"…\""
            raise TableError(message, file=FILE)
        pairs = {DIAGNOSES: self.code_list.diagnosis_map, PROCEDURES: self.code_list.procedure_map}
        return {
            (side, "clinical"): Vocabulary(
                known.ids, {k: known.ids.get(v, -1) for k, v in pairs[side].items() if k != v}
            )
            for side in (DIAGNOSES, PROCEDURES)
            for known in [self._vocabularies[side, "insurer"]]
        }


def status_of(code: str, settings: SchemeSettings) -> Status:
    """Return the status of a case that lands in an ADRG."""
    code = code.split("#")[0]
    if fnmatch.fnmatchcase(code, settings.ambiguous_adrg):
        return Status.AMBIGUOUS
    if fnmatch.fnmatchcase(code, settings.remainder_adrg):
        return Status.UNGROUPED
    return Status.GROUPED
