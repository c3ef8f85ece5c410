"""Adapter cache of one replica: which adapters are on the device, in host memory, or on their way.

Rules decided here, which are those of the node's pool: an adapter on disk is read into host memory in the background,
one after another, while the replica serves others. From host memory a CPU copies it itself, within the step of its
admission; an accelerator copies on a stream beside the steps, into a slot that is taken meanwhile. Slots of requests
in flight are never given away. `lru` evicts the least recently used, `unload_always` frees a slot with its last
request, `resident` never meets an adapter beyond its slots. The start is warm, with the most popular adapters.
"""

from __future__ import annotations

import math
from collections import Counter, OrderedDict
from enum import Enum
from typing import NamedTuple

from sim.serving.profile import ServingProfile


class Delay(Enum):
    """Why an adapter cannot be had now: it is on its way, or every slot is in use."""

    LOADING = "loading"
    FULL = "full"


class Grant(NamedTuple):
    """An adapter that a request may use: ms that the replica spends on it, and whether it was there already."""

    spent_ms: float
    hit: bool


class AdapterCache:
    """Slots, host tier and loads in progress of one replica.

    Parameters
    ----------
    profile
        Load times, the size of the host tier, the kind of device.
    slots, policy
        Adapters that fit on the device; one of `models.caching.CACHE_POLICIES`.
    """

    def __init__(self, profile: ServingProfile, slots: int, policy: str) -> None:
        self.profile, self.policy, self.slots = profile, policy, slots
        # Least recently used first, so the most popular adapter goes in last.
        warm = 0 if policy == "unload_always" else slots
        self.device: OrderedDict[int, None] = OrderedDict((a, None) for a in reversed(range(warm)))
        self.host: OrderedDict[int, None] = OrderedDict(
            (a, None) for a in reversed(range(profile.host_slots))
        )
        self.in_flight: Counter[int] = Counter()
        self._reads = _Line(1e-3 * max(profile.disk_load_ms - profile.host_load_ms, 0.0))
        beside = profile.device_kind == "cuda"
        self._copies = _Line(1e-3 * profile.host_load_ms) if beside else None

    def acquire(self, adapter: int, now: float) -> Grant | Delay:
        """Pin an adapter for a request, or begin what it takes to have it.

        Parameters
        ----------
        adapter
            By popularity, 0 the most popular.
        now
            Second of the window.
        """
        grant = Grant(self.profile.gpu_hit_ms, hit=True)
        if adapter not in self.device:
            if not self._in_host(adapter, now):
                return Delay.LOADING
            if len(self.device) >= self.slots and not self._evict():
                return Delay.FULL
            self._keep(adapter)
            self.device[adapter] = None
            grant = Grant(self.profile.host_load_ms, hit=False)
            if self._copies is not None:
                self._copies.ask(adapter, now)
        if self._copies is not None and adapter in self._copies.ready:
            if not self._copies.take(adapter, now):
                return Delay.LOADING
            grant = Grant(self.profile.gpu_hit_ms, hit=False)
        self.device.move_to_end(adapter)
        self.in_flight[adapter] += 1
        return grant

    def release(self, adapter: int) -> None:
        """Unpin an adapter."""
        self.in_flight[adapter] -= 1
        if self.policy == "unload_always" and not self.in_flight[adapter]:
            del self.device[adapter]

    def next_ready(self, now: float) -> float:
        """Return the second after `now` at which the next load ends, infinite where there is none."""
        lines = [self._reads] if self._copies is None else [self._reads, self._copies]
        return min((at for line in lines for at in line.ready.values() if at > now), default=math.inf)

    def _in_host(self, adapter: int, now: float) -> bool:
        """Return whether host memory holds it, what was read for a waiting request included; else begin to read."""
        if adapter in self.host:
            self.host.move_to_end(adapter)
            return True
        self._reads.ask(adapter, now)
        return self._reads.ready[adapter] <= now

    def _keep(self, adapter: int) -> None:
        """Let what was read for a request into the host tier, now that the request has it."""
        if self._reads.ready.pop(adapter, None) is not None:
            self.host[adapter] = None
            if len(self.host) > max(self.profile.host_slots, 1):
                self.host.popitem(last=False)

    def _evict(self) -> bool:
        """Free the least recently used slot that serves nobody and is not being filled."""
        filling = {} if self._copies is None else self._copies.ready
        for adapter in self.device:
            if not self.in_flight[adapter] and adapter not in filling:
                del self.device[adapter]
                return True
        return False


class _Line:
    """Loads of one kind, one after another, each of the same length."""

    def __init__(self, each_s: float) -> None:
        self.each_s, self.free_at = each_s, 0.0
        self.ready: dict[int, float] = {}

    def ask(self, adapter: int, now: float) -> None:
        """Order an adapter, once however often it is asked for."""
        if adapter not in self.ready:
            self.free_at = max(self.free_at, now) + self.each_s
            self.ready[adapter] = self.free_at

    def take(self, adapter: int, now: float) -> bool:
        """Take an adapter out of the line, if it has arrived."""
        if self.ready[adapter] > now:
            return False
        del self.ready[adapter]
        return True
