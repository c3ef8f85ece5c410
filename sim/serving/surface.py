"""Response surface: latency, hit rate and capacity of a replica by load and adapter mix, from simulated windows.

The economy's day is too short a step to queue requests in it, so windows are simulated once per scenario over
a grid of utilisation x number of adapters and the day interpolates quantiles: log-wait against 1/(1-rho), linear
in log(adapters). All windows share their draws; the busier ones are longer, because a queue near saturation
forgets slowly. Utilisation is relative to the capacity that a saturated window of the same mix reached. Requests are
split over replicas at random (thinned Poisson), so one replica stands for each; a dispatcher that pools queues would
wait less. The windows are those of the fast twin, which gives the times of the SimPy model; how far the surface is
from windows with fresh draws says `sim.serving.surface_error`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.queueing import interpolate_wait
from models.serving import FloatArray
from sim.serving.profile import ServingProfile
from sim.serving.replicas import FleetShape
from sim.serving.traffic import Traffic
from sim.serving.windows import LEVELS, Column

RHO_GRID = (0.05, 0.2, 0.35, 0.5, 0.6, 0.7, 0.78, 0.84, 0.88, 0.92, 0.95, 0.97)
MIX_SPREAD = (0.25, 1.0, 4.0)
REQUESTS = 18_000
"""Requests of a window that is not busy."""


@dataclass(frozen=True, slots=True)
class ResponseSurface:
    """Tables over (mixes, loads); times in seconds.

    Parameters
    ----------
    profile, shape, traffic
        What was simulated.
    adapters
        Number of adapters of each mix, shape (mixes,).
    rho
        Utilisations, shape (loads,).
    latency_s, ttft_s
        Quantiles of latency and of time to first token, shape (levels, mixes, loads).
    full_latency_s, full_ttft_s
        The same of a saturated replica, without the wait for admission, shape (levels, mixes).
    hits
        Hit rate, shape (mixes, loads).
    capacity_rps
        Requests per second of one saturated replica, shape (mixes,).
    """

    profile: ServingProfile
    shape: FleetShape
    traffic: Traffic
    adapters: FloatArray
    rho: FloatArray
    latency_s: FloatArray
    ttft_s: FloatArray
    full_latency_s: FloatArray
    full_ttft_s: FloatArray
    hits: FloatArray
    capacity_rps: FloatArray

    @classmethod
    def build(
        cls,
        profile: ServingProfile,
        shape: FleetShape,
        traffic: Traffic,
        seed: int,
        *,
        requests: int = REQUESTS,
    ) -> ResponseSurface:
        """Simulate the grid.

        Parameters
        ----------
        profile, shape, traffic
            One replica (`shape.servers` = 1), its slots and policy, and the requests it serves.
        seed
            Of all draws.
        requests
            Per window that is not busy, the first tenth of which is dropped as warm-up.
        """
        counts = mix_counts(shape, traffic)
        columns = [Column.of(profile, shape, traffic, count, seed, RHO_GRID, requests) for count in counts]
        tables = np.array([column.windows for column in columns])
        by_level = np.moveaxis(tables, -1, 0)
        full = np.array([column.full for column in columns]).T
        kept = len(LEVELS)
        return cls(
            profile=profile,
            shape=shape,
            traffic=traffic,
            adapters=np.array(counts, dtype=np.float64),
            rho=np.array(RHO_GRID),
            latency_s=by_level[:kept],
            ttft_s=by_level[kept : 2 * kept],
            full_latency_s=full[:kept],
            full_ttft_s=full[kept : 2 * kept],
            hits=by_level[-1],
            capacity_rps=np.array([column.capacity_rps for column in columns]),
        )

    def latency(
        self, rho: FloatArray, adapters: FloatArray, levels: tuple[float, ...] = LEVELS
    ) -> FloatArray:
        """Return quantiles of latency in seconds, shape (levels, runs); infinite from rho = 1."""
        return self._wait(self.latency_s, levels, rho, adapters)

    def ttft(self, rho: FloatArray, adapters: FloatArray, levels: tuple[float, ...] = LEVELS) -> FloatArray:
        """Return quantiles of time to first token in seconds, (levels, runs); infinite from rho = 1."""
        return self._wait(self.ttft_s, levels, rho, adapters)

    def utilisation_at(self, ttft_p95_s: float) -> float:
        """Return the largest utilisation of the grid's range that keeps a bound on time to first token.

        The end of the range where every utilisation keeps it, and also where none does: then the bound says
        nothing about how many replicas there should be, and capacity alone decides.
        """
        grid = np.linspace(RHO_GRID[0], RHO_GRID[-1], 9001)
        waits = self.ttft(grid, np.full(grid.size, float(self.own_count())), (0.95,))[0]
        within = waits <= ttft_p95_s
        return float(grid[within][-1]) if within.any() else RHO_GRID[-1]

    def hit_rate(self, rho: FloatArray, adapters: FloatArray) -> FloatArray:
        """Return the share of requests whose adapter was on the device, shape (runs,)."""
        place = self._place(adapters)
        return _between(np.stack([np.interp(rho, self.rho, row) for row in self.hits[place.mixes]]), place)

    def capacity(self, adapters: FloatArray) -> FloatArray:
        """Return requests per second of one saturated replica, shape (runs,)."""
        place, runs = self._place(adapters), np.size(adapters)
        return _between(np.repeat(self.capacity_rps[place.mixes, None], runs, axis=1), place)

    def full_latency(self, adapters: FloatArray, levels: tuple[float, ...] = LEVELS) -> FloatArray:
        """Return quantiles of latency of a saturated replica without the wait, shape (levels, runs)."""
        return self._served(self.full_latency_s, levels, adapters)

    def full_ttft(self, adapters: FloatArray, levels: tuple[float, ...] = LEVELS) -> FloatArray:
        """Return quantiles of time to first token of a saturated replica without the wait, (levels, runs)."""
        return self._served(self.full_ttft_s, levels, adapters)

    def own_count(self) -> int:
        """Return how many of the scenario's adapters reach the fleet."""
        return _reachable(self.shape, self.traffic.adapters)

    def _wait(
        self, table: FloatArray, levels: tuple[float, ...], rho: FloatArray, adapters: FloatArray
    ) -> FloatArray:
        place = self._place(adapters)
        kept = table[[LEVELS.index(level) for level in levels], place.mixes]
        return _between(interpolate_wait(rho, self.rho, kept), place)

    def _served(self, table: FloatArray, levels: tuple[float, ...], adapters: FloatArray) -> FloatArray:
        place = self._place(adapters)
        kept = table[[LEVELS.index(level) for level in levels], place.mixes]
        return _between(np.repeat(kept[..., None], np.size(adapters), axis=-1), place)

    def _place(self, adapters: FloatArray) -> _Place:
        """Return where adapter counts stand among the mixes, holding the ends."""
        limit = self.shape.slots if self.shape.cache_policy == "resident" else np.inf
        counts, mixes = np.minimum(np.asarray(adapters, np.float64), limit), tuple(self.adapters.tolist())
        if len(mixes) == 1:
            return _Place(slice(1), 0, 0.0)
        if counts.size and (counts == counts.flat[0]).all():  # as in a fleet that shares its replicas
            return _place_of(mixes, float(counts.flat[0]))
        low, weight = _stand(mixes, counts)
        return _Place(slice(None), low, weight)


class _Place(NamedTuple):
    """Where adapter counts stand among the mixes.

    Parameters
    ----------
    mixes
        Mixes that are needed.
    low, weight
        Which of them is below and the weight of the one above it: of each run, (runs,), or one number for all.
    """

    mixes: slice
    low: NDArray[np.int64] | int
    weight: FloatArray | float


@lru_cache(maxsize=64)
def _place_of(mixes: tuple[float, ...], count: float) -> _Place:
    """Return where one count of all runs stands; on a mix, only that is needed."""
    low, weight = _stand(mixes, np.array([count]))
    first, above = int(low[0]), float(weight[0])
    return _Place(slice(first, first + (2 if above else 1)), 0, above)


def _stand(mixes: tuple[float, ...], counts: FloatArray) -> tuple[NDArray[np.int64], FloatArray]:
    """Return the mix below each count and the weight of the one above, linearly in log(adapters)."""
    place = np.interp(np.log(np.maximum(counts, 1.0)), np.log(mixes), np.arange(len(mixes), dtype=np.float64))
    low = np.minimum(place.astype(np.int64), len(mixes) - 2)
    return low, place - low


def _between(columns: FloatArray, place: _Place) -> FloatArray:
    """Interpolate what was read of the mixes needed, (..., mixes, runs)."""
    if columns.shape[-2] == 1:
        return np.asarray(columns[..., 0, :])
    if isinstance(place.low, int):
        below, above = columns[..., 0, :], columns[..., 1, :]
    else:
        index = np.arange(columns.shape[-1])
        below, above = columns[..., place.low, index], columns[..., place.low + 1, index]
    with np.errstate(invalid="ignore"):  # inf - inf, replaced below: both mixes are infinite from rho = 1
        mixed = below + place.weight * (above - below)
    return np.asarray(np.where(np.isinf(below), below, mixed))


def mix_counts(shape: FleetShape, traffic: Traffic) -> list[int]:
    """Return the adapter counts of the grid: the scenario's own, a quarter and four times of it."""
    return sorted({_reachable(shape, max(1, round(traffic.adapters * spread))) for spread in MIX_SPREAD})


def _reachable(shape: FleetShape, adapters: int) -> int:
    """Return how many adapters reach the fleet: `resident` refuses those beyond its slots."""
    return min(adapters, shape.slots) if shape.cache_policy == "resident" else adapters
