"""Importing catalogues: small workbooks in the layout of the national plan, and cities' own tables.

The rows come from a sample of the plan; excluded diagnoses and resistant codes are made up here.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import xlsxwriter
from shared import shared

from grouper import CaseFileError, TableError, group, import_dip3, import_dip_table, load_catalogue

TITLES = {
    "XQ": "一、先期分组",
    "BX": "二、并项规则下的核心病种",
    "burn": "三、诊断辅助细分-烧伤类病种",
    "tumour": "三、诊断辅助细分-肿瘤类病种",
    "tb": "三、诊断辅助细分-结核类病种",
    "resistant": "附表—结核耐药诊断",
    "JC": "四、基础规则下的核心病种",
    "no_dx": "五、不纳入分组的主要诊断",
    "no_px": "五、不纳入分组的主要手术操作",
    "primary": "六、基层病种",
}
MAIN = ["主要诊断编码", "主要诊断名称", "主要手术操作编码", "主要手术操作名称"]
RELATED = ["相关手术操作编码", "相关手术操作名称"]

Sheets = dict[str, list[list[Any]]]


def sheets() -> Sheets:
    """Lay the sample out as the plan's sheets, header rows where the plan has them."""
    d = json.loads(shared("facts/dip_3_0/sample.json").read_text("utf-8"))
    pre: list[list[Any]] = [["按病种分值付费3.0版"], ["一、先期分组"]]
    pre.append(["分类", "序号", "分组名称", *MAIN, "备注"])
    for r in d["pre"]:
        if "op" in r:
            note = "不限定为主要手术操作" if r["scope"] == "any" else ""
            ops = "|".join(r["op"])
            pre.append(["XQ", r["seq"], r["name"], "所有诊断", "", ops, "手术名称", note])
            continue
        if not any(row[1] == "序号" for row in pre[3:]):
            pre.append(["分类", "序号", "分组名称", *MAIN[:2], "天龄", "出生体重", "备注"])
        low, high = r["birth_weight_g"]
        note = "诊断中包含P07，不限定为主要诊断"
        weight = f"出生体重{low}-{high}克"
        pre.append(["XQ", r["seq"], r["name"], "P07", "未成熟儿", "<29天", weight, note])
    base = [["四、基础规则"], ["分类", "序号", *MAIN]]
    base += [
        ["JC", r["seq"], r["dx"], "名称", "|".join(r["main"]), ""] for r in d["base_rows_1878_1952"]
    ]
    merged = [["二、并项"], ["分类", "序号", *MAIN, *RELATED]]
    merged += [
        ["BX", r["seq"], "|".join(r["dx"]), "", "|".join(r["main"]), "", "|".join(r["related"]), ""]
        for r in d["merge_examples"]
    ]
    burn = [
        ["三、烧伤"],
        [""],
        ["分类", "序号", MAIN[0], "程度", "其他诊断编码", "烧伤面积", *MAIN[2:], *RELATED],
    ]
    for r in d["burn_rows_1745_1766"]:
        keys = ["|".join(r["dx"]), r["degree"], "|".join(r["dx2"]), r["area"], "|".join(r["main"])]
        burn.append(["FZ", r["seq"], *keys, "", "|".join(r["related"]), ""])
    head = [
        "分类",
        "序号",
        *MAIN[:2],
        "其他诊断编码",
        "其他诊断名称",
        "手术操作编码",
        "手术操作名称",
    ]
    tumour = [["三、肿瘤"], head]
    tumour += [
        ["FZ", r["seq"], r["dx"], "", r["dx2"], "", r["expr"], ""]
        for r in d["tumour_rows_1770_1811"]
    ]
    tb = [["三、结核"], ["分类", "序号", *MAIN, "是否耐药", "规则"]]
    tb += [
        ["FZ", r["seq"], r["dx"], "", "|".join(r["main"]), "", "是" if r["resistant"] else "否", ""]
        for r in d["tb_rows_1812_1825"]
    ]
    no_px = [["五"], ["主要手术操作编码", "主要手术操作名称", "处理方式"]]
    no_px += [[code, "", how] for code, how in d["excluded_procedure_examples"]]
    no_px.append(["92.2000", "made up", "仅允许主要诊断C00-C75、D05.1"])
    primary = [["六"], ["序号", *MAIN]]
    primary += [[r["seq"], r["dx"], "", "|".join(r["main"]), ""] for r in d["primary_care_127"]]
    return {
        **{"XQ": pre, "BX": merged, "burn": burn, "tumour": tumour, "tb": tb},
        "resistant": [["附表"], ["诊断编码", "诊断名称"], ["A15.000x901", "made up"]],
        "JC": base,
        "no_dx": [
            ["五"],
            [""],
            ["主要诊断编码", "主要诊断名称"],
            ["Z99.901", "made up"],
            ["Z99.901", ""],
        ],
        **{"no_px": no_px, "primary": primary},
    }


def write(path: Path, given: Sheets) -> Path:
    book = xlsxwriter.Workbook(str(path))
    for key, rows in given.items():
        sheet = book.add_worksheet(TITLES.get(key, key))
        for k, row in enumerate(rows):
            sheet.write_row(k, 0, row)
    book.close()
    return path


def rows_in(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as f:
        return list(csv.DictReader(f))


def test_the_national_workbook_becomes_a_catalogue(tmp_path: Path) -> None:
    report = import_dip3(write(tmp_path / "plan.xlsx", sheets()), tmp_path / "plan")
    assert report.counts == {
        **{"先期分组": 19, "并项": 10, "烧伤": 22, "肿瘤": 42, "结核": 14, "结核耐药诊断": 1},
        **{"基础规则": 75, "主要诊断": 2, "主要手术操作": 8, "基层病种": 127},
    }
    assert report.published["基础规则"] == 3268
    assert not report.agrees
    assert report.repeats == 1
    assert len(report.sha256) == 64
    groups = {r["code"]: r for r in rows_in(tmp_path / "plan" / "groups.csv")}
    assert len(groups) == 19 + 10 + 22 + 42 + 14 + 75
    ecmo, newborn, burn = groups["XQ-11"], groups["XQ-16"], groups["FZ-1759"]
    assert (ecmo["principal"], ecmo["main"]) == ("*", "*")
    assert ecmo["any_procedures"] == "39.6500|39.6500x001"
    assert (newborn["any_diagnoses"], newborn["age_days"], newborn["weight"]) == (
        "P07",
        "<29",
        "0-999",
    )
    assert (burn["degree"], burn["related"]) == ("III", "86.6901|86.6902")
    assert groups["FZ-1773"]["first_other"] == "1"
    assert groups["FZ-1812"]["requires"] == "tb_resistant"
    assert groups["FZ-1813"]["forbids"] == "tb_resistant"
    assert groups["JC-1882"]["main"] == ""
    assert groups["JC-1920"]["primary_care"] == "1"
    handling = {r["code"]: r for r in rows_in(tmp_path / "plan" / "exclusions.csv")}
    assert handling["00.3101"]["handling"] == "not_main"
    assert handling["92.2000"]["diagnoses"] == "C00-C75|D05.1"
    scheme = load_catalogue(tmp_path / "plan")
    case = {
        "case_id": "1",
        "sex": 1,
        "age": 50,
        "diagnoses": ["A41.901"],
        "procedures": ["39.6500"],
    }
    assert group(case, scheme).to_arrow().to_pylist()[0]["group"] == "XQ-11"


def test_dirty_cells_are_cleaned_and_counted(tmp_path: Path) -> None:
    given = sheets()
    given["JC"][1] = ["分\u200b类", "序\n号", "主要诊断编码\xa0", "主要诊断\n名称", *MAIN[2:]]
    given["JC"][2][2] = "Ａ41\xa0"
    clean = import_dip3(write(tmp_path / "a.xlsx", sheets()), tmp_path / "a")
    report = import_dip3(write(tmp_path / "b.xlsx", given), tmp_path / "b")
    assert report.cleaned_cells > clean.cleaned_cells
    assert (tmp_path / "a/groups.csv").read_bytes() == (tmp_path / "b/groups.csv").read_bytes()


def refused(tmp_path: Path, given: Sheets, match: str) -> None:
    with pytest.raises(TableError, match=match):
        import_dip3(write(tmp_path / "plan.xlsx", given), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".out*"))


def test_every_refusal_names_sheet_and_row(tmp_path: Path) -> None:
    refused(tmp_path, {**sheets(), "封面说明": [["x"]]}, "封面说明.*unknown")
    refused(tmp_path, {k: v for k, v in sheets().items() if k != "tb"}, "no sheet for 结核")
    for key, row, column, value, match in (
        ("JC", 1, 2, "编码", "no column"),
        ("JC", 1, 0, "新列", "unknown column '新列'"),
        ("JC", 4, 1, "x", "基础规则.*:5: sequence 'x'"),
        ("JC", 4, 2, "?", ":5: '\\?' is no diagnosis key"),
        ("JC", 4, 4, "03/31", ":5: '03/31' is no procedure code"),
        ("JC", 4, 2, "", ":5: the principal diagnosis is blank"),
        ("tb", 2, 6, "也许", ":3: drug resistant"),
        ("no_px", 2, 2, "随便", ":3: handling"),
        ("XQ", 19, 5, "新生儿", ":20: age"),
    ):
        given = sheets()
        given[key][row][column] = value
        refused(tmp_path, given, match)


def test_files_are_never_lost(tmp_path: Path) -> None:
    plan = write(tmp_path / "plan.xlsx", sheets())
    import_dip3(plan, tmp_path / "plan")
    before = {p.name: p.read_bytes() for p in (tmp_path / "plan").iterdir()}
    with pytest.raises(CaseFileError, match="overwrite"):
        import_dip3(plan, tmp_path / "plan")
    import_dip3(plan, tmp_path / "plan", overwrite=True)
    assert {p.name: p.read_bytes() for p in (tmp_path / "plan").iterdir()} == before
    (tmp_path / "plan" / "mine.txt").write_text("x")
    with pytest.raises(CaseFileError, match="holds files"):
        import_dip3(plan, tmp_path / "plan", overwrite=True)
    with pytest.raises(CaseFileError, match="no whole Excel"):
        import_dip3(write_text(tmp_path / "bad.xlsx", "no workbook"), tmp_path / "x")


def write_text(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_text(text, encoding)
    return path


MAP = """
source = "a city's own table"
profile = "{profile}"
any_of = "{any_of}"
all_of = "{all_of}"
score_decimals = 1
dots = {dots}

[columns]
code = "编号"
class = "类型"
principal = "诊断"
main = "手术"
score = "分值"

[classes]
"核心病种" = "core"
"综合病种" = "mixed"
"""
HEADER = "编号,类型,诊断,手术,分值,备用\n"


@pytest.mark.parametrize(
    ("marks", "text"),
    [
        (
            {},
            "A1,核心病种,M51.1+|K35.3,47.0100|47.0900+54.2100,998.1,x\nA2,核心病种,K35.3,保守治疗,1203.4,\n",
        ),
        (
            {"any_of": "/", "all_of": ","},
            'A1,核心病种,M51.1+/K35.3,"47.0100/47.0900,54.2100",998.1,x\nA2,核心病种,K35.3,-,1203.4,\n',
        ),
        (
            {"dots": "false"},
            "A1,核心病种,M511+|K353,470100|470900+542100,998.1,x\nA2,核心病种,K353,,1203.4,\n",
        ),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
def test_a_city_table_in_any_notation(
    marks: dict[str, str], text: str, encoding: str, tmp_path: Path
) -> None:
    how = {"profile": "jingzhou", "any_of": "|", "all_of": "+", "dots": "true", **marks}
    table = write_text(tmp_path / "t.csv", HEADER + text, encoding)
    report = import_dip_table(
        table, tmp_path / "c", write_text(tmp_path / "m.toml", MAP.format(**how))
    )
    assert report.counts == {"core": 2}
    assert report.ignored_columns == ["备用"]
    first, second = rows_in(tmp_path / "c" / "groups.csv")
    assert first["principal"] == "M51.1+|K35.3"
    assert (first["main"], first["related"]) == ("47.0100|47.0900", "54.2100")
    assert (second["main"], second["score"]) == ("", "1203.4")
    assert load_catalogue(tmp_path / "c").profile.id == "jingzhou"


def test_city_tables_are_refused_with_place(tmp_path: Path) -> None:
    how = {"profile": "jingzhou", "any_of": "|", "all_of": "+", "dots": "true"}
    good = write_text(tmp_path / "m.toml", MAP.format(**how))
    for text, match in (
        (HEADER + "A1,奇怪,K35,47.0100,1,\n", "t.csv:2: class"),
        (HEADER + "A1,core,K35,47.0100,1,\nA1,core,K36,,1,\n", "t.csv:3: code"),
        (HEADER + "A1,core,?,47.0100,1,\n", "t.csv:2: '\\?'"),
        ("编号,诊断\nA1,K35\n", "no column 类型, 手术, 分值"),
    ):
        table = write_text(tmp_path / "t.csv", text)
        with pytest.raises(TableError, match=match):
            import_dip_table(table, tmp_path / "c", good)
        assert not (tmp_path / "c").exists()
    odd = write_text(tmp_path / "odd.toml", MAP.format(**how) + 'x = "y"\n[odd]\n')
    with pytest.raises(TableError, match="odd"):
        import_dip_table(tmp_path / "t.csv", tmp_path / "c", odd)
