"""CHS-DRG 3.0 by hand: cases whose group a person reads off the printed rule, which each test quotes.

The codes are made up (`drg3`): `own(S)` is a code of set S that no other set holds but the list of its MDC
and OP_ALL.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from drg3 import make_tables, write_scheme
from shared import shared
from tiny import Answer, Both

pytestmark = pytest.mark.promise("Cases read off the printed rules land where a person puts them")


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Both:
    return Both(write_scheme(tmp_path_factory.mktemp("golden3") / "s", shared("facts/drg_3_0")))


@pytest.fixture(scope="module")
def own() -> Callable[..., str]:
    sets = make_tables(shared("facts/drg_3_0")).codes()
    holders: dict[str, set[str]] = {}
    for name, codes in sets.items():
        for c in codes:
            holders.setdefault(c, set()).add(name)

    def code(name: str, k: int = 0) -> str:
        lists = {n for n in sets if n.endswith("00")} | {"OP_ALL"}
        return [c for c in sets[name] if holders[c] - lists <= {name}][k]

    return code


Own = Callable[..., str]


def newborn(
    both: Both, *dx: str, days: int, px: tuple[str, ...] = (), grams: int | None = None
) -> Answer:
    return both(*dx, px=px, age=0, age_days=days, admission_weight=grams)


def test_robot_assistance_is_the_codes_of_its_set_and_no_prefix(both: Both, own: Own) -> None:
    """EB1: ZYSS in OP_EB1; EB10: {ZYSS, QTSS} in OP_ARB; EB19: the rest."""
    dx, main, robot = own("DI_E00"), own("OP_EB1"), own("OP_ARB")
    assert both(dx, px=[main, robot]).group == "EB10"
    assert both(dx, px=[main]).group == "EB19"
    assert both(dx, px=[main, robot + "9"]).group == "EB19"
    assert both(dx, px=[main, robot[:-1]]).group == "EB19"
    assert (
        both(dx, px=[robot, main]).group != "EB10"
    )  # the operation is no longer the principal one


@pytest.mark.parametrize(
    ("age", "secondary", "group"),
    [
        (70, "M0", "BV1E"),
        (69, "M0", "BV11"),
        (70, "C0", "BV1F"),
        (69, "C0", "BV13"),
        (70, None, "BV1G"),
        (69, None, "BV15"),
    ],
)
def test_seventy_years_and_over(
    both: Both, own: Own, age: int, secondary: str | None, group: str
) -> None:
    """BV1E: QTZD in MCC and NL>=70 · BV11: QTZD in MCC · BV1F, BV13: CC · BV1G: NL>=70 · BV15: the rest."""
    diagnoses = [own("DI_BV1"), *([secondary] if secondary else [])]
    assert both(*diagnoses, age=age).group == group


@pytest.mark.parametrize(
    ("age", "secondary", "group"),
    [(6, None, "BT3C"), (7, None, "BT35"), (6, "C0", "BT33"), (6, "M0", "BT33"), (1, None, "BT3C")],
)
def test_six_years_and_under(
    both: Both, own: Own, age: int, secondary: str | None, group: str
) -> None:
    """BT33: QTZD in {MCC, CC} · BT3C: NL<=6 · BT35: the rest."""
    diagnoses = [own("DI_BT3"), *([secondary] if secondary else [])]
    assert both(*diagnoses, age=age).group == group


def test_the_first_28_days_are_those_of_the_newborn(both: Both, own: Own) -> None:
    """MDCP: NL=0 and XSRTL<29, whatever the diagnosis, or 29 … 365 days with DI_PV1 and no operation."""
    stomach, of_newborn, op = own("DI_G00"), own("DI_PV1"), own("OP_ALL")
    assert newborn(both, stomach, days=28).mdc == "MDCP"
    assert newborn(both, stomach, days=29).mdc == "MDCG"
    assert newborn(both, of_newborn, days=28).group != "PV15"
    assert newborn(both, of_newborn, days=29).group == "PV15"
    assert newborn(both, of_newborn, "M0", days=365).group == "PV11"
    assert newborn(both, of_newborn, "C0", days=365).group == "PV13"
    assert newborn(both, of_newborn, days=366).mdc != "MDCP"
    assert newborn(both, of_newborn, days=100, px=(op,)).mdc != "MDCP"
    assert both(of_newborn, age=1).mdc != "MDCP"


@pytest.mark.parametrize(
    ("grams", "adrg"),
    [
        (999, "PS1"),
        (1000, "PS2"),
        (1499, "PS2"),
        (1500, "PS3"),
        (1999, "PS3"),
        (2000, "PS4"),
        (2499, "PS4"),
        (2500, "PS5"),
    ],
)
def test_bands_of_admission_weight(both: Both, own: Own, grams: int, adrg: str) -> None:
    """PS1: XSRTZ<1000 … PS5: XSRTZ>2499, each with {ZYZD, QTZD} in its own list."""
    code = own(f"DI_{adrg}")
    assert newborn(both, code, days=3, grams=grams).adrg == adrg
    other = newborn(both, own("DI_G00"), code, days=3, grams=grams)
    assert other.adrg == adrg  # any diagnosis may bring it
    assert newborn(both, code, days=3).adrg == "" or newborn(both, code, days=3).adrg == "P00"
    by_birth = both(code, age=0, age_days=3, birth_weight=grams)
    assert by_birth.adrg not in (
        "PS1",
        "PS2",
        "PS3",
        "PS4",
        "PS5",
    )  # birth weight stands in for nothing


def test_trauma_of_two_sites_is_multiple(both: Both, own: Own) -> None:
    """MDCZ: ZYZD in DI_Z0i and QTZD in another DI_Z0j; ZZ1: 1; ZB1: ZYSS in OP_ZB1."""
    head, head2, chest = own("DI_Z01"), own("DI_Z01", 1), own("DI_Z02")
    assert both(head, chest).group == both(chest, head).group
    assert both(head, chest).adrg == "ZZ1"
    assert both(head, chest, px=[own("OP_ZB1")]).adrg == "ZB1"
    assert both(head, chest, px=[own("OP_ALL")]).status == "ambiguous"
    assert both(head, head2).mdc != "MDCZ"
    assert both(own("DI_G00"), head, chest).mdc != "MDCZ"


def test_fl2_wants_its_second_list_first(both: Both, own: Own) -> None:
    """FL2: ZYSS in OP2_FL2 and {ZYSS, QTSS} in OP1_FL2."""
    dx, one, two = own("DI_F00"), own("OP1_FL2"), own("OP2_FL2")
    assert both(dx, px=[two, one]).group == "FL29"
    assert both(dx, px=[one, two]).group != "FL29"
    assert both(dx, px=[two]).group != "FL29"


def test_ic2_counts_distinct_codes(both: Both, own: Own) -> None:
    """IC2: length(OP_IC2 ∩ {ZYSS, QTSS})>=2 and ZYSS in OP_IC2."""
    dx, a, b = own("DI_I00"), own("OP_IC2", 0), own("OP_IC2", 1)
    assert both(dx, px=[a, b]).group == "IC29"
    assert both(dx, px=[a]).group != "IC29"
    assert both(dx, px=[a, a]).group != "IC29"  # the same code twice is one code
    assert both(dx, px=[own("OP_ALL"), a, b]).group != "IC29"  # neither is the principal one


def test_ob11_by_diagnosis_or_by_mcc(both: Both, own: Own) -> None:
    """OB1: ZYSS in OP1_OB1 and {ZYSS, QTSS} in OP2_OB1; OB11: ZYZD in DI_OBD or QTZD in MCC."""
    px = [own("OP1_OB1"), own("OP2_OB1")]
    plain, severe = own("DI_O00"), own("DI_OBD")
    assert both(severe, px=px, sex=2).group == "OB11"
    assert both(plain, "M0", px=px, sex=2).group == "OB11"
    assert both(plain, px=px, sex=2).group == "OB15"
    assert both(plain, "C0", px=px, sex=2).group == "OB15"
    assert both(plain, severe, px=px, sex=2).group == "OB15"  # as principal, not as another


def test_rn1_in_its_four_ways(both: Both, own: Own) -> None:
    """RN1: two treatments or a treatment and the other's diagnosis, always with DI3_RN1 among the others."""
    d1, d2, d3 = own("DI1_RN1"), own("DI2_RN1"), own("DI3_RN1")
    p1, p2 = own("OP1_RN1"), own("OP2_RN1")
    for diagnoses, px in (
        ([d1, d3], [p1, p2]),
        ([d2, d3], [p2, p1]),
        ([d2, d1, d3], [p2]),
        ([d1, d2, d3], [p1]),
    ):
        assert both(*diagnoses, px=px).group == "RN19"
        assert both(*[d for d in diagnoses if d != d3], px=px).group != "RN19"
    assert both(d1, d3, px=[p1]).group != "RN19"
    assert (
        both(d1, d3, px=[p2, p1]).group != "RN19"
    )  # the first treatment belongs to the first diagnosis


def test_ja1_and_ja2(both: Both, own: Own) -> None:
    """JA1: ZYZD in DI_JA1 with pairs and triples of OP1 … OP5; JA2: OP1_JA2, or OP2_JA2 with OP3_JA2."""
    dx = own("DI_JA1")
    one, two, three, four, five = (own(f"OP{k}_JA1") for k in range(1, 6))
    for px in ([one, two], [two, one], [one, three, four], [three, one, four], [five, four]):
        assert both(dx, px=px).group == "JA19", px
    for px in ([one], [one, three], [three, four, two], [four, five], [five]):
        assert both(dx, px=px).group != "JA19", px
    dx = own("DI_JA2")
    assert both(dx, px=[own("OP1_JA2")]).group == "JA29"
    assert both(dx, px=[own("OP2_JA2"), own("OP3_JA2")]).group == "JA29"
    assert both(dx, px=[own("OP2_JA2")]).group != "JA29"
    assert both(dx, px=[own("OP3_JA2"), own("OP2_JA2")]).group != "JA29"


def test_what_remains_of_an_mdc_keeps_its_codes_and_is_ungrouped(both: Both, own: Own) -> None:
    """O00 (the letter O, two zeros) remains of MDCO, E00 of MDCE; EQY: ZYSS in OP_ALL comes before."""
    rest = both(own("DI_O00"), sex=2)
    assert (rest.status, rest.reason, rest.adrg, rest.group) == (
        "ungrouped",
        "remainder",
        "O00",
        "O000",
    )
    rest = both(own("DI_E00"))
    assert (rest.status, rest.group) == ("ungrouped", "E000")
    odd = both(own("DI_E00"), px=[own("OP_ALL")])
    assert (odd.status, odd.adrg, odd.group) == ("ambiguous", "EQY", "EQY")


def test_ot1_and_oz1_are_reached_though_o00_has_the_lower_sort(both: Both, own: Own) -> None:
    """排序 says O00 18, OT1 19, OZ1 20; rows are tried in the order of the sheet."""
    assert both(own("DI_OT1"), sex=2).adrg == "OT1"
    assert both(own("DI_OZ1"), sex=2).adrg == "OZ1"


def test_transplants_come_before_every_mdc(both: Both, own: Own) -> None:
    """MDCA has no rule: its ADRGs are tried directly; AA1: ZYSS in OP_AA1."""
    facts: dict[str, Any] = {"age": 0, "age_days": 3}
    assert both(own("DI_G00"), px=[own("OP_AA1")], **facts).group == "AA19"
    assert both(own("DI_G00"), px=[own("OP_AA1")]).mdc == "MDCA"
    assert both(own("DI_G00"), px=[own("OP_ALL"), own("OP_AA1")]).mdc == "MDCG"
