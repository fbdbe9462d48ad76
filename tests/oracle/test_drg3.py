"""CHS-DRG 3.0: every published rule, on made-up code tables; the kernel is the naive reader."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cache
from itertools import islice
from typing import Any

import pytest
from drg3 import Tables, candidates, make_tables, reach, read_rows, write_scheme
from naive import NaiveScheme
from naive.rules import parse as naive_parse
from oracle.draw_drg3 import draw
from shared import shared
from tiny import of_kernel, of_oracle

from grouper import DrgScheme, group, load_drg
from grouper.tables import check, parse, text_of

pytestmark = pytest.mark.promise("DRG groups are those of the plain reader, whole rows")

N = 40_000
"""Random cases here; `scripts/compare_drg3` draws a million."""


@pytest.fixture(scope="module")
def rules() -> Any:
    return shared("facts/drg_3_0")


@cache
def tables() -> Tables:
    return make_tables(shared("facts/drg_3_0"))


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory, rules: Any) -> tuple[DrgScheme, NaiveScheme]:
    folder = write_scheme(tmp_path_factory.mktemp("drg3") / "s", rules)
    return load_drg(folder), NaiveScheme.load(folder)


def rows_of(cases: Sequence[dict[str, Any]], scheme: DrgScheme) -> list[int | None]:
    """Return the row of drg.csv that each case lands in."""
    numbered = [{**c, "case_id": str(k)} for k, c in enumerate(cases)]
    found = group(numbered, scheme).drg.drg
    return [scheme.drgs[d].line - 2 if d >= 0 else None for d in found]


@pytest.fixture(scope="module")
def reached(both: tuple[DrgScheme, NaiveScheme]) -> dict[int, dict[str, Any]]:
    return dict(reach(tables(), lambda cases: rows_of(cases, both[0])))


def test_every_published_rule_parses_and_is_written_back(rules: Any) -> None:
    sizes = {}
    for name in ("mdc", "adrg", "drg"):
        rows = read_rows(rules / f"{name}.csv")
        sizes[name] = len(rows)
        for row in rows:
            tree = parse(row["rule"])
            assert parse(text_of(tree)) == tree
            naive_parse(row["rule"])
    assert sizes == {"mdc": 26, "adrg": 537, "drg": 870}


def test_the_whole_scheme_loads(both: tuple[DrgScheme, NaiveScheme]) -> None:
    s = both[0]
    assert (len(s.mdcs), len(s.adrgs), len(s.drgs)) == (26, 537, 870)
    assert len(s.sets) == len(tables().codes())
    assert Counter(f.code for f in check(s.folder))["L101"] == 0


def test_every_drg_is_reached_by_kernel_and_oracle(
    both: tuple[DrgScheme, NaiveScheme], reached: dict[int, dict[str, Any]]
) -> None:
    scheme, naive = both
    assert sorted(reached) == list(range(870))
    for row, given in reached.items():
        answer = naive.group({**given, "case_id": "x"})
        assert (answer.drg_row, answer.group) == (row + 2, tables().drg[row][0])
    cases = [reached[k] for k in sorted(reached)]
    assert of_kernel(cases, scheme) == [of_oracle(naive.group(c)) for c in cases]


def test_a_group_whose_own_rule_never_holds_is_not_reached(
    both: tuple[DrgScheme, NaiveScheme],
) -> None:
    """The search says so of a row that cannot be: it does not find what is not there."""
    t = tables()
    row = next(k for k, r in enumerate(t.drg) if r[2] == "QTZD in MCC")
    wrong = [c for c in islice(candidates(t, row), 5) if not set(c["diagnoses"]) & {"M0"}]
    assert wrong == []
    without = [
        {**c, "diagnoses": [d for d in c["diagnoses"] if d != "M0"]} for c in candidates(t, row)
    ]
    assert row not in rows_of(without[:5], both[0])


@pytest.mark.big
def test_random_cases_agree_on_whole_rows(
    both: tuple[DrgScheme, NaiveScheme], reached: dict[int, dict[str, Any]]
) -> None:
    scheme, naive = both
    cases = list(draw(tables(), [reached[k] for k in sorted(reached)], 11, N))
    found = of_kernel(cases, scheme)
    assert found == [of_oracle(naive.group(c)) for c in cases]
    statuses = Counter(a.status for a in found)
    assert min(statuses[s] for s in ("grouped", "ambiguous", "ungrouped", "rejected")) > 100
    assert len({a.group for a in found}) > 800
