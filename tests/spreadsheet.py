"""A workbook as another reader has it: rows by calamine, formulas from the file's XML, worked out in doubles.

The arithmetic is that of a spreadsheet: doubles, and a ROUND that rounds the decimal a person sees.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable, Mapping
from decimal import ROUND_HALF_UP, Decimal
from operator import eq, ge, gt, le, lt, ne
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

NS = {"x": "http://schemas.openxmlformats.org/spreadsheetml/2006/main"}
Cell = tuple[str | None, Any]
"""Formula or None, and value."""


def read_sheet(path: Path, name: str) -> dict[str, Cell]:
    """Read formulas and values of a sheet from the file's XML."""
    with zipfile.ZipFile(path) as z:
        book = ElementTree.fromstring(z.read("xl/workbook.xml"))
        names = [s.get("name") for s in book.iterfind(".//x:sheet", NS)]
        root = ElementTree.fromstring(z.read(f"xl/worksheets/sheet{names.index(name) + 1}.xml"))
    found: dict[str, Cell] = {}
    for c in root.iterfind(".//x:c", NS):
        formula, value = c.find("x:f", NS), c.findtext("x:v", None, NS)
        kind, shown = c.get("t"), value
        if kind == "inlineStr":
            shown = c.findtext(".//x:t", "", NS)
        elif kind == "b":
            shown = value == "1"  # type: ignore[assignment]
        elif kind is None and value is not None:
            shown = float(value)  # type: ignore[assignment]
        found[str(c.get("r"))] = (None if formula is None else formula.text, shown)
    return found


TOKEN = re.compile(
    r'\s*(?:(\d+(?:\.\d*)?)|"([^"]*)"|([A-Z]+\d+:[A-Z]+\d+)|([A-Z]+\d+)|([A-Z]+)(?=\()'
    r"|(<=|>=|<>|[-+*/<>=&(),]))"
)


class Sheet:
    """A spreadsheet's arithmetic in doubles: each formula is worked out from the cells it names."""

    def __init__(self, cells: Mapping[str, Cell]) -> None:
        self.cells = cells
        self.known: dict[str, Any] = {}

    def value(self, ref: str) -> Any:
        if ref not in self.known:
            formula, shown = self.cells.get(ref, (None, None))
            self.known[ref] = shown if formula is None else self.evaluate(formula)
        return self.known[ref]

    def evaluate(self, formula: str) -> Any:
        tokens, at = [], 0
        while at < len(formula):
            m = TOKEN.match(formula, at)
            assert m, f"cannot read {formula!r} at {at}"
            tokens.append((m.lastindex or 0, m[m.lastindex or 0]))
            at = m.end()
        parser = Parser(self, tokens)
        found = parser.compare()
        assert parser.k == len(tokens), formula
        return found


class Parser:
    """Recursive descent over the tokens of a formula: (group of `TOKEN`, text)."""

    def __init__(self, sheet: Sheet, tokens: list[tuple[int, str]]) -> None:
        self.sheet, self.tokens, self.k = sheet, tokens, 0

    def take(self, *wanted: str) -> str:
        """Return the next sign if it is one of those wanted, else nothing."""
        if self.k < len(self.tokens) and self.tokens[self.k][1] in wanted:
            self.k += 1
            return self.tokens[self.k - 1][1]
        return ""

    def compare(self) -> Any:
        left = self.joined()
        if op := self.take(*COMPARISONS):
            right = self.joined()
            if None in (left, right):  # a blank cell beside text
                left, right = left or "", right or ""
            return COMPARISONS[op](left, right)
        return left

    def joined(self) -> Any:
        left = self.sum()
        while self.take("&"):
            right = self.sum()
            left = "".join("" if x is None else str(x) for x in (left, right))
        return left

    def sum(self) -> Any:
        left = self.product()
        while op := self.take("+", "-"):
            right = self.product() or 0.0
            left = (left or 0.0) + (right if op == "+" else -right)
        return left

    def product(self) -> Any:
        left = self.atom()
        while op := self.take("*", "/"):
            right = self.atom()
            left = left * right if op == "*" else left / right
        return left

    def atom(self) -> Any:
        kind, text = self.tokens[self.k]
        self.k += 1
        if kind == 1:
            return float(text)
        if kind == 2:
            return text
        if kind == 3:
            column, first, last = re.fullmatch(r"([A-Z]+)(\d+):[A-Z]+(\d+)", text).groups()  # type: ignore[union-attr]
            return [self.sheet.value(f"{column}{n}") for n in range(int(first), int(last) + 1)]
        if kind == 4:
            return self.sheet.value(text)
        if kind == 5:
            assert self.take("(")
            found = self.choice() if text == "IF" else FUNCTIONS[text](*self.arguments())
        else:
            assert text == "("
            found = self.compare()
        assert self.take(")")
        return found

    def arguments(self) -> list[Any]:
        found = [self.compare()]
        while self.take(","):
            found.append(self.compare())
        return found

    def choice(self) -> Any:
        """Work out the part that counts: the other may divide by nothing."""
        condition, chosen = bool(self.compare()), None
        for part in (True, False):
            assert self.take(",")
            if part == condition:
                chosen = self.compare()
            else:
                self.skip()
        return chosen

    def skip(self) -> None:
        """Go on to the comma or bracket that ends this argument."""
        depth = 0
        while depth or self.tokens[self.k][1] not in (",", ")"):
            depth += (self.tokens[self.k][1] == "(") - (self.tokens[self.k][1] == ")")
            self.k += 1


COMPARISONS = {"<": lt, "<=": le, ">": gt, ">=": ge, "=": eq, "<>": ne}


def round_half_up(x: float, digits: float) -> float:
    """Round the decimal that a person sees, halves away from zero."""
    return float(Decimal(repr(x)).quantize(Decimal(1).scaleb(-int(digits)), ROUND_HALF_UP))


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "ROUND": round_half_up,
    "MAX": max,
    "MIN": min,
    "ABS": abs,
    "AND": lambda *a: all(a),
    "SUM": lambda a: sum(x or 0.0 for x in a),
    "N": lambda x: x or 0.0,
}


def evaluated(path: Path, name: str) -> tuple[int, dict[str, Any]]:
    """Work out every formula; assert that it is the value written. Return their number and all."""
    cells = read_sheet(path, name)
    sheet, count = Sheet(cells), 0
    for ref, (formula, shown) in cells.items():
        if formula is None:
            continue
        count += 1
        found = sheet.value(ref)
        if isinstance(shown, float):
            assert found == pytest.approx(shown, abs=1e-9), (name, ref, formula)
        else:
            assert found == ("" if shown is None else shown), (name, ref, formula)
    return count, sheet.known


def read_rows(path: Path, name: str) -> list[list[Any]]:
    calamine = pytest.importorskip("python_calamine")
    book = calamine.CalamineWorkbook.from_path(str(path))
    rows: list[list[Any]] = book.get_sheet_by_name(name).to_python()
    return rows


def records(path: Path, name: str) -> list[dict[str, Any]]:
    """Return the rows of a sheet by the English part of their headers."""
    header, *rows = read_rows(path, name)
    names = [h.rpartition(" ")[2] for h in header]
    return [dict(zip(names, row, strict=True)) for row in rows]
