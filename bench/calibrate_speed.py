"""How fast a DIP catalogue is built, or DRG weights are measured: dictionary Parquet, reading included.

Run ``python bench/calibrate_speed.py --cases 10000000 --method drg``. Prints time and peak memory; no more.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import grouper
from grouper.testing import make_region

ROW_GROUP = 500_000
FIRST_DAY = np.datetime64("2023-01-01", "D")


def write_cases(path: Path, n: int, seed: int = 1) -> None:
    """Write `n` cases of three years: 6 diagnoses, up to 4 procedures, codes as dictionaries."""
    rng = np.random.default_rng(seed)
    letters = "ABCDEFGHIJKLMNOPQRST"
    dx = pa.array([f"{letters[k // 1000]}{k // 10 % 100:02}.{k % 10}00" for k in range(20_000)])
    px = pa.array([f"{k // 100:02}.{k % 100:02}00" for k in range(8_000)])
    share = 1 / np.arange(1, 20_001)
    place = np.cumsum(share / share.sum())
    writer: Any = None
    for start in range(0, n, ROW_GROUP):
        m = min(ROW_GROUP, n - start)
        first = np.minimum(np.searchsorted(place, rng.random(m)), 19_999)
        codes = np.column_stack([first, rng.integers(0, 20_000, (m, 5))]).ravel()
        many = rng.choice(5, m, p=[0.45, 0.25, 0.15, 0.1, 0.05])
        main = (first[:, None] * 7 + rng.integers(0, 4, (m, 4)) ** 2) % 8_000
        kept = np.arange(4) < many[:, None]
        off = np.concatenate([[0], np.cumsum(many)]).astype(np.int32)
        cost = np.exp(13 + (first % 97) / 60 + 0.6 * rng.normal(size=m)).astype(np.int64)
        table = pa.table(
            {
                "case_id": pa.array(np.char.add("C", np.arange(start, start + m).astype(str))),
                "sex": pa.array(rng.integers(1, 3, m).astype(np.int32)),
                "age": pa.array(rng.integers(1, 95, m).astype(np.int32)),
                "discharge_date": pa.array(FIRST_DAY + rng.integers(0, 1095, m)),
                "total_cost_fen": pa.array(cost),
                "diagnoses": _lists(np.arange(0, 6 * m + 1, 6, dtype=np.int32), codes, dx),
                "procedures": _lists(off, main[kept], px),
            }
        )
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    writer.close()


def _lists(off: Any, codes: Any, names: Any) -> Any:
    values = pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32)), names)
    return pa.ListArray.from_arrays(pa.array(off), values)


def write_drg_cases(path: Path, n: int) -> None:
    """Write `n` cases of a synthetic region, the same million over and over under other ids."""
    region = make_region(min(n, 1_000_000)).cases
    writer: Any = None
    for start in range(0, n, len(region)):
        table = region.slice(0, min(len(region), n - start))
        ids = pa.array(np.char.add("C", np.arange(start, start + len(table)).astype(str)))
        table = table.set_column(table.schema.get_field_index("case_id"), "case_id", ids)
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table, row_group_size=ROW_GROUP)
    writer.close()


def main() -> None:
    """Write the cases, warm up the kernels on a few, calibrate all."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--cases", type=int, default=1_000_000)
    parser.add_argument("--method", choices=["dip", "drg"], default="dip")
    given = parser.parse_args()
    n, base = given.cases, "chs-drg-1.1" if given.method == "drg" else None
    with tempfile.TemporaryDirectory() as name:
        small, large = Path(name) / "small.parquet", Path(name) / "large.parquet"
        write = write_drg_cases if base else write_cases
        write(small, 2_000)
        write(large, n)
        run: Any = grouper.calibrate
        run(small, given.method, base=base)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        begin = time.perf_counter()
        found = run(large, given.method, base=base)
        spent = time.perf_counter() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    report = found.report
    print(
        f"{n:,} cases in {spent:.1f} s; peak memory {peak / 2**20:.2f} GB ({before / 2**20:.2f} before)"
    )
    if base:
        print(f"groups: {report['groups']}; R² of cost {report['r2_cost']}")
    else:
        print(f"{report['core_groups']} core and {report['mixed_groups']} mixed groups")


if __name__ == "__main__":
    main()
