"""The engine on a thread of its own, and what crosses the border to the event loop.

Rules: one thread touches the engine; everything else reaches it as a command between two steps. Each step's news goes
to the event loop in one call. A cancelled request gives back its blocks and slots before the next step. A request that
waited or ran too long is taken out by the same thread. When the engine fails, every stream hears it and nothing is
accepted any more: a wrong answer would be worse than none.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from reference_node.request import Completion, Request
from reference_node.serve.backend import DeadError, End

if TYPE_CHECKING:
    from reference_node.engine import Engine

logger = logging.getLogger(__name__)
T = TypeVar("T")
STALL_S = 0.001  # pause when a step could do nothing, because an adapter is being read


@dataclass(frozen=True, slots=True)
class News:
    """What one step did for one request: new tokens, and why it ended if it did."""

    tokens: tuple[int, ...]
    end: End = ""
    cached_tokens: int = 0
    error: str = ""


@dataclass(slots=True)
class _Entry:
    """A request in flight as the engine's thread sees it; times are of the monotonic clock."""

    completion: Completion
    wait_until: float
    run_until: float
    sent: int = 0


class EngineService:
    """One engine and its thread.

    Parameters
    ----------
    engine
        Owned by the thread from `start` on.
    observe
        Called on that thread with the engine, and whether it made a step, whenever something changed: keep it short.
    """

    def __init__(self, engine: Engine, observe: Callable[[Engine, bool], None] | None = None) -> None:
        self.failure = ""
        self._engine, self._observe = engine, observe or (lambda engine, stepped: None)
        self._commands: queue.SimpleQueue[tuple[Future[Any], Callable[[Engine], Any]]] = queue.SimpleQueue()
        self._entries: dict[str, _Entry] = {}
        self._streams: dict[str, asyncio.Queue[News]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._stopping = self._ended = self._stalled = False

    @property
    def alive(self) -> bool:
        """Return whether requests are served."""
        return self._thread.is_alive() and not self._ended

    @property
    def in_flight(self) -> int:
        """Return the number of requests that the engine still holds."""
        return len(self._entries)

    def start(self) -> None:
        """Start the thread; news goes to the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    async def stop(self) -> None:
        """Finish what is in flight, then end the thread."""
        if self.alive:
            self._command(self._stop)
        await asyncio.to_thread(self._thread.join)

    async def call(self, work: Callable[[Engine], T]) -> T:
        """Run work on the engine's thread between two steps and return its result.

        Raises
        ------
        DeadError
            When the engine has failed or was stopped.
        """
        result: T = await asyncio.wrap_future(self._command(work))
        return result

    async def submit(self, request: Request, *, queue_wait_s: float, wall_s: float) -> asyncio.Queue[News]:
        """Hand a request to the engine and return where its news arrives.

        Raises
        ------
        InputError, QueueFullError
            As the engine's `submit`.
        DeadError
            When the engine is not running.
        """
        stream = self._streams[request.id] = asyncio.Queue()

        def work(engine: Engine) -> None:
            now = time.monotonic()
            completion = engine.submit(request)
            self._entries[request.id] = _Entry(completion, now + queue_wait_s, now + wall_s)

        try:
            await self.call(work)
        except BaseException:
            self.cancel(request.id)
            raise
        return stream

    def cancel(self, request_id: str) -> None:
        """Take a request out before the next step; one that has ended or is unknown is left alone."""
        self._streams.pop(request_id, None)
        self._command(lambda engine: self._cancel(request_id))

    def _command(self, work: Callable[[Engine], Any]) -> Future[Any]:
        future: Future[Any] = Future()
        self._commands.put((future, work))
        if not self.alive:  # looked at after the put: the thread may have ended in between
            self._refuse_commands()
        return future

    def _run(self) -> None:
        try:
            while not (self._stopping and not self._entries):
                self._turn()
        except BaseException as error:
            logger.exception("the engine failed")
            self.failure = f"{type(error).__name__}: {error}"
        finally:
            self._ended = True
            self._refuse_commands()
            news = News((), "error", error=self.failure)
            self._post([(name, news) for name in self._entries])
            self._entries.clear()

    def _turn(self) -> None:
        """Do the commands that wait, then one step."""
        engine = self._engine
        self._do_commands(None if engine.idle else STALL_S if self._stalled else 0.0)
        if engine.idle:
            self._observe(engine, False)  # a cancelled request leaves without a step
            return
        changed = engine.step()
        self._stalled = not changed and not engine.running
        self._post([self._news(completion) for completion in changed])
        self._expire()
        self._observe(engine, True)

    def _do_commands(self, wait_s: float | None) -> None:
        """Do every command there is; wait for the first (None: until one comes)."""
        try:
            future, work = self._commands.get(block=wait_s != 0.0, timeout=wait_s)
            while True:
                _fulfil(future, work, self._engine)
                future, work = self._commands.get_nowait()
        except queue.Empty:
            return

    def _refuse_commands(self) -> None:
        while True:
            try:
                future, _ = self._commands.get_nowait()
            except queue.Empty:
                return
            if future.set_running_or_notify_cancel():
                future.set_exception(DeadError(self.failure or "the engine is not running"))

    def _stop(self, engine: Engine) -> None:
        self._stopping = True

    def _news(self, completion: Completion) -> tuple[str, News]:
        name = completion.request.id
        entry = self._entries[name]
        fresh = tuple(completion.tokens[entry.sent :])
        entry.sent += len(fresh)
        if completion.finish:
            del self._entries[name]
        return name, News(fresh, completion.finish, completion.cached_tokens, completion.error)

    def _cancel(self, name: str) -> None:
        if self._entries.pop(name, None) is not None:
            self._engine.cancel(name)

    def _expire(self) -> None:
        """Take out what waited or ran too long."""
        now = time.monotonic()
        late: list[tuple[str, News]] = []
        for name, entry in self._entries.items():
            started = bool(entry.completion.tokens)
            if now >= entry.run_until:
                late.append((name, News((), "wall_time" if started else "queue_wait")))
            elif not started and now >= entry.wait_until and self._waits(entry.completion):
                late.append((name, News((), "queue_wait")))
        for name, _ in late:
            self._cancel(name)
        self._post(late)

    def _waits(self, completion: Completion) -> bool:
        return any(other is completion for other in self._engine.waiting)

    def _post(self, news: list[tuple[str, News]]) -> None:
        if not news:
            return
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(self._deliver, news)
        except RuntimeError:  # the event loop is closed: nobody listens any more
            logger.warning("%d requests ended after the interface was closed", len(news))

    def _deliver(self, news: list[tuple[str, News]]) -> None:
        for name, item in news:
            stream = self._streams.get(name)
            if stream is None:
                continue
            stream.put_nowait(item)
            if item.end:
                del self._streams[name]


def _fulfil(future: Future[Any], work: Callable[[Engine], Any], engine: Engine) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(work(engine))
    except Exception as error:
        future.set_exception(error)
