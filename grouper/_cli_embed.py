"""Commands for programs that embed grouper: pipe, warm."""

from __future__ import annotations

import sys
from typing import Literal

import click

from grouper import _platform, _runs
from grouper._cli_parts import CODES, JSON, SCHEMES, print_facts, step


def register(cli: click.Group) -> None:
    """Add the commands."""
    for command in (pipe, warm):
        cli.add_command(command)


@click.command()
@SCHEMES
@click.option("--policy", metavar="ID|PATH", help="Group by the editions that it adopts.")
@CODES
@click.option(
    "--encoding",
    type=click.Choice(["utf-8", "gb18030"]),
    default="utf-8",
    show_default=True,
    help="Of both ends, whatever the locale says.",
)
def pipe(
    schemes: tuple[str, ...],
    policy: str | None,
    codes: Literal["insurer", "clinical"],
    encoding: Literal["utf-8", "gb18030"],
) -> int:
    r"""Answer JSON lines: a case a line on stdin, its result a line on stdout, until stdin ends.

    A line that is no case is answered too: status rejected, and why under "error". docs/embedding.md.

    \b
    grouper pipe --scheme chs-drg-1.1
    """
    from grouper._pipe import Pipe

    answers = Pipe(_runs.schemes_of(schemes, policy), codes, encoding)
    answers.warm()
    try:
        answers.run(sys.stdin.buffer, sys.stdout.buffer)
    except OSError as e:  # here, not in main: click makes exit 1 of it
        if not _platform.is_reader_gone(e):
            raise
        _platform.drop_output()
    return 0


@click.command()
@JSON
def warm(as_json: bool) -> int:
    r"""Compile kernels and schemes ahead, at install: afterwards no first call waits.

    Run it as the user who will run grouper: the caches are that user's.

    \b
    grouper warm
    """
    from grouper import _warm

    print_facts(_warm.warm(step), as_json)
    return 0
