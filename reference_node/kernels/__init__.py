"""Kernels of the node: which implementation of an operation runs where.

Triton on CUDA tensors, and on any tensor when its interpreter is on (`TRITON_INTERPRET=1`, set before the first call);
the plain torch version of `reference` wherever Triton is not installed or the shapes are beyond the kernels. Triton is
imported at the first call and never at import time, since torch's CPU builds bring none.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from reference_node.kernels import reference
from reference_node.kernels.backend import find_triton, runs_triton
from reference_node.kernels.plan import SHARED_MIN, TILE, Tiles, make_tiles, plan_tiles

if TYPE_CHECKING:
    from reference_node.kernels.lora_rows import RowTuning

__all__ = [
    "SHARED_MIN",
    "TILE",
    "Tiles",
    "add_rms",
    "find_triton",
    "linear",
    "lora_add",
    "make_tiles",
    "paged_decode",
    "plan_tiles",
    "rope_store",
    "runs_triton",
    "silu_mul",
]

PARTS_MAX = 3


def lora_add(
    x: Tensor,
    y: Tensor,
    a: Tensor,
    b: Sequence[Tensor],
    slots: Tensor,
    weights: Tensor,
    ranks: Tensor,
    *,
    tiles: Sequence[Tiles] | None = None,
    tuning: RowTuning | None = None,
) -> None:
    """Add every row's low-rank updates of `x` to `y`, in place; arguments as `reference.lora_add`.

    Parameters
    ----------
    tiles
        From `plan_tiles` on the same slots, for prompts; None goes row by row, which suits decode and CUDA graphs.
    tuning
        How the row kernels are cut; None for the one chosen last, see `lora_rows.choose`.
    """
    if x.shape[0] == 0:
        return
    if not runs_triton(x) or len(b) > PARTS_MAX or x.dtype != a.dtype:
        reference.lora_add(x, y, a, b, slots, weights, ranks)
        return
    assert a.is_contiguous()
    assert all(matrix.is_contiguous() for matrix in b)
    assert x.stride(1) == y.stride(1) == 1
    assert slots.is_contiguous()
    assert weights.is_contiguous()
    if tiles is None:
        from reference_node.kernels.lora_rows import add_rows

        add_rows(x, y, a, b, slots, weights, ranks, tuning)
        return
    from reference_node.kernels.lora_tiles import add_tiles

    add_tiles(x, y, a, b, weights, ranks, tiles)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return x @ weight.T + bias (rows, out); by Triton for few rows where that was chosen, see `few_rows.choose`."""
    if not runs_triton(x) or not x.shape[0]:
        return torch.nn.functional.linear(x, weight, bias)
    from reference_node.kernels import few_rows

    return few_rows.linear(x, weight, bias)


def paged_decode(
    q: Tensor,
    k_layer: Tensor,
    v_layer: Tensor,
    block_tables: Tensor,
    context_lens: Tensor,
    scale: float,
    window: int | None = None,
) -> Tensor:
    """Attend from each row's newest query to its paged keys and values; as `reference.paged_decode`."""
    if q.shape[0] == 0 or not runs_triton(q):
        return reference.paged_decode(q, k_layer, v_layer, block_tables, context_lens, scale, window)
    from reference_node.kernels.attention import attend

    return attend(q, k_layer, v_layer, block_tables, context_lens, scale, window)


def add_rms(x: Tensor, delta: Tensor | None, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Return (x + delta, its RMS norm); as `reference.add_rms`."""
    module = _fused_module() if runs_triton(x) and x.shape[0] else reference
    return module.add_rms(x, delta, weight, eps)


def rope_store(
    qkv: Tensor,
    cos: Tensor,
    sin: Tensor,
    positions: Tensor,
    k_layer: Tensor,
    v_layer: Tensor,
    slot_mapping: Tensor,
) -> Tensor:
    """Rotate, write keys and values to the cache, return the queries; as `reference.rope_store`."""
    module = _fused_module() if runs_triton(qkv) and qkv.shape[0] else reference
    return module.rope_store(qkv, cos, sin, positions, k_layer, v_layer, slot_mapping)


def silu_mul(gate_up: Tensor) -> Tensor:
    """Return silu(gate) * up; as `reference.silu_mul`."""
    module = _fused_module() if runs_triton(gate_up) and gate_up.shape[0] else reference
    return module.silu_mul(gate_up)


def _fused_module() -> ModuleType:
    from reference_node.kernels import fused

    return fused
