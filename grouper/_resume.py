"""Go on where a run was cut off (断点续跑): grouped cases are kept beside the output until it stands.

The checkpoint is named by what it was made from: the bytes of every input, scheme, column map, codes
and version. Anything else, or a checkpoint that is not whole, is as if there were none.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from grouper._grouped import GroupedBatch
from grouper._runs import about_file, about_inputs, same_order, version
from grouper._writing import replace_file, write_table
from grouper.errors import CaseFileError
from grouper.tables import Editions, Scheme

GROUPED, FACTS = "grouped.arrow", "facts.json"


def resumed(
    output: str | Path,
    cases: str,
    scheme: Scheme | Editions,
    columns: str | None,
    codes: str,
    make: Callable[[], tuple[GroupedBatch, dict[str, Any]]],
) -> tuple[pa.Table, dict[str, Any]]:
    """Return grouped cases and facts: kept ones if they are of the same sources, else made and kept.

    Parameters
    ----------
    output : the run folder to be; the checkpoint lies beside it. make : groups the cases.
    """
    place = _place(output)
    kept = _kept(place, _key(about_inputs(cases, columns), scheme, columns, codes))
    if kept is not None:
        return kept
    grouped, facts = make()
    table = grouped.to_arrow(carry=True)
    place.mkdir(parents=True, exist_ok=True)
    write_table(table, place / GROUPED)
    key = _key(same_order(facts["inputs"]), scheme, columns, codes)  # of what was read
    held = {"key": key, "grouped": about_file(place / GROUPED), "facts": facts}
    replace_file(place / FACTS, json.dumps(held, ensure_ascii=False, sort_keys=True))
    return table, facts


def forget(output: str | Path) -> None:
    """Remove the checkpoint of a run that stands."""
    shutil.rmtree(_place(output), ignore_errors=True)


def _place(output: str | Path) -> Path:
    target = Path(output).resolve()
    return target.parent / f".{target.name}.resume"


def _key(inputs: Sequence[Any], scheme: Scheme | Editions, columns: str | None, codes: str) -> str:
    files = [*inputs, *([about_file(Path(columns))] if columns else [])]
    of = [scheme.fingerprint] if isinstance(scheme, Scheme) else _fingerprints(scheme)
    text = json.dumps([files, of, codes, version()], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _fingerprints(editions: Editions) -> Sequence[Any]:
    each = [(e.scheme.fingerprint, str(e.first), str(e.last)) for e in editions.editions]
    return [editions.by, *each]


def _kept(place: Path, key: str) -> tuple[pa.Table, dict[str, Any]] | None:
    try:
        held = json.loads((place / FACTS).read_text("utf-8"))
        if held["key"] != key or held["grouped"] != about_file(place / GROUPED):
            return None
        with pa.OSFile(str(place / GROUPED)) as file:
            return pa.ipc.open_file(file).read_all(), held["facts"]
    except (OSError, ValueError, KeyError, TypeError, CaseFileError, pa.ArrowException):
        return None
