"""Triton kernels for what lies between the matrix products of a decode step: norm, rotation, gate.

Written op by op in torch these are about 40 launches a layer; at 2 us each inside a CUDA graph that is 2.5 ms of a
step whose streamed bytes take 3.5 ms (8B shape, one row; class estimated). Here they are four. Each rounds where the
torch version rounds, so that both paths choose the same tokens up to the order of float32 sums.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK_GATE = 1024


@triton.jit
def add_rms_row(
    x, delta, weight, total, normed, width, x_row, delta_row, eps,
    HAS_DELTA: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write x + delta and its RMS norm for one row."""
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK)
    inside = column < width
    value = tl.load(x + row * x_row + column, mask=inside, other=0.0)
    kind = value.dtype
    if HAS_DELTA:
        more = tl.load(delta + row * delta_row + column, mask=inside, other=0.0)
        value = (value.to(tl.float32) + more.to(tl.float32)).to(kind)
        tl.store(total + row * width + column, value, mask=inside)
    wide = value.to(tl.float32)
    scale = tl.rsqrt(tl.sum(wide * wide, axis=0) / width + eps)
    scaled = (wide * scale).to(kind).to(tl.float32)
    gain = tl.load(weight + column, mask=inside, other=0.0).to(tl.float32)
    tl.store(normed + row * width + column, (gain * scaled).to(kind), mask=inside)


@triton.jit
def rope_store_head(
    qkv, cos, sin, positions, q, k, v, mapping, heads, kv_heads, qkv_row, table_row, kv_token, kv_head,
    SIZE: tl.constexpr, HALF: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Rotate one head of one token; a query goes to `q`, a key and its value to the cache."""
    token = tl.program_id(0).to(tl.int64)
    head = tl.program_id(1)
    d = tl.arange(0, BLOCK)
    inside = d < HALF
    source = qkv + token * qkv_row + head * SIZE
    low = tl.load(source + d, mask=inside, other=0.0).to(tl.float32)
    high = tl.load(source + HALF + d, mask=inside, other=0.0).to(tl.float32)
    angle = tl.load(positions + token).to(tl.int64) * table_row + d
    cos_low = tl.load(cos + angle, mask=inside, other=0.0)
    cos_high = tl.load(cos + angle + HALF, mask=inside, other=0.0)
    sin_low = tl.load(sin + angle, mask=inside, other=0.0)
    sin_high = tl.load(sin + angle + HALF, mask=inside, other=0.0)
    first = low * cos_low - high * sin_low
    second = high * cos_high + low * sin_high
    if head < heads:
        target = q + (token * heads + head) * SIZE + d
        tl.store(target, first.to(q.dtype.element_ty), mask=inside)
        tl.store(target + HALF, second.to(q.dtype.element_ty), mask=inside)
    else:
        place = tl.load(mapping + token).to(tl.int64) * kv_token + (head - heads) * kv_head + d
        tl.store(k + place, first.to(k.dtype.element_ty), mask=inside)
        tl.store(k + place + HALF, second.to(k.dtype.element_ty), mask=inside)
        value = source + kv_heads * SIZE + d
        tl.store(v + place, tl.load(value, mask=inside, other=0.0), mask=inside)
        tl.store(v + place + HALF, tl.load(value + HALF, mask=inside, other=0.0), mask=inside)


@triton.jit
def silu_mul_block(gate_up, out, inner, row_stride, BLOCK: tl.constexpr):
    """Write silu(gate) * up for one slice of one row."""
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = column < inner
    gate = tl.load(gate_up + row * row_stride + column, mask=inside, other=0.0)
    up = tl.load(gate_up + row * row_stride + inner + column, mask=inside, other=0.0)
    wide = gate.to(tl.float32)
    gated = (wide / (1.0 + tl.exp(-wide))).to(gate.dtype).to(tl.float32)
    tl.store(out + row * inner + column, (gated * up.to(tl.float32)).to(gate.dtype), mask=inside)


def add_rms(x: Tensor, delta: Tensor | None, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Launch `add_rms_row`; as `reference.add_rms`."""
    tokens, width = x.shape
    total = x if delta is None else torch.empty_like(x, memory_format=torch.contiguous_format)
    normed = torch.empty((tokens, width), dtype=x.dtype, device=x.device)
    other = x if delta is None else delta
    block = triton.next_power_of_2(width)
    add_rms_row[(tokens,)](
        x, other, weight, total, normed, width, x.stride(0), other.stride(0), eps,
        HAS_DELTA=delta is not None, BLOCK=block, num_warps=8 if block >= 2048 else 4,
    )  # fmt: skip
    return total, normed


def rope_store(
    qkv: Tensor,
    cos: Tensor,
    sin: Tensor,
    positions: Tensor,
    k_layer: Tensor,
    v_layer: Tensor,
    slot_mapping: Tensor,
) -> Tensor:
    """Launch `rope_store_head`; as `reference.rope_store`."""
    kv_heads, size = k_layer.shape[2:]
    heads = qkv.shape[1] // size - 2 * kv_heads
    q = torch.empty((qkv.shape[0], heads, size), dtype=qkv.dtype, device=qkv.device)
    rope_store_head[qkv.shape[0], heads + kv_heads](
        qkv, cos, sin, positions, q, k_layer, v_layer, slot_mapping, heads, kv_heads, qkv.stride(0),
        cos.stride(0), k_layer.stride(1), k_layer.stride(2),
        SIZE=size, HALF=size // 2, BLOCK=triton.next_power_of_2(size // 2), num_warps=1,
    )  # fmt: skip
    return q


def silu_mul(gate_up: Tensor) -> Tensor:
    """Launch `silu_mul_block`; as `reference.silu_mul`."""
    tokens, inner = gate_up.shape[0], gate_up.shape[1] // 2
    out = torch.empty((tokens, inner), dtype=gate_up.dtype, device=gate_up.device)
    silu_mul_block[tokens, triton.cdiv(inner, BLOCK_GATE)](
        gate_up, out, inner, gate_up.stride(0), BLOCK=BLOCK_GATE, num_warps=4
    )
    return out
