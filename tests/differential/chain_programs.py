"""Small programs in bytecode for what the contracts do not do: refunds, transient storage, selfdestruct, odd creations.

A program is the creation code of a contract or the code that it leaves behind; `deploying` wraps the latter.
"""

from __future__ import annotations


def push(value):
    """Return the shortest push of a number."""
    if value == 0:
        return b"\x5f"
    size = (value.bit_length() + 7) // 8
    return bytes([0x5F + size]) + value.to_bytes(size, "big")


def deploying(runtime):
    """Return creation code that leaves `runtime` behind."""
    prefix = push(len(runtime)) + b"\x80\x60"  # push length, dup, push offset of the runtime
    # CODECOPY(0, offset, length); RETURN(0, length)
    offset = len(prefix) + 1 + 4
    return prefix + bytes([offset]) + b"\x5f\x39\x5f\xf3" + runtime


def sstore(slot, value):
    """Return code that writes a word."""
    return push(value) + push(slot) + b"\x55"


ECHO = deploying(b"\x36\x5f\x5f\x37\x36\x5f\xf3")
"""Returns its calldata."""

TOGGLE = deploying(b"\x60\x20\x35\x5f\x35\x55\x00")
"""Writes the second word of its calldata to the slot that the first one names: sets, clears, resets."""

TWICE = deploying(sstore(1, 7) + sstore(1, 0) + sstore(2, 9) + b"\x00")
"""Writes and clears a slot, and writes another one."""

TRANSIENT = deploying(push(5) + push(1) + b"\x5d" + push(1) + b"\x5c" + push(3) + b"\x55\x00")
"""Keeps in storage what it read from transient storage (EIP-1153)."""

NOTES = deploying(
    b"\x36\x5f\x5f\x37"
    + b"\x36\x5f\xa0"
    + push(1) + b"\x36\x5f\xa1"
    + push(2) + push(1) + b"\x36\x5f\xa2"
    + push(3) + push(2) + push(1) + b"\x36\x5f\xa3"
    + push(4) + push(3) + push(2) + push(1) + b"\x36\x5f\xa4\x00"
)  # fmt: skip
"""Writes its calldata as events with 0 to 4 topics."""

CLOCK = deploying(
    b"\x42\x5f\x55\x43\x60\x01\x55\x46\x60\x02\x55\x48\x60\x03\x55\x45\x60\x04\x55\x3a\x60\x05\x55\x00"
)
"""Stores time, number, chain id, base fee, gas limit and gas price."""

BEQUEST = deploying(b"\x5f\x35\xff")
"""Destroys itself in favour of the address in its calldata; outside its own creation it only pays (EIP-6780)."""

NESTED = deploying(
    b"\x36\x5f\x5f\x37\x60\x20\x5f\x60\x20\x36\x03\x60\x20\x5f\x5f\x35\x5a\xf1\x5f\x52\x60\x20\x5f\xf3"
)
"""Calls the address in the first word with the rest of its calldata and returns whether that succeeded."""

FACTORY = deploying(b"\x36\x5f\x5f\x37\x60\x07\x36\x5f\x5f\xf5\x5f\x52\x60\x20\x5f\xf3")
"""Creates a contract from its calldata with CREATE2 and returns the address; the second time it collides."""

DIES_AT_BIRTH = b"\x33\xff"
"""Creation code that destroys its own contract."""

ENDLESS = b"\x5b\x5f\x56"
"""Creation code that jumps to its own beginning until its gas has run out."""

BAD_CREATIONS = (
    b"\xfe",  # an invalid instruction
    b"\x5f\x5f\xfd",  # a revert without data
    sstore(1, 1) + b"\x60\x20\x5f\xfd",  # a revert with data after a write
    b"\x60\xef\x5f\x53\x60\x01\x5f\xf3",  # code that begins with 0xEF (EIP-3541)
    push(24_577) + b"\x5f\xf3",  # longer than code may be (EIP-170)
    ENDLESS,
)
LOOSE = {
    "echo": ECHO, "toggle": TOGGLE, "twice": TWICE, "transient": TRANSIENT, "notes": NOTES, "clock": CLOCK,
    "bequest": BEQUEST, "nested": NESTED, "factory": FACTORY,
}  # fmt: skip
"""Programs that are deployed at the beginning."""
