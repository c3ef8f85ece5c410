"""Hash functions and addresses of the billing log and its settlement.

Rule decided here: SHA-256 for logs and files, Keccak-256 where a contract checks; an address is written in
lower case with 0x, and one given in mixed case must carry its right EIP-55 checksum, because a mistyped
payee is money lost.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from array import array
from collections.abc import Sequence
from typing import Any

ZERO_ADDRESS = "0x" + "0" * 40

_WORD = next(code for code in "IL" if array(code).itemsize == 4)
_LITTLE = sys.byteorder == "little"
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def sha256(data: bytes) -> bytes:
    """Return the SHA-256 hash, 32 bytes."""
    return hashlib.sha256(data).digest()


def ids_bytes(ids: Sequence[int]) -> bytes:
    """Return token ids as they are hashed: unsigned 32-bit, big-endian.

    Raises
    ------
    OverflowError, TypeError
        If one is no such number.

    Examples
    --------
    >>> ids_bytes((1, 258)).hex()
    '0000000100000102'
    """
    numbers = array(_WORD, ids)
    if _LITTLE:
        numbers.byteswap()
    return numbers.tobytes()


def keccak(data: bytes) -> bytes:
    """Return the Keccak-256 hash, 32 bytes."""
    from eth_hash.auto import keccak as function  # lazily: an idle node needs no Ethereum package

    return bytes(function(data))


def digest_bytes(text: str, what: str) -> bytes:
    """Return the 32 bytes of a hash given as 64 lower-case hexadecimal digits.

    Raises
    ------
    ValueError
        If it has another form.
    """
    if not _SHA256.fullmatch(text):
        raise ValueError(f"{what} {text!r} is no hash; expected 64 hexadecimal digits in lower case")
    return bytes.fromhex(text)


def canonical_json(document: Any) -> bytes:
    """Return the one JSON text of a document that is hashed: sorted keys, no spaces, ASCII."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def address(text: str) -> str:
    """Return an address in lower case.

    Raises
    ------
    ValueError
        If it is not 20 bytes in hexadecimal, or its mixed case is no EIP-55 checksum.

    Examples
    --------
    >>> address("0x000000000000000000000000000000000000dEaD")
    '0x000000000000000000000000000000000000dead'
    """
    if not _ADDRESS.fullmatch(text):
        raise ValueError(f"{text!r} is no address; expected 0x and 40 hexadecimal digits")
    digits = text[2:]
    if digits not in (digits.lower(), digits.upper()) and digits != _checksummed(digits.lower()):
        raise ValueError(
            f"{text} has a wrong checksum (EIP-55): a digit is mistyped, or write it in lower case"
        )
    return "0x" + digits.lower()


def _checksummed(digits: str) -> str:
    marks = keccak(digits.encode()).hex()
    return "".join(d.upper() if int(m, 16) >= 8 else d for d, m in zip(digits, marks, strict=False))
