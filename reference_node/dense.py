"""Decode rows on a CPU: dense copies of the keys and values of the requests that decode together.

Gathering blocks in every layer would cost more than the attention itself, so a row is copied from its blocks when its
request joins, and from then on the dense row is what counts: blocks receive what it has gained when one is full, and
when the request leaves the batch but not the engine. Behind a row's last token lies zero, never an earlier owner's
value, because a masked NaN would still poison a sum.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from reference_node.config import ModelConfig
from reference_node.kv import PagedKV

GROW = 64  # tokens by which rows become longer


class DenseRows:
    """Keys and values (layers, rows * K, length, D) of rows [0, n); an `Attention` after `begin`.

    Parameters
    ----------
    config
        Shape of the model.
    rows
        Rows at most.
    like
        Gives dtype and device.
    """

    def __init__(self, config: ModelConfig, rows: int, like: Tensor) -> None:
        self.config, self.like = config, like
        self._filled = [0] * rows  # positions of a row that may hold something else than zero
        self._shape = (config.layers, rows * config.kv_heads)
        self.length = 0
        self.reserve(GROW)

    def reserve(self, length: int) -> None:
        """Make room for rows of `length` tokens; what is stored stays."""
        if length <= self.length:
            return
        length = -(-length // GROW) * GROW
        size = (*self._shape, length, self.config.head_dim)
        k, v = (torch.zeros(size, dtype=self.like.dtype, device=self.like.device) for _ in range(2))
        if self.length:
            k[:, :, : self.length], v[:, :, : self.length] = self.k, self.v
        self.k, self.v, self.length = k, v, length
        self._flat_k, self._flat_v = self.k.flatten(1, 2), self.v.flatten(1, 2)
        self._base = torch.arange(self._shape[1], device=self.like.device) * length

    def load(self, row: int, kv: PagedKV, blocks: Sequence[int], tokens: int) -> None:
        """Copy a request's stored tokens into a row."""
        self.reserve(tokens + 1)
        index = torch.tensor(blocks[: -(-tokens // kv.block_size)], dtype=torch.int64, device=self.k.device)
        for store, source in zip((self.k, self.v), (kv.k, kv.v), strict=True):
            found = source[:, index].flatten(1, 2)[:, :tokens]
            self._put(store, row, found.transpose(1, 2), tokens)
        self._filled[row] = tokens

    def move(self, source: int, target: int) -> None:
        """Copy a row to another."""
        tokens = self._filled[source]
        for store in (self.k, self.v):
            self._put(store, target, store[:, self._heads(source), :tokens], tokens)
        self._filled[target] = tokens

    def save(self, row: int, kv: PagedKV, blocks: Sequence[int], first: int, last: int) -> None:
        """Copy positions [first, last) of a row to its blocks; `first` begins a block."""
        size = kv.block_size
        for start in range(first, last, size):
            end, block = min(start + size, last), blocks[start // size]
            for store, target in zip((self.k, self.v), (kv.k, kv.v), strict=True):
                target[:, block, : end - start] = store[:, self._heads(row), start:end].transpose(1, 2)

    def begin(self, positions: Sequence[int]) -> None:
        """Prepare a step of rows [0, n): `positions` are those of their newest tokens."""
        longest, n, heads = max(positions) + 1, len(positions), self.config.kv_heads
        self.reserve(longest)
        self._filled[:n] = [position + 1 for position in positions]
        self._longest, self._pairs = longest, n * heads
        place = torch.tensor(positions, device=self.k.device)
        self._index = (self._base[: n * heads].view(n, heads) + place[:, None]).flatten()
        self._mask = self._make_mask(place, min(positions))

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Store the rows' newest key and value and attend; query heads that share a key head are one matrix."""
        pairs, size = self._pairs, q.shape[-1]
        self._flat_k[layer].index_copy_(0, self._index, k.reshape(pairs, size))
        self._flat_v[layer].index_copy_(0, self._index, v.reshape(pairs, size))
        keys, values = (store[layer, :pairs, : self._longest] for store in (self.k, self.v))
        queries = q.reshape(pairs, -1, size)
        # Without a mask any tensor will do: beta 0 ignores it.
        mask, beta = (queries[:1, :1, :1], 0) if self._mask is None else (self._mask, 1)
        scores = torch.baddbmm(mask, queries, keys.transpose(1, 2), beta=beta, alpha=size**-0.5)
        return torch.bmm(scores.softmax(-1), values).view(q.shape[0], -1)

    def _make_mask(self, place: Tensor, shortest: int) -> Tensor | None:
        window = self.config.sliding_window or self._longest
        if shortest + 1 == self._longest <= window:
            return None
        column = torch.arange(self._longest, device=self.k.device)
        seen = (column <= place[:, None]) & (column > place[:, None] - window)
        mask = torch.zeros(seen.shape, dtype=self.k.dtype, device=self.k.device)
        return mask.masked_fill_(~seen, -torch.inf).repeat_interleave(self.config.kv_heads, 0)[:, None]

    def _heads(self, row: int) -> slice:
        return slice(row * self.config.kv_heads, (row + 1) * self.config.kv_heads)

    def _put(self, store: Tensor, row: int, content: Tensor, tokens: int) -> None:
        own = self._heads(row)
        store[:, own, :tokens] = content
        store[:, own, tokens : self._filled[row]] = 0
