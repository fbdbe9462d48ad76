"""Scheme folders as they are written: TOML, CSV, the report of an import; whole or not at all."""

from __future__ import annotations

import csv
import io
import json
import shutil
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from grouper import _platform
from grouper._csv_texts import marked_text
from grouper.errors import CaseFileError


@dataclass
class ImportReport:
    """What an import read: the file, counts beside the published ones, and what was odd."""

    name: str
    size: int
    sha256: str
    counts: dict[str, int] = field(default_factory=dict)
    published: dict[str, int] = field(default_factory=dict)
    repeats: int = 0
    cleaned_cells: int = 0
    ignored_columns: list[str] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)

    @property
    def agrees(self) -> bool:
        """Whether every count is the published one."""
        return self.counts == self.published

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return {**asdict(self), "agrees": self.agrees}


def csv_of(rows: Sequence[Mapping[str, str]], columns: Sequence[str]) -> str:
    """Lay rows out as CSV, as they are: a table of a scheme is read back by the loader."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([row.get(c, "") for c in columns] for row in rows)
    return text.getvalue()


def report_of(rows: Sequence[Mapping[str, str]], columns: Sequence[str]) -> str:
    """Lay rows out as CSV for people: no text in it is run by a spreadsheet."""
    return csv_of([{k: marked_text(v) for k, v in row.items()} for row in rows], columns)


def toml_of(data: Mapping[str, Any]) -> str:
    """Lay settings out as TOML: plain values, lists, then sections."""
    plain, sections = [], []
    for name, value in data.items():
        if isinstance(value, dict):
            pairs = (f"{json.dumps(k, ensure_ascii=False)} = {_value(v)}" for k, v in value.items())
            sections.append("\n".join([f"[{name}]", *pairs]))
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            sections += ["\n".join([f"[[{name}]]", *_lines(item)]) for item in value]
        elif value is not None:
            plain.append(f"{name} = {_value(value)}")
    return "\n\n".join(["\n".join(plain), *sections]) + "\n"


def _lines(item: Mapping[str, Any]) -> list[str]:
    return [f"{k} = {_value(v)}" for k, v in item.items() if v not in (None, "", [])]


def _value(value: Any) -> str:
    if isinstance(value, date):
        return value.isoformat()
    return json.dumps(value, ensure_ascii=False)


def write_files(
    folder: Path,
    files: Mapping[str, str],
    *,
    overwrite: bool,
    load: Callable[[Path], Any] | None = None,
    marker: str = "scheme.toml",
    known: Collection[str] = ("profile.toml",),
) -> None:
    """Write the folder of a scheme or policy, whole or not at all.

    Parameters
    ----------
    files : path inside the folder → text. load : what must take the folder before it appears.
    marker, known : a folder that holds `marker`, and besides `files` only these, is an earlier import.

    Raises
    ------
    CaseFileError : the folder holds something, and `overwrite` is not given or it is no earlier import.
    TableError : `load` refuses it.
    """
    target = folder.resolve()
    if target.is_file():
        raise CaseFileError("is a file; name a new folder", file=target.name)
    held = {p.name for p in target.iterdir()} if target.exists() else set()
    mine = {name.partition("/")[0] for name in files}
    if held and not (overwrite and marker in held and held <= {*mine, *known}):
        message = "holds files: --overwrite replaces an earlier import; or name a new folder"
        raise CaseFileError(message, file=target.name)
    target.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent))
    try:
        for name, text in files.items():
            (work / name).parent.mkdir(exist_ok=True)
            (work / name).write_text(text, "utf-8")
        if load is not None:
            load(work)
        _platform.show_folder(work)
        if target.exists():
            shutil.rmtree(target)
        work.rename(target)
    finally:
        shutil.rmtree(work, ignore_errors=True)
