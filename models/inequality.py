"""Inequality and concentration of amounts: Gini, HHI, Nakamoto, Lorenz curve, top share, deciles.

Rule decided here: every measure is taken over the last axis, separately for each run, and is defined where
the amounts sum to 0: nobody holds anything, so nothing is concentrated. Sums are int64 and therefore exact;
shares are floats because they are reported and never paid.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

BPS = 10_000


def gini(amounts: Ints) -> Floats:
    """Return the Gini coefficient: 0 where all hold the same, (n - 1) / n where one holds everything.

    Parameters
    ----------
    amounts
        Amounts `(runs, agents)`, 0 or more; any leading shape.

    Returns
    -------
    numpy.ndarray
        sum((2 i - n - 1) x_i) / (n sum(x)) over rising x_i, shape `(runs,)`; 0 where the amounts sum to 0.

    Raises
    ------
    ValueError
        If an amount is negative or there are no agents.

    Examples
    --------
    >>> gini(np.array([[1, 1, 1, 1], [0, 0, 0, 8]])).tolist()
    [0.0, 0.75]
    """
    return gini_of_ranked(np.sort(_checked(amounts), axis=-1))


def gini_of_ranked(ranked: Ints) -> Floats:
    """Return the Gini coefficient of amounts that stand in rising order, `(runs, agents)`, 0 or more.

    Examples
    --------
    >>> gini_of_ranked(np.array([[0, 0, 0, 8]])).tolist()
    [0.75]
    """
    count = ranked.shape[-1]
    ranks = 2.0 * np.arange(1, count + 1) - count - 1
    # a sum, not a matrix product: BLAS rounds by how many rows it is given
    return gini_of_sums((ranked * ranks).sum(axis=-1), ranked.sum(axis=-1), count)


def gini_of_sums(weighted: Floats, total: Ints, count: int) -> Floats:
    """Return the Gini coefficient from the sums of (2 i - n - 1) x_i over n rising x_i and of x_i, `(runs,)`.

    Examples
    --------
    >>> gini_of_sums(np.array([24.0]), np.array([8]), 4).tolist()
    [0.75]
    """
    return _over(weighted / count, total)


def hhi(amounts: Ints) -> Floats:
    """Return the Herfindahl-Hirschman index, the sum of squared shares: 1 / n to 1.

    Parameters
    ----------
    amounts
        Amounts `(runs, agents)`, 0 or more.

    Returns
    -------
    numpy.ndarray
        Index per run; 0 where the amounts sum to 0.

    Examples
    --------
    >>> hhi(np.array([[1, 1, 1, 1], [0, 0, 0, 8]])).tolist()
    [0.25, 1.0]
    """
    amounts = _checked(amounts)
    shares = amounts / np.maximum(amounts.sum(axis=-1, keepdims=True), 1)
    return np.asarray(np.square(shares, out=shares).sum(axis=-1))


def nakamoto(amounts: Ints) -> Ints:
    """Return how many of the largest holders together hold more than half.

    Parameters
    ----------
    amounts
        Amounts `(runs, agents)`, 0 or more.

    Returns
    -------
    numpy.ndarray
        Counts per run, exact; 0 where the amounts sum to 0.

    Examples
    --------
    >>> nakamoto(np.array([[1, 1, 1, 1], [0, 0, 0, 8], [4, 2, 2, 0]])).tolist()
    [3, 1, 2]
    """
    amounts = _checked(amounts)
    held = np.cumsum(np.sort(amounts, axis=-1)[..., ::-1], axis=-1)
    total = held[..., -1:]
    not_enough = (held <= total // 2).sum(axis=-1)
    return np.where(total[..., 0] > 0, not_enough + 1, 0)


def lorenz(amounts: Ints, points: int = 101) -> Floats:
    """Return the Lorenz curve: the share held by the poorest part p, at equally spaced p from 0 to 1.

    Parameters
    ----------
    amounts
        Amounts `(runs, agents)`, 0 or more.
    points
        Points of the curve, at least 2, with both ends.

    Returns
    -------
    numpy.ndarray
        Shares `(runs, points)`, linear between agents; the diagonal where the amounts sum to 0.

    Raises
    ------
    ValueError
        If `points` is below 2.

    Examples
    --------
    >>> lorenz(np.array([[0, 0, 0, 8]]), points=5).tolist()
    [[0.0, 0.0, 0.0, 0.0, 1.0]]
    """
    amounts = _checked(amounts)
    if points < 2:
        raise ValueError(f"points is {points}; at least 2 are needed")
    count = amounts.shape[-1]
    held = np.zeros((*amounts.shape[:-1], count + 1))
    held[..., 1:] = np.cumsum(np.sort(amounts, axis=-1), axis=-1)
    place = np.arange(points) * (count / (points - 1))
    low = np.minimum(place.astype(np.int64), count - 1)
    curve = held[..., low] + (place - low) * (held[..., low + 1] - held[..., low])
    total = held[..., -1:]
    return np.where(total > 0, curve / np.where(total > 0, total, 1.0), np.linspace(0, 1, points))


def top_share(amounts: Ints, bps: int = 100) -> Floats:
    """Return the share that the largest holders have.

    Parameters
    ----------
    amounts
        Amounts `(runs, agents)`, 0 or more.
    bps
        How many holders, in basis points of the agents, rounded up and at least one: 100 is the top 1 %.

    Returns
    -------
    numpy.ndarray
        Shares per run; 0 where the amounts sum to 0.

    Raises
    ------
    ValueError
        If `bps` is outside 1..10,000.

    Examples
    --------
    >>> top_share(np.array([[4, 2, 1, 1]]), bps=2500).tolist()
    [0.5]
    """
    amounts = _checked(amounts)
    if not 1 <= bps <= BPS:
        raise ValueError(f"bps is {bps}; 1 to {BPS} is allowed")
    count = amounts.shape[-1]
    return top_share_of_ranked(np.partition(amounts, count - _top(count, bps), axis=-1), bps)


def top_share_of_ranked(ranked: Ints, bps: int = 100) -> Floats:
    """Return what `top_share` does of amounts `(runs, agents)` whose largest stand last.

    Examples
    --------
    >>> top_share_of_ranked(np.array([[1, 1, 2, 4]]), bps=2500).tolist()
    [0.5]
    """
    top = ranked[..., ranked.shape[-1] - _top(ranked.shape[-1], bps) :]
    return _over(top.sum(axis=-1).astype(np.float64), ranked.sum(axis=-1))


def decile_shares(amounts: Ints) -> Floats:
    """Return the share that each tenth of the agents holds, poorest first, `(runs, 10)`.

    Examples
    --------
    >>> decile_shares(np.arange(1, 11)[None, :] * 2).round(4)[0, [0, 9]].tolist()
    [0.0182, 0.1818]
    """
    return np.diff(lorenz(amounts, points=11), axis=-1)


def decile_of(amounts: Ints) -> Ints:
    """Return the tenth to which each agent belongs by its amount.

    Parameters
    ----------
    amounts
        Amounts `(runs, agents)`, 0 or more.

    Returns
    -------
    numpy.ndarray
        0 for the poorest tenth to 9 for the richest, `(runs, agents)`; equal amounts rank by agent.

    Examples
    --------
    >>> decile_of(np.array([[5, 5, 1, 9, 7]])).tolist()
    [[2, 4, 0, 8, 6]]
    """
    amounts = _checked(amounts)
    count = amounts.shape[-1]
    order = np.argsort(amounts, axis=-1, kind="stable")
    deciles = np.empty(amounts.shape, dtype=np.int64)
    ranks = np.broadcast_to(np.arange(count) * 10 // count, amounts.shape)
    np.put_along_axis(deciles, order, ranks, axis=-1)
    return deciles


def _top(count: int, bps: int) -> int:
    """Return how many of `count` holders are the largest `bps` of them."""
    return -(-count * bps // BPS)


def _checked(amounts: Ints) -> Ints:
    amounts = np.asarray(amounts, dtype=np.int64)
    if amounts.ndim == 0 or amounts.shape[-1] == 0:
        raise ValueError("amounts must have at least one agent on the last axis")
    if amounts.min(initial=0) < 0:
        raise ValueError(f"amount {amounts.min()} is negative")
    return amounts


def _over(part: Floats, total: Ints) -> Floats:
    """Return part / total, and 0 where the total is 0."""
    return np.where(total > 0, part / np.where(total > 0, total, 1), 0.0)
