"""Cases from files a piece at a time: a Parquet file by row group, others whole."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from grouper import io
from grouper._columns import BY_NAME
from grouper._progress import heard, tell
from grouper._reading import FAULT, FileRead, find_files
from grouper.errors import CaseFileError

PARQUET = ".parquet"


def iter_cases(
    source: Any,
    wanted: Iterable[str],
    *,
    columns: io.ColumnMap | Path | str | None = None,
    threads: int | None = None,
) -> Iterator[io.CaseTable]:
    """Yield cases in pieces, so that memory holds one row group of a Parquet file at a time.

    Parameters
    ----------
    source : as for `read_cases`, or a list of such. wanted : columns of the schema to read.

    Raises
    ------
    CaseFileError, CaseSchemaError : as `read_cases`.
    """
    if isinstance(source, list | tuple) and all(isinstance(case, dict) for case in source):
        raise TypeError("cases as a list of dicts: make a table of them first")
    sources = source if isinstance(source, list | tuple) else [source]
    pieces = [
        p for one in sources for p in (find_files(one) if isinstance(one, str | Path) else [one])
    ]
    for k, piece in enumerate(pieces):
        if isinstance(piece, Path) and piece.name.casefold().endswith(PARQUET):
            for done, part in _row_groups(piece, set(wanted), columns, threads):
                yield part
                tell((k + done) / len(pieces))
        else:
            with heard(None):
                part = io.read_cases(piece, columns=columns, threads=threads)
            yield part
            tell((k + 1) / len(pieces))


def _row_groups(
    path: Path,
    wanted: set[str],
    columns: io.ColumnMap | Path | str | None,
    threads: int | None,
) -> Iterator[tuple[float, io.CaseTable]]:
    """Yield (share of the file, cases) of each row group."""
    given = columns if isinstance(columns, io.ColumnMap) else None
    if columns is not None and given is None:
        given = io.load_map(str(columns))
    theirs = set(given.columns.values()) if given else set()
    try:
        file = pq.ParquetFile(path, memory_map=True, page_checksum_verification=True)
        read = [h for h in file.schema_arrow.names if _is_wanted(h, wanted, theirs)]
        for k in range(max(file.num_row_groups, 1)):
            if file.num_row_groups:
                table = file.read_row_group(k, read, use_threads=threads != 1)
            else:
                table = file.schema_arrow.empty_table().select(read)
            with heard(None):
                part = io.read_cases(table, columns=given, threads=threads)
            yield (k + 1) / max(file.num_row_groups, 1), part
    except (pa.ArrowException, OSError, UnicodeDecodeError) as e:
        if isinstance(e, CaseFileError):
            raise
        message = f"no whole Parquet file, truncated or damaged ({str(e)[:120]}); export it again"
        raise CaseFileError(message, file=path.name) from None


def _is_wanted(header: str, wanted: set[str], theirs: set[str]) -> bool:
    """Tell whether a column is to be read: one of ours that is wanted, or one that a map names."""
    name = header.strip()
    money = f"{name}_fen"
    return (
        name in wanted
        or money in wanted
        or name == FAULT
        or header in theirs
        or name not in BY_NAME
    )


def files_read(source: Any) -> Sequence[FileRead]:
    """List the files of a source with size and sha256; rows are not counted here."""
    if isinstance(source, list | tuple):
        return [f for one in source for f in files_read(one)]
    if not isinstance(source, str | Path):
        return []
    found = []
    for path in find_files(source):
        with path.open("rb") as f:
            digest = hashlib.file_digest(f, "sha256").hexdigest()
        found.append(FileRead(path.name, path.stat().st_size, digest, 0))
    return found
