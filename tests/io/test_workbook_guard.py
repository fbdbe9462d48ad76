"""A workbook that is locked, damaged or far too large is refused at once, in one sentence."""

from __future__ import annotations

import resource
import struct
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import xlsxwriter
from drg3_book import SMALL, write_book

from grouper import CaseFileError, import_drg3, read_cases
from grouper._workbook_guard import OLE, TABLES

pytestmark = pytest.mark.promise(
    "A workbook that is locked, damaged or far too large is refused at once"
)

pytest.importorskip("python_calamine")

HEADER = ["case_id", "sex", "age", "diagnoses", "procedures"]


def rewritten(path: Path, change: Callable[[str, bytes], bytes], add: dict[str, bytes]) -> Path:
    """Write a zip file anew with its parts changed."""
    with zipfile.ZipFile(path) as old:
        parts = {n: change(n, old.read(n)) for n in old.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name, data in {**parts, **add}.items():
            new.writestr(name, data)
    return path


def kept(_: str, data: bytes) -> bytes:
    return data


def cut(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[:-200])
    return path


def beheaded(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[:300])
    return path


def bent(path: Path) -> Path:
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as book:
        info = book.getinfo("xl/worksheets/sheet2.xml")
    data[info.header_offset + 120] ^= 0xFF
    path.write_bytes(data)
    return path


def with_password(path: Path) -> Path:
    """As office programs lock a file: a compound file that holds the encrypted package."""
    name = "EncryptedPackage".encode("utf-16-le")
    path.write_bytes(OLE + bytes(504) + name + bytes(8192))
    return path


def with_locked_parts(path: Path) -> Path:
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x01\x02")
    flags = struct.unpack_from("<H", data, at + 8)[0]
    struct.pack_into("<H", data, at + 8, flags | 1)
    path.write_bytes(data)
    return path


def with_macros(path: Path) -> Path:
    return rewritten(path, kept, {"xl/vbaProject.bin": b"x" * 100})


def with_old_macros(path: Path) -> Path:
    path.write_bytes(OLE + bytes(504) + "_VBA_PROJECT".encode("utf-16-le") + bytes(8192))
    return path


def no_workbook(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as z:
        z.writestr("readme.txt", "x")
    return path


def empty(path: Path) -> Path:
    path.write_bytes(b"")
    return path


def text(path: Path) -> Path:
    path.write_text("MDC编码,MDC名称\n", "utf-8")
    return path


BROKEN = [
    (cut, "truncated or damaged"),
    (beheaded, "truncated or damaged"),
    (with_password, "locked by a password: save it without one"),
    (with_locked_parts, "locked by a password: save it without one"),
    (with_macros, "holds macros: save it as .xlsx without them"),
    (with_old_macros, "holds macros: save it as .xlsx without them"),
    (no_workbook, "a zip file and no workbook"),
    (empty, "0 bytes"),
    (text, "truncated or damaged"),
]


@pytest.mark.parametrize(("break_", "said"), BROKEN)
def test_tables_from_what_is_no_whole_workbook(
    tmp_path: Path, break_: Callable[[Path], Path], said: str
) -> None:
    path = break_(write_book(tmp_path / "book.xlsx"))
    with pytest.raises(CaseFileError, match=said) as e:
        import_drg3(path, tmp_path / "out")
    assert e.value.file == "book.xlsx"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("break_", "said"), BROKEN)
def test_cases_from_what_is_no_whole_workbook(
    tmp_path: Path, break_: Callable[[Path], Path], said: str
) -> None:
    path = break_(write_book(tmp_path / "book.xlsx"))
    with pytest.raises(CaseFileError, match=said):
        read_cases(path)


def test_a_bent_sheet_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CaseFileError, match=r"book\.xlsx"):
        import_drg3(bent(write_book(tmp_path / "book.xlsx")), tmp_path / "out")


def test_half_a_gigabyte_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "book.xlsx"
    with path.open("wb") as f:
        f.truncate(500 << 20)
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    with pytest.raises(CaseFileError, match="500 MiB; a workbook here has at most 64 MiB"):
        import_drg3(path, tmp_path / "out")
    assert time.monotonic() - start < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB


def test_a_bomb_is_refused_unopened(tmp_path: Path) -> None:
    path = write_book(tmp_path / "book.xlsx")
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as z, z.open("xl/media/x", "w") as part:
        for _ in range(TABLES.unpacked // (1 << 20) + 1):
            part.write(bytes(1 << 20))
    assert path.stat().st_size < 2 << 20
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    with pytest.raises(CaseFileError, match=r"unpacks to 7.. MiB, at most 768 MiB are read"):
        import_drg3(path, tmp_path / "out")
    assert time.monotonic() - start < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


@pytest.mark.parametrize("rows", [1, 50_000])
def test_a_formula_among_rules_is_refused_with_its_cell(tmp_path: Path, rows: int) -> None:
    path = tmp_path / "book.xlsx"
    book = xlsxwriter.Workbook(str(path))
    sheet = book.add_worksheet("MDC")
    for k in range(rows):
        sheet.write_string(k, 0, f"MDC{k}")
    sheet.write_formula(rows, 2, "=1+1", None, "2")
    for name in list(SMALL)[1:]:
        book.add_worksheet(name)
    book.close()
    with pytest.raises(CaseFileError, match=rf"a formula in C{rows + 1} of sheet1: copy all"):
        import_drg3(path, tmp_path / "out")


def test_a_formula_among_cases_is_read_as_it_was_shown(tmp_path: Path) -> None:
    path = tmp_path / "cases.xlsx"
    book = xlsxwriter.Workbook(str(path))
    sheet = book.add_worksheet()
    sheet.write_row(0, 0, HEADER)
    sheet.write_row(1, 0, ["1", 1, 50, "K22.301", ""])
    sheet.write_formula(1, 2, "=25*2", None, 50)
    book.close()
    assert read_cases(path).table["age"].to_pylist() == [50]
