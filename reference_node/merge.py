"""The merged path: when every row of a step uses the same one adapter, its update is part of the weights.

The base is never written: a merged decoder has fused weights of its own and shares everything else, so that leaving it
costs nothing and restores the base exactly, where subtracting the update would leave rounding behind. Merging costs as
much as many steps, so it waits until the adapter has been alone for `MERGE_AFTER` steps: then the merge has cost at
most what serving unmerged had lost before it, whatever comes next.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from reference_node.config import GROUPS, Layer, ModelConfig
from reference_node.model import Llama
from reference_node.pool import AdapterPool
from reference_node.request import AdapterUse
from reference_node.slots import SlotStore

# Measured on a CPU with the default shape and rank 16: a merge takes 5.5 ms, serving one adapter unmerged costs 0.1,
# 0.3 and 0.5 ms more per step of 1, 8 and 32 rows, so that the merge is paid back after 67, 16 and 10 steps.
MERGE_AFTER = 32


def merged_view(model: Llama, store: SlotStore, slot: int, weight: float = 1.0) -> Llama:
    """Return a decoder whose weights contain one adapter; it shares what the adapter leaves alone.

    Parameters
    ----------
    model
        The base, unchanged.
    store, slot
        Where the adapter lies.
    weight
        Of the update.
    """
    layers = []
    for index, layer in enumerate(model.layers):
        parts = {name: getattr(layer, name) for name in Layer.__slots__}
        for group in store.groups[slot]:
            wide = parts[group].float() if model.dtype != torch.float32 else parts[group].clone()
            store.add_dense(slot, index, group, weight, wide)
            parts[group] = wide.to(model.dtype)
        layers.append(Layer(**parts))
    return Llama(model.config, model.embed, layers, model.norm, model.head, max_length=model.cos.shape[0])


def merged_bytes(config: ModelConfig, groups: frozenset[str], item_bytes: int) -> int:
    """Return the bytes of the weights that a merged decoder does not share with its base."""
    shapes = config.projections()
    changed = sum(shapes[name][0] * shapes[name][1] for group in groups for name in GROUPS[group])
    return config.layers * changed * item_bytes


class MergePath:
    """Which decoder serves a step; holds at most one merged set of weights.

    Parameters
    ----------
    model, pool
        Of the engine.
    bytes_max
        Bytes that the merged set may occupy; a larger one is never made.
    after_steps
        Consecutive steps that an adapter must have been alone.
    """

    def __init__(
        self, model: Llama, pool: AdapterPool, *, bytes_max: int, after_steps: int = MERGE_AFTER
    ) -> None:
        self.model, self.pool, self.bytes_max, self.after_steps = model, pool, bytes_max, after_steps
        self.merges, self.nbytes = 0, 0
        self._alone: AdapterUse | None = None
        self._steps = 0
        self._held: tuple[AdapterUse, Llama] | None = None

    def choose(self, rows: Sequence[Sequence[AdapterUse]]) -> Llama | None:
        """Return the merged decoder for a step with these rows, None for the base with a plan.

        Parameters
        ----------
        rows
            Adapters of every request in the step, all of them acquired from the pool.
        """
        if self._held is not None and not self.pool.in_flight(self._held[0].sha256):
            self._drop_deleted(self._held[0].sha256)
        only = rows[0][0] if rows and len(rows[0]) == 1 else None
        if only is None or any(len(row) != 1 or row[0] != only for row in rows):
            self._alone, self._steps = None, 0
            return None
        self._steps = self._steps + 1 if only == self._alone else 1
        self._alone = only
        if self._held is not None and self._held[0] == only:
            return self._held[1]
        return self._merge(only) if self._steps > self.after_steps else None

    def release(self) -> None:
        """Give the merged weights back."""
        self._held, self.nbytes = None, 0

    def _drop_deleted(self, sha256: str) -> None:
        if not self.pool.knows(sha256):
            self.release()

    def _merge(self, use: AdapterUse) -> Llama | None:
        store, slot = self.pool.store, self.pool.resident()[use.sha256]
        size = merged_bytes(self.model.config, store.groups[slot], self.model.dtype.itemsize)
        if size > self.bytes_max:
            return None
        self.release()  # first, so that two merged sets never exist at once
        view = merged_view(self.model, store, slot, use.weight)
        self._held, self.nbytes, self.merges = (use, view), size, self.merges + 1
        return view
