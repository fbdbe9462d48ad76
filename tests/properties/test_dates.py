"""Working days and deadlines: by definition, day by day."""

from __future__ import annotations

from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from grouper._calendar import after_working_days, deadlines, is_working
from grouper.tables._policy_model import Calendar

CALENDAR = Calendar(
    holidays=[date(2025, 1, 1), *(date(2025, 1, 28) + timedelta(days=k) for k in range(8))],
    workdays=[date(2025, 1, 26), date(2025, 2, 8)],
    filing_day=10,
    pay_by_day=25,
    source="invented: New Year and Spring Festival",
)


def test_holidays_rest_and_some_weekends_work() -> None:
    assert not is_working(date(2025, 1, 1), CALENDAR)
    assert is_working(date(2025, 1, 1))  # a Wednesday, without the calendar
    assert is_working(date(2025, 1, 26), CALENDAR)  # a Sunday
    assert not is_working(date(2025, 1, 25), CALENDAR)


@given(
    day=st.dates(date(2024, 12, 1), date(2025, 3, 1)),
    n=st.integers(0, 40),
    calendar=st.sampled_from([None, CALENDAR]),
)
def test_as_many_working_days_lie_in_between(day: date, n: int, calendar: Calendar | None) -> None:
    end = after_working_days(day, n, calendar)
    between = [day + timedelta(days=k) for k in range(1, (end - day).days + 1)]
    assert sum(is_working(d, calendar) for d in between) == n
    assert n == 0 or is_working(end, calendar)


def test_the_deadlines_of_a_month() -> None:
    found = deadlines(CALENDAR, ["2025-01", "2025-12"])
    assert found["2025-01"] == {
        "filing": "2025-02-10",
        "settle_by": "2025-03-24",
        "clear_by": "2026-06-30",
        "pay_by": "2025-02-25",
    }
    assert found["2025-12"]["filing"] == "2026-01-10"
    assert found["2025-12"]["clear_by"] == "2026-06-30"
