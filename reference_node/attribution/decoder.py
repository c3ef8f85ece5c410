"""Decoder that can be differentiated, with one LoRA adapter per group of sequences.

Rule decided here. Groups of sequences go through the base model together and each group through its own adapter, so
that one call trains several adapters, evaluates several, or (one sequence per group, the same adapter in each) gives
every sequence its own gradient. It computes what `reference_node.model.Llama` computes on the same weights (tested);
that one writes in place and serves. Shapes: G groups, B sequences each, T tokens, D width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from reference_node.attention import causal_mask
from reference_node.config import GROUPS, Layer
from reference_node.model import Llama

Place = tuple[int, str]
"""Layer and projection of a LoRA pair."""
Tap = Callable[[Place, Tensor, Tensor], Tensor]
"""Takes the place, input and output of a projection and returns the output to go on with."""


@dataclass(frozen=True, slots=True)
class GroupedLora:
    """LoRA adapters of G groups.

    Parameters
    ----------
    a, b
        A (G, rank, in) and B (G, out, rank) by place, float32. A first dimension of 1 serves all groups.
    scale
        alpha / rank.
    """

    a: dict[Place, Tensor]
    b: dict[Place, Tensor]
    scale: float

    def row(self, group: int) -> GroupedLora:
        """Return the adapter of one group."""
        part = slice(group, group + 1)
        return GroupedLora(
            {place: a[part] for place, a in self.a.items()},
            {place: b[part] for place, b in self.b.items()},
            self.scale,
        )


def stacked(adapters: list[GroupedLora]) -> GroupedLora:
    """Return the adapters side by side as groups; all have the same places, shapes and scale."""
    first = adapters[0]
    return GroupedLora(
        {place: torch.cat([one.a[place] for one in adapters]) for place in first.a},
        {place: torch.cat([one.b[place] for one in adapters]) for place in first.b},
        first.scale,
    )


def flattened(lora: GroupedLora) -> NDArray[np.float32]:
    """Return all tensors of an adapter in one row, A before B."""
    tensors = [tensor.flatten() for store in (lora.a, lora.b) for tensor in store.values()]
    return np.asarray(torch.cat(tensors).cpu().numpy())


def unflattened(flat: NDArray[np.float32], like: GroupedLora) -> GroupedLora:
    """Return the adapter that `flattened` made a row of; `like` has its shape."""
    tensors = [tensor for store in (like.a, like.b) for tensor in store.values()]
    parts = torch.from_numpy(np.array(flat)).split([tensor.numel() for tensor in tensors])
    made = iter([part.view_as(tensor).to(tensor.device) for part, tensor in zip(parts, tensors, strict=True)])
    return GroupedLora(
        {place: next(made) for place in like.a}, {place: next(made) for place in like.b}, like.scale
    )


def hidden_states(
    model: Llama, tokens: Tensor, lora: GroupedLora | None = None, tap: Tap | None = None
) -> Tensor:
    """Return the normed states that the head reads, float32 (G, B, T, D).

    Parameters
    ----------
    model
        Base weights.
    tokens
        int64 (G, B, T), padded on the right: padding changes nothing before it.
    lora
        Adapters of the groups, or None for the base alone.
    tap
        Sees every projection as it is computed.
    """
    groups, _, length = tokens.shape
    mask = causal_mask(0, length, model.config.sliding_window, model.device)
    x = functional.embedding(tokens, model.embed).flatten(1, 2)
    for index, layer in enumerate(model.layers):
        x = x + _attended(model, index, layer, x, (groups, length), mask, lora, tap)
        normed = _rms(model, x, layer.norm_mlp)
        gate, up = _projected(model, index, "gate_up", normed, layer.gate_up, lora, tap)
        x = x + _projected(model, index, "down", functional.silu(gate) * up, layer.down, lora, tap)[0]
    return _rms(model, x, model.norm).view(*tokens.shape, -1)


def _attended(
    model: Llama,
    index: int,
    layer: Layer,
    x: Tensor,
    shape: tuple[int, int],
    mask: Tensor | None,
    lora: GroupedLora | None,
    tap: Tap | None,
) -> Tensor:
    groups, length = shape
    config = model.config
    normed = _rms(model, x, layer.norm_attention)
    parts = _projected(model, index, "qkv", normed, layer.qkv, lora, tap, layer.bias_qkv)
    q, k, v = (p.view(-1, length, p.shape[-1] // config.head_dim, config.head_dim) for p in parts)
    if layer.norm_q is not None and layer.norm_k is not None:
        q, k = _rms(model, q, layer.norm_q), _rms(model, k, layer.norm_k)
    q, k = _rotated(model, q, length), _rotated(model, k, length)
    mixed = functional.scaled_dot_product_attention(
        q.transpose(1, 2),
        k.transpose(1, 2),
        v.transpose(1, 2),
        attn_mask=mask,
        is_causal=mask is None,
        enable_gqa=config.heads != config.kv_heads,
    )
    flat = mixed.transpose(1, 2).reshape(groups, -1, config.heads * config.head_dim)
    return _projected(model, index, "o", flat, layer.o, lora, tap)[0]


def _projected(
    model: Llama,
    index: int,
    group: str,
    x: Tensor,
    weight: Tensor,
    lora: GroupedLora | None,
    tap: Tap | None,
    bias: Tensor | None = None,
) -> list[Tensor]:
    """Return the fused projection's outputs, (G, B * T, out) each, adapters included."""
    names = GROUPS[group]
    shapes = model.config.projections()
    parts = list(functional.linear(x, weight, bias).split([shapes[name][0] for name in names], dim=-1))
    if lora is not None:
        for i, name in enumerate(names):
            if (index, name) in lora.a:
                a, b = (one[index, name].expand(x.shape[0], -1, -1) for one in (lora.a, lora.b))
                inner = torch.bmm(x, a.transpose(1, 2))
                parts[i] = torch.baddbmm(parts[i], inner, b.transpose(1, 2), alpha=lora.scale)
    if tap is not None:
        parts = [tap((index, name), x, part) for name, part in zip(names, parts, strict=True)]
    return parts


def _rms(model: Llama, x: Tensor, weight: Tensor) -> Tensor:
    return functional.rms_norm(x, weight.shape, weight, model.config.rms_eps)


def _rotated(model: Llama, x: Tensor, length: int) -> Tensor:
    """Rotate (sequences, T, heads, head size) by position, half-split layout."""
    cos, sin = model.cos[:length, None], model.sin[:length, None]
    left, right = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-right, left), dim=-1) * sin
