"""Casemix against a naive one, whole rows; funnel limits against exact fractions; laws; refusals."""

from __future__ import annotations

import json
from decimal import Decimal
from fractions import Fraction
from math import comb
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from naive.casemix import naive_casemix

import grouper
from grouper import CaseFileError, CasemixOptions, TableError, casemix
from grouper._casemix_cases import DIMENSIONS
from grouper._funnel import limits, place
from grouper.cli import cli
from grouper.io import read_cases, read_run
from grouper.testing import make_region

OPTIONS = CasemixOptions(
    weight_bands=[Decimal("0.55555"), Decimal("1.5")], low_risk_least=20, least=400
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A settled run of a region with doctors and patients, in which much is missing."""
    from grouper import _demo

    folder = tmp_path_factory.mktemp("casemix") / "year"
    _demo.make(folder, 3000, "chs-drg-1.1", 4, "point", 1, "en", lambda _, f: f())
    rng = np.random.default_rng(4)
    cases, n = read_cases(folder / "cases.parquet").table, 3000

    def some(values: Any, none: float) -> pa.Array:
        return pa.array(values, mask=rng.random(n) < none)

    put = {
        "doctor_id": some(np.array(["", "甲", "乙", "丙"])[rng.integers(0, 4, n)], 0.1),
        "patient_id": some(np.char.add("P", rng.integers(0, 900, n).astype(str)), 0.1),
        "drug_fen": some(cases["drug_fen"].to_numpy(), 0.2),
        "discharge_mode": some(np.array(["1", "5"])[(rng.random(n) < 0.04).astype(int)], 0.1),
        "discharge_date": some(cases["discharge_date"].to_numpy(), 0.05),
    }
    for name, values in put.items():
        at = cases.schema.get_field_index(name)
        cases = cases.set_column(at, name, values) if at >= 0 else cases.append_column(name, values)
    grouper.write_table(cases, folder / "cases.parquet")
    run = ["run", str(folder / "cases.parquet"), "--scheme", "chs-drg-1.1", "--policy"]
    run += [str(folder / "policy"), "--hospitals", str(folder / "hospitals.csv")]
    from click.testing import CliRunner

    done = CliRunner().invoke(cli, [*run, "-o", str(folder / "run"), "--overwrite"])
    assert done.exit_code == 0, done.output
    return folder


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """The run's rows with what only the cases say."""
    done = read_run(folder / "run").tables["cases"].to_pylist()
    facts = read_cases(folder / "cases.parquet").table.to_pylist()
    return [{**f, **d} for f, d in zip(facts, done, strict=True)]


@pytest.mark.promise("Casemix is that of the plain reader, whole rows")
def test_casemix_is_the_naive_one(made: Path, tmp_path: Path) -> None:
    rows = rows_of(made)
    codes = sorted({c for r in rows for c in r["procedures"]})[::7]
    (tmp_path / "four.csv").write_text("code\n" + "\n".join(codes) + "\n", "utf-8")
    options = OPTIONS.model_copy(update={"level_four": str(tmp_path / "four.csv")})
    found = casemix(made / "run", options=options)["tables"]
    assert found["lacking"]["rows"] == []
    for dimension, column in DIMENSIONS.items():
        if dimension == "level":
            continue
        wanted = naive_casemix(rows, column, options.model_dump(), set(codes))
        wanted = [{dimension: w.pop(column), **w} for w in wanted]
        mine = [{n: r.get(n) for n in wanted[0]} for r in found[f"by_{dimension}"]["rows"]]
        assert mine == wanted
        for name in ("low_risk", "low_risk_deaths"):
            assert sum(r[name] for r in wanted) > 0


def test_totals_are_the_run_s_and_expected_is_observed(made: Path) -> None:
    from grouper._casemix import _rows
    from grouper._casemix_cases import gather, summed

    run = read_run(made / "run")
    base = gather(run, None, OPTIONS)
    whole = {r["group"]: r for r in summed(base, ["group"])}
    cost = sum(x for x in run.tables["cases"]["total_cost_fen"].to_pylist() if x)
    for name in DIMENSIONS:
        rows = _rows(base, name, whole)
        assert sum(r["cases"] for r in rows) == 3000
        assert sum(r["cost_fen"] for r in rows) == cost
        parts = sum(r["groups"] for r in rows)
        for a, b in (("actual_fen", "expected_fen"), ("days_e4", "expected_e4")):
            assert abs(sum(r[a] - r[b] for r in rows)) <= parts / 2


def test_order_of_keys_is_bytewise_and_levels_of_few_cases_merge(made: Path) -> None:
    tables = casemix(made / "run", options=OPTIONS)["tables"]
    ids = [r["hospital"] for r in tables["by_hospital"]["rows"]]
    assert ids == sorted(ids, key=str.encode)
    levels = tables["benchmarks"]["rows"]
    assert all(r["cases"] >= OPTIONS.least for r in levels)
    assert sum(r["cases"] for r in levels) == 3000
    assert "hospital" not in levels[0]


@pytest.mark.parametrize(("n", "rate"), [(1, 0.5), (10, 0.1), (37, 0.02), (200, 0.5), (90, 0.97)])
@pytest.mark.parametrize("outside", [0.05, 0.002])
def test_funnel_limits_are_the_exact_ones(n: int, rate: float, outside: float) -> None:
    p = Fraction(rate)
    chance = [comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)]
    low = next(k for k in range(n + 1) if sum(chance[: k + 1]) > Fraction(outside) / 2)
    high = next(k for k in range(n, -1, -1) if sum(chance[k:]) > Fraction(outside) / 2)
    assert (limits(n, rate, outside).low, limits(n, rate, outside).high) == (low, high)


@pytest.mark.parametrize("far", [0, 2**30])
def test_gaps_between_stays(far: int) -> None:
    """Two patients; a date far out, as broken files have, makes the order too wide for one number."""
    from grouper._casemix_cases import _gaps

    def days(*values: int | None) -> pa.Array:
        return pa.array(values, pa.int32()).cast(pa.date32())

    facts = pa.table(
        {
            "patient_id": ["b", "a", "a", "", "a", "b", "a"],
            "admission_date": days(40, 100, 90, 5, 110, -far, None),
            "discharge_date": days(45, 104, 95, 6, far + 111, 12, 130),
        }
    )
    gap, known = _gaps(facts)
    assert gap.tolist() == [-1, 6, 5, -1, -1, 28, -1]
    assert known.tolist() == [True, True, True, False, True, True, False]


def test_a_place_in_the_funnel() -> None:
    """Of 100 at 10 %: 95 % limits 5 to 16, 99.8 % limits 2 to 20."""
    assert [place(k, 100, 0.1) for k in (1, 2, 4, 5, 16, 17, 20, 21)] == [
        *("very low", "low", "low", "", "", "high", "high", "very high")
    ]
    assert place(0, 0, 0.1) == ""
    assert limits(1_000_000, 0.02, 0.05).high == pytest.approx(20_274, abs=3)


def test_what_lacks_is_named_and_no_figure_made(tmp_path: Path) -> None:
    from grouper import _demo

    _demo.make(tmp_path / "y", 500, "chs-drg-1.1", 1, "point", 1, "en", lambda _, f: f())
    found = casemix(tmp_path / "y" / "run")["tables"]
    lacking = {r["indicator"]: r["needs"] for r in found["lacking"]["rows"]}
    assert lacking["readmissions"] == "patient_id"
    assert lacking["by doctor"] == "doctor_id"
    assert "by_doctor" not in found
    assert not any("readmitted" in n for n in found["by_hospital"]["rows"][0])


def test_refusals(made: Path, tmp_path: Path) -> None:
    with pytest.raises(CaseFileError, match=r"ends in \.html, \.xlsx"):
        casemix(made / "run", output=tmp_path / "x.doc")
    with pytest.raises(CaseFileError, match="not the 3,000 of the run"):
        casemix(made / "run", cases=read_cases(made / "cases.parquet").table.slice(1))
    turned = read_cases(made / "cases.parquet").table.take(list(range(2999, -1, -1)))
    with pytest.raises(CaseFileError, match="in its order"):
        casemix(made / "run", cases=turned)
    (tmp_path / "o.toml").write_text("least = -1\n")
    with pytest.raises(TableError, match="least"):
        casemix(made / "run", options=tmp_path / "o.toml")


def test_the_command_writes_what_it_says(made: Path, tmp_path: Path) -> None:
    pytest.importorskip("xlsxwriter")
    from click.testing import CliRunner
    from python_calamine import CalamineWorkbook

    target = tmp_path / "casemix.xlsx"
    done = CliRunner().invoke(
        cli, ["casemix", str(made / "run"), "-o", str(target), "--json", "--lang", "en"]
    )
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)["tables"]["by_hospital"]["rows"]
    sheet = CalamineWorkbook.from_path(target).get_sheet_by_name("by_hospital").to_python()
    assert sheet[1][0] == told[0]["hospital"]
    assert [r[1] for r in sheet[1 : 1 + len(told)]] == [r["cases"] for r in told]


@pytest.mark.big
def test_indices_rank_hospitals() -> None:
    """Known efficiency comes back: the cost index ranks hospitals as their factors do."""
    from grouper._casemix import _rows
    from grouper._casemix_cases import _base, summed

    region = make_region(150_000, seed=8)
    settled = grouper.settle(grouper.group(region.cases, "chs-drg-1.1"), "example-point")
    base = _base(settled.cases(), region.cases, CasemixOptions())
    rows = _rows(base, "hospital", {r["group"]: r for r in summed(base, ["group"])})
    index = {r["hospital"]: r["actual_fen"] / r["expected_fen"] for r in rows if r["cases"] >= 500}
    truth = factors(60, 8)
    ids = sorted(index)
    a, b = (np.argsort(np.argsort([d[i] for i in ids])) for d in (index, truth))
    assert np.corrcoef(a, b)[0, 1] >= 0.95


def factors(hospitals: int, seed: int) -> dict[str, float]:
    """The factors of cost that `make_region` draws for its hospitals."""
    from numpy.random import PCG64, Generator, SeedSequence

    from grouper import testing
    from grouper._templates import Book, find_templates
    from grouper.tables import load_drg

    seeds = SeedSequence(seed).spawn(len(testing.STREAMS))
    book = Book(load_drg("chs-drg-1.1"))
    stream = (seed, seeds[testing.STREAMS.index("templates")].spawn_key)
    rng = Generator(PCG64(seeds[testing.STREAMS.index("region")]))
    testing._make_rows(find_templates(book, stream), rng)
    places = testing._make_places(hospitals, rng)
    return dict(zip(places.ids, places.log_cost.tolist(), strict=True))


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_the_page_has_the_tables_and_the_funnels(made: Path, tmp_path: Path, lang: Any) -> None:
    pytest.importorskip("matplotlib")
    told = casemix(made / "run", options=OPTIONS, output=tmp_path / "c.html", lang=lang)["tables"]
    page = (tmp_path / "c.html").read_text("utf-8")
    assert page.count("<figure") == 2  # deaths, and those of low risk
    assert ("99.8 % limits" if lang == "en" else "99.8% 界限") in page
    for row in told["by_department"]["rows"]:
        assert row["department"] in page
    casemix(made / "run", options=OPTIONS, output=tmp_path / "d.html", lang=lang)
    assert (tmp_path / "d.html").read_bytes() == (tmp_path / "c.html").read_bytes()
    assert "http" not in page.replace("http://www.w3.org", "").replace("http-equiv", "")
