"""Decoder that the node serves (Llama, Mistral, Qwen2, Qwen3): what one forward pass computes.

RMSNorm, rotary embeddings (half-split layout), grouped-query attention, SwiGLU; q/k/v and gate/up run as one fused
matrix each, because at small batch a step is bound by calls and by streamed bytes. All tokens of a step, decode rows
and prompt chunks, go through the linears together; attention tells them apart. Logits equal those of transformers'
models (tested). Shapes: T tokens, H query heads, K key/value heads, D head size.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from reference_node import kernels
from reference_node.attention import AttendDecode, Attention, CausalAttention
from reference_node.config import GROUPS, Layer, ModelConfig
from reference_node.kv import PagedKV


class LinearDelta(Protocol):
    """What a LoRA plan offers the decoder: add the adapters' part to a fused projection, in place."""

    def add(self, layer: int, group: str, x: Tensor, y: Tensor) -> None:
        """Add to `y` (tokens, out of the fused group) the low-rank update of `x` (tokens, in)."""


class Llama:
    """The decoder: weights on one device in one dtype.

    Parameters
    ----------
    config
        Shape and family.
    embed, layers, norm, head
        Weights, each matrix (out, in).
    max_length
        Positions of the rotary tables.
    """

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
        self.device, self.dtype = embed.device, embed.dtype
        if self.device.type == "cpu":
            layers = [_for_cpu(layer) for layer in layers]
            head = head if head is embed else _columns_first(head)
        self.config, self.embed, self.layers, self.norm, self.head = config, embed, layers, norm, head
        self.cos, self.sin = _rotary_table(config, max_length, self.device)
        half = config.head_dim // 2
        self._sin_signed = torch.cat((-self.sin[:, :half], self.sin[:, half:]), dim=1)
        self._norm_qk = [_norm_qk(config, layer) for layer in layers]

    @torch.inference_mode()
    def forward(
        self,
        tokens: Tensor,
        positions: Tensor,
        attention: Attention,
        delta: LinearDelta | None = None,
        rows: Tensor | None = None,
    ) -> Tensor:
        """Run all tokens of a step and return the logits of some.

        Parameters
        ----------
        tokens, positions : int64 (T,)
        attention : where keys and values go and what each token sees
        delta : adapters of these tokens
        rows : int64, the tokens whose logits are wanted, None for all

        Returns
        -------
        Tensor (tokens wanted, vocab), float32
        """
        cos, sin = self.cos[positions][:, None], self._sin_signed[positions][:, None]
        x = functional.embedding(tokens, self.embed)
        for index, layer in enumerate(self.layers):
            x = self._attend(index, layer, x, cos, sin, attention, delta)
            normed = self._rms(x, layer.norm_mlp)
            gate, up = _linear(index, "gate_up", normed, layer.gate_up, delta).chunk(2, dim=1)
            inner = functional.silu(gate).mul_(up)
            x = _linear_onto(index, "down", inner, layer.down, delta, x)
        if rows is not None:
            x = x[rows]
        return functional.linear(self._rms(x, self.norm), self.head).float()

    @torch.inference_mode()
    def decode(
        self,
        tokens: Tensor,
        positions: Tensor,
        block_tables: Tensor,
        context_lens: Tensor,
        slot_mapping: Tensor,
        kv: PagedKV,
        lora: LinearDelta | None = None,
        *,
        attend: AttendDecode = kernels.paged_decode,
    ) -> Tensor:
        """Run one token of each row with the fused kernels; tensors in, tensor out, nothing read by the host.

        Parameters
        ----------
        tokens, positions : int64 (n,), each row's newest token and its position
        block_tables : int32 (n, m), blocks of each row in `kv`
        context_lens : int32 (n,), positions + 1; of a padding row 1
        slot_mapping : int64 (n,), token slot of the newest token; of a padding row in the scratch block
        lora, attend : adapters of these rows, attention over the paged store

        Returns
        -------
        Tensor (n, vocab), float32
        """
        eps, scale, window = self.config.rms_eps, self.config.head_dim**-0.5, self.config.sliding_window
        x, late = functional.embedding(tokens, self.embed), None
        for index, layer in enumerate(self.layers):
            keys, values = kv.k[index], kv.v[index]
            x, normed = kernels.add_rms(x, late, layer.norm_attention, eps)
            fused = _linear(index, "qkv", normed, layer.qkv, lora, layer.bias_qkv)
            self._norm_in_place(index, fused)
            q = kernels.rope_store(fused, self.cos, self.sin, positions, keys, values, slot_mapping)
            mixed = attend(q, keys, values, block_tables, context_lens, scale, window)
            late = _linear(index, "o", mixed.flatten(1), layer.o, lora)
            x, normed = kernels.add_rms(x, late, layer.norm_mlp, eps)
            inner = kernels.silu_mul(_linear(index, "gate_up", normed, layer.gate_up, lora))
            late = _linear(index, "down", inner, layer.down, lora)
        return functional.linear(kernels.add_rms(x, late, self.norm, eps)[1], self.head).float()

    def all_logits(self, tokens: Tensor, delta: LinearDelta | None = None) -> Tensor:
        """Return the logits of every position of n prompts of T tokens, float32 (n, T, vocab); stores nothing.

        Parameters
        ----------
        tokens : int64 (n, T)
        delta : adapters, one entry per token in row-major order
        """
        n, length = tokens.shape
        positions = torch.arange(length, device=self.device).repeat(n)
        attention = CausalAttention(self.config, n, length, self.device)
        return self.forward(tokens.reshape(-1), positions, attention, delta).view(n, length, -1)

    def _attend(
        self,
        index: int,
        layer: Layer,
        x: Tensor,
        cos: Tensor,
        sin: Tensor,
        attention: Attention,
        delta: LinearDelta | None,
    ) -> Tensor:
        config = self.config
        normed = self._rms(x, layer.norm_attention)
        fused = _linear(index, "qkv", normed, layer.qkv, delta, layer.bias_qkv)
        heads, rotated = fused.view(x.shape[0], -1, config.head_dim), config.heads + config.kv_heads
        qk = _rotate(self._normed_qk(index, heads[:, :rotated]), cos, sin)
        mixed = attention(index, qk[:, : config.heads], qk[:, config.heads :], heads[:, rotated:])
        return _linear_onto(index, "o", mixed, layer.o, delta, x)

    def _rms(self, x: Tensor, weight: Tensor) -> Tensor:
        return functional.rms_norm(x, weight.shape, weight, self.config.rms_eps)

    def _normed_qk(self, index: int, heads: Tensor) -> Tensor:
        weight = self._norm_qk[index]
        if weight is None:
            return heads
        return functional.rms_norm(heads, heads.shape[-1:], None, self.config.rms_eps).mul_(weight)

    def _norm_in_place(self, index: int, fused: Tensor) -> None:
        if self._norm_qk[index] is not None:
            heads = fused.view(fused.shape[0], -1, self.config.head_dim)
            heads = heads[:, : self.config.heads + self.config.kv_heads]
            heads.copy_(self._normed_qk(index, heads))


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
            **_switched(config, device, dtype),
        )
        for _ in range(config.layers)
    ]
    embed = normal(config.vocab_size, config.hidden_size, 1.0)
    head = embed if config.tied else normal(config.vocab_size, config.hidden_size, 0.1)
    norm = torch.ones(config.hidden_size, device=device, dtype=dtype)
    return Llama(config, embed, layers, norm, head, max_length=max_length)


def _switched(config: ModelConfig, device: str, dtype: torch.dtype) -> dict[str, Tensor]:
    """Return the weights that only some families have, of no effect."""
    made: dict[str, Tensor] = {}
    if config.qkv_bias:
        width = (config.heads + 2 * config.kv_heads) * config.head_dim
        made["bias_qkv"] = torch.zeros(width, device=device, dtype=dtype)
    if config.qk_norm:
        made |= {
            name: torch.ones(config.head_dim, device=device, dtype=dtype) for name in ("norm_q", "norm_k")
        }
    return made


def _linear(
    layer: int, group: str, x: Tensor, weight: Tensor, delta: LinearDelta | None, bias: Tensor | None = None
) -> Tensor:
    y = kernels.linear(x, weight, bias)
    if delta is not None:
        delta.add(layer, group, x, y)
    return y


def _linear_onto(
    layer: int, group: str, x: Tensor, weight: Tensor, delta: LinearDelta | None, total: Tensor
) -> Tensor:
    """Add a projection to the residual in place: the residual is the product's accumulator, one call less."""
    total.addmm_(x, weight.t())
    if delta is not None:
        delta.add(layer, group, x, total)
    return total


def _columns_first(matrix: Tensor) -> Tensor:
    """Return the same (out, in) matrix laid out by columns: one thread streams it up to 1.7 times faster."""
    return matrix.t().contiguous().t()


def _for_cpu(layer: Layer) -> Layer:
    return replace(layer, **{group: _columns_first(getattr(layer, group)) for group in GROUPS})


def _norm_qk(config: ModelConfig, layer: Layer) -> Tensor | None:
    """Return the norm weights of queries and keys side by side, (H + K, D), None for families without."""
    if layer.norm_q is None or layer.norm_k is None:
        return None
    parts = layer.norm_q.expand(config.heads, -1), layer.norm_k.expand(config.kv_heads, -1)
    return torch.cat(parts).contiguous()


def _rotate(x: Tensor, cos: Tensor, sin_signed: Tensor) -> Tensor:
    """Rotate (T, heads, D) by (T, 1, D) tables; a coordinate's partner lies half a head away, its sign in sin."""
    wide = x.float()
    return torch.addcmul(wide * cos, wide.roll(x.shape[-1] // 2, -1), sin_signed).to(x.dtype)


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
