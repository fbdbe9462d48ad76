"""Commands about money: settle, run, publish, statements, audit, reconcile."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any, Literal

import click
import pyarrow as pa
import pyarrow.compute as pc

import grouper
from grouper import _resume, _runs
from grouper._cli_parts import (
    A_POLICY,
    CASES,
    CODES_BY_CASE,
    COLUMNS,
    HOSPITALS,
    JSON,
    LANG,
    LEDGER,
    OVERWRITE,
    PERIOD,
    POLICY,
    PRIOR,
    SCHEMES,
    STRICT,
    THREADS,
    language,
    print_facts,
    step,
    strict_code,
)
from grouper._writing import check_output

RUN = click.argument("run", metavar="RUN")
STATEMENTS = click.option(
    "--statements", "with_statements", is_flag=True, help="Write each hospital's statement too."
)
AUDIT = click.option("--audit", metavar="FILE.xlsx", help="Write the auditor's workbook too.")
FINANCE = click.option("--finance", metavar="FILE", help="Finance's own ledger, to tie totals to.")
OUTPUT = click.option(
    "-o", "--output", required=True, metavar="DIR", help="The run folder to make."
)


def register(cli: click.Group) -> None:
    """Add the commands to the command line."""
    for command in (settle, run_cases, publish, statements, audit, reconcile):
        cli.add_command(command)


@click.command()
@click.argument("grouped", metavar="GROUPED")
@POLICY
@HOSPITALS
@LEDGER
@PRIOR
@PERIOD
@OUTPUT
@STATEMENTS
@AUDIT
@FINANCE
@OVERWRITE
@THREADS
@JSON
def settle(
    grouped: str,
    policy: str,
    hospitals: str | None,
    ledger: str | None,
    prior: tuple[str, ...],
    period: str | None,
    output: str,
    with_statements: bool,
    audit: str | None,
    finance: str | None,
    overwrite: bool,
    threads: int | None,
    as_json: bool,
) -> int:
    """Pay a file that `grouper group` wrote: all there is, a month, or the year's clearing.

    \b
    grouper settle grouped.parquet --policy example-point --hospitals hospitals.csv -o run
    grouper settle grouped.parquet --policy policy --period 2025-02 --prior run-01 -o run-02
    """
    check_output(output, overwrite=overwrite)
    table = grouper.read_grouped(grouped)
    step.expect(table)
    known = {"inputs": [_runs.about_file(Path(grouped))]}
    order = _runs.Order(policy, hospitals, ledger, prior, period, threads)
    origin = _runs.Origin(grouped, is_grouped=True)
    facts = _runs.pay(table, order, output, known, step, overwrite=overwrite, origin=origin)
    facts |= _papers(order, output, with_statements, audit, finance)
    print_facts(facts, as_json)
    return 0


@click.command("run")
@CASES
@SCHEMES
@POLICY
@HOSPITALS
@LEDGER
@PRIOR
@PERIOD
@OUTPUT
@STATEMENTS
@AUDIT
@FINANCE
@OVERWRITE
@click.option(
    "--resume", is_flag=True, help="Keep grouped cases until the run stands; go on there."
)
@COLUMNS
@CODES_BY_CASE
@STRICT
@THREADS
@JSON
def run_cases(
    cases: str,
    schemes: tuple[str, ...],
    policy: str,
    hospitals: str | None,
    ledger: str | None,
    prior: tuple[str, ...],
    period: str | None,
    output: str,
    with_statements: bool,
    audit: str | None,
    finance: str | None,
    overwrite: bool,
    resume: bool,
    columns: str | None,
    codes: str,
    strict: bool,
    threads: int | None,
    as_json: bool,
) -> int:
    """Group cases and pay them: cases, hospitals, pools, ledger, manifest in one folder.

    \b
    grouper run cases.csv --scheme chs-drg-1.1 --policy example-rate -o run
    grouper run cases.csv --policy city -o run                # the editions that the city adopts
    """
    check_output(output, overwrite=overwrite)
    step.expect(cases)
    scheme = _runs.schemes_of(schemes, policy)

    def group() -> tuple[grouper.GroupedBatch, dict[str, Any]]:
        return _runs.group_files(cases, scheme, columns, codes, threads, step)

    if resume:
        grouped, facts = _resume.resumed(output, cases, scheme, columns, codes, group)
    else:
        grouped, facts = group()
    order = _runs.Order(policy, hospitals, ledger, prior, period, threads)
    origin = _runs.Origin(cases, schemes, columns, codes)
    facts |= _runs.pay(grouped, order, output, facts, step, overwrite=overwrite, origin=origin)
    if resume:
        _resume.forget(output)
    facts |= _papers(order, output, with_statements, audit, finance)
    print_facts(facts, as_json)
    return strict_code(facts, strict)


@click.command()
@RUN
@click.option("--checked", required=True, metavar="NAME", help="Who checked it 初审.")
@click.option("--approved", required=True, metavar="NAME", help="Who approved it 复核.")
@click.option("--published", required=True, metavar="NAME", help="Who publishes it.")
@click.option("--on", metavar="DAY", help="Default: today.")
@JSON
def publish(
    run: str, checked: str, approved: str, published: str, on: str | None, as_json: bool
) -> int:
    """Publish a run: from then on it is frozen, and never overwritten.

    \b
    grouper publish run-01 --checked 张 --approved 李 --published 王
    """
    manifest = grouper.publish_run(
        run, checked=checked, approved=approved, published=published, on=_day(on)
    )
    print_facts({"run": run, **manifest["run"]["sign_off"]}, as_json)
    return 0


@click.command()
@RUN
@click.option("-o", "--output", metavar="DIR", help="Default: statements/ in the run folder.")
@click.option("--hospital", multiple=True, metavar="ID", help="Only these; may be given again.")
@LANG
@JSON
def statements(
    run: str, output: str | None, hospital: tuple[str, ...], lang: str | None, as_json: bool
) -> int:
    """Write each hospital's statement: cases, reconciliation page, as Excel and Parquet.

    \b
    grouper statements run --hospital H0001
    """
    written = grouper.write_statements(
        run,
        Path(output) if output else None,
        lang="zh" if (lang or language()) == "zh" else "en",
        hospitals=list(hospital) or None,
    )
    print_facts({"statements": len(written), "output": str(written[0].parent)}, as_json)
    return 0


@click.command()
@RUN
@click.option("-o", "--output", required=True, metavar="FILE.xlsx", help="The workbook to make.")
@FINANCE
@click.option("--sample", type=click.IntRange(1), default=200, show_default=True)
@click.option(
    "--policy",
    metavar="ID|PATH",
    shell_complete=A_POLICY,
    help="The run's policy; a shipped one is found by itself.",
)
@PRIOR
@JSON
def audit(
    run: str,
    output: str,
    finance: str | None,
    sample: int,
    policy: str | None,
    prior: tuple[str, ...],
    as_json: bool,
) -> int:
    """Write the auditor's workbook 清算工作底稿 of a run.

    \b
    grouper audit run -o audit.xlsx --finance finance.csv
    """
    facts = grouper.write_audit(
        run,
        Path(output),
        finance=Path(finance) if finance else None,
        sample=sample,
        policy=policy,
        prior=[Path(p) for p in prior],
    )
    print_facts({**facts, "output": output}, as_json)
    return 0


@click.command()
@RUN
@click.argument("bureau_file", metavar="BUREAU_FILE")
@click.option("-o", "--output", metavar="OUT", help="Differences as .xlsx, or a folder of tables.")
@click.option("--columns", metavar="MAP.toml", help="Their column names.")
@click.option("--hospital", metavar="ID", help="Compare only the cases of this hospital.")
@click.option("--received-on", metavar="DAY", help="When the result came: days left to appeal.")
@OVERWRITE
@LANG
@JSON
def reconcile(
    run: str,
    bureau_file: str,
    output: str | None,
    columns: str | None,
    hospital: str | None,
    received_on: str | None,
    overwrite: bool,
    lang: str | None,
    as_json: bool,
) -> int:
    """Compare a run with the insurer's result; class every difference, with its money.

    \b
    grouper reconcile run bureau.xlsx -o differences.xlsx --received-on 2025-04-20
    """
    mine = grouper.read_run(run)
    if hospital is not None:
        cases = mine.tables["cases"]
        kept = cases.filter(pc.equal(cases["hospital_id"].cast(pa.string()), hospital))
        if not len(kept):
            raise click.ClickException(f"the run has no case of hospital {hospital!r}")
        mine = replace(mine, tables={**mine.tables, "cases": kept})
    found = grouper.reconcile(mine, bureau_file, columns=columns, received_on=_day(received_on))
    if output:
        found.write(output, overwrite=overwrite)
    if as_json:
        click.echo(json.dumps(found.report, ensure_ascii=False, indent=2, default=str))
    else:
        click.echo(found.summary_text(lang or language()))
    return 0


def _papers(
    order: _runs.Order, run: str, statements: bool, audit: str | None, finance: str | None
) -> dict[str, Any]:
    """Write the statements and the auditor's workbook of a run where they are asked for."""
    found: dict[str, Any] = {}
    if statements:
        lang: Literal["zh", "en"] = "zh" if language() == "zh" else "en"
        written = step("statements", lambda: grouper.write_statements(run, lang=lang))
        found["statements"] = len(written)
    if audit:
        target, own = Path(audit), Path(finance) if finance else None
        prior = [Path(p) for p in order.prior]
        found["audit"] = step(
            "audit",
            lambda: grouper.write_audit(run, target, finance=own, prior=prior, policy=order.policy),
        )
    return found


def _day(text: str | None) -> date | None:
    """Read a day such as 2025-04-20."""
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise click.ClickException(f"{text!r} is no day such as 2025-04-20") from None
