"""A trace, or a case before and after changes, as one page: no script, nothing from elsewhere, printable."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from grouper._explain_text import WORDS

if TYPE_CHECKING:
    from grouper._explain import RuleTrace, Trace

STYLE = """
body{font:15px/1.5 system-ui,"Noto Sans CJK SC","Microsoft YaHei",sans-serif;
  margin:1.5rem auto;max-width:64rem;padding:0 1rem;color:#1a1a1a}
h1{font-size:1.3rem} h2{font-size:1.05rem;margin:1.2rem 0 .3rem}
table{border-collapse:collapse;width:100%} th{background:#f2f4f7}
td,th{border:1px solid #ccc;padding:.2rem .5rem;text-align:left;vertical-align:top}
details{margin:.15rem 0 .15rem 1rem} summary{cursor:pointer}
.yes{color:#0a6b2d} .no{color:#8a1f11} code{font-size:.92em}
.tag{border:1px solid #999;border-radius:.3rem;padding:0 .3rem;font-size:.85em}
.two{display:grid;grid-template-columns:1fr 1fr;gap:1rem}
@media(max-width:50rem){.two{grid-template-columns:1fr}}
@media print{body{max-width:none}}
"""


def trace_page(t: Trace, lang: str) -> str:
    """Write a trace as a page in "zh" or "en"."""
    w = WORDS[lang]
    return _page(f"{w['case']} {t.case_id} · {t.group or w[t.status]}", _trace(t, w), lang)


def what_if_page(
    changes: Sequence[str],
    changed: Mapping[str, tuple[str, str]],
    traces: tuple[Trace, Trace],
    prices: Sequence[Mapping[str, Any] | None],
    lang: str,
) -> str:
    """Write a case before and after changes as a page."""
    w = WORDS[lang]
    rows = [(w.get(f, f), before, after) for f, (before, after) in changed.items()]
    if prices[0] is not None and prices[1] is not None:
        one, two = prices[0], prices[1]
        rows += [(w[n], one[n], two[n]) for n in one if one[n] or two[n]]
    body = [f"<p>{escape(w['changes'])}: <code>{escape(', '.join(changes))}</code></p>"]
    if rows:
        body.append(f"<table><tr><th></th><th>{w['before']}</th><th>{w['after']}</th></tr>")
        body += [f"<tr>{''.join(f'<td>{escape(str(c))}</td>' for c in row)}</tr>" for row in rows]
        body.append("</table>")
    else:
        body.append(f"<p>{escape(w['same'])}</p>")
    body.append('<div class="two">')
    for title, t in ((w["before"], traces[0]), (w["after"], traces[1])):
        body += [f"<section><h2>{escape(title)}</h2>", *_trace(t, w), "</section>"]
    body.append("</div>")
    return _page(f"{w['case']} {traces[0].case_id}", body, lang)


def _page(title: str, body: Sequence[str] | Iterator[str], lang: str) -> str:
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{STYLE}</style>'
    code = "zh-CN" if lang == "zh" else "en"
    text = "\n".join([f"<h1>{escape(title)}</h1>", *body])
    return (
        f'<!doctype html>\n<html lang="{code}"><head>{head}</head><body>\n{text}\n</body></html>\n'
    )


def _trace(t: Trace, w: Mapping[str, str]) -> Iterator[str]:
    where = " › ".join(x for x in (t.mdc, t.adrg, t.group) if x)
    yield f"<p><b>{escape(w[t.status])} {escape(where)}</b> {escape(t.group_name)}</p>"
    facts = [t.scheme, t.rule, t.reason, t.severity.upper(), t.treatment, t.decided_by]
    yield f"<p>{' · '.join(escape(f) for f in facts if f)}</p>"
    if meaning := w.get(f"means_{t.reason or t.status}"):
        yield f"<p>{escape(meaning)}</p>"
    yield f"<h2>{escape(w['codes'])}</h2><table>"
    for c in t.codes:
        notes = [w["unknown"]] if not c.known else []
        notes += [w["grey"]] if c.grey else []
        notes += [c.level] if c.level else []
        notes += [w["excluded"].format(c.excluded_by)] if c.excluded_by else []
        tags = " ".join(f'<span class="tag">{escape(n)}</span>' for n in notes)
        role = w.get(f"role_{c.role}", c.role)
        yield _cells(escape(role), f"<code>{escape(c.code)}</code>", f"{escape(c.name)} {tags}")
    yield "</table>"
    if t.tried:
        yield f"<h2>{escape(w['tried'])}</h2>"
        for row in t.tried:
            yield from rule_rows(row, w)
    if t.near_misses:
        yield f"<h2>{escape(w['near'])}</h2><table>"
        for n in t.near_misses:
            lands = "" if not n.changes or n.is_reached else w["still"].format(n.lands or "—")
            lacks = "<br>".join(f"<code>{escape(m)}</code>" for m in n.missing)
            example = f"<code>{escape(', '.join(n.changes))}</code> {escape(lands)}"
            yield _cells(f"<b>{escape(n.group)}</b> {escape(n.name)}", lacks, example)
        yield "</table>"


def _cells(*cells: str) -> str:
    return f"<tr>{''.join(f'<td>{c}</td>' for c in cells)}</tr>"


def rule_rows(row: RuleTrace, w: Mapping[str, str]) -> Iterator[str]:
    """Write a row that was tried, its conditions and what was tried below it, as folding HTML."""
    state, mark = ("yes", "✓") if row.holds else ("no", "✗")
    open_ = " open" if row.holds and not row.left_because else ""
    title = f"{mark} {row.code} {row.name}"
    yield f'<details{open_}><summary class="{state}">{escape(title)}</summary>'
    yield f"<p><code>{escape(row.rule or '—')}</code> [{escape(row.table)}:{row.line}]</p>"
    for a in row.conditions:
        seen = f": {', '.join(a.seen)}" if a.seen else ""
        kind = "yes" if a.holds else "no"
        said = w["holds"] if a.holds else w["fails"]
        yield f'<div class="{kind}"><code>{escape(a.condition)}</code> {escape(said + seen)}</div>'
    for child in row.children:
        yield from rule_rows(child, w)
    yield "</details>"
