"""Code lists: names, clinical→insurer maps, grey codes and procedure classes of one edition."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from grouper.errors import SchemeNotFound
from grouper.tables._files import SHIPPED, Settings, read_settings, read_table

FILE = "codes.toml"


class CodeListSettings(Settings):
    """`codes.toml`."""

    id: str
    title: str
    edition: str = ""
    sources: dict[str, str] = {}


@dataclass(frozen=True, eq=False)
class CodeList:
    """One edition of the code lists (疾病诊断、手术操作分类与代码); tables are read when asked for."""

    folder: Path
    settings: CodeListSettings

    @property
    def id(self) -> str:
        return self.settings.id

    @cached_property
    def diagnoses(self) -> Mapping[str, str]:
        """Code -> name."""
        return self._pairs("diagnoses.csv", "code", "name")

    @cached_property
    def procedures(self) -> Mapping[str, str]:
        """Code -> name."""
        return self._pairs("procedures.csv", "code", "name")

    @cached_property
    def diagnosis_map(self) -> Mapping[str, str]:
        """Clinical code -> insurer's code; only the codes that change."""
        return self._pairs("diagnosis_map.csv", "clinical", "insurance")

    @cached_property
    def procedure_map(self) -> Mapping[str, str]:
        """Clinical code -> insurer's code; only the codes that change."""
        return self._pairs("procedure_map.csv", "clinical", "insurance")

    @cached_property
    def grey_diagnoses(self) -> frozenset[str]:
        """Diagnoses that the insurer does not accept as principal 灰码."""
        return frozenset(c for _, (c,) in self._rows("grey_diagnoses.csv", "code"))

    @cached_property
    def grey_procedures(self) -> frozenset[str]:
        """Procedures that carry no weight in grouping 灰码."""
        return frozenset(c for _, (c,) in self._rows("grey_procedures.csv", "code"))

    @cached_property
    def procedure_class(self) -> Mapping[str, str]:
        """Procedure -> 手术, 介入治疗, 治疗性操作 or 诊断性操作."""
        return self._pairs("procedure_class.csv", "code", "class")

    def _pairs(self, file: str, key: str, value: str) -> dict[str, str]:
        return {k: v for _, (k, v) in self._rows(file, key, value)}

    def _rows(self, file: str, *columns: str) -> list[tuple[int, list[str]]]:
        path = self.folder / file
        return list(read_table(path, columns)) if path.exists() else []


def load_codes(name: str, beside: Path | None = None) -> CodeList:
    """Load a code list that ships with the package, or a folder (relative to `beside`)."""
    for folder in (SHIPPED / name, (beside or Path()) / name):
        if (folder / FILE).is_file():
            return CodeList(folder, read_settings(folder / FILE, CodeListSettings))
    known = sorted(p.parent.name for p in SHIPPED.glob(f"*/{FILE}"))
    raise SchemeNotFound(name, known, kind="code list")
