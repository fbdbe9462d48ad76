"""The rule language of a DRG table: one class per kind of condition, and the parser.

rule   := "" | or ;  or := and {("or"|"OR") and} ;  and := atom {"and" atom}
atom   := "(" or ")" | INT | vars ["not"] "in" sets | VAR cmp (INT | 'text')
        | "length(" SET "∩" vars ")" cmp INT
vars   := VAR | "{" VAR {"," VAR} "}"
sets   := SET | "{" SET {"," SET} "}"
cmp    := = < <= > >=
"""

import operator
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

CODE_VARIABLES = ("ZYZD", "QTZD", "ZYSS", "QTSS")
NUMBER_VARIABLES = ("NL", "XSRTL", "XSRTZ", "XB", "ZYTS", "ICUSC")
TEXT_VARIABLES = ("LYFS", "CYKS")

KEYWORDS = ("or", "OR", "and", "not", "in", "length")
COMPARISONS: dict[str, Callable[[int, int], bool]] = {
    "=": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}

# A number, a text in quotes, a whole word (set names may contain . and #), or a sign.
TOKEN = re.compile(r"\d+(?!\w)|'[^']*'|[^\W\d]\w*(?:[.#]\w+)*|<=|>=|[=<>(){},∩]")


@dataclass(frozen=True)
class Facts:
    """All that a rule may ask about one case."""

    codes: Mapping[str, Mapping[str, frozenset[str]]]  # variable: its codes: sets each code is in
    sets: Mapping[str, frozenset[str]]  # variable: sets that at least one of its codes is in
    numbers: Mapping[str, int | None]  # None: missing
    texts: Mapping[str, str | None]


class Rule(Protocol):
    def holds(self, facts: Facts) -> bool:
        """Is the condition met by this case?"""

    def uses(self) -> Iterator[tuple[str, str]]:
        """Every (variable, set) that the condition looks up."""


@dataclass(frozen=True)
class Constant:
    value: bool

    def holds(self, facts: Facts) -> bool:
        return self.value

    def uses(self) -> Iterator[tuple[str, str]]:
        yield from ()


@dataclass(frozen=True)
class Membership:
    """`{ZYZD, QTZD} in {A, B}`: some code of some variable is in some set."""

    variables: tuple[str, ...]
    sets: frozenset[str]
    negated: bool

    def holds(self, facts: Facts) -> bool:
        found = any(not self.sets.isdisjoint(facts.sets[v]) for v in self.variables)
        return found != self.negated

    def uses(self) -> Iterator[tuple[str, str]]:
        for variable in self.variables:
            for name in self.sets:
                yield variable, name


@dataclass(frozen=True)
class NumberComparison:
    """`NL >= 70`: false when the value is missing."""

    variable: str
    sign: str
    number: int

    def holds(self, facts: Facts) -> bool:
        value = facts.numbers[self.variable]
        return value is not None and COMPARISONS[self.sign](value, self.number)

    def uses(self) -> Iterator[tuple[str, str]]:
        yield from ()


@dataclass(frozen=True)
class TextComparison:
    """`LYFS = '5'`: false when the value is missing."""

    variable: str
    text: str

    def holds(self, facts: Facts) -> bool:
        return facts.texts[self.variable] == self.text

    def uses(self) -> Iterator[tuple[str, str]]:
        yield from ()


@dataclass(frozen=True)
class Length:
    """`length(A ∩ {ZYSS, QTSS}) >= 2`: how many distinct codes are in the set."""

    set: str
    variables: tuple[str, ...]
    sign: str
    number: int

    def holds(self, facts: Facts) -> bool:
        found = {
            code
            for variable in self.variables
            for code, sets in facts.codes[variable].items()
            if self.set in sets
        }
        return COMPARISONS[self.sign](len(found), self.number)

    def uses(self) -> Iterator[tuple[str, str]]:
        for variable in self.variables:
            yield variable, self.set


@dataclass(frozen=True)
class Or:
    parts: tuple[Rule, ...]

    def holds(self, facts: Facts) -> bool:
        return any(part.holds(facts) for part in self.parts)

    def uses(self) -> Iterator[tuple[str, str]]:
        for part in self.parts:
            yield from part.uses()


@dataclass(frozen=True)
class And:
    parts: tuple[Rule, ...]

    def holds(self, facts: Facts) -> bool:
        return all(part.holds(facts) for part in self.parts)

    def uses(self) -> Iterator[tuple[str, str]]:
        for part in self.parts:
            yield from part.uses()


def parse(text: str) -> Rule:
    """The rule of one table cell. An empty rule is true. ValueError if it is not a rule."""
    tokens = tokenise(text)
    if not tokens:
        return Constant(True)
    parser = Parser(tokens)
    rule = parser.disjunction()
    if parser.tokens:
        raise ValueError(f"{parser.tokens[0]!r} after the end of the rule")
    return rule


def tokenise(text: str) -> list[str]:
    tokens = []
    position = 0
    while position < len(text):
        if text[position].isspace():
            position += 1
            continue
        match = TOKEN.match(text, position)
        if match is None:
            raise ValueError(f"cannot read {text[position : position + 20]!r}")
        tokens.append(match.group())
        position = match.end()
    return tokens


class Parser:
    """Recursive descent: one method for each line of the grammar, eating `tokens` from the left."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens = tokens

    def peek(self) -> str:
        return self.tokens[0] if self.tokens else ""

    def take(self, *expected: str) -> str:
        token = self.peek()
        if not token:
            raise ValueError("the rule breaks off")
        if expected and token not in expected:
            raise ValueError(f"{token!r} where one of {' '.join(expected)} belongs")
        return self.tokens.pop(0)

    def disjunction(self) -> Rule:
        parts = [self.conjunction()]
        while self.peek() in ("or", "OR"):
            self.take()
            parts.append(self.conjunction())
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def conjunction(self) -> Rule:
        parts = [self.atom()]
        while self.peek() == "and":
            self.take()
            parts.append(self.atom())
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def atom(self) -> Rule:
        token = self.peek()
        if token == "(":
            self.take()
            rule = self.disjunction()
            self.take(")")
            return rule
        if token.isdigit():
            return Constant(self.take("0", "1") == "1")
        if token == "length":
            return self.length()
        if token == "{" or token in CODE_VARIABLES:
            return self.membership()
        return self.comparison()

    def membership(self) -> Rule:
        variables = self.variables()
        negated = self.take("not", "in") == "not"
        if negated:
            self.take("in")
        return Membership(variables, frozenset(self.sets()), negated)

    def comparison(self) -> Rule:
        variable = self.take(*NUMBER_VARIABLES, *TEXT_VARIABLES)
        if variable in TEXT_VARIABLES:
            self.take("=")
            text = self.take()
            if not text.startswith("'"):
                raise ValueError(f"{variable} is compared with {text!r}, not with a text in quotes")
            return TextComparison(variable, text[1:-1])
        return NumberComparison(variable, self.take(*COMPARISONS), self.number())

    def length(self) -> Rule:
        self.take("length")
        self.take("(")
        name = self.set()
        self.take("∩")
        variables = self.variables()
        self.take(")")
        return Length(name, variables, self.take(*COMPARISONS), self.number())

    def variables(self) -> tuple[str, ...]:
        return self.one_or_more(lambda: self.take(*CODE_VARIABLES))

    def sets(self) -> tuple[str, ...]:
        return self.one_or_more(self.set)

    def one_or_more(self, item: Callable[[], str]) -> tuple[str, ...]:
        if self.peek() != "{":
            return (item(),)
        self.take("{")
        items = [item()]
        while self.take(",", "}") == ",":
            items.append(item())
        return tuple(items)

    def set(self) -> str:
        token = self.take()
        if not (token[0].isalpha() or token[0] == "_") or token in KEYWORDS:
            raise ValueError(f"{token!r} is not the name of a set")
        return token

    def number(self) -> int:
        token = self.take()
        if not token.isdigit():
            raise ValueError(f"{token!r} is not a whole number")
        return int(token)
