"""What the lists of a plan say before any reading of it, and the readings that may be taken."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Literal

from pydantic import Field

from grouper._import_lists import Entry
from grouper.tables._files import Settings

FIRST = ("MDCA", "MDCP", "MDCY", "MDCZ")
"""The MDCs that are tried before the others (先期分组, 新生儿, HIV, 多发严重创伤)."""


class Drg2Options(Settings):
    """Readings of the 2.0 plan that differ between implementations."""

    mdcy: Literal["any_diagnosis", "principal"] = Field(
        default="any_diagnosis", description="where an HIV diagnosis puts a case into MDCY"
    )
    mdcz_needs_principal: bool = Field(
        default=True,
        description="multiple trauma: the principal diagnosis is of one site and another diagnosis "
        "of a second; false = any diagnoses of two sites",
    )
    mdco_needs_female: bool = Field(default=False, description="MDCO takes women only")
    mdcp: Literal["age_or_diagnosis", "diagnosis"] = Field(
        default="age_or_diagnosis",
        description="a newborn under 29 days is of MDCP whatever the diagnosis, or only with one of its list",
    )
    newborn_under_29_days: bool = Field(
        default=True,
        description="an ADRG of MDCP that states no age takes newborns under 29 days only",
    )
    invalid_procedure: Literal["keep", "blank", "drop_promote_next"] = Field(
        default="keep", description="what an invalid (grey) procedure does"
    )
    grey_principal: Literal["allow", "ungrouped"] = Field(
        default="allow", description="what a grey principal diagnosis does"
    )
    ambiguous: bool = Field(
        default=True, description="rows xQY: an operation that fits no ADRG of its MDC"
    )
    ambiguous_except: list[str] = Field(
        default=["MDCS", "MDCT", "MDCW", "MDCX", "MDCY"],
        description="MDCs without a row xQY; MDCA never has one",
    )
    op_all: Literal["listed", "code_list"] = Field(
        default="listed",
        description="without a sheet of all procedures: those of the lists, or those of the code list "
        "that are not grey",
    )
    code_list: str = Field(
        default="", description="a code list whose names and maps are taken over"
    )
    scheme: dict[str, Any] = Field(default={}, description="further keys of scheme.toml")


@dataclass
class Mdc:
    """An MDC: its diagnoses, or those of each site of trauma."""

    code: str
    file: str
    row: int
    name: str = ""
    codes: dict[str, str] = field(default_factory=dict)
    sites: dict[str, dict[str, str]] = field(default_factory=dict)


@dataclass
class Drg:
    """A DRG row; `rule` is what its words say, in the rule language."""

    code: str
    name: str
    adrg: str
    rule: str
    row: int


@dataclass
class Plan:
    """What the sheets say, before any reading of it; `drg_file` … name sheets for messages."""

    mdcs: dict[str, Mdc] = field(default_factory=dict)
    entries: dict[str, Entry] = field(default_factory=dict)
    drgs: list[Drg] = field(default_factory=list)
    drg_file: str = ""
    levels: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    exclusions: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    procedures: dict[str, str] = field(default_factory=dict)
    grey_diagnoses: dict[str, str] = field(default_factory=dict)
    grey_procedures: dict[str, str] = field(default_factory=dict)
    severity_names: dict[str, str] = field(default_factory=dict)

    def diagnoses(self) -> dict[str, str]:
        """Map every diagnosis that some list holds to its name."""
        found: dict[str, str] = {}
        for mdc in self.mdcs.values():
            for codes in (mdc.codes, *mdc.sites.values()):
                found.update(codes)
        for entry in self.entries.values():
            for x in entry.lists:
                if x.label.is_diagnosis:
                    found.update(x.codes)
        return {**self.severity_names, **self.grey_diagnoses, **found}

    def listed_procedures(self) -> dict[str, str]:
        """Map every procedure of an ADRG's list to its name."""
        found: dict[str, str] = {}
        for x in chain.from_iterable(e.lists for e in self.entries.values()):
            if not x.label.is_diagnosis:
                found.update(x.codes)
                found.update(dict.fromkeys(chain.from_iterable(x.together), ""))
        return found


def is_mdc(text: str) -> bool:
    """Tell whether a text is the code of an MDC."""
    return bool(re.fullmatch(r"MDC[A-Z]", text))
