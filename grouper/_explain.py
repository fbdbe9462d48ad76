"""Why a case is in its DRG group, and why not in the next ones.

A second, plain reader of the rules: it walks the rule trees over the case's code texts and the
scheme's own tables, shares nothing with the kernel's arrays, and keeps what it saw. Tests hold the
two to the same answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from grouper._cases import OLDEST
from grouper._changes import apply_changes
from grouper._explain_page import trace_page
from grouper._explain_text import trace_lines
from grouper._near import NearMiss, Seen, near_misses
from grouper.tables import DrgScheme, Row, Scheme, Status, text_of
from grouper.tables._rules import SEVERITY_SETS, And, Compare, Const, Count, Member, Or, Rule
from grouper.tables._types import DIAGNOSES, PROCEDURES, UNKNOWN_CODE, Side

LEVELS = {"MCC": "mcc", "CC": "cc"}
NEXT = 12


@dataclass(frozen=True)
class AtomTrace:
    """One condition: its text, whether it holds, the codes (or the value) that decided it."""

    condition: str
    holds: bool
    seen: tuple[str, ...] = ()


@dataclass(frozen=True)
class RuleTrace:
    """One row that was tried: where it stands, its rule, its conditions, what followed."""

    table: str
    line: int
    code: str
    name: str
    rule: str
    holds: bool
    conditions: tuple[AtomTrace, ...]
    children: tuple[RuleTrace, ...] = ()
    left_because: str = ""


@dataclass(frozen=True)
class CodeTrace:
    """One code of the case: what it was read as, and what it counts for."""

    column: str
    given: str
    code: str
    name: str
    known: bool
    grey: bool = False
    role: str = ""
    level: str = ""  # MCC, CC as listed
    excluded_by: str = ""  # exclusion table that holds the principal diagnosis


@dataclass(frozen=True)
class NextGroup:
    """A group further on, and the first condition that it lacks ("" = none: it comes too late)."""

    adrg: str
    group: str
    name: str
    rule: str
    missing: str


@dataclass(frozen=True)
class Trace:
    """The whole way of one case through a scheme (分组依据)."""

    case_id: str
    scheme: str
    scheme_fingerprint: str
    status: str
    reason: str
    mdc: str
    adrg: str
    group: str
    group_name: str
    severity: str
    rule: str
    codes: tuple[CodeTrace, ...]
    facts: Mapping[str, Any]
    tried: tuple[RuleTrace, ...] = ()
    retried_with: str = ""
    next_groups: tuple[NextGroup, ...] = field(default=())
    near_misses: tuple[NearMiss, ...] = field(default=())
    group_class: str = ""  # this and what follows: DIP
    treatment: str = ""
    decided_by: str = ""
    matched_terms: int | None = None
    main_procedure: str = ""
    aux_type: str = ""
    aux_factor: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the trace as plain dicts and lists, ready for JSON."""
        return asdict(self)

    def to_text(self, lang: str = "zh") -> str:
        """Write the trace for a person, in `lang` "zh" or "en"."""
        return "\n".join(trace_lines(self, lang))

    def to_html(self, lang: str = "zh") -> str:
        """Write the trace as one self-contained page."""
        return trace_page(self, lang)

    def __str__(self) -> str:
        return self.to_text()


def explain_drg(case: Mapping[str, Any], scheme: DrgScheme, codes: str, near: int = 0) -> Trace:
    """Trace the grouping of one case by a DRG scheme; see `explain`."""
    tracer = Tracer(scheme, case, codes)
    trace = tracer.trace()
    return replace(trace, near_misses=tuple(tracer.near_misses(near))) if near else trace


@dataclass
class _Facts:
    """A case as the rules see it."""

    codes: Mapping[str, Sequence[str]]  # ZYZD, QTZD, ZYSS, QTSS
    values: Mapping[str, Any]
    levels: Mapping[str, frozenset[str]]  # secondary diagnosis -> MCC, CC that are not excluded


class Tracer:
    """Walks a scheme with one case and keeps what it saw."""

    def __init__(self, scheme: Scheme, case: Mapping[str, Any], codes: str) -> None:
        self.scheme: Any = scheme
        self.case, self.coding = case, codes
        self.code_traces: list[CodeTrace] = []
        self.diagnoses = self._read("diagnoses", DIAGNOSES)
        self.procedures = [c for c in self._read("procedures", PROCEDURES) if c]

    # ------------------------------------------------------------------------------ the case

    def _read(self, column: str, side: Side) -> list[str]:
        vocabulary = self.scheme.vocabulary(side, self.coding)
        listed = self.scheme.code_list
        names = listed and (listed.diagnoses if side == DIAGNOSES else listed.procedures)
        grey = listed and (listed.grey_diagnoses if side == DIAGNOSES else listed.grey_procedures)
        found = []
        for k, given in enumerate(self.case.get(column) or []):
            given = given or ""
            code_id = vocabulary.resolve(given)[0] if given.strip() else UNKNOWN_CODE
            known = code_id != UNKNOWN_CODE
            code = self.scheme.codes[code_id] if known else given if given.strip() else ""
            found.append(code)
            if code:
                role = "principal" if k == 0 else "other"
                name = (names or {}).get(code, "")
                is_grey = known and code in (grey or ())
                self.code_traces.append(CodeTrace(column, given, code, name, known, is_grey, role))
        return found

    def _rejection(self) -> str:
        number = self._number
        sex, age = number("sex"), number("age")
        listed = self.scheme.code_list is not None
        if not str(self.case.get("case_id") or "") or self.case.get("input_fault"):
            return "input_unreadable"
        if not self.diagnoses or not self.diagnoses[0]:
            return "no_principal_diagnosis"
        if sex not in (0, 1, 2, 9):
            return "sex_unreadable"
        if age is None or not 0 <= age <= OLDEST:
            return "age_unreadable"
        if age == 0 and (number("age_days") is None or number("age_days") < 0):
            return "age_days_missing"
        admitted, left = self.case.get("admission_date"), self.case.get("discharge_date")
        if admitted and left and left < admitted:
            return "discharge_before_admission"
        if listed and not self._is_known(self.diagnoses[0]):
            return "unknown_principal"
        return ""

    def _is_known(self, code: str) -> bool:
        return any(t.code == code and t.known for t in self.code_traces if t.column == "diagnoses")

    def _number(self, name: str) -> Any:
        value = self.case.get(name)
        whole = isinstance(value, int | float) and value == value and float(value).is_integer()
        return int(value) if whole and value is not None and abs(value) < 2**31 else None

    def _usable_procedures(self) -> list[str]:
        option = self.scheme.settings.grey_procedure
        grey = {t.code for t in self.code_traces if t.column == "procedures" and t.grey}
        if option == "drop_promote_next":
            return list(dict.fromkeys(c for c in self.procedures if c not in grey))
        unseen = [f"{c} (grey)" if c in grey else c for c in self.procedures]
        return list(dict.fromkeys(unseen if option == "blank" else self.procedures))

    def _facts(self, procedures: Sequence[str]) -> _Facts:
        principal = self.diagnoses[0]
        others = list(dict.fromkeys(c for c in self.diagnoses[1:] if c and c != principal))
        sex, age = self._number("sex"), self._number("age")
        weight = f"{self.scheme.settings.newborn_weight}_weight"
        return _Facts(
            codes={
                "ZYZD": [principal],
                "QTZD": others,
                "ZYSS": procedures[:1],
                "QTSS": procedures[1:],
            },
            values={
                "NL": age,
                "XSRTL": self._number("age_days") if age == 0 else None,
                "XSRTZ": self._number(weight),
                "XB": sex if sex in (1, 2) else None,
                "ZYTS": self._number("los"),
                "ICUSC": self._number("icu_hours"),
                "LYFS": self.case.get("discharge_mode"),
                "CYKS": self.case.get("department"),
            },
            levels={c: self._levels(c, principal) for c in others},
        )

    def _levels(self, code: str, principal: str) -> frozenset[str]:
        """Return the levels a secondary counts for; its exclusion table may take them away."""
        s, counted = self.scheme, set()
        for level, table in (("MCC", s.mcc), ("CC", s.cc)):
            if code in table:
                excluded = principal in s.exclusions.get(table[code], frozenset())
                if not excluded:
                    counted.add(level)
                self._note_level(code, level, table[code] if excluded else "")
        return frozenset(counted)

    def _note_level(self, code: str, level: str, excluded_by: str) -> None:
        for k, t in enumerate(self.code_traces):
            if t.column == "diagnoses" and t.code == code and t.role == "other" and not t.level:
                self.code_traces[k] = CodeTrace(
                    t.column, t.given, t.code, t.name, t.known, t.grey, t.role, level, excluded_by
                )

    # -------------------------------------------------------------------------------- the rules

    def meets(self, rule: Rule) -> bool:
        """Tell whether the case, if it can be grouped at all, meets a rule."""
        return not self._rejection() and self._holds(
            rule, self._facts(self._usable_procedures()), []
        )

    def near_misses(self, most: int) -> list[NearMiss]:
        """List the groups that the case is nearest to; none for a case that cannot be grouped at all."""
        if self._rejection():
            return []
        facts = self._facts(self._usable_procedures())

        def land(changes: Sequence[str]) -> tuple[str, int]:
            changed = Tracer(self.scheme, apply_changes(self.case, changes), self.coding)
            row = changed.row()
            return (self.scheme.drgs[row].code if row >= 0 else "", row)

        seen = Seen(facts.codes, facts.values, lambda a: self._holds(a, facts, []))
        return near_misses(self.scheme, seen, land, self.row(), most)

    def row(self) -> int:
        """Return the row of the DRG table that the case lands in, -1 = none."""
        if self._rejection():
            return -1
        grey = self.scheme.settings.grey_principal == "ungrouped"
        if grey and self.code_traces and self.code_traces[0].grey:
            return -1
        procedures = self._usable_procedures()
        tries = [procedures]
        if self.scheme.settings.retry_other_procedures:
            tries += [[c] for c in procedures[1:]]
        for usable in tries:
            hit, _, _ = self._search(self._facts(usable))
            if hit is not None:
                return hit[1]
        return -1

    def trace(self) -> Trace:
        if reason := self._rejection():
            return self._result(Status.REJECTED, reason)
        if (
            self.scheme.settings.grey_principal == "ungrouped"
            and self.code_traces
            and self.code_traces[0].grey
        ):
            return self._result(Status.UNGROUPED, "grey_principal")
        procedures = self._usable_procedures()
        facts = self._facts(procedures)
        hit, tried, reason = self._search(facts)
        retried = ""
        if hit is None and self.scheme.settings.retry_other_procedures:
            for retried in procedures[1:]:
                again = self._facts([retried])
                hit, more, _ = self._search(again)
                if hit is not None:
                    facts, tried = again, more
                    break
            else:
                retried = ""
        if hit is None:
            return self._result(Status.UNGROUPED, reason, facts=facts, tried=tried)
        return self._result(Status.GROUPED, "", hit, facts, tried, retried)

    def _search(self, facts: _Facts) -> tuple[tuple[int, int] | None, list[RuleTrace], str]:
        """Try MDCs, ADRGs and DRGs in order; return (ADRG, DRG) that match and all that was seen."""
        tried: list[RuleTrace] = []
        reason = "no_mdc"
        for m, mdc in enumerate(self.scheme.mdcs):
            seen = self._row("mdc.csv", mdc, facts)
            if not seen.holds:
                tried.append(seen)
                continue
            reason = "no_adrg" if reason == "no_mdc" else reason
            children, hit = [], None
            for a, adrg in self._children(self.scheme.adrgs, m):
                row = self._row("adrg.csv", adrg, facts)
                if row.holds:
                    reason = "no_drg"
                    drgs = []
                    for d, drg in self._children(self.scheme.drgs, a):
                        drgs.append(self._row("drg.csv", drg, facts))
                        if drgs[-1].holds:
                            hit = a, d
                            break
                    why = "" if hit else "no_drg"
                    row = _with(row, drgs, why)
                children.append(row)
                if hit:
                    break
            tried.append(_with(seen, children, "" if hit else "no_adrg"))
            if hit:
                return hit, tried, ""
        return None, tried, reason

    @staticmethod
    def _children(rows: Sequence[Row], parent: int) -> Iterator[tuple[int, Row]]:
        return ((k, r) for k, r in enumerate(rows) if r.parent == parent)

    def _row(self, table: str, row: Row, facts: _Facts) -> RuleTrace:
        atoms: list[AtomTrace] = []
        holds = self._holds(row.rule, facts, atoms)
        why = "" if holds else "rule"
        return RuleTrace(
            table, row.line, row.code, row.name, row.text, holds, tuple(atoms), (), why
        )

    def _holds(self, rule: Rule, facts: _Facts, atoms: list[AtomTrace]) -> bool:
        """Evaluate a rule, every atom of it, and note each."""
        match rule:
            case And(parts=parts):
                return all([self._holds(p, facts, atoms) for p in parts])
            case Or(parts=parts):
                return any([self._holds(p, facts, atoms) for p in parts])
            case Const(value=value):
                return value
            case Compare(var=var, op=op, value=value):
                given = facts.values[var]
                holds = given is not None and _compare(given, op, value)
                atoms.append(AtomTrace(text_of(rule), holds, (f"{var}={given}",)))
                return holds
            case Count(set=name, vars=names, op=op, value=value):
                codes = self.scheme.set_codes[name]
                held = sorted({c for v in names for c in facts.codes[v] if c in codes})
                holds = _compare(len(held), op, value)
                atoms.append(AtomTrace(text_of(rule), holds, tuple(held)))
                return holds
            case Member(vars=names, sets=sets, negated=negated):
                met = [c for v in names for c in facts.codes[v] if self._in(c, v, sets, facts)]
                holds = bool(met) != negated
                atoms.append(AtomTrace(text_of(rule), holds, tuple(dict.fromkeys(met))))
                return holds

    def _in(self, code: str, var: str, sets: Sequence[str], facts: _Facts) -> bool:
        for name in sets:
            if name in SEVERITY_SETS:
                if var == "QTZD" and name in facts.levels[code]:
                    return True
            elif code in self.scheme.set_codes[name]:
                return True
        return False

    def _missing(self, rule: Rule, facts: _Facts) -> str:
        """Return the first condition that a rule lacks, "" if it holds."""
        if self._holds(rule, facts, []):
            return ""
        if isinstance(rule, And):
            return next(m for p in rule.parts if (m := self._missing(p, facts)))
        return text_of(rule)

    # ------------------------------------------------------------------------------- the answer

    def _next(self, hit: tuple[int, int], facts: _Facts) -> list[NextGroup]:
        """List the groups after the one that matched: in its ADRG, then in the rest of its MDC."""
        s, (a, d) = self.scheme, hit
        found = []
        for k, drg in self._children(s.drgs, a):
            if k > d:
                found.append(
                    self._next_group(s.adrgs[a], drg, facts, self._missing(drg.rule, facts))
                )
        for k, adrg in self._children(s.adrgs, s.adrgs[a].parent):
            if k > a:
                drg = next(r for _, r in self._children(s.drgs, k))
                found.append(self._next_group(adrg, drg, facts, self._missing(adrg.rule, facts)))
        return found[:NEXT]

    @staticmethod
    def _next_group(adrg: Row, drg: Row, facts: _Facts, missing: str) -> NextGroup:
        name = drg.name or adrg.name
        return NextGroup(adrg.code, drg.code, name, f"drg.csv:{drg.line}", missing)

    def _result(
        self,
        status: Status,
        reason: str,
        hit: tuple[int, int] | None = None,
        facts: _Facts | None = None,
        tried: Sequence[RuleTrace] = (),
        retried: str = "",
    ) -> Trace:
        s = self.scheme
        mdc = adrg = group = name = severity = rule = ""
        following: list[NextGroup] = []
        if hit is not None and facts is not None:
            a, d = hit
            status = s.row_status[a]
            reason = "remainder" if status == Status.UNGROUPED else ""
            mdc, adrg = s.mdcs[s.adrgs[a].parent].code, s.adrgs[a].code.split("#")[0]
            group, name = s.drgs[d].code, s.drgs[d].name or s.adrgs[a].name
            rule = f"adrg.csv:{s.adrgs[a].line} {s.adrgs[a].code} > drg.csv:{s.drgs[d].line}"
            counted = frozenset[str]().union(*facts.levels.values())
            severity = next((low for up, low in LEVELS.items() if up in counted), "none")
            following = self._next(hit, facts)
        values = {k: v for k, v in facts.values.items() if v is not None} if facts else {}
        return Trace(
            case_id=str(self.case.get("case_id") or ""),
            scheme=s.id,
            scheme_fingerprint=s.fingerprint,
            status=status.name.lower(),
            reason=reason,
            mdc=mdc,
            adrg=adrg,
            group=group,
            group_name=name,
            severity=severity,
            rule=rule,
            codes=tuple(self.code_traces),
            facts=values,
            tried=tuple(tried),
            retried_with=retried,
            next_groups=tuple(following),
        )


def _with(row: RuleTrace, children: Sequence[RuleTrace], left_because: str) -> RuleTrace:
    return RuleTrace(
        row.table,
        row.line,
        row.code,
        row.name,
        row.rule,
        row.holds,
        row.conditions,
        tuple(children),
        left_because,
    )


def _compare(given: Any, op: str, value: Any) -> bool:
    if op == "=":
        return bool(given == value)
    return bool(
        {"<": given < value, "<=": given <= value, ">": given > value, ">=": given >= value}[op]
    )
