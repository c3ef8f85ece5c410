"""Emission programmes: what the community pool spends on which day.

Rule decided here: a monthly budget is divided over the days of its calendar month, counted from the start,
by a cumulative floor, so that a whole month pays exactly its budget; a pool that cannot pay everything pays
the programmes in the order in which they are listed, and what is not spent stays in it.
"""

from __future__ import annotations

from collections.abc import Mapping
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


def within_pool(pool: Ints, wanted: Ints) -> Ints:
    """Return what a pool pays when it may hold less than all programmes want.

    Parameters
    ----------
    pool
        What the pool holds, `(runs,)`.
    wanted
        What the programmes want in order of precedence, `(runs, programmes)`.

    Returns
    -------
    numpy.ndarray
        What each is paid, `(runs, programmes)`: the first in full before the second gets anything.

    Raises
    ------
    ValueError
        If anything wanted is negative.

    Examples
    --------
    >>> within_pool(np.array([10]), np.array([[6, 6, 6]])).tolist()
    [[6, 4, 0]]
    """
    pool, wanted = np.asarray(pool, dtype=np.int64), np.asarray(wanted, dtype=np.int64)
    if wanted.min(initial=0) < 0:
        raise ValueError(f"a programme wants {wanted.min()}; 0 or more is needed")
    left = np.maximum(pool, 0)
    paid = np.empty_like(wanted)
    for programme in range(wanted.shape[1]):
        paid[:, programme] = np.minimum(wanted[:, programme], left)
        left = left - paid[:, programme]
    return paid


def airdrop_on(airdrops: Mapping[date, int], day: date) -> int:
    """Return the ledger units that are dropped on exactly this day, 0 on all others."""
    return airdrops.get(day, 0)
