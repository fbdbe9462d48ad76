"""Edges by hand that no drawn case reaches: each was found by a planted fault that all else let pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tiny import case, of_kernel, tiny_scheme

import grouper
from grouper import load_drg
from grouper.kernels import _money, payment
from grouper.tables._types import RATIO_SCALE, Segment


def test_a_count_of_others_leaves_out_repeats_of_the_principal(tmp_path: Path) -> None:
    path = tiny_scheme(
        tmp_path / "s",
        adrg=[("AA1", "length(DX∩QTZD) >= 1"), ("AB1", "")],
        drg=[("AA19", ""), ("AB19", "")],
        sets={"DX": ["dx", "dx2"]},
    )
    cases = [case("dx", "dx"), case("dx", "dx2"), case("dx", "dx", "dx2", "dx2"), case("dx")]
    assert [a.group for a in of_kernel(cases, load_drg(path))] == ["AB19", "AA19", "AA19", "AB19"]


def test_what_remains_says_so(tmp_path: Path) -> None:
    path = tiny_scheme(
        tmp_path / "s",
        adrg=[("AA1", "ZYSS in PX"), ("A00", "")],
        drg=[("AA19", ""), ("A000", "", "A00")],
        sets={"DX": ["dx"], "PX": ["px"]},
    )
    rest, own = of_kernel([case("dx"), case("dx", px=["px"])], load_drg(path))
    assert (rest.status, rest.reason, rest.group) == ("ungrouped", "remainder", "A000")
    assert (own.status, own.reason, own.group) == ("grouped", "", "AA19")


@pytest.mark.parametrize(
    ("grams", "warned"), [(199, True), (200, False), (20_000, False), (20_001, True)]
)
def test_a_newborn_of_200_to_20000_grams_is_not_warned_of(grams: int, warned: bool) -> None:
    newborn: dict[str, Any] = {"case_id": "1", "sex": 1, "age": 0, "age_days": 3}
    newborn |= {"birth_weight": grams, "diagnoses": ["P07.300"], "procedures": []}
    assert ("newborn_weight" in grouper.group(newborn, "chs-drg-1.1").warnings()) == warned


@settings(max_examples=300, deadline=None)
@given(x=st.integers(0, 2**61), num=st.integers(0, 2**61), den=st.integers(1, 2**61 - 1))
@example(x=2**40, num=3**25, den=3**25)
@example(x=2**29 * 10**8, num=3**19 * 10**7, den=2**29 * 3**19)
@example(x=2**60, num=2**40 * 3, den=2**40 * 3)
@example(x=3**30, num=5**20 * 4, den=3**30)
def test_whole_part_and_rest_beyond_64_bits(x: int, num: int, den: int) -> None:
    whole, rest = np.zeros(1, np.int64), np.zeros(1, np.int64)
    if x * num // den < 2**62:
        _money.split(np.array([x]), num, den, whole, rest)
        assert (int(whole[0]), int(rest[0])) == divmod(x * num, den)


@pytest.mark.parametrize(("cost", "mean"), [(2, 3), (1, 3), (1, 20_000), (1, 20_001), (7, 7)])
def test_the_ratio_is_rounded_half_up(cost: int, mean: int) -> None:
    segment = np.zeros((1, len(Segment)), np.int64)
    segment[0, [Segment.LAST, Segment.DEN]] = 10**13, 1
    claim, band, ratio = np.zeros(1, np.int64), np.zeros(1, np.int8), np.zeros(1, np.int64)
    key, off = np.zeros(1, np.int32), np.array([0, 1])
    base, means = np.zeros(1, np.int64), np.array([mean])
    payment.price(key, np.array([cost]), base, means, off, segment, claim, band, ratio, 0, 1)
    assert int(ratio[0]) == (cost * RATIO_SCALE * 2 + mean) // (2 * mean)
