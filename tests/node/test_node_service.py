"""The engine's thread and the border to the event loop, with an engine whose every step the test knows."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

pytest.importorskip("torch", reason="needs the node extra (torch)")

from reference_node.request import Completion, Request
from reference_node.serve.backend import DeadError
from reference_node.serve.service import EngineService, News

pytestmark = pytest.mark.node


class ScriptedEngine:
    """An engine that gives every running request the next number, `rows` at a time."""

    def __init__(self, rows: int = 2) -> None:
        self.waiting: list[Completion] = []
        self.running: list[Completion] = []
        self.rows, self.failing = rows, False
        self.cancelled: list[str] = []
        self.threads: set[str] = set()
        self.gate = threading.Event()
        self.gate.set()

    @property
    def idle(self) -> bool:
        return not self.waiting and not self.running

    def submit(self, request: Request) -> Completion:
        self.threads.add(threading.current_thread().name)
        completion = Completion(request, 0.0)
        self.waiting.append(completion)
        return completion

    def cancel(self, name: str) -> None:
        self.cancelled.append(name)
        for held in (self.waiting, self.running):
            held[:] = [completion for completion in held if completion.request.id != name]

    def step(self) -> list[Completion]:
        self.gate.wait(5)
        if self.failing:
            raise RuntimeError("the device is gone")
        while self.waiting and len(self.running) < self.rows:
            self.running.append(self.waiting.pop(0))
        changed = list(self.running)
        for completion in changed:
            completion.tokens.append(len(completion.tokens))
            if len(completion.tokens) == completion.request.max_new_tokens:
                completion.finish = "length"
                self.running.remove(completion)
        return changed


def request(name: str, tokens: int = 3) -> Request:
    return Request(name, (1,), tokens)


def serve(
    engine: ScriptedEngine, work: Callable[[EngineService], Coroutine[Any, Any, None]]
) -> EngineService:
    """Run a coroutine against a service and stop it."""

    async def main() -> EngineService:
        service = EngineService(engine)  # type: ignore[arg-type]
        service.start()
        try:
            await work(service)
        finally:
            engine.gate.set()
            await asyncio.wait_for(service.stop(), 10)
        return service

    return asyncio.run(main())


async def submit(service: EngineService, one: Request, wait_s: float = 60.0, wall_s: float = 60.0):
    return await service.submit(one, queue_wait_s=wait_s, wall_s=wall_s)


async def all_of(news: asyncio.Queue[News]) -> list[News]:
    found = [await asyncio.wait_for(news.get(), 5)]
    while not found[-1].end:
        found.append(await asyncio.wait_for(news.get(), 5))
    return found


def test_tokens_arrive_once_and_in_order_for_every_request() -> None:
    async def work(service: EngineService) -> None:
        streams = [await submit(service, request(f"r{i}", 2 + i)) for i in range(5)]
        for i, stream in enumerate(streams):
            news = await all_of(stream)
            assert [token for item in news for token in item.tokens] == list(range(2 + i))
            assert news[-1].end == "length"
        assert service.in_flight == 0

    engine = ScriptedEngine()
    serve(engine, work)
    assert engine.threads == {"engine"}


def test_cancel_takes_a_request_out_before_the_next_step() -> None:
    async def work(service: EngineService) -> None:
        stream = await submit(service, request("gone", 10**9))
        other = await submit(service, request("stays", 10**9))
        service.cancel("gone")
        names = await service.call(lambda engine: [one.request.id for one in engine.running])
        assert names in ([], ["stays"])  # whatever step came between, the cancelled one is in none
        assert service.in_flight == 1
        seen = stream.qsize()
        await asyncio.sleep(0.02)
        assert stream.qsize() == seen
        assert other.qsize() > 0
        service.cancel("stays")

    engine = ScriptedEngine()
    serve(engine, work)
    assert engine.cancelled == ["gone", "stays"]


def test_cancelling_what_has_ended_or_never_was_does_nothing() -> None:
    async def work(service: EngineService) -> None:
        stream = await submit(service, request("done", 1))
        await all_of(stream)
        service.cancel("done")
        service.cancel("never")
        assert await service.call(lambda engine: 7) == 7

    engine = ScriptedEngine()
    serve(engine, work)
    assert engine.cancelled == []


def test_death_reaches_every_stream_and_refuses_what_comes_after() -> None:
    async def work(service: EngineService) -> None:
        streams = [await submit(service, request(f"r{i}", 10**9)) for i in range(4)]
        engine.failing = True
        for stream in streams:
            last = (await all_of(stream))[-1]
            assert last.end == "error"
            assert "the device is gone" in last.error
        assert not service.alive
        assert "the device is gone" in service.failure
        assert service.in_flight == 0
        with pytest.raises(DeadError, match="the device is gone"):
            await submit(service, request("late"))
        with pytest.raises(DeadError):
            await service.call(lambda engine: None)

    engine = ScriptedEngine()
    serve(engine, work)


def test_a_refusal_of_the_engine_reaches_the_caller_and_leaves_nothing() -> None:
    async def work(service: EngineService) -> None:
        def refuse(one: Request) -> Completion:
            raise ValueError("no")

        engine.submit = refuse  # type: ignore[method-assign]
        with pytest.raises(ValueError, match="no"):
            await submit(service, request("bad"))
        assert service.in_flight == 0
        assert service.alive

    engine = ScriptedEngine()
    serve(engine, work)


def test_who_waits_too_long_is_taken_out_of_the_queue() -> None:
    async def work(service: EngineService) -> None:
        runner = await submit(service, request("runs", 10**9))
        waiter = await submit(service, request("waits", 3), wait_s=0.05)
        assert (await all_of(waiter))[-1].end == "queue_wait"
        assert engine.cancelled == ["waits"]
        assert runner.qsize() > 0
        service.cancel("runs")

    engine = ScriptedEngine(rows=1)
    serve(engine, work)


def test_who_runs_too_long_is_ended_with_what_it_has() -> None:
    async def work(service: EngineService) -> None:
        news = await all_of(await submit(service, request("runs", 10**9), wall_s=0.05))
        assert news[-1].end == "wall_time"
        assert sum(len(item.tokens) for item in news) > 0
        assert service.in_flight == 0

    serve(ScriptedEngine(rows=1), work)


def test_stop_finishes_what_runs() -> None:
    streams: list[asyncio.Queue[News]] = []

    async def work(service: EngineService) -> None:
        streams.extend([await submit(service, request(f"r{i}", 50)) for i in range(6)])

    service = serve(ScriptedEngine(), work)
    assert not service.alive
    for stream in streams:
        news = [stream.get_nowait() for _ in range(stream.qsize())]
        assert sum(len(item.tokens) for item in news) == 50
        assert news[-1].end == "length"


def test_a_request_whose_submitter_is_cancelled_is_not_served() -> None:
    async def work(service: EngineService) -> None:
        engine.gate.clear()
        first = await submit(service, request("first", 5))
        await asyncio.sleep(0.05)  # the engine is inside a step now
        second = asyncio.create_task(submit(service, request("second", 5)))
        await asyncio.sleep(0.01)
        second.cancel()
        engine.gate.set()
        with pytest.raises(asyncio.CancelledError):
            await second
        await all_of(first)
        assert await service.call(lambda engine: None) is None
        assert service.in_flight == 0

    engine = ScriptedEngine()
    serve(engine, work)
