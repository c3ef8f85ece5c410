"""Queueing: waits in order of arrival, waits at a utilisation, overload of a day, quantiles over several queues.

Rules decided here: in a first-come, first-served queue each job takes the server that is free first; waits
interpolate as log-wait against 1/(1-rho); overload is a fluid backlog with a bounded queue; what users of several
queues see together is the mixture of their distributions, never an average of their quantiles. Everything is pure and
returns float64.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Overload:
    """One tick of a fluid queue, all in the unit of the arrivals.

    Parameters
    ----------
    served, refused, backlog
        Work done, work turned away because the queue was full, work still waiting.
    """

    served: FloatArray
    refused: FloatArray
    backlog: FloatArray


def _f(value: ArrayLike) -> FloatArray:
    return np.asarray(value, dtype=np.float64)


def fcfs_waits(arrival_s: ArrayLike, service_s: ArrayLike, servers: int) -> FloatArray:
    """Return each job's wait in a first-come, first-served queue (recursion of Kiefer and Wolfowitz, 1955).

    Parameters
    ----------
    arrival_s, service_s
        Moments of arrival, not falling, and time in service, in seconds, shape (jobs,).
    servers
        Equal servers behind the one queue, all free at the start.

    Raises
    ------
    ValueError
        Where there is no server, or a job comes before the one ahead of it.

    Examples
    --------
    >>> fcfs_waits([0.0, 1.0, 1.0, 2.0], [4.0, 2.0, 1.0, 1.0], 2).tolist()
    [0.0, 0.0, 2.0, 2.0]
    """
    arrivals, services = _f(arrival_s), _f(service_s)
    if servers < 1 or np.any(np.diff(arrivals) < 0.0):
        raise ValueError(f"servers {servers} must be 1 or more and arrivals must not fall")
    free = [-np.inf] * servers
    waits = np.empty(arrivals.shape)
    for job, (arrival, service) in enumerate(zip(arrivals.tolist(), services.tolist(), strict=True)):
        start = max(arrival, free[0])
        waits[job] = start - arrival
        heapq.heapreplace(free, start + service)
    return waits


def interpolate_wait(rho: ArrayLike, grid: FloatArray, waits: FloatArray) -> FloatArray:
    """Return a wait at utilisation rho from a table, as log-wait linear in 1/(1-rho).

    Below the grid the first value holds. Above it the wait grows in proportion to 1/(1-rho), as in every
    single-queue heavy-traffic limit, and is infinite from rho = 1; callers cap it at their queue's bound.

    Parameters
    ----------
    rho
        Utilisation, shape (runs,).
    grid, waits
        Increasing utilisations below 1, shape (points,), and positive waits, shape (..., points).

    Returns
    -------
    FloatArray
        Shape (..., runs).
    """
    load, last = _f(rho), float(grid[-1])
    with np.errstate(divide="ignore"):  # 1 / 0: infinite from rho = 1
        stretch = 1.0 / np.maximum(1.0 - load, 0.0)
    axis, logs = 1.0 / (1.0 - grid), np.log(waits)
    at = np.minimum(np.maximum(stretch, axis[0]), axis[-1])
    low = np.minimum(axis.searchsorted(at, side="right") - 1, len(axis) - 2)
    slope = (logs[..., 1:] - logs[..., :-1]) / (axis[1:] - axis[:-1])
    inside = np.exp(slope.take(low, axis=-1) * (at - axis[low]) + logs.take(low, axis=-1))
    return np.where(load <= last, inside, waits[..., -1:] * (1.0 - last) * stretch)


def fluid_overload(
    arrivals: ArrayLike, backlog: ArrayLike, capacity: ArrayLike, queue_limit: ArrayLike
) -> Overload:
    """Advance a fluid queue by one tick: serve up to capacity, keep up to the queue's limit, refuse the rest.

    Served + refused + new backlog equals arrivals + old backlog. All shapes (runs,), all in one unit of work.
    """
    offered = _f(arrivals) + _f(backlog)
    served = np.minimum(offered, _f(capacity))
    left = offered - served
    kept = np.minimum(left, _f(queue_limit))
    return Overload(served, left - kept, kept)


def mixture_quantile(points: FloatArray, cdf: FloatArray, weights: FloatArray, level: float) -> FloatArray:
    """Return a quantile of what comes from several distributions, interpolated in the logarithm.

    Parameters
    ----------
    points
        Rising positive values, shape (points,).
    cdf
        Share of each distribution that is at most each point: (components, points), or (components, runs,
        points) where it differs by run.
    weights
        Weight of each distribution, shape (components, runs); a run without any weight gives the first point.
    level
        Above 0, below 1.

    Returns
    -------
    FloatArray
        Shape (runs,); the last point where even that is below the level.

    Examples
    --------
    >>> one, two = [0.0, 0.5, 1.0, 1.0], [0.0, 0.0, 0.0, 1.0]
    >>> weights = np.array([[1.0, 0.5], [0.0, 0.5]])
    >>> mixture_quantile(np.array([1.0, 2.0, 4.0, 8.0]), np.array([one, two]), weights, 0.5).tolist()
    [2.0, 4.0]
    """
    total = weights.sum(axis=0)
    share = np.divide(weights, total, out=np.zeros_like(weights), where=total > 0.0)
    together = np.einsum("cr,crp->rp", share, cdf) if cdf.ndim == 3 else share.T @ cdf
    logs = np.log(points)
    return np.exp([np.interp(level, row, logs) for row in together])
