"""grouper pipe: as many answers as lines, in their order, the same as `grouper.group`, never a crash."""

from __future__ import annotations

import io
import json
import os
import random
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracle.draw import draw_cases

import grouper
from grouper._grouped import RESULT
from grouper._pipe import MOST_LINE, Pipe
from grouper._service_models import MOST_CODES
from grouper.tables import Editions
from grouper.tables._editions import Edition

SCHEMES = ("chs-drg-1.1", "dip-demo")
CASE = {
    "case_id": "1",
    "sex": 1,
    "age": 66,
    "diagnoses": ["I21.001", "I50.900x002"],
    "procedures": ["36.0700x004"],
}
GOOD = json.dumps(CASE).encode()
COMMAND = [sys.executable, "-m", "grouper.cli", "pipe"]


def answered(data: bytes, **options: Any) -> list[dict[str, Any]]:
    sink = io.BytesIO()
    pipe = Pipe(**{"scheme": grouper.load_scheme("chs-drg-1.1"), **options})
    pipe.run(io.BytesIO(data), sink)
    text = sink.getvalue().decode(pipe.encoding)
    assert text == "" or text.endswith("\n")
    return [json.loads(line) for line in text.split("\n")[:-1]]


def plain(row: Mapping[str, Any]) -> Any:
    """Return a row as JSON has it."""
    return json.loads(json.dumps(row, default=str))


def lines_of(cases: Sequence[Mapping[str, Any]]) -> bytes:
    return b"".join(json.dumps(c, ensure_ascii=False).encode() + b"\n" for c in cases)


@pytest.mark.promise("A pipe answers every line, in order, as `group` does")
@pytest.mark.parametrize("codes", ["insurer", "clinical"])
@pytest.mark.parametrize("name", SCHEMES)
def test_the_answers_are_those_of_group(name: str, codes: str) -> None:
    """Whole rows, over random cases: unknown codes, missing facts, ages and sexes that are refused."""
    cases = draw_cases(grouper.load_drg("chs-drg-1.1"), 17, 300)
    scheme = grouper.load_scheme(name)
    wanted = [grouper.group(c, scheme, codes=codes).to_arrow().to_pylist()[0] for c in cases]
    found = answered(lines_of(cases), scheme=scheme, codes=codes)
    assert found == [plain(row) for row in wanted]
    assert {row["status"] for row in found} > {"grouped", "rejected"}
    assert all(list(row) == RESULT.names for row in found)


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(max_size=5), x, max_size=3),
    max_leaves=6,
)


@pytest.mark.promise("A pipe answers every line, in order, as `group` does")
@given(st.dictionaries(st.sampled_from([*CASE, "los", "discharge_date", "total_cost_fen"]), ANY))
def test_cases_of_any_values_are_answered(changed: dict[str, Any]) -> None:
    (row,) = answered(json.dumps({**CASE, **changed}).encode())
    if "error" in row:
        assert (row["status"], row["reason"]) == ("rejected", "input_unreadable")
        assert row["error"]["line"] == 1
        assert row["error"]["message"]
        return
    case = {k: v for k, v in {**CASE, **changed}.items() if v is not None or k in CASE}
    case.pop("discharge_date", None)  # text in a dict; alone it decides nothing
    assert row == plain(grouper.group(case, "chs-drg-1.1").to_arrow().to_pylist()[0])


@pytest.mark.promise("A pipe answers every line, in order, as `group` does")
@given(st.lists(st.binary(max_size=40) | st.just(GOOD) | st.text(max_size=9).map(str.encode)))
def test_lines_of_any_bytes_are_answered(given_: list[bytes]) -> None:
    pieces = b"\n".join(given_).split(b"\n")
    wanted = [k for k, p in enumerate(pieces, 1) if p.strip()]
    found = answered(b"\n".join(pieces))
    assert len(found) == len(wanted)
    for row, number in zip(found, wanted, strict=True):
        assert ("error" not in row) == (pieces[number - 1].strip() == GOOD)
        assert row.get("error", {"line": number})["line"] == number


BAD = {
    "no JSON": (b"{'case_id': 1}", "Invalid JSON"),
    "cut off": (GOOD[:-1], "Invalid JSON"),
    "two on a line": (GOOD + GOOD, "Invalid JSON"),
    "a list": (b"[1]", "object"),
    "NaN": (GOOD.replace(b"66", b"NaN"), "age"),
    "infinite": (GOOD.replace(b"66", b"-Infinity"), "age"),
    "a flag": (GOOD.replace(b"66", b"true"), "age"),
    "a number as text": (GOOD.replace(b"66", b'"66"'), "age"),
    "a fraction": (GOOD.replace(b"66", b"66.5"), "age"),
    "too large": (GOOD.replace(b"66", b"9" * 400), "age"),
    "one code": (GOOD.replace(b'["36.0700x004"]', b'"36.0700x004"'), "procedures"),
    "no such field": (GOOD.replace(b'"sex"', b'"gender"'), "gender"),
    "lacking": (b'{"case_id": "1"}', "diagnoses"),
    "half a surrogate": (GOOD.replace(b'"1"', b'"\\ud800"'), "escape"),
    "not UTF-8": (b'{"case_id": "\xbc\xb1"}', "not utf-8 at byte 13"),
    "deep": (b"[" * 100_000, "Invalid JSON"),
    "a day as number": (GOOD[:-1] + b', "discharge_date": 0}', "discharge_date"),
    "codes without end": (
        json.dumps({**CASE, "diagnoses": ["I21.001"] * (MOST_CODES + 1)}).encode(),
        "diagnoses",
    ),
    "too long": (b'{"case_id": "' + b"x" * MOST_LINE + b'"}', "longer than 1,048,576 bytes"),
    "blanks without end, then more": (b" " * (2 * MOST_LINE) + b"x", "longer than"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_line_is_a_row_and_the_next_is_answered(name: str) -> None:
    line, message = BAD[name]
    bad, good = answered(b"\n  \r\n" + line + b"\r\n" + GOOD)
    assert bad["error"]["line"] == 3
    assert message in bad["error"]["message"]
    assert (bad["status"], bad["reason"], bad["group"]) == ("rejected", "input_unreadable", None)
    assert bad["scheme"] == "chs-drg-1.1"
    assert good["status"] == "grouped"
    assert "error" not in good


def test_a_refused_case_keeps_its_id_and_no_content() -> None:
    secret = {**CASE, "case_id": "C7", "age": "sixty-six"}
    (row,) = answered(json.dumps(secret).encode())
    assert row["case_id"] == "C7"
    assert "sixty" not in json.dumps(row)


def test_blank_lines_are_no_lines() -> None:
    assert answered(b"") == []
    assert answered(b"\n \r\n\t\n" + b" " * (MOST_LINE + 9)) == []
    assert len(answered(b"\xef\xbb\xbf\n\xef\xbb\xbf" + GOOD)) == 1
    assert "error" not in answered(b"\xef\xbb\xbf" + GOOD)[0]
    assert len(answered(GOOD + b"\n" + GOOD)) == 2


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030"])
def test_both_encodings(encoding: str) -> None:
    """Two and four bytes of GB18030."""
    case = {**CASE, "case_id": "住院𠮷䶮1", "department": "内科"}
    text = json.dumps(case, ensure_ascii=False)
    (row,) = answered(("\ufeff" + text).encode(encoding), encoding=encoding)
    assert row["case_id"] == "住院𠮷䶮1"
    assert row["group_name"]
    (bad,) = answered(b'{"case_id": "\xff"}', encoding=encoding)
    assert f"not {encoding}" in bad["error"]["message"]


def test_editions_choose_by_the_day() -> None:
    """A case of no day, or of a day before all, is rejected as `group` does it."""
    first, second = (grouper.load_scheme(s) for s in ("chs-drg-1.1", "chs-drg-1.1-qy"))
    change = date(2026, 1, 1)
    held = Editions(
        "p",
        "discharge",
        (
            Edition(first, date(2024, 1, 1), change - timedelta(1)),
            Edition(second, change, None),
        ),
    )
    rng, cases = random.Random(1), draw_cases(grouper.load_drg("chs-drg-1.1"), 3, 60)
    days = [None, date(2023, 1, 1), date(2025, 1, 1), change, date(2026, 6, 1)]
    dated = [{**c, "discharge_date": rng.choice(days)} for c in cases]
    sent = [
        {**c, "discharge_date": c["discharge_date"] and str(c["discharge_date"])} for c in dated
    ]
    found = answered(lines_of(sent), scheme=held)
    assert found == [plain(grouper.group(c, held).to_arrow().to_pylist()[0]) for c in dated]
    assert {"no_edition"} < {row["reason"] for row in found}
    assert {row["scheme"] for row in found} == {first.id, second.id, None}
    assert "error" in answered(b"x", scheme=held)[0]


# ------------------------------------------------------------------------------------- as a process


def started(*args: str, **env: str) -> subprocess.Popen[bytes]:
    given = {**os.environ, **env}
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [*COMMAND, *args], stdin=pipe, stdout=pipe, stderr=pipe, env=given, bufsize=0
    )


@pytest.mark.promise("A pipe answers every line, in order, as `group` does")
def test_each_answer_comes_before_the_next_question() -> None:
    """Under a locale that is not UTF-8; at the end of stdin it ends with 0 and says nothing else."""
    told = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}
    with started("--scheme", "chs-drg-1.1", **told) as p:
        assert p.stdin
        assert p.stdout
        for k in range(3):
            case = {**CASE, "case_id": f"住院{k}"}
            p.stdin.write(json.dumps(case, ensure_ascii=False).encode() + b"\n")
            row = json.loads(p.stdout.readline())
            assert row["case_id"] == f"住院{k}"
            assert not row["group_name"].isascii()
        rest, said = p.communicate()
    assert (rest, said, p.returncode) == (b"", b"", 0)


def test_a_reader_that_leaves_is_no_fault() -> None:
    with started("--scheme", "chs-drg-1.1") as p:
        assert p.stdin
        assert p.stdout
        assert p.stderr
        p.stdin.write(GOOD + b"\n")
        assert p.stdout.readline()
        p.stdout.close()
        p.stdin.write(GOOD + b"\n")
        p.wait(60)
        assert (p.returncode, p.stderr.read()) == (0, b"")


def test_an_unknown_scheme_is_refused_before_any_line() -> None:
    with started("--scheme", "chs-drg-9") as p:
        out, said = p.communicate(GOOD)
    assert (out, p.returncode) == (b"", 2)
    assert b"chs-drg-9" in said
