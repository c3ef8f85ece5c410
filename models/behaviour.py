"""Behaviour: how much of what somebody holds is sold, bought or moved on a day.

Rule decided here: those who receive tokens keep a share S(t) = scale * t^exponent after t days, the
curve that airdrops showed (1INCH: S = 0.60 t^-0.11, about 60 % kept after one day, 48 % after 7 and 37 %
after 90; data: Flipside). Monthly shares become daily rates that compound to them. A coming unlock is
sold ahead in equal daily parts over its lead time. Results are shares in float64; whoever moves money
floors once.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

DAYS_PER_MONTH = 365.25 / 12
"""Mean length of a calendar month in days."""


def survival(days: Ints | int, scale: float, exponent: float) -> Floats:
    """Return the share that is still held so many days after receipt.

    Parameters
    ----------
    days
        Whole days since receipt, 0 or more, any shape.
    scale
        Share kept after the first day.
    exponent
        Power of time, usually negative.

    Returns
    -------
    numpy.ndarray
        min(1, scale * days^exponent), and 1 on day 0.

    Examples
    --------
    >>> survival(np.array([0, 1, 90]), 0.60, -0.11).round(3).tolist()
    [1.0, 0.6, 0.366]
    """
    since = np.asarray(days, dtype=np.float64)
    held = scale * np.maximum(since, 1.0) ** exponent
    return np.where(since < 1, 1.0, np.clip(held, 0.0, 1.0))


def daily_rate_from_monthly(share: float) -> float:
    """Return the daily rate that compounds to `share` over a mean month.

    Parameters
    ----------
    share
        Part of a holding that goes within a month, 0 to 1.

    Raises
    ------
    ValueError
        If the share is outside 0..1.

    Examples
    --------
    >>> round(daily_rate_from_monthly(0.08), 6)
    0.002736
    """
    if not 0 <= share <= 1:
        raise ValueError(f"monthly share {share} is outside 0..1")
    return float(1.0 - (1.0 - share) ** (1.0 / DAYS_PER_MONTH))


def cliff_anticipation(days_to_next_unlock: int, lead_days: int) -> float:
    """Return the part of a coming unlock that is sold ahead today.

    Parameters
    ----------
    days_to_next_unlock
        Days until the unlock; 0 is its own day, a negative number means that none is coming.
    lead_days
        Over how many days before the unlock it is sold ahead; 0 for not at all.

    Returns
    -------
    float
        1 / lead on each of the `lead_days` days before the unlock, 0 on all others: the parts sum to 1.

    Examples
    --------
    >>> [cliff_anticipation(days, 4) for days in (5, 4, 1, 0)]
    [0.0, 0.25, 0.25, 0.0]
    """
    if lead_days <= 0 or not 1 <= days_to_next_unlock <= lead_days:
        return 0.0
    return 1.0 / lead_days


def towards_target(held: Ints, total: Ints, target_share: Floats | float, speed: float) -> Ints:
    """Return how much to move today so that a holding approaches its target share of the total.

    Parameters
    ----------
    held
        What is in that form now, `(runs, agents)`.
    total
        All that the agent could put into it, same shape.
    target_share
        Wanted share of the total, 0 to 1, broadcast.
    speed
        Part of the gap that is closed today, 0 to 1.

    Returns
    -------
    numpy.ndarray
        int64, positive to add and negative to take out; never more than is held or than is left.

    Raises
    ------
    ValueError
        If the speed is outside 0..1.

    Examples
    --------
    >>> towards_target(np.array([0, 80]), np.array([100, 100]), 0.5, 0.5).tolist()
    [25, -15]
    """
    if not 0 <= speed <= 1:
        raise ValueError(f"speed {speed} is outside 0..1")
    gap = (np.asarray(total) * target_share - held) * speed
    step = np.trunc(gap).astype(np.int64)
    return np.asarray(np.clip(step, -held, total - held))
