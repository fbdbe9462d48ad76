"""A scheme of a few rows, written to a folder, grouped by the kernel and by the naive oracle."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from naive import NaiveAnswer, NaiveScheme

from grouper import DrgScheme, group, load_drg

MDC = ("code", "name", "rule", "sort")
ADRG = ("code", "name", "rule", "mdc", "sort")
DRG = ("code", "name", "rule", "adrg", "mdc", "sort")
Rows = Sequence[tuple[str, ...]]


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as f:
        csv.writer(f, lineterminator="\n").writerows([header, *rows])


def tiny_scheme(
    folder: Path,
    *,
    mdc: Rows = (("MDCA", "ZYZD in DX"),),
    adrg: Rows = (("AA1", ""),),
    drg: Rows = (("AA19", ""),),
    sets: Mapping[str, Iterable[str]] | None = None,
    cc: Rows = (("cc", "CC", "EX_0"),),
    exclusions: Mapping[str, Iterable[str]] | None = None,
    toml: str = "",
) -> Path:
    """Write a scheme folder and return it.

    Rows are (code, rule) and, where the codes do not tell, the rest: mdc (…, sort), adrg (…, mdc),
    drg (…, adrg, mdc). AA19 belongs to AA1, AA1 to MDCA; `sort` is the place of the row.
    """
    folder.mkdir(parents=True, exist_ok=True)
    owner = {}
    mdcs, adrgs, drgs = [], [], []
    for k, (code, rule, *rest) in enumerate(mdc, 1):
        mdcs.append((code, f"name of {code}", rule, *(rest or [str(k)])))
    for k, (code, rule, *rest) in enumerate(adrg, 1):
        owner[code] = rest[0] if rest else f"MDC{code[0]}"
        adrgs.append((code, f"name of {code}", rule, owner[code], str(k)))
    for k, (code, rule, *rest) in enumerate(drg, 1):
        above = rest[0] if rest else code[:3]
        under = rest[1] if len(rest) > 1 else owner.get(above, "")
        drgs.append((code, f"name of {code}", rule, above, under, str(k)))
    sets = {"DX": ["dx"]} if sets is None else sets
    exclusions = {"EX_0": ["none"]} if exclusions is None else exclusions
    write_csv(folder / "mdc.csv", MDC, mdcs)
    write_csv(folder / "adrg.csv", ADRG, adrgs)
    write_csv(folder / "drg.csv", DRG, drgs)
    pairs = [(name, code) for name, codes in sets.items() for code in codes]
    write_csv(folder / "sets.csv", ("set", "code"), pairs)
    write_csv(folder / "cc.csv", ("code", "type", "exclusion"), cc)
    pairs = [(name, code) for name, codes in exclusions.items() for code in codes]
    write_csv(folder / "exclusions.csv", ("exclusion", "principal"), pairs)
    (folder / "scheme.toml").write_text(
        f'id = "{folder.name}"\ntitle = "a tiny scheme"\n{toml}\n', encoding="utf-8"
    )
    return folder


def tiny_codes(
    folder: Path,
    *,
    diagnoses: Iterable[str] = (),
    procedures: Iterable[str] = (),
    diagnosis_map: Mapping[str, str] | None = None,
    procedure_map: Mapping[str, str] | None = None,
    grey_diagnoses: Iterable[str] = (),
    grey_procedures: Iterable[str] = (),
) -> Path:
    """Write a code list into `folder` and return it; a scheme beside it names it by its name."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "codes.toml").write_text(f'id = "{folder.name}"\ntitle = "few codes"\n', "utf-8")
    for name, codes in (("diagnoses", diagnoses), ("procedures", procedures)):
        write_csv(folder / f"{name}.csv", ("code", "name"), [(c, f"name of {c}") for c in codes])
    for name, pairs in (("diagnosis_map", diagnosis_map), ("procedure_map", procedure_map)):
        write_csv(folder / f"{name}.csv", ("clinical", "insurance"), (pairs or {}).items())
    for name, codes in (("grey_diagnoses", grey_diagnoses), ("grey_procedures", grey_procedures)):
        write_csv(folder / f"{name}.csv", ("code",), [(c,) for c in codes])
    return folder


def case(*diagnoses: str, px: Sequence[str] = (), **facts: Any) -> dict[str, Any]:
    """Return a case: a man of 40 of whom nothing else is known but what `facts` says."""
    known: dict[str, Any] = {
        "case_id": "",
        "sex": 1,
        "age": 40,
        **dict.fromkeys(("age_days", "birth_weight", "admission_weight", "los", "icu_hours")),
        **dict.fromkeys(("discharge_mode", "department")),
        "diagnoses": list(diagnoses),
        "procedures": list(px),
    }
    assert facts.keys() <= known.keys()
    return known | facts


class Answer(NamedTuple):
    """What is compared between kernel and oracle: a whole result row."""

    status: str
    reason: str
    mdc: str
    adrg: str
    group: str
    severity: str
    rule: str
    warnings: tuple[str, ...]


def of_oracle(a: NaiveAnswer) -> Answer:
    rule = f"adrg.csv:{a.adrg_row} {a.branch} > drg.csv:{a.drg_row}" if a.drg_row else ""
    warnings = tuple(sorted(a.warnings))
    return Answer(a.status, a.reason, a.mdc, a.adrg, a.group, a.severity, rule, warnings)


def of_kernel(
    cases: Sequence[dict[str, Any]], scheme: DrgScheme, codes: str = "insurer"
) -> list[Answer]:
    numbered = [{**c, "case_id": c["case_id"] or f"C{k}"} for k, c in enumerate(cases)]
    rows = group(numbered, scheme, codes=codes).to_arrow().to_pylist()
    texts = Answer._fields[:-1]
    return [
        Answer._make([*(r[t] or "" for t in texts), tuple(sorted(r["warnings"]))]) for r in rows
    ]


@dataclass(frozen=True)
class Both:
    """One scheme folder as the package reads it and as the oracle does."""

    folder: Path
    codes: Path | None = None

    @cached_property
    def scheme(self) -> DrgScheme:
        return load_drg(self.folder)

    @cached_property
    def oracle(self) -> NaiveScheme:
        return NaiveScheme.load(self.folder, self.codes)

    def group(self, *cases: dict[str, Any]) -> list[Answer]:
        """Group cases by the kernel; refuse the answer if the oracle's is another."""
        found = of_kernel(cases, self.scheme)
        assert found == [of_oracle(self.oracle.group(c)) for c in cases]
        return found

    def __call__(self, *diagnoses: str, px: Sequence[str] = (), **facts: Any) -> Answer:
        """Group one case; see `case`."""
        return self.group(case(*diagnoses, px=px, **facts))[0]
