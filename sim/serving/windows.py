"""Simulated windows of a replica: what is measured in them, and how long they are.

Rule decided here: the first tenth of a window is warm-up; what few requests wait for is rare and a queue near
saturation forgets slowly, so that busy windows are longer; capacity is the rate at which a replica works off a queue
that never empties.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from models.serving import FloatArray
from sim.serving.profile import ServingProfile
from sim.serving.replicas import FleetShape, Outcome
from sim.serving.traffic import Traffic, draw_window
from sim.serving.twin import serve_replica

LEVELS = (0.001, 0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999)
"""Quantiles that a surface keeps; the outer ones close the distribution for mixtures."""
WARM_UP = 0.1
CALM, LONGER = 0.65, 5
"""Utilisation up to which hardly anybody queues, and how much longer the windows beyond it are."""


def window_size(rho: float, requests: int) -> int:
    """Return the requests of a window at a utilisation, `requests` where it is calm.

    Examples
    --------
    >>> [window_size(rho, 100) for rho in (0.3, 0.65, 0.7, 1.5)]
    [100, 100, 500, 500]
    """
    return requests if rho <= CALM else LONGER * requests


@dataclass(frozen=True, slots=True)
class Column:
    """One mix of adapters: capacity, measures of a saturated window, measures by load, (loads, measures)."""

    capacity_rps: float
    full: FloatArray
    windows: FloatArray

    @classmethod
    def of(
        cls, profile: ServingProfile, shape: FleetShape, traffic: Traffic, adapters: int, seed: int,
        loads: tuple[float, ...], requests: int,
    ) -> Column:  # fmt: skip
        """Simulate a mix; `requests` as for `window_size`, the capacity takes the longer window."""
        sizes = [*(window_size(load, requests) for load in loads), LONGER * requests]
        drawn = {
            size: draw_window(traffic, adapters, 1.0, size, seed, evenly=True)
            for size in dict.fromkeys(sizes)
        }
        saturated = serve_replica(profile, shape, drawn[sizes[-1]].at(math.inf))
        capacity = saturated_rps(saturated)
        windows = [
            measures(serve_replica(profile, shape, drawn[size].at(capacity * load)))
            for size, load in zip(sizes, loads, strict=False)
        ]
        return cls(capacity, measures(saturated, waiting=False), np.array(windows))


def saturated_rps(outcome: Outcome) -> float:
    """Return completions per second while the queue never empties, first and last tenth left out."""
    ends = np.sort(outcome.latency_s)
    low, high = int(WARM_UP * ends.size), int((1.0 - WARM_UP) * ends.size) - 1
    return float((high - low) / (ends[high] - ends[low]))


def measures(outcome: Outcome, *, waiting: bool = True) -> FloatArray:
    """Return quantiles of latency, quantiles of TTFT and the hit rate, after warm-up and without who was refused.

    Parameters
    ----------
    outcome
        A window.
    waiting
        Whether the wait for admission counts.
    """
    kept = np.arange(outcome.wait_s.size) >= int(WARM_UP * outcome.wait_s.size)
    kept &= ~outcome.refused
    less = 0.0 if waiting else outcome.wait_s[kept]
    times = [np.quantile(each[kept] - less, LEVELS) for each in (outcome.latency_s, outcome.ttft_s)]
    return np.concatenate([*times, [outcome.hit[kept].mean()]])
