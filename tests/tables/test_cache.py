"""A scheme from its kept arrays is the scheme from its tables; what is damaged is not believed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from oracle.draw import draw_cases
from shared import SCHEMES, SHIPPED, shared
from tiny import tiny_scheme

from grouper import DrgScheme, group, load_scheme
from grouper.tables import _cache
from grouper.tables._load import load_drg_folder
from grouper.tables._types import DIAGNOSES, PROCEDURES

from .test_check import CLEAN

pytestmark = pytest.mark.promise("A damaged or stale cache is never believed")


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GROUPER_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def kept(place: Path) -> list[Path]:
    return sorted(place.glob("*.arrays"))


@pytest.fixture(autouse=True)
def cache_is_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROUPER_CACHE", "1")


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small scheme that is kept all the same."""
    monkeypatch.setattr(_cache, "LEAST", 0)
    return tiny_scheme(tmp_path / "s", **CLEAN)


@pytest.fixture
def plain(small: Path, monkeypatch: pytest.MonkeyPatch) -> DrgScheme:
    """The small scheme compiled from its tables."""
    monkeypatch.setenv("GROUPER_CACHE", "0")
    compiled = load_drg_folder(small)
    monkeypatch.setenv("GROUPER_CACHE", "1")
    return compiled


def assert_same(a: DrgScheme, b: DrgScheme) -> None:
    for f in fields(DrgScheme):
        x, y = getattr(a, f.name), getattr(b, f.name)
        if f.name == "arrays":
            for name, p, q in zip(x._fields, x, y, strict=True):
                assert (p.dtype, p.shape) == (q.dtype, q.shape), name
                assert (p == q).all(), name
                assert q.flags.c_contiguous
                assert q.flags.aligned
                assert q.flags.writeable == p.flags.writeable
        elif f.name == "sets":
            assert list(x) == list(y)
            assert all((x[k] == y[k]).all() and x[k].dtype == y[k].dtype for k in x)
        elif f.name == "code_list":
            assert (x and x.id) == (y and y.id)
        elif f.name == "sides":
            assert (x == y).all()
        else:
            assert x == y, f.name
    assert [r.rule for r in a.drgs] == [r.rule for r in b.drgs]
    assert a.set_codes == b.set_codes
    for side in (DIAGNOSES, PROCEDURES):
        v, w = a.vocabulary(side), b.vocabulary(side)
        assert v.ids == w.ids
        assert v.mask == w.mask
        assert (v.table == w.table).all()


@pytest.mark.parametrize(
    "name", ["chs-drg-1.1-qy", *(pytest.param(n, marks=pytest.mark.big) for n in SCHEMES)]
)
def test_a_kept_scheme_is_the_scheme(
    name: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = SHIPPED / name if name.startswith("chs") else shared(f"facts/{name}")
    compiled = load_drg_folder(folder)
    assert len(kept(place)) == 1
    monkeypatch.setattr("grouper.tables._load._compiled", None)  # nothing may compile now
    again = load_drg_folder(folder)
    assert_same(compiled, again)
    cases = draw_cases(compiled, 3, 300)
    assert group(cases, compiled).to_arrow() == group(cases, again).to_arrow()


def test_kept_arrays_compile_no_further_kernel() -> None:
    from grouper.kernels.drg import group_drg

    compiled = load_drg_folder(SHIPPED / "chs-drg-1.1")
    again = load_drg_folder(SHIPPED / "chs-drg-1.1")
    cases = draw_cases(compiled, 3, 10)
    group(cases, compiled)
    before = len(getattr(group_drg, "signatures", ()))
    group(cases, again)
    assert len(getattr(group_drg, "signatures", ())) == before


def test_any_byte_of_any_file_makes_another_key(small: Path, place: Path) -> None:
    load_drg_folder(small)
    for n, path in enumerate(sorted(small.iterdir()), 2):
        data = path.read_bytes()
        path.write_bytes(data + (b"# x\n" if path.suffix == ".toml" else b"\n"))
        load_drg_folder(small)
        assert len(kept(place)) == n


def test_an_inherited_table_that_changes_is_seen(small: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "scheme.toml").write_text('id = "own"\ntitle = "x"\ninherits = "s"\n', "utf-8")
    before = load_drg_folder(own)
    path = small / "sets.csv"
    path.write_text(path.read_text("utf-8") + "PX,99.9998\n", "utf-8")
    after = load_drg_folder(own)
    assert before.fingerprint != after.fingerprint
    assert "99.9998" in after.set_codes["PX"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda b: b[:-1],
        lambda b: b[: len(b) // 2],
        lambda b: b"",
        lambda b: b"x" * len(b),
        lambda b: b[:16] + bytes(8) + b[24:],
        lambda b: b[:-50] + bytes([b[-50] ^ 1]) + b[-49:],
        lambda b: b[:100] + bytes([b[100] ^ 255]) + b[101:],
        lambda b: b[:16],
    ],
)
def test_a_damaged_file_is_made_anew(
    damage: object, small: Path, place: Path, plain: DrgScheme
) -> None:
    load_drg_folder(small)
    (path,) = kept(place)
    whole = path.read_bytes()
    assert callable(damage)
    path.write_bytes(damage(whole))
    assert_same(plain, load_drg_folder(small))
    assert path.read_bytes() == whole


def test_other_arrays_under_this_key_are_not_believed(
    small: Path, place: Path, plain: DrgScheme
) -> None:
    load_drg_folder(small)
    (path,) = kept(place)
    _cache.write(path.stem, {"told": np.zeros(9, np.uint8)})
    assert_same(plain, load_drg_folder(small))


def test_a_code_with_a_line_break_is_still_one_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_cache, "LEAST", 0)
    sets = CLEAN["sets"] | {"PX": ["p0\nx", "p1"]}
    folder = tiny_scheme(tmp_path / "s", **(CLEAN | {"sets": sets}))
    compiled, again = load_drg_folder(folder), load_drg_folder(folder)
    assert "p0\nx" in compiled.codes
    assert_same(compiled, again)


def test_small_schemes_are_not_kept(tmp_path: Path, place: Path) -> None:
    folder = tiny_scheme(
        tmp_path / "s",
        mdc=[("MDCA", "")],
        adrg=[("AA1", "")],
        drg=[("AA19", "")],
        cc=[("c1", "CC", "")],
    )
    load_drg_folder(folder)
    assert kept(place) == []


def test_the_cache_is_turned_off(small: Path, place: Path, plain: DrgScheme) -> None:
    assert plain.id == small.name
    assert not place.exists()


def test_where_nothing_can_be_written_the_scheme_loads(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plain: DrgScheme
) -> None:
    (tmp_path / "file").write_text("x", "utf-8")
    monkeypatch.setenv("GROUPER_CACHE_DIR", str(tmp_path / "file" / "cache"))
    assert_same(plain, load_drg_folder(small))


def test_the_oldest_files_go(small: Path, place: Path) -> None:
    place.mkdir()
    for k in range(_cache.MOST + 5):
        path = place / f"{k:064}.arrays"
        path.write_bytes(b"x")
        os.utime(path, (k, k))
    load_drg_folder(small)
    left = kept(place)
    assert len(left) == _cache.MOST
    assert place / f"{0:064}.arrays" not in left
    assert place / f"{_cache.MOST + 4:064}.arrays" in left


LOAD = """
import time
from grouper.tables import load_scheme
start = time.monotonic()
print(load_scheme("chs-drg-1.1").fingerprint, time.monotonic() - start)
"""


def test_two_processes_at_once_and_a_third_that_finds_it(place: Path) -> None:
    env = {**os.environ, "GROUPER_CACHE_DIR": str(place), "GROUPER_CACHE": "1"}
    both = [
        subprocess.Popen([sys.executable, "-c", LOAD], env=env, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    told = [p.communicate(timeout=120)[0].split() for p in both]
    expected = load_scheme("chs-drg-1.1").fingerprint
    assert [t[0] for t in told] == [expected] * 2
    assert len(kept(place)) == 1
    assert list(place.glob("*.tmp")) == []
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", LOAD], env=env, capture_output=True, text=True, check=True
    )
    fingerprint, seconds = done.stdout.split()
    assert fingerprint == expected
    print(
        f"loaded from kept arrays in {float(seconds):.3f} s; process {time.monotonic() - start:.1f} s"
    )
    assert float(seconds) < 2
