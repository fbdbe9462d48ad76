"""The formula of a band: a plain evaluator at every cost agrees, and every kind of fault is named."""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from functools import reduce
from itertools import groupby
from operator import eq, ge, gt, le, lt, ne
from typing import Any, TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grouper.tables._formula import (
    MAX_DEPTH,
    MAX_PARTS,
    MAX_PIECES,
    MAX_SIGNS,
    NAMES,
    Binary,
    Choice,
    FormulaError,
    Name,
    Number,
    Piece,
    parse_formula,
    pieces,
)

F = Fraction
Line: TypeAlias = tuple[Fraction, Fraction]  # value at cost 0, slope
Tree: TypeAlias = tuple[Any, ...]

# ----------------------------------------------------------------------------- a plain evaluator

COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "<": lt,
    "<=": le,
    ">": gt,
    ">=": ge,
    "==": eq,
    "!=": ne,
}


class Undefined(Exception):
    """Not linear, or divided by 0."""


def line_at(tree: Tree, known: dict[str, Fraction], cost: int) -> Line:
    """Evaluate a tree at one cost: the line it follows there."""
    if tree[0] == "leaf":
        if tree[1] == "ratio":
            return F(0), known["ratio"]
        return known[tree[1]] if tree[1] in known else F(tree[1]), F(0)
    if tree[0] == "if":
        _, op, left, right, yes, no = tree
        (a, m), (b, n) = line_at(left, known, cost), line_at(right, known, cost)
        return line_at(yes if COMPARE[op](a + m * cost, b + n * cost) else no, known, cost)
    lines = [line_at(part, known, cost) for part in tree[1:]]
    if tree[0] in ("min", "max"):
        best = min if tree[0] == "min" else max  # both take the first of equals
        return best(lines, key=lambda line: line[0] + line[1] * cost)
    if tree[0] == "minus":
        return -lines[0][0], -lines[0][1]
    (a, m), (b, n) = lines
    if tree[0] == "+":
        return a + b, m + n
    if tree[0] == "-":
        return a - b, m - n
    if n != 0 and (m != 0 or tree[0] == "/"):
        raise Undefined
    if tree[0] == "*":
        return a * b, a * n + m * b
    if b == 0:
        raise Undefined
    return a / b, m / b


def text_of(tree: Tree) -> str:
    """Write a tree with no bracket more than it needs."""
    if tree[0] == "leaf":
        return str(tree[1])
    if tree[0] == "if":
        left, right, yes, no = map(text_of, tree[2:])
        return f"if({left}{tree[1]}{right},{yes}, {no})"
    if tree[0] in ("min", "max"):
        return f"{tree[0]}({', '.join(map(text_of, tree[1:]))})"
    if tree[0] == "minus":
        return f"-{within(tree[1], 3)}"
    rank = rank_of(tree)
    return f"{within(tree[1], rank)} {tree[0]} {within(tree[2], rank + 1)}"


def rank_of(tree: Tree) -> int:
    return {"+": 1, "-": 1, "*": 2, "/": 2}.get(tree[0], 3)


def within(tree: Tree, rank: int) -> str:
    return text_of(tree) if rank_of(tree) >= rank else f"({text_of(tree)})"


CONSTANT = st.sampled_from(("full", "bare", "share", "edge", "0", "1", "2", "0.5", "3.25"))
DIVISOR = st.sampled_from(("1", "2", "0.4", "8")).map(lambda text: ("leaf", text))
RATIO = ("leaf", "ratio")
LEAF = st.one_of(CONSTANT.map(lambda text: ("leaf", text)), st.just(RATIO), st.just(RATIO))


def linear(part: st.SearchStrategy[Tree]) -> st.SearchStrategy[Tree]:
    """Draw what is linear whatever the parts are."""
    constant = CONSTANT.map(lambda text: ("leaf", text))
    comparison = st.sampled_from(sorted(COMPARE))
    return st.one_of(
        st.tuples(st.sampled_from("+-"), part, part),
        st.tuples(st.just("*"), constant, part),
        st.tuples(st.just("*"), part, constant),
        st.tuples(st.just("/"), part, DIVISOR),
        st.tuples(st.just("minus"), part),
        st.tuples(st.sampled_from(("min", "max")), part, part),
        st.tuples(st.sampled_from(("min", "max")), part, part, part),
        st.tuples(st.just("if"), comparison, part, part, part, part),
        st.tuples(st.just("if"), comparison, st.just(RATIO), constant, part, part),
        st.tuples(st.just("if"), comparison, constant, st.just(RATIO), part, part),
    )


def anything(part: st.SearchStrategy[Tree]) -> st.SearchStrategy[Tree]:
    return st.one_of(linear(part), st.tuples(st.sampled_from("*/"), part, part))


def trees(form: Callable[[st.SearchStrategy[Tree]], st.SearchStrategy[Tree]]) -> Any:
    """Draw parts of parts of parts, short enough to be lifted."""
    part = st.one_of(LEAF, form(LEAF))
    return form(form(part)).filter(short)


def short(tree: Tree) -> bool:
    text = text_of(tree)
    parts = re.findall(r"[\w.]+|[<>=!]=|[-+*/<>]", text)
    return len(text) <= MAX_SIGNS - 60 and len(parts) <= MAX_PARTS - 10


VALUE = st.sampled_from([F(n, 4) for n in (0, 2, 4, 5, 8, 9, 11, 16, 24)])
KNOWN = st.fixed_dictionaries({name: VALUE for name in ("full", "bare", "share", "edge")})
COSTS = st.sampled_from(((0, 24), (1, 30), (2, 20), (5, 25), (8, 9), (6, 6)))


def lifted(tree: Tree, steep: str) -> Tree:
    """Add so steep a line that the sum rises and is positive whatever the tree is."""
    return ("+", ("+", tree, ("leaf", steep)), ("*", ("leaf", steep), ("leaf", "ratio")))


def refusal(lines: list[Piece], first: int) -> str:
    """Say what is wrong with a claim, and at which cost; nothing if it is right."""
    before = F(0)
    for last, at_zero, slope in lines:
        value, where = at_zero + slope * first, f"a cost of {first / 100:.2f} yuan"
        if value < 0:
            return f"is below 0 at {where}"
        if slope < 0:
            return f"falls from {where}"
        if value < before:
            return f"drops at {where}"
        first, before = last + 1, at_zero + slope * last
    return ""


@settings(deadline=None, max_examples=400)
@given(
    tree=trees(anything),
    lift=st.booleans(),
    known=KNOWN,
    rate=st.sampled_from((F(1, 4), F(1, 3), F(2, 7), F(1, 2), F(1, 5), F(0))),
    costs=COSTS,
)
def test_pieces_are_what_a_plain_evaluator_gives_at_every_cost(
    tree: Tree, lift: bool, known: dict[str, Fraction], rate: Fraction, costs: tuple[int, int]
) -> None:
    first, last = costs
    tree = lifted(tree, "1000000") if lift else tree
    formula = parse_formula(text_of(tree))
    named = {**known, "ratio": rate}
    try:
        at = [(line_at(tree, named, cost), cost) for cost in range(first, last + 1)]
    except Undefined:
        with pytest.raises(FormulaError, match=r"^column \d+: (not linear in the cost|division)"):
            pieces(formula, known, rate, first, last)
        return
    wanted = [
        Piece([cost for _, cost in same][-1], *line)
        for line, same in groupby(at, key=lambda pair: pair[0])
    ]
    fault = refusal(wanted, first)
    if fault:
        with pytest.raises(FormulaError, match=re.escape(f"the claim {fault}")):
            pieces(formula, known, rate, first, last)
    else:
        assert pieces(formula, known, rate, first, last) == wanted


@settings(deadline=None, max_examples=200)
@given(
    tree=trees(linear),
    known=KNOWN,
    benchmark=st.integers(1_000, 99_999),
    spots=st.lists(st.integers(0, 10_000_000), max_size=5),
)
def test_thresholds_are_exact_over_all_costs(
    tree: Tree, known: dict[str, Fraction], benchmark: int, spots: list[int]
) -> None:
    tree, rate, last = lifted(tree, "1" + "0" * 20), F(1, benchmark), 10_000_000
    found = pieces(parse_formula(text_of(tree)), known, rate, 0, last)
    assert found[-1].last == last
    assert [p.last for p in found] == sorted({p.last for p in found})
    edges = {p.last + step for p in found for step in (-1, 0, 1)}
    for cost in {cost for cost in {0, *edges, *spots} if 0 <= cost <= last}:
        piece = next(p for p in found if p.last >= cost)
        assert piece[1:] == line_at(tree, {**known, "ratio": rate}, cost)


# --------------------------------------------------------------------------------- forms of bands

CITY = dict.fromkeys(NAMES, F(1)) | {"full": F(120), "bare": F(100), "share": F(7, 10)}
CITY |= {"edge": F(2), "above": F(2)}
RATE = F(1, 10_000)  # a benchmark of 100 yuan


def lowered(text: str, first: int, last: int) -> list[Piece]:
    return pieces(parse_formula(text), CITY, RATE, first, last)


def test_excess_and_ratio_are_one_line() -> None:
    excess = lowered("full + share * bare * (ratio - above)", 20_001, 90_000)
    assert excess == [Piece(90_000, F(-20), F(7, 1_000))]
    assert lowered("ratio * bare", 0, 4_999) == [Piece(4_999, F(0), F(1, 100))]


def test_a_cap_cuts_at_the_whole_cost_where_the_lines_cross() -> None:
    text = "min(full * 3, full + bare*(ratio - edge))"
    assert lowered(text, 20_000, 60_000) == [
        Piece(43_999, F(-80), F(1, 100)),
        Piece(60_000, F(360), F(0)),
    ]
    assert lowered(text, 50_000, 60_000) == [Piece(60_000, F(360), F(0))]
    text = "min(full * 3, full + 0.3*(ratio - edge))"  # at r = 802: 8 020 000 fen
    assert [p.last for p in lowered(text, 0, 9_000_000)] == [8_019_999, 9_000_000]


def test_a_claim_that_drops_at_a_threshold_is_refused_with_the_cost() -> None:
    text = "if(ratio > 5, full, full + bare * (ratio - 2))"
    assert lowered(text, 20_001, 50_000) == [Piece(50_000, F(-80), F(1, 100))]
    assert lowered(text, 50_001, 90_000) == [Piece(90_000, F(120), F(0))]
    with pytest.raises(FormulaError, match=r"^the claim drops at a cost of 500\.01 yuan; .*max"):
        lowered(text, 20_001, 90_000)
    # the same the other way round rises, and at equal values nothing is split
    assert len(lowered("if(ratio > 5, full * 4, full + bare * (ratio - 2))", 20_001, 90_000)) == 2
    assert lowered("if(ratio > 5, full, full)", 0, 90_000) == [Piece(90_000, F(120), F(0))]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("full - ratio", "the claim falls from a cost of 0.05 yuan on; "),
        ("min(ratio, 4 - ratio)", "the claim falls from a cost of 200.01 yuan on; "),
        ("ratio - 1", r"the claim is below 0 at a cost of 0.05 yuan; write max\(0, …\)"),
        ("if(ratio < 3, 2, 1)", "the claim drops at a cost of 300.00 yuan; "),
        ("if(ratio <= 3, ratio, 2.9999)", "the claim drops at a cost of 300.01 yuan; "),
        ("ratio * bare * ratio", r"column 14: not linear in the cost; one side of \* must"),
        ("full / ratio", "column 6: not linear in the cost; divide by a constant"),
        ("1 + bare / (edge - above)", "column 10: division by 0; test the divisor"),
    ],
)
def test_what_no_claim_may_do(text: str, fault: str) -> None:
    with pytest.raises(FormulaError, match=f"^{fault}"):
        lowered(text, 5, 90_000)


def test_parts_count_only_where_they_are_chosen() -> None:
    assert lowered("if(edge == above, full, full / (edge - above))", 1, 9)[0].at_zero == 120
    assert lowered("full / (1 - share) * max(0, -1)", 1, 9) == [Piece(9, F(0), F(0))]
    product = "min(ratio, 3) * min(max(3, ratio), 4)"  # one side is constant in every piece
    assert lowered(product, 1, 50_000) == [
        Piece(40_000, F(0), F(3, 10_000)),
        Piece(50_000, F(12), F(0)),
    ]


def test_neighbouring_thresholds_stay_apart() -> None:
    text = "if(ratio < 2, if(ratio < 1, 0, 1), if(ratio < 2.0001, 2, if(ratio < 1, 9, 3)))"
    wanted = [(9_999, 0), (19_999, 1), (20_000, 2), (30_000, 3)]
    assert lowered(text, 0, 30_000) == [Piece(last, F(value), F(0)) for last, value in wanted]
    sums = "if(ratio < 2, 0, 1) + if(ratio < 2.0001, 0, 1)"
    assert [p.last for p in lowered(sums, 0, 30_000)] == [19_999, 20_000, 30_000]


def test_no_costs_no_pieces_and_one_cost_one_piece() -> None:
    assert lowered("ratio", 10, 9) == []
    assert lowered("ratio", 10, 10) == [Piece(10, F(0), RATE)]


def test_at_most_so_many_pieces() -> None:
    def capped(n: int) -> list[Piece]:
        steps = [parse_formula(f"min(ratio, {k})") for k in range(1, n + 1)]
        return pieces(reduce(lambda a, b: Binary("+", a, b, 1), steps), CITY, RATE, 0, 10**6)

    assert len(capped(MAX_PIECES - 1)) == MAX_PIECES == 64
    with pytest.raises(FormulaError, match=r"^column 1: more than 64 pieces; use fewer"):
        capped(MAX_PIECES)


# ------------------------------------------------------------------------------------- the grammar


def test_the_tree() -> None:
    assert parse_formula(" 0.10 ") == Number(F(1, 10), 2)
    assert parse_formula("full-2*bare") == Binary(
        "-", Name("full", 1), Binary("*", Number(F(2), 6), Name("bare", 8), 7), 5
    )
    assert parse_formula("max(1,2,3)") == Binary(
        "max", Binary("max", Number(F(1), 5), Number(F(2), 7), 1), Number(F(3), 9), 1
    )
    assert parse_formula("if(1 != -2, 3, 4)") == Choice(
        "!=",
        Number(F(1), 4),
        Binary("-", Number(F(0), 9), Number(F(2), 10), 9),
        Number(F(3), 13),
        Number(F(4), 16),
        1,
    )
    assert parse_formula("x", names=("x",)) == Name("x", 1)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("10 - 4 - 3", F(3)),
        ("12 / 4 / 2", F(3, 2)),
        ("2 + 3 * 4", F(14)),
        ("(2 + 3) * 4", F(20)),
        ("2 - -3 * 4", F(14)),
        ("--2", F(2)),
        ("2 * -3 + 7", F(1)),
        ("1 - 2 + 3 * 4 / 5 - 0.4", F(1)),
        ("min(3, 1, 2) + max(3, 1, 5, 2)", F(6)),
    ],
)
def test_operators_bind_as_in_arithmetic(text: str, value: Fraction) -> None:
    assert lowered(text, 1, 1) == [Piece(1, value, F(0))]


WHATEVER = ", ".join(NAMES)


@pytest.mark.parametrize(
    ("text", "column", "fault"),
    [
        ("", 1, "the formula is empty; write one, such as full"),
        (" \t\n", 1, "the formula is empty; write one, such as full"),
        # names
        ("full + cost", 8, f"unknown name 'cost'; there are {WHATEVER}"),
        ("Full", 1, "unknown name 'Full'"),
        (
            "full * point_value",
            8,
            "the point value being solved would depend on itself: "
            "point value → claims → band → point value",
        ),
        ("abs(full)", 1, "'abs' is no function; there are min, max and if"),
        ("full(1)", 1, "'full' is no function; there are min, max and if"),
        ("__import__(full)", 1, "'__import__' is no function"),
        # signs
        ("full.real", 5, "unknown sign '.'; write numbers such as 0.25, names, + - * / ( ) ,"),
        ("'full'", 1, 'unknown sign "\'"'),
        ('full + "1"', 8, "unknown sign '\"'"),
        ("full[0]", 5, "unknown sign '['"),
        ("full % 2", 6, "unknown sign '%'"),
        ("full * （1)", 8, "unknown sign '（'"),
        ("full\xa0+ 1", 5, "unknown sign '\\xa0'"),
        ("比例", 1, "unknown sign '比'"),
        ("１ + 1", 1, "unknown sign '１'"),
        ("full = 1", 6, "unknown sign '='"),
        ("ratio ** 2", 7, "unknown sign '**'"),
        ("ratio // 2", 7, "unknown sign '//'"),
        ("ratio * * 2", 9, "expected a number, a name or '(', found '*'"),
        ("+1", 1, "expected a number, a name or '(', found '+'"),
        # numbers
        ("2 * 1e5", 5, "unknown sign '1e5'; write numbers such as 0.25"),
        ("1.5.2", 1, "unknown sign '1.5.2'"),
        ("1_000", 1, "unknown sign '1_000'"),
        ("5.", 1, "unknown sign '5.'"),
        (".5", 1, "unknown sign '.'"),
        ("2full", 1, "unknown sign '2full'"),
        # brackets and ends
        ("full bare", 6, "expected + - * / or the end, found 'bare'"),
        ("full +", 7, "expected a number, a name or '(', found the end"),
        ("(full", 6, "expected ')', found the end"),
        ("full)", 5, "expected + - * / or the end, found ')'"),
        ("full, 1", 5, "expected + - * / or the end, found ','"),
        ("()", 2, "expected a number, a name or '(', found ')'"),
        # arguments
        ("min", 4, "expected min(a, b, …), found the end"),
        ("if < 2", 4, "'<' cannot stand here"),
        ("max()", 5, "expected a number, a name or '(', found ')'"),
        ("2 * max(1)", 5, "wrong number of arguments; write max(a, b, …)"),
        ("max(1, 2", 9, "expected ',' or ')' of max(a, b, …), found the end"),
        ("if(full > 1, 2)", 1, "wrong number of arguments; write if(a < b, x, y)"),
        ("if(full > 1, 2, 3, 4)", 1, "wrong number of arguments; write if(a < b, x, y)"),
        ("if(full > 1)", 1, "wrong number of arguments; write if(a < b, x, y)"),
        # conditions
        ("if(full, 1, 2)", 8, "expected a comparison of if(a < b, x, y), found ','"),
        ("ratio > 5", 7, "'>' cannot stand here; only once, first in if(a < b, x, y)"),
        ("if(1 < ratio < 2, 1, 2)", 14, "'<' cannot stand here; only once"),
        ("if(ratio < 2, 1 < 2, 3)", 17, "'<' cannot stand here; only once"),
        ("if((ratio < 2), 1, 2)", 11, "'<' cannot stand here; only once"),
        ("min(ratio < 2, 1)", 11, "'<' cannot stand here; only once"),
        ("if(1 < 2 and 2 < 3, 1, 2)", 10, "'and' does not exist; put one if into another"),
        ("if(1 < 2 or 2 < 3, 1, 2)", 10, "'or' does not exist; put one if into another"),
        ("if(not 1 < 2, 1, 2)", 4, "'not' does not exist; put one if into another"),
        ("if(!full, 1, 2)", 4, "unknown sign '!'"),
    ],
)
def test_a_wrong_text_is_refused_with_column_and_cure(text: str, column: int, fault: str) -> None:
    with pytest.raises(FormulaError, match=f"^column {column}: {re.escape(fault)}"):
        parse_formula(text)


@pytest.mark.parametrize(
    ("fits", "fails", "fault"),
    [
        ("1".ljust(MAX_SIGNS), "1".ljust(MAX_SIGNS + 1), "column 201: at most 200 signs"),
        ("+".join("1" * 30), "+".join("1" * 31), "column 61: at most 60 numbers"),
        ("-" * (MAX_PARTS - 1) + "1", "-" * MAX_PARTS + "1", "column 61: at most 60 numbers"),
        (
            "(" * MAX_DEPTH + "1" + ")" * MAX_DEPTH,
            "(" * (MAX_DEPTH + 1) + "1" + ")" * (MAX_DEPTH + 1),
            "column 13: at most 12 nested brackets",
        ),
        (
            "max(1," * MAX_DEPTH + "1" + ")" * MAX_DEPTH,
            "max(1," * (MAX_DEPTH + 1) + "1" + ")" * (MAX_DEPTH + 1),
            "column 76: at most 12 nested brackets",
        ),
    ],
)
def test_the_text_is_bounded(fits: str, fails: str, fault: str) -> None:
    parse_formula(fits)
    with pytest.raises(FormulaError, match=f"^{fault}"):
        parse_formula(fails)
