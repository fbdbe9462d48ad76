"""A published table of weights (权重表) as rows and columns whose headers are understood.

The order of work: read CSV or Excel as cleaned text, find the header row, then tell each column's
field and for whom it is by the words of its header. Nothing here knows a city: kinds of column, levels
of hospital and insurances are small vocabularies, and a column map overrides them. The surprise: a
qualifier that no vocabulary knows (a named group of hospitals) is kept as a class of hospital, and said.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from pydantic import Field

from grouper._workbook import HEADER_WITHIN, read_workbook
from grouper.errors import CaseFileError, TableError
from grouper.tables._files import Settings, read_settings
from grouper.tables._rules import clean_text

MOST_BYTES = 64 << 20
EXCEL = (".xlsx", ".xlsm", ".xls", ".xlsb")

SINGLE = {
    "group": r"(CHS-?)?(DRGS?)?(病组|分组|细分组|组)?(编码|代码|编号)",
    "name": r"(CHS-?)?(DRGS?)?(病组|分组|细分组|组)?名称",
    "weight": r"(DRGS?|病组|基准|标准|相对|支付)?(权重|RW)(\(RW\)|值)?",
    "score": r"(病组|标准|基准|基础)?(分值|点数)",
    "mean_cost": r"(病组)?(例均|次均|平均|均次)(住院)?(医疗)?(总)?费用",
    "type": r"(病组|组)(类型|类别|属性)",
    "basic": r"(是否)?基础病组",
    "tcm": r"(是否)?中医优势病(组|种)",
    "note": r"备注|说明",
}
"""Fields of which a table has one column, and the headers that name them."""

QUALIFIED = {
    "rate": r"(基础|基准|基本|支付)?费率",
    "coefficient": r"((医院|医疗机构|机构)?(等级|级别)?|调节|调整)系数",
    "standard": r"(病组|DRG|医保)?(支付|付费|结算)标准",
    "low": r"低(倍|倍率|费用)(病例)?(临界|界)值",
    "high": r"高(倍|倍率|费用)(病例)?(临界|界)值",
}
"""Fields that a table has for several levels of hospital and insurances."""

LEVELS = (
    *("省三级甲等", "市三级甲等", "三级甲等", "三级乙等", "二级甲等", "二级乙等", "一级甲等"),
    *("省三甲", "市三甲", "三甲", "三乙", "三丙", "二甲", "二乙", "一甲"),
    *("三级", "二级", "一级", "基层", "社区", "乡镇卫生院", "未定级"),
)
"""Words for a level of hospital (医院等级)."""

INSURANCES = {"职工": "310", "居民": "390"}
"""Words for an insurance (险种) and its code."""

AROUND = (
    *("医疗机构", "医院", "机构", "卫生院", "基本医保", "医保", "城镇", "城乡", "以下", "以上"),
    *("及", "和", "与", "、", "/", ",", "-", "_", "·", "元"),
)
"""Words that stand around those and say nothing themselves."""

UNITS = ("万元", "千元", "角", "%", "‰")
"""Units that are not read: amounts here are in yuan, ratios are plain numbers."""

_WORD = re.compile(
    f"(?P<level>{'|'.join(LEVELS)})|(?P<insurance>{'|'.join(INSURANCES)})|{'|'.join(AROUND)}"
)
_PATTERNS = {name: re.compile(p, re.IGNORECASE) for name, p in {**SINGLE, **QUALIFIED}.items()}


class Key(NamedTuple):
    """For whom a number is: a level, a class of hospital, an insurance; blank = for all."""

    level: str = ""
    class_: str = ""
    insurance: str = ""

    def covers(self, other: Key) -> bool:
        """Tell whether what is for this one also is for `other`."""
        return all(mine in ("", theirs) for mine, theirs in zip(self, other, strict=True))

    def __str__(self) -> str:
        words = {code: word for word, code in INSURANCES.items()}
        parts = (self.level, self.class_, words.get(self.insurance, self.insurance))
        return " ".join(p for p in parts if p) or "all"


class Head(NamedTuple):
    """A column that is understood: its place, its header as printed, field and key."""

    at: int
    header: str
    field: str
    key: Key = Key()


# ---------------------------------------------------------------------------------------- column map


class Qualifier(Settings):
    """For whom a number is: what a word in brackets stands for."""

    level: str = ""
    class_: str = Field(default="", alias="class")
    insurance: str = ""
    """A word such as 职工, or a code."""

    @property
    def key(self) -> Key:
        """Return it as columns have it."""
        return Key(self.level, self.class_, INSURANCES.get(self.insurance, self.insurance))


class MapColumn(Qualifier):
    """A qualified column of the map."""

    header: str = Field(min_length=1)


class WeightMap(Settings):
    """Column map of a table of weights; what it does not name is told by the header's text."""

    sheet: str = ""
    columns: dict[str, str] = {}
    """Field → header, for the fields of which there is one column."""
    rate: list[MapColumn] = []
    coefficient: list[MapColumn] = []
    standard: list[MapColumn] = []
    low: list[MapColumn] = []
    high: list[MapColumn] = []
    ignore: list[str] = []
    """Headers that are not read."""
    qualifiers: dict[str, Qualifier] = {}
    """Words in brackets that the vocabulary does not know."""


def read_map(path: Path | str | None) -> WeightMap:
    """Read a column map, or an empty one.

    Raises
    ------
    TableError : it is missing, not TOML, or names a field that there is not.
    """
    if path is None:
        return WeightMap()
    given = read_settings(Path(path), WeightMap)
    if unknown := [f for f in given.columns if f not in SINGLE]:
        message = f"[columns] {unknown[0]!r} is none of {', '.join(SINGLE)}"
        raise TableError(message, file=Path(path).name)
    return given


# -------------------------------------------------------------------------------------------- headers


def plain(header: str) -> str:
    """Return a header without blanks, in half-width signs."""
    return re.sub(r"\s", "", clean_text(header))


def key_of(text: str) -> Key | None:
    """Read for whom a number is from words such as 三级职工; None if a word is not known."""
    at, level, insurances = 0, "", set()
    start = end = -1
    while at < len(text):
        found = _WORD.match(text, at)
        if not found:
            return None
        if found["insurance"]:
            insurances.add(INSURANCES[found["insurance"]])
        elif found["level"]:
            start = at if start < 0 else start
            end = found.end()
        elif found[0] in ("以下", "以上") and start >= 0:
            end = found.end()
        at = found.end()
    if start >= 0:
        level = re.sub("医疗机构|医院|机构|城镇|城乡", "", text[start:end])
        level = re.sub("|".join(INSURANCES), "", level)
    return Key(level, "", insurances.pop() if len(insurances) == 1 else "")


def understand(header: str, given: WeightMap) -> tuple[str, Key] | None:
    """Tell a column's field and key from its header; None if it is not one of those known."""
    text = plain(header)
    inside = re.findall(r"\(([^()]*)\)", text)
    stem = re.sub(r"\([^()]*\)", "", text)
    for name, pattern in _PATTERNS.items():
        if pattern.fullmatch(text) or (name in SINGLE and pattern.fullmatch(stem)):
            return name, _joined(inside if name not in SINGLE else [], given)
    for name in QUALIFIED:
        for before, after in _around(stem, _PATTERNS[name]):
            around = [x for x in (before, after) if x]
            if all(key_of(x) is not None for x in around):
                return name, _joined([*around, *inside], given)
    return None


def _around(stem: str, pattern: re.Pattern[str]) -> Iterator[tuple[str, str]]:
    """Give what stands before and after a pattern, the longest match first."""
    for start in range(len(stem)):
        if found := pattern.match(stem, start):
            yield stem[:start], stem[found.end() :]


def _joined(parts: Sequence[str], given: WeightMap) -> Key:
    """Put together what the words of a header say."""
    level, classes, insurance = "", [], ""
    named = {plain(word): q for word, q in given.qualifiers.items()}
    for part in parts:
        found = named[part].key if part in named else key_of(part) or Key(class_=part)
        level, insurance = found.level or level, found.insurance or insurance
        classes += [found.class_] if found.class_ else []
    return Key(level, " ".join(classes), insurance)


# ----------------------------------------------------------------------------------------------- file


@dataclass
class Source:
    """A table as read: understood columns and the rows below them."""

    name: str
    size: int
    sha256: str
    place: str
    excel: bool
    heads: list[Head] = field(default_factory=list)
    rows: list[tuple[int, list[str]]] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    cleaned: int = 0
    findings: list[str] = field(default_factory=list)

    def of(self, *fields: str) -> list[Head]:
        """Return the columns of some fields, in their order in the table."""
        return [h for h in self.heads if h.field in fields]


Table = list[tuple[int, list[str]]]


def read_source(path: Path | str, given: WeightMap) -> Source:
    """Read a CSV (UTF-8 or GB18030) or Excel table and understand its header.

    Raises
    ------
    CaseFileError : it cannot be read. TableError : no header, a column that is missing or there twice;
        names file and row.
    """
    path = Path(path)
    found, sheets = _excel(path) if path.suffix.casefold() in EXCEL else _text(path)
    name, table, at = _choose(sheets, given, path.name)
    if len(sheets) > 1 or found.excel:
        found.place = f"{found.name} · {name}"
        if others := [s for s in sheets if s != name]:
            found.findings.append(f"sheets not read: {', '.join(others)}; the map names another")
    found.heads = _heads(table[at], given, found.place, found.ignored)
    width = len(table[at][1])
    for row, cells in table[at + 1 :]:
        if any(cells[width:]) or (len(cells) < width and not found.excel and any(cells)):
            message = f"{len(cells)} cells where the header has {width}"
            raise TableError(message, file=found.place, row=row)
        if any(cells):
            found.rows.append((row, [*cells, *[""] * (width - len(cells))]))
    if not found.rows:
        raise TableError("no rows below the header", file=found.place)
    return found


def _choose(sheets: Mapping[str, Table], given: WeightMap, file: str) -> tuple[str, Table, int]:
    """Choose the sheet and row of the header: the first with codes and weights, else the best."""
    if given.sheet and given.sheet not in sheets:
        raise TableError(f"no sheet {given.sheet!r}; it has {list(sheets)}", file=file)
    wanted = [given.sheet] if given.sheet else list(sheets)
    most = 0
    best: tuple[str, Table, int] = ("", [], 0)
    for name in wanted:
        table = [(n, row) for n, row in sheets[name] if any(row)]
        for k, (_, cells) in enumerate(table[:HEADER_WITHIN]):
            names = Counter(head.field for head in _all_heads(cells, given))
            if names["group"] and names["weight"] + names["score"]:
                return name, table, k
            if sum(names.values()) > most:
                most, best = sum(names.values()), (name, table, k)
    if not most:
        words = "DRG编码, DRG名称, 权重"
        message = f"no header within {HEADER_WITHIN} rows; expected columns like {words}"
        raise TableError(message, file=file, row=1)
    return best


def _all_heads(cells: Sequence[str], given: WeightMap) -> list[Head]:
    """Understand every header of a row: by the map, else by its text."""
    mapped: dict[str, tuple[str, Key]] = {plain(h): (f, Key()) for f, h in given.columns.items()}
    for name in QUALIFIED:
        for c in getattr(given, name):
            mapped[plain(c.header)] = (name, c.key)
    weights = ("weight", "score")
    taken = {x for f in given.columns for x in (weights if f in weights else (f,))}
    ignored = {plain(h) for h in given.ignore}
    found = []
    for k, cell in enumerate(cells):
        text = plain(cell)
        if not text or text in ignored:
            continue
        known = mapped.get(text)
        if known is None:
            known = understand(cell, given)
            if known is None or known[0] in taken:
                continue
        found.append(Head(k, cell, *known))
    return found


def _heads(
    at: tuple[int, Sequence[str]], given: WeightMap, file: str, ignored: list[str]
) -> list[Head]:
    """Understand the header row, or say what is wrong with it."""
    row, cells = at
    found = _all_heads(cells, given)
    header = [c for c in cells if c]
    named = [*given.columns.values(), *given.ignore]
    named += [c.header for f in QUALIFIED for c in getattr(given, f)]
    texts = {plain(c) for c in cells}
    if lacking := [h for h in named if plain(h) not in texts]:
        message = f"the map names {', '.join(lacking)}; the header reads {header}"
        raise TableError(message, file=file, row=row)
    by_field: dict[tuple[str, Key], list[str]] = {}
    for head in found:
        if unit := next((u for u in UNITS if u in head.header), ""):
            message = f"column {head.header!r} is in {unit}; give yuan and plain numbers"
            raise TableError(message, file=file, row=row)
        name = "weight" if head.field == "score" else head.field
        key = head.key if head.field in QUALIFIED else Key()
        by_field.setdefault((name, key), []).append(head.header)
    for (name, key), headers in by_field.items():
        if len(headers) > 1:
            what = f"{name} for {key}" if name in QUALIFIED else name
            message = f"two columns of {what}: {', '.join(headers)}; name one in a column map"
            raise TableError(message, file=file, row=row)
    for name, words in (("group", "group codes (DRG编码)"), ("weight", "weights (权重, RW, 分值)")):
        if (name, Key()) not in by_field:
            message = f"no column of {words}; the header reads {header}: name it in a column map"
            raise TableError(message, file=file, row=row)
    known = {head.at for head in found}
    ignored += [c for k, c in enumerate(cells) if c and k not in known]
    return found


def _excel(path: Path) -> tuple[Source, dict[str, Table]]:
    book = read_workbook(path)
    found = Source(book.name, book.size, book.sha256, book.name, excel=True)
    found.cleaned = sum(book.cleaned.values())
    return found, {
        name: list(enumerate([list(r) for r in rows], start=1))
        for name, rows in book.sheets.items()
    }


def _text(path: Path) -> tuple[Source, dict[str, Table]]:
    """Read a CSV table, cells cleaned and counted."""
    try:
        if path.stat().st_size > MOST_BYTES:
            message = f"larger than {MOST_BYTES >> 20} MiB; a table of weights is not"
            raise CaseFileError(message, file=path.name)
        data = path.read_bytes()
    except OSError as e:
        raise CaseFileError(f"cannot be read: {e.strerror}", file=str(path)) from None
    found = Source(path.name, len(data), hashlib.sha256(data).hexdigest(), path.name, excel=False)
    if data[:4] == b"PK\x03\x04":
        raise CaseFileError("no text; an Excel file must end in .xlsx", file=path.name)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        try:
            text = data.decode("gb18030")
        except UnicodeDecodeError as e:
            message = f"neither UTF-8 nor GB18030 at byte {e.start}; save it as UTF-8"
            raise CaseFileError(message, file=path.name) from None
        found.findings.append("read as GB18030, since it is not UTF-8")
    first = text.lstrip().partition("\n")[0]
    delimiter = "\t" if "\t" in first and "," not in first else ","
    reader, table = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True), []
    try:
        for row in reader:
            cells = [clean_text(c) for c in row]
            found.cleaned += sum(a != b for a, b in zip(row, cells, strict=True))
            table.append((reader.line_num, cells))
    except csv.Error as e:
        raise TableError(f"not a CSV table: {e}", file=path.name, row=reader.line_num) from None
    return found, {path.name: table}
