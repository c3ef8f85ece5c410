"""One step on the device: from the requests of a step to the logits of those that want a token.

On a CPU decode rows are dense and every step is one forward pass over rows and chunks. On an accelerator a step
without chunks is a recorded graph, and one with chunks a forward pass that reads all rows by block tables.
"""

from __future__ import annotations

from collections.abc import Sequence as Several
from itertools import accumulate

import torch
from torch import Tensor

from reference_node.attention import (
    Attention,
    Chunk,
    ChunkAttention,
    MixedAttention,
    PagedRows,
    causal_mask,
    choose_decode,
)
from reference_node.dense import DenseRows
from reference_node.graphs import DecodeGraphs
from reference_node.kv import PagedKV
from reference_node.lora import LoraPlan
from reference_node.merge import MergePath
from reference_node.model import Llama
from reference_node.pool import AdapterPool
from reference_node.sequence import NO_ROW, EngineConfig, Sequence

Uses = tuple[tuple[int, float], ...]
Pieces = Several[tuple[Sequence, int]]


class Runner:
    """Model, keys and values, and what is prepared between two steps.

    Parameters
    ----------
    model, pool, config
        As of the engine.
    dense
        Whether decode rows are dense; None where the model is on a CPU.
    """

    def __init__(
        self, model: Llama, pool: AdapterPool, config: EngineConfig, *, dense: bool | None = None
    ) -> None:
        self.model, self.pool = model, pool
        self.kv = PagedKV(model.config, config.blocks, config.block_size, model.embed)
        self.dense: DenseRows | None = None
        self.graphs: DecodeGraphs | None = None
        self._attend = None
        self._owners: list[Sequence] = []
        self._plan: tuple[object, LoraPlan | None] = (None, None)
        self._merge = MergePath(model, pool, bytes_max=config.merge_bytes) if config.merge_bytes else None
        if model.device.type == "cpu" if dense is None else dense:
            self.attention_name = "dense_rows"
            self.dense = DenseRows(model.config, config.batch_max, model.embed)
            return
        self.attention_name, self._attend = choose_decode(model.config, config.block_size, model.embed)
        self.graphs = DecodeGraphs(
            model,
            self.kv,
            pool,
            batch_max=config.batch_max,
            length_max=config.length_max,
            attend=self._attend,
        )
        if self.graphs.recording:
            self.graphs.warm()

    def arrange(self, decode: list[Sequence]) -> list[Sequence]:
        """Return the decoding requests in the order of their rows, each with its keys and values in place."""
        if self.dense is None:
            return decode
        owners, n = self._owners, len(decode)
        wanted = set(map(id, decode))
        for row, owner in enumerate(owners):
            if owner.row == row and id(owner) not in wanted:
                self._vacate(self.dense, row, owner)
        order: list[Sequence | None] = [
            owner if owner.row == row else None for row, owner in enumerate(owners[:n])
        ]
        order += [None] * (n - len(order))
        homeless = iter([entry for entry in decode if not 0 <= entry.row < n])
        for row, owner in enumerate(order):
            if owner is None:
                entry = next(homeless)
                self._settle(self.dense, row, entry)
                order[row] = entry
        self._owners = [entry for entry in order if entry is not None]
        return self._owners

    def run(self, decode: list[Sequence], chunks: Pieces) -> Tensor:
        """Run one step and return logits: of every decoding request as arranged, then of each finished prompt.

        Returns
        -------
        Tensor (requests with a new token, vocab), float32
        """
        model = self._merged(decode, chunks)
        adapted = any(entry.uses for entry in decode) or any(entry.uses for entry, _ in chunks)
        if self.graphs is not None and model is None and not chunks:
            return self._replay(decode, adapted)
        delta = self._lora(decode, chunks) if adapted and model is None else None
        device = self.model.device
        tokens = [entry.tokens[-1] for entry in decode]
        positions = [entry.computed for entry in decode]
        for entry, count in chunks:
            tokens += entry.tokens[entry.computed : entry.computed + count]
            positions += range(entry.computed, entry.computed + count)
        logits = (model or self.model).forward(
            torch.tensor(tokens, device=device),
            torch.tensor(positions, device=device),
            self._attention(decode, chunks),
            delta,
            _last_rows(len(decode), chunks, device),
        )
        self._save_full_blocks(decode)
        return logits

    def _replay(self, decode: list[Sequence], adapted: bool) -> Tensor:
        assert self.graphs is not None
        return self.graphs.decode(
            [entry.tokens[-1] for entry in decode],
            [entry.computed for entry in decode],
            [entry.blocks for entry in decode],
            [entry.uses or () for entry in decode] if adapted else (),
        )

    def _merged(self, decode: list[Sequence], chunks: Pieces) -> Llama | None:
        if self._merge is None:
            return None
        entries = (*decode, *(entry for entry, _ in chunks))
        return self._merge.choose([entry.adapters for entry in entries])

    def _lora(self, decode: list[Sequence], chunks: Pieces) -> LoraPlan | None:
        """Return the plan of these rows; the one of the last step where nothing has changed."""
        # A hash beside the slot: the slot may hold another adapter by now.
        entries = (*decode, *(entry for entry, _ in chunks))
        counts = [1] * len(decode) + [count for _, count in chunks]
        key = [(entry.adapters, entry.uses) for entry in entries], counts
        if key != self._plan[0]:
            self._plan = key, LoraPlan(self.pool, [entry.uses or () for entry in entries], counts)
        return self._plan[1]

    def _attention(self, decode: list[Sequence], chunks: Pieces) -> Attention:
        rows = self._row_attention(decode) if decode else None
        if not chunks:
            assert rows is not None
            return rows
        pieces = ChunkAttention(self.kv, self._pieces(chunks), self._slots(chunks))
        return pieces if rows is None else MixedAttention(len(decode), rows, pieces)

    def _row_attention(self, decode: list[Sequence]) -> Attention:
        if self.dense is not None:
            self.dense.begin([entry.computed for entry in decode])
            return self.dense
        assert self._attend is not None
        tables = torch.zeros((len(decode), max(len(entry.blocks) for entry in decode)), dtype=torch.int32)
        for row, entry in enumerate(decode):
            tables[row, : len(entry.blocks)] = torch.tensor(entry.blocks, dtype=torch.int32)
        lengths = torch.tensor([entry.computed + 1 for entry in decode], dtype=torch.int32)
        device = self.model.device
        return PagedRows(
            self.kv,
            self._attend,
            tables.to(device),
            lengths.to(device),
            self._slots([(entry, 1) for entry in decode]),
            self.model.config.sliding_window,
        )

    def _pieces(self, chunks: Pieces) -> list[Chunk]:
        device, window = self.model.device, self.model.config.sliding_window
        starts = accumulate((count for _, count in chunks), initial=0)
        pieces = []
        for start, (entry, count) in zip(starts, chunks, strict=False):
            seen = entry.computed + count
            blocks = torch.tensor(entry.blocks[: -(-seen // self.kv.block_size)], device=device)
            mask = causal_mask(entry.computed, count, window, device)
            pieces.append(Chunk(start, count, entry.computed, blocks, mask))
        return pieces

    def _slots(self, pieces: Pieces) -> Tensor:
        size = self.kv.block_size
        slots = [
            entry.blocks[position // size] * size + position % size
            for entry, count in pieces
            for position in range(entry.computed, entry.computed + count)
        ]
        return torch.tensor(slots, device=self.model.device)

    def _save_full_blocks(self, decode: list[Sequence]) -> None:
        if self.dense is None:
            return
        size = self.kv.block_size
        for row, entry in enumerate(decode):
            end = entry.computed + 1
            if end % size == 0:
                self.dense.save(row, self.kv, entry.blocks, end - size, end)

    def _vacate(self, dense: DenseRows, row: int, owner: Sequence) -> None:
        """Give a row up; what its request has beyond full blocks goes to the blocks."""
        first = owner.computed - owner.computed % self.kv.block_size
        dense.save(row, self.kv, owner.blocks, first, owner.computed)
        owner.row = NO_ROW

    def _settle(self, dense: DenseRows, row: int, entry: Sequence) -> None:
        if entry.row == NO_ROW:
            dense.load(row, self.kv, entry.blocks, entry.computed)
        else:
            dense.move(entry.row, row)
        entry.row = row


def _last_rows(n: int, chunks: Pieces, device: torch.device) -> Tensor | None:
    """Return the tokens whose logits are wanted: decode rows and the last of each finished prompt; None for all."""
    if not chunks:
        return None
    ends = accumulate((count for _, count in chunks), initial=n)
    next(ends)
    wanted = [end - 1 for end, (entry, count) in zip(ends, chunks, strict=True) if count == entry.remaining]
    return torch.tensor([*range(n), *wanted], dtype=torch.int64, device=device)
