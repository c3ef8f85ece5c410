"""Bridge: how OPEN moves between L1 (a token) and L2 (the native coin).

Rule decided here: the interface of a bridge, and a stand-in that keeps its promises without the OP Stack's
contracts. A deposit locks tokens in escrow on L1 and is credited on L2 after a delay. A withdrawal destroys
native coins on L2, can be proved on L1 once an output covers its block, and is paid once strictly more than
the challenge window has passed since the proof. At any moment

    escrow = native coins on L2 + deposits not yet credited + withdrawals not yet paid.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from sim.chain.addresses import address_of

if TYPE_CHECKING:
    from sim.chain.backend import Receipt
    from sim.chain.clients.open_token import OpenToken
    from sim.chain.evm import Chain

ESCROW = "bridge.escrow"
"""Label of where the stand-in keeps locked tokens on L1."""

MESSAGE_PASSER = bytes.fromhex("4200000000000000000000000000000000000016")
"""Where withdrawn coins go on L2, the OP Stack's predeploy address; coins there count as withdrawn."""


class BridgeError(RuntimeError):
    """A step of the bridge that is refused: too early, repeated or unknown."""


@dataclass(frozen=True, slots=True)
class BridgeTimes:
    """Delays of the bridge in seconds.

    Parameters
    ----------
    deposit_s
        From the L1 transaction to the credit on L2.
    output_every_s
        Distance between outputs posted on L1; a withdrawal needs one later than its own block.
    window_s
        Challenge window; payment needs strictly more than this after the proof.
    """

    deposit_s: int = 1_200
    output_every_s: int = 86_400
    window_s: int = 604_800


@dataclass(frozen=True, slots=True)
class Deposit:
    """A deposit: number, receiver on L2, amount in wei, and when it can be credited."""

    number: int
    to: bytes
    amount_wei: int
    ready_at: int


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """A withdrawal that was not paid yet: number, receiver on L1, amount in wei, times of its steps."""

    number: int
    to: bytes
    amount_wei: int
    initiated_at: int
    proven_at: int | None = None


class Bridge(Protocol):
    """What the sandbox needs of a bridge, whatever contracts stand behind it."""

    times: BridgeTimes

    def deposit(self, account: bytes, amount_wei: int, to: bytes | None = None) -> tuple[int, Receipt]:
        """Lock tokens of `account` on L1 for `to` (itself when None) on L2; return the deposit's number."""

    def advance(self, timestamp: int) -> list[Deposit]:
        """Bring both chains to `timestamp` and credit the deposits that are due, in order."""

    def initiate_withdrawal(
        self, account: bytes, amount_wei: int, to: bytes | None = None
    ) -> tuple[int, Receipt]:
        """Destroy coins of `account` on L2 for `to` on L1; return the withdrawal's number."""

    def provable_at(self, number: int) -> int:
        """First time at which a withdrawal can be proved."""

    def payable_at(self, number: int) -> int:
        """First time at which a proved withdrawal can be paid."""

    def prove(self, number: int) -> None:
        """Prove a withdrawal on L1."""

    def finalise(self, number: int) -> Receipt:
        """Pay a proved withdrawal on L1."""

    def escrow(self) -> int:
        """Tokens locked on L1, wei."""

    def pending_deposits(self) -> list[Deposit]:
        """Deposits that were not credited."""

    def pending_withdrawals(self) -> list[Withdrawal]:
        """Withdrawals that were not paid."""


class StandInBridge:
    """Lock-and-credit bridge without contracts of its own (satisfies `Bridge`).

    Parameters
    ----------
    l1, l2
        The two chains.
    token
        OPEN on L1.
    times
        Delays.
    """

    def __init__(self, l1: Chain, l2: Chain, token: OpenToken, times: BridgeTimes | None = None) -> None:
        self._l1, self._l2, self._token = l1, l2, token
        self.times = times or BridgeTimes()
        self._start = l2.time
        self._deposits: dict[int, Deposit] = {}
        self._withdrawals: dict[int, Withdrawal] = {}
        self._next_deposit = 1
        self._next_withdrawal = 1

    def deposit(self, account: bytes, amount_wei: int, to: bytes | None = None) -> tuple[int, Receipt]:
        """Lock tokens of `account` in escrow.

        Raises
        ------
        Reverted
            If the account has too few tokens.
        """
        receipt = self._token.transfer(account, address_of(ESCROW), amount_wei)
        number = self._next_deposit
        self._next_deposit += 1
        ready_at = self._l1.time + self.times.deposit_s
        self._deposits[number] = Deposit(number, to or account, amount_wei, ready_at)
        return number, receipt

    def advance(self, timestamp: int) -> list[Deposit]:
        """Bring both chains to `timestamp` (none goes back) and credit what is due."""
        for chain in (self._l1, self._l2):
            if timestamp > chain.time:
                chain.set_time(timestamp)
        due = [d for d in self._deposits.values() if d.ready_at <= self._l2.time]
        for deposit in due:
            self._l2.mint_native(deposit.to, deposit.amount_wei)
            del self._deposits[deposit.number]
        return due

    def initiate_withdrawal(
        self, account: bytes, amount_wei: int, to: bytes | None = None
    ) -> tuple[int, Receipt]:
        """Send coins to the message passer and destroy them there.

        Raises
        ------
        InsufficientFunds
            If the account has too few coins.
        """
        receipt = self._l2.send(account, MESSAGE_PASSER, value=amount_wei)
        self._l2.burn_native(MESSAGE_PASSER, amount_wei)
        number = self._next_withdrawal
        self._next_withdrawal += 1
        self._withdrawals[number] = Withdrawal(number, to or account, amount_wei, self._l2.time)
        return number, receipt

    def provable_at(self, number: int) -> int:
        """Time of the first output after the withdrawal's block."""
        elapsed = self._find(number).initiated_at - self._start
        return self._start + (elapsed // self.times.output_every_s + 1) * self.times.output_every_s

    def payable_at(self, number: int) -> int:
        """First second after the challenge window.

        Raises
        ------
        BridgeError
            If the withdrawal was not proved.
        """
        proven_at = self._find(number).proven_at
        if proven_at is None:
            raise BridgeError(f"withdrawal {number} was not proved")
        return proven_at + self.times.window_s + 1

    def prove(self, number: int) -> None:
        """Prove a withdrawal.

        Raises
        ------
        BridgeError
            If no output covers it yet, or it was proved before.
        """
        withdrawal = self._find(number)
        if withdrawal.proven_at is not None:
            raise BridgeError(f"withdrawal {number} was proved at {withdrawal.proven_at}")
        if self._l1.time < self.provable_at(number):
            raise BridgeError(
                f"withdrawal {number} can be proved from {self.provable_at(number)}, now {self._l1.time}"
            )
        self._withdrawals[number] = replace(withdrawal, proven_at=self._l1.time)

    def finalise(self, number: int) -> Receipt:
        """Release the tokens of a proved withdrawal.

        Raises
        ------
        BridgeError
            If it was not proved, the window has not passed, or it was paid before.
        """
        withdrawal = self._find(number)
        if self._l1.time < self.payable_at(number):
            raise BridgeError(
                f"withdrawal {number} can be paid from {self.payable_at(number)}, now {self._l1.time}"
            )
        receipt = self._token.transfer(address_of(ESCROW), withdrawal.to, withdrawal.amount_wei)
        del self._withdrawals[number]
        return receipt

    def escrow(self) -> int:
        """Tokens locked on L1, wei."""
        return self._token.balance_of(address_of(ESCROW))

    def pending_deposits(self) -> list[Deposit]:
        """Deposits that were not credited, in order."""
        return list(self._deposits.values())

    def pending_withdrawals(self) -> list[Withdrawal]:
        """Withdrawals that were not paid, in order."""
        return list(self._withdrawals.values())

    def _find(self, number: int) -> Withdrawal:
        if number not in self._withdrawals:
            raise BridgeError(f"withdrawal {number} is unknown or was paid")
        return self._withdrawals[number]
