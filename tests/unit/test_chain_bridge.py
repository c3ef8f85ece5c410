"""The bridge: what it owes at every moment, and what it refuses."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("eth")

from sim.chain.abi import Reverted
from sim.chain.addresses import address_of
from sim.chain.backend import InsufficientFunds
from sim.chain.bridge import BridgeError, BridgeTimes, StandInBridge
from sim.chain.clients.open_token import OpenToken
from sim.chain.evm import Chain

ALICE, BOB = address_of("alice"), address_of("bob")
T0, DAY = 1_757_289_600, 86_400


def make():
    l1, l2 = (Chain(chain_id=number, genesis_time=T0) for number in (900_001, 900_161))
    token = OpenToken.deploy(l1, ALICE, name="OpenLedger", symbol="OPEN", cap_wei=10**27, holder=ALICE)
    return StandInBridge(l1, l2, token), l1, l2, token


def test_a_deposit_is_locked_at_once_and_credited_after_its_delay():
    bridge, l1, l2, _ = make()
    bridge.deposit(ALICE, 500, BOB)
    assert (bridge.escrow(), l2.balance(BOB), len(bridge.pending_deposits())) == (500, 0, 1)
    assert bridge.advance(T0 + bridge.times.deposit_s - 1) == []
    (credited,) = bridge.advance(T0 + bridge.times.deposit_s)
    assert (credited.to, credited.amount_wei, l2.balance(BOB)) == (BOB, 500, 500)
    assert l1.time == l2.time == T0 + bridge.times.deposit_s
    with pytest.raises(Reverted, match="ERC20InsufficientBalance"):
        bridge.deposit(BOB, 1)
    assert bridge.pending_deposits() == []


def test_a_withdrawal_takes_an_output_a_proof_and_more_than_the_window():
    bridge, l1, l2, token = make()
    bridge.deposit(ALICE, 500)
    bridge.advance(T0 + DAY // 2)
    number, _ = bridge.initiate_withdrawal(ALICE, 200, BOB)
    assert (l2.balance(ALICE), bridge.escrow()) == (300, 500)
    with pytest.raises(BridgeError, match="can be proved from"):
        bridge.prove(number)
    with pytest.raises(BridgeError, match="was not proved"):
        bridge.finalise(number)
    bridge.advance(bridge.provable_at(number))
    assert l1.time == T0 + DAY
    bridge.prove(number)
    with pytest.raises(BridgeError, match="was proved at"):
        bridge.prove(number)
    bridge.advance(l1.time + 604_800)
    with pytest.raises(BridgeError, match="can be paid from"):
        bridge.finalise(number)
    bridge.advance(l1.time + 1)
    bridge.finalise(number)
    assert (token.balance_of(BOB), bridge.escrow(), bridge.pending_withdrawals()) == (200, 300, [])
    with pytest.raises(BridgeError, match="is unknown or was paid"):
        bridge.finalise(number)


def test_coins_that_are_not_there_cannot_leave():
    bridge, _, _, _ = make()
    with pytest.raises(InsufficientFunds):
        bridge.initiate_withdrawal(ALICE, 1)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("dwpfa"), st.integers(1, 10**6)), max_size=25))
def test_escrow_is_what_is_on_l2_and_on_its_way(actions):
    """Whatever happens: escrow = coins on L2 + deposits not credited + withdrawals not paid."""
    bridge, _, l2, token = make()
    bridge.times = BridgeTimes(deposit_s=3_000, output_every_s=7_200, window_s=9_000)
    for action, size in actions:
        pending = bridge.pending_withdrawals()
        try:
            if action == "d":
                bridge.deposit(ALICE, size)
            elif action == "w":
                bridge.initiate_withdrawal(ALICE, size)
            elif action == "a":
                bridge.advance(l2.time + size % 10_000)
            elif pending:
                step = bridge.prove if action == "p" else bridge.finalise
                step(pending[size % len(pending)].number)
        except (BridgeError, InsufficientFunds):
            pass
        on_the_way = sum(x.amount_wei for x in (*bridge.pending_deposits(), *bridge.pending_withdrawals()))
        assert bridge.escrow() == l2.balance(ALICE) + on_the_way
        assert token.balance_of(ALICE) + bridge.escrow() == token.total_supply()
