"""Small cells: groups of few cases are made one before a table is published (小样本合并).

A row of 3 cases can be a person. Rows below `least` are merged into one row of their parent, named 其他;
where those are too few together, or only one, the next smallest row goes in as well, since what is
hidden must not be the total less what is shown. A parent that stays too small is merged with others a
level higher. The surprise: totals of parents beside the table undo that; publish them by this too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias

import pyarrow as pa

OTHER = "其他"
LEAST = 30

Row: TypeAlias = dict[str, Any]


class Merged(NamedTuple):
    """The table, how many groups were merged into how many rows, and how many were without cases."""

    table: pa.Table
    groups: int
    rows: int
    empty: int


def merge_small(
    table: pa.Table,
    *,
    keys: Sequence[str],
    count: str,
    sums: Sequence[str] = (),
    least: int = LEAST,
    under: Sequence[str] = (),
    other: str = OTHER,
) -> Merged:
    """Merge rows of fewer than `least` cases, so that none is below unless all cases together are.

    Parameters
    ----------
    keys : the columns of texts that name a row, each combination once. count : the column of cases.
    sums : columns of whole numbers that are added; any other column is null in a merged row.
    under : the first of `keys`, from the outermost: rows are merged within the same of these first.
    other : what the keys of a merged row say.

    Returns
    -------
    Rows by their keys, whatever the order they came in; a row without cases and sums is left out.

    Raises
    ------
    ValueError : a column is missing or of another kind, a count is below 0, a row stands twice.
    """
    keys, sums, under = list(keys), list(sums), list(under)
    rows, empty = _rows(table, keys, count, sums, under)
    given = len(rows)
    for depth in range(len(under), -1, -1):
        buckets: dict[tuple[str, ...], list[Row]] = {}
        for row in rows:
            buckets.setdefault(_key(row, keys[:depth]), []).append(row)
        rows = [
            row
            for parent, held in buckets.items()
            for row in _merged(held, parent, keys, count, sums, least, other)
        ]
    rows.sort(key=lambda row: [(row[k] == other, row[k].encode()) for k in keys])
    groups = sum(row.pop(_PARTS, 0) for row in rows)
    made = len(rows) - (given - groups)
    fields = [pa.field(f.name, pa.string() if f.name in keys else f.type) for f in table.schema]
    return Merged(pa.Table.from_pylist(rows, pa.schema(fields)), groups, made, empty)


_PARTS = "\0parts"
"""How many groups a merged row holds; no column is called so."""


def _rows(
    table: pa.Table, keys: list[str], count: str, sums: list[str], under: list[str]
) -> tuple[list[Row], int]:
    """Return the rows that hold something, and the number of the others."""
    names = [*keys, count, *sums]
    if lacking := [n for n in names if n not in table.schema.names]:
        raise ValueError(f"no column {lacking[0]!r}; it has {', '.join(table.schema.names)}")
    if len(set(names)) < len(names) or not keys or under != keys[: len(under)]:
        raise ValueError(f"keys {keys}, count {count!r}, sums {sums}: under {under} begins keys")
    for name in names:
        kind = table.schema.field(name).type
        inner = kind.value_type if pa.types.is_dictionary(kind) else kind
        is_text = pa.types.is_string(inner) or pa.types.is_large_string(inner)
        if not (is_text if name in keys else pa.types.is_integer(kind)):
            wanted = "texts" if name in keys else "whole numbers"
            raise ValueError(f"column {name!r} is {kind}, not {wanted}")
        if table[name].null_count:
            raise ValueError(f"column {name!r} has blanks; fill them before")
    rows: list[Row] = table.to_pylist()
    if any(row[count] < 0 for row in rows):
        raise ValueError(f"column {count!r} is below 0")
    if len({_key(row, keys) for row in rows}) < len(rows):
        raise ValueError(f"a row of the same {', '.join(keys)} stands twice; add them up before")
    held = [row for row in rows if any(row[n] for n in (count, *sums))]
    return held, len(rows) - len(held)


def _key(row: Row, keys: Iterable[str]) -> tuple[str, ...]:
    return tuple(row[k] for k in keys)


def _merged(
    held: list[Row],
    parent: tuple[str, ...],
    keys: list[str],
    count: str,
    sums: list[str],
    least: int,
    other: str,
) -> list[Row]:
    """Merge the small rows of one parent, and the next smallest until they are enough."""
    made = dict(zip(keys, (*parent, *[other] * (len(keys) - len(parent))), strict=True))
    ordered = sorted(held, key=lambda row: (row[count], [row[k].encode() for k in keys]))
    small = [row for row in ordered if row[count] < least]
    if not small or (len(held) == 1 and _key(held[0], keys) == tuple(made.values())):
        return held
    rest = [row for row in ordered if row[count] >= least]
    small += [row for row in rest if _key(row, keys) == tuple(made.values())]  # was 其他 before
    rest = [row for row in rest if _key(row, keys) != tuple(made.values())]
    while rest and sum(row[count] for row in small) < least:  # so never one small row alone
        small.append(rest.pop(0))
    one: Row = {**dict.fromkeys(held[0]), **made}
    for name in (count, *sums):
        one[name] = sum(row[name] for row in small)
    one[_PARTS] = sum(row.get(_PARTS, 1) for row in small)
    return [*rest, one]
