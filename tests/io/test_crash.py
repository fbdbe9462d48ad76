"""Killed, out of space, in each other's way, damaged: the old or the new stands whole, or a clear error."""

from __future__ import annotations

import gzip
import itertools
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import grouper
from grouper import _atomic
from grouper._demo import make
from grouper._writing import check_run
from grouper.errors import CaseFileError
from grouper.io import read_run, write_run, write_table

pytestmark = pytest.mark.skipif(os.name == "nt", reason="kills and limits of POSIX")

KILLER = Path(__file__).with_name("killer.py")


@pytest.fixture(scope="module")
def year(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A demo region-year of 1,200 cases."""
    folder = tmp_path_factory.mktemp("crash") / "year"
    make(folder, 1200, None, 7, "point", None, "en")
    return folder


def killed(year: Path, place: Path, kills: int) -> dict[str, int]:
    """Kill a run at so many moments; return how many fell before, into and after its writing."""
    command = [sys.executable, str(KILLER), str(year), str(place), str(kills)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    assert sum(found.values()) == kills
    return found


@pytest.mark.big
@pytest.mark.promise("Killed at any moment, the earlier or the new result stands whole")
def test_killed_at_some_moments(year: Path, tmp_path: Path) -> None:
    assert set(killed(year, tmp_path, 6)) == {"before", "writing", "after"}


@pytest.mark.big
@pytest.mark.promise("Killed at any moment, the earlier or the new result stands whole")
def test_killed_at_fifty_moments(year: Path, tmp_path: Path) -> None:
    found = killed(year, tmp_path, 50)
    assert found["writing"] >= 5
    assert found["before"] >= 5


# ------------------------------------------------------------------------------- no room, no right


def limited(code: str, *args: str, most: int | None = None) -> subprocess.CompletedProcess[str]:
    """Run a piece of Python; no file that it writes may be longer than `most` bytes."""

    def limit() -> None:
        if most is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

    command = [sys.executable, "-c", code, *args]
    return subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=limit)


MAIN = "import sys; from grouper.cli import main; main()"


@pytest.mark.big
@pytest.mark.promise("On a full disk nothing half-written remains and nothing earlier is damaged")
def test_a_full_disk(year: Path, tmp_path: Path) -> None:
    cases, run = str(year / "cases.parquet"), tmp_path / "run"
    shutil.copytree(year / "run", run)
    before = {p.name: p.read_bytes() for p in run.iterdir()}
    args = (
        "run",
        cases,
        "--scheme",
        "chs-drg-1.1",
        "--policy",
        str(year / "policy"),
        "-o",
        str(run),
    )
    done = limited(MAIN, *args, "--overwrite", most=20_000)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "cannot be written" in done.stderr
    assert {p.name: p.read_bytes() for p in run.iterdir()} == before
    for ending in ("parquet", "csv", "arrow", "xlsx"):
        out = tmp_path / f"grouped.{ending}"
        out.write_text("earlier")
        done = limited(MAIN, "group", cases, "--scheme", "chs-drg-1.1", "-o", str(out), most=20_000)
        assert (done.returncode, out.read_text()) == (2, "earlier"), done.stderr
        assert "grouped" in done.stderr
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


@pytest.mark.promise("Where nothing may be written the run is refused, and says where")
def test_a_place_that_takes_nothing(tmp_path: Path) -> None:
    table = pa.table({"case_id": ["1"]})
    with pytest.raises(CaseFileError, match="/proc"):
        write_table(table, "/proc/grouper/x.parquet")
    with pytest.raises(CaseFileError, match="cannot be written"):
        write_run("/proc/grouper-run", {"cases": table}, {})
    (tmp_path / "file").write_text("a file")
    with pytest.raises(CaseFileError, match="cannot be written"):
        write_run(tmp_path / "file" / "run", {"cases": table}, {})
    if os.geteuid() != 0:
        folder = tmp_path / "closed"
        folder.mkdir(mode=0o500)
        with pytest.raises(CaseFileError, match="Permission denied"):
            write_run(folder / "run", {"cases": table}, {})


# ---------------------------------------------------------------------------------- two at a time


WRITER = """
import sys, pyarrow as pa
from grouper.io import write_run
from grouper.errors import CaseFileError
folder, mark, overwrite = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "yes"
done = 0
for k in range(40):
    n = 200 + mark * 10 + k
    table = pa.table({"case_id": [f"{mark}-{i}" for i in range(n)], "pay_fen": [mark] * n})
    try:
        write_run(folder, {"cases": table, "pools": pa.table({"pool_id": [str(mark)]})},
                  {"mark": mark, "n": n}, overwrite=overwrite)
        done += 1
    except CaseFileError as e:
        said = str(e)
        assert any(w in said for w in ("earlier run", "cannot be written", "not empty")), said
print(done)
"""


@pytest.mark.big
@pytest.mark.promise("Two runs into one folder: one of the two stands whole")
@pytest.mark.parametrize("overwrite", ["yes", "no"])
def test_two_runs_into_one_folder(overwrite: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    command = [sys.executable, "-c", WRITER, str(run)]
    both = [
        subprocess.Popen([*command, str(mark), overwrite], stdout=subprocess.PIPE, text=True)
        for mark in (1, 2, 3)
    ]
    done = sum(int(p.communicate()[0]) for p in both)
    assert all(p.returncode == 0 for p in both)
    found = read_run(run)
    mark, n = found.manifest["mark"], found.manifest["n"]
    assert found.tables["cases"]["case_id"].to_pylist() == [f"{mark}-{i}" for i in range(n)]
    assert found.tables["pools"]["pool_id"].to_pylist() == [str(mark)]
    assert done > 3 if overwrite == "yes" else done == 1
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_what_killed_runs_left_is_swept_and_what_lives_is_not(tmp_path: Path) -> None:
    run = tmp_path / "run"
    table = pa.table({"case_id": ["1"]})
    stale = tmp_path / ".run.0123abcd.tmp"
    stale.mkdir()
    (stale / "cases.parquet").write_bytes(b"half")
    alive, lock = _atomic.make_folder(run)
    foreign = tmp_path / ".run.tmp"
    foreign.mkdir()
    write_run(run, {"cases": table}, {})
    assert not stale.exists()
    assert alive.exists()
    assert foreign.exists()
    assert lock is not None
    os.close(lock)
    aside = tmp_path / ".run.89abcdef.old"
    os.rename(run, aside)  # killed between the two names, where names cannot be swapped
    assert read_run(run).tables["cases"].equals(table)
    assert not aside.exists()
    (tmp_path / ".run.89abcdef.old").mkdir()
    write_run(run, {"cases": table}, {}, overwrite=True)
    assert not aside.exists()
    half = tmp_path / ".a.csv.0123abcd.tmp"
    half.write_bytes(b"half")
    write_table(table, tmp_path / "a.csv")
    assert not half.exists()


# ------------------------------------------------------------------------------ files that change


CSV = "case_id,sex,age,diagnoses,procedures\n" + "".join(
    f"{k},1,40,I10.x00,\n" for k in range(3000)
)


@pytest.mark.promise("A file that changes while it is read is read whole or refused")
def test_a_file_that_changes_while_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "cases.csv"
    path.write_text(CSV)
    stop = threading.Event()

    def append() -> None:
        while not stop.is_set():
            with path.open("a") as f:
                f.write("x,1,40,I10.x00,\n")
                f.flush()
            time.sleep(0.0002)

    writer = threading.Thread(target=append)
    writer.start()
    try:
        said = set()
        for _ in range(30):
            try:
                n = len(grouper.read_cases(path))
                assert n >= 3000
                said.add("read")
            except CaseFileError as e:
                assert "changed while it was read" in str(e)  # noqa: PT017
                said.add("refused")
    finally:
        stop.set()
        writer.join()
    assert said
    clock = itertools.count()

    def changing(handle: int) -> Any:
        return SimpleNamespace(st_size=len(CSV), st_mtime_ns=next(clock))

    path.write_text(CSV)
    with monkeypatch.context() as m:
        m.setattr("grouper._reading.os.fstat", changing)
        with pytest.raises(CaseFileError, match=r"cases\.csv: it was changed while it was read"):
            grouper.read_cases(path)
    path.write_text(CSV)
    assert len(grouper.read_cases(path)) == 3000


# ------------------------------------------------------------------------------------ damaged files


def cases_table() -> pa.Table:
    n = 400
    return pa.table(
        {
            "case_id": [str(k) for k in range(n)],
            "sex": [1 + k % 2 for k in range(n)],
            "age": [k % 90 for k in range(n)],
            "diagnoses": [["I10.x00", "E11.900"][: 1 + k % 2] for k in range(n)],
            "procedures": pa.array([[] for _ in range(n)], pa.list_(pa.string())),
            "total_cost_fen": [k * 101 for k in range(n)],
        }
    )


def as_parquet(path: Path) -> None:
    write_table(cases_table(), path)


def as_arrow(path: Path) -> None:
    write_table(cases_table(), path)


def as_excel(path: Path) -> None:
    pytest.importorskip("xlsxwriter")
    write_table(cases_table(), path)


def as_gzip(path: Path) -> None:
    path.write_bytes(gzip.compress(CSV.encode()))


@pytest.mark.promise("Truncated and damaged files are refused, never read as other cases")
@pytest.mark.parametrize(
    ("name", "write"),
    [("c.parquet", as_parquet), ("c.arrow", as_arrow), ("c.csv.gz", as_gzip), ("c.xlsx", as_excel)],
)
def test_truncated_files(name: str, write: Callable[[Path], None], tmp_path: Path) -> None:
    path = tmp_path / name
    write(path)
    data, whole = path.read_bytes(), grouper.read_cases(path).table
    rng = random.Random(1)
    for cut in sorted({0, 1, 4, len(data) - 1, *rng.sample(range(len(data)), 40)}):
        path.write_bytes(data[:cut])
        try:
            found = grouper.read_cases(path).table
        except CaseFileError as e:
            assert name in str(e)  # noqa: PT017
        else:
            assert found.equals(whole), cut


@pytest.mark.promise("Truncated and damaged files are refused, never read as other cases")
@pytest.mark.parametrize(("name", "write"), [("c.parquet", as_parquet), ("c.csv.gz", as_gzip)])
def test_one_flipped_bit(name: str, write: Callable[[Path], None], tmp_path: Path) -> None:
    """Files with checksums: what we write as Parquet, and gzip."""
    path = tmp_path / name
    write(path)
    data, whole = path.read_bytes(), grouper.read_cases(path).table
    rng, refused = random.Random(2), 0
    tail = len(data) - int.from_bytes(data[-8:-4], "little") - 8 if name.endswith("parquet") else 0
    for _ in range(300):
        at = rng.randrange(len(data))
        bent = bytearray(data)
        bent[at] ^= 1 << rng.randrange(8)
        path.write_bytes(bent)
        try:
            found = grouper.read_cases(path).table
        except grouper.GrouperError:
            refused += 1
            continue
        if tail and at >= tail:
            continue  # the footer has no checksum: the sha256 of the manifest is what proves it
        assert found.equals(whole), at
    assert refused > 200


@pytest.mark.big
@pytest.mark.promise("A run that was changed is not believed")
def test_one_flipped_bit_in_a_run(year: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(year / "run", run)
    path = run / "hospitals.parquet"
    data, rng = path.read_bytes(), random.Random(3)
    whole = read_run(run).tables["hospitals"]
    for _ in range(150):
        bent = bytearray(data)
        bent[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(bent)
        try:
            found = read_run(run)
            check_run(found)
        except grouper.GrouperError:
            continue
        assert found.tables["hospitals"].equals(whole)


# ------------------------------------------------------------------------------------------- bombs


BOMB = """
import resource, sys, grouper
from grouper.errors import CaseFileError
resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    grouper.read_cases(sys.argv[1])
except CaseFileError as e:
    print(e)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def zeros(path: Path) -> None:
    """Write 640 MB of zeros as gzip."""
    pack = zlib.compressobj(6, zlib.DEFLATED, 31)
    block = bytes(1 << 24)
    with path.open("wb") as f:
        for _ in range(40):
            f.write(pack.compress(block))
        f.write(pack.flush())


def one_value(path: Path) -> None:
    """Write 300 million equal rows as Parquet, a few kilobytes."""
    n = 5_000_000
    ids = pa.DictionaryArray.from_arrays(
        pa.array([0] * 1, pa.int32()).take(pa.nulls(n, pa.int32()).fill_null(0)), ["x"]
    )
    table = pa.table({"case_id": ids})
    with pq.ParquetWriter(path, table.schema) as writer:
        for _ in range(60):
            writer.write_table(table)


@pytest.mark.big
@pytest.mark.promise("A bomb is refused in bounded memory")
@pytest.mark.parametrize(("name", "write"), [("c.csv.gz", zeros), ("c.parquet", one_value)])
def test_bombs(name: str, write: Callable[[Path], None], tmp_path: Path) -> None:
    path = tmp_path / name
    write(path)
    assert path.stat().st_size < 5_000_000
    done = limited(BOMB, str(path))
    said, grown = done.stdout.splitlines()
    assert name in said
    assert "as no cases do" in said
    assert int(grown) < 900_000  # kilobytes
