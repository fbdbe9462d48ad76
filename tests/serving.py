"""The service in processes of its own, for tests that ask it as others do."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from http.client import HTTPConnection
from typing import Any

KEY = "a key of more than sixteen"
MAIN = "from grouper.cli import main; main()"


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


class Served:
    """A service in processes of its own."""

    def __init__(self, *options: str) -> None:
        self.port = free_port()
        command = [sys.executable, "-c", MAIN, "serve", "--port", str(self.port), *options]
        self.said = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            command, stdout=self.said, stderr=self.said, text=True, start_new_session=True
        )
        end = time.monotonic() + 90
        while True:
            try:
                if self.ask("GET", "/readyz")[0] == 200:
                    return
            except OSError:
                if time.monotonic() > end or self.process.poll() is not None:
                    self.kill()
                    raise AssertionError(self.output()) from None
                time.sleep(0.1)

    def ask(self, method: str, path: str, body: Any = None, key: str = KEY) -> tuple[int, bytes]:
        link = HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            data = None if body is None else json.dumps(body)
            link.request(method, path, data, {"content-type": "application/json", "x-api-key": key})
            answer = link.getresponse()
            return answer.status, answer.read()
        finally:
            link.close()

    def output(self) -> str:
        """Return what it said so far."""
        self.said.seek(0)
        return self.said.read()

    def stop(self) -> str:
        """Stop it as a system does; return what it said."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        return self.output()

    def kill(self) -> None:
        """End it and its workers, whatever they do."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(20)
        self.said.close()


def asked(app: Any, method: str, path: str, **given: Any) -> Any:
    """Ask an application of this process once."""
    import httpx

    async def ask() -> Any:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            return await client.request(method, path, **given)

    return asyncio.run(ask())
