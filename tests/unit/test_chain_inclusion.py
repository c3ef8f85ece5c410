"""Inclusion in an anchored log: the contract says what the Python verifier says, and no to every forgery."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("eth")

from models.merkle import inclusion_proof, log_leaf, log_root, verify_inclusion
from sim.chain.abi import Reverted
from sim.chain.addresses import address_of
from sim.chain.clients.log_anchor import LogAnchor
from sim.chain.demo import day0_timestamp
from sim.chain.evm import Chain

ADMIN, POSTER = (address_of(name) for name in ("admin", "poster"))
SIZES = 70
RECORDS = [b"record %d" % i for i in range(SIZES)]


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


LEAVES = [log_leaf(record, sha256) for record in RECORDS]
ROOTS = [log_root(LEAVES[: size + 1], sha256) for size in range(SIZES)]


@pytest.fixture(scope="module")
def anchor() -> LogAnchor:
    """A log that was anchored after each of its records: head i has size i + 1."""
    contract = LogAnchor.deploy(
        Chain(chain_id=1_000, genesis_time=day0_timestamp()), ADMIN, admin=ADMIN, poster=POSTER
    )
    for i, (root, before) in enumerate(zip(ROOTS, [bytes(32), *ROOTS], strict=False)):
        contract.anchor(POSTER, root, i + 1, before)
    return contract


places = st.integers(1, SIZES).flatmap(lambda size: st.tuples(st.just(size), st.integers(0, size - 1)))


def agreed(anchor: LogAnchor, size: int, record: bytes, index: int, path: list[bytes]) -> bool:
    """Return what the contract says, after Python said the same."""
    said = anchor.includes(size - 1, record, index, path)
    assert said is verify_inclusion(ROOTS[size - 1], log_leaf(record, sha256), index, size, path, sha256)
    return said


@given(places)
def test_every_record_of_every_size_is_included(anchor: LogAnchor, place: tuple[int, int]) -> None:
    size, index = place
    assert agreed(anchor, size, RECORDS[index], index, inclusion_proof(LEAVES[:size], index, sha256))


@pytest.mark.slow
@given(places, st.data())
def test_every_forgery_is_refused(anchor: LogAnchor, place: tuple[int, int], data: st.DataObject) -> None:
    size, index = place
    path, record = inclusion_proof(LEAVES[:size], index, sha256), RECORDS[index]
    others = st.integers(0, 2 * SIZES).filter(lambda other: other != index)
    assert not agreed(anchor, size, record, data.draw(others), path)
    assert not agreed(anchor, size, record + b"x", index, path)
    assert not agreed(anchor, size, record, index, [*path, data.draw(st.sampled_from(LEAVES))])
    head = data.draw(st.integers(1, SIZES).filter(lambda other: other != size))
    assert not agreed(anchor, head, record, index, path)
    if path:
        cut = data.draw(st.integers(0, len(path) - 1))
        assert not agreed(anchor, size, record, index, path[:cut] + path[cut + 1 :])
        wrong = bytes((path[cut][0] ^ 1, *path[cut][1:]))
        assert not agreed(anchor, size, record, index, [*path[:cut], wrong, *path[cut + 1 :]])
        # second preimage: the two children of an inner node, given as if they were a record
        for inner in (LEAVES[index] + path[0], path[0] + LEAVES[index]):
            for number in (index // 2, index):
                assert not agreed(anchor, size, inner, number, path[1:])
                assert not agreed(anchor, size, b"\1" + inner, number, path[1:])


@given(places, st.integers(0, 2**64 - 1), st.lists(st.sampled_from(LEAVES + ROOTS), max_size=8))
def test_contract_and_python_agree_on_anything(
    anchor: LogAnchor, place: tuple[int, int], index: int, path: list[bytes]
) -> None:
    size, number = place
    agreed(anchor, size, RECORDS[number], index, path)
    agreed(anchor, size, RECORDS[number], index % size, path)


@given(places)
def test_another_implementation_makes_the_same_proofs(anchor: LogAnchor, place: tuple[int, int]) -> None:
    pymerkle = pytest.importorskip("pymerkle", reason="needs pymerkle")
    size, index = place
    tree = pymerkle.InmemoryTree(algorithm="sha256")
    for record in RECORDS[:size]:
        tree.append_entry(record)
    proof = tree.prove_inclusion(index + 1, size)
    pymerkle.verify_inclusion(LEAVES[index], tree.get_root(size), proof)
    path = [bytes.fromhex(node) for node in proof.serialize()["path"]][1:]  # it begins with the leaf
    assert path == inclusion_proof(LEAVES[:size], index, sha256)
    assert agreed(anchor, size, RECORDS[index], index, path)


def test_a_head_that_is_not_there_is_named(anchor: LogAnchor) -> None:
    with pytest.raises(Reverted, match=r"NoSuchHead\(index=70, count=70\)"):
        anchor.includes(SIZES, RECORDS[0], 0, [])


def test_nothing_is_in_an_empty_log() -> None:
    chain = Chain(chain_id=1_000, genesis_time=day0_timestamp())
    contract = LogAnchor.deploy(chain, ADMIN, admin=ADMIN, poster=POSTER)
    contract.anchor(POSTER, sha256(b""), 0, bytes(32))
    assert not contract.includes(0, b"", 0, [])
