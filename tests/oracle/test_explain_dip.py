"""explain, the second reader, against the kernel: random catalogues, every field of the answer."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from oracle.draw_dip import draw_cases, draw_catalogue

from grouper import explain, group, load_scheme

pytestmark = pytest.mark.promise("What explain says is what the kernel did")

FIELDS = (
    *("status", "reason", "group", "group_name", "rule", "decided_by", "group_class"),
    *("treatment", "matched_terms", "aux_type"),
)


@pytest.mark.parametrize("seed", range(20))
def test_explain_agrees_with_the_kernel(seed: int, tmp_path: Path) -> None:
    rng = random.Random(seed)
    catalogue = draw_catalogue(rng, tmp_path / "catalogue")
    scheme = load_scheme(catalogue)
    cases = [c | {"case_id": f"X{k}"} for k, c in enumerate(draw_cases(rng, catalogue, 60))]
    for case, row in zip(cases, group(cases, scheme).to_arrow().to_pylist(), strict=True):
        trace = explain(case, scheme)
        got = {f: getattr(trace, f) or None for f in FIELDS}
        assert got == {f: row[f] or None for f in FIELDS}, case
        assert trace.to_text("en")
        assert trace.to_text("zh")
        if row["aux_factor"] is not None:
            assert float(trace.aux_factor) == float(row["aux_factor"])


def test_the_text_names_what_decided(tmp_path: Path) -> None:
    folder = Path(__file__).parent.parent / "golden" / "dip" / "national"
    case = {"case_id": "1", "sex": 1, "age": 30, "los": 9, "diagnoses": ["T20.300", "T31.000"]}
    case |= {"procedures": ["86.6201", "86.6901"]}
    text = explain(case, load_scheme(folder)).to_text("en")
    assert "FZ-1759" in text
    assert "decided by more_required_terms" in text
    assert "FZ-1757" in text
    assert "由 more_required_terms 决定" in explain(case, load_scheme(folder)).to_text("zh")
