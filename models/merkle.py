"""Merkle trees: payout roots that a contract checks, and log roots that an auditor checks.

Rules decided here: payouts use OpenZeppelin's ``standard-v1`` tree (leaf = H(H(abi.encode(address,
uint256))), leaves sorted by hash and laid out from the end of a complete binary tree, pairs sorted before
hashing); append-only logs use the tree of RFC 9162 (leaf = H(0x00 | entry), node = H(0x01 | left | right),
left subtrees complete). The hash function is passed in: Keccak-256 for payouts, SHA-256 for logs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

HashFunction = Callable[[bytes], bytes]


def payout_leaf(account: bytes, cumulative_amount: int, hash_function: HashFunction) -> bytes:
    """Return the leaf of a payout, H(H(abi.encode(account, amount))).

    Parameters
    ----------
    account
        Address, 20 bytes.
    cumulative_amount
        Amount in the contract's unit (wei), 0 to 2^256 - 1.
    hash_function
        Keccak-256 for a contract.

    Returns
    -------
    bytes
        32 bytes.

    Raises
    ------
    ValueError
        If the address has another length or the amount does not fit.
    """
    if len(account) != 20:
        raise ValueError(f"account has {len(account)} bytes; expected 20")
    if not 0 <= cumulative_amount < 2**256:
        raise ValueError(f"amount {cumulative_amount} is outside 0 to 2^256 - 1")
    encoded = bytes(12) + account + cumulative_amount.to_bytes(32, "big")
    return hash_function(hash_function(encoded))


def sorted_pair(left: bytes, right: bytes, hash_function: HashFunction) -> bytes:
    """Return the parent of two nodes, smaller one first."""
    return hash_function(left + right if left < right else right + left)


@dataclass(frozen=True, slots=True)
class PayoutTree:
    """A ``standard-v1`` tree.

    Parameters
    ----------
    nodes
        Complete binary tree as an array, root first; the leaves are its last part, largest hash first.
    positions
        Where each leaf stands in `nodes`.
    """

    nodes: tuple[bytes, ...]
    positions: dict[bytes, int]

    @property
    def root(self) -> bytes:
        """Root, 32 bytes."""
        return self.nodes[0]

    def proof(self, leaf: bytes) -> list[bytes]:
        """Return the siblings from a leaf up to the root.

        Raises
        ------
        KeyError
            If the tree has no such leaf.
        """
        position = self.positions[leaf]
        siblings = []
        while position > 0:
            siblings.append(self.nodes[position + 1 if position % 2 else position - 1])
            position = (position - 1) // 2
        return siblings


def payout_tree(payouts: Iterable[tuple[bytes, int]], hash_function: HashFunction) -> PayoutTree:
    """Build the tree of (account, cumulative amount) pairs.

    Parameters
    ----------
    payouts
        Pairs in any order; at least one, each account once.
    hash_function
        Keccak-256 for a contract.

    Returns
    -------
    PayoutTree
        Root equal to npm ``@openzeppelin/merkle-tree``'s.

    Raises
    ------
    ValueError
        If there is no pair or an account appears twice.
    """
    pairs = list(payouts)
    if not pairs:
        raise ValueError("a payout tree needs at least one leaf")
    if len({account for account, _ in pairs}) != len(pairs):
        raise ValueError("an account appears twice in the payouts")
    leaves = sorted(payout_leaf(account, amount, hash_function) for account, amount in pairs)
    size = 2 * len(leaves) - 1
    nodes = [b""] * (size - len(leaves)) + leaves[::-1]
    for i in range(size - len(leaves) - 1, -1, -1):
        nodes[i] = sorted_pair(nodes[2 * i + 1], nodes[2 * i + 2], hash_function)
    return PayoutTree(tuple(nodes), {leaf: size - 1 - i for i, leaf in enumerate(leaves)})


def verify_payout(root: bytes, leaf: bytes, proof: Iterable[bytes], hash_function: HashFunction) -> bool:
    """Return whether `proof` leads from `leaf` to `root`, as the contract checks it."""
    node = leaf
    for sibling in proof:
        node = sorted_pair(node, sibling, hash_function)
    return node == root


def log_leaf(entry: bytes, hash_function: HashFunction) -> bytes:
    """Return the leaf of a log entry, H(0x00 | entry)."""
    return hash_function(b"\x00" + entry)


def _node(left: bytes, right: bytes, hash_function: HashFunction) -> bytes:
    return hash_function(b"\x01" + left + right)


def _split(size: int) -> int:
    """Largest power of two below `size` (RFC 9162, 2.1.1)."""
    return 1 << ((size - 1).bit_length() - 1)


def log_root(leaves: Sequence[bytes], hash_function: HashFunction) -> bytes:
    """Return the root of a log.

    Parameters
    ----------
    leaves
        Leaf hashes in log order; may be empty.
    hash_function
        The log's hash function.

    Returns
    -------
    bytes
        The hash of nothing when the log is empty.
    """
    if not leaves:
        return hash_function(b"")
    pending: list[tuple[int, bytes]] = []
    for leaf in leaves:
        size, node = 1, leaf
        while pending and pending[-1][0] == size:
            node = _node(pending.pop()[1], node, hash_function)
            size *= 2
        pending.append((size, node))
    node = pending.pop()[1]
    while pending:
        node = _node(pending.pop()[1], node, hash_function)
    return node


def inclusion_proof(leaves: Sequence[bytes], index: int, hash_function: HashFunction) -> list[bytes]:
    """Return the audit path of one entry (RFC 9162, 2.1.3.1), in time linear in the log.

    Raises
    ------
    IndexError
        If there is no such entry.
    """
    if not 0 <= index < len(leaves):
        raise IndexError(f"entry {index} is outside 0 to {len(leaves) - 1}")
    path: list[bytes] = []
    start, stop = 0, len(leaves)
    while stop - start > 1:
        middle = start + _split(stop - start)
        if index < middle:
            path.append(log_root(leaves[middle:stop], hash_function))
            stop = middle
        else:
            path.append(log_root(leaves[start:middle], hash_function))
            start = middle
    return path[::-1]


def verify_inclusion(
    root: bytes, leaf: bytes, index: int, size: int, proof: Sequence[bytes], hash_function: HashFunction
) -> bool:
    """Return whether `leaf` is entry `index` of the log of `size` entries with `root` (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    first, last, node = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return False
        if first % 2 or first == last:
            node = _node(sibling, node, hash_function)
            while first and not first % 2:
                first, last = first >> 1, last >> 1
        else:
            node = _node(node, sibling, hash_function)
        first, last = first >> 1, last >> 1
    return last == 0 and node == root


def consistency_proof(
    leaves: Sequence[bytes], first: int, second: int, hash_function: HashFunction
) -> list[bytes]:
    """Return the proof that the log of `second` entries extends that of `first` (RFC 9162, 2.1.4.1).

    Raises
    ------
    ValueError
        Unless 0 < first <= second <= len(leaves).
    """
    if not 0 < first <= second <= len(leaves):
        raise ValueError(f"sizes {first} and {second}: expected 0 < first <= second <= {len(leaves)}")
    path: list[bytes] = []
    start, stop, known_root = 0, second, True
    while first != stop:
        middle = start + _split(stop - start)
        if first <= middle:
            path.append(log_root(leaves[middle:stop], hash_function))
            stop = middle
        else:
            path.append(log_root(leaves[start:middle], hash_function))
            start, known_root = middle, False
    if not known_root:
        path.append(log_root(leaves[start:stop], hash_function))
    return path[::-1]


def verify_consistency(
    first_root: bytes,
    first: int,
    second_root: bytes,
    second: int,
    proof: Sequence[bytes],
    hash_function: HashFunction,
) -> bool:
    """Return whether the log of `second` entries extends that of `first` (RFC 9162, 2.1.4.2)."""
    if not 0 < first <= second:
        return False
    if first == second:
        return not proof and first_root == second_root
    path = [first_root, *proof] if first & (first - 1) == 0 else list(proof)
    if not path:
        return False
    left, right = first - 1, second - 1
    while left % 2:
        left, right = left >> 1, right >> 1
    old = new = path[0]
    for sibling in path[1:]:
        if right == 0:
            return False
        if left % 2 or left == right:
            old = _node(sibling, old, hash_function)
            new = _node(sibling, new, hash_function)
            while left and not left % 2:
                left, right = left >> 1, right >> 1
        else:
            new = _node(new, sibling, hash_function)
        left, right = left >> 1, right >> 1
    return right == 0 and old == first_root and new == second_root
