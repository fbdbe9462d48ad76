"""Other layouts of the same cases → one source with our headers: long tables, wide front page, lines.

A layout is known by its names alone: files called setlinfo, diseinfo, oprninfo …; headers JBDM, SSJCZBM1;
a header or a first line of the eleven fields. What it gives is a table whose headers are ours, read on
like any other file. The surprise: in the long tables a case none of whose diagnoses is flagged
principal gets a blank one in front, so that grouping rejects it; nothing is promoted by a guess.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from grouper._cells import as_text
from grouper._columns import COLUMNS
from grouper._reading import ListTable, Rows, Source
from grouper.errors import CaseSchemaError

SEPARATOR = "|"

# ------------------------------------------------------------------------------ official long tables

CASE, DISEASE, OPERATION = "setlinfo", "diseinfo", "oprninfo"
LONG = (CASE, DISEASE, OPERATION)
FURTHER = ("icuinfo", "payinfo", "iteminfo", "bldinfo", "opspdiseinfo")
"""Long tables that only quality control reads: intensive care, funds, charges, blood, outpatient."""
ALSO = {
    "mdtrt_id": "case_id",
    "hosp_lv": "hospital_level",
    "hi_type": "insurance",
    "setl_end_date": "settlement_date",
    "setl_date": "settlement_date",
}
"""Further official names; the one of `Column.official` comes first where both are there."""

READ = {
    *("diag_code", "maindiag_flag", "diag_type"),
    *("oprn_oprt_code", "main_oprn_flag", "oprn_oprt_type"),
}
"""Columns of the rows below a case that are read."""

YES = {"1", "true", "y", "yes", "是"}
WESTERN = {"", "1"}
TCM = {"2", "3"}
"""diag_type 诊断类别: 1 Western; 2 disease 中医病 and 3 syndrome 中医证 of Chinese medicine."""


def case_fields(headers: Sequence[str]) -> dict[str, str]:
    """Return their header → ours for a table of cases with official names."""
    names = {c.official: c.name.removesuffix("_fen") for c in COLUMNS if c.official}
    found: dict[str, str] = {}
    for known in (names, ALSO):
        for header in headers:
            ours = known.get(header.strip().casefold())
            if ours and header not in found and ours not in found.values():
                found[header] = ours
    return {h: ours for h, ours in found.items() if ours not in ("diagnoses", "procedures")}


@dataclass
class _Long:
    """One long table: its source, and where its columns are."""

    source: Source
    place: Mapping[str, int] = field(init=False)

    def __post_init__(self) -> None:
        self.place = {h.strip().casefold(): k for k, h in enumerate(self.source.headers)}

    def texts(self, names: Sequence[str]) -> dict[str, Any]:
        """Load columns as texts, "" where a cell is empty; those that are absent are left out."""
        held = [n for n in names if n in self.place]
        places = sorted({self.place[n] for n in held})
        rows = self.source.load(places)
        of = dict(zip(places, rows.columns, strict=True))
        return {n: text(of[self.place[n]]) for n in held}

    def need(self, *names: str) -> None:
        """Refuse a table that lacks one of the columns.

        Raises
        ------
        CaseSchemaError : names it and the headers there are.
        """
        if lacking := [n for n in names if n not in self.place]:
            message = f"{self.source.name}: no column {', '.join(lacking)}"
            raise CaseSchemaError([message, f"the headers are: {', '.join(self.source.headers)}"])


def chunked(column: Any) -> Any:
    """Return a column in chunks."""
    return column if isinstance(column, pa.ChunkedArray) else pa.chunked_array([column])


def text(column: Any) -> Any:
    """Return a column as one array of trimmed strings, "" where a cell is empty."""
    texts = as_text(column)
    texts = texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
    return pc.utf8_trim_whitespace(pc.fill_null(texts.cast(pa.string()), ""))


def _long(tables: Mapping[str, Source]) -> Source:
    """Join the long tables into one row a case."""
    cases, diseases = _Long(tables[CASE]), _Long(tables[DISEASE])
    fields = case_fields(cases.source.headers)
    if "case_id" not in fields.values():
        cases.need("setl_id")
    key = next(h for h, ours in fields.items() if ours == "case_id").strip().casefold()
    diseases.need(key, "diag_code")
    counts: Counter[str] = Counter()
    for source in tables.values():
        counts.update({f"{source.name}: {what}": n for what, n in source.counts.items()})
    operations = _Long(tables[OPERATION]) if OPERATION in tables else None
    if operations is None:
        counts[f"{OPERATION}: no such table, no procedures read"] += 1
    else:
        operations.need(key, "oprn_oprt_code")
    headers = [*fields.values(), "diagnoses", "procedures", "principals"]
    own_used = {*fields, key, *READ}
    read = [tables[name] for name in LONG if name in tables]
    left = [h for s in read for h in s.headers if h.strip().casefold() not in own_used]
    headers += [h for h in dict.fromkeys(left) if h not in fields and h not in headers]

    def load(places: Sequence[int]) -> Rows:
        own = [h for h, ours in fields.items() if headers.index(ours) in places]
        at = sorted({cases.source.headers.index(h) for h in (*own, _header(key, cases))})
        rows = cases.source.load(at)
        loaded = {cases.source.headers[k]: c for k, c in zip(at, rows.columns, strict=True)}
        ids = text(loaded[_header(key, cases)])
        found: dict[str, Any] = {ours: loaded[h] for h, ours in fields.items() if h in loaded}
        found |= _diagnoses(diseases, key, ids, rows.n, counts)
        found["procedures"] = _procedures(operations, key, ids, rows.n, counts)
        for name in ("icu_hours", "ventilator_hours"):
            if name in found:
                found[name] = _hours(found[name], name, counts)
        columns = [chunked(found[headers[k]]) for k in places]
        return Rows(columns, rows.n, rows.faults, rows.where)

    first = tables[CASE]
    parts = tuple(tables.values())
    lists = {}
    for name, source in tables.items():
        table = _Long(source)
        if key in table.place:
            lists[name] = ListTable(source, _header(key, table))
        else:
            counts[f"{name}: no column {key}, left out"] += 1
    return Source(first.name, headers, load, counts, first.size, first.sha256, parts[1:], lists)


def _header(key: str, table: _Long) -> str:
    return table.source.headers[table.place[key]]


def _diagnoses(
    table: _Long, key: str, ids: Any, n: int, counts: Counter[str]
) -> dict[str, pa.Array]:
    """Gather Western diagnoses, the flagged one first, and how many are flagged."""
    columns = table.texts((key, "diag_code", "maindiag_flag", "diag_type"))
    case, rows = places(columns[key], ids, DISEASE, counts)
    kind = columns.get("diag_type")
    western = np.ones(len(case), np.bool_)
    if kind is not None:
        western = is_in(kind, WESTERN)[rows]
        tcm = is_in(kind, TCM)[rows]
        counts[f"{DISEASE}: diagnoses of Chinese medicine left out"] += int(tcm.sum())
        counts[f"{DISEASE}: diag_type unknown, read as Western"] += int((~western & ~tcm).sum())
        western |= ~tcm
    case, rows = case[western], rows[western]
    flags = columns.get("maindiag_flag")
    if flags is None:
        counts[f"{DISEASE}: no maindiag_flag, the first is principal"] += 1
        return {"diagnoses": _lists(columns["diag_code"], case, rows, n), "principals": _ones(n)}
    main = is_in(flags, YES)[rows]
    principals = np.bincount(case[main], minlength=n)
    has_any = np.bincount(case, minlength=n) > 0
    lost = np.flatnonzero((principals == 0) & has_any)
    counts[f"{DISEASE}: cases none of whose diagnoses is flagged principal"] += len(lost)
    order = np.lexsort((rows, ~main, case))
    codes = pa.concat_arrays([columns["diag_code"], pa.array([""], pa.string())])
    blank = np.full(len(lost), len(codes) - 1)
    case, rows = np.concatenate([lost, case[order]]), np.concatenate([blank, rows[order]])
    again = np.argsort(case, kind="stable")
    lists = _lists(codes, case[again], rows[again], n)
    return {"diagnoses": lists, "principals": pa.array(principals.astype(np.int32))}


def _procedures(table: _Long | None, key: str, ids: Any, n: int, counts: Counter[str]) -> pa.Array:
    """Gather procedures, the flagged one first; without a flag they stand as they are."""
    if table is None:
        return pa.array([[]] * n, pa.list_(pa.string()))
    columns = table.texts((key, "oprn_oprt_code", "main_oprn_flag", "oprn_oprt_type"))
    case, rows = places(columns[key], ids, OPERATION, counts)
    main = np.zeros(len(case), np.bool_)
    for name in ("main_oprn_flag", "oprn_oprt_type"):
        if name in columns:
            main = is_in(columns[name], YES | {"主要手术", "主要"})[rows]
            flagged = np.bincount(case[main], minlength=n)
            without = (flagged == 0) & (np.bincount(case, minlength=n) > 0)
            counts[f"{OPERATION}: cases none of whose procedures is flagged, the first taken"] += (
                int(without.sum())
            )
            counts[f"{OPERATION}: cases with several flagged, the first taken"] += int(
                (flagged > 1).sum()
            )
            break
    order = np.lexsort((rows, ~main, case))
    return _lists(columns["oprn_oprt_code"], case[order], rows[order], n)


def places(
    keys: Any, ids: Any, name: str, counts: Counter[str]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (case, row) of every row of a long table that is of a case, by case."""
    index = pc.fill_null(pc.index_in(keys, value_set=ids.unique()), -1).to_numpy()
    first = pc.index_in(ids.unique(), value_set=ids).to_numpy().astype(np.int64)
    rows = np.flatnonzero(index >= 0)
    counts[f"{name}: rows of no case"] += len(index) - len(rows)
    case = first[index[rows]]
    order = np.argsort(case, kind="stable")
    return case[order], rows[order]


def _lists(codes: pa.Array, case: Any, rows: Any, n: int) -> pa.Array:
    """Lay out codes[rows] as one list a case; `case` is sorted."""
    ends = np.cumsum(np.bincount(case, minlength=n))
    offsets = pa.array(np.concatenate([[0], ends]).astype(np.int32))
    return pa.ListArray.from_arrays(offsets, codes.take(pa.array(rows)))


def is_in(texts: Any, words: set[str]) -> NDArray[np.bool_]:
    folded = pc.utf8_lower(texts)
    found = pc.is_in(folded, value_set=pa.array(sorted(words), pa.string()))
    return np.asarray(found.to_numpy(zero_copy_only=False))


def _ones(n: int) -> pa.Array:
    return pa.array(np.ones(n, np.int32))


_SPAN = re.compile(r"(\d{1,5})\s*[/天日]\s*(\d{1,2})(?:\s*[/时小]+\s*(\d{1,2}))?\D*")


def _hours(column: Any, name: str, counts: Counter[str]) -> pa.Array:
    """Read days/hours/minutes as whole hours, minutes left out; other cells stay as they are."""
    texts = text(column)
    encoded = texts.dictionary_encode()
    read, spans = [], []
    for cell in encoded.dictionary.to_pylist():
        m = _SPAN.fullmatch(cell)
        spans.append(m is not None)
        read.append(str(int(m[1]) * 24 + int(m[2])) if m else cell)
    index = encoded.indices.to_numpy()
    counts[f"{name}: days/hours/minutes read as hours"] += int(
        np.array([*spans, False])[index].sum()
    )
    return pa.array([*read, ""], pa.string()).take(encoded.indices)


# -------------------------------------------------------------------------- the wide front page (HQMS)

WIDE = {
    "USERNAME": "hospital_id",
    "ZZJGDM": "hospital_id",
    "XB": "sex",
    "NL": "age",
    "BZYZSNL": "age_days",
    "XSECSTZ": "birth_weight",
    "XSETZ": "birth_weight",
    "XSERYTZ": "admission_weight",
    "RYSJ": "admission_date",
    "CYSJ": "discharge_date",
    "SJZYTS": "los",
    "LYFS": "discharge_mode",
    "CYKB": "department",
    "YLFKFS": "insurance",
    "ZFY": "total_cost",
    "ZFJE": "self_paid",
}
"""Front page 病案首页: their header → ours."""

IDS = ("SETL_ID", "JZLSH", "BAH", "ZYCS")
"""What tells one stay: an id of the settlement or visit, else record number and number of the stay."""


class Wide(NamedTuple):
    """A layout with numbered columns of codes: what these begin with, our names, what tells one stay."""

    dx: str
    px: str
    own: Mapping[str, str]
    ids: tuple[str, ...]


FRONT_PAGE = Wide("JBDM", "SSJCZBM", WIDE, IDS)


def _form(lang: str) -> Wide:
    own = {
        c.header(lang).upper(): c.name.removesuffix("_fen") for c in COLUMNS if c.kind != "codes"
    }
    (id_,) = (header for header, ours in own.items() if ours == "case_id")
    del own[id_]
    dx, px = CODES[lang]
    return Wide(dx.upper(), px.upper(), own, (id_,))


CODES = {"zh": ("诊断", "手术操作"), "en": ("diagnosis_", "procedure_")}
"""What the numbered columns of codes begin with in the form to fill."""

FORMS = tuple(map(_form, CODES))
"""The form that a hospital fills (填报模板), see `grouper._case_form`."""


def _numbered(headers: Sequence[str], stem: str) -> list[int]:
    """Return the places of `stem`, `stem`1, `stem`2 …, in that order."""
    found = {}
    for k, header in enumerate(headers):
        if m := re.fullmatch(rf"{stem}(\d*)", header.strip().upper()):
            found[int(m[1] or 0)] = k
    return [found[k] for k in sorted(found)]


def _wide(source: Source, form: Wide) -> Source:
    """Gather the numbered columns of a wide front page or form into lists."""
    names = [h.strip().upper() for h in source.headers]
    dx, px = _numbered(source.headers, form.dx), _numbered(source.headers, form.px)
    own: dict[str, int] = {}
    for k, name in enumerate(names):
        ours = form.own.get(name)
        if ours and ours not in own:
            own[ours] = k
    ids = [names.index(i) for i in form.ids if i in names]
    alone = form.ids[:2]
    ids = ids[:1] if ids and names[ids[0]] in alone else [k for k in ids if names[k] not in alone]
    if not ids:
        known = ", ".join(form.ids[:3])
        raise CaseSchemaError([f"{source.name}: a front page needs one of {known}"])
    used = {*ids, *own.values(), *dx, *px}
    headers = ["case_id", *own, "diagnoses", "procedures"]
    gathered = {0: ids, len(own) + 1: dx, len(own) + 2: px}
    headers += [h for k, h in enumerate(source.headers) if k not in used and h not in headers]

    def load(places: Sequence[int]) -> Rows:
        of = {k: gathered.get(k, [own[headers[k]]] if headers[k] in own else []) for k in places}
        wanted = sorted({p for parts in of.values() for p in parts})
        rows = source.load(wanted)
        columns = dict(zip(wanted, rows.columns, strict=True))
        found = []
        for k in places:
            parts = [columns[p] for p in of[k]]
            if k == 0:
                texts = [text(p) for p in parts]
                found.append(
                    pc.binary_join_element_wise(*texts, "-") if len(texts) > 1 else parts[0]
                )
            elif k in gathered:
                found.append(_gather([text(p) for p in parts], rows.n, first=k == len(own) + 1))
            else:
                found.append(parts[0])
        return Rows(list(map(chunked, found)), rows.n, rows.faults, rows.where)

    return Source(source.name, headers, load, source.counts, source.size, source.sha256)


def _gather(columns: Sequence[Any], n: int, *, first: bool) -> pa.Array:
    """Turn parallel columns into one list a row; blanks are left out but for the first diagnosis."""
    if not columns:
        return pa.array([[]] * n, pa.list_(pa.string()))
    flat = pa.concat_arrays(columns)
    order = np.arange(len(flat)).reshape(len(columns), n).T.ravel()
    keep = pc.not_equal(flat, "").to_numpy(zero_copy_only=False)[order]
    if first:
        keep[:: len(columns)] = True
    lengths = keep.reshape(n, len(columns)).sum(axis=1)
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
    return pa.ListArray.from_arrays(offsets, flat.take(pa.array(order[keep])))


# --------------------------------------------------------------------------- the line of eleven fields

LINE = {
    "index": "case_id",
    "gender": "sex",
    "age": "age",
    "ageday": "age_days",
    "weight": "birth_weight",
    "dept": "department",
    "inhospitaltime": "los",
    "leavingtype": "discharge_mode",
    "zdlist": "diagnoses",
    "sslist": "procedures",
    "remark": "",
}


def _line(source: Source) -> Source | None:
    """Rename the eleven fields; a file without a header gives its first line back as a case."""
    folded = [h.strip().casefold() for h in source.headers]
    if {"index", "zdlist", "sslist"} <= set(folded):
        names = [LINE.get(h, h) or source.headers[k] for k, h in enumerate(folded)]
        return Source(source.name, names, source.load, source.counts, source.size, source.sha256)
    is_case = len(folded) == len(LINE) and folded[1] in ("男", "女", "1", "2", "0", "9")
    if not is_case or not folded[2].isdigit():
        return None
    names = [ours or theirs for theirs, ours in LINE.items()]

    def load(places: Sequence[int]) -> Rows:
        rows = source.load(places)
        columns = []
        for k, column in zip(places, rows.columns, strict=True):
            first = pa.array([source.headers[k] or None], pa.string())
            chunks = [first, *as_text(column).chunks] if rows.n else [first]
            columns.append(pa.chunked_array(chunks, pa.string()))
        faults = [(row + 1, text) for row, text in rows.faults]
        return Rows(columns, rows.n + 1, faults, rows.where)

    return Source(source.name, names, load, source.counts, source.size, source.sha256)


# --------------------------------------------------------------------------------------- which is which


def stem(name: str) -> str:
    """Return the name of a file without its endings, folded."""
    return Path(name).name.casefold().partition(".")[0]


def is_long(names: Sequence[str]) -> bool:
    """Tell whether files of these names are the official long tables."""
    stems = {stem(n) for n in names}
    return CASE in stems and not stems.isdisjoint((DISEASE, OPERATION))


def read_together(paths: Sequence[Path], *, mapped: bool) -> list[Path]:
    """Return those of the files that are read: of long tables the known ones; `mapped`: all of them."""
    if mapped or not is_long([p.name for p in paths]):
        return list(paths)
    return [p for p in paths if stem(p.name) in (*LONG, *FURTHER)]


def join_long(sources: Sequence[Source]) -> Source:
    """Join the official long tables: one source, one row a settlement.

    Raises
    ------
    CaseSchemaError : a table is missing, stands twice, or lacks a column.
    """
    found: dict[str, Source] = {}
    for source in sources:
        if found.setdefault(stem(source.name), source) is not source:
            raise CaseSchemaError([f"{source.name}: the folder holds {stem(source.name)} twice"])
    if DISEASE not in found:
        names = ", ".join(s.name for s in sources)
        raise CaseSchemaError([f"{CASE} without {DISEASE}: the folder holds {names}"])
    return _long({name: found[name] for name in (*LONG, *FURTHER) if name in found})


def renamed(source: Source) -> Source:
    """Return a source with our headers, if it is a front page, a filled form, or lines of eleven fields."""
    names = [h.strip().upper() for h in source.headers]
    if "JBDM" in names and any(n.startswith("SSJCZBM") for n in names):
        return _wide(source, FRONT_PAGE)
    for form in FORMS:
        if f"{form.dx}1" in names and f"{form.px}1" in names:
            return _wide(source, form)
    return _line(source) or source
