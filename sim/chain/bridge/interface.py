"""Interface: what the sandbox needs of a bridge, whatever contracts stand behind it.

Rule decided here: time of both chains moves through the bridge alone, because what it owes has moments of its own. At
any moment, all terms 0 or more,

    escrow = coins on L2 + deposits not yet derived + withdrawals not yet paid,

where coins that wait at L2's message passer count as withdrawn, and coins at a dead address as coins on L2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from sim.chain.backend import Receipt


class BridgeError(RuntimeError):
    """A step of the bridge for which nothing can be sent: too early, or of an unknown withdrawal."""


@dataclass(frozen=True, slots=True)
class BridgeTimes:
    """Delays of the bridge in seconds.

    Parameters
    ----------
    deposit_s
        From the L1 transaction to the derived one on L2.
    output_every_s
        Distance between outputs proposed on L1; a withdrawal needs one that covers its own block.
    window_s
        Challenge window; payment needs strictly more than this after the proof and after the output.
    """

    deposit_s: int = 1_200
    output_every_s: int = 86_400
    window_s: int = 604_800


@dataclass(frozen=True, slots=True)
class Deposit:
    """A transaction that L1 has ordered on L2.

    Parameters
    ----------
    number
        Counts the deposits of one bridge, from 1.
    sender
        Whom it is from on L2; a contract comes with its alias.
    to
        Receiver on L2, or None to create a contract.
    mint_wei, value_wei
        Coins created for the sender, and coins that it sends on, wei.
    gas_limit, data
        As ordered.
    ready_at
        When it is derived, seconds.
    """

    number: int
    sender: bytes
    to: bytes | None
    mint_wei: int
    value_wei: int
    gas_limit: int
    data: bytes
    ready_at: int


@dataclass(frozen=True, slots=True)
class Derived:
    """A deposit with what became of it on L2: status 0 where its call failed, though the mint holds."""

    deposit: Deposit
    receipt: Receipt


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """A message from L2 to L1.

    Parameters
    ----------
    number
        Counts the messages of one bridge, from 1.
    nonce
        The contract's own, with the message version in its first two bytes.
    sender, to
        Who sent it on L2, and who is called on L1.
    amount_wei
        Coins withdrawn with it.
    gas_limit, data
        Of the call on L1.
    digest
        The hash that the contracts know it by, 32 bytes.
    initiated_at
        Time on L2, seconds.
    proven_at
        Time of its last proof on L1, or None.
    """

    number: int
    nonce: int
    sender: bytes
    to: bytes
    amount_wei: int
    gas_limit: int
    data: bytes
    digest: bytes
    initiated_at: int
    proven_at: int | None = None


class Bridge(Protocol):
    """A bridge between a token on L1 and the native coin of L2."""

    times: BridgeTimes

    @property
    def contracts(self) -> dict[str, bytes]:
        """Addresses of its contracts by name."""

    @property
    def escrow_address(self) -> bytes:
        """Where the tokens lie on L1."""

    @property
    def derived_indices(self) -> frozenset[int]:
        """Which of L2's transactions were derived from deposits."""

    def deposit(
        self, account: bytes, amount_wei: int, to: bytes | None = None
    ) -> tuple[int, tuple[Receipt, ...]]:
        """Lock tokens of `account` on L1 for `to` (itself when None) on L2; return the deposit's number."""

    def advance(self, timestamp: int) -> list[Derived]:
        """Bring both chains to `timestamp`; derive the deposits and propose the outputs that are due on the way."""

    def initiate_withdrawal(
        self, account: bytes, amount_wei: int, to: bytes | None = None
    ) -> tuple[int, Receipt]:
        """Send coins of `account` on L2 to `to` on L1; return the withdrawal's number."""

    def provable_at(self, number: int) -> int:
        """First time at which a withdrawal can be proved."""

    def payable_at(self, number: int) -> int:
        """First time at which a proved withdrawal can be paid."""

    def prove(self, number: int) -> Receipt:
        """Prove a withdrawal on L1."""

    def finalise(self, number: int) -> Receipt:
        """Pay a proved withdrawal on L1."""

    def escrow(self) -> int:
        """Tokens locked on L1, wei."""

    def pending_deposits(self) -> list[Deposit]:
        """Deposits that were not derived, in order."""

    def pending_withdrawals(self) -> list[Withdrawal]:
        """Withdrawals that were not paid, in order."""
