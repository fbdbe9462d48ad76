"""Earlier runs: the published months of the year, which are frozen, and last year's cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from grouper._ledger import DIFFERENCES
from grouper._writing import RunFolder, check_run, read_run
from grouper.errors import CaseFileError, SettlementError

LAST_YEAR = (
    *("group", "status", "total_cost_fen", "hospital_id", "hospital_level", "hospital_class"),
)


@dataclass(frozen=True)
class FrozenMonth:
    """A published month: what it owed each case and paid each hospital; never changed."""

    month: str
    cases: pa.Table
    pools: Mapping[tuple[str, str], Mapping[str, Any]]  # (pool, line) -> row
    hospitals: Mapping[tuple[str, str, str], Mapping[str, Any]]  # (hospital, pool, line)
    months: Mapping[str, Mapping[str, Any]]  # pool -> row of months.parquet
    payments: Mapping[tuple[str, str, str], Mapping[str, Any]]
    policy: str = ""  # fingerprint of the policy that it was settled by


@dataclass(frozen=True)
class Prior:
    """What earlier runs say: frozen months in order, differences so far, last year's cases."""

    months: Mapping[str, FrozenMonth] = field(default_factory=dict)
    differences: Mapping[str, Mapping[tuple[str, str, str, str], int]] = field(default_factory=dict)
    """case -> (month, hospital, pool, line) -> fen."""
    last_year: pa.Table | None = None

    def accounts(self, case: str, month: str) -> dict[tuple[str, str, str], int]:
        """Return the differences so far of a case of a month, by hospital, pool and line."""
        mine = self.differences.get(case, {})
        return {key[1:]: fen for key, fen in mine.items() if key[0] == month}

    def corrected(self, month: str) -> list[str]:
        """List the cases of a month that have differences."""
        return sorted(c for c, x in self.differences.items() if any(k[0] == month for k in x))


def read_prior(given: Any) -> Prior:
    """Read earlier runs: folders, `RunFolder`s, or one of them.

    Raises
    ------
    CaseFileError : no run is there. SettlementError : a month that is not published, or stands twice.
    """
    if given is None:
        return Prior()
    runs = [given] if isinstance(given, str | Path | RunFolder) else list(given)
    months: dict[str, FrozenMonth] = {}
    differences: dict[str, dict[tuple[str, str, str, str], int]] = {}
    last_year = []
    for item in runs:
        run = item if isinstance(item, RunFolder) else read_run(item)
        check_run(run)
        about = run.manifest.get("run") or {}
        if "cases" not in run.tables:
            raise CaseFileError("the run has no cases", file=str(run.path))
        if about.get("kind") != "month":
            cases = run.tables["cases"]
            last_year.append(cases.select([c for c in LAST_YEAR if c in cases.schema.names]))
            continue
        month = str(about.get("period"))
        if about.get("status") != "published":
            raise SettlementError(
                f"the run of {month} in {run.path.name} is a draft: publish it (grouper publish), "
                "or leave it out"
            )
        if month in months:
            raise SettlementError(f"two earlier runs are of {month}: give the published one")
        if lacking := [name for name in MONTHLY if name not in run.tables]:
            raise CaseFileError(f"the run has no {', '.join(lacking)}", file=str(run.path))
        fingerprint = run.manifest.get("policy", {}).get("fingerprint", "")
        months[month] = _frozen(month, run.tables, fingerprint)
        for e in run.tables["ledger"].to_pylist():
            if e["kind"] in DIFFERENCES:
                amounts = differences.setdefault(e["case_id"], {})
                of, _, line = e["reference"].partition(" ")
                account = (of, e["hospital_id"], e["pool_id"], line or "fund")
                amounts[account] = amounts.get(account, 0) + e["amount_fen"]
    joined = pa.concat_tables(last_year, promote_options="permissive") if last_year else None
    return Prior(dict(sorted(months.items())), differences, joined)


MONTHLY = ("cases", "hospitals", "pools", "ledger", "months", "payments")


def _frozen(month: str, tables: Mapping[str, pa.Table], policy: str) -> FrozenMonth:
    payments = tables["payments"]
    payments = payments.filter(pc.equal(payments["month"], month))
    months = tables["months"]
    months = months.filter(pc.equal(months["month"], month))
    by = ("hospital_id", "pool_id", "line")
    return FrozenMonth(
        month,
        tables["cases"],
        _rows(tables["pools"], ("pool_id", "line")),
        _rows(tables["hospitals"], by),
        {r["pool_id"]: r for r in months.to_pylist()},
        _rows(payments, by),
        policy,
    )


def _rows(table: pa.Table, by: Sequence[str]) -> dict[Any, Mapping[str, Any]]:
    return {tuple(r[c] for c in by): r for r in table.to_pylist()}
