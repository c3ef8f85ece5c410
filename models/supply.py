"""Supply: the series that are so often confused, each from account totals.

Rule decided here: locked + reserve + circulating + burned = cap. Unlocked is what vesting has released,
circulating leaves out what pools and treasuries hold, float is what wallets can sell today, and the trackers'
circulating supply is unlocked - burned: a series of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

DAYS_PER_YEAR = 365


@dataclass(frozen=True, slots=True)
class Supply:
    """Supply of one day in ledger units; every field has the shape of the account totals, usually `(runs,)`.

    Parameters
    ----------
    total
        Cap less burned.
    locked
        Allocated and not yet vested.
    unlocked
        Cap less locked.
    reserve
        Vested, and held by pools, treasuries, inventories and pots.
    circulating
        Unlocked less reserve and burned.
    float
        In wallets, free to be sold.
    tracker
        Unlocked less burned, as supply trackers print it.
    burned
        Destroyed or sent to the dead address.
    """

    total: Ints
    locked: Ints
    unlocked: Ints
    reserve: Ints
    circulating: Ints
    float: Ints
    tracker: Ints
    burned: Ints


def supply(cap: int, locked: Ints, reserve: Ints, burned: Ints, wallets: Ints) -> Supply:
    """Return the supply series from account totals.

    Parameters
    ----------
    cap
        The token's cap in ledger units.
    locked, reserve, burned, wallets
        Sums of the accounts counted as such, all of one shape.

    Raises
    ------
    ValueError
        If a sum is negative, or they add up to more than the cap.

    Examples
    --------
    >>> day = supply(100, np.array([60]), np.array([10]), np.array([5]), np.array([20]))
    >>> int(day.circulating[0]), int(day.tracker[0])
    (25, 35)
    """
    locked, reserve, burned, wallets = (np.asarray(v, np.int64) for v in (locked, reserve, burned, wallets))
    circulating = cap - locked - reserve - burned
    for name, values in (("locked", locked), ("reserve", reserve), ("burned", burned), ("wallets", wallets)):
        if values.min(initial=0) < 0:
            raise ValueError(f"{name} is {values.min()}; 0 or more is needed")
    if (circulating - wallets).min(initial=0) < 0:
        over = -int((circulating - wallets).min())
        raise ValueError(f"locked, reserve, burned and wallets exceed the cap {cap} by {over}")
    return Supply(
        total=cap - burned,
        locked=locked,
        unlocked=cap - locked,
        reserve=reserve,
        circulating=circulating,
        float=wallets,
        tracker=cap - locked - burned,
        burned=burned,
    )


def inflation(before: Ints, after: Ints, days: int) -> Floats:
    """Return the growth of a supply series as an annual rate, without compounding.

    Parameters
    ----------
    before, after
        The series at both ends of the period, same shape.
    days
        Days in between, at least 1.

    Returns
    -------
    numpy.ndarray
        Rates, 0.10 for 10 % a year; NaN where the series began at 0.

    Raises
    ------
    ValueError
        If `days` is below 1.

    Examples
    --------
    >>> inflation(np.array([1000]), np.array([1010]), 73).round(6).tolist()
    [0.05]
    """
    if days < 1:
        raise ValueError(f"days is {days}; at least 1 is needed")
    before, after = np.asarray(before), np.asarray(after)
    grown = (after - before) / np.where(before > 0, before, 1) * (DAYS_PER_YEAR / days)
    return np.where(before > 0, grown, np.nan)


def shares_of(amount: int, denominators: Mapping[str, int]) -> dict[str, float | None]:
    """Return an amount as a share of each named denominator.

    Parameters
    ----------
    amount
        Ledger units, such as the next unlock.
    denominators
        Names and ledger units.

    Returns
    -------
    dict
        Shares by name, None where the denominator is 0.

    Examples
    --------
    >>> shares_of(5, {"cap": 100, "burned": 0})
    {'cap': 0.05, 'burned': None}
    """
    return {name: amount / whole if whole else None for name, whole in denominators.items()}
