"""`grouper pipe`, warm: microseconds from a line in to its answer out, median and 99th percentile.

python bench/pipe_speed.py                 # 20,000 lines a scheme
python bench/pipe_speed.py --lines 2000
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import time
from typing import Any

import grouper
from grouper.testing import make_region

FIELDS = ("case_id", "sex", "age", "age_days", "los", "department", "diagnoses", "procedures")
CASES = 2000


def main() -> None:
    """Ask a pipe of its own about drawn cases, one after another."""
    ask = argparse.ArgumentParser()
    ask.add_argument("--lines", type=int, default=20_000)
    given = ask.parse_args()
    cases = make_region(CASES).cases.to_pylist()
    asked = [json.dumps(_sent(c), ensure_ascii=False).encode() + b"\n" for c in cases]
    print(
        f"Python {platform.python_version()}, {given.lines:,} lines a scheme, as seen by the caller"
    )
    for scheme in ("chs-drg-1.1", "dip-demo"):
        spent = sorted(timed(scheme, asked, given.lines))
        half, most = spent[len(spent) // 2], spent[len(spent) * 99 // 100]
        print(f"{scheme:14} median {half:6.0f} us   p99 {most:6.0f} us", flush=True)


def _sent(case: dict[str, Any]) -> dict[str, Any]:
    return {k: case[k] for k in FIELDS if case.get(k) is not None}


def timed(scheme: str, asked: list[bytes], n: int) -> list[float]:
    """Return the microseconds of each answer; the first hundred warm up."""
    assert scheme in grouper.scheme_ids()
    command = [sys.executable, "-m", "grouper.cli", "pipe", "--scheme", scheme]
    spent = []
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as p:
        assert p.stdin
        assert p.stdout
        for k in range(n + 100):
            start = time.perf_counter()
            p.stdin.write(asked[k % len(asked)])
            p.stdin.flush()
            answer = p.stdout.readline()
            spent.append((time.perf_counter() - start) * 1e6)
            assert b'"error"' not in answer, answer
        p.stdin.close()
    return spent[100:]


if __name__ == "__main__":
    main()
