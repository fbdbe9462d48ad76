"""Golden DIP cases: the traps of the national plan, and what each matching profile alone decides.

Kernel, explain and the naive reader must all give the golden answer.
"""

from __future__ import annotations

import re
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest
from naive.dip import load_naive_dip
from shared import SHIPPED

from grouper import explain, group, load_scheme

pytestmark = pytest.mark.promise("Cases read off the printed rules land where a person puts them")

HERE = Path(__file__).parent / "dip"
PROFILES = SHIPPED / "dip-profiles"
NATIONAL = tomllib.loads((HERE / "national" / "cases.toml").read_text("utf-8"))["case"]
REGIONAL = tomllib.loads((HERE / "regional" / "cases.toml").read_text("utf-8"))["case"]
SUBTYPES = tomllib.loads((HERE / "auxiliary" / "cases.toml").read_text("utf-8"))["case"]


def case_of(golden: dict[str, Any]) -> dict[str, Any]:
    given = {k: golden.get(k) for k in ("age_days", "los", "icu_hours", "discharge_mode")}
    return {
        "case_id": "1",
        "sex": 1,
        "age": golden.get("age", 40),
        "birth_weight": golden.get("weight"),
        "admission_weight": None,
        "total_cost_fen": golden.get("cost_fen"),
        "diagnoses": golden["dx"],
        "procedures": golden.get("px", []),
        **given,
    }


def catalogue(name: str, to: Path, profile: str = "", **options: str) -> Path:
    """Copy a golden catalogue, under another profile or with options of its own profile changed."""
    shutil.copytree(HERE / name, to)
    settings = (to / "scheme.toml").read_text("utf-8")
    if profile:
        settings = re.sub('profile = "[^"]*"', f'profile = "{profile}"', settings)
    if options:
        named = re.search('profile = "([^"]*)"', settings)
        assert named
        text = (PROFILES / f"{named[1]}.toml").read_text("utf-8")
        changed = "".join(f'{k} = "{v}"\n' for k, v in options.items())
        (to / "profile.toml").write_text(changed + text, "utf-8")
        settings = settings.replace(named[0], 'profile = "profile.toml"')
    (to / "scheme.toml").write_text(settings, "utf-8")
    return to


def answers(folder: Path, case: dict[str, Any]) -> dict[str, Any]:
    """Group a case three ways and insist that they agree."""
    scheme = load_scheme(folder)
    (row,) = group([case], scheme).to_arrow().to_pylist()
    trace, naive = explain(case, scheme), load_naive_dip(folder, PROFILES).group(case)
    for field in ("status", "reason", "group", "decided_by", "matched_terms", "aux_type"):
        three = {row[field] or None, getattr(trace, field) or None, getattr(naive, field) or None}
        assert len(three) == 1, (field, three)
    assert tuple(row["warnings"]) == naive.warnings
    return dict(row)


@pytest.mark.parametrize("golden", NATIONAL, ids=lambda g: str(g["why"]))
def test_national_traps(golden: dict[str, Any], tmp_path: Path) -> None:
    assert golden["source"]
    options = {"not_main": golden["not_main"]} if "not_main" in golden else {}
    row = answers(catalogue("national", tmp_path / "c", **options), case_of(golden))
    assert (row["group"] or "") == golden["group"]
    assert row["status"] == ("grouped" if golden["group"] else "ungrouped")
    assert (row["reason"] or "") == golden.get("reason", "")
    for name, column in (("decided_by", "decided_by"), ("terms", "matched_terms")):
        if name in golden:
            assert row[column] == golden[name]
    for warning in golden.get("warnings", []):
        assert warning in row["warnings"]


@pytest.mark.parametrize("golden", REGIONAL, ids=lambda g: f"{g['profile']}: {g['why']}")
def test_what_each_profile_alone_decides(golden: dict[str, Any], tmp_path: Path) -> None:
    """The same case ends elsewhere under another profile, so its own order decided."""
    case = case_of(golden)
    own = answers(catalogue("regional", tmp_path / "own", golden["profile"]), case)
    assert own["group"] == golden["group"]
    assert own["decided_by"] == golden.get("decided_by")
    for other, elsewhere in golden["elsewhere"].items():
        row = answers(catalogue("regional", tmp_path / other, other), case)
        assert (row["group"] or "") == elsewhere != golden["group"]


def test_every_profile_has_a_golden_case() -> None:
    covered = {"national-3.0", *(g["profile"] for g in REGIONAL)}
    assert covered == {p.stem for p in PROFILES.glob("*.toml")}
    for path in PROFILES.glob("*.toml"):
        profile = tomllib.loads(path.read_text("utf-8"))
        assert profile["id"] == path.stem
        assert (profile["standing"] == "unconfirmed") == (path.stem != "national-3.0")


@pytest.mark.parametrize("golden", SUBTYPES, ids=lambda g: str(g["why"]))
def test_auxiliary_types(golden: dict[str, Any], tmp_path: Path) -> None:
    row = answers(catalogue("auxiliary", tmp_path / "c"), case_of(golden))
    assert row["group"] == golden["group"]
    assert (row["aux_type"] or "") == golden["type"]
    factor = golden.get("factor")
    assert (row["aux_factor"] is None) == (factor is None)
    if factor is not None:
        assert float(row["aux_factor"]) == factor
