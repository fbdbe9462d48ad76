"""Find codes (编码检索) by their beginning, their Chinese name, or the initials of its pinyin."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from grouper.tables import CodeList

KINDS = ("diagnosis", "procedure")


class Found(NamedTuple):
    """A code that was found."""

    kind: str
    code: str
    name: str
    grey: bool


@dataclass(frozen=True)
class CodeSearch:
    """The codes of one list, ready to be searched."""

    listed: CodeList

    @cached_property
    def _rows(self) -> dict[str, tuple[Any, Any, Any]]:
        found = {}
        for kind, names in zip(KINDS, (self.listed.diagnoses, self.listed.procedures), strict=True):
            codes = pa.array(list(names), pa.string())
            texts = pa.array(list(names.values()), pa.string())
            found[kind] = (codes, texts, pa.array(initials(names.values()), pa.string()))
        return found

    def find(self, text: str, kind: str | None = None, limit: int = 20) -> list[Found]:
        """Return codes that begin with the text, then those whose name or initials hold it.

        Parameters
        ----------
        text : part of a code, of a Chinese name, or of its pinyin initials; case does not matter.
        kind : diagnosis, procedure, None = both. limit : at most so many.
        """
        wanted = text.strip()
        if not wanted:
            return []
        ranked: list[tuple[int, int, Found]] = []
        for k in KINDS if kind is None else (kind,):
            codes, names, letters = self._rows[k]
            grey = self.listed.grey_diagnoses if k == "diagnosis" else self.listed.grey_procedures
            asked = (
                pc.starts_with(codes, wanted, ignore_case=True),
                pc.starts_with(letters, wanted.lower()),
                pc.match_substring(names, wanted),
                pc.match_substring(letters, wanted.lower()),
            )
            for rank, mask in enumerate(asked):
                for at in np.flatnonzero(mask.to_numpy(zero_copy_only=False))[:limit].tolist():
                    code = codes[at].as_py()
                    ranked.append((rank, at, Found(k, code, names[at].as_py(), code in grey)))
        ranked.sort(key=lambda r: r[:2])
        return list(dict.fromkeys(f for _, _, f in ranked))[:limit]


def initials(names: Iterable[str]) -> list[str]:
    """Return the pinyin initials of names, other letters and digits as they are, lower case."""
    try:
        from pypinyin import Style, pinyin
    except ImportError:  # without the extra: names and codes alone
        return ["" for _ in names]
    texts = list(names)
    letters: dict[int, str] = {}
    for c in sorted({c for text in texts for c in text}):
        if "\u4e00" <= c <= "\u9fff":
            letters[ord(c)] = pinyin(c, style=Style.FIRST_LETTER)[0][0][:1]
        else:
            letters[ord(c)] = c.lower() if c.isalnum() else ""
    return [text.translate(letters) for text in texts]
