"""Editions of a scheme side by side (分组方案版本): which one groups a case, by its day.

A policy's ``[[scheme]]`` table adopts schemes from days on; the row that begins last wins. A scheme is
found by its id: among the folders given, beside the policy, among those that ship.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Literal

from grouper.errors import PolicyError, SchemeNotFound
from grouper.tables._drg_scheme import FILE
from grouper.tables._files import SHIPPED
from grouper.tables._policy import Policy, load_policy
from grouper.tables._schemes import Scheme, load_scheme, scheme_ids


@dataclass(frozen=True, eq=False)
class Edition:
    """A scheme and the days on which it is in force, both included; `last` None = open."""

    scheme: Scheme
    first: date
    last: date | None

    def covers(self, day: date) -> bool:
        """Tell whether it is in force on `day`."""
        return self.first <= day and (self.last is None or day <= self.last)


@dataclass(frozen=True, eq=False)
class Editions:
    """The schemes that a policy adopts, in the order of their first days.

    `by` says which day of a case decides: that of its discharge or of its settlement.
    """

    policy: str
    by: Literal["discharge", "settlement"]
    editions: tuple[Edition, ...]

    @property
    def column(self) -> str:
        """The case column that holds the deciding day."""
        return f"{self.by}_date"

    def place(self, day: date) -> int:
        """Return the index of the edition in force on `day`, -1 = none."""
        return max((k for k, e in enumerate(self.editions) if e.covers(day)), default=-1)

    def for_date(self, day: date) -> Scheme:
        """Return the scheme in force on `day`.

        Raises
        ------
        PolicyError : the policy adopts none on that day.
        """
        k = self.place(day)
        if k < 0:
            adopted = ", ".join(f"{e.scheme.id} from {e.first}" for e in self.editions)
            message = f"policy {self.policy} adopts no scheme on {day}; it adopts {adopted}"
            raise PolicyError(message, parameter="scheme")
        return self.editions[k].scheme


def load_editions(policy: Policy | str | Path, folders: Sequence[str | Path] = ()) -> Editions:
    """Load the schemes that a policy adopts.

    Parameters
    ----------
    policy : a `Policy`, an id or a path. folders : schemes of its ``[[scheme]]`` table that neither
        ship with the package nor lie beside the policy; an id works too.

    Raises
    ------
    PolicyError : the policy adopts none, or a scheme given is none that it adopts.
    SchemeNotFound : an adopted scheme is nowhere. TableError : a scheme is refused.
    """
    policy = policy if isinstance(policy, Policy) else load_policy(policy)
    rows = sorted(policy.settings.scheme, key=lambda a: a.from_)
    if not rows:
        message = (
            f"policy {policy.id} adopts no scheme: name one under [[scheme]], or with --scheme"
        )
        raise PolicyError(message, parameter="scheme")
    given = {s.id: s for s in map(load_scheme, folders)}
    adopted = {a.id for a in rows}
    if foreign := sorted(given.keys() - adopted):
        message = f"{', '.join(foreign)}: policy {policy.id} adopts {', '.join(sorted(adopted))}"
        raise PolicyError(message, parameter="scheme")
    found = {i: given[i] if i in given else _find(i, policy) for i in sorted(adopted)}
    editions = tuple(Edition(found[a.id], a.from_, a.to) for a in rows)
    return Editions(policy.id, rows[0].by, editions)


def for_date(day: date, policy: Policy | str | Path) -> Scheme:
    """Load the scheme that a policy adopts on a day; see `load_editions` and `Editions.for_date`."""
    return load_editions(policy).for_date(day)


def _find(name: str, policy: Policy) -> Scheme:
    """Find a scheme by id: beside the policy, or among those that ship."""
    for folder in (policy.folder / name, policy.folder.parent / name, SHIPPED / name):
        if (folder / FILE).is_file():
            scheme = load_scheme(name if folder == SHIPPED / name else folder)
            if scheme.id == name:
                return scheme
    raise SchemeNotFound(name, scheme_ids(), kind=f"scheme of policy {policy.id}")
