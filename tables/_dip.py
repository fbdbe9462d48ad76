"""DIP catalogue folders (病种分值目录) → `DipScheme`: read the tables, refuse what is wrong, lower them.

The format is `docs/dip-catalogue.md`. A catalogue names a matching profile: the stages in which its
classes are tried and the comparators that choose inside a stage. Both are data.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from fractions import Fraction
from pathlib import Path
from typing import Literal

from pydantic import Field

from grouper.errors import SchemeNotFound, TableError
from grouper.tables._codes import CodeList, load_codes
from grouper.tables._files import SHIPPED, Settings, decimal, iso, read_settings, read_table
from grouper.tables._keys import ANY, check_diagnosis_key, check_procedure_key, normal, split
from grouper.tables._types import DIP_SIDES, Comparator, Fact

FILE = "scheme.toml"
PROFILES = SHIPPED / "dip-profiles"

CLASSES = ("pre", "merged", "subdivided", "basic", "core", "primary_care", "mixed", "rest")
"""Classes of a group: 先期, 并项, 细分, 基础规则, 核心, 基层, 综合, 其他."""

CONSERVATIVE = "conservative"
FACT_COLUMNS = {"age": Fact.AGE, "age_days": Fact.AGE_DAYS, "weight": Fact.WEIGHT, "los": Fact.LOS}
HANDLINGS = {
    "diagnosis": ("excluded",),
    "procedure": ("conservative", "not_main", "main_only_with"),
}
REQUIRED = ("code", "name", "class", "principal", "main")
OPTIONAL = (
    *("related", "any_procedures", "other_diagnoses", "first_other", "any_diagnoses"),
    *FACT_COLUMNS,
    *("requires", "forbids", "for_treatment", "treatment", "degree", "area", "primary_care"),
    *("score", "mean_cost", "n", "cv", "ci_low", "ci_high", "years", "note"),
)
LOWEST, HIGHEST = -(2**31) + 1, 2**31 - 1
MOST_CONDITIONS = 62

ComparatorName = Literal[
    "more_required_terms",
    "more_matched_procedures",
    "exact_set",
    "main_procedure_in_group",
    "highest_score",
    "nearest_mean_cost",
    "full_code_before_prefix",
    "class_rank",
    "code_order",
]


class Stage(Settings):
    """One stage of a profile: classes that are tried together, and what chooses among them."""

    classes: list[str] = Field(min_length=1)
    comparators: list[ComparatorName] = []


class Profile(Settings):
    """A matching profile (匹配规则)."""

    id: str
    title: str
    source: str = Field(min_length=1)
    standing: Literal["published", "unconfirmed", "invented"]
    assumed: list[str] = []
    main_position: Literal["first", "any"] = "first"
    empty_main: Literal["conservative_only", "any_case"] = "conservative_only"
    not_main: Literal["conservative", "promote_next"] = "conservative"
    mixed_class_by: Literal["main_procedure", "highest_of_all"] = "main_procedure"
    unmatched_surgery: str = ""
    procedure_prefix_length: int = Field(default=0, ge=0, le=12)
    class_rank: list[str] = []
    stage: list[Stage] = Field(min_length=1)


class Treatment(Settings):
    """A treatment (治疗方式) and the procedure classes that belong to it."""

    id: str
    classes: list[str] = []


class AuxiliaryType(Settings):
    """An auxiliary type (辅助目录): named conditions; the coefficients are in auxiliary.csv."""

    id: str
    name: str = ""
    family: str = ""
    age: str = ""
    age_days: str = ""
    weight: str = ""
    los: str = ""
    icu_hours: str = ""
    discharge_mode: list[str] = []
    principal: list[str] = []
    other_diagnoses: list[str] = []
    requires: list[str] = []


TREATMENTS = (
    Treatment(id=CONSERVATIVE),
    Treatment(id="diagnostic", classes=["诊断性操作"]),
    Treatment(id="therapeutic", classes=["治疗性操作"]),
    Treatment(id="surgery", classes=["手术", "介入治疗"]),
)


class DipSettings(Settings):
    """`scheme.toml` of a DIP catalogue."""

    id: str
    title: str
    kind: Literal["dip"]
    edition: str = ""
    published: date | None = None
    valid_from: date | None = None
    valid_to: date | None = None
    reading: str = ""
    known_faults: list[str] = []
    sources: dict[str, str] = {}
    profile: str
    code_list: str = ""
    code_editions: dict[str, str] = {}
    newborn_weight: Literal["birth", "admission"] = "birth"
    score_scale: Literal[0, 100, 1000] = 1000
    score_decimals: int = Field(default=4, ge=0, le=6)
    unclassed: str = "therapeutic"
    treatment: list[Treatment] = list(TREATMENTS)
    auxiliary: list[AuxiliaryType] = []

    @property
    def grey_procedure(self) -> str:
        """Grey codes are kept, with a warning."""
        return "keep"


Alternatives = tuple[tuple[frozenset[str], ...], ...]
"""Any of these; each a list of terms that are all needed, each term a set of keys."""

Range = tuple[Fact, int, int]
"""A fact with its least and greatest value."""


@dataclass(frozen=True, slots=True)
class DipGroup:
    """A row of groups.csv; keys in normal form, `line` in the file, header = 1."""

    code: str
    name: str
    kind: str  # one of CLASSES
    principal: frozenset[str]
    main: frozenset[str] | None  # None = no requirement, empty = conservative
    related: Alternatives
    anywhere: Alternatives
    other: frozenset[str]
    first_other: bool
    any_diagnosis: frozenset[str]
    ranges: tuple[Range, ...]
    requires: tuple[str, ...]
    forbids: tuple[str, ...]
    for_treatment: tuple[str, ...]
    treatment: str
    primary_care: bool
    score: Fraction | None
    mean_fen: int | None
    cells: Mapping[str, str]
    line: int

    @property
    def listed(self) -> frozenset[str]:
        """All procedure keys of the row."""
        parts = [self.main or frozenset()]
        parts += [term for dnf in (self.related, self.anywhere) for alt in dnf for term in alt]
        return frozenset[str]().union(*parts)


@dataclass(frozen=True, slots=True)
class Exclusion:
    """A code that is no principal diagnosis, or no main procedure."""

    handling: str
    diagnoses: frozenset[str]


@dataclass(frozen=True, slots=True)
class Subtype:
    """A coefficient of an auxiliary type for one group."""

    type: str
    coefficient: Fraction
    mean_fen: int | None


@dataclass(frozen=True, slots=True)
class DipTables:
    """Everything that a catalogue folder says, read and checked."""

    settings: DipSettings
    profile: Profile
    groups: tuple[DipGroup, ...]
    conditions: Mapping[str, tuple[tuple[str, frozenset[str]], ...]]  # name -> (side, keys)
    excluded: frozenset[str]  # principal diagnoses
    not_main: Mapping[str, Exclusion]
    classes: Mapping[str, str]  # procedure, or prefix with *, -> class
    subtypes: Mapping[str, tuple[Subtype, ...]] = field(repr=False)  # group code or * -> rows
    primary_care: tuple[tuple[frozenset[str], frozenset[str]], ...]
    code_list: CodeList | None
    fingerprint: str


def read_dip(folder: Path, *, drafting: bool = False) -> DipTables:
    """Read a catalogue folder; `drafting` allows one without groups.

    Raises
    ------
    TableError : a table is refused; says file and row.
    """
    settings = read_settings(folder / FILE, DipSettings)
    profile = _profile(folder, settings)
    codes = load_codes(settings.code_list, beside=folder) if settings.code_list else None
    _check_settings(settings, profile)
    conditions = _conditions(folder)
    groups = _groups(folder, settings, profile, conditions)
    if not groups and not drafting:
        raise TableError("the catalogue is empty", file="groups.csv")
    classes = _classes(folder, settings, codes)
    excluded, not_main = _exclusions(folder)
    primary = _primary_care(folder)
    subtypes = _subtypes(folder, settings, groups)
    return DipTables(
        settings=settings,
        profile=profile,
        groups=tuple(_mark_primary(groups, primary)),
        conditions=conditions,
        excluded=excluded,
        not_main=not_main,
        classes=classes,
        subtypes=subtypes,
        primary_care=primary,
        code_list=codes,
        fingerprint=_fingerprint(folder, settings, profile, codes),
    )


# ----------------------------------------------------------------------------------------- settings


def _profile(folder: Path, settings: DipSettings) -> Profile:
    own = folder / settings.profile
    path = own if own.suffix == ".toml" else PROFILES / f"{settings.profile}.toml"
    if not path.is_file():
        known = sorted(p.stem for p in PROFILES.glob("*.toml"))
        raise SchemeNotFound(settings.profile, known, kind="matching profile")
    return read_settings(path, Profile)


def profile_ids() -> list[str]:
    """List the matching profiles that ship with the package."""
    return sorted(p.stem for p in PROFILES.glob("*.toml"))


def _check_settings(s: DipSettings, p: Profile) -> None:
    """Refuse treatments, classes and auxiliary types that contradict each other."""
    faults = []
    names = [t.id for t in s.treatment]
    if not names or names[0] != CONSERVATIVE or s.treatment[0].classes:
        faults.append("treatment: the first must be conservative, without classes")
    if len(set(names)) < len(names) or len(names) > MOST_CONDITIONS:
        faults.append("treatment: an id stands twice, or there are more than 62")
    if s.unclassed not in names:
        faults.append(f"unclassed {s.unclassed!r} is no treatment: {', '.join(names)}")
    if p.unmatched_surgery and p.unmatched_surgery not in names:
        faults.append(f"profile {p.id}: unmatched_surgery {p.unmatched_surgery!r} is no treatment")
    staged = [c for stage in p.stage for c in stage.classes]
    if wrong := [c for c in staged if c not in CLASSES or staged.count(c) > 1]:
        faults.append(f"profile {p.id}: class {wrong[0]!r} is unknown or stands twice in stages")
    types = [t.id for t in s.auxiliary]
    if len(set(types)) < len(types):
        faults.append("auxiliary: an id stands twice")
    if faults:
        raise TableError("; ".join(faults), file=FILE)
    for t in s.auxiliary:
        for key in (*t.principal, *t.other_diagnoses):
            check_diagnosis_key(normal(key), FILE, 0)


# ------------------------------------------------------------------------------------------- groups


def _groups(
    folder: Path,
    s: DipSettings,
    profile: Profile,
    conditions: Mapping[str, object],
) -> list[DipGroup]:
    file = "groups.csv"
    staged = {c for stage in profile.stage for c in stage.classes}
    treatments = {t.id for t in s.treatment}
    found: dict[str, DipGroup] = {}
    for line, cells in read_table(folder / file, REQUIRED, OPTIONAL):
        row = dict(zip((*REQUIRED, *OPTIONAL), cells, strict=True))
        group = read_group(row, s, file, line)
        if not group.code or group.code in found:
            raise TableError(f"code {group.code!r} is empty or stands twice", file=file, row=line)
        if group.kind not in staged:
            message = (
                f"class {group.kind!r} is in no stage of profile {profile.id}: {sorted(staged)}"
            )
            raise TableError(message, file=file, row=line)
        if unknown := [c for c in (*group.requires, *group.forbids) if c not in conditions]:
            message = f"condition {unknown[0]!r} has no row in conditions.csv"
            raise TableError(message, file=file, row=line)
        named = (*group.for_treatment, *([group.treatment] if group.treatment else []))
        if unknown := [t for t in named if t not in treatments]:
            message = f"treatment {unknown[0]!r} is none of {', '.join(sorted(treatments))}"
            raise TableError(message, file=file, row=line)
        found[group.code] = group
    return list(found.values())


def read_group(row: Mapping[str, str], s: DipSettings, file: str, line: int) -> DipGroup:
    """Turn the cells of one row into a group.

    Raises
    ------
    TableError : a cell that is not in the notation.
    """
    principal = diagnosis_cell(row["principal"], file, line)
    if not principal:
        raise TableError("principal is blank; write * for any", file=file, row=line)
    main: frozenset[str] | None = None
    if row["main"].strip() != ANY:
        main = procedure_cell(row["main"], file, line)
    ranges = [fact_range(f, row[c], file, line) for c, f in FACT_COLUMNS.items() if row[c]]
    score = decimal(row["score"], file, line)
    if score is not None and (score < 0 or score * 10**s.score_decimals >= 2**62):
        raise TableError(f"score {row['score']} is out of range", file=file, row=line)
    if score is not None and (score * 10**s.score_decimals).denominator != 1:
        message = f"score {row['score']} has more than score_decimals = {s.score_decimals} decimals"
        raise TableError(message, file=file, row=line)
    return DipGroup(
        code=row["code"],
        name=row["name"],
        kind=row["class"],
        principal=principal,
        main=main,
        related=expression(row["related"], file, line),
        anywhere=expression(row["any_procedures"], file, line),
        other=diagnosis_cell(row["other_diagnoses"], file, line),
        first_other=_flag(row["first_other"], file, line),
        any_diagnosis=diagnosis_cell(row["any_diagnoses"], file, line),
        ranges=tuple(ranges),
        requires=_names(row["requires"]),
        forbids=_names(row["forbids"]),
        for_treatment=tuple(x.strip() for x in row["for_treatment"].split("|") if x.strip()),
        treatment=row["treatment"],
        primary_care=_flag(row["primary_care"], file, line),
        score=score,
        mean_fen=fen(row["mean_cost"], file, line),
        cells=row,
        line=line,
    )


def diagnosis_cell(cell: str, file: str, line: int) -> frozenset[str]:
    """Read keys split by `|`."""
    keys = split(cell)
    for key in keys:
        check_diagnosis_key(key, file, line)
    return frozenset(keys)


def procedure_cell(cell: str, file: str, line: int) -> frozenset[str]:
    """Read procedure keys split by `|`."""
    keys = split(cell)
    for key in keys:
        check_procedure_key(key, file, line)
    return frozenset(keys)


def expression(cell: str, file: str, line: int) -> Alternatives:
    """Read procedures split by `|`, joined by `+`; single ones become one term."""
    single: list[str] = []
    joined: dict[tuple[str, ...], None] = {}
    for part in cell.split("|"):
        keys = tuple(sorted(split(part, "+")))
        for key in keys:
            check_procedure_key(key, file, line)
        if len(keys) == 1:
            single.append(keys[0])
        elif keys:
            joined[keys] = None
    alternatives = [tuple(frozenset([k]) for k in keys) for keys in joined]
    if single:
        alternatives.append((frozenset(single),))
    return tuple(alternatives)


_RANGE = re.compile(r"(?:(<=|>=|<|>)\s*(\d{1,9})|(\d{1,9})\s*-\s*(\d{1,9})|(\d{1,9}))")


def fact_range(fact: Fact, cell: str, file: str, line: int) -> Range:
    """Read `<29`, `>=3`, `0-999` or `29` as the least and greatest value allowed."""
    found = _RANGE.fullmatch(cell.strip())
    if not found:
        message = f"{cell!r} is no range: <29, <=28, >28, >=29, 29 or 0-999"
        raise TableError(message, file=file, row=line)
    sign, limit, low, high, only = found.groups()
    if sign:
        n = int(limit)
        ends = {"<": (LOWEST, n - 1), "<=": (LOWEST, n), ">": (n + 1, HIGHEST), ">=": (n, HIGHEST)}
        return (fact, *ends[sign])
    return (fact, int(low or only), int(high or only))


def _flag(cell: str, file: str, line: int) -> bool:
    if cell not in ("", "0", "1"):
        raise TableError(f"{cell!r} is no flag: 1, 0 or blank", file=file, row=line)
    return cell == "1"


def _names(cell: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(x.strip() for x in cell.split("+") if x.strip()))


def fen(cell: str, file: str, line: int) -> int | None:
    """Read yuan as whole fen."""
    yuan = decimal(cell, file, line)
    if yuan is None:
        return None
    if (yuan * 100).denominator != 1 or not 0 <= yuan * 100 < 2**53:
        raise TableError(f"{cell} yuan is no amount in whole fen", file=file, row=line)
    return int(yuan * 100)


# ------------------------------------------------------------------------------------- other tables


def _rows(
    path: Path, columns: Sequence[str], optional: Sequence[str] = ()
) -> Iterable[tuple[int, list[str]]]:
    """Read a table that may be absent."""
    return list(read_table(path, columns, optional)) if path.exists() else []


def _conditions(folder: Path) -> dict[str, tuple[tuple[str, frozenset[str]], ...]]:
    file = "conditions.csv"
    found: dict[str, dict[str, set[str]]] = {}
    for line, (name, side, key) in _rows(folder / file, ("condition", "side", "key")):
        if not name or side not in DIP_SIDES:
            message = f"condition {name!r} on side {side!r}: one of {', '.join(DIP_SIDES)}"
            raise TableError(message, file=file, row=line)
        read = procedure_cell if side in ("main", "procedure") else diagnosis_cell
        keys = read(key, file, line)
        if not keys:
            raise TableError(f"condition {name!r} has a blank key", file=file, row=line)
        found.setdefault(name, {}).setdefault(side, set()).update(keys)
    if len(found) > MOST_CONDITIONS:
        raise TableError(f"{len(found)} conditions; at most {MOST_CONDITIONS}", file=file)
    return {
        n: tuple((side, frozenset(sides[side])) for side in DIP_SIDES if side in sides)
        for n, sides in found.items()
    }


def _exclusions(folder: Path) -> tuple[frozenset[str], dict[str, Exclusion]]:
    file = "exclusions.csv"
    diagnoses: set[str] = set()
    procedures: dict[str, Exclusion] = {}
    columns = ("side", "code", "handling")
    for line, (side, text, handling, keys) in _rows(folder / file, columns, ("diagnoses",)):
        code = normal(text)
        if handling not in HANDLINGS.get(side, ()):
            message = f"side {side!r}, handling {handling!r}: known are {HANDLINGS}"
            raise TableError(message, file=file, row=line)
        if not code or ((handling == "main_only_with") != bool(keys)):
            message = "a blank code, or diagnoses missing (main_only_with) or given (others)"
            raise TableError(message, file=file, row=line)
        if side == "diagnosis":
            diagnoses.add(code)
            continue
        entry = Exclusion(handling, diagnosis_cell(keys, file, line))
        if procedures.setdefault(code, entry) != entry:
            raise TableError(f"{text} stands twice with two handlings", file=file, row=line)
    return frozenset(diagnoses), procedures


def _classes(folder: Path, s: DipSettings, codes: CodeList | None) -> Mapping[str, str]:
    """Read the class of each procedure: the catalogue's own table, or that of its code list."""
    file = "procedure_class.csv"
    if not (folder / file).exists():
        listed = codes.procedure_class if codes else {}
        return {normal(c): k for c, k in listed.items()}
    known = {c for t in s.treatment for c in t.classes}
    found: dict[str, str] = {}
    for line, (text, kind) in read_table(folder / file, ("code", "class")):
        code = normal(text)
        if not code or found.setdefault(code, kind) != kind:
            raise TableError(f"{text!r} is blank or has two classes", file=file, row=line)
        if kind not in known:
            message = f"class {kind!r} belongs to no treatment of scheme.toml: {sorted(known)}"
            raise TableError(message, file=file, row=line)
    return found


def _subtypes(
    folder: Path, s: DipSettings, groups: Iterable[DipGroup]
) -> dict[str, tuple[Subtype, ...]]:
    file = "auxiliary.csv"
    types, codes = {t.id for t in s.auxiliary}, {g.code for g in groups}
    found: dict[str, dict[str, Subtype]] = {}
    columns = ("type", "group", "coefficient")
    for line, (kind, group, text, mean) in _rows(folder / file, columns, ("mean_cost",)):
        if kind not in types or (group != ANY and group not in codes):
            message = f"type {kind!r} is not in scheme.toml, or group {group!r} not in groups.csv"
            raise TableError(message, file=file, row=line)
        coefficient = decimal(text, file, line)
        if coefficient is None or not 0 < coefficient <= 1000 or (coefficient * 10**6) % 1:
            message = f"coefficient {text!r} is not above 0 with at most six decimals"
            raise TableError(message, file=file, row=line)
        rows = found.setdefault(group, {})
        if kind in rows:
            raise TableError(f"{kind} for {group} stands twice", file=file, row=line)
        rows[kind] = Subtype(kind, coefficient, fen(mean, file, line))
    return {g: tuple(rows.values()) for g, rows in found.items()}


def _primary_care(folder: Path) -> tuple[tuple[frozenset[str], frozenset[str]], ...]:
    file = "primary_care.csv"
    return tuple(
        (diagnosis_cell(principal, file, line), procedure_cell(main, file, line))
        for line, (principal, main) in _rows(folder / file, ("principal", "main"))
    )


def _mark_primary(
    groups: Iterable[DipGroup], listed: Sequence[tuple[frozenset[str], frozenset[str]]]
) -> Iterable[DipGroup]:
    """Mark the groups that have the same keys as a row of the primary-care list and no more."""
    keys = set(listed)
    for g in groups:
        plain = not (g.related or g.anywhere or g.other or g.any_diagnosis)
        same = plain and g.main is not None and (g.principal, g.main) in keys
        yield replace(g, primary_care=True) if same and not g.primary_care else g


def _fingerprint(folder: Path, s: DipSettings, profile: Profile, codes: CodeList | None) -> str:
    """Digest everything that can change a group or a score, and the names that stand in results."""
    h = hashlib.sha256()

    def add(title: str, text: str) -> None:
        h.update(f"{title}\x1e{text}\x1d".encode())

    about = {"title", "edition", "published", "reading", "known_faults", "sources", "code_editions"}
    add("scheme", s.model_dump_json(exclude=about))
    add("dates", f"{iso(s.valid_from)} {iso(s.valid_to)}")
    add("profile", profile.model_dump_json(exclude={"title", "source", "standing", "assumed"}))
    columns: dict[str, tuple[Sequence[str], Sequence[str]]] = {
        "groups": (REQUIRED, OPTIONAL[:-6]),
        "conditions": (("condition", "side", "key"), ()),
        "exclusions": (("side", "code", "handling"), ("diagnoses",)),
        "procedure_class": (("code", "class"), ()),
        "auxiliary": (("type", "group", "coefficient"), ("mean_cost",)),
        "primary_care": (("principal", "main"), ()),
    }
    for name, (needed, optional) in columns.items():
        rows = (cells for _, cells in _rows(folder / f"{name}.csv", needed, optional))
        add(name, "\x1e".join("\x1f".join(cells) for cells in rows))
    if codes:
        add("codes", "\x1e".join((*sorted(codes.diagnoses), *sorted(codes.procedures))))
        pairs = (codes.diagnosis_map, codes.procedure_map)
        add("maps", "\x1e".join(f"{k}\x1f{p[k]}" for p in pairs for k in sorted(p)))
        add("grey", "\x1e".join(sorted(codes.grey_diagnoses | codes.grey_procedures)))
        if not (folder / "procedure_class.csv").exists():
            classes = codes.procedure_class
            add("classes", "\x1e".join(f"{c}\x1f{classes[c]}" for c in sorted(classes)))
    return h.hexdigest()


COMPARATORS = {c.name.lower(): c for c in Comparator}
"""Comparator by its name in a profile."""
