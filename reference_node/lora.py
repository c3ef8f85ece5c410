"""Adapters in one batch: how one step applies every row's own low-rank update to a fused projection.

On a CPU tokens that share an adapter go as one matrix product from `SEGMENT_TOKENS` tokens on (prompts, a hot adapter),
all others through `embedding_bag`, which reads each token's matrices where they lie in the pool: one call for the whole
batch, however many adapters it holds. On an accelerator the kernels do both. A row may name several adapters with
weights, whose updates add up; a row without any is never touched, hence bit-identical to the base.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from reference_node.config import GROUPS
from reference_node.pool import AdapterPool
from reference_node.slots import SlabStore, StripStore

Rows = Sequence[Sequence[tuple[int, float]]]
CpuPath = Literal["bags", "segments"]

# Measured on a CPU, one thread, the default shape, rank 16, milliseconds per step for all adapter work, as bags / one
# product per adapter / index_select and baddbmm / `grouped_mm` over all 256 slots: 32 rows of 1 adapter 0.49 / 0.36 / 8
# / 13; of 2: 0.50 / 0.50; of 8: 0.63 / 1.6 / 14 / 13; of 32: 2.1 / 7.1 / 9.5 / 16; 8 rows of 1: 0.23 / 0.21; of 8: 0.32
# / 1.1 / 2.4 / 13; one row 0.14 / 0.13; 256 tokens of one prompt 3.7 / 2.2. The two that are kept meet at 16 tokens per
# adapter; gathering copies every row's matrices, and `grouped_mm` visits the slots that nobody uses.
SEGMENT_TOKENS = 16
SUM = 0  # `embedding_bag`'s mode


class LoraPlan:
    """How one fixed set of rows meets the pool: built when the batch changes, used by every layer.

    Parameters
    ----------
    pool
        Where the matrices lie.
    rows
        (slot, weight) pairs of every request, empty for the base model.
    counts
        Consecutive tokens of every request; 1 each when None.
    path
        Force one of the CPU paths; None chooses for each adapter.
    tokens_max, uses_max
        Size of the index tensors that the kernels read, larger than this batch where a captured graph will be
        given other batches by `update`; None for the size of this one.
    """

    def __init__(
        self,
        pool: AdapterPool,
        rows: Rows,
        counts: Sequence[int] | None = None,
        *,
        path: CpuPath | None = None,
        tokens_max: int | None = None,
        uses_max: int | None = None,
    ) -> None:
        tokens = len(rows) if counts is None else sum(counts)
        uses = max((len(row) for row in rows), default=0)
        self._applied: _Strips | _Slabs
        if isinstance(pool.store, SlabStore):
            self._applied = _Slabs(pool.store, tokens_max or tokens, max(uses_max or uses, 1))
        else:
            self._applied = _Strips(pool.store, path)
        self._static = tokens_max is not None
        self.update(rows, counts)

    def update(self, rows: Rows, counts: Sequence[int] | None = None) -> None:
        """Describe another batch of at most the same size, in the same index tensors."""
        self.active = sum(1 for row in rows if row)
        self.distinct = len({slot for row in rows for slot, _ in row})
        self._applied.describe(rows, [1] * len(rows) if counts is None else counts, tiled=not self._static)

    def add(self, layer: int, group: str, x: Tensor, y: Tensor) -> None:
        """Add every token's low-rank update of `x` (tokens, in) to `y` (tokens, out of the group), in place."""
        self._applied.add(layer, group, x, y)


@dataclass(frozen=True, slots=True)
class _Segment:
    """Tokens of one adapter: a range where they lie together, else their indices."""

    tokens: slice | Tensor
    weight: float
    strips: list[int]


class _Strips:
    """The CPU's paths over a `StripStore`."""

    def __init__(self, store: StripStore, path: CpuPath | None) -> None:
        self.store = store
        self.segment_tokens = {None: SEGMENT_TOKENS, "segments": 1, "bags": 1 << 62}[path]

    def describe(self, rows: Rows, counts: Sequence[int], *, tiled: bool) -> None:
        """Sort the tokens into bags and segments."""
        del tiled
        ends = np.cumsum(counts)
        owners: dict[tuple[int, float], list[range]] = {}
        for row, end, count in zip(rows, ends.tolist(), counts, strict=True):
            for use in row:
                owners.setdefault(use, []).append(range(end - count, end))
        total = int(ends[-1]) if len(counts) else 0
        self.groups = frozenset().union(*(self.store.groups[slot] for slot, _ in owners))
        self.segments: list[_Segment] = []
        bags: list[tuple[int, int, float]] = []  # token, strip, weight
        for (slot, weight), spans in owners.items():
            strips = self.store.strips_of(slot)
            if sum(map(len, spans)) >= self.segment_tokens:
                self.segments.append(_Segment(_join(spans), weight, list(strips)))
            else:
                bags += [(token, strip, weight) for span in spans for token in span for strip in strips]
        self._describe_bags(sorted(bags), total)
        self._matrices: dict[tuple[int, str], list[list[tuple[Tensor, Tensor]]]] = {}

    def _describe_bags(self, bags: list[tuple[int, int, float]], total: int) -> None:
        tokens = [token for token, _, _ in bags]
        weights = [weight for _, _, weight in bags]
        self.bags = len(bags)
        self.strips = torch.tensor([strip for _, strip, _ in bags])
        # None where every token is one bag: nothing to select, nothing to scatter.
        self.tokens = None if tokens == list(range(total)) else torch.tensor(tokens)
        self.weights = None
        if any(weight != 1.0 for weight in weights):
            self.weights = torch.tensor(weights, dtype=self.store.dtype)[:, None]
        self._index: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}

    def add(self, layer: int, group: str, x: Tensor, y: Tensor) -> None:
        """Add the updates of one fused projection."""
        if group not in self.groups:
            return
        if self.bags:
            self._add_bags(layer, group, x, y)
        for segment, matrices in zip(self.segments, self._segment_matrices(layer, group), strict=True):
            self._add_segment(group, segment, matrices, x, y)

    def _add_bags(self, layer: int, group: str, x: Tensor, y: Tensor) -> None:
        store = self.store
        inputs = x if self.tokens is None else x.index_select(0, self.tokens)
        rows, starts = self._bag_index(1, store.inputs[group])
        hidden = torch.embedding_bag(
            store.a_rows[layer][group], rows, starts, False, SUM, False, inputs.reshape(-1)
        )[0]
        if self.weights is not None:
            hidden = hidden * self.weights
        pieces = len(store.part_of[group])
        hidden = self._per_piece(group, hidden)
        rows, starts = self._bag_index(pieces, store.width)
        update = torch.embedding_bag(
            store.b_rows[layer][group], rows, starts, False, SUM, False, hidden.reshape(-1)
        )[0].view(self.bags, -1)
        if self.tokens is None:
            y.add_(update)
        else:
            y.index_add_(0, self.tokens, update)

    def _bag_index(self, bags_per_strip: int, size: int) -> tuple[Tensor, Tensor]:
        """Return the table rows of all bags and where each bag starts: bags of `size` rows, strip by strip."""
        key = (bags_per_strip, size)
        if key not in self._index:
            span = bags_per_strip * size
            rows = (self.strips[:, None] * span + torch.arange(span)).reshape(-1)
            self._index[key] = (rows, torch.arange(self.bags * bags_per_strip) * size)
        return self._index[key]

    def _per_piece(self, group: str, hidden: Tensor) -> Tensor:
        """Repeat a part's shrunk values for each of its pieces, (tokens, pieces x width)."""
        columns = self.store.columns[group]
        return hidden if columns is None else hidden.index_select(1, columns)

    def _segment_matrices(self, layer: int, group: str) -> list[list[tuple[Tensor, Tensor]]]:
        key = (layer, group)
        if key not in self._matrices:
            a, b = (table.flatten(0, 1) for table in self.store.tables(layer, group))
            self._matrices[key] = [[(a[s], b[s]) for s in segment.strips] for segment in self.segments]
        return self._matrices[key]

    def _add_segment(
        self, group: str, segment: _Segment, matrices: list[tuple[Tensor, Tensor]], x: Tensor, y: Tensor
    ) -> None:
        tokens, together = segment.tokens, isinstance(segment.tokens, slice)
        inputs = x[tokens]
        out = y[tokens] if together else y.new_zeros((len(inputs), y.shape[1]))
        pieces = out.view(len(inputs), len(self.store.part_of[group]), -1).transpose(0, 1)
        for shrink, grow in matrices:
            hidden = self._per_piece(group, torch.mm(inputs, shrink))
            hidden = hidden.view(len(inputs), len(pieces), -1).transpose(0, 1)
            pieces.baddbmm_(hidden, grow, alpha=segment.weight)
        if not together:
            y.index_add_(0, tokens, out)


def _join(spans: list[range]) -> slice | Tensor:
    together = all(left.stop == right.start for left, right in pairwise(spans))
    if together:
        return slice(spans[0].start, spans[-1].stop)
    return torch.tensor([token for span in spans for token in span])


class _Slabs:
    """The kernels' path over a `SlabStore`; its index tensors never move, so that captured graphs can read them."""

    def __init__(self, store: SlabStore, tokens_max: int, uses_max: int) -> None:
        self.store = store
        self.slots = torch.full((tokens_max, uses_max), -1, dtype=torch.int32, device=store.device)
        self.weights = torch.zeros((tokens_max, uses_max), dtype=torch.float32, device=store.device)

    def describe(self, rows: Rows, counts: Sequence[int], *, tiled: bool) -> None:
        """Write the batch into the index tensors; tokens beyond it have no adapter."""
        from reference_node.kernels import plan_tiles

        slots = np.full(self.slots.shape, -1, dtype=np.int32)
        weights = np.zeros(self.slots.shape, dtype=np.float32)
        end = 0
        for row, count in zip(rows, counts, strict=True):
            for use, (slot, weight) in enumerate(row):
                slots[end : end + count, use], weights[end : end + count, use] = slot, weight
            end += count
        assert end <= len(slots), f"a plan of {len(slots)} tokens was given {end}"
        self.tiles = plan_tiles(slots, self.store.device) if tiled else None
        self.slots.copy_(self._sendable(slots), non_blocking=True)
        self.weights.copy_(self._sendable(weights), non_blocking=True)

    def add(self, layer: int, group: str, x: Tensor, y: Tensor) -> None:
        """Add the updates of one fused projection."""
        from reference_node.kernels import lora_add

        store, tokens = self.store, x.shape[0]
        matrices = [store.b[layer][name] for name in GROUPS[group]]
        slots, weights = self.slots[:tokens], self.weights[:tokens]
        lora_add(x, y, store.a[layer][group], matrices, slots, weights, store.ranks, tiles=self.tiles)

    def _sendable(self, array: np.ndarray) -> Tensor:
        tensor = torch.from_numpy(array)
        return tensor.pin_memory() if self.store.device.type == "cuda" else tensor
