"""State: what an account holds, read and, where no transaction can, written.

Rule decided here: reads change nothing. Coins come into being and vanish through the bridge alone; the other writes
are for predeploys, which no transaction creates, and for a development network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.chain.backend import ChainError, InsufficientFunds

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sim.chain.backend import AccountProof
    from sim.chain.pyevm import PyEvm


class AccountState:
    """Accounts of one chain in its present block."""

    _evm: PyEvm

    def balance(self, address: bytes) -> int:
        """Native balance, wei."""
        return self._evm.balance(address)

    def nonce(self, address: bytes) -> int:
        """Count of transactions that `address` sent."""
        return self._evm.nonce(address)

    def code(self, address: bytes) -> bytes:
        """Deployed code, empty for a plain account."""
        return self._evm.code(address)

    def storage(self, address: bytes, slot: int) -> int:
        """One storage word."""
        return self._evm.storage(address, slot)

    def proof(self, address: bytes, slots: tuple[int, ...] = ()) -> AccountProof:
        """Return an account and storage words with the trie nodes that prove them (EIP-1186)."""
        return self._evm.proof(address, slots)

    def state_root(self) -> bytes:
        """Root of the state trie, 32 bytes."""
        return self._evm.save()

    def export_state(self) -> tuple[bytes, tuple[bytes, ...]]:
        """Return the state root, and the nodes and codes under it."""
        root, nodes = self._evm.export()
        return root, tuple(nodes.values())

    def import_state(self, root: bytes, nodes: Iterable[bytes]) -> None:
        """Go to a state that was exported; for a development network.

        Raises
        ------
        ChainError
            If the nodes are not all that the root needs.
        """
        from sim.chain.tries import checked_nodes

        try:
            checked = checked_nodes(root, nodes)
        except ValueError as error:
            raise ChainError(str(error)) from error
        self._evm.take_in(root, checked)

    def mint_native(self, address: bytes, amount_wei: int) -> None:
        """Create native coins: the bridge's derivation of a deposit, and nothing else."""
        if amount_wei < 0:
            raise ChainError(f"cannot mint {amount_wei} wei; a mint is 0 or more")
        self._evm.add_balance(address, amount_wei)

    def burn_native(self, address: bytes, amount_wei: int) -> None:
        """Destroy native coins: the bridge's withdrawal, and nothing else."""
        if amount_wei < 0:
            raise ChainError(f"cannot burn {amount_wei} wei; a burn is 0 or more")
        self._check_value(address, amount_wei)
        self._evm.add_balance(address, -amount_wei)

    def set_balance(self, address: bytes, wei: int) -> None:
        """Give an account another native balance; for a development network."""
        self._evm.set_balance(address, wei)

    def set_nonce(self, address: bytes, nonce: int) -> None:
        """Give an account another nonce; for a development network."""
        self._evm.set_nonce(address, nonce)

    def set_code(self, address: bytes, code: bytes) -> None:
        """Put code at an address: predeploys, which no transaction creates."""
        self._evm.set_code(address, code)

    def set_storage(self, address: bytes, slot: int, value: int) -> None:
        """Write one storage word; for a development network."""
        self._evm.set_storage(address, slot, value)

    def _check_value(self, sender: bytes, value: int) -> None:
        if value and self._evm.balance(sender) < value:
            raise InsufficientFunds(sender, self._evm.balance(sender), value)
