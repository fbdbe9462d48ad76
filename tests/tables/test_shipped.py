"""What ships: the national scheme, its variant, the code list, cities' published standards."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from shared import ROOT, shared
from tiny import tiny_codes, tiny_scheme, write_csv

from grouper import (
    DrgScheme,
    Policy,
    PolicyError,
    Standard,
    load_drg,
    load_policy,
    load_scheme,
    policy_ids,
    scheme_ids,
    standard,
)
from grouper.tables import load_codes
from grouper.tables._drg_scheme import TABLES
from grouper.tables._files import SHIPPED

pytestmark = pytest.mark.promise("What ships is what was published")

GOLDEN = ROOT / "tests" / "golden" / "standards"
scheme = cache(load_drg)
policy = cache(load_policy)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as f:
        return list(csv.DictReader(f))


# ----------------------------------------------------------------------------------------- schemes


@pytest.mark.parametrize("table", TABLES)
def test_the_national_scheme_is_that_of_the_reference_data(table: str) -> None:
    shipped = rows(SHIPPED / "chs-drg-1.1" / f"{table}.csv")
    assert len(shipped) >= 26
    assert shipped == rows(shared(f"facts/drg_1_1/{table}.csv"))


def test_sources_md_states_the_numbers_of_rows() -> None:
    text = (SHIPPED / "chs-drg-1.1" / "SOURCES.md").read_text("utf-8")
    stated = dict(re.findall(r"^\| (\w+)\.csv \|.*\| ([\d,]+) \|$", text, re.MULTILINE))
    found = {t: f"{len(rows(SHIPPED / 'chs-drg-1.1' / f'{t}.csv')):,}" for t in TABLES}
    assert stated == found


def test_the_variant_has_a_qy_row_in_each_mdc_but_six() -> None:
    s = scheme("chs-drg-1.1-qy")
    with_qy = 0
    for k, mdc in enumerate(s.mdcs):
        letter = mdc.code[-1]
        codes = [a.code for a in s.adrgs if a.parent == k]
        qy = f"{letter}QY"
        assert codes.count(qy) == (letter not in "ASTWXY")
        if qy not in codes:
            continue
        with_qy += 1
        at = codes.index(qy)
        assert all(c[0] == letter and "A" <= c[1] <= "Q" for c in codes[:at])
        assert all(c[0] == letter and "R" <= c[1] <= "Z" for c in codes[at + 1 :])
        row = next(a for a in s.adrgs if a.code == qy)
        assert row.text == "ZYSS in OP_ALL"
        drgs = [d for d in s.drgs if s.adrgs[d.parent].code == qy]
        assert [(d.code, d.text) for d in drgs] == [(qy, "")]
    assert with_qy == 20


def test_the_variant_is_the_national_scheme_but_for_qy_and_pv1() -> None:
    plain, variant = scheme("chs-drg-1.1"), scheme("chs-drg-1.1-qy")

    def listed(s: DrgScheme, table: str) -> list[tuple[str, str, str]]:
        found = getattr(s, table)
        return [(r.code, r.name, r.text) for r in found if not r.code.endswith("QY")]

    assert listed(plain, "mdcs") == listed(variant, "mdcs")
    assert listed(plain, "drgs") == listed(variant, "drgs")
    differ = [
        (a, b)
        for a, b in zip(listed(plain, "adrgs"), listed(variant, "adrgs"), strict=True)
        if a != b
    ]
    assert [(a[0], a[2], b[0], b[2]) for a, b in differ] == [("PV1", "1", "PV1", "ZYZD in DI_PV1")]
    assert variant.set_codes.keys() - plain.set_codes.keys() == {"DI_PV1"}
    assert all(variant.set_codes[name] == codes for name, codes in plain.set_codes.items())
    assert (plain.mcc, plain.cc, plain.exclusions) == (variant.mcc, variant.cc, variant.exclusions)


def test_pv1_of_the_variant_has_its_448_diagnoses() -> None:
    codes = scheme("chs-drg-1.1-qy").set_codes["DI_PV1"]
    assert len(codes) == 448
    assert codes == {r["code"] for r in rows(shared("facts/drg_1_1/pv1_diagnoses.csv"))}


def test_the_code_list_is_that_of_the_reference_data() -> None:
    listed = load_codes("codes-nhsa-2.0")
    assert (len(listed.diagnoses), len(listed.procedures)) == (33_304, 13_686)
    folder = shared("facts/codes")
    for path in sorted(folder.glob("*.csv")):
        assert rows(SHIPPED / "codes-nhsa-2.0" / path.name) == rows(path)
    assert set(listed.procedure_class.values()) == {"手术", "介入治疗", "治疗性操作", "诊断性操作"}


def test_every_folder_that_ships_says_where_it_comes_from() -> None:
    folders = sorted({p.parent for p in SHIPPED.glob("*/*.toml")})
    names = [f.name for f in folders]
    assert names == sorted([*scheme_ids(), *policy_ids(), "codes-nhsa-2.0", "dip-profiles"])
    for folder in folders:
        text = (folder / "SOURCES.md").read_text("utf-8")
        assert text.startswith("# ")
        assert len(text) > 100
    for name in scheme_ids():
        sources = load_scheme(name).settings.sources
        assert sources
        assert all(sources.values())
        named = {file for files in sources for file in re.findall(r"[\w.]+\.csv", files)}
        assert named >= {p.name for p in (SHIPPED / name).glob("*.csv")}
    assert load_codes("codes-nhsa-2.0").settings.sources


@pytest.mark.parametrize("name", policy_ids())
def test_every_value_of_a_policy_has_its_source(name: str) -> None:
    s = policy(name).settings
    assert s.id == name
    assert s.standing in (("invented", "example") if name.startswith("example") else ("published",))
    dated = [v for p in s.param.values() for v in p.values]
    sourced: list[Any] = [s, s.method, s.funds, *s.weights, *s.high, *s.low, *dated]
    sourced += [*s.status_pay.values(), *filter(None, (s.basic, s.benchmark))]
    assert all(x.source.strip() for x in sourced)
    assert all(policy(name).tables[w.name] for w in s.weights)


# ------------------------------------------------------------------------------------- fingerprints


def test_fingerprints_are_distinct_and_stable() -> None:
    found = [load_scheme(name).fingerprint for name in scheme_ids()]
    found += [policy(name).fingerprint for name in policy_ids()]
    assert len(set(found)) == len(found) == 29
    assert all(re.fullmatch("[0-9a-f]{64}", f) for f in found)
    again = [load_scheme(SHIPPED / name).fingerprint for name in scheme_ids()]  # read anew
    again += [load_policy(SHIPPED / name).fingerprint for name in policy_ids()]
    assert again == found


def test_a_fingerprint_is_that_of_the_content_wherever_it_lies(tmp_path: Path) -> None:
    """The order of rows of the set table is of no account; one row less is."""
    toml = (SHIPPED / "chs-drg-1.1" / "scheme.toml").read_text("utf-8")
    copy = tmp_path / "elsewhere"
    copy.mkdir()
    inherits = 'inherits = "chs-drg-1.1"\n'
    (copy / "scheme.toml").write_text(inherits + toml, "utf-8")
    header, *lines = (SHIPPED / "chs-drg-1.1" / "sets.csv").read_text("utf-8").splitlines()
    table = copy / "sets.csv"
    table.write_text("\n".join([header, *reversed(lines), lines[0]]) + "\n", "utf-8")
    assert load_drg(copy).fingerprint == scheme("chs-drg-1.1").fingerprint
    table.write_text("\n".join([header, *lines[:-1]]) + "\n", "utf-8")
    assert load_drg(copy).fingerprint != scheme("chs-drg-1.1").fingerprint


BASE: dict[str, Any] = {
    "mdc": [("MDCA", "ZYZD in DX", "1"), ("MDCB", "ZYZD in OTHER", "2")],
    "adrg": [("AA1", "ZYSS in PX"), ("AB1", ""), ("BB1", "")],
    "drg": [("AA11", "QTZD in CC"), ("AA15", ""), ("AB19", ""), ("BB19", "")],
    "sets": {"DX": ["d1", "d2"], "OTHER": ["d3"], "PX": ["p1"]},
    "cc": [("c1", "CC", "EX_1"), ("c2", "MCC", ""), ("c3", "CC", "EX_2")],
    "exclusions": {"EX_1": ["d1"], "EX_2": ["d2"]},
}


def of_tiny(tmp_path: Path, **changes: Any) -> str:
    return load_drg(tiny_scheme(tmp_path / "s", **(BASE | changes))).fingerprint


CHANGES: dict[str, dict[str, Any]] = {
    "mdc.sort": {"mdc": [("MDCA", "ZYZD in DX", "3"), BASE["mdc"][1]]},
    "mdc.rule": {"mdc": [("MDCA", "ZYZD in OTHER", "1"), BASE["mdc"][1]]},
    "adrg.code": {
        "adrg": [("AA2", "ZYSS in PX"), *BASE["adrg"][1:]],
        "drg": [("AA11", "QTZD in CC", "AA2"), ("AA15", "", "AA2"), *BASE["drg"][2:]],
    },
    "adrg.rule": {"adrg": [("AA1", "ZYSS not in PX"), *BASE["adrg"][1:]]},
    "adrg row order": {"adrg": [BASE["adrg"][1], BASE["adrg"][0], BASE["adrg"][2]]},
    "drg.code": {"drg": [("AA13", "QTZD in CC"), *BASE["drg"][1:]]},
    "drg.rule": {"drg": [("AA11", "QTZD in MCC"), *BASE["drg"][1:]]},
    "drg row order": {"drg": [BASE["drg"][1], BASE["drg"][0], *BASE["drg"][2:]]},
    "sets.code": {"sets": BASE["sets"] | {"DX": ["d1", "d4"]}},
    "sets.set": {"sets": {"DX": ["d1"], "OTHER": ["d2", "d3"], "PX": ["p1"]}},
    "sets, an unused one": {"sets": BASE["sets"] | {"UNUSED": ["x"]}},
    "cc.code": {"cc": [("c4", "CC", "EX_1"), *BASE["cc"][1:]]},
    "cc.type": {"cc": [("c1", "MCC", "EX_1"), *BASE["cc"][1:]]},
    "cc.exclusion": {"cc": [("c1", "CC", "EX_2"), *BASE["cc"][1:]]},
    "exclusions.principal": {"exclusions": {"EX_1": ["d3"], "EX_2": ["d2"]}},
    "exclusions.exclusion": {"exclusions": {"EX_1": ["d1"], "EX_2": ["d1", "d2"]}},
    "valid_from": {"toml": "valid_from = 2022-01-01"},
    "valid_to": {"toml": "valid_to = 2022-01-01"},
    "newborn_weight": {"toml": 'newborn_weight = "admission"'},
    "grey_principal": {"toml": 'grey_principal = "ungrouped"'},
    "grey_procedure": {"toml": 'grey_procedure = "blank"'},
    "retry": {"toml": "retry_other_procedures = true"},
    "ambiguous_adrg": {"toml": 'ambiguous_adrg = "AB1"'},
    "remainder_adrg": {"toml": 'remainder_adrg = "AB1"'},
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_fingerprint_changes_with_one_cell(tmp_path: Path, name: str) -> None:
    assert of_tiny(tmp_path / "a") != of_tiny(tmp_path / "b", **CHANGES[name])


def test_all_these_changes_have_fingerprints_of_their_own(tmp_path: Path) -> None:
    found = [of_tiny(tmp_path / str(k), **c) for k, c in enumerate([{}, *CHANGES.values()])]
    assert len(set(found)) == len(CHANGES) + 1


SAME: dict[str, dict[str, Any]] = {
    "sets": {"sets": {"PX": ["p1"], "OTHER": ["d3"], "DX": ["d2", "d1", "d2"]}},
    "cc": {"cc": BASE["cc"][::-1]},
    "exclusions": {"exclusions": {"EX_2": ["d2"], "EX_1": ["d1"]}},
    "mdc": {"mdc": BASE["mdc"][::-1]},
    "defaults": {"toml": 'newborn_weight = "birth"\nretry_other_procedures = false'},
    "edition": {"toml": 'edition = "another word for it"'},
}


@pytest.mark.parametrize("name", SAME)
def test_a_fingerprint_does_not_change_with_what_cannot_matter(tmp_path: Path, name: str) -> None:
    assert of_tiny(tmp_path / "a") == of_tiny(tmp_path / "b", **SAME[name])


CODES: dict[str, Any] = {
    "diagnoses": ["d1"],
    "procedures": ["p1"],
    "diagnosis_map": {"x": "d1"},
    "procedure_map": {"y": "p1"},
    "grey_diagnoses": ["d1"],
    "grey_procedures": ["p1"],
}


def test_a_fingerprint_changes_with_the_code_list(tmp_path: Path) -> None:
    changes: list[dict[str, Any]] = [
        {},
        {"diagnoses": ["d1", "d9"]},
        {"procedures": []},
        {"diagnosis_map": {"x": "d2"}},
        {"procedure_map": {}},
        {"grey_diagnoses": []},
        {"grey_procedures": ["p9"]},
    ]
    found = set()
    for k, change in enumerate(changes):
        folder = tiny_scheme(tmp_path / str(k) / "s", **BASE, toml='code_list = "few"')
        tiny_codes(folder / "few", **(CODES | change))
        found.add(load_drg(folder).fingerprint)
    assert len(found | {of_tiny(tmp_path / "none")}) == len(changes) + 1


def test_the_fingerprint_of_a_policy_covers_each_of_its_files(tmp_path: Path) -> None:
    found = {policy("wuhan-2022").fingerprint}
    for k, file in enumerate(["", "policy.toml", "weights.csv", "pay_as.csv"]):
        copy = tmp_path / str(k)
        copy.mkdir()
        for path in (SHIPPED / "wuhan-2022").iterdir():
            last = "\n" if path.name == file else ""
            (copy / path.name).write_text(path.read_text("utf-8") + last, "utf-8")
        found.add(load_policy(copy).fingerprint)
    assert len(found) == 4  # the plain copy has that of the original


# ------------------------------------------------------------------------------ published standards

CITIES = ("jilin-2022", "linyi-2022", "qingdao-2023", "suzhou-2023", "wuhan-2022", "wuxi-2022")
WITHOUT_STANDARDS = ("lanzhou-2023", "nanping-2023", "yinchuan-2023")  # test_standards.py
ROWS = {
    "jilin-2022": 625,
    "linyi-2022": 2516,
    "qingdao-2023": 2728,
    "suzhou-2023": 1944,
    "wuhan-2022": 1320,
    "wuxi-2022": 1806,
}
DAYS = {name: date(int(name[-4:]), 6, 30) for name in CITIES}


def decimals(printed: str) -> int:
    return len(printed.partition(".")[2])


def price(
    name: str, group: str, level: str, insurance: str = "", note: str = ""
) -> Standard | None:
    at = {"level": level, "insurance": insurance, "note": note}
    return standard(policy(name), group, on=DAYS[name], **at)


def known_price(name: str, group: str, level: str, insurance: str = "", note: str = "") -> Standard:
    found = price(name, group, level, insurance, note)
    assert found is not None
    return found


def published(name: str) -> Iterator[tuple[str, Standard | None]]:
    """Yield each published cell and the standard that the policy gives."""
    for r in rows(GOLDEN / f"{name}.csv"):
        yield r["standard"], price(name, r["group"], r["level"], r["insurance"])


def test_the_nine_cities_are_what_ships() -> None:
    cities = [p for p in policy_ids() if not p.startswith("example")]
    assert cities == sorted([*CITIES, *WITHOUT_STANDARDS])
    assert sorted(p.stem for p in GOLDEN.glob("*.csv")) == sorted([*CITIES, "jilin-2022-edges"])


@pytest.mark.parametrize("name", [c for c in CITIES if c != "qingdao-2023"])
def test_every_published_standard_comes_out_to_its_last_digit(name: str) -> None:
    cells = list(published(name))
    wrong = [
        (cell, found)
        for cell, found in cells
        if (Decimal(cell) if cell else None)
        != (Decimal(found.rounded(decimals(cell))) if found else None)
    ]
    assert wrong == []
    assert len(cells) == ROWS[name]
    assert sum(not cell for cell, _ in cells) == (76 if name == "linyi-2022" else 0)


def test_every_standard_of_qingdao_comes_out_to_the_fen() -> None:
    """RW is printed with ten significant digits, so a standard is known to half its last × rate."""
    weight = {r["group"]: r["weight"] for r in rows(SHIPPED / "qingdao-2023" / "weights.csv")}
    cells = list(published("qingdao-2023"))
    assert len(cells) == ROWS["qingdao-2023"]
    for cell, found in cells:
        assert found is not None
        cents = Decimal(cell).quantize(Decimal("0.01"), "ROUND_HALF_UP")
        assert Decimal(found.rounded(2)) == cents
        digits = 10 - len(weight[found.group].partition(".")[0])
        unit = Fraction(1, 2 * 10**digits) * found.rate / 100 * found.coefficient
        assert abs(found.exact - Fraction(cell)) <= unit + Fraction(1, 2 * 10 ** decimals(cell))


def test_the_edges_of_jilin_come_out_to_their_last_digit() -> None:
    s = policy("jilin-2022").settings
    (low,), (high,) = s.low, s.high
    edges = rows(GOLDEN / "jilin-2022-edges.csv")
    for r in edges:
        found = known_price("jilin-2022", r["group"], "三级")
        for cell, multiple in ((r["low"], low.edge), (r["high"], high.edge)):
            edge = found.edge(Fraction(multiple))
            assert abs(edge - Fraction(cell)) <= Fraction(1, 2 * 10 ** decimals(cell))
    assert len(edges) == 625
    assert (low.edge, high.edge) == (Decimal("0.35"), Decimal("2.00"))


def test_the_notes_of_wuhan_pay_as_another_group_or_half() -> None:
    notes = rows(SHIPPED / "wuhan-2022" / "pay_as.csv")
    assert len(notes) == 15
    assert sum(n["share"] == "0.5" for n in notes) == 5
    for n in notes:
        for insurance in ("310", "390"):
            own = known_price("wuhan-2022", n["group"], "二级", insurance)
            found = known_price("wuhan-2022", n["group"], "二级", insurance, n["id"])
            other = known_price("wuhan-2022", n["pay_as"], "二级", insurance)
            share = Fraction(n["share"])
            assert found.exact == other.exact * share
            assert (found.group, found.pay_as) == (n["group"], n["pay_as"])
            assert share == 1 or n["pay_as"] == n["group"]
            assert found.exact != own.exact
            assert (n["pay_as"] in n["note"]) == (share == 1)
            assert ("50%" in n["note"]) == (share == Fraction(1, 2))


def test_a_note_of_wuhan_by_hand() -> None:
    weights = {
        r["group"]: Decimal(r["weight"]) for r in rows(SHIPPED / "wuhan-2022" / "weights.csv")
    }
    found = known_price("wuhan-2022", "BD1B", "二级", "310", "BD1B-note")
    assert Decimal(found.rounded(2)) == weights["BJ1B"] * 10618
    found = known_price("wuhan-2022", "OB19", "二级", "390", "OB19-note")
    assert Decimal(found.rounded(2)) == weights["OB19"] * 9800 / 2


def test_a_note_applies_to_its_group_alone() -> None:
    plain = known_price("wuhan-2022", "AA19", "二级", "310")
    assert known_price("wuhan-2022", "AA19", "二级", "310", "BD1B-note") == plain
    with pytest.raises(PolicyError, match="no note 'nothing'; known: BD1B-note, "):
        price("wuhan-2022", "AA19", "二级", "310", "nothing")


@pytest.mark.parametrize(
    ("name", "level", "insurance", "yuan"),
    [
        ("linyi-2022", "三级", "310", "1973.00"),
        ("linyi-2022", "三级", "390", "1878.20"),
        ("linyi-2022", "二级", "310", "1930.20"),
        ("linyi-2022", "二级", "390", "1700.20"),
        ("wuxi-2022", "一级", "", "1556.40"),
        ("wuxi-2022", "二级", "", "1989.40"),
        ("wuxi-2022", "三级", "", "2612.00"),
    ],
)
def test_the_row_of_ungrouped_cases(name: str, level: str, insurance: str, yuan: str) -> None:
    assert known_price(name, "0000", level, insurance).rounded(2) == yuan
    rule = policy(name).settings.status_pay["ungrouped"]
    assert (rule.rule, rule.value) == ("group", "0000")


def test_a_group_without_a_weight_has_no_standard() -> None:
    assert price("linyi-2022", "AA19", "三级", "310") is None
    assert price("linyi-2022", "no such group", "三级", "310") is None


@pytest.mark.parametrize(
    ("name", "n", "level"), [("suzhou-2023", 21, "二级"), ("wuxi-2022", 25, "一级")]
)
def test_basic_groups_have_one_price_at_every_level(name: str, n: int, level: str) -> None:
    table = policy(name).weights_on(DAYS[name])
    basic = [g for g, row in table.items() if row.basic]
    assert len(basic) == n
    for group in table:
        prices = {x: known_price(name, group, x).exact for x in ("一级", "二级", "三级")}
        if group in basic:
            assert set(prices.values()) == {prices[level]}
        else:
            assert prices["一级"] < prices["二级"] < prices["三级"]


def test_before_its_first_day_a_policy_has_no_standard() -> None:
    with pytest.raises(PolicyError) as e:
        standard(policy("jilin-2022"), "AF19", level="三级", on=date(2021, 12, 31))
    assert e.value.code == "E400"
    with pytest.raises(PolicyError, match="no value on 2022-06-30 for level 二级"):
        price("jilin-2022", "AF19", "二级")


# -------------------------------------------------------------------- the same numbers as published

COLUMNS = {
    "jilin-2022": {"支付标准（三级）": ("三级", "")},
    "linyi-2022": {
        "支付标准（三级职工）": ("三级", "310"),
        "支付标准（三级居民）": ("三级", "390"),
        "支付标准（二级职工）": ("二级", "310"),
        "支付标准（二级居民）": ("二级", "390"),
    },
    "qingdao-2023": {
        "支付标准（青医/市立/齐鲁/青医平度）": ("三级综合（四院）", ""),
        "支付标准（三级）": ("三级", ""),
        "支付标准（二级）": ("二级", ""),
        "支付标准（一级）": ("一级", ""),
    },
    "suzhou-2023": {f"{x}医院支付标准": (x, "") for x in ("一级", "二级", "三级")},
    "wuhan-2022": {
        "二级医院支付标准（职工）": ("二级", "310"),
        "二级医院支付标准（居民）": ("二级", "390"),
    },
    "wuxi-2022": {f"{x}医院支付标准": (x, "") for x in ("一级", "二级", "三级")},
}


def facts(name: str) -> list[dict[str, str]]:
    """Return a city's notice; the row of ungrouped cases is printed 0 in one of them."""
    found = rows(shared(f"facts/payment/{name.replace('-', '_')}.csv"))
    return [{**r, "group": r["DRG编码"] if r["DRG编码"] != "0" else "0000"} for r in found]


@pytest.mark.parametrize("name", CITIES)
def test_the_golden_standards_are_those_of_the_notice(name: str) -> None:
    notice = {
        (r["group"], *where): r[column]
        for r in facts(name)
        for column, where in COLUMNS[name].items()
    }
    golden = {
        (r["group"], r["level"], r["insurance"]): r["standard"]
        for r in rows(GOLDEN / f"{name}.csv")
    }
    assert golden == notice
    assert len(golden) == ROWS[name]


@pytest.mark.parametrize("name", CITIES)
def test_the_weights_are_those_of_the_notice(name: str) -> None:
    notice = {
        r["group"]: (r.get("RW", r.get("权重")), bool(r.get("基础病组"))) for r in facts(name)
    }
    shipped = {
        r["group"]: (r["weight"], bool(r.get("basic")))
        for r in rows(SHIPPED / name / "weights.csv")
    }
    assert shipped == notice


def test_the_golden_edges_are_those_of_the_notice() -> None:
    notice = {
        r["group"]: (r["低倍临界值（三级）"], r["高倍临界值（三级）"]) for r in facts("jilin-2022")
    }
    golden = {r["group"]: (r["low"], r["high"]) for r in rows(GOLDEN / "jilin-2022-edges.csv")}
    assert golden == notice


def test_the_notes_are_those_of_the_notice() -> None:
    notice = {r["group"]: r["备注"] for r in facts("wuhan-2022") if r["备注"]}
    shipped = {r["group"]: r["note"] for r in rows(SHIPPED / "wuhan-2022" / "pay_as.csv")}
    assert shipped == notice


def test_a_policy_written_by_hand_gives_its_standard(tmp_path: Path) -> None:
    """The arithmetic itself, on numbers that can be checked in the head."""
    write_csv(tmp_path / "weights.csv", ("group", "weight"), [("A", "1.5"), ("B", "0.00005")])
    text = (SHIPPED / "suzhou-2023" / "policy.toml").read_text("utf-8")
    text = text.replace("value = 8728.3", "value = 1000").replace("value = 1.2,", "value = 0.5,")
    (tmp_path / "policy.toml").write_text(text, "utf-8")
    own: Policy = load_policy(tmp_path)
    found = [standard(own, g, level="三级", on=date(2023, 1, 1)) for g in "AB"]
    assert [f.exact for f in found if f] == [Fraction(750), Fraction(1, 40)]
    assert [f.rounded(2) for f in found if f] == ["750.00", "0.03"]
    assert [f.rounded(0) for f in found if f] == ["750", "0"]
