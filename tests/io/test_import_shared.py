"""The other schemes at hand, as a region would bring them: import, lint, group, and no difference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from shared import EXPECTED, SCHEMES, expected_cases, shared

from grouper import group, import_tables, load_drg
from grouper.tables import check

OTHERS = [n for n in SCHEMES if n != "drg_1_1"]


@pytest.mark.parametrize("name", OTHERS)
def test_a_scheme_of_another_region_imports_lints_and_groups_as_expected(
    name: str, tmp_path: Path
) -> None:
    source = shared(f"facts/{name}")
    out = tmp_path / load_drg(source).id
    report = import_tables(source, out)
    assert report.counts["drg"] == len(load_drg(source).drgs)
    found = check(out)
    assert not [f for f in found if f.severity == "error"]
    assert found == [f for f in check(source) if f.code != "L125"]  # cells that it cleaned
    imported = load_drg(out)
    assert imported.fingerprint == load_drg(source).fingerprint
    if name in EXPECTED:
        cases: list[dict[str, Any]] = expected_cases(name)
        given = [{k: v for k, v in c.items() if k != "expected"} for c in cases]
        rows = group(given, imported).to_arrow().to_pylist()
        got = [tuple(r[c] or "" for c in ("status", "mdc", "adrg", "group")) for r in rows]
        assert got == [c["expected"] for c in cases]
