"""A calibrated catalogue as a scheme folder: settings, groups, what changed, a report."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pyarrow as pa

from grouper import _platform
from grouper._scheme_files import csv_of, report_of, toml_of
from grouper._statistics import text_of
from grouper.errors import CaseFileError
from grouper.tables import DipScheme
from grouper.tables._dip import OPTIONAL, REQUIRED, DipSettings
from grouper.tables._files import SHIPPED
from grouper.tables._keys import normal

BUILT = (
    *("code", "name", "class", "principal", "main", "related", "for_treatment", "treatment"),
    *("score", "mean_cost", "n", "kept", "cv", "ci_low", "ci_high", "years"),
)
SCORED = (
    *REQUIRED,
    *OPTIONAL[:-6],
    "n",
    "kept",
    "cv",
    "ci_low",
    "ci_high",
    "years",
    "rule",
    "note",
)
SUBTYPE = ("type", "group", "coefficient", "mean_cost", "n", "cv")
CHANGE = ("code", "name", "change", "old_score", "new_score", "n")
KEPT_FILES = (
    *("conditions.csv", "exclusions.csv", "primary_care.csv", "procedure_class.csv"),
    *("auxiliary.csv", "profile.toml"),
)


@dataclass(frozen=True)
class Folder:
    """What a catalogue folder holds besides its groups."""

    scheme: DipScheme
    settings: DipSettings
    files: Mapping[str, bytes]
    subtypes: Sequence[Mapping[str, str]] | None = None  # None = auxiliary.csv as it is

    @classmethod
    def of(cls, scheme: DipScheme, score_scale: int, score_decimals: int) -> Folder:
        """Take over a catalogue's folder for other scores."""
        files = {
            n: (scheme.folder / n).read_bytes() for n in KEPT_FILES if (scheme.folder / n).exists()
        }
        settings = scheme.settings
        if settings.profile.endswith(".toml"):
            files["profile.toml"] = (scheme.folder / settings.profile).read_bytes()
            settings = settings.model_copy(update={"profile": "profile.toml"})
        if scheme.code_list is not None and scheme.code_list.folder.parent != SHIPPED:
            listed = scheme.code_list.folder
            files |= {
                f"codes/{p.name}": p.read_bytes() for p in sorted(listed.iterdir()) if p.is_file()
            }
            settings = settings.model_copy(update={"code_list": "codes"})
        scale = {"score_scale": score_scale, "score_decimals": score_decimals}
        return cls(scheme, settings.model_copy(update=scale), files)

    def with_subtypes(self, rows: Sequence[Mapping[str, str]]) -> Folder:
        """Replace the coefficients of auxiliary types, if the catalogue has types."""
        return replace(self, subtypes=rows) if self.settings.auxiliary else self

    @property
    def treatments(self) -> list[str]:
        """Treatments by rank."""
        return [t.id for t in self.settings.treatment]

    def treatment_of(self, procedure: str) -> str:
        """Return the treatment of a procedure."""
        k = self.scheme.lowered.classes.treatment(normal(procedure))
        return self.treatments[k] if k >= 0 else self.settings.unclassed

    def named(self, row: Mapping[str, str]) -> dict[str, str]:
        """Give a drafted group a name from the code list."""
        listed = self.scheme.code_list
        dx, px = (listed.diagnoses, listed.procedures) if listed else ({}, {})
        key = row["principal"].removeprefix("=")
        parts = [dx.get(key) or dx.get(f"{key}00") or dx.get(f"{key}.x00") or key]
        if row["class"] == "mixed":
            parts.append(row["treatment"])
        else:
            codes = [row["main"], *row["related"].split("+")] if row["main"] else []
            parts += [px.get(c, c) for c in codes if c] or ["conservative 保守治疗"]
        return {**row, "name": " + ".join(parts)}


def draft_folder(path: Path, given: Mapping[str, Any]) -> None:
    """Write a catalogue folder without groups: the settings and tables that options name."""
    settings = {"id": "draft", "title": "draft", "kind": "dip", "profile": given["profile"]}
    if given["code_list"]:
        settings["code_list"] = given["code_list"]
    for name in ("exclusions", "procedure_class"):
        if given[name]:
            source = Path(given[name])
            if not source.is_file():
                raise CaseFileError(f"no such file of {name}", file=str(source))
            shutil.copyfile(source, path / f"{name}.csv")
    if settings["profile"].endswith(".toml"):
        shutil.copyfile(settings["profile"], path / "profile.toml")
        settings["profile"] = "profile.toml"
    (path / "scheme.toml").write_text(toml_of(settings), "utf-8")
    (path / "groups.csv").write_text(csv_of([], REQUIRED), "utf-8")


def write_folder(folder: Folder, path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    """Write the folder with these groups; blanks where a row lacks a column."""
    given = folder.settings.model_dump(mode="json", exclude_defaults=True)
    (path / "scheme.toml").write_text(toml_of({"kind": "dip", **given}), "utf-8")
    for name, data in folder.files.items():
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).write_bytes(data)
    if folder.subtypes is not None:
        (path / "auxiliary.csv").write_text(csv_of(folder.subtypes, SUBTYPE), "utf-8")
    columns = SCORED if any("rule" in r for r in rows) else BUILT
    (path / "groups.csv").write_text(csv_of(rows, columns), "utf-8")


@dataclass(frozen=True, eq=False)
class Calibration:
    """A calibrated catalogue (测算结果).

    `groups` holds the rows of groups.csv as texts, `report` counts and totals, `changes` what differs
    from the previous catalogue; `write` makes a folder that `load_scheme` takes.
    """

    groups: pa.Table
    report: Mapping[str, Any]
    changes: Sequence[Mapping[str, str]]
    folder: Folder = field(repr=False)

    @classmethod
    def of(
        cls,
        rows: Sequence[Mapping[str, str]],
        report: Mapping[str, Any],
        folder: Folder,
        previous: DipScheme | None,
    ) -> Calibration:
        """Put a result together and compare it with the previous catalogue."""
        columns = SCORED if any("rule" in r for r in rows) else BUILT
        cells = {c: pa.array([r.get(c, "") for r in rows], pa.string()) for c in columns}
        changes = list(_changes(rows, previous)) if previous is not None else []
        counts = {c: sum(x["change"] == c for x in changes) for c in ("new", "dropped", "score")}
        if previous is not None:
            report = {**report, "previous": previous.id, "changes": counts}
        return cls(pa.table(cells), report, changes, folder)

    @property
    def auxiliary(self) -> Sequence[Mapping[str, str]]:
        """The rows of auxiliary.csv that were measured."""
        return self.folder.subtypes or ()

    def write(
        self,
        folder: Path | str,
        *,
        id: str | None = None,
        title: str | None = None,
        source: str = "measured from cases; see report.json",
        overwrite: bool = False,
    ) -> None:
        """Write the catalogue folder, whole or not at all.

        Parameters
        ----------
        id, title : of the scheme; default the folder's name. source : of the cases. overwrite :
            replace an earlier one.

        Raises
        ------
        CaseFileError : the folder exists and is no catalogue, or `overwrite` is not given.
        """
        target = Path(folder).resolve()
        refuse_catalogue(target, overwrite)
        name = id or target.name
        about = {"id": name, "title": title or name, "valid_from": None, "valid_to": None}
        measured = {"groups.csv, auxiliary.csv": source}
        sources = {"sources": {**self.folder.settings.sources, **measured}}
        settings = self.folder.settings.model_copy(update={**about, **sources})
        target.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent))
        try:
            rows = self.groups.to_pylist()
            write_folder(replace(self.folder, settings=settings), work, rows)
            report = json.dumps(self.report, ensure_ascii=False, indent=2)
            (work / "report.json").write_text(report + "\n", "utf-8")
            (work / "changes.csv").write_text(report_of(self.changes, CHANGE), "utf-8")
            (work / "SOURCES.md").write_text(f"# {name}\n\n{source}\n", "utf-8")
            _platform.show_folder(work)
            if target.exists():
                shutil.rmtree(target)
            work.rename(target)
        finally:
            shutil.rmtree(work, ignore_errors=True)


def refuse_catalogue(target: Path, overwrite: bool) -> None:
    if target.is_file():
        raise CaseFileError("is a file; name a new folder", file=target.name)
    held = {p.name for p in target.iterdir()} if target.exists() else set()
    if held and not (overwrite and {"scheme.toml", "groups.csv", "report.json"} <= held):
        message = "holds files: --overwrite replaces an earlier calibration; or name a new folder"
        raise CaseFileError(message, file=target.name)


def _changes(rows: Sequence[Mapping[str, str]], previous: DipScheme) -> Any:
    """Yield the groups that are new, dropped or scored otherwise."""
    decimals = previous.settings.score_decimals
    old = {g.code: g for g in previous.groups}
    for row in rows:
        was = old.pop(row["code"], None)
        before = "" if was is None else text_of(was.score, decimals)
        given = {"code": row["code"], "name": row["name"], "n": row["n"]}
        scores = {"old_score": before, "new_score": row["score"]}
        if was is None:
            yield {**given, **scores, "change": "new"}
        elif was.score != (Fraction(row["score"]) if row["score"] else None):
            yield {**given, **scores, "change": "score"}
    for g in sorted(old.values(), key=lambda g: g.line):
        score = text_of(g.score, decimals)
        yield {"code": g.code, "name": g.name, "change": "dropped", "old_score": score}
