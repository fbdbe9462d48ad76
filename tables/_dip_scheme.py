"""A DIP catalogue, ready to group: tables, arrays and the vocabularies that encode cases for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

import numpy as np

from grouper.errors import TableError
from grouper.tables._codes import CodeList
from grouper.tables._dip import FILE, DipGroup, DipSettings, DipTables, Profile, read_dip
from grouper.tables._dip_lower import Lowered, lower_dip
from grouper.tables._keys import normal, spelled
from grouper.tables._types import DIAGNOSES, I32, UNKNOWN_CODE, DipArrays, Side, lock
from grouper.tables._vocabulary import Vocabulary


@dataclass(frozen=True, eq=False)
class DipScheme:
    """A DIP catalogue (病种分值目录), ready to group: immutable, safe to share between threads.

    `groups` stand by stage of the profile, then as in groups.csv; results refer to them by index.
    `fingerprint` (sha256) covers every table, option, profile and code list: equal fingerprints group
    and score alike.
    """

    tables: DipTables = field(repr=False)
    folder: Path
    lowered: Lowered = field(repr=False)
    dx_ids: Mapping[str, int] = field(repr=False)  # normal form -> id
    px_ids: Mapping[str, int] = field(repr=False)
    dx_class: I32 = field(repr=False)  # [ids + 1] class of id + 1, entry 0 = unknown
    px_class: I32 = field(repr=False)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        lock([self.dx_class, self.px_class, *self.lowered.arrays])
        for name in ("dx_ids", "px_ids"):
            object.__setattr__(self, name, MappingProxyType(getattr(self, name)))

    @property
    def settings(self) -> DipSettings:
        """The catalogue's `scheme.toml`."""
        return self.tables.settings

    @property
    def profile(self) -> Profile:
        """The matching profile."""
        return self.tables.profile

    @property
    def id(self) -> str:
        """The catalogue's id, as in its `scheme.toml`."""
        return self.settings.id

    @property
    def title(self) -> str:
        """The catalogue's title."""
        return self.settings.title

    @property
    def fingerprint(self) -> str:
        """Digest of everything that can change a group or a score."""
        return self.tables.fingerprint

    @property
    def groups(self) -> tuple[DipGroup, ...]:
        """The groups, by stage."""
        return self.lowered.order

    @property
    def arrays(self) -> DipArrays:
        """The catalogue as the kernel reads it."""
        return self.lowered.arrays

    @property
    def literals(self) -> Mapping[str, int]:
        """Discharge modes that auxiliary types name."""
        return self.lowered.literals

    @property
    def code_list(self) -> CodeList | None:
        """The code list that the catalogue names."""
        return self.tables.code_list

    def vocabulary(self, side: Side, codes: str = "insurer") -> OpenVocabulary:
        """Return a fresh vocabulary for one batch; `codes` = "insurer" or "clinical".

        Raises
        ------
        TableError : "clinical" and the catalogue names no code list.
        """
        return OpenVocabulary(self._known[side, codes == "clinical"], self, side)

    @cached_property
    def _known(self) -> dict[tuple[Side, bool], Vocabulary]:
        found = _Known(self)
        return found

    def class_of(self, code: str, side: Side) -> int:
        """Return the class of a code that has no id; `code` in normal form."""
        classes = self.lowered.classes
        if side == DIAGNOSES:
            return classes.dx_index[classes.dx_key(code)]
        return classes.px_index[classes.px_key(code)]

    def is_known(self, code: str, side: Side) -> bool:
        """Tell whether the catalogue knows a code that no list of its holds."""
        classes = self.lowered.classes
        covers = classes.covers_dx if side == DIAGNOSES else classes.covers_px
        return self.code_list is None or covers(code)


class _Known(dict[tuple[Side, bool], Vocabulary]):
    """The vocabularies of a catalogue's listed codes, made when asked for."""

    def __init__(self, scheme: DipScheme) -> None:
        self.scheme = scheme

    def __missing__(self, key: tuple[Side, bool]) -> Vocabulary:
        side, clinical = key
        s = self.scheme
        ids = s.dx_ids if side == DIAGNOSES else s.px_ids
        listed = s.code_list
        texts = {spelled(code): k for code, k in ids.items()}
        mapped: dict[str, int] = {}
        if clinical and listed is None:
            message = "codes='clinical' needs a code list with maps; add code_list = \"…\""
            raise TableError(message, file=FILE)
        if listed is not None:
            names = listed.diagnoses if side == DIAGNOSES else listed.procedures
            texts |= {c: ids[normal(c)] for c in names}
        if clinical and listed is not None:
            pairs = listed.diagnosis_map if side == DIAGNOSES else listed.procedure_map
            mapped = {k: ids.get(normal(v), UNKNOWN_CODE) for k, v in pairs.items() if k != v}
        self[key] = Vocabulary(texts, mapped)
        return self[key]


class OpenVocabulary:
    """A vocabulary that gives ids to further codes as a batch brings them.

    A catalogue key stands for codes that no list holds. Such a code gets the next id and the class of
    its stem; `classes` then covers all ids given.
    """

    def __init__(self, known: Vocabulary, scheme: DipScheme, side: Side) -> None:
        self._known, self._scheme, self._side = known, scheme, side
        self.mapped, self.table, self.mask = known.mapped, known.table, known.mask
        self._first = len(scheme.dx_ids if side == DIAGNOSES else scheme.px_ids)
        self._added: dict[str, int] = {}
        self._classes: list[int] = []

    def resolve(self, text: str) -> tuple[int, bool, bool]:
        """Return (id, was mapped, was normalised) of one text; UNKNOWN_CODE if nothing knows it."""
        found = self._known.resolve(text)
        if found[0] != UNKNOWN_CODE or found[1]:
            return found
        code = normal(text)
        if not code or not self._scheme.is_known(code, self._side):
            return found
        if code not in self._added:
            self._added[code] = self._first + len(self._added)
            self._classes.append(self._scheme.class_of(code, self._side))
        return self._added[code], False, text not in (code, spelled(code))

    @property
    def texts(self) -> list[str]:
        """Normal form of every id given, in order."""
        listed = self._scheme.dx_ids if self._side == DIAGNOSES else self._scheme.px_ids
        return [*listed, *self._added]

    @property
    def classes(self) -> I32:
        """Class of every id + 1; entry 0 = unknown."""
        s = self._scheme
        known = s.dx_class if self._side == DIAGNOSES else s.px_class
        return np.concatenate([known, np.array(self._classes, np.int32)])


def load_dip(folder: Path, *, drafting: bool = False) -> DipScheme:
    """Load a catalogue folder; `drafting` allows one without groups.

    Raises
    ------
    TableError : a table is refused; says file and row.
    """
    tables = read_dip(folder, drafting=drafting)
    dx_ids, px_ids = _ids(_diagnoses(tables)), _ids(_procedures(tables))
    lowered = lower_dip(tables, dx_ids, px_ids)
    classes = lowered.classes
    dx_class = [0, *(classes.dx_index[classes.dx_key(c)] for c in dx_ids)]
    px_class = [0, *(classes.px_index[classes.px_key(c)] for c in px_ids)]
    return DipScheme(
        tables,
        folder,
        lowered,
        dx_ids,
        px_ids,
        np.array(dx_class, np.int32),
        np.array(px_class, np.int32),
    )


def _ids(codes: Iterable[str]) -> dict[str, int]:
    return {code: k for k, code in enumerate(sorted(set(codes) - {""}))}


def _diagnoses(t: DipTables) -> Iterable[str]:
    """Yield every diagnosis that gets an id: those listed, those that a key may equal."""
    yield from map(normal, t.code_list.diagnoses if t.code_list else ())
    yield from t.excluded
    cells = [k for g in t.groups for k in (*g.principal, *g.other, *g.any_diagnosis)]
    cells += [k for sides in t.conditions.values() for side, keys in sides for k in keys]
    cells += [k for e in t.not_main.values() for k in e.diagnoses]
    cells += [normal(k) for x in t.settings.auxiliary for k in (*x.principal, *x.other_diagnoses)]
    for key in cells:
        if key != "*" and "-" not in key:
            yield key.removeprefix("=")


def _procedures(t: DipTables) -> Iterable[str]:
    yield from map(normal, t.code_list.procedures if t.code_list else ())
    yield from t.not_main
    yield from (c for c in t.classes if not c.endswith("*"))
    yield from (k for g in t.groups for k in g.listed)
    for sides in t.conditions.values():
        for side, keys in sides:
            if side in ("main", "procedure"):
                yield from keys
