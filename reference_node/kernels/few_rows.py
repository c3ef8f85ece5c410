"""A linear layer for one to sixteen rows: streams each weight once, with enough of it in flight.

At one row a step is the time to read the weights (15.0 GB at the 8B shape, 3.5 ms at 4.3 TB/s), and what a library's
matrix product reaches there differs by shape and version. This kernel is therefore off until it was measured faster on
the device at hand (`choose`); the accelerator bench measures it. Rows are padded to the sixteen of one matrix
instruction; each program owns `block_n` outputs and walks the whole input, so results do not depend on the batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

from reference_node.kernels.backend import interpreted

ROWS_MAX = 16


@dataclass(frozen=True, slots=True)
class LinearTuning:
    """How the kernel is cut: outputs and inputs of a tile, warps, tiles in flight, rows up to which it is used."""

    block_n: int = 32
    block_k: int = 256
    warps: int = 4
    stages: int = 4
    rows_max: int = 1


_chosen: LinearTuning | None = None


def choose(tuning: LinearTuning | None) -> None:
    """Use the kernel like this from now on, or with None the library; graphs recorded before keep theirs."""
    global _chosen
    _chosen = tuning


@triton.jit
def linear_rows(
    x, w, bias, y, rows, width, inner, x_row, w_row,
    HAS_BIAS: tl.constexpr, ROWS: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
    PRECISION: tl.constexpr, WIDEN: tl.constexpr,
):  # fmt: skip
    """Write y[:, block] = x @ w[block].T + bias[block]."""
    m = tl.arange(0, ROWS)
    n = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    total = tl.zeros((ROWS, BLOCK_N), dtype=tl.float32)
    for start in range(0, inner, BLOCK_K):
        k = start + tl.arange(0, BLOCK_K)
        inside = k < inner
        left = tl.load(
            x + m[:, None] * x_row + k[None, :], mask=(m < rows)[:, None] & inside[None, :], other=0.0
        )
        right = tl.load(
            w + n[None, :].to(tl.int64) * w_row + k[:, None],
            mask=(n < width)[None, :] & inside[:, None],
            other=0.0,
        )
        if WIDEN:
            left = left.to(tl.float32)
            right = right.to(tl.float32)
        total = tl.dot(left, right, total, input_precision=PRECISION)
    if HAS_BIAS:
        total += tl.load(bias + n, mask=n < width, other=0.0).to(tl.float32)[None, :]
    place = y + m[:, None] * width + n[None, :]
    tl.store(place, total.to(y.dtype.element_ty), mask=(m < rows)[:, None] & (n < width)[None, :])


def linear(x: Tensor, w: Tensor, bias: Tensor | None, tuning: LinearTuning | None = None) -> Tensor:
    """Return x @ w.T + bias by the kernel where it was chosen for so many rows, else by torch."""
    tuning = tuning or _chosen
    if tuning is None or x.shape[0] > min(tuning.rows_max, ROWS_MAX):
        return torch.nn.functional.linear(x, w, bias)
    (rows, inner), width = x.shape, w.shape[0]
    y = torch.empty((rows, width), dtype=x.dtype, device=x.device)
    linear_rows[(triton.cdiv(width, tuning.block_n),)](
        x, w, x if bias is None else bias, y, rows, width, inner, x.stride(0), w.stride(0),
        HAS_BIAS=bias is not None, ROWS=ROWS_MAX, BLOCK_N=tuning.block_n, BLOCK_K=tuning.block_k,
        PRECISION="ieee", WIDEN=interpreted(), num_warps=tuning.warps, num_stages=tuning.stages,
    )  # fmt: skip
    return y
