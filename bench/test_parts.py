"""pytest-benchmark: one part each, compiled first, the size stated."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest

import grouper
from grouper.testing import Region, make_region

SIZES = [1_000, 50_000]


@cache
def region(n: int) -> Region:
    return make_region(n)


@cache
def scheme() -> grouper.DrgScheme:
    return grouper.load_drg("chs-drg-1.1")


def test_load(benchmark: Any) -> None:
    benchmark.pedantic(lambda: grouper.load_drg("chs-drg-1.1"), rounds=3)


@pytest.mark.parametrize("n", SIZES)
def test_encode(benchmark: Any, n: int) -> None:
    cases = region(n).cases
    benchmark(lambda: grouper.encode(cases, scheme()))


@pytest.mark.parametrize("n", SIZES)
def test_kernel(benchmark: Any, n: int) -> None:
    batch = grouper.encode(region(n).cases, scheme())
    benchmark(lambda: grouper.group_encoded(batch, threads=1))


@pytest.mark.parametrize("n", SIZES)
def test_settle(benchmark: Any, n: int) -> None:
    grouped = grouper.group(region(n).cases, scheme())
    benchmark(lambda: grouper.settle(grouped, "example-point", hospitals=region(n).hospitals))


@pytest.mark.parametrize("n", SIZES)
def test_group_whole(benchmark: Any, n: int) -> None:
    cases = region(n).cases
    benchmark(lambda: grouper.group(cases, scheme()).to_arrow())
