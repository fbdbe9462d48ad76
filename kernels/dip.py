"""The DIP kernel: one for every catalogue and profile, driven by the arrays of `DipArrays`.

For a case: find its main procedure and treatment, run through the candidates of its principal
diagnosis, stage by stage; of those that hold keep the best by the stage's comparators, whose values
are integers worked out for candidates that hold and only as far as they are needed. The first stage
in which a group holds decides. Auxiliary types come last.
"""

from __future__ import annotations

import numpy as np

from grouper.kernels._jit import kernel
from grouper.kernels.drg import has_bit
from grouper.tables._types import (
    BLANK_CODE,
    I32,
    I64,
    MISSING,
    NO_MAIN,
    REPEATED_CODE,
    UNKNOWN_CODE,
    CodeFlag,
    Comparator,
    DipArrays,
    DipCases,
    DipGroupArrays,
    DipOption,
    Fact,
    Int,
    Reason,
    Status,
    Warn,
)

AGE, AGE_DAYS, WEIGHT = int(Fact.AGE), int(Fact.AGE_DAYS), int(Fact.WEIGHT)
SEX, MODE = int(Fact.SEX), int(Fact.DISCHARGE_MODE)
EXCLUDED, GREY = int(CodeFlag.EXCLUDED), int(CodeFlag.GREY)
CONSERVATIVE, NOT_MAIN = int(CodeFlag.CONSERVATIVE), int(CodeFlag.NOT_MAIN)
MAIN_ONLY_WITH, OPEN = int(CodeFlag.MAIN_ONLY_WITH), int(CodeFlag.OPEN)
MAIN_ANY, EMPTY_ANY = int(DipOption.MAIN_ANY), int(DipOption.EMPTY_MAIN_ANY)
PROMOTE, HIGHEST = int(DipOption.PROMOTE_NEXT), int(DipOption.HIGHEST_OF_ALL)
UNCLASSED, UNMATCHED = int(DipOption.UNCLASSED), int(DipOption.UNMATCHED)
ANY_CODE, HAS_CONDITIONS = int(DipOption.ANY_CODE), int(DipOption.HAS_CONDITIONS)
REQUIRED, MATCHED = int(Comparator.MORE_REQUIRED_TERMS), int(Comparator.MORE_MATCHED_PROCEDURES)
EXACT, MAIN_IN = int(Comparator.EXACT_SET), int(Comparator.MAIN_PROCEDURE_IN_GROUP)
SCORE, NEAREST = int(Comparator.HIGHEST_SCORE), int(Comparator.NEAREST_MEAN_COST)
FULL, RANK = int(Comparator.FULL_CODE_BEFORE_PREFIX), int(Comparator.CLASS_RANK)
ORDER = int(Comparator.CODE_ORDER)
GROUPED, UNGROUPED, REJECTED = int(Status.GROUPED), int(Status.UNGROUPED), int(Status.REJECTED)
R_NO_PRINCIPAL = int(Reason.NO_PRINCIPAL_DIAGNOSIS)
R_UNKNOWN, R_EXCLUDED = int(Reason.UNKNOWN_PRINCIPAL), int(Reason.EXCLUDED_PRINCIPAL)
R_NO_GROUP = int(Reason.NO_GROUP)
W_SEX, W_SECONDARY = int(Warn.SEX_MISSING), int(Warn.UNKNOWN_SECONDARY)
W_PROCEDURE, W_GREY_PDX = int(Warn.UNKNOWN_PROCEDURE), int(Warn.GREY_PRINCIPAL)
W_GREY_SDX, W_GREY_PX = int(Warn.GREY_SECONDARY), int(Warn.GREY_PROCEDURE)
W_TWICE, W_PRINCIPAL = int(Warn.DUPLICATE_SECONDARY), int(Warn.PRINCIPAL_AS_SECONDARY)
W_WEIGHT, W_MAIN = int(Warn.NEWBORN_WEIGHT), int(Warn.MAIN_EXCLUDED)
W_UNCLASSED = int(Warn.UNCLASSED_PROCEDURE)
NEWBORN_DAYS, LEAST_GRAMS, MOST_GRAMS = 29, 200, 20_000
FAR = 2**62
OPEN_SEEN = 1 << 30


@kernel(inline=True)
def dx_meets(code: int, term: int, c: DipCases, s: DipArrays) -> bool:
    """Tell whether a diagnosis id meets a term."""
    return has_bit(s.dx_member, c.dx_class[code + 1], term)


@kernel(inline=True)
def px_meets(code: int, term: int, c: DipCases, s: DipArrays) -> bool:
    """Tell whether a procedure id meets a term; blanked repeats are skipped by the caller."""
    return has_bit(s.px_member, c.px_class[code + 1], term)


@kernel(inline=True)
def other_meets(i: int, term: int, c: DipCases, s: DipArrays) -> bool:
    """Tell whether an other diagnosis of case `i` meets a term."""
    start = c.dx_off[i]
    for k in range(start + 1, c.dx_off[i + 1]):
        if c.dx[k] >= 0 and c.dx[k] != c.dx[start] and dx_meets(c.dx[k], term, c, s):
            return True
    return False


@kernel(inline=True)
def any_px_meets(i: int, skip: int, term: int, c: DipCases, s: DipArrays) -> bool:
    """Tell whether a procedure of case `i` at another place than `skip` meets a term."""
    for k in range(c.px_off[i], c.px_off[i + 1]):
        if k != skip and c.px[k] != REPEATED_CODE and px_meets(c.px[k], term, c, s):
            return True
    return False


@kernel(inline=True)
def may_be_main(i: int, code: int, c: DipCases, s: DipArrays) -> Int:
    """Return 1 if a procedure may be the main one, 0 if it counts as none, -1 if it gives way."""
    group = c.px_class[code + 1]
    flags = s.px_flags[group]
    if flags & CONSERVATIVE:
        return 0
    if flags & MAIN_ONLY_WITH and dx_meets(c.dx[c.dx_off[i]], s.px_with[group], c, s):
        return 1
    if flags & (NOT_MAIN | MAIN_ONLY_WITH):
        return -1 if s.options[PROMOTE] else 0
    return 1


@kernel(inline=True)
def main_procedure(i: int, c: DipCases, s: DipArrays) -> Int:
    """Return the place of the main procedure in `px`, -1 = none (conservative)."""
    for k in range(c.px_off[i], c.px_off[i + 1]):
        if c.px[k] == REPEATED_CODE:
            continue
        verdict = may_be_main(i, c.px[k], c, s)
        if verdict >= 0:
            return k if verdict == 1 else -1
    return -1


@kernel(inline=True)
def treatment_of(code: int, c: DipCases, s: DipArrays) -> Int:
    """Return the treatment of a procedure."""
    found = s.px_treatment[c.px_class[code + 1]]
    return found if found >= 0 else s.options[UNCLASSED]


@kernel(inline=True)
def case_treatment(i: int, main: int, c: DipCases, s: DipArrays) -> Int:
    """Return the treatment of a case; 0 is conservative."""
    if main < 0:
        return 0
    if not s.options[HIGHEST]:
        return treatment_of(c.px[main], c, s)
    best = 0
    for k in range(c.px_off[i], c.px_off[i + 1]):
        if c.px[k] != REPEATED_CODE:
            best = max(best, treatment_of(c.px[k], c, s))
    return best


@kernel(inline=True)
def alternatives_met(i: int, start: int, stop: int, skip: int, c: DipCases, s: DipArrays) -> Int:
    """Return the size of the first (largest) alternative that procedures meet, 0 = none."""
    for a in range(start, stop):
        met = True
        for t in range(s.alt_off[a], s.alt_off[a + 1]):
            if not any_px_meets(i, skip, s.alt_term[t], c, s):
                met = False
                break
        if met:
            return s.alt_off[a + 1] - s.alt_off[a]
    return 0


@kernel(inline=True)
def facts_hold(i: int, start: int, stop: int, tests: I32, c: DipCases) -> bool:
    """Run tests of facts; a missing fact fails."""
    for t in range(start, stop):
        x = c.facts[i, tests[t, 0]]
        if x == MISSING or x < tests[t, 1] or x > tests[t, 2]:
            return False
    return True


@kernel(inline=True)
def conditions_of(i: int, main: int, c: DipCases, s: DipArrays) -> Int:
    """Return the named conditions that hold, as bits."""
    bits: Int = 0
    for t in range(len(s.condition_tests)):
        bit = 1 << np.int64(s.condition_tests[t, 0])
        side, term = s.condition_tests[t, 1], s.condition_tests[t, 2]
        if bits & bit:
            continue
        if side == 3:
            met = main >= 0 and px_meets(c.px[main], term, c, s)
        elif side == 4:
            met = any_px_meets(i, -1, term, c, s)
        else:
            met = side != 1 and dx_meets(c.dx[c.dx_off[i]], term, c, s)
            met = met or (side != 0 and other_meets(i, term, c, s))
        if met:
            bits |= bit
    return bits


@kernel(inline=True)
def first_listed(i: int, start: int, stop: int, c: DipCases, s: DipArrays) -> Int:
    """Return the place of the first other diagnosis that a `first_other` candidate lists, or -1."""
    begin = c.dx_off[i]
    for k in range(begin + 1, c.dx_off[i + 1]):
        if c.dx[k] < 0 or c.dx[k] == c.dx[begin]:
            continue
        for j in range(start, stop):
            g = s.cand[j]
            if s.first_other[g] and s.other[g] >= 0 and dx_meets(c.dx[k], s.other[g], c, s):
                return k
    return -1


@kernel(inline=True)
def main_fits(wants: int, main: int, c: DipCases, s: DipArrays) -> bool:
    """Tell whether the main procedure alone rules a candidate out; most fall here."""
    if wants >= 0 and not s.options[MAIN_ANY]:
        return main >= 0 and px_meets(c.px[main], wants, c, s)
    return not (wants == NO_MAIN and main >= 0 and not s.options[EMPTY_ANY])


@kernel(inline=True)
def related_size(i: int, g: int, main: int, c: DipCases, s: DipArrays) -> Int:
    """Return how many main and related terms of group `g` are met, -1 = they are not all."""
    wants, start, stop = s.main[g], s.alt[g, 0], s.alt[g, 1]
    anywhere = s.options[MAIN_ANY] != 0
    if wants < 0:
        if not main_fits(wants, main, c, s):
            return -1
        if start == stop:
            return 0
        skip = -1 if anywhere else main
        size = alternatives_met(i, start, stop, skip, c, s)
        return size if size > 0 else -1
    if not anywhere:
        if not main_fits(wants, main, c, s):
            return -1
        if start == stop:
            return 1
        size = alternatives_met(i, start, stop, main, c, s)
        return size + 1 if size > 0 else -1
    best = -1
    for k in range(c.px_off[i], c.px_off[i + 1]):
        code = c.px[k]
        if code == REPEATED_CODE or not px_meets(code, wants, c, s):
            continue
        if may_be_main(i, code, c, s) != 1:
            continue
        if start == stop:
            return 1
        size = alternatives_met(i, start, stop, k, c, s)
        if size > 0:
            best = max(best, size + 1)
    return best


@kernel(inline=True)
def required_terms(
    i: int,
    g: int,
    main: int,
    treatment: Int,
    conditions: Int,
    first: int,
    c: DipCases,
    s: DipArrays,
) -> Int:
    """Return the number of required terms that case `i` meets in group `g`, -1 = it does not hold.

    Tests come in the order of their cost and of how often they fail.
    """
    terms = related_size(i, g, main, c, s)
    if terms < 0:
        return -1
    if s.treatments[g] != 0 and not (s.treatments[g] >> np.int64(treatment)) & 1:
        return -1
    if not facts_hold(i, s.test_off[g], s.test_off[g + 1], s.tests, c):
        return -1
    if s.alt[g, 2] < s.alt[g, 3]:
        size = alternatives_met(i, s.alt[g, 2], s.alt[g, 3], -1, c, s)
        if size == 0:
            return -1
        terms += size
    if s.other[g] >= 0:
        if s.first_other[g]:
            if first < 0 or not dx_meets(c.dx[first], s.other[g], c, s):
                return -1
        elif not other_meets(i, s.other[g], c, s):
            return -1
        terms += 1
    if s.any_dx[g] >= 0:
        principal = c.dx[c.dx_off[i]]
        if not dx_meets(principal, s.any_dx[g], c, s) and not other_meets(i, s.any_dx[g], c, s):
            return -1
        terms += 1
    wanted = s.requires[g]
    if wanted & conditions != wanted or s.forbids[g] & conditions != 0:
        return -1
    while wanted != 0:
        wanted &= wanted - 1
        terms += 1
    return terms


@kernel(inline=True)
def matched_procedures(i: int, g: int, c: DipCases, s: DipArrays) -> Int:
    """Count the procedures of case `i` among the keys of group `g`."""
    n = 0
    if s.listed[g] >= 0:
        for k in range(c.px_off[i], c.px_off[i + 1]):
            if c.px[k] != REPEATED_CODE and px_meets(c.px[k], s.listed[g], c, s):
                n += 1
    return n


@kernel(inline=True)
def count_procedures(i: int, c: DipCases) -> Int:
    """Count the distinct procedures of case `i`."""
    n = 0
    for k in range(c.px_off[i], c.px_off[i + 1]):
        if c.px[k] != REPEATED_CODE:
            n += 1
    return n


@kernel(inline=True)
def is_full(i: int, g: int, full: int, c: DipCases, s: DipArrays) -> Int:
    """Return 1 if neither the principal nor a listed procedure needed a prefix."""
    if not full:
        return 0
    if s.listed[g] >= 0:
        for k in range(c.px_off[i], c.px_off[i + 1]):
            if c.px[k] != REPEATED_CODE and has_bit(
                s.px_part, c.px_class[c.px[k] + 1], s.listed[g]
            ):
                return 0
    return 1


@kernel(inline=True)
def value_of(
    comparator: int, i: int, g: int, full: int, terms: int, main: int, c: DipCases, s: DipArrays
) -> Int:
    """Return the value of a comparator for a group that holds; the highest is the best."""
    if comparator == REQUIRED:
        return terms
    if comparator == MATCHED:
        return matched_procedures(i, g, c, s)
    if comparator == EXACT:
        return 1 if matched_procedures(i, g, c, s) == count_procedures(i, c) else 0
    if comparator == MAIN_IN:
        held = main >= 0 and s.listed[g] >= 0 and px_meets(c.px[main], s.listed[g], c, s)
        return 1 if held else 0
    if comparator == SCORE:
        return s.score[g]
    if comparator == NEAREST:
        if c.cost[i] < 0:
            return 0
        return -abs(s.mean_fen[g] - c.cost[i]) if s.mean_fen[g] >= 0 else -FAR
    if comparator == FULL:
        return is_full(i, g, full, c, s)
    if comparator == RANK:
        return -np.int64(s.rank[g])
    return -np.int64(g)


@kernel(inline=True)
def only_mixed(
    i: int,
    start: int,
    stop: int,
    main: int,
    treatment: Int,
    conditions: Int,
    first: int,
    c: DipCases,
    s: DipArrays,
) -> bool:
    """Tell whether an unmatched case of this treatment goes to the mixed groups of the stage."""
    has_mixed = False
    for j in range(start, stop):
        g = s.cand[j]
        if s.mixed[g] >= 0 and s.mixed[g] != treatment:
            continue
        if required_terms(i, g, main, treatment, conditions, first, c, s) >= 0:
            if s.mixed[g] >= 0:
                has_mixed = True
            elif matched_procedures(i, g, c, s) > 0:
                return False
    return has_mixed


@kernel(inline=True)
def choose(
    i: int,
    start: int,
    stop: int,
    main: int,
    c: DipCases,
    s: DipArrays,
    out: DipGroupArrays,
    best: I64,
) -> None:
    """Write the best group among the candidates start … stop-1 of case `i`, if one holds.

    `best` is scratch [9]: the values of the best group so far, by place of the comparator.
    """
    treatment = np.int64(out.treatment[i])
    conditions = conditions_of(i, main, c, s) if s.options[HAS_CONDITIONS] else 0
    first, first_known = -1, False
    stage, stage_stop, mixed_only = -1, start, False
    winner, decided = -1, -1
    for j in range(start, stop):
        if not main_fits(s.cand_main[j], main, c, s):
            continue
        g = s.cand[j]
        if s.stage[g] != stage:
            if winner >= 0:
                break  # the stage that has a group decides
            stage, mixed_only = s.stage[g], False
            if s.options[UNMATCHED] == treatment:
                stage_stop = j
                while stage_stop < stop and s.stage[s.cand[stage_stop]] == stage:
                    stage_stop += 1
                if not first_known:
                    first, first_known = first_listed(i, start, stop, c, s), True
                mixed_only = only_mixed(i, j, stage_stop, main, treatment, conditions, first, c, s)
        if s.first_other[g] and not first_known:
            first, first_known = first_listed(i, start, stop, c, s), True
        if mixed_only and s.mixed[g] != treatment:
            continue
        terms = required_terms(i, g, main, treatment, conditions, first, c, s)
        if terms < 0:
            continue
        full = s.cand_full[j]
        won, differs = winner < 0, -1
        for k in range(s.comparators.shape[1]):
            comparator = s.comparators[stage, k]
            value = value_of(comparator, i, g, full, terms, main, c, s)
            if not won and value != best[k]:
                differs = k
                if value < best[k]:
                    break
                won = True
            if won:
                best[k] = value
            if comparator == ORDER:
                break
        if won:
            winner, decided = g, differs
            out.group[i], out.terms[i] = g, terms
        else:
            decided = max(decided, differs)
    if decided >= 0:
        out.decided[i] = s.comparators[stage, decided]


@kernel(inline=True)
def warnings_of(i: int, main: int, c: DipCases, s: DipArrays) -> Int:
    """Return the warning bits that the codes and facts of case `i` call for, and OPEN_SEEN.

    OPEN_SEEN: some group for any principal asks for one of its codes.
    """
    start, stop = c.dx_off[i], c.dx_off[i + 1]
    principal = c.dx[start]
    seen = s.dx_flags[c.dx_class[principal + 1]]
    warn = W_GREY_PDX if seen & GREY else 0
    for k in range(start + 1, stop):
        code = c.dx[k]
        if code == REPEATED_CODE:
            warn |= W_TWICE
        elif code == UNKNOWN_CODE:
            warn |= W_SECONDARY
        elif code >= 0:
            flags = s.dx_flags[c.dx_class[code + 1]]
            seen |= flags
            if flags & GREY:
                warn |= W_GREY_SDX
            if code == principal:
                warn |= W_PRINCIPAL
    for k in range(c.px_off[i], c.px_off[i + 1]):
        code = c.px[k]
        if code == REPEATED_CODE:
            continue
        group = c.px_class[code + 1]
        if code == UNKNOWN_CODE:
            warn |= W_PROCEDURE
        seen |= s.px_flags[group]
        if s.px_flags[group] & GREY:
            warn |= W_GREY_PX
        if s.px_treatment[group] < 0:
            warn |= W_UNCLASSED
    if c.px_off[i] < c.px_off[i + 1] and main != c.px_off[i]:
        warn |= W_MAIN
    if c.facts[i, SEX] == MISSING:
        warn |= W_SEX
    grams = c.facts[i, WEIGHT]
    newborn = c.facts[i, AGE] == 0 and c.facts[i, AGE_DAYS] < NEWBORN_DAYS
    if newborn and grams != MISSING and (grams < LEAST_GRAMS or grams > MOST_GRAMS):
        warn |= W_WEIGHT
    return warn | OPEN_SEEN if seen & OPEN else warn


@kernel(inline=True)
def auxiliary_of(i: int, g: int, main: int, c: DipCases, s: DipArrays) -> Int:
    """Return the entry of the highest coefficient whose type holds for case `i`, -1 = none."""
    if s.aux_off[g] == s.aux_off[g + 1]:
        return -1
    conditions = conditions_of(i, main, c, s) if s.options[HAS_CONDITIONS] else 0
    best = -1
    for e in range(s.aux_off[g], s.aux_off[g + 1]):
        if best >= 0 and s.aux_factor[e] <= s.aux_factor[best]:
            continue
        t = s.aux_type[e]
        if not facts_hold(i, s.aux_test_off[t], s.aux_test_off[t + 1], s.aux_tests, c):
            continue
        if s.aux_modes[t] != 0:
            mode = c.facts[i, MODE]
            if mode == MISSING or not (s.aux_modes[t] >> np.int64(mode)) & 1:
                continue
        if s.aux_dx[t, 0] >= 0 and not dx_meets(c.dx[c.dx_off[i]], s.aux_dx[t, 0], c, s):
            continue
        if s.aux_dx[t, 1] >= 0 and not other_meets(i, s.aux_dx[t, 1], c, s):
            continue
        if s.aux_requires[t] & conditions == s.aux_requires[t]:
            best = e
    return best


@kernel(inline=True)
def group_case(i: int, c: DipCases, s: DipArrays, out: DipGroupArrays, best: I64) -> None:
    """Group one case; every exit sets its status."""
    out.group[i], out.terms[i], out.decided[i] = -1, 0, -1
    out.reason[i], out.treatment[i], out.aux[i] = 0, 0, -1
    start = c.dx_off[i]
    reason = int(c.reject[i])
    if start == c.dx_off[i + 1] or c.dx[start] == BLANK_CODE:
        reason = R_NO_PRINCIPAL if reason == 0 else min(reason, R_NO_PRINCIPAL)
    elif reason == 0 and c.dx[start] < 0:
        reason = R_UNKNOWN
    if reason != 0:
        out.status[i], out.reason[i], out.warn[i] = REJECTED, reason, 0
        return
    main = main_procedure(i, c, s)
    warn = warnings_of(i, main, c, s)
    out.warn[i] |= np.uint32(warn & (OPEN_SEEN - 1))
    out.treatment[i] = case_treatment(i, main, c, s)
    out.status[i] = UNGROUPED
    principal = c.dx_class[c.dx[start] + 1]
    if s.dx_flags[principal] & EXCLUDED:
        out.reason[i] = R_EXCLUDED
        return
    begin = s.cand_off[principal]
    if not warn & OPEN_SEEN:
        begin += s.cand_open[principal]
    choose(i, begin, s.cand_off[principal + 1], main, c, s, out, best)
    if out.group[i] < 0:
        out.reason[i] = R_NO_GROUP
        return
    out.status[i] = GROUPED
    out.aux[i] = auxiliary_of(i, out.group[i], main, c, s)


@kernel()
def group_dip(
    c: DipCases, s: DipArrays, out: DipGroupArrays, best: I64, start: int, stop: int
) -> None:
    """Group cases start … stop-1 (分组); rows are independent, so ranges may run in threads.

    `best` is scratch [9] of the calling thread.
    """
    for i in range(start, stop):
        group_case(i, c, s, out, best)
