"""Control totals of a run by fund and month, and the finance ledger that they are tied to."""

from __future__ import annotations

import csv
import io
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from grouper._audit_facts import column
from grouper._workbook import HEADER_WITHIN, read_workbook
from grouper.errors import CaseFileError, TableError

FIGURES = ("total_cost_fen", "booked_fund_fen", "patient_fen", "pay_fen")
"""What is totalled of a case besides their number."""

_FIGURE_NAMES = {
    "total_cost_fen": r"cost|total_cost|总费用|医疗费总额",
    "booked_fund_fen": r"booked|booked_fund|记账费用|医保记账费用",
    "patient_fen": r"patient|个人负担",
    "pay_fen": r"pay|支付额|医保支付额|",
}
_HEADERS = {
    "month": r"month|settlement_month|月份|结算月份",
    "pool": r"pool|pool_id|fund|资金池|基金",
    "insurance": r"insurance|insutype|险种|险种类型|医保类型",
    "amount": r"amount|amount_yuan|金额|金额[（(]元[）)]",
    "figure": r"figure|科目|口径",
}
Key: TypeAlias = tuple[str, str, str, str]
"""Figure, month, pool or "", insurance or ""."""


class Total(NamedTuple):
    """Cases and figures of one pool, insurance and month."""

    pool: str
    insurance: str
    month: str
    cases: int
    figures: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Tied:
    """One cell of the finance ledger beside ours, in fen; None = not there."""

    key: Key
    ours: int | None
    theirs: int | None

    @property
    def difference(self) -> int:
        """Ours less theirs."""
        return (self.ours or 0) - (self.theirs or 0)

    @property
    def ties(self) -> bool:
        """Whether both are there and equal."""
        return None not in (self.ours, self.theirs) and self.difference == 0


def control_totals(cases: pa.Table) -> list[Total]:
    """Add up the cases by pool, insurance and month, in that order."""
    keys = ("pool_id", "insurance", "settlement_month")
    table = pa.table(
        {
            **{k: pc.fill_null(column(cases, k, pa.string()), "") for k in keys},
            **{f: column(cases, f, pa.int64()) for f in FIGURES},
        }
    )
    sums = table.group_by(list(keys)).aggregate([([], "count_all"), *((f, "sum") for f in FIGURES)])
    found = [
        Total(
            r["pool_id"],
            r["insurance"],
            r["settlement_month"],
            r["count_all"],
            tuple(r[f"{f}_sum"] or 0 for f in FIGURES),
        )
        for r in sums.to_pylist()
    ]
    return sorted(found, key=lambda t: (t.pool, t.insurance, t.month))


def tie(totals: Sequence[Total], ledger: Path) -> list[Tied]:
    """Compare with a finance ledger: each of its cells, and each of ours that it lacks.

    Parameters
    ----------
    ledger : CSV or Excel with the columns month, amount in yuan, and pool or insurance or both;
        `figure` says of what (cost, booked, patient, pay; left out: pay). Other columns are ignored;
        rows of one cell are added up.

    Raises
    ------
    CaseFileError : the file cannot be read. TableError : its header or a cell; says file and row.
    """
    theirs: dict[Key, int] = defaultdict(int)
    for key, fen in _read_ledger(Path(ledger)):
        theirs[key] += fen
    kinds = {(key[0], bool(key[2]), bool(key[3])) for key in theirs}
    ours: dict[Key, int] = defaultdict(int)
    for figure, by_pool, by_insurance in kinds:
        for t in totals:
            key = (figure, t.month, t.pool if by_pool else "", t.insurance if by_insurance else "")
            ours[key] += t.figures[FIGURES.index(figure)]
    return [Tied(k, ours.get(k), theirs.get(k)) for k in sorted(ours.keys() | theirs.keys())]


def _read_ledger(path: Path) -> Iterator[tuple[Key, int]]:
    """Yield each row of a finance ledger as its cell and fen."""
    rows = _rows(path)
    at, places = _header(rows, path.name)
    for line, row in enumerate(rows[at + 1 :], at + 2):
        cells = {f: row[k].strip() if k < len(row) else "" for f, k in places.items()}
        if not any(cells.values()):
            continue
        month = re.match(r"(\d{4})\D?(\d{1,2})", cells["month"])
        if not month or not 1 <= int(month[2]) <= 12:
            raise TableError(f"month {cells['month']!r}: write 2025-03", file=path.name, row=line)
        given = cells.get("figure", "")
        figure = next((f for f, p in _FIGURE_NAMES.items() if re.fullmatch(p, given)), None)
        if figure is None:
            message = f"figure {given!r} is none of cost, booked, patient, pay"
            raise TableError(message, file=path.name, row=line)
        where = (cells.get("pool", ""), cells.get("insurance", ""))
        yield (
            (figure, f"{month[1]}-{int(month[2]):02d}", *where),
            _fen(cells["amount"], path.name, line),
        )


def _rows(path: Path) -> list[Any]:
    """Read the file as rows of texts: CSV, or the first sheet of a workbook."""
    if path.suffix.casefold() == ".xlsx":
        return [[*row] for row in next(iter(read_workbook(path).sheets.values()), [])]
    if path.suffix.casefold() != ".csv":
        raise CaseFileError("a finance ledger ends in .csv or .xlsx", file=path.name)
    try:
        data = path.read_bytes()
    except OSError as e:
        raise CaseFileError(f"cannot be read: {e.strerror}", file=str(path)) from None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        try:
            text = data.decode("gb18030")
        except UnicodeDecodeError:
            message = "neither UTF-8 nor GB18030; save it as UTF-8"
            raise CaseFileError(message, file=path.name) from None
    return list(csv.reader(io.StringIO(text)))


def _header(rows: Sequence[Sequence[str]], name: str) -> tuple[int, dict[str, int]]:
    """Find the header row and the places of the columns."""
    for at, row in enumerate(rows[:HEADER_WITHIN]):
        texts = [re.sub(r"\s", "", c).casefold() for c in row]
        places = {
            field: k
            for field, pattern in _HEADERS.items()
            for k, text in reversed(list(enumerate(texts)))
            if re.fullmatch(pattern, text)
        }
        if {"month", "amount"} <= places.keys() and places.keys() & {"pool", "insurance"}:
            return at, places
    message = f"no header within {HEADER_WITHIN} rows: month, amount, and pool or insurance"
    raise TableError(message, file=name)


def _fen(text: str, name: str, line: int) -> int:
    """Read yuan as whole fen; a double of Excel may miss the fen by a millionth of a yuan."""
    plain = text.replace(",", "").replace("，", "")
    if not re.fullmatch(r"[-+]?\d{1,15}(\.\d*)?(e[-+]?\d{1,2})?", plain, re.IGNORECASE):
        raise TableError(f"amount {text!r} is no number of yuan", file=name, row=line)
    fen = Fraction(Decimal(plain)) * 100
    if abs(fen - round(fen)) > Fraction(1, 10_000):
        raise TableError(f"amount {text!r} has parts of a fen", file=name, row=line)
    return round(fen)
