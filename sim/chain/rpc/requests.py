"""Requests: calls, blocks, overrides and log criteria as clients describe them.

Rule decided here: `input` and `data` are the same field; a block is a tag, a number, a hash or an object with one of
them; `safe` and `finalized` are the latest block, because nothing is ever reorganised. Fields that a client adds
beyond these are ignored, as nodes do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sim.chain.message import AccessList, Message, Override
from sim.chain.rpc.codec import (
    invalid,
    parse_address,
    parse_data,
    parse_hash,
    parse_list,
    parse_object,
    parse_quantity,
    parse_slot,
)
from sim.chain.rpc.errors import INVALID_PARAMS, REFUSED, RpcError

if TYPE_CHECKING:
    from sim.chain.evm import Chain

HEAD_TAGS = ("latest", "safe", "finalized", "pending")
TAGS = (*HEAD_TAGS, "earliest")
LISTED_MAX = 1_024
"""Most entries of an access list, an override set or a list of addresses or topics."""

Overrides = dict[bytes, Override]


@dataclass(frozen=True, slots=True)
class TransactionRequest:
    """A transaction or call as a client asks for it; None is what it leaves open.

    Parameters
    ----------
    message
        With fees of 0 where none were given.
    nonce, type
        As asked.
    fees
        "gasPrice", "maxFeePerGas" or None: in which words fees were given.
    has_sender
        Whether `from` was given.
    """

    message: Message
    nonce: int | None
    type: int | None
    fees: str | None
    has_sender: bool


def parse_block(chain: Chain) -> Any:
    """Return a reader of block parameters: the number of a block that exists, or of the present one for `pending`."""

    def parse(value: Any, what: str) -> int:
        number = _block_number(chain, value, what)
        if number is None or number > chain.block_number:
            raise RpcError(REFUSED, f"header not found: {what} {value!r:.80}")
        return number

    return parse


def parse_block_or_none(chain: Chain) -> Any:
    """Return a reader for methods that answer null for a block that does not exist."""

    def parse(value: Any, what: str) -> int | None:
        number = _block_number(chain, value, what)
        return None if number is None or number > chain.block_number else number

    return parse


def _block_number(chain: Chain, value: Any, what: str) -> int | None:
    if isinstance(value, dict):
        if "blockHash" in value and "blockNumber" in value:
            raise RpcError(
                INVALID_PARAMS, f"{what}: cannot specify both blockHash and blockNumber, choose one"
            )
        if "blockHash" in value:
            return chain.blocks.number_of(parse_hash(value["blockHash"], f"{what}.blockHash"))
        if "blockNumber" not in value:
            raise invalid(what, value, "an object with blockHash or blockNumber")
        value = value["blockNumber"]
    if isinstance(value, str) and value in TAGS:
        return {"pending": chain.block_number, "earliest": 0}.get(value, chain.blocks.latest)
    if isinstance(value, str) and len(value) == 66:
        return chain.blocks.number_of(parse_hash(value, what))
    if isinstance(value, str) and not value.startswith("0x"):
        raise invalid(what, value, f"one of {', '.join(TAGS)}, a quantity or a hash")
    return parse_quantity(value, what)


def parse_transaction(value: Any, what: str) -> TransactionRequest:
    """Return a transaction object."""
    fields = {name: v for name, v in parse_object(value, what).items() if v is not None}

    def number(name: str, below: int = 2**256) -> int | None:
        return parse_quantity(fields[name], f"{what}.{name}", below) if name in fields else None

    max_fee, tip, price = number("maxFeePerGas"), number("maxPriorityFeePerGas"), number("gasPrice")
    dynamic = max_fee is not None or tip is not None
    if dynamic and price is not None:
        raise RpcError(INVALID_PARAMS, "both gasPrice and (maxFeePerGas or maxPriorityFeePerGas) specified")
    if max_fee is not None and (tip or 0) > max_fee:
        raise RpcError(INVALID_PARAMS, f"maxFeePerGas ({max_fee}) < maxPriorityFeePerGas ({tip})")
    message = Message(
        sender=parse_address(fields.get("from", "0x" + "00" * 20), f"{what}.from"),
        to=parse_address(fields["to"], f"{what}.to") if "to" in fields else None,
        data=_calldata(fields, what),
        value=number("value") or 0,
        gas=number("gas", 2**64),
        max_fee=(price if price is not None else max_fee) or 0,
        max_priority_fee=(price if price is not None else tip) or 0,
        access_list=parse_access_list(fields.get("accessList", []), f"{what}.accessList"),
    )
    fees = "gasPrice" if price is not None else "maxFeePerGas" if dynamic else None
    return TransactionRequest(
        message, number("nonce", 2**64 - 1), number("type", 256), fees, has_sender="from" in fields
    )


def _calldata(fields: dict[str, Any], what: str) -> bytes:
    given = [parse_data(fields[name], f"{what}.{name}") for name in ("input", "data") if name in fields]
    if len(given) == 2 and given[0] != given[1]:
        raise RpcError(INVALID_PARAMS, 'both "data" and "input" are set and not equal; give one of them')
    return given[0] if given else b""


def parse_access_list(value: Any, what: str) -> AccessList:
    """Return an access list."""
    found = []
    for entry in _bounded(parse_list(value, what), what):
        item = parse_object(entry, what)
        slots = _bounded(parse_list(item.get("storageKeys", []), f"{what}.storageKeys"), what)
        found.append(
            (
                parse_address(item.get("address"), f"{what}.address"),
                tuple(int.from_bytes(parse_hash(s, f"{what}.storageKeys"), "big") for s in slots),
            )
        )
    return tuple(found)


def parse_overrides(value: Any, what: str) -> Overrides:
    """Return state overrides by address."""
    found = {}
    for address, entry in _bounded(list(parse_object(value, what).items()), what):
        fields = {name: v for name, v in parse_object(entry, what).items() if v is not None}
        if "state" in fields and "stateDiff" in fields:
            raise RpcError(INVALID_PARAMS, f"{what}: {address:.60} has both 'state' and 'stateDiff'")
        words = parse_object(fields.get("state", fields.get("stateDiff", {})), f"{what}.state")
        found[parse_address(address, what)] = Override(
            balance=parse_quantity(fields["balance"], f"{what}.balance") if "balance" in fields else None,
            nonce=parse_quantity(fields["nonce"], f"{what}.nonce", 2**64 - 1) if "nonce" in fields else None,
            code=parse_data(fields["code"], f"{what}.code") if "code" in fields else None,
            storage={
                parse_slot(slot, f"{what}.state"): parse_slot(word, f"{what}.state")
                for slot, word in _bounded(list(words.items()), what)
            },
            replaces_storage="state" in fields,
        )
    return found


@dataclass(frozen=True, slots=True)
class LogCriteria:
    """Which events a query, filter or subscription wants: block range, contracts, topics by position."""

    from_block: int
    to_block: int | None
    addresses: frozenset[bytes]
    topics: tuple[frozenset[bytes], ...]


def parse_criteria(chain: Chain, default_from: int) -> Any:
    """Return a reader of log criteria; a range without a beginning begins at `default_from`."""

    def parse(value: Any, what: str) -> LogCriteria:
        fields = {name: v for name, v in parse_object(value, what).items() if v is not None}
        addresses, topics = _log_fields(fields, what)
        if "blockHash" in fields:
            if "fromBlock" in fields or "toBlock" in fields:
                raise RpcError(
                    INVALID_PARAMS,
                    "cannot specify both blockHash and fromBlock/toBlock, choose one or the other",
                )
            number = parse_block(chain)(fields["blockHash"], f"{what}.blockHash")
            return LogCriteria(number, number, addresses, topics)
        first = _bound(chain, fields.get("fromBlock"), f"{what}.fromBlock", default_from)
        # A range up to the head stays open: a filter's head moves.
        bounded = "toBlock" in fields and fields["toBlock"] not in HEAD_TAGS
        last = _bound(chain, fields["toBlock"], f"{what}.toBlock", 0) if bounded else None
        if last is not None and first > last:
            raise RpcError(INVALID_PARAMS, f"{what}: fromBlock {first} is after toBlock {last}")
        return LogCriteria(first, last, addresses, topics)

    return parse


def _bound(chain: Chain, value: Any, what: str, default: int) -> int:
    if value is None:
        return default
    number = _block_number(chain, value, what)
    if number is None:
        raise RpcError(REFUSED, f"header not found: {what} {value!r:.80}")
    return number


def _log_fields(fields: dict[str, Any], what: str) -> tuple[frozenset[bytes], tuple[frozenset[bytes], ...]]:
    address = fields.get("address", [])
    listed = _bounded(address if isinstance(address, list) else [address], f"{what}.address")
    addresses = frozenset(parse_address(one, f"{what}.address") for one in listed)
    topics = []
    for topic in _bounded(parse_list(fields.get("topics", []), f"{what}.topics"), f"{what}.topics"):
        values = [] if topic is None else topic if isinstance(topic, list) else [topic]
        # A null among alternatives matches anything.
        chosen = [] if None in values else _bounded(values, f"{what}.topics")
        topics.append(frozenset(parse_hash(one, f"{what}.topics") for one in chosen))
    if len(topics) > 4:
        raise RpcError(INVALID_PARAMS, f"{what}.topics has {len(topics)} positions; an event has at most 4")
    return addresses, tuple(topics)


def _bounded(values: list[Any], what: str) -> list[Any]:
    if len(values) > LISTED_MAX:
        raise RpcError(INVALID_PARAMS, f"{what} has {len(values)} entries; allowed {LISTED_MAX}")
    return values
