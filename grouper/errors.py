"""The whole tree of errors.

A refusal is an exception of this tree: a stable code for a program, a sentence with file, row,
field and cure for a person. A bad *case* is never an exception: it is a row with a status.

    GrouperError
    ├── TableError          E1xx  a scheme's or policy's table is wrong   (file, row, column)
    │   └── RuleError       E110  the text of a rule does not parse       (column of the text)
    ├── SchemeNotFound      E200  no scheme of that name                  (known ids)
    ├── CaseSchemaError     E300  the case table lacks or mistypes columns (all faults at once)
    ├── CaseFileError       E310  a file of cases cannot be read          (file)
    ├── CacheError          E320  what is compiled cannot be kept (folder)
    ├── PolicyError         E400  a parameter is missing, wrong or not yet in force
    ├── SettlementError     E500  the cases cannot be paid by this policy
    └── ConservationError   E900  money does not add up: a defect of this program, never shipped on
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

__all__ = [
    "CacheError",
    "CaseFileError",
    "CaseSchemaError",
    "ConservationError",
    "GrouperError",
    "PolicyError",
    "RuleError",
    "SchemeNotFound",
    "SettlementError",
    "TableError",
]


def nearest(name: str, among: Iterable[str], *, least: float = 0.5) -> str | None:
    """Return the name most like a wrong one, None if none is; `least` 1 = the same but for case."""
    folded = {x.casefold(): x for x in among if x}
    near = difflib.get_close_matches(name.casefold(), list(folded), n=1, cutoff=least)
    return folded[near[0]] if near else None


class GrouperError(Exception):
    """Base of every refusal; `code` is stable across releases."""

    code = "E000"

    def __str__(self) -> str:
        return f"[{self.code}] {super().__str__()}"


class TableError(GrouperError, ValueError):
    """A table of a scheme or policy is refused.

    Parameters
    ----------
    message : what is wrong and what would cure it.
    file : the file's name. row : its line, the header being line 1; 0 = the whole file.
    """

    code = "E100"

    def __init__(self, message: str, *, file: str, row: int = 0) -> None:
        self.file, self.row = file, row
        super().__init__(f"{file}{f':{row}' if row else ''}: {message}")


class RuleError(TableError):
    """A rule's text does not parse; `column` counts characters of the cell from 1."""

    code = "E110"

    def __init__(self, message: str, *, file: str, row: int = 0, column: int = 1) -> None:
        self.column = column
        super().__init__(f"column {column} of the rule: {message}", file=file, row=row)


class SchemeNotFound(GrouperError, LookupError):
    """No scheme (or policy, or code list) has that name; `known` lists those that exist."""

    code = "E200"

    def __init__(self, scheme_id: str, known: Sequence[str], *, kind: str = "scheme") -> None:
        self.scheme_id, self.known = scheme_id, list(known)
        near = nearest(scheme_id, self.known)
        hint = f"; the nearest is {near!r}" if near else ""
        known = ", ".join(self.known)
        super().__init__(
            f"no {kind} {scheme_id!r}{hint}; known: {known}; or give the path of a folder"
        )


class CaseSchemaError(GrouperError, ValueError):
    """The case table does not fit the schema; `faults` names every one of them."""

    code = "E300"

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = list(faults)
        super().__init__("; ".join(self.faults))


class CaseFileError(GrouperError, OSError):
    """A file of cases is missing, empty, truncated or of an unknown kind."""

    code = "E310"

    def __init__(self, message: str, *, file: str) -> None:
        self.file = file
        super().__init__(f"{file}: {message}")


class CacheError(GrouperError, OSError):
    """A cache of compiled kernels or schemes cannot be written; only `grouper warm` minds."""

    code = "E320"


class PolicyError(GrouperError, ValueError):
    """A policy's parameter is missing, wrong, or has no value at the date asked for."""

    code = "E400"

    def __init__(self, message: str, *, parameter: str = "", file: str = "") -> None:
        self.parameter, self.file = parameter, file
        super().__init__(": ".join(p for p in (file, parameter, message) if p))


class SettlementError(GrouperError, ValueError):
    """These cases cannot be paid by this policy; the message says which and what to add."""

    code = "E500"


class ConservationError(GrouperError, AssertionError):
    """A sum of money is not conserved. Nothing is written when this is raised."""

    code = "E900"
