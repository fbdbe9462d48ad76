"""The rule language: every form of the grammar, every published rule, every kind of fault."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shared import SCHEMES, SHIPPED, shared

from grouper import RuleError
from grouper.tables import parse, text_of
from grouper.tables._files import read_table
from grouper.tables._rules import (
    MAX_DEPTH,
    NUMBER_VARIABLES,
    TEXT_VARIABLES,
    And,
    Compare,
    Const,
    Count,
    Member,
    Or,
    Rule,
    atoms,
    clean_text,
    sets_of,
)
from grouper.tables._types import Side

A = Member(("ZYZD",), ("A",))
B = Member(("ZYSS",), ("B",))
C = Member(("QTZD",), ("C",))
OLD = Compare("NL", ">", 70)

# ------------------------------------------------------------------------------------- the grammar

FORMS: dict[str, Rule] = {
    # nothing, constants
    "": Const(True),
    " \t\n ": Const(True),
    "1": Const(True),
    "0": Const(False),
    "(1)": Const(True),
    # membership
    "ZYZD in A": A,
    "QTZD in C": C,
    "ZYSS in B": B,
    "QTSS in B": Member(("QTSS",), ("B",)),
    "ZYZD not in A": Member(("ZYZD",), ("A",), negated=True),
    "{ZYZD} in {A}": A,
    "{ZYZD, QTZD} in A": Member(("ZYZD", "QTZD"), ("A",)),
    "{ZYSS,QTSS}not in{A,B}": Member(("ZYSS", "QTSS"), ("A", "B"), negated=True),
    "{ZYZD, QTZD, ZYSS, QTSS} in A": Member(("ZYZD", "QTZD", "ZYSS", "QTSS"), ("A",)),
    "ZYZD in {A, B, C}": Member(("ZYZD",), ("A", "B", "C")),
    "{ZYZD, ZYZD} in {A, B, A}": Member(("ZYZD",), ("A", "B")),
    "QTZD in MCC": Member(("QTZD",), ("MCC",)),
    "QTZD in {MCC, CC}": Member(("QTZD",), ("MCC", "CC")),
    "QTZD not in CC": Member(("QTZD",), ("CC",), negated=True),
    "{ZYZD, QTZD} in {CC, A}": Member(("ZYZD", "QTZD"), ("CC", "A")),
    # names that look like something else
    "QTZD in OR1": Member(("QTZD",), ("OR1",)),
    "ZYSS in IN1 or ZYSS in AND_2": Or(
        (Member(("ZYSS",), ("IN1",)), Member(("ZYSS",), ("AND_2",)))
    ),
    "ZYSS in length1": Member(("ZYSS",), ("length1",)),
    "ZYSS in OP1_JA1.2#3": Member(("ZYSS",), ("OP1_JA1.2#3",)),
    "ZYZD in NL": Member(("ZYZD",), ("NL",)),
    "ZYZD in _x": Member(("ZYZD",), ("_x",)),
    "ZYZD in 诊断表": Member(("ZYZD",), ("诊断表",)),
    # comparisons
    "NL=0": Compare("NL", "=", 0),
    "NL<18": Compare("NL", "<", 18),
    "NL <= 18": Compare("NL", "<=", 18),
    "NL>70": OLD,
    "NL>=70": Compare("NL", ">=", 70),
    "NL>=2147483647": Compare("NL", ">=", 2**31 - 1),
    "XSRTL<=28": Compare("XSRTL", "<=", 28),
    "XSRTZ<1500": Compare("XSRTZ", "<", 1500),
    "XB=2": Compare("XB", "=", 2),
    "ZYTS>=13": Compare("ZYTS", ">=", 13),
    "ICUSC>120": Compare("ICUSC", ">", 120),
    "LYFS='2'": Compare("LYFS", "=", "2"),
    'LYFS="2"': Compare("LYFS", "=", "2"),
    "CYKS = '重症 医学科'": Compare("CYKS", "=", "重症 医学科"),
    "CYKS=''": Compare("CYKS", "=", ""),
    "LYFS='a and (b'": Compare("LYFS", "=", "a and (b"),
    # counts
    "length(A ∩ ZYSS)>=2": Count("A", ("ZYSS",), ">=", 2),
    "length(A∩{ZYSS,QTSS})<3": Count("A", ("ZYSS", "QTSS"), "<", 3),
    "length ( A ∩ { ZYSS , QTSS } ) = 0": Count("A", ("ZYSS", "QTSS"), "=", 0),
    "length({A} ∩ QTZD)>1": Count("A", ("QTZD",), ">", 1),
    "length(A ∩ QTZD)<=1": Count("A", ("QTZD",), "<=", 1),
    # and, or, brackets
    "ZYZD in A and ZYSS in B": And((A, B)),
    "ZYZD in A and ZYSS in B and NL>70": And((A, B, OLD)),
    "ZYZD in A or ZYSS in B or NL>70": Or((A, B, OLD)),
    "ZYZD in A or ZYSS in B and NL>70": Or((A, And((B, OLD)))),
    "ZYZD in A and ZYSS in B or NL>70": Or((And((A, B)), OLD)),
    "ZYZD in A and (ZYSS in B or NL>70)": And((A, Or((B, OLD)))),
    "(ZYZD in A or ZYSS in B) and NL>70": And((Or((A, B)), OLD)),
    "(ZYZD in A and ZYSS in B) and NL>70": And((And((A, B)), OLD)),
    "(ZYZD in A or ZYSS in B) or NL>70": Or((Or((A, B)), OLD)),
    "((((ZYZD in A))))": A,
    "(ZYZD in A)and(ZYSS in B)": And((A, B)),
    "ZYZD in A OR ZYSS in B": Or((A, B)),
    "(ZYZD in A)  OR (ZYSS in B) or 0": Or((A, B, Const(False))),
    "ZYZD not in A and QTZD in MCC": And(
        (Member(("ZYZD",), ("A",), negated=True), Member(("QTZD",), ("MCC",)))
    ),
}


@pytest.mark.parametrize("text", FORMS)
def test_every_form_gives_its_tree(text: str) -> None:
    assert parse(text) == FORMS[text]


@pytest.mark.parametrize("text", FORMS)
def test_every_form_is_written_and_read_again(text: str) -> None:
    assert parse(text_of(FORMS[text])) == FORMS[text]


def test_the_same_words_in_other_places_are_other_trees() -> None:
    """Equality of trees must not be vacuous: `at` alone is left out of it."""
    trees = [parse(t) for t in FORMS]
    assert len({repr(t) for t in trees}) > 55
    assert parse("ZYZD in A") != parse("QTZD in A")
    assert parse("NL>70") != parse("NL>=70")
    assert parse("LYFS='2'") != parse("CYKS='2'")
    assert parse("length(A ∩ QTSS)>1") != parse("length(A ∩ ZYSS)>1")
    assert parse("  ZYZD in A") == parse("ZYZD in A")


@pytest.mark.parametrize("var", NUMBER_VARIABLES)
@pytest.mark.parametrize("op", ["=", "<", "<=", ">", ">="])
def test_every_number_is_compared_every_way(var: str, op: str) -> None:
    assert parse(f"{var}{op}7") == parse(f"{var} {op} 7") == Compare(var, op, 7)


def test_an_atom_knows_its_column() -> None:
    tree = parse("ZYZD in A and (NL>70 or length(B ∩ ZYSS)>1)")
    assert [a.at for a in atoms(tree)] == [1, 16, 25]


def test_sets_are_named_with_the_sides_they_are_looked_for() -> None:
    rule = parse("ZYZD in {A, B} and QTZD in {A, MCC} or length(C ∩ {ZYSS, QTSS})>1 or NL>1")
    assert sets_of(rule) == {"A": Side.ZYZD | Side.QTZD, "B": Side.ZYZD, "C": Side.ZYSS | Side.QTSS}


# ------------------------------------------------------------------------------------------- cells

CELLS = {
    "ZYZD in A_x000D_ and ZYSS in B": "ZYZD in A and ZYSS in B",
    "ZYZD in A_x000d_\r\nand ZYSS in B": "ZYZD in A and ZYSS in B",
    "ZYZD\u00a0in\u00a0A": "ZYZD in A",
    "\u3000ZYZD in A\u3000": "ZYZD in A",
    "ＺＹＺＤ　ｉｎ　Ａ": "ZYZD in A",
    "｛ＺＹＳＳ，ＱＴＳＳ｝ in Ａ": "{ZYSS,QTSS} in A",
    "（NL＞＝７０）": "(NL>=70)",
    "LYFS＝＇２＇": "LYFS='2'",
    "ZY\u200bZD in\u200d A\ufeff": "ZYZD in A",
    "\u2060ZYZD in A\u00ad": "ZYZD in A",
    "ZYZD\t in \n A": "ZYZD in A",
    "ZYZD in OR1": "ZYZD in OR1",
}


@pytest.mark.parametrize("cell", CELLS)
def test_a_cell_is_cleaned(cell: str) -> None:
    assert clean_text(cell) == CELLS[cell]
    assert parse(cell) == parse(CELLS[cell])
    assert clean_text(clean_text(cell)) == clean_text(cell)


def test_columns_count_the_cleaned_text() -> None:
    with pytest.raises(RuleError) as e:
        parse("_x000D_\u3000\u200bZYZD\u00a0in ?")
    assert e.value.column == 9


# ---------------------------------------------------------------------------------- published rules

FOLDERS = (*SCHEMES, "drg_3_0", "chs-drg-1.1", "chs-drg-1.1-qy")


@cache
def published(name: str) -> list[tuple[str, int, str]]:
    """Return (file, line, text) of every rule of a scheme folder."""
    folder: Path = SHIPPED / name if name.startswith("chs") else shared(f"facts/{name}")
    files = [f for f in ("mdc.csv", "adrg.csv", "drg.csv") if (folder / f).exists()]
    return [(f, n, text) for f in files for n, (text,) in read_table(folder / f, ["rule"])]


@pytest.mark.parametrize("name", FOLDERS)
def test_every_published_rule_survives_being_written_and_read(name: str) -> None:
    rules = published(name)
    assert len(rules) > 1000
    for file, line, text in rules:
        tree = parse(text, file=file, row=line)
        assert parse(text_of(tree)) == tree
        assert text_of(parse(text_of(tree))) == text_of(tree)


def test_the_national_3_0_rules_hold_what_other_implementations_stumbled_on() -> None:
    rules = published("drg_3_0")
    assert len(rules) == 26 + 537 + 870
    assert sum(" OR " in f" {text} " for _, _, text in rules) == 4
    assert sum(Count in map(type, atoms(parse(text))) for _, _, text in rules) > 0
    assert any("OR1" in sets_of(parse(t)) or "DI_OR1" in sets_of(parse(t)) for _, _, t in rules)


def test_every_variable_of_the_language_is_used_by_some_published_rule() -> None:
    names = [n for n in FOLDERS if n.startswith("chs") or (shared("facts") / n).exists()]
    found = {
        a.var
        for name in names
        for _, _, text in published(name)
        for a in atoms(parse(text))
        if isinstance(a, Compare)
    }
    assert found == NUMBER_VARIABLES.keys() | TEXT_VARIABLES.keys()


# ------------------------------------------------------------------------------------- random trees

names = st.from_regex(r"[A-Z][A-Za-z0-9_]{0,6}([.#][0-9]{1,2})?", fullmatch=True).filter(
    lambda s: s.lower() not in ("and", "or", "not", "in", "length")
)
plain_names = names.filter(lambda s: s not in ("MCC", "CC"))
numbers = st.integers(0, 2**31 - 1)
operators = st.sampled_from(["=", "<", "<=", ">", ">="])
variables = st.lists(
    st.sampled_from(["ZYZD", "QTZD", "ZYSS", "QTSS"]), min_size=1, max_size=4, unique=True
).map(tuple)
quotable = st.text(st.sampled_from("abYZ019'() 重∩{}<=,.#"), max_size=8).map(clean_text)


@st.composite
def members(draw: st.DrawFn) -> Member:
    vars_ = draw(variables)
    choice = st.one_of(names, st.sampled_from(["MCC", "CC"])) if "QTZD" in vars_ else plain_names
    sets = draw(st.lists(choice, min_size=1, max_size=3, unique=True))
    return Member(vars_, tuple(sets), draw(st.booleans()))


atom_trees: st.SearchStrategy[Rule] = st.one_of(
    st.booleans().map(Const),
    members(),
    st.builds(Compare, st.sampled_from(list(NUMBER_VARIABLES)), operators, numbers),
    st.builds(Compare, st.sampled_from(list(TEXT_VARIABLES)), st.just("="), quotable),
    st.builds(Count, plain_names, variables, operators, numbers),
)


def joined(parts: st.SearchStrategy[Rule]) -> st.SearchStrategy[Rule]:
    several = st.lists(parts, min_size=2, max_size=4).map(tuple)
    return st.one_of(st.builds(And, several), st.builds(Or, several))


trees = st.recursive(atom_trees, joined, max_leaves=12)


@settings(max_examples=200, deadline=None)
@given(trees)
def test_a_random_tree_survives_being_written_and_read(tree: Rule) -> None:
    assert parse(text_of(tree)) == tree


@settings(max_examples=100, deadline=None)
@given(trees, st.sampled_from(["\u3000", "\u00a0", " \u200b", "_x000D_\n", "\t"]))
def test_a_random_tree_does_not_depend_on_the_kind_of_blank(tree: Rule, blank: str) -> None:
    text = text_of(tree)
    if not any(isinstance(a, Compare) and isinstance(a.value, str) for a in atoms(tree)):
        assert parse(text.replace(" ", blank)) == tree


@settings(max_examples=200, deadline=None)
@given(st.text(st.sampled_from("ZYZDQTSNL in(){},=<>'12orandA∩#.length"), max_size=30))
def test_any_text_parses_or_is_refused_with_a_column_inside_it(text: str) -> None:
    column = 1
    try:
        parse(text)
    except RuleError as e:
        column = e.column
    assert 1 <= column <= len(clean_text(text)) + 1


# ------------------------------------------------------------------------------------------- faults

DEEP = "(" * 1000 + "1" + ")" * 1000
FAULTS: dict[str, tuple[int, str]] = {
    "ZYZD in A ZYSS in B": (11, "expected 'and', 'or' or the end, found 'ZYSS'"),
    "ZYZD in A, B": (10, "found ','"),
    "ZYZD in A)": (10, "expected 'and', 'or' or the end, found ')'"),
    "ZYZD in A and": (14, "expected a variable, a number or '(', found the end"),
    "ZYZD in A or or ZYSS in B": (14, "found 'or'"),
    "and ZYZD in A": (1, "found 'and'"),
    "not ZYZD in A": (1, "found 'not'"),
    "DRGZD in A": (1, "expected a variable, a number or '(', found 'DRGZD'"),
    "zyzd in A": (1, "found 'zyzd'"),
    "AGE>7": (1, "found 'AGE'"),
    "A in ZYZD": (1, "found 'A'"),
    "ZYZD": (5, "expected 'in' or 'not in', found the end"),
    "ZYZD in": (8, "expected the name of a set, found the end"),
    "ZYZD not A": (10, "expected 'in' or 'not in', found 'A'"),
    "ZYZD=1": (5, "expected 'in' or 'not in', found '='"),
    "NL in A": (4, "expected one of = < <= > >=, found 'in'"),
    "NL='a'": (4, "expected a whole number below 2147483648, found \"'a'\""),
    "NL=XB": (4, "expected a whole number below 2147483648, found 'XB'"),
    "NL>": (4, "found the end"),
    "NL=>7": (4, "found '>'"),
    "NL==7": (4, "found '='"),
    "NL<>7": (4, "found '>'"),
    "NL!=7": (3, "expected one of = < <= > >=, found '!'"),
    "NL≥70": (3, "expected one of = < <= > >=, found '≥'"),
    "NL>-1": (4, "found '-'"),
    "NL>7.5": (5, "expected 'and', 'or' or the end, found '.'"),
    "NL>7a": (4, "found '7'"),
    "NL>2147483648": (4, "expected a whole number below 2147483648, found '2147483648'"),
    "NL>" + "9" * 5000: (4, "expected a whole number below 2147483648"),
    "18<NL": (1, "expected 1 (true) or 0 (false) where a condition stands alone, found '18'"),
    "LYFS=2": (6, "expected = and a quoted text: LYFS is a text, found '2'"),
    "LYFS<'2'": (6, "expected = and a quoted text: LYFS is a text"),
    "LYFS='2": (6, 'found "\'"'),
    "LYFS=‘2’": (6, "found '‘'"),
    "CYKS in A": (6, "expected one of = < <= > >=, found 'in'"),
    "2": (1, "expected 1 (true) or 0 (false) where a condition stands alone, found '2'"),
    "9" * 5000: (1, "expected 1 (true) or 0 (false)"),
    "length(MCC ∩ QTZD)>1": (8, "expected one set of the set table to count in, found 'MCC'"),
    "length({A, B} ∩ QTZD)>1": (8, "expected one set of the set table to count in, found '{'"),
    "length(A ∩ NL)>1": (12, "expected one of ZYZD, QTZD, ZYSS, QTSS, found 'NL'"),
    "length(A, QTZD)>1": (9, "expected '∩', found ','"),
    "length(A ∩ QTZD)": (17, "expected one of = < <= > >=, found the end"),
    "length(A ∩ QTZD)>'1'": (18, "expected a whole number"),
    "length A ∩ QTZD>1": (8, "expected '(', found 'A'"),
    "length(A ∩ QTZD>1": (16, "expected ')', found '>'"),
    "ZYSS in MCC": (
        9,
        "expected QTZD before 'in': MCC and CC are lists of other diagnoses, found 'MCC'",
    ),
    "ZYZD in {A, CC}": (9, "expected QTZD before 'in'"),
    "(ZYZD in A": (11, "expected ')', found the end"),
    "(ZYZD in A))": (12, "found ')'"),
    "()": (2, "found ')'"),
    DEEP: (MAX_DEPTH + 1, f"expected at most {MAX_DEPTH} nested brackets, found '('"),
    "ZYZD in or": (9, "expected the name of a set, found 'or'"),
    "ZYZD in OR": (9, "expected the name of a set, found 'OR'"),
    "ZYZD in {A, in}": (13, "expected the name of a set, found 'in'"),
    "ZYZD in 'A'": (9, "expected the name of a set"),
    "ZYZD in 1A": (9, "expected the name of a set, found '1'"),
    "ZYZD in {}": (10, "expected the name of a set, found '}'"),
    "ZYZD in {A,}": (12, "expected the name of a set, found '}'"),
    "ZYZD in {A B}": (12, "expected '}', found 'B'"),
    "ZYZD in {A": (11, "expected '}', found the end"),
    "{} in A": (2, "expected one of ZYZD, QTZD, ZYSS, QTSS, found '}'"),
    "{ZYZD, NL} in A": (8, "expected one of ZYZD, QTZD, ZYSS, QTSS, found 'NL'"),
    "{ZYZD、QTZD} in A": (6, "expected '}', found '、'"),
    "ZYZD in A;": (10, "expected 'and', 'or' or the end, found ';'"),
    "ZYZD in A # comment": (11, "found '#'"),
    "1 1": (3, "found '1'"),
}


@pytest.mark.parametrize("text", FAULTS, ids=lambda t: t[:30])
def test_a_malformed_rule_is_refused_where_it_is_wrong(text: str) -> None:
    column, said = FAULTS[text]
    with pytest.raises(RuleError) as e:
        parse(text, file="adrg.csv", row=17)
    assert e.value.code == "E110"
    assert (e.value.file, e.value.row, e.value.column) == ("adrg.csv", 17, column)
    message = str(e.value)
    assert message.startswith(f"[E110] adrg.csv:17: column {column} of the rule: ")
    assert said in message


def test_brackets_may_be_as_deep_as_promised() -> None:
    assert parse("(" * MAX_DEPTH + "NL>70" + ")" * MAX_DEPTH) == OLD
    beside = " or ".join(["(NL>70)"] * (MAX_DEPTH + 1))
    assert parse(beside) == Or((OLD,) * (MAX_DEPTH + 1))
