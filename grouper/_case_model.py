"""A case as JSON (病例 JSON), as the service and `grouper pipe` take it: checked, and turned into a row."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Annotated, Any, Literal, Required

from pydantic import BeforeValidator, ConfigDict, Field, with_config
from typing_extensions import TypedDict

from grouper._cases import REQUIRED
from grouper._columns import COLUMNS

MOST_CODES = 1_000


def only_number(value: Any) -> Any:
    """Take numbers alone: neither true nor "1" is one."""
    if isinstance(value, bool | str):
        raise ValueError("a number, not a text or a flag")
    return value


def _day(value: Any) -> Any:
    """Take dates as text alone: a number is no day."""
    if not isinstance(value, str):
        raise ValueError("a date as text, such as 2025-03-31")
    return value


Day = Annotated[date, BeforeValidator(_day)]
Text = Annotated[str, Field(max_length=64)]
Code = Annotated[str, Field(max_length=64)]
Codes = Annotated[list[Code], Field(max_length=MOST_CODES)]
Whole = Annotated[int, Field(ge=-(2**31), lt=2**31), BeforeValidator(only_number)]
Money = Annotated[int, Field(gt=-(10**13), lt=10**13), BeforeValidator(only_number)]
Flag = Annotated[bool, Field(strict=True)]
Coding = Literal["insurer", "clinical"]

_KINDS: dict[str, Any] = {
    "text": Text,
    "whole": Whole,
    "day": Day,
    "flag": Flag,
    "money": Money,
    "codes": Codes,
}
EXAMPLE: dict[str, Any] = {
    "case_id": "1",
    "sex": 1,
    "age": 66,
    "los": 7,
    "diagnoses": ["I21.001", "I50.900x002", "E11.900"],
    "procedures": ["36.0700x004", "88.5500"],
}


def _case() -> Any:
    """Make the type of a case from its columns: required ones must be there, others may be null.

    A dict whose keys are checked: a model would hold every column of every case, given or not.
    """
    fields: dict[str, Any] = {}
    for c in COLUMNS:
        described = Field(description=f"{c.chinese}; {c.unit}" if c.unit else c.chinese)
        if c.required and c.kind != "whole":
            fields[c.name] = Required[Annotated[_KINDS[c.kind], described]]
        else:
            fields[c.name] = Annotated[_KINDS[c.kind] | None, described]
    made = TypedDict("Case", fields, total=False)  # type: ignore[misc]
    config = ConfigDict(extra="forbid", json_schema_extra={"examples": [EXAMPLE]})
    return with_config(config)(made)


Case = _case()
"""One discharge; the columns of `docs/glossary.md`, money in fen."""


def case_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a case with what every case must have, null where it was not given."""
    return {**dict.fromkeys(REQUIRED), **given}
