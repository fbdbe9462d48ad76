"""Sheets of the auditor's workbook that list: parameters, all rows, coefficients, entries, changes.

Each function writes one sheet and returns what it counted.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import pyarrow as pa

from grouper._audit_book import Book, Column, Live
from grouper._audit_facts import BANDS, Facts, Row, rows
from grouper._audit_finance import FIGURES, Tied, Total
from grouper._ledger import DIFFERENCES, GIVEN
from grouper._writing import RunFolder
from grouper._yuan import yuan
from grouper.tables._policy_model import PARAMETERS, SELECTORS

ROWS_AT_ONCE = 1 << 14


def write_parameters(book: Book, facts: Facts) -> int:
    """Write every parameter with its document and its dates; the method and tiers likewise."""
    sheet = book.sheet(
        "参数",
        [
            Column("name", "参数"),
            Column("meaning", "含义"),
            Column("value", "值"),
            Column("unit", "单位"),
            Column("from", "起"),
            Column("to", "止"),
            Column("narrowed", "限于"),
            Column("source", "文件依据"),
        ],
    )
    told, method = facts.told, facts.method
    for name in ("id", "title", "standing", "fingerprint"):
        sheet.row([f"policy.{name}", "", str(told.get(name, "")), *[None] * 5])
    for name, value in method.items():
        if name != "source" and value is not None:
            source = method.get("source")
            sheet.row([f"method.{name}", "", str(value), None, None, None, None, source])
    count = 0
    for name, parameter in told.get("parameters", {}).items():
        meaning = PARAMETERS.get(name, ("", ""))[1]
        for value in parameter.get("values", ()):
            sheet.row([name, meaning, str(value["value"]), parameter.get("unit"), *_dated(value)])
            count += 1
    for band in BANDS:
        for tier in getattr(facts.settings, band) if facts.settings else ():
            told_tier = tier.model_dump(mode="json", by_alias=True, exclude_none=True)
            what = {k: v for k, v in told_tier.items() if k not in ("from", "to", "source")}
            text = ", ".join(f"{k} {v}" for k, v in what.items())
            sheet.row([f"{band} 偏差档", "", text, None, *_dated(told_tier)])
            count += 1
    return count


def _dated(value: Mapping[str, Any]) -> list[Any]:
    """Return from, to, what a value is narrowed to, and source."""
    narrowed = {s: value.get(s, value.get(f"{s}_")) for s in SELECTORS}
    text = ", ".join(f"{s} {v}" for s, v in narrowed.items() if v is not None)
    return [value.get("from", value.get("from_")), value.get("to"), text, value.get("source")]


# --------------------------------------------------------------------------------- control totals


def write_totals(book: Book, totals: Sequence[Total], tied: Sequence[Tied] | None) -> None:
    """Write control totals by pool, insurance and month, and the finance ledger beside them."""
    sheet = book.sheet("控制总数", lang="both")
    sheet.heading("控制总数 control totals")
    money = [Column("cost_fen", "总费用", "money"), Column("booked_fen", "医保记账费用", "money")]
    money += [Column("patient_fen", "个人负担", "money"), Column("pay_fen", "支付额", "money")]
    where = [Column("pool", "资金池"), Column("insurance", "险种"), Column("month", "月份")]
    sheet.header([*where, Column("cases", "人次", "whole"), *money])
    for t in totals:
        sheet.row([t.pool, t.insurance, t.month, t.cases, *t.figures])
    sums = [sum(t.figures[k] for t in totals) for k in range(len(FIGURES))]
    sheet.row(["合计 total", None, None, sum(t.cases for t in totals), *sums], bold=True)
    if tied is None:
        return
    sheet.heading("与财务账核对 tied to the finance ledger")
    sheet.header(
        [
            *(Column("figure", "科目"), Column("month", "月份")),
            *(Column("pool", "资金池"), Column("insurance", "险种")),
            *(Column("ours_fen", "本结果", "money"), Column("finance_fen", "财务账", "money")),
            *(Column("difference_fen", "差额", "money"), Column("state", "核对")),
        ]
    )
    for cell in tied:
        n = sheet.next_row()
        state = Live(f'IF(AND(E{n}<>"",F{n}<>"",G{n}=0),"ties","differs")', _state(cell.ties))
        difference = Live(f"ROUND(N(E{n})-N(F{n}),2)", float(yuan(cell.difference)))
        key = [cell.key[0].removesuffix("_fen"), *cell.key[1:]]
        sheet.row([*key, cell.ours, cell.theirs, difference, state])


def _state(ties: bool) -> str:
    return "ties" if ties else "differs"


# ----------------------------------------------------------------------------------------- all rows

_ALL = (
    Column("case_id", "结算流水号"),
    Column("hospital_id", "机构"),
    Column("hospital_level", "机构等级"),
    Column("pool_id", "资金池"),
    Column("insurance", "险种"),
    Column("settlement_date", "结算日期", "day"),
    Column("settlement_month", "月份"),
    Column("status", "入组状态"),
    Column("reason", "原因"),
    Column("group", "病组"),
    Column("pay_as", "付费病组"),
    Column("family", "付费类别"),
    Column("band", "偏差类型"),
    Column("special", "特病单议"),
    Column("total_cost_fen", "总费用", "money"),
    Column("booked_fund_fen", "医保记账费用", "money"),
    Column("other_payers_fen", "其他支付方", "money"),
    Column("patient_fen", "个人负担", "money"),
    Column("final_score", "最终分值", "number"),
    Column("standard_fen", "支付标准", "money"),
    Column("month_pay_fen", "月预结支付额", "money"),
    Column("carve_out_pay_fen", "除外支付额", "money"),
    Column("pay_fen", "支付额", "money"),
)


def write_all_rows(book: Book, facts: Facts) -> Counter[str]:
    """Write every settled row, those left out of the sharing with the reason; count these."""
    columns = [*_ALL, Column("left_out", "未纳入分摊")]
    sheet = book.sheet("全部结算行", columns)
    counts: Counter[str] = Counter()
    for case in iterate(facts.run.tables["cases"]):
        why = left_out(case, facts)
        counts[why] += 1
        sheet.row([*(case.get(c.name) for c in _ALL), why or None])
    return counts


def iterate(table: pa.Table) -> Iterator[dict[str, Any]]:
    """Yield the rows of a table, some at a time."""
    for batch in table.to_batches(max_chunksize=ROWS_AT_ONCE):
        yield from batch.to_pylist()


def left_out(case: Row, facts: Facts) -> str:
    """Tell why a row has no part in the sharing of its fund: blank = it has one."""
    pay_as = str(case.get("pay_as") or "")
    if case["status"] == "rejected":
        return "rejected"
    if facts.line(case["pool_id"], case.get("family")).startswith("family:"):
        return "outside"
    if case.get("special") == "booked" and facts.decided(case):
        return "booked"
    own = facts.family(case) if pay_as.startswith("family:") else None
    if own is not None and (own.pay == "booked" or own.fund != "points"):
        return "booked" if own.pay == "booked" else own.fund if facts.shares else ""
    rule = facts.status_rule(case) if pay_as.startswith("status:") else None
    if rule is not None:
        of_rule = {"zero": "zero", "booked": "booked", "cost": "off_top" if facts.shares else ""}
        return of_rule.get(rule.rule, "")
    if case.get("final_score") is None or (pay_as.startswith("status:") and not case["pay_fen"]):
        if not case["standard_fen"] and not case["pay_fen"]:
            return "zero"
        return "booked" if case["pay_fen"] == case["booked_fund_fen"] else "off_top"
    return ""


# ------------------------------------------------------------------------- coefficients and entries


def write_coefficients(book: Book, run: RunFolder) -> int:
    """Write how each hospital coefficient came about."""
    columns = [
        Column("hospital_id", "机构"),
        Column("hospital_level", "机构等级"),
        Column("hospital_class", "机构类别"),
        Column("group", "病组"),
        Column("part", "组成"),
        Column("figure", "指标值"),
        Column("mean", "同级均值"),
        Column("steps", "档数", "whole"),
        Column("cap", "封顶"),
        Column("bonus", "加成"),
        Column("coefficient", "系数"),
        Column("source", "依据"),
    ]
    return _list(book, "系数", columns, rows(run, "coefficients"))


_ENTRY = (
    Column("entry_id", "分录号"),
    Column("kind", "种类"),
    Column("pool_id", "资金池"),
    Column("hospital_id", "机构"),
    Column("case_id", "结算流水号"),
    Column("settlement_month", "月份"),
    Column("amount_fen", "金额", "money"),
    Column("value", "数值"),
    Column("outcome", "结论"),
    Column("reason", "理由"),
    Column("reference", "依据"),
    Column("entered_by", "录入人"),
    Column("entered_on", "录入日期", "day"),
)


def write_entries(book: Book, run: RunFolder) -> int:
    """Write the entries that people made: who, when, by what reference."""
    return _list(book, "手工分录", _ENTRY, [r for r in rows(run, "ledger") if r["kind"] in GIVEN])


def write_late(book: Book, run: RunFolder) -> int:
    """Write lists changed after settlement: by the day of upload, or by an entry of difference."""
    found = []
    if "list_upload_date" in run.tables["cases"].schema.names:
        for case in iterate(run.tables["cases"]):
            day, settled = case["list_upload_date"], case["settlement_date"]
            if day is not None and settled is not None and day > settled:
                found.append({**case, "kind": "list_upload_date", "amount_fen": None})
    found += [r for r in rows(run, "ledger") if r["kind"] in DIFFERENCES]
    dates = [
        Column("settlement_date", "结算日期", "day"),
        Column("list_upload_date", "上传日期", "day"),
    ]
    return _list(book, "结算后变动", [*_ENTRY, *dates], found)


def _list(
    book: Book, name: str, columns: Sequence[Column], found: Sequence[Mapping[str, Any]]
) -> int:
    sheet = book.sheet(name, columns)
    for row in found:
        sheet.row([row.get(c.name) for c in columns])
    return len(found)


# ------------------------------------------------------------------------------------------ changes


class Paid(NamedTuple):
    """What a run says of a case, as far as runs are compared."""

    month: str
    group: str | None
    final_score: Any
    pay_fen: int


CaseKey: TypeAlias = tuple[str, str, int]
"""Case, hospital, and which of the rows of the two."""

_COMPARED = (("group", "病组"), ("final_score", "最终分值"), ("pay_fen", "支付额"))
_NOT_THERE = Paid("", None, None, 0)


def write_changes(book: Book, run: RunFolder, prior: Sequence[RunFolder]) -> int:
    """Write the cases that earlier runs grouped, scored or paid otherwise than this one."""
    columns = [
        *(Column("from_run", "原发布"), Column("to_run", "本次"), Column("case_id", "结算流水号")),
        *(Column("hospital_id", "机构"), Column("settlement_month", "月份")),
        Column("change", "变动"),
        *(Column("group_before", "原病组"), Column("group_after", "现病组")),
        Column("score_before", "原分值", "number"),
        Column("score_after", "现分值", "number"),
        Column("pay_before_fen", "原支付额", "money"),
        Column("pay_after_fen", "现支付额", "money"),
        Column("difference_fen", "差额", "money"),
    ]
    sheet, count, total = book.sheet("发布间变动", columns), 0, 0
    for earlier in prior:
        names = [_run_name(earlier), _run_name(run)]
        for key, what, before, after in changes(earlier, run):
            old, new = before or _NOT_THERE, after or _NOT_THERE
            pairs = [x for pair in zip(old[1:], new[1:], strict=True) for x in pair]
            difference = new.pay_fen - old.pay_fen
            sheet.row([*names, *key[:2], new.month or old.month, what, *pairs, difference])
            count, total = count + 1, total + difference
    if count:
        sheet.row(["合计 total", *[None] * 11, total], bold=True)
    return count


def _run_name(run: RunFolder) -> str:
    told = run.manifest.get("run") or {}
    return " ".join(str(x) for x in (run.path.name, told.get("period"), told.get("status")) if x)


def changes(
    earlier: RunFolder, later: RunFolder
) -> Iterator[tuple[CaseKey, str, Paid | None, Paid | None]]:
    """Yield key, what changed, before and after of each case; a month of one run only is left out."""
    before, after = _by_case(earlier), _by_case(later)
    months = _months(earlier) & _months(later)
    for key in sorted(before.keys() | after.keys()):
        old, new = before.get(key), after.get(key)
        if old is None or new is None:
            one = old or new
            if one is not None and one.month in months:
                yield key, "new 新增" if old is None else "gone 消失", old, new
        elif what := [f"{n} {zh}" for n, zh in _COMPARED if getattr(old, n) != getattr(new, n)]:
            yield key, ", ".join(what), old, new


def _by_case(run: RunFolder) -> dict[CaseKey, Paid]:
    """Return the rows by case and hospital; the same once more is counted on."""
    table = run.tables["cases"]
    found: dict[CaseKey, Paid] = {}
    seen: defaultdict[tuple[str, str], int] = defaultdict(int)
    names = ["case_id", "hospital_id", "settlement_month", *(n for n, _ in _COMPARED)]
    for row in iterate(table.select([n for n in names if n in table.schema.names])):
        key = (str(row["case_id"]), str(row["hospital_id"]))
        paid = (row.get("group"), row.get("final_score"), row["pay_fen"])
        found[(*key, seen[key])] = Paid(str(row["settlement_month"]), *paid)
        seen[key] += 1
    return found


def _months(run: RunFolder) -> set[str]:
    told = (run.manifest.get("run") or {}).get("months")
    months = told or run.tables["cases"]["settlement_month"].unique().to_pylist()
    return {str(m) for m in months}
