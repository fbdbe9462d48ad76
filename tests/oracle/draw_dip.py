"""Random DIP catalogues and cases drawn to hurt: few codes, many groups that want the same cases."""

from __future__ import annotations

import csv
import json
import random
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from naive.dip import in_range, key_matches, keys_of, normal, terms_of

CLASSES = ("pre", "merged", "subdivided", "basic", "core", "primary_care", "mixed", "rest")
COMPARATORS = (
    "more_required_terms",
    "more_matched_procedures",
    "exact_set",
    "main_procedure_in_group",
    "highest_score",
    "nearest_mean_cost",
    "full_code_before_prefix",
    "class_rank",
)
DIAGNOSES = (
    *("K35", "K35.3", "K35.200", "K35.300", "K35.300x001", "K35.301", "A15.000", "A16.200"),
    *("A41.900", "A41.901", "A41.9", "B20.000", "C00.000", "C34.900", "C34.901", "C75.900"),
    *("C76.000", "C80.900x001", "T20.200", "T20.600", "T20.700", "T21", "T21.200", "T31.000"),
    *("T32.100", "M51.1+", "M51.100", "M51.1+G55.1*", "M51.100+G55.1*", "M52.101+G99.2*"),
    *("N18", "N18.0", "N18.500", "N18.900", "P07.000", "P07.100", "U84.300", "Z51.100"),
    *("Z51.103", "I10.x00x002", "J18.900"),
)
DIAGNOSIS_KEYS = (
    *("K35", "K35.3", "A41", "A41.9", "C34", "T20", "T21", "N18", "N18.0", "P07", "Z51.1"),
    *("M51", "M51.1", "M51.1+", "M51+", "M51.100+", "M51.1-M51.9", "I10.x", "J18"),
    *("C00-C75", "C76-C80", "A15-A16", "A00-B99", "T20.2-T20.6", "T20.2-T21.2", "C34.9-C75.9"),
    *(
        "K35.30",
        "C34.90",
        "=N18",
        "=K35",
        "=K35.3",
        "=A41.9",
        "=K35.300",
        "U84.300",
        "K35.300",
        "C80.900x001",
    ),
)
PROCEDURES = (
    *("39.6500", "39.6500x001", "96.7201", "39.9500x007", "86.2201", "86.2200x011", "86.6901"),
    *("86.6902", "86.0701", "99.2503", "99.2800", "99.2800x005", "99.2801", "47.0100", "47.0101"),
    *("47.0900", "54.2100", "45.23", "45.2302", "36.0700", "88.5500", "00.2401", "31.4200"),
    *("93.9000", "92.2400x005"),
)
PREFIXES = {0: (), 4: ("47.0", "99.2", "39.6"), 5: ("47.01", "99.28", "86.69", "39.65")}
UNKNOWN = ("Z99.999x999", "X00.0", "00.0000x99", "99.9999")
OPERATION_CLASSES = ("手术", "介入治疗", "治疗性操作", "诊断性操作")
CONDITIONS = ("resistant", "severe", "ventilated", "implant", "grafted")
NUMBERS = {
    "age": ("<18", ">=18", "<=17", ">17", "0-17", "18-64", "17"),
    "age_days": ("<29", "<=28", ">28", ">=29", "28", "29", "0-28"),
    "weight": ("0-999", "1000-1499", "<1000", ">=1000", "<=999"),
    "los": ("<=3", ">3", "<4", ">=4", "4", "1-3"),
    "icu_hours": (">=48", "<48", "0", ">0"),
}
VALUES = {
    "age": (0, 0, 1, 16, 17, 18, 19, 64, 65, 80),
    "age_days": (0, 5, 27, 28, 29, 30, 364),
    "weight": (0, 150, 999, 1000, 1499, 1500, 2500, 20001),
    "los": (0, 1, 2, 3, 4, 5, 30),
    "icu_hours": (0, 1, 47, 48, 49, 300),
}
COLUMNS = (
    *("code", "name", "class", "principal", "main", "related", "any_procedures"),
    *("other_diagnoses", "first_other", "any_diagnoses", "age", "age_days", "weight", "los"),
    *("requires", "forbids", "for_treatment", "treatment", "primary_care", "score", "mean_cost"),
)
REQUIRED = COLUMNS[:5]
Row = dict[str, str]


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])


def toml(**values: Any) -> str:
    """Lines of TOML for texts, numbers and lists of texts."""
    return "".join(f"{k} = {json.dumps(v, ensure_ascii=False)}\n" for k, v in values.items())


def some(rng: random.Random, pool: Sequence[str], most: int, least: int = 1) -> list[str]:
    """Draw some different ones."""
    return list(dict.fromkeys(rng.sample(pool, min(len(pool), rng.randint(least, most)))))


def spelled(rng: random.Random, code: str) -> str:
    """Another way to write the same code, or rarely the same way."""
    kind = rng.random()
    if kind < 0.3:
        return code.lower()
    if kind < 0.5:
        return code.upper()
    if kind < 0.7:  # full-width letters and digits
        return "".join(chr(ord(c) + 0xFEE0) if c.isascii() and c.isalnum() else c for c in code)
    return f" {code}" if kind < 0.8 else f"{code[:2]}\u3000{code[2:]} "


# -------------------------------------------------------------------------- catalogues


class CatalogueDraw:
    """What one catalogue is made of."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.prefix_length = rng.choice((0, 0, 0, 4, 5, 5))
        self.procedure_keys = (*PROCEDURES, *PREFIXES[self.prefix_length] * 3)
        self.conditions = some(rng, CONDITIONS, 4, 0)
        self.treatments = self.draw_treatments()
        self.ids = [one["id"] for one in self.treatments]
        self.any_principal = rng.random() < 0.3  # `*` makes every diagnosis a known one
        self.first_others = rng.random() < 0.5
        self.class_weights = [rng.choice((1, 3, 8)) for _ in CLASSES]

    def draw_treatments(self) -> list[dict[str, Any]]:
        ranked = [
            {"id": "diagnostic", "classes": ["诊断性操作"]},
            {"id": "therapeutic", "classes": ["治疗性操作"]},
        ]
        if self.rng.random() < 0.6:
            ranked.append({"id": "surgery", "classes": ["手术", "介入治疗"]})
        else:
            ranked.append({"id": "intervention", "classes": ["介入治疗"]})
            ranked.append({"id": "surgery", "classes": ["手术"]})
            self.rng.shuffle(ranked)
        return [{"id": "conservative", "classes": []}, *ranked]

    @property
    def has_default_treatments(self) -> bool:
        return self.ids == ["conservative", "diagnostic", "therapeutic", "surgery"]

    # groups.csv

    def diagnosis_keys(self, most: int) -> str:
        keys = some(self.rng, DIAGNOSIS_KEYS, most)
        if self.rng.random() < 0.3:
            keys.append(self.rng.choice(DIAGNOSES))
        return "|".join(dict.fromkeys(keys))

    def terms(self) -> str:
        alternatives = ["+".join(some(self.rng, self.procedure_keys, 2)) for _ in range(3)]
        return "|".join(dict.fromkeys(alternatives[: self.rng.randint(1, 3)]))

    def names(self) -> str:
        return "+".join(sorted(some(self.rng, self.conditions, 2)))

    def group(self, earlier: Sequence[Row]) -> Row:
        rng, row = self.rng, dict.fromkeys(COLUMNS, "")
        by_first_other = self.first_others and rng.random() < 0.2
        if earlier and not by_first_other and rng.random() < 0.45:
            row = dict(rng.choice(earlier))  # one that wants the same cases
            changed = rng.sample(("main", "related", "any_procedures", "number", "names"), 1)
            row["class"] = row["class"] if rng.random() < 0.6 else self.klass()
        else:
            changed = [name for name in ("related", "any_procedures") if rng.random() < 0.2]
            changed += [name for name in ("number", "names") if rng.random() < 0.15]
            changed += ["main"]
            row["principal"] = self.diagnosis_keys(3)
            if by_first_other:
                row["principal"] = rng.choice(("Z51.1", "T20.2-T21.2|K35"))
            if self.any_principal and rng.random() < 0.1:
                row["principal"] = "*"
            row["class"] = self.klass()
        for name in changed:
            self.change(row, name)
        if by_first_other:
            row["main"] = rng.choice(("*", row["main"]))
        if row["class"] == "mixed" and rng.random() < 0.6:
            row["main"], row["treatment"] = "*", rng.choice(self.ids)
            row["for_treatment"] = row["treatment"]
        self.decorate(row, by_first_other)
        return row

    def klass(self) -> str:
        return self.rng.choices(CLASSES, self.class_weights)[0]

    def change(self, row: Row, name: str) -> None:
        rng = self.rng
        if name == "main":
            listed = "|".join(dict.fromkeys(some(rng, self.procedure_keys, 3)))
            row["main"] = rng.choice((*[listed] * 6, "*", ""))
        elif name == "number":
            fact = rng.choice(("age", "age_days", "weight", "los"))
            row[fact] = rng.choice(NUMBERS[fact])
        elif name == "names" and self.conditions:
            row[rng.choice(("requires", "requires", "forbids"))] = self.names()
        elif name in ("related", "any_procedures"):
            row[name] = self.terms()
            mains = [key for key in keys_of(row["main"]) if key != "*"]
            if name == "related" and mains and rng.random() < 0.3:  # any choice that works
                row[name] = "|".join(("+".join(some(rng, mains, 2)), "54.2100", row[name]))

    def decorate(self, row: Row, by_first_other: bool) -> None:
        """Diagnoses beside the principal, figures, odd spellings."""
        rng = self.rng
        if by_first_other or rng.random() < 0.15:
            row["other_diagnoses"] = self.diagnosis_keys(2)
        if rng.random() < 0.08:
            row["any_diagnoses"] = self.diagnosis_keys(2)
        row["first_other"] = ""
        if row["other_diagnoses"] and (
            by_first_other or (self.first_others and rng.random() < 0.3)
        ):
            row["first_other"] = "1"
        if rng.random() < 0.05:
            row["for_treatment"] = "|".join(some(rng, self.ids, 2))
        if row["class"] != "mixed" or not row["treatment"]:
            row["treatment"] = rng.choice(("", *self.ids))
        row["primary_care"] = rng.choice(("", "", "1"))
        row["score"] = rng.choice(
            ("", "0", "0", "98.1", "120", "120.0", "998.1", "1203.4", "1203.4005")
        )
        row["mean_cost"] = rng.choice(
            ("", "900", "1000.00", "900.30", "1100", "2500.5", "12345.67")
        )
        if rng.random() < 0.1:
            name = rng.choice(("principal", "main", "related"))
            row[name] = spelled(rng, row[name])

    # the other tables

    def exclusions(self) -> list[tuple[str, ...]]:
        rng = self.rng
        rows: list[tuple[str, ...]] = []
        for code in some(rng, DIAGNOSES, 3, 0):
            rows.append(("diagnosis", code, "excluded", ""))
        for code in some(rng, (*PROCEDURES, "99.9999"), 8, 0):
            handling = rng.choice(("conservative", "not_main", "not_main", "main_only_with"))
            keys = self.diagnosis_keys(4) if handling == "main_only_with" else ""
            rows.append(("procedure", code, handling, keys))
        return rows

    def condition_rows(self) -> list[tuple[str, ...]]:
        rows: list[tuple[str, ...]] = []
        for name in self.conditions:
            for _ in range(self.rng.randint(1, 2)):
                side = self.rng.choice(("principal", "other", "diagnosis", "main", "procedure"))
                of_procedures = side in ("main", "procedure")
                pool = self.procedure_keys if of_procedures else DIAGNOSIS_KEYS
                rows.append((name, side, self.rng.choice(pool)))
        return rows

    def class_rows(self) -> list[tuple[str, ...]]:
        """Classes of most procedures, some of them by a prefix."""
        rng = self.rng
        codes = [*some(rng, PROCEDURES, 25, 16), "47.0100*", "47*", "86.6*", "86*", "9*"][
            : rng.randint(16, 29)
        ]
        return [(code, rng.choice(OPERATION_CLASSES)) for code in codes]

    def auxiliary_types(self) -> list[dict[str, Any]]:
        rng = self.rng
        types = []
        for k in range(rng.choice((0, 1, 2, 4))):
            one: dict[str, Any] = {
                "id": f"type-{k}",
                "family": f"family-{k % 2}",
                "name": f"类型{k}",
            }
            for fact, texts in NUMBERS.items():
                if rng.random() < 0.15:
                    one[fact] = rng.choice(texts)
            if rng.random() < 0.3:
                one["discharge_mode"] = some(rng, ("1", "2", "5"), 2)
            if rng.random() < 0.3:
                one["other_diagnoses"] = self.diagnosis_keys(3).split("|")
            if rng.random() < 0.2:
                one["principal"] = self.diagnosis_keys(5).split("|")
            if rng.random() < 0.2 and self.conditions:
                one["requires"] = self.names().split("+")
            if one.keys() <= {"id", "family", "name"}:
                one["los"] = "<=3"
            types.append(one)
        return types

    def auxiliary_rows(self, types: list[dict[str, Any]], groups: list[Row]) -> list[list[str]]:
        rng, rows = self.rng, []
        for one in types:
            for code in ("*", *(group["code"] for group in groups)):
                if rng.random() < (0.7 if code == "*" else 0.3):
                    mean = rng.choice(("", "", "1500", "1499.99"))
                    coefficient = rng.choice(("0.35", "0.35", "0.5", "1", "1.2", "1.20", "1.2505"))
                    rows.append([one["id"], code, coefficient, mean, "20", "0.45"])
        return rows

    def profile(self) -> str:
        rng = self.rng
        layout = rng.choice(("one", "each", "some", "some"))
        count = {"one": 1, "each": len(CLASSES)}.get(layout, rng.randint(2, 4))
        stages: list[list[str]] = [[] for _ in range(count)]
        for k, klass in enumerate(rng.sample(CLASSES, len(CLASSES))):
            stages[k if k < count else rng.randrange(count)].append(klass)
        ranks = [f"{klass} {treatment}" for klass in CLASSES for treatment in self.ids]
        lines = toml(
            id=f"drawn-{rng.randrange(10**6)}",
            title="a drawn profile",
            source="drawn",
            standing=rng.choice(("published", "unconfirmed")),
            assumed=[],
            main_position=rng.choice(("first", "any")),
            empty_main=rng.choice(("conservative_only", "any_case")),
            not_main=rng.choice(("conservative", "promote_next")),
            mixed_class_by=rng.choice(("main_procedure", "highest_of_all")),
            unmatched_surgery=rng.choice(("", "surgery", "surgery", rng.choice(self.ids))),
            procedure_prefix_length=self.prefix_length,
            class_rank=some(rng, ranks, 20),
        )
        for classes in stages:
            comparators = some(rng, COMPARATORS, 5, 0)
            comparators += ["code_order"] * (rng.random() < 0.2)
            lines += "[[stage]]\n" + toml(classes=classes, comparators=comparators)
        return lines

    def write(self, folder: Path) -> None:
        rng = self.rng
        folder.mkdir(parents=True)
        groups: list[Row] = []
        for k in range(rng.randint(20, 150)):
            row = self.group(groups)
            groups.append({**row, "code": f"G-{k + 1}", "name": f"第{k + 1}组"})
        optional = [c for c in COLUMNS[5:] if any(g[c] for g in groups) or rng.random() < 0.5]
        columns = [*REQUIRED, *rng.sample(optional, len(optional))]
        write_csv(folder / "groups.csv", columns, [[g[c] for c in columns] for g in groups])
        self.write_rest(folder, groups)

    def write_rest(self, folder: Path, groups: list[Row]) -> None:
        rng = self.rng
        code_list = f"{folder.name}-codes" if rng.random() < 0.5 else ""
        scheme = toml(
            id=folder.name,
            title="a drawn catalogue",
            kind="dip",
            edition="drawn",
            profile="profile.toml",
            code_list=code_list and f"../{code_list}",
            newborn_weight=rng.choice(("birth", "admission")),
            score_scale=1000,
            score_decimals=4,
            unclassed=rng.choice(self.ids),
        )
        if not self.has_default_treatments or rng.random() < 0.3:
            scheme += "".join("[[treatment]]\n" + toml(**one) for one in self.treatments)
        types = self.auxiliary_types()
        scheme += "".join("[[auxiliary]]\n" + toml(**one) for one in types)
        (folder / "scheme.toml").write_text(scheme, encoding="utf-8")
        (folder / "profile.toml").write_text(self.profile(), encoding="utf-8")
        if types:
            names = ["type", "group", "coefficient", "mean_cost", "n", "cv"]
            write_csv(folder / "auxiliary.csv", names, self.auxiliary_rows(types, groups))
        if rng.random() < 0.8:
            names = ["side", "code", "handling", "diagnoses"]
            write_csv(folder / "exclusions.csv", names, self.exclusions())
        if self.conditions:
            names = ["condition", "side", "key"]
            write_csv(folder / "conditions.csv", names, self.condition_rows())
        if rng.random() < (0.5 if code_list else 0.85):
            write_csv(folder / "procedure_class.csv", ("code", "class"), self.class_rows())
        if code_list:
            self.write_codes(folder.parent / code_list)

    def write_codes(self, folder: Path) -> None:
        """Write a list that lacks some codes, and calls some grey."""
        rng = self.rng
        folder.mkdir()
        (folder / "codes.toml").write_text(toml(id=folder.name, title="few codes"), "utf-8")
        listed = some(rng, DIAGNOSES, 36, 20), some(rng, PROCEDURES, 23, 14)
        for side, codes in zip(("diagnosis", "procedure"), listed, strict=True):
            plural = {"diagnosis": "diagnoses", "procedure": "procedures"}[side]
            write_csv(folder / f"{plural}.csv", ("code", "name"), [(c, f"名{c}") for c in codes])
            write_csv(folder / f"{side}_map.csv", ("clinical", "insurance"), [])
            grey = some(rng, codes, 5, 0)
            write_csv(folder / f"grey_{plural}.csv", ("code",), [(c,) for c in grey])
        rows = [(code, rng.choice(OPERATION_CLASSES)) for code in some(rng, listed[1], 25, 14)]
        write_csv(folder / "procedure_class.csv", ("code", "class"), rows)


def draw_catalogue(rng: random.Random, folder: Path) -> Path:
    """Write a catalogue into `folder`, and beside it sometimes a code list; return `folder`."""
    CatalogueDraw(rng).write(folder)
    return folder


# ------------------------------------------------------------------------------- cases


def read_csv(path: Path) -> list[Row]:
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


class CaseDraw:
    """Cases that mostly come close to a group of one catalogue."""

    def __init__(self, rng: random.Random, folder: Path) -> None:
        self.rng = rng
        self.groups = read_csv(folder / "groups.csv")
        self.conditions = read_csv(folder / "conditions.csv")
        self.exclusions = read_csv(folder / "exclusions.csv")
        values = tomllib.loads((folder / "scheme.toml").read_text(encoding="utf-8"))
        self.types: list[dict[str, Any]] = values.get("auxiliary", [])

    def diagnosis(self, cell: str | list[str]) -> str:
        """Return a diagnosis that one of these keys matches; any one if there are no keys."""
        keys = keys_of(cell)
        fits = [c for c in DIAGNOSES if any(key_matches(key, normal(c)) for key in keys)]
        return self.rng.choice(fits or DIAGNOSES)

    def procedure(self, key: str) -> str:
        fits = [code for code in PROCEDURES if normal(code).startswith(key)]
        return self.rng.choice(fits or PROCEDURES)

    def alternative(self, cell: str) -> list[str]:
        """Return procedures that one alternative of the cell needs."""
        terms = terms_of(cell)
        return [self.procedure(key) for key in self.rng.choice(terms)] if terms else []

    def number(self, fact: str, text: str) -> int:
        fits = [value for value in VALUES[fact] if text and in_range(text, value)]
        return self.rng.choice(fits if fits and self.rng.random() < 0.8 else VALUES[fact])

    def case(self, k: int) -> dict[str, Any]:
        rng = self.rng
        group = rng.choice(self.groups)
        diagnoses, procedures = self.codes(group)
        for name in (group.get("requires") or "").split("+"):
            self.meet(name, diagnoses, procedures)
        if group.get("first_other"):
            of_others = [other["other_diagnoses"] for other in self.groups if other["first_other"]]
            diagnoses.insert(rng.randint(1, 2), self.diagnosis(rng.choice(of_others)))
        if self.types and rng.random() < 0.3:
            others = rng.choice(self.types).get("other_diagnoses")
            diagnoses += [self.diagnosis(others)] if others else []
        for _ in range(rng.choice((0, 0, 0, 1, 2))):
            diagnoses.insert(rng.randint(1, len(diagnoses)), rng.choice(DIAGNOSES))
        for _ in range(rng.choice((0, 0, 0, 1, 2))):
            procedures.insert(rng.randint(0, len(procedures)), rng.choice(PROCEDURES))
        self.spoil(diagnoses, procedures)
        return {"case_id": f"C{k}", **self.facts(group), **lists(diagnoses, procedures)}

    def codes(self, group: Row) -> tuple[list[str], list[str]]:
        rng = self.rng
        diagnoses = [self.diagnosis(group["principal"])]
        procedures = self.alternative(group["main"]) if group["main"] != "*" else []
        if group["main"] == "*" and rng.random() < 0.7:
            procedures = some(rng, PROCEDURES, 2)
        rest = self.alternative(group.get("related") or "")
        rest += self.alternative(group.get("any_procedures") or "")
        if rest and rng.random() < 0.15:
            rest.pop()
        procedures += rest
        if rng.random() < 0.15:
            rng.shuffle(procedures)
        for column in ("other_diagnoses", "any_diagnoses"):
            cell = group.get(column)
            diagnoses += [self.diagnosis(cell)] if cell and rng.random() < 0.9 else []
        return diagnoses, procedures

    def meet(self, name: str, diagnoses: list[str], procedures: list[str]) -> None:
        """Add what a named condition asks for."""
        rows = [row for row in self.conditions if row["condition"] == name]
        if not rows or self.rng.random() < 0.15:
            return
        row = self.rng.choice(rows)
        if row["side"] in ("main", "procedure"):
            place = 0 if row["side"] == "main" else len(procedures)
            procedures.insert(place, self.procedure(normal(row["key"])))
        else:
            place = 0 if row["side"] == "principal" else len(diagnoses)
            diagnoses.insert(place, self.diagnosis(row["key"]))

    def spoil(self, diagnoses: list[str], procedures: list[str]) -> None:
        rng = self.rng
        excluded = [row["code"] for row in self.exclusions if row["side"] == "procedure"]
        if excluded and rng.random() < 0.15:
            procedures.insert(0, rng.choice(excluded))
        if rng.random() < 0.05:
            diagnoses[0] = rng.choice((*DIAGNOSES, *UNKNOWN * 10))
        if rng.random() < 0.08:
            diagnoses.append(rng.choice(UNKNOWN))
        if rng.random() < 0.08:
            procedures.insert(rng.randint(0, len(procedures)), rng.choice(UNKNOWN))
        if rng.random() < 0.12:
            diagnoses.insert(rng.randint(1, len(diagnoses)), rng.choice(diagnoses))
        if procedures and rng.random() < 0.1:
            procedures.insert(rng.randint(0, len(procedures)), rng.choice(procedures))
        for codes, first in ((diagnoses, 1), (procedures, 0)):
            for place in range(len(codes)):
                if rng.random() < 0.08:
                    codes[place] = spelled(rng, codes[place])
            if rng.random() < 0.1:
                codes.insert(rng.randint(first, len(codes)), rng.choice(("", "  ", "\u3000")))

    def facts(self, group: Row) -> dict[str, Any]:
        rng = self.rng
        wanted = {fact: group.get(fact) or "" for fact in VALUES}
        for fact, text in rng.choice(self.types).items() if self.types else ():
            if fact in wanted and not wanted[fact]:
                wanted[fact] = text
        newborn = (wanted["age_days"] or wanted["weight"]) and rng.random() < 0.85
        age = 0 if newborn else self.number("age", wanted["age"])
        days = self.number("age_days", wanted["age_days"])
        weights = [self.number("weight", wanted["weight"]) for _ in range(2)]
        missing = {fact: rng.random() < 0.06 for fact in VALUES}
        return {
            "sex": rng.choice((1, 2)) if rng.random() < 0.92 else rng.choice((0, 9)),
            "age": age,
            "age_days": days if age == 0 or rng.random() < 0.3 else None,
            "birth_weight": None if missing["weight"] else weights[0],
            "admission_weight": None if rng.random() < 0.06 else weights[1],
            "los": None if missing["los"] else self.number("los", wanted["los"]),
            "icu_hours": None
            if missing["icu_hours"]
            else self.number("icu_hours", wanted["icu_hours"]),
            "discharge_mode": rng.choice(("1", "1", "2", "5", None)),
            "total_cost_fen": rng.choice(
                (None, 0, 89_999, 90_000, 95_000, 100_000, 105_000, 175_000, 250_050, 2_000_000)
            ),
        }


def lists(diagnoses: list[str], procedures: list[str]) -> dict[str, list[str | None]]:
    """Return the two lists of codes; a blank text may as well be none at all."""
    return {
        "diagnoses": [code or None for code in diagnoses],
        "procedures": [code or None for code in procedures],
    }


def reject(rng: random.Random, case: dict[str, Any]) -> None:
    """Take something from a case without which it cannot be grouped."""
    case |= rng.choice(
        (
            {"diagnoses": []},
            {"diagnoses": [None, *case["diagnoses"]]},
            {"diagnoses": ["  ", *case["diagnoses"]]},
            {"sex": None},
            {"sex": 5},
            {"age": None},
            {"age": -1},
            {"age": 151},
            {"age": 0, "age_days": None},
            {"age": 0, "age_days": -1},
            {"case_id": ""},
        )
    )


def draw_cases(rng: random.Random, catalogue: Path, n: int) -> list[dict[str, Any]]:
    """Draw `n` cases for the catalogue in this folder."""
    draw = CaseDraw(rng, catalogue)
    cases = [draw.case(k) for k in range(n)]
    for case in cases:
        if rng.random() < 0.04:
            reject(rng, case)
    if rng.random() < 0.3:
        cases[-1]["case_id"] = cases[0]["case_id"]
    return cases
