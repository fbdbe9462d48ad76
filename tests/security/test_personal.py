"""Personal columns are never read; what a case holds stays out of logs, errors and traces."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from shared import ROOT

from grouper import CaseSchemaError, cli, read_cases
from grouper.io import write_table

pytestmark = pytest.mark.promise(
    "Personal columns are never read, and reach no output, message or log"
)

OFFICIAL = [
    *("psn_name", "patn_name", "certno", "psn_cert_no", "brdy", "tel", "email", "emp_name"),
    *("emp_addr", "emp_tel", "curr_addr", "resd_addr", "coner_name", "coner_addr", "coner_tel"),
    *("chfpdr_name", "atddr_name", "acct_name", "guardian_name", "patient_name", "Date of Birth"),
]
CHINESE = [
    *("姓名", "患者姓名", "身份证号", "证件号码", "出生日期", "现住址", "户口地址", "联系地址"),
    *("联系电话", "手机号码", "联系人姓名", "联系人电话", "工作单位", "单位电话", "社保卡号"),
    *("医保卡号", "银行卡号", "护照号", "电子邮箱", "监护人姓名"),
]
PINYIN = ["XM", "SFZH", "SFZHM", "CSRQ", "LXDH", "LXRXM", "LXRDZ", "SJH", "XZZ", "HKDZ", "JTDZ"]
PERSONAL = OFFICIAL + CHINESE + PINYIN
"""Headers of the settlement list, of the front page, of exports from hospital systems."""

NOT_PERSONAL = ["psn_no", "hospital_name", "birth_weight", "nwb_bir_wt", "ward", "病案号", "科室"]

CANARY = "CANARY"
CASE = ("COSTLY7654321", "K22.301", "ODDCODE99")

ROWS = (
    "1001,H1,三级,310,1,50,2025-01-03,K22.301|E11.900,,8000.00,6000.00",
    "1002,H1,三级,310,2,34,2025-02-05,J18.900|ODDCODE99,ODDPROC98,7654321.09,2500.25",
    "1003,H2,二级,390,1,61,2025-03-09,ODDCODE97,,1,1",
)
HEADER = "case_id,hospital_id,hospital_level,insurance,sex,age,settlement_date,diagnoses,procedures"
HEADER += ",total_cost,fund_paid"


def personal_cells(row: int) -> list[str]:
    return [f"{CANARY}{row}x{k}" for k in range(len(PERSONAL))]


@pytest.fixture
def cases(tmp_path: Path) -> Path:
    path = tmp_path / "cases.csv"
    lines = [",".join([HEADER, *PERSONAL])]
    lines += [",".join([row, *personal_cells(k)]) for k, row in enumerate(ROWS)]
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def call(*words: str | Path) -> int:
    """Run the command line in this process, as a person's shell would."""
    before = sys.argv
    sys.argv = ["grouper", *map(str, words)]
    try:
        cli.main()
    except SystemExit as e:
        return int(e.code or 0)
    finally:
        sys.argv = before


def bytes_of(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield every file's bytes, and what its parts unpack to."""
    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            continue
        yield path.name, path.read_bytes()
        if path.suffix == ".parquet":
            table = pq.read_table(path)
            yield (
                path.name,
                json.dumps([table.to_pylist(), str(table.schema)], default=str).encode(),
            )
        elif path.suffix == ".arrow":
            yield path.name, str(pa.ipc.open_file(path).read_all().to_pylist()).encode()
        elif path.suffix == ".xlsx":
            with zipfile.ZipFile(path) as book:
                yield from ((f"{path.name}/{n}", book.read(n)) for n in book.namelist())


# --------------------------------------------------------------------------------------- the columns


@pytest.mark.parametrize("header", PERSONAL)
def test_a_personal_column_is_dropped_named_and_cannot_be_mapped(
    header: str, tmp_path: Path
) -> None:
    path = tmp_path / "cases.csv"
    path.write_text(f"{HEADER},{header}\n{ROWS[0]},{CANARY}\n", "utf-8")
    found = read_cases(path)
    assert (found.dropped, found.ignored) == ([header], [])
    assert CANARY not in str(found)
    assert CANARY not in str(found.table.to_pydict())
    (tmp_path / "map.toml").write_text(f'[columns]\npatient_id = "{header}"\n', "utf-8")
    with pytest.raises(CaseSchemaError, match="looks personal"):
        read_cases(path, columns=tmp_path / "map.toml")


@pytest.mark.parametrize("header", NOT_PERSONAL)
def test_a_column_of_no_person_is_not(header: str, tmp_path: Path) -> None:
    path = tmp_path / "cases.csv"
    path.write_text(f"{HEADER},{header}\n{ROWS[0]},5\n", "utf-8")
    assert read_cases(path).dropped == []


@pytest.mark.parametrize("ending", [".parquet", ".arrow", ".csv", ".csv.gz", ".xlsx"])
def test_no_kind_of_file_lets_them_in(ending: str, cases: Path, tmp_path: Path) -> None:
    import gzip

    import pyarrow.csv as pv

    path = tmp_path / f"again{ending}"
    if ending.startswith(".csv"):
        data = cases.read_bytes()
        path.write_bytes(gzip.compress(data) if ending.endswith("gz") else data)
    else:
        write_table(pv.read_csv(cases), path)
    found = read_cases(path)
    assert found.dropped == PERSONAL
    assert CANARY not in str(found.table.to_pydict())
    assert CANARY not in str(found)


# ------------------------------------------------------------------------------- through every command


def test_personal_values_reach_no_output(
    cases: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    scheme = ("--scheme", "chs-drg-1.1")
    paid = (*scheme, "--policy", "example-point")
    for ending in (".csv", ".xlsx", ".parquet", ".arrow"):
        assert call("group", cases, *scheme, "-o", out / f"g{ending}") == 0
    assert call("group", cases, *scheme, "--json") == 0
    assert call("run", cases, *paid, "-o", out / "run", "--statements") == 0
    assert call("audit", out / "run", "-o", out / "audit.xlsx") == 0
    assert call("statements", out / "run", "-o", out / "statements", "--lang", "en") == 0
    assert call("explain", cases, "--case", "1002", *scheme, "--html", out / "e.html") == 0
    assert call("explain", cases, "--case", "1001", *scheme, "--json") == 0
    assert call("tables", "check", "chs-drg-1.1", "--cases", cases) == 0
    assert call("tables", "diff", "chs-drg-1.1", "chs-drg-1.1-qy", "--cases", cases) == 0
    bureau = tmp_path / "bureau.csv"
    lines = [f"case_id,group,pay,{','.join(PERSONAL)}"]
    lines += [f"100{k},BR21,5.00,{','.join(personal_cells(k))}" for k in (1, 2, 3)]
    bureau.write_text("\n".join(lines) + "\n", "utf-8")
    assert call("reconcile", out / "run", bureau, "-o", out / "differences.xlsx") == 0
    assert call("reconcile", out / "run", bureau, "-o", out / "differences") == 0
    said, told = capfd.readouterr()
    assert "姓名" in said  # dropped, and that is reported by its name
    assert CANARY not in said
    assert CANARY not in told
    holding = [name for name, data in bytes_of(out) if b"1002" in data]
    assert len(holding) > 10  # the search would find it
    for name, data in bytes_of(out):
        assert CANARY.encode() not in data, name


def test_personal_values_of_other_tables_reach_no_output(
    cases: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A person's name in the list of hospitals or in a grouped file is no column of a result."""
    out = tmp_path / "out"
    out.mkdir()
    assert call("group", cases, "--scheme", "chs-drg-1.1", "-o", tmp_path / "g.parquet") == 0
    grouped = pq.read_table(tmp_path / "g.parquet")
    for name in ("psn_name", "姓名"):
        grouped = grouped.append_column(name, pa.array([CANARY] * len(grouped)))
    pq.write_table(grouped, tmp_path / "g2.parquet")
    hospitals = tmp_path / "hospitals.csv"
    hospitals.write_text(
        f"hospital_id,hospital_level,联系人\nH1,三级,{CANARY}\nH2,二级,{CANARY}\n", "utf-8"
    )
    words = ("--policy", "example-point", "--hospitals", hospitals, "-o", out / "run")
    assert call("settle", tmp_path / "g2.parquet", *words, "--statements") == 0
    said, told = capfd.readouterr()
    assert CANARY not in said + told
    for name, data in bytes_of(out):
        assert CANARY.encode() not in data, name


# ------------------------------------------------------------------------------------ what errors tell


MALFORMED = {
    "an age": ("1002,H1,三级,310,2,34,", "1002,H1,三级,310,2,SECRETAGE,"),
    "a day": ("2025-02-05", "2025-99-99"),
    "a cost": ("7654321.09", "COSTLY7654321"),
    "an id twice": ("1002,H1", "1001,H1"),
    "a cell more": (",2500.25", ",2500.25,EXTRA"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_row_prints_nothing_of_cases(
    name: str, cases: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    old, new = MALFORMED[name]
    text = cases.read_text("utf-8")
    assert old in text
    cases.write_text(text.replace(old, new, 1), "utf-8")
    words = ("--scheme", "chs-drg-1.1", "-o", tmp_path / "out" / "g.parquet")
    assert call("group", cases, *words) == 0  # the row is rejected, the file is not
    said, told = capfd.readouterr()
    assert told == ""
    for value in (CANARY, *CASE, "SECRETAGE", "EXTRA", "7654321", "ODDPROC98", "1002", "2025-99"):
        assert value not in said
    for file, data in bytes_of(tmp_path / "out"):
        assert CANARY.encode() not in data, file


REFUSED = {
    "no column": ("case_id,", "other,"),
    "a column twice": ("diagnoses,procedures", "diagnoses,diagnoses"),
    "half a file": (ROWS[2], '1003,"'),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_refused_file_tells_its_headers_and_no_cell(
    name: str, cases: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    old, new = REFUSED[name]
    text = cases.read_text("utf-8")
    assert old in text
    cases.write_text(text.replace(old, new, 1), "utf-8")
    assert call("group", cases, "--scheme", "chs-drg-1.1") in (0, 2)
    said, told = capfd.readouterr()
    for value in (CANARY, *CASE, "7654321", "ODDPROC98", "2500.25"):
        assert value not in said + told


@pytest.mark.parametrize(
    ("old", "new"),
    [("8000.00", "8000.00,MORE"), ("310,1,50", "310,1,ODDAGE"), ("2025-01-03", "ODDDAY")],
)
def test_a_grouped_file_that_is_bent_prints_no_cell(
    old: str, new: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "grouped.csv"
    header = HEADER.replace("total_cost", "total_cost_fen").replace("fund_paid", "fund_paid_fen")
    rows = [f"{r},grouped,BR21,{CANARY}" for r in ROWS]
    path.write_text(
        "\n".join([f"{header},status,group,psn_name", *rows]).replace(old, new, 1), "utf-8"
    )
    assert call("settle", path, "--policy", "example-point", "-o", tmp_path / "run") == 2
    said, told = capfd.readouterr()
    assert "cannot be read as grouped cases" in told
    for value in (CANARY, *CASE, "K22", "MORE", "ODDAGE", "ODDDAY", "1001"):
        assert value not in said + told


def test_a_case_that_cannot_be_paid_is_named_without_its_cost(
    cases: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    cases.write_text(cases.read_text("utf-8").replace("7654321.09", "-7654321.09"), "utf-8")
    words = ("--scheme", "chs-drg-1.1", "--policy", "example-point", "-o", tmp_path / "run")
    assert call("run", cases, *words) == 2
    said, told = capfd.readouterr()
    assert "'1002'" in told
    for value in (CANARY, *CASE, "7654321", "ODDPROC98", "1001", "1003"):
        assert value not in said + told


BENT_BUREAU = ["1001,BR21,COSTLY7654321,{0}", "1001,BR21,1.00,{0},MORE", '1001,"BR21,1.00,{0}']


@pytest.mark.parametrize("row", BENT_BUREAU)
def test_a_bureau_file_that_is_bent_prints_no_cell(
    row: str, cases: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ("--scheme", "chs-drg-1.1", "--policy", "example-point", "-o", tmp_path / "run")
    assert call("run", cases, *words) == 0
    bureau = tmp_path / "bureau.csv"
    bureau.write_text(f"case_id,group,pay,psn_name\n{row.format(CANARY)}\n", "utf-8")
    assert call("reconcile", tmp_path / "run", bureau, "-o", tmp_path / "d") in (0, 2)
    said, told = capfd.readouterr()
    for value in (CANARY, *CASE, "MORE"):
        assert value not in said + told


def test_a_case_that_is_not_there_is_named_alone(
    cases: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert call("explain", cases, "--case", "9999", "--scheme", "chs-drg-1.1") == 2
    said, told = capfd.readouterr()
    assert said == ""
    assert "9999" in told
    for value in (CANARY, *CASE, "1001", "1002", "1003"):
        assert value not in told


def test_a_defect_prints_a_traceback_without_values(cases: Path) -> None:
    """What no one foresaw ends in Python's own traceback: lines of source, no values of variables."""
    code = (
        "import sys, grouper\nfrom grouper import _runs, cli\n"
        "def broken(cases, *rest):\n"
        "    table = grouper.read_cases(cases).table\n"
        "    secret = table.to_pydict()\n"
        "    raise RuntimeError('a defect')\n"
        "_runs.group_files = broken\n"
        f"sys.argv = ['grouper', 'group', {str(cases)!r}, '--scheme', 'chs-drg-1.1']\n"
        "cli.main()\n"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=env
    )
    assert done.returncode == 1
    assert "RuntimeError: a defect" in done.stderr
    for value in (CANARY, *CASE, "1001", "7654321", "2025-02-05"):
        assert value not in done.stderr + done.stdout


def test_nothing_logs() -> None:
    """No log is kept: what is said is printed once, by the command line alone."""
    for folder in ("grouper", "tables", "kernels"):
        for path in sorted((ROOT / folder).glob("*.py")):
            text = path.read_text("utf-8")
            assert "print(" not in text.replace("_print(", "").replace("fingerprint(", ""), (
                path.name
            )
            if "click.echo(" in text:
                assert path.name == "cli.py" or path.name.startswith("_cli_")
