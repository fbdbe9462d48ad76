"""What a reconciliation gives out: tables of differences, the appeal sheet 申诉表, text, files.

Every table has English columns; in Excel the headers are Chinese and amounts are yuan. Text that a
spreadsheet would run as a formula is written as text.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from grouper import _excel, _writing
from grouper._calendar import after_working_days, is_working
from grouper._reconcile_fields import BY_NAME
from grouper._yuan import yuan
from grouper.errors import CaseFileError
from grouper.tables._policy_model import Calendar

CLASSES = {
    "only_theirs": ("医保有而我方无", "only in the insurer's result"),
    "only_ours": ("我方有而医保无", "only in our run"),
    "repeated": ("病例重复", "repeated case"),
    "unreadable": ("无法读取", "unreadable cells"),
    "edition": ("分组版本不同", "another edition"),
    "group": ("分组不同", "another group"),
    "severity": ("严重程度不同", "another severity"),
    "score": ("分值或权重不同", "another score or weight"),
    "aux_factor": ("辅助目录系数不同", "another auxiliary factor"),
    "coefficient": ("等级系数不同", "another hospital coefficient"),
    "band": ("偏差类型不同", "another band of deviation"),
    "final_score": ("最终分值不同", "another final score"),
    "point_value": ("结算点值不同", "another point value"),
    "patient_share": ("费用与个人负担不同", "another cost or patient share"),
    "carve_out": ("除外支付不同", "another carve-out"),
    "amount": ("金额不同", "another amount"),
    "rounding": ("尾差", "within 1 fen"),
}
"""The classes of difference in the order of cause: (Chinese, English)."""

DIFFERENCES = pa.schema(
    [
        ("case_id", pa.string()),
        ("class", pa.string()),
        ("class_zh", pa.string()),
        ("fields", pa.list_(pa.string())),
        ("ours", pa.list_(pa.string())),
        ("theirs", pa.list_(pa.string())),
        ("group_ours", pa.string()),
        ("group_theirs", pa.string()),
        ("amount_ours_fen", pa.int64()),
        ("amount_theirs_fen", pa.int64()),
        ("money_fen", pa.int64()),
        ("rows_ours", pa.int64()),
        ("rows_theirs", pa.int64()),
        ("reason_zh", pa.string()),
    ]
)
SUMMARY = pa.schema(
    [
        *((c, pa.string()) for c in ("class", "class_zh")),
        *((c, pa.int64()) for c in ("cases", "money_fen", "favourable_fen", "unfavourable_fen")),
    ]
)
EVIDENCE = (
    *("hospital_id", "settlement_date", "settlement_month", "insurance", "group_name"),
    *("rule", "decided_by", "total_cost_fen", "patient_fen", "weight_or_score"),
    *("hospital_factor", "aux_type", "aux_factor", "benchmark_fen", "ratio", "band", "final_score"),
)
"""Columns of our cases that an appeal shows, as far as the run has them."""
_APPEAL = [
    *("case_id", "class_zh", "group_ours", "group_theirs"),
    *("amount_ours_fen", "amount_theirs_fen", "money_fen", "reason_zh"),
]


@dataclass(frozen=True)
class Difference:
    """One case that differs, by its first cause; `fields`, `ours`, `theirs` are parallel."""

    case_id: str
    cause: str
    rows_ours: Sequence[int]
    rows_theirs: Sequence[int]
    groups: tuple[str | None, str | None]
    amounts: tuple[int | None, int | None]
    fields: Sequence[str] = ()
    ours: Sequence[str] = ()
    theirs: Sequence[str] = ()
    notes: Sequence[str] = ()

    @property
    def money(self) -> int | None:
        """Ours minus theirs in fen; None = amounts are not compared."""
        mine, other = self.amounts
        return None if mine is None and other is None else (mine or 0) - (other or 0)

    def reason_zh(self) -> str:
        """Say in Chinese what differs and by how much."""
        if self.cause == "only_ours":
            said = ["我方结算中有此病例，医保结果中没有"]
        elif self.cause == "only_theirs":
            said = ["医保结果中有此病例，我方结算中没有"]
        elif self.cause == "repeated":
            mine, other = len(self.rows_ours), len(self.rows_theirs)
            said = [f"同一病例号我方 {mine} 行，医保 {other} 行"]
        else:
            said = list(self.notes)
        for name, here, there in zip(self.fields, self.ours, self.theirs, strict=True):
            said.append(f"{BY_NAME[name].zh}：我方 {here or '无'}，医保 {there or '无'}")
        if self.money:
            here, there = (yuan(x or 0) for x in self.amounts)
            both = "" if "pay" in self.fields else f"我方 {here} 元，医保 {there} 元，"
            said.append(f"{both}相差 {yuan(self.money)} 元")
        return "；".join(said)


# ----------------------------------------------------------------------------------------- tables


def differences_table(found: Sequence[Difference]) -> pa.Table:
    """Lay out one row a case that differs."""
    rows = [
        {
            "case_id": d.case_id,
            "class": d.cause,
            "class_zh": CLASSES[d.cause][0],
            "fields": list(d.fields),
            "ours": list(d.ours),
            "theirs": list(d.theirs),
            "group_ours": d.groups[0],
            "group_theirs": d.groups[1],
            "amount_ours_fen": d.amounts[0],
            "amount_theirs_fen": d.amounts[1],
            "money_fen": d.money,
            "rows_ours": len(d.rows_ours),
            "rows_theirs": len(d.rows_theirs),
            "reason_zh": d.reason_zh(),
        }
        for d in found
    ]
    return pa.Table.from_pylist(rows, schema=DIFFERENCES)


def summary_table(found: Sequence[Difference], has_money: bool) -> pa.Table:
    """Lay out one row a class that occurs, in the order of cause."""
    rows = []
    for cause, (zh, _) in CLASSES.items():
        money = [d.money or 0 for d in found if d.cause == cause]
        if money:
            sums = (sum(money), -sum(x for x in money if x < 0), sum(x for x in money if x > 0))
            total, good, bad = sums if has_money else (None, None, None)
            row = {"class": cause, "class_zh": zh, "cases": len(money), "money_fen": total}
            rows.append({**row, "favourable_fen": good, "unfavourable_fen": bad})
    return pa.Table.from_pylist(rows, schema=SUMMARY)


def appeal_table(found: Sequence[Difference], cases: pa.Table, due: Deadline | None) -> pa.Table:
    """Lay out the cases worth an appeal: the insurer pays less, or amounts are not compared.

    Greatest difference first, ties by case id; the evidence is of the first row of the case.
    """
    worth = [d for d in found if d.rows_ours and (d.money is None or d.money > 0)]
    worth.sort(key=lambda d: (-(d.money or 0), d.case_id.encode()))
    table = differences_table(worth).select(_APPEAL)
    at = pa.array([d.rows_ours[0] for d in worth], pa.int64())
    for name in EVIDENCE:
        if name in cases.schema.names:
            table = table.append_column(name, cases[name].take(at))
    last, left = (due.last_day, due.days_left) if due else (None, None)
    table = table.append_column("last_day", pa.array([last] * len(worth), pa.date32()))
    return table.append_column("days_left", pa.array([left] * len(worth), pa.int64()))


# --------------------------------------------------------------------------------------- deadline


@dataclass(frozen=True)
class Deadline:
    """The last day to appeal and the working days left to it; below 0 = it is over."""

    received_on: date
    working_days: int
    last_day: date
    days_left: int
    holidays_known: bool


def deadline(
    manifest: Mapping[str, Any], received_on: date | None, working_days: int, today: date | None
) -> Deadline | None:
    """Count working days from the day of receipt, by the calendar in the run's manifest if any."""
    if received_on is None:
        return None
    dates = manifest.get("deadlines")
    dates = dates if isinstance(dates, Mapping) else {}
    try:
        holidays, workdays = (
            [date.fromisoformat(day) for day in dates.get(key) or ()]
            for key in ("holidays", "workdays")
        )
    except (TypeError, ValueError) as e:
        message = f"deadlines: {e}; holidays and workdays are lists of days like 2025-05-01"
        raise CaseFileError(message, file=_writing.MANIFEST) from None
    calendar = Calendar(holidays=holidays, workdays=workdays, source=_writing.MANIFEST)
    last = after_working_days(received_on, working_days, calendar)
    left = working_days_between(today or date.today(), last, calendar)
    return Deadline(received_on, working_days, last, left, bool(holidays))


def working_days_between(first: date, last: date, calendar: Calendar) -> int:
    """Count the working days after `first` up to `last`; negative if `last` is earlier."""
    if last < first:
        return -working_days_between(last, first, calendar)
    days = (first + timedelta(days=k) for k in range(1, (last - first).days + 1))
    return sum(is_working(day, calendar) for day in days)


# ------------------------------------------------------------------------------------------- text

_WORDS = {
    "zh": {
        "rows": "我方 {ours} 行，医保 {theirs} 行；两边都有 {both} 例，其中一致 {equal} 例",
        "strangers": "没有一个病例号两边相同：请核对病例号一栏（{}）",
        "money": "{}合计：我方 {} 元，医保 {} 元，我方减医保 {} 元",
        "no_money": "医保结果没有支付额一栏，未比较金额",
        "class": "{}：{} 例",
        "sum": "，差额 {} 元（医保多付 {}，少付 {}）",
        "silent": "未比较：{}",
        "words": "未识别的内容：{}（{}）",
        "rounded": "金额超过两位小数、四舍五入到分：{} 处",
        "totals": "合计行不计：{} 行",
        "due": "申诉截止 {}，剩余 {} 个工作日",
        "over": "申诉已于 {} 截止",
        "weekends": "（只扣除周末，未知节假日）",
    },
    "en": {
        "rows": "{ours} rows of ours, {theirs} of theirs; {both} cases on both sides, {equal} equal",
        "strangers": "no case id is on both sides: check the column of ids ({})",
        "money": "{}: ours {} yuan, theirs {} yuan, ours less theirs {} yuan",
        "no_money": "the insurer's result has no amounts: money is not compared",
        "class": "{}: {} cases",
        "sum": ", {} yuan (they pay {} more, {} less)",
        "silent": "not compared: {}",
        "words": "not understood: {} ({})",
        "rounded": "amounts finer than a fen, rounded half up: {}",
        "totals": "rows of totals left out: {}",
        "due": "appeal by {}, {} working days left",
        "over": "the time to appeal ended on {}",
        "weekends": " (weekends only, holidays are not known)",
    },
}


def summary_lines(report: Mapping[str, Any], summary: pa.Table, lang: str) -> list[str]:
    """Return the report in a few lines for a person."""
    w, is_zh, counts, money = _WORDS[lang], lang == "zh", report["counts"], report["money"]
    lines = [w["rows"].format(**counts)]
    if counts["ours"] and counts["theirs"] and not counts["both"]:
        lines.append(w["strangers"].format(report["bureau"]["columns"]["case_id"]))
    if money["basis"]:
        name = BY_NAME[money["basis"]].zh if is_zh else money["basis"]
        sums = (money["ours_fen"], money["theirs_fen"], money["difference_fen"])
        lines.append(w["money"].format(name, *map(yuan, sums)))
    else:
        lines.append(w["no_money"])
    for row in summary.to_pylist():
        line = "  " + w["class"].format(CLASSES[row["class"]][0 if is_zh else 1], row["cases"])
        if row["money_fen"] is not None:
            sums = (row["money_fen"], row["favourable_fen"], row["unfavourable_fen"])
            line += w["sum"].format(*map(yuan, sums))
        lines.append(line)
    if report["not_compared"]:
        names = (BY_NAME[n].zh if is_zh else n for n in report["not_compared"])
        lines.append(w["silent"].format("、".join(names) if is_zh else ", ".join(names)))
    for name, lost in report["bureau"]["words_not_understood"].items():
        lines.append(w["words"].format(BY_NAME[name].zh if is_zh else name, ", ".join(lost)))
    if rounded := sum(report["bureau"]["rounded_to_the_fen"].values()):
        lines.append(w["rounded"].format(rounded))
    if totals := report["bureau"]["rows_of_totals"]:
        lines.append(w["totals"].format(totals))
    if due := report["deadline"]:
        form = w["due"] if due["days_left"] >= 0 else w["over"]
        tail = "" if due["holidays_known"] else w["weekends"]
        lines.append(form.format(due["last_day"], due["days_left"]) + tail)
    return lines


# ------------------------------------------------------------------------------------------ files

_SHEETS = {"summary": "汇总", "differences": "差异", "appeal": "申诉表"}
_HEADERS = {
    "case_id": "结算流水号",
    "class": "类别代码",
    "class_zh": "差异类别",
    "cases": "例数",
    "money_fen": "差额（我方减医保）_fen",
    "favourable_fen": "医保多付_fen",
    "unfavourable_fen": "医保少付_fen",
    "fields": "不同的字段",
    "ours": "我方",
    "theirs": "医保",
    "group_ours": "我方病组",
    "group_theirs": "医保病组",
    "amount_ours_fen": "我方金额_fen",
    "amount_theirs_fen": "医保金额_fen",
    "rows_ours": "我方行数",
    "rows_theirs": "医保行数",
    "reason_zh": "理由",
    "hospital_id": "定点医药机构编号",
    "settlement_date": "结算日期",
    "settlement_month": "结算月份",
    "insurance": "险种类型",
    "group_name": "我方病组名称",
    "rule": "我方分组规则",
    "decided_by": "我方入组依据",
    "total_cost_fen": "总费用_fen",
    "patient_fen": "个人支付_fen",
    "weight_or_score": "权重或分值",
    "hospital_factor": "等级系数",
    "aux_type": "辅助目录",
    "aux_factor": "辅助目录系数",
    "benchmark_fen": "基准费用_fen",
    "ratio": "倍率",
    "band": "偏差类型",
    "final_score": "最终分值",
    "last_day": "申诉截止日",
    "days_left": "剩余工作日",
}


def write_reconciliation(
    output: Path,
    tables: Mapping[str, pa.Table],
    report: Mapping[str, Any],
    lines: Iterable[str],
    overwrite: bool,
) -> None:
    """Write a workbook (.xlsx) or a folder of Parquet and CSV; whole or not at all."""
    ending = output.suffix.casefold()
    if ending == ".xlsx":
        sheets = {_SHEETS[n]: t.rename_columns(_headers(t)) for n, t in tables.items()}
        _write_workbook({**sheets, "说明": pa.table({"说明": list(lines)})}, output)
    elif ending in (".csv", ".parquet", ".xls", ".arrow", ".json"):
        message = "a reconciliation is a workbook (.xlsx) or a folder of files"
        raise CaseFileError(message, file=output.name)
    else:
        files = {f"{name}.csv": _csv(table, name) for name, table in tables.items()}
        _writing.write_run(output, tables, report, files, overwrite=overwrite)


def _headers(table: pa.Table) -> list[str]:
    return [_HEADERS[name] for name in table.column_names]


def _write_workbook(sheets: Mapping[str, pa.Table], path: Path) -> None:
    with _writing.replacing(path) as file:
        _excel.write_sheets(sheets, file, path.name, _writing._flat)


def _csv(table: pa.Table, name: str) -> bytes:
    """Return a table as CSV."""
    file = io.BytesIO()
    _writing._write_csv(table, file, name)
    return file.getvalue()
