"""Quality rules (质控规则) as data: three tables → checked rules, each a tree over the fields of a list.

`rules.csv` says what must hold, `fields.csv` what a list's fields are called and hold, `domains.csv`
which values a field may take. A further file or folder of the same form adds rules, replaces those of
the same id, and switches off with severity `off`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from grouper.errors import RuleError, TableError
from grouper.tables._files import read_table
from grouper.tables._quality_text import Condition, Field, FieldError, parse_condition

SHIPPED = Path(__file__).parent / "quality"
RULES, FIELDS, DOMAINS = "rules.csv", "fields.csv", "domains.csv"
SEVERITIES = ("error", "warning", "info")
OFF = "off"
KINDS = ("text", "whole", "money", "time")
_RULE = ("id", "table", "field", "severity", "when", "check", "message_zh", "message_en", "source")
_FIELD = ("table", "field", "kind", "ours", "also", "personal", "name_zh")
_DOMAIN = ("domain", "value", "name", "source")


@dataclass(frozen=True, slots=True)
class QualityRule:
    """One rule: of the rows of `table` where `when` holds, `check` must hold.

    `severity` is error, warning or info; `place` is file:line; `reads` what the condition names.
    """

    id: str
    table: str
    field: str
    severity: str
    condition: Condition
    message_zh: str
    message_en: str
    source: str
    place: str

    def message(self, lang: str) -> str:
        """Return the message in zh or en."""
        return self.message_zh if lang == "zh" else self.message_en


@dataclass(frozen=True)
class QualityRules:
    """Rules in their order, the fields by (table, name), the values of each domain."""

    rules: tuple[QualityRule, ...]
    fields: Mapping[tuple[str, str], Field]
    domains: Mapping[str, frozenset[str]]

    @property
    def tables(self) -> tuple[str, ...]:
        """The tables of a list; the first has one row a case."""
        return tuple(dict.fromkeys(table for table, _ in self.fields))


def load_quality(added: Path | str | None = None, schema: Iterable[Field] = ()) -> QualityRules:
    """Load the shipped quality rules (质控规则) and, over them, those of a file or folder.

    Parameters
    ----------
    added : a table of the form of `rules.csv`, or a folder with any of the three tables.
    schema : further fields of a case: the columns of the case table.

    Raises
    ------
    TableError : a file or column is missing, a severity or kind is unknown, an id stands twice.
    RuleError : a condition does not parse, or names no field, function or domain.
    """
    return _load(Path(added) if added is not None else None, tuple(schema))


@cache
def _load_shipped(schema: tuple[Field, ...]) -> QualityRules:
    return _over(None, SHIPPED / RULES, SHIPPED / FIELDS, SHIPPED / DOMAINS, schema)


def _load(added: Path | None, schema: tuple[Field, ...]) -> QualityRules:
    base = _load_shipped(schema)
    if added is None:
        return base
    if not added.is_dir():
        return _over(base, added, None, None, schema)
    rules, fields, domains = (
        p if p.is_file() else None for p in (added / name for name in (RULES, FIELDS, DOMAINS))
    )
    if not (rules or fields or domains):
        message = f"the folder holds none of {RULES}, {FIELDS}, {DOMAINS}"
        raise TableError(message, file=added.name)
    return _over(base, rules, fields, domains, schema)


def _over(
    base: QualityRules | None,
    rules: Path | None,
    fields: Path | None,
    domains: Path | None,
    schema: tuple[Field, ...],
) -> QualityRules:
    """Lay tables over a base; every rule of them is parsed against the fields there then are."""
    known = dict(base.fields) if base else {f.key: f for f in schema}
    known |= {(f.table, f.said): f for f in _fields(fields)} if fields else {}
    values = dict(base.domains) if base else {}
    values |= _domains(domains) if domains else {}
    found = {r.id: r for r in base.rules} if base else {}
    if rules:
        own: set[str] = set()
        for rule in _rules(rules, known, values):
            if rule.id in own:
                message = f"the id {rule.id!r} stands twice"
                raise TableError(message, file=rules.name, row=int(rule.place.rpartition(":")[2]))
            own.add(rule.id)
            found[rule.id] = rule
    return QualityRules(tuple(r for r in found.values() if r.severity != OFF), known, values)


def _fields(path: Path) -> list[Field]:
    found = []
    for line, (table, name, kind, ours, also, personal, _) in read_table(path, _FIELD):
        if kind not in KINDS:
            message = f"kind {kind!r} is none of {', '.join(KINDS)}"
            raise TableError(message, file=path.name, row=line)
        names = tuple(also.split())
        found.append(Field(table, name, kind, ours, names, personal == "1"))
    return found


def domain_names(domain: str) -> dict[str, str]:
    """Return the values of a shipped domain (值域) and their names, in their order."""
    rows = read_table(SHIPPED / DOMAINS, _DOMAIN)
    return {value: name for _, (held, value, name, _) in rows if held == domain}


def _domains(path: Path) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for _, (domain, value, _, _) in read_table(path, _DOMAIN):
        found.setdefault(domain, set()).add(value)
    return {name: frozenset(values) for name, values in found.items()}


def _rules(
    path: Path,
    fields: Mapping[tuple[str, str], Field],
    domains: Mapping[str, frozenset[str]],
) -> Iterable[QualityRule]:
    tables = {table for table, _ in fields}
    for line, cells in read_table(path, _RULE):
        key, table, field, severity, when, check, zh, en, source = cells
        faults = (
            (not key, "a rule needs an id"),
            (table not in tables, f"table {table!r} is none of {', '.join(sorted(tables))}"),
            (severity not in (*SEVERITIES, OFF), _unknown_severity(severity)),
            (not zh and not en and severity != OFF, "a rule needs a message, zh or en"),
        )
        for is_fault, message in faults:
            if is_fault:
                raise TableError(message, file=path.name, row=line)
        place = f"{path.name}:{line}"
        if severity == OFF:
            check, when = check or "1 = 1", ""
        try:
            condition = parse_condition(check, when, table, fields, domains)
        except FieldError as e:
            raise RuleError(e.message, file=path.name, row=line, column=e.at) from None
        said = (zh or en, en or zh)
        yield QualityRule(key, table, field, severity, condition, *said, source, place)


def _unknown_severity(severity: str) -> str:
    return f"severity {severity!r} is none of {', '.join((*SEVERITIES, OFF))}"


def switched(rules: QualityRules, only: Sequence[str], without: Sequence[str]) -> QualityRules:
    """Return the rules named, or all but those named; an id that ends in ``*`` names all that begin so.

    Raises
    ------
    TableError : a name fits no rule.
    """

    def named(names: Sequence[str]) -> set[str]:
        found: set[str] = set()
        for name in names:
            fits = {r.id for r in rules.rules if _fits(name, r.id)}
            if not fits:
                ids = ", ".join(r.id for r in rules.rules)
                raise TableError(f"no rule {name!r}; the rules are: {ids}", file=RULES)
            found |= fits
        return found

    kept, left = named(only), named(without)
    chosen = [r for r in rules.rules if (not only or r.id in kept) and r.id not in left]
    return replace(rules, rules=tuple(chosen))


def _fits(name: str, key: str) -> bool:
    return key.startswith(name[:-1]) if name.endswith("*") else key == name
