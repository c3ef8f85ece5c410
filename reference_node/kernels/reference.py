"""What the kernels compute, written in plain torch: the yardstick of their tests and the fallback without Triton.

Nothing here is fast. Every row is computed on its own, in float32, so that a reader can check it against the formula:
`y[t] += sum over uses u of weights[t, u] * B[slot] @ (A[slot] @ x[t])`, and for attention
`softmax(scale * q K^T) V` over the positions that the row may see.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def lora_add(
    x: Tensor, y: Tensor, a: Tensor, b: Sequence[Tensor], slots: Tensor, weights: Tensor, ranks: Tensor
) -> None:
    """Add every row's low-rank updates of `x` to `y`, in place.

    Parameters
    ----------
    x : (tokens, in)
    y : (tokens, out), out being the sum of the parts' widths
    a : (slots, parts, rank, in)
    b : one (slots, out of the part, rank) per part
    slots : int32 (tokens, uses), -1 for none
    weights : float32 (tokens, uses)
    ranks : int32 (slots,), the true rank of each slot's adapter
    """
    chosen, shares, true_ranks = slots.tolist(), weights.tolist(), ranks.tolist()
    for token, (row_slots, row_weights) in enumerate(zip(chosen, shares, strict=True)):
        uses = [(slot, weight) for slot, weight in zip(row_slots, row_weights, strict=True) if slot >= 0]
        if uses:
            total = sum(weight * _update(x[token], a, b, slot, true_ranks[slot]) for slot, weight in uses)
            y[token] = (y[token].float() + total).to(y.dtype)


def _update(x: Tensor, a: Tensor, b: Sequence[Tensor], slot: int, rank: int) -> Tensor:
    hidden = a[slot, :, :rank].float() @ x.float()
    return torch.cat([matrix[slot, :, :rank].float() @ hidden[part] for part, matrix in enumerate(b)])


def paged_decode(
    q: Tensor,
    k_layer: Tensor,
    v_layer: Tensor,
    block_tables: Tensor,
    context_lens: Tensor,
    scale: float,
    window: int | None,
) -> Tensor:
    """Attend from each row's newest query to the keys and values that its block table names.

    Parameters
    ----------
    q : (rows, H, D)
    k_layer, v_layer : (blocks, block_size, K, D); query head h reads key head h // (H // K)
    block_tables : int32 (rows, blocks of the longest row)
    context_lens : int32 (rows,), visible tokens, the newest included; a row of 0 gives zeros
    scale : factor of the scores, usually D ** -0.5
    window : visible tokens at most, None for all

    Returns
    -------
    Tensor (rows, H, D), dtype of `q`
    """
    out = torch.zeros_like(q)
    heads_per_key = q.shape[1] // k_layer.shape[2]
    for row, length in enumerate(context_lens.tolist()):
        if length == 0:
            continue
        first = 0 if window is None else max(0, length - window)
        blocks = block_tables[row, : -(-length // k_layer.shape[1])].long()
        keys, values = (store[blocks].flatten(0, 1)[first:length].float() for store in (k_layer, v_layer))
        keys, values = (part.repeat_interleave(heads_per_key, dim=1) for part in (keys, values))
        scores = scale * torch.einsum("hd,thd->ht", q[row].float(), keys)
        out[row] = torch.einsum("ht,thd->hd", scores.softmax(dim=-1), values).to(q.dtype)
    return out


def add_rms(x: Tensor, delta: Tensor | None, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Return (x + delta, its RMS norm times `weight`); both (tokens, hidden) in the dtype of `x`."""
    total = x if delta is None else x + delta
    wide = total.float()
    return total, weight * (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + eps)).to(x.dtype)


def rope_store(
    qkv: Tensor,
    cos: Tensor,
    sin: Tensor,
    positions: Tensor,
    k_layer: Tensor,
    v_layer: Tensor,
    slot_mapping: Tensor,
) -> Tensor:
    """Rotate queries and keys (half-split layout), write keys and values to the cache, return the queries.

    Parameters
    ----------
    qkv : (tokens, (H + 2 K) * D)
    cos, sin : float32 (positions, D)
    positions : (tokens,)
    k_layer, v_layer : (blocks, block_size, K, D)
    slot_mapping : (tokens,), block * block_size + offset of each token

    Returns
    -------
    Tensor (tokens, H, D)
    """
    kv_heads, size = k_layer.shape[2:]
    heads = qkv.shape[1] // size - 2 * kv_heads
    q, k, v = qkv.view(qkv.shape[0], -1, size).split((heads, kv_heads, kv_heads), dim=1)
    where = slot_mapping.long()
    k_layer.view(-1, kv_heads, size)[where] = _rotate(k, cos, sin, positions)
    v_layer.view(-1, kv_heads, size)[where] = v
    return _rotate(q, cos, sin, positions)


def silu_mul(gate_up: Tensor) -> Tensor:
    """Return silu(gate) * up of (tokens, 2 * inner)."""
    gate, up = gate_up.chunk(2, dim=1)
    return torch.nn.functional.silu(gate) * up


def _rotate(x: Tensor, cos: Tensor, sin: Tensor, positions: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=-1)
    c, s = cos[positions.long()][:, None], sin[positions.long()][:, None]
    return (x * c + torch.cat((-second, first), dim=-1) * s).to(x.dtype)
