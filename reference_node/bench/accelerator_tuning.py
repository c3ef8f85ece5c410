"""Which cut of the decode kernels is fastest on this device: a few candidates each, timed as a graph of four layers.

The tables of four layers of 32 adapters (336 MB at the 8B shape) and the weights of four layers (1.7 GB) are more than
a card's cache, so repeated replays read memory, as a decode step does. A candidate counts only if its result agrees
with the first one's; for linear layers the first is the library.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from reference_node import kernels
from reference_node.bench.accelerator_rig import RANK, RigPlan, median_ms
from reference_node.config import GROUPS
from reference_node.kernels import few_rows
from reference_node.kernels.check import relative_error
from reference_node.kernels.few_rows import LinearTuning
from reference_node.kernels.lora_rows import RowTuning

LAYERS, ROWS = 4, 32
AGREE = 5e-3  # between two cuts: both round the same float32 sums, taken in another order, to bfloat16
# Overlapping candidates come last: they ask most of the driver.
LORA_CANDIDATES = tuple(
    RowTuning(block_in, block_out, warps, overlap)
    for overlap in (False, True)
    for block_in, block_out, warps in (
        (1024, 1024, 8), (1024, 512, 4), (512, 512, 4), (2048, 1024, 8), (1024, 256, 4), (512, 1024, 8),
    )
)  # fmt: skip
LINEAR_CANDIDATES = (
    None,
    LinearTuning(16, 256, 2, 5),
    LinearTuning(32, 256, 4, 4),
    LinearTuning(16, 512, 4, 4),
    LinearTuning(32, 128, 4, 6),
    LinearTuning(64, 128, 4, 4),
)
Save = Callable[[list[dict[str, Any]]], None]


def time_lora(plan: RigPlan, save: Save) -> None:
    """Time the LoRA candidates at 32 rows with an adapter each, saving after each."""
    calls = lora_calls(plan)

    def run(tuning: RowTuning) -> list[Tensor]:
        for call in calls:
            call[1].zero_()
        for call in calls:
            kernels.lora_add(*call, tuning=tuning)
        return [call[1] for call in calls]

    time_candidates(LORA_CANDIDATES, run, save)


def time_linear(plan: RigPlan, save: Save) -> None:
    """Time the linear candidates at one row, saving after each; tuning None is the library."""
    shapes = plan.config.projections()
    options = {"device": "cuda", "dtype": torch.bfloat16}
    pairs = []
    for _ in range(LAYERS):
        for names in GROUPS.values():
            out, inner = sum(shapes[name][0] for name in names), shapes[names[0]][1]
            pairs.append((torch.randn((1, inner), **options), torch.randn((out, inner), **options)))

    def run(tuning: LinearTuning | None) -> list[Tensor]:
        if tuning is None:
            return [torch.nn.functional.linear(x, w) for x, w in pairs]
        return [few_rows.linear(x, w, None, tuning) for x, w in pairs]

    time_candidates(LINEAR_CANDIDATES, run, save)


def time_candidates(candidates: Sequence[Any], run: Callable[[Any], list[Tensor]], save: Save) -> None:
    """Record each candidate as a graph and save its microseconds per layer and whether it is right."""
    results: list[dict[str, Any]] = []
    want = None
    for tuning in candidates:
        kept = None if tuning is None else asdict(tuning)
        row: dict[str, Any] = {"tuning": kept, "ok": False, "us_per_layer": None}
        try:
            elapsed, got = time_one(lambda t=tuning: run(t))
        except Exception as error:  # a candidate that does not run here is only not chosen
            row["error"] = repr(error)
        else:
            want = got if want is None else want
            row |= {"ok": relative_error(got, want) < AGREE, "us_per_layer": round(1e3 * elapsed / LAYERS, 3)}
        results.append(row)
        save(results)


def lora_calls(plan: RigPlan) -> list[tuple[Any, ...]]:
    """Return the arguments of `lora_add` for all groups of `LAYERS` layers, one adapter per row."""
    shapes = plan.config.projections()
    options = {"device": "cuda", "dtype": torch.bfloat16}
    slots = torch.arange(ROWS, dtype=torch.int32, device="cuda")[:, None].contiguous()
    weights = torch.ones((ROWS, 1), device="cuda")
    ranks = torch.full((ROWS,), RANK, dtype=torch.int32, device="cuda")
    calls = []
    for _ in range(LAYERS):
        for names in GROUPS.values():
            outs, width = [shapes[name][0] for name in names], shapes[names[0]][1]
            a = torch.randn((ROWS, len(names), RANK, width), **options) * width**-0.5
            b = [torch.randn((ROWS, out, RANK), **options) for out in outs]
            x, y = torch.randn((ROWS, width), **options), torch.empty((ROWS, sum(outs)), **options)
            calls.append((x, y, a, b, slots, weights, ranks))
    return calls


def time_one(run: Callable[[], list[Tensor]]) -> tuple[float, Tensor]:
    """Return milliseconds of a recorded run, and what it computed."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        run()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        results = run()
    graph.replay()
    torch.cuda.synchronize()
    got = torch.cat([result.flatten() for result in results])
    return median_ms(graph.replay, "cuda", repeats=40), got
