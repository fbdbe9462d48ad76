"""Funnel plots (漏斗图) of casemix: each hospital's rate by its cases, with exact limits."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from grouper._funnel import ALARM, WARNING, limits
from grouper._report_plots import BLUE, GREY, ORANGE, RED, Draw, Pen, spoken
from grouper._report_tables import Report

STEPS = 60
"""Numbers of cases at which the limits are worked out."""


def funnel(name: str, zh: str, en: str, of: str) -> Draw:
    """Make what draws the funnel of a rate: `name` cases among `of`."""

    def draw(pen: Pen, report: Report) -> tuple[str, str] | None:
        t = report.tables["by_hospital"]
        rows = [r for r in t.rows if r.get(of)]
        deaths, cases = sum(r[name] for r in rows), sum(r[of] for r in rows)
        if len(rows) < 2 or not deaths:
            return None
        rate, most = deaths / cases, max(r[of] for r in rows)
        axes = pen.axes(height=4.2)
        at = sorted({round(x) for x in np.geomspace(1, most * 1.1 + 1, STEPS)})
        for outside, colour, style in ((WARNING, ORANGE, "--"), (ALARM, RED, "-")):
            held = [limits(n, rate, outside) for n in at]
            low, high = (
                [100 * getattr(x, s) / n for x, n in zip(held, at, strict=True)]
                for s in ("low", "high")
            )
            label = pen.word(f"{100 - 100 * outside:g}% 界限", f"{100 - 100 * outside:g} % limits")
            axes.step(at, high, color=colour, lw=0.9, ls=style, where="mid", label=label)
            axes.step(at, low, color=colour, lw=0.9, ls=style, where="mid")
        axes.axhline(100 * rate, color=GREY, lw=0.9)
        y = [100 * r[name] / r[of] for r in rows]
        axes.scatter(
            [r[of] for r in rows], y, 22, color=BLUE, alpha=0.7, edgecolors="white", linewidths=0.5
        )
        for r, top in zip(rows, y, strict=True):
            if r.get(f"{name}_place"):
                where = {"xytext": (5, 2), "textcoords": "offset points"}
                axes.annotate(r["hospital"], (r[of], top), fontsize=8, **where)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda x, _: f"{x:,.0f}")
        axes.set_ylim(0, max(*y, 300 * rate) * 1.1)
        axes.set_xlabel(pen.word("病例数", "cases"))
        axes.set_ylabel(pen.word(f"{zh}率 %", f"{en}, %"))
        axes.legend(frameon=False, fontsize=8)
        title = pen.word(
            f"{zh}率漏斗图：每点一家医疗机构，界限由二项分布精确算出",
            f"Funnel of {en}: a hospital each, exact limits of the binomial distribution",
        )
        return title, spoken(t, "hospital", of, name)

    return draw


def funnels(names: Mapping[str, tuple[str, str, str]]) -> dict[str, Draw]:
    """Make what draws each funnel, by its name."""
    return {f"funnel_{n}": funnel(n, *words) for n, words in names.items()}
