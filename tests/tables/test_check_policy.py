"""Findings about policies that load: a broken fixture for each, and what must not be found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
from policies import POLICY, Swap, budget, changed, param, write

from grouper.tables import Finding, check, load_policy
from grouper.tables._check_policy import check_policy


class Odd(NamedTuple):
    """The code and message, what is changed, and what is appended; `#!` marks the line."""

    code: str
    said: str
    swaps: tuple[Swap, ...]
    more: str


def odd(code: str, said: str, *swaps: Swap, more: str = "") -> Odd:
    return Odd(code, said, swaps, more)


def found(tmp_path: Path, *swaps: Swap, more: str = "", **tables: str) -> list[Finding]:
    return check(write(tmp_path, changed(POLICY, *swaps) + more, **tables))


def test_a_clean_policy_has_no_finding(tmp_path: Path) -> None:
    assert found(tmp_path) == []


# ------------------------------------------------------------------------------------------ L201, L202


def weights(*rows: str) -> str:
    return "\n".join(["group,weight,mean_cost", *rows, ""])


def test_l201_groups_without_a_weight(tmp_path: Path) -> None:
    message = "2 groups without a weight are paid by status_pay.not_covered, as B"
    rows = weights("A,2,1", "B,,1", "C,,1")
    assert found(tmp_path, weights=rows) == [("L201", "weights.csv", message)]


def test_l201_stays_away_from_a_weight_of_nothing(tmp_path: Path) -> None:
    assert found(tmp_path, weights=weights("A,2,1", "B,0,1")) == []


def test_l202_many_weights_of_one(tmp_path: Path) -> None:
    ones = [f"A{k},{one},1" for k, one in enumerate(("1", "1.0", "1.0000", "1", "1", "1"))]
    message = "6 groups have weight 1: placeholders? as A0"
    rows = weights("A,2,1", *ones)
    assert found(tmp_path, weights=rows) == [("L202", "weights.csv", message)]


def test_l202_stays_away_from_a_few(tmp_path: Path) -> None:
    rows = weights(*(f"A{k},1,1" for k in range(5)), "A,1.0001,1")
    assert found(tmp_path, weights=rows) == []


# ---------------------------------------------------------------------------------------- all others


def tier(band: str, *lines: str) -> str:
    head = [f"[[{band}]]", "from = 2022-01-01", 'source = "x"']
    return "\n".join([*head, *lines, ""])


def between(least: object = None, below: object = None) -> tuple[str, ...]:
    ends = (("weight_from", least), ("weight_below", below))
    return tuple(f"{name} = {x}" for name, x in ends if x is not None)


def year(**bands: list[str]) -> str:
    lines = ["[year]", 'source = "x"', 'overspend_from = ["unretained"]']
    for side, rows in bands.items():
        lines += [f"{side} = [", *rows, "]"]
    return "\n".join([*lines, ""])


def band(share: object, least: object = None, below: object = None, mark: str = "") -> str:
    ends = {"ratio_from": least, "ratio_below": below, "share": share}
    inside = ", ".join(f"{k} = {v}" for k, v in ends.items() if v is not None)
    return f'{{ {inside}, source = "x" }}, {mark}'


def family(id: str, when: str, mark: str = "") -> str:
    lines = ["", f"[[family]] {mark}", f'id = "{id}"', f"when = {{ {when} }}", 'pay = "booked"']
    return "\n".join([*lines, 'fund = "outside"', 'source = "x"', ""])


FUND = '{ from = 2022-01-01, to = 2022-12-31, value = 1000, source = "invented" },'
HIGH = '[[high]]\nedge = 2\npay = "excess"\nshare = 0.8\nfrom = 2022-01-01\nsource = "invented"\n'
EXTREME = tier("extreme", 'pay = "base"', "edge = 5")
CMI = '[[coefficient.step]]\nindicator = "cmi"\nstep = 5\neach = 0.01\ncaps = { "三级" = 0.3 }\n'


def steps(*lines: str) -> str:
    return "\n".join(['[coefficient]\nkind = "steps"', 'source = "x"', *lines, CMI])


def clamped(*lines: str) -> str:
    head = ['[coefficient]\nkind = "table"', 'file = "coefficients.csv" #!', 'source = "x"']
    return "\n".join([*head, *lines, ""])


def fund_of(pool: str, mark: str = "") -> str:
    return FUND.replace(" },", f', pool = "{pool}" }}, {mark}')


REST = '[[pool]]\nid = "rest"'
GUESTS = '[[pool]]\nid = "guests"\ninsured_area = ["9"]\nprice_of = "rest"\n\n'
"""A price taker before the pool of the rest."""


ODD = {
    # ------------------------------------------------------------------------------------- L203
    "a gap between two periods": odd(
        "L203",
        "param.fund.values.0: no value from 2023-01-01 to 2023-12-31",
        (FUND, f"{FUND} #!\n{FUND.replace('2022', '2024')}"),
    ),
    "a gap, the later period first": odd(
        "L203",
        "param.fund.values.1: no value from 2023-01-01 to 2023-12-31",
        (FUND, f"{FUND.replace('2022', '2024')}\n{FUND} #!"),
    ),
    "a gap of one level": odd(
        "L203",
        'param.coefficient.values.0: no value from 2023-01-01 to 2023-02-28 for level = "三级"',
        more=param(
            "coefficient",
            "ratio",
            'value = 1, level = "三级", to = 2022-12-31',
            'value = 1, level = "三级", from = 2023-03-01',
            'value = 1, level = "二级"',
        ).replace('to = 2022-12-31, source = "x" },', 'to = 2022-12-31, source = "x" }, #!'),
    ),
    "a gap between weight tables": odd(
        "L203",
        "weights.0: no value from 2023-01-01 to 2023-12-31",
        ("[[weights]]", "[[weights]] #!\nto = 2022-12-31"),
        more='[[weights]]\nfile = "weights.csv"\nfrom = 2024-01-01\nsource = "x"\n',
    ),
    # ------------------------------------------------------------------------------ L204, L205
    "a low edge above the high one": odd(
        "L204",
        "low.0: the low edge 2 is not below the high edge 2",
        ("[[low]]\nedge = 0.5", "[[low]] #!\nedge = 2"),
    ),
    "a high edge above the extreme one": odd(
        "L205",
        "high.0: the high edge 2 is not below the extreme edge 1.9",
        ("[[high]]", "[[high]] #!"),
        more=EXTREME.replace("edge = 5", "edge = 1.9"),
    ),
    # ------------------------------------------------------------------------------ L206, L207
    "two tiers of one weight": odd(
        "L206",
        "extreme.1: two tiers of 2022-01-01 fit alike for some weight 2 to 5",
        more=tier("extreme", 'pay = "base"', "edge = 5", *between(None, 3))
        + tier("extreme", 'pay = "base"', "edge = 6", *between(2, 5)).replace("]]", "]] #!")
        + tier("extreme", 'pay = "base"', "edge = 6", *between(5)),
    ),
    "two tiers, by level and by class": odd(
        "L206",
        "extreme.2: two tiers of 2022-01-01 fit alike for some weight from 0 on",
        more=EXTREME
        + tier("extreme", 'pay = "base"', "edge = 5", 'level = "三级"')
        + tier("extreme", 'pay = "base"', "edge = 6", 'class = "a"').replace("]]", "]] #!"),
    ),
    "a hole between tiers": odd(
        "L207",
        "extreme.0: no tier for weight 1 to 2 on 2022-01-01",
        more=tier("extreme", 'pay = "base"', "edge = 5", *between(None, 1)).replace("]]", "]] #!")
        + tier("extreme", 'pay = "base"', "edge = 6", *between(2)),
    ),
    "a hole in points": odd(
        "L207",
        "extreme.0: no tier for weight from 10 on on 2022-01-01",
        more=tier(
            "extreme", 'pay = "base"', "edge = 5", 'key = "points"', *between(None, 1000)
        ).replace("]]", "]] #!"),
    ),
    "a hole in one level": odd(
        "L207",
        "extreme.0: no tier for weight 0 to 1 in 三级 on 2022-01-01",
        more=tier("extreme", 'pay = "base"', "edge = 5", 'level = "三级"', *between(1)).replace(
            "]]", "]] #!"
        ),
    ),
    # ------------------------------------------------------------------------------ L208, L209
    "surplus bands that overlap": odd(
        "L208",
        "year.surplus.1: overlaps band 0: the first that fits counts",
        more=year(surplus=[band(0, None, 0.9), band(1, 0.8, 1, "#!")]),
    ),
    "surplus bands with a hole": odd(
        "L209",
        "year.surplus: no band for a ratio of 0.8 to 0.9",
        more=year(surplus=[band(0, None, 0.8), band(1, 0.9, 1)]).replace("us = [", "us = [ #!"),
    ),
    "surplus bands that begin late": odd(
        "L209",
        "year.surplus: no band for a ratio of 0 to 0.8",
        more=year(surplus=[band(1, 0.8, 1)]).replace("us = [", "us = [ #!"),
    ),
    "overspend bands with a hole": odd(
        "L209",
        "year.overspend: no band for a ratio of 1.1 to 1.2",
        more=year(overspend=[band(0.7, 1, 1.1), band(0.5, 1.2, 1.3)]).replace(
            "nd = [", "nd = [ #!"
        ),
    ),
    # ------------------------------------------------------------------------------------- L210
    "a coefficient above its clamp": odd(
        "L210",
        "coefficient.file: 1.2 of A, 三级 is not within 0 to 1.15",
        more=clamped("most = 1.15"),
    ),
    "a coefficient below its clamp": odd(
        "L210",
        "coefficient.file: 1.1 of other groups, 三级 is not within 1.15 on",
        more=clamped("least = 1.15"),
    ),
    "a base below its clamp": odd(
        "L210",
        "param.coefficient.values.0: 0.3 is not within 0.4 to 1.5",
        more=steps("least = 0.4", "most = 1.5")
        + param("coefficient", "ratio", "value = 0.3").replace("},", "}, #!"),
    ),
    "a bonus above its clamp": odd(
        "L210",
        "param.coefficient.values.0: 1.1 with bonuses up to 0.3 is not within 0 to 1.3",
        more=steps("most = 1.3")
        + param("coefficient", "ratio", 'value = 1.1, level = "三级"').replace("},", "}, #!"),
    ),
    # ------------------------------------------------------------------------------ L211 to L213
    "money for no pool": odd(
        "L211",
        "param.fund.values.1.pool: no [[pool]] has the id 'county'",
        (FUND, FUND + fund_of("county", "#!")),
    ),
    "money for a price taker": odd(
        "L211",
        "param.fund.values.1.pool: 'guests' takes the price of another; its fund is unread",
        (REST, GUESTS + REST),
        (FUND, FUND + fund_of("guests", "#!")),
    ),
    "a pool without money": odd(
        "L212",
        "pool.1: pool 'rest' has no value of param.fund",
        (FUND, fund_of("staff")),
        (REST, '[[pool]] #!\nid = "rest"'),
    ),
    "a pool without a budget": odd(
        "L212",
        "pool.0: pool 'staff' has no value of param.budget",
        *budget(),
        (FUND, fund_of("rest")),
        ('[[pool]]\nid = "staff"', '[[pool]] #!\nid = "staff"'),
    ),
    "a pool behind one that takes all": odd(
        "L213",
        "pool.2: is never reached: pool 'staff', before it, takes all its cases",
        (
            '[[pool]]\nid = "rest"',
            '[[pool]]\nid = "rest"\nhospital = ["H"]\n\n'
            '[[pool]] #!\nid = "more"\ninsurance = ["310"]\nhospital = ["H"]\n',
        ),
    ),
    # ------------------------------------------------------------------------------ L214 to L217
    "a family behind one that takes all": odd(
        "L214",
        "family.1: is never reached: 'bed', before it, takes all its cases",
        more=family("bed", 'department = ["07", "08"], los_from = 60')
        + family("hospice", 'department = ["07"], los_from = 90', "#!"),
    ),
    "an item that takes nothing": odd(
        "L215",
        "budget.less.0: 'reserve' takes nothing from the budget",
        *budget("[[budget.less]] #!", 'id = "reserve"\nkind = "share"'),
    ),
    "an item whose amount is nothing": odd(
        "L215",
        "budget.less.0: 'reserve' takes nothing from the budget",
        *budget("[[budget.less]] #!", 'id = "reserve"\nkind = "amount"'),
        more=param("less", "yuan", 'value = 0, item = "reserve"'),
    ),
    "a value for no family": odd(
        "L216",
        "param.coefficient.values.0.family: no case meets it: there is no family 'bed'",
        more=param("coefficient", "ratio", 'value = 1, family = "bed"').replace("},", "}, #!"),
    ),
    "a value for no item": odd(
        "L216",
        "param.less.values.1.item: no case meets it: there is no item 'reserv'",
        *budget("[[budget.less]]", 'id = "reserve"\nkind = "amount"'),
        more=param("less", "yuan", "value = 1", 'value = 2, item = "reserv"').replace(
            'reserv", source = "x" },', 'reserv", source = "x" }, #!'
        ),
    ),
    "a value for no group": odd(
        "L216",
        "param.coefficient.values.0.group: no case meets it: there is no group 'Z'",
        more=param("coefficient", "ratio", 'value = 1, group = "Z"').replace("},", "}, #!"),
    ),
    "a parameter that nothing reads": odd(
        "L217",
        "param.per_day: nothing in the policy reads it",
        more=param("per_day", "yuan", "value = 300").replace("]\nname", "] #!\nname"),
    ),
    # ------------------------------------------------------------------------------------- L218
    "a formula that is not linear": odd(
        "L218",
        "high.0.formula: for a claim and benchmark of 1,000 yuan: column 7: not linear in the cost; "
        "one side of * must be without ratio",
        ('pay = "excess"', 'pay = "formula"\nformula = "ratio * ratio" #!'),
    ),
    "a formula that falls": odd(
        "L218",
        "high.0.formula: for a claim and benchmark of 1,000 yuan: the claim falls from a cost of "
        "2000.01 yuan on; it may only rise with the cost",
        ('pay = "excess"', 'pay = "formula"\nformula = "9 * full - full * ratio" #!'),
    ),
}


@pytest.mark.parametrize("name", ODD)
def test_a_finding(tmp_path: Path, name: str) -> None:
    case = ODD[name]
    text = changed(POLICY, *case.swaps) + case.more
    line = next(k for k, x in enumerate(text.split("\n"), 1) if "#!" in x)
    findings = found(tmp_path, *case.swaps, more=case.more)
    assert findings == [(case.code, f"policy.toml:{line}", case.said)]


def test_every_code_has_its_fixture() -> None:
    source = Path(str(check_policy.__code__.co_filename)).read_text("utf-8")
    codes = {f"L2{k:02}" for k in range(100) if f'"L2{k:02}"' in source}
    assert codes == {case.code for case in ODD.values()} | {"L201", "L202"}


MARCH = "value = 2, from = 2022-03-01, to = 2022-03-31"
EVEN: dict[str, Odd] = {
    "years that meet": odd("", "", (FUND, f"{FUND}\n{FUND.replace('2022', '2023')}")),
    "an open value after a year": odd(
        "",
        "",
        more=param(
            "coefficient", "ratio", "value = 1, to = 2022-12-31", "value = 2, from = 2023-01-01"
        ),
    ),
    "a gap that a wider value fills": odd(
        "",
        "",
        more=param(
            "coefficient",
            "ratio",
            "value = 1",
            'value = 2, level = "三级", to = 2022-03-31',
            'value = 2, level = "三级", from = 2023-01-01',
        ),
    ),
    "a value within another": odd(
        "",
        "",
        more=param(
            "coefficient", "ratio", "value = 1", "value = 2, to = 2022-03-31, from = 2022-02-01"
        ),
    ),
    "edges of different levels": odd(
        "",
        "",
        ("edge = 2\npay", 'level = "三级"\nedge = 2\npay'),
        ("edge = 0.5", 'level = "一级"\nedge = 2'),
    ),
    "edges of different years": odd(
        "",
        "",
        ("edge = 0.5", "to = 2022-12-31\nedge = 2"),
        ("share = 0.8\nfrom = 2022", "share = 0.8\nfrom = 2023"),
    ),
    "edges of different weights": odd(
        "",
        "",
        more=EXTREME.replace("edge = 5", "edge = 2\nweight_below = 1")
        + tier("extreme", 'pay = "base"', "edge = 5", *between(1)),
    )._replace(
        swaps=(
            ("share = 0.8", "share = 0.8\nweight_from = 1"),
            ("[[high]]", HIGH.replace("edge = 2", "edge = 1.5\nweight_below = 1") + "\n[[high]]"),
        )
    ),
    "a tier of a level over one of all": odd(
        "", "", more=EXTREME + tier("extreme", 'pay = "base"', "edge = 6", 'level = "三级"')
    ),
    "a later tier over an earlier": odd(
        "", "", more=EXTREME + EXTREME.replace("2022", "2023").replace("edge = 5", "edge = 6")
    ),
    "tiers that meet": odd(
        "",
        "",
        more=tier("extreme", 'pay = "base"', "edge = 5", *between(None, 2))
        + tier("extreme", 'pay = "base"', "edge = 6", *between(2)),
    ),
    "bands that meet": odd(
        "",
        "",
        more=year(
            surplus=[band(0, None, 0.8), band(1, 0.8)],
            overspend=[band(0.7, 1, 1.1), band(0.5, 1.1, 1.2)],
        ),
    ),
    "coefficients within their clamp": odd("", "", more=clamped("least = 1.1", "most = 1.2")),
    "a price taker without money": odd(
        "",
        "",
        (REST, GUESTS + REST),
        (
            FUND,
            fund_of("staff") + fund_of("rest"),
        ),
    ),
    "a narrower family first": odd(
        "",
        "",
        more=family("hospice", 'department = ["07"], los_from = 90')
        + family("bed", 'department = ["07", "08"], los_from = 60')
        + family("tcm", 'fee = "tcm_fen", fee_share_from = 0.6')
        + family("more", 'fee = "tcm_fen", fee_share_from = 0.5'),
    ),
    "a formula that rises": odd(
        "",
        "",
        ('pay = "excess"', 'pay = "formula"\nformula = "full + share * full * (ratio - above)"'),
    ),
}


@pytest.mark.parametrize("name", EVEN)
def test_no_finding(tmp_path: Path, name: str) -> None:
    assert found(tmp_path, *EVEN[name].swaps, more=EVEN[name].more) == []


def test_a_fixed_rate_needs_no_fund(tmp_path: Path) -> None:
    swaps = (('kind = "point"', 'kind = "rate"'), ("[param.fund]", "[param.base_rate]"))
    assert found(tmp_path, *swaps) == []


def test_a_floating_rate_needs_one(tmp_path: Path) -> None:
    swaps = (
        ('kind = "point"', 'kind = "rate"\nrate = "floating"'),
        ("[param.fund]", "[param.base_rate]"),
    )
    assert [f.code for f in found(tmp_path, *swaps)] == ["L212", "L212"]


def test_a_finding_of_what_is_inherited_names_the_parents_file(tmp_path: Path) -> None:
    write(tmp_path / "parent", POLICY.replace("edge = 0.5", "edge = 3"))
    folder = tmp_path / "child"
    folder.mkdir()
    about = "".join(f'{k} = "c"\n' for k in ("id", "title", "source"))
    text = f'{about}standing = "example"\ninherits = "../parent"\n'
    (folder / "policy.toml").write_text(text, "utf-8")
    message = "low.0: the low edge 3 is not below the high edge 2"
    assert check(folder) == [("L204", "parent/policy.toml:31", message)]


def test_a_policy_that_was_changed_in_memory_is_checked_without_lines() -> None:
    good = load_policy("example-point")
    low = good.settings.low[0].model_copy(update={"edge": 4})
    settings = good.settings.model_copy(update={"low": [low]})
    turned = replace(good, settings=settings, places={})
    places = {(f.code, f.place) for f in check_policy(turned)}
    assert ("L204", "low.0") in places
