"""Grants: a month's awards, paid in tranches on milestones.

Rules decided here. The month's budget is divided evenly among its grantees. An award is paid in n tranches
by cumulative floor, so that all n together are the award exactly; the first comes with the award, each
later one when its milestone is reached, and a missed milestone ends the grant. What is not paid stays in
the pool; a pool that holds less than is due pays everybody the same part.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.apportion import Divide, apportion

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


def awards(budget: Ints, grantees: Bools, expected: float) -> Ints:
    """Return each new grantee's award.

    Parameters
    ----------
    budget
        Gwei of the month, `(runs,)`.
    grantees
        Who is granted something, `(runs, agents)`.
    expected
        Grantees that a month's budget is meant for: with fewer, the others' parts stay in the pool.

    Examples
    --------
    >>> awards(np.array([10]), np.array([[True, False, True]]), 4).tolist()
    [[2, 0, 2]]
    """
    if not expected > 0:
        if np.any(grantees):
            raise ValueError(f"a budget that is meant for {expected} grantees has no part for any")
        return np.zeros(grantees.shape, np.int64)
    return np.where(grantees, np.floor(budget / expected).astype(np.int64)[:, None], 0)


def tranche(award: Ints, number: Ints, tranches: int) -> Ints:
    """Return tranche `number` (from 0) of an award, floor(A (k + 1) / n) - floor(A k / n); 0 beyond the last.

    Parameters
    ----------
    award
        Gwei, any shape.
    number
        Tranches paid so far, same shape.
    tranches
        Tranches of a grant.

    Examples
    --------
    >>> [int(tranche(np.array(10), np.array(k), 3)) for k in range(4)]
    [3, 3, 4, 0]
    """
    whole, rest = np.divmod(award, tranches)
    part = whole + rest * (number + 1) // tranches - rest * number // tranches
    return np.where((number >= 0) & (number < tranches), part, 0)


def payable(pool: Ints, due: Ints, divide: Divide = apportion) -> Ints:
    """Return what is paid of `due` when the pool may hold less, by largest remainder.

    Parameters
    ----------
    pool
        What the pool holds, `(runs,)`.
    due
        Tranches that fall due, `(runs, agents)`.
    divide
        How amounts are divided.

    Examples
    --------
    >>> payable(np.array([3]), np.array([[4, 2]])).tolist()
    [[2, 1]]
    """
    return divide(np.minimum(pool, due.sum(axis=1)), due)
