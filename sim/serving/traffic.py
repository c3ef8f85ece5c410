"""Traffic of a serving window: when requests come, for which adapter, how long they are.

Rule decided here: Poisson arrivals, Zipf popularity, lognormal lengths; the luck behind them depends on the seed
alone, so that windows of one seed share it. Luck that is dealt evenly has every quantile once (stratified): a short
window then has the lengths, gaps and adapters of a long one, in an order that is drawn.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.serving import FloatArray, zipf_popularity

IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Traffic:
    """What the requests of a scenario look like.

    Parameters
    ----------
    input_tokens, output_tokens, length_cv
        Mean tokens per request and their coefficient of variation.
    adapters, zipf
        Adapters in use and exponent of their popularity.
    """

    input_tokens: float
    output_tokens: float
    adapters: int
    zipf: float
    length_cv: float = 0.5

    def __post_init__(self) -> None:
        if not (
            self.input_tokens >= 1.0 and self.output_tokens >= 1.0 and self.adapters >= 1 and self.zipf >= 0.0
        ):
            raise ValueError(
                f"input_tokens {self.input_tokens}, output_tokens {self.output_tokens}, "
                f"adapters {self.adapters} must be 1 or more, zipf {self.zipf} 0 or more"
            )


@dataclass(frozen=True, slots=True)
class Requests:
    """Traffic of a window, arrays (requests,): arrival second, adapter by popularity, tokens in and out."""

    arrival_s: FloatArray
    adapter: IntArray
    input_tokens: IntArray
    output_tokens: IntArray

    def at(self, speed: float) -> Requests:
        """Return the same requests at so many times the rate; infinite for all at time 0."""
        return replace(self, arrival_s=self.arrival_s / speed)


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
    evenly: bool = False,
) -> Requests:
    """Draw a window's traffic: Poisson arrivals, Zipf adapters, lognormal lengths.

    The luck depends on the seed and the count alone, never on rate, adapters or lengths: windows of one seed share
    it (common random numbers), so a surface over them is smooth.

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
    evenly
        Whether luck is dealt evenly rather than independently.
    """
    luck = _even_luck(seed, count) if evenly else _luck(seed, count)
    popularity = np.cumsum(zipf_popularity(adapters, zipf))
    adapter = np.minimum(np.searchsorted(popularity, luck.adapter, side="right"), adapters - 1)
    sigma = math.sqrt(math.log1p(length_cv**2))
    lengths = [
        np.maximum(np.rint(mean * np.exp(sigma * normal - 0.5 * sigma**2)), 1.0).astype(np.int64)
        for normal, mean in zip(luck.lengths, (input_tokens, output_tokens), strict=True)
    ]
    return Requests(np.cumsum(luck.gaps) / rate, adapter.astype(np.int64), lengths[0], lengths[1])


class _Luck(NamedTuple):
    """Gaps of mean 1, uniforms of the adapters, standard normals of both lengths, arrays (requests,)."""

    gaps: FloatArray
    adapter: FloatArray
    lengths: tuple[FloatArray, FloatArray]


def _streams(seed: int) -> list[np.random.Generator]:
    return [
        np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=(k,)))) for k in range(4)
    ]


def _luck(seed: int, count: int) -> _Luck:
    gaps, adapter, first, second = _streams(seed)
    normals = (first.standard_normal(count), second.standard_normal(count))
    return _Luck(gaps.exponential(1.0, count), adapter.random(count), normals)


@lru_cache(maxsize=2)
def _even_luck(seed: int, count: int) -> _Luck:
    """Return luck with every quantile once: a uniform within each of `count` equal parts, in an order that is drawn."""
    gaps, adapter, first, second = _streams(seed)
    points, shares = _normal_table()

    def dealt(stream: np.random.Generator, inverse: Callable[[FloatArray], FloatArray]) -> FloatArray:
        rising = (np.arange(count) + stream.random(count)) / count
        return stream.permutation(inverse(rising))

    normals = [dealt(stream, lambda share: np.interp(share, shares, points)) for stream in (first, second)]
    return _Luck(
        dealt(gaps, lambda share: -np.log1p(-share)), dealt(adapter, np.asarray), (normals[0], normals[1])
    )


@cache
def _normal_table() -> tuple[FloatArray, FloatArray]:
    """Return points and the standard normal distribution at them, dense enough to be read backwards."""
    points = np.linspace(-6.0, 6.0, 4801)
    return points, np.array([0.5 * math.erfc(-x / math.sqrt(2.0)) for x in points.tolist()])


def draw_window(
    traffic: Traffic, adapters: int, rate: float, count: int, seed: int, *, evenly: bool = False
) -> Requests:
    """Draw requests of a scenario's traffic over so many adapters, see `draw_requests`."""
    return draw_requests(
        count,
        rate,
        adapters=adapters,
        zipf=traffic.zipf,
        input_tokens=traffic.input_tokens,
        output_tokens=traffic.output_tokens,
        length_cv=traffic.length_cv,
        seed=seed,
        evenly=evenly,
    )
