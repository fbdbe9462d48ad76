"""Commands that show what can be trusted: quality control of the lists."""

from __future__ import annotations

from typing import Any

import click

import grouper
from grouper._cli_parts import (
    CODES,
    COLUMNS,
    JSON,
    LANG,
    SHOWN,
    THREADS,
    language,
    plain,
    print_facts,
    refuse_input,
    step,
)
from grouper._quality import QualityReport


def register(cli: click.Group) -> None:
    """Add the commands."""
    cli.add_command(check)


@click.command()
@click.argument("cases", metavar="CASES")
@click.option("--scheme", metavar="ID|PATH", help="Its chapters and groups; else such rules rest.")
@click.option("--rules", metavar="FILE|DIR", help="Rules to add, replace or switch off.")
@click.option("--only", multiple=True, metavar="ID", help="Only this rule; 2005.* for many.")
@click.option("--without", multiple=True, metavar="ID", help="Leave this rule out.")
@click.option("-o", "--output", metavar="FINDINGS", help=".parquet, .csv, .arrow or .xlsx.")
@click.option("--report", metavar="FILE", help="Counts by hospital and rule, of the same kinds.")
@click.option("--strict", is_flag=True, help="Exit 1 if a rule of severity error fails.")
@COLUMNS
@CODES
@THREADS
@LANG
@JSON
def check(
    cases: str,
    scheme: str | None,
    rules: str | None,
    only: tuple[str, ...],
    without: tuple[str, ...],
    output: str | None,
    report: str | None,
    strict: bool,
    columns: str | None,
    codes: str,
    threads: int | None,
    lang: str | None,
    as_json: bool,
) -> int:
    r"""Check settlement lists by the quality rules, without grouping them.

    CASES is a file, a glob or a folder, also one with the long tables setlinfo, diseinfo, oprninfo,
    icuinfo, payinfo, iteminfo. Every rule ends passed, failed or not evaluable for each case.

    \b
    grouper check lists/ --scheme chs-drg-1.1 -o findings.parquet --report report.xlsx
    """
    for path in filter(None, (output, report)):
        refuse_input(cases, path)
    speech = lang or language()
    found: QualityReport = step(
        "checking",
        lambda: grouper.check_quality(
            cases,
            scheme=scheme,
            rules=rules,
            only=only,
            without=without,
            columns=columns,
            codes=codes,
            lang=speech,
            threads=threads,
        ),
    )
    facts = found.facts()
    if output:
        step("writing", lambda: grouper.write_table(found.findings, output))
        facts["output"] = output
    if report:
        step("writing", lambda: grouper.write_table(found.report, report))
        facts["report"] = report
    if as_json:
        print_facts(facts, as_json)
    else:
        _print(facts, found)
    return int(strict and found.has_errors)


def _print(facts: dict[str, Any], found: QualityReport) -> None:
    """Print the counts, the rules that fail, and how many cannot be judged and why."""
    rules = facts.pop("rules")
    absent = facts.pop("absent_fields")
    print_facts(facts, False)
    failing = sorted((r for r in rules if r["failed"]), key=lambda r: -r["failed"])
    for r in failing:
        share = f"{100 * r['failed'] / found.cases:.1f} %"
        money = f"{r['money_touched_fen'] / 100:,.2f} yuan"
        click.echo(f"{r['severity']:8}{r['rule']}: {plain(r['failed'])} cases, {share}, {money}")
        click.echo(f"        {r['message']}")
    resting = [r for r in rules if r["not_evaluable"] == found.cases]
    passed = len(rules) - len(failing) - len(resting)
    click.echo(f"rules: {len(rules)}; fail somewhere {len(failing)}, pass {passed}")
    if resting:
        names = ", ".join(absent[:SHOWN]) + (" …" if len(absent) > SHOWN else "")
        click.echo(f"not evaluable in any case: {len(resting)}; fields not there: {names}")
