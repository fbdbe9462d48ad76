"""A coder's worklist (编码员工作清单): a day's cases, each with what is to be done about it.

Cases → quality control, groups and price → a row a case, those with most to do first. Nothing is decided
here: errors are those of `check_quality`, groups of `group`, standards and edges of the policy's price list.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from fractions import Fraction
from typing import Any

import pyarrow as pa

from grouper._calendar import deadlines
from grouper._grouping import group
from grouper._quality import check_quality
from grouper._what_if import Price, price_of
from grouper._yuan import fen_of, yuan
from grouper.errors import GrouperError
from grouper.io import CaseTable, read_cases
from grouper.tables import Policy, Scheme

NEEDS = ("returned", "differs", "no_list", "ungrouped", "high", "low", "special")
"""What may need doing, in the order of a list: returned with errors, the front page (病案首页) differs from
the list, a front page without a list, not grouped, high and low multiple, special case (特例单议)."""

FACTS = ("sex", "age", "diagnoses", "procedures")
"""What a front page and a list must say alike."""

COLUMNS = pa.schema(
    [
        *((c, pa.string()) for c in ("case_id", "needs", "why", "deadline", "department")),
        *((c, pa.string()) for c in ("coder_id", "status", "group", "group_name")),
        ("total_cost_fen", pa.int64()),
        *((c, pa.string()) for c in ("standard", "low_edge", "high_edge", "diagnoses")),
        ("procedures", pa.string()),
    ]
)
"""Columns of a worklist as a table; yuan as text with two decimals, `needs` and `why` joined by ``|``."""


@dataclass(frozen=True)
class Need:
    """One thing to do: its kind, one of `NEEDS`, why, and by when if a calendar says so."""

    kind: str
    why: str
    deadline: str = ""


@dataclass(frozen=True)
class Entry:
    """One case of a worklist: what was read, its result row, its price, what needs doing."""

    case: Mapping[str, Any]
    result: Mapping[str, Any]
    price: Price
    needs: tuple[Need, ...]

    @property
    def deadline(self) -> str:
        """By when a special case must be filed, "" = there is none, or no calendar."""
        return next((n.deadline for n in self.needs if n.deadline), "")


@dataclass(frozen=True)
class Worklist:
    """A day's cases; `counts` says how many need what, `notes` why how many have no price."""

    entries: tuple[Entry, ...]
    counts: Mapping[str, int]
    notes: Mapping[str, int] = field(default_factory=dict)

    def to_arrow(self) -> pa.Table:
        """Return the list as a table of `COLUMNS`."""
        return pa.Table.from_pylist([_row(e) for e in self.entries], schema=COLUMNS)


def worklist(
    cases: Any,
    scheme: Scheme,
    *,
    policy: Policy | None = None,
    point_value: Fraction | None = None,
    front_page: Any = None,
    on: date | None = None,
    lang: str = "zh",
) -> Worklist:
    """Say what each case of a day needs.

    Parameters
    ----------
    cases : as `read_cases` takes them. front_page : the same cases as the front page has them.
    policy : its price list gives standards and edges; a policy with [special_cases] candidates, one with
        [calendar] their deadline. point_value : yuan a point, for a point method.
    on : the day whose values count; default each case's own. lang : of the quality rules' messages.

    Raises
    ------
    CaseFileError, CaseSchemaError : a file is refused.
    """
    read = cases if isinstance(cases, CaseTable) else read_cases(cases)
    rows: list[dict[str, Any]] = read.table.to_pylist()
    results = group(read, scheme).to_arrow().to_pylist()
    needs: dict[int, list[Need]] = defaultdict(list)
    for k, need in _returned(cases, scheme, rows, results, lang):
        needs[k].append(need)
    absent: list[dict[str, Any]] = []
    if front_page is not None:
        front = read_cases(front_page).table.to_pylist()
        for k, need in _differing(rows, front):
            needs[k].append(need)
        listed = {r["case_id"] for r in rows}
        absent = [f for f in front if f["case_id"] not in listed]
    prices, notes = _prices(rows, results, policy, point_value, on)
    for k, (row, result, price) in enumerate(zip(rows, results, prices, strict=True)):
        needs[k] += _grouping(result)
        needs[k] += _money(row, price, policy)
    found = [
        Entry(row, result, price, _ordered(needs[k]))
        for k, (row, result, price) in enumerate(zip(rows, results, prices, strict=True))
    ]
    found += [Entry(f, {}, Price(), (Need("no_list", "no settlement list"),)) for f in absent]
    found.sort(key=_urgency)
    counts = Counter(kind for e in found for kind in {n.kind for n in e.needs})
    return Worklist(tuple(found), {k: counts[k] for k in NEEDS if counts[k]}, notes)


def _row(e: Entry) -> dict[str, Any]:
    case, result = e.case, e.result
    return {
        "case_id": case.get("case_id"),
        "needs": "|".join(dict.fromkeys(n.kind for n in e.needs)),
        "why": "|".join(n.why for n in e.needs),
        "deadline": e.deadline,
        **{c: case.get(c) for c in ("department", "coder_id", "total_cost_fen")},
        **{c: result.get(c) for c in ("status", "group", "group_name")},
        **{c: getattr(e.price, c) for c in ("standard", "low_edge", "high_edge")},
        **{c: "|".join(x or "" for x in case.get(c) or ()) for c in ("diagnoses", "procedures")},
    }


def _ordered(needs: Sequence[Need]) -> tuple[Need, ...]:
    return tuple(sorted(dict.fromkeys(needs), key=lambda n: NEEDS.index(n.kind)))


def _urgency(e: Entry) -> tuple[Any, ...]:
    """Order by what comes first in `NEEDS`, then by the deadline, then by how much there is to do."""
    first = NEEDS.index(e.needs[0].kind) if e.needs else len(NEEDS)
    return first, e.deadline or "9", -len(e.needs), str(e.case.get("case_id") or "")


# -------------------------------------------------------------------------------- what a list lacks


def _returned(
    cases: Any,
    scheme: Scheme,
    rows: Sequence[Mapping[str, Any]],
    results: Sequence[Mapping[str, Any]],
    lang: str,
) -> Iterator[tuple[int, Need]]:
    """Find the cases that a platform returns: rejected, or failing a rule of severity error."""
    places: dict[Any, list[int]] = defaultdict(list)
    for k, row in enumerate(rows):
        places[row["case_id"]].append(k)
    for k, result in enumerate(results):
        if result["status"] == "rejected":
            yield k, Need("returned", str(result["reason"]))
    found = check_quality(cases, scheme=scheme, lang=lang)
    for f in found.findings.to_pylist():
        if f["severity"] == "error":
            for k in places[f["case_id"]]:
                yield k, Need("returned", f"{f['rule']} {f['message']}")


def _differing(
    rows: Sequence[Mapping[str, Any]], front: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[int, Need]]:
    """Compare lists with front pages of the same case_id."""
    pages = {f["case_id"]: f for f in front}
    for k, row in enumerate(rows):
        page = pages.get(row["case_id"])
        if page is None:
            yield k, Need("differs", "no front page")
            continue
        for name in FACTS:
            ours, theirs = row.get(name), page.get(name)
            if ours != theirs:
                yield k, Need("differs", f"{name}: {_said(ours)} / {_said(theirs)}")


def _said(value: Any) -> str:
    return " ".join(x or "—" for x in value) or "—" if isinstance(value, list) else str(value)


# --------------------------------------------------------------------------------- group and money


def _grouping(result: Mapping[str, Any]) -> Iterator[Need]:
    if result["status"] in ("ambiguous", "ungrouped"):
        said = (result["status"], result["group"], result["reason"])
        yield Need("ungrouped", " ".join(x for x in said if x))


def _prices(
    rows: Sequence[Mapping[str, Any]],
    results: Sequence[Mapping[str, Any]],
    policy: Policy | None,
    point_value: Fraction | None,
    on: date | None,
) -> tuple[list[Price], dict[str, int]]:
    """Price every case; a case that the policy cannot price is told in the notes, once a reason."""
    if policy is None:
        return [Price()] * len(rows), {}
    found, why = [], Counter[str]()
    for row, result in zip(rows, results, strict=True):
        try:
            price = price_of(policy, row, result["status"], result["group"] or "", point_value, on)
        except GrouperError as e:
            price = Price(note=str(e))
        found.append(price)
        why[price.note] += bool(price.note)
    return found, {note: n for note, n in sorted(why.items()) if note}


def _money(row: Mapping[str, Any], price: Price, policy: Policy | None) -> Iterator[Need]:
    """Find high and low multiples and candidates for a special case (特例单议)."""
    cost = row.get("total_cost_fen")
    if policy is None or cost is None or not price.standard:
        return
    low, standard, high = (
        fen_of(x) if x else None for x in (price.low_edge, price.standard, price.high_edge)
    )
    if high is not None and cost > high:
        yield Need("high", f"{yuan(cost)} > {price.high_edge}")
    if low is not None and cost < low:
        yield Need("low", f"{yuan(cost)} < {price.low_edge}")
    if policy.settings.special_cases is not None and standard is not None and cost > standard:
        yield Need("special", f"+{yuan(cost - standard)}", _filing(row, policy))


def _filing(row: Mapping[str, Any], policy: Policy) -> str:
    """Return by when a case must be filed, "" where the policy has no calendar or the case no day."""
    day = row.get("settlement_date") or row.get("discharge_date")
    if policy.settings.calendar is None or day is None:
        return ""
    month = f"{day:%Y-%m}"
    return str(deadlines(policy.settings.calendar, [month])[month]["filing"])
