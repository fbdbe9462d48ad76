"""The guard before the service (服务防护): who asks, how much, how long, how many at once.

Plain ASGI, before any parsing. A body is read whole within its limits or the request is refused; an
answer that takes too long is given up. One line of log a request: time, id, route, status; never a body,
a query or a code.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
import re
import time
import uuid
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from prometheus_client import Counter, Histogram

from grouper.errors import CaseFileError

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

OPEN = frozenset({"/healthz", "/readyz", "/", "/worklist", "/scheme"})
ASSETS = "/assets/"
"""What may be asked without a key: whether it lives, and the pages, which hold nothing themselves."""

LOG = logging.getLogger("grouper.service")
REQUESTS = Counter("grouper_requests", "Requests by route and status.", ["route", "status"])
SECONDS = Histogram(
    "grouper_request_seconds",
    "Seconds of a request by route.",
    ["route"],
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)
CASES = Counter("grouper_cases", "Cases grouped, by status.", ["status"])


@dataclass(frozen=True)
class Limits:
    """What a request may take: bytes of its body, seconds to send it and to answer, at once."""

    body: int = 32 << 20
    body_seconds: float = 15.0
    answer_seconds: float = 30.0
    at_once: int = 64


def read_keys(path: Path | str) -> tuple[bytes, ...]:
    """Read API keys, one a line, ``#`` begins a comment; only their digests are kept.

    Raises
    ------
    CaseFileError : the file cannot be read, or holds no key of 16 characters or more.
    """
    try:
        text = Path(path).read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        raise CaseFileError("cannot be read as a file of API keys", file=str(path)) from None
    keys = [line.split("#")[0].strip() for line in text.splitlines()]
    keys = [k for k in keys if k]
    if not keys or any(len(k) < 16 for k in keys):
        raise CaseFileError("give keys of 16 characters or more, one a line", file=str(path))
    return tuple(hashlib.sha256(k.encode()).digest() for k in keys)


class _Refusal(Exception):
    """A request that is refused before it is parsed."""

    def __init__(self, status: int, message: str, **headers: str) -> None:
        self.status, self.message, self.headers = status, message, headers
        super().__init__(message)


class Guard:
    """Stands before an ASGI application."""

    def __init__(self, app: App, keys: Sequence[bytes], limits: Limits) -> None:
        self.app, self.keys, self.limits = app, tuple(keys), limits
        self.running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start = time.perf_counter()
        headers = {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in scope["headers"]}
        given = headers.get("x-request-id", "")
        request_id = given if re.fullmatch(r"[A-Za-z0-9-]{1,64}", given) else uuid.uuid4().hex
        scope["request_id"] = request_id
        status = 500
        begun = False

        async def reply(message: Message) -> None:
            nonlocal status, begun
            if message["type"] == "http.response.start":
                begun, status = True, message["status"]
                message = {**message, "headers": [*message["headers"], *_extra(request_id)]}
            await send(message)

        try:
            self._admit(scope, headers)
            self.running += 1
            try:
                body = await self._body(headers, receive)
                await asyncio.wait_for(
                    self.app(scope, _given(body, receive), reply), self.limits.answer_seconds
                )
            finally:
                self.running -= 1
        except _Refusal as e:
            status = e.status
            if not begun:
                await _refuse(e, request_id, send)
        except TimeoutError:
            status = 504
            if not begun:
                await _refuse(_Refusal(504, "the answer takes too long"), request_id, send)
        except asyncio.CancelledError:
            status = 499
            raise
        except Exception as e:
            LOG.error(json.dumps({"id": request_id, "error": type(e).__name__}))
            if not begun:
                await _refuse(_Refusal(500, "a defect of the service"), request_id, send)
        finally:
            self._note(scope, request_id, status, time.perf_counter() - start)

    def _admit(self, scope: Scope, headers: dict[str, str]) -> None:
        is_open = scope["path"] in OPEN or scope["path"].startswith(ASSETS)
        if self.keys and not is_open:
            bearer = headers.get("authorization", "").removeprefix("Bearer ").strip()
            asked = hashlib.sha256((headers.get("x-api-key") or bearer).encode("latin-1")).digest()
            known = [hmac.compare_digest(asked, key) for key in self.keys]
            if not any(known):
                raise _Refusal(
                    401, "give a known API key in X-API-Key", **{"www-authenticate": "Bearer"}
                )
        if self.running >= self.limits.at_once and not is_open:
            raise _Refusal(503, "too many requests at once", **{"retry-after": "1"})

    async def _body(self, headers: dict[str, str], receive: Receive) -> bytes:
        """Read the body whole, within its limits."""
        most = self.limits.body
        said = headers.get("content-length", "0")
        if not said.isascii() or not said.isdigit() or int(said[:20]) > most:
            raise _Refusal(413, f"a body of at most {most:,} bytes")
        end = time.monotonic() + self.limits.body_seconds
        pieces, size, more = [], 0, True
        while more:
            left = end - time.monotonic()
            try:
                message = await asyncio.wait_for(receive(), max(left, 0.001))
            except TimeoutError:
                raise _Refusal(408, "the body takes too long to come") from None
            if message["type"] == "http.disconnect":
                raise _Refusal(400, "the connection was closed")
            piece = message.get("body", b"")
            pieces.append(piece)
            size += len(piece)
            if size > most:
                raise _Refusal(413, f"a body of at most {most:,} bytes")
            more = message.get("more_body", False)
        if "upgrade" in headers and size < int(said):  # the server stopped reading at the offer
            cure = "ask by HTTP/1.1 without one (Java: HttpClient.newBuilder().version(HTTP_1_1))"
            raise _Refusal(400, f"the body is lost with an offer to upgrade to HTTP/2: {cure}")
        return b"".join(pieces)

    def _note(self, scope: Scope, request_id: str, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "other")
        REQUESTS.labels(route, str(status)).inc()
        SECONDS.labels(route).observe(seconds)
        said = {"id": request_id, "method": scope["method"], "route": route, "status": status}
        LOG.info(json.dumps({**said, "ms": round(seconds * 1000, 1)}))


def _given(body: bytes, receive: Receive) -> Receive:
    """Give a body that is at hand once; then wait for the end of the connection."""
    sent = False

    async def give() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return give


def _extra(request_id: str) -> list[tuple[bytes, bytes]]:
    return [
        (b"x-request-id", request_id.encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"cache-control", b"no-store"),
    ]


def fault(code: str, message: str, request_id: str) -> bytes:
    """Write a refusal."""
    said = {"error": {"code": code, "message": message, "request_id": request_id}}
    return json.dumps(said, ensure_ascii=False).encode()


async def _refuse(e: _Refusal, request_id: str, send: Send) -> None:
    body = fault(f"HTTP{e.status}", e.message, request_id)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    headers += [(k.encode(), v.encode()) for k, v in e.headers.items()]
    headers.append((b"connection", b"close"))
    await send(
        {
            "type": "http.response.start",
            "status": e.status,
            "headers": [*headers, *_extra(request_id)],
        }
    )
    await send({"type": "http.response.body", "body": body})
