"""Load the service: single cases a second, a request of 10,000 cases, and mixed questions for a while.

python bench/service_speed.py                 # 20 s of single cases, 120 s of mixed questions
python bench/service_speed.py --seconds 3 --mixed 5

The service runs with two workers on this machine, the load too: `wrk` for single cases where it is
installed (Debian's package), else threads of Python, which cost more than what they ask. Every answer of
the mixed load is compared with the library's own; memory is that of all processes of the service.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from serving import Served

import grouper
from grouper._case_model import EXAMPLE
from grouper._result_rows import result_rows
from grouper.testing import make_region

SCHEME = "chs-drg-1.1"
CONNECTIONS = 16
MOST_GROWTH_MB = 50


def main() -> None:
    """Run the three loads; exit 1 for a wrong answer or memory that grows."""
    ask = argparse.ArgumentParser()
    ask.add_argument("--seconds", type=int, default=20)
    ask.add_argument("--mixed", type=int, default=120)
    given = ask.parse_args()
    print(f"Python {platform.python_version()}, two workers, {CONNECTIONS} connections")
    service = Served("--workers", "2")
    try:
        body = json.dumps({"scheme": SCHEME, "cases": [EXAMPLE]})
        print(single(service.port, body, given.seconds))
        print(f"a request of 10,000 cases: {many(service):.3f} s (median of 5)")
        wrong = mixed(service, given.mixed)
    finally:
        service.kill()
    sys.exit(wrong)


def single(port: int, body: str, seconds: int) -> str:
    """Ask about one case again and again; say how many a second and how long they took."""
    wrk = shutil.which("wrk")
    if wrk is None:
        return f"single cases: {by_threads(port, body, seconds)} (threads of Python; install wrk)"
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "one.lua"
        lua = f'wrk.method="POST"\nwrk.body=[[{body}]]\nwrk.headers["content-type"]="application/json"\n'
        script.write_text(lua)
        options = ("-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", "-s", str(script))
        command = [wrk, *options, f"http://127.0.0.1:{port}/v1/group"]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    kept = ("50%", "99%", "Requests/sec", "Non-2xx")
    lines = [" ".join(x.split()) for x in said.splitlines() if any(k in x for k in kept)]
    return f"single cases: {', '.join(lines)} (wrk)"


def by_threads(port: int, body: str, seconds: int) -> str:
    """Ask by threads of this process."""
    took: list[float] = []
    end = time.monotonic() + seconds

    def work() -> None:
        link = HTTPConnection("127.0.0.1", port, timeout=60)
        while time.monotonic() < end:
            start = time.perf_counter()
            link.request("POST", "/v1/group", body, {"content-type": "application/json"})
            assert link.getresponse().read().startswith(b'{"scheme"')
            took.append(time.perf_counter() - start)

    threads = [threading.Thread(target=work) for _ in range(CONNECTIONS)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    cut = statistics.quantiles(took, n=100)
    return f"{len(took) / seconds:,.0f}/s, 50% {cut[49] * 1000:.1f} ms, 99% {cut[98] * 1000:.1f} ms"


def many(service: Served) -> float:
    """Time requests of 10,000 cases."""
    cases = [{**EXAMPLE, "case_id": str(k)} for k in range(10_000)]
    took = []
    for _ in range(5):
        start = time.perf_counter()
        status, answer = service.ask("POST", "/v1/group", {"scheme": SCHEME, "cases": cases})
        took.append(time.perf_counter() - start)
        assert status == 200
        assert json.loads(answer)["counts"]["grouped"] == len(cases)
    return statistics.median(took)


def mixed(service: Served, seconds: int) -> int:
    """Ask everything at once for a while; return 1 if an answer is wrong or memory grows."""
    questions = drawn()
    counts = {"asked": 0, "wrong": 0}
    lock = threading.Lock()

    def work(seed: int, end: float) -> None:
        rng = random.Random(seed)
        while time.monotonic() < end:
            method, path, body, wanted = rng.choice(questions)
            status, answer = service.ask(method, path, body)
            fits = status == 200 and (wanted is None or told(answer) == wanted)
            with lock:
                counts["asked"] += 1
                counts["wrong"] += not fits

    def run(length: float) -> None:
        end = time.monotonic() + length
        threads = [threading.Thread(target=work, args=(k, end)) for k in range(CONNECTIONS)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()

    for method, path, body, _ in questions * 3:  # schemes, code lists and searches are loaded once
        service.ask(method, path, body)
    run(max(seconds / 6, 3))
    before = memory_mb(service.process.pid)
    run(seconds)
    grown = memory_mb(service.process.pid) - before
    print(
        f"mixed questions, {seconds} s: {counts['asked']:,} asked, {counts['wrong']} wrong; "
        f"memory {before:.0f} MB, grown by {grown:.1f} MB"
    )
    return int(bool(counts["wrong"]) or grown > MOST_GROWTH_MB)


def told(answer: bytes) -> Any:
    """Return an answer without the counts of what was normalised."""
    found = json.loads(answer)
    found.pop("normalised", None)
    return found


def drawn() -> list[tuple[str, str, Any, Any]]:
    """Draw questions of every kind and, where the library has the answer, that."""
    table = grouper.read_cases(make_region(1_000).cases).table
    rows = [
        {k: v for k, v in r.items() if v is not None}
        for r in json.loads(json.dumps(table.to_pylist(), default=str))
    ]
    found: list[tuple[str, str, Any, Any]] = []
    for scheme in (SCHEME, "dip-demo"):
        loaded = grouper.load_scheme(scheme)
        for size in (1, 1, 1, 10, 200):
            for at in range(0, 200, 200 // 4):
                cases = rows[at : at + size]
                batch = grouper.group(table.slice(at, size), loaded)
                wanted: Any = {
                    "scheme": loaded.id,
                    "fingerprint": loaded.fingerprint,
                    "counts": batch.counts(),
                    "results": json.loads(json.dumps(result_rows(batch), default=str)),
                }
                found.append(("POST", "/v1/group", {"scheme": scheme, "cases": cases}, wanted))
        for case in rows[:6]:
            trace = grouper.explain(case, loaded, near=0)
            said = {"trace": json.loads(json.dumps(trace.to_dict())), "text": trace.to_text("zh")}
            found.append(("POST", "/v1/explain", {"scheme": scheme, "case": case}, said))
    found += [("GET", f"/v1/codes?q={q}", None, None) for q in ("I21", "xjgs", "36.07")]
    found.append(("GET", f"/v1/schemes/{SCHEME}/groups/FM19", None, None))
    found += [("POST", "/page/case", {"scheme": SCHEME, "case": r}, None) for r in rows[:3]]
    return found


def memory_mb(root: int) -> float:
    """Return the memory of a process and all below it, in MB."""
    below: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            pid, parent = int(path.parent.name), int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        below.setdefault(parent, []).append(pid)
    total, left = 0, [root]
    while left:
        pid = left.pop()
        left += below.get(pid, [])
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                total += int(line.split()[1])
    return total / 1024


if __name__ == "__main__":
    main()
