"""Response surface: latency, hit rate and capacity of a replica by load and adapter mix, from SimPy.

The economy's day is too short a step to queue requests in it, so windows are simulated once per scenario over
a grid of utilisation x number of adapters and the day interpolates quantiles: log-wait against 1/(1-rho), linear
in log(adapters). All windows share their draws. Utilisation is relative to the capacity that a saturated window
of the same mix reached. Requests are split over replicas at random (thinned Poisson), so one replica stands
for each; a dispatcher that pools queues would wait less. `error` measures the surface against windows with
fresh draws.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.queueing import interpolate_wait
from models.serving import FloatArray
from sim.serving.profile import ServingProfile
from sim.serving.replicas import FleetShape, Outcome, simulate
from sim.serving.traffic import Requests, draw_requests

RHO_GRID = (0.05, 0.3, 0.5, 0.7, 0.8, 0.88, 0.95)
LEVELS = (0.001, 0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999)
"""Quantiles that a surface keeps; the outer ones close the distribution for mixtures."""
MIX_SPREAD = (0.25, 1.0, 4.0)
WARM_UP = 0.1


@dataclass(frozen=True, slots=True)
class Traffic:
    """What the requests of a scenario look like.

    Parameters
    ----------
    input_tokens, output_tokens, length_cv
        Mean tokens per request and their coefficient of variation.
    adapters, zipf
        Adapters in use and exponent of their popularity.
    """

    input_tokens: float
    output_tokens: float
    adapters: int
    zipf: float
    length_cv: float = 0.5

    def __post_init__(self) -> None:
        if not (
            self.input_tokens >= 1.0 and self.output_tokens >= 1.0 and self.adapters >= 1 and self.zipf >= 0.0
        ):
            raise ValueError(
                f"input_tokens {self.input_tokens}, output_tokens {self.output_tokens}, "
                f"adapters {self.adapters} must be 1 or more, zipf {self.zipf} 0 or more"
            )


@dataclass(frozen=True, slots=True)
class SurfaceError:
    """Relative error of the surface against fresh windows at utilisations between its grid points."""

    latency_p50_median: float
    latency_p50_max: float
    latency_p95_median: float
    latency_p95_max: float
    latency_p99_median: float
    latency_p99_max: float


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
    hits: FloatArray
    capacity_rps: FloatArray

    @classmethod
    def build(
        cls, profile: ServingProfile, shape: FleetShape, traffic: Traffic, seed: int, *, requests: int = 3000
    ) -> ResponseSurface:
        """Simulate the grid.

        Parameters
        ----------
        profile, shape, traffic
            One replica (`shape.servers` = 1), its slots and policy, and the requests it serves.
        seed
            Of all draws.
        requests
            Per window, the first tenth of which is dropped as warm-up.
        """
        counts = mix_counts(profile, shape, traffic)
        capacity = np.array([_saturated_rps(profile, shape, traffic, n, requests, seed) for n in counts])
        windows = [
            [_window(profile, shape, traffic, n, rate * rho, requests, seed) for rho in RHO_GRID]
            for n, rate in zip(counts, capacity, strict=True)
        ]
        tables = np.array([[_measures(*window) for window in row] for row in windows])
        by_level = np.moveaxis(tables, -1, 0)
        kept = len(LEVELS)
        return cls(
            profile=profile,
            shape=shape,
            traffic=traffic,
            adapters=np.array(counts, dtype=np.float64),
            rho=np.array(RHO_GRID),
            latency_s=by_level[:kept],
            ttft_s=by_level[kept : 2 * kept],
            hits=by_level[-1],
            capacity_rps=capacity,
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
        grid = np.linspace(RHO_GRID[0], RHO_GRID[-1], 901)
        waits = self.ttft(grid, np.full(grid.size, float(self._own_count())), (0.95,))[0]
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

    def error(
        self,
        seed: int,
        *,
        points: tuple[float, ...] = (0.2, 0.4, 0.6, 0.75, 0.85, 0.92),
        requests: int = 6000,
    ) -> SurfaceError:
        """Compare with windows of other draws at other loads, at the scenario's own number of adapters."""
        n = np.array([float(self._own_count())])
        rate = self.capacity(n)[0]
        relative, levels = [], (0.5, 0.95, 0.99)
        for rho in points:
            outcome, skip = _window(
                self.profile, self.shape, self.traffic, self._own_count(), rate * rho, requests, seed
            )
            fresh = np.quantile(outcome.latency_s[skip:], levels)
            found = self.latency(np.array([rho]), n, levels)[:, 0]
            relative.append(np.abs(found / fresh - 1.0))
        table = np.array(relative)
        pairs = zip(np.median(table, axis=0).tolist(), table.max(axis=0).tolist(), strict=True)
        return SurfaceError(*(value for pair in pairs for value in pair))

    def _own_count(self) -> int:
        return _reachable(self.shape, self.traffic.adapters)

    def _wait(
        self, table: FloatArray, levels: tuple[float, ...], rho: FloatArray, adapters: FloatArray
    ) -> FloatArray:
        kept = table[[LEVELS.index(level) for level in levels]]
        return self._across_mixes(interpolate_wait(rho, self.rho, kept), adapters)

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


def mix_counts(profile: ServingProfile, shape: FleetShape, traffic: Traffic) -> list[int]:
    """Return the adapter counts of the grid: the scenario's own, a quarter and four times of it."""
    return sorted({_reachable(shape, max(1, round(traffic.adapters * spread))) for spread in MIX_SPREAD})


def _reachable(shape: FleetShape, adapters: int) -> int:
    """Return how many adapters reach the fleet: `resident` refuses those beyond its slots."""
    return min(adapters, shape.slots) if shape.cache_policy == "resident" else adapters


def _requests(traffic: Traffic, adapters: int, rate: float, count: int, seed: int) -> Requests:
    return draw_requests(
        count,
        rate,
        adapters=adapters,
        zipf=traffic.zipf,
        input_tokens=traffic.input_tokens,
        output_tokens=traffic.output_tokens,
        length_cv=traffic.length_cv,
        seed=seed,
    )


def _saturated_rps(
    profile: ServingProfile, shape: FleetShape, traffic: Traffic, adapters: int, count: int, seed: int
) -> float:
    """Return completions per second while the queue never empties, first and last tenth left out."""
    outcome = simulate(profile, shape, _requests(traffic, adapters, float("inf"), count, seed))
    ends = np.sort(outcome.latency_s)
    low, high = int(WARM_UP * count), int((1.0 - WARM_UP) * count) - 1
    return float((high - low) / (ends[high] - ends[low]))


def _window(
    profile: ServingProfile,
    shape: FleetShape,
    traffic: Traffic,
    adapters: int,
    rate: float,
    count: int,
    seed: int,
) -> tuple[Outcome, int]:
    outcome = simulate(profile, shape, _requests(traffic, adapters, rate, count, seed))
    return outcome, int(WARM_UP * count)


def _measures(outcome: Outcome, skip: int) -> FloatArray:
    """Return quantiles of latency, quantiles of TTFT and the hit rate after warm-up."""
    waits = [np.quantile(times[skip:], LEVELS) for times in (outcome.latency_s, outcome.ttft_s)]
    return np.concatenate([*waits, [outcome.hit[skip:].mean()]])
