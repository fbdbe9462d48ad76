"""What the commands share: options, and how facts and steps are printed."""

from __future__ import annotations

import json
import locale
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from grouper import _chunks, _row_proof
from grouper._database import Address, is_database
from grouper._reading import find_files
from grouper.errors import CaseFileError
from grouper.tables import policy_ids, scheme_ids


def _complete(ids: Callable[[], Iterable[str]]) -> Callable[..., list[CompletionItem]]:
    """Complete the ids that ship, or else the name of a folder."""

    def complete(context: Any, option: Any, begun: str) -> list[CompletionItem]:
        found = [CompletionItem(i) for i in ids() if i.startswith(begun)]
        return found or [CompletionItem(begun, type="file")]

    return complete


A_SCHEME, A_POLICY = _complete(scheme_ids), _complete(policy_ids)
CASES = click.argument("cases", metavar="CASES")
SCHEME = click.option(
    "--scheme",
    required=True,
    metavar="ID|PATH",
    shell_complete=A_SCHEME,
    help="A shipped scheme or a folder of tables.",
)
SCHEMES = click.option(
    "--scheme",
    "schemes",
    multiple=True,
    metavar="ID|PATH",
    shell_complete=A_SCHEME,
    help="Default: the editions that the policy adopts, each case by its own day.",
)
COLUMNS = click.option("--columns", metavar="MAP.toml", help="Map of other column names to ours.")
_EDITION = "Edition of the codes: insurer's 医保版, clinical 国临版 mapped once"
CODES = click.option(
    "--codes",
    type=click.Choice(["insurer", "clinical"]),
    default="insurer",
    show_default=True,
    help=f"{_EDITION}.",
)
CODES_BY_CASE = click.option(
    "--codes",
    type=click.Choice(["insurer", "clinical", "case"]),
    default="insurer",
    show_default=True,
    help=f"{_EDITION}, or each case as its column code_edition says.",
)
THREADS = click.option("--threads", type=click.IntRange(1), help="Default: the cores at hand.")
STRICT = click.option("--strict", is_flag=True, help="Exit 1 if a case is not grouped.")
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
POLICY = click.option(
    "--policy",
    required=True,
    metavar="ID|PATH",
    shell_complete=A_POLICY,
    help="A payment policy.",
)
HOSPITALS = click.option("--hospitals", metavar="H.csv", help="Dated table of hospital levels.")
OVERWRITE = click.option("--overwrite", is_flag=True, help="Replace an earlier result there.")
LANG = click.option("--lang", type=click.Choice(["zh", "en"]), help="Default: by the locale.")
LEDGER = click.option(
    "--ledger", metavar="L.csv", help="Entries: decisions, deductions, prepayments …"
)
PRIOR = click.option(
    "--prior",
    metavar="RUN",
    multiple=True,
    help="A published month, or last year's run; may be given again.",
)
PERIOD = click.option(
    "--period", metavar="2025-03|2025", help="Settle a month, or clear a year; else all there is."
)


def _yuan(context: click.Context, option: click.Parameter, text: str | None) -> str | None:
    if text is not None and not re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
        raise click.BadParameter(f"{text!r} is no decimal of yuan")
    return text


POINT_VALUE = click.option(
    "--point-value",
    metavar="YUAN",
    callback=_yuan,
    help="What a point is worth, for a point method.",
)

SHOWN = 12
"""Groups that a printed report names; all of them are in the written one."""


def refuse_input(cases: str, output: str) -> None:
    """Refuse to write over a file or a table that is read."""
    if is_database(cases) or is_database(output):
        if is_database(cases) and is_database(output):
            one, two = Address.of(cases), Address.of(output)
            if one.table is not None and (one.dsn, one.table) == (two.dsn, two.table):
                raise CaseFileError("is an input; name another table", file=two.shown)
        return
    target = Path(output)
    if target.exists() and any(target.samefile(p) for p in find_files(cases)):
        raise CaseFileError("is an input; name another output", file=target.name)


def color() -> bool | None:
    """Tell whether to colour: None = on a terminal alone; never where NO_COLOR is set."""
    return False if os.environ.get("NO_COLOR") else None


def step(name: str, work: Callable[[], Any]) -> Any:
    """Run a step; on a terminal say which one, and how far it is where it is long."""
    if not sys.stderr.isatty():
        return work()
    bar = _Bar(name)
    before = _chunks.WATCH.set(bar)
    try:
        return work()
    finally:
        _chunks.WATCH.reset(before)
        bar.close()


LONG = 300_000
"""Rows from which a step has a bar."""


class _Bar:
    """A line on the terminal: which step, how far, rows a second, time left; gone when it is done."""

    def __init__(self, name: str) -> None:
        self.name, self.total, self.done = name, 0, 0
        self.bar: Any = None
        click.echo(f"{name} …\r", err=True, nl=False)

    def __call__(self, done: int, total: int) -> None:
        """Take note of rows that are done."""
        if total < LONG:
            return
        if self.bar is None or total != self.total or done < self.done:
            self._end()
            self.total, self.done, self.start = total, 0, time.monotonic()
            self.bar = click.progressbar(
                length=total,
                label=self.name,
                file=sys.stderr,
                item_show_func=lambda rate: rate or "",
                show_pos=False,
            )
        rate = done / max(time.monotonic() - self.start, 1e-3)
        self.bar.update(done - self.done, f"{rate:,.0f} rows/s")
        self.done = done

    def _end(self) -> None:
        if self.bar is not None:
            self.bar.render_finish()
            self.bar = None

    def close(self) -> None:
        """Leave the line blank."""
        self._end()
        click.echo("\r\033[K", err=True, nl=False)


def strict_code(facts: Mapping[str, Any], strict: bool) -> int:
    return int(strict and facts["status"]["grouped"] < facts["cases"])


def language() -> str:
    name = locale.getlocale()[0] or os.environ.get("LANG", "")
    return "zh" if name.lower().startswith(("zh", "chinese")) else "en"


def print_facts(facts: Mapping[str, Any], as_json: bool) -> None:
    """Print facts: JSON, or one line each with blanks left out."""
    if as_json:
        click.echo(json.dumps(facts, ensure_ascii=False, indent=2, default=str))
        return
    for name, value in facts.items():
        if name == "rows" and isinstance(value, Mapping):
            click.echo("\n".join(_row_proof.lines(value, SHOWN)))
            continue
        if value in ({}, [], (), None, ""):
            continue
        if isinstance(value, Mapping):
            value = ", ".join(f"{k} {plain(v)}" for k, v in value.items() if v not in ((), []))
        if isinstance(value, list):
            for item in value:
                text = item
                if isinstance(item, Mapping):
                    text = ", ".join(f"{k} {plain(v)}" for k, v in item.items())
                click.echo(f"{name}: {text}")
            continue
        click.echo(f"{name}: {plain(value)}")


def plain(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def refuse_missing(what: str, extra: str, error: ImportError) -> click.ClickException:
    """Say which extra a command needs."""
    message = f'{what} needs {error.name}: pip install "drgdip-grouper[{extra}]"'
    return click.ClickException(message)
