"""Shapley value of a game that is given as a table of coalition values, and of its quotient by clusters.

Rules decided here. Coalition S has the index sum of 2^i over its members i. The Shapley value is the mean gain a player
brings over all orders of arrival: phi_i = sum over S without i of |S|! (n - |S| - 1)! / n! * (v(S + i) - v(S)). It is
the only value that shares out v(N) - v(0) whole, treats equals alike, gives nothing to who changes nothing, and adds
over games. In the quotient game the clusters are the players, and a cluster plays with all its members or not at all.
"""

from __future__ import annotations

from math import factorial

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

PLAYERS_MAX = 20


def shapley_values(values: Floats) -> Floats:
    """Return the Shapley value of every player.

    Parameters
    ----------
    values
        Value of each coalition, `(..., 2^n)` with n up to 20.

    Returns
    -------
    numpy.ndarray
        float64 `(..., n)`.

    Raises
    ------
    ValueError
        If the table is no power of two long, or too long.

    Examples
    --------
    >>> shapley_values(np.array([0.0, 2.0, 4.0, 8.0])).tolist()
    [3.0, 5.0]
    """
    values = np.asarray(values, np.float64)
    length = values.shape[-1]
    count = length.bit_length() - 1
    if length.bit_count() != 1 or not 1 <= count <= PLAYERS_MAX:
        raise ValueError(f"{length} coalition values; expected 2^n, n from 1 to {PLAYERS_MAX}")
    coalitions = np.arange(1 << count)
    sizes = np.bitwise_count(coalitions).astype(np.int64)
    weight = np.array([factorial(s) * factorial(count - s - 1) / factorial(count) for s in range(count)])
    found = np.empty((*values.shape[:-1], count))
    for player in range(count):
        without = coalitions[coalitions >> player & 1 == 0]
        gains = values[..., without | 1 << player] - values[..., without]
        found[..., player] = gains @ weight[sizes[without]]
    return found


def quotient_values(values: Floats, clusters: Ints) -> Floats:
    """Return the table of the game that clusters play.

    Parameters
    ----------
    values
        Value of each coalition of players, `(..., 2^n)`.
    clusters
        Cluster of each player, `(n,)`, numbered from 0 without gaps.

    Returns
    -------
    numpy.ndarray
        `(..., 2^clusters)`.

    Examples
    --------
    >>> quotient_values(np.arange(8.0), np.array([0, 1, 0])).tolist()
    [0.0, 5.0, 2.0, 7.0]
    """
    count = int(clusters.max()) + 1
    members = np.zeros(count, np.int64)
    np.bitwise_or.at(members, clusters, 1 << np.arange(len(clusters)))
    coalitions = np.arange(1 << count)
    index = np.zeros(1 << count, np.int64)
    for cluster in range(count):
        index |= np.where(coalitions >> cluster & 1, members[cluster], 0)
    return np.asarray(values, np.float64)[..., index]
