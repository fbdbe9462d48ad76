"""The commands that report: a run as one page or a workbook, its casemix."""

from __future__ import annotations

import json
from typing import Literal

import click

import grouper
from grouper._cli_parts import COLUMNS, JSON, LANG, language, print_facts, step
from grouper._small_cells import LEAST


def register(cli: click.Group) -> None:
    """Add the command."""
    cli.add_command(report)
    cli.add_command(casemix)


@click.command()
@click.argument("run", metavar="RUN")
@click.option("-o", "--output", required=True, metavar="FILE", help=".html or .xlsx.")
@click.option(
    "--least",
    type=click.IntRange(0),
    default=LEAST,
    show_default=True,
    help="Groups of fewer cases are merged; 0 shows every group.",
)
@LANG
@JSON
def report(run: str, output: str, least: int, lang: str | None, as_json: bool) -> int:
    """Report a run: funds, point values, hospitals, casemix, outliers, groups, the proof.

    A page is one file without anything from elsewhere, to read and to print; a workbook has a sheet a table.

    \b
    grouper report region-year/run -o report.html
    grouper report run -o report.xlsx --least 0 --lang en
    """
    speech: Literal["zh", "en"] = "zh" if (lang or language()) == "zh" else "en"
    found = step("reporting", lambda: grouper.write_report(run, output, lang=speech, least=least))
    if as_json:
        click.echo(json.dumps({**found, "output": output}, ensure_ascii=False, indent=2))
        return 0
    [glance] = found["tables"]["summary"]["rows"]
    names = ("cases", "hospitals", "groups", "fund_fen", "paid_fen")
    checks = [r["state"] for n in ("proof", "accrual", "ties") for r in found["tables"][n]["rows"]]
    told = {"checks": {s: checks.count(s) for s in ("ties", "differs")}, "output": output}
    print_facts({**{n: glance[n] for n in names}, **told}, False)
    return 0


@click.command()
@click.argument("run", metavar="RUN")
@click.option("--cases", metavar="PATH", help="Those the run was made from; default: as it says.")
@click.option("--options", metavar="FILE.toml", help="Edges, low risk, days: see the docs.")
@click.option("-o", "--output", required=True, metavar="FILE", help=".html or .xlsx.")
@COLUMNS
@LANG
@JSON
def casemix(
    run: str,
    cases: str | None,
    options: str | None,
    output: str,
    columns: str | None,
    lang: str | None,
    as_json: bool,
) -> int:
    """Work out a run's casemix: by hospital, department, doctor, month, insurance; benchmarks by level.

    \b
    grouper casemix region-year/run -o casemix.html
    grouper casemix run -o casemix.xlsx --lang en
    """
    speech: Literal["zh", "en"] = "zh" if (lang or language()) == "zh" else "en"
    found = step(
        "adding up",
        lambda: grouper.casemix(
            run, cases=cases, columns=columns, options=options, output=output, lang=speech
        ),
    )
    if as_json:
        click.echo(json.dumps({**found, "output": output}, ensure_ascii=False, indent=2))
        return 0
    rows = {n: len(t["rows"]) for n, t in found["tables"].items()}
    print_facts({**rows, "output": output}, False)
    return 0
