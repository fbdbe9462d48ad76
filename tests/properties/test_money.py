"""Exact money against Python's own integers and fractions."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from grouper._distinct import distinct, exact_sum
from grouper._statistics import half_up
from grouper.kernels import _money

pytestmark = pytest.mark.promise("Money is exact: no float, named rounding, largest remainder")

NUMBER = st.integers(0, 2**61 - 1)
AMOUNT = st.integers(0, 10**15)


def scaled(x: int, num: int, den: int) -> int:
    """Call the vector kernel with one entry."""
    out = np.zeros(1, np.int64)
    _money.scale(np.array([x]), np.array([num]), np.array([den]), out)
    return int(out[0])


@settings(max_examples=400, deadline=None)
@given(x=NUMBER, num=NUMBER, den=st.integers(1, 2**61 - 1))
@example(x=2**61 - 1, num=2**61 - 2, den=2**61 - 1)
@example(x=10**18, num=10**18, den=10**18)
@example(x=3, num=1, den=2)
@example(x=1, num=2**60, den=2**61 - 1)
def test_products_beyond_64_bits_round_half_up_exactly(x: int, num: int, den: int) -> None:
    exact = Fraction(x) * num / den
    if exact < 2**62:
        assert scaled(x, num, den) == half_up(exact)
        assert scaled(-x, num, den) == half_up(-exact)


@given(x=st.fractions(-(10**12), 10**12))
def test_half_up_is_within_half_and_symmetric(x: Fraction) -> None:
    found = half_up(x)
    assert abs(found - x) <= Fraction(1, 2)
    assert half_up(-x) == -found
    if abs(found - x) == Fraction(1, 2):
        assert abs(found) > abs(x)


def apportioned(share: int, claims: list[int]) -> list[int]:
    out = np.zeros(len(claims), np.int64)
    _money.apportion_within(
        np.array([share]),
        np.array([0, len(claims)]),
        np.arange(len(claims)),
        np.array(claims, np.int64),
        out,
    )
    return [int(x) for x in out]


@settings(max_examples=300, deadline=None)
@given(share=AMOUNT, claims=st.lists(st.integers(0, 10**12), min_size=1, max_size=30))
@example(share=10**15, claims=[10**12] * 7)
@example(share=1, claims=[1, 1, 1])
def test_apportionment_is_largest_remainder(share: int, claims: list[int]) -> None:
    given_out = apportioned(share, claims)
    total = sum(claims)
    if total == 0:
        assert given_out == [0] * len(claims)
        return
    assert sum(given_out) == share
    exact = [Fraction(share) * c / total for c in claims]
    floors = [x.__floor__() for x in exact]
    left = share - sum(floors)
    order = sorted(range(len(claims)), key=lambda k: (floors[k] - exact[k], k))
    expected = list(floors)
    for k in order[:left]:
        expected[k] += 1
    assert given_out == expected


@given(share=AMOUNT, claims=st.lists(st.integers(1, 10**9), min_size=2, max_size=20))
def test_a_larger_claim_never_gets_less(share: int, claims: list[int]) -> None:
    given_out = apportioned(share, claims)
    for a in range(len(claims)):
        for b in range(len(claims)):
            if claims[a] > claims[b]:
                assert given_out[a] >= given_out[b]


@given(
    xs=st.lists(st.integers(0, 2**62), min_size=1, max_size=5),
    num=st.integers(0, 2**62),
    den=st.integers(1, 2**61 - 1),
)
def test_split_keeps_the_whole_and_the_rest(xs: list[int], num: int, den: int) -> None:
    fits = [x for x in xs if x * num // den < 2**63] or [0]
    whole, rest = (np.zeros(len(fits), np.int64) for _ in range(2))
    _money.split(np.array(fits, np.int64), num, den, whole, rest)
    assert [divmod(x * num, den) for x in fits] == list(
        zip(whole.tolist(), rest.tolist(), strict=True)
    )


@given(values=st.lists(st.integers(-(2**63), 2**63 - 1), max_size=20))
def test_sums_beyond_64_bits_are_exact(values: list[int]) -> None:
    assert exact_sum(np.array(values, np.int64)) == sum(values)


@given(
    rows=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5), st.integers(0, 1)), max_size=30),
    sizes=st.sampled_from([(4, 6, 2), (2**30, 2**30, 2**30)]),
)
def test_distinct_combinations_keep_their_first_rows(
    rows: list[tuple[int, int, int]], sizes: tuple[int, int, int]
) -> None:
    columns = np.array(rows, np.int64).reshape(-1, 3).T
    number, first = distinct(*zip(columns, sizes, strict=True))
    assert [rows[k] for k in first] == sorted(set(rows))
    assert [sorted(set(rows))[k] for k in number] == rows
    assert all(rows.index(rows[k]) == k for k in first.tolist())
