"""Development: time, blocks, snapshots and accounts as a development network lets one set them.

Rule decided here: names and arguments are those of Hardhat and Anvil. Times are seconds and snapshots cover both
chains, because the bridge ties them together. A state that is taken in is checked by its hashes.
"""

from __future__ import annotations

import gzip
import json
import zlib
from typing import TYPE_CHECKING, Any

from sim.chain.backend import ChainError
from sim.chain.rpc.codec import (
    data,
    invalid,
    parse_address,
    parse_data,
    parse_flag,
    parse_hash,
    parse_object,
    parse_quantity,
    parse_slot,
    quantity,
)

if TYPE_CHECKING:
    from sim.chain.rpc.node import Node
    from sim.chain.rpc.params import Params

NONCE_LIMIT = 2**64 - 1
STATE_BYTES_MAX = 1 << 28
"""Most bytes that a packed state may unfold to."""


def evm_mine(node: Node, params: Params) -> str:
    """Mine a block, at a time if one is given, or several if their number is given."""
    options = params.take("options", _mine_options, {})
    params.end()
    if "timestamp" in options:
        node.set_next_time(parse_quantity(options["timestamp"], "timestamp"))
    node.mine(parse_quantity(options.get("blocks", 1), "blocks"))
    return "0x0"


def _mine_options(value: Any, what: str) -> dict[str, Any]:
    return value if isinstance(value, dict) else {"timestamp": value}


def mine(node: Node, params: Params) -> None:
    """Mine some blocks, with an interval of seconds between them."""
    count = params.take("blocks", parse_quantity, 1)
    interval = params.take("interval", parse_quantity, 1)
    params.end()
    node.mine(count, interval)


def snapshot(node: Node, params: Params) -> str:
    """Remember this moment of both chains and return its number."""
    params.end()
    return quantity(node.network.snapshot())


def revert(node: Node, params: Params) -> bool:
    """Go back to a moment of both chains, which is forgotten with those after it; false if it is unknown."""
    number = params.take("snapshotId", parse_quantity)
    params.end()
    return node.network.revert(number)


def increase_time(node: Node, params: Params) -> int:
    """Let the next block be so many seconds later and return all that was added so far."""
    seconds = params.take("seconds", parse_quantity)
    params.end()
    node.set_next_time(node.chain.time + seconds)
    node.time_added += seconds
    return node.time_added


def set_next_block_timestamp(node: Node, params: Params) -> None:
    """Give the next block a time."""
    timestamp = params.take("timestamp", parse_quantity)
    params.end()
    node.set_next_time(timestamp)


def set_automine(node: Node, params: Params) -> bool:
    """Mine each transaction at once from now on, or not."""
    on = params.take("automine", parse_flag)
    params.end()
    node.set_automine(on)
    return True


def set_balance(node: Node, params: Params) -> bool:
    """Give an account another native balance, wei."""
    address, wei = params.take("address", parse_address), params.take("balance", parse_quantity)
    params.end()
    node.chain.set_balance(address, wei)
    return True


def set_nonce(node: Node, params: Params) -> bool:
    """Give an account another nonce."""
    address = params.take("address", parse_address)
    nonce = params.take("nonce", lambda value, what: parse_quantity(value, what, NONCE_LIMIT))
    params.end()
    node.chain.set_nonce(address, nonce)
    return True


def set_code(node: Node, params: Params) -> bool:
    """Put code at an address."""
    address, code = params.take("address", parse_address), params.take("code", parse_data)
    params.end()
    node.chain.set_code(address, code)
    return True


def set_storage_at(node: Node, params: Params) -> bool:
    """Write one storage word."""
    address, slot = params.take("address", parse_address), params.take("slot", parse_slot)
    value = params.take("value", parse_hash)
    params.end()
    node.chain.set_storage(address, slot, int.from_bytes(value, "big"))
    return True


def impersonate(node: Node, params: Params) -> bool:
    """Act for an account from now on."""
    address = params.take("address", parse_address)
    params.end()
    node.impersonated.add(address)
    return True


def stop_impersonating(node: Node, params: Params) -> bool:
    """Act for an account no longer."""
    address = params.take("address", parse_address)
    params.end()
    known = address in node.impersonated
    node.impersonated.discard(address)
    return known


def dump_state(node: Node, params: Params) -> str:
    """Return the state of this chain, packed: accounts, storage and code, without blocks."""
    params.end()
    root, nodes = node.chain.export_state()
    document = {"root": data(root), "nodes": [data(one) for one in nodes]}
    return data(gzip.compress(json.dumps(document).encode(), mtime=0))


def load_state(node: Node, params: Params) -> bool:
    """Go to a state that was dumped; blocks so far stay."""
    packed = params.take("state", parse_data)
    params.end()
    try:
        document = parse_object(json.loads(_unpack(packed)), "state")
        root = parse_hash(document.get("root"), "state.root")
        nodes = [parse_data(one, "state.nodes") for one in document["nodes"]]
        node.chain.import_state(root, nodes)
    except (ValueError, KeyError, TypeError, ChainError, EOFError, OSError, zlib.error) as error:
        raise invalid("state", data(packed[:8]) + "...", f"what dumpState returned ({error})") from error
    return True


def _unpack(packed: bytes) -> bytes:
    unpacker = zlib.decompressobj(wbits=31)
    text = unpacker.decompress(packed, STATE_BYTES_MAX)
    if unpacker.unconsumed_tail:
        raise ValueError(f"it unfolds to more than {STATE_BYTES_MAX} bytes")
    if not unpacker.eof:
        raise ValueError("it is cut off")
    return text


_BOTH = {
    "mine": mine,
    "setBalance": set_balance,
    "setNonce": set_nonce,
    "setCode": set_code,
    "setStorageAt": set_storage_at,
    "impersonateAccount": impersonate,
    "stopImpersonatingAccount": stop_impersonating,
    "dumpState": dump_state,
    "loadState": load_state,
}

METHODS: dict[str, Any] = {
    "evm_mine": evm_mine,
    "evm_snapshot": snapshot,
    "evm_revert": revert,
    "evm_increaseTime": increase_time,
    "evm_setNextBlockTimestamp": set_next_block_timestamp,
    "evm_setAutomine": set_automine,
    **{f"{prefix}_{name}": method for prefix in ("anvil", "hardhat") for name, method in _BOTH.items()},
}
