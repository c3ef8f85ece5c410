"""Emission programmes: what the community pool spends on which day.

Rule decided here: a monthly budget is divided over the days of its calendar month, counted from the start,
by a cumulative floor, so that a whole month pays exactly its budget. What a pool cannot pay is not owed: a
caller pays no more than the pool holds, and what is not spent stays in it.
"""

from __future__ import annotations

from datetime import date

import numpy as np
from numpy.typing import NDArray

from models.calendar import month_position

Ints = NDArray[np.int64]


def daily_part(budget: Ints | int, start: date, day: date) -> Ints:
    """Return what a monthly budget pays on `day`.

    Parameters
    ----------
    budget
        Ledger units per month in force on this day, any shape, such as `(runs,)`.
    start
        Date from which months are counted.
    day
        The day; before `start` nothing is paid.

    Returns
    -------
    numpy.ndarray
        Ledger units of the day, shape of `budget`: floor(B (i + 1) / n) - floor(B i / n) on day i of n.

    Examples
    --------
    >>> [int(daily_part(100, date(2026, 2, 1), date(2026, 2, d))) for d in (1, 2, 28)]
    [3, 4, 4]
    """
    budget = np.asarray(budget, dtype=np.int64)
    if day < start:
        return np.zeros_like(budget)
    index, length = month_position(start, day)
    whole, rest = np.divmod(budget, length)
    return np.asarray(whole + rest * (index + 1) // length - rest * index // length)
