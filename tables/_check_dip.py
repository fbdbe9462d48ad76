"""What is odd about a DIP catalogue that loads: findings for a person, never a change of the data."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from grouper.tables._dip import REQUIRED, DipGroup
from grouper.tables._dip_scheme import DipScheme
from grouper.tables._findings import Finding
from grouper.tables._keys import diagnosis_keys, normal, spelled

FOREIGN = re.compile(r"[/,;，、；／]")
KEY_COLUMNS = ("principal", "main", "related", "any_procedures", "other_diagnoses", "any_diagnoses")
STATED = (*REQUIRED[3:], *KEY_COLUMNS[2:], "first_other", "requires", "forbids", "for_treatment")


def describe_dip(s: DipScheme) -> dict[str, Any]:
    """Describe a catalogue: its settings, profile, size and sources."""
    t = s.tables
    return {
        **s.settings.model_dump(mode="json", exclude_defaults=True),
        "kind": "dip",
        "fingerprint": s.fingerprint,
        "matching": {
            "profile": s.profile.id,
            "standing": s.profile.standing,
            "stages": [
                f"{'/'.join(x.classes)}: {', '.join(x.comparators)}" for x in s.profile.stage
            ],
            "assumed": list(s.profile.assumed),
        },
        "rows": {
            **{f"groups, {kind}": n for kind, n in Counter(g.kind for g in t.groups).items()},
            "conditions": len(t.conditions),
            "excluded diagnoses": len(t.excluded),
            "excluded procedures": len(t.not_main),
            "auxiliary types": len(s.settings.auxiliary),
            "primary care": len(t.primary_care),
        },
        "notes": list(s.notes),
    }


def check_dip(s: DipScheme) -> Iterator[Finding]:
    """List the oddities of a catalogue."""
    for part in (_alike, _never, _unknown, _notation, _scores, _comparators, _unused, _primary):
        yield from part(s)


def _place(g: DipGroup) -> str:
    return f"groups.csv:{g.line}"


def _stage(s: DipScheme) -> dict[str, int]:
    return {c: k for k, stage in enumerate(s.profile.stage) for c in stage.classes}


def _conditions(g: DipGroup) -> tuple[object, ...]:
    """Return all that a row asks of a case."""
    return (
        *(g.principal, g.main, frozenset(g.related), frozenset(g.anywhere), g.other),
        *(g.first_other, g.any_diagnosis, frozenset(g.ranges), frozenset(g.requires)),
        *(frozenset(g.forbids), frozenset(g.for_treatment)),
    )


def _alike(s: DipScheme) -> Iterator[Finding]:
    """Find groups that ask for the same: no comparator looks at anything that tells them apart."""
    seen: dict[tuple[object, ...], DipGroup] = {}
    costs = {"nearest_mean_cost"}
    for g in s.groups:
        first = seen.setdefault(_conditions(g), g)
        if first is g:
            continue
        stage = _stage(s)
        named = set(s.profile.stage[stage[g.kind]].comparators)
        if stage[first.kind] == stage[g.kind] and named & costs and first.mean_fen != g.mean_fen:
            continue  # the cost of a case may choose either
        message = f"{g.code} asks for the same as {first.code} (line {first.line}): one never wins"
        yield Finding("L301", _place(g), f"{message}; join them or tell them apart")


def _never(s: DipScheme) -> Iterator[Finding]:
    """Find groups that no case can end in."""
    stage, wider = _stage(s), dict[str, list[DipGroup]]()
    plain = [g for g in s.groups if _conditions(g)[2:] == _conditions(_bare(g))[2:]]
    for g in plain:
        for key in g.principal:
            wider.setdefault(key, []).append(g)
    for g in s.groups:
        why = ""
        if any(low > high for _, low, high in g.ranges):
            why = "a range of facts is empty"
        elif set(g.requires) & set(g.forbids):
            why = "it requires and forbids the same condition"
        elif g.first_other and not g.other:
            why = "first_other without other_diagnoses"
        elif all(k in s.tables.excluded for k in g.principal):
            why = "every principal diagnosis is excluded"
        elif (
            g.main
            and s.profile.not_main == "conservative"
            and all(
                k in s.tables.not_main and s.tables.not_main[k].handling != "main_only_with"
                for k in g.main
            )
        ):
            why = "every main procedure is excluded as main"
        else:
            for other in (o for k in g.principal for o in wider.get(k, ())):
                before = stage[other.kind] < stage[g.kind] and g.principal <= other.principal
                same = other.main is None or (g.main and other.main and g.main <= other.main)
                if before and (same or (other.main == g.main)):
                    why = f"{other.code} (line {other.line}) of an earlier stage always holds first"
        if why:
            yield Finding("L302", _place(g), f"{g.code} can never win: {why}")


def _bare(g: DipGroup) -> DipGroup:
    """Return the group with nothing but principal and main."""
    from dataclasses import replace

    return replace(
        g,
        related=(),
        anywhere=(),
        other=frozenset(),
        first_other=False,
        any_diagnosis=frozenset(),
        ranges=(),
        requires=(),
        forbids=(),
        for_treatment=(),
    )


def _unknown(s: DipScheme) -> Iterator[Finding]:
    """Find keys that no code of the code list meets."""
    if s.code_list is None:
        return
    asked = sorted({k for g in s.groups for k in (*g.principal, *g.other, *g.any_diagnosis)})
    keys = diagnosis_keys(asked)
    met = frozenset[int]().union(*(keys.of(normal(c))[0] for c in s.code_list.diagnoses))
    unmet = {key for n, key in enumerate(keys.keys) if n not in met}
    listed = {normal(c) for c in s.code_list.procedures}
    for g in s.groups:
        lost = sorted(unmet & {*g.principal, *g.other, *g.any_diagnosis}) + sorted(
            g.listed - listed
        )
        if lost:
            names = ", ".join(map(spelled, lost[:3]))
            message = (
                f"{g.code}: {len(lost)} keys that no code of {s.code_list.id} meets, as {names}"
            )
            yield Finding("L303", _place(g), message)


def _notation(s: DipScheme) -> Iterator[Finding]:
    """Find cells that another notation wrote."""
    shapes: Counter[bool] = Counter()
    for g in s.groups:
        for column in KEY_COLUMNS:
            if FOREIGN.search(g.cells.get(column, "")):
                message = f"{column} {g.cells[column]!r}: any-of is |, all-of is +"
                yield Finding("L304", _place(g), message)
        for key in g.principal:
            if len(key.replace(".", "")) == 4 and key[:3].isalnum() and "-" not in key:
                shapes["." in key] += 1
    if len(shapes) == 2:
        message = f"{shapes[True]} four-character keys have a dot, {shapes[False]} have none"
        yield Finding("L304", "groups.csv", message)


def _scores(s: DipScheme) -> Iterator[Finding]:
    blank = [g.code for g in s.groups if g.score is None]
    if blank and len(blank) < len(s.groups):
        message = f"{len(blank)} groups without a score are paid by status_pay.not_covered"
        yield Finding("L305", "groups.csv", f"{message}, as {blank[0]}")


def _comparators(s: DipScheme) -> Iterator[Finding]:
    """Find comparators that have nothing to compare."""
    named = {c for stage in s.profile.stage for c in stage.comparators}
    if "highest_score" in named and not any(g.score is not None for g in s.groups):
        yield Finding("L306", "groups.csv", "highest_score decides, and no group has a score")
    if "nearest_mean_cost" in named and not any(g.mean_fen is not None for g in s.groups):
        yield Finding("L306", "groups.csv", "nearest_mean_cost decides, and no group has a mean")
    blank = [g for g in s.groups if not g.treatment]
    if "class_rank" in named and blank:
        message = f"class_rank decides, and {len(blank)} groups have no treatment"
        yield Finding("L306", _place(blank[0]), message)


def _unused(s: DipScheme) -> Iterator[Finding]:
    used = {c for g in s.groups for c in (*g.requires, *g.forbids)}
    used |= {c for t in s.settings.auxiliary for c in t.requires}
    for name in sorted(s.tables.conditions.keys() - used):
        yield Finding("L307", "conditions.csv", f"condition {name} is used by no row")
    scored = {x.type for rows in s.tables.subtypes.values() for x in rows}
    for kind in s.settings.auxiliary:
        if kind.id not in scored:
            yield Finding("L307", "auxiliary.csv", f"type {kind.id} has no coefficient")


def _primary(s: DipScheme) -> Iterator[Finding]:
    marked = {(g.principal, g.main) for g in s.groups if g.primary_care}
    lost = [k for k, row in enumerate(s.tables.primary_care) if row not in marked]
    if lost:
        message = f"{len(lost)} rows mark no group: none has the same principal and main keys"
        yield Finding("L308", f"primary_care.csv:{lost[0] + 2}", message)
