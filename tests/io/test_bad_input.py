"""Bad input: a status or an error each, no crash, nothing lost, counts that reconcile."""

from __future__ import annotations

from functools import cache
from typing import Any

import pyarrow as pa
import pytest

import grouper

pytestmark = pytest.mark.promise(
    "Every row ends in one status; bad input crashes nothing and loses nothing"
)

GOOD: dict[str, Any] = {
    "case_id": "1",
    "sex": 1,
    "age": 50,
    "age_days": None,
    "birth_weight": None,
    "diagnoses": ["K22.301"],
    "procedures": [],
}


@cache
def scheme() -> grouper.DrgScheme:
    return grouper.load_drg("chs-drg-1.1")


def status_of(**change: Any) -> tuple[str, str | None, list[str]]:
    found = grouper.group({**GOOD, **change}, scheme())
    assert sum(found.counts().values()) == 1
    (row,) = found.to_arrow().to_pylist()
    return row["status"], row["reason"], row["warnings"]


@pytest.mark.parametrize(
    ("change", "status", "reason"),
    [
        ({}, "grouped", None),
        ({"diagnoses": []}, "rejected", "no_principal_diagnosis"),
        ({"diagnoses": None}, "rejected", "no_principal_diagnosis"),
        ({"diagnoses": ["", "K22.301"]}, "rejected", "no_principal_diagnosis"),
        ({"diagnoses": ["  "]}, "rejected", "no_principal_diagnosis"),
        ({"diagnoses": ["NOT.A.CODE"]}, "rejected", "unknown_principal"),
        ({"diagnoses": ["\x00"]}, "rejected", "unknown_principal"),
        ({"diagnoses": ["K22.301\x00"]}, "rejected", "unknown_principal"),
        ({"diagnoses": ["K" * 300]}, "rejected", "unknown_principal"),
        ({"diagnoses": ["😀"]}, "rejected", "unknown_principal"),
        ({"sex": None}, "rejected", "sex_unreadable"),
        ({"sex": 3}, "rejected", "sex_unreadable"),
        ({"age": None}, "rejected", "age_unreadable"),
        ({"age": -1}, "rejected", "age_unreadable"),
        ({"age": 151}, "rejected", "age_unreadable"),
        ({"age": 10**15}, "rejected", "age_unreadable"),
        ({"age": 0}, "rejected", "age_days_missing"),
        ({"age": 0, "age_days": -1}, "rejected", "age_days_missing"),
        ({"age": 0, "age_days": 0}, "grouped", None),
        ({"case_id": ""}, "rejected", "input_unreadable"),
        ({"case_id": None}, "rejected", "input_unreadable"),
        ({"input_fault": "total_cost: 'x' is no amount"}, "rejected", "input_unreadable"),
    ],
)
def test_each_bad_row_has_its_status(
    change: dict[str, Any], status: str, reason: str | None
) -> None:
    assert status_of(**change)[:2] == (status, reason)


@pytest.mark.parametrize(
    ("change", "warning"),
    [
        ({"sex": 9}, "sex_missing"),
        ({"sex": 0}, "sex_missing"),
        ({"diagnoses": ["K22.301", "NOT.A.CODE"]}, "unknown_secondary"),
        ({"procedures": ["NOT.A.CODE"]}, "unknown_procedure"),
        ({"diagnoses": ["K22.301", "K22.301"]}, "principal_as_secondary"),
        ({"diagnoses": ["K22.301", "E11.900", "E11.900"]}, "duplicate_secondary"),
        ({"age": 0, "age_days": 3, "birth_weight": 90}, "newborn_weight"),
    ],
)
def test_each_oddity_is_a_warning_and_the_row_is_kept(change: dict[str, Any], warning: str) -> None:
    status, _, warnings = status_of(**change)
    assert status in ("grouped", "ungrouped")
    assert warning in warnings


def test_two_hundred_diagnoses_are_grouped() -> None:
    codes = sorted(scheme().mcc)[:199]
    status, _, warnings = status_of(diagnoses=["K22.301", *codes])
    assert (status, warnings) == (
        "grouped",
        ["grey_secondary"] if "grey_secondary" in warnings else [],
    )
    assert status_of(diagnoses=["K22.301", *codes, *codes])[2][-1:] == ["duplicate_secondary"]


def test_every_row_of_a_repeated_id_is_rejected_whatever_the_order() -> None:
    rows = [
        {**GOOD, "case_id": i} for i in ("a", "b", "a", "c", "b", "a", "long" * 20, "long" * 20)
    ]
    for cases in (rows, rows[::-1]):
        found = grouper.group(cases, scheme())
        assert found.counts() == {"grouped": 1, "ambiguous": 0, "ungrouped": 0, "rejected": 7}
        assert found.reasons() == {"duplicate_case_id": 7}


def test_all_faults_of_the_schema_are_named_at_once() -> None:
    table = pa.table({"case_id": ["1"], "age": ["fifty"], "diagnoses": ["K22.301"], "los": [True]})
    with pytest.raises(grouper.CaseSchemaError) as e:
        grouper.group(table, scheme())
    text = str(e.value)
    assert text.startswith("[E300]")
    for part in (
        "'sex' is missing",
        "'procedures' is missing",
        "'age' is string",
        "'diagnoses' is string",
    ):
        assert part in text
    assert "'los' is bool" in text


def test_no_rows_are_no_trouble() -> None:
    table = pa.Table.from_pylist([GOOD]).slice(0, 0)
    found = grouper.group(table, scheme())
    assert len(found) == 0
    assert found.to_arrow().num_rows == 0
    assert sum(found.counts().values()) == 0


def test_a_dict_without_codes_names_what_it_lacks() -> None:
    with pytest.raises(grouper.CaseSchemaError, match="'diagnoses' is missing"):
        grouper.group({"case_id": "1", "sex": 1, "age": 3}, scheme())


def test_something_that_is_no_table_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="int"):
        grouper.group(3, scheme())


def test_numbers_as_pandas_floats_are_read_and_fractions_are_not() -> None:
    table = pa.table(
        {
            "case_id": ["1", "2", "3"],
            "sex": [1.0, 2.0, 1.0],
            "age": [50.0, float("nan"), 3.5],
            "diagnoses": [["K22.301"]] * 3,
            "procedures": pa.array([[], [], []], pa.list_(pa.string())),
        }
    )
    assert grouper.group(table, scheme()).reasons() == {"age_unreadable": 2}


def test_discharge_before_admission_is_rejected() -> None:
    day = pa.array([20000, 20000, None], pa.date32())
    table = pa.table(
        {
            "case_id": ["1", "2", "3"],
            "sex": [1, 1, 1],
            "age": [50, 50, 50],
            "diagnoses": [["K22.301"]] * 3,
            "procedures": pa.array([[], [], []], pa.list_(pa.string())),
            "admission_date": day,
            "discharge_date": pa.array([19999, 20000, 19999], pa.date32()),
        }
    )
    assert grouper.group(table, scheme()).reasons() == {"discharge_before_admission": 1}


@pytest.mark.parametrize("kind", [pa.int8(), pa.uint8(), pa.int64(), pa.uint64(), pa.float32()])
def test_numbers_of_any_width_are_read(kind: pa.DataType) -> None:
    huge = {pa.uint64(): 2**63, pa.int64(): -(2**63), pa.float32(): float("inf")}.get(kind, 120)
    table = pa.table(
        {
            "case_id": ["1", "2", "3"],
            "sex": [1, 1, 1],
            "age": pa.array([50, None, huge], kind),
            "diagnoses": [["K22.301"]] * 3,
            "procedures": pa.array([[], [], []], pa.list_(pa.string())),
        }
    )
    lost = 1 if huge == 120 else 2
    assert grouper.group(table, scheme()).reasons() == {"age_unreadable": lost}


def test_one_text_is_no_list_of_codes() -> None:
    with pytest.raises(grouper.CaseSchemaError, match="diagnoses"):
        grouper.group({**GOOD, "diagnoses": "K22.301"}, scheme())
    with pytest.raises(grouper.CaseSchemaError, match="'age'"):
        grouper.group({**GOOD, "age": "fifty"}, scheme())
    with pytest.raises(grouper.CaseSchemaError, match="'sex' is missing"):
        grouper.group({}, scheme())
    with pytest.raises(grouper.CaseSchemaError, match="clinical"):
        grouper.group(GOOD, scheme(), codes="x")
