"""One case as a row of live formulas: worth → standard score → ratio → band → score → standard → pay.

Sharing by largest remainder (最大余额法) moves a case by a fen or two: what it gave stands in a column of
its own, is bounded, and the pay goes on from the standard with it. What a run does not settle, such as a
band without its policy, is taken from the run, and the row says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from grouper._audit_claim import ONE, write_claim
from grouper._audit_facts import Facts, Row, fraction
from grouper._audit_row import Chain


def chain(case: Row, facts: Facts, at: int, decisions: Mapping[str, Row]) -> Chain:
    """Build the row of one case.

    Parameters
    ----------
    case : a row of cases.parquet. at : its row in Excel, from 1.
    decisions : case_id → the ledger's last decision on it.
    """
    c = Chain(case, facts, at)
    names = ("case_id", "hospital_id", "pool_id", "settlement_month", "status", "pay_as", "family")
    for name in (*names, "special"):
        c.cells[name] = case.get(name)
    start = _start(case, facts, decisions)
    c.cells["start"] = start
    _inputs(c)
    write_claim(c, start, decisions.get(str(case["case_id"])))
    _final(c, start)
    valued = _valued(c, start)
    _standard(c, start, valued)
    _pay(c, start, valued)
    c.close()
    return c


def _start(case: Row, facts: Facts, decisions: Mapping[str, Row]) -> str:
    """Tell from what a case's claim is worked out."""
    special = case.get("special")
    if facts.decided(case):
        if special == "booked":
            is_booked = case["standard_fen"] == case["booked_fund_fen"]
            return "booked" if facts.settings is not None or is_booked else "given"
        known = facts.settings is not None and str(case["case_id"]) in decisions
        return f"decided {special}" if known else "given"
    pay_as = str(case.get("pay_as") or "")
    if pay_as.startswith("family:"):
        family = facts.family(case)
        return family.pay if family else "given"
    if pay_as.startswith("status:"):
        rule = facts.status_rule(case)
        return rule.rule if rule else "given"
    lacking = case.get("weight_or_score") is None or case.get("hospital_factor") is None
    return "given" if lacking or facts.claim_unit(case) is None else "weight"


def _inputs(c: Chain) -> None:
    """Write what the run tells of the case."""
    case = c.case
    for name, given in (
        ("weight", "weight_or_score"),
        ("aux", "aux_factor"),
        ("factor", "hospital_factor"),
        ("our_ratio", "ratio"),
        ("our_score", "final_score"),
        ("los", "los"),
    ):
        c.put(name, fraction(case.get(given)))
    if "aux" not in c.exact:
        c.put("aux", ONE)
    for name, given, blank in (
        ("cost", "total_cost_fen", None),
        ("carve_out", "carve_out_fen", 0),
        ("unreasonable", "unreasonable_fen", 0),
        ("benchmark", "benchmark_fen", 0),
        ("patient", "patient_fen", 0),
        ("others", "other_payers_fen", 0),
        ("our_standard", "standard_fen", 0),
        ("our_pay", "pay_fen", 0),
    ):
        fen = case.get(given)
        c.put(name, None if fen is None and blank is None else Fraction(fen or 0, 100))
    inside = c.facts.carved_inside(case["pool_id"])
    c.put("carved", Fraction(case.get("carve_out_pay_fen") or 0, 100) if inside else 0)
    c.cells["our_band"] = case.get("band")
    if "cost" in c.exact:
        used = max(c["cost"] - c["carve_out"] - c["unreasonable"], Fraction(0))
        c.live("used", "MAX({cost}-{carve_out}-{unreasonable},0)", used)


def _final(c: Chain, start: str) -> None:
    """Write the final score: the claim, less what a readmission takes."""
    if "claim" not in c.exact:
        return
    factor = fraction(c.case.get("special_factor")) or ONE
    taken = "claim" in c.given
    if factor != 1 and not taken and not start.startswith("decided"):
        c.put("special_factor", factor)
        c.rounded("final", "{claim}*{special_factor}", c["claim"] * factor, c.facts.digits)
    else:
        c.live("final", "{claim}", c["claim"])
    scored = not (c.facts.by_points and c.facts.in_fen(c.case))
    if "our_score" in c.exact and not taken and scored:
        d = c.facts.digits
        agree = c["final"] == c["our_score"]
        c.check("score", f"ROUND({{final}}-{{our_score}},{d})=0", agree)


def _valued(c: Chain, start: str) -> Row | None:
    """Return the row of the point value that prices the case; None = the claim is its price."""
    facts, unit = c.facts, c.facts.unit(c.case)
    if unit is None or not unit.get("point_value_den") or start in ("booked", "zero"):
        return None
    if "our_score" not in c.exact or (start == "cost" and facts.shares):
        return None
    in_fen = facts.in_fen(c.case) and facts.shares and not start.startswith("decided")
    is_price = start == "given" and not facts.by_points and c["our_score"] == c["our_standard"]
    return None if in_fen or is_price else unit


def _standard(c: Chain, start: str, valued: Row | None) -> None:
    """Write the standard: the claim, or its share of the amount."""
    if start in ("booked", "zero"):
        booked = Fraction(c.case.get("booked_fund_fen") or 0, 100)
        c.put("number", booked if start == "booked" else Fraction(0))
        c.live("standard", "{number}", c["number"])
    elif "final" not in c.exact or (start == "given" and not c["final"]):
        c.take("standard", c["our_standard"], "standard 支付标准")
        return
    elif valued is not None:
        c.put("amount", Fraction(valued["point_value_num"], 100))
        c.put("claims", Fraction(valued["point_value_den"], 10**c.facts.digits))
        c.shared("standard", "{final}*{amount}/{claims}", c["final"] * c["amount"] / c["claims"])
        return
    else:
        c.rounded("standard", "{final}", c["final"], 2)
    c.money("standard")


def _pay(c: Chain, start: str, valued: Row | None) -> None:
    """Write what the fund owes for the standard in its form, and the carve-outs inside it."""
    form = c.facts.method.get("fund_form")
    if start == "given" and "standard" in c.given:
        form = None  # neither is it known whether it was paid as booked
    if start in ("booked", "zero"):
        c.live("pay", "{number}+{carved}", c["number"] + c["carved"])
        c.money("pay")
    elif form == "fund_points":
        c.live("pay", "{our_standard}+{carved}", c["our_standard"] + c["carved"])
        c.money("pay")
    elif form == "difference":
        _difference(c, valued)
    elif form == "ratio":
        _by_ratio(c, valued)
    else:
        c.take("pay", c["our_pay"], "pay 支付额")


def _shares(c: Chain, valued: Row | None) -> bool:
    """Tell whether the fund was shared out: a point value that is given prices each case by itself."""
    return c.facts.shares and valued is not None and bool(valued.get("shared_fen"))


def _difference(c: Chain, valued: Row | None) -> None:
    """Write standard - patient - other payers, and what the policy does with what is left over."""
    m = c.facts.method
    left_over = m.get("left_over") if _shares(c, valued) else None
    formula, owed = "{our_standard}-{patient}-{others}", c["our_standard"]
    if left_over == "solve":
        formula = "{final}*{amount}/{claims}-{patient}-{others}"
        owed = c["final"] * c["amount"] / c["claims"]
    owed -= c["patient"] + c["others"]
    if left_over == "rescale" and valued is not None and not c.facts.by_points:
        c.take("pay", c["our_pay"], "pay 支付额")
        return
    if m.get("negative") == "zero_case" or left_over in ("solve", "rescale"):
        formula, owed = f"MAX({formula},0)", max(owed, Fraction(0))
    if left_over == "rescale" and valued is not None:
        _fund(c, valued, Fraction(c.facts.owed(valued), 100) or ONE)
        formula, owed = f"{formula}*{{fund_num}}/{{fund_den}}", owed * c["fund_num"] / c["fund_den"]
    formula, owed = f"{formula}+{{carved}}", owed + c["carved"]
    if left_over in ("solve", "rescale"):
        c.shared("pay", formula, owed)
    else:
        c.rounded("pay", formula, owed, 2)
        c.money("pay")


def _fund(c: Chain, unit: Row, den: Fraction) -> None:
    """Write what a fund paid its sharing cases, carve-outs apart, and what it was shared by."""
    c.put("fund_num", Fraction(unit["pay_fen"] - (unit.get("off_top_fen") or 0), 100))
    c.put("fund_den", den)


def _by_ratio(c: Chain, valued: Row | None) -> None:
    """Write the standard × ρ, or the share of the fund where ρ is one for the pool."""
    scope = c.facts.method.get("ratio_scope", "region")
    if _shares(c, valued) and scope in ("region", "published") and valued is not None:
        _fund(c, valued, Fraction(valued["claims"], 10**c.facts.digits))
        exact = c["final"] * c["fund_num"] / c["fund_den"] + c["carved"]
        c.shared("pay", "{final}*{fund_num}/{fund_den}+{carved}", exact)
        return
    pair = _ratio_of(c, scope)
    if pair is None:
        c.take("pay", c["our_pay"], "pay 支付额")
        return
    c.put("fund_num", pair[0])
    c.put("fund_den", pair[1])
    exact = c["our_standard"] * pair[0] / pair[1] + c["carved"]
    c.rounded("pay", "{our_standard}*{fund_num}/{fund_den}+{carved}", exact, 2)
    c.money("pay")


def _ratio_of(c: Chain, scope: str) -> tuple[Fraction, Fraction] | None:
    """Return booked and cost of the case, its hospital or its pool, or the published ratio and 1."""
    facts, case = c.facts, c.case
    if scope == "published":
        known = {"insurance": str(case.get("insurance"))}
        published = facts.parameter("fund_ratio", case["settlement_date"], known)
        return None if published is None else (published, ONE)
    if scope == "case":
        of, cost = case, case.get("total_cost_fen")
    else:
        found = facts.hospital(case) if scope == "hospital" else facts.unit(case)
        of, cost = found or {}, (found or {}).get("cost_fen")
    return (Fraction(of["booked_fund_fen"], 100), Fraction(cost, 100)) if cost else None
