"""The bridge on which OPEN is a token on L2 too: messengers, aliases, and messages that fail and are sent again."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("eth")

sys.path.insert(0, str(Path(__file__).parent))
from bridge_world import ALICE, BOB, CAROL, StandardTokenBridge, World, names

from sim.chain.abi import Reverted
from sim.chain.bridge.predeploys import CROSS_DOMAIN_MESSENGER, alias_of


@pytest.fixture
def w():
    world = World(StandardTokenBridge)
    world.bridge.create_token(CAROL)
    return world


def test_there_and_back(w):
    _, receipts = w.bridge.deposit(ALICE, 1_000, BOB)
    assert [r.gas_used for r in receipts] == [46_318, 658_708]
    assert w.bridge.escrow() == w.token.balance_of(w.bridge.escrow_address) == 1_000
    (done,) = w.arrive()
    assert names(done.receipt) == [
        "Transfer",
        "Mint",
        "DepositFinalized",
        "ERC20BridgeFinalized",
        "RelayedMessage",
    ]
    assert (done.receipt.gas_used, done.deposit.gas_limit) == (131_214, 491_822)
    assert w.bridge.l2_token.balance_of(BOB) == w.bridge.l2_token.total_supply() == 1_000
    number, sent = w.bridge.initiate_withdrawal(BOB, 400, CAROL)
    assert "MessagePassed" in names(sent)
    assert (w.bridge.l2_token.total_supply(), w.bridge.escrow()) == (600, 1_000)
    w.bridge.advance(w.bridge.provable_at(number))
    proved = w.bridge.prove(number)
    paid = w.pay(number)
    assert names(paid)[-2:] == ["RelayedMessage", "WithdrawalFinalized"]
    assert [r.gas_used for r in (sent, paid)] == [161_661, 227_640]
    assert proved.gas_used == pytest.approx(176_156, abs=60)
    assert (w.token.balance_of(CAROL), w.bridge.escrow(), w.bridge.l2_token.total_supply()) == (400, 600, 600)


def test_l1s_messenger_acts_on_l2_under_its_alias(w):
    w.bridge.deposit(ALICE, 5)
    (done,) = w.arrive()
    assert done.deposit.sender == alias_of(w.bridge.l1_messenger.address)
    assert done.deposit.to == CROSS_DOMAIN_MESSENGER
    for impostor in (w.bridge.l1_messenger.address, BOB):
        receipt = w.l2.send(impostor, CROSS_DOMAIN_MESSENGER, done.deposit.data)
        assert receipt.status == 0
    assert w.bridge.l2_token.total_supply() == 5


def test_a_deposit_before_the_token_exists_is_sent_again_by_anybody():
    w = World(StandardTokenBridge)
    w.bridge.deposit(ALICE, 1_000, BOB)
    (done,) = w.arrive()
    assert (done.receipt.status, names(done.receipt)) == (1, ["FailedRelayedMessage"])
    assert names(w.bridge.replay_deposit(done.deposit, CAROL)) == ["FailedRelayedMessage"]
    assert w.bridge.create_token(CAROL).gas_used == 1_128_461
    assert names(w.bridge.replay_deposit(done.deposit, CAROL))[-1] == "RelayedMessage"
    assert w.bridge.l2_token.balance_of(BOB) == w.bridge.escrow() == 1_000
    with pytest.raises(Reverted, match="message has already been relayed"):
        w.bridge.replay_deposit(done.deposit, CAROL)


def test_only_a_failed_message_can_be_sent_again(w):
    w.bridge.deposit(ALICE, 7)
    (done,) = w.arrive()
    forged = done.deposit.data[:-1] + bytes([done.deposit.data[-1] ^ 1])
    with pytest.raises(Reverted, match="message cannot be replayed"):
        w.bridge.replay_deposit(replace(done.deposit, data=forged), BOB)
    assert w.bridge.l2_token.total_supply() == 7


def test_a_withdrawal_whose_call_fails_on_l1_is_sent_again(w):
    """The portal has paid and forgets it; the messenger keeps the message."""
    w.bridge.deposit(ALICE, 100, BOB)
    w.arrive()
    number, _ = w.bridge.initiate_withdrawal(BOB, 60, ALICE)
    w.bridge.advance(w.bridge.provable_at(number))
    w.bridge.prove(number)
    withdrawal = w.bridge.messages.find(number).withdrawal
    held = w.token.balance_of(w.bridge.escrow_address)
    w.token.transfer(w.bridge.escrow_address, CAROL, held)  # as if the escrow had been stolen
    paid = w.pay(number)
    assert names(paid) == ["FailedRelayedMessage", "WithdrawalFinalized"]
    w.token.transfer(CAROL, w.bridge.escrow_address, held)
    assert names(w.bridge.replay_withdrawal(withdrawal, CAROL))[-1] == "RelayedMessage"
    assert w.bridge.escrow() == w.bridge.l2_token.total_supply() == 40


def test_more_than_there_is(w):
    with pytest.raises(Reverted, match="ERC20InsufficientBalance"):
        w.bridge.deposit(BOB, 1)
    with pytest.raises(Reverted, match="burn amount exceeds balance"):
        w.bridge.initiate_withdrawal(BOB, 1)


def test_its_contracts_have_names(w):
    assert len(set(w.bridge.contracts.values())) == len(w.bridge.contracts) == 12
    assert all(w.l1.code(a) or w.l2.code(a) for a in w.bridge.contracts.values())
