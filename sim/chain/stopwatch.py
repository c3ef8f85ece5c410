"""Stopwatch: how long a witness run works on its chains, apart from the simulation beside them.

Rule decided here: everything counts that is done for the chains: executing, planning what to execute, reading and
comparing. Work inside work counts once.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from models.governance import Timetable
    from sim.governance_gateway import (
        Ballot,
        Electorate,
        GovernanceGateway,
        Outcome,
        ParameterSet,
        Submission,
    )


class Stopwatch:
    """Time of the blocks that run under `running`: on the wall, and of the processor, seconds each."""

    def __init__(self) -> None:
        self.wall_s = 0.0
        self.processor_s = 0.0
        self._depth = 0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count the time of a block."""
        wall, processor = time.perf_counter(), time.thread_time()
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            if not self._depth:
                self.wall_s += time.perf_counter() - wall
                self.processor_s += time.thread_time() - processor


class TimedGateway:
    """A governor whose work is counted (satisfies `sim.governance_gateway.GovernanceGateway`).

    Parameters
    ----------
    gateway
        Decides.
    watch
        Counts.
    """

    def __init__(self, gateway: GovernanceGateway, watch: Stopwatch) -> None:
        self._gateway, self._watch = gateway, watch

    def propose(self, submission: Submission, timestamp: int) -> Timetable | None:
        """Submit a proposal; None where the proposer has too few votes."""
        with self._watch.running():
            return self._gateway.propose(submission, timestamp)

    def snapshot(self, key: int, timestamp: int, electorate: Electorate) -> None:
        """Hold votes and supply as the electorate says, up to and including `timestamp`."""
        with self._watch.running():
            self._gateway.snapshot(key, timestamp, electorate)

    def cast(self, key: int, timestamp: int, ballots: tuple[Ballot, ...]) -> None:
        """Cast the ballots that have a support."""
        with self._watch.running():
            self._gateway.cast(key, timestamp, ballots)

    def close(self, key: int, timestamp: int) -> Outcome:
        """Count after the deadline."""
        with self._watch.running():
            return self._gateway.close(key, timestamp)

    def queue(self, key: int, timestamp: int, timelock: int) -> int:
        """Queue a succeeded proposal and return the second from which it can execute."""
        with self._watch.running():
            return self._gateway.queue(key, timestamp, timelock)

    def execute(self, key: int, timestamp: int) -> tuple[ParameterSet, ...]:
        """Execute a queued proposal and return what it set."""
        with self._watch.running():
            return self._gateway.execute(key, timestamp)
