"""What was read of a table of weights (权重表), written as a policy: `policy.toml` and its tables.

What the table says becomes dated values with their source; how a group is paid beyond that (the fund's
form, the budget, rules of a status) is inherited. The surprise: where two values of a policy fit a case
equally it is refused, so a class of hospital is written once for every level and insurance beside it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import product

from grouper._import_weights_fit import Given, Prices
from grouper._import_weights_read import Key, Source
from grouper._import_weights_rows import UNGROUPED, Line, PayNote
from grouper._scheme_files import csv_of
from grouper.errors import TableError
from grouper.tables._policy import Policy

FILES = (
    *("policy.toml", "SOURCES.md", "weights.csv", "coefficients.csv", "pay_as.csv"),
    *("standards.csv", "edges.csv"),
)
"""Every file that an import may write."""


@dataclass(frozen=True)
class Terms:
    """What the caller says of the policy."""

    id: str
    title: str
    source: str
    valid_from: date
    valid_to: date | None
    inherits: str


@dataclass
class Draft:
    """A policy as it is put together; `assumed` lists what the table does not say."""

    terms: Terms
    source: Source
    lines: Sequence[Line]
    prices: Prices
    notes: Sequence[PayNote]
    parent: Policy
    assumed: list[str]

    @property
    def tabled(self) -> bool:
        """Whether coefficients go into a table: they differ by group and are by level alone."""
        given = self.prices.coefficients
        return any(g.group for g in given) and not any(
            g.key.class_ or g.key.insurance for g in given
        )


def files_of(draft: Draft) -> dict[str, str]:
    """Lay out every file of the policy's folder.

    Raises
    ------
    TableError : two columns are for the same cases; the parent's coefficients do not go with the rates.
    """
    files = {"policy.toml": _policy(draft), "weights.csv": _weights(draft)}
    if draft.tabled:
        files["coefficients.csv"] = _coefficients(draft)
    if draft.notes:
        rows = [{"id": f"{n.group}-note", "when": "named", **n._asdict()} for n in draft.notes]
        files["pay_as.csv"] = csv_of(rows, ("id", "group", "note", "pay_as", "share", "when"))
    files |= _printed(draft)
    return files


# ------------------------------------------------------------------------------------------- tables


def _weights(draft: Draft) -> str:
    """Lay out the table of weights, with the columns that something stands in."""
    rows = [
        {
            "group": x.group,
            "weight": x.weight.text if x.weight else "",
            "mean_cost": x.mean.text if x.mean else "",
            "kind": "unstable" if x.placeholder else "",
            "basic": "1" if x.basic else "",
            "tcm": "1" if x.tcm else "",
            "type": x.type,
            "note": x.note,
            "name": x.name,
        }
        for x in draft.lines
    ]
    used = [c for c in rows[0] if c in ("group", "weight") or any(r[c] for r in rows)]
    return csv_of(rows, used)


def _coefficients(draft: Draft) -> str:
    rows = [
        {"group": g.group, "level": g.key.level, "coefficient": g.text}
        for g in draft.prices.coefficients
    ]
    return csv_of(rows, ("group", "level", "coefficient"))


def _printed(draft: Draft) -> dict[str, str]:
    """Keep standards and edges as they are printed, with date and source."""
    t = draft.terms
    dated = {"from": t.valid_from.isoformat(), "source": t.source}
    dated["to"] = t.valid_to.isoformat() if t.valid_to else ""
    where = ("group", "level", "class", "insurance")
    found = {}
    standards = [
        {**_where(x, h.key), "standard": n.text, **dated}
        for x in draft.lines
        for h in draft.source.of("standard")
        if (n := x.numbers[h.at]) is not None
    ]
    if standards:
        found["standards.csv"] = csv_of(standards, (*where, "standard", "from", "to", "source"))
    edges: dict[tuple[str, Key], dict[str, str]] = {}
    for x in draft.lines:
        for h in draft.source.of("low", "high"):
            if (n := x.numbers[h.at]) is not None:
                row = edges.setdefault((x.group, h.key), {**_where(x, h.key), **dated})
                row[h.field] = n.text
    if edges:
        columns = (*where, "low", "high", "from", "to", "source")
        found["edges.csv"] = csv_of(list(edges.values()), columns)
    return found


def _where(x: Line, key: Key) -> dict[str, str]:
    return {
        "group": x.group,
        "level": key.level,
        "class": key.class_,
        "insurance": key.insurance,
    }


# -------------------------------------------------------------------------------------- policy.toml


def _policy(draft: Draft) -> str:
    t = draft.terms
    weights = f'[[weights]]\nfile = "weights.csv"\n{_dates(t)}\nsource = {quoted(t.source)}'
    sections = [*_method(draft), weights, *_basic(draft), *_bands(draft)]
    sections += [*_status(draft), *_parameters(draft)]
    head = [
        f"id = {quoted(t.id)}",
        f"title = {quoted(t.title)}",
        'standing = "published"',
        f"source = {quoted(t.source)}",
        f"inherits = {quoted(t.inherits)}",
        "notes = [",  # also keeps the parent's from being taken for this policy's
        *(f"    {quoted(f'assumed: {text}')}," for text in draft.assumed),
        "]",
    ]
    return "\n\n".join(["\n".join(head), *sections]) + "\n"


def _method(draft: Draft) -> Iterator[str]:
    """Write the method, if the table tells it: prices are a rate, scores are points."""
    if draft.prices.rates:
        yield (
            '[method]\nkind = "rate"\nrate = "fixed"\n'
            f"source = {_said(draft, 'standard = weight x rate x coefficient')}"
        )
        draft.assumed.append("method.rate = fixed: the table has prices, and no budget")
    elif draft.source.of("score"):
        yield (
            '[method]\nkind = "point"\npoints_per_weight = 1\n'
            f"source = {_said(draft, 'scores are points as printed')}"
        )
        draft.assumed.append("method.kind = point: the table has scores and no rate")
    else:
        kind = draft.parent.settings.method.kind
        draft.assumed.append(
            f"method.kind = {kind}: the table has weights and neither rate nor score"
        )


def _basic(draft: Draft) -> Iterator[str]:
    if level := draft.prices.basic_level:
        n = sum(x.basic for x in draft.lines)
        said = _said(draft, f"{n} basic groups 基础病组 have the price of {level} everywhere")
        yield f"[basic]\nlevel = {quoted(level)}\nsource = {said}"


def _bands(draft: Draft) -> Iterator[str]:
    """Write bands whose edges are multiples of the standard; how they are paid is assumed."""
    prices = draft.prices
    if not (prices.low or prices.high):
        return
    yield f'[benchmark]\nkind = "standard"\nsource = {_said(draft, "edges are multiples of it")}'
    for name, pay, given in (("low", "cost", prices.low), ("high", "excess", prices.high)):
        for g in given:
            lines = [f"[[{name}]]", f"edge = {_number(g.text)}", f'pay = "{pay}"']
            lines += [f"{k} = {quoted(v)}" for k, v in _narrowed(g) if k in ("level", "class")]
            said = _said(draft, f"{g.how}; the pay is assumed")
            yield "\n".join([*lines, _dates(draft.terms), f"source = {said}"])
        if given:
            draft.assumed.append(f"{name}.pay = {pay}: the table names an edge, not the pay")


def _status(draft: Draft) -> Iterator[str]:
    """Write the rules of a status that the table has rows for, or that the parent cannot give."""
    groups = {x.group for x in draft.lines}
    rules: dict[str, tuple[str, str]] = {}
    if UNGROUPED in groups:
        said = f"row {UNGROUPED} 未入组 of the weight table"
        rules["ungrouped"] = (f'rule = "group", value = "{UNGROUPED}"', said)
    if any(re.fullmatch("[A-Z]QY", g) for g in groups):
        rules["ambiguous"] = ('rule = "own_group"', "rows xQY 歧义组 of the weight table")
    parent = draft.parent.settings.status_pay
    if any(x.placeholder for x in draft.lines) and "unstable" not in parent:
        said = "assumed: a weight of 1 on an unstable group 不稳定病组 is no price; as settled item by item"
        rules["unstable"] = ('rule = "booked"', said)
        draft.assumed.append("status_pay.unstable = booked: the table names no rule")
    for name, rule in parent.items():
        if rule.rule == "group" and rule.value not in groups and name not in rules:
            said = f"assumed: {draft.parent.id} pays as group {rule.value}, which the table has not"
            rules[name] = ('rule = "zero"', said)
            draft.assumed.append(f"status_pay.{name} = zero: {said.removeprefix('assumed: ')}")
    if rules:
        lines = [
            f"{k} = {{ {rule}, source = {quoted(said)} }}" for k, (rule, said) in rules.items()
        ]
        yield "\n".join(["[status_pay]", *lines])


def _parameters(draft: Draft) -> Iterator[str]:
    """Write rates and coefficients as dated values, or the section of their table."""
    prices, parent = draft.prices, draft.parent.settings
    coefficients = list(prices.coefficients)
    if prices.rates and parent.coefficient is not None and not draft.tabled:
        message = (
            f"[coefficient] of {draft.parent.id} would multiply the rates of the table; "
            "inherit from a policy without it"
        )
        raise TableError(message, file=draft.source.place)
    if prices.rates and not coefficients and "coefficient" in parent.param:
        coefficients = [Given(Key(), "", "1", "the rates of the table hold without a coefficient")]
    if draft.tabled:
        decimals = min(max(len(g.text.partition(".")[2]) for g in coefficients), 6)
        yield (
            f'[coefficient]\nkind = "table"\nfile = "coefficients.csv"\ndecimals = {decimals}\n'
            f"source = {_said(draft, 'columns of coefficients; blank group: what most groups have')}"
        )
    elif coefficients:
        yield _parameter(draft, "coefficient", "等级系数", "ratio", coefficients)
    if prices.rates:
        yield _parameter(draft, "base_rate", "费率", "yuan per 1.0000 RW", prices.rates)


def _parameter(draft: Draft, name: str, zh: str, unit: str, given: Sequence[Given]) -> str:
    _refuse_overlaps(draft, name, given)
    lines = [f"[param.{name}]", f'name_zh = "{zh}"', f'unit = "{unit}"', "values = ["]
    for g in _spread(given):
        parts = [_dates(draft.terms, ", "), f"value = {_number(g.text)}"]
        parts += [f"{k} = {quoted(v)}" for k, v in _narrowed(g)]
        lines.append(f"    {{ {', '.join(parts)}, source = {_said(draft, g.how)} }},")
    return "\n".join([*lines, "]"])


def _refuse_overlaps(draft: Draft, name: str, given: Iterable[Given]) -> None:
    """Refuse two values that fit the same cases equally."""
    usual = [g for g in given if not g.group and not g.key.class_]
    for k, a in enumerate(usual):
        for b in usual[:k]:
            meet = all(x == y or not x or not y for x, y in zip(a.key, b.key, strict=True))
            if meet and sum(map(bool, a.key)) == sum(map(bool, b.key)):
                message = (
                    f"{name} for {b.key} and for {a.key} are for the same cases ({b.how}; {a.how}): "
                    "name level and insurance of both in a column map"
                )
                raise TableError(message, file=draft.source.place)


def _spread(given: Sequence[Given]) -> Iterator[Given]:
    """Write the value of a class for every level and insurance that stands beside it."""
    levels = dict.fromkeys(g.key.level for g in given)
    insurances = dict.fromkeys(g.key.insurance for g in given)
    for g in given:
        if not g.key.class_:
            yield g
            continue
        own = [[g.key.level] if g.key.level else ["", *(x for x in levels if x)]]
        own += [[g.key.insurance] if g.key.insurance else ["", *(x for x in insurances if x)]]
        for level, insurance in product(*own):
            yield g._replace(key=Key(level, g.key.class_, insurance))


def _narrowed(g: Given) -> list[tuple[str, str]]:
    names = ("level", "class", "insurance", "group")
    return [(k, v) for k, v in zip(names, (*g.key, g.group), strict=True) if v]


def _said(draft: Draft, how: str) -> str:
    return quoted(f"{draft.terms.source}: {how}")


def _dates(t: Terms, between: str = "\n") -> str:
    to = f"{between}to = {t.valid_to.isoformat()}" if t.valid_to else ""
    return f"from = {t.valid_from.isoformat()}{to}"


def _number(text: str) -> str:
    """Write a number as TOML has it: no 0 before other digits."""
    return re.sub(r"^0+(?=[0-9])", "", text)


def quoted(text: str) -> str:
    """Write a TOML string."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


# --------------------------------------------------------------------------------------- SOURCES.md


def sources_of(draft: Draft, findings: Iterable[str], counts: Mapping[str, int]) -> str:
    """Tell where the numbers come from, what is assumed and what was odd."""
    t, s = draft.terms, draft.source
    period = f"from {t.valid_from}{f' to {t.valid_to}' if t.valid_to else ''}"
    lines = [f"# {t.title}", "", f"{t.source}. In force {period}.", ""]
    lines += [f"- file {s.name}, {s.size:,} bytes, sha256 {s.sha256}"]
    lines += [f"- column {h.header}: {h.field}{_for(h.key)}" for h in s.heads]
    lines += [f"- {k.replace('_', ' ')}: {n:,}" for k, n in counts.items()]
    for title, items in (("Assumed", draft.assumed), ("Findings", list(findings))):
        if items:
            lines += ["", f"## {title}", "", *(f"- {x}" for x in items)]
    return "\n".join(lines) + "\n"


def columns_of(source: Source) -> dict[str, str]:
    """Tell for each header how it was understood."""
    return {h.header: f"{h.field}{_for(h.key)}" for h in source.heads}


def _for(key: Key) -> str:
    return f" for {key}" if any(key) else ""
