"""What stands behind the interface: anything that turns a job into pieces of text, with the tokens behind them.

Rule: the interface resolves names, checks, meters and bills; a backend only generates, from content hashes. So the same
interface, log and registry stand in front of the node's own engine or of another server.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from reference_node.request import AdapterUse, Sampling

End = Literal["", "stop", "length", "cancelled", "error", "queue_wait", "wall_time"]


class BusyError(RuntimeError):
    """The backend's queue is full."""


class DeadError(RuntimeError):
    """The backend is not running any more, or cannot be reached."""


class UpstreamError(DeadError):
    """The backend is another server that is there and failed, or did something else than it was asked for."""


@dataclass(frozen=True, slots=True)
class Job:
    """One admitted request as a backend sees it.

    Parameters
    ----------
    id
        Unique, 32 hex digits.
    prompt
        Token ids.
    max_new_tokens, sampling, adapters, stop_tokens, tenant
        As in `reference_node.request.Request`.
    queue_wait_s, wall_s
        How long it may wait for its first step, and how long it may take in all.
    """

    id: str
    prompt: tuple[int, ...]
    max_new_tokens: int
    adapters: tuple[AdapterUse, ...]
    sampling: Sampling
    stop_tokens: frozenset[int]
    tenant: str
    queue_wait_s: float
    wall_s: float


@dataclass(frozen=True, slots=True)
class Piece:
    """What was generated since the last piece.

    Parameters
    ----------
    texts
        Newly certain text, one entry for each token, in order.
    tokens
        The ids, as many as `texts`.
    tail
        Text that was held back and belongs to the last token, when nothing follows.
    end
        Why nothing follows; empty while something does.
    cached_tokens
        Prompt tokens that came from a prefix cache.
    error
        What failed, with `end` "error".
    """

    texts: tuple[str, ...] = ()
    tokens: tuple[int, ...] = ()
    tail: str = ""
    end: End = ""
    cached_tokens: int = 0
    error: str = ""


class Pieces(Protocol):
    """The answer to a job while it is generated."""

    async def next(self) -> Piece:
        """Return the next piece; none may be asked for after one with an `end`."""

    def close(self) -> None:
        """Leave the answer: a job that still runs is cancelled and gives back what it held."""


class Backend(Protocol):
    """A generator of text behind the interface.

    Parameters
    ----------
    length_max, description
        The longest request it takes, and what people call it.
    remote
        Whether another server generates, so that a failed answer is that server's failure.
    """

    length_max: int
    description: str
    remote: bool

    async def start(self) -> None:
        """Begin to serve."""

    async def stop(self) -> None:
        """Finish what runs, then end."""

    async def submit(self, job: Job) -> Pieces:
        """Accept a job; from here on it is admitted and will be billed.

        Raises
        ------
        BusyError, DeadError, InputError
            When it is not accepted.
        """

    async def register(self, sha256: str, folder: Path) -> None:
        """Make an adapter known under its hash; known ones are left alone.

        Raises
        ------
        InputError
            When the folder no longer holds it.
        """

    async def forget(self, sha256: str) -> None:
        """Refuse an adapter for new jobs; running ones finish with it."""

    def failure(self) -> str:
        """Return why nothing can be generated now; empty while it can."""
