"""Commands about schemes and policies: list, show, check, import."""

from __future__ import annotations

import json
from collections import Counter
from datetime import datetime
from pathlib import Path

import click

import grouper
from grouper._cli_parts import (
    A_SCHEME,
    CODES,
    COLUMNS,
    JSON,
    LANG,
    OVERWRITE,
    language,
    print_facts,
)
from grouper._messages import sentence, word

ID = click.option("--id", "id_", metavar="ID", help="Of the scheme; default: the folder's name.")
TITLE = click.option("--title", metavar="TEXT", help="Of the scheme.")


def register(cli: click.Group) -> None:
    """Add these commands to `cli`."""
    cli.add_command(tables)


@click.group()
def tables() -> None:
    """Schemes and policies: list, show, check."""


@tables.command("list")
@JSON
def list_tables(as_json: bool) -> int:
    """List the schemes and policies that ship with the package.

    \b
    grouper tables list
    """
    from grouper.tables import list_shipped

    found = list_shipped()
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False, indent=2))
        return 0
    for kind, items in found.items():
        click.echo(f"{word(kind, language())}:")
        for name, title in items.items():
            click.echo(f"  {name:18} {title}")
    return 0


@tables.command("show")
@click.argument("name", metavar="ID|PATH")
@JSON
def show_table(name: str, as_json: bool) -> int:
    """Show a scheme or policy: its size, options, sources and known faults.

    \b
    grouper tables show chs-drg-1.1
    """
    from grouper.tables import describe

    print_facts(describe(name), as_json)
    return 0


@tables.command("schema")
@click.option("-o", "--output", metavar="FILE.json", help="Default: print it.")
def policy_schema(output: str | None) -> int:
    """Write the JSON schema of policy.toml, by which an editor completes and checks it.

    \b
    grouper tables schema -o policy.schema.json
    """
    from grouper.tables import policy_schema

    text = json.dumps(policy_schema(), ensure_ascii=False, indent=2)
    if output:
        Path(output).write_text(text + "\n", "utf-8")
    else:
        click.echo(text)
    return 0


@tables.command("check")
@click.argument("name", metavar="ID|PATH")
@click.option("--cases", metavar="CASES", help="Count the cases that each finding touches.")
@COLUMNS
@CODES
@JSON
def check_table(
    name: str, cases: str | None, columns: str | None, codes: str, as_json: bool
) -> int:
    """List what is odd or wrong about a scheme or policy; exit 2 if it would be refused.

    \b
    grouper tables check my-scheme
    grouper tables check my-scheme --cases cases.parquet
    """
    from grouper.tables import Finding, check

    touched: list[tuple[Finding, int | None]] = [(f, None) for f in check(name)]
    if cases is not None:
        found = grouper.check_cases(name, cases, columns=columns, codes=codes)
        touched = [(t.finding, t.cases) for t in found]
    weights, lang = Counter(f.severity for f, _ in touched), language()
    if as_json:
        rows = [{**f._asdict(), "severity": f.severity, "cases": n} for f, n in touched]
        click.echo(json.dumps(rows, ensure_ascii=False, indent=2))
    else:
        for f, n in touched:
            counted = "" if n is None else f" [{sentence('touched', lang, n=n)}]"
            click.echo(f"{word(f.severity, lang):7} {f.code} {f.place}: {f.message}{counted}")
        plural = "" if lang == "zh" else "s"
        said = ", ".join(
            f"{weights[s]} {word(s, lang)}{plural}"
            for s in ("error", "warning", "note")
            if weights[s]
        )
        click.echo(f"{name}: {said or sentence('nothing_found', lang)}")
    return 2 if weights["error"] else 0


@tables.command("diff")
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@click.option("--cases", metavar="CASES", help="Group these by both: who moves where.")
@click.option("--weights-a", metavar="POLICY|FILE.csv", help="Weights of A's groups.")
@click.option("--weights-b", metavar="POLICY|FILE.csv", help="Weights of B's groups; default: A's.")
@click.option("-o", "--output", metavar="DIR", help="Write every table there.")
@COLUMNS
@CODES
@OVERWRITE
@LANG
@JSON
def diff_tables(
    a: str,
    b: str,
    cases: str | None,
    weights_a: str | None,
    weights_b: str | None,
    output: str | None,
    columns: str | None,
    codes: str,
    overwrite: bool,
    lang: str | None,
    as_json: bool,
) -> int:
    """Say what changed from scheme A to scheme B, by meaning; with cases, who moves where.

    \b
    grouper tables diff chs-drg-1.1 chs-drg-1.1-qy
    grouper tables diff old new --cases cases.parquet --weights-a city-2025 --weights-b city-2026 -o diff
    """
    found = grouper.diff_schemes(
        a,
        b,
        cases=cases,
        weights_a=weights_a,
        weights_b=weights_b or weights_a,
        columns=columns,
        codes=codes,
    )
    if output:
        found.write(output, overwrite=overwrite)
    if as_json:
        click.echo(json.dumps(found.to_dict(), ensure_ascii=False, indent=2, default=str))
    else:
        click.echo(found.to_text(lang or language()))
    return 0


@tables.group("import")
def import_tables() -> None:
    """Turn a published workbook or a region's own table into a scheme folder."""


@import_tables.command("drg3")
@click.argument("file", metavar="FILE.xlsx")
@click.option("-o", "--output", required=True, metavar="DIR", help="The scheme folder to make.")
@click.option(
    "--amend",
    metavar="NAME|FILE.csv",
    help="Exclusion rows to add: chs-drg-3.0-printed-plan, or a file (exclusion, principal).",
)
@click.option("--options", metavar="FILE.toml", help="Keys of scheme.toml, such as code_list.")
@ID
@TITLE
@OVERWRITE
@JSON
def import_drg3(
    file: str,
    output: str,
    amend: str | None,
    options: str | None,
    id_: str | None,
    title: str | None,
    overwrite: bool,
    as_json: bool,
) -> int:
    """Import the national CHS-DRG 3.0 workbook; every count is shown beside the published one.

    \b
    grouper tables import drg3 分组方案配置信息.xlsx --amend chs-drg-3.0-printed-plan -o chs-drg-3.0
    """
    report = grouper.import_drg3(
        file, output, amend=amend, options=options, id=id_, title=title, overwrite=overwrite
    )
    print_facts(report.to_dict(), as_json)
    return 0


@import_tables.command("drg2")
@click.argument("file", metavar="FILE.xlsx|DIR")
@click.option("-o", "--output", required=True, metavar="DIR", help="The scheme folder to make.")
@click.option(
    "--options", metavar="FILE.toml", help="Readings that differ: see docs/import-drg.md."
)
@ID
@TITLE
@OVERWRITE
@JSON
def import_drg2(
    file: str,
    output: str,
    options: str | None,
    id_: str | None,
    title: str | None,
    overwrite: bool,
    as_json: bool,
) -> int:
    """Import CHS-DRG 2.0 from its lists per MDC and ADRG, a workbook or a folder of CSV files.

    \b
    grouper tables import drg2 分组方案2.0.xlsx -o chs-drg-2.0
    """
    report = grouper.import_drg2(
        file, output, options=options, id=id_, title=title, overwrite=overwrite
    )
    print_facts(report.to_dict(), as_json)
    return 0


@import_tables.command("tables")
@click.argument("source", metavar="FILE|DIR")
@click.option("-o", "--output", required=True, metavar="DIR", help="The scheme folder to make.")
@click.option(
    "--columns", metavar="MAP.toml", help="Their sheets and columns; a rule sheet needs it."
)
@ID
@TITLE
@OVERWRITE
@JSON
def import_own_tables(
    source: str,
    output: str,
    columns: str | None,
    id_: str | None,
    title: str | None,
    overwrite: bool,
    as_json: bool,
) -> int:
    """Import a region's own DRG tables: six tables as CSV or Excel, or a sheet of lists per ADRG.

    \b
    grouper tables import tables city.xlsx --columns map.toml -o city
    """
    report = grouper.import_tables(
        source, output, columns=columns, id=id_, title=title, overwrite=overwrite
    )
    print_facts(report.to_dict(), as_json)
    return 0


DAY = click.DateTime(["%Y-%m-%d"])


@import_tables.command("weights")
@click.argument("file", metavar="FILE")
@click.option("-o", "--output", required=True, metavar="DIR", help="The policy folder to make.")
@click.option("--from", "valid_from", required=True, type=DAY, help="First day in force.")
@click.option("--to", "valid_to", type=DAY, help="Last day in force.")
@click.option("--source", required=True, help="Whose numbers they are, such as the notice.")
@click.option("--columns", metavar="MAP.toml", help="Headers that are not understood.")
@click.option(
    "--inherits",
    default="example-drg-point",
    show_default=True,
    metavar="ID|PATH",
    help="The policy that gives what the file cannot say.",
)
@click.option(
    "--scheme",
    metavar="ID|PATH",
    shell_complete=A_SCHEME,
    help="Compare the codes with its groups.",
)
@ID
@TITLE
@OVERWRITE
@JSON
def import_weights(
    file: str,
    output: str,
    valid_from: datetime,
    valid_to: datetime | None,
    source: str,
    columns: str | None,
    inherits: str,
    scheme: str | None,
    id_: str | None,
    title: str | None,
    overwrite: bool,
    as_json: bool,
) -> int:
    """Import a region's weights, coefficients or standards, CSV or Excel, as a policy.

    \b
    grouper tables import weights 权重表.xlsx --from 2024-01-01 --source "notice" -o city
    """
    report = grouper.import_weights(
        file,
        output,
        valid_from=valid_from.date(),
        source=source,
        columns=columns,
        valid_to=valid_to.date() if valid_to else None,
        inherits=inherits,
        scheme=scheme,
        id=id_,
        title=title,
        overwrite=overwrite,
    )
    print_facts(report.to_dict(), as_json)
    return 0


@import_tables.command("dip3")
@click.argument("file", metavar="FILE.xlsx")
@click.option("-o", "--output", required=True, metavar="DIR", help="The scheme folder to make.")
@OVERWRITE
@JSON
def import_dip3(file: str, output: str, overwrite: bool, as_json: bool) -> int:
    """Import the national DIP 3.0 workbook; every count is shown beside the published one.

    \b
    grouper tables import dip3 分组方案.xlsx -o dip-3.0
    """
    print_facts(grouper.import_dip3(file, output, overwrite=overwrite).to_dict(), as_json)
    return 0


@import_tables.command("dip")
@click.argument("file", metavar="FILE")
@click.option("--columns", required=True, metavar="MAP.toml", help="Their columns, marks, classes.")
@click.option("-o", "--output", required=True, metavar="DIR", help="The scheme folder to make.")
@OVERWRITE
@JSON
def import_dip(file: str, columns: str, output: str, overwrite: bool, as_json: bool) -> int:
    """Import a city's own DIP catalogue, CSV or Excel, through a column map.

    \b
    grouper tables import dip catalogue.xlsx --columns map.toml -o city
    """
    report = grouper.import_dip_table(file, output, columns, overwrite=overwrite)
    print_facts(report.to_dict(), as_json)
    return 0
