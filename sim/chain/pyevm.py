"""py-evm: the one module that touches it.

Rule decided here: transactions are unsigned, the gas price and the base fee are 0 (py-evm burns the base fee,
and on L2 native coins are money), and every transaction ends with `lock_changes`, without which the next one
would find storage warm and report too little gas. Private fields of py-evm are used in `_set_block` alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import rlp
from eth.constants import BLANK_ROOT_HASH, ZERO_ADDRESS, ZERO_HASH32
from eth.db.atomic import AtomicDB
from eth.exceptions import Revert
from eth.rlp.accounts import Account
from eth.vm.execution_context import ExecutionContext
from eth.vm.forks.prague import PragueVM
from eth.vm.spoof import SpoofTransaction
from eth_utils.exceptions import ValidationError
from trie import HexaryTrie

from sim.chain.addresses import keccak
from sim.chain.backend import AccountProof, ChainError, StorageProof

if TYPE_CHECKING:
    from collections.abc import Mapping

FORK = "prague"


@dataclass(frozen=True, slots=True)
class Execution:
    """What one execution did: status, gas after refunds, output, created address and raw logs."""

    status: int
    gas_used: int
    output: bytes
    created: bytes | None
    logs: tuple[tuple[bytes, tuple[int, ...], bytes], ...]
    error: str


class PyEvm:
    """World state of one chain on py-evm's Prague rules.

    Parameters
    ----------
    chain_id
        Chain id as contracts see it.
    timestamp
        Time of the first block, seconds.
    block_gas_limit
        Gas limit of a block, and of a transaction.
    balances
        Native balances at genesis, wei.
    """

    def __init__(
        self, chain_id: int, timestamp: int, block_gas_limit: int, balances: Mapping[bytes, int]
    ) -> None:
        self._vm: Any = PragueVM
        self._gas_limit = block_gas_limit
        self._db = AtomicDB()
        self._context = ExecutionContext(
            coinbase=ZERO_ADDRESS,
            timestamp=timestamp,
            block_number=1,  # type: ignore[arg-type,unused-ignore]
            difficulty=0,
            mix_hash=ZERO_HASH32,
            gas_limit=block_gas_limit,
            prev_hashes=(),
            chain_id=chain_id,
            base_fee_per_gas=0,
            excess_blob_gas=0,
        )
        self._state = self._state_at(BLANK_ROOT_HASH)
        for address, wei in balances.items():
            self._state.set_balance(address, wei)
        self._state.lock_changes()

    def _state_at(self, root: bytes) -> Any:
        return self._vm.get_state_class()(self._db, self._context, root)

    def set_block(self, number: int, timestamp: int) -> None:
        """Move to another block number and time."""
        context: Any = self._context
        context._block_number = number
        context._timestamp = timestamp

    def execute(self, sender: bytes, to: bytes | None, data: bytes, value: int, gas: int | None) -> Execution:
        """Run a transaction and keep its changes."""
        execution = self._run(sender, to, data, value, gas)
        self._state.lock_changes()
        return execution

    def execute_deposit(
        self, sender: bytes, to: bytes | None, data: bytes, value: int, gas: int, mint: int
    ) -> Execution:
        """Run a transaction that an L1 deposit stands for.

        The mint holds whatever follows. What cannot even begin (more value than balance, too little gas) is a
        failed transaction here, not an error: included with status 0, its nonce used (OP Stack, deposits).
        """
        self.add_balance(sender, mint)
        try:
            execution = self._run(sender, to, data, value, gas)
        except ChainError as error:
            self._state.increment_nonce(sender)
            execution = Execution(0, gas, b"", None, (), str(error))
        self._state.lock_changes()
        return execution

    def peek(self, sender: bytes, to: bytes | None, data: bytes, value: int, gas: int | None) -> Execution:
        """Run a transaction and undo it. Nothing is locked: locking would invalidate the checkpoint."""
        checkpoint = self._state.snapshot()
        try:
            return self._run(sender, to, data, value, gas)
        finally:
            self._state.revert(checkpoint)

    def _run(self, sender: bytes, to: bytes | None, data: bytes, value: int, gas: int | None) -> Execution:
        unsigned = self._vm.create_unsigned_transaction(
            nonce=self._state.get_nonce(sender),
            gas_price=0,
            gas=self._gas_limit if gas is None else gas,
            to=to or b"",
            value=value,
            data=data,
        )
        transaction = SpoofTransaction(unsigned, from_=sender)
        try:
            computation = self._state.apply_transaction(transaction)
        except ValidationError as error:
            raise ChainError(f"transaction of 0x{sender.hex()} cannot be included: {error}") from error
        failed = computation.is_error
        created = computation.msg.storage_address if to is None and not failed else None
        keeps_output = not failed or isinstance(computation.error, Revert)
        return Execution(
            status=0 if failed else 1,
            gas_used=self._vm.finalize_gas_used(transaction, computation),
            output=bytes(computation.output) if keeps_output else b"",
            created=created,
            logs=tuple((a, tuple(t), bytes(d)) for a, t, d in computation.get_log_entries()),
            error=type(computation.error).__name__ if failed else "",
        )

    def save(self) -> bytes:
        """Write all changes into the tries and return the state root, 32 bytes."""
        self._state.lock_changes()
        self._state.persist()
        return bytes(self._state.state_root)

    def restore(self, root: bytes) -> None:
        """Go to a state that was saved before."""
        self._state = self._state_at(root)

    def balance(self, address: bytes) -> int:
        """Native balance, wei."""
        return int(self._state.get_balance(address))

    def add_balance(self, address: bytes, delta: int) -> None:
        """Create (or, below 0, destroy) native coins; the bridge alone may."""
        self._state.delta_balance(address, delta)
        self._state.lock_changes()

    def nonce(self, address: bytes) -> int:
        """Transaction count."""
        return int(self._state.get_nonce(address))

    def code(self, address: bytes) -> bytes:
        """Deployed code."""
        return bytes(self._state.get_code(address))

    def storage(self, address: bytes, slot: int) -> int:
        """One storage word."""
        return int(self._state.get_storage(address, slot))

    def set_balance(self, address: bytes, wei: int) -> None:
        """Give an account another native balance."""
        self._state.set_balance(address, wei)
        self._state.lock_changes()

    def set_nonce(self, address: bytes, nonce: int) -> None:
        """Give an account another nonce."""
        self._state.set_nonce(address, nonce)
        self._state.lock_changes()

    def set_code(self, address: bytes, code: bytes) -> None:
        """Put code at an address, as a genesis file does."""
        self._state.set_code(address, code)
        self._state.lock_changes()

    def set_storage(self, address: bytes, slot: int, value: int) -> None:
        """Write one storage word."""
        self._state.set_storage(address, slot, value)
        self._state.lock_changes()

    def proof(self, address: bytes, slots: tuple[int, ...]) -> AccountProof:
        """Return an account and storage words with the nodes that prove them."""
        root = self.save()
        trie = HexaryTrie(self._db, root)
        key = keccak(address)
        encoded = trie.get(key)
        account = rlp.decode(encoded, sedes=Account) if encoded else Account()
        storage = HexaryTrie(self._db, account.storage_root)
        return AccountProof(
            address=address,
            balance=int(account.balance),
            nonce=int(account.nonce),
            code_hash=bytes(account.code_hash),
            storage_root=bytes(account.storage_root),
            state_root=root,
            nodes=_encoded(trie.get_proof(key)),
            storage=tuple(_word_proof(storage, slot) for slot in slots),
        )


def _word_proof(trie: HexaryTrie, slot: int) -> StorageProof:
    key = keccak(slot.to_bytes(32, "big"))
    encoded = trie.get(key)
    value = int.from_bytes(rlp.decode(encoded), "big") if encoded else 0
    return StorageProof(slot, value, _encoded(trie.get_proof(key)))


def _encoded(nodes: tuple[Any, ...]) -> tuple[bytes, ...]:
    """Return trie nodes as RLP; the empty trie's only node proves nothing and is left out."""
    return tuple(rlp.encode(node) for node in nodes if node)
