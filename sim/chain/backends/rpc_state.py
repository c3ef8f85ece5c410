"""Accounts of a chain at a node: read at its latest block, and written where no transaction can."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.chain.backends.wire import number, quantity, raw, read_proof, text

if TYPE_CHECKING:
    from sim.chain.backend import AccountProof
    from sim.chain.backends.transport import Transport

LATEST = "latest"


class RpcState:
    """Accounts at a node.

    Parameters
    ----------
    node
        Answers requests.
    """

    def __init__(self, node: Transport) -> None:
        self._node = node

    def balance(self, address: bytes) -> int:
        """Native balance, wei."""
        return number(self._node("eth_getBalance", text(address), LATEST))

    def nonce(self, address: bytes) -> int:
        """Count of transactions that `address` sent."""
        return number(self._node("eth_getTransactionCount", text(address), LATEST))

    def code(self, address: bytes) -> bytes:
        """Deployed code, empty for a plain account."""
        return raw(self._node("eth_getCode", text(address), LATEST))

    def storage(self, address: bytes, slot: int) -> int:
        """One storage word."""
        return number(self._node("eth_getStorageAt", text(address), quantity(slot), LATEST))

    def proof(self, address: bytes, slots: tuple[int, ...] = ()) -> AccountProof:
        """Return an account and storage words with the trie nodes that prove them (EIP-1186)."""
        keys = [f"0x{slot:064x}" for slot in slots]
        return read_proof(address, self._node("eth_getProof", text(address), keys, LATEST))

    def mint_native(self, address: bytes, amount_wei: int) -> None:
        """Create native coins: the bridge's derivation of a deposit, and nothing else."""
        if amount_wei:
            self._node("anvil_setBalance", text(address), quantity(self.balance(address) + amount_wei))

    def set_code(self, address: bytes, code: bytes) -> None:
        """Put code at an address: predeploys, which no transaction creates."""
        self._node("anvil_setCode", text(address), text(code))
