"""Changes of a case, near misses, what-if: what is told is what grouping the changed case gives."""

from __future__ import annotations

import json
from datetime import date
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from oracle.draw import draw_cases
from tiny import case, tiny_scheme

from grouper import (
    CaseSchemaError,
    DrgScheme,
    PolicyError,
    explain,
    group,
    load_drg,
    load_policy,
    standard,
    what_if,
)
from grouper._changes import apply_changes
from grouper._explain_text import WORDS

pytestmark = pytest.mark.promise("What-if tells what grouping the changed case gives")

CASE: dict[str, Any] = {
    "case_id": "1",
    "sex": 1,
    "age": 66,
    "los": 7,
    "diagnoses": ["I21.001", "I50.900x002", "E11.900"],
    "procedures": ["36.0700x004", "88.5500"],
    "hospital_level": "三级",
    "settlement_date": date(2023, 5, 1),
}


@cache
def scheme() -> DrgScheme:
    return load_drg("chs-drg-1.1")


# ----------------------------------------------------------------------------------------- changes


@pytest.mark.parametrize(
    ("change", "column", "after"),
    [
        ("procedures+=39.5000", "procedures", ["36.0700x004", "88.5500", "39.5000"]),
        ("procedures-=36.0700x004", "procedures", ["88.5500"]),
        ("diagnoses+=I10.x00", "diagnoses", ["I21.001", "I50.900x002", "E11.900", "I10.x00"]),
        ("diagnoses-=E11.900", "diagnoses", ["I21.001", "I50.900x002"]),
        ("principal=E11.900", "diagnoses", ["E11.900", "I21.001", "I50.900x002"]),
        (" principal = K22.301 ", "diagnoses", ["K22.301", "I21.001", "I50.900x002", "E11.900"]),
        ("main_procedure=88.5500", "procedures", ["88.5500", "36.0700x004"]),
        ("age=71", "age", 71),
        ("sex=2", "sex", 2),
        ("los=", "los", None),
        ("total_cost=12345.67", "total_cost_fen", 1_234_567),
        ("total_cost_fen=5", "total_cost_fen", 5),
        ("discharge_date=2026-01-02", "discharge_date", date(2026, 1, 2)),
        ("department=ICU", "department", "ICU"),
    ],
)
def test_a_change_does_what_it_says(change: str, column: str, after: Any) -> None:
    before = json.dumps(CASE, default=str)
    changed = apply_changes(CASE, [change])
    assert changed[column] == after
    assert {k: v for k, v in changed.items() if k != column} == {
        k: v for k, v in CASE.items() if k != column
    }
    assert json.dumps(CASE, default=str) == before


def test_every_change_that_is_none_is_named_at_once() -> None:
    wrong = ["nonsense", "procedures=1", "procedures-=99.9999", "age+=1", "colour=red", "age=x"]
    wrong += ["total_cost=1.234", "discharge_date=soon", "case_id=2", "principal="]
    with pytest.raises(CaseSchemaError) as e:
        apply_changes(CASE, [*wrong, "age=5"])
    assert len(e.value.faults) == len(wrong) + 1
    for text, fault in zip(wrong, e.value.faults, strict=False):
        assert repr(text) in fault
    assert "procedures+=CODE" in e.value.faults[-1]


# -------------------------------------------------------------------------------------- near misses


def test_the_changes_of_a_near_miss_lead_where_it_says() -> None:
    """Held against the kernel: the case with the changes lands in the group that is named."""
    reached = others = 0
    cases = draw_cases(scheme(), 21, 60)
    changed, wanted = [], []
    for c in cases:
        trace = explain(c, scheme())
        for near in trace.near_misses:
            assert near.missing
            if near.changes and near.lands:
                changed.append(apply_changes(c, near.changes))
                wanted.append(near.lands)
                reached += near.is_reached
                others += not near.is_reached
    table = [{**c, "case_id": str(k)} for k, c in enumerate(changed)]
    found = group(table, scheme()).to_arrow()["group"].to_pylist()
    assert found == wanted
    assert reached > 200
    assert others > 5


def test_what_a_near_miss_lacks_is_lacking() -> None:
    trace = explain(CASE, scheme())
    assert len(trace.near_misses) == 12
    texts = {
        r.code: {c.condition: c.holds for c in r.conditions}
        for m in trace.tried
        for r in m.children
    }
    for near in trace.near_misses:
        for condition in near.missing:
            known = texts.get(near.adrg, {})
            assert known.get(condition, False) is False


def test_fewest_missing_facts_come_first(tmp_path: Path) -> None:
    folder = tiny_scheme(
        tmp_path / "s",
        mdc=[("MDCA", "ZYZD in DX"), ("MDCB", "ZYZD in DY")],
        adrg=[
            ("AA1", "ZYSS in PX and NL>=70 and XB=2"),
            ("AB1", "ZYSS in PX"),
            ("AC1", ""),
            ("BA1", "ZYSS in PX"),
        ],
        drg=[("AA19", ""), ("AB11", "QTZD in MCC"), ("AB19", ""), ("AC19", ""), ("BA19", "")],
        sets={"DX": ["d1"], "DY": ["d2"], "PX": ["p1"]},
        cc=[("m1", "MCC", "")],
    )
    trace = explain({**case("d1"), "case_id": "1"}, folder)
    assert trace.group == "AC19"
    assert [(n.group, n.changes, n.lands) for n in trace.near_misses] == [
        ("AB19", ("main_procedure=p1",), "AB19"),
        ("AB11", ("main_procedure=p1", "diagnoses+=m1"), "AB11"),
        ("BA19", ("principal=d2", "main_procedure=p1"), "BA19"),
        ("AA19", ("main_procedure=p1", "age=70", "sex=2"), "AA19"),
    ]


def test_a_group_behind_one_that_wins_says_so(tmp_path: Path) -> None:
    folder = tiny_scheme(
        tmp_path / "s",
        mdc=[("MDCA", "ZYZD in DX")],
        adrg=[("AA1", "ZYSS in PX"), ("AB1", "ZYSS in PY"), ("AC1", "")],
        drg=[("AA19", ""), ("AB19", ""), ("AC19", "")],
        sets={"DX": ["d1"], "PX": ["p1", "p2"], "PY": ["p1"]},
        cc=[("m1", "MCC", "")],
    )
    trace = explain({**case("d1"), "case_id": "1"}, folder)
    near = {n.group: n for n in trace.near_misses}
    assert (near["AB19"].lands, near["AB19"].is_reached) == ("AA19", False)
    assert "AA19 still wins" in trace.to_text("en")


def test_a_case_that_cannot_be_grouped_has_no_near_miss() -> None:
    assert explain({**CASE, "age": None}, scheme()).near_misses == ()
    assert explain(CASE, scheme(), near=0).near_misses == ()
    assert len(explain(CASE, scheme(), near=3).near_misses) == 3


def test_near_misses_of_a_catalogue_lack_what_they_say() -> None:
    from grouper import load_catalogue

    catalogue = load_catalogue("dip-demo")
    g = next(g for g in catalogue.groups if g.main)
    key = min(g.principal)
    one = {**CASE, "diagnoses": [key if "." in key else f"{key}.000"], "procedures": []}
    trace = explain(one, catalogue)
    assert all(n.missing for n in trace.near_misses)
    counts = [len(n.missing) for n in trace.near_misses]
    assert counts == sorted(counts)


# ------------------------------------------------------------------------------------------ what if


def test_before_and_after_are_the_groups_of_both_cases() -> None:
    change = ["procedures-=36.0700x004", "diagnoses+=J96.000"]
    found = what_if(CASE, scheme(), change)
    pair = [{**CASE, "case_id": "a"}, {**apply_changes(CASE, change), "case_id": "b"}]
    groups = group(pair, scheme()).to_arrow()["group"].to_pylist()
    assert [found.before.group, found.after.group] == groups
    assert found.changed["group"] == tuple(groups)
    assert found.before_price is None


def test_weight_and_standard_of_both_are_those_of_the_policy() -> None:
    found = what_if(CASE, scheme(), ["procedures-=36.0700x004"], policy="qingdao-2023")
    policy = load_policy("qingdao-2023")
    for trace, price in ((found.before, found.before_price), (found.after, found.after_price)):
        listed = standard(policy, trace.group, level="三级", on=date(2023, 5, 1))
        assert price is not None
        assert listed is not None
        assert price.standard == listed.rounded(2)
        assert float(price.weight) == pytest.approx(float(listed.weight), abs=1e-6)
    # FM19 in tests/golden/standards/qingdao-2023.csv
    assert found.before_price is not None
    assert found.before_price.standard == "44277.12"


def test_a_point_method_needs_a_point_value_for_money() -> None:
    when = {**CASE, "settlement_date": date(2025, 3, 1), "discharge_date": date(2025, 3, 1)}
    one = what_if(when, scheme(), ["age=67"], policy="example-point")
    assert one.before_price is not None
    assert (one.before_price.standard, one.before_price.note) == ("", "no point value")
    two = what_if(when, scheme(), ["age=67"], policy="example-point", point_value="100")
    assert two.before_price is not None
    assert float(two.before_price.standard) == pytest.approx(
        float(one.before_price.score) * 100, abs=0.01
    )


def test_a_day_is_needed_and_may_be_given() -> None:
    bare = {k: v for k, v in CASE.items() if k != "settlement_date"}
    with pytest.raises(PolicyError, match="name a day"):
        what_if(bare, scheme(), ["age=67"], policy="qingdao-2023")
    found = what_if(bare, scheme(), ["age=67"], policy="qingdao-2023", on=date(2023, 5, 1))
    assert found.before_price is not None
    assert found.before_price.standard == "44277.12"


def test_clarifying_tells_nothing_about_money() -> None:
    change = ["procedures-=36.0700x004"]
    open_ = what_if(CASE, scheme(), change, policy="qingdao-2023")
    shut = what_if(CASE, scheme(), change, policy="qingdao-2023", clarify_only=True)
    assert shut.changed == open_.changed
    for price in (open_.before_price, open_.after_price):
        assert price is not None
        for secret in (price.weight, price.standard):
            assert secret in open_.to_text("zh")
            told = [json.dumps(shut.to_dict(), ensure_ascii=False, default=str)]
            told += [shut.to_text(lang) for lang in WORDS] + [shut.to_html(lang) for lang in WORDS]
            assert not any(secret in text for text in told)
    words = [
        WORDS[lang][k]
        for lang in WORDS
        for k in ("weight", "score", "standard", "low_edge", "paid_as")
    ]
    assert not any(word in shut.to_text(lang) for lang in ("zh",) for word in words)


# ----------------------------------------------------------------------------------------- renders


def test_both_languages_have_the_same_words() -> None:
    assert WORDS["zh"].keys() == WORDS["en"].keys()
    assert all(text for lang in WORDS.values() for text in lang.values())


class Page(HTMLParser):
    """Collects the tags, and refuses what comes from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        assert not {"src", "href", "onclick", "onload"} & {k for k, _ in attrs}
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_a_page_is_whole_and_holds_no_script(lang: str) -> None:
    evil = '<script>alert(1)</script>"&'
    one = {**CASE, "case_id": evil, "diagnoses": ["I21.001", evil, "J96.000"]}
    for html in (
        explain(one, scheme()).to_html(lang),
        what_if(one, scheme(), [f"diagnoses+={evil}"], policy="qingdao-2023").to_html(lang),
    ):
        page = Page()
        page.feed(html)
        assert page.open == []
        assert {"details", "summary", "table", "style"} <= page.seen
        assert "script" not in page.seen
        assert "&lt;script&gt;" in html


def test_a_remainder_and_an_ambiguous_case_say_what_that_means() -> None:
    from grouper import load_drg as load

    qy = load("chs-drg-1.1-qy")
    rest = next(c for c in draw_cases(qy, 1, 3000) if explain(c, qy, near=0).status == "ambiguous")
    assert WORDS["en"]["means_ambiguous"] in explain(rest, qy, near=0).to_text("en")
