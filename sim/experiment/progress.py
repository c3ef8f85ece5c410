"""Progress: how far a run has come, readable by anybody while it computes.

Rule decided here: units append JSON lines to ``progress.jsonl`` at most twice a second; whoever wants to know
reads the file. The first line of a computation says the whole weight, each unit's lines its last day. No line
says a date. A unit that cannot see the file gives its lines to somebody who can.
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
from sim.results.naming import naming

_INTERVAL_S = 0.5

Line = dict[str, Any]


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
    notes
        What a person must hear about: shards that were set aside.
    """

    fraction: float = 0.0
    stage: str = "simulating"
    elapsed_s: float = 0.0
    notes: tuple[str, ...] = ()

    @property
    def remaining_s(self) -> float | None:
        """Estimated seconds until the simulation is done; None before anything is known."""
        if self.fraction <= 0:
            return None
        return self.elapsed_s * (1 - self.fraction) / self.fraction


@dataclass(frozen=True, slots=True)
class ProgressFile:
    """Appends lines to a run directory's progress file; picklable, every process of the machine may.

    Parameters
    ----------
    directory
        The run directory.
    began
        `time.monotonic` at the beginning; the clock is shared by all processes of a machine.
    """

    directory: Path
    began: float

    def __call__(self, line: Line) -> None:
        """Append a line; one write call, so lines of several processes never mix."""
        line = {**line, "elapsed_s": round(time.monotonic() - self.began, 2)}
        begins = "\n" if "total" in line else ""  # a killed writer may have left half a line
        path = self.directory / PROGRESS
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            with naming(path):
                os.write(descriptor, f"{begins}{json.dumps(line)}\n".encode())
        finally:
            os.close(descriptor)


@dataclass(slots=True)
class Reporter:
    """Tells one computation's progress.

    Parameters
    ----------
    send
        Takes a line; picklable.
    owner
        Process that holds the directory's lock and with which its children end; 0 where they are nobody's.
    last
        When this object last told a day.
    stopped
        Whether the computation has ended without its units: one that shares this object ends too.
    """

    send: Callable[[Line], None]
    owner: int = 0
    last: float = 0.0
    stopped: bool = False

    def write(self, **line: Any) -> None:
        """Tell a line."""
        self.send(line)

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
    notes: list[str] = []
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            continue  # half a line of a writer that was killed
        elapsed = line.get("elapsed_s", elapsed)
        stage = line.get("stage", stage)
        if "total" in line:
            total, done, notes = line["total"], {}, line.get("notes", [])
        if "unit" in line:
            done[line["unit"]] = line["weight"] * (line["day"] + 1) / (line["days"] + 1)
    fraction = 1.0 if stage == "complete" else sum(done.values()) / total if total else 0.0
    return Progress(min(fraction, 1.0), stage, elapsed, tuple(notes))


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
