"""Client of the anchor of attribution-log heads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

from sim.chain.clients.base import ContractClient

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.chain.backend import Backend, Receipt


@dataclass(frozen=True, slots=True)
class Head:
    """Root (RFC 9162) of the first `size` entries, and the second at which it was anchored."""

    root: bytes
    size: int
    anchored_at: int


class LogAnchor(ContractClient):
    """LogAnchor (contracts/LogAnchor.sol)."""

    artifact_name: ClassVar[str] = "LogAnchor"

    @classmethod
    def deploy(cls, chain: Backend, sender: bytes, *, admin: bytes, poster: bytes) -> Self:
        """Create an anchor without heads."""
        return cls._create(chain, sender, admin, poster)

    def anchor(self, poster: bytes, root: bytes, size: int, previous_root: bytes) -> tuple[int, Receipt]:
        """Append a head that follows `previous_root` (32 zero bytes for the first); return its number."""
        receipt = self.transact(poster, "anchor", root, size, previous_root)
        return int(self.event(receipt, "Anchored").arguments["index"]), receipt

    def head_count(self) -> int:
        """Return how many heads there are."""
        return int(self.read("headCount"))

    def head(self, index: int) -> Head:
        """Return a head by number, from 0."""
        return Head(*self.read("head", index))

    def latest(self) -> Head | None:
        """Return the latest head, or None before the first."""
        count = self.head_count()
        return self.head(count - 1) if count else None

    def includes(self, index: int, record: bytes, number: int, path: Sequence[bytes]) -> bool:
        """Return whether a record is entry `number` of the log under head `index`.

        Parameters
        ----------
        index
            Of the head, from 0.
        record
            The record's bytes.
        number
            Of the record, from 0.
        path
            Siblings, 32 bytes each, from the leaf upwards (`models.merkle.inclusion_proof`).
        """
        return bool(self.read("includes", index, record, number, list(path)))
