"""What is odd about a scheme or policy that loads: findings for a person, never a change of the data."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from grouper.tables._check_dip import check_dip, describe_dip
from grouper.tables._check_policy import check_policy
from grouper.tables._dip import PROFILES, profile_ids
from grouper.tables._dip_scheme import DipScheme
from grouper.tables._files import SHIPPED, read_toml
from grouper.tables._findings import Finding
from grouper.tables._load import FILE as SCHEME_FILE
from grouper.tables._load import DrgScheme, Row
from grouper.tables._policy import FILE as POLICY_FILE
from grouper.tables._policy import Policy, load_policy, policy_ids
from grouper.tables._rules import (
    NUMBER_VARIABLES,
    TEXT_VARIABLES,
    Compare,
    Const,
    Member,
    atoms,
    sets_of,
)
from grouper.tables._schemes import load_scheme, scheme_ids

BASE_VARIABLES = frozenset(("NL", "XSRTL", "XSRTZ", "XB"))


def list_shipped() -> dict[str, dict[str, str]]:
    """List what ships with the package: kind -> id -> title."""
    return {
        "schemes": {i: str(read_toml(SHIPPED / i / SCHEME_FILE)["title"]) for i in scheme_ids()},
        "profiles": {i: str(read_toml(PROFILES / f"{i}.toml")["title"]) for i in profile_ids()},
        "policies": {i: str(read_toml(SHIPPED / i / POLICY_FILE)["title"]) for i in policy_ids()},
    }


def is_policy(name: str | Path) -> bool:
    """Tell whether a name means a policy rather than a scheme."""
    path = Path(name)
    return str(name) in policy_ids() or path.suffix == ".toml" or (path / POLICY_FILE).is_file()


def describe(name: str | Path) -> dict[str, Any]:
    """Describe a scheme or policy: size, options, sources, known faults.

    Raises
    ------
    SchemeNotFound, TableError, PolicyError : as loading does.
    """
    if is_policy(name):
        return _describe_policy(load_policy(name))
    s = load_scheme(name)
    if isinstance(s, DipScheme):
        return describe_dip(s)
    given = s.settings.model_dump(mode="json", exclude_defaults=True)
    return {
        **given,
        "fingerprint": s.fingerprint,
        "rows": {
            "mdc": len(s.mdcs),
            "adrg": len(s.adrgs),
            "drg": len(s.drgs),
            "sets": len(s.sets),
            "mcc": len(s.mcc),
            "cc": len(s.cc),
            "exclusion tables": len(s.exclusions),
            "codes": len(s.codes),
        },
        "notes": list(s.notes),
    }


def _describe_policy(p: Policy) -> dict[str, Any]:
    s = p.settings
    return {
        "id": s.id,
        "title": s.title,
        "standing": s.standing,
        "source": s.source,
        **({"inherits": s.inherits} if s.inherits else {}),
        "notes": list(s.notes),
        "fingerprint": p.fingerprint,
        "method": s.method.model_dump(mode="json", exclude={"source"}),
        "pools": {x.id: " ".join(x.insurance) or "all" for x in s.pool},
        "weights": {f: f"{len(t)} groups" for f, t in p.tables.items()},
        "parameters": {
            n: f"{x.name_zh}, {x.unit}: {', '.join(str(v.value) for v in x.all_values)}"
            for n, x in s.param.items()
        },
        "pay_as": {x.id: f"{x.note} → {x.pay_as} × {x.share}" for x in p.pay_as.values()},
    }


def check(name: str | Path) -> list[Finding]:
    """Load a scheme or policy and list its oddities.

    Raises
    ------
    SchemeNotFound, TableError, PolicyError : it does not load at all.
    """
    if is_policy(name):
        return list(check_policy(load_policy(name)))
    scheme = load_scheme(name)
    if isinstance(scheme, DipScheme):
        return list(check_dip(scheme))
    return [
        f for part in (_shadowed, _outside_mdc, _sets, _variables, _codes) for f in part(scheme)
    ]


def _shadowed(s: DrgScheme) -> Iterator[Finding]:
    """Find DRG and ADRG rows behind one that always holds."""
    for table, rows in (("adrg.csv", s.adrgs), ("drg.csv", s.drgs)):
        closed: dict[int, Row] = {}
        for row in rows:
            if row.parent in closed:
                by = closed[row.parent]
                message = f"{row.code} is never reached: {by.code} (line {by.line}) always holds"
                yield Finding("L101", f"{table}:{row.line}", message)
            elif row.rule == Const(True):
                closed[row.parent] = row


def _outside_mdc(s: DrgScheme) -> Iterator[Finding]:
    """Find principal diagnoses of an ADRG that its MDC does not take."""
    for row in s.adrgs:
        mdc = s.mdcs[row.parent].rule
        if not (isinstance(mdc, Member) and mdc.vars == ("ZYZD",) and not mdc.negated):
            continue
        taken = frozenset[str]().union(*(s.set_codes[n] for n in mdc.sets))
        for a in atoms(row.rule):
            if isinstance(a, Member) and a.vars == ("ZYZD",) and not a.negated:
                lost = frozenset[str]().union(*(s.set_codes[n] for n in a.sets)) - taken
                if lost:
                    message = f"{row.code}: {len(lost)} diagnoses are not in its MDC's list"
                    yield Finding("L102", f"adrg.csv:{row.line}", f"{message}, as {min(lost)}")


def _sets(s: DrgScheme) -> Iterator[Finding]:
    used = {name for row in (*s.mdcs, *s.adrgs, *s.drgs) for name in sets_of(row.rule)}
    for name in sorted(s.sets.keys() - used):
        yield Finding("L103", "sets.csv", f"set {name} is used by no rule")
    for note in s.notes:
        yield Finding("L104", "scheme.toml", note)


def _variables(s: DrgScheme) -> Iterator[Finding]:
    used = {
        a.var
        for row in (*s.mdcs, *s.adrgs, *s.drgs)
        for a in atoms(row.rule)
        if isinstance(a, Compare)
    }
    extra = (used & (NUMBER_VARIABLES.keys() | TEXT_VARIABLES.keys())) - BASE_VARIABLES
    if extra != set(s.settings.extra_variables):
        message = (
            f"extra_variables says {s.settings.extra_variables}, the rules use {sorted(extra)}"
        )
        yield Finding("L105", "scheme.toml", message)


def _codes(s: DrgScheme) -> Iterator[Finding]:
    for code in sorted(s.mcc.keys() & s.cc.keys()):
        yield Finding("L106", "cc.csv", f"{code} is MCC and CC; each has its own exclusion")
    for d in s.drgs:
        if d.code == s.adrgs[d.parent].code.split("#")[0] and s.row_status[d.parent] == 0:
            yield Finding("L107", f"drg.csv:{d.line}", f"{d.code} is a bare ADRG as group")
