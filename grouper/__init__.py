"""Group coded hospital discharges into DRG or DIP groups and pay them under a global budget.

The public names are those of ``__all__``; they are imported when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "CacheError": "errors",
    "Calibration": "_calibration_files",
    "CaseBatch": "_cases",
    "CaseFileError": "errors",
    "CaseSchemaError": "errors",
    "CaseTable": "io",
    "ColumnMap": "io",
    "ConservationError": "errors",
    "CalibratedWeights": "_weights_report",
    "CasemixOptions": "_casemix_options",
    "casemix": "_casemix",
    "DipOptions": "_calibration_options",
    "DrgOptions": "_weights_options",
    "DipScheme": "tables",
    "DrgScheme": "tables",
    "Editions": "tables",
    "GroupedBatch": "_grouped",
    "GrouperError": "errors",
    "ImportReport": "_scheme_files",
    "Policy": "tables",
    "PolicyError": "errors",
    "QualityReport": "_quality",
    "Reason": "tables",
    "Reconciliation": "_reconcile",
    "RuleError": "errors",
    "Scheme": "tables",
    "SchemeNotFound": "errors",
    "SchemeDiff": "_diff",
    "Settlement": "_settlement",
    "SettlementError": "errors",
    "Severity": "tables",
    "Standard": "_standards",
    "Status": "tables",
    "TableError": "errors",
    "Trace": "_explain",
    "Verification": "_verify",
    "Warn": "tables",
    "WeightsReport": "_import_weights",
    "WhatIf": "_what_if",
    "budget_point_value": "_budget_value",
    "calibrate": "_calibration",
    "check_cases": "_check_cases",
    "check_quality": "_quality",
    "content_hash": "io",
    "diff_schemes": "_diff",
    "encode": "_cases",
    "explain": "_explain_dip",
    "for_date": "tables",
    "group": "_grouping",
    "group_encoded": "_grouping",
    "import_dip3": "_import_dip",
    "import_dip_table": "_import_dip",
    "import_drg2": "_import_drg2",
    "import_drg3": "_import_drg3",
    "import_tables": "_import_tables",
    "import_weights": "_import_weights",
    "load_catalogue": "tables",
    "load_drg": "tables",
    "load_editions": "tables",
    "load_map": "io",
    "load_policy": "tables",
    "load_scheme": "tables",
    "policy_ids": "tables",
    "publish_run": "_publishing",
    "read_cases": "io",
    "read_grouped": "_tables_in",
    "read_hospitals": "_tables_in",
    "read_ledger": "_tables_in",
    "read_run": "io",
    "reconcile": "_reconcile",
    "scheme_ids": "tables",
    "settle": "_settlement",
    "standard": "_standards",
    "what_if": "_what_if",
    "verify_run": "_verify",
    "write_audit": "_audit",
    "write_report": "_report",
    "write_run": "io",
    "write_statements": "_statements",
    "write_table": "io",
}

__all__ = [
    "CacheError",
    "CalibratedWeights",
    "Calibration",
    "CaseBatch",
    "CaseFileError",
    "CaseSchemaError",
    "CaseTable",
    "CasemixOptions",
    "ColumnMap",
    "ConservationError",
    "DipOptions",
    "DipScheme",
    "DrgOptions",
    "DrgScheme",
    "Editions",
    "GroupedBatch",
    "GrouperError",
    "ImportReport",
    "Policy",
    "PolicyError",
    "QualityReport",
    "Reason",
    "Reconciliation",
    "RuleError",
    "Scheme",
    "SchemeDiff",
    "SchemeNotFound",
    "Settlement",
    "SettlementError",
    "Severity",
    "Standard",
    "Status",
    "TableError",
    "Trace",
    "Verification",
    "Warn",
    "WeightsReport",
    "WhatIf",
    "__version__",
    "budget_point_value",
    "calibrate",
    "casemix",
    "check_cases",
    "check_quality",
    "content_hash",
    "diff_schemes",
    "encode",
    "explain",
    "for_date",
    "group",
    "group_encoded",
    "import_dip3",
    "import_dip_table",
    "import_drg2",
    "import_drg3",
    "import_tables",
    "import_weights",
    "load_catalogue",
    "load_drg",
    "load_editions",
    "load_map",
    "load_policy",
    "load_scheme",
    "policy_ids",
    "publish_run",
    "read_cases",
    "read_grouped",
    "read_hospitals",
    "read_ledger",
    "read_run",
    "reconcile",
    "scheme_ids",
    "settle",
    "standard",
    "verify_run",
    "what_if",
    "write_audit",
    "write_report",
    "write_run",
    "write_statements",
    "write_table",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'grouper' has no attribute {name!r}")
    value = getattr(import_module(f"grouper.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__


if TYPE_CHECKING:
    from grouper._audit import write_audit
    from grouper._budget_value import budget_point_value
    from grouper._calibration import calibrate
    from grouper._calibration_files import Calibration
    from grouper._calibration_options import DipOptions
    from grouper._casemix import casemix
    from grouper._casemix_options import CasemixOptions
    from grouper._cases import CaseBatch, encode
    from grouper._check_cases import check_cases
    from grouper._diff import SchemeDiff, diff_schemes
    from grouper._explain import Trace
    from grouper._explain_dip import explain
    from grouper._grouped import GroupedBatch
    from grouper._grouping import group, group_encoded
    from grouper._import_dip import import_dip3, import_dip_table
    from grouper._import_drg2 import import_drg2
    from grouper._import_drg3 import import_drg3
    from grouper._import_tables import import_tables
    from grouper._import_weights import WeightsReport, import_weights
    from grouper._publishing import publish_run
    from grouper._quality import QualityReport, check_quality
    from grouper._reconcile import Reconciliation, reconcile
    from grouper._report import write_report
    from grouper._scheme_files import ImportReport
    from grouper._settlement import Settlement, settle
    from grouper._standards import Standard, standard
    from grouper._statements import write_statements
    from grouper._tables_in import read_grouped, read_hospitals, read_ledger
    from grouper._verify import Verification, verify_run
    from grouper._weights_options import DrgOptions
    from grouper._weights_report import CalibratedWeights
    from grouper._what_if import WhatIf, what_if
    from grouper.errors import (
        CacheError,
        CaseFileError,
        CaseSchemaError,
        ConservationError,
        GrouperError,
        PolicyError,
        RuleError,
        SchemeNotFound,
        SettlementError,
        TableError,
    )
    from grouper.io import (
        CaseTable,
        ColumnMap,
        content_hash,
        load_map,
        read_cases,
        read_run,
        write_run,
        write_table,
    )
    from grouper.tables import (
        DipScheme,
        DrgScheme,
        Editions,
        Policy,
        Reason,
        Scheme,
        Severity,
        Status,
        Warn,
        for_date,
        load_catalogue,
        load_drg,
        load_editions,
        load_policy,
        load_scheme,
        policy_ids,
        scheme_ids,
    )
