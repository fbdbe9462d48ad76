"""Kill `grouper run` at random moments, in a process of its own: killer.py YEAR PLACE KILLS.

Each run is a fork of this process, so the kernels are loaded already. After every kill the target must
be absent, the earlier run or the new one, whole; the next try must give the same bytes and leave nothing.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import time
from collections import Counter
from pathlib import Path

from grouper import _runs
from grouper._writing import check_run
from grouper.io import read_run

MANIFEST = "manifest.json"


def pay(year: Path, target: Path) -> None:
    cases = str(year / "cases.parquet")
    grouped, facts = _runs.group_files(cases, "chs-drg-1.1", threads=1)
    order = _runs.Order(str(year / "policy"), str(year / "hospitals.csv"), threads=1)
    origin = _runs.Origin(cases, ("chs-drg-1.1",))
    _runs.pay(grouped, order, target, facts, overwrite=True, origin=origin)


def start(year: Path, target: Path) -> int:
    child = os.fork()
    if child == 0:
        code = 1
        try:
            pay(year, target)
            code = 0
        finally:
            os._exit(code)
    return child


def finish(year: Path, target: Path) -> tuple[float, float]:
    """Run to the end; return the seconds until it writes, and while it does."""
    begin = time.perf_counter()
    child = start(year, target)
    wait_for_writing(target, child)
    until = time.perf_counter()
    _, status = os.waitpid(child, 0)
    if status:
        sys.exit("an undisturbed run fails")
    return until - begin, time.perf_counter() - until


def wait_for_writing(target: Path, child: int) -> None:
    """Wait until the hidden folder is there, or the child is not."""
    while not is_half(target):
        if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            return
        time.sleep(0.0005)


def is_half(target: Path) -> bool:
    return any(p.name.startswith(f".{target.name}.") for p in target.parent.iterdir())


def digest(target: Path) -> str:
    """Return the content hash of a run that is whole."""
    run = read_run(target)
    check_run(run)
    return str(run.manifest["content_hash"])


def main() -> None:
    year, place, kills = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    target, earlier = place / "run", place / "earlier"
    pay(year, target)  # every fork has the kernels and the scheme at hand
    wanted = digest(target)
    shutil.copytree(target, earlier)
    manifest = json.loads((earlier / MANIFEST).read_text("utf-8"))
    (earlier / MANIFEST).write_text(json.dumps({**manifest, "note": "earlier"}), "utf-8")
    before, writing = (min(s) for s in zip(*(finish(year, target) for _ in range(3)), strict=True))
    rng, stages = random.Random(kills), Counter({"before": 0, "writing": 0, "after": 0})
    for k in range(kills):
        shutil.rmtree(target)
        if k % 2:
            shutil.copytree(earlier, target)
        child = start(year, target)
        if k % 3:
            wait_for_writing(target, child)
            time.sleep(rng.uniform(0, 1.1) * writing)
        else:
            time.sleep(rng.uniform(0, 1) * before)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        half = is_half(target)
        is_new = False
        if target.exists():
            if digest(target) != wanted:
                sys.exit(f"kill {k}: the run that stands is another")
            is_new = "note" not in json.loads((target / MANIFEST).read_text("utf-8"))
        elif k % 2 and not half:
            sys.exit(f"kill {k}: the earlier run is gone")
        stages["writing" if half else "after" if is_new else "before"] += 1
        finish(year, target)
        if digest(target) != wanted:
            sys.exit(f"kill {k}: the next try gives another run")
        if left := sorted(p.name for p in place.iterdir() if p.name.startswith(".run")):
            sys.exit(f"kill {k}: the next try leaves {left}")
    print(json.dumps(stages))


if __name__ == "__main__":
    main()
