"""Weights against naive ones, whole rows; a golden case by hand; laws; known weights come back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from naive.weights import log2, naive_weights

import grouper
from grouper import CaseFileError, CaseSchemaError, DrgOptions, TableError, calibrate
from grouper.kernels import logs
from grouper.tables import DrgScheme, load_drg
from grouper.testing import make_region

SCHEME = "chs-drg-1.1"
LEVELS = ("三级", "二级", "")


@cache
def scheme() -> DrgScheme:
    return load_drg(SCHEME)


@cache
def drawn(seed: int, n: int = 4000) -> pa.Table:
    """Cases of three years whose costs now and then are far out, in some 150 large and small groups."""
    region = make_region(n, seed=seed)
    rng = np.random.default_rng(seed)
    cost = (
        region.cases["total_cost_fen"].to_numpy()
        * rng.choice([1, 1, 1, 1, 40], n)
        // rng.choice([1, 1, 1, 1, 30], n)
    )
    days = np.array(["2023-05-01", "2024-05-01", "2025-05-01"], "datetime64[D]")
    put = {
        "total_cost_fen": pa.array(np.maximum(cost, 1)),
        "settlement_date": pa.array(days[rng.choice(3, n, p=[0.3, 0.3, 0.4])]),
        "hospital_level": pa.array(np.array(LEVELS)[rng.choice(3, n)]),
    }
    table = region.cases
    for name, values in put.items():
        table = table.set_column(table.schema.get_field_index(name), name, values)
    return table


def rank(code: str) -> int | None:
    """The severity of a group by the text of its rule."""
    [text] = [r.text for r in scheme().drgs if r.code == code]
    kinds: dict[str, int] = {"QTZD in MCC": 2, "QTZD in {MCC, CC}": 1, "QTZD in CC": 1, "1": 0}
    return kinds[text]


CHOICES: list[dict[str, Any]] = [
    {},
    {"trim": "iqr", "stable": "geometric", "year_weights": [5, 1]},
    {"trim": "mean_sd", "trim_value": Decimal("1.5"), "small": ["parent"], "least": 12},
    {"trim": "mean_log_sd", "trim_value": Decimal("1.2"), "unstable": "geometric"},
    {"trim": "edges", "trim_edges": [Decimal("0.4"), Decimal(2)], "neutral": "none"},
    {"trim": "none", "neutral": "previous", "small": ["previous"], "weight_decimals": 2},
    {"trim": "none", "keep_order": False, "stable_cv": Decimal("0.5"), "small": []},
    {
        "trim_value": Decimal(10),
        "stable_above": 15,
        "stable": "median",
        "year_weights": [1, 1, 1, 1],
    },
]


@pytest.mark.promise("Measured weights are those of the plain reader, to the byte")
@pytest.mark.parametrize("k", range(len(CHOICES)))
def test_weights_are_the_naive_ones(k: int, tmp_path: Path) -> None:
    options = DrgOptions(year_by="settlement_date", **CHOICES[k])
    cases = drawn(k + 1)
    codes = [r.code for r in scheme().drgs]
    old = {c: Fraction(j % 7 + 1, 4) for j, c in enumerate(codes) if j % 5}
    lines = [f"{c},{float(w)}" for c, w in old.items()]
    (tmp_path / "weights.csv").write_text("\n".join(["group,weight", *lines]) + "\n", "utf-8")
    found = calibrate(cases, "drg", base=scheme(), options=options, previous=tmp_path)

    grouped = grouper.group(cases, scheme()).to_arrow().to_pylist()
    first = 2026 - len(options.year_weights)
    given = [
        (r["group"], c["total_cost_fen"], c["settlement_date"].year - first)
        for r, c in zip(grouped, cases.to_pylist(), strict=True)
        if r["status"] == "grouped" and c["settlement_date"].year >= first
    ]
    groups = [(r.code, scheme().adrgs[r.parent].code, rank(r.code)) for r in scheme().drgs]
    plain = options.model_dump()
    usual = {"percentile": "2.5", "iqr": "1.5", "mean_sd": "3", "mean_log_sd": "3"}
    value = options.trim_value or Decimal(usual.get(options.trim, "0"))
    low, high = options.trim_edges
    plain |= {"trim_value": Fraction(value), "trim_edges": (Fraction(low), Fraction(high))}
    plain["stable_cv"] = Fraction(options.stable_cv)
    rows, total, target = naive_weights(given, groups, plain, old)
    measured = found.weights.to_pylist()
    assert [{n: r[n] for n in rows[0]} for r in measured] == rows
    assert Fraction(found.report["weight_total"]) == total
    if options.neutral != "none":
        assert Fraction(found.report["weight_target"]) == round(target, options.weight_decimals)
    kinds = {r["method"] for r in rows} | {r["rule"] for r in rows}
    assert len(kinds) >= 3  # every draw meets several ways


@pytest.mark.parametrize("x", [1, 2, 3, 4, 5, 99, 100, 1023, 1024, 123_456_789, 10**12 - 1, 10**12])
def test_logarithms_are_the_naive_ones(x: int) -> None:
    off, packed = np.array([0, 1]), np.array([x << 2])
    years, squares = np.zeros((1, 4, 2), np.int64), np.zeros((1, 2), np.int64)
    logs.add_logs(off, packed, np.array([[0, 10**13]]), years, squares)
    wanted = log2(x)
    assert years[0, 0].tolist() == [1, wanted]
    assert (int(squares[0, 0]) << 22) + int(squares[0, 1]) == wanted**2
    assert wanted / 2**20 == pytest.approx(np.log2(x), abs=1e-5)


def by_hand(**columns: Sequence[Any]) -> pa.Table:
    """Cases with and without a severe complication; costs in yuan."""
    n = len(columns["cost"])
    return pa.table(
        {
            "case_id": pa.array([str(k) for k in range(n)]),
            "sex": pa.array([1] * n, pa.int8()),
            "age": pa.array([50] * n, pa.int16()),
            "los": pa.array(columns.get("los", [5] * n), pa.int16()),
            "hospital_level": pa.array(columns.get("level", ["三级"] * n)),
            "diagnoses": pa.array(list(columns["diagnoses"])),
            "procedures": pa.array([[]] * n, pa.list_(pa.string())),
            "total_cost_fen": pa.array([c * 100 for c in columns["cost"]], pa.int64()),
        }
    )


def test_a_golden_case_by_hand() -> None:
    """Six and six stays: means 1,000 and 2,000 yuan, so 2/3 and 4/3 of the mean 1,500."""
    plain, severe = ["J18.900"], ["J18.900", "I50.900"]
    two = grouper.group(by_hand(cost=[1, 1], diagnoses=[plain, severe]), scheme())
    codes = [r["group"] for r in two.to_arrow().to_pylist()]
    assert codes[0] != codes[1]
    cost = [900, 1000, 1000, 1000, 1000, 1100, 1900, 2000, 2000, 2000, 2000, 2100]
    cases = by_hand(cost=cost, diagnoses=[plain] * 6 + [severe] * 6, los=[2] * 6 + [4] * 6)
    found = calibrate(cases, "drg", base=scheme(), options=DrgOptions(trim="none"))
    row = {r["group"]: r for r in found.weights.to_pylist()}
    light, heavy = (row[c] for c in codes)
    assert (light["weight"], heavy["weight"]) == ("0.6667", "1.3333")
    assert (light["mean_cost"], light["n"], light["kept"]) == ("1000.00", "6", "6")
    # sd = √(20,000 / 5) = 63.25 yuan; CV 0.0632; 1.96 · 63.2456 / √6 = 50.61 yuan
    assert (light["cv"], light["ci_low"], light["ci_high"]) == ("0.0632", "949.39", "1050.61")
    # SST = 40,000 + 12·500² = 3,040,000; SSW = 40,000
    assert found.report["r2_cost"] == "0.9868"
    assert found.report["r2_los"] == "1.0000"
    assert found.report["weight_total"] == "12.0000"
    assert found.levels.to_pylist()[0]["coefficient"] == "1.0000"


def test_the_order_of_severity_is_kept() -> None:
    """With CC cheaper than without: both get the mean of all twelve."""
    plain, severe = ["J18.900"], ["J18.900", "I50.900"]
    cases = by_hand(cost=[2000] * 6 + [1000] * 6, diagnoses=[plain] * 6 + [severe] * 6)
    kept = calibrate(cases, "drg", base=scheme()).weights.to_pylist()
    rows = [r for r in kept if r["n"] != "0"]
    assert [(r["weight"], r["ordered"]) for r in rows] == [("1.0000", "1")] * 2
    free = calibrate(cases, "drg", base=scheme(), options=DrgOptions(keep_order=False))
    found = [r["weight"] for r in free.weights.to_pylist() if r["n"] != "0"]
    assert sorted(found) == ["0.6667", "1.3333"]
    [advice] = [r for r in free.adrgs.to_pylist() if r["n"] == "12"]
    assert advice["advice"] == "merge"


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_residual_is_bounded_and_order_holds(seed: int) -> None:
    found = calibrate(drawn(seed), "drg", base=scheme())
    assert abs(Fraction(found.report["residual"])) <= Fraction(found.report["residual_bound"])
    weight = {r["group"]: r["weight"] for r in found.weights.to_pylist()}
    for adrg in scheme().adrgs:
        members = [r.code for r in scheme().drgs if scheme().adrgs[r.parent].code == adrg.code]
        ranked = sorted((-(rank(c) or 0), c) for c in members)
        values = [Fraction(weight[c]) for _, c in ranked if weight[c]]
        assert values == sorted(values, reverse=True)


def test_order_of_rows_pieces_and_threads_change_nothing(tmp_path: Path) -> None:
    cases = drawn(2)
    whole = calibrate(cases, "drg", base=scheme(), threads=1)
    grouper.write_table(
        cases.take(np.random.default_rng(1).permutation(len(cases))), tmp_path / "c.parquet"
    )
    turned = calibrate([tmp_path / "c.parquet"], "drg", base=scheme(), threads=2)
    assert turned.weights.equals(whole.weights)
    assert turned.adrgs.equals(whole.adrgs)
    assert turned.levels.equals(whole.levels)
    assert turned.report["r2_los"] == whole.report["r2_los"]


def test_every_case_counts_or_says_why() -> None:
    cases = drawn(1, 1000)
    cost = cases["total_cost_fen"].to_numpy().copy()
    cost[:7], cost[7:9] = 0, 10**12
    cases = cases.set_column(
        cases.schema.get_field_index("total_cost_fen"), "total_cost_fen", pa.array(cost)
    )
    report = calibrate(pa.concat_tables([cases, cases.slice(500, 1)]), "drg", base=scheme()).report
    assert report["cases"] == 1001
    assert report["left_out"]["rejected"] == 2  # both of the repeated id
    assert report["left_out"]["no_cost"] == 7
    assert report["left_out"]["cost_out_of_range"] == 2
    assert report["counted_cases"] + sum(report["left_out"].values()) == 1001


def test_what_changed_and_why(tmp_path: Path) -> None:
    found = calibrate(drawn(1), "drg", base=scheme())
    found.write(tmp_path / "old")
    again = calibrate(drawn(1), "drg", base=scheme(), previous=tmp_path / "old")
    assert again.report["changes"] == {"new": 0, "dropped": 0, "weight": 0}
    table = tmp_path / "old" / "weights.csv"
    header, first, *rest = table.read_text("utf-8").splitlines()
    table.write_text("\n".join([header, "ZZ99" + first[4:], *rest]) + "\n", "utf-8")
    changed = calibrate(drawn(3), "drg", base=scheme(), previous=table)
    kinds = {r["change"] for r in changed.weights.to_pylist()}
    assert kinds >= {"new", "dropped", "weight"}
    assert all(r["why"] for r in changed.weights.to_pylist() if r["change"])


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(CaseSchemaError, match="base"):
        calibrate(drawn(1), "drg")  # type: ignore[call-overload]
    with pytest.raises(CaseFileError, match="neutral"):
        calibrate(drawn(1), "drg", base=scheme(), options=DrgOptions(neutral="previous"))
    with pytest.raises(TableError, match="no case counts"):
        calibrate(drawn(1).drop_columns(["total_cost_fen"]), "drg", base=scheme())
    (tmp_path / "o.toml").write_text('trim = "sometimes"\n')
    with pytest.raises(TableError, match="trim"):
        calibrate(drawn(1), "drg", base=scheme(), options=tmp_path / "o.toml")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("dear")
    with pytest.raises(CaseFileError, match="holds files"):
        calibrate(drawn(1), "drg", base=scheme()).write(tmp_path / "full", overwrite=True)


def test_written_weights_are_a_policy_s_table(tmp_path: Path) -> None:
    from grouper.tables._policy_files import read_weights

    found = calibrate(drawn(1), "drg", base=scheme())
    found.write(tmp_path / "w")
    read = read_weights(tmp_path / "w" / "weights.csv")
    for row in found.weights.to_pylist():
        weight = read[row["group"]].weight
        assert weight == (Fraction(row["weight"]) if row["weight"] else None)
    assert json.loads((tmp_path / "w" / "report.json").read_text("utf-8"))["scheme"] == SCHEME


def recovered(n: int, seed: int) -> tuple[list[float], float]:
    """Return errors of the weights of groups of 100 cases and more, and the share within two errors.

    Both tables are scaled to the same total, as weights are relative. The median lies under the mean of
    a skewed group, so all groups are measured by their mean.
    """
    region = make_region(n, seed=seed)
    options = DrgOptions(trim="none", unstable="arithmetic", keep_order=False, weight_decimals=6)
    cases = region.cases
    days = cases["discharge_date"].to_numpy() - (np.arange(n) % 3) * np.timedelta64(365, "D")
    cases = cases.set_column(
        cases.schema.get_field_index("discharge_date"), "discharge_date", pa.array(days)
    )
    rows = calibrate(cases, "drg", base=scheme(), options=options).weights.to_pylist()
    truth = {r["group"]: float(r["weight"]) for r in region.weights.to_pylist() if r["weight"]}
    found = [r for r in rows if int(r["kept"]) >= 100]
    size = np.array([int(r["kept"]) for r in found])
    seen = np.array([float(r["weight"]) for r in found])
    known = np.array([truth[r["group"]] for r in found])
    known *= (seen * size).sum() / (known * size).sum()
    half = np.array([float(r["ci_high"]) - float(r["ci_low"]) for r in found]) / 2 / 1.96
    error = half / np.array([float(r["mean_cost"]) for r in found])
    off = seen / known - 1
    return list(np.abs(off)), float(np.mean(np.abs(off) <= 2 * error))


@pytest.mark.big
@pytest.mark.promise("Known weights of a synthetic region come back")
def test_known_weights_come_back() -> None:
    errors, within = recovered(3_000_000, 5)
    assert len(errors) > 300
    assert median(errors) < 0.02
    assert within >= 0.95
