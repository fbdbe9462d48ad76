"""How fast the casemix of a run is: its rows and its cases from Parquet, reading included.

Run ``python bench/casemix_speed.py --cases 10000000``. Prints time and peak memory; asserts nothing.
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
from grouper._casemix import figures
from grouper._casemix_cases import RUN, gather
from grouper.io import RunFolder
from grouper.testing import make_region

ROW_GROUP = 500_000
PATIENTS = 0.7
"""Patients a case: the others come again."""


def write_year(folder: Path, n: int) -> None:
    """Write a settled region's rows and cases, the same over and over under other ids."""
    few = min(n, 500_000)
    region = make_region(few)
    settled = grouper.settle(grouper.group(region.cases, "chs-drg-1.1"), "example-point")
    patients = np.random.default_rng(1).integers(0, int(n * PATIENTS), n)
    for name, table in (("rows", settled.cases()), ("cases", region.cases)):
        writer: Any = None
        for start in range(0, n, few):
            part = table.slice(0, min(few, n - start))
            ids = pa.array(np.char.add("C", np.arange(start, start + len(part)).astype(str)))
            part = part.set_column(part.schema.get_field_index("case_id"), "case_id", ids)
            if name == "cases":
                who = np.char.add("P", patients[start : start + len(part)].astype(str))
                part = part.append_column("patient_id", pa.array(who))
            writer = writer or pq.ParquetWriter(folder / f"{name}.parquet", part.schema)
            writer.write_table(part, row_group_size=ROW_GROUP)
        writer.close()


def main() -> None:
    """Write a year, work its casemix out."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--cases", type=int, default=1_000_000)
    n = parser.parse_args().cases
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_year(folder, n)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        begin = time.perf_counter()
        options = grouper.CasemixOptions()
        rows = pq.read_table(folder / "rows.parquet", columns=list(RUN))
        run = RunFolder(folder, {"cases": rows}, {})
        report = figures(gather(run, folder / "cases.parquet", options), options, {})
        spent = time.perf_counter() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    hospitals = len(report.tables["by_hospital"].rows)
    print(
        f"{n:,} cases, {hospitals} hospitals in {spent:.1f} s; peak memory {peak / 2**20:.2f} GB "
        f"({before / 2**20:.2f} before)"
    )


if __name__ == "__main__":
    main()
