"""Every way in under mutated inputs of fixed seeds: an answer with a status for each row, or a refusal.

`scripts/fuzz` does the same for as long as one likes, and lets the lines that are reached guide it.
"""

from __future__ import annotations

import pytest
from fuzzing import TARGETS, Fuzzer, minimised

pytestmark = [
    pytest.mark.big,
    pytest.mark.promise("Whatever the bytes: an answer for every row, or a refusal that says why"),
]

INPUTS = 300
FEWER = {"manifest": 120}
"""Each of these writes files to the disk and waits for it."""


@pytest.mark.parametrize("name", TARGETS)
def test_no_input_is_more_than_refused(name: str) -> None:
    if name == "excel":
        pytest.importorskip("python_calamine")
        pytest.importorskip("xlsxwriter")
    fuzzer = Fuzzer(TARGETS[name], seed=5, guided=False)
    for _ in range(FEWER.get(name, INPUTS)):
        fuzzer.step()
    told = [
        f"{find.text} at {find.place}: {minimised(fuzzer.target, one, find)}"
        for find, one in fuzzer.finds.values()
    ]
    assert told == []


def test_a_seed_gives_the_same_inputs() -> None:
    tried: list[list[bytes]] = [[], []]
    for of in tried:
        fuzzer = Fuzzer(TARGETS["rule"], seed=3, guided=False)
        for _ in range(40):
            fuzzer.step(lambda one, of=of: of.append(one.data))  # type: ignore[misc]
    assert tried[0] == tried[1]
    assert len(set(tried[0])) > 30


def test_a_fault_is_found_and_made_small() -> None:
    """A target with a planted fault: the fuzzer is worth nothing if it does not see it."""

    def run(one: object, folder: object) -> None:
        if b"\x00" in one.data:  # type: ignore[attr-defined]
            raise ZeroDivisionError

    fuzzer = Fuzzer(TARGETS["rule"].__class__("planted", TARGETS["rule"].seeds, run), seed=1)
    while not fuzzer.finds and fuzzer.tried < 2000:
        fuzzer.step()
    ((find, one),) = fuzzer.finds.values()
    assert find.text.startswith("ZeroDivisionError")
    assert minimised(fuzzer.target, one, find).data == b"\x00"
