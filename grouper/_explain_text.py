"""A trace as text for a person, in Chinese or English."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from grouper._explain import RuleTrace, Trace

_WORDS = {
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
    },
}


def trace_lines(t: Trace, lang: str) -> Iterator[str]:
    """Yield the lines of a trace in "zh" or "en"."""
    w = _WORDS[lang]
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
    if t.next_groups:
        yield f"{w['next']}:"
    for n in t.next_groups:
        why = f"{w['lacks']} {n.missing}" if n.missing else w["late"]
        yield f"  {n.group} {n.name} ({n.rule}): {why}"


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
