"""Top k of a record: the data with the largest weights, packed into one byte string.

Rules decided here. The string is the size of an id (one byte), then for each entry the id and its weight (unsigned,
32 bits, big-endian); nothing has the empty string. Ids have 8 to 32 bytes, all of one size, none twice; weights are
from 1 to 10^9; larger weights come first, equal ones by id. So each set of weights has one form: eight entries with
ids of 8 bytes take 97 bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from functools import lru_cache

from models.attribution import WHOLE

ID_BYTES = (8, 32)
K_MAX = 64
"""Most entries of a record; what is not named is in the residual."""

TopK = tuple[tuple[bytes, int], ...]


def largest(weights: Mapping[bytes, int], k: int) -> TopK:
    """Return the `k` largest positive weights in the order of a record.

    Examples
    --------
    >>> largest({b"b" * 8: 3, b"a" * 8: 3, b"c" * 8: 0, b"d" * 8: 5}, 2)
    ((b'dddddddd', 5), (b'aaaaaaaa', 3))
    """
    some = sorted([(-weight, data_id) for data_id, weight in weights.items() if weight])
    return tuple([(data_id, -negative) for negative, data_id in some[:k]])


def pack(top_k: TopK) -> bytes:
    """Return the byte string of a record's entries."""
    if not top_k:
        return b""
    size = len(top_k[0][0])
    pack_entry = _entry(size).pack
    return b"".join([bytes((size,)), *[pack_entry(*entry) for entry in top_k]])


def unpack(data: bytes) -> TopK:
    """Return the entries of a byte string.

    Raises
    ------
    ValueError
        If it is not what `pack` makes of the entries of `largest`.
    """
    if not data:
        return ()
    if not ID_BYTES[0] <= data[0] <= ID_BYTES[1]:
        raise ValueError(f"ids of {data[0]} bytes; allowed {ID_BYTES[0]} to {ID_BYTES[1]}")
    entry = _entry(data[0])
    count, rest = divmod(len(data) - 1, entry.size)
    if rest or not 0 < count <= K_MAX:
        raise ValueError(
            f"{len(data)} bytes are no 1 to {K_MAX} entries of {entry.size} after the first byte"
        )
    top_k = tuple(entry.iter_unpack(data[1:]))
    if len(dict(top_k)) < count:
        raise ValueError("names data twice")
    if top_k[-1][1] < 1 or top_k[0][1] > WHOLE:
        raise ValueError(f"has weights outside 1 to {WHOLE}")
    if largest(dict(top_k), count) != top_k:
        raise ValueError("is not ordered by weight, then id")
    return top_k


@lru_cache
def _entry(size: int) -> struct.Struct:
    return struct.Struct(f">{size}sI")
