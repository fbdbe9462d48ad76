"""What changed between two schemes (版本对比): by meaning, and with cases who moves where and what it weighs.

Order of work: rows, codes, severity and options of the two schemes; then, if there are cases, group them by
both and count every move; then, with weights, what the moves weigh. Weights are added exactly; what moved and
what stayed adds up to the whole, or nothing is returned.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import pyarrow as pa

from grouper import _diff_drg, _platform
from grouper._diff_drg import Change, change_of
from grouper._grouping import group
from grouper._scheme_files import report_of
from grouper.errors import CaseFileError, ConservationError, PolicyError, TableError
from grouper.io import ColumnMap, read_cases
from grouper.tables import DipScheme, DrgScheme, Scheme, load_policy, load_scheme, policy_ids
from grouper.tables._files import decimal, read_table

NO_HOSPITAL = ""
SHOWN, LONGEST = 20, 200
TABLES = {
    "groups": ("level", "code", "change", "name_before", "name_after", "detail"),
    "codes": ("side", "code", "name", "change", "before", "after"),
    "severity": ("code", "before", "after", "exclusions_gained", "exclusions_lost"),
    "options": ("option", "before", "after"),
    "flows": ("before", "after", "cases", "weight_before", "weight_after"),
    "hospitals": ("hospital_id", "cases", "moved", "weight_before", "weight_after"),
}


@dataclass(frozen=True)
class SchemeDiff:
    """The changes from scheme `a` to scheme `b`; each table is a list of rows (see `TABLES`).

    `flows` and `hospitals` are empty without cases; weights in them are exact decimals as text, blank without
    weights. `totals` says how many cases moved and what all of them weigh.
    """

    a: str
    b: str
    groups: list[Change]
    codes: list[Change]
    severity: list[Change]
    options: list[Change]
    flows: list[Change] = field(default_factory=list)
    hospitals: list[Change] = field(default_factory=list)
    totals: dict[str, Any] = field(default_factory=dict)

    def counts(self) -> dict[str, int]:
        """Count the changes by table and kind."""
        found = Counter(f"{g['level']} {g['change']}" for g in self.groups)
        found.update(f"{c['side']} {c['change']}" for c in self.codes)
        found.update(f"severity {s['before']} → {s['after']}" for s in self.severity)
        found.update("option" for _ in self.options)
        return dict(sorted(found.items()))

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return {"counts": self.counts(), **_plain(asdict(self))}

    def to_text(self, lang: str = "zh") -> str:
        """Write the changes for a person, the first rows of each table."""
        return "\n".join(_lines(self, lang))

    def write(self, folder: Path | str, *, overwrite: bool = False) -> None:
        """Write every table as CSV beside diff.md and diff.json, whole or not at all.

        Raises
        ------
        CaseFileError : the folder holds something else, or an earlier one and not `overwrite`.
        """
        files = {f"{t}.csv": report_of(_texts(getattr(self, t)), c) for t, c in TABLES.items()}
        files["diff.md"] = self.to_text("zh") + "\n\n" + self.to_text("en") + "\n"
        said = {"a": self.a, "b": self.b, "counts": self.counts(), "totals": _plain(self.totals)}
        files["diff.json"] = json.dumps(said, ensure_ascii=False, indent=2) + "\n"
        _write(Path(folder), files, overwrite)


def diff_schemes(
    a: Scheme | str | Path,
    b: Scheme | str | Path,
    *,
    cases: Any = None,
    weights_a: str | Path | None = None,
    weights_b: str | Path | None = None,
    columns: ColumnMap | Path | str | None = None,
    codes: str = "insurer",
    threads: int | None = None,
) -> SchemeDiff:
    """Compare two schemes of one kind (版本对比).

    Parameters
    ----------
    a, b : schemes, ids or folders; from `a` to `b`. cases : a file or table of cases to group by both.
    weights_a, weights_b : for cases: a CSV of group, weight; or a policy, whose first table of weights is
        taken. Left out, a DIP catalogue's own scores, else none. columns : a column map. codes : as `group`.

    Raises
    ------
    TableError : one is a DRG scheme and one a DIP catalogue, or a table is refused.
    SchemeNotFound : no such scheme.
    """
    one, two = (s if isinstance(s, Scheme) else load_scheme(s) for s in (a, b))
    if type(one) is not type(two):
        message = f"{one.id} and {two.id} are of two kinds: compare DRG with DRG, DIP with DIP"
        raise TableError(message, file="scheme.toml")
    if isinstance(one, DrgScheme) and isinstance(two, DrgScheme):
        parts = (_diff_drg.row_changes, _diff_drg.code_changes, _diff_drg.severity_changes)
        groups, moved, severity = (list(part(one, two)) for part in parts)
        options = list(_diff_drg.option_changes(one, two))
    else:
        assert isinstance(one, DipScheme)
        assert isinstance(two, DipScheme)
        groups, moved, severity = list(_dip_groups(one, two)), list(_dip_codes(one, two)), []
        names = ("profile", "score_scale", "score_decimals", "code_list")
        options = list(_diff_drg.option_changes(one, two, names))
    found = SchemeDiff(one.id, two.id, groups, moved, severity, options)
    if cases is None:
        return found
    table = read_cases(cases, columns=columns, threads=threads).table
    weights = _weights(one, weights_a), _weights(two, weights_b)
    return _with_cases(found, table, (one, two), weights, codes, threads)


# ------------------------------------------------------------------------------------------------ DIP


def _dip_groups(a: DipScheme, b: DipScheme) -> Iterator[Change]:
    """Yield what became of each group of a catalogue."""
    before, after = ({g.code: g for g in s.tables.groups} for s in (a, b))
    for code, g in before.items():
        if code not in after:
            yield change_of("group", code, "gone", g.name, "", "")
    for code, g in after.items():
        if code not in before:
            yield change_of("group", code, "new", "", g.name, "")
    for code, old in before.items():
        new = after.get(code)
        if new is None:
            continue
        if old.name != new.name:
            yield change_of("group", code, "renamed", old.name, new.name, "")
        if _dip_meaning(old) != _dip_meaning(new):
            told = [
                f"{k}: {old.cells.get(k, '') or '—'} → {new.cells.get(k, '') or '—'}"
                for k in sorted(old.cells.keys() | new.cells.keys())
                if old.cells.get(k, "") != new.cells.get(k, "")
                and k not in ("code", "name", "score")
            ]
            yield change_of("group", code, "other meaning", old.name, new.name, "; ".join(told))
        if old.score != new.score:
            detail = f"{_said(old.score)} → {_said(new.score)}"
            yield change_of("group", code, "other score", old.name, new.name, detail)


def _dip_meaning(g: Any) -> Any:
    return (
        *(g.kind, g.principal, g.main, g.related, g.anywhere, g.other, g.first_other),
        *(g.any_diagnosis, g.ranges, g.requires, g.forbids, g.for_treatment),
    )


def _dip_codes(a: DipScheme, b: DipScheme) -> Iterator[Change]:
    """Yield the codes that only one catalogue excludes, or that it handles otherwise."""
    for side, before, after in (
        (
            "diagnosis",
            dict.fromkeys(a.tables.excluded, "excluded"),
            dict.fromkeys(b.tables.excluded, "excluded"),
        ),
        (
            "procedure",
            {c: e.handling for c, e in a.tables.not_main.items()},
            {c: e.handling for c, e in b.tables.not_main.items()},
        ),
    ):
        for code in sorted(before.keys() | after.keys()):
            old, new = before.get(code, ""), after.get(code, "")
            if old != new:
                change = "new" if not old else "gone" if not new else "moved"
                yield {
                    "side": side,
                    "code": code,
                    "name": "",
                    "change": change,
                    "before": old,
                    "after": new,
                }


# ---------------------------------------------------------------------------------------- with cases


def _weights(s: Scheme, given: str | Path | None) -> Mapping[str, Fraction | None] | None:
    """Return group → weight: of a file, a policy, or the catalogue's own scores.

    Raises
    ------
    TableError, PolicyError : the file or policy has no weights.
    """
    if given is None:
        return {g.code: g.score for g in s.groups} if isinstance(s, DipScheme) else None
    path = Path(given)
    if path.suffix.casefold() == ".csv":
        rows = read_table(path, ("group", "weight"))
        return {g: decimal(w, path.name, line) for line, (g, w) in rows}
    tables = load_policy(given).tables
    if not tables:
        message = f"{given} has no table of weights; policies: {', '.join(policy_ids())}"
        raise PolicyError(message, parameter="weights")
    return {g: w.weight for g, w in next(iter(tables.values())).items()}


def _with_cases(
    found: SchemeDiff,
    table: pa.Table,
    schemes: Sequence[Scheme],
    weights: Sequence[Mapping[str, Fraction | None] | None],
    codes: str,
    threads: int | None,
) -> SchemeDiff:
    """Group the cases by both schemes and count who moves where."""
    landed = [_landed(group(table, s, codes=codes, threads=threads).to_arrow()) for s in schemes]
    names = table.schema.names
    hospitals = (
        table["hospital_id"].fill_null(NO_HOSPITAL).to_pylist()
        if "hospital_id" in names
        else [NO_HOSPITAL] * len(table)
    )
    flows = Counter(zip(*landed, strict=True))
    by_hospital: dict[str, Counter[tuple[str, str]]] = {}
    for h, before, after in zip(hospitals, *landed, strict=True):
        by_hospital.setdefault(h, Counter())[before, after] += 1
    rows = [
        {"before": x, "after": y, "cases": n, **_weighed({(x, y): n}, weights)}
        for (x, y), n in sorted(flows.items(), key=lambda f: (-f[1], f[0]))
    ]
    per = []
    for h in sorted(by_hospital, key=str.encode):
        of = by_hospital[h]
        moved = sum(n for (x, y), n in of.items() if x != y)
        per.append({"hospital_id": h, "cases": of.total(), "moved": moved, **_weighed(of, weights)})
    totals: dict[str, Any] = {
        "cases": len(table),
        "moved": sum(n for (x, y), n in flows.items() if x != y),
        **_weighed(flows, weights),
        "groups_without_weight_before": _lacking(landed[0], weights[0]),
        "groups_without_weight_after": _lacking(landed[1], weights[1]),
    }
    _prove(rows, per, totals)
    return SchemeDiff(
        found.a,
        found.b,
        found.groups,
        found.codes,
        found.severity,
        found.options,
        rows,
        per,
        totals,
    )


def _landed(result: pa.Table) -> list[str]:
    """Return the group of each case, or its status in brackets."""
    groups = result["group"].cast(pa.string()).to_pylist()
    statuses = result["status"].cast(pa.string()).to_pylist()
    return [g or f"({s})" for g, s in zip(groups, statuses, strict=True)]


def _weighed(
    flows: Mapping[tuple[str, str], int],
    weights: Sequence[Mapping[str, Fraction | None] | None],
) -> dict[str, Fraction | None]:
    """Add up the weights of cases before and after; None without weights."""
    found: dict[str, Fraction | None] = {}
    for k, name in enumerate(("weight_before", "weight_after")):
        of = weights[k]
        found[name] = None
        if of is not None:
            total = Fraction(0)
            for groups, n in flows.items():
                total += (of.get(groups[k]) or 0) * n
            found[name] = total
    return found


def _lacking(
    landed: Sequence[str], weights: Mapping[str, Fraction | None] | None
) -> dict[str, int]:
    """Count the cases of groups that have no weight; those without a group are not meant."""
    if weights is None:
        return {}
    found = Counter(g for g in landed if g[0] != "(" and weights.get(g) is None)
    return dict(sorted(found.items()))


def _prove(flows: Sequence[Change], hospitals: Sequence[Change], totals: Mapping[str, Any]) -> None:
    """Hold the tables to the totals.

    Raises
    ------
    ConservationError : cases or weights do not add up.
    """
    for name in ("cases", "weight_before", "weight_after"):
        for table in (flows, hospitals):
            if totals[name] is not None and sum(r[name] for r in table) != totals[name]:
                raise ConservationError(f"{name}: the parts do not add up to {totals[name]}")


# ------------------------------------------------------------------------------------------- writing

WORDS = {
    "zh": {
        "title": "方案对比：{} → {}",
        "none": "没有差别",
        "groups": "大类、ADRG、病组",
        "codes": "编码",
        "severity": "并发症级别",
        "options": "选项",
        "flows": "病例流向",
        "hospitals": "按医院",
        "totals": "{cases} 例，其中 {moved} 例改变病组",
        "weight": "权重合计 {} → {}",
        "lacking": "无权重的病组（{}）：{}",
        "before": "前",
        "after": "后",
        "more": "另有 {} 行",
    },
    "en": {
        "title": "From {} to {}",
        "none": "no difference",
        "groups": "MDCs, ADRGs, groups",
        "codes": "Codes",
        "severity": "Complication levels",
        "options": "Options",
        "flows": "Who moves where",
        "hospitals": "By hospital",
        "totals": "{cases} cases, {moved} of them change their group",
        "weight": "total weight {} → {}",
        "lacking": "groups without a weight ({}): {}",
        "before": "before",
        "after": "after",
        "more": "and {} more",
    },
}


def _lines(d: SchemeDiff, lang: str) -> Iterator[str]:
    w = WORDS[lang]
    yield f"# {w['title'].format(d.a, d.b)}"
    for name, n in d.counts().items():
        yield f"- {name}: {n}"
    if not d.counts():
        yield w["none"]
    if d.totals:
        yield w["totals"].format(**d.totals)
        if d.totals["weight_before"] is not None and d.totals["weight_after"] is not None:
            yield w["weight"].format(
                _said(d.totals["weight_before"]), _said(d.totals["weight_after"])
            )
        for side in ("before", "after"):
            if lacking := d.totals[f"groups_without_weight_{side}"]:
                yield w["lacking"].format(
                    w[side], ", ".join(f"{g} ×{n}" for g, n in lacking.items())
                )
    for table in TABLES:
        rows = getattr(d, table)
        if table == "flows":
            rows = [r for r in rows if r["before"] != r["after"]]
        if not rows:
            continue
        yield f"\n## {w[table]}"
        for row in _texts(rows[:SHOWN]):
            yield "- " + " · ".join(_short(v) for v in row.values() if v)
        if len(rows) > SHOWN:
            yield w["more"].format(len(rows) - SHOWN)


def _plain(value: Any) -> Any:
    """Return plain values: an exact weight becomes its decimal text."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_plain(v) for v in value]
    return _said(value) if isinstance(value, Fraction) else value


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} …"


def _texts(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    return [{k: _said(v) if v is not None else "" for k, v in row.items()} for row in rows]


def _said(value: Any) -> str:
    """Write a value; a weight as an exact decimal."""
    if value is None:
        return "—"
    if not isinstance(value, Fraction):
        return str(value)
    places = next((k for k in range(13) if (value * 10**k).denominator == 1), 12)
    whole = round(value * 10**places)
    sign, digits = ("-", -whole) if whole < 0 else ("", whole)
    decimals = f".{digits % 10**places:0{places}}" if places else ""
    return f"{sign}{digits // 10**places}{decimals}"


def _write(folder: Path, files: Mapping[str, str], overwrite: bool) -> None:
    target = folder.resolve()
    held = {p.name for p in target.iterdir()} if target.is_dir() else set()
    if target.is_file() or (held and not (overwrite and held <= files.keys())):
        message = "holds files: --overwrite replaces an earlier comparison; or name a new folder"
        raise CaseFileError(message, file=target.name)
    target.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent))
    try:
        for name, text in files.items():
            (work / name).write_text(text, "utf-8")
        _platform.show_folder(work)
        if target.exists():
            shutil.rmtree(target)
        work.rename(target)
    finally:
        shutil.rmtree(work, ignore_errors=True)
