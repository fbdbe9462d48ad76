"""Laws of DIP matching on the demo's catalogue: order, batches, threads, hostile input."""

from __future__ import annotations

import random
from typing import Any

import pytest
from naive.dip import load_naive_dip
from shared import SHIPPED

from grouper import content_hash, group, load_catalogue
from grouper.testing import hostile_cases, make_region

CATALOGUE = load_catalogue("dip-demo")
CASES = make_region(3000, seed=5).cases
COLUMNS = ("status", "group", "decided_by", "matched_terms", "aux_type", "reason")


def answers(cases: Any) -> list[tuple[Any, ...]]:
    rows = group(cases, CATALOGUE).to_arrow().to_pylist()
    return [tuple(r[c] for c in COLUMNS) for r in rows]


def test_the_order_of_what_is_not_main_does_not_matter() -> None:
    rng = random.Random(3)
    rows = CASES.slice(0, 400).to_pylist()
    turned = []
    for row in rows:
        first, *others = row["diagnoses"]
        procedures = row["procedures"][:1] + rng.sample(
            row["procedures"][1:], len(row["procedures"][1:])
        )
        codes = {"diagnoses": [first, *rng.sample(others, len(others))], "procedures": procedures}
        turned.append(row | codes)
    assert answers(turned) == answers(rows)


def test_one_case_and_a_batch_give_the_same() -> None:
    rows = CASES.slice(0, 50).to_pylist()
    assert [answers([row])[0] for row in rows] == answers(CASES.slice(0, 50))


@pytest.mark.promise("Batch, single case, threads, chunks, row order: the same bytes")
def test_threads_and_row_order_give_the_same_bytes() -> None:
    one, two = (group(CASES, CATALOGUE, threads=t).to_arrow() for t in (1, 2))
    assert content_hash(one) == content_hash(two)
    backwards = CASES.take(list(reversed(range(len(CASES)))))
    assert content_hash(group(backwards, CATALOGUE).to_arrow()) == content_hash(one)


def test_the_demo_catalogue_agrees_with_the_naive_reader() -> None:
    naive = load_naive_dip(SHIPPED / "dip-demo", SHIPPED / "dip-profiles")
    rows = CASES.slice(0, 60).to_pylist()
    found = [naive.group(row) for row in rows]
    assert [(a.status, a.group or None, a.aux_type or None) for a in found] == [
        (r[0], r[1], r[4]) for r in answers(rows)
    ]


@pytest.mark.promise("Every row ends in one status; bad input crashes nothing and loses nothing")
def test_hostile_cases_end_in_one_status_each() -> None:
    cases = hostile_cases()
    grouped = group(cases, CATALOGUE)
    assert sum(grouped.counts().values()) == len(cases)
    assert grouped.counts()["rejected"]
    for row in grouped.to_arrow().to_pylist():
        assert (row["reason"] is None) == (row["status"] == "grouped")
        assert (row["group"] is None) == (row["status"] != "grouped")
