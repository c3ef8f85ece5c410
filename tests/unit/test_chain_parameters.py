"""The governed parameters on chain: one writer, old and new value, and what was in force when."""

from __future__ import annotations

import pytest

pytest.importorskip("eth")

from sim.chain.abi import Reverted
from sim.chain.addresses import address_of
from sim.chain.clients.parameters import Parameters
from sim.chain.demo import day0_timestamp
from sim.chain.evm import Chain

T0 = day0_timestamp()
ALICE, GOVERNANCE = address_of("alice"), address_of("governance")


@pytest.fixture
def store():
    chain = Chain(chain_id=1_000, genesis_time=T0)
    initial = {"fees.split": (2, 2, 5), "fees.burn": (0,)}
    return Parameters.deploy(chain, ALICE, governance=GOVERNANCE, initial=initial)


def put(store, at, *values):
    if at > store.chain.time:
        store.chain.set_time(at)
    return store.transact(GOVERNANCE, "set", "fees.split", list(values))


def test_parameters_keep_their_vectors(store):
    (change,) = store.changes(put(store, T0, 2, 1, -6))
    assert (change.name, change.old, change.new) == ("fees.split", (2, 2, 5), (2, 1, -6))
    assert (store.get("fees.split"), store.get("fees.burn"), store.get("other")) == ((2, 1, -6), (0,), ())
    with pytest.raises(Reverted, match="EmptyValue"):
        store.transact(GOVERNANCE, "set", "fees.burn", [])
    with pytest.raises(Reverted, match="NotGovernance"):
        store.transact(ALICE, "set", "fees.burn", [1])


def test_every_value_stays_readable_by_its_time(store):
    for at, value in ((T0 + 10, 1), (T0 + 20, 2), (T0 + 1_000, 3)):
        put(store, at, value)
    seen = {at: store.get_at("fees.split", T0 + at) for at in (-(10**6), 9, 10, 19, 20, 999, 1_000, 10**9)}
    assert seen == {
        -10**6: (2, 2, 5), 9: (2, 2, 5), 10: (1,), 19: (1,), 20: (2,), 999: (2,), 1_000: (3,), 10**9: (3,),
    }  # fmt: skip
    assert store.get("fees.split") == (3,)


def test_values_at_genesis_hold_from_second_0_and_unknown_names_are_empty(store):
    assert store.get_at("fees.split", 0) == (2, 2, 5)
    assert store.get_at("other", T0) == ()
    receipt = store.transact(GOVERNANCE, "set", "other", [7])
    assert store.changes(receipt)[0].old == ()
    assert (store.get_at("other", T0 - 1), store.get_at("other", T0)) == ((), (7,))


def test_a_second_change_in_one_second_takes_the_place_of_the_first(store):
    put(store, T0 + 5, 1)
    (change,) = store.changes(put(store, T0 + 5, 4, 4))
    assert (change.old, change.new) == ((1,), (4, 4))
    assert store.get_at("fees.split", T0 + 5) == (4, 4)
    assert store.get_at("fees.split", T0 + 4) == (2, 2, 5)


def test_announced_changes_hold_from_their_second_on():
    """Also over what a vote set before; what a vote sets afterwards holds over them."""
    chain = Chain(chain_id=1_000, genesis_time=T0)
    store = Parameters.deploy(
        chain, ALICE, governance=GOVERNANCE, initial={"fees.split": (2, 2, 5)},
        announced=[("fees.split", T0 + 500, (9,)), ("fees.split", T0 + 100, (8,))],
    )  # fmt: skip
    assert store.get("fees.split") == (2, 2, 5)
    for at, value, old in ((T0 + 50, 1, (2, 2, 5)), (T0 + 200, 2, (8,)), (T0 + 600, 3, (9,))):
        (change,) = store.changes(put(store, at, value))
        assert change.old == old
        assert store.get("fees.split") == (value,)
    seen = {at: store.get_at("fees.split", T0 + at) for at in (49, 50, 99, 100, 199, 200, 499, 500, 599, 600)}
    assert seen == {
        49: (2, 2, 5), 50: (1,), 99: (1,), 100: (8,), 199: (8,), 200: (2,), 499: (2,), 500: (9,), 599: (9,), 600: (3,),
    }  # fmt: skip
