"""The log anchor: heads in one unbroken row, each at most as long as the next."""

from __future__ import annotations

import hashlib

import pytest

pytest.importorskip("eth")

from models.merkle import consistency_proof, log_leaf, log_root, verify_consistency
from sim.chain.abi import Reverted
from sim.chain.addresses import address_of
from sim.chain.clients.log_anchor import Head, LogAnchor
from sim.chain.demo import day0_timestamp
from sim.chain.evm import Chain

T0 = day0_timestamp()
ADMIN, POSTER, ALICE = (address_of(name) for name in ("admin", "poster", "alice"))
ZERO, ROOT, OTHER = bytes(32), b"r" * 32, b"o" * 32


@pytest.fixture
def anchor():
    chain = Chain(chain_id=1_000, genesis_time=T0)
    return LogAnchor.deploy(chain, ADMIN, admin=ADMIN, poster=POSTER)


def test_heads_stay_readable_in_order(anchor):
    assert (anchor.latest(), anchor.head_count()) == (None, 0)
    assert anchor.anchor(POSTER, ROOT, 5, ZERO)[0] == 0
    anchor.chain.set_time(T0 + 60)
    number, receipt = anchor.anchor(POSTER, OTHER, 9, ROOT)
    assert number == 1
    assert anchor.event(receipt, "Anchored").arguments["previousRoot"] == ROOT
    assert [anchor.head(i) for i in range(anchor.head_count())] == [
        Head(ROOT, 5, T0),
        Head(OTHER, 9, T0 + 60),
    ]
    assert anchor.latest() == Head(OTHER, 9, T0 + 60)
    assert Head(*anchor.read("latest")) == anchor.latest()


def test_a_log_that_did_not_grow_may_say_so(anchor):
    anchor.anchor(POSTER, ROOT, 5, ZERO)
    assert anchor.anchor(POSTER, ROOT, 5, ROOT)[0] == 1


@pytest.mark.parametrize(
    ("root", "size", "previous", "error"),
    [
        (OTHER, 4, ROOT, "LogShrank"),
        (OTHER, 6, OTHER, "WrongPreviousRoot"),
        (OTHER, 6, ZERO, "WrongPreviousRoot"),
        (OTHER, 5, ROOT, "OtherRootOfSameSize"),
        (ZERO, 6, ROOT, "ZeroRoot"),
    ],
)
def test_another_history_is_refused(anchor, root, size, previous, error):
    anchor.anchor(POSTER, ROOT, 5, ZERO)
    with pytest.raises(Reverted, match=error):
        anchor.anchor(POSTER, root, size, previous)
    assert anchor.head_count() == 1


def test_the_first_head_follows_nothing(anchor):
    with pytest.raises(Reverted, match="WrongPreviousRoot"):
        anchor.anchor(POSTER, ROOT, 5, OTHER)
    anchor.anchor(POSTER, ROOT, 0, ZERO)


def test_only_the_poster_anchors_and_the_admin_names_it(anchor):
    for sender in (ALICE, ADMIN):
        with pytest.raises(Reverted, match="AccessControlUnauthorizedAccount"):
            anchor.anchor(sender, ROOT, 5, ZERO)
    anchor.transact(ADMIN, "grantRole", anchor.read("POSTER_ROLE"), ALICE)
    anchor.anchor(ALICE, ROOT, 5, ZERO)


def test_a_head_that_is_not_there_is_named(anchor):
    with pytest.raises(Reverted, match=r"NoSuchHead\(index=0, count=0\)"):
        anchor.head(0)


@pytest.mark.parametrize("altered", [False, True])
def test_an_auditor_finds_a_rewritten_entry_between_two_anchored_heads(anchor, altered):
    """The contract takes any root; what shows the rewriting is the proof between anchored sizes."""

    def sha256(data):
        return hashlib.sha256(data).digest()

    entries = [log_leaf(bytes([i]), sha256) for i in range(9)]
    anchor.anchor(POSTER, log_root(entries[:5], sha256), 5, ZERO)
    if altered:
        entries[0] = log_leaf(b"x", sha256)
    anchor.anchor(POSTER, log_root(entries, sha256), 9, anchor.latest().root)
    first, second = anchor.head(0), anchor.head(1)
    proof = consistency_proof(entries, first.size, second.size, sha256)
    assert verify_consistency(first.root, first.size, second.root, second.size, proof, sha256) is not altered
