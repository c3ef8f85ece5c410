"""Adapters in one batch: where each adapter's matrices lie, and how a step applies several of them at once.

A permanent pool holds A (slot, part, rank, in) per fused group and B (slot, out, rank) per projection, padded
to the pool's rank, so that serving never allocates. A row names its slot, -1 for none; rows without an
adapter are never touched, hence bit-identical to the base. Few adapters: one small GEMM per segment of equal
slots. Many: gather each row's matrices and multiply batched. B stays per projection, because a block-diagonal
B would stream zeros.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from models.errors import InputError
from reference_node.adapters import Adapter, read_adapter
from reference_node.config import GROUPS, ModelConfig

# Gather once distinct adapters exceed this share of the rows. On a CPU gathering never paid (measured at 1 to
# 32 rows: segments reach 0.51 of base with 32 distinct adapters, gathering 0.36), so 1.0; on an accelerator
# launches dominate and the value is an estimate until `detail` of the bench's `mixed.*` figures, which times
# both, says otherwise.
CROSSOVER = {"cpu": 1.0, "cuda": 0.1}
POLICIES = ("lru", "unload_always", "resident")


class PoolFullError(RuntimeError):
    """Every slot serves a request in flight; the caller waits for one to finish."""


class AdapterPool:
    """Slots on the device, a host tier behind them, folders on disk behind that; entries by content hash.

    Parameters
    ----------
    config
        Shape of the base model.
    slots, rank_max
        Slots on the device and the largest rank that they hold.
    host_slots
        Adapters kept validated in host memory; older ones are read again from disk.
    policy
        `lru`; `unload_always` empties a slot with its last request; `resident` never evicts, so that once the
        slots are taken other adapters are refused.
    """

    def __init__(
        self,
        config: ModelConfig,
        *,
        slots: int,
        rank_max: int,
        host_slots: int = 1024,
        policy: str = "lru",
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        if slots < 1 or rank_max < 1 or host_slots < 1 or policy not in POLICIES:
            raise InputError(
                f"adapter pool: slots {slots}, rank_max {rank_max}, host_slots {host_slots}: 1 or more; "
                f"policy {policy!r} one of {', '.join(POLICIES)}"
            )
        self.config, self.slots, self.rank_max, self.host_slots, self.policy = (
            config,
            slots,
            rank_max,
            host_slots,
            policy,
        )
        shapes = config.projections()
        zeros = {"dtype": dtype, "device": device}
        self.a: list[dict[str, Tensor]] = [
            {
                g: torch.zeros((slots, len(parts), rank_max, shapes[parts[0]][1]), **zeros)
                for g, parts in GROUPS.items()
            }
            for _ in range(config.layers)
        ]
        self.b: list[dict[str, Tensor]] = [
            {name: torch.zeros((slots, out, rank_max), **zeros) for name, (out, _) in shapes.items()}
            for _ in range(config.layers)
        ]
        self.rank = [0] * slots
        self.widths = {name: out for name, (out, _) in shapes.items()}
        # Views by layer, group, slot: A^T (in, parts x rank) and each part's B^T (rank, out), bounded by the
        # true rank.
        self.views: list[dict[str, list[tuple[Tensor, list[Tensor]]]]] = [
            {group: [(torch.empty(0), [])] * slots for group in GROUPS} for _ in range(config.layers)
        ]
        self.counters: Counter[str] = Counter()
        self._slot_of: OrderedDict[str, int] = OrderedDict()  # least recently used first
        self._free = list(range(slots - 1, -1, -1))
        self._in_flight: Counter[str] = Counter()
        self._host: OrderedDict[str, Adapter] = OrderedDict()
        self._folder: dict[str, Path] = {}

    def register(self, folder: Path) -> str:
        """Validate an adapter folder, remember where it lies and return its content hash."""
        adapter = read_adapter(folder, self.config, rank_max=self.rank_max)
        self._folder[adapter.sha256] = folder
        self._remember(adapter)
        return adapter.sha256

    def add(self, adapter: Adapter) -> str:
        """Put a validated adapter into the host tier and return its content hash."""
        if adapter.rank > self.rank_max:
            raise InputError(f"adapter rank {adapter.rank} exceeds the pool's; allowed 1 to {self.rank_max}")
        self._remember(adapter)
        return adapter.sha256

    def knows(self, sha256: str) -> bool:
        """Return whether this adapter can be served."""
        return sha256 in self._slot_of or sha256 in self._host or sha256 in self._folder

    def acquire(self, sha256: str) -> int:
        """Pin an adapter for one request and return its slot, loading it if it is not on the device.

        Raises
        ------
        InputError
            When the adapter is unknown, its folder no longer holds that content, or the policy has no room
            for it.
        PoolFullError
            When no slot can be freed.
        """
        slot = self._slot_of.get(sha256)
        if slot is None:
            adapter = self._fetch(sha256)
            slot = self._take_slot()
            self.write(slot, adapter)
            self._slot_of[sha256] = slot
        else:
            self.counters["hit"] += 1
        self._slot_of.move_to_end(sha256)
        self._in_flight[sha256] += 1
        return slot

    def release(self, sha256: str) -> None:
        """Unpin an adapter at the end of a request."""
        self._in_flight[sha256] -= 1
        if self._in_flight[sha256] > 0:
            return
        del self._in_flight[sha256]
        if self.policy == "unload_always":
            self._free.append(self._slot_of.pop(sha256))

    def write(self, slot: int, adapter: Adapter) -> None:
        """Copy an adapter into a slot; alpha / rank is folded into B, and ranks above its own stay zero."""
        self.rank[slot] = adapter.rank
        for layer in range(self.config.layers):
            for group, parts in GROUPS.items():
                for part, name in enumerate(parts):
                    self._write_one(
                        self.a[layer][group][slot, part], self.b[layer][name][slot], adapter, (layer, name)
                    )
                shrink = self.a[layer][group][slot, :, : adapter.rank].flatten(0, 1).T
                grow = [self.b[layer][name][slot, :, : adapter.rank].T for name in parts]
                self.views[layer][group][slot] = (shrink, grow)

    def nbytes_per_adapter(self, rank: int) -> int:
        """Return the bytes that one adapter of a rank on all seven projections occupies on the device."""
        width = sum(out + inp for out, inp in self.config.projections().values())
        return rank * width * self.config.layers * self.a[0]["o"].element_size()

    def _write_one(self, a: Tensor, b: Tensor, adapter: Adapter, key: tuple[int, str]) -> None:
        a.zero_()
        b.zero_()
        if key in adapter.a:
            a[: adapter.rank] = adapter.a[key].to(a.device, a.dtype)
            b[:, : adapter.rank] = (adapter.b[key].float() * adapter.scale).to(b.device, b.dtype)

    def _fetch(self, sha256: str) -> Adapter:
        if sha256 in self._host:
            self.counters["host_load"] += 1
            self._host.move_to_end(sha256)
            return self._host[sha256]
        folder = self._folder.get(sha256)
        if folder is None:
            raise InputError(f"unknown adapter {sha256[:12]}; register it before it is asked for")
        adapter = read_adapter(folder, self.config, rank_max=self.rank_max)
        if adapter.sha256 != sha256:
            raise InputError(
                f"{folder}: content is now {adapter.sha256[:12]}, the request asked for {sha256[:12]}"
            )
        self.counters["disk_load"] += 1
        self._remember(adapter)
        return adapter

    def _remember(self, adapter: Adapter) -> None:
        self._host[adapter.sha256] = adapter
        self._host.move_to_end(adapter.sha256)
        # An adapter without a folder could not be read again, so only those with one leave the host tier.
        removable = [key for key in self._host if key in self._folder and key != adapter.sha256]
        for key in removable[: max(0, len(self._host) - self.host_slots)]:
            del self._host[key]

    def _take_slot(self) -> int:
        if self._free:
            return self._free.pop()
        if self.policy == "resident":
            raise InputError(f"all {self.slots} adapter slots are resident; policy `resident` evicts none")
        for sha256 in self._slot_of:
            if not self._in_flight[sha256]:
                self.counters["eviction"] += 1
                return self._slot_of.pop(sha256)
        raise PoolFullError(f"all {self.slots} adapter slots are in use")


class LoraPlan:
    """How one fixed set of rows meets the pool: built when the batch changes, used by every layer.

    Parameters
    ----------
    pool
        Where the matrices lie.
    slots
        One slot per token row, -1 for none.
    gather
        Force the batched path (True), the segment path (False), or choose by `CROSSOVER` (None).
    """

    def __init__(self, pool: AdapterPool, slots: Sequence[int], *, gather: bool | None = None) -> None:
        order = sorted((row for row, slot in enumerate(slots) if slot >= 0), key=slots.__getitem__)
        counts = Counter(slots[row] for row in order)
        device = pool.a[0]["o"].device
        self.pool, self.active, self.distinct = pool, len(order), len(counts)
        self.gather = self.distinct > CROSSOVER[device.type] * self.active if gather is None else gather
        self.rank = max((pool.rank[slot] for slot in counts), default=0)
        self.segments, self.sizes = list(counts), list(counts.values())
        # The index of sorted rows; None where the rows already lie sorted and all carry an adapter.
        in_place = order == list(range(len(slots)))
        self.order = None if in_place else torch.tensor(order, dtype=torch.int64, device=device)
        self.slots = torch.tensor([slots[row] for row in order], device=device) if self.gather else None

    def add(self, layer: int, group: str, x: Tensor, y: Tensor) -> None:
        """Add every row's low-rank update of `x` (tokens, in) to `y` (tokens, out of the group), in place."""
        if self.active == 0:
            return
        xs = x if self.order is None else x.index_select(0, self.order)
        out = y if self.order is None else y.new_zeros((self.active, y.shape[1]))
        if self.slots is not None:
            self._add_gathered(layer, group, xs, out, self.slots)
        else:
            self._add_segments(layer, group, xs, out)
        if self.order is not None:
            y.index_add_(0, self.order, out)

    def _add_segments(self, layer: int, group: str, x: Tensor, out: Tensor) -> None:
        names = GROUPS[group]
        views = self.pool.views[layer][group]
        tiles = [
            piece.split(self.sizes) for piece in out.split([self.pool.widths[name] for name in names], dim=1)
        ]
        for index, (slot, chunk) in enumerate(zip(self.segments, x.split(self.sizes), strict=True)):
            shrink, grow = views[slot]
            hidden = torch.mm(chunk, shrink)
            inner = (hidden,) if len(names) == 1 else hidden.split(self.pool.rank[slot], dim=1)
            for part, matrix in enumerate(grow):
                tiles[part][index].addmm_(inner[part], matrix)

    def _add_gathered(self, layer: int, group: str, x: Tensor, out: Tensor, slots: Tensor) -> None:
        rank = self.rank
        shrink = self.pool.a[layer][group][:, :, :rank].index_select(0, slots).flatten(1, 2)
        hidden = torch.bmm(shrink, x.unsqueeze(2))
        start = 0
        for part, name in enumerate(GROUPS[group]):
            grow = self.pool.b[layer][name][:, :, :rank].index_select(0, slots)
            piece = out[:, start : start + grow.shape[1]]
            piece.copy_(
                torch.baddbmm(piece.unsqueeze(2), grow, hidden[:, part * rank : (part + 1) * rank]).squeeze(2)
            )
            start += grow.shape[1]
