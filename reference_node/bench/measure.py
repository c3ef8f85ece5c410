"""What a bench measures with: its plan, the shared rig, the clock, the device's ceilings.

A shared CPU lies: another process on the same core makes a step look twice as long. The bench runs one
thread, so on a CPU its clock is the processor time of that thread, which is what wall time would be on a core
of its own; waiting for arrivals is skipped, not slept. The profile says which clock it used and what share of
a processor the bench had. On an accelerator the clock is wall time, with CUDA events around steps.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch

from reference_node.adapters import Adapter, random_adapter
from reference_node.config import LLAMA_8B, ModelConfig
from reference_node.engine import Engine, EngineConfig
from reference_node.model import Llama
from reference_node.pool import AdapterPool

Progress = Callable[[str], None]
STEP_TOKENS = EngineConfig(batch_max=1, length_max=2).step_tokens
STEPS_OF_A_JOIN = 5  # a prompt joins, its row decodes twice, the step after it has left, a steady one


@dataclass(frozen=True, slots=True)
class BenchPlan:
    """What a bench sweeps.

    Parameters
    ----------
    batches, ranks, contexts
        Decode settings; the last rank is the pool's and the serving runs'.
    prefill_tokens, prefill_batches
        Prompt lengths, prompts at once.
    slots, adapters
        Adapter slots on the device; adapters of the serving runs, more than slots, so that misses happen.
    requests
        Requests of one serving run.
    input_tokens, output_tokens
        Of each request of a serving run.
    repeats, steps
        Rounds kept (one more is run and dropped), steps of each variant in a round. Serving runs are part of
        the rounds, so that a machine that slows down slows both.
    """

    config: ModelConfig = field(default_factory=ModelConfig)
    batches: tuple[int, ...] = (1, 4, 8, 16, 32)
    ranks: tuple[int, ...] = (8, 16)
    contexts: tuple[int, ...] = (32, 256)
    prefill_tokens: tuple[int, ...] = (16, 64, 256)
    prefill_batches: tuple[int, ...] = (1, 4)
    slots: int = 32
    adapters: int = 64
    requests: int = 400
    input_tokens: int = 64
    output_tokens: int = 32
    repeats: int = 5
    steps: int = 8

    def spare_tokens(self, batch: int, context: int) -> int:
        """Return tokens that each of `batch` rows may generate while prompts are read and steps are timed.

        The first rows decode while the last prompts are read, and none may come to its end meanwhile.
        """
        reading = batch * context // (STEP_TOKENS - batch) + 1
        return reading + max(self.steps, STEPS_OF_A_JOIN) + 2

    @property
    def length_max(self) -> int:
        """Return the longest sequence of any part of the bench."""
        rows = (self.row_length(max(self.batches), context) for context in self.contexts)
        return max(*rows, max(self.prefill_tokens) + STEPS_OF_A_JOIN, self.input_tokens + self.output_tokens)

    def row_length(self, batch: int, context: int, *, joined: bool = False) -> int:
        """Return the room that each of `batch` rows needs, and with `joined` the prompt that comes to them."""
        joins = [tokens + STEPS_OF_A_JOIN for tokens in self.joining_tokens(batch)] if joined else []
        return max(max(ragged(batch, context)) + self.spare_tokens(batch, context), *joins, 0)

    def joining_tokens(self, batch: int) -> list[int]:
        """Return the prompt lengths that fit into one step beside `batch` rows."""
        return [tokens for tokens in self.prefill_tokens if tokens + batch <= STEP_TOKENS]

    def device_bytes(self, item_bytes: int) -> int:
        """Return the bytes of weights, slots and all keys and values that the bench holds at once.

        Parameters
        ----------
        item_bytes
            Of one weight.
        """
        config, longest = self.config, self.input_tokens + self.output_tokens
        engines = [(b, self.row_length(b, c)) for b in self.batches for c in self.contexts]
        engines += [(b, self.row_length(b - 1, self.contexts[0], joined=True)) for b in self.batches if b > 1]
        engines += [(max(self.prefill_batches), self.length_max), (max(self.batches), longest)]
        limits = [EngineConfig(batch_max=rows, length_max=length) for rows, length in engines]
        tokens = sum((limit.blocks + 1) * limit.block_size for limit in limits)
        adapter = (
            max(self.ranks) * config.layers * sum(out + inp for out, inp in config.projections().values())
        )
        held = config.parameters() + self.slots * adapter
        return item_bytes * (held + 2 * tokens * config.layers * config.kv_heads * config.head_dim)

    def adapter_counts(self, batch: int) -> list[tuple[int, int]]:
        """Return (distinct adapters, rank) settings for one batch, base first."""
        distinct = sorted({1, max(1, batch // 4), min(batch, self.slots)})
        return [
            (0, 0),
            *((d, self.ranks[-1]) for d in distinct),
            *((distinct[-1], r) for r in self.ranks[:-1]),
        ]


PLANS = {
    "tiny": BenchPlan(),
    "8b": BenchPlan(
        # 80 GB of device memory and, by estimate, seven minutes of an H200; contexts lie around those that are served
        config=LLAMA_8B,
        batches=(1, 8, 32, 128),
        contexts=(256, 1024),
        prefill_tokens=(64, 256, 512, 1024),
        adapters=64,
        requests=300,
        input_tokens=256,
        output_tokens=64,
    ),
}


@dataclass(frozen=True, slots=True)
class Rig:
    """What all parts of a bench share: model, pool, adapters by rank, ceilings."""

    plan: BenchPlan
    model: Llama
    pool: AdapterPool
    adapters: dict[int, list[Adapter]]
    bandwidth: float
    flops: float

    def engine(self, batch: int, length: int | None = None) -> Engine:
        """Return a fresh engine over the shared model and pool; no prefix cache, because prompts are random."""
        config = EngineConfig(batch_max=batch, length_max=length or self.plan.length_max, prefix_cache=False)
        return Engine(self.model, self.pool, config, clock=clock_of(self.model.device))


def make_adapters(plan: BenchPlan, dtype: torch.dtype) -> dict[int, list[Adapter]]:
    """Return seeded adapters: the serving runs' set at the largest rank, one batch's at the others."""
    count = dict.fromkeys(plan.ranks, plan.slots) | {plan.ranks[-1]: max(plan.adapters, plan.slots)}
    return {
        rank: [random_adapter(plan.config, rank, 1000 * rank + i, dtype=dtype) for i in range(n)]
        for rank, n in count.items()
    }


def clock_of(device: torch.device) -> Callable[[], float]:
    """Return the bench's clock in seconds: processor time of this thread on a CPU, else wall time."""
    return time.thread_time if device.type == "cpu" else time.perf_counter


def timed_ms(work: Callable[[], object], device: torch.device) -> float:
    """Return the duration of one call: CUDA events on an accelerator, processor time on a CPU."""
    if device.type == "cuda":
        start, stop = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        work()
        stop.record()
        stop.synchronize()
        return float(start.elapsed_time(stop))
    began = time.thread_time()
    work()
    return 1e3 * (time.thread_time() - began)


def measure_ceilings(device: torch.device, dtype: torch.dtype) -> tuple[float, float]:
    """Return this device's copy bandwidth (bytes read + written, per s) and matrix-multiply FLOP/s, now."""
    big = device.type == "cuda"
    source = torch.ones((1 << 30 if big else 1 << 26) // 4, dtype=torch.float32, device=device)
    target = torch.empty_like(source)
    side = 8192 if big else 768
    left, right = (torch.ones((side, side), dtype=dtype, device=device) for _ in range(2))
    copies = [timed_ms(lambda: target.copy_(source), device) for _ in range(7)][2:]
    products = [timed_ms(lambda: torch.mm(left, right), device) for _ in range(7)][2:]
    return 2e3 * source.numel() * 4 / float(np.median(copies)), 2e3 * side**3 / float(np.median(products))


def ragged(batch: int, context: int) -> list[int]:
    """Return the lengths of `batch` rows around a mean of `context` tokens, a quarter less to a quarter more.

    In service no two rows are as long, and rows of one length would spare a step its masks.
    """
    middle = max(batch - 1, 1) / 2
    return [
        round(context * (1 + 0.25 * (row - middle) / middle)) if batch > 1 else context
        for row in range(batch)
    ]


def prompt_of(rig: Rig, seed: int, length: int) -> tuple[int, ...]:
    """Return a seeded prompt."""
    draws = np.random.default_rng(seed).integers(0, rig.plan.config.vocab_size, length)
    return tuple(draws.tolist())
