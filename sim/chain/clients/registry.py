"""Client of the registry of DataNets, models and adapters."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, ClassVar, Self

from sim.chain.addresses import ZERO_ADDRESS, to_address
from sim.chain.clients.base import ContractClient

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sim.chain.backend import Backend, Receipt


class Kind(IntEnum):
    """What an entry is, numbered as in the contract."""

    DATANET = 0
    MODEL = 1
    ADAPTER = 2


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry: `latest` is the version in use (0 for none) of the `versions` that were published."""

    kind: Kind
    owner: bytes
    pending_owner: bytes | None
    latest: int
    versions: int


@dataclass(frozen=True, slots=True)
class Version:
    """One version: content hash, second of publication, and the ids of the DataNets behind it."""

    content_hash: bytes
    published_at: int
    deprecated: bool
    trained_on: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class UsePayees:
    """Whom the use of a version pays: its owner, and the owner of each DataNet by id."""

    owner: bytes
    datanets: Mapping[bytes, bytes]


class Registry(ContractClient):
    """Registry (contracts/Registry.sol); ids and content hashes are 32 bytes, versions count from 1."""

    artifact_name: ClassVar[str] = "Registry"

    @classmethod
    def deploy(cls, chain: Backend, sender: bytes) -> Self:
        """Create an empty registry, which nobody administers."""
        return cls._create(chain, sender)

    def register(
        self, owner: bytes, kind: Kind, name: str, content_hash: bytes, trained_on: Sequence[bytes] = ()
    ) -> tuple[bytes, Receipt]:
        """Create an entry with its first version; return its id."""
        receipt = self.transact(owner, "register", int(kind), name, content_hash, list(trained_on))
        return bytes(self.event(receipt, "Registered").arguments["id"]), receipt

    def publish(
        self, owner: bytes, entry: bytes, content_hash: bytes, trained_on: Sequence[bytes] = ()
    ) -> tuple[int, Receipt]:
        """Add a version and make it the latest; return its number."""
        receipt = self.transact(owner, "publish", entry, content_hash, list(trained_on))
        return int(self.event(receipt, "Published").arguments["version"]), receipt

    def roll_back(self, owner: bytes, entry: bytes, version: int) -> Receipt:
        """Make an older version the latest."""
        return self.transact(owner, "rollBack", entry, version)

    def deprecate(self, owner: bytes, entry: bytes, version: int) -> Receipt:
        """Take a version out of use for good."""
        return self.transact(owner, "deprecate", entry, version)

    def transfer_ownership(self, owner: bytes, entry: bytes, new_owner: bytes) -> Receipt:
        """Offer an entry; the new owner has to accept."""
        return self.transact(owner, "transferOwnership", entry, new_owner)

    def accept_ownership(self, new_owner: bytes, entry: bytes) -> Receipt:
        """Take an entry that was offered."""
        return self.transact(new_owner, "acceptOwnership", entry)

    def id_of(self, kind: Kind, registrant: bytes, name: str) -> bytes:
        """Return the id that a registration of this name has."""
        return bytes(self.read("idOf", int(kind), registrant, name))

    def entry(self, entry: bytes) -> Entry:
        """Return an entry."""
        kind, owner, pending, latest, versions = self.read("entryOf", entry)
        waiting = to_address(pending)
        return Entry(
            Kind(kind), to_address(owner), None if waiting == ZERO_ADDRESS else waiting, latest, versions
        )

    def version(self, entry: bytes, number: int) -> Version:
        """Return a version."""
        return Version(*self.read("versionOf", entry, number))

    def first_version_of(self, content_hash: bytes) -> tuple[bytes, int] | None:
        """Return id and version that had a content first, or None."""
        entry, number = self.read("firstVersionOf", content_hash)
        return (entry, number) if number else None

    def payees(self, entry: bytes, version: int) -> UsePayees:
        """Return whom the use of a version pays, by the owners of today."""
        owner, datanets, owners = self.read("payees", entry, version)
        return UsePayees(owner, dict(zip(datanets, owners, strict=True)))
