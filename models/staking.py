"""Staking: rewards from a pot that can run dry, unbonding by day, and the yield that results.

Rule decided here: a day's rewards are what is due, but never more than the pot holds, divided by stake with
the largest remainder; nothing is paid where nobody stakes. The yield is therefore a result and never a
promise.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.apportion import apportion
from models.units import Duration

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

DAYS_PER_YEAR = 365


def rewards(pot: Ints, due: Ints | int, stakes: Ints) -> Ints:
    """Return each staker's reward of a day.

    Parameters
    ----------
    pot
        What the rewards account holds per run, `(runs,)`.
    due
        What is to be paid today per run, `(runs,)` or one number.
    stakes
        Reward-bearing stake `(runs, agents)`.

    Returns
    -------
    numpy.ndarray
        Rewards `(runs, agents)`, which sum to min(pot, due) where anybody stakes and to 0 elsewhere.

    Examples
    --------
    >>> rewards(np.array([10, 1]), 4, np.array([[3, 1], [3, 1]])).tolist()
    [[3, 1], [1, 0]]
    """
    return apportion(np.minimum(np.asarray(pot, dtype=np.int64), due), stakes)


def matures_on(day: int, delay: Duration) -> int:
    """Return the day on which tokens that start unbonding on `day` are free: a part of a day counts as one.

    Examples
    --------
    >>> matures_on(10, Duration(seconds=7 * 86_400))
    17
    """
    return day + delay.ceil_days


def apr(paid: Ints, stake: Ints, days: int = 1) -> Floats:
    """Return the annual rate that the rewards of `days` days stand for, without compounding.

    Parameters
    ----------
    paid
        Rewards paid in these days, any shape.
    stake
        Stake that earned them, same shape.
    days
        Length of the period, at least 1.

    Returns
    -------
    numpy.ndarray
        Rates, 0.10 for 10 % a year; 0 where nothing is staked.

    Raises
    ------
    ValueError
        If `days` is below 1.

    Examples
    --------
    >>> apr(np.array([1]), np.array([3650])).round(6).tolist()
    [0.1]
    """
    if days < 1:
        raise ValueError(f"days is {days}; at least 1 is needed")
    paid, stake = np.asarray(paid), np.asarray(stake)
    return np.where(stake > 0, paid / np.maximum(stake, 1) * (DAYS_PER_YEAR / days), 0.0)


def apy(rate: Floats, per_year: int | None = None) -> Floats:
    """Return the yield with compounding of an annual rate.

    Parameters
    ----------
    rate
        Annual rate without compounding.
    per_year
        Compoundings in a year, or None for continuous compounding, `exp(rate) - 1`.

    Raises
    ------
    ValueError
        If `per_year` is below 1.

    Examples
    --------
    >>> apy(np.array([0.1]), 1).round(6).tolist(), apy(np.array([0.1])).round(6).tolist()
    ([0.1], [0.105171])
    """
    rate = np.asarray(rate, dtype=np.float64)
    if per_year is None:
        return np.asarray(np.expm1(rate))
    if per_year < 1:
        raise ValueError(f"per_year is {per_year}; at least 1 is needed")
    return np.asarray(np.expm1(per_year * np.log1p(rate / per_year)))
