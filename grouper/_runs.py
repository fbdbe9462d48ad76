"""A whole run: files in, a run folder out, with a manifest that says where every row and fen went."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa

from grouper._database import Address, is_database, read_table
from grouper._grouped import GroupedBatch
from grouper._grouping import group
from grouper._layouts import read_together
from grouper._reading import find_files
from grouper._row_proof import prove_rows
from grouper._settlement import Settlement, settle
from grouper._tables_in import read_hospitals, read_ledger
from grouper._writing import MANIFEST, RUN_KEYS, run_hash
from grouper.errors import PolicyError
from grouper.io import content_hash, load_map, read_cases, write_run
from grouper.tables import (
    Editions,
    Scheme,
    load_editions,
    load_policy,
    load_scheme,
    policy_ids,
    scheme_ids,
)

Step: TypeAlias = Callable[[str, Callable[[], Any]], Any]

ALWAYS = ("cases", "hospitals", "pools", "ledger")
"""Tables that a run folder has even where they are empty."""


def quiet(_: str, work: Callable[[], Any]) -> Any:
    """Run a step without a word."""
    return work()


def group_files(
    cases: Any,
    scheme: str | Scheme | Editions,
    columns: str | None = None,
    codes: str = "insurer",
    threads: int | None = None,
    step: Step = quiet,
) -> tuple[GroupedBatch, dict[str, Any]]:
    """Read and group cases; return the result and the facts for the manifest.

    Raises
    ------
    ConservationError : rows in and rows out differ; this is never written.
    """
    loaded = load_scheme(scheme) if isinstance(scheme, str) else scheme
    read = step("reading", lambda: read_cases(cases, columns=columns, threads=threads))
    grouped: GroupedBatch = step(
        "grouping", lambda: group(read.table, loaded, codes=codes, threads=threads)
    )
    rows = prove_rows(read.table, grouped, read.files)
    normalised = {k: v for k, v in {**read.counts, **grouped.normalised}.items() if v}
    return grouped, {
        "inputs": [f._asdict() for f in read.files],
        "scheme": _about_scheme(loaded, grouped),
        "codes": _about_codes(grouped, codes),
        "cases": len(grouped),
        "rows": rows,
        "status": grouped.counts(),
        "reasons": grouped.reasons(),
        "warnings": grouped.warnings(),
        "normalised": normalised,
        "ignored_columns": list(read.ignored),
        "dropped_columns": list(read.dropped),
        "faulty_rows": list(read.faults),
    }


def schemes_of(schemes: Sequence[str], policy: str | None) -> Scheme | Editions:
    """Return what groups the cases: the one scheme named, or the editions that a policy adopts.

    Raises
    ------
    PolicyError : no scheme is named and the policy adopts none, or several are and it adopts others.
    """
    adopted = load_policy(policy) if policy is not None else None
    if adopted is not None:
        ids = {a.id for a in adopted.settings.scheme}
        if not schemes or len(ids) > 1:
            return load_editions(adopted, schemes)
    if len(schemes) == 1:
        return load_scheme(schemes[0])
    message = "name one, or a policy whose [[scheme]] table adopts several"
    raise PolicyError(message, parameter="--scheme")


def scheme_of_case(scheme: Scheme | Editions, case: Mapping[str, Any]) -> Scheme:
    """Return the scheme that groups one case.

    Raises
    ------
    PolicyError : the case has no day, or no edition is in force on it.
    """
    if isinstance(scheme, Scheme):
        return scheme
    day = case.get(scheme.column)
    if day is None:
        message = f"the case has no {scheme.column}, by which policy {scheme.policy} chooses"
        raise PolicyError(message, parameter="scheme")
    return scheme.for_date(day)


def _about_scheme(scheme: Scheme | Editions, grouped: GroupedBatch) -> dict[str, Any]:
    """Say which scheme grouped; of several editions, which one grouped how many."""
    if isinstance(scheme, Scheme):
        return {"id": scheme.id, "fingerprint": scheme.fingerprint, "notes": scheme.notes}
    counts = Counter[str]()
    for part in grouped.parts:
        counts[part.scheme.fingerprint if part.scheme else ""] += len(part.arrays.status)
    editions = [
        {
            "id": e.scheme.id,
            "fingerprint": e.scheme.fingerprint,
            "from": str(e.first),
            "to": str(e.last) if e.last else None,
            "cases": counts[e.scheme.fingerprint],
        }
        for e in scheme.editions
    ]
    ids = " | ".join(dict.fromkeys(e.scheme.id for e in scheme.editions))
    return {"id": ids, "by": scheme.by, "editions": editions, "without_edition": counts[""]}


def _about_codes(grouped: GroupedBatch, codes: str) -> dict[str, Any]:
    """Name the coding of the cases and the lists of codes that they were read by."""
    lists = {s.code_list.id: s.code_list for s in grouped.schemes if s.code_list is not None}
    named = {i: listed.settings.edition or listed.settings.title for i, listed in lists.items()}
    return {"given": codes, "lists": named}


@dataclass(frozen=True)
class Order:
    """What settling takes besides the cases: policy, hospitals, ledger, earlier runs, period."""

    policy: str
    hospitals: str | None = None
    ledger: str | None = None
    prior: Sequence[str] = ()
    period: str | None = None
    threads: int | None = None


@dataclass(frozen=True)
class Origin:
    """Where the cases of a run come from, as it was said; `is_grouped`: a file `grouper group` wrote."""

    cases: str
    schemes: Sequence[str] = ()
    columns: str | None = None
    codes: str = "insurer"
    is_grouped: bool = False


def pay(
    grouped: GroupedBatch | pa.Table,
    order: Order,
    output: str | Path,
    facts: Mapping[str, Any],
    step: Step = quiet,
    *,
    overwrite: bool = False,
    origin: Origin | None = None,
) -> dict[str, Any]:
    """Pay grouped cases and write the run folder; return the facts about the money."""
    manifest, outputs = paid(grouped, order, facts, step, origin=origin, beside=Path(output))
    step("writing", lambda: write_run(output, outputs, manifest, overwrite=overwrite))
    return {
        "run": {k: v for k, v in manifest["run"].items() if k in ("kind", "period", "status")},
        "proof": [{k: v for k, v in p.items() if k in PRINTED} for p in manifest["proof"]],
        "bands": manifest["settled"]["bands"],
        "paid_by_rule": manifest["settled"]["paid_by_rule"],
        "stand_ins": manifest["settled"]["stand_ins"],
        "proposals": manifest.get("proposals", []),
        "content_hash": manifest["content_hash"],
        "output": str(output),
    }


def paid(
    grouped: GroupedBatch | pa.Table,
    order: Order,
    facts: Mapping[str, Any],
    step: Step = quiet,
    *,
    origin: Origin | None = None,
    beside: Path = Path(),
) -> tuple[dict[str, Any], dict[str, pa.Table]]:
    """Pay grouped cases; return the manifest and the tables of the run folder `beside`."""
    listed = read_hospitals(order.hospitals) if order.hospitals else None
    ledger = read_ledger(order.ledger) if order.ledger else None
    settled: Settlement = step(
        "paying",
        lambda: settle(
            grouped,
            order.policy,
            hospitals=listed,
            ledger=ledger,
            prior=order.prior or None,
            period=order.period,
            threads=order.threads,
        ),
    )
    outputs = {n: t for n, t in settled.tables().items() if t.num_rows or n in ALWAYS}
    others = [p for p in (order.hospitals, order.ledger, origin and origin.columns) if p]
    manifest = {
        **facts,
        **settled.manifest(),
        "also_read": [
            *(about_file(Path(p)) for p in others),
            *(about_file(Path(p) / MANIFEST) | {"name": Path(p).name} for p in order.prior),
        ],
        "outputs": {n: content_hash(t, key=RUN_KEYS[n]) for n, t in outputs.items()},
        "about": {"made": datetime.now(UTC).isoformat(), "version": version()},
    }
    if origin is not None:
        manifest["made_from"] = _made_from(origin, order, beside)
    manifest["content_hash"] = run_hash(manifest)
    return manifest, outputs


def _made_from(origin: Origin, order: Order, beside: Path) -> dict[str, Any]:
    """Say what the run was made from, paths as seen from its folder, so that both can move."""

    def seen(path: str | None, known: Sequence[str] = ()) -> str | None:
        if path is None or path in known:
            return path
        if is_database(path):
            return Address.of(path).shown
        try:
            return Path(os.path.relpath(path, beside)).as_posix()
        except ValueError:  # another drive
            return path

    return {
        "cases": seen(origin.cases),
        "is_grouped": origin.is_grouped,
        "schemes": [seen(s, scheme_ids()) for s in origin.schemes],
        "columns": seen(origin.columns),
        "codes": origin.codes,
        "policy": seen(order.policy, policy_ids()),
        "hospitals": seen(order.hospitals),
        "ledger": seen(order.ledger),
        "prior": [seen(p) for p in order.prior],
        "period": order.period,
    }


PRINTED = (
    *("pool_id", "period", "line", "fund_fen", "floor_draw_fen", "pay_fen", "balance_fen"),
    *("undistributed_fen", "overdrawn_fen", "identity"),
)


def about_inputs(cases: str, columns: str | None) -> list[dict[str, Any]]:
    """Name what `read_cases` reads, files or a database, with size and sha256, ordered by name.

    Raises
    ------
    CaseFileError : there are none. OSError : one cannot be read.
    """
    if is_database(cases):
        shown, _, digest = read_table(cases)
        return [{"name": shown, "bytes": 0, "sha256": digest}]
    mapped = bool(load_map(columns).columns) if columns else False
    return same_order(about_file(p) for p in read_together(find_files(cases), mapped=mapped))


def same_order(files: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return name, size and sha256 of files, ordered by them: to compare what was read with what is."""
    named = [{k: f[k] for k in ("name", "bytes", "sha256")} for f in files]
    return sorted(named, key=lambda f: (f["name"], f["sha256"]))


def about_file(path: Path) -> dict[str, Any]:
    """Name a file with its size and sha256."""
    data = path.read_bytes()
    return {"name": path.name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def version() -> str:
    """Return the version of this package."""
    from grouper import __version__

    return __version__
