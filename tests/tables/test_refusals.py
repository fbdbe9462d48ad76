"""What the loader refuses: one scheme folder with one thing broken for each refusal.

A refusal says which file, which row of it (the header being row 1) and what would cure it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from shared import shared
from tiny import Both, case, tiny_codes, tiny_scheme

from grouper import (
    RuleError,
    SchemeNotFound,
    TableError,
    group,
    load_drg,
    load_policy,
    scheme_ids,
)
from grouper.errors import GrouperError
from grouper.tables import load_codes
from grouper.tables._drg_scheme import TABLES

pytestmark = pytest.mark.promise("A table that is wrong is refused by file, row and cure")

WHOLE: dict[str, Any] = {
    "mdc": [("MDCA", "ZYZD in DX"), ("MDCB", "ZYZD in OTHER")],
    "adrg": [("AA1", "ZYSS in PX"), ("AB1", ""), ("BB1", "")],
    "drg": [("AA11", "QTZD in CC"), ("AA15", ""), ("AB19", ""), ("BB19", "")],
    "sets": {"DX": ["d1", "d2"], "OTHER": ["d3"], "PX": ["p1"]},
    "cc": [("c1", "CC", "EX_1"), ("c2", "MCC", ""), ("c3", "CC", "EX_2")],
    "exclusions": {"EX_1": ["d1"], "EX_2": ["d2"]},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder that loads; each test breaks one thing of it."""
    folder = tiny_scheme(tmp_path / "whole", **WHOLE)
    assert Both(folder)("d1", "c3", px=["p1"]).group == "AA11"
    return folder


def change(path: Path, old: str, new: str) -> None:
    """Replace the one place where `old` stands."""
    text = path.read_text("utf-8")
    assert text.count(old) == 1, (old, text)
    path.write_text(text.replace(old, new), "utf-8")


def refused(
    name: Path | str,
    *said: str,
    file: str,
    row: int = 0,
    kind: type[TableError] = TableError,
) -> TableError:
    """Load and return the refusal; its class, code, file and row must be those given."""
    with pytest.raises(TableError) as e:
        load_drg(name)
    error = e.value
    assert type(error) is kind
    assert error.code == ("E110" if kind is RuleError else "E100")
    assert (error.file, error.row) == (file, row)
    assert str(error).startswith(f"[{error.code}] {file}{f':{row}' if row else ''}: ")
    for part in said:
        assert part in str(error)
    return error


# ------------------------------------------------------------------------------- files and columns


@pytest.mark.parametrize("table", [t for t in TABLES if t != "sets"])
def test_a_missing_table(folder: Path, table: str) -> None:
    (folder / f"{table}.csv").unlink()
    refused(folder, "no such file", file=f"{table}.csv")


def test_a_missing_set_table_names_the_sets_that_rules_use(folder: Path) -> None:
    (folder / "sets.csv").unlink()
    said = "3 sets are used and not defined in sets.csv: DX, OTHER, PX; add them"
    refused(folder, said, file="mdc.csv", row=2)


COLUMNS = {
    "mdc": ("code", "name", "rule", "sort"),
    "adrg": ("code", "name", "rule", "mdc"),
    "drg": ("code", "name", "rule", "adrg", "mdc"),
    "sets": ("set", "code"),
    "cc": ("code", "type", "exclusion"),
    "exclusions": ("exclusion", "principal"),
}


@pytest.mark.parametrize(("table", "column"), [(t, c) for t, cs in COLUMNS.items() for c in cs])
def test_a_missing_column(folder: Path, table: str, column: str) -> None:
    path = folder / f"{table}.csv"
    header, rows = path.read_text("utf-8").split("\n", 1)
    names = ["renamed" if c == column else c for c in header.split(",")]
    path.write_text(",".join(names) + "\n" + rows, "utf-8")
    refused(folder, f"no column {column}; it has [", "'renamed'", file=path.name, row=1)


def test_columns_are_found_by_header_wherever_they_stand(folder: Path) -> None:
    before = load_drg(folder).fingerprint
    for table in TABLES:
        path = folder / f"{table}.csv"
        lines = [line.split(",") for line in path.read_text("utf-8").splitlines()]
        lines = [["", *reversed(cells)] for cells in lines]  # one edition has an empty first column
        path.write_text("".join(",".join(cells) + "\n" for cells in lines), "utf-8")
    assert load_drg(folder).fingerprint == before


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize(("cells", "text"), [(1, "x"), (9, "x,,,,,,,,")])
def test_a_row_of_another_width(folder: Path, table: str, cells: int, text: str) -> None:
    path = folder / f"{table}.csv"
    lines = path.read_text("utf-8").splitlines()
    lines.insert(2, text)
    path.write_text("\n".join(lines) + "\n", "utf-8")
    width = len(lines[0].split(","))
    said = f"{cells} cells where the header has {width}"
    refused(folder, said, file=path.name, row=3)


@pytest.mark.parametrize("table", TABLES)
def test_a_table_that_is_not_utf_8(folder: Path, table: str) -> None:
    path = folder / f"{table}.csv"
    text = path.read_text("utf-8").replace("\n", "\n新生儿", 1)
    path.write_bytes(text.encode("gb18030"))
    at = text.index("新")
    said = f"not UTF-8 at byte {at}; save it as UTF-8"
    refused(folder, said, file=path.name)


def test_a_byte_order_mark_is_accepted(folder: Path) -> None:
    before = load_drg(folder).fingerprint
    for table in TABLES:
        path = folder / f"{table}.csv"
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert load_drg(folder).fingerprint == before


def test_line_ends_of_any_system_and_blank_lines_are_accepted(folder: Path) -> None:
    before = load_drg(folder).fingerprint
    for table in TABLES:
        path = folder / f"{table}.csv"
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n") + b"\r\n\r\n")
    assert load_drg(folder).fingerprint == before


def test_a_quote_that_never_ends(folder: Path) -> None:
    path = folder / "adrg.csv"
    path.write_text(path.read_text("utf-8") + 'AZ1,"never ends,1,MDCA,9\n', "utf-8")
    refused(folder, "not a CSV table", file="adrg.csv")


@pytest.mark.parametrize("table", TABLES)
def test_an_empty_table(folder: Path, table: str) -> None:
    path = folder / f"{table}.csv"
    path.write_text(path.read_text("utf-8").splitlines()[0] + "\n", "utf-8")
    refused(folder, "the table is empty", file=path.name)
    path.write_text("", "utf-8")
    refused(folder, "no column", "it has []", file=path.name, row=1)


# ------------------------------------------------------------------------------------------- rows


def test_an_mdc_that_stands_twice(folder: Path) -> None:
    change(folder / "mdc.csv", "MDCB,name of MDCB", "MDCA,name of MDCB")
    refused(folder, "MDC 'MDCA' is empty or stands twice", file="mdc.csv", row=3)


def test_an_adrg_that_stands_twice(folder: Path) -> None:
    change(folder / "adrg.csv", "AB1,name", "AA1,name")
    refused(folder, "code 'AA1' is empty or stands twice", file="adrg.csv", row=3)


def test_an_adrg_that_stands_twice_in_two_mdcs(folder: Path) -> None:
    change(folder / "adrg.csv", "BB1,name", "AA1,name")
    refused(folder, "code 'AA1' is empty or stands twice", file="adrg.csv", row=4)


@pytest.mark.parametrize(("table", "code", "row"), [("mdc", "MDCB", 3), ("adrg", "AB1", 3)])
def test_an_empty_code(folder: Path, table: str, code: str, row: int) -> None:
    change(folder / f"{table}.csv", f"{code},name", ",name")
    refused(folder, "'' is empty or stands twice", file=f"{table}.csv", row=row)


def test_an_empty_code_of_a_drg(folder: Path) -> None:
    change(folder / "drg.csv", "AA15,name", ",name")
    refused(folder, "code '' is empty or stands twice", file="drg.csv", row=3)


def test_an_adrg_of_an_unknown_mdc(folder: Path) -> None:
    change(folder / "adrg.csv", "MDCB", "MDCX")
    refused(folder, "MDC 'MDCX' is not in mdc.csv", file="adrg.csv", row=4)


def test_a_drg_of_an_unknown_adrg(folder: Path) -> None:
    change(folder / "drg.csv", ",BB1,", ",BX1,")
    refused(folder, "ADRG 'BX1' is not in adrg.csv", file="drg.csv", row=5)


def test_a_drg_whose_mdc_is_not_that_of_its_adrg(folder: Path) -> None:
    change(folder / "drg.csv", ",BB1,MDCB,", ",BB1,MDCA,")
    said = "MDC 'MDCA', but adrg.csv puts BB1 into MDCB"
    refused(folder, said, file="drg.csv", row=5)


def test_an_mdc_without_an_adrg(folder: Path) -> None:
    change(folder / "mdc.csv", "MDCB,name", "MDCC,name of MDCC,ZYZD in OTHER,3\nMDCB,name")
    refused(folder, "MDCC has no row in the table below it", file="mdc.csv", row=3)


def test_an_adrg_without_a_drg(folder: Path) -> None:
    change(folder / "drg.csv", "AB19,name of AB19,,AB1,MDCA,3\n", "")
    refused(folder, "AB1 has no row in the table below it", file="adrg.csv", row=3)


@pytest.mark.parametrize("sort", ["", "first", "1.5", "-1", "1e3", "1 2"])
def test_a_sort_that_is_no_whole_number(folder: Path, sort: str) -> None:
    change(folder / "mdc.csv", "OTHER,2", f"OTHER,{sort}")
    refused(folder, f"sort {sort!r} is not a whole number", file="mdc.csv", row=3)


@pytest.mark.parametrize(
    ("table", "rule", "row", "column"),
    [("mdc", "ZYZD in OTHER", 3, 9), ("adrg", "ZYSS in PX", 2, 9), ("drg", "QTZD in CC", 2, 9)],
)
def test_a_rule_that_does_not_parse(
    folder: Path, table: str, rule: str, row: int, column: int
) -> None:
    change(folder / f"{table}.csv", rule, rule[:8] + "?")
    error = refused(
        folder,
        f"column {column} of the rule: expected the name of a set, found '?'",
        file=f"{table}.csv",
        row=row,
        kind=RuleError,
    )
    assert isinstance(error, RuleError)
    assert error.column == column


@pytest.mark.parametrize("row", ["DX,", ",d9", ","])
def test_an_empty_cell_of_the_set_table(folder: Path, row: str) -> None:
    change(folder / "sets.csv", "OTHER,d3", row)
    refused(folder, "an empty set name or code", file="sets.csv", row=4)


def test_a_set_that_is_used_and_not_defined(folder: Path) -> None:
    change(folder / "sets.csv", "PX,p1", "QX,p1")
    said = (
        "1 sets are used and not defined in sets.csv: PX; add them, "
        "or list them under known_empty_sets in scheme.toml"
    )
    refused(folder, said, file="adrg.csv", row=2)


def test_every_set_that_is_not_defined_is_named(folder: Path) -> None:
    change(
        folder / "drg.csv", "QTZD in CC", '"QTZD in CC or QTSS in {S1, PX} or length(S2 ∩ QTSS)>1"'
    )
    change(folder / "sets.csv", "OTHER,d3\n", "")
    said = "3 sets are used and not defined in sets.csv: OTHER, S1, S2;"
    refused(folder, said, file="mdc.csv", row=3)


def test_sets_are_told_apart_by_case(folder: Path) -> None:
    change(folder / "sets.csv", "PX,p1", "px,p1")
    refused(folder, "not defined in sets.csv: PX;", file="adrg.csv", row=2)


def test_mcc_and_cc_need_no_set(folder: Path) -> None:
    change(folder / "drg.csv", "QTZD in CC", '"QTZD in {MCC, CC}"')
    assert load_drg(folder).drgs[0].text == "QTZD in {MCC, CC}"


@pytest.mark.parametrize("level", ["", "cc", "HCC", "严重"])
def test_an_unknown_type_of_complication(folder: Path, level: str) -> None:
    change(folder / "cc.csv", "c2,MCC,", f"c2,{level},")
    refused(folder, f"type {level!r} is neither MCC nor CC", file="cc.csv", row=3)


def test_an_exclusion_without_rows(folder: Path) -> None:
    change(folder / "cc.csv", "EX_2", "EX_3")
    said = (
        "exclusion EX_3 has no row in exclusions.csv; add it, "
        "or list it under never_excluded in scheme.toml"
    )
    refused(folder, said, file="cc.csv", row=4)


def test_two_exclusions_for_one_code_and_level(folder: Path) -> None:
    change(folder / "cc.csv", "c3,CC,EX_2", "c1,CC,EX_2")
    refused(folder, "CC c1 has two exclusions", file="cc.csv", row=4)
    change(folder / "cc.csv", "c1,CC,EX_2", "c1,CC,")
    refused(folder, "CC c1 has two exclusions", file="cc.csv", row=4)


def test_the_same_exclusion_twice_and_one_for_each_level_are_accepted(folder: Path) -> None:
    path = folder / "cc.csv"
    path.write_text(path.read_text("utf-8") + "c1,CC,EX_1\nc1,MCC,EX_2\n", "utf-8")
    scheme = load_drg(folder)
    assert (scheme.cc["c1"], scheme.mcc["c1"]) == ("EX_1", "EX_2")


# -------------------------------------------------------------------------------------- scheme.toml


def add(folder: Path, line: str) -> int:
    """Add to scheme.toml and return the number of the (first) line added."""
    path = folder / "scheme.toml"
    before = path.read_text("utf-8")
    path.write_text(f"{before}{line}\n", "utf-8")
    return before.count("\n") + 1


def test_toml_that_is_none(folder: Path) -> None:
    row = add(folder, "grey_principal = allow")
    refused(folder, "not TOML in UTF-8", file="scheme.toml", row=row)


def test_toml_that_is_not_utf_8(folder: Path) -> None:
    path = folder / "scheme.toml"
    path.write_bytes(path.read_bytes() + 'edition = "新"\n'.encode("gb18030"))
    refused(folder, "not TOML in UTF-8", file="scheme.toml")


def test_an_unknown_key(folder: Path) -> None:
    row = add(folder, "retry_all = true\nknown_empty_set = []")
    said = "retry_all: Extra inputs are not permitted; known: ", ", known_empty_sets, "
    second = f"; line {row + 1}: known_empty_set: Extra inputs are not permitted"
    refused(folder, *said, second, file="scheme.toml", row=row)


@pytest.mark.parametrize("key", ["id", "title"])
def test_a_missing_key(folder: Path, key: str) -> None:
    path = folder / "scheme.toml"
    lines = [n for n in path.read_text("utf-8").splitlines() if not n.startswith(f"{key} ")]
    path.write_text("\n".join(lines), "utf-8")
    refused(folder, f"{key}: Field required", file="scheme.toml")


@pytest.mark.parametrize(
    "line",
    [
        'newborn_weight = "both"',
        'grey_principal = "keep"',
        'grey_procedure = "allow"',
        "retry_other_procedures = 1",
        'retry_other_procedures = "true"',
        'known_empty_sets = "OP_DA1"',
        "never_excluded = [999]",
        'valid_from = "2022-01-01"',
        "published = 2022",
        "sources = []",
        "ambiguous_adrg = 1",
    ],
)
def test_a_wrong_value_of_an_option(folder: Path, line: str) -> None:
    row = add(folder, line)
    refused(folder, f"{line.split(' ')[0]}", ": Input should be", file="scheme.toml", row=row)


@pytest.mark.parametrize("name", ["nothing", "whole", "codes-nhsa-2.0"])
def test_inherits_nothing_or_itself_or_no_scheme(folder: Path, name: str) -> None:
    add(folder, f'inherits = "{name}"')
    said = f"inherits {name!r}, which is no scheme beside it"
    refused(folder, said, file="scheme.toml")


def test_a_variant_inherits_the_tables_that_it_lacks(folder: Path) -> None:
    variant = folder.parent / "variant"
    variant.mkdir()
    (variant / "scheme.toml").write_text('id = "v"\ntitle = "v"\ninherits = "whole"\n', "utf-8")
    (variant / "sets.add.csv").write_text("set,code\nOTHER,d9\nNEW,d8\n", "utf-8")
    both = Both(variant)
    assert both("d9").group == "BB19"
    assert both("d1", "c3", px=["p1"]).group == "AA11"
    assert both.scheme.set_codes["NEW"] == {"d8"}
    assert Both(folder)("d9").reason == "no_mdc"


def test_a_fault_of_an_added_row_names_the_file_that_adds_it(folder: Path) -> None:
    variant = folder.parent / "variant"
    variant.mkdir()
    (variant / "scheme.toml").write_text('id = "v"\ntitle = "v"\ninherits = "whole"\n', "utf-8")
    (variant / "sets.add.csv").write_text("set,code\nOTHER,d9\nOTHER,\n", "utf-8")
    refused(variant, "an empty set name or code", file="sets.add.csv", row=3)


def test_options_are_not_inherited(folder: Path) -> None:
    add(folder, "retry_other_procedures = true")
    variant = folder.parent / "variant"
    variant.mkdir()
    (variant / "scheme.toml").write_text('id = "v"\ntitle = "v"\ninherits = "whole"\n', "utf-8")
    assert load_drg(folder).settings.retry_other_procedures
    assert not load_drg(variant).settings.retry_other_procedures


# -------------------------------------------------------------------------------------------- names


def test_an_unknown_code_list(folder: Path) -> None:
    add(folder, 'code_list = "codes-of-nobody"')
    with pytest.raises(SchemeNotFound) as e:
        load_drg(folder)
    assert e.value.code == "E200"
    assert str(e.value) == (
        "[E200] no code list 'codes-of-nobody'; known: codes-nhsa-2.0; or give the path of a folder"
    )


def test_a_fault_of_a_code_list(folder: Path) -> None:
    add(folder, 'code_list = "few"')
    codes = tiny_codes(folder / "few", diagnoses=["d1", "d2"])
    assert load_drg(folder).code_list is not None
    (codes / "diagnoses.csv").write_text("code,name\nd1,one\nd2\n", "utf-8")
    refused(folder, "1 cells where the header has 2", file="diagnoses.csv", row=3)
    (codes / "codes.toml").write_text('id = "few"\n', "utf-8")
    refused(folder, "title: Field required", file="codes.toml")


def test_clinical_codes_need_a_code_list(folder: Path) -> None:
    with pytest.raises(TableError) as e:
        group([case("d1", case_id="1")], load_drg(folder), codes="clinical")
    assert e.value.file == "scheme.toml"
    assert "codes='clinical' needs a code list with maps" in str(e.value)


def test_an_unknown_scheme_lists_the_known_ones(tmp_path: Path) -> None:
    nearest = "; the nearest is 'chs-drg-1.1'"
    for name, near in (("chs-drg-9", nearest), (tmp_path / "nowhere", "")):
        with pytest.raises(SchemeNotFound) as e:
            load_drg(name)
        assert e.value.code == "E200"
        assert e.value.known == scheme_ids() == ["chs-drg-1.1", "chs-drg-1.1-qy", "dip-demo"]
        assert str(e.value) == (
            f"[E200] no scheme {str(name)!r}{near}; known: chs-drg-1.1, chs-drg-1.1-qy, dip-demo; "
            "or give the path of a folder"
        )


def test_a_folder_without_scheme_toml(tmp_path: Path) -> None:
    refused(tmp_path, f"the folder {tmp_path} has no such file", file="scheme.toml")


class Loader(NamedTuple):
    """A way of loading by name, and what it calls its things."""

    load: Callable[[str], object]
    kind: str


@pytest.mark.parametrize(
    "loader",
    [Loader(load_drg, "scheme"), Loader(load_codes, "code list"), Loader(load_policy, "policy")],
)
@pytest.mark.parametrize("name", ["../chs-drg-1.1", "chs-drg-1.1/", "CHS-DRG-1.1x", "\u3000"])
def test_a_name_is_taken_literally(loader: Loader, name: str) -> None:
    with pytest.raises(GrouperError) as e:
        loader.load(name)
    assert isinstance(e.value, SchemeNotFound)
    assert f"no {loader.kind} {name!r}" in str(e.value)


def test_the_national_3_0_rules_are_refused_for_their_missing_sets() -> None:
    """Only the rules of 3.0 are public; the message tells the user what the workbook must bring."""
    error = refused(shared("facts/drg_3_0"), file="mdc.csv", row=3)
    message = str(error)
    listed = message.split("sets.csv: ")[1].split("; add them")[0].split(", ")
    assert f"mdc.csv:3: {len(listed)} sets are used and not defined in sets.csv: " in message
    assert len(listed) == len(set(listed)) == 634
    assert {"OP_ALL", "DI_PV1", "DI_Z01", "OP_ARB", "DI_OR1", "OP_IC2"} <= set(listed)
    assert not {"MCC", "CC"} & set(listed)
    assert "or list them under known_empty_sets in scheme.toml" in message
