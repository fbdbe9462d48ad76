"""Laws of grouping: what may not matter does not matter; every way in gives the same answer."""

from __future__ import annotations

import random
from functools import cache
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle.draw import draw_cases

import grouper
from grouper._grouping import as_table

SEEDS = st.integers(0, 10_000)
FEW = settings(max_examples=25, deadline=None)


@cache
def scheme() -> grouper.DrgScheme:
    return grouper.load_drg("chs-drg-1.1-qy")


def answers(cases: Any, **options: Any) -> list[dict[str, Any]]:
    rows = grouper.group(cases, scheme(), **options).to_arrow().to_pylist()
    return [{k: v for k, v in r.items() if k != "warnings"} for r in rows]


@FEW
@given(SEEDS)
def test_order_of_other_codes_is_irrelevant(seed: int) -> None:
    cases = draw_cases(scheme(), seed, 60)
    rng = random.Random(seed)
    shuffled = []
    for c in cases:
        dx, px = c["diagnoses"], [p for p in c["procedures"] if p]
        rest, others = dx[1:], px[1:]
        rng.shuffle(rest)
        rng.shuffle(others)
        shuffled.append({**c, "diagnoses": dx[:1] + rest, "procedures": px[:1] + others})
    assert answers(cases) == answers(shuffled)


@FEW
@given(SEEDS)
def test_repeats_count_once(seed: int) -> None:
    cases = draw_cases(scheme(), seed, 60)
    doubled = [
        {**c, "diagnoses": c["diagnoses"] + c["diagnoses"], "procedures": c["procedures"] * 2}
        for c in cases
    ]
    assert answers(cases) == answers(doubled)


@FEW
@given(SEEDS)
def test_unknown_other_codes_change_nothing(seed: int) -> None:
    cases = draw_cases(scheme(), seed, 60)
    more = [
        {
            **c,
            "diagnoses": [*c["diagnoses"], "XX.unknown"] if c["diagnoses"] else [],
            "procedures": [*c["procedures"], "99.unknown"] if c["procedures"] else [],
        }
        for c in cases
    ]
    assert answers(cases) == answers(more)


@FEW
@given(SEEDS)
def test_more_complications_never_lower_the_severity(seed: int) -> None:
    rank = {None: 0, "none": 1, "cc": 2, "mcc": 3}
    cases = [c for c in draw_cases(scheme(), seed, 60) if c["diagnoses"]]
    worse = [
        {**c, "diagnoses": [*c["diagnoses"], random.Random(seed).choice(sorted(scheme().mcc))]}
        for c in cases
    ]
    for before, after in zip(answers(cases), answers(worse), strict=True):
        if before["severity"] and after["severity"]:
            assert rank[after["severity"]] >= rank[before["severity"]]


@pytest.mark.promise("Batch, single case, threads, chunks, row order: the same bytes")
@FEW
@given(SEEDS, st.integers(1, 7))
def test_every_way_in_gives_the_same_answer(seed: int, pieces: int) -> None:
    cases = draw_cases(scheme(), seed, 40)
    table = as_table(cases)
    cut = [
        table.slice(k * 40 // pieces, (k + 1) * 40 // pieces - k * 40 // pieces)
        for k in range(pieces)
    ]
    expected = answers(table)
    assert answers(pa.concat_tables(cut)) == expected
    assert answers(pa.RecordBatchReader.from_batches(table.schema, table.to_batches(7))) == expected
    assert answers(table.to_pandas()) == expected
    assert [answers(c)[0] for c in cases] == expected
    assert answers(table.slice(13, 20)) == expected[13:33]
    for kind in (
        pa.list_(pa.dictionary(pa.int32(), pa.string())),
        pa.list_(pa.dictionary(pa.int8(), pa.string()))
        if len(cases) < 20
        else pa.list_(pa.large_string()),
        pa.large_list(pa.string()),
        pa.large_list(pa.large_string()),
    ):
        k = table.schema.get_field_index("diagnoses")
        assert answers(table.set_column(k, "diagnoses", table["diagnoses"].cast(kind))) == expected


@pytest.mark.promise("Every normalisation is counted")
@pytest.mark.parametrize(
    ("given_code", "meant"),
    [
        ("K22.301 ", "K22.301"),
        (" K22.301", "K22.301"),
        ("Ｋ２２．３０１", "K22.301"),
        ("k22.301", "K22.301"),
        ("A00.000X001", "A00.000x001"),
        ("A00.000\u200bx001", "A00.000x001"),
        ("K22.301\u3000", "K22.301"),
    ],
)
def test_spellings_of_a_code_are_normalised_and_counted(given_code: str, meant: str) -> None:
    case = {"case_id": "1", "sex": 1, "age": 50, "diagnoses": [meant], "procedures": []}
    odd = {**case, "diagnoses": [given_code]}
    right, found = grouper.group(case, scheme()), grouper.group(odd, scheme())
    assert right.counts()["rejected"] == 0
    assert found.to_arrow().to_pylist() == right.to_arrow().to_pylist()
    assert found.normalised["diagnoses: normalised"] == 1
    assert right.normalised.get("diagnoses: normalised", 0) == 0


@pytest.mark.promise("Every normalisation is counted")
def test_clinical_codes_are_mapped_once_and_counted() -> None:
    codes = scheme().code_list
    assert codes is not None
    chained = {k: v for k, v in codes.diagnosis_map.items() if v in codes.diagnosis_map and v != k}
    assert len(chained) == 76
    also_insurer = [k for k in codes.diagnosis_map if k in codes.diagnoses]
    assert len(also_insurer) == 246
    key, value = next((k, v) for k, v in sorted(chained.items()) if codes.diagnosis_map[v] != v)
    base = {"case_id": "1", "sex": 1, "age": 50, "procedures": []}
    clinical = grouper.group({**base, "diagnoses": [key]}, scheme(), codes="clinical")
    insurer = grouper.group({**base, "diagnoses": [value]}, scheme())
    assert clinical.to_arrow().to_pylist() == insurer.to_arrow().to_pylist()
    assert clinical.normalised["diagnoses: mapped"] == 1
