"""What the service takes and gives, as models: checked on the way in, documented in OpenAPI."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from grouper._case_model import EXAMPLE, Case, Coding, Day, Flag, Text, only_number

MOST_CASES = 10_000


class Model(BaseModel):
    """Strict on names: what is not known is refused and named."""

    model_config = ConfigDict(extra="forbid")


def _example(**asked: Any) -> ConfigDict:
    """Show a whole request in the description; `extra` as in `Model`."""
    example = {"scheme": "chs-drg-1.1", **asked}
    return ConfigDict(extra="forbid", json_schema_extra={"examples": [example]})


PAID = {**EXAMPLE, "hospital_level": "三级", "insurance": "310"}
BY = {"policy": "example-rate", "on": "2024-05-01"}


class Asked(Model):
    """What every question about cases names: the scheme and the coding."""

    scheme: Text = Field(description="id of a scheme, see /v1/schemes", examples=["chs-drg-1.1"])
    codes: Coding = "insurer"


class GroupAsked(Asked):
    """Cases to group."""

    model_config = _example(cases=[EXAMPLE])
    cases: Annotated[list[Case], Field(min_length=1, max_length=MOST_CASES)]


class ExplainAsked(Asked):
    """A case to explain; `near` misses are looked for too."""

    model_config = _example(case=EXAMPLE, near=3, lang="en")
    case: Case
    near: Annotated[int, Field(ge=0, le=12), BeforeValidator(only_number)] = 0
    lang: Literal["zh", "en"] = "zh"


class Priced(Asked):
    """A case and what prices its group."""

    case: Case
    policy: Text | None = Field(default=None, description="id of a policy, see /v1/schemes")
    point_value: Annotated[str, Field(pattern=r"^[0-9]{1,9}(\.[0-9]{1,8})?$")] | None = None
    on: Day | None = Field(default=None, description="the day whose values count")


class WhatIfAsked(Priced):
    """A case and changes of it."""

    model_config = _example(case=PAID, changes=["procedures+=39.5000", "age=71"], **BY)
    changes: Annotated[list[Annotated[str, Field(max_length=200)]], Field(max_length=50)] = Field(
        examples=[["procedures+=39.5000", "age=71"]]
    )
    clarify_only: Flag = False
    lang: Literal["zh", "en"] = "zh"


class StandardAsked(Priced):
    """A case whose payment standard is asked."""

    model_config = _example(case=PAID, **BY)
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
