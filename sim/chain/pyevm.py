"""py-evm: the state of one chain and what changes it.

Rule decided here: every transaction ends with `lock_changes`, without which the next one would find storage warm and
report too little gas; a read ends by going back and never locks, because locking would invalidate its checkpoint.
Whoever pays no fee runs under a base fee of 0, as nodes do for calls; paid base fees go to the vault, or are burned
where there is none. Private fields of py-evm are touched in this module alone.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from eth.constants import BLANK_ROOT_HASH, ZERO_HASH32
from eth.db.atomic import AtomicDB
from eth.vm.execution_context import ExecutionContext
from eth.vm.forks.prague.constants import (
    HISTORY_SERVE_WINDOW,
    HISTORY_STORAGE_ADDRESS,
    HISTORY_STORAGE_CONTRACT_CODE,
)
from eth_utils.exceptions import ValidationError

from sim.chain.backend import ChainError
from sim.chain.computation import Computation, TracedComputation
from sim.chain.execution import Envelope, Execution, State, outcome
from sim.chain.tries import account_proof, export_nodes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from sim.chain.backend import AccountProof
    from sim.chain.message import BlockEnv, Message, Override, Rules

PRECOMPILES = frozenset(Computation.get_precompiles())


class _Ancestors:
    """Hashes of the blocks before one, the latest first, computed when code asks for them."""

    def __init__(self, hash_of: Callable[[int], bytes], number: int) -> None:
        self._hash_of, self._number = hash_of, number

    def __iter__(self) -> Iterator[bytes]:
        return map(self._hash_of, range(self._number - 1, -1, -1))


class PyEvm:
    """World state of one chain on py-evm's Prague rules.

    Parameters
    ----------
    rules, env
        What holds for all blocks, and the block that is executed in.
    hash_of
        Hash of a block by its number, for BLOCKHASH.
    root, db
        State to begin at and where its nodes are; an empty state when None.
    """

    def __init__(
        self,
        rules: Rules,
        env: BlockEnv,
        hash_of: Callable[[int], bytes],
        root: bytes = BLANK_ROOT_HASH,
        db: AtomicDB | None = None,
    ) -> None:
        self._rules, self._hash_of = rules, hash_of
        self._db = AtomicDB() if db is None else db
        self._context: Any = ExecutionContext(
            coinbase=rules.coinbase,  # type: ignore[arg-type,unused-ignore]
            timestamp=env.timestamp,
            block_number=env.number,  # type: ignore[arg-type,unused-ignore]
            difficulty=0,
            mix_hash=ZERO_HASH32,
            gas_limit=rules.gas_limit,
            prev_hashes=(),
            chain_id=rules.chain_id,
            base_fee_per_gas=env.base_fee,
            excess_blob_gas=0,
        )
        self.env = env
        self.set_env(env)
        self.restore(root)

    def at(self, root: bytes, env: BlockEnv) -> PyEvm:
        """Return another state of the same chain, for reading."""
        return PyEvm(self._rules, env, self._hash_of, root, self._db)

    def set_env(self, env: BlockEnv) -> None:
        """Move to another block."""
        self.env = env
        context = self._context
        context._block_number = env.number
        context._timestamp = env.timestamp
        context._base_fee_per_gas = env.base_fee
        context._prev_hashes = _Ancestors(self._hash_of, env.number)

    @contextmanager
    def seen_from(self, env: BlockEnv) -> Iterator[None]:
        """Execute in another block for a while."""
        own = self.env
        self.set_env(env)
        try:
            yield
        finally:
            self.set_env(own)

    def execute(self, message: Message, *, traced: bool = False) -> Execution:
        """Run a transaction and keep its changes.

        Raises
        ------
        ChainError
            If it cannot begin; nothing is changed then.
        """
        checkpoint = self._state.snapshot()
        try:
            execution = self._run(message, traced)
            self._keep_base_fee(message, execution.gas_used)
        except BaseException:
            self._state.revert(checkpoint)
            raise
        self._state.commit(checkpoint)
        self._state.lock_changes()
        self._read_keys.clear()
        return execution

    def execute_deposit(self, message: Message, mint: int, *, traced: bool = False) -> Execution:
        """Run a transaction that an L1 deposit stands for.

        The mint holds whatever follows. What cannot even begin (more value than balance, too little gas) is a
        failed transaction here, not an error: included with status 0, its nonce used (OP Stack, deposits).
        """
        self.add_balance(message.sender, mint)
        nonce = self.nonce(message.sender)
        try:
            return self.execute(message, traced=traced)
        except ChainError as error:
            self._state.increment_nonce(message.sender)
            self._state.lock_changes()
            gas = message.gas or 0
            return Execution(0, gas, b"", None, (), str(error), nonce, gas, gas)

    def peek(
        self, message: Message, *, overrides: Mapping[bytes, Override] | None = None, traced: bool = False
    ) -> Execution:
        """Run a message and undo it."""
        if overrides:
            return self._under(overrides).peek(message, traced=traced)
        checkpoint = self._state.snapshot()
        try:
            return self._run(message, traced)
        finally:
            self._state.revert(checkpoint)

    def touched(
        self, message: Message, *, overrides: Mapping[bytes, Override] | None = None
    ) -> tuple[Execution, list[bytes]]:
        """Run a message, undo it, and return the keys that it made warm: addresses, and addresses with a slot."""
        if overrides:
            return self._under(overrides).touched(message)
        checkpoint = self._state.snapshot()
        try:
            execution = self._run(message, False)
            warm = self._state._account_db._journal_accessed_state.diff().pending_keys()
            return execution, [bytes(key) for key in warm]
        finally:
            self._state.revert(checkpoint)

    def _under(self, overrides: Mapping[bytes, Override]) -> PyEvm:
        """Return a copy of the state with other accounts: py-evm does not undo the wiping of storage."""
        copy = self.at(self.save(), self.env)
        state = copy._state
        for address, override in overrides.items():
            if override.balance is not None:
                state.set_balance(address, override.balance)
            if override.nonce is not None:
                state.set_nonce(address, override.nonce)
            if override.code is not None:
                state.set_code(address, override.code)
            if override.replaces_storage:
                state.delete_storage(address)
            for slot, value in override.storage.items():
                state.set_storage(address, slot, value)
        state.lock_changes()
        return copy

    def _run(self, message: Message, traced: bool) -> Execution:
        sender = message.sender
        nonce = self._state.get_nonce(sender)
        gas = self._rules.gas_limit if message.gas is None else message.gas
        envelope = Envelope(message, nonce, gas)
        try:
            if gas < envelope.intrinsic_gas:
                needed = envelope.intrinsic_gas
                raise ValidationError(f"gas limit {gas} is below the {needed} that it needs to start")
            computation = self._compute(envelope, traced)
        except ValidationError as error:
            raise ChainError(f"transaction of 0x{sender.hex()} cannot be included: {error}") from error
        return outcome(computation, message, nonce, gas, traced)

    def _compute(self, envelope: Envelope, traced: bool) -> Any:
        """Apply an envelope; without a fee under a base fee of 0, traced with the opcodes of calls noted."""
        state, context = self._state, self._context
        free = self.env.base_fee and not envelope.max_fee_per_gas
        try:
            if free:
                context._base_fee_per_gas = 0
            if traced:
                state.computation_class = TracedComputation
            return state.apply_transaction(envelope)
        finally:
            if free:
                context._base_fee_per_gas = self.env.base_fee
            if traced:
                del state.computation_class

    def _keep_base_fee(self, message: Message, gas_used: int) -> None:
        vault = self._rules.base_fee_vault
        if vault is not None and message.max_fee and self.env.base_fee:
            self._state.delta_balance(vault, self.env.base_fee * gas_used)

    def install_history(self) -> None:
        """Put the contract of EIP-2935 into the state, as a genesis file does."""
        self.set_code(HISTORY_STORAGE_ADDRESS, HISTORY_STORAGE_CONTRACT_CODE)
        self.set_nonce(HISTORY_STORAGE_ADDRESS, 1)

    def record_parent(self, parent_hash: bytes) -> None:
        """Write the parent's hash where EIP-2935 keeps it, before a block's first transaction."""
        slot = (self.env.number - 1) % HISTORY_SERVE_WINDOW
        self.set_storage(HISTORY_STORAGE_ADDRESS, slot, int.from_bytes(parent_hash, "big"))

    def save(self) -> bytes:
        """Write all changes into the tries and return the state root, 32 bytes."""
        self._state.lock_changes()
        self._state.persist()
        self._read_keys.clear()
        return bytes(self._state.state_root)

    def restore(self, root: bytes) -> None:
        """Go to a state that was saved before."""
        known: Any = root
        self._state: Any = State(self._db, self._context, known)
        # py-evm copies this growing set at every read of code; nothing here needs to know what was read.
        accounts: Any = self._state._account_db
        self._read_keys = accounts._raw_store_db._keys_read

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
        return account_proof(self._db, self.save(), address, slots)

    def export(self) -> tuple[bytes, dict[bytes, bytes]]:
        """Return the state root and everything under it by hash."""
        root = self.save()
        return root, export_nodes(self._db, root)

    def take_in(self, root: bytes, nodes: Mapping[bytes, bytes]) -> None:
        """Go to a state that was exported elsewhere; the nodes were checked."""
        for digest, node in nodes.items():
            self._db[digest] = node
        self.restore(root)
