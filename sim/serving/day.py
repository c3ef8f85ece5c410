"""A day of serving as the economy sees it: what was served, how fast, at what cost.

Rule decided here: the fields of a day and what a group of machines is; served + refused + backlog = demand + old
backlog in every run.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.serving import FloatArray
from sim.serving.profile import ServingProfile

IntArray = NDArray[np.int64]


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
class Offered:
    """Tokens asked for today and tokens waiting since yesterday, together; shape (runs,) each."""

    tokens_in: FloatArray
    tokens_out: FloatArray

    @property
    def total(self) -> FloatArray:
        """Tokens in and out."""
        return self.tokens_in + self.tokens_out


@dataclass(frozen=True, slots=True)
class Response:
    """Times in seconds, shape (runs,); in overload the longest wait that the queue allows comes on top."""

    ttft_p50_s: FloatArray
    ttft_p95_s: FloatArray
    ttft_p99_s: FloatArray
    latency_p50_s: FloatArray
    latency_p95_s: FloatArray
    latency_p99_s: FloatArray


@dataclass(frozen=True, slots=True)
class ServingDay:
    """One day of the fleet, every field of shape (runs,) unless it says otherwise.

    Parameters
    ----------
    served_in, served_out
        Tokens served.
    served_by_group
        Tokens served by each kind of machine, shape (runs, groups).
    capacity_tokens
        Tokens (in + out) that the replicas can serve in a day at the scenario's mix of lengths.
    utilisation
        Share of replica time in use, 0 to 1.
    hit_rate
        Share of requests whose adapter was on the device.
    ttft_p50_s, ttft_p95_s, ttft_p99_s, latency_p50_s, latency_p95_s, latency_p99_s
        Seconds over all requests of the day.
    refused_tokens, backlog_tokens
        Tokens turned away, tokens waiting at the end of the day.
    replicas_needed
        Fewest replicas that would serve all of today's demand within the scenario's bound on time to first token.
    usd_cost
        Price of all replicas for the day, used or not.
    slo_met
        Whether the time to first token kept the scenario's bound.
    """

    served_in: FloatArray
    served_out: FloatArray
    served_by_group: FloatArray
    capacity_tokens: FloatArray
    utilisation: FloatArray
    hit_rate: FloatArray
    ttft_p50_s: FloatArray
    ttft_p95_s: FloatArray
    ttft_p99_s: FloatArray
    latency_p50_s: FloatArray
    latency_p95_s: FloatArray
    latency_p99_s: FloatArray
    refused_tokens: FloatArray
    backlog_tokens: FloatArray
    replicas_needed: IntArray
    usd_cost: FloatArray
    slo_met: NDArray[np.bool_]
