"""Streams to an OpenAI-compatible server, timed as a client sees them.

Rule: tokens are counted by the server's own usage report, because a chunk may hold several; how many the first one
holds, only a server that sends token ids says, else it counts as one. Prompts are new words every time and in every
run, so that no prefix cache answers in the server's place. Times count from when a request was due.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from models.errors import InputError

if TYPE_CHECKING:
    import httpx2

NO_USAGE = "reports no token usage in streams; chunks are not tokens, so nothing can be measured"
NO_SERVER = "does not answer like an OpenAI-compatible server"
WORDS = ("river", "stone", "window", "garden", "letter", "morning", "winter", "bridge", "paper", "silver")


@dataclass(slots=True)
class Served:
    """One streamed request as the client saw it: when each chunk came, in seconds since the run's start."""

    sent_s: float
    times_s: list[float] = field(default_factory=list)
    prompt_tokens: int = 0
    output_tokens: int = 0
    first_tokens: int = 1
    error: str = ""

    @property
    def ttft_ms(self) -> float:
        """Time to the first token."""
        return 1e3 * (self.times_s[0] - self.sent_s)

    @property
    def itl_ms(self) -> float:
        """Mean time between tokens after the first chunk; 0 where all came in one."""
        return 1e3 * (self.times_s[-1] - self.times_s[0]) / max(self.output_tokens - self.first_tokens, 1)


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
        self.run, self.drawn = secrets.randbits(64), 0

    async def calibrate(self) -> None:
        """Learn how many words of ours are a token of theirs.

        Raises
        ------
        InputError
            When the server cannot be reached, refuses, or does not report usage.
        """
        words = 64
        served = await self.one(self.model, words, 4)
        refuse_errors([served], self.url)
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

        start = time.perf_counter() if began is None else began
        served = Served(sent_s=time.perf_counter() - start if at is None else at)
        try:
            async with self.http.stream(
                "POST", "/v1/completions", json=self._body(model, context, output)
            ) as response:
                if response.status_code == 200:
                    await _read(httpx2.EventSource(response), served, start)
                else:
                    said = _message((await response.aread()).decode(errors="replace"))
                    served.error = f"status {response.status_code}: {said}"
        except httpx2.SSEError:  # another kind of content
            served.error = NO_SERVER
        except httpx2.TransportError as error:
            served.error = f"cannot be reached: {str(error) or type(error).__name__}"
        except (ValueError, AttributeError, TypeError):  # not JSON, or JSON of another shape
            served.error = NO_SERVER
        if not served.error and not (served.prompt_tokens and served.output_tokens and served.times_s):
            served.error = NO_USAGE if served.times_s else NO_SERVER
        return served

    def _body(self, model: str, context: int, output: int) -> dict[str, Any]:
        self.drawn += 1
        draw = np.random.default_rng([self.run, self.drawn])
        words = draw.choice(WORDS, max(1, round(context * self.words_per_token)))
        return {
            "model": model,
            "prompt": " ".join(words),
            "max_tokens": output,
            "temperature": 0.0,
            "stream": True,
            "stream_options": {"include_usage": True},
            "ignore_eos": True,
            "return_token_ids": True,
        }


async def _read(events: httpx2.EventSource, served: Served, start: float) -> None:
    async for event in events:
        if event.data == "[DONE]":
            return
        chunk: Any = event.json()
        if chunk.get("error"):
            served.error = _message(event.data)
            return
        for choice in chunk.get("choices") or ():  # even without text: a token may be a part of a character
            served.times_s.append(time.perf_counter() - start)
            if len(served.times_s) == 1:
                served.first_tokens = max(1, len(choice.get("token_ids") or ()))
        usage = chunk.get("usage") or {}
        served.prompt_tokens = int(usage.get("prompt_tokens", served.prompt_tokens))
        served.output_tokens = int(usage.get("completion_tokens", served.output_tokens))


def _message(text: str) -> str:
    """Return the message of an error body, or its first words where it is none."""
    try:
        error = json.loads(text)["error"]
    except (ValueError, KeyError, TypeError):
        return text[:200]
    return str(error.get("message", error) if isinstance(error, dict) else error)


def refuse_errors(done: Sequence[Served], url: str) -> None:
    """Raise an InputError with every distinct failure."""
    wrong = sorted({one.error for one in done if one.error})
    if wrong:
        raise InputError([f"{url}: {message}" for message in wrong])
