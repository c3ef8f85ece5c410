"""Triton kernels for prompts: tokens are sorted by adapter into tiles, and each tile multiplies on the matrix units.

A tile is up to `TILE` tokens that share one slot; padding entries are -1. `shrink_tiles` computes h = X A^T of a tile
for all parts, cut along `in` so that short prompts fill the card too; `expand_tiles` adds weight * h B^T. A token
occurs once per use, and each use is a launch of its own, so no two programs write the same place.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from reference_node.kernels.backend import interpreted
from reference_node.kernels.plan import TILE, Tiles

BLOCK_IN, CUT_IN, BLOCK_OUT = 64, 1024, 128


@triton.jit
def shrink_tiles(
    x, a, h, tile_slots, tile_rows, ranks, in_width, x_row, a_slot, a_part, a_rank,
    RANK_MAX: tl.constexpr, BLOCK_R: tl.constexpr, BLOCK_IN: tl.constexpr, CUT_IN: tl.constexpr,
    TILE: tl.constexpr, PRECISION: tl.constexpr, WIDEN: tl.constexpr,
):  # fmt: skip
    """Write h[tile, part, cut, :, :] (TILE, rank) = X[tile] @ A[slot, part]^T over one cut of `in`."""
    tile = tl.program_id(0).to(tl.int64)
    part = tl.program_id(1)
    cut = tl.program_id(2)
    slot = tl.load(tile_slots + tile).to(tl.int64)
    if slot < 0:
        return
    rank = tl.load(ranks + slot)
    lane = tl.arange(0, TILE)
    row = tl.load(tile_rows + tile * TILE + lane).to(tl.int64)
    matrix = a + slot * a_slot + part * a_part
    target = h + ((tile * tl.num_programs(1) + part) * tl.num_programs(2) + cut) * TILE * RANK_MAX
    for first in range(0, rank, BLOCK_R):
        r = first + tl.arange(0, BLOCK_R)
        total = tl.zeros((TILE, BLOCK_R), dtype=tl.float32)
        for start in range(0, CUT_IN, BLOCK_IN):
            column = cut * CUT_IN + start + tl.arange(0, BLOCK_IN)
            inside = column < in_width
            left = tl.load(
                x + row[:, None] * x_row + column[None, :],
                mask=(row >= 0)[:, None] & inside[None, :],
                other=0.0,
            )
            right = tl.load(
                matrix + column[:, None] + r[None, :] * a_rank,
                mask=inside[:, None] & (r < rank)[None, :],
                other=0.0,
            )
            if WIDEN:
                left = left.to(tl.float32)
                right = right.to(tl.float32)
            total = tl.dot(left, right, total, input_precision=PRECISION)
        tl.store(target + lane[:, None] * RANK_MAX + r[None, :], total, mask=(r < rank)[None, :])


@triton.jit
def expand_tiles(
    y, b, h, tile_slots, tile_rows, weights, ranks, width, part, parts, cuts, y_row, weights_row, b_row,
    RANK_MAX: tl.constexpr, BLOCK_R: tl.constexpr, BLOCK_OUT: tl.constexpr, TILE: tl.constexpr,
    PRECISION: tl.constexpr, WIDEN: tl.constexpr,
):  # fmt: skip
    """Add weight * h[tile] @ B[slot]^T to one slice of `out` of the tile's tokens."""
    tile = tl.program_id(0).to(tl.int64)
    slot = tl.load(tile_slots + tile).to(tl.int64)
    if slot < 0:
        return
    rank = tl.load(ranks + slot)
    lane = tl.arange(0, TILE)
    row = tl.load(tile_rows + tile * TILE + lane).to(tl.int64)
    used = row >= 0
    weight = tl.load(weights + row * weights_row, mask=used, other=0.0)
    n = tl.program_id(1) * BLOCK_OUT + tl.arange(0, BLOCK_OUT)
    matrix = b + slot * width * b_row
    source = h + (tile * parts + part) * cuts * TILE * RANK_MAX
    total = tl.zeros((TILE, BLOCK_OUT), dtype=tl.float32)
    for first in range(0, rank, BLOCK_R):
        r = first + tl.arange(0, BLOCK_R)
        hidden = tl.zeros((TILE, BLOCK_R), dtype=tl.float32)
        for cut in range(cuts):
            place = source + cut * TILE * RANK_MAX + lane[:, None] * RANK_MAX + r[None, :]
            hidden += tl.load(place, mask=(r < rank)[None, :], other=0.0)
        right = tl.load(
            matrix + r[:, None] + n[None, :].to(tl.int64) * b_row,
            mask=(r < RANK_MAX)[:, None] & (n < width)[None, :],
            other=0.0,
        )
        right = tl.where((r < rank)[:, None], right, 0.0).to(b.dtype.element_ty)
        left = (hidden * weight[:, None]).to(b.dtype.element_ty)
        if WIDEN:
            left = left.to(tl.float32)
            right = right.to(tl.float32)
        total = tl.dot(left, right, total, input_precision=PRECISION)
    place = y + row[:, None] * y_row + n[None, :]
    mask = used[:, None] & (n < width)[None, :]
    old = tl.load(place, mask=mask, other=0.0).to(tl.float32)
    tl.store(place, (old + total).to(y.dtype.element_ty), mask=mask)


def add_tiles(
    x: Tensor,
    y: Tensor,
    a: Tensor,
    b: Sequence[Tensor],
    weights: Tensor,
    ranks: Tensor,
    tiles: Sequence[Tiles],
) -> None:
    """Launch both kernels per use; arguments as `reference.lora_add`, slots taken from `tiles`."""
    (parts, rank_max), in_width = a.shape[1:3], a.shape[3]
    block_r, cuts = min(64, max(16, triton.next_power_of_2(rank_max))), triton.cdiv(in_width, CUT_IN)
    shared = {
        "RANK_MAX": rank_max,
        "BLOCK_R": block_r,
        "TILE": TILE,
        "PRECISION": "ieee",
        "WIDEN": interpreted(),
        "num_warps": 4,
    }
    for tile in tiles:
        count = tile.slots.shape[0]
        h = torch.empty((count, parts, cuts, TILE, rank_max), dtype=torch.float32, device=x.device)
        shrink_tiles[count, parts, cuts](
            x, a, h, tile.slots, tile.rows, ranks, in_width, x.stride(0), a.stride(0), a.stride(1), a.stride(2),
            BLOCK_IN=BLOCK_IN, CUT_IN=CUT_IN, **shared,
        )  # fmt: skip
        start = 0
        for part, matrix in enumerate(b):
            width = matrix.shape[1]
            expand_tiles[count, triton.cdiv(width, BLOCK_OUT)](
                y[:, start:], matrix, h, tile.slots, tile.rows, weights[:, tile.use], ranks, width, part, parts,
                cuts, y.stride(0), weights.stride(0), rank_max, BLOCK_OUT=BLOCK_OUT, **shared,
            )  # fmt: skip
            start += width
