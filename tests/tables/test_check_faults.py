"""One broken scheme for each rule of the linter: its own code, file and row; all faults come at once."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from oracle.draw import draw_cases
from shared import ROOT, SCHEMES, expected_cases, shared
from tiny import case, tiny_codes, tiny_scheme

from grouper import check_cases, group, load_drg, load_scheme
from grouper.errors import GrouperError
from grouper.tables import check
from grouper.tables._findings import KINDS

from .test_check import CLEAN

pytestmark = pytest.mark.promise("A table that is wrong is refused by file, row and cure")


def whole(folder: Path) -> Path:
    return tiny_scheme(folder / "s", **CLEAN)


def edit(file: str, old: str, new: str) -> Callable[[Path], Path]:
    def change(folder: Path) -> Path:
        path = whole(folder) / file
        text = path.read_text("utf-8")
        assert text.count(old) == 1, (old, text)
        path.write_text(text.replace(old, new), "utf-8")
        return path.parent

    return change


def rows(**changes: Any) -> Callable[[Path], Path]:
    return lambda folder: tiny_scheme(folder / "s", **(CLEAN | changes))


def bytes_of(file: str, change: Callable[[bytes], bytes]) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        path = whole(folder) / file
        path.write_bytes(change(path.read_bytes()))
        return path.parent

    return write


def without(file: str) -> Callable[[Path], Path]:
    def remove(folder: Path) -> Path:
        path = whole(folder) / file
        path.unlink()
        return path.parent

    return remove


def with_code_list(folder: Path) -> Path:
    known = ["d1", "d2", "c1"]
    tiny_codes(folder / "codes", diagnoses=known, procedures=["p1"])
    return tiny_scheme(folder / "s", **CLEAN, toml='code_list = "../codes"')


LATE = [("MDCA", "ZYZD in DX"), ("MDCB", "")]
TABLE: list[tuple[str, str, Callable[[Path], Path]]] = [
    ("L101", "drg.csv:3", rows(drg=[("AA15", ""), ("AA11", "QTZD in CC"), ("AB19", ""), ("BB19", "")])),
    ("L102", "adrg.csv:2", rows(sets=CLEAN["sets"] | {"SUB": ["x1"]})),
    ("L103", "sets.csv", rows(sets=CLEAN["sets"] | {"MORE": ["x"]})),
    ("L104", "scheme.toml", rows(sets={"DX": ["d1"], "SUB": ["d1"]}, toml='known_empty_sets = ["PX"]')),
    ("L105", "scheme.toml", rows(toml='extra_variables = ["CYKS"]')),
    ("L106", "cc.csv", rows(cc=[*CLEAN["cc"], ("c1", "MCC", "")])),
    ("L107", "drg.csv:3", rows(drg=[("AA11", "QTZD in CC"), ("AA1", "", "AA1"), ("AB19", ""), ("BB19", "")])),
    ("L108", "adrg.csv:2", edit("adrg.csv", "ZYSS in PX", "ZYSS in NONE")),
    ("L109", "adrg.csv:2", edit("adrg.csv", "ZYSS in PX", "ZYSS inside PX")),
    ("L110", "adrg.csv:3", edit("adrg.csv", "AB1,name of AB1,,MDCA", "AB1,name of AB1,,MDCX")),
    ("L110", "mdc.csv:3", rows(adrg=CLEAN["adrg"][:2], drg=CLEAN["drg"][:3])),
    ("L111", "adrg.csv:3", edit("adrg.csv", "AB1,name of AB1,,", "AA1,name of AB1,,")),
    ("L111", "drg.csv:2", edit("drg.csv", "AA11,name", ",name")),
    ("L111", "sets.csv:2", edit("sets.csv", "DX,d1", ",d1")),
    ("L112", "mdc.csv:2", edit("mdc.csv", "ZYZD in DX,1", "ZYZD in DX,one")),
    ("L113", "mdc.csv:3", rows(mdc=[("MDCA", "ZYZD in DX", "7"), ("MDCB", "", "7")])),
    ("L114", "cc.csv:2", edit("cc.csv", "c1,CC,EX", "c1,CCC,EX")),
    ("L115", "cc.csv:2", edit("cc.csv", "c1,CC,EX", "c1,CC,EY")),
    ("L116", "exclusions.csv", rows(exclusions=CLEAN["exclusions"] | {"EZ": ["d1"]})),
    ("L117", "cc.csv:3", with_code_list),
    (
        "L118",
        "mdc.csv:2",
        rows(
            adrg=[("AA1", "ZYZD in DX and ZYSS in PX"), ("AB1", "ZYZD in SUB"), ("BB1", "")],
        ),
    ),
    (
        "L119",
        "drg.csv:3",
        rows(
            drg=[
                ("AA11", "QTZD in {MCC, CC}"),
                ("AA13", "QTZD in CC and NL>=70"),
                ("AA15", ""),
                ("AB19", ""),
                ("BB19", ""),
            ]
        ),
    ),
    ("L120", "cc.csv:4", rows(cc=[*CLEAN["cc"], ("c1", "CC", "")])),
    ("L121", "cc.csv", bytes_of("cc.csv", lambda b: b"\xef\xbb\xbf" + b)),
    ("L122", "sets.csv:4", rows(sets={**CLEAN["sets"], "DX": ["d1", "d2", "d1"]})),
    (
        "L123",
        "drg.csv:2",
        rows(drg=[("AA11", "QTZD in CC and NL>=70 or XB=1"), ("AA15", ""), ("AB19", ""), ("BB19", "")]),
    ),
    ("L124", "exclusions.csv", without("exclusions.csv")),
    ("L124", "cc.csv:1", edit("cc.csv", "type", "kind")),
    ("L124", "cc.csv:2", edit("cc.csv", "c1,CC,EX", "c1,CC")),
    ("L124", "cc.csv", bytes_of("cc.csv", lambda b: b + "诊断,CC,EX\n".encode("gb18030"))),
    ("L124", "cc.csv", bytes_of("cc.csv", lambda b: b.splitlines(keepends=True)[0])),
    ("L125", "adrg.csv:2", edit("adrg.csv", "ZYSS in PX", "ZYSS\u00a0in PX")),
    ("L126", "drg.csv:2", edit("drg.csv", "QTZD in CC,AA1,MDCA", "QTZD in CC,AA1,MDCB")),
    ("L127", "adrg.csv:3", edit("adrg.csv", "AA1,name of AA1,ZYZD in SUB and ZYSS in PX,MDCA,1",
                                "AA1,name of AA1,ZYZD in SUB and ZYSS in PX,MDCA,9")),
]  # fmt: skip


def test_the_clean_scheme_has_no_finding(tmp_path: Path) -> None:
    assert check(whole(tmp_path)) == []


@pytest.mark.parametrize(("code", "place", "make"), TABLE)
def test_each_fault_has_its_code_file_and_row(
    tmp_path: Path, code: str, place: str, make: Callable[[Path], Path]
) -> None:
    found = [f for f in check(make(tmp_path)) if f.code == code]
    assert found
    assert found[0].place == place
    assert found[0].message


@pytest.mark.parametrize(("code", "place", "make"), TABLE)
def test_an_error_is_what_the_loader_refuses(
    tmp_path: Path, code: str, place: str, make: Callable[[Path], Path]
) -> None:
    folder = make(tmp_path)
    errors = [f for f in check(folder) if f.severity == "error"]
    assert bool(errors) == (KINDS[code][0] == "error")
    if errors:
        with pytest.raises(GrouperError):
            load_scheme(folder)
    else:
        load_scheme(folder)


def test_every_rule_about_schemes_has_a_broken_one() -> None:
    told = {code for code in KINDS if code.startswith("L1")}
    assert {code for code, _, _ in TABLE} | {"L100"} == told


def test_all_faults_come_at_once(tmp_path: Path) -> None:
    folder = whole(tmp_path)
    for file, old, new in (
        ("adrg.csv", "ZYSS in PX", "ZYSS in NONE"),
        ("drg.csv", "QTZD in CC", "QTZD on CC"),
        ("cc.csv", "c1,CC,EX", "c1,CC,EY"),
    ):
        path = folder / file
        path.write_text(path.read_text("utf-8").replace(old, new), "utf-8")
    errors = {(f.code, f.place) for f in check(folder) if f.severity == "error"}
    assert errors == {("L108", "adrg.csv:2"), ("L109", "drg.csv:2"), ("L115", "cc.csv:2")}


def test_the_rules_of_3_0_without_sets_name_every_set_at_once() -> None:
    found = check(shared("facts/drg_3_0"))
    lacking = [f for f in found if f.code == "L108"]
    assert len(lacking) == 634
    assert {f.place for f in found if f.code == "L124"} == {"sets.csv", "cc.csv", "exclusions.csv"}
    (sort,) = [f for f in found if f.code == "L127"]
    assert "O00 has the sort 18 and stands behind OZ1 with 20" in sort.message


def test_a_refusal_that_no_rule_foresees_is_still_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = whole(tmp_path)
    monkeypatch.setattr("grouper.tables._check.check_drg", lambda raw: [])
    (folder / "cc.csv").unlink()
    (finding,) = check(folder)
    assert (finding.code, finding.severity, finding.place) == ("L100", "error", "cc.csv")


# -------------------------------------------------------------------------------- only what is certain


@pytest.mark.big
@pytest.mark.parametrize("name", [n for n in SCHEMES if n != "drg_1_1"])
def test_a_row_that_is_called_unreachable_is_never_reached(name: str) -> None:
    folder = shared(f"facts/{name}")
    scheme = load_drg(folder)
    lost = {f.place for f in check(folder) if f.code in ("L101", "L119")}
    assert lost
    cases = draw_cases(scheme, 5, 3000)
    if name != "drg_1_0":
        cases += [{k: v for k, v in c.items() if k != "expected"} for c in expected_cases(name)]
    found = group([{**c, "case_id": str(k)} for k, c in enumerate(cases)], scheme).drg
    reached = {f"adrg.csv:{scheme.adrgs[a].line}" for a in set(found.adrg.tolist()) if a >= 0}
    reached |= {f"drg.csv:{scheme.drgs[d].line}" for d in set(found.drg.tolist()) if d >= 0}
    assert len(reached) > 300
    assert reached & lost == set()


def test_an_adrg_whose_drgs_may_all_fail_shadows_nothing(tmp_path: Path) -> None:
    adrg = [("AA1", ""), ("AB1", "ZYZD in SUB"), ("BB1", "")]
    drg = [("AA11", "QTZD in CC"), ("AB19", ""), ("BB19", "")]
    folder = tiny_scheme(tmp_path / "s", **(CLEAN | {"adrg": adrg, "drg": drg}))
    assert not {f.code for f in check(folder)} & {"L101", "L119"}
    row = group([{**case("d2"), "case_id": "1"}], folder).to_arrow().to_pylist()[0]
    assert row["group"] == "AB19"


@pytest.mark.parametrize(
    ("narrow", "wide", "lost"),
    [
        ("ZYZD in SUB", "ZYZD in DX", True),
        ("ZYZD in DX", "ZYZD in SUB", False),
        ("ZYZD in SUB", "{ZYZD, QTZD} in DX", True),
        ("{ZYZD, QTZD} in SUB", "ZYZD in DX", False),
        ("ZYZD not in DX", "ZYZD not in SUB", True),
        ("ZYZD not in SUB", "ZYZD not in DX", False),
        ("NL>=70", "NL>69", True),
        ("NL>=70", "NL>70", False),
        ("NL=70 and XB=1", "NL>=70", True),
        ("NL>=70 or XB=1", "NL>=70", False),
        ("NL=70 or NL=80", "NL>=70", True),
        ("QTZD in MCC", "QTZD in {MCC, CC}", True),
        ("QTZD in {MCC, CC}", "QTZD in MCC", False),
        ("length(PX ∩ QTSS)>=2", "length(PX ∩ QTSS)>=1", True),
        ("length(PX ∩ QTSS)>=1", "length(PX ∩ QTSS)>=2", False),
        ("LYFS='5'", "LYFS='5'", True),
        ("LYFS='5'", "LYFS='4'", False),
    ],
)
def test_what_asks_for_less(tmp_path: Path, narrow: str, wide: str, lost: bool) -> None:
    drg = [("AA11", wide), ("AA13", narrow), ("AA15", ""), ("AB19", ""), ("BB19", "")]
    found = check(tiny_scheme(tmp_path / "s", **(CLEAN | {"drg": drg})))
    assert any(f.code == "L119" and f.place == "drg.csv:3" for f in found) == lost


# ------------------------------------------------------------------------------------- with cases


def test_findings_with_the_cases_that_they_touch(tmp_path: Path) -> None:
    changes: dict[str, Any] = {
        "sets": CLEAN["sets"] | {"SUB": ["d2", "x1"]},
        "adrg": [("AA1", "ZYZD in SUB and ZYSS in PX"), ("AB1", ""), ("BB1", "")],
        "drg": [("AA11", "NL>=60"), ("AA13", "NL>=70"), ("AA15", ""), ("AB19", ""), ("BB19", "")],
        "cc": [*CLEAN["cc"], ("c1", "MCC", "")],
    }
    folder = tiny_scheme(tmp_path / "s", **(CLEAN | changes))
    cases = [
        case("x1"),  # principal outside the MDC's list
        case("d1", "x1"),  # only as another diagnosis
        case("d2", "c1", px=["p1"], age=71),  # lands in AA11, would meet AA13; c1 twice listed
        case("d2", px=["p1"], age=65),  # lands in AA11, does not meet AA13
        case("c1", "d1"),  # c1 as principal
        case("x1", "c1"),
    ]
    table = [{**c, "case_id": str(k)} for k, c in enumerate(cases)]
    touched = {t.finding.code: t.cases for t in check_cases(folder, group(table, folder).table)}
    assert touched == {"L102": 2, "L106": 2, "L119": 1}


def test_cases_of_the_shipped_scheme_are_counted() -> None:
    found = check_cases("chs-drg-1.1", shared("cases/drg_1_1_expected.csv"))
    burns = next(t for t in found if t.finding.message.startswith("WB1: 45 "))
    lost = {m for m in re.findall(r"as (\S+)$", burns.finding.message)}
    scheme = load_drg("chs-drg-1.1")
    taken = scheme.set_codes["DI_W00"] if "DI_W00" in scheme.set_codes else frozenset()
    rule = next(a for a in scheme.adrgs if a.code == "WB1").text
    own = {c for n in re.findall(r"DI\w*_\w+", rule) for c in scheme.set_codes[n]} - taken
    by_hand = sum(
        c["diagnoses"][:1] != [] and c["diagnoses"][0] in own for c in expected_cases("drg_1_1")
    )
    assert lost <= own
    assert burns.cases == by_hand > 0


def test_what_does_not_load_counts_no_cases(tmp_path: Path) -> None:
    folder = edit("adrg.csv", "ZYSS in PX", "ZYSS in NONE")(tmp_path)
    cases = [{**case("d1"), "case_id": "1"}]
    found = check_cases(folder, group(cases, whole(tmp_path / "other")).table)
    assert [t.cases for t in found] == [None] * len(found)


def test_the_documents_list_every_code_with_its_severity() -> None:
    text = (ROOT / "docs" / "errors.md").read_text("utf-8")
    told = dict(re.findall(r"^\| (L\d{3}) \| (\w+) \|", text, re.MULTILINE))
    assert told == {code: severity for code, (severity, _) in KINDS.items()}
