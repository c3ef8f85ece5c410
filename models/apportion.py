"""Dividing an amount by integer weights so that the parts sum to it exactly.

Rule decided here: everybody gets floor(total * weight / sum of weights), and the units that the floors
leave over go one each to the largest remainders, ties to the lowest index (Hamilton's method, known as
largest remainder). Where a named party keeps the leftover instead, `apportion_floor` says how much that is.
Weights that are all 0 divide nothing: every part is 0 and the caller keeps the total.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from models.exact import LARGEST_DIVISOR, mul_div_reduced

Ints = NDArray[np.int64]
Divide = Callable[[Ints | int, Ints], Ints]
"""A way to divide by largest remainder: `apportion`, or what is held equal to it."""

_FEW = 48
"""Up to this many payees one stable sort of all rows is faster than a selection row by row."""


def apportion_reference(total: int, weights: Sequence[int]) -> list[int]:
    """Divide one amount by largest remainder in Python integers: the definition that `apportion` is held to.

    Parameters
    ----------
    total
        Amount in the ledger's unit, 0 or more.
    weights
        Weights of the payees in order of id, each 0 or more.

    Returns
    -------
    list of int
        Parts that sum to `total`, or zeros where every weight is 0.

    Raises
    ------
    ValueError
        If the total or a weight is negative.

    Examples
    --------
    >>> apportion_reference(4, [1, 3, 3])
    [0, 2, 2]
    """
    if total < 0 or min(weights, default=0) < 0:
        raise ValueError("total and weights must be 0 or more")
    whole = sum(weights)
    if whole == 0:
        return [0] * len(weights)
    parts = [total * weight // whole for weight in weights]
    leftover = total - sum(parts)
    if leftover:
        order = sorted([(-(total * weight % whole), i) for i, weight in enumerate(weights)])
        for _, i in order[:leftover]:
            parts[i] += 1
    return parts


def apportion(total: Ints | int, weights: Ints) -> Ints:
    """Divide an amount per run among payees by largest remainder.

    Parameters
    ----------
    total
        Amount per run in the ledger's unit, shape `(runs,)` or one number for all; 0 or more.
    weights
        Weights `(runs, payees)`, each 0 or more, with a sum of at most 2^61 per run.

    Returns
    -------
    numpy.ndarray
        Parts `(runs, payees)` that sum to `total` in every run with a positive weight, and zeros in the
        others.

    Raises
    ------
    ValueError
        If a total or a weight is negative, or weights sum to more than 2^61.

    Examples
    --------
    >>> apportion(np.array([3, 4]), np.array([[1, 3, 3], [1, 3, 3]])).tolist()
    [[1, 1, 1], [0, 2, 2]]
    """
    parts, remainders, leftover = _floors(total, weights)
    if parts.shape[1] <= _FEW:
        order = np.argsort(-remainders, axis=1, kind="stable")
        wins = np.arange(parts.shape[1]) < leftover[:, None]
        extra = np.zeros_like(parts)
        np.put_along_axis(extra, order, wins.astype(np.int64), axis=1)
        return parts + extra
    for run in np.flatnonzero(leftover):
        parts[run, _largest(remainders[run], int(leftover[run]))] += 1
    return parts


def apportion_floor(total: Ints | int, weights: Ints) -> tuple[Ints, Ints]:
    """Divide an amount per run by floors and say what they leave over.

    Parameters
    ----------
    total
        As in `apportion`.
    weights
        As in `apportion`.

    Returns
    -------
    tuple of numpy.ndarray
        Parts `(runs, payees)` and the dust `(runs,)` that a named party keeps; where every weight is 0 the
        dust is the total.

    Examples
    --------
    >>> parts, dust = apportion_floor(np.array([10]), np.array([[1, 1, 1]]))
    >>> parts.tolist(), dust.tolist()
    ([[3, 3, 3]], [1])
    """
    parts, _, _ = _floors(total, weights)
    return parts, np.broadcast_to(np.asarray(total, dtype=np.int64), parts.shape[:1]) - parts.sum(axis=1)


def _floors(total: Ints | int, weights: Ints) -> tuple[Ints, Ints, Ints]:
    """Return floors and remainders `(runs, payees)` and the units left over `(runs,)`."""
    weights = np.asarray(weights, dtype=np.int64)
    if weights.ndim != 2:
        raise ValueError(f"weights must have the shape (runs, payees), not {weights.shape}")
    amount = np.broadcast_to(np.asarray(total, dtype=np.int64), weights.shape[:1])
    if min(amount.min(initial=0), weights.min(initial=0)) < 0:
        raise ValueError("total and weights must be 0 or more")
    whole = _sums(weights)
    divisor = np.maximum(whole, 1)
    times, rest = np.divmod(amount, divisor)
    paid = np.flatnonzero(weights.any(axis=0))  # often few: columns without weight get nothing
    some = weights if len(paid) == weights.shape[1] else weights[:, paid]
    floors, remains = mul_div_reduced(rest[:, None], some, divisor[:, None])
    floors += times[:, None] * some
    leftover = np.where(whole > 0, amount - floors.sum(axis=1), 0)
    if some is weights:
        return floors, remains, leftover
    parts, remainders = np.zeros_like(weights), np.zeros_like(weights)
    parts[:, paid], remainders[:, paid] = floors, remains
    return parts, remainders, leftover


def _sums(weights: Ints) -> Ints:
    """Return the weights' sums `(runs,)`, refusing those too large to divide by."""
    about = float(weights.sum(axis=1, dtype=np.float64).max(initial=0.0))
    if about > LARGEST_DIVISOR / 2:  # near the limit float sums cannot tell: add up in Python integers
        exact = max(sum(row) for row in weights.tolist())
        if exact > LARGEST_DIVISOR:
            raise ValueError(f"weights sum to {exact}; at most {LARGEST_DIVISOR} is allowed")
    return np.asarray(weights.sum(axis=1))


def _largest(remainders: Ints, count: int) -> NDArray[np.intp]:
    """Return the indices of the `count` largest remainders of one run, ties to the lowest index."""
    least = np.partition(remainders, remainders.size - count)[remainders.size - count]
    above = np.flatnonzero(remainders > least)
    level = np.flatnonzero(remainders == least)
    return np.concatenate((above, level[: count - above.size]))
