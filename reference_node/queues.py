"""Who is next: requests of a tenant in order of arrival, tenants by what they have been served.

The tenant that has been served the fewest tokens goes first (virtual token counter, "Fairness in Serving Large Language
Models", OSDI 2024); among equals the older request. A tenant that was away claims no share of that time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from reference_node.sequence import Sequence


class TenantQueues:
    """Waiting requests by tenant."""

    def __init__(self) -> None:
        self._queues: dict[str, list[Sequence]] = {}
        self._served: dict[str, int] = {}

    def __len__(self) -> int:
        return sum(map(len, self._queues.values()))

    def in_order(self) -> list[Sequence]:
        """Return the waiting requests in order of arrival."""
        waiting = (entry for queue in self._queues.values() for entry in queue)
        return sorted(waiting, key=lambda entry: entry.order)

    def add(self, entry: Sequence, running: Collection[Sequence]) -> None:
        """Queue a request by its order of arrival within its tenant; `running` tells which tenants are active."""
        tenant, active = entry.tenant, {other.tenant for other in running} | self._queues.keys()
        if not active:
            self._served.clear()
        if tenant not in active:
            floor = min((self._served[other] for other in active), default=0)
            self._served[tenant] = max(self._served.get(tenant, 0), floor)
        queue = self._queues.setdefault(tenant, [])
        place = len(queue)
        while place and queue[place - 1].order > entry.order:
            place -= 1
        queue.insert(place, entry)

    def remove(self, entry: Sequence) -> None:
        """Take a request out."""
        queue = self._queues[entry.tenant]
        queue.remove(entry)
        if not queue:
            del self._queues[entry.tenant]

    def charge(self, tenant: str, tokens: int) -> None:
        """Count tokens served to a tenant."""
        self._served[tenant] += tokens

    def candidates(self) -> Iterator[Sequence]:
        """Yield waiting requests, fairest first; the caller may remove the one it was given."""
        cursors = dict.fromkeys(self._queues, 0)
        while cursors:
            tenant = min(cursors, key=lambda name: self._claim(name, cursors[name]))
            entry = self._queues[tenant][cursors[tenant]]
            yield entry
            queue = self._queues.get(tenant, [])
            if cursors[tenant] < len(queue) and queue[cursors[tenant]] is entry:
                cursors[tenant] += 1
            if cursors[tenant] >= len(queue):
                del cursors[tenant]

    def _claim(self, tenant: str, cursor: int) -> tuple[int, int]:
        return self._served[tenant], self._queues[tenant][cursor].order
