"""A trace as text for a person, in Chinese or English."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from grouper._explain import RuleTrace, Trace
    from grouper._near import NearMiss

WORDS = {
    "zh": {
        "case": "病例",
        "result": "结果",
        "codes": "编码",
        "tried": "依次尝试",
        "next": "之后的病组",
        "holds": "成立",
        "fails": "不成立",
        "unknown": "未知编码",
        "grey": "灰码",
        "excluded": "被排除表 {} 排除",
        "read_as": "读作",
        "late": "条件成立，但排在后面",
        "lacks": "缺少",
        "retry": "以其他手术单独重试",
        "grouped": "入组",
        "ambiguous": "歧义",
        "ungrouped": "未入组",
        "rejected": "拒绝",
        "none_of": "其下无一成立",
        "main": "主要手术操作",
        "treatment": "治疗方式",
        "class": "类别",
        "decided": "由 {} 决定",
        "subtype": "辅助目录",
        "near": "临近病组（按所缺事实由少到多）",
        "still": "改动后仍入 {}",
        "lands": "例如",
        "role_principal": "主要",
        "role_other": "其他",
        "means_duplicate_case_id": "流水号重复：同号各行均拒绝，请改为唯一",
        "means_input_unreadable": "缺流水号，或有无法读取的单元格",
        "means_no_principal_diagnosis": "缺主要诊断：第一个诊断为空",
        "means_two_principal_diagnoses": "有两个西医主要诊断，只留一个",
        "means_sex_unreadable": "性别无法读取：应为 1、2（0、9 为未知）",
        "means_age_unreadable": "年龄无法读取：应为 0 至 150 的整岁",
        "means_age_days_missing": "不足 1 岁而无天龄",
        "means_discharge_before_admission": "出院早于入院",
        "means_unknown_principal": "主要诊断既不在方案各表，也不在其编码库",
        "means_no_edition": "当日无采用的分组方案，或日期为空",
        "means_unknown_coding": "编码版本既非医保版也非国临版",
        "means_no_mdc": "不符合任何主要诊断大类",
        "means_no_adrg": "符合大类，但其下无核心病组成立",
        "means_no_drg": "符合核心病组，但其下无细分组成立",
        "means_excluded_principal": "主要诊断在不纳入分组的名单上",
        "means_no_group": "目录中无病种成立",
        "means_remainder": "符合该大类，但不符合其任何病组：落入剩余组，未入组",
        "means_ambiguous": "歧义组：有效手术操作与主要诊断所属大类的病组均不相符",
        "means_grey_principal": "主要诊断为灰码，按方案选项不入组",
        "changes": "改动",
        "same": "结果不变",
        "before": "改动前",
        "after": "改动后",
        "status": "状态",
        "reason": "原因",
        "mdc": "主要诊断大类",
        "adrg": "ADRG",
        "group": "病组",
        "group_name": "病组名称",
        "severity": "并发症级别",
        "rule": "规则",
        "paid_as": "按此支付",
        "weight": "权重",
        "coefficient": "系数",
        "score": "分值",
        "standard": "支付标准（元）",
        "low_edge": "低倍率界值（元）",
        "high_edge": "高倍率界值（元）",
        "note": "说明",
    },
    "en": {
        "case": "Case",
        "result": "Result",
        "codes": "Codes",
        "tried": "Tried in order",
        "next": "Groups further on",
        "holds": "holds",
        "fails": "fails",
        "unknown": "unknown code",
        "grey": "grey code",
        "excluded": "excluded by table {}",
        "read_as": "read as",
        "late": "holds, but comes later",
        "lacks": "lacks",
        "retry": "tried again with this procedure alone",
        "grouped": "grouped",
        "ambiguous": "ambiguous",
        "ungrouped": "ungrouped",
        "rejected": "rejected",
        "none_of": "none below it holds",
        "main": "main procedure",
        "treatment": "treatment",
        "class": "class",
        "decided": "decided by {}",
        "subtype": "auxiliary type",
        "near": "Near misses, those that lack least first",
        "still": "with these changes {} still wins",
        "lands": "for example",
        "role_principal": "principal",
        "role_other": "other",
        "means_duplicate_case_id": "its case_id stands more than once: all are rejected; make it unique",
        "means_input_unreadable": "no case_id, or a cell that cannot be read",
        "means_no_principal_diagnosis": "the first diagnosis is missing",
        "means_two_principal_diagnoses": "two Western diagnoses are flagged principal; keep one",
        "means_sex_unreadable": "sex is not 1 or 2 (0 and 9: unknown)",
        "means_age_unreadable": "age is not a whole number from 0 to 150",
        "means_age_days_missing": "age 0 needs the age in days",
        "means_discharge_before_admission": "the discharge is before the admission",
        "means_unknown_principal": "the principal diagnosis is in no table of the scheme nor in its codes",
        "means_no_edition": "no scheme is adopted on the day of the case, or it has none",
        "means_unknown_coding": "code_edition is neither insurer nor clinical",
        "means_no_mdc": "no MDC takes the case",
        "means_no_adrg": "an MDC takes the case and none of its ADRGs does",
        "means_no_drg": "an ADRG takes the case and none of its DRGs does",
        "means_excluded_principal": "the principal diagnosis is on the list of those that are not grouped",
        "means_no_group": "no group of the catalogue holds",
        "means_remainder": "the MDC takes the case and none of its groups does: it remains, ungrouped",
        "means_ambiguous": "a valid operation that fits no group of the MDC of the principal diagnosis",
        "means_grey_principal": "the principal diagnosis is a grey code, which this scheme does not group",
        "changes": "Changes",
        "same": "the answer is the same",
        "before": "Before",
        "after": "After",
        "status": "status",
        "reason": "reason",
        "mdc": "MDC",
        "adrg": "ADRG",
        "group": "group",
        "group_name": "name",
        "severity": "severity",
        "rule": "rule",
        "paid_as": "paid as",
        "weight": "weight",
        "coefficient": "coefficient",
        "score": "score",
        "standard": "standard, yuan",
        "low_edge": "low edge, yuan",
        "high_edge": "high edge, yuan",
        "note": "note",
    },
}


def trace_lines(t: Trace, lang: str) -> Iterator[str]:
    """Yield the lines of a trace in "zh" or "en"."""
    w = WORDS[lang]
    yield f"{w['case']} {t.case_id} · {t.scheme}"
    where = " › ".join(x for x in (t.mdc, t.adrg, t.group) if x)
    extra = " · ".join(x for x in (t.reason, t.group_name, t.severity.upper(), t.rule) if x)
    yield f"{w['result']}: {w[t.status]} {where} {extra}".rstrip()
    more = [f"{w['class']} {t.group_class}"] if t.group_class else []
    more += [f"{w['main']} {t.main_procedure or '—'}"] if t.treatment else []
    more += [f"{w['treatment']} {t.treatment}"] if t.treatment else []
    more += [w["decided"].format(t.decided_by)] if t.decided_by else []
    more += [f"{w['subtype']} {t.aux_type} × {t.aux_factor}"] if t.aux_type else []
    if more:
        yield "  " + " · ".join(more)
    if meaning := w.get(f"means_{t.reason or t.status}"):
        yield f"  {meaning}"
    yield f"{w['codes']}:"
    for c in t.codes:
        notes = [f"{w['read_as']} {c.code}"] if c.given != c.code else []
        notes += [] if c.known else [w["unknown"]]
        notes += [w["grey"]] if c.grey else []
        notes += [c.level] if c.level else []
        notes += [w["excluded"].format(c.excluded_by)] if c.excluded_by else []
        yield f"  {c.role:9} {c.given} {c.name} {'; '.join(notes)}".rstrip()
    if t.retried_with:
        yield f"{w['retry']}: {t.retried_with}"
    if t.tried:
        yield f"{w['tried']}:"
    for row in t.tried:
        yield from _tried(row, w, 1)
    if t.near_misses:
        yield f"{w['near']}:"
    for near in t.near_misses:
        yield f"  {_near(near, w)}"
    if t.next_groups:
        yield f"{w['next']}:"
    for n in t.next_groups:
        why = f"{w['lacks']} {n.missing}" if n.missing else w["late"]
        yield f"  {n.group} {n.name} ({n.rule}): {why}"


def _near(n: NearMiss, w: Mapping[str, str]) -> str:
    """Write a near miss: what it lacks, an example of changes, where they land."""
    text = f"{n.group} {n.name} ({n.rule}): {w['lacks']} {'; '.join(n.missing)}"
    if n.changes:
        text += f" · {w['lands']} {', '.join(n.changes)}"
        text += "" if n.is_reached else f" ({w['still'].format(n.lands or '—')})"
    return text


def _tried(row: RuleTrace, w: Mapping[str, str], depth: int) -> Iterator[str]:
    mark = "✓" if row.holds else "✗"
    left = f" ({w['none_of']})" if row.holds and row.left_because else ""
    yield f"{'  ' * depth}{mark} {row.code} {row.name} [{row.table}:{row.line}]{left}"
    lacking = [atom for atom in row.conditions if not atom.holds][:1]
    for atom in row.conditions if row.holds else lacking:
        if atom.seen or not row.holds:
            state = w["holds"] if atom.holds else w["fails"]
            seen = f": {', '.join(atom.seen)}" if atom.seen else ""
            yield f"{'  ' * (depth + 1)}{atom.condition} {state}{seen}"
    for child in row.children:
        yield from _tried(child, w, depth + 1)
