"""Lock: one writer per run directory.

Rule decided here: the writer holds a kernel lock on the file ``lock``, which names its process. The kernel
drops the lock with the process, so the file of a writer that was killed is taken over, and a process number
that the system has given to somebody else since then blocks nobody.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from models.errors import InputError

LOCK_FILE = "lock"


@contextmanager
def writing(directory: Path) -> Iterator[None]:
    """Hold the directory's lock while the block runs; the file is removed afterwards.

    Parameters
    ----------
    directory
        An existing run directory.

    Raises
    ------
    InputError
        If another process is writing there.
    """
    path = directory / LOCK_FILE
    descriptor = _acquire(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _acquire(path: Path) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(descriptor, 32).decode(errors="replace").strip()
            os.close(descriptor)
            raise InputError(
                f"{path.parent}: process {holder or 'unknown'} is writing this run directory; "
                "wait for it or choose another --out"
            ) from None
        if _still_there(path, descriptor):
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"{os.getpid()}\n".encode())
            return descriptor
        os.close(descriptor)


def _still_there(path: Path, descriptor: int) -> bool:
    """Whether the locked file is the one under its name: its last holder may have removed it meanwhile."""
    try:
        return path.stat().st_ino == os.fstat(descriptor).st_ino
    except FileNotFoundError:
        return False
