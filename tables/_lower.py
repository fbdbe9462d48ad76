"""Lowering: rule trees and code tables → the flat arrays of `DrgArrays`.

A scheme is a list of groups of which the first that matches wins, so grouping is a search for the
lowest set bit. For every class of codes it is worked out once which ADRG rows are *possible* when
the class is the principal diagnosis, and which when it is the principal procedure: each rule is
evaluated in three values (true, false, not known yet) with only that code known. The AND of the
two masks leaves few candidates; what the masks do not decide (the *rest*) is a chain of tests.
Both parts are derived from the rule alone: no kind of rule is special, and a rule that says nothing
of the two principal codes is simply always a candidate.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from grouper.tables._rules import (
    NUMBER_VARIABLES,
    SEVERITY_SETS,
    TEXT_VARIABLES,
    And,
    Compare,
    Const,
    Count,
    Member,
    Or,
    Rule,
    atoms,
    sides_of,
)
from grouper.tables._types import (
    ASK,
    FALSE,
    NO_DRG,
    NODE_FIELDS,
    TRUE,
    U64,
    DrgArrays,
    Op,
    Option,
    Side,
    Status,
    frozen,
)

BoolArray = NDArray[np.bool_]

_OPS = {"=": Op.EQ, "<": Op.LT, "<=": Op.LE, ">": Op.GT, ">=": Op.GE}


@dataclass(frozen=True)
class CodeTables:
    """The code tables of a scheme with codes as ids 0 … n-1."""

    n: int
    sets: Mapping[str, NDArray[np.int32]]
    mcc: Mapping[int, int]  # code id -> exclusion table
    cc: Mapping[int, int]
    exclusions: Sequence[NDArray[np.int32]]  # exclusion table -> ids of principal diagnoses
    grey: NDArray[np.int32]


@dataclass(frozen=True)
class AdrgRow:
    """One row of the ADRG table in the order of trial, with the rules of its DRGs."""

    mdc: int
    rule: Rule
    status: Status
    drg_rules: Sequence[Rule]


def merged_sets(rules: Iterable[Rule]) -> dict[tuple[str, ...], int]:
    """Return the member bit of every union of sets (names, sorted) that some atom tests."""
    bits: dict[tuple[str, ...], int] = {}
    for rule in rules:
        for atom in atoms(rule):
            if names := _plain(atom):
                bits.setdefault(names, len(bits))
    return bits


def _plain(atom: Rule) -> tuple[str, ...]:
    if isinstance(atom, Count):
        return (atom.set,)
    if isinstance(atom, Member):
        return tuple(sorted(s for s in atom.sets if s not in SEVERITY_SETS))
    return ()


@dataclass
class Program:
    """Rules as chains of nodes; equal tests with equal ends are stored once."""

    bits: Mapping[tuple[str, ...], int]
    literals: Mapping[str, int]
    nodes: list[tuple[int, ...]] = field(default_factory=list)
    known: dict[tuple[int, ...], int] = field(default_factory=dict)

    def add(self, rule: Rule, on_true: int = TRUE, on_false: int = FALSE) -> int:
        """Append a rule that goes on to `on_true` or `on_false`; return its entry."""
        match rule:
            case Const(value=value):
                return on_true if value else on_false
            case And(parts=parts):
                for part in reversed(parts):
                    on_true = self.add(part, on_true, on_false)
                return on_true
            case Or(parts=parts):
                for part in reversed(parts):
                    on_false = self.add(part, on_true, on_false)
                return on_false
            case Member(negated=True):
                return self._member(rule, on_false, on_true)
            case Member():
                return self._member(rule, on_true, on_false)
            case Count():
                bit, n = self.bits[_plain(rule)], rule.value
                counted = (Op.COUNT, sides_of(rule.vars), bit, _OPS[rule.op], n)
                return self._node(counted, on_true, on_false)
            case Compare(var=var, op=op, value=value):
                if isinstance(value, str):
                    index = self.literals[value]
                    return self._node((Op.EQ, TEXT_VARIABLES[var], 0, 0, index), on_true, on_false)
                return self._node((_OPS[op], NUMBER_VARIABLES[var], 0, 0, value), on_true, on_false)

    def _member(self, atom: Member, on_true: int, on_false: int) -> int:
        entry = on_false
        if names := _plain(atom):
            test = (Op.MEMBER, sides_of(atom.vars), self.bits[names], 0, 0)
            entry = self._node(test, on_true, entry)
        flags = ("MCC" in atom.sets) | ("CC" in atom.sets) << 1
        if flags and "QTZD" in atom.vars:  # the principal diagnosis never counts as CC
            entry = self._node((Op.SEVERITY, 0, flags, 0, 0), on_true, entry)
        return entry

    def _node(self, test: tuple[int, ...], on_true: int, on_false: int) -> int:
        if on_true == on_false:
            return on_true
        node = (*(int(x) for x in test), on_true, on_false)
        if node not in self.known:
            self.known[node] = len(self.nodes)
            self.nodes.append(node)
        return self.known[node]

    def array(self) -> NDArray[np.int32]:
        """Return the nodes as one matrix, never empty."""
        table = self.nodes or [(int(Op.EQ), 0, 0, 0, 0, FALSE, FALSE)]
        return np.array(table, np.int32).reshape(-1, len(NODE_FIELDS))


def split(rule: Rule) -> tuple[Rule, Rule]:
    """Split a rule into (decided by the masks, rest): rule = masks AND rest.

    A factor that looks only at ZYZD, or only at ZYSS, is decided by one mask.
    """
    decided: list[Rule] = []
    rest: list[Rule] = []
    for part in rule.parts if isinstance(rule, And) else (rule,):
        sides = Side(0)
        for atom in atoms(part):
            if isinstance(atom, Const):
                continue
            plain = isinstance(atom, Member) and len(_plain(atom)) == len(atom.sets)
            sides |= sides_of(atom.vars) if isinstance(atom, Member) and plain else Side.QTZD
        (decided if sides in (Side(0), Side.ZYZD, Side.ZYSS) else rest).append(part)
    return And(tuple(decided)), And(tuple(rest))


@dataclass(frozen=True)
class _Possible:
    """Three-valued evaluation for all classes at once, one code variable known."""

    var: str
    member: BoolArray  # [C, bits]
    bits: Mapping[tuple[str, ...], int]

    def __call__(self, rule: Rule) -> tuple[BoolArray, BoolArray]:
        """Return (can be true, can be false) for every class."""
        yes, no = (np.full(len(self.member), v) for v in (True, False))
        match rule:
            case Const(value=value):
                return (yes, no) if value else (no, yes)
            case And(parts=parts):
                pairs = [self(p) for p in parts]
                return (
                    np.logical_and.reduce([yes, *(t for t, _ in pairs)]),
                    np.logical_or.reduce([no, *(f for _, f in pairs)]),
                )
            case Or(parts=parts):
                pairs = [self(p) for p in parts]
                return (
                    np.logical_or.reduce([no, *(t for t, _ in pairs)]),
                    np.logical_and.reduce([yes, *(f for _, f in pairs)]),
                )
            case Member(vars=names, sets=sets, negated=negated) if self.var in names:
                plain = _plain(rule)
                held = self.member[:, self.bits[plain]] if plain else no
                alone = len(names) == 1 and len(plain) == len(sets)
                can = (held if alone else yes, ~held)
                return can[::-1] if negated else can
            case _:
                return yes, yes


def _by_severity(rule: Rule, flags: int) -> bool | None:
    """Evaluate a rule that looks at severity alone (1 = MCC, 2 = CC); None if it looks further."""
    match rule:
        case Const(value=value):
            return value
        case Member(vars=("QTZD",), negated=negated) if not _plain(rule):
            wanted = ("MCC" in rule.sets) | ("CC" in rule.sets) << 1
            return bool(flags & wanted) != negated
        case And(parts=parts) | Or(parts=parts):
            found = [_by_severity(p, flags) for p in parts]
            if any(f is None for f in found):
                return None
            return all(found) if isinstance(rule, And) else any(found)
    return None


def _picks(rows: Sequence[AdrgRow]) -> NDArray[np.int32]:
    """Work out the DRG of each row for each severity where nothing else decides."""
    picks = np.full((len(rows), 4), NO_DRG, np.int32)
    first = 0
    for r, row in enumerate(rows):
        for flags in range(4):
            held = [_by_severity(d, flags) for d in row.drg_rules]
            if None in held:
                picks[r, flags] = ASK
            elif True in held:
                picks[r, flags] = first + held.index(True)
        first += len(row.drg_rules)
    return picks


def lower(
    mdc_rules: Sequence[Rule],
    rows: Sequence[AdrgRow],
    codes: CodeTables,
    literals: Mapping[str, int],
    options: Mapping[Option, bool],
) -> DrgArrays:
    """Lower a scheme to arrays.

    Parameters
    ----------
    mdc_rules : in order of trial. rows : ADRG rows in order of trial, grouped by MDC.
    codes : the code tables as ids. literals : text literal -> index used in the fact matrix.
    """
    every = [*mdc_rules, *(r.rule for r in rows), *(d for r in rows for d in r.drg_rules)]
    bits = merged_sets(every)
    code_class, member, mcc, cc, excluded = _classes(codes, bits)
    program = Program(bits, literals)
    held = _unpack(member, len(bits))
    possible_dx, possible_px = (_Possible(v, held, bits) for v in ("ZYZD", "ZYSS"))
    mdc_dx, mdc_px = ([p(m)[0] for m in mdc_rules] for p in (possible_dx, possible_px))
    rows_dx = np.zeros((len(held), len(rows)), np.bool_)
    rows_px = np.zeros((len(held), len(rows)), np.bool_)
    for r, row in enumerate(rows):
        rows_dx[:, r] = mdc_dx[row.mdc] & possible_dx(row.rule)[0]
        rows_px[:, r] = mdc_px[row.mdc] & possible_px(row.rule)[0]
    starts = np.cumsum([0, *(len(r.drg_rules) for r in rows)])
    is_grey = np.zeros(codes.n + 1, np.uint8)
    is_grey[codes.grey + 1] = 1
    mdc_rule = [program.add(m) for m in mdc_rules]
    mdc_rest = [program.add(split(m)[1]) for m in mdc_rules]
    row_rest = [program.add(split(r.rule)[1]) for r in rows]
    drg_rule = [program.add(d) for r in rows for d in r.drg_rules]
    return DrgArrays(
        code_class=code_class,
        is_grey=is_grey,
        class_member=member,
        class_mcc=mcc,
        class_cc=cc,
        class_excluded=excluded,
        class_rows_dx=_pack(rows_dx),
        class_rows_px=_pack(rows_px),
        nodes=program.array(),
        mdc_rule=np.array(mdc_rule, np.int32),
        mdc_rest=np.array(mdc_rest, np.int32),
        row_mdc=np.array([r.mdc for r in rows], np.int32),
        row_rest=np.array(row_rest, np.int32),
        row_status=np.array([r.status for r in rows], np.int8),
        row_drg=starts.astype(np.int32),
        row_pick=_picks(rows),
        drg_rule=np.array(drg_rule, np.int32),
        options=np.array([options[o] for o in Option], np.int32),
    )


def _classes(
    codes: CodeTables, bits: Mapping[tuple[str, ...], int]
) -> tuple[NDArray[np.int32], U64, NDArray[np.int32], NDArray[np.int32], U64]:
    """Put codes that no rule can tell apart into one class; row 0 of each table is class 0."""
    n = codes.n + 1
    member = np.zeros((n, len(bits)), np.bool_)
    for names, bit in bits.items():
        for name in names:
            member[codes.sets[name] + 1, bit] = True
    levels = np.full((n, 2), -1, np.int64)
    for column, listed in enumerate((codes.mcc, codes.cc)):
        for code, table in listed.items():
            levels[code + 1, column] = table
    excluded = np.zeros((n, len(codes.exclusions)), np.bool_)
    for t, ids in enumerate(codes.exclusions):
        excluded[ids + 1, t] = True
    packed, barred = _pack(member), _pack(excluded)
    whole = np.hstack([packed, barred, levels.view(np.uint64)])
    key = np.ascontiguousarray(whole).view(f"V{whole.shape[1] * 8}").ravel()
    _, first, inverse = np.unique(key, return_index=True, return_inverse=True)
    # class 0 must be that of entry 0 ("no code"): swap it to the front
    order = np.argsort(np.where(np.arange(len(first)) == inverse[0], -1, first))
    rank = np.empty(len(first), np.int32)
    rank[order] = np.arange(len(first), dtype=np.int32)
    chosen = first[order]
    mcc, cc = (frozen(levels[chosen, k].astype(np.int32)) for k in (0, 1))
    return rank[inverse].astype(np.int32), frozen(packed[chosen]), mcc, cc, frozen(barred[chosen])


def _pack(flags: BoolArray) -> U64:
    """Pack booleans [n, b] into 64-bit words [n, ⌈b/64⌉], at least one word."""
    n, b = flags.shape
    words = max(1, -(-b // 64))
    padded = np.zeros((n, words * 64), np.bool_)
    padded[:, :b] = flags
    return np.packbits(padded, axis=1, bitorder="little").view("<u8").astype(np.uint64)


def _unpack(words: U64, b: int) -> BoolArray:
    """Undo `_pack`."""
    raw = np.ascontiguousarray(words).view(np.uint8)
    return np.unpackbits(raw, axis=1, bitorder="little")[:, :b].astype(np.bool_)
