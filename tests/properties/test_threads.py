"""Schemes and policies never change, and everything may be called from many threads at once."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import numpy as np
import pytest
from oracle.draw import draw_cases
from pydantic import ValidationError

import grouper
from grouper import DipScheme, DrgScheme, Scheme
from grouper.tables import _schemes, load_scheme
from grouper.tables._types import DIAGNOSES, PROCEDURES
from grouper.testing import Region, make_region

THREADS = 8
SHIPPED = grouper.scheme_ids()

pytestmark = pytest.mark.promise("Schemes and policies never change; calls share nothing")


def at_once(work: Callable[[int], Any]) -> list[Any]:
    """Call `work(k)` from every thread at the same moment."""
    gate = Barrier(THREADS)

    def one(k: int) -> Any:
        gate.wait(60)
        return work(k)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(one, range(THREADS)))


# ---------------------------------------------------------------------------------------- immutable


def arrays_of(scheme: Scheme) -> Iterator[np.ndarray[Any, Any]]:
    yield from scheme.arrays
    for side in (DIAGNOSES, PROCEDURES):
        yield scheme.vocabulary(side).table
    if isinstance(scheme, DrgScheme):
        yield scheme.sides
        yield from scheme.sets.values()
    else:
        yield from (scheme.dx_class, scheme.px_class)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_scheme_cannot_be_written(name: str) -> None:
    for scheme in (load_scheme(name), _schemes._load(_schemes.scheme_folder(name))):
        for field in dataclasses.fields(scheme):
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(scheme, field.name, None)
        with pytest.raises(ValidationError):
            scheme.settings.id = "x"
        arrays = list(arrays_of(scheme))
        assert arrays
        assert not [a for a in arrays if a.flags.writeable]
        mappings = [
            getattr(scheme, f.name)
            for f in dataclasses.fields(scheme)
            if str(f.type).startswith("Mapping")
        ]
        assert mappings
        for mapping in mappings:
            with pytest.raises(TypeError):
                mapping["x"] = 1


@pytest.mark.parametrize("name", grouper.policy_ids())
def test_a_policy_cannot_be_written(name: str) -> None:
    policy = grouper.load_policy(name)
    for field in dataclasses.fields(policy):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(policy, field.name, None)
    with pytest.raises(ValidationError):
        policy.settings.id = "x"
    for mapping in (policy.tables, policy.pay_as, policy.benchmarks, policy.coefficient_table):
        with pytest.raises(TypeError):
            mapping["x"] = None  # type: ignore[index]


# ---------------------------------------------------------------------------------------- re-entrant


@pytest.fixture(scope="module")
def region() -> Region:
    return make_region(300)


def test_a_scheme_asked_for_at_once_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    _schemes._load_shipped.cache_clear()
    loads: list[str] = []
    load = _schemes._load

    def counted(folder: Any) -> Scheme:
        loads.append(folder.name)
        return load(folder)

    monkeypatch.setattr(_schemes, "_load", counted)
    found = at_once(lambda k: load_scheme("chs-drg-1.1"))
    assert len({id(s) for s in found}) == 1
    assert loads == ["chs-drg-1.1"]


@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize("fresh", [True, False], ids=["first", "again"])
def test_group_from_many_threads(name: str, fresh: bool, region: Region) -> None:
    """Each thread its own cases, unknown codes among them; a fresh scheme makes its tables in the race."""
    drg = grouper.load_drg("chs-drg-1.1")
    batches = [draw_cases(drg, seed, 150) for seed in range(THREADS)]
    for batch in batches:
        batch[0]["diagnoses"] = ["I21.001", "Z99.999x999", f"W{len(batch)}.0"]
    serial = [grouper.content_hash(grouper.group(b, name, threads=1).to_arrow()) for b in batches]
    scheme = _schemes._load(_schemes.scheme_folder(name)) if fresh else load_scheme(name)
    assert isinstance(scheme, DrgScheme | DipScheme)

    def work(k: int) -> list[str]:
        return [
            grouper.content_hash(grouper.group(batches[k], scheme).to_arrow()) for _ in range(4)
        ]

    assert at_once(work) == [[h] * 4 for h in serial]


@pytest.mark.parametrize("name", ["example-point", "example-rate"])
def test_settle_from_many_threads(name: str, region: Region) -> None:
    def paid(policy: Any) -> tuple[str, ...]:
        grouped = grouper.group(region.cases, "chs-drg-1.1")
        found = grouper.settle(grouped, policy, hospitals=region.hospitals)
        return (
            grouper.content_hash(found.cases()),
            grouper.content_hash(found.pools(), key="pool_id"),
            json.dumps(found.manifest(), default=str, sort_keys=True),
        )

    serial = paid(grouper.load_policy(name))
    policy = grouper.load_policy(name)  # one object, its parameters looked up in the race
    assert at_once(lambda k: paid(policy)) == [serial] * THREADS


@pytest.mark.parametrize("name", ["chs-drg-1.1", "dip-demo"])
def test_explain_from_many_threads(name: str) -> None:
    scheme = _schemes._load(_schemes.scheme_folder(name))
    cases = draw_cases(grouper.load_drg("chs-drg-1.1"), 5, THREADS)
    serial = [grouper.explain(c, name, near=2).to_dict() for c in cases]
    assert at_once(lambda k: grouper.explain(cases[k], scheme, near=2).to_dict()) == serial
