"""A row of live formulas: each cell is worked out in Excel and here, in exact fractions.

The fractions give a formula its value and tell whether it agrees with the run. The surprise: where an
exact figure ends on a half, a product of doubles may fall just below it, so such a figure is rounded to
three more digits first.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from grouper._audit_book import Column, Kind, Live
from grouper._audit_facts import Facts, Row
from grouper._statistics import half_up

TAIL = Fraction(2, 100)
"""Largest remainder gives a hospital less than a fen and a case of it less than another."""

_LAYOUT: tuple[tuple[str, str, Kind], ...] = (
    ("case_id", "结算流水号", "text"),
    ("hospital_id", "机构", "text"),
    ("pool_id", "资金池", "text"),
    ("settlement_month", "月份", "text"),
    ("status", "入组状态", "text"),
    ("pay_as", "付费病组", "text"),
    ("family", "付费类别", "text"),
    ("special", "特病单议", "text"),
    ("start", "起算", "text"),
    ("weight", "权重或分值", "number"),
    ("aux", "辅助系数", "number"),
    ("factor", "机构系数", "number"),
    ("unit", "每权重点数或费率", "number"),
    ("full", "标准分值", "number"),
    ("bare", "不含机构系数", "number"),
    ("cost_fen", "总费用", "money"),
    ("carve_out_fen", "除外费用", "money"),
    ("unreasonable_fen", "不合理费用", "money"),
    ("used_fen", "计入费用", "money"),
    ("benchmark_fen", "基准费用", "money"),
    ("ratio", "费用比", "number"),
    ("low", "低倍率界", "number"),
    ("high", "高倍率界", "number"),
    ("extreme", "极高界", "number"),
    ("over_quota", "超高倍率限额", "flag"),
    ("band", "偏差类型", "text"),
    ("share", "超出部分比例", "number"),
    ("above", "超出起点", "number"),
    ("cap", "封顶倍数", "number"),
    ("number", "规则数值", "number"),
    ("per", "除以", "number"),
    ("los", "住院天数", "whole"),
    ("claim", "偏差后分值", "number"),
    ("special_factor", "再入院系数", "number"),
    ("final", "最终分值", "number"),
    ("amount", "分摊额", "number"),
    ("claims", "总分值", "number"),
    ("standard_fen", "支付标准", "money"),
    ("standard_tail_fen", "最大余额尾差", "money"),
    ("patient_fen", "个人负担", "money"),
    ("others_fen", "其他支付方", "money"),
    ("carved_fen", "基金内除外支付", "money"),
    ("fund_num", "比例分子", "number"),
    ("fund_den", "比例分母", "number"),
    ("pay_fen", "支付额", "money"),
    ("pay_tail_fen", "最大余额尾差", "money"),
    ("our_ratio", "结果: 费用比", "number"),
    ("our_band", "结果: 偏差类型", "text"),
    ("our_score", "结果: 最终分值", "number"),
    ("our_standard_fen", "结果: 支付标准", "money"),
    ("our_pay_fen", "结果: 支付额", "money"),
    ("ratio_agrees", "费用比相符", "flag"),
    ("band_agrees", "偏差相符", "flag"),
    ("score_agrees", "分值相符", "flag"),
    ("standard_agrees", "标准相符", "flag"),
    ("pay_agrees", "支付额相符", "flag"),
    ("agrees", "全部相符", "flag"),
    ("given", "取自结果、未重算", "text"),
)
COLUMNS = tuple(Column(*c) for c in _LAYOUT)
_PLACE = {c.name.removesuffix("_fen"): k for k, c in enumerate(COLUMNS)}
_MONEY = {c.name.removesuffix("_fen") for c in COLUMNS if c.kind == "money"}
_CHECKS = ("ratio", "band", "score", "standard", "pay")


@dataclass
class Chain:
    """A row that is being built; `exact` holds its figures, money in yuan, `at` is its Excel row."""

    case: Row
    facts: Facts
    at: int
    cells: dict[str, Any] = field(default_factory=dict)
    exact: dict[str, Fraction] = field(default_factory=dict)
    checks: dict[str, bool] = field(default_factory=dict)
    given: dict[str, str] = field(default_factory=dict)

    @property
    def agrees(self) -> bool:
        """Whether every figure that is worked out is that of the run."""
        return all(self.checks.values())

    def row(self) -> list[Any]:
        """Return the cells in the order of `COLUMNS`."""
        return [self.cells.get(c.name.removesuffix("_fen")) for c in COLUMNS]

    def __getitem__(self, name: str) -> Fraction:
        return self.exact[name]

    def put(self, name: str, value: Fraction | int | None) -> None:
        """Write an input: money in yuan, other numbers as they are; None stays blank."""
        if value is None:
            return
        self.exact[name] = Fraction(value)
        fen = self.exact[name] * 100
        is_fen = name in _MONEY and fen.denominator == 1
        self.cells[name] = int(fen) if is_fen else Fraction(value)

    def live(self, name: str, formula: str, exact: Fraction) -> None:
        """Write a formula over {names} of cells, with its exact value."""
        self.exact[name] = exact
        self.cells[name] = Live(self.text(formula), exact)

    def rounded(self, name: str, formula: str, exact: Fraction, digits: int) -> None:
        """Write a formula rounded half up; see the module for exact halves."""
        units = exact * 10**digits
        if units.denominator == 2:
            formula = f"ROUND({formula},{digits + 3})"
        value = Fraction(half_up(units), 10**digits)
        self.live(name, f"ROUND({formula},{digits})", value)

    def text(self, formula: str) -> str:
        """Put the cells of this row for {names}."""
        return re.sub(r"\{(\w+)\}", lambda m: f"{_letters(_PLACE[m[1]])}{self.at}", formula)

    def check(self, name: str, formula: str, truth: bool) -> None:
        """Write whether a step agrees."""
        self.checks[name] = truth
        self.cells[f"{name}_agrees"] = Live(self.text(formula), truth)

    def take(self, name: str, value: Fraction | None, why: str) -> None:
        """Take a figure from the run."""
        self.put(name, value)
        self.given[name] = why

    def close(self) -> None:
        """Write the check of the whole row, and what was taken from the run."""
        cells = ",".join(f"{{{n}_agrees}}" for n in _CHECKS if n in self.checks)
        if cells:
            self.cells["agrees"] = Live(self.text(f"AND({cells})"), self.agrees)
        if self.given:
            self.cells["given"] = ", ".join(self.given.values())

    def shared(self, name: str, formula: str, exact: Fraction) -> None:
        """Write a share of an amount, what largest remainder gave it, and that it is within bounds."""
        self.rounded(name, formula, exact, 2)
        tail = self[f"our_{name}"] - self[name]
        self.live(f"{name}_tail", f"ROUND({{our_{name}}}-{{{name}}},2)", tail)
        self.check(name, f"ABS({{{name}_tail}})<={float(TAIL)}", abs(tail) <= TAIL)

    def money(self, name: str) -> None:
        """Write whether an amount is that of the run to the fen."""
        agree = self[name] == self[f"our_{name}"]
        self.check(name, f"ROUND({{{name}}}-{{our_{name}}},2)=0", agree)


def _letters(k: int) -> str:
    """Name a column as Excel does."""
    return (_letters(k // 26 - 1) if k >= 26 else "") + chr(ord("A") + k % 26)
