"""scripts/bundle: what a platform needs and no more, with hashes; it installs without a network."""

from __future__ import annotations

import hashlib
import os
import runpy
import subprocess
import sys
import venv
import zipfile
from pathlib import Path
from typing import Any

import pytest
from shared import ROOT

SCRIPT = ROOT / "scripts" / "bundle"
BUNDLE = runpy.run_path(str(SCRIPT))
Target = BUNDLE["Target"]
HERE = f"{sys.version_info[0]}.{sys.version_info[1]}"


def wheel(folder: Path, name: str, *needs: str, tag: str = "py3-none-any") -> Path:
    """Write a wheel of nothing but its requirements."""
    path = folder / f"{name}-1-{tag}.whl"
    info = f"{name}-1.dist-info"
    told = "".join(f"Requires-Dist: {n}\n" for n in needs)
    with zipfile.ZipFile(path, "w") as book:
        book.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n{told}"
        )
        book.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n")
        book.writestr(f"{info}/RECORD", "")
    return path


def gathered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, platform: str, *extras: str
) -> set[str]:
    """Gather a made-up package from a folder that stands for the registry."""
    shop, wheels = tmp_path / "shop", tmp_path / platform
    shop.mkdir(exist_ok=True)
    wheels.mkdir()
    tag = f"cp311-cp311-{platform}"
    made = [
        wheel(shop, "alpha", "gamma[fast]>=1", "delta; sys_platform == 'win32'", "alpha[x]"),
        wheel(shop, "gamma", "epsilon; extra == 'fast'", "zeta; extra == 'slow'", tag=tag),
        *(wheel(shop, name) for name in ("delta", "epsilon", "zeta", "eta", "theta")),
    ]
    own = wheel(
        wheels,
        "own",
        "alpha",
        "eta; extra == 'more'",
        "theta; extra == 'more' and sys_platform != 'win32'",
        "old; python_version < '3.9'",
    )
    pins = {}
    for path in made:
        name = path.name.split("-")[0]
        pins[name] = f"{name}==1 --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shop))
    BUNDLE["gather"](own, extras, Target(platform, "3.11"), wheels, pins)
    for path in made:
        path.unlink()
    return {p.name.split("-")[0] for p in wheels.iterdir()} - {"own"}


def test_it_takes_what_the_platform_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever system it runs on: markers and extras are asked for the target."""
    linux, windows = "manylinux_2_17_x86_64", "win_amd64"
    assert gathered(tmp_path, monkeypatch, linux) == {"alpha", "gamma", "epsilon"}
    some = gathered(tmp_path, monkeypatch, windows, "more")
    assert some == {"alpha", "gamma", "epsilon", "delta", "eta"}


def test_what_no_lock_holds_is_named(tmp_path: Path) -> None:
    own = wheel(tmp_path, "own", "alpha")
    with pytest.raises(SystemExit, match="no lock holds alpha"):
        BUNDLE["gather"](own, [], Target("win_amd64", "3.11"), tmp_path, {})


@pytest.mark.parametrize(
    ("platform", "system", "machine", "oldest"),
    [
        ("win_amd64", "win32", "AMD64", "win_amd64"),
        ("win_arm64", "win32", "ARM64", "win_arm64"),
        ("manylinux_2_28_x86_64", "linux", "x86_64", "manylinux2014_x86_64"),
        ("manylinux_2_34_aarch64", "linux", "aarch64", "manylinux2014_aarch64"),
        ("macosx_12_0_arm64", "darwin", "arm64", "macosx_12_0_arm64"),
    ],
)
def test_targets(platform: str, system: str, machine: str, oldest: str) -> None:
    target = Target(platform, "3.12")
    assert target.markers["sys_platform"] == system
    assert target.markers["platform_machine"] == machine
    assert (target.tags[0], target.tags[-1]) == (platform, oldest)
    with pytest.raises(SystemExit, match="begins with none"):
        _ = Target("amiga", "3.12").markers


def call(*command: str | Path, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    given = {k: v for k, v in os.environ.items() if not k.startswith(("PIP_", "PYTHON"))} | env
    words = [str(w) for w in command]
    return subprocess.run(words, cwd=cwd, env=given, capture_output=True, text=True, check=False)


@pytest.mark.big
@pytest.mark.skipif(sys.platform != "linux", reason="the platform of the bundle is Linux")
@pytest.mark.promise("A bundle installs without a network")
def test_a_bundle_installs_without_a_network(tmp_path: Path) -> None:
    """A bundle for this machine, a fresh environment, no index: then three cases are grouped."""
    pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(tmp_path / "try")]
    if subprocess.run([*pip, "click"], capture_output=True, check=False).returncode:
        pytest.skip("no registry of packages is reachable from here")
    platform = f"manylinux_2_28_{os.uname().machine}"
    bundle = tmp_path / "bundle"
    command = [sys.executable, str(SCRIPT), "--platform", platform, "--python", HERE]
    done = subprocess.run(
        [*command, "--extras", "excel", "-o", str(bundle)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    there = tmp_path / "venv"
    venv.create(there, with_pip=True)
    python = there / "bin" / "python"
    nowhere = {
        "PIP_CONFIG_FILE": os.devnull,
        "HOME": str(tmp_path),
        "https_proxy": "http://[::1]:9",
    }
    done = call(python, bundle / "install.py", cwd=tmp_path, **nowhere)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "kernels:" in done.stdout
    head = "case_id,sex,age,diagnoses,procedures\n"
    rows = "1,1,66,I21.001|I50.900x002,36.0700x004\n2,2,30,O80.000,\n3,1,5,J18.900,\n"
    (tmp_path / "cases.csv").write_text(head + rows, "utf-8")
    done = call(
        *(there / "bin" / "grouper", "group", "cases.csv", "--scheme", "chs-drg-1.1"),
        *("-o", "out.xlsx", "--json"),
        cwd=tmp_path,
        **nowhere,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out.xlsx").stat().st_size > 1000
    bent = bundle / "requirements.txt"
    bent.write_text(bent.read_text("utf-8") + "\n", "utf-8")
    done = call(python, bundle / "install.py", cwd=tmp_path, **nowhere)
    assert done.returncode != 0
    assert "requirements.txt is not what was packed" in done.stderr


def test_papers(tmp_path: Path) -> None:
    """Checksums of every file, and the same zip each time."""
    folder = tmp_path / "bundle"
    (folder / "wheels").mkdir(parents=True)
    own = wheel(folder / "wheels", "own")
    BUNDLE["write_papers"](folder, own, ["excel"], Target("win_amd64", "3.11"))
    listed = (folder / "SHA256SUMS").read_text("utf-8").splitlines()
    sums = {name: digest for digest, name in (line.split("  ") for line in listed)}
    assert set(sums) == {"install.py", "requirements.txt", f"wheels/{own.name}"}
    for name, digest in sums.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    assert hashlib.sha256((folder / "SHA256SUMS").read_bytes()).hexdigest() in (
        folder / "README.md"
    ).read_text("utf-8")
    compile((folder / "install.py").read_text("utf-8"), "install.py", "exec")
    zips: list[Any] = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        BUNDLE["put"](folder, tmp_path / name / "grouper.zip")
        zips.append((tmp_path / name / "grouper.zip").read_bytes())
    assert zips[0] == zips[1]
