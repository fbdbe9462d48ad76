"""Check settlement lists: cases per second of all rules, medians of alternated runs.

python bench/quality_speed.py                 # 1,000,000 cases, 5 rounds
python bench/quality_speed.py --cases 100000
"""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
from pathlib import Path

from speed import alternated

import grouper
from grouper.testing import make_region


def main() -> None:
    """Draw a region, check it in every way, print a line for each."""
    ask = argparse.ArgumentParser()
    ask.add_argument("--cases", type=int, default=1_000_000)
    ask.add_argument("--rounds", type=int, default=5)
    given = ask.parse_args()
    cases = make_region(given.cases).cases
    scheme = grouper.load_scheme("chs-drg-1.1")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cases.parquet"
        grouper.write_table(cases, path)
        parts = {
            "table, two threads": lambda: grouper.check_quality(cases, threads=2),
            "table, one thread": lambda: grouper.check_quality(cases, threads=1),
            "table, with a scheme": lambda: grouper.check_quality(cases, scheme=scheme, threads=2),
            "Parquet file, two threads": lambda: grouper.check_quality(path, threads=2),
        }
        seconds = alternated(parts, given.rounds)
    found = grouper.check_quality(cases)
    judged = sum(r["passed"] + r["failed"] > 0 for r in found.rules)
    print(f"Python {platform.python_version()}, {given.cases:,} cases, {len(found.rules)} rules")
    print(f"of which {judged} can be judged; {found.findings.num_rows:,} findings")
    for name, spent in seconds.items():
        print(f"{name:28} {spent:7.2f} s {given.cases / spent:12,.0f} cases/s")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
