"""The formula of a band (偏差公式): text → tree → straight lines over whole costs.

The grammar is closed; nothing outside it is ever evaluated::

    sum  := product {("+" | "-") product}       product := atom {("*" | "/") atom}
    atom := "-" atom | NUMBER | NAME | "(" sum ")" | ("min" | "max") "(" sum "," sum {"," sum} ")"
          | "if" "(" sum ("<" | "<=" | ">" | ">=" | "==" | "!=") sum "," sum "," sum ")"

`parse_formula` reads the text, `pieces` lowers the tree for one set of constants: every part becomes
lines over ranges of whole costs in fen, a comparison splits a range at an exact whole threshold.
The surprise: a part is judged only at the costs where it counts, so the division in
`if(share == 0, full, bare / share)` is none where share is 0. At a tie min and max take the earlier.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from functools import reduce
from math import ceil, floor
from operator import eq, ge, gt, le, lt, ne
from typing import NamedTuple, TypeAlias

NAMES = ("full", "bare", "ratio", "edge", "above", "share", "weight", "coefficient")
"""What a formula may name; `ratio` follows the cost, the others are constants of a case."""
MAX_SIGNS, MAX_PARTS, MAX_DEPTH, MAX_PIECES = 200, 60, 12, 64

_ZERO = Fraction(0)
_COMPARISONS = {"<": lt, "<=": le, ">": gt, ">=": ge, "==": eq, "!=": ne}
_TAKES_LEFT = {"min": "<=", "max": ">="}
_FORMS = {"min": "min(a, b, …)", "max": "max(a, b, …)", "if": "if(a < b, x, y)"}
_RANK = {"+": 1, "-": 1, "*": 2, "/": 2}
_CIRCLE = "point value → claims → band → point value"
_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d+)?(?![\w.]))|(?P<word>[A-Za-z_]\w*)"
    r"|(?P<sign>[<>=!]=|(?!\*\*|//)[-+*/<>(),])|(?P<bad>\d[\w.]*|\*\*|//|\S))",
    re.ASCII,
)


class FormulaError(ValueError):
    """A formula is refused; says the column (from 1) or the cost, and the cure."""


class Number(NamedTuple):
    """A decimal literal, exact; `at` is the column."""

    value: Fraction
    at: int


class Name(NamedTuple):
    """`ratio` or a constant."""

    name: str
    at: int


class Binary(NamedTuple):
    """`+ - * /`, `min` or `max` of two parts; `-x` is 0 - x, `min(a, b, c)` is nested."""

    op: str
    left: Formula
    right: Formula
    at: int


class Choice(NamedTuple):
    """`if(left op right, yes, no)`: the only place of a condition, which is no number."""

    op: str
    left: Formula
    right: Formula
    yes: Formula
    no: Formula
    at: int


Formula: TypeAlias = Number | Name | Binary | Choice
_Known: TypeAlias = Mapping[str, Fraction]


class Piece(NamedTuple):
    """A line on whole costs up to `last` (included): value = at_zero + slope × cost in fen."""

    last: int
    at_zero: Fraction
    slope: Fraction


def parse_formula(text: str, names: Sequence[str] = NAMES) -> Formula:
    """Parse a formula.

    Parameters
    ----------
    text : at most 200 signs, 60 parts (numbers, names, operators, functions), 12 nested brackets.
    names : what may be named.

    Raises
    ------
    FormulaError : the text is not of the grammar; says the column and what was expected.
    """
    parser = _Parser(_tokens(text), names)
    tree = parser.sum()
    parser.take("", "+ - * / or the end")
    return tree


def _fault(at: int, message: str) -> FormulaError:
    return FormulaError(f"column {at}: {message}")


def _tokens(text: str) -> list[tuple[str, str, int]]:
    """Cut a text into numbers, words and signs with their columns, all within the limits."""
    if len(text) > MAX_SIGNS:
        raise _fault(MAX_SIGNS + 1, f"at most {MAX_SIGNS} signs; shorten the formula")
    tokens: list[tuple[str, str, int]] = []
    parts = depth = 0
    for m in _TOKEN.finditer(text):
        kind = m.lastgroup or "bad"
        word, at = m[kind], m.start(kind) + 1
        parts += word not in ("(", ")", ",")
        depth += (word == "(") - (word == ")")
        if kind == "bad":
            signs = "numbers such as 0.25, names, + - * / ( ) , < <= > >= == !="
            raise _fault(at, f"unknown sign {word!r}; write {signs}")
        if word in ("and", "or", "not"):
            raise _fault(at, f"{word!r} does not exist; put one if into another")
        if parts > MAX_PARTS:
            raise _fault(at, f"at most {MAX_PARTS} numbers, names and operators; shorten it")
        if depth > MAX_DEPTH:
            raise _fault(at, f"at most {MAX_DEPTH} nested brackets; take some out")
        tokens.append((kind, word, at))
    if not tokens:
        raise _fault(1, "the formula is empty; write one, such as full")
    return [*tokens, ("end", "", len(text) + 1)]


class _Parser:
    """Recursive descent; `sum` climbs by the ranks of the operators."""

    def __init__(self, tokens: list[tuple[str, str, int]], names: Sequence[str]) -> None:
        self.tokens, self.names, self.k = tokens, names, 0

    def sum(self, above: int = 0) -> Formula:
        tree = self.atom()
        while (rank := _RANK.get(self.text, 0)) > above:
            _, op, at = self.take()
            tree = Binary(op, tree, self.sum(rank), at)
        return tree

    def atom(self) -> Formula:
        if self.tokens[self.k][0] not in ("number", "word") and self.text not in ("-", "("):
            raise self.unexpected("a number, a name or '('")
        kind, text, at = self.take()
        if text == "-":
            return Binary("-", Number(_ZERO, at), self.atom(), at)
        if text == "(":
            tree = self.sum()
            self.take(")", "')'")
            return tree
        if kind == "number":
            return Number(Fraction(text), at)
        return self.call(text, at) if text in _FORMS else self.name(text, at)

    def call(self, name: str, at: int) -> Formula:
        self.take("(", _FORMS[name])
        args, op = [self.sum()], self.text
        if name == "if" and op not in _COMPARISONS:
            raise self.unexpected(f"a comparison of {_FORMS[name]}")
        while self.text == "," or (name == "if" and len(args) == 1):
            self.take()
            args.append(self.sum())
        self.take(")", f"',' or ')' of {_FORMS[name]}")
        if len(args) < 2 or (name == "if" and len(args) != 4):
            raise _fault(at, f"wrong number of arguments; write {_FORMS[name]}")
        if name == "if":
            left, right, yes, no = args
            return Choice(op, left, right, yes, no, at)
        return reduce(lambda left, right: Binary(name, left, right, at), args)

    def name(self, text: str, at: int) -> Formula:
        if self.text == "(":
            raise _fault(at, f"{text!r} is no function; there are min, max and if")
        if text not in self.names:
            if text == "point_value":
                raise _fault(at, f"the point value being solved would depend on itself: {_CIRCLE}")
            raise _fault(at, f"unknown name {text!r}; there are {', '.join(self.names)}")
        return Name(text, at)

    @property
    def text(self) -> str:
        return self.tokens[self.k][1]

    def take(self, sign: str | None = None, wanted: str = "") -> tuple[str, str, int]:
        """Go past the next token, which has to be `sign` if one is given."""
        if sign not in (None, self.text):
            raise self.unexpected(wanted)
        self.k += 1
        return self.tokens[self.k - 1]

    def unexpected(self, wanted: str) -> FormulaError:
        _, text, at = self.tokens[self.k]
        if text in _COMPARISONS:
            return _fault(at, f"{text!r} cannot stand here; only once, first in if(a < b, x, y)")
        return _fault(at, f"expected {wanted}, found {repr(text) if text else 'the end'}")


def pieces(
    formula: Formula, known: Mapping[str, Fraction], ratio_per_fen: Fraction, first: int, last: int
) -> list[Piece]:
    """Lower a formula to lines over the whole costs first … last, in fen; exact, none if empty.

    Parameters
    ----------
    known : the constants. ratio_per_fen : ratio = ratio_per_fen × cost.

    Raises
    ------
    FormulaError : not linear in the cost, a division by 0, more than 64 pieces, or a claim that
        falls as the cost rises (also a falling line for one cost only) or is below 0.
    """
    known = {**known, "ratio": ratio_per_fen}
    lines = _lines(formula, known, first, last) if first <= last else []
    start, before = first, _ZERO
    for end, at_zero, slope in lines:
        cost = f"a cost of {start // 100}.{start % 100:02d} yuan"
        value = at_zero + slope * start
        if value < 0:
            raise FormulaError(f"the claim is below 0 at {cost}; write max(0, …)")
        if slope < 0:
            raise FormulaError(f"the claim falls from {cost} on; it may only rise with the cost")
        if value < before:
            raise FormulaError(f"the claim drops at {cost}; let the parts meet there, or use max")
        start, before = end + 1, at_zero + slope * end
    return lines


def _lines(node: Formula, known: _Known, first: int, last: int) -> list[Piece]:
    """Return the lines of a part, neighbours that are equal made one."""
    if isinstance(node, Number):
        return [Piece(last, node.value, _ZERO)]
    if isinstance(node, Name):
        value = known[node.name]
        return [Piece(last, _ZERO, value) if node.name == "ratio" else Piece(last, value, _ZERO)]
    found: list[Piece] = []
    for piece in _parts(node, known, first, last):
        if found and found[-1][1:] == piece[1:]:
            found.pop()
        found.append(piece)
    if len(found) > MAX_PIECES:
        raise _fault(node.at, f"more than {MAX_PIECES} pieces; use fewer comparisons")
    return found


def _parts(node: Binary | Choice, known: _Known, first: int, last: int) -> Iterator[Piece]:
    sides = [_lines(side, known, first, last) for side in (node.left, node.right)]
    for end in sorted({piece.last for side in sides for piece in side}):
        x, y = (next(piece for piece in side if piece.last >= end) for side in sides)
        if node.op in _RANK:
            yield _combined(node, end, x, y)
        else:
            for since, until, holds in _split(_TAKES_LEFT.get(node.op, node.op), x, y, first, end):
                if isinstance(node, Choice):
                    yield from _lines(node.yes if holds else node.no, known, since, until)
                else:
                    yield (x if holds else y)._replace(last=until)
        first = end + 1


def _split(op: str, x: Piece, y: Piece, first: int, last: int) -> Iterator[tuple[int, int, bool]]:
    """Give the ranges of whole costs on which `x op y` holds or does not: first, last, holds."""
    at_zero, slope = x.at_zero - y.at_zero, x.slope - y.slope
    ends = [(last, at_zero)]
    if slope != 0:
        root = -at_zero / slope
        ends = [(ceil(root) - 1, -slope), (floor(root), _ZERO), (last, slope)]
    for end, sign in ends:
        end = min(end, last)
        if first <= end:
            yield first, end, _COMPARISONS[op](sign, _ZERO)
            first = end + 1


def _combined(node: Binary | Choice, last: int, x: Piece, y: Piece) -> Piece:
    """Add, subtract, multiply or divide two lines."""
    if node.op in ("+", "-"):
        sign = 1 if node.op == "+" else -1
        return Piece(last, x.at_zero + sign * y.at_zero, x.slope + sign * y.slope)
    if node.op == "*":
        if x.slope and y.slope:
            raise _fault(node.at, "not linear in the cost; one side of * must be without ratio")
        return Piece(last, x.at_zero * y.at_zero, x.at_zero * y.slope + x.slope * y.at_zero)
    if y.slope:
        raise _fault(node.at, "not linear in the cost; divide by a constant, without ratio")
    if y.at_zero == 0:
        raise _fault(node.at, "division by 0; test the divisor with if(a == 0, x, y) before")
    return Piece(last, x.at_zero / y.at_zero, x.slope / y.at_zero)
