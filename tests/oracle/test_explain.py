"""explain says what decided: conditions with their codes, excluded complications, the next groups."""

from __future__ import annotations

import json
from typing import Any

import pytest

from grouper import explain, load_drg

pytestmark = pytest.mark.promise("What explain says is what the kernel did")

SCHEME = load_drg("chs-drg-1.1")
BASE: dict[str, Any] = {"case_id": "1", "sex": 1, "age": 60, "procedures": []}


def find_exclusion() -> tuple[str, str, str, str]:
    """Return (principal, excluded secondary, its level, the table) that the tables give."""
    for level, listed in (("MCC", SCHEME.mcc), ("CC", SCHEME.cc)):
        for code, table in sorted(listed.items()):
            for principal in sorted(SCHEME.exclusions.get(table, ())):
                if principal != code and principal in SCHEME.set_codes["DI_F00"]:
                    return principal, code, level, table
    raise AssertionError("the tables exclude nothing")


def test_an_excluded_complication_names_the_table() -> None:
    principal, secondary, level, table = find_exclusion()
    trace = explain({**BASE, "diagnoses": [principal, secondary]}, SCHEME)
    (code,) = [c for c in trace.codes if c.code == secondary]
    assert (code.level, code.excluded_by) == (level, table)
    assert trace.severity == "none"
    assert table in trace.to_text("zh")
    assert table in trace.to_text("en")


def test_every_row_tried_is_there_in_order_and_the_last_one_holds() -> None:
    case = {**BASE, "diagnoses": ["I21.001"], "procedures": ["36.0700x004"]}
    trace = explain(case, SCHEME)
    assert trace.status == "grouped"
    order = [m.code for m in SCHEME.mdcs]
    assert [r.code for r in trace.tried] == order[: len(trace.tried)]
    assert trace.tried[-1].code == trace.mdc
    last = trace.tried[-1].children[-1]
    assert last.code == trace.adrg
    assert last.children[-1].code == trace.group
    for row in trace.tried[:-1]:
        assert row.left_because in ("rule", "no_adrg")
    first_set = next(c for c in trace.tried[0].conditions)
    assert first_set.condition == "ZYSS in OP_ALL"
    assert first_set.seen == ("36.0700x004",)


def test_the_next_groups_lack_what_they_say() -> None:
    trace = explain({**BASE, "diagnoses": ["I21.001"]}, SCHEME)
    assert trace.next_groups
    for following in trace.next_groups:
        rule = next(d for d in SCHEME.drgs if f"drg.csv:{d.line}" == following.rule)
        assert rule.code == following.group
        adrg = SCHEME.adrgs[rule.parent]
        assert following.missing == "" or following.missing in (rule.text, adrg.text)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"diagnoses": []}, "no_principal_diagnosis"),
        ({"diagnoses": ["NOT.A.CODE"]}, "unknown_principal"),
        ({"diagnoses": ["K22.301"], "age": None}, "age_unreadable"),
        ({"diagnoses": ["K22.301"], "sex": "male"}, "sex_unreadable"),
    ],
)
def test_a_bad_case_is_traced_not_raised(change: dict[str, Any], reason: str) -> None:
    trace = explain({**BASE, **change}, SCHEME)
    assert (trace.status, trace.reason) == ("rejected", reason)
    assert reason in trace.to_text("en")


def test_the_trace_is_json() -> None:
    trace = explain({**BASE, "diagnoses": ["K22.301 ", "E11.900"]}, SCHEME)
    data = json.loads(json.dumps(trace.to_dict(), ensure_ascii=False))
    assert data["group"] == trace.group
    assert data["codes"][0]["given"] == "K22.301 "
    assert data["codes"][0]["code"] == "K22.301"
