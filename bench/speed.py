"""Print cases per second, part by part: medians of alternated runs, so that drift hits all alike.

python bench/speed.py                      # 1,000,000 cases, 7 rounds
python bench/speed.py --cases 50000 --rounds 3
"""

from __future__ import annotations

import argparse
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

import grouper
from grouper.testing import make_region


def plain(table: pa.Table) -> pa.Table:
    """Return the table with its code lists as plain strings, and only the columns that grouping reads."""
    for name in ("diagnoses", "procedures"):
        lists = table[name].combine_chunks()
        flat = pa.ListArray.from_arrays(lists.offsets, lists.values.cast(pa.string()))
        table = table.set_column(table.schema.get_field_index(name), name, flat)
    return table


def lists_of(pool: Any, rng: np.random.Generator, sizes: Any) -> pa.Array:
    """Draw lists of codes from a pool, popular codes first."""
    offsets = np.zeros(len(sizes) + 1, np.int32)
    offsets[1:] = np.cumsum(sizes)
    index = (rng.zipf(1.3, offsets[-1]) % len(pool)).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(pool).take(pa.array(index)))


def alternated(parts: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Return the median seconds of each part; the parts take turns."""
    seconds: dict[str, list[float]] = {name: [] for name in parts}
    for work in parts.values():
        work()
    for _ in range(rounds):
        for name, work in parts.items():
            start = time.perf_counter()
            work()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(s) for name, s in seconds.items()}


def one_case(case: dict[str, Any], scheme: grouper.DrgScheme, times: int) -> tuple[float, float]:
    """Return median and 99th percentile in milliseconds of grouping one dict."""
    spent = []
    for _ in range(times):
        start = time.perf_counter()
        grouper.group(case, scheme)
        spent.append((time.perf_counter() - start) * 1000)
    spent.sort()
    return spent[len(spent) // 2], spent[int(len(spent) * 0.99)]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--scheme", default="chs-drg-1.1")
    args = parser.parse_args()
    n = args.cases
    start = time.perf_counter()
    scheme = grouper.load_drg(args.scheme)
    print(f"machine: {platform.machine()}, {platform.processor() or platform.platform()}")
    print(f"load scheme {scheme.id}: {time.perf_counter() - start:.2f} s")
    for module in ("grouper", "grouper.cli"):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", f"import {module}"], check=True)
        print(f"import {module} (whole process): {time.perf_counter() - start:.2f} s")
    start = time.perf_counter()
    region = make_region(n, scheme=scheme)
    print(f"draw {n:,} cases: {time.perf_counter() - start:.2f} s")
    rng = np.random.default_rng(0)
    columns = ["case_id", "sex", "age", "age_days", "birth_weight", "diagnoses", "procedures"]
    cases = plain(region.cases.select(columns))
    # about 6 diagnoses and 3 procedures for every case: more work than the region's mean
    pool = pc.unique(cases["procedures"].combine_chunks().values)
    procedures = lists_of(pool, rng, rng.poisson(2, n) + 1)
    cases = cases.set_column(columns.index("procedures"), "procedures", procedures)
    per = {c: pc.mean(pc.list_value_length(cases[c])).as_py() for c in columns[-2:]}
    print("codes a case: " + ", ".join(f"{k} {v:.1f}" for k, v in per.items()))
    batch = grouper.encode(cases, scheme)
    dictionary = cases
    for name in per:
        lists = cases[name].combine_chunks()
        folded = pa.ListArray.from_arrays(lists.offsets, lists.values.dictionary_encode())
        dictionary = dictionary.set_column(columns.index(name), name, folded)
    parts: dict[str, Callable[[], Any]] = {
        "kernel, encoded arrays, 1 core": lambda: grouper.group_encoded(batch, threads=1),
        "kernel, encoded arrays, 2 cores": lambda: grouper.group_encoded(batch, threads=2),
        "encode strings, 1 core": lambda: grouper.encode(cases, scheme, threads=1),
        "encode strings, 2 cores": lambda: grouper.encode(cases, scheme, threads=2),
        "encode dictionary, 2 cores": lambda: grouper.encode(dictionary, scheme, threads=2),
        "group strings, 1 core": lambda: grouper.group(cases, scheme, threads=1),
        "group strings, 2 cores": lambda: grouper.group(cases, scheme, threads=2),
        "group strings to Arrow, 2 cores": lambda: grouper.group(
            cases, scheme, threads=2
        ).to_arrow(),
    }
    medians = alternated(parts, args.rounds)
    print(f"{n:,} cases, medians of {args.rounds} alternated runs")
    for name, seconds in medians.items():
        print(f"  {name:34} {n / seconds / 1e6:7.2f} M cases/s   {seconds:.3f} s")
    for part in ("kernel, encoded arrays", "encode strings", "group strings"):
        ratio = medians[f"{part}, 1 core"] / medians[f"{part}, 2 cores"]
        print(f"  {part}: 2 cores are {ratio:.2f} × 1")
    case = cases.slice(5, 1).to_pylist()[0]
    one_case(case, scheme, 50)
    middle, late = one_case(case, scheme, 1000)
    print(f"  one case, warm: {middle:.3f} ms median, {late:.3f} ms p99")


if __name__ == "__main__":
    main()
