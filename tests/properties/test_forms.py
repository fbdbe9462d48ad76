"""The trial of the fund forms (基金口径): a fund at 93 % of what was booked, each form with its own price.

Source: the trial of spec/payment.md, in kind: a form with its own point value pays the whole fund, floors
and narrower ratios pay a little more or less, and the price of another form misses by far.
"""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pytest
from oracle.draw_policy import parameter
from properties.year import YEAR, Row, edge
from properties.year import year_policy as write

from grouper import PolicyError, Settlement, group, settle
from grouper.testing import Region, make_region

CASES = 4_000


@cache
def region() -> tuple[Region, Any]:
    made = make_region(CASES, seed=3)
    return made, group(made.cases, "chs-drg-1.1").to_arrow(carry=True)


def paid(folder: Path, method: Row, year: Row | None = None, **param: Any) -> Settlement:
    """Pay the region by the weights that its costs were drawn with."""
    made, table = region()
    fund = pc.sum(table["fund_paid_fen"]).as_py() * 93 // 100
    path = write(
        folder,
        method=method,
        year=year,
        months=year is not None,
        pool=[{"id": "all"}],
        low=[edge("0.4", "ratio")],
        high=[edge("3", "excess", share=Decimal("0.8"))],
        extreme=[],
        param={"fund": parameter("fen", {**YEAR, "value": fund}), **param},
    )
    rows = ["group,weight,mean_cost"]
    for row in made.weights.to_pylist():
        rows.append(f"{row['group']},{row['weight']},{Decimal(row['mean_cost_fen']) / 100}")
    (folder / "w.csv").write_text("\n".join(rows) + "\n", "utf-8")
    return settle(table, path, hospitals=made.hospitals)


def share(found: Settlement) -> Fraction:
    """Return what is paid of the fund."""
    (pool,) = found.pools().to_pylist()
    return Fraction(pool["pay_fen"], pool["fund_fen"])


@pytest.mark.promise("Every fund closes to the fen: fund = pay + balance + undistributed")
@pytest.mark.parametrize(
    ("method", "least", "most"),
    [
        ({"fund_form": "difference"}, 1, 1),
        ({"fund_form": "difference", "negative": "zero_case"}, Fraction(10001, 10000), Fraction(11, 10)),
        ({"fund_form": "ratio"}, 1, 1),
        ({"fund_form": "ratio", "ratio_scope": "hospital"}, Fraction(98, 100), Fraction(9999, 10000)),
        ({"fund_form": "ratio", "ratio_scope": "case"}, Fraction(9, 10), Fraction(11, 10)),
        ({"fund_form": "fund_points"}, 1, 1),
        ({"fund_form": "difference", "negative": "zero_case", "left_over": "solve"}, 1, 1),
        ({"fund_form": "difference", "negative": "zero_case", "left_over": "rescale"}, 1, 1),
    ],
    ids=lambda x: "-".join(x.values()) if isinstance(x, dict) else "",
)  # fmt: skip
def test_each_form_with_its_own_price(
    method: Row, least: Fraction, most: Fraction, tmp_path: Path
) -> None:
    found = paid(tmp_path, method)
    assert least <= share(found) <= most
    if method.get("ratio_scope") == "case":
        assert share(found) != 1
    (pool,) = found.pools().to_pylist()
    assert pool["undistributed_fen"] == pool["fund_fen"] - pool["pay_fen"]


def test_the_price_of_another_form_misses_the_fund(tmp_path: Path) -> None:
    """Difference with the ratio form's point value: the months pay another sum than the fund."""
    (pool,) = paid(tmp_path / "ratio", {"fund_form": "ratio"}).pools().to_pylist()
    other = {
        "point_value_budget": parameter("yuan per point", {"value": Decimal(pool["point_value"])})
    }
    found = paid(
        tmp_path / "mixed", {"fund_form": "difference"}, {"month_point_value": "budget"}, **other
    )
    months = found.months().to_pylist()
    part = Fraction(sum(m["pay_fen"] for m in months), sum(m["fund_fen"] for m in months))
    assert abs(part - 1) > Fraction(1, 200)
    assert share(found) == 1  # the clearing forms its own


def test_a_mismatched_pair_is_refused(tmp_path: Path) -> None:
    budget = {"point_value_budget": parameter("yuan per point", {"value": 80})}
    year = {"month_point_value": "budget", "point_value_form": "ratio"}
    with pytest.raises(PolicyError, match="point_value_form"):
        paid(tmp_path, {"fund_form": "difference"}, year, **budget)
