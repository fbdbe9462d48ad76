"""The lowered program against a direct evaluation, and each trap that other implementations met.

Every case here is grouped twice, by the kernel and by the naive oracle, and whole rows are compared:
`Both.group` fails where they differ. What a test says itself is what the answer must be.
"""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shared import SHIPPED
from tiny import Both, Rows, case, of_kernel, tiny_codes, tiny_scheme

from grouper import load_drg
from grouper.tables import text_of
from grouper.tables._rules import And, Compare, Const, Count, Member, Or, Rule

pytestmark = pytest.mark.promise("The lowered rules decide as the rules do")

# ----------------------------------------------------------------------------------- random schemes

DIAGNOSES = [f"d{k}" for k in range(8)]
PROCEDURES = [f"p{k}" for k in range(6)]
GREY_PROCEDURES = [
    "p1",
    "p3",
]  # p0 is drawn as a diagnosis too, and grey is said of a code, not of a side
SETS = {
    "A": ["d0", "d1", "d2"],
    "B": ["d2", "d3", "p0"],  # a set may hold diagnoses and procedures
    "C": ["d0", "d4"],
    "P": ["p0", "p1", "p2"],
    "Q": ["p2", "p3", "d0"],
    "R": ["p4"],
}
NUMBERS = {
    "NL": (0, 1, 17, 18, 70),
    "XSRTL": (0, 28, 29),
    "XSRTZ": (1499, 1500, 2500),
    "XB": (1, 2),
    "ZYTS": (0, 5, 60),
    "ICUSC": (0, 120),
}
TEXTS = {"LYFS": ("2", "5"), "CYKS": ("ICU", "0302")}

variables = st.lists(
    st.sampled_from(["ZYZD", "QTZD", "ZYSS", "QTSS"]), min_size=1, max_size=3, unique=True
).map(tuple)
set_names = st.sampled_from(list(SETS))


@st.composite
def members(draw: st.DrawFn) -> Rule:
    vars_ = draw(variables)
    known = [*SETS, "MCC", "CC"] if "QTZD" in vars_ else list(SETS)
    sets = draw(st.lists(st.sampled_from(known), min_size=1, max_size=2, unique=True))
    return Member(vars_, tuple(sets), draw(st.booleans()))


severities = st.builds(
    Member, st.just(("QTZD",)), st.sampled_from([("MCC",), ("CC",), ("MCC", "CC")]), st.booleans()
)


@st.composite
def comparisons(draw: st.DrawFn) -> Rule:
    var = draw(st.sampled_from([*NUMBERS, *TEXTS]))
    if var in TEXTS:
        return Compare(var, "=", draw(st.sampled_from(TEXTS[var])))
    op = draw(st.sampled_from(["=", "<", "<=", ">", ">="]))
    return Compare(var, op, draw(st.sampled_from(NUMBERS[var])))


@st.composite
def counts(draw: st.DrawFn) -> Rule:
    # `length` counts codes; a text that is a diagnosis and a procedure is no code of either edition
    sides = draw(st.sampled_from([("ZYZD", "QTZD"), ("ZYSS", "QTSS"), ("QTZD",), ("QTSS",)]))
    op = draw(st.sampled_from(["=", "<", "<=", ">", ">="]))
    return Count(draw(set_names), sides, op, draw(st.integers(0, 3)))


def joined(parts: st.SearchStrategy[Rule]) -> st.SearchStrategy[Rule]:
    several = st.lists(parts, min_size=2, max_size=3).map(tuple)
    return st.one_of(st.builds(And, several), st.builds(Or, several))


atom_trees: st.SearchStrategy[Rule] = st.one_of(
    members(), members(), severities, comparisons(), counts(), st.booleans().map(Const)
)
rules = st.recursive(atom_trees, joined, max_leaves=6).map(text_of)
any_rule = st.one_of(st.just(""), rules, rules, rules)


@st.composite
def schemes(draw: st.DrawFn) -> dict[str, Any]:
    """Draw the arguments of `tiny_scheme`: some MDCs, ADRGs (branches, QY, remainders), DRGs."""
    mdc, adrg, drg = [], [], []
    letters = "ABC"[: draw(st.integers(1, 3))]
    sort = draw(st.permutations(range(1, len(letters) + 1)))
    for letter, place in zip(letters, sort, strict=True):
        mdc.append((f"MDC{letter}", draw(any_rule), str(place)))
        codes = draw(st.sampled_from([["A1"], ["A1", "QY"], ["A1#1", "A1#2"], ["A1", "B1", "00"]]))
        for code in codes:
            adrg.append((letter + code, draw(any_rule)))
            above = letter + code
            bare = above.split("#")[0]
            for n in draw(st.sampled_from([["9"], ["1", "5"], ["1", "3", "5"], ["1", ""]])):
                drg.append((bare + n, draw(any_rule), above, f"MDC{letter}"))
    levels = st.lists(
        st.tuples(
            st.sampled_from(DIAGNOSES),
            st.sampled_from(["MCC", "CC"]),
            st.sampled_from(["", "E", "F"]),
        ),
        min_size=1,
        max_size=6,
        unique_by=lambda row: row[:2],
    )
    excluded = st.lists(st.sampled_from(DIAGNOSES), min_size=1, max_size=3, unique=True)
    grey = draw(st.booleans())
    options = [
        f'newborn_weight = "{draw(st.sampled_from(["birth", "admission"]))}"',
        f'grey_principal = "{draw(st.sampled_from(["allow", "ungrouped"]))}"',
        f'grey_procedure = "{draw(st.sampled_from(["keep", "blank", "drop_promote_next"]))}"',
        f"retry_other_procedures = {str(draw(st.booleans())).lower()}",
        *(['code_list = "few"'] if grey else []),
    ]
    return {
        "mdc": mdc,
        "adrg": adrg,
        "drg": drg,
        "sets": SETS,
        "cc": draw(levels),
        "exclusions": {"E": draw(excluded), "F": draw(excluded)},
        "toml": "\n".join(options),
    }


@st.composite
def cases(draw: st.DrawFn) -> dict[str, Any]:
    dx = st.sampled_from([*DIAGNOSES, *DIAGNOSES, "unknown", "p0", ""])
    px = st.sampled_from([*PROCEDURES, *PROCEDURES, "unknown", "d0", ""])
    age = draw(st.sampled_from([0, 0, 1, 17, 18, 70, 71]))
    days = st.sampled_from([0, 28, 29, 300])
    grams = st.sampled_from([None, 100, 1499, 1500, 2500])
    return case(
        draw(st.sampled_from(DIAGNOSES)),
        *draw(st.lists(dx, max_size=4)),
        px=draw(st.lists(px, max_size=4)),
        sex=draw(st.sampled_from([0, 1, 2, 9])),
        age=age,
        age_days=draw(days) if age == 0 else draw(st.sampled_from([None, 5])),
        birth_weight=draw(grams),
        admission_weight=draw(grams),
        los=draw(st.sampled_from([None, 0, 5, 6, 60])),
        icu_hours=draw(st.sampled_from([None, 0, 120, 121])),
        discharge_mode=draw(st.sampled_from([None, "2", "5", "9"])),
        department=draw(st.sampled_from([None, "ICU", "0302", ""])),
    )


@settings(max_examples=150, deadline=None)
@given(schemes(), st.lists(cases(), min_size=1, max_size=12))
def test_a_random_scheme_groups_random_cases_as_the_oracle_does(
    tmp_path_factory: pytest.TempPathFactory, scheme: dict[str, Any], drawn: list[dict[str, Any]]
) -> None:
    folder = tmp_path_factory.mktemp("random") / "tiny"
    tiny_scheme(folder, **scheme)
    codes = tiny_codes(
        folder / "few",
        diagnoses=DIAGNOSES,
        procedures=PROCEDURES,
        grey_diagnoses=["d1", "d5"],
        grey_procedures=GREY_PROCEDURES,
    )
    Both(folder, codes if "code_list" in scheme["toml"] else None).group(*drawn)


@settings(max_examples=100, deadline=None)
@given(rules, st.lists(cases(), min_size=8, max_size=8))
def test_a_rule_means_the_same_on_every_level(
    tmp_path_factory: pytest.TempPathFactory, rule: str, drawn: list[dict[str, Any]]
) -> None:
    """Masks, rests and picks are three ways of evaluating; the rule is the same."""
    folder = tmp_path_factory.mktemp("levels")
    found = []
    for place in ("mdc", "adrg", "drg"):
        at = {p: rule if p == place else "" for p in ("mdc", "adrg", "drg")}
        both = Both(
            tiny_scheme(
                folder / place,
                mdc=[("MDCA", at["mdc"])],
                adrg=[("AA1", at["adrg"])],
                drg=[("AA19", at["drg"])],
                sets=SETS,
                cc=[("d1", "MCC", "E"), ("d2", "CC", "F"), ("d3", "CC", "")],
                exclusions={"E": ["d4"], "F": ["d0", "d5"]},
            )
        )
        found.append([a.group for a in both.group(*drawn)])
    assert found[0] == found[1] == found[2]


@settings(max_examples=100, deadline=None)
@given(rules, st.lists(cases(), min_size=8, max_size=8))
def test_a_rule_and_its_opposite_never_hold_together(
    tmp_path_factory: pytest.TempPathFactory, rule: str, drawn: list[dict[str, Any]]
) -> None:
    """The second of two ADRGs, always true, takes exactly what the first leaves."""
    folder = tmp_path_factory.mktemp("opposite")
    cc = [("d1", "MCC", "E"), ("d2", "CC", "F")]
    exclusions = {"E": ["d4"], "F": ["d0", "d5"]}
    several: dict[str, Any] = {"sets": SETS, "cc": cc, "exclusions": exclusions}
    alone = Both(tiny_scheme(folder / "one", mdc=[("MDCA", "")], adrg=[("AA1", rule)], **several))
    both = Both(
        tiny_scheme(
            folder / "two",
            mdc=[("MDCA", "")],
            adrg=[("AA1", rule), ("AB1", "")],
            drg=[("AA19", ""), ("AB19", "")],
            **several,
        )
    )
    first, second = alone.group(*drawn), both.group(*drawn)
    assert all(b.group == (a.group or "AB19") for a, b in zip(first, second, strict=True))


# --------------------------------------------------------------------------------- traps: the codes


@cache
def shipped(name: str = "chs-drg-1.1-qy") -> Both:
    return Both(SHIPPED / name, SHIPPED / "codes-nhsa-2.0")


def test_a_dagger_asterisk_code_is_one_code_matched_whole(tmp_path: Path) -> None:
    ask = Both(
        tiny_scheme(
            tmp_path / "s",
            adrg=[("AA1", "ZYZD in TB"), ("AB1", "ZYZD in TYPHOID")],
            drg=[("AA19", ""), ("AB19", "")],
            mdc=[("MDCA", "ZYZD in {TB, TYPHOID}")],
            sets={"TB": ["A01.002+G01*"], "TYPHOID": ["A01.002"]},
        )
    )
    assert ask("A01.002+G01*").group == "AA19"
    assert ask("A01.002").group == "AB19"
    for code in ("A01.002+", "A01.002+G01", "G01*", "A01.00", "A01.002+G01*x"):
        assert ask(code).reason == "no_mdc"


def test_the_shipped_dagger_codes_are_known_whole() -> None:
    known = shipped().scheme.code_id
    daggers = [c for c in known if "+" in c]
    assert daggers
    first = min(c for c in daggers if "*" in c)
    assert shipped()(first).status == "grouped"
    assert shipped()(first[:-1]).reason == "unknown_principal"


LENGTHS = (17, 18, 24, 25, 40)


@pytest.mark.parametrize("n", LENGTHS)
@pytest.mark.parametrize("listed", [False, True], ids=["any code", "code list"])
def test_a_code_of_any_length_is_compared_to_its_end(tmp_path: Path, n: int, listed: bool) -> None:
    dx, px = "D" + "1" * (n - 1), "9" * n
    folder = tiny_scheme(
        tmp_path / "s",
        mdc=[("MDCA", "ZYZD in DX")],
        adrg=[("AA1", "ZYSS in PX"), ("AR1", "")],
        drg=[("AA11", "QTZD in CC"), ("AA15", ""), ("AR19", "")],
        sets={"DX": [dx], "PX": [px]},
        cc=[("C" * n, "CC", "")],
        toml='code_list = "few"' if listed else "",
    )
    ask = Both(folder, tiny_codes(folder / "few", diagnoses=["x"]) if listed else None)
    other = "unknown_principal" if listed else "no_mdc"
    assert ask(dx, px=[px]).group == "AA15"
    assert ask(dx, "C" * n, px=[px]).group == "AA11"
    assert ask(dx).group == "AR19"
    for wrong in (dx[:-1], dx[:-1] + "2", dx + "1", "E" + dx[1:]):
        assert ask(wrong).reason == other
    for wrong in (px[:-1], px[:-1] + "8", px + "9"):
        assert ask(dx, px=[wrong]).group == "AR19"
    assert ask(dx, "C" * (n - 1), px=[px]).group == "AA15"


def test_codes_of_seventeen_and_eighteen_characters_are_shipped() -> None:
    listed = shipped().scheme.code_list
    assert listed is not None
    assert sum(len(c) in (17, 18) for c in listed.diagnoses) == 550
    assert max(map(len, listed.diagnoses)) == 18


def test_o000_is_the_remainder_of_mdco_and_digits_are_no_letters(tmp_path: Path) -> None:
    ask = Both(
        tiny_scheme(
            tmp_path / "s",
            mdc=[("MDCO", "ZYZD in DX")],
            adrg=[("O00", "ZYZD in ZERO"), ("OOO", "")],
            drg=[("O000", "", "O00", "MDCO"), ("OOO0", "", "OOO", "MDCO")],
            sets={"DX": ["O10", "010", "O1O"], "ZERO": ["O10"]},
        )
    )
    assert ask("O10")[:5] == ("ungrouped", "remainder", "MDCO", "O00", "O000")
    assert ask("O1O")[:5] == ("grouped", "", "MDCO", "OOO", "OOO0")
    assert ask("01O").reason == "no_mdc"


def test_a_set_may_hold_diagnoses_and_procedures(tmp_path: Path) -> None:
    ask = Both(
        tiny_scheme(
            tmp_path / "s",
            mdc=[("MDCA", "1")],
            adrg=[("AA1", "ZYSS in MIX"), ("AB1", "ZYZD in MIX"), ("AC1", "QTZD in MIX")],
            drg=[("AA19", ""), ("AB19", ""), ("AC19", "")],
            sets={"MIX": ["J96.000", "96.7201"]},
        )
    )
    assert ask("x", px=["96.7201"]).group == "AA19"
    assert ask("J96.000").group == "AB19"
    assert ask("x", "J96.000").group == "AC19"
    assert ask("96.7201").group == "AB19"  # the same text, as the list has it
    assert ask("x", px=["y", "96.7201"]).reason == "no_adrg"


def test_a_code_is_known_on_the_side_on_which_some_rule_looks_for_it(tmp_path: Path) -> None:
    folder = tiny_scheme(
        tmp_path / "s",
        mdc=[("MDCA", "ZYZD in DX")],
        adrg=[("AA1", "ZYSS in PX"), ("AB1", "")],
        drg=[("AA19", ""), ("AB19", "")],
        sets={"DX": ["dx"], "PX": ["px"]},
        toml='code_list = "few"',
    )
    ask = Both(folder, tiny_codes(folder / "few", diagnoses=["listed"], procedures=["done"]))
    assert ask("dx", "listed", "cc", "none", px=["px", "done"]).warnings == ()
    assert ask("px").reason == "unknown_principal"
    assert ask("dx", "px").warnings == ("unknown_secondary",)
    assert ask("dx", px=["dx"]).warnings == ("unknown_procedure",)


def test_a_code_of_a_set_that_no_rule_uses_is_known_on_both_sides(tmp_path: Path) -> None:
    folder = tiny_scheme(
        tmp_path / "s", sets={"DX": ["dx"], "UNUSED": ["u"]}, toml='code_list = "few"'
    )
    ask = Both(folder, tiny_codes(folder / "few", diagnoses=["listed"], procedures=["done"]))
    assert ask("dx", "u", px=["u"]).warnings == ()
    assert ask("u").reason == "no_mdc"
    assert ask("dx", "v", px=["v"]).warnings == ("unknown_procedure", "unknown_secondary")


def test_one_unknown_secondary_never_rejects_a_case() -> None:
    known = shipped()("I63.900")
    unknown = shipped()("I63.900", "nonsense", px=["nonsense"])
    assert known.status == "grouped"
    assert unknown[:7] == known[:7]
    assert set(unknown.warnings) - set(known.warnings) == {"unknown_procedure", "unknown_secondary"}


def test_without_a_code_list_no_code_is_unknown(tmp_path: Path) -> None:
    ask = Both(tiny_scheme(tmp_path / "s", mdc=[("MDCA", "ZYZD not in DX")]))
    assert ask("whatever", "other", px=["more"])[:2] == ("grouped", "")
    assert ask("whatever", "other", "other", px=["more"]).warnings == ()
    assert ask("dx").reason == "no_mdc"


def test_a_code_list_makes_other_principals_unknown(tmp_path: Path) -> None:
    folder = tiny_scheme(tmp_path / "s", mdc=[("MDCA", "ZYZD not in DX")], toml='code_list = "few"')
    ask = Both(folder, tiny_codes(folder / "few", diagnoses=["listed"]))
    assert ask("whatever")[:2] == ("rejected", "unknown_principal")
    assert ask("listed", "whatever")[:2] == ("grouped", "")
    assert ask("listed", "whatever").warnings == ("unknown_secondary",)


# ------------------------------------------------------------------- traps: membership and counting


def test_a_set_asked_of_all_procedures_may_be_met_by_the_principal_one(tmp_path: Path) -> None:
    ask = Both(
        tiny_scheme(
            tmp_path / "s",
            adrg=[("AA1", "ZYSS in S1 and {ZYSS, QTSS} in S2")],
            sets={"DX": ["dx"], "S1": ["both", "one"], "S2": ["both", "two"]},
        )
    )
    assert ask("dx", px=["both"]).group == "AA19"
    assert ask("dx", px=["one", "two"]).group == "AA19"
    assert ask("dx", px=["one", "x", "both"]).group == "AA19"
    assert ask("dx", px=["two", "one"]).reason == "no_adrg"
    assert ask("dx", px=["one"]).reason == "no_adrg"
    assert ask("dx").reason == "no_adrg"


def test_the_robot_set_is_exactly_its_codes(tmp_path: Path) -> None:
    ask = Both(
        tiny_scheme(
            tmp_path / "s",
            mdc=[("MDCE", "ZYZD in DX")],
            adrg=[("EB1", "ZYSS in LUNG")],
            drg=[("EB10", "{ZYSS, QTSS} in OP_ARB"), ("EB19", "")],
            sets={"DX": ["dx"], "LUNG": ["32.4"], "OP_ARB": ["17.4100", "17.4200x001"]},
        )
    )
    assert ask("dx", px=["32.4", "17.4100"]).group == "EB10"
    assert ask("dx", px=["32.4", "17.4200x001"]).group == "EB10"
    for near in ("17.4", "17.41", "17.4101", "17.4200", "17.4200x002", "17.4100x001"):
        assert ask("dx", px=["32.4", near]).group == "EB19"


def test_only_the_first_procedure_is_the_principal_one(tmp_path: Path) -> None:
    ask = Both(
        tiny_scheme(
            tmp_path / "s",
            adrg=[("AA1", "ZYSS in PX"), ("AB1", "QTSS in PX")],
            drg=[("AA19", ""), ("AB19", "")],
            sets={"DX": ["dx"], "PX": ["px"]},
        )
    )
    assert ask("dx", px=["px", "x"]).group == "AA19"
    assert ask("dx", px=["x", "px"]).group == "AB19"
    assert ask("dx", px=["x", "y", "px"]).group == "AB19"
    assert ask("dx", px=["", "px"]).group == "AA19"  # a blank is no procedure


def test_a_secondary_equal_to_the_principal_is_dropped_first(tmp_path: Path) -> None:
    ask = Both(
        tiny_scheme(
            tmp_path / "s",
            mdc=[("MDCA", "")],
            adrg=[("AA1", "QTZD in DX"), ("AB1", "length(DX ∩ {ZYZD, QTZD})>1"), ("AC1", "")],
            drg=[("AA19", ""), ("AB19", ""), ("AC11", "QTZD in CC"), ("AC15", "")],
            sets={"DX": ["dx", "cc"]},
            cc=[("dx", "CC", ""), ("cc", "CC", "")],
        )
    )
    twice = ask("dx", "dx")
    assert (twice.group, twice.severity, twice.warnings) == (
        "AC15",
        "none",
        ("principal_as_secondary",),
    )
    assert ask("dx", "cc").group == "AA19"


def test_repeats_count_once(tmp_path: Path) -> None:
    ask = Both(
        tiny_scheme(
            tmp_path / "s",
            adrg=[("AA1", "length(TWO ∩ {ZYSS, QTSS})>=2"), ("AB1", "length(SEC ∩ QTZD)=1")],
            drg=[("AA19", ""), ("AB19", "")],
            sets={"DX": ["dx"], "TWO": ["p", "q"], "SEC": ["s", "t"]},
        )
    )
    assert ask("dx", px=["p", "q"]).group == "AA19"
    assert ask("dx", px=["p", "p"]).reason == "no_adrg"
    assert ask("dx", px=["p", "p", "q"]).group == "AA19"
    assert ask("dx", px=["", "p", "", "p"]).reason == "no_adrg"
    assert ask("dx", px=["p", "p", "q", "q"]).group == "AA19"
    assert ask("dx", px=["x", "p", "p"]).reason == "no_adrg"
    assert ask("dx", "s", "s").group == "AB19"
    assert ask("dx", "s", "s").warnings == ("duplicate_secondary",)
    assert ask("dx", "s", "t").reason == "no_adrg"


def test_a_repeat_of_the_principal_procedure_is_no_other_procedure(tmp_path: Path) -> None:
    ask = Both(
        tiny_scheme(
            tmp_path / "s", adrg=[("AA1", "QTSS in P")], sets={"DX": ["dx"], "P": ["p", "q"]}
        )
    )
    assert ask("dx", px=["p", "q"]).group == "AA19"
    assert ask("dx", px=["p", "p"]).reason == "no_adrg"
    assert ask("dx", px=["p", "p", "q"]).group == "AA19"
    assert ask("dx", px=["", "p", "", "p"]).reason == "no_adrg"


def test_more_sets_than_bits_in_a_word(tmp_path: Path) -> None:
    n = 150
    ask = Both(
        tiny_scheme(
            tmp_path / "s",
            mdc=[("MDCA", "ZYZD in {" + ", ".join(f"S{k}" for k in range(n)) + "}")],
            adrg=[("AA1", f"ZYZD in S{n - 1} and QTZD in S0"), ("AB1", "QTZD in S64"), ("AC1", "")],
            drg=[
                ("AA19", ""),
                ("AB19", ""),
                *((f"AC{k}", f"ZYZD in S{k}", "AC1") for k in range(n)),
            ],
            sets={f"S{k}": [f"d{k}", "common"] for k in range(n)},
        )
    )
    answers = ask.group(*(case(f"d{k}") for k in range(n)))
    assert [a.group for a in answers] == [f"AC{k}" for k in range(n)]
    assert ask(f"d{n - 1}", "d0").group == "AA19"
    assert ask("d63", "d64").group == "AB19"
    assert ask("d64", "d65").group == "AC64"
    assert ask("common").group == "AC0"


def test_more_adrgs_in_one_mdc_than_bits_in_a_word(tmp_path: Path) -> None:
    n = 200
    codes = [f"A{k:03d}" for k in range(n)]
    ask = Both(
        tiny_scheme(
            tmp_path / "s",
            mdc=[("MDCA", ""), ("MDCB", "")],
            adrg=[*((c, f"ZYZD in S{k % 100}") for k, c in enumerate(codes)), ("BB1", "")],
            drg=[
                *((f"{c}-", "1" if k < 100 else "0", c) for k, c in enumerate(codes)),
                ("BB19", ""),
            ],
            sets={f"S{k}": [f"d{k}"] for k in range(100)},
        )
    )
    answers = ask.group(*(case(f"d{k}") for k in range(100)))
    assert [a.adrg for a in answers] == codes[:100]
    assert ask("other").group == "BB19"


# ------------------------------------------------------------------------ traps: severity, exclusion


@pytest.fixture
def severe(tmp_path: Path) -> Both:
    return Both(
        tiny_scheme(
            tmp_path / "s",
            mdc=[("MDCA", "")],
            drg=[("AA11", "QTZD in MCC"), ("AA13", "QTZD in CC"), ("AA15", "")],
            cc=[
                ("m", "MCC", "EM"),
                ("c", "CC", "EC"),
                ("never", "CC", ""),
                ("two", "MCC", "EM"),
                ("two", "CC", "EC"),
            ],
            exclusions={"EM": ["no-m", "no"], "EC": ["no-c", "no", "m"]},
        )
    )


def test_excluded_means_by_the_principal_diagnosis(severe: Both) -> None:
    assert severe("x", "m")[4:6] == ("AA11", "mcc")
    assert severe("x", "c")[4:6] == ("AA13", "cc")
    assert severe("no-m", "m")[4:6] == ("AA15", "none")
    assert severe("no-c", "c")[4:6] == ("AA15", "none")
    assert severe("no-c", "m")[4:6] == ("AA11", "mcc")
    assert severe("x", "c", "no-c")[4:6] == ("AA13", "cc")  # a secondary excludes nothing
    assert severe("x", "no-c", "c")[4:6] == ("AA13", "cc")
    assert severe("no", "m", "c", "two", "never")[4:6] == ("AA13", "cc")
    assert severe("no", "m", "c", "two")[4:6] == ("AA15", "none")


def test_the_principal_never_counts_as_complication(severe: Both) -> None:
    assert severe("m")[4:6] == ("AA15", "none")
    assert severe("m", "m")[4:6] == ("AA15", "none")
    assert severe("c", "m")[4:6] == ("AA11", "mcc")
    assert severe("m", "c")[4:6] == ("AA15", "none")  # m stands in the exclusion table of c


def test_one_code_is_mcc_and_cc_each_with_its_exclusion(severe: Both) -> None:
    assert severe("x", "two")[4:6] == ("AA11", "mcc")
    assert severe("no-m", "two")[4:6] == ("AA13", "cc")
    assert severe("no-c", "two")[4:6] == ("AA11", "mcc")
    assert severe("no", "two")[4:6] == ("AA15", "none")


def test_severity_is_reported_whatever_the_rule_asked(tmp_path: Path) -> None:
    ask = Both(
        tiny_scheme(
            tmp_path / "s",
            mdc=[("MDCA", "ZYZD in DX")],
            adrg=[("AQY", "ZYSS in PX"), ("AR1", "ZYZD in R"), ("A00", "")],
            drg=[("AQY", "", "AQY"), ("AR19", ""), ("A000", "")],
            sets={"DX": ["dx", "r"], "R": ["r"], "PX": ["px"]},
            cc=[("m", "MCC", ""), ("c", "CC", "")],
        )
    )
    assert ask("r", "c", "m").severity == "mcc"
    assert ask("r", "c").severity == "cc"
    assert ask("r").severity == "none"
    assert ask("r", "c", px=["px"])[:6] == ("ambiguous", "", "MDCA", "AQY", "AQY", "cc")
    assert ask("dx", "c")[:6] == ("ungrouped", "remainder", "MDCA", "A00", "A000", "cc")
    assert ask("x", "c")[:7] == ("ungrouped", "no_mdc", "", "", "", "", "")


SEVERITIES = {  # DRG rule: does it hold of a case without CC, with CC, with MCC, with both
    "QTZD in MCC": (0, 0, 1, 1),
    "QTZD in CC": (0, 1, 0, 1),
    "QTZD in {MCC, CC}": (0, 1, 1, 1),
    "QTZD not in MCC": (1, 1, 0, 0),
    "QTZD not in CC": (1, 0, 1, 0),
    "QTZD not in {CC, MCC}": (1, 0, 0, 0),
    "QTZD in MCC and QTZD in CC": (0, 0, 0, 1),
    "QTZD in MCC or QTZD in CC": (0, 1, 1, 1),
    "QTZD in MCC and QTZD not in CC": (0, 0, 1, 0),
    "QTZD in CC and (QTZD not in MCC or 0)": (0, 1, 0, 0),
    "(QTZD in MCC or 1) and QTZD not in CC": (1, 0, 1, 0),
    "QTZD in MCC and NL>18": (0, 0, 1, 1),
    "QTZD not in CC or NL<18": (1, 0, 1, 0),
    "0": (0, 0, 0, 0),
    "": (1, 1, 1, 1),
}


@pytest.mark.parametrize("rule", SEVERITIES)
@pytest.mark.parametrize("before", [[], ["NL<18"], ["0"]], ids=["alone", "behind NL", "behind 0"])
def test_a_drg_that_asks_of_severity(tmp_path: Path, rule: str, before: list[str]) -> None:
    drg = [(f"AA1{k}", text) for k, text in enumerate([*before, rule, ""])]
    ask = Both(tiny_scheme(tmp_path / "s", drg=drg, cc=[("m", "MCC", ""), ("c", "CC", "")]))
    answers = ask.group(case("dx"), case("dx", "c"), case("dx", "m"), case("dx", "c", "m"))
    assert [a.severity for a in answers] == ["none", "cc", "mcc", "mcc"]
    first = len(before)
    held = [a.group == f"AA1{first}" for a in answers]
    assert held == list(map(bool, SEVERITIES[rule]))
    assert all(h or a.group == f"AA1{first + 1}" for h, a in zip(held, answers, strict=True))


def test_severity_beside_a_set_in_one_atom(tmp_path: Path) -> None:
    ask = Both(
        tiny_scheme(
            tmp_path / "s",
            drg=[("AA11", "{ZYZD, QTZD} in {MCC, S}"), ("AA13", "QTZD not in CC"), ("AA15", "")],
            sets={"DX": ["dx", "s"], "S": ["s"]},
            cc=[("m", "MCC", ""), ("c", "CC", ""), ("dx", "MCC", "")],
        )
    )
    assert ask("dx", "m").group == "AA11"
    assert ask("s").group == "AA11"
    assert ask("dx", "s").group == "AA11"
    assert ask("dx").group == "AA13"
    assert ask("dx", "c").group == "AA15"


# --------------------------------------------------------------------------- traps: rows and order


def test_a_remainder_keeps_its_codes_and_is_ungrouped(tmp_path: Path) -> None:
    ask = Both(
        tiny_scheme(
            tmp_path / "s",
            adrg=[("AR1", "QTZD in DX"), ("A00", "")],
            drg=[("AR19", ""), ("A000", "")],
        )
    )
    found = ask("dx")
    assert found[:5] == ("ungrouped", "remainder", "MDCA", "A00", "A000")
    assert found.rule == "adrg.csv:3 A00 > drg.csv:3"


def test_qy_is_ambiguous_with_its_own_code(tmp_path: Path) -> None:
    adrg = [("AA1", "ZYSS in S1"), ("AQY", "ZYSS in OP_ALL"), ("AR1", "")]
    drg = [("AA19", ""), ("AQY", "", "AQY"), ("AR19", "")]
    sets = {"DX": ["dx"], "S1": ["p"], "OP_ALL": ["p", "q"]}
    ask = Both(tiny_scheme(tmp_path / "s", adrg=adrg, drg=drg, sets=sets))
    assert ask("dx", px=["p"])[:5] == ("grouped", "", "MDCA", "AA1", "AA19")
    assert ask("dx", px=["q"])[:5] == ("ambiguous", "", "MDCA", "AQY", "AQY")
    assert ask("dx", px=["x", "q"])[:5] == ("grouped", "", "MDCA", "AR1", "AR19")


def test_the_patterns_of_qy_and_remainder_are_options(tmp_path: Path) -> None:
    rows: dict[str, Any] = {
        "adrg": [("AQY", "QTZD in DX"), ("AX9", "ZYSS in DX"), ("A00", "")],
        "drg": [("AQY", "", "AQY"), ("AX9", "", "AX9"), ("A000", "")],
        "sets": {"DX": ["dx", "s"]},
    }
    toml = 'ambiguous_adrg = "AX9"\nremainder_adrg = "nothing"'
    ask = Both(tiny_scheme(tmp_path / "s", **rows, toml=toml))
    assert ask("dx", "s")[:5] == ("grouped", "", "MDCA", "AQY", "AQY")
    assert ask("dx", px=["s"])[:5] == ("ambiguous", "", "MDCA", "AX9", "AX9")
    assert ask("dx")[:5] == ("grouped", "", "MDCA", "A00", "A000")


def test_branches_of_one_adrg_answer_its_code(tmp_path: Path) -> None:
    ask = Both(
        tiny_scheme(
            tmp_path / "s",
            mdc=[("MDCJ", "ZYZD in DX")],
            adrg=[("JA1#1", "ZYSS in P"), ("JA1#2", "ZYSS in Q")],
            drg=[
                ("JA11", "QTZD in CC", "JA1#1"),
                ("JA15", "", "JA1#1"),
                ("JA11", "QTZD in CC", "JA1#2"),
                ("JA15", "", "JA1#2"),
            ],
            sets={"DX": ["dx"], "P": ["p"], "Q": ["q"]},
        )
    )
    first, second = ask("dx", px=["p"]), ask("dx", "cc", px=["q"])
    assert first[3:5] == ("JA1", "JA15")
    assert second[3:5] == ("JA1", "JA11")
    assert first.rule == "adrg.csv:2 JA1#1 > drg.csv:3"
    assert second.rule == "adrg.csv:3 JA1#2 > drg.csv:4"


def test_branches_of_qy_and_of_a_remainder_keep_their_status(tmp_path: Path) -> None:
    ask = Both(
        tiny_scheme(
            tmp_path / "s",
            adrg=[("AQY#1", "ZYSS in DX"), ("A00#1", "QTZD in DX"), ("A00#2", "")],
            drg=[("AQY", "", "AQY#1"), ("A000", "", "A00#1"), ("A000", "", "A00#2")],
            sets={"DX": ["dx", "s"]},
        )
    )
    assert ask("dx", px=["s"])[:5] == ("ambiguous", "", "MDCA", "AQY", "AQY")
    assert ask("dx", "s")[:5] == ("ungrouped", "remainder", "MDCA", "A00", "A000")
    assert ask("dx")[:5] == ("ungrouped", "remainder", "MDCA", "A00", "A000")


def test_a_drg_row_may_return_the_bare_adrg(tmp_path: Path) -> None:
    ask = Both(
        tiny_scheme(
            tmp_path / "s",
            mdc=[("MDCR", "ZYZD in DX")],
            adrg=[("RC1", "")],
            drg=[("RC12", "ZYTS>=13"), ("RC18", "ZYTS=1"), ("RC1", "", "RC1")],
        )
    )
    assert ask("dx", los=13).group == "RC12"
    assert ask("dx", los=1).group == "RC18"
    assert ask("dx", los=5)[3:5] == ("RC1", "RC1")
    assert ask("dx")[3:5] == ("RC1", "RC1")


def test_an_adrg_is_left_when_none_of_its_drgs_holds(tmp_path: Path) -> None:
    ask = Both(
        tiny_scheme(
            tmp_path / "s",
            mdc=[("MDCP", "ZYZD in DX"), ("MDCQ", "ZYZD in NEXT")],
            adrg=[("PK1", ""), ("PR1", "QTZD in DX"), ("QA1", "")],
            drg=[("PK11", "NL<18"), ("PR11", "NL<50"), ("QA19", "")],
            sets={"DX": ["dx", "both"], "NEXT": ["both"]},
        )
    )
    assert ask("dx", age=17).group == "PK11"
    assert ask("dx", "both", age=18).group == "PR11"
    assert ask("dx", age=18)[:5] == ("ungrouped", "no_drg", "", "", "")
    assert ask("both", age=18).group == "QA19"


def test_an_mdc_is_left_when_none_of_its_adrgs_matches(tmp_path: Path) -> None:
    ask = Both(
        tiny_scheme(
            tmp_path / "s",
            mdc=[("MDCA", "ZYZD in DX"), ("MDCB", "ZYZD in NEXT")],
            adrg=[("AA1", "ZYSS in PX"), ("BB1", "")],
            drg=[("AA19", ""), ("BB19", "")],
            sets={"DX": ["dx", "both"], "NEXT": ["both"], "PX": ["px"]},
        )
    )
    assert ask("both", px=["px"]).group == "AA19"
    assert ask("both").group == "BB19"
    assert ask("dx")[:5] == ("ungrouped", "no_adrg", "", "", "")
    assert ask("none").reason == "no_mdc"


def test_mdcs_are_tried_by_sort_and_not_by_row(tmp_path: Path) -> None:
    rows: dict[str, Any] = {
        "adrg": [("AA1", ""), ("BB1", ""), ("CC1", "")],
        "drg": [("AA19", ""), ("BB19", ""), ("CC19", "")],
    }
    for place, (orders, first) in enumerate(
        [(("3", "1", "2"), "BB19"), (("2", "10", "1"), "CC19"), (("1", "1", "1"), "AA19")]
    ):
        mdc = [(f"MDC{c}", "", n) for c, n in zip("ABC", orders, strict=True)]
        ask = Both(tiny_scheme(tmp_path / str(place), mdc=mdc, **rows))
        assert ask("dx").group == first


def test_adrgs_are_tried_by_row_whatever_their_sort_says(tmp_path: Path) -> None:
    folder = tiny_scheme(
        tmp_path / "s",
        mdc=[("MDCO", "")],
        adrg=[("OT1", "QTZD in DX"), ("OZ1", "ZYSS in DX"), ("O00", "")],
        drg=[("OT19", ""), ("OZ19", ""), ("O000", "")],
        sets={"DX": ["dx"]},
    )
    text = (folder / "adrg.csv").read_text("utf-8")
    for faulty in (("19", "20", "18"), ("3", "2", "1"), ("", "x", "-1")):
        lines = text.splitlines()
        for k, sort in enumerate(faulty, 1):
            lines[k] = lines[k].rsplit(",", 1)[0] + f",{sort}"
        (folder / "adrg.csv").write_text("\n".join(lines) + "\n", "utf-8")
        ask = Both(folder)
        assert [ask(*c).group for c in (("x", "dx"), ("x",))] == ["OT19", "O000"]
        assert ask("x", px=["dx"]).group == "OZ19"


def test_rows_of_one_mdc_need_not_stand_together(tmp_path: Path) -> None:
    ask = Both(
        tiny_scheme(
            tmp_path / "s",
            mdc=[("MDCA", "ZYZD in DX"), ("MDCB", "")],
            adrg=[("AA1", "QTZD in DX"), ("BB1", ""), ("AB1", "NL>70")],
            drg=[("AB19", ""), ("BB11", "NL<18"), ("AA19", ""), ("BB15", "")],
            sets={"DX": ["dx", "s"]},
        )
    )
    assert ask("dx", "s").group == "AA19"
    assert ask("dx", age=71)[4:7] == ("AB19", "none", "adrg.csv:4 AB1 > drg.csv:2")
    assert ask("dx").group == "BB15"
    assert ask("x", age=17).group == "BB11"


def test_an_empty_rule_of_mdca_tries_its_adrgs_directly(tmp_path: Path) -> None:
    ask = Both(
        tiny_scheme(
            tmp_path / "s",
            mdc=[("MDCA", ""), ("MDCB", "ZYZD in DX")],
            adrg=[("AA1", "{ZYSS, QTSS} in PX"), ("BB1", "")],
            drg=[("AA19", ""), ("BB19", "")],
            sets={"DX": ["dx"], "PX": ["px"]},
        )
    )
    assert ask("dx", px=["x", "px"]).group == "AA19"
    assert ask("dx").group == "BB19"
    assert ask("x")[:2] == ("ungrouped", "no_adrg")


def test_a_row_behind_one_that_always_matches_is_never_reordered(tmp_path: Path) -> None:
    ask = Both(
        tiny_scheme(tmp_path / "s", drg=[("AA19", ""), ("AA11", "QTZD in CC")], adrg=[("AA1", "1")])
    )
    assert ask("dx", "cc")[4:6] == ("AA19", "cc")


def test_a_constant_rule_is_as_good_as_an_empty_one(tmp_path: Path) -> None:
    ask = Both(
        tiny_scheme(
            tmp_path / "s",
            mdc=[("MDCA", "0"), ("MDCB", "1")],
            adrg=[("AA1", ""), ("BA1", "0"), ("BB1", "1")],
            drg=[("AA19", ""), ("BA19", ""), ("BB11", "0"), ("BB19", "1")],
        )
    )
    assert ask("x").group == "BB19"


# -------------------------------------------------------------------------------- traps: the options

RETRY: dict[str, Any] = {
    "adrg": [("AA1", "ZYSS in P"), ("AB1", "ZYSS in Q"), ("AC1", "ZYSS in R and QTSS in Q")],
    "drg": [("AA19", ""), ("AB19", ""), ("AC19", "")],
    "sets": {"DX": ["dx"], "P": ["p"], "Q": ["q"], "R": ["r"]},
}


def test_each_other_procedure_is_tried_alone_and_only_where_a_scheme_says_so(
    tmp_path: Path,
) -> None:
    once = Both(tiny_scheme(tmp_path / "once", **RETRY))
    retry = Both(tiny_scheme(tmp_path / "retry", **RETRY, toml="retry_other_procedures = true"))
    for px, without, with_ in [
        (["p"], "AA19", "AA19"),
        (["x", "p"], "", "AA19"),
        (["x", "q", "p"], "", "AB19"),  # in the given order: the first that matches
        (["x", "p", "q"], "", "AA19"),
        (["x", "r", "q"], "", "AB19"),  # r alone has no other procedure beside it
        (["r", "q"], "AC19", "AC19"),  # nothing is retried once a group was found
        (["p", "q"], "AA19", "AA19"),
        (["x", "x", "p"], "", "AA19"),
        (["x", "unknown"], "", ""),
        ([], "", ""),
    ]:
        assert once("dx", px=px).group == without
        assert retry("dx", px=px).group == with_
    assert retry("dx", px=["x", "y"])[:2] == ("ungrouped", "no_adrg")


def test_a_remainder_is_a_group_so_nothing_is_retried(tmp_path: Path) -> None:
    rows = {**RETRY, "adrg": [*RETRY["adrg"], ("A00", "")], "drg": [*RETRY["drg"], ("A000", "")]}
    ask = Both(tiny_scheme(tmp_path / "s", **rows, toml="retry_other_procedures = true"))
    assert ask("dx", px=["x", "p"]).group == "A000"


def test_a_set_admitted_to_be_empty_holds_nothing(tmp_path: Path) -> None:
    rows: dict[str, Any] = {
        "adrg": [("AA1", "ZYSS in GONE"), ("AB1", "ZYSS not in {GONE, P}"), ("AC1", "")],
        "drg": [("AA19", ""), ("AB19", ""), ("AC19", "")],
        "sets": {"DX": ["dx"], "P": ["p"]},
    }
    ask = Both(tiny_scheme(tmp_path / "s", **rows, toml='known_empty_sets = ["GONE"]'))
    assert ask("dx", px=["x"]).group == "AB19"
    assert ask("dx", px=["p"]).group == "AC19"
    assert ask.scheme.notes == tuple(
        f"set GONE (adrg.csv:{line}) is empty in the source" for line in (2, 3)
    )
    assert ask.scheme.set_codes["GONE"] == frozenset()


def test_an_exclusion_admitted_to_be_empty_excludes_nothing(tmp_path: Path) -> None:
    ask = Both(
        tiny_scheme(
            tmp_path / "s",
            drg=[("AA11", "QTZD in CC"), ("AA15", "")],
            cc=[("c", "CC", "EX_999"), ("d", "CC", "EX_1")],
            exclusions={"EX_1": ["dx"]},
            toml='never_excluded = ["EX_999"]',
        )
    )
    assert ask("dx", "c")[4:6] == ("AA11", "cc")
    assert ask("dx", "d")[4:6] == ("AA15", "none")


GREY: dict[str, Any] = {
    "adrg": [("AA1", "ZYSS in P"), ("AB1", "{ZYSS, QTSS} in G"), ("AC1", "")],
    "drg": [("AA19", ""), ("AB19", ""), ("AC11", "QTSS in P"), ("AC15", "")],
    "sets": {"DX": ["dx", "grey"], "P": ["p", "g"], "G": ["g"]},
}


def grey_scheme(folder: Path, options: str) -> Both:
    tiny_scheme(folder, **GREY, toml=f'code_list = "few"\n{options}')
    codes = tiny_codes(
        folder / "few",
        diagnoses=["dx", "grey"],
        procedures=["p", "g", "x"],
        grey_diagnoses=["grey"],
        grey_procedures=["g"],
    )
    return Both(folder, codes)


def test_a_grey_principal_is_allowed_or_ungrouped(tmp_path: Path) -> None:
    allow = grey_scheme(tmp_path / "allow", 'grey_principal = "allow"')
    refuse = grey_scheme(tmp_path / "refuse", 'grey_principal = "ungrouped"')
    assert allow("grey")[:5] == ("grouped", "", "MDCA", "AC1", "AC15")
    assert refuse("grey")[:5] == ("ungrouped", "grey_principal", "", "", "")
    assert allow("grey").warnings == refuse("grey").warnings == ("grey_principal",)
    assert refuse("dx", "grey").group == "AC15"
    assert refuse("dx", "grey").warnings == ("grey_secondary",)


@pytest.mark.parametrize(
    ("option", "groups"),
    [
        # procedures: [g], [g, p], [p, g], [x, g], [g, x, p]
        ("keep", ["AA19", "AA19", "AA19", "AB19", "AA19"]),
        ("blank", ["AC15", "AC11", "AA19", "AC15", "AC11"]),
        ("drop_promote_next", ["AC15", "AA19", "AA19", "AC15", "AC11"]),
    ],
)
def test_a_grey_procedure_is_kept_blanked_or_dropped(
    tmp_path: Path, option: str, groups: list[str]
) -> None:
    ask = grey_scheme(tmp_path / option, f'grey_procedure = "{option}"')
    lists = [["g"], ["g", "p"], ["p", "g"], ["x", "g"], ["g", "x", "p"]]
    answers = ask.group(*(case("dx", px=px) for px in lists))
    assert [a.group for a in answers] == groups
    assert {a.warnings for a in answers} == {("grey_procedure",)}


@pytest.mark.parametrize("option", ["keep", "blank", "drop_promote_next"])
def test_a_rejected_case_has_no_warnings(tmp_path: Path, option: str) -> None:
    ask = grey_scheme(tmp_path / option, f'grey_procedure = "{option}"')
    assert ask("dx", px=["g"], sex=5)[:2] == ("rejected", "sex_unreadable")
    assert ask("dx", px=["g"], sex=5).warnings == ()
    assert ask("nowhere", px=["g"])[:2] == ("rejected", "unknown_principal")


# ---------------------------------------------------------------------------------- traps: the facts


def one_rule(folder: Path, rule: str, toml: str = "") -> Both:
    """Return a scheme of two ADRGs: AA1 where the rule holds, else AB1."""
    adrg: Rows = [("AA1", rule), ("AB1", "")]
    return Both(tiny_scheme(folder, adrg=adrg, drg=[("AA19", ""), ("AB19", "")], toml=toml))


def test_birth_and_admission_weight_never_stand_in_for_each_other(tmp_path: Path) -> None:
    for option, other in (("birth", "admission"), ("admission", "birth")):
        ask = one_rule(tmp_path / option, "XSRTZ<1500", f'newborn_weight = "{option}"')
        newborn: dict[str, Any] = {"age": 0, "age_days": 3}
        read, unread = f"{option}_weight", f"{other}_weight"
        assert ask("dx", **newborn | {read: 1499}).adrg == "AA1"
        assert ask("dx", **newborn | {read: 1500}).adrg == "AB1"
        assert ask("dx", **newborn | {unread: 1499}).adrg == "AB1"
        assert ask("dx", **newborn | {read: 2000, unread: 1000}).adrg == "AB1"
        assert ask("dx", **newborn | {unread: 30_000}).warnings == ()
        assert ask("dx", **newborn | {read: 30_000}).warnings == ("newborn_weight",)


def test_days_are_read_only_of_an_infant(tmp_path: Path) -> None:
    ask = one_rule(tmp_path / "s", "XSRTL<=28")
    assert ask("dx", age=0, age_days=28).adrg == "AA1"
    assert ask("dx", age=0, age_days=29).adrg == "AB1"
    assert ask("dx", age=1, age_days=5).adrg == "AB1"
    assert ask("dx", age=0)[:2] == ("rejected", "age_days_missing")


@pytest.mark.parametrize(
    ("variable", "column"),
    [
        ("XSRTZ", "birth_weight"),
        ("ZYTS", "los"),
        ("ICUSC", "icu_hours"),
        ("XSRTL", "age_days"),
        ("XB", "sex"),
    ],
)
def test_a_missing_value_makes_every_comparison_false(
    tmp_path: Path, variable: str, column: str
) -> None:
    missing: dict[str, Any] = {column: 0 if column == "sex" else None}
    for k, op in enumerate(("=", "<", "<=", ">", ">=")):
        ask = one_rule(tmp_path / str(k), f"{variable}{op}1 or {variable}{op}2147483647")
        assert ask("dx", **missing).adrg == "AB1"
    zero = one_rule(tmp_path / "zero", f"{variable}<1 or {variable}>=1")
    known: dict[str, Any] = {"age": 0, "age_days": 1, column: 1}
    assert zero("dx", **missing).adrg == "AB1"
    assert zero("dx", **known).adrg == "AA1"


def test_not_in_is_true_where_there_is_no_code(tmp_path: Path) -> None:
    for k, variables in enumerate(("QTZD", "ZYSS", "QTSS", "{QTZD, ZYSS, QTSS}")):
        ask = one_rule(tmp_path / str(k), f"{variables} not in DX")
        assert ask("dx").adrg == "AA1"
        assert ask("dx", "x", px=["y", "z"]).adrg == "AA1"
    assert ask("dx", px=["dx"]).adrg == "AB1"
    assert one_rule(tmp_path / "z", "ZYZD not in DX")("dx").adrg == "AB1"
    assert one_rule(tmp_path / "m", "QTZD not in {MCC, CC}")("dx").adrg == "AA1"


def test_sex_missing_meets_neither_sex(tmp_path: Path) -> None:
    man = one_rule(tmp_path / "man", "XB=1")
    woman = one_rule(tmp_path / "woman", "XB=2")
    for sex, groups, warnings in [
        (1, ("AA1", "AB1"), ()),
        (2, ("AB1", "AA1"), ()),
        (0, ("AB1", "AB1"), ("sex_missing",)),
        (9, ("AB1", "AB1"), ("sex_missing",)),
    ]:
        found = man("dx", sex=sex), woman("dx", sex=sex)
        assert (found[0].adrg, found[1].adrg) == groups
        assert found[0].warnings == found[1].warnings == warnings
    assert man("dx", sex=3)[:2] == ("rejected", "sex_unreadable")


def test_texts_are_compared_whole(tmp_path: Path) -> None:
    ask = Both(
        tiny_scheme(
            tmp_path / "s",
            adrg=[("AA1", "LYFS='2' or LYFS='5'"), ("AB1", "CYKS='重症医学科'"), ("AC1", "")],
            drg=[("AA19", ""), ("AB19", ""), ("AC19", "")],
        )
    )
    assert ask("dx", discharge_mode="2").adrg == "AA1"
    assert ask("dx", discharge_mode="5").adrg == "AA1"
    for other in ("", "1", "22", "02", " 2", "重症医学科", None):
        assert ask("dx", discharge_mode=other).adrg == "AC1"
    assert ask("dx", department="重症医学科").adrg == "AB1"
    for other in ("重症医学", "重症医学科一", "2", None):
        assert ask("dx", department=other).adrg == "AC1"


def test_hours_in_intensive_care_are_compared(tmp_path: Path) -> None:
    ask = one_rule(tmp_path / "s", "ICUSC>120")
    for hours, adrg in ((121, "AA1"), (120, "AB1"), (0, "AB1"), (None, "AB1")):
        assert ask("dx", icu_hours=hours).adrg == adrg


def test_length_of_stay_is_compared(tmp_path: Path) -> None:
    ask = one_rule(tmp_path / "s", "(ZYTS>=6 and ZYTS<13)")
    found = [ask("dx", los=n).adrg for n in (5, 6, 12, 13, None)]
    assert found == ["AB1", "AA1", "AA1", "AB1", "AB1"]


# ------------------------------------------------------------------------------ traps: clinical codes


@pytest.fixture
def mapped(tmp_path: Path) -> Both:
    folder = tiny_scheme(
        tmp_path / "s",
        adrg=[("AA1", "ZYSS in P"), ("AB1", "ZYSS in Q"), ("AC1", "ZYZD in A"), ("AD1", "")],
        drg=[("AA19", ""), ("AB19", ""), ("AC19", ""), ("AD19", "")],
        mdc=[("MDCA", "ZYZD in {A, B, C}")],
        sets={"A": ["a"], "B": ["b"], "C": ["c"], "P": ["p"], "Q": ["q"]},
        toml='code_list = "few"',
    )
    codes = tiny_codes(
        folder / "few",
        diagnoses=["a", "b", "c"],
        procedures=["p", "q"],
        diagnosis_map={"a": "b", "b": "c", "new": "a", "lost": "nowhere"},
        procedure_map={"p": "q", "q": "p"},
    )
    return Both(folder, codes)


def clinical(ask: Both, *diagnoses: str, px: tuple[str, ...] = ()) -> str:
    answer = of_kernel([case(*diagnoses, px=px)], ask.scheme, codes="clinical")[0]
    return answer.group or answer.reason


def test_each_clinical_code_is_mapped_once_without_chains(mapped: Both) -> None:
    assert clinical(mapped, "new") == "AC19"  # new → a, and not on to b and c
    assert clinical(mapped, "a") == "AD19"  # a → b: the key of the map wins over the list
    assert clinical(mapped, "c") == "AD19"  # no key: as it is
    assert clinical(mapped, "b") == "AD19"
    assert clinical(mapped, "a", px=("p",)) == "AB19"  # p → q, and not back
    assert clinical(mapped, "a", px=("q",)) == "AA19"
    assert clinical(mapped, "lost") == "unknown_principal"


def test_the_insurers_codes_are_not_mapped(mapped: Both) -> None:
    assert mapped("a").group == "AC19"
    assert mapped("a", px=["p"]).group == "AA19"
    assert mapped("new").reason == "unknown_principal"


def test_the_shipped_maps_have_chains_and_keys_with_another_meaning() -> None:
    """What makes the two rules above matter; the numbers are those of the specification."""
    listed = load_drg("chs-drg-1.1").code_list
    assert listed is not None
    for pairs, known, chains, other in [
        (listed.diagnosis_map, listed.diagnoses, 76, 246),
        (listed.procedure_map, listed.procedures, 1, 4),
    ]:
        assert sum(v in pairs and k != v for k, v in pairs.items()) == chains
        assert sum(k in known for k in pairs) == other


def test_the_shipped_chains_are_mapped_once() -> None:
    scheme = load_drg("chs-drg-1.1")
    listed = scheme.code_list
    assert listed is not None
    chained = [k for k, v in listed.diagnosis_map.items() if v in listed.diagnosis_map]
    rng = random.Random(1)
    keys = [*chained, *rng.sample(sorted(listed.diagnosis_map), 200)]
    given_ = of_kernel([case(k) for k in keys], scheme, codes="clinical")
    meant = of_kernel([case(listed.diagnosis_map[k]) for k in keys], scheme)
    assert given_ == meant
