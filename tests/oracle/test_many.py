"""Many random cases agree with the naive oracle on whole rows; `scripts/compare` takes millions."""

from __future__ import annotations

import pytest
from oracle.compare_cases import DIP, compare

PARTS = [
    *(("chs-drg-1.1", seed, 20_000) for seed in range(100, 105)),
    *(("chs-drg-1.1-qy", seed, 20_000) for seed in range(100, 104)),
    *((DIP, seed, 5_000) for seed in range(100, 104)),
]
"""200,000 cases of what ships with the package: no reference data is needed."""


@pytest.mark.big
@pytest.mark.promise("DRG groups are those of the plain reader, whole rows")
@pytest.mark.promise("DIP groups are those of the plain reader, whole rows")
@pytest.mark.parametrize(("name", "seed", "n"), PARTS)
def test_many_cases_agree_with_the_oracle_on_whole_rows(name: str, seed: int, n: int) -> None:
    found = compare(name, seed, n)
    assert found.differs is None, found.differs
    assert sum(found.statuses.values()) == n
    assert found.statuses.keys() >= {"grouped", "ungrouped", "rejected"}
    assert len(found.groups) > 300


def test_the_parts_are_enough() -> None:
    assert sum(n for _, _, n in PARTS) == 200_000
