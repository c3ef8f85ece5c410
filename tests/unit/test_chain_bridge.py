"""The bridge that carries the money: OPEN through the OP Stack's portal, as L2's native coin."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("eth")

sys.path.insert(0, str(Path(__file__).parent))
from bridge_world import ALICE, BOB, CAROL, DAY, T0, WINDOW, World, names

from sim.chain.abi import Reverted
from sim.chain.addresses import address_of
from sim.chain.backend import InsufficientFunds
from sim.chain.bridge import BridgeError
from sim.chain.bridge.deploy import RESOURCES
from sim.chain.bridge.predeploys import DEPOSITOR, L1_BLOCK, MESSAGE_PASSER, alias_of


class TestDeposit:
    def test_it_is_locked_at_once_and_derived_after_its_delay(self):
        w = World()
        number, receipts = w.bridge.deposit(ALICE, 500, BOB)
        assert [names(receipt) for receipt in receipts] == [
            ["Approval"],
            ["Transfer", "TransactionDeposited"],
        ]
        assert (w.bridge.escrow(), w.l2.balance(BOB)) == (500, 0)
        assert w.token.balance_of(w.bridge.escrow_address) == 500
        assert [d.number for d in w.bridge.pending_deposits()] == [number - 1, number]
        assert w.bridge.advance(T0 + w.bridge.times.deposit_s - 1) == []
        done = w.bridge.advance(T0 + w.bridge.times.deposit_s)[-1]
        assert (done.deposit.to, done.deposit.mint_wei, done.receipt.status) == (BOB, 500, 1)
        assert (w.l2.balance(BOB), w.l2.balance(ALICE), w.bridge.pending_deposits()) == (500, 0, [])
        assert w.l1.time == w.l2.time == T0 + w.bridge.times.deposit_s

    def test_the_first_one_tells_l2_its_gas_token(self):
        w = World()
        (first,) = w.arrive()
        assert (first.deposit.sender, first.deposit.to) == (DEPOSITOR, L1_BLOCK)
        assert names(first.receipt) == ["GasPayingTokenSet"]
        assert w.bridge.deployed.l1_block.gas_token() == (w.token.address, 18, "OpenLedger", "OPEN")

    def test_order_is_that_of_the_events_whoever_sent_them(self):
        w = World()
        w.bridge.deposit(ALICE, 5, BOB)
        w.approve(ALICE, 7)
        w.portal.deposit_erc20(ALICE, CAROL, mint=7, value=7, gas_limit=21_000)
        w.bridge.advance(T0 + 60)
        w.bridge.deposit(ALICE, 11, BOB)
        made = [d.mint_wei for d in w.bridge.pending_deposits()]
        assert made == [0, 5, 7, 11]
        assert [d.deposit.mint_wei for d in w.bridge.advance(T0 + w.bridge.times.deposit_s)] == [0, 5, 7]
        (late,) = w.arrive()
        assert (late.deposit.mint_wei, late.receipt.timestamp) == (11, T0 + 60 + w.bridge.times.deposit_s)

    def test_a_call_that_reverts_is_included_and_its_mint_stays_with_the_depositor(self):
        w = World()
        w.approve(ALICE, 100)
        w.portal.deposit_erc20(ALICE, L1_BLOCK, mint=100, value=100, gas_limit=100_000)
        done = w.arrive()[-1]
        assert (done.receipt.status, w.l2.balance(ALICE), w.l2.balance(L1_BLOCK)) == (0, 100, 0)
        assert w.l2.nonce(ALICE) == 1
        assert w.bridge.escrow() == 100

    def test_one_that_sends_more_than_it_has_is_included_too(self):
        w = World()
        w.approve(ALICE, 100)
        w.portal.deposit_erc20(ALICE, BOB, mint=100, value=101, gas_limit=21_000)
        done = w.arrive()[-1]
        assert (done.receipt.status, w.l2.balance(ALICE), w.l2.balance(BOB), w.l2.nonce(ALICE)) == (
            0,
            100,
            0,
            1,
        )

    def test_it_can_create_a_contract(self):
        w = World()
        w.approve(ALICE, 9)
        w.portal.deposit_erc20(ALICE, None, mint=9, value=9, gas_limit=100_000, data=b"\x5f\x5f\xf3")
        done = w.arrive()[-1]
        assert done.deposit.to is None
        assert w.l2.balance(done.receipt.contract_address) == 9

    def test_a_contract_acts_under_its_alias(self):
        w = World()
        lock = w.caller()
        w.token.transfer(ALICE, lock.address, 50)
        w.call_through(lock, w.token.address, w.token.abi.encode_call("approve", w.portal.address, 50))
        call = w.portal.abi.encode_call("depositERC20Transaction", BOB, 50, 30, 21_000, False, b"")
        w.call_through(lock, w.portal.address, call)
        done = w.arrive()[-1]
        assert done.deposit.sender == alias_of(lock.address) != lock.address
        assert (w.l2.balance(alias_of(lock.address)), w.l2.balance(BOB)) == (20, 30)
        assert w.l2.balance(lock.address) == 0

    def test_to_a_contract_of_l2_it_carries_more_gas(self):
        w = World()
        target = address_of("a contract")
        w.l2.set_code(target, b"\x5f\x54\x50\x00")
        w.bridge.deposit(ALICE, 10, target)
        done = w.arrive()[-1]
        assert (done.receipt.status, w.l2.balance(target)) == (1, 10)
        assert done.receipt.gas_used > 21_000

    def test_tokens_sent_to_the_portal_by_mistake_are_not_escrow(self):
        w = World().funded(100)
        w.token.transfer(ALICE, w.portal.address, 7)
        assert (w.bridge.escrow(), w.token.balance_of(w.portal.address)) == (100, 107)

    @pytest.mark.parametrize(
        ("gas_limit", "data", "error"),
        [
            (20_999, b"", "SmallGasLimit"),
            (21_015, b"\x00", "SmallGasLimit"),
            (200_000_000, b"", "OutOfGas"),
            (RESOURCES[0] + 1, b"", "OutOfGas"),
            (3_000_000, bytes(120_001), "LargeCalldata"),
        ],
    )
    def test_gas_that_the_portal_refuses(self, gas_limit, data, error):
        w = World()
        w.approve(ALICE, 1)
        with pytest.raises(Reverted, match=error):
            w.portal.deposit_erc20(ALICE, BOB, mint=1, value=1, gas_limit=gas_limit, data=data)
        w.portal.deposit_erc20(ALICE, BOB, mint=1, value=1, gas_limit=21_016, data=b"\x00")
        assert w.bridge.escrow() == 1

    def test_ether_is_refused_and_so_are_tokens_that_nobody_has(self):
        w = World()
        w.l1.set_balance(ALICE, 10**18)
        with pytest.raises(Reverted, match="NoValue"):
            w.portal.deposit_ether(ALICE, BOB, value=1, gas_limit=21_000, ether=1)
        with pytest.raises(Reverted, match="ERC20InsufficientBalance"):
            w.bridge.deposit(BOB, 1)
        with pytest.raises(Reverted, match="ERC20InsufficientAllowance"):
            w.portal.deposit_erc20(ALICE, BOB, mint=2, value=2, gas_limit=21_000)
        assert (w.bridge.escrow(), len(w.bridge.pending_deposits())) == (0, 1)


class TestWithdrawal:
    def test_it_takes_an_output_a_proof_and_more_than_the_window(self):
        w = World().funded()
        number, receipt = w.bridge.initiate_withdrawal(BOB, 200, CAROL)
        assert names(receipt) == ["MessagePassed"]
        assert (w.l2.balance(BOB), w.l2.balance(MESSAGE_PASSER), w.bridge.escrow()) == (800, 200, 1_000)
        with pytest.raises(BridgeError, match=f"can be proved from {T0 + DAY + 1}, now"):
            w.bridge.prove(number)
        with pytest.raises(Reverted, match="has not been proven yet"):
            w.bridge.finalise(number)
        with pytest.raises(BridgeError, match="was not proved"):
            w.bridge.payable_at(number)
        w.bridge.advance(w.bridge.provable_at(number))
        assert names(w.bridge.prove(number)) == ["WithdrawalProven"]
        proven_at = w.l1.time
        assert w.bridge.pending_withdrawals()[0].proven_at == proven_at == T0 + DAY + 1
        w.bridge.advance(proven_at + WINDOW)
        with pytest.raises(Reverted, match="finalization period has not elapsed"):
            w.bridge.finalise(number)
        w.bridge.advance(proven_at + WINDOW + 1)
        assert names(w.bridge.finalise(number)) == ["Transfer", "WithdrawalFinalized"]
        assert (w.token.balance_of(CAROL), w.bridge.escrow(), w.bridge.pending_withdrawals()) == (
            200,
            800,
            [],
        )

    def test_an_old_proof_does_not_help_against_a_young_output(self):
        """The window counts from the later of proof and output."""
        w = World().funded()
        number = w.proved()
        w.bridge.advance(w.l1.time + DAY)
        w.bridge.delete_outputs(0)
        w.bridge.advance(w.l1.time + 1)
        again = w.l1.time
        assert w.bridge.payable_at(number) == again + WINDOW + 1
        w.bridge.advance(again + WINDOW)
        with pytest.raises(Reverted, match="output proposal finalization period has not elapsed"):
            w.bridge.finalise(number)
        w.pay(number)

    def test_coins_that_are_not_there_cannot_leave(self):
        w = World().funded(10)
        with pytest.raises(InsufficientFunds):
            w.bridge.initiate_withdrawal(BOB, 11)

    def test_it_leaves_at_the_end_of_the_block_that_an_output_covers(self):
        """Sent in the last second of an interval it is covered; one second later it waits for the next output."""
        w = World().funded()
        w.bridge.advance(T0 + DAY)
        first, _ = w.bridge.initiate_withdrawal(BOB, 1)
        w.bridge.advance(T0 + DAY + 1)
        second, _ = w.bridge.initiate_withdrawal(BOB, 1)
        assert (w.bridge.provable_at(first), w.bridge.provable_at(second)) == (T0 + DAY + 1, T0 + 2 * DAY + 1)
        w.bridge.prove(first)

    def test_coins_sent_straight_to_the_message_passer_are_a_withdrawal(self):
        w = World().funded()
        w.l2.send(BOB, MESSAGE_PASSER, value=30)
        (sent,) = w.bridge.pending_withdrawals()
        assert (sent.sender, sent.to, sent.amount_wei) == (BOB, BOB, 30)
        w.bridge.advance(w.bridge.provable_at(sent.number))
        w.bridge.prove(sent.number)
        w.pay(sent.number)
        assert w.token.balance_of(BOB) == 30

    def test_many_are_proved_against_one_output(self):
        w = World().funded()
        sent = [w.bridge.initiate_withdrawal(BOB, amount)[0] for amount in range(1, 20)]
        w.bridge.advance(w.bridge.provable_at(sent[0]))
        for number in sent:
            w.bridge.prove(number)
        w.bridge.advance(w.bridge.payable_at(sent[0]))
        for number in sent:
            w.bridge.finalise(number)
        assert w.token.balance_of(BOB) == sum(range(1, 20))

    def test_burning_removes_the_coins_of_past_withdrawals(self):
        w = World().funded()
        w.bridge.initiate_withdrawal(BOB, 200)
        assert names(w.passer.burn(CAROL)) == ["WithdrawerBalanceBurnt"]
        assert (w.l2.balance(MESSAGE_PASSER), w.bridge.escrow()) == (0, 1_000)


class TestRefusals:
    def test_an_altered_message(self):
        w = World().funded()
        number, _ = w.bridge.initiate_withdrawal(BOB, 200)
        w.bridge.advance(w.bridge.provable_at(number))
        message = w.bridge.messages.find(number)
        root = w.bridge.outputs.claims[0]
        for change in ({"nonce": message.withdrawal.nonce + 1}, {"amount_wei": 201}, {"to": CAROL}):
            altered = replace(message.withdrawal, **change)
            with pytest.raises(
                Reverted, match=r"invalid large internal hash|invalid withdrawal inclusion proof"
            ):
                w.portal.prove(CAROL, altered, 0, root, message.nodes)
        with pytest.raises(Reverted, match="invalid output root proof"):
            w.portal.prove(CAROL, message.withdrawal, 0, replace(root, state_root=bytes(32)), message.nodes)
        w.portal.prove(CAROL, message.withdrawal, 0, root, message.nodes)

    def test_a_second_proof(self):
        w = World().funded()
        number = w.proved()
        with pytest.raises(Reverted, match="withdrawal hash has already been proven"):
            w.bridge.prove(number)

    def test_a_replay_after_it_was_paid(self):
        w = World().funded()
        number = w.proved()
        withdrawal = w.bridge.messages.find(number).withdrawal
        w.pay(number)
        with pytest.raises(Reverted, match="withdrawal has already been finalized"):
            w.portal.finalise(CAROL, withdrawal)
        with pytest.raises(BridgeError, match="is unknown or was paid"):
            w.bridge.finalise(number)
        assert w.bridge.escrow() == 800

    def test_while_paused_nothing_leaves_and_deposits_stay_open(self):
        w = World().funded()
        proved, waiting = w.proved(100), w.bridge.initiate_withdrawal(BOB, 50, ALICE)[0]
        w.bridge.advance(max(w.bridge.payable_at(proved), w.bridge.provable_at(waiting)))
        with pytest.raises(Reverted, match="only guardian can pause"):
            w.bridge.deployed.superchain.pause(ALICE, "")
        assert names(w.bridge.pause("drill")) == ["Paused"]
        for step in (lambda: w.bridge.finalise(proved), lambda: w.bridge.prove(waiting)):
            with pytest.raises(Reverted, match="CallPaused"):
                step()
        w.bridge.deposit(ALICE, 5, CAROL)
        w.arrive()
        assert w.l2.balance(CAROL) == 5
        w.bridge.unpause()
        w.bridge.finalise(proved)
        w.bridge.prove(waiting)

    def test_one_aimed_at_the_token_is_locked_for_ever(self):
        w = World().funded()
        number = w.proved(to=w.token.address)
        w.bridge.advance(w.bridge.payable_at(number))
        with pytest.raises(Reverted, match="BadTarget"):
            w.bridge.finalise(number)
        w.bridge.advance(w.l1.time + 400 * DAY)
        with pytest.raises(Reverted, match="BadTarget"):
            w.bridge.finalise(number)
        assert w.bridge.escrow() == 1_000

    def test_one_aimed_at_the_portal_cannot_be_proved(self):
        w = World().funded()
        number, _ = w.bridge.initiate_withdrawal(BOB, 1, w.portal.address)
        w.bridge.advance(w.bridge.provable_at(number))
        with pytest.raises(Reverted, match="BadTarget"):
            w.bridge.prove(number)

    def test_only_the_system_sets_the_gas_token(self):
        w = World()
        with pytest.raises(Reverted, match="NotDepositor"):
            w.bridge.deployed.l1_block.transact(ALICE, "setGasPayingToken", BOB, 18, bytes(32), bytes(32))
        with pytest.raises(Reverted, match="Unauthorized"):
            w.portal.transact(ALICE, "setGasPayingToken", BOB, 18, bytes(32), bytes(32))

    def test_unknown_withdrawals(self):
        w = World()
        for step in (w.bridge.prove, w.bridge.finalise, w.bridge.payable_at, w.bridge.provable_at):
            with pytest.raises(BridgeError, match="withdrawal 7 is unknown or was paid; 0 were initiated"):
                step(7)
