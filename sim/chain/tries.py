"""Tries: proofs out of a state database, and a state as a set of nodes.

Rule decided here: nodes are named by their hash, so whatever is taken in is checked by hashing it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import rlp
from eth.constants import BLANK_ROOT_HASH
from eth.rlp.accounts import Account
from trie import hexary

from sim.chain.addresses import keccak
from sim.chain.backend import AccountProof, StorageProof

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

HexaryTrie: Any = hexary.HexaryTrie
EMPTY_CODE_HASH = keccak(b"")


def account_proof(db: Any, root: bytes, address: bytes, slots: Sequence[int]) -> AccountProof:
    """Return an account under a state root, and storage words, with the nodes that prove them."""
    accounts = HexaryTrie(db, root)
    key = keccak(address)
    encoded = accounts.get(key)
    account = rlp.decode(encoded, sedes=Account) if encoded else Account()
    storage = HexaryTrie(db, account.storage_root)
    return AccountProof(
        address=address,
        balance=int(account.balance),
        nonce=int(account.nonce),
        code_hash=bytes(account.code_hash),
        storage_root=bytes(account.storage_root),
        state_root=root,
        nodes=_proof(accounts, key),
        storage=tuple(_word_proof(storage, slot) for slot in slots),
    )


def export_nodes(db: Any, root: bytes) -> dict[bytes, bytes]:
    """Return everything under a state root by hash: account and storage nodes, and code."""
    found: dict[bytes, bytes] = {}
    for leaf in _walk(db, root, found):
        account = rlp.decode(leaf, sedes=Account)
        if account.code_hash != EMPTY_CODE_HASH:
            found[bytes(account.code_hash)] = bytes(db[account.code_hash])
        for _ in _walk(db, bytes(account.storage_root), found):
            pass
    return found


def checked_nodes(root: bytes, nodes: Iterable[bytes]) -> dict[bytes, bytes]:
    """Return what a state needs out of nodes from elsewhere.

    Raises
    ------
    ValueError
        If a node is missing, is no node, or is not what its hash says.
    """
    by_hash = {keccak(node): node for node in nodes}
    try:
        return export_nodes(by_hash, root)
    except KeyError as error:
        raise ValueError(f"node 0x{bytes(error.args[0]).hex()} is missing") from error
    except (rlp.exceptions.RLPException, RecursionError, TypeError, IndexError) as error:
        raise ValueError(f"not the nodes of a state: {type(error).__name__}") from error


def _walk(db: Any, root: bytes, found: dict[bytes, bytes]) -> Iterator[bytes]:
    """Yield the values under a root and put its nodes into `found`."""
    if root == BLANK_ROOT_HASH:
        return
    waiting: list[Any] = [root]
    while waiting:
        node = waiting.pop()
        if isinstance(node, bytes):
            if len(node) != 32 or node in found:
                continue
            found[node] = bytes(db[node])
            node = rlp.decode(found[node])
        if len(node) == 17:
            waiting += [child for child in node[:16] if child]
        elif node[0][0] & 0x20:  # the flag of a leaf in its compact path
            yield node[1]
        else:
            waiting.append(node[1])


def _word_proof(storage: Any, slot: int) -> StorageProof:
    key = keccak(slot.to_bytes(32, "big"))
    encoded = storage.get(key)
    value = int.from_bytes(rlp.decode(encoded), "big") if encoded else 0
    return StorageProof(slot, value, _proof(storage, key))


def _proof(nodes: Any, key: bytes) -> tuple[bytes, ...]:
    """Return trie nodes as RLP; the empty trie's only node proves nothing and is left out."""
    return tuple(rlp.encode(node) for node in nodes.get_proof(key) if node)
