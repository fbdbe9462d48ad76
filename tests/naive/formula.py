"""The bracketed language of a band's formula, worked out at one cost.

sum     = product { ("+" | "-") product }
product = factor { ("*" | "/") factor }
factor  = "-" factor | number | name | "(" sum ")" | min(sum, …) | max(sum, …)
        | if(sum (< | <= | > | >= | == | !=) sum, sum, sum)
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from fractions import Fraction

SIGN = re.compile(r"\s*(\d+(?:\.\d+)?|[a-z]+|<=|>=|==|!=|[-+*/(),<>])")
COMPARE: dict[str, Callable[[Fraction, Fraction], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}


class BadFormula(ValueError):
    """The text is not of the language."""


def evaluate(text: str, names: Mapping[str, Fraction]) -> Fraction:
    """What the expression is worth with these values."""
    reader = Reader(text, names)
    worth = reader.sum()
    if reader.signs:
        raise BadFormula(f"{text!r}: nothing may follow, but {reader.signs[0]!r} does")
    return worth


class Reader:
    def __init__(self, text: str, names: Mapping[str, Fraction]) -> None:
        self.text, self.names = text, names
        self.signs: list[str] = []
        place, text = 0, text.rstrip()
        while place < len(text):
            found = SIGN.match(text, place)
            if found is None:
                raise BadFormula(f"{text!r}: cannot be read from {text[place:]!r} on")
            self.signs.append(found[1])
            place = found.end()

    def next(self) -> str:
        return self.signs[0] if self.signs else ""

    def take(self, *wanted: str) -> str:
        if not self.signs or (wanted and self.signs[0] not in wanted):
            raise BadFormula(f"{self.text!r}: {' or '.join(wanted)} wanted, not {self.next()!r}")
        return self.signs.pop(0)

    def sum(self) -> Fraction:
        worth = self.product()
        while self.next() in ("+", "-"):
            worth += self.product() if self.take() == "+" else -self.product()
        return worth

    def product(self) -> Fraction:
        worth = self.factor()
        while self.next() in ("*", "/"):
            if self.take() == "*":
                worth *= self.factor()
            else:
                worth /= self.factor()
        return worth

    def factor(self) -> Fraction:
        sign = self.take()
        if sign == "-":
            return -self.factor()
        if sign == "(":
            worth = self.sum()
            self.take(")")
            return worth
        if sign[0].isdigit():
            return Fraction(sign)
        if sign in ("min", "max"):
            self.take("(")
            parts = [self.sum()]
            while self.take(",", ")") == ",":
                parts.append(self.sum())
            return min(parts) if sign == "min" else max(parts)
        if sign == "if":
            return self.choice()
        if sign not in self.names:
            raise BadFormula(f"{self.text!r}: no {sign!r} is known")
        return self.names[sign]

    def choice(self) -> Fraction:
        """Both branches are worked out; only one counts."""
        self.take("(")
        left = self.sum()
        compare = COMPARE[self.take(*COMPARE)]
        right = self.sum()
        self.take(",")
        then = self.sum()
        self.take(",")
        otherwise = self.sum()
        self.take(")")
        return then if compare(left, right) else otherwise
