"""The language of quality rules: text → typed tree. Closed: it cannot loop, name a file or reach Python.

::

    or     := and {"or" and}          and  := not {"and" not}        not := "not" not | compare
    compare:= sum [("=" | "!=" | "<" | "<=" | ">" | ">=") sum | "between" sum "and" sum | "in" set]
    sum    := product {("+" | "-") product}                 product := atom {"*" atom}
    atom   := "-" atom | WHOLE | 'TEXT' | FIELD | `HEADER` | FUNCTION "(" … ")" | "(" or ")"
    set    := "@" DOMAIN | "{" literal {"," literal} "}"

Numbers are whole: money is in fen under a name that ends in ``_fen``. A condition is true, false or
missing, as Kleene has it: what cannot be told for a blank cell or an absent column is missing.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

CASE = "setlinfo"
"""The table with one row a case; its fields can be named from the rows below a case too."""

MAX_SIGNS, MAX_DEPTH, MAX_FACTOR = 400, 16, 1000

BOOL, NUMBER, TIME, TEXT = "yes or no", "number", "time", "text"
TYPES = {"text": TEXT, "whole": NUMBER, "money": NUMBER, "time": TIME, "day": TIME, "flag": BOOL}
POSITION = "position"
"""Of a row below a case: 1 is the first; of diagnoses the principal one."""


class FieldError(ValueError):
    """A condition is refused; `at` is the character, from 1."""

    def __init__(self, message: str, at: int) -> None:
        self.message, self.at = message, at
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a list: its table and name, its kind, our column, other headers it may have."""

    table: str
    name: str
    kind: str
    ours: str = ""
    also: tuple[str, ...] = ()
    personal: bool = False

    @property
    def key(self) -> tuple[str, str]:
        """Table and name."""
        return self.table, self.name

    @property
    def said(self) -> str:
        """The name in a rule: money is said in fen."""
        return f"{self.name}_fen" if self.kind == "money" else self.name


class Literal(NamedTuple):
    """A whole number or a text."""

    value: int | str


class Read(NamedTuple):
    """A field; `broadcast`: of the case, read from a row below it."""

    field: Field
    broadcast: bool


class Position(NamedTuple):
    """The number of a row in its case."""

    table: str


class Compare(NamedTuple):
    """left op right."""

    op: str
    left: Node
    right: Node


class Arith(NamedTuple):
    """left op right, whole numbers."""

    op: str
    left: Node
    right: Node


class Logic(NamedTuple):
    """`and` or `or` of parts."""

    op: str
    parts: tuple[Node, ...]


class Negation(NamedTuple):
    """Not of a part."""

    part: Node


class Member(NamedTuple):
    """Is the part one of the values."""

    part: Node
    values: frozenset[str]


class Call(NamedTuple):
    """A function of fields of the same row."""

    name: str
    args: tuple[Node, ...]
    values: frozenset[str] = frozenset()


class Below(NamedTuple):
    """A sum, count, any or all over the rows of `table` below a case."""

    name: str
    table: str
    part: Node | None


Node: TypeAlias = (
    Literal | Read | Position | Compare | Arith | Logic | Negation | Member | Call | Below
)


Typed: TypeAlias = tuple[Node, str]
Reads: TypeAlias = Callable[[], Typed]


@dataclass(frozen=True, slots=True)
class Condition:
    """A parsed condition: `when` does not hold, or `check` does."""

    check: Node
    when: Node | None
    fields: frozenset[Field]
    tables: frozenset[str]
    calls: frozenset[str]


class _Form(NamedTuple):
    takes: tuple[str, ...]
    gives: str
    more: bool = False  # further arguments of the last kind
    set_last: bool = False  # the last may be a set instead of texts


ANY = "anything"
FORMS = {
    "filled": _Form((ANY,), BOOL),
    "digits": _Form((TEXT,), BOOL),
    "length": _Form((TEXT,), NUMBER),
    "number": _Form((TEXT,), NUMBER),
    "starts": _Form((TEXT, TEXT), BOOL, more=True, set_last=True),
    "each_between": _Form((TEXT, NUMBER, NUMBER), BOOL),
    "abs": _Form((NUMBER,), NUMBER),
    "days": _Form((TIME, TIME), NUMBER),
    "unique": _Form((TEXT,), BOOL, more=True),
    "unique_in_case": _Form((TEXT,), BOOL, more=True),
    "is_principal": _Form((TEXT,), BOOL),
    "known_diagnosis": _Form((TEXT,), BOOL),
    "known_procedure": _Form((TEXT,), BOOL),
    "grey_diagnosis": _Form((TEXT,), BOOL),
    "grey_procedure": _Form((TEXT,), BOOL),
    "fits_sex": _Form((TEXT, NUMBER), BOOL),
    "fits_age": _Form((TEXT, NUMBER), BOOL),
    "days_since_stay": _Form((TEXT,), NUMBER, more=True),
    "mean": _Form((NUMBER, TEXT), NUMBER),
}
"""What each function takes and gives."""

OF_CASES = ("days_since_stay", "mean")
"""Functions that look over all cases of the input: only where one row is one case."""
BELOW = ("any", "all", "count", "sum")

_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d{1,15}(?![\w.]))|(?P<text>'[^']*')|(?P<header>`[^`]+`)"
    r"|(?P<word>[A-Za-z_]\w*)|(?P<sign><=|>=|!=|[-+*=<>(),{}@])|(?P<bad>\S))",
    re.ASCII,
)
_WORDS = {"and", "or", "not", "in", "between"}
_COMPARISONS = ("=", "!=", "<", "<=", ">", ">=")


def parse_condition(
    check: str,
    when: str,
    table: str,
    fields: Mapping[tuple[str, str], Field],
    domains: Mapping[str, frozenset[str]],
) -> Condition:
    """Parse a condition of a table's rows.

    Parameters
    ----------
    check, when : the texts; an empty `when` always holds. table : whose rows. fields : by (table,
        name). domains : the values of each.

    Raises
    ------
    FieldError : says what is wrong, where, and the nearest name there is.
    """
    parsers = [_Parser(text, table, fields, domains) for text in (check, when) if text]
    if not check:
        raise FieldError("a rule needs a check", 1)
    nodes = [p.whole() for p in parsers]
    for node in nodes:
        if name := personal_misuse(node):
            raise FieldError(f"{name} is personal: only filled({name}) may be asked", 1)
    return Condition(
        nodes[0],
        nodes[1] if when else None,
        frozenset[Field]().union(*(p.fields for p in parsers)),
        frozenset({table}).union(*(p.tables for p in parsers)),
        frozenset[str]().union(*(p.calls for p in parsers)),
    )


def _tokens(text: str) -> list[tuple[str, str, int]]:
    found, at = [], 0
    while match := _TOKEN.match(text, at):
        kind = match.lastgroup or ""
        if kind == "bad":
            message = f"{match[kind]!r} is no part of a condition; numbers are whole, texts in '…'"
            raise FieldError(message, match.start(kind) + 1)
        found.append((kind, match[kind], match.start(kind) + 1))
        at = match.end()
        if len(found) > MAX_SIGNS:
            raise FieldError(f"more than {MAX_SIGNS} signs; split the rule", at)
    return found


class _Parser:
    """Reads one text; each method returns (node, type)."""

    def __init__(
        self,
        text: str,
        table: str,
        fields: Mapping[tuple[str, str], Field],
        domains: Mapping[str, frozenset[str]],
    ) -> None:
        self.tokens = [*_tokens(text), ("end", "", len(text) + 1)]
        self.k = self.depth = 0
        self.table, self.known, self.domains = table, fields, domains
        self.fields: set[Field] = set()
        self.tables: set[str] = set()
        self.calls: set[str] = set()

    def whole(self) -> Node:
        node = self.yes_or_no(self.either)
        if self.kind != "end":
            raise FieldError(f"{self.word!r} is too much", self.at)
        return node

    @property
    def kind(self) -> str:
        return self.tokens[self.k][0]

    @property
    def word(self) -> str:
        return self.tokens[self.k][1]

    @property
    def at(self) -> int:
        return self.tokens[self.k][2]

    def take(self, *words: str) -> str:
        """Take one of the words if it is next."""
        if self.kind in ("word", "sign") and self.word in words:
            self.k += 1
            return self.tokens[self.k - 1][1]
        return ""

    def need(self, word: str) -> None:
        if not self.take(word):
            raise FieldError(f"{word!r} is missing before {self.word or 'the end'!r}", self.at)

    def yes_or_no(self, read: Reads) -> Node:
        at = self.at
        node, kind = read()
        if kind != BOOL:
            raise FieldError(f"a {kind} stands where yes or no is wanted", at)
        return node

    def either(self) -> Typed:
        return self.joined("or", self.both)

    def both(self) -> Typed:
        return self.joined("and", self.negated)

    def joined(self, op: str, read: Reads) -> Typed:
        at = self.at
        node, kind = read()
        parts = [node]
        while self.take(op):
            if kind != BOOL:
                raise FieldError(f"a {kind} stands where yes or no is wanted", at)
            at = self.at
            node, kind = read()
            parts.append(node)
        if len(parts) > 1 and kind != BOOL:
            raise FieldError(f"a {kind} stands where yes or no is wanted", at)
        return (Logic(op, tuple(parts)), BOOL) if len(parts) > 1 else (node, kind)

    def negated(self) -> Typed:
        if not self.take("not"):
            return self.compare()
        with _Depth(self):
            return Negation(self.yes_or_no(self.negated)), BOOL

    def compare(self) -> Typed:
        left, kind = self.sum()
        at = self.at
        if op := self.take(*_COMPARISONS):
            right, other = self.sum()
            self.same(kind, other, at)
            if kind in (TEXT, BOOL) and op not in ("=", "!="):
                raise FieldError(f"a {kind} is only = or != another", at)
            return Compare(op, left, right), BOOL
        if self.take("between"):
            low, a = self.sum()
            self.need("and")
            high, b = self.sum()
            self.same(kind, a, at)
            self.same(kind, b, at)
            if kind in (TEXT, BOOL):
                raise FieldError(f"a {kind} is not between others", at)
            both = (Compare(">=", left, low), Compare("<=", left, high))
            return Logic("and", both), BOOL
        if self.take("in"):
            if kind not in (TEXT, NUMBER):
                raise FieldError(f"a {kind} is in no set", at)
            return Member(left, self.values()), BOOL
        return left, kind

    def same(self, kind: str, other: str, at: int) -> None:
        if kind != other:
            raise FieldError(f"a {kind} is compared with a {other}", at)

    def values(self) -> frozenset[str]:
        """Read a set."""
        at = self.at
        if self.take("@"):
            name = self.word if self.kind == "word" else ""
            if name not in self.domains:
                raise FieldError(f"no domain {name!r}{_near(name, self.domains)}", self.at)
            self.k += 1
            return self.domains[name]
        self.need("{")
        found = set()
        while True:
            if self.kind not in ("number", "text"):
                raise FieldError("a set holds numbers or texts in '…'", self.at)
            found.add(self.word.strip("'") if self.kind == "text" else str(int(self.word)))
            self.k += 1
            if not self.take(","):
                break
        self.need("}")
        if len(found) > MAX_SIGNS:
            raise FieldError("the set is too large; make it a domain", at)
        return frozenset(found)

    def sum(self) -> Typed:
        return self.chain(("+", "-"), self.product)

    def product(self) -> Typed:
        return self.chain(("*",), self.atom)

    def chain(self, ops: Sequence[str], read: Reads) -> Typed:
        node, kind = read()
        while op := self.take(*ops):
            at = self.at
            right, other = read()
            if kind != NUMBER or other != NUMBER:
                raise FieldError(
                    f"{op!r} takes numbers, not a {kind if kind != NUMBER else other}", at
                )
            if op == "*" and not (_is_factor(node) or _is_factor(right)):
                raise FieldError(f"one side of * is a number up to {MAX_FACTOR}", at)
            node = Arith(op, node, right)
        return node, kind

    def atom(self) -> Typed:
        kind, word, at = self.tokens[self.k]
        if self.take("("):
            with _Depth(self):
                found = self.either()
            self.need(")")
            return found
        if self.take("-"):
            with _Depth(self):
                node, other = self.atom()
            if other != NUMBER:
                raise FieldError(f"'-' takes a number, not a {other}", at)
            return Arith("-", Literal(0), node), NUMBER
        self.k += 1
        if kind == "number":
            return Literal(int(word)), NUMBER
        if kind == "text":
            return Literal(word.strip("'")), TEXT
        if kind == "header":
            return self.read(Field(self.table, word.strip("`"), "text"), False), TEXT
        if kind != "word" or word in _WORDS:
            self.k -= 1
            raise FieldError(f"a field or a value is wanted, not {word or 'the end'!r}", at)
        if self.take("("):
            with _Depth(self):
                found = self.below(word) if word in BELOW else self.call(word, at)
            self.need(")")
            return found
        return self.named(word, at)

    def named(self, word: str, at: int) -> Typed:
        if word == POSITION and self.table != CASE:
            return Position(self.table), NUMBER
        own = self.known.get((self.table, word))
        field = own or self.known.get((CASE, word))
        if field is None:
            names = [n for t, n in self.known if t in (self.table, CASE)]
            message = f"no field {word!r} of {self.table}{_near(word, names)}"
            raise FieldError(f"{message}; a header of your own is written `so`", at)
        return self.read(field, own is None and self.table != CASE), TYPES[field.kind]

    def read(self, field: Field, broadcast: bool) -> Read:
        self.fields.add(field)
        return Read(field, broadcast)

    def call(self, name: str, at: int) -> Typed:
        form = FORMS.get(name)
        if form is None:
            raise FieldError(f"no function {name!r}{_near(name, [*FORMS, *BELOW])}", at)
        if name in OF_CASES and self.table != CASE:
            raise FieldError(f"{name}() is of cases: only rules of {CASE} use it", at)
        if name == "is_principal" and self.table == CASE:
            raise FieldError(f"{name}() is of rows below a case", at)
        self.calls.add(name)
        args: list[Node] = []
        values: frozenset[str] = frozenset()
        while True:
            place = self.at
            if form.set_last and args and (self.word in ("@", "{")):
                values = self.values()
                break
            node, kind = self.sum()
            wanted = form.takes[min(len(args), len(form.takes) - 1)]
            if wanted not in (ANY, kind):
                raise FieldError(f"{name}() takes a {wanted} here, not a {kind}", place)
            if name == "filled" and not isinstance(node, Read):
                raise FieldError("filled() asks about a field", place)
            args.append(node)
            if not self.take(","):
                break
        given = len(args) + bool(values)
        if given < len(form.takes) or (given > len(form.takes) and not form.more):
            raise FieldError(f"{name}() takes {len(form.takes)} values, not {given}", at)
        return Call(name, tuple(args), values), form.gives

    def below(self, name: str) -> Typed:
        """Read the rest of any(table, …), all(…), count(table[, …]), sum(table, …)."""
        at, table = self.at, self.word
        tables = {t for t, _ in self.known} - {CASE}
        if self.kind != "word" or table not in tables:
            raise FieldError(f"{name}() begins with a table: {', '.join(sorted(tables))}", at)
        if self.table != CASE:
            raise FieldError(f"{name}() is of cases: only rules of {CASE} use it", at)
        self.k += 1
        self.tables.add(table)
        part = None
        if self.take(","):
            self.table = table
            part, kind = self.either()
            self.table = CASE
            wanted = NUMBER if name == "sum" else BOOL
            if kind != wanted:
                raise FieldError(f"{name}() takes a {wanted}, not a {kind}", at)
        elif name != "count":
            raise FieldError(f"{name}(table, …) needs a second value", at)
        return Below(name, table, part), BOOL if name in ("any", "all") else NUMBER


class _Depth:
    """Counts how deep brackets stand in each other."""

    def __init__(self, parser: _Parser) -> None:
        self.parser = parser

    def __enter__(self) -> None:
        self.parser.depth += 1
        if self.parser.depth > MAX_DEPTH:
            message = f"brackets stand more than {MAX_DEPTH} deep; split the rule"
            raise FieldError(message, self.parser.at)

    def __exit__(self, *_: object) -> None:
        self.parser.depth -= 1


def _is_factor(node: Node) -> bool:
    return isinstance(node, Literal) and isinstance(node.value, int) and node.value <= MAX_FACTOR


def _near(name: str, among: Iterable[str]) -> str:
    names = list(among)
    near = difflib.get_close_matches(name, names, n=1)
    return (
        f"; the nearest is {near[0]!r}" if near else f"; there are: {', '.join(sorted(names)[:20])}"
    )


PERSONAL_ASKED = ("filled",)
"""Functions that may ask about a personal field: only whether it is filled."""


def personal_misuse(node: Node) -> str:
    """Return the name of a personal field that is read for more than whether it is filled, or ""."""
    if isinstance(node, Read):
        return node.field.name if node.field.personal else ""
    if isinstance(node, Call):
        if node.name in PERSONAL_ASKED:
            return ""
        return next(filter(None, map(personal_misuse, node.args)), "")
    if isinstance(node, Compare | Arith):
        return personal_misuse(node.left) or personal_misuse(node.right)
    if isinstance(node, Logic):
        return next(filter(None, map(personal_misuse, node.parts)), "")
    if isinstance(node, Negation | Member):
        return personal_misuse(node.part)
    return personal_misuse(node.part) if isinstance(node, Below) and node.part else ""
