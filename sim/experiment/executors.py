"""Executors: where the units of an experiment are computed.

Rule decided here: an executor maps a function over items and yields results as they come; it decides nothing about
results. ``loky`` are processes of this machine, ``threading`` threads of this process (the kernels and numpy let
other threads run), ``dask://HOST:PORT`` the workers of a cluster. With one worker everything happens in this
process. Work that is over before processes have started goes to threads unless somebody says otherwise; the EVM of
a witness run is Python and would hold the others up, so such work goes to processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

from models.errors import InputError
from sim.experiment.failures import WorkerLost
from sim.experiment.progress import Reporter

if TYPE_CHECKING:
    from sim.results.origin import Origin

AUTO, LOKY, THREADING = "auto", "loky", "threading"
SCHEME = "dask://"
FORM = f"{AUTO}, {LOKY}, {THREADING} or {SCHEME}HOST:PORT"

SHORT = 50_000_000
"""Agent-days for each worker below which threads are done before processes have started."""

Item = TypeVar("Item")
Result = TypeVar("Result")


class Executor(Protocol):
    """Computes functions of items, several at once.

    Parameters
    ----------
    workers
        How many at once.
    remote
        Whether they are computed where the run directory may not be seen.
    """

    @property
    def workers(self) -> int:
        """How many items are computed at once."""

    @property
    def remote(self) -> bool:
        """Whether they are computed where this machine's files may not be seen."""

    def reporter(self, here: Reporter) -> Reporter:
        """Return what units tell their progress to, so that it reaches the reporter `here`."""

    def map(self, function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
        """Yield the results in the order in which they come.

        Raises
        ------
        WorkerLost
            If workers died; other errors are the function's.
        """


@dataclass(frozen=True, slots=True)
class Local:
    """Processes or threads of this machine.

    Parameters
    ----------
    workers
        How many.
    kind
        `LOKY` or `THREADING`.
    """

    workers: int
    kind: str = LOKY

    @property
    def remote(self) -> bool:
        """False: this machine's files are seen."""
        return False

    def reporter(self, here: Reporter) -> Reporter:
        """Return the reporter itself."""
        return here

    def map(self, function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
        """Yield the results in the order in which they come; see `Executor.map`."""
        if self.workers == 1 or len(items) == 1:
            yield from map(function, items)
            return
        from joblib import Parallel, delayed
        from joblib.externals.loky.process_executor import BrokenProcessPool

        pool = Parallel(n_jobs=self.workers, backend=self.kind, batch_size=1, return_as="generator_unordered")
        try:
            yield from pool(delayed(function)(item) for item in items)
        except BrokenProcessPool as error:
            raise WorkerLost(f"a worker process was killed ({error}); continue with --resume") from None


def check_backend(backend: str) -> None:
    """Refuse a backend that cannot be meant, before anything is read.

    Raises
    ------
    InputError
        If it is none of `FORM`.
    """
    if backend in (AUTO, LOKY, THREADING):
        return
    host, _, port = backend.removeprefix(SCHEME).rpartition(":")
    if not backend.startswith(SCHEME) or not host or "/" in host or not port.isdecimal():
        raise InputError(f"--backend {backend}: expected {FORM}")
    if not 0 < int(port) < 2**16:
        raise InputError(f"--backend {backend}: port {port} is out of range; allowed 1 to 65535")


@contextmanager
def open_executor(backend: str, workers: int, brief: bool, origin: Origin) -> Iterator[Executor]:
    """Open an executor; a cluster is reached and its workers are checked before the block begins.

    Parameters
    ----------
    backend
        One of `FORM`.
    workers
        Processes or threads of this machine; a cluster has its own.
    brief
        Whether threads are the better choice where nobody chose.
    origin
        What the units are to be computed by.

    Raises
    ------
    InputError
        If the cluster cannot be reached or would compute something else.
    """
    check_backend(backend)
    if backend.startswith(SCHEME):
        from sim.experiment.cluster import connect

        with connect(backend, origin) as cluster:
            yield cluster
        return
    if backend == AUTO:
        backend = THREADING if brief else LOKY
    yield Local(workers, backend)
