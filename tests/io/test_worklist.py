"""The worklist: each kind of thing to do, by one case that needs it and one beside it that does not."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import policies
import pyarrow as pa
from tiny import tiny_scheme

import grouper
from grouper._worklist import COLUMNS, NEEDS, Worklist, worklist
from grouper.tables import Policy

POLICY = policies.POLICY
for old, new in (
    ('kind = "point"', 'kind = "rate"\nrate = "fixed"'),
    ('negative = "zero_case"\n', ""),
    ('kind = "mean"', 'kind = "standard"'),
):
    assert POLICY.count(old) == 1
    POLICY = POLICY.replace(old, new)
POLICY += """
[special_cases]
source = "invented"

[calendar]
filing_day = 10
source = "invented"

[param.special_share]
name_zh = "特例"
unit = "ratio"
values = [{ from = 2022-01-01, value = 0.05, source = "invented" }]

[param.base_rate]
name_zh = "费率"
unit = "yuan"
values = [{ from = 2022-01-01, value = 1000, source = "invented" }]

[param.coefficient]
name_zh = "系数"
unit = "ratio"
values = [{ from = 2022-01-01, value = 1, source = "invented" }]
"""


def policy_of(folder: Path, text: str = POLICY) -> Policy:
    folder.mkdir(exist_ok=True)
    (folder / "policy.toml").write_text(text, encoding="utf-8")
    (folder / "weights.csv").write_text("group,weight\nAA19,1\n", encoding="utf-8")
    return grouper.load_policy(folder)


def case(case_id: str, yuan: int | None = 1000, **more: Any) -> dict[str, Any]:
    return {
        "case_id": case_id,
        "sex": 1,
        "age": 50,
        "diagnoses": ["dx"],
        "procedures": [],
        "discharge_date": "2022-12-20",
        "department": "内科",
        "total_cost_fen": None if yuan is None else yuan * 100,
        **more,
    }


def listed(folder: Path, cases: list[dict[str, Any]], text: str = POLICY, **more: Any) -> Worklist:
    scheme = grouper.load_scheme(tiny_scheme(folder / "s"))
    return worklist(as_read(cases), scheme, policy=policy_of(folder / "p", text), **more)


def as_read(cases: list[dict[str, Any]]) -> grouper.CaseTable:
    rows = [{**c, "discharge_date": c["discharge_date"]} for c in cases]
    return grouper.read_cases(pa.Table.from_pylist(rows))


def needs(found: Worklist) -> dict[str, list[str]]:
    return {e.case["case_id"]: [n.kind for n in e.needs] for e in found.entries}


def test_high_low_and_special_at_their_edges(tmp_path: Path) -> None:
    costs = {"a": 2000, "b": 2001, "c": 500, "d": 499, "e": 1000, "f": 1001, "g": None}
    found = listed(tmp_path, [case(k, v) for k, v in costs.items()])
    assert needs(found) == {
        "b": ["high", "special"],
        "d": ["low"],
        "a": ["special"],
        "f": ["special"],
        "c": [],
        "e": [],
        "g": [],
    }
    why = {e.case["case_id"]: [n.why for n in e.needs] for e in found.entries}
    assert why["b"] == ["2001.00 > 2000.00", "+1001.00"]
    assert why["d"] == ["499.00 < 500.00"]
    assert {e.deadline for e in found.entries if e.needs} == {"2023-01-10", ""}
    assert found.counts == {"high": 1, "low": 1, "special": 3}
    assert list(found.counts) == [n for n in NEEDS if n in found.counts]


def test_the_order_is_by_need_then_deadline_then_how_much(tmp_path: Path) -> None:
    cases = [
        case("late", 1001, discharge_date="2022-12-31"),
        case("soon", 1001, discharge_date="2022-11-30"),
        case("high", 2001, discharge_date="2022-12-31"),
        case("nothing"),
    ]
    front = [{**c, "diagnoses": [*c["diagnoses"]]} for c in cases]
    front += [case("b2"), case("b1", diagnoses=["dx", "other"])]
    front[3]["sex"] = 2
    found = listed(
        tmp_path, [*cases, case("b1", 5000), case("b2")], front_page=as_read(front).table
    )
    assert [e.case["case_id"] for e in found.entries] == [
        "b1",  # differs, soon to be filed, and high besides
        "nothing",  # differs alone
        "high",
        "soon",
        "late",
        "b2",
    ]


def test_without_special_cases_or_a_calendar_there_are_none(tmp_path: Path) -> None:
    plain = re.sub(r'\[special_cases\]\nsource = "invented"\n', "", POLICY)
    assert needs(listed(tmp_path, [case("b", 2001)], plain)) == {"b": ["high"]}
    undated = re.sub(r'\[calendar\]\nfiling_day = 10\nsource = "invented"\n', "", POLICY)
    (entry,) = listed(tmp_path, [case("b", 2001)], undated).entries
    assert [n.kind for n in entry.needs] == ["high", "special"]
    assert entry.deadline == ""


def test_returned_and_ungrouped_come_first_and_cost_nothing(tmp_path: Path) -> None:
    cases = [
        case("1"),
        case("2", diagnoses=[]),
        case("3", diagnoses=["other"], code_edition=None),
        case("4", sex=7),
    ]
    found = listed(tmp_path, cases)
    kinds = needs(found)
    assert kinds["1"] == []
    assert set(kinds["2"]) == set(kinds["4"]) == {"returned"}
    assert list(kinds)[-1] == "1"
    rejected = {e.case["case_id"]: e.needs[0].why for e in found.entries if e.needs}
    assert rejected["2"] == "no_principal_diagnosis"
    assert rejected["4"] == "sex_unreadable"
    assert found.notes == {"no weight": sum(r.price.note == "no weight" for r in found.entries)}


def test_front_pages_are_compared_fact_by_fact(tmp_path: Path) -> None:
    lists = [case("same"), case("sex"), case("codes"), case("alone")]
    front = [
        case("same", yuan=7),
        case("sex", sex=2),
        case("codes", procedures=["p1", "p2"]),
        case("unlisted"),
    ]
    found = listed(tmp_path, lists, front_page=as_read(front).table)
    why = {e.case["case_id"]: [(n.kind, n.why) for n in e.needs] for e in found.entries}
    assert why["same"] == []
    assert why["sex"] == [("differs", "sex: 1 / 2")]
    assert why["codes"] == [("differs", "procedures: — / p1 p2")]
    assert why["alone"] == [("differs", "no front page")]
    assert why["unlisted"] == [("no_list", "no settlement list")]
    assert found.counts == {"differs": 3, "no_list": 1}


def test_what_a_policy_cannot_price_is_said_and_counted(tmp_path: Path) -> None:
    cases = [case("1", discharge_date="2021-01-01"), case("2", discharge_date="2021-06-01")]
    found = listed(tmp_path, [*cases, case("3")])
    assert sum(found.notes.values()) == 2
    assert all("2021" in note for note in found.notes)


def test_the_table_says_what_the_entries_say(tmp_path: Path) -> None:
    found = listed(tmp_path, [case("b", 2001), case("a", 1000)])
    table = found.to_arrow()
    assert table.schema == COLUMNS
    first, second = table.to_pylist()
    assert first["needs"] == "high|special"
    assert first["why"] == "2001.00 > 2000.00|+1001.00"
    assert (first["standard"], first["high_edge"], first["total_cost_fen"]) == (
        "1000.00",
        "2000.00",
        200_100,
    )
    assert second["needs"] == ""
    assert second["diagnoses"] == "dx"
