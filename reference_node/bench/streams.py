"""Streams to an OpenAI-compatible server, timed as a client sees them.

Rule: tokens are counted by the server's own usage report, because a chunk may hold several; prompts are new words every
time, so that no prefix cache answers in the server's place; times count from when a request was due.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from models.errors import InputError

if TYPE_CHECKING:
    import httpx2

WORDS = ("river", "stone", "window", "garden", "letter", "morning", "winter", "bridge", "paper", "silver")


@dataclass(slots=True)
class Served:
    """One streamed request as the client saw it, in seconds since the run's start."""

    sent_s: float
    times_s: list[float] = field(default_factory=list)
    prompt_tokens: int = 0
    output_tokens: int = 0
    error: str = ""

    @property
    def ttft_ms(self) -> float:
        """Time to the first token."""
        return 1e3 * (self.times_s[0] - self.sent_s)

    @property
    def itl_ms(self) -> float:
        """Mean time between tokens, by the server's own count of them."""
        return 1e3 * (self.times_s[-1] - self.times_s[0]) / max(self.output_tokens - 1, 1)


class Streams:
    """Requests to one server.

    Parameters
    ----------
    http
        Client of the server.
    url, model
        Where it listens, for messages; name of its base model.
    """

    def __init__(self, http: httpx2.AsyncClient, url: str, model: str) -> None:
        self.http, self.url, self.model = http, url, model
        self.words_per_token = 1.0
        self.drawn = 0

    async def calibrate(self) -> None:
        """Learn how many words of ours are a token of theirs.

        Raises
        ------
        InputError
            When the server cannot be reached, refuses, or does not report usage.
        """
        words = 64
        served = await self.one(self.model, words, 4)
        if served.error:
            raise InputError(f"{self.url}: {served.error}")
        if not served.prompt_tokens:
            raise InputError(f"{self.url}: reports no token usage in streams; nothing can be measured")
        self.words_per_token = words / served.prompt_tokens

    async def together(self, names: Sequence[str], context: int, output: int) -> list[Served]:
        """Stream one completion for each name at once; a failed one is an InputError."""
        done = await asyncio.gather(*(self.one(name, context, output) for name in names))
        refuse_errors(done, self.url)
        return list(done)

    async def one(
        self, model: str, context: int, output: int, began: float | None = None, at: float | None = None
    ) -> Served:
        """Stream one completion; every prompt is new, so that no prefix cache answers in the server's place."""
        import httpx2

        self.drawn += 1
        draw = np.random.default_rng(self.drawn)
        words = draw.choice(WORDS, max(1, round(context * self.words_per_token)))
        start = time.perf_counter() if began is None else began
        served = Served(sent_s=time.perf_counter() - start if at is None else at)
        body = {
            "model": model,
            "prompt": " ".join(words),
            "max_tokens": output,
            "temperature": 0.0,
            "stream": True,
            "stream_options": {"include_usage": True},
            "ignore_eos": True,
        }
        try:
            async with self.http.stream("POST", "/v1/completions", json=body) as response:
                if response.status_code != 200:
                    text = (await response.aread()).decode(errors="replace")[:200]
                    served.error = f"status {response.status_code}: {text}"
                    return served
                await _read(httpx2.EventSource(response), served, start)
        except httpx2.TransportError as error:
            served.error = f"cannot be reached: {error}"
        return served


async def _read(events: httpx2.EventSource, served: Served, start: float) -> None:
    async for event in events:
        if event.data == "[DONE]":
            return
        chunk = event.json()
        assert isinstance(chunk, dict)
        if "error" in chunk:
            served.error = str(chunk["error"].get("message", chunk["error"]))
            return
        if any(choice.get("text") for choice in chunk.get("choices", ())):
            served.times_s.append(time.perf_counter() - start)
        usage = chunk.get("usage")
        if usage:
            served.prompt_tokens, served.output_tokens = usage["prompt_tokens"], usage["completion_tokens"]


def refuse_errors(done: Sequence[Served], url: str) -> None:
    """Raise an InputError with every distinct failure."""
    wrong = sorted({one.error for one in done if one.error})
    if not wrong and not all(one.times_s for one in done):
        wrong = ["a stream ended without a token"]
    if wrong:
        raise InputError([f"{url}: {message}" for message in wrong])
