"""The parts of one node and the ledger of its open requests.

Rules: a request is settled exactly once: one record in the log, one bill, its quota given back, its metrics counted, in
that order and whatever ended it. A record is on the disk a second later, or when the node leaves. A node that cannot
write its log serves nothing more. An adapter that is deleted serves the requests that hold it, and leaves with the last
of them. A node that is shutting down takes nothing new and leaves only when every request is settled.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from reference_node.access import ApiKey, KeyStore, Quota, QuotaLedger
from reference_node.billing import Bill, BillingLog
from reference_node.registry import Registry, Resolved
from reference_node.serve.backend import Backend, DeadError
from reference_node.serve.bills import KeptBill, RecentBills
from reference_node.serve.errors import ApiError
from reference_node.serve.limits import Limits
from reference_node.serve.metrics import Metrics
from reference_node.serve.ticket import Ticket
from reference_node.tokenizer import TextCodec

if TYPE_CHECKING:
    from reference_node.serve.attribution import AttributionDesk

T = TypeVar("T")
logger = logging.getLogger(__name__)
UPLOADS_AT_ONCE = 2  # an upload is held in memory while it is checked
SYNC_S = 1.0  # after which a record is on the disk, whether or not others follow
RETRY_S = 1.0  # advice when the house is full: nobody knows when a place becomes free
LOCAL_KEY = ApiKey("0" * 16, "local", "local", ("admin",), Quota(None, None, None, None), 0)


class LogError(RuntimeError):
    """The billing log cannot be written."""


@dataclass(slots=True, repr=False, eq=False)
class Node:
    """What the routes work with.

    Parameters
    ----------
    backend, codec, registry, log, quotas, metrics
        The parts.
    keys
        None serves everybody as the tenant "local".
    limits
        Bounds of the interface.
    base_sha256
        Identity of base model and tokenizer.
    epochs
        Folder of settlement files.
    bills
        The newest bills of the log.
    attribution
        Says whose data answers rest on; None pays by the manifests' shares.
    """

    backend: Backend
    codec: TextCodec
    registry: Registry
    log: BillingLog
    quotas: QuotaLedger
    metrics: Metrics
    keys: KeyStore | None
    limits: Limits
    base_sha256: str
    epochs: Path
    bills: RecentBills
    attribution: AttributionDesk | None = None
    draining: bool = False
    failure: str = ""
    open_requests: int = 0
    uploading: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(UPLOADS_AT_ONCE))
    started: int = field(default_factory=lambda: int(time.time()))
    _tasks: set[asyncio.Task[Any]] = field(default_factory=set)
    _holds: Counter[str] = field(default_factory=Counter)
    _doomed: set[str] = field(default_factory=set)
    _leaving: asyncio.Event = field(default_factory=asyncio.Event)
    _syncing: asyncio.Task[None] | None = None
    _loop: asyncio.AbstractEventLoop = field(init=False)

    async def start(self) -> None:
        """Start the backend."""
        self._loop = asyncio.get_running_loop()
        self.registry.on_delete = self._deleted
        await self.backend.start()
        self._syncing = asyncio.create_task(self._keep_synced())

    async def stop(self) -> None:
        """Finish what is open, settle it, and close the files."""
        self.draining = True
        await self.backend.stop()
        while self._tasks:
            await asyncio.wait(self._tasks)
        self._leaving.set()
        if self._syncing is not None:
            await self._syncing
        if self.attribution is not None:
            self.attribution.close()
        self.log.close()
        self.registry.close()

    def check_serving(self) -> None:
        """Refuse when the node takes no requests.

        Raises
        ------
        ApiError
            503 when it is failed or shutting down.
        """
        failure = self.failure or self.backend.failure()
        if failure:
            raise ApiError(503, f"the node does not serve: {failure}", code="engine_dead", retry_after_s=30)
        if self.draining:
            raise ApiError(503, "the node is shutting down", code="draining", retry_after_s=RETRY_S)

    def check_room(self) -> None:
        """Refuse when as many requests are open as allowed.

        Raises
        ------
        ApiError
            429.
        """
        if self.open_requests >= self.limits.streams:
            message = f"{self.open_requests} requests are open, the most that this node serves at once"
            raise ApiError(429, message, code="requests_open", retry_after_s=RETRY_S)

    def hold(self, model: str) -> Resolved:
        """Return what a model name means now; its adapter stays until `let_go`.

        Raises
        ------
        UnknownModelError
            When it means nothing.
        """
        found = self.registry.hold(model)
        if found.sha256 is not None:
            self._holds[found.sha256] += 1
            self._doomed.discard(found.sha256)
        return found

    def let_go(self, hashes: Sequence[str]) -> None:
        """End holds; an adapter that was deleted meanwhile leaves backend and disk with its last one."""
        for sha256 in hashes:
            self._holds[sha256] -= 1
            self._keep(self._let_go(sha256))

    def opened(self) -> None:
        """Count a request in."""
        self.open_requests += 1
        self.metrics.open_requests.set(self.open_requests)

    def closed(self, ticket: Ticket, used: int) -> None:
        """Count a request out; its quota gets back what was set aside beyond `used` tokens."""
        self.open_requests -= 1
        self.metrics.open_requests.set(self.open_requests)
        self.quotas.release(ticket.reservation, used)
        self.let_go(ticket.hashes)

    def settle(self, ticket: Ticket) -> asyncio.Task[Bill]:
        """Write the record and the bill of a request that has ended; runs to its end whoever waits for it."""
        return self._keep(self._settle(ticket))

    async def _settle(self, ticket: Ticket) -> Bill:
        used, served = len(ticket.billed_prompt) + len(ticket.tokens), ticket.served()
        try:
            if self.attribution is not None:
                served = await self.attribution.look(served)
            bill = await asyncio.to_thread(self.log.append, served)
        except Exception as error:
            self._log_failed(error)
            logger.exception("request %s is not in the log", ticket.job.id)
            raise LogError(self.failure) from error
        finally:
            self.closed(ticket, used)
        self.bills.add(KeptBill(ticket.key.tenant, ticket.key.id, served.ts, bill))
        self.metrics.settled(ticket.hashes, ticket.finish, bill)
        self.metrics.timed(ticket.submitted_s, ticket.token_times_s)
        return bill

    async def _keep_synced(self) -> None:
        """Put records on the disk every second, and once more when the node leaves."""
        synced, left = self.log.size, False
        while not left:
            with suppress(TimeoutError):
                left = await asyncio.wait_for(self._leaving.wait(), SYNC_S)
            size = self.log.size
            if size == synced:
                continue
            try:
                await asyncio.to_thread(self.log.sync)
                synced = size
            except OSError as error:
                self._log_failed(error)
                logger.exception("records from %d to %d may not be on the disk", synced, size)

    def _log_failed(self, error: Exception) -> None:
        self.failure = f"the billing log cannot be written: {error}"

    async def _let_go(self, sha256: str) -> None:
        if not self._holds[sha256]:
            del self._holds[sha256]
            if sha256 in self._doomed:
                self._doomed.discard(sha256)
                await self.backend.forget(sha256)
        await asyncio.to_thread(self.registry.release, sha256)

    def _deleted(self, sha256: str) -> None:
        """Hear from the registry, on whichever thread deletes, that no alias has an adapter any more."""
        self._loop.call_soon_threadsafe(self._doom, sha256)

    def _doom(self, sha256: str) -> None:
        if self._holds[sha256]:
            self._doomed.add(sha256)
        else:
            self._keep(self.backend.forget(sha256))

    def _keep(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, LogError | DeadError):
            logger.error("a task of the node failed", exc_info=error)
