"""Verify a run (复核): its files are what was written, its sums close, and made again it is the same.

First what the folder alone shows: hashes, seal, sign-offs, rows and money. Then what it was made from:
the same files, scheme and policy. Then the run is made again in memory and compared table by table.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from grouper import _runs
from grouper._arrow import text_array
from grouper._database import is_database
from grouper._explain_dip import explain
from grouper._row_proof import STATUSES
from grouper._tables_in import read_grouped
from grouper._writing import (
    MANIFEST,
    RunFolder,
    fits_seal,
    is_as_written,
    read_run,
    run_hash,
)
from grouper.errors import CaseFileError, GrouperError
from grouper.io import read_cases
from grouper.tables import Scheme

SAMPLED = ("status", "reason", "mdc", "adrg", "group", "rule")
"""What the plain reader must find again in a sampled case."""


@dataclass
class Verification:
    """What was verified (复核结果): each check with what was found; `passed` None = not done, and why."""

    run: str
    checks: list[dict[str, Any]] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return all(c["passed"] is not False for c in self.checks)

    def note(self, check: str, passed: bool | None, found: str) -> None:
        """Keep a check."""
        self.checks.append({"check": check, "passed": passed, "found": found})


@dataclass(frozen=True)
class Sources:
    """Where a run's sources are now; what is None is where the manifest says."""

    cases: str | None = None
    schemes: Sequence[str] = ()
    policy: str | None = None
    hospitals: str | None = None
    ledger: str | None = None
    prior: Sequence[str] = ()
    columns: str | None = None


def verify_run(
    folder: Path | str,
    sources: Sources | None = None,
    *,
    again: bool = True,
    sample: int = 0,
    threads: int | None = None,
    step: _runs.Step = _runs.quiet,
) -> Verification:
    """Verify a run folder (复核): hashes, sums, sources, and the run made again.

    Parameters
    ----------
    folder : the run. sources : where its cases, policy … are, if they moved. again : make the run again
        and compare. sample : cases that the plain reader of the rules groups too. threads : as `group`.

    Raises
    ------
    CaseFileError : no run is there, or its manifest or a table cannot be read.
    """
    run = read_run(folder)
    told = Verification(str(folder))
    _check_outputs(run, told)
    _check_rows(run, told)
    _check_money(run, told)
    made = run.manifest.get("made_from")
    if not made:
        told.note("sources", None, "the manifest does not say what the run was made from")
        return told
    found = _found(run.path, made, sources or Sources())
    if not _check_inputs(run, found, told):
        return told
    if again:
        _make_again(run, made, found, told, threads, step)
    if sample:
        _check_sample(run, made, found, told, sample, threads)
    return told


# ------------------------------------------------------------------------------ what the folder shows


def _check_outputs(run: RunFolder, told: Verification) -> None:
    manifest = run.manifest
    for name, digest in manifest.get("outputs", {}).items():
        same, table = is_as_written(run, name), run.tables.get(name)
        found = "is not what the run wrote"
        if table is None:
            found = "is not there"
        elif same:
            found = f"{table.num_rows:,} rows, {digest[:12]}"
        told.note(f"{name}.parquet", same, found)
    digest = manifest.get("content_hash")
    if digest:
        same = run_hash(manifest) == digest
        told.note("content hash", same, digest if same else f"{MANIFEST} was changed after the run")
    about = manifest.get("run") or {}
    if about.get("status") == "published":
        same = fits_seal(manifest)
        names = ", ".join(f"{r} {s['name']}" for r, s in (about.get("sign_off") or {}).items())
        told.note(
            "seal and sign-offs", same, names if same else f"{MANIFEST} does not fit its seal"
        )


def _check_rows(run: RunFolder, told: Verification) -> None:
    rows = run.manifest.get("rows")
    if not rows:
        return
    proofs = [rows, *(line for k in rows if k.startswith("by_") for line in rows[k])]
    closes = all(p["input"] == sum(p[s] for s in STATUSES) for p in proofs)
    for key in (k for k in rows if k.startswith("by_")):
        closes &= all(sum(line[s] for line in rows[key]) == rows[s] for s in ("input", *STATUSES))
    told.note("rows", closes, f"{rows['input']:,} in, {len(proofs)} lines add up")


def _check_money(run: RunFolder, told: Verification) -> None:
    """Check every identity of the proof, and that the tables add up to it."""
    pools, cases = run.tables.get("pools"), run.tables.get("cases")
    proof = run.manifest.get("proof", [])
    if pools is None or cases is None:
        return
    closes, total = True, 0
    for p in proof:
        closes &= p["fund_fen"] + p["floor_draw_fen"] == (
            p["pay_fen"] + p["balance_fen"] + p["undistributed_fen"]
        )
        a = p.get("accrual") or {}
        if a:
            outgoing = sum(v for k, v in a.items() if k not in ("budget_fen", "drawn_fen"))
            closes &= a["budget_fen"] + a["drawn_fen"] == outgoing
        total += p["pay_fen"]
    lines = {
        "pools": pc.sum(pools["pay_fen"]).as_py() or 0,
        "hospitals": pc.sum(run.tables["hospitals"]["pay_fen"]).as_py() or 0,
    }
    for name, paid in lines.items():
        closes &= paid == total
        if paid != total:
            told.note(f"money of {name}", False, f"{paid:,} fen paid, the proof says {total:,}")
    told.note("money", closes, f"{len(proof)} funds close, {total / 100:,.2f} yuan paid")


# ----------------------------------------------------------------------------- what it was made from


def _found(folder: Path, made: Mapping[str, Any], given: Sources) -> Sources:
    """Say where each source is: as given, else as the manifest says, seen from the run's folder."""

    def place(path: str) -> str:
        return path if is_database(path) else str(folder / path)

    def named(name: str) -> str:
        return place(name) if name.startswith("..") or Path(name).is_absolute() else name

    def held(path: str | None) -> str | None:
        return None if path is None else place(path)

    return Sources(
        given.cases or place(made["cases"]),
        given.schemes or [named(s) for s in made["schemes"]],
        given.policy or named(made["policy"]),
        given.hospitals or held(made["hospitals"]),
        given.ledger or held(made["ledger"]),
        given.prior or [place(p) for p in made["prior"]],
        given.columns or held(made["columns"]),
    )


def _check_inputs(run: RunFolder, found: Sources, told: Verification) -> bool:
    """Check that the sources are the files that the run read."""
    try:
        is_grouped = run.manifest["made_from"]["is_grouped"]
        columns = None if is_grouped else found.columns
        cases = _runs.about_inputs(found.cases or "", columns)
        others = [p for p in (found.hospitals, found.ledger, found.columns) if p]
        also = [_runs.about_file(Path(p)) for p in others]
        also += [_runs.about_file(Path(p) / MANIFEST) for p in found.prior]
    except (OSError, CaseFileError) as e:
        told.note("inputs", None, f"cannot be read: {e}; say where they are")
        return False
    then = run.manifest.get("inputs", []), run.manifest.get("also_read", [])
    now = Counter(f["sha256"] for f in (*cases, *also))
    changed = [f["name"] for part in then for f in part if not now[f["sha256"]]]
    wanted = [f for part in then for f in part]
    same = now == Counter(f["sha256"] for f in wanted)
    said = f"{len(wanted)} files, {sum(f['bytes'] for f in wanted):,} bytes"
    if not same:
        said = f"not the files that the run read: {', '.join(changed) or 'more or fewer of them'}"
    told.note("inputs", same, said)
    return same


def _grouped(
    made: Mapping[str, Any], found: Sources, threads: int | None, step: _runs.Step
) -> tuple[Any, dict[str, Any]]:
    assert found.cases is not None
    if made["is_grouped"]:
        return read_grouped(found.cases), {}
    scheme = _runs.schemes_of(tuple(found.schemes), found.policy)
    return _runs.group_files(found.cases, scheme, found.columns, made["codes"], threads, step)


def _make_again(
    run: RunFolder,
    made: Mapping[str, Any],
    found: Sources,
    told: Verification,
    threads: int | None,
    step: _runs.Step,
) -> None:
    assert found.policy is not None
    try:
        grouped, facts = _grouped(made, found, threads, step)
        order = _runs.Order(
            found.policy, found.hospitals, found.ledger, found.prior, made["period"], threads
        )
        manifest, tables = _runs.paid(grouped, order, facts, step)
    except GrouperError as e:
        told.note("made again", False, f"refused: {e}")
        return
    then = run.manifest
    for what in ("scheme", "policy"):
        if what in then and what in manifest:
            same = then[what].get("fingerprint") == manifest[what].get("fingerprint")
            told.note(what, same, str(then[what].get("id")) + ("" if same else " was changed"))
    names = sorted({*then.get("outputs", {}), *tables})
    differing = [n for n in names if then["outputs"].get(n) != manifest["outputs"].get(n)]
    for name in differing:
        told.note(
            f"{name} made again", False, _first_difference(run.tables.get(name), tables.get(name))
        )
    same = not differing and then.get("content_hash") == manifest["content_hash"]
    said = f"{len(names)} tables, the same content hash {manifest['content_hash'][:12]}"
    told.note(
        "made again", same, said if same else f"another content hash {manifest['content_hash']}"
    )


def _first_difference(a: pa.Table | None, b: pa.Table | None) -> str:
    """Name the columns that differ."""
    if a is None or b is None:
        return "is in one of the two only"
    if a.num_rows != b.num_rows:
        return f"{a.num_rows:,} rows, made again {b.num_rows:,}"
    key = a.column_names[0]
    a, b = a.sort_by(key), b.sort_by(key)
    names = [n for n in a.column_names if n not in b.column_names or not _same(a[n], b[n])]
    return f"differs in {', '.join(names) or 'the order of equal keys'}"


def _same(a: Any, b: Any) -> bool:
    return bool(a.to_pylist() == b.to_pylist())


# --------------------------------------------------------------------------------------- a sample


def _check_sample(
    run: RunFolder,
    made: Mapping[str, Any],
    found: Sources,
    told: Verification,
    sample: int,
    threads: int | None,
) -> None:
    """Group some cases by the plain reader, one rule after another, and compare whole rows."""
    if made["is_grouped"]:
        told.note("sample", None, "the run was made from grouped cases: no codes to read")
        return
    assert found.cases is not None
    scheme = _runs.schemes_of(tuple(found.schemes), found.policy)
    cases = read_cases(found.cases, columns=found.columns, threads=threads).table
    rows = run.tables["cases"]
    place = {key: k for k, key in enumerate(text_array(rows["case_id"]).to_pylist())}
    ids = text_array(cases["case_id"]).to_pylist()
    seed = int(hashlib.sha256(str(run.manifest.get("content_hash")).encode()).hexdigest()[:8], 16)
    order = np.random.default_rng(seed).permutation(len(ids))
    compared, wrong = 0, []
    for k in order:
        at = place.get(ids[k])
        if compared == sample or at is None:
            if compared == sample:
                break
            continue
        row = rows.slice(at, 1).to_pylist()[0]
        if row["reason"] in NOT_OF_ONE_CASE:
            continue
        case = cases.slice(int(k), 1).to_pylist()[0]
        trace = _trace(case, scheme, made["codes"])
        compared += 1
        for name in SAMPLED:
            if (row[name] or "") != (getattr(trace, name) or ""):
                wrong.append(f"{row['case_id']}: {name}")
    said = f"{compared:,} cases read by the plain reader, the same groups and rows of rules"
    told.note("sample", not wrong, "; ".join(wrong[:5]) or said)


NOT_OF_ONE_CASE = ("duplicate_case_id", "input_unreadable", "no_edition", "unknown_coding")
"""Reasons that only the whole input or the reading of its file shows."""


def _trace(case: Mapping[str, Any], scheme: Any, codes: str) -> Any:
    by: Scheme = _runs.scheme_of_case(scheme, case)
    given = case.get("code_edition") or "insurer" if codes == "case" else codes
    return explain(case, by, codes=given, near=0)
