"""List tries: the root of a block's transactions or receipts.

Rule decided here: a list is a trie from each position's RLP to its item. It is never read, so no node is kept; each is
encoded once, from the leaves up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.chain.addresses import keccak

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    Pairs = Sequence[tuple[str, bytes]]

EMPTY = b"\x80"
"""RLP of nothing, and of position 0."""


def list_root(items: Sequence[bytes]) -> bytes:
    """Return the root of a trie that maps each position to an item.

    Examples
    --------
    >>> list_root([]).hex()[:8]
    '56e81f17'
    """
    if not items:
        return keccak(EMPTY)
    return keccak(_node(sorted((_key(i), item) for i, item in enumerate(items)), 0))


def _key(position: int) -> str:
    """Return a position's RLP in hexadecimal digits; no one's begins another's."""
    if position == 0:
        return EMPTY.hex()
    return encode_bytes(position.to_bytes((position.bit_length() + 7) // 8, "big")).hex()


def _node(pairs: Pairs, depth: int) -> bytes:
    """Return the RLP of the node over sorted pairs whose keys agree before `depth`."""
    first, last = pairs[0][0], pairs[-1][0]
    if len(pairs) == 1:
        return _list((encode_bytes(_path(first[depth:], leaf=True)), encode_bytes(pairs[0][1])))
    shared = depth
    while first[shared] == last[shared]:
        shared += 1
    if shared > depth:
        return _list((encode_bytes(_path(first[depth:shared], leaf=False)), _reference(_node(pairs, shared))))
    children = {digit: [pair for pair in pairs if pair[0][depth] == digit] for digit in "0123456789abcdef"}
    below = (_reference(_node(some, depth + 1)) if some else EMPTY for some in children.values())
    return _list((*below, EMPTY))


def _path(digits: str, *, leaf: bool) -> bytes:
    """Return digits in whole bytes, with marks for their parity and for a leaf (hex prefix)."""
    odd = len(digits) % 2
    return bytes.fromhex(f"{2 * leaf + odd:x}{'' if odd else '0'}{digits}")


def _reference(node: bytes) -> bytes:
    """Return how a node stands in its parent: itself where it is short, else its hash."""
    return node if len(node) < 32 else encode_bytes(keccak(node))


def encode_bytes(item: bytes) -> bytes:
    """Return the RLP of some bytes."""
    if len(item) == 1 and item[0] < 0x80:
        return item
    return _length(len(item), 0x80) + item


def _list(encoded: Iterable[bytes]) -> bytes:
    body = b"".join(encoded)
    return _length(len(body), 0xC0) + body


def _length(size: int, kind: int) -> bytes:
    if size < 56:
        return bytes([kind + size])
    digits = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([kind + 55 + len(digits)]) + digits
