"""Log index: events found by contract and topic without walking through blocks.

Rule decided here: every event is filed under its address and under each (position, topic); a query takes the
shortest matching file and filters it, so its cost follows the hits and not the length of the chain.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sim.chain.backend import Log


class LogIndex:
    """All events of one chain, in order."""

    def __init__(self) -> None:
        self._logs: list[Log] = []
        self._by_address: defaultdict[bytes, list[int]] = defaultdict(list)
        self._by_topic: defaultdict[tuple[int, bytes], list[int]] = defaultdict(list)

    def __len__(self) -> int:
        return len(self._logs)

    def extend(self, logs: Iterable[Log]) -> None:
        """File events that follow the last one."""
        for log in logs:
            position = len(self._logs)
            self._logs.append(log)
            self._by_address[log.address].append(position)
            for place, topic in enumerate(log.topics):
                self._by_topic[place, topic].append(position)

    def truncate(self, length: int) -> None:
        """Forget every event from position `length` on."""
        del self._logs[length:]
        for positions in (*self._by_address.values(), *self._by_topic.values()):
            del positions[bisect_left(positions, length) :]

    def query(
        self,
        from_block: int,
        to_block: int,
        address: bytes | None = None,
        topics: tuple[bytes | None, ...] = (),
    ) -> list[Log]:
        """Return the events of blocks `from_block` to `to_block`, both included, that match."""
        first = bisect_left(self._logs, from_block, key=lambda log: log.block_number)
        last = bisect_right(self._logs, to_block, key=lambda log: log.block_number)
        files = [self._by_topic.get((i, t), []) for i, t in enumerate(topics) if t is not None]
        if address is not None:
            files.append(self._by_address.get(address, []))
        if not files:
            return self._logs[first:last]
        shortest = min(files, key=len)
        positions = shortest[bisect_left(shortest, first) : bisect_left(shortest, last)]
        return [log for log in map(self._logs.__getitem__, positions) if _matches(log, address, topics)]


def _matches(log: Log, address: bytes | None, topics: tuple[bytes | None, ...]) -> bool:
    if address is not None and log.address != address:
        return False
    if len(topics) > len(log.topics):
        return False
    return all(t is None or t == found for t, found in zip(topics, log.topics, strict=False))
