"""Commands that show what can be trusted: quality control of the lists, verifying a run."""

from __future__ import annotations

from typing import Any

import click

import grouper
from grouper._cli_parts import (
    A_POLICY,
    A_SCHEME,
    CODES,
    COLUMNS,
    JSON,
    LANG,
    SHOWN,
    THREADS,
    language,
    paint,
    plain,
    print_facts,
    refuse_input,
    step,
)
from grouper._messages import sentence, word
from grouper._quality import QualityReport
from grouper._verify import Sources


def register(cli: click.Group) -> None:
    """Add the commands."""
    for command in (check, verify):
        cli.add_command(command)


@click.command()
@click.argument("cases", metavar="CASES")
@click.option(
    "--scheme",
    metavar="ID|PATH",
    shell_complete=A_SCHEME,
    help="Its chapters and groups; else such rules rest.",
)
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
    """Check settlement lists by the quality rules, without grouping them.

    CASES is a file, a glob or a folder, also one with the long tables setlinfo, diseinfo, oprninfo,
    icuinfo, payinfo, iteminfo. Every rule ends passed, failed or not evaluable for each case.

    \b
    grouper check lists/ --scheme chs-drg-1.1 -o findings.parquet --report report.xlsx
    """
    for path in filter(None, (output, report)):
        refuse_input(cases, path)
    speech = lang or language()
    step.expect(cases)
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
    lang = language()
    rules = facts.pop("rules")
    absent = facts.pop("absent_fields")
    print_facts(facts, False)
    failing = sorted((r for r in rules if r["failed"]), key=lambda r: -r["failed"])
    for r in failing:
        share = f"{100 * r['failed'] / found.cases:.1f} %"
        fen = r["money_touched_fen"]
        money = f"{fen // 100:,}.{fen % 100:02}"
        said = sentence("rule_fails", lang, n=plain(r["failed"]), share=share, money=money)
        click.echo(f"{word(r['severity'], lang):8}{r['rule']}: {said}")
        click.echo(f"        {r['message']}")
    resting = [r for r in rules if r["not_evaluable"] == found.cases > 0]
    passed = len(rules) - len(failing) - len(resting)
    click.echo(sentence("rules_end", lang, n=len(rules), failing=len(failing), passed=passed))
    if resting:
        names = ", ".join(absent[:SHOWN]) + (" …" if len(absent) > SHOWN else "")
        click.echo(sentence("rules_rest", lang, n=len(resting), names=names))


@click.command()
@click.argument("run", metavar="RUN")
@click.option(
    "--sample", type=click.IntRange(0), default=0, metavar="N", help="Cases to read plainly."
)
@click.option("--quick", is_flag=True, help="Only what the folder and its sources show.")
@click.option(
    "--cases", metavar="CASES", help="Where they are now, if they moved; so do the others."
)
@click.option(
    "--scheme",
    "schemes",
    multiple=True,
    metavar="ID|PATH",
    shell_complete=A_SCHEME,
    help="Its schemes.",
)
@click.option("--policy", metavar="ID|PATH", shell_complete=A_POLICY, help="Its policy.")
@click.option("--hospitals", metavar="H.csv", help="Its table of hospitals.")
@click.option("--ledger", metavar="L.csv", help="Its ledger.")
@click.option("--prior", multiple=True, metavar="RUN", help="Its earlier runs.")
@COLUMNS
@THREADS
@JSON
def verify(
    run: str,
    sample: int,
    quick: bool,
    cases: str | None,
    schemes: tuple[str, ...],
    policy: str | None,
    hospitals: str | None,
    ledger: str | None,
    prior: tuple[str, ...],
    columns: str | None,
    threads: int | None,
    as_json: bool,
) -> int:
    """Verify a run: its files, its sums, its sources, and the run made again from them.

    Exit 2 if a check fails. With --sample the plain reader of the rules groups so many cases too.

    \b
    grouper verify region-year/run --sample 1000
    """
    lang = language()
    found = grouper.verify_run(
        run,
        Sources(cases, schemes, policy, hospitals, ledger, prior, columns),
        again=not quick,
        sample=sample,
        threads=threads,
        step=step,
    )
    if as_json:
        print_facts({"run": run, "passed": found.passed, "checks": found.checks}, as_json)
    else:
        for c in found.checks:
            said, colour = MARKS[c["passed"]]
            paint(f"{sentence(said, lang):8}{c['check']}: {c['found']}", colour)
        end = ("verified", "green") if found.passed else ("not_verified", "red")
        paint(sentence(end[0], lang), end[1])
    return 0 if found.passed else 2


MARKS = {True: ("passed", "green"), False: ("failed", "red"), None: ("not_done", "yellow")}
"""What a check ended as: its sentence and its colour."""
