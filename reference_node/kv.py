"""Keys and values in blocks: which request owns a block, when one is shared, when it is used again.

A block belongs to every request that refers to it and is free at no reference. A full block keeps its content under
the hash of everything that content depends on: base, adapters with their weights, tenant, all tokens up to its end. A
new version of an adapter has another hash, hence never meets an old block. Blocks without a reference stay findable
until the room is needed, least recently used first. Block 0 is scratch for padding rows and is never handed out.
"""

from __future__ import annotations

import hashlib
import struct
from array import array
from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from reference_node.config import ModelConfig
from reference_node.request import AdapterUse

SCRATCH = 0


class PagedKV:
    """Keys and values (layers, blocks, block_size, K, D), allocated once; one block more than asked, for scratch.

    Parameters
    ----------
    config
        Shape of the model.
    blocks, block_size
        Blocks that requests may own, tokens of each.
    like
        Gives dtype and device.
    """

    def __init__(self, config: ModelConfig, blocks: int, block_size: int, like: Tensor) -> None:
        shape = (config.layers, blocks + 1, block_size, config.kv_heads, config.head_dim)
        self.k = torch.zeros(shape, dtype=like.dtype, device=like.device)
        self.v = torch.zeros(shape, dtype=like.dtype, device=like.device)
        self.blocks, self.block_size = blocks, block_size
        # By token slot, block * block_size + offset.
        self.flat_k, self.flat_v = self.k.flatten(1, 2), self.v.flatten(1, 2)

    def clear(self, blocks: Sequence[int]) -> None:
        """Zero blocks before a new owner writes: a masked NaN of the old one would still poison a sum."""
        index = torch.tensor(blocks, device=self.k.device)
        self.k.index_fill_(1, index, 0)
        self.v.index_fill_(1, index, 0)


class BlockPool:
    """Who owns which block; pure bookkeeping on the host.

    Parameters
    ----------
    blocks
        Blocks that may be owned, numbered from 1.
    caching
        Whether full blocks stay findable by their hash.
    """

    def __init__(self, blocks: int, *, caching: bool = True) -> None:
        self.blocks, self.caching = blocks, caching
        self._refs = [0] * (blocks + 1)
        self._free = deque(range(1, blocks + 1))
        self._idle: OrderedDict[int, None] = OrderedDict()  # findable without an owner, least recent first
        self._by_hash: dict[bytes, int] = {}
        self._hash_of: dict[int, bytes] = {}

    @property
    def available(self) -> int:
        """Return the blocks that can be taken now."""
        return len(self._free) + len(self._idle)

    @property
    def used(self) -> int:
        """Return the blocks that a request owns."""
        return self.blocks - self.available

    @property
    def cached(self) -> int:
        """Return the blocks without an owner whose content can still be found."""
        return len(self._idle)

    def references(self, block: int) -> int:
        """Return how many requests own a block."""
        return self._refs[block]

    def find(self, hashes: Iterable[bytes]) -> list[int]:
        """Return the blocks of the longest known prefix of a hash chain; owns nothing yet."""
        found = []
        for value in hashes:
            block = self._by_hash.get(value)
            if block is None:
                break
            found.append(block)
        return found

    def share(self, blocks: Iterable[int]) -> None:
        """Own blocks that `find` returned, beside their other owners."""
        for block in blocks:
            self._idle.pop(block, None)
            self._refs[block] += 1

    def take(self, count: int) -> list[int]:
        """Own `count` blocks of no content; the caller has checked `available`."""
        assert count <= self.available, f"{count} blocks wanted, {self.available} available"
        taken = []
        for _ in range(count):
            if self._free:
                block = self._free.popleft()
            else:
                block, _ = self._idle.popitem(last=False)
                self._unname(block)
            self._refs[block] = 1
            taken.append(block)
        return taken

    def release(self, blocks: Sequence[int]) -> None:
        """Give up one reference to each block; the deepest becomes the first to be used again."""
        for block in reversed(blocks):
            assert self._refs[block] > 0, f"block {block} is released more often than owned"
            self._refs[block] -= 1
            if self._refs[block]:
                continue
            if block in self._hash_of:
                self._idle[block] = None
            else:
                self._free.append(block)

    def publish(self, block: int, value: bytes) -> None:
        """Make a full block findable, unless another block already holds the same content."""
        if self.caching and value not in self._by_hash and block not in self._hash_of:
            self._by_hash[value], self._hash_of[block] = block, value

    def withdraw(self, blocks: Iterable[int]) -> None:
        """Make owned blocks unfindable, because their content is not to be trusted."""
        for block in blocks:
            self._unname(block)

    def forget_all(self) -> None:
        """Make every block unfindable; owners keep theirs."""
        self._by_hash.clear()
        self._hash_of.clear()
        self._free.extend(self._idle)
        self._idle.clear()

    def _unname(self, block: int) -> None:
        value = self._hash_of.pop(block, None)
        if value is not None:
            del self._by_hash[value]


class PrefixChain:
    """Hashes of a request's full blocks: each covers its own tokens and everything before it.

    Parameters
    ----------
    base_sha256, adapters, tenant
        What the keys and values depend on beside the tokens; the tenant keeps timings from telling about others.
    block_size
        Tokens of a block.
    """

    def __init__(
        self, base_sha256: str, adapters: Sequence[AdapterUse], tenant: str, block_size: int
    ) -> None:
        seed = hashlib.sha256(b"olsim prefix\0")
        for text in (base_sha256, tenant):
            seed.update(struct.pack("<I", len(text.encode())) + text.encode())
        for use in sorted(adapters, key=lambda use: use.sha256):
            seed.update(use.sha256.encode() + struct.pack("<d", use.weight))
        self._last, self._size = seed.digest(), block_size
        self.hashes: list[bytes] = []

    def extend(self, tokens: Sequence[int], blocks: int) -> list[bytes]:
        """Return the hashes of at least the first `blocks` full blocks of `tokens`."""
        for index in range(len(self.hashes), blocks):
            part = array("q", tokens[index * self._size : (index + 1) * self._size])
            assert len(part) == self._size
            self._last = hashlib.sha256(self._last + part.tobytes()).digest()
            self.hashes.append(self._last)
        return self.hashes
