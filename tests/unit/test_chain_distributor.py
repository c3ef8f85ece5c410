"""The distributor's contract: what a claim pays, which proofs it takes, and which epochs may be posted."""

from __future__ import annotations

import pytest

pytest.importorskip("eth")

from models.merkle import payout_leaf, payout_tree
from sim.chain.abi import Reverted
from sim.chain.addresses import address_of, keccak
from sim.chain.clients.distributor import Distributor, Posted
from sim.chain.demo import day0_timestamp
from sim.chain.evm import Chain

OPEN = 10**18
T0 = day0_timestamp()
ALICE, BOB, CAROL = (address_of(name) for name in ("alice", "bob", "carol"))


@pytest.fixture
def distributor():
    chain = Chain(chain_id=1_000, genesis_time=T0, balances={CAROL: 1000 * OPEN})
    return Distributor.deploy(chain, CAROL, admin=CAROL, poster=CAROL)


def post(distributor, number, total, *payouts):
    tree = payout_tree(payouts, keccak)
    value = total - distributor.latest().total_wei
    distributor.post_epoch(CAROL, Posted(number, bytes(32), number, tree.root, total, bytes(32)), value)
    return lambda account, amount: tree.proof(payout_leaf(account, amount, keccak))


def test_claims_pay_the_cumulative_amount_once(distributor):
    proof = post(distributor, 1, 30, (ALICE, 10), (BOB, 15))
    assert distributor.claim(BOB, ALICE, 10, proof(ALICE, 10))[0] == 10
    with pytest.raises(Reverted) as again:
        distributor.claim(ALICE, ALICE, 10, proof(ALICE, 10))
    assert (again.value.error, again.value.arguments["alreadyClaimed"]) == ("NothingToClaim", 10)
    proof = post(distributor, 2, 60, (ALICE, 24), (BOB, 30))
    assert distributor.claim(ALICE, ALICE, 24, proof(ALICE, 24))[0] == 14
    assert distributor.claim(BOB, BOB, 30, proof(BOB, 30))[0] == 30
    assert distributor.claimed_total() == 54
    assert distributor.chain.balance(distributor.address) == 6
    assert (distributor.chain.balance(ALICE), distributor.chain.balance(BOB)) == (24, 30)


def test_proofs_for_anything_else_are_refused(distributor):
    proof = post(distributor, 1, 30, (ALICE, 10), (BOB, 15))
    for account, amount, path in (
        (ALICE, 11, proof(ALICE, 10)),
        (CAROL, 10, proof(ALICE, 10)),
        (ALICE, 10, proof(BOB, 15)),
        (ALICE, 10, []),
    ):
        with pytest.raises(Reverted, match="InvalidProof"):
            distributor.claim(CAROL, account, amount, path)


def test_claims_never_exceed_what_was_funded(distributor):
    proof = post(distributor, 1, 20, (ALICE, 10), (BOB, 15))
    distributor.claim(ALICE, ALICE, 10, proof(ALICE, 10))
    with pytest.raises(Reverted, match="ExceedsFunding"):
        distributor.claim(BOB, BOB, 15, proof(BOB, 15))


@pytest.mark.parametrize(
    ("posted", "value", "error"),
    [
        (Posted(3, bytes(32), 1, bytes(32), 20, bytes(32)), 10, "EpochOutOfOrder"),
        (Posted(2, bytes(32), 0, bytes(32), 20, bytes(32)), 10, "LogShrank"),
        (Posted(2, bytes(32), 1, bytes(32), 20, bytes(32)), 9, "WrongFunding"),
        (Posted(2, bytes(32), 1, bytes(32), 9, bytes(32)), 0, "WrongFunding"),
    ],
)
def test_epochs_out_of_order_are_refused(distributor, posted, value, error):
    post(distributor, 1, 10, (ALICE, 10))
    with pytest.raises(Reverted, match=error):
        distributor.post_epoch(CAROL, posted, value)
