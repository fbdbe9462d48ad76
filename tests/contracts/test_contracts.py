"""What holds of the package as a whole: names, errors, kernels, the wheel."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from oracle.draw import draw_cases
from shared import ROOT

import grouper
from grouper import errors
from grouper._grouping import as_table
from grouper.kernels import _jit, _money, calibrate, codes, dip, drg, logs, payment
from grouper.testing import make_region

COMPILED = hasattr(drg.group_drg, "signatures")
ENTRY_KERNELS: dict[str, Any] = {
    "group_drg": drg.group_drg,
    "group_dip": dip.group_dip,
    "describe_cases": calibrate.describe_cases,
    "subtypes_of": calibrate.subtypes_of,
    "related_lists": calibrate.related_lists,
    "intern_lists": calibrate.intern_lists,
    "add_costs": calibrate.add_costs,
    "percentile_bounds": calibrate.percentile_bounds,
    "add_groups": calibrate.add_groups,
    "add_logs": logs.add_logs,
    "costs_within": logs.costs_within,
    "medians": logs.medians,
    "encode_strings": codes.encode_strings,
    "mark_repeats": codes.mark_repeats,
    "blank_repeats": codes.blank_repeats,
    "gather": codes.gather,
    "price": payment.price,
    "scale": _money.scale,
    "apportion_within": _money.apportion_within,
}


def python(
    code: str, *flags: str, cwd: Path = ROOT, **env: str
) -> subprocess.CompletedProcess[str]:
    """Run a piece of Python in a process of its own."""
    given = {**os.environ, **env}
    command = [sys.executable, *flags, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=given, check=False)


def test_public_names_are_sorted_complete_and_documented() -> None:
    assert grouper.__all__ == sorted(grouper.__all__)
    assert set(grouper.__all__) == {*grouper._HOME, "__version__"}
    undocumented = [n for n in grouper._HOME if not getattr(grouper, n).__doc__]
    assert undocumented == []


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        grouper.nonsense  # noqa: B018


def test_error_codes_are_unique_and_the_tree_is_in_the_docstring() -> None:
    found = {n: getattr(errors, n).code for n in errors.__all__}
    assert len(set(found.values())) == len(found)
    assert errors.__all__ == sorted(errors.__all__)
    drawn = errors.__doc__ or ""
    assert [n for n in errors.__all__ if n not in drawn] == []


def test_folders_cannot_be_imported_bare() -> None:
    for name in ("tables", "kernels"):
        r = python(f"import {name}")
        assert r.returncode != 0
        assert f"grouper.{name}" in r.stderr or "No module named" in r.stderr


def test_import_is_lazy() -> None:
    r = python(
        "import sys, grouper; print([m for m in ('numba', 'pandas', 'pyarrow') if m in sys.modules])"
    )
    assert r.stdout.strip() == "[]"


def test_grouping_does_not_load_pandas() -> None:
    used = "grouper.group; grouper.settle; grouper.read_cases"
    code = f"import sys, grouper; {used}; print('pandas' in sys.modules)"
    assert python(code).stdout.strip() == "False"


@pytest.mark.promise("A kernel is never run from another version's machine code")
@pytest.mark.skipif(not COMPILED, reason="the JIT is off: there is no cache to stamp")
def test_every_kernel_has_the_folder_stamp() -> None:
    for name, kernel in ENTRY_KERNELS.items():
        assert kernel._cache._cache_file._source_stamp == _jit.STAMP, name


@pytest.mark.skipif(not COMPILED, reason="the JIT is off: there are no signatures")
def test_each_kernel_is_compiled_for_one_signature_only() -> None:
    """A read-only or strided array would compile a kernel anew, in production, mid-batch."""
    scheme = grouper.load_drg("chs-drg-1.1")
    whole = as_table(draw_cases(scheme, 3, 300))
    folded = whole.set_column(
        whole.schema.get_field_index("diagnoses"),
        "diagnoses",
        whole["diagnoses"].cast(pa.list_(pa.dictionary(pa.int32(), pa.string()))),
    )
    pieces = pa.concat_tables([whole.slice(0, 70), whole.slice(70)])
    one = whole.slice(5, 1).to_pylist()[0]
    for cases in (whole, folded, pieces, whole.slice(33, 50), whole.slice(0, 0), one):
        grouped = grouper.group(cases, scheme)
        grouper.settle(grouped, "example-point")
        grouper.settle(grouped, "example-rate")
    region = make_region(500)
    grouper.settle(grouper.group(region.cases, scheme), "example-point", hospitals=region.hospitals)
    for cases in (region.cases, region.cases.slice(3, 5), one | {"total_cost_fen": 5}):
        grouper.group(cases, "dip-demo")
    for trim in ("percentile", "mean_sd"):
        options = grouper.DipOptions(threshold=1, trim=trim)
        found = grouper.calibrate(region.cases, "dip", options=options)
    grouper.calibrate(region.cases, "dip", base="dip-demo")
    assert found.groups.num_rows
    by_log = grouper.DrgOptions(trim="mean_log_sd", stable="geometric")
    grouper.calibrate(region.cases, "drg", base=scheme, options=by_log)
    assert {n: len(k.signatures) for n, k in ENTRY_KERNELS.items()} == dict.fromkeys(
        ENTRY_KERNELS, 1
    )


@pytest.mark.promise("It runs where nothing is writable")
def test_kernels_run_uncached_where_nothing_is_writable(tmp_path: Path) -> None:
    """A read-only installation without a home must group all the same."""
    code = (
        "import os; os.environ.pop('NUMBA_CACHE_DIR', None)\n"
        "from grouper.kernels import _money\nimport numpy as np\n"
        "out = np.zeros(2, np.int64); _money.apportion(3, np.array([1, 1]), out); print(out.sum())"
    )
    locked = tmp_path / "locked"
    locked.mkdir()
    r = python(code, GROUPER_NUMBA_CACHE="0", HOME=str(locked / "none"))
    assert r.stdout.strip() == "3", r.stderr


def test_no_kernel_runs_in_parallel_mode_or_with_fastmath() -> None:
    text = "".join(p.read_text("utf-8") for p in (ROOT / "kernels").glob("*.py"))
    options = text.replace("``parallel=True``", "")
    assert "parallel=True" not in options
    assert "fastmath" not in options


def test_the_wheel_holds_what_the_tree_holds_and_stays_small(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    skip = shutil.ignore_patterns(
        ".git", ".venv*", "build", "*.egg-info", "__pycache__", ".*_cache"
    )
    shutil.copytree(ROOT, tree, symlinks=True, ignore=skip)
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--quiet",
        "-w",
        str(tmp_path),
        ".",
    ]
    build = [*command, "--no-build-isolation"]
    done = subprocess.run(build, cwd=tree, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.stat().st_size < 15_000_000
    inside = {n for n in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in n}
    kept = {".py", ".csv", ".toml", ".md", ".typed", ".html", ".css", ".js", ".svg"}
    expected = set()
    for folder in ("grouper", "tables", "kernels"):
        for path in (ROOT / folder).rglob("*"):
            parts = path.relative_to(ROOT).parts
            linked = parts[:2] in (("grouper", "tables"), ("grouper", "kernels"))
            if path.is_file() and path.suffix in kept and not linked and "__pycache__" not in parts:
                package = () if folder == "grouper" else ("grouper",)
                expected.add("/".join((*package, *parts)))
    assert inside == expected


@pytest.mark.promise("Batch, single case, threads, chunks, row order: the same bytes")
def test_results_do_not_depend_on_the_number_of_threads() -> None:
    scheme = grouper.load_drg("chs-drg-1.1-qy")
    cases = as_table(draw_cases(scheme, 11, 500))
    many = pa.concat_tables([cases] * 3)
    ids = pa.array([f"T{k}" for k in np.arange(len(many))])
    many = many.set_column(many.schema.get_field_index("case_id"), "case_id", ids)
    one, two = (
        grouper.content_hash(grouper.group(many, scheme, threads=t).to_arrow()) for t in (1, 2)
    )
    assert one == two
