"""The linter: each finding appears where it should and stays away where it should not."""

from __future__ import annotations

from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from shared import SHIPPED, shared
from tiny import tiny_scheme

from grouper import SchemeNotFound, TableError, load_drg, policy_ids, scheme_ids
from grouper.tables import Finding, check, describe, list_shipped
from grouper.tables._rules import Member, atoms

CLEAN: dict[str, Any] = {
    "mdc": [("MDCA", "ZYZD in DX"), ("MDCB", "")],
    "adrg": [("AA1", "ZYZD in SUB and ZYSS in PX"), ("AB1", ""), ("BB1", "")],
    "drg": [("AA11", "QTZD in CC"), ("AA15", ""), ("AB19", ""), ("BB19", "")],
    "sets": {"DX": ["d1", "d2"], "SUB": ["d2"], "PX": ["p1"]},
    "cc": [("c1", "CC", "EX"), ("c2", "MCC", "")],
    "exclusions": {"EX": ["d1"]},
}


checked = cache(check)  # for what no test changes


def found(tmp_path: Path, **changes: Any) -> list[Finding]:
    return check(tiny_scheme(tmp_path / "s", **(CLEAN | changes)))


def test_a_clean_scheme_has_no_finding(tmp_path: Path) -> None:
    assert found(tmp_path) == []


def test_a_finding_has_a_code_a_place_and_a_message(tmp_path: Path) -> None:
    finding = found(tmp_path, sets=CLEAN["sets"] | {"MORE": ["x"]})[0]
    assert finding == ("L103", "sets.csv", "set MORE is used by no rule")
    assert finding.code == "L103"


# --------------------------------------------------------------------------- L101: rows never reached


@pytest.mark.parametrize("rule", ["", "1", "(1)"])
def test_l101_a_drg_behind_one_that_always_holds(tmp_path: Path, rule: str) -> None:
    drg = [("AA15", rule), ("AA11", "QTZD in CC"), ("AB19", ""), ("BB19", ""), ("AA13", "")]
    message = "is never reached: AA15 (line 2) always holds"
    assert found(tmp_path, drg=drg) == [
        ("L101", "drg.csv:3", f"AA11 {message}"),
        ("L101", "drg.csv:6", f"AA13 {message}"),
    ]


def test_l101_an_adrg_behind_one_that_always_holds(tmp_path: Path) -> None:
    adrg = [("AB1", ""), ("AA1", "ZYZD in SUB and ZYSS in PX"), ("BB1", "")]
    message = "AA1 is never reached: AB1 (line 2) always holds"
    assert found(tmp_path, adrg=adrg) == [("L101", "adrg.csv:3", message)]


def test_l101_stays_away_from_rules_that_may_fail(tmp_path: Path) -> None:
    drg = [
        ("AA10", "0"),
        ("AA11", "1 and QTZD in CC"),
        ("AA13", "NL>=0"),
        ("AA15", ""),
        ("AB19", ""),
        ("BB19", ""),
    ]
    assert found(tmp_path, drg=drg) == []


def test_l101_stays_away_from_rows_of_other_parents(tmp_path: Path) -> None:
    drg = [("AB19", ""), ("BB19", ""), ("AA11", "QTZD in CC"), ("AA15", "")]
    assert found(tmp_path, drg=drg) == []


def test_l101_counts_62_drg_rows_of_the_four_city_schemes() -> None:
    cities = {"beijing": 4, "changzhou": 33, "foshan": 10, "zhejiang": 15}
    for city, n in cities.items():
        findings = checked(shared(f"facts/drg_{city}_2022"))
        places = [f.place.split(":")[0] for f in findings if f.code == "L101"]
        assert Counter(places) == {"drg.csv": n}
    assert sum(cities.values()) == 62


# ------------------------------------------------------------------------------- L102: outside the MDC


def test_l102_principal_diagnoses_that_the_mdc_does_not_take(tmp_path: Path) -> None:
    sets = CLEAN["sets"] | {"SUB": ["d2", "x2", "x1"]}
    message = "AA1: 2 diagnoses are not in its MDC's list, as x1"
    assert found(tmp_path, sets=sets) == [("L102", "adrg.csv:2", message)]


@pytest.mark.parametrize(
    ("mdc", "adrg"),
    [
        ("ZYZD in {DX, SUB}", "ZYZD in SUB and ZYSS in PX"),  # the list of the MDC is a union
        ("ZYZD in DX", "ZYZD in DX and QTZD in SUB and ZYSS in PX"),  # another variable
        ("ZYZD in DX", "ZYZD in DX and ZYZD not in SUB and ZYSS in PX"),
        ("ZYZD in DX", "ZYZD in DX and {ZYZD, QTZD} in SUB and ZYSS in PX"),  # or a secondary
        ("ZYZD not in DX", "ZYZD in SUB and ZYSS in PX"),  # the MDC has no list
        ("", "ZYZD in {DX, SUB} and ZYSS in PX"),
    ],
)
def test_l102_stays_away_where_the_diagnoses_can_be_reached(
    tmp_path: Path, mdc: str, adrg: str
) -> None:
    rows: dict[str, Any] = {
        "mdc": [("MDCA", mdc), ("MDCB", "ZYZD in {DX, SUB}")],
        "adrg": [("AA1", adrg), ("AB1", ""), ("BB1", "")],
        "sets": CLEAN["sets"] | {"SUB": ["d2", "x1"]},
    }
    assert found(tmp_path, **rows) == []


@pytest.mark.parametrize("name", ["chs-drg-1.1", "chs-drg-1.1-qy"])
def test_l102_the_shipped_schemes_have_252_of_them(name: str) -> None:
    """252 pairs of an ADRG and a diagnosis, of 17 ADRGs; the diagnoses themselves are 195."""
    messages = [f.message for f in checked(name) if f.code == "L102"]
    stated = {m.split(":")[0]: int(m.split(" ")[1]) for m in messages}
    assert (len(messages), len(stated), sum(stated.values())) == (17, 17, 252)
    scheme = load_drg(name)
    lost = {}
    for row in scheme.adrgs:
        lists = [
            [scheme.set_codes[s] for a in atoms(rule) if isinstance(a, Member) for s in a.sets]
            for rule in (scheme.mdcs[row.parent].rule, row.rule)
        ]
        if row.code in stated:
            diagnoses = {c for codes in lists[1] for c in codes if c[0].isalpha()}
            lost[row.code] = diagnoses - frozenset().union(*lists[0])
    assert {k: len(v) for k, v in lost.items()} == stated
    assert len(frozenset().union(*lost.values())) == 195


# ---------------------------------------------------------------------------------- L103, L104: sets


def test_l103_a_set_that_no_rule_uses(tmp_path: Path) -> None:
    findings = found(tmp_path, sets=CLEAN["sets"] | {"Z": ["z"], "MORE": ["d1"]})
    assert findings == [
        ("L103", "sets.csv", "set MORE is used by no rule"),
        ("L103", "sets.csv", "set Z is used by no rule"),
    ]


def test_l103_stays_away_from_a_set_that_is_only_counted(tmp_path: Path) -> None:
    drg = [("AA11", "length(MORE ∩ QTZD)>1"), ("AA15", ""), ("AB19", ""), ("BB19", "")]
    assert found(tmp_path, sets=CLEAN["sets"] | {"MORE": ["d1"]}, drg=drg) == []


def test_l104_a_set_that_is_known_to_be_empty(tmp_path: Path) -> None:
    sets = {"DX": ["d1", "d2"], "SUB": ["d2"]}
    findings = found(tmp_path, sets=sets, toml='known_empty_sets = ["PX"]')
    assert findings == [("L104", "scheme.toml", "set PX (adrg.csv:2) is empty in the source")]


def test_l104_stays_away_when_the_set_has_come(tmp_path: Path) -> None:
    assert found(tmp_path, toml='known_empty_sets = ["PX"]') == []


# ------------------------------------------------------------------------------------ L105: variables


def test_l105_a_variable_beyond_the_eight_that_is_not_announced(tmp_path: Path) -> None:
    drg = [("AA11", "ZYTS>5 and LYFS='2'"), ("AA15", ""), ("AB19", ""), ("BB19", "")]
    message = "extra_variables says [], the rules use ['LYFS', 'ZYTS']"
    assert found(tmp_path, drg=drg) == [("L105", "scheme.toml", message)]


def test_l105_an_announced_variable_that_no_rule_uses(tmp_path: Path) -> None:
    message = "extra_variables says ['CYKS'], the rules use []"
    findings = found(tmp_path, toml='extra_variables = ["CYKS"]')
    assert findings == [("L105", "scheme.toml", message)]


def test_l105_stays_away_when_they_agree_in_any_order(tmp_path: Path) -> None:
    drg = [
        ("AA11", "ZYTS>5 and LYFS='2' and NL>7 and XB=1 and XSRTL>1 and XSRTZ>1"),
        ("AA15", "ICUSC>1 or CYKS='1'"),
        ("AB19", ""),
        ("BB19", ""),
    ]
    toml = 'extra_variables = ["ZYTS", "CYKS", "ICUSC", "LYFS"]'
    assert found(tmp_path, drg=drg, toml=toml) == []


# ---------------------------------------------------------------------------------- L106, L107: codes


def test_l106_a_code_that_is_mcc_and_cc(tmp_path: Path) -> None:
    findings = found(tmp_path, cc=[("c1", "CC", "EX"), ("c2", "MCC", ""), ("c1", "MCC", "")])
    message = "c1 is MCC and CC; each has its own exclusion"
    assert findings == [("L106", "cc.csv", message)]


def test_l106_stays_away_from_a_repeat(tmp_path: Path) -> None:
    findings = found(tmp_path, cc=[("c1", "CC", "EX"), ("c1", "CC", "EX"), ("c2", "MCC", "")])
    assert [f.code for f in findings] == ["L122"]


def test_l107_a_bare_adrg_as_group(tmp_path: Path) -> None:
    drg = [("AA11", "QTZD in CC"), ("AA1", "", "AA1"), ("AB19", ""), ("BB19", "")]
    assert found(tmp_path, drg=drg) == [("L107", "drg.csv:3", "AA1 is a bare ADRG as group")]


def test_l107_a_bare_adrg_as_group_of_a_branch(tmp_path: Path) -> None:
    adrg = [("AA1#1", "ZYZD in SUB"), ("AA1#2", "ZYSS in PX"), ("AB1", ""), ("BB1", "")]
    drg = [("AA1", "", "AA1#1"), ("AA19", "", "AA1#2"), ("AB19", ""), ("BB19", "")]
    findings = found(tmp_path, adrg=adrg, drg=drg)
    assert findings == [("L107", "drg.csv:2", "AA1 is a bare ADRG as group")]


def test_l107_stays_away_from_qy_which_has_no_other_code(tmp_path: Path) -> None:
    adrg = [("AQY", "ZYZD in SUB and ZYSS in PX"), ("AB1", ""), ("BB1", "")]
    drg = [("AQY", "", "AQY"), ("AB19", ""), ("BB19", "")]
    assert found(tmp_path, adrg=adrg, drg=drg) == []


# ------------------------------------------------------------------------------- what ships, describe


def test_findings_of_the_shipped_schemes_and_policies() -> None:
    found = {
        name: Counter(f.code for f in checked(name)) for name in (*scheme_ids(), *policy_ids())
    }
    linyi = Counter({"L201": 1})
    assert {k: v for k, v in found.items() if v} == {
        "chs-drg-1.1": Counter({"L102": 17, "L117": 2, "L118": 9}),
        "chs-drg-1.1-qy": Counter({"L102": 17, "L117": 2, "L118": 9}),
        "example-point": linyi + Counter({"L217": 1}),  # a ratio for those who try the form
        "example-rate": linyi,
        "lanzhou-2023": Counter({"L201": 1, "L202": 1}),
        "linyi-2022": linyi,
        "nanping-2023": Counter({"L202": 1}),
        "wuxi-2022": Counter({"L202": 1}),
    }


def test_other_schemes_as_users_bring_them_have_their_known_findings() -> None:
    found = {
        name: Counter(f.code for f in checked(shared(f"facts/drg_{name}_2022")))
        for name in ("beijing", "changzhou", "foshan", "zhejiang")
    }
    assert found == {
        "beijing": {"L101": 4, "L107": 3, "L118": 2, "L119": 2},
        "changzhou": {"L101": 33, "L102": 7, "L106": 1, "L107": 7, "L118": 6, "L119": 3},
        "foshan": {"L101": 10, "L102": 16, "L104": 1, "L118": 8, "L119": 4, "L125": 1},
        "zhejiang": {"L101": 15, "L102": 103, "L104": 2, "L118": 20, "L119": 6},
    }


def test_what_is_not_there_or_has_no_settings_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SchemeNotFound):
        check("nothing")
    folder = tiny_scheme(tmp_path / "s")
    (folder / "scheme.toml").write_text("id = 1\n", "utf-8")
    with pytest.raises(TableError):
        check(folder)


def test_the_list_of_what_ships() -> None:
    listed = list_shipped()
    assert list(listed["schemes"]) == scheme_ids() == ["chs-drg-1.1", "chs-drg-1.1-qy", "dip-demo"]
    assert list(listed["policies"]) == policy_ids()
    assert all(title for kind in listed.values() for title in kind.values())


def test_a_scheme_is_described_by_its_size_options_and_faults() -> None:
    told = describe("chs-drg-1.1-qy")
    scheme = load_drg("chs-drg-1.1-qy")
    assert told["fingerprint"] == scheme.fingerprint
    assert told["inherits"] == "chs-drg-1.1"
    assert told["known_faults"]
    assert told["rows"] == {
        "mdc": 26,
        "adrg": len(scheme.adrgs),
        "drg": len(scheme.drgs),
        "sets": len(scheme.sets),
        "mcc": len(scheme.mcc),
        "cc": len(scheme.cc),
        "exclusion tables": len(scheme.exclusions),
        "codes": len(scheme.codes),
    }


def test_a_policy_is_described_by_its_method_and_parameters() -> None:
    told = describe("wuhan-2022")
    assert (told["id"], told["standing"]) == ("wuhan-2022", "published")
    assert told["method"]["kind"] == "rate"
    assert told["weights"] == {"weights.csv": "660 groups"}
    assert told["parameters"]["base_rate"] == "费率, yuan per 1.0000 RW: 10618, 9800"
    assert len(told["pay_as"]) == 15
    assert describe(SHIPPED / "wuhan-2022" / "policy.toml") == told
    assert describe(SHIPPED / "wuhan-2022") == told
