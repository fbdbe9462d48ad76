"""Reports of runs: every figure added up again from the run's rows, and read back from page and workbook."""

from __future__ import annotations

import json
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from oracle.compare_year import by_engine
from oracle.draw_year import draw_year
from python_calamine import CalamineWorkbook

import grouper
from grouper import _demo, _runs
from grouper._report import figures, write_report
from grouper._report_tables import Report, ReportTable, mean_fen, ratio
from grouper._yuan import yuan
from grouper.cli import cli
from grouper.errors import CaseFileError, GrouperError
from grouper.io import RunFolder, read_run
from grouper.testing import make_region

pytestmark = pytest.mark.promise("A report shows what the run says, to the fen")

pytest.importorskip("matplotlib")
pytest.importorskip("xlsxwriter")

METHODS = ("point", "rate", "dip")
Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Make the run of a method once: 600 cases of a synthetic region-year, nine of them not groupable."""
    made: dict[str, Path] = {}

    def run(method: str) -> Path:
        if method not in made:
            folder = tmp_path_factory.mktemp(method)
            region = make_region(600, hospitals=7, seed=5)
            diagnoses = region.cases["diagnoses"].to_pylist()
            for k in range(9):
                diagnoses[k * 11] = ["QQQ"] if k < 6 else []
            at = region.cases.schema.get_field_index("diagnoses")
            cases = region.cases.set_column(at, "diagnoses", pa.array(diagnoses))
            scheme = "dip-demo" if method == "dip" else "chs-drg-1.1"
            _demo.write_inputs(replace(region, cases=cases), folder, scheme, method)
            order = _runs.Order(str(folder / "policy"), str(folder / "hospitals.csv"))
            grouped, facts = _runs.group_files(str(folder / "cases.parquet"), scheme)
            _runs.pay(grouped, order, folder / "run", facts)
            made[method] = folder / "run"
        return made[method]

    return run


def table(report: Report, name: str) -> ReportTable:
    return report.tables[name]


def cases_of(run: RunFolder) -> Rows:
    return list(run.tables["cases"].to_pylist())


def by(rows: Rows, *keys: str) -> dict[Any, Rows]:
    found: dict[Any, Rows] = defaultdict(list)
    for r in rows:
        found[tuple(r[k] or "" for k in keys)].append(r)
    return found


def total(rows: Rows, name: str) -> int:
    return sum(r[name] or 0 for r in rows)


def rounded(exact: Fraction, digits: int = 4) -> Decimal:
    exact_decimal = Decimal(exact.numerator) / Decimal(exact.denominator)
    return exact_decimal.quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)


# ------------------------------------------------------------------------------------------ figures


def test_halves_are_rounded_away_from_zero_as_everywhere() -> None:
    assert [mean_fen(n, 2) for n in (1, -1, 3, -3)] == [1, -1, 2, -2]
    assert [ratio(n, 2, 0) for n in (1, -1)] == [1, -1]
    assert ratio(-1, 80_000) == Decimal("0.0000")
    assert ratio(-1, 20_000) == Decimal("-0.0001")


@pytest.mark.parametrize("method", METHODS)
def test_hospitals_months_and_bands_are_sums_of_the_runs_rows(
    method: str, runs: Callable[[str], Path]
) -> None:
    run = read_run(runs(method))
    report, cases = figures(run), cases_of(run)
    held, told = by(cases, "hospital_id"), by(run.tables["hospitals"].to_pylist(), "hospital_id")
    rows = table(report, "hospitals").rows
    assert {r["hospital_id"] for r in rows} == {h for (h,) in held}
    for r in rows:
        mine, money = held[r["hospital_id"],], told[r["hospital_id"],]
        assert r["cases"] == len(mine)
        assert r["cost_fen"] == total(mine, "total_cost_fen")
        assert r["booked_fund_fen"] == total(mine, "booked_fund_fen")
        assert r["pay_fen"] == total(money, "pay_fen") == total(mine, "pay_fen")
        assert r["own_balance_fen"] == total(mine, "pay_fen") - total(mine, "booked_fund_fen")
        [owed] = [x for x in table(report, "payable").rows if x["hospital_id"] == r["hospital_id"]]
        assert owed["payable_fen"] == total(money, "payable_fen")
        assert owed["to_pay_fen"] == total(money, "to_pay_fen")
    settled = {(r["pool_id"], r["month"]): r for r in run.tables["months"].to_pylist()}
    for r in table(report, "months").rows:
        mine = by(cases, "pool_id", "settlement_month")[r["pool_id"], r["month"]]
        assert (r["cases"], r["pay_fen"]) == (len(mine), total(mine, "pay_fen"))
        month = settled[r["pool_id"], r["month"]]
        assert (r["fund_fen"], r["month_pay_fen"]) == (month["fund_fen"], month["pay_fen"])
        assert str(r["value"]) == month["point_value"] or not month["point_value"]
    assert len(table(report, "months").rows) == len(settled)
    for r in table(report, "bands").rows:
        mine = [c for c in cases if (c["band"] or "none") == r["band"]]
        assert (r["cases"], r["pay_fen"]) == (len(mine), total(mine, "pay_fen"))
        assert r["share"] == rounded(Fraction(len(mine), len(cases)))


@pytest.mark.parametrize("method", METHODS)
def test_totals_are_those_of_the_manifest(method: str, runs: Callable[[str], Path]) -> None:
    run = read_run(runs(method))
    report, proof = figures(run), run.manifest["proof"]
    pay, n = sum(p["pay_fen"] for p in proof), run.manifest["cases"]
    for name in ("pools", "months", "hospitals", "bands", "groups"):
        assert table(report, name).total["pay_fen"] == pay, name
        assert table(report, name).total["cases"] == n, name
    assert table(report, "proof").total["fund_fen"] == sum(p["fund_fen"] for p in proof)
    assert table(report, "indices").total["cases"] == n
    assert table(report, "statuses").total["cases"] == n
    assert {r["status"]: r["cases"] for r in table(report, "statuses").rows} == run.manifest[
        "status"
    ]
    reasons = {r["reason"]: r["cases"] for r in table(report, "reasons").rows}
    assert reasons == run.manifest["reasons"]
    assert reasons["no_principal_diagnosis"] == 3
    warned = {r["warning"]: r["cases"] for r in table(report, "warnings").rows}
    assert warned == {k: v for k, v in run.manifest["warnings"].items() if v}
    states = {r["state"] for t in ("proof", "accrual", "ties") for r in table(report, t).rows}
    assert states == {"ties"}
    assert len(table(report, "ties").rows) == 2 + 4 + len(proof)


@pytest.mark.parametrize("method", METHODS)
def test_indices_are_those_of_their_definition(method: str, runs: Callable[[str], Path]) -> None:
    run = read_run(runs(method))
    cases = cases_of(run)
    weighed = [c for c in cases if c["weight_or_score"]]
    assert weighed
    mean = Fraction(sum(c["weight_or_score"] for c in weighed)) / len(weighed)
    group_mean = {
        g: Fraction(total(rows, "total_cost_fen"), len(rows))
        for g, rows in by([c for c in cases if c["group"]], "group").items()
    }
    rows = {r["hospital_id"]: r for r in table(figures(run), "indices").rows}
    for (hospital,), mine in by(cases, "hospital_id").items():
        own = [c for c in mine if c["weight_or_score"]]
        exact = Fraction(sum(c["weight_or_score"] for c in own)) / len(own)
        assert rows[hospital]["casemix_index"] == rounded(exact / mean)
        assert rows[hospital]["mean_weight"] == rounded(exact)
        grouped = [c for c in mine if c["group"]]
        expected = sum(group_mean[c["group"],] for c in grouped)
        near = rounded(total(grouped, "total_cost_fen") / Fraction(expected))
        assert abs(rows[hospital]["cost_index"] - near) <= Decimal("0.0001")  # fen of each group
        high = sum(c["band"] in ("high", "extreme") for c in mine)
        assert rows[hospital]["high_share"] == rounded(Fraction(high, len(mine)))


@pytest.mark.parametrize("method", METHODS)
def test_groups_are_merged_below_the_least(method: str, runs: Callable[[str], Path]) -> None:
    run = read_run(runs(method))
    cases = cases_of(run)
    every = {r["group"]: r for r in table(figures(run, 0), "groups").rows}
    for (group,), mine in by(cases, "group").items():
        r = every[group]
        assert (r["cases"], r["cost_fen"]) == (len(mine), total(mine, "total_cost_fen"))
        assert r["mean_pay_fen"] == rounded(Fraction(total(mine, "pay_fen"), len(mine)), 0)
    assert len(every) == len(by(cases, "group"))
    merged = table(figures(run), "groups")
    assert min(r["cases"] for r in merged.rows) >= 30
    assert 1 < len(merged.rows) < len(every)
    whole = table(figures(run, 0), "groups")
    assert merged.total == whole.total
    assert "少于 30 例" in merged.note[0]
    assert "30" not in whole.note[0]


def test_no_bin_of_a_tail_is_below_the_least(runs: Callable[[str], Path]) -> None:
    run = read_run(runs("point"))
    for name, told in (("costs", "total_cost_fen"), ("stays", "los"), ("ratios", "ratio")):
        rows = table(figures(run), name).rows
        values = [c[told] for c in cases_of(run) if c[told] is not None]
        assert min(rows[0]["cases"], rows[-1]["cases"]) >= 30
        assert (rows[0]["from"], rows[-1]["below"]) == (None, None)
        for r in rows:
            inside = [
                v
                for v in values
                if (r["from"] is None or v >= r["from"]) and (r["below"] is None or v < r["below"])
            ]
            assert len(inside) == r["cases"], (name, r)
        assert sum(r["cases"] for r in rows) == len(values)


@pytest.mark.parametrize("seed", range(0, 24, 2))
def test_sums_tie_in_drawn_years(seed: int, tmp_path: Path) -> None:
    """Families, carve-outs inside and outside the fund, price takers, every fund form."""
    d = draw_year(seed, tmp_path / "policy", yearly=seed % 4 == 0)
    try:
        made = by_engine(d.path, d.cases, d.hospitals, d.ledger)
    except GrouperError:
        return
    report = figures(RunFolder(tmp_path, made.tables(), made.manifest()))
    states = [r["state"] for t in ("proof", "accrual", "ties") for r in table(report, t).rows]
    assert len(states) > 2
    assert set(states) == {"ties"}
    pay = sum(p["pay_fen"] for p in made.manifest()["proof"])
    assert table(report, "hospitals").total.get("pay_fen", 0) == pay
    assert table(report, "pools").total["pay_fen"] == pay


# ------------------------------------------------------------------------------------------ the page

VOID = {"meta", "br"}


class Page(HTMLParser):
    """A page read strictly: every element closed, in order; what it names and where it leads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.refers: list[str] = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            self.attributes.add(name)
            if name == "id":
                self.ids.append(value or "")
            if name in ("href", "src", "aria-labelledby"):
                self.refers.append(value or "")
            for inner in re.findall(r"url\((.*?)\)", value or ""):
                self.refers.append(inner)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def read_page(path: Path) -> tuple[str, Page]:
    text = path.read_text("utf-8")
    return text, Page(text)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("lang", ["zh", "en"])
def test_the_page_holds_all_it_needs(
    method: str, lang: Any, runs: Callable[[str], Path], tmp_path: Path
) -> None:
    write_report(runs(method), tmp_path / "r.html", lang=lang)
    text, page = read_page(tmp_path / "r.html")
    assert not re.search(r"https?:|//[a-z]|xmlns|@import|<script|src=", text)
    assert len(page.ids) == len(set(page.ids))
    for target in page.refers:
        assert target.removeprefix("#") in page.ids, target
    assert "DejaVu" not in text
    assert '"Noto Sans CJK SC"' in text
    assert {"svg", "caption", "figcaption", "h1", "h2"} <= page.tags
    assert text.count("<svg ") == text.count('role="img"') == len(re.findall("<figure", text)) >= 6
    run = read_run(runs(method))
    pay = yuan(sum(p["pay_fen"] for p in run.manifest["proof"]))
    assert f"{Decimal(pay):,}" in page.text
    assert run.manifest["content_hash"] in text
    assert text.startswith(f'<!doctype html>\n<html lang="{"zh-CN" if lang == "zh" else "en"}">')
    assert ("医疗机构支付与结余" in text) == (lang == "zh")


HOSTILE = "<script>alert('1')</script>&\"$\\frac{x}$"


def changed(run: RunFolder, column: str, names: Mapping[str, str]) -> RunFolder:
    """Rename values of a column in every table of a run, which so has no hashes to hold."""
    tables = {}
    for name, t in run.tables.items():
        if column in t.schema.names:
            values = [names.get(v, v) for v in t[column].to_pylist()]
            t = t.set_column(
                t.schema.get_field_index(column), column, pa.array(values, pa.string())
            )
        tables[name] = t
    return RunFolder(run.path, tables, {k: v for k, v in run.manifest.items() if k != "outputs"})


def test_texts_of_the_data_stay_texts(runs: Callable[[str], Path], tmp_path: Path) -> None:
    run = read_run(runs("point"))
    names = dict(zip(["H0001", "H0002", "H0003"], [HOSTILE, "=1+1", "_医院\x01"], strict=True))
    groups = sorted({c["group_name"] for c in cases_of(run) if c["group_name"]})
    run = changed(changed(run, "hospital_id", names), "group_name", {g: HOSTILE for g in groups})
    run = changed(run, "pool_id", {"resident": "_" + HOSTILE})
    run = replace(run, manifest={**run.manifest, "policy": {"title": HOSTILE}})
    write_report(run, tmp_path / "r.html", least=0)
    text, page = read_page(tmp_path / "r.html")
    assert "script" not in page.tags
    assert not [a for a in page.attributes if a.startswith("on")]
    assert HOSTILE in page.text
    assert "<script" not in text
    found = write_report(run, tmp_path / "r.xlsx")
    cells = CalamineWorkbook.from_path(str(tmp_path / "r.xlsx")).get_sheet_by_name(
        "医疗机构支付与结余"
    )
    ids = [row[0] for row in cells.to_python()]
    assert {HOSTILE, "=1+1"} <= set(ids)
    assert {r["hospital_id"] for r in found["tables"]["hospitals"]["rows"]} >= set(names.values())


def test_the_same_run_gives_the_same_bytes(runs: Callable[[str], Path], tmp_path: Path) -> None:
    run = read_run(runs("point"))
    cases = run.tables["cases"]
    turned = cases.take(pa.array(range(len(cases) - 1, -1, -1)))
    again = replace(run, tables={**run.tables, "cases": turned})
    for name in ("a.html", "a.xlsx"):
        write_report(run, tmp_path / name)
        write_report(again, tmp_path / f"again-{name}")
        assert (tmp_path / name).read_bytes() == (tmp_path / f"again-{name}").read_bytes()


# -------------------------------------------------------------------------------------- the workbook


def sheets(path: Path) -> dict[str, list[list[Any]]]:
    book = CalamineWorkbook.from_path(str(path))
    return {n: book.get_sheet_by_name(n).to_python() for n in book.sheet_names}


@pytest.mark.parametrize("method", METHODS)
def test_the_workbook_holds_the_figures(
    method: str, runs: Callable[[str], Path], tmp_path: Path
) -> None:
    run = read_run(runs(method))
    found = write_report(run, tmp_path / "r.xlsx", lang="en")
    report, books = figures(run), sheets(tmp_path / "r.xlsx")
    assert list(books) == ["notes", *report.tables]
    for name, t in report.tables.items():
        header, *rows = books[name]
        assert header == [c.label("en") for c in t.columns]
        told = [*t.rows, *([t.total] if t.has_total else [])]
        assert len(rows) == len(told) == len(found["tables"][name]["rows"]) + t.has_total
        for row, mine in zip(rows, told, strict=True):
            for c, cell in zip(t.columns, row, strict=True):
                value = mine.get(c.name)
                if c.kind == "money" and value is not None:
                    assert Decimal(str(cell)) == Decimal(yuan(value)), (name, c.name)
                elif c.kind == "text":
                    shown = "" if value is None else c.shown(value, "en")
                    assert cell in (shown, "total"), (name, c.name)
                elif value is not None:
                    assert Decimal(str(cell)) == Decimal(str(value)), (name, c.name)
    first = [row[0] for row in books["hospitals"][1:-1]]
    assert first == [r["hospital_id"] for r in report.tables["hospitals"].rows]


# ------------------------------------------------------------------------------------- odd runs, CLI


def settled(grouped: pa.Table, order: _runs.Order, folder: Path) -> Path:
    _runs.pay(grouped, order, folder, {})
    return folder


def order_of(run: Path, **more: Any) -> _runs.Order:
    return _runs.Order(str(run.parent / "policy"), str(run.parent / "hospitals.csv"), **more)


def grouped_of(run: Path) -> pa.Table:
    cases = grouper.read_cases(str(run.parent / "cases.parquet")).table
    return grouper.group(cases, "chs-drg-1.1").to_arrow(carry=True)


def test_a_month_no_case_and_no_cost(runs: Callable[[str], Path], tmp_path: Path) -> None:
    grouped = grouped_of(runs("point"))
    month = settled(grouped, order_of(runs("point"), period="2025-01"), tmp_path / "month")
    empty = settled(grouped.slice(0, 0), order_of(runs("point")), tmp_path / "empty")
    money = [n for n in grouped.column_names if n.endswith("_fen") and n != "aux_mean_fen"]
    bare = grouped.drop_columns(money)
    free = settled(bare, _runs.Order("example-point"), tmp_path / "free")
    for run in (month, empty, free):
        for name in ("r.html", "r.xlsx"):
            write_report(run, tmp_path / name)
        report = figures(read_run(run))
        states = {r["state"] for t in ("proof", "accrual", "ties") for r in table(report, t).rows}
        assert states <= {"ties"}
        assert table(report, "summary").rows[0]["cases"] == len(read_run(run).tables["cases"])
        read_page(tmp_path / "r.html")
    assert {r["month"] for r in table(figures(read_run(month)), "months").rows} == {"2025-01"}
    assert table(figures(read_run(empty)), "groups").rows == []
    without = figures(read_run(free))
    assert not [
        c
        for t in without.tables.values()
        for c in t.columns
        if "cost" in c.name and t.name != "costs"
    ]
    assert table(without, "costs").rows == []


def test_what_cannot_be_reported_is_refused(
    runs: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = runs("point")
    with pytest.raises(CaseFileError, match="no run is there"):
        write_report(tmp_path, tmp_path / "r.html")
    with pytest.raises(CaseFileError, match=r"ends in \.html, \.xlsx"):
        write_report(run, tmp_path / "r.pdf")
    read = read_run(run)
    cut = replace(read, tables={**read.tables, "cases": read.tables["cases"].slice(1)})
    with pytest.raises(CaseFileError, match=r"cases\.parquet is not what the run wrote"):
        write_report(cut, tmp_path / "r.html")
    with pytest.raises(CaseFileError, match="no settled cases"):
        write_report(replace(read, tables={}), tmp_path / "r.html")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(CaseFileError, match=r"drgdip-grouper\[report\]"):
        write_report(run, tmp_path / "r.html")
    assert list(tmp_path.iterdir()) == []
    write_report(run, tmp_path / "r.xlsx")  # a workbook has no plots


def test_a_sum_that_does_not_tie_is_told(runs: Callable[[str], Path], tmp_path: Path) -> None:
    run = read_run(runs("point"))
    proof = [{**p, "pay_fen": p["pay_fen"] + 1} for p in run.manifest["proof"]]
    run = replace(run, manifest={**run.manifest, "proof": proof})
    write_report(run, tmp_path / "r.html")
    assert f"✗ {2 * len(proof)} 项核对不符" in read_page(tmp_path / "r.html")[1].text


def test_the_command(
    runs: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, page, book = (str(p) for p in (runs("dip"), tmp_path / "r.html", tmp_path / "r.xlsx"))
    words = ["report", run, "-o", page, "--lang", "en"]
    assert cli.main(words, standalone_mode=False) == 0
    said = capsys.readouterr().out
    assert "cases: 600" in said
    assert re.search(r"checks: ties \d+, differs 0", said)
    words = ["report", run, "-o", book, "--least", "0", "--json"]
    assert cli.main(words, standalone_mode=False) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["output"] == book
    assert min(r["cases"] for r in found["tables"]["groups"]["rows"]) < 30
    assert "payment report" in Path(page).read_text("utf-8")
