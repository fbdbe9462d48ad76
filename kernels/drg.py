"""The DRG kernel: one for every scheme, driven by the arrays of `DrgArrays`.

For a case: the class of the principal diagnosis and that of the principal procedure each bring a
mask of possible ADRG rows; the lowest bit of their AND is tried first. What the masks leave open is
a chain of tests (`holds`). The first ADRG row whose MDC and own rule hold and one of whose DRGs
holds is the answer. Severity is worked out once per case.
"""

from __future__ import annotations

import numpy as np

from grouper.kernels._jit import kernel
from grouper.tables._types import (
    ASK,
    BLANK_CODE,
    GREY_CODE,
    I32,
    MISSING,
    NO_DRG,
    REPEATED_CODE,
    TRUE,
    U64,
    UNKNOWN_CODE,
    CaseArrays,
    DrgArrays,
    Fact,
    GroupArrays,
    Int,
    Op,
    Option,
    Reason,
    Severity,
    Status,
    Warn,
)

ONE = np.uint64(1)
ZERO = np.uint64(0)

ZYZD, QTZD, ZYSS, QTSS = 1, 2, 4, 8
EQ, LT, LE, GT, GE = int(Op.EQ), int(Op.LT), int(Op.LE), int(Op.GT), int(Op.GE)
MEMBER, SEVERITY = int(Op.MEMBER), int(Op.SEVERITY)
AGE, AGE_DAYS, WEIGHT, SEX = int(Fact.AGE), int(Fact.AGE_DAYS), int(Fact.WEIGHT), int(Fact.SEX)
RETRY, ANY_CODE = int(Option.RETRY), int(Option.ANY_CODE)
GREY_UNGROUPED = int(Option.GREY_PRINCIPAL_UNGROUPED)
HAS_MCC, HAS_CC = 1, 2
NEWBORN_DAYS, LEAST_GRAMS, MOST_GRAMS = 29, 200, 20_000

GROUPED, UNGROUPED, REJECTED = int(Status.GROUPED), int(Status.UNGROUPED), int(Status.REJECTED)
NO_PRINCIPAL = int(Reason.NO_PRINCIPAL_DIAGNOSIS)
UNKNOWN_PRINCIPAL = int(Reason.UNKNOWN_PRINCIPAL)
R_GREY, R_NO_MDC, R_NO_ADRG = (
    int(Reason.GREY_PRINCIPAL),
    int(Reason.NO_MDC),
    int(Reason.NO_ADRG),
)
R_NO_DRG, R_REMAINDER = int(Reason.NO_DRG), int(Reason.REMAINDER)
S_NONE, S_CC, S_MCC = int(Severity.NONE), int(Severity.CC), int(Severity.MCC)
W_SEX, W_SECONDARY, W_PROCEDURE = (
    int(Warn.SEX_MISSING),
    int(Warn.UNKNOWN_SECONDARY),
    int(Warn.UNKNOWN_PROCEDURE),
)
W_GREY_PDX, W_GREY_SDX = int(Warn.GREY_PRINCIPAL), int(Warn.GREY_SECONDARY)
W_TWICE, W_PRINCIPAL = int(Warn.DUPLICATE_SECONDARY), int(Warn.PRINCIPAL_AS_SECONDARY)
W_WEIGHT, W_GREY_PX = int(Warn.NEWBORN_WEIGHT), int(Warn.GREY_PROCEDURE)


@kernel(inline=True)
def bit_index(word: np.uint64) -> int:
    """Return the position of the lowest set bit of a non-zero word."""
    n = 0
    for step in (32, 16, 8, 4, 2, 1):
        low = word & ((ONE << np.uint64(step)) - ONE)
        if low == ZERO:
            word = word >> np.uint64(step)
            n += step
    return n


@kernel(inline=True)
def has_bit(words: U64, row: int, bit: int) -> bool:
    """Tell whether bit `bit` of row `row` is set."""
    return bool((words[row, bit >> 6] >> np.uint64(bit & 63)) & ONE != ZERO)


@kernel(inline=True)
def class_of(code: int, s: DrgArrays) -> int:
    """Return the class of a code id; no, unknown and blanked codes (negative) are class 0."""
    return s.code_class[code + 1] if code >= 0 else 0


@kernel(inline=True)
def is_grey(code: int, s: DrgArrays) -> bool:
    """Tell whether a code id is a grey code 灰码."""
    return code >= 0 and s.is_grey[code + 1] != 0


@kernel(inline=True)
def compare(op: int, x: int, n: int) -> bool:
    """Compare a fact with a number; a missing fact is false."""
    if x == MISSING:
        return False
    if op == EQ:
        return x == n
    if op == LT:
        return x < n
    if op == LE:
        return x <= n
    if op == GT:
        return x > n
    return x >= n


@kernel(inline=True)
def any_member(ids: I32, start: int, stop: int, skip: int, bit: int, s: DrgArrays) -> bool:
    """Tell whether some code of ids[start:stop] other than `skip` has member bit `bit`."""
    for k in range(start, stop):
        code = ids[k]
        if code >= 0 and code != skip and has_bit(s.class_member, s.code_class[code + 1], bit):
            return True
    return False


@kernel(inline=True)
def count_members(ids: I32, start: int, stop: int, skip: int, bit: int, s: DrgArrays) -> int:
    """Count the codes of ids[start:stop] other than `skip` with member bit `bit`."""
    n = 0
    for k in range(start, stop):
        code = ids[k]
        if code >= 0 and code != skip and has_bit(s.class_member, s.code_class[code + 1], bit):
            n += 1
    return n


@kernel(inline=True)
def holds(
    node: int, i: int, px_start: int, px_stop: int, flags: int, c: CaseArrays, s: DrgArrays
) -> bool:
    """Run a rule for case `i` with the procedures px[px_start:px_stop] and severity `flags`."""
    dx_start, dx_stop = c.dx_off[i], c.dx_off[i + 1]
    principal = c.dx[dx_start]
    while node >= 0:
        op, sides, b = s.nodes[node, 0], s.nodes[node, 1], s.nodes[node, 2]
        if op <= GE:
            hit = compare(op, c.facts[i, sides], s.nodes[node, 4])
        elif op == SEVERITY:
            hit = flags & b != 0
        elif op == MEMBER:
            hit = False
            if sides & ZYZD:
                hit = has_bit(s.class_member, class_of(principal, s), b)
            if not hit and sides & QTZD:
                hit = any_member(c.dx, dx_start + 1, dx_stop, principal, b, s)
            if not hit and sides & ZYSS and px_start < px_stop:
                hit = any_member(c.px, px_start, px_start + 1, -1, b, s)
            if not hit and sides & QTSS:
                hit = any_member(c.px, px_start + 1, px_stop, -1, b, s)
        else:
            n = 0
            if sides & ZYZD:
                n += count_members(c.dx, dx_start, dx_start + 1, -1, b, s)
            if sides & QTZD:
                n += count_members(c.dx, dx_start + 1, dx_stop, principal, b, s)
            if sides & ZYSS and px_start < px_stop:
                last = px_stop if sides & QTSS else px_start + 1
                n += count_members(c.px, px_start, last, -1, b, s)
            elif sides & QTSS:
                n += count_members(c.px, min(px_start + 1, px_stop), px_stop, -1, b, s)
            hit = compare(s.nodes[node, 3], n, s.nodes[node, 4])
        node = s.nodes[node, 5] if hit else s.nodes[node, 6]
    return node == TRUE


@kernel(inline=True)
def severity_flags(i: int, c: CaseArrays, s: DrgArrays) -> int:
    """Return HAS_MCC | HAS_CC of the other diagnoses that the principal does not exclude."""
    start, stop = c.dx_off[i], c.dx_off[i + 1]
    principal = c.dx[start]
    excluded_by = class_of(principal, s)
    flags = 0
    for k in range(start + 1, stop):
        code = c.dx[k]
        if code < 0 or code == principal:
            continue
        group = s.code_class[code + 1]
        mcc, cc = s.class_mcc[group], s.class_cc[group]
        if mcc >= 0 and not has_bit(s.class_excluded, excluded_by, mcc):
            flags |= HAS_MCC
        if cc >= 0 and not has_bit(s.class_excluded, excluded_by, cc):
            flags |= HAS_CC
    return flags


@kernel(inline=True)
def code_warnings(i: int, c: CaseArrays, s: DrgArrays) -> int:
    """Return the warning bits that the codes and facts of case `i` call for."""
    start, stop = c.dx_off[i], c.dx_off[i + 1]
    principal = c.dx[start]
    warn = W_GREY_PDX if is_grey(principal, s) else 0
    for k in range(start + 1, stop):
        code = c.dx[k]
        if code < 0:
            if code == REPEATED_CODE:
                warn |= W_TWICE
            elif code == UNKNOWN_CODE and not s.options[ANY_CODE]:
                warn |= W_SECONDARY
            continue
        if is_grey(code, s):
            warn |= W_GREY_SDX
        if code == principal:
            warn |= W_PRINCIPAL
    for k in range(c.px_off[i], c.px_off[i + 1]):
        if c.px[k] == UNKNOWN_CODE and not s.options[ANY_CODE]:
            warn |= W_PROCEDURE
        if c.px[k] == GREY_CODE or is_grey(c.px[k], s):
            warn |= W_GREY_PX
    if c.facts[i, SEX] == MISSING:
        warn |= W_SEX
    grams = c.facts[i, WEIGHT]
    newborn = c.facts[i, AGE] == 0 and c.facts[i, AGE_DAYS] < NEWBORN_DAYS
    if newborn and grams != MISSING and (grams < LEAST_GRAMS or grams > MOST_GRAMS):
        warn |= W_WEIGHT
    return warn


@kernel(inline=True)
def pick_drg(
    row: int,
    i: int,
    px_start: int,
    px_stop: int,
    flags: int,
    c: CaseArrays,
    s: DrgArrays,
) -> Int:
    """Return the first DRG of an ADRG row whose rule holds, or NO_DRG."""
    drg = s.row_pick[row, flags]
    if drg != ASK:
        return drg
    for d in range(s.row_drg[row], s.row_drg[row + 1]):
        if holds(s.drg_rule[d], i, px_start, px_stop, flags, c, s):
            return d
    return NO_DRG


@kernel(inline=True)
def search(
    i: int, px_start: int, px_stop: int, flags: int, c: CaseArrays, s: DrgArrays, out: GroupArrays
) -> int:
    """Write the first group that matches; return 0, or R_NO_DRG when some ADRG held, or R_NO_MDC."""
    dx_class = class_of(c.dx[c.dx_off[i]], s)
    px_class = class_of(c.px[px_start], s) if px_start < px_stop else 0
    mdc, mdc_holds, failed = -1, False, R_NO_MDC
    for w in range(s.class_rows_dx.shape[1]):
        word = s.class_rows_dx[dx_class, w] & s.class_rows_px[px_class, w]
        while word != ZERO:
            row = (w << 6) + bit_index(word)
            word &= word - ONE
            if s.row_mdc[row] != mdc:
                mdc = s.row_mdc[row]
                rest = s.mdc_rest[mdc]
                mdc_holds = rest == TRUE or holds(rest, i, px_start, px_stop, flags, c, s)
            rest = s.row_rest[row]
            if mdc_holds and (rest == TRUE or holds(rest, i, px_start, px_stop, flags, c, s)):
                drg = pick_drg(row, i, px_start, px_stop, flags, c, s)
                if drg >= 0:
                    out.mdc[i], out.adrg[i], out.drg[i] = mdc, row, drg
                    out.status[i] = s.row_status[row]
                    if s.row_status[row] == UNGROUPED:
                        out.reason[i] = R_REMAINDER
                    return 0
                failed = R_NO_DRG
    return failed


@kernel(inline=True)
def group_case(i: int, c: CaseArrays, s: DrgArrays, out: GroupArrays) -> None:
    """Group one case; every exit sets its status."""
    out.mdc[i], out.adrg[i], out.drg[i] = -1, -1, -1
    out.reason[i], out.severity[i] = 0, 0
    start = c.dx_off[i]
    reason = int(c.reject[i])
    if start == c.dx_off[i + 1] or c.dx[start] == BLANK_CODE:
        reason = NO_PRINCIPAL if reason == 0 else min(reason, NO_PRINCIPAL)
    elif reason == 0 and c.dx[start] < 0 and not s.options[ANY_CODE]:
        reason = UNKNOWN_PRINCIPAL
    if reason != 0:
        out.status[i], out.reason[i], out.warn[i] = REJECTED, reason, 0
        return
    out.warn[i] |= np.uint32(code_warnings(i, c, s))
    out.status[i] = UNGROUPED
    if s.options[GREY_UNGROUPED] and is_grey(c.dx[start], s):
        out.reason[i] = R_GREY
        return
    flags = severity_flags(i, c, s)
    px_start, px_stop = c.px_off[i], c.px_off[i + 1]
    failed = search(i, px_start, px_stop, flags, c, s, out)
    if failed and s.options[RETRY]:  # each other procedure as the only one, in the given order
        for k in range(px_start + 1, px_stop):
            if c.px[k] != REPEATED_CODE and search(i, k, k + 1, flags, c, s, out) == 0:
                failed = 0
                break
    if failed == R_NO_MDC:
        for d in range(len(s.mdc_rule)):
            if holds(s.mdc_rule[d], i, px_start, px_stop, flags, c, s):
                failed = R_NO_ADRG
                break
    if failed:
        out.reason[i] = failed
    else:
        out.severity[i] = S_MCC if flags & HAS_MCC else S_CC if flags & HAS_CC else S_NONE


@kernel()
def group_drg(c: CaseArrays, s: DrgArrays, out: GroupArrays, start: int, stop: int) -> None:
    """Group cases start … stop-1 (分组); rows are independent, so ranges may run in threads."""
    for i in range(start, stop):
        group_case(i, c, s, out)
