"""Read cases from files and tables, write results whole or not at all, and hash their content.

`read_cases` goes file by file: headers → a plan (which header is which column, with every fault of
it at once) → load the planned columns only → read the cells → one table in the order of the schema.
Nothing is lost in silence: what is normalised, dropped or ignored is counted or named.

The surprise: a cell of money that cannot be read rejects its row (column `input_fault`), never the
file; a number or date that cannot be read becomes null, is counted, and grouping judges it.
"""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from grouper import _cells, _chunks, _reading
from grouper._columns import BY_NAME, COLUMNS, Column
from grouper._database import is_database
from grouper._hashing import content_hash
from grouper._layouts import is_long, join_long, renamed
from grouper._progress import share, tell, told
from grouper._reading import FAULT, FileRead
from grouper._writing import RunFolder, read_run, write_run, write_table
from grouper.errors import CaseFileError, CaseSchemaError, nearest

__all__ = [
    "CaseTable",
    "ColumnMap",
    "FileRead",
    "RunFolder",
    "content_hash",
    "load_map",
    "read_cases",
    "read_run",
    "write_run",
    "write_table",
]


@dataclass(frozen=True, eq=False)
class CaseTable:
    """Cases (病例) as they were read; an Arrow stream, so `grouper.group` takes it as it is.

    `table` holds the columns of the schema that are present, in their order, and `input_fault`
    where a row could not be read. `counts` says how often each thing was normalised, `ignored` and
    `dropped` name the columns left out (the latter look personal), `faults` the rows of a wrong
    width with their lines, `files` what was read.
    """

    table: pa.Table
    counts: Mapping[str, int] = field(default_factory=dict)
    ignored: Sequence[str] = ()
    dropped: Sequence[str] = ()
    faults: Sequence[str] = ()
    files: Sequence[FileRead] = ()

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Export the table to whatever reads Arrow."""
        return self.table.__arrow_c_stream__(requested_schema)


@dataclass(frozen=True)
class ColumnMap:
    """Which column of theirs is which of ours (列映射).

    Parameters
    ----------
    columns : our name → their header; `total_cost` is yuan, `total_cost_fen` fen.
    stand_in : our name → a constant for a column that is absent.
    values : our name → their value → our value, before it is read.
    separator : between the codes of one cell. encoding : of CSV. sheet : of Excel.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    stand_in: Mapping[str, Any] = field(default_factory=dict)
    values: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    separator: str = "|"
    encoding: str | None = None
    sheet: str | None = None


def load_map(path: Path | str) -> ColumnMap:
    """Read a column map (列映射) from TOML.

    Parameters
    ----------
    path : a file with `separator`, `encoding`, `sheet` and the sections [columns], [stand_in],
        [values.NAME].

    Raises
    ------
    CaseFileError : no such file, or no TOML. CaseSchemaError : a key or value of another kind; all.
    """
    path = Path(path)
    try:
        given = tomllib.loads(path.read_text("utf-8-sig"))
    except OSError as e:
        raise CaseFileError(f"cannot be read: {e.strerror}", file=str(path)) from None
    except (ValueError, RecursionError) as e:
        raise CaseFileError(f"no TOML in UTF-8: {e}", file=path.name) from None
    faults = []
    for key, value in given.items():
        if key not in _MAP_KEYS:
            faults.append(f"{path.name}: unknown key {key!r}; a map has {', '.join(_MAP_KEYS)}")
        elif not isinstance(value, _MAP_KEYS[key]) or value == "":
            kind = "a section" if _MAP_KEYS[key] is dict else "a text"
            faults.append(f"{path.name}: {key} must be {kind}")
    for name, header in _section(given, "columns").items():
        if not isinstance(header, str):
            faults.append(f"{path.name}: [columns] {name} must be a header in quotes")
    for name, value in _section(given, "stand_in").items():
        if isinstance(value, dict):
            faults.append(f"{path.name}: [stand_in] {name} must be one value")
    for name, words in _section(given, "values").items():
        if not isinstance(words, dict):
            faults.append(f"{path.name}: values.{name} must be a section of pairs")
    if faults:
        raise CaseSchemaError(faults)
    return ColumnMap(**given)


_MAP_KEYS: dict[str, type] = {
    "separator": str,
    "encoding": str,
    "sheet": str,
    "columns": dict,
    "stand_in": dict,
    "values": dict,
}


def _section(given: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    section = given.get(key, {})
    return section if isinstance(section, dict) else {}


# --------------------------------------------------------------------------------------- read_cases


def read_cases(
    source: Any, *, columns: ColumnMap | Path | str | None = None, threads: int | None = None
) -> CaseTable:
    """Read cases (读取病例) into the columns of the schema.

    Parameters
    ----------
    source : a file (.parquet, .arrow, .feather, .csv, .csv.gz, .xlsx), a folder or a glob pattern,
        whose files are read in sorted order; the address of a database,
        ``postgresql://…?table=cases`` or ``?query=SELECT …``; or a `pa.Table`, RecordBatchReader,
        pandas data frame, or whatever exports an Arrow stream.
    columns : a column map or its TOML file; without one a header must be a name of the schema.
    threads : 1 = one thread; default as many as there are cores. The answer does not depend on it.

    Raises
    ------
    CaseFileError : a file is missing, empty, truncated or of no known kind.
    CaseSchemaError : required columns are missing, the map names what is not there, or a column is
        of another kind; names them all. TypeError : `source` holds no table.
    """
    return read_with_sources(source, columns=columns, threads=threads)


def read_with_sources(
    source: Any,
    *,
    columns: ColumnMap | Path | str | None = None,
    threads: int | None = None,
    also: Callable[[_reading.Source, ColumnMap, int], None] | None = None,
) -> CaseTable:
    """Read cases as `read_cases`, and hand each source with its map and number of rows to `also`."""
    if columns is None:
        columns = ColumnMap()
    given = columns if isinstance(columns, ColumnMap) else load_map(columns)
    from_database = is_database(source)
    is_path = isinstance(source, str | Path) and not from_database
    places = _reading.find_files(source) if is_path else [source]
    options = _reading.Options(given.encoding, given.sheet, threads)
    parts: list[_Part] = []
    faults: list[str] = []
    with ThreadPoolExecutor(threads or _chunks.cores() + 1) as pool:
        if is_path:
            files = (_reading.open_file(place, options, pool) for place in places)
            opened = _as_layouts(files, [p.name for p in places], given)
        elif from_database:
            opened = [_reading.open_database(source)]
        else:
            opened = [_reading.open_table(source)]
        for k, found in enumerate(opened):
            plan = _plan(found.headers, given)
            faults += [f"{found.name}: {f}" if len(places) > 1 else f for f in plan.faults]
            if not faults:
                with share(k / len(places), (k + 1) / len(places)):
                    parts.append(_read(found, plan, given, pool, faults))
                if also is not None and not faults:
                    also(found, given, parts[-1].table.num_rows)
    if faults:
        raise CaseSchemaError(list(dict.fromkeys(faults)))
    return _join(parts)


def _as_layouts(
    files: Iterable[_reading.Source], names: Sequence[str], given: ColumnMap
) -> Iterable[_reading.Source]:
    """Read files in the layout that their names tell; with a column map they are as they are."""
    if given.columns:
        return files
    if is_long(names):
        return [join_long(list(files))]
    return map(renamed, files)


@dataclass
class _Part:
    """What one file gave."""

    table: pa.Table
    counts: Counter[str]
    plan: _Plan
    faults: Sequence[str]
    files: Sequence[FileRead]


def _join(parts: Sequence[_Part]) -> CaseTable:
    """Put the parts together; a column that some lack is null there, and counted."""
    counts: Counter[str] = Counter()
    present = {name for part in parts for name in part.table.column_names}
    names = [n for n in (*(c.name for c in COLUMNS), FAULT) if n in present]
    for part in parts:
        counts += part.counts
        for name in names:
            if name not in part.table.column_names and name != FAULT:
                counts[f"{name}: absent from a file"] += part.table.num_rows
    return CaseTable(
        parts[0].table.select(names) if len(parts) == 1 else _concat(parts, names),
        {key: n for key, n in sorted(counts.items()) if n},
        list(dict.fromkeys(h for p in parts for h in p.plan.ignored)),
        list(dict.fromkeys(h for p in parts for h in p.plan.dropped)),
        [fault for p in parts for fault in p.faults],
        [file for p in parts for file in p.files],
    )


def _concat(parts: Sequence[_Part], names: Sequence[str]) -> pa.Table:
    """Stack the parts in the types of the schema."""
    kinds = [BY_NAME[n].arrow if n != FAULT else pa.string() for n in names]
    tables = []
    for part in parts:
        held, n = set(part.table.column_names), part.table.num_rows
        columns = [
            part.table[name].cast(kind) if name in held else pa.chunked_array([pa.nulls(n, kind)])
            for name, kind in zip(names, kinds, strict=True)
        ]
        tables.append(pa.table(columns, names=names))
    return pa.concat_tables(tables)


# --------------------------------------------------------------------------------- what is which


@dataclass(frozen=True)
class _Take:
    """One column of ours and where it comes from; `place` None = a constant."""

    column: Column
    header: str
    place: int | None
    in_fen: bool = False


@dataclass
class _Plan:
    takes: list[_Take] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    fault_place: int | None = None


def _plan(headers: Sequence[str], given: ColumnMap) -> _Plan:
    """Decide which header is which column; every fault of it at once."""
    plan = _Plan()
    personal = {h for h in headers if is_personal(h) and _known(h) is None}
    named = _named_headers(headers, given, personal, plan.faults)
    for name, header in named.items():
        column = _known(name)
        assert column is not None
        if any(t.column is column for t in plan.takes):
            plan.faults.append(f"two columns give {column.name}: {header!r} is the second")
        elif headers.count(header) > 1:
            plan.faults.append(f"the header {header!r} stands twice")
        else:
            in_fen = column.kind == "money" and name == column.name
            plan.takes.append(_Take(column, header, headers.index(header), in_fen))
    _stand_in(plan, given)
    _check_required(plan, headers, personal)
    used = {t.place for t in plan.takes}
    for k, header in enumerate(headers):
        if header == FAULT:
            plan.fault_place = k
        elif header in personal:
            plan.dropped.append(header)
        elif k not in used:
            plan.ignored.append(header or f"column {k + 1}, without a header")
    return plan


def _known(name: str) -> Column | None:
    """Return the column of that name; money may be named without its ending."""
    column = BY_NAME.get(name) or BY_NAME.get(f"{name}_fen")
    return column if column and name in (column.name, column.name.removesuffix("_fen")) else None


def _named_headers(
    headers: Sequence[str], given: ColumnMap, personal: set[str], faults: list[str]
) -> dict[str, str]:
    """Return our name → their header: those of the map, then headers that are names of ours."""
    named = {}
    for name, header in given.columns.items():
        if _known(name) is None:
            faults.append(_unknown("[columns]", name))
        elif header in personal:
            cure = "such a column is never read; give a pseudonym"
            faults.append(f'[columns] {name} = "{header}": the header looks personal: {cure}')
        elif header not in headers:
            near = nearest(header, [h for h in headers if h not in personal])
            hint = f"; the nearest is {near!r}" if near else ""
            faults.append(f'[columns] {name} = "{header}": no such header{hint}')
        else:
            named[name] = header
    for section, pairs in (("[stand_in]", given.stand_in), ("[values]", given.values)):
        faults += [_unknown(section, name) for name in pairs if _known(name) is None]
    for name in given.values:
        if (column := _known(name)) and column.kind == "codes":
            faults.append(f"[values] {name}: the values of code lists are not mapped")
    mapped = {_known(name) for name in given.columns}
    taken = set(named.values())
    for header in headers:
        if _known(header) and _known(header) not in mapped and header not in taken:
            named[header] = header
    return named


def _unknown(section: str, name: str) -> str:
    near = nearest(name, [x for c in COLUMNS for x in (c.name, c.name.removesuffix("_fen"))])
    hint = f"; the nearest is {near!r}" if near else ""
    return f"{section} {name}: no column of that name{hint}"


def _stand_in(plan: _Plan, given: ColumnMap) -> None:
    present = {t.column for t in plan.takes}
    for name in given.stand_in:
        column = _known(name)
        if column is None or column in present:
            continue
        if column.name == "case_id":
            plan.faults.append("[stand_in] case_id: it must differ in every row")
        else:
            in_fen = name == column.name
            plan.takes.append(_Take(column, name, None, column.kind == "money" and in_fen))


def _check_required(plan: _Plan, headers: Sequence[str], personal: set[str]) -> None:
    present = {t.column for t in plan.takes}
    used = {t.header for t in plan.takes}
    free = [h for h in headers if h not in personal and h not in used]
    missing = [c for c in COLUMNS if c.required and c not in present]
    for column in missing:
        terms = (column.official, column.chinese)
        near = next((h for h in free if h in terms), None) or nearest(column.name, free)
        hint = "no header is near it"
        if near:
            hint = f'the nearest header is {near!r}: if it is meant, map {column.name} = "{near}"'
        plan.faults.append(f"required column {column.name!r} is missing; {hint}")
    if missing:
        shown = [h for h in headers if h not in personal][:30]
        plan.faults.append(f"the headers are: {', '.join(shown)}")


_PERSONAL_PARTS = (
    *("姓名", "身份证", "证件号", "地址", "住址", "电话", "手机", "联系人"),
    *("出生日期", "生日", "工作单位", "社保卡", "医保卡", "银行卡", "护照", "邮箱", "微信"),
)
_PERSONAL_WORDS = {
    *("addr", "address", "tel", "phone", "telephone", "mobile", "email"),
    *("certno", "idcard", "idno"),
    *("brdy", "birthday", "birthdate", "dob", "csrq", "passport", "bankacct", "wechat"),
    *("sfzhm", "lxdh", "lxr", "sjh", "jtzz", "jtdz"),
    *("xm", "sfzh", "sfzjh", "dh", "xzz", "hkdz", "gzdwjdz", "dwdh", "lxrxm", "lxrdz", "lxrdh"),
}
_PERSONAL_NAMES = re.compile(
    r"(full_?|first_?|last_?|sur)?name|(psn|patn|patient|person|coner|contacts?|emp|guardian)_?name|"
    r"(chfpdr|atddr|oprn_dr|anst_dr|doctor|physician|acct)_name|birth_date|date_of_birth|"
    r"(psn_)?cert_?no|id_?(card|no|number)(_no)?"
)


def is_personal(header: str) -> bool:
    """Tell if a header looks like a name, ID or card number, address, telephone number or day of birth."""
    plain = header.strip().casefold()
    words = re.split(r"[^a-z]+", plain)
    return (
        any(part in plain for part in _PERSONAL_PARTS)
        or not _PERSONAL_WORDS.isdisjoint(words)
        or _PERSONAL_NAMES.fullmatch(re.sub(r"[\s\-]+", "_", plain)) is not None
    )


# ----------------------------------------------------------------------------------- reading a plan

_SEX_WORDS = {"男": 1, "女": 2}
_KINDS = {
    "text": "text",
    "whole": "whole numbers",
    "day": "dates",
    "flag": "flags",
    "codes": "lists of codes or text",
    "money": "amounts",
}


def _read(
    source: _reading.Source,
    plan: _Plan,
    given: ColumnMap,
    pool: ThreadPoolExecutor,
    faults: list[str],
) -> _Part:
    """Load the planned columns of one source and read their cells."""
    takes = sorted(plan.takes, key=lambda t: COLUMNS.index(t.column))
    places = sorted({p for p in (plan.fault_place, *(t.place for t in takes)) if p is not None})
    rows = source.load(places)
    loaded = dict(zip(places, rows.columns, strict=True))
    tell(0.5)  # the file is in memory; what follows is its cells
    with share(0.5, 1):
        cells_of = pool.map(lambda take: _read_one(take, loaded, given, rows.n), takes)
        results = list(told(cells_of, len(takes)))
    counts: Counter[str] = Counter(source.counts)
    columns: dict[str, Any] = {}
    wrong = list(rows.faults)
    for take, cells in zip(takes, results, strict=True):
        if isinstance(cells, str):
            faults.append(cells)
            continue
        name = take.column.name
        columns[name] = cells.column
        counts.update({f"{name}: {note}": n for note, n in cells.counts.items()})
        if cells.faults is not None:
            wrong += zip(cells.faults[0].tolist(), cells.faults[1], strict=True)
    if plan.fault_place is not None or wrong:
        noted = None if plan.fault_place is None else loaded[plan.fault_place]
        columns[FAULT] = _fault_column(noted, wrong, rows.n)
    counts["rows of a wrong width"] = len(rows.faults)
    files = [
        FileRead(s.name, s.size, s.sha256(), rows.n if s is source else 0)
        for s in (source, *source.beside)
        if s.sha256 is not None
    ]
    return _Part(pa.table(columns), counts, plan, rows.where, files)


def _read_one(
    take: _Take, loaded: Mapping[int, Any], given: ColumnMap, n: int
) -> _cells.Cells | str:
    """Read one column; a text is the reason why it cannot be."""
    column = take.column
    if take.place is None:
        return _constant(take, given, n)
    raw, mapped = loaded[take.place], 0
    words: dict[str, Any] = {}
    for name, pairs in given.values.items():
        words |= pairs if _known(name) is column else {}
    try:
        if words:
            raw, mapped = _map_values(raw, words)
        cells = _read_cells(take, raw, given.separator)
    except _cells.Unfit as e:
        return f"column {take.header!r} {str(e) or f'is {raw.type}, not {_KINDS[column.kind]}'}"
    cells.counts["values mapped"] = mapped
    return cells


def _read_cells(take: _Take, raw: Any, separator: str) -> _cells.Cells:
    words = _SEX_WORDS if take.column.name == "sex" else None
    return _cells.read_column(
        take.column.kind, raw, take.header, separator=separator, words=words, in_fen=take.in_fen
    )


def _map_values(raw: Any, words: Mapping[str, Any]) -> tuple[Any, int]:
    """Replace the texts that the map names; return also how many they were."""
    texts, _ = _cells.tidy(_cells.as_text(raw))
    index = pc.index_in(texts, value_set=pa.array(list(words), pa.string()))
    ours = pa.array([_constant_text(v) for v in words.values()], pa.string())
    found = pc.is_valid(index)
    return pc.if_else(found, pc.take(ours, index), texts), pc.sum(found).as_py() or 0


def _constant(take: _Take, given: ColumnMap, n: int) -> _cells.Cells | str:
    """Repeat the constant that stands in for an absent column."""
    value = given.stand_in[take.header]
    many = isinstance(value, list) and take.column.kind == "codes"
    text = given.separator.join(map(_constant_text, value)) if many else _constant_text(value)
    cells = _read_cells(take, pa.chunked_array([pa.array([text])]), given.separator)
    if cells.column.null_count:
        return f"[stand_in] {take.header} = {value!r} is not {_KINDS[take.column.kind]}"
    column = pa.chunked_array([cells.column.chunk(0).take(pa.array(np.zeros(n, np.int64)))])
    return _cells.Cells(column, Counter({"stand-in": n}))


def _constant_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _fault_column(noted: Any, wrong: Sequence[tuple[int, str]], n: int) -> Any:
    """Gather the faults of each row into one text; null = fine."""
    texts = [None] * n if noted is None else _cells.as_text(noted).to_pylist()
    for row, text in wrong:
        texts[row] = f"{texts[row]}; {text}" if texts[row] else text
    return pa.chunked_array([pa.array(texts, pa.string())])
