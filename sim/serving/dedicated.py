"""A fleet with replicas of its own for every model: the counterfactual of sharing one base among adapters.

Each fine-tuned model is merged into its base (no LoRA work, no loads, always there) and served by replicas that serve
nothing else, one queue per replica, at the utilisation that its popularity gives it. Models without a replica are
refused. Models are dealt to the kinds of machine in proportion to replicas, whatever their popularity. What users see
is the mixture over all those queues.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from models.dedicated import hosting, replicas_needed, utilisation_of_models
from models.queueing import Overload, mixture_quantile
from models.serving import SECONDS_PER_DAY, FloatArray, zipf_popularity
from sim.serving.day import FleetGroup, IntArray, Response, ServingDay
from sim.serving.fleet import MAX_WAIT_S, FleetModel
from sim.serving.mixture import SHOWN, Curves, axis_for, distribution
from sim.serving.profile import ServingProfile
from sim.serving.surface_error import SurfaceError
from sim.serving.traffic import Traffic

LOADS = np.concatenate((np.linspace(0.0, 0.9, 31), 1.0 - np.geomspace(0.09, 0.002, 24), [np.inf]))
"""Utilisations at which distributions of waits are kept; the last stands for overload."""


@dataclass(frozen=True, slots=True)
class DedicatedFleet:
    """A fleet of merged models; `day` is a pure function of its arguments, like that of `FleetModel`.

    Parameters
    ----------
    base
        The same machines with merged models: capacity, prices and the accounts of a day.
    traffic
        Requests of the scenario, with all its models.
    points, ttft_cdf, latency_cdf
        Seconds; share of requests that took at most those at each of `LOADS`, shape (groups, loads, points).
    """

    base: FleetModel
    traffic: Traffic
    points: FloatArray
    ttft_cdf: FloatArray
    latency_cdf: FloatArray

    @classmethod
    def build(
        cls,
        groups: list[FleetGroup],
        traffic: Traffic,
        *,
        slo_ttft_p95_s: float,
        seed: int,
        max_wait_s: float = MAX_WAIT_S,
    ) -> DedicatedFleet:
        """Build the surface of a merged replica for each kind of machine.

        Raises
        ------
        ValueError
            As `FleetModel.build`.
        """
        merged = [replace(group, profile=merged_profile(group.profile)) for group in groups]
        base = FleetModel.build(
            merged, replace(traffic, adapters=1), cache_policy="resident", slo_ttft_p95_s=slo_ttft_p95_s,
            seed=seed, max_wait_s=max_wait_s,
        )  # fmt: skip
        one = np.ones(LOADS.shape)
        curves = [Curves.of(surface, LOADS, one, max_wait_s) for surface in base.surfaces]
        points = axis_for(np.stack([[curve.ttft_s, curve.latency_s] for curve in curves]))
        ttft, latency = (
            np.stack([distribution(getattr(curve, kind), points) for curve in curves])
            for kind in ("ttft_s", "latency_s")
        )
        return cls(base, traffic, points, ttft, latency)

    @property
    def groups(self) -> tuple[FleetGroup, ...]:
        """Kinds of machine."""
        return self.base.groups

    def day(
        self,
        demand_tokens_in: FloatArray,
        demand_tokens_out: FloatArray,
        replicas: NDArray[np.int64],
        backlog_tokens: FloatArray,
        adapters: FloatArray | None = None,
    ) -> ServingDay:
        """Serve one day's demand; arguments as for `FleetModel.day`, `adapters` being the models on offer."""
        runs, base = np.shape(demand_tokens_in), self.base
        servers = base.servers_of(replicas)
        rates = self._rates(runs)
        total = servers.sum(axis=0)
        share = np.divide(servers, total, out=np.full(servers.shape, 1.0 / len(servers)), where=total > 0.0)
        offered = base.offered(demand_tokens_in, demand_tokens_out, backlog_tokens)
        in_s, out_s = base.seconds_per_token(rates)
        loads = (offered.tokens_in * in_s + offered.tokens_out * out_s) / SECONDS_PER_DAY
        hosted = _Hosted.of(self._models(runs, adapters), self.traffic.zipf, total, loads, base.max_wait_s)
        fluid = Overload(
            *(part * share * SECONDS_PER_DAY for part in (hosted.served, hosted.refused, hosted.backlog))
        )
        weights = share * hosted.reach
        served = fluid.served.sum(axis=0)
        room = total * SECONDS_PER_DAY
        demand = demand_tokens_in + demand_tokens_out
        return base.assemble(
            offered, weights, fluid, servers,
            capacity=servers * rates,
            utilisation=np.divide(served, room, out=(demand > 0.0).astype(np.float64), where=room > 0.0),
            hit_rate=np.ones(runs),
            response=self._response(hosted.binned * share[..., None]),
            needed=self.replicas_needed(demand, replicas, adapters),
        )  # fmt: skip

    def error(self, seed: int) -> SurfaceError:
        """Measure the error of what is read from the surfaces of merged replicas."""
        return self.base.error(seed)

    def replicas_needed(
        self, demand_tokens: FloatArray, replicas: NDArray[np.int64], adapters: FloatArray | None = None
    ) -> IntArray:
        """Return the fewest replicas that host every model within the bound, (runs,)."""
        runs, base = np.shape(demand_tokens), self.base
        servers = base.servers_of(replicas)
        mix = np.divide(
            servers,
            servers.sum(axis=0),
            out=base.servers_of(np.ones(runs, np.int64)),
            where=servers.sum(axis=0) > 0,
        )
        bound = np.array(base.utilisation_max)[:, None]
        load = (
            demand_tokens
            / (base.request_tokens * SECONDS_PER_DAY)
            / (mix * self._rates(runs) * bound).sum(axis=0)
        )
        counts, places = np.unique(self._models(runs, adapters), return_inverse=True)
        needed = np.zeros(runs, np.int64)
        for place, models in enumerate(counts.tolist()):
            own = places.reshape(runs) == place
            needed[own] = replicas_needed(_popularity(models, self.traffic.zipf), load[own], 1.0)
        return needed

    def _rates(self, runs: tuple[int, ...]) -> FloatArray:
        return np.stack([surface.capacity(np.ones(runs)) for surface in self.base.surfaces])

    def _models(self, runs: tuple[int, ...], adapters: FloatArray | None) -> IntArray:
        if adapters is None:
            return np.full(runs, self.traffic.adapters, np.int64)
        return np.maximum(np.asarray(adapters, np.int64), 1)

    def _response(self, binned: FloatArray) -> Response:
        """Return the times of the mixture; `binned` is the share of requests by (groups, runs, loads)."""
        weights = np.ascontiguousarray(np.moveaxis(binned, 1, -1)).reshape(-1, binned.shape[1])
        found = [
            mixture_quantile(self.points, cdf.reshape(len(weights), -1), weights, level)
            for cdf in (self.ttft_cdf, self.latency_cdf)
            for level in SHOWN
        ]
        return Response(*found)


@dataclass(frozen=True, slots=True)
class _Hosted:
    """What happens to work that is split over the models: by kind of machine, shape (groups, runs).

    Parameters
    ----------
    served, refused, backlog
        In replicas, for a group that would get all requests.
    reach
        Share of requests whose model is hosted, shape (runs,).
    binned
        Share of requests at each of `LOADS`, shape (groups, runs, loads).
    """

    served: FloatArray
    refused: FloatArray
    backlog: FloatArray
    reach: FloatArray
    binned: FloatArray

    @classmethod
    def of(
        cls, models: IntArray, zipf: float, replicas: FloatArray, loads: FloatArray, max_wait_s: float
    ) -> _Hosted:
        """Split `loads` (groups, runs) over the models; runs with the same models and replicas together."""
        shape = loads.shape
        served, refused, backlog = (np.zeros(shape) for _ in range(3))
        reach, binned = np.zeros(shape[1]), np.zeros((*shape, LOADS.size))
        pairs, places = np.unique(np.stack([models, replicas.astype(np.int64)]), axis=1, return_inverse=True)
        for place, (count, fleet) in enumerate(pairs.T.tolist()):
            own = np.flatnonzero(places.reshape(-1) == place)
            popularity, hosts = _popularity(count, zipf), _hosting(count, zipf, fleet)
            held = hosts > 0
            reach[own] = 1.0 if held.all() else popularity[held].sum()
            for group in range(shape[0]):
                load = loads[group, own]
                rho = utilisation_of_models(popularity[held], hosts[held], load)
                work, room = load[:, None] * popularity[held], hosts[held].astype(np.float64)
                done = np.minimum(work, room)
                kept = np.minimum(work - done, room * max_wait_s / SECONDS_PER_DAY)
                served[group, own], backlog[group, own] = done.sum(axis=1), kept.sum(axis=1)
                refused[group, own] = (work - done - kept).sum(axis=1)
                binned[group, own] = _binned(rho, popularity[held])
        return cls(served, refused, backlog, reach, binned)


def merged_profile(profile: ServingProfile) -> ServingProfile:
    """Return the profile of a replica whose one model is merged into the base: no LoRA work, no loads.

    Prompts keep their measured time, adapter included: the profile has none without.
    """
    return replace(
        profile, fit=replace(profile.fit, c=0.0), gpu_hit_ms=0.0, host_load_ms=0.0, disk_load_ms=0.0
    )  # fmt: skip


@lru_cache(maxsize=64)
def _popularity(models: int, zipf: float) -> FloatArray:
    return zipf_popularity(models, zipf)


@lru_cache(maxsize=4096)
def _hosting(models: int, zipf: float, replicas: int) -> IntArray:
    return hosting(_popularity(models, zipf), replicas)


def _binned(rho: FloatArray, popularity: FloatArray) -> FloatArray:
    """Return the share of requests at each of `LOADS`, (runs, loads), each split over its two neighbours."""
    inside = rho < LOADS[-2]
    at = np.minimum(rho, LOADS[-2])
    low = np.minimum(np.searchsorted(LOADS[:-1], at, side="right") - 1, LOADS.size - 3)
    upper = np.where(inside, (at - LOADS[low]) / (LOADS[low + 1] - LOADS[low]), 0.0)
    low = np.where(inside, low, LOADS.size - 1)
    above = np.minimum(low + 1, LOADS.size - 1)
    rows, size = np.arange(len(rho))[:, None] * LOADS.size, len(rho) * LOADS.size
    parts = [
        np.bincount((rows + place).ravel(), (weight * popularity).ravel(), size)
        for place, weight in ((low, 1.0 - upper), (above, upper))
    ]
    return np.asarray(sum(parts), np.float64).reshape(len(rho), LOADS.size)
