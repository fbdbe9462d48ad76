"""Published tables: no row of few cases, nothing lost, nothing that can be taken back by subtraction."""

from __future__ import annotations

import random
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grouper._small_cells import LEAST, OTHER, Merged, merge_small

pytestmark = pytest.mark.promise("No published group has fewer cases than the least")


def table_of(*rows: tuple[str, str, int, int]) -> pa.Table:
    mdc, group, n, pay = zip(*rows, strict=True) if rows else ((), (), (), ())
    return pa.table(
        {
            "mdc": pa.array(mdc, pa.string()),
            "group": pa.array(group, pa.string()),
            "name": pa.array([f"name of {g}" for g in group], pa.string()),
            "n": pa.array(n, pa.int64()),
            "pay_fen": pa.array(pay, pa.int64()),
        }
    )


def merged(table: pa.Table, under: tuple[str, ...] = (), least: int = LEAST) -> Merged:
    return merge_small(
        table, keys=("mdc", "group"), count="n", sums=["pay_fen"], least=least, under=under
    )


def shown(found: Merged) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in found.table.to_pylist()]


def test_small_rows_become_one_under_their_parent() -> None:
    found = merged(
        table_of(("A", "A1", 100, 7), ("A", "A2", 20, 5), ("A", "A3", 15, -2), ("B", "B1", 40, 1)),
        under=("mdc",),
    )
    assert shown(found) == [
        ("A", "A1", "name of A1", 100, 7),
        ("A", OTHER, None, 35, 3),
        ("B", "B1", "name of B1", 40, 1),
    ]
    assert found[1:] == (2, 1, 0)


def test_nothing_small_nothing_merged() -> None:
    table = table_of(("A", "A1", 30, 7), ("B", "B1", 31, 1))
    found = merged(table, under=("mdc",))
    assert found.table.equals(table)
    assert found[1:] == (0, 0, 0)


def test_one_small_row_takes_the_next_smallest_with_it() -> None:
    """Else it would be the total less the others."""
    found = merged(table_of(("A", "A1", 500, 1), ("A", "A2", 29, 2), ("A", "A3", 60, 4)), ("mdc",))
    assert shown(found) == [("A", "A1", "name of A1", 500, 1), ("A", OTHER, None, 89, 6)]
    assert found[1:] == (2, 1, 0)


def test_small_rows_that_are_too_few_together_take_more() -> None:
    found = merged(table_of(("A", "A1", 5, 1), ("A", "A2", 6, 2), ("A", "A3", 30, 4)), ("mdc",))
    assert shown(found) == [("A", OTHER, None, 41, 7)]


def test_a_small_parent_is_merged_a_level_higher() -> None:
    rows = (("A", "A1", 3, 1), ("B", "B1", 50, 2), ("B", "B2", 40, 4), ("C", "C1", 90, 8))
    found = merged(table_of(*rows), ("mdc",))
    assert shown(found) == [
        ("B", "B1", "name of B1", 50, 2),
        ("C", "C1", "name of C1", 90, 8),
        (OTHER, OTHER, None, 43, 5),
    ]
    assert found[1:] == (2, 1, 0)


def test_a_whole_table_below_is_one_row() -> None:
    assert shown(merged(table_of(("A", "A1", 3, 1), ("B", "B1", 5, 2)), ("mdc",))) == [
        (OTHER, OTHER, None, 8, 3)
    ]
    assert shown(merged(table_of(("A", "A1", 3, 1)))) == [(OTHER, OTHER, None, 3, 1)]
    assert shown(merged(table_of())) == []


def test_groups_without_cases_are_left_out_and_counted() -> None:
    found = merged(table_of(("A", "A1", 40, 1), ("A", "A2", 0, 0), ("A", "A3", 0, 5)), ("mdc",))
    assert shown(found) == [("A", OTHER, None, 40, 6)]
    assert found[1:] == (2, 1, 1)


def test_a_row_that_is_called_so_already_takes_the_small_ones() -> None:
    rows = (("A", OTHER, 50, 1), ("A", "A1", 5, 2), ("A", "A2", 80, 4))
    assert shown(merged(table_of(*rows), ("mdc",))) == [
        ("A", "A2", "name of A2", 80, 4),
        ("A", OTHER, None, 55, 3),
    ]


def test_dictionary_keys_and_another_word() -> None:
    table = table_of(("A", "A1", 3, 1), ("A", "A2", 40, 2))
    coded = table.set_column(1, "group", table["group"].dictionary_encode())
    found = merge_small(coded, keys=["group"], count="n", other="other", least=10)
    assert found.table.to_pylist() == [
        {"mdc": None, "group": "other", "name": None, "n": 43, "pay_fen": None}
    ]


@pytest.mark.parametrize(
    ("given_", "said"),
    [
        ({"keys": ["x"]}, "no column 'x'; it has mdc, group, name, n, pay_fen"),
        ({"keys": []}, "under"),
        ({"keys": ["n"], "count": "pay_fen"}, "column 'n' is int64, not texts"),
        ({"count": "name"}, "column 'name' is string, not whole numbers"),
        ({"under": ["group"]}, "begins keys"),
        ({"sums": ["n"]}, "begins keys"),
        ({"keys": ["mdc"]}, "stands twice; add them up"),
    ],
)
def test_what_is_refused(given_: dict[str, Any], said: str) -> None:
    table = table_of(("A", "A1", 3, 1), ("A", "A2", 40, 2))
    with pytest.raises(ValueError, match=said):
        merge_small(table, **{"keys": ["mdc", "group"], "count": "n", **given_})


def test_counts_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="'n' is below 0"):
        merged(table_of(("A", "A1", -1, 1)))
    table = pa.table({"g": ["a"], "n": pa.array([None], pa.int64())})
    with pytest.raises(ValueError, match="'n' has blanks"):
        merge_small(table, keys=["g"], count="n")


# --------------------------------------------------------------------------------------- properties

rows_ = st.lists(
    st.tuples(
        st.sampled_from("ABCD"),
        st.sampled_from(["1", "2", "3", "4", "5", OTHER]),
        st.one_of(st.integers(0, 60), st.integers(0, 5), st.integers(0, 10**6)),
        st.integers(-(10**12), 10**12),
    ),
    unique_by=lambda r: (r[0], r[1]),
    max_size=24,
)


@settings(max_examples=400)
@given(rows_, st.integers(1, 50), st.sampled_from([(), ("mdc",)]), st.randoms())
def test_what_always_holds(
    rows: list[tuple[str, str, int, int]],
    least: int,
    under: tuple[str, ...],
    shuffle: random.Random,
) -> None:
    found = merged(table_of(*rows), under, least)
    out = found.table.to_pylist()
    total = sum(r[2] for r in rows)
    assert sum(r["n"] for r in out) == total
    assert sum(r["pay_fen"] for r in out) == sum(r[3] for r in rows)
    if total < least:
        assert len(out) <= 1
    else:
        assert all(r["n"] >= least for r in out)
    assert len({(r["mdc"], r["group"]) for r in out}) == len(out)
    whole = {(m, g): (n, pay) for m, g, n, pay in rows}
    kept = [r for r in out if r["name"] is not None]
    for r in kept:  # a row that was not merged is as it was
        assert whole[r["mdc"], r["group"]] == (r["n"], r["pay_fen"])
    assert len(rows) == len(kept) + found.groups + found.empty
    assert found.rows == len(out) - len(kept)
    again = list(rows)
    shuffle.shuffle(again)
    assert merged(table_of(*again), under, least).table.equals(found.table)


@settings(max_examples=400)
@given(rows_, st.integers(2, 50), st.sampled_from([(), ("mdc",)]))
def test_no_merged_row_is_one_group_that_was_small(
    rows: list[tuple[str, str, int, int]], least: int, under: tuple[str, ...]
) -> None:
    """What is hidden is never one small group alone, unless there is no second one."""
    found = merged(table_of(*rows), under, least)
    if found.groups == 1:
        assert len([r for r in rows if r[2] or r[3]]) == 1


@settings(max_examples=200)
@given(rows_, st.integers(1, 50))
def test_merging_again_changes_nothing(rows: list[tuple[str, str, int, int]], least: int) -> None:
    once = merged(table_of(*rows), ("mdc",), least).table
    again = merged(once, ("mdc",), least)
    assert again.table.equals(once)
    assert again.groups == 0
