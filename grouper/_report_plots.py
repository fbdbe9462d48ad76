"""Plots of a report as inline SVG: text stays text, in the fonts of the page, which know Chinese.

matplotlib lays out by a font of its own that knows no Chinese; what it would say about missing signs is
not so, since it draws none of them. Margins are set by the width of the labels, not by what was measured:
the same run gives the same bytes wherever it is drawn. Nothing of the SVG names an address.
"""

from __future__ import annotations

import io
import re
import unicodedata
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from html import escape
from typing import Any, Literal, NamedTuple, TypeAlias

from grouper._audit_book import word
from grouper._report_tables import Report, ReportTable, Row
from grouper._small_cells import LEAST
from grouper.errors import CaseFileError

REPORT = 'pip install "drgdip-grouper[report]"'
FONTS = (
    'system-ui,"Segoe UI","Helvetica Neue","Microsoft YaHei","PingFang SC","Hiragino Sans GB",'
    '"Noto Sans CJK SC","Noto Sans SC","Source Han Sans SC","WenQuanYi Micro Hei",sans-serif'
)
"""Fonts of Windows, macOS and Linux, those with Chinese among them."""

BLUE, TEAL, ORANGE, GREY, RED = "#2f5f98", "#3a9188", "#d9822b", "#8a94a0", "#b23a3a"
COLOURS = (BLUE, TEAL, ORANGE, "#7b5ea7", "#5b8c3e", "#a0637b")

_STYLE: Any = {
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "text.parse_math": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#9aa3ad",
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.unicode_minus": False,
    "grid.color": "#e3e7ec",
    "grid.linewidth": 0.8,
    "xtick.color": "#4a545f",
    "ytick.color": "#4a545f",
    "axes.labelcolor": "#4a545f",
    "legend.frameon": False,
}
_WIDE = 9.6
"""Inches of a plot; the page scales it."""

SHOWN = 20
"""Hospitals or groups that a plot of bars shows."""


class Plot(NamedTuple):
    """A plot: its caption, what it shows for those who cannot see it, and its SVG."""

    title: str
    text: str
    svg: str


Draw: TypeAlias = Callable[["Pen", Report], tuple[str, str] | None]


def draw(
    report: Report, lang: Literal["zh", "en"], plots: Mapping[str, Draw] | None = None
) -> dict[str, Plot]:
    """Draw every plot that the figures allow, by name; `plots` are those of a settled run by default.

    Raises
    ------
    CaseFileError : matplotlib is not installed.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError as e:
        message = f"a report as a page needs {e.name}: {REPORT}"
        raise CaseFileError(message, file="report.html") from None
    found = {}
    for name, plot in (_PLOTS if plots is None else plots).items():
        with matplotlib.rc_context({**_STYLE, "svg.hashsalt": name}), _quiet():
            pen = Pen(Figure(figsize=(_WIDE, 3.4)), lang)
            if told := plot(pen, report):
                found[name] = Plot(*told, _svg(pen.figure, name, told[0]))
    return found


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave out what matplotlib says of signs that its font lacks: it draws none of them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        yield


class Pen:
    """A figure with one language; each axes is placed by what stands beside it."""

    def __init__(self, figure: Any, lang: Literal["zh", "en"]) -> None:
        self.figure, self.lang = figure, lang

    def word(self, zh: str, en: str) -> str:
        return word(self.lang, zh, en)

    def axes(self, left: float = 0.8, below: float = 0.55, height: float = 3.4) -> Any:
        """Make axes with margins in inches."""
        self.figure.set_size_inches(_WIDE, height)
        box = (left / _WIDE, below / height, 1 - (left + 0.3) / _WIDE, 1 - (below + 0.35) / height)
        axes = self.figure.add_axes(box)
        axes.tick_params(length=0)
        return axes


# -------------------------------------------------------------------------------------------- plots


def _months(pen: Pen, report: Report) -> tuple[str, str] | None:
    """Draw what this run pays by month, pools one on the other."""
    t = report.tables["months"]
    if len(names := _distinct(t, "month")) < 2:
        return None
    axes = pen.axes()
    bottom = [0.0] * len(names)
    for k, pool in enumerate(_distinct(t, "pool_id")):
        paid = {r["month"]: r["pay_fen"] for r in t.rows if r["pool_id"] == pool}
        heights = [_millions(paid.get(n) or 0) for n in names]
        axes.bar(names, heights, 0.7, bottom=bottom, color=COLOURS[k % 6], label=_named(pool))
        bottom = [b + h for b, h in zip(bottom, heights, strict=True)]
    funds = [[r["fund_fen"] for r in t.rows if r["month"] == n] for n in names]
    if all(f is not None for fund in funds for f in fund):
        levels = [_millions(sum(fund)) for fund in funds]
        label = pen.word("月度基金", "fund of the month")
        axes.plot(names, levels, "_", color="#222222", ms=22, mew=1.6, label=label)
    axes.grid(axis="x", visible=False)
    _months_axis(axes, names)
    axes.set_ylabel(pen.word("百万元", "million yuan"))
    _legend(axes)
    title = pen.word(
        "各月病例支付额与月度基金", "Pay for the cases of each month, and the month's fund"
    )
    return title, spoken(t, "month", "pay_fen")


def _values(pen: Pen, report: Report) -> tuple[str, str] | None:
    """Draw the point value of each pool by month."""
    t = report.tables["months"]
    names = _distinct(t, "month")
    if len(names) < 2 or not any(c.name == "value" for c in t.columns):
        return None
    axes = pen.axes(height=2.8)
    for k, pool in enumerate(_distinct(t, "pool_id")):
        held = {r["month"]: r["value"] for r in t.rows if r["pool_id"] == pool}
        shown = [n for n in names if held.get(n) is not None]
        values = [float(held[n]) for n in shown]
        at = [names.index(n) for n in shown]
        axes.plot(at, values, "o-", color=COLOURS[k % 6], ms=4, lw=1.6, label=_named(pool))
    _months_axis(axes, names)
    axes.set_ylabel(_label(t, "value", pen.lang))
    _legend(axes)
    return pen.word("各月点值", "Point value by month"), spoken(t, "month", "value")


def _balances(pen: Pen, report: Report) -> tuple[str, str] | None:
    """Draw pay less booked fund of the hospitals that are paid most."""
    t = report.tables["hospitals"]
    rows = [r for r in t.rows if r["hospital_id"]][:SHOWN]
    if len(rows) < 2:
        return None
    label = pen.word("支付额 − 记账，百万元", "pay − booked, million yuan")
    values = [_millions(r["own_balance_fen"]) for r in rows]
    axes = _bars(pen, [r["hospital_id"] for r in rows], values, label, signed=True)
    axes.axvline(0, color="#4a545f", lw=0.8)
    title = pen.word(
        f"支付额 − 记账：支付额最高的 {len(rows)} 家医疗机构",
        f"Pay − booked: the {len(rows)} hospitals that are paid most",
    )
    return title, spoken(t, "hospital_id", "own_balance_fen")


def _casemix(pen: Pen, report: Report) -> tuple[str, str] | None:
    """Draw the cost index of each hospital against its casemix index."""
    t = report.tables["indices"]
    rows = [r for r in t.rows if r["casemix_index"] is not None and r["cost_index"] is not None]
    many = [r for r in rows if r["cases"] >= LEAST]
    rows = many if len(many) > 1 else rows  # an index of a few cases is chance
    if len(rows) < 2:
        return None
    axes = pen.axes(height=4.6)
    most = max(r["cases"] for r in rows)
    x, y = ([float(r[n]) for r in rows] for n in ("casemix_index", "cost_index"))
    sizes = [14 + 500 * r["cases"] / most for r in rows]
    axes.axhline(1, color=GREY, lw=0.9, ls="--")
    axes.axvline(1, color=GREY, lw=0.9, ls="--")
    axes.scatter(x, y, sizes, color=BLUE, alpha=0.45, edgecolors="white", linewidths=0.6)
    for r, left, top in list(zip(rows, x, y, strict=True))[:8]:
        radius = 0.5 * (14 + 500 * r["cases"] / most) ** 0.5
        at = {"xytext": (radius + 1, 0), "textcoords": "offset points"}
        axes.annotate(_short(r["hospital_id"]), (left, top), va="center", fontsize=8, **at)
    axes.set_xlabel(_label(t, "casemix_index", pen.lang))
    axes.set_ylabel(_label(t, "cost_index", pen.lang))
    fewest = min(r["cases"] for r in rows)
    title = pen.word(
        f"CMI 指数与费用指数：每点一家医疗机构（不少于 {fewest} 例），面积为病例数",
        f"Casemix and cost index: a hospital each (of {fewest} cases or more), its area the cases",
    )
    return title, spoken(t, "hospital_id", "casemix_index", "cost_index")


def _groups(pen: Pen, report: Report) -> tuple[str, str] | None:
    """Draw the groups of most cases."""
    t = report.tables["groups"]
    rows = [r for r in t.rows if r["group"] and r["group"] != "其他"][:SHOWN]
    if len(rows) < 2:
        return None
    names = [f"{r['group']} {_short(r.get('group_name') or '', 28)}" for r in rows]
    _bars(pen, names, [r["cases"] for r in rows], pen.word("病例数", "cases"))
    title = pen.word(f"病例最多的 {len(rows)} 个病组", f"The {len(rows)} groups of most cases")
    return title, spoken(t, "group", "cases")


def _histogram(name: str) -> Callable[[Pen, Report], tuple[str, str] | None]:
    """Make what draws a table of counts between edges."""

    def plot(pen: Pen, report: Report) -> tuple[str, str] | None:
        t = report.tables[name]
        if len(t.rows) < 3:
            return None
        axes = pen.axes(below=0.95, height=3.0)
        at = range(len(t.rows))
        axes.bar(at, [r["cases"] for r in t.rows], 0.92, color=BLUE)
        every = max(1, len(t.rows) // 18 + 1)
        kind = t.columns[0].kind
        shown = [k for k in at if k % every == 0]
        axes.set_xticks(shown, [_bin(t.rows[k], kind) for k in shown], rotation=45, ha="right")
        for label in axes.get_xticklabels():
            label.set_rotation_mode("anchor")
        axes.grid(axis="x", visible=False)
        axes.set_ylabel(pen.word("病例数", "cases"))
        axes.set_xlabel(_UNITS[name][pen.lang == "en"])
        return word(pen.lang, *t.title), spoken(t, "from", "cases")

    return plot


_UNITS = {
    "costs": ("总费用，元", "cost, yuan"),
    "ratios": ("总费用 ÷ 病组基准费用", "cost ÷ benchmark of the group"),
    "stays": ("住院天数", "days"),
}

_PLOTS: Mapping[str, Draw] = {
    "months": _months,
    "values": _values,
    "balances": _balances,
    "casemix": _casemix,
    "groups": _groups,
    "costs": _histogram("costs"),
    "ratios": _histogram("ratios"),
    "stays": _histogram("stays"),
}


# -------------------------------------------------------------------------------------------- parts


def _bars(
    pen: Pen, names: Sequence[str], values: Sequence[float], label: str, *, signed: bool = False
) -> Any:
    """Draw bars from the left, the first on top; names may stand twice."""
    shown = [_short(n, 40) for n in names]
    left = min(0.25 + 0.077 * max(map(columns_of, shown)), 4.2)
    axes = pen.axes(left=left, height=1.0 + 0.24 * len(names))
    at = range(len(names))
    colours = [RED if signed and v < 0 else TEAL if signed else BLUE for v in values]
    axes.barh(at, values, 0.72, color=colours)
    axes.set_yticks(at, shown)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel(label)
    return axes


def _legend(axes: Any) -> None:
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=6, borderaxespad=0.1, fontsize=9)


def _months_axis(axes: Any, names: Sequence[str]) -> None:
    every = len(names) // 14 + 1
    at = list(range(0, len(names), every))
    axes.set_xticks(at, [names[k] for k in at])
    axes.set_xlim(-0.6, len(names) - 0.4)


def _label(t: ReportTable, name: str, lang: Literal["zh", "en"]) -> str:
    """Return the header of a column."""
    return next(c.label(lang) for c in t.columns if c.name == name)


def _distinct(t: ReportTable, name: str) -> list[str]:
    return list(dict.fromkeys(str(r[name]) for r in t.rows if r[name]))


def _millions(fen: int) -> float:
    """Return million yuan, for drawing only."""
    return fen / 1e8


def _bin(row: Row, kind: str) -> str:
    """Name a bin by its lower edge; the first by its upper."""

    def text(edge: Any) -> str:
        return (
            f"{edge / 100:,.0f}"
            if kind == "money"
            else f"{edge:.1f}"
            if kind == "number"
            else str(edge)
        )

    if row["from"] is None:
        return "—" if row["below"] is None else f"<{text(row['below'])}"
    return f"≥{text(row['from'])}" if row["below"] is None else text(row["from"])


def columns_of(text: str) -> int:
    """Count the columns of a text; Chinese signs take two."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _short(text: str, most: int = 24) -> str:
    """Cut a text to so many columns; signs that do not print become blanks."""
    kept, width = "", 0
    for c in text:
        width += columns_of(c)
        if width > most:
            return f"{kept}…"
        kept += c if c.isprintable() else " "
    return kept


def _named(text: str) -> str:
    """Name what a legend shows: matplotlib leaves out names that begin with ``_``."""
    return f" {_short(text)}" if text.startswith("_") else _short(text)


def spoken(t: ReportTable, *names: str) -> str:
    """Say the first rows of a plot in words."""
    said = ["; ".join(", ".join(str(r.get(n)) for n in names) for r in t.rows[:12])]
    return f"{' / '.join(names)}: {said[0]}"


# ---------------------------------------------------------------------------------------------- SVG


_HEAD = re.compile(r'<svg [^<>]*viewBox="([-0-9. ]+)"[^<>]*>')
_LEFT_OUT = re.compile(r"<(metadata|style)\b.*?</\1>", re.S)
_TAG = re.compile(r"<[^<>]+>")
"""A tag: in texts and attributes matplotlib escapes ``<`` and ``>``."""


def _svg(figure: Any, name: str, title: str) -> str:
    """Write a figure as an element of a page: no header, no addresses, ids of its own."""
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    _, box, rest = _HEAD.split(file.getvalue(), maxsplit=1)
    body = _TAG.sub(lambda tag: _own(tag[0], name), _LEFT_OUT.sub("", rest)).rstrip()
    named = f'viewBox="{box}" role="img" aria-labelledby="{name}-title"'
    style = 'style="stroke-linejoin:round;stroke-linecap:butt"'
    return f'<svg {named} {style}><title id="{name}-title">{escape(title)}</title>{body}'


def _own(tag: str, name: str) -> str:
    """Make the ids of a tag the plot's own, and its fonts those of the page."""
    for old, new in (
        (' id="', f' id="{name}-'),
        (' xlink:href="#', f' href="#{name}-'),
        ("url(#", f"url(#{name}-"),
        ("'DejaVu Sans'", "var(--fonts)"),
    ):
        tag = tag.replace(old, new)
    return tag
