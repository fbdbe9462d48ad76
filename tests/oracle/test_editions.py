"""Editions side by side and codes of two editions: every case as if it were grouped alone."""

from __future__ import annotations

import random
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from oracle.draw import draw_cases
from policies import POLICY, TABLES
from shared import SHIPPED
from tiny import tiny_codes, tiny_scheme

import grouper
from grouper import CaseSchemaError, Editions, PolicyError, SchemeNotFound, SettlementError
from grouper.tables import load_codes

pytestmark = pytest.mark.promise("Each case is grouped by the edition of its own day")

FIRST, SECOND = "chs-drg-1.1", "chs-drg-1.1-qy"
CHANGE = date(2026, 1, 1)
ADOPTED = f"""
[[scheme]]
id = "{FIRST}"
from = 2024-01-01
to = 2025-12-31
source = "invented"

[[scheme]]
id = "{SECOND}"
from = {CHANGE}
to = 2026-12-31
source = "invented"
"""


def policy(folder: Path, adopted: str = ADOPTED, dated_by: str = "discharge") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    text = POLICY.replace("[method]\n", f'[method]\ndated_by = "{dated_by}"\n')
    (folder / "policy.toml").write_text(text + adopted, "utf-8")
    for name, table in TABLES.items():
        (folder / name).write_text(table, "utf-8")
    return folder


@pytest.fixture(scope="module")
def editions(tmp_path_factory: pytest.TempPathFactory) -> Editions:
    return grouper.load_editions(policy(tmp_path_factory.mktemp("p")))


def dated_cases(n: int, seed: int = 3) -> list[dict[str, Any]]:
    rng = random.Random(seed)
    cases = draw_cases(grouper.load_drg(FIRST), seed, n)
    days = [None, date(2023, 12, 31), date(2024, 1, 1), date(2027, 1, 1)]
    days += [CHANGE + timedelta(k) for k in range(-6, 6)]
    days.append(date(2026, 12, 31))
    return [{**c, "discharge_date": rng.choice(days)} for c in cases]


def expected(case: dict[str, Any]) -> str | None:
    day = case["discharge_date"]
    if day is None or not date(2024, 1, 1) <= day <= date(2026, 12, 31):
        return None
    return FIRST if day < CHANGE else SECOND


def test_a_batch_across_new_year_is_grouped_by_each_cases_own_edition(editions: Editions) -> None:
    cases = dated_cases(2000)
    grouped = grouper.group(cases, editions)
    rows = grouped.to_arrow().to_pylist()
    assert [r["case_id"] for r in rows] == [c["case_id"] for c in cases]
    for name in (FIRST, SECOND):
        mine = [c for c in cases if expected(c) == name]
        alone = grouper.group(mine, name).to_arrow().to_pylist()
        assert len(mine) > 300
        assert [r for c, r in zip(cases, rows, strict=True) if expected(c) == name] == alone
        assert {r["scheme"] for r in alone} == {name}
    lost = [r for c, r in zip(cases, rows, strict=True) if expected(c) is None]
    assert {r["status"] for r in lost} == {"rejected"}
    assert {(r["scheme"], r["scheme_fingerprint"], r["group"]) for r in lost} == {
        (None, None, None)
    }
    assert sum(r["reason"] == "no_edition" for r in lost) > 300
    assert sum(grouped.counts().values()) == len(cases)
    assert grouped.reasons()["no_edition"] == sum(r["reason"] == "no_edition" for r in lost)
    assert {s.id for s in grouped.schemes} == {FIRST, SECOND}


def test_the_order_of_rows_is_of_no_account(editions: Editions) -> None:
    cases = dated_cases(400)
    shuffled = random.Random(1).sample(cases, len(cases))
    answers = [
        {r["case_id"]: r for r in grouper.group(given, editions).to_arrow().to_pylist()}
        for given in (cases, shuffled)
    ]
    assert answers[0] == answers[1]


def test_the_two_editions_differ_on_some_case(editions: Editions) -> None:
    """Else the test above would hold whichever edition were taken."""
    cases = dated_cases(2000)
    old, new = (grouper.group(cases, name).to_arrow()["group"] for name in (FIRST, SECOND))
    assert old.to_pylist() != new.to_pylist()


def test_an_id_repeated_across_editions_is_still_a_repeat(editions: Editions) -> None:
    base = {"sex": 1, "age": 50, "diagnoses": ["K22.301"], "procedures": [], "case_id": "same"}
    cases = [{**base, "discharge_date": d} for d in (date(2025, 1, 1), CHANGE)]
    rows = grouper.group(cases, editions).to_arrow().to_pylist()
    assert [r["reason"] for r in rows] == ["duplicate_case_id"] * 2


def test_no_case_is_an_empty_result(editions: Editions) -> None:
    table = pa.Table.from_pylist(dated_cases(3)).slice(0, 0)
    grouped = grouper.group(table, editions)
    assert (len(grouped), sum(grouped.counts().values())) == (0, 0)
    assert grouped.to_arrow().schema == grouper.group([], FIRST).to_arrow().schema


def test_the_day_must_be_a_column(editions: Editions) -> None:
    cases = [{k: v for k, v in c.items() if k != "discharge_date"} for c in dated_cases(3)]
    with pytest.raises(CaseSchemaError, match="'discharge_date' is missing"):
        grouper.group(cases, editions)


def test_for_date_picks_the_edition(tmp_path: Path) -> None:
    folder = policy(tmp_path)
    assert grouper.for_date(date(2025, 12, 31), folder).id == FIRST
    assert grouper.for_date(CHANGE, folder).id == SECOND
    with pytest.raises(PolicyError, match="adopts no scheme on 2027-01-01"):
        grouper.for_date(date(2027, 1, 1), folder)


def test_of_two_that_are_in_force_the_one_that_begins_last_counts(tmp_path: Path) -> None:
    folder = policy(tmp_path, ADOPTED.replace("to = 2025-12-31\n", ""))
    assert grouper.for_date(CHANGE, folder).id == SECOND
    assert grouper.for_date(date(2027, 1, 1), folder).id == FIRST


# ------------------------------------------------------------------------------- where schemes lie


def own_scheme(folder: Path) -> Path:
    return tiny_scheme(
        folder,
        mdc=[("MDCA", "ZYZD in DX")],
        adrg=[("AA1", "")],
        drg=[("AA19", "")],
        sets={"DX": ["d1"]},
        cc=[("c1", "CC", "")],
    )


def adopting(name: str) -> str:
    return f'\n[[scheme]]\nid = "{name}"\nfrom = 2024-01-01\nsource = "x"\n'


def test_a_scheme_is_found_beside_the_policy_and_among_those_given(tmp_path: Path) -> None:
    own_scheme(tmp_path / "city" / "mine")
    own_scheme(tmp_path / "mine2")
    own_scheme(tmp_path / "elsewhere" / "far")
    for name in ("mine", "mine2"):
        found = grouper.load_editions(policy(tmp_path / "city", adopting(name)))
        assert [e.scheme.id for e in found.editions] == [name]
    far = policy(tmp_path / "city", adopting("far"))
    with pytest.raises(SchemeNotFound, match="no scheme of policy p 'far'"):
        grouper.load_editions(far)
    found = grouper.load_editions(far, [tmp_path / "elsewhere" / "far"])
    assert found.editions[0].scheme.id == "far"
    with pytest.raises(PolicyError, match="mine2: policy p adopts far"):
        grouper.load_editions(far, [tmp_path / "mine2"])


def test_a_policy_without_editions_says_how_to_name_one(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=r"name one under \[\[scheme\]\], or with --scheme"):
        grouper.load_editions(policy(tmp_path, ""))


@pytest.mark.parametrize(
    ("swap", "said"),
    [
        ((f"from = {CHANGE}", "from = 2024-01-01"), "scheme.1.from: begins on 2024-01-01"),
        ((f'"{SECOND}"', f'"{SECOND}"\nby = "settlement"'), "one day decides"),
    ],
)
def test_a_policy_whose_editions_contradict_is_refused(
    tmp_path: Path, swap: tuple[str, str], said: str
) -> None:
    with pytest.raises(PolicyError, match=said):
        grouper.load_policy(policy(tmp_path, ADOPTED.replace(*swap)))


def test_editions_and_weights_change_on_the_same_day(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=r'set method.dated_by = "discharge"'):
        grouper.load_policy(policy(tmp_path, dated_by="settlement"))
    assert grouper.load_policy(policy(tmp_path, adopting(FIRST), "settlement"))


# ------------------------------------------------------------------------------------- paying them


def payable(n: int = 200) -> pa.Table:
    cases = [c for c in dated_cases(n) if expected(c)]
    for k, c in enumerate(cases):
        c["settlement_date"] = date(2022, 5, 1)
        c["total_cost_fen"] = 100_000 + k
        c["fund_paid_fen"] = 50_000
        c |= {"insurance": "310", "hospital_id": "H1", "hospital_level": "三级"}
    return pa.Table.from_pylist(cases)


def test_settling_refuses_the_wrong_edition_of_a_case(tmp_path: Path) -> None:
    table, adopted = payable(), policy(tmp_path, dated_by="discharge")
    wrong = grouper.group(table, FIRST)
    with pytest.raises(SettlementError, match="grouped by another edition than policy p adopts"):
        grouper.settle(wrong, adopted)
    foreign = grouper.group(table, own_scheme(tmp_path / "own"))
    with pytest.raises(SettlementError, match="grouped by own; policy p adopts"):
        grouper.settle(foreign, adopted)


def test_settling_takes_each_case_by_its_own_edition(tmp_path: Path) -> None:
    adopted = ADOPTED.replace("2024-01-01", "2022-01-01").replace(str(CHANGE), "2022-07-01")
    folder = policy(tmp_path, adopted)
    table = payable()
    days = [date(2022, 6 + k % 2, 30) for k in range(len(table))]
    at = table.schema.get_field_index("discharge_date")
    table = table.set_column(at, "discharge_date", pa.array(days))
    grouped = grouper.group(table, grouper.load_editions(folder))
    paid = grouper.settle(grouped, folder)
    rows = paid.cases().to_pylist()
    assert len(rows) == len(table)
    assert {r["scheme"] for r in rows} == {FIRST, SECOND}


# ------------------------------------------------------------------------------- editions of codes


def test_each_case_is_read_in_the_edition_that_it_names() -> None:
    listed = load_codes("codes-nhsa-2.0")
    rng = random.Random(5)
    keys = rng.sample(sorted(listed.diagnosis_map), 300)
    said: list[str | None] = [
        "insurer",
        "医保版",
        "clinical",
        "国临版",
        " Clinical ",
        "",
        None,
        "ICD-11",
    ]
    cases: list[dict[str, Any]] = [
        {
            "case_id": str(k),
            "sex": 1,
            "age": 40,
            "diagnoses": [code, "E11.900"],
            "procedures": [],
            "code_edition": said[k % len(said)],
        }
        for k, code in enumerate(keys)
    ]
    grouped = grouper.group(cases, FIRST, codes="case")
    rows = grouped.to_arrow().to_pylist()
    for k, (case, row) in enumerate(zip(cases, rows, strict=True)):
        name = (said[k % len(said)] or "").strip().lower()
        if name == "icd-11":
            assert (row["status"], row["reason"]) == ("rejected", "unknown_coding")
            continue
        coding = "clinical" if name in ("clinical", "国临版") else "insurer"
        assert row == grouper.group(case, FIRST, codes=coding).to_arrow().to_pylist()[0]
    counts = grouped.normalised
    clinical = [
        c for c in cases if (c["code_edition"] or "").strip().lower() in ("clinical", "国临版")
    ]
    assert counts["diagnoses: mapped"] == len(clinical) > 100
    assert counts["code_edition: blank, read as insurer"] == sum(
        not c["code_edition"] for c in cases
    )


def test_codes_by_case_need_their_column() -> None:
    case = {"case_id": "1", "sex": 1, "age": 40, "diagnoses": ["E11.900"], "procedures": []}
    with pytest.raises(CaseSchemaError, match="needs the column 'code_edition'"):
        grouper.group(case, FIRST, codes="case")
    with pytest.raises(CaseSchemaError, match="none of insurer, clinical, case"):
        grouper.group(case, FIRST, codes="other")


@pytest.mark.parametrize("as_dictionary", [False, True])
def test_what_was_mapped_what_is_ambiguous_and_what_is_unknown_is_counted(
    tmp_path: Path, as_dictionary: bool
) -> None:
    """x1 → d1 is mapped; d2 → d1 is mapped too, and d2 is an insurer's code as well."""
    tiny_codes(
        tmp_path / "codes",
        diagnoses=["d1", "d2", "d3"],
        procedures=["p1"],
        diagnosis_map={"x1": "d1", "d2": "d1"},
        procedure_map={"y1": "p1"},
    )
    folder = tiny_scheme(
        tmp_path / "s",
        mdc=[("MDCA", "ZYZD in DX")],
        adrg=[("AA1", "ZYSS in PX"), ("AB1", "")],
        drg=[("AA19", ""), ("AB19", "")],
        sets={"DX": ["d1"], "PX": ["p1"]},
        cc=[("d3", "CC", "")],
        toml='code_list = "../codes"',
    )
    lists = [["x1", "d3", "x1"], ["d2"], ["d1", "nope", "x1"], ["x1"]]
    procedures = [["y1"], ["y1", "p1"], ["y1"], ["zz"]]
    kind = pa.list_(pa.dictionary(pa.int32(), pa.string()) if as_dictionary else pa.string())
    table = pa.table(
        {
            "case_id": ["1", "2", "3", "4"],
            "sex": [1] * 4,
            "age": [40] * 4,
            "diagnoses": pa.array(lists, kind),
            "procedures": pa.array(procedures, kind),
        }
    )
    clinical = grouper.group(table, folder, codes="clinical")
    assert {k: v for k, v in clinical.normalised.items() if v} == {
        "diagnoses: mapped": 5,
        "diagnoses: mapped, ambiguous": 1,
        "diagnoses: unknown": 1,
        "procedures: mapped": 3,
        "procedures: unknown": 1,
    }
    assert clinical.to_arrow()["group"].to_pylist() == ["AA19", "AA19", "AA19", "AB19"]
    insurer = grouper.group(table, folder)
    assert {k: v for k, v in insurer.normalised.items() if v} == {
        "diagnoses: unknown": 5,
        "diagnoses: unknown, but of the clinical edition": 4,
        "procedures: unknown": 4,
        "procedures: unknown, but of the clinical edition": 3,
    }


def test_the_shipped_maps_have_the_ambiguous_codes_that_are_known() -> None:
    from grouper._cases import ambiguous_codes

    listed = load_codes("codes-nhsa-2.0")
    assert [len(ambiguous_codes(listed, n)) for n in ("diagnoses", "procedures")] == [246, 4]
    assert (SHIPPED / "codes-nhsa-2.0" / "diagnosis_map.csv").exists()
