"""A DRG scheme folder as it lies there: every row kept, every fault noted, nothing refused but the settings.

The loader stops at the first fault; whoever mends a new edition wants all of them. This reader takes what
it can: a table that cannot be read is empty and a finding, a rule that does not parse is None and a finding.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from grouper.errors import RuleError
from grouper.tables._codes import CodeList, load_codes
from grouper.tables._drg_scheme import FILE, TABLES, SchemeSettings
from grouper.tables._files import is_whole, read_settings
from grouper.tables._findings import Finding
from grouper.tables._load import base_folder
from grouper.tables._rules import Rule, clean_name, clean_text, parse

COLUMNS = {
    "mdc": ("code", "name", "rule", "sort"),
    "adrg": ("code", "name", "rule", "mdc", "sort"),
    "drg": ("code", "name", "rule", "adrg", "mdc", "sort"),
    "sets": ("set", "code"),
    "cc": ("code", "type", "exclusion"),
    "exclusions": ("exclusion", "principal"),
}
OPTIONAL = {"adrg": ("sort",), "drg": ("sort",)}
BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class RawRow:
    """One row of a table: where it stands, its cells by column, cleaned."""

    file: str
    line: int
    cells: dict[str, str]

    @property
    def place(self) -> str:
        """Where it stands, as `file:line`."""
        return f"{self.file}:{self.line}"

    def __getitem__(self, column: str) -> str:
        return self.cells[column]


@dataclass(frozen=True, slots=True)
class RuledRow:
    """A row with a rule and the index of its parent; `rule` None = it does not parse."""

    code: str
    text: str
    rule: Rule | None
    parent: int  # -1 = none or unknown
    row: RawRow


@dataclass
class RawScheme:
    """The tables of a folder, own or inherited; `faults` is what reading them found."""

    settings: SchemeSettings
    code_list: CodeList | None
    rows: dict[str, list[RawRow]] = field(default_factory=dict)
    faults: list[Finding] = field(default_factory=list)
    mdcs: list[RuledRow] = field(default_factory=list)
    adrgs: list[RuledRow] = field(default_factory=list)
    drgs: list[RuledRow] = field(default_factory=list)
    sets: dict[str, set[str]] = field(default_factory=dict)

    def ruled(self) -> Iterator[tuple[str, list[RuledRow]]]:
        """Yield the three tables that hold rules."""
        yield from (("mdc.csv", self.mdcs), ("adrg.csv", self.adrgs), ("drg.csv", self.drgs))

    def note(self, code: str, place: str, message: str) -> None:
        """Keep a fault."""
        self.faults.append(Finding(code, place, message))


def read_raw(folder: Path) -> RawScheme:
    """Read a folder for the linter.

    Raises
    ------
    TableError : scheme.toml is refused. SchemeNotFound : no such code list.
    """
    settings = read_settings(folder / FILE, SchemeSettings)
    listed = load_codes(settings.code_list, beside=folder) if settings.code_list else None
    raw = RawScheme(settings, listed)
    base = base_folder(folder, settings)
    for table in TABLES:
        file = f"{table}.csv"
        inherited = base is not None and not (folder / file).exists()
        own = base if inherited and base is not None else folder
        raw.rows[table] = _read(raw, own / file, table)
        added = folder / f"{table}.add.csv"
        if inherited and added.exists():
            raw.rows[table] += _read(raw, added, table)
        if not raw.rows[table] and not any(f.place.partition(":")[0] == file for f in raw.faults):
            raw.note("L124", file, "the table is empty")
    _link(raw)
    for row in raw.rows["sets"]:
        raw.sets.setdefault(row["set"], set()).add(row["code"])
    return raw


def _read(raw: RawScheme, path: Path, table: str) -> list[RawRow]:
    """Read what can be read of one file."""
    file, wanted = path.name, COLUMNS[table]
    try:
        data = path.read_bytes()
    except OSError:
        raw.note("L124", file, "no such file")
        return []
    if data.startswith(BOM):
        raw.note("L121", file, "begins with a byte-order mark; save it as UTF-8 without one")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        raw.note("L124", file, f"not UTF-8 at byte {e.start}; save it as UTF-8")
        return []
    reader = csv.reader(io.StringIO(text, newline=""))
    header = [clean_text(h) for h in next(reader, [])]
    needed = [c for c in wanted if c not in OPTIONAL.get(table, ())]
    if lacking := [c for c in needed if c not in header]:
        raw.note("L124", f"{file}:1", f"no column {', '.join(lacking)}; it has {header}")
        return []
    places = [(c, header.index(c)) for c in wanted if c in header]
    blank = dict.fromkeys(OPTIONAL.get(table, ()), "")
    names: dict[str, str] = {}
    others: dict[str, str] = {}
    rows, odd, first = [], 0, 0
    for cells in reader:
        if not cells:
            continue
        if len(cells) != len(header):
            message = f"{len(cells)} cells where the header has {len(header)}"
            raw.note("L124", f"{file}:{reader.line_num}", message)
            continue
        row = dict(blank)
        for column, k in places:
            given = cells[k]
            known, clean = (names, clean_name) if column == "name" else (others, clean_text)
            if given not in known:
                known[given] = clean(given)
            row[column] = known[given]
            if row[column] != given:
                odd, first = odd + 1, first or reader.line_num
        rows.append(RawRow(file, reader.line_num, row))
    if odd:
        message = f"{odd} cells held blanks at their ends, full-width or unseen signs"
        raw.note("L125", f"{file}:{first}", message)
    return rows


def _link(raw: RawScheme) -> None:
    """Parse the rules and find each row's parent."""
    sorts = [(int(r["sort"]) if is_whole(r["sort"]) else 0, r) for r in raw.rows["mdc"]]
    raw.mdcs = [_ruled(raw, r, -1) for _, r in sorted(sorts, key=lambda x: x[0])]
    raw.adrgs = _children(raw, "adrg", "mdc", raw.mdcs)
    raw.drgs = _children(raw, "drg", "adrg", raw.adrgs)


def _children(
    raw: RawScheme, table: str, parent: str, parents: Sequence[RuledRow]
) -> list[RuledRow]:
    index: dict[str, int] = {}
    for k, p in enumerate(parents):
        index.setdefault(p.code, k)
    found = [_ruled(raw, r, index.get(r[parent], -1)) for r in raw.rows[table]]
    return sorted(found, key=lambda r: r.parent)


def _ruled(raw: RawScheme, row: RawRow, parent: int) -> RuledRow:
    rule: Rule | None
    try:
        rule = parse(row["rule"], file=row.file, row=row.line)
    except RuleError as e:
        rule = None
        raw.note("L109", row.place, str(e).partition(f"{row.place}: ")[2])
    return RuledRow(row["code"], row["rule"], rule, parent, row)
