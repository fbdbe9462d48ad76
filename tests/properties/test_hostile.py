"""Arrow as nobody should lay it out: what is valid is read by its values, what is not is refused.

Run with `scripts/test bounds` every index of the kernels is checked too.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from oracle.draw import draw_cases

import grouper
from grouper import CaseSchemaError, DipScheme, DrgScheme, group, load_catalogue, load_drg

pytestmark = pytest.mark.promise(
    "Arrow that leads out of its memory is refused; other forms give the same answer"
)

TEXTS = pa.list_(pa.string())


@cache
def schemes() -> tuple[DrgScheme, DipScheme]:
    return load_drg("chs-drg-1.1"), load_catalogue("dip-demo")


@cache
def plain() -> pa.Table:
    """Cases in the plainest layout; some lists and some codes are null."""
    cases = draw_cases(schemes()[0], 17, 400)
    rng = random.Random(17)
    for k, one in enumerate(cases):
        one["total_cost_fen"] = rng.choice([None, 0, 950_00, 10**13])
        if k % 31 == 0:
            one["procedures"] = None
        if k % 37 == 0:
            one["diagnoses"] = [*one["diagnoses"], None]
    cases[5]["case_id"] = cases[9]["case_id"]
    cases[7]["case_id"] = None
    return grouper._grouping.as_table(cases)


def rows_of(table: pa.Table, **options: Any) -> list[Any]:
    """Return the whole answer of both engines."""
    return [group(table, s, **options).to_arrow().to_pylist() for s in schemes()]


def with_column(table: pa.Table, name: str, column: Any) -> pa.Table:
    return table.set_column(table.schema.get_field_index(name), name, column)


def of_codes(change: Callable[[Any], Any]) -> pa.Table:
    """Change the layout of both columns of codes."""
    table = plain()
    for name in ("diagnoses", "procedures"):
        table = with_column(table, name, change(table[name].combine_chunks()))
    return table


def as_lists(values: Any, codes: Any, wide: bool = False) -> Any:
    """Lay flat values under the lists of `codes`, nulls kept."""
    lengths = [0 if x is None else len(x) for x in codes.to_pylist()]
    offsets = np.concatenate(([0], np.cumsum(lengths)))
    mask = pa.array([x is None for x in codes.to_pylist()])
    kind = pa.LargeListArray if wide else pa.ListArray
    return kind.from_arrays(
        pa.array(offsets, pa.int64() if wide else pa.int32()), values, mask=mask
    )


def flat(codes: Any) -> list[str | None]:
    return [c for one in codes.to_pylist() for c in one or ()]


def shifted(codes: Any) -> Any:
    """Lists whose offsets begin behind values of others, and end before the last."""
    more = pa.array([["XX"] * 3, *codes.to_pylist(), ["YY"] * 2], codes.type)
    return more.slice(1, len(codes))


def shifted_values(codes: Any) -> Any:
    """Offsets that do not begin at 0, over values that are a slice themselves."""
    values = pa.array(["A", "B", *flat(codes), "C"], pa.string()).slice(1)
    lengths = [0 if x is None else len(x) for x in codes.to_pylist()]
    offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int32) + 1
    valid = np.packbits([x is not None for x in codes.to_pylist()], bitorder="little")
    buffers = [pa.py_buffer(valid.tobytes()), pa.py_buffer(offsets.tobytes())]
    return pa.Array.from_buffers(TEXTS, len(codes), buffers, children=[values])


def garbage(codes: Any) -> Any:
    """Codes under null codes, and lists under null lists."""
    known = schemes()[0].codes
    texts = [known[k % len(known)] if c is None else c for k, c in enumerate(flat(codes))]
    whole = pa.array(texts, pa.string())
    valid = np.packbits([c is not None for c in flat(codes)], bitorder="little")
    values = pa.Array.from_buffers(
        pa.string(), len(whole), [pa.py_buffer(valid.tobytes()), *whole.buffers()[1:]]
    )
    full = as_lists(values, codes)
    offsets = full.offsets.to_numpy().copy()
    held = np.frombuffer(
        np.packbits([x is not None for x in codes.to_pylist()], bitorder="little"), "u1"
    )
    for k, one in enumerate(codes.to_pylist()):  # a null list takes the codes of the next
        if one is None and k + 1 < len(codes):
            offsets[k + 1] = offsets[k]
    buffers = [pa.py_buffer(held.tobytes()), pa.py_buffer(offsets.tobytes())]
    return pa.Array.from_buffers(TEXTS, len(codes), buffers, children=[values])


def stuffed(codes: Any) -> Any:
    """Null lists that have codes of their own underneath."""
    given = codes.to_pylist()
    filled = pa.array([["K22.301", "?"] if x is None else x for x in given], codes.type)
    valid = np.packbits([x is not None for x in given], bitorder="little")
    buffers = [pa.py_buffer(valid.tobytes()), filled.buffers()[1]]
    return pa.Array.from_buffers(TEXTS, len(codes), buffers, children=[filled.values])


def dictionary(index: pa.DataType) -> Callable[[Any], Any]:
    """A dictionary with values that are unused, stand twice, or are null."""

    def change(codes: Any) -> Any:
        texts = [c or None for c in flat(codes)]
        distinct = list(dict.fromkeys(texts))
        if index.bit_width == 8:  # few values: the others of the column are not in it
            pytest.skip("more codes than such indices can tell apart")
        values = ["unused", *distinct, *distinct[:50], None, "K22.301", "unused"]
        place = {c: k + 1 for k, c in enumerate(distinct)}
        again = {c: 1 + len(distinct) + k for k, c in enumerate(distinct[:50])}
        rng = random.Random(3)
        at = [again[c] if c in again and rng.random() < 0.5 else place[c] for c in texts]
        held = pa.DictionaryArray.from_arrays(pa.array(at, index), pa.array(values, pa.string()))
        return as_lists(held, codes)

    return change


LAYOUTS: dict[str, Callable[[Any], Any]] = {
    "a slice": shifted,
    "sliced values": shifted_values,
    "texts under null codes": garbage,
    "lists under null lists": stuffed,
    "large lists": lambda c: as_lists(pa.array(flat(c), pa.string()), c, wide=True),
    "large texts": lambda c: as_lists(pa.array(flat(c), pa.large_string()), c),
    "large both": lambda c: as_lists(pa.array(flat(c), pa.large_string()), c, wide=True),
    **{
        f"dictionary {kind}": dictionary(kind)
        for kind in (pa.int16(), pa.uint16(), pa.int32(), pa.uint32(), pa.int64(), pa.uint64())
    },
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_layout_of_codes_does_not_matter(layout: str) -> None:
    table = of_codes(LAYOUTS[layout])
    assert table.column("diagnoses").to_pylist() == [
        None if x is None else [c or None if "dictionary" in layout else c for c in x]
        for x in plain().column("diagnoses").to_pylist()
    ]
    assert rows_of(table) == rows_of(plain())


@pytest.mark.parametrize("kind", [pa.int8(), pa.uint8()])
def test_small_indices_of_few_codes(kind: pa.DataType) -> None:
    few = plain().slice(0, 20)
    codes = few["diagnoses"].combine_chunks()
    values = pa.array(["unused", *flat(codes), None])
    assert len(values) < 128
    held = pa.DictionaryArray.from_arrays(pa.array(range(1, len(values) - 1), kind), values)
    table = with_column(few, "diagnoses", as_lists(held, codes))
    assert rows_of(table) == rows_of(few)


@pytest.mark.parametrize("size", [1, 7, 399])
def test_chunks_anywhere_do_not_matter(size: int) -> None:
    table = plain()
    columns = []
    for k, column in enumerate(table.columns):  # boundaries that differ by column, empty chunks
        step = size + k % 3
        parts = [column.slice(a, step) for a in range(0, len(table), step)]
        chunks = [c for part in parts for c in (*part.chunks, *column.slice(3, 0).chunks)]
        columns.append(pa.chunked_array(chunks, column.type))
    cut = pa.table(columns, names=table.column_names)
    assert rows_of(cut) == rows_of(table)
    assert rows_of(cut, threads=2) == rows_of(table)


def test_texts_under_a_null_id_are_no_id() -> None:
    ids = ["C1", "C1", "C2"]
    whole = pa.array(ids)
    valid = np.packbits([True, False, True], bitorder="little").tobytes()
    held = pa.Array.from_buffers(pa.string(), 3, [pa.py_buffer(valid), *whole.buffers()[1:]])
    table = with_column(plain().slice(40, 3), "case_id", held)
    expected = with_column(plain().slice(40, 3), "case_id", pa.array(["C1", None, "C2"]))
    assert rows_of(table) == rows_of(expected)
    assert [r["reason"] == "duplicate_case_id" for r in rows_of(table)[0]] == [False] * 3


def test_ten_thousand_codes_in_a_case() -> None:
    scheme = schemes()[0]
    codes = list(itertools.islice(itertools.cycle(scheme.codes), 10_000))
    table = plain().slice(0, 3)
    lists = [x or [] for x in table["diagnoses"].to_pylist()]
    few = [[lists[0][0], *sorted(set(codes))], *lists[1:]]
    many = [[lists[0][0], *codes, *sorted(set(codes))], *lists[1:]]
    rows = [
        [{k: v for k, v in r.items() if k != "warnings"} for r in rows_of(t)[0]]
        for t in (
            with_column(table, "diagnoses", pa.array(few, TEXTS)),
            with_column(table, "diagnoses", pa.array(many, TEXTS)),
        )
    ]
    assert rows[0] == rows[1]


def test_no_rows_in_any_layout() -> None:
    for table in (
        plain().slice(3, 0),
        *(of_codes(x).slice(7, 0) for x in list(LAYOUTS.values())[:7]),
    ):
        assert rows_of(table) == [[], []]


def test_numbers_at_their_ends_are_judged() -> None:
    table = plain().slice(40, 6)
    ends = [2**31 - 1, -(2**31), 0, 150, 151, -1]
    for name in ("age", "age_days", "los", "icu_hours", "birth_weight", "admission_weight", "sex"):
        narrow = with_column(table, name, pa.array(ends, pa.int32()))
        for kind in (pa.int64(), pa.float64()):
            assert rows_of(with_column(table, name, pa.array(ends, kind))) == rows_of(narrow)
    wide = with_column(table, "age", pa.array([2**63 - 1, -(2**63), 2**31, -(2**31) - 1, 0, 1]))
    assert [r["reason"] for r in rows_of(wide)[0]][:4] == ["age_unreadable"] * 4


@pytest.mark.parametrize("kind", [pa.date32(), pa.date64(), pa.timestamp("s"), pa.timestamp("ms")])
def test_days_at_their_ends_are_judged(kind: pa.DataType) -> None:
    days = [date(1, 1, 1), date(9999, 12, 31), None]
    table = plain().slice(40, 3)
    for name, column in (("admission_date", days[::-1]), ("discharge_date", days)):
        table = table.append_column(name, pa.array(column, pa.date32()).cast(kind))
    reasons = [r["reason"] for r in rows_of(table)[0]]
    assert "discharge_before_admission" not in reasons
    turned = with_column(table, "admission_date", pa.array([days[1]] * 3, pa.date32()).cast(kind))
    assert rows_of(turned)[0][0]["reason"] == "discharge_before_admission"


# ------------------------------------------------------------------------------------ invalid memory


def bent(kind: Any, offsets: list[int], *rest: Any, children: list[Any] | None = None) -> Any:
    """Make an array of good offsets, and then bend them: Arrow itself makes no others."""
    held = np.zeros(len(offsets), np.int32)
    buffers = [None, pa.py_buffer(held), *rest]
    array = pa.Array.from_buffers(kind, len(offsets) - 1, buffers, children=children)
    held[:] = offsets
    return array


def lists_of(values: Any, *offsets: int) -> Any:
    return bent(TEXTS, list(offsets), children=[values])


def texts_of(*offsets: int) -> Any:
    return bent(pa.string(), list(offsets), pa.py_buffer(b"K22.301"))


CODES = pa.array(["K22.301", "E11.900", "I10.x00"])
INVALID: dict[str, tuple[str, Callable[[], Any]]] = {
    "list offsets beyond the codes": ("diagnoses", lambda: lists_of(CODES, 0, 1, 1000)),
    "list offsets that fall": ("diagnoses", lambda: lists_of(CODES, 0, 3, 2)),
    "list offsets far away between": ("procedures", lambda: lists_of(CODES, 0, 2**30, 3)),
    "negative list offsets": ("diagnoses", lambda: lists_of(CODES, -5, 1, 2)),
    "text offsets beyond the bytes": ("case_id", lambda: texts_of(0, 3, 4000)),
    "text offsets that fall": ("case_id", lambda: texts_of(0, 7, 3)),
    "negative text offsets": ("department", lambda: texts_of(-9, 1, 2)),
    "codes whose offsets fall": ("diagnoses", lambda: lists_of(texts_of(0, 7, 3), 0, 1, 2)),
    "codes far away between": ("procedures", lambda: lists_of(texts_of(0, 2**30, 7), 0, 1, 2)),
    "an index beyond the dictionary": (
        "department",
        lambda: pa.DictionaryArray.from_arrays(pa.array([0, 99]), CODES, safe=False),
    ),
    "a negative index": (
        "discharge_mode",
        lambda: pa.DictionaryArray.from_arrays(pa.array([0, -7]), CODES, safe=False),
    ),
}


@pytest.mark.parametrize("name", INVALID)
def test_invalid_memory_is_refused_and_named(name: str, tmp_path: Path) -> None:
    column, make = INVALID[name]
    table = plain().slice(40, 2)
    if column == "department":
        table = table.drop_columns(["department"]).append_column("department", make())
    else:
        table = with_column(table, column, make())
    for scheme in schemes():
        with pytest.raises(CaseSchemaError, match=f"'{column}' is no whole Arrow column"):
            group(table, scheme)
        with pytest.raises(CaseSchemaError, match=f"'{column}' is no whole Arrow column"):
            group(table, scheme, codes="case")
    with pytest.raises(CaseSchemaError, match=f"'{column}' is no whole Arrow column"):
        grouper.read_cases(table)


def test_a_code_index_beyond_the_dictionary_is_refused() -> None:
    held = pa.DictionaryArray.from_arrays(pa.array([0, 99], pa.int8()), CODES, safe=False)
    lists = pa.ListArray.from_arrays(pa.array([0, 1, 2], pa.int32()), held)
    table = with_column(plain().slice(40, 2), "diagnoses", lists)
    with pytest.raises(
        CaseSchemaError, match="'diagnoses' is no whole Arrow column: index 99 of 3"
    ):
        group(table, schemes()[0])
