"""The insurer's result (医保结算结果) as columns to compare, from whatever file it came in.

Know each column by its header or by a map, load those, leave out rows of totals, read the cells. A
cell that is no number is noted for its row and stops nothing; an amount finer than a fen is rounded
half up and counted; a word that is not understood is counted and not compared.

The surprise: a blank says "not stated" and is not compared, unless it has a meaning of its own: no
group, no deviation, nothing paid apart. A column that is blank in every row is as good as absent.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa

from grouper import _cells, _reading
from grouper._reconcile_fields import (
    BY_HEADER,
    BY_NAME,
    FIELDS,
    IDS,
    canonical_word,
    half_up,
    header_key,
    places_of,
    short,
)
from grouper.errors import CaseFileError, CaseSchemaError, nearest
from grouper.io import ColumnMap, is_personal


@dataclass(frozen=True, eq=False)
class Bureau:
    """The insurer's rows: ids, values and texts by field, and what was found on the way.

    `columns` holds canonical texts, exact fractions or fen; `places` the decimals that a column of
    numbers prints; `unreadable` the faults of a row, in Chinese, `broken` the rows of a wrong width;
    `facts` what goes to the report.
    """

    ids: list[str]
    columns: Mapping[str, list[Any]]
    texts: Mapping[str, list[str | None]]
    places: Mapping[str, int]
    unreadable: Mapping[int, list[str]]
    broken: Set[int]
    facts: dict[str, Any]

    def __len__(self) -> int:
        return len(self.ids)


def read_bureau(source: Path | str | pa.Table, given: ColumnMap, known_ids: set[str]) -> Bureau:
    """Read the insurer's result (医保结算结果).

    Parameters
    ----------
    source : one file (.csv, .csv.gz, .xlsx, .parquet, .arrow), or a table.
    given : a column map. known_ids : the ids of our cases, to choose between two columns of ids.

    Raises
    ------
    CaseFileError : no such file, or it is damaged. CaseSchemaError : no column of ids, nothing to
        compare, or columns that contradict each other; names them all.
    """
    opened = _open(source, given)
    plan = _plan(opened.headers, given)
    first = [] if is_personal(opened.headers[0]) else [0]
    places = sorted({*plan.places.values(), *first})
    rows = opened.load(places)
    loaded, odd = {}, []
    for place, column in zip(places, rows.columns, strict=True):
        try:
            loaded[place] = _cells.tidy(_cells.as_text(column))[0].to_pylist()
        except _cells.Unfit as e:
            if place in plan.places.values():
                says = str(e) or f"is {column.type}, not text or numbers"
                odd.append(f"{opened.name}: column {opened.headers[place]!r} {says}")
    if odd:
        raise CaseSchemaError(odd)
    ids = _choose_ids(plan, loaded, known_ids)
    leading = loaded.get(0, [None] * rows.n)
    totals = [
        k for k in range(rows.n) if _is_total(ids[k]) or (not ids[k] and _is_total(leading[k]))
    ]
    left_out = set(totals)
    kept = [k for k in range(rows.n) if k not in left_out]
    place_of = {k: at for at, k in enumerate(kept)}
    wide = {place_of[k]: f"列数不符（{text}）" for k, text in rows.faults if k in place_of}
    texts: dict[str, list[str | None]] = {
        name: [loaded[place][k] for k in kept] for name, place in plan.places.items()
    }
    texts |= {name: [value] * len(kept) for name, value in plan.constants.items()}
    facts = {
        "name": opened.name,
        "bytes": opened.size,
        "sha256": opened.sha256() if opened.sha256 else None,
        "rows": rows.n,
        "rows_of_totals": len(totals),
        "rows_of_a_wrong_width": len(rows.faults),
        "ignored_columns": plan.ignored,
        "dropped_columns": plan.dropped,
        "normalised": dict(opened.counts),
    }
    return _read(plan, [ids[k] or "" for k in kept], texts, wide, given, facts)


def _open(source: Path | str | pa.Table, given: ColumnMap) -> _reading.Source:
    if not isinstance(source, str | Path):
        opened = _reading.open_table(source)
    else:
        files = _reading.find_files(source)
        if len(files) > 1:
            message = f"{len(files)} files; give the one to compare with"
            raise CaseFileError(message, file=str(source))
        options = _reading.Options(given.encoding, given.sheet)
        with ThreadPoolExecutor(1) as pool:
            opened = _reading.open_file(files[0], options, pool)
    if not opened.headers:
        raise CaseFileError("it has no columns; export it again", file=opened.name)
    return opened


def _is_total(text: str | None) -> bool:
    """Tell if a cell says that its row is a sum (合计)."""
    plain = re.sub(r"[\s:：]", "", text or "").casefold()
    return plain in {"合计", "总计", "小计", "总合计", "total", "subtotal"}


# ---------------------------------------------------------------------------------------- headers


@dataclass
class _Plan:
    """Which field is at which place; `in_fen` = amounts that are fen, not yuan."""

    places: dict[str, int] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    in_fen: set[str] = field(default_factory=set)
    constants: dict[str, str] = field(default_factory=dict)
    ignored: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)


def _plan(headers: Sequence[str], given: ColumnMap) -> _Plan:
    """Decide which header is which field; every fault of it at once."""
    plan, faults = _Plan(), list[str]()
    for name, header in given.columns.items():
        if fault := _unmappable(name, header, headers):
            faults.append(fault)
        else:
            _take(plan, name, headers, headers.index(header), faults)
    mapped, taken = set(plan.places), set(plan.places.values())
    mapped |= set(IDS) if mapped & IDS.keys() else set()
    for k, header in enumerate(headers):
        name = BY_HEADER.get(header_key(header), "")
        if k in taken:
            continue
        if is_personal(header):
            plan.dropped.append(header)
        elif not name or _field_name(name) in mapped:
            plan.ignored.append(header or f"column {k + 1}, without a header")
        else:
            _take(plan, name, headers, k, faults)
    for name, value in given.stand_in.items():
        if name not in BY_NAME:
            faults.append(_unknown("[stand_in]", name))
        elif name not in plan.places:
            plan.constants[name] = str(value)
            plan.headers[name] = f"[stand_in] {name}"
    faults += [_unknown("[values]", n) for n in given.values if n not in BY_NAME]
    if not faults:
        _check_complete(plan, headers, faults)
    if faults:
        raise CaseSchemaError(faults)
    return plan


def _field_name(name: str) -> str:
    return name if name in BY_NAME or name in IDS else name.removesuffix("_fen")


def _take(plan: _Plan, name: str, headers: Sequence[str], at: int, faults: list[str]) -> None:
    plain = _field_name(name)
    if plain in plan.places:
        cure = f'say in a column map which is meant: [columns] {plain} = "{headers[at]}"'
        faults.append(f"{plan.headers[plain]!r} and {headers[at]!r} both give {plain}; {cure}")
        return
    plan.places[plain], plan.headers[plain] = at, headers[at]
    if name != plain:
        plan.in_fen.add(plain)


def _unmappable(name: str, header: str, headers: Sequence[str]) -> str:
    """Say why a line of [columns] cannot be followed; blank = it can."""
    if name not in BY_HEADER or BY_HEADER[name] != name:
        return _unknown("[columns]", name)
    if is_personal(header):
        return f'[columns] {name} = "{header}": the header looks personal: it is never read'
    if header not in headers:
        near = nearest(header, [h for h in headers if not is_personal(h)])
        hint = f"; the nearest is {near!r}" if near else ""
        return f'[columns] {name} = "{header}": no such header{hint}'
    return ""


def _unknown(section: str, name: str) -> str:
    return f"{section} {name}: no field of that name; the fields are {', '.join((*IDS, *BY_NAME))}"


def _check_complete(plan: _Plan, headers: Sequence[str], faults: list[str]) -> None:
    shown = ", ".join([h for h in headers if h and not is_personal(h)][:30])
    where = f"the headers, which stand in the first row, are: {shown}"
    if not plan.places.keys() & IDS.keys():
        cure = 'map one: [columns] case_id = "…"'
        faults.append(f"no column of case ids, such as setl_id or 结算流水号; {cure}; {where}")
    elif not (plan.places.keys() | plan.constants.keys()) - IDS.keys():
        faults.append(f'nothing to compare beside the ids; map [columns] group = "…"; {where}')


def _choose_ids(
    plan: _Plan, loaded: Mapping[int, list[str | None]], known_ids: set[str]
) -> list[str | None]:
    """Return the ids by which more of our cases are found; the settlement's where it is a draw."""
    found = {}
    for name in IDS:
        if name in plan.places:
            cells = loaded[plan.places[name]]
            found[name] = [c.translate(_cells.FULL_WIDTH) if c else c for c in cells]
    best = max(found, key=lambda name: len(known_ids.intersection(x for x in found[name] if x)))
    for name in found:
        header = plan.headers[name]
        del plan.places[name], plan.headers[name]
        if name == best:
            plan.headers["case_id"] = header
        else:
            plan.ignored.append(header)
    return found[best]


# ------------------------------------------------------------------------------------------ cells


def _read(
    plan: _Plan,
    ids: list[str],
    texts: Mapping[str, list[str | None]],
    wide: Mapping[int, str],
    given: ColumnMap,
    facts: dict[str, Any],
) -> Bureau:
    """Read the cells of every field."""
    unreadable: dict[int, list[str]] = {k: [text] for k, text in wide.items()}
    columns: dict[str, list[Any]] = {}
    places: dict[str, int] = {}
    kept: dict[str, list[str | None]] = {}
    words: dict[str, dict[str, int]] = {}
    rounded: Counter[str] = Counter()
    blank = []
    for name in (f.name for f in FIELDS if f.name in texts):
        mapped = {str(k): str(v) for k, v in given.values.get(name, {}).items()}
        clean = {t: _not_blank(mapped.get(t, t), name) for t in set(texts[name]) if t}
        cells = [clean.get(t) if t else None for t in texts[name]]
        if not any(cells):
            blank.append(name)
            continue
        kept[name] = cells
        kind = BY_NAME[name].kind
        if kind not in ("number", "money"):
            columns[name], lost = _read_words(kind, cells)
            if lost:
                words[name] = dict(lost.most_common(20))
            continue
        numbers, wrong = _read_numbers(cells)
        for k in wrong:
            says = f"“{plan.headers[name]}”栏的“{short(cells[k])}”不是数字"
            unreadable.setdefault(k, []).append(says)
        if kind == "number":
            places[name] = max((places_of(x) for x in {*numbers} if x is not None), default=0)
            columns[name] = numbers
        else:
            cents = 0 if name in plan.in_fen else 2
            fen = {x: half_up(x, cents) for x in {*numbers} if x is not None}
            finer = {x for x, whole in fen.items() if x.scaleb(cents) != whole}
            columns[name] = [None if x is None else fen[x] for x in numbers]
            rounded[name] = sum(x in finer for x in numbers)
    if "carve_out_pay" in columns:
        columns["carve_out_pay"] = [x or 0 for x in columns["carve_out_pay"]]
    facts |= {
        "columns": plan.headers,
        "blank_columns": blank,
        "words_not_understood": words,
        "rounded_to_the_fen": {n: k for n, k in rounded.items() if k},
        "unreadable_cells": sum(map(len, unreadable.values())) - len(wide),
    }
    return Bureau(ids, columns, kept, places, unreadable, wide.keys(), facts)


_BLANKS = {"-", "--", "—", "——", "/", "\\n", "null", "nan", "none", "n/a", "#n/a", "无", "空"}


def _not_blank(text: str, name: str) -> str | None:
    """Return None for a cell that says in some way that it says nothing."""
    if name in ("severity", "band"):
        return text or None
    return None if not text or text.casefold() in _BLANKS else text


def _read_words(kind: str, cells: Iterable[str | None]) -> tuple[list[str | None], Counter[str]]:
    """Return canonical words and how often which were not understood."""
    canonical: dict[str | None, str | None] = {None: None}
    lost: Counter[str] = Counter()
    found = []
    for cell in cells:
        if cell not in canonical:
            canonical[cell] = canonical_word(kind, cell)
        found.append(canonical[cell])
        if cell is not None and canonical[cell] is None:
            lost[short(cell)] += 1
    return found, lost


_NUMBER = re.compile(r"[+-]?([0-9]{1,20}\.?[0-9]{0,40}|\.[0-9]{1,40})(e-[0-9]{1,2})?", re.I)


def _read_numbers(cells: Sequence[str | None]) -> tuple[list[Decimal | None], list[int]]:
    """Return exact numbers, and the rows whose cell is none."""
    read: dict[str | None, Decimal | None] = {None: None}
    read |= {cell: _number(cell) for cell in set(cells) if cell is not None}
    numbers = [read[cell] for cell in cells]
    lost = (c is not None and x is None for c, x in zip(cells, numbers, strict=True))
    return numbers, [k for k, is_lost in enumerate(lost) if is_lost]


def _number(text: str) -> Decimal | None:
    """Read digits, full-width and with thousands separators too; None = no number, or too large."""
    if not _NUMBER.fullmatch(text):
        text, _ = _cells._plain(text)
        if not _NUMBER.fullmatch(text):
            return None
    number = Decimal(text)
    return number if abs(number) < _cells.LIMIT else None
