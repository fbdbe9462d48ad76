"""Every scheme at hand, as a region would bring it: import, lint, group, and no difference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from drg3 import read_rows
from shared import EXPECTED, SCHEMES, expected_cases, shared

from grouper import group, import_tables, load_drg
from grouper.tables import check
from grouper.tables._drg_scheme import TABLES


@pytest.mark.big
@pytest.mark.parametrize("name", SCHEMES)
def test_a_scheme_imports_lints_and_groups_as_expected(name: str, tmp_path: Path) -> None:
    source = shared(f"facts/{name}")
    out = tmp_path / load_drg(source).id
    report = import_tables(source, out)
    assert report.counts == {t: len(read_rows(source / f"{t}.csv")) for t in TABLES}
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
