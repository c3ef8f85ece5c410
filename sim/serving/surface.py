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

import numpy as np

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
        columns = np.stack([np.interp(rho, self.rho, row) for row in self.hits])
        return self._across_mixes(columns, adapters)

    def capacity(self, adapters: FloatArray) -> FloatArray:
        """Return requests per second of one saturated replica, shape (runs,)."""
        columns = np.repeat(self.capacity_rps[:, None], np.size(adapters), axis=1)
        return self._across_mixes(columns, adapters)

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
        kept = table[[LEVELS.index(level) for level in levels]]
        return self._across_mixes(interpolate_wait(rho, self.rho, kept), adapters)

    def _served(self, table: FloatArray, levels: tuple[float, ...], adapters: FloatArray) -> FloatArray:
        kept = table[[LEVELS.index(level) for level in levels]]
        return self._across_mixes(np.repeat(kept[..., None], np.size(adapters), axis=-1), adapters)

    def _across_mixes(self, columns: FloatArray, adapters: FloatArray) -> FloatArray:
        """Interpolate (..., mixes, runs) linearly in log(adapters), holding the ends."""
        reach = np.minimum(
            np.asarray(adapters, dtype=np.float64),
            self.shape.slots if self.shape.cache_policy == "resident" else np.inf,
        )
        if len(self.adapters) == 1:
            return np.asarray(columns[..., 0, :] + np.zeros_like(reach))
        place = np.interp(
            np.log(np.maximum(reach, 1.0)),
            np.log(self.adapters),
            np.arange(len(self.adapters), dtype=np.float64),
        )
        low = np.minimum(place.astype(np.int64), len(self.adapters) - 2)
        weight = place - low
        index = np.arange(columns.shape[-1])
        below, above = columns[..., low, index], columns[..., low + 1, index]
        with np.errstate(invalid="ignore"):  # inf - inf, replaced below: both mixes are infinite from rho = 1
            mixed = below + weight * (above - below)
        return np.asarray(np.where(np.isinf(below), below, mixed))


def mix_counts(shape: FleetShape, traffic: Traffic) -> list[int]:
    """Return the adapter counts of the grid: the scenario's own, a quarter and four times of it."""
    return sorted({_reachable(shape, max(1, round(traffic.adapters * spread))) for spread in MIX_SPREAD})


def _reachable(shape: FleetShape, adapters: int) -> int:
    """Return how many adapters reach the fleet: `resident` refuses those beyond its slots."""
    return min(adapters, shape.slots) if shape.cache_policy == "resident" else adapters
