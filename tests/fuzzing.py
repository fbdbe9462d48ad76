"""Fuzzing (模糊测试): every way in, its seeds, its promise, and how bytes are bent.

The promise is one: whatever the bytes, the answer accounts for every row, or it is a refusal of
`grouper.errors`. Anything else is a find.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
import shutil
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from policies import write as write_policy
from shared import SHIPPED
from tiny import tiny_scheme

import grouper
from grouper._quality_lists import SCHEMA
from grouper._writing import check_run
from grouper.errors import GrouperError
from grouper.io import load_map, read_run
from grouper.tables import load_policy, load_quality, load_scheme, parse
from grouper.tables._formula import FormulaError, parse_formula

COLUMNS = ("case_id", "sex", "age", "age_days", "diagnoses", "procedures", "total_cost", "los")
ROWS = [
    ("1", "1", "66", "", "dx|cc", "px", "1234.50", "5"),
    ("2", "2", "0", "3", "dx", "", "", "1"),
    ("3", "女", "40", "", "other", "px|px", "1,000.00", ""),
    ("4", "9", "x", "", "", "", "-1", "-3"),
]


@dataclass(frozen=True)
class Target:
    """A way in: `run` takes bytes and a folder for files, and raises what is not promised."""

    name: str
    seeds: tuple[bytes, ...]
    run: Callable[[bytes, Path], None]
    tokens: tuple[bytes, ...] = ()


class Broken(AssertionError):
    """The answer does not account for every row."""


def accounted(cases: Any) -> None:
    """Group cases; every row has one status."""
    scheme = _scheme()
    grouped = grouper.group(cases, scheme)
    counts = grouped.counts()
    rows = len(cases) if not isinstance(cases, dict) else 1
    if sum(counts.values()) != len(grouped) or len(grouped) != rows:
        raise Broken(f"{rows} rows, {counts}")
    if len(grouped.to_arrow()) != rows:
        raise Broken("the result has other rows")


_PLACE: list[Path] = []


def place(folder: Path) -> None:
    """Say where the small scheme may lie."""
    _PLACE[:] = [folder]
    _scheme.cache_clear()


@cache
def _scheme() -> Any:
    folder = _PLACE[0] / "scheme"
    return load_scheme(tiny_scheme(folder, sets={"DX": ["dx"], "PX": ["px"]}))


def _table() -> pa.Table:
    columns = list(zip(*ROWS, strict=True))
    return pa.table(
        {name: pa.array(c, pa.string()) for name, c in zip(COLUMNS, columns, strict=True)}
    )


def _csv() -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows([COLUMNS, *ROWS])
    return text.getvalue().encode()


def _of_file(name: str) -> Callable[[bytes, Path], None]:
    def run(data: bytes, folder: Path) -> None:
        path = folder / name
        path.write_bytes(data)
        accounted(grouper.read_cases(path, threads=1))

    return run


def _parquet() -> bytes:
    out = io.BytesIO()
    pq.write_table(_table(), out, row_group_size=2)
    return out.getvalue()


def _arrow() -> bytes:
    out = io.BytesIO()
    with pa.ipc.new_file(out, _table().schema) as writer:
        writer.write_table(_table())
    return out.getvalue()


def _excel() -> bytes:
    import xlsxwriter

    out = io.BytesIO()
    book = xlsxwriter.Workbook(out, {"in_memory": True})
    sheet = book.add_worksheet()
    for k, row in enumerate([COLUMNS, *ROWS]):
        sheet.write_row(k, 0, row)
    book.close()
    return out.getvalue()


def _repacked(data: bytes, rng: random.Random) -> bytes:
    """Bend one member of a zip archive and pack it again."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as book:
            members = {n: book.read(n) for n in book.namelist()}
    except Exception:
        return data
    if not members:
        return data
    name = rng.choice(sorted(members))
    members[name] = bend(members[name], rng, (b"<c", b"</row>", b'r="', b"<v>", b"1e999", b"&#0;"))
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as book:
        for n, content in members.items():
            book.writestr(n, content)
    return out.getvalue()


def _json(data: bytes, folder: Path) -> None:
    try:
        case = json.loads(data)
    except (ValueError, RecursionError):
        return
    try:
        accounted(case)
    except TypeError as e:
        if "cases as" not in str(e):  # what is no case at all
            raise


def _text(read: Callable[[str], Any]) -> Callable[[bytes, Path], None]:
    def run(data: bytes, folder: Path) -> None:
        read(data.decode("utf-8", "replace"))

    return run


def _formula(text: str) -> None:
    try:
        parse_formula(text)
    except FormulaError:
        return


def _in_file(name: str, read: Callable[[Path], Any]) -> Callable[[bytes, Path], None]:
    def run(data: bytes, folder: Path) -> None:
        path = folder / name
        path.write_bytes(data)
        read(path)

    return run


def _of_scheme(table: str) -> Callable[[bytes, Path], None]:
    def run(data: bytes, folder: Path) -> None:
        shutil.rmtree(folder / "bent", ignore_errors=True)
        bent = tiny_scheme(folder / "bent", sets={"DX": ["dx"], "PX": ["px"]})
        (bent / table).write_bytes(data)
        scheme = load_scheme(bent)
        case = {"case_id": "1", "sex": 1, "age": 40, "diagnoses": ["dx"], "procedures": ["px"]}
        grouped = grouper.group(case, scheme)
        if sum(grouped.counts().values()) != 1:
            raise Broken("a case has no status")

    return run


def _of_policy(data: bytes, folder: Path) -> None:
    shutil.rmtree(folder / "policy", ignore_errors=True)
    made = write_policy(folder / "policy")
    (made / "policy.toml").write_bytes(data)
    load_policy(made)


def _of_run(data: bytes, folder: Path) -> None:
    run = folder / "run"
    run.mkdir(exist_ok=True)
    if not (run / "cases.parquet").exists():
        pq.write_table(_table(), run / "cases.parquet")
    (run / "manifest.json").write_bytes(data)
    check_run(read_run(run))


def _quality(path: Path) -> None:
    rules = load_quality(path, SCHEMA)
    grouper.check_quality(_table().drop(["total_cost"]), rules=rules, only=[rules.rules[-1].id])


@cache
def targets(folder: Path) -> tuple[Target, ...]:
    """Return the ways in."""
    scheme = tiny_scheme(folder / "seeds", sets={"DX": ["dx"], "PX": ["px"]})
    policy = write_policy(folder / "seed-policy")
    rules = (SHIPPED / "chs-drg-1.1" / "adrg.csv").read_text("utf-8").splitlines()[1:400:40]
    quality = (SHIPPED / "quality" / "rules.csv").read_bytes().splitlines(keepends=True)
    cells = (b'"', b",", b"|", b"\n", b"\r\n", b"\t", b"\x00", b"\xff", b"1e308", b"-0", b"9" * 25)
    words = (b"ZYZD", b" in ", b"{", b"}", b"(", b")", b" and ", b" or ", b"not ", b">=", b"NL")
    toml = (b"[[", b"]]", b" = ", b"[param.x]", b'"', b"1979-05-27", b"inf", b"{", b"0x1", b"'''")
    ids = json.dumps({"outputs": {"cases": "0"}, "run": {"status": "published", "seal": "0"}})
    case = json.dumps({"case_id": "1", "sex": 1, "age": 40, "diagnoses": ["dx"], "procedures": []})
    column_map = (
        b'separator = "|"\n[columns]\ncase_id = "id"\n[values.sex]\n"M" = 1\n[stand_in]\nage = 3\n'
    )
    hospitals = b"hospital_id,level,from,to\nH1,\xe4\xb8\x89\xe7\xba\xa7,2025-01-01,\n"
    ledger = (
        b"entry_id,kind,pool_id,hospital_id,case_id,settlement_month,amount,value,outcome,reason,"
        b"reference,entered_by,entered_on\n1,deduction,p,H1,,2025-01,-3.5,,,r,x,me,2025-02-01\n"
    )
    return (
        Target("rules", tuple(r.encode() for r in rules), _text(parse), words),
        Target(
            "formula",
            (b"if(ratio < 2, full * min(1, ratio), full + (ratio - 2) / 3)", b"bare * share"),
            _text(_formula),
            (b"if(", b"min(", b"max(", b"(", b")", b",", b"ratio", b"/", b"0", b"<="),
        ),
        Target(
            "quality rules",
            tuple(quality[0] + quality[k] for k in (1, 40, 45, 60, 80)),
            _in_file("rules.csv", _quality),
            (b"filled(", b"any(", b"sum(", b"between", b" in @", b"`", b"'", b"not ", *cells),
        ),
        Target("csv", (_csv(), _csv().decode().encode("gb18030")), _of_file("c.csv"), cells),
        Target("csv.gz", (gzip.compress(_csv(), mtime=0),), _of_file("c.csv.gz")),
        Target("excel", (_excel(),), _of_file("c.xlsx")),
        Target("parquet", (_parquet(),), _of_file("c.parquet")),
        Target("arrow", (_arrow(),), _of_file("c.arrow")),
        Target(
            "json",
            (case.encode(), f"[{case},{case}]".encode()),
            _json,
            (b"null", b"[]", b"{}", b"1e999", b'""', b"true", b"-1", b"9" * 30, b"[[1]]", b"0.5"),
        ),
        Target("column map", (column_map,), _in_file("map.toml", load_map), toml),
        Target(
            "scheme.toml", ((scheme / "scheme.toml").read_bytes(),), _of_scheme("scheme.toml"), toml
        ),
        Target("adrg.csv", ((scheme / "adrg.csv").read_bytes(),), _of_scheme("adrg.csv"), cells),
        Target(
            "drg.csv", ((scheme / "drg.csv").read_bytes(),), _of_scheme("drg.csv"), cells + words
        ),
        Target("cc.csv", ((scheme / "cc.csv").read_bytes(),), _of_scheme("cc.csv"), cells),
        Target("policy", ((policy / "policy.toml").read_bytes(),), _of_policy, toml),
        Target("hospitals", (hospitals,), _in_file("h.csv", grouper.read_hospitals), cells),
        Target("ledger", (ledger,), _in_file("l.csv", grouper.read_ledger), cells),
        Target("manifest", (ids.encode(), b"{}"), _of_run, (b"{", b"[", b"null", b'"cases"', b"0")),
    )


def bend(
    data: bytes, rng: random.Random, tokens: tuple[bytes, ...] = (), other: bytes = b""
) -> bytes:
    """Bend bytes in one of the usual ways, several times over."""
    bent = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 5, 8))):
        at = rng.randrange(len(bent) + 1)
        way = rng.randrange(9 if tokens else 7)
        stop = min(len(bent), at + rng.choice((1, 1, 2, 4, 8, 32, 200)))
        if way == 0 and at < len(bent):
            bent[at] ^= 1 << rng.randrange(8)
        elif way == 1 and at < len(bent):
            bent[at] = rng.choice((0, 255, 10, 34, 44, 45, 127, rng.randrange(256)))
        elif way == 2:
            del bent[at:stop]
        elif way == 3:
            bent[at:at] = bent[at:stop] * rng.choice((1, 2, 20))
        elif way == 4:
            bent[at:at] = bytes(rng.randrange(256) for _ in range(rng.randrange(1, 6)))
        elif way == 5:
            del bent[at : None if rng.random() < 0.3 else at + 1]
        elif way == 6 and other:
            cut = rng.randrange(len(other))
            bent[at:stop] = other[cut : cut + rng.randrange(1, 60)]
        elif way >= 7:
            bent[at : at if way == 7 else stop] = rng.choice(tokens)
    return bytes(bent[: 1 << 20])


def inputs(target: Target, seed: int) -> Iterator[bytes]:
    """Yield bent seeds without end; a seed gives the same ones."""
    rng = random.Random(f"{target.name} {seed}")
    while True:
        data = rng.choice(target.seeds)
        if target.name == "excel" and rng.random() < 0.7:
            yield _repacked(data, rng)
        else:
            yield bend(data, rng, target.tokens, rng.choice(target.seeds))


def tried(target: Target, data: bytes, folder: Path) -> BaseException | None:
    """Run one input; return what is not promised."""
    try:
        target.run(data, folder)
    except GrouperError:
        return None
    except Exception as e:
        return e
    return None
