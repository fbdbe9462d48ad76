"""The kernel against the naive oracle, whole rows; both against the expected files."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
from naive import NaiveAnswer, NaiveScheme
from oracle.draw import draw_cases
from shared import EXPECTED, SCHEMES, SHIPPED, expected_cases, shared

from grouper import DrgScheme, explain, group, load_drg

pytestmark = pytest.mark.promise("DRG groups are those of the plain reader, whole rows")

CODES = SHIPPED / "codes-nhsa-2.0"
OWN = ("chs-drg-1.1", "chs-drg-1.1-qy")


@cache
def both(name: str) -> tuple[DrgScheme, NaiveScheme]:
    """Load a scheme twice: by the package and by the oracle."""
    if name in OWN:
        return load_drg(name), NaiveScheme.load(SHIPPED / name, CODES)
    folder: Path = shared(f"facts/{name}")
    return load_drg(folder), NaiveScheme.load(folder)


def row_of(answer: NaiveAnswer) -> tuple[Any, ...]:
    """Lay out an oracle's answer as a result row."""
    rule = f"adrg.csv:{answer.adrg_row} {answer.branch} > drg.csv:{answer.drg_row}"
    return (
        answer.status,
        answer.reason,
        answer.mdc,
        answer.adrg,
        answer.group,
        answer.severity,
        rule if answer.drg_row else "",
        sorted(answer.warnings),
    )


COLUMNS = ("status", "reason", "mdc", "adrg", "group", "severity", "rule")


def rows_of(cases: list[dict[str, Any]], scheme: DrgScheme) -> list[tuple[Any, ...]]:
    """Group cases with the kernel; one tuple a row."""
    found = group(cases, scheme).to_arrow().to_pylist()
    return [(*(r[c] or "" for c in COLUMNS), sorted(r["warnings"])) for r in found]


def without_expected(case: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in case.items() if k != "expected"}


@pytest.mark.parametrize("name", EXPECTED)
def test_every_expected_row_comes_out(name: str) -> None:
    cases = expected_cases(name)
    found = group([without_expected(c) for c in cases], both(name)[0]).to_arrow().to_pylist()
    got = [tuple(r[c] or "" for c in ("status", "mdc", "adrg", "group")) for r in found]
    wrong = [(c, g) for c, g in zip(cases, got, strict=True) if c["expected"] != g]
    assert len(cases) == (5000 if name == "drg_1_1" else 800)
    assert wrong == []


@pytest.mark.parametrize("name", EXPECTED)
def test_expected_cases_agree_with_the_oracle_on_whole_rows(name: str) -> None:
    scheme, naive = both(name)
    cases = [without_expected(c) for c in expected_cases(name)]
    assert rows_of(cases, scheme) == [row_of(naive.group(c)) for c in cases]


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", [*OWN, *SCHEMES])
def test_random_cases_agree_with_the_oracle_on_whole_rows(name: str, seed: int) -> None:
    scheme, naive = both(name)
    cases = draw_cases(scheme, seed, 3000)
    assert rows_of(cases, scheme) == [row_of(naive.group(c)) for c in cases]


@pytest.mark.parametrize("name", [*OWN, *SCHEMES])
def test_explain_agrees_with_the_kernel(name: str) -> None:
    scheme, _ = both(name)
    cases = draw_cases(scheme, 7, 400)
    traces = [explain(c, scheme, near=0) for c in cases]
    got = [(t.status, t.reason, t.mdc, t.adrg, t.group, t.severity, t.rule) for t in traces]
    assert got == [r[:-1] for r in rows_of(cases, scheme)]


def test_every_status_and_reason_is_drawn() -> None:
    """The random cases are worth nothing if they never reach a corner."""
    scheme, _ = both("chs-drg-1.1-qy")
    found = group(draw_cases(scheme, 0, 3000), scheme)
    assert all(n > 0 for n in found.counts().values())
    assert {"no_mdc", "no_adrg", "no_principal_diagnosis", "unknown_principal"} <= set(
        found.reasons()
    )
    assert {"sex_unreadable", "age_unreadable", "age_days_missing"} <= set(found.reasons())
    assert len(found.warnings()) == 9


@pytest.mark.parametrize("name", EXPECTED)
def test_explain_agrees_on_every_expected_case(name: str) -> None:
    scheme, _ = both(name)
    cases = [without_expected(c) for c in expected_cases(name)]
    traces = [explain(c, scheme, near=0) for c in cases]
    got = [(t.status, t.reason, t.mdc, t.adrg, t.group, t.severity, t.rule) for t in traces]
    assert got == [r[:-1] for r in rows_of(cases, scheme)]
