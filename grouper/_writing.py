"""Tables → files and run folders, whole or not at all; and the content hash of a table.

Everything is written beside its place under a hidden name, flushed to the disk, then renamed: a
reader sees the old or the new, never a half (`_atomic`). Parquet carries checksums of its pages. The
content hash depends on values only: not on chunks, dictionaries, 32- or 64-bit offsets, padding, the
order of rows, or bytes under nulls.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc

from grouper import _atomic, _excel, _platform
from grouper._csv_texts import marked, marked_text
from grouper._hashing import content_hash
from grouper.errors import CaseFileError

MANIFEST = "manifest.json"
RUN_KEYS = {
    "cases": "case_id",
    "hospitals": "hospital_id",
    "pools": "pool_id",
    "ledger": "entry_id",
    "months": "pool_id",
    "payments": "hospital_id",
    "coefficients": "hospital_id",
    "candidates": "case_id",
}
"""The tables of a run and the column that orders each for its content hash."""

SECTIONS = ("run", "outputs", "policy")
"""What is an object in a manifest, if it is there."""

STATEMENTS = "statements/"
"""Where a run's statements stand in its folder."""


# ------------------------------------------------------------------------------------------ tables


def write_table(table: pa.Table, path: Path | str) -> None:
    """Write a table by the ending of `path`: .parquet, .arrow, .csv or .xlsx.

    Parameters
    ----------
    table : any table; in CSV and Excel lists are joined by ``|``; in Excel a column ``x_fen`` is
        written as yuan under the name ``x``, and no text becomes a formula. In CSV a text that a
        spreadsheet would run (it begins with ``= + - @``, a tab or a line break, and is no number)
        gets an apostrophe before it, which reading does not take away (docs/adr/0013-csv-texts.md):
        for machines write .parquet or .arrow, which keep every text.
    path : replaced if it exists; folders above it are made.

    Raises
    ------
    CaseFileError : the ending is unknown, the table does not fit Excel, or the disk refuses.
    """
    path = Path(path)
    refuse_ending(path)
    write = _WRITERS[path.suffix.casefold()]
    _atomic.sweep(path)
    with replacing(path) as file:
        write(table, file, path.name)


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a hidden file beside `path`; rename it at the end or, on an exception, remove it."""
    hidden = path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            hidden = _atomic.hidden_name(path, _atomic.MAKING)
            with open(hidden, "xb") as file:
                if not _atomic.claim(file.fileno(), hidden):
                    continue
                yield file
                file.flush()
                os.fsync(file.fileno())
            break
        _platform.replace(hidden, path)
        _platform.sync_folder(path.parent)
    except CaseFileError:
        raise
    except OSError as e:
        raise CaseFileError(f"cannot be written: {e.strerror or e}", file=str(path)) from None
    except Exception as e:
        if type(e).__module__.partition(".")[0] != "xlsxwriter":
            raise
        raise CaseFileError(f"cannot be written: {e}", file=str(path)) from None
    finally:
        if hidden != path:
            with suppress(OSError):  # renamed already, or never made
                hidden.unlink()


def _write_parquet(table: pa.Table, file: BinaryIO, name: str) -> None:
    import pyarrow.parquet as pq

    pq.write_table(table, file, compression="zstd", write_page_checksum=True)


def _write_arrow(table: pa.Table, file: BinaryIO, name: str) -> None:
    with pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)


def _write_csv(table: pa.Table, file: BinaryIO, name: str) -> None:
    import pyarrow.csv

    header = io.StringIO()
    csv.writer(header, lineterminator="\n").writerow(map(marked_text, table.column_names))
    file.write(header.getvalue().encode())
    start = file.tell()
    plain = pa.table([marked(_flat(c)) for c in table.columns], names=table.column_names)
    try:
        options = pyarrow.csv.WriteOptions(include_header=False, quoting_style="none")
        pyarrow.csv.write_csv(plain, file, options)
    except pa.ArrowInvalid:  # some text needs quotation marks: then all text gets them
        file.seek(start)
        file.truncate()
        pyarrow.csv.write_csv(plain, file, pyarrow.csv.WriteOptions(include_header=False))


def _flat(column: Any) -> Any:
    """Decode dictionaries and join lists by ``|``; a null code in a list is blank."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return column.cast(kind.value_type)
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)):
        return column
    texts = column.cast(pa.list_(pa.string()))
    if any(c.flatten().null_count for c in texts.chunks):
        cells = [None if c is None else "|".join(x or "" for x in c) for c in texts.to_pylist()]
        return pa.chunked_array([pa.array(cells, pa.string())])
    return pc.binary_join(texts, "|")


def _write_excel(table: pa.Table, file: BinaryIO, name: str) -> None:
    _excel.write_sheets({"Sheet1": table}, file, name, _flat)


_WRITERS: dict[str, Callable[[pa.Table, BinaryIO, str], None]] = {
    ".parquet": _write_parquet,
    ".arrow": _write_arrow,
    ".csv": _write_csv,
    ".xlsx": _write_excel,
}


# -------------------------------------------------------------------------------------- run folders


@dataclass(frozen=True, eq=False)
class RunFolder:
    """A run as it was read back: its tables by name and its manifest."""

    path: Path
    tables: Mapping[str, pa.Table]
    manifest: Mapping[str, Any]


def write_run(
    folder: Path | str,
    tables: Mapping[str, pa.Table],
    manifest: Mapping[str, Any],
    files: Mapping[str, str | bytes] | None = None,
    *,
    overwrite: bool = False,
) -> Path:
    """Make a run folder: NAME.parquet of each table, files, manifest.json; whole or not at all.

    Parameters
    ----------
    folder : absent or empty, or with `overwrite` an earlier run (it has a manifest.json).
    tables : by name. manifest : what JSON can hold. files : relative path → text or bytes.

    Raises
    ------
    CaseFileError : the folder holds something else, a name leads out of it, or the disk refuses.
    """
    target = Path(folder).resolve()
    text = json.dumps(manifest, ensure_ascii=False, sort_keys=True, indent=2, allow_nan=False)
    contents = {_inside(f"{name}.parquet", target): table for name, table in tables.items()}
    plain = {_inside(name, target): content for name, content in (files or {}).items()}
    if clash := (contents.keys() & plain.keys()) | ({MANIFEST} & (contents.keys() | plain.keys())):
        raise CaseFileError(f"{min(clash)} would be written twice", file=str(target))
    _atomic.recover(target, MANIFEST)
    _check_target(target, overwrite, {MANIFEST, *contents, *plain})
    hidden, lock = target, None
    try:
        _atomic.sweep(target)
        hidden, lock = _atomic.make_folder(target)
        for name, table in contents.items():
            with replacing(hidden / name) as file:
                _write_parquet(table, file, name)
        for name, content in {**plain, MANIFEST: text + "\n"}.items():
            with replacing(hidden / name) as file:
                file.write(content.encode() if isinstance(content, str) else content)
        if overwrite and target.exists():
            _check_target(target, overwrite, {MANIFEST, *contents, *plain})  # as it is now
        _put_in_place(hidden, target, replace=overwrite)
    except CaseFileError:
        raise
    except OSError as e:
        raise CaseFileError(f"cannot be written: {e.strerror or e}", file=str(target)) from None
    finally:
        if lock is not None:
            os.close(lock)
        if hidden != target:
            shutil.rmtree(hidden, ignore_errors=True)
    return target


def refuse_ending(path: Path | str) -> None:
    """Refuse a file of a kind that is not written."""
    path = Path(path)
    if path.suffix.casefold() not in _WRITERS:
        known = ", ".join(_WRITERS)
        raise CaseFileError(f"of no known kind; a result ends in {known}", file=path.name)


def check_output(folder: Path | str, *, overwrite: bool = False) -> None:
    """Refuse at the start what `write_run` would refuse at the end, when the work is done.

    Raises
    ------
    CaseFileError : the folder holds something else than an earlier run that may be replaced.
    """
    _check_target(
        Path(folder).resolve(), overwrite, {f"{n}.parquet" for n in RUN_KEYS} | {MANIFEST}
    )


def _check_target(target: Path, overwrite: bool, names: set[str]) -> None:
    """Refuse a folder that holds anything but an earlier run of the same files."""
    if not target.exists():
        return
    if not target.is_dir():
        raise CaseFileError("it is a file; a run needs a folder of its own", file=str(target))
    if not any(target.iterdir()):
        return
    if not (target / MANIFEST).is_file():
        message = f"the folder is not empty and no earlier run (no {MANIFEST}); name another"
        raise CaseFileError(message, file=str(target))
    if not overwrite:
        message = "it holds an earlier run; allow overwriting or name another folder"
        raise CaseFileError(message, file=str(target))
    earlier = read_manifest(target)
    if earlier.get("run", {}).get("status") == "published":
        message = "it holds a published run, which is never overwritten; name another folder"
        raise CaseFileError(message, file=str(target))
    names = names | {f"{name}.parquet" for name in earlier.get("outputs", {})}
    held = (p.relative_to(target).as_posix() for p in target.rglob("*") if not p.is_dir())
    if foreign := sorted(x for x in set(held) - names if not x.startswith(STATEMENTS)):
        message = f"it also holds {foreign[0]}, which no run wrote; name another folder"
        raise CaseFileError(message, file=str(target))


def _inside(name: str, target: Path) -> str:
    """Return the name if it stays in the folder."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in name or not path.name:
        raise CaseFileError(f"the name {name!r} leads out of the folder", file=str(target))
    return str(path)


def _put_in_place(hidden: Path, target: Path, *, replace: bool = True) -> None:
    """Rename the finished folder; an earlier run gives way only where it may be replaced.

    Without `replace` only an empty folder gives way: what another process has put there stays.
    """
    if replace and target.exists() and any(target.iterdir()):
        _atomic.replace_folder(hidden, target)
        return
    if target.exists():
        target.rmdir()
    _platform.replace(hidden, target)
    _platform.sync_folder(target.parent)


def read_run(folder: Path | str) -> RunFolder:
    """Read a run folder back: every table in it and the manifest.

    Raises
    ------
    CaseFileError : no run is there, or a file of it is damaged.
    """
    import pyarrow.parquet as pq

    path = Path(folder)
    _atomic.recover(path.resolve(), MANIFEST)
    manifest = read_manifest(path)
    tables = {}
    for file in sorted(path.glob("*.parquet")):
        try:
            tables[file.stem] = pq.ParquetFile(file, page_checksum_verification=True).read()
        except (pa.ArrowException, OSError, UnicodeDecodeError):
            message = "no whole Parquet file, truncated or damaged; run again"
            raise CaseFileError(message, file=str(file)) from None
    return RunFolder(path, tables, manifest)


def check_run(run: RunFolder) -> None:
    """Refuse a run whose tables, or whose manifest once published, are not what was written.

    Raises
    ------
    CaseFileError : names the table or the manifest.
    """
    cure = "it was changed after the run: give the run as it was written"
    for name in run.manifest.get("outputs", {}):
        if not is_as_written(run, name):
            raise CaseFileError(
                f"{name}.parquet is not what the run wrote; {cure}", file=str(run.path)
            )
    if not fits_seal(run.manifest):
        raise CaseFileError(f"{MANIFEST} does not fit its seal; {cure}", file=str(run.path))


def is_as_written(run: RunFolder, name: str) -> bool:
    """Tell if a table of a run is there and has the hash that its manifest says."""
    table = run.tables.get(name)
    if table is None:
        return False
    digest: str = run.manifest["outputs"][name]
    return content_hash(table, key=RUN_KEYS.get(name, "case_id")) == digest


def fits_seal(manifest: Mapping[str, Any]) -> bool:
    """Tell if a manifest is not published, or fits its seal."""
    about = manifest.get("run") or {}
    return about.get("status") != "published" or about.get("seal") == seal(manifest)


COMPUTED = (
    *("scheme", "codes", "cases", "status", "reasons", "warnings", "policy", "settled", "proof"),
    *("proposals", "deadlines", "outputs"),
)
"""Keys of a manifest that say what was computed; not by whom, when, or from which file."""


def run_hash(manifest: Mapping[str, Any]) -> str:
    """Return the content hash of a run: its tables and what was computed.

    The same for any order of the rows, form of the files, threads, host, version and time.
    """
    about = {k: v for k, v in (manifest.get("run") or {}).items() if k in ("kind", "period")}
    held = {k: manifest[k] for k in COMPUTED if k in manifest}
    text = json.dumps({**held, "run": about}, ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def seal(manifest: Mapping[str, Any]) -> str:
    """Return the digest of a manifest but for the seal itself."""
    about = {k: v for k, v in (manifest.get("run") or {}).items() if k != "seal"}
    text = json.dumps({**manifest, "run": about}, ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read the manifest of a run folder.

    Raises
    ------
    CaseFileError : no run is there, or its manifest is damaged.
    """
    try:
        text = (folder / MANIFEST).read_text("utf-8")
        found = json.loads(text, parse_constant=_finite, parse_float=_finite)
    except OSError:
        message = f"no run is there: it has no {MANIFEST}{_runs_near(folder)}"
        raise CaseFileError(message, file=str(folder)) from None
    except (ValueError, RecursionError) as e:
        raise CaseFileError(f"{MANIFEST} is damaged: {e}", file=str(folder)) from None
    if not isinstance(found, dict) or not all(isinstance(found.get(s, {}), dict) for s in SECTIONS):
        raise CaseFileError(f"{MANIFEST} is damaged: no object", file=str(folder))
    return found


def _runs_near(folder: Path) -> str:
    """Tell the runs below a folder, or beside one that is not there."""
    place = folder if folder.is_dir() else folder.parent
    runs = sorted(p.parent.name for p in place.glob(f"*/{MANIFEST}")) if place.is_dir() else []
    return f"; in {place} there are the runs {', '.join(runs[:5])}" if runs else ""


def replace_file(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    with replacing(path) as file:
        file.write(text.encode())


def _finite(text: str) -> float:
    """Read a number of a manifest; a manifest never holds another."""
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text[:40]} is no finite number")
    return number


def replace_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Put another manifest into a run folder, whole or not at all."""
    text = json.dumps(manifest, ensure_ascii=False, sort_keys=True, indent=2, allow_nan=False)
    replace_file(folder / MANIFEST, f"{text}\n")
