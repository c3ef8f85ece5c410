"""Dust: what is smaller than a unit or than it is worth to pay, and when it is paid.

Rules decided here. Weights sum to 10^9 or to 0, so what a payee earns is a whole number of billionths of a unit. Whole
units are paid, the billionths are carried to the next epoch, each payee's own: over any number of epochs everybody has
got the floor of what was earned, however the epochs were cut, and equal weights have got the same. The units that
all carried billionths come to stay with the distributor: less than one unit a payee. Balances under the minimum wait
too, and are paid as soon as they reach it, or when the account is closed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.attribution import WHOLE, Bools, Ints
from models.exact import mul_div


@dataclass(frozen=True, slots=True)
class Epoch:
    """What one epoch pays.

    Parameters
    ----------
    paid
        Units per payee, int64 `(payees,)`.
    carried
        Billionths of a unit per payee, 0 to 10^9 - 1, int64 `(payees,)`.
    unclaimed
        Units that nobody has a weight for: the pot, or 0.
    """

    paid: Ints
    carried: Ints
    unclaimed: int

    @property
    def dust(self) -> int:
        """Units that stay with the distributor for what is carried; less than one a payee."""
        return int(self.carried.sum()) // WHOLE


def pay_epoch(pot: int, weights: Ints, carried: Ints) -> Epoch:
    """Divide a pot by weights, with what was carried before.

    Parameters
    ----------
    pot
        Units, 0 to 10^18.
    weights
        int64 `(payees,)`, with a sum of 10^9, or of 0 where nobody earned anything.
    carried
        `Epoch.carried` of the epoch before; zeros in the first.

    Raises
    ------
    ValueError
        If the weights have another sum, or an amount is outside its range.

    Examples
    --------
    >>> first = pay_epoch(10, np.array([333_333_334, 333_333_333, 333_333_333]), np.zeros(3, np.int64))
    >>> first.paid.tolist(), first.dust
    ([3, 3, 3], 1)
    >>> second = pay_epoch(5, np.array([333_333_334, 333_333_333, 333_333_333]), first.carried)
    >>> second.paid.tolist(), second.dust
    ([2, 1, 1], 2)
    """
    weights, carried = np.asarray(weights, np.int64), np.asarray(carried, np.int64)
    total = int(weights.sum())
    if total not in (0, WHOLE) or weights.min(initial=0) < 0:
        raise ValueError(f"weights must be 0 or more and sum to {WHOLE} or 0, not {total}")
    if pot < 0 or carried.min(initial=0) < 0 or carried.max(initial=0) >= WHOLE:
        raise ValueError(f"pot {pot} must be 0 or more, carried parts from 0 to {WHOLE - 1}")
    if total == 0:
        return Epoch(np.zeros_like(weights), carried.copy(), pot)
    units, parts = mul_div(pot, weights, WHOLE)
    more, rest = np.divmod(parts + carried, WHOLE)
    return Epoch(units + more, rest, 0)


def due(balances: Ints, minimum: int, closing: Bools | bool = False) -> tuple[Ints, Ints]:
    """Return what of each balance is paid now, and what waits.

    Parameters
    ----------
    balances
        Unpaid units, int64.
    minimum
        Least payment that is worth its cost, in units.
    closing
        Whose account is closed: all of it is paid.

    Examples
    --------
    >>> now, later = due(np.array([7, 2, 0]), 5)
    >>> now.tolist(), later.tolist()
    ([7, 0, 0], [0, 2, 0])
    """
    if minimum < 0 or balances.min(initial=0) < 0:
        raise ValueError(f"minimum {minimum} and balances must be 0 or more")
    now = np.where((balances >= minimum) | closing, balances, 0)
    return now, balances - now
