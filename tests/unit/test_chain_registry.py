"""The registry: ids nobody can squat, versions that stay, owners who must accept, payees of a use."""

from __future__ import annotations

import pytest

pytest.importorskip("eth")

from sim.chain.abi import Reverted
from sim.chain.addresses import address_of
from sim.chain.clients.registry import Entry, Kind, Registry, UsePayees, Version
from sim.chain.demo import day0_timestamp
from sim.chain.evm import Chain

T0 = day0_timestamp()
ALICE, BOB, CAROL = (address_of(name) for name in ("alice", "bob", "carol"))
HASHES = [bytes([i]) * 32 for i in range(1, 9)]


@pytest.fixture
def registry():
    return Registry.deploy(Chain(chain_id=1_000, genesis_time=T0), CAROL)


def test_an_adapter_names_its_datanets_and_so_its_payees(registry):
    medicine, _ = registry.register(ALICE, Kind.DATANET, "medicine", HASHES[0])
    law, _ = registry.register(BOB, Kind.DATANET, "law", HASHES[1])
    adapter, receipt = registry.register(CAROL, Kind.ADAPTER, "both", HASHES[2], [medicine, law])
    assert [e.name for e in registry.events(receipt)] == ["Registered", "Published", "LatestChanged"]
    assert registry.entry(adapter) == Entry(Kind.ADAPTER, CAROL, None, 1, 1)
    assert registry.version(adapter, 1) == Version(HASHES[2], T0, False, (medicine, law))
    assert registry.payees(adapter, 1) == UsePayees(CAROL, {medicine: ALICE, law: BOB})
    registry.publish(CAROL, adapter, HASHES[3], [law])
    assert registry.payees(adapter, 2) == UsePayees(CAROL, {law: BOB})
    assert registry.payees(adapter, 1).datanets == {medicine: ALICE, law: BOB}  # the old version's stay


def test_ids_are_the_registrants_own(registry):
    first, _ = registry.register(ALICE, Kind.MODEL, "base", HASHES[0])
    second, _ = registry.register(BOB, Kind.MODEL, "base", HASHES[1])
    assert first == registry.id_of(Kind.MODEL, ALICE, "base")
    assert second == registry.id_of(Kind.MODEL, BOB, "base") != first
    with pytest.raises(Reverted, match="AlreadyRegistered"):
        registry.register(ALICE, Kind.MODEL, "base", HASHES[2])


def test_who_registered_a_content_first_is_remembered(registry):
    original, _ = registry.register(ALICE, Kind.DATANET, "original", HASHES[0])
    registry.register(BOB, Kind.DATANET, "copy", HASHES[0])
    assert registry.first_version_of(HASHES[0]) == (original, 1)
    assert registry.first_version_of(HASHES[7]) is None


def test_versions_go_forward_back_and_out_of_use(registry):
    model, _ = registry.register(ALICE, Kind.MODEL, "m", HASHES[0])
    for content in HASHES[1:4]:
        registry.publish(ALICE, model, content)
    assert registry.entry(model).latest == 4
    registry.roll_back(ALICE, model, 2)
    assert registry.entry(model).latest == 2
    registry.deprecate(ALICE, model, 1)
    receipt = registry.deprecate(ALICE, model, 2)  # 1 is deprecated too: none is left below
    assert registry.event(receipt, "LatestChanged").arguments["newVersion"] == 0
    assert (registry.entry(model).latest, registry.version(model, 2).deprecated) == (0, True)
    assert registry.publish(ALICE, model, HASHES[4])[0] == 5
    assert registry.entry(model) == Entry(Kind.MODEL, ALICE, None, 5, 5)
    registry.deprecate(ALICE, model, 5)
    assert registry.entry(model).latest == 4
    registry.deprecate(ALICE, model, 3)  # not the latest: nothing else changes
    assert registry.entry(model).latest == 4


def test_an_entry_changes_hands_only_when_the_new_owner_accepts(registry):
    net, _ = registry.register(ALICE, Kind.DATANET, "n", HASHES[0])
    registry.transfer_ownership(ALICE, net, BOB)
    assert registry.entry(net).pending_owner == BOB
    assert registry.entry(net).owner == ALICE
    with pytest.raises(Reverted, match="NotPendingOwner"):
        registry.accept_ownership(CAROL, net)
    registry.accept_ownership(BOB, net)
    assert registry.entry(net) == Entry(Kind.DATANET, BOB, None, 1, 1)
    with pytest.raises(Reverted) as refused:
        registry.publish(ALICE, net, HASHES[1])
    assert refused.value.error == "NotOwner"
    assert (refused.value.arguments["caller"], refused.value.arguments["owner"]) == (ALICE, BOB)
    adapter, _ = registry.register(CAROL, Kind.ADAPTER, "a", HASHES[2], [net])
    assert registry.payees(adapter, 1).datanets == {net: BOB}


def test_an_offer_can_be_taken_back(registry):
    net, _ = registry.register(ALICE, Kind.DATANET, "n", HASHES[0])
    registry.transfer_ownership(ALICE, net, BOB)
    registry.transfer_ownership(ALICE, net, bytes(20))
    with pytest.raises(Reverted, match="NotPendingOwner"):
        registry.accept_ownership(BOB, net)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda r, net, model: r.register(ALICE, Kind.MODEL, "", HASHES[2]), "EmptyName"),
        (lambda r, net, model: r.register(ALICE, Kind.MODEL, "x", bytes(32)), "ZeroContentHash"),
        (lambda r, net, model: r.register(ALICE, Kind.ADAPTER, "x", HASHES[2], [model]), "NotADataNet"),
        (lambda r, net, model: r.register(ALICE, Kind.ADAPTER, "x", HASHES[2], [HASHES[5]]), "NotADataNet"),
        (lambda r, net, model: r.register(ALICE, Kind.ADAPTER, "x", HASHES[2], [net, net]), "DataNetTwice"),
        (lambda r, net, model: r.register(ALICE, Kind.DATANET, "x", HASHES[2], [net]), "DataNetIsNotTrained"),
        (lambda r, net, model: r.publish(BOB, net, HASHES[2]), "NotOwner"),
        (lambda r, net, model: r.publish(BOB, HASHES[5], HASHES[2]), "NotRegistered"),
        (lambda r, net, model: r.roll_back(ALICE, net, 1), "NotOlder"),
        (lambda r, net, model: r.roll_back(ALICE, net, 2), "NoSuchVersion"),
        (lambda r, net, model: r.deprecate(ALICE, net, 0), "NoSuchVersion"),
        (lambda r, net, model: r.deprecate(BOB, net, 1), "NotOwner"),
        (lambda r, net, model: r.transfer_ownership(BOB, net, BOB), "NotOwner"),
        (lambda r, net, model: r.entry(HASHES[5]), "NotRegistered"),
        (lambda r, net, model: r.version(net, 2), "NoSuchVersion"),
        (lambda r, net, model: r.payees(net, 2), "NoSuchVersion"),
    ],
)
def test_what_is_refused(registry, call, error):
    net, _ = registry.register(ALICE, Kind.DATANET, "n", HASHES[0])
    model, _ = registry.register(ALICE, Kind.MODEL, "m", HASHES[1])
    with pytest.raises(Reverted, match=error):
        call(registry, net, model)


def test_a_deprecated_version_never_comes_back(registry):
    model, _ = registry.register(ALICE, Kind.MODEL, "m", HASHES[0])
    registry.publish(ALICE, model, HASHES[1])
    registry.deprecate(ALICE, model, 1)
    for call in (registry.roll_back, registry.deprecate):
        with pytest.raises(Reverted, match="VersionDeprecated"):
            call(ALICE, model, 1)
