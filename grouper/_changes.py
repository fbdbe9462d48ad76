"""Changes of a case in a few words (病例改动): `procedures+=39.5000`, `principal=I21.001`, `age=71`.

procedures+=CODE    append a procedure            diagnoses+=CODE    append a diagnosis
procedures-=CODE    take every such code out      diagnoses-=CODE
principal=CODE      make it the principal diagnosis; the old one becomes the first other
main_procedure=CODE the same for procedures       NAME=VALUE         any other column of a case
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any

from grouper._columns import BY_NAME
from grouper.errors import CaseSchemaError

LISTS = ("diagnoses", "procedures")
FIRST = {"principal": "diagnoses", "main_procedure": "procedures"}
FORMS = (
    "procedures+=CODE, procedures-=CODE, diagnoses+=CODE, diagnoses-=CODE, principal=CODE, "
    "main_procedure=CODE, NAME=VALUE"
)
_CHANGE = re.compile(r"\s*([a-z_]+)\s*(\+=|-=|=)\s*(.*?)\s*", re.DOTALL)


def apply_changes(case: Mapping[str, Any], changes: Sequence[str]) -> dict[str, Any]:
    """Return a case with changes made one after the other; the case given stays as it is.

    Raises
    ------
    CaseSchemaError : changes that are none; names all of them and the known forms.
    """
    changed = dict(case)
    for name in LISTS:
        changed[name] = [c or "" for c in changed.get(name) or []]
    faults = []
    for text in changes:
        try:
            _apply(changed, text)
        except ValueError as e:
            faults.append(f"change {text!r}: {e}")
    if faults:
        raise CaseSchemaError([*faults, f"known forms: {FORMS}"])
    return changed


def _apply(case: dict[str, Any], text: str) -> None:
    found = _CHANGE.fullmatch(text)
    if found is None:
        raise ValueError("no such form")
    name, sign, value = found.groups()
    if name in FIRST and sign == "=":
        if not value:
            raise ValueError("a code is missing")
        column = FIRST[name]
        case[column] = [value, *(c for c in case[column] if c != value)]
    elif name in LISTS:
        _change_list(case, name, sign, value)
    elif sign != "=":
        raise ValueError(f"{sign} goes with {' and '.join(LISTS)}")
    else:
        _change_fact(case, name, value)


def _change_list(case: dict[str, Any], name: str, sign: str, code: str) -> None:
    if not code or sign == "=":
        raise ValueError("write += or -= and one code")
    if sign == "+=":
        case[name] = [*case[name], code]
        return
    if code not in case[name]:
        raise ValueError(f"the case has no {code} among its {name}")
    case[name] = [c for c in case[name] if c != code]


def _change_fact(case: dict[str, Any], name: str, value: str) -> None:
    column = BY_NAME.get(name) or BY_NAME.get(f"{name}_fen")
    if column is None or column.kind == "codes" or column.name == "case_id":
        raise ValueError(f"no fact {name!r} of a case")
    case[column.name] = None if not value else _fact(column.kind, value, name == column.name)


def _fact(kind: str, value: str, as_it_is: bool) -> Any:
    """Read a value; money as yuan unless the name ends in _fen."""
    if kind == "whole" or (kind == "money" and as_it_is):
        if not re.fullmatch(r"-?[0-9]{1,15}", value):
            raise ValueError(f"{value!r} is no whole number")
        return int(value)
    if kind == "money":
        if not re.fullmatch(r"[0-9]{1,13}(\.[0-9]{1,2})?", value):
            raise ValueError(f"{value!r} is no amount in yuan, at most two decimals")
        return int(Fraction(Decimal(value)) * 100)
    if kind == "day":
        return date.fromisoformat(value)
    if kind == "flag":
        if value not in ("0", "1"):
            raise ValueError("a flag is 0 or 1")
        return value == "1"
    return value
