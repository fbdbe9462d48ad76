"""Commands for other programs: the service, the pipe, and the cache that both want warm."""

from __future__ import annotations

import ipaddress
import os
import sys
import tempfile
from fractions import Fraction

import click

import grouper
from grouper import _platform
from grouper._cli_parts import (
    A_POLICY,
    A_SCHEME,
    CODES,
    JSON,
    POINT_VALUE,
    SCHEME,
    print_facts,
    refuse_missing,
    step,
)


def register(cli: click.Group) -> None:
    """Add the commands."""
    for command in (serve, pipe, warm):
        cli.add_command(command)


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Other hosts need API keys.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True)
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True)
@click.option("--api-key-file", metavar="FILE", help="Keys, one a line; asked for in X-API-Key.")
@click.option(
    "--scheme",
    "schemes",
    multiple=True,
    metavar="ID|PATH",
    shell_complete=A_SCHEME,
    help="Offer these only.",
)
@click.option(
    "--policy",
    "policies",
    multiple=True,
    metavar="ID|PATH",
    shell_complete=A_POLICY,
    help="Offer these only.",
)
@click.option(
    "--max-body", type=click.IntRange(1, 1024), default=32, show_default=True, help="MiB."
)
@click.option(
    "--timeout", type=click.FloatRange(0.1, 600), default=30.0, show_default=True, help="Seconds."
)
def serve(
    host: str,
    port: int,
    workers: int,
    api_key_file: str | None,
    schemes: tuple[str, ...],
    policies: tuple[str, ...],
    max_body: int,
    timeout: float,
) -> int:
    """Serve grouping, explaining and pricing over HTTP; nothing is kept between requests.

    \b
    grouper serve --workers 2
    grouper serve --host 0.0.0.0 --api-key-file keys.txt --scheme chs-drg-1.1
    """
    try:
        import uvicorn

        from grouper import _service
        from grouper._service_guard import Limits, read_keys
    except ImportError as e:
        raise refuse_missing("serving", "service", e) from None
    keys = read_keys(api_key_file) if api_key_file else ()
    if not keys and not _is_loopback(host):
        message = f"--host {host} is open to others: give --api-key-file"
        raise click.ClickException(message)
    limits = Limits(body=max_body << 20, answer_seconds=timeout)
    warm = [s for s in schemes if s] or ["chs-drg-1.1"]
    settings = _service.ServiceSettings(schemes, policies, warm, keys, limits)
    os.environ[_service.SETTINGS] = settings.to_json()
    with tempfile.TemporaryDirectory(prefix="grouper-metrics-") as folder:
        if workers > 1:
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        uvicorn.run(
            "grouper._service:create_app",
            factory=True,
            host=host,
            port=port,
            workers=workers,
            access_log=False,
            server_header=False,
            timeout_keep_alive=15,
            timeout_graceful_shutdown=20,
            h11_max_incomplete_event_size=64 << 10,
            log_level="warning",
        )
    return 0


@click.command()
@SCHEME
@click.option(
    "--policy",
    metavar="ID|PATH",
    shell_complete=A_POLICY,
    help="Adds `price`: weight, standard, edges.",
)
@POINT_VALUE
@click.option(
    "--encoding",
    type=click.Choice(["utf-8", "gb18030"]),
    default="utf-8",
    show_default=True,
    help="Of what comes and what goes.",
)
@CODES
def pipe(
    scheme: str, policy: str | None, point_value: str | None, encoding: str, codes: str
) -> int:
    """Group JSON lines: a case in on stdin, its result out on stdout, one for one.

    A line that is no case is answered too: rejected, with a message. docs/embedding.md.

    \b
    grouper pipe --scheme chs-drg-1.1 < cases.jsonl > groups.jsonl
    """
    from grouper._pipe import answers

    found = answers(
        sys.stdin.buffer,
        grouper.load_scheme(scheme),
        codes=codes,
        policy=grouper.load_policy(policy) if policy else None,
        point_value=None if point_value is None else Fraction(point_value),
        encoding=encoding,
    )
    out = sys.stdout.buffer
    try:
        for line in found:
            out.write(line)
            out.flush()
    except OSError as e:
        if not _platform.is_reader_gone(e):
            raise
        _platform.drop_output()
    return 0


@click.command()
@JSON
def warm(as_json: bool) -> int:
    """Compile kernels and schemes now, so that no later run has to; once after installing.

    Run it as the user who will run grouper: the caches are that user's.

    \b
    grouper warm
    """
    from grouper._warm import warm as compile_all

    found = step("compiling", compile_all)
    print_facts(found._asdict(), as_json)
    return 0


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
