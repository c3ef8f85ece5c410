"""App: JSON-RPC over HTTP and WebSocket.

Rule decided here: the port says which chain is meant. A request that a web page sends is answered only if its origin
was allowed: the network acts for accounts, and any page can reach this machine. A body is not read beyond its limit.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from sim.chain.rpc.dispatcher import REQUEST_BYTES_MAX, Dispatcher
from sim.chain.rpc.errors import INVALID_REQUEST, RpcError
from sim.chain.rpc.session import Session

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from starlette.requests import HTTPConnection, Request

    from sim.chain.rpc.worker import Worker

POLICY_VIOLATION = 1008


class RpcApp:
    """The web application of a network.

    Parameters
    ----------
    dispatchers
        By port.
    worker
        Executes requests.
    origins
        Web pages that may ask; ``*`` for all.
    tick
        Mines at each interval, and the interval in seconds; 0 for none.
    """

    def __init__(
        self,
        dispatchers: Mapping[int, Dispatcher],
        worker: Worker,
        origins: Sequence[str] = (),
        tick: tuple[Callable[[], None], float] = (lambda: None, 0),
    ) -> None:
        self._dispatchers, self._worker, self._origins = dispatchers, worker, frozenset(origins)
        self._tick, self._interval = tick
        self._sessions: set[Session] = set()
        self._told: tuple[tuple[int, int], ...] = ()
        self.asgi = Starlette(
            routes=[
                Route("/", self._post, methods=["POST"]),
                Route("/", self._get, methods=["GET"]),
                WebSocketRoute("/", self._websocket),
            ],
            middleware=[
                Middleware(
                    CORSMiddleware, allow_origins=list(origins), allow_methods=["POST"], allow_headers=["*"]
                )
            ],
            lifespan=self._lifespan,
        )

    @asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        mining = asyncio.create_task(self._mine_at_intervals()) if self._interval else None
        try:
            yield
        finally:
            if mining is not None:
                mining.cancel()

    async def _mine_at_intervals(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            await self._worker.run(self._tick)
            await self._announce()

    def _allows(self, connection: HTTPConnection) -> bool:
        origin = connection.headers.get("origin")
        return origin is None or origin in self._origins or "*" in self._origins

    def _dispatcher(self, connection: HTTPConnection) -> Dispatcher:
        return self._dispatchers[connection.scope["server"][1]]

    async def _get(self, request: Request) -> Response:
        node = self._dispatcher(request).node
        return PlainTextResponse(
            f"olsim development network, chain {node.chain.chain_id} ({node.name}).\n"
            "Send JSON-RPC requests here by POST, or connect by WebSocket.\n"
        )

    async def _post(self, request: Request) -> Response:
        if not self._allows(request):
            return PlainTextResponse("this origin is not allowed; see --allow-origin\n", status_code=403)
        body = await _read(request)
        if body is None:
            message = f"content too large ({REQUEST_BYTES_MAX} bytes allowed)"
            error = {"jsonrpc": "2.0", "id": None, "error": RpcError(INVALID_REQUEST, message).as_json()}
            return Response(
                json.dumps(error), 413, media_type="application/json", headers={"connection": "close"}
            )
        dispatcher = self._dispatcher(request)
        answer = await self._worker.run(lambda: dispatcher.handle(body))
        await self._announce()
        return Response(answer or b"", media_type="application/json")

    async def _websocket(self, socket: WebSocket) -> None:
        if not self._allows(socket):
            await socket.close(POLICY_VIOLATION)
            return
        await socket.accept()
        session = Session(self._dispatcher(socket))
        self._sessions.add(session)
        sending = asyncio.create_task(_send(socket, session))
        try:
            while True:
                message = await socket.receive()
                if message["type"] != "websocket.receive":
                    break
                text = message.get("bytes") or (message.get("text") or "").encode()
                answer = await self._worker.run(lambda text=text: session.handle(text))  # type: ignore[misc]
                if answer is not None:
                    session.outgoing.put_nowait(answer.decode())
                await self._announce()
        except (WebSocketDisconnect, asyncio.QueueFull, RuntimeError):
            pass
        finally:
            self._sessions.discard(session)
            sending.cancel()
            with suppress(RuntimeError, WebSocketDisconnect):
                await socket.close()

    async def _announce(self) -> None:
        """Tell subscribers what is new, if anything is."""
        heads = tuple(
            (d.node.chain.blocks.latest, len(d.node.filters.submitted)) for d in self._dispatchers.values()
        )
        listening = [session for session in self._sessions if session.has_subscriptions]
        if heads == self._told or not listening:
            self._told = heads
            return
        self._told = heads
        for session, messages in await self._worker.run(lambda: [(one, one.news()) for one in listening]):
            try:
                for message in messages:
                    session.outgoing.put_nowait(message)
            except asyncio.QueueFull:
                self._sessions.discard(session)


async def _read(request: Request) -> bytes | None:
    """Return a request's body, or None if it is longer than allowed."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > REQUEST_BYTES_MAX:
            return None
        parts.append(part)
    return b"".join(parts)


async def _send(socket: WebSocket, session: Session) -> None:
    with suppress(RuntimeError, WebSocketDisconnect):
        while True:
            await socket.send_text(await session.outgoing.get())
