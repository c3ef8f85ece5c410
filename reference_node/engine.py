"""Continuous batching: what happens to a request from `submit` to its last token, and which adapter served it.

A request's adapters are held by content hash from admission to the last token, so neither replacing, evicting nor
deleting one changes what is served, and the completion carries these hashes. Prefixes are shared by the same hashes.
One thread owns an engine.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from models.errors import InputError
from reference_node import sampler
from reference_node.kv import PrefixChain
from reference_node.model import Llama
from reference_node.pool import AdapterPool
from reference_node.request import AdapterUse, Completion, Finish, Request
from reference_node.runner import Runner
from reference_node.scheduler import Scheduler
from reference_node.sequence import EngineConfig, StepPlan
from reference_node.sequence import Sequence as Entry

__all__ = ["Engine", "EngineConfig", "EngineStats", "QueueFullError", "Request"]

PAUSE_S = 0.0005  # of `run` while nothing can go on, e.g. because an adapter is still being read


class QueueFullError(RuntimeError):
    """As many requests wait as may; the client should come back later."""


@dataclass(frozen=True, slots=True)
class EngineStats:
    """Figures of an engine at this moment; tokens, preemptions and steps since its start.

    Parameters
    ----------
    waiting, running
        Requests.
    kv_blocks, kv_blocks_used, kv_blocks_cached
        Blocks in all, owned by requests, owned by none but findable.
    prefix_hit_tokens, prefix_query_tokens
        Prompt tokens found in the prefix cache, and looked for.
    prompt_tokens, generated_tokens
        Computed prompt tokens (again after a preemption), and tokens given to clients.
    preemptions, steps
        Counts.
    distinct_adapters
        In the last step.
    """

    waiting: int
    running: int
    kv_blocks: int
    kv_blocks_used: int
    kv_blocks_cached: int
    prefix_hit_tokens: int
    prefix_query_tokens: int
    prompt_tokens: int
    generated_tokens: int
    preemptions: int
    steps: int
    distinct_adapters: int


class Engine:
    """One model, one pool, one batch.

    Parameters
    ----------
    model, pool
        The base and the adapters.
    config
        Limits.
    base_sha256
        Names the base in the keys of the prefix cache.
    clock
        Seconds, monotonic.
    """

    def __init__(
        self,
        model: Llama,
        pool: AdapterPool,
        config: EngineConfig,
        *,
        base_sha256: str = "",
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        if config.length_max > len(model.cos):
            raise InputError(
                f"engine.length_max: {config.length_max}; this model allows 2 to {len(model.cos)}"
            )
        self.model, self.pool, self.config, self.clock = model, pool, config, clock
        self.base_sha256 = base_sha256
        self.scheduler, self.runner = Scheduler(config, pool), Runner(model, pool, config)
        self._entries: dict[str, Entry] = {}
        self._arrivals = self._prompt_tokens = self._generated_tokens = self._distinct = 0

    @property
    def attention_name(self) -> str:
        """Return which decode attention was chosen at start-up."""
        return self.runner.attention_name

    @property
    def waiting(self) -> list[Completion]:
        """Return the queued requests, oldest first."""
        return [entry.completion for entry in self.scheduler.queues.in_order()]

    @property
    def running(self) -> list[Completion]:
        """Return the admitted requests."""
        return [entry.completion for entry in self.scheduler.running]

    @property
    def idle(self) -> bool:
        """Return whether no request is in the engine."""
        return not self._entries

    def submit(self, request: Request) -> Completion:
        """Queue a request.

        Raises
        ------
        InputError
            When it is malformed, too long, names an unknown adapter, or its id is in flight.
        QueueFullError
            When `queue_max` requests wait.
        """
        wrong = self._problems(request)
        if wrong:
            raise InputError([f"request {request.id}: {message}" for message in wrong])
        if len(self.scheduler.queues) >= self.config.queue_max:
            raise QueueFullError(f"queue is full ({self.config.queue_max} waiting)")
        completion, size = Completion(request, self.clock()), self.config.block_size
        entry = Entry(
            completion,
            self._arrivals,
            list(request.prompt),
            request.adapters,
            PrefixChain(self.base_sha256, request.adapters, request.tenant, size),
            frozenset(use.sha256 for use in request.adapters),
            math.ceil((len(request.prompt) + request.max_new_tokens - 1) / size),
        )
        self._arrivals += 1
        self._entries[request.id] = entry
        self.scheduler.add(entry)
        return completion

    def cancel(self, request_id: str) -> Completion | None:
        """End a request now; its blocks and adapters are free when this returns. None if it is not in flight."""
        entry = self._entries.get(request_id)
        return None if entry is None else self._end(entry, "cancelled")

    def step(self) -> list[Completion]:
        """Run one step and return the completions that got a token or ended."""
        plan = self.scheduler.plan()
        changed = [self._end(entry, "error") for entry in plan.failed]
        if plan.cleared:
            self.runner.kv.clear(plan.cleared)
        plan.decode = self.runner.arrange(plan.decode)
        self._distinct = len({sha for entry in _entries(plan) for sha in entry.hashes})
        if plan.decode or plan.chunks:
            logits, lost = self._forward(plan)
            changed += lost
            changed += self._take_tokens(plan, logits)
        return changed

    def run(self, requests: Iterable[Request]) -> dict[str, Completion]:
        """Submit requests, serve until all are done, and return completions by request id."""
        done = {request.id: self.submit(request) for request in requests}
        while not self.idle:
            if not self.step() and not self.scheduler.running:
                time.sleep(PAUSE_S)
        return done

    def stats(self) -> EngineStats:
        """Return the engine's figures."""
        scheduler, blocks = self.scheduler, self.scheduler.blocks
        return EngineStats(
            waiting=len(scheduler.queues),
            running=len(scheduler.running),
            kv_blocks=blocks.blocks,
            kv_blocks_used=blocks.used,
            kv_blocks_cached=blocks.cached,
            prefix_hit_tokens=scheduler.prefix_hit_tokens,
            prefix_query_tokens=scheduler.prefix_query_tokens,
            prompt_tokens=self._prompt_tokens,
            generated_tokens=self._generated_tokens,
            preemptions=scheduler.preemptions,
            steps=scheduler.steps,
            distinct_adapters=self._distinct,
        )

    def reset_prefix_cache(self) -> None:
        """Forget every cached block; running requests keep theirs."""
        self.scheduler.blocks.forget_all()

    def _problems(self, request: Request) -> list[str]:
        vocab, total = self.model.config.vocab_size, len(request.prompt) + request.max_new_tokens
        wrong = sampler.problems(request.sampling)
        if request.id in self._entries:
            wrong.append("a request of this id is in flight")
        if not request.prompt or not all(0 <= token < vocab for token in request.prompt):
            wrong.append(f"prompt of {len(request.prompt)} tokens must hold ids from 0 to {vocab - 1}")
        room = min(self.config.length_max, self.config.blocks * self.config.block_size)
        if request.max_new_tokens < 1 or total > room:
            wrong.append(f"prompt + max_new_tokens = {total}; allowed one new token or more, {room} in all")
        return wrong + self._adapter_problems(request.adapters)

    def _adapter_problems(self, adapters: tuple[AdapterUse, ...]) -> list[str]:
        hashes = [use.sha256 for use in adapters]
        most = min(self.pool.slots, self.config.distinct_adapters_max or self.pool.slots)
        wrong = [f"unknown adapter {sha[:12]}" for sha in hashes if not self.pool.knows(sha)]
        wrong += [
            f"weight {use.weight!r} of adapter {use.sha256[:12]}: allowed finite numbers"
            for use in adapters
            if not math.isfinite(use.weight)
        ]
        if len(set(hashes)) != len(hashes):
            wrong.append("the same adapter twice")
        if len(hashes) > most:
            wrong.append(f"{len(hashes)} adapters; allowed 0 to {most}")
        return wrong

    def _forward(self, plan: StepPlan) -> tuple[Tensor, list[Completion]]:
        """Run a step; out of memory in a prompt costs half a chunk, then the largest chunk's request alone."""
        try:
            return self.runner.run(plan.decode, plan.chunks), []
        except torch.OutOfMemoryError:
            if not plan.chunks:
                raise
        plan.chunks = [(entry, max(1, count // 2)) for entry, count in plan.chunks]
        try:
            return self.runner.run(plan.decode, plan.chunks), []
        except torch.OutOfMemoryError as error:
            largest, _ = max(plan.chunks, key=lambda chunk: chunk[0].computed + chunk[1])
            largest.completion.error = f"out of memory at prefill: {error}"
        plan.chunks = []
        logits = self.runner.run(plan.decode, []) if plan.decode else torch.empty(0)
        return logits, [self._end(largest, "error")]

    def _take_tokens(self, plan: StepPlan, logits: Tensor) -> list[Completion]:
        finished = [entry for entry, count in plan.chunks if count == entry.remaining]
        entries = [*plan.decode, *finished]
        for entry, count in (*((entry, 1) for entry in plan.decode), *plan.chunks):
            prompt = len(entry.completion.request.prompt)
            self._prompt_tokens += max(0, min(count, prompt - entry.computed))
            self.scheduler.advance(entry, count)
        if not entries:
            return []
        samplings = [entry.completion.request.sampling for entry in entries]
        tokens = sampler.next_tokens(logits, samplings, [len(e.completion.tokens) for e in entries])
        now = self.clock()
        return [self._take(entry, token, now) for entry, token in zip(entries, tokens, strict=True)]

    def _take(self, entry: Entry, token: int, now: float) -> Completion:
        completion, request = entry.completion, entry.completion.request
        if token == sampler.NO_TOKEN:
            completion.error = "the logits are not finite numbers: the adapter or the base overflows"
            self.scheduler.blocks.withdraw(entry.blocks)
            return self._end(entry, "error")
        completion.tokens.append(token)
        completion.token_times_s.append(now)
        entry.tokens.append(token)
        self._generated_tokens += 1
        if token in request.stop_tokens:
            return self._end(entry, "stop")
        if len(completion.tokens) >= request.max_new_tokens:
            return self._end(entry, "length")
        return completion

    def _end(self, entry: Entry, finish: Finish) -> Completion:
        self.scheduler.remove(entry)
        del self._entries[entry.completion.request.id]
        entry.completion.finish = finish
        return entry.completion


def _entries(plan: StepPlan) -> list[Entry]:
    return [*plan.decode, *(entry for entry, _ in plan.chunks)]
