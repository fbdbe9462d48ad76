"""A region's own tables become a scheme: the six tables in any dress, or a rule sheet through a map."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import pytest
import xlsxwriter
from drg3_book import HEADERS, SMALL
from shared import shared
from tiny import Answer, Both, case

from grouper import CaseFileError, ImportReport, TableError, import_drg3, load_drg
from grouper._import_tables import import_tables

pytest.importorskip("python_calamine")

Sheets = dict[str, list[list[Any]]]


def write_folder(folder: Path, given: Sheets, encoding: str = "utf-8") -> Path:
    folder.mkdir(parents=True)
    for name, rows in given.items():
        with (folder / f"{name}.csv").open("w", encoding=encoding, newline="") as f:
            csv.writer(f).writerows(rows)
    return folder


def write_book(path: Path, given: Sheets) -> Path:
    book = xlsxwriter.Workbook(str(path), {"constant_memory": True})
    for name, rows in given.items():
        sheet = book.add_worksheet(name)
        for k, row in enumerate(rows):
            sheet.write_row(k, 0, row)
    book.close()
    return path


def write_map(path: Path, text: str) -> Path:
    path.write_text(text, "utf-8")
    return path


def rows_in(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8-sig", newline="") as f:
        return list(csv.reader(f))


# ------------------------------------------------------------------------------- real regions' tables


@pytest.mark.big
def test_a_workbook_says_what_the_folder_says(tmp_path: Path) -> None:
    source = shared("facts/drg_beijing_2022")
    tables = {"mdc": "MDC", "adrg": "ADRG", "drg": "DRG", "sets": "集合", "cc": "CC"}
    tables["exclusions"] = "排除表"
    given: Sheets = {}
    for table, sheet in tables.items():
        _, *rows = rows_in(source / f"{table}.csv")
        header = HEADERS[sheet]
        if table == "cc":
            rows = [[code, "", exclusion, kind] for code, kind, exclusion in rows]
        given[sheet] = [[f"{sheet}配置"], header, *([*r, ""][: len(header)] for r in rows)]
    book = write_book(tmp_path / "region.xlsx", given)
    options = '[scheme]\nnever_excluded = ["EX_999"]\nextra_variables = ["ZYTS"]\n'
    columns = write_map(tmp_path / "map.toml", f'source = "a notice"\n{options}')
    report = import_tables(book, tmp_path / "out", columns=columns, id="beijing-2022")
    assert load_drg(tmp_path / "out").fingerprint == load_drg(source).fingerprint
    assert report.counts["sets"] == 99_307
    text = (tmp_path / "out" / "scheme.toml").read_text("utf-8")
    assert report.sha256 in text
    assert "a notice" in text


# ---------------------------------------------------------------------------------- the six tables

OURS = {
    "MDC": "mdc",
    "ADRG": "adrg",
    "DRG": "drg",
    "集合": "sets",
    "CC": "cc",
    "排除表": "exclusions",
}


def small(names: bool = False) -> Sheets:
    """Return six small tables, headed as in the 3.0 workbook; `names` = our names of tables."""
    return {
        OURS[s] if names else s: [list(HEADERS[s]), *([*r] for r in rows)]
        for s, rows in SMALL.items()
    }


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("usual")
    book = write_book(folder / "b.xlsx", small())
    (folder / "o.toml").write_text('newborn_weight = "birth"\n', "utf-8")
    import_drg3(book, folder / "out", options=folder / "o.toml", id="small")
    return load_drg(folder / "out").fingerprint


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
@pytest.mark.parametrize("names", [False, True])
def test_folders_of_any_encoding_and_either_naming(
    tmp_path: Path, usual: str, encoding: str, names: bool
) -> None:
    given = small(names)
    o00 = next(k for k, r in enumerate(given["adrg" if names else "ADRG"]) if r[0] == "O00")
    rows = given["adrg" if names else "ADRG"]
    assert o00 == len(rows) - 1  # the remainder stands last by row, whatever its sort says
    folder = write_folder(tmp_path / "in", given, encoding)
    import_tables(folder, tmp_path / "out", id="small")
    assert load_drg(tmp_path / "out").fingerprint == usual


def test_headers_and_sheets_may_be_mapped(tmp_path: Path, usual: str) -> None:
    given = small()
    given["主要大类"] = given.pop("MDC")
    given["主要大类"][0] = ["代号", "名", "条 件", "次序"]
    given["CC"][0] = ["编码A", "名称", "表", "级"]
    columns = write_map(
        tmp_path / "map.toml",
        '[sheets]\nmdc = "主要大类.csv"\n[columns.mdc]\ncode = "代号"\nname = "名"\nrule = "条件"\n'
        'sort = "次序"\n[columns.cc]\ncode = "编码A"\nexclusion = "表"\ntype = "级"\n',
    )
    folder = write_folder(tmp_path / "in", given)
    report = import_tables(folder, tmp_path / "out", columns=columns, id="small")
    assert load_drg(tmp_path / "out").fingerprint == usual
    assert report.ignored_columns == []


def test_what_is_left_out_is_filled_in_and_said(tmp_path: Path, usual: str) -> None:
    given = small()
    given["ADRG"] = [r[:4] for r in given["ADRG"]]
    given["DRG"] = [r[:4] for r in given["DRG"]]
    report = import_tables(write_folder(tmp_path / "in", given), tmp_path / "out", id="small")
    assert load_drg(tmp_path / "out").fingerprint == usual
    assert "DRG: in 9 rows a blank sort or MDC was filled in" in report.findings


def test_repeats_dirt_and_unread_things_are_said(tmp_path: Path, usual: str) -> None:
    given = small()
    given["集合"] += [given["集合"][1], ["DI_B00\xa0", "Ｓ06.900", "", ""]]
    given["CC"].append(given["CC"][1])
    given["DRG"].append(given["DRG"][1])
    given["MDC"] = [[*r, "x"] for r in given["MDC"]]
    given["MDC"][0][4] = "备注"
    given["说明"] = [["x"]]
    report = import_tables(write_folder(tmp_path / "in", given), tmp_path / "out", id="small")
    assert load_drg(tmp_path / "out").fingerprint == usual
    assert report.repeats == 4
    assert report.cleaned_cells == 2
    assert report.ignored_columns == ["MDC: 备注"]
    assert "sheet '说明' is not read" in report.findings


def test_the_order_of_rows_is_kept_whatever_sort_says(tmp_path: Path) -> None:
    given = small()
    given["ADRG"][1:3] = given["ADRG"][2:0:-1]
    import_tables(write_folder(tmp_path / "in", given), tmp_path / "out")
    assert [a.code for a in load_drg(tmp_path / "out").adrgs][:2] == ["BR1", "BB1"]


def test_a_scheme_toml_beside_the_tables_is_taken_over(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "in", small())
    text = 'id = "old"\ntitle = "Old"\ngrey_principal = "ungrouped"\n[sources]\na = "b"\n'
    (folder / "scheme.toml").write_text(text, "utf-8")
    columns = write_map(tmp_path / "m.toml", '[scheme]\nnewborn_weight = "admission"\n')
    import_tables(folder, tmp_path / "out", columns=columns, title="New")
    settings = load_drg(tmp_path / "out").settings
    assert (settings.id, settings.title) == ("old", "New")
    assert (settings.grey_principal, settings.newborn_weight) == ("ungrouped", "admission")
    assert settings.sources["a"] == "b"


def refusal(folder: Path, source: Path, columns: str = "") -> str:
    given = write_map(folder / "map.toml", columns) if columns else None
    with pytest.raises(TableError) as e:
        import_tables(source, folder / "out", columns=given)
    assert not (folder / "out").exists()
    assert not list(folder.glob(".out*"))
    return str(e.value)


@pytest.mark.parametrize(
    ("table", "row", "column", "value", "match"),
    [
        ("MDC", 1, 3, "x", "in · MDC:2: row 2: sort 'x' is no whole number"),
        ("ADRG", 1, 3, "MDCX", "in · ADRG:2: row 2: MDCX is no MDC"),
        (
            "ADRG",
            1,
            2,
            "ZYSS in OP_X",
            "in · ADRG:2: row 2: no rows for set OP_X; known_empty_sets",
        ),
        ("DRG", 1, 2, "QTZD im MCC", "in · DRG:2: row 2: .*'in' or 'not in'"),
        ("DRG", 1, 0, "", "in · DRG:2: row 2: code is blank"),
        ("集合", 1, 1, "", "in · 集合:2: row 2: code is blank"),
        ("CC", 1, 3, "XX", "in · CC:2: row 2: type 'XX' is neither"),
        ("CC", 1, 2, "EX_9", "in · CC:2: row 2: EX_9 is no exclusion table; never_excluded"),
        ("排除表", 0, 1, "编", "排除表.*: no (header|column)"),
    ],
)
def test_refusals_of_the_six_tables_name_sheet_row_and_cure(
    tmp_path: Path, table: str, row: int, column: int, value: str, match: str
) -> None:
    given = small()
    given[table][row][column] = value
    assert re.search(match, refusal(tmp_path, write_folder(tmp_path / "in", given)))


def test_missing_and_doubtful_tables_are_refused(tmp_path: Path) -> None:
    given = {k: v for k, v in small().items() if k != "集合"}
    assert "no table sets (集合); it has" in refusal(tmp_path, write_folder(tmp_path / "a", given))
    given = {**small(), "CC2": small()["CC"]}
    folder = write_folder(tmp_path / "b", given)
    assert "'CC' and 'CC2' are both taken for cc; map one" in refusal(tmp_path, folder)
    import_tables(folder, tmp_path / "ok", columns=write_map(tmp_path / "m", '[sheets]\ncc = "CC"'))
    whole = write_folder(tmp_path / "c", small())
    assert "no sheet 'x'; there are" in refusal(tmp_path, whole, '[sheets]\ncc = "x"')
    assert "'xx' is no table; known: mdc" in refusal(tmp_path, whole, '[sheets]\nxx = "CC"')
    assert "'x' is no column; known: code" in refusal(tmp_path, whole, '[columns.cc]\nx = "CC"')
    assert "sheetz" in refusal(tmp_path, whole, '[sheetz]\nx = "CC"')
    said = refusal(tmp_path, whole, "[scheme]\nsources = 3")
    assert "map.toml:2: sources: Input should be" in said
    said = refusal(tmp_path, whole, '[scheme]\ncolour = "red"')
    assert "map.toml:2: colour: Extra inputs" in said
    assert "not imported" in refusal(tmp_path, whole, '[scheme]\ninherits = "chs-drg-1.1"')


def test_sources_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"\xff\xff\xff")
    with pytest.raises(CaseFileError, match="neither UTF-8 nor GB18030 at byte 0"):
        import_tables(tmp_path / "a.csv", tmp_path / "out")
    (tmp_path / "b.csv").write_bytes(b'a,b\n"c,d\n')
    with pytest.raises(CaseFileError, match="no CSV table"):
        import_tables(tmp_path / "b.csv", tmp_path / "out")
    with pytest.raises(CaseFileError, match="cannot be read"):
        import_tables(tmp_path / "c.csv", tmp_path / "out")
    (tmp_path / "d").mkdir()
    with pytest.raises(CaseFileError, match="no CSV files"):
        import_tables(tmp_path / "d", tmp_path / "out")
    import_tables(write_folder(tmp_path / "in", small()), tmp_path / "out")
    with pytest.raises(CaseFileError, match="overwrite"):
        import_tables(tmp_path / "in", tmp_path / "out")
    import_tables(tmp_path / "in", tmp_path / "out", overwrite=True)


# ------------------------------------------------------------- a rule sheet: a scheme made by hand

MAP = """
id = "seventh"
title = "A seventh region"
source = "made by hand"

[rules]
sheet = "病组"
[rules.columns]
code = "病组"
name = "名称"
mdc = "大类"
principal = "主诊断"
other = "次诊断"
main = "主手术"
any_procedure2 = "第二手术"
logic = "逻辑"

[mdcs]
sheet = "大类"
[mdcs.columns]
code = "大类"
name = "名称"
principal = "诊断"

[drgs]
sheet = "细分"
[drgs.columns]
code = "细分组"
name = "名称"
rule = "条件"

[mcc]
sheet = "严重"
[mcc.columns]
code = "编码"
exclusion = "排除"

[cc]
sheet = "一般"
[cc.columns]
code = "编码"
exclusion = "排除"

[exclusions]
sheet = "排除"
[exclusions.columns]
exclusion = "表"
principal = "诊断"

[readings]
ambiguous = false
"""

SEVENTH: Sheets = {
    "病组": [
        ["七区病组"],
        ["病组", "名称", "大类", "主诊断", "次诊断", "主手术", "第二手术", "逻辑", "备注"],
        ["GB1", "联合", "MDCG", "", "", "43.5x00|45.7300+47.0900;45.7600", "", "", "x"],
        ["GC1", "双术", "MDCG", "K35.300、K36.x00", "", "47.0100", "54.2100", "", ""],
        [
            "GD1",
            "或",
            "G",
            "K35.300",
            "E11.900",
            "47.0900",
            "",
            "principal and (other or main)",
            "",
        ],
        ["GZ1", "其他", "MDCG", "K35.300|K36.x00|A01.002+G01*", "", "", "", "", ""],
        ["HR1", "肝", "", "K70.300", "", "", "", "主要诊断 且 年龄>=18岁", ""],
    ],
    "大类": [
        ["大类", "名称", "诊断"],
        ["MDCG", "消化", "K35.300|K36.x00|A01.002+G01*"],
        ["H", "肝胆", "K70.300"],
        ["", "", "K70.400"],
    ],
    "细分": [
        ["细分组", "名称", "条件"],
        ["GB19", "联合", ""],
        ["GC19", "双术", ""],
        ["GD11", "或，伴严重并发症或合并症", ""],
        ["GD15", "或，不伴并发症或合并症", ""],
        ["GZ11", "其他一", "ZYTS>3"],
        ["GZ13", "其他二", "CC"],
        ["GZ15", "其他三", "不伴"],
        ["HR19", "肝", ""],
    ],
    "严重": [["编码", "排除"], ["J96.000", "1"]],
    "一般": [["编码", "排除"], ["I10.x00", "无"]],
    "排除": [["表", "诊断"], ["1", "K70.300、K70.400"]],
}


def seventh(tmp_path: Path, given: Sheets = SEVENTH, text: str = MAP) -> tuple[Both, ImportReport]:
    tmp_path.mkdir(exist_ok=True)
    columns = write_map(tmp_path / "map.toml", text)
    report = import_tables(write_folder(tmp_path / "in", given), tmp_path / "out", columns=columns)
    return Both(tmp_path / "out"), report


def landed(a: Answer) -> tuple[str, str]:
    return a.status, a.group


@pytest.fixture(scope="module")
def by_hand(tmp_path_factory: pytest.TempPathFactory) -> Both:
    return seventh(tmp_path_factory.mktemp("seventh"))[0]


@pytest.mark.parametrize(
    ("given", "answer"),
    [
        (case("K35.300", px=["43.5x00"]), ("grouped", "GB19")),
        (case("K35.300", px=["45.7600"]), ("grouped", "GB19")),
        (case("K35.300", px=["47.0900", "45.7300"], los=1), ("grouped", "GB19")),  # in either order
        (case("K35.300", px=["45.7300"], los=1), ("grouped", "GZ15")),
        (case("K36.x00", px=["54.2100", "47.0100"], los=1), ("grouped", "GZ15")),
        (case("K36.x00", px=["47.0100", "54.2100"], los=1), ("grouped", "GC19")),
        (case("K35.300", "E11.900"), ("grouped", "GD15")),
        (case("K35.300", "E11.900", "J96.000"), ("grouped", "GD11")),
        (case("K35.300", px=["47.0900"]), ("grouped", "GD15")),
        (case("K35.300", "I10.x00", los=4), ("grouped", "GZ11")),
        (case("K35.300", "I10.x00", los=3), ("grouped", "GZ13")),
        (case("A01.002+G01*", los=3), ("grouped", "GZ15")),
        (case("K70.300", age=18), ("grouped", "HR19")),
        (case("K70.300", age=17), ("ungrouped", "")),
        (case("K70.400", age=18), ("ungrouped", "")),
    ],
)
def test_a_scheme_made_by_hand_groups_as_a_person_does(
    by_hand: Both, given: dict[str, Any], answer: tuple[str, str]
) -> None:
    assert landed(by_hand.group(given)[0]) == answer


def test_lists_and_logic_become_rules(by_hand: Both, tmp_path: Path) -> None:
    scheme = by_hand.scheme
    assert (scheme.id, scheme.title) == ("seventh", "A seventh region")
    assert {a.code: a.text for a in scheme.adrgs} == {
        "GB1": "ZYSS in OP_GB1 or ({ZYSS, QTSS} in OP_GB1.1.1 and {ZYSS, QTSS} in OP_GB1.1.2)",
        "GC1": "ZYZD in DI_GC1 and ZYSS in OP1_GC1 and {ZYSS, QTSS} in OP2_GC1",
        "GD1": "ZYZD in DI1_GD1 and (QTZD in DI2_GD1 or ZYSS in OP_GD1)",
        "GZ1": "ZYZD in DI_GZ1",
        "HR1": "ZYZD in DI_HR1 and NL>=18",
    }
    assert scheme.set_codes["DI_H00"] == {"K70.300", "K70.400"}
    _, report = seventh(tmp_path / "b")
    assert report.counts == {"MDC": 2, "ADRG": 5, "DRG": 8}
    assert report.ignored_columns == ["病组: 备注"]


def test_a_row_for_each_list_says_the_same(by_hand: Both, tmp_path: Path) -> None:
    rows: list[list[Any]] = [["病组", "大类", "列表", "编码", "逻辑"]]
    labels = {3: "主要诊断", 4: "其他诊断", 5: "主要手术或操作", 6: "手术或操作2"}
    for r in SEVENTH["病组"][2:]:
        for k, label in labels.items():
            codes = [c for c in re.split("[|;、]", r[k]) if c]
            rows += [[r[0], r[2], label, c, r[7]] for c in codes]
    text = re.sub(r'name = "名称"\nmdc = "大类"\n(?:.*\n){4}', 'mdc = "大类"\n', MAP, count=1)
    text = text.replace('logic = "逻辑"', 'logic = "逻辑"\nlist = "列表"\ncodes = "编码"')
    both, _ = seventh(tmp_path / "b", {**SEVENTH, "病组": rows}, text)
    mine, theirs = both.scheme, by_hand.scheme
    assert {a.code: a.text for a in mine.adrgs} == {a.code: a.text for a in theirs.adrgs}
    assert mine.set_codes == theirs.set_codes


def test_a_workbook_of_lists_says_the_same(by_hand: Both, tmp_path: Path) -> None:
    columns = write_map(tmp_path / "map.toml", MAP)
    book = write_book(tmp_path / "b.xlsx", SEVENTH)
    import_tables(book, tmp_path / "out", columns=columns)
    assert load_drg(tmp_path / "out").fingerprint == by_hand.scheme.fingerprint


def test_signs_of_lists_are_the_maps(by_hand: Both, tmp_path: Path) -> None:
    given = {**SEVENTH, "病组": [list(r) for r in SEVENTH["病组"]]}
    for row in given["病组"][2:]:
        row[5] = row[5].replace("+", "&").replace("|", "/").replace(";", "/")
        row[3] = row[3].replace("|", "/").replace("、", "/")
    text = MAP.replace('sheet = "病组"', 'sheet = "病组"\nany_of = "/"\nall_of = "&"')
    both, _ = seventh(tmp_path / "b", given, text)
    assert both.scheme.fingerprint == by_hand.scheme.fingerprint


def test_codes_that_stand_twice_are_counted(by_hand: Both, tmp_path: Path) -> None:
    given = {**SEVENTH, "病组": [list(r) for r in SEVENTH["病组"]]}
    given["病组"][3][3] += "|K36.x00"
    given["病组"][2][5] += "|45.7300+47.0900"
    given["一般"] = [*SEVENTH["一般"], SEVENTH["一般"][1]]
    given["排除"] = [*SEVENTH["排除"], SEVENTH["排除"][1]]
    both, report = seventh(tmp_path / "b", given)
    assert report.repeats == 5
    assert both.scheme.fingerprint == by_hand.scheme.fingerprint


def test_readings_and_grey_codes_belong_to_rule_sheets_too(tmp_path: Path) -> None:
    text = MAP.replace("ambiguous = false", 'ambiguous = true\ngrey_principal = "ungrouped"')
    text += '[grey_diagnoses]\nsheet = "灰码"\n[grey_diagnoses.columns]\ncode = "编码"\n'
    given = {**SEVENTH, "灰码": [["编码"], ["K36.x00"]]}
    both, report = seventh(tmp_path, given, text)
    both = Both(both.folder, both.folder / "codes")
    assert landed(both("K35.300", px=["54.2100"])) == ("ambiguous", "GQY")
    assert both("K36.x00").reason == "grey_principal"
    assert "1 diagnoses, grey_principal = ungrouped" in "\n".join(report.findings)


def changed(sheet: str, row: int, column: int, value: str) -> Sheets:
    given = {**SEVENTH, sheet: [list(r) for r in SEVENTH[sheet]]}
    given[sheet][row][column] = value
    return given


@pytest.mark.parametrize(
    ("sheet", "row", "column", "value", "match"),
    [
        ("病组", 2, 0, "G1", "in · 病组:3: row 3: code: 'G1' is no ADRG"),
        (
            "病组",
            3,
            3,
            "阑尾炎",
            "in · 病组:4: row 4: principal: '阑尾炎' is no code of a list 主要诊断",
        ),
        ("病组", 3, 5, "K35.300", "in · 病组:4: row 4: main: 'K35.300' is no code"),
        ("病组", 4, 7, "main + 肝", "in · 病组:5: GD1: '肝' is not known"),
        ("病组", 4, 7, "main + (other", "in · 病组:5: GD1: a bracket is not closed"),
        ("病组", 4, 7, "main2", "in · 病组:5: GD1: 主要手术或操作2 is named in"),
        ("病组", 2, 7, "not main", "in · 病组:3: GB1: .*combinations"),
        ("病组", 5, 3, "", "in · 病组:6: GZ1 has neither a list nor a condition"),
        ("病组", 5, 2, "MDCX", "in · 病组:6: mdc: GZ1 is in MDCX, which \\[mdcs\\] lacks"),
        ("大类", 1, 0, "1", "in · 大类:2: row 2: code: '1' is no MDC"),
        ("大类", 1, 2, "?", "in · 大类:2: row 2: principal: '\\?' is no diagnosis code"),
        ("细分", 1, 0, "XX19", "in · 细分:2: row 2: adrg: 'XX1' of 'XX19' is no ADRG"),
        ("细分", 2, 0, "GB19", "in · 细分:3: row 3: code: GB19 stands in row 2 too"),
        ("细分", 5, 2, "住院久", "in · 细分:6: '住院久' is neither words .*column 1"),
        ("严重", 1, 1, "2", "in · 严重:2: row 2: exclusion: '2' has no rows; never_excluded"),
        ("严重", 1, 0, "x", "in · 严重:2: row 2: code 'x', type 'MCC'"),
        ("排除", 1, 1, "?", "in · 排除:2: row 2: exclusion '1', principal '\\?'"),
    ],
)
def test_refusals_of_rule_sheets_name_sheet_row_and_column(
    tmp_path: Path, sheet: str, row: int, column: int, value: str, match: str
) -> None:
    folder = write_folder(tmp_path / "in", changed(sheet, row, column, value))
    assert re.search(match, refusal(tmp_path, folder, MAP))


@pytest.mark.parametrize(
    ("before", "after", "match"),
    [
        ('[rules]\nsheet = "病组"', "[rules]", "map.toml: \\[rules\\] names no sheet"),
        ('sheet = "病组"', 'sheet = "组"', "map.toml: no sheet '组'; there are"),
        ('code = "病组"\n', "", "map.toml: \\[rules.columns\\] needs code"),
        ('other = "次诊断"', 'others = "次诊断"', "map.toml: .*'others' is not known"),
        ('other = "次诊断"', 'other = "次"', "病组.*no column 次"),
        ('[drgs]\nsheet = "细分"\n[drgs.columns]\ncode = "细分组"\nname = "名称"\nrule = "条件"\n', "",
         "map.toml: a rule sheet needs \\[drgs\\]"),
        ('[exclusions]\nsheet = "排除"\n[exclusions.columns]\nexclusion = "表"\nprincipal = "诊断"\n', "",
         "严重:2: .*exclusion: '1' has no rows"),
        ("ambiguous = false", "ambiguous = false\n[scheme]\nnever_excluded = 3",
         "map.toml:.*never_excluded: Input should be"),
        ("ambiguous = false", "ambigous = false", "map.toml:.*ambigous"),
    ],
)  # fmt: skip
def test_maps_that_do_not_fit_are_refused(
    tmp_path: Path, before: str, after: str, match: str
) -> None:
    assert before in MAP
    folder = write_folder(tmp_path / "in", SEVENTH)
    assert re.search(match, refusal(tmp_path, folder, MAP.replace(before, after, 1)))


def test_sites_order_and_logic_in_parts(tmp_path: Path) -> None:
    given: Sheets = {
        "病组": [
            ["病组", "大类", "主手术", "逻辑"],
            ["ZB1", "MDCZ", "01.2400", "main"],
            ["ZB1", "", "34.0200", "年龄>=70岁"],
            ["", "MDCZ", "34.0201", "年龄>=70岁"],
            ["BZ1", "MDCB", "", "年龄>=0岁"],
        ],
        "大类": [
            ["大类", "名称", "诊断", "次序", "部位"],
            ["MDCB", "", "S06.900、S27.000", "1", ""],
            ["MDCZ", "", "S06.900", "0", "头"],
            ["MDCZ", "", "S27.000", "", "胸"],
        ],
        "细分": [["细分组", "名称", "条件"], ["ZB19", "", ""], ["BZ19", "", ""]],
        **{k: SEVENTH[k] for k in ("严重", "一般", "排除")},
    }
    text = re.sub(
        r'name = "名称"\nmdc = "大类"\n(?:.*\n){4}', 'mdc = "大类"\nmain = "主手术"\n', MAP, count=1
    )
    text = text.replace(
        'principal = "诊断"\n', 'principal = "诊断"\norder = "次序"\nsite = "部位"\n', 1
    )
    both, _ = seventh(tmp_path / "a", given, text)
    assert [m.code for m in both.scheme.mdcs] == ["MDCZ", "MDCB"]
    assert both.scheme.adrgs[0].text == "ZYSS in OP_ZB1 or NL>=70"
    assert landed(both("S06.900", "S27.000", px=["34.0201"])) == ("grouped", "ZB19")
    assert landed(both("S06.900", px=["34.0201"])) == ("grouped", "BZ19")
    unordered = text.replace('order = "次序"\n', "")
    both, report = seventh(tmp_path / "b", given, unordered)
    assert [m.code for m in both.scheme.mdcs] == ["MDCZ", "MDCB"]  # first in any case
    assert report.ignored_columns == ["大类: 次序"]
    given["大类"][1][3], given["大类"][2][3] = "0", "1"
    both, _ = seventh(tmp_path / "c", given, text)
    assert [m.code for m in both.scheme.mdcs] == ["MDCB", "MDCZ"]
    given["病组"][2][1] = "MDCB"
    folder = write_folder(tmp_path / "in", given)
    assert "row 3: mdc: ZB1 is in MDCB here and in MDCZ above" in refusal(tmp_path, folder, text)


def test_levels_that_contradict_or_are_never_excluded(tmp_path: Path) -> None:
    given = {**SEVENTH, "严重": [["编码", "排除"], ["J96.000", "1"], ["J96.000", "无"]]}
    said = refusal(tmp_path, write_folder(tmp_path / "in", given), MAP)
    assert "in · 严重:3: row 3: exclusion: MCC J96.000 has two exclusion tables" in said
    given["严重"] = [["编码", "排除"], ["J96.000", "EX_999"]]
    text = MAP + '[scheme]\nnever_excluded = ["EX_999"]\n'
    both, _ = seventh(tmp_path / "b", given, text)
    assert both.scheme.mcc == {"J96.000": "EX_999"}


def test_types_may_be_written_small(tmp_path: Path, usual: str) -> None:
    given = small()
    for row in given["CC"][1:]:
        row[3] = row[3].lower()
    import_tables(write_folder(tmp_path / "in", given), tmp_path / "out", id="small")
    assert load_drg(tmp_path / "out").fingerprint == usual
