"""What a response surface says of its own error.

Rule decided here: the surface is read where it was not built, at utilisations and adapter mixes drawn between its grid
points and beyond saturation, and held against windows with fresh draws whose queue is bounded as the node's is. The
error of a number is relative; the median is told, and the worst.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from models.serving import FloatArray
from sim.serving.mixture import SHOWN, Curves
from sim.serving.surface import ResponseSurface
from sim.serving.traffic import draw_window
from sim.serving.twin import serve_replica
from sim.serving.windows import LEVELS, measures, saturated_rps, window_size

TIMES = ("ttft_p50_s", "ttft_p95_s", "ttft_p99_s", "latency_p50_s", "latency_p95_s", "latency_p99_s")
POINTS, OVERLOADED = 12, 3
"""Points that are drawn, and how many of them beyond saturation."""
OVERLOAD = (1.05, 2.0)
REQUESTS = 20_000
"""Requests of a fresh window that is not busy."""


@dataclass(frozen=True, slots=True)
class SurfaceError:
    """Relative errors at points on which the surface was not built.

    Parameters
    ----------
    rho, adapters
        Utilisation and number of adapters of each point, shape (points,).
    times
        Of `TIMES`, shape (points, 6).
    hit_rate, capacity
        Shape (points,).
    """

    rho: FloatArray
    adapters: FloatArray
    times: FloatArray
    hit_rate: FloatArray
    capacity: FloatArray

    @classmethod
    def together(cls, errors: Sequence[SurfaceError]) -> SurfaceError:
        """Return the points of several surfaces as those of one."""
        return cls(*(np.concatenate([getattr(each, field.name) for each in errors]) for field in fields(cls)))

    @property
    def median(self) -> float:
        """Median over all times and points."""
        return float(np.median(self.times))

    @property
    def largest(self) -> float:
        """Largest over all times and points."""
        return float(self.times.max())

    def by_number(self) -> Mapping[str, tuple[float, float]]:
        """Return the median and the largest error of each number that is read from the surface."""
        columns = dict(zip(TIMES, self.times.T, strict=True))
        columns |= {"hit_rate": self.hit_rate, "capacity_tokens": self.capacity}
        return {name: (float(np.median(found)), float(found.max())) for name, found in columns.items()}


def surface_error(
    surface: ResponseSurface,
    max_wait_s: float,
    seed: int,
    *,
    points: int = POINTS,
    overloaded: int = OVERLOADED,
    requests: int = REQUESTS,
) -> SurfaceError:
    """Measure a surface's error at drawn points.

    Parameters
    ----------
    surface, max_wait_s
        What is read, and the longest wait that the queue allows.
    seed
        Of the points and of their windows; the surface's own would flatter it.
    points, overloaded
        How many, and how many of them beyond saturation.
    requests
        Of a window that is not busy.
    """
    draw = np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=(4,))))
    rho = np.concatenate(
        [
            draw.uniform(surface.rho[0], surface.rho[-1], points - overloaded),
            draw.uniform(*OVERLOAD, overloaded),
        ]
    )
    between = draw.uniform(np.log(surface.adapters[0]), np.log(surface.adapters[-1]), points)
    adapters = np.rint(np.exp(between))
    fresh = np.array(
        [
            _fresh(surface, int(count), load, max_wait_s, seed + 1 + number, requests)
            for number, (count, load) in enumerate(zip(adapters.tolist(), rho.tolist(), strict=True))
        ]
    )
    curves = Curves.of(surface, rho, adapters, max_wait_s, SHOWN)
    found = np.concatenate(
        [
            curves.ttft_s,
            curves.latency_s,
            [surface.hit_rate(np.minimum(rho, 1.0), adapters), surface.capacity(adapters)],
        ]
    ).T
    relative = np.abs(found / fresh - 1.0)
    return SurfaceError(rho, adapters, relative[:, :6], relative[:, 6], relative[:, 7])


def _fresh(
    surface: ResponseSurface, adapters: int, rho: float, max_wait_s: float, seed: int, requests: int
) -> FloatArray:
    """Return the numbers of a window whose queue is bounded, and the capacity of a saturated one."""
    profile, shape = surface.profile, surface.shape
    rate = float(surface.capacity(np.array([float(adapters)]))[0])
    drawn = draw_window(surface.traffic, adapters, rate * rho, window_size(rho, requests), seed)
    bounded = replace(shape, queue_limit=round(rate * max_wait_s))
    told = measures(serve_replica(profile, bounded, drawn))
    times = told[:-1].reshape(2, len(LEVELS))[:, [LEVELS.index(level) for level in SHOWN]]
    endless = draw_window(surface.traffic, adapters, math.inf, requests, seed)
    saturated = serve_replica(profile, shape, endless)
    return np.concatenate([times[1], times[0], [told[-1], saturated_rps(saturated)]])
