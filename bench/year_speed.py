"""Settle a region's year, months and clearing, in a process of its own: seconds and peak memory.

python bench/year_speed.py                 # 1,000,000 cases, 300 hospitals, 2 insurances, 12 months
python bench/year_speed.py --cases 100000

The grouped cases are drawn and written first; timed is what `settle` does on two threads and on one,
after one run that compiles. The content hashes of both, and of the rows in another order, must be equal.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

import grouper
from grouper import _demo
from grouper._writing import RUN_KEYS as KEYS
from grouper.testing import make_region


def prepare(folder: Path, cases: int, hospitals: int, method: str) -> None:
    """Draw a region, group it, and write what settling reads."""
    region = make_region(cases, hospitals=hospitals)
    _demo.write_inputs(region, folder, "chs-drg-1.1", method)
    grouped = grouper.group(region.cases, "chs-drg-1.1")
    grouper.write_table(grouped.to_arrow(carry=True), folder / "grouped.parquet")


def one(folder: Path, threads: int, mixed: bool) -> None:
    """Settle once and print the facts as JSON."""
    table = grouper.read_grouped(folder / "grouped.parquet")
    hospitals = grouper.read_hospitals(folder / "hospitals.csv")
    policy = grouper.load_policy(folder / "policy")
    few = table.slice(0, 100)
    grouper.settle(few, policy, hospitals=hospitals, threads=threads)  # loads the kernels
    if mixed:
        order = np.random.default_rng(1).permutation(len(table))
        table = table.take(pa.array(order))
    start = time.perf_counter()
    found = grouper.settle(table, policy, hospitals=hospitals, threads=threads)
    seconds = time.perf_counter() - start
    tables = found.tables()
    facts = {
        "seconds": seconds,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "rows": {name: t.num_rows for name, t in tables.items()},
        "hashes": {n: grouper.content_hash(tables[n], key=k) for n, k in KEYS.items()},
        "proof": [p["accrual"] for p in found.manifest()["proof"]],
    }
    print(json.dumps(facts))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=1_000_000)
    parser.add_argument("--hospitals", type=int, default=300)
    parser.add_argument("--method", default="point", choices=["point", "rate"])
    parser.add_argument("--one", metavar="DIR", help=argparse.SUPPRESS)
    parser.add_argument("--threads", type=int, default=2, help=argparse.SUPPRESS)
    parser.add_argument("--mixed", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        one(Path(args.one), args.threads, args.mixed)
        return
    with tempfile.TemporaryDirectory() as name:
        prepare(Path(name), args.cases, args.hospitals, args.method)
        seen = []
        for threads, more in ((2, []), (2, []), (1, []), (2, ["--mixed"])):
            command = [sys.executable, __file__, "--one", name, "--threads", str(threads), *more]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            facts = json.loads(done.stdout)
            seen.append(facts)
            order = "rows mixed" if more else "as drawn"
            print(
                f"{args.cases:,} cases, {threads} threads, {order}: "
                f"{facts['seconds']:.1f} s, peak {facts['peak_mb']} MB",
                flush=True,
            )
        print("rows: " + ", ".join(f"{k} {v:,}" for k, v in seen[0]["rows"].items()))
        if any(facts["hashes"] != seen[0]["hashes"] for facts in seen):
            sys.exit("the content hashes differ")
        print("the content hashes are equal")


if __name__ == "__main__":
    main()
