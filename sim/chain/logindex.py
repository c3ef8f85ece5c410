"""Log index: events found by contract and topic without walking through blocks.

Rule decided here: every event is filed under its address and under each (position, topic); a query takes the field
with the fewest filed events and filters those, so its cost follows the hits and not the length of the chain.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from heapq import merge
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

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
        for log in reversed(self._logs[length:]):
            self._by_address[log.address].pop()
            for place, topic in enumerate(log.topics):
                self._by_topic[place, topic].pop()
        del self._logs[length:]

    def query(
        self,
        from_block: int,
        to_block: int,
        addresses: Collection[bytes] = (),
        topics: Sequence[Collection[bytes]] = (),
    ) -> list[Log]:
        """Return the events of blocks `from_block` to `to_block`, both included, that match.

        Parameters
        ----------
        from_block, to_block
            Block numbers.
        addresses
            Contracts, any of which matches; none means all.
        topics
            For each position the values, any of which matches; none means all. An event with fewer topics than this
            has positions does not match.
        """
        first = bisect_left(self._logs, from_block, key=lambda log: log.block_number)
        last = bisect_right(self._logs, to_block, key=lambda log: log.block_number)
        wanted = [
            [self._by_topic.get((i, topic), []) for topic in set(values)]
            for i, values in enumerate(topics)
            if values
        ]
        if addresses:
            wanted.append([self._by_address.get(address, []) for address in set(addresses)])
        if wanted:
            files = min(wanted, key=lambda lists: sum(map(len, lists)))
            parts = [file[bisect_left(file, first) : bisect_left(file, last)] for file in files]
            found: Iterable[Log] = map(self._logs.__getitem__, merge(*parts))
        else:
            found = self._logs[first:last]
        return [log for log in found if _matches(log, addresses, topics)]


def _matches(log: Log, addresses: Collection[bytes], topics: Sequence[Collection[bytes]]) -> bool:
    if addresses and log.address not in addresses:
        return False
    if len(topics) > len(log.topics):
        return False
    return all(not values or found in values for values, found in zip(topics, log.topics, strict=False))
