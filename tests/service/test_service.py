"""The service in one process: every question, every refusal, and what it never says."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from oracle.draw import draw_cases
from oracle.test_dip import draw as draw_dip
from serving import asked

import grouper
from grouper import load_scheme
from grouper._result_rows import FEW, result_rows
from grouper.errors import CaseFileError

httpx = pytest.importorskip("httpx")
pytest.importorskip("fastapi")

from grouper._case_model import EXAMPLE  # noqa: E402
from grouper._code_search import CodeSearch, initials  # noqa: E402
from grouper._service import ARROW, ServiceSettings, create_app  # noqa: E402
from grouper._service_guard import Guard, Limits, read_keys  # noqa: E402

SCHEME = "chs-drg-1.1"
KEY = "a key of more than sixteen"


@pytest.fixture(scope="module")
def app() -> Any:
    return create_app(ServiceSettings())


def grouped(app: Any, *cases: dict[str, Any], **more: Any) -> Any:
    return asked(app, "POST", "/v1/group", json={"scheme": SCHEME, "cases": list(cases), **more})


# ------------------------------------------------------------------------------------- rows of a few


@pytest.mark.promise("Batch, single case, threads, chunks, row order: the same bytes")
@pytest.mark.parametrize("seed", range(3))
def test_rows_of_a_few_are_those_of_the_table(seed: int, tmp_path: Path) -> None:
    scheme = load_scheme(SCHEME)
    cases = draw_cases(scheme, seed, 600)  # type: ignore[arg-type]
    for at in range(0, 600, FEW):
        batch = grouper.group(cases[at : at + FEW], scheme)
        assert result_rows(batch) == batch.to_arrow().to_pylist()
    batch = grouper.group(cases, scheme)
    assert result_rows(batch) == batch.to_arrow().to_pylist()
    catalogue, drawn, _ = draw_dip(seed, tmp_path)
    batch = grouper.group(drawn[:FEW], load_scheme(catalogue))
    assert result_rows(batch) == batch.to_arrow().to_pylist()


# ------------------------------------------------------------------------------------------ questions


def test_a_case_is_grouped_as_the_library_does(app: Any) -> None:
    said = grouped(app, EXAMPLE)
    assert said.status_code == 200
    (row,) = said.json()["results"]
    wanted = grouper.group(EXAMPLE, SCHEME).to_arrow().to_pylist()[0]
    assert row == json.loads(json.dumps(wanted, default=str))
    assert said.json()["counts"] == {"grouped": 1, "ambiguous": 0, "ungrouped": 0, "rejected": 0}
    assert said.headers["x-request-id"]
    many = [{**EXAMPLE, "case_id": str(k)} for k in range(300)]
    assert [r["case_id"] for r in grouped(app, *many).json()["results"]] == [
        str(k) for k in range(300)
    ]


def test_a_stream_of_arrow_is_answered_with_one(app: Any) -> None:
    cases = pa.Table.from_pylist([{**EXAMPLE, "case_id": str(k)} for k in range(50)])
    out = pa.BufferOutputStream()
    with pa.ipc.new_stream(out, cases.schema) as writer:
        writer.write_table(cases)
    body = out.getvalue().to_pybytes()
    said = asked(
        app,
        "POST",
        f"/v1/group?scheme={SCHEME}",
        content=body,
        headers={"content-type": ARROW},
    )
    assert said.status_code == 200
    table = pa.ipc.open_stream(said.content).read_all()
    assert table.to_pylist() == grouper.group(cases, SCHEME).to_arrow().to_pylist()
    for wrong in (b"", b"nonsense", body[: len(body) // 2]):
        said = asked(
            app,
            "POST",
            f"/v1/group?scheme={SCHEME}",
            content=wrong,
            headers={"content-type": ARROW},
        )
        assert said.status_code == 422
        assert said.json()["error"]["code"] == "E300"


def test_a_bad_case_is_a_row_with_a_status_and_not_a_refusal(app: Any) -> None:
    bad = [{k: v for k, v in EXAMPLE.items() if k != "age"}, {**EXAMPLE, "case_id": "2", "sex": 7}]
    rows = grouped(app, *bad, {**EXAMPLE, "case_id": "3"}).json()["results"]
    assert [r["reason"] for r in rows] == ["age_unreadable", "sex_unreadable", None]


def test_explain_what_if_and_standard(app: Any) -> None:
    said = asked(app, "POST", "/v1/explain", json={"scheme": SCHEME, "case": EXAMPLE, "lang": "en"})
    assert said.json()["trace"] == json.loads(
        json.dumps(grouper.explain(EXAMPLE, SCHEME, near=0).to_dict())
    )
    given = {"scheme": SCHEME, "case": EXAMPLE, "changes": ["procedures-=36.0700x004"]}
    said = asked(app, "POST", "/v1/what-if", json=given)
    assert said.json()["changed"]["group"]
    priced = {"scheme": SCHEME, "case": EXAMPLE, "policy": "linyi-2022", "on": "2022-05-01"}
    priced["case"] = {**EXAMPLE, "hospital_level": "三级", "insurance": "310"}
    said = asked(app, "POST", "/v1/standard", json=priced)
    assert said.status_code in (200, 422), said.text
    said = asked(app, "POST", "/v1/what-if", json={**given, "changes": ["nothing"]})
    assert said.json()["error"]["code"] == "E300"


def test_what_can_be_looked_up(app: Any) -> None:
    assert SCHEME in asked(app, "GET", "/v1/schemes").json()["schemes"]
    rows = asked(app, "GET", f"/v1/schemes/{SCHEME}/groups/FM19").json()["rows"]
    assert [r["level"] for r in rows] == ["mdc", "adrg", "drg"]
    found = asked(app, "GET", "/v1/codes?q=jxxjgs&limit=3").json()
    assert found[0]["name"] == "急性心肌梗死"
    assert len(found) == 3
    assert (
        asked(app, "GET", "/v1/codes?q=i21.0&kind=diagnosis").json()[0]["code"].startswith("I21.0")
    )
    assert asked(app, "GET", "/v1/codes?q=冠状动脉&kind=procedure").json()
    assert asked(app, "GET", "/healthz").json() == {"status": "ok"}
    assert asked(app, "GET", "/readyz").json() == {"status": "ready"}
    assert "grouper_requests_total" in asked(app, "GET", "/metrics").text
    assert asked(app, "GET", "/nothing").json()["error"]["code"] == "HTTP404"


def test_the_search_ranks_beginnings_first_and_is_bounded() -> None:
    search = CodeSearch(grouper.tables.load_codes("codes-nhsa-2.0"))
    assert search.find("  ") == []
    assert [f.code for f in search.find("I10.x00", limit=1)] == ["I10.x00"]
    assert len(search.find("a", limit=7)) == 7
    assert search.find("没有这个名称") == []
    assert initials(["急性心肌梗死 II 型"]) == ["jxxjgsiix"]


# ------------------------------------------------------------------------------------------- refusals


@pytest.mark.promise("The service refuses who has no key")
def test_who_has_no_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text(f"# ours\n{KEY}\n\nanother key of some length # theirs\n")
    app = create_app(ServiceSettings(keys=read_keys(path), warm=()))
    for headers in (
        {},
        {"x-api-key": "wrong"},
        {"x-api-key": KEY[:-1]},
        {"authorization": "Bearer no"},
    ):
        said = asked(app, "GET", "/v1/schemes", headers=headers)
        assert (said.status_code, said.json()["error"]["code"]) == (401, "HTTP401")
    for headers in ({"x-api-key": KEY}, {"authorization": f"Bearer {KEY}"}):
        assert asked(app, "GET", "/v1/schemes", headers=headers).status_code == 200
    assert asked(app, "GET", "/healthz").status_code == 200
    assert asked(app, "GET", "/metrics").status_code == 401
    for text in ("", "short", f"{KEY}\nshort"):
        path.write_text(text)
        with pytest.raises(CaseFileError, match="16 characters or more"):
            read_keys(path)
    with pytest.raises(CaseFileError, match="cannot be read"):
        read_keys(tmp_path / "nowhere")


@pytest.mark.promise("The service refuses what is too large, too slow, too much at once")
def test_a_body_that_is_too_large() -> None:
    app = create_app(ServiceSettings(warm=(), limits=Limits(body=1000)))
    said = asked(app, "POST", "/v1/group", content=b"x" * 1001)
    assert (said.status_code, said.json()["error"]["code"]) == (413, "HTTP413")

    async def pieces() -> Any:
        for _ in range(20):
            yield b"x" * 100

    said = asked(app, "POST", "/v1/group", content=pieces())
    assert said.status_code == 413
    said = asked(app, "POST", "/v1/group", content=b"{}", headers={"content-length": "-1"})
    assert said.status_code in (400, 413)


def call(
    app: Any, receive: Callable[[], Awaitable[dict[str, Any]]], path: str = "/v1/group"
) -> int:
    """Call the application itself; return the status of its answer."""
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        **{
            "type": "http",
            "method": "POST",
            "path": path,
            "raw_path": path.encode(),
            "headers": [],
        },
        **{"query_string": b"", "http_version": "1.1", "scheme": "http", "server": ("h", 1)},
        **{"client": ("c", 1), "root_path": "", "asgi": {"version": "3.0"}},
    }

    async def run() -> None:
        await app(scope, receive, send)

    asyncio.run(run())
    return int(sent[0]["status"])


@pytest.mark.promise("The service refuses what is too large, too slow, too much at once")
def test_a_body_that_comes_too_slowly_or_not_at_all() -> None:
    app = create_app(ServiceSettings(warm=(), limits=Limits(body_seconds=0.1)))

    async def drip() -> dict[str, Any]:
        await asyncio.sleep(0.03)
        return {"type": "http.request", "body": b" ", "more_body": True}

    async def nothing() -> dict[str, Any]:
        await asyncio.sleep(10)
        return {}

    async def gone() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    assert call(app, drip) == 408
    assert call(app, nothing) == 408
    assert call(app, gone) == 400


@pytest.mark.promise("The service refuses what is too large, too slow, too much at once")
def test_an_answer_that_takes_too_long_and_too_many_at_once() -> None:
    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(0.2)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"done"})

    assert asked(Guard(slow, (), Limits(answer_seconds=0.05)), "GET", "/x").status_code == 504
    crowded = Guard(slow, (), Limits(at_once=3))

    async def all_at_once() -> list[int]:
        transport = httpx.ASGITransport(crowded)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            said = await asyncio.gather(*(client.get("/x") for _ in range(10)))
        return [s.status_code for s in said]

    found = asyncio.run(all_at_once())
    assert sorted(set(found)) == [200, 503]
    assert found.count(200) == 3
    assert crowded.running == 0


CANARY = "C4N4RY"


@pytest.mark.promise("The service refuses what is malformed, and repeats none of it")
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"x"',
        b"{}" * 100,
        b"\xff\xfe",
        b"[" * 100_000,
        json.dumps({"scheme": SCHEME}).encode(),
        json.dumps({"scheme": SCHEME, "cases": []}).encode(),
        json.dumps({"scheme": SCHEME, "cases": [{**EXAMPLE, "sex": CANARY}]}).encode(),
        json.dumps({"scheme": SCHEME, "cases": [{**EXAMPLE, "age": 10**40}]}).encode(),
        json.dumps({"scheme": SCHEME, "cases": [{**EXAMPLE, "diagnoses": CANARY}]}).encode(),
        json.dumps({"scheme": SCHEME, "cases": [{**EXAMPLE, "diagnoses": [[CANARY]]}]}).encode(),
        json.dumps({"scheme": SCHEME, "cases": [{**EXAMPLE, "discharge_date": CANARY}]}).encode(),
        json.dumps({"scheme": SCHEME, "cases": [{**EXAMPLE, CANARY[:3]: 1}]}).encode(),
        json.dumps({"scheme": SCHEME, "cases": [EXAMPLE], "codes": CANARY}).encode(),
        json.dumps({"scheme": SCHEME, "cases": [EXAMPLE] * 10_001}).encode(),
    ],
)
def test_what_is_malformed_is_refused_without_a_word_of_it(body: bytes, app: Any) -> None:
    said = asked(
        app, "POST", "/v1/group", content=body, headers={"content-type": "application/json"}
    )
    assert said.status_code in (400, 422)
    assert said.json()["error"]["code"] == f"HTTP{said.status_code}"
    assert CANARY not in said.text


@pytest.mark.promise("No path leads from input to a file that was not named")
@pytest.mark.parametrize(
    "name", ["../tables/chs-drg-1.1", "/etc/passwd", "", "x" * 64, "tables/dip-demo"]
)
def test_a_request_names_no_path(name: str, app: Any) -> None:
    for path, more in (("group", {"cases": [EXAMPLE]}), ("explain", {"case": EXAMPLE})):
        said = asked(app, "POST", f"/v1/{path}", json={"scheme": name, **more})
        assert (said.status_code, said.json()["error"]["code"]) == (404, "E200")
    given = {"scheme": SCHEME, "case": EXAMPLE, "policy": name or "nothing"}
    assert asked(app, "POST", "/v1/standard", json=given).status_code == 404


@pytest.mark.promise("No log of the service holds content of cases")
def test_a_log_says_who_asked_what_and_no_content(
    app: Any, caplog: pytest.LogCaptureFixture
) -> None:
    case = {**EXAMPLE, "case_id": CANARY, "diagnoses": [CANARY], "department": CANARY}
    with caplog.at_level(logging.DEBUG, logger="grouper.service"):
        said = grouped(app, case)
        asked(app, "GET", f"/v1/codes?q={CANARY}")
        asked(app, "GET", f"/v1/schemes/{SCHEME}/groups/{CANARY}")
        asked(app, "POST", "/v1/group", content=CANARY.encode())
        asked(app, "GET", "/healthz", headers={"x-request-id": "mine-1"})
        asked(app, "GET", "/healthz", headers={"x-request-id": "no good; one"})
    assert said.status_code == 200
    lines = [json.loads(r.message) for r in caplog.records if r.name == "grouper.service"]
    assert [(x["route"], x["status"]) for x in lines[:4]] == [
        ("/v1/group", 200),
        ("/v1/codes", 200),
        ("/v1/schemes/{scheme}/groups/{code}", 404),
        ("/v1/group", 422),
    ]
    assert lines[4]["id"] == "mine-1"
    assert lines[5]["id"] != "no good; one"
    assert CANARY not in caplog.text


def test_a_defect_is_named_by_its_kind_alone(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(scope: Any, receive: Any, send: Any) -> None:
        raise ValueError(CANARY)

    with caplog.at_level(logging.DEBUG, logger="grouper.service"):
        said = asked(Guard(broken, (), Limits()), "GET", "/x")
    assert said.status_code == 500
    assert CANARY not in said.text + caplog.text
    assert "ValueError" in caplog.text


def test_settings_go_to_workers_and_back(tmp_path: Path) -> None:
    given = ServiceSettings(["a"], ["b"], ["c"], [b"\x00\xff"], Limits(body=5))
    assert ServiceSettings.from_json(given.to_json()) == given


def test_the_document_says_all_of_it(app: Any) -> None:
    said = asked(app, "GET", "/openapi.json").json()
    assert set(said["paths"]) == {
        *("/v1/group", "/v1/explain", "/v1/what-if", "/v1/standard"),
        *("/v1/schemes", "/v1/schemes/{scheme}/groups/{code}", "/v1/codes"),
        *("/healthz", "/readyz", "/metrics"),
    }
    case = said["components"]["schemas"]["Case"]
    assert case["examples"] == [EXAMPLE]
    assert set(case["required"]) == {"case_id", "diagnoses", "procedures"}


def test_every_example_of_the_document_is_answered(app: Any) -> None:
    said = asked(app, "GET", "/openapi.json").json()
    answered = 0
    for path, item in said["paths"].items():
        body = item.get("post", {}).get("requestBody")
        if body is None:
            continue
        schema = body["content"]["application/json"]["schema"]
        schema = said["components"]["schemas"].get(schema.get("$ref", "").split("/")[-1], schema)
        (example,) = schema["examples"]
        found = asked(app, "POST", path, json=example)
        assert found.status_code == 200, (path, found.text)
        answered += 1
        if path == "/v1/standard":
            low, standard, high = (
                float(found.json()[k]) for k in ("low_edge", "standard", "high_edge")
            )
            assert 0 < low < standard < high
    assert answered == 4
