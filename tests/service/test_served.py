"""The service as it is run: real processes, real sockets, many clients, an orderly end."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from oracle.draw import draw_cases
from serving import KEY, MAIN, Served

import grouper
from grouper import load_drg
from grouper._result_rows import result_rows

pytest.importorskip("fastapi")

from grouper._case_model import EXAMPLE


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    keys = tmp_path_factory.mktemp("keys") / "keys"
    keys.write_text(KEY)
    service = Served(
        "--workers", "2", "--api-key-file", str(keys), "--max-body", "4", "--timeout", "30"
    )
    yield service
    try:
        assert "Traceback" not in service.stop()
    finally:
        service.kill()


def test_a_key_is_asked_for_by_every_worker(served: Served) -> None:
    for _ in range(8):
        assert served.ask("GET", "/v1/schemes", key="wrong")[0] == 401
        assert served.ask("GET", "/v1/schemes")[0] == 200


@pytest.mark.promise("Under many clients at once every answer of the service is right")
def test_many_clients_at_once_get_right_answers(served: Served) -> None:
    scheme = load_drg("chs-drg-1.1")
    names = ("case_id", "sex", "age", "age_days", "los", "diagnoses", "procedures")
    drawn = [{k: c[k] for k in names} for c in draw_cases(scheme, 11, 240)]
    cases = [c for c in drawn if all(isinstance(x, str) for k in names[-2:] for x in c[k])]
    cases = [{**c, "case_id": f"c{k}"} for k, c in enumerate(cases)]
    fits = [c for c in cases if c["sex"] is not None and len(c["case_id"]) < 64]

    def ask(case: dict[str, Any]) -> tuple[dict[str, Any], int, bytes]:
        rng = random.Random(case["case_id"])
        if rng.random() < 0.1:
            served.ask("POST", "/v1/group", {"scheme": "chs-drg-1.1", "cases": "wrong"})
        return case, *served.ask("POST", "/v1/group", {"scheme": "chs-drg-1.1", "cases": [case]})

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, fits))
    assert len(answers) > 100
    for case, status, body in answers:
        if status == 422:  # a drawn case may be none that the model takes: it says where
            assert b"body.cases.0" in body
            continue
        assert status == 200
        wanted = result_rows(grouper.group(case, scheme))
        assert json.loads(body)["results"] == json.loads(json.dumps(wanted, default=str))
    assert sum(status == 200 for _, status, _ in answers) > 100


@pytest.mark.promise("The service refuses what is too large, too slow, too much at once")
def test_raw_sockets_that_misbehave(served: Served) -> None:
    head = b"POST /v1/group HTTP/1.1\r\nHost: x\r\nX-Api-Key: " + KEY.encode() + b"\r\n"
    sent = {
        b"nonsense\r\n\r\n": b"400",
        b"GET " + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n": b"4",
        head + b"Content-Length: 999999999999\r\n\r\n": b"413",
        head + b"Content-Length: abc\r\n\r\n": b"4",
        head + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n": b"4",
        head + b"Content-Length: 2\r\n\r\n{}": b"422",
        head + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\n{}": b"400",
    }
    for data, wanted in sent.items():
        with socket.create_connection(("127.0.0.1", served.port), timeout=20) as link:
            link.sendall(data)
            answer = link.recv(4096)
        assert answer == b"" or answer.split(b" ", 2)[1].startswith(wanted), (
            data[:60],
            answer[:80],
        )
    open_ones = [
        socket.create_connection(("127.0.0.1", served.port), timeout=20) for _ in range(100)
    ]
    for link in open_ones:
        link.sendall(head + b"Content-Length: 50\r\n\r\n{")  # and nothing more
    assert served.ask("GET", "/healthz")[0] == 200
    for link in open_ones:
        link.close()
    # a worker that holds more than its share of them refuses until it has seen them go
    end = time.monotonic() + 20
    asked: dict[str, Any] = {"scheme": "chs-drg-1.1", "cases": [EXAMPLE]}
    while (status := served.ask("POST", "/v1/group", asked)[0]) == 503 and time.monotonic() < end:
        time.sleep(1)  # as its Retry-After says
    assert status == 200


def test_counts_of_all_workers_are_one(served: Served) -> None:
    text = served.ask("GET", "/metrics")[1].decode()
    (line,) = [
        x
        for x in text.splitlines()
        if x.startswith('grouper_requests_total{route="/v1/group",status="200"}')
    ]
    assert float(line.split()[-1]) > 100


@pytest.mark.promise("The service ends in order: what is being answered is answered")
def test_it_ends_in_order() -> None:
    service = Served()
    try:
        ends(service)
    finally:
        service.kill()


def ends(service: Served) -> None:
    """Stop a service while it answers."""
    cases = [{**EXAMPLE, "case_id": str(k)} for k in range(10_000)]
    found: list[tuple[int, bytes]] = []

    def ask() -> None:
        found.append(service.ask("POST", "/v1/group", {"scheme": "chs-drg-1.1", "cases": cases}))

    asker = threading.Thread(target=ask)
    asker.start()
    time.sleep(0.3)
    said = service.stop()
    asker.join()
    if found:
        assert found[0][0] == 200
        assert json.loads(found[0][1])["counts"]["grouped"] == 10_000
    assert "Traceback" not in said
    assert service.process.returncode in (0, -signal.SIGTERM)


def test_others_are_not_served_without_a_key(tmp_path: Path) -> None:
    for host in ("0.0.0.0", "192.168.1.1", "example.org"):
        done = subprocess.run(
            [sys.executable, "-c", MAIN, "serve", "--host", host],
            capture_output=True,
            text=True,
            check=False,
            env=dict(os.environ),
        )
        assert done.returncode == 2
        assert "give --api-key-file" in done.stderr
