"""A fleet that shares its replicas among adapters: how much of a day's demand it serves, how fast, at what cost.

Demand is work (replica-seconds, from tokens and the surface's capacity). Requests go to the kinds of machine in
proportion to capacity, so that all run at one utilisation, or to the cheapest first. What exceeds a day's capacity
waits in a fluid backlog bounded by the longest wait that the node's queue allows, and the rest is refused: served +
refused + backlog = demand + old backlog. Demand is spread evenly over the day; peaks within a day are not modelled.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from models.caching import SERVING_POLICIES, cache_hit_rate, mean_load_ms
from models.queueing import Overload, fluid_overload
from models.serving import (
    SECONDS_PER_DAY,
    FloatArray,
    expected_distinct,
    prompt_work_ms,
    request_work_ms,
    zipf_popularity,
)
from sim.serving.day import FleetGroup, IntArray, Offered, Response, ServingDay
from sim.serving.mixture import SHOWN, Curves, mixed_response
from sim.serving.replicas import FleetShape
from sim.serving.surface import ResponseSurface
from sim.serving.surface_error import REQUESTS, SurfaceError, surface_error
from sim.serving.traffic import Traffic
from sim.serving.windows import LEVELS

MAX_WAIT_S = 60.0
ROUTINGS = ("capacity", "cheapest")
"""Requests go to kinds of machine in proportion to capacity, or to the cheapest per token first."""


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
    routing
        One of `ROUTINGS`.
    prompt_share
        Share of a request's work that its input causes, of each group.
    utilisation_max
        Utilisation up to which each group keeps the bound.
    """

    groups: tuple[FleetGroup, ...]
    surfaces: tuple[ResponseSurface, ...]
    traffic: Traffic
    slo_ttft_p95_s: float
    max_wait_s: float
    routing: str
    prompt_share: tuple[float, ...]
    utilisation_max: tuple[float, ...]

    @classmethod
    def build(
        cls,
        groups: list[FleetGroup],
        traffic: Traffic,
        *,
        cache_policy: str,
        slo_ttft_p95_s: float,
        seed: int,
        routing: str = "capacity",
        max_wait_s: float = MAX_WAIT_S,
    ) -> FleetModel:
        """Build the surfaces, one per distinct profile (half a second each).

        Raises
        ------
        ValueError
            When the fleet is empty or a number is out of range.
        """
        if not groups or not slo_ttft_p95_s > 0.0 or not max_wait_s >= 0.0:
            raise ValueError(
                f"fleet of {len(groups)} groups, slo {slo_ttft_p95_s} s, max wait {max_wait_s} s: not positive"
            )
        if routing not in ROUTINGS:
            raise ValueError(f"routing {routing!r} must be one of {', '.join(ROUTINGS)}")
        if cache_policy not in SERVING_POLICIES:
            raise ValueError(f"policy {cache_policy!r} must be one of {', '.join(SERVING_POLICIES)}")
        built: dict[str, ResponseSurface] = {}
        for group in groups:
            shape = FleetShape(1, group.profile.batch_max, group.profile.slots, cache_policy)
            if group.profile.sha256 not in built:
                built[group.profile.sha256] = ResponseSurface.build(group.profile, shape, traffic, seed)
        surfaces = tuple(built[group.profile.sha256] for group in groups)
        return cls(
            tuple(groups), surfaces, traffic, slo_ttft_p95_s, max_wait_s, routing,
            tuple(map(prompt_share, surfaces)),
            tuple(surface.utilisation_at(slo_ttft_p95_s) for surface in surfaces),
        )  # fmt: skip

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
            Replicas by group, shape (runs, groups); or of the whole fleet, shape (runs,), split over the groups
            as at the start.
        backlog_tokens
            Tokens waiting since yesterday, shape (runs,).
        adapters
            Adapters in use, shape (runs,); None for the scenario's number.
        """
        servers, counts = self.servers_of(replicas), self.counts_of(np.shape(demand_tokens_in), adapters)
        rates = np.stack([surface.capacity(counts) for surface in self.surfaces])
        offered = self.offered(demand_tokens_in, demand_tokens_out, backlog_tokens)
        reach = np.stack([self._reachable_share(surface, counts) for surface in self.surfaces])
        share = self._route(offered, servers, rates)
        in_s, out_s = self.seconds_per_token(rates)
        work = reach * share * (offered.tokens_in * in_s + offered.tokens_out * out_s)
        capacity_s = servers * SECONDS_PER_DAY
        fluid = fluid_overload(work, 0.0, capacity_s, servers * self.max_wait_s)
        rho = np.divide(work, capacity_s, out=np.where(work > 0.0, np.inf, 0.0), where=capacity_s > 0.0)
        weights = reach * share
        hits = np.stack(
            [
                surface.hit_rate(np.minimum(load, 1.0), counts)
                for surface, load in zip(self.surfaces, rho, strict=True)
            ]
        )
        demand = demand_tokens_in + demand_tokens_out
        return self.assemble(
            offered, weights, fluid, servers,
            capacity=servers * rates,
            utilisation=_mean(np.minimum(rho, 1.0), capacity_s, rho[0]),
            hit_rate=_mean(hits, weights, hits[0]),
            response=self._response(rho, counts, weights),
            needed=self._needed(demand, servers, rates, counts),
        )  # fmt: skip

    def error(self, seed: int, *, requests: int = REQUESTS) -> SurfaceError:
        """Measure the error of what is read from the surfaces, each at points of its own; see `surface_error`."""
        distinct = {surface.profile.sha256: surface for surface in self.surfaces}.values()
        return SurfaceError.together(
            [surface_error(surface, self.max_wait_s, seed, requests=requests) for surface in distinct]
        )

    def replicas_needed(
        self, demand_tokens: FloatArray, replicas: NDArray[np.int64], adapters: FloatArray | None = None
    ) -> IntArray:
        """Return the fewest replicas, in today's mix of kinds, that serve a day's tokens within the bound, (runs,)."""
        counts = self.counts_of(np.shape(demand_tokens), adapters)
        rates = np.stack([surface.capacity(counts) for surface in self.surfaces])
        return self._needed(demand_tokens, self.servers_of(replicas), rates, counts)

    def assemble(
        self,
        offered: Offered,
        weights: FloatArray,
        fluid: Overload,
        servers: FloatArray,
        *,
        capacity: FloatArray,
        utilisation: FloatArray,
        hit_rate: FloatArray,
        response: Response,
        needed: IntArray,
    ) -> ServingDay:
        """Return the day, from what happened to the work of each group.

        Parameters
        ----------
        offered
            Today's tokens with yesterday's backlog.
        weights, fluid
            Share of the tokens that reach each group, and what became of its work, shape (groups, runs).
        servers, capacity
            Replicas, and their requests per second, shape (groups, runs).
        utilisation, hit_rate, response, needed
            Shape (runs,).
        """
        work = fluid.served + fluid.refused + fluid.backlog
        served, refused, backlog = (
            weights * np.divide(part, work, out=np.zeros(work.shape), where=work > 0.0)
            for part in (fluid.served, fluid.refused, fluid.backlog)
        )
        whole, done = offered.total, served.sum(axis=0)
        return ServingDay(
            served_in=offered.tokens_in * done,
            served_out=offered.tokens_out * done,
            served_by_group=(whole * served).T,
            capacity_tokens=capacity.sum(axis=0) * SECONDS_PER_DAY * self.request_tokens,
            utilisation=utilisation,
            hit_rate=hit_rate,
            refused_tokens=whole * (refused.sum(axis=0) + np.maximum(1.0 - weights.sum(axis=0), 0.0)),
            backlog_tokens=whole * backlog.sum(axis=0),
            replicas_needed=needed,
            usd_cost=(servers * self.usd_per_replica_day()[:, None]).sum(axis=0),
            slo_met=response.ttft_p95_s <= self.slo_ttft_p95_s,
            **{field.name: getattr(response, field.name) for field in fields(response)},
        )

    @property
    def request_tokens(self) -> float:
        """Mean tokens of a request, in and out."""
        return self.traffic.input_tokens + self.traffic.output_tokens

    def usd_per_replica_day(self) -> FloatArray:
        """Return the price of a replica of each group for a day, shape (groups,)."""
        return 24.0 * np.array([group.usd_per_hour for group in self.groups])

    def servers_of(self, replicas: NDArray[np.int64]) -> FloatArray:
        """Return replicas by group, shape (groups, runs)."""
        given = np.asarray(replicas, dtype=np.float64)
        if given.ndim == 2:
            return np.ascontiguousarray(given.T)
        counts = np.array([group.count for group in self.groups], dtype=np.float64)
        return np.asarray(counts[:, None] / counts.sum() * given)

    def counts_of(self, runs: tuple[int, ...], adapters: FloatArray | None) -> FloatArray:
        """Return the adapters in use, shape (runs,)."""
        if adapters is None:
            return np.full(runs, float(self.traffic.adapters))
        return np.asarray(adapters, dtype=np.float64)

    def offered(self, tokens_in: FloatArray, tokens_out: FloatArray, backlog: FloatArray) -> Offered:
        """Return today's tokens with the backlog, whose mix of lengths is the scenario's."""
        old_in = backlog * (self.traffic.input_tokens / self.request_tokens)
        return Offered(tokens_in + old_in, tokens_out + (backlog - old_in))

    def seconds_per_token(self, rates: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return replica-seconds per input and per output token, each (groups, runs)."""
        per_request, share = 1.0 / rates, np.array(self.prompt_share)[:, None]
        return share * per_request / self.traffic.input_tokens, (
            1.0 - share
        ) * per_request / self.traffic.output_tokens

    def _route(self, offered: Offered, servers: FloatArray, rates: FloatArray) -> FloatArray:
        """Return the share of requests that go to each group, (groups, runs), 1 together."""
        room = servers * rates
        total = room.sum(axis=0)
        even = np.full(room.shape, 1.0 / len(self.groups))
        share = np.divide(room, total, out=even, where=total > 0.0)
        if self.routing == "capacity" or len(self.groups) == 1:
            return np.asarray(share)
        rest = offered.total / (self.request_tokens * SECONDS_PER_DAY)  # requests per second not yet placed
        asked, placed = rest.copy(), np.zeros(room.shape)
        for group in np.argsort(self.usd_per_replica_day() / rates.mean(axis=1), kind="stable"):
            placed[group] = np.minimum(rest, room[group] * self.utilisation_max[group])
            rest = rest - placed[group]
        placed += rest * share  # what exceeds the bound everywhere is spread as capacity is
        return np.asarray(np.divide(placed, asked, out=share, where=asked > 0.0))

    def _reachable_share(self, surface: ResponseSurface, counts: FloatArray) -> FloatArray:
        """Return the share of requests whose adapter a group serves at all: `resident` has only its slots."""
        if surface.shape.cache_policy != "resident":
            return np.ones(counts.shape)
        # Harmonic numbers of the two counts; integer counts make this exact, few distinct values make it
        # cheap.
        values, places = np.unique(np.maximum(counts, 1.0).astype(np.int64), return_inverse=True)
        shares = [zipf_popularity(int(n), self.traffic.zipf)[: surface.shape.slots].sum() for n in values]
        return np.asarray(shares, dtype=np.float64)[places].reshape(counts.shape)

    def _needed(
        self, demand_tokens: FloatArray, servers: FloatArray, rates: FloatArray, counts: FloatArray
    ) -> IntArray:
        """Return the fewest replicas within the bound; `resident` may split its adapters over them."""
        total = servers.sum(axis=0)
        start = self.servers_of(np.ones(total.shape, np.int64))
        mix = np.divide(servers, total, out=start, where=total > 0.0)
        each = (mix * rates * np.array(self.utilisation_max)[:, None]).sum(axis=0)
        needed = np.ceil(demand_tokens / (self.request_tokens * SECONDS_PER_DAY) / each)
        if self.surfaces[0].shape.cache_policy == "resident":
            slots = (mix * np.array([[s.shape.slots] for s in self.surfaces])).sum(axis=0)
            needed = np.maximum(needed, np.ceil(counts / slots))
        return np.asarray(needed, np.int64)

    def _response(self, rho: FloatArray, counts: FloatArray, weights: FloatArray) -> Response:
        """Return the times of one group, or of the mixture of several."""
        levels = SHOWN if len(self.groups) == 1 else LEVELS
        curves = [
            Curves.of(surface, load, counts, self.max_wait_s, levels)
            for surface, load in zip(self.surfaces, rho, strict=True)
        ]
        if len(curves) > 1:
            return mixed_response(curves, weights)
        return Response(*curves[0].ttft_s, *curves[0].latency_s)


def prompt_share(surface: ResponseSurface) -> float:
    """Return the share of a request's replica time that its input causes (copy and prompt), at a full batch."""
    profile, traffic, shape = surface.profile, surface.traffic, surface.shape
    popularity = zipf_popularity(int(surface.adapters[len(surface.adapters) // 2]), traffic.zipf)
    hit = cache_hit_rate(popularity, shape.slots, shape.cache_policy, shape.batch_max - 1.0)
    copy = mean_load_ms(
        hit, 1.0, profile.gpu_hit_ms, 0.0 if profile.device_kind == "cuda" else profile.host_load_ms, 0.0
    )
    prompt = prompt_work_ms(profile.joining, traffic.input_tokens, profile.step_tokens)
    context = traffic.input_tokens + traffic.output_tokens / 2
    distinct = float(expected_distinct(popularity, shape.batch_max))
    step = profile.decode_ms(shape.batch_max, distinct, context)
    work = request_work_ms(prompt, copy, traffic.output_tokens, step, shape.batch_max)
    return float((copy + prompt) / work)


def _mean(values: FloatArray, weights: FloatArray, one: FloatArray) -> FloatArray:
    """Return the weighted mean over groups, (runs,); of one group its own value, exactly."""
    if len(values) == 1:
        return np.asarray(np.minimum(one, 1.0))
    total = weights.sum(axis=0)
    mean = values.mean(axis=0)
    return np.asarray(np.divide((values * weights).sum(axis=0), total, out=mean, where=total > 0.0))
