"""Statements (结算对账单): for each hospital its cases, and a page that reconciles them to its money.

Order of work: lay out the columns once for the whole run; cut them by hospital; write all files into a
folder beside, which then takes the place of the earlier one. The folder holds what the last call wrote,
listed in index.json, and nothing else: a folder with other files is refused.

The surprise: a file's name is not always the hospital's id. Signs that file systems do not agree on are
written as %XX, and ids that differ in case alone get a mark.
"""

from __future__ import annotations

import json
import re
import secrets
import shutil
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import pyarrow.compute as pc

from grouper._audit_book import Column, Lang, open_book, word
from grouper._audit_facts import Facts
from grouper._statements_layout import Layout, lay_out
from grouper._statements_page import write_page
from grouper._writing import RunFolder, _put_in_place, read_run, replacing
from grouper.errors import CaseFileError

INDEX = "index.json"
FORMATS: tuple[Literal["xlsx", "parquet"], ...] = ("xlsx", "parquet")
LONGEST = 80

_RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)")
_KEPT = re.compile(r"[0-9A-Za-z_一-鿿-]")


def write_statements(
    run: RunFolder | Path | str,
    output: Path | str | None = None,
    *,
    lang: Lang = "zh",
    hospitals: Sequence[str] | None = None,
    formats: Sequence[Literal["xlsx", "parquet"]] = FORMATS,
    catalogue: Path | str | None = None,
) -> list[Path]:
    """Write the statement of each hospital (结算对账单), all of them or none.

    Parameters
    ----------
    run : a run folder with settled cases. output : a folder; default ``statements`` in the run. What
        an earlier call wrote there goes. lang : of the headers. hospitals : only these.
    formats : xlsx has the cases and the reconciliation, in yuan; parquet the cases, in int64 fen.
    catalogue : folder of the DIP catalogue if none that ships: its auxiliary types say which are of
        severity, tumour or age.

    Returns
    -------
    The files, in the order of the hospitals' ids.

    Raises
    ------
    CaseFileError : no settled run is there, a hospital is not in it, or the folder holds other files.
    """
    found = run if isinstance(run, RunFolder) else read_run(run)
    if "cases" not in found.tables or "pay_fen" not in found.tables["cases"].schema.names:
        message = "the run has no settled cases (cases.parquet with pay_fen); settle first"
        raise CaseFileError(message, file=str(found.path))
    if lang not in ("zh", "en", "both") or not formats or set(formats) - set(FORMATS):
        raise CaseFileError("statements are zh, en or both; xlsx, parquet or both", file=INDEX)
    target = Path(output if output is not None else found.path / "statements").resolve()
    layout = lay_out(Facts(found), catalogue)
    names = file_names(layout.hospitals)
    wanted = _wanted(names, hospitals, found)
    _check_target(target)
    hidden = target.parent / f".{target.name}.{secrets.token_hex(4)}.tmp"
    try:
        hidden.mkdir(parents=True)
        index = {}
        for hospital in wanted:
            for ending in formats:
                index[f"{names[hospital]}.{ending}"] = hospital
                path = hidden / f"{names[hospital]}.{ending}"
                _WRITERS[ending](path, layout, hospital, lang)
        _write_index(hidden / INDEX, found, index)
        _put_in_place(hidden, target)
    except OSError as e:
        raise CaseFileError(f"cannot be written: {e.strerror or e}", file=str(target)) from None
    finally:
        shutil.rmtree(hidden, ignore_errors=True)
    return [target / name for name in index]


# -------------------------------------------------------------------------------------------- names


def file_names(hospitals: Sequence[str]) -> dict[str, str]:
    """Return each hospital's file name without ending; no two alike, whatever the file system."""
    plain = {h: _plain(h) for h in hospitals}
    folded: dict[str, int] = {}
    for name in plain.values():
        folded[name.casefold()] = folded.get(name.casefold(), 0) + 1
    return {
        h: _marked(name, h) if folded[name.casefold()] > 1 or _unfit(name) else name
        for h, name in plain.items()
    }


def _plain(hospital: str) -> str:
    """Write signs other than letters, digits, ``_``, ``-`` and Chinese as %XX of their bytes."""
    return "".join(
        c if _KEPT.fullmatch(c) else "".join(f"%{b:02X}" for b in c.encode()) for c in hospital
    )


def _unfit(name: str) -> bool:
    return not name or len(name.encode()) > LONGEST or _RESERVED.fullmatch(name) is not None


def _marked(name: str, hospital: str) -> str:
    """Mark a name by a hash of the id; no plain name has a ``~``."""
    short = name.encode()[:LONGEST].decode(errors="ignore")
    return f"{short}~{sha256(hospital.encode()).hexdigest()[:16]}"


def _wanted(names: Mapping[str, str], hospitals: Sequence[str] | None, run: RunFolder) -> list[str]:
    if hospitals is None:
        return list(names)
    if lacking := [h for h in hospitals if h not in names]:
        some = ", ".join(list(names)[:5])
        message = f"no hospital {lacking[0]!r} in this run; it has {some} ({len(names)} in all)"
        raise CaseFileError(message, file=str(run.path))
    return [h for h in names if h in set(hospitals)]


# -------------------------------------------------------------------------------------------- files


def _check_target(target: Path) -> None:
    """Refuse a folder that holds anything but earlier statements."""
    if not target.exists():
        return
    if not target.is_dir():
        raise CaseFileError("it is a file; statements need a folder", file=str(target))
    held = {p.relative_to(target).as_posix() for p in target.rglob("*")}
    if not held:
        return
    try:
        files = json.loads((target / INDEX).read_text("utf-8"))["files"]
        listed = {INDEX, *files} if isinstance(files, dict) else set()
    except (OSError, ValueError, KeyError, TypeError):
        listed = set()
    if foreign := sorted(held - listed):
        message = f"it holds {foreign[0]}, which is no statement; name another folder"
        raise CaseFileError(message, file=str(target))


def _write_index(path: Path, run: RunFolder, files: Mapping[str, str]) -> None:
    told = {"files": files, "outputs": run.manifest.get("outputs", {})}
    with replacing(path) as file:
        file.write((json.dumps(told, ensure_ascii=False, indent=2) + "\n").encode())


def _write_parquet(path: Path, layout: Layout, hospital: str, lang: Lang) -> None:
    """Write the cases with the content hash of the run's tables in the file's metadata."""
    import pyarrow.parquet as pq

    told = {
        "grouper.content_hash": layout.hashes["cases"],
        "grouper.outputs": json.dumps(layout.hashes, sort_keys=True),
        "grouper.policy": str(layout.facts.told.get("fingerprint", "")),
        "grouper.hospital_id": hospital,
    }
    table = layout.of(hospital).replace_schema_metadata(told)
    with replacing(path) as file:
        pq.write_table(table, file, compression="zstd", write_page_checksum=True)


def _write_excel(path: Path, layout: Layout, hospital: str, lang: Lang) -> None:
    """Write the cases with a total row, then the reconciliation."""
    cases = layout.of(hospital)
    with open_book(path) as book:
        columns = [Column(c.name, c.zh, c.kind) for c in layout.columns]
        sheet = book.sheet(word(lang, "病例", "cases"), columns, lang)
        for batch in cases.to_batches(max_chunksize=1 << 14):
            texts = [
                c.shown(values.to_pylist(), lang)
                for c, values in zip(layout.columns, batch.columns, strict=True)
            ]
            for row in zip(*texts, strict=True):
                sheet.row(row)
        totals: list[Any] = [
            pc.sum(cases[c.name]).as_py() or 0 if c.kind == "money" and c.added else None
            for c in layout.columns
        ]
        totals[0] = word(lang, "合计", "total")
        sheet.row(totals, bold=True)
        write_page(book, layout, hospital, lang)


_WRITERS = {"xlsx": _write_excel, "parquet": _write_parquet}
