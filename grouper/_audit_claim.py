"""The claim of one case in live formulas: its weight, price, cost or decision, and its band.

Nothing is taken from the engine but the figures of the run: bands, tiers and rules are read from the
policy once more.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction

from grouper._audit_book import Live
from grouper._audit_facts import Row, fraction
from grouper._audit_row import Chain
from grouper.tables._formula import NAMES, parse_formula, pieces
from grouper.tables._policy_model import Edge

ONE = Fraction(1)


def write_claim(c: Chain, start: str, decision: Row | None) -> None:
    """Write the claim after the band, or what a rule, a family or a decision makes it."""
    d = c.facts.digits
    if start == "weight":
        _by_weight(c)
    elif start in ("per_day", "per_case"):
        _by_price(c, start)
    elif start in ("cost", "cost_over_mean"):
        rule = c.facts.status_rule(c.case)
        _by_cost(c, start, Fraction(str(rule.value)) if rule else ONE)
    elif start == "decided score" and decision:
        c.put("number", fraction(decision["value"]))
        c.rounded("claim", "{number}", c["number"], d)
    elif start == "decided cost_over_mean" and decision:
        _by_cost(c, "cost_over_mean", fraction(decision["value"]) or Fraction(0))
    elif start not in ("booked", "zero") and not (start == "given" and c.facts.in_fen(c.case)):
        c.take("claim", c.exact.get("our_score"), "claim 分值")


def _by_weight(c: Chain) -> None:
    """Write the claims of a weight, with and without the hospital coefficient, and the band."""
    d = c.facts.digits
    c.put("unit", c.facts.claim_unit(c.case))
    worth = c["weight"] * c["aux"] * c["unit"]
    c.rounded("full", "{weight}*{aux}*{factor}*{unit}", worth * c["factor"], d)
    c.rounded("bare", "{weight}*{aux}*{unit}", worth, d)
    banded = not str(c.case["pay_as"]).startswith("status:") and "used" in c.exact
    if not banded:
        c.live("claim", "{full}", c["full"])
        return
    _ratio(c)
    tiers = c.facts.tiers(c.case, c["weight"])
    if tiers is None:
        if c.case.get("band") in (None, "normal"):
            c.given["band"] = "band 偏差类型"
            c.live("claim", "{full}", c["full"])
        else:
            c.take("claim", c.exact.get("our_score"), "band and claim 偏差类型、分值")
        return
    _band(c, tiers)
    tier = tiers.get(c.case.get("band") or "")
    if tier is None or tier.pay == "base" or not c["benchmark"]:
        c.live("claim", "{full}", c["full"])
    else:
        _of_tier(c, tier)


def _ratio(c: Chain) -> None:
    """Write cost used ÷ benchmark at four decimals."""
    if not c["benchmark"]:
        return
    c.rounded("ratio", "{used}/{benchmark}", c["used"] / c["benchmark"], 4)
    if "our_ratio" in c.exact:
        c.check("ratio", "ROUND({ratio}-{our_ratio},4)=0", c["ratio"] == c["our_ratio"])


def _band(c: Chain, tiers: Mapping[str, Edge]) -> None:
    """Write the band by its edges; a case above the quota of high ones is normal."""
    found, formula = "normal", '"normal"'
    for name in ("high", "extreme", "low"):  # low is asked first, so it is written last
        if (tier := tiers.get(name)) is None:
            continue
        c.put(name, Fraction(tier.edge))
        sign = ("<" if name == "low" else ">") + ("=" if tier.inclusive else "")
        beyond = c["used"] - c["benchmark"] * c[name]
        inside = beyond < 0 if name == "low" else beyond > 0
        if inside or (beyond == 0 and tier.inclusive):
            found = name
        formula = f'IF(ROUND({{used}}-{{benchmark}}*{{{name}}},6){sign}0,"{name}",{formula})'
    over = found == "high" and c.case.get("band") == "normal" and _has_quota(c)
    if over:
        c.cells["over_quota"] = True
        c.given["quota"] = "quota 高倍率限额"
        found, formula = "normal", f'IF({{over_quota}},"normal",{formula})'
    if not c["benchmark"]:
        found = ""
    formula = f'IF({{benchmark}}=0,"",{formula})'
    c.cells["band"] = Live(c.text(formula), found)
    ours = c.case.get("band") or ""
    c.check("band", '{band}&""={our_band}&""', found == ours)


def _has_quota(c: Chain) -> bool:
    return c.facts.settings is not None and c.facts.settings.high_quota is not None


def _of_tier(c: Chain, tier: Edge) -> None:
    """Write the claim that the pay of a band makes."""
    full, used, mean = c["full"], c["used"], c["benchmark"]
    part = "full" if tier.coefficient else "bare"
    share, above = Fraction(tier.share), Fraction(tier.edge if tier.above is None else tier.above)
    if tier.pay == "excess":
        formula = f"{{full}}+{{share}}*{{{part}}}*({{used}}/{{benchmark}}-{{above}})"
        exact = full + share * c[part] * (used / mean - above)
    elif tier.pay == "cost" and not c.facts.by_points:
        formula, exact = "{used}", used
    elif tier.pay in ("cost", "ratio"):
        formula, exact = f"{{{part}}}*{{used}}/{{benchmark}}", c[part] * used / mean
    else:
        formula, exact = _of_formula(c, tier, share, above)
    if tier.pay in ("excess", "formula"):
        c.put("share", share)
        c.put("above", above)
    if tier.cap is not None:
        c.put("cap", Fraction(tier.cap))
        formula, exact = f"MIN({formula},{{cap}}*{{full}})", min(exact, c["cap"] * full)
    c.rounded("claim", formula, exact, c.facts.digits)


def _of_formula(c: Chain, tier: Edge, share: Fraction, above: Fraction) -> tuple[str, Fraction]:
    """Write a policy's own formula in Excel's words; its value comes from the parsed tree."""
    text, units = tier.formula or "", 10**c.facts.digits
    known = {
        "full": c["full"] * units,
        "bare": c["bare"] * units,
        "edge": Fraction(tier.edge),
        "above": above,
        "share": share,
        "weight": c["weight"],
        "coefficient": c["factor"],
    }
    fen = int(c["used"] * 100)
    piece = pieces(parse_formula(text), known, 1 / (c["benchmark"] * 100), fen, fen)[0]
    band = str(c.case["band"])
    cells = {
        **{name: f"{{{name}}}" for name in NAMES},
        "ratio": "({used}/{benchmark})",
        "edge": f"{{{band}}}",
        "coefficient": "{factor}",
        **{name: name.upper() for name in ("min", "max", "if")},
    }
    formula = re.sub(r"[A-Za-z_]\w*", lambda m: cells[m[0]], text)
    formula = formula.replace("==", "=").replace("!=", "<>")
    return formula, (piece.at_zero + piece.slope * fen) / units


def _by_price(c: Chain, start: str) -> None:
    """Write the claim of a family with a price of its own, a day or a case."""
    facts, case = c.facts, c.case
    day, known = case["settlement_date"], facts.known(case)
    family, price = facts.family(case), facts.parameter(start, day, known)
    by_points = facts.by_points and family is not None and family.fund == "points"
    per = facts.parameter("point_value_budget", day, known) if by_points else Fraction(100)
    if price is None or not per or (start == "per_day" and "los" not in c.exact):
        c.take("claim", c.exact.get("our_score", c["our_standard"]), "claim 分值")
        return
    c.put("number", price / 100)
    formula, exact = "{number}", c["number"]
    if start == "per_day":
        formula, exact = f"{formula}*MAX({{los}},1)", exact * max(c["los"], ONE)
    if by_points:
        c.put("per", per / 100)
        formula, exact = f"{formula}/{{per}}", exact / c["per"]
    c.rounded("claim", formula, exact, facts.digits if by_points else 2)


def _by_cost(c: Chain, start: str, number: Fraction) -> None:
    """Write the claim of a rule or decision on the cost."""
    facts, case = c.facts, c.case
    if start == "cost" and "used" in c.exact:
        c.put("number", number)
        c.rounded("claim", "{used}*{number}", c["used"] * number, 2)
        return
    mean = facts.parameter("overall_mean", case["settlement_date"], facts.known(case))
    unit = facts.claim_unit(case)
    if facts.by_points and facts.method.get("score_of_mean"):
        unit = Fraction(facts.method["score_of_mean"])
    if not mean or unit is None or "used" not in c.exact:
        c.take("claim", c.exact.get("our_score"), "claim 分值")
        return
    c.put("number", number)
    c.put("per", mean / 100)
    c.put("unit", unit)
    exact = c["used"] / c["per"] * number * unit
    c.rounded("claim", "{used}/{per}*{number}*{unit}", exact, facts.digits)
