"""Quality control in whole columns equals the plain reader, rule by rule, case by case, row by row."""

from __future__ import annotations

import csv
import random
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from naive.quality import Case, World, judge

import grouper
from grouper._quality import LISTED, _chapters
from grouper._quality_lists import SCHEMA
from grouper.tables import DrgScheme, load_codes, load_quality, load_scheme

pytestmark = pytest.mark.promise("Quality findings are those of the plain reader, row by row")

LISTS = load_codes(LISTED)
DIAGNOSES = ["I10.x00", "E11.900", "N40.x00", "O80.000", "P07.300", "Z51.100", "J18.900", "C53.900"]
PROCEDURES = ["47.0901", "39.9500", "74.1x01", "99.9999", min(LISTS.grey_procedures)]
CODED = (
    *("adm_cond_type", "chfpdr_code", "resp_nurs_name", "biz_sn", "bill_code", "billno"),
    *("medins_fill_dept", "medins_fill_psn", "nwb_adm_type", "patn_rlts", "refl_caty"),
    *("vent_used_days", "vent_used_h_cnt", "vent_used_m_cnt"),
)


def some(rng: random.Random, *values: str) -> str:
    return rng.choice(values)


def moment(rng: random.Random, first: date, days: int) -> str:
    """Write a day or a time near a stay, in one of the layouts that lists have."""
    at = datetime.combine(first, datetime.min.time()) + timedelta(
        days=rng.randint(-1, days + 1), minutes=rng.choice([0, 0, 1, 480, 1439])
    )
    layout = rng.choice(["%Y-%m-%d", "%Y-%m-%d %H:%M:%S", "%Y/%m/%d %H:%M", "%Y%m%d%H%M%S"])
    return rng.choice([at.strftime(layout)] * 8 + ["", "no day"])


def draw(seed: int, n: int) -> dict[str, list[dict[str, str]]]:
    """Draw long tables with every kind of fault."""
    rng = random.Random(seed)
    tables: dict[str, list[dict[str, str]]] = {
        name: []
        for name in (
            "setlinfo",
            "diseinfo",
            "oprninfo",
            "icuinfo",
            "payinfo",
            "iteminfo",
            "bldinfo",
        )
    }
    for k in range(n):
        key = f"c{k if rng.random() > 0.05 else 0}"
        first = date(2025, 1, 1) + timedelta(days=rng.randint(0, 40))
        days = rng.randint(0, 12)
        age = rng.choice(["0", "0", "3", "40", "70", "", "x", "200"])
        total = rng.randint(0, 500000)
        fund, own = total // 2, total - total // 2
        tables["setlinfo"].append(
            {
                "setl_id": key,
                "fixmedins_code": some(rng, "H1", "H2", "", "H3"),
                "psn_no": some(rng, "p1", "p2", "p3", "p4", ""),
                "psn_name": some(rng, "SECRET", ""),
                "gend": some(rng, "1", "2", "1", "2", "0", "", "男"),
                "age": age,
                "nwb_age": some(rng, "3", "30", "", "400"),
                "ntly": some(rng, "CHN", "156", "XXX", ""),
                "adm_time": moment(rng, first, 0),
                "dscg_time": moment(rng, first + timedelta(days=days), 0),
                "act_ipt_days": some(rng, str(days), str(days + 1), "1", "", "40"),
                "nwb_bir_wt": some(rng, "3200", "3200,2900", "100", "3200，2900", "", "x", "30000"),
                "nwb_adm_wt": some(rng, "3100", "31 00", "", "三千"),
                "emp_addr": some(rng, "somewhere", "", " "),
                "emp_poscode": some(rng, "430000", "43000", "abcdef", ""),
                "chfpdr_name": some(rng, "someone", ""),
                **{name: some(rng, "1", "A03", "z", "") for name in CODED},
                "trt_type": some(rng, "1", "2.1", "7", ""),
                "hi_paymtd": some(rng, "4", "12", ""),
                "dscg_way": some(rng, "1", "5", "6", ""),
                "dscg_caty": some(rng, "A03", "A03.01", "B99", ""),
                "bfadm_coma_days": some(rng, "0", "-1", ""),
                "bfadm_coma_h_cnt": some(rng, "0", "24", "25"),
                "bfadm_coma_m_cnt": some(rng, "0", "60", "61"),
                "afadm_coma_days": some(rng, "0", "1"),
                "afadm_coma_h_cnt": some(rng, "0", "23"),
                "afadm_coma_m_cnt": some(rng, "0", "59", "x"),
                "vent_used_dura": some(rng, "0/0/0", "1/2/3", "", "40/0/0"),
                "scs_cutd_sum_dura": some(rng, "1/0/0", "90/0/0", ""),
                "otp_wm_diag_dise_code": some(rng, "I10.x00", "nothing", ""),
                "setl_begndate": moment(rng, first, 1),
                "setl_enddate": moment(rng, first + timedelta(days=days), 1),
                "medfee_sumamt": some(rng, f"{total / 100:.2f}", f"{total / 100:.2f}", ""),
                "fund_pay_sumamt": f"{fund / 100:.2f}",
                "psn_part_amt": some(rng, f"{own / 100:.2f}", "0.01"),
                "hosp_part_amt": some(rng, "0", ""),
            }
        )
        main = rng.choice([0, 0, 0, 1, None])
        for j in range(rng.randint(0, 4)):
            code = rng.choice([*DIAGNOSES, "unknown", ""])
            flag = "1" if j == main or rng.random() < 0.03 else "0"
            kind = some(rng, "1", "1", "1", "2", "")
            tables["diseinfo"].append(
                {"setl_id": key, "diag_code": code, "maindiag_flag": flag, "diag_type": kind}
            )
        for _ in range(rng.choice([0, 0, 1, 2])):
            row = {
                "setl_id": key,
                "oprn_oprt_code": rng.choice([*PROCEDURES, ""]),
                "main_oprn_flag": "1",
                "oprn_oprt_date": moment(rng, first, days),
                "oper_dr_code": some(rng, "d1", ""),
                "anst_dr_code": some(rng, "d2", ""),
                "anst_way": some(rng, "01", "77", ""),
                "anst_begntime": moment(rng, first, days),
                "anst_endtime": moment(rng, first, days),
            }
            tables["oprninfo"].append(row)
        if rng.random() < 0.4:
            tables["icuinfo"].append(
                {
                    "setl_id": key,
                    "scs_cutd_ward_type": some(rng, "7", "ICU", "12", ""),
                    "scs_cutd_inpool_time": moment(rng, first, days),
                    "scs_cutd_exit_time": moment(rng, first, days),
                }
            )
        for part in (fund, 0)[: rng.randint(0, 2)]:
            tables["payinfo"].append({"setl_id": key, "fund_payamt": f"{part / 100:.2f}"})
        for part in (total - 100, 100)[: rng.randint(0, 2)]:
            tables["iteminfo"].append({"setl_id": key, "amt": some(rng, f"{part / 100:.2f}", "")})
        if rng.random() < 0.3:
            blood = {"setl_id": key, "bld_cat": some(rng, "1", "血浆", "z", "")}
            tables["bldinfo"].append(
                blood | {"bld_amt": some(rng, "200", ""), "bld_unt": some(rng, "ml", "", "q")}
            )
    return tables


def write(folder: Path, tables: dict[str, list[dict[str, str]]]) -> None:
    for name, rows in tables.items():
        if rows:
            with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as f:
                writer = csv.DictWriter(f, list(rows[0]))
                writer.writeheader()
                writer.writerows(rows)


def parse(text: str | None, kind: str) -> Any:
    """Read a raw cell as a plain reader would."""
    text = (text or "").strip()
    if kind == "time":
        for layout in ("%Y-%m-%d", "%Y-%m-%d %H:%M:%S", "%Y/%m/%d %H:%M", "%Y%m%d%H%M%S"):
            try:
                return datetime.strptime(text, layout)
            except ValueError:
                continue
        return None
    if kind == "whole":
        return int(text) if text.lstrip("-").isdigit() else None
    if kind == "money":
        return round(float(text) * 100) if text else None
    return text or None


def world_of(folder: Path, tables: dict[str, list[dict[str, str]]], scheme: DrgScheme) -> World:
    rules = load_quality(None, SCHEMA)
    read = grouper.read_cases(str(folder)).table
    schema = read.to_pylist()
    groups = grouper.group(read, scheme).to_arrow()["group"].to_pylist()
    ids = [row["setl_id"] for row in tables["setlinfo"]]
    cases = []
    raw_of_case = [f for (t, _), f in rules.fields.items() if t == "setlinfo" and f not in SCHEMA]
    for k, (row, own) in enumerate(zip(tables["setlinfo"], schema, strict=True)):
        fields = dict(own)
        for f in raw_of_case:
            header = next((h for h in (f.name, *f.also) if h in row), None)
            if header:
                fields[f.name] = parse(row[header], f.kind)
        is_first = ids.index(ids[k]) == k  # rows of a repeated case are the first one's
        below = {}
        for name in tables:
            if name == "setlinfo":
                continue
            rows = [r for r in tables[name] if r["setl_id"] == row["setl_id"]] if is_first else []
            if name == "diseinfo":
                rows = [r for r in rows if r["diag_type"] not in ("2", "3")]
                rows = sorted(rows, key=lambda r: r["maindiag_flag"] != "1")
            parsed = []
            for r in rows:
                cells: dict[str, Any] = {}
                for (t, _), f in rules.fields.items():
                    header = next((h for h in (f.name, *f.also) if h in r), None)
                    if t == name and header:
                        cells[f.name] = parse(r[header], f.kind)
                cells["#lost"] = name == "diseinfo" and rows[0]["maindiag_flag"] != "1"
                parsed.append(cells)
            below[name] = parsed
        cases.append(Case(fields, below, groups[k]))
    present = {("setlinfo", n) for n in read.column_names}
    for (t, _), f in rules.fields.items():
        held = tables[t][0].keys() if tables.get(t) else ()
        if any(h in held for h in (f.name, *f.also)):
            present.add(f.key)
    sexes, ages = _chapters(scheme, DIAGNOSES)

    def fits(bits: Any, code: str, given: int) -> bool | None:
        held = int(bits[DIAGNOSES.index(code)]) if code in DIAGNOSES else 0
        return None if not held or given not in (1, 2) else bool(held >> (given - 1) & 1)

    known = {
        "known_diagnosis": frozenset(LISTS.diagnoses),
        "known_procedure": frozenset(LISTS.procedures),
        "grey_diagnosis": LISTS.grey_diagnoses,
        "grey_procedure": LISTS.grey_procedures,
    }
    asks = {
        "fits_sex": lambda code, sex: fits(sexes, code, sex),
        "fits_age": lambda code, age: fits(ages, code, 1 if age == 0 else 2),
    }
    return World(cases, present, known, asks)


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(k, marks=pytest.mark.big) for k in range(1, 6))]
)
def test_every_rule_equals_the_plain_reader(seed: int, tmp_path: Path) -> None:
    tables = draw(seed, 120)
    write(tmp_path, tables)
    scheme = load_scheme("chs-drg-1.1")
    assert isinstance(scheme, DrgScheme)
    world = world_of(tmp_path, tables, scheme)
    rules = load_quality(None, SCHEMA)
    found = grouper.check_quality(str(tmp_path), scheme=scheme, threads=1 + seed % 2)
    failing: dict[str, list[tuple[str, int]]] = {r.id: [] for r in rules.rules}
    for f in found.findings.to_pylist():
        failing[f["rule"]].append((f["case_id"], f["position"] or 0))
    told = {r["rule"]: r for r in found.rules}
    ids = [row["setl_id"] for row in tables["setlinfo"]]
    judged = 0
    for rule in rules.rules:
        verdicts, rows = judge(rule, world)
        counts = [verdicts.count(v) for v in ("passed", "failed", "unknown")]
        of = told[rule.id]
        assert [of["passed"], of["failed"], of["not_evaluable"]] == counts, rule.id
        assert failing[rule.id] == [(ids[k], at) for k, at in rows], rule.id
        judged += counts[0] + counts[1] > 0
    assert judged > 60


@pytest.mark.big
def test_each_of_the_52_platform_rules_passes_and_fails(tmp_path: Path) -> None:
    write(tmp_path, draw(99, 2000))
    found = grouper.check_quality(str(tmp_path), scheme="chs-drg-1.1")
    platform = [r for r in found.rules if r["rule"][:4].isdigit()]
    assert len(platform) == 52
    assert [r["rule"] for r in platform if not (r["passed"] and r["failed"])] == []
    others = [r["rule"] for r in found.rules if not (r["passed"] and r["failed"])]
    assert set(others) <= NEVER_BOTH


NEVER_BOTH = {"parts_of_total", "admission_weight_range", "negative_amount"}
"""What the drawn lists have no columns for, or never fail."""


@pytest.mark.big
@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_the_rows_and_the_threads_change_nothing(seed: int, tmp_path: Path) -> None:
    tables = draw(seed, 150)
    for k, row in enumerate(tables["setlinfo"]):  # a repeated case_id has rows below only once
        row["setl_id"] = f"c{k}"
    a, b = tmp_path / "a", tmp_path / "b"
    a.mkdir()
    b.mkdir()
    write(a, tables)
    rng = random.Random(seed)
    write(
        b,
        {"setlinfo": rng.sample(tables["setlinfo"], 150)}
        | {k: v for k, v in tables.items() if k != "setlinfo"},
    )
    one = grouper.check_quality(str(a), scheme="chs-drg-1.1", threads=1)
    two = grouper.check_quality(str(b), scheme="chs-drg-1.1", threads=3)
    assert one.report.equals(two.report)
    assert one.rules == two.rules
    key = [("case_id", "ascending"), ("rule", "ascending"), ("position", "ascending")]
    assert one.findings.sort_by(key).equals(two.findings.sort_by(key))


def test_no_text_of_a_personal_field_is_read(tmp_path: Path) -> None:
    tables = draw(1, 30)
    write(tmp_path, tables)
    found = grouper.check_quality(str(tmp_path))
    assert set(found.asked) == {"chfpdr_name", "emp_addr", "resp_nurs_name", "medins_fill_psn"}
    assert set(found.dropped) >= {"psn_name", "emp_addr"}
    told = str(found.facts()) + str(found.findings.to_pylist())
    assert "SECRET" not in told
    assert "somewhere" not in told
    assert isinstance(found.report, pa.Table)
