"""Attribution: from influence to integer weights to payouts.

Rules decided here (policy ``cluster_sum_clip.v1``). Scores are valued per cluster of identities whose data
is evidence of one origin: members flagged as duplicates of another's data count nothing, the others are
summed, the noise floor is subtracted once, and only then a value below 0 is clipped; the cluster's first
registration is paid. Clipping a self-declared identity instead would make splitting pay, and paying
duplicates would make copying pay. Values become integer weights that sum to 10^9: the only step from float
to integer. Money follows the weights by largest remainder, ties to the lowest id; a pot that nobody has a
claim on stays with the caller.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.apportion import Divide, apportion

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

WHOLE = 10**9
"""Sum of the integer weights of one query class."""
POLICIES = ("cluster_sum_clip.v1",)
"""Known policies; a policy never changes its meaning."""

FINE = 2**40
"""Integer that stands for the highest value of a row before its weights are divided."""
_MIX = 2**20


def cluster_values(scores: Floats, clusters: Ints, duplicates: Bools, floor: Floats | float = 0.0) -> Floats:
    """Value every cluster and put the value at its first registration.

    Parameters
    ----------
    scores
        Influence by identity, `(runs, identities)`; negative where it harms.
    clusters
        Index of the first registration of the identity's cluster, `(runs, identities)`; itself where it is
        alone.
    duplicates
        Whether the identity holds nothing but data of another, `(runs, identities)`.
    floor
        Noise floor subtracted from each cluster, `(runs,)` or one number.

    Returns
    -------
    numpy.ndarray
        Values `(runs, identities)`, 0 or more, and 0 for all but the first registration of each cluster.

    Examples
    --------
    >>> copied = np.array([[False, True, False]])
    >>> cluster_values(np.array([[3.0, 3.0, 1.0]]), np.array([[0, 0, 2]]), copied).tolist()
    [[3.0, 0.0, 1.0]]
    """
    runs, count = scores.shape
    counted = np.where(duplicates, 0.0, scores)
    flat = (np.arange(runs)[:, None] * count + clusters).ravel()
    sums = np.bincount(flat, weights=counted.ravel(), minlength=runs * count).reshape(runs, count)
    level = np.broadcast_to(np.asarray(floor, np.float64), (runs,))[:, None]
    return np.asarray(np.maximum(sums - level, 0.0))


def integer_weights(values: Floats, divide: Divide = apportion) -> Ints:
    """Return integer weights that sum to 10^9 in every row with a positive value, and zeros in the others.

    Parameters
    ----------
    values
        Values `(rows, payees)`, 0 or more and finite.
    divide
        How amounts are divided.

    Returns
    -------
    numpy.ndarray
        int64 `(rows, payees)`; a value of 0 weighs 0, and a permutation of payees permutes the weights but
        for ties.

    Raises
    ------
    ValueError
        If a value is negative or not finite.

    Examples
    --------
    >>> integer_weights(np.array([[1.0, 3.0, 0.0]])).tolist()
    [[250000000, 750000000, 0]]
    """
    values = np.asarray(values, np.float64)
    if values.size and (not np.isfinite(values).all() or values.min() < 0):
        raise ValueError("values must be finite and 0 or more")
    top = values.max(axis=1, initial=0.0)[:, None]
    scaled = np.floor(values / np.where(top > 0, top, 1.0) * FINE).astype(np.int64)
    return divide(WHOLE, scaled)


def net_weights(of_nets: Floats, nets: Ints, values: Floats) -> Ints:
    """Return weights of payees whose DataNets share in query classes, each in proportion to its value in its DataNet.

    Parameters
    ----------
    of_nets
        Share of each DataNet in each class, `(runs, classes, DataNets)`, 0 or more.
    nets
        DataNet of each payee, `(runs, payees)`.
    values
        Values `(runs, payees)`, 0 or more and finite.

    Returns
    -------
    numpy.ndarray
        int64 `(runs, classes, payees)` by `integer_weights`.

    Examples
    --------
    >>> net_weights(np.array([[[0.5, 0.5]]]), np.array([[0, 0, 1]]), np.array([[1.0, 3.0, 7.0]])).tolist()
    [[[125000000, 375000000, 500000000]]]
    """
    runs, payees = values.shape
    flat = np.arange(runs)[:, None] * of_nets.shape[2] + nets
    whole = np.bincount(flat.ravel(), weights=values.ravel(), minlength=of_nets[:, 0].size)
    inside = values / np.maximum(whole[flat], np.finfo(np.float64).tiny)
    worth = np.take_along_axis(of_nets, nets[:, None], axis=2) * inside[:, None]
    return integer_weights(worth.reshape(-1, payees)).reshape(worth.shape)


def mixed_weights(pots: Ints, weights: Ints) -> Ints:
    """Return one weight per payee for several pots that are paid together.

    Parameters
    ----------
    pots
        Gwei of each query class, `(runs, classes)`, 0 or more.
    weights
        Weights of each class by `integer_weights`, `(runs, classes, payees)`.

    Returns
    -------
    numpy.ndarray
        int64 `(runs, payees)`: weights of the classes, each with its part of the money in 2^20ths; where no
        pot holds anything, all classes count alike. A class in which nobody has a weight leaves its part to
        the others.
    """
    parts = class_parts(pots)
    mixed = parts[:, 0, None] * weights[:, 0]
    for k in range(1, pots.shape[1]):
        mixed += parts[:, k, None] * weights[:, k]
    return np.asarray(mixed)


def class_parts(pots: Ints, divide: Divide = apportion) -> Ints:
    """Return each class's part of the money in 2^20ths, alike where no pot holds anything, `(runs, classes)`.

    Parameters
    ----------
    pots
        Gwei of each query class, `(runs, classes)`, 0 or more.
    divide
        How amounts are divided.
    """
    empty = pots.sum(axis=1, keepdims=True) == 0
    return divide(_MIX, np.where(empty, 1, pots))


def payouts(pot: Ints | int, weights: Ints, divide: Divide = apportion) -> tuple[Ints, Ints]:
    """Divide a pot by integer weights.

    Parameters
    ----------
    pot
        Gwei `(runs,)`.
    weights
        int64 `(runs, payees)`, 0 or more.
    divide
        How amounts are divided.

    Returns
    -------
    tuple of numpy.ndarray
        Payouts `(runs, payees)`, and the pot where nobody has a positive weight, `(runs,)`; together the pot.

    Examples
    --------
    >>> paid, left = payouts(np.array([500_000_000]), np.array([[1, 3]]))
    >>> paid.tolist(), left.tolist()
    ([[125000000, 375000000]], [0])
    """
    paid = divide(pot, weights)
    return paid, np.broadcast_to(np.asarray(pot, np.int64), paid.shape[:1]) - paid.sum(axis=1)


def slashed(stake: Ints, share_bps: Ints, guilty: Bools) -> Ints:
    """Return the part of each stake that a proven offence costs, floor(stake * bps / 10^4).

    Parameters
    ----------
    stake
        Stakes `(runs, agents)`.
    share_bps
        Slashed share, `(runs,)`.
    guilty
        Who is slashed, `(runs, agents)`.

    Examples
    --------
    >>> slashed(np.array([[1005, 7]]), np.array([1000]), np.array([[True, False]])).tolist()
    [[100, 0]]
    """
    out = np.zeros(stake.shape, np.int64)
    run, agent = np.nonzero(guilty)  # often few
    whole, rest = np.divmod(stake[run, agent], 10_000)
    out[run, agent] = whole * share_bps[run] + rest * share_bps[run] // 10_000
    return out
