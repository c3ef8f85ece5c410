"""Open-loop load: Poisson arrivals that do not wait for answers, adapters drawn by Zipf popularity.

Everything is seeded; the order of requests is a function of (seed, rate). Latencies count from the scheduled
arrival, not from when the loop got round to it, so a busy engine cannot hide its own queue.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np

from models.serving import zipf_popularity
from reference_node.bench.measure import Progress, Rig, clock_of
from reference_node.profile import Quantiles, ServingRow, Slo
from reference_node.request import AdapterUse, Completion, Request

# MLPerf Inference, Llama-2-70B interactive: p99 bounds on time to first token and time per output token.
INTERACTIVE = Slo(ttft_ms=450.0, tpot_ms=40.0)


@dataclass(frozen=True, slots=True)
class Load:
    """One run's traffic.

    Parameters
    ----------
    rate
        Requests per second; infinite means all at once.
    zipf_alpha
        Exponent of adapter popularity.
    holdout
        Whether the row is kept from every fit.
    seed
        Of arrivals, adapters and prompts.
    """

    rate: float
    zipf_alpha: float
    holdout: bool
    seed: int


@dataclass(frozen=True, slots=True)
class Run:
    """What an open-loop run did: completions, pool counters, peak share of KV blocks, preemptions, end (s)."""

    completions: list[Completion]
    counters: Counter[str]
    kv_used_peak: float
    preemptions: int
    end_s: float


def burst_rate(rig: Rig, progress: Progress) -> float:
    """Return requests per second when all requests arrive at once: the engine's capacity for this traffic."""
    progress("serving: capacity probe")
    run = _drive(rig, Load(float("inf"), 1.0, False, 1), min(rig.plan.requests, 160))
    return len(run.completions) / run.end_s


def serve(rig: Rig, load: Load, progress: Progress) -> Run:
    """Serve one open-loop run."""
    progress(f"serving: {load.rate:.1f} requests/s, {rig.plan.adapters} adapters, Zipf {load.zipf_alpha:g}")
    return _drive(rig, load, rig.plan.requests)


def median_row(rows: Sequence[ServingRow]) -> ServingRow:
    """Return the row whose every figure is the median of the rows', which describe repeats of one load."""

    def median(values: Sequence[Any]) -> Any:
        first = values[0]
        if is_dataclass(first):
            parts = {f.name: median([getattr(value, f.name) for value in values]) for f in fields(first)}
            return type(first)(**parts)
        if type(first) not in (int, float):
            return first
        middle = float(np.median(values))
        return round(middle) if type(first) is int else middle

    row: ServingRow = median(rows)
    return row


def serving_row(rig: Rig, load: Load, run: Run) -> ServingRow:
    """Describe one open-loop run."""
    done = [c for c in run.completions if not c.error]
    ttft = np.array([c.token_times_s[0] - c.submitted_s for c in done]) * 1e3
    e2e = np.array([c.token_times_s[-1] - c.submitted_s for c in done]) * 1e3
    tpot = (
        np.array([(c.token_times_s[-1] - c.token_times_s[0]) / max(len(c.tokens) - 1, 1) for c in done]) * 1e3
    )
    itl = np.concatenate([np.diff(c.token_times_s) for c in done]) * 1e3
    good = (ttft <= INTERACTIVE.ttft_ms) & (tpot <= INTERACTIVE.tpot_ms)
    duration = run.end_s
    loads = run.counters["hit"] + run.counters["host_load"] + run.counters["disk_load"]
    return ServingRow(
        holdout=load.holdout,
        seed=load.seed,
        arrival_rate=round(load.rate, 4),
        zipf_alpha=load.zipf_alpha,
        adapters=rig.plan.adapters,
        cache_policy=rig.pool.policy,
        batch_max=max(rig.plan.batches),
        rank=rig.plan.ranks[-1],
        input_tokens=rig.plan.input_tokens,
        output_tokens=rig.plan.output_tokens,
        duration_s=round(duration, 4),
        completed=len(done),
        failed=len(run.completions) - len(done),
        output_tok_s=round(sum(len(c.tokens) for c in done) / duration, 2),
        goodput=round(float(good.sum()) / duration, 4),
        slo=INTERACTIVE,
        ttft_ms=latency_quantiles(ttft),
        tpot_ms=latency_quantiles(tpot),
        itl_ms=latency_quantiles(itl),
        e2e_ms=latency_quantiles(e2e),
        kv_used_peak=round(run.kv_used_peak, 4),
        hit_rate=round(run.counters["hit"] / max(loads, 1), 4),
        preemptions=run.preemptions,
    )


def schedule(rig: Rig, load: Load, count: int) -> list[tuple[float, Request]]:
    """Return (arrival second, request) pairs of a run."""
    generator = np.random.default_rng([load.seed, 1])
    gaps = generator.exponential(1.0, count) / load.rate
    names = [rig.pool.add(adapter) for adapter in rig.adapters[rig.plan.ranks[-1]][: rig.plan.adapters]]
    picks = generator.choice(len(names), count, p=zipf_popularity(len(names), load.zipf_alpha))
    prompts = generator.integers(0, rig.plan.config.vocab_size, (count, rig.plan.input_tokens)).tolist()
    return [
        (
            float(at),
            Request(f"q{i}", tuple(prompts[i]), rig.plan.output_tokens, (AdapterUse(names[picks[i]]),)),
        )
        for i, at in enumerate(np.cumsum(gaps) if np.isfinite(load.rate) else np.zeros(count))
    ]


def _drive(rig: Rig, load: Load, count: int) -> Run:
    """Run the engine against a schedule; times in completions are seconds from the run's start."""
    plan = schedule(rig, load, count)
    engine = rig.engine(max(rig.plan.batches), rig.plan.input_tokens + rig.plan.output_tokens)
    clock, skipped = clock_of(rig.model.device), 0.0
    began = clock()
    engine.clock = lambda: clock() - began + skipped
    before, done, next_, peak = Counter(rig.pool.counters), [], 0, 0
    while len(done) < count:
        now = engine.clock()
        while next_ < count and plan[next_][0] <= now:
            engine.submit(plan[next_][1]).submitted_s = plan[next_][0]
            next_ += 1
        if engine.idle:
            gap = max(0.0, plan[next_][0] - engine.clock())
            if clock is time.thread_time:
                skipped += gap
            else:
                time.sleep(gap)
            continue
        done += [completion for completion in engine.step() if completion.finish]
        peak = max(peak, engine.scheduler.blocks.used)
    stats, counters = engine.stats(), Counter(rig.pool.counters) - before
    end = max(c.token_times_s[-1] for c in done if c.token_times_s)
    return Run(done, counters, peak / stats.kv_blocks, stats.preemptions, end)


def latency_quantiles(values: np.ndarray) -> Quantiles:
    """Return the median, 90th and 99th percentile of latencies (ms)."""
    p50, p90, p99 = (round(float(x), 5) for x in np.percentile(values, [50, 90, 99]))
    return Quantiles(p50, p90, p99)
