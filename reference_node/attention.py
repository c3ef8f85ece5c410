"""Attention by kind of token: prompt chunks see their prefix, decode rows see everything before them.

A step's tokens are decode rows first, one each, then prompt chunks. On a CPU decode rows are dense (`dense.py`). On an
accelerator they are read in place by block tables; which implementation does it is found out at start-up by trying
(`choose_decode`). All of them write before they read.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from reference_node.config import ModelConfig
from reference_node.kv import PagedKV

logger = logging.getLogger(__name__)

# q (n, H, D), k_layer, v_layer (blocks, block_size, K, D), block_tables int32 (n, m), context_lens int32 (n,), scale,
# window or None -> (n, H, D)
AttendDecode = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, float, "int | None"], Tensor]


class Attention(Protocol):
    """One step's attention: stores keys and values, returns what the queries gather."""

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Map rotated q (tokens, H, D), k and v (tokens, K, D) to (tokens, H * D)."""


class CausalAttention:
    """`rows` prompts of one length that see themselves alone; nothing is stored."""

    def __init__(self, config: ModelConfig, rows: int, length: int, device: torch.device) -> None:
        self.rows, self.mask = rows, causal_mask(0, length, config.sliding_window, device)

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attend within each prompt."""
        parts = (part.unflatten(0, (self.rows, -1)).transpose(1, 2) for part in (q, k, v))
        mixed = functional.scaled_dot_product_attention(
            *parts, attn_mask=self.mask, is_causal=self.mask is None, enable_gqa=True
        )
        return mixed.transpose(1, 2).reshape(q.shape[0], -1)


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of one prompt.

    Parameters
    ----------
    start, length
        Its tokens in the step, behind the decode rows.
    before
        Tokens of the same request that are stored already.
    blocks : int64 (m,)
        Blocks that hold positions [0, before + length).
    mask : bool (length, before + length) or None
        None for plainly causal without a prefix.
    """

    start: int
    length: int
    before: int
    blocks: Tensor
    mask: Tensor | None


class ChunkAttention:
    """Prompt chunks over paged keys and values.

    Parameters
    ----------
    kv, chunks
        The store, the pieces in the order of their tokens.
    slots : int64 (tokens,)
        Token slot of each token in the store.
    """

    def __init__(self, kv: PagedKV, chunks: Sequence[Chunk], slots: Tensor) -> None:
        self.kv, self.chunks, self.slots = kv, chunks, slots

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Store the chunks' keys and values and attend from each chunk to its request."""
        self.kv.flat_k[layer].index_copy_(0, self.slots, k)
        self.kv.flat_v[layer].index_copy_(0, self.slots, v)
        parts = [self._one(layer, chunk, q, k, v) for chunk in self.chunks]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _one(self, layer: int, chunk: Chunk, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        own = slice(chunk.start, chunk.start + chunk.length)
        keys, values = k[own], v[own]
        if chunk.before:
            seen = chunk.before + chunk.length
            keys, values = (
                store[layer, chunk.blocks].flatten(0, 1)[:seen] for store in (self.kv.k, self.kv.v)
            )
        mixed = functional.scaled_dot_product_attention(
            *(part.transpose(0, 1)[None] for part in (q[own], keys, values)),
            attn_mask=chunk.mask,
            is_causal=chunk.mask is None,
            enable_gqa=True,
        )
        return mixed[0].transpose(0, 1).reshape(chunk.length, -1)


class PagedRows:
    """Decode rows read in place by block tables; all tensors, so that a step needs nothing from the host."""

    def __init__(
        self,
        kv: PagedKV,
        attend: AttendDecode,
        tables: Tensor,
        lengths: Tensor,
        slots: Tensor,
        window: int | None,
    ) -> None:
        self.kv, self.attend, self.window = kv, attend, window
        self.tables, self.lengths, self.slots = tables, lengths, slots

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Store the rows' newest key and value and attend to all that a row may see."""
        self.kv.flat_k[layer].index_copy_(0, self.slots, k)
        self.kv.flat_v[layer].index_copy_(0, self.slots, v)
        stores = self.kv.k[layer], self.kv.v[layer]
        scale = q.shape[-1] ** -0.5
        return self.attend(q, *stores, self.tables, self.lengths, scale, self.window).flatten(1)


class MixedAttention:
    """The first `n` tokens by one kind of attention, the others by another."""

    def __init__(self, n: int, rows: Attention, chunks: Attention) -> None:
        self.n, self.rows, self.chunks = n, rows, chunks

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attend by kind."""
        n = self.n
        first = self.rows(layer, q[:n], k[:n], v[:n])
        return torch.cat((first, self.chunks(layer, q[n:], k[n:], v[n:])))


def causal_mask(before: int, length: int, window: int | None, device: torch.device) -> Tensor | None:
    """Return which of (before + length) positions each of the last `length` may see; None: plainly causal."""
    total = before + length
    if not before and (window is None or window >= total):
        return None
    place = torch.arange(before, total, device=device)[:, None]
    column = torch.arange(total, device=device)
    seen = column <= place
    return seen if window is None else seen & (column > place - window)


def gathered_decode(
    q: Tensor,
    k_layer: Tensor,
    v_layer: Tensor,
    block_tables: Tensor,
    context_lens: Tensor,
    scale: float,
    window: int | None,
) -> Tensor:
    """Attend over gathered blocks; works everywhere, reads every row to the longest row's length."""
    n, size = q.shape[0], q.shape[-1]
    keys, values = (store[block_tables].flatten(1, 2).transpose(1, 2) for store in (k_layer, v_layer))
    column = torch.arange(keys.shape[2], device=q.device)
    seen = column < context_lens[:, None]
    if window is not None:
        seen &= column >= context_lens[:, None] - window
    queries = q.reshape(n, keys.shape[1], -1, size)
    mixed = functional.scaled_dot_product_attention(
        queries, keys, values, attn_mask=seen[:, None, None], scale=scale
    )
    return mixed.reshape(n, -1, size)


def varlen_decode(
    q: Tensor,
    k_layer: Tensor,
    v_layer: Tensor,
    block_tables: Tensor,
    context_lens: Tensor,
    scale: float,
    window: int | None,
) -> Tensor:
    """Attend with torch's paged flash attention (accelerators only)."""
    from torch.nn.attention.varlen import varlen_attn

    starts = torch.arange(q.shape[0] + 1, dtype=torch.int32, device=q.device)
    return varlen_attn(
        q,
        k_layer,
        v_layer,
        starts,
        None,
        1,
        block_tables.shape[1] * k_layer.shape[1],
        scale=scale,
        window_size=(-1 if window is None else window - 1, 0),
        enable_gqa=True,
        seqused_k=context_lens,
        block_table=block_tables,
    )


def choose_decode(config: ModelConfig, block_size: int, like: Tensor) -> tuple[str, AttendDecode]:
    """Return the name and function of the fastest decode attention that works here, found by trying each.

    Parameters
    ----------
    config, block_size
        Shapes that will be served.
    like
        Gives dtype and device.
    """
    from reference_node import kernels

    candidates: list[tuple[str, AttendDecode]] = [("varlen_paged", varlen_decode)]
    if kernels.runs_triton(like):
        candidates.insert(0, ("triton_paged", kernels.paged_decode))
    for name, attend in candidates:
        try:
            agrees = _probe(attend, config, block_size, like)
        except Exception as error:  # whatever a missing kernel raises, another one serves
            logger.info("decode attention %s does not work here: %r", name, error)
            continue
        if agrees:
            return name, attend
        logger.warning("decode attention %s computes something else here and is not used", name)
    return "gathered_sdpa", gathered_decode


def _probe(attend: AttendDecode, config: ModelConfig, block_size: int, like: Tensor) -> bool:
    """Return whether an implementation agrees with the gathered one on two rows of different length."""
    generator = torch.Generator(like.device).manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.empty(shape, dtype=like.dtype, device=like.device).normal_(generator=generator)

    q = normal(2, config.heads, config.head_dim)
    k, v = (normal(5, block_size, config.kv_heads, config.head_dim) for _ in range(2))
    tables = torch.tensor([[3, 1], [2, 4]], dtype=torch.int32, device=like.device)
    lengths = torch.tensor([block_size + 1, 3], dtype=torch.int32, device=like.device)
    arguments = (q, k, v, tables, lengths, config.head_dim**-0.5, config.sliding_window)
    wanted, found = gathered_decode(*arguments).float(), attend(*arguments).float()
    return torch.allclose(found, wanted, rtol=0, atol=0.02 * float(wanted.abs().max()))
