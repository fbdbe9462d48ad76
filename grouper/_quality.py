"""Quality control (清单质控) of settlement lists, before they are grouped: which rule fails where.

Lists → for each rule true, false or missing in every row → findings, and counts by hospital and rule.
A case passes a rule if every row does, fails it if one does not, else it cannot be judged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from grouper import _chunks
from grouper._arrow import text_array
from grouper._grouping import group
from grouper._progress import heard, share, told
from grouper._quality_lists import CASE, GROUP, I64, SCHEMA, Lists, Values, read_lists
from grouper._quality_values import Bits, Evaluator, Sources, Word
from grouper.io import ColumnMap, FileRead
from grouper.tables import (
    CodeList,
    DrgScheme,
    QualityRule,
    QualityRules,
    Scheme,
    load_codes,
    load_quality,
    load_scheme,
    switched,
)

LISTED = "codes-nhsa-2.0"
"""The code list that tells known codes where no scheme names another."""

FINDINGS = pa.schema(
    [
        ("case_id", pa.string()),
        ("hospital_id", pa.string()),
        ("rule", pa.string()),
        ("severity", pa.string()),
        ("table", pa.string()),
        ("field", pa.string()),
        ("position", pa.int32()),
        ("message", pa.string()),
    ]
)
"""A finding: the rule that a row of a case fails; `position` counts the rows below a case from 1."""

REPORT = pa.schema(
    [
        ("hospital_id", pa.string()),
        ("rule", pa.string()),
        ("severity", pa.string()),
        ("message", pa.string()),
        ("cases", pa.int64()),
        ("passed", pa.int64()),
        ("failed", pa.int64()),
        ("not_evaluable", pa.int64()),
        ("share", pa.float64()),
        ("money_touched_fen", pa.int64()),
    ]
)
"""Counts of cases by hospital and rule; `share` is failed ÷ cases, the money that of failed cases."""


@dataclass(frozen=True, eq=False)
class QualityReport:
    """What quality control found (质控报告).

    `findings` and `report` are tables as `FINDINGS` and `REPORT` say; `rules` has one row a rule for
    all hospitals, with why a rule could not be judged. `absent` names the fields that no file holds,
    `asked` the personal columns of which only whether they are filled was read.
    """

    findings: pa.Table
    report: pa.Table
    rules: Sequence[Mapping[str, Any]]
    cases: int
    failed_cases: int
    absent: Sequence[str]
    asked: Sequence[str]
    dropped: Sequence[str]
    normalised: Mapping[str, int] = field(default_factory=dict)
    files: Sequence[FileRead] = ()

    @property
    def has_errors(self) -> bool:
        """Whether a rule of severity error fails somewhere."""
        return any(r["severity"] == "error" and r["failed"] for r in self.rules)

    def facts(self) -> dict[str, Any]:
        """Return what a program prints: counts, the rules, what was read and what was not."""
        return {
            "inputs": [f._asdict() for f in self.files],
            "cases": self.cases,
            "cases_with_findings": self.failed_cases,
            "findings": self.findings.num_rows,
            "rules": list(self.rules),
            "absent_fields": list(self.absent),
            "asked_only_if_filled": list(self.asked),
            "dropped_columns": list(self.dropped),
            "normalised": dict(self.normalised),
        }


def check_quality(
    cases: Any,
    *,
    scheme: str | Scheme | None = None,
    rules: str | Path | QualityRules | None = None,
    only: Sequence[str] = (),
    without: Sequence[str] = (),
    columns: ColumnMap | str | None = None,
    codes: str = "insurer",
    lang: str = "zh",
    threads: int | None = None,
) -> QualityReport:
    """Check settlement lists by the quality rules (清单质控).

    Parameters
    ----------
    cases : as `read_cases` takes them; a folder with the long tables setlinfo, diseinfo, oprninfo and,
        where there are, icuinfo, payinfo, iteminfo, bldinfo is read whole.
    scheme : gives chapters (sex and age) and groups (split stays, cost ratio); without one the rules
        that need them cannot be judged. rules : a file or folder of rules over the shipped ones.
    only, without : ids of rules to run or to leave out; ``2005.*`` names all that begin so.
    codes : insurer or clinical, whose codes are known too where a map names them.
    threads : default the cores at hand; the answer does not depend on it.

    Raises
    ------
    TableError, RuleError : the rules are refused. CaseFileError, CaseSchemaError : the cases are.
    """
    loaded = rules if isinstance(rules, QualityRules) else load_quality(rules, SCHEMA)
    loaded = switched(loaded, only, without)
    by = load_scheme(scheme) if isinstance(scheme, str) else scheme
    with share(0, 0.4):
        lists = read_lists(cases, loaded, columns=columns, threads=threads)
    calls = {c for r in loaded.rules for c in r.condition.calls}
    if by is not None and GROUP in {f for r in loaded.rules for f in r.condition.fields}:
        with share(0.4, 0.6):
            lists.fields[GROUP.key] = _groups(lists, by, codes, threads)
    with heard(None):  # the chapters of codes are asked by groupings of their own
        evaluator = Evaluator(lists, _sources(by, codes, calls))

    def judge(rule: QualityRule) -> _Judged:
        return _judge(rule, evaluator, lists)

    with ThreadPoolExecutor(threads or _chunks.cores()) as pool, share(0.6, 1):
        judged = list(told(pool.map(judge, loaded.rules), len(loaded.rules)))
    return _report(judged, lists, lang)


# ----------------------------------------------------------------------------------- one rule's cases


@dataclass(frozen=True, eq=False)
class _Judged:
    """One rule: the rows that fail, the cases that fail, the cases that cannot be judged."""

    rule: QualityRule
    rows: I64
    failed: I64
    unknown: I64 | slice  # slice(None) = all of them
    absent: tuple[str, ...]


def _judge(rule: QualityRule, evaluator: Evaluator, lists: Lists) -> _Judged:
    held = evaluator.holds(rule.condition, rule.table)
    asked = sorted(rule.condition.fields, key=lambda f: f.key)
    absent = tuple(f.name for f in asked if lists.fields.get(f.key) is None)
    none = np.zeros(0, np.int64)
    if rule.table == CASE and held.ok is not None and not held.ok.any():
        return _Judged(rule, none, none, slice(None), absent)
    rows = np.flatnonzero(~held.data if held.ok is None else held.ok & ~held.data)
    missing = none if held.ok is None else np.flatnonzero(~held.ok)
    if rule.table == CASE:
        return _Judged(rule, rows, rows, missing, absent)
    case = lists.below[rule.table].case
    failed = _distinct(case[rows])
    unknown = np.setdiff1d(_distinct(case[missing]), failed, assume_unique=True)
    return _Judged(rule, rows, failed, unknown, absent)


def _distinct(ascending: I64) -> I64:
    """Return ascending numbers each once."""
    first = np.ones(len(ascending), np.bool_)
    np.not_equal(ascending[1:], ascending[:-1], out=first[1:])
    return ascending[first]


def _groups(lists: Lists, scheme: Scheme, codes: str, threads: int | None) -> Values:
    """Group the cases; a case without a group is missing."""
    grouped = group(lists.cases.table, scheme, codes=codes, threads=threads).to_arrow()
    column = grouped["group"].combine_chunks()
    column = column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
    valid = pc.is_valid(column).to_numpy(zero_copy_only=False)
    index = pc.fill_null(column.indices, 0).to_numpy()
    return Values(index, valid, column.dictionary.cast(pa.string()))


# --------------------------------------------------------------------------- what the functions ask


def _sources(scheme: Scheme | None, codes: str, calls: set[str]) -> Sources:
    listed = load_codes(LISTED) if scheme is None else scheme.code_list
    words: dict[str, Word] = {}
    for name in ("known_diagnosis", "known_procedure", "grey_diagnosis", "grey_procedure"):
        if name in calls and listed is not None:
            words[name] = _asker(sorted(_known(listed, name, codes)))
    fits: dict[str, Bits] = {}
    if isinstance(scheme, DrgScheme) and calls & {"fits_sex", "fits_age"}:
        diagnoses = sorted(listed.diagnoses) if listed else []
        sexes, ages = _chapters(scheme, diagnoses)
        fits = {"fits_sex": _bits(diagnoses, sexes), "fits_age": _bits(diagnoses, ages)}
    return Sources(words, fits)


def _asker(known: Sequence[str]) -> Word:
    values = pa.array(known, pa.string())
    return lambda words: pc.is_in(words, value_set=values).to_numpy(zero_copy_only=False)


def _bits(known: Sequence[str], bits: NDArray[np.int8]) -> Bits:
    values, padded = pa.array(known, pa.string()), np.append(bits, np.int8(0))
    return lambda words: padded[pc.fill_null(pc.index_in(words, value_set=values), -1).to_numpy()]


def _known(listed: CodeList, name: str, codes: str) -> set[str]:
    of, _, _ = name.partition("_")
    what = "diagnoses" if name.endswith("diagnosis") else "procedures"
    if of == "grey":
        return set(getattr(listed, f"grey_{what}"))
    found = set(getattr(listed, what))
    if codes == "clinical":
        found |= set(getattr(listed, "diagnosis_map" if what == "diagnoses" else "procedure_map"))
    return found


def _chapters(
    scheme: DrgScheme, diagnoses: Sequence[str]
) -> tuple[NDArray[np.int8], NDArray[np.int8]]:
    """Ask the scheme itself which sex (bits 1 male, 2 female) and age (1 newborn, 2 older) fit a code.

    Each code is grouped as the principal diagnosis of a man and a woman, a newborn and an adult. Where
    a code has a chapter for none of them the scheme says nothing of it, and the bits are 0.
    """
    n = len(diagnoses)
    each = np.arange(n + 1, dtype=np.int32)
    codes = pa.ListArray.from_arrays(pa.array(each), pa.array(diagnoses, pa.string()))
    none = pa.ListArray.from_arrays(pa.array(each * 0), pa.array([], pa.string()))
    ids = pa.array(each[:n]).cast(pa.string())
    has = []
    for sex in (1, 2):
        for age in (0, 40):
            cases = pa.table(
                {
                    "case_id": ids,
                    "sex": pa.array(np.full(n, sex, np.int32)),
                    "age": pa.array(np.full(n, age, np.int32)),
                    "age_days": pa.array(np.full(n, 5, np.int32), mask=np.full(n, age > 0)),
                    "diagnoses": codes,
                    "procedures": none,
                }
            )
            has.append(group(cases, scheme).drg.mdc >= 0)
    male, female = has[0] | has[1], has[2] | has[3]
    newborn, older = has[0] | has[2], has[1] | has[3]
    sexes = male.astype(np.int8) | (female.astype(np.int8) << 1)
    return sexes, newborn.astype(np.int8) | (older.astype(np.int8) << 1)


# ------------------------------------------------------------------------------------------- report


def _report(judged: Sequence[_Judged], lists: Lists, lang: str) -> QualityReport:
    table, n = lists.cases.table, len(lists)
    held = table.column_names
    ids = text_array(table["case_id"])
    hospitals = (
        text_array(table["hospital_id"]) if "hospital_id" in held else pa.nulls(n, pa.string())
    )
    cost = (
        table["total_cost_fen"]
        if "total_cost_fen" in held
        else pa.chunked_array([pa.nulls(n, pa.int64())])
    )
    money = pc.fill_null(cost.cast(pa.int64()), 0).to_numpy()
    encoded = pc.fill_null(hospitals, "").dictionary_encode()
    names, of = encoded.dictionary, encoded.indices.to_numpy()
    order = pc.sort_indices(names.cast(pa.binary())).to_numpy()
    cases = np.bincount(of, minlength=len(names))
    rows: dict[str, list[Any]] = {name: [] for name in REPORT.names}
    rules, some = [], np.zeros(n, np.bool_)
    for j in judged:
        some[j.failed] = True
        failed = np.bincount(of[j.failed], minlength=len(names))
        unknown = cases
        if not isinstance(j.unknown, slice):
            unknown = np.bincount(of[j.unknown], minlength=len(names))
        touched = _sum_by(of[j.failed], money[j.failed], len(names))
        rule = j.rule
        for h in order:
            share = failed[h] / cases[h] if cases[h] else 0.0
            values = (names[h].as_py(), rule.id, rule.severity, rule.message(lang), cases[h])
            passed = cases[h] - failed[h] - unknown[h]
            more = (passed, failed[h], unknown[h], round(share, 6), touched[h])
            for name, value in zip(REPORT.names, (*values, *more), strict=True):
                rows[name].append(value)
        rules.append(_of_rule(j, n, int(sum(touched)), lang))
    return QualityReport(
        _findings(judged, lists, ids, hospitals, lang),
        pa.table({f.name: pa.array(rows[f.name], f.type) for f in REPORT}, schema=REPORT),
        rules,
        n,
        int(some.sum()),
        sorted({name for j in judged for name in j.absent}),
        lists.asked,
        lists.cases.dropped,
        {k: v for k, v in {**lists.cases.counts, **lists.counts}.items() if v},
        lists.cases.files,
    )


def _of_rule(j: _Judged, n: int, touched: int, lang: str) -> dict[str, Any]:
    failed = len(j.failed)
    unknown = n if isinstance(j.unknown, slice) else len(j.unknown)
    rule = {
        "rule": j.rule.id,
        "severity": j.rule.severity,
        "message": j.rule.message(lang),
        "passed": n - failed - unknown,
        "failed": failed,
        "not_evaluable": unknown,
        "money_touched_fen": touched,
        "place": j.rule.place,
    }
    return rule | ({"absent": list(j.absent)} if j.absent and unknown else {})


def _sum_by(of: NDArray[Any], values: NDArray[np.int64], n: int) -> list[int]:
    """Sum values by group, exactly."""
    totals = np.zeros(n, np.int64)
    np.add.at(totals, of, values)
    return [int(t) for t in totals]


def _findings(
    judged: Sequence[_Judged], lists: Lists, ids: Any, hospitals: Any, lang: str
) -> pa.Table:
    parts = []
    for j in judged:
        below = None if j.rule.table == CASE else lists.below[j.rule.table]
        case = j.rows if below is None else below.case[j.rows]
        k = len(case)
        at = pa.array(case)
        position = pa.nulls(k, pa.int32())
        if below is not None:
            position = pa.array(below.position[j.rows].astype(np.int32))
        rule = j.rule
        texts = (rule.id, rule.severity, rule.table, rule.field)
        own = [pa.array([t], pa.string()).take(pa.array(np.zeros(k, np.int32))) for t in texts]
        says = pa.array([rule.message(lang)]).take(pa.array(np.zeros(k, np.int32)))
        columns = [ids.take(at), hospitals.take(at), *own, position, says]
        parts.append(pa.table(columns, schema=FINDINGS))
    return pa.concat_tables(parts) if parts else FINDINGS.empty_table()
