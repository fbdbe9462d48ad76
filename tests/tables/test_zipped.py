"""A zipped scheme is the scheme of its folder; nothing in an archive says where a file goes."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from tiny import tiny_codes, tiny_scheme

from grouper import TableError, load_drg, load_scheme

from .test_check import CLEAN

pytestmark = pytest.mark.promise("No path leads from input to a file that was not named")


def packed(folder: Path, path: Path, prefix: str = "") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as z:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                z.write(file, f"{prefix}{file.relative_to(folder)}")
    return path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GROUPER_CACHE_DIR", str(tmp_path / "cache"))
    return tiny_scheme(tmp_path / "s", **CLEAN)


@pytest.mark.parametrize("prefix", ["", "city-2026/", "a/b/"])
def test_a_zip_is_the_scheme_that_it_holds(folder: Path, tmp_path: Path, prefix: str) -> None:
    path = packed(folder, tmp_path / "s.zip", prefix)
    assert load_drg(path).fingerprint == load_drg(folder).fingerprint
    assert load_drg(path).fingerprint == load_drg(str(path)).fingerprint
    assert len(list((tmp_path / "cache" / "unzipped").iterdir())) == 1


def test_a_code_list_inside_is_found(folder: Path, tmp_path: Path) -> None:
    tiny_codes(folder / "codes", diagnoses=["d1", "d7"], procedures=["p1"])
    toml = folder / "scheme.toml"
    toml.write_text(toml.read_text("utf-8") + 'code_list = "codes"\n', "utf-8")
    scheme = load_drg(packed(folder, tmp_path / "s.zip"))
    assert scheme.code_list is not None
    assert "d7" in scheme.code_list.diagnoses


def test_other_content_is_another_folder(folder: Path, tmp_path: Path) -> None:
    before = load_drg(packed(folder, tmp_path / "s.zip"))
    path = folder / "adrg.csv"
    path.write_text(path.read_text("utf-8").replace("ZYSS in PX", "ZYSS in PX and NL>7"), "utf-8")
    after = load_drg(packed(folder, tmp_path / "s.zip"))
    assert before.fingerprint != after.fingerprint


@pytest.mark.parametrize(
    "name", ["../../evil.csv", "/evil.csv", "..\\evil.csv", "a/b/c/evil.csv", "evil.exe"]
)
def test_nothing_is_written_elsewhere(folder: Path, tmp_path: Path, name: str) -> None:
    path = packed(folder, tmp_path / "s.zip")
    with zipfile.ZipFile(path, "a") as z:
        z.writestr(name, "x")
    load_drg(path)
    found = [p for p in tmp_path.rglob("*evil*")]
    assert all(p.parent.parent == tmp_path / "cache" / "unzipped" for p in found)
    assert not (Path("/") / "evil.csv").exists()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda p: p.write_bytes(b"PK\x03\x04" + bytes(50)), "no whole zip file"),
        (lambda p: p.write_bytes(p.read_bytes()[:-40]), "no whole zip file"),
        (lambda p: zipfile.ZipFile(p, "w").close(), "holds 0 files scheme.toml"),
    ],
)
def test_what_is_no_zipped_scheme_is_refused(
    folder: Path, tmp_path: Path, make: object, said: str
) -> None:
    path = packed(folder, tmp_path / "s.zip")
    assert callable(make)
    make(path)
    with pytest.raises(TableError, match=said):
        load_scheme(path)


def test_two_schemes_in_one_are_refused(folder: Path, tmp_path: Path) -> None:
    path = packed(folder, tmp_path / "s.zip")
    with zipfile.ZipFile(path, "a") as z:
        z.writestr("other/scheme.toml", "id = 'x'")
    with pytest.raises(TableError, match="holds 2 files"):
        load_scheme(path)


def test_without_a_cache_it_is_unpacked_for_the_process(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GROUPER_CACHE", "0")
    assert load_drg(packed(folder, tmp_path / "s.zip")).fingerprint == load_drg(folder).fingerprint


def test_a_workbook_says_how_to_import_it(tmp_path: Path) -> None:
    path = tmp_path / "s.xlsx"
    path.write_bytes(b"x")
    with pytest.raises(TableError, match="grouper tables import drg3"):
        load_scheme(path)
