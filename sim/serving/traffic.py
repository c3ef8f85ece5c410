"""Traffic of a serving window: when requests come, for which adapter, how long they are.

Rule decided here: Poisson arrivals, Zipf popularity, lognormal lengths; the uniforms behind them depend on the seed
alone, so that windows of one seed share their luck.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.serving import FloatArray, zipf_popularity

IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Requests:
    """Traffic of a window, arrays (requests,): arrival second, adapter by popularity, tokens in and out."""

    arrival_s: FloatArray
    adapter: IntArray
    input_tokens: IntArray
    output_tokens: IntArray


def replayed_requests(
    count: int,
    rate: float,
    *,
    adapters: int,
    zipf: float,
    input_tokens: int,
    output_tokens: int,
    seed: int,
) -> Requests:
    """Return the very requests of a measured run, as the node's bench draws them from its seed.

    Parameters
    ----------
    count, rate
        Requests; arrivals per second.
    adapters, zipf
        Number of adapters and exponent of their popularity.
    input_tokens, output_tokens
        Lengths, all equal.
    seed
        Of the run (`serving` rows of a profile).
    """
    # What `np.random.default_rng([seed, 1])` is, spelled out.
    generator = np.random.Generator(np.random.PCG64([seed, 1]))
    arrival = np.cumsum(generator.exponential(1.0, count) / rate)
    adapter = generator.choice(adapters, count, p=zipf_popularity(adapters, zipf))
    lengths = (np.full(count, tokens, np.int64) for tokens in (input_tokens, output_tokens))
    return Requests(arrival, adapter.astype(np.int64), *lengths)


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
