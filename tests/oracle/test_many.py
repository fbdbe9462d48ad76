"""The kernels against the plain readers on many random cases; `scripts/compare` takes millions."""

from __future__ import annotations

import pytest
from oracle.many import DIP, DRG, compare


@pytest.mark.big
@pytest.mark.promise("DRG groups are those of the plain reader, whole rows")
@pytest.mark.parametrize("seed", range(100, 104))
@pytest.mark.parametrize("name", DRG)
def test_many_drg_cases(name: str, seed: int) -> None:
    done, difference = compare(name, seed, 20_000)
    assert difference is None
    assert done == 20_000


@pytest.mark.big
@pytest.mark.promise("DIP groups are those of the plain reader, whole rows")
@pytest.mark.parametrize("seed", range(4))
def test_many_dip_cases(seed: int) -> None:
    done, difference = compare(DIP, seed, 10_000)
    assert difference is None
    assert done >= 10_000
