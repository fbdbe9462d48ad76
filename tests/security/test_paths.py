"""No input says where a file is read or written, beyond what the caller named."""

from __future__ import annotations

import gzip
import json
import os
import stat
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from policies import POLICY, TABLES
from shared import SHIPPED
from tiny import tiny_codes, tiny_scheme

import grouper
from grouper import (
    CaseFileError,
    GrouperError,
    PolicyError,
    SchemeNotFound,
    TableError,
    _platform,
    load_drg,
    load_scheme,
)
from grouper._statements import file_names
from grouper.io import read_cases, write_run, write_table
from grouper.kernels import _jit
from grouper.tables import _cache, load_policy

pytestmark = pytest.mark.promise("No path leads from input to a file that was not named")

HOSTILE = [
    *("../../x", "..", ".", "/etc/passwd", "a/b", "a\\b", "..\\..\\x", "C:\\x", "\\\\host\\share"),
    *("CON", "con.txt", "NUL", "COM1", "aux", "x" * 5_000, "三" * 300, "a\nb", "a\tb", "a\x00b"),
    *("~", "~root", "$HOME", "%2e%2e%2f", "file:///etc/passwd", "-rf", "a b", " ", "", "\u202eexe"),
]


def everything(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*")}


# ------------------------------------------------------------------------------------ what is written


def test_ids_of_hospitals_are_names_of_files_and_no_paths(tmp_path: Path) -> None:
    names = file_names(HOSTILE)
    assert len({n.casefold() for n in names.values()}) == len(set(HOSTILE))
    for hospital, name in names.items():
        path = tmp_path / f"{name}.parquet"
        assert path.resolve().parent == tmp_path.resolve(), hospital
        path.write_bytes(b"x")  # the file system takes it
        assert "%2F" not in name or "/" in hospital or "%2" in hospital
    assert len(everything(tmp_path)) == len(names)


def test_ids_in_cases_make_no_files(tmp_path: Path) -> None:
    """A whole run with hostile ids of cases, hospitals, lines: the files are those of every run."""
    cases = [
        {
            "case_id": name.replace("\x00", "") + f"#{k}",
            "hospital_id": name or "none",
            "hospital_level": "三级",
            "insurance": "310",
            "sex": 1,
            "age": 40,
            "diagnoses": ["K22.301"],
            "procedures": [],
            "total_cost_fen": 100_000,
            "fund_paid_fen": 50_000,
        }
        for k, name in enumerate(HOSTILE)
    ]
    work = tmp_path / "deep" / "er"
    work.mkdir(parents=True)
    write_table(pa.Table.from_pylist(cases), work / "cases.parquet")
    code = run_cli(
        *("run", str(work / "cases.parquet"), "--scheme", "chs-drg-1.1"),
        *("--policy", "example-point", "-o", str(work / "run"), "--statements"),
    )
    assert code == 0
    assert everything(tmp_path) - {f"deep/er/{n}" for n in everything(work)} == {"deep", "deep/er"}
    top = {p.name for p in (work / "run").iterdir()}
    assert top >= {"cases.parquet", "manifest.json", "statements"}
    assert all(p.suffix in (".parquet", ".json") or p.is_dir() for p in (work / "run").iterdir())
    index = json.loads((work / "run" / "statements" / "index.json").read_text("utf-8"))
    assert set(index["files"].values()) == {str(c["hospital_id"]).strip() or "H0" for c in cases}


def run_cli(*words: str) -> int:
    from grouper.cli import cli

    return int(cli.main(list(words), standalone_mode=False) or 0)


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "C:x", "..\\x", "statements/../../x"])
def test_names_of_tables_and_files_stay_in_the_run(name: str, tmp_path: Path) -> None:
    for tables, files in (({name: pa.table({"a": [1]})}, {}), ({}, {name: b"x"})):
        with pytest.raises(CaseFileError, match="leads out of the folder"):
            write_run(tmp_path / "run", tables, {}, files)
    assert everything(tmp_path) == set()


@pytest.mark.skipif(os.name != "posix", reason="links need rights elsewhere")
def test_a_link_at_the_output_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "kept.csv").write_text("kept", "utf-8")
    (tmp_path / "out.csv").symlink_to(tmp_path / "kept.csv")
    write_table(pa.table({"a": [1]}), tmp_path / "out.csv")
    assert (tmp_path / "kept.csv").read_text("utf-8") == "kept"
    assert not (tmp_path / "out.csv").is_symlink()


@pytest.mark.skipif(os.name != "posix", reason="links need rights elsewhere")
def test_what_an_earlier_run_links_to_is_left_alone(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept.txt").write_text("kept", "utf-8")
    run = write_run(tmp_path / "run", {"cases": pa.table({"case_id": ["1"]})}, {})
    (run / "statements").symlink_to(outside, target_is_directory=True)
    write_run(run, {"cases": pa.table({"case_id": ["1"]})}, {}, overwrite=True)
    assert (outside / "kept.txt").read_text("utf-8") == "kept"


# --------------------------------------------------------------------------------------- what is read


def policy(folder: Path, old: str, new: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    text = POLICY.replace(old, new, 1)
    assert text != POLICY
    for name, table in {**TABLES, "policy.toml": text}.items():
        (folder / name).write_text(table, "utf-8")
    return folder


SECRET = "group,weight\nA,1\nSECRET,x\n"


@pytest.mark.parametrize("file", ["../secret.txt", "/etc/passwd", "../../../etc/hostname", ".", ""])
def test_a_policy_opens_tables_alone(file: str, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text(SECRET, "utf-8")
    folder = policy(tmp_path / "p", 'file = "weights.csv"', f'file = "{file}"')
    with pytest.raises(PolicyError) as e:
        load_policy(folder)
    assert "SECRET" not in str(e.value)
    assert "root" not in str(e.value)


@pytest.mark.parametrize("file", ["../secret.txt", "/etc/passwd"])
@pytest.mark.parametrize("section", ["benchmark", "coefficients"])
def test_sections_of_a_policy_open_tables_alone(section: str, file: str, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text(SECRET, "utf-8")
    old, new = '[benchmark]\nkind = "mean"', f'[benchmark]\nkind = "table"\nfile = "{file}"'
    if section == "coefficients":
        old, new = "[benchmark]", f'[coefficients]\nkind = "table"\nfile = "{file}"\n\n[benchmark]'
    folder = policy(tmp_path / "p", old, new)
    with pytest.raises(GrouperError) as e:
        load_policy(folder)
    assert "SECRET" not in str(e.value)


@pytest.mark.parametrize("name", ["/etc/passwd", "../secret.txt", "/etc", "\\\\host\\share"])
def test_a_parent_that_is_no_policy_is_refused_unseen(name: str, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text(SECRET, "utf-8")
    folder = policy(tmp_path / "p", 'standing = "invented"', f"standing = 'x'\ninherits = '{name}'")
    with pytest.raises(GrouperError) as e:
        load_policy(folder)
    assert "SECRET" not in str(e.value)
    assert "root" not in str(e.value)


def test_ids_of_pools_and_policies_are_no_paths(tmp_path: Path) -> None:
    """An id is a text: nothing is looked up by it."""
    loaded = load_policy(policy(tmp_path / "p", 'id = "staff"', 'id = "../../etc/passwd"'))
    assert loaded.settings.pool[0].id == "../../etc/passwd"
    for name in ("../../etc", "/etc", "..", "x\ny"):
        with pytest.raises((SchemeNotFound, TableError)):
            load_policy(name)
        with pytest.raises((SchemeNotFound, TableError)):
            load_scheme(name)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("code_list", "../codes"),
        ("code_list", "..\\\\codes"),
        ("code_list", "/codes"),
        ("code_list", "C:/codes"),
        ("inherits", "../other"),
        ("inherits", "other"),
        ("profile", "../profile.toml"),
    ],
)
def test_an_archive_names_nothing_outside(
    key: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GROUPER_CACHE_DIR", str(tmp_path / "cache"))
    tiny_codes(tmp_path / "cache" / "unzipped" / "codes", diagnoses=["dx"])
    tiny_scheme(tmp_path / "cache" / "unzipped" / "other")
    folder = tiny_scheme(tmp_path / "s", toml=f'{key} = "{value}"')
    with zipfile.ZipFile(tmp_path / "s.zip", "w") as z:
        for file in folder.iterdir():
            z.write(file, file.name)
    with pytest.raises(TableError, match=r"leads out of the archive|does not ship"):
        load_drg(tmp_path / "s.zip")


@pytest.mark.skipif(os.name != "posix", reason="links need rights elsewhere")
def test_a_link_in_an_archive_is_a_file_with_its_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GROUPER_CACHE_DIR", str(tmp_path / "cache"))
    folder = tiny_scheme(tmp_path / "s")
    with zipfile.ZipFile(tmp_path / "s.zip", "w") as z:
        for file in folder.iterdir():
            z.write(file, file.name)
        link = zipfile.ZipInfo("link.csv")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        z.writestr(link, "/etc/passwd")
    load_drg(tmp_path / "s.zip")
    (found,) = (tmp_path / "cache").rglob("link.csv")
    assert not found.is_symlink()
    assert found.read_text("utf-8") == "/etc/passwd"


def test_an_archive_that_says_less_than_it_holds_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GROUPER_CACHE_DIR", str(tmp_path / "cache"))
    folder = tiny_scheme(tmp_path / "s")
    with zipfile.ZipFile(tmp_path / "s.zip", "w", zipfile.ZIP_DEFLATED) as z:
        for file in folder.iterdir():
            z.write(file, file.name)
        z.writestr("bomb.csv", b"0" * (1 << 22))
    data = (tmp_path / "s.zip").read_bytes()
    (tmp_path / "s.zip").write_bytes(
        data.replace((1 << 22).to_bytes(4, "little"), bytes([9, 0, 0, 0]))
    )
    with pytest.raises(TableError, match="no whole zip file"):
        load_drg(tmp_path / "s.zip")


def test_a_bomb_in_gzip_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("grouper._reading.MOST_UNPACKED", 1 << 20)
    path = tmp_path / "cases.csv.gz"
    path.write_bytes(gzip.compress(b"case_id\n" + b"0" * (1 << 26)))
    with pytest.raises(CaseFileError, match=r"unpacks to more than 250 times its size"):
        read_cases(path)
    rows = "\n".join(f"{k},1,40,K22.301," for k in range(100_000))
    path.write_bytes(gzip.compress(f"case_id,sex,age,diagnoses,procedures\n{rows}\n".encode()))
    assert len(read_cases(path).table) == 100_000


def test_a_ledger_names_no_files(tmp_path: Path) -> None:
    rows = "\n".join(f'{k},deduction,"{n.strip()}"' for k, n in enumerate(HOSTILE[:8]))
    (tmp_path / "l.csv").write_text(f"entry_id,kind,reference\n{rows}\n", "utf-8")
    assert len(grouper.read_ledger(tmp_path / "l.csv")) == 8
    assert everything(tmp_path) == {"l.csv"}


# ------------------------------------------------------------------------------------------ the cache


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="files have no owner there")
def test_what_another_user_kept_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GROUPER_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(_cache, "LEAST", 1)
    _cache.write("key", {"a": np.arange(3)})
    assert _cache.read("key") is not None
    mine = os.stat(tmp_path / "key.arrays").st_uid
    monkeypatch.setattr(os, "geteuid", lambda: mine + 1)
    assert (_cache.read("key") is None) == (mine != 0)
    monkeypatch.setattr(_platform, "is_ours", lambda found: False)
    assert _cache.read("key") is None


def test_what_is_kept_is_plain_arrays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No object is ever rebuilt from the cache: a kind that numpy would unpickle is not there."""
    monkeypatch.setenv("GROUPER_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(_cache, "LEAST", 1)
    data = bytearray(_cache._pack({"a": np.arange(3)}))
    bent = bytes(data).replace(b'"<i8"', b'"|O8"')
    import zlib

    at = len(_cache.MAGIC)
    bent = bent[:at] + zlib.crc32(bent[at + 8 :]).to_bytes(8, "little") + bent[at + 8 :]
    (tmp_path / "key.arrays").write_bytes(bent)
    assert _cache.read("key") is None


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="files have no owner there")
def test_a_cache_of_kernels_that_others_may_write_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numba keeps objects, and loading objects runs what they say."""
    place = tmp_path / "above" / "cache"
    place.mkdir(parents=True)
    assert _platform.is_safe(str(place), _jit.__file__)
    place.chmod(0o777)
    assert not _platform.is_safe(str(place), _jit.__file__)
    place.chmod(0o755)
    place.parent.chmod(0o777)
    assert not _platform.is_safe(str(place), _jit.__file__)
    place.parent.chmod(0o1777)
    assert _platform.is_safe(str(place), _jit.__file__)
    if os.geteuid() == 0:
        os.chown(place, 12345, -1)
        assert not _platform.is_safe(str(place), _jit.__file__)


def test_shipped_tables_link_nowhere() -> None:
    assert not [p for p in SHIPPED.rglob("*") if p.is_symlink()]
