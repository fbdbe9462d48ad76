"""Publishing a run (发布): who checked, approved and published it; from then on it is frozen."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

from grouper._writing import check_run, read_run, replace_manifest, seal
from grouper.errors import SettlementError

ROLES = ("checked", "approved", "published")


def publish_run(
    folder: Path | str, *, checked: str, approved: str, published: str, on: date | None = None
) -> dict[str, Any]:
    """Record who checked (初审), approved (复核) and published a run; return its manifest.

    Parameters
    ----------
    checked, approved, published : names; whoever checked does not approve (初审与复核分离).
    on : the day; today if left out.

    Raises
    ------
    CaseFileError : no run is there, or a table is no longer what the run wrote. SettlementError : it is
    published already, a name is blank, or one person both checked and approved.
    """
    names = {r: n.strip() for r, n in zip(ROLES, (checked, approved, published), strict=True)}
    if blank := [role for role, name in names.items() if not name]:
        raise SettlementError(f"who {' and '.join(blank)} the run? give a name")
    if names["checked"] == names["approved"]:
        raise SettlementError(
            f"{names['checked']!r} both checked and approved: two people are needed"
        )
    run = read_run(folder)
    about = dict(run.manifest.get("run", {}))
    if about.get("status") == "published":
        raise SettlementError(f"the run in {run.path.name} is published already")
    check_run(run)
    day = (on or date.today()).isoformat()
    about |= {
        "status": "published",
        "sign_off": {role: {"name": name, "on": day} for role, name in names.items()},
    }
    manifest = {**run.manifest, "run": about}
    manifest["run"] = {**about, "seal": seal(manifest)}
    replace_manifest(run.path, manifest)
    return manifest
