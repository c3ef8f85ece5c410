"""Client of GOPEN, the vote token on L2."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

from sim.chain.clients.base import ContractClient
from sim.chain.clients.typed_data import TypedMessage, split_signature

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

    def nonce(self, account: bytes) -> int:
        """Return the number of signatures of an account that were used; permits and delegations share it."""
        return int(self.read("nonces", account))

    def allowance(self, owner: bytes, spender: bytes) -> int:
        """Return what `spender` may still move of the owner's GOPEN."""
        return int(self.read("allowance", owner, spender))

    def permit_message(
        self, owner: bytes, spender: bytes, amount_wei: int, nonce: int, deadline: int
    ) -> TypedMessage:
        """Return what an owner signs to let `spender` move GOPEN, until `deadline` (seconds) at most."""
        fields = (
            ("owner", "address"), ("spender", "address"), ("value", "uint256"),
            ("nonce", "uint256"), ("deadline", "uint256"),
        )  # fmt: skip
        return self._message("Permit", fields, (owner, spender, amount_wei, nonce, deadline))

    def permit(
        self,
        sender: bytes,
        owner: bytes,
        spender: bytes,
        amount_wei: int,
        *,
        deadline: int,
        signature: bytes,
    ) -> Receipt:
        """Set an allowance by the owner's signature (65 bytes, r | s | v), whoever sends it."""
        v, r, s = split_signature(signature)
        return self.transact(sender, "permit", owner, spender, amount_wei, deadline, v, r, s)

    def delegation_message(self, delegate: bytes, nonce: int, expiry: int) -> TypedMessage:
        """Return what an account signs to give its votes to `delegate`, until `expiry` (seconds) at most."""
        fields = (("delegatee", "address"), ("nonce", "uint256"), ("expiry", "uint256"))
        return self._message("Delegation", fields, (delegate, nonce, expiry))

    def delegate_by_sig(
        self, sender: bytes, delegate: bytes, *, nonce: int, expiry: int, signature: bytes
    ) -> Receipt:
        """Delegate for whoever signed; with a wrong message that is another account than was meant."""
        return self.transact(sender, "delegateBySig", delegate, nonce, expiry, *split_signature(signature))

    def _message(
        self, name: str, fields: tuple[tuple[str, str], ...], values: tuple[object, ...]
    ) -> TypedMessage:
        return TypedMessage("Governance OPEN", self.chain.chain_id, self.address, name, fields, values)

    def votes(self, account: bytes) -> int:
        """Return the votes that an account can cast now."""
        return int(self.read("getVotes", account))

    def past_votes(self, account: bytes, timestamp: int) -> int:
        """Return the votes of an account at a past time."""
        return int(self.read("getPastVotes", account, timestamp))

    def past_total_supply(self, timestamp: int) -> int:
        """Return the supply at a past time."""
        return int(self.read("getPastTotalSupply", timestamp))
