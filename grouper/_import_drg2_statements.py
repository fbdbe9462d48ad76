"""Rows of the sheet of conditions (入组条件) → the lists of one ADRG and how they go together.

A statement opens a list (包含以下主要诊断), begins the next of its kind (和, 或), names other ADRGs or every
procedure, or begins an expression (入组条件1：…), which may run over several rows. What is none of these is
refused with its row.
"""

from __future__ import annotations

import re

from grouper._import_drg2_source import Faults
from grouper._import_lists import ADRG, CodedList, Entry, Joint, Label, is_code, label_of, plain
from grouper._import_lists_logic import facts_in

_OPENS = re.compile(
    r"(?P<joint>或|和|且)?(?:同时)?(?P<not>不)?包含(?:以下|下列)(?P<label>[^:]*?)"
    r"(?:且(?:全部)?(?:诊断|手术)中(?:至少)?有(?P<n>[\d两二三四五])个(?:及以上|以上)?)?:?"
)
_OPENS_BEHIND = re.compile(
    r"(?P<joint>或|和|且)?(?P<label>[^:]+?)中?包含(?:以下|下列)(?:诊断|手术):?"
)
_STATES = re.compile(r"(?P<joint>或|和|且)?(?P<what>.*(?:全部手术|无手术|[A-Z]{2}\d.*手术).*?):?")
_CONDITION = re.compile(r"或?入组条件\d*:?(?P<what>.*)")
_HEADER = re.compile(rf"(?P<code>{ADRG.pattern})(?P<name>.*)")
_CODE = re.compile(r"[A-Z]?\d[0-9A-Za-z.+*/-]*")
_MANY = {"两": 2, "二": 2, "三": 3, "四": 4, "五": 5}


class Reader:
    """Reads the rows of one ADRG in their order."""

    def __init__(self, entry: Entry, faults: Faults) -> None:
        self.entry, self.faults = entry, faults
        self.open: CodedList | None = None
        self.in_condition = False
        self.next: Joint | None = None
        self.repeats = 0

    def read(self, number: int, row: dict[str, str]) -> None:
        """Take one row: cells code, name, list, rule."""
        text, said = row["code"], plain(row["code"] or row["name"])
        if row["rule"]:
            self.condition(row["rule"])
        if not said or (text == self.entry.code and not row["list"]):
            self.entry.name = self.entry.name or (row["name"] if text else "")
            return
        header = _HEADER.fullmatch(said)
        if header and header["code"] == self.entry.code and not _OPENS.fullmatch(said):
            self.entry.name = self.entry.name or header["name"]
        elif text and _CODE.fullmatch(text):
            self.code(number, row)
        else:
            self.statement(number, said)

    def condition(self, text: str) -> None:
        """Add to the expression; a repetition of it, as in a column filled down, adds nothing."""
        if plain(text) not in plain(self.entry.expression):
            self.entry.expression += text

    def code(self, number: int, row: dict[str, str]) -> None:
        """Add a code to its list: the one its own label names, else the one that is open."""
        into = self.open
        self.in_condition = False
        if row["list"]:
            label = label_of(row["list"])
            if label is None:
                self.faults.add(number, f"list {row['list']!r} is no label such as 主要诊断")
                return
            into = self.entry.list_of(label, number)
        elif self.next is not None and into is not None:
            into = self.open = self.entry.open(into.label, number, self.next)
        self.next = None
        code = row["code"]
        if into is None:
            message = f"{code!r} stands before any statement such as 包含以下主要诊断"
            self.faults.add(number, message)
        elif not is_code(code, into.label):
            self.faults.add(number, f"{code!r} is no code of a list {into.label}")
        else:
            self.repeats += code in into.codes
            into.codes.setdefault(code, row["name"])

    def statement(self, number: int, text: str) -> None:
        """Take a row that is no code."""
        if text in ("和", "且", "并且", "同时", "或"):
            self.next, self.in_condition = "or" if text == "或" else "and", False
            return
        if m := _CONDITION.fullmatch(text):
            self.entry.expression += text
            self.in_condition = True
            return
        label: Label | None
        if m := _OPENS.fullmatch(text):
            if label := label_of(m["label"]):
                self.begin(number, label, m["joint"])
                assert self.open is not None
                self.open.without = bool(m["not"])
                if m["n"]:
                    self.open.at_least = _MANY.get(m["n"]) or int(m["n"])
                return
        behind = _OPENS_BEHIND.fullmatch(text)
        label = label_of(behind["label"] if behind else text)
        if label and text.endswith(":"):
            self.begin(number, label, behind["joint"] if behind else None)
        elif self.in_condition:
            self.entry.expression += text
        elif (m := _STATES.fullmatch(text)) or facts_in(text):
            joint = (m["joint"] if m else None) or ("或" if self.next == "or" else "")
            self.entry.terms.append(("or" if joint == "或" else "and", m["what"] if m else text))
            self.open = self.next = None
        else:
            self.faults.add(number, f"statement {text!r} is not known")

    def begin(self, number: int, label: Label, joint: str | None) -> None:
        """Open a list, joined as this statement says or as the row before it does."""
        said: Joint = "or" if joint == "或" else "and"
        self.open = self.entry.open(label, number, said if joint else self.next or "and")
        self.next, self.in_condition = None, False

    def close(self) -> None:
        """Refuse lists that stayed empty."""
        for x in self.entry.lists:
            if not x.codes:
                self.faults.add(x.row, f"the list {x.label} of {self.entry.code} is empty")
