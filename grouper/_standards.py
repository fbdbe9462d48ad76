"""The payment standard (支付标准) of a group under a rate policy: a price list, no cases needed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from fractions import Fraction

from grouper._coefficients import find_coefficients
from grouper._pricing import Where, pay_group, selectors
from grouper._statistics import half_up
from grouper.tables._policy import Policy


@dataclass(frozen=True, slots=True)
class Standard:
    """The payment standard (支付标准) of a group: `exact` in yuan, nothing rounded."""

    group: str
    pay_as: str
    weight: Fraction
    rate: Fraction
    coefficient: Fraction

    @property
    def exact(self) -> Fraction:
        """Weight × rate × coefficient, yuan."""
        return self.weight * self.rate * self.coefficient / 100

    def rounded(self, decimals: int) -> str:
        """Write the standard in yuan with so many decimals, rounded half up."""
        units = half_up(self.exact * 10**decimals)
        text = str(units).rjust(decimals + 1, "0")
        return f"{text[:-decimals]}.{text[-decimals:]}" if decimals else text

    def edge(self, multiple: Fraction) -> Fraction:
        """Return the cost in yuan at a multiple of the standard."""
        return self.exact * multiple


def standard(
    policy: Policy,
    group: str,
    *,
    level: str = "",
    insurance: str = "",
    class_: str = "",
    hospital: str = "",
    pool: str = "",
    on: date,
    note: str = "",
) -> Standard | None:
    """Return what a group is worth under a rate policy; None if it has no weight.

    Parameters
    ----------
    group : a group of the weight table, also ``0000``. note : the id of a `pay_as` note.

    Raises
    ------
    PolicyError : a parameter is not in force on the day, or the policy has no rate.
    """
    paid = pay_group(policy, on, "grouped", group, note)
    if paid.row is None or paid.row.weight is None:
        return None
    where = Where(on, level, class_, insurance, hospital, pool)
    factor = find_coefficients(policy).at(where, paid.row)
    rate = policy.at("base_rate", on, **selectors(policy, where, paid.row))
    return Standard(group, paid.name, paid.row.weight * paid.share, rate, factor)
