"""Arrays that were computed before, on disk.

Rule decided here: an array is known by the hash of everything that it was computed from, so that it is never stale; a
file that can not be read is computed anew.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reference_node.access.files import write_atomic


class Cache:
    """A folder of arrays.

    Parameters
    ----------
    folder
        Where, or None to keep nothing.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder

    def array(self, identity: Any, build: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        """Return the array that `identity` (JSON) stands for, mapped from its file where there is one.

        Parameters
        ----------
        identity
            All that the array depends on.
        build
            Computes it.
        """
        if self.folder is None:
            return build()
        text = json.dumps(identity, sort_keys=True, separators=(",", ":"))
        path = self.folder / f"{hashlib.sha256(text.encode()).hexdigest()}.npy"
        try:
            return np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError):
            made, buffer = build(), io.BytesIO()
            np.save(buffer, made, allow_pickle=False)
            write_atomic(path, buffer.getvalue())
            return made
