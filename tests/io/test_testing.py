"""The synthetic region holds to its calibration; the hostile table groups without an exception."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pytest
from numpy.typing import NDArray

from grouper import testing
from grouper._columns import BY_NAME, COLUMNS
from grouper._grouped import GroupedBatch
from grouper._grouping import group
from grouper.tables import Severity, load_drg
from grouper.testing import Region, hostile_cases, make_region

SCHEME = load_drg("chs-drg-1.1")
N = 50_000
pc: Any = pyarrow.compute


@pytest.fixture(scope="module")
def region() -> Region:
    return make_region(N, scheme=SCHEME)


@pytest.fixture(scope="module")
def grouped(region: Region) -> GroupedBatch:
    return group(region.cases, SCHEME)


@pytest.fixture(scope="module")
def hostile() -> pa.Table:
    return hostile_cases()


def column(region: Region, name: str) -> NDArray[Any]:
    return np.asarray(region.cases[name].to_numpy())


def within(x: NDArray[Any], key: NDArray[Any]) -> float:
    """Return the standard deviation of x around the mean of its key."""
    _, index = np.unique(key, return_inverse=True)
    mean = np.bincount(index, x) / np.bincount(index)
    return float((x - mean[index]).std())


def test_columns_are_those_of_a_case(region: Region) -> None:
    names = region.cases.schema.names
    assert names == [c.name for c in COLUMNS if c.name in names]
    for name in names:
        found, wanted = region.cases.schema.field(name).type, BY_NAME[name].arrow
        if BY_NAME[name].kind == "codes":
            assert found.value_type.value_type == wanted.value_type
        else:
            assert found == wanted, name
    assert len(region.cases) == N
    assert pc.count_distinct(region.cases["case_id"]).as_py() == N
    assert region.cases["case_id"][0].as_py() == "C000000001"
    region.cases.validate(full=True)


def test_nearly_all_cases_group(region: Region, grouped: GroupedBatch) -> None:
    counts = grouped.counts()
    assert sum(counts.values()) == N
    assert counts["grouped"] >= 0.95 * N
    assert counts["rejected"] == 0
    assert sum(grouped.warnings().values()) <= 0.01 * N
    assert len(np.unique(grouped.drg.adrg)) >= 300


def test_cost_spreads_as_calibrated(region: Region, grouped: GroupedBatch) -> None:
    a, cost = grouped.drg, column(region, "total_cost_fen")
    assert cost.mean() == pytest.approx(900_000, rel=0.03)
    assert np.log(cost).std() == pytest.approx(1.03, abs=0.03)
    assert within(np.log(cost), a.drg) == pytest.approx(0.75, abs=0.03)
    assert within(np.log(cost), a.drg * 4 + a.severity) == pytest.approx(0.69, abs=0.02)


def test_stay_spreads_as_calibrated(region: Region, grouped: GroupedBatch) -> None:
    los = column(region, "los")
    assert los.min() == 1
    assert los.mean() == pytest.approx(5.3, abs=0.2)
    assert np.median(los) in (3, 4)
    assert np.percentile(los, 95) == pytest.approx(16, abs=1)
    assert within(np.log(los), grouped.drg.drg) == pytest.approx(0.71, abs=0.03)
    assert np.corrcoef(los, column(region, "total_cost_fen"))[0, 1] > 0.3


def test_groups_and_hospitals_are_of_very_unequal_size(
    region: Region, grouped: GroupedBatch
) -> None:
    size = np.bincount(grouped.drg.drg[grouped.drg.drg >= 0])
    size = np.sort(size[size > 0])[::-1]
    assert 0.20 <= size[:10].sum() / N <= 0.33
    assert 1.6 <= np.log(size).std() <= 2.0  # 1.95 of all cases; small groups are cut off at one
    ids = region.cases["hospital_id"].value_counts().field("counts").to_numpy()
    assert len(ids) == 60
    assert np.log(ids).std() == pytest.approx(1.4, abs=0.05)


def test_codes_are_as_many_as_calibrated(region: Region, grouped: GroupedBatch) -> None:
    many = pc.list_value_length(region.cases["diagnoses"]).to_numpy()
    assert many.min() >= 1
    assert many.mean() == pytest.approx(5.8, abs=0.2)
    assert np.median(many) == 5
    assert np.percentile(many, 95) == pytest.approx(12, abs=1)
    assert pc.list_value_length(region.cases["procedures"]).to_numpy().max() <= 8
    share = np.bincount(grouped.drg.severity, minlength=4) / N
    assert 0.15 <= share[Severity.MCC] <= 0.21
    assert 0.25 <= share[Severity.CC] <= 0.30


def test_deaths_sexes_and_newborns(region: Region) -> None:
    cases: Any = region.cases
    died = pc.mean(pc.equal(cases["discharge_mode"], "5")).as_py()
    assert died == pytest.approx(0.025, abs=0.004)
    assert set(pc.unique(cases["sex"]).to_pylist()) == {1, 2, 9}
    age, days = cases["age"], cases["age_days"]
    assert pc.all(pc.equal(pc.equal(age, 0), pc.is_valid(days))).as_py()
    newborn = pc.fill_null(pc.less(days, 29), False)
    assert 20 < pc.sum(newborn).as_py() < 0.1 * N
    for name in ("birth_weight", "admission_weight"):
        assert pc.all(pc.equal(newborn, pc.is_valid(cases[name]))).as_py()
        grams = pc.min_max(cases[name]).as_py()
        assert 200 <= grams["min"] < grams["max"] <= 20_000


def test_days_are_in_order_and_settled_within_the_year(region: Region) -> None:
    cases: Any = region.cases
    days = {c: cases[f"{c}_date"] for c in ("admission", "discharge", "settlement")}
    assert {x.as_py().year for x in pc.unique(days["discharge"])} == {2025}
    assert {x.as_py().year for x in pc.unique(days["settlement"])} == {2025}
    stay = pc.days_between(days["admission"], days["discharge"])
    assert pc.all(pc.equal(stay, cases["los"])).as_py()
    assert pc.min(pc.days_between(days["discharge"], days["settlement"])).as_py() == 0
    icu = cases["icu_hours"]
    assert pc.all(pc.less_equal(icu, pc.multiply(cases["los"], 24))).as_py()
    assert pc.all(pc.less_equal(cases["ventilator_hours"], icu)).as_py()


def test_money_adds_up_to_the_fen(region: Region) -> None:
    fen = {c: column(region, c) for c in region.cases.schema.names if c.endswith("_fen")}
    assert all((amount >= 0).all() for amount in fen.values())
    total = fen["total_cost_fen"]
    payers = fen["fund_paid_fen"] + fen["self_paid_fen"] + fen["hospital_borne_fen"]
    assert (payers == total).all()
    assert (fen["account_fen"] + fen["cash_fen"] == fen["self_paid_fen"]).all()
    parts = ("drug_fen", "consumable_fen", "examination_fen", "tcm_fen")
    assert (sum(fen[p] for p in parts) <= total).all()
    own = ("first_self_pay_fen", "full_self_pay_fen", "deductible_fen")
    assert (sum(fen[p] for p in own) <= fen["self_paid_fen"]).all()


@pytest.mark.parametrize(("insurance", "share"), [("310", 0.75), ("390", 0.62)])
def test_the_funds_bind(region: Region, insurance: str, share: float) -> None:
    cases: Any = region.cases
    cases = cases.filter(pc.equal(cases["insurance"], insurance))
    paid, cost = (pc.sum(cases[f"{c}_fen"]).as_py() for c in ("fund_paid", "total_cost"))
    assert paid / cost == pytest.approx(share, abs=0.01)
    insured_here = cases.filter(pc.equal(cases["insured_area"], cases["hospital_area"]))
    booked = pc.sum(insured_here["fund_paid_fen"]).as_py()
    assert region.funds[insurance] % 100 == 0
    assert 0.97 * booked < region.funds[insurance] <= 0.98 * booked
    assert list(region.funds) == ["310", "390"]


def test_weights_hold_every_group_once(region: Region, grouped: GroupedBatch) -> None:
    weights = region.weights
    codes = list(dict.fromkeys(d.code for d in SCHEME.drgs))
    assert weights["group"].to_pylist() == codes
    assert weights.schema.field("weight").type == pa.decimal128(12, 4)
    assert weights.schema.field("mean_cost_fen").type == pa.int64()
    weight = weights["weight"].cast(pa.float64()).to_numpy()
    assert weight.min() > 0
    drg = grouped.drg.drg
    index = np.array([codes.index(d.code) for d in SCHEME.drgs])
    of_case = weight[index[drg[drg >= 0]]]
    assert of_case.mean() == pytest.approx(1, abs=0.01)
    size = np.bincount(drg[drg >= 0], minlength=len(index))
    cost = np.bincount(drg[drg >= 0], column(region, "total_cost_fen")[drg >= 0], len(index))
    big = np.flatnonzero(size > 500)
    ratio = cost[big] / size[big] / weights["mean_cost_fen"].to_numpy()[index[big]]
    assert ratio == pytest.approx(1, abs=0.15)


def test_weights_keep_the_order_of_severity(region: Region) -> None:
    weight = dict(zip(*(region.weights[c].to_pylist() for c in ("group", "weight")), strict=True))
    split: dict[int, list[Any]] = {}
    for drg in SCHEME.drgs:
        split.setdefault(drg.parent, []).append(weight[drg.code])
    assert sum(len(w) > 1 for w in split.values()) > 100
    assert all(w == sorted(w, reverse=True) for w in split.values())


def test_hospitals(region: Region) -> None:
    hospitals = region.hospitals.to_pylist()
    assert len({h["hospital_id"] for h in hospitals}) == 60
    assert len({h["hospital_name"] for h in hospitals}) == 60
    assert {h["hospital_level"] for h in hospitals} == {"三级", "二级", "一级"}
    assert region.hospitals.schema.field("valid_from").type == pa.date32()
    level = {h["hospital_id"]: h["hospital_level"] for h in hospitals}
    rows = region.cases.select(["hospital_id", "hospital_level"]).slice(0, 1000).to_pylist()
    assert all(level[r["hospital_id"]] == r["hospital_level"] for r in rows)


def test_same_arguments_same_region() -> None:
    first = make_region(70_000, scheme=SCHEME, threads=1)
    again = make_region(70_000, scheme="chs-drg-1.1", threads=3)
    assert first == again
    other = make_region(70_000, scheme=SCHEME, seed=2)
    assert not first.cases["diagnoses"].equals(other.cases["diagnoses"])
    assert first.weights != other.weights


@pytest.mark.parametrize(("n", "hospitals"), [(1, 1), (2, 60), (100, 1)])
def test_small_regions(n: int, hospitals: int) -> None:
    small = make_region(n, scheme=SCHEME, hospitals=hospitals, year=2024)
    assert len(small.cases) == n
    assert len(small.hospitals) == hospitals
    assert small.hospitals["valid_from"][0].as_py().year == 2024
    assert group(small.cases, SCHEME).counts()["rejected"] == 0


@pytest.mark.parametrize(("n", "hospitals"), [(0, 60), (-1, 60), (10**8 + 1, 60), (10, 0)])
def test_refuses_impossible_sizes(n: int, hospitals: int) -> None:
    with pytest.raises(ValueError, match="hospitals 1 or more"):
        make_region(n, scheme=SCHEME, hospitals=hospitals)


def test_another_scheme() -> None:
    cases = make_region(2_000, scheme="chs-drg-1.1-qy").cases
    assert group(cases, "chs-drg-1.1-qy").counts()["grouped"] >= 1_900


def test_hostile_cases_group_and_reconcile(hostile: pa.Table) -> None:
    assert 200 <= len(hostile) <= 999
    for name in hostile.schema.names:
        assert hostile.schema.field(name).type == BY_NAME[name].arrow
    done = group(hostile, SCHEME)
    counts, reasons = done.counts(), done.reasons()
    assert sum(counts.values()) == len(hostile) == len(done.to_arrow())
    assert counts["grouped"] > len(hostile) / 2
    assert {
        *("duplicate_case_id", "input_unreadable", "no_principal_diagnosis", "sex_unreadable"),
        *("age_unreadable", "age_days_missing", "discharge_before_admission", "unknown_principal"),
    } <= reasons.keys()
    assert sum(reasons.values()) == len(hostile) - counts["grouped"]
    assert {
        *("sex_missing", "unknown_secondary", "unknown_procedure", "grey_principal"),
        *("grey_secondary", "grey_procedure", "duplicate_secondary", "newborn_weight"),
    } <= done.warnings().keys()
    assert done.normalised["diagnoses: normalised"] > 0
    assert done.normalised["procedures: normalised"] > 0


def test_hostile_cases_are_deterministic(hostile: pa.Table) -> None:
    assert hostile.equals(hostile_cases(seed=1))
    assert not hostile.equals(hostile_cases(seed=2))


def test_hostile_rows_do_not_touch_their_neighbours(hostile: pa.Table) -> None:
    kept = np.arange(len(hostile)) % 2 == 0
    alone = group(hostile.filter(pa.array(kept)), SCHEME)
    together = group(hostile, SCHEME).drg
    assert (alone.drg.drg[1:] == together.drg[kept][1:]).all()  # an id of the first row repeats


def test_all_is_sorted() -> None:
    assert testing.__all__ == sorted(testing.__all__)
