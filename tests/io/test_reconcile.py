"""reconcile: every class of difference from both sides, every layout, and money that adds up."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import python_calamine
from hypothesis import given, settings
from hypothesis import strategies as st

from grouper import _reconcile
from grouper._reconcile import Reconciliation, reconcile
from grouper._reconcile_fields import FIELDS, canonical_word, half_up, version
from grouper._reconcile_output import CLASSES, Difference, summary_table
from grouper._writing import RunFolder
from grouper.errors import CaseFileError, CaseSchemaError, ConservationError
from grouper.io import read_run, write_run, write_table

pytestmark = pytest.mark.promise(
    "Another's workbook is reconciled with ours, every difference classed"
)

CASE: dict[str, Any] = {
    "status": "grouped",
    "mdc": "MDCB",
    "adrg": "BB1",
    "group": "BB11",
    "group_name": "脑创伤开颅术",
    "severity": "mcc",
    "rule": "adrg.csv:7 BB1 > drg.csv:9",
    "scheme": "chs-drg-1.1",
    "aux_type": "early-death",
    "hospital_id": "H1",
    "pool_id": "employee",
    "settlement_date": date(2025, 3, 14),
    "settlement_month": "2025-03",
    "weight_or_score": Decimal("1234.5670"),
    "total_cost_fen": 1_000_000,
    "carve_out_fen": 0,
    "benchmark_fen": 900_000,
    "ratio": Decimal("1.1111"),
    "band": "normal",
    "hospital_factor": Decimal("1.05"),
    "aux_factor": Decimal("1.200000"),
    "special_factor": Decimal("1"),
    "final_score": Decimal("1555.5544"),
    "standard_fen": 1_400_000,
    "booked_fund_fen": 700_000,
    "other_payers_fen": 0,
    "patient_fen": 300_000,
    "carve_out_pay_fen": 0,
    "pay_fen": 1_100_000,
}
TYPES = {
    **{n: pa.int64() for n in CASE if n.endswith("_fen")},
    **dict.fromkeys(("weight_or_score", "ratio", "final_score"), pa.decimal128(19, 4)),
    **dict.fromkeys(("hospital_factor", "aux_factor", "special_factor"), pa.decimal128(12, 6)),
    "settlement_date": pa.date32(),
}
POOL: dict[str, Any] = {
    "pool_id": "employee",
    "period": "2025-03",
    "line": "fund",
    "point_value": "9.000643",
    "point_value_num": 9_000_642_999,
    "point_value_den": 100_000_000_000,
}
MANIFEST: dict[str, Any] = {
    "scheme": {"id": "chs-drg-1.1"},
    "policy": {"method": {"kind": "point", "score_decimals": 4, "points_per_weight": 1}},
}

THEIRS: dict[str, str] = {
    "setl_id": "1",
    "grp_ver": "CHS-DRG 1.1版",
    "mdc_codg": "B",
    "adrg_code": "BB1",
    "drg_code": "BB11",
    "ccmcc": "MCC",
    "grp_dise_sco": "1234.567",
    "asst_list_detl": "早期死亡",
    "asst_list_coef": "1.2",
    "hosp_coef": "1.05",
    "dev_type": "正常",
    "dev_mult": "1.11",
    "dise_sco": "1555.5544",
    "setl_pt_val": "9.0006",
    "medfee_sumamt": "10000.00",
    "fund_pay_sumamt": "7000.00",
    "psn_part_amt": "3000.00",
    "oth_pay": "0.00",
    "excp_fee": "0.00",
    "excp_pay": "0.00",
    "pay_std": "14000.00",
    "fund_pay": "11000.00",
}
CHINESE = {
    "结算流水号": "1",
    "姓名": "张三",
    "机构等级系数": "1.05",
    "实际发生总费用": "10,000.00",
    "医保记账费用": "7000",
    "住院天数": "9",
    "病种编码": "BB11",
    "病种分值": "１２３４.567",
    "辅助目录最终系数": "1.20",
    "偏差类型": "",
    "最终分值": "1555.5544",
    "预算单价": "9.1",
    "分值结算点值": "9.00064",
    "支付额（元）": "11000.00",
}


def ours(*rows: Mapping[str, Any], without: Sequence[str] = ()) -> pa.Table:
    """Make the cases of a run: each row says what differs from `CASE`."""
    full = [{**CASE, **r} for r in rows]
    names = [n for n in ("case_id", *CASE) if n not in without]
    return pa.table({n: pa.array([r[n] for r in full], TYPES.get(n, pa.string())) for n in names})


def run(
    *rows: Mapping[str, Any],
    pools: Sequence[Mapping[str, Any]] = (POOL,),
    manifest: Mapping[str, Any] = MANIFEST,
    without: Sequence[str] = (),
) -> RunFolder:
    tables = {"cases": ours(*rows, without=without), "pools": pa.Table.from_pylist(list(pools))}
    return RunFolder(Path("run"), tables, manifest)


def theirs(*rows: Mapping[str, str], base: Mapping[str, str] = THEIRS) -> pa.Table:
    """Make the insurer's table: each row says what differs from `base`."""
    full = [{**base, **r} for r in rows]
    names = list(dict.fromkeys(n for r in full for n in r))
    return pa.table({n: pa.array([r.get(n, "") for r in full], pa.string()) for n in names})


def csv_bytes(table: pa.Table, encoding: str = "utf-8") -> bytes:
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(table.column_names)
    writer.writerows(zip(*(c.to_pylist() for c in table.columns), strict=True))
    return file.getvalue().encode(encoding)


def only(found: Reconciliation) -> dict[str, Any]:
    (row,) = found.differences().to_pylist()
    return dict(row)


# ---------------------------------------------------------------------------------------- classes


def test_a_case_that_agrees_is_no_difference() -> None:
    found = reconcile(run({"case_id": "1"}), theirs({}))
    assert found.counts == {"ours": 1, "theirs": 1, "both": 1, "equal": 1}
    assert found.differences().num_rows == found.summary().num_rows == found.appeal().num_rows == 0
    assert set(found.report["compared"]) | set(found.report["not_compared"]) == {
        f.name for f in FIELDS
    }
    assert set(found.report["not_compared"]) == {"weight", "benchmark", "special_factor"}
    assert found.report["money"]["ours_fen"] == found.report["money"]["theirs_fen"] == 1_100_000


@pytest.mark.parametrize(
    ("column", "cell", "cause", "field"),
    [
        ("grp_ver", "2.0", "edition", "edition"),
        ("mdc_codg", "C", "group", "mdc"),
        ("adrg_code", "BB2", "group", "adrg"),
        ("drg_code", "BB13", "group", "group"),
        ("drg_code", "", "group", "group"),
        ("drg_code", "0000", "group", "group"),
        ("ccmcc", "无", "severity", "severity"),
        ("ccmcc", "伴并发症或合并症", "severity", "severity"),
        ("rw", "1234.568", "score", "weight"),
        ("grp_dise_sco", "1234.5671", "score", "score"),
        ("asst_list_detl", "", "aux_factor", "aux_type"),
        ("asst_list_coef", "1.21", "aux_factor", "aux_factor"),
        ("hosp_coef", "1", "coefficient", "coefficient"),
        ("dev_type", "高倍率", "band", "band"),
        ("dev_mult", "1.12", "band", "ratio"),
        ("基准费用", "9000.01", "band", "benchmark"),
        ("特病单议系数", "1.5", "final_score", "special_factor"),
        ("dise_sco", "1555.5", "final_score", "final_score"),
        ("setl_pt_val", "9.0007", "point_value", "point_value"),
        ("medfee_sumamt", "10000.01", "patient_share", "total_cost"),
        ("fund_pay_sumamt", "7000.01", "patient_share", "booked"),
        ("psn_part_amt", "2999.99", "patient_share", "patient"),
        ("oth_pay", "0.01", "patient_share", "other_payers"),
        ("excp_fee", "5", "carve_out", "carve_out"),
        ("pay_std", "14000.02", "amount", "standard"),
        ("pay_std", "13999.99", "rounding", "standard"),
        ("fund_pay", "10000", "amount", "pay"),
        ("fund_pay", "11000.01", "rounding", "pay"),
        ("fund_pay", "10999.98", "amount", "pay"),
    ],
)
def test_one_field_that_differs_names_the_class(
    column: str, cell: str, cause: str, field: str
) -> None:
    other = {**THEIRS, "setl_id": "2"}  # a case that agrees holds each column from being blank
    table = theirs({column: cell}, {**other, column: THEIRS.get(column, "")})
    found = reconcile(run({"case_id": "1"}, {"case_id": "2"}), table)
    row = only(found)
    assert (row["case_id"], row["class"], row["fields"]) == ("1", cause, [field])
    assert row["class_zh"] == CLASSES[cause][0]
    paid = cell if column == "fund_pay" else "11000"
    assert row["money_fen"] == 1_100_000 - round(Decimal(paid) * 100)
    assert found.counts["equal"] == 1
    assert found.appeal().num_rows == (row["money_fen"] > 0)


@pytest.mark.parametrize("name", [f.name for f in FIELDS])
def test_the_first_cause_takes_the_case_and_all_are_listed(name: str) -> None:
    """From a field on, everything differs: the class is that of the field."""
    wrong = {
        "weight": ("rw", "7"),
        "benchmark": ("基准费用", "1"),
        "special_factor": ("特病单议系数", "3"),
        "edition": ("grp_ver", "2.0"),
        "severity": ("ccmcc", "CC"),
        "band": ("dev_type", "低倍率"),
        "aux_type": ("asst_list_detl", ""),
    }
    cells: dict[str, str] = {}
    later = FIELDS[[f.name for f in FIELDS].index(name) :]
    for f in later:
        header = next((h for h in f.headers.split() if h in THEIRS), "")
        column, cell = wrong.get(f.name, (header, "7"))
        cells[column] = cell
    table = theirs(cells, {"setl_id": "2"})
    row = only(reconcile(run({"case_id": "1"}, {"case_id": "2"}), table))
    assert row["class"] == later[0].cause
    assert row["fields"] == [f.name for f in later]
    assert len(row["ours"]) == len(row["theirs"]) == len(later)


def test_missing_cases_of_either_side() -> None:
    found = reconcile(
        run({"case_id": "1"}, {"case_id": "a", "pay_fen": 7}),
        theirs({}, {"setl_id": "b", "fund_pay": "0.11", "drg_code": "X"}),
    )
    a, b = found.differences().to_pylist()
    assert (a["case_id"], a["class"], a["money_fen"]) == ("a", "only_ours", 7)
    assert a["reason_zh"].endswith("我方 0.07 元，医保 0.00 元，相差 0.07 元")
    assert (a["amount_theirs_fen"], a["group_theirs"]) == (None, None)
    assert (b["case_id"], b["class"], b["money_fen"]) == ("b", "only_theirs", -11)
    assert (b["amount_ours_fen"], b["group_ours"], b["group_theirs"]) == (None, None, "X")
    assert found.appeal()["case_id"].to_pylist() == ["a"]


def test_repeated_cases_of_either_side_with_all_their_money() -> None:
    found = reconcile(
        run({"case_id": "1"}, {"case_id": "2", "pay_fen": 5}, {"case_id": "2", "pay_fen": 6}),
        theirs({}, {"fund_pay": "-11000.00"}, {"fund_pay": "1"}, {"setl_id": "2"}),
    )
    one, two = found.differences().to_pylist()
    assert (one["class"], one["rows_ours"], one["rows_theirs"]) == ("repeated", 1, 3)
    assert (one["amount_theirs_fen"], one["money_fen"]) == (100, 1_100_000 - 100)
    assert (two["class"], two["rows_ours"], two["money_fen"]) == ("repeated", 2, 11 - 1_100_000)
    assert found.counts == {"ours": 3, "theirs": 4, "both": 2, "equal": 0}


def test_what_is_paid_apart_is_in_the_total_if_both_sides_have_it() -> None:
    mine = run({"case_id": "1", "carve_out_pay_fen": 500})
    row = only(reconcile(mine, theirs({"excp_pay": "4.00"})))
    assert (row["class"], row["amount_ours_fen"], row["money_fen"]) == ("carve_out", 1_100_500, 100)
    table = theirs({"excp_pay": "5"}, {"setl_id": "2", "excp_pay": ""})  # blank: nothing
    second = {"case_id": "2", "carve_out_pay_fen": 500}
    two = run({"case_id": "1", "carve_out_pay_fen": 500}, second)
    row = only(reconcile(two, table))
    assert (row["case_id"], row["class"], row["money_fen"]) == ("2", "carve_out", 500)
    assert reconcile(mine, theirs({}).drop_columns(["excp_pay"])).counts["equal"] == 1


def test_a_group_run_without_amounts_is_compared_all_the_same() -> None:
    result = theirs({"drg_code": "BB13"}).select(["setl_id", "drg_code"])
    found = reconcile(run({"case_id": "1"}), result)
    assert only(found)["money_fen"] is None
    assert found.summary().to_pylist()[0]["money_fen"] is None
    assert found.appeal()["case_id"].to_pylist() == ["1"]
    assert found.report["money"]["basis"] == ""
    assert "未比较金额" in found.summary_text("zh")


def test_standards_are_the_money_where_nothing_is_said_to_be_paid() -> None:
    table = theirs({"pay_std": "13000.005"}).drop_columns(["fund_pay"])
    found = reconcile(run({"case_id": "1"}), table)
    assert only(found)["money_fen"] == 1_400_000 - 1_300_001
    assert found.report["money"]["basis"] == "standard"
    assert found.report["bureau"]["rounded_to_the_fen"] == {"standard": 1}


# ----------------------------------------------------------------------------------- what is equal


def test_numbers_are_compared_at_the_decimals_that_their_file_prints() -> None:
    mine = run({"case_id": "1", "ratio": Decimal("1.2345")}, {"case_id": "2"})
    assert reconcile(mine, theirs({"dev_mult": "1.23"}, {"setl_id": "2"})).counts["equal"] == 2
    row = only(reconcile(mine, theirs({"dev_mult": "1.23"}, {"setl_id": "2", "dev_mult": "1.111"})))
    assert (row["case_id"], row["fields"]) == ("1", ["ratio"])  # their column has three decimals
    finer = theirs({"dev_mult": "1.23451", "dise_sco": "1555.55440001"}, {"setl_id": "2"})
    assert reconcile(mine, finer).counts["equal"] == 1  # ours has four and 1.11 is not 1.1111


def test_floats_leave_no_difference_behind() -> None:
    table = theirs({}).drop_columns(["hosp_coef", "fund_pay"])
    table = table.append_column("hosp_coef", pa.array([0.35 + 0.70]))
    table = table.append_column("fund_pay", pa.array([10999.1 + 0.9]))
    assert reconcile(run({"case_id": "1"}), table).counts["equal"] == 1


def test_the_point_value_is_exact_where_the_run_keeps_it_so() -> None:
    exact = run({"case_id": "1"})  # 9.000642999 yuan, printed as 9.000643
    assert reconcile(exact, theirs({"setl_pt_val": "9.000642999"})).counts["equal"] == 1
    row = only(reconcile(exact, theirs({"setl_pt_val": "9.000643001"})))
    assert (row["ours"], row["theirs"]) == (["9.000642999"], ["9.000643001"])
    printed = run({"case_id": "1"}, pools=[{k: POOL[k] for k in list(POOL)[:4]}])
    assert reconcile(printed, theirs({"setl_pt_val": "9.0006434"})).counts["equal"] == 1


def test_the_point_value_is_that_of_pool_and_period() -> None:
    pools = [
        {**POOL, "period": "2024-01-01/2025-03-31"},
        {**POOL, "period": "2025-04", "point_value_num": 10**11},
        {**POOL, "period": "2025-03", "line": "carve_out", "point_value_num": 1},
        {**POOL, "pool_id": "resident", "period": "2025", "point_value_num": 2 * 10**11},
        {**POOL, "pool_id": "rate", "point_value": None},
    ]
    april = {"settlement_date": date(2025, 4, 1), "settlement_month": "2025-04"}
    mine = run(
        {"case_id": "1"},
        {"case_id": "2", **april},
        {"case_id": "3", "pool_id": "resident"},
        {"case_id": "4", "pool_id": "rate"},
        {"case_id": "5", **april, "final_score": None},
        {"case_id": "6", "settlement_date": date(2023, 1, 1), "settlement_month": "2023-01"},
        pools=pools,
    )
    values = ["9.0006", "100", "200", "5", "5", "5"]
    rows = [{"setl_id": str(k), "setl_pt_val": v} for k, v in enumerate(values, 1)]
    assert reconcile(mine, theirs(*rows)).counts["equal"] == 6
    rows[1]["setl_pt_val"] = "9.0006"
    assert only(reconcile(mine, theirs(*rows)))["case_id"] == "2"
    rows[0]["setl_pt_val"], rows[1]["setl_pt_val"] = "9.0007", "100"
    assert only(reconcile(mine, theirs(*rows)))["case_id"] == "1"


def test_points_of_a_weight() -> None:
    method = {"kind": "point", "score_decimals": 4, "points_per_weight": 100}
    mine = run(
        {"case_id": "1", "weight_or_score": Decimal("1.2159")},
        manifest={"policy": {"method": method}},
    )
    assert reconcile(mine, theirs({"grp_dise_sco": "121.59", "rw": "1.2159"})).counts["equal"] == 1


def test_blanks_say_nothing_but_where_they_mean_something() -> None:
    blank = dict.fromkeys(set(THEIRS) - {"setl_id", "fund_pay", "drg_code", "asst_list_detl"}, "-")
    two = theirs(blank, {"setl_id": "2"})
    assert reconcile(run({"case_id": "1"}, {"case_id": "2"}), two).counts["equal"] == 2
    mine = run(
        {"case_id": "1", "group": None, "mdc": None, "adrg": None, "severity": None},
        {"case_id": "2", "band": "low"},
        {"case_id": "3", "band": None, "ratio": None, "benchmark_fen": None},
    )
    table = theirs(
        {"drg_code": "未入组", "mdc_codg": "", "adrg_code": "", "ccmcc": ""},
        {"setl_id": "2", "dev_type": ""},
        {"setl_id": "3", "dev_type": "无"},
    )
    row = only(reconcile(mine, table))
    assert (row["case_id"], row["class"], row["theirs"]) == ("2", "band", [""])
    unpaid = theirs({"fund_pay": ""}, {"setl_id": "2"})
    row = only(reconcile(run({"case_id": "1"}, {"case_id": "2"}), unpaid))
    assert (row["class"], row["money_fen"]) == ("unreadable", 1_100_000)
    assert "支付额为空" in row["reason_zh"]


def test_a_column_that_is_blank_throughout_is_not_compared() -> None:
    table = theirs({"fund_pay": "", "drg_code": "/"})
    found = reconcile(run({"case_id": "1"}), table)
    assert found.counts["equal"] == 1
    assert {"pay", "group"} <= set(found.report["not_compared"])
    assert found.report["money"]["basis"] == "standard"


def test_words_of_bands_severities_and_editions() -> None:
    bands = {
        "normal": ("正常", "正常倍率", "否", "非偏差病例", "-"),
        "low": ("低倍率", "费用超低", "LOW"),
        "high": ("高倍率病例", "费用极高", "high"),
        "extreme": ("特高倍率", "extreme"),
    }
    for word, texts in bands.items():
        assert {canonical_word("band", t) for t in texts} == {word}
    severities = {"none": ("无", "不伴并发症或合并症"), "mcc": ("伴严重并发症或合并症", "ＭＣＣ")}
    for word, texts in severities.items():
        assert {canonical_word("severity", t) for t in texts} == {word}
    assert canonical_word("severity", "有并发症或合并症") == "cc"
    assert canonical_word("severity", "3") is None
    assert version("CHS-DRG 1.1版(2025)") == version("v1.1.0") == (1, 1)
    assert version("2版") == version("2.0") == (2,)
    assert version("某市版") is None


def test_a_bureau_without_a_third_band_calls_it_high() -> None:
    mine = run({"case_id": "1", "band": "extreme"}, {"case_id": "2"})
    loose = theirs({"dev_type": "高倍率"}, {"setl_id": "2"})
    assert reconcile(mine, loose).counts["equal"] == 2
    strict = theirs({"dev_type": "高倍率"}, {"setl_id": "2", "dev_type": "特高倍率"})
    assert reconcile(mine, strict).summary()["class"].to_pylist() == ["band"]
    assert reconcile(mine, strict).summary()["cases"].to_pylist() == [2]


def test_words_that_are_not_understood_are_told_and_not_compared() -> None:
    found = reconcile(run({"case_id": "1"}), theirs({"ccmcc": "3", "grp_ver": "某市版"}))
    assert found.counts["equal"] == 1
    assert found.report["bureau"]["words_not_understood"] == {"severity": {"3": 1}}
    assert "未识别的内容：严重程度（3）" in found.summary_text()


def test_an_older_run_lacks_columns_and_the_report_says_so() -> None:
    lost = ("carve_out_pay_fen", "settlement_date", "band", "aux_factor", "final_score")
    pools = [{k: POOL[k] for k in ("pool_id", "period", "point_value")}]
    mine = run({"case_id": "1"}, without=lost, pools=pools, manifest={})
    found = reconcile(mine, theirs({"dev_type": "高倍率", "setl_pt_val": "9.000643"}))
    assert found.counts["equal"] == 1
    assert found.report["not_compared"]["band"] == "the run has no column band"
    assert found.report["money"]["parts"] == ["pay"]
    assert "point_value" in found.report["compared"]
    assert "偏差类型" in found.summary_text("zh").partition("未比较：")[2]
    rate = run({"case_id": "1"}, pools=[{**POOL, "point_value": None}])
    told = reconcile(rate, theirs({})).report["not_compared"]
    assert told["point_value"] == "the run has no point value for these cases"


# ---------------------------------------------------------------------------------------- layouts


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
def test_statements_with_chinese_headers(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "对账单.csv"
    path.write_bytes(
        csv_bytes(theirs({}, {"结算流水号": "2", "偏差类型": "高"}, base=CHINESE), encoding)
    )
    found = reconcile(run({"case_id": "1"}, {"case_id": "2"}), path)
    row = only(found)
    assert (row["case_id"], row["class"], row["theirs"]) == ("2", "band", ["高"])
    bureau = found.report["bureau"]
    assert bureau["dropped_columns"] == ["姓名"]
    assert bureau["ignored_columns"] == ["住院天数", "预算单价"]
    assert bureau["columns"]["pay"] == "支付额（元）"
    assert len(bureau["sha256"]) == 64
    json.dumps(found.report)


@pytest.mark.parametrize("ending", [".xlsx", ".parquet", ".csv", ".arrow"])
def test_files_of_every_kind(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"3605{ending}"
    table = theirs({"setl_id": "0012"}, {"setl_id": "2", "fund_pay": "1"})
    write_table(table, path)
    folder = write_run(tmp_path / "run", run().tables, MANIFEST)
    write_table(ours({"case_id": "0012"}, {"case_id": "2"}), folder / "cases.parquet")
    for mine in (folder, str(folder), read_run(folder)):
        row = only(reconcile(mine, str(path)))
        assert (row["case_id"], row["class"], row["money_fen"]) == ("2", "amount", 1_099_900)


def test_dip_results_of_3606() -> None:
    mine = run({"case_id": "1", "group": "I21.0:36.06", "mdc": None, "adrg": None})
    base = {"mdtrt_id": "1", "dip_dise_grp_code": "I21.0:36.06", "grp_dise_sco": "1234.567"}
    assert reconcile(mine, theirs({}, base=base)).counts["equal"] == 1
    row = only(reconcile(mine, theirs({"dip_dise_grp_code": "I21.0:-"}, base=base)))
    assert (row["class"], row["group_theirs"]) == ("group", "I21.0:-")


def test_of_two_ids_the_one_that_finds_cases() -> None:
    both = {"setl_id": "x", "mdtrt_id": "1"}
    found = reconcile(run({"case_id": "1"}), theirs(both))
    assert found.counts["both"] == 1
    assert found.report["bureau"]["columns"]["case_id"] == "mdtrt_id"
    assert found.report["bureau"]["ignored_columns"] == ["setl_id"]
    found = reconcile(run({"case_id": "x"}, {"case_id": "1"}), theirs(both))
    assert found.report["bureau"]["columns"]["case_id"] == "setl_id"


def test_a_map_names_other_headers(tmp_path: Path) -> None:
    path = tmp_path / "map.toml"
    path.write_text(
        '[columns]\ncase_id = "流水"\ngroup = "组"\npay_fen = "金额(分)"\nseverity = "程度"\n'
        '[values.severity]\n"3" = "mcc"\n[values.group]\n"老码" = "BB11"\n'
        '[stand_in]\nedition = "2.0"\n',
        "utf-8",
    )
    base = {"流水": "1", "setl_id": "9", "组": "老码", "金额(分)": "1100000", "程度": "3"}
    found = reconcile(run({"case_id": "1"}), theirs({}, base=base), columns=path)
    row = only(found)
    assert (row["class"], row["fields"], row["money_fen"]) == ("edition", ["edition"], 0)
    assert found.report["bureau"]["ignored_columns"] == ["setl_id"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[columns]\nnonsense = "a"', r"\[columns\] nonsense: no field of that name"),
        ('[columns]\ndrg_code = "a"', r"\[columns\] drg_code: no field"),
        ('[columns]\npay = "支付额"', "no such header; the nearest is '支付额（元）'"),
        ('[columns]\ngroup = "姓名"', "looks personal"),
        ("[stand_in]\nnonsense = 1", r"\[stand_in\] nonsense"),
        ("[values.nonsense]\na = 1", r"\[values\] nonsense"),
        ("[colums]\na = 1", "unknown key"),
    ],
)
def test_faults_of_a_map(text: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "map.toml"
    path.write_text(text, "utf-8")
    with pytest.raises(CaseSchemaError, match=says):
        reconcile(run({"case_id": "1"}), theirs({}, base=CHINESE), columns=path)


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"a": ["1"], "drg_code": ["x"]}, r"map one: \[columns\] case_id = .* are: a, drg_code"),
        ({"setl_id": ["1"], "b": ["x"]}, "nothing to compare"),
        (
            {"setl_id": ["1"], "fund_pay": ["1"], "支付额": ["2"]},
            r"'fund_pay' and '支付额' both give pay; .* \[columns\] pay = \"支付额\"",
        ),
        ({"setl_id": ["1"], "fund_pay": [[1]]}, "column 'fund_pay' is list"),
    ],
)
def test_tables_that_cannot_be_compared(columns: dict[str, Any], says: str) -> None:
    with pytest.raises(CaseSchemaError, match=says):
        reconcile(run({"case_id": "1"}), pa.table(columns))


def test_runs_and_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(CaseFileError, match="no run is there"):
        reconcile(tmp_path, theirs({}))
    with pytest.raises(CaseFileError, match=r"no cases\.parquet"):
        reconcile(RunFolder(tmp_path, {}, {}), theirs({}))
    with pytest.raises(CaseSchemaError, match="no column 'case_id'"):
        reconcile(RunFolder(tmp_path, {"cases": pa.table({"x": [1]})}, {}), theirs({}))
    with pytest.raises(CaseFileError, match="no such file"):
        reconcile(run({"case_id": "1"}), tmp_path / "none.csv")
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_bytes(csv_bytes(theirs({})))
    with pytest.raises(CaseFileError, match="2 files; give the one"):
        reconcile(run({"case_id": "1"}), tmp_path)
    with pytest.raises(CaseSchemaError, match="appeal_working_days is -1"):
        reconcile(run({"case_id": "1"}), theirs({}), appeal_working_days=-1)


def test_rows_of_totals_are_left_out() -> None:
    rows = [{}, {"setl_id": "合 计", "fund_pay": "11000"}]
    found = reconcile(run({"case_id": "1"}), theirs(*rows))
    assert found.counts == {"ours": 1, "theirs": 1, "both": 1, "equal": 1}
    assert found.report["bureau"]["rows_of_totals"] == 1
    first = {"序号": "1", **THEIRS}
    sums = {**dict.fromkeys(first, ""), "序号": "总计：", "fund_pay": "11000"}
    found = reconcile(run({"case_id": "1"}), theirs({}, sums, base=first))
    assert (found.counts["equal"], found.differences().num_rows) == (1, 0)
    assert found.report["money"]["theirs_fen"] == 1_100_000


def test_rows_without_an_id_or_of_a_wrong_width_keep_their_money(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    text = "setl_id,drg_code,fund_pay\n1,BB11\n,BB11,5.00\n2,BB11,11000\n,,\n"
    path.write_text(text, "utf-8")
    found = reconcile(
        run({"case_id": "1"}, {"case_id": "2"}, {"case_id": None, "pay_fen": 9}), path
    )
    rows = found.differences().to_pylist()
    assert [(r["case_id"], r["class"], r["money_fen"]) for r in rows] == [
        ("", "only_ours", 9),
        ("", "unreadable", -500),
        ("", "unreadable", 0),
        ("1", "unreadable", 1_100_000),
    ]
    assert "列数不符（2 cells where the header has 3）" in rows[3]["reason_zh"]
    assert rows[3]["fields"] == []
    assert "第 2 条记录没有病例号" in rows[1]["reason_zh"]
    assert found.counts == {"ours": 3, "theirs": 4, "both": 2, "equal": 1}


# ------------------------------------------------------------------------------------------ money


@pytest.mark.parametrize(
    ("cell", "fen"),
    [
        ("1,234,567.89", 123_456_789),
        ("０.０１", 1),
        ("+5", 500),
        (".5", 50),
        ("-0.005", -1),
        ("0.004999", 0),
        ("90071992547409.93", None),
        ("1.2E+05", None),
        ("12元", None),
        ("=1+1", None),
        ("nan", None),
        ("1e-2", 1),
    ],
)
def test_amounts_are_read_by_their_digits(cell: str, fen: int | None) -> None:
    mine = run({"case_id": "1"}, {"case_id": "2"})
    row = only(reconcile(mine, theirs({"fund_pay": cell}, {"setl_id": "2"})))
    assert row["amount_theirs_fen"] == (fen or 0)
    assert (row["class"] == "unreadable") == (fen is None)


def test_halves_go_away_from_zero() -> None:
    for k in range(-50, 50):
        expected = (Decimal(k) / 10).quantize(Decimal(1), ROUND_HALF_UP)
        assert half_up(Fraction(k, 10)) == half_up(Decimal(k) / 10) == expected


amounts = st.one_of(
    st.integers(-(10**11), 10**11).map(lambda n: f"{Decimal(n).scaleb(-2):f}"),
    st.integers(-(10**6), 10**6).map(lambda n: f"{Decimal(n).scaleb(-4):f}"),
    st.sampled_from(["", "-", "abc", "=1+1", "1,000.00", "11000"]),
)
their_rows = st.lists(
    st.tuples(
        st.sampled_from(["1", "2", "3", "4", "", "合计"]),
        st.sampled_from(["BB11", "BB13", ""]),
        st.sampled_from(["1.05", "1", "x"]),
        amounts,
        st.sampled_from(["", "1", "0.01"]),
    ),
    min_size=1,
    max_size=8,
)
our_rows = st.lists(
    st.tuples(st.sampled_from(["1", "2", "3", "5", None]), st.integers(-(10**12), 10**12)),
    max_size=8,
)


def fen_of(text: str) -> int:
    """Read an amount in another way than the program: what is none is nothing."""
    try:
        exact = Decimal(text.replace(",", "")) * 100
    except ArithmeticError:
        return 0
    return int(exact.quantize(Decimal(1), ROUND_HALF_UP))


@settings(deadline=None, max_examples=80)
@given(our_rows, their_rows)
def test_classes_add_up_to_the_totals(
    mine: list[tuple[str | None, int]], other: list[tuple[str, str, str, str, str]]
) -> None:
    other = [*other, ("9", "BB11", "1.05", "1", "")]  # no column is blank throughout
    table = theirs(
        *(
            {"setl_id": i, "drg_code": g, "hosp_coef": h, "fund_pay": a, "excp_pay": c}
            for i, g, h, a, c in other
        )
    )
    found = reconcile(run(*({"case_id": i, "pay_fen": p} for i, p in mine)), table)
    kept = [r for r in other if r[0] != "合计"]
    rows = found.differences().to_pylist()
    total = sum(fen_of(a) + fen_of(c) for *_, a, c in kept)
    assert found.report["money"]["theirs_fen"] == total
    assert found.report["money"]["ours_fen"] == sum(p for _, p in mine)
    assert sum(r["money_fen"] for r in rows) == sum(p for _, p in mine) - total
    assert sum(found.summary()["money_fen"].to_pylist()) == sum(p for _, p in mine) - total
    for r in found.summary().to_pylist():
        assert r["money_fen"] == r["unfavourable_fen"] - r["favourable_fen"]
    assert sum(r["rows_ours"] for r in rows) + found.counts["equal"] == len(mine)
    assert sum(r["rows_theirs"] for r in rows) + found.counts["equal"] == len(kept)
    assert all(r["class"] in CLASSES for r in rows)


def test_money_that_does_not_add_up_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def forgetful(found: Sequence[Difference], has_money: bool) -> pa.Table:
        return summary_table(found[1:], has_money)

    monkeypatch.setattr(_reconcile, "summary_table", forgetful)
    with pytest.raises(ConservationError, match="add up to 0 fen, the totals differ by 100"):
        reconcile(run({"case_id": "1"}), theirs({"fund_pay": "10999"}))
    monkeypatch.undo()
    monkeypatch.setattr(_reconcile, "_match", lambda a, b: [])
    with pytest.raises(ConservationError, match="1 rows of ours; 0 differ, 0 are equal"):
        reconcile(run({"case_id": "1"}), theirs({}))


# --------------------------------------------------------------------------------------- deadline


@pytest.mark.parametrize(
    ("today", "left"),
    [
        (date(2025, 4, 25), 10),  # a Friday, the day of receipt
        (date(2025, 4, 26), 10),
        (date(2025, 4, 27), 9),  # a Sunday that makes up for a holiday
        (date(2025, 5, 5), 6),  # a Monday, the last holiday
        (date(2025, 5, 12), 1),
        (date(2025, 5, 13), 0),
        (date(2025, 5, 14), -1),
        (date(2025, 5, 18), -3),
        (date(2025, 5, 19), -4),
    ],
)
def test_days_left_skip_weekends_and_holidays(today: date, left: int) -> None:
    dates = {
        "holidays": [f"2025-05-0{k}" for k in range(1, 6)],
        "workdays": ["2025-04-27"],
    }
    found = reconcile(
        run({"case_id": "1"}, manifest={**MANIFEST, "deadlines": dates}),
        theirs({"fund_pay": "1"}),
        received_on=date(2025, 4, 25),
        today=today,
    )
    assert found.report["deadline"]["last_day"] == "2025-05-13"
    assert found.appeal()["days_left"].to_pylist() == [left]


def test_days_left_without_a_calendar_and_without_a_day() -> None:
    mine, table = run({"case_id": "1"}), theirs({"fund_pay": "1"})
    found = reconcile(mine, table, received_on=date(2025, 4, 25), today=date(2025, 5, 1))
    assert found.appeal()["last_day"].to_pylist() == [date(2025, 5, 9)]
    assert "剩余 6 个工作日（只扣除周末，未知节假日）" in found.summary_text("zh")
    assert "6 working days left (weekends only" in found.summary_text("en")
    late = reconcile(
        mine, table, received_on=date(2025, 4, 25), appeal_working_days=0, today=date(2025, 4, 28)
    )
    assert "the time to appeal ended on 2025-04-25" in late.summary_text("en")
    none = reconcile(mine, table)
    assert none.report["deadline"] is None
    assert none.appeal()["days_left"].to_pylist() == [None]
    wrong = run({"case_id": "1"}, manifest={"deadlines": {"holidays": ["May"]}})
    with pytest.raises(CaseFileError, match="holidays and workdays are lists of days"):
        reconcile(wrong, table, received_on=date(2025, 4, 25))


# ----------------------------------------------------------------------------------------- output


def hostile() -> Reconciliation:
    rows = [
        {"fund_pay": "=1+1", "drg_code": "@SUM(A1)"},
        {"setl_id": "=cmd|' /C calc'!A0", "fund_pay": "-1"},
        {"setl_id": "2", "fund_pay": "10000", "drg_code": "+x", "hosp_coef": "1.00"},
        {"setl_id": "3", "fund_pay": "10999.99"},
    ]
    mine = [{"case_id": "1"}, {"case_id": "2"}, {"case_id": "3"}]
    return reconcile(
        run(*mine), theirs(*rows), received_on=date(2025, 3, 3), today=date(2025, 3, 4)
    )


def test_the_workbook_holds_summary_differences_and_appeal(tmp_path: Path) -> None:
    found, path = hostile(), tmp_path / "out" / "对账.xlsx"
    found.write(path)
    found.write(path)
    book = python_calamine.CalamineWorkbook.from_path(str(path))
    assert book.sheet_names == ["汇总", "差异", "申诉表", "说明"]
    sheets = {n: book.get_sheet_by_name(n).to_python() for n in book.sheet_names}
    assert sheets["汇总"] == [
        ["类别代码", "差异类别", "例数", "差额（我方减医保）", "医保多付", "医保少付"],
        ["only_theirs", "医保有而我方无", 1.0, 1.0, 0.0, 1.0],
        ["unreadable", "无法读取", 1.0, 11000.0, 0.0, 11000.0],
        ["group", "分组不同", 1.0, 1000.0, 0.0, 1000.0],
        ["rounding", "尾差", 1.0, 0.01, 0.0, 0.01],
    ]
    cells = [dict(zip(sheets["差异"][0], row, strict=True)) for row in sheets["差异"][1:]]
    assert [c["结算流水号"] for c in cells] == ["1", "2", "3", "=cmd|' /C calc'!A0"]
    assert [c["医保病组"] for c in cells] == ["@SUM(A1)", "+x", "BB11", "BB11"]
    assert cells[1]["不同的字段"] == "group|coefficient|pay"
    assert "“fund_pay”栏的“=1+1”不是数字" in cells[0]["理由"]
    appeal = [dict(zip(sheets["申诉表"][0], row, strict=True)) for row in sheets["申诉表"][1:]]
    assert [a["差额（我方减医保）"] for a in appeal] == [11000.0, 1000.0, 0.01]
    assert appeal[1]["理由"] == (
        "病组：我方 BB11，医保 +x；等级系数：我方 1.05，医保 1.00；支付额：我方 11000.00，医保 10000.00；"
        "相差 1000.00 元"
    )
    assert appeal[1]["我方分组规则"] == CASE["rule"]
    assert (appeal[1]["总费用"], appeal[1]["权重或分值"]) == (10000.0, 1234.567)
    assert (appeal[1]["申诉截止日"], appeal[1]["剩余工作日"]) == (date(2025, 3, 17), 9.0)
    assert [row[0] for row in sheets["说明"][1:]] == found.summary_text().splitlines()
    with zipfile.ZipFile(path) as parts:
        sheets_xml = [parts.read(n) for n in parts.namelist() if n.startswith("xl/worksheets/")]
    assert len(sheets_xml) == 4
    assert not any(b"<f>" in xml for xml in sheets_xml)  # no cell is a formula


def test_a_folder_holds_the_same_as_parquet_and_csv(tmp_path: Path) -> None:
    found, folder = hostile(), tmp_path / "out"
    found.write(folder)
    back = read_run(folder)
    assert back.tables["differences"].equals(found.differences())
    assert back.tables["summary"].equals(found.summary())
    assert back.tables["appeal"]["case_id"].to_pylist() == ["1", "2", "3"]
    assert back.manifest == json.loads(json.dumps(found.report))
    rows = list(csv.DictReader(io.StringIO((folder / "differences.csv").read_text("utf-8"))))
    assert [r["case_id"] for r in rows] == ["1", "2", "3", "'=cmd|' /C calc'!A0"]
    assert [r["group_theirs"] for r in rows] == ["'@SUM(A1)", "'+x", "BB11", "BB11"]
    assert [r["money_fen"] for r in rows] == ["1100000", "100000", "1", "100"]
    with pytest.raises(CaseFileError, match="allow overwriting"):
        found.write(folder)
    found.write(folder, overwrite=True)
    with pytest.raises(CaseFileError, match=r"a workbook \(\.xlsx\) or a folder"):
        found.write(tmp_path / "out.csv")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out"]


def test_text_in_two_languages() -> None:
    found = hostile()
    zh = found.summary_text("zh").splitlines()
    assert zh[0] == "我方 3 行，医保 4 行；两边都有 3 例，其中一致 0 例"
    assert zh[1] == "支付额合计：我方 33000.00 元，医保 20998.99 元，我方减医保 12001.01 元"
    assert "  分组不同：1 例，差额 1000.00 元（医保多付 0.00，少付 1000.00）" in zh
    en = found.summary_text("en").splitlines()
    assert en[1] == "pay: ours 33000.00 yuan, theirs 20998.99 yuan, ours less theirs 12001.01 yuan"
    assert "  another group: 1 cases, 1000.00 yuan (they pay 0.00 more, 1000.00 less)" in en
    assert (
        en[-1]
        == "appeal by 2025-03-17, 9 working days left (weekends only, holidays are not known)"
    )
    lost = reconcile(run({"case_id": "x"}), theirs({}))
    assert "check the column of ids (setl_id)" in lost.summary_text("en")


def test_the_answer_does_not_depend_on_the_order_of_rows() -> None:
    mine = [{"case_id": str(k), "pay_fen": k} for k in range(9)]
    other = [{"setl_id": str(k), "fund_pay": f"{k // 2}"} for k in range(3, 12)]
    a = reconcile(run(*mine), theirs(*other))
    b = reconcile(run(*mine[::-1]), theirs(*other[::-1]))
    assert a.differences().equals(b.differences())
    assert a.appeal().equals(b.appeal())
    assert a.summary_text() == b.summary_text()
