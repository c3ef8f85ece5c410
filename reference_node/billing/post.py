"""Posting: one epoch's roots and money to the distributor, at most once.

Rules decided here. Before anything is sent, the chain must be the one that `deployment.json` names, the contract
must have code, its latest epoch must be exactly the one this settlement follows (number, roots and total), and
the sender must have the money. The value is the rise of the total. An epoch that the contract already has, with
the same roots, is done: posting again sends nothing. When a send gets no answer the contract is asked again, and
another attempt uses the same nonce, so that at most one of them is executed. It ends with the event, checked word
by word.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.errors import InputError
from models.units import format_amount
from reference_node.billing.distributor import LATEST, Deployment, OnChain, selector
from reference_node.billing.rpc import ATTEMPTS, Refused, Rpc, Unreachable
from reference_node.billing.sender import Sender
from reference_node.billing.settlement_file import Settlement

POLL_S = 0.5


class PostingFailed(RuntimeError):  # noqa: N818 - a result, told with exit code 1
    """The chain did not take the epoch."""


@dataclass(frozen=True, slots=True)
class Posting:
    """What posting an epoch came to.

    Parameters
    ----------
    epoch
        Number.
    value_wei
        Money that went with it; 0 where it was posted before.
    transaction
        Hash, or None where the contract already had the epoch.
    block
        Number of the block, or None likewise.
    """

    epoch: int
    value_wei: int
    transaction: str | None
    block: int | None


def post_settlement(
    settlement: Settlement,
    deployment: Path,
    rpc_url: str,
    sender: Sender,
    *,
    wait_s: float = 120.0,
    sleep: Callable[[float], None] = time.sleep,
) -> Posting:
    """Post a settlement to the distributor of a deployment.

    Parameters
    ----------
    settlement
        As `Settlement.read` gives it.
    deployment
        `deployment.json`.
    rpc_url
        The chain's node.
    sender
        Account with the poster role and the money.
    wait_s, sleep
        Longest wait for the receipt, and what waits the given seconds.

    Raises
    ------
    InputError
        If the chain, the order of epochs, the sender or its money is not right; nothing was sent.
    PostingFailed
        If the chain refused the transaction or cannot be reached.
    """
    target = Deployment.read(deployment)
    with Rpc(rpc_url, sleep=sleep) as rpc:
        try:
            return _Poster(rpc, target, settlement, sender, wait_s).post()
        except Unreachable as error:
            raise PostingFailed(f"{error}; ask again: an epoch is posted once") from error
        except Refused as error:
            reason = target.explain(error.data) if error.data else str(error)
            raise PostingFailed(f"epoch {settlement.epoch} was refused: {reason}") from error


@dataclass(frozen=True, slots=True)
class _Poster:
    rpc: Rpc
    target: Deployment
    settlement: Settlement
    sender: Sender
    wait_s: float

    def post(self) -> Posting:
        self._check_chain()
        if self._is_posted():
            return Posting(self.settlement.epoch, 0, None, None)
        self.sender.check(self.rpc)
        transaction = self._transaction()
        for attempt in range(ATTEMPTS):
            try:
                return self._confirmed(self.sender.send(self.rpc, transaction), transaction["value"])
            except Unreachable:
                self.rpc.sleep(POLL_S * 2**attempt)
            except Refused:
                if attempt == 0:
                    raise
                self.rpc.sleep(POLL_S * 2**attempt)  # an attempt without an answer may hold the nonce
            if self._is_posted():
                return Posting(self.settlement.epoch, transaction["value"], None, None)
        raise PostingFailed(
            f"nobody knows yet whether epoch {self.settlement.epoch} was posted; ask again: it is posted once"
        )

    def _check_chain(self) -> None:
        found = self.rpc.quantity("eth_chainId")
        if found != self.target.chain_id:
            raise InputError(
                f"{self.rpc.url} is chain {found}; the deployment is on chain {self.target.chain_id}"
            )
        if self.rpc.read("eth_getCode", self.target.distributor, "latest") in ("0x", "0x0", None):
            raise InputError(f"there is no contract at {self.target.distributor} on chain {found}")

    def _is_posted(self) -> bool:
        """Whether the contract has this epoch; refuses any other state than this one or the one before."""
        call = {"to": self.target.distributor, "data": "0x" + selector(LATEST).hex()}
        answer = self.rpc.read("eth_call", call, "latest")
        try:
            latest = OnChain.decode(bytes.fromhex(answer[2:]))
        except ValueError as error:
            raise InputError(f"{self.target.distributor} is no AttributionDistributor: {error}") from error
        mine, before = OnChain.of(self.settlement), self.settlement.document["previous"]
        if latest == mine:
            return True
        if latest.number != mine.number - 1:
            raise InputError(
                f"epoch {mine.number} is out of order: the contract has epoch {latest.number} and takes "
                f"{latest.number + 1} next"
                + ("; it has another epoch of this number" if latest.number == mine.number else "")
            )
        expected = (before["log_root"], before["payout_root"]) if before else ("0x" + "0" * 64,) * 2
        found = ("0x" + latest.log_root.hex(), "0x" + latest.payout_root.hex())
        if found != expected or latest.total_wei != self.settlement.previous_wei:
            raise InputError(
                f"the contract's epoch {latest.number} is not the one this settlement follows: log root {found[0]}, "
                f"payout root {found[1]}, total {latest.total_wei} wei; expected {expected[0]}, {expected[1]}, "
                f"{self.settlement.previous_wei} wei"
            )
        return False

    def _transaction(self) -> dict[str, Any]:
        value = self.settlement.total_wei - self.settlement.previous_wei
        data = "0x" + OnChain.of(self.settlement).call_data().hex()
        call = {"from": self.sender.address, "to": self.target.distributor, "data": data, "value": hex(value)}
        price = self.rpc.quantity("eth_gasPrice")
        self._check_funds(value)
        gas = self.rpc.quantity("eth_estimateGas", call) * 5 // 4
        self._check_funds(value, gas * price)
        nonce = self.rpc.quantity("eth_getTransactionCount", self.sender.address, "latest")
        return {
            "to": self.target.distributor,
            "data": data,
            "value": value,
            "gas": gas,
            "gasPrice": price,
            "nonce": nonce,
            "chainId": self.target.chain_id,
        }

    def _check_funds(self, value: int, fee: int = 0) -> None:
        has = self.rpc.quantity("eth_getBalance", self.sender.address, "latest")
        if has < value + fee:
            raise InputError(
                f"{self.sender.address} has {format_amount(has, decimals=18)}; epoch {self.settlement.epoch} "
                f"needs {format_amount(value, decimals=18)} and {format_amount(fee, decimals=18)} for gas"
            )

    def _confirmed(self, transaction: str, value: int) -> Posting:
        receipt = self._receipt(transaction)
        if int(receipt["status"], 16) != 1:
            raise PostingFailed(
                f"transaction {transaction} failed in block {int(receipt['blockNumber'], 16)}"
            )
        expected = OnChain.of(self.settlement)
        if not any(expected.is_in(log, self.target.distributor) for log in receipt["logs"]):
            raise PostingFailed(f"transaction {transaction} emitted no EpochPosted with this epoch's values")
        return Posting(self.settlement.epoch, value, transaction, int(receipt["blockNumber"], 16))

    def _receipt(self, transaction: str) -> dict[str, Any]:
        waited = 0.0
        while True:
            receipt = self.rpc.read("eth_getTransactionReceipt", transaction)
            if receipt is not None:
                return dict(receipt)
            if waited >= self.wait_s:
                raise PostingFailed(
                    f"transaction {transaction} is in no block after {self.wait_s:g} s; ask again later: an epoch "
                    "is posted once"
                )
            self.rpc.sleep(POLL_S)
            waited += POLL_S
