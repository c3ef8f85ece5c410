"""The node's own engine as a backend: tokens become text as they come.

Rule: adapters reach the pool before the first job that names them, each read off the event loop; a job that its reader
leaves is cancelled, which gives back its blocks and slots before the engine's next step.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from reference_node.engine import Engine, QueueFullError
from reference_node.request import Request
from reference_node.serve.backend import BusyError, Job, Piece
from reference_node.serve.metrics import Metrics
from reference_node.serve.service import EngineService, News
from reference_node.tokenizer import Detokenizer, TextCodec


class LocalBackend:
    """An engine on its thread and the codec of its base.

    Parameters
    ----------
    engine, codec
        Of one base model.
    metrics
        Gets the figures of each step.
    """

    remote = False

    def __init__(self, engine: Engine, codec: TextCodec, metrics: Metrics) -> None:
        self.length_max = engine.config.length_max
        self.description = f"engine on {engine.model.device}, attention {engine.attention_name}"
        self._engine, self._codec, self._metrics = engine, codec, metrics
        self._reading: dict[str, asyncio.Future[str]] = {}
        self.service = EngineService(engine, metrics.observe)

    async def start(self) -> None:
        """Start the engine's thread."""
        self._metrics.observe(self._engine, False)
        self.service.start()

    async def stop(self) -> None:
        """Finish what runs, then end the thread."""
        await self.service.stop()

    async def submit(self, job: Job) -> _LocalPieces:
        """Queue a job in the engine.

        Raises
        ------
        BusyError, DeadError, InputError
            When the engine does not accept it.
        """
        request = Request(
            id=job.id,
            prompt=job.prompt,
            max_new_tokens=job.max_new_tokens,
            adapters=job.adapters,
            sampling=job.sampling,
            stop_tokens=job.stop_tokens,
            tenant=job.tenant,
        )
        try:
            news = await self.service.submit(request, queue_wait_s=job.queue_wait_s, wall_s=job.wall_s)
        except QueueFullError as error:
            raise BusyError(str(error)) from error
        return _LocalPieces(self.service, job, news, self._codec.stream())

    async def register(self, sha256: str, folder: Path) -> None:
        """Make the pool know an adapter; requests that come meanwhile wait for the same reading."""
        pool = self._engine.pool
        if pool.knows(sha256):
            return
        reading = self._reading.get(sha256)
        if reading is None:
            reading = asyncio.ensure_future(asyncio.to_thread(pool.register, folder))
            self._reading[sha256] = reading
            reading.add_done_callback(lambda _: self._reading.pop(sha256))
        found = await asyncio.shield(reading)
        assert found == sha256, f"folder {folder} holds {found}"

    async def forget(self, sha256: str) -> None:
        """Refuse an adapter for new requests."""
        self._engine.pool.forget(sha256)

    def failure(self) -> str:
        """Return why the engine does not run; empty while it does."""
        return "" if self.service.alive else self.service.failure or "the engine is not running"


class _LocalPieces:
    """News of one request as text."""

    def __init__(
        self, service: EngineService, job: Job, news: asyncio.Queue[News], text: Detokenizer
    ) -> None:
        self._service, self._job, self._news, self._text = service, job, news, text
        self._ended = False

    async def next(self) -> Piece:
        """Return what has arrived, at least one item: a slow reader gets fewer and larger pieces."""
        news = [await self._news.get()]
        while not self._news.empty():
            news.append(self._news.get_nowait())
        tokens = tuple(token for item in news for token in item.tokens)
        silent, last = self._job.stop_tokens, news[-1]
        texts = tuple("" if token in silent else self._text.push(token) for token in tokens)
        self._ended = bool(last.end)
        tail = self._text.flush() if last.end else ""
        return Piece(texts, tokens, tail, last.end, last.cached_tokens, last.error)

    def close(self) -> None:
        """Cancel the request unless it has ended."""
        if not self._ended:
            self._ended = True
            self._service.cancel(self._job.id)
