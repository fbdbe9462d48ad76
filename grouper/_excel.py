"""Tables → an Excel workbook, a column at a time.

XlsxWriter makes the workbook: sheets, formats, the frozen header, filters. Its cells cost five
microseconds each, half a minute for 200,000 results with their cases; so it writes the header and one cell
of each format, and the rows that follow are rendered here by Arrow, in the same form of the same standard
(ECMA-376, inline strings), and put in their place.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from grouper._reading import EXCEL
from grouper.errors import CaseFileError

ROWS = 1_048_575
"""Rows that a sheet holds below its header."""

MOST_TEXT = 32_767
MOST_EXACT = 10**15
"""Numbers up to this keep their digits; greater ones are written as text."""

BATCH = 1 << 14
LEVEL = 3  # of compression: half the time of 6 for a tenth more bytes
FORMATS = {"money": "0.00", "day": "yyyy-mm-dd", "time": "yyyy-mm-dd hh:mm:ss"}
EPOCH = 25_569  # 1970-01-01 as Excel counts days
FIRST_DAY = 61  # 1900-03-01: before it Excel counts a day that never was
LAST_DAY = 2_958_465  # 9999-12-31
DAY_US = 86_400_000_000
_END = "</v></c>"
_SPECIAL = r"[\x00-\x08\x0B-\x1F\x{FFFE}\x{FFFF}]|_x[0-9A-Fa-f]{4}_"
_ESCAPE = re.compile("[\x00-\x08\x0b-\x1f\ufffe\uffff]|_(?=x[0-9A-Fa-f]{4}_)")


def write_sheets(
    tables: Mapping[str, pa.Table], file: BinaryIO, name: str, flat: Callable[[Any], Any]
) -> None:
    """Write tables as the sheets of a workbook.

    Parameters
    ----------
    tables : by the title of their sheet. A column ``x_fen`` becomes yuan with two decimals under the name
        ``x``, or ``x_yuan`` where there is an ``x``. file, name : where to, and how it is called.
    flat : makes lists and dictionaries plain columns.

    Raises
    ------
    CaseFileError : XlsxWriter is not installed, or a sheet or a cell does not fit Excel.
    """
    try:
        import xlsxwriter
    except ImportError:
        raise CaseFileError(f"writing Excel needs XlsxWriter: {EXCEL}", file=name) from None
    for title, table in tables.items():
        if table.num_rows > ROWS:
            where = f"{title}: " if len(tables) > 1 else ""
            message = f"{where}{table.num_rows} rows; Excel holds {ROWS}: write .parquet or .csv"
            raise CaseFileError(message, file=name)
    blank = io.BytesIO(_template(tables, xlsxwriter.Workbook))
    with (
        zipfile.ZipFile(blank) as given,
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=LEVEL) as out,
    ):
        sheets = {f"xl/worksheets/sheet{k}.xml": t for k, t in enumerate(tables.values(), 1)}
        for member in given.infolist():
            if (table := sheets.get(member.filename)) is None:
                out.writestr(member, given.read(member), zipfile.ZIP_DEFLATED)
                continue
            new = zipfile.ZipInfo(member.filename, member.date_time)
            new.compress_type = zipfile.ZIP_DEFLATED
            with out.open(new, "w", force_zip64=True) as member_file:
                for piece in _sheet(given.read(member).decode(), table, name, flat):
                    member_file.write(piece)


def _template(tables: Mapping[str, pa.Table], open_book: Any) -> bytes:
    """Make the workbook with headers, and in the row below each a cell of every format."""
    made = io.BytesIO()
    options = {
        "in_memory": True,
        "strings_to_formulas": False,
        "strings_to_numbers": False,
        "strings_to_urls": False,
    }
    with open_book(made, options) as book:
        formats = [book.add_format({"num_format": f}) for f in FORMATS.values()]
        bold = book.add_format({"bold": True})
        for title, table in tables.items():
            sheet = book.add_worksheet(title)
            headers = headers_of(table.column_names)
            for k, header in enumerate(headers):
                sheet.write_string(0, k, header, bold)
                sheet.set_column(k, k, min(max(len(header) + 3, 9), 30))
            for k, format_ in enumerate(formats):
                sheet.write_number(1, k, 0, format_)
            sheet.freeze_panes(1, 0)
            if headers:
                sheet.autofilter(0, 0, table.num_rows, len(headers) - 1)
    return made.getvalue()


def headers_of(names: Sequence[str]) -> list[str]:
    """Return the headers of columns: money is in yuan."""
    found = []
    for name in names:
        short = name.removesuffix("_fen")
        found.append(f"{short}_yuan" if short != name and short in names else short)
    return found


# -------------------------------------------------------------------------------------------- rows


def _sheet(
    xml: str, table: pa.Table, name: str, flat: Callable[[Any], Any]
) -> Iterator[bytes | memoryview]:
    """Put the rows of a table into the XML of a sheet that has its header and its formats."""
    before, _, rest = xml.partition("<sheetData>")
    rows, _, after = rest.partition("</sheetData>")
    header = re.match(r'<row r="1".*?</row>', rows)
    styles = dict(zip(FORMATS, re.findall(r'<c r="[A-Z]+2" s="(\d+)"', rows), strict=True))
    last = f"{letters(max(table.num_columns - 1, 0))}{table.num_rows + 1}"
    before = re.sub(r'<dimension ref="[^"]*"/>', f'<dimension ref="A1:{last}"/>', before, count=1)
    yield f"{before}<sheetData>{header.group() if header else ''}".encode()
    at = 2
    for batch in table.to_batches(max_chunksize=BATCH):
        numbers = pa.array(np.arange(at, at + batch.num_rows)).cast(pa.string())
        parts: list[Any] = ['<row r="', numbers, '">']
        for k, column in enumerate(batch.columns):
            label = batch.schema.names[k]
            plain = flat(pa.chunked_array([column])).combine_chunks()
            head = pc.binary_join_element_wise(f'<c r="{letters(k)}', numbers, "")
            where = f"{name}, {label}"
            cells = _cells(plain, head, label.endswith("_fen"), styles, where, at)
            parts.append(pc.fill_null(cells, ""))
        yield _bytes(pc.binary_join_element_wise(*parts, "</row>", ""))
        at += batch.num_rows
    yield f"</sheetData>{after}".encode()


def _bytes(texts: Any) -> memoryview:
    """Return the bytes of all texts, one after the other, as they lie in memory."""
    texts = texts.cast(pa.large_string())
    offsets = np.frombuffer(texts.buffers()[1], np.int64)[
        texts.offset : texts.offset + len(texts) + 1
    ]
    return memoryview(texts.buffers()[2])[offsets[0] : offsets[-1]]


def letters(k: int) -> str:
    """Return the letters of a column, 0 = A."""
    found = ""
    k += 1
    while k:
        k, rest = divmod(k - 1, 26)
        found = chr(65 + rest) + found
    return found


def _cells(
    column: Any, head: Any, money: bool, styles: Mapping[str, str], where: str, at: int
) -> Any:
    """Render the cells of a column by its type; what Excel's numbers do not hold becomes text."""
    fits, open_, values, close = _numbers(column, money, styles)
    everywhere = (
        fits is not None and pc.all(fits).as_py() is not False
    )  # nulls are blank either way
    if everywhere:
        return pc.binary_join_element_wise(head, open_, values, close, "")
    texts = (
        _yuan(column) if money and pa.types.is_integer(column.type) else column.cast(pa.string())
    )
    inline = '" t="inlineStr"><is><t xml:space="preserve">', "</t></is></c>"
    text = pc.binary_join_element_wise(head, inline[0], _escaped(texts, where, at), inline[1], "")
    if fits is None:
        return text
    return pc.if_else(fits, pc.binary_join_element_wise(head, open_, values, close, ""), text)


def _numbers(column: Any, money: bool, styles: Mapping[str, str]) -> tuple[Any, str, Any, str]:
    """Return where a column's values fit a number, and how these are written; None = nowhere."""
    kind = column.type
    if pa.types.is_boolean(kind):
        return pc.is_valid(column), '" t="b"><v>', column.cast(pa.int8()).cast(pa.string()), _END
    if pa.types.is_integer(kind):
        fits = _between(column, -MOST_EXACT, MOST_EXACT)
        if money:
            return fits, f'" s="{styles["money"]}"><v>', _yuan(column), _END
        return fits, '"><v>', column.cast(pa.string()), _END
    if pa.types.is_decimal(kind):
        fits = _between(column.cast(pa.float64()), -MOST_EXACT, MOST_EXACT)
        return fits, '"><v>', column.cast(pa.string()), _END
    if pa.types.is_floating(kind):
        return pc.is_finite(column), '"><v>', column.cast(pa.float64()).cast(pa.string()), _END
    if pa.types.is_date(kind):
        serial = pc.add(column.cast(pa.date32()).cast(pa.int32()).cast(pa.int64()), EPOCH)
        fits = _between(serial, FIRST_DAY, LAST_DAY)
        return fits, f'" s="{styles["day"]}"><v>', serial.cast(pa.string()), _END
    if pa.types.is_timestamp(kind):
        us = column.cast(pa.timestamp("us")).cast(pa.int64()).cast(pa.float64())
        serial = pc.add(pc.divide(us, float(DAY_US)), float(EPOCH))
        fits = _between(serial, FIRST_DAY, LAST_DAY)
        return fits, f'" s="{styles["time"]}"><v>', serial.cast(pa.string()), _END
    return None, "", None, ""


def _between(column: Any, least: int, most: int) -> Any:
    return pc.and_(pc.greater_equal(column, least), pc.less_equal(column, most))


def _yuan(fen: Any) -> Any:
    """Write fen as yuan with two decimals, digit by digit."""
    whole = fen.cast(pa.int64())
    size = pc.abs(whole)
    cents = pc.utf8_lpad(
        pc.subtract(size, pc.multiply(pc.divide(size, 100), 100)).cast(pa.string()), 2, "0"
    )
    sign = pc.if_else(pc.less(whole, 0), "-", "")
    return pc.binary_join_element_wise(sign, pc.divide(size, 100).cast(pa.string()), ".", cents, "")


def _escaped(texts: Any, where: str, at: int) -> Any:
    """Escape texts for XML, signs that it cannot hold as Excel spells them.

    Raises
    ------
    CaseFileError : a text is too long for a cell.
    """
    lengths = pc.utf8_length(texts)
    if (pc.max(lengths).as_py() or 0) > MOST_TEXT:
        row = at + int(np.argmax(pc.fill_null(lengths, 0).to_numpy()))
        name, _, label = where.rpartition(", ")
        message = f"row {row}, {label}: too long for Excel; write .parquet or .csv"
        raise CaseFileError(message, file=name)
    if pc.any(pc.match_substring_regex(texts, _SPECIAL)).as_py():
        spelled = (
            None if t is None else _ESCAPE.sub(lambda m: f"_x{ord(m.group()):04X}_", t)
            for t in texts.to_pylist()
        )
        texts = pa.array(spelled, pa.string())
    for sign, name in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        texts = pc.replace_substring(texts, sign, name)
    return texts
