"""Both tree forms: equal to the reference package, and every altered proof refused."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.merkle import (
    consistency_proof,
    inclusion_proof,
    log_leaf,
    log_root,
    payout_leaf,
    payout_tree,
    verify_consistency,
    verify_inclusion,
    verify_payout,
)

VECTORS = json.loads((Path(__file__).parent / "merkle_vectors.json").read_text(encoding="utf-8"))


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def unhex(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: f"{len(v['values'])} leaves")
def test_payout_tree_equals_the_npm_package(vector):
    keccak = pytest.importorskip("eth_hash.auto").keccak
    values = [(unhex(account), int(amount)) for account, amount in vector["values"]]
    tree = payout_tree(values, keccak)
    assert tree.root == unhex(vector["root"])
    for shown in vector["proofs"]:
        leaf = payout_leaf(*values[shown["index"]], keccak)
        assert leaf == unhex(shown["leaf"])
        assert tree.proof(leaf) == [unhex(p) for p in shown["proof"]]
        assert verify_payout(tree.root, leaf, tree.proof(leaf), keccak)


@given(st.integers(1, 40), st.data())
def test_payout_proofs_hold_for_the_exact_amount_only(size, data):
    values = [(i.to_bytes(20, "big"), 1000 + i) for i in range(size)]
    tree = payout_tree(values, sha256)
    account, amount = data.draw(st.sampled_from(values))
    proof = tree.proof(payout_leaf(account, amount, sha256))
    assert verify_payout(tree.root, payout_leaf(account, amount, sha256), proof, sha256)
    assert not verify_payout(tree.root, payout_leaf(account, amount + 1, sha256), proof, sha256)
    other = (999).to_bytes(20, "big")
    assert not verify_payout(tree.root, payout_leaf(other, amount, sha256), proof, sha256)
    assert not verify_payout(tree.root, payout_leaf(account, amount, sha256), [*proof, bytes(32)], sha256)


def test_payout_root_does_not_depend_on_the_order_of_input():
    values = [(bytes([i] * 20), i) for i in range(9)]
    assert payout_tree(values, sha256).root == payout_tree(values[::-1], sha256).root


@pytest.mark.parametrize(
    ("payouts", "message"),
    [
        ([], "at least one leaf"),
        ([(b"\x01" * 20, 1), (b"\x01" * 20, 2)], "appears twice"),
        ([(b"\x01" * 19, 1)], "19 bytes; expected 20"),
        ([(b"\x01" * 20, -1)], "outside 0 to"),
    ],
)
def test_bad_payouts_are_refused(payouts, message):
    with pytest.raises(ValueError, match=message):
        payout_tree(payouts, sha256)


def recursive_root(leaves):
    """RFC 9162 section 2.1.1 as it is written: the oracle."""
    if not leaves:
        return sha256(b"")
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return sha256(b"\x01" + recursive_root(leaves[:k]) + recursive_root(leaves[k:]))


def test_log_root_of_the_rfc_examples():
    entries = [unhex(e) for e in ("", "00", "10", "2021", "3031", "40414243")]
    leaves = [log_leaf(e, sha256) for e in entries]
    assert log_root([], sha256).hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert (
        log_root(leaves[:1], sha256).hex()
        == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    )
    assert (
        log_root(leaves[:2], sha256).hex()
        == "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"
    )


@given(st.integers(0, 70))
def test_log_root_equals_the_definition(size):
    leaves = [log_leaf(bytes([i]), sha256) for i in range(size)]
    assert log_root(leaves, sha256) == recursive_root(leaves)


@given(st.integers(1, 70), st.data())
def test_inclusion_proofs(size, data):
    leaves = [log_leaf(bytes([i]), sha256) for i in range(size)]
    index = data.draw(st.integers(0, size - 1))
    root, proof = log_root(leaves, sha256), inclusion_proof(leaves, index, sha256)
    assert verify_inclusion(root, leaves[index], index, size, proof, sha256)
    assert not verify_inclusion(root, log_leaf(b"other", sha256), index, size, proof, sha256)
    assert not verify_inclusion(root, leaves[index], index, size, [*proof, bytes(32)], sha256)
    for other in {index - 1, index + 1} & set(range(size)):
        assert not verify_inclusion(root, leaves[index], other, size, proof, sha256)


@given(st.integers(1, 70), st.data())
def test_consistency_proofs(second, data):
    leaves = [log_leaf(bytes([i]), sha256) for i in range(second)]
    first = data.draw(st.integers(1, second))
    old, new = log_root(leaves[:first], sha256), log_root(leaves, sha256)
    proof = consistency_proof(leaves, first, second, sha256)
    assert verify_consistency(old, first, new, second, proof, sha256)
    assert not verify_consistency(bytes(32), first, new, second, proof, sha256)
    assert not verify_consistency(old, first, bytes(32), second, proof, sha256)
    changed = [log_leaf(b"rewritten", sha256), *leaves[1:]]
    assert not verify_consistency(log_root(changed[:first], sha256), first, new, second, proof, sha256)


def test_proofs_of_what_is_not_there_are_refused():
    with pytest.raises(IndexError, match="entry 3 is outside 0 to 2"):
        inclusion_proof([bytes(32)] * 3, 3, sha256)
    with pytest.raises(ValueError, match="0 < first <= second <= 3"):
        consistency_proof([bytes(32)] * 3, 0, 3, sha256)
    assert not verify_consistency(bytes(32), 2, bytes(32), 1, [], sha256)
