"""Progress: how far a run has come, readable by anybody while it computes.

Rule decided here: workers append JSON lines to ``progress.jsonl`` at most twice a second; whoever wants to
know reads the file. The first line of a computation says the whole weight, each unit's lines its last day. No
line says a date.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any

from sim.results.directory import PROGRESS

_INTERVAL_S = 0.5


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a computation has come.

    Parameters
    ----------
    fraction
        Part of the work that is done, 0 to 1.
    stage
        ``simulating``, ``assembling``, ``reporting`` or ``complete``.
    elapsed_s
        Seconds since the computation began, by the newest line.
    """

    fraction: float = 0.0
    stage: str = "simulating"
    elapsed_s: float = 0.0

    @property
    def remaining_s(self) -> float | None:
        """Estimated seconds until the simulation is done; None before anything is known."""
        if self.fraction <= 0:
            return None
        return self.elapsed_s * (1 - self.fraction) / self.fraction


@dataclass(slots=True)
class Reporter:
    """Writes one computation's lines; picklable, every process appends to the same file.

    Parameters
    ----------
    directory
        The run directory.
    began
        `time.monotonic` at the beginning; the clock is shared by all processes of a machine.
    last
        When this object last wrote a day.
    """

    directory: Path
    began: float
    last: float = 0.0

    def write(self, **line: Any) -> None:
        """Append a line; one write call, so lines of several processes never mix."""
        line["elapsed_s"] = round(time.monotonic() - self.began, 2)
        begins = "\n" if "total" in line else ""  # a killed writer may have left half a line
        descriptor = os.open(self.directory / PROGRESS, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(descriptor, f"{begins}{json.dumps(line)}\n".encode())
        finally:
            os.close(descriptor)

    def day(self, unit: str, weight: int, day: int, days: int) -> None:
        """Note that a unit has lived through `day` of `days`; days that follow too fast are skipped."""
        now = time.monotonic()
        if now - self.last >= _INTERVAL_S or day == days:
            self.last = now
            self.write(unit=unit, weight=weight, day=day, days=days)


def read_progress(directory: Path) -> Progress:
    """Return how far the newest computation in a run directory has come.

    Parameters
    ----------
    directory
        The run directory; without a progress file nothing is done yet.
    """
    path = directory / PROGRESS
    if not path.is_file():
        return Progress()
    total, stage, elapsed = 0, "simulating", 0.0
    done: dict[str, float] = {}
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            continue  # half a line of a writer that was killed
        elapsed = line.get("elapsed_s", elapsed)
        stage = line.get("stage", stage)
        if "total" in line:
            total, done = line["total"], {}
        if "unit" in line:
            done[line["unit"]] = line["weight"] * (line["day"] + 1) / (line["days"] + 1)
    fraction = 1.0 if stage == "complete" else sum(done.values()) / total if total else 0.0
    return Progress(min(fraction, 1.0), stage, elapsed)


@contextmanager
def watching(directory: Path, tell: Callable[[Progress], None]) -> Iterator[None]:
    """Call `tell` with the progress twice a second while the block runs, and once at its end."""
    stop = Event()

    def watch() -> None:
        while not stop.wait(_INTERVAL_S):
            tell(read_progress(directory))

    thread = Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        tell(read_progress(directory))
