"""Measure any OpenAI-compatible server from outside, into the same throughput profile.

Rule: only what a client can see is measured. A step is the time between the tokens of `batch` streams that decode
together; a prefill is the time to the first token of a one-token request; an adapter's load is what its first request
takes longer than its second. What cannot be seen from outside (bandwidth, arithmetic, roofline, weights' hash) is null
or says so, and a server that hides its token counts is refused, because chunks are not tokens.
"""

from __future__ import annotations

import asyncio
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

import reference_node
from models.errors import InputError
from models.serving import zipf_popularity
from reference_node.bench.load import INTERACTIVE, Load, latency_quantiles
from reference_node.bench.measure import Progress
from reference_node.bench.run import fit_decode, revision
from reference_node.bench.streams import Served, Streams, refuse_errors
from reference_node.profile import (
    SCHEMA_VERSION,
    AdapterLoad,
    BaseModel,
    DecodeRow,
    Device,
    Energy,
    Lora,
    PrefillRow,
    Price,
    Profile,
    Provenance,
    ServingRow,
    Software,
)


@dataclass(frozen=True, slots=True)
class EndpointPlan:
    """What is asked of the server.

    Parameters
    ----------
    url, key, model
        Where it listens, its key if it wants one, the base model's name there.
    adapters
        Names under which its adapters are asked for; empty measures the base alone.
    rank
        LoRA rank of those adapters, which a client cannot see.
    batches, contexts
        Streams at once; prompt tokens.
    output_tokens, repeats, requests
        Tokens of each stream; rounds kept (one more is dropped); requests of one open-loop run.
    """

    url: str
    model: str
    key: str | None = None
    adapters: tuple[str, ...] = ()
    rank: int = 16
    batches: tuple[int, ...] = (1, 4, 8, 16)
    contexts: tuple[int, ...] = (32, 128)
    output_tokens: int = 32
    repeats: int = 3
    requests: int = 60

    def __post_init__(self) -> None:
        if self.repeats < 1 or self.output_tokens < 4 or self.requests < 2 or not self.batches:
            raise InputError(
                f"endpoint bench: repeats {self.repeats}: 1 or more; output_tokens {self.output_tokens}: 4 or more; "
                f"requests {self.requests}: 2 or more; batches {self.batches}: not empty"
            )


def measure_endpoint(plan: EndpointPlan, command: str, progress: Progress) -> Profile:
    """Measure a server and return the (unsealed) profile.

    Raises
    ------
    InputError
        When it cannot be reached, refuses the requests, or does not report token usage.
    """
    return asyncio.run(_Bench(plan, progress).profile(command))


class _Bench:
    def __init__(self, plan: EndpointPlan, progress: Progress) -> None:
        self.plan, self.progress = plan, progress

    async def profile(self, command: str) -> Profile:
        import httpx2

        headers = {} if self.plan.key is None else {"authorization": f"Bearer {self.plan.key}"}
        limits = httpx2.Limits(max_connections=None)
        async with httpx2.AsyncClient(
            base_url=self.plan.url.rstrip("/"), headers=headers, timeout=300.0, limits=limits
        ) as http:
            self.streams = Streams(http, self.plan.url, self.plan.model)
            self.progress(f"{self.plan.url}: one request to learn the length of its tokens")
            await self.streams.calibrate()
            loads = await self._adapter_load()
            decode, prefill = await self._sweeps()
            serving = await self._serving(decode)
        return self._describe(command, decode, prefill, loads, serving)

    async def _adapter_load(self) -> AdapterLoad:
        cold, warm = [], []
        for name in self.plan.adapters:
            self.progress(f"adapter {name}: first and second request")
            first, second = [(await self.streams.one(name, 16, 4)) for _ in range(2)]
            refuse_errors([first, second], self.plan.url)
            cold.append(max(first.ttft_ms - second.ttft_ms, 0.0))
            warm.append(second.ttft_ms)
        base = [(await self.streams.one(self.plan.model, 16, 4)).ttft_ms for _ in range(3)]
        hit = max(float(np.median(warm)) - float(np.median(base)), 0.0) if warm else 0.0
        p50, p99 = (round(float(np.percentile(cold or [0.0], q)), 5) for q in (50, 99))
        # From outside, host memory and disk look alike: both are the first request's extra time.
        return AdapterLoad(round(hit, 6), p50, p99, p50, p99, 0.0)

    async def _sweeps(self) -> tuple[list[DecodeRow], list[PrefillRow]]:
        plan = self.plan
        steps: dict[tuple[int, int, int], list[float]] = {}
        first: dict[tuple[int, int], list[list[float]]] = {}
        for number in range(plan.repeats + 1):
            self.progress(f"round {number + 1} of {plan.repeats + 1}: streams and first tokens")
            for context in plan.contexts:
                for batch in plan.batches:
                    for distinct in sorted({0, min(1, len(plan.adapters)), min(batch, len(plan.adapters))}):
                        names = [
                            plan.adapters[i % distinct] if distinct else plan.model for i in range(batch)
                        ]
                        done = await self.streams.together(names, context, plan.output_tokens)
                        if number:
                            key = (batch, distinct, context)
                            steps.setdefault(key, []).append(float(np.median([one.itl_ms for one in done])))
                for batch in (1, min(4, max(plan.batches))):
                    done = await self.streams.together([plan.model] * batch, context, 1)
                    if number:
                        first.setdefault((context, batch), []).append([one.ttft_ms for one in done])
        return (
            [self._decode_row(key, samples, steps[key[0], 0, key[2]]) for key, samples in steps.items()],
            [_prefill_row(key, rounds) for key, rounds in first.items()],
        )

    def _decode_row(self, key: tuple[int, int, int], samples: list[float], base: list[float]) -> DecodeRow:
        batch, distinct, context = key
        p50 = float(np.median(samples))
        return DecodeRow(
            batch=batch,
            distinct_adapters=distinct,
            rank=self.plan.rank if distinct else 0,
            context=context + self.plan.output_tokens // 2,
            tok_s=round(1e3 * batch / p50, 2),
            step_ms_p50=round(p50, 5),
            step_ms_p99=round(float(np.percentile(samples, 99)), 5),
            ratio_to_base=round(float(np.median(base)) / p50, 4),
            fraction_of_roofline=None,
            samples_ms=[round(sample, 5) for sample in samples],
        )

    async def _serving(self, decode: Sequence[DecodeRow]) -> list[ServingRow]:
        """Run open-loop traffic at half, 0.8 and 1.3 of the closed-loop rate; the last two are held out."""
        plan = self.plan
        best = max(row.tok_s for row in decode if row.distinct_adapters <= 1)
        capacity = best / (plan.output_tokens + 1)
        rows = []
        for i, (share, holdout) in enumerate(((0.5, False), (0.8, True), (1.3, True))):
            load = Load(share * capacity, 1.0, holdout, 11 + i)
            self.progress(f"serving: {load.rate:.1f} requests/s")
            runs = [await self._open_loop(load) for _ in range(plan.repeats)]
            median = sorted(runs, key=lambda run: max(one.times_s[-1] for one in run if one.times_s))[
                len(runs) // 2
            ]
            rows.append(self._serving_row(load, median))
        return rows

    async def _open_loop(self, load: Load) -> list[Served]:
        plan, draw = self.plan, np.random.default_rng([load.seed, 2])
        names = plan.adapters or (plan.model,)
        picks = draw.choice(len(names), plan.requests, p=zipf_popularity(len(names), load.zipf_alpha))
        arrivals = np.cumsum(draw.exponential(1.0, plan.requests) / load.rate)
        began = time.perf_counter()

        async def later(at: float, name: str) -> Served:
            await asyncio.sleep(max(0.0, at - (time.perf_counter() - began)))
            return await self.streams.one(name, plan.contexts[0], plan.output_tokens, began, at)

        return await asyncio.gather(
            *(later(float(at), names[pick]) for at, pick in zip(arrivals, picks, strict=True))
        )

    def _serving_row(self, load: Load, run: list[Served]) -> ServingRow:
        done = [one for one in run if not one.error and one.times_s]
        if not done:
            raise InputError(f"{self.plan.url}: every request of an open-loop run failed: {run[0].error}")
        ttft, tpot = np.array([one.ttft_ms for one in done]), np.array([one.itl_ms for one in done])
        duration = max(one.times_s[-1] for one in done)
        good = (ttft <= INTERACTIVE.ttft_ms) & (tpot <= INTERACTIVE.tpot_ms)
        return ServingRow(
            holdout=load.holdout,
            arrival_rate=round(load.rate, 4),
            zipf_alpha=load.zipf_alpha,
            adapters=len(self.plan.adapters),
            cache_policy="lru",
            batch_max=max(self.plan.batches),
            rank=self.plan.rank,
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
            itl_ms=latency_quantiles(1e3 * np.concatenate([np.diff(one.times_s) for one in done])),
            e2e_ms=latency_quantiles(1e3 * np.array([one.times_s[-1] - one.sent_s for one in done])),
            kv_used_peak=0.0,
            hit_rate=0.0,
            preemptions=0,
        )

    def _describe(
        self,
        command: str,
        decode: list[DecodeRow],
        prefill: list[PrefillRow],
        loads: AdapterLoad,
        serving: list[ServingRow],
    ) -> Profile:
        plan = self.plan
        return Profile(
            schema=SCHEMA_VERSION,
            id=f"endpoint-{plan.model}",
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            node_version=reference_node.__version__,
            git_rev=revision(),
            device=Device("endpoint", plan.url, 1, 0, None, None, None),
            software=Software(platform.python_version(), "unknown", None, "unknown", False, 0, "wall"),
            model=BaseModel(plan.model, 0, 0, 0, "unknown", "unknown", False),
            lora=Lora(plan.rank, [], 0, max(1, len(plan.adapters)), max(1, len(plan.adapters))),
            decode=decode,
            prefill=prefill,
            mixed=[],
            adapter_load=loads,
            serving=serving,
            energy=Energy(None, "none"),
            price=Price(0.0, "assumed"),
            fit=fit_decode(decode),
            provenance=Provenance(True, plan.repeats, 1.0, command, ""),
        )


def _prefill_row(key: tuple[int, int], rounds: list[list[float]]) -> PrefillRow:
    tokens, batch = key
    flat = [sample for one in rounds for sample in one]
    whole = float(np.median([max(one) for one in rounds]))
    return PrefillRow(
        tokens=tokens,
        batch=batch,
        tok_s=round(1e3 * tokens * batch / whole, 2),
        ttft_ms_p50=round(float(np.median(flat)), 5),
        ttft_ms_p99=round(float(np.percentile(flat, 99)), 5),
        samples_ms=[round(sample, 5) for sample in flat],
    )
