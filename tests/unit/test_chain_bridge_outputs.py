"""Outputs of the bridge: what L1 is told of L2, who may say it, and what a false one costs; roles and gas."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("eth")

sys.path.insert(0, str(Path(__file__).parent))
from bridge_world import ALICE, BOB, CAROL, DAY, T0, WINDOW, BridgeTimes, World, names

from sim.chain.abi import Reverted
from sim.chain.addresses import ZERO_ADDRESS, address_of
from sim.chain.bridge import BridgeError
from sim.chain.bridge.deploy import GUARDIAN, PROPOSER
from sim.chain.bridge.predeploys import MESSAGE_PASSER


class TestOutputs:
    def test_one_per_interval_with_the_real_roots(self):
        w = World().funded()
        w.bridge.initiate_withdrawal(BOB, 200)
        before = w.l2.proof(MESSAGE_PASSER)
        w.bridge.advance(T0 + 3 * DAY + 1)
        oracle = w.bridge.deployed.oracle
        assert oracle.read("nextOutputIndex") == len(w.bridge.outputs.proposed) == 3
        assert oracle.read("latestBlockNumber") == 3 * 43_200
        first, last = w.bridge.outputs.claims[0], w.bridge.outputs.claims[-1]
        assert (first.state_root, first.storage_root) == (before.state_root, before.storage_root)
        assert len({claim.digest for claim in w.bridge.outputs.claims}) == 3
        assert first.block_hash != last.block_hash
        root, timestamp, block = oracle.read("getL2Output", 0)
        assert (root, timestamp, block) == (first.digest, T0 + DAY + 1, 43_200)

    def test_what_the_oracle_refuses(self):
        w = World()
        oracle = w.bridge.deployed.oracle
        w.bridge.advance(T0 + DAY + 1)
        for sender, block, message in (
            (ALICE, 86_400, "only the proposer"),
            (address_of(PROPOSER), 86_401, "must be equal to next expected block number"),
            (address_of(PROPOSER), 86_400, "cannot propose L2 output in the future"),
        ):
            with pytest.raises(Reverted, match=message):
                oracle.propose(sender, b"\x01" * 32, block)
        with pytest.raises(Reverted, match="only the challenger"):
            oracle.delete_from(ALICE, 0)
        w.bridge.advance(T0 + DAY + 1 + WINDOW)
        with pytest.raises(Reverted, match="cannot delete outputs that have already been finalized"):
            w.bridge.delete_outputs(0)

    def test_a_false_output_is_deleted_and_what_it_proved_is_proved_again(self):
        """The clock of the withdrawal starts anew."""
        w = World().funded()
        number, _ = w.bridge.initiate_withdrawal(BOB, 200)
        w.bridge.advance(w.bridge.provable_at(number))
        message, root = w.bridge.messages.find(number), w.bridge.outputs.claims[0]
        oracle, false = w.bridge.deployed.oracle, replace(root, state_root=b"\xbd" * 32)
        w.bridge.delete_outputs(0)
        oracle.propose(address_of(PROPOSER), false.digest, 43_200)
        w.portal.prove(CAROL, message.withdrawal, 0, false, message.nodes)
        w.bridge.advance(w.l1.time + 5 * DAY)
        assert names(w.bridge.delete_outputs(0)) == ["OutputsDeleted"]
        with pytest.raises(BridgeError, match="output 0 of its proof was deleted; prove it again"):
            w.bridge.payable_at(number)
        with pytest.raises(BridgeError, match="can be proved from"):
            w.bridge.prove(number)
        w.bridge.advance(w.l1.time + 1)
        assert w.bridge.outputs.proposed[0].root == root.digest
        assert len(w.bridge.outputs.proposed) == len(w.bridge.outputs.claims) == 6
        w.bridge.advance(w.l1.time + 2 * DAY)
        with pytest.raises(Reverted, match="output root proven is not the same as current output root"):
            w.bridge.finalise(number)
        w.bridge.prove(number)
        assert w.bridge.payable_at(number) == w.l1.time + WINDOW + 1
        w.pay(number)
        assert w.token.balance_of(BOB) == 200

    @pytest.mark.parametrize("every", [3_600, 7_201, 3 * DAY])
    def test_the_interval_is_the_scenarios(self, every):
        w = World(times=BridgeTimes(deposit_s=0, output_every_s=every, window_s=100))
        w.bridge.deposit(ALICE, 10, BOB)
        w.bridge.advance(T0 + 7_000)
        number, _ = w.bridge.initiate_withdrawal(BOB, 10)
        due = w.bridge.provable_at(number)
        assert due == T0 + -(-7_000 // every) * every + 1
        w.bridge.advance(due)
        w.bridge.prove(number)
        assert w.bridge.payable_at(number) == due + 101
        w.pay(number)
        assert w.bridge.escrow() == 0


def test_roles_are_accounts_of_their_own():
    w = World()
    deployed = w.bridge.deployed
    assert deployed.superchain.read("guardian") == address_of(GUARDIAN)
    assert deployed.system.read("gasPayingToken") == (w.token.address, 18)
    assert deployed.system.read("owner") == address_of("bridge.owner")
    assert deployed.portal.read("version") == "2.8.1-beta.1"
    assert ZERO_ADDRESS not in w.bridge.contracts.values()
    with pytest.raises(Reverted, match="already initialized"):
        deployed.portal.transact(ALICE, "initialize", BOB, BOB, BOB)


def test_gas_is_that_of_the_contracts():
    """A regression test: the figures of the unmodified contracts at Prague's prices."""
    w = World().funded()
    _, (approved, deposited) = w.bridge.deposit(ALICE, 10**18, CAROL)
    number, initiated = w.bridge.initiate_withdrawal(BOB, 200, CAROL)
    w.bridge.advance(w.bridge.provable_at(number))
    proposed = w.l1.receipts[-1]
    proved = w.bridge.prove(number)
    w.bridge.advance(w.bridge.payable_at(number))
    paid = w.bridge.finalise(number)
    fixed = [receipt.gas_used for receipt in (approved, deposited, initiated, paid)]
    assert fixed == [46_366, 83_418, 71_288, 152_463]
    # a byte of a root that happens to be 0 costs 12 gas less
    assert [proposed.gas_used, proved.gas_used] == [
        pytest.approx(107_418, abs=60),
        pytest.approx(171_442, abs=60),
    ]
