"""Backend: what every chain behind the sandbox can do, and the values it exchanges.

Rule decided here: the world talks to a chain through `Backend` alone, so that an in-process EVM and a node
over JSON-RPC are interchangeable. A transaction that reverts is a receipt with status 0, never an exception;
an exception means that the transaction could not be included at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NewType, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

SnapshotId = NewType("SnapshotId", int)


@dataclass(frozen=True, slots=True)
class Log:
    """One event as the chain wrote it.

    Parameters
    ----------
    address
        Contract, 20 bytes.
    topics
        Up to four words of 32 bytes.
    data
        ABI-encoded rest.
    block_number, transaction_index, log_index
        Where it stands; `log_index` counts within the chain, `transaction_index` too.
    """

    address: bytes
    topics: tuple[bytes, ...]
    data: bytes
    block_number: int
    transaction_index: int
    log_index: int


@dataclass(frozen=True, slots=True)
class Receipt:
    """What one transaction did.

    Parameters
    ----------
    index
        Number of the transaction on its chain, from 0.
    block_number, timestamp
        Block and its time in seconds.
    sender, to
        Addresses; `to` is None when a contract was created.
    status
        1 executed, 0 reverted.
    gas_used
        Gas after refunds, as a node reports it.
    output
        Return data, or the revert data when `status` is 0.
    contract_address
        Address of the created contract.
    logs
        Events in order; empty when reverted.
    """

    index: int
    block_number: int
    timestamp: int
    sender: bytes
    to: bytes | None
    status: int
    gas_used: int
    output: bytes
    contract_address: bytes | None
    logs: tuple[Log, ...]


@dataclass(frozen=True, slots=True)
class CallResult:
    """Outcome of a read: status as in `Receipt`, return or revert data, and the gas that it took."""

    status: int
    output: bytes
    gas_used: int


@dataclass(frozen=True, slots=True)
class StorageProof:
    """One storage word with the trie nodes that prove it, from the storage root down."""

    slot: int
    value: int
    nodes: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class AccountProof:
    """An account with the trie nodes that prove it (EIP-1186).

    Parameters
    ----------
    address
        20 bytes.
    balance, nonce
        Wei, and count of transactions.
    code_hash, storage_root, state_root
        32 bytes each.
    nodes
        RLP of the nodes from the state root down.
    storage
        One proof for each slot that was asked for.
    """

    address: bytes
    balance: int
    nonce: int
    code_hash: bytes
    storage_root: bytes
    state_root: bytes
    nodes: tuple[bytes, ...]
    storage: tuple[StorageProof, ...]


class ChainError(RuntimeError):
    """A transaction that no block can include, or a chain used out of order."""


class InsufficientFunds(ChainError):  # noqa: N818 - the name that wallets and nodes use
    """A sender that cannot pay the value it sends.

    Parameters
    ----------
    address
        The sender, 20 bytes.
    balance_wei, needed_wei
        What it has and what the transaction sends.
    """

    def __init__(self, address: bytes, balance_wei: int, needed_wei: int) -> None:
        self.address, self.balance_wei, self.needed_wei = address, balance_wei, needed_wei
        super().__init__(f"0x{address.hex()} has {balance_wei} wei and sends {needed_wei} wei")


class Backend(Protocol):
    """A chain that the sandbox can drive."""

    @property
    def chain_id(self) -> int:
        """Chain id as contracts see it."""

    @property
    def time(self) -> int:
        """Timestamp, in seconds, of the block that the next transaction lands in."""

    @property
    def block_number(self) -> int:
        """Number of the block that the next transaction lands in."""

    @property
    def receipts(self) -> tuple[Receipt, ...]:
        """All receipts in order."""

    def send(
        self, sender: bytes, to: bytes | None, data: bytes = b"", value: int = 0, gas: int | None = None
    ) -> Receipt:
        """Execute a transaction; `to` None creates a contract from `data`."""

    def call(
        self, to: bytes, data: bytes, *, sender: bytes | None = None, value: int = 0, gas: int | None = None
    ) -> CallResult:
        """Execute without keeping any change."""

    def deploy(self, sender: bytes, creation_code: bytes, value: int = 0) -> Receipt:
        """Create a contract; the receipt carries its address."""

    def set_time(self, timestamp: int) -> None:
        """Begin a new block at `timestamp`, later than the present one."""

    def balance(self, address: bytes) -> int:
        """Native balance in wei."""

    def nonce(self, address: bytes) -> int:
        """Count of transactions (or creations) of `address`."""

    def code(self, address: bytes) -> bytes:
        """Deployed code, empty for a plain account."""

    def storage(self, address: bytes, slot: int) -> int:
        """One storage word."""

    def proof(self, address: bytes, slots: tuple[int, ...] = ()) -> AccountProof:
        """Return an account and storage words with the trie nodes that prove them (EIP-1186)."""

    def snapshot(self) -> SnapshotId:
        """Remember the present state, over any number of transactions."""

    def revert(self, snapshot: SnapshotId) -> None:
        """Go back to a snapshot; later snapshots are forgotten."""

    def logs(
        self,
        *,
        from_block: int = 0,
        to_block: int | None = None,
        address: bytes | None = None,
        topics: tuple[bytes | None, ...] = (),
    ) -> list[Log]:
        """Events in a range of blocks; a topic of None matches anything."""


class SandboxChain(Backend, Protocol):
    """A chain that the bridge and the witness run can drive: it also does what no transaction can."""

    @property
    def transaction_count(self) -> int:
        """Number of transactions so far."""

    def receipt(self, index: int) -> Receipt:
        """Return the receipt of a transaction by its number."""

    def find_logs(
        self,
        from_block: int,
        to_block: int | None,
        addresses: Collection[bytes] = (),
        topics: Sequence[Collection[bytes]] = (),
    ) -> list[Log]:
        """Return events of any of some contracts, with any of some topics; an empty list of either means all."""

    def latest_block_hash(self) -> bytes:
        """Hash of the last block that ended, 32 bytes."""

    def mint_native(self, address: bytes, amount_wei: int) -> None:
        """Create native coins."""

    def set_code(self, address: bytes, code: bytes) -> None:
        """Put code at an address: predeploys, which no transaction creates."""

    def execute_deposit(
        self,
        sender: bytes,
        to: bytes | None,
        *,
        mint: int,
        value: int,
        gas: int,
        data: bytes = b"",
        source_hash: bytes = b"",
    ) -> Receipt:
        """Execute what an L1 deposit derives on L2: the mint holds even where the call fails."""
