"""Importing tables of weights: nine published ones against the shipped policies, and made-up ones.

The made-up tables are small enough to be worked out in the head; each refusal names file and row.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import xlsxwriter
from shared import ROOT, SHIPPED, shared

from grouper import (
    CaseFileError,
    Policy,
    SchemeNotFound,
    Standard,
    TableError,
    load_policy,
    settle,
    standard,
)
from grouper._import_weights import WeightsReport, import_weights
from grouper._import_weights_fit import decimal_text, fit
from grouper._import_weights_read import Key, WeightMap, key_of, understand
from grouper._import_weights_rows import Num

GOLDEN = ROOT / "tests" / "golden" / "standards"
DAY = date(2024, 1, 1)
CITIES = (
    *("jilin-2022", "lanzhou-2023", "linyi-2022", "nanping-2023", "qingdao-2023"),
    *("suzhou-2023", "wuhan-2022", "wuxi-2022", "yinchuan-2023"),
)
WITH_STANDARDS = (
    "jilin-2022",
    "linyi-2022",
    "qingdao-2023",
    "suzhou-2023",
    "wuhan-2022",
    "wuxi-2022",
)
FOUR = "青医/市立/齐鲁/青医平度"

Row = Sequence[Any]


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as f:
        return list(csv.DictReader(f))


def first_day(name: str) -> date:
    return date(int(name[-4:]), 1, 1)


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Policy, WeightsReport]]:
    """Import all nine, each with the same call."""
    base = tmp_path_factory.mktemp("nine")
    found = {}
    for name in CITIES:
        path = shared(f"facts/payment/{name.replace('-', '_')}.csv")
        report = import_weights(path, base / name, valid_from=first_day(name), source="a notice")
        found[name] = (load_policy(base / name), report)
    return found


Imported = dict[str, tuple[Policy, WeightsReport]]

# --------------------------------------------------------------------------- the nine published tables


@pytest.mark.parametrize("name", CITIES)
def test_weights_are_those_of_the_shipped_policy_to_the_last_character(
    name: str, imported: Imported
) -> None:
    policy, report = imported[name]
    columns = ("group", "weight", "kind", "basic", "type")
    shipped = rows(SHIPPED / name / "weights.csv")
    found = rows(policy.folder / "weights.csv")
    assert [[r.get(c, "") for c in columns] for r in found] == [
        [r.get(c, "") for c in columns] for r in shipped
    ]
    assert report.counts["groups"] == len(shipped)
    assert report.counts["without_weight"] == sum(not r["weight"] for r in shipped)
    assert report.ignored_columns == []


def shipped_level(level: str) -> dict[str, str]:
    """Ask the imported policy for the level that the shipped one gives the four named hospitals."""
    return {"level": "三级", "class_": FOUR} if level == "三级综合（四院）" else {"level": level}


@pytest.mark.parametrize("name", WITH_STANDARDS)
def test_standards_are_the_published_ones(name: str, imported: Imported) -> None:
    policy, report = imported[name]
    theirs, day = load_policy(name), first_day(name)
    golden = rows(GOLDEN / f"{name}.csv")
    for r in golden:
        own = standard(
            policy, r["group"], insurance=r["insurance"], on=day, **shipped_level(r["level"])
        )
        other = standard(theirs, r["group"], level=r["level"], insurance=r["insurance"], on=day)
        assert (own is None) == (other is None) == (not r["standard"])
        if own and other:
            assert own.exact == other.exact
            assert own.rate * own.coefficient == other.rate * other.coefficient
            assert Decimal(own.rounded(2)) == Decimal(r["standard"]).quantize(
                Decimal("0.01"), "ROUND_HALF_UP"
            )
    checked = report.standards.values()
    assert sum(s["cells"] for s in checked) == sum(bool(r["standard"]) for r in golden)
    assert all((s["agree"], s["differ"], s["most"]) == (s["cells"], 0, "0") for s in checked)
    assert report.agrees


@pytest.mark.parametrize("name", CITIES)
def test_rates_coefficients_and_basic_groups_are_those_of_the_shipped_policy(
    name: str, imported: Imported
) -> None:
    policy, _ = imported[name]
    theirs = load_policy(name)
    assert policy.coefficient_table == theirs.coefficient_table
    assert policy.settings.method.kind == theirs.settings.method.kind
    assert policy.settings.method.points_per_weight == theirs.settings.method.points_per_weight
    ours, their = policy.settings.basic, theirs.settings.basic
    assert (ours and ours.level) == (their and their.level)
    for rule in ("ungrouped", "ambiguous"):
        if theirs.settings.status_pay[rule].rule != "zero":
            found = policy.settings.status_pay[rule]
            assert found.rule == theirs.settings.status_pay[rule].rule
            if found.rule == "group":
                assert found.value == theirs.settings.status_pay[rule].value
    if name == "qingdao-2023":  # the rates hold the coefficients: compared above, as products
        return
    for parameter in ("base_rate", "coefficient"):
        if not theirs.has(parameter):
            assert not policy.has(parameter)
            continue
        values = [
            [(v.level, v.insurance, v.value) for v in p.settings.param[parameter].values]
            for p in (policy, theirs)
        ]
        assert values[0] == values[1]


def test_the_coefficients_of_yinchuan_keep_their_zeros(imported: Imported) -> None:
    policy, report = imported["yinchuan-2023"]
    shipped = (SHIPPED / "yinchuan-2023" / "coefficients.csv").read_bytes()
    assert (policy.folder / "coefficients.csv").read_bytes() == shipped
    assert report.counts["values_by_group"] == 1218


def test_edges_are_multiples_of_the_standard(imported: Imported) -> None:
    policy, _ = imported["jilin-2022"]
    s = policy.settings
    assert [(e.edge, e.level, e.pay) for e in (*s.low, *s.high)] == [
        (Decimal("0.35"), "三级", "cost"),
        (2, "三级", "excess"),
    ]
    golden = rows(GOLDEN / "jilin-2022-edges.csv")
    kept = rows(policy.folder / "edges.csv")
    assert [(r["group"], r["low"], r["high"]) for r in kept] == [
        (r["group"], r["low"], r["high"]) for r in golden
    ]


def test_notes_are_the_rules_of_the_shipped_policy(imported: Imported) -> None:
    policy, report = imported["wuhan-2022"]
    assert rows(policy.folder / "pay_as.csv") == rows(SHIPPED / "wuhan-2022" / "pay_as.csv")
    assert report.counts["pay_as"] == 15


def test_the_traps_of_the_nine_are_counted(imported: Imported) -> None:
    counts = {name: report.counts for name, (_, report) in imported.items()}
    assert counts["lanzhou-2023"]["placeholders"] == counts["lanzhou-2023"]["unstable"] == 182
    assert counts["lanzhou-2023"]["not_covered"] == counts["lanzhou-2023"]["without_weight"] == 22
    assert (counts["nanping-2023"]["unstable"], counts["nanping-2023"]["placeholders"]) == (107, 18)
    assert counts["wuxi-2022"]["restored_ungrouped"] == 1
    assert "restored_ungrouped" not in counts["linyi-2022"]
    assert (counts["suzhou-2023"]["basic"], counts["suzhou-2023"]["tcm"]) == (21, 36)
    assert any("11 groups have weight 1" in f for f in imported["wuxi-2022"][1].findings)
    one = "1 groups have weight 1 and no type 不稳定病组: placeholders? IJ15"
    assert imported["lanzhou-2023"][1].findings == [one]
    assert imported["nanping-2023"][1].findings == []
    assert any(FOUR in f for f in imported["qingdao-2023"][1].findings)


# --------------------------------------------------------------------------------- made-up tables


def table(path: Path, *lines: Row, encoding: str = "utf-8") -> Path:
    with path.open("w", encoding=encoding, newline="") as f:
        csv.writer(f, lineterminator="\n").writerows(lines)
    return path


def take(folder: Path, *lines: Row, **options: Any) -> tuple[Policy, WeightsReport]:
    """Import a table and load what was written."""
    folder.mkdir(exist_ok=True)
    path = table(folder / "t.csv", *lines)
    report = import_weights(path, folder / "p", valid_from=DAY, source="made up", **options)
    return load_policy(folder / "p"), report


def price(policy: Policy, group: str, **where: str) -> Standard:
    found = standard(policy, group, on=DAY, **where)
    assert found is not None
    return found


def test_a_rate_is_found_from_standards_that_are_rounded(tmp_path: Path) -> None:
    """8728.3 x 0.7 = 6109.81, x 31.5 = 274941.45: rounded to yuan, the heavy row tells the tenth."""
    weights = ["0.7", "2.3", "11.9", "31.5", "28.4"]
    lines = [(f"AA1{k}", w, round(float(w) * 8728.3)) for k, w in enumerate(weights)]
    policy, report = take(tmp_path, ("DRG编码", "RW", "支付标准（三级）"), *lines)
    (value,) = policy.settings.param["base_rate"].values
    assert (value.value, value.level, value.from_) == (Decimal("8728.3"), "三级", DAY)
    (checked,) = report.standards.values()
    assert (checked["agree"], checked["decimals"]) == (5, 0)
    assert "5 of 5 cells to the yuan" in value.source


def test_a_header_is_found_below_other_rows(tmp_path: Path) -> None:
    policy, _ = take(tmp_path, ("附件", ""), (), ("DRG编码", "按本表填写"), HEAD, GOOD)
    assert price(policy, "AA11", level="三级").exact == 900


def test_a_standard_that_differs_is_said_with_what_is_paid(tmp_path: Path) -> None:
    header = ("病组编码", "病组名称", "权重", "支付标准（职工）")
    lines = [(f"AA1{k}", "x", k, k * 9000) for k in range(1, 6)]
    policy, report = take(
        tmp_path, header, *lines, ("BB19", "x", 2, "18000.07"), ("BB29", "x", 3, 26999)
    )
    assert report.standards["支付标准(职工)"] == {
        **{"cells": 7, "decimals": 2, "agree": 5, "differ": 2, "unpaid": 0, "most": "1"},
        "differing": [
            {"group": "BB29", "printed": "26999", "policy": "27000.00"},
            {"group": "BB19", "printed": "18000.07", "policy": "18000.00"},
        ],
    }
    assert not report.agrees
    assert any("2 of 7 standards are not weight × rate" in f for f in report.findings)
    assert price(policy, "BB29", insurance="310").exact == 27000
    printed = {r["group"]: r for r in rows(policy.folder / "standards.csv")}
    assert printed["BB29"]["standard"] == "26999"
    assert (printed["BB29"]["from"], printed["BB29"]["source"]) == ("2024-01-01", "made up")


def test_a_standard_of_a_placeholder_is_not_paid_and_that_is_said(tmp_path: Path) -> None:
    header = ("DRG编码", "RW", "病组类型", "支付标准")
    lines = [("AA11", 2, "稳定病组", 1800), ("AA13", 1, "非稳定病组", 900), ("AA15", "", "", 500)]
    _, report = take(tmp_path, header, *lines)
    (checked,) = report.standards.values()
    assert (checked["agree"], checked["differ"], checked["unpaid"]) == (1, 0, 2)
    assert not report.agrees
    said = "支付标准: 2 standards have no price: no weight, a placeholder, or no rate"
    assert said in report.findings
    assert any(f.startswith("1 groups have a standard and no weight") for f in report.findings)


def test_a_column_that_tells_no_rate_is_said(tmp_path: Path) -> None:
    """The one standard of 二级 is that of a group without a weight above 0."""
    header = ("DRG编码", "RW", "支付标准（三级）", "支付标准（二级）")
    policy, report = take(tmp_path, header, ("AA11", 1, 900, ""), ("AA13", 0, 0, 500))
    assert [v.level for v in policy.settings.param["base_rate"].values] == ["三级"]
    assert "column 支付标准(二级) gives no rate: no cell above 0" in report.findings
    assert report.standards["支付标准(二级)"]["unpaid"] == 1


def test_standards_beside_a_rate_tell_the_coefficients(tmp_path: Path) -> None:
    header = (
        "DRG代码",
        "权重",
        "基准费率",
        "支付标准（三级）",
        "支付标准（二级）",
        "高倍临界值（二级）",
    )
    lines = [("AA11", 1, 8000, 8800, 6400, 19200), ("AA13", 2, 8000, 17600, 12800, 38400)]
    policy, report = take(tmp_path, header, *lines)
    assert report.agrees
    assert [(e.edge, e.level) for e in policy.settings.high] == [(3, "二级")]
    for level, coefficient in (("三级", "1.1"), ("二级", "0.8")):
        found = price(policy, "AA13", level=level)
        assert [found.rate, found.coefficient] == [800_000, Fraction(coefficient)]


def test_a_column_for_a_level_comes_before_one_for_all(tmp_path: Path) -> None:
    header = ("DRG编码", "权重", "系数", "系数（三级）", "支付标准（三级）", "支付标准（二级）")
    lines = [("AA11", 1, "0.9", "1.1", 1100, 900), ("AA13", 2, "0.9", "1.1", 2200, 1800)]
    policy, report = take(tmp_path, header, *lines)
    assert report.agrees
    assert price(policy, "AA13", level="二级").rate == 100_000


def test_edges_that_are_no_multiple_make_no_band_and_are_kept(tmp_path: Path) -> None:
    header = (*HEAD, "低倍临界值（三级）", "高倍临界值（三级）")
    lines = [
        ("AA11", 1, 1000, 400, 2000),
        ("AA13", 2, 2000, 800, 5000),
        ("AA15", 3, 3000, 1200, 9999),
    ]
    policy, report = take(tmp_path, header, *lines)
    assert [e.edge for e in policy.settings.low] == [Decimal("0.4")]
    assert policy.settings.high == []
    assert any("高倍临界值(三级) is no one multiple" in f for f in report.findings)
    assert [r["high"] for r in rows(policy.folder / "edges.csv")] == ["2000", "5000", "9999"]


def test_groups_with_a_coefficient_of_their_own_are_rows_of_a_table(tmp_path: Path) -> None:
    header = ("DRG编码", "分值", "等级系数（三甲）", "等级系数（二级）")
    lines = [("AA11", 100, "1.0", "0.80"), ("AA13", 90, "1", "0.8"), ("AA15", 80, "1.0", "0.95")]
    policy, report = take(tmp_path, header, *lines)
    assert rows(policy.folder / "coefficients.csv") == [
        {"group": "", "level": "三甲", "coefficient": "1.0"},
        {"group": "", "level": "二级", "coefficient": "0.80"},
        {"group": "AA15", "level": "二级", "coefficient": "0.95"},
    ]
    method = policy.settings.method
    assert (method.kind, method.points_per_weight) == ("point", 1)
    assert report.counts["values_by_group"] == 1


def test_a_rate_of_one_group_holds_for_that_group(tmp_path: Path) -> None:
    header = ("DRG编码", "权重", "费率（职工）", "费率（居民）")
    lines = [("AA11", 1, 8000, 7000), ("AA13", 2, 8000, "07000"), ("AA15", 3, 8000, "07500.5")]
    policy, _ = take(tmp_path, header, *lines)
    assert price(policy, "AA13", insurance="390").exact == 14000
    assert price(policy, "AA15", insurance="390").exact == Fraction("22501.5")
    assert price(policy, "AA15", insurance="310").exact == 24000


@pytest.mark.parametrize(
    ("prices", "level"),
    [
        ((700, 700, 700), "一级"),
        ((1000, 1000, 1000), "三级"),
        ((700, 800, 1000), None),
    ],
)
def test_basic_groups_have_one_levels_price_or_their_hospitals(
    prices: tuple[int, int, int], level: str | None, tmp_path: Path
) -> None:
    header = ("DRG编码", "RW", "基础病组", *(f"{x}医院支付标准" for x in ("一级", "二级", "三级")))
    header = (*header, "高倍临界值（三级）")
    lines = [("AA11", 1, "", 700, 800, 1000, 2000), ("AA13", 2, "否", 1400, 1600, 2000, 4000)]
    lines.append(("AA15", 1, "是", *prices, 2 * prices[2]))
    policy, report = take(tmp_path, header, *lines)
    basic = policy.settings.basic
    assert (basic.level if basic else None) == level
    assert [e.edge for e in policy.settings.high] == [2]
    assert policy.weights_on(DAY)["AA15"].basic
    assert report.agrees
    assert not any("basic groups have neither" in f for f in report.findings)


def test_basic_groups_do_not_tell_the_usual_nor_the_multiple_of_others(tmp_path: Path) -> None:
    """Three of five groups are basic, at the price of 一级, and so are their edges."""
    header: Row = ("DRG编码", "RW", "基础病组", "一级医院系数", "三级医院系数", "支付标准（三级）")
    header = (*header, "高倍临界值（三级）")
    lines: list[Row] = [
        ("AA11", 1, "", "0.8", "1.2", 1200, 2400),
        ("AA13", 2, "", "0.8", "1.2", 2400, 4800),
    ]
    lines += [(f"BB1{k}", k, "是", "0.8", "0.8", k * 800, k * 1600) for k in (1, 3, 5)]
    policy, report = take(tmp_path, header, *lines)
    assert report.agrees
    assert [(v.level, v.value) for v in policy.settings.param["coefficient"].values] == [
        ("一级", Decimal("0.8")),
        ("三级", Decimal("1.2")),
    ]
    assert policy.settings.basic is not None
    assert policy.settings.basic.level == "一级"
    assert [e.edge for e in policy.settings.high] == [2]
    assert "values_by_group" not in report.counts


def test_basic_groups_of_neither_price_are_said(tmp_path: Path) -> None:
    header = ("DRG编码", "RW", "基础病组", "一级医院支付标准", "二级医院支付标准")
    lines = [("AA11", 1, "", 700, 800), ("AA13", 2, "", 1400, 1600), ("AA15", 1, "是", 750, 750)]
    policy, report = take(tmp_path, header, *lines)
    assert policy.settings.basic is None
    assert any(f.startswith("1 basic groups have neither") for f in report.findings)
    assert not report.agrees


CLASSES = [
    ("DRG编码", "RW", "支付标准（甲/乙医院群）", "支付标准（三级职工）", "支付标准（三级居民）"),
    ("AA11", 1, 1100, 1000, 900),
    ("AA13", 2, 2200, 2000, 1800),
]


def test_an_unknown_qualifier_is_a_class_of_hospital_at_any_level(tmp_path: Path) -> None:
    policy, report = take(tmp_path, *CLASSES)
    label = "甲/乙医院群"
    assert any(f"'{label}' is no known level" in f for f in report.findings)
    for level in ("", "三级", "一级"):
        for insurance in ("", "310", "390"):
            found = price(policy, "AA13", level=level, insurance=insurance, class_=label)
            assert found.exact == 2200
    assert price(policy, "AA13", level="三级", insurance="390").exact == 1800
    assert price(policy, "AA13", level="三级", insurance="390", class_="other").exact == 1800


def test_a_map_can_give_an_unknown_qualifier_a_level(tmp_path: Path) -> None:
    given = tmp_path / "m.toml"
    given.write_text('[qualifiers]\n"甲/乙医院群" = { level = "顶级" }\n', "utf-8")
    policy, report = take(tmp_path, *CLASSES, columns=given)
    assert price(policy, "AA13", level="顶级").exact == 2200
    assert not any("no known level" in f for f in report.findings)


MAP = """
[columns]
group = "组别"
score = "付费权数"
note = "附言"

[[standard]]
header = "甲类价"
level = "三级"
insurance = "职工"

[[standard]]
header = "乙类价"
level = "二级"
insurance = "390"
"""


def test_a_tenth_table_is_read_by_a_map_alone(tmp_path: Path) -> None:
    given = tmp_path / "m.toml"
    given.write_text(MAP + '\n[[coefficient]]\nheader = "调"\nlevel = "二级"\n', "utf-8")
    header = ("组别", "付费权数", "甲类价", "乙类价", "调", "附言", "RW", "别的")
    lines = [
        ("AA11", "1.5", 15000, 9600, "0.8", "", 7, "x"),
        ("AA13", "0.5", 5000, 3200, "0.8", "参照AA11支付", 7, "x"),
        ("AA15", "2", 20000, 12800, "0.8", "详见附件", 7, ""),
        ("AA19", "3", 30000, 19200, "0.8", "参照ZZ99支付", 7, ""),
        ("AA29", "4", 40000, 25600, "0.8", "按本组权重的62.5%支付", 7, ""),
    ]
    policy, report = take(tmp_path, header, *lines, columns=given)
    assert report.ignored_columns == ["RW", "别的"]
    assert report.agrees
    assert [r["weight"] for r in rows(policy.folder / "weights.csv")] == [
        "1.5",
        "0.5",
        "2",
        "3",
        "4",
    ]
    assert price(policy, "AA11", level="三级", insurance="310").exact == 15000
    found = price(policy, "AA11", level="二级", insurance="390")
    assert [found.rate, found.coefficient] == [800_000, Fraction("0.8")]
    assert price(policy, "AA13", level="三级", insurance="310", note="AA13-note").exact == 15000
    assert price(policy, "AA29", level="三级", insurance="310", note="AA29-note").exact == 25000
    assert any(f.startswith("2 notes are no rule") for f in report.findings)


def test_a_map_names_one_of_two_columns_and_leaves_others_out(tmp_path: Path) -> None:
    header = ("DRG编码", "权重", "RW", "支付标准（三级）")
    given = tmp_path / "m.toml"
    given.write_text('ignore = ["支付标准（三级）"]\n[columns]\nweight = "RW"\n', "utf-8")
    policy, report = take(tmp_path, header, ("AA11", 1, "2.50", 3), columns=given)
    assert rows(policy.folder / "weights.csv")[0]["weight"] == "2.50"
    assert report.ignored_columns == ["权重", "支付标准(三级)"]
    assert report.standards == {}


def test_codes_are_compared_with_a_scheme(tmp_path: Path) -> None:
    lines = [("AA19", 1), ("BB11", 2), ("ZZ99", 3), ("0000", 1)]
    _, report = take(tmp_path, ("DRG编码", "RW"), *lines, scheme="chs-drg-1.1")
    known = len(rows(SHIPPED / "chs-drg-1.1" / "drg.csv"))
    assert "2 groups that chs-drg-1.1 does not know: ZZ99, 0000" in report.findings
    start = f"{known - 2} groups of chs-drg-1.1 without a row here: "
    assert any(f.startswith(start) and f.endswith(", …") for f in report.findings)


# ------------------------------------------------------------------------------- cells and files

PLAIN = [
    ("DRG编码", "DRG名称", "RW", "病组类型", "支付标准（三级职工）"),
    ("AA11", "甲，乙", "1.50", "稳定病组", "15000.0"),
    ("AA13", "", "1", "不稳定病组", "-"),
    ("AA15", "", "", "未覆盖组", ""),
    ("AA19", "", "1", "未覆盖组", "/"),
    ("AA29", "", "2.1", "不稳定病组", "21,000.00"),
    ("0", "未入组", "0.2", "", "2000"),
]


def test_blanks_placeholders_and_repairs_are_counted(tmp_path: Path) -> None:
    policy, report = take(tmp_path, *PLAIN)
    weights = policy.weights_on(DAY)
    assert {g: r.weight for g, r in weights.items()} == {
        **{"AA11": Fraction(3, 2), "AA13": 1, "AA15": None, "AA19": None},
        **{"AA29": Fraction(21, 10), "0000": Fraction(1, 5)},
    }
    assert [g for g, r in weights.items() if r.unstable] == ["AA13"]
    assert report.cleaned_cells == 2
    assert report.counts == {
        **{"groups": 6, "weights": 4, "without_weight": 2, "unstable": 2, "not_covered": 2},
        **{"placeholders": 2, "marks_for_blank": 2, "thousands_separators": 1, "standard": 3},
        "restored_ungrouped": 1,
    }
    assert policy.settings.status_pay["ungrouped"].value == "0000"
    assert policy.settings.status_pay["unstable"].rule == "booked"
    assert report.agrees
    assert rows(policy.folder / "weights.csv")[0]["weight"] == "1.50"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "gb18030"])
def test_encodings_give_the_same_tables(encoding: str, tmp_path: Path) -> None:
    plain, _ = take(tmp_path, *PLAIN)
    path = table(tmp_path / "e.csv", *PLAIN, encoding=encoding)
    report = import_weights(
        path, tmp_path / "e", valid_from=DAY, source="made up", id="p", title="p"
    )
    for name in ("weights.csv", "standards.csv", "policy.toml"):
        assert (tmp_path / "e" / name).read_bytes() == (plain.folder / name).read_bytes()
    assert any("GB18030" in f for f in report.findings) == (encoding == "gb18030")


def workbook(path: Path, *lines: Row, sheet: str = "附件1") -> Path:
    book = xlsxwriter.Workbook(str(path))
    book.add_worksheet("封面").write(0, 0, "通知")
    page = book.add_worksheet(sheet)
    for k, line in enumerate(lines):
        page.write_row(k, 0, line)
    book.close()
    return path


def test_excel_gives_the_tables_of_csv(tmp_path: Path) -> None:
    """A title above the header, numbers as doubles, a small one that Excel writes with an exponent."""
    lines: list[Row] = [
        ("DRG编码", "RW", "支付标准（三级）"),
        ("AA11", 0.1, 900.0),
        ("AA13", 2.0, 18000),
    ]
    lines += [("AA15", 0.00002, 0.18), ("0000", 23.99262817, 215933.65353)]
    path = workbook(tmp_path / "w.xlsx", ("某市病组权重表",), *lines)
    report = import_weights(path, tmp_path / "x", valid_from=DAY, source="made up")
    texts = [r["weight"] for r in rows(tmp_path / "x" / "weights.csv")]
    assert texts == ["0.1", "2", "0.00002", "23.99262817"]
    assert report.counts["written_out_exponents"] == 1
    assert report.agrees
    assert any("shortest text" in f for f in report.findings)
    assert any(f.startswith("sheets not read: 封面") for f in report.findings)
    path = workbook(tmp_path / "v.xlsx", ("表",), lines[0], lines[1], lines[1])
    with pytest.raises(TableError, match=r"附件1:4: group 'AA11' stands twice, first in row 3"):
        import_weights(path, tmp_path / "v", valid_from=DAY, source="made up")


def test_digits_that_a_spreadsheet_computed_are_said(tmp_path: Path) -> None:
    path = workbook(tmp_path / "w.xlsx", ("DRG编码", "RW"), ("AA11", 1 / 3), ("AA13", 0.3))
    report = import_weights(path, tmp_path / "x", valid_from=DAY, source="made up")
    assert report.counts["more_than_15_digits"] == 1
    assert rows(tmp_path / "x" / "weights.csv")[0]["weight"] == "0.3333333333333333"


HEAD = ("DRG编码", "RW", "支付标准（三级）")
GOOD = ("AA11", 1, 900)


@pytest.mark.parametrize(
    ("lines", "match"),
    [
        ([("名称", "RW"), GOOD[:2]], r"t\.csv:1: no column of group codes"),
        ([("DRG编码", "支付标准（三级）"), GOOD[:2]], r"t\.csv:1: no column of weights"),
        ([("DRG编码", "RW", "权重"), GOOD], r"t\.csv:1: two columns of weight: RW, 权重"),
        ([("DRG编码", "RW", "标准分值"), GOOD], r"two columns of weight: RW, 标准分值"),
        ([(*HEAD, "三级医院支付标准"), (*GOOD, 1)], r"two columns of standard for 三级"),
        ([("甲", "乙"), ("1", "2")], r"t\.csv:1: no header within 12 rows"),
        ([HEAD], r"t\.csv: no rows below the header"),
        ([HEAD, GOOD, ("AA13", "一点五", 1)], r"t\.csv:3: '一点五' is no plain number"),
        ([HEAD, GOOD, ("AA13", 1, "见附件")], r"t\.csv:3: '见附件' is no plain number"),
        ([HEAD, GOOD, ("AA13", "1e3", 1)], r"t\.csv:3: '1e3' is no plain number"),
        ([HEAD, GOOD, ("AA13", "12,34", 1)], r"t\.csv:3: '12,34' is no plain number"),
        ([HEAD, GOOD, ("AA13", "-1", 1)], r"t\.csv:3: '-1' is below 0"),
        (
            [HEAD, GOOD, ("AA13", 1, 1), GOOD],
            r"t\.csv:4: group 'AA11' stands twice, first in row 2",
        ),
        ([HEAD, GOOD, ("0", 1, 9), ("0000", 1, 9)], r"t\.csv:4: group '0000' stands twice"),
        ([HEAD, GOOD, ("", 1, 1)], r"t\.csv:3: no group code"),
        ([HEAD, GOOD, ("注：以上", "", "")], r"t\.csv:3: '注:以上' is no group code"),
        ([HEAD, GOOD, ("AA13", 1)], r"t\.csv:3: 2 cells where the header has 3"),
        ([HEAD, GOOD, ("AA13", 1, 1, 1)], r"t\.csv:3: 4 cells where the header has 3"),
        ([(*HEAD[:2], "基础病组"), ("AA11", 1, "也许")], r"t\.csv:2: '也许' is neither"),
        (
            [(*HEAD[:2], "支付标准（万元）"), GOOD],
            r"t\.csv:1: column '支付标准\(万元\)' is in 万元",
        ),
        (
            [HEAD, ("AA11", 1, 100), ("AA13", 1, 200), ("AA15", 1, 300)],
            r"t\.csv: column 支付标准\(三级\): no rate explains the standards, the best is \d+ in 1 of 3",
        ),
        (
            [("DRG编码", "RW", "费率（三级）", "费率（职工）"), ("AA11", 1, 2, 3)],
            r"t\.csv: base_rate for 三级 and for 职工 are for the same cases",
        ),
        (
            [
                ("DRG编码", "RW", "系数（甲群）", "系数（三级）"),
                ("A1", 1, 1, 1),
                ("A2", 1, 1, 1),
                ("A3", 1, 1, 2),
            ],
            r"t\.csv: coefficients differ by group beside a class of hospital, 甲群",
        ),
    ],
)
def test_a_table_is_refused_with_its_row(lines: list[Row], match: str, tmp_path: Path) -> None:
    with pytest.raises(TableError, match=match):
        take(tmp_path, *lines)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["t.csv"]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ('[columns]\nweigth = "RW"\n', r"m\.toml: \[columns\] 'weigth' is none of group, name"),
        ('[columns]\nweight = "无此列"\n', r"t\.csv:1: the map names 无此列; the header reads"),
        ('[[standard]]\nheader = "无"\n', r"t\.csv:1: the map names 无;"),
        ('ignore = ["无"]\n', r"t\.csv:1: the map names 无;"),
        ('[[standard]]\nlevel = "三级"\n', r"m\.toml.*header"),
        ("[odd]\n", r"m\.toml:1: odd"),
    ],
)
def test_a_map_that_does_not_fit_is_refused(text: str, match: str, tmp_path: Path) -> None:
    given = tmp_path / "m.toml"
    given.write_text(text, "utf-8")
    with pytest.raises(TableError, match=match):
        take(tmp_path, HEAD, GOOD, columns=given)


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"PK\x03\x04", "must end in .xlsx"),
        (b"DRG\xff\xff\xff", "neither UTF-8 nor GB18030"),
    ],
)
def test_files_that_are_no_text_are_refused(data: bytes, match: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(data)
    with pytest.raises(CaseFileError, match=match):
        import_weights(tmp_path / "t.csv", tmp_path / "p", valid_from=DAY, source="made up")
    with pytest.raises(CaseFileError, match="cannot be read"):
        import_weights(tmp_path / "no.csv", tmp_path / "p", valid_from=DAY, source="made up")
    (tmp_path / "q.csv").write_text('DRG编码,RW\nAA11,"1\n', "utf-8")
    with pytest.raises(TableError, match=r"q\.csv:2: not a CSV table"):
        import_weights(tmp_path / "q.csv", tmp_path / "p", valid_from=DAY, source="made up")


# ---------------------------------------------------------------------- the policy that comes of it


def test_every_value_has_its_period_and_source(tmp_path: Path) -> None:
    header = (*HEAD, "高倍临界值（三级）", "等级系数（三级）")
    policy, report = take(tmp_path, header, (*GOOD, 1800, 1), valid_to=date(2024, 12, 31))
    s = policy.settings
    dated = [*s.weights, *s.high]
    dated += [v for name in ("base_rate", "coefficient") for v in s.param[name].values]
    assert len(dated) == 4
    for d in dated:
        assert (d.from_, d.to) == (DAY, date(2024, 12, 31))
        assert d.source.startswith("made up")
    text = (policy.folder / "SOURCES.md").read_text("utf-8")
    assert f"sha256 {report.sha256}" in text
    assert "In force from 2024-01-01 to 2024-12-31" in text
    assert report.to_dict()["agrees"] is True


def test_what_is_inherited_is_said_and_what_is_missing_too(tmp_path: Path) -> None:
    policy, report = take(tmp_path, HEAD, GOOD)
    assert "method.fund_form = difference, inherited from example-drg-point" in report.assumed
    assert "status_pay.rejected = zero, inherited from example-drg-point" in report.assumed
    assert not any(x.startswith(("param.base_rate", "weights")) for x in report.assumed)
    assert report.missing == []
    assert all("assumed: " in n for n in policy.settings.notes)
    early = import_weights(
        tmp_path / "t.csv", tmp_path / "q", valid_from=date(2022, 1, 1), source="made up"
    )
    assert early.missing == [
        "param.fund has no value on 2022-01-01",
        "param.overall_mean has no value on 2022-01-01",
    ]


def test_another_parent_gives_other_terms_and_no_price_unseen(tmp_path: Path) -> None:
    """example-rate has a coefficient of 1.08 for 三级, which is not for published standards."""
    policy, report = take(tmp_path, HEAD, GOOD, inherits="example-rate")
    assert price(policy, "AA11", level="三级").exact == 900
    assert "method.fund_form = ratio, inherited from example-rate" in report.assumed
    leak = "param.base_rate: its values answer where none here fits, inherited from example-rate"
    assert leak in report.assumed
    assert policy.settings.status_pay["ungrouped"].rule == "zero"
    with pytest.raises(TableError, match=r"\[coefficient\] of example-weihai would multiply"):
        take(tmp_path / "w", HEAD, GOOD, inherits="example-weihai")


def test_a_parent_may_be_a_folder(tmp_path: Path) -> None:
    policy, _ = take(tmp_path, HEAD, GOOD)
    path = table(tmp_path / "s.csv", HEAD, ("AA11", 2, 3000))
    import_weights(path, tmp_path / "next", valid_from=DAY, source="later", inherits=policy.folder)
    child = load_policy(tmp_path / "next")
    assert child.settings.inherits == "../p"
    assert price(child, "AA11", level="三级").exact == 3000


def test_settlement_takes_the_policy(tmp_path: Path) -> None:
    """2 x 900 yuan at 三级, 2 x 1100 for the class; the patient paid 500 of 2,000 yuan."""
    header = (*HEAD, "支付标准（甲群）")
    take(tmp_path, header, (*GOOD, 1100), ("AA13", 2, 1800, 2200))
    case: dict[str, Any] = {
        "status": "grouped",
        "group": "AA13",
        "hospital_level": "三级",
        "insurance": "310",
    }
    case |= {"hospital_id": "H", "settlement_date": date(2024, 6, 1)}
    money = {"total_cost_fen": 200_000, "fund_paid_fen": 150_000}
    cases = [
        {"case_id": "1", "hospital_class": None, **case, **money},
        {"case_id": "2", "hospital_class": "甲群", **case, **money},
    ]
    found = settle(pa.Table.from_pylist(cases), tmp_path / "p").cases().to_pylist()
    assert [(r["standard_fen"], r["pay_fen"]) for r in found] == [
        (180_000, 130_000),
        (220_000, 170_000),
    ]


def test_nothing_of_the_user_is_overwritten(tmp_path: Path) -> None:
    policy, _ = take(tmp_path, HEAD, GOOD)
    with pytest.raises(CaseFileError, match="--overwrite"):
        take(tmp_path, HEAD, ("AA11", 2, 1800))
    again, _ = take(tmp_path, HEAD, ("AA11", 2, 1800), overwrite=True)
    assert again.weights_on(DAY)["AA11"].weight == 2
    with pytest.raises(TableError, match="stands twice"):
        take(tmp_path, HEAD, GOOD, GOOD, overwrite=True)
    assert load_policy(policy.folder).weights_on(DAY)["AA11"].weight == 2
    (policy.folder / "mine.txt").write_text("x")
    with pytest.raises(CaseFileError, match="holds files"):
        take(tmp_path, HEAD, GOOD, overwrite=True)
    assert (policy.folder / "mine.txt").read_text() == "x"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["p", "t.csv"]


def test_a_policy_that_does_not_load_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(SchemeNotFound, match="no-such-policy"):
        take(tmp_path, HEAD, GOOD, inherits="no-such-policy")
    with pytest.raises(TableError, match="source is blank"):
        import_weights(tmp_path / "t.csv", tmp_path / "p", valid_from=DAY, source=" ")
    with pytest.raises(TableError, match="before valid_from"):
        take(tmp_path, HEAD, GOOD, valid_to=date(2023, 1, 1))
    policy, _ = take(tmp_path, HEAD, GOOD, title='a "b" \\ \x7f\n', id="x")
    assert (policy.id, policy.settings.title) == ("x", 'a "b" \\ \x7f\n')


def test_a_stray_cell_does_not_tell_how_a_column_is_rounded(tmp_path: Path) -> None:
    """29 standards in whole yuan and one to the fen: the stray one is compared to the fen."""
    lines: list[Row] = [
        (f"AA{k}", f"{k}.37", round(Fraction(f"{k}.37") * 8765)) for k in range(10, 39)
    ]
    lines.append(("BB19", "1", "8765.40"))
    _, report = take(tmp_path, HEAD, *lines)
    (checked,) = report.standards.values()
    assert (checked["cells"], checked["agree"], checked["decimals"]) == (30, 29, 0)
    assert checked["differing"] == [{"group": "BB19", "printed": "8765.40", "policy": "8765.00"}]


# ---------------------------------------------------------------------------------- small parts


@pytest.mark.parametrize(
    ("header", "field", "key"),
    [
        ("支付标准三级职工", "standard", Key("三级", "", "310")),
        ("三级医院支付标准（居民）", "standard", Key("三级", "", "390")),
        ("城乡居民基础费率（元）", "rate", Key("", "", "390")),
        ("支付标准（职工、居民）", "standard", Key()),
        ("系数（一级及以下医疗机构）", "coefficient", Key("一级及以下")),
        ("等级系数（一级及基层）", "coefficient", Key("一级及基层")),
        ("支付标准（妇幼）", "standard", Key("", "妇幼")),
        ("低倍率界值", "low", Key()),
        ("CHS-DRG 编码", "group", Key()),
        ("基准点数", "score", Key()),
        ("权重（RW）", "weight", Key()),
    ],
)
def test_headers_are_understood_by_their_words(header: str, field: str, key: Key) -> None:
    assert understand(header, WeightMap()) == (field, key)


@pytest.mark.parametrize(
    "header", ["ADRG编码", "MDC名称", "病例数", "某某支付标准", "支付标准说明书"]
)
def test_other_headers_are_not(header: str) -> None:
    assert understand(header, WeightMap()) is None


def test_a_word_that_is_not_known_makes_the_key_unknown() -> None:
    assert key_of("三级职工") == Key("三级", "", "310")
    assert key_of("三级某某") is None


def test_a_factor_is_the_shortest_decimal_that_most_cells_agree_with() -> None:
    cells = [(Fraction(w), Num(s, Fraction(s))) for w, s in (("3", "29959"), ("7.1", "70904"))]
    found = fit([*cells, (Fraction("100"), Num("998640", Fraction(998640)))])
    assert found is not None
    assert found.text == "9986.4"
    weights = [Fraction(20 + 3 * k, 10000) for k in range(90)]
    weights.append(Fraction("31.5"))
    amounts = [str(round(w * Fraction("8728.3"))) for w in weights]
    light = [(w, Num(s, Fraction(s))) for w, s in zip(weights, amounts, strict=True)]
    found = fit(light)  # the heavy row alone tells the tenth
    assert found is not None
    assert (found.text, found.agree) == ("8728.3", 91)
    assert fit([(Fraction(0), Num("1", Fraction(1)))]) is None
    assert [decimal_text(Fraction(x)) for x in ("0.05", "12", "100.50")] == ["0.05", "12", "100.5"]
