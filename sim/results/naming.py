"""Naming: a file that cannot be written is named in the error.

Rule decided here: the system says that there is no room, not where; a library says it as text. Both become an
`OSError` with the system's number and the path that a person knows.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let a system error inside the block name `path`.

    Parameters
    ----------
    path
        What is being written, by its final name.

    Raises
    ------
    OSError
        With number, text and path of what went wrong.
    """
    try:
        yield
    except Exception as error:
        number = error.errno if isinstance(error, OSError) else None
        if number is None:
            said = re.search(r"\(os error (\d+)\)", str(error))
            number = int(said[1]) if said else None
        if number is None:
            raise
        raise OSError(number, os.strerror(number), str(path)) from error
