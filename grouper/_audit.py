"""The auditor's workbook (清算工作底稿): a run laid open so that someone else can check it in Excel.

Parameters with their documents, control totals tied to the finance ledger, every settled row, a sample
of cases in live formulas, coefficients, entries by hand, changes since earlier runs, and the proofs.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from grouper import _audit_tables as tables
from grouper._audit_book import Book, Column, open_book
from grouper._audit_chain import chain
from grouper._audit_facts import Facts, Row, column, rows
from grouper._audit_finance import Tied, control_totals, tie
from grouper._audit_proof import write_proofs
from grouper._audit_row import COLUMNS
from grouper._ledger import DECISIONS
from grouper._writing import RunFolder, read_run
from grouper.errors import CaseFileError, PolicyError
from grouper.tables._policy import Policy, load_policy, policy_ids

STRATA = ("status", "band", "family", "special")
"""Each combination of these that the cases have is in the sample."""

_NOTES = (
    "金额单位为元，由整数分写成；10^13 元以下的金额在 Excel 中精确到分。",
    "Money is yuan written from whole fen; below 10^13 yuan Excel holds it to the fen.",
    "样本页的公式可逐格追踪；结果一列为本系统的数，相符一列应为 TRUE。",
    "The sample's formulas can be followed cell by cell; each check must show TRUE.",
    "分摊到分用最大余额法：机构与病例各差不到一分，合计不超过 0.02 元，列为尾差。",
    "Shares of a fund are made whole by largest remainder; what it moves is at most 0.02 yuan a case.",
    "恰在一半上的数先多保留三位再四舍五入，因浮点乘积可能略小于一半。",
    "A figure that ends on a half is first rounded to three more digits: a product of doubles may "
    "fall just below it.",
    "“取自结果”表示结果文件与政策不足以重算该项，未作检查。",
    "What is named under `given` could not be worked out from run and policy and is not checked.",
)


def write_audit(
    run: RunFolder | Path | str,
    output: Path | str,
    *,
    finance: Path | str | None = None,
    sample: int = 200,
    prior: Sequence[RunFolder | Path | str] = (),
    policy: Policy | Path | str | None = None,
) -> dict[str, Any]:
    """Write the auditor's workbook of a run (清算工作底稿).

    Parameters
    ----------
    output : an .xlsx file; replaced if it exists. finance : CSV or Excel of month, amount in yuan, and
        pool or insurance. sample : how many cases stand in live formulas; more if they differ in more
        ways in status, band, family and decision. prior : earlier runs.
    policy : the policy of the run, for its bands and rules; a shipped one is found by its fingerprint.

    Returns
    -------
    Counts of each sheet, and `ties`: whether every check, tie and proof holds.

    Raises
    ------
    CaseFileError : no run is there, or a file cannot be read or written. TableError : the finance
    ledger has a wrong header or cell. PolicyError : `policy` is not the one that the run was paid by.
    """
    path = Path(output)
    if path.suffix.casefold() != ".xlsx":
        raise CaseFileError("the auditor's workbook ends in .xlsx", file=path.name)
    found = _run(run)
    earlier = [_run(p) for p in prior]
    facts = Facts(found, _policy(found, policy))
    totals = control_totals(found.tables["cases"])
    tied = None if finance is None else tie(totals, Path(finance))
    with open_book(path) as book:
        _notes(book, facts)
        parameters = tables.write_parameters(book, facts)
        tables.write_totals(book, totals, tied)
        left_out = tables.write_all_rows(book, facts)
        sampled = _sample(book, facts, sample)
        coefficients = tables.write_coefficients(book, found)
        entries = tables.write_entries(book, found)
        changes = tables.write_changes(book, found, earlier)
        late = tables.write_late(book, found)
        proven = write_proofs(book, facts)
    return {
        "output": str(path),
        "rows": sum(left_out.values()),
        "left_out": {k: n for k, n in sorted(left_out.items()) if k},
        "parameters": parameters,
        "sample": sampled,
        "finance": None if tied is None else _tied(tied),
        "coefficients": coefficients,
        "entries": entries,
        "changes": changes,
        "after_settlement": late,
        "proofs": dict(proven),
        "ties": not (sampled["differ"] or proven["fail"] or any(not t.ties for t in tied or ())),
    }


def _run(run: RunFolder | Path | str) -> RunFolder:
    """Read a run folder.

    Raises
    ------
    CaseFileError : it has no cases.
    """
    found = run if isinstance(run, RunFolder) else read_run(run)
    if "cases" not in found.tables or "pay_fen" not in found.tables["cases"].schema.names:
        message = "the run has no settled cases (cases.parquet with pay_fen); settle first"
        raise CaseFileError(message, file=str(found.path))
    return found


def _policy(run: RunFolder, policy: Policy | Path | str | None) -> Policy | None:
    """Return the policy of a run: the one given, or a shipped one of its fingerprint.

    Raises
    ------
    PolicyError : the one given has another fingerprint.
    """
    told = run.manifest.get("policy", {})
    name, mark = str(told.get("id", "")), told.get("fingerprint")
    if policy is None:
        shipped = load_policy(name) if name in policy_ids() else None
        return shipped if shipped and shipped.fingerprint == mark else None
    given = policy if isinstance(policy, Policy) else load_policy(policy)
    if given.fingerprint != mark:
        raise PolicyError(
            f"the run was paid by {name} of fingerprint {str(mark)[:12]}…, this is {given.id} of "
            f"{given.fingerprint[:12]}…: give the policy as it was then"
        )
    return given


def _notes(book: Book, facts: Facts) -> None:
    sheet = book.sheet("说明")
    sheet.heading("清算工作底稿 auditor's workbook")
    for note in _NOTES:
        sheet.note(note)
    manifest = facts.run.manifest
    sheet.heading("结果文件 the run")
    sheet.header([Column("what", "项"), Column("value", "值")])
    run = manifest.get("run", {})
    sheet.row(["folder", facts.run.path.name])
    for name in ("kind", "period", "status"):
        sheet.row([name, run.get(name)])
    for step, who in (run.get("sign_off") or {}).items():
        sheet.row([step, f"{who.get('name', '')} {who.get('on', '')}".strip() if who else None])
    for table, mark in (manifest.get("outputs") or {}).items():
        sheet.row([f"content hash {table}", mark])
    sheet.row(["policy at hand 政策在手", facts.policy is not None])


def _tied(tied: Sequence[Tied]) -> dict[str, int]:
    return {
        "cells": len(tied),
        "tie": sum(t.ties for t in tied),
        "differ": sum(not t.ties for t in tied),
    }


# ------------------------------------------------------------------------------------------- sample


def _sample(book: Book, facts: Facts, size: int) -> dict[str, int]:
    """Write the sample in live formulas; count the rows that agree, differ, and take a figure as given."""
    cases = facts.run.tables["cases"]
    chosen = cases.take(pa.array(pick(cases, size), pa.int64()))
    decided = decisions(facts)
    sheet = book.sheet("样本", COLUMNS)
    counts: Counter[str] = Counter(rows=len(chosen), agree=0, differ=0, given=0)
    for case in tables.iterate(chosen):
        built = chain(case, facts, sheet.next_row(), decided)
        sheet.row(built.row())
        counts["agree" if built.agrees else "differ"] += 1
        counts["given"] += bool(built.given)
    return dict(counts)


def pick(cases: pa.Table, size: int) -> list[int]:
    """Choose rows by a hash of their case_id: first one of each stratum, then the lowest hashes.

    Returns
    -------
    Rows in the order of the table; the same whatever order that is.
    """
    ids = column(cases, "case_id", pa.string()).to_pylist()
    marks = [hashlib.sha256(str(i).encode()).digest()[:8] for i in ids]
    order = np.argsort(np.frombuffer(b"".join(marks), ">u8"), kind="stable").tolist()
    strata = list(zip(*(column(cases, s, pa.string()).to_pylist() for s in STRATA), strict=True))
    first: dict[Any, int] = {}
    for k in order:
        first.setdefault(strata[k], k)
    chosen = dict.fromkeys(first.values())
    for k in order:
        if len(chosen) >= size:
            break
        chosen[k] = None
    return sorted(chosen)


def decisions(facts: Facts) -> Mapping[str, Row]:
    """Return the last decision on each case: by the day of entry, then by entry_id.

    A month knows only those entered by its end.
    """
    period = str((facts.run.manifest.get("run") or {}).get("period"))
    found = [
        r
        for r in rows(facts.run, "ledger")
        if r["kind"] in DECISIONS
        and r.get("case_id")
        and not (facts.monthly and str(r.get("entered_on") or "")[:7] > period)
    ]
    found.sort(key=lambda r: (r.get("entered_on") or date.min, r["entry_id"]))
    return {r["case_id"]: r for r in found}
