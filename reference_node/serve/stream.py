"""Server-sent events, and what happens when the reader leaves.

Rules: a stream that fails ends with one error event and without `[DONE]`, so nobody takes half an answer for a whole
one. A reader that hangs up, or takes nothing for too long, ends the answer at once.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Mapping
from contextlib import suppress
from typing import Any, TypeVar

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

DONE = b"data: [DONE]\n\n"
T = TypeVar("T")


class ClientGoneError(Exception):
    """The reader hung up before there was an answer."""


def event(document: dict[str, Any]) -> bytes:
    """Return one event."""
    return b"data: " + json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


async def unless_gone(work: Awaitable[T], receive: Receive) -> T:
    """Return the result of `work`; when the reader hangs up first, cancel it.

    Raises
    ------
    ClientGoneError
        When the reader hung up.
    """
    worker, watcher = asyncio.ensure_future(work), asyncio.ensure_future(_hung_up(receive))
    try:
        await asyncio.wait((worker, watcher), return_when=asyncio.FIRST_COMPLETED)
        if not worker.done():
            raise ClientGoneError
        return await worker
    finally:
        await _cancel(worker, watcher)


class EventStream(Response):
    """A response whose body is a generator of events, closed in every case.

    Parameters
    ----------
    events
        Encoded events.
    send_s
        Longest time that one event may take to be taken by the reader.
    """

    media_type = "text/event-stream"

    def __init__(
        self, events: AsyncGenerator[bytes, None], headers: Mapping[str, str], *, send_s: float
    ) -> None:
        super().__init__(None, 200, {**headers, "cache-control": "no-store", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._events, self._send_s = events, send_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send events until they end or the reader is gone."""
        with suppress(ClientGoneError, TimeoutError):
            await unless_gone(self._write(send), receive)

    async def _write(self, send: Send) -> None:
        start: Message = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        try:
            await send(start)
            async for chunk in self._events:
                body: Message = {"type": "http.response.body", "body": chunk, "more_body": True}
                async with asyncio.timeout(self._send_s):
                    await send(body)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            await self._events.aclose()


async def _hung_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _cancel(*tasks: asyncio.Future[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
