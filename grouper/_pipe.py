"""A pipe for other programs (管道): a case as a JSON line in, its result as a JSON line out.

One answer a line, in order, written at once; blank lines are none. A line that is no case is answered too,
rejected and told why, so that who writes a line always has one to read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from fractions import Fraction
from typing import Any, BinaryIO

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from grouper._case_model import EXAMPLE, Case, case_of
from grouper._grouped import RESULT
from grouper._grouping import group
from grouper._result_rows import result_rows
from grouper._what_if import price_of
from grouper.errors import GrouperError
from grouper.tables import Policy, Reason, Scheme, Status

MOST_BYTES = 1 << 20
"""Of a line; what is longer is passed over to its end and rejected."""

_CASE: TypeAdapter[Any] = TypeAdapter(Case)


def answers(
    lines: BinaryIO,
    scheme: Scheme,
    *,
    codes: str = "insurer",
    policy: Policy | None = None,
    point_value: Fraction | None = None,
    encoding: str = "utf-8",
) -> Iterator[bytes]:
    """Answer every line that is not blank.

    Parameters
    ----------
    lines : JSON objects with the columns of a case, one a line; money in fen, dates as text.
    policy : adds `price`, what the group is worth; `point_value` in yuan, for a point method.
    encoding : of what comes and what goes.

    Yields
    ------
    A result row as a JSON line; `message` says what is wrong with a line that is no case.
    """
    group(EXAMPLE, scheme, codes=codes, threads=1)  # the first line does not wait for kernels
    for n, line in enumerate(_lines(lines), 1):
        if line is None:
            row = _rejected(n, f"a line of more than {MOST_BYTES:,} bytes")
        else:
            try:
                text = line.decode(encoding).lstrip("\ufeff")
            except UnicodeDecodeError as e:
                row = _rejected(n, f"not {encoding} at byte {e.start}")
            else:
                if not text.strip():
                    continue
                row = _answer(n, text, scheme, codes, policy, point_value)
        yield f"{json.dumps(row, ensure_ascii=False, default=str)}\n".encode(encoding)


def _lines(lines: BinaryIO) -> Iterator[bytes | None]:
    """Yield lines, None for one that is longer than is allowed; one of blanks is blank at any length."""
    while line := lines.readline(MOST_BYTES + 1):
        if len(line) <= MOST_BYTES or line.endswith(b"\n"):
            yield line
            continue
        is_blank = True
        while line:
            is_blank = is_blank and not line.strip()
            line = b"" if line.endswith(b"\n") else lines.readline(MOST_BYTES)
        yield b"" if is_blank else None


def _answer(
    n: int,
    text: str,
    scheme: Scheme,
    codes: str,
    policy: Policy | None,
    point_value: Fraction | None,
) -> dict[str, Any]:
    try:
        case = case_of(_CASE.validate_json(text))
        row = result_rows(group(case, scheme, codes=codes, threads=1))[0]
    except ValidationError as e:
        first = e.errors(include_input=False, include_url=False)[0]
        return _rejected(n, ": ".join([*map(str, first["loc"]), first["msg"]]), _id(text))
    except GrouperError as e:
        return _rejected(n, str(e), _id(text))
    if policy is None:
        return row
    try:
        price = price_of(policy, case, row["status"], row["group"] or "", point_value)
    except GrouperError as e:
        return row | {"price": None, "message": str(e)}
    return row | {"price": asdict(price)}


def _id(text: str) -> str | None:
    """Return the case_id of a line that is otherwise no case."""
    try:
        given = from_json(text)
    except ValueError:
        return None
    found = given.get("case_id") if isinstance(given, dict) else None
    return found if isinstance(found, str) else None


def _rejected(n: int, why: str, case_id: str | None = None) -> dict[str, Any]:
    """Return the row of a line that is no case: its number, its case_id and why, nothing else of it."""
    told = {
        "case_id": case_id,
        "status": Status.REJECTED.name.lower(),
        "reason": Reason.INPUT_UNREADABLE.name.lower(),
    }
    return dict.fromkeys(RESULT.names) | told | {"warnings": [], "message": f"line {n}: {why}"}
