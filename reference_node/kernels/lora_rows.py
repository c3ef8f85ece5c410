"""Triton kernels for decode: every token row reads the matrices of its own adapters, in two launches per group.

`shrink` computes h = A x for all parts of a group (q, k, v), each program one (token, part, slice of `in`); its partial
sums go to a float32 scratch, one entry per slice, so that nothing is zeroed or added atomically and a row's result
does not depend on the other rows. `expand` adds weight * B h to all parts, each program one (token, slice of `out`).
Slot -1 ends a program at once, and the loop over the rank stops at the slot's true rank.

Class estimated: 8B shape, 32 rows, 32 distinct adapters of rank 16, bf16. A layer reads 84 MB of adapter matrices in
8 launches (4 groups x 2), 20 us at 4.3 TB/s; a step has 256 such launches and 2.68 GB, 0.62 ms of a base step near
5 ms. So each launch may cost about 1 us beside its bytes if the step is to stay above 0.85 of the base, and that is
why parts are fused and why `overlap` exists: `expand` is launched while `shrink` still runs (programmatic dependent
launch, compute capability 9.0) and fetches its tile of B, which depends on nothing, before it waits for h. One
program moves 32 KB, so that 128 to 900 programs hold 4 MB or more in flight, what the card's latency asks for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.language.extra.cuda import gdc_launch_dependents, gdc_wait


@dataclass(frozen=True, slots=True)
class RowTuning:
    """How the decode kernels are cut.

    Parameters
    ----------
    block_in, block_out
        Elements of `in` and `out` that one program handles, powers of two.
    warps
        Warps per program.
    overlap
        Launch `expand` while `shrink` runs; needs compute capability 9.0.
    """

    block_in: int = 1024
    block_out: int = 1024
    warps: int = 8
    overlap: bool = False


_chosen = RowTuning()


def choose(tuning: RowTuning) -> None:
    """Cut the kernels like this from now on; graphs recorded before keep theirs."""
    global _chosen
    _chosen = tuning


@triton.jit
def _dot_block(matrix, a_rank, column, inside, value, first, RANK_MAX: tl.constexpr, BLOCK_R: tl.constexpr):
    r = first + tl.arange(0, BLOCK_R)
    tile = tl.load(
        matrix + r[:, None] * a_rank + column[None, :],
        mask=(r < RANK_MAX)[:, None] & inside[None, :],
        other=0.0,
    )
    return tl.sum(tile.to(tl.float32) * value[None, :], axis=1)


@triton.jit
def shrink(
    x, a, h, slots, ranks, in_width, x_row, a_slot, a_part, a_rank,
    USES: tl.constexpr, RANK_MAX: tl.constexpr, BLOCK_R: tl.constexpr, BLOCK_IN: tl.constexpr,
    OVERLAP: tl.constexpr,
):  # fmt: skip
    """Write h[token, use, part, slice, :] = A[slot, part] @ x[token], summed over one slice of `in`."""
    if OVERLAP:
        gdc_launch_dependents()
    token = tl.program_id(0).to(tl.int64)
    use = tl.program_id(1) % USES
    part = tl.program_id(1) // USES
    cut = tl.program_id(2)
    slot = tl.load(slots + token * USES + use).to(tl.int64)
    if slot < 0:
        return
    rank = tl.load(ranks + slot)
    column = cut * BLOCK_IN + tl.arange(0, BLOCK_IN)
    inside = column < in_width
    value = tl.load(x + token * x_row + column, mask=inside, other=0.0).to(tl.float32)
    matrix = a + slot * a_slot + part * a_part
    parts = tl.num_programs(1) // USES
    target = h + (((token * USES + use) * parts + part) * tl.num_programs(2) + cut) * RANK_MAX
    r = tl.arange(0, BLOCK_R)
    # The first block is loaded before the true rank is known: one wait for memory less on every launch.
    total = _dot_block(matrix, a_rank, column, inside, value, 0, RANK_MAX, BLOCK_R)
    tl.store(target + r, total, mask=r < rank)
    if RANK_MAX > BLOCK_R:
        for first in range(BLOCK_R, rank, BLOCK_R):
            total = _dot_block(matrix, a_rank, column, inside, value, first, RANK_MAX, BLOCK_R)
            tl.store(target + first + r, total, mask=first + r < rank)


@triton.jit
def _grow_block(
    matrix, b_row, n, inside, h_use, cuts, rank, weight, first,
    RANK_MAX: tl.constexpr, BLOCK_R: tl.constexpr, CUTS: tl.constexpr, OVERLAP: tl.constexpr,
):  # fmt: skip
    r = first + tl.arange(0, BLOCK_R)
    # Masked by the storage and not by the true rank: a mask that the compiler cannot prove aligned would turn 16-byte
    # loads into 2-byte ones. What lies above the true rank is dropped after the load.
    tile = tl.load(
        matrix + n[:, None].to(tl.int64) * b_row + r[None, :],
        mask=inside[:, None] & (r < RANK_MAX)[None, :],
        other=0.0,
    )
    if OVERLAP:
        gdc_wait()
    cut = tl.arange(0, CUTS)
    partial = tl.load(
        h_use + cut[:, None] * RANK_MAX + r[None, :],
        mask=(cut < cuts)[:, None] & (r < rank)[None, :],
        other=0.0,
    )
    hidden = tl.sum(partial, axis=0) * weight
    wide = tl.where((r < rank)[None, :], tile.to(tl.float32), 0.0)
    return tl.sum(wide * hidden[None, :], axis=1)


@triton.jit
def _expand_part(
    y, b, h, slots, weights, ranks, block, width, b_row, cuts, use_stride,
    USES: tl.constexpr, RANK_MAX: tl.constexpr, BLOCK_R: tl.constexpr, BLOCK_OUT: tl.constexpr,
    CUTS: tl.constexpr, OVERLAP: tl.constexpr,
):  # fmt: skip
    n = block * BLOCK_OUT + tl.arange(0, BLOCK_OUT)
    inside = n < width
    total = tl.load(y + n, mask=inside, other=0.0).to(tl.float32)
    for use in tl.static_range(USES):
        slot = tl.load(slots + use).to(tl.int64)
        if slot >= 0:
            rank = tl.load(ranks + slot)
            weight = tl.load(weights + use)
            matrix = b + slot * width * b_row
            h_use = h + use * use_stride
            total += _grow_block(
                matrix, b_row, n, inside, h_use, cuts, rank, weight, 0, RANK_MAX, BLOCK_R, CUTS, OVERLAP
            )
            if RANK_MAX > BLOCK_R:
                for first in range(BLOCK_R, rank, BLOCK_R):
                    total += _grow_block(
                        matrix, b_row, n, inside, h_use, cuts, rank, weight, first,
                        RANK_MAX, BLOCK_R, CUTS, OVERLAP,
                    )  # fmt: skip
    tl.store(y + n, total.to(y.dtype.element_ty), mask=inside)


@triton.jit
def expand(
    y, b0, b1, b2, h, slots, weights, ranks, y_row, width0, width1, width2, b_row, cuts,
    PARTS: tl.constexpr, USES: tl.constexpr, RANK_MAX: tl.constexpr, BLOCK_R: tl.constexpr,
    BLOCK_OUT: tl.constexpr, CUTS: tl.constexpr, OVERLAP: tl.constexpr,
):  # fmt: skip
    """Add sum over uses of weight * B[slot] @ h to one slice of `out` of one token."""
    token = tl.program_id(0).to(tl.int64)
    block = tl.program_id(1)
    slots += token * USES
    weights += token * USES
    highest = -1
    for use in tl.static_range(USES):
        highest = tl.maximum(highest, tl.load(slots + use))
    if highest < 0:
        return  # the row keeps its bits: adding zero would turn -0 into 0
    h_part = cuts * RANK_MAX
    use_stride = PARTS * h_part
    h += token * USES * use_stride
    y += token * y_row
    blocks0 = tl.cdiv(width0, BLOCK_OUT)
    blocks1 = tl.cdiv(width1, BLOCK_OUT)
    if block < blocks0:
        _expand_part(
            y, b0, h, slots, weights, ranks, block, width0, b_row, cuts, use_stride,
            USES, RANK_MAX, BLOCK_R, BLOCK_OUT, CUTS, OVERLAP,
        )  # fmt: skip
    elif block < blocks0 + blocks1:
        _expand_part(
            y + width0, b1, h + h_part, slots, weights, ranks, block - blocks0, width1,
            b_row, cuts, use_stride,
            USES, RANK_MAX, BLOCK_R, BLOCK_OUT, CUTS, OVERLAP,
        )  # fmt: skip
    else:
        _expand_part(
            y + width0 + width1, b2, h + 2 * h_part, slots, weights, ranks, block - blocks0 - blocks1, width2,
            b_row, cuts, use_stride,
            USES, RANK_MAX, BLOCK_R, BLOCK_OUT, CUTS, OVERLAP,
        )  # fmt: skip


def scratch_shape(
    tokens: int, uses: int, parts: int, in_width: int, rank_max: int, tuning: RowTuning
) -> tuple[int, ...]:
    """Return the shape of the float32 scratch (tokens, uses, parts, slices, rank) between the two launches."""
    return tokens, uses, parts, triton.cdiv(in_width, tuning.block_in), rank_max


def add_rows(
    x: Tensor,
    y: Tensor,
    a: Tensor,
    b: Sequence[Tensor],
    slots: Tensor,
    weights: Tensor,
    ranks: Tensor,
    tuning: RowTuning | None = None,
) -> None:
    """Launch `shrink` and `expand`; arguments as `reference.lora_add`, at most three parts."""
    tuning = tuning or _chosen
    (tokens, uses), (parts, rank_max), in_width = slots.shape, a.shape[1:3], a.shape[3]
    shape = scratch_shape(tokens, uses, parts, in_width, rank_max, tuning)
    cuts, block_r = shape[3], min(16, triton.next_power_of_2(rank_max))
    h = torch.empty(shape, dtype=torch.float32, device=x.device)
    shrink[tokens, parts * uses, cuts](
        x, a, h, slots, ranks, in_width, x.stride(0), a.stride(0), a.stride(1), a.stride(2),
        USES=uses, RANK_MAX=rank_max, BLOCK_R=block_r, BLOCK_IN=tuning.block_in, OVERLAP=tuning.overlap,
        num_warps=tuning.warps,
    )  # fmt: skip
    widths = [matrix.shape[1] for matrix in b] + [0] * (3 - parts)
    matrices = [*b, *[b[0]] * (3 - parts)]
    pdl = {"launch_pdl": True} if tuning.overlap else {}
    expand[tokens, sum(triton.cdiv(width, tuning.block_out) for width in widths)](
        y, *matrices, h, slots, weights, ranks, y.stride(0), *widths, rank_max, cuts,
        PARTS=parts, USES=uses, RANK_MAX=rank_max, BLOCK_R=block_r, BLOCK_OUT=tuning.block_out,
        CUTS=triton.next_power_of_2(cuts), OVERLAP=tuning.overlap, num_warps=tuning.warps, **pdl,
    )  # fmt: skip
