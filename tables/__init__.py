"""Schemes and policies as data: loading, checking and lowering them to arrays."""

if __name__ != "grouper.tables":  # a bare `import tables` would shadow PyTables
    raise ImportError("this folder is the package grouper.tables; use `import grouper.tables`")

from grouper.tables._check import Finding, check, describe, list_shipped
from grouper.tables._codes import CodeList, load_codes
from grouper.tables._load import Row, Scheme, SchemeSettings, load_scheme, scheme_ids
from grouper.tables._policy import Policy, PolicySettings, load_policy, policy_ids
from grouper.tables._rules import parse, text_of
from grouper.tables._types import Reason, Severity, Status, Warn

__all__ = [
    "CodeList",
    "Finding",
    "Policy",
    "PolicySettings",
    "Reason",
    "Row",
    "Scheme",
    "SchemeSettings",
    "Severity",
    "Status",
    "Warn",
    "check",
    "describe",
    "list_shipped",
    "load_codes",
    "load_policy",
    "load_scheme",
    "parse",
    "policy_ids",
    "scheme_ids",
    "text_of",
]
