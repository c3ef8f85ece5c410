"""The pool of adapters: which one lies in which slot, who holds it, what leaves when another must come.

Device slots are allocated once; behind them stands host memory under a byte budget (pinned where the device is an
accelerator), behind that the adapters' folders. An adapter's only name is its content hash. A slot serves requests in
flight until the last of them lets go: nothing takes it away before, not even deletion. The engine's thread acquires
and releases; other threads may register and forget.
"""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from dataclasses import dataclass
from pathlib import Path

import torch

from models.errors import InputError
from reference_node.adapters import Adapter, read_adapter
from reference_node.config import ModelConfig
from reference_node.slots import Packed, SlabStore, StripStore
from reference_node.tiers import BackgroundReader, Copier, HostTier, read_checked

POLICIES = ("lru", "unload_always", "resident")
HOST_BYTES = 4 << 30


class PoolFullError(RuntimeError):
    """Every slot serves a request in flight or is pinned; the caller waits for one to finish."""


class AdapterLoadingError(RuntimeError):
    """The adapter is on its way; ask again at the next step and serve the others meanwhile."""


@dataclass(slots=True)
class AdapterStats:
    """How one adapter was used: requests that found it in a slot, and that had it loaded from host or disk."""

    hits: int = 0
    host_loads: int = 0
    disk_loads: int = 0


class AdapterPool:
    """Slots, tiers, references and pins; `counters` has hit, host_load, disk_load, eviction and loaded_byte.

    Parameters
    ----------
    config
        Shape of the base model.
    slots, rank_max
        Slots on the device and the largest rank that they hold.
    host_bytes
        Bytes of adapters kept ready in host memory; older ones are read again from their folders.
    policy
        `lru`; `unload_always` empties a slot with its last request; `resident` never evicts, so that once the
        slots are taken other adapters are refused.
    background
        Whether folders are read, and copies to an accelerator awaited, while the engine goes on: `acquire` then
        raises `AdapterLoadingError` until the adapter is there.
    slabs
        Layout of the kernels rather than of the CPU path; None chooses by device.
    """

    def __init__(
        self,
        config: ModelConfig,
        *,
        slots: int,
        rank_max: int,
        host_bytes: int = HOST_BYTES,
        policy: str = "lru",
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        background: bool = False,
        slabs: bool | None = None,
    ) -> None:
        if slots < 1 or rank_max < 1 or host_bytes < 1 or policy not in POLICIES:
            raise InputError(
                f"adapter pool: slots {slots}, rank_max {rank_max}, host_bytes {host_bytes}: 1 or more; "
                f"policy {policy!r} one of {', '.join(POLICIES)}"
            )
        self.config, self.slots, self.rank_max, self.policy = config, slots, rank_max, policy
        self.background, self.device = background, torch.device(device)
        cuda = self.device.type == "cuda"
        layout = SlabStore if (cuda if slabs is None else slabs) else StripStore
        self.store: SlabStore | StripStore = layout(config, slots, rank_max, self.device, dtype)
        self.counters: Counter[str] = Counter()
        self.stats: dict[str, AdapterStats] = {}
        self._host, self._reader = HostTier(host_bytes), BackgroundReader(self._read_into_host)
        self._copier = Copier(self.store, self.nbytes_per_adapter(rank_max)) if cuda else None
        self._slot_of: OrderedDict[str, int] = OrderedDict()  # least recently used first
        self._source: dict[str, str] = {}  # where a slot's content came from, until a request has it
        self._free = list(range(slots - 1, -1, -1))
        self._in_flight: Counter[str] = Counter()
        self._pins: Counter[str] = Counter()
        self._doomed: set[str] = set()
        self._folder: dict[str, Path] = {}
        self._lock = threading.RLock()

    @property
    def device_bytes(self) -> int:
        """Return the bytes of the slots, full or not."""
        return self.store.nbytes()

    @property
    def host_bytes(self) -> int:
        """Return the bytes in use in the host tier."""
        return self._host.used

    def nbytes_per_adapter(self, rank: int) -> int:
        """Return the bytes that one adapter of a rank on all seven projections has on the device."""
        width = sum(out + inp for out, inp in self.config.projections().values())
        return rank * width * self.config.layers * self.store.dtype.itemsize

    def register(self, folder: Path) -> str:
        """Validate an adapter folder, remember where it lies and return its content hash."""
        adapter = read_adapter(folder, self.config, rank_max=self.rank_max)
        packed = self.store.pack(adapter)
        with self._lock:
            self._folder[adapter.sha256] = folder
            self._hold(packed)
        return adapter.sha256

    def add(self, adapter: Adapter) -> str:
        """Put a validated adapter without a folder into the host tier and return its content hash."""
        if adapter.rank > self.rank_max:
            raise InputError(f"adapter rank {adapter.rank} exceeds the pool's; allowed 1 to {self.rank_max}")
        with self._lock:
            if self._host.get(adapter.sha256) is not None:  # packing again would cost a copy of all its bytes
                self._doomed.discard(adapter.sha256)
                return adapter.sha256
        packed = self.store.pack(adapter)
        with self._lock:
            self._hold(packed)
            if self._host.used > self._host.budget and adapter.sha256 not in self._folder:
                self._host.drop(adapter.sha256)
                raise InputError(
                    f"adapter of {packed.nbytes} bytes has no folder and no room in host memory; "
                    f"allowed {self._host.budget} bytes, of which {self._host.used} are in use"
                )
        return adapter.sha256

    def knows(self, sha256: str) -> bool:
        """Return whether this adapter can be served to a new request."""
        with self._lock:
            held = sha256 in self._slot_of or sha256 in self._host or sha256 in self._folder
            return held and sha256 not in self._doomed

    def acquire(self, sha256: str) -> int:
        """Hold an adapter for one request and return its slot, loading it if it is not on the device.

        Raises
        ------
        InputError
            When the adapter is unknown or deleted, its folder no longer holds that content, or the policy has
            no room for it.
        PoolFullError
            When no slot can be freed.
        AdapterLoadingError
            When it is being loaded (`background` only).
        """
        with self._lock:
            if not self.knows(sha256):
                raise InputError(f"unknown adapter {sha256[:12]}; register it before it is asked for")
            if sha256 not in self._slot_of:
                self._load(sha256)
            if self._copier is not None and not self._copier.arrived(sha256, wait=not self.background):
                raise AdapterLoadingError(f"adapter {sha256[:12]} is being copied to the device")
            self._slot_of.move_to_end(sha256)
            self._in_flight[sha256] += 1
            self._count(sha256, self._source.pop(sha256, "hit"))
            return self._slot_of[sha256]

    def release(self, sha256: str) -> None:
        """Let go of an adapter at the end of a request; the last one carries out what waited for it."""
        with self._lock:
            assert self._in_flight[sha256] > 0, f"adapter {sha256[:12]} is released more often than acquired"
            self._in_flight[sha256] -= 1
            if self._in_flight[sha256]:
                return
            del self._in_flight[sha256]
            if sha256 in self._doomed:
                self._remove(sha256)
            elif self.policy == "unload_always" and not self._pins[sha256]:
                self._free.append(self._slot_of.pop(sha256))

    def pin(self, sha256: str) -> None:
        """Keep an adapter wherever it is, device or host, until it is unpinned as often as it was pinned."""
        with self._lock:
            if not self.knows(sha256):
                raise InputError(f"unknown adapter {sha256[:12]} cannot be pinned")
            self._pins[sha256] += 1

    def unpin(self, sha256: str) -> None:
        """Take one pin away."""
        with self._lock:
            self._pins[sha256] -= 1
            if self._pins[sha256] <= 0:
                del self._pins[sha256]

    def forget(self, sha256: str) -> None:
        """Delete an adapter: unknown to new requests now, gone from all tiers with the last reference."""
        with self._lock:
            self._folder.pop(sha256, None)
            self._pins.pop(sha256, None)
            if self._in_flight[sha256]:
                self._doomed.add(sha256)
            else:
                self._remove(sha256)

    def in_flight(self, sha256: str) -> int:
        """Return the requests that hold an adapter."""
        return self._in_flight[sha256]

    def resident(self) -> dict[str, int]:
        """Return the slot of every adapter on the device, least recently used first."""
        with self._lock:
            return dict(self._slot_of)

    def close(self) -> None:
        """End the reading thread."""
        self._reader.close()

    def _hold(self, packed: Packed) -> None:
        """Put into the host tier; an adapter that was to be deleted is wanted again."""
        self._doomed.discard(packed.sha256)
        self._host.put(packed, self._removable)

    def _removable(self, sha256: str) -> bool:
        return sha256 in self._folder and not self._pins[sha256] and not self._reader.awaited(sha256)

    def _load(self, sha256: str) -> None:
        """Bring an adapter into a slot; a slot is taken only once the content is at hand."""
        packed, source = self._host.get(sha256), "host_load"
        if packed is not None and self._reader.taken(sha256):
            source = "disk_load"
        if packed is None and self.background:
            self._reader.ask(sha256)
            raise AdapterLoadingError(f"adapter {sha256[:12]} is being read from disk")
        if packed is None:
            packed, source = self._read(sha256), "disk_load"
            self._hold(packed)
        slot = self._take_slot()
        try:
            if self._copier is None:
                self.store.write(slot, packed)
            else:
                self._copier.start(slot, packed)
        except BaseException:
            self._free.append(slot)
            raise
        self._slot_of[sha256], self._source[sha256] = slot, source
        self.counters["loaded_byte"] += packed.nbytes

    def _take_slot(self) -> int:
        if self._free:
            return self._free.pop()
        if self.policy == "resident":
            raise InputError(f"all {self.slots} adapter slots are resident; policy `resident` evicts none")
        for sha256 in self._slot_of:
            copying = self._copier is not None and self._copier.busy(sha256)
            if not self._in_flight[sha256] and not self._pins[sha256] and not copying:
                self.counters["eviction"] += 1
                self._source.pop(sha256, None)
                return self._slot_of.pop(sha256)
        raise PoolFullError(f"all {self.slots} adapter slots are in use or pinned")

    def _read(self, sha256: str) -> Packed:
        folder = self._folder.get(sha256)
        if folder is None:
            raise InputError(f"adapter {sha256[:12]} was deleted while it was being read")
        return self.store.pack(read_checked(folder, sha256, self.config, self.rank_max))

    def _read_into_host(self, sha256: str) -> None:
        packed = self._read(sha256)
        with self._lock:
            if sha256 in self._folder:
                self._hold(packed)

    def _count(self, sha256: str, what: str) -> None:
        self.counters[what] += 1
        stats = self.stats.setdefault(sha256, AdapterStats())
        if what == "hit":
            stats.hits += 1
        elif what == "host_load":
            stats.host_loads += 1
        else:
            stats.disk_loads += 1

    def _remove(self, sha256: str) -> None:
        self._doomed.discard(sha256)
        self._host.drop(sha256)
        self._source.pop(sha256, None)
        self.stats.pop(sha256, None)
        if sha256 in self._slot_of:
            self._free.append(self._slot_of.pop(sha256))
