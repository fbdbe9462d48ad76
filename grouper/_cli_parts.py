"""What the commands share: options, and how facts and steps are printed."""

from __future__ import annotations

import contextlib
import json
import locale
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from grouper import _progress
from grouper._database import Address, is_database
from grouper._messages import Lang, refusal, sentence, word
from grouper._reading import find_files
from grouper._row_proof import STATUSES
from grouper.errors import CaseFileError, GrouperError
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


class Steps:
    """Runs the steps of a command; on a terminal with a bar, the rate and the time left."""

    def __init__(self) -> None:
        self.amount, self.unit = 0.0, ""

    def expect(self, cases: Any) -> None:
        """Learn how much there is to do: rows, where the files or the table tell, else megabytes."""
        self.amount, self.unit = 0.0, ""
        if not sys.stderr.isatty():
            return
        if hasattr(cases, "num_rows"):
            self.amount, self.unit = cases.num_rows, "cases"
            return
        named = [cases] if isinstance(cases, str) else cases
        with contextlib.suppress(GrouperError, OSError, ValueError):
            files = [path for name in named for path in find_files(name)]
            rows = [parquet_rows(path) for path in files]
            self.amount, self.unit = sum(p.stat().st_size for p in files) / 1e6, "MB"
            if all(rows):
                self.amount, self.unit = sum(rows), "cases"

    def __call__(self, name: str, work: Callable[[], Any]) -> Any:
        """Run a step and return what it gives."""
        if not sys.stderr.isatty():
            return work()
        start, whole = time.monotonic(), 1000

        def rate(done: float) -> str:
            spent = max(time.monotonic() - start, 1e-3)
            return f"{self.amount * done / spent:,.0f} {word(self.unit, language())}/s"

        with click.progressbar(
            length=whole,
            label=f"{word(name, language()):12}",
            item_show_func=lambda said: said if self.amount else None,
            file=sys.stderr,
            width=24,
        ) as bar:

            def heard(done: float) -> None:
                place = min(int(whole * done), whole - 1)
                if place > bar.pos:
                    bar.update(place - bar.pos, rate(done))

            with _progress.heard(heard):
                result = work()
            table = getattr(result, "table", None)
            if table is not None:
                self.amount, self.unit = table.num_rows, "cases"
            bar.update(whole - bar.pos, rate(1))
        return result


step = Steps()


def parquet_rows(path: Path) -> int:
    """Return the rows of a Parquet file by its footer, 0 for another."""
    if path.suffix.casefold() != ".parquet":
        return 0
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return int(pq.read_metadata(path).num_rows)
    except (pa.ArrowException, OSError):
        return 0


def strict_code(facts: Mapping[str, Any], strict: bool) -> int:
    return int(strict and facts["status"]["grouped"] < facts["cases"])


def language(words: Sequence[str] = ()) -> Lang:
    """Return zh or en: as --lang says, of the command or before it, else by the locale."""
    context = click.get_current_context(silent=True)
    while context is not None:
        if asked := context.params.get("lang"):
            return "zh" if asked == "zh" else "en"
        context = context.parent
    for k, text in enumerate(words):  # no command was reached
        name, _, value = text.partition("=")
        if name == "--lang":
            return "zh" if (value or "".join(words[k + 1 : k + 2])) == "zh" else "en"
    told = (os.environ.get(name) for name in ("LC_ALL", "LC_MESSAGES", "LANG"))
    name = next(filter(None, told), None) or locale.getlocale()[0] or ""
    return "zh" if name.lower().startswith(("zh", "chinese")) else "en"


def complain(message: str, words: Sequence[str] = ()) -> None:
    """Say a refusal on stderr, in the language asked for; red on a terminal."""
    lang = language(words)
    paint(f"grouper: {refusal(message, lang)}", "red", err=True)


def paint(text: str, colour: str, *, err: bool = False) -> None:
    """Print a line, in colour on a terminal only, and not where NO_COLOR is set."""
    plain = bool(os.environ.get("NO_COLOR"))
    click.secho(text, fg=None if plain else colour, err=err)


def print_facts(facts: Mapping[str, Any], as_json: bool) -> None:
    """Print facts: JSON, or one line each with blanks left out."""
    if as_json:
        click.echo(json.dumps(facts, ensure_ascii=False, indent=2, default=str))
        return
    lang = language()
    for name, value in facts.items():
        if value in ({}, [], (), None, ""):
            continue
        if name == "rows" and isinstance(value, Mapping):
            click.echo("\n".join(proof_lines(value, lang)))
            continue
        label = word(name, lang)
        for item in value if isinstance(value, list) else [value]:
            text = pairs(item, lang) if isinstance(item, Mapping) else plain(item)
            click.echo(f"{label}: {text}")


def pairs(found: Mapping[str, Any], lang: Lang) -> str:
    """Say names with their values; of the values those that are words of ours are spoken too."""
    kept = {k: v for k, v in found.items() if v not in ((), [])}
    return ", ".join(f"{word(k, lang)} {word(plain(v), lang)}" for k, v in kept.items())


def proof_lines(proof: Mapping[str, Any], lang: Lang) -> list[str]:
    """Say the proof of rows: all, each file and month, hospitals with rows not grouped."""
    said = [f"{word('rows', lang)}: {_row_words(proof, lang)}"]
    for key in ("by_file", "by_month", "by_hospital"):
        found = proof.get(key, [])
        name = key.removeprefix("by_")
        if key == "by_hospital":
            if found:
                said.append(
                    f"  {word('hospitals', lang)}: {sentence('adds_up', lang, n=len(found))}"
                )
            found = [r for r in found if r["input"] != r["grouped"]]
            found.sort(key=lambda r: r["grouped"] - r["input"])
        if len(found) > 1 or key == "by_hospital":
            none = sentence("nothing_named", lang)
            label = word(name, lang)
            said += [f"  {label} {r[name] or none}: {_row_words(r, lang)}" for r in found[:SHOWN]]
        if len(found) > SHOWN:
            said.append(f"  … {sentence('more', lang, n=len(found) - SHOWN)}")
    return said


def _row_words(line: Mapping[str, Any], lang: Lang) -> str:
    parts = " + ".join(f"{line[s]:,} {word(s, lang)}" for s in STATUSES)
    return f"{line['input']:,} = {parts}"


def plain(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def refuse_missing(what: str, extra: str, error: ImportError) -> click.ClickException:
    """Say which extra a command needs."""
    message = f'{what} needs {error.name}: pip install "drgdip-grouper[{extra}]"'
    return click.ClickException(message)
