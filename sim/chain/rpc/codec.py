"""Codec: numbers, bytes and addresses as JSON-RPC writes them.

Rule decided here: quantities go out as minimal hexadecimal and come in as hexadecimal text of any length or as whole
JSON numbers; bytes are hexadecimal text of even length. What is neither is refused with what was expected.
"""

from __future__ import annotations

import re
from typing import Any

from sim.chain.rpc.errors import INVALID_PARAMS, RpcError

WORD = 2**256
_QUANTITY = re.compile("0x[0-9a-fA-F]{1,64}")
SHOWN = 80


def quantity(value: int) -> str:
    """Return a number as minimal hexadecimal."""
    return hex(value)


def data(value: bytes) -> str:
    """Return bytes as hexadecimal text."""
    return "0x" + value.hex()


def word(value: int) -> str:
    """Return a number as 32 bytes."""
    return data(value.to_bytes(32, "big"))


def shown(value: Any) -> str:
    """Return a value of a request, cut to what an error may repeat."""
    text = repr(value)
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."


def invalid(what: str, value: Any, expected: str) -> RpcError:
    """Return the error for a parameter of the wrong kind."""
    return RpcError(INVALID_PARAMS, f"{what} is {shown(value)}; expected {expected}")


def parse_quantity(value: Any, what: str, below: int = WORD) -> int:
    """Return a number of a request: at least 0 and less than `below`."""
    number = -1
    if isinstance(value, int) and not isinstance(value, bool):
        number = value
    elif isinstance(value, str) and _QUANTITY.fullmatch(value):
        number = int(value[2:], 16)
    if not 0 <= number < below:
        bits = (below - 1).bit_length()
        limit = f"{bits} bits" if below == 1 << bits else f"at most {below - 1}"
        raise invalid(what, value, f"a hexadecimal quantity like 0x1f, {limit}")
    return number


def parse_data(value: Any, what: str, length: int | None = None) -> bytes:
    """Return bytes of a request, of an exact length if one is given."""
    expected = "hexadecimal bytes like 0x00ff" + (f", {length} of them" if length is not None else "")
    if not isinstance(value, str) or not value.startswith("0x") or len(value) % 2:
        raise invalid(what, value, expected)
    try:
        raw = bytes.fromhex(value[2:])
    except ValueError as error:
        raise invalid(what, value, expected) from error
    if 2 * len(raw) != len(value) - 2 or (length is not None and len(raw) != length):
        raise invalid(what, value, expected)
    return raw


def parse_address(value: Any, what: str) -> bytes:
    """Return the 20 bytes of an address; its checksum is not looked at, as nodes do not."""
    return parse_data(value, what, 20)


def parse_hash(value: Any, what: str) -> bytes:
    """Return 32 bytes."""
    return parse_data(value, what, 32)


def parse_slot(value: Any, what: str) -> int:
    """Return a storage slot, given as a quantity or as 32 bytes."""
    return parse_quantity(value, what)


def parse_object(value: Any, what: str) -> dict[str, Any]:
    """Return an object of a request."""
    if not isinstance(value, dict):
        raise invalid(what, value, "an object")
    return value


def parse_list(value: Any, what: str) -> list[Any]:
    """Return a list of a request."""
    if not isinstance(value, list):
        raise invalid(what, value, "a list")
    return value


def parse_flag(value: Any, what: str) -> bool:
    """Return true or false."""
    if not isinstance(value, bool):
        raise invalid(what, value, "true or false")
    return value
