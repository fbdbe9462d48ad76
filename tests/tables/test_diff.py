"""What changed between two schemes: each change once; ten facts of 1.0 → 1.1 read off the files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from shared import expected_cases, shared
from tiny import case, tiny_scheme

from grouper import CaseFileError, SchemeDiff, TableError, diff_schemes, group, load_scheme
from grouper.errors import ConservationError

from .test_check import CLEAN


def pair(folder: Path, before: Mapping[str, Any], after: Mapping[str, Any]) -> SchemeDiff:
    """Compare CLEAN with changes and CLEAN with other changes."""
    a = tiny_scheme(folder / "a", **(CLEAN | dict(before)))
    b = tiny_scheme(folder / "b", **(CLEAN | dict(after)))
    return diff_schemes(a, b)


def told(d: SchemeDiff) -> list[tuple[str, str, str]]:
    return [(g["level"], g["code"], g["change"]) for g in d.groups]


# -------------------------------------------------------------------------------------------- laws


def test_a_scheme_beside_itself_has_no_difference(tmp_path: Path) -> None:
    d = pair(tmp_path, {}, {})
    assert (d.groups, d.codes, d.severity, d.options, d.counts()) == ([], [], [], [], {})
    assert "没有差别" in d.to_text("zh")


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (
            {"mdc": [("MDCA", "ZYZD in DX and XB=1"), ("MDCB", "")]},
            [("mdc", "MDCA", "other meaning")],
        ),
        (
            {"adrg": [("AA1", "ZYZD in SUB"), ("AB1", ""), ("BB1", "")]},
            [("adrg", "AA1", "other meaning")],
        ),
        (
            {"drg": [("AA11", "QTZD in MCC"), ("AA15", ""), ("AB19", ""), ("BB19", "")]},
            [("drg", "AA11", "other meaning")],
        ),
        (
            {
                "drg": [
                    ("AA11", "QTZD in CC"),
                    ("AA13", "NL>7"),
                    ("AA15", ""),
                    ("AB19", ""),
                    ("BB19", ""),
                ]
            },
            [("drg", "AA13", "new")],
        ),
        (
            {"adrg": [("AB1", ""), ("AA1", "ZYZD in SUB and ZYSS in PX"), ("BB1", "")]},
            [("adrg", "AA1", "moved")],
        ),
        ({"sets": CLEAN["sets"] | {"PX": ["p1", "p2"]}}, [("adrg", "AA1", "other meaning")]),
        ({"sets": CLEAN["sets"] | {"MORE": ["x"]}}, []),  # no rule asks for it
    ],
)
def test_each_change_is_told_once_where_it_stands(
    tmp_path: Path, change: dict[str, Any], wanted: list[tuple[str, str, str]]
) -> None:
    found = told(pair(tmp_path, {}, change))
    if wanted and wanted[0][2] == "moved":
        assert len(found) == 1
        assert found[0][2] == "moved"
        assert found[0][1] in ("AA1", "AB1")
    else:
        assert found == wanted


def test_names_and_order_inside_a_rule_mean_nothing(tmp_path: Path) -> None:
    a = {
        "adrg": [("AA1", "ZYZD in SUB and ({ZYSS, QTSS} in PX or NL>7)"), ("AB1", ""), ("BB1", "")]
    }
    b = {
        "adrg": [("AA1", "(NL>7 or {QTSS, ZYSS} in OP) and ZYZD in SUB"), ("AB1", ""), ("BB1", "")],
        "sets": {"DX": ["d2", "d1"], "SUB": ["d2"], "OP": ["p1"]},
    }
    assert told(pair(tmp_path, a, b)) == []


def test_a_group_under_another_code_is_recoded(tmp_path: Path) -> None:
    a = tiny_scheme(tmp_path / "a", **CLEAN)
    drg = [("AA12", "QTZD in CC"), ("AA15", ""), ("AB19", ""), ("BB19", "")]
    b = tiny_scheme(tmp_path / "b", **(CLEAN | {"drg": drg}))
    path = b / "drg.csv"
    path.write_text(path.read_text("utf-8").replace("name of AA12", "name of AA11"), "utf-8")
    (change,) = diff_schemes(a, b).groups
    assert (change["code"], change["change"], change["detail"]) == ("AA11", "recoded", "now AA12")


def test_a_new_name_is_a_new_name_and_no_more(tmp_path: Path) -> None:
    a, b = tiny_scheme(tmp_path / "a", **CLEAN), tiny_scheme(tmp_path / "b", **CLEAN)
    path = b / "adrg.csv"
    path.write_text(path.read_text("utf-8").replace("name of AB1", "another"), "utf-8")
    (change,) = diff_schemes(a, b).groups
    assert (change["level"], change["code"], change["change"]) == ("adrg", "AB1", "renamed")
    assert (change["name_before"], change["name_after"]) == ("name of AB1", "another")


def test_codes_severity_and_options(tmp_path: Path) -> None:
    d = pair(
        tmp_path,
        {
            "exclusions": {"EX": ["d1"], "EY": ["d2"]},
            "cc": [("c1", "CC", "EX"), ("c2", "MCC", ""), ("c3", "CC", "EY")],
        },
        {
            "sets": {"DX": ["d1", "d2", "d3"], "SUB": ["d2", "d1"], "PX": ["p1"]},
            "exclusions": {"EZ": ["d1", "d9"], "EY": ["d2"]},
            "cc": [("c1", "CC", "EZ"), ("c2", "CC", ""), ("c4", "MCC", "EY")],
            "toml": 'grey_principal = "ungrouped"',
        },
    )
    assert [(c["code"], c["change"], c["before"], c["after"]) for c in d.codes] == [
        ("d1", "moved", "MDCA", "MDCA AA1"),
        ("d3", "new", "", "MDCA"),
    ]
    assert [tuple(s.values()) for s in d.severity] == [
        ("c1", "CC", "CC", 1, 0),
        ("c2", "MCC", "CC", 0, 0),
        ("c3", "CC", "none", 0, 0),
        ("c4", "none", "MCC", 0, 0),
    ]
    assert d.options == [{"option": "grey_principal", "before": "allow", "after": "ungrouped"}]


def test_back_again_swaps_what_went_and_what_came() -> None:
    there, back = counts_of("there"), counts_of("back")
    for a, b in (
        ("drg gone", "drg new"),
        ("adrg gone", "adrg new"),
        ("diagnosis gone", "diagnosis new"),
    ):
        assert (there[a], there[b]) == (back[b], back[a])
    assert there["adrg other meaning"] == back["adrg other meaning"]


@cache
def national(way: str) -> SchemeDiff:
    ends = (shared("facts/drg_1_0"), "chs-drg-1.1")
    return diff_schemes(*(ends if way == "there" else ends[::-1]))


def counts_of(way: str) -> dict[str, int]:
    return national(way).counts()


# ------------------------------------------------------------------------- ten facts, read off the files


def rows_of(code: str, level: str = "") -> dict[str, dict[str, Any]]:
    found = [g for g in national("there").groups if g["code"] == code and level in ("", g["level"])]
    return {g["change"]: g for g in found}


def code_row(code: str) -> dict[str, Any]:
    (row,) = [c for c in national("there").codes if c["code"] == code]
    return row


def level_row(code: str) -> dict[str, Any]:
    (row,) = [s for s in national("there").severity if s["code"] == code]
    return row


def test_1_hiv_needs_the_principal_diagnosis() -> None:
    """mdc.csv:4 of both: {ZYZD, QTZD} in DI_Y00 → ZYZD in DI_Y00."""
    detail = rows_of("MDCY")["other meaning"]["detail"]
    assert detail.startswith("{ZYZD, QTZD} in DI_Y00 → ZYZD in DI_Y00")


def test_2_multiple_trauma_has_a_ninth_site() -> None:
    """mdc.csv, MDCZ: DI_Z09 stands in the rule of 1.1 only."""
    before, _, after = rows_of("MDCZ")["other meaning"]["detail"].partition(" → ")
    assert "DI_Z09" not in before
    assert "DI_Z09" in after


def test_3_cleft_lip_is_db3_and_was_dg3() -> None:
    """1.0 adrg.csv:107 DG3, drg.csv:167 DG39; 1.1 adrg.csv:98 DB3, drg.csv:154 DB39, same name."""
    assert "gone" in rows_of("DG3")
    assert "new" in rows_of("DB3")
    assert rows_of("DG39")["recoded"]["detail"] == "now DB39"
    assert rows_of("DB39") == {}


def test_4_by3_is_gone() -> None:
    """1.0 adrg.csv:78 BY3 脊髓伤病及功能障碍; no BY3 in 1.1."""
    gone = rows_of("BY3")["gone"]
    assert (gone["level"], gone["name_before"]) == ("adrg", "脊髓伤病及功能障碍")


def test_5_ne19_has_another_name() -> None:
    """1.0 drg.csv:59 子宫内膜手术; 1.1 drg.csv:65 子宫腔内病变手术."""
    renamed = rows_of("NE19", "drg")["renamed"]
    assert (renamed["name_before"], renamed["name_after"]) == ("子宫内膜手术", "子宫腔内病变手术")


def test_6_pc1_is_split_by_complications() -> None:
    """1.0 drg.csv:13 PC19; 1.1 drg.csv:13, 14 PC13 (MCC or CC) and PC15."""
    assert "gone" in rows_of("PC19")
    assert rows_of("PC13")["new"]["detail"] == "QTZD in {MCC, CC}"
    assert "new" in rows_of("PC15")


def test_7_cholera_is_in_no_medical_group_any_more() -> None:
    """A00.900: 1.0 sets.csv:48441 DI_G00 and :51708 DI_GW1; 1.1 sets.csv:50100 DI_G00 alone."""
    row = code_row("A00.900")
    assert (row["side"], row["before"], row["after"]) == ("diagnosis", "MDCG GW1", "MDCG")


def test_8_levels_of_three_codes() -> None:
    """A03.800x001: MCC (1.0 cc.csv:5) → CC (1.1 cc.csv:4718); A01.100: none → MCC (1.1 cc.csv:2);
    B45.100: MCC (1.0 cc.csv:88) → none."""
    for code, before, after in (
        ("A03.800x001", "MCC", "CC"),
        ("A01.100", "none", "MCC"),
        ("B45.100", "MCC", "none"),
    ):
        row = level_row(code)
        assert (row["before"], row["after"]) == (before, after)


def test_9_an_operation_that_no_adrg_took() -> None:
    """00.1101 stands in 1.1 sets.csv:79485 OP_QJ1 and in no set of 1.0."""
    row = code_row("00.1101")
    assert (row["side"], row["change"], row["after"]) == ("procedure", "new", "QJ1")


def test_10_saphenous_vein_is_tried_after_intervention() -> None:
    """1.0 adrg.csv:145, 146 FF1 then FF2; 1.1 adrg.csv:145, 146 FF2 then FF1."""
    moved = {
        g["code"]
        for g in national("there").groups
        if g["change"] == "moved" and g["level"] == "adrg"
    }
    assert moved in ({"FF1"}, {"FF2"})


# -------------------------------------------------------------------------------------- with cases


def tiny_cases() -> list[dict[str, Any]]:
    cases = [case("d2", "c1", px=["p1"]), case("d2", px=["p1"]), case("d1"), case("zz"), case()]
    return [{**c, "case_id": str(k), "hospital_id": f"H{k % 2}"} for k, c in enumerate(cases)]


def weights(path: Path, text: str) -> Path:
    path.write_text("group,weight\n" + text, "utf-8")
    return path


def test_who_moves_where_and_what_it_weighs(tmp_path: Path) -> None:
    a = tiny_scheme(tmp_path / "a", **CLEAN)
    adrg = [("AA1", "ZYZD in SUB and ZYSS in PX and NL>50"), ("AB1", ""), ("BB1", "")]
    b = tiny_scheme(tmp_path / "b", **(CLEAN | {"adrg": adrg}))
    cases = group(tiny_cases(), a).table
    of_a = weights(tmp_path / "a.csv", "AA11,2.5\nAA15,1.05\nAB19,0.3\nBB19,\n")
    of_b = weights(tmp_path / "b.csv", "AB19,0.4\nBB19,0.2\n")
    d = diff_schemes(a, b, cases=cases, weights_a=of_a, weights_b=of_b)
    flows = {(f["before"], f["after"]): f["cases"] for f in d.flows}
    assert flows == {
        ("AA11", "AB19"): 1,
        ("AA15", "AB19"): 1,
        ("AB19", "AB19"): 1,
        ("BB19", "BB19"): 1,
        ("(rejected)", "(rejected)"): 1,
    }
    assert (d.totals["cases"], d.totals["moved"]) == (5, 2)
    assert d.totals["weight_before"] == Fraction("3.85")
    assert d.totals["weight_after"] == Fraction("1.4")
    assert d.totals["groups_without_weight_before"] == {"BB19": 1}
    by_hospital = {h["hospital_id"]: h for h in d.hospitals}
    assert (by_hospital["H0"]["cases"], by_hospital["H0"]["moved"]) == (3, 1)
    assert by_hospital["H0"]["weight_before"] == Fraction("2.8")
    assert "3.85 → 1.4" in d.to_text("en")
    assert json.loads(json.dumps(d.to_dict()))["totals"]["weight_before"] == "3.85"


def test_reference_cases_add_up() -> None:
    path = shared("cases/drg_1_1_expected.csv")
    d = diff_schemes(
        shared("facts/drg_1_0"),
        "chs-drg-1.1",
        cases=path,
        weights_a="linyi-2022",
        weights_b="linyi-2022",
    )
    assert sum(f["cases"] for f in d.flows) == d.totals["cases"] == 5000
    after: dict[str, int] = {}
    for f in d.flows:
        after[f["after"]] = after.get(f["after"], 0) + f["cases"]
    expected: dict[str, int] = {}
    for c in expected_cases("drg_1_1"):
        group_code = c["expected"][3] or f"({c['expected'][0]})"
        expected[group_code] = expected.get(group_code, 0) + 1
    assert after == expected
    assert 0 < d.totals["moved"] < 5000
    assert sum(f["weight_after"] for f in d.flows) == d.totals["weight_after"] > 1000


def test_parts_that_do_not_add_up_are_never_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    a = tiny_scheme(tmp_path / "a", **CLEAN)
    monkeypatch.setattr("grouper._diff._landed", lambda t: ["AA11"] * (len(t) - 1))
    with pytest.raises((ConservationError, ValueError)):
        diff_schemes(a, a, cases=group(tiny_cases(), a).table)


# ----------------------------------------------------------------------------------- DIP and files


@pytest.mark.big
def test_dip_catalogues(tmp_path: Path) -> None:
    groups = (load_scheme("dip-demo").folder / "groups.csv").read_text("utf-8").splitlines()
    header, first, second, *rest = groups
    names = header.split(",")
    for name, rows in (("a", [first, second, *rest]), ("b", [second, *rest])):
        folder = tmp_path / name
        folder.mkdir()
        for path in load_scheme("dip-demo").folder.iterdir():
            if path.suffix in (".csv", ".toml"):
                (folder / path.name).write_bytes(path.read_bytes())
        (folder / "groups.csv").write_text("\n".join([header, *rows]) + "\n", "utf-8")
    assert names[0] == "code"
    d = diff_schemes(tmp_path / "a", tmp_path / "b")
    assert told(d) == [("group", first.split(",")[0], "gone")]
    assert told(diff_schemes(tmp_path / "b", tmp_path / "a")) == [
        ("group", first.split(",")[0], "new")
    ]
    cells = second.split(",")
    score = names.index("score")
    cells[score] = "12.5"
    (tmp_path / "b" / "groups.csv").write_text(
        "\n".join([header, first, ",".join(cells), *rest]) + "\n", "utf-8"
    )
    (change,) = diff_schemes(tmp_path / "a", tmp_path / "b").groups
    assert (change["code"], change["change"]) == (cells[0], "other score")
    assert change["detail"].endswith(" → 12.5")


def test_two_kinds_are_not_compared() -> None:
    with pytest.raises(TableError, match="compare DRG with DRG"):
        diff_schemes("chs-drg-1.1", "dip-demo")


def test_the_tables_are_written_whole_or_not_at_all(tmp_path: Path) -> None:
    d = pair(tmp_path, {}, {"mdc": [("MDCA", "ZYZD in DX and XB=1"), ("MDCB", "")]})
    out = tmp_path / "out"
    d.write(out)
    assert {p.name for p in out.iterdir()} == {
        *("groups.csv", "codes.csv", "severity.csv", "options.csv", "flows.csv", "hospitals.csv"),
        *("diff.md", "diff.json"),
    }
    assert json.loads((out / "diff.json").read_text("utf-8"))["counts"] == {"mdc other meaning": 1}
    with pytest.raises(CaseFileError, match="--overwrite"):
        d.write(out)
    d.write(out, overwrite=True)
    (out / "mine.txt").write_text("x", "utf-8")
    with pytest.raises(CaseFileError, match="holds files"):
        d.write(out, overwrite=True)
