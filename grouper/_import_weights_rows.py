"""Rows of a table of weights (权重表) as groups with exact numbers, each oddity counted.

A number is the text that is printed, with its exact value beside it: no binary fraction on the way.
The surprises: the row of ungrouped cases may be printed 0, and a weight of 1 on an unstable or
uncovered group is a placeholder, not a price.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

from grouper._import_weights_read import QUALIFIED, Source
from grouper.errors import TableError
from grouper.tables._files import plain_decimal

UNGROUPED = "0000"
"""The row of ungrouped cases (未入组)."""

BLANKS = {"-", "--", "—", "——", "–", "/", "\\"}
"""Marks that stand for a blank in a column of numbers."""

YES = {"是", "1", "y", "yes", "true", "√", "✓", "基础病组", "中医优势病组", "中医优势病种"}
NO = {"", "否", "0", "n", "no", "false", "×", *BLANKS}

UNSTABLE, NOT_COVERED, BASIC, PLAIN = map(
    re.compile, ("[不非]稳定", "未覆盖|空白", "基础", "稳定|普通|常规")
)
"""What a type of group (病组类型) says, by the words it begins with."""

_CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.:+_-]*")
_PAY_AS = re.compile(r"参照\s*([A-Z][A-Z0-9]{2,5})\s*(病?组)?\s*(标准)?支付")
_SHARE = re.compile(r"按(本组)?(权重|支付标准|标准)的?\s*([0-9]{1,3}(?:\.[0-9]+)?)\s*%\s*支付")


class Num(NamedTuple):
    """A number: its text as printed, its value."""

    text: str
    value: Fraction

    @property
    def decimals(self) -> int:
        """Decimals that are printed."""
        return len(self.text.partition(".")[2])


class PayNote(NamedTuple):
    """A note that pays cases of a group as another, or at a share."""

    group: str
    note: str
    pay_as: str
    share: str


@dataclass
class Line:
    """One group; `numbers` are the cells of the qualified columns, by place."""

    row: int
    group: str
    name: str = ""
    weight: Num | None = None
    mean: Num | None = None
    type: str = ""
    basic: bool = False
    tcm: bool = False
    placeholder: bool = False
    """Unstable, with a weight that is none."""
    note: str = ""
    numbers: Mapping[int, Num | None] = field(default_factory=dict)


def lines_of(source: Source, counts: Counter[str], findings: list[str]) -> list[Line]:
    """Turn rows into groups.

    Raises
    ------
    TableError : no code, a code that is none or stands twice, text where a number belongs; says the row.
    """
    place = {h.field: h.at for h in source.heads if h.field not in QUALIFIED}
    place["weight"] = place.get("weight", place.get("score", -1))
    seen: dict[str, int] = {}
    lines = []
    for row, cells in source.rows:
        text = {f: cells[k] for f, k in place.items()}
        code = _code(text, source, row, counts)
        if code in seen:
            message = f"group {code!r} stands twice, first in row {seen[code]}; take one row out"
            raise TableError(message, file=source.place, row=row)
        seen[code] = row
        line = Line(row, code, text.get("name", ""), note=text.get("note", ""))
        line.weight = _number(text["weight"], source, row, counts)
        line.mean = _number(text.get("mean_cost", ""), source, row, counts)
        line.type = text.get("type", "")
        line.basic = _flag(text.get("basic", ""), source, row) or bool(BASIC.match(line.type))
        line.tcm = _flag(text.get("tcm", ""), source, row)
        line.numbers = {
            h.at: _number(cells[h.at], source, row, counts) for h in source.of(*QUALIFIED)
        }
        _typed(line, counts, findings)
        lines.append(line)
    _count(lines, [h.at for h in source.of("standard")], counts, findings)
    return lines


def notes_of(lines: list[Line], findings: list[str]) -> list[PayNote]:
    """Read the notes that say how cases are paid; the others are kept, and said."""
    groups = {line.group for line in lines}
    found, kept = [], []
    for line in lines:
        other, share = _PAY_AS.search(line.note), _SHARE.search(line.note)
        if other and other[1] in groups and not share:
            found.append(PayNote(line.group, line.note, other[1], "1"))
        elif share and not other and Fraction(share[3]) <= 100:
            part = Decimal(share[3]).scaleb(-2).normalize()
            found.append(PayNote(line.group, line.note, line.group, f"{part:f}"))
        elif line.note:
            kept.append(line.group)
    if kept:
        message = f"{len(kept)} notes are no rule of payment that is understood, as of {kept[0]}"
        findings.append(f"{message}: kept in weights.csv, not paid by")
    return found


def _code(text: Mapping[str, str], source: Source, row: int, counts: Counter[str]) -> str:
    code = text["group"]
    if code != UNGROUPED and re.fullmatch(r"0*|未入组", code):
        if code or "未入组" in text.get("name", ""):
            counts["restored_ungrouped"] += 1
            return UNGROUPED
        raise TableError("no group code", file=source.place, row=row)
    if not _CODE.fullmatch(code):
        message = f"{code!r} is no group code; take the row out, or mend it"
        raise TableError(message, file=source.place, row=row)
    return code


def _number(text: str, source: Source, row: int, counts: Counter[str]) -> Num | None:
    """Read a number exactly; blanks are none, whatever stands for them."""
    if not text:
        return None
    if text in BLANKS:
        counts["marks_for_blank"] += 1
        return None
    given = text
    if re.fullmatch(r"[0-9]{1,3}(,[0-9]{3})+(\.[0-9]+)?", text):
        counts["thousands_separators"] += 1
        text = text.replace(",", "")
    if source.excel and re.fullmatch(r"[0-9](\.[0-9]+)?e[+-]?[0-9]{1,2}", text):
        counts["written_out_exponents"] += 1
        text = f"{Decimal(text):f}"
    value = plain_decimal(text)
    if value is None or value < 0:
        what = "below 0" if value is not None else "no plain number"
        raise TableError(f"{given!r} is {what}; mend the cell", file=source.place, row=row)
    digits = text.replace(".", "").lstrip("0")
    counts["more_than_15_digits"] += source.excel and len(digits) > 15
    return Num(text, value)


def _flag(text: str, source: Source, row: int) -> bool:
    if text.casefold() in YES:
        return True
    if text.casefold() in NO:
        return False
    raise TableError(f"{text!r} is neither 是 nor 否 or blank", file=source.place, row=row)


def _typed(line: Line, counts: Counter[str], findings: list[str]) -> None:
    """Take from the type what it means for the weight."""
    one = line.weight is not None and line.weight.value == 1
    if UNSTABLE.match(line.type):
        counts["unstable"] += 1
        line.placeholder = one
        counts["placeholders"] += one
    elif NOT_COVERED.match(line.type):
        counts["not_covered"] += 1
        if one:
            counts["placeholders"] += 1
            line.weight = None
        elif line.weight is not None:
            findings.append(
                f"row {line.row}: {line.group} is {line.type} and has weight {line.weight.text}: kept"
            )


def _count(
    lines: list[Line], standards: list[int], counts: Counter[str], findings: list[str]
) -> None:
    counts["groups"] = len(lines)
    counts["weights"] = sum(x.weight is not None for x in lines)
    counts["without_weight"] = counts["groups"] - counts["weights"]
    counts["basic"] = sum(x.basic for x in lines)
    counts["tcm"] = sum(x.tcm for x in lines)
    if not counts["weights"]:
        findings.append("no group has a weight")
    priced = [x for x in lines if any(x.numbers[k] is not None for k in standards)]
    if bare := [x.group for x in priced if x.weight is None]:
        message = f"{len(bare)} groups have a standard and no weight, as {bare[0]}"
        findings.append(f"{message}: they are paid by the rule not_covered")
    if counts["more_than_15_digits"]:
        n = counts["more_than_15_digits"]
        findings.append(
            f"{n} numbers of the workbook have more than 15 digits: computed, not typed?"
        )
    known = (UNSTABLE, NOT_COVERED, BASIC, PLAIN)
    odd = sorted({x.type for x in lines if x.type and not any(k.match(x.type) for k in known)})
    if odd:
        findings.append(f"types that change nothing, since they are not known: {', '.join(odd)}")
