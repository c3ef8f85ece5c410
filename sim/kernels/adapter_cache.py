"""Adapter cache of one replica, in numba: the twin of `sim.serving.cache.AdapterCache`.

Rule decided here: the rules are those of the reference, which states them; here its ordered dictionaries are lists
linked by index, least recently used first, and its lines of loads keep the moments at which loads end in the order of
asking. An adapter is its popularity, 0 the most popular.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

HIT, BROUGHT, LOADING, FULL = 0, 1, 2, 3
"""What `acquire` says: it was there, it was brought, it is on its way, every slot is in use."""


part = njit(cache=True, nogil=True, inline="always")
"""Parts are written out where they are used: passing structures of arrays costs more than the work itself."""


class Linked(NamedTuple):
    """Items in an order; the entry after the last item is the end, which closes the ring. `size` is (1,)."""

    before: NDArray[np.int64]
    after: NDArray[np.int64]
    held: NDArray[np.bool_]
    size: NDArray[np.int64]


class Line(NamedTuple):
    """Loads one after another.

    Parameters
    ----------
    ready
        Moment at which an adapter's load ends, NaN where none was asked for, shape (adapters,).
    ends
        Those moments in the order of asking.
    marks
        How many were asked for, and how many of them are known to have ended, shape (2,).
    free_at
        Moment at which the line is free, shape (1,).
    """

    ready: NDArray[np.float64]
    ends: NDArray[np.float64]
    marks: NDArray[np.int64]
    free_at: NDArray[np.float64]


class Cache(NamedTuple):
    """Slots on the device, host memory, requests in flight by adapter, reads from disk, copies to the device."""

    device: Linked
    host: Linked
    in_flight: NDArray[np.int64]
    reads: Line
    copies: Line


class CacheRules(NamedTuple):
    """Slots and times of a cache; `beside` where copies run beside the steps, as on an accelerator."""

    slots: int
    host_slots: int
    unload_always: bool
    beside: bool
    hit_ms: float
    copy_ms: float
    read_ms: float


def new_linked(items: int) -> Linked:
    """Return an empty order of up to so many items."""
    ring = np.full(items + 1, items, np.int64)
    return Linked(ring.copy(), ring, np.zeros(items + 1, np.bool_), np.zeros(1, np.int64))


def new_cache(rules: CacheRules, adapters: int, requests: int) -> Cache:
    """Return a warm cache: the most popular adapters on the device and in host memory, the very first last."""
    known = max(adapters, rules.slots, rules.host_slots)
    device, host = new_linked(known), new_linked(known)
    _warm(device, 0 if rules.unload_always else rules.slots)
    _warm(host, rules.host_slots)
    # An adapter is asked for again only after a request had it.
    asked = requests + known
    lines = [
        Line(np.full(known, np.nan), np.empty(asked), np.zeros(2, np.int64), np.zeros(1)) for _ in range(2)
    ]
    return Cache(device, host, np.zeros(known, np.int64), *lines)


@part
def append(order: Any, item: Any) -> None:
    """Put an item last."""
    end = order.before.shape[0] - 1
    last = order.before[end]
    order.after[last], order.before[item] = item, last
    order.after[item], order.before[end] = end, item
    order.held[item] = True
    order.size[0] += 1


@part
def remove(order: Any, item: Any) -> None:
    """Take an item out."""
    order.after[order.before[item]] = order.after[item]
    order.before[order.after[item]] = order.before[item]
    order.held[item] = False
    order.size[0] -= 1


@njit(cache=True, nogil=True)
def _warm(order, items):  # type: ignore[no-untyped-def]
    for item in range(items - 1, -1, -1):
        append(order, item)


@part
def _ask(line, adapter, now, each_s):  # type: ignore[no-untyped-def]
    if np.isnan(line.ready[adapter]):
        line.free_at[0] = max(line.free_at[0], now) + each_s
        line.ready[adapter] = line.free_at[0]
        line.ends[line.marks[0]] = line.free_at[0]
        line.marks[0] += 1


@part
def _in_host(cache, rules, adapter, now):  # type: ignore[no-untyped-def]
    if cache.host.held[adapter]:
        remove(cache.host, adapter)
        append(cache.host, adapter)
        return True
    _ask(cache.reads, adapter, now, 1e-3 * rules.read_ms)
    return cache.reads.ready[adapter] <= now


@part
def _evict(cache, rules):  # type: ignore[no-untyped-def]
    order = cache.device
    end = order.before.shape[0] - 1
    adapter = order.after[end]
    while adapter != end:
        if not cache.in_flight[adapter] and not (rules.beside and not np.isnan(cache.copies.ready[adapter])):
            remove(order, adapter)
            return True
        adapter = order.after[adapter]
    return False


@part
def _keep(cache, rules, adapter):  # type: ignore[no-untyped-def]
    if np.isnan(cache.reads.ready[adapter]):
        return
    cache.reads.ready[adapter] = np.nan
    append(cache.host, adapter)
    if cache.host.size[0] > max(rules.host_slots, 1):
        remove(cache.host, cache.host.after[cache.host.before.shape[0] - 1])


@part
def acquire(cache, rules, adapter, now):  # type: ignore[no-untyped-def]
    """Return the ms that the replica spends on having an adapter now, and one of `HIT` to `FULL`."""
    spent, said = rules.hit_ms, HIT
    if not cache.device.held[adapter]:
        if not _in_host(cache, rules, adapter, now):
            return 0.0, LOADING
        if cache.device.size[0] >= rules.slots and not _evict(cache, rules):
            return 0.0, FULL
        _keep(cache, rules, adapter)
        append(cache.device, adapter)
        spent, said = rules.copy_ms, BROUGHT
        if rules.beside:
            _ask(cache.copies, adapter, now, 1e-3 * rules.copy_ms)
    if rules.beside and not np.isnan(cache.copies.ready[adapter]):
        if cache.copies.ready[adapter] > now:
            return 0.0, LOADING
        cache.copies.ready[adapter] = np.nan
        spent, said = rules.hit_ms, BROUGHT
    remove(cache.device, adapter)
    append(cache.device, adapter)
    cache.in_flight[adapter] += 1
    return spent, said


@part
def release(cache, rules, adapter):  # type: ignore[no-untyped-def]
    """Let go of an adapter."""
    cache.in_flight[adapter] -= 1
    if rules.unload_always and not cache.in_flight[adapter]:
        remove(cache.device, adapter)


@part
def _line_next(line, now):  # type: ignore[no-untyped-def]
    while line.marks[1] < line.marks[0] and line.ends[line.marks[1]] <= now:
        line.marks[1] += 1
    return line.ends[line.marks[1]] if line.marks[1] < line.marks[0] else np.inf


@part
def next_ready(cache, rules, now):  # type: ignore[no-untyped-def]
    """Return the moment after `now` at which the next load ends, infinite where there is none."""
    read = _line_next(cache.reads, now)
    return min(read, _line_next(cache.copies, now)) if rules.beside else read
