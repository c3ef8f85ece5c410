"""How the node is measured: device ceilings, decode and prefill sweeps, adapter loads.

Hygiene: variants are interleaved inside each round, the first round is dropped, figures are medians over rounds, every
sample is kept. Sweeps time the engine's own step (plan, forward, choice of token, bookkeeping), not a bare forward,
because the simulator has to predict the engine. Context is held fixed by rewinding rows after each variant.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from models.serving import decode_bytes, decode_flops, roofline_step_ms
from reference_node.adapters import Adapter, random_adapter, read_adapter, save_adapter
from reference_node.engine import Engine, Request
from reference_node.lora import AdapterPool
from reference_node.model import LLAMA_8B, Llama, ModelConfig
from reference_node.profile import AdapterLoad, DecodeRow, PrefillRow

Progress = Callable[[str], None]


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
        Adapter slots on the device, and adapters of the serving runs (more than slots, so that misses happen).
    requests
        Requests of one serving run.
    input_tokens, output_tokens
        Of each request of a serving run.
    repeats, steps
        Rounds kept (one more is run and dropped), steps of each variant in a round.
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

    @property
    def length_max(self) -> int:
        """Return the longest sequence of any part of the bench."""
        return max(max(self.contexts) + self.steps + 2, max(self.prefill_tokens) + 2, self.input_tokens + self.output_tokens)

    def adapter_counts(self, batch: int) -> list[tuple[int, int]]:
        """Return (distinct adapters, rank) settings for one batch, base first."""
        distinct = sorted({1, max(1, batch // 4), min(batch, self.slots)})
        return [(0, 0), *((d, self.ranks[-1]) for d in distinct), *((distinct[-1], r) for r in self.ranks[:-1])]


PLANS = {
    "tiny": BenchPlan(),
    "8b": BenchPlan(
        config=LLAMA_8B,
        batches=(1, 8, 32, 128),
        contexts=(512, 2048),
        prefill_tokens=(128, 512, 2048),
        adapters=64,
        requests=300,
        input_tokens=512,
        output_tokens=128,
    ),
}


@dataclass(frozen=True, slots=True)
class Rig:
    """The model, pool and adapters that all parts of a bench share; adapters by rank."""

    plan: BenchPlan
    model: Llama
    pool: AdapterPool
    adapters: dict[int, list[Adapter]]
    bandwidth: float
    flops: float

    def engine(self, batch: int, length: int | None = None) -> Engine:
        """Return a fresh engine over the shared model and pool."""
        return Engine(self.model, self.pool, batch_max=batch, length_max=length or self.plan.length_max)


def make_adapters(plan: BenchPlan, dtype: torch.dtype) -> dict[int, list[Adapter]]:
    """Return seeded adapters: the serving runs' set at the largest rank, enough for one batch at the others."""
    count = {rank: plan.slots for rank in plan.ranks} | {plan.ranks[-1]: max(plan.adapters, plan.slots)}
    return {rank: [random_adapter(plan.config, rank, 1000 * rank + i, dtype=dtype) for i in range(n)] for rank, n in count.items()}


def synchronise(device: torch.device) -> None:
    """Wait for the device; a CPU is never ahead of its clock."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def timed_ms(work: Callable[[], object], device: torch.device) -> float:
    """Return the duration of one call: CUDA events on an accelerator, the monotonic clock elsewhere."""
    if device.type == "cuda":
        start, stop = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        work()
        stop.record()
        stop.synchronize()
        return float(start.elapsed_time(stop))
    began = time.perf_counter()
    work()
    return 1e3 * (time.perf_counter() - began)


def measure_ceilings(device: torch.device, dtype: torch.dtype) -> tuple[float, float]:
    """Return copy bandwidth (bytes read + written per second) and matrix-multiply rate (FLOP/s) of this device, now."""
    big = device.type == "cuda"
    source = torch.ones((1 << 30 if big else 1 << 26) // 4, dtype=torch.float32, device=device)
    target = torch.empty_like(source)
    side = 8192 if big else 768
    left, right = (torch.ones((side, side), dtype=dtype, device=device) for _ in range(2))
    copies = [timed_ms(lambda: target.copy_(source), device) for _ in range(7)][2:]
    products = [timed_ms(lambda: torch.mm(left, right), device) for _ in range(7)][2:]
    return 2e3 * source.numel() * 4 / float(np.median(copies)), 2e3 * side**3 / float(np.median(products))


def decode_sweep(rig: Rig, progress: Progress) -> list[DecodeRow]:
    """Time decode steps over batch x context x (distinct adapters, rank), interleaved."""
    samples: dict[tuple[int, int, int, int], list[list[float]]] = {}
    engines = {(b, c): _warm_engine(rig, b, c) for b in rig.plan.batches for c in rig.plan.contexts}
    for rep in range(rig.plan.repeats + 1):
        progress(f"decode sweep: round {rep + 1} of {rig.plan.repeats + 1}")
        for (batch, context), engine in engines.items():
            for distinct, rank in rig.plan.adapter_counts(batch):
                times = _time_steps(rig, engine, distinct, rank)
                samples.setdefault((batch, context, distinct, rank), []).append(times)
    return [_decode_row(rig, key, rounds[1:], samples[key[0], key[1], 0, 0][1:]) for key, rounds in samples.items()]


def _warm_engine(rig: Rig, batch: int, context: int) -> Engine:
    engine = rig.engine(batch, context + rig.plan.steps + 2)
    for row in range(batch):
        engine.submit(Request(f"row{row}", _prompt(rig, row, context - 1), rig.plan.steps + 2))
    engine.step()
    _rewind(engine)
    return engine


def _time_steps(rig: Rig, engine: Engine, distinct: int, rank: int) -> list[float]:
    """Return the durations (ms) of `plan.steps` decode steps with adapters dealt out in turn, unsorted as in service."""
    rows = len(engine.running)
    names = [rig.pool.add(adapter) for adapter in rig.adapters[rank][:distinct]] if distinct else []
    engine.reassign([names[row % distinct] if distinct else None for row in range(rows)])
    engine.step()  # builds the plan, touches the adapters
    _rewind(engine)
    times = [timed_ms(engine.step, rig.model.device) for _ in range(rig.plan.steps)]
    _rewind(engine)
    engine.reassign([None] * rows)  # unpins, because all engines of the sweep share one pool
    return times


def _rewind(engine: Engine) -> None:
    for entry in engine.running:
        del entry.tokens[1:], entry.token_times_s[1:]


def _decode_row(rig: Rig, key: tuple[int, int, int, int], rounds: list[list[float]], base: list[list[float]]) -> DecodeRow:
    batch, context, distinct, rank = key
    flat = [sample for one in rounds for sample in one]
    p50 = float(np.median([np.median(one) for one in rounds]))
    ratio = float(np.median([np.median(b) / np.median(o) for b, o in zip(base, rounds, strict=True)]))
    return DecodeRow(
        batch=batch,
        distinct_adapters=distinct,
        rank=rank,
        context=context,
        tok_s=round(1e3 * batch / p50, 2),
        step_ms_p50=round(p50, 5),
        step_ms_p99=round(float(np.percentile(flat, 99)), 5),
        ratio_to_base=round(ratio, 4),
        fraction_of_roofline=round(roofline_ms(rig, batch, distinct, rank, context) / p50, 4),
        samples_ms=[round(sample, 5) for sample in flat],
    )


def roofline_ms(rig: Rig, batch: int, distinct: int, rank: int, context: int) -> float:
    """Return the shortest step that the measured ceilings of this device allow."""
    config, size = rig.plan.config, rig.model.embed.element_size()
    streamed, per_adapter = config.streamed_parameters(), rig.pool.nbytes_per_adapter(rank)
    kv = 2 * config.layers * config.kv_heads * config.head_dim * size
    moved = decode_bytes(streamed * size, per_adapter, distinct, kv, batch, context)
    work = decode_flops(streamed, per_adapter / size, batch, context, config.heads * config.head_dim, config.layers)
    return float(roofline_step_ms(moved, work, rig.bandwidth, rig.flops))


def prefill_sweep(rig: Rig, progress: Progress) -> list[PrefillRow]:
    """Time admission of prompts, each with its own adapter, up to their first token, interleaved."""
    names = [rig.pool.add(adapter) for adapter in rig.adapters[rig.plan.ranks[-1]][: max(rig.plan.prefill_batches)]]
    settings = [(tokens, batch) for tokens in rig.plan.prefill_tokens for batch in rig.plan.prefill_batches]
    engine = rig.engine(max(rig.plan.prefill_batches))
    samples: dict[tuple[int, int], list[list[float]]] = {setting: [] for setting in settings}
    for rep in range(rig.plan.repeats + 1):
        progress(f"prefill sweep: round {rep + 1} of {rig.plan.repeats + 1}")
        for tokens, batch in settings:
            done = engine.run(Request(f"p{i}", _prompt(rig, i, tokens), 1, names[i]) for i in range(batch))
            samples[tokens, batch].append([1e3 * (c.token_times_s[0] - c.submitted_s) for c in done.values()])
    return [_prefill_row(setting, rounds[1:]) for setting, rounds in samples.items()]


def _prefill_row(setting: tuple[int, int], rounds: list[list[float]]) -> PrefillRow:
    tokens, batch = setting
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


def measure_adapter_load(rig: Rig, scratch: Path, progress: Progress) -> AdapterLoad:
    """Time how an adapter gets ready: already on the device, from host memory, from disk; and validation alone."""
    progress("adapter loads")
    plan, rank = rig.plan, rig.plan.ranks[-1]
    device, dtype = rig.model.device, rig.model.dtype
    folders = [scratch / f"adapter{i}" for i in range(plan.repeats * 2 + 2)]
    for folder, adapter in zip(folders, rig.adapters[rank], strict=False):
        save_adapter(adapter, folder)
    warm = AdapterPool(plan.config, slots=1, rank_max=rank, device=device, dtype=dtype)
    cold = AdapterPool(plan.config, slots=1, rank_max=rank, host_slots=1, device=device, dtype=dtype)
    host = list(_acquire_ms(warm, [warm.register(f) for f in folders], device))[1:]
    disk = list(_acquire_ms(cold, [cold.register(f) for f in folders], device))[1:]
    last = warm.register(folders[-1])
    hits = [_hit_ms(warm, last) for _ in range(50)]
    checks = [timed_ms(lambda f=folder: read_adapter(f, plan.config), torch.device("cpu")) for folder in folders][1:]
    return AdapterLoad(
        gpu_hit_ms=round(float(np.median(hits)), 6),
        host_to_gpu_ms_p50=round(float(np.median(host)), 5),
        host_to_gpu_ms_p99=round(float(np.percentile(host, 99)), 5),
        disk_to_gpu_ms_p50=round(float(np.median(disk)), 5),
        disk_to_gpu_ms_p99=round(float(np.percentile(disk, 99)), 5),
        validate_ms=round(float(np.median(checks)), 5),
    )


def _acquire_ms(pool: AdapterPool, names: list[str], device: torch.device) -> Iterator[float]:
    for name in names:
        yield timed_ms(lambda n=name: pool.acquire(n), device)
        pool.release(name)


def _hit_ms(pool: AdapterPool, name: str) -> float:
    """Return the time of one acquisition of an adapter that is already in its slot."""
    pool.acquire(name)
    elapsed = timed_ms(lambda: pool.acquire(name), torch.device("cpu"))
    pool.release(name)
    pool.release(name)
    return elapsed


def _prompt(rig: Rig, seed: int, length: int) -> tuple[int, ...]:
    draws = np.random.default_rng(seed).integers(0, rig.plan.config.vocab_size, length)
    return tuple(draws.tolist())
