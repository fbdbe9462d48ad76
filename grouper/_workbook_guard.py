"""What a workbook must not be before it is read: too large, locked, damaged, a program.

Sizes are looked at before bytes are, bytes before sheets are: refusing takes little time and memory
whatever the file holds. The surprise: a formula is refused for tables of rules, since what it showed
when it was saved need not be what the publisher wrote.
"""

from __future__ import annotations

import io
import lzma
import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

from grouper.errors import CaseFileError

MIB = 1 << 20
OLE = bytes.fromhex("D0CF11E0A1B11AE1")
"""First bytes of a compound file: an old .xls, or a locked .xlsx."""

_BENT = (zlib.error, lzma.LZMAError, OSError, ValueError)
"""What the ways to pack a part, and its name, raise for bytes that are none."""
_CHUNK = 1 << 20
_OVERLAP = 256
_FORMULA = re.compile(rb"<(?:x:)?f[ >/]")
_CELL = re.compile(rb'<(?:x:)?c [^>]*?r="([A-Z]+[0-9]+)"')
_WIDE_OR_LONG = (
    re.compile(rb'r="(?:[A-Za-z]{3,}[0-9]|[A-Za-z]{1,2}(?:9[0-9]{4}|[0-9]{6}))'),
    re.compile(rb'r="(?:[A-Za-z]{3,}|[Bb][M-Zm-z]|[C-Zc-z][A-Za-z]|[A-Za-z]{1,2}[0-9]{6})[0-9]'),
)
"""A sheet is too large only with a cell beyond column 702 or row 90,000, and one beyond column 64 or
row 1,000,000; most sheets have none of the first, and one look is enough."""
_COLUMN, _ROW = re.compile(rb'r="([A-Za-z]+)[0-9]'), re.compile(rb'r="[A-Za-z]+([0-9]{1,40})')
_STRINGS = re.compile(rb'uniqueCount="([0-9]{1,19})"')
_AREA = 1 << 26
"""The most cells of a sheet, blank ones too: the library holds all of them."""


class Limits(NamedTuple):
    """The most bytes of a file and of what it unpacks to; whether formulas may stand in it."""

    size: int
    unpacked: int
    formulas: bool


TABLES = Limits(64 * MIB, 768 * MIB, formulas=False)
CASES = Limits(512 * MIB, 4096 * MIB, formulas=True)


def guarded_bytes(path: Path, limits: Limits = TABLES) -> bytes:
    """Read a workbook's bytes, if it is one that may be opened.

    Raises
    ------
    CaseFileError : it cannot be read, is too large, or `check_workbook` refuses it.
    """
    try:
        size = path.stat().st_size
        if size > limits.size:
            message = f"{size / MIB:,.0f} MiB; a workbook here has at most {limits.size // MIB} MiB"
            raise CaseFileError(f"{message}: keep the sheets that are needed", file=path.name)
        data = path.read_bytes()
    except OSError as e:
        if isinstance(e, CaseFileError):
            raise
        raise CaseFileError(f"cannot be read: {e.strerror}", file=str(path)) from None
    check_workbook(data, path.name, limits)
    return data


def check_workbook(data: bytes, name: str, limits: Limits) -> None:
    """Refuse a workbook that is locked, damaged, unpacks to too much, or holds macros.

    Raises
    ------
    CaseFileError : names the file and the cure.
    """
    if not data:
        raise CaseFileError("the file is empty (0 bytes); export it again", file=name)
    if data[:8] == OLE:
        _check_compound(data, name)
        return
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as book:
            _check_parts(book, name, limits)
            _check_sizes(book, name)
            if not limits.formulas:
                _check_formulas(book, name)
    except CaseFileError:
        raise
    except (zipfile.BadZipFile, NotImplementedError, EOFError, *_BENT) as e:
        message = (
            f"no whole Excel file, truncated or damaged ({str(e)[:80]}); copy or export it again"
        )
        raise CaseFileError(message, file=name) from None


def is_panic(e: BaseException) -> bool:
    """Tell whether the library gave up on a file: its panic is no `Exception`."""
    return type(e).__name__ == "PanicException"


def _check_compound(data: bytes, name: str) -> None:
    if "EncryptedPackage".encode("utf-16-le") in data:
        raise CaseFileError("is locked by a password: save it without one", file=name)
    if "_VBA_PROJECT".encode("utf-16-le") in data:
        raise CaseFileError("holds macros: save it as .xlsx without them", file=name)


def _check_parts(book: zipfile.ZipFile, name: str, limits: Limits) -> None:
    parts = book.infolist()
    if any(p.flag_bits & 1 for p in parts):
        raise CaseFileError("is locked by a password: save it without one", file=name)
    if any(p.filename.casefold().endswith("vbaproject.bin") for p in parts):
        raise CaseFileError("holds macros: save it as .xlsx without them", file=name)
    unpacked = sum(p.file_size for p in parts)
    if unpacked > limits.unpacked:
        message = (
            f"unpacks to {unpacked / MIB:,.0f} MiB, at most {limits.unpacked // MIB} MiB are read"
        )
        raise CaseFileError(f"{message}: keep the sheets that are needed", file=name)
    if "xl/workbook.xml" not in book.namelist() and "xl/workbook.bin" not in book.namelist():
        raise CaseFileError("is a zip file and no workbook; save it as .xlsx", file=name)


def _check_sizes(book: zipfile.ZipFile, name: str) -> None:
    """Refuse what makes the library ask for memory that there is not: that ends the process.

    A count of texts that the part cannot hold; a cell so far away that the blanks before it fill the memory.
    """
    for part in book.namelist():
        if part.casefold() == "xl/sharedstrings.xml":
            said = max((int(n) for t in _texts(book, part) for n in _STRINGS.findall(t)), default=0)
            if said > book.getinfo(part).file_size:
                message = f"damaged: {part} says it holds {said:,} texts"
                raise CaseFileError(f"{message}; copy or export it again", file=name)
        elif part.casefold().endswith(".xml"):
            row, column = _corner(book, part)
            if column * row > _AREA:
                message = f"{Path(part).stem} reaches to row {row:,} and column {column:,}"
                raise CaseFileError(
                    f"{message}: delete what stands far outside the table", file=name
                )


def _corner(book: zipfile.ZipFile, part: str) -> tuple[int, int]:
    """Return the last row and column of a sheet, zeros if it is plainly small enough."""
    row = column = 0
    if all(any(look.search(text) for text in _texts(book, part)) for look in _WIDE_OR_LONG):
        for text in _texts(book, part):
            row = max([row, *map(int, set(_ROW.findall(text)))])
            column = max([column, *map(_number, set(_COLUMN.findall(text)))])
    return row, column


def _texts(book: zipfile.ZipFile, part: str) -> Iterator[bytes]:
    """Yield a part piece by piece, each with the end of the one before."""
    with book.open(part) as file:
        before = b""
        for piece in _pieces(file):
            yield (text := before + piece)
            before = text[-_OVERLAP:]


def _number(letters: bytes) -> int:
    """Return the number of a column: A is 1, Z 26, AA 27."""
    found = 0
    for letter in letters.upper():
        found = found * 26 + letter - ord("A") + 1
    return found


def _check_formulas(book: zipfile.ZipFile, name: str) -> None:
    """Refuse the first formula of any sheet; sheets are unpacked piece by piece."""
    for part in book.namelist():
        if not re.fullmatch(r"xl/worksheets/[^/]+\.xml", part):
            continue
        with book.open(part) as sheet:
            before = b""
            for piece in _pieces(sheet):
                text = before + piece
                if found := _FORMULA.search(text):
                    cells = _CELL.findall(text, 0, found.start())
                    at = f" in {cells[-1].decode()}" if cells else ""
                    message = f"a formula{at} of {Path(part).stem}: copy all and paste as values"
                    raise CaseFileError(message, file=name)
                before = text[-_OVERLAP:]


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    while piece := file.read(_CHUNK):
        yield piece
