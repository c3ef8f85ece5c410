"""Vesting: how much of an allocation is unlocked on which day, for any token's calendar.

Rule decided here: every calendar is a table of dates with a cumulative numerator over one denominator, and
on a day vested = T + floor((A - T) * numerator / denominator) with allocation A, TGE part T and the last
date not after that day. Rounding never drifts and the last date closes at exactly A. The contract pays from
this table.

Instalments fall at the start of their date, so a day's value includes that day. `second` follows
OpenZeppelin's `VestingWallet`, linear per second, read at 23:59:59 of each day. Days are UTC.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from models.calendar import add_months
from models.instalments import (
    Calendar,
    Payment,
    Step,
    check_rising,
    gross_calendar,
    linear_calendar,
    steps_calendar,
    table_calendar,
)
from models.units import Duration

Ints = NDArray[np.int64]

LINEAR_OF = ("remainder", "allocation")
"""What the instalments of a linear calendar divide."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """One bucket's calendar; `build` makes it from the words of a scenario.

    Parameters
    ----------
    allocation
        A, ledger units.
    tge
        T, ledger units, part of the allocation.
    tge_date
        Day on which the TGE part is unlocked.
    dates
        Rising dates of the instalments.
    numerators
        Cumulative numerators, one per date, rising to the denominator.
    denominator
        What the numerators are over.

    Raises
    ------
    ValueError
        If the table is not what is said here, or does not release the whole allocation.
    """

    allocation: int
    tge: int
    tge_date: date
    dates: tuple[date, ...] = ()
    numerators: tuple[int, ...] = ()
    denominator: int = 1

    def __post_init__(self) -> None:
        """Refuse a table that is out of order or does not end at the whole allocation."""
        if not 0 <= self.tge <= self.allocation:
            raise ValueError(f"TGE part {self.tge} is outside 0..{self.allocation}, the allocation")
        if len(self.dates) != len(self.numerators) or self.denominator < 1:
            counts = f"{len(self.dates)} dates, {len(self.numerators)} numerators"
            raise ValueError(f"{counts} over {self.denominator}: one numerator per date over 1 or more")
        check_rising("dates", self.dates)
        check_rising("numerators", (0, *self.numerators))
        if self.tge < self.allocation and (not self.dates or self.numerators[-1] != self.denominator):
            raise ValueError(
                f"{self.allocation - self.tge} after the TGE part never unlock completely; "
                "give linear, a cliff, steps or a table that pays all of it"
            )

    @classmethod
    def build(
        cls,
        *,
        allocation: int,
        start: date,
        tge: int = 0,
        tge_date: date | None = None,
        cliff: Duration | None = None,
        catch_up: bool = False,
        linear: Duration | None = None,
        linear_of: str = "remainder",
        every: str = "month",
        steps: Sequence[Step] | None = None,
        table: Sequence[Payment] | None = None,
    ) -> Schedule:
        """Return the schedule that a scenario's words describe.

        Parameters
        ----------
        allocation, tge
            Ledger units; the TGE part is inside the allocation.
        start
            Date from which the bucket's months are counted.
        tge_date
            Date of the TGE part; None for `start`.
        cliff
            Months or whole days from `start` in which nothing is paid.
        catch_up
            True: `linear` counts from `start` and the cliff's end pays what has accrued. False: `linear`
            begins at the cliff's end, and the first instalment comes one period later.
        linear
            Months or whole days over which the rest is paid in equal instalments; with `every="second"` any
            length. None with a cliff: all at once at the cliff's end.
        linear_of
            ``remainder``: instalments divide what the TGE part leaves. ``allocation``: they divide the whole
            allocation and stop when the bucket is empty.
        every
            ``month``, ``day`` or ``second``.
        steps
            Piecewise calendar instead of cliff and linear: (first month, last month, part of the rest that
            each of these months pays); the parts must sum to 1.
        table
            Dates and amounts in ledger units instead of cliff and linear; with the TGE part they must sum
            to the allocation.

        Returns
        -------
        Schedule
            The calendar as a table.

        Raises
        ------
        ValueError
            If words contradict each other, are out of range, or do not release the whole allocation.

        Examples
        --------
        >>> team = Schedule.build(
        ...     allocation=100, start=date(2025, 9, 8), cliff=Duration(months=12), linear=Duration(months=3)
        ... )
        >>> [(str(day), k) for day, k in zip(team.dates, team.numerators)]
        [('2026-10-08', 1), ('2026-11-08', 2), ('2026-12-08', 3)]
        """
        if linear_of not in LINEAR_OF:
            raise ValueError(f"linear_of '{linear_of}' is unknown; expected {' or '.join(LINEAR_OF)}")
        named = [steps is not None, table is not None, cliff is not None or linear is not None]
        if sum(named) > 1:
            raise ValueError("give one of: cliff and linear, steps, table")
        rest = allocation - tge
        if steps is not None:
            calendar = steps_calendar(start, steps)
        elif table is not None:
            calendar = table_calendar(table, rest)
        elif rest > 0 and (cliff is not None or linear is not None):
            calendar = linear_calendar(start, cliff or Duration(), catch_up, linear, every)
            if linear_of == "allocation":
                calendar = gross_calendar(calendar, allocation, rest)
        else:
            calendar = (), (), 1
        return cls(allocation, tge, start if tge_date is None else tge_date, *calendar)


def vested_on(schedule: Schedule, day: date) -> int:
    """Return what is vested at the end of a day, in Python integers.

    Parameters
    ----------
    schedule
        The calendar.
    day
        Any date.

    Returns
    -------
    int
        Ledger units, 0 before everything and the allocation after the last date.

    Examples
    --------
    >>> quarter = Schedule.build(allocation=100, tge=10, start=date(2026, 1, 31), linear=Duration(months=3))
    >>> [vested_on(quarter, d) for d in (date(2026, 1, 31), date(2026, 2, 28), date(2026, 3, 30))]
    [10, 40, 40]
    """
    vested = schedule.tge if day >= schedule.tge_date else 0
    passed = bisect_right(schedule.dates, day)
    if passed == 0:
        return vested
    rest = schedule.allocation - schedule.tge
    return vested + rest * schedule.numerators[passed - 1] // schedule.denominator


def vested_path(schedule: Schedule, first: date, days: int) -> Ints:
    """Return what is vested at the end of each day of a period.

    Parameters
    ----------
    schedule
        The calendar.
    first
        Day 0.
    days
        Days after day 0, 0 or more.

    Returns
    -------
    numpy.ndarray
        Ledger units, shape `(days + 1,)`, never falling.

    Raises
    ------
    ValueError
        If `days` is negative.

    Examples
    --------
    >>> quarter = Schedule.build(allocation=90, start=date(2026, 1, 1), linear=Duration(months=3))
    >>> vested_path(quarter, date(2026, 1, 31), 1).tolist()
    [0, 30]
    """
    if days < 0:
        raise ValueError(f"days is {days}; 0 or more is needed")
    changes = sorted({schedule.tge_date, *schedule.dates})
    values = np.array([0, *(vested_on(schedule, day) for day in changes)], dtype=np.int64)
    offsets = np.array([(day - first).days for day in changes], dtype=np.int64)
    return values[np.searchsorted(offsets, np.arange(days + 1), side="right")]


def unlocked_on(schedules: Sequence[Schedule], day: date) -> int:
    """Return the sum over buckets of what is vested at the end of a day: a sum of floors."""
    return sum(vested_on(schedule, day) for schedule in schedules)


def unlocked_at_months(schedules: Sequence[Schedule], start: date, months: Sequence[int]) -> list[int]:
    """Return what all buckets together have unlocked at given month ends.

    Parameters
    ----------
    schedules
        The buckets.
    start
        Date from which months are counted.
    months
        Month ends; month m is the date m months after `start`.

    Returns
    -------
    list of int
        Ledger units per month end.

    Examples
    --------
    >>> half = Schedule.build(allocation=10, tge=5, start=date(2026, 1, 1), linear=Duration(months=2))
    >>> unlocked_at_months([half, half], date(2026, 1, 1), range(4))
    [10, 14, 20, 20]
    """
    return [unlocked_on(schedules, add_months(start, month)) for month in months]


def unlock_dates(schedule: Schedule) -> list[date]:
    """Return the dates on which the vested amount rises, in order.

    Instalments smaller than a ledger unit raise nothing and are left out.
    """
    rising, before = [], 0
    for day in sorted({schedule.tge_date, *schedule.dates}):
        now = vested_on(schedule, day)
        if now > before:
            rising.append(day)
        before = now
    return rising


def instalments(schedule: Schedule) -> Calendar:
    """Return the table from which a contract pays the part after TGE.

    Returns
    -------
    tuple
        Dates, cumulative numerators and the denominator: on and after a date
        floor((A - T) * numerator / denominator) is released beside the TGE part.
    """
    return schedule.dates, schedule.numerators, schedule.denominator
