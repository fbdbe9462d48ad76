"""Fuzzing of every way in: inputs are mutated, those that reach new lines are kept and mutated again.

The contract of each target: whatever the bytes, the answer has exactly one status for every row that was
read, or it is a `GrouperError`. Anything else, a hang or too much memory is a find.
"""

from __future__ import annotations

import atexit
import gzip
import io
import json
import random
import shutil
import signal
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from oracle.draw_dip import draw_catalogue
from policies import POLICY, TABLES
from properties.year import draw_cases, table_of, year_policy
from tiny import tiny_scheme

import grouper
from grouper import ConservationError, DrgScheme, GrouperError, group, load_drg, load_scheme, settle
from grouper._writing import check_run
from grouper.tables import check, parse, text_of
from grouper.tables._formula import FormulaError, parse_formula, pieces

PATIENCE = 5.0
"""Seconds that an input may take."""

LONGEST = 1 << 16
"""Bytes above which a mutated input is cut."""

PACKAGE = str(Path(grouper.__file__).parent)
TABLES_FOLDER = str(Path(grouper.tables.__file__).parent)


class Broken(Exception):
    """An answer that is none: rows are lost, or one has no status."""


class Slow(BaseException):
    """An input took longer than `PATIENCE`; no `except Exception` of the product may keep it."""


class Input(NamedTuple):
    """Bytes, and which part of the target they are: a file of a folder, a member of a workbook."""

    part: str
    data: bytes


class Find(NamedTuple):
    """What went wrong, in one line, and where: the same fault is found once."""

    text: str
    place: str


@dataclass(frozen=True)
class Target:
    """A way in: its first inputs, the words of its format, and what runs an input in a folder."""

    name: str
    seeds: Callable[[], list[Input]]
    run: Callable[[Input, Path], None]
    words: Sequence[bytes] = ()
    is_json: bool = False


# ------------------------------------------------------------------------------------------- targets

CASE_FILE = "\n".join(
    [
        "case_id,sex,age,age_days,birth_weight,los,diagnoses,procedures,total_cost,discharge_date",
        "C1,1,40,,,3,dx,,1234.56,2025-02-20",
        "C2,女,0,5,2500,12,dx|other,px,0.01,2025/2/3",
        'C3,2,70,,,,"cc","px|q",12,20250131',
        "C4,9,151,,,-1,,,x,2025-13-01",
        "C4,1,1e2,3.5,NaN,１２, dx ,,1e3,",
    ]
)
CASES: list[dict[str, Any]] = [
    {"case_id": "1", "sex": 1, "age": 40, "diagnoses": ["dx"], "procedures": ["px"]},
    {
        "case_id": "2",
        "sex": 2,
        "age": 0,
        "age_days": 3,
        "diagnoses": ["dx", "cc"],
        "procedures": [],
    },
    {
        "case_id": None,
        "sex": 9,
        "age": 1.5,
        "los": 2**40,
        "diagnoses": None,
        "procedures": [None, ""],
    },
]
COLUMN_MAP = """\
separator = "|"
encoding = "gb18030"
[columns]
case_id = "case_id"
total_cost = "total_cost"
[stand_in]
hospital_id = "H1"
los = 3
[values.sex]
"女" = 2
"""
NUMBERS = [
    *(b"0", b"-1", b"1", b"2147483647", b"2147483648", b"-2147483648", b"9223372036854775808"),
    *(b"1e999", b"nan", b"inf", b"0.1", b"-0", b"1" * 40, b"9" * 5000, b"1e-400", b"\xc2\xb2"),
    *("２".encode(), "٣".encode(), b"0x10", b"1_000", b"1e2147483648"),
]
TEXTS = [
    *(b"", b"\x00", b"\xff", b"\xef\xbb\xbf", b"\xff\xfe", "例".encode(), "\u200b".encode()),
    *(b"\xed\xa0\x80", "\u2028".encode(), "😀".encode(), b" ", b"\r", b"\n", b"\r\n", b"\t"),
]
CSV_WORDS = [
    b",",
    b'"',
    b'""',
    b"|",
    b"\n,",
    b"\t",
    b"C1",
    b"dx",
    b"px",
    b"sex",
    b"age",
    b"2025-02-30",
]
JSON_WORDS = [
    *(
        b"{",
        b"}",
        b"[",
        b"]",
        b":",
        b",",
        b"null",
        b"true",
        b'"',
        b"\\ud800",
        b"\\u0000",
        b"{}",
        b"[]",
    ),
    *(b'"sex"', b'"age"', b'"diagnoses"', b'"x":', b"[" * 200, b'["dx"]', b"1.5"),
]
TOML_WORDS = [
    *(b"[", b"]", b"[[", b"]]", b"=", b'"', b"'", b'"""', b"{", b"}", b".", b"#", b"true", b"[]"),
    *(
        b"2025-02-30",
        b"2025-01-01",
        b"07:32:00",
        b"\\ud800",
        b"[" * 300,
        b"a.b.c = 1",
        b"inf",
        b"nan",
    ),
]
RULE_WORDS = [
    *(b"ZYZD", b"QTZD", b"ZYSS", b"QTSS", b"NL", b"XSRTL", b"LYFS", b" in ", b" not in ", b" and "),
    *(
        b" or ",
        b"(",
        b")",
        b"{",
        b"}",
        b",",
        b"<=",
        b"=",
        b"'1'",
        b"length(",
        "∩".encode(),
        b"DX",
        b"CC",
    ),
    *(b"(" * 120, b"MCC", b"PX"),
]
FORMULA_WORDS = [
    *(b"full", b"bare", b"ratio", b"edge", b"above", b"share", b"weight", b"min(", b"max(", b"if("),
    *(b"(", b")", b",", b"+", b"-", b"*", b"/", b"<", b"==", b"0", b"1.5", b"(" * 12, b"-" * 50),
]
LEDGER_CSV = """\
entry_id,kind,pool_id,hospital_id,case_id,settlement_month,amount,value,outcome,reason,reference,entered_by,entered_on
E1,deduction,a,H1,,2025-01,-12.34,,,r,r,me,2025-02-03
E2,special_case,,,C1,,,1.5,cost_over_mean,r,r,me,2025-02-03
E3,prepayment,b,H2,,2025-02,100,,,r,r,me,2025-03-01
E4,assessment,a,H1,,,,0.98,,r,r,me,2025-03-01
"""
HOSPITALS_CSV = """\
hospital_id,hospital_level,hospital_class,hospital_area,valid_from,valid_to
H1,三级,甲,市,2025-01-01,
H2,二级,,县,2024-1-1,2025/6/30
H10,二级,,,,
医院,一级,,,,
"""


def inputs(part: str, *texts: str) -> list[Input]:
    return [Input(part, text.encode()) for text in texts]


@cache
def home() -> Path:
    """Return a folder with what targets need beside their input; made once, never changed."""
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    tiny_scheme(
        folder / "tiny",
        adrg=(
            ("AA1", "ZYSS in PX"),
            ("AB1", "NL<18 or length(PX ∩ {ZYSS, QTSS}) >= 2"),
            ("AC1", ""),
        ),
        drg=(("AA19", ""), ("AB11", "QTZD in CC"), ("AB19", "LYFS = '2'"), ("AC19", "")),
        sets={"DX": ["dx", "dy"], "PX": ["px", "q"]},
    )
    draw_catalogue(random.Random(11), folder / "dip")
    year_policy(folder / "year")
    (folder / "policy").mkdir()
    (folder / "policy" / "policy.toml").write_text(POLICY, "utf-8")
    for name, text in TABLES.items():
        (folder / "policy" / name).write_text(text, "utf-8")
    for name, period in (("run", None), ("month", "2025-01")):
        _write_run(folder, name, period)
    publish(folder / "month")
    return folder


def _write_run(folder: Path, name: str, period: str | None) -> None:
    paid = settle(money_cases(), folder / "year", period=period)
    tables = {name: t for name, t in paid.tables().items() if t.num_rows}
    outputs = {
        n: grouper.content_hash(t, key=grouper._writing.RUN_KEYS[n]) for n, t in tables.items()
    }
    grouper.write_run(folder / name, tables, {**paid.manifest(), "outputs": outputs})


def publish(folder: Path) -> None:
    grouper.publish_run(folder, checked="a", approved="b", published="c")


@cache
def money_cases() -> Any:
    return table_of(draw_cases(1, 12))


@cache
def scheme() -> DrgScheme:
    return load_drg(home() / "tiny")


def judge(cases: Any, n: int, by: grouper.Scheme | None = None) -> None:
    """Group cases; each of the `n` rows has one status."""
    found = group(cases, by or scheme(), threads=1)
    rows = found.to_arrow()
    status = rows["status"]
    if not (len(found) == rows.num_rows == sum(found.counts().values()) == n) or status.null_count:
        raise Broken(f"{n} rows read, {rows.num_rows} out, {found.counts()}")


def read_and_group(path: Path, columns: Path | None = None) -> None:
    read = grouper.read_cases(path, columns=columns, threads=1)
    judge(read.table, len(read))


def as_file(name: str) -> Callable[[Input, Path], None]:
    def run(one: Input, folder: Path) -> None:
        (folder / name).write_bytes(one.data)
        read_and_group(folder / name)

    return run


def run_rule(one: Input, folder: Path) -> None:
    rule = parse(one.data.decode("utf-8", "surrogateescape"))
    if parse(text_of(rule)) != rule:
        raise Broken(f"{text_of(rule)!r} is another rule")


def run_formula(one: Input, folder: Path) -> None:
    from fractions import Fraction

    from grouper.tables._formula import NAMES

    try:
        tree = parse_formula(one.data.decode("utf-8", "surrogateescape"))
        known = {name: Fraction(k, 3) for k, name in enumerate(NAMES)}
        pieces(tree, known, Fraction(1, 7000), 0, 10**9)
    except FormulaError:
        pass


def run_gzip(one: Input, folder: Path) -> None:
    data = one.data if one.part == "file" else gzip.compress(one.data, 1, mtime=0)
    (folder / "cases.csv.gz").write_bytes(data)
    read_and_group(folder / "cases.csv.gz")


def run_excel(one: Input, folder: Path) -> None:
    data = one.data if one.part == "book" else rezipped(workbook(), one.part, one.data)
    (folder / "cases.xlsx").write_bytes(data)
    read_and_group(folder / "cases.xlsx")


def rezipped(book: bytes, member: str, data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(book)) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            new.writestr(name, data if name == member else old.read(name))
    return out.getvalue()


@cache
def workbook() -> bytes:
    import xlsxwriter

    out = io.BytesIO()
    book = xlsxwriter.Workbook(out, {"in_memory": True})
    sheet = book.add_worksheet()
    for r, line in enumerate(CASE_FILE.splitlines()):
        for c, cell in enumerate(line.replace('"', "").split(",")):
            if cell.isdecimal() and r:
                sheet.write_number(r, c, int(cell))
            else:
                sheet.write_string(r, c, cell)
    book.close()
    return out.getvalue()


def excel_seeds() -> list[Input]:
    with zipfile.ZipFile(io.BytesIO(workbook())) as book:
        names = [n for n in book.namelist() if "sheet1" in n or "sharedStrings" in n]
        names += ["xl/workbook.xml", "xl/styles.xml", "[Content_Types].xml"]
        return [Input("book", workbook()), *(Input(n, book.read(n)) for n in names)]


@cache
def case_table() -> Any:
    text = pa.list_(pa.string())
    return pa.table(
        {
            "case_id": pa.array(["1", "2", None, "4"]),
            "sex": pa.array([1, 2, 9, None], pa.int8()),
            "age": pa.array([40.0, 0.0, None, 3.5]),
            "age_days": pa.array([None, 3, None, None], pa.int32()),
            "department": pa.array(["ICU", None, "ICU", "x"]).dictionary_encode(),
            "diagnoses": pa.array([["dx", "cc"], ["dx"], None, []], text),
            "procedures": pa.array([["px"], [], [None], ["q", "px"]], text),
            "total_cost": pa.array([1, 2, 3, 4], pa.int64()),
        }
    )


def parquet_seeds() -> list[Input]:
    found = []
    for compression in ("none", "zstd"):
        out = io.BytesIO()
        pq.write_table(case_table(), out, compression=compression)
        found.append(Input("file", out.getvalue()))
    return found


def arrow_seeds() -> list[Input]:
    found = []
    for make in (pa.ipc.new_file, pa.ipc.new_stream):
        out = io.BytesIO()
        with make(out, case_table().schema) as writer:
            writer.write_table(case_table())
        found.append(Input("file", out.getvalue()))
    return found


def run_dicts(one: Input, folder: Path) -> None:
    try:
        value = json.loads(one.data)
    except (ValueError, RecursionError):
        return
    rows = [value] if isinstance(value, dict) else value
    is_cases = isinstance(rows, list) and all(isinstance(r, dict) for r in rows)
    try:
        judge(value, len(rows) if is_cases else -1)
    except TypeError:
        if is_cases:
            raise


def run_map(one: Input, folder: Path) -> None:
    (folder / "map.toml").write_bytes(one.data)
    (folder / "cases.csv").write_text(CASE_FILE, "utf-8")
    read_and_group(folder / "cases.csv", folder / "map.toml")


def run_scheme(one: Input, folder: Path) -> None:
    kind, _, file = one.part.partition("/")
    shutil.copytree(home() / kind, folder / kind)
    (folder / kind / file).write_bytes(one.data)
    check(folder / kind)
    found = load_scheme(folder / kind)
    judge(CASES, len(CASES), found)


def scheme_seeds() -> list[Input]:
    found = []
    for kind in ("tiny", "dip"):
        for path in sorted((home() / kind).iterdir()):
            data = path.read_bytes()
            if len(data) > 4000:  # few rows are as many ways to go wrong
                data = b"".join(data.splitlines(keepends=True)[:25])
            found.append(Input(f"{kind}/{path.name}", data))
    return found


def run_policy(one: Input, folder: Path) -> None:
    kind, _, file = one.part.partition("/")
    shutil.copytree(home() / kind, folder / kind)
    (folder / kind / file).write_bytes(one.data)
    check(folder / kind)
    settle(money_cases(), folder / kind, threads=1)


def policy_seeds() -> list[Input]:
    return [
        Input(f"{kind}/{path.name}", path.read_bytes())
        for kind in ("policy", "year")
        for path in sorted((home() / kind).iterdir())
    ]


def run_list(one: Input, folder: Path) -> None:
    path = folder / f"{one.part}.csv"
    path.write_bytes(one.data)
    read = grouper.read_ledger if one.part == "ledger" else grouper.read_hospitals
    settle(money_cases(), home() / "year", threads=1, **{one.part: read(path)})


def run_manifest(one: Input, folder: Path) -> None:
    place = folder / one.part
    shutil.copytree(home() / one.part, place)
    (place / "manifest.json").write_bytes(one.data)
    run = grouper.read_run(place)
    for go in (
        lambda: check_run(run),
        lambda: settle(money_cases(), home() / "year", prior=[place], threads=1),
        lambda: publish(place),
        lambda: grouper.write_run(place, {"cases": money_cases()}, {}, overwrite=True),
    ):
        try:
            go()
        except ConservationError:
            raise
        except GrouperError:
            continue


def manifest_seeds() -> list[Input]:
    names = ("run", "month")
    return [Input(name, (home() / name / "manifest.json").read_bytes()) for name in names]


TARGETS: Mapping[str, Target] = {
    t.name: t
    for t in (
        Target(
            "rule",
            lambda: inputs(
                "rule",
                "ZYZD in DX and (ZYSS in {PX, P2} or QTZD not in MCC)",
                "NL < 18 or XSRTZ >= 2500 and LYFS = '2' or 1",
                "length(PX ∩ {ZYSS, QTSS}) >= 2",
            ),
            run_rule,
            RULE_WORDS,
        ),
        Target(
            "formula",
            lambda: inputs(
                "formula",
                "full + (ratio - edge) * share * weight",
                "if(share == 0, full, min(bare / share, above, 1.5))",
                "max(0, -full + 2 * ratio)",
            ),
            run_formula,
            FORMULA_WORDS,
        ),
        Target(
            "csv",
            lambda: inputs("file", CASE_FILE, CASE_FILE.replace(",", "\t"), "\n\n" + CASE_FILE),
            as_file("cases.csv"),
            CSV_WORDS,
        ),
        Target(
            "gzip",
            lambda: [
                Input("file", gzip.compress(CASE_FILE.encode(), mtime=0)),
                Input("text", CASE_FILE.encode()),
            ],
            run_gzip,
            CSV_WORDS,
        ),
        Target(
            "excel", excel_seeds, run_excel, [b"<c", b'r="A1"', b't="s"', b"<v>", b"</v>", b"&#0;"]
        ),
        Target("parquet", parquet_seeds, as_file("cases.parquet"), [b"PAR1"]),
        Target("arrow", arrow_seeds, as_file("cases.arrow"), [b"ARROW1", b"\xff\xff\xff\xff"]),
        Target(
            "dicts",
            lambda: inputs("json", json.dumps(CASES), json.dumps(CASES[0]), json.dumps(CASES[:2])),
            run_dicts,
            JSON_WORDS,
            is_json=True,
        ),
        Target("map", lambda: inputs("map.toml", COLUMN_MAP), run_map, TOML_WORDS),
        Target("scheme", scheme_seeds, run_scheme, [*CSV_WORDS, *RULE_WORDS, *TOML_WORDS]),
        Target("policy", policy_seeds, run_policy, [*TOML_WORDS, *CSV_WORDS, *FORMULA_WORDS]),
        Target(
            "lists",
            lambda: [*inputs("ledger", LEDGER_CSV), *inputs("hospitals", HOSPITALS_CSV)],
            run_list,
            [*CSV_WORDS, b"deduction", b"appeal", b"2025-01", b"H1"],
        ),
        Target("manifest", manifest_seeds, run_manifest, JSON_WORDS, is_json=True),
    )
}

# ------------------------------------------------------------------------------------------ mutation


def mutated(
    rng: random.Random, one: Input, others: Sequence[Input], words: Sequence[bytes]
) -> Input:
    """Change an input in one to four places; `others` are of the same part."""
    data = bytearray(one.data)
    for _ in range(rng.choice((1, 1, 1, 2, 2, 4))):
        _change(rng, data, rng.choice(others).data if others else b"", words)
    return Input(one.part, bytes(data[:LONGEST]))


def _change(rng: random.Random, data: bytearray, other: bytes, words: Sequence[bytes]) -> None:
    at = rng.randrange(len(data) + 1)
    to = min(len(data), at + rng.choice((1, 1, 2, 4, 8, 30)))
    kind = rng.randrange(12)
    if kind == 0 and at < len(data):
        data[at] ^= 1 << rng.randrange(8)
    elif kind == 1 and at < len(data):
        data[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
    elif kind == 2:
        del data[at:to]
    elif kind == 3:
        data[at:at] = data[at:to] * rng.choice((1, 2, 50))
    elif kind == 4:
        del data[at:]
    elif kind == 5:
        start = rng.randrange(len(other) + 1)
        data[at:to] = other[start : start + rng.choice((1, 8, 40))]
    elif kind == 6:
        data[at:] = other[min(at, len(other)) :]
    elif kind == 7 and len(data) >= at + 4:
        wide = rng.choice((0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, len(data)))
        data[at : at + 4] = wide.to_bytes(4, "little")
    elif kind in (8, 9):
        _swap_number(rng, data, at)
    elif kind == 10:
        data[at:at] = rng.choice(TEXTS)
    elif words:
        data[at : rng.choice((at, to))] = rng.choice(words)


ODD: list[Any] = [
    None,
    True,
    0,
    -1,
    2**70,
    0.5,
    "",
    "x",
    "\ud800",
    [],
    [[]],
    {},
    {"": 1},
    [None],
    "2025-13",
]


def reshaped(rng: random.Random, one: Input) -> Input | None:
    """Put an odd value in place of any value of a JSON text; None if it is none."""
    try:
        root = [json.loads(one.data)]
    except (ValueError, RecursionError):
        return None
    places: list[tuple[Any, Any]] = []
    waiting: list[Any] = [root]
    while waiting:
        node = waiting.pop()
        steps = list(node) if isinstance(node, dict) else list(range(len(node)))
        places += [(node, step) for step in steps]
        waiting += [node[step] for step in steps if isinstance(node[step], dict | list)]
    near = [p for p in places if len(json.dumps(p[0])) < 4000] or places
    node, step = rng.choice(near if rng.random() < 0.7 else places)
    if isinstance(node, dict) and rng.random() < 0.2:
        node[rng.choice(["x", "run", "status", "outputs"])] = node.pop(step)
    else:
        node[step] = rng.choice([*ODD, rng.choice(places)[0]])
    try:
        return Input(one.part, json.dumps(root[0], ensure_ascii=False).encode(errors="replace"))
    except (ValueError, RecursionError):  # a value inside itself
        return None


def _swap_number(rng: random.Random, data: bytearray, at: int) -> None:
    """Put an odd number in place of the next digits."""
    start = next((k for k in range(at, len(data)) if data[k : k + 1].isdigit()), len(data))
    stop = next((k for k in range(start, len(data)) if not data[k : k + 1].isdigit()), len(data))
    data[start:stop] = rng.choice(NUMBERS)


# -------------------------------------------------------------------------------- running one input


class Lines:
    """Which lines of the product have run; measured without a tool: `sys.monitoring` or a trace."""

    def __init__(self) -> None:
        self.seen: set[tuple[str, int]] = set()

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Note the lines that run inside."""
        monitoring = getattr(sys, "monitoring", None)
        if monitoring is None:
            before = sys.gettrace()
            sys.settrace(self._call)
            try:
                yield
            finally:
                sys.settrace(before)
            return
        tool = monitoring.COVERAGE_ID
        monitoring.use_tool_id(tool, "fuzz")
        monitoring.register_callback(tool, monitoring.events.LINE, self._event)
        monitoring.set_events(tool, monitoring.events.LINE)
        try:
            yield
        finally:
            monitoring.set_events(tool, 0)
            monitoring.free_tool_id(tool)

    def _event(self, code: Any, line: int) -> Any:
        if _is_ours(code.co_filename):
            self.seen.add((code.co_filename, line))
        return sys.monitoring.DISABLE  # type: ignore[attr-defined, unused-ignore]

    def _call(self, frame: FrameType, event: str, arg: Any) -> Any:
        return self._line if _is_ours(frame.f_code.co_filename) else None

    def _line(self, frame: FrameType, event: str, arg: Any) -> Any:
        if event == "line":
            self.seen.add((frame.f_code.co_filename, frame.f_lineno))
        return self._line


@cache
def _is_ours(file: str) -> bool:
    return file.startswith((PACKAGE, TABLES_FOLDER))


def _alarm(signum: int, frame: FrameType | None) -> None:
    raise Slow(f"longer than {PATIENCE:.0f} s")


@contextmanager
def patient() -> Iterator[None]:
    """Stop what takes too long, where the system has alarms."""
    if not hasattr(signal, "setitimer"):
        yield
        return
    before = signal.signal(signal.SIGALRM, _alarm)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def attempt(target: Target, one: Input) -> Find | None:
    """Run one input; return what is wrong, None if it is answered or refused as it should be."""
    with tempfile.TemporaryDirectory(dir=SCRATCH) as folder:
        try:
            with patient():
                target.run(one, Path(folder))
        except ConservationError as e:
            return _find(e)
        except GrouperError as e:
            str(e).encode()  # a message that can be printed
        except (Exception, Slow) as e:
            return _find(e)
    return None


SCRATCH = "/dev/shm" if Path("/dev/shm").is_dir() else None


def _find(e: BaseException) -> Find:
    trace, place = e.__traceback__, ""
    while trace is not None:
        if _is_ours(file := trace.tb_frame.f_code.co_filename):
            place = f"{Path(file).name}:{trace.tb_lineno}"
        trace = trace.tb_next
    said = str(e).encode("ascii", "backslashreplace").decode()
    return Find(f"{type(e).__name__}: {said[:200]}", f"{type(e).__name__} {place}")


def minimised(target: Target, one: Input, find: Find, tries: int = 300) -> Input:
    """Take out of an input what the find does not need."""
    data, step = one.data, max(1, len(one.data) // 2)
    while step and tries > 0:
        at = 0
        while at < len(data) and tries > 0:
            tries -= 1
            less = Input(one.part, data[:at] + data[at + step :])
            again = attempt(target, less)
            if again is not None and again.place == find.place:
                data = less.data
            else:
                at += step
        step //= 2
    return Input(one.part, data)


# -------------------------------------------------------------------------------------------- fuzzing


@dataclass
class Fuzzer:
    """Mutates the inputs of one target; a seed and a number of inputs give the same ones."""

    target: Target
    seed: int = 0
    guided: bool = True
    lines: Lines = field(default_factory=Lines)
    finds: dict[str, tuple[Find, Input]] = field(default_factory=dict)
    tried: int = 0

    def __post_init__(self) -> None:
        self.rng = random.Random(f"{self.target.name} {self.seed}")
        self.first = self.target.seeds()
        self.corpus = list(self.first)
        with tempfile.TemporaryDirectory(dir=SCRATCH) as folder:
            for k, one in enumerate(
                self.first
            ):  # kernels compile and caches fill outside the measure
                with suppress(Exception):
                    (Path(folder) / str(k)).mkdir()
                    self.target.run(one, Path(folder) / str(k))

    def step(self, before: Callable[[Input], None] = lambda _: None) -> None:
        """Try the next input: the first ones as they are, then mutated ones."""
        is_first = self.tried < len(self.first)
        one = self.first[self.tried] if is_first else self._next()
        before(one)
        known = len(self.lines.seen)
        if self.guided:
            with self.lines.measured():
                found = attempt(self.target, one)
        else:
            found = attempt(self.target, one)
        self.tried += 1
        if found is not None and found.place not in self.finds:
            self.finds[found.place] = found, one
        if len(self.lines.seen) > known and not is_first and found is None:
            self.corpus.append(one)

    def _next(self) -> Input:
        one = self.rng.choice(self.corpus if self.rng.random() < 0.7 else self.corpus[-20:])
        if self.target.is_json and self.rng.random() < 0.5:
            if (other := reshaped(self.rng, one)) is not None:
                return other
        same = [other for other in self.corpus if other.part == one.part]
        return mutated(self.rng, one, same, self.target.words)
