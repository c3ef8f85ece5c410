"""Cluster: units of work on the workers of a dask cluster.

Rule decided here: every worker must hold the code and the packages of the machine that asks, and one that does not
is refused by its address; units come back as bytes, so no file system need be shared; a worker that dies is
replaced by another (draws are keyed, so a unit computed twice is the same), and a cluster that dies ends the
computation with everything kept that had come back. Sources: dask.distributed's Client and Futures API.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from models.errors import InputError
from sim.experiment.failures import WorkerLost
from sim.experiment.progress import Line, Reporter
from sim.results.origin import Origin, installation_difference

if TYPE_CHECKING:
    from distributed import Client, Future

CONNECT_S = 10.0
"""How long a scheduler may take to answer, and its first worker to be there."""

GONE_S = 30.0
"""How long a cluster may be without workers or a scheduler before it counts as dead."""

_POLL_S = 2.0

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Topic:
    """Sends lines of progress to whoever listens at the scheduler.

    Parameters
    ----------
    name
        Name of the topic.
    """

    name: str

    def __call__(self, line: Line) -> None:
        """Send a line; called inside a task of a worker."""
        from distributed import get_worker

        get_worker().log_event(self.name, line)


@dataclass(frozen=True, slots=True)
class Cluster:
    """The workers of a dask cluster as an executor (`sim.experiment.executors.Executor`).

    Parameters
    ----------
    client
        Connected client.
    backend
        Its address, as it was given.
    workers
        Threads of all workers when the computation began.
    """

    client: Client
    backend: str
    workers: int

    @property
    def remote(self) -> bool:
        """True: workers may be other machines."""
        return True

    def reporter(self, here: Reporter) -> Reporter:
        """Return a reporter whose lines come back over the scheduler to the reporter `here`."""
        topic = Topic(self.client.id)

        def pass_on(event: tuple[float, Any]) -> None:
            with suppress(OSError):  # progress is worth no failure; a full disk is noticed when a unit lands
                here.send(event[1])

        self.client.subscribe_topic(topic.name, pass_on)
        return Reporter(topic)

    def map(self, function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
        """Yield the results in the order in which they come; see `Executor.map`."""
        from distributed import CancelledError, wait

        pending = set(self.client.map(function, items, pure=False))
        seen = time.monotonic()
        try:
            while pending:
                done: set[Future] = set()
                try:
                    with suppress(TimeoutError), self.client.as_current():
                        done = wait(pending, timeout=_POLL_S, return_when="FIRST_COMPLETED").done
                except CancelledError:
                    raise WorkerLost(self._gone("its scheduler ended")) from None
                for future in done:
                    with suppress(_NotFetched):
                        result = self._result(future)
                        pending.remove(future)
                        yield result
                if self._alive():
                    seen = time.monotonic()
                elif time.monotonic() - seen > GONE_S:
                    raise WorkerLost(self._gone("no scheduler or no worker is left"))
        finally:
            with suppress(Exception):  # the scheduler may be gone
                self.client.sync(self.client._cancel, list(pending), force=True, callback_timeout=CONNECT_S)

    def _result(self, future: Future) -> Any:
        from distributed import CancelledError, KilledWorker
        from distributed.comm import CommClosedError

        try:
            return future.result(timeout=CONNECT_S)
        except TimeoutError:
            if future.status == "error":
                raise  # the unit's own
            # what was computed went with its worker: nobody may be left to compute it again
            raise _NotFetched from None
        except KilledWorker as error:
            raise WorkerLost(self._gone(f"workers were killed by {error.task}")) from None
        except (CancelledError, CommClosedError):
            raise WorkerLost(self._gone("its scheduler ended")) from None

    def _gone(self, why: str) -> str:
        return (
            f"{self.backend}: the cluster was lost ({why}); what has landed is kept: continue with --resume"
        )

    def _alive(self) -> bool:
        if self.client.status != "running":
            return False
        with suppress(TimeoutError, OSError):  # the scheduler may end while it is asked
            return bool(self.client.sync(self.client.scheduler.ncores, callback_timeout=CONNECT_S))
        return False


class _NotFetched(Exception):  # noqa: N818 - named after what happened
    """A result that was there has not come."""


@contextmanager
def connect(backend: str, origin: Origin) -> Iterator[Cluster]:
    """Connect to a cluster whose workers are what is asked for.

    Parameters
    ----------
    backend
        ``dask://HOST:PORT`` of its scheduler.
    origin
        What the units are to be computed by.

    Raises
    ------
    InputError
        If distributed is not installed, nobody answers, there is no worker, or a worker differs.
    """
    try:
        from distributed import Client
    except ModuleNotFoundError as error:
        raise InputError(
            f"--backend {backend} needs the package {error.name}: `make setup-all` installs it"
        ) from None
    address = f"tcp://{backend.partition('://')[2]}"
    _meet(backend, address)
    logging.getLogger("distributed.client").setLevel(
        logging.CRITICAL
    )  # what it would tell is said by `WorkerLost`
    with Client(address, timeout=CONNECT_S, set_as_default=False, name="olsim") as client:
        yield Cluster(client, backend, _checked_threads(client, backend, origin))


def _meet(backend: str, address: str) -> None:
    """Ask who answers at an address; distributed's own client waits for ever for a stranger who says nothing."""
    from distributed.core import rpc

    async def ask() -> str:
        async with rpc(address) as other:
            return str((await other.identity())["type"])

    async def ask_in_time() -> str:
        return await asyncio.wait_for(ask(), CONNECT_S)

    try:
        with ThreadPoolExecutor(1) as thread:  # whoever calls this may have an event loop of their own
            found = thread.submit(asyncio.run, ask_in_time()).result()
    except Exception as error:
        reason = " ".join(str(error).split()) or f"nothing within {CONNECT_S:.0f} s"
        raise InputError(
            f"--backend {backend}: no dask scheduler answers there ({reason}); nothing was computed"
        ) from None
    if found != "Scheduler":
        raise InputError(f"--backend {backend}: a dask {found.lower()} answers there; expected its scheduler")


def _checked_threads(client: Client, backend: str, origin: Origin) -> int:
    """Return how many threads the workers have, after comparing what each of them holds."""
    with suppress(TimeoutError):
        client.wait_for_workers(1, timeout=CONNECT_S)
    answers = client.run(installation_difference, origin, on_error="return")
    if not answers:
        raise InputError(f"--backend {backend}: the cluster has no worker; start one with `dask worker`")
    refused = [
        f"--backend {backend}: worker {address} is refused: {_said(answer)}"
        for address, answer in sorted(answers.items())
        if answer
    ]
    if refused:
        raise InputError(refused)
    return sum(client.nthreads().values())


def _said(answer: str | BaseException) -> str:
    if isinstance(answer, str):
        return answer
    return f"it cannot load this code ({type(answer).__name__}: {' '.join(str(answer).split())})"
