"""Schemes and policies as data: loading, checking and lowering them to arrays."""

if __name__ != "grouper.tables":  # a bare `import tables` would shadow PyTables
    raise ImportError("this folder is the package grouper.tables; use `import grouper.tables`")

from grouper.tables._check import check, describe, list_shipped
from grouper.tables._codes import CodeList, load_codes
from grouper.tables._dip import profile_ids
from grouper.tables._dip_scheme import DipScheme
from grouper.tables._drg_scheme import DrgScheme, Row, SchemeSettings
from grouper.tables._editions import Edition, Editions, for_date, load_editions
from grouper.tables._findings import Finding
from grouper.tables._policy import Policy, PolicySettings, load_policy, policy_ids
from grouper.tables._policy_schema import policy_schema
from grouper.tables._quality import (
    QualityRule,
    QualityRules,
    domain_names,
    load_quality,
    switched,
)
from grouper.tables._quality_text import Field as QualityField
from grouper.tables._rules import parse, text_of
from grouper.tables._schemes import Scheme, load_catalogue, load_drg, load_scheme, scheme_ids
from grouper.tables._types import Reason, Severity, Status, Warn

__all__ = [
    "CodeList",
    "DipScheme",
    "DrgScheme",
    "Edition",
    "Editions",
    "Finding",
    "Policy",
    "PolicySettings",
    "QualityField",
    "QualityRule",
    "QualityRules",
    "Reason",
    "Row",
    "Scheme",
    "SchemeSettings",
    "Severity",
    "Status",
    "Warn",
    "check",
    "describe",
    "domain_names",
    "for_date",
    "list_shipped",
    "load_catalogue",
    "load_codes",
    "load_drg",
    "load_editions",
    "load_policy",
    "load_quality",
    "load_scheme",
    "parse",
    "policy_ids",
    "policy_schema",
    "profile_ids",
    "scheme_ids",
    "switched",
    "text_of",
]
