"""Memory: how much of this machine's a unit of work may take.

Rule decided here: half of what is available is shared by the units that are computed at once. Where the system does
not say what is available nothing is limited by it.
"""

from __future__ import annotations

import sys
from pathlib import Path

MEMINFO = Path("/proc/meminfo")


def memory_share(workers: int, meminfo: Path = MEMINFO) -> int:
    """Return the bytes that each of `workers` units may take.

    Parameters
    ----------
    workers
        Units that are computed at once.
    meminfo
        The system's list of memory figures, in kB.
    """
    try:
        lines = meminfo.read_text(encoding="utf-8").splitlines()
        available = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return sys.maxsize
    return available * 1024 // 2 // workers
