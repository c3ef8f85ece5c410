"""Audit of a whole log: its segments checked side by side, and what only all of them together show.

Rules decided here. Segments are checked each by itself, in several processes where that is asked for, and their results
are put together in order, so the result never depends on who checked what. The first fault in the order of the records
is the one that is told: a segment that is missing, a request that was billed before, or what the segment's own audit
found.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from models.errors import InputError, Problem
from reference_node.billing.flips import HEADER
from reference_node.billing.reading import billed_before
from reference_node.billing.segment_audit import Segment, SegmentSums, audit_segment
from reference_node.billing.segments import Position, check_name, segment_files, whole_frames
from reference_node.billing.subtrees import Subtrees

ID_BYTES = 16
_ODD = 0x9E3779B97F4A7C15


def audit_log(folder: Path, processes: int) -> SegmentSums:
    """Check a log and return the sums over all of it.

    Parameters
    ----------
    folder
        The log's folder.
    processes
        How many check segments side by side, at least 1.

    Raises
    ------
    InputError
        With the first fault.
    """
    if processes < 1:
        raise InputError(f"{processes} processes cannot check a log; at least 1")
    if not folder.is_dir():
        raise InputError([Problem("there is no such log folder", where=str(folder))])
    files = segment_files(folder)
    segments = [
        Segment(path, before, path is files[-1])
        for path, before in zip(files, [None, *files[:-1]], strict=True)
    ]
    whole, parts, fault = SegmentSums(folder, Subtrees()), list[SegmentSums](), None
    with _audited(segments, processes) as results:
        for part in results:
            fault = _misnamed(part.path, whole.records) or part.fault
            if fault is None or fault is part.fault:
                parts.append(part)
                whole.ids += part.ids
            if fault is not None:
                break
            _add(whole, part)
    again = first_repeated(whole.ids)
    if again is not None:
        raise billed_before(_position(parts, again), bytes(whole.ids[ID_BYTES * again :][:ID_BYTES]))
    if fault is not None:
        raise InputError([fault])
    return whole


def first_repeated(ids: bytes | bytearray) -> int | None:
    """Return the number of the first id that an earlier one equals, None where all differ.

    Parameters
    ----------
    ids
        Ids of 16 bytes, one behind the other.

    Examples
    --------
    >>> first_repeated(bytes(16) + bytes(range(16)) + bytes(16))
    2
    """
    halves = np.frombuffer(ids, np.uint64).reshape(-1, 2)
    mixed = np.sort(halves[:, 0] * np.uint64(_ODD) + halves[:, 1])
    if not (mixed[1:] == mixed[:-1]).any():
        return None
    seen = set[bytes]()
    for number, start in enumerate(range(0, len(ids), ID_BYTES)):
        one = bytes(ids[start : start + ID_BYTES])
        if one in seen:
            return number
        seen.add(one)
    return None


@contextmanager
def _audited(segments: Sequence[Segment], processes: int) -> Iterator[Iterator[SegmentSums]]:
    """Give the results of all segments, in order, as they come."""
    if min(processes, len(segments)) < 2:
        yield map(audit_segment, segments)
        return
    # fresh processes: what a fork takes along of another thread's locks cannot be known
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(processes, len(segments)), context)
    try:
        yield pool.map(audit_segment, segments)
    finally:
        pool.shutdown(cancel_futures=True)


def _misnamed(path: Path, count: int) -> Problem | None:
    try:
        check_name(path, count)
    except InputError as error:
        return error.problems[0]
    return None


def _add(whole: SegmentSums, part: SegmentSums) -> None:
    whole.tree.follow(part.tree)
    whole.records += part.records
    whole.fee += part.fee
    whole.without_operations += part.without_operations
    whole.torn = part.torn
    for sums, more in ((whole.counts, part.counts), (whole.parts, part.parts)):
        for name, number in more.items():
            sums[name] += number


def _position(parts: Sequence[SegmentSums], number: int) -> Position:
    """Return where a record begins."""
    for part in parts:
        count = len(part.ids) // ID_BYTES
        if number < count:
            before = whole_frames(part.path.read_bytes(), 0, number)
            return Position(part.path, sum(map(len, before)) + HEADER.size * len(before))
        number -= count
    raise IndexError(f"there is no record {number} behind the last one")
