"""Are the kernels and the recorded steps right on this device: seeded cases in short form, without a test runner."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from reference_node.bench.accelerator_rig import PLANS, Rig, Rows
from reference_node.graphs import DecodeGraphs
from reference_node.kernels import check


def kernel_errors(device: str) -> list[dict[str, Any]]:
    """Return each case's error and whether it is within the limit of its dtype."""
    dtypes = (torch.float32, torch.bfloat16)
    count = 8 if device == "cuda" else 4
    wide = check.LoraCase(900, 32, 4096, (4096, 1024, 1024), 16, (16,) * 32, "distinct", dtype=torch.bfloat16)
    calls: list[tuple[str, torch.dtype, Callable[[], float]]] = []
    for dtype in dtypes:
        for seed in range(count):
            case, rows = check.random_lora_case(seed, dtype), check.random_attend_case(seed, dtype)
            calls += [
                (f"lora rows {seed}", dtype, lambda c=case: check.lora_error(c, device)),
                (f"lora tiles {seed}", dtype, lambda c=case: check.lora_error(c, device, tiled=True)),
                (f"attention {seed}", dtype, lambda c=rows: check.attend_error(c, device)),
            ]
            for name in ("add_rms", "rope_store", "silu_mul"):
                call = lambda n=name, s=seed, d=dtype: check.fused_error(n, s, d, device)  # noqa: E731
                calls.append((f"{name} {seed}", dtype, call))
    calls.append(("graphs against direct steps", torch.bfloat16, lambda: graph_error(device)))
    if device == "cuda":
        calls += [
            *(
                (f"linear {s}", d, lambda s=s, d=d: check.linear_error(s, d, device))
                for d in dtypes
                for s in range(4)
            ),
            ("lora rows at the 8B width", torch.bfloat16, lambda: check.lora_error(wide, device)),
            (
                "lora tiles at the 8B width",
                torch.bfloat16,
                lambda: check.lora_error(wide, device, tiled=True),
            ),
        ]
    return [judge(name, dtype, call) for name, dtype, call in calls]


def judge(name: str, dtype: torch.dtype, call: Callable[[], float]) -> dict[str, Any]:
    """Run one comparison; an exception is a failed case, not the end of the section."""
    try:
        error = call()
    except Exception as failure:  # the other cases are wanted whatever this one raised
        return {"case": name, "dtype": str(dtype), "error": repr(failure), "ok": False}
    return {"case": name, "dtype": str(dtype), "error": error, "ok": error < check.LIMITS[dtype]}


def graph_error(device: str) -> float:
    """Return the largest difference between recorded and direct steps of a small model, relative to the logits."""
    rig = Rig(PLANS["tiny"], device, slots=8, rows=8, filled=True)
    direct = DecodeGraphs(rig.model, rig.kv, rig.pool, batch_max=8, length_max=49, record=False)
    worst = 0.0
    for batch in (1, 3, 8):
        single: Rows = [((row % 8, 1.0),) if row != 1 else () for row in range(batch)]
        ensemble: Rows = [((row % 8, 0.5), ((row + 1) % 8, 2.0)) for row in range(batch)]
        for adapters in ([], single, ensemble):
            call = (list(range(batch)), [47] * batch, rig.blocks[:batch], adapters)
            recorded = rig.graphs.decode(*call).clone()
            worst = max(worst, check.relative_error(recorded, direct.decode(*call)))
    return worst
