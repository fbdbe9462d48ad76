"""Tables of a report: rows of exact figures, from which totals, shares and means are worked out.

A column is a key, a sum, or made from the sums of its row. So the total and the line of the rest are
made as the rows are: a mean of a total is never the mean of means.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Any, TypeAlias

from grouper._audit_book import Column, Lang, word
from grouper._statistics import half_up

Row: TypeAlias = dict[str, Any]
Words: TypeAlias = Mapping[str, tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Figure(Column):
    """A column of a report.

    Parameters
    ----------
    en : its header, if not the name. added : it has a total. made : what works it out from a row.
    words : value → what it is called in Chinese and English. kept : shown though no row has a value.
    """

    en: str = ""
    added: bool = False
    made: Callable[[Row], Any] | None = None
    words: Words = field(default_factory=dict)
    kept: bool = True

    def label(self, lang: Lang) -> str:
        """Write its header."""
        return word(lang, self.zh, self.en or self.name.removesuffix("_fen").replace("_", " "))

    def shown(self, value: Any, lang: Lang) -> Any:
        """Return a value as a person reads it."""
        return word(lang, *self.words[value]) if value in self.words else value


def key(
    name: str, zh: str, en: str = "", words: Words | None = None, *, kept: bool = True
) -> Figure:
    """Make a column of texts."""
    return Figure(name, zh, "text", en, words=words or {}, kept=kept)


def count(name: str, zh: str, en: str = "", *, kept: bool = True) -> Figure:
    """Make a column of whole numbers that are added."""
    return Figure(name, zh, "whole", en, added=True, kept=kept)


def money(name: str, zh: str, en: str = "", *, kept: bool = True) -> Figure:
    """Make a column of fen that are added."""
    return Figure(name, zh, "money", en, added=True, kept=kept)


def mean(name: str, zh: str, en: str, of: str, by: str) -> Figure:
    """Make a column of fen: a sum divided by a number, half up."""
    return Figure(name, zh, "money", en, made=lambda r: mean_fen(r.get(of), r.get(by)), kept=False)


def quotient(
    name: str, zh: str, en: str, of: str, by: str, *, times: Fraction | None = None, digits: int = 4
) -> Figure:
    """Make a column of decimals: a sum divided by another, times a factor, half up."""

    def made(row: Row) -> Decimal | None:
        return ratio(row.get(of), row.get(by), digits, times)

    return Figure(name, zh, "number", en, made=made, kept=False)


def share(name: str, zh: str, en: str, of: str, by: str | int) -> Figure:
    """Make a column of shares of a row's own figure, or of a whole that is the same for all rows."""

    def made(row: Row) -> Decimal | None:
        return ratio(row.get(of), by if isinstance(by, int) else row.get(by))

    return Figure(name, zh, "share", en, made=made, kept=False)


def ratio(over: Any, under: Any, digits: int = 4, times: Fraction | None = None) -> Decimal | None:
    """Divide exactly and round half up; None where a figure is not there or there is nothing to divide by."""
    if over is None or not under:
        return None
    exact = Fraction(over) / Fraction(under) * (1 if times is None else times)
    return Decimal(half_up(exact * 10**digits)).scaleb(-digits)


def mean_fen(over: Any, under: Any) -> int | None:
    """Divide fen by a number, half up."""
    return None if over is None or not under else half_up(Fraction(over, under))


@dataclass(frozen=True)
class ReportTable:
    """A table of a report: its name, titles, columns, rows and a note, each text in Chinese and English.

    Parameters
    ----------
    hidden : sums that rows hold beside the columns, to make figures from. most : rows that a page shows.
    """

    name: str
    title: tuple[str, str]
    columns: Sequence[Figure]
    rows: Sequence[Row]
    note: tuple[str, str] = ("", "")
    hidden: Sequence[str] = ()
    most: int = 40

    @property
    def has_total(self) -> bool:
        """Whether a total says more than the rows."""
        return len(self.rows) > 1 and any(c.added for c in self.columns)

    @property
    def total(self) -> Row:
        """The sums of all rows, and what is made from them."""
        return self._sum(self.rows)

    def head(self) -> tuple[Sequence[Row], int, Row]:
        """Return the first rows, and of the rest the number and the sums."""
        if len(self.rows) <= self.most + 1:
            return self.rows, 0, {}
        rest = self.rows[self.most :]
        return self.rows[: self.most], len(rest), self._sum(rest)

    def _sum(self, rows: Sequence[Row]) -> Row:
        names = [*(c.name for c in self.columns if c.added), *self.hidden]
        return finished({n: added(r.get(n) for r in rows) for n in names}, self.columns)


def added(values: Iterable[Any]) -> Any:
    """Add what is there; None if nothing is."""
    there = [v for v in values if v is not None]
    return sum(there) if there else None


def finished(row: Row, columns: Sequence[Figure]) -> Row:
    """Return a row with the figures that are made from it."""
    return row | {c.name: c.made(row) for c in columns if c.made is not None}


def table(
    name: str,
    zh: str,
    en: str,
    columns: Sequence[Figure],
    rows: Iterable[Row],
    note: tuple[str, str] = ("", ""),
    hidden: Sequence[str] = (),
    most: int = 40,
) -> ReportTable:
    """Make a table; a column that may go is left out where no row has a value."""
    made = [finished(r, columns) for r in rows]
    kept = [c for c in columns if c.kept or any(r.get(c.name) not in (None, "", 0) for r in made)]
    return ReportTable(name, (zh, en), kept, made, note, hidden, most)


@dataclass(frozen=True)
class Section:
    """A part of a report: tables, and the names of plots that go before them."""

    name: str
    title: tuple[str, str]
    tables: Sequence[ReportTable]
    plots: Sequence[str] = ()


@dataclass(frozen=True)
class Report:
    """The figures of a run, ready to be laid out; `about` are its facts by name, texts."""

    about: Mapping[str, str]
    sections: Sequence[Section]
    name: tuple[str, str] = ("支付报告", "payment report")

    @property
    def tables(self) -> dict[str, ReportTable]:
        """Every table by name, in the order of the report."""
        return {t.name: t for s in self.sections for t in s.tables}

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON can hold them: money in whole fen, decimals as texts."""
        return {"about": dict(self.about), "tables": {n: _plain(t) for n, t in self.tables.items()}}


def _plain(t: ReportTable) -> dict[str, Any]:
    names = [c.name for c in t.columns]

    def plain(row: Row) -> Row:
        return {n: str(v) if isinstance(v := row.get(n), Decimal) else v for n in names}

    total = {"total": plain(t.total)} if t.has_total else {}
    return {"title": list(t.title), "rows": [plain(r) for r in t.rows], **total}
