"""Chain: one in-process chain with its clock, blocks, receipts and events.

Rule decided here: time is explicit. A chain begins at a given time, every transaction lands in the block of the
present time, and a jump begins the next block, however long it is; nothing mines through the time between. Block 0
is the genesis, one second before. On a chain that seals, every block ends with its state root in its header, earlier
states can be read, and parents' hashes are written where EIP-2935 wants them (there is no beacon chain, so EIP-4788's
contract is absent); elsewhere headers carry no state root, and nothing is computed before somebody asks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sim.chain.addresses import ZERO_ADDRESS
from sim.chain.backend import CallResult, ChainError, Log, Receipt, SnapshotId
from sim.chain.header import Extent
from sim.chain.logindex import LogIndex
from sim.chain.message import BlockEnv, Message, Rules, Transaction
from sim.chain.sealing import SealingChain

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from sim.chain.execution import Execution
    from sim.chain.views import StateView

L1_CHAIN_ID = 900_001
L2_CHAIN_ID = 900_161
"""Chain ids of the sandbox: those of no public network, so that nothing signed here is valid elsewhere."""

BLOCK_GAS_LIMIT = 60_000_000
DELEGATION = bytes.fromhex("ef0100")
"""Begins the code of an account that may still sign (EIP-7702)."""


@dataclass(frozen=True, slots=True)
class _Saved:
    root: bytes
    entered: bool
    logs: int
    blocks: tuple[int, int, Extent]


class Chain(SealingChain):
    """An in-process EVM chain (satisfies `sim.chain.backend.SandboxChain`).

    Parameters
    ----------
    chain_id
        Chain id; a public network's would make signatures valid there.
    genesis_time
        Timestamp of block 1, seconds.
    balances
        Native balances at genesis, wei.
    block_gas_limit
        Most gas that one transaction may use.
    sealed
        Whether every block ends with its state root.
    automine
        Whether every transaction ends its block; the next one is a second later.
    traced
        Whether the tree of calls of each transaction is kept, in `blocks.frames`.
    base_fee
        Base fee of the genesis, wei per gas; EIP-1559 moves it from there. 0 switches fees off.
    coinbase
        Who gets priority fees.
    base_fee_vault
        Who gets base fees; they are burned when None.
    """

    def __init__(
        self,
        *,
        chain_id: int,
        genesis_time: int,
        balances: Mapping[bytes, int] | None = None,
        block_gas_limit: int = BLOCK_GAS_LIMIT,
        sealed: bool = False,
        automine: bool = False,
        traced: bool = False,
        base_fee: int = 0,
        coinbase: bytes = ZERO_ADDRESS,
        base_fee_vault: bytes | None = None,
    ) -> None:
        from sim.chain.blocks import BlockBook
        from sim.chain.pyevm import PyEvm
        from sim.chain.views import Views

        self.rules = Rules(chain_id, block_gas_limit, coinbase, base_fee_vault)
        self.sealed, self.automine = sealed, automine
        self._traced = traced
        genesis = Extent(BlockEnv(0, genesis_time - 1, base_fee), 0, 0)
        self.blocks = BlockBook(self.rules, genesis)
        self._evm = PyEvm(self.rules, genesis.env, self.blocks.hash_of)
        self._views = Views(self._evm, self.blocks)
        self._log_index = LogIndex()
        self._snapshots: dict[SnapshotId, _Saved] = {}
        for address, wei in (balances or {}).items():
            self.set_balance(address, wei)
        if sealed:
            self._evm.install_history()
        self._entered = True
        self.seal(genesis_time)

    @property
    def chain_id(self) -> int:
        """Chain id as contracts see it."""
        return self.rules.chain_id

    @property
    def receipts(self) -> tuple[Receipt, ...]:
        """All receipts in order."""
        return tuple(self.blocks.receipts)

    @property
    def transaction_count(self) -> int:
        """Number of transactions so far."""
        return len(self.blocks.receipts)

    def receipt(self, index: int) -> Receipt:
        """Return the receipt of a transaction by its number."""
        return self.blocks.receipts[index]

    def latest_block_hash(self) -> bytes:
        """Hash of the last block that ended, 32 bytes."""
        return self.blocks.hash_of(self.blocks.latest)

    def send(
        self, sender: bytes, to: bytes | None, data: bytes = b"", value: int = 0, gas: int | None = None
    ) -> Receipt:
        """Execute an unsigned transaction at gas price 0.

        Parameters
        ----------
        sender
            Any address; contracts are allowed, which stands for a call that they would make.
        to
            Receiver, or None to create a contract.
        data
            Calldata or creation code.
        value
            Native coins sent, wei.
        gas
            Limit; the block's when None.

        Returns
        -------
        Receipt
            With status 0 and the revert data when execution failed.

        Raises
        ------
        InsufficientFunds
            If the sender has less than `value`.
        ChainError
            If the gas limit is below what the transaction needs to start.
        """
        self._check_value(sender, value)
        self._enter()
        execution = self._evm.execute(Message(sender, to, data, value, gas), traced=self._traced)
        message = Message(sender, to, data, value, execution.gas)
        return self._record(Transaction(message, execution.nonce), execution)

    def send_signed(self, raw: bytes) -> Receipt:
        """Execute a signed transaction of type 0, 1 or 2.

        Raises
        ------
        TransactionRefused
            If it is not valid here; nothing is changed then.
        """
        from sim.chain.transactions import decode

        transaction = decode(raw, self.chain_id)
        self.check(transaction)
        return self.include(transaction)

    def check(self, transaction: Transaction) -> None:
        """Refuse a signed transaction that may not enter the present block, whatever its turn.

        Raises
        ------
        TransactionRefused
            With the first thing that is wrong.
        """
        from sim.chain.transactions import check

        sender = transaction.message.sender
        code = self.code(sender)
        check(
            transaction, self.rules, self._evm.env, balance=self.balance(sender), nonce=self.nonce(sender),
            has_code=bool(code) and not code.startswith(DELEGATION),
        )  # fmt: skip

    def include(self, transaction: Transaction) -> Receipt:
        """Execute a transaction that was checked, signed or not, whose turn it is.

        Raises
        ------
        TransactionRefused
            If its nonce is not its sender's.
        """
        from sim.chain.transactions import TransactionRefused

        sender = transaction.message.sender
        if transaction.nonce != self.nonce(sender):
            raise TransactionRefused(
                f"nonce too high: address 0x{sender.hex()}, tx: {transaction.nonce} state: {self.nonce(sender)}"
            )
        self._enter()
        return self._record(transaction, self._evm.execute(transaction.message, traced=self._traced))

    def call(
        self, to: bytes, data: bytes, *, sender: bytes | None = None, value: int = 0, gas: int | None = None
    ) -> CallResult:
        """Execute and keep nothing; raises as `send` does."""
        self._check_value(sender or ZERO_ADDRESS, value)
        execution = self._evm.peek(Message(sender or ZERO_ADDRESS, to, data, value, gas))
        return CallResult(execution.status, execution.output, execution.gas_used)

    def deploy(self, sender: bytes, creation_code: bytes, value: int = 0) -> Receipt:
        """Create a contract; the receipt carries its address, or status 0."""
        return self.send(sender, None, creation_code, value)

    def execute_deposit(
        self,
        sender: bytes,
        to: bytes | None,
        *,
        mint: int,
        value: int,
        gas: int,
        data: bytes = b"",
        source_hash: bytes = b"",
    ) -> Receipt:
        """Execute what an L1 deposit derives on L2: the mint holds even where the call fails.

        Parameters
        ----------
        sender
            Whom the deposit is from; a contract's address comes with its alias.
        to
            Receiver, or None to create a contract.
        mint, value
            Coins created for the sender, and coins that the call sends, wei.
        gas
            Limit.
        data
            Calldata or creation code.
        source_hash
            What makes the deposit unique, 32 bytes; sender and nonce do when it is empty.
        """
        message = Message(sender, to, data, value, gas)
        self._enter()
        execution = self._evm.execute_deposit(message, mint, traced=self._traced)
        transaction = Transaction(message, execution.nonce, mint=mint, source_hash=source_hash)
        return self._record(transaction, execution)

    def view(self, number: int) -> StateView:
        """Return the state that a block sees; the present one's number is allowed too."""
        return self._views.view(number)

    def snapshot(self) -> SnapshotId:
        """Write the state into its tries and remember the root; good over any number of transactions."""
        number = SnapshotId(max(self._snapshots, default=0) + 1)
        self._snapshots[number] = _Saved(
            self._evm.save(), self._entered, len(self._log_index), self.blocks.state_kept()
        )
        return number

    def revert(self, snapshot: SnapshotId) -> None:
        """Go back to a snapshot and forget those made after it.

        Raises
        ------
        ChainError
            If the snapshot is unknown or was forgotten.
        """
        saved = self._snapshots.get(snapshot)
        if saved is None:
            raise ChainError(f"snapshot {snapshot} is unknown; known are {sorted(self._snapshots)}")
        self._snapshots = {n: s for n, s in self._snapshots.items() if n <= snapshot}
        self._evm.restore(saved.root)
        self.blocks.forget_after(saved.blocks)
        self._evm.set_env(self.blocks.present.env)
        self._log_index.truncate(saved.logs)
        self._entered = saved.entered

    def logs(
        self,
        *,
        from_block: int = 0,
        to_block: int | None = None,
        address: bytes | None = None,
        topics: tuple[bytes | None, ...] = (),
    ) -> list[Log]:
        """Events in blocks `from_block` to `to_block` (the present one when None), both included."""
        addresses = () if address is None else (address,)
        return self.find_logs(from_block, to_block, addresses, [() if t is None else (t,) for t in topics])

    def find_logs(
        self,
        from_block: int,
        to_block: int | None,
        addresses: Collection[bytes] = (),
        topics: Sequence[Collection[bytes]] = (),
    ) -> list[Log]:
        """Return events of any of some contracts, with any of some topics; an empty list of either means all."""
        last = self.block_number if to_block is None else to_block
        return self._log_index.query(from_block, last, addresses, topics)

    def _record(self, transaction: Transaction, execution: Execution) -> Receipt:
        index, first, env = self.transaction_count, len(self._log_index), self._evm.env
        logs = tuple(
            Log(address, tuple(t.to_bytes(32, "big") for t in topics), data, env.number, index, first + i)
            for i, (address, topics, data) in enumerate(execution.logs)
        )
        message = transaction.message
        receipt = Receipt(
            index=index,
            block_number=env.number,
            timestamp=env.timestamp,
            sender=message.sender,
            to=message.to,
            status=execution.status,
            gas_used=execution.gas_used,
            output=execution.output,
            contract_address=execution.created,
            logs=logs,
        )
        self.blocks.add(transaction, receipt, execution.frame)
        self._log_index.extend(logs)
        if self.automine:
            self.seal()
        return receipt
