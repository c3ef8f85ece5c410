"""Llama decoder that the node serves: what one forward pass computes, and where its weights come from.

RMSNorm, rotary embeddings (half-split layout), grouped-query attention, SwiGLU; q/k/v and gate/up run as one
fused matrix each, because at small batch a step is bound by calls and by streamed bytes. Logits equal those
of transformers' `LlamaForCausalLM` (tested). Shapes: n rows (requests), T prompt tokens, H heads, K key/value
heads, D head size.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from reference_node.config import GROUPS, Layer, ModelConfig


class LinearDelta(Protocol):
    """What a LoRA plan offers the decoder: add the adapters' part to a fused projection, in place."""

    def add(self, layer: int, group: str, x: Tensor, y: Tensor) -> None:
        """Add to `y` (tokens, out of the fused group) the low-rank update of `x` (tokens, in)."""


class KVCache:
    """Static key/value store (layers, rows, K, length, D), allocated once; rows [0, n) are running."""

    def __init__(self, config: ModelConfig, rows: int, length: int, like: Tensor) -> None:
        shape = (config.layers, rows, config.kv_heads, length, config.head_dim)
        self.k = torch.zeros(shape, dtype=like.dtype, device=like.device)
        self.v = torch.zeros(shape, dtype=like.dtype, device=like.device)
        self.rows, self.length = rows, length

    def move(self, source: int, target: int, tokens: int) -> None:
        """Copy the first `tokens` positions of a row to another, so that running rows stay dense."""
        for store in (self.k, self.v):
            store[:, target, :, :tokens] = store[:, source, :, :tokens]

    def clear(self, row: int, tokens: int) -> None:
        """Zero the first `tokens` positions of a row."""
        for store in (self.k, self.v):
            store[:, row, :, :tokens] = 0


class Llama:
    """The decoder: weights on one device in one dtype, with a prefill and a decode pass over a `KVCache`."""

    def __init__(
        self,
        config: ModelConfig,
        embed: Tensor,
        layers: list[Layer],
        norm: Tensor,
        head: Tensor,
        *,
        max_length: int,
    ) -> None:
        self.config, self.embed, self.layers, self.norm, self.head = config, embed, layers, norm, head
        self.device, self.dtype = embed.device, embed.dtype
        self.cos, self.sin = _rotary_table(config, max_length, self.device)

    @torch.inference_mode()
    def prefill(
        self, tokens: Tensor, cache: KVCache, first_row: int, delta: LinearDelta | None = None
    ) -> Tensor:
        """Run n prompts of one length into rows from `first_row` on; return the last position's logits.

        Parameters
        ----------
        tokens : int64 (n, T)
        cache : receives keys and values of positions [0, T)
        first_row : first cache row
        delta : adapters of these rows, one entry per token in row-major order

        Returns
        -------
        Tensor (n, vocab), float32
        """
        return self._logits(self._prefill_hidden(tokens, cache, first_row, delta)[:, -1])

    @torch.inference_mode()
    def prefill_all_logits(self, tokens: Tensor, cache: KVCache, delta: LinearDelta | None = None) -> Tensor:
        """Run n prompts into rows [0, n) and return the logits of every position, float32 (n, T, vocab)."""
        return self._logits(self._prefill_hidden(tokens, cache, 0, delta))

    @torch.inference_mode()
    def decode(
        self,
        tokens: Tensor,
        positions: Tensor,
        cache: KVCache,
        longest: int,
        delta: LinearDelta | None = None,
    ) -> Tensor:
        """Run one token for each of the rows [0, n) and return their logits.

        Parameters
        ----------
        tokens, positions : int64 (n,), each row's newest token and its position
        cache : holds positions below each row's own and receives the new one
        longest : largest position + 1, known to the host so that no device value is read back
        delta : adapters of these rows

        Returns
        -------
        Tensor (n, vocab), float32
        """
        n = tokens.shape[0]
        rows = torch.arange(n, device=self.device)
        mask = (torch.arange(longest, device=self.device)[None, :] <= positions[:, None])[:, None, None, :]
        cos, sin = self.cos[positions][:, None], self.sin[positions][:, None]
        x = self.embed[tokens]
        for index, layer in enumerate(self.layers):
            q, k, v = self._qkv(index, layer, x, delta)
            q, k = _rotate(q, cos, sin), _rotate(k, cos, sin)
            cache.k[index, rows, :, positions] = k
            cache.v[index, rows, :, positions] = v
            # The query heads that share a key head ride on the length axis, so keys are never repeated in
            # memory.
            q = q.reshape(n, self.config.kv_heads, -1, self.config.head_dim)
            keys, values = cache.k[index, :n, :, :longest], cache.v[index, :n, :, :longest]
            mixed = functional.scaled_dot_product_attention(q, keys, values, attn_mask=mask)
            x = self._finish_layer(index, layer, x, mixed.reshape(n, -1), delta)
        return self._logits(x)

    def _prefill_hidden(
        self, tokens: Tensor, cache: KVCache, first_row: int, delta: LinearDelta | None
    ) -> Tensor:
        n, length = tokens.shape
        cos, sin = self.cos[:length].repeat(n, 1)[:, None], self.sin[:length].repeat(n, 1)[:, None]
        x = self.embed[tokens.reshape(-1)]
        for index, layer in enumerate(self.layers):
            q, k, v = self._qkv(index, layer, x, delta)
            q, k = _rotate(q, cos, sin), _rotate(k, cos, sin)
            q, k, v = (part.view(n, length, -1, self.config.head_dim).transpose(1, 2) for part in (q, k, v))
            cache.k[index, first_row : first_row + n, :, :length] = k
            cache.v[index, first_row : first_row + n, :, :length] = v
            mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
            x = self._finish_layer(index, layer, x, mixed.transpose(1, 2).reshape(n * length, -1), delta)
        return x.view(n, length, -1)

    def _qkv(
        self, index: int, layer: Layer, x: Tensor, delta: LinearDelta | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        config = self.config
        fused = _linear(index, "qkv", _rms(x, layer.norm_attention, config.rms_eps), layer.qkv, delta)
        heads = fused.view(x.shape[0], -1, config.head_dim)
        return heads.split((config.heads, config.kv_heads, config.kv_heads), dim=1)  # type: ignore[return-value]

    def _finish_layer(
        self, index: int, layer: Layer, x: Tensor, mixed: Tensor, delta: LinearDelta | None
    ) -> Tensor:
        x = x + _linear(index, "o", mixed, layer.o, delta)
        fused = _linear(index, "gate_up", _rms(x, layer.norm_mlp, self.config.rms_eps), layer.gate_up, delta)
        gate, up = fused.chunk(2, dim=1)
        return x + _linear(index, "down", functional.silu(gate) * up, layer.down, delta)

    def _logits(self, x: Tensor) -> Tensor:
        return functional.linear(_rms(x, self.norm, self.config.rms_eps), self.head).float()


def random_model(
    config: ModelConfig,
    seed: int,
    *,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    max_length: int = 2048,
) -> Llama:
    """Return a decoder with seeded normal weights, created on the device itself.

    Scales follow the usual initialiser (0.02) except for the head, which is wide enough that greedy choices
    are not ties.
    """
    generator = torch.Generator(device=device).manual_seed(seed)

    def normal(out: int, inp: int, scale: float) -> Tensor:
        return torch.empty((out, inp), device=device, dtype=dtype).normal_(0.0, scale, generator=generator)

    shapes = config.projections()
    layers = [
        Layer(
            **{
                group: normal(sum(shapes[p][0] for p in parts), shapes[parts[0]][1], 0.02)
                for group, parts in GROUPS.items()
            },
            norm_attention=torch.ones(config.hidden_size, device=device, dtype=dtype),
            norm_mlp=torch.ones(config.hidden_size, device=device, dtype=dtype),
        )
        for _ in range(config.layers)
    ]
    embed = normal(config.vocab_size, config.hidden_size, 1.0)
    head = embed if config.tied else normal(config.vocab_size, config.hidden_size, 0.1)
    norm = torch.ones(config.hidden_size, device=device, dtype=dtype)
    return Llama(config, embed, layers, norm, head, max_length=max_length)


def _linear(layer: int, group: str, x: Tensor, weight: Tensor, delta: LinearDelta | None) -> Tensor:
    y = functional.linear(x, weight)
    if delta is not None:
        delta.add(layer, group, x, y)
    return y


def _rms(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    wide = x.float()
    return weight * (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + eps)).to(x.dtype)


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate (tokens, heads, D) by (tokens, 1, D) tables; the pair of a coordinate lies half a head away."""
    first, second = x.chunk(2, dim=-1)
    return (x * cos + torch.cat((-second, first), dim=-1) * sin).to(x.dtype)


def _rotary_table(config: ModelConfig, length: int, device: torch.device) -> tuple[Tensor, Tensor]:
    steps = torch.arange(0, config.head_dim, 2, dtype=torch.int64).float() / config.head_dim
    frequency = 1.0 / (config.rope_theta**steps)
    if config.rope_scaling is not None:
        frequency = _llama3_scaling(frequency, config.rope_scaling)
    angle = torch.outer(torch.arange(length).float(), frequency)
    angle = torch.cat((angle, angle), dim=-1).to(device)
    return angle.cos(), angle.sin()


def _llama3_scaling(frequency: Tensor, numbers: tuple[float, float, float, float]) -> Tensor:
    """Stretch low frequencies by `factor` with a smooth ramp (Llama 3.1 model card, `rope_type: llama3`)."""
    factor, low, high, original = numbers
    wavelength = 2 * math.pi / frequency
    smooth = ((original / wavelength - low) / (high - low)).clamp(0.0, 1.0)
    return (1 - smooth) * frequency / factor + smooth * frequency
