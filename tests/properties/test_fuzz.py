"""Bent bytes on every way in: an answer for every row, or a refusal; `scripts/fuzz` looks longer."""

from __future__ import annotations

import itertools
from pathlib import Path

import fuzzing
import pytest

NAMES = (
    *("rules", "formula", "quality rules", "csv", "csv.gz", "excel", "parquet", "arrow", "json"),
    *("column map", "scheme.toml", "adrg.csv", "drg.csv", "cc.csv", "policy", "hospitals"),
    *("ledger", "manifest"),
)
INPUTS = 120


@pytest.mark.promise("Whatever the bytes: an answer for every row, or a refusal that says why")
@pytest.mark.parametrize("name", NAMES)
def test_bent_bytes(name: str, tmp_path: Path) -> None:
    fuzzing.place(tmp_path)
    fuzzing.targets.cache_clear()
    target = next(t for t in fuzzing.targets(tmp_path) if t.name == name)
    for seed in target.seeds:
        assert fuzzing.tried(target, seed, tmp_path) is None
    for data in itertools.islice(fuzzing.inputs(target, 1), INPUTS):
        found = fuzzing.tried(target, data, tmp_path)
        assert found is None, (data, repr(found))


def test_every_target_is_tried(tmp_path: Path) -> None:
    fuzzing.place(tmp_path)
    fuzzing.targets.cache_clear()
    assert tuple(t.name for t in fuzzing.targets(tmp_path)) == NAMES
