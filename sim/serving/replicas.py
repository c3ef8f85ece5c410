"""SimPy fleet: how long requests wait when replicas with measured step times serve many adapters.

A replica works in the node engine's cycle. At a step boundary every decode row gets its token, prompts in order of
admission get tokens up to the step's budget, and what is left of the budget lets waiting requests join, first come,
first served: one whose adapter is still being read is passed freely, one for which every slot is in use at most
`BYPASS_MAX` times. All of it is one forward; a prompt's last chunk gives its first token. Several replicas share one
queue, and idle ones take arrivals at once, lowest index first. Runs of decode steps are one event: arrivals are known
beforehand, so a replica sleeps to the first boundary at which anything can change; the times are those of stepping
one by one. Keys and values always find room, as in an engine whose blocks are not limited.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter, deque
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
import simpy
from numpy.typing import NDArray

from models.caching import CACHE_POLICIES
from models.serving import FloatArray
from sim.serving.cache import AdapterCache, Delay
from sim.serving.profile import ServingProfile
from sim.serving.traffic import Requests

BYPASS_MAX = 64
"""How often a request that waits for a slot may be passed by later ones."""
LOOK_MAX = 256
"""Waiting requests that a step looks at."""


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


@dataclass(slots=True)
class _Prompt:
    """An admitted request whose prompt is not yet in the keys and values, and how much of it is left."""

    request: int
    left: int


@dataclass(slots=True)
class _Step:
    """What a coming step holds beside its decode rows: room left, prompt tokens and chunks, ms of copies."""

    budget: int
    tokens: int = 0
    chunks: int = 0
    copies_ms: float = 0.0

    def feed(self, prompt: _Prompt) -> None:
        """Take tokens of a prompt, as many as there is room for."""
        taken = min(prompt.left, self.budget)
        prompt.left -= taken
        self.budget -= taken
        self.tokens += taken
        self.chunks += taken > 0


class _Replica:
    """One replica: prompts in order of admission, decode rows as a heap of the step at which each ends."""

    def __init__(self, index: int, fleet: _Fleet) -> None:
        self.index, self.fleet = index, fleet
        self.cache = AdapterCache(fleet.profile, fleet.shape.slots, fleet.shape.cache_policy)
        self.prompts: list[_Prompt] = []
        self.rows: list[tuple[int, int]] = []  # (last step, request)
        self.steps = 0
        self.context = 0  # tokens over all decode rows, at the coming step
        self.distinct: Counter[int] = Counter()
        self.regrouped = False  # rows have joined or left since the last step
        self.bypassed: Counter[int] = Counter()

    def serve(self) -> Generator[simpy.Event, Any, None]:
        """Run the engine's cycle until the window is over."""
        environment = self.fleet.environment
        while True:
            step = self._plan(environment.now)
            if self.prompts:
                yield environment.timeout(1e-3 * (step.copies_ms + self._step_ms(step.chunks, step.tokens)))
                self._advance(1, environment.now)
                self._begin_rows(environment.now)
            elif self.rows:
                count = self._steps_until_change(environment.now)
                duration_s, self.regrouped = self._duration_s(count), False
                yield environment.timeout(duration_s)
                self._advance(count, environment.now)
            else:
                yield from self._rest()

    def _rest(self) -> Generator[simpy.Event, Any, None]:
        """Wait for an arrival, or for the adapter of a request that has come already."""
        fleet, environment = self.fleet, self.fleet.environment
        woken = environment.event()
        entry = (self.index, woken)
        heapq.heappush(fleet.idle, entry)
        ready = self.cache.next_ready(environment.now) if fleet.queue else math.inf
        if math.isinf(ready):
            yield woken
            return
        # Rounding may end the sleep a hair before the read does; a moment later is late enough.
        yield woken | environment.timeout(max(ready - environment.now, 0.0) + 1e-12)
        if not woken.triggered:
            fleet.idle.remove(entry)
            heapq.heapify(fleet.idle)

    def _plan(self, now: float) -> _Step:
        """Fill the coming step: running prompts, then waiting requests while rows and budget last."""
        fleet, queue = self.fleet, self.fleet.queue
        step = _Step(max(fleet.profile.step_tokens - len(self.rows), 1))
        for prompt in self.prompts:
            step.feed(prompt)
        passed: list[int] = []
        refused: set[int] = set()
        place = looked = 0
        while place < len(queue) and looked < LOOK_MAX and step.budget and self._has_row():
            request, looked = queue[place], looked + 1
            if not self._may_join(request, now, step, passed, refused):
                place += 1
                continue
            del queue[place]
            fleet.admitted[request] = now
            self.bypassed.update(passed)
            self.prompts.append(_Prompt(request, fleet.input[request]))
            step.feed(self.prompts[-1])
        return step

    def _has_row(self) -> bool:
        return len(self.rows) + len(self.prompts) < self.fleet.shape.batch_max

    def _may_join(self, request: int, now: float, step: _Step, passed: list[int], refused: set[int]) -> bool:
        """Acquire a waiting request's adapter; note what stands in the way of it and of later ones."""
        adapter = self.fleet.adapter[request]
        if adapter in refused or any(self.bypassed[other] >= BYPASS_MAX for other in passed):
            return False
        taken = self.cache.acquire(adapter, now)
        if isinstance(taken, Delay):
            refused.add(adapter)
            if taken is Delay.FULL:
                passed.append(request)
            return False
        self.fleet.hit[request] = taken.hit
        step.copies_ms += taken.spent_ms
        return True

    def _begin_rows(self, now: float) -> None:
        """Give prompts that are through their first token and a decode row."""
        fleet = self.fleet
        through = [prompt.request for prompt in self.prompts if not prompt.left]
        self.prompts = [prompt for prompt in self.prompts if prompt.left]
        self.regrouped = True  # a prompt that was in the step, done or not, is no longer beside the rows
        for request in through:
            fleet.first[request] = now
            if fleet.output[request] == 1:
                fleet.last[request] = now
                self.cache.release(fleet.adapter[request])
                continue
            heapq.heappush(self.rows, (self.steps + fleet.output[request] - 1, request))
            self.context += fleet.input[request] + 1
            self.distinct[fleet.adapter[request]] += 1

    def _step_ms(self, chunks: int, tokens: int) -> float:
        """Return the coming step's duration: `models.serving.mixed_step_ms` on plain numbers."""
        profile, rows = self.fleet.profile, len(self.rows)
        fit, prompts = profile.fit, profile.joining if rows else profile.prompts
        line = fit.a + fit.b * rows + fit.c * len(self.distinct) * profile.rank + fit.d * self.context
        added = prompts.base + prompts.chunk * chunks + prompts.token * tokens
        return (line * profile.factors[rows] if rows else 0.0) + (added if tokens else 0.0)

    def _growth_ms(self) -> float:
        """Return what each later decode step takes more, as contexts grow."""
        rows = len(self.rows)
        return self.fleet.profile.fit.d * rows * self.fleet.profile.factors[rows]

    def _duration_s(self, count: int) -> float:
        """Return how long so many decode steps take."""
        growing = self._growth_ms() * count * (count - 1) / 2
        return 1e-3 * (self._regroup_ms() + count * self._step_ms(0, 0) + growing)

    def _regroup_ms(self) -> float:
        return self.fleet.profile.regroup_ms if self.regrouped else 0.0

    def _steps_until_change(self, now: float) -> int:
        """Return the decode steps until a row ends, or a free row can take a request."""
        fleet = self.fleet
        until_end = self.rows[0][0] - self.steps
        if len(self.rows) >= fleet.shape.batch_max:
            return until_end
        change = self.cache.next_ready(now) if fleet.queue else math.inf
        if fleet.next < len(fleet.arrival):
            change = min(change, fleet.arrival[fleet.next])
        return until_end if math.isinf(change) else min(until_end, self._steps_to(1e3 * (change - now)))

    def _steps_to(self, ahead_ms: float) -> int:
        """Return the decode steps whose last boundary is the first at or after a moment, at least one."""
        growth = self._growth_ms()
        linear, ahead_ms = self._step_ms(0, 0) - growth / 2, max(ahead_ms - self._regroup_ms(), 0.0)
        root = (
            (math.sqrt(linear * linear + 2 * growth * ahead_ms) - linear) / growth
            if growth > 0
            else ahead_ms / linear
        )
        return max(1, math.ceil(root))

    def _advance(self, count: int, now: float) -> None:
        """Let `count` steps have happened: contexts grow, ended rows leave."""
        fleet = self.fleet
        self.steps += count
        self.context += count * len(self.rows)
        while self.rows and self.rows[0][0] <= self.steps:
            request = heapq.heappop(self.rows)[1]
            self.regrouped = True
            adapter = fleet.adapter[request]
            fleet.last[request] = now
            self.context -= fleet.input[request] + fleet.output[request]
            self.cache.release(adapter)
            self.distinct[adapter] -= 1
            if not self.distinct[adapter]:
                del self.distinct[adapter]
