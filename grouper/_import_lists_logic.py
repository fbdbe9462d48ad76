"""What is said of the lists of an ADRG → its rule: terms one below the other, or an expression over labels.

An expression (入组条件: 主要诊断1 + 手术或操作2 或 …) is read by recursive descent; `+`, 和 and 且 bind
tighter than 或. The surprise: where a list is labelled one way and the expression says the other
(手术或操作1, but 主要手术或操作1), the expression counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NoReturn

from grouper._import_lists import (
    ADRG,
    ADRG_PATTERN,
    ALL,
    ANY_DIAGNOSIS,
    ANY_PROCEDURE,
    MAIN,
    CodedList,
    Entry,
    Label,
    Vars,
    label_of,
    plain,
)
from grouper.errors import TableError
from grouper.tables._rules import And, Compare, Count, Member, Or, Rule

ENGLISH = {
    "principal": "主要诊断",
    "any_diagnosis": "诊断",
    "main": "主要手术",
    "other_procedure": "其他手术",
    "any_procedure": "手术",
    "other": "其他诊断",
}
"""Labels as expressions of a column map may write them."""


def joined(kind: type[And] | type[Or], parts: Sequence[Rule]) -> Rule:
    """Join rules by and, or; those of the same kind are not nested."""
    flat: list[Rule] = []
    for p in parts:
        flat += p.parts if isinstance(p, kind) else (p,)
    unique = tuple(dict.fromkeys(flat))
    return unique[0] if len(unique) == 1 else kind(unique)


def rule_of(entry: Entry, entries: Mapping[str, Entry]) -> Rule:
    """Make the rule of an ADRG; `entries` = the others, whose lists it may name.

    Raises
    ------
    TableError : it has no list and no condition, or names a list that is not there.
    """
    if entry.expression:
        return read_logic(entry.expression, entry, entries)
    if not entry.terms:
        message = f"{entry.code} has neither a list nor a condition; give it one"
        raise TableError(message, file=entry.file, row=entry.row)
    groups: list[list[Rule]] = [[]]
    for joint, term in entry.terms:
        if joint == "or" and groups[-1]:
            groups.append([])
        rule = (
            read_logic(term, entry, entries)
            if isinstance(term, str)
            else member(term, term.label.vars)
        )
        groups[-1].append(rule)
    return joined(Or, [joined(And, g) for g in groups])


def member(x: CodedList, variables: Vars) -> Rule:
    """Ask for a code of a list on these variables, or for all procedures of one of its combinations."""
    base = Member(variables, (x.set,), x.without)
    if x.at_least >= 2:
        both = ANY_DIAGNOSIS if x.label.is_diagnosis else ANY_PROCEDURE
        count = Count(x.set, both, ">=", x.at_least)
        return count if variables == both else And((count, base))
    combined = [
        joined(And, [Member(ANY_PROCEDURE, (name,)) for name in names])
        for names in x.together_sets()
    ]
    return joined(Or, [*([base] if x.codes or not combined else []), *combined])


# ------------------------------------------------------------------------------------ expressions

_SMALL = {"一": 1, "两": 2, "二": 2, "三": 3, "四": 4, "五": 5}
_WHAT = r"出生年龄|新生儿天龄|日龄|天龄|年龄|出生体重|入院体重|体重"
_UNIT = r"(?:天|日|周岁|岁|克|g)"
_CMP = r"<=|>=|<|>|=|≤|≥|不足|小于等于|大于等于|小于|大于"
FACT = re.compile(
    rf"(?:(?P<low>\d+)(?P<low_unit>{_UNIT})?(?P<low_op><=|<|≤))?(?P<what>{_WHAT})"
    rf"(?P<op>{_CMP})?(?P<value>\d+)(?P<between>{_UNIT})?(?:[-~至](?P<high>\d+))?(?P<unit>{_UNIT})?"
)
_SIGNS = {"≤": "<=", "≥": ">=", "小于等于": "<=", "大于等于": ">=", "小于": "<", "不足": "<"}
_TOKEN = re.compile(
    rf"(?P<fact>{re.sub(r'[?]P<[a-z_]+>', '?:', FACT.pattern)})|(?P<sex>(?:性别[=为]?)?[男女]性?)"
    rf"|(?P<except>除(?:{ADRG_PATTERN}[、和,]?)+(?:之外|以外|外)的?(?:全部)?手术)"
    r"|(?P<none>无手术)|(?P<all>全部手术)|(?P<not>不包含|不含|无|not)"
    r"|(?P<ref>(?:主要|其他)?(?:诊断|手术)\d*)(?:(?:>=|≥|中?至?少?有)(?P<n>[\d一二两三四五])个?(?:及以上|以上)?)?"
    rf"|(?P<adrg>{ADRG_PATTERN}(?:、{ADRG_PATTERN})*)(?:的?全?部?手术)?"
    r"|(?P<or>[,;]?(?:或者?|or|\|+))|(?P<and>[,;]?(?:\++|并且|且|和|and|&+)|[,;])"
    r"|(?P<open>[(\[])|(?P<close>[)\]])|(?P<noise>同时|包含|以下|的|[。:])"
)
_ONE_MAIN = re.compile(r"\([^()]*至少有一个是主要手术[^()]*\)")


def read_logic(text: str, entry: Entry, entries: Mapping[str, Entry]) -> Rule:
    """Turn an expression over lists (入组条件) into a rule.

    Raises
    ------
    TableError : a word that is not known, or a list that is not there; says which.
    """
    for word, label in ENGLISH.items():
        text = re.sub(rf"(?<![A-Za-z_]){word}(?![A-Za-z_])", label, text)
    text = re.sub(r"符合MDC[A-Z]的?主诊表,?(?:且|和)?", "", plain(text))
    parts = [p.strip(";,。:") for p in re.split(r"或?入组条件\d*:?", text)]
    return joined(Or, [_Logic(p, entry, entries).rule() for p in parts if p])


def facts_in(text: str) -> list[Rule]:
    """List the conditions on age and weight that a name states (年龄＜29天, 出生体重1500-1999g)."""
    return [fact_of(m) for m in FACT.finditer(plain(text))]


def fact_of(m: re.Match[str]) -> Rule:
    """Turn one condition on age, weight into a rule; the unit says which variable."""
    unit = m["unit"] or m["between"] or ""

    def variable(unit: str) -> str:
        if unit in ("天", "日") or (not unit and m["what"] in ("日龄", "天龄", "新生儿天龄")):
            return "XSRTL"
        return "XSRTZ" if unit in ("克", "g") or "体重" in m["what"] else "NL"

    name, sign = variable(unit), _SIGNS.get(m["op"] or "", m["op"] or "=")
    sign = ">" if sign == "大于" else sign
    if m["high"]:
        return And((Compare(name, ">=", int(m["value"])), Compare(name, "<=", int(m["high"]))))
    parts: list[Rule] = []
    if m["low"]:
        low = {"<": ">", "<=": ">=", "≤": ">="}[m["low_op"]]
        parts.append(Compare(variable(m["low_unit"] or unit), low, int(m["low"])))
    elif name == "XSRTZ" and sign.startswith("<"):
        parts.append(Compare(name, ">", 0))
    parts.append(Compare(name, sign, int(m["value"])))
    return joined(And, parts)


class _Logic:
    """Recursive descent over one expression: or, and, then lists, ADRGs, facts, brackets."""

    def __init__(self, text: str, entry: Entry, entries: Mapping[str, Entry]) -> None:
        self.one_main = bool(_ONE_MAIN.search(text))
        self.text = _ONE_MAIN.sub("", text)
        self.entry, self.entries = entry, entries
        self.together = "同时" in self.text
        self.tokens = self.read()
        self.k = 0
        self.any_sets: list[str] = []

    def read(self) -> list[re.Match[str]]:
        at, found = 0, []
        while at < len(self.text):
            m = _TOKEN.match(self.text, at)
            if not m:
                self.refuse(f"{self.text[at : at + 12]!r} is not known in {self.text!r}")
            at = m.end()
            if m.lastgroup != "noise":
                found.append(m)
        return found

    def refuse(self, message: str) -> NoReturn:
        known = ", ".join(str(x.label) for x in self.entry.lists) or "none"
        message = f"{self.entry.code}: {message}; its lists: {known}"
        raise TableError(message, file=self.entry.file, row=self.entry.row)

    def rule(self) -> Rule:
        found = self.disjunction()
        if self.k < len(self.tokens):
            self.refuse(f"{self.tokens[self.k][0]!r} is not expected in {self.text!r}")
        if self.one_main and self.any_sets:
            found = joined(And, [Member(MAIN, tuple(dict.fromkeys(self.any_sets))), found])
        return found

    def next_is(self, kind: str) -> bool:
        return self.k < len(self.tokens) and self.tokens[self.k][kind] is not None

    def take(self, kind: str) -> re.Match[str] | None:
        if self.next_is(kind):
            self.k += 1
            return self.tokens[self.k - 1]
        return None

    def disjunction(self) -> Rule:
        parts = [self.conjunction()]
        while self.take("or"):
            parts.append(self.conjunction())
        return joined(Or, parts)

    def conjunction(self) -> Rule:
        parts = [self.atom()]
        while self.take("and") or self.next_is("not"):
            parts.append(self.atom())
        return joined(And, parts)

    def atom(self) -> Rule:
        if self.take("open"):
            found = self.disjunction()
            if not self.take("close"):
                self.refuse(f"a bracket is not closed in {self.text!r}")
            return found
        if m := self.take("fact"):
            whole = FACT.fullmatch(m[0])
            if whole:
                return fact_of(whole)
        if m := self.take("sex"):
            return Compare("XB", "=", 1 if "男" in m[0] else 2)
        if m := self.take("except"):
            sets = self.sets_of(ADRG.findall(m[0]))
            return And((Member(MAIN, (ALL,)), Member(MAIN, sets, True)))
        if self.take("none"):
            return Member(ANY_PROCEDURE, (ALL,), True)
        if self.take("all"):
            return Member(MAIN, (ALL,))
        without = self.take("not") is not None
        if m := self.take("adrg"):
            where = ANY_PROCEDURE if self.together or without else MAIN
            return Member(where, self.sets_of(ADRG.findall(m[0])), without)
        if m := self.take("ref"):
            return self.list_rule(m, without)
        left = self.tokens[self.k][0] if self.k < len(self.tokens) else "the end"
        self.refuse(f"a list or a condition is expected before {left!r} in {self.text!r}")

    def list_rule(self, m: re.Match[str], without: bool) -> Rule:
        label = label_of(m["ref"])
        assert label is not None
        x = self.resolve(label)
        if label.vars == ANY_PROCEDURE:
            self.any_sets.append(x.set)
        n = (_SMALL.get(m["n"]) or int(m["n"])) if m["n"] else x.at_least
        if x.together and (without or n > 1):
            self.refuse(f"{label} holds combinations; it can be neither counted nor excluded")
        return member(replace(x, at_least=n, without=without or x.without), label.vars)

    def resolve(self, label: Label) -> CodedList:
        """Find a list by its label; else by its number on that side; else the only one of the side."""
        side = [x for x in self.entry.lists if x.label.is_diagnosis == label.is_diagnosis]
        for found in (
            [x for x in side if x.label == label],
            [x for x in side if x.label.number == label.number],
            side if not label.number else [],
        ):
            if len(found) == 1:
                return found[0]
        self.refuse(f"{label} is named in {self.text!r}, and is no one list")

    def sets_of(self, codes: Iterable[str]) -> tuple[str, ...]:
        """Name the procedure sets of other ADRGs."""
        sets: dict[str, None] = {}
        for code in codes:
            if code not in self.entries:
                self.refuse(f"{code} is named in {self.text!r}, and is no ADRG of these tables")
            lists = [x for x in self.entries[code].lists if not x.label.is_diagnosis]
            if any(x.together for x in lists):
                self.refuse(f"{code}, named in {self.text!r}, has combinations of procedures")
            named = [x.set for x in lists]
            if not named:
                self.refuse(f"{code}, named in {self.text!r}, has no list of procedures")
            sets |= dict.fromkeys(named)
        return tuple(sets)
