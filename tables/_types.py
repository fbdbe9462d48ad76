"""Array types and codes that tables, kernels and the API share: nothing here computes.

A change here changes every compiled kernel, so this file is part of the kernel cache stamp.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum, IntFlag
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

I8 = NDArray[np.int8]
U8 = NDArray[np.uint8]
I32 = NDArray[np.int32]
U32 = NDArray[np.uint32]
I64 = NDArray[np.int64]
U64 = NDArray[np.uint64]

Int: TypeAlias = Any
"""An integer inside a kernel: Python's or NumPy's."""

MISSING = -(2**31)
"""A fact that is not known (缺失): every comparison with it is false."""

UNKNOWN_CODE = -1
"""Id of a code that no table of the scheme holds."""

BLANK_CODE = -2
"""Id of an empty entry of a code list; it is dropped."""

GREY_CODE = -3
"""Id of a grey procedure under `grey_procedure = "blank"`: it keeps its place, in no set."""


REPEATED_CODE = -4
"""Id of a code that stands earlier in the same list: repeats count once."""


class Status(IntEnum):
    """Where a row ends: exactly one of these."""

    GROUPED = 0
    AMBIGUOUS = 1  # 歧义组: a valid operation that fits no group of its MDC
    UNGROUPED = 2
    REJECTED = 3


class Reason(IntEnum):
    """Why a row is not grouped; the order is the order of the tests."""

    NONE = 0
    DUPLICATE_CASE_ID = 1
    INPUT_UNREADABLE = 2
    NO_PRINCIPAL_DIAGNOSIS = 3
    TWO_PRINCIPAL_DIAGNOSES = 4
    SEX_UNREADABLE = 5
    AGE_UNREADABLE = 6
    AGE_DAYS_MISSING = 7
    DISCHARGE_BEFORE_ADMISSION = 8
    UNKNOWN_PRINCIPAL = 9
    GREY_PRINCIPAL = 10
    NO_MDC = 11
    NO_ADRG = 12
    NO_DRG = 13
    REMAINDER = 14
    EXCLUDED_PRINCIPAL = 15
    NO_GROUP = 16
    NO_EDITION = 17  # the policy adopts no scheme on the case's day, or the day is not known
    UNKNOWN_CODING = 18  # code_edition is neither insurer nor clinical


class Warn(IntFlag):
    """What is odd about a row that is kept."""

    SEX_MISSING = 1
    UNKNOWN_SECONDARY = 2
    UNKNOWN_PROCEDURE = 4
    GREY_PRINCIPAL = 8
    GREY_SECONDARY = 16
    GREY_PROCEDURE = 32
    DUPLICATE_SECONDARY = 64
    PRINCIPAL_AS_SECONDARY = 128
    NEWBORN_WEIGHT = 256
    MAIN_EXCLUDED = 512  # the first procedure is not the main one: exclusion list
    UNCLASSED_PROCEDURE = 1024


class Severity(IntEnum):
    """The highest complication level among the secondaries that are not excluded."""

    BLANK = 0
    NONE = 1
    CC = 2  # 并发症或合并症
    MCC = 3  # 严重并发症或合并症


class Fact(IntEnum):
    """Columns of the fact matrix; the comment is the variable of the rule language."""

    AGE = 0  # NL, whole years
    AGE_DAYS = 1  # XSRTL, days; missing unless age = 0
    WEIGHT = 2  # XSRTZ, grams: birth or admission weight as the scheme says
    SEX = 3  # XB, 1 male 2 female
    LOS = 4  # ZYTS, days
    ICU_HOURS = 5  # ICUSC
    DISCHARGE_MODE = 6  # LYFS, index into the scheme's text literals
    DEPARTMENT = 7  # CYKS, index into the scheme's text literals


class Side(IntFlag):
    """Which codes a rule looks at."""

    ZYZD = 1  # principal diagnosis 主要诊断
    QTZD = 2  # other diagnoses 其他诊断
    ZYSS = 4  # principal procedure 主要手术操作
    QTSS = 8  # other procedures 其他手术操作


DIAGNOSES = Side.ZYZD | Side.QTZD
PROCEDURES = Side.ZYSS | Side.QTSS


class Option(IntEnum):
    """Entries of `DrgArrays.options`: 0 or 1."""

    RETRY = 0  # each other procedure as the only one, when nothing matched
    GREY_PRINCIPAL_UNGROUPED = 1
    ANY_CODE = 2  # the scheme names no code list: no code is unknown


class Op(IntEnum):
    """Kinds of a rule node."""

    EQ = 0
    LT = 1
    LE = 2
    GT = 3
    GE = 4
    MEMBER = 5
    SEVERITY = 6
    COUNT = 7


TRUE = -1
FALSE = -2
"""Ends of a rule program: see `NODE_FIELDS`."""

NO_DRG = -1
ASK = -2
"""Entries of `row_pick` beside a DRG index."""

NODE_FIELDS = ("op", "a", "b", "cmp", "n", "on_true", "on_false")
"""A lowered rule is a chain of nodes; each holds a test and where to go next.

EQ LT LE GT GE: fact `a` against `n`. MEMBER: any code of sides `a` has member bit `b`.
SEVERITY: case flags & `b` (1 = MCC, 2 = CC). COUNT: number of distinct codes of sides `a` with
member bit `b`, compared by `cmp` with `n`. `on_true`, `on_false`: a node, or TRUE, or FALSE.
"""


def lock(arrays: Iterable[NDArray[Any]]) -> None:
    """Make arrays read-only, so that threads may share them."""
    for a in arrays:
        a.flags.writeable = False


class DrgArrays(NamedTuple):
    """A DRG scheme lowered to arrays; C contiguous, never written after the build.

    Codes have ids 0 … K-1 in one space for diagnoses and procedures. Codes that no rule can tell
    apart form one class; class 0 is "in no table", also used for unknown and for no code at all.
    ADRG rows are numbered in the order of trial over all MDCs (row r = word r // 64, bit r % 64).
    """

    code_class: I32  # [K + 1] class of code id + 1; entry 0 = no or unknown code
    is_grey: U8  # [K + 1] 1 = grey code 灰码
    class_member: U64  # [C, M] bit b: the class is in merged set b
    class_mcc: I32  # [C] exclusion table of an MCC, -1 = not an MCC
    class_cc: I32  # [C] exclusion table of a CC, -1 = not a CC
    class_excluded: U64  # [C, X] bit t: as principal diagnosis it is in exclusion table t
    class_rows_dx: U64  # [C, W] ADRG rows possible when this class is ZYZD
    class_rows_px: U64  # [C, W] ADRG rows possible when this class is ZYSS
    nodes: I32  # [N, 7] see NODE_FIELDS
    mdc_rule: I32  # [D] whole MDC rule: node, TRUE or FALSE
    mdc_rest: I32  # [D] what the two masks do not decide of the MDC rule
    row_mdc: I32  # [R] MDC of the ADRG row
    row_rest: I32  # [R] what the two masks do not decide of the ADRG rule
    row_status: I8  # [R] Status of a case that lands here
    row_drg: I32  # [R + 1] first DRG of the ADRG row
    row_pick: I32  # [R, 4] the DRG of an ADRG row by severity flags, NO_DRG, or ASK its rules
    drg_rule: I32  # [G] whole DRG rule
    options: I32  # [3] see Option


class CaseArrays(NamedTuple):
    """A batch of cases as the kernels read it."""

    dx_off: I32  # [n + 1]
    dx: I32  # [dx_off[n]] diagnosis ids, principal first
    px_off: I32  # [n + 1]
    px: I32  # [px_off[n]] procedure ids, principal first
    facts: I32  # [n, 8] see Fact
    reject: U8  # [n] Reason found while reading and encoding, 0 = none


class GroupArrays(NamedTuple):
    """What the DRG kernel writes, one entry a case."""

    status: I8  # Status
    reason: U8  # Reason
    severity: I8  # Severity
    mdc: I32  # index, -1 = blank
    adrg: I32  # ADRG row in order of trial, -1 = blank
    drg: I32  # DRG row in order of trial, -1 = blank
    warn: U32  # Warn bits


class Comparator(IntEnum):
    """How a DIP catalogue chooses between groups that all hold; the best value is the highest."""

    MORE_REQUIRED_TERMS = 0
    MORE_MATCHED_PROCEDURES = 1
    EXACT_SET = 2
    MAIN_PROCEDURE_IN_GROUP = 3
    HIGHEST_SCORE = 4
    NEAREST_MEAN_COST = 5
    FULL_CODE_BEFORE_PREFIX = 6
    CLASS_RANK = 7
    CODE_ORDER = 8


class CodeFlag(IntFlag):
    """What a class of codes is besides the terms it meets."""

    EXCLUDED = 1  # 不纳入分组的主要诊断
    GREY = 2
    CONSERVATIVE = 4  # 按保守治疗入组
    NOT_MAIN = 8  # 不可作为主要手术操作
    MAIN_ONLY_WITH = 16
    OPEN = 32  # a key of a group that takes any principal


class DipOption(IntEnum):
    """Entries of `DipArrays.options`."""

    MAIN_ANY = 0  # any procedure may be the main one
    EMPTY_MAIN_ANY = 1  # a blank main fits every case
    PROMOTE_NEXT = 2  # a procedure that may not be main gives its place to the next
    HIGHEST_OF_ALL = 3  # the case's treatment is the highest of all its procedures
    UNCLASSED = 4  # treatment of a procedure without a class
    UNMATCHED = 5  # treatment whose cases go to mixed groups if nothing else matched, -1 = none
    ANY_CODE = 6
    HAS_CONDITIONS = 7


NO_TREATMENT = 127
"""Entry of `DipArrays.mixed` beside a treatment."""

ANY_MAIN = -1
NO_MAIN = -2
"""Entries of `DipArrays.main` beside a term."""

DIP_SIDES = ("principal", "other", "diagnosis", "main", "procedure")
"""Sides of a named condition, by number."""


class DipArrays(NamedTuple):
    """A DIP catalogue lowered to arrays; C contiguous, never written after the build.

    Codes that no row can tell apart form one class, separately for diagnoses and procedures; class
    0 is a code that no key matches. A term is a set of keys: bit t of a class's members says that
    its codes meet term t. Groups are numbered by stage, then in the order of their rows.
    """

    dx_flags: U8  # [Cd] CodeFlag
    dx_member: U64  # [Cd, Wd]
    cand_off: I32  # [Cd + 1] groups whose principal this class meets
    cand: I32  # in order
    cand_full: U8  # 1 = met by the whole code
    cand_main: I32  # `main` of the candidate
    cand_open: I32  # [Cd] how many of the first candidates hold only with an OPEN code
    px_flags: U8  # [Cp] CodeFlag
    px_member: U64  # [Cp, Wp]
    px_part: U64  # [Cp, Wp] met by a prefix only
    px_with: I32  # [Cp] diagnosis term that MAIN_ONLY_WITH asks of the principal
    px_treatment: I8  # [Cp] -1 = in no class
    stage: I32  # [G]
    main: I32  # [G] procedure term, ANY_MAIN or NO_MAIN
    listed: I32  # [G] procedure term of all keys of the row, -1 = none
    alt: I32  # [G, 4] alternatives from, to: related; any position
    alt_off: I32  # [A + 1] terms of an alternative, all needed
    alt_term: I32
    other: I32  # [G] diagnosis term among the other diagnoses, -1 = none
    first_other: U8  # [G]
    any_dx: I32  # [G] diagnosis term among all, -1 = none
    test_off: I32  # [G + 1] tests of facts
    tests: I32  # [.., 3] fact, least, most
    requires: I64  # [G] bits of named conditions
    forbids: I64  # [G]
    treatments: I64  # [G] bits of treatments, 0 = no condition
    mixed: I8  # [G] treatment of a mixed group 综合病种, NO_TREATMENT if blank, -1 = another class
    rank: I32  # [G] place in the profile's class_rank
    score: I64  # [G] units of the catalogue's decimals, -1 = none
    mean_fen: I64  # [G] -1 = none
    condition_tests: I32  # [.., 3] condition, side, term
    comparators: I32  # [stages, 9] in order, padded with CODE_ORDER
    options: I32  # [8] see DipOption
    aux_off: I32  # [G + 1] auxiliary types with a coefficient for the group
    aux_type: I32
    aux_factor: I64  # units of 10^-6
    aux_test_off: I32  # [types + 1]
    aux_tests: I32  # [.., 3]
    aux_dx: I32  # [types, 2] diagnosis terms: principal, other; -1 = none
    aux_requires: I64  # [types]
    aux_modes: I64  # [types] bits of discharge modes, 0 = no condition


class DipCases(NamedTuple):
    """A batch of cases as the DIP kernel reads it: `CaseArrays`, the class of each id, the cost."""

    dx_off: I32  # [n + 1]
    dx: I32
    px_off: I32  # [n + 1]
    px: I32
    facts: I32  # [n, 8]
    reject: U8  # [n]
    dx_class: I32  # [ids + 1] class of code id + 1; entry 0 = unknown
    px_class: I32
    cost: I64  # [n] fen, -1 = not known


class DipGroupArrays(NamedTuple):
    """What the DIP kernel writes, one entry a case."""

    status: I8
    reason: U8
    group: I32  # -1 = blank
    terms: I32  # required terms that the group has met
    decided: I8  # Comparator, -1 = only one group held
    treatment: I8  # of the case
    aux: I32  # entry of aux_type, -1 = none
    warn: U32


class Band(IntEnum):
    """Where a case's cost lies against its benchmark (费用偏差)."""

    NONE = 0  # no cost, no benchmark, or not paid by weight
    LOW = 1  # 低倍率
    NORMAL = 2
    HIGH = 3  # 高倍率
    EXTREME = 4  # 极高倍率, 专家评审


class Segment(IntEnum):
    """Columns of a segment: the claim is WHOLE + NUM × (cost × SCALE - OFFSET) / DEN, half up.

    Segments stand in order of cost; each holds for costs up to LAST that no earlier one holds, and
    nothing in it is negative.
    """

    LAST = 0  # fen, included
    BAND = 1
    WHOLE = 2
    NUM = 3
    SCALE = 4
    OFFSET = 5
    DEN = 6


RATIO_SCALE = 10_000
"""Ratios of cost to benchmark are shown in 1/10,000."""


def empty_groups(n: int) -> GroupArrays:
    """Allocate results for `n` cases; the kernel writes every entry but `warn`, which it adds to."""
    return GroupArrays(
        np.empty(n, np.int8),
        np.empty(n, np.uint8),
        np.empty(n, np.int8),
        np.empty(n, np.int32),
        np.empty(n, np.int32),
        np.empty(n, np.int32),
        np.zeros(n, np.uint32),
    )


def empty_dip_groups(n: int) -> DipGroupArrays:
    """Allocate results for `n` cases; the kernel writes every entry but `warn`, which it adds to."""
    return DipGroupArrays(
        np.empty(n, np.int8),
        np.empty(n, np.uint8),
        np.empty(n, np.int32),
        np.empty(n, np.int32),
        np.empty(n, np.int8),
        np.empty(n, np.int8),
        np.empty(n, np.int32),
        np.zeros(n, np.uint32),
    )


def frozen(array: NDArray[Any]) -> NDArray[Any]:
    """Return `array` C contiguous; ids and masks are never written after the build."""
    return np.ascontiguousarray(array)
