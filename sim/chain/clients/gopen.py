"""Client of GOPEN, the vote token on L2."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

from sim.chain.clients.base import ContractClient

if TYPE_CHECKING:
    from sim.chain.backend import Backend, Receipt


class Gopen(ContractClient):
    """GOPEN (contracts/GOPEN.sol); amounts in wei, clock in seconds."""

    artifact_name: ClassVar[str] = "GOPEN"

    @classmethod
    def deploy(cls, chain: Backend, sender: bytes) -> Self:
        """Create an empty wrapper."""
        return cls._create(chain, sender)

    def balance_of(self, account: bytes) -> int:
        """Return the GOPEN of an account."""
        return int(self.read("balanceOf", account))

    def total_supply(self) -> int:
        """Return all GOPEN, equal to the native coins held."""
        return int(self.read("totalSupply"))

    def deposit(self, sender: bytes, amount_wei: int) -> Receipt:
        """Wrap native coins of the sender, one to one."""
        return self.transact(sender, "deposit", value=amount_wei)

    def withdraw(self, sender: bytes, amount_wei: int) -> Receipt:
        """Unwrap, one to one."""
        return self.transact(sender, "withdraw", amount_wei)

    def transfer(self, sender: bytes, to: bytes, amount_wei: int) -> Receipt:
        """Move GOPEN of the sender; its votes follow if it was delegated."""
        return self.transact(sender, "transfer", to, amount_wei)

    def delegate(self, sender: bytes, delegate: bytes) -> Receipt:
        """Give the sender's votes to `delegate`, from this moment on."""
        return self.transact(sender, "delegate", delegate)

    def delegate_of(self, account: bytes) -> bytes:
        """Return whom an account delegates to; 20 zero bytes for nobody."""
        return bytes(self.read("delegates", account))

    def votes(self, account: bytes) -> int:
        """Return the votes that an account can cast now."""
        return int(self.read("getVotes", account))

    def past_votes(self, account: bytes, timestamp: int) -> int:
        """Return the votes of an account at a past time."""
        return int(self.read("getPastVotes", account, timestamp))

    def past_total_supply(self, timestamp: int) -> int:
        """Return the supply at a past time."""
        return int(self.read("getPastTotalSupply", timestamp))
