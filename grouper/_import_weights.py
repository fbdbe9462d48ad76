"""A region's published table of weights (权重表) → a policy folder that `load_policy` takes.

The order of work: read and understand the columns, read the rows, find rates, coefficients and edges,
write the folder, load it, and compare every published standard with what the policy written pays. The
surprise: that comparison is made with the loaded policy, so what is inherited counts in it too.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from fractions import Fraction
from pathlib import Path
from typing import Any

from grouper._import_weights_fit import agrees, decimal_text, prices_of, printed_to
from grouper._import_weights_policy import FILES, Draft, Terms, columns_of, files_of, sources_of
from grouper._import_weights_read import QUALIFIED, Head, Source, read_map, read_source
from grouper._import_weights_rows import Line, lines_of, notes_of
from grouper._scheme_files import ImportReport, write_files
from grouper._standards import standard
from grouper.errors import PolicyError, TableError
from grouper.tables._dip_scheme import DipScheme
from grouper.tables._policy import Policy, load_policy, policy_ids
from grouper.tables._schemes import load_scheme

INHERITS = "example-drg-point"
"""The parent policy by default: it has no rate and no coefficient that could price a group unseen."""

MOST_NAMED = 10


@dataclass
class WeightsReport(ImportReport):
    """What an import of weights read, what its policy pays, and what it takes for granted."""

    columns: dict[str, str] = field(default_factory=dict)
    """Header → how it was understood."""
    standards: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Column of standards → cells, how many the policy pays, how many differ, by how much at most."""
    prices: list[str] = field(default_factory=list)
    """Rates, coefficients and edges that hold for more than one group, and where they come from."""
    assumed: list[str] = field(default_factory=list)
    """What the file does not say: inherited, or decided by the import."""
    missing: list[str] = field(default_factory=list)
    """What settlement needs and the policy has no value of on its first day."""

    @property
    def agrees(self) -> bool:
        """Whether the policy pays every published standard to the fen, or as it is printed."""
        return all(s["agree"] == s["cells"] for s in self.standards.values())


def import_weights(
    path: Path | str,
    output: Path | str,
    *,
    valid_from: date,
    source: str,
    columns: Path | str | None = None,
    inherits: Path | str = INHERITS,
    scheme: Path | str | None = None,
    id: str | None = None,
    title: str | None = None,
    valid_to: date | None = None,
    overwrite: bool = False,
) -> WeightsReport:
    """Import a region's table of weights, coefficients or standards as a policy folder.

    Parameters
    ----------
    valid_from, valid_to : the period of every value. source : whose numbers they are, such as the notice.
    columns : a map for headers that are not understood. inherits : the policy that gives what the file
        cannot say. scheme : an edition whose groups the codes are compared with.

    Raises
    ------
    CaseFileError : the file cannot be read, or the output holds files. TableError : a column or cell is
        refused; names file and row. PolicyError : the policy contradicts what it inherits.
    """
    if not source.strip():
        raise TableError("source is blank; name the notice the numbers are from", file=str(path))
    if valid_to is not None and valid_to < valid_from:
        raise TableError(f"valid_to {valid_to} is before valid_from {valid_from}", file=str(path))
    folder = Path(output)
    table = read_source(path, read_map(columns))
    counts: Counter[str] = Counter()
    lines = lines_of(table, counts, table.findings)
    name = id or folder.resolve().name
    terms = Terms(
        name,
        title or name,
        source.strip(),
        valid_from,
        valid_to,
        _parent_name(inherits, folder),
    )
    notes = notes_of(lines, table.findings)
    prices = prices_of(table, lines)
    draft = Draft(terms, table, lines, prices, notes, load_policy(inherits), [])
    table.findings += [*prices.findings, *_said_of_columns(table), *_said_of_groups(draft)]
    if scheme is not None:
        table.findings += _compared(lines, scheme)
    report = WeightsReport(table.name, table.size, table.sha256)
    report.counts = _counted(draft, counts)
    report.cleaned_cells, report.ignored_columns = table.cleaned, table.ignored
    report.columns, report.findings = columns_of(table), table.findings
    report.prices = _priced(draft)
    files = files_of(draft)
    report.assumed = draft.assumed
    _write(folder, files, draft, report, overwrite=overwrite)
    return report


def _parent_name(inherits: Path | str, folder: Path) -> str:
    """Name the parent as the policy written will: a shipped id, or a path from its folder."""
    if str(inherits) in policy_ids():
        return str(inherits)
    return Path(os.path.relpath(Path(inherits).resolve(), folder.resolve())).as_posix()


def _counted(draft: Draft, counts: Counter[str]) -> dict[str, int]:
    """Return the counts that say something."""
    counts["pay_as"] = len(draft.notes)
    for name in ("standard", "rate", "coefficient", "low", "high"):
        places = [h.at for h in draft.source.of(name)]
        counts[name] = sum(x.numbers[k] is not None for x in draft.lines for k in places)
    given = (*draft.prices.rates, *draft.prices.coefficients)
    counts["values_by_group"] = sum(bool(g.group) for g in given)
    always = ("groups", "weights", "without_weight")
    return {k: n for k, n in counts.items() if n or k in always}


def _priced(draft: Draft) -> list[str]:
    p = draft.prices
    named = (
        *(("base_rate", p.rates), ("coefficient", p.coefficients)),
        *(("low edge", p.low), ("high edge", p.high)),
    )
    found = [
        f"{name} {g.text} for {g.key} ({g.how})" for name, gs in named for g in gs if not g.group
    ]
    if p.basic_level:
        found.append(f"basic groups 基础病组 at the price of {p.basic_level} everywhere")
    return found


def _said_of_columns(table: Source) -> list[str]:
    """Say what of the headers is not taken as it stands, and what Excel does to numbers."""
    found = []
    for word in dict.fromkeys(h.key.class_ for h in table.heads if h.key.class_):
        message = f"{word!r} is no known level or insurance: kept as a class of hospital"
        found.append(f"{message} (hospital_class); [qualifiers] of a map can name its level")
    if compound := sorted({h.key.level for h in table.heads if len(h.key.level) > 4}):
        found.append(
            f"levels named by several words: {', '.join(compound)}; cases must name them so"
        )
    single = [h.header for h in table.heads if h.field not in QUALIFIED and "(" in h.header]
    if single:
        found.append(f"words in brackets that change nothing: {', '.join(single)}")
    if table.excel:
        found.append("numbers of a workbook are doubles: the shortest text of each is taken")
    return found


def _said_of_groups(draft: Draft) -> list[str]:
    """Say which groups are marked and how that is, or is not, paid by."""
    found = []
    ones = [x.group for x in draft.lines if x.weight and x.weight.value == 1 and not x.placeholder]
    if ones:
        message = f"{len(ones)} groups have weight 1 and no type 不稳定病组: placeholders?"
        found.append(f"{message} {_first(ones)}")
    if n := sum(x.tcm for x in draft.lines):
        found.append(f"{n} groups 中医优势病组 are marked (tcm), and paid as any other")
    if draft.notes:
        n = len(draft.notes)
        found.append(f"{n} notes are rules in pay_as.csv, for the cases that name them in pay_note")
    return found


def _first(codes: Sequence[str]) -> str:
    return f"{', '.join(codes[:MOST_NAMED])}{', …' if len(codes) > MOST_NAMED else ''}"


def _compared(lines: Sequence[Line], scheme: Path | str) -> list[str]:
    """Compare the codes with the groups of a scheme."""
    loaded = load_scheme(scheme)
    known = {g.code for g in (loaded.groups if isinstance(loaded, DipScheme) else loaded.drgs)}
    here = {x.group for x in lines}
    found = []
    for what, codes in (
        (
            f"groups that {loaded.id} does not know",
            [x.group for x in lines if x.group not in known],
        ),
        (f"groups of {loaded.id} without a row here", sorted(known - here)),
    ):
        if codes:
            found.append(f"{len(codes)} {what}: {_first(codes)}")
    return found


# --------------------------------------------------------------------------- writing, then checking


def _write(
    folder: Path, files: dict[str, str], draft: Draft, report: WeightsReport, *, overwrite: bool
) -> None:
    """Write the folder, whole or not at all, once the policy in it loads."""
    files["SOURCES.md"] = ""

    def load(work: Path) -> None:
        policy = load_policy(work)
        report.assumed += _inherited(policy)
        report.missing = _missing(policy, draft.terms.valid_from)
        for head in draft.source.of("standard"):
            report.standards[head.header] = _checked(policy, head, draft)
        report.findings += _differing(report.standards)
        text = sources_of(draft, report.findings, report.counts)
        (work / "SOURCES.md").write_text(text, "utf-8")

    write_files(folder, files, overwrite=overwrite, load=load, marker="policy.toml", known=FILES)


def _checked(policy: Policy, head: Head, draft: Draft) -> dict[str, Any]:
    """Compare a column of standards with what the policy pays."""
    key, day = head.key, draft.terms.valid_from
    agree, unpaid, cells = 0, 0, 0
    decimals = printed_to(n for x in draft.lines if (n := x.numbers[head.at]))
    differ: list[tuple[Fraction, str, str, str]] = []
    for x in draft.lines:
        printed = x.numbers[head.at]
        if printed is None:
            continue
        cells += 1
        try:
            found = standard(
                policy, x.group, level=key.level, class_=key.class_, insurance=key.insurance, on=day
            )
        except PolicyError:  # no rate for this column could be found, which is a finding of its own
            found = None
        if found is None:
            unpaid += 1
        elif agrees(found.exact, printed, decimals):
            agree += 1
        else:
            off = abs(found.exact - printed.value)
            differ.append((off, x.group, printed.text, found.rounded(2)))
    differ.sort(key=lambda d: (-d[0], d[1]))
    return {
        "cells": cells,
        "decimals": decimals,
        "agree": agree,
        "differ": len(differ),
        "unpaid": unpaid,
        "most": decimal_text(differ[0][0]) if differ else "0",
        "differing": [
            {"group": g, "printed": printed, "policy": paid}
            for _, g, printed, paid in differ[:MOST_NAMED]
        ],
    }


def _differing(standards: Mapping[str, Mapping[str, Any]]) -> Iterable[str]:
    for header, s in standards.items():
        if s["differ"]:
            first = s["differing"][0]
            yield (
                f"{header}: {s['differ']} of {s['cells']} standards are not weight × rate × coefficient, "
                f"by at most {s['most']} yuan ({first['group']}: printed {first['printed']}, "
                f"the policy pays {first['policy']})"
            )
        if s["unpaid"]:
            yield f"{header}: {s['unpaid']} standards have no price: no weight, a placeholder, or no rate"


def _inherited(policy: Policy) -> list[str]:
    """List the keys that the policy has from another, each with the policy that says it."""
    found: dict[tuple[str | int, ...], str] = {}
    for at, place in policy.places.items():
        apart = "/" in place.file and at and isinstance(at[-1], str) and at[-1] != "source"
        if apart and (len(at) <= 2 or at[2:] == ("inherited",)):
            found[at] = place.file.rpartition("/")[0]
    inner = {at[:-1] for at in found if len(at) > 1}
    values = policy.settings.model_dump(by_alias=True)
    lines = []
    for at, where in found.items():
        if at not in inner:
            name = ".".join(map(str, at[:2]))
            more = ": its values answer where none here fits" if len(at) == 3 else ""
            lines.append(f"{name}{more or _shown(values, at)}, inherited from {where}")
    return sorted(lines)


def _shown(values: Any, at: Sequence[str | int]) -> str:
    """Write a value where it is short; of a rule of status, what it pays."""
    for step in at:
        values = values[step]
    if isinstance(values, dict) and "rule" in values:
        value = values.get("value")
        return f" = {values['rule']}{'' if value is None else f' {value}'}"
    return f" = {values}" if isinstance(values, str | int | date) else ""


def _missing(policy: Policy, day: date) -> list[str]:
    """Name the parameters that settlement needs and that have no value on the first day."""
    s = policy.settings
    needed = ["budget" if s.budget and s.budget.method == "amount" else "fund"]
    if s.method.kind == "rate":
        needed.append("base_rate")
    if any(r.rule == "cost_over_mean" for r in s.status_pay.values()):
        needed.append("overall_mean")
    return [
        f"param.{name} has no value on {day}"
        for name in needed
        if name not in s.param or not any(v.covers(day) for v in s.param[name].all_values)
    ]
