"""Where each key of a TOML file stands, so that a refusal can name the line.

`lines_of` reads the text once more beside the TOML parser, which has already found it valid: keys and
nesting are followed, values are only skipped. `Places` carries the answer; a key that is not there
has the place of the section that lacks it.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple, TypeAlias

Location: TypeAlias = tuple[str | int, ...]
"""The way to a key: names of tables and keys, indices of lists."""

_SPACE = re.compile(r"(?:[ \t]|#[^\n]*|\r?\n)*")
_STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}|' + r"'''.*?'{3,5}|" + r'"(?:\\.|[^"\\])*"|' + r"'[^']*'", re.DOTALL
)
_KEY = re.compile(r"[A-Za-z0-9_-]+")
_SCALAR = re.compile(r"[^,\]}\n#]+")


class Place(NamedTuple):
    """A line of a file; `file` is what messages call it, `folder` where it lies."""

    file: str
    line: int
    folder: Path

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


Places: TypeAlias = dict[Location, Place]
"""The place of every key; the file itself stands under ()."""


def places_of(text: str, file: str, folder: Path) -> Places:
    """Return the places of all keys of a valid TOML text; its root has line 0."""
    lines = {(): 0, **lines_of(text)}
    return {at: Place(file, line, folder) for at, line in lines.items()}


def place_of(places: Mapping[Location, Place], at: Location) -> Place:
    """Return the place of a key, or of the innermost section around it that is there."""
    return places[known_part(places, at)]


def known_part(places: Mapping[Location, Place], at: Location) -> Location:
    """Return the longest beginning of a location that is in the file."""
    while at and at not in places:
        at = at[:-1]
    return at


def tell(faults: Iterable[tuple[Place, str]], file: str, line: int = 0) -> str:
    """Join faults; each with its place, as far as `file` and `line` do not say it already."""
    told = []
    for place, text in faults:
        where = f"line {place.line}" if place.file == file else str(place)
        said = place.file == file and place.line in (0, line)
        told.append(text if said else f"{where}: {text}")
    return "; ".join(told)


def lines_of(text: str) -> dict[Location, int]:
    """Return the line of every table, key and list item of a valid TOML text."""
    return _Scanner(text).document()


def _unquoted(key: str) -> str:
    import tomllib

    (name,) = tomllib.loads(f"{key} = 0")
    return name


class _Scanner:
    """One pass over the text; `tables` counts the items of each array of tables."""

    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0
        self.starts = [0, *(m.end() for m in re.finditer("\n", text))]
        self.lines: dict[Location, int] = {}
        self.tables: dict[Location, int] = {}

    def document(self) -> dict[Location, int]:
        section: Location = ()
        self.space()
        while self.at < len(self.text):
            if self.sees("[["):
                section = self.header(2)
            elif self.sees("["):
                section = self.header(1)
            else:
                self.pair(section)
            self.space()
        return self.lines

    def header(self, brackets: int) -> Location:
        """Read `[a.b]` or `[[a.b]]`; a name of an array of tables means its last table."""
        start = self.at
        self.at += brackets
        *names, last = self.key()
        found: Location = ()
        for name in names:
            found = self.latest((*found, name), start)
        found = (*found, last)
        self.at += brackets
        if brackets == 2:
            self.lines.setdefault(found, self.line(start))
            self.tables[found] = self.tables.get(found, -1) + 1
        found = self.latest(found, start)
        self.lines[found] = self.line(start)  # not that of a [found.deeper] before it
        return found

    def latest(self, at: Location, start: int) -> Location:
        """Note the line of a table where it is first named."""
        at = (*at, self.tables[at]) if at in self.tables else at
        self.lines.setdefault(at, self.line(start))
        return at

    def pair(self, section: Location) -> None:
        """Read `key = value`; a dotted key opens the tables on its way."""
        start = self.at
        for name in self.key():
            section = (*section, name)
            self.lines.setdefault(section, self.line(start))
        self.at += 1  # =
        self.value(section)

    def value(self, at: Location) -> None:
        self.space()
        if self.sees("["):
            self.array(at)
        elif self.sees("{"):
            self.at += 1
            while self.another("}"):
                self.pair(at)
        elif self.text[self.at] in "\"'":
            self.take(_STRING)
        else:
            self.take(_SCALAR)

    def array(self, at: Location) -> None:
        self.at += 1
        count = 0
        while self.another("]"):
            self.lines[*at, count] = self.line(self.at)
            self.value((*at, count))
            count += 1

    def another(self, end: str) -> bool:
        """Go to the next item, or past the end of the list or table."""
        self.space()
        if self.sees(","):
            self.at += 1
            self.space()
        if self.sees(end):
            self.at += 1
            return False
        return True

    def key(self) -> list[str]:
        """Read a key, dotted or not, and the space after it."""
        names = []
        while True:
            self.space()
            if self.text[self.at] in "\"'":
                name = _unquoted(self.take(_STRING))
            else:
                name = self.take(_KEY)
            names.append(name)
            self.space()
            if not self.sees("."):
                return names
            self.at += 1

    def space(self) -> None:
        self.take(_SPACE)

    def sees(self, sign: str) -> bool:
        return self.text.startswith(sign, self.at)

    def take(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self.text, self.at)
        assert found is not None
        self.at = found.end()
        return found.group()

    def line(self, at: int) -> int:
        return bisect_right(self.starts, at)
