"""Times over several queues: the quantiles that users see who come from all of them.

Rule decided here: quantiles of a day with several kinds of machine, or with a queue per model, are those of the
mixture of their distributions, weighted by requests; a single queue's are read from its surface directly. In overload
the queue is full: everybody waits the longest that it allows, and is then served as by a saturated replica.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.queueing import mixture_quantile
from models.serving import FloatArray
from sim.serving.day import Response
from sim.serving.surface import ResponseSurface
from sim.serving.windows import LEVELS

SHOWN = (0.5, 0.95, 0.99)
POINTS = 480
"""Points of the common axis on which distributions are added, log-spaced."""


@dataclass(frozen=True, slots=True)
class Curves:
    """Quantiles of one queue, shape (levels, runs) each, in seconds."""

    ttft_s: FloatArray
    latency_s: FloatArray

    @classmethod
    def of(
        cls,
        surface: ResponseSurface,
        rho: FloatArray,
        adapters: FloatArray,
        max_wait_s: float,
        levels: tuple[float, ...] = LEVELS,
    ) -> Curves:
        """Read a surface at utilisations `rho` and adapter counts, shape (runs,) each."""
        pairs = ((surface.ttft, surface.full_ttft), (surface.latency, surface.full_latency))
        return cls(
            *(
                np.minimum(waited(rho, adapters, levels), served(adapters, levels) + max_wait_s)
                for waited, served in pairs
            )
        )


def mixed_response(curves: list[Curves], weights: FloatArray) -> Response:
    """Return what users of several queues see together.

    Parameters
    ----------
    curves
        Each queue's quantiles.
    weights
        Requests of each, shape (queues, runs).
    """
    found = []
    for kind in ("ttft_s", "latency_s"):
        tables = np.stack([getattr(curve, kind) for curve in curves])
        points = axis_for(tables)
        cdf = np.stack([distribution(table, points) for table in tables])
        found += [mixture_quantile(points, cdf, weights, level) for level in SHOWN]
    return Response(*found)


def axis_for(quantiles: FloatArray) -> FloatArray:
    """Return log-spaced points from the smallest to the largest of some quantiles, any shape."""
    return np.geomspace(quantiles.min() * 0.999, quantiles.max() * 1.001, POINTS)


def distribution(quantiles: FloatArray, points: FloatArray) -> FloatArray:
    """Return the share of requests that took at most each point, shape (runs, points).

    Parameters
    ----------
    quantiles
        By level, shape (levels, runs).
    points
        Seconds, rising.
    """
    logs = np.log(points)
    return np.stack([np.interp(logs, column, LEVELS, left=0.0, right=1.0) for column in np.log(quantiles).T])
