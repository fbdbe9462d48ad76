"""DRG scheme folders → `DrgScheme`: read six tables, refuse what is wrong, lower the rules.

A folder holds ``scheme.toml`` and mdc, adrg, drg, sets, cc, exclusions as CSV. A folder that
``inherits`` another takes the tables (not the options) it lacks from there, and adds the rows of
``sets.add.csv``: a variant is data only. Order of trial: MDCs by their `sort`, ADRGs and DRGs in row order.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from grouper.errors import TableError
from grouper.tables import _cache
from grouper.tables._codes import CodeList, load_codes
from grouper.tables._drg_scheme import FILE, TABLES, DrgScheme, Row, SchemeSettings, status_of
from grouper.tables._files import SHIPPED, is_whole, iso, read_settings, read_table
from grouper.tables._kept import packed, unpacked
from grouper.tables._lower import AdrgRow as LoweredRow
from grouper.tables._lower import CodeTables, lower
from grouper.tables._rules import SEVERITY_SETS, Compare, Rule, atoms, parse, sets_of
from grouper.tables._types import DIAGNOSES, PROCEDURES, Option, Side


@dataclass
class _Folder:
    """A scheme's files, its own or inherited."""

    own: Path
    base: Path | None

    def rows(self, table: str, *columns: str) -> list[tuple[str, int, list[str]]]:
        """Return (file, line, cells) of one table."""
        file = f"{table}.csv"
        inherited = self.base is not None and not (self.own / file).exists()
        folder = self.base if inherited and self.base else self.own
        if table == "sets" and not (folder / file).exists():
            return []  # refused below with the names of the sets that the rules use
        found = [(file, line, cells) for line, cells in read_table(folder / file, columns)]
        added = self.own / f"{table}.add.csv"
        if inherited and added.exists():
            found += [(added.name, line, cells) for line, cells in read_table(added, columns)]
        if not found:
            raise TableError("the table is empty", file=file)
        return found


def load_drg_folder(folder: Path) -> DrgScheme:
    """Load a folder of the six tables.

    Raises
    ------
    TableError : a table is refused; says file and row.
    """
    settings = read_settings(folder / FILE, SchemeSettings)
    base = base_folder(folder, settings)
    codes = load_codes(settings.code_list, beside=folder) if settings.code_list else None
    key = _cache.key_of(_files(folder, base, codes))
    kept = _cache.read(key)
    if kept is not None:
        with contextlib.suppress(KeyError, ValueError):
            return unpacked(kept, settings, folder, codes)
    scheme = _compiled(settings, folder, base, codes)
    _cache.write(key, packed(scheme))
    return scheme


def _files(folder: Path, base: Path | None, codes: CodeList | None) -> Iterator[Path]:
    """Yield every file that a scheme is made from."""
    for place in (folder, *([base] if base else ())):
        yield place / FILE
        for table in TABLES:
            yield from (place / f"{table}.csv", place / f"{table}.add.csv")
    if codes is not None:
        yield from sorted(codes.folder.glob("*.csv"))


def _compiled(
    settings: SchemeSettings, folder: Path, base: Path | None, codes: CodeList | None
) -> DrgScheme:
    """Read the tables and lower them."""
    source = _Folder(folder, base)
    mdcs = _mdcs(source)
    adrgs = _children(source, "adrg", "mdc", mdcs)
    drgs = _drgs(source, adrgs, mdcs)
    _refuse_childless("mdc.csv", mdcs, adrgs)
    _refuse_childless("adrg.csv", adrgs, drgs)
    members = _sets(source)
    notes = _check_sets(settings, members, mdcs, adrgs, drgs)
    exclusions: dict[str, set[str]] = {}
    for _, _, (name, code) in source.rows("exclusions", "exclusion", "principal"):
        exclusions.setdefault(name, set()).add(code)
    levels = _levels(source, settings, exclusions)
    sides = _known_codes(members, levels, exclusions, codes, [*mdcs, *adrgs, *drgs])
    texts = tuple(sorted(sides))
    ids = {c: i for i, c in enumerate(texts)}
    sets = {s: _ids(c, ids) for s, c in members.items()}
    names = sorted(exclusions)
    table_of = {"": len(names), **{x: len(names) for x in settings.never_excluded}}
    table_of |= {x: t for t, x in enumerate(names)}
    grey = (codes.grey_diagnoses | codes.grey_procedures) if codes else frozenset()
    literals = _literals(r.rule for r in (*mdcs, *adrgs, *drgs))
    drg_rules: list[list[Rule]] = [[] for _ in adrgs]
    for d in drgs:
        drg_rules[d.parent].append(d.rule)
    arrays = lower(
        [m.rule for m in mdcs],
        [
            LoweredRow(a.parent, a.rule, status_of(a.code, settings), drg_rules[k])
            for k, a in enumerate(adrgs)
        ],
        CodeTables(
            n=len(texts),
            sets=sets,
            mcc={ids[c]: table_of[x] for c, x in levels["MCC"].items()},
            cc={ids[c]: table_of[x] for c, x in levels["CC"].items()},
            exclusions=[*(_ids(exclusions[x], ids) for x in names), _ids((), ids)],
            grey=_ids(grey & ids.keys(), ids),
        ),
        literals,
        {
            Option.RETRY: settings.retry_other_procedures,
            Option.GREY_PRINCIPAL_UNGROUPED: settings.grey_principal == "ungrouped",
            Option.ANY_CODE: codes is None,
        },
    )
    return DrgScheme(
        settings=settings,
        folder=folder,
        mdcs=mdcs,
        adrgs=adrgs,
        drgs=drgs,
        codes=texts,
        sides=np.array([sides[c] for c in texts], np.int8),
        sets=sets,
        mcc=levels["MCC"],
        cc=levels["CC"],
        exclusions={x: frozenset(c) for x, c in exclusions.items()},
        code_list=codes,
        literals=literals,
        fingerprint=_fingerprint(settings, mdcs, adrgs, drgs, members, levels, exclusions, codes),
        arrays=arrays,
        notes=notes,
    )


def base_folder(folder: Path, settings: SchemeSettings) -> Path | None:
    """Find the folder that a scheme inherits, None if it inherits none."""
    if not settings.inherits:
        return None
    for base in (SHIPPED / settings.inherits, folder.parent / settings.inherits):
        if (base / FILE).is_file() and base.resolve() != folder.resolve():
            return base
    raise TableError(f"inherits {settings.inherits!r}, which is no scheme beside it", file=FILE)


def _mdcs(source: _Folder) -> tuple[Row, ...]:
    rows: dict[str, tuple[int, Row]] = {}
    for file, line, (code, name, text, sort) in source.rows("mdc", "code", "name", "rule", "sort"):
        if not code or code in rows:
            raise TableError(f"MDC {code!r} is empty or stands twice", file=file, row=line)
        if not is_whole(sort):
            raise TableError(f"sort {sort!r} is not a whole number", file=file, row=line)
        parse(text, file=file, row=line)
        rows[code] = int(sort), Row(code, name, text, -1, line)
    return tuple(row for _, row in sorted(rows.values(), key=lambda r: r[0]))


def _children(
    source: _Folder, table: str, parent: str, parents: tuple[Row, ...]
) -> tuple[Row, ...]:
    """Read rows that name a parent; return them by parent, in row order inside it."""
    index = {p.code: k for k, p in enumerate(parents)}
    seen: set[str] = set()
    found = []
    columns = ("code", "name", "rule", parent)
    for file, line, (code, name, text, owner) in source.rows(table, *columns):
        if owner not in index:
            message = f"{parent.upper()} {owner!r} is not in {parent}.csv"
            raise TableError(message, file=file, row=line)
        if not code or (table == "adrg" and code in seen):
            raise TableError(f"code {code!r} is empty or stands twice", file=file, row=line)
        seen.add(code)
        parse(text, file=file, row=line)
        found.append(Row(code, name, text, index[owner], line))
    return tuple(sorted(found, key=lambda r: r.parent))


def _drgs(source: _Folder, adrgs: tuple[Row, ...], mdcs: tuple[Row, ...]) -> tuple[Row, ...]:
    mdc_of = {a.code: mdcs[a.parent].code for a in adrgs}
    for file, line, (adrg, mdc) in source.rows("drg", "adrg", "mdc"):
        if adrg in mdc_of and mdc != mdc_of[adrg]:
            message = f"MDC {mdc!r}, but adrg.csv puts {adrg} into {mdc_of[adrg]}"
            raise TableError(message, file=file, row=line)
    return _children(source, "drg", "adrg", adrgs)


def _refuse_childless(file: str, parents: tuple[Row, ...], children: tuple[Row, ...]) -> None:
    owners = {c.parent for c in children}
    for k, p in enumerate(parents):
        if k not in owners:
            raise TableError(f"{p.code} has no row in the table below it", file=file, row=p.line)


def _sets(source: _Folder) -> dict[str, set[str]]:
    members: dict[str, set[str]] = {}
    for file, line, (name, code) in source.rows("sets", "set", "code"):
        if not name or not code:
            raise TableError("an empty set name or code", file=file, row=line)
        if name in SEVERITY_SETS:
            raise TableError(f"{name} is a level of cc.csv, no set", file=file, row=line)
        members.setdefault(name, set()).add(code)
    return members


def _check_sets(
    settings: SchemeSettings, members: dict[str, set[str]], *tables: tuple[Row, ...]
) -> tuple[str, ...]:
    """Refuse a rule whose set is nowhere, but for those that scheme.toml admits to be empty."""
    notes: dict[str, None] = {}
    lacking: dict[str, tuple[str, int]] = {}
    for file, rows in zip(("mdc.csv", "adrg.csv", "drg.csv"), tables, strict=True):
        for row in rows:
            for name in sets_of(row.rule):
                if name not in members:
                    if name in settings.known_empty_sets:
                        notes[f"set {name} ({file}:{row.line}) is empty in the source"] = None
                    else:
                        lacking.setdefault(name, (file, row.line))
    if lacking:
        file, line = next(iter(lacking.values()))
        message = (
            f"{len(lacking)} sets are used and not defined in sets.csv: {', '.join(lacking)}; "
            "add them, or list them under known_empty_sets in scheme.toml"
        )
        raise TableError(message, file=file, row=line)
    for name in settings.known_empty_sets:
        members.setdefault(name, set())
    return tuple(notes)


def _levels(
    source: _Folder, settings: SchemeSettings, exclusions: dict[str, set[str]]
) -> dict[str, dict[str, str]]:
    """Read the CC table: level -> code -> exclusion table."""
    levels: dict[str, dict[str, str]] = {"MCC": {}, "CC": {}}
    for file, line, (code, level, table) in source.rows("cc", "code", "type", "exclusion"):
        if level not in levels:
            raise TableError(f"type {level!r} is neither MCC nor CC", file=file, row=line)
        if table and table not in exclusions and table not in settings.never_excluded:
            message = (
                f"exclusion {table} has no row in exclusions.csv; add it, "
                "or list it under never_excluded in scheme.toml"
            )
            raise TableError(message, file=file, row=line)
        if levels[level].get(code, table) != table:
            raise TableError(f"{level} {code} has two exclusions", file=file, row=line)
        levels[level][code] = table
    return levels


def _known_codes(
    members: dict[str, set[str]],
    levels: dict[str, dict[str, str]],
    exclusions: dict[str, set[str]],
    codes: CodeList | None,
    rows: Iterable[Row],
) -> dict[str, int]:
    """Say on which side each code is known: a set counts where rules look for it, else on both."""
    used: dict[str, Side] = {}
    for row in rows:
        for name, side in sets_of(row.rule).items():
            used[name] = used.get(name, Side(0)) | side
    known: dict[str, int] = {}

    def note(texts: Iterable[str], side: int) -> None:
        for text in texts:
            known[text] = known.get(text, 0) | side

    for name, texts in members.items():
        side = used.get(name, DIAGNOSES | PROCEDURES)
        both = (DIAGNOSES if side & DIAGNOSES else 0) | (PROCEDURES if side & PROCEDURES else 0)
        note(texts, int(both))
    for listed in (*levels.values(), *exclusions.values()):
        note(listed, int(DIAGNOSES))
    if codes:
        note(codes.diagnoses, int(DIAGNOSES))
        note(codes.procedures, int(PROCEDURES))
    return known


def _ids(texts: Iterable[str], ids: Mapping[str, int]) -> NDArray[np.int32]:
    return np.array(sorted(ids[t] for t in texts), np.int32)


def _literals(rules: Iterable[Rule]) -> dict[str, int]:
    found: dict[str, int] = {}
    for rule in rules:
        for atom in atoms(rule):
            if isinstance(atom, Compare) and isinstance(atom.value, str):
                found.setdefault(atom.value, len(found))
    return found


def _fingerprint(
    settings: SchemeSettings,
    mdcs: tuple[Row, ...],
    adrgs: tuple[Row, ...],
    drgs: tuple[Row, ...],
    members: dict[str, set[str]],
    levels: dict[str, dict[str, str]],
    exclusions: dict[str, set[str]],
    codes: CodeList | None,
) -> str:
    """Digest everything that can change a group, and the names that stand in results."""
    h = hashlib.sha256()

    def add(title: str, lines: Iterable[str]) -> None:
        h.update(f"{title}\x1e".encode() + "\x1e".join(lines).encode() + b"\x1d")

    s = settings
    options = (s.newborn_weight, s.grey_principal, s.grey_procedure, s.retry_other_procedures)
    dates = (iso(s.valid_from), iso(s.valid_to))
    add("scheme", map(str, (s.id, *dates, *options, s.ambiguous_adrg, s.remainder_adrg)))
    for title, rows in (("mdc", mdcs), ("adrg", adrgs), ("drg", drgs)):
        add(title, (f"{r.code}\x1f{r.name}\x1f{r.text}\x1f{r.parent}" for r in rows))
    for title, lists in (("set", members), ("exclusion", exclusions)):
        for name in sorted(lists):
            add(f"{title} {name}", sorted(lists[name]))
    for level, listed in levels.items():
        add(level, (f"{c}\x1f{listed[c]}" for c in sorted(listed)))
    if codes:
        add("diagnoses", sorted(codes.diagnoses))
        add("procedures", sorted(codes.procedures))
        for kind, pairs in (("dx", codes.diagnosis_map), ("px", codes.procedure_map)):
            add(f"map {kind}", (f"{k}\x1f{pairs[k]}" for k in sorted(pairs)))
        add("grey", sorted(codes.grey_diagnoses | codes.grey_procedures))
    return h.hexdigest()
