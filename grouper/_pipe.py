"""Cases as JSON lines (一行一例): for a program in another language that keeps a process of ours beside it.

A line in, a line out, in their order, each sent off at once. A case is what the service takes, a result
is a row of `group`. What is no case is a row too, rejected, with the reason.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal

from pydantic import TypeAdapter, ValidationError

from grouper._grouped import RESULT
from grouper._grouping import group
from grouper._result_rows import result_rows
from grouper._service_models import EXAMPLE, Case, one_case, told
from grouper.errors import GrouperError
from grouper.tables import Editions, Reason, Scheme, Status

MOST_LINE = 1 << 20
"""Bytes of a line; the longest case that is taken has a quarter of that."""

BOM = "\ufeff"
_CASE: TypeAdapter[Any] = TypeAdapter(Case)
_NONE: dict[str, Any] = {
    **dict.fromkeys(RESULT.names),
    "status": Status.REJECTED.name.lower(),
    "reason": Reason.INPUT_UNREADABLE.name.lower(),
    "warnings": [],
}


@dataclass(frozen=True)
class Pipe:
    """What answers lines: a scheme or the editions of a policy, the coding, the encoding of both ends."""

    scheme: Scheme | Editions
    codes: Literal["insurer", "clinical"] = "insurer"
    encoding: Literal["utf-8", "gb18030"] = "utf-8"

    def warm(self) -> None:
        """Group a case, so that the first one that is asked does not wait."""
        if isinstance(self.scheme, Scheme):
            schemes = [self.scheme]
        else:
            schemes = [e.scheme for e in self.scheme.editions]
        for scheme in schemes:
            group(EXAMPLE, scheme, codes=self.codes, threads=1)

    def run(self, source: BinaryIO, sink: BinaryIO) -> None:
        """Answer lines until there are no more.

        Raises
        ------
        OSError : nobody reads the answers.
        """
        for number, line in lines(source):
            sink.write(self.answer(line, number))
            sink.flush()

    def answer(self, line: bytes | None, number: int) -> bytes:
        """Answer one line; None stands for one that is too long. `number` counts lines from 1."""
        row = self._row(line, number)
        text = json.dumps(row, ensure_ascii=False, default=str, separators=(",", ":"))
        # what no encoding has, half a surrogate, becomes the escape that JSON has for it
        return text.encode(self.encoding, "backslashreplace") + b"\n"

    def _row(self, line: bytes | None, number: int) -> dict[str, Any]:
        if line is None:
            return self._fault(number, f"longer than {MOST_LINE:,} bytes")
        try:
            text = line.decode(self.encoding).removeprefix(BOM)
        except UnicodeDecodeError as e:
            return self._fault(number, f"not {self.encoding} at byte {e.start}")
        try:
            case = one_case(_CASE.validate_json(text), *self._day())
            return result_rows(group(case, self.scheme, codes=self.codes, threads=1))[0]
        except ValidationError as e:
            return self._fault(number, told(e), _case_id(text))
        except GrouperError as e:
            return self._fault(number, str(e), _case_id(text))

    def _day(self) -> tuple[str, ...]:
        """Name the column by which editions are chosen: a case without a day has none in force."""
        return () if isinstance(self.scheme, Scheme) else (self.scheme.column,)

    def _fault(self, number: int, message: str, case_id: str | None = None) -> dict[str, Any]:
        row = {**_NONE, "case_id": case_id, "error": {"line": number, "message": message}}
        if isinstance(self.scheme, Scheme):
            row |= {"scheme": self.scheme.id, "scheme_fingerprint": self.scheme.fingerprint}
        return row


def lines(source: BinaryIO) -> Iterator[tuple[int, bytes | None]]:
    """Yield (number from 1, line) of all lines that are not blank; None = longer than `MOST_LINE`."""
    number = 0
    while piece := source.readline(MOST_LINE + 1):
        number += 1
        is_blank, whole = _is_blank(piece, number), piece
        if len(piece) <= MOST_LINE or piece.endswith(b"\n"):
            if not is_blank:
                yield number, whole
            continue
        while piece and not piece.endswith(b"\n"):
            piece = source.readline(MOST_LINE)
            is_blank = is_blank and not piece.strip()
        if not is_blank:
            yield number, None


def _is_blank(piece: bytes, number: int) -> bool:
    return not (piece.removeprefix(codecs.BOM_UTF8) if number == 1 else piece).strip()


def _case_id(text: str) -> str | None:
    """Return the case_id of a line that is refused, if it can be read: the caller finds the case by it."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    named = found.get("case_id") if isinstance(found, dict) else None
    return named[:64] if isinstance(named, str) else None
