"""Lists of an ADRG, whatever sheet they came from: labels, codes, names of their sets, words of DRGs.

An `Entry` is an ADRG with its lists (主要诊断, 其他诊断, 主要手术或操作 …) and how they go together: as they
stand one below the other, or an expression over their labels (入组条件). The surprise: 手术或操作 alone means
any procedure, the principal one too; 主要手术或操作 means the principal one only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeAlias

from grouper.tables._rules import clean_text

ALL = "OP_ALL"
"""The set of every procedure that counts as an operation (全部手术或操作)."""

Vars: TypeAlias = tuple[str, ...]
PRINCIPAL: Vars = ("ZYZD",)
OTHER: Vars = ("QTZD",)
ANY_DIAGNOSIS: Vars = ("ZYZD", "QTZD")
MAIN: Vars = ("ZYSS",)
OTHER_PROCEDURE: Vars = ("QTSS",)
ANY_PROCEDURE: Vars = ("ZYSS", "QTSS")

LABELS: dict[str, Vars] = {
    "主要诊断": PRINCIPAL,
    "其他诊断": OTHER,
    "诊断": ANY_DIAGNOSIS,
    "主要手术": MAIN,
    "其他手术": OTHER_PROCEDURE,
    "手术": ANY_PROCEDURE,
}

DIAGNOSIS = re.compile(r"[A-Z]\d[0-9A-Za-z.+*/-]*")
PROCEDURE = re.compile(r"\d\d(\.[0-9A-Za-z.]+)?")
ADRG_PATTERN = r"[A-Z]{2}\d(?:#\d+)?"
ADRG = re.compile(ADRG_PATTERN)


class Label(NamedTuple):
    """What a list is for: on which variables it is looked for, and its number if it has one."""

    vars: Vars
    number: str = ""

    @property
    def is_diagnosis(self) -> bool:
        """Whether its codes are diagnoses."""
        return self.vars[0] in ANY_DIAGNOSIS

    def __str__(self) -> str:
        name = next(n for n, v in LABELS.items() if v == self.vars)
        return name.replace("手术", "手术或操作") + self.number


@dataclass
class CodedList:
    """A list of codes; `at_least` = so many distinct ones are needed, `without` = none may be there.

    `together` = further alternatives, procedures that must all be there, whichever is the principal one.
    """

    label: Label
    row: int
    codes: dict[str, str] = field(default_factory=dict)
    at_least: int = 1
    without: bool = False
    set: str = ""
    together: list[tuple[str, ...]] = field(default_factory=list)

    def together_sets(self) -> list[tuple[str, ...]]:
        """Name the sets of `together`: one for each procedure of each alternative."""
        return [
            tuple(f"{self.set}.{k}.{j}" for j in range(1, len(codes) + 1))
            for k, codes in enumerate(self.together, 1)
        ]

    def sets(self) -> dict[str, list[str]]:
        """Return the sets of this list and their codes."""
        found = {self.set: list(self.codes)} if self.codes else {}
        for names, codes in zip(self.together_sets(), self.together, strict=True):
            found |= {name: [code] for name, code in zip(names, codes, strict=True)}
        return found


Joint = Literal["and", "or"]


@dataclass
class Entry:
    """An ADRG: its lists, how each goes with what stands above it, and what is said of all of them.

    `terms` holds lists and expressions in their order; an `expression` (入组条件) takes their place.
    """

    code: str
    mdc: str
    file: str
    row: int
    name: str = ""
    lists: list[CodedList] = field(default_factory=list)
    terms: list[tuple[Joint, CodedList | str]] = field(default_factory=list)
    expression: str = ""

    def open(self, label: Label, row: int, joint: Joint = "and") -> CodedList:
        """Begin a list, joined to what is there."""
        added = CodedList(label, row)
        self.lists.append(added)
        self.terms.append((joint, added))
        return added

    def list_of(self, label: Label, row: int) -> CodedList:
        """Return the list of this label; begin it if there is none."""
        found = next((x for x in self.lists if x.label == label), None)
        return found or self.open(label, row)


# ----------------------------------------------------------------------------------------- labels


def plain(text: str) -> str:
    """Return a text without blanks, its words for 诊断 and 手术或操作 made alike."""
    text = re.sub(r"\s", "", clean_text(text))
    text = re.sub(r"手术(?:或|及|和|与|/|、)?操作", "手术", text)
    text = re.sub(r"主(诊断|手术)", r"主要\1", text)
    text = re.sub(r"(?:次要|次)(诊断|手术)", r"其他\1", text)
    text = re.sub(r"(?:所有|任意|全部)(诊断|手术)(?=\d)", r"\1", text)
    text = re.sub(r"所有(诊断|手术)", r"全部\1", text)
    return re.sub(r"(诊断|手术)(\d*)\((主要|其他)\)", r"\3\1\2", text)


_LABEL = re.compile(r"(主要|其他|全部)?(诊断|手术)(?:列?表|编码|代码)?(\d*)")


def label_of(text: str) -> Label | None:
    """Read a label such as 主要诊断1 or 主要诊断或其他诊断; None if it is none."""
    text = plain(text).rstrip(":")
    if re.fullmatch(r"(MDC[A-Z])?主诊表", text):
        return Label(PRINCIPAL)
    found = _LABEL.fullmatch(re.sub(r"(?:主要)?(诊断|手术)或其他\1", r"\1", text))
    if not found:
        return None
    where = "" if found[1] in (None, "全部") else found[1]
    return Label(LABELS[where + found[2]], found[3])


def is_code(text: str, label: Label) -> bool:
    """Tell whether a text is a code of the side that the label is for."""
    return bool((DIAGNOSIS if label.is_diagnosis else PROCEDURE).fullmatch(text))


# ------------------------------------------------------------------------------------------- sets


def name_sets(entry: Entry) -> None:
    """Name the sets of an ADRG: DI_BB1, OP_BB1; OP1_BB1 and so on where there are several."""
    for side in ("DI", "OP"):
        lists = [x for x in entry.lists if x.label.is_diagnosis == (side == "DI")]
        taken: set[str] = set()
        for x in lists:
            number = x.label.number
            if number in taken or (not number and len(lists) > 1):
                number = next(
                    str(k)
                    for k in range(1, len(lists) + 2)
                    if str(k) not in taken and str(k) not in {y.label.number for y in lists}
                )
            taken.add(number)
            x.set = f"{side}{number}_{entry.code}"


# ----------------------------------------------------------------------------------------- splits

_ILL = r"(?:合并症|并发症|伴随病)(?:(?:或|和|及|与|/|、)?(?:合并症|并发症|伴随病))?"
_SPLITS = (
    (re.compile(rf"(?:不伴有?|无)(?:严重|重要|一般)?(?:(?:或|和|及)一般)?{_ILL}"), ""),
    (re.compile(rf"伴有?(?:严重|重要)(?:或|和|及|、)一般{_ILL}"), "QTZD in {MCC, CC}"),
    (re.compile(rf"伴有?(?:严重|重要){_ILL}"), "QTZD in MCC"),
    (re.compile(rf"伴有?一般{_ILL}"), "QTZD in CC"),
    (re.compile(rf"伴有?{_ILL}"), "QTZD in {MCC, CC}"),
)
_WORDS = {
    "MCC": "QTZD in MCC",
    "CC": "QTZD in CC",
    "MCC或CC": "QTZD in {MCC, CC}",
    "MCC/CC": "QTZD in {MCC, CC}",
    **dict.fromkeys(("无", "不伴", "-", "不区分", "不细分", "其他", "其余"), ""),
}


def split_of(text: str, adrg_name: str = "") -> str | None:
    """Read the rule of a DRG from its words (伴严重并发症或合并症 …); None = they say nothing of it."""
    text, adrg_name = plain(text), plain(adrg_name)
    if text in _WORDS:
        return _WORDS[text]
    text = text.removeprefix(adrg_name)
    return next((rule for pattern, rule in _SPLITS if pattern.search(text)), None)
