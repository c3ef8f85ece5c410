"""Whatever happens at the bridge: escrow is what lies on L2 or is on its way; nothing is paid early or twice."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

pytest.importorskip("eth")

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "unit"))
from bridge_world import ALICE, BOB, CAROL, SUPPLY, BridgeTimes, World

from sim.chain.abi import Reverted
from sim.chain.addresses import DEAD_ADDRESS
from sim.chain.backend import InsufficientFunds
from sim.chain.bridge import BridgeError
from sim.chain.bridge.predeploys import MESSAGE_PASSER

TIMES = BridgeTimes(deposit_s=3_000, output_every_s=7_200, window_s=9_000)
PEOPLE = (ALICE, BOB, CAROL)
people, amounts = st.sampled_from(PEOPLE), st.integers(1, 10**6)


class BridgeMachine(RuleBasedStateMachine):
    """Random steps of users, guardian and challenger, with a ledger of what was paid."""

    def __init__(self):
        super().__init__()
        self.w = World(times=TIMES)
        self.bridge = self.w.bridge
        self.strays = self.paid = 0
        self.paused = False
        self.done = set()

    @rule(amount=amounts, to=people)
    def deposit(self, amount, to):
        self.bridge.deposit(ALICE, amount, to)

    @rule(mint=amounts, value=st.integers(0, 2 * 10**6), gas=st.sampled_from([21_000, 100_000]), to=people)
    def deposit_something_odd(self, mint, value, gas, to):
        """The call may send more than there is, or go to a contract that refuses coins."""
        self.w.approve(ALICE, mint)
        target = MESSAGE_PASSER if value % 3 == 0 else to
        before = len(self.bridge.pending_withdrawals())
        self.w.portal.deposit_erc20(ALICE, target, mint=mint, value=value, gas_limit=gas)
        assert len(self.bridge.pending_withdrawals()) == before

    @rule(amount=amounts, owner=people, to=people)
    def withdraw(self, amount, owner, to):
        held = self.w.l2.balance(owner)
        try:
            self.bridge.initiate_withdrawal(owner, amount, to)
        except InsufficientFunds:
            assert held < amount

    @rule(seconds=st.integers(1, 12_000))
    def wait(self, seconds):
        for derived in self.bridge.advance(self.w.l2.time + seconds):
            assert derived.deposit.ready_at == derived.receipt.timestamp

    @rule(choice=st.integers(0, 10**6))
    def prove(self, choice):
        pending = self.bridge.pending_withdrawals()
        if pending:
            number = pending[choice % len(pending)].number
            ready = self.bridge.provable_at(number) <= self.w.l1.time
            try:
                self.bridge.prove(number)
                assert ready
                assert not self.paused
            except BridgeError:
                assert not ready or len(self.bridge.outputs.proposed) < len(self.bridge.outputs.claims)
            except Reverted:
                pass

    @rule(choice=st.integers(0, 10**6), patient=st.booleans())
    def finalise(self, choice, patient):
        pending = self.bridge.pending_withdrawals()
        if not pending:
            return
        withdrawal = pending[choice % len(pending)]
        try:
            due = self.bridge.payable_at(withdrawal.number)
            if patient:
                self.bridge.advance(due)
                due = self.bridge.payable_at(withdrawal.number)
        except BridgeError:
            due = None
        try:
            self.bridge.finalise(withdrawal.number)
        except Reverted:
            assert self.paused or due is None or self.w.l1.time < due
            return
        assert due is not None
        assert self.w.l1.time >= due > withdrawal.proven_at + TIMES.window_s
        assert withdrawal.digest not in self.done
        self.done.add(withdrawal.digest)
        self.paid += withdrawal.amount_wei

    @rule()
    def burn(self):
        self.w.passer.burn(CAROL)

    @rule(amount=amounts)
    def send_tokens_by_mistake(self, amount):
        self.w.token.transfer(ALICE, self.w.portal.address, amount)
        self.strays += amount

    @rule(owner=people, amount=amounts)
    def put_coins_out_of_use(self, owner, amount):
        amount = min(amount, self.w.l2.balance(owner))
        self.w.l2.send(owner, DEAD_ADDRESS, value=amount)

    @rule()
    def pause_or_go_on(self):
        (self.bridge.unpause if self.paused else self.bridge.pause)()
        self.paused = not self.paused

    @precondition(lambda self: self.bridge.outputs.proposed)
    @rule(back=st.integers(1, 4))
    def challenge(self, back):
        index = max(len(self.bridge.outputs.proposed) - back, 0)
        if self.w.l1.time - self.bridge.outputs.proposed[index].at < TIMES.window_s:
            self.bridge.delete_outputs(index)
        else:
            with pytest.raises(Reverted, match="already been finalized"):
                self.bridge.delete_outputs(index)

    @invariant()
    def escrow_is_what_it_owes(self):
        on_l2 = sum(map(self.w.l2.balance, (*PEOPLE, DEAD_ADDRESS)))
        to_come = sum(d.mint_wei for d in self.bridge.pending_deposits())
        to_pay = sum(x.amount_wei for x in self.bridge.pending_withdrawals())
        assert self.bridge.escrow() == on_l2 + to_come + to_pay
        assert min(on_l2, to_come, to_pay) >= 0

    @invariant()
    def tokens_are_conserved(self):
        held = sum(map(self.w.token.balance_of, PEOPLE))
        assert self.w.token.balance_of(self.w.portal.address) == self.bridge.escrow() + self.strays
        assert held + self.bridge.escrow() + self.strays == SUPPLY == self.w.token.total_supply()

    @invariant()
    def the_message_passer_holds_no_more_than_was_withdrawn(self):
        pending = sum(x.amount_wei for x in self.bridge.pending_withdrawals())
        assert 0 <= self.w.l2.balance(MESSAGE_PASSER) <= self.paid + pending


BridgeMachine.TestCase.settings = settings(max_examples=6, stateful_step_count=25, deadline=None)
TestBridge = BridgeMachine.TestCase
