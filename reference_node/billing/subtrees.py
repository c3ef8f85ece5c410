"""Subtrees: the root of a log whose parts were hashed apart.

Rule decided here. Consecutive leaves are kept as the largest complete subtrees of the RFC 9162 tree, which begin at a
multiple of their size: a few dozen hashes whatever the length. Those of one part follow those of the part before, so
the root of the whole is that of `models.merkle.log_root`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from reference_node.billing.hashes import sha256


@dataclass(slots=True)
class Subtrees:
    """Complete subtrees of consecutive leaves.

    Parameters
    ----------
    first
        Number of the first leaf.
    nodes
        (number of leaves, hash) of each subtree, in order.
    """

    first: int = 0
    nodes: list[tuple[int, bytes]] = field(default_factory=list)
    _end: int = field(init=False)

    def __post_init__(self) -> None:
        self._end = self.first + sum(size for size, _ in self.nodes)

    def extend(self, leaves: Sequence[bytes]) -> None:
        """Append leaves."""
        count = len(leaves)
        if count & count - 1 or self._end % max(count, 1):
            for leaf in leaves:
                self._append(1, leaf)
            return
        level = list(leaves)
        while len(level) > 1:
            pairs = zip(level[::2], level[1::2], strict=True)
            level = [sha256(b"\1" + left + right) for left, right in pairs]
        if level:
            self._append(count, level[0])

    def follow(self, other: Subtrees) -> None:
        """Append the subtrees of the leaves that follow these."""
        assert other.first == self._end, (other.first, self._end)
        for size, node in other.nodes:
            self._append(size, node)

    def root(self) -> bytes:
        """Return the root of the log whose first leaf is the first here; the hash of nothing without a leaf."""
        assert self.first == 0, self.first
        if not self.nodes:
            return sha256(b"")
        *rest, (_, node) = self.nodes
        for _, left in reversed(rest):
            node = sha256(b"\1" + left + node)
        return node

    def _append(self, size: int, node: bytes) -> None:
        begin = self._end
        self._end += size
        while self.nodes and self.nodes[-1][0] == size and (begin - size) % (2 * size) == 0:
            _, left = self.nodes.pop()
            node, begin, size = sha256(b"\1" + left + node), begin - size, 2 * size
        self.nodes.append((size, node))
