"""Messages: what an execution is asked to do, apart from who signed it.

Rule decided here: a call, an estimate and a transaction execute the same message; fees of 0 mean that nobody pays for
gas, whatever the block's base fee is. A transaction adds its envelope. Overrides change accounts for one call alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

LEGACY, ACCESS_LIST, DYNAMIC_FEE, UNSIGNED = 0, 1, 2, 0x7E
"""Types of transactions; the last has no signature (the OP Stack's deposit envelope)."""

AccessList = tuple[tuple[bytes, tuple[int, ...]], ...]
"""Addresses with storage slots that a transaction says beforehand it will touch (EIP-2930)."""


@dataclass(frozen=True, slots=True)
class Message:
    """One execution.

    Parameters
    ----------
    sender
        20 bytes; any address, contracts included.
    to
        Receiver, or None to create a contract.
    data
        Calldata or creation code.
    value
        Native coins sent, wei.
    gas
        Limit; the block's when None.
    max_fee, max_priority_fee
        Fees per gas, wei.
    access_list
        As a transaction of type 1 or 2 carries it.
    """

    sender: bytes
    to: bytes | None
    data: bytes = b""
    value: int = 0
    gas: int | None = None
    max_fee: int = 0
    max_priority_fee: int = 0
    access_list: AccessList = ()


@dataclass(frozen=True, slots=True)
class Transaction:
    """A transaction with its envelope.

    Parameters
    ----------
    message
        What it executes; its gas limit is given.
    nonce
        Its sender's count of transactions before it.
    type
        0, 1, 2, or 0x7E where there is no signature.
    mint
        Coins that a deposit creates, wei.
    source_hash
        What makes a deposit unique, 32 bytes; b"" for other transactions.
    raw
        The bytes that were signed with their signature; b"" where there is none.
    signature
        v as the envelope has it, r, s; zeros where there is none.
    """

    message: Message
    nonce: int
    type: int = UNSIGNED
    mint: int = 0
    source_hash: bytes = b""
    raw: bytes = b""
    signature: tuple[int, int, int] = (0, 0, 0)

    @property
    def gas(self) -> int:
        """Gas limit."""
        assert self.message.gas is not None
        return self.message.gas

    def price(self, base_fee: int) -> int:
        """Return what its sender pays per gas under a base fee, wei; nothing without a signature."""
        message = self.message
        return min(message.max_fee, message.max_priority_fee + base_fee)


@dataclass(frozen=True, slots=True)
class Override:
    """How an account differs during one call; None leaves a field as it is.

    Parameters
    ----------
    balance, nonce, code
        Other values.
    storage
        Words by slot.
    replaces_storage
        Whether every other slot is 0.
    """

    balance: int | None = None
    nonce: int | None = None
    code: bytes | None = None
    storage: Mapping[int, int] = field(default_factory=dict)
    replaces_storage: bool = False


@dataclass(frozen=True, slots=True)
class Rules:
    """What does not change from block to block.

    Parameters
    ----------
    chain_id
        As contracts see it.
    gas_limit
        Of a block, and the most for a transaction.
    coinbase
        Who gets the priority fees.
    base_fee_vault
        Who gets the base fees; they are burned when None.
    """

    chain_id: int
    gas_limit: int
    coinbase: bytes = bytes(20)
    base_fee_vault: bytes | None = None


@dataclass(frozen=True, slots=True)
class BlockEnv:
    """What the code that runs in a block sees of it: number, time in seconds, base fee in wei per gas."""

    number: int
    timestamp: int
    base_fee: int = 0
