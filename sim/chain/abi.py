"""ABI: calldata, return values, events and custom errors of a contract, encoded and decoded.

Rule decided here: selectors and topics are computed once per contract, and a revert is named from the
contract's own error list (custom errors arrive as raw bytes). What cannot be decoded is shown as its bytes,
never dropped.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sim.chain.addresses import keccak

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sim.chain.backend import Log

AbiEntry = dict[str, Any]

_BUILT_IN_ERRORS: tuple[AbiEntry, ...] = (
    {"type": "error", "name": "Error", "inputs": [{"name": "message", "type": "string"}]},
    {"type": "error", "name": "Panic", "inputs": [{"name": "code", "type": "uint256"}]},
)


def encode_values(types: Sequence[str], values: Sequence[object]) -> bytes:
    """Encode values by their ABI types."""
    from eth_abi.abi import encode

    return bytes(encode(types, values))


def decode_values(types: Sequence[str], data: bytes) -> tuple[Any, ...]:
    """Decode values by their ABI types; addresses become 20 bytes, sequences tuples."""
    from eth_abi.abi import decode

    return tuple(_plain(t, v) for t, v in zip(types, decode(types, data), strict=True))


def _plain(type_: str, value: Any) -> Any:
    if isinstance(value, (tuple, list)):
        return tuple(_plain(type_.partition("[")[0], item) for item in value)
    if type_ == "address" and isinstance(value, str):
        return bytes.fromhex(value[2:])
    return value


@dataclass(frozen=True, slots=True)
class Item:
    """One function, event or error of an ABI with its hash.

    Parameters
    ----------
    name
        Name without arguments.
    types, names
        ABI types and names of the inputs.
    output_types
        Types of the return values; empty for events and errors.
    indexed
        For events, which inputs are topics.
    digest
        keccak of the signature, 32 bytes: its first four are the selector of a function or error, all of it
        is an event's first topic.
    """

    name: str
    types: tuple[str, ...]
    names: tuple[str, ...]
    output_types: tuple[str, ...]
    indexed: tuple[bool, ...]
    digest: bytes

    @property
    def selector(self) -> bytes:
        """First four bytes of the digest."""
        return self.digest[:4]

    @property
    def signature(self) -> str:
        """Name with types, as ``claim(address,uint256,bytes32[])``."""
        return f"{self.name}({','.join(self.types)})"


@dataclass(frozen=True, slots=True)
class Event:
    """A decoded event: the contract that wrote it, its name and its arguments by name."""

    address: bytes
    name: str
    arguments: Mapping[str, Any]


class Reverted(RuntimeError):  # noqa: N818 - the EVM's own word
    """A call or transaction that the contract refused.

    Parameters
    ----------
    error
        Name of the custom error, ``Error`` for a reason text, ``Panic``, or "" when there is no known data.
    arguments
        Its values by name.
    data
        Raw revert data.
    what
        The contract and function that were called.
    """

    def __init__(self, error: str, arguments: Mapping[str, Any], data: bytes, what: str = "") -> None:
        self.error, self.arguments, self.data = error, dict(arguments), data
        values = ", ".join(f"{name}={show(value)}" for name, value in self.arguments.items())
        reason = f"{error}({values})" if error else f"no known error, data 0x{data.hex()}"
        super().__init__(f"{what}: reverted with {reason}" if what else f"reverted with {reason}")


def show(value: object) -> str:
    """Return a decoded value as people read it: bytes in hexadecimal, the rest as Python prints it."""
    if isinstance(value, bytes):
        return f"0x{value.hex()}"
    if isinstance(value, tuple):
        return f"[{', '.join(show(item) for item in value)}]"
    return str(value)


class ContractAbi:
    """The ABI of one contract.

    Parameters
    ----------
    entries
        ABI as the compiler writes it.
    """

    def __init__(self, entries: Iterable[AbiEntry]) -> None:
        self.entries = tuple(entries)

    def __deepcopy__(self, memo: dict[int, Any]) -> ContractAbi:
        """Return itself: nothing in it changes."""
        return self

    @cached_property
    def functions(self) -> dict[str, Item]:
        """Functions by name, and by signature where a name is overloaded."""
        items = [_item(e) for e in self.entries if e["type"] == "function"]
        names = [item.name for item in items]
        return {item.name if names.count(item.name) == 1 else item.signature: item for item in items}

    @cached_property
    def events(self) -> dict[bytes, Item]:
        """Events by first topic."""
        items = [_item(e) for e in self.entries if e["type"] == "event"]
        return {item.digest: item for item in items}

    @cached_property
    def errors(self) -> dict[bytes, Item]:
        """Errors by selector, with Solidity's own two."""
        entries = (*_BUILT_IN_ERRORS, *(e for e in self.entries if e["type"] == "error"))
        return {item.selector: item for item in map(_item, entries)}

    @cached_property
    def constructor_types(self) -> tuple[str, ...]:
        """Types of the constructor's arguments."""
        for entry in self.entries:
            if entry["type"] == "constructor":
                return tuple(_type(i) for i in entry["inputs"])
        return ()

    def encode_call(self, name: str, *values: object) -> bytes:
        """Return calldata of a function.

        Raises
        ------
        KeyError
            If the contract has no such function.
        """
        item = self.functions[name]
        return item.selector + encode_values(item.types, values)

    def encode_constructor(self, *values: object) -> bytes:
        """Return the encoded arguments that follow the creation code."""
        return encode_values(self.constructor_types, values)

    def decode_call(self, data: bytes) -> tuple[str, dict[str, Any]]:
        """Return the function and the arguments by name of some calldata.

        Raises
        ------
        KeyError
            If no function has this selector.
        """
        item = self._by_selector[data[:4]]
        return item.name, _named(item, decode_values(item.types, data[4:]))

    def decode_output(self, name: str, data: bytes) -> Any:
        """Return a function's result: one value as itself, several as a tuple, none as None."""
        values = decode_values(self.functions[name].output_types, data)
        return values[0] if len(values) == 1 else (values or None)

    def decode_event(self, log: Log) -> Event | None:
        """Return the event of a log, or None if this contract has no such event."""
        item = self.events.get(log.topics[0]) if log.topics else None
        if item is None:
            return None
        plain = iter(
            decode_values([t for t, i in zip(item.types, item.indexed, strict=True) if not i], log.data)
        )
        topics = iter(log.topics[1:])
        values = [
            _topic(type_, next(topics)) if indexed else next(plain)
            for type_, indexed in zip(item.types, item.indexed, strict=True)
        ]
        return Event(log.address, item.name, _named(item, values))

    def decode_revert(self, data: bytes, what: str = "") -> Reverted:
        """Return the exception that names a revert."""
        item = self.errors.get(data[:4])
        if item is None:
            return Reverted("", {}, data, what)
        return Reverted(item.name, _named(item, decode_values(item.types, data[4:])), data, what)

    @cached_property
    def _by_selector(self) -> dict[bytes, Item]:
        return {item.selector: item for item in self.functions.values()}


def _topic(type_: str, topic: bytes) -> Any:
    """Value of an indexed input; a dynamic one is on the chain as its hash only."""
    if type_ in ("string", "bytes") or type_.endswith("]"):
        return topic
    return decode_values([type_], topic)[0]


def _named(item: Item, values: Sequence[Any]) -> dict[str, Any]:
    return {name or f"argument{i}": v for i, (name, v) in enumerate(zip(item.names, values, strict=True))}


def _type(parameter: AbiEntry) -> str:
    type_ = str(parameter["type"])
    if not type_.startswith("tuple"):
        return type_
    inner = ",".join(_type(c) for c in parameter["components"])
    return f"({inner}){type_.removeprefix('tuple')}"


def _item(entry: AbiEntry) -> Item:
    inputs = entry["inputs"]
    types = tuple(_type(i) for i in inputs)
    return Item(
        name=entry["name"],
        types=types,
        names=tuple(i.get("name", "") for i in inputs),
        output_types=tuple(_type(o) for o in entry.get("outputs", ())),
        indexed=tuple(bool(i.get("indexed", False)) for i in inputs),
        digest=keccak(f"{entry['name']}({','.join(types)})".encode()),
    )
