"""The command that serves: REST on this machine, or with keys for others."""

from __future__ import annotations

import ipaddress
import os
import tempfile

import click

from grouper._cli_parts import refuse_missing


def register(cli: click.Group) -> None:
    """Add the command."""
    cli.add_command(serve)


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Other hosts need API keys.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True)
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True)
@click.option("--api-key-file", metavar="FILE", help="Keys, one a line; asked for in X-API-Key.")
@click.option("--scheme", "schemes", multiple=True, metavar="ID|PATH", help="Offer these only.")
@click.option("--policy", "policies", multiple=True, metavar="ID|PATH", help="Offer these only.")
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
    r"""Serve grouping, explaining and pricing over HTTP; nothing is kept between requests.

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


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
