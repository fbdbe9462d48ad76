"""Reading the text tables of a scheme or policy: columns by header, cells cleaned, faults placed."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from datetime import date
from decimal import Decimal
from fractions import Fraction
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from grouper.errors import TableError
from grouper.tables._rules import clean_text

SHIPPED = Path(str(files("grouper.tables")))

M = TypeVar("M", bound="Settings")


class Settings(BaseModel):
    """Base of everything read from TOML: unknown keys are refused, values are never coerced."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def read_settings(path: Path, model: type[M]) -> M:
    """Read a TOML file into `model`.

    Raises
    ------
    TableError : the file is missing, not TOML, or does not fit; every fault is named.
    """
    return check_settings(read_toml(path), model, path.name)


def check_settings(data: dict[str, Any], model: type[M], file: str) -> M:
    """Turn a parsed TOML document into `model`; see `read_settings`."""
    try:
        return model.model_validate(data)
    except ValidationError as e:
        faults = [f"{'.'.join(map(str, x['loc']))}: {x['msg']}" for x in e.errors()]
        raise TableError("; ".join(faults), file=file) from None


def read_toml(path: Path) -> dict[str, Any]:
    """Parse TOML with decimals kept exact."""
    import tomllib

    try:
        return tomllib.loads(path.read_text("utf-8"), parse_float=Decimal)
    except FileNotFoundError:
        raise TableError("no such file", file=path.name) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise TableError(f"not TOML in UTF-8: {e}", file=path.name) from None


def read_table(
    path: Path, columns: Sequence[str], optional: Sequence[str] = ()
) -> Iterator[tuple[int, list[str]]]:
    """Yield (line, cells of `columns`, then of `optional`, "" where absent); header = line 1.

    Raises
    ------
    TableError : missing file or column, a row of another width, not UTF-8, an empty table.
    """
    name = path.name
    try:
        with path.open(encoding="utf-8-sig", newline="") as f:
            reader = csv.reader(f, strict=True)
            header = [clean_text(h) for h in next(reader, [])]
            if lacking := [c for c in columns if c not in header]:
                raise TableError(
                    f"no column {', '.join(lacking)}; it has {header}", file=name, row=1
                )
            where = [(header.index(c), c == "name") for c in columns]
            where += [(header.index(c) if c in header else -1, False) for c in optional]
            for cells in reader:
                if not cells:
                    continue
                if len(cells) != len(header):
                    message = f"{len(cells)} cells where the header has {len(header)}"
                    raise TableError(message, file=name, row=reader.line_num)
                yield (
                    reader.line_num,
                    [_cell(cells[k], is_name) if k >= 0 else "" for k, is_name in where],
                )
    except FileNotFoundError:
        raise TableError("no such file", file=name) from None
    except UnicodeDecodeError as e:
        raise TableError(f"not UTF-8 at byte {e.start}; save it as UTF-8", file=name) from None
    except csv.Error as e:
        raise TableError(f"not a CSV table: {e}", file=name) from None


def _cell(text: str, is_name: bool) -> str:
    """Clean a cell; a name keeps its full-width signs."""
    if is_name or (text.isascii() and "_x000" not in text):
        return text.replace("_x000D_", "").strip()
    return clean_text(text)


def decimal(text: str, file: str, row: int) -> Fraction | None:
    """Read a decimal exactly; an empty cell is None."""
    if not text:
        return None
    if not re.fullmatch(r"-?\d{1,30}(\.\d{1,30})?", text):
        raise TableError(f"{text!r} is not a plain decimal", file=file, row=row)
    return Fraction(text)


def iso(day: date | None) -> str:
    """Write a date, or nothing."""
    return day.isoformat() if day else ""
