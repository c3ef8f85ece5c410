"""Intrinsic gas: what a transaction costs before its first opcode (EIP-2028, 2930, 3860 and 7623)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sim.chain.message import Message

TRANSACTION = 21_000
CREATION = 32_000
INITCODE_WORD = 2
TOKEN = 4
FLOOR_TOKEN = 10
TOKENS_PER_NONZERO_BYTE = 4
LISTED_ADDRESS = 2_400
LISTED_SLOT = 1_900


def calldata_tokens(data: bytes) -> int:
    """Return the size of calldata as its price counts it: 1 for a zero byte, 4 for any other."""
    zeros = data.count(0)
    return zeros + TOKENS_PER_NONZERO_BYTE * (len(data) - zeros)


def start_gas(message: Message) -> int:
    """Return the gas taken before execution, without the words of creation code."""
    gas = TRANSACTION + TOKEN * calldata_tokens(message.data)
    for _, slots in message.access_list:
        gas += LISTED_ADDRESS + LISTED_SLOT * len(slots)
    return gas if message.to is not None else gas + CREATION


def intrinsic_gas(message: Message) -> int:
    """Return the least gas limit with which a transaction can enter a block."""
    words = -(-len(message.data) // 32) if message.to is None else 0
    return start_gas(message) + INITCODE_WORD * words


def floor_gas(message: Message) -> int:
    """Return the least that a transaction pays for its calldata."""
    return TRANSACTION + FLOOR_TOKEN * calldata_tokens(message.data)
