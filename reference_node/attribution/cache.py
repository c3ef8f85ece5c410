"""Arrays that were computed before, on disk.

Rule decided here: an array is known by the hash of everything that it was computed from, so that it is never stale; a
file that can not be read is computed anew.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reference_node.access.files import write_atomic


class Cache:
    """Folders of arrays.

    Parameters
    ----------
    folder
        Where new arrays are kept, or None to keep nothing.
    shipped
        Another folder that is only read.
    """

    def __init__(self, folder: Path | None = None, shipped: Path | None = None) -> None:
        self.folder, self.shipped = folder, shipped

    def array(self, identity: Any, build: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        """Return the array that `identity` (JSON) stands for, mapped from its file where there is one.

        Parameters
        ----------
        identity
            All that the array depends on.
        build
            Computes it.
        """
        if self.folder is None and self.shipped is None:
            return build()
        text = json.dumps(identity, sort_keys=True, separators=(",", ":"))
        name = f"{hashlib.sha256(text.encode()).hexdigest()}.npy"
        for folder in (self.shipped, self.folder):
            if folder is not None:
                with suppress(OSError, ValueError, EOFError):
                    return np.load(folder / name, mmap_mode="r", allow_pickle=False)
        made = build()
        if self.folder is not None:
            buffer = io.BytesIO()
            np.save(buffer, made, allow_pickle=False)
            write_atomic(self.folder / name, buffer.getvalue())
        return made
