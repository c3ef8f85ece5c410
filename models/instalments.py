"""Instalments: the words of a vesting calendar as dates with cumulative numerators over one denominator.

Rule decided here: which dates a cliff, a linear length, steps or a table mean. Every date is computed from
the first one, an instalment at or before the cliff's end is paid at the cliff's end, and a calendar that
does not pay everything, or pays more, is refused with the difference.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from fractions import Fraction
from itertools import accumulate, pairwise
from math import gcd, lcm
from typing import Any

from models.calendar import add_duration, add_months
from models.units import SECONDS_PER_DAY, Duration

Step = tuple[int, int, Fraction]
"""First month, last month, and the part of the rest after TGE that they pay together in equal parts."""
Payment = tuple[date, int]
"""Date and amount in ledger units."""
Calendar = tuple[tuple[date, ...], tuple[int, ...], int]
"""Dates, cumulative numerators and their denominator."""

EVERY = ("month", "day", "second")
"""How often a linear calendar pays."""


def linear_calendar(
    start: date, cliff: Duration, catch_up: bool, linear: Duration | None, every: str
) -> Calendar:
    """Return the calendar of a cliff and equal instalments.

    Parameters
    ----------
    start
        Date from which the cliff counts.
    cliff
        Months or whole days without payment.
    catch_up
        Whether `linear` counts from `start`, so that the cliff's end pays what has accrued.
    linear
        Length of the instalments, or None for one payment at the cliff's end.
    every
        One of `EVERY`.

    Raises
    ------
    ValueError
        If the length is 0 or not a whole number of what `every` says.
    """
    if every not in EVERY:
        raise ValueError(f"every '{every}' is unknown; expected one of {', '.join(EVERY)}")
    begins = add_duration(start, cliff)
    if linear is None:
        return (begins,), (1,), 1
    if linear == Duration():
        raise ValueError("linear is 0; give a length above 0, or leave it out to pay all at the cliff's end")
    if every == "month":
        dated = list(_months(start, Duration() if catch_up else cliff, linear))
    else:
        dated = list(_days(start, Duration() if catch_up else cliff, linear, every))
    accrued = [number for day, number in dated if day <= begins]
    later = [pair for pair in dated if pair[0] > begins]
    if accrued:
        later.insert(0, (begins, accrued[-1]))
    return tuple(d for d, _ in later), tuple(n for _, n in later), dated[-1][1]


def _months(start: date, skip: Duration, linear: Duration) -> Iterator[tuple[date, int]]:
    """Yield (date, number) of monthly instalments; every date is computed from the first one."""
    if linear.seconds:
        raise ValueError(f"linear {linear} is not a whole number of months; every month needs one")
    begins = add_duration(start, Duration(seconds=skip.seconds))
    for number in range(1, linear.months + 1):
        yield add_months(begins, skip.months + number), number


def _days(start: date, skip: Duration, linear: Duration, every: str) -> Iterator[tuple[date, int]]:
    """Yield (date, cumulative days or seconds) of a calendar that pays daily or is read daily."""
    begins = add_duration(start, skip)
    together = Duration(skip.months + linear.months, skip.seconds)
    seconds = (add_duration(start, together) - begins).days * SECONDS_PER_DAY + linear.seconds
    if every == "day":
        if seconds % SECONDS_PER_DAY:
            raise ValueError(f"linear {linear} is not a whole number of days; every day needs one")
        for number in range(1, seconds // SECONDS_PER_DAY + 1):
            yield begins + timedelta(days=number), number
        return
    for number in range(seconds // SECONDS_PER_DAY):
        yield begins + timedelta(days=number), (number + 1) * SECONDS_PER_DAY - 1
    yield begins + timedelta(days=seconds // SECONDS_PER_DAY), seconds


def steps_calendar(start: date, steps: Sequence[Step]) -> Calendar:
    """Return the calendar of months that pay at rates that differ from step to step.

    Parameters
    ----------
    start
        Date from which months count; month 1 ends one month later.
    steps
        (first month, last month, part that they pay together), in order and not overlapping.

    Raises
    ------
    ValueError
        If months are out of order, a part is negative, or the parts do not sum to 1.
    """
    monthly: list[tuple[int, Fraction]] = []
    for first, last, part in steps:
        if not 1 <= first <= last:
            raise ValueError(f"months {first}..{last} are not in rising order from 1")
        if monthly and first <= monthly[-1][0]:
            raise ValueError(f"months {first}..{last} begin before month {monthly[-1][0]} has passed")
        if part < 0:
            raise ValueError(f"part {part} of months {first}..{last} is negative")
        monthly += [(month, part / (last - first + 1)) for month in range(first, last + 1)]
    whole = sum((part for _, _, part in steps), Fraction())
    if whole != 1:
        raise ValueError(f"the steps' parts sum to {whole}, not 1: {_missing(1 - whole)}")
    denominator = lcm(*(part.denominator for _, part in monthly))
    paying = [(month, int(part * denominator)) for month, part in monthly if part]
    dates = tuple(add_months(start, month) for month, _ in paying)
    return dates, tuple(accumulate(number for _, number in paying)), denominator


def table_calendar(table: Sequence[Payment], rest: int) -> Calendar:
    """Return the calendar of dated amounts.

    Parameters
    ----------
    table
        Dates in rising order and amounts above 0 in ledger units.
    rest
        What the amounts must sum to: the allocation less its TGE part.

    Raises
    ------
    ValueError
        If dates do not rise, an amount is not above 0, or the sum is another.
    """
    if not table:
        raise ValueError("the table has no rows")
    check_rising("dates", [day for day, _ in table])
    dates, numerators, paid = [], [], 0
    for day, amount in table:
        if amount <= 0:
            raise ValueError(f"amount {amount} on {day} is not above 0")
        paid += amount
        dates.append(day)
        numerators.append(paid)
    if paid != rest:
        raise ValueError(f"the table's amounts sum to {paid}, not {rest}: {_missing(rest - paid)}")
    return tuple(dates), tuple(numerators), rest


def gross_calendar(calendar: Calendar, allocation: int, rest: int) -> Calendar:
    """Return a calendar whose instalments divide the whole allocation and stop when the rest is used up.

    Parameters
    ----------
    calendar
        Instalments as parts of a whole.
    allocation, rest
        The bucket, and what its TGE part leaves of it, ledger units; rest is above 0.
    """
    dates, numerators, denominator = calendar
    common = gcd(allocation, rest)
    end = denominator * (rest // common)
    numbers = [min(number * (allocation // common), end) for number in numerators]
    kept = numbers.index(end) + 1
    return dates[:kept], tuple(numbers[:kept]), end


def _missing(gap: int | Fraction) -> str:
    return f"{gap} is missing" if gap > 0 else f"{-gap} too much"


def check_rising(what: str, values: Sequence[Any]) -> None:
    """Raise ValueError where a value is not above the one before it."""
    for before, after in pairwise(values):
        if not before < after:
            raise ValueError(f"{what} must rise: {after} follows {before}")
