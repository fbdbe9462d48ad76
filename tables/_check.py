"""What is odd about a scheme or policy that loads: findings for a person, never a change of the data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from grouper.errors import TableError
from grouper.tables._check_dip import check_dip, describe_dip
from grouper.tables._check_drg import Concern, Noted, check_drg
from grouper.tables._check_policy import check_policy
from grouper.tables._dip import PROFILES, profile_ids
from grouper.tables._dip_scheme import DipScheme
from grouper.tables._drg_scheme import FILE as SCHEME_FILE
from grouper.tables._files import SHIPPED, read_toml
from grouper.tables._findings import Finding
from grouper.tables._policy import FILE as POLICY_FILE
from grouper.tables._policy import Policy, load_policy, policy_ids
from grouper.tables._raw import read_raw
from grouper.tables._schemes import load_scheme, scheme_folder, scheme_ids

__all__ = ["Concern", "check", "check_noted", "describe", "is_policy", "list_shipped"]


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
    """List what is odd or wrong about a scheme or policy.

    A DRG scheme is read leniently: what the loader would refuse is a finding of severity error, and all
    faults come at once.

    Raises
    ------
    SchemeNotFound : nothing of that name. TableError, PolicyError : the settings are refused, or a policy
        or DIP catalogue does not load.
    """
    return [finding for finding, _ in check_noted(name)]


def check_noted(name: str | Path) -> list[Noted]:
    """List the findings with what each concerns; see `check`."""
    if is_policy(name):
        return [(f, None) for f in check_policy(load_policy(name))]
    folder = scheme_folder(name)
    if read_toml(folder / SCHEME_FILE).get("kind", "drg") != "drg":
        scheme = load_scheme(name)
        assert isinstance(scheme, DipScheme)
        return [(f, None) for f in check_dip(scheme)]
    noted = check_drg(read_raw(folder))
    if not any(f.severity == "error" for f, _ in noted):
        try:
            load_scheme(name)
        except TableError as e:
            noted.insert(0, (Finding("L100", e.file, str(e)), None))
    return noted
