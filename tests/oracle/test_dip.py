"""The DIP kernel against the naive oracle, whole rows; the oracle against answers by hand."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from pprint import pformat
from typing import Any

import pytest
from naive.dip import NaiveCatalogue, NaiveDip, in_full, key_matches, load_naive_dip, normal
from oracle.draw_dip import CLASSES, COMPARATORS, draw_cases, draw_catalogue, toml, write_csv
from shared import SHIPPED

from grouper import group, load_scheme

pytestmark = pytest.mark.promise("DIP groups are those of the plain reader, whole rows")

PROFILES = SHIPPED / "dip-profiles"
CATALOGUES = int(os.environ.get("GROUPER_DIP_CATALOGUES", "60"))
CASES = int(os.environ.get("GROUPER_DIP_CASES", "60"))
REASONS = {
    *("no_group", "excluded_principal", "unknown_principal", "duplicate_case_id"),
    *("input_unreadable", "no_principal_diagnosis", "sex_unreadable", "age_unreadable"),
    "age_days_missing",
}
WARNINGS = {
    *("sex_missing", "unknown_secondary", "unknown_procedure", "grey_principal", "grey_secondary"),
    *("grey_procedure", "duplicate_secondary", "principal_as_secondary", "newborn_weight"),
    *("main_excluded", "unclassed_procedure"),
}


def row_of(case: dict[str, Any], answer: NaiveDip) -> dict[str, Any]:
    """Lay out an oracle's answer as a result row."""
    return {
        "case_id": case["case_id"],
        "status": answer.status,
        "mdc": None,
        "adrg": None,
        "group": answer.group or None,
        "group_name": answer.group_name or None,
        "severity": None,
        "rule": f"groups.csv:{answer.row}" if answer.row else None,
        "decided_by": answer.decided_by or None,
        "reason": answer.reason or None,
        "warnings": list(answer.warnings),
        "group_class": answer.group_class or None,
        "matched_terms": answer.matched_terms,
        "aux_type": answer.aux_type or None,
        "aux_factor": answer.aux_factor,
        "aux_mean_fen": answer.aux_mean_fen,
    }


def draw(
    seed: int, folder: Path, n: int = CASES
) -> tuple[Path, list[dict[str, Any]], list[NaiveDip]]:
    """Draw a catalogue and cases, and group them naively; a seed gives the same ones."""
    rng = random.Random(seed)
    catalogue = draw_catalogue(rng, folder / f"drawn-{seed}")
    cases = draw_cases(rng, catalogue, n)
    ids = Counter(case["case_id"] for case in cases)
    repeated = frozenset(case_id for case_id, n in ids.items() if n > 1)
    naive = load_naive_dip(catalogue, PROFILES)
    return catalogue, cases, [naive.group(case, repeated) for case in cases]


@pytest.mark.parametrize("seed", range(CATALOGUES))
def test_random_cases_agree_with_the_oracle_on_whole_rows(seed: int, tmp_path: Path) -> None:
    catalogue, cases, answers = draw(seed, tmp_path)
    found = group(cases, load_scheme(catalogue)).to_arrow().to_pylist()
    for case, answer, row in zip(cases, answers, found, strict=True):
        expected = row_of(case, answer)
        got = {column: row[column] for column in expected}
        if got != expected:
            differ = [column for column in expected if got[column] != expected[column]]
            pytest.fail(
                f"seed {seed}, {catalogue}: {', '.join(differ)}\n"
                f"case {pformat(case)}\nnaive {pformat(expected)}\nkernel {pformat(got)}"
            )


def test_the_draw_reaches_every_corner(tmp_path: Path) -> None:
    """The random cases are worth nothing if they never reach a corner."""
    answers = [answer for seed in range(60) for answer in draw(seed, tmp_path)[2]]
    assert {a.status for a in answers} == {"grouped", "ungrouped", "rejected"}
    assert {a.reason for a in answers} == {"", *REASONS}
    assert {a.decided_by for a in answers} == {"", *COMPARATORS, "code_order"}
    assert {a.group_class for a in answers} == {"", *CLASSES}
    assert {w for a in answers for w in a.warnings} == WARNINGS
    assert {a.matched_terms for a in answers} >= {None, 0, 1, 2, 3, 4}
    assert {"", "type-0", "type-1"} <= {a.aux_type for a in answers}
    assert any(a.aux_type and a.aux_mean_fen is None for a in answers)


# ----------------------------------------------------------------- the oracle, by hand

Groups = list[dict[str, str]]


def catalogue_of(
    folder: Path,
    groups: Groups,
    *,
    comparators: tuple[str, ...] = ("more_required_terms",),
    profile: dict[str, Any] | None = None,
    scheme: str = "",
    **tables: Sequence[tuple[str, ...]],
) -> NaiveCatalogue:
    """Write groups, named G2, G3, … by their rows, and load them; a table's first row is its header."""
    columns = dict.fromkeys(("code", "name", "class", "principal", "main"))
    columns |= dict.fromkeys(column for one in groups for column in one)
    rows = [
        {"code": f"G{k}", "name": f"group {k}", "class": "core", **one}
        for k, one in enumerate(groups, start=2)
    ]
    write_csv(folder / "groups.csv", [*columns], [[r.get(c, "") for c in columns] for r in rows])
    for name, (header, *body) in tables.items():
        write_csv(folder / f"{name}.csv", header, body)
    stages = (["pre"], ["merged", "subdivided", "basic", "core", "mixed"])
    text = toml(id="hand", **(profile or {}))
    text += "".join(
        "[[stage]]\n" + toml(classes=classes, comparators=list(comparators)) for classes in stages
    )
    (folder / "profile.toml").write_text(text, encoding="utf-8")
    head = toml(id="hand", title="by hand", kind="dip", profile="profile.toml")
    (folder / "scheme.toml").write_text(head + scheme, encoding="utf-8")
    return load_naive_dip(folder, PROFILES)


def ask(catalogue: NaiveCatalogue, *diagnoses: str, px: str = "", **facts: Any) -> NaiveDip:
    """Group a man of 40; `px` has his procedures, split by blanks."""
    case = {
        "case_id": "1",
        "sex": 1,
        "age": 40,
        **dict.fromkeys(("age_days", "birth_weight", "admission_weight", "los", "icu_hours")),
        **dict.fromkeys(("discharge_mode", "total_cost_fen")),
        "diagnoses": list(diagnoses),
        "procedures": px.split(),
    }
    assert facts.keys() <= case.keys()
    return catalogue.group(case | facts)


@pytest.mark.parametrize(
    ("key", "matched", "not_matched"),
    [
        ("*", "A41 I10.x00 M51.1+G55.1*", ""),
        ("A41", "A41 A41.9 A41.900x001", "A4 A42.000"),
        ("K35.3", "K35.3 K35.300 K35.3+", "K35 K35.400 K353"),
        ("U84.300", "U84.300", "U84.3 U84.300x001"),
        ("C00-C75", "C00 C75.900x001 C34.9", "B99 C76 C80.900"),
        ("T20.2-T20.6", "T20.2 T20.600 T20.299", "T20 T20.1 T20.700"),
        ("T20.2-T21.2", "T20.700 T21.200", "T21 T21.300"),
        ("=N18", "N18", "N18.0 N18.900"),
        ("M51.1+", "M51.1+ M51.1+G55.1* M51.100+G99.2*", "M51.1 M51.100 M51.2+ G55+M51.1"),
        ("M51.100+", "M51.100+G55.1*", "M51.1+ M51.101+G55.1*"),
        ("M50-M52+", "M51.1+ M52.9+G55.1*", "M51.1 M53.0+"),
        ("i10.X", "I10.x00x002 I10.X", "I10"),
    ],
)
def test_keys_match_as_their_table_says(key: str, matched: str, not_matched: str) -> None:
    assert [c for c in matched.split() if not key_matches(normal(key), normal(c))] == []
    assert [c for c in not_matched.split() if key_matches(normal(key), normal(c))] == []


def test_in_full_is_the_whole_code() -> None:
    assert in_full(["A41", "K35.300"], "K35.300")
    assert in_full(["N18"], "N18")
    assert in_full(["=N18"], "N18")
    assert not in_full(["*", "K35.3", "K00-K99"], "K35.300")
    assert normal(" ｋ３５.300\u3000X001\u200b") == "K35.300X001"


def test_more_required_terms_win_over_the_earlier_row(tmp_path: Path) -> None:
    burn = {"class": "subdivided", "principal": "T20.3|T20.7", "other_diagnoses": "T31.1|T32.1"}
    grafted = {**burn, "main": "86.6601|86.6701"}
    burns = catalogue_of(tmp_path, [grafted, {**grafted, "related": "86.6901|86.6902"}, burn])
    both = ask(burns, "T20.301", "T31.100", px="86.6601 00.0001 86.6902")
    assert (both.group, both.row, both.decided_by) == ("G3", 3, "more_required_terms")
    assert both.matched_terms == 3
    alone = ask(burns, "T20.301", "T31.100", px="86.6701")
    assert (alone.group, alone.decided_by, alone.matched_terms) == ("G2", "", 2)
    assert ask(burns, "T20.301", "T31.100", px="86.6902 86.6601").reason == "no_group"
    assert ask(burns, "T20.301", "T31.100").group == "G4"
    assert ask(burns, "T31.100", "T20.301").reason == "no_group"
    assert ask(burns, "T20.301", "T20.301").reason == "no_group"


def test_ecmo_counts_in_any_position_and_its_stage_comes_first(tmp_path: Path) -> None:
    ecmo = {"class": "pre", "principal": "*", "main": "*", "any_procedures": "39.6500|39.6500x001"}
    crrt = {**ecmo, "any_procedures": "96.7201+39.9500x007"}
    ventilated = {**ecmo, "any_procedures": "96.7201"}
    core = {"principal": "A41", "main": "47.0100"}
    listed = [("side", "code", "handling"), ("procedure", "39.6500X001", "conservative")]
    plan = catalogue_of(tmp_path, [core, ventilated, crrt, ecmo], exclusions=listed)
    assert ask(plan, "A41.900", px="47.0100").group == "G2"
    last = ask(plan, "A41.900", px="47.0100 99.0001 ３９.6500x001")
    assert (last.group, last.group_class, last.matched_terms) == ("G5", "pre", 1)
    first = ask(plan, "A41.900", px="39.6500X001 47.0100")
    assert (first.group, first.warnings) == ("G5", ("main_excluded", "unclassed_procedure"))
    pair = ask(plan, "A41.900", px="39.9500x007 47.0100 96.7201")
    assert (pair.group, pair.decided_by, pair.matched_terms) == ("G4", "more_required_terms", 2)
    tie = ask(plan, "A41.900", px="96.7201 39.6500")
    assert (tie.group, tie.decided_by) == ("G3", "code_order")


EXCLUSIONS = [
    ("side", "code", "handling", "diagnoses"),
    ("diagnosis", "Z51.800", "excluded", ""),
    ("procedure", "99.2800", "conservative", ""),
    ("procedure", "00.3101", "not_main", ""),
    ("procedure", "38.9300", "main_only_with", "N18|C00-C75"),
]


@pytest.mark.parametrize(
    ("not_main", "procedures", "expected"),
    [
        ("conservative", "", "G3"),
        ("conservative", "99.2800", "G3"),
        ("conservative", "99.2800 47.0100", "G3"),
        ("conservative", "99.2800x005", "G4"),
        ("conservative", "00.3101 47.0100", "G3"),
        ("promote_next", "00.3101 47.0100", "G2"),
        ("promote_next", "00.3101 99.2800 47.0100", "G3"),
        ("promote_next", "00.3101", "G3"),
        ("promote_next", "38.9300 47.0100", "G2"),
        ("conservative", "38.9300 47.0100", "G3"),
        ("conservative", "54.2100", ""),
    ],
)
def test_excluded_main_procedures(
    tmp_path: Path, not_main: str, procedures: str, expected: str
) -> None:
    mains = ("47.0100", "", "99.2800x005", "38.9300")
    groups = [{"principal": "A41|N18", "main": main} for main in mains]
    plan = catalogue_of(tmp_path, groups, profile={"not_main": not_main}, exclusions=EXCLUSIONS)
    answer = ask(plan, "A41.900", px=procedures)
    assert answer.group == expected
    excluded = procedures.split()[:1] in (["99.2800"], ["00.3101"], ["38.9300"])
    assert ("main_excluded" in answer.warnings) == excluded
    assert ask(plan, "N18.900", px="38.9300").group == "G5"
    assert ask(plan, "Z51.800").reason == "excluded_principal"
    assert ask(plan, "Z51.800x001").reason == "no_group"


def test_newborns_by_days_and_weight(tmp_path: Path) -> None:
    newborn = {"class": "pre", "principal": "*", "main": "*", "any_diagnoses": "P07"}
    groups = [
        {**newborn, "age_days": "<29", "weight": "0-999"},
        {**newborn, "age_days": "<29", "weight": "1000-1499"},
    ]
    plan = catalogue_of(tmp_path, groups)
    for days, grams, expected in (
        *((28, 999, "G2"), (29, 999, ""), (28, 1000, "G3"), (0, 1499, "G3")),
        *((0, 1500, ""), (0, None, "")),
    ):
        for diagnoses in (("P07.100",), ("J18.900", "P07.100")):
            answer = ask(plan, *diagnoses, age=0, age_days=days, birth_weight=grams)
            assert answer.group == expected
    assert ask(plan, "P07.100", age=0).reason == "age_days_missing"
    assert ask(plan, "P07.100", age=0, age_days=1, birth_weight=100).warnings == ("newborn_weight",)


def test_conditions_are_any_of_their_rows(tmp_path: Path) -> None:
    groups = [
        {"principal": "A15-A16", "main": "31.9400", "forbids": "resistant"},
        {"principal": "A15-A16", "main": "31.9400", "requires": "resistant"},
    ]
    rows = [
        ("condition", "side", "key"),
        ("resistant", "principal", "A16.200"),
        ("resistant", "other", "U84.300"),
    ]
    plan = catalogue_of(tmp_path, groups, conditions=rows)
    assert ask(plan, "A15.000", px="31.9400").group == "G2"
    assert ask(plan, "A16.200", px="31.9400").group == "G3"
    assert ask(plan, "A15.000", "I10.x00", "U84.300", px="31.9400").matched_terms == 2


def test_the_first_other_diagnosis_that_any_group_lists_decides(tmp_path: Path) -> None:
    groups = [
        {"principal": "Z51.1", "main": "*", "other_diagnoses": keys, "first_other": "1"}
        for keys in ("C00-C75", "C76-C80")
    ]
    plan = catalogue_of(tmp_path, groups)
    assert ask(plan, "Z51.100", "I10.x00", "C78.000", "C34.900").group == "G3"
    assert ask(plan, "Z51.100", "I10.x00", "C34.900", "C78.000").group == "G2"


def test_any_position_takes_any_choice_of_main_that_works(tmp_path: Path) -> None:
    group = {"principal": "A41", "main": "47.0100|54.2100", "related": "54.2100+36.0700|88.5500"}
    plan = catalogue_of(tmp_path, [group], profile={"main_position": "any"})
    assert ask(plan, "A41.9", px="36.0700 54.2100 47.0100").matched_terms == 3
    assert ask(plan, "A41.9", px="88.5500 54.2100").matched_terms == 2
    assert ask(plan, "A41.9", px="54.2100 36.0700").reason == "no_group"


def test_unmatched_surgery_goes_to_the_mixed_group(tmp_path: Path) -> None:
    groups = [
        {"principal": "A41", "main": "*"},
        {"class": "mixed", "principal": "A41", "main": "*", "treatment": "surgery"},
        {"principal": "A41", "main": "*", "related": "36.0700", "treatment": "surgery"},
    ]
    classes = [("code", "class"), ("47*", "手术"), ("47.01*", "治疗性操作"), ("36.0700", "手术")]
    profile = {"unmatched_surgery": "surgery"}
    plan = catalogue_of(tmp_path, groups, profile=profile, procedure_class=classes)
    alone = ask(plan, "A41.900", px="47.0900")
    assert (alone.group, alone.decided_by) == ("G3", "")
    therapeutic = ask(plan, "A41.900", px="47.0100")
    assert (therapeutic.group, therapeutic.decided_by) == ("G2", "code_order")
    assert ask(plan, "A41.900", px="47.0900 36.0700").group == "G4"


@pytest.mark.parametrize(
    ("comparator", "cost", "expected"),
    [
        ("highest_score", None, "G3"),
        ("nearest_mean_cost", 90_000, "G2"),
        ("nearest_mean_cost", None, "G2"),
        ("nearest_mean_cost", 110_000, "G2"),
        ("nearest_mean_cost", 110_001, "G3"),
        ("class_rank", None, "G4"),
        ("full_code_before_prefix", None, "G5"),
        ("exact_set", None, "G3"),
        ("main_procedure_in_group", None, "G3"),
    ],
)
def test_comparators(tmp_path: Path, comparator: str, cost: int | None, expected: str) -> None:
    groups = [
        {"principal": "A41", "main": "*", "score": "998.1", "mean_cost": "1000"},
        {"principal": "A41", "main": "47.0100", "score": "1203.4", "mean_cost": "1200"},
        {"principal": "A41", "main": "*", "class": "basic", "treatment": "surgery"},
        {"principal": "A41.900", "main": "*", "score": "12"},
    ]
    profile = {"class_rank": ["basic surgery"]}
    plan = catalogue_of(tmp_path, groups, comparators=(comparator,), profile=profile)
    answer = ask(plan, "A41.900", px="47.0100", total_cost_fen=cost)
    assert answer.group == expected
    tied = comparator == "nearest_mean_cost" and cost in (None, 110_000)
    assert answer.decided_by == ("code_order" if tied else comparator)


def test_auxiliary_types_take_the_highest_coefficient(tmp_path: Path) -> None:
    scheme = """
[[auxiliary]]
id = "death"
family = "death"
name = "住院3天内死亡"
los = "<=3"
discharge_mode = ["5"]
[[auxiliary]]
id = "tumour"
family = "other"
name = "伴肿瘤"
other_diagnoses = ["C00-C75"]
"""
    rows = [
        ("type", "group", "coefficient", "mean_cost"),
        ("death", "*", "1.5", ""),
        ("death", "G2", "0.35", ""),
        ("tumour", "G2", "0.35", "7.01"),
        ("tumour", "G3", "1.50", "7.01"),
    ]
    groups = [
        {"principal": "A41", "main": "", "mean_cost": "1000.10"},
        {"principal": "A46", "main": ""},
    ]
    plan = catalogue_of(tmp_path, groups, scheme=scheme, auxiliary=rows)
    early = ask(plan, "A41.900", los=3, discharge_mode="5")
    assert (early.aux_type, early.aux_factor) == ("death", Decimal("0.35"))
    assert early.aux_mean_fen == 35_004  # 35,003.5
    assert ask(plan, "A41.900", los=4, discharge_mode="5").aux_type == ""
    tie = ask(plan, "A41.900", "C34.900", los=3, discharge_mode="5")
    assert tie.aux_type == "death"
    assert ask(plan, "A41.900", "C34.900").aux_mean_fen == 701
    other = ask(plan, "A46.x00", los=0, discharge_mode="5")
    assert (other.aux_factor, other.aux_mean_fen) == (Decimal("1.5"), None)
