"""A report as one page: no script, nothing from elsewhere, readable on paper and on narrow screens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any, Literal

from grouper._audit_book import word
from grouper._report_plots import FONTS, Plot, columns_of, draw
from grouper._report_tables import Figure, Report, ReportTable, Row, Section
from grouper._report_words import ABOUT, KINDS, STATES
from grouper._writing import replace_file
from grouper._yuan import yuan

STYLE = (
    f":root{{--fonts:{FONTS}}}"
    + """
:root{--ink:#1d2733;--soft:#5a6673;--line:#d9dee4;--head:#f3f6f9;--main:#2f5f98}
*{box-sizing:border-box}
body{font:15px/1.55 var(--fonts);margin:0 auto;max-width:80rem;padding:1.6rem 1.6rem 3rem;color:var(--ink);
  background:#fff}
header{border-bottom:3px solid var(--main);padding-bottom:.9rem}
h1{font-size:1.7rem;line-height:1.25;margin:0 0 .3rem}
h2{font-size:1.25rem;margin:2.4rem 0 .6rem;padding-bottom:.25rem;border-bottom:1px solid var(--line)}
header p{margin:.15rem 0;color:var(--soft)} header b{color:var(--ink)}
code{font:.86em ui-monospace,Consolas,Menlo,monospace;overflow-wrap:anywhere}
.badge{border:1px solid var(--main);color:var(--main);border-radius:1rem;
  padding:.05rem .6rem;font-size:.85rem;
  white-space:nowrap}
.badge.bad{border-color:#b23a3a;color:#b23a3a} .badge.good{border-color:#2c7a4b;color:#2c7a4b}
nav{margin:.8rem 0 0;font-size:.92rem} nav a{color:var(--main);text-decoration:none;margin-right:1.1rem}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(11.5rem,1fr));gap:.7rem;margin:0}
.cards div{background:var(--head);border-radius:.4rem;padding:.55rem .8rem}
.cards dt{color:var(--soft);font-size:.85rem}
.cards dd{margin:0;font-size:1.18rem;font-weight:600;
  font-variant-numeric:tabular-nums;overflow-wrap:anywhere}
figure{margin:1rem 0 1.4rem;break-inside:avoid}
figure svg{display:block;width:100%;max-width:60rem;height:auto;margin:auto}
figcaption{font-weight:600;margin-bottom:.2rem}
.wide{overflow-x:auto;margin:.8rem 0 .3rem}
table{border-collapse:collapse;width:100%;font-size:.84rem;font-variant-numeric:tabular-nums}
caption{text-align:left;font-weight:600;font-size:1rem;padding:.2rem 0 .35rem}
th,td{border-bottom:1px solid var(--line);padding:.26rem .38rem;
  text-align:left;vertical-align:top;white-space:nowrap}
.long{white-space:normal;min-width:12rem} .mid,thead th{white-space:normal}
.mid{min-width:6.4rem}
details summary{cursor:pointer;color:var(--main);margin:.5rem 0}
thead th{background:var(--head);border-bottom:1.5px solid #aeb8c2;vertical-align:bottom}
tbody th{font-weight:500} .n{text-align:right}
tr.sum th,tr.sum td{font-weight:700;border-top:1.5px solid #aeb8c2}
tr.rest th,tr.rest td{color:var(--soft);font-style:italic}
td.minus{color:#b23a3a} td.differs{color:#fff;background:#b23a3a}
.note{color:var(--soft);font-size:.86rem;margin:.2rem 0 1rem;max-width:64rem}
#manifest td,#manifest th{overflow-wrap:anywhere} #manifest th{width:32%}
footer{margin-top:2.5rem;border-top:1px solid var(--line);padding-top:.6rem;
  color:var(--soft);font-size:.85rem}
@media(max-width:40rem){body{padding:1rem .8rem} h1{font-size:1.3rem} nav a{display:inline-block}}
@page{size:A4 landscape;margin:12mm}
@media print{body{max-width:none;padding:0;font-size:10pt} nav{display:none} table{font-size:8pt}
  .wide{overflow:visible} figure svg{max-width:44rem} h2{break-after:avoid} caption{break-after:avoid}
  tr{break-inside:avoid}
  thead{display:table-header-group} .cards{grid-template-columns:repeat(5,1fr)}
  .cards div,thead th{print-color-adjust:exact} th,td{padding:.14rem .35rem}}
"""
)
POLICY = "default-src 'none'; style-src 'unsafe-inline'"

LONG = 36
"""Columns of a text that may take more than one line; of half as many it may where it is narrow."""

Lang = Literal["zh", "en"]


def write_page(report: Report, path: Path, lang: Lang) -> None:
    """Write a report as a page, whole or not at all; the same bytes for the same run.

    Raises
    ------
    CaseFileError : matplotlib is not installed, or the disk refuses.
    """
    replace_file(path, page(report, draw(report, lang), lang))


def page(report: Report, plots: Mapping[str, Plot], lang: Lang) -> str:
    """Lay out a report as a page."""
    title = f"{report.about.get('title', '')} {word(lang, *report.name)}".strip()
    code = "zh-CN" if lang == "zh" else "en"
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f"<title>{escape(title)}</title><style>{STYLE}</style>"
    )
    sections = [s for s in report.sections if any(t.rows for t in s.tables)]
    body = [*_header(report, title, sections, lang)]
    for section in sections:
        body += _section(section, plots, lang)
    body += _footer(report, lang)
    text = "\n".join(body)
    return (
        f'<!doctype html>\n<html lang="{code}"><head>{head}</head><body>\n{text}\n</body></html>\n'
    )


def _header(report: Report, title: str, sections: list[Section], lang: Lang) -> Iterator[str]:
    about = report.about
    status = about.get("status", "")
    said = [
        word(lang, *KINDS[about["kind"]]) if about.get("kind") in KINDS else about.get("kind", ""),
        about.get("period", "").replace("/", " – "),
    ]
    yield f"<header><h1>{escape(title)}</h1>"
    badges = (
        [f'<span class="badge">{escape(word(lang, *STATES.get(status, (status, status))))}</span>']
        if status
        else []
    )
    if "proof" in report.tables:
        badges.append(_proved(report, lang))
    yield f"<p><b>{escape(' · '.join(s for s in said if s))}</b> {' '.join(badges)}</p>"
    facts = [(n, about[n]) for n in ("policy", "standing", "scheme") if n in about]
    yield f"<p>{' · '.join(f'{escape(word(lang, *ABOUT[n]))} {escape(v)}' for n, v in facts)}</p>"
    links = (f'<a href="#{s.name}">{escape(word(lang, *s.title))}</a>' for s in sections)
    yield f'<nav aria-label="{word(lang, "目录", "contents")}">{"".join(links)}</nav></header>'


def _proved(report: Report, lang: Lang) -> str:
    """Say at the top whether every identity closes and every sum ties."""
    states = [r["state"] for n in ("proof", "accrual", "ties") for r in report.tables[n].rows]
    if all(s == "ties" for s in states):
        text = word(lang, f"{len(states)} 项核对全部相符", f"all {len(states)} checks tie")
        return f'<span class="badge good">✓ {text}</span>'
    wrong = sum(s != "ties" for s in states)
    text = word(lang, f"{wrong} 项核对不符", f"{wrong} of {len(states)} checks differ")
    return f'<span class="badge bad">✗ {text}</span>'


def _section(section: Section, plots: Mapping[str, Plot], lang: Lang) -> Iterator[str]:
    yield f'<section id="{section.name}"><h2>{escape(word(lang, *section.title))}</h2>'
    for name in section.plots:
        if name in plots:
            plot = plots[name]
            yield f'<figure aria-label="{escape(plot.title)}"><figcaption>{escape(plot.title)}</figcaption>'
            yield f"{plot.svg}</figure>"
    for t in section.tables:
        if section.name == "glance":
            yield from _cards(t, lang)
        elif t.rows and section.name == "spread":
            yield f"<details><summary>{escape(word(lang, *t.title))}</summary>"
            yield from _table(t, lang)
            yield "</details>"
        elif t.rows:
            yield from _table(t, lang)
    yield "</section>"


def _cards(t: ReportTable, lang: Lang) -> Iterator[str]:
    yield '<dl class="cards">'
    for c in t.columns:
        text = _text(c, t.rows[0].get(c.name), lang)
        unit = word(lang, "（元）", ", yuan") if c.kind == "money" else ""
        yield f"<div><dt>{escape(c.label(lang) + unit)}</dt><dd>{escape(text)}</dd></div>"
    yield "</dl>"


def _table(t: ReportTable, lang: Lang) -> Iterator[str]:
    title = word(lang, *t.title)
    unit = word(lang, "（元）", " (yuan)") if any(c.kind == "money" for c in t.columns) else ""
    yield f'<div class="wide" tabindex="0" role="region" aria-label="{escape(title)}"><table>'
    yield f"<caption>{escape(title + unit)}</caption><thead><tr>"
    yield "".join(f'<th scope="col"{_side(c)}>{escape(c.label(lang))}</th>' for c in t.columns)
    yield "</tr></thead><tbody>"
    rows, left, rest = t.head()
    for row in rows:
        yield _row(t, row, lang)
    if left:
        more = word(lang, f"其余 {left:,} 行", f"{left:,} more")
        yield _row(t, rest, lang, more, "rest")
    if t.has_total:
        yield _row(t, t.total, lang, word(lang, "合计", "total"), "sum")
    yield "</tbody></table></div>"
    if note := word(lang, *t.note):
        yield f'<p class="note">{escape(note)}</p>'


def _row(t: ReportTable, row: Row, lang: Lang, name: str = "", kind: str = "") -> str:
    first, *others = t.columns
    head = name or _text(first, row.get(first.name), lang)
    cells = [f'<th scope="row"{_side(first, head)}>{escape(head)}</th>']
    for c in others:
        value = row.get(c.name)
        text = "" if name and value is None else _text(c, value, lang)
        cells.append(f"<td{_side(c, value)}>{escape(text)}</td>")
    return f"<tr{f' class={kind!r}' if kind else ''}>{''.join(cells)}</tr>"


def _side(c: Figure, value: Any = None) -> str:
    """Set figures to the right, losses and what does not tie in red."""
    classes = ["n"] if c.kind != "text" else _width(str(value or ""))
    if c.kind == "money" and isinstance(value, int) and value < 0:
        classes.append("minus")
    if value == "differs":
        classes.append("differs")
    return f' class="{" ".join(classes)}"' if classes else ""


def _width(text: str) -> list[str]:
    """Let a text of many signs take more than one line."""
    columns = columns_of(text)
    return ["long"] if columns > LONG else ["mid"] if columns > LONG // 2 else []


def _text(c: Figure, value: Any, lang: Lang) -> str:
    """Write a value for reading."""
    if value is None:
        return "—"
    if c.kind == "money":
        return grouped(yuan(value))
    if c.kind == "share":
        return f"{value * 100:.2f}%"
    if c.kind == "whole":
        return f"{value:,}"
    text = str(c.shown(value, lang))
    return text.replace("/", " – ") if c.name == "period" else text


def grouped(text: str) -> str:
    """Put commas between the thousands of yuan."""
    sign, digits = ("-", text[1:]) if text.startswith("-") else ("", text)
    whole, _, fen = digits.partition(".")
    return f"{sign}{int(whole):,}.{fen}"


def _footer(report: Report, lang: Lang) -> Iterator[str]:
    about = report.about
    made = about.get("made", "")[:19].replace("T", " ")
    facts = [
        f"grouper {about.get('version', '')}",
        f"{word(lang, '运行于', 'run made')} {made} UTC" if made else "",
        f"{word(lang, '结果内容哈希', 'content hash')} {about['content_hash']}"
        if "content_hash" in about
        else "",
    ]
    yield f"<footer>{' · '.join(f'<code>{escape(f)}</code>' for f in facts if f)}</footer>"
