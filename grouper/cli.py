"""The command line. A library's error is the message, the exit code is the contract.

Exit 0 done, 1 with --strict and something not grouped, 2 refused: the reason on stderr, nothing
half-written. Settling, publishing and reconciling are in `_cli_money`, schemes and
policies in `_cli_tables`, quality control in `_cli_trust`, what they share in `_cli_parts`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Literal, NoReturn

import click
from click.shell_completion import get_completion_class

import grouper
from grouper import (
    _cli_money,
    _cli_report,
    _cli_serve,
    _cli_tables,
    _cli_trust,
    _platform,
    _runs,
)
from grouper._calibration_files import refuse_catalogue
from grouper._cli_parts import (
    A_POLICY,
    A_SCHEME,
    CASES,
    CODES,
    CODES_BY_CASE,
    COLUMNS,
    JSON,
    LANG,
    OVERWRITE,
    POINT_VALUE,
    SCHEMES,
    SHOWN,
    STRICT,
    THREADS,
    complain,
    language,
    print_facts,
    refuse_input,
    step,
    strict_code,
)
from grouper._database import Address, is_database, write_tables
from grouper._messages import sentence
from grouper._weights_report import refuse_weights
from grouper._writing import refuse_ending
from grouper.errors import GrouperError


def main() -> NoReturn:
    """Run the command line; every refusal is one message and exit code 2."""
    try:
        code = cli.main(prog_name="grouper", standalone_mode=False)
    except GrouperError as e:
        complain(str(e), sys.argv)
        code = 2
    except click.exceptions.Abort:
        complain(sentence("interrupted", language(sys.argv)), sys.argv)
        code = 130
    except click.ClickException as e:
        if isinstance(e, click.UsageError) and e.ctx is not None:
            click.echo(e.ctx.get_usage(), err=True)
        complain(e.format_message(), sys.argv)
        code = 2
    except OSError as e:
        if _platform.is_reader_gone(e):
            _platform.drop_output()
            code = 0
        else:
            complain(str(e), sys.argv)
            code = 2
    sys.exit(code if isinstance(code, int) else 0)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(grouper.__version__, prog_name="grouper")
@LANG
def cli(lang: str | None) -> None:
    """Group hospital discharges into DRG or DIP groups and pay them under a global budget.

    \b
    grouper demo -o region-year
    grouper group cases.parquet --scheme chs-drg-1.1 -o grouped.parquet
    grouper run cases.csv --scheme chs-drg-1.1 --policy policy.toml -o run
    grouper explain cases.csv --case 42 --scheme chs-drg-1.1
    """


@cli.command()
@CASES
@SCHEMES
@click.option(
    "--policy",
    metavar="ID|PATH",
    shell_complete=A_POLICY,
    help="Group by the editions that it adopts.",
)
@click.option(
    "-o",
    "--output",
    metavar="OUT",
    help=".parquet, .csv, .arrow, .xlsx or postgresql://…?table=…; else counts only.",
)
@click.option("--run-id", metavar="ID", help="Of rows in a database; default their content hash.")
@COLUMNS
@CODES_BY_CASE
@STRICT
@THREADS
@JSON
def group(
    cases: str,
    schemes: tuple[str, ...],
    policy: str | None,
    output: str | None,
    run_id: str | None,
    columns: str | None,
    codes: str,
    strict: bool,
    threads: int | None,
    as_json: bool,
) -> int:
    """Group cases: a file, folder or glob (.parquet .csv .csv.gz .arrow .xlsx), or a database.

    \b
    grouper group cases.csv --scheme chs-drg-1.1 -o grouped.parquet
    grouper group "postgresql://me@host/db?table=cases" --scheme chs-drg-1.1 \\
        -o "postgresql://me@host/db?table=grouped"
    """
    if output:
        refuse_input(cases, output)
        if not is_database(output):
            refuse_ending(output)
    step.expect(cases)
    scheme = _runs.schemes_of(schemes, policy)
    grouped, facts = _runs.group_files(cases, scheme, columns, codes, threads, step)
    if output and is_database(output):
        table = grouped.to_arrow(carry=True)
        facts["run_id"] = run_id or grouper.content_hash(table)
        written = step("writing", lambda: write_tables({"": table}, output, facts["run_id"]))
        facts["output"] = {"address": Address.of(output).shown, "rows": written}
    elif output:
        step("writing", lambda: grouper.write_table(grouped.to_arrow(carry=True), output))
        facts["output"] = output
    print_facts(facts, as_json)
    return strict_code(facts, strict)


@cli.command()
@click.argument("run", metavar="RUN")
@click.argument("address", metavar="postgresql://…?table=PREFIX")
@click.option("--run-id", metavar="ID", help="Default: the content hash of the run.")
@JSON
def store(run: str, address: str, run_id: str | None, as_json: bool) -> int:
    """Write the tables of a run into a database, in place of what the same run wrote before.

    \b
    grouper store run "postgresql://me@host/db?table=settled"
    """
    folder = grouper.read_run(run)
    tables = {name: t for name, t in folder.tables.items() if t.num_rows or t.num_columns}
    id_ = run_id or folder.manifest["content_hash"]
    written = step("writing", lambda: write_tables(tables, address, id_))
    shown = Address.of(address).shown
    print_facts({"run_id": id_, "output": {"address": shown, "rows": written}}, as_json)
    return 0


@cli.command()
@click.option("-o", "--output", required=True, metavar="FORM.xlsx", help="The workbook to write.")
@click.option("--rows", type=click.IntRange(1, 100_000), default=2_000, show_default=True)
@OVERWRITE
@LANG
@JSON
def template(output: str, rows: int, overwrite: bool, lang: str | None, as_json: bool) -> int:
    """Write a workbook for a hospital to fill: drop-downs, checked cells, codes as text.

    \b
    grouper template -o cases.xlsx --lang zh
    """
    from grouper._case_form import write_form

    if Path(output).exists() and not overwrite:
        raise click.ClickException(
            f"{output} is there: --overwrite replaces it, what was filled too"
        )
    write_form(output, lang or language(), rows)
    print_facts({"output": output}, as_json)
    return 0


@cli.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> int:
    """Print what makes a shell complete commands, options, schemes and policies.

    \b
    grouper completion bash > ~/.local/share/bash-completion/completions/grouper
    """
    made = get_completion_class(shell)
    assert made is not None
    click.echo(made(cli, {}, "grouper", "_GROUPER_COMPLETE").source())
    return 0


@cli.command()
@CASES
@SCHEMES
@click.option("--case", "case_id", required=True, metavar="ID", help="case_id of the case.")
@click.option(
    "--what-if",
    "changes",
    multiple=True,
    metavar="CHANGE",
    help="procedures+=CODE, procedures-=CODE, principal=CODE, age=71 …; may be given again.",
)
@click.option(
    "--policy",
    metavar="ID|PATH",
    shell_complete=A_POLICY,
    help="Its edition; with --what-if weight and pay too.",
)
@POINT_VALUE
@click.option("--clarify-only", is_flag=True, help="Leave out everything about money.")
@click.option("--html", metavar="FILE.html", help="Write a page instead of text.")
@COLUMNS
@CODES
@LANG
@JSON
def explain(
    cases: str,
    schemes: tuple[str, ...],
    case_id: str,
    changes: tuple[str, ...],
    policy: str | None,
    point_value: str | None,
    clarify_only: bool,
    html: str | None,
    columns: str | None,
    codes: str,
    lang: str | None,
    as_json: bool,
) -> int:
    """Say why a case is in its group, why not in the next ones, and what a change would make of it.

    \b
    grouper explain cases.csv --case 42 --scheme chs-drg-1.1 --lang en
    grouper explain cases.csv --case 42 --scheme chs-drg-1.1 --what-if "procedures+=39.5000"
    """
    import pyarrow.compute as pc

    table = grouper.read_cases(cases, columns=columns).table
    found = table.filter(pc.equal(table["case_id"], case_id)).to_pylist()
    if not found:
        raise click.ClickException(f"no case {case_id!r} among {len(table)} of {cases}")
    if len(found) > 1:
        said = sentence("share_id", language(), n=len(found), case_id=case_id)
        click.echo(said, err=True)
    told: list[grouper.Trace | grouper.WhatIf] = []
    for case in found:
        scheme = _runs.scheme_of_case(_runs.schemes_of(schemes, policy), case)
        if not changes:
            told.append(grouper.explain(case, scheme, codes=codes))
            continue
        told.append(
            grouper.what_if(
                case,
                scheme,
                changes,
                policy=policy,
                point_value=point_value,
                codes=codes,
                clarify_only=clarify_only,
            )
        )
    speech: Literal["zh", "en"] = "zh" if (lang or language()) == "zh" else "en"
    if html:
        Path(html).write_text("\n".join(t.to_html(speech) for t in told), "utf-8")
    elif as_json:
        click.echo(
            json.dumps([t.to_dict() for t in told], ensure_ascii=False, indent=2, default=str)
        )
    else:
        click.echo("\n\n".join(t.to_text(speech) for t in told))
    return 0


@cli.command()
@click.option("--cases", "n", type=click.IntRange(1), default=100_000, show_default=True)
@click.option(
    "--scheme",
    metavar="ID|PATH",
    shell_complete=A_SCHEME,
    help="Default: chs-drg-1.1, or dip-demo for dip.",
)
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True)
@click.option(
    "--method",
    type=click.Choice(["point", "rate", "dip"]),
    default="point",
    show_default=True,
    help="DRG by points or rate, or DIP by scores.",
)
@click.option("-o", "--output", required=True, metavar="DIR", help="The folder to make.")
@OVERWRITE
@THREADS
@LANG
@JSON
def demo(
    n: int,
    scheme: str | None,
    seed: int,
    method: str,
    output: str,
    overwrite: bool,
    threads: int | None,
    lang: str | None,
    as_json: bool,
) -> int:
    """Make a realistic region-year, group it, pay it, prove it, and write a report.

    The folder holds the inputs (cases, hospitals, policy), the run and report.md: start from them.

    \b
    grouper demo --cases 100000 -o region-year
    """
    from grouper import _demo

    facts = _demo.make(
        Path(output),
        n,
        scheme,
        seed,
        method,
        threads,
        lang or language(),
        step,
        overwrite=overwrite,
    )
    print_facts(facts, as_json)
    return 0


@cli.command()
@click.argument("cases", metavar="CASES…", nargs=-1, required=True)
@click.option("--method", type=click.Choice(["dip", "drg"]), required=True)
@click.option(
    "--base",
    metavar="ID|PATH",
    help="DIP: keep the groups of this catalogue; measure scores. DRG: the scheme.",
)
@click.option("--options", metavar="FILE.toml", help="Thresholds, trimming, scale: see the docs.")
@click.option(
    "--previous", metavar="ID|PATH", help="Report what changed: a catalogue; DRG: a weights.csv."
)
@click.option("--id", "id_", metavar="ID", help="Of the new catalogue; default: the folder's name.")
@click.option("--title", metavar="TEXT", help="Of the new catalogue.")
@click.option("-o", "--output", required=True, metavar="DIR", help="The folder to make.")
@OVERWRITE
@COLUMNS
@CODES
@THREADS
@JSON
def calibrate(
    cases: tuple[str, ...],
    method: str,
    base: str | None,
    options: str | None,
    previous: str | None,
    id_: str | None,
    title: str | None,
    output: str,
    overwrite: bool,
    columns: str | None,
    codes: str,
    threads: int | None,
    as_json: bool,
) -> int:
    """Build a DIP catalogue from years of cases, score a given one, or measure DRG weights.

    \b
    grouper calibrate 2023.parquet 2024.parquet 2025.parquet --method dip -o catalogue
    grouper calibrate cases/ --method dip --base national -o scored
    grouper calibrate cases/ --method drg --base chs-drg-1.1 --previous old/weights.csv -o weights
    """
    if method == "drg":
        _weights(
            cases, base, options, previous, output, overwrite, columns, codes, threads, as_json
        )
        return 0
    refuse_catalogue(Path(output).resolve(), overwrite)
    step.expect(cases)
    found = step(
        "calibrating",
        lambda: grouper.calibrate(
            list(cases),
            "dip",
            base=base,
            options=options,
            previous=previous,
            columns=columns,
            codes=codes,
            threads=threads,
        ),
    )
    step("writing", lambda: found.write(output, id=id_, title=title, overwrite=overwrite))
    facts = dict(found.report)
    if not as_json and len(facts["high_cv_groups"]) > SHOWN:
        facts["high_cv_groups"] = f"{len(facts['high_cv_groups'])}, listed in report.json"
    print_facts({**facts, "output": output}, as_json)
    return 0


def _weights(
    cases: tuple[str, ...],
    scheme: str | None,
    options: str | None,
    previous: str | None,
    output: str,
    overwrite: bool,
    columns: str | None,
    codes: str,
    threads: int | None,
    as_json: bool,
) -> None:
    """Measure DRG weights."""
    if scheme is None:
        raise click.UsageError(
            "--method drg needs --base, the DRG scheme whose weights are measured"
        )
    refuse_weights(Path(output).resolve(), overwrite)
    step.expect(cases)
    found = step(
        "calibrating",
        lambda: grouper.calibrate(
            list(cases),
            "drg",
            base=scheme,
            options=options,
            previous=previous,
            columns=columns,
            codes=codes,
            threads=threads,
        ),
    )
    step("writing", lambda: found.write(output, overwrite=overwrite))
    told = {k: v for k, v in found.report.items() if as_json or k not in ("options", "fingerprint")}
    print_facts({**told, "output": output}, as_json)


_cli_money.register(cli)
_cli_report.register(cli)
_cli_tables.register(cli)
_cli_trust.register(cli)
_cli_serve.register(cli)


if __name__ == "__main__":
    main()
