"""Why a case is in its DIP group, and why not in the others.

A second, plain reader of the catalogue: it walks the rows over the case's code texts, shares nothing
with the kernel's arrays, and keeps what it saw. Tests hold the two to the same answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

from grouper._explain import AtomTrace, CodeTrace, NextGroup, RuleTrace, Trace, Tracer, explain_drg
from grouper._near import NearMiss
from grouper.tables import DipScheme, Scheme, Status, load_scheme
from grouper.tables._dip import COMPARATORS, CONSERVATIVE, Alternatives, DipGroup, fact_range
from grouper.tables._keys import KeySet, diagnosis_keys, normal, spelled
from grouper.tables._types import DIAGNOSES, UNKNOWN_CODE, Comparator, Fact, Side

NEXT = 12
COLUMN_OF = {
    Fact.AGE: "age",
    Fact.AGE_DAYS: "age_days",
    Fact.WEIGHT: "weight",
    Fact.LOS: "los",
    Fact.ICU_HOURS: "icu_hours",
}
NEVER = -(10**30)


def explain(
    case: Mapping[str, Any],
    scheme: Scheme | str | Path,
    *,
    codes: str = "insurer",
    near: int = 12,
) -> Trace:
    """Trace the grouping of one case (分组解释).

    Re-entrant: many threads may call it at once.

    Parameters
    ----------
    case : one case as a dict in the schema of `read_cases`; lists of codes, principal first.
    scheme : a `Scheme`, an id or a folder. codes : "insurer" or "clinical". near : how many near misses
        to look for, the groups that lack least; 0 = none.

    Raises
    ------
    SchemeNotFound, TableError : no such scheme. A bad case is traced, never raised.
    """
    scheme = load_scheme(scheme) if isinstance(scheme, str | Path) else scheme
    if isinstance(scheme, DipScheme):
        return _DipTracer(scheme, case, codes).trace(near)
    return explain_drg(case, scheme, codes, near)


@dataclass(frozen=True)
class _Case:
    """A case as the catalogue's rows see it; codes in normal form, without repeats."""

    principal: str
    others: tuple[str, ...]
    procedures: tuple[str, ...]
    main: str
    treatment: str
    facts: Mapping[Fact, int | None]
    cost: int | None
    conditions: frozenset[str]
    first_other: str  # the other diagnosis that decides among first_other groups


@dataclass(frozen=True)
class _Row:
    """A candidate: its conditions, and how many required terms it met; None = it does not hold."""

    group: DipGroup
    conditions: tuple[AtomTrace, ...]
    terms: int | None


@lru_cache(maxsize=4096)
def _keys(keys: frozenset[str]) -> KeySet:
    return diagnosis_keys(sorted(keys))


def _meets(keys: frozenset[str], code: str) -> bool:
    return bool(_keys(keys).of(code)[0])


class _DipTracer(Tracer):
    """Walks a catalogue with one case and keeps what it saw."""

    scheme: DipScheme

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
            code = vocabulary.texts[code_id] if known else normal(given)
            found.append(code)
            if code:
                text = spelled(code)
                role = "principal" if k == 0 else "other"
                trace = CodeTrace(column, given, text, (names or {}).get(text, ""), known)
                level = ""
                if column == "procedures" and (rule := self.scheme.tables.not_main.get(code)):
                    level = rule.handling
                if column == "diagnoses" and code in self.scheme.tables.excluded:
                    level = "excluded"
                is_grey = known and text in (grey or ())
                self.code_traces.append(replace(trace, grey=is_grey, role=role, level=level))
        return found

    def _is_known(self, code: str) -> bool:
        first = next(t for t in self.code_traces if t.column == "diagnoses")
        return first.known

    def _seen(self) -> _Case:
        principal = self.diagnoses[0]
        others = tuple(dict.fromkeys(c for c in self.diagnoses[1:] if c and c != principal))
        procedures = tuple(dict.fromkeys(self.procedures))
        main = self._main(principal, procedures)
        age = self._number("age")
        weight = f"{self.scheme.settings.newborn_weight}_weight"
        cost = self._number_of_fen()
        case = _Case(
            principal,
            others,
            procedures,
            main,
            self._treatment(main, procedures),
            {
                Fact.AGE: age,
                Fact.AGE_DAYS: self._number("age_days") if age == 0 else None,
                Fact.WEIGHT: self._number(weight),
                Fact.LOS: self._number("los"),
                Fact.ICU_HOURS: self._number("icu_hours"),
            },
            cost,
            frozenset(),
            "",
        )
        held = frozenset(n for n in self.scheme.tables.conditions if self._condition(n, case))
        return replace(case, conditions=held, first_other=self._first_other(case))

    def _number_of_fen(self) -> int | None:
        value = self.case.get("total_cost_fen")
        return value if isinstance(value, int) and 0 <= value < 10**13 else None

    def _may_be_main(self, code: str, principal: str) -> bool | None:
        """Tell whether a procedure may be main; None = the next one takes its place."""
        rule = self.scheme.tables.not_main.get(code)
        if rule is None:
            return True
        if rule.handling == "conservative":
            return False
        if rule.handling == "main_only_with" and _meets(rule.diagnoses, principal):
            return True
        return None if self.scheme.profile.not_main == "promote_next" else False

    def _main(self, principal: str, procedures: Sequence[str]) -> str:
        for code in procedures:
            verdict = self._may_be_main(code, principal)
            if verdict is not None:
                return code if verdict else ""
        return ""

    def _treatment(self, main: str, procedures: Sequence[str]) -> str:
        s = self.scheme.settings
        if not main:
            return CONSERVATIVE
        names = [t.id for t in s.treatment]
        each = procedures if self.scheme.profile.mixed_class_by == "highest_of_all" else [main]
        return names[max(names.index(self._treatment_of(c)) for c in each)]

    def _treatment_of(self, code: str) -> str:
        classes = self.scheme.tables.classes
        kind = classes.get(code)
        for n in range(len(code), 0, -1):
            kind = kind or classes.get(f"{code[:n]}*")
        of = {c: t.id for t in self.scheme.settings.treatment for c in t.classes}
        return of.get(kind or "", self.scheme.settings.unclassed)

    def _condition(self, name: str, c: _Case) -> bool:
        for side, keys in self.scheme.tables.conditions[name]:
            codes = {
                "principal": [c.principal],
                "other": c.others,
                "diagnosis": [c.principal, *c.others],
                "main": [c.main] if c.main else [],
                "procedure": c.procedures,
            }[side]
            test = self._px_meets if side in ("main", "procedure") else _meets
            if any(test(keys, code) for code in codes):
                return True
        return False

    def _px_meets(self, keys: frozenset[str], code: str) -> bool:
        n = self.scheme.profile.procedure_prefix_length
        return code in keys or bool(n and any(len(k) == n and code.startswith(k) for k in keys))

    def _first_other(self, c: _Case) -> str:
        lists = [g.other for g in self._candidates(c) if g.first_other and g.other]
        return next((x for x in c.others if any(_meets(keys, x) for keys in lists)), "")

    def _candidates(self, c: _Case) -> Iterator[DipGroup]:
        return (g for g in self.scheme.groups if _meets(g.principal, c.principal))

    # -------------------------------------------------------------------------------- the rows

    def _try(self, g: DipGroup, c: _Case) -> _Row:
        """Test every condition of a group."""
        seen = [AtomTrace(f"principal in {_text(g.principal)}", True, (spelled(c.principal),))]
        terms, atoms = self._procedures(g, c)
        seen += atoms
        for dnf, name in ((g.anywhere, "any_procedures"),):
            if dnf:
                size, used = self._alternatives(dnf, c.procedures)
                seen.append(AtomTrace(f"{name} {_dnf_text(dnf)}", size > 0, used))
                terms += size
        if g.other:
            among = c.others if not g.first_other else [c.first_other] if c.first_other else []
            hits = tuple(spelled(x) for x in among if _meets(g.other, x))
            first = "first listed " if g.first_other else ""
            seen.append(AtomTrace(f"{first}other diagnosis in {_text(g.other)}", bool(hits), hits))
            terms += 1
        if g.any_diagnosis:
            codes = (c.principal, *c.others)
            hits = tuple(spelled(x) for x in codes if _meets(g.any_diagnosis, x))
            seen.append(AtomTrace(f"any diagnosis in {_text(g.any_diagnosis)}", bool(hits), hits))
            terms += 1
        for fact, low, high in g.ranges:
            value = c.facts[fact]
            held = value is not None and low <= value <= high
            cell = g.cells[COLUMN_OF[fact]]
            seen.append(AtomTrace(f"{COLUMN_OF[fact]} {cell}", held, (str(value),)))
        for name in g.requires:
            seen.append(AtomTrace(f"condition {name}", name in c.conditions))
            terms += 1
        for name in g.forbids:
            seen.append(AtomTrace(f"not condition {name}", name not in c.conditions))
        if g.for_treatment:
            text = f"treatment in {'|'.join(g.for_treatment)}"
            seen.append(AtomTrace(text, c.treatment in g.for_treatment, (c.treatment,)))
        held = all(a.holds for a in seen)
        return _Row(g, tuple(seen), terms if held else None)

    def _procedures(self, g: DipGroup, c: _Case) -> tuple[int, list[AtomTrace]]:
        """Test main and related procedures; return how many terms they make."""
        anywhere = self.scheme.profile.main_position == "any"
        main = (spelled(c.main),) if c.main else ()
        if not g.main:
            seen = []
            if g.main is not None:
                free = self.scheme.profile.empty_main == "any_case" or not c.main
                seen.append(AtomTrace("no main procedure", free, main))
            among = [p for p in c.procedures if anywhere or p != c.main]
            return self._related(g, among, 0, seen)
        text = f"main procedure in {_text(g.main)}"
        if not anywhere:
            held = bool(c.main) and self._px_meets(g.main, c.main)
            among = [p for p in c.procedures if p != c.main]
            return self._related(g, among, 1, [AtomTrace(text, held, main)])
        best: tuple[int, list[AtomTrace]] | None = None
        for code in c.procedures:
            if not self._px_meets(g.main, code) or self._may_be_main(code, c.principal) is not True:
                continue
            among = [p for p in c.procedures if p != code]
            found = self._related(g, among, 1, [AtomTrace(text, True, (spelled(code),))])
            rank = (all(a.holds for a in found[1]), found[0])
            if best is None or rank > (all(a.holds for a in best[1]), best[0]):
                best = found
        return best or (0, [AtomTrace(text, False, tuple(map(spelled, c.procedures)))])

    def _related(
        self, g: DipGroup, among: Sequence[str], terms: int, seen: list[AtomTrace]
    ) -> tuple[int, list[AtomTrace]]:
        if not g.related:
            return terms, seen
        size, used = self._alternatives(g.related, among)
        return terms + size, [*seen, AtomTrace(f"related {_dnf_text(g.related)}", size > 0, used)]

    def _alternatives(self, dnf: Alternatives, among: Sequence[str]) -> tuple[int, tuple[str, ...]]:
        """Return the size of the largest alternative that is met, 0 = none, and what met it."""
        for alternative in sorted(dnf, key=len, reverse=True):
            used = [next((p for p in among if self._px_meets(keys, p)), "") for keys in alternative]
            if all(used):
                return len(alternative), tuple(map(spelled, used))
        return 0, ()

    # ---------------------------------------------------------------------------- the comparators

    def _value(self, comparator: Comparator, row: _Row, c: _Case) -> Any:
        """Return a comparator's value; the highest is the best."""
        g = row.group
        matched = [p for p in c.procedures if self._px_meets(g.listed, p)]
        match comparator:
            case Comparator.MORE_REQUIRED_TERMS:
                return row.terms
            case Comparator.MORE_MATCHED_PROCEDURES:
                return len(matched)
            case Comparator.EXACT_SET:
                return int(len(matched) == len(c.procedures))
            case Comparator.MAIN_PROCEDURE_IN_GROUP:
                return int(bool(c.main) and self._px_meets(g.listed, c.main))
            case Comparator.HIGHEST_SCORE:
                return Fraction(-1) if g.score is None else g.score
            case Comparator.NEAREST_MEAN_COST:
                if c.cost is None:
                    return 0
                return NEVER if g.mean_fen is None else -abs(g.mean_fen - c.cost)
            case Comparator.FULL_CODE_BEFORE_PREFIX:
                return int(self._in_full(g, c))
            case Comparator.CLASS_RANK:
                ranks = self.scheme.profile.class_rank
                name = f"{g.kind} {g.treatment}"
                return -(ranks.index(name) if name in ranks else len(ranks))
            case _:
                return -g.line

    def _in_full(self, g: DipGroup, c: _Case) -> bool:
        if not _keys(g.principal).of(c.principal)[1]:
            return False
        n = self.scheme.profile.procedure_prefix_length
        short = [k for k in g.listed if n and len(k) == n]
        return not any(p != k and p.startswith(k) for k in short for p in c.procedures)

    def _choose(
        self, rows: Sequence[_Row], stage: int, c: _Case
    ) -> tuple[_Row, str, list[NextGroup]]:
        """Return the best row, the comparator that left it alone, and those that lost."""
        left = list(rows)
        decided, lost = "", []
        named = self.scheme.profile.stage[stage].comparators
        for name in dict.fromkeys((*named, "code_order")):
            if len(left) == 1:
                break
            values = [self._value(COMPARATORS[name], r, c) for r in left]
            best = max(values)
            for row, value in zip(left, values, strict=True):
                if value != best:
                    lost.append(_lost(row.group, f"{name}: {_plain(value)} < {_plain(best)}"))
            left = [r for r, v in zip(left, values, strict=True) if v == best]
            decided = name
        return left[0], decided, lost

    def _only_mixed(self, held: Sequence[_Row], c: _Case) -> Sequence[_Row]:
        """Leave the mixed groups of an unmatched case, where the profile says so."""
        if self.scheme.profile.unmatched_surgery != c.treatment:
            return held
        mixed = [r for r in held if r.group.kind == "mixed" and r.group.treatment == c.treatment]
        matched = any(
            self._px_meets(r.group.listed, p)
            for r in held
            if r.group.kind != "mixed"
            for p in c.procedures
        )
        return mixed if mixed and not matched else held

    # ----------------------------------------------------------------------------------- the answer

    def trace(self, near: int = 0) -> Trace:
        if reason := self._rejection():
            return self._answer(Status.REJECTED, reason)
        c = self._seen()
        if c.principal in self.scheme.tables.excluded:
            return self._answer(Status.UNGROUPED, "excluded_principal", c)
        rows = [self._try(g, c) for g in self._candidates(c)]
        trace = self._among(rows, c)
        return replace(trace, near_misses=_nearest(rows, near))

    def _among(self, rows: Sequence[_Row], c: _Case) -> Trace:
        """Choose among the groups whose principal diagnosis the case has."""
        tried = tuple(map(self._tried, rows))
        for k, stage in enumerate(self.scheme.profile.stage):
            held = [r for r in rows if r.terms is not None and r.group.kind in stage.classes]
            if held:
                best, decided, lost = self._choose(self._only_mixed(held, c), k, c)
                others = [r for r in rows if r.terms is None]
                return self._answer(
                    Status.GROUPED, "", c, best, decided, tried, (*lost, *map(_failed, others))
                )
        failed = tuple(map(_failed, rows))
        return self._answer(Status.UNGROUPED, "no_group", c, tried=tried, following=failed)

    @staticmethod
    def _tried(row: _Row) -> RuleTrace:
        g = row.group
        text = " and ".join(a.condition for a in row.conditions)
        return RuleTrace(
            "groups.csv", g.line, g.code, g.name, text, row.terms is not None, row.conditions
        )

    def _subtype(self, g: DipGroup, c: _Case) -> tuple[str, str]:
        """Return the auxiliary type with the highest coefficient, and that."""
        own = {s.type: s for s in self.scheme.tables.subtypes.get("*", ())}
        own |= {s.type: s for s in self.scheme.tables.subtypes.get(g.code, ())}
        best = ("", Fraction(-1))
        columns = ("age", "age_days", "weight", "los", "icu_hours")
        for t in self.scheme.settings.auxiliary:
            facts = {f: n for f, n in COLUMN_OF.items() if n in columns and getattr(t, n)}
            ranges = [fact_range(f, getattr(t, n), "", 0) for f, n in facts.items()]
            values = [(c.facts[f], low, high) for f, low, high in ranges]
            held = all(v is not None and low <= v <= high for v, low, high in values)
            mode = self.case.get("discharge_mode")
            held = held and (not t.discharge_mode or mode in t.discharge_mode)
            first = frozenset(map(normal, t.principal))
            held = held and (not first or _meets(first, c.principal))
            others = frozenset(map(normal, t.other_diagnoses))
            held = held and (not others or any(_meets(others, x) for x in c.others))
            held = held and set(t.requires) <= c.conditions
            if held and t.id in own and own[t.id].coefficient > best[1]:
                best = (t.id, own[t.id].coefficient)
        return best[0], str(float(best[1])) if best[0] else ""

    def _answer(
        self,
        status: Status,
        reason: str,
        c: _Case | None = None,
        row: _Row | None = None,
        decided: str = "",
        tried: Sequence[RuleTrace] = (),
        following: Sequence[NextGroup] = (),
    ) -> Trace:
        g = row.group if row else None
        aux_type, aux_factor = self._subtype(g, c) if g and c else ("", "")
        facts = {COLUMN_OF[f]: v for f, v in c.facts.items() if v is not None} if c else {}
        return Trace(
            case_id=str(self.case.get("case_id") or ""),
            scheme=self.scheme.id,
            scheme_fingerprint=self.scheme.fingerprint,
            status=status.name.lower(),
            reason=reason,
            mdc="",
            adrg="",
            group=g.code if g else "",
            group_name=g.name if g else "",
            severity="",
            rule=f"groups.csv:{g.line}" if g else "",
            codes=tuple(self.code_traces),
            facts=facts,
            tried=tuple(tried),
            next_groups=tuple(following[:NEXT]),
            group_class=g.kind if g else "",
            treatment=c.treatment if c else "",
            decided_by=decided,
            matched_terms=row.terms if row else None,
            main_procedure=spelled(c.main) if c else "",
            aux_type=aux_type,
            aux_factor=aux_factor,
        )


def _lost(g: DipGroup, why: str) -> NextGroup:
    return NextGroup("", g.code, g.name, f"groups.csv:{g.line}", why)


def _failed(row: _Row) -> NextGroup:
    return _lost(row.group, next((a.condition for a in row.conditions if not a.holds), ""))


def _nearest(rows: Sequence[_Row], most: int) -> tuple[NearMiss, ...]:
    """List the groups that lack fewest conditions; a catalogue's row is met by all of them."""
    lacking = [(row.group, [a.condition for a in row.conditions if not a.holds]) for row in rows]
    found = sorted((x for x in lacking if x[1]), key=lambda x: (len(x[1]), x[0].line))
    return tuple(
        NearMiss("", g.code, g.name, f"groups.csv:{g.line}", tuple(missing), (), "")
        for g, missing in found[:most]
    )


def _text(keys: frozenset[str]) -> str:
    return "|".join(sorted(map(spelled, keys)))


def _dnf_text(dnf: Alternatives) -> str:
    return "|".join("+".join(_text(keys) for keys in alternative) for alternative in dnf)


def _plain(value: Any) -> str:
    return "none" if value == NEVER else str(float(value) if isinstance(value, Fraction) else value)
