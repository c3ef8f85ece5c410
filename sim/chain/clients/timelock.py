"""Client of the timelock, the executor of proposals and the owner of the L2 treasury."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

from sim.chain.addresses import ZERO_ADDRESS, keccak
from sim.chain.clients.base import ContractClient
from sim.chain.clients.governor import call_lists

if TYPE_CHECKING:
    from sim.chain.backend import Backend, Receipt
    from sim.chain.clients.governor import Call

ADMIN_ROLE = bytes(32)
"""Role that may grant and take roles."""

GOVERNOR_ROLES = ("PROPOSER_ROLE", "EXECUTOR_ROLE", "CANCELLER_ROLE")
"""What the governor is granted."""

ANYBODY = ZERO_ADDRESS
"""Whoever this address stands for: a role that it holds, everybody holds."""


def role_id(name: str) -> bytes:
    """Return the id, 32 bytes, of a named role."""
    return keccak(name.encode())


class Timelock(ContractClient):
    """Timelock (contracts/Timelock.sol)."""

    artifact_name: ClassVar[str] = "Timelock"

    @classmethod
    def deploy(cls, chain: Backend, sender: bytes, *, delay_s: int, admin: bytes) -> Self:
        """Create it without proposers and executors; `admin` grants roles until it renounces."""
        return cls._create(chain, sender, delay_s, [], [], admin)

    def delay_seconds(self) -> int:
        """Return the least time between queueing and executing."""
        return int(self.read("getMinDelay"))

    def operation_id(self, calls: tuple[Call, ...], salt: bytes) -> bytes:
        """Return the id, 32 bytes, of a queued batch that waits for no other."""
        return bytes(self.read("hashOperationBatch", *call_lists(calls), bytes(32), salt))

    def execute_batch(self, sender: bytes, calls: tuple[Call, ...], salt: bytes) -> Receipt:
        """Execute a batch past its delay without the governor; needs the executor's role."""
        return self.transact(sender, "executeBatch", *call_lists(calls), bytes(32), salt)

    def cancel(self, sender: bytes, operation: bytes) -> Receipt:
        """Take a queued batch out; needs the canceller's role."""
        return self.transact(sender, "cancel", operation)

    def has_role(self, role: bytes, account: bytes) -> bool:
        """Return whether an account holds a role."""
        return bool(self.read("hasRole", role, account))

    def grant_role(self, sender: bytes, role: bytes, account: bytes) -> Receipt:
        """Give a role; needs the admin role."""
        return self.transact(sender, "grantRole", role, account)

    def renounce_role(self, sender: bytes, role: bytes) -> Receipt:
        """Give up a role of the sender for good."""
        return self.transact(sender, "renounceRole", role, sender)
