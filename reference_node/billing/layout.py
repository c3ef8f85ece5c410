"""Layout: where the fields of a record lie in its bytes, so that many records are written and read at once.

Rule decided here. In deterministic encoding (`record`) the bytes of two records differ in their values alone when
their numbers have the same widths and their adapters and data the same counts. Such records have one layout: a row of
constant bytes and of fields of fixed size. Writing one is a single call of `struct`, reading many a single view of
numpy. A record that fits no layout here (more than 23 adapters, another size of data ids, a number from 2^63) is left
to `LogRecord`, which is the definition that layouts are tested equal to.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from reference_node.billing.record import FIELDS, VERSION, LogRecord
from reference_node.billing.terms import DATA_ID_BYTES

NUMBERS = ("seq", "tokens_in", "tokens_out", "fee_gwei", "residual", "ts", "cached_tokens")
"""Numbers of a record in the order of its bytes."""
HASHES = {
    "prev_hash": 32,
    "request_id": 16,
    "model_hash": 32,
    "datanet_root": 32,
    "output_hash": 32,
    "rules_hash": 32,
}
ADAPTERS_MAX = 23
ENTRIES_MAX = 19
"""Data whose bytes need one byte for their length."""
ENTRY_BYTES = DATA_ID_BYTES + 4

_ADAPTER = struct.Struct(">3s32s1sd")
_ADAPTER_BYTES = _ADAPTER.size
_LEAST = {0: 0, 1: 24, 2: 1 << 8, 4: 1 << 16, 8: 1 << 32}
_WIDTHS = [1] * 9 + [2] * 8 + [4] * 16 + [8] * 32
_CODES = {0: "B", 1: "B", 2: "H", 4: "I", 8: "Q"}


class Shape(NamedTuple):
    """What decides a layout.

    Parameters
    ----------
    widths
        Bytes behind the first one of each of `NUMBERS`: 0, 1, 2, 4 or 8.
    adapters
        How many adapters.
    entries
        How many data.
    """

    widths: tuple[int, ...]
    adapters: int
    entries: int


@dataclass(frozen=True, slots=True)
class Layout:
    """Fields of the records of one shape.

    Parameters
    ----------
    writer
        Packs the fields, and the constants between them, in the order of the bytes.
    constants
        The constants, between each of which lies one field.
    view
        Type of numpy of a record: fields by name, constants as ``_0``, ``_1`` and so on.
    least
        Least value of each of `NUMBERS` in its width.
    """

    writer: struct.Struct
    constants: tuple[bytes, ...]
    view: np.dtype[Any]
    least: tuple[int, ...]

    def written(self, *fields: bytes | int) -> bytes:
        """Return the bytes of a record; `fields` are those behind the version, in the order of the bytes."""
        parts: list[bytes | int] = [b""] * (2 * len(fields))
        parts[::2], parts[1::2] = self.constants, fields
        return self.writer.pack(*parts)


def widths_of(numbers: Sequence[int]) -> tuple[int, ...]:
    """Return the bytes that numbers below 2^64 take behind their first one.

    Examples
    --------
    >>> widths_of((0, 23, 24, 255, 256, 65_536, 2**32))
    (0, 0, 1, 1, 2, 4, 8)
    """
    return tuple([_WIDTHS[number.bit_length()] if number > 23 else 0 for number in numbers])


def shape_of(record: LogRecord) -> Shape | None:
    """Return the shape of a record, None where it has no layout."""
    numbers = [getattr(record, name) for name in NUMBERS]
    plain = all(len(data_id) == DATA_ID_BYTES for data_id, _ in record.top_k)
    few = len(record.adapters) <= ADAPTERS_MAX and len(record.top_k) <= ENTRIES_MAX
    if not plain or not few or max(numbers) >= 1 << 63:
        return None
    return Shape(widths_of(numbers), len(record.adapters), len(record.top_k))


@lru_cache(4096)
def adapters_bytes(hashes: tuple[bytes, ...], weights: tuple[float, ...]) -> bytes:
    """Return adapters as they stand in a record behind their count.

    Parameters
    ----------
    hashes, weights
        Content hash and weight of each.
    """
    pairs = zip(hashes, weights, strict=True)
    return b"".join([_ADAPTER.pack(b"\x82\x58\x20", one, b"\x48", weight) for one, weight in pairs])


@lru_cache(4096)
def adapters_of(data: bytes) -> tuple[tuple[bytes, ...], tuple[float, ...]] | None:
    """Return content hashes and weights of the adapters that `adapters_bytes` wrote; None for other bytes."""
    fields = list(_ADAPTER.iter_unpack(data))
    hashes, weights = tuple([one[1] for one in fields]), tuple([one[3] for one in fields])
    return (hashes, weights) if adapters_bytes(hashes, weights) == data else None


@lru_cache(1024)
def layout_of(shape: Shape) -> Layout:
    """Return the layout of a shape."""
    constant, constants, code, fields = bytes((0xA0 + len(FIELDS),)), [], "", []
    numbers = dict(zip(NUMBERS, shape.widths, strict=True))
    for key, name in enumerate(FIELDS):
        constant += bytes((key,))
        if name == "version":
            constant += bytes((VERSION,))
            continue
        head, size = _head(name, numbers, shape)
        form = _CODES[numbers[name]] if name in numbers else f"{size}s"
        kind = f">u{size}" if name in numbers else f"V{size}"
        constants.append(constant + head)
        code += f"{len(constants[-1])}s{form}"
        fields += [(f"_{len(constants) - 1}", f"V{len(constants[-1])}"), (name, kind)]
        constant = b""
    return Layout(
        struct.Struct(">" + code),
        tuple(constants),
        np.dtype([field for field in fields if field[1] != "V0"]),
        tuple(_LEAST[width] for width in shape.widths),
    )


def _head(name: str, numbers: dict[str, int], shape: Shape) -> tuple[bytes, int]:
    """Return the constant bytes of a field before its value, and the bytes of the value."""
    if name in numbers:
        width = numbers[name]
        return (bytes((0x18 + width.bit_length() - 1,)), width) if width else (b"", 1)
    if name == "adapters":
        return bytes((0x80 + shape.adapters,)), shape.adapters * _ADAPTER_BYTES
    if name == "top_k":
        size = 1 + shape.entries * ENTRY_BYTES if shape.entries else 0
        return _string_head(size), size
    return _string_head(HASHES[name]), HASHES[name]


def _string_head(size: int) -> bytes:
    return bytes((0x40 + size,)) if size < 24 else bytes((0x58, size))


def read_rows(data: bytes, layout: Layout) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return the rows of records of one size as fields, and which of the rows have this layout.

    Parameters
    ----------
    data
        The records, one behind the other.
    layout
        What they are read as.
    """
    rows = np.frombuffer(data, layout.view)
    fits = np.ones(len(rows), bool)
    for i, constant in enumerate(layout.constants):
        fits &= rows[f"_{i}"] == np.void(constant)
    for name, least in zip(NUMBERS, layout.least, strict=True):
        most = 23 if least == 0 else (1 << 63) - 1
        fits &= (rows[name] >= least) & (rows[name] <= min(most, np.iinfo(rows[name].dtype).max))
    return rows, fits
