"""settle: groups → money, exact to the fen.

Order of work: bring the rows together with hospitals and days (`_ledger_rows`); claims per case
(`_claims`); funds (`_funds`); then one `Run` (`_settling`): months, frozen or settled (`_months`), each fund
closed (`_closing`) and cleared (`_clearing`), laid out (`_results`) with the proof (`_manifest`). One way
through for a plain settlement, a month and a year: they differ in which cases and units are looked at.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from datetime import date
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from grouper._arrow import text_array
from grouper._claims import EPOCH, Decision, find_claims, find_pools
from grouper._closing import Closing
from grouper._distinct import distinct
from grouper._funds import find_units, fund_parameter, last_day, pools_of
from grouper._grouped import GroupedBatch
from grouper._ledger import DECISIONS, Entry, in_order, place_pools, read_entries
from grouper._ledger_rows import Rows, read_rows
from grouper._months import lines_paid_before
from grouper._prior import Prior, read_prior
from grouper._progress import share
from grouper._results import Settlement
from grouper._settling import Known, Run, Span
from grouper.errors import SettlementError
from grouper.tables._policy import Policy, load_policy
from grouper.tables._policy_model import Adoption

__all__ = ["Settlement", "settle"]


def settle(
    grouped: GroupedBatch | pa.Table,
    policy: Policy | str | Path,
    *,
    hospitals: pa.Table | None = None,
    ledger: pa.Table | None = None,
    prior: Any = None,
    period: str | None = None,
    threads: int | None = None,
) -> Settlement:
    """Pay grouped cases under a policy (结算).

    Re-entrant: many threads may call it at once, with the same policy or others.

    Parameters
    ----------
    grouped : a `GroupedBatch`, or its table with the carried case columns.
    policy : a `Policy`, the id of a shipped one, or a path.
    hospitals : hospital_id, hospital_level, hospital_class, hospital_area, valid_from, valid_to; dated.
        Where it says nothing, the case's own columns hold.
    ledger : decisions, deductions, prepayments, assessments …, see docs/policy.md.
    prior : run folders: published months of the year, and last year's runs for their means.
    period : a month such as "2025-03", or a year or fund period to clear. Left out, all there is;
        a policy with [year] then settles every month on the way.

    Raises
    ------
    PolicyError : a parameter is missing or not in force. CaseSchemaError : columns are missing.
    SettlementError : cases or entries that the policy cannot pay; says which and what to add.
    """
    policy = policy if isinstance(policy, Policy) else load_policy(policy)
    span = _span(policy, period)
    counts: Counter[str] = Counter()
    earlier = read_prior(prior)
    with share(0, 0.2):
        rows, known = _rows_of(grouped, policy, hospitals, span, counts)
    given = read_entries(ledger, counts)
    _refuse_edition(rows, policy)
    with share(0.2, 0.5):
        claimed = find_claims(rows, policy, earlier.last_year, threads)
    units = find_units(claimed, lambda r: Closing(claimed).owed_at_price(r, r))
    entries = place_pools(given, pools_of(units))
    decisions = _decisions(rows, entries, counts, strict=not span.is_month)
    _check_prior(policy, earlier, span, counts)
    units = [*units, *lines_paid_before(units, earlier)]
    run = Run(policy, claimed, units, entries, decisions, earlier, span, known, counts)
    with share(0.5, 1):
        return run.month() if span.is_month else run.clearing()


def _span(policy: Policy, period: str | None) -> Span:
    """Read the period of a run.

    Raises
    ------
    SettlementError : it is neither a month nor a period of a fund, or a month without [year].
    """
    if period is None:
        return Span(None, is_month=False)
    values = policy.settings.param[fund_parameter(policy)].all_values
    ends = sorted({(v.from_, v.to) for v in values if v.to is not None})
    if re.fullmatch(r"(19|20)[0-9]{2}-(0[1-9]|1[0-2])", period):
        first, last = date.fromisoformat(f"{period}-01"), last_day(period)
        if policy.settings.year is None:
            raise SettlementError(f"policy {policy.id} has no [year], so it settles no months")
        if any(a <= first and last <= b for a, b in ends):
            return Span(period, is_month=True, first=first, last=last)
    inside = [(a, b) for a, b in ends if period in (f"{a}/{b}", f"{a:%Y}")]
    if inside and (len(inside) == 1 or all(f"{b:%Y}" == period for _, b in inside)):
        return Span(period, False, min(a for a, _ in inside), max(b for _, b in inside))
    known = ", ".join(dict.fromkeys(f"{a}/{b}" for a, b in ends))
    raise SettlementError(f"period {period!r} is no month or year of a fund; funds: {known}")


def _rows_of(
    grouped: GroupedBatch | pa.Table,
    policy: Policy,
    hospitals: pa.Table | None,
    span: Span,
    counts: Counter[str],
) -> tuple[Rows, Known]:
    """Read the rows that a run looks at: those of its period, a month's earlier ones too."""
    rows = read_rows(grouped, policy, hospitals, counts)
    known = _known_hospitals(rows, policy)
    if span.first is None or span.last is None:
        return rows, known
    inside = rows.fund_day <= span.last.toordinal() - EPOCH
    if not span.is_month:
        inside &= rows.fund_day >= span.first.toordinal() - EPOCH
    if inside.all():
        return rows, known
    left_out = int((~inside).sum())
    counts.clear()
    table = rows.table.filter(pa.array(inside))
    rows = read_rows(table, policy, hospitals, counts)
    counts[f"settlement_date: outside {span.name}, left out"] += left_out
    return rows, known


def _known_hospitals(rows: Rows, policy: Policy) -> Known:
    pool, pools = find_pools(rows, policy), policy.settings.pool
    levels: dict[str, str] = {}
    members: dict[str, frozenset[str]] = {}
    _, first = distinct((pool, len(pools)), (rows.hospital.index, len(rows.hospital.distinct)))
    for k in first:
        hospital, name = rows.hospital[k], pools[pool[k]].id
        levels[hospital] = rows.level[k]
        members[name] = members.get(name, frozenset()) | {hospital}
    return Known(levels, members)


def _decisions(
    rows: Rows, entries: Sequence[Entry], counts: Counter[str], *, strict: bool
) -> list[Decision]:
    """Bring decisions together with their cases."""
    wanted = in_order(e for e in entries if e.kind in DECISIONS)
    if not wanted:
        return []
    ids = text_array(rows.table["case_id"])
    place = pc.index_in(pa.array([e.case for e in wanted], pa.string()), value_set=ids)
    found = []
    for e, row in zip(wanted, place.to_pylist(), strict=True):
        if row is None and strict:
            raise SettlementError(f"ledger entry {e.entry_id!r}: no case {e.case!r} in the file")
        if row is None:
            counts["ledger: decisions on cases of other months, or not in the file"] += 1
            continue
        if e.hospital and rows.hospital[row] != e.hospital:
            raise SettlementError(
                f"ledger entry {e.entry_id!r}: case {e.case!r} is of hospital "
                f"{rows.hospital[row]!r}, not {e.hospital!r}"
            )
        value = e.value if e.value is not None else 0
        found.append(Decision(row, e.entry_id, e.outcome, Fraction(value), e.entered_on))
    return found


def _check_prior(policy: Policy, prior: Prior, span: Span, counts: Counter[str]) -> None:
    """Refuse months that this policy cannot take on; count those settled by another one.

    Raises
    ------
    SettlementError : a published month paid a pool that the policy lacks, or is after the month at hand.
    """
    pools = {p.id for p in policy.settings.pool}
    for month, frozen in prior.months.items():
        if lost := sorted({pool for _, pool, _ in frozen.payments} - pools):
            raise SettlementError(
                f"the published {month} paid pool {lost[0]!r}, which policy {policy.id} lacks: what it "
                "paid would be nobody's; name the pool as it was"
            )
        if span.is_month and span.name is not None and month >= span.name:
            raise SettlementError(
                f"{month} is published: {span.name} cannot be settled after it; its cases become "
                "entries of difference in the month after the last published one"
            )
        if frozen.policy != policy.fingerprint:
            counts[f"prior {month}: settled by another policy or an earlier state of it"] += 1


def _refuse_edition(rows: Rows, policy: Policy) -> None:
    """Refuse groups of a scheme that the policy does not adopt on the case's day.

    Raises
    ------
    SettlementError : names the schemes, or the first case of another edition.
    """
    adopted = sorted(policy.settings.scheme, key=lambda a: a.from_)
    names = rows.table.schema.names
    if not adopted or "scheme" not in names:
        return
    ids = list(dict.fromkeys(a.id for a in adopted))
    texts = rows.table["scheme"].cast(pa.string())
    used = {s for s in texts.unique().to_pylist() if s is not None}
    if foreign := sorted(used - set(ids)):
        raise SettlementError(
            f"the cases are grouped by {', '.join(foreign)}; policy {policy.id} adopts "
            f"{', '.join(ids)}: group by that, or name the scheme under [[scheme]]"
        )
    column = f"{adopted[0].by}_date"
    if len(ids) == 1 or column not in names:
        return
    given = pc.fill_null(pc.index_in(texts, value_set=pa.array(ids)), -1).to_numpy()
    days = rows.table[column].cast(pa.date32(), safe=False).combine_chunks().dictionary_encode()
    wanted = [_adopted_on(day, adopted, ids) for day in days.dictionary.to_pylist()]
    index = pc.fill_null(days.indices, len(wanted)).to_numpy()
    due = np.array([*wanted, -1])[index]
    wrong = np.flatnonzero((given >= 0) & (due >= 0) & (given != due))
    if len(wrong):
        k = int(wrong[0])
        raise SettlementError(
            f"{len(wrong)} cases are grouped by another edition than policy {policy.id} adopts by their "
            f"{column}, as case {rows.table['case_id'][k].as_py()!r} by {ids[given[k]]} and not "
            f"{ids[due[k]]}: group them with --policy, which chooses the edition by case"
        )


def _adopted_on(day: date | None, adopted: Sequence[Adoption], ids: Sequence[str]) -> int:
    """Return the index in `ids` of the scheme in force on a day, -1 = none."""
    covering = [a.id for a in adopted if day is not None and a.covers(day)]
    return ids.index(covering[-1]) if covering else -1
