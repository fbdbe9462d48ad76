"""The service (接口服务): grouping, explaining and pricing over HTTP, nothing kept between requests.

A worker holds schemes and policies, which never change, and answers; what a request brings is gone with
its answer. Requests name schemes and policies by id, never by path: what may be asked is named at the start.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Annotated, Any, Literal

import pyarrow as pa
from fastapi import FastAPI, Query, Request, Response
from fastapi import Path as InPath
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from pydantic import ValidationError
from starlette.exceptions import HTTPException

import grouper
from grouper._case_model import EXAMPLE, Coding, case_of
from grouper._code_search import CodeSearch
from grouper._page import add_pages
from grouper._result_rows import FEW, result_rows
from grouper._service_guard import CASES, Guard, Limits, fault
from grouper._service_models import (
    MOST_CASES,
    ExplainAsked,
    GroupAsked,
    Grouped,
    Refused,
    StandardAsked,
    WhatIfAsked,
)
from grouper.errors import CaseSchemaError, GrouperError, SchemeNotFound
from grouper.tables import (
    DipScheme,
    DrgScheme,
    Policy,
    Scheme,
    load_codes,
    load_policy,
    load_scheme,
    policy_ids,
    scheme_ids,
)

ARROW = "application/vnd.apache.arrow.stream"
BINARY = {"type": "string", "format": "binary"}
SETTINGS = "GROUPER_SERVICE"
"""The environment variable by which workers are told their settings."""


@dataclass(frozen=True)
class ServiceSettings:
    """What a service offers and allows.

    `schemes`, `policies` : ids or folders; empty = all that ship. `warm` : those loaded at the start.
    `keys` : digests of the API keys; empty = nobody is asked for one.
    """

    schemes: Sequence[str] = ()
    policies: Sequence[str] = ()
    warm: Sequence[str] = ("chs-drg-1.1",)
    keys: Sequence[bytes] = ()
    limits: Limits = field(default_factory=Limits)

    def to_json(self) -> str:
        """Write the settings for a worker's environment."""
        return json.dumps({**asdict(self), "keys": [k.hex() for k in self.keys]})

    @classmethod
    def from_json(cls, text: str) -> ServiceSettings:
        """Read them back."""
        held = json.loads(text)
        keys = [bytes.fromhex(k) for k in held.pop("keys")]
        return cls(**{**held, "keys": keys, "limits": Limits(**held["limits"])})


class Shelf:
    """Schemes, policies and code lists by id; loaded once, when first asked for."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._schemes: dict[str, str | Scheme] = {}
        for name in settings.schemes or scheme_ids():
            loaded = load_scheme(name) if name not in scheme_ids() else None
            self._schemes[loaded.id if loaded else name] = loaded or name
        self._policies: dict[str, str | Policy] = {}
        for name in settings.policies or policy_ids():
            given = load_policy(name) if name not in policy_ids() else None
            self._policies[given.id if given else name] = given or name
        self._searches: dict[str, CodeSearch] = {}
        for name in settings.warm:
            if name in self._schemes:
                grouper.group(EXAMPLE, self.scheme(name))

    def scheme(self, name: str) -> Scheme:
        """Return a scheme.

        Raises
        ------
        SchemeNotFound : it is not offered.
        """
        held = self._schemes.get(name)
        if held is None:
            raise SchemeNotFound(name, sorted(self._schemes))
        if isinstance(held, str):
            held = self._schemes[name] = load_scheme(held)
        return held

    def policy(self, name: str) -> Policy:
        """Return a policy.

        Raises
        ------
        SchemeNotFound : it is not offered.
        """
        held = self._policies.get(name)
        if held is None:
            raise SchemeNotFound(name, sorted(self._policies), kind="policy")
        if isinstance(held, str):
            held = self._policies[name] = load_policy(held)
        return held

    def search(self, name: str) -> CodeSearch:
        """Return the search over a code list; loaded when first asked for."""
        if name not in self._searches:
            self._searches[name] = CodeSearch(load_codes(name))
        return self._searches[name]

    def listed(self) -> dict[str, Any]:
        """List what is offered."""
        return {"schemes": sorted(self._schemes), "policies": sorted(self._policies)}


REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": Refused, "description": text}
    for status, text in {
        400: "The connection was closed, or the body is none.",
        401: "No known API key.",
        404: "No such scheme, policy or group.",
        408: "The body took too long.",
        413: "The body is too large.",
        422: "The request is wrong; says where.",
        503: "Too many requests at once.",
        504: "The answer took too long.",
    }.items()
}


def _group_body() -> dict[str, Any]:
    """Describe the two bodies of /v1/group."""
    schema = GroupAsked.model_json_schema(ref_template="#/components/schemas/{model}")
    schema.pop("$defs")
    content = {"application/json": {"schema": schema}, ARROW: {"schema": BINARY}}
    return {"requestBody": {"required": True, "content": content}}


_GROUP_BODY = _group_body()
_GROUP_ANSWER: dict[int | str, dict[str, Any]] = {200: {"content": {ARROW: {"schema": BINARY}}}}


def create_app(settings: ServiceSettings | None = None) -> Any:
    """Make the ASGI application (服务应用), guard included.

    Parameters
    ----------
    settings : what it offers and allows; left out, those of the environment of a worker.
    """
    if settings is None:
        settings = ServiceSettings.from_json(os.environ[SETTINGS])
    shelf = Shelf(settings)
    app = FastAPI(
        title="grouper",
        version=grouper.__version__,
        summary="DRG and DIP groups, explanations and payment standards.",
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
        responses=REFUSALS,
    )
    _refusals(app)
    _questions(app, shelf)
    _facts(app, shelf)
    _health(app)
    add_pages(app, shelf)
    return Guard(app, settings.keys, settings.limits)


def _json(content: Any) -> Response:
    text = json.dumps(content, ensure_ascii=False, default=str)
    return Response(text.encode(), media_type="application/json")


def _request_id(request: Request) -> str:
    return str(request.scope.get("request_id", ""))


def _refusals(app: FastAPI) -> None:
    """Turn every refusal into one form."""

    def answer(request: Request, status: int, code: str, message: str) -> Response:
        body = fault(code, message, _request_id(request))
        return Response(body, status, media_type="application/json")

    @app.exception_handler(GrouperError)
    def refused(request: Request, e: GrouperError) -> Response:
        status = 404 if isinstance(e, SchemeNotFound) else 422
        return answer(request, status, e.code, str(e).removeprefix(f"[{e.code}] "))

    @app.exception_handler(RequestValidationError)
    def wrong(request: Request, e: RequestValidationError) -> Response:
        # where and why, not what: the value is content of a case
        said = [f"{'.'.join(map(str, x['loc']))}: {x['msg']}" for x in e.errors()[:20]]
        return answer(request, 422, "HTTP422", "; ".join(said))

    @app.exception_handler(HTTPException)
    def other(request: Request, e: HTTPException) -> Response:
        found = answer(request, e.status_code, f"HTTP{e.status_code}", str(e.detail))
        found.headers.update(e.headers or {})
        return found


def _questions(app: FastAPI, shelf: Shelf) -> None:
    """Add the questions about cases."""

    @app.post(
        "/v1/group", response_model=Grouped, openapi_extra=_GROUP_BODY, responses=_GROUP_ANSWER
    )
    async def group(
        request: Request,
        scheme: Annotated[str | None, Query(max_length=64, description="for Arrow")] = None,
        codes: Annotated[Coding, Query(description="for Arrow")] = "insurer",
    ) -> Response:
        """Group cases, 1 to 10,000, money in fen: as JSON, or as an Arrow stream for one back."""
        if request.headers.get("content-type", "").partition(";")[0].strip() == ARROW:
            if scheme is None:
                raise CaseSchemaError(["an Arrow stream needs ?scheme="])
            by, body = shelf.scheme(scheme), await request.body()
            stream = await run_in_threadpool(_grouped_stream, body, by, codes)
            return Response(stream, media_type=ARROW)
        try:
            asked = GroupAsked.model_validate_json(await request.body())
        except ValidationError as e:
            raise RequestValidationError(e.errors(include_input=False)) from None
        by, cases = shelf.scheme(asked.scheme), [case_of(c) for c in asked.cases]
        work = partial(_grouped, cases, by, asked.codes)
        return _json(work() if len(cases) <= 4 else await run_in_threadpool(work))

    @app.post("/v1/explain")
    async def explain(asked: ExplainAsked) -> Response:
        """Say why a case is in its group, and what lacks to the next ones."""
        scheme, case = shelf.scheme(asked.scheme), case_of(asked.case)

        def work() -> dict[str, Any]:
            trace = grouper.explain(case, scheme, codes=asked.codes, near=asked.near)
            return {"trace": trace.to_dict(), "text": trace.to_text(asked.lang)}

        return _json(await run_in_threadpool(work))

    @app.post("/v1/what-if")
    async def what_if(asked: WhatIfAsked) -> Response:
        """Say what changes of a case make of its group and price."""
        scheme, case = shelf.scheme(asked.scheme), case_of(asked.case)
        policy = shelf.policy(asked.policy) if asked.policy else None

        def work() -> dict[str, Any]:
            found = grouper.what_if(
                case,
                scheme,
                asked.changes,
                policy=policy,
                point_value=asked.point_value,
                on=asked.on,
                codes=asked.codes,
                clarify_only=asked.clarify_only,
            )
            return {**found.to_dict(), "text": found.to_text(asked.lang)}

        return _json(await run_in_threadpool(work))

    @app.post("/v1/standard")
    async def standard(asked: StandardAsked) -> Response:
        """Say what the group of a case is worth: weight or score, standard, low and high edge, yuan."""
        scheme, case = shelf.scheme(asked.scheme), case_of(asked.case)
        policy = shelf.policy(asked.policy)

        def work() -> dict[str, Any]:
            found = grouper.what_if(
                case,
                scheme,
                (),
                policy=policy,
                point_value=asked.point_value,
                on=asked.on,
                codes=asked.codes,
            )
            assert found.before_price is not None
            return {
                "status": found.before.status,
                "group": found.before.group,
                "group_name": found.before.group_name,
                **asdict(found.before_price),
            }

        return _json(await run_in_threadpool(work))


def _grouped(cases: list[dict[str, Any]], scheme: Scheme, codes: str) -> dict[str, Any]:
    grouped = grouper.group(cases, scheme, codes=codes, threads=1 if len(cases) <= FEW else None)
    counts = grouped.counts()
    for status, n in counts.items():
        CASES.labels(status).inc(n)
    return {
        "scheme": scheme.id,
        "fingerprint": scheme.fingerprint,
        "counts": counts,
        "results": result_rows(grouped),
        "normalised": {k: v for k, v in grouped.normalised.items() if v},
    }


def _grouped_stream(body: bytes, scheme: Scheme, codes: str) -> bytes:
    try:
        with pa.ipc.open_stream(pa.BufferReader(body)) as reader:
            table = reader.read_all()
        table.validate(full=True)
    except (pa.ArrowException, OSError, ValueError):
        raise CaseSchemaError(["the body is no whole Arrow stream"]) from None
    if table.num_rows > MOST_CASES:
        raise CaseSchemaError([f"{table.num_rows:,} cases; at most {MOST_CASES:,} in a request"])
    grouped = grouper.group(table, scheme, codes=codes)
    for status, n in grouped.counts().items():
        CASES.labels(status).inc(n)
    found, out = grouped.to_arrow(), pa.BufferOutputStream()
    with pa.ipc.new_stream(out, found.schema) as writer:
        writer.write_table(found)
    data: bytes = out.getvalue().to_pybytes()
    return data


def _facts(app: FastAPI, shelf: Shelf) -> None:
    """Add what can be looked up."""

    @app.get("/v1/schemes")
    def schemes() -> Response:
        """List the schemes and policies that requests may name."""
        return _json(shelf.listed())

    @app.get("/v1/schemes/{scheme}/groups/{code}")
    def one_group(
        scheme: Annotated[str, InPath(max_length=64)], code: Annotated[str, InPath(max_length=64)]
    ) -> Response:
        """Show a group: its name, rule and row, and what stands above it."""
        return _json(
            {"scheme": scheme, "group": code, "rows": about_group(shelf.scheme(scheme), code)}
        )

    @app.get("/v1/codes")
    def codes(
        q: Annotated[str, Query(min_length=1, max_length=64, description="code, name or initials")],
        kind: Literal["diagnosis", "procedure"] | None = None,
        limit: Annotated[int, Query(ge=1, le=100)] = 20,
        codes: Annotated[str, Query(max_length=64)] = "codes-nhsa-2.0",
    ) -> Response:
        """Find codes by their beginning, their Chinese name or its pinyin initials."""
        if codes != "codes-nhsa-2.0":
            raise SchemeNotFound(codes, ["codes-nhsa-2.0"], kind="code list")
        return _json([f._asdict() for f in shelf.search(codes).find(q, kind, limit)])


def about_group(scheme: Scheme, code: str) -> list[Mapping[str, Any]]:
    """Return the rows of a group with rule text and place.

    Raises
    ------
    SchemeNotFound : the scheme has no such group.
    """
    rows: list[Mapping[str, Any]] = []
    if isinstance(scheme, DrgScheme):
        for d in (d for d in scheme.drgs if d.code == code):
            above = scheme.adrgs[d.parent]
            mdc = scheme.mdcs[above.parent]
            levels = (("mdc", mdc), ("adrg", above), ("drg", d))
            rows += [
                _about(name, r.code, r.name, r.text, f"{name}.csv:{r.line}") for name, r in levels
            ]
    elif isinstance(scheme, DipScheme):
        found = [g for g in scheme.groups if g.code == code]
        rows = [
            _about(g.kind, g.code, g.name, dict(g.cells), f"groups.csv:{g.line}") for g in found
        ]
    if not rows:
        raise SchemeNotFound(code, [], kind=f"group of {scheme.id}")
    return rows


def _about(level: str, code: str, name: str, rule: Any, row: str) -> dict[str, Any]:
    return {"level": level, "code": code, "name": name, "rule": rule, "row": row}


def _health(app: FastAPI) -> None:
    """Add what watches the service."""

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Say that the process answers."""
        return {"status": "ok"}

    @app.get("/readyz")
    async def readyz() -> dict[str, str]:
        """Say that schemes and kernels are at hand: what is warm was loaded before it listened."""
        return {"status": "ready"}

    @app.get(
        "/metrics",
        response_class=Response,
        responses={200: {"content": {"text/plain": {}}, "description": "Prometheus text."}},
    )
    def metrics() -> Response:
        """Give counts and seconds by route, as Prometheus reads them."""
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
            return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
