"""Demand: how many people use the service, how much, and which model.

Rules decided here. Adoption follows Bass (1969), "A new product growth for model consumer durables": a
non-user joins with the hazard p + q * users / potential; users leave at a rate that grows with the share of
demand that was refused. Use per user responds to price, latency and quality with constant elasticities
around reference values, within a bound. Models are chosen by Zipf popularity through a table of equal
cells, so that one keyed word picks one model.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.apportion import apportion

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_WEIGHT_SCALE = 2**30


def bass_step(users: Floats, potential: float, p: float, q: float, leave: Floats | float = 0.0) -> Floats:
    """Return the number of users after one more day.

    Parameters
    ----------
    users
        Users today, `(runs,)`.
    potential
        Users that there can be at most.
    p, q
        Innovation and imitation per day.
    leave
        Share of users that leaves per day, `(runs,)` or one number.

    Returns
    -------
    numpy.ndarray
        Users tomorrow, between 0 and `potential`.

    Examples
    --------
    >>> float(bass_step(np.array(0.0), 1000.0, 0.01, 0.1))
    10.0
    """
    users = np.asarray(users, np.float64)
    joined = (p + q * users / potential) * (potential - users)
    return np.asarray(np.clip(users + joined - leave * users, 0.0, potential))


def response(factors: tuple[Floats, ...], elasticities: tuple[float, ...], bound: float) -> Floats:
    """Return the factor by which use per user differs from its mean at reference values.

    Parameters
    ----------
    factors
        Price, latency and quality over their reference values, each `(runs,)` and positive.
    elasticities
        One per factor, such as -1.2 for price.
    bound
        The result lies between 1 / bound and bound.

    Examples
    --------
    >>> float(response((np.array(2.0),), (-1.0,), 10.0).round(9))
    0.5
    """
    if len(factors) != len(elasticities) or not bound >= 1.0:
        raise ValueError(
            f"{len(factors)} factors need as many elasticities, and the bound {bound} must be 1 or more"
        )
    tiny = np.finfo(np.float64).tiny
    exponent = sum(e * np.log(np.maximum(f, tiny)) for f, e in zip(factors, elasticities, strict=True))
    limit = float(np.log(bound))
    return np.asarray(np.exp(np.clip(exponent, -limit, limit)))


def zipf_weights(ranks: Ints, exponent: float) -> Ints:
    """Return integer weights proportional to 1 / (rank + 1) ** exponent; a negative rank weighs 0.

    Parameters
    ----------
    ranks
        Rank of each model from 0, any shape; negative where a model is not on offer.
    exponent
        Zipf exponent, 0 or more.
    """
    offered = np.asarray(ranks) >= 0
    weight = (np.where(offered, ranks, 0) + 1.0) ** -exponent
    return np.where(offered, np.ceil(weight * _WEIGHT_SCALE), 0).astype(np.int64)


def popularity_cells(weights: Ints, cells: int) -> Ints:
    """Return a table of equally likely cells, each naming one model.

    Parameters
    ----------
    weights
        Integer weights of the models, `(rows, models)`, with a positive sum in every row.
    cells
        Cells per row.

    Returns
    -------
    numpy.ndarray
        Index of a model per cell, `(rows, cells)`; a model has its weight's share of cells by largest
        remainder.

    Examples
    --------
    >>> popularity_cells(np.array([[3, 0, 1]]), 8).tolist()
    [[0, 0, 0, 0, 0, 0, 2, 2]]
    """
    if not weights.sum(axis=1).all():
        raise ValueError("every row needs a model with a positive weight")
    rows, models = weights.shape
    counts = apportion(cells, weights)
    return np.repeat(np.tile(np.arange(models, dtype=np.int64), rows), counts.ravel()).reshape(rows, cells)
