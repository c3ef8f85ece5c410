"""Segments: append-only files of records that show what a crash or a hand did to them.

Rules decided here. A record is framed by its length and its CRC-32 (4 bytes each, big-endian) and written in one
call. A segment is named after the first record it holds, so a missing one is noticed. Only the last frame of the
last segment can be torn by a crash: it is shorter than one frame, no whole frame follows in it, and no single flipped
bit explains it. Such a tail is cut and reported, its bytes kept beside the log; anything else that does not read is
damage, refused with its position (the byte, where one bit was flipped), never repaired.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from models.errors import InputError, Problem
from reference_node.access.files import sync_folder, write_atomic
from reference_node.billing.flips import HEADER, flipped_byte

RECORD_BYTES_MAX = 1 << 16
SEGMENT_BYTES = 64 << 20

_SUFFIX = ".seg"
_AT_ONCE = 256


class Position(NamedTuple):
    """Where a frame begins: segment file and byte offset."""

    path: Path
    offset: int

    def __str__(self) -> str:
        """Return ``segment:offset``."""
        return f"{self.path}:{self.offset}"


@dataclass(frozen=True, slots=True)
class TornTail:
    """The incomplete last frame that a crash left.

    Parameters
    ----------
    position
        Where it begins.
    data
        Its bytes.
    """

    position: Position
    data: bytes

    def __str__(self) -> str:
        """Return what a person should know of it."""
        return f"{self.position}: {len(self.data)} bytes of a record that a crash left incomplete"


def damaged(position: Position, field: str, message: str) -> InputError:
    """Return the error for a log that is not what was written."""
    return InputError([Problem(message, field, str(position))])


def segment_files(folder: Path) -> list[Path]:
    """Return the segments of a log, in order."""
    return sorted(folder.glob(f"*{_SUFFIX}"))


class SegmentScan:
    """All frames of a log, in order, as (position, payload).

    Parameters
    ----------
    folder
        The log's folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.torn: TornTail | None = None

    def __iter__(self) -> Iterator[tuple[Position, bytes]]:
        """Yield frames; a torn tail ends the iteration and is then in `torn`.

        Raises
        ------
        InputError
            Where a segment is missing or a frame is damaged.
        """
        files, count = segment_files(self.folder), 0
        for path in files:
            check_name(path, count)
            data, offset = path.read_bytes(), 0
            while payloads := whole_frames(data, offset, _AT_ONCE):
                for payload in payloads:
                    yield Position(path, offset), payload
                    offset += HEADER.size + len(payload)
                count += len(payloads)
            self.torn = torn_tail(Position(path, offset), data, is_last=path is files[-1])


def first_record(path: Path) -> int:
    """Return the number that a segment is named after; 0 where its name is none."""
    return int(path.stem) if path.stem.isdecimal() else 0


def check_name(path: Path, count: int) -> None:
    """Refuse a segment that is not named after the number of records before it.

    Raises
    ------
    InputError
        If it is not.
    """
    if path.name != _name(count):
        message = f"expected {_name(count)}: a segment is missing, misnamed or lacks records"
        raise damaged(Position(path, 0), "segment", message)


def whole_frames(data: bytes, offset: int, most: int) -> list[bytes]:
    """Return the payloads of the whole and sound frames from `offset` on, at most so many."""
    payloads: list[bytes] = []
    while len(payloads) < most:
        payload = _frame(data, offset)
        if payload is None:
            break
        payloads.append(payload)
        offset += HEADER.size + len(payload)
    return payloads


def last_payload(path: Path) -> bytes:
    """Return the last payload of a segment, found by the lengths of its frames alone; b"" where there is none."""
    data, offset, last = path.read_bytes(), 0, b""
    while offset + HEADER.size <= len(data):
        size, _ = HEADER.unpack_from(data, offset)
        last = data[offset + HEADER.size : offset + HEADER.size + size]
        offset += HEADER.size + size
    return last


def torn_tail(position: Position, data: bytes, *, is_last: bool) -> TornTail | None:
    """Return what a crash left behind the last whole frame of a segment, None where nothing is left.

    Parameters
    ----------
    position
        Where the last whole frame ends.
    data
        The segment.
    is_last
        Whether it is the last one of its log.

    Raises
    ------
    InputError
        If no crash can have left it, with the byte where one flipped bit explains it.
    """
    path, offset = position
    if offset == len(data):
        return None
    flipped = flipped_byte(data, offset, RECORD_BYTES_MAX)
    if flipped is not None:
        message = f"a bit of this byte was flipped, in the frame that begins at {offset}"
        raise damaged(Position(path, flipped), "frame", message)
    tail = data[offset:]
    if not (is_last and _is_torn(tail)):
        raise damaged(position, "frame", "length or checksum is wrong: the log was damaged here")
    return TornTail(position, tail)


class SegmentWriter:
    """Appends frames; the caller holds a lock.

    Parameters
    ----------
    folder
        The log's folder.
    count
        Records that it holds.
    torn
        Tail to cut before anything is appended.
    segment_bytes
        Size after which a new segment begins.
    """

    def __init__(
        self, folder: Path, count: int, torn: TornTail | None, segment_bytes: int = SEGMENT_BYTES
    ) -> None:
        self._folder, self._limit, self._count = folder, segment_bytes, count
        if torn is not None:
            _cut(torn)
        files = segment_files(folder)
        self._descriptor = -1
        self._open(files[-1] if files else folder / _name(0))

    @property
    def path(self) -> Path:
        """Segment that the next frame goes to."""
        return self._path

    def rotate(self) -> None:
        """Begin a new segment if the present one is full."""
        if self._size >= self._limit:
            self.sync()
            os.close(self._descriptor)
            self._open(self._folder / _name(self._count))

    def append(self, payloads: Sequence[bytes]) -> None:
        """Write frames in one call, all or none, and hand them to the operating system.

        Raises
        ------
        OSError
            If the disk refuses them; the segment is then as it was.
        """
        frames = b"".join([HEADER.pack(len(one), zlib.crc32(one)) + one for one in payloads])
        assert all(0 < len(one) <= RECORD_BYTES_MAX for one in payloads)
        try:
            written = os.write(self._descriptor, frames)
            if written != len(frames):
                place = Position(self._path, self._size)
                raise OSError(f"{place}: {written} of {len(frames)} bytes were written; is the disk full?")
        except OSError:
            os.ftruncate(self._descriptor, self._size)
            raise
        self._size += len(frames)
        self._count += len(payloads)

    def sync(self) -> None:
        """Put everything on the disk."""
        os.fsync(self._descriptor)

    def close(self) -> None:
        """Put everything on the disk and close the segment."""
        self.sync()
        os.close(self._descriptor)

    def _open(self, path: Path) -> None:
        self._path = path
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._size = os.fstat(self._descriptor).st_size
        sync_folder(self._folder)


def _name(first: int) -> str:
    return f"{first:012d}{_SUFFIX}"


def _frame(data: bytes, offset: int) -> bytes | None:
    """Return the payload of the frame at `offset`, or None where there is no whole and sound one."""
    begin = offset + HEADER.size
    if begin > len(data):
        return None
    size, checksum = HEADER.unpack_from(data, offset)
    payload = data[begin : begin + size]
    sound = 0 < size <= RECORD_BYTES_MAX and len(payload) == size and zlib.crc32(payload) == checksum
    return payload if sound else None


def _is_torn(tail: bytes) -> bool:
    """Whether a crash in the middle of one write can have left this."""
    if len(tail) > HEADER.size + RECORD_BYTES_MAX:
        return False
    return all(_frame(tail, start) is None for start in range(1, len(tail)))


def _cut(torn: TornTail) -> None:
    path, offset = torn.position.path, torn.position.offset
    write_atomic(path.with_name(f"torn-{path.stem}-{offset}.bin"), torn.data)
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.ftruncate(descriptor, offset)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
