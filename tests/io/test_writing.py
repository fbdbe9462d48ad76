"""Writing: files and run folders whole or not at all; the content hash and what it does not see."""

from __future__ import annotations

import json
import os
import sys
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from grouper import _excel, _platform, _writing
from grouper._csv_texts import marked_text
from grouper.errors import CaseFileError, CaseSchemaError
from grouper.io import content_hash, read_cases, read_run, write_run, write_table

CASES = pa.table(
    {
        "case_id": ["1", "2", "3"],
        "hospital_id": ["00012", None, 'a, "b"'],
        "sex": pa.array([1, 2, None], pa.int32()),
        "age": pa.array([50, 0, 7], pa.int32()),
        "discharge_date": [date(2025, 1, 31), None, date(2024, 2, 29)],
        "diagnoses": [["A01.100", "B02.200"], ["Z"], ["0012"]],
        "procedures": [[], ["39.5000"], ["00.5000"]],
        "total_cost_fen": [136627, None, -5],
    }
)


def names_in(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.rglob("*"))


# ------------------------------------------------------------------------------------------ tables


@pytest.mark.parametrize("ending", [".parquet", ".arrow", ".csv", ".xlsx", ".CSV"])
def test_what_is_written_is_read_back(ending: str, tmp_path: Path) -> None:
    path = tmp_path / "new" / f"cases{ending}"
    write_table(CASES, path)
    write_table(CASES, path)
    back = read_cases(path)
    assert back.table.to_pylist() == CASES.to_pylist()
    assert content_hash(back.table) == content_hash(CASES)
    assert names_in(tmp_path) == sorted(["new", path.name])


cells = st.text(st.sampled_from('aZ0,"|;=\n三 '), max_size=6)


@settings(deadline=None, max_examples=50)
@given(st.lists(cells, min_size=1, max_size=5))
def test_csv_reads_back_any_text(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    table = pa.table(
        {
            "case_id": [str(k) for k in range(len(texts))],
            "hospital_id": texts,
            "sex": pa.nulls(len(texts), pa.int32()),
            "age": pa.nulls(len(texts), pa.int32()),
            "diagnoses": [["A"]] * len(texts),
            "procedures": [["B"]] * len(texts),
        }
    )
    path = tmp_path_factory.mktemp("csv") / "cases.csv"
    write_table(table, path)
    back = read_cases(path).table["hospital_id"].to_pylist()
    assert back == [marked_text(t).strip() or None for t in texts]


def test_csv_is_plain_utf8(tmp_path: Path) -> None:
    coded = pa.array(["三级", "x"]).dictionary_encode()
    lists = pa.array([["a", None], None], pa.list_(pa.string()))
    coded_lists = pa.array([["p", "q"], []]).cast(pa.list_(pa.dictionary(pa.int8(), pa.string())))
    table = pa.table({"level, of": coded, "codes": lists, "more": coded_lists, "n": [1, 2]})
    write_table(table, tmp_path / "t.csv")
    text = (tmp_path / "t.csv").read_bytes().decode()
    assert text == '"level, of",codes,more,n\n三级,a|,p|q,1\nx,,,2\n'


def test_excel_cells(tmp_path: Path) -> None:
    calamine = pytest.importorskip("python_calamine")
    table = pa.table(
        {
            "code": ["0012", "39.5000", "1e5"],
            "note": ["=1+1", "+x", "@SUM(A1)"],
            "more": ["-1", "http://a", None],
            "pay_fen": pa.array([136627, -5, None], pa.int64()),
            "drug_fen": [100, 200, 10**13],
            "drug": ["a", "b", "c"],
            "ratio": [Decimal("1.25"), Decimal("0.50"), None],
            "day": [date(2025, 1, 31), None, None],
            "at": [datetime(2025, 1, 31, 10, 5), None, None],
            "is_paid": [True, False, None],
            "big": [2**60, 1, None],
            "x": [1.5, float("nan"), float("inf")],
            "status": pa.array(["grouped", None, "grouped"]).dictionary_encode(),
        }
    )
    write_table(table, tmp_path / "t.xlsx")
    sheet = calamine.CalamineWorkbook.from_path(str(tmp_path / "t.xlsx")).get_sheet_by_index(0)
    rows = sheet.to_python()
    assert rows[0][3:6] == ["pay", "drug_yuan", "drug"]
    assert rows[1][:6] == ["0012", "=1+1", "-1", 1366.27, 1.0, "a"]
    assert rows[2][:5] == ["39.5000", "+x", "http://a", -0.05, 2.0]
    assert rows[3][:5] == ["1e5", "@SUM(A1)", "", "", 1e11]
    assert rows[1][6:10] == [1.25, date(2025, 1, 31), datetime(2025, 1, 31, 10, 5), True]
    assert (rows[1][10], rows[2][10]) == (str(2**60), 1.0)
    assert [r[11] for r in rows[1:]] == [1.5, "nan", "inf"]
    assert [r[12] for r in rows[1:]] == ["grouped", "", "grouped"]


def test_excel_refuses_what_it_cannot_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("xlsxwriter")
    with pytest.raises(CaseFileError, match=r"row 2, x: too long for Excel"):
        write_table(pa.table({"x": ["a" * 40_000]}), tmp_path / "t.xlsx")
    monkeypatch.setattr(_excel, "ROWS", 2)
    with pytest.raises(CaseFileError, match=r"3 rows; Excel holds 2: write \.parquet or \.csv"):
        write_table(CASES, tmp_path / "t.xlsx")
    monkeypatch.setitem(sys.modules, "xlsxwriter", None)
    with pytest.raises(CaseFileError, match=r'pip install "drgdip-grouper\[excel\]"'):
        write_table(CASES, tmp_path / "t.xlsx")
    assert names_in(tmp_path) == []


def test_an_unknown_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CaseFileError, match=r"a result ends in \.parquet, \.arrow, \.csv, \.xlsx"):
        write_table(CASES, tmp_path / "t.txt")


@pytest.mark.promise("Outputs are whole or not at all")
@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, OSError])
def test_a_broken_write_leaves_the_old_file(
    error: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "t.csv"
    path.write_text("old")

    def broken(table: pa.Table, file: Any, name: str) -> None:
        file.write(b"half")
        raise error("the disk is full")

    monkeypatch.setitem(_writing._WRITERS, ".csv", broken)
    expected = CaseFileError if error is OSError else error
    with pytest.raises(expected, match="the disk is full"):
        write_table(CASES, path)
    assert path.read_text() == "old"
    assert names_in(tmp_path) == ["t.csv"]


def test_a_folder_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "t.csv").mkdir()
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "t.csv", tmp_path / "file" / "t.csv"):
        with pytest.raises(CaseFileError, match="cannot be written"):
            write_table(CASES, path)
    assert names_in(tmp_path) == ["file", "t.csv"]


def test_the_new_file_has_the_usual_rights(tmp_path: Path) -> None:
    write_table(CASES, tmp_path / "t.csv")
    (tmp_path / "plain").write_text("x")
    assert (tmp_path / "t.csv").stat().st_mode == (tmp_path / "plain").stat().st_mode


# -------------------------------------------------------------------------------------- run folders

TABLES = {"cases": CASES, "pools": pa.table({"pool_id": ["p"], "pay_fen": [1]})}
MANIFEST = {"scheme": "三", "a": {"c": 1, "b": [1, None]}}


def test_a_run_is_read_back(tmp_path: Path) -> None:
    where = write_run(
        tmp_path / "runs" / "2025",
        TABLES,
        MANIFEST,
        {"statements/H1.csv": "a,b\n", "logo.bin": b"\0"},
    )
    run = read_run(where)
    assert run.manifest == MANIFEST
    assert {n: t.to_pylist() for n, t in run.tables.items()} == {
        n: t.to_pylist() for n, t in TABLES.items()
    }
    assert (where / "statements" / "H1.csv").read_text() == "a,b\n"
    text = (where / "manifest.json").read_text("utf-8")
    assert text == json.dumps(MANIFEST, ensure_ascii=False, sort_keys=True, indent=2) + "\n"
    assert names_in(tmp_path / "runs") == sorted(
        "2025 H1.csv cases.parquet logo.bin manifest.json pools.parquet statements".split()
    )


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    write_run(tmp_path / "run", TABLES, MANIFEST)
    assert read_run(tmp_path / "run").manifest == MANIFEST


def test_an_earlier_run_is_replaced_only_when_allowed(tmp_path: Path) -> None:
    where = write_run(tmp_path / "run", TABLES, MANIFEST)
    with pytest.raises(CaseFileError, match="it holds an earlier run"):
        write_run(where, TABLES, {})
    assert read_run(where).manifest == MANIFEST
    write_run(where, TABLES, {"new": 1}, overwrite=True)
    assert read_run(where).manifest == {"new": 1}


@pytest.mark.promise("What no run wrote is never overwritten")
def test_a_file_that_no_run_wrote_is_never_replaced(tmp_path: Path) -> None:
    where = write_run(tmp_path / "run", TABLES, MANIFEST)
    (where / "notes.txt").write_text("mine")
    with pytest.raises(CaseFileError, match=r"notes\.txt"):
        write_run(where, TABLES, MANIFEST, overwrite=True)
    assert (where / "notes.txt").read_text() == "mine"
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "manifest.json").write_text("{}")
    (tmp_path / "web" / "index.html").write_text("mine")
    with pytest.raises(CaseFileError, match=r"index\.html"):
        write_run(tmp_path / "web", TABLES, MANIFEST, overwrite=True)


def test_a_folder_of_something_else_is_never_touched(tmp_path: Path) -> None:
    (tmp_path / "thesis.doc").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(CaseFileError, match="no earlier run"):
            write_run(tmp_path, TABLES, MANIFEST, overwrite=overwrite)
    with pytest.raises(CaseFileError, match="it is a file"):
        write_run(tmp_path / "thesis.doc", TABLES, MANIFEST, overwrite=True)
    assert names_in(tmp_path) == ["thesis.doc"]


@pytest.mark.promise("Outputs are whole or not at all")
@pytest.mark.parametrize("broken_call", ["_write_parquet", "replacing", "_put_in_place"])
def test_nothing_half_written_remains(
    broken_call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = write_run(tmp_path / "run", TABLES, MANIFEST)
    before = names_in(tmp_path)

    def broken(*args: Any, **named: Any) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(_writing, broken_call, broken)
    with pytest.raises(CaseFileError, match="the disk is full"):
        write_run(where, TABLES, {}, overwrite=True)
    with pytest.raises(CaseFileError, match="the disk is full"):
        write_run(tmp_path / "other", TABLES, {})
    assert names_in(tmp_path) == before
    assert read_run(where).manifest == MANIFEST


@pytest.mark.promise("Outputs are whole or not at all")
def test_the_earlier_run_comes_back_when_the_last_step_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = write_run(tmp_path / "run", TABLES, MANIFEST)
    monkeypatch.setattr(_platform, "exchange", lambda a, b: False)  # a system that cannot swap
    rename, done = os.replace, []

    def second_fails(a: Path, b: Path) -> None:
        done.append(a)
        if len(done) == 2:
            raise PermissionError(13, "held open")
        rename(a, b)

    monkeypatch.setattr(os, "replace", second_fails)
    with pytest.raises(CaseFileError, match="held open"):
        write_run(where, TABLES, {}, overwrite=True)
    assert read_run(where).manifest == MANIFEST
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run"]


@pytest.mark.promise("No path leads from input to a file that was not named")
def test_names_stay_in_the_folder(tmp_path: Path) -> None:
    for name in ("../x", "/x", "a/../../x", "C:x", "", "..\\x"):
        with pytest.raises(CaseFileError, match="leads out of the folder"):
            write_run(tmp_path / "run", {}, {}, {name: "x"})
    for files in ({"manifest.json": "x"}, {"cases.parquet": "x"}):
        with pytest.raises(CaseFileError, match="written twice"):
            write_run(tmp_path / "run", TABLES, {}, files)
    with pytest.raises(CaseFileError, match="cannot be written"):
        write_run(tmp_path / "run", {}, {}, {"a": "x", "a/b": "x"})
    with pytest.raises(ValueError, match="JSON"):
        write_run(tmp_path / "run", {}, {"x": float("nan")})
    assert names_in(tmp_path) == []


def test_what_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(CaseFileError, match="no run is there"):
        read_run(tmp_path)
    where = write_run(tmp_path / "run", TABLES, MANIFEST)
    (where / "pools.parquet").write_bytes(b"PAR1")
    with pytest.raises(CaseFileError, match="truncated"):
        read_run(where)
    (where / "manifest.json").write_text("{")
    with pytest.raises(CaseFileError, match="damaged"):
        read_run(where)


# ------------------------------------------------------------------------------------ content hash

COLUMNS: dict[str, tuple[pa.DataType, st.SearchStrategy[Any]]] = {
    "text": (pa.string(), st.text(max_size=3)),
    "whole": (pa.int32(), st.integers(-5, 5)),
    "ratio": (pa.decimal128(9, 4), st.decimals(-9, 9, places=4)),
    "x": (pa.float64(), st.floats(width=32)),
    "flag": (pa.bool_(), st.booleans()),
    "large": (pa.uint64(), st.integers(0, 2**64 - 1)),
    "day": (pa.date32(), st.dates()),
    "at": (pa.timestamp("us"), st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1))),
    "codes": (pa.list_(pa.string()), st.lists(st.none() | st.text("ab", max_size=2), max_size=3)),
    "none": (pa.null(), st.none()),
}
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
SCHEMA = pa.schema([("case_id", pa.string()), *((n, kind) for n, (kind, _) in COLUMNS.items())])
rows = st.lists(
    st.fixed_dictionaries(
        {
            "case_id": st.none() | st.text("aé三", max_size=2),
            **{n: st.none() | values for n, (_, values) in COLUMNS.items()},
        }
    ),
    max_size=8,
)


def table_of(given_rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(given_rows, SCHEMA)


@pytest.mark.promise("The content hash sees values only")
@patient
@given(rows, st.randoms(use_true_random=False))
def test_the_order_of_rows_is_not_seen(given_rows: list[dict[str, Any]], random: Any) -> None:
    shuffled = list(given_rows)
    random.shuffle(shuffled)
    assert content_hash(table_of(given_rows)) == content_hash(table_of(shuffled))


@pytest.mark.promise("The content hash sees values only")
@patient
@given(rows, st.integers(0, 8))
def test_how_arrow_holds_the_values_is_not_seen(given_rows: list[dict[str, Any]], cut: int) -> None:
    table = table_of(given_rows)
    wanted = content_hash(table)
    pieces = pa.concat_tables([table.slice(0, cut), table.slice(cut)])
    padded = pa.concat_tables([table_of(given_rows[:1]), table]).slice(min(1, len(given_rows)))
    other = {
        "case_id": pa.dictionary(pa.int16(), pa.string()),
        "text": pa.large_string(),
        "whole": pa.int64(),
        "ratio": pa.decimal256(40, 4),
        "codes": pa.large_list(pa.large_string()),
    }
    fields = [(f.name, other.get(f.name, f.type)) for f in SCHEMA]
    recast = pa.table([table[n].cast(kind) for n, kind in fields], schema=pa.schema(fields))
    coded_list = pa.list_(pa.dictionary(pa.int32(), pa.string()))
    coded = table.set_column(
        table.column_names.index("codes"), "codes", table["codes"].combine_chunks().cast(coded_list)
    )
    viewed = table.set_column(1, "text", table["text"].cast(pa.string_view()))
    for same in (pieces, padded, recast, coded, viewed, table.combine_chunks()):
        assert content_hash(same) == wanted


@pytest.mark.promise("The content hash sees values only")
@patient
@given(rows, rows)
def test_other_values_hash_otherwise(a: list[dict[str, Any]], b: list[dict[str, Any]]) -> None:
    def key(r: dict[str, Any]) -> str:
        return repr({n: v + 0.0 if isinstance(v, float) else v for n, v in r.items()})

    same = sorted(map(key, a)) == sorted(map(key, b))
    assert (content_hash(table_of(a)) == content_hash(table_of(b))) == same


def test_bytes_under_nulls_are_not_seen() -> None:
    valid = pa.py_buffer(b"\x05")  # rows 0 and 2
    hashes = set()
    for junk in (0, 77):
        data = pa.py_buffer(bytes([1, 0, 0, 0, junk, 0, 0, 0, 3, 0, 0, 0]))
        whole = pa.Array.from_buffers(pa.int32(), 3, [valid, data])
        under = b"junk" if junk else b""
        ends = (0, 1, 1 + len(under), 2 + len(under))
        offsets = pa.py_buffer(b"".join(k.to_bytes(4, "little") for k in ends))
        held = pa.py_buffer(b"a" + under + b"c")
        text = pa.Array.from_buffers(pa.string(), 3, [valid, offsets, held])
        ids = pa.array(["1", "2", "3"])
        hashes.add(content_hash(pa.table({"case_id": ids, "n": whole})))
        lists = pa.ListArray.from_arrays(
            pa.array([0, 1, 2, 3], pa.int32()),
            pa.array(["a", f"junk{junk}", "c"]),
            mask=pa.array([False, True, False]),
        )
        hashes.add(content_hash(pa.table({"case_id": ids, "l": lists})))
        hashes.add(content_hash(pa.table({"case_id": ids, "t": text})))
    assert len(hashes) == 3


def test_zeros_and_nans_are_one() -> None:
    def of(*values: float) -> str:
        return content_hash(pa.table({"case_id": ["a"] * len(values), "x": list(values)}))

    nan = float("nan")
    assert of(0.0, nan) == of(nan, -0.0) == of(-nan, 0.0)
    assert of(0.0) != of(1.0)


def test_names_order_and_kinds_of_columns_are_seen() -> None:
    table = pa.table({"case_id": ["1"], "a": [1], "b": [1]})
    others = [
        table.select(["case_id", "b", "a"]),
        table.rename_columns(["case_id", "a", "c"]),
        table.select(["case_id", "a"]),
        pa.table({"case_id": ["1"], "a": ["1"], "b": [1]}),
        pa.table({"case_id": ["1"], "a": pa.array([None], pa.int64()), "b": [1]}),
    ]
    assert len({content_hash(t) for t in [table, *others]}) == 6


def test_lists_do_not_run_together() -> None:
    def of(*lists: list[str] | None) -> str:
        ids = [str(k) for k in range(len(lists))]
        return content_hash(pa.table({"case_id": ids, "l": pa.array(lists, pa.list_(pa.string()))}))

    assert (
        len(
            {of(["ab"], []), of(["a", "b"], []), of(["a"], ["b"]), of([], ["ab"]), of(["ab"], None)}
        )
        == 5
    )


def test_other_keys() -> None:
    table = pa.table({"hospital_id": ["b", "a", "a"], "pool_id": [1, 2, 1]})
    assert content_hash(table, "hospital_id") == content_hash(table.take([2, 0, 1]), "hospital_id")
    assert content_hash(table, "pool_id") == content_hash(table.take([2, 0, 1]), "pool_id")
    for key in ("case_id", "l"):
        with pytest.raises(CaseSchemaError, match="the key of the hash"):
            content_hash(pa.table({"l": [["x"]]}), key)
    with pytest.raises(
        CaseSchemaError, match=r"column 's' is struct<.*>, which has no content hash"
    ):
        content_hash(pa.table({"case_id": ["1"], "s": [{"a": 1}]}))


def test_the_hash_is_a_known_one() -> None:
    """A change of this value breaks every manifest that was written before."""
    assert content_hash(CASES) == KNOWN
    assert content_hash(CASES.take(pc.sort_indices(CASES, [("age", "ascending")]))) == KNOWN


def test_the_hash_survives_parquet(tmp_path: Path) -> None:
    coded = CASES.set_column(1, "hospital_id", CASES["hospital_id"].dictionary_encode())
    pq.write_table(coded, tmp_path / "t.parquet", row_group_size=1)
    assert content_hash(pq.read_table(tmp_path / "t.parquet")) == KNOWN


KNOWN = "62af5ff600762eb29e831179e4b7c96ca9fba4a6cc6c964e44894ed0de91b9ef"
