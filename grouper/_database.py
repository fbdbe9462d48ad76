"""PostgreSQL in and out (数据库), by ADBC: rows come and go as Arrow, into the database with COPY.

An address is ``postgresql://user@host/db?table=cases`` or ``?query=SELECT …``; what else it says after the
``?`` is the connection's (sslmode …). Passwords come from PGPASSWORD, ~/.pgpass or the address; none is
ever shown or written. Reading is a read-only transaction; writing is one transaction: it replaces the rows
of its run, so that the same run written twice is there once, and what is cut off was never there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

import pyarrow as pa

from grouper._hashing import content_hash
from grouper.errors import CaseFileError, CaseSchemaError

SCHEMES = ("postgresql", "postgres")
EXTRA = 'pip install "drgdip-grouper[postgres]"'
RUN = "run_id"
"""The column that says which run wrote a row."""

_TYPES: tuple[tuple[Any, str], ...] = (
    (pa.types.is_boolean, "boolean"),
    (pa.types.is_int8, "smallint"),
    (pa.types.is_int16, "smallint"),
    (pa.types.is_uint8, "smallint"),
    (pa.types.is_int32, "integer"),
    (pa.types.is_integer, "bigint"),
    (pa.types.is_floating, "double precision"),
    (pa.types.is_date, "date"),
    (pa.types.is_timestamp, "timestamp"),
    (pa.types.is_string, "text"),
    (pa.types.is_large_string, "text"),
)


def is_database(source: object) -> bool:
    """Tell if a source or target is the address of a database."""
    return isinstance(source, str) and source.partition("://")[0] in SCHEMES and "://" in source


@dataclass(frozen=True)
class Address:
    """An address in its parts: `dsn` connects, `shown` has no password and connects too."""

    dsn: str
    shown: str
    table: str | None
    query: str | None
    secret: str

    @classmethod
    def of(cls, text: str) -> Address:
        """Take an address apart.

        Raises
        ------
        CaseFileError : it is none, or names neither or both of table and query.
        """
        if not is_database(text):
            message = "is no address of a database, such as postgresql://me@host/db?table=cases"
            raise CaseFileError(message, file=text)
        parts = urlsplit(text)
        asked = parse_qsl(parts.query, keep_blank_values=True)
        ours = {k: v for k, v in asked if k in ("table", "query")}
        rest = [(k, v) for k, v in asked if k not in ours]
        secret = parts.password or dict(rest).get("password", "")
        login, at, host = parts.netloc.rpartition("@")
        user = login.partition(":")[0] + at
        plain = [(k, v) for k, v in rest if k != "password"]
        dsn = urlunsplit(
            (SCHEMES[0], parts.netloc, parts.path, urlencode(rest, quote_via=quote), "")
        )
        told = urlencode([*plain, *ours.items()], quote_via=quote)
        shown = urlunsplit((SCHEMES[0], user + host, parts.path, told, ""))
        if len([v for v in ours.values() if v]) != 1:
            message = "name a table (…?table=cases) or a query (…?query=SELECT …)"
            raise CaseFileError(message, file=shown)
        return cls(dsn, shown, ours.get("table"), ours.get("query"), secret)

    def without_secret(self, text: str) -> str:
        """Take the password out of a text of the driver."""
        for secret in filter(None, {self.secret, unquote(self.secret)}):
            text = text.replace(secret, "…")
        return text


@contextmanager
def _connected(address: Address) -> Iterator[Any]:
    """Open a connection; what the database says becomes a refusal, and nothing of it stays.

    Raises
    ------
    CaseFileError : the driver is not installed, or the database refuses.
    """
    try:
        from adbc_driver_postgresql import dbapi
    except ImportError:
        raise CaseFileError(f"a database needs its driver: {EXTRA}", file=address.shown) from None
    try:
        with dbapi.connect(address.dsn) as connection:
            yield connection
    except dbapi.Error as e:
        said = address.without_secret(" ".join(str(e).split()))
        raise CaseFileError(f"the database says: {said}", file=address.shown) from None


# ------------------------------------------------------------------------------------------ reading


def read_table(text: str) -> tuple[str, pa.Table, str]:
    """Read what an address names: (the address to show, the table, a hash of its content).

    Raises
    ------
    CaseFileError : see `_connected`.
    """
    address = Address.of(text)
    statement = address.query or f"SELECT * FROM {quoted(address.table or '')}"
    with _connected(address) as connection, connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        cursor.execute(statement)
        table = cursor.fetch_arrow_table()
    table = table.cast(pa.schema([f.remove_metadata() for f in table.schema]))
    if not table.column_names:
        raise CaseFileError("the query gives no columns", file=address.shown)
    key = "case_id" if "case_id" in table.column_names else table.column_names[0]
    try:
        digest = content_hash(table, key=key)
    except CaseSchemaError:  # a type that no case has: the reader refuses its column by name
        digest = hashlib.sha256(str(table.schema).encode()).hexdigest()
    return address.shown, table, digest


def quoted(name: str) -> str:
    """Write a name, or a schema and a name with a point between, as SQL takes it."""
    return ".".join('"' + part.replace('"', '""') + '"' for part in name.split("."))


# ------------------------------------------------------------------------------------------ writing


def write_tables(tables: Mapping[str, pa.Table], text: str, run_id: str) -> dict[str, int]:
    """Write tables in one transaction, in place of what the same run wrote before.

    Parameters
    ----------
    tables : by name; each gets a column `run_id` before its own. text : an address that names a table:
        the one table's name, or what the names of several begin with.
    run_id : what the rows belong to; the same run again replaces them.

    Returns
    -------
    Rows by the name of the table in the database.

    Raises
    ------
    CaseFileError : see `_connected`; or a table is there with other columns.
    """
    address = Address.of(text)
    if address.table is None:
        raise CaseFileError("name a table to write to (…?table=results)", file=address.shown)
    written = {}
    with _connected(address) as connection, connection.cursor() as cursor:
        for name, table in tables.items():
            target = address.table if len(tables) == 1 else f"{address.table}_{name}"
            rows = _plain(table, run_id)
            _prepare(cursor, target, rows.schema, run_id, address)
            schema, _, bare = target.rpartition(".")
            where = {"db_schema_name": schema} if schema else {}
            cursor.adbc_ingest(bare, rows, mode="append", **where)
            written[target] = rows.num_rows
        connection.commit()
    return written


def _prepare(cursor: Any, target: str, schema: Any, run_id: str, address: Address) -> None:
    """Make the table if there is none, see that it fits, and take this run's rows out of it."""
    name = quoted(target)
    # a literal, since the driver binds parameters to plain statements alone; letters and digits only
    key = int(hashlib.sha256(f"{target}\0{run_id}".encode()).hexdigest()[:15], 16)
    cursor.execute(f"SELECT pg_advisory_xact_lock({key})")
    columns = ", ".join(f"{quoted_column(f.name)} {_sql_type(f.type)}" for f in schema)
    cursor.execute(f"CREATE TABLE IF NOT EXISTS {name} ({columns})")
    cursor.execute(f"SELECT * FROM {name} LIMIT 0")
    held = [column[0] for column in cursor.description]
    lacking = [f.name for f in schema if f.name not in held]
    if lacking:
        listed = ", ".join(lacking[:8])
        message = f"table {target} has no column {listed}: name another table, or add them"
        raise CaseFileError(message, file=address.shown)
    cursor.execute(f"DELETE FROM {name} WHERE {RUN} = $1", (run_id,))


def quoted_column(name: str) -> str:
    """Write a column's name; a point in it is part of the name."""
    return '"' + name.replace('"', '""') + '"'


def _sql_type(kind: Any) -> str:
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return f"{_sql_type(kind.value_type)}[]"
    if pa.types.is_decimal(kind):
        return f"numeric({kind.precision}, {kind.scale})"
    return next((name for fits, name in _TYPES if fits(kind)), "text")


def _plain(table: pa.Table, run_id: str) -> pa.Table:
    """Return the table with its run before it, dictionaries as texts."""
    found = {RUN: pa.array([run_id] * table.num_rows, pa.string())}
    for name, column in zip(table.column_names, table.columns, strict=True):
        kind = column.type
        if name == RUN:
            continue
        found[name] = column.cast(kind.value_type) if pa.types.is_dictionary(kind) else column
    return pa.table(found)
