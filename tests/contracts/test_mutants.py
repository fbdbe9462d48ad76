"""The faults to plant are well made: each stands where it says, and the file still compiles with it."""

from __future__ import annotations

import tomllib

import pytest
from shared import ROOT

FAULTS = tomllib.loads((ROOT / "scripts" / "mutants.toml").read_text("utf-8"))["fault"]
KINDS = {
    *("off by one", "wrong table", "swapped comparison", "dropped remainder", "dropped term"),
    *("dropped test", "lost reason", "lost option", "wrong order", "wrong rounding", "wrong sign"),
    *("wrong unit", "wrong value"),
}


@pytest.mark.promise("Of 40 faults planted in kernels and money code the suite catches at least 38")
def test_there_are_forty_of_every_kind() -> None:
    assert len(FAULTS) == 40
    assert len({f["id"] for f in FAULTS}) == 40
    assert {f["kind"] for f in FAULTS} == KINDS
    assert {f["file"].partition("/")[0] for f in FAULTS} == {"grouper", "kernels"}


@pytest.mark.parametrize("fault", FAULTS, ids=[f["id"] for f in FAULTS])
def test_a_fault_stands_once_and_compiles(fault: dict[str, str]) -> None:
    text = (ROOT / fault["file"]).read_text("utf-8")
    assert text.count(fault["before"]) == 1
    assert fault["before"] != fault["after"]
    compile(text.replace(fault["before"], fault["after"]), fault["file"], "exec")
    for test in fault["tests"]:
        assert (ROOT / test).exists()
