"""Hostile Arrow: whatever shape the same values have the answer is the same; what points out is refused."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from oracle.draw import draw_cases

import grouper
from grouper import content_hash, group
from grouper._arrow import is_sound
from grouper.errors import CaseSchemaError

SCHEME = grouper.load_drg("chs-drg-1.1")
CASES = draw_cases(SCHEME, 5, 400)
LISTS = pa.list_(pa.string())


def plain(cases: list[dict[str, Any]]) -> pa.Table:
    names = [n for n in cases[0] if n not in ("diagnoses", "procedures")]
    columns = {n: pa.array([c[n] for c in cases]) for n in names}
    columns |= {n: pa.array([c[n] for c in cases], LISTS) for n in ("diagnoses", "procedures")}
    return pa.table(columns)


TABLE = plain(CASES)
WANTED = content_hash(group(TABLE, SCHEME).to_arrow())


def reshaped(how: str, column: Any) -> Any:
    """Hold the same lists otherwise."""
    lists = column.combine_chunks()
    flat = lists.flatten()
    rng = random.Random(how)
    if how == "sliced":
        whole = pa.concat_arrays(
            [pa.array([["garbage"], None], LISTS), lists, pa.array([["x"]], LISTS)]
        )
        return pa.chunked_array([whole.slice(2, len(lists))])
    if how == "chunks":
        cuts = [0, *sorted(rng.choices(range(len(lists)), k=30)), len(lists)]
        return pa.chunked_array([lists.slice(a, b - a) for a, b in pairwise(cuts)], LISTS)
    if how == "large":
        return pa.chunked_array([lists.cast(pa.large_list(pa.large_string()))])
    if how == "garbage under nulls":
        mask = np.array([k % 7 == 0 for k in range(len(lists))])
        offsets, at = [0], 0
        values: list[str | None] = []
        for k, codes in enumerate(lists.to_pylist()):
            given = ["garbage"] if mask[k] else codes
            values += given
            at += len(given)
            offsets.append(at)
        held = pa.ListArray.from_arrays(
            pa.array(offsets, pa.int32()), pa.array(values), mask=pa.array(mask)
        )
        return pa.chunked_array([held])
    width = {"int8": pa.int8(), "int16": pa.int16(), "int64": pa.int64(), "uint16": pa.uint16()}[
        how
    ]
    distinct = ["unused", *flat.unique().to_pylist(), None, "unused"]
    if how == "int8":
        distinct = distinct[:100]
    where = {text: k for k, text in enumerate(distinct) if text is not None}
    index = pa.array([where.get(x, len(distinct) - 1) for x in flat.to_pylist()], width)
    return index, pa.array(distinct), lists.offsets


@pytest.mark.promise("However Arrow holds the values the answer is the same")
@pytest.mark.parametrize("how", ["sliced", "chunks", "large"])
def test_the_same_values_otherwise(how: str) -> None:
    table = TABLE
    for name in ("diagnoses", "procedures"):
        at = table.column_names.index(name)
        table = table.set_column(at, name, reshaped(how, table[name]))
    assert content_hash(group(table, SCHEME).to_arrow()) == WANTED
    assert content_hash(group(table, SCHEME, threads=3).to_arrow()) == WANTED


@pytest.mark.promise("However Arrow holds the values the answer is the same")
@pytest.mark.parametrize("how", ["int16", "int64", "uint16"])
def test_dictionaries_with_unused_doubled_and_null_words(how: str) -> None:
    table = TABLE
    for name in ("diagnoses", "procedures"):
        index, words, offsets = reshaped(how, table[name])
        held = pa.ListArray.from_arrays(offsets, pa.DictionaryArray.from_arrays(index, words))
        table = table.set_column(table.column_names.index(name), name, held)
    assert content_hash(group(table, SCHEME).to_arrow()) == WANTED


@pytest.mark.promise("However Arrow holds the values the answer is the same")
def test_garbage_under_nulls_is_not_read() -> None:
    table = TABLE
    emptied = [dict(c) for c in CASES]
    for k, c in enumerate(emptied):
        if k % 7 == 0:
            c["diagnoses"], c["procedures"] = [], []
    for name in ("diagnoses", "procedures"):
        held = reshaped("garbage under nulls", table[name])
        table = table.set_column(table.column_names.index(name), name, held)
    assert content_hash(group(table, SCHEME).to_arrow()) == content_hash(
        group(plain(emptied), SCHEME).to_arrow()
    )


@pytest.mark.promise("However Arrow holds the values the answer is the same")
def test_extremes() -> None:
    edge = [-(2**31), -1, 0, 150, 151, 2**31 - 1]
    cases = [
        {**CASES[0], "case_id": f"e{k}", "age": a, "age_days": a, "los": a}
        for k, a in enumerate(edge)
    ]
    cases.append({**CASES[0], "case_id": "long", "diagnoses": ["I10.x00"] * 10_000})
    cases.append({**CASES[0], "case_id": "wide", "diagnoses": [f"Z{k}" for k in range(10_000)]})
    cases.append({**CASES[0], "case_id": "x" * 100_000})
    grouped = group(plain(cases), SCHEME)
    assert sum(grouped.counts().values()) == len(cases) == len(grouped.to_arrow())
    none = group(TABLE.slice(0, 0), SCHEME)
    assert (len(none), sum(none.counts().values())) == (0, 0)


OUT = 1 << 28
CODES = pa.array(["I10.x00", "E11.900"])


@pytest.mark.promise("Offsets and indices that lead out of their data are refused")
@pytest.mark.parametrize(
    ("of_lists", "of_texts"),
    [
        ([0, OUT, OUT], [0, 7, 14]),
        ([0, 2, 1], [0, 7, 14]),
        ([-5, 1, 2], [0, 7, 14]),
        ([0, 1, 2], [0, 7, OUT]),
        ([0, 1, 2], [0, 12, 7]),
        ([0, 1, 2], [-9, 7, 14]),
    ],
    ids=["list out", "list back", "list below", "text out", "text back", "text below"],
)
def test_what_leads_out_is_refused(of_lists: list[int], of_texts: list[int]) -> None:
    """Arrow looks at offsets when an array is made: they are bent after that."""
    good = pa.array([["I10.x00"], []], LISTS)
    for name, other in (("diagnoses", "procedures"), ("procedures", "diagnoses")):
        lists, texts = np.array([0, 1, 2], np.int32), np.array([0, 7, 14], np.int32)
        data = pa.py_buffer(b"I10.x00E11.900")
        codes = pa.Array.from_buffers(pa.string(), 2, [None, pa.py_buffer(texts), data])
        column = pa.Array.from_buffers(LISTS, 2, [None, pa.py_buffer(lists)], children=[codes])
        table = pa.table(
            {"case_id": ["a", "b"], "sex": [1, 2], "age": [40, 40], name: column, other: good}
        )
        assert len(group(table, SCHEME)) == 2
        lists[:], texts[:] = of_lists, of_texts
        with pytest.raises(
            CaseSchemaError, match=f"column '{name}': its offsets or indices lead out"
        ):
            group(table, SCHEME)


@pytest.mark.promise("Offsets and indices that lead out of their data are refused")
def test_indices_and_ids_that_lead_out() -> None:
    for index in ([0, 9], [-1, 0]):
        held = pa.DictionaryArray.from_arrays(pa.array(index, pa.int32()), CODES, safe=False)
        assert not is_sound(held)
        lists = pa.ListArray.from_arrays(pa.array([0, 1, 2], pa.int32()), held)
        table = pa.table(
            {"case_id": ["a", "b"], "sex": [1, 2], "age": [40, 40], "diagnoses": lists}
        )
        table = table.append_column("procedures", pa.array([[], []], LISTS))
        with pytest.raises(CaseSchemaError, match="'diagnoses': its offsets or indices lead out"):
            group(table, SCHEME)
    good = pa.array([["I10.x00"]], LISTS)
    held = np.array([0, 1], np.int32)
    ids = pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(held), pa.py_buffer(b"a")])
    table = pa.table(
        {"case_id": ids, "sex": [1], "age": [40], "diagnoses": good, "procedures": good}
    )
    held[1] = OUT
    with pytest.raises(CaseSchemaError, match="'case_id': its offsets or indices lead out"):
        group(table, SCHEME)
