"""Decode steps as CUDA graphs: which recorded step serves a batch.

One graph per batch bucket (1, 2, 4, ... and `batch_max`) in two sets, without adapters and with one adapter per row at
most; a batch with ensembles gets a set of its own, recorded at its first use. All graphs read the same input buffers,
filled by one copy per step. Rows from the batch to its bucket are padding: they see one position of the scratch block,
write there, have no adapter, and their logits are dropped. Where nothing can be recorded (no CUDA, or recording
failed) the same buffers go through the model directly.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from reference_node import kernels
from reference_node.attention import AttendDecode
from reference_node.kv import SCRATCH, PagedKV
from reference_node.lora import LoraPlan
from reference_node.model import Llama
from reference_node.pool import AdapterPool

logger = logging.getLogger(__name__)

Uses = Sequence[tuple[int, float]]
FIELDS = 4  # token, position, token slot, visible tokens


def buckets(batch_max: int) -> list[int]:
    """Return the batch sizes that are recorded, ascending.

    Examples
    --------
    >>> buckets(6)
    [1, 2, 4, 6]
    """
    sizes = [1]
    while 2 * sizes[-1] < batch_max:
        sizes.append(2 * sizes[-1])
    return sizes if sizes[-1] == batch_max else [*sizes, batch_max]


class DecodeGraphs:
    """Runs decode steps of up to `batch_max` rows.

    Parameters
    ----------
    model, kv, pool
        What the steps read and write; a pool of slabs.
    batch_max, length_max
        Rows of a step, tokens of a row.
    attend
        Attention over the paged store; must be launches alone, nothing read by the host.
    record
        Whether to record graphs; None where the model is on CUDA.
    """

    def __init__(
        self,
        model: Llama,
        kv: PagedKV,
        pool: AdapterPool,
        *,
        batch_max: int,
        length_max: int,
        attend: AttendDecode = kernels.paged_decode,
        record: bool | None = None,
    ) -> None:
        self.model, self.kv, self.pool, self.attend = model, kv, pool, attend
        self.sizes, self.batch_max = buckets(batch_max), batch_max
        self.recording = model.device.type == "cuda" if record is None else record
        self._columns = -(-length_max // kv.block_size)
        size = batch_max * (FIELDS + self._columns)
        self._host = torch.zeros(size, dtype=torch.int32, pin_memory=model.device.type == "cuda")
        self._device = torch.zeros(size, dtype=torch.int32, device=model.device)
        self._sent = torch.cuda.Event() if model.device.type == "cuda" else None
        self._plans: dict[int, tuple[LoraPlan, list[Uses]]] = {}
        self._graphs: dict[tuple[int, int], tuple[torch.cuda.CUDAGraph, Tensor]] = {}
        self._last = self.sizes[0], 0
        self._memory = torch.cuda.graph_pool_handle() if self.recording else None

    def warm(self) -> float:
        """Record both sets, largest first so that the others reuse its memory, and return the seconds it took."""
        began = time.perf_counter()
        for uses in (1, 0):
            for size in reversed(self.sizes):
                self._send([], [], [], size)
                self._plan(uses, [])
                self._run(size, uses)
        return time.perf_counter() - began

    def decode(
        self,
        tokens: Sequence[int],
        positions: Sequence[int],
        blocks: Sequence[Sequence[int]],
        adapters: Sequence[Uses] = (),
    ) -> Tensor:
        """Run one token of each row and return the logits.

        Parameters
        ----------
        tokens, positions
            Each row's newest token and its position.
        blocks
            Blocks of each row, in the order of their positions, the newest token's included.
        adapters
            (slot, weight) pairs of each row; empty for a step of the base alone.

        Returns
        -------
        Tensor (rows, vocab), float32; overwritten by the next step
        """
        count = len(tokens)
        assert 0 < count <= self.batch_max, f"{count} rows; allowed 1 to {self.batch_max}"
        size = next(size for size in self.sizes if size >= count)
        most = max((len(uses) for uses in adapters), default=0)
        uses = most if most < 2 else 1 << (most - 1).bit_length()
        self._plan(uses, adapters)
        self._send(tokens, positions, blocks, size)
        self._last = size, uses
        return self._run(size, uses)[:count]

    def repeat(self) -> Tensor:
        """Run the last step once more on the inputs that are there already, as timing wants it."""
        return self._run(*self._last)

    def _send(
        self, tokens: Sequence[int], positions: Sequence[int], blocks: Sequence[Sequence[int]], size: int
    ) -> None:
        if self._sent is not None:
            self._sent.synchronize()  # the copy of the step before still reads the host's buffer
        fields, tables = self._views(self._host)
        count, block_size = len(tokens), self.kv.block_size
        where, table = fields.numpy(), tables.numpy()
        where[:, count:size] = np.array([[0], [0], [SCRATCH * block_size], [1]])
        table[count:size, 0] = SCRATCH
        if count:
            place = np.array(positions)
            for row, mine in enumerate(blocks):
                table[row, : len(mine)] = mine
            newest = table[np.arange(count), place // block_size]
            where[:, :count] = tokens, place, newest * block_size + place % block_size, place + 1
        self._device.copy_(self._host, non_blocking=True)
        if self._sent is not None:
            self._sent.record()

    def _views(self, buffer: Tensor) -> tuple[Tensor, Tensor]:
        fields, tables = buffer.split([FIELDS * self.batch_max, self._columns * self.batch_max])
        return fields.view(FIELDS, self.batch_max), tables.view(self.batch_max, self._columns)

    def _plan(self, uses: int, adapters: Sequence[Uses]) -> LoraPlan | None:
        """Return the plan that graphs with so many uses per row read, describing this batch."""
        if uses == 0:
            return None
        wanted = [tuple(row) for row in adapters]
        plan, known = self._plans.get(uses, (None, None))
        if plan is None:
            plan = LoraPlan(self.pool, wanted, tokens_max=self.batch_max, uses_max=uses)
        elif known != wanted:
            plan.update(wanted)
        self._plans[uses] = plan, wanted
        return plan

    def _run(self, size: int, uses: int) -> Tensor:
        if not self.recording:
            return self._step(size, uses)
        key = size, uses
        if key not in self._graphs:
            try:
                self._graphs[key] = self._record(size, uses)
            except RuntimeError as error:
                logger.warning("CUDA graphs are off: recording %s rows failed: %s", size, error)
                self.recording = False
                return self._step(size, uses)
        graph, logits = self._graphs[key]
        graph.replay()
        return logits

    def _record(self, size: int, uses: int) -> tuple[torch.cuda.CUDAGraph, Tensor]:
        side = torch.cuda.Stream(self.model.device)
        side.wait_stream(torch.cuda.current_stream(self.model.device))
        with torch.cuda.stream(side):  # compiles kernels and makes workspaces, which recording forbids
            self._step(size, uses)
        torch.cuda.current_stream(self.model.device).wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._memory, capture_error_mode="thread_local"):
            logits = self._step(size, uses)
        return graph, logits

    def _step(self, size: int, uses: int) -> Tensor:
        fields, tables = self._views(self._device)
        tokens, positions, slots, lengths = fields[:, :size]
        plan = self._plans[uses][0] if uses else None
        return self.model.decode(
            tokens, positions, tables[:size], lengths, slots, self.kv, plan, attend=self.attend
        )
