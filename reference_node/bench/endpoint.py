"""Measure any OpenAI-compatible server from outside, into the same throughput profile.

Rule: only what a client can see is measured. A step is the time between the tokens of `batch` streams that decode
together; a prefill is the time to the first token of a one-token request; an adapter's load is what its first request
takes longer than its second. What cannot be seen from outside is null (bandwidth, arithmetic, roofline), "unknown" or
0 (memory, cache hits, preemptions); slots count the adapters that were asked for, a batch counts streams. A server
that hides its token counts is refused, because chunks are not tokens.
"""

from __future__ import annotations

import asyncio
import platform
import time
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

import reference_node
from models.errors import InputError
from reference_node.bench.describe import revision
from reference_node.bench.endpoint_load import OpenLoop
from reference_node.bench.endpoint_sweeps import ClosedLoop
from reference_node.bench.measure import Progress
from reference_node.bench.run import fit_decode
from reference_node.bench.streams import Streams
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

SILENCE_S = 300.0


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
        bounds = (
            ("repeats", self.repeats, 1),
            ("output_tokens", self.output_tokens, 4),
            ("requests", self.requests, 2),
            ("different batches", len(set(self.batches)), 2),
            ("different contexts", len(set(self.contexts)), 2),
        )
        wrong = [
            f"{name}: {value} is too few; {least} or more" for name, value, least in bounds if value < least
        ]
        if "@" in self.url:
            wrong.append("the address holds a password, and the profile would tell it; use --key")
        if wrong:
            raise InputError(wrong)


def measure_endpoint(plan: EndpointPlan, command: str, progress: Progress) -> Profile:
    """Measure a server and return the (unsealed) profile.

    Raises
    ------
    InputError
        When it cannot be reached, refuses the requests, or does not report token usage.
    """
    return asyncio.run(_measure(plan, command, progress))


async def _measure(plan: EndpointPlan, command: str, progress: Progress) -> Profile:
    import httpx2

    headers = {} if plan.key is None else {"authorization": f"Bearer {plan.key}"}
    limits = httpx2.Limits(max_connections=None)
    try:
        client = httpx2.AsyncClient(
            base_url=plan.url.rstrip("/"), headers=headers, timeout=SILENCE_S, limits=limits
        )
    except httpx2.InvalidURL as error:
        raise InputError(f"{plan.url!r} is no address of a server: {error}") from error
    wall, busy = time.perf_counter(), time.process_time()
    async with client as http:
        streams = Streams(http, plan.url, plan.model)
        progress(f"{plan.url}: one request to learn the length of its tokens")
        await streams.calibrate()
        loads = await _adapter_load(plan, streams, progress)
        closed = ClosedLoop(plan, streams)
        for number in range(plan.repeats + 1):  # the first round warms up and is dropped
            progress(f"round {number + 1} of {plan.repeats + 1}: streams and first tokens")
            await closed.round(keep=number > 0)
        decode = closed.decode_rows()
        serving = await OpenLoop(plan, streams, progress).rows(closed.requests_s())
    share = min(1.0, (time.process_time() - busy) / (time.perf_counter() - wall))
    provenance = Provenance(True, plan.repeats, round(share, 3), command, "")
    return _describe(plan, decode, closed.prefill_rows(), loads, serving, provenance)


async def _adapter_load(plan: EndpointPlan, streams: Streams, progress: Progress) -> AdapterLoad:
    cold, warm = [0.0], []
    for name in plan.adapters:
        progress(f"adapter {name}: first and second request")
        first, second = [(await streams.together([name], 16, 4))[0].ttft_ms for _ in range(2)]
        cold.append(max(first - second, 0.0))
        warm.append(second)
    base = [(await streams.together([plan.model], 16, 4))[0].ttft_ms for _ in range(3)]
    hit = max(float(np.median(warm)) - float(np.median(base)), 0.0) if warm else 0.0
    p50, p99 = (round(float(np.percentile(cold[1:] or cold, q)), 5) for q in (50, 99))
    # From outside, host memory and disk look alike: both are the first request's extra time.
    return AdapterLoad(round(hit, 6), p50, p99, p50, p99, 0.0)


def _describe(
    plan: EndpointPlan,
    decode: list[DecodeRow],
    prefill: list[PrefillRow],
    loads: AdapterLoad,
    serving: list[ServingRow],
    provenance: Provenance,
) -> Profile:
    slots = max(1, len(plan.adapters))
    return Profile(
        schema=SCHEMA_VERSION,
        id=f"endpoint-{plan.model}",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        node_version=reference_node.__version__,
        git_rev=revision(),
        device=Device("endpoint", plan.url, 1, 0, None, None, None),
        software=Software(platform.python_version(), "unknown", None, "unknown", False, 0, "wall"),
        model=BaseModel(plan.model, 0, 0, 0, "unknown", "unknown", False),
        lora=Lora(plan.rank, [], 0, slots, slots),
        decode=decode,
        prefill=prefill,
        mixed=[],
        adapter_load=loads,
        serving=serving,
        energy=Energy(None, "none"),
        price=Price(0.0, "assumed"),
        fit=fit_decode(decode),
        provenance=provenance,
    )
