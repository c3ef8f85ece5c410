"""Triton kernels of decode attention over paged keys and values, cut along the context (flash-decoding).

A program owns one (row, key head, cut): all query heads that share the key head, so that each key is read once. The
number of cuts depends on static shapes alone, and a cut's bounds follow from the row's length on the device, so the
launch can sit in a CUDA graph. `merge` joins the cuts by their running maxima; with one cut it is not launched.

Class estimated: 8B shape, 32 rows, context 512, bf16: 67 MB per layer, 16 us at 4.3 TB/s, in one or two launches.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from reference_node.kernels.backend import interpreted

TILE_BYTES = (
    64 * 128 * 2
)  # of one tile of keys; six of them (keys and values, three stages) fit the shared memory
CUTS_MAX = 32
# Programs wanted per launch: a few for each of some 130 multiprocessors (class estimated).
PROGRAMS = 512
LOG2_E = 1.4426950408889634


@triton.jit
def attend_cut(
    q, k, v, out, scores_max, scores_sum, tables, lengths, scale, window, q_row, q_head, table_row,
    kv_block, kv_token, kv_head, cuts,
    GROUP: tl.constexpr, LANES: tl.constexpr, SIZE: tl.constexpr, BLOCK_D: tl.constexpr,
    BLOCK_T: tl.constexpr, BLOCK_SIZE: tl.constexpr, PRECISION: tl.constexpr, WIDEN: tl.constexpr,
    ONE_CUT: tl.constexpr,
):  # fmt: skip
    """Attend from the GROUP query heads of one key head to one cut of the row's visible positions."""
    row = tl.program_id(0).to(tl.int64)
    head = tl.program_id(1)
    cut = tl.program_id(2)
    end = tl.load(lengths + row)
    begin = tl.maximum(end - window, 0)
    span = tl.cdiv(tl.cdiv(end - begin, cuts), BLOCK_T) * BLOCK_T
    first = begin + cut * span
    last = tl.minimum(first + span, end)
    lane = tl.arange(0, LANES)
    d = tl.arange(0, BLOCK_D)
    query = tl.load(
        q + row * q_row + (head * GROUP + lane)[:, None] * q_head + d[None, :],
        mask=(lane < GROUP)[:, None] & (d < SIZE)[None, :],
        other=0.0,
    )
    if WIDEN:
        query = query.to(tl.float32)
    largest = tl.full((LANES,), -1.0e30, dtype=tl.float32)
    total = tl.zeros((LANES,), dtype=tl.float32)
    mixed = tl.zeros((LANES, BLOCK_D), dtype=tl.float32)
    for start in range(first, last, BLOCK_T):
        t = start + tl.arange(0, BLOCK_T)
        seen = t < last
        block = tl.load(tables + row * table_row + t // BLOCK_SIZE, mask=seen, other=0).to(tl.int64)
        place = block * kv_block + (t % BLOCK_SIZE) * kv_token + head * kv_head
        wanted = seen[:, None] & (d < SIZE)[None, :]
        keys = tl.load(k + place[:, None] + d[None, :], mask=wanted, other=0.0)
        values = tl.load(v + place[:, None] + d[None, :], mask=wanted, other=0.0)
        if WIDEN:
            keys = keys.to(tl.float32)
        scores = tl.dot(query, tl.trans(keys), input_precision=PRECISION) * scale
        scores = tl.where(seen[None, :], scores, -1.0e30)
        now = tl.maximum(largest, tl.max(scores, axis=1))
        shrunk = tl.exp2(largest - now)
        share = tl.where(seen[None, :], tl.exp2(scores - now[:, None]), 0.0)
        total = total * shrunk + tl.sum(share, axis=1)
        mixed = mixed * shrunk[:, None]
        share = share.to(values.dtype)
        if WIDEN:
            share = share.to(tl.float32)
            values = values.to(tl.float32)
        mixed = tl.dot(share, values, mixed, input_precision=PRECISION)
        largest = now
    heads = tl.num_programs(1) * GROUP
    mask = (lane < GROUP)[:, None] & (d < SIZE)[None, :]
    index = row * heads + head * GROUP + lane
    if ONE_CUT:
        final = mixed / tl.where(total > 0.0, total, 1.0)[:, None]
        tl.store(out + index[:, None] * SIZE + d[None, :], final.to(out.dtype.element_ty), mask=mask)
    else:
        index = index * cuts + cut
        tl.store(out + index[:, None] * SIZE + d[None, :], mixed, mask=mask)
        tl.store(scores_max + index, largest, mask=lane < GROUP)
        tl.store(scores_sum + index, total, mask=lane < GROUP)


@triton.jit
def merge(
    parts, scores_max, scores_sum, out,
    CUTS: tl.constexpr, SIZE: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    """Join the cuts of one (row, query head)."""
    index = tl.program_id(0).to(tl.int64)
    cut = tl.arange(0, CUTS)
    d = tl.arange(0, BLOCK_D)
    largest = tl.load(scores_max + index * CUTS + cut)
    factor = tl.exp2(largest - tl.max(largest, axis=0))
    total = tl.sum(tl.load(scores_sum + index * CUTS + cut) * factor, axis=0)
    values = tl.load(
        parts + (index * CUTS + cut)[:, None] * SIZE + d[None, :], mask=(d < SIZE)[None, :], other=0.0
    )
    mixed = tl.sum(values * factor[:, None], axis=0) / tl.where(total > 0.0, total, 1.0)
    tl.store(out + index * SIZE + d, mixed.to(out.dtype.element_ty), mask=d < SIZE)


def cuts_of(rows: int, kv_heads: int) -> int:
    """Return into how many cuts (a power of two) a launch divides each row's context."""
    cuts = 1
    while cuts < CUTS_MAX and 2 * cuts * rows * kv_heads <= PROGRAMS:
        cuts *= 2
    return cuts


def attend(
    q: Tensor,
    k_layer: Tensor,
    v_layer: Tensor,
    block_tables: Tensor,
    context_lens: Tensor,
    scale: float,
    window: int | None,
) -> Tensor:
    """Launch `attend_cut` and, with several cuts, `merge`; arguments as `reference.paged_decode`."""
    rows, heads, size = q.shape
    kv_heads = k_layer.shape[2]
    group, cuts = heads // kv_heads, cuts_of(rows, kv_heads)
    out = torch.empty((rows, heads, size), dtype=q.dtype, device=q.device)
    parts = out if cuts == 1 else q.new_empty((rows, heads, cuts, size), dtype=torch.float32)
    sums = q.new_empty((2, rows, heads, cuts), dtype=torch.float32)
    block_d = max(16, triton.next_power_of_2(size))
    block_t = max(16, min(64, TILE_BYTES // (block_d * q.element_size())))
    attend_cut[rows, kv_heads, cuts](
        q, k_layer, v_layer, parts, sums[0], sums[1], block_tables, context_lens, scale * LOG2_E,
        (1 << 30) if window is None else window, q.stride(0), q.stride(1), block_tables.stride(0),
        k_layer.stride(0), k_layer.stride(1), k_layer.stride(2), cuts,
        GROUP=group, LANES=max(16, triton.next_power_of_2(group)), SIZE=size, BLOCK_D=block_d,
        BLOCK_T=block_t, BLOCK_SIZE=k_layer.shape[1], PRECISION="ieee", WIDEN=interpreted(), ONE_CUT=cuts == 1,
        num_warps=4, num_stages=3,
    )  # fmt: skip
    if cuts > 1:
        merge[(rows * heads,)](
            parts, sums[0], sums[1], out, CUTS=cuts, SIZE=size, BLOCK_D=block_d, num_warps=4
        )
    return out
