"""Tables of a report about money: pools, months, hospitals, the proof of conservation, the manifest.

They are the run's own rows and the manifest's own proof, laid side by side: what a report adds up must be
what the run told, and the table of ties says for each sum whether it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from grouper._audit_facts import CARVE_OUT, Facts
from grouper._report_cases import Cases
from grouper._report_tables import (
    Figure,
    ReportTable,
    Row,
    added,
    count,
    key,
    mean,
    money,
    quotient,
    share,
    table,
)
from grouper._report_words import COLOURS, LINES, STATES, STATUS

_UNIT = (
    key("pool_id", "资金池", "pool"),
    key("line", "项目线", "line", LINES),
    key("period", "期间", "period"),
)


def summary(facts: Facts, cases: Cases) -> ReportTable:
    """Lay out the figures of the first page: one row."""
    whole, proof = cases.whole, facts.run.manifest.get("proof", [])
    grouped = next((r["cases"] for r in cases.by("status") if r["status"] == "grouped"), 0)
    groups = {r["group"] for r in cases.by("group")} - {""}
    hospitals = {r["hospital_id"] for r in cases.by("hospital_id")}
    row = {
        **whole,
        "grouped": grouped,
        "outliers": whole["low"] + whole["high"],
        "hospitals": len(hospitals),
        "groups": len(groups),
        "fund_fen": added(p.get("fund_fen") for p in proof) or 0,
        "paid_fen": added(p.get("pay_fen") for p in proof) or 0,
        "payable_fen": added(r.get("payable_fen") for r in facts.pools),
        "to_pay_fen": added(r.get("to_pay_fen") for r in facts.hospitals),
    }
    row["balance_fen"] = row["paid_fen"] - whole["booked_fund_fen"]
    if not whole["costed"]:
        row["cost_fen"] = None
    weight = ("次均分值", "mean score") if cases.is_dip else ("平均权重", "mean weight")
    columns = [
        count("cases", "病例数", "cases"),
        share("grouped_share", "入组率", "grouped", "grouped", "cases"),
        count("hospitals", "医疗机构数", "hospitals"),
        count("groups", "病组数", "groups"),
        quotient("mean_weight", *weight, "weight", "weighed", times=cases.weight_unit),
        money("cost_fen", "总费用", "cost", kept=False),
        mean("mean_cost_fen", "次均费用", "mean cost", "cost_fen", "costed"),
        share("outlier_share", "费用偏差病例", "outliers", "outliers", "cases"),
        money("fund_fen", "基金", "fund"),
        money("booked_fund_fen", "记账费用", "booked fund"),
        money("paid_fen", "支付额", "pay"),
        money("balance_fen", "支付额 − 记账", "pay − booked"),
        money("payable_fen", "应付含分录", "payable with entries", kept=False),
        money("to_pay_fen", "清算应付", "still to pay", kept=False),
    ]
    return table("summary", "概要", "At a glance", columns, [row])


def pools(facts: Facts) -> ReportTable:
    """Lay out each pool and line: fund, payment, balance, point value."""
    rows = [r | {"value": _decimal(r.get("point_value"))} for r in facts.pools]
    columns = [
        *_UNIT,
        count("cases", "病例数", "cases"),
        money("cost_fen", "总费用", "cost", kept=False),
        money("booked_fund_fen", "记账费用", "booked fund", kept=False),
        money("fund_fen", "基金", "fund"),
        _point_value("value", facts),
        money("pay_fen", "支付额", "pay"),
        money("balance_fen", "差额", "balance"),
        money("entries_fen", "分录", "entries", kept=False),
        money("payable_fen", "应付", "payable", kept=False),
    ]
    return table("pools", "基金与支付", "Funds and payments", columns, rows, _point_note(facts))


def _point_value(name: str, facts: Facts) -> Figure:
    """Make the column of point values: yuan per point; under a floating rate, per yuan of claim."""
    texts = ("点值（元）", "point value, yuan") if facts.by_points else ("浮动系数", "float factor")
    return Figure(name, texts[0], "number", texts[1], kept=False)


def _point_note(facts: Facts) -> tuple[str, str]:
    if facts.by_points:
        return (
            "点值 = 可分配金额 ÷ 总点数（分值）；基金 + 补零 = 支付 + 差额 + 未分配。",
            "Point value = what is shared out ÷ all points; fund + floor"
            " draw = pay + balance + undistributed.",
        )
    return (
        "费率法：支付按费率与权重计算；差额 = 基金 − 支付。",
        "Rate method: payment by rate and weight; balance = fund − pay.",
    )


def _decimal(text: Any) -> Decimal | None:
    """Read a decimal as it stands; blank is None."""
    return None if text in (None, "") else Decimal(str(text))


def months(facts: Facts, cases: Cases) -> ReportTable:
    """Lay out each pool's months: its cases with what they are paid, and what was settled for the month."""
    told = {(r["pool_id"], r["month"]): r for r in facts.rows("months")}
    held = {(r["pool_id"], r["month"]): r for r in cases.by("pool_id", "month")}
    rows = []
    for pool, month in sorted(told.keys() | held.keys(), key=lambda k: (k[1], k[0].encode())):
        mine, settled = held.get((pool, month), {}), told.get((pool, month), {})
        rows.append(
            {
                "month": month,
                "pool_id": pool,
                **{n: mine.get(n, 0) for n in ("cases", "cost_fen", "booked_fund_fen", "pay_fen")},
                "fund_fen": settled.get("fund_fen"),
                "value": _decimal(settled.get("point_value")),
                "month_pay_fen": settled.get("pay_fen"),
                "balance_fen": settled.get("balance_fen"),
                "state": settled.get("state"),
                "pace": settled.get("pace_ratio"),
                "colour": settled.get("colour"),
            }
        )
    columns = [
        key("month", "月份", "month"),
        key("pool_id", "资金池", "pool"),
        count("cases", "病例数", "cases"),
        money("cost_fen", "总费用", "cost", kept=False),
        money("booked_fund_fen", "记账费用", "booked fund", kept=False),
        money("fund_fen", "月度基金", "fund of the month", kept=False),
        _point_value("value", facts),
        money("month_pay_fen", "月度支付额", "pay of the month", kept=False),
        money("balance_fen", "月度差额", "balance", kept=False),
        money("pay_fen", "本次结算支付额", "pay by this run"),
        key("state", "状态", "state", STATES, kept=False),
        Figure("pace", "进度比", "number", "pace", kept=False),
        key("colour", "预警", "warning", COLOURS, kept=False),
    ]
    note = (
        "月度各列为月预结算时的基金、点值与支付额；本次结算支付额为本次运行对该月病例的支付额，"
        "不含基金外的除外支付。",
        "Columns of the month: as it was pre-settled. Pay by this run:"
        " what this run pays for the month's cases,"
        " without carve-outs that are paid outside the fund.",
    )
    return table(
        "months", "按月基金与点值", "Fund and point value by month", columns, rows, note, most=60
    )


def hospitals(facts: Facts, cases: Cases) -> list[ReportTable]:
    """Lay out each hospital: cases, cost, payment and balance; then what is payable and still to pay."""
    names = (
        "pay_fen",
        "entries_fen",
        "payable_fen",
        "paid_monthly_fen",
        "prepayment_fen",
        "to_pay_fen",
    )
    found: dict[str, Row] = {}
    for r in facts.hospitals:
        mine = found.setdefault(
            r["hospital_id"] or "", {"level": r.get("hospital_level"), **dict.fromkeys(names, 0)}
        )
        for n in names:
            mine[n] += r.get(n) or 0
    held = {r["hospital_id"]: r for r in cases.by("hospital_id")}
    rows = []
    for hospital in found.keys() | held.keys():
        case = held.get(hospital, {})
        sums = {n: case.get(n) or 0 for n in ("cases", "cost_fen", "costed", "booked_fund_fen")}
        row = {
            "hospital_id": hospital,
            "level": "",
            **dict.fromkeys(names, 0),
            **found.get(hospital, {}),
            **sums,
        }
        row["own_balance_fen"] = row["pay_fen"] - row["booked_fund_fen"]
        rows.append(row)
    rows.sort(key=lambda r: (-r["pay_fen"], r["hospital_id"].encode()))
    columns = [
        key("hospital_id", "医疗机构", "hospital"),
        key("level", "等级", "level", kept=False),
        count("cases", "病例数", "cases"),
        money("cost_fen", "总费用", "cost", kept=False),
        mean("mean_cost_fen", "次均费用", "mean cost", "cost_fen", "costed"),
        money("booked_fund_fen", "记账费用", "booked fund"),
        money("pay_fen", "支付额", "pay"),
        money("own_balance_fen", "支付额 − 记账", "pay − booked"),
        share("pay_ratio", "支付率", "pay ÷ booked", "pay_fen", "booked_fund_fen"),
    ]
    owed = [
        key("hospital_id", "医疗机构", "hospital"),
        money("pay_fen", "支付额", "pay"),
        money("entries_fen", "分录", "entries", kept=False),
        money("payable_fen", "应付", "payable", kept=False),
        money("paid_monthly_fen", "已月付", "paid monthly", kept=False),
        money("prepayment_fen", "预付金冲抵", "prepaid", kept=False),
        money("to_pay_fen", "清算应付", "still to pay", kept=False),
    ]
    note = (
        "支付额 − 记账：基金按病组应付与按项目记账之差，正为结余，负为亏损；"
        "病例、费用、记账取自病例，支付额含各项目线。",
        "Pay − booked: what the fund owes by groups less what was booked"
        " by the fee schedule; above 0 the hospital"
        " gains. Cases, cost and booked fund are those of the cases; pay is that of all lines.",
    )
    cash = (
        "应付 = 支付额 + 分录（考核、扣款、超支分担等）；清算应付 = 应付 − 已月付 − 预付金冲抵。",
        "Payable = pay + entries (assessment, deductions, shared overspend"
        " …); still to pay = payable − paid"
        " monthly − prepaid.",
    )
    return [
        table(
            "hospitals",
            "医疗机构支付与结余",
            "Payments and balance by hospital",
            columns,
            rows,
            note,
            ["costed"],
        ),
        table("payable", "医疗机构应付与清算", "Payable and cash by hospital", owed, rows, cash),
    ]


# -------------------------------------------------------------------------------------------- proof

_IDENTITY = ("fund_fen", "floor_draw_fen", "pay_fen", "balance_fen", "undistributed_fen")
_CLOSES = {"ties": ("相符 ✓", "ties ✓"), "differs": ("不符 ✗", "differs ✗")}


def proof(facts: Facts) -> ReportTable:
    """Lay out the identity of each pool and line, worked out here once more."""
    rows = []
    for told in facts.run.manifest.get("proof", []):
        fund, drawn, pay, balance, undistributed = (told.get(n) or 0 for n in _IDENTITY)
        left = fund + drawn - pay - balance - undistributed
        rows.append({**told, "left_fen": left, "state": _state(left)})
    columns = [
        *_UNIT,
        money("fund_fen", "基金", "fund"),
        money("floor_draw_fen", "+ 补零", "+ floor draw"),
        money("pay_fen", "= 支付额", "= pay"),
        money("balance_fen", "+ 差额", "+ balance"),
        money("undistributed_fen", "+ 未分配", "+ undistributed"),
        money("left_fen", "两边之差", "left over"),
        key("state", "核对", "state", _CLOSES),
    ]
    note = (
        "基金 + 补零 = 支付额 + 差额 + 未分配，每个资金池分毫不差；按清单所载数字重算。",
        "fund + floor draw = pay + balance + undistributed in every pool, to"
        " the fen; worked out again from the manifest.",
    )
    return table("proof", "收支相符证明", "Proof of conservation", columns, rows, note)


_RIGHT = (
    ("payable_fen", "应付", "payable"),
    ("undistributed_fen", "未分配", "undistributed"),
    ("withheld_fen", "扣留", "withheld"),
    ("next_year_fen", "结转下年", "next year"),
    ("balance_fen", "差额", "balance"),
    ("outside_fen", "基金外", "outside"),
    ("reserve_kept_fen", "留存风险金", "reserve kept"),
)


def accrual(facts: Facts) -> ReportTable:
    """Lay out the accrual identity of each pool and line."""
    rows = []
    for told in facts.run.manifest.get("proof", []):
        terms = dict(told.get("accrual") or {})
        if not terms:
            continue
        terms["withheld_fen"] = sum(v for n, v in terms.items() if n.startswith("withheld_"))
        left = (
            terms.get("budget_fen", 0)
            + terms.get("drawn_fen", 0)
            - sum(terms.get(n, 0) for n, _, _ in _RIGHT)
        )
        unit = {n: told.get(n) for n in ("pool_id", "line", "period")}
        rows.append({**unit, **terms, "left_fen": left, "state": _state(left)})
    columns = [
        *_UNIT,
        money("budget_fen", "预算", "budget"),
        money("drawn_fen", "+ 动用", "+ drawn"),
        *(
            money(n, f"{'+' if k else '='} {zh}", f"{'+' if k else '='} {en}")
            for k, (n, zh, en) in enumerate(_RIGHT)
        ),
        money("left_fen", "两边之差", "left over"),
        key("state", "核对", "state", _CLOSES),
    ]
    note = (
        "权责发生制恒等式：预算 + 动用 = 应付 + 未分配 + 扣留 +"
        " 结转下年 + 差额 + 基金外 + 留存风险金。",
        "Accrual identity: budget + drawn = payable + undistributed +"
        " withheld + next year + balance + outside +"
        " reserve kept.",
    )
    return table("accrual", "权责发生制恒等式", "Accrual identity", columns, rows, note)


def ties(facts: Facts, cases: Cases) -> ReportTable:
    """Hold the sums of this report against what the run tells of them."""
    manifest = facts.run.manifest
    counted = (manifest.get("settled") or {}).get("cases", manifest.get("cases"))
    units = [r for r in facts.pools if r["line"] != CARVE_OUT]
    rows: list[Row] = []
    words: dict[str, tuple[str, str]] = {}

    def tie(zh: str, en: str, ours: int, told: Any, is_money: bool) -> None:
        words[en] = (zh, en)
        names = ("ours_fen", "told_fen") if is_money else ("ours", "told")
        state = _state(ours - (told or 0))
        rows.append({"what": en, names[0]: ours, names[1]: told or 0, "state": state})

    tie("病例数：病例 = 清单", "cases: case by case = manifest", len(cases.table), counted, False)
    for status, n in (manifest.get("status") or {}).items():
        ours = next((r["cases"] for r in cases.by("status") if r["status"] == status), 0)
        if len(cases.table) == manifest.get("cases"):
            zh, en = STATUS.get(status, (status, status))
            tie(f"病例数：{zh}", f"cases: {en}", ours, n, False)
    pay = added(r["pay_fen"] for r in units) or 0
    tie("支付额：病例 = 资金池", "pay: cases = pools", cases.whole["pay_fen"], pay, True)
    for told in manifest.get("proof", []):
        unit = [told.get(n) for n in ("pool_id", "line", "period")]
        mine = [r for r in facts.hospitals if [r["pool_id"], r["line"], r.get("period")] == unit]
        name = " ".join(str(u) for u in unit[:2])
        ours = added(r["pay_fen"] for r in mine) or 0
        tie(
            f"支付额：医疗机构 = 清单，{name}",
            f"pay: hospitals = manifest, {name}",
            ours,
            told["pay_fen"],
            True,
        )
    columns = [
        key("what", "核对项", "what", words),
        Figure("ours", "本报告", "whole", "this report", kept=False),
        Figure("told", "运行所载", "whole", "the run tells", kept=False),
        Figure("ours_fen", "本报告（元）", "money", "this report, yuan", kept=False),
        Figure("told_fen", "运行所载（元）", "money", "the run tells, yuan", kept=False),
        key("state", "核对", "state", _CLOSES),
    ]
    return table("ties", "合计核对", "Sums of this report against the run", columns, rows)


def _state(left: int) -> str:
    return "differs" if left else "ties"


# ----------------------------------------------------------------------------------------- manifest

_LEFT_OUT = (
    "proof",
    "deadlines",
    "faulty_rows",
    "ignored_columns",
    "warnings",
    "status",
    "reasons",
)
_LONGEST = 40


def manifest(facts: Facts) -> ReportTable:
    """Lay out the manifest, one line a fact; lists of rows, and what has its own table, are left out."""
    told = {k: v for k, v in facts.run.manifest.items() if k not in _LEFT_OUT}
    told["rows"] = {k: v for k, v in (told.get("rows") or {}).items() if not k.startswith("by_")}
    rows = [{"item": name, "value": value} for name, value in _flat("", told)]
    columns = [key("item", "项目", "item"), key("value", "内容", "value")]
    note = (
        "逐行、逐机构的清单与已另列各表的内容从略；全文见运行文件夹中的 manifest.json。",
        "Lists by row and hospital, and what has a table above, are left out;"
        " all of it is in manifest.json of the run.",
    )
    return table("manifest", "运行清单", "Manifest", columns, rows, note, most=10_000)


def _flat(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """Walk through objects and lists; a long list is counted."""
    inner: Mapping[str, Any] | None = None
    if isinstance(value, Mapping):
        inner = value
    elif isinstance(value, list) and 0 < len(value) <= _LONGEST:
        if not any(isinstance(v, (Mapping, list)) for v in value):
            yield name, ", ".join(map(str, value))
            return
        inner = {str(k + 1): v for k, v in enumerate(value)}
    if inner:
        for k in sorted(inner):
            yield from _flat(f"{name}.{k}" if name else k, inner[k])
    elif value not in (None, "", [], {}):
        yield name, f"{len(value)} …" if isinstance(value, list) else str(value)
