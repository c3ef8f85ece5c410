"""A day of serving: how much of the demand a fleet of measured replicas serves, how fast, and at what cost.

Demand is work (replica-seconds, from tokens and the surface's capacity); replicas of all groups share it in
proportion to capacity, so they run at one utilisation. What exceeds a day's capacity waits in a fluid backlog
bounded by the longest wait that the node's queue allows, and the rest is refused: served + refused + backlog
= demand + old backlog. Demand is spread evenly over the day; peaks within a day are not modelled.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.serving import (
    SECONDS_PER_DAY,
    FloatArray,
    cache_hit_rate,
    expected_distinct,
    fluid_overload,
    mean_load_ms,
    request_work_ms,
    step_time_ms,
    zipf_popularity,
)
from sim.serving.profile import ServingProfile
from sim.serving.replicas import FleetShape
from sim.serving.surface import ResponseSurface, Traffic

MAX_WAIT_S = 60.0


@dataclass(frozen=True, slots=True)
class FleetGroup:
    """Replicas of one kind: measured profile, how many at the start, price of one per hour."""

    profile: ServingProfile
    count: int
    usd_per_hour: float

    def __post_init__(self) -> None:
        if self.count < 1 or not self.usd_per_hour >= 0.0:
            raise ValueError(
                f"fleet count {self.count} must be 1 or more, usd_per_hour {self.usd_per_hour} 0 or more"
            )


@dataclass(frozen=True, slots=True)
class ServingDay:
    """One day of the fleet, every field of shape (runs,).

    Parameters
    ----------
    served_in, served_out
        Tokens served.
    capacity_tokens
        Tokens (in + out) that the replicas can serve in a day at the scenario's mix of lengths.
    utilisation
        Share of replica time in use, 0 to 1.
    hit_rate
        Share of requests whose adapter was on the device.
    ttft_p95_s, latency_p50_s, latency_p95_s
        Seconds; in overload the longest wait comes on top.
    refused_tokens, backlog_tokens
        Tokens turned away, tokens waiting at the end of the day.
    usd_cost
        Price of all replicas for the day, used or not.
    slo_met
        Whether the time to first token kept the scenario's bound.
    """

    served_in: FloatArray
    served_out: FloatArray
    capacity_tokens: FloatArray
    utilisation: FloatArray
    hit_rate: FloatArray
    ttft_p95_s: FloatArray
    latency_p50_s: FloatArray
    latency_p95_s: FloatArray
    refused_tokens: FloatArray
    backlog_tokens: FloatArray
    usd_cost: FloatArray
    slo_met: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class FleetModel:
    """Surfaces of the fleet's groups; `day` is a pure function of its arguments.

    Parameters
    ----------
    groups, surfaces
        Groups and the surface of each.
    traffic
        Requests of the scenario.
    slo_ttft_p95_s, max_wait_s
        Bound on time to first token; longest wait before the node refuses.
    prefill_share
        Share of a request's work that its input causes (load and prefill), of each group.
    """

    groups: tuple[FleetGroup, ...]
    surfaces: tuple[ResponseSurface, ...]
    traffic: Traffic
    slo_ttft_p95_s: float
    max_wait_s: float
    prefill_share: tuple[float, ...]

    @classmethod
    def from_scenario(
        cls,
        fleet: list[FleetGroup],
        *,
        input_tokens_per_request: float,
        output_tokens_per_request: float,
        adapters: int,
        zipf: float,
        cache_policy: str,
        slo_ttft_p95_s: float,
        seed: int,
        max_wait_s: float = MAX_WAIT_S,
    ) -> FleetModel:
        """Build the surfaces, one per distinct profile (a second or two each).

        Raises
        ------
        ValueError
            When the fleet is empty or a number is out of range.
        """
        if not fleet or not slo_ttft_p95_s > 0.0 or not max_wait_s >= 0.0:
            raise ValueError(
                f"fleet of {len(fleet)} groups, slo {slo_ttft_p95_s} s, max wait {max_wait_s} s: not positive"
            )
        traffic = Traffic(input_tokens_per_request, output_tokens_per_request, adapters, zipf)
        built: dict[str, ResponseSurface] = {}
        for group in fleet:
            shape = FleetShape(1, group.profile.batch_max, group.profile.slots, cache_policy)
            if group.profile.sha256 not in built:
                built[group.profile.sha256] = ResponseSurface.build(group.profile, shape, traffic, seed)
        surfaces = tuple(built[group.profile.sha256] for group in fleet)
        return cls(
            tuple(fleet), surfaces, traffic, slo_ttft_p95_s, max_wait_s, tuple(map(_prefill_share, surfaces))
        )

    def day(
        self,
        demand_tokens_in: FloatArray,
        demand_tokens_out: FloatArray,
        replicas: NDArray[np.int64],
        backlog_tokens: FloatArray,
        adapters: FloatArray | None = None,
    ) -> ServingDay:
        """Serve one day's demand.

        Parameters
        ----------
        demand_tokens_in, demand_tokens_out
            Tokens asked for today, shape (runs,).
        replicas
            Replicas of the whole fleet, split over the groups as at the start, shape (runs,).
        backlog_tokens
            Tokens waiting since yesterday, shape (runs,).
        adapters
            Adapters in use, shape (runs,); None for the scenario's number.
        """
        runs = np.shape(demand_tokens_in)
        counts = (
            np.full(runs, float(self.traffic.adapters))
            if adapters is None
            else np.asarray(adapters, dtype=np.float64)
        )
        weights = self._weights()
        rates = np.stack([w * s.capacity(counts) for w, s in zip(weights, self.surfaces, strict=True)])
        capacity_s = np.asarray(replicas, dtype=np.float64) * SECONDS_PER_DAY
        in_s, out_s = self._seconds_per_token(rates)
        request_tokens = self.traffic.input_tokens + self.traffic.output_tokens
        old_in = backlog_tokens * (self.traffic.input_tokens / request_tokens)
        offered_in, offered_out = demand_tokens_in + old_in, demand_tokens_out + (backlog_tokens - old_in)
        reachable = self._reachable_share(counts)
        work = reachable * (offered_in * in_s + offered_out * out_s)
        fluid = fluid_overload(
            work, 0.0, capacity_s, np.asarray(replicas, dtype=np.float64) * self.max_wait_s
        )
        offered = offered_in + offered_out
        parts = [
            reachable * np.divide(part, work, out=np.zeros(runs), where=work > 0.0)
            for part in (fluid.served, fluid.refused, fluid.backlog)
        ]
        rho = np.divide(work, capacity_s, out=np.where(work > 0.0, np.inf, 0.0), where=capacity_s > 0.0)
        p50, p95, ttft, hits = self._response(rho, counts, rates)
        return ServingDay(
            served_in=offered_in * parts[0],
            served_out=offered_out * parts[0],
            capacity_tokens=np.asarray(replicas) * rates.sum(axis=0) * SECONDS_PER_DAY * request_tokens,
            utilisation=np.minimum(rho, 1.0),
            hit_rate=hits,
            ttft_p95_s=ttft,
            latency_p50_s=p50,
            latency_p95_s=p95,
            refused_tokens=offered * (parts[1] + (1.0 - reachable)),
            backlog_tokens=offered * parts[2],
            usd_cost=np.asarray(replicas, dtype=np.float64) * self._usd_per_replica_day(),
            slo_met=ttft <= self.slo_ttft_p95_s,
        )

    def _usd_per_replica_day(self) -> float:
        prices = [group.usd_per_hour for group in self.groups]
        return 24.0 * float(self._weights() @ prices)

    def _weights(self) -> FloatArray:
        """Return each group's share of replicas, shape (groups,)."""
        counts = np.array([group.count for group in self.groups], dtype=np.float64)
        return np.asarray(counts / counts.sum())

    def _seconds_per_token(self, rates: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return replica-seconds per input and per output token, each (runs,)."""
        per_request = 1.0 / rates.sum(axis=0)
        share = np.tensordot(np.array(self.prefill_share), rates, axes=1) / rates.sum(axis=0)
        return share * per_request / self.traffic.input_tokens, (
            1.0 - share
        ) * per_request / self.traffic.output_tokens

    def _reachable_share(self, counts: FloatArray) -> FloatArray:
        """Return the share of requests whose adapter is served at all: `resident` has only its slots."""
        slots = np.array(
            [s.shape.slots if s.shape.cache_policy == "resident" else np.inf for s in self.surfaces]
        )
        if np.isinf(slots).all():
            return np.ones(counts.shape)
        # Harmonic numbers of the two counts; integer counts make this exact, few distinct values make it
        # cheap.
        values, places = np.unique(np.maximum(counts, 1.0).astype(np.int64), return_inverse=True)
        shares = [zipf_popularity(int(n), self.traffic.zipf)[: int(slots.min())].sum() for n in values]
        return np.asarray(shares, dtype=np.float64)[places].reshape(counts.shape)

    def _response(
        self, rho: FloatArray, counts: FloatArray, rates: FloatArray
    ) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """Return p50, p95, TTFT p95 and hits, averaged over groups by work: exact for one."""
        total = np.zeros((4, *rho.shape))
        for surface, rate in zip(self.surfaces, rates, strict=True):
            waits = (surface.latency_p50, surface.latency_p95, surface.ttft_p95)
            ceiling = [
                np.minimum(
                    wait(rho, counts), wait(np.full(rho.shape, surface.rho[-1]), counts) + self.max_wait_s
                )
                for wait in waits
            ]
            total += np.stack([*ceiling, surface.hit_rate(np.minimum(rho, 1.0), counts)]) * (
                rate / rates.sum(axis=0)
            )
        return total[0], total[1], total[2], total[3]


def _prefill_share(surface: ResponseSurface) -> float:
    """Return the share of a request's replica time spent on load and prefill, at a full batch."""
    profile, traffic, shape = surface.profile, surface.traffic, surface.shape
    popularity = zipf_popularity(int(surface.adapters[len(surface.adapters) // 2]), traffic.zipf)
    hit = cache_hit_rate(popularity, shape.slots, shape.cache_policy, shape.batch_max - 1.0)
    host = cache_hit_rate(popularity, max(profile.host_slots, 1), "lru")
    load = mean_load_ms(hit, host, profile.gpu_hit_ms, profile.host_load_ms, profile.disk_load_ms)
    prefill = profile.prefill_base_ms + profile.prefill_ms_per_token * traffic.input_tokens
    context = traffic.input_tokens + traffic.output_tokens / 2
    step = step_time_ms(
        profile.fit, shape.batch_max, expected_distinct(popularity, shape.batch_max), profile.rank, context
    )
    work = request_work_ms(prefill, load, traffic.output_tokens, step, shape.batch_max)
    return float((load + prefill) / work)
