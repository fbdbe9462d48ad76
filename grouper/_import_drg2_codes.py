"""The code list beside an imported scheme: grey codes (灰码), and the names they are known by.

A scheme without a code list takes any code as known; grey codes need one. So a plan that has grey codes
gets a list of all its own codes, or of those of a list that is named, and its grey ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from grouper._import_drg2_plan import Drg2Options, Plan
from grouper._import_lists import ALL
from grouper._scheme_files import ImportReport, csv_of, toml_of
from grouper.errors import TableError
from grouper.tables._codes import load_codes

CODES = "codes"
"""The folder of the code list, beside scheme.toml."""


def all_procedures(plan: Plan, options: Drg2Options, report: ImportReport) -> Mapping[str, str]:
    """Return the procedures that count as an operation: the sheet's, the lists', the code list's."""
    if plan.procedures:
        found, origin = plan.procedures, "the sheet of all procedures"
    elif options.op_all == "code_list":
        if not options.code_list:
            raise TableError('op_all = "code_list" needs code_list', file="options")
        known = load_codes(options.code_list).procedures
        found = {c: n for c, n in known.items() if c not in plan.grey_procedures}
        origin = f"the code list {options.code_list} but the grey ones"
    else:
        found, origin = plan.listed_procedures(), "the lists of the ADRGs"
    report.findings.append(f"{ALL} (全部手术或操作): {len(found)} procedures, those of {origin}")
    return found


def code_files(plan: Plan, options: Drg2Options, name: str, report: ImportReport) -> dict[str, str]:
    """Return the files of a code list beside the scheme, none if the plan has no grey codes.

    With `code_list` the names and maps are those of that list; else they are those of the plan.
    """
    _note_unknown(plan, options, report)
    grey = {"diagnoses": plan.grey_diagnoses, "procedures": plan.grey_procedures}
    if not any(grey.values()):
        return {}
    own = {
        "diagnoses": plan.diagnoses(),
        "procedures": {**plan.procedures, **plan.listed_procedures(), **plan.grey_procedures},
    }
    about: dict[str, Any] = {"id": f"{name}-codes", "title": f"Codes of {name}"}
    about["sources"] = {"grey_*.csv": f"{report.name}, sha256 {report.sha256}"}
    files = {}
    if options.code_list:
        base = load_codes(options.code_list)
        own = {
            "diagnoses": {**base.diagnoses, **_new(grey["diagnoses"], base.diagnoses)},
            "procedures": {**base.procedures, **_new(grey["procedures"], base.procedures)},
        }
        about["sources"] |= {"the others": options.code_list}
        maps = {"diagnosis_map": base.diagnosis_map, "procedure_map": base.procedure_map}
        for file, pairs in maps.items():
            rows = [{"clinical": k, "insurance": v} for k, v in pairs.items()]
            files[f"{CODES}/{file}.csv"] = csv_of(rows, ("clinical", "insurance"))
        rows = [{"code": k, "class": v} for k, v in base.procedure_class.items()]
        files[f"{CODES}/procedure_class.csv"] = csv_of(rows, ("code", "class"))
    files[f"{CODES}/codes.toml"] = toml_of(about)
    for side in ("diagnoses", "procedures"):
        rows = [{"code": c, "name": n} for c, n in sorted(own[side].items())]
        files[f"{CODES}/{side}.csv"] = csv_of(rows, ("code", "name"))
        rows = [{"code": c} for c in sorted(grey[side])]
        files[f"{CODES}/grey_{side}.csv"] = csv_of(rows, ("code",))
    report.findings.append(
        f"grey codes (灰码): {len(grey['diagnoses'])} diagnoses, grey_principal = "
        f"{options.grey_principal}; {len(grey['procedures'])} procedures, grey_procedure = "
        f"{options.invalid_procedure}"
    )
    return files


def _new(codes: Mapping[str, str], known: Mapping[str, str]) -> dict[str, str]:
    return {c: n for c, n in codes.items() if c not in known}


def _note_unknown(plan: Plan, options: Drg2Options, report: ImportReport) -> None:
    """Count the codes of the plan that the code list does not know."""
    if not options.code_list:
        return
    base = load_codes(options.code_list)
    procedures = {**plan.listed_procedures(), **plan.procedures, **plan.grey_procedures}
    sides: Iterable[tuple[str, Mapping[str, str], Mapping[str, str]]] = (
        ("diagnoses", plan.diagnoses(), base.diagnoses),
        ("procedures", procedures, base.procedures),
    )
    for side, used, known in sides:
        if unknown := sorted(_new(used, known)):
            first = ", ".join(unknown[:5])
            report.findings.append(
                f"{len(unknown)} {side} are not in {options.code_list}, as {first}"
            )
