"""How fast DIP matching is: one kernel, 10,000 groups, 6 diagnoses and 3 procedures a case.

Run ``python bench/dip_speed.py``. Medians of alternated runs; nothing here is asserted.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

import grouper
from grouper import _chunks
from grouper._grouping import dip_cases, group_dip_range
from grouper.tables._types import empty_dip_groups

GROUPS, KEYS, CODES = 10_000, 1_600, 4_000


def write_catalogue(folder: Path, groups: int = GROUPS, seed: int = 1) -> list[list[str]]:
    """Write a catalogue in the proportions of the national one; return codes by group."""
    rng = random.Random(seed)
    keys = sorted(
        {
            f"{rng.choice('ABCDEFGHIJKLMN')}{rng.randrange(100):02}.{rng.randrange(10)}"
            for _ in range(KEYS * 2)
        }
    )[:KEYS]
    codes = [f"{k // 100:02}.{k % 100:02}00" for k in range(CODES)]
    rows, found = ["code,name,class,principal,main,related,any_procedures,score,mean_cost"], []
    for k in range(12):
        rows.append(f"XQ-{k},pre {k},pre,*,*,,{codes[k]},,")
    for k, key in enumerate(sorted(rng.choices(keys, k=groups - 12))):
        kind = "merged" if rng.random() < 0.35 else "basic"
        main = rng.sample(codes[20:], rng.choice((0, 1, 1, 2, 6)))
        related = rng.sample(codes[20:], rng.choice((1, 2))) if main and rng.random() < 0.2 else []
        cells = [f"G-{k}", f"group {k}", kind, key, "|".join(main), "+".join(related), ""]
        rows.append(",".join([*cells, str(rng.randrange(1, 9999)), str(rng.randrange(999, 99999))]))
        found.append([key, *main[:1], *related])
    (folder / "groups.csv").write_text("\n".join(rows) + "\n", "utf-8")
    (folder / "scheme.toml").write_text(
        'id = "bench"\ntitle = "bench"\nkind = "dip"\nprofile = "national-3.0"\n', "utf-8"
    )
    return found


def _folded(texts: Any) -> Any:
    column = pa.chunked_array([texts.ravel().tolist()], pa.string())
    return column.combine_chunks().dictionary_encode()


def make_cases(found: list[list[str]], n: int, seed: int = 2) -> pa.Table:
    """Draw cases of six diagnoses and three procedures, most of which some group takes."""
    rng = np.random.default_rng(seed)
    principal = [f"{g[0]}00x{k:03}" for g in found for k in range(2)]
    wanted = [[*g[1:3], *["99.9900"] * 3][:3] for g in found for _ in range(2)]
    at = rng.integers(0, len(principal), n)
    first = np.array(principal)[at]
    others = np.array(sorted(set(principal)))[rng.integers(0, len(set(principal)), (n, 5))]
    dx = _folded(np.column_stack([first, others]))
    px = _folded(np.array(wanted)[at])
    return pa.table(
        {
            "case_id": pa.array([str(k) for k in range(n)]),
            "sex": pa.array(np.ones(n, np.int32)),
            "age": pa.array(rng.integers(1, 90, n)),
            "diagnoses": pa.ListArray.from_arrays(np.arange(0, 6 * n + 1, 6, dtype=np.int32), dx),
            "procedures": pa.ListArray.from_arrays(np.arange(0, 3 * n + 1, 3, dtype=np.int32), px),
        }
    )


def main() -> None:
    """Time the kernel on one and two cores, and the whole of `group`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--cases", type=int, default=1_000_000)
    n = parser.parse_args().cases
    with tempfile.TemporaryDirectory() as name:
        found = write_catalogue(Path(name))
        begin = time.perf_counter()
        scheme = grouper.load_catalogue(name)
        print(f"load {time.perf_counter() - begin:.2f} s")
    batch = grouper.encode(make_cases(found, n), scheme)
    cases, out = dip_cases(batch), empty_dip_groups(n)
    times: dict[int, list[float]] = {1: [], 2: []}
    for turn in range(8):
        for threads, spent in times.items():
            begin = time.perf_counter()
            _chunks.run(lambda a, b: group_dip_range(cases, scheme, out, a, b), n, threads)
            if turn:
                spent.append(time.perf_counter() - begin)
    for threads, spent in times.items():
        print(f"kernel, {threads} core(s): {n / statistics.median(spent) / 1e6:.2f} M cases/s")
    share = np.bincount(out.status, minlength=4) / n
    print(f"grouped {share[0]:.1%}, ungrouped {share[2]:.1%}")


if __name__ == "__main__":
    main()
