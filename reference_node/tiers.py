"""Behind the device: host memory under a byte budget, the thread that reads folders, the copies to an accelerator.

The least recently used adapter leaves the host first, and only one that has a folder to come back from. What was read
for a request that still asks for it stays until that request has it. The reader checks a folder's content hash each
time: a folder that changed is an error of the requests that named the old content, never another adapter.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from models.errors import InputError, Problem
from reference_node.adapters import Adapter, read_adapter
from reference_node.config import ModelConfig
from reference_node.slots import Packed, SlabStore, StripStore

AWAITED_S = 5.0  # the engine asks again every step; longer silence means that the request has gone


class HostTier:
    """Packed adapters by content hash, least recently used first.

    Parameters
    ----------
    budget
        Bytes that all of them may occupy. One adapter larger than this is held while it is the newest.
    """

    def __init__(self, budget: int) -> None:
        self.budget, self.used = budget, 0
        self._held: OrderedDict[str, Packed] = OrderedDict()

    def __contains__(self, sha256: str) -> bool:
        return sha256 in self._held

    def get(self, sha256: str) -> Packed | None:
        """Return an adapter, now the most recently used."""
        if sha256 in self._held:
            self._held.move_to_end(sha256)
        return self._held.get(sha256)

    def put(self, packed: Packed, removable: Callable[[str], bool]) -> None:
        """Hold an adapter and let the oldest removable ones go until the budget is met."""
        self.drop(packed.sha256)
        self._held[packed.sha256] = packed
        self.used += packed.nbytes
        for sha256 in list(self._held):
            if self.used <= self.budget:
                return
            if sha256 != packed.sha256 and removable(sha256):
                self.drop(sha256)

    def drop(self, sha256: str) -> None:
        """Let an adapter go."""
        packed = self._held.pop(sha256, None)
        if packed is not None:
            self.used -= packed.nbytes


def read_checked(folder: Path, sha256: str, config: ModelConfig, rank_max: int) -> Adapter:
    """Read an adapter folder that must still hold the content of this hash.

    Raises
    ------
    InputError
        When the folder is damaged or holds something else.
    """
    try:
        adapter = read_adapter(folder, config, rank_max=rank_max)
    except InputError as error:
        lost = Problem(f"adapter {sha256[:12]} cannot be read again from this folder", where=str(folder))
        raise InputError([lost, *error.problems]) from error
    if adapter.sha256 != sha256:
        message = f"content is now {adapter.sha256[:12]}, the request asked for {sha256[:12]}"
        raise InputError([Problem(message, where=str(folder))])
    return adapter


class BackgroundReader:
    """One thread that reads folders in the order they were asked for; it ends with the program or `close`.

    Parameters
    ----------
    read
        Reads one adapter and stores it; what it raises is delivered by `poll`.
    """

    def __init__(self, read: Callable[[str], None]) -> None:
        self._read = read
        self._asked: dict[str, float] = {}  # when each adapter was last asked for, until it is taken
        self._queued: set[str] = set()
        self._errors: dict[str, Exception] = {}
        self._orders: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def ask(self, sha256: str) -> None:
        """Order an adapter, once however often it is asked for.

        Raises
        ------
        Exception
            What the last read of this adapter raised, delivered once.
        """
        with self._lock:
            if sha256 in self._errors:
                self._asked.pop(sha256, None)
                raise self._errors.pop(sha256)
            self._asked[sha256] = time.monotonic()
            if sha256 in self._queued:
                return
            self._queued.add(sha256)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="adapter-reader", daemon=True)
                self._thread.start()
        self._orders.put(sha256)

    def awaited(self, sha256: str) -> bool:
        """Return whether somebody asked for this adapter lately and has not taken it."""
        return time.monotonic() - self._asked.get(sha256, -AWAITED_S) < AWAITED_S

    def taken(self, sha256: str) -> bool:
        """Forget the question and any error; return whether there was a question."""
        with self._lock:
            self._errors.pop(sha256, None)
            return self._asked.pop(sha256, None) is not None

    def close(self) -> None:
        """End the thread after the read in progress."""
        if self._thread is not None:
            self._orders.put(None)
            self._thread.join()
            self._thread = None

    def _work(self) -> None:
        while (sha256 := self._orders.get()) is not None:
            error: Exception | None = None
            try:
                self._read(sha256)
            except Exception as raised:  # delivered to the request that asked, whatever it is
                error = raised
            with self._lock:
                self._queued.discard(sha256)
                if error is not None:
                    self._errors[sha256] = error


class Copier:
    """Copies from pinned host memory on a stream of its own, so that steps in progress are not held up.

    One transfer into a staging buffer (the link likes long copies), then copies inside the device into the slot.
    """

    def __init__(self, store: SlabStore | StripStore, staging_bytes: int) -> None:
        self._store = store
        self._stream = torch.cuda.Stream(store.device)
        self._staging = torch.empty(
            staging_bytes // store.dtype.itemsize, dtype=store.dtype, device=store.device
        )
        self._events: dict[str, torch.cuda.Event] = {}

    def start(self, slot: int, packed: Packed) -> None:
        """Begin the copy into a slot; what the device already does may still read the slot's old content."""
        self._stream.wait_stream(torch.cuda.current_stream(self._store.device))
        with torch.cuda.stream(self._stream):
            source: Tensor = self._staging[: packed.flat.numel()]
            source.copy_(packed.flat, non_blocking=True)
            self._store.write(slot, packed, source)
            event = torch.cuda.Event()
            event.record(self._stream)
        self._events[packed.sha256] = event

    def busy(self, sha256: str) -> bool:
        """Return whether an adapter's copy is still running."""
        return sha256 in self._events and not self._events[sha256].query()

    def arrived(self, sha256: str, *, wait: bool) -> bool:
        """Return whether an adapter may be used by the next step; `wait` makes that step wait for the copy."""
        event = self._events.get(sha256)
        if event is None:
            return True
        if wait:
            torch.cuda.current_stream(self._store.device).wait_event(event)
        elif not event.query():
            return False
        del self._events[sha256]
        return True
