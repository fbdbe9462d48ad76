"""Calibration against a naive one, whole rows; the real Brazilian discharges; the laws of order."""

from __future__ import annotations

import csv
import gzip
import random
from collections import Counter
from datetime import date
from fractions import Fraction
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from naive.calibrate import COLUMNS, STATISTICS, clean_cases, core_rows, naive_calibrate
from shared import shared

from grouper import CaseSchemaError, DipOptions, TableError, calibrate, group, load_catalogue
from grouper._grouping import as_table

pytestmark = pytest.mark.promise("A calibrated catalogue is that of the plain one, to the byte")

COMPARED = [c for c in (*COLUMNS, *STATISTICS) if c != "name"]
CLASSES = (
    "code,class\n02*,诊断性操作\n03*,治疗性操作\n04*,手术\n05*,手术\n"
    "47.0100,手术\n54.2100,诊断性操作\n88.7600,诊断性操作\n"
)
EXCLUSIONS = (
    "side,code,handling,diagnoses\ndiagnosis,Z99.901,excluded,\nprocedure,99.2800,conservative,\n"
    "procedure,00.3101,not_main,\nprocedure,92.2000,main_only_with,C34\n"
)


def draw(seed: int) -> list[dict[str, Any]]:
    """Draw three years of a small region: few codes, so that every threshold is met and missed."""
    rng = random.Random(seed)
    years = rng.choice([(2023, 2024, 2025), (2023, 2025), (2021, 2024, 2025), (2025,)])
    dx = ["K35.300", "K35.301", "K35.900x001", "I21.001", "I21.002", "N18", "N18.900", "C34.900"]
    px = ["36.0600", "88.5500", "00.2401", "47.0100", "54.2100", "99.2800", "00.3101", "92.2000"]
    cases = []
    for k in range(rng.randrange(300, 700)):
        codes = rng.choices(
            [[], [rng.choice(px)], rng.sample(px, 2), rng.sample(px, 3)], [3, 4, 4, 1]
        )[0]
        cost = rng.choice((50_000, 100_000, 110_000, 120_000)) * rng.randrange(
            1, 4
        ) + rng.randrange(3)
        case = {
            "case_id": str(k) if rng.random() < 0.98 else "0",
            "sex": 1,
            "age": rng.choice((30, 60, 999)) if rng.random() < 0.02 else 50,
            "age_days": None,
            "birth_weight": None,
            "admission_weight": None,
            "los": 3,
            "icu_hours": None,
            "discharge_mode": None,
            "diagnoses": [rng.choice([*dx, *dx, "Z99.901"]), "I10.x00"],
            "procedures": codes,
            "total_cost_fen": rng.choices([cost, 0, None, 10**12], [97, 1, 1, 1])[0],
            "discharge_date": date(rng.choice(years), 6, 1) if rng.random() < 0.98 else None,
        }
        cases.append(case)
    return cases


OPTIONS: list[dict[str, Any]] = [
    {"threshold": 3},
    {"threshold": 2, "trim": "iqr", "score_scale": 100, "score_decimals": 2},
    {"threshold": 4, "trim": "mean_sd", "trim_value": 1, "mixed_threshold": 2},
    {"coverage": "0.8", "trim": "none", "score_scale": 0, "score_decimals": 0},
    {"coverage": "0.95", "trim": "percentile", "trim_value": "10", "year_weights": [1, 3]},
    {"threshold": 1, "related_rise": "0", "mixed": False},
]


def texts(table: pa.Table) -> list[dict[str, str]]:
    return [{c: r[c] for c in COMPARED} for r in table.to_pylist()]


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "exclusions.csv").write_text(EXCLUSIONS, "utf-8")
    (tmp_path / "classes.csv").write_text(CLASSES, "utf-8")
    named = {"exclusions": tmp_path / "exclusions.csv", "procedure_class": tmp_path / "classes.csv"}
    return {k: str(p) for k, p in named.items()}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_catalogues_equal_the_naive_ones(
    options: dict[str, Any], seed: int, files: dict[str, Any]
) -> None:
    cases = draw(seed)
    naive = naive_calibrate(cases, {**options, **files})
    found = calibrate(cases, "dip", options=DipOptions(**options, **files))
    assert found.report["left_out"] == naive.left_out
    assert found.report["threshold_cases"] == naive.threshold
    assert (found.report["core_groups"], found.report["mixed_groups"]) == (naive.core, naive.mixed)
    expected = [{c: r[c] for c in COMPARED} for r in naive.groups]
    for got, row in zip(texts(found.groups), expected, strict=True):
        assert got == row


def test_the_draw_meets_every_corner(files: dict[str, Any]) -> None:
    left: Counter[str] = Counter()
    related = 0
    for seed in range(8):
        cases, why = clean_cases(draw(seed), {"year_weights": [1, 2, 7], **files})
        left.update(why)
        related += sum(bool(r["related"]) for r in core_rows(cases, {"threshold": 3})[0])
    reasons = ("rejected", "no_cost", "cost_out_of_range", "no_date", "excluded_principal")
    assert all(left[r] for r in (*reasons, "outside_years"))
    assert related


def test_order_pieces_and_threads_do_not_matter(tmp_path: Path, files: dict[str, Any]) -> None:
    cases = draw(7)
    options = DipOptions(threshold=2, **files)
    calibrate(cases, "dip", options=options).write(tmp_path / "one", id="x")
    shuffled = random.Random(1).sample(cases, len(cases))
    table = as_table(shuffled)
    pq.write_table(table.slice(0, 200), tmp_path / "a.parquet", row_group_size=37)
    pq.write_table(table.slice(200), tmp_path / "b.parquet", row_group_size=50)
    paths = [tmp_path / "b.parquet", tmp_path / "a.parquet"]
    for k, threads in enumerate((1, 2)):
        found = calibrate(paths, "dip", options=options, threads=threads)
        found.write(tmp_path / f"more{k}", id="x")
        for name in ("groups.csv", "scheme.toml", "report.json", "changes.csv"):
            assert (tmp_path / f"more{k}" / name).read_bytes() == (
                tmp_path / "one" / name
            ).read_bytes()


def test_the_worked_numbers_of_related_procedures() -> None:
    """I21.0 with a stent: angiography + 2.91 % opens no group, IVUS + 56.97 % does."""
    means = {(): 28_033, ("88.5500",): 28_849, ("00.2401",): 44_003}
    rises = [Fraction(m, 28_033) - 1 for m in means.values()]
    assert [f"{float(r):.2%}" for r in rises[1:]] == ["2.91%", "56.97%"]
    cases = [
        {"case_id": f"{k}-{j}", "sex": 1, "age": 60, "diagnoses": ["I21.001"]}
        | {"procedures": ["36.0600", *related], "total_cost_fen": 100 * yuan}
        for k, (related, yuan) in enumerate(means.items())
        for j in range(20)
    ]
    found = calibrate(cases, "dip", options=DipOptions(mixed=False, trim="none")).groups.to_pylist()
    assert [(r["code"], r["n"]) for r in found] == [
        ("I21.0:36.0600", "40"),
        ("I21.0:36.0600+00.2401", "20"),
    ]


def test_odd_codes_found_no_group_of_another_code() -> None:
    codes = ["?", "A41|", "K35.3+", "😀", "*", "C00-C75", "=A41", "A41"]
    cases = [
        {"case_id": f"{k}", "sex": 1, "age": 60, "diagnoses": [code], "procedures": ["1+2", "*"]}
        | {"total_cost_fen": 1000}
        for k, code in enumerate(codes)
    ]
    found = calibrate(cases, "dip", options=DipOptions(threshold=1)).groups.to_pylist()
    keys = {r["principal"] for r in found}
    assert keys <= {"=A41", "A41", "K35", "K35.3", "C00"}
    assert all(int(r["n"]) > 0 for r in found)


def test_too_few_cases_are_refused_with_the_cure() -> None:
    case = {"case_id": "1", "sex": 1, "age": 60, "diagnoses": ["A41.9"], "procedures": []}
    for cost in (None, 1000):
        with pytest.raises(TableError, match="lower the threshold or add years"):
            calibrate([case | {"total_cost_fen": cost}], "dip")
    with pytest.raises(CaseSchemaError, match="calibration knows dip"):
        calibrate([case], "icd")  # type: ignore[call-overload]


def test_a_rise_of_exactly_ten_percent_opens() -> None:
    def cases(yuan: int) -> list[dict[str, Any]]:
        return [
            {"case_id": f"{k}", "sex": 1, "age": 60, "diagnoses": ["I21.001"]}
            | {"procedures": ["36.0600", "88.5500"][: 1 + k % 2]}
            | {"total_cost_fen": 1000 if k % 2 == 0 else yuan}
            for k in range(40)
        ]

    for yuan, groups in ((1099, 1), (1100, 2)):
        found = calibrate(cases(yuan), "dip", options=DipOptions(mixed=False))
        assert found.groups.num_rows == groups


# ---------------------------------------------------------------------------------------- real cases


def brazil() -> list[dict[str, Any]]:
    """Read 10,000 discharges; infants of age 0 have no days of age there: 300 stands in."""
    with gzip.open(shared("cases/brazil_rs_2019.csv.gz"), "rt", encoding="utf-8") as f:
        return [
            {
                "case_id": r["case_id"],
                "hospital_id": r["hospital_id"],
                "sex": int(r["sex"]),
                "age": int(r["age"]),
                "age_days": 300 if r["age"] == "0" else None,
                "birth_weight": None,
                "admission_weight": None,
                "los": int(r["los"]),
                "icu_hours": None,
                "discharge_mode": None,
                "diagnoses": r["diagnoses"].split("|"),
                "procedures": r["procedures"].split("|"),
                "total_cost_fen": int(Fraction(r["total_cost"] or "0") * 100),
            }
            for r in csv.DictReader(f)
        ]


def count_core(cases: list[dict[str, Any]]) -> tuple[int, int]:
    found = Counter((c["diagnoses"][0][:5], c["procedures"][0]) for c in cases)
    large = [n for n in found.values() if n >= 15]
    return len(large), sum(large)


@pytest.mark.big
@pytest.mark.parametrize("trim", ["none", "percentile"])
def test_the_brazilian_catalogue(trim: str, tmp_path: Path, files: dict[str, Any]) -> None:
    cases = brazil()
    assert count_core(cases) == (103, 4099)
    assert count_core([c for c in cases if c["total_cost_fen"] > 0]) == (102, 4058)
    options: dict[str, Any] = {"trim": trim, "procedure_class": files["procedure_class"]}
    naive = naive_calibrate(cases, options)
    found = calibrate(cases, "dip", options=DipOptions(**options))
    assert found.report["left_out"] == {"no_cost": 88} == naive.left_out
    assert texts(found.groups) == [{c: r[c] for c in COMPARED} for r in naive.groups]
    core = [r for r in found.groups.to_pylist() if r["class"] == "core"]
    assert (len(core), sum(int(r["n"]) for r in core)) == (102, 4058)
    found.write(tmp_path / "brazil")
    again = group(cases, load_catalogue(tmp_path / "brazil")).to_arrow().to_pylist()
    codes = {r["code"] for r in core}
    for case, row in zip(cases, again, strict=True):
        own = f"{case['diagnoses'][0][:5]}:{case['procedures'][0]}"
        if own in codes:
            assert row["group"] == own


# ------------------------------------------------------------------------------------ a given catalogue


def test_base_mode_keeps_groups_and_measures_scores(tmp_path: Path, files: dict[str, Any]) -> None:
    cases = draw(5)
    options: dict[str, Any] = {"threshold": 2, "trim": "iqr", **files}
    first = calibrate(cases, "dip", options=DipOptions(**options))
    first.write(tmp_path / "built")
    again = calibrate(cases, "dip", base=tmp_path / "built", options=DipOptions(**options, least=1))
    keys = ("code", "score", "mean_cost", "n", "kept", "cv", "years")
    built = [{k: r[k] for k in keys} for r in first.groups.to_pylist()]
    assert [{k: r[k] for k in keys} for r in again.groups.to_pylist()] == built
    changed = calibrate(
        cases[: len(cases) // 2],
        "dip",
        base=tmp_path / "built",
        previous=tmp_path / "built",
        options=DipOptions(**options, least=30),
    )
    rules = {r["rule"] for r in changed.groups.to_pylist()}
    assert {"parent"} <= rules <= {"", "parent", "neighbour", "none"}
    assert changed.report["changes"]["score"]


def test_supplements_and_mixed_groups_take_what_the_base_leaves(
    tmp_path: Path, files: dict[str, Any]
) -> None:
    cases = draw(5)
    options: dict[str, Any] = {"threshold": 2, "mixed": False, **files}
    built = calibrate(cases, "dip", options=DipOptions(**options))
    built.write(tmp_path / "built")
    text = (tmp_path / "built" / "groups.csv").read_text("utf-8").splitlines(keepends=True)
    (tmp_path / "built" / "groups.csv").write_text("".join(text[::2] or text), "utf-8")
    more = DipOptions(threshold=2, supplement=True, mixed=True, least=1, **files)
    found = calibrate(cases, "dip", base=tmp_path / "built", options=more)
    assert found.report["supplementary_groups"]
    assert found.report["mixed_groups"]
    assert found.report["grouped_cases"] > built.report["grouped_cases"]
    found.write(tmp_path / "more")
    counted = Counter(
        r["group"]
        for r in group(cases, load_catalogue(tmp_path / "more")).to_arrow().to_pylist()
        if r["group"]
    )
    for row in found.groups.to_pylist():
        assert counted[row["code"]] >= int(row["n"])


def test_edits_keep_the_total(tmp_path: Path, files: dict[str, Any]) -> None:
    cases = draw(5)
    plain = calibrate(cases, "dip", options=DipOptions(threshold=2, **files))
    rows = plain.groups.to_pylist()
    (tmp_path / "edits.csv").write_text(f"code,score\n{rows[0]['code']},1\n", "utf-8")
    edited = calibrate(
        cases, "dip", options=DipOptions(threshold=2, edits=str(tmp_path / "edits.csv"), **files)
    )

    def total(found: list[dict[str, str]]) -> Fraction:
        return sum((Fraction(r["score"]) * int(r["n"]) for r in found), Fraction(0))

    after = edited.groups.to_pylist()
    assert after[0]["score"] == "1.0000"
    residual = total(after) - total(rows)
    assert residual == Fraction(edited.report["residual"])
    assert abs(residual) <= Fraction(1, 2 * 10**4) * sum(int(r["n"]) for r in after)


def test_auxiliary_types_open_and_keep_the_total(tmp_path: Path) -> None:
    """Early deaths cost a fifth: the type opens, and Σ score·factor·n is what Σ score·n was."""
    cases = [
        {"case_id": f"{k}", "sex": 1, "age": 60, "diagnoses": ["I21.001"], "procedures": []}
        | {"los": 2 if k % 5 == 0 else 9, "discharge_mode": "5" if k % 5 == 0 else "1"}
        | {"total_cost_fen": (20_000 if k % 5 == 0 else 100_000) + k % 7}
        for k in range(100)
    ]
    options = DipOptions(mixed=False, trim="none")
    calibrate(cases, "dip", options=options).write(tmp_path / "base")
    with (tmp_path / "base" / "scheme.toml").open("a") as f:
        f.write('\n[[auxiliary]]\nid = "early-death"\nlos = "<=3"\ndischarge_mode = ["5"]\n')
    found = calibrate(cases, "dip", base=tmp_path / "base", options=options)
    (row,), (group_row,) = found.auxiliary, found.groups.to_pylist()
    assert row["coefficient"] == "0.2381"
    factor = Fraction(row["coefficient"])
    total = Fraction(group_row["score"]) * (20 * factor + 80)
    assert abs(total - 1000 * 100) <= Fraction(1, 100)
