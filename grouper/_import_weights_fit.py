"""From a table's columns to the parameters of a policy: rates, coefficients, edges, basic groups.

What is printed for every group is one value; groups that differ have rows of their own. A rate that is
not printed is found from the standards (支付标准 = weight × rate × coefficient): each cell allows an
interval, the shortest decimal in it is a candidate, and the one that most cells agree with is taken,
to the fen or as coarse as the column is printed. The surprise: basic groups (基础病组) have one level's
price at every level, so they are left out of that vote, and tell the level afterwards.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil, floor
from typing import NamedTuple

from grouper._import_weights_read import Head, Key, Source
from grouper._import_weights_rows import Line, Num
from grouper.errors import TableError

MOST_DECIMALS = 12
CANDIDATES, TIGHTEST = 40, 20


class Given(NamedTuple):
    """A value for a key; a blank group is for all groups. `how` says where it comes from."""

    key: Key
    group: str
    text: str
    how: str


@dataclass
class Prices:
    """What the table says of prices, ready to be written."""

    rates: list[Given] = field(default_factory=list)
    coefficients: list[Given] = field(default_factory=list)
    low: list[Given] = field(default_factory=list)
    high: list[Given] = field(default_factory=list)
    basic_level: str = ""
    findings: list[str] = field(default_factory=list)


class Fit(NamedTuple):
    """The factor that most cells agree with, and how many do."""

    text: str
    value: Fraction
    agree: int
    cells: int
    decimals: int


Cell = tuple[Fraction, Num]
"""A base, and what is printed for base × factor."""


def round_to(value: Fraction, decimals: int) -> int:
    """Return a value in units of its last decimal, half up."""
    scale: int = 10**decimals
    return floor(value * scale + Fraction(1, 2))


def printed_to(numbers: Iterable[Num]) -> int:
    """Return the decimals to which a column is printed, at most 2; up to 1 cell in 20 may have more."""
    found = sorted((min(n.decimals, 2) for n in numbers), reverse=True)
    return found[len(found) // 20] if found else 2


def agrees(value: Fraction, n: Num, decimals: int) -> bool:
    """Tell whether an amount in yuan is the one printed, at the decimals of its column or its own."""
    at = max(decimals, min(n.decimals, 2))
    return round_to(value, at) == round_to(n.value, at)


def fit(cells: Iterable[Cell]) -> Fit | None:
    """Find the factor of printed amounts over their bases; None without a cell above 0."""
    known = [(base, n) for base, n in cells if base > 0]
    decimals = printed_to(n for _, n in known)
    votes: Counter[Fraction] = Counter()
    tight: list[tuple[Fraction, Fraction]] = []
    for base, n in known:
        half = Fraction(1, 2 * 10**n.decimals)
        found = _shortest(max(n.value - half, Fraction(0)) / base, (n.value + half) / base)
        if found is not None:
            votes[found] += 1
            tight.append((half / base, found))
    if not votes:
        return None
    candidates = [v for v, _ in votes.most_common(CANDIDATES)]
    candidates += [v for _, v in sorted(tight)[:TIGHTEST] if v not in candidates]
    best, most = candidates[0], -1
    for v in candidates:
        agree = sum(agrees(base * v, n, decimals) for base, n in known)
        if agree > most:
            best, most = v, agree
        if most == len(known):
            break
    return Fit(decimal_text(best), best, most, len(known), decimals)


def _shortest(low: Fraction, high: Fraction) -> Fraction | None:
    """Return the decimal with the fewest decimals between two bounds."""
    for d in range(MOST_DECIMALS + 1):
        units = ceil(low * 10**d)
        if units <= high * 10**d:
            return Fraction(units, 10**d)
    return None


def decimal_text(value: Fraction) -> str:
    """Write a finite decimal in full."""
    d = next(d for d in range(60) if (value * 10**d).denominator == 1)
    digits = str(int(value * 10**d)).rjust(d + 1, "0")
    return f"{digits[:-d]}.{digits[-d:]}" if d else digits


def prices_of(source: Source, lines: Sequence[Line]) -> Prices:
    """Find rates, coefficients, the level of basic groups, and edges.

    Raises
    ------
    TableError : standards that no single rate explains; groups that differ beside a class of hospital.
    """
    fitted = _Fitter(source, lines)
    fitted.printed()
    fitted.derived()
    fitted.basic()
    fitted.own_values()
    fitted.without_coefficient()
    fitted.edges("low")
    fitted.edges("high")
    return fitted.found


def _share(found: Fit) -> str:
    unit = ("to the yuan", "to the tenth of a yuan", "to the fen")[found.decimals]
    return f"{found.agree} of {found.cells} cells {unit}"


class _Fitter:
    """Holds what is found so far; each step is called once, in the order above."""

    def __init__(self, source: Source, lines: Sequence[Line]) -> None:
        self.source, self.lines = source, lines
        self.found = Prices()
        self.usual: dict[int, Num] = {}
        self.fits: dict[Key, Fraction] = {}
        self.factors: dict[Key, Fraction] = {}
        self.plain = [x for x in lines if not x.basic] or list(lines)

    def printed(self) -> None:
        """Take the value of every column of rates and coefficients that is printed most often."""
        for head in self.source.of("rate", "coefficient"):
            values = [n for x in self.plain if (n := x.numbers[head.at]) is not None]
            if not values:
                self.found.findings.append(f"column {head.header} is blank: not taken")
                continue
            common = Counter(n.value for n in values).most_common(1)[0][0]
            usual = self.usual[head.at] = next(n for n in values if n.value == common)
            into = self.found.rates if head.field == "rate" else self.found.coefficients
            into.append(Given(head.key, "", usual.text, f"column {head.header}"))
            if blank := sum(x.numbers[head.at] is None for x in self.lines):
                message = f"{blank} cells of column {head.header} are blank"
                self.found.findings.append(f"{message}: {usual.text}, its usual value, holds there")

    def derived(self) -> None:
        """Find the rates of standards that no column of rates is for, else coefficients not printed."""
        fits: list[tuple[Head, Fit]] = []
        factors: list[tuple[Head, Fit]] = []
        for head in self.source.of("standard"):
            priced = self._column("rate", head.key) is not None
            if priced and self._column("coefficient", head.key):
                continue
            found = fit(self._standards(head))
            if found is None:
                self.found.findings.append(f"column {head.header} gives no rate: no cell above 0")
            elif 2 * found.agree < found.cells:
                message = (
                    f"column {head.header}: no rate explains the standards, the best is {found.text} "
                    f"in {found.agree} of {found.cells}; give rates, or `ignore` the column in the map"
                )
                raise TableError(message, file=self.source.place)
            else:
                (factors if priced else fits).append((head, found))
        self._derived_rates(fits)
        if any(f.value != 1 for _, f in factors):
            self.factors = {head.key: f.value for head, f in factors}
            for head, f in factors:
                how = f"derived: {head.header} ÷ (weight × rate), {_share(f)}"
                self.found.coefficients.append(Given(head.key, "", f.text, how))

    def _derived_rates(self, fits: Sequence[tuple[Head, Fit]]) -> None:
        """Take rates; where coefficients are printed, one rate for all levels that have the same."""
        self.fits = {head.key: f.value for head, f in fits}
        by_insurance: dict[str, set[str]] = {}
        for head, f in fits:
            by_insurance.setdefault(head.key.insurance, set()).add(f.text)
        merged = bool(self.source.of("coefficient")) and all(
            len(texts) == 1 for texts in by_insurance.values()
        )
        one = merged and len({f.text for _, f in fits}) == 1
        seen = set()
        for head, f in fits:
            key = Key() if one else Key(insurance=head.key.insurance) if merged else head.key
            if key not in seen:
                seen.add(key)
                divisor = "weight × coefficient" if self.source.of("coefficient") else "weight"
                how = f"derived: {head.header} ÷ {divisor}, {_share(f)}"
                self.found.rates.append(Given(key, "", f.text, how))

    def basic(self) -> None:
        """Find the level whose price basic groups have everywhere, if they have one."""
        heads = self.source.of("coefficient") or self.source.of("standard")
        heads = [h for h in heads if h.key.level]
        rows = [x for x in self.lines if x.basic and x.weight is not None and x.weight.value]
        levels = list(dict.fromkeys(h.key.level for h in heads))
        if not rows or len(levels) < 2 or self._basic_fit(rows, heads, None):
            return
        for level in levels:
            if self._basic_fit(rows, heads, level):
                self.found.basic_level = level
                return
        message = f"{len(rows)} basic groups have neither their hospital's price nor one level's"
        self.found.findings.append(f"{message}: as {rows[0].group}")

    def _basic_fit(self, rows: Sequence[Line], heads: Sequence[Head], level: str | None) -> bool:
        """Tell whether basic groups have the price of one level, or (None) of each their own."""
        for head in heads:
            key = head.key if level is None else head.key._replace(level=level)
            decimals = printed_to(n for x in self.lines if (n := x.numbers[head.at]))
            for x in rows:
                n = x.numbers[head.at]
                if n is None:
                    continue
                if head.field == "coefficient":
                    column = self._column("coefficient", key)
                    if column is None or self.usual[column.at].value != n.value:
                        return False
                else:
                    unit = self._unit(key)
                    if unit is None or x.weight is None:
                        return False
                    if not agrees(x.weight.value * unit, n, decimals):
                        return False
        return True

    def own_values(self) -> None:
        """Give groups whose rate or coefficient is not the usual one a value of their own."""
        for name in ("rate", "coefficient"):
            heads = self.source.of(name)
            into = self.found.rates if name == "rate" else self.found.coefficients
            own = []
            for x in self.lines:
                for head in heads:
                    n = x.numbers[head.at]
                    by_level = x.basic and self.found.basic_level and head.key.level
                    if n is None or head.at not in self.usual or by_level:
                        continue
                    if n.value != self.usual[head.at].value:
                        how = f"column {head.header}, row {x.row}"
                        own.append(Given(head.key, x.group, n.text, how))
            if own and (classes := {h.key.class_ for h in heads if h.key.class_}):
                message = (
                    f"{name}s differ by group beside a class of hospital, {', '.join(classes)}: "
                    "give its level under [qualifiers] of a column map"
                )
                raise TableError(message, file=self.source.place)
            into += own

    def without_coefficient(self) -> None:
        """Give what stands beside coefficients and has none the coefficient that its rate implies."""
        given = [g.key for g in self.found.coefficients if not g.group]
        if not given:
            return
        for head in self.source.of("standard"):
            key = head.key._replace(insurance="")
            if not any(k.covers(head.key) for k in given):
                given.append(key)
                how = f"no coefficient is printed for {key}; its rate holds as it is"
                self.found.coefficients.append(Given(key, "", "1", how))

    def edges(self, name: str) -> None:
        """Find the multiple of the standard at which a band begins."""
        into = self.found.low if name == "low" else self.found.high
        for head in self.source.of(name):
            cells = [
                (base, n)
                for x in self.lines
                if (n := x.numbers[head.at]) is not None
                and (base := self._price(x, head.key)) is not None
            ]
            found = fit(cells)
            if found is None or 10 * found.agree < 9 * found.cells:
                best = f"{found.text} in {found.agree} of {found.cells}" if found else "none"
                message = f"column {head.header} is no one multiple of the standards (best: {best})"
                self.found.findings.append(f"{message}: kept in edges.csv, no band is written")
                continue
            how = f"derived: {head.header} ÷ standard, {_share(found)}"
            into.append(Given(head.key, "", found.text, how))

    # ------------------------------------------------------------------------------------ looking up

    def _column(self, name: str, key: Key) -> Head | None:
        """Find the column of a field that is for a key: the one that names most of it."""
        fitting = [h for h in self.source.of(name) if h.at in self.usual and h.key.covers(key)]
        return max(fitting, key=lambda h: sum(map(bool, h.key)), default=None)

    def _standards(self, head: Head) -> list[Cell]:
        """Give what a column's standards are multiples of, and the standards."""
        cells = []
        for x in self.plain:
            n = x.numbers[head.at]
            if n is not None and x.weight is not None:
                cells.append((x.weight.value * self._rest(x, head.key), n))
        return cells

    def _rest(self, x: Line, key: Key) -> Fraction:
        """Multiply what is printed of rate and coefficient beside a row."""
        found = Fraction(1)
        for name in ("rate", "coefficient"):
            if column := self._column(name, key):
                found *= (x.numbers[column.at] or self.usual[column.at]).value
        return found

    def _derived(self, key: Key) -> Fraction | None:
        """Return what is derived of rate and coefficient for a key; None without any rate."""
        rate = next((v for k, v in self.fits.items() if k.covers(key)), None)
        if rate is None and self._column("rate", key) is None:
            return None
        factor = next((v for k, v in self.factors.items() if k.covers(key)), Fraction(1))
        return (rate or 1) * factor

    def _unit(self, key: Key) -> Fraction | None:
        """Return rate × coefficient for a key, as they usually are."""
        found = self._derived(key)
        for name in ("rate", "coefficient"):
            column = self._column(name, key)
            if found is not None and column:
                found *= self.usual[column.at].value
        return found

    def _price(self, x: Line, key: Key) -> Fraction | None:
        """Return a row's standard for a key: computed, else as printed."""
        if x.basic and self.found.basic_level:
            key = key._replace(level=self.found.basic_level)
        derived = self._derived(key)
        if derived is not None and x.weight is not None:
            return x.weight.value * self._rest(x, key) * derived
        column = next((h for h in self.source.of("standard") if h.key.covers(key)), None)
        printed = x.numbers[column.at] if column else None
        return printed.value if printed else None
