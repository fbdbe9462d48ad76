"""The rule language: text → tree.

The grammar is that of the national 3.0 workbook (分组方案配置信息), widened by what the cities need::

    rule   := "" | or ;  or := and {"or" and} ;  and := atom {"and" atom}
    atom   := "(" or ")" | INT | vars ["not"] "in" sets | VAR cmp (INT | 'text')
            | "length(" SET "∩" vars ")" cmp INT
    vars   := VAR | "{" VAR {"," VAR} "}"        sets := SET | "{" SET {"," SET} "}"
    cmp    := = < <= > >=

Everything is a whole word: an ADRG may be called ``OR1``. Cell text arrives with non-breaking,
full-width and zero-width blanks; `clean_text` takes them out, and columns in messages count the
cleaned text. An empty rule is true.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from typing import TypeAlias

from grouper.errors import RuleError
from grouper.tables._types import Fact, Side

CODE_VARIABLES: dict[str, Side] = {s.name: s for s in Side if s.name}
NUMBER_VARIABLES: dict[str, Fact] = {
    "NL": Fact.AGE,
    "XSRTL": Fact.AGE_DAYS,
    "XSRTZ": Fact.WEIGHT,
    "XB": Fact.SEX,
    "ZYTS": Fact.LOS,
    "ICUSC": Fact.ICU_HOURS,
}
TEXT_VARIABLES: dict[str, Fact] = {"LYFS": Fact.DISCHARGE_MODE, "CYKS": Fact.DEPARTMENT}
SEVERITY_SETS = ("MCC", "CC")
MAX_DEPTH = 100
MAX_SIGNS = 32_767
"""Signs of a rule: as many as a cell of Excel holds."""


@dataclass(frozen=True, slots=True)
class Const:
    """`1` or `0`."""

    value: bool
    at: int = field(default=1, compare=False)


@dataclass(frozen=True, slots=True)
class Member:
    """Any code of any of `vars` is in any of `sets`; `negated` turns the answer."""

    vars: tuple[str, ...]
    sets: tuple[str, ...]
    negated: bool = False
    at: int = field(default=1, compare=False)


@dataclass(frozen=True, slots=True)
class Compare:
    """A fact against a whole number or a text; a missing fact makes it false."""

    var: str
    op: str
    value: int | str
    at: int = field(default=1, compare=False)


@dataclass(frozen=True, slots=True)
class Count:
    """The number of distinct codes of `vars` in `set`, compared with `value`."""

    set: str
    vars: tuple[str, ...]
    op: str
    value: int
    at: int = field(default=1, compare=False)


@dataclass(frozen=True, slots=True)
class And:
    """Every part holds."""

    parts: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """Some part holds."""

    parts: tuple[Rule, ...]


Atom: TypeAlias = Const | Member | Compare | Count
Rule: TypeAlias = Atom | And | Or

_CARRIAGE = re.compile(r"_x000[dD]_")
TOKEN = re.compile(
    r"\s*(?:(?P<text>'[^']*'|\"[^\"]*\")|(?P<int>\d+(?!\w))|(?P<word>[^\W\d][\w.#]*)"
    r"|(?P<sign><=|>=|[=<>(){},∩])|(?P<bad>\S))"
)


def clean_text(cell: str) -> str:
    """Return a cell's text without what spreadsheets leave in it (NBSP, full width, `_x000D_`)."""
    if not cell.isascii() or "_x000" in cell:
        cell = unicodedata.normalize("NFKC", _CARRIAGE.sub(" ", cell))
        if not cell.isprintable():  # as format characters (Cf) are, and blanks but the space
            cell = "".join(c for c in cell if unicodedata.category(c) != "Cf")
    return " ".join(cell.split())


def clean_name(cell: str) -> str:
    """Return a name without blanks at its ends and what is not seen; its full-width signs stay."""
    text = "".join(c for c in _CARRIAGE.sub(" ", cell) if unicodedata.category(c) != "Cf")
    return " ".join(text.split())


def parse(text: str, *, file: str = "rule", row: int = 0) -> Rule:
    """Parse one rule (分组规则).

    Parameters
    ----------
    text : the cell, at most 32,767 signs and 100 nested brackets. file, row : where it stands, for
        the message.

    Raises
    ------
    RuleError : the text is not of the grammar; says the column and what was expected.
    """
    cleaned = clean_text(text[: MAX_SIGNS + 1])
    if len(text) > MAX_SIGNS or len(cleaned) > MAX_SIGNS:
        message = f"more than {MAX_SIGNS} signs; make a set of the codes, or several rows"
        raise RuleError(message, file=file, row=row, column=MAX_SIGNS + 1)
    return _Parser(cleaned, file, row).rule()


class _Parser:
    """Recursive descent; one method a line of the grammar."""

    def __init__(self, text: str, file: str, row: int) -> None:
        self.file, self.row, self.depth = file, row, 0
        self.tokens: list[tuple[str, str, int]] = []
        for m in TOKEN.finditer(text):
            kind = m.lastgroup or "bad"
            self.tokens.append((kind, m.group(kind), m.start(kind) + 1))
        self.tokens.append(("end", "", len(text) + 1))
        self.k = 0

    def rule(self) -> Rule:
        if self.kind == "end":
            return Const(True)
        tree = self.disjunction()
        if self.kind != "end":
            raise self.fault("'and', 'or' or the end")
        return tree

    def disjunction(self) -> Rule:
        parts = [self.conjunction()]
        while self.take_word("or"):
            parts.append(self.conjunction())
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def conjunction(self) -> Rule:
        parts = [self.atom()]
        while self.take_word("and"):
            parts.append(self.atom())
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def atom(self) -> Rule:
        kind, text, at = self.tokens[self.k]
        if text == "(":
            self.depth += 1
            if self.depth > MAX_DEPTH:
                raise self.fault(f"at most {MAX_DEPTH} nested brackets")
            self.k += 1
            tree = self.disjunction()
            self.take_sign(")")
            self.depth -= 1
            return tree
        if kind == "int":
            if text not in ("0", "1"):
                raise self.fault("1 (true) or 0 (false) where a condition stands alone")
            self.k += 1
            return Const(text == "1", at)
        if text == "length":
            return self.count(at)
        if text == "{" or text in CODE_VARIABLES:
            names = self.names(CODE_VARIABLES, "one of ZYZD, QTZD, ZYSS, QTSS")
            negated = self.take_word("not")
            if not self.take_word("in"):
                raise self.fault("'in' or 'not in'")
            start = self.k
            sets = self.names(None, "the name of a set")
            if "QTZD" not in names and set(sets) & set(SEVERITY_SETS):
                self.k = start
                raise self.fault("QTZD before 'in': MCC and CC are lists of other diagnoses")
            return Member(names, sets, negated, at)
        if text in NUMBER_VARIABLES or text in TEXT_VARIABLES:
            self.k += 1
            return self.comparison(text, at)
        raise self.fault("a variable, a number or '('")

    def comparison(self, var: str, at: int) -> Rule:
        op = self.operator()
        kind, text, _ = self.tokens[self.k]
        if var in TEXT_VARIABLES:
            if kind != "text" or op != "=":
                raise self.fault(f"= and a quoted text: {var} is a text")
            self.k += 1
            return Compare(var, op, text[1:-1], at)
        return Compare(var, op, self.integer(), at)

    def count(self, at: int) -> Rule:
        self.k += 1
        self.take_sign("(")
        start = self.k
        name = self.names(None, "the name of a set")
        if len(name) != 1 or name[0] in SEVERITY_SETS:
            self.k = start
            raise self.fault("one set of the set table to count in")
        self.take_sign("∩")
        names = self.names(CODE_VARIABLES, "one of ZYZD, QTZD, ZYSS, QTSS")
        self.take_sign(")")
        return Count(name[0], names, self.operator(), self.integer(), at)

    def names(self, allowed: dict[str, Side] | None, wanted: str) -> tuple[str, ...]:
        """Read `NAME` or `{NAME, NAME}`."""
        if not self.tokens[self.k][1] == "{":
            return (self.name(allowed, wanted),)
        self.k += 1
        found = [self.name(allowed, wanted)]
        while self.tokens[self.k][1] == ",":
            self.k += 1
            found.append(self.name(allowed, wanted))
        self.take_sign("}")
        return tuple(dict.fromkeys(found))

    def name(self, allowed: dict[str, Side] | None, wanted: str) -> str:
        kind, text, _ = self.tokens[self.k]
        keyword = text.lower() in ("and", "or", "not", "in", "length")
        if kind != "word" or keyword or (allowed is not None and text not in allowed):
            raise self.fault(wanted)
        self.k += 1
        return text

    def operator(self) -> str:
        text = self.tokens[self.k][1]
        if text not in ("=", "<", "<=", ">", ">="):
            raise self.fault("one of = < <= > >=")
        self.k += 1
        return text

    def integer(self) -> int:
        kind, text, _ = self.tokens[self.k]
        if kind != "int" or len(text) > 10 or int(text) >= 2**31:
            raise self.fault("a whole number below 2147483648")
        self.k += 1
        return int(text)

    @property
    def kind(self) -> str:
        return self.tokens[self.k][0]

    def take_word(self, word: str) -> bool:
        kind, text, _ = self.tokens[self.k]
        if kind == "word" and text.lower() == word:
            self.k += 1
            return True
        return False

    def take_sign(self, sign: str) -> None:
        if self.tokens[self.k][1] != sign:
            raise self.fault(repr(sign))
        self.k += 1

    def fault(self, wanted: str) -> RuleError:
        _, text, at = self.tokens[self.k]
        found = repr(text) if text else "the end"
        return RuleError(
            f"expected {wanted}, found {found}", file=self.file, row=self.row, column=at
        )


def atoms(rule: Rule) -> list[Atom]:
    """List the atoms of a rule from left to right."""
    if isinstance(rule, And | Or):
        return [a for part in rule.parts for a in atoms(part)]
    return [rule]


def sets_of(rule: Rule) -> dict[str, Side]:
    """Name the sets of the set table that a rule uses, and the sides it looks for them on."""
    used: dict[str, Side] = {}
    for a in atoms(rule):
        if isinstance(a, Member | Count):
            sides = sides_of(a.vars)
            for name in a.sets if isinstance(a, Member) else (a.set,):
                if name not in SEVERITY_SETS:
                    used[name] = used.get(name, Side(0)) | sides
    return used


def sides_of(names: tuple[str, ...]) -> Side:
    """Combine code variables into one flag."""
    sides = Side(0)
    for name in names:
        sides |= CODE_VARIABLES[name]
    return sides


def text_of(rule: Rule) -> str:
    """Write a rule in the language again, bracketed; `parse(text_of(r))` gives `r` back."""
    match rule:
        case Const(value=v):
            return "1" if v else "0"
        case Compare(var=var, op=op, value=value):
            quote = '"' if "'" in str(value) else "'"
            return (
                f"{var}{op}{quote}{value}{quote}" if isinstance(value, str) else f"{var}{op}{value}"
            )
        case Member(vars=names, sets=sets, negated=negated):
            return f"{_braced(names)} {'not in' if negated else 'in'} {_braced(sets)}"
        case Count(set=name, vars=names, op=op, value=value):
            return f"length({name} ∩ {_braced(names)}){op}{value}"
        case And(parts=parts) | Or(parts=parts):
            word = " and " if isinstance(rule, And) else " or "
            return word.join(
                f"({text_of(p)})" if isinstance(p, And | Or) else text_of(p) for p in parts
            )


def _braced(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else "{" + ", ".join(names) + "}"
