"""Columns: records of a log read many at a time, and everything about them that needs no document checked.

Rule decided here: columns are given only where every record is sound (encoding, number, chain, sum of the weights,
order of the data); otherwise there are none, and the caller reads the records one by one (`reading.Chain`), which names
what is wrong. So what is refused, and with which words, is decided in one place.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.attribution import WHOLE
from reference_node.billing.layout import (
    ENTRY_BYTES,
    NUMBERS,
    Layout,
    layout_of,
    read_rows,
    shape_of,
)
from reference_node.billing.record import LogRecord, RecordError
from reference_node.billing.terms import DATA_ID_BYTES

Ints = NDArray[np.int64]

_LAYOUTS_MAX = 64
"""Layouts that are tried for records of one size before they are read one by one."""


def bytes_of(rows: NDArray[Any], name: str) -> list[bytes]:
    """Return a field that is no number of rows as `layout.read_rows` gives them."""
    return list(rows[name].tolist()) if name in (rows.dtype.names or ()) else [b""] * len(rows)


@dataclass(frozen=True, slots=True)
class Columns:
    """Records of one layout.

    Parameters
    ----------
    places
        Where among the records that were read together each of them is.
    rows
        Their fields (`layout.Layout.view`).
    numbers
        `layout.NUMBERS` -> values.
    data_ids, weights
        Data that each names, `(records, entries)`; ids as big-endian numbers.
    """

    places: Ints
    rows: NDArray[Any]
    numbers: dict[str, Ints]
    data_ids: NDArray[np.uint64]
    weights: Ints

    def tokens(self) -> Ints:
        """Return tokens in, cached and out, `(records, 3)`."""
        return np.stack([self.numbers[name] for name in ("tokens_in", "cached_tokens", "tokens_out")], axis=1)


class ColumnReader:
    """Reads records into columns; remembers the layouts that it met."""

    def __init__(self) -> None:
        self._known: dict[int, list[Layout]] = {}

    def read(self, records: Sequence[bytes], first: int, previous: Sequence[bytes]) -> list[Columns] | None:
        """Return the columns of records that follow each other.

        Parameters
        ----------
        records
            Their bytes.
        first
            Number of the first of them.
        previous
            Hash of the record before each.

        Returns
        -------
        list of Columns or None
            One for each layout; None where not every record is sound.
        """
        by_size: dict[int, list[int]] = {}
        for place, record in enumerate(records):
            by_size.setdefault(len(record), []).append(place)
        found = []
        for size, places in by_size.items():
            for some, rows in self._parts(records, np.array(places), size):
                columns = _sound(some, rows, first, previous)
                if columns is None:
                    return None
                found.append(columns)
        return found if sum(len(one.places) for one in found) == len(records) else None

    def _parts(
        self, records: Sequence[bytes], places: Ints, size: int
    ) -> Iterator[tuple[Ints, NDArray[Any]]]:
        """Yield the records of one size by layout; those that have none are left out."""
        known = self._known.setdefault(size, [])
        tried = 0
        while len(places) and tried < _LAYOUTS_MAX:
            if tried == len(known):
                layout = _layout(records[places[0]])
                if layout is None or layout in known:
                    return
                known.append(layout)
            rows, fits = read_rows(b"".join([records[i] for i in places]), known[tried])
            if fits.any():
                yield places[fits], rows[fits] if not fits.all() else rows
            places, tried = places[~fits], tried + 1


def _layout(record: bytes) -> Layout | None:
    try:
        shape = shape_of(LogRecord.decode(record))
    except RecordError:
        return None
    return None if shape is None else layout_of(shape)


def _sound(places: Ints, rows: NDArray[Any], first: int, previous: Sequence[bytes]) -> Columns | None:
    numbers = {name: rows[name].astype(np.int64) for name in NUMBERS}
    data_ids, weights = _data(rows)
    sound = (
        (numbers["seq"] == places + first).all()
        and rows["prev_hash"].tobytes() == b"".join([previous[i] for i in places])
        and (numbers["cached_tokens"] <= numbers["tokens_in"]).all()
        and (numbers["residual"] + weights.sum(axis=1) == WHOLE).all()
        and _in_order(data_ids, weights)
    )
    return Columns(places, rows, numbers, data_ids, weights) if sound else None


def _data(rows: NDArray[Any]) -> tuple[NDArray[np.uint64], Ints]:
    """Return ids and weights of the data that records name; weights of 0 where ids have another size."""
    packed = bytes_of(rows, "top_k")
    size = len(packed[0])
    count = size // ENTRY_BYTES
    if not count:
        return np.zeros((len(rows), 0), np.uint64), np.zeros((len(rows), 0), np.int64)
    entry = np.dtype([("id", ">u8"), ("weight", ">u4")])
    view = np.dtype([("size", "u1"), ("entries", entry, count)])
    data = np.frombuffer(b"".join(packed), view)
    plain = data["size"] == DATA_ID_BYTES
    entries = data["entries"]
    return entries["id"].astype(np.uint64), entries["weight"].astype(np.int64) * plain[:, None]


def _in_order(data_ids: NDArray[np.uint64], weights: Ints) -> bool:
    """Return whether data are named once each, larger weights first, equal ones by id, all from 1 to 10^9."""
    if not weights.size:
        return True
    falls = weights[:, :-1] > weights[:, 1:]
    level = (weights[:, :-1] == weights[:, 1:]) & (data_ids[:, :-1] < data_ids[:, 1:])
    alike = np.sort(data_ids, axis=1)
    twice = (alike[:, 1:] == alike[:, :-1]).any()
    return bool((falls | level).all() and not twice and weights.min() >= 1 and weights.max() <= WHOLE)
