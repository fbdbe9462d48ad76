"""The naive DRG grouper: tables in, one case at a time, nothing clever.

It reads the six tables of one scheme folder and tries the rules in order, as
spec/drg.md says: MDCs by `sort`, in each its ADRGs and in each of those its DRGs in the
order of the rows; the first DRG whose three rules all hold is the answer.
"""

import csv
import tomllib
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from .rules import CODE_VARIABLES, Facts, Rule, parse

LEVELS = ("MCC", "CC")
DIAGNOSIS_VARIABLES = ("ZYZD", "QTZD")
NO_SETS: frozenset[str] = frozenset()
ZERO_WIDTH = dict.fromkeys(map(ord, "\u200b\u200c\u200d\u2060\ufeff"))


@dataclass(frozen=True)
class NaiveAnswer:
    status: str  # grouped, ambiguous, ungrouped, rejected
    reason: str = ""  # why ungrouped or rejected
    mdc: str = ""
    adrg: str = ""  # without #n
    group: str = ""
    severity: str = ""  # mcc, cc, none; blank if there is no group
    branch: str = ""  # the ADRG row's own code, with #n
    adrg_row: int = 0  # line of adrg.csv, the header being line 1
    drg_row: int = 0
    warnings: tuple[str, ...] = ()


# ---------------------------------------------------------------------------- tables


def clean(cell: str) -> str:
    """Cell text without the traces of Excel: line ends, odd blanks, full-width letters."""
    text = unicodedata.normalize("NFKC", cell.replace("_x000D_", " "))
    return " ".join(text.translate(ZERO_WIDTH).split())


def read_table(path: Path, *columns: str) -> Iterator[tuple[int, list[str]]]:
    """Row number (the header is 1) and the cells of these columns, found by header."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = csv.reader(file)
        header = [clean(cell) for cell in next(lines)]
        missing = [column for column in columns if column not in header]
        if missing:
            raise ValueError(f"{path}: no column {', '.join(missing)}")
        places = [header.index(column) for column in columns]
        for number, line in enumerate(lines, start=2):
            if any(line):
                yield number, [clean(line[place]) for place in places]


def find_table(folder: Path, name: str) -> Path:
    """The table in the folder, or in the folder it inherits from."""
    path = folder / name
    parent = read_options(folder).get("inherits")
    return path if path.exists() or parent is None else find_table(folder.parent / parent, name)


def read_options(folder: Path) -> dict[str, Any]:
    return tomllib.loads((folder / "scheme.toml").read_text(encoding="utf-8"))


def read_pairs(path: Path, key: str, value: str) -> dict[str, frozenset[str]]:
    """A table of two columns as {key: its values}."""
    pairs = defaultdict(set)
    for _, (k, v) in read_table(path, key, value):
        pairs[k].add(v)
    return {k: frozenset(values) for k, values in pairs.items()}


def read_sets(folder: Path) -> dict[str, frozenset[str]]:
    """The set table; an inherited one with the rows of sets.add.csv added."""
    if (folder / "sets.csv").exists():
        return read_pairs(folder / "sets.csv", "set", "code")
    parent = read_options(folder).get("inherits")
    if parent is None:
        raise FileNotFoundError(folder / "sets.csv")
    sets = read_sets(folder.parent / parent)
    if (folder / "sets.add.csv").exists():
        for name, codes in read_pairs(folder / "sets.add.csv", "set", "code").items():
            sets[name] = sets.get(name, frozenset()) | codes
    return sets


def read_exclusions(folder: Path, never: Sequence[str]) -> dict[tuple[str, str], frozenset[str]]:
    """{(code, level): principal diagnoses beside which the code does not count}."""
    principals = read_pairs(find_table(folder, "exclusions.csv"), "exclusion", "principal")
    path = find_table(folder, "cc.csv")
    excluded: dict[tuple[str, str], frozenset[str]] = {}
    for number, (code, level, exclusion) in read_table(path, "code", "type", "exclusion"):
        if level not in LEVELS:
            raise ValueError(f"{path}, row {number}: type {level!r} is neither MCC nor CC")
        if exclusion and exclusion not in principals and exclusion not in never:
            raise ValueError(f"{path}, row {number}: exclusion {exclusion} has no rows")
        table = principals.get(exclusion, frozenset())
        if excluded.setdefault((code, level), table) != table:
            raise ValueError(f"{path}, row {number}: {code} {level} has two exclusion tables")
    return excluded


@dataclass(frozen=True)
class Row:
    """One MDC, ADRG or DRG, with the rows that belong to it, in the order they are tried."""

    number: int
    code: str
    rule: Rule
    children: tuple["Row", ...] = ()


class RuleReader:
    """Reads the three rule tables; notes which variable is looked up in which set."""

    def __init__(self, folder: Path, known_sets: set[str]) -> None:
        self.folder = folder
        self.known_sets = known_sets
        self.uses: set[tuple[str, str]] = set()

    def rows(
        self, table: str, order: str, parent: str, children: Mapping[str, list[Row]]
    ) -> dict[str, list[Row]]:
        """{code of the parent: its rows}; `order` is the column to sort by, or blank."""
        path = find_table(self.folder, table)
        columns = ["code", "rule", *filter(None, (order, parent))]
        found: dict[str, list[tuple[int, Row]]] = defaultdict(list)
        codes = set()
        for number, (code, text, *rest) in read_table(path, *columns):
            row = Row(number, code, self.rule(path, number, text), tuple(children.get(code, ())))
            place = int(rest[0]) if order else number
            found[rest[-1] if parent else ""].append((place, row))
            codes.add(code)
        for orphan in children.keys() - codes:
            raise ValueError(f"{path}: no row {orphan}, to which other rows belong")
        return {
            above: [row for _, row in sorted(rows, key=lambda pair: pair[0])]
            for above, rows in found.items()
        }

    def rule(self, path: Path, number: int, text: str) -> Rule:
        try:
            rule = parse(text)
        except ValueError as error:
            raise ValueError(f"{path}, row {number}: {error}") from error
        for variable, name in rule.uses():
            if name not in self.known_sets:
                raise ValueError(f"{path}, row {number}: set {name} is not in the set table")
            self.uses.add((variable, name))
        return rule


@dataclass(frozen=True)
class CodeList:
    """The list of valid codes, and the grey ones; all empty when there is no list."""

    diagnoses: frozenset[str] = frozenset()
    procedures: frozenset[str] = frozenset()
    grey_diagnoses: frozenset[str] = frozenset()
    grey_procedures: frozenset[str] = frozenset()

    @staticmethod
    def load(folder: Path | None) -> "CodeList":
        if folder is None:
            return CodeList()
        names = ("diagnoses", "procedures", "grey_diagnoses", "grey_procedures")
        tables = [read_table(folder / f"{name}.csv", "code") for name in names]
        return CodeList(*(frozenset(code for _, (code,) in table) for table in tables))


@dataclass(frozen=True)
class Options:
    newborn_weight: str
    grey_principal: str
    grey_procedure: str
    retry_other_procedures: bool
    ambiguous_adrg: str
    remainder_adrg: str

    @staticmethod
    def load(values: Mapping[str, Any]) -> "Options":
        def one_of(name: str, *allowed: str) -> str:
            value = values.get(name, allowed[0])
            if value not in allowed:
                raise ValueError(f"scheme.toml: {name} is {value!r}, not one of {allowed}")
            return str(value)

        return Options(
            newborn_weight=one_of("newborn_weight", "birth", "admission") + "_weight",
            grey_principal=one_of("grey_principal", "allow", "ungrouped"),
            grey_procedure=one_of("grey_procedure", "keep", "blank", "drop_promote_next"),
            retry_other_procedures=bool(values.get("retry_other_procedures", False)),
            ambiguous_adrg=values.get("ambiguous_adrg", "?QY"),
            remainder_adrg=values.get("remainder_adrg", "?00"),
        )


# --------------------------------------------------------------------------- grouping


@dataclass(frozen=True)
class NaiveScheme:
    options: Options
    mdcs: tuple[Row, ...]
    sets_of: Mapping[str, frozenset[str]]  # code: the sets it is in
    excluded: Mapping[tuple[str, str], frozenset[str]]  # (code, MCC or CC): principal diagnoses
    codes: CodeList
    known_diagnoses: frozenset[str]
    known_procedures: frozenset[str]
    accepts_any_code: bool  # no code list: nothing is unknown

    @staticmethod
    def load(folder: Path, code_list: Path | None = None) -> "NaiveScheme":
        options = read_options(folder)
        sets = read_sets(folder)
        excluded = read_exclusions(folder, options.get("never_excluded", []))
        codes = CodeList.load(code_list)
        for level in LEVELS:
            if level in sets:
                raise ValueError(f"{folder}: a set may not be called {level}")

        reader = RuleReader(folder, {*sets, *options.get("known_empty_sets", []), *LEVELS})
        drgs = reader.rows("drg.csv", order="", parent="adrg", children={})
        adrgs = reader.rows("adrg.csv", order="", parent="mdc", children=drgs)
        mdcs = reader.rows("mdc.csv", order="sort", parent="", children=adrgs)

        sets_of = defaultdict(set)
        diagnoses = {code for code, _ in excluded}
        for _, (principal,) in read_table(find_table(folder, "exclusions.csv"), "principal"):
            diagnoses.add(principal)
        procedures: set[str] = set()
        for name, members in sets.items():
            for code in members:
                sets_of[code].add(name)
            variables = {v for v, s in reader.uses if s == name} or set(CODE_VARIABLES)
            if not variables.isdisjoint(DIAGNOSIS_VARIABLES):
                diagnoses |= members
            if not variables <= set(DIAGNOSIS_VARIABLES):
                procedures |= members

        return NaiveScheme(
            options=Options.load(options),
            mdcs=tuple(mdcs[""]),
            sets_of={code: frozenset(names) for code, names in sets_of.items()},
            excluded=excluded,
            codes=codes,
            known_diagnoses=codes.diagnoses | diagnoses,
            known_procedures=codes.procedures | procedures,
            accepts_any_code=code_list is None,
        )

    def group(self, case: dict[str, Any]) -> NaiveAnswer:
        reason = self.rejection(case)
        if reason:
            return NaiveAnswer("rejected", reason)
        warnings = self.warnings(case)
        if self.options.grey_principal == "ungrouped" and "grey_principal" in warnings:
            return NaiveAnswer("ungrouped", "grey_principal", warnings=warnings)
        return replace(self.find_group(case), warnings=warnings)

    def rejection(self, case: dict[str, Any]) -> str:
        """Why the case cannot be grouped at all; blank if it can."""
        if not case["diagnoses"] or not case["diagnoses"][0]:
            return "no_principal_diagnosis"
        if case["sex"] not in (0, 1, 2, 9):
            return "sex_unreadable"
        if case["age"] is None or not 0 <= case["age"] <= 150:
            return "age_unreadable"
        if case["age"] == 0 and (case["age_days"] is None or case["age_days"] < 0):
            return "age_days_missing"
        if not self.accepts_any_code and case["diagnoses"][0] not in self.known_diagnoses:
            return "unknown_principal"
        return ""

    def warnings(self, case: dict[str, Any]) -> tuple[str, ...]:
        principal, *others = case["diagnoses"]
        others = [code for code in others if code]
        procedures = {code for code in case["procedures"] if code}
        known = [code for code in others if code in self.known_diagnoses]
        weight = case[self.options.newborn_weight]
        newborn = case["age"] == 0 and case["age_days"] < 29
        found = {
            "sex_missing": case["sex"] in (0, 9),
            "unknown_secondary": not self.accepts_any_code and len(known) < len(others),
            "unknown_procedure": not self.accepts_any_code
            and not procedures <= self.known_procedures,
            "grey_principal": principal in self.codes.grey_diagnoses,
            "grey_secondary": not self.codes.grey_diagnoses.isdisjoint(others),
            "grey_procedure": not self.codes.grey_procedures.isdisjoint(procedures),
            "duplicate_secondary": len(set(known)) < len(known),
            "principal_as_secondary": principal in known,
            "newborn_weight": newborn and weight is not None and not 200 <= weight <= 20000,
        }
        return tuple(sorted(name for name, yes in found.items() if yes))

    def find_group(self, case: dict[str, Any]) -> NaiveAnswer:
        procedures = self.usable_procedures(case)
        first_pass = self.first_match(self.facts(case, procedures))
        if not first_pass.group and self.options.retry_other_procedures:
            for procedure in procedures[1:]:
                retry = self.first_match(self.facts(case, [procedure]))
                if retry.group:
                    return retry
        return first_pass

    def usable_procedures(self, case: dict[str, Any]) -> list[str]:
        procedures = list(dict.fromkeys(code for code in case["procedures"] if code))
        if self.options.grey_procedure == "drop_promote_next":
            return [code for code in procedures if code not in self.codes.grey_procedures]
        return procedures

    def facts(self, case: dict[str, Any], procedures: list[str]) -> Facts:
        """The case as the rules see it, if these were its procedures."""
        principal = case["diagnoses"][0]
        others = [code for code in case["diagnoses"][1:] if code and code != principal]
        codes = {
            "ZYZD": {principal: self.sets_of.get(principal, NO_SETS)},
            "QTZD": {c: self.sets_of.get(c, NO_SETS) | self.levels(c, principal) for c in others},
            "ZYSS": {code: self.sets_of_procedure(code) for code in procedures[:1]},
            "QTSS": {code: self.sets_of_procedure(code) for code in procedures[1:]},
        }
        return Facts(
            codes=codes,
            sets={variable: NO_SETS.union(*sets.values()) for variable, sets in codes.items()},
            numbers={
                "NL": case["age"],
                "XSRTL": case["age_days"] if case["age"] == 0 else None,
                "XSRTZ": case[self.options.newborn_weight],
                "XB": case["sex"] if case["sex"] in (1, 2) else None,
                "ZYTS": case["los"],
                "ICUSC": case["icu_hours"],
            },
            texts={"LYFS": case["discharge_mode"], "CYKS": case["department"]},
        )

    def levels(self, secondary: str, principal: str) -> frozenset[str]:
        """MCC, CC, both or neither: as what this secondary counts beside this principal."""
        return frozenset(
            level
            for level in LEVELS
            if (secondary, level) in self.excluded
            and principal not in self.excluded[secondary, level]
        )

    def sets_of_procedure(self, code: str) -> frozenset[str]:
        if self.options.grey_procedure == "blank" and code in self.codes.grey_procedures:
            return NO_SETS
        return self.sets_of.get(code, NO_SETS)

    def first_match(self, facts: Facts) -> NaiveAnswer:
        reason = "no_mdc"
        for mdc in self.mdcs:
            if not mdc.rule.holds(facts):
                continue
            if reason == "no_mdc":
                reason = "no_adrg"
            for adrg in mdc.children:
                if not adrg.rule.holds(facts):
                    continue
                reason = "no_drg"
                for drg in adrg.children:
                    if drg.rule.holds(facts):
                        return self.answer(mdc, adrg, drg, facts)
        return NaiveAnswer("ungrouped", reason)

    def answer(self, mdc: Row, adrg: Row, drg: Row, facts: Facts) -> NaiveAnswer:
        adrg_code = adrg.code.split("#")[0]
        status, reason = "grouped", ""
        if fnmatchcase(adrg_code, self.options.ambiguous_adrg):
            status = "ambiguous"
        elif fnmatchcase(adrg_code, self.options.remainder_adrg):
            status, reason = "ungrouped", "remainder"
        counted = [level.lower() for level in LEVELS if level in facts.sets["QTZD"]]
        return NaiveAnswer(
            status=status,
            reason=reason,
            mdc=mdc.code,
            adrg=adrg_code,
            group=drg.code,
            severity=counted[0] if counted else "none",
            branch=adrg.code,
            adrg_row=adrg.number,
            drg_row=drg.number,
        )
