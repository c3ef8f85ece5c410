"""Prometheus metrics of one node: what was served, for which adapter, how fast, and what was refused.

Rules: request and token counters move once, when a request is settled, from the same record as its bill, so their sums
agree with log and usage. An adapter is labelled by its content hash; beyond a bound the label is "other", so a client
who uploads adapters cannot grow the metrics without end. A request with several adapters counts as "ensemble".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from reference_node.billing import Bill

if TYPE_CHECKING:
    from reference_node.engine import Engine

BASE, ENSEMBLE, OTHER = "base", "ensemble", "other"
STATES = {
    "queue_requests", "running_requests", "kv_blocks", "kv_blocks_used", "kv_blocks_cached", "kv_used_ratio",
    "adapters_in_slots",
}  # fmt: skip
FAST_S = (
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.02,
    0.04,
    0.08,
    0.16,
    0.32,
    0.64,
    1.28,
    2.56,
    5.12,
    10.24,
    30.0,
)
SLOW_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
ADAPTERS = (0, 1, 2, 4, 8, 16, 32, 64, 128, 256)


class _Figures(Collector):
    """Figures of the engine, taken at the moment somebody asks."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        """Yield a gauge for each state of the engine, a counter for each sum since its start."""
        for name, value in self._metrics.engine_figures.items():
            text = f"Engine: {name.replace('_', ' ')}"
            kind = GaugeMetricFamily if name in STATES else CounterMetricFamily
            yield kind(f"olsim_{name}", text, value=value)


class Metrics:
    """All metrics of one node, in a registry of its own.

    Parameters
    ----------
    adapters_max
        Adapters with a label of their own.
    """

    def __init__(self, adapters_max: int) -> None:
        self.registry = CollectorRegistry()
        self.engine_figures: dict[str, float] = {}
        self._labels: set[str] = set()
        self._adapters_max = adapters_max
        self._requests = self._counter("requests", "Requests settled", "adapter", "finish")
        self._prompt = self._counter("prompt_tokens", "Prompt tokens billed", "adapter")
        self._completion = self._counter("completion_tokens", "Generated tokens billed", "adapter")
        self._cached = self._counter("cached_tokens", "Prompt tokens from the prefix cache", "adapter")
        self._fees = self._counter("fees_gwei", "Fees billed, in gwei", "adapter")
        self._refusals = self._counter("refusals", "Requests refused, by reason", "reason")
        self._attributions = self._counter(
            "attributions", "Answers attributed, by method or failure", "outcome"
        )
        self._attribution = self._histogram(
            "olsim_attribution_seconds", "Time to attribute an answer", FAST_S
        )
        self.open_requests = Gauge(
            "olsim_open_requests", "Requests admitted and not yet settled", registry=self.registry
        )
        self._ttft = self._histogram("olsim_ttft_seconds", "From admission to the first token", FAST_S)
        self._tpot = self._histogram(
            "olsim_tpot_seconds", "Mean time between a request's tokens after the first", FAST_S
        )
        self._itl = self._histogram("olsim_itl_seconds", "Time between two tokens of a request", FAST_S)
        self._e2e = self._histogram("olsim_e2e_seconds", "From admission to the last token", SLOW_S)
        self._distinct = self._histogram("olsim_step_adapters", "Distinct adapters of a step", ADAPTERS)
        self.registry.register(_Figures(self))

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"olsim_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: Sequence[float]) -> Histogram:
        return Histogram(name, text, buckets=buckets, registry=self.registry)

    def label(self, hashes: Sequence[str]) -> str:
        """Return the metrics label of a request that these adapters serve."""
        if len(hashes) != 1:
            return ENSEMBLE if hashes else BASE
        if hashes[0] not in self._labels:
            if len(self._labels) >= self._adapters_max:
                return OTHER
            self._labels.add(hashes[0])
        return hashes[0]

    def settled(self, hashes: Sequence[str], finish: str, bill: Bill) -> None:
        """Count a settled request, in the figures of its bill."""
        label = self.label(hashes)
        self._requests.labels(label, finish).inc()
        self._prompt.labels(label).inc(bill.tokens_in)
        self._completion.labels(label).inc(bill.tokens_out)
        self._cached.labels(label).inc(bill.cached_tokens)
        self._fees.labels(label).inc(bill.fee_gwei)

    def timed(self, submitted_s: float, token_times_s: Sequence[float]) -> None:
        """Observe the latencies of a request from the times of its tokens."""
        if not token_times_s:
            return
        first, last = token_times_s[0], token_times_s[-1]
        self._ttft.observe(first - submitted_s)
        self._e2e.observe(last - submitted_s)
        for before, after in pairwise(token_times_s):
            self._itl.observe(after - before)
        if len(token_times_s) > 1:
            self._tpot.observe((last - first) / (len(token_times_s) - 1))

    def attributed(self, outcome: str, took_s: float) -> None:
        """Count an attribution by its method, or by why there is none."""
        self._attributions.labels(outcome).inc()
        self._attribution.observe(took_s)

    def refused(self, reason: str) -> None:
        """Count a refusal."""
        self._refusals.labels(reason).inc()

    def observe(self, engine: Engine, stepped: bool) -> None:
        """Take the engine's figures, after a step or when it became idle; called on the engine's thread."""
        stats, pool = engine.stats(), engine.pool
        if stepped:
            self._distinct.observe(stats.distinct_adapters)
        self.engine_figures = {
            "queue_requests": stats.waiting,
            "running_requests": stats.running,
            "kv_blocks": stats.kv_blocks,
            "kv_blocks_used": stats.kv_blocks_used,
            "kv_blocks_cached": stats.kv_blocks_cached,
            "kv_used_ratio": stats.kv_blocks_used / stats.kv_blocks,
            "prefix_hit_tokens": stats.prefix_hit_tokens,
            "prefix_query_tokens": stats.prefix_query_tokens,
            "engine_prompt_tokens": stats.prompt_tokens,
            "engine_generated_tokens": stats.generated_tokens,
            "preemptions": stats.preemptions,
            "engine_steps": stats.steps,
            "adapters_in_slots": len(pool.resident()),
            **{f"adapter_{name}s": count for name, count in pool.counters.items()},
        }

    def text(self) -> bytes:
        """Return the exposition text."""
        return generate_latest(self.registry)
