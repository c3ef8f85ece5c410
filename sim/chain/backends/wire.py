"""Wire: values of the backend protocol from and to what JSON-RPC says."""

from __future__ import annotations

from typing import Any

from sim.chain.addresses import keccak
from sim.chain.backend import AccountProof, Log, Receipt, StorageProof
from sim.chain.header import EMPTY_TRIE_ROOT


def quantity(value: int) -> str:
    """Return a number as JSON-RPC writes it."""
    return hex(value)


def text(data: bytes) -> str:
    """Return bytes as JSON-RPC writes them."""
    return f"0x{data.hex()}"


def number(value: str | int) -> int:
    """Return a number out of an answer; some nodes write a few of them plainly."""
    return value if isinstance(value, int) else int(value, 16)


def raw(value: str) -> bytes:
    """Return bytes out of an answer."""
    return bytes.fromhex(value.removeprefix("0x"))


def optional(value: str | None) -> bytes | None:
    """Return bytes, or None where an answer has null."""
    return None if value is None else raw(value)


def read_receipt(
    answer: dict[str, Any], *, index: int, first_log: int, timestamp: int, output: bytes
) -> Receipt:
    """Return a receipt.

    Parameters
    ----------
    answer
        As `eth_getTransactionReceipt` gives it.
    index, first_log
        Number of the transaction and of its first event among those of the chain.
    timestamp
        Of its block, seconds.
    output
        Revert data; JSON-RPC has no place for the return data of a transaction.
    """
    block, status = number(answer["blockNumber"]), number(answer["status"])
    logs = tuple(
        Log(
            raw(log["address"]), tuple(map(raw, log["topics"])), raw(log["data"]), block, index, first_log + i
        )
        for i, log in enumerate(answer["logs"])
    )
    return Receipt(
        index=index,
        block_number=block,
        timestamp=timestamp,
        sender=raw(answer["from"]),
        to=optional(answer["to"]),
        status=status,
        gas_used=number(answer["gasUsed"]),
        output=output,
        contract_address=optional(answer.get("contractAddress")) if status else None,
        logs=logs,
    )


def read_proof(address: bytes, answer: dict[str, Any]) -> AccountProof:
    """Return a proof; its state root is the hash of its first node."""
    nodes = tuple(map(raw, answer["accountProof"]))
    return AccountProof(
        address=address,
        balance=number(answer["balance"]),
        nonce=number(answer["nonce"]),
        code_hash=raw(answer["codeHash"]),
        storage_root=raw(answer["storageHash"]),
        state_root=keccak(nodes[0]) if nodes else EMPTY_TRIE_ROOT,
        nodes=nodes,
        storage=tuple(
            StorageProof(number(word["key"]), number(word["value"]), tuple(map(raw, word["proof"])))
            for word in answer["storageProof"]
        ),
    )
