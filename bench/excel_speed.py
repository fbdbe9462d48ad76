"""Excel in and out: 200,000 grouped cases with their columns, written and read, medians of alternated runs.

python bench/excel_speed.py                 # 200,000 rows, 3 rounds
python bench/excel_speed.py --cases 20000
"""

from __future__ import annotations

import argparse
import platform
import tempfile
from pathlib import Path

from speed import alternated

import grouper
from grouper.testing import make_region


def main() -> None:
    """Draw a region, write and read it, print a line for each."""
    ask = argparse.ArgumentParser()
    ask.add_argument("--cases", type=int, default=200_000)
    ask.add_argument("--rounds", type=int, default=3)
    given = ask.parse_args()
    cases = make_region(given.cases).cases
    grouped = grouper.group(cases, "chs-drg-1.1")
    table, plain = grouped.to_arrow(carry=True), grouped.to_arrow()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        grouper.write_table(cases, folder / "cases.xlsx")
        parts = {
            f"results, {plain.num_columns} columns": lambda: grouper.write_table(
                plain, folder / "plain.xlsx"
            ),
            f"results with cases, {table.num_columns} columns": lambda: grouper.write_table(
                table, folder / "out.xlsx"
            ),
            f"cases in, {cases.num_columns} columns": lambda: grouper.read_cases(
                folder / "cases.xlsx"
            ),
        }
        seconds = alternated(parts, given.rounds)
    print(f"Python {platform.python_version()}, {given.cases:,} rows")
    for part, spent in seconds.items():
        print(f"{part:34} {spent:7.2f} s {given.cases / spent:12,.0f} rows/s")


if __name__ == "__main__":
    main()
