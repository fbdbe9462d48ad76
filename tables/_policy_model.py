"""What a policy file may say: every section of `policy.toml` with its fields.

Every number is read exactly: a whole number or a decimal, never a binary fraction. The meaning of
each field, and the order in which they act, is in `docs/policy.md`; the JSON schema for editors
comes from here (`grouper tables schema`).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Literal, TypeAlias

from pydantic import ConfigDict, Field

from grouper.tables._files import Settings

Number: TypeAlias = int | Decimal
Day: TypeAlias = Literal["settlement", "discharge", "admission"]

UNITS = {"fen": Fraction(1), "yuan": Fraction(100), "万元": Fraction(1_000_000)}
"""Units of money in fen; "yuan per 1.0000 RW" counts as yuan."""

SELECTORS = (
    "insurance",
    "level",
    "class",
    "pool",
    "hospital",
    "group",
    "area",
    "family",
    "item",
    "month",
)
"""What a dated value may be narrowed to; `class` is a finer kind of hospital, `area` its place."""


class Section(Settings):
    """A section of a policy; the text under a field describes it in the JSON schema."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True
    )


class Dated(Section):
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
    class_: str | None = Field(default=None, alias="class")
    pool: str | None = None
    hospital: str | None = None
    group: str | None = None
    area: str | None = None
    family: str | None = None
    item: str | None = None
    month: str | None = None

    def selector(self, name: str) -> str | None:
        """Return what one selector asks for."""
        found: str | None = getattr(self, "class_" if name == "class" else name)
        return found

    @property
    def narrowed(self) -> int:
        """How many selectors it names."""
        return sum(self.selector(s) is not None for s in SELECTORS)

    def fits(self, selected: Mapping[str, str]) -> bool:
        """Tell whether its selectors agree with `selected`."""
        return all(self.selector(s) in (None, selected.get(s)) for s in SELECTORS)


class Parameter(Section):
    """A dated parameter (参数)."""

    name_zh: str
    unit: str
    values: list[Value] = []
    inherited: Parameter | None = None
    """The parameter of the policy that this one inherits; asked where no value here fits."""

    @property
    def factor(self) -> Fraction:
        """Fen per unit, or 1 for a ratio."""
        return UNITS.get(self.unit.split(" ")[0], Fraction(1))

    @property
    def all_values(self) -> list[Value]:
        """Its own values, then those it inherits."""
        return [*self.values, *(self.inherited.all_values if self.inherited else ())]


class Adoption(Dated):
    """Which scheme edition is in force (分组方案版本), by discharge or settlement day."""

    id: str
    by: Literal["discharge", "settlement"] = "discharge"


class Method(Section):
    """How groups become money."""

    kind: Literal["rate", "point"]
    """rate 费率法 or point 点数法 (DRG points, DIP scores)."""
    rate: Literal["fixed", "floating", "elastic"] = "fixed"
    """Rate method: fixed = never recomputed, floating = closes the fund, elastic = fixed to `base_volume`."""
    fund_form: Literal["difference", "ratio", "in_scope", "fund_points"]
    """What the fund owes for a standard: see docs."""
    ratio_scope: Literal["region", "hospital", "case", "published"] = "region"
    negative: Literal["keep", "zero_case", "zero_hospital"] = "keep"
    """What becomes of a payment below zero."""
    left_over: Literal["report", "rescale", "solve", "reserve"] = "report"
    """What becomes of what the fund form leaves over; solve = the largest point value within the fund."""
    dated_by: Day = "settlement"
    """The date by which dated values are chosen."""
    fund_by: Day | None = None
    """The date that decides month and fund; left out: `dated_by`."""
    points_per_weight: int = Field(default=100, gt=0)
    score_of_mean: int = Field(default=0, ge=0)
    """Score of a case of mean cost under rule cost_over_mean; 0 = points_per_weight."""
    score_decimals: int = Field(default=4, ge=0, le=6)
    point_value_decimals: int = Field(default=6, ge=0, le=10)
    """Decimals at which the point value is printed; it is kept as a ratio."""
    source: str = Field(min_length=1)

    @property
    def shares(self) -> bool:
        """Tell whether a fund is shared in proportion to claims."""
        return self.kind == "point" or self.rate == "floating"


class Funds(Section):
    """Who pays what of a case's cost: names of case columns in fen."""

    booked: list[str] = ["fund_paid_fen"]
    other_payers: list[str] = []
    hospital_borne: list[str] = ["hospital_borne_fen"]
    patient: list[str] = []
    """Empty: what is left of the cost."""
    source: str = Field(min_length=1)


class Pool(Section):
    """A separate account (资金池); a case goes to the first pool all of whose lists name it."""

    id: str = Field(min_length=1)
    insurance: list[str] = []
    insured_area: list[str] = []
    hospital_area: list[str] = []
    hospital: list[str] = []
    """Members of a consortium 医共体. An empty list takes all."""
    price_of: str | None = None
    """A price taker: paid at the point value of that pool, outside its scores and fund."""
    source: str = ""


class Weights(Dated):
    """A table of weights (权重表): a file, or the scores of a DIP catalogue (shipped, or beside)."""

    file: str = ""
    catalogue: str = ""

    @property
    def name(self) -> str:
        """What the table is called in messages."""
        return self.file or self.catalogue


class Edge(Dated):
    """A band of deviation (偏差): the ratio cost ÷ benchmark at which it begins, and its pay."""

    edge: Number
    inclusive: bool = False
    """The edge itself belongs to this band."""
    pay: Literal["excess", "cost", "ratio", "base", "formula"]
    share: Number = 1
    """Of the excess that is paid."""
    above: Number | None = None
    """What the excess is counted from; left out: the edge."""
    coefficient: bool = True
    """The hospital coefficient enters the part that depends on the ratio."""
    cap: Number | None = None
    """The claim is at most so many times the normal one."""
    formula: str | None = None
    review: bool = False
    """Cases of this band go to review (专家评审)."""
    level: str | None = None
    class_: str | None = Field(default=None, alias="class")
    key: Literal["weight", "points"] = "weight"
    weight_from: Number | None = None
    weight_below: Number | None = None


class Benchmark(Section):
    """What a case's cost is compared with; never with the point value being solved."""

    kind: Literal["standard", "mean", "table", "prior", "score", "none"]
    """standard = weight × rate × coefficient; mean = of the weight table; table = `file`; prior = means
    of last year's cases; score = score × a point value that is known beforehand."""
    file: str = ""
    """table: CSV of group, level (or blank), mean_cost in yuan."""
    by: Literal["", "level", "class"] = ""
    """table, prior: which hospitals a mean is of; a missing one falls back to the group's."""
    point_value: Literal["published", "last", "own"] = "published"
    """score: param.point_value_budget or param.point_value_last; own is refused, since it is a circle."""
    source: str = Field(min_length=1)


class Step(Section):
    """One bonus of a hospital coefficient: steps above the mean of hospitals of its level."""

    indicator: Literal["cmi", "age_share", "fee_share"]
    """Mean weight; share of cases of an age; share of a fee in total cost."""
    name_zh: str = ""
    age_from: int = 0
    age_to: int = 200
    fee: str = ""
    """fee_share: a money column, such as tcm_fen."""
    step: Number
    """Percent above the mean that make one step."""
    each: Number
    """Bonus for each whole step."""
    first: Number = 0
    """Bonus for being above the mean at all."""
    caps: dict[str, Number]
    """Greatest bonus by hospital level; a level not named has none."""


class Coefficient(Section):
    """How hospital coefficients come about; without this section they are param.coefficient."""

    kind: Literal["table", "steps", "mean_ratio"]
    file: str = ""
    """table: CSV of group, level, coefficient; a row with a blank group is for all others."""
    by: Literal["level", "class"] = "level"
    step: list[Step] = []
    of: Literal["hospital", "level"] = "hospital"
    """mean_ratio: mean cost of the hospital (or of hospitals of its level) ÷ that of all."""
    per_group: bool = True
    """mean_ratio: a ratio for each group; else one for all cases."""
    means: Literal["cases", "prior"] = "cases"
    least: Number | None = None
    most: Number | None = None
    least_cases: int = 1
    """mean_ratio: below so many cases the coefficient is 1."""
    decimals: int = Field(default=4, ge=0, le=6)
    source: str = Field(min_length=1)


class StatusPay(Section):
    """What a case is paid that has no weight of its own group."""

    rule: Literal["weight", "group", "own_group", "cost", "cost_over_mean", "booked", "zero"]
    value: Number | str | None = None
    coefficient: bool = False
    source: str = Field(min_length=1)


class When(Section):
    """Conditions of a family, all of which must hold; a list holds if it names the case's value."""

    med_type: list[str] = []
    ipt_med_type: list[str] = []
    trt_type: list[str] = []
    department: list[str] = []
    group: list[str] = []
    los_from: int | None = None
    fee: str = ""
    fee_share_from: Number | None = None
    """Share of column `fee` in total cost."""


class Family(Section):
    """Cases that are paid in their own way: per diem 床日, day surgery, TCM, fee for service."""

    id: str
    name_zh: str = ""
    when: When
    pay: Literal["per_day", "per_case", "factor", "booked"]
    """per_day: param.per_day × days; per_case: param.per_case; factor: ordinary × param.family_factor."""
    fund: Literal["points", "off_top", "outside"] = "points"
    """Inside the fund as points, inside it but paid first, or outside it with a line of its own."""
    source: str = Field(min_length=1)


class Readmission(Section):
    """The same patient again within days (转院, 分解住院): the later case is paid a part."""

    days: int = Field(ge=0)
    same_group: bool = True
    other_hospital: bool | None = None
    """True: only another hospital, false: only the same one, left out: either."""
    factor: Number
    source: str = Field(min_length=1)


class Quota(Section):
    """At most this share of cases is paid as high (高倍率限额), ranked by excess; the rest is normal."""

    share: Number
    per: Literal["hospital", "level", "pool"] = "hospital"
    source: str = Field(min_length=1)


class SpecialCases(Section):
    """Special cases (特例单议): quota = floor(param.special_share × cases of the period)."""

    per: Literal["pool", "level", "hospital"] = "pool"
    paid_from: Literal["fund", "reserve"] = "fund"
    """fund: a decided score enters the sum before the point value; reserve: paid as an entry."""
    source: str = Field(min_length=1)


class Less(Section):
    """What leaves the budget before it is a fund: amount = param.less (item), or a share, or actual."""

    id: str
    kind: Literal["amount", "share", "actual"]
    share: Number = 0
    reserve: bool = False
    """This part is the reserve 风险调节金, from which is drawn."""


class Budget(Section):
    """How the fund comes from the budget: fund = budget − each `less`."""

    method: Literal["amount", "growth"] = "amount"
    """amount: param.budget; growth: param.budget_base × (1 + param.budget_growth)."""
    less: list[Less] = []
    source: str = Field(min_length=1)


class CarveOut(Section):
    """Separately paid drugs, consumables, new technology (除外支付): carve_out_fen × share."""

    share: Number = 1
    fund: Literal["inside", "outside"] = "outside"
    source: str = Field(min_length=1)


class Share(Section):
    """A band of booked ÷ payable and the share kept (surplus) or borne by the fund (overspend)."""

    ratio_from: Number | None = None
    ratio_below: Number | None = None
    share: Number
    source: str = Field(min_length=1)

    def holds(self, ratio: Fraction) -> bool:
        """Tell whether a ratio lies in the band: from included, below excluded."""
        least = self.ratio_from is None or ratio >= Fraction(self.ratio_from)
        return least and (self.ratio_below is None or ratio < Fraction(self.ratio_below))


class Year(Section):
    """The year: monthly pre-settlement 月预结 and annual clearing 年度清算."""

    pace: Literal["even", "seasonal"] = "even"
    """even: one twelfth a month; seasonal: param.pace by month, such as 2025-01."""
    month_point_value: Literal["own", "budget", "last"] = "own"
    """own: the month's budget; budget, last: param.point_value_budget, param.point_value_last."""
    point_value_form: Literal["difference", "ratio", "fund_points"] | None = None
    """The fund form by which a given point value was formed; another than the policy's is refused."""
    assessment: Literal["none", "pay", "deposit"] = "none"
    """pay: payment × coefficient; deposit: only the deposit is at stake."""
    surplus: list[Share] = []
    overspend: list[Share] = []
    overspend_from: list[Literal["reserve", "unretained"]] = []
    """Sources of what the fund bears of overspends, in order; scaled pro rata if short."""
    no_top_up: bool = False
    """超支不补: nothing is borne of an overspend."""
    unretained_to: Literal["reserve", "next_year", "second"] = "next_year"
    """Where a surplus that is not kept goes; second: shared once more by payable."""
    source: str = Field(min_length=1)


class Warnings(Section):
    """Growth above pace (预警): payments so far ÷ budget so far at which a colour begins."""

    yellow: Number
    orange: Number
    red: Number
    hold_on_red: bool = False
    """Propose to hold next month's payment."""
    source: str = Field(min_length=1)


class Calendar(Section):
    """Dates (时限): working days skip weekends and `holidays`, count `workdays`."""

    holidays: list[date] = []
    workdays: list[date] = []
    filing_day: int = Field(default=15, ge=1, le=28)
    """Lists of a month are filed by this day of the next."""
    settle_working_days: int = 30
    pay_by_day: int | None = None
    clear_by: str = "06-30"
    """Month and day of the next year."""
    source: str = Field(min_length=1)


class StandIn(Section):
    """What stands in for columns that the cases lack; each use is counted."""

    hospital_id: str | None = None
    hospital_level: str | None = None
    insurance: str | None = None
    settlement_date: date | None = None


class Basic(Section):
    """Basic and primary-care groups (基础病组, 基层病种): one price everywhere.

    `level` names the hospital level whose coefficient counts; left out, none does.
    """

    level: str | None = None
    source: str = Field(min_length=1)


class PolicySettings(Section):
    """`policy.toml`."""

    id: str
    title: str
    standing: Literal["published", "example", "invented"]
    source: str = Field(min_length=1)
    inherits: str | None = None
    """A policy whose sections hold where this one is silent: national → province → city → year."""
    notes: list[str] = []
    scheme: list[Adoption] = []
    method: Method
    funds: Funds
    pool: list[Pool] = Field(min_length=1)
    weights: list[Weights] = Field(min_length=1)
    basic: Basic | None = None
    coefficient: Coefficient | None = None
    benchmark: Benchmark | None = None
    low: list[Edge] = []
    high: list[Edge] = []
    extreme: list[Edge] = []
    high_quota: Quota | None = None
    status_pay: dict[str, StatusPay]
    family: list[Family] = []
    carve_out: CarveOut | None = None
    readmission: list[Readmission] = []
    special_cases: SpecialCases | None = None
    budget: Budget | None = None
    year: Year | None = None
    warnings: Warnings | None = None
    calendar: Calendar | None = None
    stand_in: StandIn = StandIn()
    param: dict[str, Parameter]


PARAMETERS = {
    "base_rate": ("money", "fen per unit of weight 费率"),
    "base_volume": ("ratio", "weight up to which an elastic rate is fixed"),
    "coefficient": ("ratio", "hospital coefficient 等级系数"),
    "fund": ("money", "money of a pool for the period from … to"),
    "budget": ("money", "budget of a pool for the period from … to, before [[budget.less]]"),
    "budget_base": ("money", "last year's, for the growth method"),
    "budget_growth": ("ratio", "growth of the budget over its base"),
    "less": ("money", "amount of an item of [[budget.less]], by `item`"),
    "fund_ratio": ("ratio", "published ratio of fund to cost"),
    "overall_mean": ("money", "mean cost of all cases"),
    "point_value_budget": ("money", "budget point value P0, per point"),
    "point_value_last": ("money", "point value of the last clearing, per point"),
    "point_value_floor": ("money", "least point value, per point"),
    "point_value_cap": ("money", "greatest point value, per point"),
    "hospital_cap": ("money", "most that a hospital is paid for a period, by `hospital`"),
    "per_day": ("money", "standard of a bed-day, by `family`"),
    "per_case": ("money", "standard of a case of a family"),
    "family_factor": ("ratio", "factor of a family on the ordinary claim"),
    "pace": ("ratio", "weight of a month in the year's budget, by `month`"),
    "monthly_rate": ("ratio", "share of a month's payment that is paid at once"),
    "deposit_rate": ("ratio", "quality deposit 质量保证金, at most 0.05"),
    "assessment": ("ratio", "assessment coefficient 考核系数, by `hospital`"),
    "special_share": ("ratio", "quota of special cases, by `level`"),
    "reserve_balance": ("money", "reserve carried over from earlier years"),
}
"""The parameters that settlement reads: money or ratio, and what each is."""

STATUSES = ("ambiguous", "ungrouped", "rejected", "not_covered", "unstable", "no_list")
