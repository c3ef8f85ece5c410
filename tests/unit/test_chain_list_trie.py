"""The root of a list is that of a trie."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

pytest.importorskip("eth")

import rlp
from trie import HexaryTrie

from sim.chain.list_trie import encode_bytes, list_root


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=70), max_size=300))
@example([b"\x01"])
@example([b"x" * 40] * 129)
@example([b"\x7f", b"\x80"] * 150)
@example([b"a"] * 17)
def test_root(items):
    trie = HexaryTrie({})
    for position, item in enumerate(items):
        trie[rlp.encode(position)] = item
    assert list_root(items) == trie.root_hash


@pytest.mark.parametrize("size", [0, 1, 55, 56, 255, 256, 70_000])
def test_bytes(size):
    for fill in (b"\x00", b"\x7f", b"\x80"):
        assert encode_bytes(fill * size) == rlp.encode(fill * size)
