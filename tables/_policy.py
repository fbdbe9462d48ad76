"""Payment policies as data: a TOML file of dated values, each with its unit and source.

Every number is read exactly: a whole number or a decimal, never a binary fraction. A value may be
narrowed to an insurance, hospital level, pool, hospital or group; of those that fit, the one
narrowed most counts, then the latest. Two that are equal in both are a fault of the file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Literal, TypeAlias

from pydantic import Field

from grouper.errors import PolicyError, SchemeNotFound, TableError
from grouper.tables._dip import FILE as SCHEME_FILE
from grouper.tables._dip import read_dip
from grouper.tables._files import SHIPPED, Settings, check_settings, decimal, read_table, read_toml

FILE = "policy.toml"

Number: TypeAlias = int | Decimal

UNITS = {"fen": Fraction(1), "yuan": Fraction(100), "万元": Fraction(1_000_000)}
"""Units of money in fen; "yuan per 1.0000 RW" counts as yuan."""

MOST_FUND_FEN = 10**15

SELECTORS = ("insurance", "level", "pool", "hospital", "group")


class Dated(Settings):
    """Something in force from a day on, with its source."""

    from_: date = Field(alias="from")
    to: date | None = None
    source: str = Field(min_length=1)

    def covers(self, day: date) -> bool:
        """Tell whether it is in force on `day` (both ends included)."""
        return self.from_ <= day and (self.to is None or day <= self.to)


class Value(Dated):
    """One value of a parameter; a selector left out fits everything."""

    value: Number
    insurance: str | None = None
    level: str | None = None
    pool: str | None = None
    hospital: str | None = None
    group: str | None = None

    @property
    def narrowed(self) -> int:
        """How many selectors it names."""
        return sum(getattr(self, s) is not None for s in SELECTORS)

    def fits(self, selected: Mapping[str, str]) -> bool:
        """Tell whether its selectors agree with `selected`."""
        return all(getattr(self, s) in (None, selected.get(s)) for s in SELECTORS)


class Parameter(Settings):
    """A dated parameter (参数)."""

    name_zh: str
    unit: str
    values: list[Value] = Field(min_length=1)

    @property
    def factor(self) -> Fraction:
        """Fen per unit, or 1 for a ratio."""
        return UNITS.get(self.unit.split(" ")[0], Fraction(1))


class Adoption(Dated):
    """Which scheme edition is in force (分组方案版本), by discharge or settlement day."""

    id: str
    by: Literal["discharge", "settlement"] = "discharge"


class Method(Settings):
    """How groups become money."""

    kind: Literal["rate", "point"]  # 费率法, 点数法
    rate: Literal["fixed", "floating"] = "fixed"
    fund_form: Literal["difference", "ratio", "in_scope", "fund_points"]
    ratio_scope: Literal["region", "hospital", "case", "published"] = "region"
    negative: Literal["keep", "zero_case", "zero_hospital"] = "keep"
    left_over: Literal["report", "rescale"] = "report"
    dated_by: Literal["settlement", "discharge"] = "settlement"
    points_per_weight: int = Field(default=100, gt=0)
    score_of_mean: int = Field(default=0, ge=0)  # of a case of mean cost; 0: points_per_weight
    score_decimals: int = Field(default=4, ge=0, le=6)
    source: str = Field(min_length=1)


class Funds(Settings):
    """Who pays what of a case's cost: names of case columns in fen."""

    booked: list[str] = ["fund_paid_fen"]
    other_payers: list[str] = []
    hospital_borne: list[str] = ["hospital_borne_fen"]
    patient: list[str] = []  # empty: what is left of the cost
    source: str = Field(min_length=1)


class Pool(Settings):
    """A separate account (资金池): the cases of some insurance types."""

    id: str
    insurance: list[str] = []  # empty: all that no other pool names


class Weights(Dated):
    """A table of weights (权重表): a file, or the scores of a DIP catalogue (shipped, or beside)."""

    file: str = ""
    catalogue: str = ""

    @property
    def name(self) -> str:
        """What the table is called in messages."""
        return self.file or self.catalogue


class Edge(Dated):
    """A high or low multiple (高倍率, 低倍率): an edge of cost ÷ benchmark and what lies beyond.

    high: base + (ratio - edge) × share × base; the hospital coefficient enters the excess if
    `coefficient` says so. low: the cost itself, or base × ratio.
    """

    edge: Number
    inclusive: bool = False
    pay: Literal["excess", "cost", "ratio"]
    share: Number = 1
    coefficient: bool = True
    level: str | None = None
    weight_from: Number | None = None
    weight_below: Number | None = None

    def fits(self, day: date, level: str, weight: Fraction) -> bool:
        """Tell whether this tier is meant for the day, hospital level and weight."""
        at_least = self.weight_from is None or weight >= Fraction(self.weight_from)
        below = self.weight_below is None or weight < Fraction(self.weight_below)
        return self.covers(day) and self.level in (None, level) and at_least and below


class Benchmark(Settings):
    """What a case's cost is compared with; never with the point value being solved."""

    kind: Literal["standard", "mean", "none"]
    source: str = Field(min_length=1)


class StatusPay(Settings):
    """What a case is paid that has no weight of its own group."""

    rule: Literal["weight", "group", "own_group", "cost", "cost_over_mean", "booked", "zero"]
    value: Number | str | None = None
    coefficient: bool = False
    source: str = Field(min_length=1)


class StandIn(Settings):
    """What stands in for columns that the cases lack; each use is counted."""

    hospital_id: str | None = None
    hospital_level: str | None = None
    insurance: str | None = None
    settlement_date: date | None = None


class Basic(Settings):
    """Basic and primary-care groups (基础病组, 基层病种): one price everywhere.

    `level` names the hospital level whose coefficient counts; left out, none does.
    """

    level: str | None = None
    source: str = Field(min_length=1)


class PolicySettings(Settings):
    """`policy.toml`."""

    id: str
    title: str
    standing: Literal["published", "example", "invented"]
    source: str = Field(min_length=1)
    notes: list[str] = []
    scheme: list[Adoption] = []
    method: Method
    funds: Funds
    pool: list[Pool] = Field(min_length=1)
    weights: list[Weights] = Field(min_length=1)
    basic: Basic | None = None
    benchmark: Benchmark | None = None
    high: list[Edge] = []
    low: list[Edge] = []
    status_pay: dict[str, StatusPay]
    stand_in: StandIn = StandIn()
    param: dict[str, Parameter]


@dataclass(frozen=True, slots=True)
class WeightRow:
    """One group of a weight table; `weight` None = the table names the group without a weight."""

    group: str
    weight: Fraction | None
    mean_fen: Fraction | None
    basic: bool
    unstable: bool
    line: int


@dataclass(frozen=True, slots=True)
class PayAs:
    """A note of the weight table: pay these cases as another group, or a share of a weight."""

    id: str
    group: str
    note: str
    pay_as: str
    share: Fraction
    always: bool


PARAMETERS = {
    "base_rate": "fen per unit of weight",
    "coefficient": "hospital coefficient 等级系数",
    "fund": "money of a pool for the period from … to",
    "fund_ratio": "published ratio of fund to cost",
    "overall_mean": "mean cost of all cases",
}
"""The parameters that `settle` reads."""

STATUSES = ("ambiguous", "ungrouped", "rejected", "not_covered", "unstable")


@dataclass(frozen=True, eq=False)
class Policy:
    """A payment policy (支付政策): immutable; `at` reads its dated parameters."""

    settings: PolicySettings
    folder: Path
    fingerprint: str
    tables: Mapping[str, Mapping[str, WeightRow]] = field(repr=False)
    pay_as: Mapping[str, PayAs] = field(repr=False)

    @property
    def id(self) -> str:
        """The policy's id, as in its `policy.toml`."""
        return self.settings.id

    def at(self, name: str, on: date, **selected: str) -> Fraction:
        """Return a parameter's value on a day: fen for money, else as written.

        Raises
        ------
        PolicyError : no such parameter, no value in force that fits, or two that fit equally.
        """
        value = self.value(name, on, **selected)
        return Fraction(value.value) * self.settings.param[name].factor

    def value(self, name: str, on: date, **selected: str) -> Value:
        """Return the dated value itself, with source and period; see `at`."""
        if name not in self.settings.param:
            raise PolicyError(f"the policy {self.id} has no such parameter", parameter=name)
        values = self.settings.param[name].values
        found = [v for v in values if v.covers(on) and v.fits(selected)]
        if not found:
            first = min(v.from_ for v in values)
            wanted = ", ".join(f"{k} {v}" for k, v in selected.items())
            message = f"no value on {on} for {wanted or 'all'}; the first is of {first}"
            raise PolicyError(message, parameter=name)
        found.sort(key=lambda v: (v.narrowed, v.from_), reverse=True)
        rank = [(v.narrowed, v.from_) for v in found[:2]]
        if len(rank) == 2 and rank[0] == rank[1]:
            raise PolicyError(f"two values fit equally on {on}", parameter=name)
        return found[0]

    def has(self, name: str) -> bool:
        """Tell whether the policy gives a parameter."""
        return name in self.settings.param

    def weights_on(self, day: date) -> Mapping[str, WeightRow]:
        """Return the weight table in force on a day: group -> row.

        Raises
        ------
        PolicyError : no table is in force.
        """
        found = [w for w in self.settings.weights if w.covers(day)]
        if not found:
            raise PolicyError(f"no weight table is in force on {day}", parameter="weights")
        return self.tables[max(found, key=lambda w: w.from_).name]

    @cached_property
    def breaks(self) -> tuple[date, ...]:
        """Days on which some value begins or has just ended, in order."""
        s = self.settings
        dated: list[Dated] = [*s.weights, *s.high, *s.low]
        dated += [v for p in s.param.values() for v in p.values]
        ends = {date.fromordinal(d.to.toordinal() + 1) for d in dated if d.to and d.to.year < 9999}
        return tuple(sorted({d.from_ for d in dated} | ends))


def policy_ids() -> list[str]:
    """List the policies that ship with the package."""
    return sorted(p.parent.name for p in SHIPPED.glob(f"*/{FILE}"))


def load_policy(name: str | Path) -> Policy:
    """Load a policy: the id of a shipped one, a folder with ``policy.toml``, or such a file.

    Raises
    ------
    SchemeNotFound : nothing of that name. TableError : a file is refused. PolicyError : parts of the
    policy contradict each other; every contradiction is named.
    """
    path = Path(name)
    if str(name) in policy_ids():
        path = SHIPPED / str(name) / FILE
    elif path.is_dir():
        path = path / FILE
    elif not path.is_file():
        raise SchemeNotFound(str(name), policy_ids(), kind="policy")
    settings = check_settings(read_toml(path), PolicySettings, path.name)
    digest = hashlib.sha256(path.read_bytes())
    tables = {}
    for w in settings.weights:
        if bool(w.file) == bool(w.catalogue):
            raise PolicyError("give a file or a catalogue", parameter="weights", file=path.name)
        if w.catalogue:
            tables[w.name], scored = _read_catalogue(w.catalogue, path.parent)
            digest.update(scored.encode())
        else:
            tables[w.name] = _read_weights(path.parent / w.file)
            digest.update((path.parent / w.file).read_bytes())
    notes = path.parent / "pay_as.csv"
    if notes.exists():
        digest.update(notes.read_bytes())
    policy = Policy(
        settings, path.parent, digest.hexdigest(), tables, _read_pay_as(notes, tables.values())
    )
    _check(policy, path.name)
    return policy


def _read_weights(path: Path) -> dict[str, WeightRow]:
    """Read ``group, weight`` and what else the table has of mean_cost, basic, kind."""
    rows: dict[str, WeightRow] = {}
    extra = ("mean_cost", "basic", "kind")
    for line, cells in read_table(path, ("group", "weight"), extra):
        group, weight, mean_cost, basic, kind = cells
        if not group or group in rows:
            raise TableError(f"group {group!r} is empty or stands twice", file=path.name, row=line)
        mean, value = (decimal(x, path.name, line) for x in (mean_cost, weight))
        if (mean or 0) < 0 or (value or 0) < 0:
            raise TableError("a negative weight or mean cost", file=path.name, row=line)
        rows[group] = WeightRow(
            group,
            value,
            mean * 100 if mean is not None else None,
            basic in ("1", "true", "是"),
            kind == "unstable",
            line,
        )
    if not rows:
        raise TableError("the table is empty", file=path.name)
    return rows


def _read_catalogue(name: str, beside: Path) -> tuple[dict[str, WeightRow], str]:
    """Read the scores of a DIP catalogue as weights, and its fingerprint."""
    for folder in (SHIPPED / name, beside / name):
        if (folder / SCHEME_FILE).is_file():
            tables = read_dip(folder)
            rows = {
                g.code: WeightRow(
                    g.code,
                    g.score,
                    None if g.mean_fen is None else Fraction(g.mean_fen),
                    g.primary_care,
                    False,
                    g.line,
                )
                for g in tables.groups
            }
            return rows, tables.fingerprint
    message = f"catalogue {name!r} is neither shipped nor a folder beside the policy"
    raise PolicyError(message, parameter="weights")


def _read_pay_as(path: Path, tables: Iterable[Mapping[str, WeightRow]]) -> dict[str, PayAs]:
    found: dict[str, PayAs] = {}
    if not path.exists():
        return found
    groups = {g for t in tables for g in t}
    columns = ("id", "group", "note", "pay_as", "share", "when")
    for line, (key, group, note, target, share, when) in read_table(path, columns):
        part = decimal(share or "1", path.name, line)
        assert part is not None
        if key in found or group not in groups or (target or group) not in groups:
            message = f"{key!r} stands twice, or {group!r} or {target!r} has no weight row"
            raise TableError(message, file=path.name, row=line)
        if when not in ("always", "named"):
            raise TableError(f"when {when!r} is neither always nor named", file=path.name, row=line)
        found[key] = PayAs(key, group, note, target or group, part, when == "always")
    return found


def _check(policy: Policy, file: str) -> None:
    """Refuse contradictions: a fund form with another's point value, a benchmark in a circle."""
    s, m, faults = policy.settings, policy.settings.method, []
    if m.fund_form == "in_scope" and m.kind != "rate":
        faults.append("method: in_scope is a form of the rate method; it has no point value")
    if m.fund_form == "in_scope" and m.rate == "floating":
        faults.append("method: in_scope is not proportional to the standard, so it cannot float")
    if m.ratio_scope != "region" and m.fund_form not in ("ratio", "in_scope"):
        faults.append("method: ratio_scope belongs to fund_form = ratio")
    if m.fund_form == "in_scope" and m.ratio_scope != "published":
        faults.append('method: in_scope needs ratio_scope = "published" and param.fund_ratio')
    if m.ratio_scope == "published" and "fund_ratio" not in s.param:
        faults.append("param.fund_ratio: ratio_scope = published needs it")
    if m.kind == "rate" and "base_rate" not in s.param:
        faults.append("param.base_rate: the rate method needs it")
    if (s.high or s.low) and (s.benchmark is None or s.benchmark.kind == "none"):
        faults.append("benchmark: high and low multiples need one")
    if s.benchmark and s.benchmark.kind == "standard" and "base_rate" not in s.param:
        faults.append(
            "benchmark: standard needs a published param.base_rate; the point value being solved "
            "would make it depend on itself"
        )
    for name in ("ambiguous", "ungrouped", "rejected", "not_covered"):
        if name not in s.status_pay:
            faults.append(f"status_pay.{name}: no rule")
    for name, rule in s.status_pay.items():
        if name not in STATUSES:
            faults.append(f"status_pay.{name}: not one of {', '.join(STATUSES)}")
        if rule.rule in ("weight", "cost", "cost_over_mean") and not isinstance(
            rule.value, int | Decimal
        ):
            faults.append(f"status_pay.{name}: rule {rule.rule} needs a number as value")
        elif isinstance(rule.value, int | Decimal) and rule.value < 0:
            faults.append(f"status_pay.{name}: a value below 0")
        if rule.rule == "cost_over_mean" and "overall_mean" not in s.param:
            faults.append(f"status_pay.{name}: cost_over_mean needs param.overall_mean")
        if rule.rule == "own_group" and name == "not_covered":
            faults.append("status_pay.not_covered: own_group has no weight of its own")
        if rule.rule == "group" and not any(rule.value in t for t in policy.tables.values()):
            faults.append(f"status_pay.{name}: group {rule.value!r} is in no weight table")
    faults += [
        f"param.{n}: not one of {', '.join(PARAMETERS)}" for n in s.param if n not in PARAMETERS
    ]
    for name, p in s.param.items():
        least = Fraction(0) if name != "overall_mean" else Fraction(1, 10**6)
        if any(Fraction(v.value) < least for v in p.values):
            faults.append(f"param.{name}: a value below {'0' if least == 0 else 'or at 0'}")
        money = name in ("base_rate", "fund", "overall_mean")
        if (p.unit.split(" ")[0] in UNITS) != money or (not money and p.unit != "ratio"):
            wanted = "fen, yuan or 万元, such as 'yuan per 1.0000 RW'" if money else "ratio"
            faults.append(f"param.{name}: unit {p.unit!r} is not {wanted}")
    if len({p.id for p in s.pool}) < len(s.pool):
        faults.append("pool: an id stands twice")
    faults += [f"high: share {e.share} is not 0 to 1" for e in s.high if not 0 <= e.share <= 1]
    for value in s.param["fund"].values if "fund" in s.param else ():
        fen = Fraction(value.value) * s.param["fund"].factor
        if fen.denominator != 1 or fen >= MOST_FUND_FEN or (value.to and value.to < value.from_):
            faults.append(
                f"param.fund: {value.value} from {value.from_} to {value.to} is not a whole "
                "number of fen below 10^15 for a period"
            )
    for value in s.param["fund"].values if "fund" in s.param else ():
        if value.to is None:
            faults.append("param.fund: each value needs `to`: it is the money of a period")
    for kind, edges in (("high", s.high), ("low", s.low)):
        faults += [
            f"{kind}: pay = {e.pay!r} does not belong there"
            for e in edges
            if (e.pay == "excess") != (kind == "high")
        ]
    named = [i for p in s.pool for i in p.insurance]
    if len(named) != len(set(named)) or sum(not p.insurance for p in s.pool) > 1:
        faults.append("pool: an insurance type is in two pools")
    if faults:
        raise PolicyError("; ".join(faults), file=file)
