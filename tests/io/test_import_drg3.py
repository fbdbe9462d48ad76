"""The national DRG 3.0 workbook becomes a scheme; what is odd in it is said, what is wrong refused."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from drg3 import COLUMNS, make_tables
from drg3_book import HEADERS, SMALL, Sheets, changed, with_row, write_book
from shared import SHIPPED, shared
from tiny import Both

from grouper import CaseFileError, ImportReport, TableError, import_drg3, load_drg
from grouper.tables import check

pytest.importorskip("python_calamine")

AMENDMENT = SHIPPED / "amendments" / "chs-drg-3.0-printed-plan.csv"


def imported(folder: Path, sheets: Sheets = SMALL, **given: Any) -> tuple[Path, ImportReport]:
    written = {k: given.pop(k) for k in ("title", "shifted", "headers", "order") if k in given}
    book = write_book(folder / "book.xlsx", sheets, **written)
    return folder / "out", import_drg3(book, folder / "out", **given)


def refusal(folder: Path, sheets: Sheets = SMALL, **given: Any) -> TableError:
    with pytest.raises(TableError) as e:
        imported(folder, sheets, **given)
    assert not (folder / "out").exists()
    assert [p.name for p in folder.iterdir()] == ["book.xlsx"]
    return e.value


def test_the_workbook_becomes_a_scheme_that_groups(tmp_path: Path) -> None:
    folder, report = imported(tmp_path)
    both = Both(folder)
    assert both.scheme.settings.newborn_weight == "admission"
    assert both.scheme.settings.edition == "3.0"
    assert both("S06.900", "J96.000", px=["01.2400"]).group == "BB11"
    assert both("S06.900", "J96.900", px=["01.2400"]).group == "BB15"
    assert both("I61.900", "I10.x00", age=70).group == "BR13"
    assert both("I61.900", "E11.900", age=70).group == "BR15"  # excluded by EX_2
    assert both("O00.900", px=["74.1x00"], sex=2).group == "OB11"  # upper-case OR
    assert both("O00.900", sex=2).group == "OT19"  # behind O00 by sort, before it by row
    assert both("O26.900", sex=2)[:1] == ("ungrouped",)
    assert report.counts["ADRG"] == 6
    assert report.published["ADRG"] == 537
    assert report.counts["ADRG x00"] == 2
    assert (report.counts["CC of type MCC"], report.counts["CC of type CC"]) == (1, 2)
    assert not report.agrees
    assert report.sha256 in (folder / "SOURCES.md").read_text("utf-8")
    assert report.sha256 in (folder / "scheme.toml").read_text("utf-8")


@pytest.mark.parametrize("title", [True, False])
@pytest.mark.parametrize("shifted", ["", "ADRG", "集合"])
def test_title_rows_shifted_columns_and_the_order_of_sheets_are_of_no_account(
    tmp_path: Path, title: bool, shifted: str
) -> None:
    usual = load_drg(imported(tmp_path)[0]).fingerprint
    (tmp_path / "b").mkdir()
    order = list(reversed(SMALL))
    folder, _ = imported(tmp_path / "b", title=title, shifted=shifted, order=order, id="out")
    assert load_drg(folder).fingerprint == usual


def test_headers_are_known_by_their_words(tmp_path: Path) -> None:
    headers = {
        **HEADERS,
        "DRG": ["DRG编码", *HEADERS["DRG"][1:]],
        "MDC": ["MDC代码", *HEADERS["MDC"][1:]],
    }
    headers["CC"] = ["类型", "排除表", "疾病编码", "疾病名称"]
    sheets = {**SMALL, "CC": [[t, x, c, n] for c, n, x, t in SMALL["CC"]]}
    folder, _ = imported(tmp_path, sheets, headers=headers)
    assert load_drg(folder).cc == {"E11.900": "EX_2", "I10.x00": ""}


def test_dirty_cells_are_cleaned_and_counted(tmp_path: Path) -> None:
    sheets = changed("ADRG", 0, 2, "\u3000ZYSS\u00a0in _x000D_\nOP_BB1\u200b ")
    sheets["集合"][0][1] = "Ｓ06.900 "
    sheets["DRG"][2][2] = "QTZD in ｛MCC， CC｝ and NL＞=70"
    folder, report = imported(tmp_path, sheets)
    assert load_drg(folder).adrgs[0].text == "ZYSS in OP_BB1"
    assert "S06.900" in load_drg(folder).set_codes["DI_B00"]
    assert report.cleaned_cells == 3
    assert "ADRG: 1 cells held blanks, full-width signs or line breaks" in report.findings


def test_names_keep_their_full_width_signs(tmp_path: Path) -> None:
    sheets = changed("DRG", 0, 1, "脑创伤开颅术，伴（严重）合并症")
    sheets["DRG"][1][1] = "\u00a0脑创伤，开颅术\u200b_x000D_ "
    folder, report = imported(tmp_path, sheets)
    assert [d.name for d in load_drg(folder).drgs[:2]] == [
        "脑创伤开颅术，伴（严重）合并症",
        "脑创伤，开颅术",
    ]
    assert report.cleaned_cells == 1


def test_repeated_rows_are_left_out_and_counted(tmp_path: Path) -> None:
    sheets = with_row("集合", "DI_B00", "S06.900", "另一个名称", "1")
    sheets["排除表"].append(["EX_1", "J96.900", "x"])
    sheets["CC"].append(["E11.900", "糖尿病", "EX_2", "CC"])
    folder, report = imported(tmp_path, sheets)
    (tmp_path / "b").mkdir()
    usual, _ = imported(tmp_path / "b")
    assert load_drg(folder).fingerprint == load_drg(usual).fingerprint
    assert report.repeats == 3
    assert report.counts["集合 repeats"] == 1
    assert "集合: 1 repeated rows left out" in report.findings


def test_a_remainder_moves_behind_what_it_would_swallow_and_that_is_said(tmp_path: Path) -> None:
    sheets = {**SMALL, "ADRG": [SMALL["ADRG"][k] for k in (2, 0, 1, 3, 4, 5)]}
    sheets["DRG"] = [SMALL["DRG"][k] for k in (1, 0, 2, 3, 4, 5, 6, 7, 8)]
    folder, report = imported(tmp_path, sheets)
    both = Both(folder)
    assert both("I61.900").group == "BR15"
    assert both("S06.900", "J96.000", px=["01.2400"]).group == "BB11"
    moved = [f for f in report.findings if "moved" in f]
    assert moved == [
        "ADRG:3: remainder B00 moved behind BB1, BR1, which it would swallow",
        "DRG:3: remainder BB15 moved behind BB11, which it would swallow",
    ]


def test_nothing_but_a_remainder_changes_its_place(tmp_path: Path) -> None:
    """A row that always holds but is no remainder stays, and the linter says what it shadows."""
    folder, report = imported(tmp_path, changed("ADRG", 0, 2, "1"))
    assert [a.code for a in load_drg(folder).adrgs][:3] == ["BB1", "BR1", "B00"]
    assert any(f.startswith("L101 ") for f in report.findings)
    assert "L101" in {f.code for f in check(folder)}


# ------------------------------------------------------------------------------------- amendments


def amended_sheets() -> Sheets:
    sheets = {name: [list(r) for r in rows] for name, rows in SMALL.items()}
    rows = [line.split(",") for line in AMENDMENT.read_text("utf-8").splitlines()[1:]]
    sheets["排除表"] += [[x, "Z00.000", "x"] for x in sorted({x for x, _ in rows})]
    sheets["排除表"].append([*rows[0], "x"])
    return sheets


def test_the_seven_rows_are_added_only_on_request_and_named(tmp_path: Path) -> None:
    plain, report = imported(tmp_path, amended_sheets())
    assert not any("amendment" in f for f in report.findings)
    (tmp_path / "b").mkdir()
    folder, report = imported(tmp_path / "b", amended_sheets(), amend="chs-drg-3.0-printed-plan")
    said = [f for f in report.findings if f.startswith("amendment ")]
    assert len(said) == 7
    assert said[0] == "amendment chs-drg-3.0-printed-plan: EX_103 P22.100 is there already"
    assert said[6] == "amendment chs-drg-3.0-printed-plan: EX_128 S02.400 added"
    added = {x: c - load_drg(plain).exclusions[x] for x, c in load_drg(folder).exclusions.items()}
    assert sum(map(len, added.values())) == 6
    assert "EX_128 S02.400 added" in (folder / "SOURCES.md").read_text("utf-8")


def test_an_amendment_of_ones_own_and_one_that_fits_nothing(tmp_path: Path) -> None:
    own = tmp_path / "mine.csv"
    own.write_text("exclusion,principal\nEX_1,A00.000\n", "utf-8")
    (tmp_path / "a").mkdir()
    folder, _ = imported(tmp_path / "a", amend=own)
    assert "A00.000" in load_drg(folder).exclusions["EX_1"]
    own.write_text("exclusion,principal\nEX_9,A00.000\n", "utf-8")
    (tmp_path / "b").mkdir()
    error = refusal(tmp_path / "b", amend=own)
    assert (error.file, error.row) == ("mine.csv", 2)
    (tmp_path / "c").mkdir()
    assert "known: chs-drg-3.0-printed-plan" in str(refusal(tmp_path / "c", amend="nothing"))


# -------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("sheets", "place", "row", "said"),
    [
        (
            changed("ADRG", 1, 2, "ZYZD on DI_BR1"),
            "ADRG",
            4,
            "row 4: column 6 of the rule: expected 'in'",
        ),
        (changed("ADRG", 1, 2, "ZYZD in DI_BR2"), "ADRG", 4, "no rows for set DI_BR2"),
        (changed("ADRG", 1, 3, "MDCX"), "ADRG", 4, "MDCX is no MDC of the workbook"),
        (changed("DRG", 0, 3, "BB7"), "DRG", 3, "BB7 is no ADRG of the workbook"),
        (changed("MDC", 0, 3, "vier"), "MDC", 3, "sort 'vier' is no whole number"),
        (changed("CC", 0, 3, "XCC"), "CC", 3, "type 'XCC' is neither MCC nor CC"),
        (changed("CC", 0, 2, "EX_7"), "CC", 3, "EX_7 is no exclusion table"),
        (changed("集合", 3, 1, ""), "集合", 6, "code is blank"),
        (
            with_row("ADRG", "BB1", "x", "ZYSS in OP_OB1", "MDCB", 9),
            "ADRG",
            9,
            "BB1 stands in row 3",
        ),
        (with_row("CC", "E11.900", "x", "EX_1", "CC"), "CC", 6, "with another exclusion table"),
    ],
)
def test_a_row_that_is_wrong_is_refused_with_its_place(
    tmp_path: Path, sheets: Sheets, place: str, row: int, said: str
) -> None:
    error = refusal(tmp_path, sheets)
    assert (error.file, error.row) == (f"book.xlsx · {place}", row)
    assert said in str(error)


def test_all_rows_of_a_sheet_that_are_wrong_are_named_at_once(tmp_path: Path) -> None:
    sheets = changed("ADRG", 0, 2, "ZYSS is OP_BB1")
    sheets["ADRG"][1][2] = "ZYZD in NIRGENDS"
    sheets["ADRG"][4][3] = "MDCQ"
    text = str(refusal(tmp_path, sheets))
    assert all(f"row {n}: " in text for n in (3, 4, 7))


def test_of_many_wrong_rows_the_first_ten_are_named(tmp_path: Path) -> None:
    sheets = with_row("集合", "DI_B00", "", "", "")
    sheets["集合"] += [[f"S{k}", "", "", ""] for k in range(14)]
    text = str(refusal(tmp_path, sheets))
    assert text.count("code is blank") == 10
    assert text.endswith("and 5 more")


@pytest.mark.parametrize("name", list(SMALL))
def test_a_missing_sheet_is_named(tmp_path: Path, name: str) -> None:
    order = [n for n in SMALL if n != name]
    assert f"no sheet for {name[:2] if name == '排除表' else name}" in str(
        refusal(tmp_path, order=order)
    )


def test_a_missing_column_is_named_with_the_header(tmp_path: Path) -> None:
    headers = {**HEADERS, "CC": ["疾病编码", "疾病名称", "排除表", "等级"]}
    error = refusal(tmp_path, headers=headers)
    assert error.file == "book.xlsx · CC"
    assert "no column 类型" in str(error)


def test_a_column_that_is_not_known_is_named_and_ignored(tmp_path: Path) -> None:
    headers = {**HEADERS, "CC": [*HEADERS["CC"], "备注"]}
    _, report = imported(tmp_path, headers=headers)
    assert report.ignored_columns == ["CC: 备注"]


def test_options_are_those_of_scheme_toml(tmp_path: Path) -> None:
    options = tmp_path / "options.toml"
    options.write_text('grey_principal = "ungrouped"\ncode_list = "codes-nhsa-2.0"\n', "utf-8")
    (tmp_path / "a").mkdir()
    book = write_book(tmp_path / "a" / "book.xlsx")
    import_drg3(book, tmp_path / "out", options=options, id="mine", title="Mine")
    settings = load_drg(tmp_path / "out").settings
    assert (settings.id, settings.title, settings.grey_principal) == ("mine", "Mine", "ungrouped")
    options.write_text('\ngray = "x"\n', "utf-8")
    (tmp_path / "b").mkdir()
    error = refusal(tmp_path / "b", options=options)
    assert (error.file, error.row) == ("options.toml", 2)


def test_an_earlier_import_is_replaced_only_when_told(tmp_path: Path) -> None:
    folder, _ = imported(tmp_path)
    book = tmp_path / "book.xlsx"
    with pytest.raises(CaseFileError, match="--overwrite"):
        import_drg3(book, folder)
    import_drg3(book, folder, overwrite=True)
    (folder / "notes.txt").write_text("mine", "utf-8")
    with pytest.raises(CaseFileError, match="holds files"):
        import_drg3(book, folder, overwrite=True)


# ------------------------------------------------------------------------------------------- size


@pytest.mark.big
def test_150_000_rows_of_all_published_rules_are_imported(tmp_path: Path) -> None:
    tables = make_tables(shared("facts/drg_3_0"))
    sheets: Sheets = {}
    for sheet, name in zip(HEADERS, COLUMNS, strict=True):
        sheets[sheet] = [list(r) for r in tables.rows(name)]
    sheets["集合"] = [[s, c, f"名称{c}", "1"] for s, c in tables.sets]
    names = sorted({s for s, _ in tables.sets})
    more = 110_000 - len(sheets["集合"])
    sheets["集合"] += [[names[k % len(names)], f"F{k:06}", f"填充{k}", "1"] for k in range(more)]
    sheets["CC"] = [[c, "x", x, t] for c, t, x in tables.cc]
    sheets["CC"] += [[f"F{k:06}", "x", "EX_1", "CC"] for k in range(7_900)]
    sheets["排除表"] = [[x, p, "x"] for x, p in tables.exclusions]
    sheets["排除表"] += [[f"EX_{k % 300}", f"F{k:06}", "x"] for k in range(32_000)]
    sheets["排除表"].append(["EX_2", "F1", "x"])
    book = write_book(tmp_path / "book.xlsx", sheets)
    assert sum(map(len, sheets.values())) > 150_000
    start = time.monotonic()
    report = import_drg3(book, tmp_path / "out")
    seconds = time.monotonic() - start
    print(f"imported, written, loaded and checked in {seconds:.1f} s")
    assert seconds < 60
    for name in ("MDC", "ADRG", "ADRG named", "ADRG xQY", "ADRG x00", "DRG", "DRG named"):
        assert report.counts[name] == report.published[name]
    assert len(load_drg(tmp_path / "out").drgs) == 870
