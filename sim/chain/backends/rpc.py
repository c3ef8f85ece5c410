"""RPC: a chain at a development node, driven as the one in this process is.

Rule decided here: every transaction is a block of its own, and all blocks of one moment have its timestamp, so that
contracts see the times that they would see here. The node acts for every sender, at gas price 0; what this chain did
is known from its receipts alone, so the node has to be fresh and nobody else's.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sim.chain.addresses import ZERO_ADDRESS
from sim.chain.backend import CallResult, ChainError, InsufficientFunds, Receipt, SnapshotId
from sim.chain.backends.rpc_state import LATEST, RpcState
from sim.chain.backends.transport import NodeError, RpcRefused
from sim.chain.backends.wire import number, quantity, raw, read_receipt, text
from sim.chain.logindex import LogIndex

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sim.chain.backend import Log
    from sim.chain.backends.transport import Transport

REVERTED = 3
"""Code of a refused call that comes with revert data."""

HALTED = "EVM error"
"""Begins what anvil says of a call that ran out of gas or hit an invalid instruction."""

RECEIPT_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class _Saved:
    node_id: str
    time: int
    receipts: int
    logs: int


class RpcChain(RpcState):
    """A chain at a node (satisfies `sim.chain.backend.SandboxChain`); `connect` checks the node and makes one.

    Parameters
    ----------
    node
        Answers requests.
    chain_id, gas_limit
        Of the node; the limit is the most that one transaction may use.
    timestamp
        Time of the first block, seconds.
    """

    def __init__(self, node: Transport, *, chain_id: int, gas_limit: int, timestamp: int) -> None:
        super().__init__(node)
        self.chain_id, self._gas_limit = chain_id, gas_limit
        self._receipts: list[Receipt] = []
        self._log_index = LogIndex()
        self._snapshots: dict[SnapshotId, _Saved] = {}
        self._acting_for: set[bytes] = set()
        self._latest = number(node("eth_blockNumber"))
        self.time = timestamp
        self._begin(timestamp)

    @property
    def client(self) -> str:
        """What the node says that it is."""
        return str(self._node("web3_clientVersion"))

    @property
    def block_number(self) -> int:
        """Number of the block that the next transaction lands in."""
        return self._latest + 1

    @property
    def receipts(self) -> tuple[Receipt, ...]:
        """All receipts in order."""
        return tuple(self._receipts)

    @property
    def transaction_count(self) -> int:
        """Number of transactions so far."""
        return len(self._receipts)

    def receipt(self, index: int) -> Receipt:
        """Return the receipt of a transaction by its number."""
        return self._receipts[index]

    def send(
        self, sender: bytes, to: bytes | None, data: bytes = b"", value: int = 0, gas: int | None = None
    ) -> Receipt:
        """Execute a transaction of any address at gas price 0.

        The return data of one that succeeds is not in the receipt: JSON-RPC has no place for it.

        Raises
        ------
        InsufficientFunds
            If the sender has less than `value`.
        ChainError
            If the node refuses to include it.
        """
        self._act_for(sender)
        fields = self._fields(sender, to, data, value, gas) | {"gasPrice": quantity(0)}
        try:
            digest = self._node("eth_sendTransaction", fields)
        except RpcRefused as refused:
            self._check_value(sender, value)
            raise ChainError(f"transaction of 0x{sender.hex()} cannot be included: {refused}") from refused
        answer = self._wait_for(digest)
        failed = number(answer["status"]) == 0
        output = self._call(fields).output if failed else b""
        return self._record(
            read_receipt(
                answer, index=len(self._receipts), first_log=len(self._log_index), timestamp=self.time,
                output=output,
            )
        )  # fmt: skip

    def call(
        self, to: bytes, data: bytes, *, sender: bytes | None = None, value: int = 0, gas: int | None = None
    ) -> CallResult:
        """Execute and keep nothing; the gas that it took is 0 here, because a node does not say it."""
        return self._call(self._fields(sender or ZERO_ADDRESS, to, data, value, gas))

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
        """Execute what an L1 deposit derives on L2, as `sim.chain.evm.Chain` does; a node has no source hashes."""
        self.mint_native(sender, mint)
        try:
            return self.send(sender, to, data, value, gas)
        except ChainError:
            nonce = self.nonce(sender)
            self._node("anvil_setNonce", text(sender), quantity(nonce + 1))
            return self._record(
                Receipt(
                    index=len(self._receipts), block_number=self.block_number, timestamp=self.time, sender=sender,
                    to=to, status=0, gas_used=gas, output=b"", contract_address=None, logs=(),
                )
            )  # fmt: skip

    def set_time(self, timestamp: int) -> None:
        """Begin a new block at `timestamp`.

        Raises
        ------
        ChainError
            If it is not later than the present one.
        """
        if timestamp <= self.time:
            raise ChainError(f"time {timestamp} is not after the present block's {self.time}")
        self._begin(timestamp)

    def latest_block_hash(self) -> bytes:
        """Hash of the last block that ended, 32 bytes."""
        return raw(self._node("eth_getBlockByNumber", quantity(self._latest), False)["hash"])

    def snapshot(self) -> SnapshotId:
        """Remember the present state."""
        known = SnapshotId(max(self._snapshots, default=0) + 1)
        self._save(known)
        return known

    def revert(self, snapshot: SnapshotId) -> None:
        """Go back to a snapshot and forget those made after it.

        Raises
        ------
        ChainError
            If the snapshot is unknown or was forgotten.
        """
        saved = self._snapshots.get(snapshot)
        if saved is None or not self._node("evm_revert", saved.node_id):
            raise ChainError(f"snapshot {snapshot} is unknown; known are {sorted(self._snapshots)}")
        self._snapshots = {n: s for n, s in self._snapshots.items() if n <= snapshot}
        del self._receipts[saved.receipts :]
        self._log_index.truncate(saved.logs)
        self.time = saved.time
        self._latest = number(self._node("eth_blockNumber"))
        self._save(snapshot)  # nodes forget a snapshot that was gone back to

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

    def close(self) -> None:
        """Give the connection back; the node keeps what it has."""
        self._node.close()

    def _begin(self, timestamp: int) -> None:
        """Mine an empty block, so that calls see the time too."""
        self._node("evm_setNextBlockTimestamp", timestamp)
        self._node("evm_mine")
        self._latest += 1
        self.time = timestamp

    def _save(self, known: SnapshotId) -> None:
        node_id = str(self._node("evm_snapshot"))
        self._snapshots[known] = _Saved(node_id, self.time, len(self._receipts), len(self._log_index))

    def _act_for(self, sender: bytes) -> None:
        if sender not in self._acting_for:
            self._node("anvil_impersonateAccount", text(sender))
            self._acting_for.add(sender)

    def _fields(
        self, sender: bytes, to: bytes | None, data: bytes, value: int, gas: int | None
    ) -> dict[str, Any]:
        limit = self._gas_limit if gas is None else gas
        fields = {
            "from": text(sender), "data": text(data), "value": quantity(value), "gas": quantity(limit),
        }  # fmt: skip
        return fields if to is None else fields | {"to": text(to)}

    def _call(self, fields: dict[str, Any]) -> CallResult:
        try:
            return CallResult(1, raw(self._node("eth_call", fields, LATEST)), 0)
        except RpcRefused as refused:
            if refused.code == REVERTED or HALTED in str(refused):
                return CallResult(0, refused.data, 0)
            self._check_value(raw(fields["from"]), number(fields["value"]))
            raise

    def _wait_for(self, digest: str) -> dict[str, Any]:
        """Return a receipt once the node has mined the transaction, which it does a moment later."""
        deadline = time.monotonic() + RECEIPT_TIMEOUT_S
        while (answer := self._node("eth_getTransactionReceipt", digest)) is None:
            if time.monotonic() > deadline:
                raise NodeError(
                    self._node.address, f"did not mine transaction {digest}; it has to mine at once"
                )
            time.sleep(0.0005)
        found: dict[str, Any] = answer
        mined = number(found["blockNumber"])
        if mined != self._latest + 1:
            raise NodeError(
                self._node.address,
                f"put a transaction into block {mined} where {self._latest + 1} was next; somebody else uses it",
            )
        self._latest = mined
        return found

    def _record(self, receipt: Receipt) -> Receipt:
        self._receipts.append(receipt)
        self._log_index.extend(receipt.logs)
        return receipt

    def _check_value(self, sender: bytes, value: int) -> None:
        if value and (held := self.balance(sender)) < value:
            raise InsufficientFunds(sender, held, value)
