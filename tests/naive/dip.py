"""The naive DIP grouper: one catalogue in, one case at a time, nothing clever.

It reads the tables of one catalogue folder and does what docs/dip-catalogue.md says, in its
order: the case as matching sees it, the groups that hold, the one that wins, auxiliary types.
"""

import csv
import tomllib
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

SHIPPED = Path(__file__).resolve().parents[2] / "tables"
ZERO_WIDTH = dict.fromkeys(map(ord, "\u200b\u200c\u200d\u2060\ufeff"))
NUMBERS = ("age", "age_days", "weight", "los")
TREATMENTS = [
    {"id": "conservative", "classes": []},
    {"id": "diagnostic", "classes": ["诊断性操作"]},
    {"id": "therapeutic", "classes": ["治疗性操作"]},
    {"id": "surgery", "classes": ["手术", "介入治疗"]},
]


@dataclass(frozen=True)
class NaiveDip:
    status: str  # grouped, ungrouped, rejected
    reason: str = ""  # why ungrouped or rejected
    group: str = ""
    group_name: str = ""
    group_class: str = ""
    matched_terms: int | None = None
    decided_by: str = ""  # blank where only one group held
    aux_type: str = ""
    aux_factor: Decimal | None = None
    aux_mean_fen: int | None = None
    row: int = 0  # line of groups.csv, the header being line 1
    warnings: tuple[str, ...] = ()


# ------------------------------------------------------------------------------- keys


def normal(code: str | None) -> str:
    """Return the normal form of a code or of a cell of codes: NFKC, no blanks, upper case."""
    text = unicodedata.normalize("NFKC", code or "").translate(ZERO_WIDTH)
    return "".join(text.split()).upper()


def short(key: str) -> bool:
    return len(key.replace(".", "")) < 6


def key_matches(key: str, code: str) -> bool:
    """Whether a key of a diagnosis matches this code; both in normal form."""
    if key.startswith("="):
        return code == key[1:]
    if key.endswith("+"):
        before, plus, _ = code.partition("+")
        return bool(plus) and key_matches(key[:-1], before)
    if key == "*":
        return True
    low, dash, high = key.partition("-")
    if dash and len(low) == len(high) and short(low) and short(high):
        return len(code) >= len(low) and low <= code[: len(low)] <= high
    return code.startswith(key) if short(key) else code == key


def any_key_matches(keys: Iterable[str], codes: Iterable[str]) -> bool:
    codes = list(codes)
    return any(key_matches(key, code) for key in keys for code in codes)


def in_full(keys: Iterable[str], code: str) -> bool:
    return any(code == key or "=" + code == key for key in keys)


def in_range(text: str, value: int | None) -> bool:
    """Whether a number is as `<29`, `<=28`, `>28`, `>=29`, `29` or `0-999` says."""
    if value is None:
        return False
    if text.startswith("<="):
        return value <= int(text[2:])
    if text.startswith(">="):
        return value >= int(text[2:])
    if text.startswith("<"):
        return value < int(text[1:])
    if text.startswith(">"):
        return value > int(text[1:])
    low, _, high = text.partition("-")
    return int(low) <= value <= int(high or low)


# ----------------------------------------------------------------------------- tables


def clean(cell: str) -> str:
    text = unicodedata.normalize("NFKC", cell.replace("_x000D_", " "))
    return " ".join(text.translate(ZERO_WIDTH).split())


def read_rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Row number (the header is 1) and the row; nothing if there is no such file."""
    if not path.exists():
        return
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = csv.reader(file)
        header = [clean(cell) for cell in next(lines)]
        for number, line in enumerate(lines, start=2):
            if any(line):
                yield number, dict(zip(header, map(clean, line), strict=True))


def keys_of(cell: str | Sequence[str]) -> tuple[str, ...]:
    """Alternatives of a cell; in scheme.toml they may be a list as well."""
    parts = cell.split("|") if isinstance(cell, str) else cell
    return tuple(key for key in map(normal, parts) if key)


def terms_of(cell: str) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(alternative.split("+")) for alternative in keys_of(cell))


def names_of(cell: str | Sequence[str], joint: str = "+") -> tuple[str, ...]:
    parts = cell.split(joint) if isinstance(cell, str) else cell
    return tuple(name for name in (part.strip() for part in parts) if name)


def decimal_of(cell: str) -> Decimal | None:
    return Decimal(cell) if cell else None


def fen_of(cell: str) -> int | None:
    """Yuan to fen, exactly."""
    if not cell:
        return None
    fen = Decimal(cell) * 100
    if fen != int(fen):
        raise ValueError(f"{cell} yuan is no whole number of fen")
    return int(fen)


@dataclass(frozen=True)
class Group:
    row: int
    code: str
    name: str
    klass: str
    treatment: str
    principal: tuple[str, ...]
    main: tuple[str, ...]  # `*` if there is no requirement, empty if conservative
    related: tuple[tuple[str, ...], ...]
    any_procedures: tuple[tuple[str, ...], ...]
    other_diagnoses: tuple[str, ...]
    first_other: bool
    any_diagnoses: tuple[str, ...]
    numbers: Mapping[str, str]
    requires: tuple[str, ...]
    forbids: tuple[str, ...]
    for_treatment: tuple[str, ...]
    score: Decimal | None
    mean_fen: int | None

    @staticmethod
    def of(row: int, cells: Mapping[str, str]) -> "Group":
        def cell(column: str) -> str:
            return cells.get(column, "")

        group = Group(
            row=row,
            code=cells["code"],
            name=cells["name"],
            klass=cells["class"],
            treatment=cell("treatment"),
            principal=keys_of(cells["principal"]),
            main=keys_of(cells["main"]),
            related=terms_of(cell("related")),
            any_procedures=terms_of(cell("any_procedures")),
            other_diagnoses=keys_of(cell("other_diagnoses")),
            first_other=cell("first_other") == "1",
            any_diagnoses=keys_of(cell("any_diagnoses")),
            numbers={fact: cell(fact) for fact in NUMBERS if cell(fact)},
            requires=names_of(cell("requires")),
            forbids=names_of(cell("forbids")),
            for_treatment=names_of(cell("for_treatment"), "|"),
            score=decimal_of(cell("score")),
            mean_fen=fen_of(cell("mean_cost")),
        )
        if not group.principal:
            raise ValueError(f"groups.csv, row {row}: no principal")
        return group

    @property
    def lists_main(self) -> bool:
        return self.main not in ((), ("*",))

    @property
    def procedure_keys(self) -> tuple[str, ...]:
        terms = [
            key for alternative in (*self.related, *self.any_procedures) for key in alternative
        ]
        return (*(self.main if self.lists_main else ()), *terms)


@dataclass(frozen=True)
class Profile:
    main_position: str
    empty_main: str
    not_main: str
    mixed_class_by: str
    unmatched_surgery: str
    prefix_length: int
    class_rank: tuple[str, ...]
    stages: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]  # classes, comparators

    @staticmethod
    def load(path: Path) -> "Profile":
        values = tomllib.loads(path.read_text(encoding="utf-8"))

        def one_of(name: str, *allowed: str) -> str:
            value = values.get(name, allowed[0])
            if value not in allowed:
                raise ValueError(f"{path}: {name} is {value!r}, not one of {allowed}")
            return str(value)

        return Profile(
            main_position=one_of("main_position", "first", "any"),
            empty_main=one_of("empty_main", "conservative_only", "any_case"),
            not_main=one_of("not_main", "conservative", "promote_next"),
            mixed_class_by=one_of("mixed_class_by", "main_procedure", "highest_of_all"),
            unmatched_surgery=values.get("unmatched_surgery", ""),
            prefix_length=values.get("procedure_prefix_length", 0),
            class_rank=tuple(values.get("class_rank", ())),
            stages=tuple(
                (tuple(stage["classes"]), tuple(stage["comparators"])) for stage in values["stage"]
            ),
        )


@dataclass(frozen=True)
class Exclusions:
    diagnoses: frozenset[str]
    procedures: Mapping[str, tuple[str, tuple[str, ...]]]  # code: handling, keys of principals

    @staticmethod
    def load(path: Path) -> "Exclusions":
        diagnoses, procedures = set(), {}
        for number, row in read_rows(path):
            code, handling = normal(row["code"]), row["handling"]
            if row["side"] == "diagnosis" and handling == "excluded":
                diagnoses.add(code)
            elif row["side"] == "procedure" and handling in (
                *("conservative", "not_main", "main_only_with"),
            ):
                procedures[code] = (handling, keys_of(row.get("diagnoses", "")))
            else:
                raise ValueError(f"{path}, row {number}: {row['side']} {handling}")
        return Exclusions(frozenset(diagnoses), procedures)

    def handling(self, procedure: str, principal: str) -> str:
        """How this procedure is handled beside this principal; blank: it may be a main one."""
        handling, keys = self.procedures.get(procedure, ("", ()))
        if handling != "main_only_with":
            return handling
        return "" if any_key_matches(keys, [principal]) else "not_main"

    def diagnosis_keys(self) -> list[str]:
        keys = ["=" + code for code in self.diagnoses]
        return keys + [key for _, listed in self.procedures.values() for key in listed]


@dataclass(frozen=True)
class Codes:
    """The list of valid codes, and the grey ones; all empty when there is no list."""

    diagnoses: frozenset[str] = frozenset()
    procedures: frozenset[str] = frozenset()
    grey_diagnoses: frozenset[str] = frozenset()
    grey_procedures: frozenset[str] = frozenset()

    @staticmethod
    def load(folder: Path | None) -> "Codes":
        if folder is None:
            return Codes()
        names = ("diagnoses", "procedures", "grey_diagnoses", "grey_procedures")
        tables = [read_rows(folder / f"{name}.csv") for name in names]
        return Codes(*(frozenset(normal(row["code"]) for _, row in table) for table in tables))


@dataclass(frozen=True)
class Treatments:
    """Treatments by rank, and the class of each procedure."""

    ranks: tuple[str, ...]  # lowest first; the first is conservative
    of_class: Mapping[str, str]
    class_of: Mapping[str, str]  # code, or the start of a code and `*`: class
    unclassed: str

    @staticmethod
    def load(options: Mapping[str, Any], table: Path | None) -> "Treatments":
        listed = options.get("treatment", TREATMENTS)
        rows = list(read_rows(table)) if table else []
        treatments = Treatments(
            ranks=tuple(one["id"] for one in listed),
            of_class={klass: one["id"] for one in listed for klass in one.get("classes", [])},
            class_of={normal(row["code"]): row["class"] for _, row in rows},
            unclassed=options.get("unclassed", "therapeutic"),
        )
        if treatments.ranks[0] != "conservative":
            raise ValueError("scheme.toml: the first treatment is not conservative")
        for klass in treatments.class_of.values():
            if klass not in treatments.of_class:
                raise ValueError(f"{table}: no treatment has the class {klass}")
        return treatments

    def find(self, procedure: str) -> str:
        """Return the treatment that a procedure's class stands for; blank if it has no class."""
        if procedure in self.class_of:
            return self.of_class[self.class_of[procedure]]
        for length in range(len(procedure), -1, -1):
            prefix = procedure[:length] + "*"
            if prefix in self.class_of:
                return self.of_class[self.class_of[prefix]]
        return ""

    def of(self, procedure: str) -> str:
        return self.find(procedure) or self.unclassed


@dataclass(frozen=True)
class AuxiliaryType:
    id: str
    numbers: Mapping[str, str]
    discharge_mode: tuple[str, ...]
    principal: tuple[str, ...]
    other_diagnoses: tuple[str, ...]
    requires: tuple[str, ...]

    @staticmethod
    def of(values: Mapping[str, Any]) -> "AuxiliaryType":
        return AuxiliaryType(
            id=values["id"],
            numbers={fact: values[fact] for fact in (*NUMBERS, "icu_hours") if values.get(fact)},
            discharge_mode=tuple(values.get("discharge_mode", ())),
            principal=keys_of(values.get("principal", "")),
            other_diagnoses=keys_of(values.get("other_diagnoses", "")),
            requires=names_of(values.get("requires", "")),
        )


# --------------------------------------------------------------------------- grouping


@dataclass(frozen=True)
class Facts:
    """A case as matching sees it."""

    principal: str
    others: tuple[str, ...]  # in order, without repeats and without the principal
    procedures: tuple[str, ...]  # in order, without repeats
    main: str  # blank if there is none
    possible_mains: tuple[str, ...]
    treatment: str
    numbers: Mapping[str, int | None]
    discharge_mode: str | None
    cost_fen: int | None
    conditions: frozenset[str] = frozenset()  # those that hold


@dataclass(frozen=True)
class NaiveCatalogue:
    groups: tuple[Group, ...]
    profile: Profile
    exclusions: Exclusions
    conditions: tuple[tuple[str, str, tuple[str, ...]], ...]  # name, side, keys
    treatments: Treatments
    types: tuple[AuxiliaryType, ...]
    auxiliary: Mapping[tuple[str, str], tuple[Decimal, int | None]]  # type, group: factor, mean
    weight: str  # the column of the newborn's weight
    codes: Codes
    accepts_any_code: bool

    def group(self, case: dict[str, Any], repeated: frozenset[str] = frozenset()) -> NaiveDip:
        """Group one case; `repeated` has the ids that occur more than once in the input."""
        diagnoses = [normal(code) for code in case["diagnoses"] or []]
        procedures = [code for code in map(normal, case["procedures"] or []) if code]
        reason = self.rejection(case, diagnoses, repeated)
        if reason:
            return NaiveDip("rejected", reason)
        facts = self.facts(case, diagnoses, procedures)
        warnings = self.warnings(case, diagnoses, facts)
        if facts.principal in self.exclusions.diagnoses:
            return NaiveDip("ungrouped", "excluded_principal", warnings=warnings)
        for classes, comparators in self.profile.stages:
            holding = [g for g in self.groups if g.klass in classes and self.holds(g, facts)]
            if holding:
                winner, decided_by = self.best(holding, comparators, facts)
                return self.answer(winner, decided_by, facts, warnings)
        return NaiveDip("ungrouped", "no_group", warnings=warnings)

    def rejection(
        self, case: dict[str, Any], diagnoses: list[str], repeated: frozenset[str]
    ) -> str:
        """Why the case cannot be grouped at all; blank if it can."""
        if not case["case_id"]:
            return "input_unreadable"
        if case["case_id"] in repeated:
            return "duplicate_case_id"
        if not diagnoses or not diagnoses[0]:
            return "no_principal_diagnosis"
        if case["sex"] not in (0, 1, 2, 9):
            return "sex_unreadable"
        if case["age"] is None or not 0 <= case["age"] <= 150:
            return "age_unreadable"
        if case["age"] == 0 and (case["age_days"] is None or case["age_days"] < 0):
            return "age_days_missing"
        if not self.accepts_any_code and not self.knows_diagnosis(diagnoses[0]):
            return "unknown_principal"
        return ""

    def knows_diagnosis(self, code: str) -> bool:
        keys = self.exclusions.diagnosis_keys()
        for group in self.groups:
            keys += [*group.principal, *group.other_diagnoses, *group.any_diagnoses]
        for _, side, condition in self.conditions:
            keys += condition if side in ("principal", "other", "diagnosis") else ()
        for one in self.types:
            keys += [*one.principal, *one.other_diagnoses]
        telling = [key for key in keys if key != "*"]
        return code in self.codes.diagnoses or any_key_matches(telling, [code])

    def knows_procedure(self, code: str) -> bool:
        keys = [key for group in self.groups for key in group.procedure_keys]
        for _, side, condition in self.conditions:
            keys += condition if side in ("main", "procedure") else ()
        listed = code in self.codes.procedures or code in self.exclusions.procedures
        return listed or bool(self.treatments.find(code)) or self.meets_any(keys, [code])

    def warnings(self, case: dict[str, Any], diagnoses: list[str], facts: Facts) -> tuple[str, ...]:
        principal, others = diagnoses[0], [code for code in diagnoses[1:] if code]
        procedures = facts.procedures
        known = [c for c in others if self.accepts_any_code or self.knows_diagnosis(c)]
        weight = case[self.weight]
        newborn = case["age"] == 0 and case["age_days"] < 29
        found = {
            "sex_missing": case["sex"] in (0, 9),
            "unknown_secondary": not self.accepts_any_code and len(known) < len(others),
            "unknown_procedure": not self.accepts_any_code
            and not all(self.knows_procedure(code) for code in procedures),
            "grey_principal": principal in self.codes.grey_diagnoses,
            "grey_secondary": not self.codes.grey_diagnoses.isdisjoint(others),
            "grey_procedure": not self.codes.grey_procedures.isdisjoint(procedures),
            "duplicate_secondary": len(set(known)) < len(known),
            "principal_as_secondary": principal in known,
            "newborn_weight": newborn and weight is not None and not 200 <= weight <= 20000,
            "main_excluded": procedures != () and facts.main != procedures[0],
            "unclassed_procedure": not all(self.treatments.find(code) for code in procedures),
        }
        return tuple(name for name, yes in found.items() if yes)

    # ------------------------------------------------- the case as matching sees it

    def facts(self, case: dict[str, Any], diagnoses: list[str], procedures: list[str]) -> Facts:
        principal = diagnoses[0]
        others = dict.fromkeys(code for code in diagnoses[1:] if code and code != principal)
        each = tuple(dict.fromkeys(procedures))
        main = self.main_procedure(principal, each)
        facts = Facts(
            principal=principal,
            others=tuple(others),
            procedures=each,
            main=main,
            possible_mains=tuple(p for p in each if not self.exclusions.handling(p, principal)),
            treatment=self.treatment(main, each),
            numbers={
                "age": case["age"],
                "age_days": case["age_days"] if case["age"] == 0 else None,
                "weight": case[self.weight],
                "los": case["los"],
                "icu_hours": case["icu_hours"],
            },
            discharge_mode=case["discharge_mode"],
            cost_fen=case["total_cost_fen"],
        )
        holding = (name for name, side, keys in self.conditions if self.is_met(side, keys, facts))
        return replace(facts, conditions=frozenset(holding))

    def main_procedure(self, principal: str, procedures: Sequence[str]) -> str:
        for procedure in procedures:
            handling = self.exclusions.handling(procedure, principal)
            if not handling:
                return procedure
            if handling == "conservative" or self.profile.not_main == "conservative":
                return ""
        return ""

    def treatment(self, main: str, procedures: Sequence[str]) -> str:
        if not main:
            return "conservative"
        if self.profile.mixed_class_by == "main_procedure":
            return self.treatments.of(main)
        return max(map(self.treatments.of, procedures), key=self.treatments.ranks.index)

    def is_met(self, side: str, keys: tuple[str, ...], facts: Facts) -> bool:
        """Whether one row of a named condition holds."""
        if side == "principal":
            return any_key_matches(keys, [facts.principal])
        if side == "other":
            return any_key_matches(keys, facts.others)
        if side == "diagnosis":
            return any_key_matches(keys, [facts.principal, *facts.others])
        if side == "main":
            return facts.main != "" and self.meets_any(keys, [facts.main])
        if side == "procedure":
            return self.meets_any(keys, facts.procedures)
        raise ValueError(f"conditions.csv: side {side}")

    # ------------------------------------------------------------- which groups hold

    def meets(self, key: str, procedure: str) -> bool:
        as_prefix = len(key) == self.profile.prefix_length
        return procedure.startswith(key) if as_prefix else procedure == key

    def meets_any(self, keys: Iterable[str], procedures: Iterable[str]) -> bool:
        procedures = list(procedures)
        return any(self.meets(key, code) for key in keys for code in procedures)

    def met(
        self, alternatives: Iterable[tuple[str, ...]], procedures: Sequence[str]
    ) -> list[tuple[str, ...]]:
        """Return the alternatives all of whose codes are among these procedures."""
        return [
            alternative
            for alternative in alternatives
            if all(self.meets_any([key], procedures) for key in alternative)
        ]

    def left_for_related(self, group: Group, facts: Facts) -> list[list[str]]:
        """For each way to meet the group's `main`, the procedures that stay for related ones."""
        everywhere = self.profile.main_position == "any"
        if group.lists_main:
            mains = facts.possible_mains if everywhere else [facts.main] * (facts.main != "")
            choices = [main for main in mains if self.meets_any(group.main, [main])]
        elif group.main or self.profile.empty_main == "any_case" or not facts.main:
            choices = ["" if everywhere else facts.main]
        else:
            choices = []
        return [[p for p in facts.procedures if p != main] for main in choices]

    def holds(self, group: Group, facts: Facts) -> bool:
        ways = self.left_for_related(group, facts)
        diagnoses = [facts.principal, *facts.others]
        return (
            any_key_matches(group.principal, [facts.principal])
            and any(not group.related or self.met(group.related, way) != [] for way in ways)
            and (not group.any_procedures or self.met(group.any_procedures, facts.procedures) != [])
            and (not group.other_diagnoses or any_key_matches(group.other_diagnoses, facts.others))
            and (not group.first_other or self.has_first_other(group, facts))
            and (not group.any_diagnoses or any_key_matches(group.any_diagnoses, diagnoses))
            and all(in_range(text, facts.numbers[fact]) for fact, text in group.numbers.items())
            and facts.conditions.issuperset(group.requires)
            and facts.conditions.isdisjoint(group.forbids)
            and (not group.for_treatment or facts.treatment in group.for_treatment)
        )

    def has_first_other(self, group: Group, facts: Facts) -> bool:
        lists = [
            one.other_diagnoses
            for one in self.groups
            if one.first_other and any_key_matches(one.principal, [facts.principal])
        ]
        for other in facts.others:
            if any(any_key_matches(keys, [other]) for keys in lists):
                return any_key_matches(group.other_diagnoses, [other])
        return False

    # -------------------------------------------------------- which of them wins

    def best(
        self, holding: list[Group], comparators: Sequence[str], facts: Facts
    ) -> tuple[Group, str]:
        """Return the winner among the groups of one stage that hold, and what decided."""
        left = self.without_unmatched_surgery(holding, facts)
        decided_by = ""
        for comparator in (*comparators, "code_order"):
            if len(left) == 1:
                break
            values = [self.value(comparator, group, facts) for group in left]
            left = [g for g, value in zip(left, values, strict=True) if value == max(values)]
            decided_by = comparator
        return left[0], decided_by

    def without_unmatched_surgery(self, holding: list[Group], facts: Facts) -> list[Group]:
        wanted = self.profile.unmatched_surgery
        mixed = [g for g in holding if g.klass == "mixed" and g.treatment == wanted]
        if not wanted or facts.treatment != wanted or not mixed:
            return holding
        others = [g for g in holding if g.klass != "mixed"]
        matched = any(self.meets_any(g.procedure_keys, facts.procedures) for g in others)
        return holding if matched else mixed

    def value(self, comparator: str, group: Group, facts: Facts) -> Any:
        """How good a group is by one comparator; more is better."""
        keys, procedures = group.procedure_keys, facts.procedures
        if comparator == "more_required_terms":
            return self.required_terms(group, facts)
        if comparator == "more_matched_procedures":
            return sum(self.meets_any(keys, [code]) for code in procedures)
        if comparator == "exact_set":
            return all(self.meets_any(keys, [code]) for code in procedures)
        if comparator == "main_procedure_in_group":
            return facts.main != "" and self.meets_any(keys, [facts.main])
        if comparator == "highest_score":
            return (group.score is not None, group.score or Decimal(0))
        if comparator == "nearest_mean_cost":
            if facts.cost_fen is None:
                return (True, 0)
            if group.mean_fen is None:
                return (False, 0)
            return (True, -abs(group.mean_fen - facts.cost_fen))
        if comparator == "full_code_before_prefix":
            return in_full(group.principal, facts.principal) and all(
                key == code for key in keys for code in procedures if self.meets(key, code)
            )
        if comparator == "class_rank":
            rank, name = self.profile.class_rank, f"{group.klass} {group.treatment}"
            return -(rank.index(name) if name in rank else len(rank))
        if comparator == "code_order":
            return -group.row
        raise ValueError(f"profile: comparator {comparator}")

    def required_terms(self, group: Group, facts: Facts) -> int:
        ways = self.left_for_related(group, facts)
        related = [len(terms) for way in ways for terms in self.met(group.related, way)]
        anywhere = [len(terms) for terms in self.met(group.any_procedures, facts.procedures)]
        return (
            int(group.lists_main)
            + max(related, default=0)
            + max(anywhere, default=0)
            + int(group.other_diagnoses != ())
            + int(group.any_diagnoses != ())
            + len(group.requires)
        )

    def answer(
        self, group: Group, decided_by: str, facts: Facts, warnings: tuple[str, ...]
    ) -> NaiveDip:
        aux_type, aux_factor, aux_mean = "", None, None
        for one in self.types:
            own, every = (one.id, group.code), (one.id, "*")
            row = self.auxiliary.get(own, self.auxiliary.get(every))
            if row and self.is_of_type(one, facts) and (aux_factor is None or row[0] > aux_factor):
                aux_type, (aux_factor, aux_mean) = one.id, row
        if aux_factor is not None and aux_mean is None and group.mean_fen is not None:
            aux_mean = int((group.mean_fen * aux_factor).quantize(Decimal(1), ROUND_HALF_UP))
        return NaiveDip(
            status="grouped",
            group=group.code,
            group_name=group.name,
            group_class=group.klass,
            matched_terms=self.required_terms(group, facts),
            decided_by=decided_by,
            aux_type=aux_type,
            aux_factor=aux_factor,
            aux_mean_fen=aux_mean,
            row=group.row,
            warnings=warnings,
        )

    def is_of_type(self, one: AuxiliaryType, facts: Facts) -> bool:
        return (
            all(in_range(text, facts.numbers[fact]) for fact, text in one.numbers.items())
            and (not one.discharge_mode or facts.discharge_mode in one.discharge_mode)
            and (not one.principal or any_key_matches(one.principal, [facts.principal]))
            and (not one.other_diagnoses or any_key_matches(one.other_diagnoses, facts.others))
            and facts.conditions.issuperset(one.requires)
        )


def load_naive_dip(folder: Path, profiles: Path) -> NaiveCatalogue:
    """Read a catalogue folder; `profiles` has the profiles that are shipped."""
    options = tomllib.loads((folder / "scheme.toml").read_text(encoding="utf-8"))
    name = options["profile"]
    own = name == "profile.toml"
    profile = Profile.load(folder / name if own else profiles / f"{name}.toml")
    groups = tuple(Group.of(number, row) for number, row in read_rows(folder / "groups.csv"))
    if len({group.code for group in groups}) < len(groups):
        raise ValueError(f"{folder}: a code of groups.csv is there twice")
    for group in groups:
        if sum(group.klass in classes for classes, _ in profile.stages) != 1:
            raise ValueError(f"groups.csv, row {group.row}: {group.klass} is not in one stage")
    code_list = None
    if options.get("code_list"):
        places = (SHIPPED / options["code_list"], folder / options["code_list"])
        code_list = next(place for place in places if place.is_dir())
    tables = [folder, code_list] if code_list else [folder]
    classes = [t / "procedure_class.csv" for t in tables if (t / "procedure_class.csv").exists()]
    return NaiveCatalogue(
        groups=groups,
        profile=profile,
        exclusions=Exclusions.load(folder / "exclusions.csv"),
        conditions=tuple(
            (row["condition"], row["side"], keys_of(row["key"]))
            for _, row in read_rows(folder / "conditions.csv")
        ),
        treatments=Treatments.load(options, classes[0] if classes else None),
        types=tuple(AuxiliaryType.of(values) for values in options.get("auxiliary", [])),
        auxiliary={
            (row["type"], row["group"]): (
                Decimal(row["coefficient"]),
                fen_of(row.get("mean_cost", "")),
            )
            for _, row in read_rows(folder / "auxiliary.csv")
        },
        weight=options.get("newborn_weight", "birth") + "_weight",
        codes=Codes.load(code_list),
        accepts_any_code=code_list is None,
    )
