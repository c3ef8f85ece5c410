"""Failures of an experiment that are nobody's bad input, and the disk that is full.

Rule decided here: a broken check is a result (exit code 1, written into the manifest); a lost worker is an
accident after which the run can be continued; a full disk is said like bad input, by the name of the file, and
whatever had landed stays.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from models.errors import InputError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""No space on the device, no quota left, and the limit of a file's size."""


class CheckFailed(RuntimeError):  # noqa: N818 - named after what happened
    """A check stopped the run: an identity, a refused flow, or the chain's books."""


class WorkerLost(RuntimeError):  # noqa: N818 - named after what happened
    """A worker process died; what had landed is kept."""


class DiskFull(InputError):  # noqa: N818 - named after what happened
    """A file could not be written for want of room; what had landed is kept."""


@contextmanager
def disk_named(directory: Path) -> Iterator[None]:
    """Turn the system's "no room" into one message that names the file and the way on.

    Parameters
    ----------
    directory
        The run directory, named where the system does not say which file it was.

    Raises
    ------
    DiskFull
        If something could not be written for want of room.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise DiskFull(
            f"{error.filename or directory}: {error.strerror}; "
            "what has landed is kept: make room and continue with --resume"
        ) from None
