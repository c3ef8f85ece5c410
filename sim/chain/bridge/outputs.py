"""Outputs: what L1 is told of L2's state.

Rule decided here: L2 counts a block every two seconds (every second where an interval is odd), whether or not something
was in it; an output covers the state at the end of each interval and is proposed one second later. A deleted output is
proposed again with the same claim, because the state that it covers has not changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sim.chain.addresses import keccak
from sim.chain.bridge.feed import Feed
from sim.chain.bridge.predeploys import MESSAGE_PASSER

if TYPE_CHECKING:
    from sim.chain.backend import SandboxChain, StorageProof
    from sim.chain.bridge.clients import L2OutputOracle


@dataclass(frozen=True, slots=True)
class OutputRoot:
    """What an output commits to, 32 bytes each.

    Parameters
    ----------
    state_root, storage_root
        Roots of L2's state and of its message passer's storage.
    block_hash
        Hash of L2's latest block.
    """

    state_root: bytes
    storage_root: bytes
    block_hash: bytes

    @property
    def digest(self) -> bytes:
        """The root itself, version 0."""
        return keccak(bytes(32) + self.state_root + self.storage_root + self.block_hash)


@dataclass(frozen=True, slots=True)
class Proposed:
    """An output on L1: its root, and when it was proposed, seconds."""

    root: bytes
    at: int


class Outputs:
    """The outputs of one bridge, by index.

    Parameters
    ----------
    l2
        The chain whose state they cover.
    oracle
        Where they are proposed on L1.
    proposer
        Who proposes them, 20 bytes.
    start, every_s
        Time of L2's block 0 and the interval, seconds.
    """

    def __init__(
        self,
        l1: SandboxChain,
        l2: SandboxChain,
        oracle: L2OutputOracle,
        proposer: bytes,
        start: int,
        every_s: int,
    ) -> None:
        self._l2, self._oracle, self._proposer = l2, oracle, proposer
        self._start, self._every = start, every_s
        self._feed = Feed(l1, oracle, "OutputProposed", "OutputsDeleted")
        self.claims: list[OutputRoot] = []
        self.proposed: list[Proposed] = []

    @property
    def next_time(self) -> int:
        """When the next output can be proposed, seconds: strictly after the block that it covers."""
        return self.time_of(len(self.claims))

    def time_of(self, index: int) -> int:
        """Return when an output is due on L1, seconds."""
        return self._start + (index + 1) * self._every + 1

    def index_covering(self, timestamp: int) -> int:
        """Return the first output that covers what happened on L2 at a time."""
        return max(-((self._start - timestamp) // self._every), 1) - 1

    def read(self) -> None:
        """Take up which outputs stand on L1."""
        for _, event in self._feed.new():
            if event.name == "OutputsDeleted":
                del self.proposed[event.arguments["newNextOutputIndex"] :]
            else:
                self.proposed.append(Proposed(event.arguments["outputRoot"], event.arguments["l1Timestamp"]))

    def claim(self, slots: tuple[int, ...]) -> tuple[StorageProof, ...]:
        """Fix what the next output says, from L2 as it is; return the proofs of words of the message passer."""
        proof = self._l2.proof(MESSAGE_PASSER, slots)
        self.claims.append(OutputRoot(proof.state_root, proof.storage_root, self._l2.latest_block_hash()))
        return proof.storage

    def propose_missing(self) -> None:
        """Propose every claim that has no output on L1."""
        self.read()
        blocks = self._every // block_time(self._every)
        for index in range(len(self.proposed), len(self.claims)):
            self._oracle.propose(self._proposer, self.claims[index].digest, (index + 1) * blocks)
        self.read()


def block_time(every_s: int) -> int:
    """Return the distance of L2's blocks in seconds, of which an interval has a whole number."""
    return 2 if every_s % 2 == 0 else 1
