"""Reference folders beside the project: real and reference cases, other schemes as users bring them.

They are not part of the project; `GROUPER_SHARED` names the folder, default ``../shared``. Tests that
need one skip with the reason where it is absent.
"""

from __future__ import annotations

import csv
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("GROUPER_SHARED", ROOT.parent / "shared"))
SHIPPED = ROOT / "tables"

EXPECTED = {
    "drg_1_1": "drg_1_1_expected.csv",
    "drg_beijing_2022": "drg_beijing_2022_expected.csv",
    "drg_changzhou_2022": "drg_changzhou_2022_expected.csv",
    "drg_foshan_2022": "drg_foshan_2022_expected.csv",
    "drg_zhejiang_2022": "drg_zhejiang_2022_expected.csv",
}
SCHEMES = ("drg_1_0", *EXPECTED)


def shared(path: str) -> Path:
    """Return a shared file or folder, or skip the test."""
    found = SHARED / path
    if not found.exists():
        pytest.skip(f"the reference data {path} is not beside the project (GROUPER_SHARED)")
    return found


def program(*names: str) -> str:
    """Return the path of an installed program, or skip the test; where CI runs, it must be there."""
    for name in names:
        if found := shutil.which(name):
            return found
    if os.environ.get("CI"):
        pytest.fail(f"CI installs {names[0]}, and it is not there")
    pytest.skip(f"{names[0]} is not installed on this machine (Debian: apt-get install {names[0]})")


def whole(text: str) -> int | None:
    return int(text) if text else None


def expected_cases(scheme: str) -> list[dict[str, Any]]:
    """Read an expected file: cases as dicts, with the expected answer under `expected`."""
    cases = []
    with shared(f"cases/{EXPECTED[scheme]}").open(encoding="utf-8") as f:
        for r in csv.DictReader(f):
            case: dict[str, Any] = {
                k: whole(r[k])
                for k in ("sex", "age", "age_days", "birth_weight", "los", "icu_hours")
            }
            case |= {
                "case_id": r["case_id"],
                "admission_weight": None,
                "discharge_mode": r["discharge_mode"] or None,
                "department": r["department"] or None,
                "diagnoses": r["diagnoses"].split("|") if r["diagnoses"] else [],
                "procedures": r["procedures"].split("|") if r["procedures"] else [],
                "expected": tuple(r[k] for k in ("status", "mdc", "adrg", "drg")),
            }
            cases.append(case)
    return cases
