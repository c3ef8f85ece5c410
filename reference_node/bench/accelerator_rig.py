"""Decode at a fixed context, measured against the device's own ceilings: base, many adapters, a swap meanwhile.

Everything is random and lies on the device from the start: weights, keys and values of every row, and the adapters,
drawn into the pool's tables directly (1,000 of rank 16 at the 8B shape are 84 GB, which no host copy could carry). A
step is what an engine does for a token: fill the inputs, run the graph, choose the tokens, read them back; its clock is
wall time around that. Ratios come from interleaved rounds of one process; the first round is dropped.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from models.serving import decode_bytes, decode_flops, roofline_step_ms, zipf_popularity
from reference_node.adapters import random_adapter
from reference_node.bench.figure import bench_figure
from reference_node.config import PRESETS, ModelConfig
from reference_node.graphs import DecodeGraphs
from reference_node.kv import PagedKV
from reference_node.model import random_model
from reference_node.pool import AdapterLoadingError, AdapterPool

Rows = list[tuple[tuple[int, float], ...]]
RANK = 16
# Bars of the 8B shape in bf16 at context 512, and the largest tolerated swap (ms).
BARS = {
    "roofline.b1": 0.80,
    "roofline.b32": 0.70,
    "roofline.b128": 0.60,
    "lora32.over_base.b32": 0.85,
    "lora1000.over_base.b32": 0.80,
    "swap_p99_ms": 10.0,
    "swap_tpot_spike": 2.0,
}


@dataclass(frozen=True, slots=True)
class RigPlan:
    """What is measured.

    Parameters
    ----------
    preset
        Shape of the model.
    batches, context
        Decode settings of the roofline figures.
    resident
        Adapters in the pool.
    steps, rounds
        Steps of each variant in a round; rounds kept.
    swaps, swap_adapters
        Loads while decoding; adapters that take turns, half of them held by rows.
    copy_bytes, side
        Sizes of the copy and the matrix product that measure the ceilings.
    """

    preset: str
    batches: tuple[int, ...]
    context: int
    resident: int
    steps: int
    rounds: int
    swaps: int
    swap_adapters: int
    copy_bytes: int
    side: int

    @property
    def config(self) -> ModelConfig:
        """Return the shape."""
        return PRESETS[self.preset]


PLANS = {
    "8b": RigPlan("8b", (1, 32, 128), 512, 1000, 20, 5, 100, 16, 4 << 30, 8192),
    "tiny": RigPlan("tiny", (1, 8, 32), 48, 40, 2, 2, 4, 4, 1 << 24, 256),
}


class Rig:
    """One model, one store of keys and values, graphs; `pool` holds `resident` random adapters of rank 16."""

    def __init__(self, plan: RigPlan, device: str, *, slots: int, rows: int, filled: bool) -> None:
        self.plan, self.device = plan, torch.device(device)
        self.dtype = torch.bfloat16 if device == "cuda" else torch.float32
        self.model = random_model(
            plan.config, 1, device=device, dtype=self.dtype, max_length=plan.context + 1
        )
        per_row = -(-(plan.context + 1) // 16)
        self.kv = PagedKV(plan.config, rows * per_row, 16, self.model.embed)
        self.kv.k.normal_()
        self.kv.v.normal_()
        self.pool = AdapterPool(
            plan.config,
            slots=slots,
            rank_max=RANK,
            device=device,
            dtype=self.dtype,
            slabs=True,
            background=True,
        )
        if filled:
            fill_pool(self.pool)
        self.graphs = DecodeGraphs(
            self.model, self.kv, self.pool, batch_max=rows, length_max=plan.context + 1
        )
        self.blocks = [[1 + row * per_row + i for i in range(per_row)] for row in range(rows)]

    def step(self, batch: int, adapters: Rows) -> list[int]:
        """Decode one token for `batch` rows at the plan's context and return the tokens."""
        tokens, positions = list(range(batch)), [self.plan.context - 1] * batch
        logits = self.graphs.decode(tokens, positions, self.blocks[:batch], adapters)
        return logits.argmax(dim=-1).tolist()

    def step_ms(self, batch: int, adapters: Rows) -> float:
        """Return the wall time of one step."""
        began = time.perf_counter()
        self.step(batch, adapters)
        return 1e3 * (time.perf_counter() - began)

    def floor_ms(self, batch: int, ceilings: dict[str, float], distinct: float = 0.0) -> float:
        """Return the shortest step that this device's measured ceilings allow."""
        config, size = self.plan.config, self.dtype.itemsize
        streamed, adapter = config.streamed_parameters(), self.pool.nbytes_per_adapter(RANK)
        kv = 2 * config.layers * config.kv_heads * config.head_dim * size
        moved = decode_bytes(streamed * size, adapter, distinct, kv, batch, self.plan.context)
        width = config.heads * config.head_dim
        work = decode_flops(streamed, adapter / size, batch, self.plan.context, width, config.layers)
        return float(roofline_step_ms(moved, work, ceilings["bytes_per_s"], ceilings["flops"]))


def fill_pool(pool: AdapterPool) -> None:
    """Draw every slot's matrices on the device, all of full rank."""
    for layer in range(pool.config.layers):
        for group in pool.store.a[layer]:
            for table in pool.store.tables(layer, group):
                table.normal_(0.0, 0.02)
    pool.store.ranks.fill_(pool.rank_max)
    pool.store.rank = [pool.rank_max] * pool.slots


def measure_ceilings(plan: RigPlan, device: str) -> dict[str, float]:
    """Return copy bandwidth (bytes read + written per s) and matrix FLOP/s of this device, on random data."""
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    source = torch.randn(plan.copy_bytes // dtype.itemsize, device=device, dtype=dtype)
    target = torch.empty_like(source)
    left, right = (torch.randn((plan.side, plan.side), device=device, dtype=dtype) for _ in range(2))
    product = torch.empty_like(left)
    copy = median_ms(lambda: target.copy_(source), device)
    multiply = median_ms(lambda: torch.mm(left, right, out=product), device)
    return {
        "bytes_per_s": 2e3 * plan.copy_bytes / copy,
        "flops": 2e3 * plan.side**3 / multiply,
        "copy_ms": copy,
        "product_ms": multiply,
    }


def median_ms(work: Callable[[], object], device: str, repeats: int = 10) -> float:
    """Return the median duration of a call, by device events on CUDA; three calls come first."""
    times = []
    for number in range(repeats + 3):
        if device == "cuda":
            start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            work()
            stop.record()
            stop.synchronize()
            elapsed = start.elapsed_time(stop)
        else:
            began = time.perf_counter()
            work()
            elapsed = 1e3 * (time.perf_counter() - began)
        if number >= 3:
            times.append(elapsed)
    return float(np.median(times))


def roofline_figure(rig: Rig, batch: int, ceilings: dict[str, float]) -> dict[str, Any]:
    """Measure base decode against the roofline."""
    rounds = [[rig.step_ms(batch, []) for _ in range(rig.plan.steps)] for _ in range(rig.plan.rounds + 1)]
    step = float(np.median([np.median(times) for times in rounds[1:]]))
    floor = rig.floor_ms(batch, ceilings)
    detail = {
        "step_ms": round(step, 5),
        "floor_ms": round(floor, 5),
        "replay_ms": round(median_ms(rig.graphs.repeat, rig.device.type), 5),
        "tok_s": round(1e3 * batch / step, 1),
        "samples_ms": [[round(t, 5) for t in times] for times in rounds[1:]],
    }
    return figure(rig.plan, rig.device.type, f"roofline.b{batch}", floor / step, "higher", detail)


def lora_figures(rig: Rig, batch: int, ceilings: dict[str, float]) -> list[dict[str, Any]]:
    """Measure decode with distinct adapters, and with Zipf 1 over all resident ones, against the base."""
    many = rig.plan.resident
    draw, share = np.random.default_rng(7), zipf_popularity(many, 1.0)
    samples: dict[str, list[float]] = {"base": [], "distinct": [], "zipf": []}
    drawn = []
    for number in range(rig.plan.rounds + 1):
        picks = draw.choice(many, batch, p=share)
        spread = draw.choice(many, batch, replace=False)
        drawn.append(len(set(picks.tolist())))
        variants: dict[str, Rows] = {
            "base": [],
            "distinct": [((int(slot), 1.0),) for slot in spread],
            "zipf": [((int(slot), 1.0),) for slot in picks],
        }
        for name, rows in variants.items():
            rig.step(batch, rows)  # the batch's plan is made once, as in service
            times = [rig.step_ms(batch, rows) for _ in range(rig.plan.steps)]
            if number:
                samples[name].append(float(np.median(times)))
    floors = {"base": 0.0, "distinct": float(batch), "zipf": float(np.mean(drawn[1:]))}
    floor = {name: rig.floor_ms(batch, ceilings, distinct) for name, distinct in floors.items()}
    names = {"distinct": f"lora{batch}.over_base.b{batch}", "zipf": f"lora{many}.over_base.b{batch}"}
    figures = []
    for kind, name in names.items():
        ratio = float(np.median(np.divide(samples["base"], samples[kind])))
        detail = {
            "distinct": round(floors[kind], 2),
            "limit": round(floor["base"] / floor[kind], 4),
            "base_ms": [round(t, 5) for t in samples["base"]],
            "step_ms": [round(t, 5) for t in samples[kind]],
        }
        figures.append(figure(rig.plan, rig.device.type, name, ratio, "higher", detail))
    return figures


def swap_figures(rig: Rig, batch: int) -> list[dict[str, Any]]:
    """Load adapters from host memory while `batch` rows decode; time each load and every row's token."""
    plan, pool = rig.plan, rig.pool
    names = [
        pool.add(random_adapter(plan.config, RANK, i, dtype=rig.dtype)) for i in range(plan.swap_adapters)
    ]
    held, others = names[: len(names) // 2], names[len(names) // 2 :]
    slots = [acquire_within(pool, name, lambda: None)[0] for name in held]
    rows: Rows = [((slots[row % len(slots)], 1.0),) for row in range(batch)]
    steady = [rig.step_ms(batch, rows) for _ in range(20 + plan.steps)][20:]
    loads, steps = [], []
    for number in range(plan.swaps):
        name = others[number % len(others)]
        _, elapsed = acquire_within(pool, name, lambda: steps.append(rig.step_ms(batch, rows)))
        loads.append(elapsed)
        steps.append(rig.step_ms(batch, rows))
        pool.release(name)
    p50, p99 = (float(value) for value in np.percentile(loads, [50, 99]))
    spike = max(steps) / float(np.median(steady))
    detail = {
        "p50_ms": round(p50, 4),
        "bytes": pool.nbytes_per_adapter(RANK),
        "steady_step_ms": round(float(np.median(steady)), 4),
        "worst_step_ms": round(max(steps), 4),
        "p99_step_ms": round(float(np.percentile(steps, 99)), 4),
        "counters": dict(pool.counters),
    }
    kind = rig.device.type
    return [
        figure(plan, kind, "swap_p99_ms", p99, "lower", detail, unit="ms"),
        figure(plan, kind, "swap_tpot_spike", spike, "lower", detail),
    ]


def acquire_within(pool: AdapterPool, name: str, meanwhile: Callable[[], object]) -> tuple[int, float]:
    """Return a slot for an adapter and the milliseconds until it was usable; `meanwhile` runs between tries."""
    began = time.perf_counter()
    while True:
        try:
            slot = pool.acquire(name)
        except AdapterLoadingError:
            meanwhile()
            continue
        return slot, 1e3 * (time.perf_counter() - began)


def figure(
    plan: RigPlan,
    device: str,
    name: str,
    value: float,
    better: str,
    detail: dict[str, Any],
    unit: str = "ratio",
) -> dict[str, Any]:
    """Return one figure; bars apply to the 8B shape on an accelerator, elsewhere there is none."""
    bar = BARS.get(name) if (plan.preset, device) == ("8b", "cuda") else None
    return bench_figure(name, value, unit, better, bar, detail)
