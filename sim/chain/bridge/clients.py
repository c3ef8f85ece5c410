"""Clients of the OP Stack's contracts.

Rule decided here: every call goes to the unmodified contract, L1's behind their proxies; what a contract refuses is
raised with its own reason.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from sim.chain.artifacts import OP_STACK, Artifact, load
from sim.chain.clients.base import ContractClient

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.chain.backend import Receipt
    from sim.chain.bridge.interface import Withdrawal
    from sim.chain.bridge.outputs import OutputRoot


class OpStackContract(ContractClient):
    """A contract of the OP Stack."""

    @classmethod
    def artifact(cls) -> Artifact:
        """Return the compiled contract."""
        return load(cls.artifact_name, OP_STACK)

    @classmethod
    def topic(cls, event: str) -> bytes:
        """Return the first topic of an event."""
        return next(item.digest for item in cls.artifact().abi.events.values() if item.name == event)


class SuperchainConfig(OpStackContract):
    """Who may pause withdrawals."""

    artifact_name: ClassVar[str] = "SuperchainConfig"

    def pause(self, guardian: bytes, reason: str) -> Receipt:
        """Stop proofs and payments; deposits stay open."""
        return self.transact(guardian, "pause", reason)

    def unpause(self, guardian: bytes) -> Receipt:
        """Let proofs and payments go on."""
        return self.transact(guardian, "unpause")


class SystemConfig(OpStackContract):
    """The chain's parameters, its gas token among them."""

    artifact_name: ClassVar[str] = "SystemConfig"


class L2OutputOracle(OpStackContract):
    """Outputs of L2 as L1 knows them."""

    artifact_name: ClassVar[str] = "L2OutputOracle"

    def propose(self, proposer: bytes, root: bytes, l2_block: int) -> Receipt:
        """Propose the root of the next output, which no other block may have."""
        return self.transact(proposer, "proposeL2Output", root, l2_block, bytes(32), 0)

    def delete_from(self, challenger: bytes, index: int) -> Receipt:
        """Delete an output younger than the challenge window, and all after it."""
        return self.transact(challenger, "deleteL2Outputs", index)


class OptimismPortal(OpStackContract):
    """Where deposits enter and withdrawals leave; holds the escrow."""

    artifact_name: ClassVar[str] = "OptimismPortal"

    def balance(self) -> int:
        """Return the escrow as the portal counts it; tokens sent to it by mistake are not in it."""
        return int(self.read("balance"))

    def deposit_erc20(
        self, sender: bytes, to: bytes | None, *, mint: int, value: int, gas_limit: int, data: bytes = b""
    ) -> Receipt:
        """Lock approved gas tokens and order a transaction on L2; `to` None creates a contract."""
        return self.transact(
            sender, "depositERC20Transaction", to or bytes(20), mint, value, gas_limit, to is None, data
        )

    def deposit_ether(
        self,
        sender: bytes,
        to: bytes | None,
        *,
        value: int,
        gas_limit: int,
        data: bytes = b"",
        ether: int = 0,
    ) -> Receipt:
        """Order a transaction on L2 with ether of L1, which a chain with a gas token of its own refuses."""
        return self.transact(
            sender, "depositTransaction", to or bytes(20), value, gas_limit, to is None, data, value=ether
        )

    def prove(
        self, sender: bytes, message: Withdrawal, index: int, root: OutputRoot, nodes: Sequence[bytes]
    ) -> Receipt:
        """Prove that a message lies in the message passer's storage under an output."""
        parts = (bytes(32), root.state_root, root.storage_root, root.block_hash)
        return self.transact(
            sender, "proveWithdrawalTransaction", as_transaction(message), index, parts, list(nodes)
        )

    def proven(self, digest: bytes) -> tuple[bytes, int, int]:
        """Return a message's last proof: output root, time (0 where there is none) and index of the output."""
        root, at, index = self.read("provenWithdrawals", digest)
        return root, at, index

    def finalise(self, sender: bytes, message: Withdrawal) -> Receipt:
        """Pay a proved withdrawal and make its call."""
        return self.transact(sender, "finalizeWithdrawalTransaction", as_transaction(message))


class MessagePasser(OpStackContract):
    """Where messages to L1 are kept on L2."""

    artifact_name: ClassVar[str] = "L2ToL1MessagePasser"

    def initiate(self, sender: bytes, to: bytes, *, value: int, gas_limit: int, data: bytes = b"") -> Receipt:
        """Send a message, with coins, to L1."""
        return self.transact(sender, "initiateWithdrawal", to, gas_limit, data, value=value)

    def burn(self, sender: bytes) -> Receipt:
        """Remove the coins of past withdrawals from L2; anybody may."""
        return self.transact(sender, "burn")


class L1Block(OpStackContract):
    """What L2 knows of L1, its gas token among it."""

    artifact_name: ClassVar[str] = "L1Block"

    def gas_token(self) -> tuple[bytes, int, str, str]:
        """Return the token that pays for gas on L2: address, decimals, name and symbol."""
        address, decimals = self.read("gasPayingToken")
        return address, decimals, self.read("gasPayingTokenName"), self.read("gasPayingTokenSymbol")


def as_transaction(message: Withdrawal) -> tuple[int, bytes, bytes, int, int, bytes]:
    """Return a message as the portal's struct."""
    return message.nonce, message.sender, message.to, message.amount_wei, message.gas_limit, message.data


class L1Messenger(OpStackContract):
    """Messages between contracts, L1's end."""

    artifact_name: ClassVar[str] = "L1CrossDomainMessenger"


class L2Messenger(OpStackContract):
    """Messages between contracts, L2's end."""

    artifact_name: ClassVar[str] = "L2CrossDomainMessenger"


class _StandardBridge(OpStackContract):
    """One end of the bridge for tokens."""

    def bridge(
        self, sender: bytes, tokens: tuple[bytes, bytes], to: bytes, amount_wei: int, gas: int
    ) -> Receipt:
        """Send tokens to the other chain; `tokens` are this chain's and the other one's, `gas` is for the other."""
        return self.transact(sender, "bridgeERC20To", *tokens, to, amount_wei, gas, b"")


class L1StandardBridge(_StandardBridge):
    """Escrow of tokens on L1."""

    artifact_name: ClassVar[str] = "L1StandardBridge"

    def escrowed(self, token: bytes, remote: bytes) -> int:
        """Return the escrow of a pair of tokens as the bridge counts it, wei."""
        return int(self.read("deposits", token, remote))


class L2StandardBridge(_StandardBridge):
    """Mints and burns tokens on L2."""

    artifact_name: ClassVar[str] = "L2StandardBridge"


class TokenFactory(OpStackContract):
    """Creates L2's tokens for those of L1."""

    artifact_name: ClassVar[str] = "OptimismMintableERC20Factory"

    def address_for(self, remote: bytes, name: str, symbol: str) -> bytes:
        """Return the address that a token has or will have."""
        created = self.read("createOptimismMintableERC20", remote, name, symbol)
        assert isinstance(created, bytes)
        return created

    def create(self, sender: bytes, remote: bytes, name: str, symbol: str) -> Receipt:
        """Create the token for one of L1; anybody may."""
        return self.transact(sender, "createOptimismMintableERC20", remote, name, symbol)


class MintableToken(OpStackContract):
    """A token of L2 that the bridge mints and burns."""

    artifact_name: ClassVar[str] = "OptimismMintableERC20"

    def balance_of(self, account: bytes) -> int:
        """Return the balance of an account."""
        return int(self.read("balanceOf", account))

    def total_supply(self) -> int:
        """Return what was minted and not burned."""
        return int(self.read("totalSupply"))
