"""Adapter caches: how many requests find their adapter on the device, and what the others wait.

Rule decided here: an LRU cache follows Che's approximation; a cache that unloads after each request hits only while
another request for the same adapter is in flight; a resident one holds the most popular.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]

CACHE_POLICIES = ("lru", "unload_always", "resident")
SERVING_POLICIES = (*CACHE_POLICIES, "dedicated")
"""How a fleet may hold its adapters: by one of the caches, or merged, each on replicas of its own."""


def _f(value: ArrayLike) -> FloatArray:
    return np.asarray(value, dtype=np.float64)


def che_time(popularity: FloatArray, slots: int) -> float:
    """Return Che's characteristic time T of an LRU cache, in requests: sum_i 1-exp(-p_i T) = slots.

    Source: Che, Tung, Wang 2002, "Hierarchical web caching systems". Infinite when everything fits.
    """
    used = popularity[popularity > 0.0]
    if slots >= used.size:
        return float("inf")
    low, high = 0.0, 1.0
    while np.sum(-np.expm1(-used * high)) < slots:
        high *= 2.0
    for _ in range(80):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if np.sum(-np.expm1(-used * middle)) < slots else (low, middle)
    return 0.5 * (low + high)


def cache_hit_rate(popularity: FloatArray, slots: int, policy: str, in_flight: float = 0.0) -> float:
    """Return the share of requests that find their adapter on the device.

    Parameters
    ----------
    popularity
        Request shares (adapters,), most popular first.
    slots
        Adapters that fit.
    policy
        `lru` (Che); `resident` (the most popular are pinned); `unload_always` (a hit only while another
        request for the same adapter is in flight: sum_i p_i (1-(1-p_i)^n), the other requests being
        independent).
    in_flight
        Mean requests already in flight, for `unload_always`.

    Raises
    ------
    ValueError
        When the policy is unknown or there is no slot.
    """
    if policy not in CACHE_POLICIES or slots < 1:
        raise ValueError(
            f"policy {policy!r} must be one of {', '.join(CACHE_POLICIES)}, slots {slots} 1 or more"
        )
    if policy == "resident":
        return float(popularity[:slots].sum())
    if policy == "unload_always":
        return float(np.sum(popularity * (1.0 - (1.0 - popularity) ** in_flight)))
    time = che_time(popularity, slots)
    return 1.0 if np.isinf(time) else float(np.sum(popularity * -np.expm1(-popularity * time)))


def mean_load_ms(
    device_hit: ArrayLike, host_hit: ArrayLike, gpu_hit_ms: ArrayLike, host_ms: ArrayLike, disk_ms: ArrayLike
) -> FloatArray:
    """Return the mean time to have an adapter on the device.

    Parameters
    ----------
    device_hit, host_hit
        Share found on the device; share of the rest found in host memory.
    gpu_hit_ms, host_ms, disk_ms
        Measured load times by tier (profile `adapter_load`).
    """
    hit, host = _f(device_hit), _f(host_hit)
    return hit * _f(gpu_hit_ms) + (1.0 - hit) * (host * _f(host_ms) + (1.0 - host) * _f(disk_ms))
