"""Reading the text tables of a scheme or policy: columns by header, cells cleaned, faults placed."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from importlib.resources import files
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError

from grouper.errors import TableError, nearest
from grouper.tables._rules import clean_text
from grouper.tables._toml_lines import Location, Places, known_part, place_of, places_of, tell

SHIPPED = Path(str(files("grouper.tables")))
MAX_DEPTH = 100
"""Parts of a dotted key."""

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
    text = read_toml_text(path)
    return check_settings(
        parse_toml(text, path.name), model, lambda: places_of(text, path.name, path.parent)
    )


def check_settings(data: dict[str, Any], model: type[M], places: Callable[[], Places]) -> M:
    """Turn a parsed TOML document into `model`; `places` tells where each key stands."""
    try:
        return model.model_validate(data)
    except ValidationError as e:
        raise _refusal(e, model, places()) from None


_SAID = {"is_instance_of": "Input should be a decimal"}


def _refusal(e: ValidationError, model: type[BaseModel], places: Places) -> TableError:
    """Name every fault with its line; the alternatives of one value are one fault."""
    faults: dict[Location, list[str]] = {}
    for x in e.errors():
        at, text = x["loc"], _SAID.get(x["type"], x["msg"])
        if x["type"] == "extra_forbidden":
            text += f"; known: {', '.join(_known_keys(model, at[:-1]))}"
        if x["type"] != "missing":
            at = known_part(places, at)
        faults.setdefault(at, []).append(text)
    placed = [
        (place_of(places, at), f"{'.'.join(map(str, at))}: {' / '.join(texts)}")
        for at, texts in faults.items()
    ]
    placed.sort(key=lambda fault: fault[0].line)
    first = placed[0][0]
    return TableError(tell(placed, first.file, first.line), file=first.file, row=first.line)


def _known_keys(model: type[BaseModel], at: Location) -> list[str]:
    """List the keys that a section may have."""
    found: Any = model
    for step in at:
        if isinstance(found, type) and issubclass(found, BaseModel):
            found = {f.alias or n: f.annotation for n, f in found.model_fields.items()}[str(step)]
        else:
            found = get_args(found)[-1]  # an item of a list, a value of a table
        if get_origin(found) in (Union, UnionType):
            found = next(t for t in get_args(found) if t is not NoneType)
    return [f.alias or name for name, f in found.model_fields.items()]


def read_toml(path: Path) -> dict[str, Any]:
    """Parse a TOML file with decimals kept exact."""
    return parse_toml(read_toml_text(path), path.name)


def read_toml_text(path: Path, file: str = "") -> str:
    """Read a file that is to be TOML; `file` is its name in messages."""
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        raise TableError("no such file", file=file or path.name) from None
    except UnicodeDecodeError as e:
        raise TableError(f"not TOML in UTF-8: {e}", file=file or path.name) from None


def parse_toml(text: str, file: str) -> dict[str, Any]:
    """Parse TOML with decimals kept exact.

    Raises
    ------
    TableError : it is not TOML, nested too deep, or has a number of more than 30 digits; says the line.
    """
    import tomllib

    for row, line in enumerate(text.split("\n"), 1):
        if line.count(".", 0, line.find("=")) > MAX_DEPTH and not line.lstrip().startswith("#"):
            raise TableError(f"a key of more than {MAX_DEPTH} parts", file=file, row=row)
    try:
        data = tomllib.loads(text, parse_float=_exact)
    except ValueError as e:  # also a whole number that Python refuses for its length
        found = re.search(r"\(at line (\d+), column \d+\)$", str(e))
        row = int(found[1]) if found else 0
        if isinstance(e, _TooLong):
            row = text[: text.index(e.number)].count("\n") + 1
        raise TableError(f"not TOML in UTF-8: {e}", file=file, row=row) from None
    except RecursionError:
        raise TableError("lists or tables nested too deep; take some out", file=file) from None
    if re.search("0[xob]", text):  # Python bounds the length of decimal ones alone
        _refuse_long(data, file)
    return data


def _refuse_long(data: dict[str, Any], file: str) -> None:
    """Refuse a whole number of more than 30 digits, in whatever base it is written."""
    left: list[Any] = [data]
    while left:
        value = left.pop()
        if isinstance(value, dict | list):
            left += value.values() if isinstance(value, dict) else value
        elif isinstance(value, int) and abs(value) >= 10**30:
            raise TableError("a whole number of more than 30 digits; round it", file=file)


class _TooLong(ValueError):
    def __init__(self, number: str) -> None:
        self.number = number
        super().__init__(f"{number} has more than 30 digits; round it")


def _exact(text: str) -> Decimal:
    try:
        number = Decimal(text)
    except InvalidOperation:  # an exponent beyond what decimals have
        raise _TooLong(text) from None
    if number.is_finite() and (len(number.as_tuple().digits) > 30 or abs(number.adjusted()) > 30):
        raise _TooLong(text)
    return number


TEXTS = ("name", "message_zh", "message_en")
"""Columns for people: their full-width signs stay."""


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
                free = [h for h in header if h not in (*columns, *optional)]
                near = [f"{c} may be {n!r}" for c in lacking if (n := nearest(c, free))]
                message = "; ".join([f"no column {', '.join(lacking)}", f"it has {header}", *near])
                raise TableError(message, file=name, row=1)
            where = [(header.index(c), c in TEXTS) for c in columns]
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
    found = plain_decimal(text)
    if found is None:
        raise TableError(f"{text!r} is not a plain decimal", file=file, row=row)
    return found


def plain_decimal(text: str) -> Fraction | None:
    """Read digits with at most one point; None for anything else."""
    return Fraction(text) if re.fullmatch(r"-?[0-9]{1,30}(\.[0-9]{1,30})?", text) else None


def is_whole(text: str) -> bool:
    """Tell whether a text is a whole number that `int` reads: digits that count, and not too many."""
    return text.isdecimal() and len(text) < 19


def iso(day: date | None) -> str:
    """Write a date, or nothing."""
    return day.isoformat() if day else ""
