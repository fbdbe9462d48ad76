"""What long work tells of itself: ever further, to its end, and to nobody in a library call."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import grouper
from grouper import _chunks, _progress
from grouper.testing import Region, make_region


@pytest.fixture(scope="module")
def region() -> Region:
    return make_region(400)


def heard(work: Callable[[], Any]) -> list[float]:
    said: list[float] = []
    with _progress.heard(said.append):
        work()
    return said


def test_parts_have_their_place_in_the_whole() -> None:
    def work() -> None:
        with _progress.share(0, 0.5), _progress.share(0.5, 1):
            assert list(_progress.told("ab", 2)) == ["a", "b"]
        with _progress.share(0.5, 1):
            _chunks.run(lambda a, b: None, 4, threads=2, step=1)

    assert heard(work) == [0.375, 0.5, 0.5, 0.5, 0.625, 0.75, 0.875, 1.0, 1.0]
    work()  # nobody asks
    with _progress.heard(None):
        _progress.tell(1)


def test_what_fails_leaves_no_listener() -> None:
    def fails() -> None:
        with _progress.share(0, 0.5):
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        heard(fails)
    assert _progress._listener.get() is None


@pytest.mark.parametrize("work", ["read", "group", "settle", "settle a year", "check", "calibrate"])
def test_long_work_goes_ever_further_to_its_end(work: str, region: Region, tmp_path: Path) -> None:
    grouped = grouper.group(region.cases, "chs-drg-1.1")
    files = [tmp_path / f"{k}.parquet" for k in range(2)]
    for k, path in enumerate(files):
        grouper.write_table(region.cases.slice(200 * k, 200), path)
    jobs: dict[str, Callable[[], Any]] = {
        "read": lambda: grouper.read_cases(tmp_path),
        "group": lambda: grouper.group(region.cases, "chs-drg-1.1"),
        "settle": lambda: grouper.settle(grouped, "example-point", hospitals=region.hospitals),
        "settle a year": lambda: grouper.settle(grouped, "example-anhui-city"),
        "check": lambda: grouper.check_quality(files[0], scheme="chs-drg-1.1"),
        "calibrate": lambda: grouper.calibrate([str(f) for f in files], "dip", base="dip-demo"),
    }
    said = heard(jobs[work])
    assert len(said) > 2
    assert said == sorted(said)
    assert 0 <= said[0] <= said[-1] <= 1
    assert said[-1] == (1 if work != "calibrate" else pytest.approx(0.8))
