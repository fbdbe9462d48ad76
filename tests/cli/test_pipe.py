"""The pipe: one answer a line, the same as the library's, whatever the line."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import date
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from oracle.draw import draw_cases
from serving import MAIN

import grouper
from grouper._case_model import EXAMPLE
from grouper._cases import REQUIRED
from grouper._pipe import MOST_BYTES, answers
from grouper._what_if import price_of

SCHEME = "chs-drg-1.1"


def told(*lines: bytes, **more: Any) -> list[dict[str, Any]]:
    data = b"".join(line + b"\n" for line in lines)
    scheme = grouper.load_scheme(more.pop("scheme", SCHEME))
    encoding = more.get("encoding", "utf-8")
    return [json.loads(x.decode(encoding)) for x in answers(io.BytesIO(data), scheme, **more)]


def line(case: dict[str, Any], encoding: str = "utf-8") -> bytes:
    return json.dumps(case, ensure_ascii=False, default=str).encode(encoding)


@pytest.mark.promise("Batch, single case, threads, chunks, row order: the same bytes")
@pytest.mark.parametrize("scheme", [SCHEME, "dip-demo"])
def test_results_are_those_of_the_library(scheme: str) -> None:
    drawn = draw_cases(grouper.load_drg(SCHEME), 5, 300)
    cases = [{k: v for k, v in c.items() if v is not None} for c in drawn]
    rows = told(*map(line, cases), scheme=scheme)
    assert len(rows) == len(cases)
    grouped = 0
    for case, row in zip(cases, rows, strict=True):
        if "message" in row:  # a drawn case may be none that JSON takes
            assert row["status"] == "rejected"
            continue
        wanted = (
            grouper.group({**dict.fromkeys(REQUIRED), **case}, scheme).to_arrow().to_pylist()[0]
        )
        assert row == json.loads(json.dumps(wanted, default=str))
        grouped += row["status"] == "grouped"
    assert grouped > 100


@pytest.mark.promise("Bad input never crashes and never loses a row")
@given(
    st.lists(st.one_of(st.binary(max_size=60), st.text(max_size=60).map(str.encode)), max_size=8)
)
@example([b"null", b"[]", b"{}", b"1", b'"x"', b"NaN", b"\xff\xfe", b"\xef\xbb\xbf{}", b"\r"])
@example([b"[" * 100_000, b'{"case_id":' * 10_000, b'{"case_id": "\\ud800"}'])
@example([b'{"case_id": "1", "case_id": "2", "sex": 1e400}', b'{"age": 1' + b"0" * 400 + b"}"])
def test_every_line_has_one_answer(lines: list[bytes]) -> None:
    sent = [x for one in lines for x in one.split(b"\n")]
    kept = [x for x in sent if x.decode("utf-8", "replace").lstrip("\ufeff").strip()]
    rows = told(*sent)
    assert len(rows) == len(kept)
    assert all(r["status"] in ("grouped", "ungrouped", "rejected") for r in rows)


def test_a_line_that_is_no_case_says_why_and_shows_nothing_else_of_it() -> None:
    wrong = line({**EXAMPLE, "case_id": "w", "age": "sixty", "department": "秘密"})
    unknown = line({**EXAMPLE, "case_id": "u", "agee": 60})
    long = b'{"case_id": "' + b"x" * MOST_BYTES + b'"}'
    rows = told(wrong, unknown, b"", b"{", long, line(EXAMPLE))
    assert [r["case_id"] for r in rows] == ["w", "u", None, None, "1"]
    assert [r["status"] for r in rows] == ["rejected"] * 4 + ["grouped"]
    assert rows[0]["message"].startswith("line 1: age: ")
    assert rows[1]["message"].startswith("line 2: agee: ")
    assert rows[3]["message"] == f"line 5: a line of more than {MOST_BYTES:,} bytes"
    assert "秘密" not in json.dumps(rows[0], ensure_ascii=False)
    assert "sixty" not in json.dumps(rows[0])
    exact = b'{"case_id": "' + b"x" * (MOST_BYTES - 20) + b'"}'
    assert "case_id: String should have at most 64" in told(exact)[0]["message"]


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(max_size=5), x, max_size=3),
    max_leaves=6,
)


@pytest.mark.promise("Bad input never crashes and never loses a row")
@given(st.dictionaries(st.sampled_from([*EXAMPLE, "discharge_date", "total_cost_fen"]), ANY))
def test_a_case_of_any_values_is_that_of_the_library_or_told_why(changed: dict[str, Any]) -> None:
    (row,) = told(json.dumps({**EXAMPLE, **changed}).encode())
    if "message" in row:
        assert (row["status"], row["reason"]) == ("rejected", "input_unreadable")
        assert row["message"].startswith("line 1: ")
        return
    case = {k: v for k, v in {**EXAMPLE, **changed}.items() if v is not None or k in REQUIRED}
    case.pop("discharge_date", None)  # a text in a dict; alone it decides nothing
    wanted = grouper.group(case, SCHEME).to_arrow().to_pylist()[0]
    assert row == json.loads(json.dumps(wanted, default=str))


GOOD = json.dumps(EXAMPLE).encode()
BAD = {
    "cut off": (GOOD[:-1], "Invalid JSON"),
    "two on a line": (GOOD + GOOD, "Invalid JSON"),
    "a list": (b"[1]", "object"),
    "NaN": (GOOD.replace(b"66", b"NaN"), "age: "),
    "infinite": (GOOD.replace(b"66", b"-Infinity"), "age: "),
    "a flag": (GOOD.replace(b"66", b"true"), "age: "),
    "a number as text": (GOOD.replace(b"66", b'"66"'), "age: "),
    "a fraction": (GOOD.replace(b"66", b"66.5"), "age: "),
    "too large": (GOOD.replace(b"66", b"9" * 400), "age: "),
    "lacking": (b'{"case_id": "1"}', "diagnoses: "),
    "a day as number": (GOOD[:-1] + b', "discharge_date": 0}', "discharge_date: "),
    "not UTF-8": (b'{"case_id": "\xbc\xb1"}', "not utf-8 at byte 13"),
    "blanks without end, then more": (b" " * (2 * MOST_BYTES) + b"x", "more than"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_line_is_a_row_and_the_next_is_answered(name: str) -> None:
    line, message = BAD[name]
    bad, good = told(b"", b"  \r", line + b"\r", GOOD)
    assert bad["message"].startswith("line 3: ")
    assert message in bad["message"]
    assert (bad["status"], bad["reason"], bad["group"]) == ("rejected", "input_unreadable", None)
    assert good["group"] == "FM19"


def test_a_line_of_blanks_is_blank_at_any_length() -> None:
    assert told(b"", b" \r", b"\t", b" " * (2 * MOST_BYTES), "\ufeff".encode()) == []


def test_clinical_codes_are_mapped() -> None:
    cases = draw_cases(grouper.load_drg(SCHEME), 9, 100)
    clinical = told(*map(line, cases), codes="clinical")
    wanted = [grouper.group(c, SCHEME, codes="clinical").to_arrow().to_pylist()[0] for c in cases]
    assert clinical == json.loads(json.dumps(wanted, default=str))


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030"])
def test_bytes_of_another_encoding_are_told_not_replaced(encoding: str) -> None:
    (row,) = told(b'{"case_id": "\xff"}', encoding=encoding)
    assert f"not {encoding} at byte 13" in row["message"]


def test_gb18030_comes_and_goes() -> None:
    case = {**EXAMPLE, "case_id": "例𠮷1", "department": "心内科"}
    (row,) = told(line(case, "gb18030"), encoding="gb18030")
    assert row["case_id"] == "例𠮷1"
    assert row["group_name"] == grouper.explain(EXAMPLE, SCHEME).group_name


def test_a_policy_adds_the_price() -> None:
    case = {**EXAMPLE, "hospital_level": "三级", "insurance": "310", "discharge_date": "2024-05-01"}
    policy = grouper.load_policy("example-rate")
    first, second = told(line(case), line(EXAMPLE), policy=policy)
    price = price_of(
        policy, {**case, "discharge_date": date(2024, 5, 1)}, "grouped", first["group"]
    )
    assert first["price"]["standard"] == price.standard != ""
    assert second["price"] is None
    assert "name a day" in second["message"]


# ---------------------------------------------------------------------------------- as it is run


@pytest.fixture
def piped() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-c", MAIN, "pipe", "--scheme", SCHEME],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONIOENCODING": "latin-1", "LC_ALL": "C"},
    )
    yield process
    process.kill()
    for stream in (process.stdin, process.stdout, process.stderr):
        assert stream is not None
        with suppress(BrokenPipeError):
            stream.close()
    process.wait(20)


def test_an_answer_comes_before_the_next_line(piped: subprocess.Popen[bytes]) -> None:
    assert piped.stdin is not None
    assert piped.stdout is not None
    for k in range(20):
        piped.stdin.write(line({**EXAMPLE, "case_id": f"例{k}"}) + b"\n")
        piped.stdin.flush()
        row = json.loads(piped.stdout.readline())
        assert (row["case_id"], row["group"]) == (f"例{k}", "FM19")
    piped.stdin.close()
    assert piped.wait(20) == 0
    assert piped.stdout.read() == b""


def test_who_reads_no_more_ends_it_quietly(piped: subprocess.Popen[bytes]) -> None:
    assert piped.stdin is not None
    assert piped.stdout is not None
    assert piped.stderr is not None
    piped.stdin.write(line(EXAMPLE) + b"\n")
    piped.stdin.flush()
    piped.stdout.readline()
    piped.stdout.close()
    try:
        for _ in range(1000):
            piped.stdin.write(line(EXAMPLE) + b"\n")
            piped.stdin.flush()
            if piped.poll() is not None:
                break
            time.sleep(0.001)
    except BrokenPipeError:
        pass
    assert piped.wait(20) == 0
    assert piped.stderr.read() == b""
