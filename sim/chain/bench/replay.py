"""Replay: what a witness run sent, on fresh chains, with nothing around it.

Rule decided here: every block and every transaction comes again at its own time; what an output claims of L2 is
computed again too, as whoever proposes one has to. Gas, status and claimed roots have to be what they were, so that a
replay that did less cannot pass for one that was faster.
"""

from __future__ import annotations

import time
from collections import defaultdict
from typing import TYPE_CHECKING

from sim.chain.artifacts import OP_STACK, load
from sim.chain.bridge.outputs import OutputRoot
from sim.chain.bridge.predeploys import L1_BLOCK, MESSAGE_PASSER
from sim.chain.evm import Chain

if TYPE_CHECKING:
    from sim.chain.backend import Receipt
    from sim.chain.witness import ChainWitness

CHAINS = ("l1", "l2")


class Replay:
    """A witness run's transactions, ready to be executed once more.

    Parameters
    ----------
    witness
        That made them, on chains in this process.
    """

    def __init__(self, witness: ChainWitness) -> None:
        assert isinstance(witness.l1, Chain)
        assert isinstance(witness.l2, Chain)
        self._made = {"l1": witness.l1, "l2": witness.l2}
        self._derived = witness.bridge.derived_indices
        self._oracle = witness.bridge.contracts["L2OutputOracle"]
        self._proposing = load("L2OutputOracle", OP_STACK).abi.functions["proposeL2Output"].selector
        self._fresh = {name: _beginning(chain) for name, chain in self._made.items()}
        for address in (L1_BLOCK, MESSAGE_PASSER):
            self._fresh["l2"].set_code(address, witness.l2.code(address))
        self._times: set[int] = set()
        self._sent: dict[str, defaultdict[int, list[Receipt]]] = {}
        for name, chain in self._made.items():
            self._times |= {chain.blocks.extent(n).env.timestamp for n in range(1, chain.block_number + 1)}
            self._sent[name] = defaultdict(list)
            for receipt in chain.blocks.receipts:
                self._sent[name][receipt.timestamp].append(receipt)

    def run(self) -> float:
        """Execute everything in the order of time and return the seconds of the processor that it took.

        Raises
        ------
        RuntimeError
            If anything has another outcome than it had.
        """
        began = time.thread_time()
        for timestamp in sorted(self._times):
            for chain in self._fresh.values():
                if timestamp > chain.time:
                    chain.set_time(timestamp)
            for name in CHAINS:
                for receipt in self._sent[name].get(timestamp, ()):
                    self._execute(name, receipt)
        return time.thread_time() - began

    def _execute(self, name: str, made: Receipt) -> None:
        chain = self._fresh[name]
        transaction = self._made[name].blocks.transactions[made.index]
        message = transaction.message
        if made.to == self._oracle and message.data.startswith(self._proposing):
            self._claim(message.data)
        if name == "l2" and made.index in self._derived:
            done = chain.execute_deposit(
                message.sender, message.to, mint=transaction.mint, value=message.value, gas=transaction.gas,
                data=message.data,
            )  # fmt: skip
        else:
            done = chain.send(message.sender, message.to, message.data, message.value, transaction.gas)
        if (done.status, done.gas_used) != (made.status, made.gas_used):
            raise RuntimeError(
                f"transaction {made.index} of {name} took {done.gas_used} gas, not {made.gas_used}"
            )

    def _claim(self, data: bytes) -> None:
        """Compute the root of an output that is about to be proposed."""
        l2 = self._fresh["l2"]
        proof = l2.proof(MESSAGE_PASSER)
        root = OutputRoot(proof.state_root, proof.storage_root, l2.latest_block_hash()).digest
        if root not in data:
            raise RuntimeError(f"the root of L2 at {l2.time} is another: 0x{root.hex()}")


def _beginning(chain: Chain) -> Chain:
    """Return a chain that begins as another one did."""
    return Chain(chain_id=chain.chain_id, genesis_time=chain.blocks.extent(1).env.timestamp)
