"""Chain: one in-process chain with its clock, receipts and events.

Rule decided here: time is explicit. A chain begins at a given time, every transaction lands in the block of
the present time, and a jump begins the next block, however long it is; nothing mines through the time
between. A block's number therefore counts the distinct times at which something could happen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sim.chain.addresses import ZERO_ADDRESS
from sim.chain.backend import CallResult, ChainError, InsufficientFunds, Log, Receipt, SnapshotId
from sim.chain.logindex import LogIndex

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sim.chain.backend import AccountProof
    from sim.chain.pyevm import Execution

L1_CHAIN_ID = 900_001
L2_CHAIN_ID = 900_161
"""Chain ids of the sandbox: those of no public network, so that nothing signed here is valid elsewhere."""

BLOCK_GAS_LIMIT = 60_000_000


@dataclass(frozen=True, slots=True)
class _Saved:
    root: bytes
    time: int
    block_number: int
    receipts: int
    logs: int


class Chain:
    """An in-process EVM chain (satisfies `sim.chain.backend.Backend`).

    Parameters
    ----------
    chain_id
        Chain id; a public network's would make signatures valid there.
    genesis_time
        Timestamp of the first block, seconds.
    balances
        Native balances at genesis, wei.
    block_gas_limit
        Most gas that one transaction may use.
    """

    def __init__(
        self,
        *,
        chain_id: int,
        genesis_time: int,
        balances: Mapping[bytes, int] | None = None,
        block_gas_limit: int = BLOCK_GAS_LIMIT,
    ) -> None:
        from sim.chain.pyevm import PyEvm

        self._chain_id = chain_id
        self._time = genesis_time
        self._block_number = 1
        self._evm = PyEvm(chain_id, genesis_time, block_gas_limit, balances or {})
        self._receipts: list[Receipt] = []
        self._log_index = LogIndex()
        self._snapshots: dict[SnapshotId, _Saved] = {}

    @property
    def chain_id(self) -> int:
        """Chain id as contracts see it."""
        return self._chain_id

    @property
    def time(self) -> int:
        """Timestamp of the present block, seconds."""
        return self._time

    @property
    def block_number(self) -> int:
        """Number of the present block, from 1."""
        return self._block_number

    @property
    def receipts(self) -> tuple[Receipt, ...]:
        """All receipts in order."""
        return tuple(self._receipts)

    @property
    def transaction_count(self) -> int:
        """Number of transactions so far."""
        return len(self._receipts)

    def set_time(self, timestamp: int) -> None:
        """Begin the next block at `timestamp`.

        Raises
        ------
        ChainError
            If it is not later than the present block.
        """
        if timestamp <= self._time:
            raise ChainError(f"time {timestamp} is not after the present block's {self._time}")
        self._time = timestamp
        self._block_number += 1
        self._evm.set_block(self._block_number, timestamp)

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
        execution = self._evm.execute(sender, to, data, value, gas)
        return self._record(sender, to, execution)

    def call(
        self, to: bytes, data: bytes, *, sender: bytes | None = None, value: int = 0, gas: int | None = None
    ) -> CallResult:
        """Execute and keep nothing; raises as `send` does."""
        self._check_value(sender or ZERO_ADDRESS, value)
        execution = self._evm.peek(sender or ZERO_ADDRESS, to, data, value, gas)
        return CallResult(execution.status, execution.output, execution.gas_used)

    def deploy(self, sender: bytes, creation_code: bytes, value: int = 0) -> Receipt:
        """Create a contract; the receipt carries its address, or status 0."""
        return self.send(sender, None, creation_code, value)

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

    def execute_deposit(
        self, sender: bytes, to: bytes | None, *, mint: int, value: int, gas: int, data: bytes = b""
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
        """
        execution = self._evm.execute_deposit(sender, to, data, value, gas, mint)
        return self._record(sender, to, execution)

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

    def proof(self, address: bytes, slots: tuple[int, ...] = ()) -> AccountProof:
        """Return an account and storage words with the trie nodes that prove them (EIP-1186)."""
        return self._evm.proof(address, slots)

    def snapshot(self) -> SnapshotId:
        """Write the state into its tries and remember the root; good over any number of transactions."""
        number = SnapshotId(max(self._snapshots, default=0) + 1)
        self._snapshots[number] = _Saved(
            self._evm.save(), self._time, self._block_number, len(self._receipts), len(self._log_index)
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
        self._time, self._block_number = saved.time, saved.block_number
        self._evm.set_block(saved.block_number, saved.time)
        del self._receipts[saved.receipts :]
        self._log_index.truncate(saved.logs)

    def state_root(self) -> bytes:
        """Root of the state trie, 32 bytes."""
        return self._evm.save()

    def logs(
        self,
        *,
        from_block: int = 0,
        to_block: int | None = None,
        address: bytes | None = None,
        topics: tuple[bytes | None, ...] = (),
    ) -> list[Log]:
        """Events in blocks `from_block` to `to_block` (the present one when None), both included."""
        last = self._block_number if to_block is None else to_block
        return self._log_index.query(from_block, last, address, topics)

    def _check_value(self, sender: bytes, value: int) -> None:
        if value and self._evm.balance(sender) < value:
            raise InsufficientFunds(sender, self._evm.balance(sender), value)

    def _record(self, sender: bytes, to: bytes | None, execution: Execution) -> Receipt:
        index = len(self._receipts)
        first = len(self._log_index)
        logs = tuple(
            Log(
                address,
                tuple(t.to_bytes(32, "big") for t in topics),
                data,
                self._block_number,
                index,
                first + i,
            )
            for i, (address, topics, data) in enumerate(execution.logs)
        )
        receipt = Receipt(
            index=index,
            block_number=self._block_number,
            timestamp=self._time,
            sender=sender,
            to=to,
            status=execution.status,
            gas_used=execution.gas_used,
            output=execution.output,
            contract_address=execution.created,
            logs=logs,
        )
        self._receipts.append(receipt)
        self._log_index.extend(logs)
        return receipt
