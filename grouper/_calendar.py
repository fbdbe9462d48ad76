"""Dates (时限): working days, filing deadlines, and by when a month or a year is to be settled."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

from grouper.tables._policy_model import Calendar


def is_working(day: date, calendar: Calendar | None = None) -> bool:
    """Tell whether a day is a working day: no weekend or holiday, or a weekend that is worked."""
    if calendar is not None and day in calendar.workdays:
        return True
    return day.weekday() < 5 and (calendar is None or day not in calendar.holidays)


def after_working_days(day: date, n: int, calendar: Calendar | None = None) -> date:
    """Return the n-th working day after a day."""
    while n > 0:
        day += timedelta(days=1)
        n -= is_working(day, calendar)
    return day


def deadlines(calendar: Calendar, months: Sequence[str]) -> dict[str, Any]:
    """Return by when each month is filed, settled and paid, and its year cleared."""
    found: dict[str, Any] = {"source": calendar.source}
    found["holidays"] = [d.isoformat() for d in calendar.holidays]
    found["workdays"] = [d.isoformat() for d in calendar.workdays]
    for month in months:
        first = date.fromisoformat(f"{month}-01")
        following = (first + timedelta(days=32)).replace(day=1)
        filing = following.replace(day=calendar.filing_day)
        row = {
            "filing": filing.isoformat(),
            "settle_by": after_working_days(
                filing, calendar.settle_working_days, calendar
            ).isoformat(),
            "clear_by": f"{first.year + 1}-{calendar.clear_by}",
        }
        if calendar.pay_by_day is not None:
            row["pay_by"] = following.replace(day=calendar.pay_by_day).isoformat()
        found[month] = row
    return found
