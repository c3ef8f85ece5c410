"""Addresses: which 20 bytes a name of the sandbox has on a chain.

Rule decided here: an address is the last 20 bytes of keccak("olsim:" + label), the same on both chains, so
that a run needs no keys and two runs have the same addresses. Nobody knows a private key for such an address.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

DEAD_ADDRESS = bytes.fromhex("000000000000000000000000000000000000dead")
"""Where native coins go to be out of use; L2 has no burn of its own."""

ZERO_ADDRESS = bytes(20)


@lru_cache(maxsize=1)
def _keccak_function() -> Callable[[bytes], bytes]:
    from eth_hash.auto import keccak as function

    return function  # type: ignore[no-any-return,unused-ignore]


def keccak(data: bytes) -> bytes:
    """Return the Keccak-256 hash, 32 bytes, of `data`."""
    return _keccak_function()(data)


@lru_cache(maxsize=65_536)
def address_of(label: str) -> bytes:
    """Return the address, 20 bytes, that stands for `label`.

    Examples
    --------
    >>> address_of("wallet.l1/holders/*").hex() == keccak(b"olsim:wallet.l1/holders/*")[-20:].hex()
    True
    """
    return keccak(f"olsim:{label}".encode())[-20:]


def hex_address(address: bytes) -> str:
    """Return an address as 0x and 40 digits with the EIP-55 checksum.

    Examples
    --------
    >>> hex_address(DEAD_ADDRESS)
    '0x000000000000000000000000000000000000dEaD'
    """
    digits = address.hex()
    marks = keccak(digits.encode()).hex()
    return "0x" + "".join(d.upper() if int(m, 16) >= 8 else d for d, m in zip(digits, marks, strict=False))


def to_address(text: str | bytes) -> bytes:
    """Return 20 bytes from an address given as bytes or hexadecimal text.

    Raises
    ------
    ValueError
        If it is not 20 bytes.
    """
    raw = bytes.fromhex(text.removeprefix("0x")) if isinstance(text, str) else text
    if len(raw) != 20:
        raise ValueError(f"address has {len(raw)} bytes; expected 20")
    return raw
