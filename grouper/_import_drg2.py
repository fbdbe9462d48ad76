"""CHS-DRG 2.0 in its list layout (分组方案: 主诊表, 入组条件, MCC, CC, 排除表) → a scheme folder.

Order of work: read the sheets to a plan, take the readings that the options name, make the rules, write the
folder if it loads. The surprise: the last sign of a DRG's code says nothing: its words do (伴严重并发症或
合并症), and in its own column 规则 they may be rules.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from grouper._import_drg2_codes import CODES, code_files
from grouper._import_drg2_plan import Drg2Options, Plan
from grouper._import_drg2_read import counts, read_plan
from grouper._import_drg2_source import read_source
from grouper._import_drg2_tables import tables_of
from grouper._import_drg3 import write_scheme
from grouper._scheme_files import ImportReport
from grouper.tables._drg_scheme import FILE, SchemeSettings
from grouper.tables._files import check_settings, read_settings, read_toml_text
from grouper.tables._toml_lines import Place, Places, places_of

PUBLISHED = {"MDC": 26, "ADRG": 409, "DRG": 634}
"""As the plan of 2024 counts itself."""


def import_drg2(
    path: Path | str,
    output: Path | str,
    *,
    options: Path | str | None = None,
    id: str | None = None,
    title: str | None = None,
    overwrite: bool = False,
) -> ImportReport:
    """Import CHS-DRG 2.0 from a workbook of lists, or a folder of CSV files with the same sheets.

    Parameters
    ----------
    path : the workbook or folder. output : the scheme folder to make. options : a TOML file of
        `Drg2Options`. id, title : of the scheme; default the folder's name.

    Raises
    ------
    CaseFileError : the file cannot be read, or the output holds files. TableError : a sheet, column or row
        is refused; names sheet and rows.
    """
    given = read_settings(Path(options), Drg2Options) if options is not None else Drg2Options()
    book = read_source(Path(path))
    report = ImportReport(book.name, book.size, book.sha256)
    name = id or Path(output).name
    about = {"id": name, "title": title or f"CHS-DRG 2.0 ({book.name})", "edition": "2.0"}
    places = partial(scheme_places, options)
    settings = check_settings({**about, **given.scheme}, SchemeSettings, places)
    plan = read_plan(book, report, settings.never_excluded)
    report.counts, report.published = dict(counts(plan)), dict(PUBLISHED)
    write_plan(Path(output), plan, given, about, report, places, overwrite=overwrite)
    return report


def scheme_places(path: Path | str | None) -> Places:
    """Say where each key of scheme.toml stands in the section [scheme] of a file of options."""
    if path is None:
        return {(): Place(FILE, 0, Path())}
    name = Path(path).name
    places = places_of(read_toml_text(Path(path)), name, Path(path).parent)
    found = {at[1:]: place for at, place in places.items() if at[:1] == ("scheme",)}
    return {(): Place(name, 0, Path()), **found}


def write_plan(
    output: Path,
    plan: Plan,
    options: Drg2Options,
    about: Mapping[str, Any],
    report: ImportReport,
    places: Callable[[], Places],
    *,
    overwrite: bool,
) -> None:
    """Write the scheme of a plan, with its code list beside it, if it loads.

    Raises
    ------
    TableError : a rule cannot be made, a key of scheme.toml is refused, or the loader refuses it.
    """
    tables = tables_of(plan, options, report)
    more = code_files(plan, options, about["id"], report)
    origin = f"{report.name}, {report.size} bytes, sha256 {report.sha256}"
    settings: dict[str, Any] = {
        **about,
        "grey_principal": options.grey_principal,
        "grey_procedure": options.invalid_procedure,
        "code_list": CODES if more else options.code_list,
        "reading": reading_of(options),
        **options.scheme,
    }
    settings["sources"] = {**options.scheme.get("sources", {}), "all tables": origin}
    check_settings(settings, SchemeSettings, places)
    write_scheme(output, settings, tables, report, overwrite=overwrite, more=more)


def reading_of(options: Drg2Options) -> str:
    """Say which readings were taken, each option that has one."""
    said = options.model_dump(
        exclude={"scheme", "code_list", "grey_principal", "invalid_procedure"}
    )
    return "; ".join(f"{k} = {_toml(v)}" for k, v in said.items())


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return " ".join(value) if isinstance(value, list) else str(value)
