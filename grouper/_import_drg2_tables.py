"""A plan of lists (MDCs, ADRGs with their lists, DRGs, MCC and CC) → the six tables.

Where readings of the plan differ, `Drg2Options` says which one is taken. Order of work: the sets of every
ADRG, the rules of ADRGs, MDCs, DRGs, the rows xQY. The surprise: some rules stand in no list: ages and
weights of newborns are in the names of their ADRGs, two sites of trauma in the MDC.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import chain, groupby

from grouper._import_drg2_codes import all_procedures
from grouper._import_drg2_plan import Drg, Drg2Options, Mdc, Plan
from grouper._import_lists import ALL, ANY_DIAGNOSIS, Entry, name_sets
from grouper._import_lists_logic import facts_in, joined, rule_of
from grouper._scheme_files import ImportReport
from grouper.errors import RuleError, TableError
from grouper.tables._rules import And, Compare, Member, Or, Rule, atoms, parse, text_of

Numbered = list[tuple[int, dict[str, str]]]
Sets = dict[str, Iterable[str]]
SEX = {"MDCM": 1, "MDCN": 2}


def tables_of(plan: Plan, options: Drg2Options, report: ImportReport) -> dict[str, Numbered]:
    """Turn a plan into the six tables.

    Raises
    ------
    TableError : an ADRG without lists, an expression over lists that are not there, an MDC without
        diagnoses; names the row.
    """
    for entry in plan.entries.values():
        name_sets(entry)
    sets: Sets = {}
    for x in chain.from_iterable(e.lists for e in plan.entries.values()):
        sets |= x.sets()
    adrgs = _adrgs(plan, options, report)
    mdcs = _mdcs(plan, options, report, sets)
    drgs = _drgs(plan, report)
    if options.ambiguous:
        adrgs, drgs = _with_ambiguous(adrgs, drgs, options, report)
    if any(ALL in row["rule"] for _, row in (*mdcs, *adrgs, *drgs)):
        sets[ALL] = all_procedures(plan, options, report)
    return {
        "mdc": mdcs,
        "adrg": [(n, {**row, "sort": str(k)}) for k, (n, row) in enumerate(adrgs, 1)],
        "drg": [(n, {**row, "sort": str(k)}) for k, (n, row) in enumerate(drgs, 1)],
        "sets": [(0, {"set": s, "code": c}) for s, codes in sets.items() for c in codes],
        "cc": plan.levels,
        "exclusions": plan.exclusions,
    }


# ------------------------------------------------------------------------------------------- MDCs


def _mdcs(plan: Plan, options: Drg2Options, report: ImportReport, sets: Sets) -> Numbered:
    used = {e.mdc for e in plan.entries.values()}
    rows: Numbered = []
    for mdc in plan.mdcs.values():
        if mdc.code not in used:
            report.findings.append(f"{mdc.file}:{mdc.row}: {mdc.code} has no ADRG and is left out")
            continue
        rule = _mdc_rule(mdc, options, sets)
        text = text_of(rule) if rule is not None else ""
        sort = str(len(rows) + 1)
        rows.append(
            (mdc.row, {"code": mdc.code, "name": mdc.name or mdc.code, "rule": text, "sort": sort})
        )
    return rows


def _mdc_rule(mdc: Mdc, options: Drg2Options, sets: Sets) -> Rule | None:
    """Return the rule of an MDC and add its sets; None = its ADRGs are tried directly."""
    letter = mdc.code[-1]
    if mdc.code == "MDCA":
        return None
    if mdc.code == "MDCZ":
        return _two_sites(mdc, options, sets)
    listed: Rule | None = None
    if mdc.codes:
        name = f"DI_{letter}00"
        sets[name] = mdc.codes
        anywhere = mdc.code == "MDCY" and options.mdcy == "any_diagnosis"
        listed = Member(ANY_DIAGNOSIS if anywhere else ("ZYZD",), (name,))
    if mdc.code == "MDCP":
        return _newborn(listed, options)
    if listed is None:
        message = f"{mdc.code} has no diagnoses; give it its list (主诊表)"
        raise TableError(message, file=mdc.file, row=mdc.row)
    sex = SEX.get(mdc.code, 2 if mdc.code == "MDCO" and options.mdco_needs_female else 0)
    return And((listed, Compare("XB", "=", sex))) if sex else listed


def _newborn(listed: Rule | None, options: Drg2Options) -> Rule:
    infant, young = Compare("NL", "=", 0), Compare("XSRTL", "<=", 28)
    if listed is None:
        return And((infant, young))
    if options.mdcp == "diagnosis":
        return And((listed, infant))
    return And((infant, Or((young, listed))))


def _two_sites(mdc: Mdc, options: Drg2Options, sets: Sets) -> Rule:
    """Ask for diagnoses of two sites, one of them the principal one if so read."""
    if len(mdc.sites) < 2:
        message = (
            f"{mdc.code} needs its diagnoses by site (部位), two at least; it has {len(mdc.sites)}"
        )
        raise TableError(message, file=mdc.file, row=mdc.row)
    names = [f"DI_Z{k:02}" for k in range(1, len(mdc.sites) + 1)]
    sets |= dict(zip(names, mdc.sites.values(), strict=True))
    pairs: list[Rule] = []
    for k, name in enumerate(names):
        if options.mdcz_needs_principal:
            others = tuple(n for n in names if n != name)
            pairs.append(And((Member(("ZYZD",), (name,)), Member(("QTZD",), others))))
        elif later := tuple(names[k + 1 :]):
            pairs.append(And((Member(ANY_DIAGNOSIS, (name,)), Member(ANY_DIAGNOSIS, later))))
    return joined(Or, pairs)


# ------------------------------------------------------------------------------------------ ADRGs


def _adrgs(plan: Plan, options: Drg2Options, report: ImportReport) -> Numbered:
    rows: Numbered = []
    for entry in plan.entries.values():
        rule = rule_of(entry, plan.entries)
        if entry.mdc == "MDCP":
            rule = _with_age(entry, rule, options, report)
        text = text_of(rule)
        row = {"code": entry.code, "name": entry.name or entry.code, "rule": text}
        rows.append((entry.row, {**row, "mdc": entry.mdc}))
    return rows


def _with_age(entry: Entry, rule: Rule, options: Drg2Options, report: ImportReport) -> Rule:
    """Add the age and weight that the name of a newborns' ADRG states; say so."""
    stated = facts_in(entry.name)
    if stated:
        said = text_of(joined(And, stated))
        report.findings.append(f"{entry.file}:{entry.row}: {entry.code}, as its name says: {said}")
    rule = joined(And, [rule, *stated])
    ages = {a.var for a in atoms(rule) if isinstance(a, Compare)}
    if options.newborn_under_29_days and not ages & {"XSRTL", "NL"}:
        rule = joined(And, [rule, Compare("XSRTL", "<=", 28)])
    return rule


def _with_ambiguous(
    adrgs: Numbered, drgs: Numbered, options: Drg2Options, report: ImportReport
) -> tuple[Numbered, Numbered]:
    """Put xQY behind the last operative ADRG (A–Q) of each MDC, before the first medical one (R–Z).

    Never into MDCA: every case tries it, so any operation would end there.
    """
    found: Numbered = []
    added = []
    for mdc, group in groupby(_by_mdc(adrgs), key=lambda row: row[1]["mdc"]):
        rows = list(group)
        if mdc not in ("MDCA", *options.ambiguous_except):
            operative = [k for k, (_, r) in enumerate(rows) if "A" <= r["code"][1:2] <= "Q"]
            medical = [k for k, (_, r) in enumerate(rows) if r["code"][1:2] > "Q"]
            at = operative[-1] + 1 if operative else min(medical, default=len(rows))
            if medical and medical[0] < at:
                report.findings.append(
                    f"{mdc}: {rows[medical[0]][1]['code']} stands before {rows[at - 1][1]['code']}; "
                    "the row xQY goes behind the latter"
                )
            code = f"{mdc[-1]}QY"
            row = {"code": code, "name": "歧义组", "rule": f"ZYSS in {ALL}", "mdc": mdc}
            rows.insert(at, (0, row))
            added.append(
                (0, {"code": code, "name": "歧义组", "rule": "", "adrg": code, "mdc": mdc})
            )
        found += rows
    report.findings.append(f"{len(added)} rows xQY (歧义组) added")
    return found, [*drgs, *added]


def _by_mdc(rows: Numbered) -> Numbered:
    order = {m: k for k, m in enumerate(dict.fromkeys(r["mdc"] for _, r in rows))}
    return sorted(rows, key=lambda row: order[row[1]["mdc"]])


# ------------------------------------------------------------------------------------------- DRGs


def _drgs(plan: Plan, report: ImportReport) -> Numbered:
    """Return the DRG rows; of each ADRG those that ask for more come first, and each move is said."""
    by_adrg: dict[str, list[Drg]] = {}
    for d in plan.drgs:
        by_adrg.setdefault(d.adrg, []).append(d)
    if lacking := [e for e in plan.entries.values() if e.code not in by_adrg]:
        names = ", ".join(e.code for e in lacking)
        message = f"no DRG for {names}; add a row for each"
        raise TableError(message, file=plan.drg_file or lacking[0].file)
    rank = {"QTZD in MCC": 0, "QTZD in CC": 1, "QTZD in {MCC, CC}": 2, "": 3}
    rows: Numbered = []
    for adrg, drgs in by_adrg.items():
        ordered = sorted(drgs, key=lambda d: rank.get(d.rule, 0))
        if ordered != drgs:
            report.findings.append(
                f"{plan.drg_file}:{drgs[0].row}: the DRGs of {adrg} are tried in the order "
                f"{', '.join(d.code for d in ordered)}"
            )
        _note_gaps(adrg, ordered, plan, report)
        mdc = plan.entries[adrg].mdc
        for d in ordered:
            row = {"code": d.code, "name": d.name, "rule": d.rule, "adrg": adrg, "mdc": mdc}
            rows.append((d.row, row))
    return rows


def _note_gaps(adrg: str, drgs: list[Drg], plan: Plan, report: ImportReport) -> None:
    """Say of an ADRG that some of its cases fall through, or that two rows are alike."""
    rules = [d.rule for d in drgs]
    place = f"{plan.drg_file}:{drgs[0].row}"
    if "" not in rules:
        report.findings.append(f"{place}: {adrg} has no DRG for what remains of it")
    if len(set(rules)) < len(rules):
        alike = ", ".join(d.code for d in drgs)
        report.findings.append(f"{place}: {adrg} has DRGs of one rule: {alike}; the first wins")
    if "QTZD in CC" in rules and not any("MCC" in r for r in rules):
        report.findings.append(f"{place}: {adrg}: cases with a MCC fall to what remains")


def drg_rule(text: str, file: str, row: int) -> str:
    """Check a rule that a DRG row states in the rule language.

    Raises
    ------
    TableError : it is neither words of severity nor a rule.
    """
    try:
        parse(text, file=file, row=row)
    except RuleError as e:
        why = re.sub(r"^.*?(?=column \d)", "", str(e))
        message = f"{text!r} is neither words such as 伴严重并发症或合并症 nor a rule ({why})"
        raise TableError(message, file=file, row=row) from None
    return text
