"""Calendar arithmetic: on which date a month count falls.

Rule decided here: a month count is added to the first date in one step and clamped to the month's last day,
so 31 January + 1 month is 28 February and + 2 months is 31 March. Adding months one after the other would
drift.
"""

from __future__ import annotations

from calendar import monthrange
from datetime import date, timedelta

from models.units import Duration


def add_months(day: date, months: int) -> date:
    """Return the date `months` calendar months after `day`, clamped to the month's end.

    Parameters
    ----------
    day
        First date.
    months
        Calendar months; may be negative.

    Returns
    -------
    datetime.date
        The same day of the month, or the month's last day where it is shorter.

    Examples
    --------
    >>> add_months(date(2026, 1, 31), 1)
    datetime.date(2026, 2, 28)
    """
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))


def add_duration(day: date, duration: Duration) -> date:
    """Return the date `duration` after `day`: months first, then whole days.

    Raises
    ------
    ValueError
        If the duration has a part of a day.
    """
    rest = Duration(seconds=duration.seconds)
    return add_months(day, duration.months) + timedelta(days=rest.days)


def month_index(start: date, day: date) -> int:
    """Return how many whole months from `start` have passed at the end of `day`.

    Parameters
    ----------
    start
        Date at which month 0 begins.
    day
        Any date; before `start` the index is negative.

    Examples
    --------
    >>> month_index(date(2025, 9, 8), date(2025, 10, 7)), month_index(date(2025, 9, 8), date(2025, 10, 8))
    (0, 1)
    """
    months = (day.year - start.year) * 12 + day.month - start.month
    return months if add_months(start, months) <= day else months - 1


def month_position(start: date, day: date) -> tuple[int, int]:
    """Return the place of `day` inside its month counted from `start`.

    Returns
    -------
    tuple of int
        (index of the day inside the month from 0, days of that month).

    Examples
    --------
    >>> month_position(date(2025, 9, 8), date(2025, 10, 7))
    (29, 30)
    """
    index = month_index(start, day)
    first = add_months(start, index)
    return (day - first).days, (add_months(start, index + 1) - first).days
