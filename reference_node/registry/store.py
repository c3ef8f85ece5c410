"""How the registry's bytes lie on disk, so that a crash at any moment leaves what was there before.

Every object is a folder `blobs/<hash>`, written beside and moved into place in one step; the index is one file that
is replaced in one step, after the objects it names. What a crash leaves half written lies in `tmp/`, or in `blobs/`
without being named by the index; both are cleaned when the registry is opened for writing.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from models.errors import InputError, Problem

INDEX_FILE, LOCK_FILE = "index.json", "lock"


class Store:
    """The folder of a registry.

    Parameters
    ----------
    root
        The folder; made when missing and `writable`.
    writable
        Take the lock of the folder: one process writes at a time. A reader needs none.

    Raises
    ------
    InputError
        When the folder cannot be used, or another process writes there.
    """

    def __init__(self, root: Path, *, writable: bool = True) -> None:
        self.root = root
        self.blobs, self.tmp, self.index_path = root / "blobs", root / "tmp", root / INDEX_FILE
        self._lock: BinaryIO | None = None
        if not writable:
            return
        try:
            for folder in (self.blobs, self.tmp):
                folder.mkdir(parents=True, exist_ok=True)
            self._lock = (root / LOCK_FILE).open("ab")
        except OSError as error:
            raise InputError(
                [Problem(f"cannot be used as a registry: {error.strerror}", where=str(root))]
            ) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self.close()
            message = "another process writes to this registry; ask that node, or stop it first"
            raise InputError([Problem(message, where=str(root))]) from error

    @property
    def writable(self) -> bool:
        """Whether this process may write: it opened the folder for writing and has not closed it."""
        return self._lock is not None

    def check_writable(self) -> None:
        """Raise `InputError` unless this process may write."""
        if not self.writable:
            raise InputError(
                [Problem("the registry is closed, or open for reading only", where=str(self.root))]
            )

    def close(self) -> None:
        """Give the lock back."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def folder(self, sha256: str) -> Path:
        """Return the folder of an object."""
        return self.blobs / sha256

    def names(self) -> set[str]:
        """Return the hashes of all objects on disk."""
        if not self.blobs.is_dir():
            return set()
        return {path.name for path in self.blobs.iterdir() if path.is_dir()}

    def size(self, sha256: str) -> int:
        """Return the bytes of an object's files."""
        return sum(path.stat().st_size for path in self.folder(sha256).iterdir())

    def put(self, sha256: str, files: Mapping[str, bytes]) -> None:
        """Write an object, unless it is there unharmed; it appears with all its files or not at all."""
        self.check_writable()
        target = self.folder(sha256)
        if target.is_dir():
            if _holds(target, files):
                return
            self.erase(self.discard(sha256))
        draft = self.tmp / uuid.uuid4().hex
        try:
            draft.mkdir()
            for name, data in files.items():
                _write_through(draft / name, data)
            _sync_folder(draft)
            os.replace(draft, target)  # noqa: PTH105 (one name for both moves, of folder and file)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
        _sync_folder(self.blobs)

    def discard(self, sha256: str) -> Path:
        """Take an object out of sight in one step; return where its bytes wait for `erase`."""
        trash = self.tmp / uuid.uuid4().hex
        with contextlib.suppress(FileNotFoundError):
            os.replace(self.folder(sha256), trash)  # noqa: PTH105
        return trash

    def erase(self, trash: Path) -> None:
        """Remove the bytes of a discarded object."""
        shutil.rmtree(trash, ignore_errors=True)

    def write_index(self, data: bytes) -> None:
        """Replace the index in one step.

        Raises
        ------
        InputError
            When this process may not write.
        """
        self.check_writable()
        draft = self.tmp / uuid.uuid4().hex
        try:
            _write_through(draft, data)
            os.replace(draft, self.index_path)  # noqa: PTH105
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
        _sync_folder(self.root)

    def clean(self, keep: set[str]) -> list[str]:
        """Remove drafts and the objects that are not to be kept; return the hashes of the latter."""
        for path in self.tmp.iterdir():
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        orphans = sorted(self.names() - keep)
        for sha256 in orphans:
            self.erase(self.discard(sha256))
        return orphans


def _holds(folder: Path, files: Mapping[str, bytes]) -> bool:
    paths = {name: folder / name for name in files}
    if any(not path.is_file() or path.stat().st_size != len(files[name]) for name, path in paths.items()):
        return False
    return all(path.read_bytes() == files[name] for name, path in paths.items())


def _write_through(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    """Make names in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
