"""Open-loop traffic to a server: the serving rows of a profile measured from outside.

Rule: arrivals are Poisson and wait for nobody, and every latency counts from the scheduled arrival; arrivals and
adapters follow from the row's seed. Loads are half, 0.8 and 1.3 of what the streams reached together; the last two are
held out from every fit.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import numpy as np

from models.errors import InputError
from models.serving import zipf_popularity
from reference_node.bench.load import INTERACTIVE, Load, latency_quantiles, median_row
from reference_node.bench.measure import Progress
from reference_node.bench.streams import Served, Streams
from reference_node.profile import ServingRow

if TYPE_CHECKING:
    from reference_node.bench.endpoint import EndpointPlan

LOADS = ((0.5, False), (0.8, True), (1.3, True))
SEED = 11


class OpenLoop:
    """Runs of open-loop traffic.

    Parameters
    ----------
    plan
        Requests, adapters and lengths.
    streams
        The server.
    progress
        Told what is measured.
    """

    def __init__(self, plan: EndpointPlan, streams: Streams, progress: Progress) -> None:
        self._plan, self._streams, self._progress = plan, streams, progress

    async def rows(self, requests_s: float) -> list[ServingRow]:
        """Return a row for each load; `requests_s` is what the streams reached together.

        Raises
        ------
        InputError
            When a whole run fails.
        """
        rows = []
        for i, (share, holdout) in enumerate(LOADS):
            load = Load(share * requests_s, 1.0, holdout, SEED + i)
            self._progress(f"serving: {load.rate:.1f} requests/s")
            runs = [await self._run(load) for _ in range(self._plan.repeats)]
            rows.append(median_row([self._row(load, run) for run in runs]))
        return rows

    async def _run(self, load: Load) -> list[Served]:
        plan, draw = self._plan, np.random.default_rng([load.seed, 1])  # drawn as in load.schedule
        arrivals = np.cumsum(draw.exponential(1.0, plan.requests) / load.rate)
        names = plan.adapters or (plan.model,)
        picks = draw.choice(len(names), plan.requests, p=zipf_popularity(len(names), load.zipf_alpha))
        began = time.perf_counter()

        async def later(at: float, name: str) -> Served:
            await asyncio.sleep(max(0.0, at - (time.perf_counter() - began)))
            return await self._streams.one(name, min(plan.contexts), plan.output_tokens, began, at)

        return await asyncio.gather(
            *(later(float(at), names[pick]) for at, pick in zip(arrivals, picks, strict=True))
        )

    def _row(self, load: Load, run: list[Served]) -> ServingRow:
        done = [one for one in run if not one.error]
        if not done:
            raise InputError(f"{self._streams.url}: every request of an open-loop run failed: {run[0].error}")
        ttft, tpot = np.array([one.ttft_ms for one in done]), np.array([one.itl_ms for one in done])
        duration = max(one.times_s[-1] for one in done)
        good = (ttft <= INTERACTIVE.ttft_ms) & (tpot <= INTERACTIVE.tpot_ms)
        return ServingRow(
            holdout=load.holdout,
            seed=load.seed,
            arrival_rate=round(load.rate, 4),
            zipf_alpha=load.zipf_alpha,
            adapters=len(self._plan.adapters),
            cache_policy="lru",
            batch_max=max(self._plan.batches),
            rank=self._plan.rank,
            input_tokens=round(float(np.mean([one.prompt_tokens for one in done]))),
            output_tokens=round(float(np.mean([one.output_tokens for one in done]))),
            duration_s=round(duration, 4),
            completed=len(done),
            failed=len(run) - len(done),
            output_tok_s=round(sum(one.output_tokens for one in done) / duration, 2),
            goodput=round(float(good.sum()) / duration, 4),
            slo=INTERACTIVE,
            ttft_ms=latency_quantiles(ttft),
            tpot_ms=latency_quantiles(tpot),
            itl_ms=latency_quantiles(np.concatenate([_gaps_ms(one) for one in done])),
            e2e_ms=latency_quantiles(1e3 * np.array([one.times_s[-1] - one.sent_s for one in done])),
            kv_used_peak=0.0,
            hit_rate=0.0,
            preemptions=0,
        )


def _gaps_ms(one: Served) -> np.ndarray:
    """Return the times between chunks; a stream of one chunk has none and counts with its mean."""
    return 1e3 * np.diff(one.times_s) if len(one.times_s) > 1 else np.array([one.itl_ms])
