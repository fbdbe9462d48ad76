"""Statements per hospital: the official columns, the money to the fen, what ties and what does not."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from spreadsheet import read_rows

from grouper import _audit_book, _statements
from grouper._statements import file_names, write_statements
from grouper.errors import CaseFileError
from grouper.io import RunFolder, content_hash, read_run, write_run

pytest.importorskip("xlsxwriter")

OFFICIAL = (
    *("结算流水号", "病案号", "机构等级", "机构等级系数", "结算日期", "医保类型"),
    *("实际发生总费用", "医保记账费用", "住院天数"),
    *("病种类型", "病种编码", "病种名称", "病种分值"),
    *("疾病严重程度级别", "疾病严重程度系数", "肿瘤严重程度级别", "肿瘤严重程度系数"),
    *("年龄级别", "年龄系数", "辅助目录", "辅助目录最终系数"),
    *("是否偏差病例", "偏差类型", "偏差病例分值"),
    *("是否特病单议", "特病单议结论", "特病单议系数", "特病单议分值"),
    *("最终分值", "预算单价", "结算点值", "支付额"),
)
PERIOD = "2025-01-01/2025-12-31"
H1 = "H,1"


def case(case_id: str, hospital: str, **given: Any) -> dict[str, Any]:
    row = {
        "case_id": case_id,
        "status": "grouped",
        "mdc": "F",
        "adrg": "FR2",
        "group": "FR21",
        "group_name": "心力衰竭",
        "severity": "mcc",
        "reason": None,
        "group_class": "core",
        "aux_type": None,
        "hospital_id": hospital,
        "hospital_level": "三级",
        "insurance": "310",
        "pool_id": "all",
        "settlement_date": date(2025, 3, 5),
        "settlement_month": "2025-03",
        "los": 8,
        "family": "ordinary",
        "pay_as": "FR21",
        "weight_or_score": Decimal("11.2345"),
        "total_cost_fen": 1_000_001,
        "carve_out_fen": 0,
        "unreasonable_fen": 0,
        "benchmark_fen": 900_000,
        "ratio": Decimal("1.1111"),
        "band": "normal",
        "hospital_factor": Decimal("1.10"),
        "aux_factor": Decimal("1.000000"),
        "special": None,
        "special_factor": Decimal("1.00"),
        "final_score": Decimal("1235.7950"),
        "standard_fen": 900_000,
        "booked_fund_fen": 600_000,
        "other_payers_fen": 0,
        "patient_fen": 400_001,
        "carve_out_pay_fen": 0,
        "month_pay_fen": None,
        "pay_fen": 499_999,
    }
    assert set(given) <= set(row)
    return {**row, **given}


CASES = [
    case("b", H1, band="high", settlement_month="2025-04", pay_fen=123_456_789_012_345),
    case("a", H1, aux_type="child", aux_factor=Decimal("1.25"), special_factor=Decimal("0.85")),
    case("c", H1, special="score", band="low", group_name="=1+1"),
    case("d", H1, special="refused", aux_type="tumour-3", aux_factor=Decimal("1.3")),
    case("e", "H2", status="rejected", reason="duplicate_case_id", final_score=None, band=None),
]
HOSPITAL = {
    "hospital_level": "三级",
    "pool_id": "all",
    "period": PERIOD,
    "line": "fund",
    "special_fen": 0,
    "floor_fen": 0,
    "cap_fen": -100,
    "assessment_fen": -50,
    "deduction_fen": 0,
    "surplus_fen": 0,
    "overspend_fen": 0,
    "second_fen": 0,
    "paid_monthly_fen": 1_000,
    "prepayment_fen": 200,
}
SUMS = {
    "total_cost_fen": "cost_fen",
    "booked_fund_fen": "booked_fund_fen",
    "patient_fen": "patient_fen",
    "standard_fen": "standard_fen",
    "carve_out_pay_fen": "carve_out_pay_fen",
    "pay_fen": "pay_fen",
}
MANIFEST = {
    "scheme": {"id": "city-dip"},
    "policy": {
        "title": "某市 2025",
        "fingerprint": "f00d",
        "method": {"kind": "point", "points_per_weight": 100, "score_decimals": 4},
        "parameters": {
            "point_value_budget": {
                "unit": "yuan per point",
                "values": [
                    {"from": "2024-01-01", "to": "2024-12-31", "value": 7, "source": "x"},
                    {"from": "2025-01-01", "value": "8.25", "source": "x"},
                    {"from": "2025-01-01", "value": 9, "insurance": "390", "source": "x"},
                ],
            }
        },
    },
    "run": {"kind": "single", "period": "2025", "status": "published"},
    "outputs": {"cases": "cafe", "pools": "beef"},
}


def hospital_row(hospital: str, rows: list[dict[str, Any]], **given: Any) -> dict[str, Any]:
    mine = [c for c in rows if c["hospital_id"] == hospital]
    row: dict[str, Any] = {"hospital_id": hospital, **HOSPITAL, "cases": len(mine)}
    row |= {told: sum(c[own] for c in mine) for own, told in SUMS.items()}
    row["payable_fen"] = row["pay_fen"] - 150
    row["to_pay_fen"] = row["payable_fen"] - 1_200
    return {**row, **given}


def make_run(
    folder: Path,
    cases: list[dict[str, Any]] | None = None,
    hospitals: list[dict[str, Any]] | None = None,
    manifest: dict[str, Any] | None = None,
    **tables: pa.Table,
) -> Path:
    cases = CASES if cases is None else cases
    names = sorted({c["hospital_id"] for c in cases})
    pool: dict[str, Any] = {
        "pool_id": "all",
        "period": PERIOD,
        "line": "fund",
        "point_value": "8.607403",
    }
    pool |= {"point_value_num": 1, "point_value_den": 2}
    found = {
        "cases": pa.Table.from_pylist(cases),
        "hospitals": pa.Table.from_pylist(hospitals or [hospital_row(h, cases) for h in names]),
        "pools": pa.Table.from_pylist([pool]),
        **tables,
    }
    return write_run(folder, found, MANIFEST if manifest is None else manifest)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run")


def cases_of(path: Path, sheet: str = "病例") -> list[dict[str, Any]]:
    header, *rows = read_rows(path, sheet)
    return [dict(zip(header, row, strict=True)) for row in rows]


def block(path: Path, heading: str, sheet: str = "对账") -> list[list[Any]]:
    """Return the rows under a heading of the reconciliation, without blanks at their ends."""
    rows = read_rows(path, sheet)
    start = next(k for k, row in enumerate(rows) if row[0] == heading) + 1
    found = []
    for row in rows[start:]:
        if not any(c != "" for c in row):
            break
        while row and row[-1] == "":
            row = row[:-1]
        found.append(row)
    return found


# -------------------------------------------------------------------------------------------- cases


def test_a_dip_statement_has_the_official_columns(run: Path) -> None:
    files = write_statements(run)
    assert [f.relative_to(run).as_posix() for f in files] == [
        "statements/H%2C1.xlsx",
        "statements/H%2C1.parquet",
        "statements/H2.xlsx",
        "statements/H2.parquet",
    ]
    header = read_rows(files[0], "病例")[0]
    assert tuple(header[: len(OFFICIAL)]) == OFFICIAL
    a, b, c, d, total = cases_of(files[0])
    assert [r["结算流水号"] for r in (a, b, c, d, total)] == ["a", "b", "c", "d", "合计"]
    assert (a["病种类型"], a["病种分值"], a["机构等级系数"]) == ("核心病种", 1123.45, 1.1)
    assert (a["预算单价"], a["结算点值"], a["支付额"]) == (8.25, 8.607403, 4999.99)
    assert (a["再入院系数"], a["特病单议系数"]) == (0.85, "")
    assert (a["结算日期"], a["住院天数"], a["入组状态"]) == (date(2025, 3, 5), 8.0, "入组")
    assert (a["是否偏差病例"], a["偏差类型"], a["偏差病例分值"]) == ("否", "正常", "")
    assert (b["是否偏差病例"], b["偏差类型"], b["偏差病例分值"]) == ("是", "费用偏高", 1235.795)
    assert (c["是否特病单议"], c["特病单议结论"], c["特病单议分值"]) == ("是", "核定分值", 1235.795)
    assert (c["偏差病例分值"], c["特病单议系数"]) == ("", 1.0)
    assert (d["是否特病单议"], d["特病单议结论"], d["特病单议分值"]) == ("是", "不予单议", "")
    assert total["实际发生总费用"] == 40_000.04
    assert total["支付额"] == 1_234_567_905_123.42
    assert total["基准费用"] == ""
    [e, _] = cases_of(files[2])
    assert (e["入组状态"], e["原因"], e["最终分值"]) == ("拒绝", "duplicate_case_id", "")


def test_subtypes_stand_in_their_own_columns_if_the_catalogue_is_known(
    run: Path, tmp_path: Path
) -> None:
    a, _, _, d, _ = cases_of(write_statements(run)[0])
    assert (a["辅助目录"], a["辅助目录最终系数"], a["年龄级别"]) == ("child", 1.25, "")
    catalogue = tmp_path / "city-dip"
    catalogue.mkdir()
    text = '[[auxiliary]]\nid = "child"\nfamily = "age"\n'
    text += '[[auxiliary]]\nid = "tumour-3"\nfamily = "肿瘤"\n'
    (catalogue / "scheme.toml").write_text(text, "utf-8")
    a, b, _, d, _ = cases_of(write_statements(run, catalogue=catalogue)[0])
    assert (a["年龄级别"], a["年龄系数"], a["肿瘤严重程度级别"]) == ("child", 1.25, "")
    assert (d["肿瘤严重程度级别"], d["肿瘤严重程度系数"]) == ("tumour-3", 1.3)
    assert (b["年龄级别"], b["年龄系数"], b["疾病严重程度级别"]) == ("", "", "")


def test_a_drg_statement_has_the_counterparts(tmp_path: Path) -> None:
    cases = [{**c, "group_class": None} for c in CASES]
    file = write_statements(make_run(tmp_path / "run", cases), formats=["xlsx"])[0]
    a, b, *_ = cases_of(file)
    assert "病种编码" not in a
    assert a["主要诊断大类（MDC）"] == "F"
    assert (a["核心疾病诊断相关组（ADRG）"], a["疾病诊断相关组（DRG）"]) == ("FR2", "FR21")
    assert (a["严重程度"], a["权重"]) == ("严重并发症或合并症", 11.2345)
    assert (b["是否高低倍率"], b["倍率类型"], b["倍率病例点数"]) == ("是", "高倍率", 1235.795)
    assert a["最终点数"] == 1235.795
    by_rate = {"kind": "rate", "rate": "fixed"}
    manifest = {**MANIFEST, "policy": {"method": by_rate}}
    file = write_statements(make_run(tmp_path / "rate", cases, manifest=manifest))[0]
    a, *_ = cases_of(file)
    assert (a["病例支付标准（元）"], a["权重"], a["预算单价"]) == (1235.795, 11.2345, "")


@pytest.mark.parametrize(
    ("lang", "header", "sheets"),
    [
        ("zh", "支付额", ["病例", "对账"]),
        ("en", "pay", ["cases", "reconciliation"]),
        ("both", "支付额 pay", ["病例 cases", "对账 reconciliation"]),
    ],
)
def test_headers_are_in_the_language_asked_for(
    lang: Any, header: str, sheets: list[str], run: Path
) -> None:
    file = write_statements(run, lang=lang)[0]
    with zipfile.ZipFile(file) as z:
        book = z.read("xl/workbook.xml").decode()
    assert re.findall(r'<sheet name="([^"]*)"', book) == sheets
    [first, *_] = cases_of(file, sheets[0])
    assert first[header] == 4999.99
    is_deviating = next(v for h, v in first.items() if "is_deviating" in h or "是否偏差" in h)
    assert is_deviating == ("no" if lang == "en" else "否")


def test_money_is_written_digit_by_digit_and_text_is_never_a_formula(
    tmp_path: Path,
) -> None:
    amounts = [10**13 - 1, -1, 29, 100, 999_999_999_999_999, 57]
    cases = [case(f"{k}", "H", pay_fen=fen) for k, fen in enumerate(amounts)]
    cases[0]["group_name"] = "=HYPERLINK(1)"
    cases[1]["group_name"] = "<r><t>bold</t></r>"
    cases[2]["group_name"] = "+1"
    file = write_statements(make_run(tmp_path / "run", cases), formats=["xlsx"])[0]
    with zipfile.ZipFile(file) as z:
        pages = [z.read(n).decode() for n in z.namelist() if n.startswith("xl/worksheets/sheet")]
    assert len(pages) == 2
    assert not any("<f" in page for page in pages)
    for text in ("99999999999.99", "-0.01", "0.29", "1.00", "9999999999999.99", "0.57"):
        assert f"<v>{text}</v>" in pages[0]
    rows = cases_of(file)
    assert [r["病种名称"] for r in rows[:2]] == ["=HYPERLINK(1)", " <r><t>bold</t></r>"]
    assert rows[-1]["支付额"] == "10100000000001.83"  # beyond a double's fen: text


def test_a_parquet_statement_is_fen_and_names_the_run(run: Path) -> None:
    file = write_statements(run, formats=["parquet"])[0]
    table = pq.read_table(file)
    assert table["case_id"].to_pylist() == ["a", "b", "c", "d"]
    assert table["pay_fen"].to_pylist()[1] == 123_456_789_012_345
    money = [f for f in table.schema if f.name.endswith("_fen")]
    assert len(money) == 11
    assert {f.type for f in money} == {pa.int64()}
    assert table["final_score"][0].as_py() == Decimal("1235.7950")
    assert table["is_deviating"].to_pylist() == [False, True, True, False]
    told = {k.decode(): v.decode() for k, v in pq.read_schema(file).metadata.items()}
    assert told["grouper.content_hash"] == "cafe"
    assert json.loads(told["grouper.outputs"]) == {"cases": "cafe", "pools": "beef"}
    assert (told["grouper.hospital_id"], told["grouper.policy"]) == (H1, "f00d")


def test_without_hashes_in_the_manifest_the_cases_are_hashed(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", manifest={})
    file = write_statements(run, formats=["parquet"])[0]
    told = pq.read_schema(file).metadata[b"grouper.content_hash"].decode()
    assert told == content_hash(read_run(run).tables["cases"])
    assert cases_of(write_statements(run)[0])[0]["预算单价"] == ""


def test_a_full_sheet_goes_on_in_the_next(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_audit_book, "SHEET_ROWS", 4)
    file = write_statements(run, hospitals=[H1], formats=["xlsx"])[0]
    ids = [[r["结算流水号"] for r in cases_of(file, name)] for name in ("病例", "病例 2")]
    assert ids == [["a", "b", "c"], ["d", "合计"]]


# ----------------------------------------------------------------------------------- reconciliation


def test_the_reconciliation_ties(run: Path) -> None:
    file = write_statements(run)[0]
    about = dict(block(file, "对账单"))
    assert (about["机构"], about["结算期"], about["政策"]) == (H1, "2025", "某市 2025")
    assert about["结果内容哈希"] == "cafe"
    assert [r[:2] for r in block(file, "按偏差类型")[1:]] == [
        ["费用偏高", 1.0],
        ["费用偏低", 1.0],
        ["正常", 2.0],
        ["合计", 4.0],
    ]
    assert [r[:2] for r in block(file, "按结算月份")[1:]] == [
        ["2025-03", 3.0],
        ["2025-04", 1.0],
        ["合计", 4.0],
    ]
    figures = {r[3]: r[4:] for r in block(file, "病例合计与机构结果")[1:]}
    assert figures["人次"] == [4.0, 4.0, 0.0, "相符"]
    assert figures["支付额"] == [1_234_567_905_123.42, 1_234_567_905_123.42, 0.0, "相符"]
    assert len(figures) == 7
    header, line, total = block(file, "应付：支付额加各项分录")
    assert header[3:5] == ["支付额", "特例单议（风险金）"]
    assert (line[6], line[7], line[-3], line[-2:]) == (
        -1.0,
        -0.5,
        1_234_567_905_121.92,
        [0.0, "相符"],
    )
    assert total[-1] == 1_234_567_905_121.92
    [_, line, _] = block(file, "现金：应付减已月付减预付金")
    assert line[3:] == [1_234_567_905_121.92, 10.0, 2.0, 1_234_567_905_109.92, 0.0, "相符"]
    assert not any(r[0] == "月预结拨付" for r in read_rows(file, "对账"))


@pytest.mark.parametrize(
    ("change", "heading", "difference"),
    [
        ({"pay_fen": 123_456_790_512_343, "payable_fen": 123_456_790_512_193}, "病例", -0.01),
        ({"patient_fen": 1_600_005}, "病例", -0.01),
        ({"cases": 5}, "病例", -1.0),
        ({"payable_fen": 123_456_790_512_191}, "应付", 0.01),
        ({"to_pay_fen": 123_456_790_510_991}, "现金", 0.01),
    ],
)
def test_what_does_not_tie_is_said(
    change: dict[str, int], heading: str, difference: float, tmp_path: Path
) -> None:
    rows = [hospital_row(H1, CASES, **change), hospital_row("H2", CASES)]
    file = write_statements(make_run(tmp_path / "run", hospitals=rows))[0]
    headings = ("病例合计与机构结果", "应付：支付额加各项分录", "现金：应付减已月付减预付金")
    wrong = {
        h[:2]: [r for r in block(file, h) if r[-1] == "不符"]
        for h in headings
        if any(r[-1] == "不符" for r in block(file, h))
    }
    assert heading in wrong
    assert [r[-2] for r in wrong[heading]] == [difference]


def test_cases_of_lines_and_periods_count_in_their_own_rows(tmp_path: Path) -> None:
    cases = [
        case("a", "H"),
        case("b", "H", family="visits"),
        case("c", "H", settlement_date=date(2024, 12, 31), carve_out_pay_fen=77),
        case("d", "H", pool_id="other"),
    ]
    lines = [
        ("fund", PERIOD, [0]),
        ("family:visits", PERIOD, [1]),
        ("fund", "2024-01-01/2024-12-31", [2]),
    ]
    rows = [
        hospital_row("H", [cases[k] for k in mine], line=line, period=period)
        for line, period, mine in lines
    ]
    carved = hospital_row("H", [cases[2]], line="carve_out", period="2024-01-01/2024-12-31")
    rows.append({**carved, "cost_fen": 0, "pay_fen": 77})
    pools = pa.table({"pool_id": ["all"] * 2, "line": ["fund", "family:visits"]})
    run = make_run(tmp_path / "run", cases, rows, pools=pools)
    found = block(write_statements(run)[0], "病例合计与机构结果")[1:]
    assert [r for r in found if r[-1] != "相符"] == [
        ["", "", "", "无机构结果的病例", 1.0, 0.0, 1.0, "不符"]
    ]
    assert [r[1:6] for r in found if r[2] == "carve_out"] == [
        ["2024-01-01/2024-12-31", "carve_out", "人次", 1.0, 1.0],
        ["2024-01-01/2024-12-31", "carve_out", "除外支付额", 0.77, 0.77],
    ]


def test_payments_and_entries_are_those_of_the_hospital(tmp_path: Path) -> None:
    payment = {"pool_id": "all", "line": "fund", "cases": 2, "pay_fen": 500, "paid_fen": 450}
    months = [("2025-02", H1), ("2025-01", H1), ("2025-01", "H2")]
    payments = [{**payment, "hospital_id": h, "month": m, "due_fen": 450} for m, h in months]
    entry = {"kind": "deduction", "pool_id": "all", "amount_fen": -5, "reason": "=cmd|x"}
    ledger = [
        {**entry, "entry_id": "1", "hospital_id": H1, "case_id": None},
        {**entry, "entry_id": "2", "hospital_id": "H2", "case_id": None},
        {**entry, "entry_id": "3", "hospital_id": None, "case_id": "a"},
        {**entry, "entry_id": "4", "hospital_id": None, "case_id": "e"},
    ]
    tables = {"payments": pa.Table.from_pylist(payments), "ledger": pa.Table.from_pylist(ledger)}
    file = write_statements(make_run(tmp_path / "run", **tables))[0]
    rows = block(file, "月预结拨付")
    assert [r[2] for r in rows[:-1]] == ["月份", "2025-01", "2025-02"]
    assert rows[-1][rows[0].index("支付额")] == 10.0
    assert rows[-1][rows[0].index("实际拨付")] == 9.0
    assert rows[-1][rows[0].index("本月应拨")] == ""
    entries = block(file, "台账分录")
    assert [(r[0], r[5]) for r in entries[1:]] == [("1", -0.05), ("3", -0.05)]
    assert entries[1][8] == "=cmd|x"


def test_a_hospital_without_cases_still_has_a_statement(tmp_path: Path) -> None:
    idle = hospital_row("H3", CASES)
    rows = [*(hospital_row(h, CASES) for h in (H1, "H2")), idle]
    files = write_statements(make_run(tmp_path / "run", hospitals=rows))
    assert [f.name for f in files[-2:]] == ["H3.xlsx", "H3.parquet"]
    assert pq.read_metadata(files[-1]).num_rows == 0
    assert [r["结算流水号"] for r in cases_of(files[-2])] == ["合计"]
    assert block(files[-2], "应付：支付额加各项分录")[1][-1] == "相符"


# -------------------------------------------------------------------------------------------- files


def test_names_are_safe_and_no_two_alike() -> None:
    ids = [
        *("H001", "h001", "人民医院", "a/b", "a%2Fb", "a_b", "..", ".", "", "CON", "aux.x"),
        *(
            "a b",
            "a ",
            "\u00e9",
            "e\u0301",
            "x" * 300,
            "x" * 301,
            "x" * 80,
            "e~1",
            "﨑",
            "A\\B",
            "a:b",
        ),
    ]
    names = file_names(ids)
    assert (names["人民医院"], names["a_b"], names["a/b"]) == ("人民医院", "a_b", "a%2Fb")
    assert re.fullmatch(r"H001~[0-9a-f]{16}", names["H001"])
    assert len({n.casefold() for n in names.values()}) == len(ids)
    for name in names.values():
        assert re.fullmatch(r"[\w%~-]{1,120}", name), name
        assert name.casefold() not in ("con", "aux", "nul")
    assert file_names(["H001"]) == {"H001": "H001"}


def test_names_do_not_depend_on_which_hospitals_are_asked_for(tmp_path: Path) -> None:
    cases = [case("1", "h"), case("2", "H"), case("3", "x")]
    run = make_run(tmp_path / "run", cases)
    every = write_statements(run, formats=["parquet"])
    one = write_statements(run, hospitals=["h"], formats=["parquet"])
    assert len({f.name.casefold() for f in every}) == 3
    assert one[0] in every
    assert pq.read_table(one[0])["case_id"].to_pylist() == ["1"]
    assert sorted(p.name for p in one[0].parent.iterdir()) == sorted([one[0].name, "index.json"])


def test_earlier_statements_are_replaced_and_other_files_are_refused(
    run: Path, tmp_path: Path
) -> None:
    target = tmp_path / "out"
    write_statements(run, target)
    files = write_statements(read_run(run), target, hospitals=["H2"])
    assert sorted(p.name for p in target.iterdir()) == ["H2.parquet", "H2.xlsx", "index.json"]
    assert [f.name for f in files] == ["H2.xlsx", "H2.parquet"]
    assert json.loads((target / "index.json").read_text())["files"] == {
        "H2.xlsx": "H2",
        "H2.parquet": "H2",
    }
    (target / "mine.xlsx").write_text("mine")
    with pytest.raises(CaseFileError, match=r"it holds mine\.xlsx, which is no statement"):
        write_statements(run, target)
    assert (target / "mine.xlsx").read_text() == "mine"
    with pytest.raises(CaseFileError, match="it is a file"):
        write_statements(run, target / "mine.xlsx")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "index.json").write_text("[1]")
    with pytest.raises(CaseFileError, match=r"it holds index\.json"):
        write_statements(run, tmp_path / "photos")


@pytest.mark.parametrize("error", [ValueError, OSError, KeyboardInterrupt])
def test_all_statements_or_none(
    error: type[BaseException], run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_statements(run, hospitals=["H2"])
    before = sorted(p.name for p in (run / "statements").iterdir())
    write: Callable[..., None] = _statements._WRITERS["parquet"]

    def fail(path: Path, layout: Any, hospital: str, lang: Any) -> None:
        if hospital == "H2":
            raise error("no more")
        write(path, layout, hospital, lang)

    monkeypatch.setitem(_statements._WRITERS, "parquet", fail)
    with pytest.raises(CaseFileError if error is OSError else error):
        write_statements(run)
    assert sorted(p.name for p in (run / "statements").iterdir()) == before
    assert not [p for p in run.iterdir() if p.name.startswith(".")]


def test_refusals(run: Path, tmp_path: Path) -> None:
    with pytest.raises(CaseFileError, match=r"no hospital 'H9' in this run; it has H,1, H2"):
        write_statements(run, hospitals=["H2", "H9"])
    with pytest.raises(CaseFileError, match="statements are zh, en or both; xlsx, parquet"):
        write_statements(run, lang="fr")  # type: ignore[arg-type]
    with pytest.raises(CaseFileError, match="statements are zh, en or both; xlsx, parquet"):
        write_statements(run, formats=["csv"])  # type: ignore[list-item]
    grouped = RunFolder(tmp_path, {"cases": pa.table({"case_id": ["a"]})}, {})
    with pytest.raises(CaseFileError, match="no settled cases"):
        write_statements(grouped)
    assert not (run / "statements").exists()
