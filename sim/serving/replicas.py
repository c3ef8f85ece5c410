"""SimPy fleet: how long requests wait when replicas with measured step times serve many adapters.

One queue, first come, first served. A replica works in the node engine's cycle: at a step boundary it takes
every waiting request for which it has a row (and an adapter slot), loads adapters and prefills them one after
another, then decodes all rows together, one token each, in the profile's step time. Idle replicas take
arrivals at once, lowest index first. Runs of identical steps are one event: arrivals are known beforehand, so
a replica sleeps to the first boundary at which anything can change; the times are those of stepping one by
one.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter, OrderedDict, deque
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
import simpy
from numpy.typing import NDArray

from models.serving import CACHE_POLICIES, FloatArray, zipf_popularity
from sim.serving.profile import ServingProfile

IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class FleetShape:
    """The serving side of a simulated window.

    Parameters
    ----------
    servers
        Replicas behind the one queue.
    batch_max
        Rows per replica.
    slots
        Adapter slots per replica.
    cache_policy
        `lru`, `unload_always` or `resident` (adapters beyond the slots are refused before they reach the
        fleet).
    queue_limit
        Waiting requests beyond which arrivals are refused; None for no limit.
    """

    servers: int
    batch_max: int
    slots: int
    cache_policy: str = "lru"
    queue_limit: int | None = None

    def __post_init__(self) -> None:
        if self.cache_policy not in CACHE_POLICIES:
            raise ValueError(f"policy {self.cache_policy!r} must be one of {', '.join(CACHE_POLICIES)}")
        if self.servers < 1 or self.batch_max < 1 or self.slots < 1:
            raise ValueError(
                f"servers {self.servers}, batch_max {self.batch_max}, slots {self.slots} must be 1 or more"
            )


@dataclass(frozen=True, slots=True)
class Requests:
    """Traffic of a window, arrays (requests,): arrival second, adapter by popularity, tokens in and out."""

    arrival_s: FloatArray
    adapter: IntArray
    input_tokens: IntArray
    output_tokens: IntArray


@dataclass(frozen=True, slots=True)
class Outcome:
    """What happened to each request, arrays of shape (requests,); times are NaN where it was refused.

    Parameters
    ----------
    wait_s, ttft_s, latency_s
        From arrival to admission, to the first token, to the last token.
    hit
        Whether the adapter was on the device.
    refused
        Whether the queue was full.
    """

    wait_s: FloatArray
    ttft_s: FloatArray
    latency_s: FloatArray
    hit: NDArray[np.bool_]
    refused: NDArray[np.bool_]


def draw_requests(
    count: int,
    rate: float,
    *,
    adapters: int,
    zipf: float,
    input_tokens: float,
    output_tokens: float,
    length_cv: float,
    seed: int,
) -> Requests:
    """Draw a window's traffic: Poisson arrivals, Zipf adapters, lognormal lengths.

    The uniforms depend on the seed alone, never on rate, adapters or lengths: windows of one seed share their
    luck (common random numbers), so a surface over them is smooth.

    Parameters
    ----------
    count, rate
        Requests; arrivals per second, infinite for all at time 0.
    adapters, zipf
        Number of adapters and exponent of their popularity.
    input_tokens, output_tokens, length_cv
        Mean lengths and their coefficient of variation (0: all equal).
    seed
        Of the Philox streams.
    """
    streams = [
        np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=(k,)))) for k in range(4)
    ]
    arrival = np.cumsum(streams[0].exponential(1.0, count)) / rate
    popularity = np.cumsum(zipf_popularity(adapters, zipf))
    adapter = np.minimum(np.searchsorted(popularity, streams[1].random(count), side="right"), adapters - 1)
    sigma = math.sqrt(math.log1p(length_cv**2))
    lengths = [
        np.maximum(
            np.rint(mean * np.exp(sigma * streams[k].standard_normal(count) - 0.5 * sigma**2)), 1.0
        ).astype(np.int64)
        for k, mean in ((2, input_tokens), (3, output_tokens))
    ]
    return Requests(arrival, adapter.astype(np.int64), lengths[0], lengths[1])


def simulate(profile: ServingProfile, shape: FleetShape, requests: Requests) -> Outcome:
    """Serve a window of requests and return what each one saw.

    Parameters
    ----------
    profile
        Step, prefill and load times of each replica.
    shape
        Replicas, rows, slots, policy.
    requests
        Traffic, arrivals in order.
    """
    environment = simpy.Environment()
    fleet = _Fleet(environment, profile, shape, requests)
    environment.process(fleet.arrive())
    for index in range(shape.servers):
        environment.process(_Replica(index, fleet).serve())
    environment.run()
    return fleet.outcome()


class _Fleet:
    """Queue, idle replicas and records shared by the processes of one window."""

    def __init__(
        self, environment: simpy.Environment, profile: ServingProfile, shape: FleetShape, requests: Requests
    ) -> None:
        self.environment, self.profile, self.shape = environment, profile, shape
        self.arrival: list[float] = requests.arrival_s.tolist()
        self.adapter: list[int] = requests.adapter.tolist()
        self.input: list[int] = requests.input_tokens.tolist()
        self.output: list[int] = requests.output_tokens.tolist()
        count = len(self.arrival)
        self.next = 0
        self.queue: deque[int] = deque()
        self.idle: list[tuple[int, simpy.Event]] = []
        self.admitted, self.first, self.last = ([math.nan] * count for _ in range(3))
        self.hit, self.refused = [False] * count, [False] * count

    def arrive(self) -> Generator[simpy.Event, Any, None]:
        """Put each request into the queue at its time and wake one idle replica."""
        for request, at in enumerate(self.arrival):
            if at > self.environment.now:
                yield self.environment.timeout(at - self.environment.now)
            self.next = request + 1
            if (
                self.shape.queue_limit is not None
                and not self.idle
                and len(self.queue) >= self.shape.queue_limit
            ):
                self.refused[request] = True
                continue
            self.queue.append(request)
            if self.idle:
                heapq.heappop(self.idle)[1].succeed()

    def outcome(self) -> Outcome:
        """Return the records as times since arrival."""
        at = np.array(self.arrival)
        wait, ttft, latency = (np.array(moments) - at for moments in (self.admitted, self.first, self.last))
        return Outcome(wait, ttft, latency, np.array(self.hit), np.array(self.refused))


class _Replica:
    """One replica: rows in flight as a heap of the step at which each ends."""

    def __init__(self, index: int, fleet: _Fleet) -> None:
        self.index, self.fleet = index, fleet
        self.cache = _AdapterCache(fleet.profile, fleet.shape)
        self.rows: list[tuple[int, int]] = []  # (last step, request)
        self.steps = 0
        self.context = 0  # tokens over all rows, at the coming step
        self.distinct: Counter[int] = Counter()

    def serve(self) -> Generator[simpy.Event, Any, None]:
        """Run the engine's cycle until the window is over."""
        fleet, environment = self.fleet, self.fleet.environment
        while True:
            if not self.rows and not fleet.queue:
                woken = environment.event()
                heapq.heappush(fleet.idle, (self.index, woken))
                yield woken
            busy = self._admit(environment.now)
            if busy > 0.0:
                yield environment.timeout(busy)
            if self.rows:
                count = self._steps_until_change(environment.now)
                yield environment.timeout(self._duration_s(count))
                self._advance(count, environment.now)

    def _admit(self, now: float) -> float:
        """Take waiting requests into free rows and return the seconds that loads and prefills take."""
        fleet, profile, busy = self.fleet, self.fleet.profile, 0.0
        while fleet.queue and len(self.rows) < fleet.shape.batch_max:
            request = fleet.queue[0]
            load_ms = self.cache.acquire(fleet.adapter[request])
            if load_ms is None:
                break
            fleet.queue.popleft()
            fleet.admitted[request] = now
            fleet.hit[request] = load_ms == profile.gpu_hit_ms
            busy += 1e-3 * (
                load_ms + profile.prefill_base_ms + profile.prefill_ms_per_token * fleet.input[request]
            )
            fleet.first[request] = now + busy
            if fleet.output[request] == 1:
                fleet.last[request] = now + busy
                self.cache.release(fleet.adapter[request])
                continue
            heapq.heappush(self.rows, (self.steps + fleet.output[request] - 1, request))
            self.context += fleet.input[request] + 1
            self.distinct[fleet.adapter[request]] += 1
        return busy

    def _rates_ms(self) -> tuple[float, float]:
        """Return the coming step's duration and how much each later step takes more, as contexts grow."""
        fit, rows = self.fleet.profile.fit, len(self.rows)
        step = (
            fit.a + fit.b * rows + fit.c * len(self.distinct) * self.fleet.profile.rank + fit.d * self.context
        )
        return step, fit.d * rows

    def _duration_s(self, count: int) -> float:
        step, growth = self._rates_ms()
        return 1e-3 * (count * step + growth * count * (count - 1) / 2)

    def _steps_until_change(self, now: float) -> int:
        """Return the steps until a row ends, or a free row can take the next arrival."""
        fleet = self.fleet
        until_end = self.rows[0][0] - self.steps
        if len(self.rows) >= fleet.shape.batch_max:
            return until_end
        if (
            fleet.queue
        ):  # its head waits for an adapter slot, which only an ending row frees, or has just come
            return until_end if self.cache.blocked(fleet.adapter[fleet.queue[0]]) else 1
        if fleet.next >= len(fleet.arrival):
            return until_end
        ahead_ms = 1e3 * (fleet.arrival[fleet.next] - now)
        step, growth = self._rates_ms()
        linear = step - growth / 2
        root = (
            (math.sqrt(linear * linear + 2 * growth * ahead_ms) - linear) / growth
            if growth > 0
            else ahead_ms / linear
        )
        return min(until_end, max(1, math.ceil(root)))

    def _advance(self, count: int, now: float) -> None:
        """Let `count` steps have happened: contexts grow, ended rows leave."""
        fleet = self.fleet
        self.steps += count
        self.context += count * len(self.rows)
        while self.rows and self.rows[0][0] <= self.steps:
            request = heapq.heappop(self.rows)[1]
            adapter = fleet.adapter[request]
            fleet.last[request] = now
            self.context -= fleet.input[request] + fleet.output[request]
            self.cache.release(adapter)
            self.distinct[adapter] -= 1
            if not self.distinct[adapter]:
                del self.distinct[adapter]


class _AdapterCache:
    """One replica's adapter slots and host tier; starts warm with the most popular adapters."""

    def __init__(self, profile: ServingProfile, shape: FleetShape) -> None:
        self.profile, self.policy, self.slots = profile, shape.cache_policy, shape.slots
        warm = 0 if self.policy == "unload_always" else shape.slots
        # Least recently used first, so the most popular adapter goes in last.
        self.device: OrderedDict[int, None] = OrderedDict(
            (adapter, None) for adapter in reversed(range(warm))
        )
        self.host: OrderedDict[int, None] = OrderedDict(
            (a, None) for a in reversed(range(profile.host_slots))
        )
        self.in_flight: Counter[int] = Counter()

    def blocked(self, adapter: int) -> bool:
        """Return whether no slot can be had before a request ends."""
        full = len(self.device) >= self.slots
        return adapter not in self.device and full and all(self.in_flight[a] for a in self.device)

    def acquire(self, adapter: int) -> float | None:
        """Pin an adapter and return the load time in ms, or None where every slot is pinned."""
        if adapter in self.device:
            load_ms = self.profile.gpu_hit_ms
        elif self.blocked(adapter):
            return None
        else:
            load_ms = self._load(adapter)
        self.device[adapter] = None
        self.device.move_to_end(adapter)
        self.in_flight[adapter] += 1
        return load_ms

    def release(self, adapter: int) -> None:
        """Unpin an adapter."""
        self.in_flight[adapter] -= 1
        if self.policy == "unload_always" and not self.in_flight[adapter]:
            del self.device[adapter]

    def _load(self, adapter: int) -> float:
        if len(self.device) >= self.slots:
            del self.device[next(a for a in self.device if not self.in_flight[a])]
        known = adapter in self.host
        self.host[adapter] = None
        self.host.move_to_end(adapter)
        if len(self.host) > self.profile.host_slots:
            self.host.popitem(last=False)
        return self.profile.host_load_ms if known else self.profile.disk_load_ms
