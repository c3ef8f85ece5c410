"""Dedicated serving: every fine-tuned model on replicas of its own, merged into its base.

Rules decided here: a merged model costs no LoRA work and no loads, but its replicas serve nobody else, so that a
fleet needs one replica for every model on offer, however little it is asked for, and more where one is not enough.
Spare replicas go where a replica has most to do (Adams's divisor rule over popularity). This is the counterfactual with
which sharing one base among adapters is compared. Everything is pure; loads count in replicas, so that 1.0 is what
one replica can do without pause.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


def replicas_needed(popularity: FloatArray, load: ArrayLike, utilisation: float) -> IntArray:
    """Return the fewest replicas that host every model below a utilisation: sum_i max(1, ceil(p_i load / u)).

    Parameters
    ----------
    popularity
        Request shares, shape (models,).
    load
        Work of all requests in replicas, shape (runs,).
    utilisation
        Bound for every replica, above 0, at most 1.

    Raises
    ------
    ValueError
        When the bound is out of range.

    Examples
    --------
    >>> replicas_needed(np.array([0.75, 0.25]), [0.0, 2.0], 0.5).tolist()
    [2, 4]
    """
    if not 0.0 < utilisation <= 1.0:
        raise ValueError(f"utilisation {utilisation} must be above 0 and at most 1")
    each = np.ceil(np.asarray(load, np.float64)[..., None] * popularity / utilisation)
    return np.asarray(np.maximum(each, 1.0).sum(axis=-1), np.int64)


def hosting(popularity: FloatArray, replicas: int) -> IntArray:
    """Return the replicas of each model, (models,): one each in order of popularity, then the busiest.

    Parameters
    ----------
    popularity
        Request shares, most popular first, shape (models,).
    replicas
        Replicas of the fleet; where there are fewer than models, the least popular have none. Each spare one
        goes to the model with the largest share per replica, which keeps the busiest replica's load least.

    Examples
    --------
    >>> hosting(np.array([0.6, 0.3, 0.1]), 2).tolist(), hosting(np.array([0.6, 0.3, 0.1]), 6).tolist()
    ([1, 1, 0], [3, 2, 1])
    """
    models = popularity.size
    if replicas <= models:
        return (np.arange(models) < replicas).astype(np.int64)
    low, high = 0.0, float(replicas) / float(popularity.max()) + 1.0
    for _ in range(64):  # the largest divisor at which not too many are handed out
        middle = 0.5 * (low + high)
        given = np.maximum(np.ceil(popularity * middle), 1.0).sum()
        low, high = (middle, high) if given <= replicas else (low, middle)
    hosts = np.maximum(np.ceil(popularity * low), 1.0).astype(np.int64)
    left = replicas - int(hosts.sum())  # ties at the divisor: the more popular first
    hosts[np.argsort(-popularity / hosts, kind="stable")[:left]] += 1
    return hosts


def utilisation_of_models(popularity: FloatArray, hosts: IntArray, load: ArrayLike) -> FloatArray:
    """Return the utilisation of each model's replicas, p_i load / hosts_i, infinite where there are none.

    Parameters
    ----------
    popularity, hosts
        Request shares and replicas, shape (models,).
    load
        Work of all requests in replicas, shape (runs,).

    Returns
    -------
    FloatArray
        Shape (runs, models); may exceed 1.
    """
    offered = np.asarray(load, np.float64)[..., None] * popularity
    room = np.broadcast_to(hosts.astype(np.float64), offered.shape)
    return np.divide(offered, room, out=np.where(offered > 0.0, np.inf, 0.0), where=room > 0.0)
