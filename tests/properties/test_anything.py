"""Laws over anything: cases of any JSON values, schemes with one broken cell, policies of any settings."""

from __future__ import annotations

import atexit
import csv
import random
import shutil
import tempfile
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracle.draw_year import draw_year
from oracle.draw_year_cases import case_table, hospital_table, ledger_table
from tiny import tiny_scheme

from grouper import (
    CaseSchemaError,
    GrouperError,
    TableError,
    content_hash,
    group,
    load_scheme,
    settle,
)
from grouper._grouping import CASE_TYPES
from grouper._writing import RUN_KEYS
from grouper.tables import check

pytestmark = pytest.mark.promise(
    "Whatever the bytes: an answer for every row, or a refusal that says why"
)

# --------------------------------------------------------------------------------------------- cases

NUMBERS = st.integers(-(2**70), 2**70) | st.floats() | st.integers(-2, 160)
LEAVES = st.none() | st.booleans() | NUMBERS | st.text(max_size=8)
CODES = st.sampled_from(["dx", "px", "cc", "", " dx", "DX", "?", "ＤＸ"])
JSON = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=5,
)
NAMES = st.sampled_from([*CASE_TYPES, "input_fault", "principals", "admission_date", "group"])
ANYTHING = st.dictionaries(NAMES | st.text(max_size=6), JSON, max_size=14)
LIKELY = st.fixed_dictionaries(
    {
        "case_id": st.none() | st.text(max_size=4),
        "sex": st.none() | st.integers(-1, 9),
        "age": st.none() | NUMBERS,
        "diagnoses": st.none() | st.lists(st.none() | CODES | st.text(max_size=5), max_size=5),
        "procedures": st.none() | st.lists(st.none() | CODES, max_size=5),
    },
    optional={
        "age_days": st.none() | st.integers(-1, 400),
        "los": st.none() | NUMBERS,
        "birth_weight": st.none() | st.integers(-1, 30_000),
        "discharge_mode": st.none() | st.text(max_size=2),
        "admission_date": st.none() | st.dates(),
        "discharge_date": st.none() | st.datetimes(),
        "total_cost_fen": st.none() | st.integers(-(2**63), 2**63),
        "input_fault": st.none() | LEAVES,
    },
)


def tried(kind: Any, work: Callable[[], Any]) -> tuple[Any, Any]:
    """Return the answer, or the refusal."""
    try:
        return work(), None
    except kind as e:
        return None, e


@cache
def folder_of(kind: str) -> Path:
    """Return a scheme that tests do not change."""
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return tiny_scheme(
        Path(folder) / kind,
        mdc=(("MDCA", "ZYZD in DX"), ("MDCB", "ZYZD in OTHER")),
        adrg=(("AA1", "ZYSS in PX"), ("AB1", "NL < 18"), ("AC1", ""), ("BA1", "")),
        drg=(("AA11", "QTZD in CC"), ("AA19", ""), ("AB19", ""), ("AC19", ""), ("BA19", "")),
        sets={"DX": ["dx", "dy"], "OTHER": ["do"], "PX": ["px", "q"]},
        cc=(("cc", "CC", "EX_0"), ("mc", "MCC", "")),
        exclusions={"EX_0": ["dy"]},
    )


@cache
def whole() -> Any:
    return load_scheme(folder_of("whole"))


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(ANYTHING | LIKELY, max_size=4) | ANYTHING)
def test_cases_of_any_values_have_one_status_each_or_are_refused(given: Any) -> None:
    n = 1 if isinstance(given, dict) else len(given)
    found, refusal = tried(CaseSchemaError, lambda: group(given, whole()))
    if refusal is not None:
        assert refusal.faults
        return
    status = found.to_arrow()["status"].to_pylist()
    assert len(status) == n == sum(found.counts().values())
    assert set(status) <= {"grouped", "ambiguous", "ungrouped", "rejected"}


@settings(max_examples=200)
@given(LIKELY)
def test_likely_cases_are_answered_or_refused_for_a_column(case: dict[str, Any]) -> None:
    found, refusal = tried(CaseSchemaError, lambda: group(case, whole()))
    if refusal is not None:
        assert all(f.startswith(("column '", "the table has")) for f in refusal.faults)
        return
    (row,) = found.to_arrow().to_pylist()
    assert row["case_id"] == case["case_id"]
    assert (row["group"] is None) == (row["status"] in ("ungrouped", "rejected"))
    assert (row["reason"] is None) == (row["status"] in ("grouped", "ambiguous"))


# -------------------------------------------------------------------------------------------- tables

JUNK = ["", "nope", "x", "ZYZD in", "NL <", "²", "\x00", "(", "-1", "1e5", "例", "'", " in DX"]
RULE_FAULTS = [
    "ZYZD in",
    "NL < x",
    "(1",
    "ZYSS in NO_SUCH_SET",
    "0 1",
    "and",
    "NL < 99999999999",
    "²",
]
BREAKS: dict[tuple[str, str], list[str]] = {
    ("mdc", "code"): [""],
    ("mdc", "rule"): RULE_FAULTS,
    ("mdc", "sort"): ["", "x", "-1", "1.5", "𐩀", "①½", "9" * 5000],
    ("adrg", "code"): [""],
    ("adrg", "rule"): RULE_FAULTS,
    ("adrg", "mdc"): ["", "nope"],
    ("drg", "code"): [""],
    ("drg", "rule"): RULE_FAULTS,
    ("drg", "adrg"): ["", "nope"],
    ("drg", "mdc"): ["nope"],
    ("cc", "type"): ["", "XX", "cc"],
    ("cc", "exclusion"): ["EX_NONE"],
}


def with_cell(folder: Path, table: str, row: int, column: str, cell: str) -> None:
    """Copy the whole scheme and change one cell of it."""
    folder.mkdir()
    for path in folder_of("whole").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    with (folder / f"{table}.csv").open(encoding="utf-8", newline="") as f:
        rows = list(csv.reader(f))
    rows[row][rows[0].index(column)] = cell
    with (folder / f"{table}.csv").open("w", encoding="utf-8", newline="") as f:
        csv.writer(f, lineterminator="\n").writerows(rows)


@pytest.mark.parametrize(("table", "column"), BREAKS)
def test_a_broken_cell_is_refused_with_its_file_and_row(
    table: str, column: str, tmp_path: Path
) -> None:
    with (folder_of("whole") / f"{table}.csv").open(encoding="utf-8") as f:
        n = len(f.readlines())
    for row in range(1, n):
        for k, cell in enumerate(BREAKS[table, column]):
            folder = tmp_path / f"{row}-{k}"
            with_cell(folder, table, row, column, cell)
            with pytest.raises(TableError) as e:
                load_scheme(folder)
            assert (e.value.file, e.value.row) == (f"{table}.csv", row + 1), (cell, str(e.value))
            assert any(f.severity == "error" for f in check(folder))


@settings(max_examples=150)
@given(st.data())
def test_a_cell_of_any_text_is_read_or_refused(data: st.DataObject) -> None:
    table = data.draw(st.sampled_from(["mdc", "adrg", "drg", "sets", "cc", "exclusions"]))
    with (folder_of("whole") / f"{table}.csv").open(encoding="utf-8", newline="") as f:
        rows = list(csv.reader(f))
    row = data.draw(st.integers(0, len(rows) - 1))
    column = data.draw(st.sampled_from(rows[0]))
    signs = st.characters(exclude_categories=["Cs"])
    cell = data.draw(st.sampled_from(JUNK) | st.text(signs, max_size=12))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "s"
        with_cell(folder, table, row, column, cell)
        check(folder)
        scheme, refusal = tried(TableError, lambda: load_scheme(folder))
        if refusal is not None:
            assert (folder / refusal.file).exists()
            return
        found = group(
            {"case_id": "1", "sex": 1, "age": 3, "diagnoses": ["dx"], "procedures": []}, scheme
        )
        assert sum(found.counts().values()) == 1


# ------------------------------------------------------------------------------------------ policies


@settings(max_examples=25)
@given(seed=st.integers(1000, 10**6), order=st.randoms(), cuts=st.integers(1, 9))
def test_any_policy_keeps_the_money_and_does_not_see_order_or_chunks(
    seed: int, order: random.Random, cuts: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        d = draw_year(seed, Path(folder), n=40)
        cases = order.sample(d.cases, len(d.cases))
        step = -(-len(cases) // cuts)
        mixed = case_table(cases)
        cut = pa.concat_tables([mixed.slice(k, step) for k in range(0, len(cases), step)])
        lists = [order.sample(rows, len(rows)) for rows in (d.hospitals, d.ledger)]
        answers = []
        for table, hospitals, ledger, threads in (
            (case_table(d.cases), d.hospitals, d.ledger, 1),
            (cut, *lists, 2),
        ):
            parts = {"hospitals": hospital_table(hospitals), "ledger": ledger_table(ledger)}
            work = partial(settle, table, d.path, threads=threads, **parts)
            answers.append(tried(GrouperError, work))
    (once, refused), (again, refused_again) = answers
    if refused is not None:
        assert refused.code == getattr(refused_again, "code", "") != "E900"
        return
    hashes = [
        {name: content_hash(t, key=RUN_KEYS[name]) for name, t in x.tables().items()}
        for x in (once, again)
    ]
    assert hashes[0] == hashes[1]
    terms = (
        "payable",
        "undistributed",
        "withheld_cap",
        "withheld_assessment",
        "withheld_deduction",
    )
    for p in once.pools().to_pylist():
        right = sum(
            p[f"{t}_fen"] for t in (*terms, "next_year", "balance", "outside", "reserve_kept")
        )
        assert p["budget_fen"] + p["drawn_fen"] == right
