"""Six sheets as the authority lays them out, written by XlsxWriter; tests change one thing of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import xlsxwriter

Sheets = dict[str, list[list[Any]]]

HEADERS = {
    "MDC": ["MDC编码", "MDC名称", "MDC规则", "排序"],
    "ADRG": ["ADRG编码", "ADRG名称", "ADRG规则", "所属MDC编码", "MDC内排序"],
    "DRG": ["DRG", "DRG名称", "DRG规则", "所属ADRG编码", "所属MDC编码", "排序"],
    "集合": ["集合编号", "ICD编码", "ICD名称", "类型编号"],
    "CC": ["疾病编码", "疾病名称", "排除表", "类型"],
    "排除表": ["集合编号", "ICD编码", "ICD名称"],
}

SMALL: Sheets = {
    "MDC": [["MDCB", "神经", "ZYZD in DI_B00", 4], ["MDCO", "产科", "ZYZD in DI_O00", 17]],
    "ADRG": [
        ["BB1", "脑创伤开颅术", "ZYSS in OP_BB1", "MDCB", 1],
        ["BR1", "颅内出血", "ZYZD in DI_BR1", "MDCB", 2],
        ["B00", "", "", "MDCB", 3],
        ["OB1", "剖宫产", "ZYSS in OP_OB1", "MDCO", 1],
        ["OT1", "异位妊娠", "ZYZD in DI_OT1", "MDCO", 19],
        ["O00", "", "", "MDCO", 18],
    ],
    "DRG": [
        ["BB11", "a", "QTZD in MCC", "BB1", "MDCB", 1],
        ["BB15", "b", "", "BB1", "MDCB", 2],
        ["BR13", "c", "QTZD in {MCC, CC} and NL>=70", "BR1", "MDCB", 1],
        ["BR15", "d", "", "BR1", "MDCB", 2],
        ["B000", "", "", "B00", "MDCB", 1],
        ["OB11", "e", "ZYZD in DI_OT1 OR QTZD in MCC", "OB1", "MDCO", 1],
        ["OB15", "f", "", "OB1", "MDCO", 2],
        ["OT19", "g", "", "OT1", "MDCO", 1],
        ["O000", "", "", "O00", "MDCO", 1],
    ],
    "集合": [
        ["DI_B00", "S06.900", "颅内损伤", "1"],
        ["DI_B00", "I61.900", "脑出血", "1"],
        ["DI_B00", "G00.900", "脑膜炎", "1"],
        ["DI_BR1", "I61.900", "脑出血", "1"],
        ["DI_O00", "O00.900", "异位妊娠", "1"],
        ["DI_O00", "O82.900", "剖宫产", "1"],
        ["DI_O00", "O26.900", "妊娠", "1"],
        ["DI_OT1", "O00.900", "异位妊娠", "1"],
        ["OP_BB1", "01.2400", "开颅", "2"],
        ["OP_OB1", "74.1x00", "剖宫产", "2"],
    ],
    "CC": [
        ["J96.000", "呼衰", "EX_1", "MCC"],
        ["E11.900", "糖尿病", "EX_2", "CC"],
        ["I10.x00", "高血压", "", "CC"],
    ],
    "排除表": [["EX_1", "J96.900", "x"], ["EX_2", "E10.900", "x"], ["EX_2", "I61.900", "x"]],
}


def write_book(
    path: Path,
    sheets: Mapping[str, Sequence[Sequence[Any]]] = SMALL,
    *,
    title: bool = True,
    shifted: str = "",
    headers: Mapping[str, Sequence[str]] = HEADERS,
    order: Sequence[str] = (),
) -> Path:
    """Write the sheets; `title` = a row above each header, `shifted` = a sheet with an empty first column."""
    book = xlsxwriter.Workbook(str(path), {"constant_memory": True})
    for name in order or list(sheets):
        sheet = book.add_worksheet(name)
        at = int(name == shifted)
        rows = [*([[f"{name} 配置信息"]] if title else []), headers[name], *sheets[name]]
        for k, row in enumerate(rows):
            for j, cell in enumerate(row):
                if cell != "":
                    sheet.write(k, j + at, cell)
    book.close()
    return path


def changed(sheet: str, row: int, column: int, value: Any) -> Sheets:
    """Return `SMALL` with one cell changed."""
    sheets = {name: [list(r) for r in rows] for name, rows in SMALL.items()}
    sheets[sheet][row][column] = value
    return sheets


def with_row(sheet: str, *row: Any, at: int | None = None) -> Sheets:
    """Return `SMALL` with a row more."""
    sheets = {name: [list(r) for r in rows] for name, rows in SMALL.items()}
    rows = sheets[sheet]
    rows.insert(len(rows) if at is None else at, list(row))
    return sheets
