"""What the loader of policies refuses: a good policy with one thing broken for each refusal.

The broken text carries the mark `#!` on the line that the message has to name. Every message is
compared whole, so that nothing else is refused beside the one fault.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest
from policies import POLICY, Swap, budget, changed, param, write

from grouper.errors import PolicyError, TableError
from grouper.tables import load_policy, policy_ids
from grouper.tables._policy_model import PARAMETERS

pytestmark = pytest.mark.promise("A table that is wrong is refused by file, row and cure")


class Broken(NamedTuple):
    """The message, what is changed, and what is appended."""

    said: str
    swaps: tuple[Swap, ...]
    more: str

    def text(self) -> str:
        return changed(POLICY, *self.swaps) + self.more

    def line(self) -> int:
        """Return the line with the mark, 0 if there is none."""
        lines = self.text().split("\n")
        return next((k for k, line in enumerate(lines, 1) if "#!" in line), 0)


def broken(said: str, *swaps: Swap, more: str = "") -> Broken:
    return Broken(said, swaps, more)


def test_the_policy_that_is_broken_below_loads(tmp_path: Path) -> None:
    assert load_policy(write(tmp_path)).id == "p"
    assert load_policy(write(tmp_path, changed(POLICY, *budget()))).settings.budget is not None


# ------------------------------------------------------------------ no policy at all, or a table of it

METHOD = 'negative = "zero_case"'
RULE = 'ambiguous = { rule = "zero", source = "invented" }'
FUND = '{ from = 2022-01-01, to = 2022-12-31, value = 1000, source = "invented" },'
METHOD_KEYS = (
    "kind, rate, fund_form, ratio_scope, negative, left_over, dated_by, fund_by, "
    "points_per_weight, score_of_mean, score_decimals, point_value_decimals, source"
)
VALUE_KEYS = (
    "from, to, source, value, insurance, level, class, pool, hospital, group, area, family, item, "
    "month"
)
NO_NUMBER = "Input should be a valid integer / Input should be a decimal"

UNREADABLE = {
    "an unknown key": broken(
        f"method.kindd: Extra inputs are not permitted; known: {METHOD_KEYS}",
        (METHOD, 'kindd = "point" #!'),
    ),
    "an unknown key of an inline table": broken(
        "status_pay.ambiguous.coef: Extra inputs are not permitted; "
        "known: rule, value, coefficient, source",
        (RULE, RULE.replace(" }", ", coef = true } #!")),
    ),
    "an unknown selector": broken(
        f"param.fund.values.0.lvl: Extra inputs are not permitted; known: {VALUE_KEYS}",
        (FUND, FUND.replace(" },", ', lvl = "三级" }, #!')),
    ),
    "a wrong type": broken(
        "method.score_decimals: Input should be a valid integer",
        (METHOD, 'score_decimals = "4" #!'),
    ),
    "a number as text": broken(f"high.0.edge: {NO_NUMBER}", ("edge = 2", 'edge = "2" #!')),
    "a word that is none of those": broken(
        "high.0.pay: Input should be 'excess', 'cost', 'ratio', 'base' or 'formula'",
        ('pay = "excess"', 'pay = "exces" #!'),
    ),
    "a day as text": broken(
        "low.0.from: Input should be a valid date",
        ('pay = "ratio"\nfrom = 2022-01-01', 'pay = "ratio"\nfrom = "2022-01-01" #!'),
    ),
    "a missing key, at its section": broken(
        "high.1.pay: Field required",
        more="[[high]] #!\nedge = 3\nfrom = 2023-01-01\nsource = 'x'",
    ),
    "a missing key of a value, at the value": broken(
        "param.less.values.1.source: Field required",
        more=param("less", "yuan", "value = 1")[:-2] + "{ from = 2023-01-01, value = 1 }, #!\n]\n",
    ),
    "a missing section": broken("funds: Field required", ('[funds]\nsource = "invented"\n', "")),
    "an empty source": broken(
        "source: String should have at least 1 character",
        ('source = "invented"\n\n[method]', 'source = "" #!\n\n[method]'),
    ),
    "two faults of one line": broken(
        f"param.fund.values.0.value: Field required; param.fund.values.0.val: Extra inputs are not "
        f"permitted; known: {VALUE_KEYS}",
        (FUND, FUND.replace("value", "val") + " #!"),
    ),
    "faults of several lines": broken(
        "method.kind: Input should be 'rate' or 'point'; line 40: high.0.share: " + NO_NUMBER,
        ('kind = "point"', 'kind = "points" #!'),
        ("share = 0.8", "share = true"),
    ),
    "a key that stands twice": broken(
        "not TOML in UTF-8: Cannot overwrite a value (at line 9, column 14)",
        (METHOD, 'kind = "rate" #!'),
    ),
    "a section that stands twice": broken(
        "not TOML in UTF-8: Cannot declare ('funds',) twice (at line 56, column 7)",
        more="[funds] #!\n",
    ),
    "a number without end": broken(
        "not TOML in UTF-8: 1e99999 has more than 30 digits; round it",
        ("edge = 2", "edge = 1e99999 #!"),
    ),
    "no number at all": broken(
        "high.0.edge: Input should be a valid integer / Input should be a finite number",
        ("edge = 2", "edge = inf #!"),
    ),
    "the key that inheritance keeps a parent under": broken(
        "param.fund.inherited: not a key; name the parent policy in `inherits`",
        more="[param.fund.inherited] #!\nname_zh = 'x'\nunit = 'yuan'\n",
    ),
    "a parent that is not there": broken(
        "inherits 'nowhere', which is neither a shipped policy nor a folder or file beside it; "
        "shipped: {shipped}",
        ('id = "p"', 'id = "p"\ninherits = "nowhere" #!'),
    ),
    "a parent that is no name": broken(
        "inherits: Input should be a valid string", ('id = "p"', 'id = "p"\ninherits = 1 #!')
    ),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_file_that_is_no_policy(tmp_path: Path, name: str) -> None:
    case = UNREADABLE[name]
    with pytest.raises(TableError) as e:
        load_policy(write(tmp_path, case.text()))
    place = f"policy.toml:{case.line()}" if case.line() else "policy.toml"
    said = case.said.replace("{shipped}", ", ".join(policy_ids()))
    assert str(e.value) == f"[E100] {place}: {said}"
    assert (e.value.file, e.value.row) == ("policy.toml", case.line())


BY_TABLE = (('kind = "mean"', 'kind = "table"\nfile = "benchmarks.csv"'),)
COEFFICIENTS = '\n[coefficient]\nkind = "table"\nfile = "coefficients.csv"\nsource = "x"\n'

ROWS = {
    "weight twice": (
        "weights",
        "group,weight\nA,1\nA,2\n",
        3,
        "group 'A' is empty or stands twice",
    ),
    "weight below 0": ("weights", "group,weight\nA,-1\n", 2, "a negative weight or mean cost"),
    "weight no number": ("weights", "group,weight\nA,1e3\n", 2, "'1e3' is not a plain decimal"),
    "no weights": ("weights", "group,weight\n", 0, "the table is empty"),
    "benchmark twice": (
        "benchmarks",
        "group,level,mean_cost\nA,,1\nB,,1\nA,,2\n",
        4,
        "group 'A', level '' stands twice; take one row out",
    ),
    "benchmark below 0": (
        "benchmarks",
        "group,level,mean_cost\nA,,-1\n",
        2,
        "mean_cost '-1' is empty or below 0; give a number",
    ),
    "benchmark left out": (
        "benchmarks",
        "group,level,mean_cost\nA,,1\nB,,\n",
        3,
        "mean_cost '' is empty or below 0; give a number",
    ),
    "benchmark no number": (
        "benchmarks",
        "group,level,mean_cost\nA,,a\n",
        2,
        "'a' is not a plain decimal",
    ),
    "benchmark without levels": (
        "benchmarks",
        "group,mean_cost\nA,1\n",
        1,
        "no column level; it has ['group', 'mean_cost']",
    ),
    "no benchmarks": ("benchmarks", "group,level,mean_cost\n", 0, "the table is empty"),
    "coefficient twice": (
        "coefficients",
        "group,level,coefficient\n,三级,1\n,三级,1\n",
        3,
        "group '', level '三级' stands twice; take one row out",
    ),
    "coefficient below 0": (
        "coefficients",
        "group,level,coefficient\nA,三级,-0.1\n",
        2,
        "coefficient '-0.1' is empty or below 0; give a number",
    ),
    "coefficient no number": (
        "coefficients",
        "group,level,coefficient\nA,三级,1.1.1\n",
        2,
        "'1.1.1' is not a plain decimal",
    ),
    "note twice": (
        "pay_as",
        "id,group,note,pay_as,share,when\nn,A,x,B,1,always\nn,B,x,A,1,named\n",
        3,
        "'n' stands twice, or 'B' or 'A' has no weight row",
    ),
}


@pytest.mark.parametrize("name", ROWS)
def test_a_row_of_a_table(tmp_path: Path, name: str) -> None:
    table, rows, row, said = ROWS[name]
    text = changed(POLICY, *BY_TABLE) + COEFFICIENTS
    load_policy(write(tmp_path / "good", text))
    with pytest.raises(TableError) as e:
        load_policy(write(tmp_path / "bad", text, **{table: rows}))
    assert str(e.value) == f"[E100] {table}.csv{f':{row}' if row else ''}: {said}"


@pytest.mark.parametrize("table", ["weights", "benchmarks", "coefficients"])
def test_a_table_that_is_not_there(tmp_path: Path, table: str) -> None:
    folder = write(tmp_path, changed(POLICY, *BY_TABLE) + COEFFICIENTS)
    (folder / f"{table}.csv").unlink()
    with pytest.raises(TableError, match=f"{table}.csv: no such file"):
        load_policy(folder)


# ----------------------------------------------------------------------- contradictions: PolicyError

RATE = (('kind = "point"', 'kind = "rate"'),)
BASE_RATE = param("base_rate", "yuan", "value = 9000")
YEAR = '\n[year] #!\nsource = "x"\n'


def family(*lines: str, id: str = "bed") -> str:
    return "\n".join(["[[family]]", f'id = "{id}"', "when = {}", 'source = "x"', *lines, ""])


def year(*lines: str) -> str:
    return "\n".join(["[year]", 'source = "x"', *lines, ""])


def less(*lines: str, id: str = "reserve") -> tuple[Swap, ...]:
    """Let the fund come from a budget less one item."""
    return budget("[[budget.less]]", f'id = "{id}"', *lines)


def steps(*lines: str) -> str:
    step = "\n".join(lines)
    coefficient = '[coefficient]\nkind = "steps"\nsource = "x"\n[[coefficient.step]]\n'
    return f"{coefficient}{step}\n" + param("coefficient", "ratio", "value = 1")


CMI = ('indicator = "cmi"', "step = 5", "each = 0.01")

CONTRADICTIONS = {
    # ------------------------------------------------------------------------------------ method
    "in_scope has no point value": broken(
        "method.fund_form: in_scope is a form of the rate method; it has no point value",
        ('fund_form = "difference"', 'fund_form = "in_scope" #!\nratio_scope = "published"'),
        more=param("fund_ratio", "ratio", "value = 0.7"),
    ),
    "in_scope floats": broken(
        "method.fund_form: in_scope is not proportional to the standard, so it cannot float",
        *RATE,
        (
            'fund_form = "difference"',
            'fund_form = "in_scope" #!\nratio_scope = "published"\nrate = "floating"',
        ),
        more=param("fund_ratio", "ratio", "value = 0.7") + BASE_RATE,
    ),
    "in_scope without its ratio": broken(
        'method.fund_form: in_scope needs ratio_scope = "published" and param.fund_ratio',
        *RATE,
        ('fund_form = "difference"', 'fund_form = "in_scope" #!'),
        more=BASE_RATE,
    ),
    "a scope without a ratio": broken(
        "method.ratio_scope: belongs to fund_form = ratio", (METHOD, 'ratio_scope = "case" #!')
    ),
    "a published ratio that is not published": broken(
        "method.ratio_scope: published needs param.fund_ratio",
        ('fund_form = "difference"', 'fund_form = "ratio"\nratio_scope = "published" #!'),
    ),
    "a rate of the point method": broken(
        "method.rate: floating is of the rate method; leave it out",
        (METHOD, 'rate = "floating" #!'),
    ),
    "the rate method without a rate": broken(
        "method.kind: rate needs param.base_rate", ('kind = "point"', 'kind = "rate" #!')
    ),
    "an elastic rate without a volume": broken(
        "method.rate: elastic needs param.base_volume",
        ('kind = "point"', 'kind = "rate"\nrate = "elastic" #!'),
        more=BASE_RATE,
    ),
    "solve with another form": broken(
        "method.left_over: solve needs fund_form = difference and negative = zero_case",
        ('fund_form = "difference"', 'fund_form = "fund_points"\nleft_over = "solve" #!'),
    ),
    "solve that keeps negatives": broken(
        "method.left_over: solve needs fund_form = difference and negative = zero_case",
        (METHOD, 'left_over = "solve" #!'),
    ),
    "solve of a fixed rate": broken(
        "method.left_over: solve needs the point method or rate = floating; nothing else is solved",
        *RATE,
        (METHOD, f'{METHOD}\nleft_over = "solve" #!'),
        more=BASE_RATE,
    ),
    # ------------------------------------------------------------------------------------- dates
    "an end before its beginning": broken(
        "low.0.to: 2021-12-31 is before from = 2022-01-01",
        ('pay = "ratio"', 'pay = "ratio"\nto = 2021-12-31 #!'),
    ),
    "a value that ends before it begins": broken(
        "param.fund.values.0.to: 2021-12-31 is before from = 2022-01-01",
        (FUND, FUND.replace("to = 2022", "to = 2021") + " #!"),
    ),
    "two weight tables of one day": broken(
        "weights.1.from: begins on 2022-01-01, as weights.csv does; which of them is meant?",
        more='[[weights]]\nfile = "weights.csv"\nfrom = 2022-01-01 #!\nsource = "x"\n',
    ),
    # ------------------------------------------------------------------------------------- pools
    "a pool twice": broken("pool.1.id: 'staff' stands twice", ('id = "rest"', 'id = "staff" #!')),
    "two pools of the same lists": broken(
        "pool.2: two pools of the same lists: 'staff' takes all the cases",
        more='[[pool]] #!\nid = "again"\ninsurance = ["310"]\n',
    ),
    "the price of no pool": broken(
        "pool.2.price_of: 'nowhere' is no pool with a price of its own; there are: staff, rest",
        more='[[pool]]\nid = "t"\ninsured_area = ["1"]\nprice_of = "nowhere" #!\n',
    ),
    "the price of a price taker": broken(
        "pool.0.price_of: 'staff' is no pool with a price of its own; there are: rest",
        ('insurance = ["310"]', 'insurance = ["310"]\nprice_of = "staff" #!'),
    ),
    # ------------------------------------------------------------------------------------- bands
    "a low band paid by its excess": broken(
        "low.0.pay: 'excess' does not belong there; a low band has cost, ratio, base, formula",
        ('pay = "ratio"', 'pay = "excess" #!'),
    ),
    "an edge below 0": broken("low.0.edge: -0.5 is below 0", ("edge = 0.5", "edge = -0.5 #!")),
    "a cap below 0": broken("high.0.cap: -1 is below 0", ("edge = 2", "edge = 2\ncap = -1 #!")),
    "an excess above less than nothing": broken(
        "high.0.above: -1 is below 0", ("edge = 2", "edge = 2\nabove = -1 #!")
    ),
    "a share above 1": broken("high.0.share: 1.2 is not 0 to 1", ("share = 0.8", "share = 1.2 #!")),
    "a tier for no weight": broken(
        "high.0.weight_from: 3 is not below 3",
        ("edge = 2", "edge = 2\nweight_from = 3 #!\nweight_below = 3"),
    ),
    "bands without a benchmark": broken(
        "low.0: the bands need a benchmark",
        ('[benchmark]\nkind = "mean"\nsource = "invented"\n', ""),
        ("[[low]]", "[[low]] #!"),
    ),
    "bands with the benchmark none": broken(
        "benchmark.kind: the bands need a benchmark", ('kind = "mean"', 'kind = "none" #!')
    ),
    "a quota of nothing": broken(
        "high_quota: there is no [[high]] whose cases it could limit",
        ("[[high]]", "[[extreme]]"),
        more='[high_quota] #!\nshare = 0.05\nsource = "x"\n',
    ),
    "a quota above all": broken(
        "high_quota.share: 5 is not 0 to 1",
        more='[high_quota]\nshare = 5 #!\nsource = "x"\n',
    ),
    "a formula that is not given": broken(
        "high.0.pay: a formula is given if, and only if, pay = formula",
        ('pay = "excess"', 'pay = "formula" #!'),
    ),
    "a formula that is not asked for": broken(
        "high.0.pay: a formula is given if, and only if, pay = formula",
        ('pay = "excess"', 'pay = "excess" #!\nformula = "full"'),
    ),
    "a formula that is none": broken(
        "high.0.formula: column 8: expected a number, a name or '(', found the end",
        ('pay = "excess"', 'pay = "formula"\nformula = "full + " #!'),
    ),
    "a formula of the point value": broken(
        "high.0.formula: column 8: the point value being solved would depend on itself: point value "
        "→ claims → band → point value",
        ('pay = "excess"', 'pay = "formula"\nformula = "full * point_value" #!'),
    ),
    # --------------------------------------------------------------------------------- benchmark
    "a standard without a rate": broken(
        "benchmark.kind: standard, whose price may not be the point value being solved (a circle), "
        "needs param.base_rate",
        ('kind = "mean"', 'kind = "standard" #!'),
    ),
    "a score at the point value being solved": broken(
        "benchmark.point_value: own is a circle: point value → standard of a case → claims → band → "
        "benchmark → point value; name one that is known beforehand: published or last",
        ('kind = "mean"', 'kind = "score"\npoint_value = "own" #!'),
    ),
    "a score at a point value that is not given": broken(
        "benchmark.point_value: kind = score, last needs param.point_value_last",
        ('kind = "mean"', 'kind = "score"\npoint_value = "last" #!'),
    ),
    "a score at the published point value": broken(
        "benchmark.point_value: kind = score, published needs param.point_value_budget",
        ('[benchmark]\nkind = "mean"', '[benchmark] #!\nkind = "score"'),
    ),
    "a table without a file": broken(
        "benchmark.kind: table needs a file", ('kind = "mean"', 'kind = "table" #!')
    ),
    # ------------------------------------------------------------------------------- coefficient
    "a coefficient table without a file": broken(
        "coefficient.kind: table needs a file",
        more='[coefficient]\nkind = "table" #!\nsource = "x"\n',
    ),
    "steps that are not given": broken(
        "coefficient.kind: steps needs [[coefficient.step]]",
        more='[coefficient]\nkind = "steps" #!\nsource = "x"\n'
        + param("coefficient", "ratio", "value = 1"),
    ),
    "steps without what they add to": broken(
        "coefficient.kind: steps needs param.coefficient",
        more='[coefficient]\nkind = "steps" #!\nsource = "x"\n[[coefficient.step]]\n'
        + "\n".join([*CMI, "caps = {}"]),
    ),
    "clamps that cross": broken(
        "coefficient.least: 1.5 is above most = 0.5",
        more='[coefficient]\nkind = "mean_ratio"\nleast = 1.5 #!\nmost = 0.5\nsource = "x"\n',
    ),
    "a share of which fee": broken(
        "coefficient.step.0.indicator: fee_share, and no other, needs `fee`, a column of money",
        more=steps('indicator = "fee_share" #!', *CMI[1:], "caps = {}"),
    ),
    "ages that cross": broken(
        "coefficient.step.0.age_from: 7 is above age_to = 6",
        more=steps('indicator = "age_share"', *CMI[1:], "age_from = 7 #!", "age_to = 6", "caps={}"),
    ),
    "a step of nothing": broken(
        "coefficient.step.0.step: 0 is not above 0",
        more=steps(CMI[0], "step = 0 #!", CMI[2], "caps = {}"),
    ),
    "a malus": broken(
        "coefficient.step.0.each: -0.01 is below 0",
        more=steps(*CMI[:2], "each = -0.01 #!", "caps = {}"),
    ),
    "a cap of a level below 0": broken(
        "coefficient.step.0.caps.三级: -1 is below 0",
        more=steps(*CMI, 'caps = { "三级" = -1 } #!'),
    ),
    # -------------------------------------------------------------------------------- status_pay
    "a status without a rule": broken(
        "status_pay.ambiguous: no rule", (f"{RULE}\n", ""), ("[status_pay]", "[status_pay] #!")
    ),
    "an unknown status": broken(
        "status_pay.lost: not one of ambiguous, ungrouped, rejected, not_covered, unstable, no_list",
        (RULE, f"{RULE}\n{RULE.replace('ambiguous', 'lost')} #!"),
    ),
    "a rule without its number": broken(
        "status_pay.ambiguous: rule weight needs a number as value",
        (RULE, RULE.replace("zero", "weight") + " #!"),
    ),
    "a rule below 0": broken(
        "status_pay.ambiguous.value: a value below 0",
        (RULE, RULE.replace('"zero"', '"cost", value = -1') + " #!"),
    ),
    "a mean that is not given": broken(
        "status_pay.ambiguous.rule: cost_over_mean needs param.overall_mean",
        (RULE, RULE.replace('"zero"', '"cost_over_mean", value = 1') + " #!"),
    ),
    "the weight of a group without one": broken(
        "status_pay.not_covered: own_group has no weight of its own",
        (
            'not_covered = { rule = "zero", source = "invented" }',
            'not_covered = { rule = "own_group", source = "invented" } #!',
        ),
    ),
    "a group that no table has": broken(
        "status_pay.ambiguous: group 'Z' is in no weight table",
        (RULE, RULE.replace('"zero"', '"group", value = "Z"') + " #!"),
    ),
    # ---------------------------------------------------------------------------------- families
    "a family twice": broken(
        "family.1.id: 'bed' stands twice",
        more=family('pay = "booked"', 'fund = "outside"')
        + family('pay = "booked"', 'fund = "outside"').replace('"bed"', '"bed" #!'),
    ),
    "a family of a taken name": broken(
        "family.0.id: 'carve_out' means something else; choose another name",
        more=family('pay = "booked"', 'fund = "outside"', id="carve_out").replace(
            'carve_out"', 'carve_out" #!'
        ),
    ),
    "booked as points": broken(
        'family.0.pay: booked is no price; give fund = "off_top" or "outside"',
        more=family('pay = "booked" #!'),
    ),
    "a factor outside": broken(
        "family.0.fund: a factor is for a case that goes on as an ordinary one; leave it out",
        more=family('pay = "factor"', 'fund = "outside" #!')
        + param("family_factor", "ratio", "value = 1.1"),
    ),
    "a family without its standard": broken(
        'family.0.pay: needs a value of param.per_day for family = "bed"',
        more=family('pay = "per_day" #!', 'fund = "off_top"')
        + param("per_day", "yuan", 'value = 300, family = "hospice"'),
    ),
    "a day surgery without its standard": broken(
        'family.0.pay: needs a value of param.per_case for family = "bed"',
        more=family('pay = "per_case" #!', 'fund = "off_top"'),
    ),
    "a factor that is not given": broken(
        'family.0.pay: needs a value of param.family_factor for family = "bed"',
        more=family('pay = "factor" #!'),
    ),
    "a price in points without a point value": broken(
        "family.0.fund: points, a price turned into a score, needs param.point_value_budget",
        more=family('pay = "per_day"', 'fund = "points" #!')
        + param("per_day", "yuan", "value = 300"),
    ),
    "a share of no fee": broken(
        "family.0.when: fee and fee_share_from go together",
        more=family('pay = "booked"', 'fund = "outside"').replace(
            "when = {}", "when = { fee_share_from = 0.6 } #!"
        ),
    ),
    "a share of a fee above 1": broken(
        "family.0.when.fee_share_from: 60 is not 0 to 1",
        more=family('pay = "booked"', 'fund = "outside"').replace(
            "when = {}", 'when = { fee = "tcm_fen", fee_share_from = 60 } #!'
        ),
    ),
    "a readmission that pays more": broken(
        "readmission.0.factor: 1.5 is not 0 to 1",
        more='[[readmission]]\ndays = 10\nfactor = 1.5 #!\nsource = "x"\n',
    ),
    "more than a carve-out": broken(
        "carve_out.share: 2 is not 0 to 1", more='[carve_out]\nshare = 2 #!\nsource = "x"\n'
    ),
    "special cases without a quota": broken(
        "special_cases: the quota needs param.special_share",
        more='[special_cases] #!\nsource = "x"\n',
    ),
    # ------------------------------------------------------------------------------------ budget
    "a fund beside a budget": broken(
        "param.fund: stands beside [budget], which makes the fund; take one out",
        ("[param.fund]", "[param.fund] #!"),
        more='[budget]\nsource = "x"\n' + param("budget", "yuan", "value = 1, to = 2022-12-31"),
    ),
    "a budget without its section": broken(
        "param.budget: is read with a section [budget] only; give one",
        ("[param.fund]", "[param.budget] #!"),
    ),
    "a section without its budget": broken(
        "budget.method: amount needs param.budget",
        ("[param.fund]", "[param.less]"),
        more='[budget] #!\nsource = "x"\n',
    ),
    "growth of what": broken(
        "budget.method: growth needs param.budget_base",
        *budget('method = "growth" #!'),
        more=param("budget_growth", "ratio", "value = 0.1"),
    ),
    "an item twice": broken(
        "budget.less.1.id: 'reserve' stands twice",
        *less('kind = "share"', "share = 0.1"),
        more='[[budget.less]]\nid = "reserve" #!\nkind = "share"\nshare = 0.1\n',
    ),
    "shares above the whole": broken(
        "budget.less: the shares are more than the whole budget",
        *budget("[[budget.less]] #!", 'id = "a"\nkind = "share"\nshare = 0.6'),
        more='[[budget.less]]\nid = "b"\nkind = "share"\nshare = 0.6\n',
    ),
    "an item without its amount": broken(
        'budget.less.0.kind: needs a value of param.less for item = "reserve"',
        *less('kind = "amount" #!'),
        more=param("less", "yuan", 'value = 1, item = "other"'),
    ),
    "actual payments of nothing": broken(
        "budget.less.0.kind: actual needs the id of a line outside the fund; there are: carve_out, "
        "hospice, out_of_area",
        *less('kind = "actual" #!'),
        more='[carve_out]\nsource = "x"\n'
        + family('pay = "booked"', 'fund = "outside"', id="hospice")
        + '[[pool]]\nid = "t"\ninsured_area = ["1"]\nprice_of = "rest"\n',
    ),
    "a reserve that nobody knows": broken(
        "budget.less.0.reserve: a reserve is an amount or a share, not actual",
        *less('kind = "actual"', "reserve = true #!", id="carve_out"),
        more='[carve_out]\nsource = "x"\n',
    ),
    # -------------------------------------------------------------------------------------- year
    "a year without money": broken(
        "year: the year, unless there is [budget], needs param.fund",
        ("[param.fund]", "[param.monthly_rate]"),
        ('unit = "yuan"', 'unit = "ratio"'),
        ("value = 1000", "value = 1"),
        more=YEAR,
    ),
    "months of what pace": broken(
        "year.pace: seasonal needs param.pace", more=year('pace = "seasonal" #!')
    ),
    "a budget point value that is not given": broken(
        "year.month_point_value: budget needs param.point_value_budget",
        more=year('month_point_value = "budget" #!'),
    ),
    "last year's point value that is not given": broken(
        "year.month_point_value: last needs param.point_value_last",
        more=year('month_point_value = "last" #!'),
    ),
    "a point value of the rate method": broken(
        "year.month_point_value: last is a point value; the rate method has none",
        *RATE,
        more=year('month_point_value = "last" #!')
        + BASE_RATE
        + param("point_value_last", "yuan per point", "value = 10"),
    ),
    "a period of half months": broken(
        "param.fund.values.0: [year] settles months, and the fund of 2022-01-01 to 2022-12-30 is "
        "not of whole months",
        (FUND, FUND.replace("12-31", "12-30") + " #!"),
        more=year(),
    ),
    "a period that begins within a month": broken(
        "param.budget.values.0: [year] settles months, and the budget of 2022-01-02 to 2022-12-31 "
        "is not of whole months",
        *budget(),
        (FUND, FUND.replace("2022-01-01", "2022-01-02") + " #!"),
        more=year(),
    ),
    "overspends that nothing bears": broken(
        "year.overspend: a share is borne, and overspend_from names no source of it",
        more=year('overspend = [{ ratio_from = 1, share = 0.5, source = "x" }] #!'),
    ),
    "a source twice": broken(
        "year.overspend_from: a source stands twice",
        more=year('overspend_from = ["reserve", "reserve"] #!'),
    ),
    "a surplus band that crosses": broken(
        "year.surplus.0: 1 is not below 0.8",
        more=year('surplus = [{ ratio_from = 1, ratio_below = 0.8, share = 1, source = "x" }] #!'),
    ),
    "a surplus share above 1": broken(
        "year.surplus.0.share: 80 is not 0 to 1",
        more=year('surplus = [{ ratio_below = 1, share = 80, source = "x" }] #!'),
    ),
    "colours out of order": broken(
        "warnings: yellow, orange, red have to rise from above 0",
        more='[warnings] #!\nyellow = 1.2\norange = 1.1\nred = 1.3\nsource = "x"\n',
    ),
    "a deadline that is no day": broken(
        "calendar.clear_by: '06-31' is no month and day, such as 06-30",
        more='[calendar]\nclear_by = "06-31" #!\nsource = "x"\n',
    ),
    "a day that no month has": broken(
        "calendar.pay_by_day: 32 is no day of a month",
        more='[calendar]\npay_by_day = 32 #!\nsource = "x"\n',
    ),
    "days that have passed": broken(
        "calendar.settle_working_days: -1 is below 0",
        more='[calendar]\nsettle_working_days = -1 #!\nsource = "x"\n',
    ),
    "a holiday at work": broken(
        "calendar.workdays: 2022-10-01 is a holiday too",
        more='[calendar]\nholidays = [2022-10-01]\nworkdays = [2022-10-01] #!\nsource = "x"\n',
    ),
    # ------------------------------------------------------------------------------------- param
    "an unknown parameter": broken(
        f"param.funds: not one of {', '.join(PARAMETERS)}",
        more=param("funds", "yuan", "value = 1").replace("]\nname", "] #!\nname"),
    ),
    "money in a unit of nothing": broken(
        "param.fund.unit: unit 'ratio' is not fen, yuan or 万元, such as 'yuan per 1.0000 RW'",
        ('unit = "yuan"', 'unit = "ratio" #!'),
    ),
    "a ratio in yuan": broken(
        "param.coefficient.unit: unit 'yuan' is not ratio",
        more=param("coefficient", "yuan", "value = 1").replace('"yuan"', '"yuan" #!'),
    ),
    "a parameter without values": broken(
        "param.coefficient: no values",
        more='[param.coefficient] #!\nname_zh = "x"\nunit = "ratio"\n',
    ),
    "a value below 0": broken(
        "param.coefficient.values.0.value: -1 is below 0",
        more=param("coefficient", "ratio", "value = -1").replace("},", "}, #!"),
    ),
    "a mean of nothing": broken(
        "param.overall_mean.values.0.value: has to be above 0",
        more=param("overall_mean", "yuan", "value = 0").replace("},", "}, #!"),
    ),
    "a deposit above 5 %": broken(
        "param.deposit_rate.values.0.value: 0.051 is not 0 to 0.05",
        more=param("deposit_rate", "ratio", "value = 0.051").replace("},", "}, #!"),
    ),
    "more than a month's payment": broken(
        "param.monthly_rate.values.0.value: 95 is not 0 to 1",
        more=param("monthly_rate", "ratio", "value = 95").replace("},", "}, #!"),
    ),
    "a budget that more than vanishes": broken(
        "param.budget_growth.values.0.value: -1.1 is below -1",
        *budget('method = "growth"', param="budget_base"),
        more=param("budget_growth", "ratio", "value = -1.1").replace("},", "}, #!"),
    ),
    "a month that is none": broken(
        "param.pace.values.0.month: '2022-13' is no month, such as 2025-01",
        more=param("pace", "ratio", 'value = 1, month = "2022-13"').replace("},", "}, #!"),
    ),
    "a part of a fen": broken(
        "param.fund.values.0.value: 10.001 is not a whole number of fen below 10^15",
        (FUND, FUND.replace("1000", "10.001") + " #!"),
    ),
    "more money than there is": broken(
        "param.fund.values.0.value: 10000000000000 is not a whole number of fen below 10^15",
        (FUND, FUND.replace("1000", "10_000_000_000_000") + " #!"),
    ),
    "money without a period": broken(
        "param.fund.values.0: each value needs `to`: it is the money of a period",
        (FUND, FUND.replace("to = 2022-12-31, ", "") + " #!"),
    ),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_a_contradiction(tmp_path: Path, name: str) -> None:
    case = CONTRADICTIONS[name]
    with pytest.raises(PolicyError) as e:
        load_policy(write(tmp_path, case.text()))
    assert str(e.value) == f"[E400] policy.toml: line {case.line()}: {case.said}"
    assert e.value.file == "policy.toml"


def test_every_contradiction_is_named_at_once(tmp_path: Path) -> None:
    swaps = (
        ("edge = 0.5", "edge = -1"),
        ("share = 0.8", "share = 2"),
        ('unit = "yuan"', 'unit = "%"'),
    )
    with pytest.raises(PolicyError) as e:
        load_policy(write(tmp_path, changed(POLICY, *swaps)))
    assert str(e.value) == (
        "[E400] policy.toml: line 32: low.0.edge: -1 is below 0; line 40: high.0.share: 2 is not 0 "
        "to 1; line 52: param.fund.unit: unit '%' is not fen, yuan or 万元, such as 'yuan per 1.0000 "
        "RW'"
    )


FILE = 'file = "weights.csv"'
TABLES = {
    "neither file nor catalogue": broken(
        "give a file or a catalogue", (f"[[weights]]\n{FILE}", "[[weights]] #!")
    ),
    "file and catalogue": broken(
        "give a file or a catalogue", (FILE, f'{FILE} #!\ncatalogue = "dip-demo"')
    ),
    "a catalogue that is not there": broken(
        "catalogue 'nowhere' is neither shipped nor a folder beside the policy",
        (FILE, 'catalogue = "nowhere" #!'),
    ),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_weight_table_that_is_not_named(tmp_path: Path, name: str) -> None:
    case = TABLES[name]
    with pytest.raises(PolicyError) as e:
        load_policy(write(tmp_path, case.text()))
    assert str(e.value) == f"[E400] policy.toml: line {case.line()}: weights: {case.said}"
    assert e.value.file == "policy.toml"
