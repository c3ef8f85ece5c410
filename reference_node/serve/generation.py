"""One answer from its first piece to its bill, however it ends.

Rules: nothing is answered before the first piece is there, so a full queue or a wait that lasted too long is a status
and not a broken stream. Whoever leaves early cancels: the backend frees everything before its next step, and what was
served until then is logged and billed.
"""

from __future__ import annotations

import asyncio

from models.errors import InputError
from reference_node.billing import Bill
from reference_node.serve.backend import BusyError, DeadError, Pieces, UpstreamError
from reference_node.serve.errors import ApiError
from reference_node.serve.node import RETRY_S, LogError, Node
from reference_node.serve.ticket import Ticket


class Generation:
    """The answer to an admitted request; `first` is its first text.

    Parameters
    ----------
    node, ticket
        Where it runs and what it is.
    pieces
        What the backend generates for it.
    """

    def __init__(self, node: Node, ticket: Ticket, pieces: Pieces) -> None:
        self.ticket = ticket
        self._node, self._pieces = node, pieces
        self.first = ""
        self._bill: asyncio.Task[Bill] | None = None

    @classmethod
    async def begin(cls, node: Node, ticket: Ticket) -> Generation:
        """Submit a request and wait for its first piece.

        Raises
        ------
        ApiError
            400, 429 or 503 when the backend refuses it, 503 when it waited too long, 500 or 502 when it failed.
        """
        node.opened()
        try:
            pieces = await node.backend.submit(ticket.job)
        except BaseException as error:
            node.closed(ticket, 0)
            refusal = _refusal(error)
            if refusal is None:
                raise
            raise refusal from error
        generation = cls(node, ticket, pieces)
        await generation._begin()
        return generation

    async def _begin(self) -> None:
        try:
            self.first = self.ticket.take(await self._pieces.next())
        except BaseException:
            self.abandon()
            raise
        if self.ticket.end == "queue_wait":
            self._node.closed(self.ticket, 0)
            message = f"no place became free within {self.ticket.job.queue_wait_s:g} s"
            raise ApiError(503, message, code="queue_wait", retry_after_s=RETRY_S)
        if self.ticket.end == "error":
            await self.finish()

    @property
    def ended(self) -> bool:
        """Return whether no more text comes."""
        return bool(self.ticket.end)

    async def more(self) -> str:
        """Return the next text, which may be empty; for an answer that has not ended."""
        return self.ticket.take(await self._pieces.next())

    async def finish(self) -> Bill:
        """Return the bill of an answer that has ended; its record is on disk by then.

        Raises
        ------
        ApiError
            When the answer ended because the backend failed, or when the log cannot be written.
        """
        self._pieces.close()
        if self._bill is None:
            self._bill = self._node.settle(self.ticket)
        try:
            bill = await asyncio.shield(self._bill)
        except LogError as error:
            raise ApiError(503, self._node.failure, code="log_failed", retry_after_s=RETRY_S) from error
        if self.ticket.end == "error":
            raise self._failure()
        return bill

    def abandon(self) -> None:
        """Cancel what runs and settle what was served; an answer that is settled is left alone."""
        self._pieces.close()
        if self._bill is None:
            self.ticket.end = self.ticket.end or "cancelled"
            self._bill = self._node.settle(self.ticket)

    def _failure(self) -> ApiError:
        """Return the refusal that a failed answer becomes."""
        message = f"the request failed: {self.ticket.error}"
        if self._node.backend.failure():
            return ApiError(503, message, code="engine_dead", retry_after_s=30)
        if self._node.backend.remote:
            return ApiError(502, message, code="upstream_failed")
        if not self.ticket.tokens:  # it never ran, for want of an adapter: another time it may
            return ApiError(503, message, code="not_served", retry_after_s=RETRY_S)
        return ApiError(500, message, code="generation_failed")


def _refusal(error: BaseException) -> ApiError | None:
    if isinstance(error, BusyError):
        return ApiError(429, str(error), code="queue_full", retry_after_s=RETRY_S)
    if isinstance(error, UpstreamError):
        return ApiError(502, str(error), code="upstream_failed")
    if isinstance(error, DeadError):
        return ApiError(503, f"the node does not serve: {error}", code="engine_dead", retry_after_s=30)
    if isinstance(error, InputError):
        return ApiError(400, str(error), code="invalid_value")
    return None
