"""A real PostgreSQL: made, started and stopped by the tests, on a socket of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from serving import free_port
from shared import program


class Postgres:
    """A cluster in a temporary folder; `address` makes one of a table or a query."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.folder = folder
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
        self.programs = found[-1].parent if found else Path(program("initdb", "pg_ctl")).parent
        self.user = "nobody" if os.name == "posix" and os.geteuid() == 0 else None

    def call(self, *words: str) -> str:
        """Run one of the server's programs, as another user where we are root: it takes no root."""
        done = subprocess.run(
            [str(self.programs / words[0]), *words[1:]],
            user=self.user,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self) -> None:
        data = str(self.folder / "data")
        if self.user:
            shutil.chown(self.folder, self.user)
        secret = self.folder / "secret"
        secret.write_text("s3cret-word\n")
        if self.user:
            shutil.chown(secret, self.user)
        self.call("initdb", "-D", data, "-U", "owner", "-A", "md5", "--pwfile", str(secret), "-N")
        options = f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        log = str(self.folder / "log")
        self.call("pg_ctl", "-D", data, "-w", "-l", log, "-o", options, "start")

    def stop(self) -> None:
        self.call("pg_ctl", "-D", str(self.folder / "data"), "-m", "immediate", "stop")

    def address(self, asked: str, password: str = "s3cret-word") -> str:
        return f"postgresql://owner:{password}@127.0.0.1:{self.port}/postgres?{asked}"

    def sql(self, *statements: str) -> list[tuple[object, ...]]:
        """Run statements; return the rows of the last."""
        from adbc_driver_postgresql import dbapi

        with dbapi.connect(self.address("")) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            rows = cursor.fetchall() if cursor.description else []
            connection.commit()
        return rows


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    pytest.importorskip("adbc_driver_postgresql")
    with tempfile.TemporaryDirectory(prefix="pg-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        found = Postgres(Path(name))
        found.start()
        yield found
        found.stop()
