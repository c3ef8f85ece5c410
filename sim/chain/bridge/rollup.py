"""Rollup: the part of a bridge that does not depend on what is bridged.

Rule decided here: both chains go through every moment at which the bridge owes something on the way to a later time:
the second after an output's block, in which the output is proposed, and the second in which a deposit is derived (a
deposit of the same second comes after the output). L2 is not taken back beyond such a moment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.chain.addresses import address_of
from sim.chain.bridge.deploy import CHALLENGER, GUARDIAN, PROPOSER
from sim.chain.bridge.derivation import Derivation
from sim.chain.bridge.interface import BridgeError
from sim.chain.bridge.messages import Messages
from sim.chain.bridge.outputs import Outputs

if TYPE_CHECKING:
    from sim.chain.backend import Receipt, SandboxChain
    from sim.chain.bridge.deploy import Contracts
    from sim.chain.bridge.interface import BridgeTimes, Deposit, Derived, Withdrawal


class Rollup:
    """L2 as L1's contracts see it: deposits, outputs and messages.

    Parameters
    ----------
    l1, l2
        The two chains, at the same time.
    deployed
        Contracts deployed at this time.
    times
        Delays.
    """

    def __init__(self, l1: SandboxChain, l2: SandboxChain, deployed: Contracts, times: BridgeTimes) -> None:
        self.l1, self.l2, self.deployed, self.times = l1, l2, deployed, times
        self.derivation = Derivation(l1, l2, deployed.portal, times.deposit_s)
        self.messages = Messages(l1, l2, deployed.portal, deployed.passer)
        self.outputs = Outputs(
            l1, l2, deployed.oracle, address_of(PROPOSER), l2.time, times.output_every_s
        )  # fmt: skip

    @property
    def contracts(self) -> dict[str, bytes]:
        """Addresses of the bridge's contracts by name."""
        return self.deployed.addresses

    @property
    def derived_indices(self) -> frozenset[int]:
        """Which of L2's transactions were derived from deposits."""
        return frozenset(self.derivation.indices)

    def advance(self, timestamp: int) -> list[Derived]:
        """Bring both chains to `timestamp` (none goes back) and do what is due on the way.

        Returns
        -------
        list of Derived
            The deposits derived, in order.
        """
        self.read()
        derived: list[Derived] = []
        while True:
            output, deposit = self.outputs.next_time, self.derivation.next_time
            moment = output if deposit is None else min(output, deposit)
            if moment > timestamp:
                break
            self._go(moment)
            if moment == output:
                self._report()
            else:
                derived += self.derivation.derive_due()
        self._go(timestamp)
        if len(self.outputs.proposed) < len(self.outputs.claims):
            self.outputs.propose_missing()
        return derived

    def provable_at(self, number: int) -> int:
        """Return when the output that covers a withdrawal is on L1, seconds."""
        self.read()
        index = self.outputs.index_covering(self.messages.find(number).withdrawal.initiated_at)
        due = self.outputs.time_of(index)
        proposed = self.outputs.proposed
        return max(due, proposed[index].at) if index < len(proposed) else max(due, self.l1.time)

    def payable_at(self, number: int) -> int:
        """Return the first second after the challenge window of a withdrawal's proof and of its output.

        Raises
        ------
        BridgeError
            If it was not proved, or the output that its proof names is gone.
        """
        self.read()
        root, proven_at, index = self.deployed.portal.proven(self.messages.find(number).withdrawal.digest)
        if not proven_at:
            raise BridgeError(f"withdrawal {number} was not proved")
        proposed = self.outputs.proposed[index : index + 1]
        if not proposed or proposed[0].root != root:
            raise BridgeError(f"withdrawal {number}: output {index} of its proof was deleted; prove it again")
        return max(proven_at, proposed[0].at) + self.times.window_s + 1

    def prove(self, number: int) -> Receipt:
        """Prove a withdrawal against the first output that covers it; its receiver sends the proof.

        Raises
        ------
        BridgeError
            If no output covers it yet.
        Reverted
            If the portal refuses the proof.
        """
        self.read()
        message = self.messages.find(number)
        index = self.outputs.index_covering(message.withdrawal.initiated_at)
        if index >= len(self.outputs.proposed):
            raise BridgeError(
                f"withdrawal {number} can be proved from {self.provable_at(number)}, now {self.l1.time}"
            )
        return self.deployed.portal.prove(
            message.withdrawal.to, message.withdrawal, index, self.outputs.claims[index], message.nodes
        )

    def finalise(self, number: int) -> Receipt:
        """Pay a proved withdrawal; its receiver asks for it.

        Raises
        ------
        BridgeError
            If it is unknown or was paid.
        Reverted
            If the portal refuses: not proved, too early, paused.
        """
        self.read()
        withdrawal = self.messages.find(number).withdrawal
        return self.deployed.portal.finalise(withdrawal.to, withdrawal)

    def pause(self, reason: str = "") -> Receipt:
        """Let the guardian stop proofs and payments; deposits stay open."""
        return self.deployed.superchain.pause(address_of(GUARDIAN), reason)

    def unpause(self) -> Receipt:
        """Let the guardian end a pause."""
        return self.deployed.superchain.unpause(address_of(GUARDIAN))

    def delete_outputs(self, index: int) -> Receipt:
        """Let the challenger delete an output and all after it; they are proposed again at the next step of time."""
        return self.deployed.oracle.delete_from(address_of(CHALLENGER), index)

    def pending_deposits(self) -> list[Deposit]:
        """Return the deposits that were not derived, in order."""
        self.read()
        return list(self.derivation.pending)

    def pending_withdrawals(self) -> list[Withdrawal]:
        """Return the withdrawals that were not finalised, in order."""
        self.read()
        return [message.withdrawal for message in self.messages.pending()]

    def read(self) -> None:
        """Take up what the contracts' events say since the last time."""
        self.derivation.read()
        self.messages.read()
        self.outputs.read()

    def _go(self, timestamp: int) -> None:
        for chain in (self.l1, self.l2):
            if timestamp > chain.time:
                chain.set_time(timestamp)

    def _report(self) -> None:
        """Claim the output that is due, with the proofs of what it covers, and propose it."""
        messages = self.messages.unclaimed()
        self.messages.keep_proofs(messages, self.outputs.claim(tuple(m.slot for m in messages)))
        self.outputs.propose_missing()
