"""The 2.0 plan in its list layout becomes a scheme; each reading changes the case it is about.

The sheets are made up here in the layout of the plan: few codes, every kind of condition that it knows.
"""

from __future__ import annotations

import copy
import csv
import re
from pathlib import Path
from typing import Any

import pytest
import xlsxwriter
from tiny import Answer, Both, case

from grouper import CaseFileError, ImportReport, TableError, load_drg
from grouper._import_drg2 import import_drg2, scheme_places
from grouper._import_drg2_plan import Drg2Options
from grouper._import_lists import Entry, label_of, name_sets, split_of
from grouper._import_lists_logic import read_logic
from grouper.tables import text_of

pytest.importorskip("python_calamine")

Sheets = dict[str, list[list[Any]]]


def listed(mdc: str, adrg: str, *rows: str) -> list[list[Any]]:
    """Rows of the sheet of conditions: statements and codes, MDC and ADRG in the first one only."""
    return [[mdc if k == 0 else "", adrg if k == 0 else "", r, ""] for k, r in enumerate(rows)]


def sheets() -> Sheets:
    main = [["CHS-DRG 2.0 主诊表"], ["序号", "MDC编码", "诊断编码", "诊断名称", "部位"]]
    by_mdc = {
        "MDCB": ["G40.900", "I61.900", "S06.900", "G00.900"],
        "MDCC": ["H25.900"],
        "MDCM": ["C61.x00"],
        "MDCN": ["C53.900"],
        "MDCO": ["O82.900", "O02.100", "O04.900", "O26.900"],
        "MDCP": ["P07.300", "P22.000", "P35.000"],
        "MDCV": ["T14.900"],
        "MDCW": ["T31.000", "T31.500"],
        "MDCY": ["B20.000", "B24.x01"],
    }
    main += [["", mdc, code, "名称", ""] for mdc, codes in by_mdc.items() for code in codes]
    sites = {"头颈部创伤": ["S06.900", "S11.900"], "胸部创伤": ["S27.000"], "腹部创伤": ["S36.000"]}
    main += [["", "MDCZ", code, "名称", site] for site, codes in sites.items() for code in codes]
    conditions = [
        ["MDC", "ADRG", "编码", "名称"],
        *listed("MDCA", "AB1", "AB1 肝移植", "包含以下主要手术或操作：", "50.5900"),
        *listed("MDCA", "AC1", "同时包含以下手术或操作：", "52.8000", "和", "55.6900"),
        *listed("MDCB", "BB1", "包含以下主要诊断：", "S06.900", "包含以下主要手术或操作：", "01.2400"),
        *listed("MDCB", "BC1", "包含以下主要手术或操作且全部手术或操作中有2个及以上：", "03.0900", "03.5300"),
        *listed("MDCB", "BR1", "包含以下主要诊断：", "I61.900"),
        *listed("MDCB", "BZ1", "包含以下主要诊断或其他诊断：", "G40.900"),
        *listed("MDCC", "CB1", "同时包含CB2和CB3的手术或操作"),
        *listed("MDCC", "CB2", "包含以下主要手术或操作：", "13.4100"),
        *listed("MDCC", "CB3", "包含以下主要手术或操作：", "12.6400"),
        *listed("MDCC", "CZ1", "包含以下主要诊断：", "H25.900"),
        *listed("MDCM", "MR1", "包含以下主要诊断：", "C61.x00"),
        *listed("MDCN", "NA1", "入组条件1：主要诊断+主要手术或操作1", "或入组条件2：主要诊断+手术或操作2+",
                "手术或操作3", "主要诊断：", "C53.900", "主要手术或操作1：", "68.6100",
                "手术或操作2：", "68.4100", "手术或操作3：", "40.5900"),
        *listed("MDCN", "NR1", "包含以下主要诊断：", "C53.900"),
        *listed("MDCO", "OF1", "入组条件：(主要诊断1 或 (主要诊断2 + 其他诊断)) + 主要手术或操作",
                "主要诊断1：", "O02.100", "主要诊断2：", "O04.900", "其他诊断：", "Z35.900",
                "主要手术或操作：", "69.0100"),
        *listed("MDCO", "OZ1", "包含以下主要诊断：", "O82.900", "O26.900"),
        *listed("MDCP", "PB1", "包含以下主要手术或操作：", "35.0000"),
        *listed("MDCP", "PS1", "包含以下主要诊断或其他诊断：", "P07.300"),
        *listed("MDCP", "PS2", "包含以下主要诊断或其他诊断：", "P07.300"),
        *listed("MDCP", "PU1", "包含以下主要诊断：", "P22.000"),
        *listed("MDCP", "PV1", "包含以下主要诊断：", "P35.000"),
        *listed("MDCV", "VJ1", "包含除WB1、WB2之外的所有手术或操作"),
        *listed("MDCV", "VR1", "包含以下主要诊断：", "T14.900"),
        *listed("MDCW", "WB1", "包含以下其他诊断：", "T31.500", "包含以下主要手术或操作：", "86.6900"),
        *listed("MDCW", "WB2", "包含以下主要手术或操作：", "86.2200"),
        *listed("MDCW", "WJ1", "包含全部手术或操作"),
        *listed("MDCW", "WR2", "包含以下主要诊断：", "T31.000", "或包含以下其他诊断：", "T31.500"),
        *listed("MDCY", "YC1", "包含全部手术或操作："),
        *listed("MDCY", "YR1", "包含以下诊断：", "B20.000", "B24.x01"),
        *listed("MDCZ", "ZB1", "包含以下主要手术或操作：", "01.2400"),
        *listed("MDCZ", "ZZ1", "符合MDCZ主诊表，且无手术或操作"),
    ]  # fmt: skip
    names = {
        "AB1": "肝移植",
        "PS1": "极度发育不全（出生体重＜1500g）",
        "PS2": "早产儿（出生体重1500-1999g）",
        "PV1": "源于新生儿（29天≤出生年龄＜1周岁）诊断的婴儿疾患",
    }
    adrgs = list(dict.fromkeys(row[1] for row in conditions[1:] if row[1]))
    split = {
        "BB1": {
            "BB11": "伴严重并发症或合并症",
            "BB13": "伴并发症或合并症",
            "BB15": "不伴并发症或合并症",
        },
        "BR1": {"BR11": "伴严重或一般合并症或并发症", "BR15": "不伴合并症或并发症"},
    }
    drgs = [["序号", "ADRG", "DRG", "DRG名称"]]
    for adrg in adrgs:
        name = names.get(adrg, f"{adrg}组")
        rows = split.get(adrg)
        if rows:
            drgs += [["", adrg, code, f"{name}，{words}"] for code, words in rows.items()]
        else:
            drgs.append(["", adrg, f"{adrg}9", name])
    return {
        "主诊表": main,
        "入组条件": conditions,
        "ADRG": [["ADRG编码", "ADRG名称"], *([a, names.get(a, f"{a}组")] for a in adrgs)],
        "DRG组": drgs,
        "MCC": [["序号", "编码", "名称", "排除表"], ["1", "J96.000", "呼衰", "表1"]],
        "CC": [
            ["序号", "编码", "名称", "排除表"],
            ["1", "E11.900", "糖尿病", "表2"],
            ["2", "I10.x00", "高血压", "无"],
        ],
        "排除表": [["序号", "排除表", "编码", "名称"], ["1", "1", "I61.900", ""], ["2", "2", "S06.900", ""]],
        "不作为主诊": [["序号", "编码", "名称"], ["1", "G00.900", "x"]],
        "不作为主手术": [["序号", "编码", "名称"], ["1", "99.9999", "x"], ["2", "86.2200", "x"]],
    }  # fmt: skip


def write_book(path: Path, given: Sheets) -> Path:
    book = xlsxwriter.Workbook(str(path))
    for name, rows in given.items():
        sheet = book.add_worksheet(name)
        for k, row in enumerate(rows):
            sheet.write_row(k, 0, row)
    book.close()
    return path


def write_folder(folder: Path, given: Sheets, encoding: str = "utf-8") -> Path:
    folder.mkdir()
    for name, rows in given.items():
        with (folder / f"{name}.csv").open("w", encoding=encoding, newline="") as f:
            csv.writer(f).writerows(rows)
    return folder


def imported(
    folder: Path, options: str = "", given: Sheets | None = None, name: str = "out"
) -> tuple[Both, ImportReport]:
    folder.mkdir(exist_ok=True)
    book = write_book(folder / "plan.xlsx", given or sheets())
    (folder / "options.toml").write_text(options, "utf-8")
    report = import_drg2(
        book, folder / name, options=folder / "options.toml", id="plan", title="a plan"
    )
    codes = folder / name / "codes"
    return Both(folder / name, codes if codes.exists() else None), report


def refusal(folder: Path, given: Sheets, options: str = "") -> str:
    with pytest.raises(TableError) as e:
        imported(folder, options, given)
    assert not (folder / "out").exists()
    assert not list(folder.glob(".out*"))
    return str(e.value)


def rules(both: Both, table: str = "adrg") -> dict[str, str]:
    rows = {"mdc": both.scheme.mdcs, "adrg": both.scheme.adrgs, "drg": both.scheme.drgs}[table]
    return {r.code: r.text for r in rows}


def landed(a: Answer) -> tuple[str, str]:
    return a.status, a.group


def test_every_kind_of_condition_becomes_its_rule(tmp_path: Path) -> None:
    found = rules(imported(tmp_path)[0])
    assert {k: found[k] for k in ("AB1", "AC1", "BB1", "BC1", "BZ1", "CB1", "VJ1", "WR2")} == {
        "AB1": "ZYSS in OP_AB1",
        "AC1": "{ZYSS, QTSS} in OP1_AC1 and {ZYSS, QTSS} in OP2_AC1",
        "BB1": "ZYZD in DI_BB1 and ZYSS in OP_BB1",
        "BC1": "length(OP_BC1 ∩ {ZYSS, QTSS})>=2 and ZYSS in OP_BC1",
        "BZ1": "{ZYZD, QTZD} in DI_BZ1",
        "CB1": "{ZYSS, QTSS} in OP_CB2 and {ZYSS, QTSS} in OP_CB3",
        "VJ1": "ZYSS in OP_ALL and ZYSS not in {OP_WB1, OP_WB2}",
        "WR2": "ZYZD in DI1_WR2 or QTZD in DI2_WR2",
    }
    assert found["NA1"] == (
        "(ZYZD in DI_NA1 and ZYSS in OP1_NA1) or "
        "(ZYZD in DI_NA1 and {ZYSS, QTSS} in OP2_NA1 and {ZYSS, QTSS} in OP3_NA1)"
    )
    assert found["OF1"] == (
        "(ZYZD in DI1_OF1 or (ZYZD in DI2_OF1 and QTZD in DI3_OF1)) and ZYSS in OP_OF1"
    )
    assert found["PS1"] == "{ZYZD, QTZD} in DI_PS1 and XSRTZ>0 and XSRTZ<1500 and XSRTL<=28"
    assert found["PS2"] == "{ZYZD, QTZD} in DI_PS2 and XSRTZ>=1500 and XSRTZ<=1999 and XSRTL<=28"
    assert found["PV1"] == "ZYZD in DI_PV1 and XSRTL>=29 and NL<1"
    assert (found["WJ1"], found["YC1"]) == ("ZYSS in OP_ALL", "ZYSS in OP_ALL")
    assert found["ZZ1"] == "{ZYSS, QTSS} not in OP_ALL"


def test_mdcs_have_their_own_order_and_rules(tmp_path: Path) -> None:
    both, _ = imported(tmp_path)
    found = rules(both, "mdc")
    assert list(found)[:4] == ["MDCA", "MDCP", "MDCY", "MDCZ"]
    assert found["MDCA"] == ""
    assert found["MDCP"] == "NL=0 and (XSRTL<=28 or ZYZD in DI_P00)"
    assert found["MDCM"] == "ZYZD in DI_M00 and XB=1"
    assert found["MDCN"] == "ZYZD in DI_N00 and XB=2"
    assert found["MDCB"] == "ZYZD in DI_B00"
    assert found["MDCZ"].startswith("(ZYZD in DI_Z01 and QTZD in {DI_Z02, DI_Z03}) or ")


@pytest.mark.parametrize(
    ("given", "answer"),
    [
        (case("I61.900", px=["50.5900"]), ("grouped", "AB19")),
        (case("G40.900", px=["55.6900", "52.8000"]), ("grouped", "AC19")),
        (case("G40.900", px=["55.6900"]), ("ambiguous", "BQY")),
        (case("S06.900", "J96.000", px=["01.2400"]), ("grouped", "BB11")),
        (case("S06.900", "I10.x00", px=["01.2400"]), ("grouped", "BB13")),
        (case("S06.900", "E11.900", px=["01.2400"]), ("grouped", "BB15")),  # excluded by table 2
        (case("I61.900", "J96.000"), ("grouped", "BR15")),  # excluded by table 1
        (case("I61.900", "E11.900"), ("grouped", "BR11")),
        (case("I61.900", px=["03.0900"]), ("ambiguous", "BQY")),
        (case("I61.900", px=["03.0900", "03.5300"]), ("grouped", "BC19")),
        (case("I61.900", px=["03.0900", "03.0900"]), ("ambiguous", "BQY")),
        (case("G00.900", "G40.900"), ("grouped", "BZ19")),
        (case("H25.900", px=["12.6400", "13.4100"]), ("grouped", "CB19")),
        (case("H25.900", px=["12.6400"]), ("grouped", "CB39")),
        (case("C61.x00"), ("grouped", "MR19")),
        (case("C61.x00", sex=2), ("ungrouped", "")),
        (case("C53.900", sex=2, px=["68.6100"]), ("grouped", "NA19")),
        (case("C53.900", sex=2, px=["40.5900", "68.4100"]), ("grouped", "NA19")),
        (case("C53.900", sex=2, px=["68.4100", "68.6100"]), ("ambiguous", "NQY")),
        (case("O02.100", sex=2, px=["69.0100"]), ("grouped", "OF19")),
        (case("O04.900", sex=2, px=["69.0100"]), ("ambiguous", "OQY")),
        (case("O04.900", "Z35.900", sex=2, px=["69.0100"]), ("grouped", "OF19")),
        (case("I61.900", age=0, age_days=3, px=["35.0000"]), ("grouped", "PB19")),
        (case("P07.300", age=0, age_days=3, birth_weight=1499), ("grouped", "PS19")),
        (case("P07.300", age=0, age_days=3, birth_weight=1500), ("grouped", "PS29")),
        (case("P07.300", age=0, age_days=3, birth_weight=2000), ("ungrouped", "")),
        (case("P22.000", age=0, age_days=28), ("grouped", "PU19")),
        (case("P22.000", age=0, age_days=29), ("ungrouped", "")),
        (case("P35.000", age=0, age_days=29), ("grouped", "PV19")),
        (case("P35.000", age=0, age_days=28), ("ungrouped", "")),
        (case("P35.000", age=1), ("ungrouped", "")),
        (case("T14.900", px=["69.0100"]), ("grouped", "VJ19")),
        (case("T14.900", px=["86.6900"]), ("ambiguous", "VQY")),
        (case("T31.000", "T31.500", px=["86.6900"]), ("grouped", "WB19")),
        (case("T31.000", px=["01.2400"]), ("grouped", "WJ19")),
        (case("T31.000"), ("grouped", "WR29")),
        (case("T31.500"), ("ungrouped", "")),
        (case("B20.000", px=["01.2400"]), ("grouped", "YC19")),
        (case("G40.900", "B24.x01"), ("grouped", "YR19")),
        (case("S06.900", "S27.000", px=["01.2400"]), ("grouped", "ZB19")),
        (case("S06.900", "S27.000"), ("grouped", "ZZ19")),
        (case("S06.900", "S11.900", px=["01.2400"]), ("grouped", "BB15")),  # one site
    ],
)
def test_cases_land_where_a_person_puts_them(
    whole_plan: Both, given: dict[str, Any], answer: tuple[str, str]
) -> None:
    assert landed(whole_plan.group(given)[0]) == answer


@pytest.fixture(scope="module")
def whole_plan(tmp_path_factory: pytest.TempPathFactory) -> Both:
    return imported(tmp_path_factory.mktemp("plan"))[0]


PROBES = {
    "hiv second": case("G40.900", "B24.x01"),
    "trauma behind": case("T14.900", "S06.900", "S27.000"),
    "man of O": case("O82.900"),
    "newborn of B": case("I61.900", age=0, age_days=3, px=["35.0000"]),
    "grown newborn": case("P22.000", age=0, age_days=40),
    "invalid first": case("T31.000", "T31.500", px=["86.2200", "86.6900"]),
    "grey principal": case("G00.900", "G40.900"),
    "odd operation": case("H25.900", px=["69.0100"]),
}
"""A case for each option, and where the default reading puts it below."""

DEFAULT = {
    "hiv second": ("grouped", "YR19"),
    "trauma behind": ("grouped", "VR19"),
    "man of O": ("grouped", "OZ19"),
    "newborn of B": ("grouped", "PB19"),
    "grown newborn": ("ungrouped", ""),
    "invalid first": ("grouped", "WB29"),
    "grey principal": ("grouped", "BZ19"),
    "odd operation": ("ambiguous", "CQY"),
}


@pytest.mark.parametrize(
    ("options", "changed"),
    [
        ("", {}),
        ('mdcy = "principal"', {"hiv second": ("grouped", "BZ19")}),
        ("mdcz_needs_principal = false", {"trauma behind": ("grouped", "ZZ19")}),
        ("mdco_needs_female = true", {"man of O": ("ungrouped", "")}),
        ('mdcp = "diagnosis"', {"newborn of B": ("ambiguous", "BQY")}),
        ("newborn_under_29_days = false", {"grown newborn": ("grouped", "PU19")}),
        ('invalid_procedure = "blank"', {"invalid first": ("grouped", "WR29")}),
        ('invalid_procedure = "drop_promote_next"', {"invalid first": ("grouped", "WB19")}),
        ('grey_principal = "ungrouped"', {"grey principal": ("ungrouped", "")}),
        ("ambiguous = false", {"odd operation": ("grouped", "CZ19")}),
        ('ambiguous_except = ["MDCC"]', {"odd operation": ("grouped", "CZ19")}),
    ],
)
def test_each_option_changes_the_case_it_is_about_and_no_other(
    tmp_path: Path, options: str, changed: dict[str, tuple[str, str]]
) -> None:
    both, _ = imported(tmp_path, options)
    found = {name: landed(a) for name, a in zip(PROBES, both.group(*PROBES.values()), strict=True)}
    assert found == DEFAULT | changed


def test_every_option_is_tested_and_documented() -> None:
    page = (Path(__file__).parents[2] / "docs" / "import-drg.md").read_text("utf-8")
    for name, about in Drg2Options.model_fields.items():
        assert about.description
        assert f"`{name}`" in page, name


def test_counts_stand_beside_the_published_ones(tmp_path: Path) -> None:
    both, report = imported(tmp_path)
    assert report.published == {"MDC": 26, "ADRG": 409, "DRG": 634}
    assert report.counts == {"MDC": 11, "ADRG": 30, "DRG": 33}
    assert not report.agrees
    assert report.sha256 in (both.folder / "scheme.toml").read_text("utf-8")
    said = "\n".join(report.findings)
    assert "8 rows xQY" in said
    assert "grey_principal = allow" in said
    assert "PS1, as its name says" in said


def test_csv_folders_and_workbooks_say_the_same(tmp_path: Path) -> None:
    usual = imported(tmp_path / "x")[0].scheme.fingerprint
    for encoding in ("utf-8", "utf-8-sig", "gb18030"):
        folder = write_folder(tmp_path / encoding, sheets(), encoding)
        import_drg2(folder, tmp_path / f"o{encoding}", id="plan")
        assert load_drg(tmp_path / f"o{encoding}").fingerprint == usual


def test_labels_beside_the_codes_do_as_statements_do(tmp_path: Path) -> None:
    given = sheets()
    rows = [[*r, ""] for r in given["入组条件"]]
    rows[0][4] = "列表"
    at = next(k for k, r in enumerate(rows) if r[1] == "BB1")
    rows[at : at + 4] = [
        ["MDCB", "BB1", "S06.900", "", "主要诊断"],
        ["MDCB", "BB1", "01.2400", "", "主要手术操作"],
    ]
    given["入组条件"] = rows
    both, _ = imported(tmp_path / "b", given=given)
    assert both.scheme.fingerprint == imported(tmp_path / "a")[0].scheme.fingerprint


def test_trauma_sites_may_stand_among_the_conditions(tmp_path: Path) -> None:
    given = sheets()
    moved = [r for r in given["主诊表"] if len(r) > 4 and r[1] == "MDCZ"]
    given["主诊表"] = [r for r in given["主诊表"] if r not in moved]
    given["入组条件"] += [["MDCZ", site, code, ""] for _, _, code, _, site in moved]
    both, _ = imported(tmp_path / "b", given=given)
    assert both.scheme.fingerprint == imported(tmp_path / "a")[0].scheme.fingerprint


def test_mdc_sheet_gives_names_and_order(tmp_path: Path) -> None:
    given = sheets()
    order = ["MDCW", "MDCA", "MDCB", "MDCP"]
    given["MDC"] = [
        ["MDC编码", "MDC名称", "顺序"],
        *([m, f"{m}名", k] for k, m in enumerate(order)),
    ]
    both, report = imported(tmp_path, given=given)
    mdcs = both.scheme.mdcs
    assert [m.code for m in mdcs][:6] == ["MDCA", "MDCP", "MDCY", "MDCZ", "MDCW", "MDCB"]
    assert mdcs[0].name == "MDCA名"
    assert "MDCs are tried in the order A, P, Y, Z, W, B" in "\n".join(report.findings)


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ("伴严重并发症或合并症", "QTZD in MCC"),
        ("CC", "QTZD in CC"),
        ("QTZD in MCC and NL>=70", "QTZD in MCC and NL>=70"),
        ("不伴", ""),
    ],
)
def test_a_column_of_rules_goes_before_names_and_digits(
    tmp_path: Path, rule: str, text: str
) -> None:
    given = sheets()
    drgs = given["DRG组"]
    given["DRG组"] = [[*drgs[0], "规则"], *([*r, rule if r[2] == "MR19" else ""] for r in drgs[1:])]
    both, report = imported(tmp_path, given=given)
    assert rules(both, "drg")["MR19"] == text
    assert any("MR1 has no DRG for what remains" in f for f in report.findings) == bool(text)


def test_what_remains_goes_behind_what_it_would_swallow(tmp_path: Path) -> None:
    given = sheets()
    drgs = given["DRG组"]
    at = next(k for k, r in enumerate(drgs) if r[2] == "BB11")
    drgs[at : at + 3] = drgs[at : at + 3][::-1]
    both, report = imported(tmp_path, given=given)
    assert both("S06.900", "J96.000", px=["01.2400"]).group == "BB11"
    assert "tried in the order BB11, BB13, BB15" in "\n".join(report.findings)


def test_operations_come_from_their_sheet_if_there_is_one(tmp_path: Path) -> None:
    given = sheets()
    given["有效手术"] = [["编码", "名称"], ["69.0100", ""]]
    both, _ = imported(tmp_path, given=given)
    assert both.scheme.set_codes["OP_ALL"] == {"69.0100"}
    assert both("H25.900", px=["69.0100"]).group == "CQY"
    assert both("H25.900", px=["01.2400"]).group == "CZ19"


def test_operations_may_be_those_of_the_code_list_but_the_grey_ones(tmp_path: Path) -> None:
    options = 'code_list = "codes-nhsa-2.0"\nop_all = "code_list"'
    both, report = imported(tmp_path, options)
    assert len(both.scheme.set_codes["OP_ALL"]) == 13_686 - 1  # 86.2200 is grey here
    assert "those of the code list codes-nhsa-2.0 but the grey ones" in "\n".join(report.findings)
    assert "needs code_list" in refusal(tmp_path / "b", sheets(), 'op_all = "code_list"')


def test_a_code_list_lends_names_and_maps_and_tells_unknown_codes(tmp_path: Path) -> None:
    both, report = imported(tmp_path, 'code_list = "codes-nhsa-2.0"')
    codes = both.scheme.code_list
    assert codes is not None
    assert codes.id == "plan-codes"
    assert codes.grey_diagnoses == {"G00.900"}
    assert len(codes.diagnosis_map) > 4000
    assert "99.9999" in codes.procedures  # grey, and not in the list that lends
    assert "procedures are not in codes-nhsa-2.0" in "\n".join(report.findings)


def test_without_grey_lists_there_is_no_code_list(tmp_path: Path) -> None:
    given = {k: v for k, v in sheets().items() if not k.startswith("不作为")}
    both, _ = imported(tmp_path, given=given)
    assert both.scheme.code_list is None
    assert not (both.folder / "codes").exists()


def test_repeats_cleaned_cells_and_unread_things_are_said(tmp_path: Path) -> None:
    given = sheets()
    given["主诊表"] += [given["主诊表"][2], ["", "MDCB", "G40.900\xa0", "", ""]]
    given["CC"].append(["3", "I10.x00", "", "无"])
    given["入组条件"].insert(3, ["", "", "50.5900", ""])
    given["CC"][0].append("备注")
    given["封面"] = [["说明"]]
    both, report = imported(tmp_path / "b", given=given)
    assert report.repeats == 4
    assert report.cleaned_cells >= 1
    assert "CC: 备注" in report.ignored_columns
    assert "sheet '封面' is not read" in report.findings
    assert both.scheme.fingerprint == imported(tmp_path / "a")[0].scheme.fingerprint


def changed(table: str, row: int, column: int, value: str) -> Sheets:
    given = copy.deepcopy(sheets())
    given[table][row][column] = value
    return given


@pytest.mark.parametrize(
    ("table", "row", "column", "value", "match"),
    [
        ("主诊表", 1, 2, "诊断", "主诊表.*no header row"),
        ("主诊表", 2, 2, "肺炎", "主诊表:3: row 3: '肺炎' is no diagnosis code"),
        ("主诊表", 2, 1, "X1", "主诊表:3: row 3: MDC 'X1' is no MDC"),
        ("入组条件", 1, 2, "适当时", "入组条件:2: row 2: statement '适当时' is not known"),
        (
            "入组条件",
            3,
            2,
            "A00.000",
            "入组条件:4: row 4: 'A00.000' is no code of a list 主要手术或操作",
        ),
        (
            "入组条件",
            2,
            2,
            "AB1 肝移植",
            "入组条件:4: row 4: '50.5900' stands before any statement",
        ),
        (
            "入组条件",
            3,
            2,
            "包含以下主要诊断：",
            "入组条件:3: .*the list 主要手术或操作 of AB1 is empty",
        ),
        ("入组条件", 1, 1, "AB7", "入组条件:2: row 2: AB7 is not in the sheet of ADRGs"),
        ("DRG组", 1, 1, "AB7", "DRG组:2: row 2: DRG 'AB19': 'AB7' is no ADRG"),
        ("DRG组", 2, 2, "AB19", "DRG组:3: row 3: DRG AB19 stands in row 2 too"),
        ("CC", 1, 3, "表9", "CC:2: row 2: '表9' is no exclusion table of the plan"),
        ("CC", 2, 1, "高血压", "CC:3: row 3: '高血压' is no diagnosis code"),
        ("排除表", 1, 2, "", "排除表:2: row 2: table '1', code ''"),
        ("不作为主诊", 1, 1, "86.2200", "不作为主诊:2: row 2: '86.2200' is no code"),
        ("ADRG", 2, 0, "AB1", "ADRG:3: row 3: ADRG 'AB1' is no code such as BB1, or stands twice"),
    ],
)
def test_every_refusal_names_sheet_and_row(
    tmp_path: Path, table: str, row: int, column: int, value: str, match: str
) -> None:
    assert re.search(match, refusal(tmp_path, changed(table, row, column, value)))


def test_expressions_over_what_is_not_there_are_refused(tmp_path: Path) -> None:
    given = sheets()
    at = next(k for k, r in enumerate(given["入组条件"]) if r[1] == "NA1")
    given["入组条件"][at][2] = "入组条件1：主要诊断+主要手术或操作7"
    said = refusal(tmp_path, given)
    assert "NA1: 主要手术或操作7 is named in" in said
    assert "its lists: 主要诊断, 主要手术或操作1" in said
    given = sheets()
    at = next(k for k, r in enumerate(given["入组条件"]) if r[1] == "CB1")
    given["入组条件"][at][2] = "同时包含CB8和CB3的手术或操作"
    assert "CB8 is named in" in refusal(tmp_path, given)


def test_sheets_groups_and_sites_that_are_missing_are_refused(tmp_path: Path) -> None:
    for name in ("主诊表", "入组条件", "DRG组", "排除表"):
        given = {k: v for k, v in sheets().items() if k != name}
        assert f"no sheet for {name.removesuffix('组')}" in refusal(tmp_path, given)
    given = sheets()
    given["DRG组"] = [r for r in given["DRG组"] if r[1] != "MR1"]
    assert "no DRG for MR1" in refusal(tmp_path, given)
    given = sheets()
    given["主诊表"] = [r[:4] for r in given["主诊表"]]
    assert "MDCZ needs its diagnoses by site" in refusal(tmp_path, given)
    given = sheets()
    given["主诊表"] = [r for r in given["主诊表"] if "MDCM" not in r]
    assert "MDCM has no diagnoses" in refusal(tmp_path, given)


def test_options_and_keys_that_are_not_known_are_refused(tmp_path: Path) -> None:
    assert "mdcx" in refusal(tmp_path, sheets(), "mdcx = true")
    said = refusal(tmp_path, sheets(), '[scheme]\ngrey = "x"')
    assert "options.toml:2: grey: Extra inputs" in said
    said = refusal(tmp_path, sheets(), "[scheme]\nnever_excluded = 3")
    assert "options.toml:2: never_excluded: Input should be" in said
    given = sheets()
    given["CC"][1][3] = "EX_999"
    both, _ = imported(tmp_path, '[scheme]\nnever_excluded = ["EX_999"]', given)
    assert both.scheme.settings.never_excluded == ["EX_999"]


def test_files_are_never_lost(tmp_path: Path) -> None:
    imported(tmp_path)
    with pytest.raises(CaseFileError, match="overwrite"):
        imported(tmp_path)
    import_drg2(tmp_path / "plan.xlsx", tmp_path / "out", overwrite=True)
    (tmp_path / "empty").mkdir()
    with pytest.raises(CaseFileError, match="no CSV files"):
        import_drg2(tmp_path / "empty", tmp_path / "x")
    with pytest.raises(CaseFileError, match="nowhere"):
        import_drg2(tmp_path / "nowhere.xlsx", tmp_path / "x")


def test_an_unknown_key_without_a_file_of_options_is_placed_in_the_schemes_own(
    tmp_path: Path,
) -> None:
    places = scheme_places(None)
    assert [str(p) for p in places.values()] == ["scheme.toml"]


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("手术或操作1+手术或操作2（至少有一个是主要手术或操作）",
         "ZYSS in {OP1_JA1, OP2_JA1} and {ZYSS, QTSS} in OP1_JA1 and {ZYSS, QTSS} in OP2_JA1"),
        ("其他诊断 + 主要手术1", "QTZD in DI_JA1 and ZYSS in OP1_JA1"),
        ("主要诊断 或 主要手术3", "ZYZD in DI_JA1 or ZYSS in OP3_JA1"),
        ("手术或操作1≥2", "length(OP1_JA1 ∩ {ZYSS, QTSS})>=2"),
        ("主要诊断 不包含 手术或操作2", "ZYZD in DI_JA1 and {ZYSS, QTSS} not in OP2_JA1"),
        ("包含 JA1 的手术", "ZYSS in {OP1_JA1, OP2_JA1, OP3_JA1}"),
        ("同时包含JA1的手术", "{ZYSS, QTSS} in {OP1_JA1, OP2_JA1, OP3_JA1}"),
        ("不足1岁", None),
        ("年龄不足1岁 且 女", "NL<1 and XB=2"),
        ("principal and any_procedure2", "ZYZD in DI_JA1 and {ZYSS, QTSS} in OP2_JA1"),
    ],
)  # fmt: skip
def test_expressions_become_rules(text: str, rule: str | None) -> None:
    entry = Entry("JA1", "MDCJ", "sheet", 1)
    for name in ("主要诊断", "手术或操作1", "手术或操作2", "主要手术或操作3"):
        label = label_of(name)
        assert label is not None
        entry.open(label, 1).codes["x"] = ""
    name_sets(entry)
    if rule is None:
        with pytest.raises(TableError, match=r"sheet:1: JA1: .*is not known"):
            read_logic(text, entry, {"JA1": entry})
    else:
        assert text_of(read_logic(text, entry, {"JA1": entry})) == rule


@pytest.mark.parametrize(
    ("name", "adrg", "rule"),
    [
        ("糖尿病伴并发症，不伴合并症", "糖尿病伴并发症", ""),
        ("糖尿病伴并发症", "糖尿病伴并发症", None),
        ("肺炎，伴重要合并症和伴随病", "肺炎", "QTZD in MCC"),
        ("肺炎，伴一般合并症", "肺炎", "QTZD in CC"),
        ("肺炎，不伴严重合并症或并发症", "肺炎", ""),
    ],
)
def test_words_of_a_drg_are_read_behind_the_name_of_its_adrg(
    name: str, adrg: str, rule: str | None
) -> None:
    assert split_of(name, adrg) == rule


def test_a_list_alone_on_its_side_needs_no_number() -> None:
    entry = Entry("AB1", "MDCA", "sheet", 1)
    label = label_of("主要手术1")
    assert label is not None
    entry.open(label, 1).codes["x"] = ""
    name_sets(entry)
    assert text_of(read_logic("主要手术", entry, {})) == "ZYSS in OP1_AB1"


def test_what_must_not_be_there_is_asked_for_so(tmp_path: Path) -> None:
    given = sheets()
    at = next(k for k, r in enumerate(given["入组条件"]) if r[1] == "CZ1")
    given["入组条件"][at + 2 : at + 2] = [
        ["", "", "不包含以下手术或操作：", ""],
        ["", "", "13.4100", ""],
    ]
    both, _ = imported(tmp_path, "ambiguous = false", given)
    assert rules(both)["CZ1"] == "ZYZD in DI_CZ1 and {ZYSS, QTSS} not in OP_CZ1"
    assert both("H25.900", px=["69.0100"]).group == "CZ19"
    assert both("H25.900", px=["69.0100", "13.4100"]).status == "ungrouped"


def test_a_bare_or_begins_a_list_of_the_same_kind(tmp_path: Path) -> None:
    given = sheets()
    at = next(k for k, r in enumerate(given["入组条件"]) if r[2] == "和")
    given["入组条件"][at][2] = "或"
    both, _ = imported(tmp_path, given=given)
    assert rules(both)["AC1"] == "{ZYSS, QTSS} in OP1_AC1 or {ZYSS, QTSS} in OP2_AC1"


def test_lists_of_drgs_and_severity_in_their_other_layouts(tmp_path: Path) -> None:
    usual = imported(tmp_path / "a")[0].scheme.fingerprint
    given = sheets()
    given["DRG组"] = [[r[2], r[3]] for r in given["DRG组"]]
    mcc, cc = given.pop("MCC"), given.pop("CC")
    both_levels = [[*r, "MCC"] for r in mcc[1:]] + [[*r, "cc"] for r in cc[1:]]
    given["CC列表"] = [[*cc[0], "类型"], *both_levels]
    given["排除表"] += [["3", "7", "A00.000", ""], ["4", "", "A01.000", ""]]
    both, _ = imported(tmp_path / "b", given=given)
    assert both.scheme.exclusions["EX_7"] == {"A00.000", "A01.000"}
    assert both.scheme.mcc == {"J96.000": "EX_1"}
    given["排除表"] = given["排除表"][:3]
    assert imported(tmp_path / "c", given=given)[0].scheme.fingerprint == usual
    given["CC列表"].append(["4", "I10.x00", "", "表2", "CC"])
    assert "CC I10.x00 has two exclusion tables" in refusal(tmp_path / "d", given)


def test_the_order_of_mdcs_may_be_numbered(tmp_path: Path) -> None:
    given = sheets()
    given["MDC"] = [["MDC", "名称", "顺序"], ["B", "x", "9"], ["W", "y", "8"], ["V", "z", "7"]]
    both, _ = imported(tmp_path, given=given)
    assert [m.code[-1] for m in both.scheme.mdcs][4:7] == ["V", "W", "B"]
