"""Continuous batching: which request runs in which row at each step, and which adapter served it.

First come, first served. Between two decode steps every waiting request for which a row and an adapter slot
are free is prefilled and joins; a finished request leaves at once and the last row moves into its place, so
running rows stay dense. The adapter is pinned from admission to the last token, and the completion carries
the content hash of what was applied. Decoding is greedy.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import torch

from models.errors import InputError
from reference_node.lora import AdapterPool, LoraPlan, PoolFullError
from reference_node.model import KVCache, Llama


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asks for.

    Parameters
    ----------
    id
        Unique among requests in flight.
    prompt
        Token ids, at least one.
    max_new_tokens
        Tokens to generate, at least one.
    adapter_sha256
        Content hash of the adapter, None for the base model.
    stop_tokens
        Generation ends after any of these.
    """

    id: str
    prompt: tuple[int, ...]
    max_new_tokens: int
    adapter_sha256: str | None = None
    stop_tokens: frozenset[int] = frozenset()


@dataclass(slots=True)
class Completion:
    """What was served: tokens, the adapter behind them, the clock at submission and at each token (s).

    `error` is empty unless the request failed after admission, e.g. because its adapter's folder changed on
    disk.
    """

    request: Request
    adapter_sha256: str | None
    submitted_s: float
    tokens: list[int] = field(default_factory=list)
    token_times_s: list[float] = field(default_factory=list)
    error: str = ""

    def done(self) -> bool:
        """Return whether the last token has been produced."""
        full = len(self.tokens) >= self.request.max_new_tokens
        return full or bool(self.tokens and self.tokens[-1] in self.request.stop_tokens)


class Engine:
    """One model, one pool, one batch.

    Parameters
    ----------
    model, pool
        The base and the adapters.
    batch_max
        Rows that decode together.
    length_max
        Longest prompt plus completion of a request, in tokens.
    queue_max
        Requests that may wait; `submit` refuses more.
    clock
        Seconds, monotonic.
    """

    def __init__(
        self,
        model: Llama,
        pool: AdapterPool,
        *,
        batch_max: int,
        length_max: int,
        queue_max: int = 4096,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        if batch_max < 1 or not 1 < length_max <= model.cos.shape[0]:
            raise InputError(
                f"engine: batch_max {batch_max}: 1 or more; length_max {length_max}: 2 to {len(model.cos)}"
            )
        self.model, self.pool = model, pool
        self.batch_max, self.length_max, self.queue_max, self.clock = batch_max, length_max, queue_max, clock
        self.cache = KVCache(model.config, batch_max, length_max, model.embed)
        self.waiting: deque[Completion] = deque()
        self.running: list[Completion] = []
        self._slots: list[int] = []
        self._plan: LoraPlan | None = None

    def submit(self, request: Request) -> None:
        """Queue a request.

        Raises
        ------
        InputError
            When it is malformed, too long, names an unknown adapter, or the queue is full.
        """
        wrong = self._problems(request)
        if wrong:
            raise InputError([f"request {request.id}: {message}" for message in wrong])
        self.waiting.append(Completion(request, request.adapter_sha256, self.clock()))

    def step(self) -> list[Completion]:
        """Admit what fits, decode one token for every running row, and return the requests that finished."""
        finished = self._admit()
        if self.running:
            self._decode()
            finished += self._retire()
        return finished

    def run(self, requests: Iterable[Request]) -> dict[str, Completion]:
        """Submit requests, serve until all are done, and return completions by request id."""
        for request in requests:
            self.submit(request)
        done: dict[str, Completion] = {}
        while self.waiting or self.running:
            done |= {completion.request.id: completion for completion in self.step()}
        return done

    def reassign(self, adapters: Sequence[str | None]) -> None:
        """Give the running rows other adapters from the next step on, as benches of one warm batch do."""
        for entry, adapter in zip(self.running, adapters, strict=True):
            if entry.adapter_sha256 is not None:
                self.pool.release(entry.adapter_sha256)
            entry.adapter_sha256 = adapter
        self._slots = [-1 if adapter is None else self.pool.acquire(adapter) for adapter in adapters]
        self._plan = None

    def _problems(self, request: Request) -> list[str]:
        vocab, total = self.model.config.vocab_size, len(request.prompt) + request.max_new_tokens
        wrong = []
        if not request.prompt or not all(0 <= token < vocab for token in request.prompt):
            wrong.append(f"prompt of {len(request.prompt)} tokens must hold ids from 0 to {vocab - 1}")
        if request.max_new_tokens < 1 or total > self.length_max:
            wrong.append(
                f"prompt + max_new_tokens = {total}; allowed one new token or more, {self.length_max} in all"
            )
        if request.adapter_sha256 is not None and not self.pool.knows(request.adapter_sha256):
            wrong.append(f"unknown adapter {request.adapter_sha256[:12]}")
        if len(self.waiting) >= self.queue_max:
            wrong.append(f"queue is full ({self.queue_max} waiting)")
        return wrong

    def _admit(self) -> list[Completion]:
        """Prefill waiting requests into free rows; a full pool holds the queue, so that order is kept."""
        failed = []
        while self.waiting and len(self.running) < self.batch_max:
            entry = self.waiting[0]
            try:
                slot = -1 if entry.adapter_sha256 is None else self.pool.acquire(entry.adapter_sha256)
            except PoolFullError:
                break
            except InputError as error:
                entry.error = str(error)
                failed.append(self.waiting.popleft())
                continue
            self.waiting.popleft()
            prompt = torch.tensor([entry.request.prompt], device=self.model.device)
            delta = LoraPlan(self.pool, [slot] * prompt.shape[1], gather=False) if slot >= 0 else None
            logits = self.model.prefill(prompt, self.cache, len(self.running), delta)
            entry.tokens.append(int(logits.argmax(dim=-1)))
            entry.token_times_s.append(self.clock())
            self.running.append(entry)
            self._slots.append(slot)
            self._plan = None
        return failed + self._retire()

    def _decode(self) -> None:
        if self._plan is None:
            self._plan = LoraPlan(self.pool, self._slots)
        positions = [len(entry.request.prompt) + len(entry.tokens) - 1 for entry in self.running]
        device = self.model.device
        logits = self.model.decode(
            torch.tensor([entry.tokens[-1] for entry in self.running], device=device),
            torch.tensor(positions, device=device),
            self.cache,
            max(positions) + 1,
            self._plan if self._plan.active else None,
        )
        for entry, token in zip(self.running, logits.argmax(dim=-1).tolist(), strict=True):
            entry.tokens.append(token)
        now = self.clock()
        for entry in self.running:
            entry.token_times_s.append(now)

    def _retire(self) -> list[Completion]:
        """Remove finished rows, highest first, filling each hole with the last row."""
        finished = []
        for row in reversed(range(len(self.running))):
            entry = self.running[row]
            if not entry.done():
                continue
            finished.append(entry)
            last = len(self.running) - 1
            moved = self.running[last]
            # Cleared, because a masked NaN left by an overflowing adapter would still poison the next row
            # here.
            self.cache.clear(row, len(entry.request.prompt) + len(entry.tokens))
            if row != last:
                length = len(moved.request.prompt) + len(moved.tokens)
                self.cache.move(last, row, length)
                self.cache.clear(last, length)
            self.running[row], self._slots[row] = moved, self._slots[last]
            self.running.pop()
            self._slots.pop()
            self._plan = None
            if entry.adapter_sha256 is not None:
                self.pool.release(entry.adapter_sha256)
        return finished
