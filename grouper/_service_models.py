"""What the service takes and gives, as models: checked on the way in, documented in OpenAPI."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Annotated, Any, Literal, Required

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, with_config
from typing_extensions import TypedDict

from grouper._cases import REQUIRED
from grouper._columns import COLUMNS

MOST_CASES, MOST_CODES = 10_000, 1_000


def _number(value: Any) -> Any:
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
Whole = Annotated[int, Field(ge=-(2**31), lt=2**31), BeforeValidator(_number)]
Money = Annotated[int, Field(gt=-(10**13), lt=10**13), BeforeValidator(_number)]
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


class Model(BaseModel):
    """Strict on names: what is not known is refused and named."""

    model_config = ConfigDict(extra="forbid")


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


def one_case(case: Mapping[str, Any], *also: str) -> dict[str, Any]:
    """Return a case without what is null, but for what every case must have, and `also`."""
    given = {k: v for k, v in case.items() if v is not None}
    return {**dict.fromkeys((*REQUIRED, *also)), **given}


def told(e: ValidationError) -> str:
    """Say where and why, not what: the value is content of a case."""
    faults = e.errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(
        ": ".join(filter(None, (".".join(map(str, x["loc"])), x["msg"]))) for x in faults[:20]
    )


class Asked(Model):
    """What every question about cases names: the scheme and the coding."""

    scheme: Text = Field(description="id of a scheme, see /v1/schemes", examples=["chs-drg-1.1"])
    codes: Coding = "insurer"


class GroupAsked(Asked):
    """Cases to group."""

    cases: Annotated[list[Case], Field(min_length=1, max_length=MOST_CASES)]  # type: ignore[valid-type]


class ExplainAsked(Asked):
    """A case to explain; `near` misses are looked for too."""

    case: Case  # type: ignore[valid-type]
    near: Annotated[int, Field(ge=0, le=12), BeforeValidator(_number)] = 0
    lang: Literal["zh", "en"] = "zh"


class Priced(Asked):
    """A case and what prices its group."""

    case: Case  # type: ignore[valid-type]
    policy: Text | None = Field(default=None, description="id of a policy, see /v1/schemes")
    point_value: Annotated[str, Field(pattern=r"^[0-9]{1,9}(\.[0-9]{1,8})?$")] | None = None
    on: Day | None = Field(default=None, description="the day whose values count")


class WhatIfAsked(Priced):
    """A case and changes of it."""

    changes: Annotated[list[Annotated[str, Field(max_length=200)]], Field(max_length=50)] = Field(
        examples=[["procedures+=39.5000", "age=71"]]
    )
    clarify_only: Flag = False
    lang: Literal["zh", "en"] = "zh"


class StandardAsked(Priced):
    """A case whose payment standard is asked."""

    policy: Text = Field(description="id of a policy")


class Fault(BaseModel):
    """Why a request is refused."""

    code: str = Field(description="stable: HTTP… or E… as in docs/errors.md")
    message: str
    request_id: str


class Refused(BaseModel):
    """A refusal."""

    error: Fault


class Grouped(BaseModel):
    """Groups, one row a case in the order of the request."""

    scheme: str
    fingerprint: str
    counts: dict[str, int]
    results: list[dict[str, Any]]
    normalised: dict[str, int]
