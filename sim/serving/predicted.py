"""Measured runs against simulated ones: what the serving model predicts of runs that it was not fitted to.

Rule decided here: a run of the profile is simulated with the very requests that the node was sent, on the profile's
step times; throughput and 99th percentiles are compared, relative to the measured ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sim.serving.profile import ServingProfile, ServingWindow
from sim.serving.replicas import FleetShape
from sim.serving.traffic import replayed_requests
from sim.serving.twin import serve_replica


@dataclass(frozen=True, slots=True)
class Prediction:
    """Relative errors of one measured run, signed: positive where the simulator promises more or waits longer.

    Parameters
    ----------
    window
        The measured run.
    throughput, ttft_p99, e2e_p99
        Errors of output tokens per second, and of 99th percentiles of time to first token and of latency.
    hit_rate
        Simulated share of requests whose adapter was there.
    """

    window: ServingWindow
    throughput: float
    ttft_p99: float
    e2e_p99: float
    hit_rate: float

    @property
    def p99(self) -> float:
        """The larger of the two errors of 99th percentiles, without its sign."""
        return max(abs(self.ttft_p99), abs(self.e2e_p99))


def predict(profile: ServingProfile, window: ServingWindow) -> Prediction:
    """Simulate a measured run and compare."""
    requests = replayed_requests(
        window.completed, window.arrival_rate, adapters=window.adapters, zipf=window.zipf,
        input_tokens=window.input_tokens, output_tokens=window.output_tokens, seed=window.seed,
    )  # fmt: skip
    found = serve_replica(
        profile, FleetShape(1, window.batch_max, profile.slots, window.cache_policy), requests
    )
    seconds = float((requests.arrival_s + found.latency_s).max())
    ttft, latency = (1e3 * float(np.percentile(times, 99)) for times in (found.ttft_s, found.latency_s))
    return Prediction(
        window,
        throughput=float(requests.output_tokens.sum()) / seconds / window.output_tok_s - 1.0,
        ttft_p99=ttft / window.ttft_p99_ms - 1.0,
        e2e_p99=latency / window.e2e_p99_ms - 1.0,
        hit_rate=float(found.hit.mean()),
    )


def held_out(profile: ServingProfile) -> tuple[Prediction, ...]:
    """Return the predictions of the runs that the profile holds out from every fit."""
    return tuple(predict(profile, window) for window in profile.windows if window.holdout)
