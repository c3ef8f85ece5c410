"""Which byte of a damaged frame is wrong, where a single bit of it was flipped.

Rule decided here. CRC-32 is linear, and no two single bits of a frame change it alike: the difference between the
checksum that was stored and that of the bytes read says which bit it was. A flipped bit of the checksum itself shows as
a difference of one bit, one of the length as a length with which the frame is sound. Damage of another kind has no
single place; then the frame's beginning is all that can be named.
"""

from __future__ import annotations

import struct
import zlib

HEADER = struct.Struct(">II")
_POLYNOMIAL = 0xEDB88320


def flipped_byte(data: bytes, offset: int, payload_max: int) -> int | None:
    """Return the offset of the byte of which a bit was flipped, None where no single flip explains the damage.

    Parameters
    ----------
    data
        The segment.
    offset
        Where the frame begins: length and CRC-32, 4 bytes each, big-endian, then the payload.
    payload_max
        Largest payload of a frame.

    Examples
    --------
    >>> frame = bytearray(HEADER.pack(5, zlib.crc32(b"hello")) + b"hello")
    >>> frame[10] ^= 4
    >>> flipped_byte(bytes(frame), 0, 100)
    10
    """
    begin = offset + HEADER.size
    if begin > len(data):
        return None
    size, stored = HEADER.unpack_from(data, offset)
    for bit in range(32):
        other = size ^ 1 << bit
        whole = 0 < other <= payload_max and begin + other <= len(data)
        if whole and zlib.crc32(data[begin : begin + other]) == stored:
            return offset + (31 - bit) // 8
    if not 0 < size <= payload_max or begin + size > len(data):
        return None
    difference = zlib.crc32(data[begin : begin + size]) ^ stored
    if difference.bit_count() == 1:
        return offset + 4 + (32 - difference.bit_length()) // 8
    place = _payload_byte(difference, size)
    return None if place is None else begin + place


def _payload_byte(difference: int, size: int) -> int | None:
    """Return the byte of a payload whose flipped bit changes the checksum by `difference`."""
    changes = [_shifted(1 << bit) for bit in range(8)]  # of the last byte's bits
    for place in range(size - 1, -1, -1):
        if difference in changes:
            return place
        changes = [_shifted(change) for change in changes]
    return None


def _shifted(change: int) -> int:
    """Return what a change of the checksum becomes when one more byte follows."""
    for _ in range(8):
        change = change >> 1 ^ (_POLYNOMIAL if change & 1 else 0)
    return change
